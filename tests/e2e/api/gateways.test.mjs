import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
});
after(() => gw.stop());

const post = (body, options) => gw.api("/gateways", { method: "POST", body: JSON.stringify(body), ...options });
const put = (id, body) => gw.api(`/gateways/${id}`, { method: "PUT", body: JSON.stringify(body) });
const REQUIRED = { cache_invalidate_on_update: false, cache_ttl: 0, collect_logs: true, rate_limiting_interval: 0, rate_limiting_limit: 0 };

/** Every setting with a value that is not its default. */
const SETTINGS = {
  authentication: true,
  byok_only: true,
  cache_invalidate_on_update: true,
  cache_ttl: 3_600,
  circuit_breaker: { failures: 5, window: 60, cooldown: 30 },
  collect_logs: false,
  cors: { origins: ["https://app.example.com"], max_age: 60 },
  dlp: { enabled: true, action: "FLAG", profiles: ["financial"] },
  guardrails: { prompt: { P1: "BLOCK" }, response: {} },
  log_classification: true,
  log_management: 10_000,
  log_management_strategy: "DELETE_OLDEST",
  logpush: true,
  logpush_plain: true,
  logpush_public_key: "k".repeat(16),
  otel: [{ id: "o", url: "https://9.9.9.9", headers: {}, content_type: "json" }],
  provider_cookies: true,
  rate_limiting_interval: 60,
  rate_limiting_limit: 100,
  rate_limiting_rules: [{ id: "t", key: "token", limit: 5, interval: 60 }],
  rate_limiting_technique: "sliding",
  resign: true,
  retry_backoff: "exponential",
  retry_delay: 60_000,
  retry_max_attempts: 5,
  spend_limits: { enabled: true, rules: [{ id: "r", limit: 1, limitType: "cost", window: 60, metadata: { team: { mode: "partition" } } }] },
  store_id: "store",
  stream_usage: "ask",
  stripe: { authorization: "***", usage_events: [{ payload: "p" }] },
  unknown_model: "block",
  workers_ai_billing_mode: "unified",
  zdr: true,
};

async function refused(answer, field) {
  const { success, result, errors, messages } = await answer.json();
  assert.deepEqual([answer.status, success, result, messages, errors.length, errors[0].code, errors[0].path], [400, false, null, [], 1, 7001, ["body", field]], JSON.stringify(errors));
  assert.ok(errors[0].message.length > 10);
}

test("every setting is stored and shown, and survives being sent back", async () => {
  const made = await (await post({ id: "full", ...SETTINGS })).json();
  assert.deepEqual([made.success, made.errors], [true, []]);
  assert.deepEqual(made.messages.map(({ message }) => message.split(" ")[0]).sort(), ["log_classification", "logpush_public_key", "store_id", "stripe", "workers_ai_billing_mode"]);
  for (const [name, value] of Object.entries(SETTINGS)) assert.deepEqual(made.result[name], value, name);
  const { id, account_id, account_tag, internal_id, is_default, created_at, modified_at } = made.result;
  assert.deepEqual([id, account_id, account_tag, is_default], ["full", ACCOUNT, ACCOUNT, false]);
  assert.match(internal_id, /^[0-9A-Z]{26}$/);
  for (const time of [created_at, modified_at]) assert.ok(new Date(time).getTime() > Date.now() - 60_000, time);
  assert.deepEqual(await gw.result("/gateways/full"), made.result);

  // What GET shows is what the dashboard and Terraform send back; nothing changes but the time of it.
  const again = (await (await put("full", { ...made.result, wholesale: true, internal: false })).json()).result;
  assert.deepEqual({ ...again, modified_at }, made.result);
  assert.ok(again.modified_at >= modified_at);
});

test("a key of Stripe's is kept nowhere", async () => {
  const key = "Bearer sk_live_51ABCDEFGHIJKLMNOPQRSTUV";
  const stripe = { authorization: key, usage_events: [{ payload: "p" }] };
  const answers = [await (await post({ id: "striped", ...REQUIRED, stripe })).json(), await (await put("striped", { stripe })).json(), await gw.result("/gateways/striped")];
  assert.deepEqual(answers.at(-1).stripe, { ...stripe, authorization: "***" });
  assert.match(answers[1].messages[0].message, /^stripe is stored and has no effect: no usage is sent to Stripe, and its key is not kept/);
  const [row] = await gw.rows("SELECT settings FROM gateways WHERE id = 'striped'");
  const seen = JSON.stringify([answers, row, await gw.result("/audit"), await (await gw.api("/export")).text()]);
  assert.ok(row.settings && !seen.includes("sk_live"), seen);
});

test("null and missing fields have their defaults", async () => {
  await post({ id: "bare", ...REQUIRED });
  const bare = await gw.result("/gateways/bare");
  await post({ id: "nulls", ...Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, null])) });
  const nulls = await gw.result("/gateways/nulls");
  for (const name of Object.keys(SETTINGS)) assert.deepEqual(nulls[name], bare[name], name);
  assert.deepEqual([bare.authentication, bare.collect_logs, bare.cache_ttl, bare.rate_limiting_technique, bare.log_management], [false, true, 0, "fixed", null]);
});

test("a null in PUT resets a field, a missing one keeps it", async () => {
  await post({ id: "partly", ...SETTINGS });
  const changed = (await (await put("partly", { cache_ttl: null, log_management: null, retry_delay: 5 })).json()).result;
  assert.deepEqual([changed.cache_ttl, changed.log_management, changed.retry_delay, changed.authentication, changed.zdr], [0, null, 5, true, true]);
  assert.deepEqual(await gw.result("/gateways/partly"), changed);
});

test("bounds are kept on POST and on PUT, and a refused change changes nothing", async () => {
  await post({ id: "bounds", ...REQUIRED });
  const before = await gw.result("/gateways/bounds");
  const wrong = {
    authentication: ["yes", 1],
    cache_ttl: [-1, 1.5, "60", true, 1e30],
    collect_logs: ["true", 0],
    dlp: ["x", []],
    guardrails: [true],
    log_management: [9_999, 10_000_001, "many"],
    log_management_strategy: ["KEEP", ""],
    logpush_plain: ["yes", 1],
    logpush_public_key: ["k".repeat(15), "k".repeat(1_025), 7],
    otel: [{}, "x"],
    provider_cookies: ["yes", 1],
    rate_limiting_interval: [-1],
    rate_limiting_limit: [-1, 0.5],
    rate_limiting_technique: ["FIXED", 1],
    resign: ["yes", 1],
    retry_backoff: ["none"],
    retry_delay: [-1, 60_001],
    circuit_breaker: ["on", [], 5],
    retry_max_attempts: [0, 6],
    spend_limits: [[], { rules: Array(21).fill({}) }],
    stripe: [1],
    workers_ai_billing_mode: ["free"],
    zdr: ["no"],
  };
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of values) {
      const path = field === "spend_limits" && !Array.isArray(value) ? ["body", field, "rules"] : ["body", field];
      for (const answer of [await post({ id: "never", [field]: value }), await put("bounds", { [field]: value })]) {
        const { errors } = await answer.json();
        assert.deepEqual([answer.status, errors[0].code, errors[0].path], [400, 7001, path], `${field}: ${JSON.stringify(value)}`);
      }
    }
  }
  assert.deepEqual(await gw.result("/gateways/bounds"), before);
  assert.equal((await gw.api("/gateways/never")).status, 404);
  for (const [field, value] of Object.entries({ log_management: 10_000_000, logpush_public_key: "k".repeat(1_024), retry_delay: 0, retry_max_attempts: 1, cache_ttl: 60.0 })) {
    assert.equal((await put("bounds", { [field]: value })).status, 200, field);
  }
});

test("ids follow their pattern and are taken once per account", async () => {
  for (const id of ["", "A", "a--b", "-a", "a-", "a b", "a/b", "ä", "a.b", "x".repeat(65), "../a", 7, null, undefined]) await refused(await post({ ...REQUIRED, id }), "id");
  for (const id of ["a", "a_b-c-1", "_", "9", "x".repeat(64)]) assert.equal((await post({ ...REQUIRED, id })).status, 200, id);
  await refused(await post({ ...REQUIRED, id: "a" }), "id");
  assert.equal((await post({ ...REQUIRED, id: "a" }, { account: "elsewhere" })).status, 200);
  const made = await Promise.all(Array.from({ length: 10 }, () => post({ ...REQUIRED, id: "race" })));
  assert.deepEqual(made.map(({ status }) => status).sort(), [200, ...Array(9).fill(400)]);
});

test("gateways are listed in pages, by account, and found by a part of their id", async () => {
  const account = "lists";
  const list = async (query = "") => (await gw.api(`/gateways${query}`, { account })).json();
  assert.deepEqual(await list(), { result: [], result_info: { count: 0, page: 1, per_page: 20, total_count: 0 }, success: true, errors: [], messages: [] });
  for (let n = 0; n < 23; n += 1) await post({ ...REQUIRED, id: `team-${String.fromCharCode(97 + n)}` }, { account });
  const first = await list();
  assert.deepEqual(first.result_info, { count: 20, page: 1, per_page: 20, total_count: 23 });
  const second = await list("?page=2");
  assert.deepEqual([second.result.length, second.result_info.count], [3, 3]);
  const ids = [...first.result, ...second.result].map(({ id }) => id);
  assert.equal(new Set(ids).size, 23);
  assert.deepEqual((await list("?page=3")).result, []);
  assert.deepEqual((await list("?per_page=100")).result.map(({ id }) => id), ids);
  assert.deepEqual((await list("?search=M-B")).result.map(({ id }) => id), ["team-b"]);
  // In a pattern these would match anything.
  for (const search of ["%25", "_", "*", "'"]) assert.deepEqual((await list(`?search=${search}`)).result, []);
  for (const query of ["?per_page=0", "?per_page=101", "?page=0", "?page=x", "?page=-1"]) {
    const wrong = await gw.api(`/gateways${query}`, { account });
    assert.deepEqual([wrong.status, (await wrong.json()).errors[0].path], [400, ["query", query.slice(1).split("=")[0]]]);
  }
});

test("deleting shows the gateway once more and takes effect at once", async () => {
  await post({ ...REQUIRED, id: "short-lived" });
  assert.equal((await gw.call("openai/models", { gateway: "short-lived" })).status, 200);
  const deleted = await gw.api("/gateways/short-lived", { method: "DELETE" });
  assert.deepEqual([deleted.status, (await deleted.json()).result.id], [200, "short-lived"]);
  const after = await gw.call("openai/models", { gateway: "short-lived" });
  const body = await after.json();
  assert.deepEqual([after.status, body.internalCode, body.name, body.message], [400, 2001, "AiGatewayError", "Please configure AI Gateway in the Cloudflare dashboard"]);
  assert.match(body.description, /short-lived/);
  for (const init of [{}, { method: "DELETE" }, { method: "PUT", body: "{}" }]) assert.equal((await gw.api("/gateways/short-lived", init)).status, 404);
});

test("a gateway that was unknown a moment ago works as soon as it is made", async () => {
  assert.equal((await gw.call("openai/models", { gateway: "new-one" })).status, 400);
  await post({ ...REQUIRED, id: "new-one" });
  const answer = await gw.call("openai/models", { gateway: "new-one" });
  assert.equal(answer.status, 200);
  assert.equal((await gw.logOf(answer, "new-one")).success, true);
});

test("default is made once, by whoever is first with a token", async () => {
  const headers = { "cf-aig-authorization": `Bearer ${TOKEN}` };
  const refusedFirst = await gw.call("openai/models", { gateway: "default" });
  assert.deepEqual([refusedFirst.status, (await refusedFirst.json()).internalCode], [400, 2001]);
  const answers = await Promise.all(Array.from({ length: 20 }, () => gw.call("openai/models", { gateway: "default", headers })));
  assert.deepEqual(answers.map(({ status }) => status), Array(20).fill(200));
  assert.equal((await gw.rows("SELECT count(*) AS n FROM gateways WHERE id = 'default'"))[0].n, 1);
  await gw.logOf(answers[0], "default");
  await gw.api("/gateways/default", { method: "DELETE" });
  assert.equal((await gw.call("openai/models", { gateway: "default", headers })).status, 200, "it is made again");
  // No other name comes into being by being called.
  assert.equal((await gw.call("openai/models", { gateway: "default2", headers })).status, 400);
});

test("both prefixes, HEAD and a trailing slash lead to the same gateway", async () => {
  await post({ ...REQUIRED, id: "doors" });
  const headers = { authorization: `Bearer ${TOKEN}` };
  const path = `/accounts/${ACCOUNT}/ai-gateway/gateways/doors`;
  const [plain, prefixed, slashed] = await Promise.all([path, `/client/v4${path}`, `${path}/`].map(async (url) => (await fetch(gw.url + url, { headers })).json()));
  assert.equal(plain.result.id, "doors");
  assert.deepEqual([prefixed, slashed], [plain, plain]);
  const head = await fetch(gw.url + path, { method: "HEAD", headers });
  assert.deepEqual([head.status, await head.text()], [200, ""]);
});

test("the URL for an SDK works as it is", async () => {
  await post({ ...REQUIRED, id: "urls" });
  for (const provider of ["openai", "anthropic", "workers-ai"]) {
    assert.equal(await gw.result(`/gateways/urls/url/${provider}`), `${gw.url}/v1/${ACCOUNT}/urls/${provider}`);
  }
  const answer = await fetch(`${await gw.result("/gateways/urls/url/openai")}/models`);
  assert.equal(answer.status, 200);
  assert.equal((await gw.api("/gateways/urls/url/opnai")).status, 404);
  assert.equal((await gw.api("/gateways/unknown/url/openai")).status, 404);
});
