// What an operator is told before a budget stops its callers, and when something breaks: each event once, signed, and tried again.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { Gateway, TOKEN, until } from "../harness.mjs";

let gw, worker, receiver, told, answer;
before(async () => {
  receiver = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    told.push({ path: request.url, headers: request.headers, text: String(Buffer.concat(chunks)) });
    const given = answer(request.url);
    if (given !== null) response.writeHead(given.status ?? given, given.headers).end();
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true", DATABASE_LIMIT_MB: "1000000" } });
  worker = await gw.miniflare.getWorker();
});
beforeEach(() => {
  told = [];
  answer = () => 200;
});
after(async () => {
  await gw.stop();
  await new Promise((resolve) => receiver.close(resolve));
});

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Lunch?" }] };
const admin = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const costs = (dollars) => ({ ...admin, "cf-aig-custom-cost": JSON.stringify({ total_cost: dollars }) });
const chat = (gateway, headers = admin) => gw.call("openai/chat/completions", { gateway, json: CHAT, headers });
const hook = async (path, more) => {
  const made = await gw.api("/alerts/webhooks", { method: "POST", body: JSON.stringify({ url: `http://127.0.0.1:${receiver.address().port}${path}`, ...more }) });
  assert.equal(made.status, 200, await made.clone().text());
  return (await made.json()).result;
};
const of = (path, type) => told.filter((one) => one.path === path && (!type || JSON.parse(one.text).type === type));
const cron = () => worker.scheduled({ cron: "* * * * *" });
const budget = (limit, more) => ({ spend_limits: { rules: [{ id: "budget", limit, limitType: "cost", window: 86_400, ...more }] } });

test("a budget tells a webhook at 80 % and at 100 %, once each, and signs what it says", async () => {
  const gateway = await gw.create("spender", budget(1));
  const { secret } = await hook("/spend", { gateway });
  assert.match(secret, /^whsec_[0-9a-f]{64}$/);
  assert.equal((await chat(gateway, costs(0.5))).status, 200);
  assert.equal((await chat(gateway, costs(0.35))).status, 200);
  await until(() => of("/spend").length === 1, "the first alert");
  const [{ text, headers }] = of("/spend");
  const body = JSON.parse(text);
  assert.deepEqual([body.type, body.gateway, body.threshold, body.data.rule, body.data.limit, body.data.used], ["spend", gateway, 0.8, "budget", 1, 0.85]);
  assert.match(body.summary, /80 % of the limit 'budget' are used: 0\.85 of 1 US dollars/);
  const [, at, given] = headers["tollgate-signature"].match(/^t=(\d+),v1=([0-9a-f]{64})$/);
  assert.equal(given, createHmac("sha256", secret).update(`${at}.${text}`).digest("hex"));
  assert.ok(Math.abs(Date.now() / 1_000 - at) < 60);
  assert.equal((await chat(gateway, costs(0.2))).status, 200);
  await until(() => of("/spend").length === 2, "the second alert");
  assert.equal(JSON.parse(of("/spend")[1].text).threshold, 1);
  assert.equal((await chat(gateway)).status, 429);
  await cron();
  assert.equal(of("/spend").length, 2);
  const shown = (await gw.result("/alerts")).filter((alert) => alert.gateway === gateway);
  assert.deepEqual(shown.map(({ threshold, deliveries }) => [threshold, deliveries.map(({ status, attempts }) => [status, attempts])]), [[1, [["delivered", 1]]], [0.8, [["delivered", 1]]]]);
  assert.ok(!JSON.stringify(await gw.result("/alerts/webhooks")).includes(secret), "a secret is shown once");
});

test("64 parallel requests at a rate limit make one event of each share", async () => {
  const gateway = await gw.create("rates", { rate_limiting_limit: 10, rate_limiting_interval: 86_400 });
  await hook("/rate", { gateway, thresholds: [0.5, 1], events: ["rate"] });
  await Promise.all(Array.from({ length: 64 }, () => chat(gateway)));
  await until(() => of("/rate").length === 2, "both alerts");
  await cron();
  assert.deepEqual(of("/rate").map(({ text }) => JSON.parse(text).threshold).sort(), [0.5, 1]);
  assert.equal((await gw.rows("SELECT count(*) AS n FROM alerts WHERE kind = 'rate'"))[0].n, 2);
});

test("a webhook that fails is tried again, keeps no request waiting, and may be Slack's", async () => {
  const gateway = await gw.create("slow", { rate_limiting_limit: 1, rate_limiting_interval: 86_400 });
  answer = (path) => (path === "/down" ? 503 : 200);
  await hook("/down", { gateway, events: ["rate"] });
  await hook("/slack", { gateway, events: ["rate"], format: "slack", thresholds: [1] });
  assert.equal((await chat(gateway)).status, 200);
  await until(() => of("/down").length >= 1 && told.some(({ path }) => path === "/slack"), "the first tries");
  assert.match(JSON.parse(told.find(({ path }) => path === "/slack").text).text, /^Tollgate acct\/slow: 100 % of the limit 'gateway' are used/);
  const deliveries = async () => (await gw.result("/alerts")).filter((alert) => alert.gateway === gateway).flatMap((alert) => alert.deliveries);
  await until(async () => (await deliveries()).some(({ status, attempts, error }) => status === "pending" && attempts === 1 && /status 503/.test(error ?? "")), "the failure to be noted");
  answer = () => 200;
  const before = of("/down").length;
  await gw.rows("UPDATE alert_deliveries SET next_at = 0 WHERE status = 'pending'");
  await cron();
  await until(() => of("/down").length > before, "another try");
  await until(async () => (await deliveries()).every(({ status }) => status === "delivered"), "all to be delivered");
});

test("a redirect is no delivery, is not followed, and a webhook that never answers keeps no other waiting", async () => {
  const gateway = await gw.create("led", { rate_limiting_limit: 1, rate_limiting_interval: 86_400 });
  const elsewhere = `http://localhost:${receiver.address().port}/private`;
  // Those that hang come first.
  answer = (path) => (path.startsWith("/hangs") ? null : path === "/led" ? { status: 307, headers: { location: elsewhere } } : 200);
  for (const path of ["/hangs-1", "/hangs-2", "/hangs-3", "/led", "/prompt"]) await hook(path, { gateway, events: ["rate"], thresholds: [1] });
  const begun = Date.now();
  assert.equal((await chat(gateway)).status, 200);
  assert.ok(Date.now() - begun < 5_000, "no request waits for a webhook");
  await until(() => of("/prompt").length === 1, "the one that answers");
  assert.ok(Date.now() - begun < 9_000, "it does not wait for those that hang");
  const deliveries = async () => (await gw.result("/alerts")).filter((alert) => alert.gateway === gateway).flatMap((alert) => alert.deliveries);
  const errors = async () => (await deliveries()).map(({ error }) => error).filter(Boolean).sort();
  await until(async () => (await errors()).length === 4, "the failures to be noted", 30_000);
  assert.deepEqual((await errors()).map((error) => error.match(/status 307|within 10000 ms/)?.[0]), ["status 307", "within 10000 ms", "within 10000 ms", "within 10000 ms"]);
  assert.ok((await deliveries()).filter(({ error }) => error).every(({ status, attempts, next_at }) => status === "pending" && attempts === 1 && Date.parse(next_at) > begun));
  assert.equal(of("/private").length, 0);
  // An hour later it is given up.
  await gw.rows("UPDATE alerts SET created_at = created_at - 3600000 WHERE gateway = (SELECT key FROM gateways WHERE id = 'led')");
  await gw.rows("UPDATE alert_deliveries SET next_at = 0 WHERE status = 'pending' AND error LIKE '%307%'");
  await cron();
  await until(async () => (await deliveries()).some(({ status, attempts, next_at }) => status === "failed" && attempts === 2 && next_at === null), "the end of it");
});

test("64 parallel requests at a budget and at a circuit make each event once", async () => {
  const spender = await gw.create("spends-at-once", budget(1));
  await hook("/at-once", { gateway: spender, events: ["spend"] });
  assert.equal((await chat(spender, costs(0.79))).status, 200);
  await Promise.all(Array.from({ length: 64 }, () => chat(spender, costs(0.01))));
  await until(() => of("/at-once").length >= 2, "both shares");
  const breaks = await gw.create("breaks-at-once", { circuit_breaker: { failures: 3, window: 60, cooldown: 60 } });
  await hook("/broken", { gateway: breaks, events: ["circuit"] });
  gw.upstream.answer = () => ({ status: 500, body: "{}" });
  try {
    await Promise.all(Array.from({ length: 64 }, () => chat(breaks)));
  } finally {
    gw.upstream.answer = undefined;
  }
  await until(() => of("/broken").length >= 1, "the circuit");
  await cron();
  assert.deepEqual([of("/at-once").map(({ text }) => JSON.parse(text).threshold).sort(), of("/broken").length], [[0.8, 1], 1]);
});

test("a circuit that opens and a share of failures are told", async () => {
  const gateway = await gw.create("breaks", { circuit_breaker: { failures: 2, window: 60, cooldown: 60 } });
  await hook("/breaks", { gateway, events: ["circuit", "errors"] });
  assert.equal((await chat(gateway)).status, 200);
  gw.upstream.answer = () => ({ status: 500, body: "{}" });
  for (let n = 0; n < 24; n += 1) await chat(gateway);
  gw.upstream.answer = undefined;
  await until(() => of("/breaks", "circuit").length === 1, "the circuit");
  await until(async () => (await gw.result(`/gateways/${gateway}/logs?per_page=50`)).length === 25, "the rows");
  await cron();
  await until(() => of("/breaks", "errors").length === 1, "the share of failures");
  assert.deepEqual(JSON.parse(of("/breaks", "errors")[0].text).data, { failed: 24, total: 25, minutes: 10 });
  await cron();
  assert.deepEqual([of("/breaks", "circuit").length, of("/breaks", "errors").length], [1, 1]);
});

test("a database that is nearly full, and a model that left the catalogue, are told", async () => {
  const on = await Gateway.start({ upstream: gw.upstream, bindings: { ALLOW_INTERNAL_UPSTREAMS: "true", DATABASE_LIMIT_MB: "1" } });
  try {
    await on.create("gw");
    const sent = await on.call("openai/chat/completions", { json: { ...CHAT, model: "gpt-gone" } });
    await on.logOf(sent);
    await on.rows("INSERT INTO alert_models (account_id, provider, model) VALUES ('acct', 'openai', 'gpt-gone')");
    await on.rows("UPDATE logs SET model = 'gpt-gone'");
    const made = await on.api("/alerts/webhooks", { method: "POST", body: JSON.stringify({ url: `http://127.0.0.1:${receiver.address().port}/full`, events: ["database", "model"] }) });
    assert.equal(made.status, 200, await made.clone().text());
    await on.rows("CREATE TABLE filler (text TEXT)");
    await on.rows("INSERT INTO filler (text) VALUES (?1)", "x".repeat(1_000_000));
    await (await on.miniflare.getWorker()).scheduled({ cron: "* * * * *" });
    await until(() => of("/full", "database").length >= 1 && of("/full", "model").length === 1, "both alerts");
    assert.deepEqual(JSON.parse(of("/full", "model")[0].text).data, { provider: "openai", model: "gpt-gone" });
  } finally {
    await on.miniflare.dispose();
  }
});

test("logs that are lost are told", async () => {
  const on = await Gateway.start({ upstream: gw.upstream, faulty: true, bindings: { ALLOW_INTERNAL_UPSTREAMS: "true", DATABASE_LIMIT_MB: "1000000" } });
  try {
    await on.create("gw");
    const made = await on.api("/alerts/webhooks", { method: "POST", body: JSON.stringify({ url: `http://127.0.0.1:${receiver.address().port}/lost`, events: ["logs_lost"] }) });
    assert.equal(made.status, 200, await made.clone().text());
    const worker = await on.miniflare.getWorker();
    await worker.scheduled({ cron: "* * * * *" });
    assert.equal(of("/lost").length, 0);
    await on.fault(1e9);
    for (let n = 0; n < 3; n += 1) assert.equal((await on.call("openai/chat/completions", { json: CHAT })).status, 200);
    const lost = async () => (await (await fetch(`${on.url}/health`)).json()).logs_lost;
    await until(async () => (await lost()) === 3, "the loss", 120_000);
    await on.fault(0);
    await worker.scheduled({ cron: "* * * * *" });
    await until(() => of("/lost").length === 1, "the alert");
    const { type, gateway, data, summary } = JSON.parse(of("/lost")[0].text);
    assert.deepEqual([type, gateway, data], ["logs_lost", null, { lost: 3 }]);
    assert.match(summary, /^3 logs could not be written and are lost/);
    await worker.scheduled({ cron: "* * * * *" });
    assert.equal(of("/lost").length, 1);
  } finally {
    await on.miniflare.dispose();
  }
});

test("a webhook is changed, and signs with its secret wherever it leads", async () => {
  const gateway = await gw.create("changed", { rate_limiting_limit: 1, rate_limiting_interval: 86_400 });
  const made = await hook("/old", { gateway, events: ["circuit"], thresholds: [0.9] });
  const patch = async (body, id = made.id) => {
    const answer = await gw.api(`/alerts/webhooks/${id}`, { method: "PATCH", body: JSON.stringify(body) });
    return [answer.status, (await answer.json()).result];
  };
  const [status, shown] = await patch({ url: `http://localhost:${receiver.address().port}/new`, events: ["rate"], thresholds: [1] });
  assert.deepEqual([status, shown.id, shown.gateway, shown.events, shown.thresholds, "secret" in shown], [200, made.id, gateway, ["rate"], [1], false]);
  assert.equal((await chat(gateway)).status, 200);
  await until(() => of("/new").length === 1, "the alert at its new address");
  const signed = (secret) => {
    const { headers, text } = of("/new").at(-1);
    const [, at, given] = headers["tollgate-signature"].match(/^t=(\d+),v1=([0-9a-f]{64})$/);
    return given === createHmac("sha256", secret).update(`${at}.${text}`).digest("hex");
  };
  assert.deepEqual([signed(made.secret), of("/old").length], [true, 0]);
  assert.equal((await patch({ secret: "a-secret-of-my-own-0123", gateway: null, events: null }))[0], 200);
  const other = await gw.create("changed-too", { rate_limiting_limit: 1, rate_limiting_interval: 86_400 });
  assert.equal((await chat(other)).status, 200);
  await until(() => of("/new").length === 2, "the alert of another gateway");
  assert.equal(signed("a-secret-of-my-own-0123"), true);
  for (const wrong of [{ url: "ftp://x" }, { url: null }, { events: [] }, { events: ["x"] }, { thresholds: [2] }, { secret: "short" }, { gateway: "unknown" }, { name: "x" }]) assert.equal((await patch(wrong))[0], 400, JSON.stringify(wrong));
  assert.equal((await patch({ events: null }, "unknown"))[0], 404);
  assert.equal((await gw.api(`/alerts/webhooks/${made.id}`, { method: "DELETE" })).status, 200);
});

test("a webhook leads to no internal address unless the operator allows it", async () => {
  const strict = await Gateway.start({ upstream: gw.upstream });
  try {
    const post = async (body) => (await strict.api("/alerts/webhooks", { method: "POST", body: JSON.stringify(body) })).status;
    strict.upstream.names["inside.example.com"] = ["10.0.0.1"];
    strict.upstream.names["outside.example.com"] = ["8.8.8.8"];
    assert.deepEqual(
      [await post({ url: "http://127.0.0.1/" }), await post({ url: "https://169.254.169.254/x" }), await post({ url: "https://inside.example.com/x" }), await post({ url: "ftp://x" }), await post({}), await post({ url: "https://outside.example.com/x", events: ["all"] }), await post({ url: "https://outside.example.com/x", gateway: "none" }), await post({ url: "https://outside.example.com/x" })],
      [400, 400, 400, 400, 400, 400, 400, 200],
    );
  } finally {
    await strict.miniflare.dispose();
  }
});

test("a PUT names the settings that are stored and have no effect", async () => {
  await gw.create("idle");
  const put = async (settings) => (await (await gw.api("/gateways/idle", { method: "PUT", body: JSON.stringify(settings) })).json()).messages.map(({ message }) => message.split(" ")[0]);
  assert.deepEqual(await put({ cache_ttl: 60 }), []);
  assert.deepEqual(await put({ log_classification: true, stripe: { authorization: "x" }, store_id: "s", workers_ai_billing_mode: "unified" }), ["log_classification", "stripe", "store_id", "workers_ai_billing_mode"]);
  assert.deepEqual(await put({ log_classification: false, stripe: null, store_id: null, workers_ai_billing_mode: "postpaid" }), []);
});
