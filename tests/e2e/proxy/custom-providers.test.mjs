// Providers that an account adds: the resource, requests to them, and the hosts they must not lead to.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Upstream } from "../../upstream.mjs";
import { ACCOUNT, Gateway, TOKEN, raw, until } from "../harness.mjs";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };
const SECRET = "Bearer sk-CANARY0123456789abcdef";
const AS_ADMIN = { "cf-aig-authorization": `Bearer ${TOKEN}` };

/** Stands for everything outside of this machine: says what it was sent. Loopback is reached as ever. */
const OUTSIDE = {
  name: "outside",
  modules: [
    {
      type: "ESModule",
      path: "outside.mjs",
      contents: `export default { async fetch(request) {
        if (new URL(request.url).hostname === "127.0.0.1") return fetch(request);
        return Response.json({ outside: request.url, authorization: request.headers.get("authorization") });
      } }`,
    },
  ],
  compatibilityDate: "2026-01-01",
};

let gw, guarded, elsewhere;
before(async () => {
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  guarded = await Gateway.start({ upstream: gw.upstream, others: [OUTSIDE], outbound: "outside" });
  elsewhere = await Upstream.start();
  for (const gateway of [gw, guarded]) await gateway.create("gw");
});
after(async () => {
  await elsewhere.stop();
  await guarded.miniflare.dispose();
  assert.deepEqual(guarded.output, []);
  await gw.stop();
});

async function send(gateway, method, path, body) {
  const answer = await gateway.api(`/custom-providers${path}`, { method, body: body && JSON.stringify(body) });
  return { status: answer.status, ...(await answer.json()) };
}

/** Makes a provider that leads to the stand-in for OpenAI. */
async function make(slug, fields, gateway = gw) {
  const made = await send(gateway, "POST", "", { name: slug, slug, base_url: `${gw.upstream.origin}/openai/v1`, enable: true, ...fields });
  assert.equal(made.status, 200, JSON.stringify(made.errors));
  return made.result;
}

async function refusal(answer, reason) {
  const body = await answer.json();
  assert.deepEqual([answer.status, body.internalCode, body.message], [400, 2008, "Invalid provider"]);
  assert.match(body.description, reason);
}

test("a request goes to the base URL with what follows the provider, and is logged as its provider's", async () => {
  await make("acme", { headers: JSON.stringify({ "X-Team": "search" }) });
  const answer = await gw.call("custom-acme/chat/completions?api-version=1", { json: CHAT });
  assert.equal(answer.status, 200);
  const body = await answer.json();
  const { last } = gw.upstream;
  assert.deepEqual([last.method, last.url, last.headers["x-team"], JSON.parse(last.body)], ["POST", "/v1/chat/completions?api-version=1", "search", CHAT]);
  const log = await gw.logOf(answer);
  assert.deepEqual([log.provider, log.path, log.status_code, log.success, log.response_id, log.tokens_in], ["custom-acme", "chat/completions?api-version=1", 200, true, body.id, body.usage.prompt_tokens]);
  // No rule says what it costs.
  assert.deepEqual([log.cost, log.price_rule], [null, null]);
  const streamed = await gw.call("custom-acme/chat/completions", { json: { ...CHAT, stream: true } });
  assert.match(await streamed.text(), /\[DONE\]/);
  assert.equal((await gw.logOf(streamed)).success, true);
  assert.equal(await gw.result("/gateways/gw/url/custom-acme"), `${gw.url}/v1/${ACCOUNT}/gw/custom-acme`);
  assert.equal((await gw.api("/gateways/gw/url/custom-nothing")).status, 404);
});

test("a disabled provider, an unknown one and one of another account are refused, and the log says why", async () => {
  const { id } = await make("switched", { enable: undefined });
  for (const [provider, reason] of [["custom-switched", /disabled/], ["custom-nothing", /no custom provider/], ["custom-", /no custom provider/]]) {
    const before = gw.upstream.requests.length;
    const answer = await gw.call(`${provider}/chat/completions`, { json: CHAT });
    await refusal(answer, reason);
    assert.equal(gw.upstream.requests.length, before);
    assert.match((await gw.logOf(answer)).error, /^gateway: /);
  }
  // A change holds at once in the isolate that made it.
  await send(gw, "PATCH", `/${id}`, { enable: true });
  assert.equal((await gw.call("custom-switched/models")).status, 200);
  await gw.api("/gateways", { method: "POST", account: "other", body: JSON.stringify({ id: "gw", collect_logs: true }) });
  await refusal(await fetch(`${gw.url}/v1/other/gw/custom-switched/models`), /no custom provider/);
  await send(gw, "DELETE", `/${id}`);
  await refusal(await gw.call("custom-switched/models"), /no custom provider/);
});

test("an answer that was kept is not given any more when its provider has changed", async () => {
  await gw.create("kept", { cache_ttl: 600 });
  const { id } = await make("cached");
  const call = async () => {
    const answer = await gw.call("custom-cached/chat/completions", { gateway: "kept", json: CHAT, headers: AS_ADMIN });
    await answer.arrayBuffer();
    return answer.headers.get("cf-aig-cache-status");
  };
  assert.equal(await call(), "MISS");
  await until(async () => (await call()) === "HIT", "the kept answer");
  await send(gw, "PATCH", `/${id}`, { headers: '{"x-team":"ads"}' });
  assert.equal(await call(), "MISS");
});

test("a universal request falls back from and to custom providers", async () => {
  await make("first", { enable: false });
  await make("second");
  const element = (provider) => ({ provider, endpoint: "chat/completions", headers: { "content-type": "application/json" }, query: CHAT });
  const answer = await gw.call("", { method: "POST", body: JSON.stringify([element("custom-first"), element("custom-second")]), headers: {} });
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step")], [200, "1"]);
  assert.equal((await gw.logOf(answer)).provider, "custom-second");
});

test("the credential in a provider's headers goes with callers who proved themselves and bring none", async () => {
  const { id } = await make("keyed", { headers: JSON.stringify({ authorization: SECRET, "x-team": "ads" }) });
  const sent = async (headers) => {
    const answer = await gw.call("custom-keyed/chat/completions", { json: CHAT, headers });
    assert.equal(answer.status, 200);
    const { authorization, "x-api-key": key, "x-team": team } = gw.upstream.last.headers;
    assert.equal(team, "ads");
    return [authorization, key, (await gw.logOf(answer)).credential];
  };
  assert.deepEqual(await sent(AS_ADMIN), [SECRET, undefined, "operator"]);
  assert.deepEqual(await sent({}), [undefined, undefined, "none"]);
  assert.deepEqual(await sent({ ...AS_ADMIN, authorization: "Bearer own" }), ["Bearer own", undefined, "request"]);
  assert.deepEqual(await sent({ ...AS_ADMIN, "x-api-key": "own" }), [undefined, "own", "request"]);

  // It is shown nowhere, and stays when the mask comes back.
  const shown = await gw.result(`/custom-providers/${id}`);
  assert.equal(shown.headers, '{"authorization":"***","x-team":"ads"}');
  await send(gw, "PATCH", `/${id}`, { ...shown, name: "renamed" });
  assert.deepEqual((await sent(AS_ADMIN))[0], SECRET);
  const tables = await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'");
  for (const { name } of tables) {
    const rows = JSON.stringify(await gw.rows(`SELECT * FROM ${name}`));
    assert.equal(rows.includes("CANARY"), name === "custom_providers", name);
  }

  // Another host does not get it: neither by changing the URL alone, nor with the mask.
  const moved = { base_url: `${elsewhere.origin}/openai/v1` };
  const refused = await send(gw, "PATCH", `/${id}`, { ...moved, headers: shown.headers });
  assert.deepEqual([refused.status, refused.errors[0].path], [400, ["body", "headers"]]);
  await send(gw, "PATCH", `/${id}`, moved);
  await (await gw.call("custom-keyed/chat/completions", { json: CHAT, headers: AS_ADMIN })).arrayBuffer();
  assert.deepEqual([elsewhere.last.headers.authorization, elsewhere.last.headers["x-team"]], [undefined, "ads"]);
});

test("no path, query, header or body leads to another host", async () => {
  await make("fixed");
  const host = new URL(gw.upstream.origin).host;
  const away = new URL(elsewhere.origin).host;
  const before = elsewhere.requests.length;
  const base = `${gw.url}/v1/${ACCOUNT}/gw/custom-fixed`;
  const reached = [`//${away}/x`, `/@${away}/x`, `/http://${away}/x`, `/:@${away}`, `/x;${away}`, `/%40${away}`, `/x?u=http://${away}`, `/x?@${away}/#`, `/models//x`, `/x%3f`];
  const stopped = ["/../x", "/%2e%2e/x", "/a/..%2f..%2fx", "/%2E%2E%5Cx", "/a%0d%0ahost:%20x", "/x%00"];
  for (const path of [...reached, ...stopped]) {
    const count = gw.upstream.requests.length;
    const answer = await raw(base + path, { method: "POST", body: JSON.stringify({ api_base: elsewhere.origin, base_url: elsewhere.origin, custom_host: elsewhere.origin, provider: "openai" }), headers: { "content-type": "application/json", "x-forwarded-host": away, "x-portkey-custom-host": elsewhere.origin, "cf-aig-base-url": elsewhere.origin } });
    const isSent = gw.upstream.requests.length > count;
    assert.ok(isSent || [400, 404].includes(answer.status), `${path}: ${answer.status}`);
    if (reached.includes(path)) assert.ok(isSent, path);
    if (isSent) assert.equal(gw.upstream.last.headers.host, host, path);
    if (isSent) assert.equal(gw.upstream.last.headers["x-forwarded-host"], undefined);
  }
  // A provider that redirects is passed on, not followed.
  gw.upstream.next({ status: 302, headers: { location: `${elsewhere.origin}/openai/v1/x` } });
  const answer = await gw.call("custom-fixed/x", { headers: AS_ADMIN });
  assert.equal(answer.status, 302);
  assert.equal(elsewhere.requests.length, before);
});

test("only hosts that lead to public addresses are stored", async () => {
  const { names } = gw.upstream;
  Object.assign(names, {
    "api.public.example": ["8.8.8.8", "2606:4700::1111"], "half.example": ["8.8.8.8", "10.0.0.1"], "six.example": ["8.8.8.8", "::ffff:169.254.169.254"], "nat.example": ["64:ff9b::a00:1"], "loop.example": ["127.0.0.1"],
  });
  const offered = (base_url) => send(guarded, "POST", "", { name: "x", slug: "tried", base_url });
  for (const [base_url, reason] of [
    ["http://api.public.example", /must be a valid HTTPS URL starting with https:\/\//], ["https://half.example", /internal address/], ["https://six.example/v1", /internal address/], ["https://nat.example", /internal/], ["https://loop.example", /internal/],
    ["https://nowhere.example", /no address/], ["https://127.0.0.1", /internal/], ["https://2130706433", /internal/], ["https://0x7f.1", /internal/], ["https://0177.0.0.1", /internal/], ["https://[::1]", /internal/], ["https://[::ffff:10.0.0.1]", /internal/],
    ["https://169.254.169.254/latest", /internal/], ["https://100.64.0.1", /internal/], ["https://metadata.google.internal", /internal/], ["https://localhost:8443", /internal/], ["https://printer.local", /internal/], ["https://router", /internal/],
    ["https://user@api.public.example", /no user/], ["https://api.public.example#x", /no user/], ["https://api.public.example\\@127.0.0.1", /no user/], ["https://127.0.0.1%2eexample.com", /name a host/],
  ]) {
    const { status, errors } = await offered(base_url);
    assert.deepEqual([status, errors[0].code, errors[0].path], [400, 1002, ["body", "base_url"]], base_url);
    assert.match(errors[0].message, reason, base_url);
  }
  names.down = true;
  const blind = await offered("https://api.public.example");
  assert.equal(blind.status, 400);
  assert.match(blind.errors[0].message, /resolver \(DNS_OVER_HTTPS_URL\) failed/);
  names.down = false;
  assert.equal((await offered("https://api.public.example")).status, 200);
  // A token that may not store a provider does not get a name looked up either.
  const { value } = (await (await guarded.api("/tokens", { method: "POST", body: JSON.stringify({ name: "e", permissions: ["edit"] }) })).json()).result;
  const refused = await fetch(`${guarded.url}/accounts/${ACCOUNT}/ai-gateway/custom-providers`, { method: "POST", headers: { authorization: `Bearer ${value}` }, body: JSON.stringify({ name: "x", slug: "y", base_url: "https://asked.example" }) });
  assert.equal(refused.status, 403);
  assert.ok(!gw.upstream.lookups.includes("asked.example"));
});

test("a name is looked up again when it is used", async () => {
  const { names, lookups } = gw.upstream;
  const hosts = ["steady", "rebound", "gone", "blind"].map((name) => `${name}.example`);
  for (const host of hosts) names[host] = ["8.8.8.8"];
  const headers = JSON.stringify({ authorization: SECRET });
  for (const host of hosts) await make(host.split(".")[0], { base_url: `https://${host}/v1`, headers }, guarded);
  const steady = () => guarded.call("custom-steady/models?a=1", { headers: AS_ADMIN });
  assert.deepEqual(await (await steady()).json(), { outside: "https://steady.example/v1/models?a=1", authorization: SECRET });
  const asked = lookups.filter((name) => name === "steady.example").length;
  assert.equal((await steady()).status, 200);
  assert.equal(lookups.filter((name) => name === "steady.example").length, asked, "the second request asked again");
  // Rebound between being stored and being used.
  names["rebound.example"] = ["8.8.8.8", "169.254.169.254"];
  const rebound = await guarded.call("custom-rebound/models", { headers: AS_ADMIN });
  assert.match((await guarded.logOf(rebound)).error, /^gateway: .*internal address/);
  await refusal(rebound, /leads to an internal address/);
  delete names["gone.example"];
  await refusal(await guarded.call("custom-gone/models", { headers: AS_ADMIN }), /no address/);
  // Without a resolver what was found when it was stored holds.
  names.down = true;
  assert.equal((await guarded.call("custom-blind/models", { headers: AS_ADMIN })).status, 200);
  names.down = false;
});

test("what was stored while the operator allowed internal hosts does not outlive the permission", async () => {
  const insert = "INSERT INTO custom_providers (id, account_id, slug, name, base_url, headers, checked, enable, beta, about, created_at, modified_at) VALUES (?1, ?2, ?1, 'x', ?3, '{}', 0, 1, 0, '{}', 0, 0)";
  const count = gw.upstream.requests.length;
  for (const [slug, base_url] of [["plain", `${gw.upstream.origin}/openai/v1`], ["literal", "https://127.0.0.1"], ["inner", "https://x.internal"], ["unseen", "https://unseen.example"]]) {
    await guarded.rows(insert, slug, ACCOUNT, base_url);
  }
  // Whatever is changed makes the isolate read anew.
  await make("renewed", { base_url: "https://steady.example" }, guarded);
  gw.upstream.names.down = true;
  for (const slug of ["plain", "literal", "inner", "unseen"]) await refusal(await guarded.call(`custom-${slug}/models`, { headers: AS_ADMIN }), /ALLOW_INTERNAL_UPSTREAMS|addresses are unknown/);
  gw.upstream.names.down = false;
  assert.equal(gw.upstream.requests.length, count);
});
