// What an answer says of itself is read however long it is, and however it came; where it is not, the row says so.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { Gateway, TOKEN, raw, until } from "../harness.mjs";

const MB = 1 << 20;
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] };

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const post = (path, json, { gateway = "gw", headers } = {}) => raw(`${gw.url}/v1/acct/${gateway}/${path}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(json) });
const usage = { input_tokens: 7, output_tokens: 42_000, total_tokens: 42_007 };

/** A stream of OpenAI's Responses of over 10 MB, whose last event alone has 210 KB. */
function responses(id) {
  const event = (type, fields) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
  const response = { id, object: "response", model: "gpt-4o-2024-08-06", status: "in_progress", output: [], usage: null };
  const delta = event("response.output_text.delta", { item_id: `msg_${"0".repeat(48)}`, output_index: 0, content_index: 0, delta: " tollgate", logprobs: [], obfuscation: "x".repeat(48) });
  const output = [{ type: "message", role: "assistant", content: [{ type: "output_text", text: " tollgate".repeat(23_300) }] }];
  const last = event("response.completed", { response: { ...response, status: "completed", output, usage } });
  assert.ok(last.length > 205_000);
  const body = event("response.created", { response }) + delta.repeat(42_000) + last;
  assert.ok(body.length > 10 * MB, `${body.length}`);
  return body;
}

test("the counts of a stream of 42,000 events that ends with one of 210 KB are read, and a budget notices", async () => {
  const seconds = Date.now() / 1_000;
  const window = Array.from({ length: 4_000 }, (_, n) => 3_600 + n).find((window) => seconds % window < window / 2 && seconds % window > 30);
  const rules = [{ id: "m", limit: 0.1, limitType: "cost", window, technique: "fixed", model: { mode: "filter", values: ["gpt-4o"] } }];
  await gw.create("budget", { spend_limits: { enabled: true, rules } });
  const id = `resp_${"f".repeat(1_019)}`;
  const body = responses(id);
  gw.upstream.next({ headers: { "content-type": "text/event-stream" }, body });
  const answer = await post("openai/responses", { model: "gpt-4o", input: "hi", stream: true }, { gateway: "budget" });
  assert.deepEqual([answer.status, answer.body.equals(Buffer.from(body))], [200, true]);
  const log = await gw.logOf(answer, "budget");
  assert.deepEqual([log.tokens_in, log.tokens_out, log.success, log.usage_unread, log.response_id], [7, 42_000, true, null, id]);
  assert.ok(log.cost > 0.4);
  await until(async () => (await gw.result("/gateways/budget/limits")).spend[0].counters.some(({ spent }) => spent > 0.4), "the budget to notice");
  assert.equal((await post("openai/responses", { model: "gpt-4o", input: "hi" }, { gateway: "budget" })).status, 429);
  // Feedback finds the log by the long id.
  const given = await fetch(`${gw.url}/feedback/${id}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: JSON.stringify({ data: { good: true } }) });
  assert.deepEqual([given.status, (await given.json()).result.log_id], [200, log.id]);
});

test("long answers of other forms are read as well", async () => {
  const image = "iVBORw0KGgo".repeat(MB);
  const document = JSON.stringify({ created: 1, data: [{ b64_json: image }], usage: { input_tokens: 50, output_tokens: 6_208, total_tokens: 6_258 } });
  gw.upstream.next({ headers: { "content-type": "application/json" }, body: document });
  const whole = await post("openai/images/generations", { model: "gpt-image-1", prompt: "an egg" });
  assert.deepEqual([whole.status, whole.body.equals(Buffer.from(document))], [200, true]);
  const drawn = await gw.logOf(whole);
  assert.deepEqual([drawn.tokens_in, drawn.tokens_out, drawn.response_size, drawn.usage_unread], [50, 6_208, document.length, null]);
  // Gemini's stream without alt=sse is a list.
  const part = (n) => JSON.stringify({ candidates: [{ content: { parts: [{ text: "words ".repeat(50) }] } }], usageMetadata: { promptTokenCount: 9, candidatesTokenCount: n, totalTokenCount: 9 + n }, modelVersion: "gemini-2.5-flash", responseId: "g" });
  const list = `[${Array.from({ length: 26_000 }, (_, n) => part(n + 1)).join("\n,\r\n")}\n]`;
  assert.ok(list.length > 10 * MB);
  gw.upstream.next({ headers: { "content-type": "application/json" }, body: list });
  const gemini = await gw.logOf(await post("google-ai-studio/v1beta/models/gemini-2.5-flash:streamGenerateContent", {}));
  assert.deepEqual([gemini.tokens_in, gemini.tokens_out, gemini.usage_unread], [9, 26_000, null]);
});

test("what is really not read is said in the row", async () => {
  const vectors = JSON.stringify({ data: [{ embedding: Array(2_400_000).fill(0.25) }], model: "text-embedding-3-small", usage: { prompt_tokens: 5, total_tokens: 5 } });
  assert.ok(vectors.length > 10 * MB);
  gw.upstream.next({ headers: { "content-type": "application/json" }, body: vectors });
  const log = await gw.logOf(await post("openai/embeddings", { model: "text-embedding-3-small", input: "x" }));
  assert.deepEqual([log.tokens_in, log.cost, log.success], [null, null, true]);
  assert.match(log.usage_unread, /more than 4 MB besides its long texts/);
});

const ANSWER = { id: "chatcmpl-packed", model: "gpt-4o-2024-08-06", choices: [{ finish_reason: "stop", message: { content: "hi" } }], usage: { prompt_tokens: 5, completion_tokens: 6, total_tokens: 11 } };
const PACKERS = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, ...(zstdCompressSync && { zstd: zstdCompressSync }) };

for (const [coding, pack] of Object.entries(PACKERS)) {
  test(`an answer that comes in ${coding} against our wish is read, whole and as a stream`, async () => {
    const events = `data: ${JSON.stringify({ ...ANSWER, choices: [] })}\n\ndata: [DONE]\n\n`;
    for (const [kind, text, json] of [["application/json", JSON.stringify(ANSWER), CHAT], ["text/event-stream", events, { ...CHAT, stream: true }]]) {
      const packed = pack(text);
      gw.upstream.next({ headers: { "content-type": kind, "content-encoding": coding }, body: packed });
      // By node:http, which unpacks nothing.
      const answer = await post("openai/chat/completions", json, { headers: { "accept-encoding": "gzip, deflate, br, zstd" } });
      assert.equal(answer.status, 200);
      const log = await gw.logOf(answer);
      assert.deepEqual([log.tokens_in, log.tokens_out, log.response_id, log.usage_unread], [5, 6, "chatcmpl-packed", null], kind);
      assert.equal(await (await gw.api(`/gateways/gw/logs/${log.id}/response`)).text(), text, kind);
    }
  });
}

test("an answer that is no text is not called text", async () => {
  for (const [headers, body, words] of [
    [{ "content-encoding": "compress" }, Buffer.from([0x1f, 0x9d, 0x90, 1, 2, 3, 255]), /content-encoding that Tollgate does not know/],
    [{ "content-encoding": "zstd" }, Buffer.from([0xff, 1, 2, 3, 255]), /not packed as its content-encoding says/],
    [{}, gzipSync(JSON.stringify(ANSWER)), /no text/],
  ]) {
    gw.upstream.next({ headers: { "content-type": "application/json", ...headers }, body });
    const answer = await post("openai/chat/completions", CHAT);
    const log = await gw.logOf(answer);
    assert.deepEqual([answer.status, log.success, log.cost, log.response_head ?? null], [200, true, null, null]);
    assert.match(log.usage_unread, words);
    assert.ok(answer.body.equals(body), "the client gets what was sent");
  }
});

test("errors of proxies leave their sentence", async () => {
  for (const [kind, status, body, error] of [
    ["text/html", 502, "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", "provider: 502 Bad Gateway"],
    ["text/plain", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection failure", "provider: upstream connect error or disconnect/reset before headers. reset reason: connection failure"],
    ["text/html; charset=UTF-8", 524, "<!DOCTYPE html><html><head><title>api.example.com | 524: A timeout occurred</title></head><body><h1>Error</h1></body></html>", "provider: api.example.com | 524: A timeout occurred: Error"],
    [undefined, 429, "error code: 1015", "provider: error code: 1015"],
    ["application/json", 500, "<html><h1>It broke</h1></html>", "provider: It broke"],
    ["application/json", 500, '{"a":1}', "provider: answered 500"],
  ]) {
    gw.upstream.next({ status, headers: kind ? { "content-type": kind } : {}, body });
    const answer = await post("openai/chat/completions", CHAT);
    assert.deepEqual([answer.status, String(answer.body)], [status, body]);
    assert.equal((await gw.logOf(answer)).error, error);
  }
});
