// Every operation of /openapi.json is carried out, with success and with each failure that the document names, and every
// answer is held against it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Document } from "../document.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };
/** An id that was handed out long ago, so that Tollgate does not wait for its row. */
const OLD = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

let gw, document;
/** Which statuses of which operation were seen. */
const seen = new Map();

before(async () => {
  gw = await Gateway.start();
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  document = await Document.of(gw);
});
after(() => gw.stop());

/** Carries out an operation and checks the answer. `json` is its JSON; other bodies are given as text. */
async function run(id, { status = 200, path = {}, query, json, body = json && JSON.stringify(json), token = TOKEN, headers } = {}) {
  const operation = document.operation(id);
  const values = { account: ACCOUNT, gateway: "gw", provider: "openai", rest: "chat/completions", id: OLD, version: OLD, ...path };
  const authorization = token === null ? {} : { authorization: `Bearer ${token}` };
  const answer = await fetch(gw.url + operation.path(values, query), { method: operation.method, headers: { ...authorization, ...headers }, body });
  const text = await answer.text();
  const about = `${operation.method} ${operation.template} ${query ? JSON.stringify(query) : ""} ${status}`;
  assert.equal(answer.status, status, `${about}: ${text.slice(0, 500)}`);
  assert.equal(operation.complaint(answer.status, answer.headers.get("content-type"), text), null, `${about}: ${text.slice(0, 2_000)}`);
  seen.set(id, (seen.get(id) ?? new Set()).add(String(status)));
  const result = answer.headers.get("content-type") === "application/json" ? JSON.parse(text || "null") : text;
  return { answer, text, json: result, result: result?.result };
}

async function chat(gateway = "gw") {
  const { answer } = await run("ProxyPost", { path: { gateway }, json: CHAT, headers: { "content-type": "application/json", "cf-aig-metadata": '{"team":"AI","user":5,"test":true}' } });
  return (await gw.logOf(answer, gateway)).id;
}

test("a Worker tells of itself", async () => {
  await run("Health", { token: null });
  await run("OpenApi", { token: null });
  const unconfigured = await Gateway.start({ bindings: { ADMIN_TOKEN: undefined }, upstream: gw.upstream });
  try {
    const answer = await fetch(`${unconfigured.url}/health`);
    assert.equal(document.operation("Health").complaint(answer.status, "application/json", await answer.text()), null);
    for (const operation of document.operations.filter(({ open, proxied }) => !open && !proxied)) {
      const path = operation.path({ account: ACCOUNT, gateway: "gw", provider: "openai", id: OLD, version: OLD });
      const refused = await fetch(unconfigured.url + path, { method: operation.method });
      assert.equal(refused.status, 503);
      assert.equal(operation.complaint(503, refused.headers.get("content-type"), await refused.text()), null, operation.id);
    }
  } finally {
    await unconfigured.miniflare.dispose();
  }
});

test("gateways", async () => {
  await run("CreateGateway", { json: { id: "gw", cache_ttl: null, collect_logs: true } });
  const full = {
    id: "full", authentication: true, cache_ttl: 60, circuit_breaker: { failures: 5, window: 60, cooldown: 30 }, dlp: {}, guardrails: {}, log_management: 10_000, log_management_strategy: "DELETE_OLDEST", log_retention_days: 30, log_body_retention_days: 7, logpush: true, logpush_plain: true,
    logpush_public_key: "x".repeat(16), otel: [], rate_limiting_interval: 60, rate_limiting_limit: 50, rate_limiting_technique: "sliding", retry_backoff: "linear",
    retry_delay: 100, retry_max_attempts: 2, store_id: "s", stripe: {}, unknown_model: "allow", workers_ai_billing_mode: "unified", zdr: true,
    rate_limiting_rules: [{ key: "token", limit: 5, interval: 60 }, { key: "metadata.team", limit: 5, interval: 60, technique: "sliding" }],
    spend_limits: { enabled: true, rules: [{ limit: 1, limitType: "cost", window: 60, reserve: true, model: { mode: "filter", values: ["m"] }, metadata: { team: { mode: "partition" } } }, { limit: 1, limitType: "cost", window: 60, provider: null, model: null, metadata: null }] },
  };
  const { result } = await run("CreateGateway", { json: full });
  await run("UpdateGateway", { path: { gateway: "full" }, json: result });
  await run("GetGateway", { path: { gateway: "full" } });
  for (const gateway of ["gw", "full"]) await run("GetStorage", { path: { gateway } });
  const otel = [{ url: "https://127.0.0.1/v1/traces", headers: { "x-team": "a" }, authorization: "Bearer b", content_type: "protobuf", preset: "datadog", sample: 0.5, content: true }];
  await run("UpdateGateway", { path: { gateway: "full" }, json: { otel }, status: 400 });
  await run("UpdateGateway", { path: { gateway: "full" }, json: { otel: [{ ...otel[0], url: "https://8.8.8.8/v1/traces" }] } });
  for (const gateway of ["gw", "full"]) await run("GetTelemetry", { path: { gateway } });
  for (const query of [{}, { account: ACCOUNT, gateway: "gw" }]) await run("GetMetrics", { query });
  await run("GetMetrics", { query: { gateway: "none" }, status: 404 });
  await run("ListGateways", { query: { search: "g", per_page: 1, page: 1 } });
  await run("ListGateways", { path: { account: "nobody" } });
  for (const provider of ["openai", "universal"]) await run("GetUrl", { path: { provider } });
  await run("GetUrl", { path: { provider: "nothing" }, status: 404 });
  for (const query of [{}, { key: "mine" }]) await run("PurgeCache", { query });
  await run("PurgeCache", { query: { key: "" }, status: 400 });
  for (const gateway of ["gw", "full"]) await run("GetLimits", { path: { gateway } });
  for (const gateway of ["gw", "full"]) await run("GetLogpush", { path: { gateway } });
  await run("PutLogpush", { json: { url: "https://10.0.0.1" }, status: 400 });
  gw.upstream.names["logs.example.com"] = ["8.8.8.8"];
  for (const authorization of ["Bearer x", null]) await run("PutLogpush", { json: { url: "https://logs.example.com/in", authorization } });
  await run("DeleteLogpush");
});

test("analytics", async () => {
  await chat();
  await until(async () => (await run("GetAnalytics")).result.totals.requests > 0, "the request to be counted");
  for (const group_by of ["none", "provider", "model", "provider,model"]) {
    const { result } = await run("GetAnalytics", { query: { group_by, granularity: "minute", provider: "openai" } });
    assert.equal(result.buckets.length, 1);
    for (const bucket of result.buckets) assert.equal(document.complaint("/components/schemas/Figures", bucket), null);
  }
  await run("GetAnalytics", { query: { granularity: "day", start: "2020-01-01" }, status: 400 });
});

test("GraphQL", async () => {
  const query = `{ viewer { accounts(filter: { accountTag: "${ACCOUNT}" }) { aiGatewayRequestsAdaptiveGroups { count } } } }`;
  const { data, errors } = (await run("GraphQl", { json: { query } })).json;
  assert.deepEqual([data.viewer.accounts[0].aiGatewayRequestsAdaptiveGroups.length, errors], [1, null]);
  for (const wrong of ["{", "{ viewer { zones } }", query.replace(ACCOUNT, "a b")]) assert.equal((await run("GraphQl", { json: { query: wrong, variables: null, operationName: null } })).json.data, null);
  await run("GraphQl", { json: {}, status: 400 });
});

test("the dashboard's session", async () => {
  await run("Root", { token: null });
  for (const [id, path] of [["Dashboard", {}], ["DashboardPage", { rest: "any/page" }]]) {
    const { template } = document.operation(id);
    // A Worker that was built without the dashboard says so.
    const built = (await fetch(gw.url + template.replace("{rest}", "x"))).status;
    await run(id, { path, token: null, status: built });
  }
  const { answer } = await run("SignIn", { token: null, json: { token: TOKEN } });
  for (const [status, json] of [[400, {}], [401, { token: "wrong" }]]) await run("SignIn", { token: null, json, status });
  await run("SignIn", { token: null, json: { token: TOKEN }, headers: { "sec-fetch-site": "cross-site" }, status: 403 });
  const cookie = answer.headers.get("set-cookie").split(";")[0];
  await run("GetMe", { token: null, headers: { cookie } });
  await run("GetMe");
  await run("SignOut", { token: null, status: 204, headers: { cookie, "sec-fetch-site": "same-origin" } });
  await run("Playground", { json: CHAT, headers: { "content-type": "application/json" } });
});

test("proxied requests", async () => {
  await run("ProxyGet", { path: { rest: "models" } });
  const element = { provider: "openai", endpoint: "chat/completions", headers: { "Content-Type": "application/json" }, query: CHAT };
  await run("Universal", { json: [element] });
  await run("Socket", { status: 426 });
  for (const id of ["ProxyPut", "ProxyPatch", "ProxyDelete"]) {
    gw.upstream.next({ status: 200, body: "{}", headers: { "content-type": "application/json" } });
    await run(id, { path: { rest: "files/1" } });
  }
});

test("requests to models at the account's own address", async () => {
  const headers = { "content-type": "application/json", "cf-aig-gateway-id": "gw" };
  await run("AccountAiPost", { path: { rest: "v1/chat/completions" }, json: { ...CHAT, model: `openai/${CHAT.model}` }, headers });
  await run("AccountAiGet", { path: { rest: "v1/nothing" }, status: 404, headers });
  await run("AccountAiDelete", { path: { rest: "v1/responses/resp_1" }, status: 404, headers });
});

test("refusals of the gateway itself are as the document describes them", async () => {
  const refused = async (method, path, status, init) => {
    const answer = await fetch(gw.url + path, { method, ...init });
    const body = await answer.json();
    assert.deepEqual([answer.status, document.complaint("/components/schemas/Refusal", body)], [status, null], path);
  };
  await refused("POST", "/v1/acct/unknown/openai/x", 400);
  await refused("POST", "/v1/acct/gw/nothing/x", 400);
  await refused("POST", "/v1/acct/full/openai/x", 401);
  await refused("POST", "/v1/acct/gw", 400, { body: "[]" });
  await refused("GET", "/v1/acct/gw", 426);
  await refused("PUT", "/v1/acct/gw", 405);
  await refused("GET", "/nothing", 404);
});

let log;
test("logs", async () => {
  log = await chat();
  await chat();
  for (const query of [
    { meta_info: true }, { per_page: 1, page: 2, order_by: "model", order_by_direction: "asc" }, { cursor: log, per_page: 1 }, { search: "lunch" }, { search: "lunch", examine: 1000 }, { success: true, min_cost: 0, feedback: 0, start_date: "2020-01-01T00:00:00Z" },
    { filters: JSON.stringify([{ key: "metadata.team", operator: "eq", value: ["AI"] }, { or: [{ key: "cost", operator: "gt", value: 0 }, { key: "error", operator: "absent" }] }]) },
  ]) await run("ListLogs", { query });
  const id = { path: { id: log } };
  const { result } = await run("GetLog", id);
  assert.deepEqual(result.metadata, { team: "AI", user: 5, test: true });
  await run("GetLogRequest", id);
  await run("GetLogResponse", id);
  await run("PatchLog", { ...id, json: { feedback: 1, score: 99.5, metadata: { seen: true } } });
  for (const format of ["jsonl", "csv", "openai-finetune"]) {
    for (const query of [{ format }, { format, limit: 1, bodies: true }]) {
      const { text } = await run("ExportLogs", { query });
      if (format === "jsonl") for (const line of text.trim().split("\n")) assert.equal(document.complaint("/components/schemas/Log", withoutBodies(line)), null);
    }
  }
});

test("logs that were measured elsewhere", async () => {
  await run("IngestLogs", { json: { id: "measured-1", provider: "openai", model: "gpt-4o", tokens_in: 5, tokens_out: 5, feedback: 1, request: { a: 1 } } });
  const lines = [{ id: "measured-1", provider: "openai" }, { id: "measured-2", provider: "x" }, { id: "measured-3" }, { provider: 1 }];
  await run("IngestLogs", { body: lines.map((line) => JSON.stringify(line)).join("\n"), headers: { "content-type": "application/x-ndjson" } });
  await run("GetLog", { path: { id: "measured-1" } });
});

test("what the dashboard asks of logs", async () => {
  const id = { path: { id: log } };
  const { result } = await run("GetConversation", { ...id, query: { offset: 0, limit: 5, text_limit: 100 } });
  assert.equal(result.turns.length, 2);
  await run("GetAttempts", id);
  await run("GetFacets", { query: { fields: "model,success,metadata,metadata.team", examine: 10, search: "AI" } });
  await run("ProxyPost", { json: CHAT, headers: { "content-type": "application/json", "x-session-id": "s" } });
  await until(async () => (await run("ListSessions", { query: { limit: 1, start: "2020-01-01" } })).result.length === 1, "the session");
  await run("GetSession", { path: { id: "s" }, query: { offset: 0, limit: 5 } });
  const { result: view } = await run("CreateView", { json: { name: "Slow", query: "since=24h" } });
  await run("ListViews");
  await run("DeleteView", { path: { id: view.id } });
  for (const compare of ["none", "previous"]) await run("GetAnalytics", { query: { group_by: "metadata.team", compare } });
  await run("UpdateGateway", { json: { cache_ttl: 0 }, headers: { "if-match": '"2020"' }, status: 412 });
});

/** A line of an export has its bodies whole, or not at all. */
function withoutBodies(line) {
  return { ...JSON.parse(line), request: "", response: "" };
}

test("feedback", async () => {
  const id = { path: { id: log } };
  await run("GetFeedback", id);
  await run("GiveFeedback", { ...id, json: { data: { rating: 5, tags: ["a"], message: "good" } } });
  const lines = [{ request_id: log, data: { helpful: true } }, { request_id: OLD, data: {} }, { data: 1 }];
  await run("GiveFeedbackInBulk", { body: lines.map((line) => JSON.stringify(line)).join("\n"), query: { account: ACCOUNT, gateway: "gw" } });
  await run("GetFeedback", id);
  await run("TakeFeedbackBack", { ...id, query: { key: "rating" } });
  await run("TakeFeedbackBack", id);
});

test("feedback on an answer that is not over", async () => {
  gw.upstream.next({ events: ["data: {}\n\n", "data: [DONE]\n\n"], pause: 4_000 });
  const answer = await gw.call("openai/chat/completions", { json: { ...CHAT, stream: true } });
  const id = answer.headers.get("cf-aig-log-id");
  await Promise.all([
    run("PatchLog", { status: 202, path: { id }, json: { score: 1 } }),
    run("GiveFeedback", { status: 202, path: { id }, json: { data: { rating: 5 } } }),
    run("GiveFeedbackInBulk", { status: 202, body: JSON.stringify({ request_id: id, data: { helpful: false } }) }),
  ]);
  await answer.text();
  await run("GetFeedback", { path: { id } });
});

let dataset;
test("datasets and evaluations", async () => {
  ({ result: dataset } = await run("CreateDataset", { json: { name: "all", filters: [{ or: [{ key: "model", operator: "present" }, { key: "cost", operator: "gt", value: 0 }] }] } }));
  const within = { path: { id: dataset.id } };
  await run("GetDataset", within);
  await run("UpdateDataset", { ...within, json: { enable: true, filters: { key: "success", operator: "eq", value: true } } });
  await run("ListDatasets", { query: { search: "al", enable: true, name: "all" } });
  await run("ListEvaluationTypes", { query: { order_by: "name", order_by_direction: "desc", per_page: 3 } });
  const ids = [];
  for (const name of ["one", "two"]) {
    const { result } = await run("CreateEvaluation", {
      json: {
        name, dataset_ids: [dataset.id], evaluation_type_ids: ["cost", "p95_duration", "json_valid", "answer_matches", "llm_judge"], group_by: name === "one" ? "metadata.team" : null,
        settings: { answer_matches: { contains: "soup" }, llm_judge: { prompt: "Is {{output}} good?", provider: "openai", model: "gpt-4o", max_logs: 1 } },
      },
    });
    ids.push(result.id);
  }
  await run("ListEvaluations", { query: { search: "o", processed: false } });
  for (const id of ids) await until(async () => (await run("GetEvaluation", { path: { id } })).result.processed, "the evaluation");
  await run("CompareEvaluations", { query: { ids: ids.join(",") } });
  const { result } = await run("ListVerdicts", { path: { id: ids[0] }, query: { per_page: 100 } });
  assert.ok(result.length > 0);
  await run("ListVerdicts", { path: { id: ids[0] }, query: { evaluation_type_id: "llm_judge" } });
  for (const format of ["openai-evals", "langfuse"]) await run("ExportEvaluation", { path: { id: ids[0] }, query: { format, limit: 5 } });
  await run("ListEvaluations");
  await run("DeleteEvaluation", { path: { id: ids[1] } });
});

let provider, cost;
test("custom providers, prices and new prices for past logs", async () => {
  const full = {
    name: "Acme", slug: "acme", base_url: "https://api.example.com/v1", headers: '{"authorization":"Bearer x","x-team":"ads"}', enable: true, beta: true, position: 1, description: "d",
    link: "https://example.com", curl_example: "curl", js_example: "fetch", logo: "PHN2Zy8+",
  };
  ({ result: provider } = await run("CreateCustomProvider", { json: full }));
  await run("CreateCustomProvider", { status: 409, json: full });
  const { result: second } = await run("CreateCustomProvider", { json: { name: "b", slug: "b", base_url: "https://api.example.com" } });
  const within = { path: { id: provider.id } };
  await run("UpdateCustomProvider", { ...within, json: provider });
  await run("UpdateCustomProvider", { path: { id: second.id }, status: 409, json: { slug: "acme" } });
  await run("GetCustomProvider", within);
  await run("ListCustomProviders", { query: { search: "ac", enable: true, beta: true, order_by: "name DESC", per_page: 1 } });
  await run("DeleteCustomProvider", { path: { id: second.id } });
  await run("GetUrl", { path: { provider: "custom-acme" } });
  ({ result: cost } = await run("CreateCost", { json: { account_provider_id: provider.id, model: "m", model_rule: "contains", cost_in: 0.000001, cost_out: 0, cost_type: "tokens", enable: true, token_pricing: { input_cached_tokens: 0 } } }));
  await run("CreateCost", { json: { account_provider_id: "openai", model: "m", token_pricing: { output_tokens: 0.000001 } } });
  await run("PutCatalogue", { query: { dry_run: true }, json: { prices: [{ provider: "openai", model: "gpt-99", input: 1, output: 2 }] } });
  await run("PutCatalogue", { json: { as_of: "2027-01-31", prices: [{ provider: "openai", model: "gpt-99", input: 1, output: 2 }] } });
  await run("GetCatalogue");
  await run("ExportConfig");
  await run("ExportConfig", { query: { gateway: "gw" } });
  await run("ImportConfig", { query: { dry_run: true, prune: true }, json: { tollgate: 1, gateways: [{ id: "by-document", policies: [] }] } });
  await run("ImportConfig", { json: { tollgate: 1, gateways: [{ id: "by-document" }] } });
  await run("GetCost", { path: { id: cost.id } });
  await run("UpdateCost", { path: { id: cost.id }, json: { model: "n", cost_in: null } });
  await run("ListCosts", { query: { search: "n", enable: true, model_rule: "contains", cost_type: "tokens", account_provider_id: provider.id } });
  const { result: job } = await run("RepriceLogs", { json: { dry_run: true, filters: [{ key: "provider", operator: "eq", value: "openai" }], start_date: "2020-01-01T00:00:00Z", search: "AI" } });
  await until(async () => (await run("GetReprice", { path: { id: job.id } })).result.processed, "the new prices");
  await run("RepriceLogs", { json: {} });
});

let key;
test("stored keys", async () => {
  const wanted = { alias: "default", default_config: true, provider_slug: "openai", secret: "sk-0123456789-0123456789", rate_limit: 5, rate_limit_period: 60, weight: 2 };
  ({ result: key } = await run("CreateProviderConfig", { json: wanted }));
  const { result } = await run("CreateProviderConfig", { json: { alias: "aws", provider_slug: "aws-bedrock", secret: { accessKeyId: "AKID", secretAccessKey: "s", region: "us-east-1" } } });
  await run("ListProviderConfigs", { query: { page: 1, per_page: 5 } });
  await run("GetProviderConfig", { path: { id: key.id } });
  await run("UpdateProviderConfig", { path: { id: key.id }, json: { secret: "sk-another" } });
  await run("UpdateProviderConfig", { path: { id: key.id }, json: { weight: 3 } });
  await run("DeleteProviderConfig", { path: { id: result.id } });
});

test("policies", async () => {
  const policy = { name: "cap", actor: "team:{metadata.team}", resource: { model: ["openai/*"], provider: "openai" }, condition: "true", action: { type: "limit", amount: 5, period: "monthly", technique: "named-interval" } };
  await gw.create("governed");
  const path = { gateway: "governed" };
  const { result: made, json } = await run("CreatePolicy", { path, json: policy });
  assert.deepEqual([json.committed, made.staging], [false, true]);
  await run("CreatePolicy", { path, json: { ...policy, resource: "*", action: { type: "block", except: true } }, query: { commit: true } });
  await run("CommitPolicies", { path });
  await run("UpdatePolicy", { path: { ...path, id: made.id }, json: { name: "other" } });
  await run("GetPolicy", { path: { ...path, id: made.id }, query: { includeStaging: true } });
  await run("GetPolicy", { path: { ...path, id: made.id } });
  await run("UpdatePolicy", { path: { ...path, id: made.id }, json: { name: "other" }, query: { commit: true } });
  await run("ListPolicies", { path, query: { includeStaging: true } });
  await run("ListPolicies", { path });
  await run("SimulatePolicies", { path, json: { identity: { metadata: { team: "a" } }, model: "openai/gpt-4o", bucketUsage: { other: { spent: 5 } } } });
  await run("DeletePolicy", { path: { ...path, id: made.id } });
});

let webhook;

test("alerts", async () => {
  const { result: hook } = await run("CreateAlertWebhook", { json: { url: "https://api.example.com/hook", gateway: "gw", format: "slack", events: ["spend", "rate"], thresholds: [0.5, 1] } });
  webhook = (await run("CreateAlertWebhook", { json: { url: "https://api.example.com/hook" } })).result;
  await run("ListAlertWebhooks");
  await run("ListAlerts");
  await run("UpdateAlertWebhook", { path: { id: hook.id }, json: { events: ["model"], thresholds: null, gateway: null } });
  await run("DeleteAlertWebhook", { path: { id: hook.id } });
});

let route;
test("dynamic routes", async () => {
  const elements = [
    { id: "s", type: "start", outputs: { next: { elementId: "m" } } },
    { id: "m", type: "model", properties: { provider: "openai", model: "gpt-4o", retries: 0, timeout: 0 }, outputs: { success: { elementId: "e" } } },
    { id: "e", type: "end", outputs: {} },
  ];
  ({ result: route } = await run("CreateRoute", { json: { name: "support", elements } }));
  const path = { id: route.id };
  await run("ListRoutes", { query: { page: 1, per_page: 5 } });
  await run("GetRoute", { path });
  await run("UpdateRoute", { path, json: { name: "help" } });
  const { result: next } = await run("CreateRouteVersion", { path, json: { elements } });
  await run("ListRouteVersions", { path });
  await run("GetRouteVersion", { path: { ...path, version: next.version.version_id } });
  await run("DeployRoute", { path, json: { version_id: next.version.version_id } });
  await run("ListRouteDeployments", { path });
  await run("SimulateRoute", { path, json: { metadata: { plan: "free" }, seed: 1, failing: ["m"] } });
  const gone = (await run("CreateRoute", { json: { name: "gone", elements } })).result;
  await run("DeleteRoute", { path: { id: gone.id } });
});

test("tokens and the audit trail", async () => {
  const { result: token } = await run("CreateToken", { json: { name: "all", permissions: ["read"], gateways: ["gw"], expires_at: "2999-01-01T00:00:00Z" } });
  const { result: rolled } = await run("RollToken", { path: { id: token.id } });
  await run("GetGateway", { token: rolled.value });
  await run("GetToken", { path: { id: token.id } });
  const rules = { rate_limiting_rules: [{ limit: 5, interval: 60 }], spend_limits: { rules: [{ limit: 1, limitType: "cost", window: 60 }] } };
  await run("UpdateToken", { path: { id: token.id }, json: { owner: "ann", models: ["openai/*"], providers: ["openai"], metadata: { team: "a", level: 2 }, ...rules } });
  await run("ListTokens");
  await run("RevokeToken", { path: { id: token.id } });
  await run("ListAudit", { query: { gateway: "gw", action: "gateway.create", actor: "admin", target: "gw" } });
  await run("ListAudit");
});

test("what a self-hosted gateway does not sell", async () => {
  for (const id of ["GetCreditBalance", "ListInvoices", "PreviewInvoice", "GetUsageHistory", "GetSpendingLimit", "GetTopupConfig", "GetTopupLimits"]) await run(id);
  for (const id of ["RefuseBillingTopup", "RefuseBillingTopupConfigRemoval"]) await run(id, { status: 403 });
});

test("every operation refuses as the document says", async () => {
  const token = async (permission) => (await run("CreateToken", { json: { name: permission, permissions: [permission] } })).result.value;
  let guesses = 0;
  const [reader, runner, editor] = [await token("read"), await token("run"), await token("edit")];
  for (const { id, template, method, parameters, body, responses, proxied, open } of document.operations) {
    if (proxied || open) continue;
    const content = body && "{}";
    await run(id, { status: 401, token: null, body: content });
    // From one address a few guesses would be enough.
    await run(id, { status: 401, token: "wrong", body: content, headers: { "cf-connecting-ip": `10.0.0.${(guesses += 1)}` } });
    if (responses[403]) {
      // Only the admin may do what an editor may not; the rest needs one permission or the other.
      const admins = /\/(tokens|audit|webhooks)/.test(template) || (/\/(custom-providers|logpush)/.test(template) && method !== "GET");
      const other = template.startsWith("/feedback") || (method !== "GET" && !id.startsWith("Simulate") && id !== "GraphQl") ? reader : runner;
      await run(id, { status: 403, token: admins ? editor : other, body: content });
    }
    if (responses[404]) {
      const json = id === "GiveFeedback" ? { data: {} } : undefined;
      await run(id, { status: 404, json, path: template.startsWith("/feedback") ? {} : { account: "a.b" }, query: id === "GetMetrics" ? { gateway: "unknown" } : undefined });
      if (/\{(gateway|id)\}/.test(template) && !template.startsWith("/feedback")) {
        await run(id, { status: 404, path: { gateway: "unknown" }, json: body && { name: "x" } });
      }
    }
    if (responses[400]) {
      const kinds = { datasets: dataset.id, costs: cost.id, "custom-providers": provider.id, provider_configs: key.id, routes: route.id, webhooks: webhook.id };
      const kind = Object.keys(kinds).find((name) => template.includes(`/${name}/`));
      const path = { id: kinds[kind] ?? log };
      const wrong = ["page", "limit", "granularity", "fields", "includeStaging"].find((name) => parameters.some((parameter) => parameter.name === name));
      if (body) for (const text of body.type === "application/json" ? ["{", "[]", "", "\0"] : ["", "\n"]) await run(id, { status: 400, path, body: text });
      else await run(id, { status: 400, path, query: wrong ? { [wrong]: wrong === "includeStaging" ? "maybe" : 0 } : { ids: "" } });
    }
    if (responses[413]) await run(id, { status: 413, path: { id: log }, body: "x".repeat((id === "IngestLogs" ? 4 << 20 : 1 << 20) + 1) });
    const wrong = await fetch(gw.url + document.operation(id).path({ account: ACCOUNT, gateway: "gw", provider: "openai", id: log, version: OLD }), { method: template.startsWith("/feedback") ? "PUT" : "OPTIONS", headers: { authorization: `Bearer ${TOKEN}` } });
    assert.deepEqual([wrong.status, document.complaint("/components/responses/Error/content/application~1json/schema", await wrong.json())], [405, null]);
  }
});

test("what is deleted is shown once more", async () => {
  const { result } = await run("ListEvaluations");
  for (const { id } of result) await run("DeleteEvaluation", { path: { id } });
  await run("DeleteDataset", { path: { id: dataset.id } });
  await run("DeleteCost", { path: { id: cost.id } });
  await run("DeleteCustomProvider", { path: { id: provider.id } });
  await run("DeleteLogs", { query: { limit: 1, order_by: "cost", order_by_direction: "desc", filters: "[]" } });
  await run("DeleteLogs");
  await run("DeleteGateway");
});

test("no operation and no status of the document was left out", () => {
  for (const { id, responses } of document.operations) {
    const wanted = Object.keys(responses).filter((status) => /^\d+$/.test(status));
    assert.deepEqual(wanted.filter((status) => !seen.get(id)?.has(status)), [], id);
    assert.ok(seen.has(id), id);
  }
});
