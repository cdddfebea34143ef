// All ways out at once: spans, pushed logs and alerts whose destination hangs, is down, says nothing sensible, and is back. No request waits, everything arrives, each thing once
// where the protocol can tell.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { Gateway, until } from "../harness.mjs";

let gw, worker, receiver, got, answer;
before(async () => {
  got = [];
  receiver = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const seen = { path: request.url, headers: request.headers, body: Buffer.concat(chunks), response };
    seen.taken = answer(seen) === true;
    got.push(seen);
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  worker = await gw.miniflare.getWorker();
});
after(async () => {
  await gw.stop(/logpush_not_delivered/);
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
});

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Lunch?" }] };
const sk = { authorization: "Bearer sk-client-0123456789" };
const chat = (gateway) => gw.call("openai/chat/completions", { gateway, json: CHAT, headers: sk });
const at = (path) => `http://127.0.0.1:${receiver.address().port}${path}`;
const taken = (path) => got.filter((one) => one.path.startsWith(path) && one.taken);
const hangs = () => {};
const down = ({ response }) => void response.destroy();
/** Says that all is well, each time in another way that is none of the protocol's. */
const odd = ({ path, response }) => {
  if (path.startsWith("/spans")) response.writeHead(200, { "content-type": "text/html" }).end("<p>Welcome");
  else response.writeHead(202, { "content-type": "text/html" }).end("<p>Later");
  return true;
};
const send = async (method, path, body) => {
  const set = await gw.api(path, { method, body: JSON.stringify(body) });
  assert.equal(set.status, 200, await set.clone().text());
};

test("destinations that hang all at once keep no request and no other work of the cron, and get everything when they are back", async () => {
  answer = hangs;
  await gw.create("out", { circuit_breaker: { failures: 2, window: 3600, cooldown: 1 }, logpush: true, logpush_plain: true, otel: [{ url: at("/spans/v1/traces") }] });
  await send("PUT", "/gateways/out/logpush", { url: at("/push") });
  for (const n of [1, 2]) await send("POST", "/alerts/webhooks", { url: at(`/hook-${n}`), gateway: "out", events: ["circuit"] });
  await gw.create("retained", { log_management: 10_000 });
  const replies = [await chat("out")];
  gw.upstream.answer = () => ({ status: 500, body: "{}" });
  for (let n = 0; n < 2; n += 1) replies.push(await chat("out"));
  gw.upstream.answer = undefined;
  const ids = [];
  for (const reply of replies) ids.push((await gw.logOf(reply, "out")).id);
  await until(() => ["/spans", "/hook-1", "/hook-2"].every((path) => got.some((one) => one.path.startsWith(path))), "each to be called behind the answers");
  let isOver = false;
  const begun = Date.now();
  const run = worker.scheduled({ cron: "* * * * *" }).then(() => (isOver = true));
  await until(() => got.some(({ path }) => path === "/push") || isOver, "the push to begin", 60_000);
  assert.equal((await chat("retained")).status, 200);
  assert.equal((await gw.api("/gateways/out/logs")).status, 200);
  await until(() => isOver, "the cron to end", 90_000);
  await run;
  assert.ok(Date.now() - begun < 90_000, "the cron ends although all of them hang");
  assert.equal(taken("/").length, 0);

  answer = down;
  got.forEach(({ response }) => response.destroy());
  const again = () => Promise.all(["UPDATE logpush_progress SET next_at = 0, lease_until = 0", "UPDATE alert_deliveries SET next_at = 0 WHERE next_at IS NOT NULL"].map((sql) => gw.rows(sql)));
  await again();
  await worker.scheduled({ cron: "* * * * *" });
  const [{ status: one, attempts }] = await gw.rows("SELECT status, attempts FROM alert_deliveries");
  assert.ok(one === "pending" && attempts >= 1, JSON.stringify({ one, attempts }));
  assert.equal((await gw.result("/gateways/out/logpush")).failures, 2);

  answer = odd;
  await until(async () => {
    await again();
    await worker.scheduled({ cron: "* * * * *" });
    return taken("/push").length > 0 && taken("/hook-1").length > 0 && taken("/hook-2").length > 0 && taken("/spans").length > 0;
  }, "all of them", 90_000);
  await until(async () => (await gw.result("/gateways/out/telemetry"))[0].exported > 0, "the count of spans");
  const pushed = taken("/push").flatMap(({ body }) => String(gunzipSync(body)).trimEnd().split("\n").map((line) => JSON.parse(line).ID));
  assert.deepEqual(pushed.sort(), ids.sort(), "each log once");
  assert.equal(new Set(got.filter(({ path }) => path === "/push").map(({ headers }) => headers["tollgate-batch-id"])).size, 1, "under one name from the first try to the last");
  assert.deepEqual([taken("/hook-1").length, taken("/hook-2").length], [1, 1]);
  const spans = taken("/spans").flatMap(({ body }) => JSON.parse(body).resourceSpans[0].scopeSpans[0].spans.map(({ spanId }) => spanId));
  assert.equal(new Set(spans).size, spans.length, "each span once");
  const { exported, dropped, rejected } = (await gw.result("/gateways/out/telemetry"))[0];
  assert.deepEqual([exported, dropped, rejected], [spans.length, 0, 0], "what is not lost is not counted as lost");
  assert.equal(spans.length, 6, "a request and its call, three times");
});
