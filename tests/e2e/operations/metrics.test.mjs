// GET /metrics: what it counts, who may read it, and what promtool and a real Prometheus make of it. Where Debian's package cannot be had, the two tests that want it
// are skipped by name.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ensurePrometheus } from "../../../scripts/prometheus.mjs";
import { ACCOUNT, Gateway, TOKEN, freePort, until } from "../harness.mjs";

let gw, programs, missing;
try {
  programs = ensurePrometheus();
} catch (error) {
  missing = `no Prometheus: ${error.message}`;
}
before(async () => {
  gw = await Gateway.start({ databases: 2, bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  await gw.create("gw");
  await gw.create("other", { log_database: 1 });
});
after(() => gw.stop(/logpush_not_delivered/));

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Lunch?" }] };
const sk = { authorization: "Bearer sk-client-0123456789" };
const chat = (gateway = "gw", json = CHAT, headers = {}) => gw.call("openai/chat/completions", { gateway, json, headers: { ...sk, ...headers } });
const page = (query = {}, headers = {}) => fetch(`${gw.url}/metrics?${new URLSearchParams(query)}`, { headers: { authorization: `Bearer ${TOKEN}`, ...headers } });
const OPEN = { accept: "application/openmetrics-text; version=1.0.0,text/plain;q=0.5" };

/** The samples of a page: `name{labels}` and their values. */
async function samples(query, headers) {
  const answer = await page(query, headers);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return new Map(text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}

const of = (name, gateway, more = "", model = "gpt-4o") => `${name}{account="${ACCOUNT}",gateway="${gateway}",provider="openai",model="${model}"${more}}`;
const requests = (all, gateway = "gw") => all.get(of("tollgate_requests_total", gateway, ',status_class="2xx",cached="false"'));

test("requests, tokens, money and times are counted by gateway, provider and model, in all databases", async () => {
  const replies = [await chat(), await chat("gw", CHAT, { "cf-aig-collect-log": "false" }), await chat("other")];
  gw.upstream.next({ status: 429, headers: { "content-type": "application/json" }, body: '{"error":{"message":"slow down"}}' });
  assert.equal((await chat()).status, 429);
  const log = await gw.logOf(replies[0]);
  let all;
  await until(async () => requests((all = await samples())) === 2 && requests(all, "other") === 1 && all.get(of("tollgate_errors_total", "gw", ',layer="provider_4xx"')) === 1, "all requests");
  assert.equal(all.get(of("tollgate_requests_total", "gw", ',status_class="4xx",cached="false"')), 1);
  assert.equal(all.get(of("tollgate_attempts_total", "gw")), 3);
  assert.deepEqual(["input", "output"].map((type) => all.get(of("tollgate_tokens_total", "gw", `,type="${type}"`))), [2 * log.tokens_in, 2 * log.tokens_out]);
  assert.ok(Math.abs(all.get(of("tollgate_cost_usd_total", "gw")) - 2 * log.cost) < 1e-12);
  const buckets = [...all].filter(([name]) => name.startsWith('tollgate_request_duration_seconds_bucket{') && name.includes('gateway="gw"'));
  assert.deepEqual([buckets.length, buckets.at(-1)[1], all.get(of("tollgate_request_duration_seconds_count", "gw"))], [16, 2, 2]);
  assert.ok(buckets.every(([, count], at) => at === 0 || count >= buckets[at - 1][1]), "buckets are cumulative");
  assert.ok([...all.keys()].some((name) => /^tollgate_build_info\{version="[^"]+"\}$/.test(name)));
});

test("no counter becomes less: not when logs are priced anew, not when they are deleted, and not when charts end", async () => {
  const before = await samples();
  const cost = { account_provider_id: "openai", model: "gpt-4o", cost_in: 0, cost_out: 0 };
  assert.equal((await gw.api("/custom-providers/costs", { method: "POST", body: JSON.stringify(cost) })).status, 200);
  const { id } = (await (await gw.api("/gateways/gw/logs/reprice", { method: "POST", body: "{}" })).json()).result;
  await until(async () => (await gw.result(`/gateways/gw/logs/reprice/${id}`)).processed, "the new prices");
  const { cost: left } = (await gw.result("/gateways/gw/analytics")).totals;
  assert.ok(left < before.get(of("tollgate_cost_usd_total", "gw")), "what charts show became less");
  assert.equal((await gw.api("/gateways/gw/logs", { method: "DELETE" })).status, 200);
  for (const db of gw.dbs) await db.prepare("DELETE FROM rollup").run();
  const later = await samples();
  for (const [name, value] of before) assert.ok(later.get(name) >= value, `${name}: ${value} ${later.get(name)}`);
  assert.ok(later.get(of("tollgate_cost_usd_total", "gw")) > 0);
});

test("names that callers make up are one series, and cannot break the page", async () => {
  await gw.create("names");
  const strange = 'a"b\\c\nd';
  await chat("names", { ...CHAT, model: strange });
  await Promise.all(Array.from({ length: 150 }, (_, number) => chat("names", { ...CHAT, model: `made-up-${number}` })));
  let all;
  const own = () => [...all].filter(([name]) => name.startsWith("tollgate_attempts_total") && name.includes('gateway="names"'));
  await until(async () => ((all = await samples({ gateway: "names" })), own().reduce((sum, [, value]) => sum + value, 0) === 151), "all requests", 20_000);
  assert.ok(own().length <= 101, String(own().length));
  assert.ok(own().some(([name]) => name.includes('model="other"')));
  assert.ok(own().some(([name]) => name.includes(String.raw`model="a\"b\\c\nd"`)));
});

test("a token sees what it reaches, and a gateway shows where its limits stand", async () => {
  await gw.create("limited", { rate_limiting_limit: 10, rate_limiting_interval: 86_400, spend_limits: { rules: [{ id: "budget", limit: 5, limitType: "cost", window: 86_400 }] } });
  await chat("limited");
  const all = await samples({ gateway: "limited" });
  assert.equal(all.get(`tollgate_rate_limit_remaining{account="${ACCOUNT}",gateway="limited",rule="gateway"}`), 9);
  assert.ok(all.get(`tollgate_budget_remaining_usd{account="${ACCOUNT}",gateway="limited",rule="budget"}`) <= 5);
  const token = async (permissions, gateways) => {
    const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "t", permissions, gateways }) });
    return { authorization: `Bearer ${(await made.json()).result.value}` };
  };
  const reader = await token(["read_metadata"], ["other"]);
  const seen = [...(await samples({}, reader)).keys()].filter((name) => name.includes("gateway="));
  assert.ok(seen.length > 0 && seen.every((name) => name.includes('gateway="other"')));
  assert.equal((await page({ gateway: "gw" }, reader)).status, 404);
  assert.equal((await page({ account: "another" }, reader)).status, 404);
  assert.equal((await page({}, await token(["run"]))).status, 403);
  assert.equal((await page({}, { authorization: "Bearer wrong" })).status, 401);
  assert.equal((await page({ gateway: "none" })).status, 404);
  const open = await page({}, OPEN);
  assert.equal(open.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
  assert.ok((await open.text()).endsWith("# EOF\n"));
  assert.equal((await page()).headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
});

test("circuits, guardrails, pushes and alerts are counted in the database, for whichever instance is asked", async () => {
  const hooked = `${gw.upstream.origin}/hook`;
  const check = { id: "projects", type: "deny", patterns: ["prj-[0-9]+"], action: "FLAG" };
  await gw.create("events", { circuit_breaker: { failures: 2, window: 3600, cooldown: 3600 }, guardrails: { checks: [check] }, logpush: true, logpush_plain: true });
  const hook = await gw.api("/alerts/webhooks", { method: "POST", body: JSON.stringify({ url: hooked, gateway: "events", events: ["circuit"] }) });
  assert.equal(hook.status, 200, await hook.clone().text());
  await chat("events", { ...CHAT, messages: [{ role: "user", content: "about prj-7" }] });
  await chat("events");
  gw.upstream.answer = () => ({ status: 500, body: "{}" });
  for (let n = 0; n < 4; n += 1) await chat("events");
  // The upstream that failed is the webhook's, too.
  gw.upstream.answer = () => ({ status: 200, body: "{}" });
  await until(async () => (await gw.rows("UPDATE alert_deliveries SET next_at = 0 WHERE next_at IS NOT NULL AND attempts > 0 RETURNING 1")).length === 1, "the alert");
  await (await gw.miniflare.getWorker()).scheduled({ cron: "* * * * *" });
  gw.upstream.answer = undefined;
  const label = (more) => `{account="${ACCOUNT}",gateway="events",${more}}`;
  let all;
  const wanted = () => ({
    opened: all.get(`tollgate_circuits_opened_total${label('provider="openai"')}`),
    open: all.get(`tollgate_circuit_open${label('provider="openai"')}`),
    flagged: all.get(`tollgate_guardrail_total${label('phase="prompt",action="FLAG",category="projects"')}`),
    // No bucket is bound here, so that no batch arrives.
    failures: all.get(`tollgate_logpush_failures_total{account="${ACCOUNT}",gateway="events"}`),
    pushed: all.get(`tollgate_logpush_logs_total${label('result="pushed"')}`),
    alerts: all.get(`tollgate_alerts_total{account="${ACCOUNT}",result="delivered"}`),
  });
  await until(async () => ((all = await samples()), wanted().alerts === 1 && wanted().opened === 1), "what was counted");
  assert.deepEqual(wanted(), { opened: 1, open: 1, flagged: 1, failures: 1, pushed: 0, alerts: 1 });
  const narrow = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "narrow", permissions: ["read_metadata"], gateways: ["events"] }) });
  const seen = [...(await samples({}, { authorization: `Bearer ${(await narrow.json()).result.value}` })).keys()];
  assert.ok(seen.some((name) => name.startsWith("tollgate_circuit_open")) && !seen.some((name) => name.startsWith("tollgate_alerts")));
});

test("logs that are lost are counted, and stay counted when the instance is gone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-metrics-"));
  const lost = async (on) => Number(/^tollgate_logs_lost_total (\d+)$/m.exec(await (await fetch(`${on.url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })).text())?.[1] ?? 0);
  const losing = await Gateway.start({ upstream: gw.upstream, faulty: true, folder });
  try {
    await losing.create("gw");
    await losing.fault(1e9);
    assert.equal((await losing.call("openai/chat/completions", { json: CHAT, headers: sk })).status, 200);
    await until(() => losing.output.some((line) => line.includes("log_lost")), "the loss", 120_000);
    await losing.fault(0);
    await (await losing.miniflare.getWorker()).scheduled({ cron: "* * * * *" });
    await until(async () => (await lost(losing)) === 1, "the count");
  } finally {
    await losing.miniflare.dispose();
  }
  const next = await Gateway.start({ upstream: gw.upstream, folder });
  try {
    assert.equal(await lost(next), 1);
  } finally {
    await next.miniflare.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("promtool has nothing to say against the page", { skip: missing }, async () => {
  for (const query of [{}, { gateway: "limited" }, { gateway: "names" }, { gateway: "events" }]) {
    const checked = spawnSync(programs.promtool, ["check", "metrics"], { input: await (await page(query)).text(), encoding: "utf8" });
    assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, "", ""]);
  }
});

test("a Prometheus scrapes it, with a token that may only read", { skip: missing }, async () => {
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "prometheus", permissions: ["read_metadata"] }) });
  const { value: token } = (await made.json()).result;
  const folder = mkdtempSync(join(tmpdir(), "tollgate-prometheus-"));
  const port = await freePort();
  writeFileSync(join(folder, "prometheus.yml"), `scrape_configs:
  - job_name: tollgate
    scrape_interval: 1s
    params: { account: [${ACCOUNT}] }
    authorization: { credentials: ${token} }
    static_configs: [{ targets: ["${new URL(gw.url).host}"] }]
`);
  const server = spawn(programs.prometheus, [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`], { stdio: "ignore" });
  const asked = async (path) => {
    try {
      return (await (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json()).data;
    } catch {
      return undefined;
    }
  };
  try {
    const query = encodeURIComponent('tollgate_requests_total{gateway="gw",status_class="2xx"}');
    await until(async () => (await asked(`query?query=${query}`))?.result?.[0]?.value[1] === "2", "the scraped counter", 60_000);
    const [target] = (await asked("targets")).activeTargets;
    assert.deepEqual([target.health, target.lastError], ["up", ""]);
    const quantile = encodeURIComponent("histogram_quantile(0.5, sum by (le) (tollgate_request_duration_seconds_bucket))");
    assert.ok(Number((await asked(`query?query=${quantile}`)).result[0].value[1]) > 0);
  } finally {
    server.kill("SIGKILL");
    await new Promise((resolve) => server.once("exit", resolve));
    rmSync(folder, { recursive: true, force: true });
  }
});
