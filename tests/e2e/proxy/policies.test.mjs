// Policies, and what a token may be used for: one guard decides for every door, before the cache is asked.
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import { WebSocket } from "ws";
import { Providers } from "../../websockets.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

/** Another Worker, which the operator bound to this one. */
const CALLER = `export default { fetch: (request, env) => env.TOLLGATE.fetch("https://tollgate" + new URL(request.url).pathname, request) };`;

let gw, providers, sockets;
before(async () => {
  const others = [{ name: "caller", modules: [{ type: "ESModule", path: "caller.mjs", contents: CALLER }], compatibilityDate: "2026-11-01", serviceBindings: { TOLLGATE: "tollgate" } }];
  gw = await Gateway.start({ others, bindings: { PROVIDER_KEYS: JSON.stringify({ openai: "sk-operator-0123456789", anthropic: "sk-operator-0123456789", "google-ai-studio": "AIza-operator-0123456789" }) } });
  providers = await Providers.start();
  sockets = await Gateway.start({ bindings: { PROVIDER_BASE_URLS: JSON.stringify(providers.baseUrls) } });
});
beforeEach(() => {
  gw.upstream.requests.length = 0;
  gw.upstream.answer = undefined;
});
after(async () => {
  await gw.stop();
  await sockets.stop();
  await providers.stop();
});

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };
const admin = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const tagged = (metadata) => ({ "cf-aig-metadata": JSON.stringify(metadata) });
/** What a request is to cost, of a caller who is believed. */
const costs = (dollars) => ({ ...admin, "cf-aig-custom-cost": JSON.stringify({ total_cost: dollars }) });

async function policy(gateway, given, on = gw) {
  const whole = { name: "policy", actor: "all", resource: "*", condition: "true", action: { type: "no-limit" }, ...given };
  const answer = await on.api(`/gateways/${gateway}/policies?commit=true`, { method: "POST", body: JSON.stringify(whole) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
}

async function token(terms, permissions = ["run"]) {
  const answer = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "app", permissions, ...terms }) });
  assert.equal(answer.status, 200, await answer.clone().text());
  const { result } = await answer.json();
  return { ...result, headers: { "cf-aig-authorization": `Bearer ${result.value}` } };
}

const chat = (gateway, headers = admin, json = CHAT) => gw.call("openai/chat/completions", { gateway, json, headers });

/** A request at each door, for a model of a provider. Gives what the client was told: its status, and the text of the answer. */
const told = async (answer) => [answer.status, await answer.text()];
/** Where the test provider knows no answer of its own. */
const plainly = (is, send) => {
  if (is) gw.upstream.next({ body: "{}", headers: { "content-type": "application/json" } });
  return send().then(told);
};
const contents = [{ role: "user", parts: [{ text: "Lunch?" }] }];
const DOORS = {
  "a model in the path": (gateway, headers, is) => gw.call(`google-ai-studio/v1beta/models/${is ? "gemini-2.5-flash" : "gemini-2.5-pro"}:generateContent`, { gateway, headers, json: { contents } }).then(told),
  "a model in the body": (gateway, headers, is) => chat(gateway, headers, { ...CHAT, model: is ? "gpt-4o-mini" : "gpt-4o" }).then(told),
  "the same in capitals": (gateway, headers, is) => chat(gateway, headers, { ...CHAT, model: is ? "GPT-4o-mini" : "GPT-4o" }).then(told),
  "a body of one block after the other": (gateway, headers, is) => gw.call("openai/chat/completions", { gateway, method: "POST", duplex: "half", headers: { ...headers, "content-type": "application/json" }, body: new Blob([JSON.stringify({ ...CHAT, model: is ? "gpt-4o-mini" : "gpt-4o" })]).stream() }).then(told),
  compat: (gateway, headers, is) => gw.call("compat/chat/completions", { gateway, headers, json: { ...CHAT, model: `openai/${is ? "gpt-4o-mini" : "gpt-4o"}` } }).then(told),
  "the unified API": (gateway, headers, is) => gw.call("ai/v1/chat/completions", { gateway, headers, json: { ...CHAT, model: `openai/${is ? "gpt-4o-mini" : "gpt-4o"}` } }).then(told),
  "a translated request": (gateway, headers, is) => gw.call("ai/v1/chat/completions", { gateway, headers, json: { ...CHAT, model: `anthropic/claude-${is ? "haiku" : "opus"}-4-5` } }).then(told),
  "the unified API's responses": (gateway, headers, is) => gw.call("ai/v1/responses", { gateway, headers, json: { input: "Lunch?", model: `openai/${is ? "gpt-4o-mini" : "gpt-4o"}` } }).then(told),
  "the unified API's messages": (gateway, headers, is) => gw.call("ai/v1/messages", { gateway, headers, json: { ...CHAT, max_tokens: 50, model: `openai/${is ? "gpt-4o-mini" : "gpt-4o"}` } }).then(told),
  "the unified API's models": (gateway, headers, is) => gw.call(`ai/v1beta/models/openai/${is ? "gpt-4o-mini" : "gpt-4o"}:generateContent`, { gateway, headers, json: { contents } }).then(told),
  "ai/run": (gateway, headers, is) => gw.call(`ai/run/@cf/meta/llama-3.1-${is ? "8b" : "70b"}-instruct`, { gateway, headers, json: { prompt: "Lunch?" } }).then(told),
  "a model of a route": (gateway, headers, is) => gw.call("ai/v1/chat/completions", { gateway, headers, json: { ...CHAT, model: `dynamic/${is ? "small" : "large"}` } }).then(told),
  "a bound Worker": async (gateway, headers, is) => {
    const caller = await gw.miniflare.getWorker("caller");
    return told(await caller.fetch(`https://caller/v1/${ACCOUNT}/${gateway}/openai/chat/completions`, { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify({ ...CHAT, model: is ? "gpt-4o-mini" : "gpt-4o" }) }));
  },
  "an alias": (gateway, headers, is) => gw.call("ai/v1/chat/completions", { gateway, headers, json: { ...CHAT, model: is ? "small" : "large" } }).then(told),
  "Cloudflare's REST": (gateway, headers, is) => fetch(`${gw.url}/client/v4/accounts/${ACCOUNT}/ai/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json", "cf-aig-gateway-id": gateway, ...headers }, body: JSON.stringify({ ...CHAT, model: `openai/${is ? "gpt-4o-mini" : "gpt-4o"}` }) }).then(told),
  "a response that goes on with another": (gateway, headers, is) => plainly(is, () => gw.call("openai/responses", { gateway, headers, json: { previous_response_id: "resp_1", input: "And?", model: is ? "gpt-4o-mini" : "gpt-4o" } })),
  "a count of tokens": (gateway, headers, is) => plainly(is, () => gw.call("anthropic/v1/messages/count_tokens", { gateway, headers, json: { ...CHAT, model: `claude-${is ? "haiku" : "opus"}-4-5` } })),
  "a batch in one body": (gateway, headers, is) => plainly(is, () => gw.call("anthropic/v1/messages/batches", { gateway, headers, json: { requests: [{ custom_id: "a", params: { ...CHAT, max_tokens: 5, model: `claude-${is ? "haiku" : "opus"}-4-5` } }] } })),
  "a session that is begun": (gateway, headers, is) => plainly(is, () => gw.call("openai/realtime/client_secrets", { gateway, headers, json: { session: { type: "realtime", model: is ? "gpt-4o-mini" : "gpt-4o" } } })),
  "a tool of a session": (gateway, headers, is) => plainly(is, () => gw.call("openai/realtime/client_secrets", { gateway, headers, json: { session: { type: "realtime", model: "gpt-4o-mini", tools: [{ type: "image_generation", model: is ? "gpt-4o-mini" : "gpt-image-1" }] } } })),
  "a tool": (gateway, headers, is) => plainly(is, () => gw.call("openai/responses", { gateway, headers, json: { input: "Draw", model: "gpt-4o-mini", tools: [{ type: "image_generation", model: is ? "gpt-4o-mini" : "gpt-image-1" }] } })),
  "a form": (gateway, headers, is) => plainly(is, () => {
    const body = new FormData();
    body.set("file", new Blob([Buffer.from([255, 251, 0])], { type: "audio/mpeg" }), "a.mp3");
    body.set("model", is ? "gpt-4o-mini" : "gpt-4o-transcribe");
    return gw.call("openai/audio/transcriptions", { gateway, headers, method: "POST", body });
  }),
  "a compressed body": (gateway, headers, is) => plainly(is, () => gw.call("openai/chat/completions", { gateway, method: "POST", headers: { ...headers, "content-type": "application/json", "content-encoding": "gzip" }, body: gzipSync(JSON.stringify({ ...CHAT, model: is ? "gpt-4o-mini" : "gpt-4o" })) })),
  "an element of a universal request": (gateway, headers, is) => fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}`, { method: "POST", headers, body: JSON.stringify([{ provider: "openai", endpoint: "chat/completions", query: { ...CHAT, model: is ? "gpt-4o-mini" : "gpt-4o" } }]) }).then(told),
  "a message of the gateway's WebSocket": (gateway, headers, is) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/${gateway}`, { headers });
    socket.on("error", reject);
    socket.on("open", () => socket.send(JSON.stringify({ type: "universal.create", request: { eventId: "e", provider: "openai", endpoint: "chat/completions", query: { ...CHAT, model: is ? "gpt-4o-mini" : "gpt-4o" } } })));
    socket.on("message", (data) => {
      resolve([String(data).includes("universal.created") ? 200 : 403, String(data)]);
      socket.close();
    });
  }),
};
const ALLOWED = ["openai/gpt-*-mini", "workers-ai/@cf/meta/*-8b-instruct", "google-ai-studio/gemini-*-flash", "anthropic/claude-haiku-*"];
const aliases = { model_aliases: { small: "openai/gpt-4o-mini", large: "openai/gpt-4o" } };

/** Routes with one model each. */
async function routes(gateway) {
  for (const [name, model] of [["small", "gpt-4o-mini"], ["large", "gpt-4o"]]) {
    const elements = [{ id: "s", type: "start", outputs: { next: { elementId: "m" } } }, { id: "m", type: "model", properties: { provider: "openai", model, retries: 0, timeout: 0 }, outputs: { success: { elementId: "e" } } }, { id: "e", type: "end", outputs: {} }];
    const made = await gw.api(`/gateways/${gateway}/routes`, { method: "POST", body: JSON.stringify({ name, elements }) });
    assert.equal(made.status, 200, await made.text());
  }
}

async function walk(gateway, headers, said) {
  await routes(gateway);
  for (const [door, call] of Object.entries(DOORS)) {
    const before = gw.upstream.requests.length;
    const [refused, text] = await call(gateway, headers, false);
    assert.equal(refused, 403, `${door}: ${text}`);
    assert.match(text, said, door);
    assert.equal(gw.upstream.requests.length, before, `${door}: nothing is sent`);
    const [passed, answer] = await call(gateway, headers, true);
    assert.equal(passed, 200, `${door}: ${answer}`);
    assert.equal(gw.upstream.requests.length, before + 1, door);
  }
  const logs = await gw.result(`/gateways/${gateway}/logs?per_page=50`);
  const count = (status) => logs.filter(({ status_code }) => status_code === status).length;
  assert.deepEqual([count(403), count(200)], [Object.keys(DOORS).length, Object.keys(DOORS).length]);
  assert.ok(logs.filter(({ status_code }) => status_code === 403).every(({ error, success, model }) => said.test(error) && !success && model));
}

test("policies decide at every door, and what they refuse is sent nowhere", async () => {
  const gateway = await gw.create("doors", { authentication: true, ...aliases });
  await policy(gateway, { name: "small ones", resource: { model: ALLOWED } });
  await walk(gateway, admin, /none of them allows/);
});

test("a token's models are all that it can be used for, at every door", async () => {
  const gateway = await gw.create("token-doors", { authentication: true, ...aliases });
  const { headers } = await token({ models: ALLOWED });
  await walk(gateway, headers, /its token is for the models/);
  // The admin token has no such bounds.
  assert.equal((await chat(gateway)).status, 200);
});

test("a judge asks the guard like any caller", async () => {
  const gateway = await gw.create("judged");
  await chat(gateway);
  await until(async () => (await gw.result(`/gateways/${gateway}/logs`)).length === 1, "the log");
  await policy(gateway, { name: "no judges", condition: 'caller == "judge"', action: { type: "block" } });
  await policy(gateway, { name: "the rest" });
  const post = async (path, body) => (await (await gw.api(`/gateways/${gateway}${path}`, { method: "POST", body: JSON.stringify(body) })).json()).result;
  const dataset = await post("/datasets", { name: "all", enable: true, filters: [] });
  const settings = { llm_judge: { prompt: "JUDGE {{output}}", provider: "openai", model: "gpt-4o", verdict: "number" } };
  const sent = gw.upstream.requests.length;
  await post("/evaluations", { name: "judged", dataset_ids: [dataset.id], evaluation_type_ids: ["llm_judge"], settings });
  const refused = await until(async () => (await gw.result(`/gateways/${gateway}/logs`)).find(({ status_code }) => status_code === 403), "the judge's row");
  assert.match((refused ?? (await gw.result(`/gateways/${gateway}/logs`)).find(({ status_code }) => status_code === 403)).error, /The policy 'no judges'/);
  assert.equal(gw.upstream.requests.length, sent);
});

test("models that tools run are asked of the guard like the request's own", async () => {
  const gateway = await gw.create("tool-models", { authentication: true });
  await policy(gateway, { name: "everyone" });
  await policy(gateway, { name: "no pictures", resource: { model: "openai/gpt-image-*" }, action: { type: "block" } });
  const { headers } = await token({ models: ["openai/gpt-4o"] });
  const open = await gw.create("tool-tokens", { authentication: true });
  const draws = (model) => ({ model: "gpt-4o", input: "Draw", tools: [{ type: "function", name: "f", parameters: { properties: { model: { type: "string" } } } }, { type: "image_generation", model }] });
  for (const [where, who, said] of [[gateway, admin, /'no pictures'/], [open, headers, /and not for 'gpt-image-1'/]]) {
    const before = gw.upstream.requests.length;
    const refused = await gw.call("openai/responses", { gateway: where, headers: who, json: draws("gpt-image-1") });
    assert.equal(refused.status, 403);
    assert.match(await refused.clone().text(), said);
    assert.equal(gw.upstream.requests.length, before, "nothing is sent");
    const row = await gw.logOf(refused, where);
    assert.deepEqual([row.status_code, row.model, said.test(row.error)], [403, "gpt-4o", true]);
    // A tool's model does not stand for the request's, which its provider may take from elsewhere.
    const hidden = await gw.call("openai/responses", { gateway: where, headers: who, json: { ...draws("gpt-4o"), model: undefined, prompt: { id: "pmpt_1" } } });
    assert.deepEqual([hidden.status, gw.upstream.requests.length], [403, before], await hidden.text());
    const passed = await gw.call("openai/responses", { gateway: where, headers: who, json: draws("gpt-4o") });
    assert.equal(passed.status, 200, await passed.text());
  }
});

test("each response of a provider's WebSocket asks the guard", async () => {
  const gateway = await sockets.create("messages");
  await policy(gateway, { name: "small ones", resource: { model: ALLOWED } }, sockets);
  const socket = new WebSocket(`${sockets.url.replace("http", "ws")}/v1/${ACCOUNT}/${gateway}/openai/v1/responses`, { headers: { authorization: "Bearer sk-test" } });
  const heard = [];
  socket.on("message", (data) => heard.push(JSON.parse(data)));
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const ask = async (model) => {
    const before = heard.filter(({ type }) => /^response\.completed$|^error$/.test(type)).length;
    socket.send(JSON.stringify({ type: "response.create", model, input: "Hi" }));
    await until(() => heard.filter(({ type }) => /^response\.completed$|^error$/.test(type)).length > before, `the end of ${model}`);
    return heard.filter(({ type }) => /^response\.completed$|^error$/.test(type)).at(-1);
  };
  const refused = await ask("gpt-4o");
  assert.equal(refused.type, "error");
  assert.match(JSON.stringify(refused), /none of them allows/);
  assert.equal((await ask("gpt-4o-mini")).type, "response.completed");
  socket.close();
  const logs = () => sockets.result(`/gateways/${gateway}/logs`);
  await until(async () => (await logs()).length === 2, "two rows");
  assert.deepEqual((await logs()).map(({ status_code }) => status_code).sort(), [200, 403]);
});

test("a block is a block, in the form that Cloudflare's clients know, and the cache does not get around it", async () => {
  const gateway = await gw.create("blocks", { cache_ttl: 600 });
  assert.equal((await chat(gateway)).status, 200, "without policies all pass");
  await until(async () => (await chat(gateway)).headers.get("cf-aig-cache-status") === "HIT", "a kept answer");
  await policy(gateway, { name: "everyone" });
  const blocked = await policy(gateway, { name: "no tests", condition: 'metadata.env == "test"', action: { type: "block" } });
  const refused = await chat(gateway, tagged({ env: "test" }));
  const body = await refused.json();
  assert.deepEqual([refused.status, body.success, body.error, body.internalCode, body.httpCode], [403, false, { message: "Access denied by policy" }, 2048, 403]);
  assert.match(body.description, /The policy 'no tests' of this gateway blocks/);
  assert.match((await gw.logOf(refused, gateway)).error, /The policy 'no tests'/);
  // A request that does not say what it is asked for is blocked as well.
  assert.match((await (await chat(gateway)).json()).description, /do not tell metadata\.env/);
  assert.equal((await chat(gateway, tagged({ env: "live" }))).status, 200);
  await gw.api(`/gateways/${gateway}/policies/${blocked.id}`, { method: "DELETE" });
  assert.equal((await chat(gateway, tagged({ env: "test" }))).status, 200);
});

test("a request that hides its model passes no policy by model", async () => {
  const gateway = await gw.create("hidden");
  await policy(gateway, { name: "everyone" });
  await policy(gateway, { name: "no large ones", resource: { model: "openai/gpt-4o" }, action: { type: "block" } });
  const twice = '{"model":"gpt-4o-mini","messages":[],"model":"gpt-4o"}';
  const odd = await gw.call("openai/chat/completions", { gateway, method: "POST", headers: { ...admin, "content-type": "application/json" }, body: twice });
  assert.equal(odd.status, 403, await odd.text());
  const none = await chat(gateway, admin, { messages: CHAT.messages });
  assert.match((await none.json()).description, /'no large ones' .* do not tell the model/);
  // What runs no model is about none.
  assert.equal((await gw.call("openai/models", { gateway, headers: admin })).status, 200);
});

test("the country, the token and its owner are what policies may ask for", async () => {
  const gateway = await gw.create("asked", { authentication: true });
  await policy(gateway, { name: "germans", condition: 'cf.country == "DE"' });
  await policy(gateway, { name: "ann", condition: 'token.owner == "ann"' });
  const [ann, bob] = [await token({ owner: "ann" }), await token({ owner: "bob" })];
  const status = async (headers) => (await chat(gateway, headers)).status;
  assert.deepEqual([await status(ann.headers), await status(bob.headers), await status({ ...bob.headers, "cf-ipcountry": "de" }), await status({ ...bob.headers, "cf-ipcountry": "FR" })], [200, 403, 200, 403]);
});

test("a person is who Cloudflare Access signs for, whatever a caller claims", async () => {
  const [right, wrong] = [0, 1].map(() => generateKeyPairSync("rsa", { modulusLength: 2048 }));
  const keys = createServer((_, response) => response.end(JSON.stringify({ keys: [{ ...right.publicKey.export({ format: "jwk" }), kid: "k1" }] })));
  await new Promise((resolve) => keys.listen(0, "127.0.0.1", resolve));
  const team = `http://127.0.0.1:${keys.address().port}`;
  const on = await Gateway.start({ upstream: gw.upstream, bindings: { ACCESS_TEAM: team, ACCESS_AUD: "aud1" } });
  try {
    await on.create("people");
    await policy("people", { name: "engineers", actor: "user:{cf.user.email}", condition: '"engineers" in cf.user.groups && cf.custom.level > 1' }, on);
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const status = async (claims, key = right.privateKey) => {
      const seconds = Math.floor(Date.now() / 1_000);
      const text = `${part({ alg: "RS256", kid: "k1" })}.${part({ iss: team, aud: ["aud1"], sub: "1", email: "ann@example.com", exp: seconds + 60, ...claims })}`;
      const assertion = `${text}.${sign("RSA-SHA256", Buffer.from(text), key).toString("base64url")}`;
      return (await on.call("openai/chat/completions", { gateway: "people", json: CHAT, headers: { "cf-access-jwt-assertion": assertion } })).status;
    };
    const ann = { groups: ["engineers"], custom: { level: 2 } };
    assert.deepEqual([await status(ann), await status({ ...ann, groups: ["sales"] }), await status({ ...ann, custom: { level: 1 } })], [200, 403, 403]);
    assert.deepEqual([await status(ann, wrong.privateKey), await status({ ...ann, aud: ["aud2"] }), await status({ ...ann, exp: 1 })], [403, 403, 403]);
    assert.equal((await on.call("openai/chat/completions", { gateway: "people", json: CHAT, headers: tagged({ "cf.user.groups": "engineers" }) })).status, 403);
  } finally {
    await on.miniflare.dispose();
    await new Promise((resolve) => keys.close(resolve));
  }
});

test("64 parallel requests at a policy's cap for 10 give exactly 10", async () => {
  const gateway = await gw.create("capped");
  await policy(gateway, { name: "team cap", actor: "team:{metadata.team}", action: { type: "limit", amount: 1, period: "monthly", technique: "named-interval" } });
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  gw.upstream.answer = () => ({ after: released, body: "{}", headers: { "content-type": "application/json" } });
  const sent = Promise.all(Array.from({ length: 64 }, async () => {
    const answer = await chat(gateway, { ...costs(0.1), ...tagged({ team: "a" }) });
    return [answer.status, await answer.text(), answer];
  }));
  await until(() => gw.upstream.requests.length === 10, "ten requests to be under way");
  release();
  const answers = await sent;
  gw.upstream.answer = undefined;
  const refused = answers.filter(([status]) => status === 429);
  assert.deepEqual([answers.filter(([status]) => status === 200).length, refused.length, gw.upstream.requests.length], [10, 54, 10]);
  const body = JSON.parse(refused[0][1]);
  assert.deepEqual([body.success, body.error.message, body.error.bucket, body.error.limit, body.internalCode], [false, "Spending limit exceeded", "team:a :", 1, 2045]);
  assert.ok(Number(refused[0][2].headers.get("retry-after")) > 0);
  assert.match((await gw.logOf(refused[0][2], gateway)).error, /The policy 'team cap'/);
  // Another team has a bucket of its own, and a request without one is about no policy.
  assert.equal((await chat(gateway, { ...costs(0.1), ...tagged({ team: "b" }) })).status, 200);
  assert.equal((await chat(gateway, costs(0.1))).status, 403);
});

/** How many of 64 requests at once get past; they wait at the provider until all have been decided on. */
async function passedOf64(gateway, headers) {
  const before = gw.upstream.requests.length;
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  gw.upstream.answer = () => ({ after: released, body: "{}", headers: { "content-type": "application/json" } });
  let refused = 0;
  const sent = Promise.all(Array.from({ length: 64 }, async () => {
    const answer = await chat(gateway, headers);
    refused += answer.status === 429 ? 1 : 0;
    await answer.text();
    return answer.status;
  }));
  await until(() => gw.upstream.requests.length - before + refused === 64, "all to be decided on");
  release();
  const passed = (await sent).filter((status) => status === 200).length;
  gw.upstream.answer = undefined;
  assert.equal(gw.upstream.requests.length - before, passed, "what was refused is not sent");
  return passed;
}

test("64 parallel requests give exactly the cap of every period, and of a token's own rules", async () => {
  for (const period of ["hourly", "daily", "weekly", "monthly"]) {
    const gateway = await gw.create(`cap-${period}`);
    await policy(gateway, { name: period, actor: "team:{metadata.team}", action: { type: "limit", amount: 0.5, period, technique: "named-interval" } });
    const hour = () => Math.floor(Date.now() / 3_600_000);
    const run = async (team, began = hour()) => {
      const passed = await passedOf64(gateway, { ...costs(0.1), ...tagged({ team }) });
      // A period that ended meanwhile has begun anew.
      return began === hour() ? passed : run(`${team}-again`);
    };
    assert.equal(await run("a"), 5, period);
  }
  // A cap of a bucket that another policy lifts stops no request, and a block stops all.
  const lifted = await gw.create("cap-lifted");
  const cap = { actor: "team:{metadata.team}", action: { type: "limit", amount: 0.5, period: "monthly", technique: "named-interval" } };
  await policy(lifted, { name: "cap", ...cap });
  await policy(lifted, { name: "free", actor: cap.actor, condition: 'metadata.team == "a"' });
  assert.equal(await passedOf64(lifted, { ...costs(0.1), ...tagged({ team: "a" }) }), 64);
  assert.equal(await passedOf64(lifted, { ...costs(0.1), ...tagged({ team: "b" }) }), 5);
  await policy(lifted, { name: "none", condition: 'metadata.team == "c"', action: { type: "block" } });
  const blocked = await Promise.all(Array.from({ length: 64 }, () => chat(lifted, { ...costs(0.1), ...tagged({ team: "c" }) })));
  assert.ok(blocked.every(({ status }) => status === 403));
  const gateway = await gw.create("own-64", { authentication: true });
  const few = await token({ rate_limiting_rules: [{ id: "few", limit: 7, interval: 31_536_000 }] });
  assert.equal(await passedOf64(gateway, few.headers), 7);
  const budget = await token({ spend_limits: { rules: [{ id: "budget", limit: 0.6, limitType: "cost", window: 31_536_000, reserve: true }] } });
  assert.equal(await passedOf64(gateway, { ...budget.headers, "cf-aig-custom-cost": '{"total_cost":0.1}' }), 6);
});

test("a token's own rules count for it alone, and its metadata is not overridden", async () => {
  const gateway = await gw.create("own", { authentication: true });
  const limited = await token({ metadata: { team: "search", level: 2 }, rate_limiting_rules: [{ id: "few", limit: 3, interval: 86_400 }], spend_limits: { rules: [{ id: "budget", limit: 0.5, limitType: "cost", window: 86_400 }] } });
  const other = await token({ rate_limiting_rules: [{ id: "few", limit: 3, interval: 86_400 }] });
  const statuses = (await Promise.all(Array.from({ length: 16 }, () => chat(gateway, limited.headers)))).map(({ status }) => status);
  assert.deepEqual(statuses.filter((status) => status === 200).length, 3);
  assert.equal((await chat(gateway, other.headers)).status, 200);
  const refused = await chat(gateway, { ...limited.headers, ...tagged({ team: "other", a: 1 }) });
  assert.match((await refused.clone().json()).description, new RegExp(`rate limit 'token\\.${limited.id}\\.few'`));
  assert.match(refused.headers.get("cf-aig-metadata-dropped"), /team is set by the token/);
  assert.deepEqual((await gw.logOf(refused, gateway)).metadata, { team: "search", level: 2, a: 1 });
  // More requests, and then the budget.
  const patched = await gw.api(`/tokens/${limited.id}`, { method: "PATCH", body: JSON.stringify({ rate_limiting_rules: null }) });
  assert.equal((await patched.json()).result.rate_limiting_rules, null);
  assert.equal((await chat(gateway, { ...limited.headers, "cf-aig-custom-cost": '{"total_cost":0.6}' })).status, 200);
  await until(async () => (await chat(gateway, limited.headers)).status === 429, "the budget to be used up");
  assert.equal((await chat(gateway, other.headers)).status, 200);
});

test("a batch, whose models stand in a file, passes no rule by model", async () => {
  const gateway = await gw.create("batch");
  const { headers } = await token({ models: ["openai/gpt-4o-mini"] });
  const begin = (headers) => gw.call("openai/batches", { gateway, headers, json: { input_file_id: "file-1", endpoint: "/v1/chat/completions", completion_window: "24h" } });
  const refused = await begin(headers);
  assert.equal(refused.status, 403);
  assert.match((await refused.json()).description, /does not tell its model/);
  gw.upstream.answer = () => ({ body: "{}", headers: { "content-type": "application/json" } });
  for (const [method, path] of [["GET", "openai/batches"], ["POST", "openai/batches/b_1/cancel"], ["GET", "openai/batches/b_1"]]) {
    const answer = await gw.call(path, { gateway, headers, method });
    assert.equal(answer.status, 200, `${method} ${path}: ${await answer.text()}`);
  }
  assert.equal((await begin((await token({ providers: ["openai"] })).headers)).status, 200);
  gw.upstream.answer = undefined;
});

test("a token for some providers reaches no other, and its elements neither", async () => {
  const gateway = await gw.create("providers");
  const { headers } = await token({ providers: ["openai"] });
  assert.equal((await chat(gateway, headers)).status, 200);
  const refused = await gw.call("anthropic/v1/messages", { gateway, headers, json: { model: "claude-haiku-4-5", max_tokens: 5, messages: CHAT.messages } });
  assert.match((await refused.json()).description, /its token is for the providers openai only/);
  // The next element of a universal request may be one that it reaches.
  const elements = [{ provider: "anthropic", endpoint: "v1/messages", query: { model: "claude-haiku-4-5", max_tokens: 5, messages: CHAT.messages } }, { provider: "openai", endpoint: "chat/completions", query: CHAT }];
  const second = await fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}`, { method: "POST", headers, body: JSON.stringify(elements) });
  assert.deepEqual([second.status, second.headers.get("cf-aig-step")], [200, "1"]);
});

test("a budget that is used up lets through what costs nothing", async () => {
  const gateway = await gw.create("free", { spend_limits: { rules: [{ id: "budget", limit: 0.5, limitType: "cost", window: 86_400 * 30 }] } });
  await policy(gateway, { name: "cap", action: { type: "limit", amount: 0.5, period: "monthly" } });
  assert.equal((await chat(gateway, costs(0.5))).status, 200);
  await until(async () => (await chat(gateway)).status === 429, "the budget to be used up");
  gw.upstream.answer = () => ({ body: "{}", headers: { "content-type": "application/json" } });
  for (const [method, path] of [
    ["GET", "openai/models"], ["GET", "openai/batches"], ["GET", "openai/responses/resp_1"], ["GET", "openai/files/file_1/content"], ["POST", "openai/responses/resp_1/cancel"], ["POST", "openai/batches/b_1/cancel"],
    ["DELETE", "openai/responses/resp_1"], ["DELETE", "openai/files/file_1"], ["POST", "anthropic/v1/messages/count_tokens"], ["POST", "anthropic/v1/messages/batches/b_1/cancel"], ["GET", "anthropic/v1/messages/batches/b_1/results"],
    ["GET", "anthropic/v1/models"], ["GET", "google-ai-studio/v1beta/models"], ["GET", "openai/batches/b_1"], ["GET", "openai/responses/resp_1/input_items"], ["GET", "openai/vector_stores"], ["HEAD", "openai/models"], ["DELETE", "anthropic/v1/messages/batches/b_1"], ["DELETE", "google-ai-studio/v1beta/files/f"],
    ["POST", "openai/responses/input_tokens"], ["POST", "openai/uploads/u/cancel"], ["POST", "openai/fine_tuning/jobs/j/cancel"], ["POST", "openai/fine_tuning/jobs/j/pause"], ["POST", "openai/threads/t/runs/r/cancel"], ["POST", "openai/realtime/calls/c/hangup"],
    ["POST", "google-ai-studio/v1beta/models/gemini-2.5-pro%3AcountTokens"], ["POST", "google-ai-studio/v1beta/models/gemini-2.5-pro:countTokens"], ["POST", "google-ai-studio/v1beta/batches/b:cancel"],
  ]) {
    const answer = await gw.call(path, { gateway, method, headers: { ...admin, ...(method === "POST" && { "content-type": "application/json" }) }, ...(method === "POST" && { body: '{"model":"claude-haiku-4-5","messages":[]}' }) });
    assert.equal(answer.status, 200, `${method} ${path}: ${await answer.text()}`);
  }
  for (const [method, path] of [["POST", "openai/responses"], ["POST", "openai/images/generations"], ["POST", "anthropic/v1/messages"], ["POST", "openai/responses/compact"]]) {
    const answer = await gw.call(path, { gateway, method, headers: { ...admin, "content-type": "application/json" }, body: '{"model":"claude-haiku-4-5","input":"a","messages":[]}' });
    assert.equal(answer.status, 429, `${method} ${path}: ${await answer.text()}`);
  }
  assert.equal((await chat(gateway)).status, 429);
});

test("the limits of a gateway show the rules of tokens and the caps of policies", async () => {
  const gateway = await gw.create("shown-limits", { authentication: true });
  await policy(gateway, { name: "team cap", actor: "team:{metadata.team}", action: { type: "limit", amount: 2, period: "weekly" } });
  const { id, headers } = await token({ rate_limiting_rules: [{ id: "few", limit: 3, interval: 86_400 }], spend_limits: { rules: [{ id: "own", limit: 5, limitType: "cost", window: 86_400 }] } });
  assert.equal((await chat(gateway, { ...headers, "cf-aig-custom-cost": '{"total_cost":0.25}', ...tagged({ team: "a" }) })).status, 200);
  const limits = () => gw.result(`/gateways/${gateway}/limits`);
  await until(async () => (await limits()).policies[0].counters[0]?.spent === 0.25, "the cost to be counted");
  const { rate, spend, policies } = await limits();
  const few = rate.find((rule) => rule.id === `token.${id}.few`);
  assert.deepEqual([few.key, few.limit, few.counters[0].count], ["token", 3, 1]);
  assert.equal(spend.find((rule) => rule.id === `token.${id}.own`).counters[0].spent, 0.25);
  const [{ counters: [{ partition, remaining }], ...cap }] = policies;
  assert.deepEqual([cap, partition, remaining], [{ policy: "team cap", limit: 2, period: "weekly", more_counters: false }, { bucket: "team:a :" }, 1.75]);
});

test("what a caller writes gets around neither a policy nor the metadata of its token", async () => {
  const gateway = await gw.create("attacked", { authentication: true });
  await policy(gateway, { name: "search only", condition: 'metadata.team == "search"' });
  await policy(gateway, { name: "no large ones", resource: { model: "openai/gpt-4o" }, action: { type: "block" } });
  const { headers } = await token({ metadata: { team: "shop" } });
  const search = await token({ metadata: { team: "search" } });
  const small = { ...CHAT, model: "gpt-4o-mini" };
  // Another team, in every way in which metadata comes.
  for (const more of [tagged({ team: "search" }), { "cf-aig-metadata": '{"team":"shop","team":"search"}' }, { "cf-aig-metadata": '{"\\u0074eam":"search"}' }]) assert.equal((await chat(gateway, { ...headers, ...more }, small)).status, 403);
  const universal = await fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}`, { method: "POST", headers, body: JSON.stringify([{ provider: "openai", endpoint: "chat/completions", headers: tagged({ team: "search" }), query: small }]) });
  assert.equal(universal.status, 403);
  assert.equal((await chat(gateway, search.headers, small)).status, 200);
  const before = gw.upstream.requests.length;
  const raw = (body, more = {}) => gw.call("openai/chat/completions", { gateway, method: "POST", headers: { ...search.headers, "content-type": "application/json", ...more }, body });
  const messages = JSON.stringify(CHAT.messages);
  for (const body of [
    `{"model":" gpt-4o ","messages":${messages}}`, `{"model":"models/gpt-4o","messages":${messages}}`, `{"model":"GPT-4O","messages":${messages}}`, `{"m\\u006fdel":"gpt-4o","messages":${messages}}`, `{"model":"gpt-4o-mini","Model":"gpt-4o","messages":${messages}}`,
    `{"model":"gpt-4o-mini","models":["gpt-4o"],"messages":${messages}}`, `{"model":["gpt-4o"],"messages":${messages}}`, `{"model":"gpt-4o-mini","messages":${messages}}{"model":"gpt-4o"}`, Buffer.from(`{"model":"gpt-4o","messages":${messages}}`, "utf16le"),
  ]) {
    const answer = await raw(body);
    assert.equal(answer.status, 403, `${body}: ${await answer.text()}`);
  }
  for (const endpoint of ["chat/completions#/cancel", "chat/completions?/cancel", "models/../chat/completions", "chat/comple\ttions"]) {
    const answer = await fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}`, { method: "POST", headers: search.headers, body: JSON.stringify([{ provider: "openai", endpoint, query: CHAT }]) });
    assert.ok([400, 403].includes(answer.status), `${endpoint}: ${await answer.text()}`);
  }
  assert.equal(gw.upstream.requests.length, before, "nothing was sent");
});
