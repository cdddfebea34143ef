import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN } from "./harness.mjs";

const routes = JSON.parse(readFileSync(new URL("routes.json", import.meta.url), "utf8"));

let gw, log;
before(async () => {
  gw = await Gateway.start();
  await gw.create("locked", { authentication: true });
  const answer = await gw.call("openai/models", { gateway: "locked", headers: { "cf-aig-authorization": TOKEN } });
  ({ id: log } = await gw.logOf(answer, "locked"));
});
after(() => gw.stop());

/** Every route with everything filled in, so that only the token decides. */
function filled(template, { account = ACCOUNT, gateway = "locked" } = {}) {
  const values = { account, gateway, provider: "openai", "rest...": "models", id: log };
  return template.replace(/\{(.*?)\}/g, (_, name) => values[name] ?? assert.fail(`no value for ${name}`));
}

const bearer = (token) => ({ authorization: `Bearer ${token}` });

test("only /health and the document are open", () => {
  assert.deepEqual(routes.filter(([, , , access]) => access === "Open").map(([, , path]) => path), ["/health", "/openapi.json"]);
});

test("every other route wants the token, under both prefixes", async () => {
  const wrong = [{}, bearer("wrong"), bearer(TOKEN.slice(0, -1)), bearer(`${TOKEN}x`), bearer(""), { "x-auth-key": TOKEN }, { "x-auth-email": "a@b.c", "x-auth-key": "wrong" }, { authorization: `Basic ${TOKEN}` }];
  for (const [name, method, template, access] of routes) {
    if (access === "Open") continue;
    const prefixes = template.startsWith("/accounts") ? ["", "/client/v4"] : [""];
    for (const prefix of prefixes) {
      for (const headers of wrong) {
        const answer = await fetch(gw.url + prefix + filled(template), { method: method === "*" ? "POST" : method, headers });
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
      // The stand-in's log has no request body, and the answer to that is a 404 of its own.
      assert.equal(answer.status, name === "GetLogRequest" ? 404 : 200, name);
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
      const answer = await fetch(gw.url + filled(template, place), { method, headers: bearer(TOKEN), body: method === "PUT" ? "{}" : undefined });
      assert.equal(answer.status, 404, `${name} ${JSON.stringify(place)}`);
      assert.equal((await answer.json()).errors[0].code, 7002);
    }
  }
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
