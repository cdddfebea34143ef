// Requests that are made from /openapi.json, right ones and wrong ones: whatever comes, the answer is one that the document
// has, and none says that the Worker failed. The seed is fixed; FUZZ_SEED tries another.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { Document } from "../document.mjs";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

const SEED = Number(process.env.FUZZ_SEED ?? 20_261_121);
const RUNS = Number(process.env.FUZZ_RUNS ?? 25);
const AT_ONCE = 8;
/** What takes away what the others work on comes last. */
const DESTRUCTIVE = [
  "DeleteAlertWebhook", "DeleteCost", "DeleteCustomProvider", "DeleteDataset", "DeleteEvaluation", "DeleteLogs", "DeletePolicy", "DeleteProviderConfig", "DeleteRoute", "DeleteView", "RevokeToken", "ImportConfig", "DeleteGateway",
];

const ELEMENTS = [
  { id: "s", type: "start", outputs: { next: { elementId: "m" } } },
  { id: "m", type: "model", properties: { provider: "openai", model: "gpt-4o", retries: 0, timeout: 0 }, outputs: { success: { elementId: "e" } } },
  { id: "e", type: "end", outputs: {} },
];

let gw, document, ids;
before(async () => {
  gw = await Gateway.start();
  document = await Document.of(gw);
  await gw.create("gw");
  await gw.create("gone");
  const logs = [];
  for (let n = 0; n < 3; n += 1) {
    const json = { model: "gpt-4o", messages: [{ role: "user", content: `question ${n}` }] };
    logs.push((await gw.logOf(await gw.call("openai/chat/completions", { json, headers: { "cf-aig-metadata": '{"team":"AI","n":1}', "cf-aig-session-id": "session-1" } }))).id);
  }
  const made = async (path, body) => (await (await gw.api(path, { method: "POST", body: JSON.stringify(body) })).json()).result.id;
  const dataset = await made("/gateways/gw/datasets", { name: "all", filters: [] });
  const evaluation = await made("/gateways/gw/evaluations", { name: "all", dataset_ids: [dataset], evaluation_type_ids: ["cost", "json_valid"] });
  const token = await made("/tokens", { name: "all", permissions: ["read"] });
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  const provider = await made("/custom-providers", { name: "x", slug: "x", base_url: "https://api.example.com" });
  const cost = await made("/custom-providers/costs", { account_provider_id: provider, model: "m", cost_in: 0 });
  const reprice = await made("/gateways/gw/logs/reprice", { dry_run: true });
  const secret = { alias: "default", provider_slug: "mistral", secret: "sk-0123456789" };
  const key = await made("/gateways/gw/provider_configs", secret);
  const view = await made("/gateways/gw/views", { name: "all", query: "" });
  const policy = await made("/gateways/gw/policies?commit=true", { name: "all", actor: "all", resource: "*", action: { type: "no-limit" } });
  const webhook = await made("/alerts/webhooks", { url: "https://api.example.com/hook" });
  const route = (await (await gw.api("/gateways/gw/routes", { method: "POST", body: JSON.stringify({ name: "all", elements: ELEMENTS }) })).json()).result;
  ids = { webhooks: webhook, policies: policy, routes: route.id, version: route.version.version_id, views: view, sessions: "session-1", provider_configs: key, costs: cost, providers: provider, reprice, logs: logs[0], feedback: logs[1], datasets: dataset, evaluations: evaluation, tokens: token };
});
after(() => gw.stop());

const hostileText = fc.oneof(
  fc.constantFrom(
    "", " ", "\0", "a\0b", "\u{1F95A}", "\uD800", "\uFFFF", "İıſ", "é".repeat(3_000), "x".repeat(70_000), "%", "%_", "*", "' OR 1=1 --", '"', "\\", "]]>", "__proto__", "constructor", "null", "true", "NaN",
    "Infinity", "-0", "1e999", "0x10", "+1", "1_000", "9223372036854775808", "18446744073709551616", "-9223372036854775809", "9".repeat(400), "99999-01-01", "0000-00-00T00:00:00Z", "9999-12-31T23:59:60Z", "99999999999999999999",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "{", "[]", "[[", "a,b", ",".repeat(50), "(a+)+$", "\\p{L}", "(?P<n>", "a{1,99999}", "metadata.", "feedback.\0", "cf.x",
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
);

const hostileValue = fc.oneof(
  { weight: 3, arbitrary: hostileText },
  fc.constantFrom(null, true, false, 0, -0, -1, 0.1, 1e-320, 1e308, -1e308, 2 ** 31, 2 ** 53, 2 ** 53 + 2, 2 ** 63, 2 ** 64, [], {}, [null], [[]], { a: { b: [] } }, Array(2_000).fill(0), Object.fromEntries(Array.from({ length: 300 }, (_, n) => [n, n]))),
  fc.jsonValue({ maxDepth: 4, stringUnit: "binary" }),
);

/** Numbers that JavaScript cannot write, depths and repetitions, and what is no JSON at all. */
const hostileBody = fc.constantFrom(
  "", "null", "0", '""', "[]", "{", "{}", "{}{}", "\uFEFF{}", "\0", "{\"name\":\"\\ud800\"}", '{"name":1e999}', '{"name":-99999999999999999999999999}', '{"id":"a","id":"b"}',
  "[".repeat(5_000), `${'{"or":['.repeat(120)}${"]}".repeat(120)}`, `{"filters":${"[".repeat(100)}${"]".repeat(100)},"name":"deep"}`, `{"data":${'{"a":'.repeat(110)}1${"}".repeat(110)}}`, `{"data":${'{"a":'.repeat(150)}1${"}".repeat(150)}}`,
  `{"data":{"x":"${"\\u0000".repeat(40_000)}"}}`, `{"metadata":{"x":${"9".repeat(300)}}}`, Buffer.from([0xff, 0xfe, 0x00, 0x7b]),
);

const filter = fc.record({
  key: fc.oneof(fc.constantFrom("id", "created_at", "success", "cached", "provider", "cost", "tokens", "feedback", "score", "wholesale", "dlp_action", "guardrails_action", "guardrails_category", "prompts.prompt_id", "metadata.key", "metadata.value", "metadata.team", "metadata.n", "feedback.rating", 'metadata.a"b', "feedback.a.b"), hostileText),
  operator: fc.constantFrom("eq", "neq", "contains", "lt", "gt", "present", "absent"),
  value: fc.oneof(fc.array(hostileValue, { maxLength: 4 }), hostileValue, fc.constant(Array(999).fill("x"))),
});
const filters = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom([], [{ key: "metadata.team", operator: "eq", value: ["AI"] }], [{ or: [{ key: "cost", operator: "gt", value: -1 }, { key: "error", operator: "absent" }] }, { key: "created_at", operator: "gt", value: 0 }]) },
  { weight: 2, arbitrary: fc.array(filter, { maxLength: 3 }) },
  filter.map((one) => Array(40).fill(one)),
  fc.array(filter, { minLength: 1, maxLength: 40 }).map((all) => [{ or: all }]),
  hostileValue,
);

/** Values that a schema has. */
function valid(given) {
  const { $ref, ...beside } = given;
  const schema = $ref ? { ...document.resolved(given), ...beside, properties: { ...document.resolved(given).properties, ...beside.properties } } : given;
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(valid));
  const types = [schema.type ?? (schema.properties ? "object" : "any")].flat();
  return fc.oneof(...types.map((type) => ofType(type, schema)));
}

function ofType(type, schema) {
  const { minimum, maximum, minLength = 0, maxLength, minItems, maxItems = 3, pattern } = schema;
  switch (type) {
    case "null": return fc.constant(null);
    case "boolean": return fc.boolean();
    case "integer": return fc.oneof(fc.integer({ min: minimum ?? 0, max: Math.min(maximum ?? 3, 2 ** 31 - 1) }), fc.constantFrom(minimum ?? 0, maximum ?? 2 ** 53));
    case "number": return fc.double({ min: minimum ?? -1e6, max: maximum ?? 1e6, noNaN: true });
    case "array": return fc.array(valid(schema.items ?? {}), { minLength: minItems, maxLength: Math.max(minItems ?? 0, Math.min(maxItems, 3)) });
    case "object": {
      const properties = Object.entries(schema.properties ?? {}).map(([name, value]) => [name, known(name) ?? valid(value)]);
      if (properties.length === 0) return fc.dictionary(fc.string({ minLength: 1, maxLength: 10 }), typeof schema.additionalProperties === "object" ? valid(schema.additionalProperties) : fc.jsonValue(), { maxKeys: 4 });
      return fc.record(Object.fromEntries(properties), { requiredKeys: schema.required ?? [] });
    }
    case "string":
      if (pattern) return fc.stringMatching(new RegExp(pattern)).filter((text) => text.length <= (maxLength ?? 64));
      if (schema.format === "date-time") return fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("2999-01-01") }).map((date) => date.toISOString());
      return fc.string({ unit: "binary", minLength, maxLength: Math.min(maxLength ?? 20, 20) });
    default: return fc.jsonValue({ maxDepth: 2 });
  }
}

/** What only a client that knows the gateway can name. */
function known(name) {
  const types = fc.constantFrom("cost", "speed", "p99_first_byte", "feedback:rating", "json_valid", "score", "tokens_in");
  return {
    actor: fc.constantFrom("all", "user:{cf.user.id}"),
    condition: fc.constantFrom("true", 'cf.country == "DE"', '"a" in cf.user.groups'),
    resource: fc.constantFrom("*", { model: "openai/gpt-*" }, { provider: ["openai"] }),
    owner: fc.constantFrom(null, "ann"),
    models: fc.constantFrom(null, ["openai/*"]),
    providers: fc.constantFrom(null, ["openai"]),
    dataset_ids: fc.constant([ids.datasets]),
    evaluation_type_ids: fc.uniqueArray(types, { minLength: 1, maxLength: 4 }),
    settings: fc.constantFrom(undefined, undefined, {}, null, { json_valid: {} }),
    // An evaluation wants datasets that are enabled.
    enable: fc.constant(true),
    gateways: fc.constantFrom(undefined, null, ["gw"], ["nothing"]),
    filters,
    base_url: fc.constantFrom("https://api.example.com", "https://api.example.com:8443/v1/"),
    headers: fc.constantFrom(null, "", '{"x-team":"ads","authorization":"Bearer x"}'),
    link: fc.constantFrom(null, "", "https://example.com"),
    account_provider_id: fc.constantFrom("openai", ids.providers, "custom-x"),
    provider_slug: fc.constantFrom("openai", "mistral"),
    secret: fc.constant("sk-0123456789"),
    secret_id: fc.constantFrom(undefined, null, "any"),
    dlp: fc.constantFrom(null, {}, { enabled: true, action: "FLAG", profiles: ["financial"] }, { policies: [{ action: "REDACT", check: ["REQUEST"], profiles: ["email"] }] }),
    guardrails: fc.constantFrom(null, {}, { prompt: {}, response: {} }),
    elements: fc.constant(ELEMENTS),
    version_id: fc.constantFrom(ids.version, undefined),
    url: fc.constant("https://api.example.com/hook"),
    gateway: fc.constantFrom(undefined, null, "gw"),
    prices: fc.constantFrom([], [{ provider: "openai", model: "made-up", input: 1, output: 2 }]),
    as_of: fc.constantFrom(null, "2026-11-27"),
    model_aliases: fc.constantFrom(null, {}, { fast: "openai/gpt-5-mini", "claude-*": "openai/gpt-5" }),
  }[name];
}

function spoilt(arbitrary) {
  return fc.oneof(
    { weight: 4, arbitrary },
    { weight: 2, arbitrary: fc.tuple(arbitrary, fc.nat(), hostileValue).map(([value, n, hostile]) => {
      const names = Object.keys(value ?? {});
      return names.length ? { ...value, [names[n % names.length]]: hostile } : hostile;
    }) },
    { weight: 1, arbitrary: fc.tuple(arbitrary, fc.nat()).map(([value, n]) => Object.fromEntries(Object.entries(value ?? {}).filter((_, index, all) => index !== n % all.length))) },
  );
}

const text = (value) => encodeURIComponent((typeof value === "string" ? value : JSON.stringify(value) ?? "").toWellFormed());

function queryOf({ name, schema, style }) {
  const pair = (name, value) => `${text(name)}=${text(value)}`;
  const values = name === "filters" ? filters : name === "ids" ? fc.constantFrom(ids.evaluations, `${ids.evaluations},${ids.evaluations}`) : valid(schema);
  if (style === "form") return fc.oneof(values, spoilt(values)).map((value) => Object.entries(value ?? {}).map(([name, value]) => pair(name, value)).join("&"));
  return fc.oneof(
    { weight: 4, arbitrary: values.map((value) => pair(name, value)) },
    { weight: 2, arbitrary: hostileText.map((value) => pair(name, value)) },
    fc.tuple(values, hostileText).map(([value, hostile]) => `${pair(name, hostile)}&${pair(name, value)}`),
    fc.constantFrom(name, `${name}=`, `${name}=%`, `${name}=%ff%fe`, `${name}=%00`, `${name}[]=1`, `=${name}`),
    name === "filters" ? fc.array(fc.tuple(fc.constantFrom("filters.key", "filters.operator", "filters.value", "filters[0][key]", "filters[0][operator]", "filters[0][value][]", "filters[99999999999999999999].key"), fc.oneof(fc.constantFrom("cost", "eq", "model", "1"), hostileText)).map(([name, value]) => pair(name, value)), { maxLength: 12 }).map((pairs) => pairs.join("&")) : fc.constant(""),
  );
}

function segment(operation, { name, schema }) {
  // Dots alone would be another path, and so would be nothing. A long text is refused by the runtime before us.
  const hostile = hostileText.filter((value) => !/^\.*$/.test(value) && value.length < 4_000).map(text);
  const right = { account: ACCOUNT, gateway: operation.id === "DeleteGateway" ? "gone" : "gw", provider: "openai", rest: "acct/gw/logs", version: ids.version, id: ids[operation.template.match(/(\w+)\/\{id\}/)?.[1]] }[name];
  // Feedback waits two seconds for an id of a stranger.
  return fc.oneof({ weight: 24, arbitrary: fc.constant(right) }, { weight: operation.template.startsWith("/feedback") ? 0 : 1, arbitrary: hostile }, fc.constant("01ARZ3NDEKTSV4RRFFQ69G5FAV"), schema.pattern ? valid(schema) : fc.constant(right));
}

function requests(operation) {
  const segments = Object.fromEntries(operation.parameters.filter(({ in: place }) => place === "path").map((parameter) => [parameter.name, segment(operation, parameter)]));
  const queries = operation.parameters.filter(({ in: place }) => place === "query").map((parameter) => fc.option(queryOf(parameter), { nil: "", freq: parameter.required ? 9 : 1 }));
  const line = fc.record({ request_id: fc.constantFrom(ids.feedback, ids.logs, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), data: fc.oneof(hostileValue, fc.dictionary(hostileText, hostileValue, { maxKeys: 5 })) });
  const body = !operation.body ? fc.constant(undefined)
    : operation.body.type === "application/json" ? fc.oneof({ weight: 7, arbitrary: spoilt(valid(operation.body.schema)).map((value) => JSON.stringify(value)) }, { weight: 2, arbitrary: hostileBody })
    : fc.oneof({ weight: 3, arbitrary: fc.array(line, { maxLength: 5 }).map((lines) => lines.map((line) => JSON.stringify(line)).join("\n")) }, hostileBody);
  return fc.record({ path: fc.record(segments), query: fc.tuple(...queries).map((parts) => parts.filter(Boolean).join("&")), body });
}

async function send(operation, { path, query, body }) {
  // Servers refuse long lines before a Worker sees them.
  const address = operation.path(path, query.slice(0, 12_000).replace(/%[^&]{0,2}$/, ""));
  const answer = await fetch(gw.url + address, { method: operation.method, body, headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" } });
  const content = await answer.text();
  const complaint = answer.status >= 500 ? "the Worker failed" : operation.complaint(answer.status, answer.headers.get("content-type"), content);
  return { status: answer.status, failure: complaint && { complaint, request: `${operation.id}: ${operation.method} ${address.slice(0, 1_500)}`, body: String(body).slice(0, 1_500), status: answer.status, answer: content.slice(0, 1_500) } };
}

test("no request makes the control plane fail, or answer what its document does not have", async () => {
  const operations = document.operations.filter(({ proxied }) => !proxied);
  const [last, first] = [true, false].map((wanted) => operations.filter(({ id }) => DESTRUCTIVE.includes(id) === wanted));
  const failures = [];
  const statuses = {};
  for (const group of [first, last]) {
    const samples = group.map((operation, index) => fc.sample(requests(operation), { seed: SEED + index, numRuns: RUNS }).map((request) => [operation, request]));
    // Every operation in turn, so that changes and questions mix.
    const queue = Array.from({ length: RUNS }, (_, n) => samples.map((requests) => requests[n])).flat();
    const worker = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const { status, failure } = await send(...next);
        (statuses[next[0].id] ??= []).push(status);
        if (failure) failures.push(failure);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }
  if (process.env.FUZZ_SHOW) for (const [id, list] of Object.entries(statuses)) console.log(id, list.join(" "));
  assert.deepEqual(failures.slice(0, 10), [], `${failures.length} requests, FUZZ_SEED=${SEED}`);
  // A fuzz that is only ever refused finds nothing.
  // Billing is refused always, and no generated token signs in.
  const carried = Object.entries(statuses).filter(([id]) => !id.startsWith("RefuseBilling") && id !== "SignIn");
  for (const [id, list] of carried) assert.ok(list.some((status) => status < 300), `${id} was never carried out: ${list}`);
});

test("the Worker goes on as before", async () => {
  await gw.create("afterwards");
  const answer = await gw.call("openai/chat/completions", { gateway: "afterwards", json: { model: "gpt-4o", messages: [] } });
  assert.equal((await gw.logOf(answer, "afterwards")).status_code, 200);
});
