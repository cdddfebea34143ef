// What the dashboard relies on beyond its pages: cookies of every age, Access while its keys cannot be had or change, exports, and a list that loads no bodies.
import assert from "node:assert/strict";
import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

const HOUR = 3_600_000;
const SAME = { "sec-fetch-site": "same-origin" };

let gw, team, keys, published, asked = 0;
const pair = () => generateKeyPairSync("rsa", { modulusLength: 2048 });
const [first, second] = [pair(), pair()];

before(async () => {
  published = { status: 503, keys: [] };
  keys = createServer((_, answer) => {
    asked += 1;
    answer.writeHead(published.status).end(JSON.stringify({ keys: published.keys }));
  });
  await new Promise((resolve) => keys.listen(0, "127.0.0.1", resolve));
  team = `http://127.0.0.1:${keys.address().port}`;
  gw = await Gateway.start({ bindings: { ACCESS_TEAM: team, ACCESS_AUD: "aud1", ACCESS_ROLES: JSON.stringify({ "@example.com": "admin" }) } });
  await gw.create("gw");
});
after(async () => {
  keys.close();
  await gw.stop(/access_keys_unreadable/);
});

const gateways = (headers, init) => fetch(`${gw.url}/accounts/${ACCOUNT}/ai-gateway/gateways`, { ...init, headers });
const base64url = (text) => Buffer.from(text).toString("base64url");

/** A cookie as the Worker makes it, of any age. */
function cookie(begun, until, { key = TOKEN, name = "tollgate", holder = "admin." } = {}) {
  const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
  const text = `${holder}.${begun}.${until}.${randomBytes(32).toString("base64url")}`;
  const mac = createHmac("sha256", sha256(sha256(key), "dashboard")).update(`session\n${text}`).digest("base64url");
  return { cookie: `${name}=${text}.${mac}` };
}

test("D13: a session slides for eight hours, and ends after seven days", async () => {
  const now = Date.now();
  const set = async (begun, until) => {
    const answer = await gateways(cookie(begun, until));
    return [answer.status, answer.headers.get("set-cookie")];
  };
  assert.deepEqual(await set(now, now + 8 * HOUR), [200, null]);
  const [status, renewed] = await set(now - 3 * HOUR, now + 5 * HOUR);
  assert.equal(status, 200);
  assert.match(renewed, /^tollgate=admin\.\.\d+\.\d+\.[\w-]+\.[\w-]+; Path=\/; HttpOnly; SameSite=Strict; Max-Age=28800$/);
  const [, , begun, until] = renewed.split(";")[0].split(".");
  assert.deepEqual([Number(begun), Number(until) >= now + 8 * HOUR], [now - 3 * HOUR, true]);
  assert.equal((await gateways({ cookie: renewed.split(";")[0] })).status, 200);
  for (const [what, ...times] of [["over", now - 9 * HOUR, now - 1], ["seven days old", now - 169 * HOUR, now + HOUR], ["never begun", now - 400 * HOUR, now + 8 * HOUR]]) assert.equal((await set(...times))[0], 401, what);
  // At the end of the seven days nothing is prolonged beyond them.
  const [, last] = await set(now - 165 * HOUR, now + HOUR);
  assert.ok(last === null || Number(last.split(".")[3]) <= now - 165 * HOUR + 168 * HOUR);
});

test("cookies of others prove nothing, and do not hide the right one", async () => {
  const now = Date.now();
  const right = cookie(now, now + HOUR).cookie;
  for (const wrong of [cookie(now, now + HOUR, { key: "another admin token" }), cookie(now, now + HOUR, { name: "__Host-tollgate" }), cookie(now, now + HOUR, { holder: `token.${"0".repeat(64)}` }), { cookie: right.replace("admin", "token") }, { cookie: `${right}x` }, { cookie: `x${right}` }]) {
    const answer = await gateways(wrong);
    assert.equal(answer.status, 401, wrong.cookie);
  }
  assert.equal((await gateways({ cookie: `tollgate=evil; ${right}; tollgate=` })).status, 200);
  // No other way of proving who one is takes a cookie's value.
  const value = right.slice("tollgate=".length);
  for (const headers of [{ authorization: `Bearer ${value}` }, { "cf-aig-authorization": value }, { "x-auth-key": value }]) assert.equal((await gateways(headers)).status, 401);
});

test("D14: every method that changes something needs the page's word, whatever the rest of the request says", async () => {
  const now = Date.now();
  const session = cookie(now, now + HOUR);
  const origin = new URL(gw.url).origin;
  const path = `${gw.url}/accounts/${ACCOUNT}/ai-gateway/gateways/gw`;
  for (const method of ["PUT", "DELETE", "POST", "PATCH"]) {
    for (const headers of [{}, { origin: "null" }, { "sec-fetch-site": "cross-site", origin }, { "sec-fetch-site": "same-site", origin }, { "sec-fetch-site": "none" }, { origin: `${origin}.evil.example` }, { referer: `${origin}/dashboard/` }]) {
      const target = method === "POST" ? `${path}/views` : method === "PATCH" ? `${path}/logs/x` : path;
      const answer = await fetch(target, { method, headers: { ...session, "content-type": "text/plain", ...headers }, body: "{}" });
      assert.equal(answer.status, 403, `${method} ${JSON.stringify(headers)}`);
    }
  }
  const put = (headers) => fetch(path, { method: "PUT", headers: { ...session, ...headers }, body: "{}" });
  assert.deepEqual([(await put(SAME)).status, (await put({ origin })).status], [200, 200]);
  // Looking changes nothing, so that addresses can be opened from elsewhere.
  for (const method of ["GET", "HEAD"]) assert.equal((await fetch(path, { method, headers: { ...session, "sec-fetch-site": "cross-site" } })).status, 200);
});

function assertion(key, kid) {
  const now = Math.floor(Date.now() / 1_000);
  const text = `${base64url(JSON.stringify({ alg: "RS256", kid }))}.${base64url(JSON.stringify({ iss: team, aud: ["aud1"], email: "ann@example.com", exp: now + 60, nbf: now - 60 }))}`;
  return { "cf-access-jwt-assertion": `${text}.${sign("RSA-SHA256", Buffer.from(text), key).toString("base64url")}` };
}

test("D16: without the team's keys Access lets no one in, and a token goes on to", async () => {
  const by = async (key, kid) => (await gateways(assertion(key, kid))).status;
  assert.equal(await by(first.privateKey, "k1"), 401);
  assert.ok(gw.output.some((line) => line.includes("access_keys_unreadable")));
  assert.equal(asked, 1);
  // The keys are there now, but are not asked for again within the minute: whatever was refused stays so.
  published = { status: 200, keys: [{ ...first.publicKey.export({ format: "jwk" }), kid: "k1" }] };
  assert.deepEqual([await by(first.privateKey, "k1"), asked], [401, 1]);
  assert.equal((await gateways({})).status, 401);
  assert.equal((await gateways({ authorization: `Bearer ${TOKEN}` })).status, 200);
  // A wrong token is not made good by an assertion.
  assert.equal((await gateways({ ...assertion(first.privateKey, "k1"), authorization: "Bearer wrong" })).status, 401);
});

test("D16: while Access replaces its key, both are good, and one id never means the other's key", async () => {
  const jwk = ({ publicKey }, kid) => ({ ...publicKey.export({ format: "jwk" }), kid, alg: "RS256" });
  published = { status: 200, keys: [jwk(first, "k1"), jwk(second, "k2")] };
  const fresh = await Gateway.start({ bindings: { ACCESS_TEAM: team, ACCESS_AUD: "aud1", ACCESS_ROLES: JSON.stringify({ "@example.com": "admin" }) }, upstream: gw.upstream });
  try {
    const by = async (key, kid) => (await fetch(`${fresh.url}/accounts/${ACCOUNT}/ai-gateway/gateways`, { headers: assertion(key, kid) })).status;
    assert.deepEqual([await by(first.privateKey, "k1"), await by(second.privateKey, "k2")], [200, 200]);
    assert.deepEqual([await by(first.privateKey, "k2"), await by(second.privateKey, "k1")], [401, 401]);
    // A key that decides what it is used for, or is no key, proves nothing.
    assert.equal(await by(first.privateKey, "k3"), 401);
  } finally {
    await fresh.miniflare.dispose();
  }
});

test("D29: an export is a file, and no cell of it is a formula", async () => {
  const formulas = ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", 'a,"b"\n=c'];
  for (const model of formulas) await (await gw.call("openai/chat/completions", { json: { model, messages: [{ role: "user", content: "q" }] }, headers: { "user-agent": model.replace(/[\t\n]/g, " ").trim() } })).text();
  const answer = await gw.api(`/gateways/gw/logs/export?format=csv&filters=${encodeURIComponent(JSON.stringify([{ key: "provider", operator: "eq", value: ["openai"] }]))}`);
  assert.deepEqual([answer.headers.get("content-type"), answer.headers.get("content-disposition"), answer.headers.get("x-content-type-options")], ["text/csv; charset=utf-8", 'attachment; filename="logs.csv"', "nosniff"]);
  const lines = parsed(await answer.text());
  const [head, ...rows] = lines;
  assert.ok(rows.length >= formulas.length);
  for (const row of rows) for (const [at, cell] of row.entries()) assert.ok(!/^[=+\-@\t\r]/.test(cell) || /^-?[\d.e-]+$/.test(cell), `${head[at]}: ${cell}`);
  assert.ok(rows.some((row) => row[head.indexOf("model")] === "'=1+1"));
  const json = await gw.api("/gateways/gw/logs/export");
  assert.deepEqual([json.headers.get("content-type"), json.headers.get("content-disposition")], ["application/x-ndjson", 'attachment; filename="logs.jsonl"']);
  assert.ok((await json.text()).trim().split("\n").every((line) => JSON.parse(line).id));
});

/** The cells of a CSV file (RFC 4180). */
function parsed(text) {
  const lines = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    lines.at(-1).push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === "\r\n") lines.push([]);
    if (end === "") break;
  }
  return lines.filter((line) => line.length > 1);
}

test("/openapi.json lies with the page's files: it is there without the dashboard, and where the binding is missing the answer names it", async () => {
  const off = await Gateway.start({ bindings: { DASHBOARD: "off" } });
  const given = await fetch(`${off.url}/openapi.json`);
  const text = await given.text();
  assert.deepEqual([given.status, given.headers.get("content-type")], [200, "application/json"]);
  assert.equal(given.headers.get("x-content-type-options"), (await fetch(`${off.url}/health`)).headers.get("x-content-type-options"));
  assert.ok(JSON.parse(text).paths["/openapi.json"]);
  await off.stop();
  const bare = await Gateway.start({ worker: { serviceBindings: {} } });
  const missing = await fetch(`${bare.url}/openapi.json`);
  const { errors } = await missing.json();
  assert.equal(missing.status, 503);
  assert.match(errors[0].message, /^The description of the API is not there: the Worker has no binding ASSETS; see wrangler.toml/);
  assert.equal((await fetch(`${bare.url}/health`)).status, 200);
  await bare.stop();
});

test("D1: body routes, exports and conversations of pages and pictures are never pages themselves", async () => {
  for (const type of ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml"]) {
    gw.upstream.next({ headers: { "content-type": type }, body: "<html xmlns='http://www.w3.org/1999/xhtml'><script>fetch('/dashboard/me')</script></html>" });
    const log = await gw.logOf(await gw.call("openai/page"));
    for (const path of [`/logs/${log.id}/response`, `/logs/${log.id}/conversation`, `/logs/${log.id}`, "/logs/export?bodies=true", "/logs/export?format=csv&bodies=true"]) {
      const answer = await gw.api(`/gateways/gw${path}`, { headers: { accept: "text/html" } });
      if (answer.status === 404) continue;
      assert.match(answer.headers.get("content-type"), /^(text\/plain|application\/json|application\/x-ndjson|text\/csv)/, `${type} ${path}`);
      assert.ok(path.includes("export") || path.endsWith("response") ? answer.headers.get("x-content-type-options") === "nosniff" : true, path);
      await answer.arrayBuffer();
    }
  }
});
