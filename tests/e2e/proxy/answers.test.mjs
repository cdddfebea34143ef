// What a provider's answer, or a stored body, may be to a browser: neither a page of the gateway's origin nor a script of it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, TOKEN, raw, until } from "../harness.mjs";

const OURS = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const SANDBOX = ["nosniff", "sandbox; default-src 'none'", "DENY"];
const GUARDS = ["x-content-type-options", "content-security-policy", "x-frame-options"];
const PAGE = "<script>alert(document.domain)</script>";
const url = (path, gateway = "gw") => `${gw.url}/v1/acct/${gateway}/${path}`;

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  await gw.create("cookies", { provider_cookies: true });
});
after(() => gw.stop());

const guards = ({ headers }) => GUARDS.map((name) => headers[name]);

async function answered(behaviour, { path = "openai/x", gateway, ...init } = {}) {
  gw.upstream.next(behaviour);
  return raw(url(path, gateway), init);
}

test("what a browser could show or run is in a sandbox, and its bytes are the provider's", async () => {
  for (const type of ["text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/atom+xml", "application/pdf", "text/javascript", "application/ecmascript", "multipart/x-mixed-replace;boundary=x", "nonsense", "application/json, text/html", undefined]) {
    for (const [status, more] of [[200, {}], [404, {}], [200, { chunked: true }], [500, { gzip: true }]]) {
      const theirs = { "content-security-policy": "default-src *", "x-frame-options": "ALLOWALL", "x-content-type-options": "sniff", ...(type && { "content-type": type }) };
      const answer = await answered({ status, body: PAGE, headers: theirs, ...more });
      assert.deepEqual([answer.status, answer.headers["content-type"], guards(answer)], [status, type, SANDBOX], `${type} ${status}`);
      if (!more.gzip) assert.equal(answer.body.toString(), PAGE);
      assert.equal((await gw.logOf(answer)).status_code, status);
    }
  }
  for (const type of ["application/json", "text/event-stream", "text/plain; charset=utf-8", "audio/mpeg", "image/png", "application/vnd.amazon.eventstream"]) {
    const answer = await answered({ body: "x", headers: { "content-type": type, link: '<y>; rel="next"' } });
    assert.deepEqual([guards(answer), answer.headers.link], [["nosniff", undefined, undefined], '<y>; rel="next"'], type);
  }
});

test("a browser that navigates, or wants a worker's script, gets nothing that runs", async () => {
  for (const headers of [{ "sec-fetch-mode": "navigate" }, ...["document", "iframe", "frame", "embed", "object", "serviceworker", "sharedworker"].map((dest) => ({ "sec-fetch-dest": dest })), { "service-worker": "script" }]) {
    const answer = await answered({ body: "{}", headers: { "content-type": "application/json" } }, { headers });
    assert.deepEqual([answer.status, guards(answer)], [200, SANDBOX], JSON.stringify(headers));
    assert.ok(!Object.keys(gw.upstream.last.headers).some((name) => name.startsWith("sec-fetch-mode") && gw.upstream.last.headers[name] === "navigate"));
  }
  // What SDKs send is no navigation.
  assert.deepEqual(guards(await answered({ body: "{}", headers: { "content-type": "application/json" } }, { headers: { "sec-fetch-mode": "cors" } })), ["nosniff", undefined, undefined]);
  // A form of another site can post to the universal endpoint.
  const elements = JSON.stringify([{ provider: "openai", endpoint: "x", query: {} }]);
  gw.upstream.next({ body: "{}", headers: { "content-type": "application/json" } });
  const posted = await raw(`${gw.url}/v1/acct/gw`, { method: "POST", body: elements, headers: { "content-type": "text/plain", "sec-fetch-mode": "navigate" } });
  assert.deepEqual([posted.status, guards(posted)], [200, SANDBOX]);
});

test("HEAD, kept answers, refused WebSockets and refusals are guarded as well", async () => {
  const html = { "content-type": "text/html", "service-worker-allowed": "/" };
  const head = await answered({ body: PAGE, headers: html }, { method: "HEAD" });
  assert.deepEqual([head.status, guards(head), head.headers["service-worker-allowed"]], [200, SANDBOX, undefined]);
  const init = { method: "POST", body: '{"model":"m"}', headers: { "content-type": "application/json", "cf-aig-cache-ttl": "60" } };
  gw.upstream.next({ body: PAGE, headers: html });
  let kept;
  await until(async () => (kept = await raw(url("openai/page"), init)).headers["cf-aig-cache-status"] === "HIT", "a kept answer");
  assert.deepEqual([kept.body.toString(), guards(kept), kept.headers["service-worker-allowed"]], [PAGE, SANDBOX, undefined]);
  gw.upstream.refuse = { status: 403, body: PAGE };
  const upgrade = { upgrade: "websocket", connection: "Upgrade", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13" };
  const socket = await raw(url("openai/realtime"), { headers: { ...upgrade, "sec-fetch-mode": "websocket" } });
  gw.upstream.refuse = undefined;
  assert.deepEqual([socket.status, socket.body.toString(), guards(socket)[0]], [403, PAGE, "nosniff"]);
  for (const path of [url("nothing/x"), url("x", "unknown"), `${gw.url}/v1/x`, `${gw.url}/nothing`]) {
    assert.deepEqual(guards(await raw(path, { headers: { "sec-fetch-mode": "navigate" } })), SANDBOX, path);
  }
});

test("a provider says nothing about the gateway's origin", async () => {
  const dropped = ["service-worker-allowed", "clear-site-data", "refresh", "strict-transport-security", "alt-svc", "nel", "report-to", "reporting-endpoints", "www-authenticate", "set-cookie2", "public-key-pins", "accept-ch", "critical-ch", "origin-agent-cluster", "cross-origin-opener-policy", "content-security-policy-report-only", "sourcemap", "referrer-policy", "permissions-policy"];
  const theirs = Object.fromEntries(dropped.map((name) => [name, "x"]));
  for (const [status, type] of [[200, "application/json"], [401, "application/json"], [200, "text/event-stream"], [200, "audio/mpeg"], [302, "text/plain"]]) {
    const answer = await answered({ status, body: "{}", headers: { ...theirs, "content-type": type, "x-own": "kept", "retry-after": "3", location: "/x" } });
    assert.deepEqual(dropped.filter((name) => answer.headers[name] !== undefined), [], `${status} ${type}`);
    assert.deepEqual([answer.status, answer.headers["x-own"], answer.headers["retry-after"], answer.headers.location], [status, "kept", "3", "/x"]);
  }
});

test("cookies pass only where the gateway's setting lets them, and never with a name of ours", async () => {
  const set = ["a=1; Path=/; HttpOnly", "tollgate_session=evil; Path=/", "__Host-Tollgate=evil; Path=/; Secure", "=tollgate_session=evil", "b=2"];
  const behaviour = { body: "{}", headers: { "content-type": "application/json", "set-cookie": set } };
  const headers = { cookie: "a=1; tollgate_session=secret; b=2" };
  assert.equal((await answered(behaviour, { headers })).headers["set-cookie"], undefined);
  assert.equal(gw.upstream.last.headers.cookie, undefined);
  assert.deepEqual((await answered(behaviour, { headers, gateway: "cookies" })).headers["set-cookie"], ["a=1; Path=/; HttpOnly", "b=2"]);
  assert.equal(gw.upstream.last.headers.cookie, "a=1; b=2");
  await answered(behaviour, { headers: { cookie: `a=1; t=${TOKEN}; b=2` }, gateway: "cookies" });
  assert.ok(!JSON.stringify(gw.upstream.last.headers).includes(TOKEN));
  const plain = { body: "{}", headers: { "content-type": "application/json", "set-cookie": ["a=1", "b=2"] } };
  assert.deepEqual((await answered(plain, { gateway: "cookies" })).headers["set-cookie"], ["a=1", "b=2"]);
});

test("stored bodies, exports and documents are no pages", async () => {
  const answer = await answered({ body: PAGE, headers: { "content-type": "text/html" } }, { method: "POST", body: PAGE, headers: { "content-type": "text/html" } });
  const { id } = await gw.logOf(answer);
  const base = `${gw.url}/accounts/acct/ai-gateway/gateways/gw`;
  for (const path of [`${base}/logs/${id}/request`, `${base}/logs/${id}/response`, `${base}/logs/export`, `${base}/logs/export?limit=1`, `${base}/logs/${id}`, `${base}/logs/none`, `${gw.url}/openapi.json`, `${gw.url}/health`]) {
    for (const method of ["GET", "HEAD"]) {
      const stored = await raw(path, { method, headers: { authorization: `Bearer ${TOKEN}` } });
      assert.deepEqual(guards(stored), SANDBOX, path);
      if (path.endsWith("/request") && method === "GET") assert.deepEqual([stored.body.toString(), stored.headers["content-type"]], [PAGE, "text/plain; charset=utf-8"]);
    }
  }
});

test("what speaks of the client's network, or of another site, stays here", async () => {
  const theirs = ["origin", "referer", "via", "x-client-ip", "fastly-client-ip", "x-cluster-client-ip", "fly-client-ip", "x-forwarded-host", "forwarded", "x-real-ip", "true-client-ip", "x-original-url", "x-vercel-ip-city", "x-appengine-city", "x-envoy-external-address", "do-connecting-ip", "cdn-loop", "x-azure-clientip", "sec-fetch-site", "sec-fetch-dest"];
  const headers = { ...Object.fromEntries(theirs.map((name) => [name, "https://elsewhere.example"])), cookie: "a=b", "http-referer": "https://app.example", "user-agent": "sdk/1", "x-stainless-lang": "js" };
  await answered({ body: "{}", headers: { "content-type": "application/json" } }, { headers });
  const seen = gw.upstream.last.headers;
  assert.deepEqual([...theirs, "cookie"].filter((name) => seen[name] !== undefined), []);
  assert.deepEqual([seen["http-referer"], seen["user-agent"], seen["x-stainless-lang"]], ["https://app.example", "sdk/1", "js"]);
});

test("what looks like a token of ours goes to no provider, however it is spelled", async () => {
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "run", permissions: ["run"] }) });
  const own = (await made.json()).result.value;
  assert.match(own, /^tgt_/);
  for (const token of [own, TOKEN]) {
    const basic = Buffer.from(`user:${token}`).toString("base64");
    const encoded = [...token].map((char) => `%${char.charCodeAt(0).toString(16)}`).join("");
    const places = [
      ...["Bearer Bearer ", "Bearer\t", "ApiKey ", "Token ", "bearer  ", ""].map((scheme) => ({ authorization: `${scheme}${token}` })),
      { authorization: `Bearer "${token}"` },
      { authorization: `Bearer '${token}' ` },
      { authorization: [`Bearer sk-mine-0123456789`, `Bearer ${token}`] },
      { authorization: `Bearer sk-mine-0123456789, Bearer ${token}` },
      { authorization: `Basic ${basic}` },
      { "x-auth-key": token },
      { cookie: `session=${token}` },
      { "x-anything": `see https://user:${token}@host/` },
      { "x-anything": encoded },
      { "sec-websocket-protocol": `realtime, openai-insecure-api-key.${token}` },
    ];
    for (const headers of places) {
      const answer = await answered({ body: "{}", headers: { "content-type": "application/json" } }, { headers: { ...OURS, ...headers } });
      assert.equal(answer.status, 200, JSON.stringify(headers));
      const seen = decodeURIComponent(JSON.stringify(gw.upstream.last.headers));
      assert.ok(!seen.includes(token) && !seen.includes(basic), seen);
    }
    for (const query of [`api-key=${token}`, `key=${token}`, `a=b%20${token}`, `x=${encoded}`, `${token}`, `redirect=https%3A%2F%2Fx%3Fk%3D${token}`]) {
      await answered({ body: "{}", headers: { "content-type": "application/json" } }, { path: `openai/x?tgt_lang=de&${query}&z=1`, headers: OURS });
      assert.equal(gw.upstream.last.url, "/v1/x?tgt_lang=de&z=1", query);
    }
    for (const path of [`openai/${token}/x`, `openai/x/${encoded}`]) {
      const before = gw.upstream.requests.length;
      const refused = await raw(url(path), { headers: OURS });
      assert.deepEqual([refused.status, gw.upstream.requests.length], [400, before]);
      assert.match(JSON.parse(refused.body).description, /Tollgate token/);
    }
    // A universal request brings headers of its own.
    gw.upstream.next({ body: "{}", headers: { "content-type": "application/json" } });
    const elements = [{ provider: "openai", endpoint: `x?a=${token}`, headers: { "x-own": `a ${token}`, authorization: `Bearer\t${token}` }, query: {} }];
    await raw(`${gw.url}/v1/acct/gw`, { method: "POST", body: JSON.stringify(elements), headers: OURS });
    assert.ok(!JSON.stringify(gw.upstream.last.headers).includes(token) && gw.upstream.last.url === "/v1/x");
  }
  const rows = JSON.stringify([await gw.rows("SELECT * FROM logs"), await gw.rows("SELECT * FROM log_bodies"), await gw.rows("SELECT content FROM body_pieces")]);
  assert.ok(!rows.includes(own) && !rows.includes(TOKEN));
});
