// One request as people look at it: its conversation whatever the format, its attempts, and the short lines of the list.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures } from "../../upstream.mjs";
import { Gateway } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const conversation = (log, query = "", gateway = "gw") => gw.result(`/gateways/${gateway}/logs/${log.id}/conversation${query}`);
const parts = ({ turns }, isAnswered) => turns.filter(({ answered }) => answered === isAnswered).flatMap(({ parts }) => parts);
const texts = (all) => all.filter(({ type }) => type === "text" || type === "refusal").map(({ text }) => text).join("\n");
const json = (body) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const chat = (messages, more = {}) => ({ model: "gpt-4o", messages, ...more });
const LUNCH = [{ role: "user", content: "What should I eat for lunch?" }];

async function asked(path, body, behaviour, init = {}) {
  if (behaviour) gw.upstream.next(behaviour);
  const answer = await gw.call(path, { json: body, ...init });
  await answer.arrayBuffer();
  return gw.logOf(answer, init.gateway);
}

for (const [provider, ...files] of [
  ["openai", "chat.json", "chat.sse", "tools.json", "tools.sse", "completion.json", "responses.json", "responses.sse", "responses-tools.sse", "refused.sse", "transcription.json"],
  ["anthropic", "messages.json", "messages.sse", "tools.sse", "cited.json"],
  ["google-ai-studio", "generate.json", "stream.sse", "tools.sse"],
  ["aws-bedrock", "converse.json", "converse.eventstream", "tools.eventstream", "invoke.json", "invoke.eventstream", "titan.json"],
  ["cohere", "v1.json", "v2.json", "v2.sse", "tools.json"],
  ["workers-ai", "run.json", "run.sse", "tools.json"],
  ["mistral", "thought.sse"],
]) {
  const expected = JSON.parse(readFileSync(join(fixtures, provider, "expected.json"), "utf8"));
  for (const file of files) {
    test(`D10: the conversation of ${provider}/${file}`, async () => {
      const { path, request, request_model, answer, calls = [] } = expected[file];
      const log = await asked(`${provider}/${path}`, { ...(request_model && { model: request_model }), ...request }, { file: `${provider}/${file}` });
      const shown = await conversation(log);
      const said = parts(shown, true);
      if (answer) assert.ok(texts(said).includes(answer.trim()), `${texts(said)} should say ${answer}`);
      assert.deepEqual(said.filter(({ type }) => type === "tool_call").map(({ name, arguments: given }) => `${name}(${given})`), calls);
      assert.ok(!said.some(({ type }) => type === "unknown"), JSON.stringify(said));
      if (request) assert.ok(texts(parts(shown, false)).includes("What should I eat for lunch?"));
      assert.notEqual(shown.format, request ? "unknown" : "");
      assert.deepEqual([shown.finish, shown.usage.input_tokens, shown.usage.output_tokens], [log.finish_reason, log.tokens_in, log.tokens_out]);
    });
  }
}

test("D10: parallel calls and their results, thoughts, images, a refusal", async () => {
  const call = (id) => ({ id, type: "function", function: { name: "find", arguments: `{"id":"${id}"}` } });
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "Look." }, { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } }] },
    { role: "assistant", content: null, tool_calls: [call("a"), call("b")] },
    { role: "tool", tool_call_id: "b", content: "two" },
    { role: "tool", tool_call_id: "a", content: "one" },
  ];
  const log = await asked("openai/chat/completions", chat(messages, { temperature: 0.5, tools: [{ type: "function", function: { name: "find", description: "Finds.", parameters: { type: "object" } } }] }), { file: "openai/refused.json" });
  const shown = await conversation(log);
  assert.deepEqual(shown.turns.map(({ role, parts }) => [role, ...parts.map(({ type }) => type)].join(" ")), ["system text", "user text image", "assistant tool_call tool_call", "tool tool_result", "tool tool_result", "assistant refusal"]);
  assert.deepEqual(shown.turns[1].parts[1], { type: "image", media_type: "image/png", bytes: 8, data: "iVBORw0KGgo=", url: null });
  assert.deepEqual(shown.turns.slice(3, 5).map(({ parts }) => [parts[0].id, parts[0].parts[0].text]), [["b", "two"], ["a", "one"]]);
  assert.deepEqual([shown.tools, shown.params], [[{ name: "find", description: "Finds.", parameters: { type: "object" } }], { model: "gpt-4o", temperature: 0.5 }]);
  // The last turns alone.
  const page = await conversation(log, "?offset=4&limit=1");
  assert.deepEqual([page.turns.map(({ index, role }) => `${index} ${role}`), page.total], [["4 tool"], 6]);
});

test("D10: embeddings, images, binary audio, an error, a cut stream, what is no JSON, what has no known shape", async () => {
  const of = async (...given) => conversation(await asked(...given));
  const embedding = await of("openai/embeddings", { model: "text-embedding-3-small", input: ["one", "two"] }, { file: "openai/embedding.json" });
  assert.deepEqual(parts(embedding, false).map(({ text }) => text), ["one", "two"]);
  assert.match(texts(parts(embedding, true)), /^\[a vector/);
  const image = await of("openai/images/generations", { model: "gpt-image-1", prompt: "ramen" }, json({ created: 1, data: [{ b64_json: "iVBORw0KGgo=" }] }));
  assert.deepEqual(parts(image, true), [{ type: "image", media_type: "image/png", bytes: 8, data: "iVBORw0KGgo=", url: null }]);
  const speech = await of("openai/audio/speech", { model: "tts-1", input: "Say it.", voice: "alloy" }, { headers: { "content-type": "audio/mpeg" }, body: Buffer.from([0xff, 0xfb, 0x90, 0x00, 0xff]) });
  assert.equal(texts(parts(speech, false)), "Say it.");
  assert.ok(speech.warnings.some((warning) => warning.includes("The response's body is not stored")), JSON.stringify(speech));
  const failed = await of("openai/chat/completions", chat(LUNCH), { status: 500, ...json({ error: { message: "out of soup" } }) });
  assert.deepEqual([failed.warnings, parts(failed, true)[0].type], [["The answer is an error: out of soup"], "unknown"]);
  const cut = await of("openai/chat/completions", chat(LUNCH, { stream: true }), { events: ['data: {"choices":[{"delta":{"content":"half a "}}]}\n\n', 'data: {"choices":[{"delta":{"content":"bowl"}}]}\n\n'] });
  assert.equal(texts(parts(cut, true)), "half a bowl");
  assert.ok(cut.warnings.includes("The stream ended without a finish"), JSON.stringify(cut.warnings));
  const page = await of("openai/chat/completions", chat(LUNCH), { headers: { "content-type": "text/html" }, body: "<h1>Bad gateway</h1>" });
  assert.deepEqual(parts(page, true), [{ type: "text", text: "<h1>Bad gateway</h1>" }]);
  const odd = await of("openai/some/thing", { odd: [1, { deep: true }] }, json({ also: "odd" }));
  assert.deepEqual([odd.format, parts(odd, false), parts(odd, true)], ["unknown", [{ type: "unknown", json: { odd: [1, { deep: true }] } }], [{ type: "unknown", json: { also: "odd" } }]]);
});

test("D11: hostile content is text, and no address of it can be followed by a page", async () => {
  const nasty = "<img src=x onerror=alert(1)><script>alert(1)</script>\u202E\u0000 javascript:alert(1)";
  const image = (url) => ({ type: "image_url", image_url: { url } });
  const messages = [{ role: "user", content: [{ type: "text", text: nasty }, image("javascript:alert(1)"), image("data:text/html,<script>alert(1)</script>"), image("https://tracker.example/x.png")] }];
  const log = await asked("openai/chat/completions", chat(messages));
  const [text, ...images] = parts(await conversation(log), false);
  assert.equal(text.text, nasty);
  assert.deepEqual(images.map(({ data, url }) => [data, url]), [[null, null], [null, null], [null, "https://tracker.example/x.png"]]);
  const answer = await gw.api(`/gateways/gw/logs/${log.id}/conversation`);
  assert.deepEqual([answer.headers.get("content-type"), answer.headers.get("cache-control")], ["application/json", "no-store"]);
});

test("a universal request is shown by what its first step asks", async () => {
  const element = (provider, query, endpoint) => ({ provider, endpoint, headers: { "content-type": "application/json" }, query });
  gw.upstream.next({ status: 503, ...json({ error: { message: "busy" } }) });
  gw.upstream.next({ file: "anthropic/messages.json" });
  const answer = await gw.call("", { json: [element("openai", chat(LUNCH), "chat/completions"), element("anthropic", { model: "claude-sonnet-4-5", max_tokens: 9, messages: LUNCH }, "v1/messages")] });
  assert.equal(answer.status, 200);
  const log = await gw.logOf(answer);
  const shown = await conversation(log);
  assert.ok(texts(parts(shown, false)).includes("lunch"), JSON.stringify(shown.turns));
  assert.ok(texts(parts(shown, true)).length > 0);
  const attempts = await gw.result(`/gateways/gw/logs/${log.id}/attempts`);
  assert.deepEqual(attempts.map(({ step, attempt, provider, status, answered }) => [step, attempt, provider, status, answered]), [[0, 1, "openai", 503, false], [1, 1, "anthropic", 200, true]]);
  assert.ok(attempts.every(({ started_at, duration }) => started_at.endsWith("Z") && duration >= 0));
  // The first attempt has a log of its own, which is of the same request.
  assert.deepEqual(await gw.result(`/gateways/gw/logs/${attempts[0].log_id}/attempts`), attempts);
  assert.match(attempts[0].error, /busy/);
});

test("the list has the first 120 characters of the question and of the answer, and no body", async () => {
  const long = `${"word ".repeat(50)}\n\tend`;
  const log = await asked("openai/chat/completions", chat([{ role: "user", content: "first" }, { role: "assistant", content: "second" }, { role: "user", content: long }]), json({ choices: [{ message: { role: "assistant", content: "ü".repeat(500) } }] }));
  const row = (await gw.result("/gateways/gw/logs?per_page=50")).find(({ id }) => id === log.id);
  for (const { input_preview, output_preview } of [row, log]) {
    assert.deepEqual([[...input_preview].length, [...output_preview].length], [120, 120]);
    assert.ok(input_preview.startsWith("word word") && input_preview.endsWith("…") && output_preview.startsWith("üü"));
  }
  assert.deepEqual([row.request, row.response, row.request_head], ["", "", undefined]);
  const called = await asked("openai/chat/completions", chat(LUNCH), { file: "openai/tools.json" });
  assert.equal(called.output_preview, "menu() clock()");
});

test("there is no preview where bodies are not kept, and no secret in one", async () => {
  const quiet = await asked("openai/chat/completions", chat(LUNCH), null, { headers: { "cf-aig-collect-log-payload": "false" } });
  assert.deepEqual([quiet.input_preview, quiet.output_preview, quiet.request_head], [null, null, undefined]);
  const shown = await conversation(quiet);
  assert.deepEqual([shown.turns, shown.warnings.length], [[], 2]);
  const key = "sk-proj-CANARY0123456789abcdef";
  const log = await asked("openai/chat/completions", chat([{ role: "user", content: `my key is ${key}, keep it` }]), json({ choices: [{ message: { role: "assistant", content: `I keep ${key}` } }] }), { headers: { authorization: `Bearer ${key}` } });
  const seen = JSON.stringify([log, await conversation(log)]);
  assert.ok(!seen.includes("CANARY") && log.input_preview.startsWith("my key is ") && log.output_preview.startsWith("I keep "), log.input_preview);
});

test("conversations are of their own gateway, and refuse what makes no sense", async () => {
  await gw.create("other");
  const log = await asked("openai/chat/completions", chat(LUNCH));
  for (const path of [`/gateways/other/logs/${log.id}/conversation`, `/gateways/other/logs/${log.id}/attempts`, "/gateways/gw/logs/nope/conversation", "/gateways/none/logs/x/conversation"]) assert.equal((await gw.api(path)).status, 404, path);
  for (const query of ["limit=0", "limit=1001", "offset=x", "text_limit=1"]) {
    const refused = await gw.api(`/gateways/gw/logs/${log.id}/conversation?${query}`);
    assert.deepEqual([refused.status, (await refused.json()).errors[0].path], [400, ["query", query.split("=")[0]]]);
  }
});

test("a body that is too long is not read as a conversation, and is still there", async () => {
  const log = await asked("openai/chat/completions", chat([{ role: "user", content: "x".repeat(6.5 * 1024 * 1024) }]));
  const shown = await conversation(log);
  assert.ok(shown.warnings.some((warning) => /The request is too long.*…\/request/.test(warning)), JSON.stringify(shown.warnings));
  assert.ok(texts(parts(shown, true)).length > 0);
  assert.ok((await (await gw.api(`/gateways/gw/logs/${log.id}/request`)).text()).length > 6 * 1024 * 1024);
});

test("what a cost is made of", async () => {
  const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100, prompt_tokens_details: { cached_tokens: 400 } };
  const priced = (more = {}) => json({ id: "x", model: "gpt-4o", choices: [{ message: { role: "assistant", content: "a" }, finish_reason: "stop" }], usage: { ...usage, ...more } });
  const log = await asked("openai/chat/completions", chat(LUNCH), priced());
  assert.match(log.price_rule, /^list:/);
  assert.deepEqual(log.cost_breakdown.map(({ kind, quantity }) => [kind, quantity]), [["input_tokens", 600], ["input_cached_tokens", 400], ["output_tokens", 100]]);
  const sum = log.cost_breakdown.reduce((all, { cost }) => all + cost, 0);
  assert.ok(log.cost > 0 && Math.abs(sum - log.cost) < 1e-12, `${sum} ${log.cost}`);
  for (const { quantity, rate, cost } of log.cost_breakdown) assert.ok(Math.abs(quantity * rate - cost) < 1e-12);
  const custom = await asked("openai/chat/completions", chat(LUNCH), priced(), { headers: { "cf-aig-custom-cost": '{"total_cost":1}' } });
  assert.deepEqual([custom.cost, custom.cost_breakdown, custom.price_rule], [1, null, "request"]);
  const made = await gw.api("/custom-providers/costs", { method: "POST", body: JSON.stringify({ account_provider_id: "openai", model: "gpt-4o", model_rule: "equals", cost_in: 0.001, cost_out: 0.002 }) });
  assert.equal(made.status, 200, await made.clone().text());
  const rule = (await made.json()).result;
  const price = async () => (await asked("openai/chat/completions", chat(LUNCH), priced()));
  let ruled;
  for (let n = 0; n < 200 && !ruled?.price_rule?.startsWith("rule:"); n += 1) ruled = await price();
  assert.deepEqual(ruled.cost_breakdown[2], { kind: "output_tokens", quantity: 100, rate: 0.002, cost: 0.2 });
  // A log whose price has changed since does not show lines that make another sum.
  await gw.api(`/custom-providers/costs/${rule.id}`, { method: "PATCH", body: JSON.stringify({ cost_out: 0.005 }) });
  assert.equal((await gw.result(`/gateways/gw/logs/${ruled.id}`)).cost_breakdown, null);
});
