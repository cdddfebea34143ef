// Dynamic routes as callers meet them: which model a request goes to, what happens when one fails, and what the rows say of the way.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import OpenAI from "openai";
import { WebSocket } from "ws";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const KEYS = JSON.stringify({ openai: "sk-operator-openai-0123456789", groq: "gsk-operator-0123456789", anthropic: "sk-ant-operator-0123456789" });
/** Another Worker, which the operator bound to this one. */
const CALLER = `export default { fetch: (request, env) => env.TOLLGATE.fetch("https://tollgate" + new URL(request.url).pathname, request) };`;
let gw;
before(async () => {
  const others = [{ name: "caller", modules: [{ type: "ESModule", path: "caller.mjs", contents: CALLER }], compatibilityDate: "2026-11-01", serviceBindings: { TOLLGATE: "tollgate" } }];
  gw = await Gateway.start({ others, bindings: { PROVIDER_KEYS: KEYS } });
  await gw.create("gw", { authentication: true });
  await gw.create("other", { authentication: true });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const to = (elementId) => ({ elementId });
const start = (next) => ({ id: "s", type: "start", outputs: { next: to(next) } });
const model = (id, provider, name, { fallback, ...properties } = {}) => ({ id, type: "model", properties: { provider, model: name, retries: 0, timeout: 0, ...properties }, outputs: { success: to("e"), ...(fallback && { fallback: to(fallback) }) } });
const end = { id: "e", type: "end", outputs: {} };
const failing = (status) => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify({ error: { message: "busy" } }) });

async function route(name, elements, gateway = "gw") {
  const answer = await gw.api(`/gateways/${gateway}/routes`, { method: "POST", body: JSON.stringify({ name, elements }) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
}

const CHAT = { messages: [{ role: "user", content: "What should I eat for lunch?" }] };
const call = (name, { json, headers, path = "compat/chat/completions", ...init } = {}) => gw.call(path, { json: { model: `dynamic/${name}`, ...CHAT, ...json }, headers: { "cf-aig-authorization": `Bearer ${TOKEN}`, ...headers }, ...init });
const told = (answer) => ["cf-aig-provider", "cf-aig-model", "cf-aig-route-path"].map((name) => answer.headers.get(name));

/** The rows of an answer's event, once there are so many. */
async function rows(answer, count) {
  await answer.arrayBuffer();
  const event = answer.headers.get("cf-aig-event-id");
  let found = [];
  await until(async () => (found = await gw.rows("SELECT * FROM logs WHERE event_id = ? ORDER BY step, attempt", event)).length === count, `${count} rows of ${event}`);
  return found.map((row) => ({ ...row, route: JSON.parse(row.route) }));
}

test("a condition chooses the model, and the answer and the row say which", async () => {
  const { version } = await route("plans", [
    start("c"),
    { id: "c", type: "conditional", properties: { conditions: { $and: [{ "metadata.plan": { $eq: "free" } }, { "body.messages.0.role": "user" }] } }, outputs: { true: to("small"), false: to("big") } },
    model("small", "groq", "llama-3.3-70b-versatile"),
    model("big", "openai", "gpt-4o"),
    end,
  ]);
  const free = await call("plans", { headers: { "cf-aig-metadata": '{"plan":"free"}', "cf-aig-route-path": "true" } });
  assert.deepEqual([free.status, ...told(free)], [200, "groq", "llama-3.3-70b-versatile", "s:next,c:true,small"]);
  assert.equal(JSON.parse(gw.upstream.last.body).model, "llama-3.3-70b-versatile");
  assert.equal(gw.upstream.last.headers.authorization, "Bearer gsk-operator-0123456789");
  const paid = await call("plans");
  assert.deepEqual([paid.status, ...told(paid)], [200, "openai", "gpt-4o", null]);
  const [row] = await rows(free, 1);
  assert.deepEqual([row.provider, row.model, row.success], ["groq", "llama-3.3-70b-versatile", 1]);
  assert.deepEqual(row.route, { name: "plans", version: version.version_id, element: "small", path: [{ element: "s", output: "next", reason: null }, { element: "c", output: "true", reason: null }] });
  const log = await gw.result(`/gateways/gw/logs/${row.id}`);
  assert.deepEqual(log.route, row.route);
  const found = await gw.result(`/gateways/gw/logs?filters=${encodeURIComponent(JSON.stringify([{ key: "route_id", operator: "eq", value: [row.route_id] }]))}`);
  assert.ok(found.length >= 1 && found.every(({ route: { name } }) => name === "plans"));
});

test("every door of the unified API, universal elements and the account's address take a route", async () => {
  await route("doors", [start("m"), model("m", "openai", "gpt-4o"), end]);
  const doors = [
    ["compat/chat/completions", {}],
    ["ai/v1/chat/completions", {}],
    ["ai/v1/responses", { input: "Lunch?", messages: undefined }],
    ["ai/v1/messages", { max_tokens: 50 }],
    ["ai/v1beta/models/dynamic/doors:generateContent", { model: undefined, messages: undefined, contents: [{ role: "user", parts: [{ text: "Lunch?" }] }] }],
  ];
  for (const [path, json] of doors) {
    const answer = await call("doors", { path, json });
    assert.deepEqual([path, answer.status, ...told(answer).slice(0, 2)], [path, 200, "openai", "gpt-4o"], await answer.clone().text());
    const [row] = await rows(answer, 1);
    assert.deepEqual([row.provider, row.route.name], ["openai", "doors"]);
  }
  const universal = [{ provider: "compat", endpoint: "chat/completion", headers: {}, query: { model: "dynamic/doors", ...CHAT } }];
  const answer = await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "POST", body: JSON.stringify(universal), headers: { "content-type": "application/json", "cf-aig-authorization": `Bearer ${TOKEN}` } });
  assert.deepEqual([answer.status, ...told(answer).slice(0, 2)], [200, "openai", "gpt-4o"]);
  const rest = await fetch(`${gw.url}/client/v4/accounts/${ACCOUNT}/ai/v1/chat/completions`, { method: "POST", body: JSON.stringify({ model: "dynamic/doors", ...CHAT }), headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}`, "cf-aig-gateway-id": "gw" } });
  assert.deepEqual([rest.status, ...told(rest).slice(0, 2)], [200, "openai", "gpt-4o"]);
  const bound = await (await gw.miniflare.getWorker("caller")).fetch(`https://caller/v1/${ACCOUNT}/gw/ai/v1/messages`, { method: "POST", body: JSON.stringify({ model: "dynamic/doors", max_tokens: 50, ...CHAT }), headers: { "content-type": "application/json", "cf-aig-authorization": `Bearer ${TOKEN}` } });
  assert.deepEqual([bound.status, ...told(bound).slice(0, 2)], [200, "openai", "gpt-4o"]);
  assert.deepEqual((await rows(bound, 1)).map(({ route: { name }, translated_from }) => [name, translated_from]), [["doors", "messages"]]);
  const heard = await new Promise((resolve, reject) => {
    const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/gw`, { headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
    socket.on("error", reject);
    socket.on("open", () => socket.send(JSON.stringify({ type: "universal.create", request: { eventId: "by-socket", provider: "compat", endpoint: "chat/completions", query: { model: "dynamic/doors", ...CHAT } } })));
    socket.on("message", (data) => {
      resolve(String(data));
      socket.close();
    });
  });
  assert.match(heard, /universal\.created/);
  // What models do beside conversing takes a model itself, and says so.
  const run = await gw.call("ai/run", { json: { model: "dynamic/doors", input: { prompt: "Lunch?" } }, headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
  assert.equal(run.status, 400, await run.clone().text());
  const client = new OpenAI({ apiKey: TOKEN, baseURL: `${gw.url}/v1/${ACCOUNT}/gw/compat`, maxRetries: 0 });
  const stream = await client.chat.completions.create({ model: "dynamic/doors", ...CHAT, stream: true });
  let words = "";
  for await (const chunk of stream) words += chunk.choices[0]?.delta?.content ?? "";
  assert.ok(words.length > 0);
});

test("a model that fails or is slow gives way to its fallback before the first byte, one row an attempt", async () => {
  await route("safe", [start("a"), model("a", "openai", "gpt-4o", { retries: 1, fallback: "b" }), model("b", "groq", "llama", { timeout: 300, fallback: "c" }), model("c", "anthropic", "claude-sonnet-4-5"), end]);
  gw.upstream.next(failing(500));
  gw.upstream.next(failing(429));
  gw.upstream.next({ hang: true });
  const answer = await call("safe", { path: "ai/v1/chat/completions", headers: { "cf-aig-route-path": "1", "cf-aig-retry-delay": "1" } });
  assert.deepEqual([answer.status, ...told(answer)], [200, "anthropic", "claude-sonnet-4-5", "s:next,a:fallback:429,b:fallback:timeout,c"]);
  assert.equal((await answer.clone().json()).object, "chat.completion");
  const all = await rows(answer, 4);
  assert.deepEqual(all.map(({ provider, attempt, step, status_code, answered }) => [provider, step, attempt, status_code, answered]), [["openai", 0, 1, 500, 0], ["openai", 0, 2, 429, 0], ["groq", 1, 1, 400, 0], ["anthropic", 2, 1, 200, 1]]);
  assert.deepEqual(all.map(({ route }) => route.element), ["a", "a", "b", "c"]);
  assert.deepEqual(all[3].route.path.slice(1), [{ element: "a", output: "fallback", reason: "429" }, { element: "b", output: "fallback", reason: "timeout" }]);
});

test("where all fail the caller gets the provider's own error", async () => {
  await route("lost", [start("a"), model("a", "openai", "gpt-4o", { fallback: "b" }), model("b", "groq", "llama"), end]);
  gw.upstream.next(failing(500));
  gw.upstream.next(failing(503));
  const answer = await call("lost");
  assert.deepEqual([answer.status, (await answer.clone().json()).error.message], [503, "busy"]);
  assert.equal((await rows(answer, 2)).length, 2);
});

test("a rate counts in the limiter, for each value of its key, by requests and by cost", async () => {
  const rate = (properties) => ({ id: "r", type: "rate", properties: { key: "metadata.user", window: 3600, limitType: "count", ...properties }, outputs: { success: to("m"), fallback: to("cheap") } });
  const rest = [model("m", "openai", "gpt-4o"), model("cheap", "groq", "llama"), end];
  await route("counted", [start("r"), rate({ limit: 2 }), ...rest]);
  const by = async (name, user) => {
    const answer = await call(name, { headers: user && { "cf-aig-metadata": JSON.stringify({ user }) } });
    await answer.arrayBuffer();
    return answer.headers.get("cf-aig-provider");
  };
  const several = await Promise.all(Array.from({ length: 6 }, () => by("counted", "ann")));
  assert.deepEqual(several.filter((provider) => provider === "openai").length, 2);
  assert.deepEqual([await by("counted", "ann"), await by("counted", "bob"), await by("counted")], ["groq", "openai", "openai"]);
  await route("paid", [start("r"), rate({ limit: 0.000001, limitType: "cost" }), ...rest]);
  assert.equal(await by("paid", "ann"), "openai");
  await until(async () => (await by("paid", "ann")) === "groq", "the cost to be counted");
});

test("a route that ends without a model says where, and leaves a row", async () => {
  await route("closed", [start("r"), { id: "r", type: "rate", properties: { key: "", limit: 0, limitType: "count", window: 60 }, outputs: { success: to("m"), fallback: to("e") } }, model("m", "openai", "gpt-4o"), end]);
  const answer = await call("closed", { path: "ai/v1/chat/completions" });
  assert.equal(answer.status, 429);
  assert.match(await answer.clone().text(), /route 'closed' ended at its element 'r'/);
  const [row] = await rows(answer, 1);
  assert.deepEqual([row.status_code, row.success, row.route.path.at(-1)], [429, 0, { element: "r", output: "fallback", reason: "limit" }]);
  assert.equal(gw.upstream.requests.length, 0);
});

test("percentages stick to a session, and without one are spread", async () => {
  await route("split", [start("p"), { id: "p", type: "percentage", properties: { sticky: "session" }, outputs: { "50%": to("a"), else: to("b") } }, model("a", "openai", "gpt-4o"), model("b", "groq", "llama"), end]);
  const providers = async (headers) => {
    const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => call("split", { headers: headers(n) })));
    return new Set(answers.map((answer) => answer.headers.get("cf-aig-provider")));
  };
  assert.equal((await providers(() => ({ "cf-aig-session-id": "one" }))).size, 1);
  assert.equal((await providers((n) => ({ "cf-aig-session-id": `session-${n}` }))).size, 2);
});

test("a new version holds once it is deployed, and an older one again", async () => {
  const made = await route("versions", [start("m"), model("m", "openai", "gpt-4o"), end]);
  const post = async (path, body) => (await (await gw.api(`/gateways/gw/routes/${made.id}${path}`, { method: "POST", body: JSON.stringify(body) })).json()).result;
  const provider = async () => (await call("versions")).headers.get("cf-aig-provider");
  const { version } = await post("/versions", { elements: [start("m"), model("m", "groq", "llama"), end] });
  assert.equal(await provider(), "openai");
  await post("/deployments", { version_id: version.version_id });
  assert.equal(await provider(), "groq");
  await post("/deployments", { version_id: made.version.version_id });
  assert.equal(await provider(), "openai");
});

test("a model that can never be called is refused when it is stored, with its place", async () => {
  const gateway = await gw.create("never");
  for (const [properties, place] of [
    [{ provider: "openai", model: "dynamic/other" }, "model"],
    [{ provider: "openai", model: " gpt-4o" }, "model"],
    [{ provider: "opnai", model: "gpt-4o" }, "provider"],
    [{ provider: "custom-", model: "gpt-4o" }, "provider"],
  ]) {
    const elements = [{ id: "s", type: "start", outputs: { next: { elementId: "m" } } }, { id: "m", type: "model", properties: { retries: 0, timeout: 0, ...properties }, outputs: { success: { elementId: "e" } } }, { id: "e", type: "end", outputs: {} }];
    const answer = await gw.api(`/gateways/${gateway}/routes`, { method: "POST", body: JSON.stringify({ name: "never", elements }) });
    const { errors } = await answer.json();
    assert.deepEqual([answer.status, errors[0].path.join(".")], [400, `body.elements[1].properties.${place}`]);
  }
  const called = await gw.call("ai/v1/chat/completions", { gateway, json: { model: "dynamic/never", messages: [{ role: "user", content: "hi" }] }, headers: { authorization: "Bearer sk-test-0123456789" } });
  assert.ok(called.status >= 400, await called.text());
  assert.equal((await gw.logOf(called, gateway)).status_code, called.status);
});

test("unknown routes and those of another gateway are refused, and their names stay harmless", async () => {
  await route("theirs", [start("m"), model("m", "openai", "gpt-4o"), end], "other");
  for (const name of ["theirs", "nothing", "../x", "é\u0000"]) {
    const answer = await call(name);
    assert.equal(answer.status, 400, name);
    assert.match(await answer.text(), /no route/, name);
  }
  assert.equal(gw.upstream.requests.length, 0);
});

test("a simulation tells the way without sending anything", async () => {
  const { id } = await route("tried", [start("a"), model("a", "openai", "gpt-4o", { fallback: "b" }), model("b", "groq", "llama"), end]);
  const simulated = async (body) => (await (await gw.api(`/gateways/gw/routes/${id}/simulate`, { method: "POST", body: JSON.stringify(body) })).json()).result;
  const { path, models, answered } = await simulated({ failing: ["a"] });
  assert.deepEqual([path.map(({ element, output }) => `${element}:${output}`), models.map(({ provider }) => provider), answered], [["s:next", "a:fallback", "b:success"], ["openai", "groq"], true]);
  assert.equal(gw.upstream.requests.length, 0);
});

test("a percentage with a goal learns from the logs, shows what it knows, and sends more to what answers", async () => {
  const { id } = await route("learning", [start("p"), { id: "p", type: "percentage", properties: { goal: "success", min_samples: 3, floor: 0.1 }, outputs: { "50%": to("a"), else: to("b") } }, model("a", "openai", "gpt-4o"), model("b", "groq", "llama"), end]);
  gw.upstream.answer = ({ provider }) => (provider === "groq" ? failing(500) : undefined);
  try {
    const seen = { openai: 0, groq: 0 };
    while (Math.min(seen.openai, seen.groq) < 8) {
      const answer = await call("learning");
      await answer.arrayBuffer();
      seen[answer.headers.get("cf-aig-provider")] += 1;
    }
    const worker = await gw.miniflare.getWorker("tollgate");
    const known = async () => {
      await worker.scheduled({ cron: "* * * * *" });
      return (await gw.result(`/gateways/gw/routes/${id}`)).learned.p;
    };
    await until(async () => (await known()).arms.every(({ output, samples }) => samples === (output === "else" ? seen.groq : seen.openai)), "the logs to be learned from");
    const { goal, arms: [first, second] } = await known();
    assert.deepEqual([goal, first.output, second.output, first.weight > 0.8, second.weight >= 0.1], ["success", "50%", "else", true, true]);
    assert.ok(first.low <= first.mean && first.mean <= first.high && first.low > second.high);
  } finally {
    gw.upstream.answer = undefined;
  }
});

test("a condition sees the caller's token: its name, its owner and its own metadata; a simulation with its id as well", async () => {
  const when = (condition) => [start("c"), { id: "c", type: "conditional", properties: { condition }, outputs: { true: to("a"), false: to("b") } }, model("a", "openai", "gpt-4o"), model("b", "groq", "llama"), end];
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "shop", permissions: ["run"], owner: "ann", metadata: { team: "blue", seats: 7 } }) });
  const { id, value } = (await made.json()).result;
  for (const [n, condition] of [{ "token.name": "shop" }, { "token.owner": { $in: ["ann", "bob"] } }, { "token.metadata.seats": { $gte: 7 } }, { "token.metadata.team": "blue", "metadata.team": "blue" }, { "token.id": id }].entries()) {
    const route_ = await route(`token-${n}`, when(condition));
    const headers = { "cf-aig-metadata": '{"team":"red"}' };
    const [own, admins] = [await call(`token-${n}`, { headers: { ...headers, "cf-aig-authorization": `Bearer ${value}` } }), await call(`token-${n}`, { headers })];
    assert.deepEqual([told(own)[0], told(admins)[0]], ["openai", "groq"], JSON.stringify(condition));
    for (const [token_id, output] of [[id, "true"], [undefined, "false"]]) {
      const answer = await gw.api(`/gateways/gw/routes/${route_.id}/simulate`, { method: "POST", body: JSON.stringify({ token_id, metadata: { team: "red" } }) });
      assert.equal((await answer.json()).result.path[1].output, output, JSON.stringify([condition, token_id]));
    }
  }
});

test("a percentage that does not say where all requests go is refused with its place", async () => {
  const elements = (outputs) => [start("p"), { id: "p", type: "percentage", properties: {}, outputs: Object.fromEntries(outputs.map((name) => [name, to("m")])) }, model("m", "openai", "gpt-4o"), end];
  const { id } = await route("whole", elements(["40%", "60%"]));
  for (const [path, body] of [["/gateways/gw/routes", { name: "gap" }], [`/gateways/gw/routes/${id}/versions`, {}]]) {
    const answer = await gw.api(path, { method: "POST", body: JSON.stringify({ ...body, elements: elements(["10%", "50%"]) }) });
    const [{ code, message, path: place }] = (await answer.json()).errors;
    assert.deepEqual([answer.status, code, place.join(".")], [400, 7001, "body.elements[1].outputs"]);
    assert.match(message, /60 % together.*else/);
  }
});

/** Numbers that look random and come again: mulberry32. */
function dice(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A route of up to eight elements, each of which leads to later ones only. */
function randomElements(random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const count = 3 + Math.floor(random() * 6);
  const ids = Array.from({ length: count }, (_, at) => `n${at}`);
  const conditions = [{ "metadata.plan": "free" }, { "metadata.user": { $gt: 5 } }, { "headers.x-tier": { $exists: true } }, { "body.messages.0.content": { $regex: "lun.h", $options: "i" } }, { "body.messages": { $elemMatch: { role: "user" } } }, { "body.max_tokens": { $lt: 50 } }, { $nor: [{ model: "x" }, { path: { $startsWith: "images" } }] }, { provider: { $in: ["compat", "ai"] } }, { "tokens.estimated_input": { $gte: 30 } }];
  const middle = ids.map((id, at) => {
    const later = () => to(pick([...ids.slice(at + 1), "e"]));
    const type = at === count - 1 ? "model" : pick(["conditional", "percentage", "rate", "model", "model"]);
    if (type === "conditional") return { id, type, properties: { condition: pick(conditions) }, outputs: { true: later(), false: to(ids[at + 1]) } };
    if (type === "percentage") return { id, type, properties: { sticky: pick(["session", "metadata.user"]) }, outputs: { "30%": later(), "20%": later(), else: to(ids[at + 1]) } };
    if (type === "rate") return { id, type, properties: { limit: pick([0, 1_000]), limitType: "count", window: 3_600, key: "" }, outputs: { success: to(ids[at + 1]), fallback: later() } };
    return { id, type, properties: { provider: "openai", model: `gpt-4o-${at}`, retries: 0, timeout: 0 }, outputs: { success: to("e"), fallback: to(ids[at + 1] ?? "e") } };
  });
  return [start("n0"), ...middle, end];
}

test("a simulation tells the very way that a request takes, over random routes and requests", async () => {
  const random = dice(20_261_128);
  const pick = (list) => list[Math.floor(random() * list.length)];
  gw.upstream.answer = ({ body }) => (body && failed.has(JSON.parse(body).model) ? failing(503) : undefined);
  let failed = new Set();
  const seen = new Set();
  try {
    for (let round = 0; round < 40; round += 1) {
      const elements = randomElements(random);
      const { id } = await route(`random-${round}`, elements);
      const bad = elements.filter(({ type }) => type === "model" && random() < 0.4);
      failed = new Set(bad.map(({ properties }) => properties.model));
      const full = elements.filter(({ type, properties }) => type === "rate" && properties.limit === 0);
      const metadata = { plan: pick(["free", "paid"]), user: pick(["3", "9", "ann"]) };
      const json = { messages: [{ role: "user", content: pick(["Lunch?", "Hi"]) }], max_tokens: pick([10, 100]) };
      // A session in the header, in the body, or none at all: the way sticks to metadata or to the session alike.
      const session = { "cf-aig-session-id": `s${Math.floor(random() * 9)}`, ...(random() < 0.5 && { "x-tier": "gold" }) };
      const answer = await call(`random-${round}`, { json, headers: { ...session, "cf-aig-metadata": JSON.stringify(metadata), "cf-aig-route-path": "1" } });
      const simulated = (await (await gw.api(`/gateways/gw/routes/${id}/simulate`, { method: "POST", body: JSON.stringify({ metadata, headers: session, body: { model: `dynamic/random-${round}`, ...json }, failing: [...bad, ...full].map(({ id: one }) => one) }) })).json()).result;
      const told_ = answer.headers.get("cf-aig-route-path")?.split(",").map((step) => step.split(":").slice(0, 2).join(":"));
      const way = simulated.path.map(({ element, output }) => `${element}:${output}`);
      // The header ends at the element that answered; where none did, the row of the last attempt has the way.
      const last = simulated.models.at(-1);
      const expected = last ? [...way.slice(0, way.findIndex((step) => step.startsWith(`${last.element}:`))), last.element] : [...way, ""];
      assert.deepEqual(told_, expected, JSON.stringify({ round, elements, metadata, json, session }));
      assert.equal(answer.ok, simulated.answered, JSON.stringify({ round, status: answer.status }));
      await answer.arrayBuffer();
      for (const step of way) seen.add(step.split(":")[1]);
      await gw.api(`/gateways/gw/routes/${id}`, { method: "DELETE" });
    }
  } finally {
    gw.upstream.answer = undefined;
  }
  for (const output of ["true", "false", "30%", "else", "fallback", "success"]) assert.ok(seen.has(output), `${output} of ${[...seen]}`);
});

test("a simulated request keeps the arm of its session, however the session is named", async () => {
  const { id } = await route("named", [start("p"), { id: "p", type: "percentage", properties: { sticky: "session" }, outputs: { "50%": to("a"), else: to("b") } }, model("a", "openai", "gpt-4o"), model("b", "groq", "llama"), end]);
  for (let n = 0; n < 8; n += 1) {
    const json = { metadata: { user_id: JSON.stringify({ session_id: `body-${n}` }) } };
    const real = (await call("named", { json })).headers.get("cf-aig-provider");
    const answer = await gw.api(`/gateways/gw/routes/${id}/simulate`, { method: "POST", body: JSON.stringify({ body: { ...CHAT, ...json } }) });
    assert.equal((await answer.json()).result.models[0].provider, real, `session ${n}`);
  }
});
