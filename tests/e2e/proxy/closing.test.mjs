// A universal WebSocket that its client closes leaves nothing: no line, no memory, and every row.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "undici";
import { Isolate } from "../../../bench/isolate.mjs";
import { ACCOUNT, Gateway, until } from "../harness.mjs";

const CLOSES = 1_000;
const TOGETHER = 40;

let gw;
let isolate;
before(async () => {
  gw = await Gateway.start({ runtime: { inspectorPort: 0 } });
  await gw.create("gw");
  isolate = await Isolate.of(gw.miniflare, "tollgate");
});
after(async () => {
  isolate.close();
  await gw.stop();
});

async function opensAndCloses(n) {
  const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/gw`);
  await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)));
  const heard = new Promise((resolve) => (socket.onmessage = resolve));
  const query = { model: "gpt-4o", messages: [], stream: n % 3 > 0 };
  socket.send(JSON.stringify({ type: "universal.create", request: { eventId: `close-${n}`, provider: "openai", endpoint: "chat/completions", headers: { Authorization: "Bearer sk-test", "Content-Type": "application/json" }, query } }));
  await heard;
  const closed = new Promise((resolve) => (socket.onclose = resolve));
  socket.close();
  await closed;
}

async function memory() {
  const wasm = await isolate.wasm();
  return wasm + (await isolate.heap());
}

test(`of ${CLOSES} closes, many in the middle of an answer, nothing is left`, async (t) => {
  gw.upstream.answer = ({ body }) => body.includes('"stream":true') && { events: Array.from({ length: 30 }, (_, n) => `data: {"n":${n}}\n\n`), pause: 20 };
  let begun;
  for (let n = 0; n < CLOSES; n += TOGETHER) {
    await Promise.all(Array.from({ length: TOGETHER }, (_, more) => opensAndCloses(n + more)));
    if (n + TOGETHER === CLOSES / 5) begun = await memory();
  }
  await until(async () => (await gw.rows("SELECT count(DISTINCT event_id) AS n FROM logs"))[0].n === CLOSES, "every row", 30_000);
  const more = (await memory()) - begun;
  t.diagnostic(`${Math.round(more / 1024)} KB more after ${(CLOSES * 4) / 5} closes`);
  assert.deepEqual(isolate.thrown, []);
  assert.ok(more < 8_000_000, `${more} bytes`);
});
