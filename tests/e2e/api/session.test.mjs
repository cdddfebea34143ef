// The dashboard's addresses: the page, signing in and out, what a cookie opens and what it does not, and Cloudflare Access.
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign as signature } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { signInCode } from "../../../server/sign-in.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const routes = JSON.parse(readFileSync(new URL("../routes.json", import.meta.url), "utf8"));
const SAME = { "sec-fetch-site": "same-origin" };
const PAGE_HEADERS = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types tollgate-worker",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=()",
  "x-frame-options": "DENY",
};

let gw, keys, jwksAsked = 0, team;
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

before(async () => {
  // In place of Cloudflare Access: it gives out the keys of a team.
  keys = createServer((_, answer) => {
    jwksAsked += 1;
    answer.end(JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "RS256", use: "sig" }] }));
  });
  await new Promise((resolve) => keys.listen(0, "127.0.0.1", resolve));
  team = `http://127.0.0.1:${keys.address().port}`;
  const roles = { "ann@example.com": "admin", "@example.com": { account: ACCOUNT, gateways: ["gw"], permissions: ["read_metadata"] } };
  gw = await Gateway.start({ bindings: { ACCESS_TEAM: team, ACCESS_AUD: "aud1", ACCESS_ROLES: JSON.stringify(roles) } });
  await gw.create("gw", { authentication: true });
  await gw.create("other", { authentication: true });
});
after(async () => {
  keys.close();
  await gw.stop(/access_keys_unreadable/);
});

const get = (path, headers = {}) => fetch(gw.url + path, { headers, redirect: "manual" });
const signIn = (given, headers = SAME) => fetch(`${gw.url}/dashboard/session`, { method: "POST", headers, body: JSON.stringify(given) });
const cookieOf = (answer) => answer.headers.get("set-cookie").split(";")[0];
async function session(token) {
  const answer = await signIn({ token });
  assert.equal(answer.status, 200, await answer.clone().text());
  return { cookie: cookieOf(answer) };
}
async function token(permissions, more = {}) {
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: permissions.join(), permissions, ...more }) });
  assert.equal(made.status, 200);
  return (await made.json()).result;
}
const gateways = (headers, init) => fetch(`${gw.url}/accounts/${ACCOUNT}/ai-gateway/gateways`, { ...init, headers });

test("D1: no address of the API is ever a page", async () => {
  const navigation = { accept: "text/html,application/xhtml+xml,*/*;q=0.8", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
  for (const path of ["/v1/x", "/v1/acct/gw/openai/models", "/accounts/x", `/accounts/${ACCOUNT}/ai-gateway/gateways`, "/client/v4/accounts/x", "/feedback/x", "/nope", "/health", "/openapi.json", "/metrics", "/mcp", "/dashboardx", "/dashboard/me", "/dashboard/assets/app-missing.js"]) {
    const answer = await get(path, navigation);
    assert.match(answer.headers.get("content-type"), /^application\/json/, path);
    await answer.arrayBuffer();
  }
});

test("the root leads browsers to the dashboard and tells programs what is here", async () => {
  const browser = await get("/", { accept: "text/html,*/*;q=0.8" });
  assert.deepEqual([browser.status, browser.headers.get("location"), browser.headers.get("vary")], [302, "/dashboard/", "accept"]);
  for (const headers of [{}, { accept: "*/*" }, { accept: "application/json" }]) {
    const told = await (await get("/", headers)).json();
    assert.deepEqual([told.name, told.openapi, told.health, told.dashboard], ["tollgate", "/openapi.json", "/health", "/dashboard/"]);
  }
});

test("D2: every address below /dashboard is the page, with its headers; a missing file is 404 and not kept", async () => {
  for (const path of ["/dashboard", "/dashboard/", "/dashboard/any/deep/path?x=1", "/dashboard/sign-in"]) {
    const answer = await get(path, { accept: "text/html" });
    const body = await answer.text();
    assert.equal(answer.status, 200, path);
    assert.equal(answer.headers.get("content-type"), "text/html; charset=utf-8");
    for (const [name, value] of Object.entries(PAGE_HEADERS)) assert.equal(answer.headers.get(name), value, name);
    assert.equal(answer.headers.get("cache-control"), "no-cache");
    for (const [, file] of body.matchAll(/(?:src|href)="(\/dashboard\/assets\/[^"]+)"/g)) {
      const asset = await get(file);
      assert.deepEqual([asset.status, asset.headers.get("cache-control")], [200, "public, max-age=31536000, immutable"], file);
      assert.match(asset.headers.get("content-type"), /javascript|css|image|font/);
    }
  }
  const posted = await fetch(`${gw.url}/dashboard/x`, { method: "POST" });
  assert.deepEqual([posted.status, posted.headers.get("allow")], [405, "GET"]);
  const missing = await get("/dashboard/assets/app-0.js");
  assert.deepEqual([missing.status, missing.headers.get("cache-control")], [404, "no-store"]);
});

test("D13: a token becomes a cookie that no script reads and no other site sends", async () => {
  const answer = await signIn({ token: TOKEN });
  const [set] = answer.headers.getSetCookie();
  assert.match(set, /^tollgate=admin\.\.\d+\.\d+\.[\w-]{43}\.[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=28800$/);
  assert.ok(!set.includes(TOKEN));
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const { me } = (await answer.json()).result;
  assert.deepEqual([me.actor.kind, me.actor.account, me.accounts], ["admin", null, [ACCOUNT]]);
  const cookie = { cookie: cookieOf(answer) };
  assert.equal((await (await get("/dashboard/me", cookie)).json()).result.actor.kind, "admin");
  assert.equal((await gateways(cookie)).status, 200);
  // Behind any other name than this machine's, it is for HTTPS and this host alone.
  const outside = await gw.miniflare.dispatchFetch("https://gateway.example.com/dashboard/session", { method: "POST", headers: SAME, body: JSON.stringify({ token: TOKEN }) });
  assert.match(outside.headers.get("set-cookie"), /^__Host-tollgate=[^;]+; Path=\/; Secure; HttpOnly; SameSite=Strict; Max-Age=28800$/);
});

test("wrong tokens are all refused alike, and after ten in a minute nothing is looked at", async () => {
  const from = { ...SAME, "cf-connecting-ip": "203.0.113.9" };
  const seen = new Set();
  for (let n = 0; n < 10; n += 1) {
    const answer = await signIn(n % 2 ? { token: `tgt_${"x".repeat(43)}` } : { code: "1.2.3" }, from);
    assert.equal(answer.status, 401);
    seen.add(await answer.text());
  }
  assert.equal(seen.size, 1);
  const barred = await signIn({ token: TOKEN }, from);
  assert.equal(barred.status, 429);
  assert.ok(Number(barred.headers.get("retry-after")) > 0);
  assert.equal((await signIn({ token: TOKEN }, { ...SAME, "cf-connecting-ip": "203.0.113.10" })).status, 200);
  for (const body of ["", "{}", "[]", '{"token":5}', '{"token":"a","code":"b"}']) {
    const answer = await fetch(`${gw.url}/dashboard/session`, { method: "POST", headers: { ...SAME, "cf-connecting-ip": "203.0.113.11" }, body });
    assert.equal(answer.status, 400, body);
  }
  const foreign = await signIn({ token: TOKEN }, { "sec-fetch-site": "cross-site" });
  assert.equal(foreign.status, 403);
  const blind = await token(["run"]);
  assert.equal((await signIn({ token: blind.value })).status, 403);
});

test("a sign-in link works once, for minutes, and on this machine only", async () => {
  const outside = await gw.miniflare.dispatchFetch("https://gateway.example.com/dashboard/session", { method: "POST", headers: SAME, body: JSON.stringify({ code: signInCode(TOKEN) }) });
  assert.equal(outside.status, 401);
  const code = signInCode(TOKEN);
  const both = await Promise.all([signIn({ code }), signIn({ code })]);
  assert.deepEqual(both.map(({ status }) => status).sort(), [200, 401]);
  assert.equal((await signIn({ code })).status, 401);
  assert.equal((await signIn({ code: signInCode(TOKEN, Date.now() - 11 * 60_000) })).status, 401);
  assert.equal((await signIn({ code: signInCode("another admin token") })).status, 401);
});

test("D14: what another site has a browser send changes nothing", async () => {
  const { cookie } = await session(TOKEN);
  const create = (headers) => gateways({ cookie, ...headers }, { method: "POST", body: JSON.stringify({ id: "forged", collect_logs: true }) });
  for (const headers of [{}, { "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site" }, { origin: "null" }, { origin: "https://evil.example" }, { "sec-fetch-site": "none" }]) {
    const refused = await create(headers);
    assert.equal(refused.status, 403, JSON.stringify(headers));
    assert.match((await refused.json()).errors[0].message, /sec-fetch-site/);
  }
  assert.equal((await gw.api("/gateways/forged")).status, 404);
  assert.equal((await create(SAME)).status, 200);
  assert.equal((await fetch(`${gw.url}/dashboard/session`, { method: "DELETE", headers: { cookie, "sec-fetch-site": "cross-site" } })).status, 403);
  // A token in a header is sent by nobody but its owner.
  assert.equal((await gw.api("/gateways/forged", { method: "DELETE", headers: { "sec-fetch-site": "cross-site" } })).status, 200);
});

test("a cookie opens the control plane and never the data plane, by kind of endpoint", async () => {
  const { cookie } = await session(TOKEN);
  for (const [name, method, template, access] of routes) {
    if (access === "Open" || name === "Playground") continue;
    const path = template.replace(/\{(.*?)\}/g, (_, part) => ({ account: ACCOUNT, gateway: "gw", provider: "openai", "rest...": "models" })[part] ?? "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    if (name === "DeleteGateway") continue;
    const answer = await fetch(gw.url + path, { method: method === "*" ? "POST" : method, headers: { cookie, ...SAME }, body: ["PUT", "POST", "PATCH"].includes(method) ? '{"x":' : undefined });
    const what = `${name} ${answer.status} ${await answer.text()}`;
    if (access === "Gateway") assert.equal(answer.status, 401, what);
    else assert.ok(answer.status !== 401 && (answer.status !== 403 || name === "RefuseBilling"), what);
  }
  assert.equal((await gw.call("openai/models", { headers: { cookie, ...SAME } })).status, 401);
  // A wrong token is not made good by a cookie.
  assert.equal((await gateways({ cookie, authorization: "Bearer wrong" })).status, 401);
});

test("D15: a session ends with its token, with signing out and with another admin token", async () => {
  const made = await token(["read"]);
  const one = await session(made.value);
  assert.equal((await gateways(one)).status, 200);
  assert.equal((await gw.api(`/tokens/${made.id}`, { method: "DELETE" })).status, 200);
  assert.equal((await gateways(one)).status, 401);
  const rolled = await token(["read"]);
  const two = await session(rolled.value);
  await gw.api(`/tokens/${rolled.id}/roll`, { method: "POST" });
  assert.equal((await gateways(two)).status, 401);
  const brief = await token(["read"], { expires_at: new Date(Date.now() + 3_600_000).toISOString() });
  const three = await session(brief.value);
  assert.equal((await gateways(three)).status, 200);
  await gw.rows("UPDATE tokens SET expires_at = ? WHERE id = ?", Date.now() - 1, brief.id);
  await until(async () => (await gateways(three)).status === 401, "the token to expire");
  const four = await session(TOKEN);
  const out = await fetch(`${gw.url}/dashboard/session`, { method: "DELETE", headers: { ...four, ...SAME } });
  assert.equal(out.status, 204);
  assert.match(out.headers.get("set-cookie"), /^tollgate=; Path=\/; HttpOnly; SameSite=Strict; Max-Age=0$/);
  // A copy of the cookie proves nothing either.
  assert.equal((await gateways(four)).status, 401);
  for (const forged of ["tollgate=x", "tollgate=admin..1.9999999999999.x.x", `tollgate=${"a".repeat(5_000)}`]) assert.equal((await gateways({ cookie: forged })).status, 401);
});

test("D17: a token for one gateway sees one gateway, by its session too", async () => {
  const { value } = await token(["read"], { gateways: ["gw"] });
  const headers = await session(value);
  const me = (await (await get("/dashboard/me", headers)).json()).result;
  assert.deepEqual([me.actor.kind, me.actor.gateways, me.actor.permissions, me.accounts, me.features.playground], ["token", ["gw"], ["read"], [ACCOUNT], false]);
  assert.deepEqual((await (await gateways(headers)).json()).result.map(({ id }) => id), ["gw"]);
  assert.equal((await get(`/accounts/${ACCOUNT}/ai-gateway/gateways/other/logs`, headers)).status, 404);
  assert.equal((await get("/accounts/stranger/ai-gateway/gateways", headers)).status, 404);
});

test("read_metadata sees logs without what was asked and answered", async () => {
  const answer = await gw.call("openai/chat/completions", { json: { model: "gpt-4o", messages: [{ role: "user", content: "canary question" }] }, headers: { "cf-aig-authorization": TOKEN } });
  const log = await gw.logOf(answer);
  assert.ok(log.request_head.includes("canary question"));
  const { value } = await token(["read_metadata"]);
  const logs = `/accounts/${ACCOUNT}/ai-gateway/gateways/gw/logs`;
  for (const headers of [{ authorization: `Bearer ${value}` }, await session(value)]) {
    for (const path of [`${logs}/${log.id}`, logs, `${logs}/export`, `/accounts/${ACCOUNT}/ai-gateway/gateways`]) {
      const seen = await get(path, headers);
      const text = await seen.text();
      assert.deepEqual([seen.status, text.includes("canary")], [200, false], path);
    }
    for (const path of [`${logs}/${log.id}/request`, `${logs}/${log.id}/response`, `${logs}/export?bodies=true`, `${logs}/export?format=openai-finetune`]) {
      assert.equal((await get(path, headers)).status, 403, path);
    }
    assert.equal((await fetch(`${gw.url}${logs}/${log.id}`, { method: "PATCH", headers: { ...headers, ...SAME }, body: '{"feedback":1}' })).status, 403);
  }
});

test("the playground runs with stored keys only, for who may run, and leaves a log", async () => {
  const key = await gw.api("/gateways/gw/provider_configs", { method: "POST", body: JSON.stringify({ alias: "default", provider_slug: "openai", secret: "sk-stored-0123456789" }) });
  assert.equal(key.status, 200, await key.clone().text());
  const runner = await token(["read", "run"]);
  const { cookie } = await session(runner.value);
  const play = (headers, path = "openai/chat/completions") => fetch(`${gw.url}/dashboard/playground/${ACCOUNT}/gw/${path}`, { method: "POST", headers: { cookie, "content-type": "application/json", ...headers }, body: JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "hi" }] }) });
  const answer = await play({ ...SAME, "x-api-key": "sk-own", "openai-organization": "x" });
  assert.equal(answer.status, 200, await answer.clone().text());
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-stored-0123456789");
  for (const name of ["x-api-key", "cookie", "openai-organization"]) assert.equal(gw.upstream.last.headers[name], undefined, name);
  assert.equal((await gw.logOf(answer)).credential, "stored");
  assert.equal((await play({})).status, 403);
  assert.equal((await play({ "sec-fetch-site": "cross-site" })).status, 403);
  assert.equal((await play(SAME, "openai/chat/completions?api_key=sk-own")).status, 400);
  const reader = await session((await token(["read"])).value);
  assert.equal((await play({ ...SAME, ...reader })).status, 403);
  const elsewhere = await session((await token(["read", "run"], { gateways: ["other"] })).value);
  assert.equal((await play({ ...SAME, ...elsewhere })).status, 404);
});

test("a session is not handed to a provider, and a provider sets none", async () => {
  await gw.create("cookies", { provider_cookies: true });
  gw.upstream.next({ status: 200, body: "{}", headers: { "content-type": "application/json", "set-cookie": ["tollgate=evil; Path=/", "__Host-tollgate=evil; Path=/; Secure", "theirs=1"] } });
  const { cookie } = await session(TOKEN);
  const answer = await gw.call("openai/models", { gateway: "cookies", headers: { cookie: `${cookie}; mine=2` } });
  assert.deepEqual(answer.headers.getSetCookie(), ["theirs=1"]);
  assert.equal(gw.upstream.last.headers.cookie, "mine=2");
});

function assertion(claims = {}, head = {}, key = privateKey) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1_000);
  const text = `${part({ alg: "RS256", kid: "k1", typ: "JWT", ...head })}.${part({ iss: team, aud: ["aud1"], email: "bob@example.com", exp: now + 60, nbf: now - 60, ...claims })}`;
  if (key === "none") return `${text}.`;
  // The well-known mistake: the public key taken for a shared secret.
  if (key === "hmac") return `${text}.${createHmac("sha256", publicKey.export({ format: "pem", type: "spki" })).update(text).digest("base64url")}`;
  return `${text}.${signature("RSA-SHA256", Buffer.from(text), key).toString("base64url")}`;
}

test("D16: Access vouches for people by signed assertions only, and asks for keys once a minute at most", async () => {
  const by = (jwt, init) => gateways({ "cf-access-jwt-assertion": jwt, ...init?.headers }, init);
  assert.equal((await by(assertion())).status, 200);
  const me = (await (await get("/dashboard/me", { "cf-access-jwt-assertion": assertion() })).json()).result;
  assert.deepEqual([me.actor.kind, me.actor.name, me.actor.gateways, me.actor.permissions], ["access", "bob@example.com", ["gw"], ["read_metadata"]]);
  const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const now = Math.floor(Date.now() / 1_000);
  for (const [what, jwt] of Object.entries({
    forged: assertion({}, {}, stranger),
    "changed afterwards": assertion().replace(/\.[\w-]+\./, `.${Buffer.from(JSON.stringify({ iss: team, aud: ["aud1"], email: "ann@example.com", exp: now + 60 })).toString("base64url")}.`),
    expired: assertion({ exp: now - 3_600 }),
    "not yet valid": assertion({ nbf: now + 3_600 }),
    "for another application": assertion({ aud: ["aud2"] }),
    "of another team": assertion({ iss: "https://evil.cloudflareaccess.com" }),
    "of nobody with a role": assertion({ email: "bob@example.org" }),
    "without a signature": assertion({}, { alg: "none" }, "none"),
    "signed with the public key": assertion({}, { alg: "HS256" }, "hmac"),
    garbage: "x.y.z",
  })) {
    assert.equal((await by(jwt)).status, 401, what);
  }
  const before = jwksAsked;
  for (let n = 0; n < 30; n += 1) assert.equal((await by(assertion({}, { kid: `unknown${n}` }))).status, 401);
  assert.ok(jwksAsked - before <= 1, `${jwksAsked - before} times`);
  // The cookie of Access is sent by browsers on their own, so a change needs the page's word here, too.
  const admin = assertion({ email: "ann@example.com" });
  const create = (headers) => by(admin, { method: "POST", headers, body: JSON.stringify({ id: "by-ann", collect_logs: true }) });
  assert.equal((await create({})).status, 403);
  assert.equal((await create(SAME)).status, 200);
  const [row] = await gw.result("/audit?gateway=by-ann");
  assert.equal(row.actor, "access:ann@example.com");
  // It opens no gateway: that takes a token.
  assert.equal((await gw.call("openai/models", { headers: { "cf-access-jwt-assertion": admin } })).status, 401);
});

test("with DASHBOARD off there is neither page nor session", async () => {
  const off = await Gateway.start({ bindings: { DASHBOARD: "off" }, upstream: gw.upstream });
  try {
    for (const [method, path] of [["GET", "/dashboard"], ["GET", "/dashboard/x"], ["POST", "/dashboard/session"], ["GET", "/dashboard/me"]]) {
      const answer = await fetch(off.url + path, { method, body: method === "POST" ? JSON.stringify({ token: TOKEN }) : undefined });
      assert.equal(answer.status, 404, path);
    }
    const root = await fetch(off.url, { headers: { accept: "text/html" }, redirect: "manual" });
    assert.deepEqual([root.status, "dashboard" in (await root.json())], [200, false]);
    const { cookie } = await session(TOKEN);
    assert.equal((await fetch(`${off.url}/accounts/${ACCOUNT}/ai-gateway/gateways`, { headers: { cookie } })).status, 401);
  } finally {
    await off.miniflare.dispose();
  }
});
