// `npm run demo`: Tollgate with a stand-in for the providers and two weeks of plausible requests, so that a new user sees the
// dashboard in a minute and without a key. It has a folder of its own, and touches nothing of yours.
//
//   --port N        8790
//   --requests N    how many chats there are: 2400
//   --new           makes the requests anew
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, ensurePackages, nodeProgram, wranglerEnv } from "./setup.mjs";
import { signInLink } from "../server/sign-in.mjs";
import { Failure, main, root, say } from "./toolchain.mjs";
import { spawnSync } from "node:child_process";

const FOLDER = join(root, "target/demo");
const STATE = join(FOLDER, "state");
const KNOWN = join(FOLDER, "known.json");
const ACCOUNT = "acme";
const GATEWAY = "production";
/** A second at the providers of the demonstration is that much shorter: two weeks of answers would take too long. */
const FASTER = 60;
const KEYS = JSON.stringify(Object.fromEntries(["openai", "anthropic", "google-ai-studio", "groq", "mistral"].map((provider) => [provider, "demo"])));

/**
 * Wraps the Worker so that its clock stands where a request of the past needs it, and runs faster. Ids, rows and sums are then made
 * by the Worker itself, as they would have been at that time.
 */
const PAST = `
import Worker from "./index.js";
export * from "./index.js";
const real = Date.now.bind(Date);
let clock = { at: real(), set: real(), faster: 1 };
Date.now = () => Math.floor(clock.at + (real() - clock.set) * clock.faster);
export default class extends Worker {
  async fetch(request) {
    if (new URL(request.url).pathname !== "/__clock") return super.fetch(request);
    const { at, faster } = await request.json();
    clock = { at, set: real(), faster };
    return new Response("ok");
  }
}`;

/** The harness of the tests starts the Worker here as well; it wants the Node of the npm packages. */
async function tools() {
  const [{ Gateway }, { Upstream }] = await Promise.all([import("../tests/e2e/harness.mjs"), import("../tests/upstream.mjs")]);
  return { Gateway, Upstream };
}

async function pooled(tasks, width, run) {
  const left = [...tasks];
  await Promise.all(Array.from({ length: width }, async () => {
    for (let task = left.shift(); task !== undefined; task = left.shift()) await run(task);
  }));
}

const DLP = { enabled: true, policies: [{ id: "cards", action: "REDACT", check: ["REQUEST"], profiles: ["financial"] }, { id: "keys", action: "FLAG", check: ["REQUEST", "RESPONSE"], profiles: ["secrets"] }], restore: true };

/** The route, the policies and the webhook of the demonstration. */
async function configure(post, webhook) {
  const model = (id, properties, fallback) => ({ id, type: "model", properties, outputs: { success: { elementId: "end" }, ...(fallback && { fallback: { elementId: fallback } }) } });
  await post(`/gateways/${GATEWAY}/routes`, {
    name: "support",
    elements: [
      { id: "start", type: "start", outputs: { next: { elementId: "plan" } } },
      { id: "plan", type: "conditional", properties: { condition: { "metadata.plan": "pro" } }, outputs: { true: { elementId: "large" }, false: { elementId: "trial" } } },
      { id: "trial", type: "percentage", properties: { sticky: "metadata.user" }, outputs: { "20%": { elementId: "haiku" }, else: { elementId: "small" } } },
      model("large", { provider: "openai", model: "gpt-4o", timeout: 20_000 }, "small"),
      model("haiku", { provider: "anthropic", model: "claude-haiku-4-5" }, "small"),
      model("small", { provider: "openai", model: "gpt-4o-mini" }),
      { id: "end", type: "end", outputs: {} },
    ],
  });
  const policies = [
    { name: "each team", actor: "team:{metadata.team}", resource: "*", condition: "true", action: { type: "limit", amount: 100, period: "monthly", technique: "named-interval" } },
    { name: "opus is for the platform team", actor: "all", resource: { model: "anthropic/claude-opus-*" }, condition: 'metadata.team != "platform"', action: { type: "block" } },
    { name: "without a team", actor: "all", resource: "*", condition: "!has(metadata.team)", action: { type: "limit", amount: 5, period: "daily", technique: "named-interval" } },
  ];
  for (const policy of policies) await post(`/gateways/${GATEWAY}/policies?commit=true`, policy);
  await post("/alerts/webhooks", { url: webhook, gateway: GATEWAY, thresholds: [0.5, 0.8, 1] });
}

/** Sends the requests of two weeks, and what people thought of the answers. */
async function fill({ Gateway, Upstream }, token, count) {
  const { answerOf } = await import("./demo/provider.mjs");
  const upstream = await Upstream.start();
  const plans = new Map();
  upstream.answer = ({ provider, headers, body }) => {
    if (provider === "alerts") return { status: 200, headers: {}, body: "" };
    const plan = plans.get(headers["x-demo-plan"]);
    // A route chooses the provider and the model by itself.
    const asked = plan?.route && { provider, model: /"model"\s*:\s*"([^"]+)"/.exec(String(body))?.[1] };
    return plan && { ...answerOf({ ...plan, ...asked }), delay: plan.wait / FASTER };
  };
  // The webhook of the demonstration is the stand-in as well, so that nothing leaves the machine.
  const gateway = await Gateway.start({ folder: STATE, around: PAST, upstream, bindings: { ADMIN_TOKEN: token, PROVIDER_KEYS: KEYS, ALLOW_INTERNAL_UPSTREAMS: "true" } });
  try {
    return await sent({ gateway, upstream, plans }, token, count);
  } finally {
    for (const line of gateway.output.slice(0, 5)) say(`the Worker said: ${line}`);
    gateway.output.length = 0;
    await gateway.stop();
  }
}

async function sent({ gateway, upstream, plans }, token, count) {
  const { batches } = await import("./demo/traffic.mjs");
  const { requestOf } = await import("./demo/provider.mjs");
  const worker = await gateway.miniflare.getWorker();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const api = async (path, init = {}) => {
    const answer = await fetch(`${gateway.url}/accounts/${ACCOUNT}/ai-gateway${path}`, { ...init, headers });
    if (!answer.ok) throw new Failure(`the demonstration could not be made: ${path} answered ${answer.status} ${await answer.text()}`);
    return (await answer.json()).result;
  };
  const post = (path, json, method = "POST") => api(path, { method, body: JSON.stringify(json) });
  const now = Date.now();
  const clock = (at, faster) => fetch(`${gateway.url}/__clock`, { method: "POST", body: JSON.stringify({ at, faster }) });
  await clock(now - 15 * 86_400_000, 1);
  await post("/gateways", { id: GATEWAY, collect_logs: true, cache_ttl: 600, retry_max_attempts: 1, circuit_breaker: { failures: 8, window: 300, cooldown: 60 }, dlp: DLP, rate_limiting_rules: [{ id: "per-user", key: "metadata.user", limit: 120, interval: 86_400 }], spend_limits: { enabled: true, rules: [{ id: "team-budget", limit: 2, limitType: "cost", window: 604_800, metadata: { team: { mode: "partition" } } }] } });
  await post("/gateways", { id: "staging", collect_logs: true });
  await configure(post, `${upstream.origin}/alerts`);
  const all = [...batches(now, count)].sort((a, b) => a.at - b.at).filter(({ at }) => at < now - 60_000);
  const sums = { requests: 0, told: 0 };
  for (const { at, requests } of all) {
    await clock(Math.round(at), FASTER);
    await pooled(requests, 8, async (plan) => {
      const name = `p${sums.requests++}`;
      plans.set(name, plan);
      const { path, json } = requestOf(plan);
      const answer = await fetch(`${gateway.url}/v1/${ACCOUNT}/${GATEWAY}/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: "Bearer sk-demo", "x-api-key": "demo", "x-goog-api-key": "demo", "x-demo-plan": name, "cf-aig-metadata": JSON.stringify(plan.metadata), ...(!plan.cached && { "cf-aig-skip-cache": "true" }), ...(plan.session && { "cf-aig-session-id": plan.session, "user-agent": "acme-agent/2.1" }) },
        body: JSON.stringify(json),
      });
      await answer.text();
      plans.delete(name);
      const id = answer.headers.get("cf-aig-log-id");
      if (plan.feedback !== null && id) await fetch(`${gateway.url}/feedback/${id}?account=${ACCOUNT}`, { method: "POST", headers, body: JSON.stringify({ data: { feedback: plan.feedback, ...(plan.comment && { comment: plan.comment }) } }) }).then((told) => told.text());
    });
    await worker.scheduled({ cron: "* * * * *" });
    const share = Math.floor((sums.requests / (count * 1.25)) * 10);
    if (share > sums.told) {
      sums.told = share;
      say(`${sums.requests} requests are made`);
    }
  }
  await clock(Date.now(), 1);
  const small = await post(`/gateways/${GATEWAY}/datasets`, { name: "Support, small model", enable: true, filters: [{ key: "model", operator: "eq", value: ["gpt-4o-mini"] }, { key: "metadata.feature", operator: "eq", value: ["support"] }] });
  const large = await post(`/gateways/${GATEWAY}/datasets`, { name: "Support, large model", enable: true, filters: [{ key: "model", operator: "eq", value: ["gpt-4o"] }, { key: "metadata.feature", operator: "eq", value: ["support"] }] });
  const measures = ["cost", "p50_duration", "p95_duration", "human_feedback", "success_rate", "json_valid"];
  for (const [name, { id }] of [["gpt-4o-mini for support", small], ["gpt-4o for support", large]]) {
    const { id: evaluation } = await post(`/gateways/${GATEWAY}/evaluations`, { name, dataset_ids: [id], evaluation_type_ids: measures, group_by: "metadata.plan" });
    for (let look = 0; look < 100 && !(await api(`/gateways/${GATEWAY}/evaluations/${evaluation}`)).processed; look += 1) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await post("/tokens", { name: "web application", permissions: ["run"], gateways: [GATEWAY] });
  await post("/tokens", { name: "analysts", permissions: ["read"] });
  return sums.requests;
}

const migrations = () => fs.readdirSync(join(root, "migrations")).filter((name) => name.endsWith(".sql"));

/** The folder with the requests, made when it is not there, or belongs to another schema or another day. */
async function filled(used, { requests, isNew }) {
  const known = fs.existsSync(KNOWN) ? JSON.parse(fs.readFileSync(KNOWN, "utf8")) : null;
  const isGood = known && known.requests === requests && known.migrations.join() === migrations().join() && Date.now() - known.madeAt < 86_400_000;
  if (isGood && !isNew) return known;
  fs.rmSync(FOLDER, { recursive: true, force: true });
  fs.mkdirSync(FOLDER, { recursive: true });
  say(`making ${requests} requests of the last two weeks (a minute or two)`);
  const token = randomBytes(32).toString("hex");
  const made = await fill(used, token, requests);
  const next = { requests, made, token, migrations: migrations(), madeAt: Date.now() };
  fs.writeFileSync(KNOWN, JSON.stringify(next), { mode: 0o600 });
  return next;
}

/** Starts the demonstration. `used` by the screenshots as well. */
export async function startDemo({ port = 0, requests = 2400, isNew = false } = {}) {
  const used = await tools();
  const { token } = await filled(used, { requests, isNew });
  const { answerOf } = await import("./demo/provider.mjs");
  const upstream = await used.Upstream.start();
  // For requests from the playground, and for the README's curl.
  upstream.answer = ({ provider, body }) => {
    const asked = body.toString("utf8");
    const streams = /"stream"\s*:\s*true/.test(asked);
    return { ...answerOf({ provider, model: /"model"\s*:\s*"([^"]+)"/.exec(asked)?.[1] ?? "demo", streams, error: null, answer: "This is the demonstration: no model was asked. Everything around the answer is real: the request passed through Tollgate, was counted, priced and logged.", tokens: { input: 40, output: 32, cached: 0 } }), delay: 300 };
  };
  const gateway = await used.Gateway.start({ folder: STATE, upstream, bindings: { ADMIN_TOKEN: token, PROVIDER_KEYS: KEYS }, runtime: port ? { port } : {} });
  return { gateway, token, account: ACCOUNT, name: GATEWAY };
}

await main(import.meta.url, async (args) => {
  const { values } = parseArgs({ args, options: { port: { type: "string" }, requests: { type: "string" }, new: { type: "boolean" } } });
  if (process.env.TOLLGATE_DEMO !== "inside") {
    ensurePackages();
    build();
    // Miniflare wants a newer Node than this may be.
    const { status } = spawnSync(nodeProgram, [join(root, "scripts/demo.mjs"), ...args], { cwd: root, stdio: "inherit", env: { ...wranglerEnv(), TOLLGATE_DEMO: "inside" } });
    process.exit(status ?? 0);
  }
  const number = (text, fallback) => {
    const value = Number(text ?? fallback);
    if (!Number.isInteger(value) || value < 1) throw new Failure(`"${text}" is not a number that can be used here.`);
    return value;
  };
  const { gateway, token } = await startDemo({ port: number(values.port, 8790), requests: number(values.requests, 2400), isNew: values.new === true });
  say(`the demonstration is on ${gateway.url}/dashboard/ until Ctrl-C. This link signs you in, once and within ten minutes:`);
  console.error(`\n  ${signInLink(gateway.url, token)}\n`);
  await new Promise((resolve) => ["SIGINT", "SIGTERM", "SIGHUP"].forEach((signal) => process.once(signal, resolve)));
  await gateway.miniflare.dispose();
  process.exit(0);
});
