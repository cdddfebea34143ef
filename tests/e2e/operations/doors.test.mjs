// Doors that strangers and tenants could leave open, or push at for as long as they like.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import { WebSocket } from "undici";
import { ACCOUNT, freePort, Gateway, raw, TOKEN, until } from "../harness.mjs";

/** Counts the statements about tokens. */
const COUNTING = `
import Worker from "./index.js";
export * from "./index.js";
const seen = { tokens: 0 };
const counting = (db) => ({ prepare: (sql) => (/FROM tokens WHERE digest/.test(sql) && (seen.tokens += 1), db.prepare(sql)), batch: (statements) => db.batch(statements) });
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, DB: counting(env.DB) }); }
  async fetch(request) { return new URL(request.url).pathname === "/__seen" ? Response.json(seen) : super.fetch(request); }
}`;

const DIRECT = await freePort();

let gw;
before(async () => {
  const bindings = { MAX_GATEWAYS: "8", MAX_TOKENS: "3", MAX_DATASETS: "2", MAX_EVALUATIONS: "2", MAX_CUSTOM_PROVIDERS: "2", MAX_COSTS: "2", MAX_PROVIDER_CONFIGS: "2", MAX_REPRICES: "2", CLIENT_ADDRESS_HEADER: "x-real-ip" };
  gw = await Gateway.start({ around: COUNTING, bindings, worker: { unsafeDirectSockets: [{ host: "127.0.0.1", port: DIRECT }] } });
  await gw.create("gw", { authentication: true });
  await gw.create("open");
  await gw.create("sibling");
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop(/"event":"request_failed"/));

const CHAT = { model: "gpt-4o", messages: [] };
const asked = async () => (await (await fetch(`${gw.url}/__seen`)).json()).tokens;
const made = (n) => `tgt_${String(n).padStart(43, "x")}`;
const bearer = (token) => ({ authorization: `Bearer ${token}` });
const control = (token, ip, path = `/accounts/${ACCOUNT}/ai-gateway/gateways`, init = {}) => fetch(`${gw.url}${path}`, { ...init, headers: { ...bearer(token), ...(ip && { "x-real-ip": ip }), "cf-connecting-ip": `10.0.0.${Math.floor(Math.random() * 250)}` } });
const data = (token, ip) => gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-authorization": `Bearer ${token}`, "x-real-ip": ip } });

async function token(fields) {
  const answer = await gw.api("/tokens", { method: "POST", body: JSON.stringify(fields) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
}

async function refusal(answer) {
  const { description, internalCode } = await answer.json();
  return { status: answer.status, description, internalCode };
}

test("after twenty wrong tokens an address is not listened to, and the database is not asked", async () => {
  const right = await token({ name: "right", permissions: ["read", "run"] });
  const later = await token({ name: "later", permissions: ["read"] });
  assert.equal((await control(right.value, "192.0.2.1")).status, 200);
  const ways = [(n) => control(made(n), "192.0.2.1"), (n) => control(made(n), "192.0.2.1", "/feedback/x", { method: "POST", body: '{"data":{}}' }), (n) => data(made(n), "192.0.2.1")];
  // What does not look like a token of ours is wrong without a look, and is a guess all the same.
  const guesses = [];
  for (let n = 0; n < 22; n += 1) guesses.push((await (n % 2 ? control(`guess ${n}`, "192.0.2.7") : data(`guess ${n}`, "192.0.2.7"))).status);
  assert.deepEqual(guesses.slice(18), [401, 401, 429, 429]);
  assert.equal((await control(TOKEN, "192.0.2.7")).status, 200);
  for (let n = 0; n < 20; n += 1) assert.equal((await ways[n % ways.length](n)).status, 401, `${n}`);
  const before = await asked();
  for (let n = 100; n < 140; n += 1) {
    const answer = await ways[n % ways.length](n);
    assert.equal(answer.status, 429, `${n}`);
    const wait = Number(answer.headers.get("retry-after"));
    assert.ok(wait > 0 && wait <= 60, `${wait}`);
    const said = await answer.json();
    assert.match(said.description ?? said.errors[0].message, /[Tt]oo many wrong (tokens|ones) came from this address/);
  }
  assert.equal(await asked(), before);
  // What the isolate does not know is not looked at either, however right it is; what it knows is, also after others changed.
  assert.equal((await control(later.value, "192.0.2.1")).status, 429);
  assert.equal((await control(right.value, "192.0.2.1")).status, 200);
  assert.equal((await data(right.value, "192.0.2.1")).status, 200);
  assert.equal((await control(TOKEN, "192.0.2.1")).status, 200);
  assert.equal((await control(later.value, "192.0.2.2")).status, 200);
  await gw.api(`/tokens/${later.id}`, { method: "DELETE" });
  assert.equal((await control(right.value, "192.0.2.1")).status, 200);
  assert.equal((await control(later.value, "192.0.2.2")).status, 401);
  // Without a token no caller was wrong.
  assert.equal((await fetch(`${gw.url}/accounts/${ACCOUNT}/ai-gateway/gateways`, { headers: { "x-real-ip": "192.0.2.1" } })).status, 401);
  // Open gateways ask for none.
  const open = await gw.call("openai/chat/completions", { gateway: "open", json: CHAT, headers: { "cf-aig-authorization": `Bearer ${made(1)}`, "x-real-ip": "192.0.2.1" } });
  assert.equal(open.status, 200);
});

test("where no header tells an address there is one count for all, whatever a client makes up", async () => {
  for (const CLIENT_ADDRESS_HEADER of ["none", "x-real-ip"]) {
    const on = await Gateway.start({ upstream: gw.upstream, bindings: { CLIENT_ADDRESS_HEADER } });
    try {
      const wrong = (n, ip) => fetch(`${on.url}/accounts/a/ai-gateway/gateways`, { headers: { ...bearer(made(n)), "cf-connecting-ip": ip, "x-forwarded-for": ip } });
      const statuses = [];
      for (let n = 0; n < 22; n += 1) statuses.push((await wrong(n, `198.51.100.${n}`)).status);
      assert.deepEqual(statuses.slice(19), [401, 429, 429]);
    } finally {
      await on.miniflare.dispose();
    }
  }
});

test("at Cloudflare the address is its own header's", async () => {
  const port = await freePort();
  const on = await Gateway.start({ upstream: gw.upstream, worker: { unsafeDirectSockets: [{ host: "127.0.0.1", port }] } });
  try {
    const wrong = (n, ip) => fetch(`http://127.0.0.1:${port}/accounts/a/ai-gateway/gateways`, { headers: { ...bearer(made(n)), "cf-connecting-ip": ip } });
    for (let n = 0; n < 20; n += 1) assert.equal((await wrong(n, "198.51.100.1")).status, 401);
    assert.deepEqual([(await wrong(21, "198.51.100.1")).status, (await wrong(22, "198.51.100.2")).status], [429, 401]);
  } finally {
    await on.miniflare.dispose();
  }
});

test("OPTIONS of the data plane goes to no provider, gives no permission and leaves no row", async () => {
  const [{ n }] = await gw.rows("SELECT count(*) AS n FROM logs");
  for (const [path, allow] of [["open/openai/chat/completions", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"], ["gw/openai/x", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"], ["open", "POST, GET, OPTIONS"], ["nothing/custom-x/", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]]) {
    const answer = await raw(`${gw.url}/v1/${ACCOUNT}/${path}`, { method: "OPTIONS", headers: { origin: "https://evil.example", "access-control-request-method": "POST" } });
    assert.deepEqual([answer.status, answer.headers.allow, answer.body.length], [204, allow, 0], path);
    assert.deepEqual(Object.keys(answer.headers).filter((name) => name.startsWith("access-control")), []);
  }
  assert.equal((await fetch(`${gw.url}/v1/x`, { method: "OPTIONS" })).status, 404);
  assert.equal(gw.upstream.requests.length, 0);
  assert.equal((await gw.rows("SELECT count(*) AS n FROM logs"))[0].n, n);
});

/** Opens a WebSocket: 101, or the status and the words it was refused with. */
async function opened(path, headers = {}, port = new URL(gw.url).port) {
  const answer = await new Promise((resolve) => {
    const socket = connect(Number(port), "127.0.0.1");
    let text = "";
    const lines = Object.entries({ Host: `127.0.0.1:${port}`, Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`GET /v1/${ACCOUNT}/${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (/^HTTP\/1.1 101/.test(text) || /\r\n\r\n[^]*\}/.test(text)) socket.destroy();
    });
  });
  return { status: Number(answer.slice(9, 12)), text: answer };
}

test("a page of another site opens no WebSocket through an open gateway", async () => {
  for (const port of [new URL(gw.url).port, DIRECT]) {
    for (const path of ["open", "open/openai/realtime?model=gpt-4o"]) {
      for (const Origin of ["https://evil.example", "null", `http://127.0.0.1:${Number(port) + 1}`]) {
        const refused = await opened(path, { Origin }, port);
        assert.equal(refused.status, 403, `${path} ${Origin}`);
        assert.match(refused.text, /"internalCode":2009|"code":2009/);
        assert.match(refused.text, /its Origin is another site/);
      }
      for (const headers of [{}, { Origin: `http://127.0.0.1:${port}` }, { Origin: "https://app.example", "cf-aig-authorization": `Bearer ${TOKEN}` }]) {
        assert.equal((await opened(path, headers, port)).status, 101, `${path} ${JSON.stringify(headers)}`);
      }
    }
    // With a token asked for, a page has to have one.
    assert.equal((await opened("gw", { Origin: "https://evil.example" }, port)).status, 401);
    assert.equal((await opened("gw", { Origin: "https://app.example", "Sec-WebSocket-Protocol": `cf-aig-authorization.${TOKEN}` }, port)).status, 101);
  }
  assert.ok(gw.upstream.requests.every(({ headers }) => headers.origin !== "https://evil.example"));
});

test("what can be made has a bound, also side by side, and none is lost to it", async () => {
  const post = (path, body) => gw.api(path, { method: "POST", body: JSON.stringify(body) });
  const name = (n) => `many-${n}`;
  const kinds = {
    "/tokens": [3, "tokens", (n) => ({ name: name(n), permissions: ["read"] })],
    "/gateways": [8, "gateways", (n) => ({ id: name(n), collect_logs: true })],
    "/gateways/gw/datasets": [2, "datasets", (n) => ({ name: name(n), enable: true, filters: [] })],
    "/gateways/gw/provider_configs": [2, "stored keys", (n) => ({ provider_slug: "openai", alias: name(n), default_config: true, secret: "sk-0123456789" })],
    "/custom-providers": [2, "custom providers", (n) => ({ name: name(n), slug: name(n), base_url: "https://93.184.216.34/v1" })],
    "/custom-providers/costs": [2, "prices of its own", (n) => ({ account_provider_id: "openai", model: name(n), cost_in: 0 })],
    "/gateways/gw/logs/reprice": [2, "reprices", () => ({ dry_run: true })],
  };
  for (const [path, [most, things, body]] of Object.entries(kinds)) {
    const answers = await Promise.all(Array.from({ length: most + 4 }, (_, n) => post(path, body(n))));
    for (const answer of answers.filter(({ status }) => status !== 200)) {
      const [{ code, message }] = (await answer.json()).errors;
      assert.deepEqual([answer.status, code], [400, 7001], message);
      assert.match(message, new RegExp(`may have ${most} ${things}.* raise the variable MAX_`), path);
    }
    if (path.endsWith("reprice")) continue;
    const listed = await (await gw.api(`${path}?per_page=50`)).json();
    assert.equal(listed.result.length, most, path);
  }
  const defaults = (await gw.result("/gateways/gw/provider_configs")).filter(({ default_config }) => default_config);
  assert.equal(defaults.length, 1);
  const dataset_ids = (await gw.result("/gateways/gw/datasets")).map(({ id }) => id).slice(0, 1);
  const runs = await Promise.all([0, 1, 2, 3].map((n) => post("/gateways/gw/evaluations", { name: name(n), dataset_ids, evaluation_type_ids: ["cost"] })));
  assert.deepEqual(runs.map(({ status }) => status).sort(), [200, 200, 400, 400]);
  // A name that is taken is still told as that.
  const taken = await (await post("/gateways", { id: "gw" })).json();
  assert.match(taken.errors[0].message, /already exists/);
  // The default gateway is there for every account, and deleting makes room.
  const first = await gw.call("openai/chat/completions", { gateway: "default", json: CHAT, headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
  assert.equal(first.status, 200);
  await gw.api("/gateways/default", { method: "DELETE" });
  await gw.api("/gateways/many-0", { method: "DELETE" });
  const gone = (await gw.result("/gateways?per_page=50")).length;
  assert.equal((await post("/gateways", { id: "room" })).status, gone < 8 ? 200 : 400);
});

test("feedback by an id that logs of several gateways have is for the caller to tell apart", async () => {
  const answer = { headers: { "content-type": "application/json" }, body: '{"id":"chatcmpl-forged","object":"chat.completion","choices":[]}' };
  const logs = {};
  for (const gateway of ["open", "sibling"]) {
    gw.upstream.next(answer);
    const given = await gw.call("openai/chat/completions", { gateway, json: CHAT });
    logs[gateway] = await gw.logOf(given, gateway);
  }
  const send = (id, query = "", init = {}) => fetch(`${gw.url}/feedback/${id}${query}`, { method: "POST", body: '{"data":{"good":true}}', ...init, headers: bearer(TOKEN) });
  for (const init of [{}, { method: "GET", body: undefined }, { method: "DELETE", body: undefined }]) {
    const several = await send("chatcmpl-forged", "", init);
    assert.equal(several.status, 409, JSON.stringify(init));
    assert.match((await several.json()).errors[0].message, /acct\/open, acct\/sibling \(account\/gateway\).*\?gateway=/);
  }
  const bulk = await fetch(`${gw.url}/feedback`, { method: "POST", headers: bearer(TOKEN), body: '{"request_id":"chatcmpl-forged","data":{"a":1}}' });
  assert.equal(JSON.parse(await bulk.text()).status, 409);
  assert.deepEqual(await gw.rows("SELECT * FROM log_feedback"), []);
  for (const [id, query, wanted] of [["chatcmpl-forged", "?gateway=open", "open"], ["chatcmpl-forged", `?account=${ACCOUNT}&gateway=sibling`, "sibling"], [logs.open.id, "", "open"]]) {
    const taken = await send(id, query);
    assert.deepEqual([taken.status, (await taken.json()).result.log_id], [200, logs[wanted].id], query);
  }
});

test("a body that does not arrive is not waited for", async () => {
  const slow = (port, path) =>
    new Promise((resolve) => {
      const socket = connect(Number(port), "127.0.0.1");
      const begun = Date.now();
      let text = "";
      socket.write(`POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nauthorization: Bearer ${TOKEN}\r\ncontent-length: 50\r\n\r\n{`);
      const drip = setInterval(() => socket.write(" "), 2_000);
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        text += chunk;
        if (text.includes("did not arrive")) socket.destroy();
      });
      socket.on("close", () => {
        clearInterval(drip);
        resolve({ status: Number(text.slice(9, 12)), text, took: Date.now() - begun });
      });
    });
  const paths = [`/accounts/${ACCOUNT}/ai-gateway/gateways`, "/feedback/x", "/feedback"];
  const ports = [new URL(gw.url).port, DIRECT];
  for (const { status, text, took } of await Promise.all(ports.flatMap((port) => paths.map((path) => slow(port, path))))) {
    assert.equal(status, 408, text);
    assert.match(text, /The body did not arrive within 30 seconds/);
    assert.ok(took > 25_000 && took < 45_000, `${took}`);
  }
});
