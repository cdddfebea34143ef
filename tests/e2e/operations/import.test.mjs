// `tollgate import`: an account of Cloudflare's, killed in the middle and resumed, and other systems' export files, whole and broken.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import Cloudflare from "cloudflare";
import { CF_ACCOUNT, CF_TOKEN, CloudflareApi } from "../cloudflare.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const CLI = fileURLToPath(new URL("../../../server/cli.mjs", import.meta.url));
const FIRST = Date.now() - 20 * 24 * 3_600_000;
const LOGS = 10_000;

let gw;
let cf;
let folder;
before(async () => {
  gw = await Gateway.start();
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  await gw.create("files");
  folder = fs.mkdtempSync(join(tmpdir(), "tollgate-import-"));
  cf = await CloudflareApi.start(account());
});
after(async () => {
  await cf.stop();
  await gw.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

const settings = { cache_ttl: 60, collect_logs: true, cache_invalidate_on_update: false, rate_limiting_interval: 0, rate_limiting_limit: 0, rate_limiting_technique: "fixed", authentication: true, created_at: "2025-01-01T00:00:00Z", modified_at: "2025-01-01T00:00:00Z", account_tag: CF_ACCOUNT, wholesale: false, otel: [{ url: "https://otel.invalid", authorization: "secret-of-otel" }], guardrails: { prompt: { P1: "NO_SUCH_ACTION" } } };

/** A log as Cloudflare lists it. Of many there are more at one moment than a page has. */
function logOf(n) {
  const at = FIRST + (n < 300 ? 0 : n * 1_000);
  return {
    id: n % 2 ? `01J${String(n).padStart(23, "0")}` : `0195a1b2-0000-7000-8000-${String(n).padStart(12, "0")}`,
    created_at: new Date(at).toISOString(), provider: "openai", model: "gpt-4o-mini", model_type: n % 3 ? "chat" : null, path: "chat/completions", duration: 100 + n, request_type: "native",
    request_content_type: "application/json", response_content_type: "application/json", status_code: n % 50 ? 200 : 429, success: n % 50 !== 0, cached: n % 7 === 0 && n % 50 !== 0, tokens_in: n % 50 ? n : null, tokens_out: n % 50 ? 10 : null,
    cost: n % 50 ? n / 1_000_000 : null, custom_cost: false, metadata: n % 4 ? { n, team: "search" } : JSON.stringify({ n, team: "search" }), step: 0, event_id: `event-${n}`,
    feedback: n % 10 ? null : 1, score: n % 20 ? null : 80, request: "", response: "", timings: { total: 100 + n, latency: 50 }, location: { region: "WEUR", colo: "AMS" }, prompts: null, wholesale: false, byok: false, user_agent: "openai/js",
  };
}

function account() {
  const logs = Array.from({ length: LOGS }, (_, n) => logOf(n));
  const elements = [{ id: "s", type: "start", outputs: { next: { elementId: "m" } } }, { id: "m", type: "model", properties: { provider: "openai", model: "gpt-4o" }, outputs: { success: { elementId: "e" }, fallback: { elementId: "e" } } }, { id: "e", type: "end", outputs: {} }];
  const dataset = { id: "d-1", gateway_id: "prod", name: "liked", enable: true, filters: [{ key: "feedback", operator: "eq", value: [1] }], created_at: "2025-01-01T00:00:00Z", modified_at: "2025-01-01T00:00:00Z" };
  return {
    gateways: {
      prod: {
        settings: { id: "prod", ...settings },
        logs,
        bodies: {},
        routes: [{ id: "r-1", name: "support", gateway_id: "prod", elements }],
        datasets: [dataset],
        evaluations: [{ id: "e-1", name: "monthly", gateway_id: "prod", processed: true, total_logs: 5, datasets: [dataset], results: [{ id: "x", evaluation_type_id: "t-1", result: "1", status: 2 }] }],
        provider_configs: [{ id: "k-1", provider_slug: "openai", alias: "default", default_config: true, secret_preview: "…abc" }],
      },
      small: {
        settings: { id: "small", ...settings, otel: null, guardrails: null },
        logs: [logOf(9_001), { ...logOf(9_002), id: "wrong id?" }],
        bodies: { [logOf(9_001).id]: { request: '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"What is AES?"}]}', response: '{"choices":[{"message":{"content":"A cipher."}}]}' } },
      },
    },
    customProviders: [{ id: "c-1", name: "Own", slug: "own", base_url: "https://api.example.com/v1", enable: true, headers: '{"authorization":"***"}' }],
    costs: [
      { id: "p-1", account_provider_id: "c-1", model: "m", model_rule: "starts-with", cost_in: 0.000001, cost_out: 0.000002, cost_type: "tokens", token_pricing: null, enable: true, changed_by: "manual", weight: 0 },
      { id: "p-2", account_provider_id: "c-1", model: "n", cost_type: "tokens", token_pricing: '{"input_tokens":0.000003,"output_tokens":0.000004,"total_tokens":null}', enable: true, changed_by: "manual", weight: 0 },
      { id: "p-3", account_provider_id: "c-gone", model: "n", cost_in: 0.000001, cost_type: "tokens", enable: true, changed_by: "manual", weight: 0 },
    ],
    evaluationTypes: [{ id: "t-1", name: "Cost", type: "cost", enable: true }, { id: "t-2", name: "Speed", type: "speed", enable: true }],
  };
}

/** Runs the command; `kill` is told when the process may be killed. */
async function tollgate(args, { env = {}, kill, started } = {}) {
  const child = spawn(process.execPath, [CLI, "import", ...args], { cwd: folder, env: { ...process.env, TOLLGATE_TOKEN: TOKEN, CLOUDFLARE_API_TOKEN: CF_TOKEN, CLOUDFLARE_API_BASE_URL: cf.url, ...env } });
  started?.(child);
  const output = { out: "", err: "" };
  child.stdout.on("data", (text) => (output.out += text));
  child.stderr.on("data", (text) => (output.err += text));
  const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(signal ?? code)));
  if (kill) {
    await kill();
    child.kill("SIGKILL");
  }
  return { code: await ended, ...output };
}

const cloudflare = (...more) => ["cloudflare", "--account", CF_ACCOUNT, "--to", gw.url, "--to-account", ACCOUNT, ...more];
const countOf = async (gateway) => (await gw.rows("SELECT count(*) AS n FROM logs WHERE gateway = (SELECT key FROM gateways WHERE id = ?1)", gateway))[0].n;

test("a dry run reads, says what would be done, and does nothing", async () => {
  const { code, out, err } = await tollgate(cloudflare("--dry-run"));
  assert.equal(code, 0, err);
  assert.match(out, /gateway prod: would be made/);
  assert.match(out, new RegExp(`gateway prod: ${LOGS} logs would be read`));
  assert.match(out, /route support: would be made/);
  assert.match(out, /price custom-own m starts-with: would be made/);
  assert.equal((await gw.api("/gateways/prod")).status, 404);
  assert.ok(!fs.existsSync(join(folder, `tollgate-import-${ACCOUNT}.json`)));
});

test("ten thousand logs, killed in the middle and resumed, are the same on both sides", { timeout: 240_000 }, async () => {
  // Cloudflare says now and then that it is asked too often, fails, or drops the connection.
  cf.faults = [{ every: 37, status: 429 }, { every: 53, status: 500 }, { every: 71, drop: true }];
  const killed = await tollgate(cloudflare("--gateway", "prod"), { kill: () => until(async () => (await countOf("prod")) >= 2_000, "some logs", 60_000) });
  assert.equal(killed.code, "SIGKILL");
  const middle = await countOf("prod");
  assert.ok(middle >= 2_000 && middle < LOGS, String(middle));
  const resumed = await tollgate(cloudflare("--gateway", "prod"));
  assert.equal(resumed.code, 0, resumed.err);
  cf.faults = [];
  assert.equal(await countOf("prod"), LOGS);
  assert.match(resumed.out, /provider key openai\/default: store it again/);
  assert.match(resumed.out, /evaluation monthly: made/);
  // The one that resumes has not made them, and says all the same what is to be set.
  assert.match(resumed.out, /custom provider own: is there\ncustom provider own: set its headers again.*: authorization/);
  assert.match(resumed.out, /gateway prod: set otel again/);
  assert.match(resumed.err, /gateway prod: \d+ of \d+ logs read/);
  assert.deepEqual(cf.writes, []);
  const [theirs, ours] = await Promise.all([listed(new Cloudflare({ apiToken: CF_TOKEN, baseURL: cf.url }), CF_ACCOUNT), listed(new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4` }), ACCOUNT)]);
  assert.equal(ours.length, LOGS);
  assert.deepEqual(ours, theirs);
  // Again, nothing is new.
  fs.rmSync(join(folder, `tollgate-import-${ACCOUNT}.json`));
  const again = await tollgate(cloudflare("--gateway", "prod"));
  assert.equal(again.code, 0, again.err);
  assert.match(again.out, new RegExp(`gateway prod: 0 logs taken, ${LOGS} were there, 0 not taken`));
  assert.equal((await gw.rows("SELECT logs FROM log_storage WHERE gateway = (SELECT key FROM gateways WHERE id = 'prod')"))[0].logs, LOGS);
});

/** What both sides say of each log, the oldest first. */
async function listed(sdk, account_id) {
  const found = [];
  for await (const log of sdk.aiGateway.logs.list("prod", { account_id, per_page: 50, order_by: "created_at", order_by_direction: "asc" })) {
    const { id, created_at, provider, model, success, cached, duration, status_code, tokens_in, tokens_out, cost, custom_cost, feedback, score, event_id, metadata } = log;
    found.push({ id, created_at, provider, model, success, cached, duration, status_code, tokens_in, tokens_out, cost, custom_cost, feedback, score, event_id, metadata: typeof metadata === "string" ? JSON.parse(metadata) : metadata });
  }
  return found.sort((a, b) => (a.id < b.id ? -1 : 1));
}

test("an import that is killed behind each of its writes leaves the same as one that is not", { timeout: 120_000 }, async () => {
  const of = (path) => cf.gateways.prod[path];
  const named = (name) => ({ ...of("datasets")[0], id: `d-${name}`, name });
  cf.gateways.steps = {
    settings: { id: "steps", ...settings, otel: null, guardrails: null }, logs: Array.from({ length: 620 }, (_, n) => ({ ...logOf(n), id: `steps-${n}` })), bodies: {},
    routes: of("routes"), datasets: [named("one"), named("two")], provider_configs: [],
    evaluations: [{ ...of("evaluations")[0], datasets: [named("one")] }, { ...of("evaluations")[0], id: "e-2", name: "weekly", datasets: [named("two")] }],
  };
  cf.customProviders.push({ ...cf.customProviders[0], id: "c-2", name: "Second", slug: "second" });
  // A door before Tollgate: it carries a write out, and the import never learns of it.
  const written = new Set();
  let child;
  const door = createServer(async (request, response) => {
    const chunks = await Array.fromAsync(request);
    const body = Buffer.concat(chunks);
    const answer = await fetch(gw.url + request.url, { method: request.method, headers: { authorization: request.headers.authorization, ...(body.length > 0 && { "content-type": request.headers["content-type"] }) }, ...(body.length > 0 && { body }) });
    const text = await answer.text();
    const key = `${request.method} ${request.url} ${body}`;
    if (request.method !== "GET" && !written.has(key)) {
      written.add(key);
      return child.kill("SIGKILL");
    }
    response.writeHead(answer.status, { "content-type": "application/json" }).end(text);
  });
  await new Promise((resolve) => door.listen(0, "127.0.0.1", resolve));
  let last;
  for (let runs = 0; runs < 20 && last?.code !== 0; runs += 1) {
    const args = ["cloudflare", "--account", CF_ACCOUNT, "--to", `http://127.0.0.1:${door.address().port}`, "--to-account", ACCOUNT, "--gateway", "steps", "--state", "steps.json", "--refused", "steps.ndjson"];
    last = await tollgate(args, { started: (process) => (child = process) });
  }
  door.closeAllConnections();
  await new Promise((resolve) => door.close(resolve));
  assert.equal(last.code, 0, last.err);
  const kinds = new Set([...written].map((key) => key.split(" ")[1].split("/").slice(4).join("/")));
  assert.deepEqual([...kinds].sort(), ["custom-providers", "custom-providers/costs", "gateways", "gateways/steps/datasets", "gateways/steps/evaluations", "gateways/steps/logs", "gateways/steps/routes"]);
  assert.ok(written.size >= 10, [...written].map((key) => key.slice(0, 80)).join("\n"));
  assert.equal(await countOf("steps"), 620);
  assert.equal((await gw.rows("SELECT logs FROM log_storage WHERE gateway = (SELECT key FROM gateways WHERE id = 'steps')"))[0].logs, 620);
  const names = async (path) => (await gw.result(`/gateways/steps/${path}`)).map(({ name }) => name).sort();
  assert.deepEqual([await names("datasets"), await names("evaluations")], [["one", "two"], ["monthly", "weekly"]]);
  assert.equal((await (await gw.api("/gateways/steps/routes")).json()).data.routes.length, 1);
  assert.equal((await gw.result("/custom-providers?search=second")).length, 1);
});

test("what does not come over is said: settings, keys, secrets", async () => {
  const made = await gw.result("/gateways/prod");
  assert.deepEqual([made.cache_ttl, made.authentication, made.guardrails], [60, true, null]);
  const refused = fs.readFileSync(join(folder, "tollgate-import-refused.ndjson"), "utf8");
  assert.match(refused, /"setting":"guardrails"/);
  assert.ok(!JSON.stringify(made).includes("secret-of-otel"));
  const [route] = (await (await gw.api("/gateways/prod/routes")).json()).data.routes;
  assert.equal(route.name, "support");
  const [dataset] = await gw.result("/gateways/prod/datasets");
  assert.equal(dataset.name, "liked");
  assert.match(refused, /"price":"c-gone n equals"/);
  const prices = await gw.result("/custom-providers/costs?order_by=model");
  assert.deepEqual(prices.map(({ provider, model, model_rule, cost_in, token_pricing }) => [provider, model, model_rule, cost_in, token_pricing && JSON.parse(token_pricing).output_tokens]).sort((a, b) => (a[1] < b[1] ? -1 : 1)), [["custom-own", "m", "starts-with", 0.000001, undefined], ["custom-own", "n", "equals", undefined, 0.000004]]);
});

test("bodies come with --bodies, and a log that cannot be taken is listed", async () => {
  const { code, err, out } = await tollgate(cloudflare("--gateway", "small", "--bodies", "--state", "small.json", "--refused", "small.ndjson"));
  assert.equal(code, 0, err);
  assert.match(out, /gateway small: 1 logs taken, 0 were there, 1 not taken/);
  const { id } = logOf(9_001);
  assert.equal(await (await gw.api(`/gateways/small/logs/${id}/request`)).text(), cf.gateways.small.bodies[id].request);
  assert.match(fs.readFileSync(join(folder, "small.ndjson"), "utf8"), /"log":"wrong id\?","reason":"id: /);
});

test("wrong tokens, accounts and options say what to do", async () => {
  for (const [args, env, wanted] of [
    [cloudflare(), { CLOUDFLARE_API_TOKEN: "wrong" }, /AI Gateway Read/],
    [cloudflare(), { TOLLGATE_TOKEN: "wrong" }, /may edit/],
    [cloudflare(), { CLOUDFLARE_API_TOKEN: "" }, /CLOUDFLARE_API_TOKEN/],
    [cloudflare("--gateway", "nowhere"), {}, /no gateway nowhere. It has prod, small/],
    [cloudflare("--since", "soon"), {}, /--since/],
    [["cloudflare"], {}, /--account/],
    [["langfuse"], {}, /takes one file/],
    [["datadog", "x"], {}, /import takes cloudflare, langfuse, helicone, litellm, bedrock, feedback/],
    [["bedrock", "x", "--job", "j"], {}, /--model is missing/],
    [["langfuse", ".", "--to", gw.url, "--account", ACCOUNT, "--gateway", "files"], {}, /. cannot be read: EISDIR/],
    [["langfuse", "none.jsonl", "--to", gw.url, "--account", ACCOUNT, "--gateway", "files"], {}, /none.jsonl cannot be read/],
  ]) {
    const { code, err } = await tollgate(args, { env: { ...env } });
    assert.equal(code, 1, args.join(" "));
    assert.match(err, wanted);
    assert.ok(!err.includes(TOKEN) && !err.includes(CF_TOKEN));
  }
});

const file = (name, content) => {
  fs.writeFileSync(join(folder, name), content);
  return name;
};
const fromFile = (source, name, ...more) => tollgate([source, name, "--to", gw.url, "--account", ACCOUNT, "--gateway", "files", "--refused", `${name}.refused`, ...more]);
const refusedOf = (name) => fs.readFileSync(join(folder, `${name}.refused`), "utf8").trim().split("\n").map((line) => JSON.parse(line));
const ndjson = (rows) => rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n");

test("Langfuse: generations become logs, what is none is listed", async () => {
  const generation = { id: "obs-1", traceId: "t-1", type: "GENERATION", name: "answer", startTime: "2026-11-01T10:00:00.000Z", endTime: "2026-11-01T10:00:01.500Z", completionStartTime: "2026-11-01T10:00:00.400Z", model: "gpt-4o", input: { messages: [{ role: "user", content: "What is AES?" }] }, output: { role: "assistant", content: "A cipher." }, usageDetails: { input: 1_000, output: 100, total: 1_100 }, costDetails: { total: 0.01 }, sessionId: "s-1", userId: "u-1", metadata: { feature: "summary" } };
  const name = file("langfuse.jsonl", ndjson([
    generation,
    { ...generation, id: "obs-2", type: "SPAN" },
    { id: "t-2", timestamp: "2026-11-01T11:00:00Z", sessionId: "s-2", tags: ["beta"], scores: [{ name: "helpful", value: 1 }], observations: [{ ...generation, id: "obs-3", sessionId: undefined, model: "claude-sonnet-4-5", level: "ERROR", statusMessage: "overloaded" }, { id: "x", type: "EVENT" }] },
    { id: "t-3", name: "only a trace" },
    { ...generation, id: "obs-4", model: "own-model" },
    '{"id":"cut',
  ]));
  const { code, out, err } = await fromFile("langfuse", name);
  assert.equal(code, 0, err);
  assert.match(out, /6 rows read: 2 logs taken, 0 were there, 4 not taken/);
  const log = await gw.result("/gateways/files/logs/obs-1");
  assert.deepEqual([log.provider, log.model, log.tokens_in, log.tokens_out, log.cost, log.duration, log.timings.latency, log.session_id, log.metadata.feature, log.metadata.user, log.ingested], ["openai", "gpt-4o", 1_000, 100, 0.01, 1_500, 400, "s-1", "summary", "u-1", true]);
  const failed = await gw.result("/gateways/files/logs/obs-3");
  assert.deepEqual([failed.provider, failed.success, failed.error, failed.session_id, failed.feedback_data.helpful], ["anthropic", false, "overloaded", "s-2", 1]);
  const reasons = refusedOf(name).map(({ row, reason }) => `${row} ${reason}`);
  for (const [at, wanted] of [/^2 .*SPAN/, /^4 .*without its observations/, /^5 .*--provider/, /^6 .*no JSON/].entries()) assert.match(reasons[at], wanted);
  const again = await fromFile("langfuse", name, "--provider", "own");
  assert.match(again.out, /1 logs taken, 2 were there, 3 not taken/);
});

test("Helicone: a CSV with quotes, line ends and bodies", async () => {
  const quoted = (value) => `"${(typeof value === "string" ? value : JSON.stringify(value)).replaceAll('"', '""')}"`;
  const header = "request_id,request_created_at,response_created_at,provider,request_model,response_status,prompt_tokens,completion_tokens,cost_usd,request_user_id,properties,feedback_rating,request_body,response_body";
  const rows = [
    ["hel-1", "2026-11-01 10:00:00.5", "2026-11-01 10:00:02", "ANTHROPIC", "claude-sonnet-4-5", "200", "10", "5", "0.002", "u-1", { team: "a,b", "Helicone-Session-Id": "s-9" }, "true", { model: "claude-sonnet-4-5", messages: [{ role: "user", content: 'Say "hi",\nplease' }] }, { content: [{ type: "text", text: "hi" }] }],
    ["hel-2", "2026-11-01 10:00:00", "", "OPENAI", "gpt-4o", "-3", "", "", "", "", "", "", "", ""],
    ["hel-3", "yesterday", "", "OPENAI", "gpt-4o", "200", "", "", "", "", "", "", "", ""],
    ["hel-4", "2026-11-01 10:00:00", "", "OPENAI", "gpt-4o", "200"],
  ];
  const name = file("helicone.csv", `\ufeff${header}\r\n${rows.map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n"hel-5","cut in the mid`);
  const { code, out, err } = await fromFile("helicone", name);
  assert.equal(code, 0, err);
  assert.match(out, /5 rows read: 2 logs taken, 0 were there, 3 not taken/);
  const log = await gw.result("/gateways/files/logs/hel-1");
  assert.deepEqual([log.provider, log.tokens_in, log.cost, log.duration, log.session_id, log.metadata, log.feedback], ["anthropic", 10, 0.002, 1_500, "s-9", { team: "a,b", user: "u-1" }, 1]);
  assert.equal((await (await gw.api("/gateways/files/logs/hel-1/request")).json()).messages[0].content, 'Say "hi",\nplease');
  assert.equal((await gw.result("/gateways/files/logs/hel-2")).success, false);
  assert.deepEqual(refusedOf(name).map(({ row }) => row), [3, 4, 5]);
});

test("LiteLLM: spend logs, without hashes of keys", async () => {
  const row = { request_id: "chatcmpl-1", call_type: "acompletion", api_key: "hash-of-a-key", spend: 0.0125, total_tokens: 30, prompt_tokens: 20, completion_tokens: 10, startTime: "2026-11-01T10:00:00.000000", endTime: "2026-11-01T10:00:02.250000", model: "anthropic/claude-sonnet-4-5", custom_llm_provider: "anthropic", user: "u", end_user: "customer-1", team_id: "team-1", cache_hit: "False", request_tags: '["a","b"]', metadata: '{"status":"success","user_api_key_alias":"app"}', session_id: "s-l", requester_ip_address: "10.1.2.3" };
  const name = file("litellm.json", JSON.stringify([row, { ...row, request_id: "a/b c", spend: 0, status: "failure", metadata: { error_information: { error_code: "429", error_message: "too many" } } }, { ...row, request_id: "" }]));
  const { code, out, err } = await fromFile("litellm", name);
  assert.equal(code, 0, err);
  assert.match(out, /3 rows read: 2 logs taken, 0 were there, 1 not taken/);
  const log = await gw.result("/gateways/files/logs/chatcmpl-1");
  assert.deepEqual([log.provider, log.model, log.model_type, log.cost, log.duration, log.metadata], ["anthropic", "claude-sonnet-4-5", "chat", 0.0125, 2_250, { end_user: "customer-1", key_alias: "app", tags: "a,b", team: "team-1", user: "u" }]);
  const { result: all } = await (await gw.api("/gateways/files/logs?per_page=50&search=customer-1")).json();
  const failed = all.find((one) => !one.success);
  assert.deepEqual([failed.id.slice(0, 7), failed.status_code, failed.error], ["sha256:", 429, "too many"]);
  assert.ok(!JSON.stringify(all).includes("hash-of-a-key") && !JSON.stringify(all).includes("10.1.2.3"));
});

test("Bedrock: the results of a batch, at the price of batches, once", async () => {
  const model = "anthropic.claude-3-haiku-20240307-v1:0";
  const rule = { account_provider_id: "aws-bedrock", model, token_pricing: { input_tokens: 1e-6, output_tokens: 2e-6, service_tiers: { batch: 0.5 } } };
  const made = await gw.api("/custom-providers/costs", { method: "POST", body: JSON.stringify(rule) });
  assert.equal(made.status, 200, await made.text());
  const name = file("results.jsonl.out", ndjson([
    { recordId: "CALL0000001", modelInput: { messages: [{ role: "user", content: "What is AES?" }] }, modelOutput: { content: [{ type: "text", text: "A cipher." }], usage: { input_tokens: 1_000, output_tokens: 100 } } },
    { recordId: "CALL0000002", modelInput: { messages: [] }, error: { errorCode: 400, errorMessage: "no messages" } },
    { recordId: "CALL0000003" },
    '{"recordId":"CALL00',
  ]));
  const options = ["--job", "a1b2c3", "--model", model];
  const { code, out, err } = await fromFile("bedrock", name, ...options);
  assert.equal(code, 0, err);
  assert.match(out, /4 rows read: 2 logs taken, 0 were there, 2 not taken/);
  const log = await gw.result("/gateways/files/logs/a1b2c3:CALL0000001");
  assert.deepEqual([log.provider, log.model, log.tokens_in, log.tokens_out, log.event_id, log.metadata, log.success], ["aws-bedrock", model, 1_000, 100, "CALL0000001", { job: "a1b2c3" }, true]);
  assert.ok(Math.abs(log.cost - 0.0006) < 1e-9, String(log.cost));
  const failed = await gw.result("/gateways/files/logs/a1b2c3:CALL0000002");
  assert.deepEqual([failed.success, failed.status_code, failed.error], [false, 400, "no messages"]);
  assert.match((await fromFile("bedrock", name, ...options)).out, /0 logs taken, 2 were there, 2 not taken/);
});

test("rows of 20 MB, foreign encodings and cut files", async () => {
  const row = { id: "long", type: "GENERATION", startTime: "2026-11-01T10:00:00Z", model: "gpt-4o" };
  const long = file("long.jsonl", ndjson([{ ...row, id: "before" }, { ...row, input: "x".repeat(20_000_000) }, { ...row, id: "5mb", input: "y".repeat(5_000_000) }, { ...row, id: "behind" }]));
  const { out } = await fromFile("langfuse", long);
  assert.match(out, /4 rows read: 3 logs taken, 0 were there, 1 not taken, 1 without bodies/);
  assert.match(refusedOf(long)[0].reason, /longer than/);
  assert.equal((await gw.result("/gateways/files/logs/5mb")).metadata.body_left_out, true);
  const utf16 = file("utf16.jsonl", Buffer.from(`\ufeff${JSON.stringify({ ...row, id: "utf16", input: "ü€😀" })}`, "utf16le"));
  assert.match((await fromFile("langfuse", utf16)).out, /1 logs taken/);
  assert.equal(await (await gw.api("/gateways/files/logs/utf16/request")).text(), "ü€😀");
  const latin = await fromFile("langfuse", file("latin1.jsonl", Buffer.from('{"id":"caf\xe9"}', "latin1")));
  assert.equal(latin.code, 1);
  assert.match(latin.err, /is not in UTF-8.*iconv/);
  const cut = file("cut.json", `[${JSON.stringify({ ...row, id: "whole" })},{"id":"cut","type":"GENER`);
  assert.match((await fromFile("langfuse", cut)).out, /2 rows read: 1 logs taken, 0 were there, 1 not taken/);
});

test("feedback comes from a CSV file", async () => {
  const name = file("feedback.csv", 'id,rating,comment\nobs-1,5,"very, ""very"" good"\nchatcmpl-1,1,\n01ARZ3NDEKTSV4RRFFQ69G5FAV,5,\n,5,x\nobs-1,,\n');
  const { code, out, err } = await fromFile("feedback", name);
  assert.equal(code, 0, err);
  assert.match(out, /2 rows given as feedback, 3 not taken/);
  const log = await gw.result("/gateways/files/logs/obs-1");
  assert.deepEqual([log.feedback, log.feedback_data], [1, { rating: 5, comment: 'very, "very" good' }]);
  assert.equal((await gw.result("/gateways/files/logs/chatcmpl-1")).feedback, -1);
  assert.deepEqual(refusedOf(name).map(({ row }) => row), [4, 5, 3]);
  // A spreadsheet's, with semicolons and commas in its texts.
  const semicolons = file("semicolons.csv", Buffer.from('\ufeffid;rating;comment\r\nobs-1;2;"kurz; knapp, gut"\r\n', "utf16le"));
  assert.match((await fromFile("feedback", semicolons)).out, /1 rows given as feedback, 0 not taken/);
  assert.equal((await gw.result("/gateways/files/logs/obs-1")).feedback_data.comment, "kurz; knapp, gut");
});
