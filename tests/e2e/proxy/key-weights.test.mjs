// Several stored keys of one provider: each gets its part of the requests, a session keeps its key, and where the provider turns one away the next is tried.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const OURS = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const KEY = (name) => `sk-CANARY-${name}-0123456789`;
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Lunch?" }] };
const PATH = "openai/chat/completions";

let gw;
/** What the provider answers to which key, by its name; every other is served. */
const turnedAway = new Map();
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: KEY("operator") }) } });
  gw.upstream.answer = async (seen) => {
    const status = turnedAway.get(named(seen));
    return status && { status, headers: { "content-type": "application/json" }, body: JSON.stringify({ error: { message: `no: ${status}` } }) };
  };
});
after(() => gw.stop());

/** A gateway with keys, each `{alias, weight, …}`. */
async function gateway(id, keys, settings = {}) {
  await gw.create(id, { authentication: true, ...settings });
  for (const key of keys) await store(id, { provider_slug: "openai", secret: KEY(key.alias), ...key });
  turnedAway.clear();
}

async function store(id, key) {
  const stored = await gw.api(`/gateways/${id}/provider_configs`, { method: "POST", body: JSON.stringify(key) });
  assert.equal(stored.status, 200, await stored.text());
}

/** The name of the key in a request that the provider got. */
const named = ({ headers }) => /CANARY-(\w+)-/.exec(headers.authorization ?? "")?.[1];

/** A call, with the keys that it was sent with. */
async function call(id, { path = PATH, headers = {}, json = CHAT, ...more } = {}) {
  const from = gw.upstream.requests.length;
  const answer = await gw.call(path, { gateway: id, json: more.method === "GET" ? undefined : json, headers: { ...OURS, ...headers }, ...more });
  const text = await answer.text();
  return { answer, status: answer.status, text, keys: gw.upstream.requests.slice(from).map(named) };
}

/** The rows of an event as `[attempt, status, alias]`, once there are as many as `count`. */
async function rows(id, { answer }, count) {
  const event = answer.headers.get("cf-aig-event-id");
  const filter = encodeURIComponent(JSON.stringify([{ key: "event_id", operator: "eq", value: [event] }]));
  const read = () => gw.result(`/gateways/${id}/logs?filters=${filter}&per_page=50`);
  await until(async () => (await read()).length === count, `${count} rows of ${event}`);
  return (await read()).sort((left, right) => left.attempt - right.attempt).map((row) => [row.attempt, row.status_code, row.credential, row.credential_alias]);
}

test("each key gets the part that its weight says, and one without a weight none", async () => {
  await gateway("parts", [{ alias: "one", weight: 1 }, { alias: "four", weight: 4 }, { alias: "none", default_config: true }]);
  const counts = { one: 0, four: 0, none: 0 };
  for (let at = 0; at < 10; at += 1) {
    const all = await Promise.all(Array.from({ length: 20 }, () => gw.call(PATH, { gateway: "parts", json: CHAT, headers: OURS }).then((answer) => answer.text())));
    assert.equal(all.length, 20);
  }
  for (const seen of gw.upstream.requests.slice(-200)) counts[named(seen)] += 1;
  // 40 of 200 with a deviation of 5.7: seven of them away is less likely than one in a thousand million.
  assert.ok(counts.none === 0 && counts.one + counts.four === 200 && counts.one > 5 && counts.one < 80, JSON.stringify(counts));
  // By its alias one without a weight can be had.
  assert.deepEqual((await call("parts", { headers: { "cf-aig-byok-alias": "none" } })).keys, ["none"]);
  assert.equal((await call("parts", { headers: { authorization: "Bearer sk-mine" } })).keys[0], undefined);
});

test("a session keeps its key, by whichever way it is named", async () => {
  await gateway("sticky", ["a", "b", "c", "d", "e", "f"].map((alias) => ({ alias, weight: 1 })));
  const uuid = (n) => `0b1a2c3d-0000-4000-8000-${String(n).padStart(12, "0")}`;
  const ways = [
    (n) => ({ headers: { "cf-aig-session-id": `s${n}` } }),
    (n) => ({ headers: { "x-claude-code-session-id": `c${n}` } }),
    (n) => ({ json: { ...CHAT, prompt_cache_key: `k${n}` } }),
    (n) => ({ json: { ...CHAT, metadata: { user_id: `user_1_account__session_${uuid(n)}` } } }),
  ];
  for (const [number, way] of ways.entries()) {
    const seen = new Set();
    for (let session = 0; session < 12; session += 1) {
      const keys = [];
      for (let again = 0; again < 3; again += 1) keys.push(...(await call("sticky", way(session))).keys);
      assert.deepEqual(keys, Array(3).fill(keys[0]), `way ${number}, session ${session}`);
      seen.add(keys[0]);
    }
    assert.ok(seen.size > 1, `way ${number}: all sessions went to one key`);
  }
  // Without a log the body is looked at all the same.
  const quiet = (n) => ({ headers: { "cf-aig-collect-log": "false" }, json: { ...CHAT, prompt_cache_key: `q${n}` } });
  for (let session = 0; session < 6; session += 1) assert.deepEqual((await call("sticky", quiet(session))).keys, (await call("sticky", quiet(session))).keys);
});

test("where the provider turns a key away the next one is tried, and each attempt has a row with the key's alias", async () => {
  await gateway("next", [{ alias: "a", weight: 1 }, { alias: "b", weight: 1 }, { alias: "last", default_config: true }]);
  const session = { "cf-aig-session-id": "s" };
  const [first] = (await call("next", { headers: session })).keys;
  const second = first === "a" ? "b" : "a";
  for (const status of [401, 402, 429]) {
    turnedAway.clear();
    turnedAway.set(first, status);
    const passed = await call("next", { headers: session });
    assert.deepEqual([passed.status, passed.keys, passed.answer.headers.get("cf-aig-attempt")], [200, [first, second], "2"]);
    assert.deepEqual(await rows("next", passed, 2), [[1, status, "stored", first], [2, 200, "stored", second]]);
  }
  turnedAway.set("a", 401).set("b", 429);
  const last = await call("next", { headers: session });
  assert.deepEqual([last.status, last.keys.at(-1), last.keys.length], [200, "last", 3]);
  assert.deepEqual((await rows("next", last, 3)).map((row) => row[3]), last.keys);
  // The client gets the provider's own answer to the last of them.
  turnedAway.set("last", 401);
  const none = await call("next", { headers: session });
  assert.deepEqual([none.status, JSON.parse(none.text).error.message, none.keys.length], [401, "no: 401", 3]);
  // Other faults are no matter of a key.
  for (const status of [400, 403, 404, 500]) {
    turnedAway.clear();
    turnedAway.set(first, status);
    assert.deepEqual((await call("next", { headers: session })).keys, [first], `${status}`);
  }
  for (const row of await gw.result("/gateways/next/logs?per_page=50")) assert.doesNotMatch(JSON.stringify(row), /CANARY/);
  // One that is named is the only one.
  turnedAway.set("a", 401);
  assert.deepEqual((await call("next", { headers: { "cf-aig-byok-alias": "a" } })).keys, ["a"]);
});

test("the next key is no retry: those that were asked for are still made, and max_calls holds", async () => {
  await gateway("retried", ["a", "b", "c"].map((alias) => ({ alias, weight: 1 })));
  for (const alias of ["a", "b", "c"]) turnedAway.set(alias, 429);
  const seen = await call("retried", { headers: { "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" } });
  assert.deepEqual([seen.status, [...seen.keys.slice(0, 3)].sort(), seen.keys.length], [429, ["a", "b", "c"], 4]);
  await gateway("few", ["a", "b", "c", "d"].map((alias) => ({ alias, weight: 1 })), { max_calls: 2 });
  for (const alias of ["a", "b", "c", "d"]) turnedAway.set(alias, 401);
  const capped = await call("few");
  assert.deepEqual([capped.status, capped.keys.length], [401, 2]);
  assert.match(capped.answer.headers.get("cf-aig-warning"), /max_calls/);
});

test("a key whose own limit is used up is passed over", async () => {
  const period = 2_592_000;
  await gateway("limited", [{ alias: "few", weight: 1000, rate_limit: 2, rate_limit_period: period }, { alias: "rest", weight: 1, rate_limit: 3, rate_limit_period: period }]);
  const all = await Promise.all(Array.from({ length: 8 }, () => call("limited")));
  const sent = gw.upstream.requests.slice(-5).map(named).sort();
  assert.deepEqual(all.map(({ status }) => status).sort(), [...Array(5).fill(200), ...Array(3).fill(429)]);
  assert.deepEqual(sent, ["few", "few", "rest", "rest", "rest"]);
});

test("signed requests, streams, universal elements and the unified API take the next key as well", async () => {
  await gateway("doors", ["a", "b"].map((alias) => ({ alias, weight: 1 })));
  const headers = { "cf-aig-session-id": "s" };
  const [first] = (await call("doors", { headers })).keys;
  const other = first === "a" ? "b" : "a";
  turnedAway.set(first, 429);
  for (const [door, path, json] of [
    ["stream", PATH, { ...CHAT, stream: true }],
    ["unified", "compat/chat/completions", { ...CHAT, model: "openai/gpt-4o" }],
    ["translated", "ai/v1/messages", { model: "openai/gpt-4o", max_tokens: 5, messages: CHAT.messages }],
    ["universal", "", [{ provider: "openai", endpoint: "chat/completions", query: CHAT }]],
  ]) {
    const seen = await call("doors", { path, json, headers });
    assert.deepEqual([seen.status, seen.keys], [200, [first, other]], `${door}: ${seen.text}`);
  }
  const client = new OpenAI({ apiKey: TOKEN, baseURL: `${gw.url}/v1/${ACCOUNT}/doors/openai`, maxRetries: 0, defaultHeaders: headers });
  const said = await client.chat.completions.create(CHAT);
  assert.ok(said.choices[0].message.content);
  // Signed for Bedrock: each key signs by itself.
  const aws = (id) => JSON.stringify({ accessKeyId: `AKIA${id}`, secretAccessKey: "s", region: "us-east-1" });
  for (const alias of ["x", "y"]) await store("doors", { provider_slug: "aws-bedrock", alias, weight: 1, secret: aws(alias) });
  gw.upstream.next({ status: 429, headers: { "content-type": "application/json" }, body: "{}" });
  const from = gw.upstream.requests.length;
  const signed = await gw.call("aws-bedrock/bedrock-runtime/us-east-1/model/anthropic.claude-3-haiku-20240307-v1:0/converse", { gateway: "doors", json: { messages: [{ role: "user", content: [{ text: "Hi" }] }] }, headers: OURS });
  await signed.text();
  const ids = gw.upstream.requests.slice(from).map(({ headers: sent }) => /Credential=(\w+)\//.exec(sent.authorization)[1]);
  assert.deepEqual([signed.status, ids.sort()], [200, ["AKIAx", "AKIAy"]]);
});

test("what runs no model is asked with the heaviest key, and the cache takes all of them for one", async () => {
  await gateway("whole", [{ alias: "light", weight: 1 }, { alias: "heavy", weight: 2 }], { cache_ttl: 300 });
  for (let at = 0; at < 8; at += 1) assert.deepEqual((await call("whole", { path: "openai/models", method: "GET", headers: { "cf-aig-session-id": `s${at}`, "cf-aig-skip-cache": "true" } })).keys, ["heavy"]);
  const statuses = [];
  for (let at = 0; at < 6; at += 1) {
    const { answer } = await call("whole", { headers: { "cf-aig-session-id": `s${at}` } });
    statuses.push(answer.headers.get("cf-aig-cache-status"));
    if (at === 0) await until(async () => (await call("whole", { headers: { "cf-aig-session-id": "s0" } })).answer.headers.get("cf-aig-cache-status") === "HIT", "the answer in the cache");
  }
  assert.deepEqual(statuses, ["MISS", ...Array(5).fill("HIT")]);
});

test("a weight is changed alone, shown, and refused where it is none", async () => {
  await gateway("api", [{ alias: "a", weight: 2 }, { alias: "b" }]);
  const list = async () => (await gw.result("/gateways/api/provider_configs")).map(({ alias, weight }) => [alias, weight]);
  assert.deepEqual(await list(), [["a", 2], ["b", 0]]);
  const [{ id }] = await gw.result("/gateways/api/provider_configs");
  const put = (body) => gw.api(`/gateways/api/provider_configs/${id}`, { method: "PUT", body: JSON.stringify(body) });
  assert.equal((await put({ weight: 0 })).status, 200);
  assert.deepEqual(await list(), [["a", 0], ["b", 0]]);
  // None has a weight now, and none is the default: the operator's is sent.
  assert.deepEqual((await call("api")).keys, ["operator"]);
  assert.equal((await put({ weight: 5 })).status, 200);
  assert.deepEqual((await call("api")).keys, ["a"]);
  for (const weight of [-1, 1001, 1.5, "1"]) assert.equal((await put({ weight })).status, 400, `${weight}`);
});
