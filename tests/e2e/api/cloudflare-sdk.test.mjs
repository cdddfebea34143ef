// Cloudflare's own SDK, the latest and an old major version, drives every resource of the feedback loop.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Latest from "cloudflare";
import Old from "cloudflare-4";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

let gw;
const logs = [];
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  for (let n = 0; n < 7; n += 1) {
    const answer = await gw.call("openai/chat/completions", { json: { model: n < 5 ? "gpt-4o" : "gpt-4o-mini" }, headers: { "cf-aig-metadata": `{"n":${n}}` } });
    await answer.arrayBuffer();
    logs.push(await gw.logOf(answer));
  }
});
after(() => gw.stop());

/** Until version 6 the ids came first, one after the other; since then there is one id, and the gateway is a parameter. */
const shapes = {
  latest: { SDK: Latest, of: (method, id, params) => method(id, { account_id: ACCOUNT, gateway_id: "gw", ...params }) },
  "4.5.0": { SDK: Old, of: (method, id, params) => method("gw", id, { account_id: ACCOUNT, ...params }) },
};

for (const [version, { SDK, of }] of Object.entries(shapes)) {
  const api = () => new SDK({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 }).aiGateway;
  const bound = (resource, method) => resource[method].bind(resource);
  const account_id = ACCOUNT;

  test(`${version}: logs are listed through all pages, found, judged, read and deleted`, async () => {
    const { logs: resource } = api();
    const seen = [];
    for await (const log of resource.list("gw", { account_id, per_page: 2 })) seen.push(log.id);
    assert.deepEqual(seen, logs.map(({ id }) => id).reverse());
    const found = await resource.list("gw", { account_id, order_by: "created_at", order_by_direction: "asc", filters: [{ key: "model", operator: "eq", value: ["gpt-4o-mini", "none"] }, { key: "metadata.key", operator: "eq", value: ["n"] }] });
    assert.deepEqual(found.result.map(({ id }) => id), logs.slice(5).map(({ id }) => id));
    const [{ id }] = logs;
    await of(bound(resource, "edit"), id, { feedback: -1, score: 12, metadata: { version } });
    const log = await of(bound(resource, "get"), id);
    assert.deepEqual([log.id, log.provider, log.success, log.tokens_in, typeof log.request_head], [id, "openai", true, logs[0].tokens_in, "string"]);
    const stored = await of(bound(resource, "get"), id);
    assert.deepEqual([stored.feedback, stored.score, stored.metadata.version], [-1, 12, version]);
    assert.equal((await of(bound(resource, "request"), id)).model, "gpt-4o");
    assert.equal((await of(bound(resource, "response"), id)).id, log.response_id);
    await assert.rejects(of(bound(resource, "edit"), id, { feedback: 7 }), (error) => error.status === 400 && error.errors[0].code === 7001);
    await assert.rejects(of(bound(resource, "get"), "nothing"), { status: 404 });
    const gone = await resource.delete("gw", { account_id, limit: 1, filters: [{ key: "id", operator: "eq", value: [logs.at(-1).id] }] });
    assert.equal(gone.success, true);
    await assert.rejects(of(bound(resource, "get"), logs.pop().id), { status: 404 });
  });

  test(`${version}: datasets and evaluations from the first call to the last`, async () => {
    const { datasets, evaluations, evaluationTypes } = api();
    const filters = [{ key: "model", operator: "eq", value: ["gpt-4o"] }];
    const made = await datasets.create("gw", { account_id, name: version, enable: true, filters });
    assert.deepEqual([made.filters, made.name, made.enable], [filters, version, true]);
    await of(bound(datasets, "update"), made.id, { name: `${version}!`, enable: true, filters });
    assert.equal((await of(bound(datasets, "get"), made.id)).name, `${version}!`);
    const types = [];
    for await (const type of evaluationTypes.list({ account_id, per_page: 5 })) types.push(type.id);
    assert.deepEqual(types.slice(0, 3), ["cost", "speed", "human_feedback"]);
    const begun = await evaluations.create("gw", { account_id, name: version, dataset_ids: [made.id], evaluation_type_ids: types.slice(0, 3) });
    let evaluation = begun;
    while (!evaluation.processed) evaluation = await of(bound(evaluations, "get"), begun.id);
    assert.equal(evaluation.total_logs, 5);
    assert.deepEqual(evaluation.results.map(({ evaluation_type_id, status, total_logs }) => [evaluation_type_id, status, total_logs]), [["cost", 2, 5], ["speed", 2, 5], ["human_feedback", 2, 1]]);
    const names = [];
    for await (const { name } of evaluations.list("gw", { account_id, per_page: 1, processed: true })) names.push(name);
    assert.ok(names.includes(version));
    const listed = [];
    for await (const { id } of datasets.list("gw", { account_id, per_page: 5 })) listed.push(id);
    assert.ok(listed.includes(made.id));
    assert.equal((await of(bound(evaluations, "delete"), begun.id)).id, begun.id);
    assert.equal((await of(bound(datasets, "delete"), made.id)).id, made.id);
    await assert.rejects(of(bound(evaluations, "get"), begun.id), { status: 404 });
  });
}

test("latest: custom providers from the first call to the last", async () => {
  const { customProviders } = new Latest({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 }).aiGateway;
  const account_id = ACCOUNT;
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  const given = { name: "Acme", slug: "acme", base_url: "https://api.example.com/v1", headers: '{"x-team":"ads"}', description: "d", position: 2 };
  const made = await customProviders.create({ account_id, ...given });
  assert.match(made.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual({ ...made, ...given, enable: false, beta: false }, made);
  assert.ok(new Date(made.created_at).getTime() > Date.now() - 60_000);
  await customProviders.create({ account_id, ...given, slug: "second", position: 1, enable: true });
  const slugs = [];
  for await (const { slug } of customProviders.list({ account_id, per_page: 1 })) slugs.push(slug);
  assert.deepEqual(slugs, ["second", "acme"]);
  assert.deepEqual((await customProviders.list({ account_id, enable: true, search: "acm" })).result.map(({ slug }) => slug), ["second"]);
  assert.deepEqual(await customProviders.get(made.id, { account_id }), made);
  const refused = (status, code, path) => (error) => error.status === status && error.errors[0].code === code && String(error.errors[0].path ?? "") === path;
  await assert.rejects(customProviders.create({ account_id, ...given }), refused(409, 1003, "body,slug"));
  await assert.rejects(customProviders.create({ account_id, ...given, slug: "c", base_url: "http://api.example.com" }), refused(400, 1002, "body,base_url"));
  assert.equal((await customProviders.delete(made.id, { account_id })).id, made.id);
  await assert.rejects(customProviders.get(made.id, { account_id }), refused(404, 1004, ""));
});

test("latest: billing shows that there is none, and refuses to sell", async () => {
  const { billing, urls } = new Latest({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 }).aiGateway;
  const account_id = ACCOUNT;
  assert.equal((await billing.creditBalance({ account_id })).balance, 0);
  assert.deepEqual((await billing.invoiceHistory({ account_id, type: "all" })).invoices, []);
  assert.deepEqual((await billing.invoicePreview({ account_id })).invoice_lines, []);
  assert.deepEqual((await billing.usageHistory({ account_id, value_grouping_window: "day", start_time: 1, end_time: 2 })).history, []);
  assert.equal((await billing.spendingLimit.get({ account_id })).enabled, false);
  assert.deepEqual(await billing.topup.config.get({ account_id }), { amount: null, threshold: null });
  const instead = (error) => error.status === 403 && /self-hosted.*spend_limits/s.test(error.errors[0].message);
  await assert.rejects(billing.spendingLimit.create({ account_id, amount: 100, duration: "daily", strategy: "fixed" }), instead);
  await assert.rejects(billing.spendingLimit.delete({ account_id }), instead);
  await assert.rejects(billing.topup.create({ account_id, amount: 1000 }), instead);
  await assert.rejects(billing.topup.status({ account_id, payment_intent_id: "x" }), instead);
  await assert.rejects(billing.topup.config.create({ account_id, amount: 1000, threshold: 500 }), instead);
  await assert.rejects(billing.topup.config.delete({ account_id }), instead);
  assert.equal(await urls.get("compat", { account_id, gateway_id: "gw" }), `${gw.url}/v1/${ACCOUNT}/gw/compat`);
});

test("latest: the addresses of custom providers", async () => {
  const { customProviders, urls } = new Latest({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 }).aiGateway;
  const account_id = ACCOUNT;
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  const { id, slug } = await customProviders.create({ account_id, name: "Addressed", slug: "addressed", base_url: "https://api.example.com" });
  assert.equal(await urls.get(`custom-${slug}`, { account_id, gateway_id: "gw" }), `${gw.url}/v1/${ACCOUNT}/gw/custom-addressed`);
  await customProviders.delete(id, { account_id });
  await assert.rejects(urls.get("custom-addressed", { account_id, gateway_id: "gw" }), { status: 404 });
});
