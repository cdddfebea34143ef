// The configuration of an account as one document: what it has and has not, what an import changes, and the commands for it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

const CLI = fileURLToPath(new URL("../../../server/cli.mjs", import.meta.url));
const CANARY = "canary-0123456789-abcdefghijkl";
const ELEMENTS = [
  { id: "s", type: "start", outputs: { next: { elementId: "m" } } },
  { id: "m", type: "model", properties: { provider: "openai", model: "gpt-4o-mini", retries: 0, timeout: 0 }, outputs: { success: { elementId: "e" } } },
  { id: "e", type: "end", outputs: {} },
];

let gw, folder;
before(async () => {
  gw = await Gateway.start({ databases: 2 });
  folder = mkdtempSync(join(tmpdir(), "tollgate-config-"));
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  await gw.create("gw", { cache_ttl: 60 });
  await gw.create("other", {});
  await made("/custom-providers", { name: "x", slug: "x", base_url: "https://api.example.com", headers: JSON.stringify({ authorization: `Bearer ${CANARY}`, "x-team": "blue" }) });
  await made("/custom-providers/costs", { account_provider_id: "custom-x", model: "m", cost_in: 0.000001 });
  await made("/alerts/webhooks", { url: `https://api.example.com/services/${CANARY}`, format: "slack" });
  await made("/alerts/webhooks", { url: "https://api.example.com/hook", secret: CANARY });
  await made("/gateways/gw/provider_configs", { alias: "prod", provider_slug: "openai", secret: `sk-${CANARY}` });
  await made("/gateways/gw/datasets", { name: "all", filters: [] });
  await made("/gateways/gw/policies?commit=true", { name: "no gpt-5", actor: "*", resource: { model: "gpt-5" }, action: { type: "block" } });
  await made("/gateways/gw/routes", { name: "cheap", elements: ELEMENTS });
});
after(async () => {
  rmSync(folder, { recursive: true });
  await gw.stop();
});

async function made(path, body) {
  const answer = await gw.api(path, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.clone().text());
}

async function put(document, { query = "", account = ACCOUNT, status = 200 } = {}) {
  const answer = await gw.api(`/import?${query}`, { account, method: "PUT", body: JSON.stringify(document) });
  const said = await answer.json();
  assert.equal(answer.status, status, JSON.stringify(said));
  return status === 200 ? said.result : said.errors[0];
}

async function exported(account = ACCOUNT) {
  return (await (await gw.api("/export", { account })).json()).result;
}

/** What a command printed, and its status. */
function cli(...args) {
  const env = { ...process.env, TOLLGATE_TOKEN: TOKEN };
  const child = spawn(process.execPath, [CLI, ...args, "--url", gw.url], { cwd: folder, env });
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].on("data", (data) => (said[name] += data));
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, ...said })));
}

test("no secret is in the document, and all else makes another account the same", async () => {
  const answer = await gw.api("/export");
  const text = await answer.text();
  assert.ok(!text.includes("canary") && answer.headers.get("cache-control") === "no-store", text);
  const document = JSON.parse(text).result;
  const [gateway] = document.gateways;
  assert.deepEqual([gateway.id, gateway.settings.cache_ttl, gateway.routes[0].elements, gateway.provider_configs[0].alias], ["gw", 60, ELEMENTS, "prod"]);

  const rehearsal = await put(document, { account: "second", query: "dry_run=true" });
  assert.deepEqual([rehearsal.create, rehearsal.update, rehearsal.warnings.length, (await exported("second")).gateways], [7, 0, 4, []]);
  const rows = (await gw.rows("SELECT * FROM audit")).length;
  assert.equal((await put(document, { account: "second" })).create, 7);
  const trail = await gw.rows("SELECT action, actor FROM audit WHERE account_id = 'second' ORDER BY action");
  assert.deepEqual(trail.map(({ action }) => action), ["cost.create", "custom_provider.create", "dataset.create", "gateway.create", "gateway.create", "policy.create", "route.create"]);
  assert.ok(trail.every(({ actor }) => actor === "admin") && (await gw.rows("SELECT * FROM audit")).length === rows + 7);
  const copy = await exported("second");
  for (const list of ["settings", "routes", "policies", "datasets"]) assert.deepEqual(copy.gateways[0][list], gateway[list], list);
  assert.deepEqual(copy.costs, document.costs);
  // What was made is in use at once.
  const limited = await fetch(`${gw.url}/v1/second/gw/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "gpt-5", messages: [] }) });
  assert.equal(limited.status, 403, await limited.text());
  for (const account of [ACCOUNT, "second"]) {
    const again = await put(document, { account, query: "prune=true" });
    assert.deepEqual(again.changes, [], account);
  }
});

test("an account whose secrets are left aside is the same on an empty Tollgate, whatever it has", async () => {
  const make = async (path, body, method = "POST") => {
    const answer = await gw.api(path, { account: "whole", method, body: JSON.stringify(body) });
    assert.equal(answer.status, 200, `${path} ${await answer.clone().text()}`);
    return (await answer.json()).result;
  };
  await make("/custom-providers", { name: "Own", slug: "own", base_url: "https://api.example.com/v1", headers: '{"x-team":"blue"}', enable: true, formats: ["responses", "chat"], position: 3, description: "of ours", link: "https://example.com" });
  await make("/custom-providers/costs", { account_provider_id: "custom-own", model: "m", model_rule: "contains", token_pricing: { input_tokens: 1e-6, output_tokens: 2e-6, service_tiers: { batch: 0.5 } } });
  await make("/custom-providers/costs", { account_provider_id: "openai", model: "gpt-4o", cost_in: 0, cost_out: 1.25e-6, enable: false });
  await make("/catalogue", { as_of: "2026-11-01", prices: [{ provider: "openai", model: "gpt-5", input: 2, output: 3 }] }, "PUT");
  await make("/gateways", {
    id: "full", authentication: true, byok_only: true, cache_ttl: 300, cache_invalidate_on_update: true, circuit_breaker: { failures: 3, window: 60, cooldown: 30 }, cors: { origins: ["https://app.example.com"] }, custom_cost: "ignore",
    first_byte_timeout: 30, idle_timeout: 90, log_body_retention_days: 7, log_retention_days: 30, log_management: 100_000, log_management_strategy: "DELETE_OLDEST", max_calls: 5, model_aliases: { "claude-*": "openai/gpt-5" },
    provider_cookies: true, rate_limiting_limit: 50, rate_limiting_interval: 60, rate_limiting_technique: "sliding", rate_limiting_rules: [{ key: "token", limit: 5, interval: 60 }], retry_max_attempts: 3, retry_delay: 500, retry_backoff: "exponential",
    session_from: ["traceparent"], spend_limits: { enabled: true, rules: [{ id: "month", limitType: "cost", limit: 10, window: 86_400 * 30 }] }, stream_usage: "ask", unknown_model: "block", logpush: true, logpush_plain: true,
    guardrails: { prompt: { P1: "BLOCK" }, response: { S1: "FLAG" } }, dlp: { enabled: true, action: "BLOCK", profiles: ["secrets", "contact"] }, otel: [{ url: "https://api.example.com/v1/traces", sample: 0.5, content: true, content_type: "protobuf" }],
  });
  await make("/gateways", { id: "empty" });
  await make("/gateways/full/logpush", { url: "https://api.example.com/logs" }, "PUT");
  for (const name of ["z", "a"]) await make("/gateways/full/datasets", { name, filters: [] });
  await make("/gateways/full/datasets", { name: "bad", enable: false, filters: [{ key: "metadata.team", operator: "contains", value: ["a", "b"] }, { key: "cost", operator: "gt", value: [0.5] }] });
  for (const name of ["first", "second", "first"]) await make("/gateways/full/policies?commit=true", { name, actor: "*", resource: { model: `${name}-*` }, action: { type: "block" } });
  for (const name of ["cheap", "dear"]) assert.equal((await gw.api("/gateways/full/routes", { account: "whole", method: "POST", body: JSON.stringify({ name, elements: ELEMENTS }) })).status, 200);
  const document = await exported("whole");
  const done = await put(document, { account: "copy" });
  assert.deepEqual([done.warnings, done.remaining], [[], 0]);
  const bare = (value) => JSON.parse(JSON.stringify(value, (name, one) => (name === "id" && typeof one === "string" && one.length > 30 ? undefined : one)));
  assert.deepEqual(bare(await exported("copy")), bare(document));
  for (const account of ["copy", "whole"]) assert.deepEqual((await put(document, { account, query: "prune=true" })).changes, [], account);
});

test("what has secrets everywhere tells none of them", async () => {
  const account = "canaries";
  const make = async (path, body, method = "POST") => {
    const answer = await gw.api(path, { account, method, body: JSON.stringify(body) });
    assert.equal(answer.status, 200, `${path} ${await answer.clone().text()}`);
  };
  await make("/gateways", { id: "gw", logpush: true, logpush_plain: true });
  await make("/gateways/gw", { otel: [{ url: "https://api.example.com/spans", authorization: `Bearer ${CANARY}`, headers: { "x-api-key": CANARY } }] }, "PUT");
  await make("/gateways/gw/logpush", { url: "https://api.example.com/logs", authorization: `Bearer ${CANARY}` }, "PUT");
  await make("/gateways/gw/provider_configs", { alias: "a", provider_slug: "openai", secret: `sk-${CANARY}`, weight: 3 });
  await make("/custom-providers", { name: "x", slug: "x", base_url: "https://api.example.com", headers: JSON.stringify({ "x-key": CANARY }) });
  await make("/alerts/webhooks", { url: "https://api.example.com/hook", secret: CANARY });
  await make("/alerts/webhooks", { url: `https://api.example.com/services/${CANARY}`, format: "slack" });
  const document = await exported(account);
  assert.ok(!JSON.stringify(document).includes(CANARY), JSON.stringify(document));
  assert.deepEqual([document.gateways[0].logpush_endpoint, document.gateways[0].provider_configs[0].weight], [{ url: "https://api.example.com/logs", authorization: "***" }, 3]);
  // Neither does a plan, of this account or of an empty one.
  for (const one of [account, "no-canaries"]) {
    const plan = await put({ ...document, gateways: [{ ...document.gateways[0], logpush_endpoint: { url: "https://api.example.com/other", authorization: CANARY } }] }, { account: one, query: "dry_run=true" });
    assert.ok(!JSON.stringify(plan).includes(CANARY), JSON.stringify(plan));
  }
  assert.deepEqual((await put(document, { account })).changes, []);
});

test("a document that one part refuses changes nothing, and its place is named", async () => {
  const before = await exported();
  const rows = (await gw.rows("SELECT id FROM audit")).length;
  const good = { id: "fresh", settings: { cache_ttl: 5 }, datasets: [{ name: "d", filters: [] }] };
  for (const [bad, path] of [
    [{ id: "gw", policies: [{ name: "p", actor: "*", resource: "*", action: { type: "hide" } }] }, ["gateways", "1", "policies", "0", "action", "type"]],
    [{ id: "gw", settings: { retry_max_attempts: 99 } }, ["gateways", "1", "settings", "retry_max_attempts"]],
    [{ id: "gw", routes: [{ name: "cheap", elements: [{ id: "s" }] }] }, ["gateways", "1", "routes", "0", "elements"]],
    [{ id: "gw", datasets: [{ name: "all", filters: [{ key: "nothing", operator: "eq", value: [1] }] }] }, ["gateways", "1", "datasets", "0", "filters"]],
  ]) {
    const error = await put({ tollgate: 1, gateways: [good, bad] }, { status: 400 });
    assert.deepEqual(error.path.slice(0, path.length + 1), ["body", ...path], JSON.stringify(error));
    assert.match(error.message, /Nothing was changed$/);
  }
  assert.equal((await put({ tollgate: 1, gateways: [{ id: "x/../y" }] }, { status: 400 })).path.at(-1), "id");
  assert.deepEqual([await exported(), (await gw.rows("SELECT id FROM audit")).length], [before, rows]);
  for (const body of ["", "[]", "{", "null", '{"tollgate":9}', "\xff", "[".repeat(5000)]) {
    assert.equal((await gw.api("/import", { method: "PUT", body })).status, 400, body.slice(0, 20));
  }
});

test("a change beside a secret is made, and the secret stays", async () => {
  const account = "third";
  const make = async (path, body, method = "POST") => {
    const answer = await gw.api(path, { account, method, body: JSON.stringify(body) });
    assert.equal(answer.status, 200, await answer.clone().text());
  };
  await make("/gateways", { id: "gw", collect_logs: true });
  await make("/gateways/gw", { otel: [{ url: "https://api.example.com/spans", authorization: `Bearer ${CANARY}` }] }, "PUT");
  await make("/alerts/webhooks", { url: "https://api.example.com/hook", secret: CANARY });
  await make("/custom-providers", { name: "x", slug: "x", base_url: "https://api.example.com" });
  const kept = async () => [await gw.rows("SELECT otel_destinations.id, secret FROM otel_destinations JOIN gateways ON key = gateway WHERE account_id = ?1", account), await gw.rows("SELECT id, secret FROM alert_webhooks WHERE account_id = ?1", account)].flat();
  const before = await kept();
  const document = await exported(account);
  const { otel } = document.gateways[0].settings;
  otel[0].sample = 0.5;
  otel.push({ url: "https://api.example.com/others" });
  document.alert_webhooks[0].thresholds = [0.5];
  const done = await put(document, { account });
  assert.deepEqual([done.update, done.warnings], [2, []], JSON.stringify(done));
  const after = await exported(account);
  assert.deepEqual(after.gateways[0].settings.otel.map(({ url, sample, authorization }) => [url, sample, authorization]), [["https://api.example.com/spans", 0.5, "***"], ["https://api.example.com/others", undefined, undefined]]);
  assert.deepEqual(after.alert_webhooks[0].thresholds, [0.5]);
  assert.deepEqual((await kept()).filter(({ secret }) => secret), before);
  assert.deepEqual((await put(document, { account })).changes, []);
  // It goes to no other host, and what only a secret can bring is told as often as it lacks.
  after.gateways[0].settings.otel[0].url = "https://elsewhere.example.com/spans";
  after.custom_providers[0].headers = '{"authorization":"***"}';
  for (const _ of [1, 2]) {
    const left = await put(after, { account });
    assert.deepEqual(left.changes, []);
    assert.deepEqual(left.warnings.map((warning) => warning.split(":")[0]).sort(), ["custom_providers.0.headers", "gateways.0.settings.otel"]);
  }
  assert.deepEqual((await kept()).filter(({ secret }) => secret), before);
});

test("only the admin token reads and writes it, and each account has its own", async () => {
  const answer = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "editor", permissions: ["read", "edit", "run"] }) });
  const { value } = (await answer.json()).result;
  for (const [path, method] of [["/export", "GET"], ["/import", "PUT"]]) {
    const refused = await gw.api(path, { method, headers: { authorization: `Bearer ${value}` }, ...(method === "PUT" && { body: '{"tollgate":1}' }) });
    assert.equal(refused.status, 403);
  }
  assert.deepEqual((await exported("nobody")).gateways, []);
});

test("tollgate export and apply carry it from one to the other", async () => {
  const file = join(folder, "tollgate.json");
  const written = await cli("export", file, "--account", ACCOUNT);
  assert.equal(written.status, 0, written.stderr);
  const document = JSON.parse(readFileSync(file, "utf8"));
  document.gateways[0].settings.cache_ttl = 90;
  document.gateways[0].policies = [];
  document.gateways[0].datasets = Array.from({ length: 70 }, (_, n) => ({ name: `set ${n}`, filters: [] }));
  writeFileSync(file, `\uFEFF${JSON.stringify(document)}`);
  const planned = await cli("apply", file, "--dry-run", "--prune", "--account", ACCOUNT);
  assert.equal(planned.status, 0, planned.stderr);
  assert.match(planned.stdout, /^~ gateways gw\n {4}cache_ttl: 60 → 90$/m);
  assert.match(planned.stdout, /^- gw policies no gpt-5$/m);
  assert.match(planned.stdout, /^70 to create, 1 to update, 2 to delete; \d+ unchanged$/m);
  assert.equal((await exported()).gateways[0].settings.cache_ttl, 60);
  // More than one request carries out at once.
  const applied = await cli("apply", file, "--prune", "--account", ACCOUNT);
  assert.equal(applied.status, 0, applied.stderr);
  assert.equal(applied.stdout.match(/^\+ gw datasets /gm).length, 70);
  const after = await exported();
  assert.deepEqual([after.gateways[0].settings.cache_ttl, after.gateways[0].datasets.length, after.gateways[0].policies], [90, 70, []]);
  const again = await cli("apply", file, "--prune", "--account", ACCOUNT);
  assert.match(again.stdout, /^applied; \d+ unchanged$/m);
  assert.doesNotMatch(again.stdout, /^[-+~] /m);
  writeFileSync(file, '{"tollgate":1,"gateways":[{"id":"gw","settings":{"cache_ttl":-1}}]}');
  const refused = await cli("apply", file, "--account", ACCOUNT);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /refused, at gateways\.0\.settings\.cache_ttl: .*Nothing was changed/);
  for (const [text, said] of [["{", /is no JSON/], [null, /cannot be read/]]) {
    const path = join(folder, text ? "broken.json" : "missing.json");
    if (text) writeFileSync(path, text);
    const failed = await cli("apply", path);
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, said);
  }
});
