// A gateway that keeps no body: whatever headers say, nothing of what was asked and answered is in the database or in the cache.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ kv: true });
  await gw.create("gw", { zdr: true, cache_ttl: 600 });
});
after(() => gw.stop());

const WORDS = ["quincunx", "zeugma"];
const headers = { authorization: "Bearer sk-client-0123456789", "cf-aig-collect-log-payload": "true", "cf-aig-cache-ttl": "600", "cf-aig-collect-log": "true" };

async function stored() {
  let all = "";
  for (const { name } of await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")) all += JSON.stringify(await gw.rows(`SELECT * FROM "${name}"`));
  const kv = await gw.miniflare.getKVNamespace("CACHE");
  for (const { name } of (await kv.list()).keys) all += await kv.get(name);
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
});
