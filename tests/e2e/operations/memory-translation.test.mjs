// What a long request takes of an isolate's memory where it must be translated, and where it need not. The memory of wasm never
// shrinks, so that its size afterwards is its peak; each request has a fresh Worker.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Isolate, LIMIT_MB } from "../../../bench/isolate.mjs";
import { Gateway } from "../harness.mjs";

const MB = 1 << 20;
const native = (text) => ["openai/chat/completions", { model: "gpt-4o", messages: [{ role: "user", content: text }] }];
const translated = (text) => ["ai/v1/messages", { model: "groq/llama", max_tokens: 50, messages: [{ role: "user", content: text }] }];

for (const [what, size, asked, most] of [["12 MB that are translated", 12, translated, LIMIT_MB], ["24 MB that are not", 24, native, 32]]) {
  test(`a request of ${what} fits into an isolate`, async (t) => {
    const gw = await Gateway.start({ runtime: { inspectorPort: 0 } });
    const isolate = await Isolate.of(gw.miniflare, "tollgate");
    try {
      await gw.create("gw");
      const before = await isolate.wasm();
      const [path, json] = asked("ramen ".repeat((size * MB) / 6 - 100));
      const answer = await gw.call(path, { json, headers: { authorization: "Bearer sk-client-0123456789" } });
      const text = await answer.text();
      assert.equal(answer.status, 200, text.slice(0, 300));
      const sent = JSON.parse(gw.upstream.last.body);
      assert.equal(sent.messages[0].content.length, json.messages[0].content.length);
      const log = await gw.logOf(answer);
      assert.deepEqual([log.success, log.request_size], [true, gw.upstream.last.body.length]);
      const wasm = await isolate.wasm();
      t.diagnostic(`${Math.round(before / MB)} MB of wasm before, ${Math.round(wasm / MB)} MB at most, ${Math.round((await isolate.heap()) / MB)} MB of heap behind it`);
      assert.ok(wasm < most * MB, `${wasm} bytes of wasm`);
    } finally {
      isolate.close();
      await gw.stop();
    }
  });
}

test("two requests of 12 MB that are translated at once are answered or refused, and the isolate goes on", async (t) => {
  const gw = await Gateway.start({ runtime: { inspectorPort: 0 } });
  const isolate = await Isolate.of(gw.miniflare, "tollgate");
  try {
    await gw.create("gw");
    const [path, json] = translated("ramen ".repeat((12 * MB) / 6 - 100));
    const ask = (json) => gw.call(path, { json, headers: { authorization: "Bearer sk-client-0123456789" } });
    const answers = await Promise.all([ask(json), ask(json)]);
    for (const answer of answers) {
      const text = await answer.text();
      assert.ok([200, 413, 429, 503].includes(answer.status), `${answer.status}: ${text.slice(0, 300)}`);
      if (answer.status !== 200) assert.match(JSON.parse(text).error.message, /\w+ \w+ \w+/);
    }
    assert.ok(answers.some(({ status }) => status === 200), "one of them is answered");
    const [, small] = translated("ramen");
    assert.equal((await ask(small)).status, 200);
    const wasm = await isolate.wasm();
    t.diagnostic(`statuses ${answers.map(({ status }) => status)}, ${Math.round(wasm / MB)} MB of wasm at most`);
    assert.ok(wasm < LIMIT_MB * MB, `${wasm} bytes of wasm`);
  } finally {
    isolate.close();
    await gw.stop();
  }
});
