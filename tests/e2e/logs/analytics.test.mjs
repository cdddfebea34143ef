import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN, raw, until } from "../harness.mjs";

const DAY = 86_400_000;
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };
const OFF = { "cf-aig-collect-log": "false" };

let gw;
before(async () => {
  gw = await Gateway.start({ faulty: true });
});
after(() => gw.stop());

const chat = (gateway, { headers, ...init } = {}) => gw.call("openai/chat/completions", { gateway, json: CHAT, headers, ...init });
const analytics = (gateway, query = {}) => gw.result(`/gateways/${gateway}/analytics?${new URLSearchParams({ granularity: "day", ...query })}`);
const failing = (status) => ({ status, headers: { "content-type": "application/json" }, body: '{"error":{"message":"no"}}' });

/** The sums of a gateway, once so many attempts are counted. */
async function totals(gateway, attempts) {
  let found;
  await until(async () => (found = (await analytics(gateway)).totals).attempts >= attempts, `${attempts} attempts`);
  assert.equal(found.attempts, attempts);
  return found;
}

/** The clock, as it ticks once a minute. */
async function tick() {
  const worker = await gw.miniflare.getWorker("tollgate");
  await worker.scheduled({ cron: "* * * * *" });
}

const keyOf = async (gateway) => (await gw.rows("SELECT key FROM gateways WHERE id = ?", gateway))[0].key;

test("what has a log and what has none are counted alike", async () => {
  await gw.create("on");
  await gw.create("off", { collect_logs: false });
  const stream = { json: { ...CHAT, stream: true, stream_options: { include_usage: true } } };
  for (const gateway of ["on", "off"]) {
    for (const init of [{}, stream]) {
      const answer = await chat(gateway, { ...init, headers: { "cf-aig-metadata": '{"user":"jane"}' } });
      assert.equal(answer.status, 200);
      await answer.text();
    }
  }
  const [on, off] = [await totals("on", 2), await totals("off", 2)];
  for (const [gateway, { duration, first_byte, ...sums }] of [["on", on], ["off", off]]) {
    assert.deepEqual([sums.requests, sums.errors, sums.cached, sums.unpriced, duration.count, first_byte.count], [2, 0, 0, 0, 2, 2], gateway);
    assert.ok(sums.tokens_in > 0 && sums.tokens_out > 0 && sums.cost > 0 && first_byte.p50 <= duration.p99 * 1.5 + 10);
  }
  const logs = await gw.rows("SELECT tokens_in, tokens_out, cost FROM logs WHERE gateway = ?", await keyOf("on"));
  const sum = (field) => logs.reduce((all, log) => all + log[field], 0);
  for (const { tokens_in, tokens_out, cost } of [on, off]) {
    assert.deepEqual([tokens_in, tokens_out], [sum("tokens_in"), sum("tokens_out")]);
    assert.ok(Math.abs(cost - sum("cost")) < 1e-9);
  }
  // Nothing else of a request without a log is anywhere.
  const key = await keyOf("off");
  for (const table of ["logs", "log_metadata"]) assert.deepEqual(await gw.rows(`SELECT * FROM ${table} WHERE gateway = ?`, key), [], table);
  assert.deepEqual(await gw.rows("SELECT DISTINCT log_id FROM log_bodies WHERE log_id NOT IN (SELECT id FROM logs)"), []);
  assert.deepEqual(await gw.rows("SELECT gateway FROM log_storage WHERE gateway = ?", key), []);
  assert.equal((await gw.result("/gateways/off/storage")).logs, 0);
});

test("every kind of answer is counted as what it was", async () => {
  await gw.create("kinds", { cache_ttl: 600 });
  const skip = { "cf-aig-skip-cache": "true" };
  for (const _ of [1, 2]) await (await chat("kinds")).text();
  for (const status of [404, 503]) {
    gw.upstream.next(failing(status));
    assert.equal((await chat("kinds", { headers: skip })).status, status);
  }
  gw.upstream.next({ reset: true });
  assert.equal((await chat("kinds", { headers: { ...skip, ...OFF } })).status, 400);
  assert.equal((await gw.call("nothing/x", { gateway: "kinds", json: {}, headers: OFF })).status, 400);
  gw.upstream.next({ headers: { "content-type": "application/json" }, body: '{"id":"x","model":"gpt-99","usage":{"prompt_tokens":1,"completion_tokens":1}}' });
  await (await chat("kinds", { json: { ...CHAT, model: "gpt-99" }, headers: skip })).text();
  const sums = await totals("kinds", 7);
  assert.deepEqual([sums.requests, sums.errors, sums.cached, sums.unpriced, sums.duration.count], [7, 4, 1, 1, 2]);
  assert.deepEqual(sums.errors_by_layer, { client: 0, gateway: 1, limit: 0, upstream: 1, provider_4xx: 1, provider_5xx: 1 });
  assert.ok(sums.saved_cost > 0 && Math.abs(sums.saved_cost - sums.cost) < 1e-9);
  const by = async (group_by, query) => (await analytics("kinds", { group_by, ...query })).buckets.map(({ provider, model, requests }) => [provider, model, requests]);
  assert.deepEqual(await by("provider"), [["nothing", undefined, 1], ["openai", undefined, 6]]);
  assert.deepEqual(await by("provider,model"), [["nothing", null, 1], ["openai", "gpt-4o", 5], ["openai", "gpt-99", 1]]);
  assert.deepEqual(await by("model", { provider: "openai", model: "gpt-99" }), [[undefined, "gpt-99", 1]]);
});

test("a client that leaves and a limit that is reached are told apart", async () => {
  await gw.create("left", { rate_limiting_interval: 3600, rate_limiting_limit: 1 });
  gw.upstream.next({ events: Array.from({ length: 100 }, () => `data: ${"x".repeat(1_000)}\n\n`), pause: 20 });
  const leave = (_, request) => request.destroy();
  await raw(`${gw.url}/v1/${ACCOUNT}/left/openai/chat/completions`, { method: "POST", body: JSON.stringify({ ...CHAT, stream: true }), headers: { "content-type": "application/json", ...OFF }, onData: leave });
  assert.equal((await chat("left", { headers: OFF })).status, 429);
  const { errors_by_layer } = await totals("left", 2);
  assert.deepEqual(errors_by_layer, { client: 1, gateway: 0, limit: 1, upstream: 0, provider_4xx: 0, provider_5xx: 0 });
});

test("a request is counted once, whatever it took, and each attempt's tokens are", async () => {
  await gw.create("steps");
  const usage = { prompt_tokens: 40, completion_tokens: 2 };
  gw.upstream.next({ ...failing(500), body: JSON.stringify({ error: { message: "x" }, model: "gpt-4o", usage }) });
  const element = { provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json" }, query: CHAT };
  const answer = await fetch(`${gw.url}/v1/${ACCOUNT}/steps`, { method: "POST", body: JSON.stringify([element, { provider: "anthropic", endpoint: "v1/messages", query: { ...CHAT, model: "claude-sonnet-4-5" } }]) });
  assert.equal(answer.headers.get("cf-aig-step"), "1");
  await answer.text();
  gw.upstream.next(failing(503));
  await (await chat("steps", { headers: { "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1", ...OFF } })).text();
  const { requests, errors, duration } = await totals("steps", 4);
  assert.deepEqual([requests, errors, duration.count], [2, 0, 2]);
  const { buckets } = await analytics("steps", { group_by: "provider" });
  assert.deepEqual(buckets.map(({ provider, requests, attempts }) => [provider, requests, attempts]), [["anthropic", 1, 1], ["openai", 1, 3]]);
});

test("audio passes untouched and is counted when it has arrived", async () => {
  await gw.create("audio", { collect_logs: false });
  const body = Buffer.alloc(300_000, 7);
  for (const chunked of [false, true]) {
    gw.upstream.next({ headers: { "content-type": "audio/mpeg" }, body, chunked });
    const answer = await gw.call("openai/audio/speech", { gateway: "audio", json: { model: "tts-1", input: "x" } });
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(body));
  }
  const { requests, errors } = await totals("audio", 2);
  assert.deepEqual([requests, errors], [2, 0]);
  assert.equal((await analytics("audio", { group_by: "model" })).buckets[0].model, "tts-1");
});

test("a write that is repeated counts nothing twice", async () => {
  await gw.create("faults");
  for (const after of [false, true]) {
    for (const headers of [{}, OFF]) {
      await gw.fault(2, after);
      await (await chat("faults", { headers })).text();
      await until(async () => (await gw.faultsLeft()) === 0, "the faults");
    }
  }
  assert.equal((await totals("faults", 4)).requests, 4);
});

test("new prices for past logs change what they cost in charts", async () => {
  await gw.create("prices");
  await (await chat("prices")).text();
  const before = await totals("prices", 1);
  const rule = { account_provider_id: "openai", model: "gpt-4o", model_rule: "starts-with", cost_in: 0.001, cost_out: 0.001 };
  const made = (await (await gw.api("/custom-providers/costs", { method: "POST", body: JSON.stringify(rule) })).json()).result;
  const { id } = (await (await gw.api("/gateways/prices/logs/reprice", { method: "POST", body: "{}" })).json()).result;
  await until(async () => (await gw.result(`/gateways/prices/logs/reprice/${id}`)).processed, "the new prices");
  const now = await totals("prices", 1);
  assert.ok(Math.abs(now.cost - (before.tokens_in + before.tokens_out) * 0.001) < 1e-9, `${before.cost} ${now.cost}`);
  assert.deepEqual({ ...now, cost: 0 }, { ...before, cost: 0 });
  assert.equal((await gw.api(`/custom-providers/costs/${made.id}`, { method: "DELETE" })).status, 200);
});

test("names of models cannot fill the database", async () => {
  await gw.create("names");
  const names = Array.from({ length: 120 }, (_, n) => `name-${n}`);
  for (let n = 0; n < names.length; n += 30) {
    await Promise.all(names.slice(n, n + 30).map(async (model) => (await chat("names", { json: { ...CHAT, model }, headers: OFF })).text()));
    await totals("names", n + 30);
  }
  const { buckets, totals: all } = await analytics("names", { group_by: "model" });
  assert.equal(all.requests, 120);
  // The minute may have changed meanwhile.
  assert.ok(buckets.length <= 2 * 51, `${buckets.length}`);
  const other = buckets.find(({ model }) => model === "other");
  assert.ok(other.requests >= 120 - 2 * 50);
});

test("old rows become coarser by the clock, and are gone in the end", async () => {
  await gw.create("old");
  const key = await keyOf("old");
  const midnight = (days) => Math.floor((Date.now() - days * DAY) / DAY) * DAY;
  for (const [time, n] of [[midnight(1) + 60_000, 1], [midnight(10) + 3_660_000, 2], [midnight(10) + 3_720_000, 3], [midnight(100) + 60_000, 4], [midnight(100) + 7_200_000, 5], [midnight(500), 6]]) {
    await gw.rows("INSERT INTO rollup (gateway, time, provider, model, requests, attempts) VALUES (?1, ?2, 'openai', 'm', ?3, ?3)", key, time, n);
  }
  await tick();
  const rows = await gw.rows("SELECT time, requests FROM rollup WHERE gateway = ? ORDER BY time", key);
  assert.deepEqual(rows.map(({ time, requests }) => [time, requests]), [[midnight(100), 9], [midnight(10) + 3_600_000, 5], [midnight(1) + 60_000, 1]]);
  const { totals, buckets } = await analytics("old", { start: new Date(midnight(300)).toISOString() });
  assert.deepEqual([totals.requests, buckets.length, buckets[0].time], [15, 3, new Date(midnight(100)).toISOString()]);
});

test("what cannot be answered is refused with advice", async () => {
  for (const [query, field, advice] of [
    ["granularity=minute&start=2020-01-01", "start", /granularity=hour/],
    ["start=2020-01-01", "start", /granularity=day/],
    ["granularity=day&start=2020-01-01", "start", /later start/],
    ["granularity=second", "granularity", /hour/],
    ["group_by=color", "group_by", /provider/],
    ["end=tomorrow", "end", /RFC|such as/],
    ["start=2026-01-02&end=2026-01-01", "start", /before the end/],
  ]) {
    const answer = await gw.api(`/gateways/on/analytics?${query}`);
    const [error] = (await answer.json()).errors;
    assert.deepEqual([answer.status, error.code, error.path], [400, 7001, ["query", field]], query);
    assert.match(error.message, advice);
  }
});

test("only who may read the gateway sees it, and nobody once it is deleted", async () => {
  await gw.create("secret");
  await (await chat("secret")).text();
  await totals("secret", 1);
  const path = (account, gateway) => `${gw.url}/accounts/${account}/ai-gateway/gateways/${gateway}/analytics`;
  const seen = async (token, account = ACCOUNT) => (await fetch(path(account, "secret"), { headers: { authorization: `Bearer ${token}` } })).status;
  const token = async (body) => (await (await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "x", ...body }) })).json()).result.value;
  assert.equal(await seen(await token({ permissions: ["read"], gateways: ["secret"] })), 200);
  assert.equal(await seen(await token({ permissions: ["read"], gateways: ["on"] })), 404);
  assert.equal(await seen(await token({ permissions: ["run"] })), 403);
  assert.equal(await seen(TOKEN, "stranger"), 404);
  const key = await keyOf("secret");
  assert.equal((await gw.rows("SELECT * FROM rollup WHERE gateway = ?", key)).length, 1);
  assert.equal((await gw.api("/gateways/secret", { method: "DELETE" })).status, 200);
  assert.equal(await seen(TOKEN), 404);
  await until(async () => (await gw.rows("SELECT * FROM rollup WHERE gateway = ?", key)).length === 0, "the rows to go");
  await gw.create("secret");
  assert.equal((await analytics("secret")).totals.requests, 0);
});
