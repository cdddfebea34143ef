import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { WebSocket } from "undici";
import { ACCOUNT, Gateway, TOKEN, raw, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw", { authentication: true });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const BEARER = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const chat = (eventId, extra) => ({ eventId, provider: "openai", endpoint: "chat/completions", headers: { Authorization: "Bearer sk-test", "Content-Type": "application/json" }, query: { model: "gpt-4o", messages: [] }, ...extra });
const streaming = { query: { model: "gpt-4o", messages: [], stream: true } };

/** A connection, with every message it has heard. */
class Connection {
  messages = [];

  static async open({ gateway = "gw", slash = "", headers = BEARER, protocols = [] } = {}) {
    const connection = new Connection();
    const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/${gateway}${slash}`, { headers, protocols });
    connection.socket = socket;
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = ({ error }) => reject(error ?? new Error("the socket failed"));
    });
    socket.onmessage = ({ data }) => connection.messages.push(JSON.parse(data));
    return connection;
  }

  send(message) {
    this.socket.send(typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message));
  }

  create(request) {
    this.send({ type: "universal.create", request });
  }

  /** The messages of a request, once the last of them is there. */
  async of(eventId) {
    const mine = () => this.messages.filter(({ metadata }) => metadata.eventId === eventId);
    const last = ({ type, response }) => type === "universal.done" || type === "universal.error" || (type === "universal.created" && response !== undefined);
    await until(() => mine().some(last), `the answer to ${eventId}`);
    return mine();
  }

  async close() {
    const closed = new Promise((resolve) => (this.socket.onclose = resolve));
    this.socket.close();
    await closed;
  }
}

async function row(eventId, gateway = "gw") {
  let found = [];
  await until(async () => (found = await gw.rows("SELECT logs.* FROM logs JOIN gateways ON gateways.key = logs.gateway WHERE event_id = ? AND gateways.id = ?", eventId, gateway)).length > 0, `the row of ${eventId}`);
  assert.equal(found.length, 1);
  return found[0];
}

test("a request is answered as documented, and leaves one row", async () => {
  for (const slash of ["", "/"]) {
    const connection = await Connection.open({ slash });
    const eventId = `my-request${slash}`;
    connection.create(chat(eventId, { query: { model: "gpt-4o", n: 1.0, messages: [] } }));
    const [created, ...more] = await connection.of(eventId);
    const log = await row(eventId);
    assert.deepEqual(created.metadata, { eventId, cacheStatus: "MISS", logId: log.id, step: "0", contentType: "application/json" });
    assert.deepEqual([created.type, created.response.object, more], ["universal.created", "chat.completion", []]);
    assert.deepEqual([log.request_type, log.status_code, log.success, log.answered, log.authentication, log.tokens_in], ["websocket", 200, 1, 1, 1, 17]);
    assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-test");
    assert.equal(gw.upstream.last.headers.upgrade, undefined);
    await connection.close();
  }
  assert.ok(!JSON.stringify(gw.upstream.requests.map(({ headers }) => headers)).includes(TOKEN));
});

test("a stream comes event by event, whole wherever it was cut, and its end is told", async () => {
  const connection = await Connection.open();
  const text = 'data: {"t":"味玉 🥚"}\n\n: ping\n\nevent: x\ndata: {"n":1}\n\ndata: [DONE]\n\n';
  const bytes = Buffer.from(text);
  // Three bytes at a time, so that neither characters nor events come whole.
  gw.upstream.next({ events: Array.from({ length: Math.ceil(bytes.length / 3) }, (_, n) => bytes.subarray(n * 3, n * 3 + 3)), pause: 1 });
  connection.create(chat("streamed", streaming));
  const [created, ...rest] = await connection.of("streamed");
  const log = await row("streamed");
  const metadata = { eventId: "streamed", cacheStatus: "MISS", logId: log.id, step: "0", contentType: "text/event-stream" };
  assert.deepEqual(created, { type: "universal.created", metadata });
  assert.deepEqual(rest.pop(), { type: "universal.done", metadata });
  const only = { eventId: "streamed" };
  assert.deepEqual(rest, [{ t: "味玉 🥚" }, { n: 1 }, "[DONE]"].map((response) => ({ type: "universal.stream", metadata: only, response })));
  assert.equal(log.success, 1);
  await connection.close();
});

test("events are passed on while the stream goes on", async () => {
  const connection = await Connection.open();
  gw.upstream.next({ events: ['data: {"n":0}\n\n', 'data: {"n":1}\n\n'], pause: 60_000 });
  connection.create(chat("live", streaming));
  await until(() => connection.messages.length === 2, "the first event");
  assert.deepEqual([connection.messages[1].response, gw.upstream.last.sent], [{ n: 0 }, 1]);
  await connection.close();
  assert.equal((await row("live")).error, "client: went away before the answer was complete");
});

test("many requests share a connection, each under its own name", async () => {
  const connection = await Connection.open();
  const names = Array.from({ length: 20 }, (_, n) => `event-${n}`);
  gw.upstream.answer = ({ body }) => {
    const { user, stream } = JSON.parse(body);
    return stream ? { events: [`data: {"user":"${user}"}\n\n`, "data: [DONE]\n\n"], pause: 5 } : { headers: { "content-type": "application/json" }, body: `{"user":"${user}"}` };
  };
  names.forEach((user, n) => connection.create(chat(user, { query: { model: "gpt-4o", user, stream: n % 2 === 1 } })));
  for (const [n, user] of names.entries()) {
    const messages = await connection.of(user);
    assert.deepEqual(messages.map(({ type }) => type), n % 2 ? ["universal.created", "universal.stream", "universal.stream", "universal.done"] : ["universal.created"]);
    assert.deepEqual(messages[n % 2].response, { user });
    assert.equal((await row(user)).id, messages[0].metadata.logId);
  }
  gw.upstream.answer = undefined;
  await connection.close();
});

test("a request without an eventId is given one", async () => {
  const connection = await Connection.open();
  connection.create(chat(undefined));
  await until(() => connection.messages.length === 1, "the answer");
  const { eventId, logId } = connection.messages[0].metadata;
  assert.equal(eventId, logId);
  assert.equal((await row(eventId)).id, logId);
  await connection.close();
});

test("what the provider or the gateway refuses is an error with the status and the body it had over HTTP", async () => {
  const connection = await Connection.open();
  const refused = { error: { message: "slow down" } };
  gw.upstream.next({ status: 429, headers: { "content-type": "application/json" }, body: JSON.stringify(refused) });
  connection.create(chat("limited"));
  const [limited] = await connection.of("limited");
  assert.deepEqual([limited.type, limited.status, limited.error, limited.metadata.step], ["universal.error", 429, refused, "0"]);
  assert.equal((await row("limited")).error, "provider: slow down");
  gw.upstream.next({ status: 502, headers: { "content-type": "text/html" }, body: "<h1>bad</h1>" });
  connection.create(chat("html"));
  assert.deepEqual((await connection.of("html")).map(({ type, status, error }) => [type, status, error]), [["universal.error", 502, "<h1>bad</h1>"]]);
  gw.upstream.next({ reset: true });
  connection.create(chat("reset"));
  const [reset] = await connection.of("reset");
  assert.deepEqual([reset.status, reset.error.internalCode], [400, 2005]);
  connection.create(chat("nobody", { provider: "nobody" }));
  const [nobody] = await connection.of("nobody");
  assert.deepEqual([nobody.status, nobody.error.internalCode, (await row("nobody")).success], [400, 2008, 0]);
  connection.create({ eventId: "bad", provider: "openai" });
  assert.match((await connection.of("bad"))[0].error.description, /missing field `endpoint`/);
  gw.upstream.next({ events: ['data: {"n":0}\n\n', "data: {}\n\n"], cut: 1, pause: 20 });
  connection.create(chat("cut", streaming));
  const cut = await connection.of("cut");
  assert.deepEqual(cut.map(({ type }) => type), ["universal.created", "universal.stream", "universal.error"]);
  assert.match(cut[2].error.description, /broke off/);
  assert.match((await row("cut")).error, /^upstream: the answer broke off/);
  await connection.close();
});

test("a message that is not understood is told so, and the connection goes on", async () => {
  const connection = await Connection.open();
  const wrong = ["", "hello", "[]", "{}", '{"type":"universal.create"}', '{"type":"universal.create","request":[]}', '{"type":"universal.create","request":{"eventId":7}}', '{"type":"session.update","request":{"eventId":"other"}}', new Uint8Array([1, 2])];
  wrong.forEach((message) => connection.send(message));
  await until(() => connection.messages.length === wrong.length, "the complaints");
  for (const { type, status, error } of connection.messages) assert.deepEqual([type, status, error.internalCode], ["universal.error", 400, 7001]);
  assert.deepEqual(connection.messages.map(({ metadata }) => metadata.eventId), [...Array(7).fill(undefined), "other", undefined]);
  connection.create(chat("after-all"));
  assert.equal((await connection.of("after-all"))[0].type, "universal.created");
  await connection.close();
});

test("a connection is bounded: 32 requests at a time, one per eventId, 16 MB each", async () => {
  const connection = await Connection.open();
  const names = Array.from({ length: 33 }, (_, n) => `bounded-${n}`);
  gw.upstream.answer = () => ({ hang: true });
  names.slice(0, 1).concat("bounded-0", names.slice(1)).forEach((name) => connection.create(chat(name)));
  await until(() => connection.messages.length === 2, "the refusals");
  const [twice, many] = connection.messages;
  assert.deepEqual([twice.metadata.eventId, twice.status, twice.error.internalCode], ["bounded-0", 400, 7001]);
  assert.deepEqual([many.metadata.eventId, many.status, many.error.internalCode], ["bounded-32", 429, 2003]);
  gw.upstream.answer = undefined;
  await connection.close();
  const other = await Connection.open();
  other.create(chat("long", { query: { text: "x".repeat(16 * 1024 * 1024) } }));
  await until(() => other.messages.length === 1, "the refusal");
  assert.deepEqual([other.messages[0].status, other.messages[0].error.httpCode], [413, 413]);
  await other.close();
});

test("bytes that are no text come as base64, and no body at all as null", async () => {
  const connection = await Connection.open();
  const bytes = Buffer.from([0xff, 0xfe, 0, 1]);
  gw.upstream.answer = ({ url }) => (url.includes("speech") ? { headers: { "content-type": "audio/mpeg" }, body: bytes } : { status: 204 });
  connection.create(chat("audio", { endpoint: "audio/speech" }));
  const [audio] = await connection.of("audio");
  assert.deepEqual([audio.metadata.contentType, audio.response], ["audio/mpeg", bytes.toString("base64")]);
  connection.create(chat("nothing"));
  assert.equal((await connection.of("nothing"))[0].response, null);
  gw.upstream.answer = undefined;
  await connection.close();
});

test("a client that closes takes back what it asked for, which says nothing about the provider", async () => {
  await gw.create("breaking", { circuit_breaker: { failures: 1, window: 3600, cooldown: 3600 } });
  const connection = await Connection.open({ gateway: "breaking", headers: {} });
  gw.upstream.answer = ({ url }) => (url.includes("hang") ? { hang: true } : { events: Array.from({ length: 300 }, (_, n) => `data: {"n":${n}}\n\n`), pause: 20 });
  connection.create(chat("pending", { endpoint: "hang" }));
  connection.create(chat("flowing", streaming));
  await until(() => connection.messages.length > 2 && gw.upstream.requests.length === 2, "both to be under way");
  await connection.close();
  await until(() => gw.upstream.requests.every(({ closed }) => closed), "both upstream requests to end");
  gw.upstream.answer = undefined;
  assert.ok(gw.upstream.requests.every(({ sent }) => sent === undefined || sent < 300));
  const [pending, flowing] = [await row("pending", "breaking"), await row("flowing", "breaking")];
  assert.deepEqual([pending.status_code, pending.error, flowing.error], [499, ...Array(2).fill("client: went away before the answer was complete")]);
  assert.equal((await gw.call("openai/models", { gateway: "breaking" })).status, 200);
});

test("elements bring their own options, and the connection's headers are those of a request around them", async () => {
  const connection = await Connection.open({ headers: { ...BEARER, "cf-aig-metadata": '{"from":"socket"}', "user-agent": "socket-test", "x-stranger": "1" } });
  connection.create(chat("outer"));
  connection.create(chat("inner", { headers: { Authorization: "Bearer own", "cf-aig-metadata": { from: "element" } } }));
  await Promise.all([connection.of("outer"), connection.of("inner")]);
  const [outer, inner] = [await row("outer"), await row("inner")];
  assert.deepEqual([outer.metadata, inner.metadata, outer.user_agent], ['{"from":"socket"}', '{"from":"element"}', "socket-test"]);
  assert.ok(gw.upstream.requests.every(({ headers }) => headers["x-stranger"] === undefined));
  await connection.close();
});

test("a locked gateway wants the token when the connection is opened, and a browser may bring it as a subprotocol", async () => {
  await assert.rejects(Connection.open({ headers: {} }));
  await assert.rejects(Connection.open({ headers: { "cf-aig-authorization": "Bearer wrong" } }));
  for (const [protocols, answered] of [[[`cf-aig-authorization.${TOKEN}`, "json"], "json"], [[`cf-aig-authorization.${TOKEN}`], `cf-aig-authorization.${TOKEN}`]]) {
    const connection = await Connection.open({ headers: {}, protocols });
    assert.equal(connection.socket.protocol, answered);
    connection.create(chat("by-subprotocol"));
    assert.equal((await connection.of("by-subprotocol"))[0].type, "universal.created");
    await connection.close();
    await gw.rows("DELETE FROM logs WHERE event_id = 'by-subprotocol'");
  }
  assert.ok(!JSON.stringify(gw.upstream.requests.map(({ headers }) => headers)).includes(TOKEN));
});

test("a token that is revoked ends what an open connection may do", async () => {
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "socket", permissions: ["run"] }) });
  const { id, value } = (await made.json()).result;
  const connection = await Connection.open({ headers: { "cf-aig-authorization": value } });
  connection.create(chat("before"));
  assert.equal((await connection.of("before"))[0].type, "universal.created");
  assert.equal((await gw.api(`/tokens/${id}`, { method: "DELETE" })).status, 200);
  connection.create(chat("afterwards"));
  const [refused] = await connection.of("afterwards");
  assert.deepEqual([refused.type, refused.status, refused.error.internalCode], ["universal.error", 401, 2009]);
  await connection.close();
});

test("without an upgrade the address says what it takes", async () => {
  for (const method of ["GET", "HEAD"]) {
    const answer = await raw(`${gw.url}/v1/${ACCOUNT}/gw`, { method, headers: BEARER });
    assert.deepEqual([answer.status, answer.headers["content-type"]], [426, "application/json"]);
    if (method === "GET") assert.equal(JSON.parse(answer.body).name, "AiGatewayError");
  }
  const wrong = await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "PUT" });
  assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "POST, GET"]);
});
