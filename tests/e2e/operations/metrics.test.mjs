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
  gw = await Gateway.start({ databases: 2 });
  await gw.create("gw");
  await gw.create("other", { log_database: 1 });
});
after(() => gw.stop());

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

test("promtool has nothing to say against the page", { skip: missing }, async () => {
  for (const query of [{}, { gateway: "limited" }, { gateway: "names" }]) {
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
