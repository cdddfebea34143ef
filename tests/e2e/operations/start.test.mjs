// `npm start` as a server: what passes through it, when it ends, and what it leaves.
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { request as httpRequest } from "node:http";
import { after, before, test } from "node:test";
import { WebSocket } from "undici";
import { ACCOUNT, TOKEN, raw, until } from "../harness.mjs";
import { ECHO, Served } from "../served.mjs";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };
const EVENT = (n) => `data: {"choices":[{"index":0,"delta":{"content":"${n}"}}]}\n\n`;

let gw;
before(async () => {
  gw = await Served.start({ args: ["--minute", "1", "--grace", "20"] });
  await gw.create("gw");
});
after(() => gw?.stop());

const logs = async (served = gw) => served.result("/gateways/gw/logs?per_page=50");

test("the page is served, also where wrangler.toml is of a version that had none", async () => {
  const older = await Served.start({ config: (text) => text.replace(/^\[assets\]\n(.+\n)*/m, "") });
  try {
    for (const { url } of [gw, older]) {
      const answer = await fetch(`${url}/dashboard/acct/gw/logs`, { headers: { accept: "text/html" } });
      const page = await answer.text();
      assert.equal(answer.status, 200, page);
      const [, script] = page.match(/src="(\/dashboard\/assets\/[^"]+\.js)"/);
      const file = await fetch(url + script);
      assert.deepEqual([file.status, file.headers.get("content-type")], [200, "text/javascript; charset=utf-8"]);
      assert.ok((await file.text()).length > 10_000);
    }
  } finally {
    await older.stop();
  }
});

test("a stream is passed on event by event", async () => {
  gw.upstream.next({ events: Array.from({ length: 6 }, (_, n) => EVENT(n)).concat("data: [DONE]\n\n"), pause: 100 });
  let sentAtFirst;
  const answer = await raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...CHAT, stream: true }),
    onData: () => (sentAtFirst ??= gw.upstream.last.sent),
  });
  assert.equal(answer.status, 200);
  assert.ok(String(answer.body).endsWith("[DONE]\n\n"));
  assert.ok(sentAtFirst < 6, `the first event came when ${sentAtFirst} of 7 were sent`);
  assert.equal((await gw.logOf(answer)).success, true);
});

test("bodies of 100 MB pass both ways", async () => {
  const size = 100 * 1024 * 1024;
  const sent = Buffer.alloc(size, "a");
  gw.upstream.next({ piece: Buffer.alloc(1024 * 1024, "b"), times: 100, headers: { "content-type": "application/octet-stream" } });
  const answer = await new Promise((resolve, reject) => {
    const request = httpRequest(`${gw.url}/v1/${ACCOUNT}/gw/openai/files`, { method: "POST", headers: { "content-type": "application/octet-stream", "content-length": size } }, (response) => {
      let length = 0;
      response.on("data", (piece) => (length += piece.length)).on("end", () => resolve({ status: response.statusCode, headers: response.headers, length }));
    });
    request.on("error", reject).end(sent);
  });
  assert.deepEqual([answer.status, answer.length, gw.upstream.last.body.length], [200, size, size]);
  assert.ok(gw.upstream.last.body.equals(sent));
});

test("WebSockets are relayed, and universal requests answered on them", async () => {
  const said = (socket, first) => new Promise((resolve, reject) => {
    socket.onerror = ({ error }) => reject(error ?? new Error("the socket failed"));
    socket.onopen = () => socket.send(first);
    socket.onmessage = ({ data }) => (socket.close(), resolve(data));
  });
  const address = `${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/gw`;
  assert.equal(await said(new WebSocket(`${address}/openai/realtime?model=gpt-realtime`, { headers: { authorization: "Bearer sk-test" } }), "hello"), "hello");
  const message = { type: "universal.create", request: { eventId: "one", provider: "openai", endpoint: "chat/completions", headers: { authorization: "Bearer sk-test" }, query: CHAT } };
  const answer = JSON.parse(await said(new WebSocket(address), JSON.stringify(message)));
  assert.deepEqual([answer.type, answer.metadata.eventId], ["universal.created", "one"]);
});

// workerd notices it when it writes. Before the first byte it is told nothing of a connection that was closed in good order.
test("a client that leaves in a stream is noticed: the call ends, and the log says so", async () => {
  const before = gw.upstream.requests.length;
  gw.upstream.next({ events: Array.from({ length: 400 }, (_, n) => EVENT(n)), pause: 25 });
  await new Promise((resolve) => {
    const request = httpRequest(`${gw.url}/v1/${ACCOUNT}/gw/openai/chat/completions`, { method: "POST", agent: false, headers: { "content-type": "application/json" } }, (answer) => {
      answer.once("data", () => request.destroy());
      answer.on("error", () => {}).on("close", resolve);
    });
    request.on("error", resolve).end(JSON.stringify({ ...CHAT, stream: true }));
  });
  await until(() => gw.upstream.requests[before].closed, "the end of the upstream's stream");
  assert.ok(gw.upstream.requests[before].sent < 400);
  await until(async () => (await logs()).some(({ status_code, success }) => status_code === 499 || !success), "the log");
});

test("a provider that never answers, or stops in the middle, is not waited for longer than the gateway says", async () => {
  await gw.create("short", { first_byte_timeout: 1, idle_timeout: 1 });
  const call = (stream) => raw(`${gw.url}/v1/${ACCOUNT}/short/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...CHAT, stream }) });
  const before = gw.upstream.requests.length;
  for (let n = 0; n < 5; n += 1) gw.upstream.next({ hang: true });
  for (const answer of await Promise.all(Array.from({ length: 5 }, () => call(false)))) {
    assert.equal(answer.status, 400);
    assert.match((await gw.logOf(answer, "short")).error, /first_byte_timeout/);
  }
  gw.upstream.next({ events: [EVENT(0), EVENT(1)], pause: 30_000 });
  const stopped = await call(true);
  assert.deepEqual([stopped.status, stopped.broken], [200, true]);
  assert.match((await gw.logOf(stopped, "short")).error, /idle_timeout/);
  await until(() => gw.upstream.requests.slice(before).every(({ closed }) => closed), "the end of all calls");
});

test("the cron trigger runs", async () => {
  const begun = Date.now();
  const echo = await Served.start({ worker: ECHO, args: ["--minute", "1"], upstream: gw.upstream });
  try {
    const ticks = async () => JSON.parse((await raw(echo.url)).body).ticks;
    await until(async () => (await ticks()).length >= 3, "three runs");
    const [seen, now] = [await ticks(), Date.now()];
    assert.deepEqual([...new Set(seen.map(([cron]) => cron))], ["* * * * *"]);
    // However busy the machine is, it does not run more often than it should.
    assert.ok(seen.length <= (now - begun) / 1000, JSON.stringify(seen));
    assert.equal(await echo.stopped(), 0, echo.text);
  } finally {
    for (const { pid } of echo.processes()) process.kill(pid, "SIGKILL");
    fs.rmSync(echo.folder, { recursive: true, force: true });
  }
});

test("a runtime that is killed is started again on the same port, and its data is there", async () => {
  const id = (await gw.logOf(await gw.call("openai/chat/completions", { json: CHAT }))).id;
  const killed = gw.pid("workerd-linux") ?? gw.pid("workerd serve") ?? gw.pid("/bin/workerd");
  process.kill(killed, "SIGKILL");
  await until(async () => (await raw(`${gw.url}/health`)).status === 200, "the runtime", 60_000);
  assert.notEqual(gw.pid("/bin/workerd"), killed);
  assert.equal((await gw.result(`/gateways/gw/logs/${id}`)).id, id);
  assert.match(gw.text, /runtime crashed unexpectedly and is being restarted/);
  // The doors are as closed as before.
  assert.deepEqual(gw.sockets().filter(({ kind, address }) => kind !== "tcp" || address !== "127.0.0.1"), []);
  assert.equal((await raw(`${gw.url}/cdn-cgi/local/scheduled`)).status, 404);
});

test("a second start on the same port says so and ends", async () => {
  const second = await Served.start({ upstream: gw.upstream, args: ["--port", String(gw.port)], isReady: false });
  assert.equal(await second.ended, 1);
  assert.match(second.text, new RegExp(`error: port ${gw.port} of 127.0.0.1 is in use. Choose another`));
  fs.rmSync(second.folder, { recursive: true, force: true });
});

test("SIGTERM: what is under way ends, nothing more is begun, and every log is there after the next start", async () => {
  const gathered = await Promise.all(Array.from({ length: 20 }, () => gw.call("openai/chat/completions", { json: CHAT })));
  await Promise.all(gathered.map((answer) => answer.arrayBuffer()));
  gw.upstream.next({ events: Array.from({ length: 20 }, (_, n) => EVENT(n)).concat("data: [DONE]\n\n"), pause: 150 });
  let begun;
  const first = new Promise((resolve) => (begun = resolve));
  const stream = raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...CHAT, stream: true }), onData: begun });
  await first;
  const last = await gw.call("openai/chat/completions", { json: CHAT });
  const stopping = gw.stopped("SIGTERM");
  await until(async () => [503, undefined].includes((await raw(`${gw.url}/health`)).status), "the refusal");
  const refused = await raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/models`);
  assert.ok(refused.error || JSON.parse(refused.body).internalCode === 7000, String(refused.body));
  const answer = await stream;
  assert.deepEqual([answer.status, answer.broken, String(answer.body).endsWith("[DONE]\n\n")], [200, false, true]);
  assert.equal(await stopping, 0, gw.text);
  assert.deepEqual(gw.processes().filter(({ pid }) => gw.isAlive(pid)), []);
  const { folder, upstream } = gw;
  gw = await Served.start({ folder, upstream, npm: true });
  const ids = [...gathered, last].map((one) => one.headers.get("cf-aig-log-id")).concat(answer.headers["cf-aig-log-id"]);
  for (const id of ids) assert.equal((await gw.api(`/gateways/gw/logs/${id}`)).status, 200, id);
});

test("SIGTERM to npm, and Ctrl-C to the whole group, end it the same way", async () => {
  // It was started by npm in the test before.
  const parts = gw.processes().map(({ pid }) => pid);
  assert.ok(parts.length >= 4, "npm, start.mjs, serve.mjs and workerd");
  const answer = await gw.call("openai/chat/completions", { json: CHAT });
  await answer.arrayBuffer();
  await gw.stopped("SIGTERM");
  await until(() => !parts.some((pid) => gw.isAlive(pid)), "the end of all processes", 60_000);
  const { folder, upstream } = gw;
  gw = await Served.start({ folder, upstream, npm: true, group: true });
  assert.equal((await gw.api(`/gateways/gw/logs/${answer.headers.get("cf-aig-log-id")}`)).status, 200);
  const again = gw.processes().map(({ pid }) => pid);
  const other = await gw.call("openai/chat/completions", { json: CHAT });
  await other.arrayBuffer();
  process.kill(-gw.child.pid, "SIGINT");
  await until(() => !again.some((pid) => gw.isAlive(pid)), "the end of all processes", 60_000);
  assert.match(gw.text, /stopping: requests that are under way may end/);
  assert.ok(!/without waiting/.test(gw.text), "one Ctrl-C counted as two");
  gw = await Served.start({ folder, upstream });
  assert.equal((await gw.api(`/gateways/gw/logs/${other.headers.get("cf-aig-log-id")}`)).status, 200);
});

test("who asks twice does not wait for requests, and what is cut off is reported", async () => {
  gw.upstream.next({ hang: true });
  const before = gw.upstream.requests.length;
  const cut = raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(CHAT) });
  await until(() => gw.upstream.requests.length > before, "the request");
  const kept = await gw.call("openai/models");
  await kept.arrayBuffer();
  const stopping = gw.stopped("SIGINT");
  await until(() => /stopping: requests/.test(gw.text), "the first");
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.ok(!gw.over, "it waits for the request");
  process.kill(gw.child.pid, "SIGINT");
  assert.equal(await stopping, 0, gw.text);
  assert.ok((await cut).broken);
  assert.match(gw.text, /"event":"log_lost".*the Worker was stopped while the request was under way/);
  assert.match(gw.text, /1 requests were cut off/);
  const { folder, upstream } = gw;
  gw = await Served.start({ folder, upstream });
  assert.equal((await gw.api(`/gateways/gw/logs/${kept.headers.get("cf-aig-log-id")}`)).status, 200);
});

test("whichever process dies, none is left behind, and the end is an error", async () => {
  const parts = gw.processes().map(({ pid }) => pid);
  process.kill(gw.pid("serve.mjs"), "SIGKILL");
  assert.equal(await gw.ended, 1);
  assert.match(gw.text, /the server ended by itself \(SIGKILL\)/);
  await until(() => !parts.some((pid) => gw.isAlive(pid)), "the end of all processes");
  const { folder, upstream } = gw;
  gw = await Served.start({ folder, upstream });
  const others = gw.processes().map(({ pid }) => pid);
  process.kill(gw.pid("start.mjs"), "SIGKILL");
  await until(() => !others.some((pid) => gw.isAlive(pid)), "the end of all processes", 60_000);
});

test("what wrangler wrote is read, and no new encryption key is made while keys are sealed with the old one", async () => {
  const { folder, upstream } = gw;
  gw.sql("UPDATE gateways SET settings = json_set(settings, '$.cache_ttl', 77) WHERE id = 'gw'");
  gw.sql("INSERT INTO provider_configs (id, gateway, provider, alias, default_config, secret, key_id, preview, rate_limit_period, created_at, modified_at) SELECT 'k', key, 'openai', 'a', 0, 'x', 'old', 'x', 0, 0, 0 FROM gateways WHERE id = 'gw'");
  gw = await Served.start({ folder, upstream, vars: { ENCRYPTION_KEY: undefined } });
  assert.match(gw.text, /warning: .* has no ENCRYPTION_KEY, but 1 stored keys are sealed with one\. No new one is written/);
  assert.ok(!/ENCRYPTION_KEY/.test(fs.readFileSync(gw.path(".dev.vars"), "utf8")));
  assert.equal((await gw.result("/gateways/gw")).cache_ttl, 77);
  assert.match(gw.text, /warning: ADMIN_TOKEN in .* has 26 characters\. Use 32 or more/);
  await gw.stopped();
  gw.sql("DELETE FROM provider_configs");
  gw = await Served.start({ folder, upstream, vars: { ENCRYPTION_KEY: undefined, ADMIN_TOKEN: undefined } });
  const written = fs.readFileSync(gw.path(".dev.vars"), "utf8");
  assert.match(written, /^ADMIN_TOKEN=[0-9a-f]{64}$/m);
  assert.match(written, /^ENCRYPTION_KEY=[A-Za-z0-9+/]{43}=$/m);
  assert.ok(!/warning/.test(gw.text), gw.text);
  assert.equal(fs.statSync(gw.path(".dev.vars")).mode & 0o777, 0o600);
  assert.equal((await raw(`${gw.url}/accounts/${ACCOUNT}/ai-gateway/gateways`, { headers: { authorization: `Bearer ${TOKEN}` } })).status, 401);
});
