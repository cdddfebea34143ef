// Every method that Cloudflare's SDK has for AI Gateway, found in the SDK itself: it works or is refused on purpose.
// A method that a new version brings fails this test until it is decided what becomes of it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Cloudflare from "cloudflare";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

const account_id = ACCOUNT;
const gateway_id = "gw";
/** What a gateway that older SDKs make has to say. */
const REQUIRED = { cache_invalidate_on_update: false, cache_ttl: 0, collect_logs: true, rate_limiting_interval: 0, rate_limiting_limit: 0, rate_limiting_technique: "fixed" };

let gw, api;
const made = {};
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  api = new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 }).aiGateway;
  const answer = await gw.call("openai/chat/completions", { json: { model: "gpt-4o", messages: [] } });
  await answer.arrayBuffer();
  made.log = (await gw.logOf(answer)).id;
});
after(() => gw.stop());

/** The names of all methods of a resource, and of those below it. */
function methods(resource, path = "") {
  const own = new Set();
  for (let proto = Object.getPrototypeOf(resource); proto !== Object.prototype; proto = Object.getPrototypeOf(proto)) {
    for (const name of Object.getOwnPropertyNames(proto)) if (name !== "constructor" && !name.startsWith("_")) own.add(path + name);
  }
  const below = Object.entries(resource).filter(([name]) => !name.startsWith("_"));
  return [...own, ...below.flatMap(([name, value]) => methods(value, `${path}${name}.`))];
}

const elements = (model) => [
  { id: "s", type: "start", outputs: { next: { elementId: "m" } } },
  { id: "m", type: "model", properties: { provider: "openai", model, retries: 0, timeout: 0 }, outputs: { success: { elementId: "e" }, fallback: { elementId: "e" } } },
  { id: "e", type: "end", outputs: {} },
];

const first = async (list) => (await list).result[0];

/** What works, in an order in which each finds what the others have made. A call gives what has to be there. */
const WORKS = {
  create: () => api.create({ account_id, id: "own", ...REQUIRED }),
  update: () => api.update("own", { account_id, ...REQUIRED, cache_ttl: 60 }),
  get: () => api.get("own", { account_id }),
  list: () => first(api.list({ account_id })),
  delete: () => api.delete("own", { account_id }),
  "evaluationTypes.list": () => first(api.evaluationTypes.list({ account_id })),
  "customProviders.create": async () => (made.provider = await api.customProviders.create({ account_id, name: "Own", slug: "own", base_url: "https://api.example.com" })),
  "customProviders.list": () => first(api.customProviders.list({ account_id })),
  "customProviders.get": () => api.customProviders.get(made.provider.id, { account_id }),
  "customProviders.delete": () => api.customProviders.delete(made.provider.id, { account_id }),
  "logs.list": () => first(api.logs.list("gw", { account_id })),
  "logs.get": () => api.logs.get(made.log, { account_id, gateway_id }),
  "logs.request": () => api.logs.request(made.log, { account_id, gateway_id }),
  "logs.response": () => api.logs.response(made.log, { account_id, gateway_id }),
  "logs.edit": async () => (await api.logs.edit(made.log, { account_id, gateway_id, feedback: 1 })) ?? {},
  "datasets.create": async () => (made.dataset = await api.datasets.create("gw", { account_id, name: "all", enable: true, filters: [] })),
  "datasets.update": () => api.datasets.update(made.dataset.id, { account_id, gateway_id, name: "all!", enable: true, filters: [] }),
  "datasets.list": () => first(api.datasets.list("gw", { account_id })),
  "datasets.get": () => api.datasets.get(made.dataset.id, { account_id, gateway_id }),
  "evaluations.create": async () => (made.evaluation = await api.evaluations.create("gw", { account_id, name: "e", dataset_ids: [made.dataset.id], evaluation_type_ids: ["cost"] })),
  "evaluations.list": () => first(api.evaluations.list("gw", { account_id })),
  "evaluations.get": () => api.evaluations.get(made.evaluation.id, { account_id, gateway_id }),
  "evaluations.delete": () => api.evaluations.delete(made.evaluation.id, { account_id, gateway_id }),
  "datasets.delete": () => api.datasets.delete(made.dataset.id, { account_id, gateway_id }),
  "providerConfigs.create": () => api.providerConfigs.create("gw", { account_id, alias: "main", default_config: true, provider_slug: "openai", secret: "sk-0123456789", secret_id: "" }),
  "providerConfigs.list": () => first(api.providerConfigs.list("gw", { account_id })),
  "dynamicRouting.create": async () => (made.route = await api.dynamicRouting.create("gw", { account_id, name: "r", elements: elements("gpt-4o") })),
  "dynamicRouting.update": async () => assert.equal((await api.dynamicRouting.update(made.route.id, { account_id, gateway_id, name: "r2" })).route.name, "r2") ?? {},
  "dynamicRouting.list": async () => (await api.dynamicRouting.list("gw", { account_id })).data.routes[0],
  "dynamicRouting.get": () => api.dynamicRouting.get(made.route.id, { account_id, gateway_id }),
  "dynamicRouting.createVersion": () => api.dynamicRouting.createVersion(made.route.id, { account_id, gateway_id, elements: elements("gpt-4o-mini") }),
  "dynamicRouting.listVersions": async () => (made.version = (await api.dynamicRouting.listVersions(made.route.id, { account_id, gateway_id })).data.versions.find(({ active }) => active === "false")),
  "dynamicRouting.getVersion": () => api.dynamicRouting.getVersion(made.version.version_id, { account_id, gateway_id, id: made.route.id }),
  "dynamicRouting.createDeployment": () => api.dynamicRouting.createDeployment(made.route.id, { account_id, gateway_id, version_id: made.version.version_id }),
  "dynamicRouting.listDeployments": async () => (await api.dynamicRouting.listDeployments(made.route.id, { account_id, gateway_id })).data.deployments[0],
  "dynamicRouting.delete": () => api.dynamicRouting.delete(made.route.id, { account_id, gateway_id }),
  "urls.get": () => api.urls.get("openai", { account_id, gateway_id }),
  "logs.delete": () => api.logs.delete("gw", { account_id }),
  "billing.creditBalance": () => api.billing.creditBalance({ account_id }),
  "billing.invoiceHistory": () => api.billing.invoiceHistory({ account_id, type: "all" }),
  "billing.invoicePreview": () => api.billing.invoicePreview({ account_id }),
  "billing.usageHistory": () => api.billing.usageHistory({ account_id, value_grouping_window: "day", start_time: 1, end_time: 2 }),
  "billing.topup.config.get": () => api.billing.topup.config.get({ account_id }),
  "billing.spendingLimit.get": () => api.billing.spendingLimit.get({ account_id }),
};

/** What is 403 by design, with the reason: a self-hosted gateway sells no credit, and limits money by spend_limits. */
const REFUSED = {
  "billing.topup.create": () => api.billing.topup.create({ account_id, amount: 1_000 }),
  "billing.topup.status": () => api.billing.topup.status({ account_id, payment_intent_id: "x" }),
  "billing.topup.config.create": () => api.billing.topup.config.create({ account_id, amount: 1_000, threshold: 500 }),
  "billing.topup.config.delete": () => api.billing.topup.config.delete({ account_id }),
  "billing.spendingLimit.create": () => api.billing.spendingLimit.create({ account_id, amount: 100, duration: "daily", strategy: "fixed" }),
  "billing.spendingLimit.delete": () => api.billing.spendingLimit.delete({ account_id }),
};

test("every method of the SDK is on one of the lists, once", () => {
  const listed = [WORKS, REFUSED].flatMap(Object.keys);
  assert.deepEqual(listed.sort(), methods(api).sort());
  assert.equal(new Set(listed).size, listed.length);
});

for (const [name, call] of Object.entries(WORKS)) {
  test(`${name} works`, async () => {
    const result = await call();
    assert.ok(result !== undefined && result !== null, name);
  });
}

for (const [name, call] of Object.entries(REFUSED)) {
  test(`${name} is refused by design`, async () => {
    await assert.rejects(call(), (error) => error.status === 403 && /self-hosted.*spend_limits/s.test(error.errors[0].message));
  });
}

test("the evaluator that is listed first is good for an evaluation, in every order and without settings", async () => {
  const { id: dataset } = await api.datasets.create("gw", { account_id, name: "firsts", enable: true, filters: [] });
  for (const order_by of ["mandatory", "id", "name", "type"]) {
    for (const order_by_direction of ["asc", "desc"]) {
      const { id } = await first(api.evaluationTypes.list({ account_id, order_by, order_by_direction, per_page: 1 }));
      const begun = await api.evaluations.create("gw", { account_id, name: `${order_by} ${order_by_direction}`, dataset_ids: [dataset], evaluation_type_ids: [id] });
      assert.equal(begun.results?.[0]?.evaluation_type_id ?? id, id);
    }
  }
});
