// Cloudflare's GraphQL over the sums of charts: the same figures as the analytics, from several databases as from one.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ databases: 2 });
  for (const [n, id] of ["first", "second"].entries()) await gw.create(id, { log_database: n });
  await gw.create("quiet", { collect_logs: false });
  const chat = (gateway, model, headers) => gw.call("openai/chat/completions", { gateway, json: { model, messages: [{ role: "user", content: "Lunch?" }] }, headers });
  for (const gateway of ["first", "second", "quiet"]) {
    for (const model of ["gpt-4o", "gpt-4o-mini", "gpt-4o"]) assert.equal((await chat(gateway, model)).status, 200);
    for (let n = 0; n < 2; n += 1) await chat(gateway, "gpt-4o", { "cf-aig-cache-ttl": "60" });
    gw.upstream.next({ status: 500, body: "{}" });
    await chat(gateway, "gpt-4o");
  }
  for (const gateway of ["first", "second", "quiet"]) await until(async () => (await totals(gateway)).requests === 6, "all to be counted");
});
after(() => gw.stop());

const totals = async (gateway) => (await gw.result(`/gateways/${gateway}/analytics?granularity=minute`)).totals;
const ask = async (query, variables, token = TOKEN) => {
  const answer = await fetch(`${gw.url}/client/v4/graphql`, { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/json" }, body: JSON.stringify({ query, variables }) });
  return { status: answer.status, ...(await answer.json()) };
};
const sets = async (sets, variables) => {
  const { status, data, errors } = await ask(`{ viewer { accounts(filter: { accountTag: "${ACCOUNT}" }) { ${sets} } } }`, variables);
  assert.deepEqual([status, errors], [200, null]);
  return data.viewer.accounts[0];
};

test("Cloudflare's own example is answered, with aliases and variables that it does not declare", async () => {
  const query = `query{\n  viewer {\n\taccounts(filter: { accountTag: "${ACCOUNT}" }) {\n\trequests: aiGatewayRequestsAdaptiveGroups(\n    \tlimit: $limit\n    \tfilter: { datetimeHour_geq: $start, datetimeHour_leq: $end }\n    \torderBy: [datetimeMinute_ASC]\n  \t) {\n    \tcount,\n    \tdimensions {\n        \tmodel,\n        \tprovider,\n        \tgateway,\n        \tts: datetimeMinute\n    \t}\n    \t\n  \t}\n    \t\n\t}\n  }\n}`;
  const [start, end] = [-2, 2].map((hours) => new Date(Date.now() + hours * 3_600_000).toISOString());
  const { data, errors } = await ask(query, { limit: 1_000, start, end, orderBy: "date_ASC" });
  assert.equal(errors, null);
  const { requests } = data.viewer.accounts[0];
  assert.equal(requests.reduce((sum, { count }) => sum + count, 0), 18);
  for (const { dimensions } of requests) assert.match(dimensions.ts, /^\d{4}-\d\d-\d\dT\d\d:\d\d:00Z$/);
  assert.deepEqual([...new Set(requests.map(({ dimensions }) => dimensions.gateway))].sort(), ["first", "quiet", "second"]);
  const past = await ask(query, { limit: 1_000, start: "2023-09-01T10:00:00.000Z", end: "2023-09-30T10:00:00.000Z" });
  assert.deepEqual(past.data.viewer.accounts[0].requests, []);
});

test("the figures of each set are those of the analytics to the digit", async () => {
  for (const gateway of ["first", "second", "quiet"]) {
    const of = await totals(gateway);
    assert.ok(of.cost > 0 && of.errors === 1 && of.cached === 1);
    const filter = `filter: { gateway: "${gateway}" }`;
    const { r, e, c, s } = await sets(`r: aiGatewayRequestsAdaptiveGroups(${filter}) { count sum { cachedRequests erroredRequests cachedTokensIn uncachedTokensIn uncachedTokensOut cost } }
      e: aiGatewayErrorsAdaptiveGroups(${filter}) { count } c: aiGatewayCacheAdaptiveGroups(${filter}, orderBy: [cacheOp_ASC]) { count dimensions { cacheOp } }
      s: aiGatewaySizeAdaptiveGroups(${filter}) { max { rows } dimensions { gateway } }`);
    assert.deepEqual(r, [{ count: of.requests, sum: { cachedRequests: of.cached, erroredRequests: of.errors, cachedTokensIn: 0, uncachedTokensIn: of.tokens_in, uncachedTokensOut: of.tokens_out, cost: of.cost } }]);
    assert.deepEqual([e, c], [[{ count: of.errors }], [{ count: of.cached, dimensions: { cacheOp: "hit" } }, { count: of.requests - of.cached, dimensions: { cacheOp: "miss" } }]]);
    assert.deepEqual(s, gateway === "quiet" ? [] : [{ max: { rows: (await gw.result(`/gateways/${gateway}/storage`)).logs }, dimensions: { gateway } }]);
  }
});

test("groups that several databases have are one, in the order and the number that was asked for", async () => {
  const both = await Promise.all(["first", "second", "quiet"].map(totals));
  const { all, models, costs, top, most } = await sets(`costs: aiGatewayRequestsAdaptiveGroups(orderBy: [sum_cost_ASC]) { sum { cost } dimensions { model } }
    all: aiGatewayRequestsAdaptiveGroups { count sum { cost } } models: aiGatewayRequestsAdaptiveGroups(orderBy: [model_DESC]) { count dimensions { model } }
    top: aiGatewayRequestsAdaptiveGroups(limit: 1, orderBy: [sum_cost_DESC]) { sum { cost } dimensions { model } } most: aiGatewaySizeAdaptiveGroups { max { rows } }`);
  assert.equal(all[0].count, 18);
  assert.ok(Math.abs(all[0].sum.cost - both.reduce((sum, { cost }) => sum + cost, 0)) < 1e-9);
  assert.deepEqual(models.map(({ count, dimensions }) => [dimensions.model, count]), [["gpt-4o-mini", 3], ["gpt-4o", 15]]);
  assert.ok(costs.length === 2 && costs[0].sum.cost < costs[1].sum.cost);
  assert.deepEqual([top, most], [[costs[1]], [{ max: { rows: 6 } }]]);
});

test("what is not served is an error of GraphQL that names what there is", async () => {
  for (const [query, code, says] of [
    ["{ viewer", "parse", /syntax error at line 1, column 9/],
    ["mutation { a }", "parse", /mutation is not served/],
    ["{ __schema { types } }", "validation", /expected one of viewer/],
    ["{ viewer { zones { x } } }", "validation", /expected one of accounts/],
    [`{ viewer { accounts(filter: {accountTag: "${ACCOUNT}"}) { aiGatewayRequestsAdaptiveGroups { dimensions { metadataRaw } } } } }`, "validation", /"metadataRaw".*datetimeHour/],
    ['{ viewer { accounts(filter: {accountTag: "a b"}) { aiGatewaySizeAdaptiveGroups { count } } } }', "authz", /not authorized/],
  ]) {
    const { status, data, errors } = await ask(query);
    assert.deepEqual([status, data, errors.length, errors[0].extensions.code], [200, null, 1, code], query);
    assert.match(errors[0].message, says);
  }
  const wrong = await ask("{ viewer }", {}, "wrong");
  assert.deepEqual([wrong.status, wrong.errors[0].code], [401, 10000]);
  const get = await fetch(`${gw.url}/client/v4/graphql`, { headers: { authorization: `Bearer ${TOKEN}` } });
  assert.equal(get.status, 405);
});
