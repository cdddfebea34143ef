// What one caller or one tenant says or leaves behind must not move what all share: sums, budgets, circuits, keys. A second
// tenant, with an account and a gateway of its own, looks at the end of each test whether it has noticed anything.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };
const ADMIN = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const BREAKER = { circuit_breaker: { failures: 3, window: 3_600, cooldown: 3_600 } };
const HOUR = 3_600;

let gw;
let neighbours = 0;
before(async () => {
  gw = await Gateway.start();
  const made = await gw.api("/gateways", { method: "POST", account: "neighbour", body: JSON.stringify({ id: "theirs", ...BREAKER, spend_limits: { enabled: true, rules: [{ id: "n", limit: 1_000, limitType: "cost", window: 366 * 86_400 }] } }) });
  assert.equal(made.status, 200, await made.clone().text());
});
beforeEach(() => {
  gw.upstream.requests.length = 0;
  gw.upstream.answer = undefined;
});
after(() => gw.stop(/"event":"(row_put_aside|queue_message_unreadable)"/));

const chat = (gateway, headers = {}, path = "openai/chat/completions", json = CHAT) => gw.call(path, { gateway, json, headers });
const custom = (cost) => ({ "cf-aig-custom-cost": JSON.stringify(cost) });
const failing = (status = 500) => ({ status, headers: { "content-type": "application/json" }, body: '{"error":{"message":"down"}}' });
const budget = (limit, rule) => ({ spend_limits: { enabled: true, rules: [{ id: "b", limitType: "cost", limit, window: 366 * 86_400, technique: "fixed", ...rule }] } });
const spent = async (gateway) => (await gw.result(`/gateways/${gateway}/limits`)).spend[0].counters.reduce((sum, { spent }) => sum + spent, 0);
const cron = async () => (await gw.miniflare.getWorker("tollgate")).scheduled({ cron: "* * * * *" });
const near = (a, b) => Math.abs(a - b) < 1e-9;
const warned = (answer) => answer.headers.get("cf-aig-warning") ?? "";

async function token() {
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "app", permissions: ["run"] }) });
  return { "cf-aig-authorization": `Bearer ${(await made.json()).result.value}` };
}

/** The neighbour sends a request of its own, and finds it in its charts with its cost. */
afterEach(async () => {
  gw.upstream.answer = undefined;
  const answer = await fetch(`${gw.url}/v1/neighbour/theirs/openai/chat/completions`, { method: "POST", body: JSON.stringify(CHAT), headers: { "content-type": "application/json" } });
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-circuit")], [200, null], "the neighbour is served");
  await answer.text();
  neighbours += 1;
  let totals;
  await until(async () => {
    const shown = await gw.api("/gateways/theirs/analytics", { account: "neighbour" });
    assert.equal(shown.status, 200, await shown.clone().text());
    return (totals = (await shown.json()).result.totals).requests === neighbours;
  }, "the neighbour's charts");
  assert.ok(totals.cost > 0 && totals.cost < 0.01 * neighbours, `${totals.cost}`);
});

test("a cost that no request can have is null, and all charts go on", async () => {
  await gw.create("absurd");
  for (const cost of [{ per_token_in: 1e308 }, { per_token_in: 1e300 }, { per_token_out: 1e200, per_token_in: 1e308 }, { total_cost: 1e308 }, { total_cost: 10_000.01 }, { total_cost: 1e9 }]) {
    const answer = await chat("absurd", custom(cost));
    assert.equal(answer.status, 200);
    const log = await gw.logOf(answer, "absurd");
    assert.deepEqual([log.cost, log.custom_cost, log.tokens_in], [null, true, 17], JSON.stringify(cost));
    assert.match(log.cost_unknown, /more than 10000 dollars/);
  }
  const most = await gw.logOf(await chat("absurd", custom({ total_cost: 10_000 })), "absurd");
  assert.deepEqual([most.cost, most.cost_unknown], [10_000, null]);
  // A provider's figures are no better than a caller's.
  for (const usage of ['{"prompt_tokens":1e308,"completion_tokens":-1,"total_tokens":1e300}', '{"prompt_tokens":18446744073709551615,"completion_tokens":"5"}', '{"prompt_tokens":9007199254740991,"completion_tokens":9007199254740991}', '{"prompt_tokens":1,"completion_tokens":1,"cost":1e300}']) {
    gw.upstream.next({ headers: { "content-type": "application/json" }, body: `{"id":"x","model":"gpt-4o","usage":${usage}}` });
    assert.equal((await gw.logOf(await chat("absurd"), "absurd")).cost, null, usage);
  }
  const { totals } = await gw.result("/gateways/absurd/analytics");
  assert.deepEqual([totals.requests, totals.cost], [11, 10_000]);
  await cron();
  assert.equal((await gw.rows("SELECT id FROM tallies")).length, 0);
});

test("a database with rows that cannot be read heals", async () => {
  await gw.create("healed");
  await (await chat("healed")).text();
  const key = (await gw.rows("SELECT key FROM gateways WHERE id = 'healed'"))[0].key;
  const minute = Date.now() - (Date.now() % 60_000);
  // As the older version wrote an infinity: as nothing.
  const figures = [1, 1, 0, 0, 0, 0, 0, 0, 0, 17, 6, 0, 0, 0, "", 0, 0, ...Array(64).fill(0)].join(",");
  const left = [`[[${key},${minute},"openai","gpt-4o",${figures}]]`, `[[${key},${minute},"openai",`, "", "5", `[[null,${minute},"openai","gpt-4o",1]]`];
  for (const [n, tallies] of left.entries()) await gw.db.prepare("INSERT INTO tallies (id, tallies) VALUES (?, ?)").bind(`0${n}`, tallies).run();
  let totals;
  await until(async () => (totals = (await gw.result("/gateways/healed/analytics")).totals).requests === 2, "what can be read of them");
  assert.deepEqual([totals.tokens_in, totals.attempts], [34, 2]);
  // What one loop works through for all goes on as well.
  const pending = "INSERT INTO pending_feedback (id, log_id, given_at, given_by, kind, data) VALUES (?, ?, ?, 'admin', 'merge', ?)";
  const answer = await chat("healed");
  const log = await gw.logOf(answer, "healed");
  for (const [id, at, data] of [["1", 1, "{"], ["2", "soon", "{}"], ["3", 3, '{"good":true}']]) await gw.db.prepare(pending).bind(id, log.id, at, data).run();
  await gw.db.prepare("INSERT INTO evaluations (id, gateway, name, processed, total_logs, datasets, plan, progress, lease_until, created_at, modified_at) VALUES ('bad', ?, 'bad', 0, 0, '[', '{', '{', 0, 1, 1)").bind(key).run();
  await gw.db.prepare("INSERT INTO reprices (id, gateway, query, dry_run, processed, logs_seen, logs_changed, cost_before, cost_after, lease_until, created_at, modified_at) VALUES ('bad', ?, '{', 0, 0, 0, 0, 'x', 0, 0, 1, 1)").bind(key).run();
  gw.output.length = 0;
  await cron();
  assert.deepEqual((await gw.result(`/gateways/healed/logs/${log.id}`)).feedback_data, { good: true });
  const aside = await gw.rows("SELECT source, id, content FROM put_aside ORDER BY source, id");
  assert.deepEqual(aside.map(({ source, id }) => `${source} ${id}`), ["evaluations bad", "pending_feedback 1", "pending_feedback 2", "reprices bad", "tallies 01", "tallies 02", "tallies 03", "tallies 04"]);
  assert.equal(aside.find(({ id }) => id === "01").content, left[1], "what was put aside is whole");
  for (const table of ["tallies", "pending_feedback"]) assert.deepEqual(await gw.rows(`SELECT id FROM ${table}`), [], table);
  assert.deepEqual(await gw.rows("SELECT id FROM evaluations WHERE processed = 0 UNION SELECT id FROM reprices WHERE processed = 0"), []);
  const told = gw.output.filter((line) => line.includes('"event":"row_put_aside"'));
  assert.equal(told.length, 8, gw.output.join("\n"));
  assert.equal((await (await fetch(`${gw.url}/health`)).json()).rows_put_aside, 8);
  await cron();
  assert.equal(gw.output.filter((line) => line.includes("row_put_aside")).length, 8, "each is told of once");
});

test("what a caller without a token says it costs is about its own row and moves no budget", async () => {
  const gateway = await gw.create("strangers", budget(1));
  const whole = await gw.logOf(await chat(gateway), gateway);
  await until(async () => near(await spent(gateway), whole.cost), "the price to be counted");
  for (const [n, cost] of [[2, 1e9], [3, 5_000], [4, 0]]) {
    const answer = await chat(gateway, custom({ total_cost: cost }));
    assert.equal(answer.status, 200, "the budget is not used up");
    const log = await gw.logOf(answer, gateway);
    assert.deepEqual([log.cost, log.custom_cost, log.authentication], [cost > 10_000 ? null : cost, true, false]);
    await until(async () => near(await spent(gateway), n * whole.cost), `${n} prices to be counted`);
  }
  const inside = await gw.call("", { gateway, json: [{ provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json", ...custom({ total_cost: 5_000 }) }, query: CHAT }] });
  assert.equal(inside.status, 200);
  await until(async () => near(await spent(gateway), 5 * whole.cost), "five prices to be counted");
  // A caller with a token is believed.
  assert.equal((await chat(gateway, { ...ADMIN, ...custom({ total_cost: 0.25 }) })).status, 200);
  await until(async () => near(await spent(gateway), 5 * whole.cost + 0.25), "what the caller says to be counted");
  await (await chat(gateway, { ...ADMIN, ...custom({ total_cost: 1e9 }) })).text();
  await until(async () => near(await spent(gateway), 6 * whole.cost + 0.25), "a price in place of what no request costs");
});

test("money is set aside by the price, which a caller may raise and not lower", async () => {
  const gateway = await gw.create("reserved", budget(1, { reserve: true }));
  const whole = await gw.logOf(await chat(gateway), gateway);
  const aside = (answer) => Number(answer.headers.get("cf-aig-spend-remaining").match(/usd="(.*?)"/)[1]);
  await until(async () => near(await spent(gateway), whole.cost), "the price");
  let sum = whole.cost;
  for (const [headers, said, counted] of [[{}, 0, whole.cost], [{}, 5_000, whole.cost], [ADMIN, 0, whole.cost], [ADMIN, 0.25, 0.25]]) {
    const answer = await chat(gateway, { ...headers, ...custom({ total_cost: said }) });
    assert.equal(answer.status, 200);
    const set = 1 - sum - aside(answer);
    assert.ok(set > 0.005 && (headers === ADMIN && said > 0 ? near(set, 0.25) : set < 0.02), `${set} was set aside`);
    assert.equal((await gw.logOf(answer, gateway)).cost, said);
    sum += counted;
    await until(async () => near(await spent(gateway), sum), `${sum} to be counted`);
  }
});

test("a gateway may not want to hear what a request costs", async () => {
  const gateway = await gw.create("deaf", { ...budget(1), custom_cost: "ignore" });
  assert.equal((await gw.result("/gateways/deaf")).custom_cost, "ignore");
  const price = (await gw.logOf(await chat(gateway), gateway)).cost;
  const answer = await chat(gateway, { ...ADMIN, ...custom({ total_cost: 0.5 }) });
  assert.match(warned(answer), /cf-aig-custom-cost: ignored/);
  const log = await gw.logOf(answer, gateway);
  assert.ok(near(log.cost, price) && !log.custom_cost);
  await until(async () => near(await spent(gateway), 2 * price), "two prices");
  const stranger = await chat(gateway, custom({ total_cost: 0.5 }));
  assert.deepEqual([(await gw.logOf(stranger, gateway)).cost, warned(stranger)], [0.5, ""]);
  await until(async () => near(await spent(gateway), 3 * price), "three prices");
});

test("a time limit that a caller chose opens no circuit", async () => {
  const gateway = await gw.create("hasty", BREAKER);
  assert.equal((await chat(gateway)).status, 200);
  gw.upstream.answer = () => ({ hang: true });
  for (let n = 0; n < 8; n += 1) {
    const answer = await chat(gateway, { "cf-aig-request-timeout": "1" });
    assert.equal(answer.status, 400);
    assert.match((await gw.logOf(answer, gateway)).error, /no answer began within 1 ms/);
  }
  gw.upstream.answer = undefined;
  assert.equal((await chat(gateway)).status, 200);
});

test("with a floor of a second, a provider that is too slow for it is left alone", async () => {
  const gateway = await gw.create("slow", { circuit_breaker: { failures: 2, window: 3_600, cooldown: 3_600, timeout_floor: 1 } });
  assert.equal((await chat(gateway)).status, 200);
  gw.upstream.answer = () => ({ hang: true });
  for (const timeout of ["999", "999", "1000", "1000"]) {
    assert.equal((await chat(gateway, { "cf-aig-request-timeout": timeout })).status, 400);
  }
  const refused = await chat(gateway);
  assert.deepEqual([refused.status, refused.headers.get("cf-aig-circuit")], [503, "open"]);
});

test("a path or a model that always fails opens no circuit, until another caller speaks for it", async () => {
  const gateway = await gw.create("strange", BREAKER);
  gw.upstream.answer = ({ url, body }) => (/strange|broken/.test(url + body) ? failing() : undefined);
  const strange = (headers) => chat(gateway, headers, "openai/chat/strange");
  for (let n = 0; n < 6; n += 1) {
    // Whatever a stranger writes where only a connection speaks.
    const inside = { provider: "openai", endpoint: "chat/strange", headers: { "content-type": "application/json", "cf-connecting-ip": `192.0.2.${n}` }, query: CHAT };
    assert.equal((await gw.call("", { gateway, json: [inside] })).status, 500);
    assert.equal((await chat(gateway, {}, "openai/chat/completions", { ...CHAT, model: "broken" })).status, 500);
    assert.equal((await strange({ "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" })).status, 500);
  }
  assert.equal((await chat(gateway)).status, 200);
  // A caller with a token is another one.
  assert.equal((await strange(await token())).status, 500);
  assert.deepEqual([(await chat(gateway)).status], [503]);
});

test("strangers of two networks are two callers, and one of many addresses is one", async () => {
  const gateway = await gw.create("networks", BREAKER);
  gw.upstream.answer = () => failing();
  const from = (address) => chat(gateway, { "cf-connecting-ip": address }, "openai/chat/nowhere");
  for (let n = 0; n < 6; n += 1) assert.equal((await from(`2001:db8:1:${n}::${n}`)).status, 500);
  assert.equal((await from("2001:db8:1::9")).status, 500, "still closed");
  assert.equal((await from("2001:db8:2::9")).status, 500, "the one that opens it");
  assert.equal((await from("2001:db8:1::9")).status, 503);
});

test("where an endpoint has worked, its failures count whoever has them, and a provider out of reach always does", async () => {
  const worked = await gw.create("worked", BREAKER);
  assert.equal((await chat(worked, {}, "groq/chat/completions")).status, 200);
  gw.upstream.answer = () => failing();
  for (let n = 0; n < 3; n += 1) assert.equal((await chat(worked, {}, "groq/chat/completions")).status, 500);
  assert.equal((await chat(worked, {}, "groq/chat/completions")).status, 503);
  const unreached = await gw.create("unreached", BREAKER);
  gw.upstream.answer = () => ({ reset: true });
  for (let n = 0; n < 3; n += 1) assert.equal((await chat(unreached, {}, "mistral/v1/never")).status, 400);
  assert.equal((await chat(unreached, {}, "mistral/v1/never")).status, 503);
});

test("a stored key's limit counts what is sent with it: every attempt, and every step", async () => {
  const gateway = await gw.create("keyed", { authentication: true });
  const key = { alias: "default", provider_slug: "openai", secret: "sk-stored", rate_limit: 5, rate_limit_period: 30 * 86_400 };
  assert.equal((await gw.api(`/gateways/${gateway}/provider_configs`, { method: "POST", body: JSON.stringify(key) })).status, 200);
  gw.upstream.answer = () => failing();
  const retried = await chat(gateway, { ...ADMIN, "cf-aig-max-attempts": "3", "cf-aig-retry-delay": "1" });
  assert.deepEqual([retried.status, gw.upstream.requests.length], [500, 3]);
  assert.match(retried.headers.get("ratelimit"), /^"key";r=2;/);
  const element = { provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json", "cf-aig-max-attempts": 5, "cf-aig-retry-delay": 1 }, query: CHAT };
  const stepped = await gw.call("", { gateway, headers: ADMIN, json: Array(4).fill(element) });
  assert.deepEqual([stepped.status, gw.upstream.requests.length], [500, 5], "two more were sent");
  assert.ok(gw.upstream.requests.every(({ headers }) => headers.authorization === "Bearer sk-stored"));
  const event = stepped.headers.get("cf-aig-event-id");
  let rows = [];
  await until(async () => (rows = await gw.rows("SELECT step, attempt, status_code, error FROM logs WHERE event_id = ? ORDER BY step, attempt", event)).length === 6, "a row for each attempt");
  assert.deepEqual(rows.map(({ step, attempt, status_code }) => [step, attempt, status_code]), [[0, 1, 500], [0, 2, 500], [0, 3, 429], [1, 1, 429], [2, 1, 429], [3, 1, 429]]);
  assert.match(rows[2].error, /^gateway: Tollgate's rate limit of the stored key/);
  gw.upstream.answer = undefined;
  assert.equal((await chat(gateway, ADMIN)).status, 429);
});

test("one request causes no more calls than it may, all its steps and attempts together", async () => {
  const element = { provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json", "cf-aig-max-attempts": 5, "cf-aig-retry-delay": 0 }, query: CHAT };
  for (const [settings, most, wanted] of [[{}, 20, [[4, 1]]], [{ max_calls: 7 }, 7, [[1, 3]]], [{ max_calls: 100 }, 100, []]]) {
    const gateway = await gw.create(`calls-${most}`, settings);
    assert.equal((await gw.result(`/gateways/${gateway}`)).max_calls, most);
    gw.upstream.requests.length = 0;
    gw.upstream.answer = () => failing();
    const answer = await gw.call("", { gateway, json: Array(20).fill(element) });
    assert.deepEqual([answer.status, (await answer.json()).error.message, gw.upstream.requests.length], [500, "down", most], "the client gets the provider's own words");
    assert.equal(/caused as many calls of providers/.test(warned(answer)), most < 100, warned(answer));
    const event = answer.headers.get("cf-aig-event-id");
    const count = async (condition) => (await gw.rows(`SELECT step, attempt FROM logs WHERE event_id = ? AND ${condition}`, event)).map(({ step, attempt }) => [step, attempt]);
    await until(async () => (await count("1")).length === most + wanted.length, "all rows");
    assert.deepEqual(await count("error LIKE 'gateway: This request has caused%'"), wanted);
  }
  // An answer that comes in time is given.
  gw.upstream.requests.length = 0;
  gw.upstream.answer = () => (gw.upstream.requests.length < 7 ? failing() : undefined);
  const seventh = await gw.call("", { gateway: "calls-7", json: Array(20).fill(element) });
  assert.deepEqual([seventh.status, seventh.headers.get("cf-aig-step"), warned(seventh)], [200, "1", ""]);
  // A plain request is held to it as well, and what was never answered says so.
  const one = await gw.create("calls-1", { max_calls: 1 });
  gw.upstream.answer = () => ({ reset: true });
  gw.upstream.requests.length = 0;
  const unanswered = await chat(one, { "cf-aig-max-attempts": "3", "cf-aig-retry-delay": "1" });
  assert.deepEqual([unanswered.status, gw.upstream.requests.length], [400, 1]);
  assert.match((await unanswered.json()).description, /max_calls allows \(1\)/);
});
