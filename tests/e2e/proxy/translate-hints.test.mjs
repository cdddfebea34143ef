// Translated requests at the edges of formats: Gemini's stream as an array, marks for prompts that are kept, files that only their names tell, and answers that were cut off.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { events } from "../../agent.mjs";
import { Gateway, TOKEN } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ "aws-bedrock": JSON.stringify({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secretsecretsecret", region: "us-east-1" }) }) } });
  await gw.create("gw");
  for (const action of ["REDACT", "BLOCK"]) await gw.create(action.toLowerCase(), { dlp: { enabled: true, restore: true, policies: [{ id: "cards", enabled: true, action, check: ["REQUEST", "RESPONSE"], profiles: ["credit_card"] }] } });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const key = { "x-goog-api-key": "sk-client-0123456789" };
const ASKED = { contents: [{ role: "user", parts: [{ text: "Lunch?" }] }] };
const stream = (model, query = "") => gw.call(`ai/v1beta/models/${model}:streamGenerateContent${query}`, { json: ASKED, headers: key });
const chunk = (delta, finish_reason = null, more = {}) => `data: ${JSON.stringify({ id: "c", model: "llama", choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`;
const WORDS = [chunk({ role: "assistant", content: "Ra" }), chunk({ content: "men." }), chunk({}, "stop", { usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } }), "data: [DONE]\n\n"];
const sentTo = () => JSON.parse(gw.upstream.last.body);

test("a stream of Gemini's without alt=sse is an array that comes element by element", async () => {
  const slow = [WORDS[0], ...Array.from({ length: 40 }, () => ": still here\n\n"), ...WORDS.slice(1)];
  gw.upstream.next({ events: slow, pause: 60 });
  const answer = await stream("groq/llama");
  assert.match(answer.headers.get("content-type"), /^application\/json/);
  const reader = answer.body.getReader();
  let text = "";
  while (!text.includes('"Ra"')) text += new TextDecoder().decode((await reader.read()).value);
  assert.ok(gw.upstream.last.sent < slow.length, "the first element came after the last event");
  assert.ok(text.startsWith("[{") && !text.endsWith("]"), text);
  for (let piece; !(piece = await reader.read()).done; ) text += new TextDecoder().decode(piece.value);
  const all = JSON.parse(text);
  assert.equal(all.flatMap(({ candidates }) => candidates[0].content.parts).map((part) => part.text).join(""), "Ramen.");
  assert.deepEqual([all.at(-1).candidates[0].finishReason, all.at(-1).usageMetadata.totalTokenCount], ["STOP", 5]);
  const log = await gw.logOf(answer);
  assert.deepEqual([log.success, log.translated_from, log.tokens_in, log.tokens_out, sentTo().stream], [true, "gemini", 3, 2, true]);
  // With alt=sse it has events.
  gw.upstream.next({ events: WORDS });
  const sse = await stream("groq/llama", "?alt=sse");
  assert.match(sse.headers.get("content-type"), /^text\/event-stream/);
  assert.match(await sse.text(), /^data: \{/);
  // A provider that answers as a whole gives an array, too.
  gw.upstream.next({ body: JSON.stringify({ id: "c", object: "chat.completion", model: "llama", choices: [{ index: 0, message: { role: "assistant", content: "Ramen." }, finish_reason: "stop" }] }), headers: { "content-type": "application/json" } });
  const whole = await stream("groq/llama");
  assert.match(whole.headers.get("content-type"), /^application\/json/);
  assert.equal((await whole.json()).flatMap(({ candidates }) => candidates[0].content.parts).map((part) => part.text).join(""), "Ramen.");
});

test("an array whose stream breaks ends with an error, and one that is left out of is told so", async () => {
  for (const behaviour of [{ events: WORDS.slice(0, 2) }, { events: [...WORDS, ...WORDS], cut: 2 }, { events: [WORDS[0], 'data: {"error":{"message":"busy"}}\n\n'] }]) {
    gw.upstream.next(behaviour);
    const answer = await stream("groq/llama");
    const text = await answer.text();
    const all = JSON.parse(text);
    assert.ok(all.at(-1).error.message && !text.includes("finishReason"), text);
    assert.equal((await gw.logOf(answer)).success, false);
  }
  gw.upstream.next({ status: 429, body: '{"error":{"message":"slow down"}}', headers: { "content-type": "application/json" } });
  const refused = await stream("groq/llama");
  assert.deepEqual([refused.status, (await refused.json()).error.status], [429, "RESOURCE_EXHAUSTED"]);
  const cited = { type: "citations_delta", citation: { type: "page_location", cited_text: "x", document_index: 0, start_page_number: 1, end_page_number: 2 } };
  const all = events.messages(0, {});
  const at = all.findIndex((event) => event.includes("text_delta"));
  gw.upstream.next({ events: all.toSpliced(at + 1, 0, `event: content_block_delta\ndata: ${JSON.stringify({ type: "content_block_delta", index: 0, delta: cited })}\n\n`) });
  const answer = await stream("anthropic/claude-sonnet-4-5");
  assert.match((await answer.json()).at(-1)["cf-aig-warning"], /left out of the answer: citations/);
});

test("an array that is looked at for cards is one", async () => {
  const said = (words) => [...words.map((content) => chunk({ content })), ...WORDS.slice(2)];
  const ask = (gateway, text) => gw.call("ai/v1beta/models/groq/llama:streamGenerateContent", { gateway, json: { contents: [{ role: "user", parts: [{ text }] }] }, headers: key });
  const text = (all) => all.flatMap(({ candidates }) => candidates?.[0].content.parts ?? []).map((part) => part.text).join("");
  // A placeholder of the request comes back as what it stands for, and a card of the answer does not come.
  for (const [asked, words, wanted] of [["card 4111 1111 1111 1111", ["You said [CAR", "D_1]."], /^You said 4111 1111 1111 1111\.$/], ["card?", ["It is 4111 1111", " 1111 1111."], /^It is \[CARD_1\]\.$/]]) {
    gw.upstream.next({ events: said(words) });
    const answer = await ask("redact", asked);
    assert.match(answer.headers.get("content-type"), /^application\/json/);
    assert.match(text(await answer.json()), wanted);
    assert.equal((await gw.logOf(answer, "redact")).success, true);
  }
  gw.upstream.next({ events: said(["It is 4111 1111", " 1111 1111."]) });
  const blocked = await ask("block", "card?");
  const all = await blocked.json();
  assert.ok(all.at(-1).error.message && !text(all).includes("4111 1111 1111"), JSON.stringify(all));
  assert.equal((await gw.logOf(blocked, "block")).success, false);
});

test("Google's own array goes through as it is, and its tokens are in the row", async () => {
  const part = (text, more = {}) => ({ candidates: [{ content: { role: "model", parts: [{ text }] }, index: 0, ...more }], modelVersion: "gemini-2.5-flash", responseId: "r1" });
  const body = `[${JSON.stringify(part("Ra"))}\n,\r\n${JSON.stringify({ ...part("men.", { finishReason: "STOP" }), usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 2, thoughtsTokenCount: 3, totalTokenCount: 12 } })}\n]`;
  for (const path of ["ai/v1beta/models/google-ai-studio/gemini-2.5-flash:streamGenerateContent", "google-ai-studio/v1beta/models/gemini-2.5-flash:streamGenerateContent"]) {
    gw.upstream.next({ events: [body.slice(0, 90), body.slice(90)], headers: { "content-type": "application/json; charset=UTF-8" } });
    const answer = await gw.call(path, { json: ASKED, headers: key });
    assert.equal(await answer.text(), body);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.tokens_in, log.tokens_out, log.response_id, gw.upstream.last.url], [true, 7, 5, "r1", "/v1beta/models/gemini-2.5-flash:streamGenerateContent"], path);
  }
});

test("marks of how far a prompt is to be kept reach the models that take them", async () => {
  const mark = { cache_control: { type: "ephemeral" } };
  const asked = (model) => ({ model, max_tokens: 50, system: [{ type: "text", text: "Rules.", ...mark }], messages: [{ role: "user", content: [{ type: "text", text: "Lunch?", ...mark }] }] });
  for (const [model, marks] of [["openai/gpt-5.6", 2], ["openai/gpt-5.5", 0]]) {
    gw.upstream.next({ body: JSON.stringify({ id: "resp_1", object: "response", status: "completed", model: "gpt", output: [{ type: "message", id: "m", role: "assistant", status: "completed", content: [{ type: "output_text", text: "Ramen.", annotations: [] }] }], usage: { input_tokens: 30, input_tokens_details: { cached_tokens: 10, cache_write_tokens: 15 }, output_tokens: 2, total_tokens: 32 } }), headers: { "content-type": "application/json" } });
    const answer = await gw.call("ai/v1/messages", { json: asked(model), headers: { "x-api-key": "sk-1" } });
    assert.equal(gw.upstream.last.body.toString().split('"prompt_cache_breakpoint":{"mode":"explicit"}').length - 1, marks, model);
    assert.equal(answer.headers.get("cf-aig-warning"), null);
    const { usage } = await answer.json();
    assert.deepEqual([usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens], [5, 10, 15]);
    assert.equal((await gw.logOf(answer)).success, true);
  }
});

test("a file is what its name says, and Bedrock is not asked about one that nothing tells", async () => {
  const ask = (filename) => gw.call("ai/v1/chat/completions", { json: { model: "aws-bedrock/us-east-1/us.amazon.nova-pro-v1:0", messages: [{ role: "user", content: [{ type: "text", text: "Read." }, { type: "file", file: { filename, file_data: "data:application/octet-stream;base64,IyBoaQ==" } }] }] }, headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
  for (const [name, format] of [["notes.md", "md"], ["table.CSV", "csv"], ["paper.pdf", "pdf"]]) {
    gw.upstream.next({ body: JSON.stringify({ output: { message: { role: "assistant", content: [{ text: "Done." }] } }, stopReason: "end_turn", usage: { inputTokens: 3, outputTokens: 2 } }), headers: { "content-type": "application/json" } });
    const answer = await ask(name);
    assert.deepEqual([answer.status, (await answer.json()).choices[0].message.content], [200, "Done."]);
    assert.equal(sentTo().messages[0].content[1].document.format, format);
    assert.equal((await gw.logOf(answer)).tokens_in, 3);
  }
  gw.upstream.requests.length = 0;
  const refused = await ask("notes");
  const { error } = await refused.json();
  assert.deepEqual([refused.status, gw.upstream.requests.length], [400, 0]);
  assert.match(error.message, /messages\[0\].*Bedrock wants to know what kind of file/);
  const log = await gw.logOf(refused);
  assert.deepEqual([log.success, log.status_code], [false, 400]);
});

test("a model that refuses tools while it thinks is asked not to think, and the caller is told", async () => {
  const asked = { contents: ASKED.contents, tools: [{ functionDeclarations: [{ name: "look" }] }], generationConfig: { candidateCount: 2, thinkingConfig: { thinkingLevel: "high" } } };
  gw.upstream.next({ body: JSON.stringify({ id: "c", object: "chat.completion", model: "gpt-5.6", choices: [0, 1].map((index) => ({ index, message: { role: "assistant", content: `${index}` }, finish_reason: "stop" })) }), headers: { "content-type": "application/json" } });
  const answer = await gw.call("ai/v1beta/models/openai/gpt-5.6:generateContent", { json: asked, headers: key });
  assert.deepEqual([answer.status, (await answer.json()).candidates.length], [200, 2]);
  assert.deepEqual([gw.upstream.last.url, sentTo().reasoning_effort], ["/v1/chat/completions", "none"]);
  assert.match(answer.headers.get("cf-aig-warning"), /dropped=.*thinking/);
  assert.equal((await gw.logOf(answer)).success, true);
});

test("the item of a response that was cut off says so, as does the response", async () => {
  const cut = [chunk({ role: "assistant", content: "Let me" }), chunk({ content: " see" }), chunk({}, "length", { usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } }), "data: [DONE]\n\n"];
  gw.upstream.next({ events: cut });
  const streamed = await gw.call("ai/v1/responses", { json: { model: "groq/llama", input: "Lunch?", max_output_tokens: 20, store: false, stream: true }, headers: { authorization: "Bearer sk-1" } });
  const all = (await streamed.text()).trim().split("\n\n").map((event) => JSON.parse(event.slice(event.indexOf("data: ") + 6)));
  const { item } = all.find(({ type }) => type === "response.output_item.done");
  assert.deepEqual([item.status, item.content[0].text, all.at(-1).type], ["incomplete", "Let me see", "response.incomplete"]);
  assert.deepEqual(all.at(-1).response.output, [item]);
  gw.upstream.next({ body: JSON.stringify({ id: "c", object: "chat.completion", model: "llama", choices: [{ index: 0, message: { role: "assistant", content: null, tool_calls: [{ id: "a", type: "function", function: { name: "look", arguments: '{"a' } }] }, finish_reason: "length" }], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } }), headers: { "content-type": "application/json" } });
  const whole = await gw.call("ai/v1/responses", { json: { model: "groq/llama", input: "Lunch?", store: false }, headers: { authorization: "Bearer sk-1" } });
  const { status, output } = await whole.json();
  assert.deepEqual([status, output.map(({ type, status }) => [type, status])], ["incomplete", [["function_call", "incomplete"]]]);
  assert.equal((await gw.logOf(whole)).tokens_out, 2);
});
