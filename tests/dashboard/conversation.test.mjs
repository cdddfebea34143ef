// The conversation of a log as the page draws it, for the formats of all providers, and for what is no conversation.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures } from "../upstream.mjs";
import { Dashboard } from "./browser.mjs";

let dashboard;
let gateway;
let page;

before(async () => {
  dashboard = await Dashboard.start();
  gateway = dashboard.gateway;
  await gateway.create("gw");
  page = await dashboard.open({ path: "gw/logs" });
});
after(async () => {
  await page.context().close();
  await dashboard.stop();
});

async function sent(path, json, behaviour) {
  gateway.upstream.next(behaviour);
  const answer = await gateway.call(path, { json });
  await answer.arrayBuffer().catch(() => {});
  return (await gateway.logOf(answer)).id;
}

/** The conversation of a log, by role; a sentence in the place of one where there is none. */
async function drawn(id) {
  await page.goto(dashboard.url(`gw/logs/${id}`));
  const box = page.locator(".conversation, .tab-body .empty").first();
  await box.waitFor();
  return { text: await box.innerText(), of: (role) => page.locator(`.turn.${role}`).allInnerTexts(), box };
}

const words = (text) => text.replace(/\s+/g, " ").trim();
const json = (body, status = 200) => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const stream = (events) => ({ headers: { "content-type": "text/event-stream" }, body: events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("") });

for (const provider of readdirSync(fixtures)) {
  const expected = JSON.parse(readFileSync(join(fixtures, provider, "expected.json"), "utf8"));
  const known = Object.entries(expected).filter(([, { question, answer, calls, error }]) => question || answer || calls || error);
  if (known.length === 0) continue;
  test(`D10 ${provider}: what was asked and answered is on the page, in each of its formats`, async () => {
    for (const [file, { path, request, request_model, answer, calls, question, status, error }] of known) {
      const id = await sent(`${provider}/${path}`, { ...request, ...(request_model && { model: request_model }) }, { file: `${provider}/${file}`, status });
      const { text } = await drawn(id);
      const all = words(text);
      if (answer) assert.ok(all.includes(words(answer)), `${provider}/${file}: the answer is not there:\n${all}`);
      // Calls and results that are JSON are cards with a tree, which the tests below look at.
      if (question) for (const line of question.split("\n")) assert.ok(/^\[calls |^\w+: [[{]/.test(line) || all.includes(words(line.replace(/^\w+: /, ""))), `${provider}/${file}: "${line}" is not there:\n${all}`);
      for (const call of calls ?? []) assert.ok(all.includes(call.slice(0, call.indexOf("("))), `${provider}/${file}: ${call} is not there:\n${all}`);
      if (error) assert.ok(words(await page.locator(".log-head .error-box").innerText()).includes(words(error)), `${provider}/${file}: the error is not there`);
      assert.ok(!/[A-Za-z0-9+/]{400}/.test(text), `${provider}/${file}: base64 as text`);
    }
  });
}

test("D10 two parallel tool calls, streamed: each is one card with its result; an unanswered one says so", async () => {
  const call = (index, id, name, text) => ({ index, id, type: "function", function: { name, arguments: text } });
  const first = await sent(
    "openai/chat/completions",
    {
      model: "gpt-4o",
      stream: true,
      messages: [
        { role: "user", content: "Weather in both?" },
        { role: "assistant", content: null, tool_calls: [call(0, "a", "weather", '{"city":"Osaka"}'), call(1, "b", "weather", '{"city":"Kyoto"}')] },
        { role: "tool", tool_call_id: "b", content: "rain in Kyoto" },
        { role: "tool", tool_call_id: "a", content: "sun in Osaka" },
      ],
      tools: [{ type: "function", function: { name: "weather", description: "Tells the weather", parameters: { type: "object" } } }],
    },
    stream([
      { id: "c", object: "chat.completion.chunk", model: "gpt-4o", choices: [{ index: 0, delta: { role: "assistant", tool_calls: [call(0, "x", "umbrella", '{"for":'), call(1, "y", "hat", "{}")] } }] },
      { id: "c", object: "chat.completion.chunk", model: "gpt-4o", choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '"Kyoto"}' } }] }, finish_reason: "tool_calls" }] },
      "[DONE]",
    ]),
  );
  const { box, text } = await drawn(first);
  const cards = await box.locator(".tool-card").allInnerTexts();
  assert.equal(cards.length, 4, text);
  assert.match(words(cards[0]), /weather.*Osaka.*sun in Osaka/);
  assert.match(words(cards[1]), /weather.*Kyoto.*rain in Kyoto/);
  assert.match(words(cards[2]), /umbrella.*Kyoto/);
  assert.match(words(cards[3]), /hat/);
  assert.equal(await page.locator(".turn.tool").count(), 0, "no result stands alone");
  assert.match(text, /1 tool offered/);
});

test("D10 Anthropic: thinking is folded, before the call that follows it", async () => {
  const id = await sent("anthropic/v1/messages", { model: "claude-sonnet-4-5", max_tokens: 100, thinking: { type: "enabled", budget_tokens: 50 }, messages: [{ role: "user", content: "Go" }] }, json({ id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5", stop_reason: "tool_use", content: [{ type: "thinking", thinking: "a secret plan", signature: "s" }, { type: "text", text: "I will look." }, { type: "tool_use", id: "t", name: "look", input: { at: "it" } }], usage: { input_tokens: 1, output_tokens: 2 } }));
  const { box } = await drawn(id);
  const thinking = box.locator(".turn.assistant details", { hasText: /thinking/i }).first();
  assert.equal(await thinking.evaluate((element) => element.open), false);
  await thinking.locator("summary").click();
  await box.getByText("a secret plan").waitFor();
  await box.locator(".tool-card", { hasText: "look" }).waitFor();
});

test("D10 an image of the question is drawn and its base64 is nowhere; one at another host is named and not loaded", async () => {
  const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
  const id = await sent("openai/chat/completions", { model: "gpt-4o", messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }, { type: "image_url", image_url: { url: `data:image/png;base64,${png}` } }, { type: "image_url", image_url: { url: "https://images.example/cat.png" } }] }] }, json({ id: "c", model: "gpt-4o", choices: [{ index: 0, message: { role: "assistant", content: "A pixel." }, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 1 } }));
  const { box, text } = await drawn(id);
  await box.locator("img").waitFor();
  assert.match(await box.locator("img").getAttribute("src"), /^(data|blob):/);
  assert.equal(await box.locator("img").count(), 1);
  assert.ok(!text.includes(png.slice(0, 40)));
  assert.match(text, /images\.example/);
});

test("D10 a stream that was cut shows what had come, and says that it has no end", async () => {
  gateway.upstream.next({ events: ['data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"role":"assistant","content":"It begins"}}]}\n\n', 'data: {"id":"c","choices":[{"index":0,"delta":{"content":" and never"}}]}\n\n', "data: [DONE]\n\n"], cut: 2, pause: 5 });
  const answer = await gateway.call("openai/chat/completions", { json: { model: "gpt-4o", stream: true, messages: [{ role: "user", content: "Tell me" }] } });
  await answer.text().catch(() => {});
  const { id } = await gateway.logOf(answer);
  const { text } = await drawn(id);
  assert.match(text, /It begins/);
  await page.goto(dashboard.url(`gw/logs/${id}?tab=response`));
  await page.getByText(/ended without a finish/).first().waitFor();
});

test("D10 a history of 1,000 turns opens at its end and loads the rest when it is asked to", async () => {
  const messages = Array.from({ length: 1_000 }, (_, at) => ({ role: at % 2 === 0 ? "user" : "assistant", content: `message number ${at}` }));
  const id = await sent("openai/chat/completions", { model: "gpt-4o", messages }, json({ id: "c", model: "gpt-4o", choices: [{ index: 0, message: { role: "assistant", content: "the last word" }, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 1 } }));
  const { box } = await drawn(id);
  await box.getByText("the last word").waitFor();
  await box.getByText("message number 999").waitFor();
  assert.ok((await box.locator(".turn").count()) <= 70);
  await box.getByRole("button", { name: /earlier message/ }).click();
  await box.getByText("message number 900").waitFor();
});

test("D10 unknown JSON is a tree, embeddings and audio say what they are, and a failed request shows its error", async () => {
  const unknown = await sent("openai/something/new", { strange: { deeply: ["nested"] } }, json({ other: { words: 5 } }));
  assert.match((await drawn(unknown)).text, /strange[^]*nested[^]*other[^]*words/);
  const embedding = await sent("openai/embeddings", { model: "text-embedding-3-small", input: ["one text", "another text"] }, json({ object: "list", model: "text-embedding-3-small", data: [{ object: "embedding", index: 0, embedding: Array.from({ length: 1536 }, (_, at) => at / 1e3) }], usage: { prompt_tokens: 4, total_tokens: 4 } }));
  const shown = await drawn(embedding);
  assert.match(shown.text, /one text/);
  assert.ok(shown.text.length < 5_000, "the numbers are not all written out");
  gateway.upstream.next({ headers: { "content-type": "audio/mpeg" }, body: Buffer.alloc(5_000, 0xff) });
  const answer = await gateway.call("openai/audio/speech", { json: { model: "tts-1", input: "Say this aloud", voice: "alloy" } });
  await answer.arrayBuffer();
  const speech = await drawn((await gateway.logOf(answer)).id);
  assert.match(speech.text, /Say this aloud/);
  assert.ok(!speech.text.includes("\ufffd"), "bytes are not text");
});
