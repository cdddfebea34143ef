import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, raw, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const CHAT = { model: "gpt-4o", stream: true, messages: [] };
const chunk = (fields) => `data: ${JSON.stringify({ id: "chatcmpl-paced", model: "gpt-4o", ...fields })}\n\n`;
const words = (count) => Array.from({ length: count }, (_, n) => chunk({ choices: [{ index: 0, delta: { content: `${n} 🥚` }, finish_reason: null }], usage: null }));
const ending = [chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }), chunk({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 100 } }), "data: [DONE]\n\n"];

function stream(options, headers = {}) {
  const body = JSON.stringify(CHAT);
  return raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, { method: "POST", body, headers: { "content-type": "application/json", ...headers }, ...options });
}

for (const logging of ["true", "false"]) {
  test(`a paced stream arrives as it is sent, with logging ${logging}`, async () => {
    const events = [...words(100), ...ending];
    gw.upstream.next({ events, pause: 10 });
    let sentAtFirst;
    const answer = await stream({ onData: () => (sentAtFirst ??= gw.upstream.last.sent) }, { "cf-aig-collect-log": logging });
    assert.ok(sentAtFirst < 50, `the first event came when ${sentAtFirst} had been sent`);
    assert.equal(answer.body.toString(), events.join(""));
    assert.equal(answer.headers["content-type"], "text/event-stream");
    // A compressed stream could not be watched.
    if (logging === "true") assert.equal(gw.upstream.last.headers["accept-encoding"], "identity");
    if (logging === "false") return assert.equal(answer.headers["cf-aig-log-id"], undefined);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.tokens_in, log.tokens_out, log.response_id], [true, 5, 100, "chatcmpl-paced"]);
    assert.ok(log.timings.latency < log.duration);
    const stored = await gw.api(`/gateways/gw/logs/${log.id}/response`);
    assert.equal(stored.headers.get("content-type"), "text/event-stream; charset=utf-8");
    assert.equal(await stored.text(), events.join(""));
  });
}

test("a client that leaves ends the upstream request, and its log has what was seen", async () => {
  gw.upstream.next({ events: [...words(500), ...ending], pause: 10 });
  let headers;
  const answer = await stream({ onHeaders: (head) => (headers = head.headers), onData: (_, request) => gw.upstream.last.sent > 20 && request.destroy() });
  assert.ok(answer.broken);
  await until(() => gw.upstream.last.closed, "the upstream request to end");
  assert.ok(gw.upstream.last.sent < 300);
  const log = await gw.logOf({ headers });
  assert.deepEqual([log.success, log.status_code, log.error], [false, 200, "client: went away before the answer was complete"]);
  assert.deepEqual([log.tokens_out, log.cost, log.response_id], [null, null, "chatcmpl-paced"]);
  assert.match(log.response_head, /^data: .*"content":"0 🥚"/);
});

test("an upstream that breaks within a stream is a break for the client and a failure in the log", async () => {
  for (const cut of [1, 30]) {
    gw.upstream.next({ events: [...words(100), ...ending], pause: 2, cut });
    const answer = await stream({});
    assert.ok(answer.broken);
    assert.ok(!answer.body.toString().includes("[DONE]"));
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.tokens_out], [false, null]);
    assert.match(log.error, /^upstream: the answer broke off/);
    assert.match(log.response_head, /"0 🥚"/);
  }
});

test("a break within an event shows the client the half, and the log the complete ones", async () => {
  const half = chunk({ usage: { prompt_tokens: 9, completion_tokens: 9 } }).slice(0, 40);
  gw.upstream.next({ events: [words(1)[0], half, "never"], pause: 5, cut: 2 });
  const answer = await stream({});
  assert.ok(answer.broken && answer.body.toString().endsWith(half));
  assert.deepEqual([(await gw.logOf(answer)).tokens_in, (await gw.logOf(answer)).success], [null, false]);
});

test("an upstream that breaks before or within a short answer is error 2005 with the cause", async () => {
  for (const behaviour of [{ reset: true }, { file: "openai/chat.json", cut: 10 }]) {
    gw.upstream.next(behaviour);
    const answer = await gw.call("openai/chat/completions", { json: { model: "gpt-4o" } });
    const body = await answer.json();
    assert.deepEqual([answer.status, body.success, body.internalCode, body.name, body.result, body.messages], [400, false, 2005, "AiGatewayError", [], []]);
    assert.match(body.description, /^openai.*(lost|reset|broke)/);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.model], [false, "gpt-4o"]);
    assert.match(log.error, /^upstream: /);
  }
});

test("a client that leaves a download is a failure of its own", async () => {
  gw.upstream.next({ body: Buffer.alloc(20 << 20, 1), chunked: true, headers: { "content-type": "audio/mpeg" } });
  let headers;
  await raw(`${gw.url}/v1/acct/gw/openai/audio/speech`, { onHeaders: (head) => (headers = head.headers), onData: (_, request) => request.destroy() });
  const log = await gw.logOf({ headers });
  assert.deepEqual([log.success, log.error], [false, "client: went away before the answer was complete"]);
});

test("garbage in a stream is passed on and says nothing", async () => {
  const events = ["data: {\"usage\":{\"prompt_tokens\":\n\n", "\u0000\u0001 data\n\n", "data: ".repeat(1_000), "\r\r\r\n\n\ndata: [1,2"];
  gw.upstream.next({ events });
  const answer = await stream({});
  assert.equal(answer.body.toString(), events.join(""));
  const log = await gw.logOf(answer);
  assert.deepEqual([log.success, log.tokens_in, log.model], [true, null, "gpt-4o"]);
});

test("events from a stream of bytes cut anywhere are counted", async () => {
  const bytes = Buffer.from([...words(3), ...ending].join("").replaceAll("\n", "\r\n"));
  gw.upstream.next({ events: Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)) });
  const answer = await stream({});
  assert.ok(answer.body.equals(bytes));
  assert.deepEqual([(await gw.logOf(answer)).tokens_in, (await gw.logOf(answer)).tokens_out], [5, 100]);
});

test("whenever the client leaves, the upstream request ends and the log says so", async () => {
  const paced = () => gw.upstream.next({ events: words(300), pause: 10 });
  for (const after of [0, 1, 2, 10]) {
    paced();
    let headers;
    let received = 0;
    const leave = (request) => received >= after && request.destroy();
    await stream({ onHeaders: (head, request) => { headers = head.headers; leave(request); }, onData: (_, request) => { received += 1; leave(request); } });
    await until(() => gw.upstream.last.closed, `the upstream request to end after ${after} pieces`);
    assert.ok(gw.upstream.last.sent < 150);
    const log = await gw.logOf({ headers });
    assert.deepEqual([log.success, log.error], [false, "client: went away before the answer was complete"]);
  }
  paced();
  await stream({ onData: (_, request) => request.destroy() }, { "cf-aig-collect-log": "false" });
  await until(() => gw.upstream.last.closed, "the upstream request to end without a log");
  assert.ok(gw.upstream.last.sent < 150);
});

test("a stream longer than what is kept arrives whole, and its figures are read", async () => {
  const word = chunk({ choices: [{ index: 0, delta: { content: "x".repeat(60_000) } }] });
  const events = [...words(1), ...Array(200).fill(word), ...ending];
  gw.upstream.next({ events });
  const answer = await stream({});
  assert.ok(answer.body.equals(Buffer.from(events.join(""))));
  const log = await gw.logOf(answer);
  assert.deepEqual([log.success, log.response_size, log.tokens_in, log.tokens_out], [true, answer.body.length, 5, 100]);
  assert.deepEqual([log.response_id, log.response_head], ["chatcmpl-paced", undefined]);
});
