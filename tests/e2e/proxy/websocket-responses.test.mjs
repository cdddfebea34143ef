// Responses over a WebSocket: each leaves a row, passes the limits and is charged, and neither side notices that Tollgate reads along.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { WebSocket } from "ws";
import { Providers } from "../../websockets.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
let providers;
before(async () => {
  providers = await Providers.start();
  gw = await Gateway.start({ bindings: { PROVIDER_BASE_URLS: JSON.stringify(providers.baseUrls) } });
  await gw.create("gw");
});
beforeEach(() => (providers.behave = () => ({})));
after(async () => {
  await gw.stop();
  await providers.stop();
});

/** A connection with every message that it has heard. */
class Connection {
  messages = [];

  static async open(path = "openai/v1/responses", { gateway = "gw", headers = {}, protocols = [] } = {}) {
    const connection = new Connection();
    const url = `${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/${gateway}/${path}`;
    connection.socket = new WebSocket(url, protocols, { headers: Object.fromEntries(Object.entries({ authorization: "Bearer sk-test", ...headers }).filter(([, value]) => value)), maxPayload: 64 * 1024 * 1024 });
    connection.socket.on("upgrade", ({ headers }) => (connection.headers = headers));
    connection.socket.on("message", (data, isBinary) => connection.messages.push(isBinary ? Buffer.from(data) : String(data)));
    connection.closed = new Promise((resolve) => connection.socket.on("close", (code, reason) => resolve([code, String(reason)])));
    await new Promise((resolve, reject) => {
      connection.socket.on("open", resolve);
      connection.socket.on("error", reject);
    });
    connection.provider = providers.last;
    return connection;
  }

  send(message) {
    this.socket.send(typeof message === "string" || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  create(more = {}) {
    this.send({ type: "response.create", model: "gpt-4o", input: "Hi", ...more });
  }

  get events() {
    return this.messages.map((message) => JSON.parse(message));
  }

  ended(kind = /^response\.(completed|failed|incomplete)$|^error$/) {
    return this.events.filter(({ type }) => kind.test(type));
  }

  async until(count, kind) {
    await until(() => this.ended(kind).length >= count, `${count} endings, after ${this.messages.length} messages`);
    return this.ended(kind);
  }

  async close() {
    this.socket.close(1000);
    return this.closed;
  }
}

/** The rows of a gateway, oldest first, once there are so many. */
async function rows(count, gateway = "gw", where = "1") {
  const sql = `SELECT logs.*, log_bodies.request, log_bodies.response FROM logs LEFT JOIN log_bodies ON log_bodies.log_id = logs.id AND log_bodies.seq = 0 JOIN gateways ON gateways.key = logs.gateway WHERE gateways.id = ? AND ${where} ORDER BY logs.id`;
  let found = [];
  await until(async () => (found = await gw.rows(sql, gateway)).length >= count, `${count} rows of ${gateway}`);
  assert.equal(found.length, count, JSON.stringify(found.map(({ path, error, response_id }) => [path, error, response_id])));
  return found;
}

test("each response is a row with its own id, model, tokens, cost, end and bodies, and the connection is none", async () => {
  await gw.create("each");
  const connection = await Connection.open("openai/v1/responses", { gateway: "each", headers: { "cf-aig-metadata": '{"team":"a"}', "cf-aig-event-id": "session-1" } });
  assert.equal(connection.headers["cf-aig-log-id"], undefined);
  connection.create({ input: "First?" });
  await connection.until(1);
  providers.behave = () => ({ kind: "incomplete", response: { incomplete_details: { reason: "max_output_tokens" } }, usage: { input_tokens: 100, output_tokens: 50, input_tokens_details: { cached_tokens: 80 } } });
  connection.create({ input: "Second?", previous_response_id: "resp_1" });
  await connection.until(2);
  providers.behave = () => ({ kind: "failed", response: { error: { code: "server_error", message: "it broke" } } });
  connection.create({ input: "Third?" });
  const [first, second, third] = await connection.until(3);
  assert.deepEqual(await connection.close(), [1000, ""]);
  const [one, two, three] = await rows(3, "each");
  for (const [row, ended] of [[one, first], [two, second], [three, third]]) {
    assert.deepEqual([row.response_id, row.request_type, row.path, row.provider, row.event_id, row.metadata], [ended.response.id, "websocket", "v1/responses", "openai", "session-1", '{"team":"a"}']);
    assert.deepEqual(JSON.parse(row.response), ended.response);
  }
  assert.equal(new Set([one.id, two.id, three.id]).size, 3);
  assert.deepEqual([one.model, one.answer_model, one.status_code, one.success, one.tokens_in, one.tokens_out, one.finish_reason, one.cost], ["gpt-4o", "gpt-4o-2024-08-06", 200, 1, 20, 10, "completed", 0.00015]);
  assert.deepEqual([two.tokens_cached, two.finish_reason, two.cost, two.success], [80, "max_output_tokens", (20 * 2.5 + 80 * 1.25 + 50 * 10) / 1e6, 1]);
  assert.deepEqual([three.success, three.error], [0, "provider: it broke"]);
  assert.deepEqual(JSON.parse(one.request), { type: "response.create", model: "gpt-4o", input: "First?" });
  assert.ok(one.first_byte >= 0 && one.duration >= one.first_byte);
});

test("what the provider refuses is a row with its status and its error", async () => {
  await gw.create("refused");
  const connection = await Connection.open(undefined, { gateway: "refused" });
  providers.behave = () => ({ error: "Previous response with id 'resp_x' not found.", code: "previous_response_not_found", status: 400 });
  connection.create({ previous_response_id: "resp_x", stream_id: "a" });
  await connection.until(1);
  connection.send({ type: "response.create", input: "no model" });
  await connection.until(2);
  await connection.close();
  const [unknown, nameless] = await rows(2, "refused");
  assert.deepEqual([unknown.status_code, unknown.error, unknown.success, unknown.cost], [400, "provider: Previous response with id 'resp_x' not found.", 0, null]);
  assert.deepEqual([nameless.status_code, nameless.model, nameless.error], [400, null, "provider: model is missing"]);
});

test("32 responses at once over one connection, each in its lane, are told apart", async () => {
  await gw.create("lanes");
  providers.behave = ({ stream_id, input }) => ({ pause: 10, text: `${stream_id} says ${input}`, usage: { input_tokens: 10 + Number(stream_id), output_tokens: Number(stream_id) } });
  const connection = await Connection.open(undefined, { gateway: "lanes" });
  const lanes = Array.from({ length: 32 }, (_, n) => String(n + 1));
  for (const stream_id of lanes) connection.create({ stream_id, input: `question ${stream_id}` });
  await connection.until(32);
  // Lanes are interleaved, or the test says nothing.
  const created = connection.events.filter(({ type }) => type === "response.created").length;
  const before = connection.events.slice(0, connection.events.findIndex(({ type }) => type === "response.completed"));
  assert.ok(created === 32 && before.filter(({ type }) => type === "response.created").length > 1);
  await connection.close();
  const found = await rows(32, "lanes");
  for (const stream_id of lanes) {
    const row = found.find(({ tokens_out }) => tokens_out === Number(stream_id));
    assert.deepEqual([row.tokens_in, JSON.parse(row.request).input, JSON.parse(row.response).output[0].content[0].text], [10 + Number(stream_id), `question ${stream_id}`, `${stream_id} says question ${stream_id}`]);
  }
});

test("a budget stops the third response, and the provider sees none of the rest", async () => {
  await gw.create("budget", { spend_limits: { enabled: true, rules: [{ id: "all", limit: 0.0003, limitType: "cost", window: 3600 }] } });
  const connection = await Connection.open(undefined, { gateway: "budget" });
  for (let n = 1; n <= 40; n += 1) {
    connection.create({ input: `number ${n}`, stream_id: "s" });
    await connection.until(n);
  }
  const all = connection.ended();
  assert.deepEqual(all.map(({ type }) => type).slice(0, 3), ["response.completed", "response.completed", "error"]);
  assert.equal(connection.provider.received.length, 2);
  const { status, stream_id, error, headers } = all.at(-1);
  assert.deepEqual([status, stream_id, error.type, error.code, error.param], [429, "s", "insufficient_quota", "insufficient_quota", null]);
  assert.match(error.message, /^Spend limit exceeded: rule 'all' \(cost limit 0\.0003 per 3600s, sliding\) for openai gpt-4o/);
  assert.ok(Number(headers["retry-after"]) > 0 && error.headers["retry-after"] === headers["retry-after"]);
  await connection.close();
  const found = await rows(40, "budget");
  assert.deepEqual(found.slice(0, 3).map(({ status_code, success }) => [status_code, success]), [[200, 1], [200, 1], [429, 0]]);
  assert.match(found[2].error, /^gateway: Spend limit exceeded/);
});

test("with reserve, of 32 responses at once only as many begin as the budget has room for", async () => {
  await gw.create("reserve", { spend_limits: { enabled: true, rules: [{ id: "all", limit: 0.01, limitType: "cost", window: 3600, reserve: true }] } });
  const connection = await Connection.open(undefined, { gateway: "reserve" });
  // About 0.005 each, at 500 tokens of output.
  providers.behave = () => ({ silent: true });
  for (let n = 0; n < 32; n += 1) connection.create({ stream_id: String(n), max_output_tokens: 450 });
  const all = await connection.until(30);
  assert.deepEqual([all.filter(({ status }) => status === 429).length, connection.provider.received.length], [30, 2]);
  await connection.close();
});

test("a rate limit counts each response", async () => {
  await gw.create("rate", { rate_limiting_limit: 2, rate_limiting_interval: 3600, rate_limiting_technique: "fixed" });
  const connection = await Connection.open(undefined, { gateway: "rate" });
  for (let n = 1; n <= 3; n += 1) {
    connection.create();
    await connection.until(n);
  }
  const { type, status, error } = connection.ended().at(-1);
  assert.deepEqual([type, status, error.code], ["error", 429, "rate_limit_exceeded"]);
  await connection.close();
});

test("a rule by model is asked before each response, and others go on", async () => {
  await gw.create("by-model", { spend_limits: { enabled: true, rules: [{ id: "dear", limit: 0.0001, limitType: "cost", window: 3600, model: { mode: "filter", values: ["gpt-4o"] } }] } });
  const connection = await Connection.open(undefined, { gateway: "by-model" });
  for (const [n, model] of ["gpt-4o", "gpt-4o", "gpt-4.1-mini", "gpt-4o"].entries()) {
    connection.create({ model });
    await connection.until(n + 1);
  }
  assert.deepEqual(connection.ended().map(({ type }) => type), ["response.completed", "error", "response.completed", "error"]);
  // A name that is there twice is both.
  connection.send('{"type":"response.create","model":"gpt-4o","model":"gpt-4.1-mini","input":"Hi"}');
  assert.equal((await connection.until(5)).at(-1).type, "error");
  // So is a type.
  connection.send('{"type":"response.create","type":"session.update","model":"gpt-4o","input":"Hi"}');
  assert.match((await connection.until(6)).at(-1).error.message, /Spend limit/);
  assert.equal(connection.provider.received.length, 2);
  await connection.close();
});

test("a connection that is cut in the middle of a response leaves its row, and what was set aside is free again", async () => {
  await gw.create("cut", { spend_limits: { enabled: true, rules: [{ id: "all", limit: 1, limitType: "cost", window: 3600, reserve: true }] } });
  const reserved = async () => (await gw.result("/gateways/cut/limits")).spend[0].counters[0].reserved;
  // The provider cuts it.
  providers.behave = ({ input }) => (input === "cut" ? { cut: true, text: "Half an answer" } : input === "told" ? {} : { hang: true, text: "I was" });
  const first = await Connection.open(undefined, { gateway: "cut" });
  first.create({ input: "told" });
  await first.until(1);
  first.create({ input: "cut" });
  assert.equal((await first.closed)[0], 1011);
  const [told, cut] = await rows(2, "cut");
  assert.deepEqual([told.success, told.cost], [1, 0.00015]);
  assert.deepEqual([cut.status_code, cut.success, cut.cost, cut.response_id?.startsWith("resp_")], [200, 0, null, true]);
  assert.match(cut.error, /^upstream: the answer broke off: the provider closed the WebSocket with 1006/);
  assert.match(cut.response, /"delta":"Half "/);
  // The client cuts it.
  const second = await Connection.open(undefined, { gateway: "cut" });
  second.create({ input: "hang" });
  await until(() => second.events.some(({ delta }) => delta === "was"), "the beginning of the answer");
  assert.ok((await reserved()) > 0);
  second.socket.terminate();
  const [, , left] = await rows(3, "cut");
  assert.deepEqual([left.status_code, left.success, left.error], [200, 0, "client: went away before the answer was complete"]);
  await until(async () => (await reserved()) === 0, "the reservation to be free");
  // Before anything of it came.
  providers.behave = () => ({ silent: true });
  const third = await Connection.open(undefined, { gateway: "cut" });
  third.create({ input: "silent" });
  await until(() => third.provider.received.length === 1, "the message to arrive");
  third.socket.terminate();
  const [, , , silent] = await rows(4, "cut");
  assert.deepEqual([silent.status_code, silent.error], [499, "client: went away before the answer was complete"]);
  await until(async () => (await reserved()) === 0, "the reservation to be free");
  await until(() => third.provider.socket.readyState === WebSocket.CLOSED, "the provider to learn of it");
});

test("messages go through untouched and in order, whatever they are", async () => {
  await gw.create("garbage");
  const connection = await Connection.open(undefined, { gateway: "garbage" });
  const deep = `{"type":"unknown","a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  const garbage = ["", "hello", "{", "[]", "null", '{"type":7}', "{}", '{"type":"response.created","response":{"id":"x"}}', deep, Buffer.from([0, 1, 2, 255]), Buffer.from("{"), Buffer.alloc(0), "味玉 🥚\u0000", `{"type":"x","pad":"${"y".repeat(1_000_000)}"}`];
  garbage.forEach((message) => connection.send(message));
  await until(() => connection.provider.received.length === garbage.length, "all of it");
  assert.deepEqual(connection.provider.received, garbage);
  const sent = [...garbage, Buffer.from('{"type":"response.completed"}'), '{"type":"response.completed","response":5}', '{"type":"error"}'];
  await until(() => connection.messages.length === garbage.length, "the provider's errors");
  connection.messages.length = 0;
  sent.forEach((message) => connection.provider.socket.send(message));
  await until(() => connection.messages.length >= sent.length, "all of it");
  assert.deepEqual(connection.messages.slice(-sent.length), sent);
  connection.messages.length = 0;
  connection.create();
  await connection.until(1);
  await connection.close();
  const found = await rows(2, "garbage");
  // The provider has claimed that a response began which the client did not ask for, and that one is over.
  assert.deepEqual(found.map(({ response_id }) => response_id?.replace(/\d+/, "")).sort(), ["resp_", "x"]);
});

test("a message that cannot be read and may begin a response is not sent", async () => {
  await gw.create("unread");
  const connection = await Connection.open(undefined, { gateway: "unread" });
  const hidden = ['{"type":"response.create","model":NaN}', '{"type":"response\\u002ecreate",}', '// a comment\n{"type":"response.create"}'];
  hidden.forEach((message) => connection.send(message));
  const errors = await connection.until(hidden.length);
  assert.deepEqual(errors.map(({ status, error }) => [status, error.type]), hidden.map(() => [400, "invalid_request_error"]));
  // An escape that can be read is one.
  connection.send('{"type":"response\\u002ecreate","model":"gpt-4o","input":"Hi"}');
  await connection.until(hidden.length + 1);
  // So are bytes, and other encodings.
  connection.send(Buffer.from('\ufeff{"type":"response.create","model":"gpt-4o","input":"Hi"}'));
  await until(() => connection.provider.received.length === 2, "the bytes");
  await connection.close();
  const found = await rows(hidden.length + 2, "unread");
  assert.deepEqual(found.map(({ status_code }) => status_code).slice(0, 4), [400, 400, 400, 200]);
});

test("messages of 16 MB pass in both directions, and are read", async () => {
  await gw.create("long");
  const connection = await Connection.open(undefined, { gateway: "long" });
  const image = "iVBORw0KGgo".repeat(1_500_000);
  providers.behave = () => ({ text: "x".repeat(16_000_000), usage: { input_tokens: 1_000, output_tokens: 7 } });
  connection.create({ input: [{ role: "user", content: [{ type: "input_image", image_url: `data:image/png;base64,${image}` }] }] });
  await until(() => connection.messages.some((message) => message.includes('"response.completed"')), "the answer", 60_000);
  assert.ok(connection.provider.received[0].length > 16_000_000 && connection.messages.at(-1).length > 16_000_000);
  await connection.close();
  const [row] = await rows(1, "long");
  assert.deepEqual([row.tokens_in, row.tokens_out, row.model, row.success, row.request_size], [1_000, 7, "gpt-4o", 1, connection.provider.received[0].length]);
});

test("thousands of responses that never end are bounded, and the connection goes on", async () => {
  await gw.create("many");
  providers.behave = ({ input }) => (input === "last" ? {} : { silent: true });
  const connection = await Connection.open(undefined, { gateway: "many" });
  for (let n = 0; n < 2_000; n += 1) connection.create({ stream_id: String(n) });
  await connection.until(2_000 - 256);
  const { status, error } = connection.ended().at(-1);
  assert.deepEqual([status, error.code, connection.provider.received.length], [429, "rate_limit_exceeded", 256]);
  await connection.close();
  await rows(2_000, "many");
});

test("keys, payloads and tokens: what rows may have, and what the provider sees", async () => {
  await gw.create("private", { authentication: true });
  const open = (more) => Connection.open(undefined, { gateway: "private", ...more });
  await assert.rejects(open({ headers: { "cf-aig-authorization": "Bearer wrong" } }), /401/);
  // OpenAI's clients bring their key as a subprotocol from a browser: here it is a token.
  await gw.api("/gateways/private/provider_configs", { method: "POST", body: JSON.stringify({ provider_slug: "openai", alias: "default", default_config: true, secret: "sk-stored-key-of-the-gateway-1234", secret_id: "1" }) });
  const connection = await open({ headers: { authorization: undefined, "cf-aig-collect-log-payload": "false" }, protocols: ["realtime", `openai-insecure-api-key.${TOKEN}`] });
  assert.equal(connection.socket.protocol, "realtime");
  assert.deepEqual([connection.provider.key, connection.provider.headers["sec-websocket-protocol"]], ["sk-stored-key-of-the-gateway-1234", "realtime"]);
  connection.create({ input: "secret" });
  await connection.until(1);
  providers.behave = () => ({ error: "Incorrect API key provided: sk-stored-key-of-the-gateway-1234", status: 401 });
  connection.create({ input: "secret" });
  const [, refused] = await connection.until(2);
  assert.equal(refused.error.message, "Incorrect API key provided: ***");
  await connection.close();
  const [row, other] = await rows(2, "private");
  assert.deepEqual([row.request, row.response, row.tokens_in, row.credential, row.authentication, other.status_code], [null, null, 20, "stored", 1, 401]);
  // A provider's key in it goes to the provider.
  await gw.create("open");
  const theirs = await Connection.open(undefined, { gateway: "open", headers: { authorization: undefined }, protocols: ["realtime", "openai-insecure-api-key.sk-of-the-caller-1234"] });
  assert.equal(theirs.provider.headers["sec-websocket-protocol"], "realtime, openai-insecure-api-key.sk-of-the-caller-1234");
  theirs.create({ input: "I am sk-of-the-caller-1234" });
  await theirs.until(1);
  await theirs.close();
  const [shown] = await rows(1, "open");
  assert.ok(!JSON.stringify(shown).includes("sk-of-the-caller-1234") && shown.request.includes("***"));
  assert.ok(!JSON.stringify(providers.connections.map(({ headers }) => headers)).includes(TOKEN));
});

test("without logs a response counts all the same, and no row is left", async () => {
  await gw.create("unlogged", { collect_logs: false, spend_limits: { enabled: true, rules: [{ id: "all", limit: 0.0001, limitType: "cost", window: 3600 }] } });
  const connection = await Connection.open(undefined, { gateway: "unlogged" });
  connection.create();
  connection.send({ type: "unknown" });
  await connection.until(2);
  // What a response has cost is counted behind its end.
  let status;
  for (let n = 3; n <= 40 && status !== 429; n += 1) {
    connection.create();
    ({ status } = (await connection.until(n)).at(-1));
  }
  assert.equal(status, 429);
  await connection.close();
  await rows(0, "unlogged");
});

test("a token that is revoked ends what an open connection may do", async () => {
  await gw.create("revoked", { authentication: true });
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "socket", permissions: ["run"] }) });
  const { id, value } = (await made.json()).result;
  const connection = await Connection.open(undefined, { gateway: "revoked", headers: { "cf-aig-authorization": value } });
  connection.create();
  assert.equal((await connection.until(1))[0].type, "response.completed");
  assert.equal((await gw.api(`/tokens/${id}`, { method: "DELETE" })).status, 200);
  connection.create();
  const { type, status, error } = (await connection.until(2)).at(-1);
  assert.deepEqual([type, status, error.code], ["error", 401, "invalid_api_key"]);
  await connection.close();
});

test("a steered response is followed by one that nobody asked for by name, and each is a row", async () => {
  await gw.create("steered");
  const connection = await Connection.open(undefined, { gateway: "steered" });
  providers.behave = () => ({ hang: true, id: "resp_steered" });
  connection.create({ input: "Go" });
  await until(() => connection.messages.length > 3, "the beginning");
  connection.send({ type: "response.steer", previous_response_id: "resp_steered", input: "Stop" });
  await until(() => connection.provider.received.length === 2, "the steering");
  const say = (event) => connection.provider.socket.send(JSON.stringify(event));
  const usage = { input_tokens: 3, output_tokens: 1, total_tokens: 4 };
  const response = (more) => ({ object: "response", model: "gpt-4o-2024-08-06", output: [], usage, ...more });
  say({ type: "response.incomplete", response: response({ id: "resp_steered", status: "incomplete", incomplete_details: { reason: "steered" } }) });
  say({ type: "response.created", response: response({ id: "resp_next", status: "in_progress", usage: null, previous_response_id: "resp_steered" }) });
  say({ type: "response.completed", response: response({ id: "resp_next", status: "completed", previous_response_id: "resp_steered" }) });
  await connection.until(2);
  await connection.close();
  const found = await rows(2, "steered");
  assert.deepEqual(found.map(({ response_id, finish_reason, model, tokens_in }) => [response_id, finish_reason, model, tokens_in]).sort(), [["resp_next", "completed", "gpt-4o", 3], ["resp_steered", "steered", "gpt-4o", 3]]);
});

test("others that speak like OpenAI are understood, too", async () => {
  await gw.create("others");
  for (const path of ["grok/v1/responses", "azure-openai/res/openai/v1/responses", "openai/responses"]) {
    const connection = await Connection.open(path, { gateway: "others", headers: { "api-key": "sk-azure" } });
    connection.create();
    await connection.until(1);
    await connection.close();
  }
  assert.deepEqual((await rows(3, "others")).map(({ provider, tokens_in }) => [provider, tokens_in]), [["grok", 20], ["azure-openai", 20], ["openai", 20]]);
});
