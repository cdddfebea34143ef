import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const routes = JSON.parse(readFileSync(new URL("../routes.json", import.meta.url), "utf8"));

let gw, policy, webhook, log, dataset, evaluation, token, provider, cost, reprice, key, route;
const post = async (path, body) => {
  const answer = await gw.api(path, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
};
before(async () => {
  gw = await Gateway.start();
  await gw.create("locked", { authentication: true });
  ({ id: dataset } = await post("/gateways/locked/datasets", { name: "all", enable: true, filters: [] }));
  ({ id: evaluation } = await post("/gateways/locked/evaluations", { name: "cost", dataset_ids: [dataset], evaluation_type_ids: ["cost"] }));
  ({ id: key } = await post("/gateways/locked/provider_configs", { alias: "default", provider_slug: "mistral", secret: "sk-0123456789" }));
  const elements = [{ id: "s", type: "start", outputs: { next: { elementId: "m" } } }, { id: "m", type: "model", properties: { provider: "openai", model: "gpt-4o" }, outputs: { success: { elementId: "e" } } }, { id: "e", type: "end" }];
  route = await post("/gateways/locked/routes", { name: "support", elements });
  token = await post("/tokens", { name: "for the matrix", permissions: ["read"] });
  const answer = await gw.call("openai/models", { gateway: "locked", headers: { "cf-aig-authorization": TOKEN, "cf-aig-session-id": "session-1" } });
  ({ id: log } = await gw.logOf(answer, "locked"));
  gw.upstream.names["api.example.com"] = ["8.8.8.8"];
  ({ id: provider } = await post("/custom-providers", { name: "x", slug: "x", base_url: "https://api.example.com" }));
  ({ id: webhook } = await post("/alerts/webhooks", { url: "https://api.example.com/hook" }));
  ({ id: cost } = await post("/custom-providers/costs", { account_provider_id: provider, model: "m", cost_in: 0 }));
  ({ id: policy } = await post("/gateways/locked/policies?commit=true", { name: "everyone", actor: "all", resource: "*", action: { type: "no-limit" } }));
  ({ id: reprice } = await post("/gateways/locked/logs/reprice", { dry_run: true }));
});
after(() => gw.stop());

/** Every route with everything filled in, so that only the token decides. */
function filled(template, { account = ACCOUNT, gateway = "locked", id = idFor(template) } = {}) {
  const values = { account, gateway, provider: "openai", "rest...": "models", id, version: route.version.version_id };
  return template.replace(/\{(.*?)\}/g, (_, name) => values[name] ?? assert.fail(`no value for ${name}`));
}

/** What the id in a path means: most are logs. */
function idFor(template) {
  if (template.includes("/datasets")) return dataset;
  if (template.includes("/evaluations")) return evaluation;
  if (template.includes("/provider_configs")) return key;
  if (template.includes("/routes")) return route.id;
  if (template.includes("/tokens")) return token.id;
  if (template.includes("/costs")) return cost;
  if (template.includes("/custom-providers")) return provider;
  if (template.includes("/reprice")) return reprice;
  if (template.includes("/sessions")) return "session-1";
  if (template.includes("/policies")) return policy;
  if (template.includes("/webhooks")) return webhook;
  return log;
}

const bearer = (token) => ({ authorization: `Bearer ${token}` });

test("only /health, the document, and the way to the dashboard are open", () => {
  assert.deepEqual(routes.filter(([, , , access]) => access === "Open").map(([, , path]) => path), ["/health", "/openapi.json", "/", "/dashboard/session", "/dashboard/session", "/dashboard", "/dashboard/{rest...}"]);
});

test("every other route wants the token, under both prefixes", async () => {
  const wrong = [{}, bearer("wrong"), bearer(TOKEN.slice(0, -1)), bearer(`${TOKEN}x`), bearer(""), { "x-auth-key": TOKEN }, { "x-auth-email": "a@b.c", "x-auth-key": "wrong" }, { authorization: `Basic ${TOKEN}` }];
  let guesses = 0;
  for (const [name, method, template, access] of routes) {
    if (access === "Open") continue;
    const prefixes = template.startsWith("/accounts") ? ["", "/client/v4"] : [""];
    for (const prefix of prefixes) {
      for (const headers of wrong) {
        // From one address a few guesses would be enough.
        const from = { "cf-connecting-ip": `10.0.${(guesses += 1) >> 8}.${guesses & 255}` };
        const answer = await fetch(gw.url + prefix + filled(template), { method: method === "*" ? "POST" : method, headers: { ...headers, ...from } });
        const body = await answer.json();
        assert.equal(answer.status, 401, `${name} ${JSON.stringify(headers)}`);
        assert.equal(body.errors?.[0].code ?? body.error[0].code, access === "Gateway" ? 2009 : 10000);
      }
    }
  }
  // Nothing of that has changed or deleted anything.
  assert.equal((await gw.result(`/gateways/locked/logs/${log}`)).id, log);
});

test("the token opens every route, as bearer and as e-mail and key", async () => {
  for (const [name, method, template, access] of routes) {
    if (["Open", "Gateway"].includes(access) || method !== "GET") continue;
    for (const headers of [bearer(TOKEN), { "x-auth-email": "a@b.c", "x-auth-key": TOKEN }]) {
      const answer = await fetch(gw.url + filled(template), { headers });
      // The stand-in's log has no request body, and the answer to that is a 404 of its own; a comparison wants ids.
      assert.equal(answer.status, { GetLogRequest: 404, CompareEvaluations: 400 }[name] ?? 200, name);
      await answer.arrayBuffer();
    }
  }
});

test("ids of another gateway or account are not found", async () => {
  await gw.create("other");
  for (const [name, method, template] of routes) {
    if (!template.startsWith("/accounts") || !template.includes("{gateway}")) continue;
    const places = [{ account: "stranger" }, { gateway: "unknown" }, { account: "a.b" }];
    if (template.includes("{id}")) places.push({ gateway: "other" });
    for (const place of places) {
      const answer = await fetch(gw.url + filled(template, place), { method, headers: bearer(TOKEN), body: ["PUT", "POST", "PATCH"].includes(method) ? "{}" : undefined });
      assert.equal(answer.status, 404, `${name} ${JSON.stringify(place)}`);
      assert.equal((await answer.json()).errors[0].code, 7002);
    }
  }
});

/** Which permissions open which kind of route. */
const OPENS = { SignedIn: ["read", "read_metadata", "edit", "run", "feedback"], Run: ["run"], ReadBodies: ["read", "edit"], Read: ["read", "read_metadata", "edit"], Edit: ["edit"], Feedback: ["run", "edit", "feedback"], Give: ["run", "edit"], See: ["read", "read_metadata", "edit", "run"], Gateway: ["run"], Admin: [] };

test("every route opens for the permissions it names, within the token's account and gateways, and for no others", async () => {
  await gw.create("beside", { authentication: true });
  const tokens = {};
  for (const permission of ["read", "read_metadata", "edit", "run", "feedback"]) {
    tokens[permission] = await post("/tokens", { name: permission, permissions: [permission] });
    tokens[`${permission} beside`] = await post("/tokens", { name: `${permission} beside`, permissions: [permission], gateways: ["beside"] });
  }
  // Deleting comes last, so that everything is there for the others. What is sent is wrong on purpose: nothing is changed.
  const order = [...routes].filter(([, , , access]) => access !== "Open").sort((a, b) => (a[1] === "DELETE") - (b[1] === "DELETE"));
  for (const [name, method, template, access] of order) {
    for (const [kind, { value }] of Object.entries(tokens)) {
      const [permission, limited] = kind.split(" ");
      // A DELETE with enough permission would take the thing away from the next token; the id of nothing is as good.
      const id = method === "DELETE" ? "nothing" : undefined;
      if (name === "DeleteGateway" || name === "DeleteLogs") continue;
      const body = ["PUT", "POST", "PATCH"].includes(method) ? '{"x":' : undefined;
      const answer = await fetch(gw.url + filled(template, { id }), { method: method === "*" ? "POST" : method, headers: bearer(value), body });
      const text = await answer.text();
      const what = `${name} with ${kind}: ${answer.status}`;
      if (limited && (template.includes("{gateway}") || name === "AccountAi")) {
        assert.equal(answer.status, access === "Gateway" ? 401 : 404, what);
      } else if (name === "RefuseBilling") {
        // What a self-hosted gateway does not sell is refused to all, with a reason only for those who might have bought it.
        assert.deepEqual([answer.status, text.includes("sells no credit")], [403, OPENS[access].includes(permission) && !limited], what);
      } else if (OPENS[access].includes(permission)) {
        assert.ok(![401, 403].includes(answer.status) || (limited && name === "CreateGateway"), what);
      } else {
        assert.equal(answer.status, access === "Gateway" ? 401 : 403, what);
      }
    }
  }
  const foreign = await fetch(gw.url + filled("/accounts/{account}/ai-gateway/gateways", { account: "stranger" }), { headers: bearer(tokens.read.value) });
  assert.equal(foreign.status, 404);
  // The account of a query of GraphQL stands in the query: a token's own is shown, with its gateways, and no other is.
  const asked = async (token, account) => {
    const query = "query($a: string!) { viewer { accounts(filter: { accountTag: $a }) { aiGatewayRequestsAdaptiveGroups { dimensions { gateway } } } } }";
    const answer = await fetch(`${gw.url}/client/v4/graphql`, { method: "POST", headers: bearer(token), body: JSON.stringify({ query, variables: { a: account } }) });
    const { data, errors } = await answer.json();
    return [answer.status, data?.viewer.accounts[0].aiGatewayRequestsAdaptiveGroups.map(({ dimensions }) => dimensions.gateway) ?? errors[0].message];
  };
  assert.deepEqual(await asked(tokens.read.value, ACCOUNT), [200, ["default", "locked"]]);
  assert.deepEqual(await asked(tokens["read beside"].value, ACCOUNT), [200, []]);
  for (const account of ["stranger", "", "a.b", `${ACCOUNT} `]) assert.deepEqual(await asked(tokens.read.value, account), [200, "not authorized for that account"]);
  // The list of gateways shows only what the token reaches.
  const listed = await fetch(gw.url + filled("/accounts/{account}/ai-gateway/gateways"), { headers: bearer(tokens["read beside"].value) });
  assert.deepEqual((await listed.json()).result.map(({ id }) => id), ["beside"]);
  // And feedback for a log beyond its reach finds nothing.
  const stray = await fetch(`${gw.url}/feedback/${log}`, { method: "POST", headers: bearer(tokens["run beside"].value), body: '{"data":{"a":1}}' });
  assert.equal(stray.status, 404);
});

test("a token is shown once, expires, is rolled and revoked, and never reaches a provider", async () => {
  const expires = new Date(Date.now() + 3_600_000).toISOString();
  const made = await post("/tokens", { name: "app", permissions: ["run"], gateways: ["locked"], expires_at: expires });
  assert.match(made.value, /^tgt_[\w-]{43}$/);
  const use = (value) => gw.call("openai/models", { gateway: "locked", headers: { "x-api-key": value, authorization: "Bearer sk-provider" } });
  assert.equal((await use(made.value)).status, 200);
  assert.equal(gw.upstream.last.headers["x-api-key"], undefined);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-provider");
  const shown = await gw.result(`/tokens/${made.id}`);
  assert.deepEqual([shown.value, shown.expires_at], [undefined, expires]);
  await until(async () => (await gw.result(`/tokens/${made.id}`)).last_used_at !== null, "the time of the last use");
  const rows = JSON.stringify(await gw.rows("SELECT * FROM tokens"));
  assert.ok(!rows.includes(made.value));
  const rolled = await post(`/tokens/${made.id}/roll`, {});
  assert.notEqual(rolled.value, made.value);
  assert.deepEqual([(await use(made.value)).status, (await use(rolled.value)).status], [401, 200]);
  await gw.rows("UPDATE tokens SET expires_at = ? WHERE id = ?", Date.now() - 1, made.id);
  await until(async () => (await use(rolled.value)).status === 401, "the token to expire");
  // Unknown tokens of our form are not passed on either, also where no token is wanted.
  await gw.create("open");
  await gw.call("openai/models", { gateway: "open", headers: { authorization: `Bearer ${made.value}` } });
  assert.equal(gw.upstream.last.headers.authorization, undefined);
  const lasting = await post("/tokens", { name: "lasting", permissions: ["run"] });
  assert.equal((await use(lasting.value)).status, 200);
  assert.equal((await gw.api(`/tokens/${lasting.id}`, { method: "DELETE" })).status, 200);
  assert.equal((await use(lasting.value)).status, 401);
  for (const [body, field] of [[{}, "name"], [{ name: "x", permissions: [] }, "permissions"], [{ name: "x", permissions: ["root"] }, "permissions"], [{ name: "x", permissions: ["run"], gateways: ["nowhere"] }, "gateways"], [{ name: "x", permissions: ["run"], expires_at: "2020-01-01T00:00:00Z" }, "expires_at"]]) {
    const refused = await gw.api("/tokens", { method: "POST", body: JSON.stringify(body) });
    assert.deepEqual([refused.status, (await refused.json()).errors[0].path], [400, ["body", field]]);
  }
});

test("every change leaves a row that says who changed what, without values", async () => {
  const editor = await post("/tokens", { name: "editor", permissions: ["edit"] });
  await gw.create("audited");
  const as = (path, init) => fetch(`${gw.url}/accounts/${ACCOUNT}/ai-gateway${path}`, { ...init, headers: bearer(editor.value) });
  await as("/gateways/audited", { method: "PUT", body: JSON.stringify({ cache_ttl: 60, store_id: "secret-value-0123456789" }) });
  const made = (await (await as("/gateways/audited/datasets", { method: "POST", body: JSON.stringify({ name: "d", enable: true, filters: [] }) })).json()).result;
  await as(`/gateways/audited/datasets/${made.id}`, { method: "PUT", body: JSON.stringify({ name: "e" }) });
  await as(`/gateways/audited/datasets/${made.id}`, { method: "DELETE" });
  const rows = await gw.result("/audit?gateway=audited&per_page=50");
  assert.deepEqual(rows.map(({ action, actor }) => [action, actor]), [
    ["dataset.delete", editor.id],
    ["dataset.update", editor.id],
    ["dataset.create", editor.id],
    ["gateway.update", editor.id],
    ["gateway.create", "admin"],
  ]);
  assert.deepEqual(rows[3].fields, ["cache_ttl", "store_id"]);
  assert.ok(!JSON.stringify(rows).includes("secret-value"));
  const tokens = await gw.result(`/audit?target=${editor.id}`);
  assert.deepEqual(tokens.map(({ action }) => action), ["token.create"]);
  // A change that is refused leaves none.
  const before = (await gw.rows("SELECT count(*) AS n FROM audit"))[0].n;
  await gw.api("/gateways", { method: "POST", body: JSON.stringify({ id: "audited", collect_logs: true }) });
  assert.equal((await gw.rows("SELECT count(*) AS n FROM audit"))[0].n, before);
});

test("wrong methods and paths are told in the control plane's envelope", async () => {
  const wrong = await gw.api("/gateways/locked", { method: "PATCH" });
  assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "GET, PUT, DELETE"]);
  assert.deepEqual(await wrong.json(), { result: null, success: false, errors: [{ code: 7001, message: "PATCH not supported for requested URI." }], messages: [] });
  assert.equal((await gw.api("/nothing")).status, 404);
});

test("without a usable admin token nothing but /health answers", async () => {
  for (const [token, reason] of [[undefined, /not set/], ["", /not set/], ["short", /shorter/], ["changeme-changeme", /well-known/], ["0".repeat(32), /well-known/]]) {
    const closed = await Gateway.start({ bindings: { ADMIN_TOKEN: token }, upstream: gw.upstream });
    try {
      const health = await (await fetch(`${closed.url}/health`)).json();
      assert.equal(health.status, "unconfigured");
      for (const path of ["/v1/acct/locked/openai/models", "/accounts/acct/ai-gateway/gateways", "/nothing"]) {
        const answer = await fetch(closed.url + path, { headers: bearer(token ?? "") });
        assert.equal(answer.status, 503, path);
        assert.match(await answer.text(), reason);
      }
    } finally {
      await closed.miniflare.dispose();
    }
  }
});
