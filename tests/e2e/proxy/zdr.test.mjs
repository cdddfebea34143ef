// A gateway that keeps no body: whatever headers say, nothing of what was asked and answered is in the database or in the cache.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  const around = `
import Worker from "./index.js";
export * from "./index.js";
export default class extends Worker {
  constructor(ctx, env) {
    const tell = (body) => env.SEEN.put(crypto.randomUUID(), typeof body === "string" ? body : JSON.stringify(body));
    const queue = { send: async (body, options) => { await tell(body); return env.LOG_QUEUE.send(body, options); }, sendBatch: async (all, options) => { await Promise.all([...all].map(({ body }) => tell(body))); return env.LOG_QUEUE.sendBatch(all, options); } };
    super(ctx, { ...env, LOG_QUEUE: queue });
  }
}`;
  gw = await Gateway.start({ kv: true, around, bindings: { PROVIDER_KEYS: JSON.stringify({ anthropic: "sk-ant-operator-0123456789" }) }, worker: { r2Buckets: ["BODIES", "SEEN"], queueProducers: { LOG_QUEUE: "logs" }, queueConsumers: { logs: { maxBatchSize: 100, maxBatchTimeout: 0.05 } } } });
  await gw.create("gw", { zdr: true, cache_ttl: 600 });
  await gw.create("plain");
});
after(() => gw.stop());

const WORDS = ["quincunx", "zeugma"];
const headers = { authorization: "Bearer sk-client-0123456789", "cf-aig-collect-log-payload": "true", "cf-aig-cache-ttl": "600", "cf-aig-collect-log": "true" };

async function stored() {
  let all = "";
  for (const { name } of await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")) all += JSON.stringify(await gw.rows(`SELECT * FROM "${name}"`));
  const kv = await gw.miniflare.getKVNamespace("CACHE");
  for (const { name } of (await kv.list()).keys) all += await kv.get(name);
  for (const name of ["BODIES", "SEEN"]) {
    const bucket = await gw.miniflare.getR2Bucket(name);
    for (const { key } of (await bucket.list()).objects) all += `${name} ${await (await bucket.get(key)).text()}`;
  }
  return all;
}

test("neither rows nor the cache have what was asked or answered", async () => {
  for (const stream of [false, true]) {
    const text = JSON.stringify({ id: "c", model: "gpt-4o-mini", choices: [{ index: 0, [stream ? "delta" : "message"]: { role: "assistant", content: `say ${WORDS[1]}` }, finish_reason: "stop" }], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } });
    for (let turn = 0; turn < 2; turn += 1) {
      gw.upstream.next(stream ? { events: [`data: ${text}\n\n`, "data: [DONE]\n\n"], pause: 5 } : { body: text, headers: { "content-type": "application/json" } });
      const answer = await gw.call("openai/chat/completions", { json: { model: "gpt-4o-mini", stream, messages: [{ role: "user", content: `what is ${WORDS[0]}` }] }, headers });
      assert.ok((await answer.text()).includes(WORDS[1]));
      assert.equal(answer.headers.get("cf-aig-cache-status"), null);
      const log = await gw.logOf(answer);
      assert.deepEqual([log.success, log.tokens_in, log.tokens_out, log.input_preview, log.output_preview], [true, 3, 2, null, null]);
    }
  }
  assert.equal(gw.upstream.requests.length, 4, "an answer came from the cache");
  gw.upstream.next({ status: 400, body: JSON.stringify({ error: { message: "no" } }), headers: { "content-type": "application/json" } });
  await gw.logOf(await gw.call("openai/chat/completions", { json: { model: "gpt-4o-mini", messages: [{ role: "user", content: WORDS[0] }] }, headers }));
  const all = await stored();
  assert.ok(all.includes("gpt-4o-mini") && !WORDS.some((word) => all.includes(word)), "a word is stored");
  assert.match(all, /SEEN [^]*gpt-4o-mini/, "the queue was not looked at");
});

test("neither the bucket nor the table of responses has them, and the caller is told that its response is not kept", async () => {
  const long = `${WORDS[0]} `.repeat(40_000);
  const said = JSON.stringify({ id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [{ type: "text", text: `${WORDS[1]} `.repeat(40_000) }], stop_reason: "end_turn", usage: { input_tokens: 3, output_tokens: 2 } });
  const ask = async (gateway) => {
    gw.upstream.next({ body: said, headers: { "content-type": "application/json" } });
    const answer = await gw.call("ai/v1/responses", { gateway, json: { model: "anthropic/claude-sonnet-4-5", input: long, store: true }, headers: { "cf-aig-authorization": `Bearer ${TOKEN}`, "cf-aig-collect-log-payload": "true" } });
    assert.equal(answer.status, 200, await answer.clone().text());
    return [answer, await answer.json(), await gw.logOf(answer, gateway)];
  };
  const [answer, { id }, log] = await ask("gw");
  assert.match(answer.headers.get("cf-aig-warning"), /not kept, because payloads are not collected/);
  assert.deepEqual([log.success, log.tokens_in, log.input_preview, log.output_preview], [true, 3, null, null]);
  assert.equal((await gw.call(`ai/v1/responses/${id}`, { headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } })).status, 404);
  for (const what of ["request", "response"]) assert.ok(!WORDS.includes((await (await gw.api(`/gateways/gw/logs/${log.id}/${what}`)).text()).slice(0, 8)), what);
  const all = await stored();
  assert.ok(!WORDS.some((word) => all.includes(word)), "a word is stored");
  // The same request leaves its words where bodies are kept, so that this test would see them.
  await ask("plain");
  await until(async () => (await stored()).includes(WORDS[1]), "the words of the other gateway");
});
