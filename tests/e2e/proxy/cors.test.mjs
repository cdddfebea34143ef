// What a browser does before it lets a page have an answer, done by HTTP: preflight, request, refusal, stream. The same under a
// real browser is in browser.test.mjs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";
import { WebSocketClient } from "./cors-socket.mjs";

const PAGE = "https://app.example.com";
const FOREIGN = "https://evil.example";
const CHAT = { model: "gpt-4o", messages: [] };

let gw, runs;
const post = async (path, body) => {
  const answer = await gw.api(path, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
};
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  await gw.create("open", { cors: { origins: [PAGE, "http://localhost:3000"], max_age: 60 } });
  await gw.create("locked", { authentication: true, cors: { origins: [PAGE] } });
  await gw.create("any", { cors: { origins: ["*"], max_age: 0 } });
  runs = (await post("/tokens", { name: "page", permissions: ["run"] })).value;
});
after(() => gw.stop());

/** The header of CORS, without what else an answer has. */
function cors(answer) {
  const names = [...answer.headers.keys()].filter((name) => name.startsWith("access-control-"));
  return Object.fromEntries(names.map((name) => [name.replace("access-control-", ""), answer.headers.get(name)]));
}

function preflight(path, { origin = PAGE, method = "POST", headers = "authorization,content-type", more = {} } = {}) {
  const asked = { origin, "access-control-request-method": method, ...(headers && { "access-control-request-headers": headers }) };
  return fetch(`${gw.url}${path}`, { method: "OPTIONS", headers: { ...asked, ...more } });
}

const v1 = (gateway, path) => `/v1/${ACCOUNT}/${gateway}${path}`;
const PATHS = ["", "/", "/openai/chat/completions", "/openai/v1/chat/completions", "/compat/chat/completions", "/anthropic/v1/messages", "/nothing/at/all", "/google-ai-studio/v1beta/models/gemini:streamGenerateContent"];

test("a preflight is granted to the origins of the setting, on every path of the data plane, with and without a token", async () => {
  const headers = "x-stainless-lang,x-stainless-retry-count,anthropic-version,anthropic-dangerous-direct-browser-access,cf-aig-metadata,x-goog-api-key,openai-beta,x-whatever-comes-next";
  for (const gateway of ["open", "locked"]) {
    for (const path of PATHS) {
      const before = gw.upstream.requests.length;
      const answer = await preflight(v1(gateway, path), { headers });
      assert.equal(answer.status, 204, path);
      const { "allow-origin": origin, "allow-headers": names, "allow-methods": methods, "max-age": age, ...others } = cors(answer);
      assert.deepEqual([origin, age, others], [PAGE, gateway === "open" ? "60" : "600", {}]);
      assert.deepEqual(names.split(", "), headers.split(","));
      assert.ok(methods.includes("POST"));
      assert.match(answer.headers.get("vary"), /origin/i);
      // It is not for the provider to say.
      assert.equal(gw.upstream.requests.length, before);
    }
  }
  const { "allow-methods": methods } = cors(await preflight(v1("open", "/openai/files/f"), { method: "DELETE" }));
  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) assert.ok(methods.includes(method));
});

test("what is no name of a header is not granted, and cookies never are", async () => {
  assert.equal(cors(await preflight(v1("open", "/openai/models"), { headers: "authorization, cookie, x-a" }))["allow-headers"], "authorization, x-a");
  for (const headers of ["a b", "a,b:c", "", "cookie", "x".repeat(9_000)]) {
    const answer = await preflight(v1("open", "/openai/models"), { headers });
    assert.deepEqual([cors(answer)["allow-origin"], cors(answer)["allow-headers"]], [PAGE, undefined], headers.slice(0, 20));
  }
});

test("other origins are granted nothing, and neither is anybody where the setting is off", async () => {
  const origins = [FOREIGN, "null", "https://app.example.com.evil.example", "http://app.example.com", "https://app.example.com:8443", `${PAGE}/`];
  for (const origin of origins) {
    for (const gateway of ["open", "locked", "gw", "unknown"]) {
      const answer = await preflight(v1(gateway, "/openai/chat/completions"), { origin });
      assert.deepEqual([answer.status, cors(answer)], [204, {}], `${gateway} ${origin}`);
    }
    const answer = await gw.call("openai/chat/completions", { gateway: "open", json: CHAT, headers: { origin } });
    assert.deepEqual([answer.status, cors(answer)], [200, {}]);
    assert.match(answer.headers.get("vary"), /origin/i);
    await answer.arrayBuffer();
  }
  assert.deepEqual(cors(await preflight(v1("gw", "/openai/chat/completions"))), {});
});

test("any origin may use a gateway that says so, but not from outside a private network", async () => {
  const more = { "access-control-request-private-network": "true" };
  for (const origin of [PAGE, FOREIGN, "null"]) {
    const answer = cors(await preflight(v1("any", "/openai/models"), { origin, more }));
    assert.deepEqual([answer["allow-origin"], answer["max-age"], answer["allow-private-network"]], ["*", "0", undefined]);
    const given = await gw.call("openai/models", { gateway: "any", headers: { origin } });
    assert.equal(cors(given)["allow-origin"], "*");
    await given.arrayBuffer();
  }
  assert.equal(cors(await preflight(v1("open", "/openai/models"), { more }))["allow-private-network"], "true");
  assert.equal(cors(await preflight(v1("open", "/openai/models")))["allow-private-network"], undefined);
});

const THEIRS = {
  "access-control-allow-origin": "https://platform.example",
  "access-control-allow-credentials": "true",
  "access-control-allow-headers": "*",
  "access-control-allow-methods": "*",
  "access-control-allow-private-network": "true",
  "access-control-expose-headers": "x-theirs",
  "access-control-max-age": "1",
};

test("a page reads answers, and what the provider says of other pages never passes", async () => {
  const headers = { ...THEIRS, vary: "accept-encoding", "content-type": "application/json", "x-ratelimit-remaining-tokens": "7", "anthropic-ratelimit-requests-limit": "5", "x-theirs": "1" };
  for (const [gateway, origin] of [["open", PAGE], ["open", FOREIGN], ["open", undefined], ["gw", PAGE], ["gw", undefined]]) {
    gw.upstream.next({ status: 200, headers, body: "{}" });
    const answer = await gw.call("openai/models", { gateway, headers: origin ? { origin } : {} });
    const { "allow-origin": allowed, "expose-headers": exposed, ...others } = cors(answer);
    assert.deepEqual(others, {});
    assert.match(answer.headers.get("vary"), gateway === "gw" ? /^accept-encoding$/ : /^accept-encoding, origin$/);
    if (gateway === "gw" || origin !== PAGE) {
      assert.deepEqual([allowed, exposed], [undefined, undefined]);
      continue;
    }
    assert.equal(allowed, PAGE);
    const names = exposed.split(", ");
    for (const name of ["cf-aig-log-id", "cf-aig-event-id", "cf-aig-cache-status", "retry-after", "ratelimit", "x-request-id", "x-ratelimit-remaining-tokens", "anthropic-ratelimit-requests-limit"]) assert.ok(names.includes(name), name);
    assert.ok(!names.includes("x-theirs"));
    assert.equal((await gw.logOf(answer, gateway)).status_code, 200);
  }
});

test("a page reads streams, answers of the cache, universal answers and those of compat", async () => {
  const stream = await gw.call("openai/chat/completions", { gateway: "open", json: { ...CHAT, stream: true }, headers: { origin: PAGE } });
  assert.deepEqual([stream.status, cors(stream)["allow-origin"]], [200, PAGE]);
  assert.match(await stream.text(), /\[DONE\]/);
  assert.equal((await gw.logOf(stream, "open")).tokens_out, 14);
  for (const status of ["MISS", "HIT"]) {
    const kept = await gw.call("openai/chat/completions", { gateway: "open", json: CHAT, headers: { origin: PAGE, "cf-aig-cache-ttl": "60" } });
    await kept.arrayBuffer();
    await gw.logOf(kept, "open");
    assert.deepEqual([kept.headers.get("cf-aig-cache-status"), cors(kept)["allow-origin"]], [status, PAGE]);
  }
  const universal = await fetch(gw.url + v1("open", ""), { method: "POST", headers: { origin: PAGE }, body: JSON.stringify([{ provider: "openai", endpoint: "chat/completions", query: CHAT }]) });
  assert.deepEqual([universal.status, cors(universal)["allow-origin"]], [200, PAGE]);
  await universal.arrayBuffer();
  const compat = await gw.call("compat/chat/completions", { gateway: "open", json: { ...CHAT, model: "openai/gpt-4o" }, headers: { origin: PAGE } });
  assert.deepEqual([compat.status, cors(compat)["allow-origin"]], [200, PAGE]);
  await compat.arrayBuffer();
});

test("a page reads refusals, whoever refuses and why", async () => {
  await gw.create("limited", { cors: { origins: [PAGE] }, rate_limiting_limit: 1, rate_limiting_interval: 3_600 });
  await (await gw.call("openai/models", { gateway: "limited" })).arrayBuffer();
  gw.upstream.next({ status: 429, headers: { "content-type": "application/json", "retry-after": "3", ...THEIRS }, body: "{}" });
  gw.upstream.next({ hang: true });
  const at = (gateway, path, init = {}) => fetch(gw.url + v1(gateway, path), { ...init, headers: { origin: PAGE, ...init.headers } });
  const refusals = [
    [429, await at("open", "/openai/models")],
    [400, await at("open", "/openai/chat/completions", { method: "POST", body: "{}", headers: { "cf-aig-request-timeout": "50" } })],
    [401, await at("locked", "/openai/models")],
    [401, await at("locked", "/openai/models", { headers: { "cf-aig-authorization": "Bearer wrong" } })],
    [401, await at("locked", "", { method: "POST", body: "[]" })],
    [429, await at("limited", "/openai/models")],
    [400, await at("open", "/nothing/at/all")],
    [400, await at("open", "", { method: "POST", body: "no json" })],
    [405, await at("open", "", { method: "PUT", body: "" })],
    [426, await at("open", "")],
    [400, await at("open", "/openai/a%00b")],
    [204, await at("open", "/openai/models", { method: "OPTIONS" })],
  ];
  for (const [status, answer] of refusals) {
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    const { "allow-origin": origin, "expose-headers": exposed, ...others } = cors(answer);
    assert.deepEqual([origin, others], [PAGE, {}], `${answer.url} ${text}`);
    assert.ok(exposed.includes("retry-after") && exposed.includes("cf-aig-log-id"));
  }
  // A gateway that there is not has no setting.
  assert.deepEqual(cors(await at("unknown", "/openai/models")), {});
});

test("a change of the setting holds from the next request on", async () => {
  const settings = await gw.result("/gateways/gw");
  for (const [value, origin] of [[{ origins: [PAGE] }, PAGE], [null, undefined]]) {
    const put = await gw.api("/gateways/gw", { method: "PUT", body: JSON.stringify({ ...settings, cors: value }) });
    assert.deepEqual([put.status, (await put.json()).result.cors], [200, value]);
    assert.equal(cors(await preflight(v1("gw", "/openai/models")))["allow-origin"], origin);
  }
  for (const [member, value] of [["origins", { origins: ["app.example.com"] }], ["origins", { origins: ["https://*.example.com"] }], ["max_age", { origins: ["*"], max_age: 1e9 }], ["credentials", { origins: [PAGE], credentials: true }]]) {
    const put = await gw.api("/gateways/gw", { method: "PUT", body: JSON.stringify({ ...settings, cors: value }) });
    assert.deepEqual([put.status, (await put.json()).errors[0].path], [400, ["body", "cors", member]]);
  }
});

test("a page of an allowed origin may open a WebSocket on a gateway without authentication, others may not", async () => {
  for (const [gateway, origin, status] of [["open", PAGE, 101], ["open", FOREIGN, 403], ["gw", PAGE, 403], ["any", FOREIGN, 101], ["locked", PAGE, 401]]) {
    for (const path of ["", "/openai/realtime"]) {
      const socket = await WebSocketClient.open(gw.url + v1(gateway, path), { origin });
      assert.equal(socket.status, status, `${gateway} ${origin} ${path}`);
      socket.close();
    }
  }
});

test("feedback answers every preflight, and the token of the request decides", async () => {
  for (const path of ["/feedback", "/feedback/some-id"]) {
    const { "allow-origin": origin, "allow-headers": headers, "allow-methods": methods, "allow-credentials": credentials } = cors(await preflight(path, { origin: FOREIGN }));
    assert.deepEqual([origin, headers, methods.includes("POST"), credentials], ["*", "authorization, content-type", true, undefined]);
  }
  const feedback = await post("/tokens", { name: "thumbs", permissions: ["feedback"], gateways: ["open"] });
  assert.deepEqual(feedback.permissions, ["feedback"]);
  const headers = { origin: FOREIGN, authorization: `Bearer ${feedback.value}`, "content-type": "application/json" };
  const give = (id, init = {}) => fetch(`${gw.url}/feedback/${id}`, { method: "POST", headers, body: '{"data":{"thumb":1}}', ...init });

  const answer = await gw.call("openai/chat/completions", { gateway: "open", json: CHAT, headers: { origin: PAGE, "cf-aig-event-id": "guessable" } });
  await answer.arrayBuffer();
  const log = await gw.logOf(answer, "open");
  // Others have spoken before.
  const first = await fetch(`${gw.url}/feedback/${log.id}`, { method: "POST", headers: { ...headers, authorization: `Bearer ${runs}` }, body: '{"data":{"secret":"of the staff"}}' });
  assert.equal((await first.json()).result.data.secret, "of the staff");

  const given = await give(log.id);
  assert.deepEqual([given.status, cors(given)["allow-origin"]], [200, "*"]);
  // It says what it was told, and nothing of what others said.
  assert.deepEqual((await given.json()).result, { log_id: log.id, matches: 1, pending: false, data: { thumb: 1 } });
  const state = await (await fetch(`${gw.url}/feedback/${log.id}`, { headers: { authorization: `Bearer ${TOKEN}` } })).json();
  assert.deepEqual([state.result.data, state.result.history[0].given_by], [{ thumb: 1, secret: "of the staff" }, feedback.id]);

  // Ids that can be guessed, ids of other gateways, and everything else.
  const other = await gw.call("openai/models", { gateway: "gw" });
  await other.arrayBuffer();
  for (const id of [log.response_id, "guessable", (await gw.logOf(other)).id, "01ARZ3NDEKTSV4RRFFQ69G5FAV"]) {
    const refused = await give(id);
    assert.deepEqual([refused.status, cors(refused)["allow-origin"]], [404, "*"], id);
  }
  for (const [status, refused] of [
    [403, await give(log.id, { method: "GET", body: undefined })],
    [403, await give(log.id, { method: "DELETE", body: undefined })],
    [403, await fetch(`${gw.url}/feedback`, { method: "POST", headers, body: JSON.stringify({ request_id: log.id, data: { a: 1 } }) })],
    [401, await give(log.id, { headers: { origin: FOREIGN } })],
    [400, await give(log.id, { body: "no json" })],
  ]) assert.deepEqual([refused.status, cors(refused)["allow-origin"]], [status, "*"]);
  for (const path of [`/gateways/open/logs/${log.id}`, "/gateways/open/logs", "/gateways", "/gateways/open"]) {
    const refused = await fetch(`${gw.url}/accounts/${ACCOUNT}/ai-gateway${path}`, { headers });
    assert.deepEqual([refused.status, cors(refused)], [403, {}], path);
  }
  const run = await gw.call("openai/models", { gateway: "locked", headers });
  assert.equal(run.status, 401);
  // The control plane is for no page.
  const control = await preflight(`/accounts/${ACCOUNT}/ai-gateway/gateways`, { method: "GET" });
  assert.deepEqual([control.status, cors(control)], [405, {}]);
});

test("the account's own address of the unified API has the manners of the gateway that a header names", async () => {
  const path = `/client/v4/accounts/${ACCOUNT}/ai/v1/chat/completions`;
  const ask = (gateway, origin, token = runs) => fetch(`${gw.url}${path}`, { method: "POST", body: JSON.stringify({ ...CHAT, model: "openai/gpt-4o" }), headers: { origin, "content-type": "application/json", ...(token && { "cf-aig-authorization": `Bearer ${token}` }), authorization: "Bearer sk-page-0123456789", ...(gateway && { "cf-aig-gateway-id": gateway }) } });
  // A browser does not say which gateway, so that the request itself is decided about.
  const naming = cors(await preflight(path, { headers: "authorization,cf-aig-gateway-id" }));
  assert.deepEqual([naming["allow-origin"], naming["allow-headers"]], ["*", "authorization, cf-aig-gateway-id"]);
  assert.equal(cors(await preflight(path))["allow-origin"], undefined, "the default gateway has no setting");
  const mine = await ask("locked", PAGE);
  assert.deepEqual([mine.status, cors(mine)["allow-origin"], mine.headers.get("vary")?.includes("origin")], [200, PAGE, true]);
  assert.match(cors(mine)["expose-headers"], /cf-aig-log-id/);
  assert.equal((await gw.logOf(mine, "locked")).success, true);
  const refused = await ask("locked", PAGE, null);
  assert.deepEqual([refused.status, cors(refused)["allow-origin"]], [401, PAGE]);
  for (const [gateway, origin] of [["locked", FOREIGN], ["gw", PAGE]]) assert.equal(cors(await ask(gateway, origin))["allow-origin"], undefined);
  assert.equal(cors(await preflight(`/client/v4/accounts/${ACCOUNT}/ai-gateway/gateways`))["allow-origin"], undefined);
});
