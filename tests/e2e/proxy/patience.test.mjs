// What a provider may keep waiting: the head of its answer, and what comes behind it.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import { WebSocket } from "undici";
import { ACCOUNT, freePort, Gateway, raw, until } from "../harness.mjs";

const DIRECT = await freePort();

let gw;
before(async () => {
  // The second socket is the one that `npm start` serves on: nothing of Miniflare's is between it and the Worker.
  gw = await Gateway.start({ worker: { unsafeDirectSockets: [{ host: "127.0.0.1", port: DIRECT }] } });
  await gw.create("gw", { first_byte_timeout: 1, idle_timeout: 1 });
  await gw.create("usual");
  await gw.create("patient", { first_byte_timeout: 0, idle_timeout: 0 });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const CHAT = { model: "gpt-4o", messages: [] };
const FIRST = "no answer began within 1 s, the first_byte_timeout of the gateway";
const IDLE = "nothing more of the answer came for 1 s, the idle_timeout of the gateway";
const event = (n) => `data: {"id":"chatcmpl-1","choices":[{"delta":{"content":"${n}"}}]}\n\n`;

/** Sends headers and the first part of a body, and then nothing more. */
const halted = ({ type = "application/json", length, body = "{", encoding }) => ({
  headers: { "content-type": type, ...(length && { "content-length": length }), ...(encoding && { "content-encoding": encoding }) },
  body: Buffer.concat([Buffer.from(body), Buffer.alloc(100, 32)]),
  chunked: !length,
  stall: 60_000,
});

async function closed(count) {
  await until(() => gw.upstream.requests.filter(({ closed }) => closed).length === count, `${count} calls to be closed`);
}

test("the settings have their defaults, bounds and off", async () => {
  const settings = await gw.result("/gateways/usual");
  assert.deepEqual([settings.first_byte_timeout, settings.idle_timeout], [1_800, 600]);
  for (const name of ["first_byte_timeout", "idle_timeout"]) {
    for (const wrong of [-1, 0.5, "1", 86_401]) {
      const refused = await gw.api("/gateways/usual", { method: "PUT", body: JSON.stringify({ [name]: wrong }) });
      assert.equal(refused.status, 400, `${name} ${wrong}`);
    }
  }
});

test("twenty providers that never answer are all left, and each row says why", async () => {
  gw.upstream.answer = () => ({ hang: true });
  const begun = Date.now();
  const answers = await Promise.all(Array.from({ length: 20 }, () => gw.call("openai/chat/completions", { json: CHAT })));
  assert.ok(Date.now() - begun < 8_000);
  for (const answer of answers) {
    const { internalCode, description } = await answer.json().then(({ internalCode, description, error }) => ({ internalCode, description: description ?? JSON.stringify(error) }));
    assert.deepEqual([answer.status, internalCode ?? 2005], [400, 2005]);
    assert.ok(description.includes(FIRST), description);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.status_code, log.error], [false, 400, `upstream: ${FIRST}`]);
  }
  await closed(20);
  gw.upstream.answer = undefined;
});

test("a provider that does not read what it is sent is left as well", async () => {
  const deaf = createServer((socket) => socket.pause().on("error", () => {}));
  await new Promise((resolve) => deaf.listen(0, "127.0.0.1", resolve));
  const own = await Gateway.start({ upstream: gw.upstream, bindings: { PROVIDER_BASE_URLS: JSON.stringify({ openai: `http://127.0.0.1:${deaf.address().port}/v1` }) } });
  try {
    await own.create("gw", { first_byte_timeout: 1 });
    // It gets the answer, or loses its connection while it still sends.
    const headers = { "content-type": "application/octet-stream", "cf-aig-event-id": "deaf" };
    const answer = await raw(`${own.url}/v1/${ACCOUNT}/gw/openai/files`, { method: "POST", headers, body: "x".repeat(40_000_000) });
    assert.ok(answer.broken || answer.body.toString().includes(FIRST), `${answer.status}`);
    let rows = [];
    await until(async () => (rows = await own.rows("SELECT status_code, error FROM logs WHERE event_id = 'deaf'")).length > 0, "the row");
    assert.deepEqual(rows, [{ status_code: 400, error: `upstream: ${FIRST}` }]);
  } finally {
    await own.miniflare.dispose();
    deaf.close();
  }
});

test("the caller may want it sooner and not later, and the last of several attempts has the gateway's time", async () => {
  for (const [gateway, asked, words] of [["gw", "100", "no answer began within 100 ms"], ["gw", "60000", FIRST], ["usual", "150", "no answer began within 150 ms"], ["patient", "150", "no answer began within 150 ms"]]) {
    gw.upstream.next({ hang: true });
    const answer = await gw.call("openai/chat/completions", { gateway, json: CHAT, headers: { "cf-aig-request-timeout": asked } });
    assert.equal((await gw.logOf(answer, gateway)).error, `upstream: ${words}`);
  }
  gw.upstream.requests.length = 0;
  for (let n = 0; n < 2; n += 1) gw.upstream.next({ hang: true });
  const headers = { "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1", "cf-aig-request-timeout": "100" };
  const answer = await gw.call("openai/chat/completions", { json: CHAT, headers });
  const log = await gw.logOf(answer);
  const rows = await gw.rows("SELECT attempt, error FROM logs WHERE event_id = ? ORDER BY attempt", log.event_id);
  assert.deepEqual(rows.map(({ error }) => error), ["upstream: no answer began within 100 ms", `upstream: ${FIRST}`]);
  await closed(2);
});

/** Answers that come to a stop: what they are, and what the row knows of their size. */
const STOPS = {
  "a short document": { json: CHAT, answer: halted({ length: 2_000 }), status: 400 },
  "a long document": { json: CHAT, answer: halted({ length: 2_000_000 }) },
  "a document of unknown length": { json: CHAT, answer: halted({}) },
  "a stream": { json: { ...CHAT, stream: true }, answer: halted({ type: "text/event-stream", body: event(1) }) },
  "a compressed document": { json: CHAT, answer: halted({ encoding: "gzip", body: gzipSync("{}").subarray(0, 12) }) },
  "audio of known length": { answer: halted({ type: "audio/mpeg", length: 5_000 }) },
  "audio of unknown length": { answer: halted({ type: "audio/mpeg" }) },
  "compressed audio": { answer: halted({ type: "audio/mpeg", encoding: "gzip", body: gzipSync("x").subarray(0, 12) }) },
};

for (const [name, { json, answer: stopped, status = 200 }] of Object.entries(STOPS)) {
  for (const logged of ["true", "false"]) {
    test(`${name} that comes to a stop is ended, with logging ${logged}`, async () => {
      gw.upstream.next(stopped);
      const method = json ? "POST" : "GET";
      const encoding = stopped.headers["content-encoding"] ? "gzip" : "identity";
      const headers = { "cf-aig-collect-log": logged, "accept-encoding": encoding, ...(json && { "content-type": "application/json" }) };
      const path = json ? "chat/completions" : "files/1/content";
      const answer = await raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/${path}`, { method, headers, body: json && JSON.stringify(json) });
      assert.equal(answer.status, status);
      if (status === 400) assert.ok(answer.body.toString().includes(IDLE), answer.body.toString());
      else assert.ok(answer.broken);
      await closed(1);
      if (logged === "false") return;
      const log = await gw.logOf(answer);
      assert.deepEqual([log.success, log.error], [false, `upstream: the answer broke off: ${IDLE}`]);
    });
  }
}

test("the answer of an attempt that failed is not waited for, and not left open", async () => {
  gw.upstream.next({ ...halted({}), status: 500 });
  const answer = await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" } });
  assert.equal(answer.status, 200);
  await closed(1);
});

test("what comes slowly, but comes, is left in peace", async () => {
  const events = Array.from({ length: 8 }, (_, n) => event(n));
  gw.upstream.next({ events, pause: 400 });
  const answer = await gw.call("openai/chat/completions", { json: { ...CHAT, stream: true } });
  assert.equal(await answer.text(), events.join(""));
  assert.equal((await gw.logOf(answer)).success, true);
  for (const [type, path, init] of [["audio/mpeg", "files/1/content", {}], ["application/json", "chat/completions", { json: CHAT }]]) {
    const text = JSON.stringify("x".repeat(38));
    gw.upstream.next({ events: text.match(/.{5}/g), pause: 400, headers: { "content-type": type, "content-length": text.length } });
    const slow = await gw.call(`openai/${path}`, init);
    assert.deepEqual([slow.status, await slow.text()], [200, text]);
    assert.equal((await gw.logOf(slow)).success, true);
  }
});

test("a client that reads slowly is not the provider's fault", async () => {
  for (const [path, type] of [["files/1/content", "audio/mpeg"], ["chat/completions", "text/event-stream"]]) {
    gw.upstream.next({ piece: Buffer.alloc(100_000, "x"), times: 100, headers: { "content-type": type } });
    let size = 0;
    const done = await new Promise((resolve) => {
      raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/${path}`, {
        onHeaders: (answer) => {
          answer.pause();
          setTimeout(() => answer.resume(), 3_000);
        },
        onData: (chunk) => (size += chunk.length),
      }).then(resolve);
    });
    assert.deepEqual([done.status, done.broken, size], [200, false, 10_000_000], path);
    assert.equal((await gw.logOf(done)).success, true);
  }
});

test("with both of them off nothing is ended", async () => {
  gw.upstream.next({ events: [event(1), event(2)], pause: 1_500 });
  gw.upstream.next({ ...halted({ length: 2_000 }), stall: 1_500, body: Buffer.alloc(2_000, 32) });
  const stream = await gw.call("openai/chat/completions", { gateway: "patient", json: { ...CHAT, stream: true } });
  assert.equal(await stream.text(), event(1) + event(2));
  assert.equal((await gw.call("openai/chat/completions", { gateway: "patient", json: CHAT })).status, 200);
});

test("a WebSocket to a provider may be silent for as long as it likes", async () => {
  const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/gw/openai/realtime?model=gpt-4o`);
  await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  const said = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
  socket.send("still there");
  assert.equal(typeof (await said), "string");
  socket.close();
});

/** Asks, and leaves as soon as the provider has the request. */
async function asksAndLeaves(port, gateway, event, leave) {
  const body = JSON.stringify({ ...CHAT, stream: true });
  const socket = connect(Number(port), "127.0.0.1");
  socket.on("error", () => {});
  socket.write(`POST /v1/${ACCOUNT}/${gateway}/openai/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\ncontent-type: application/json\r\ncf-aig-event-id: ${event}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  await until(() => gw.upstream.last?.body, "the call");
  leave(socket);
  await closed(1);
  let rows = [];
  await until(async () => (rows = await gw.rows("SELECT status_code, error FROM logs WHERE event_id = ?", event)).length > 0, "the row");
  return rows[0];
}

for (const [name, port] of [["Miniflare's own socket", () => new URL(gw.url).port], ["a direct socket", () => DIRECT]]) {
  test(`a client that resets its connection before the first byte is noticed at once on ${name}`, async () => {
    gw.upstream.next({ hang: true });
    const row = await asksAndLeaves(port(), "usual", `reset-${port()}`, (socket) => socket.resetAndDestroy());
    assert.deepEqual(row, { status_code: 499, error: "client: went away before the answer was complete" });
  });

  test(`a client that only closes is noticed with the first byte on ${name}, and what comes to a stop then ends`, async () => {
    gw.upstream.next({ delay: 500, events: Array.from({ length: 500 }, (_, n) => event(n)), pause: 20 });
    const row = await asksAndLeaves(port(), "usual", `closed-${port()}`, (socket) => socket.destroy());
    assert.equal(row.error, "client: went away before the answer was complete");
    gw.upstream.requests.length = 0;
    gw.upstream.next({ delay: 500, ...halted({ type: "text/event-stream", body: event(1) }) });
    await asksAndLeaves(port(), "gw", `stopped-${port()}`, (socket) => socket.destroy());
    gw.upstream.requests.length = 0;
    gw.upstream.next({ hang: true });
    const never = await asksAndLeaves(port(), "gw", `never-${port()}`, (socket) => socket.destroy());
    assert.equal(never.error, `upstream: ${FIRST}`);
  });
}
