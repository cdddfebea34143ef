// Limits of requests and of money, with requests side by side. Windows are so long, and begin so far away, that no test can
// run into the end of one; what happens there is tested on the host, where time is passed in.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

/** Counts and disturbs the calls to the limiter; see `limiter` below. */
const AROUND = `
import Worker from "./index.js";
export * from "./index.js";
const plan = { mode: "", calls: 0, last: "" };
const around = (namespace) => ({
  getByName: (name) => ({
    fetch: async (url, init) => {
      plan.calls += 1;
      plan.last = init.body;
      if (plan.mode === "throws") throw new Error("the test pulled the plug");
      if (plan.mode === "hangs") await new Promise(() => {});
      if (plan.mode === "babbles") return new Response("[[1]]");
      return namespace.getByName(name).fetch(url, init);
    },
  }),
});
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, LIMITER: around(env.LIMITER) }); }
  async fetch(request) {
    if (new URL(request.url).pathname !== "/__limiter") return super.fetch(request);
    const shown = { ...plan };
    if (request.method === "POST") Object.assign(plan, await request.json());
    return Response.json(shown);
  }
}`;

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };
const HOUR = 3_600;

let gw;
before(async () => {
  gw = await Gateway.start({ around: AROUND });
});
after(() => gw.stop(/"event":"(limiter_failed|spend_not_counted|request_failed)"/));

/** A window of about an hour of which at least half is left, whatever the time is: clocks begin windows at multiples of their length. */
function farFromItsEnd() {
  const seconds = Date.now() / 1_000;
  return Array.from({ length: 4_000 }, (_, n) => HOUR + n).find((window) => seconds % window < window / 2 && seconds % window > 30);
}

const limiter = async (change) => (await fetch(`${gw.url}/__limiter`, change && { method: "POST", body: JSON.stringify(change) })).json();
const chat = (gateway, headers, json = CHAT) => gw.call("openai/chat/completions", { gateway, json, headers });
/** What a request is to cost. Budgets believe that of a caller with a token. */
const costs = (dollars) => ({ "cf-aig-custom-cost": JSON.stringify({ total_cost: dollars }), "cf-aig-authorization": `Bearer ${TOKEN}` });
const tagged = (metadata) => ({ "cf-aig-metadata": JSON.stringify(metadata) });
const limits = (gateway) => gw.result(`/gateways/${gateway}/limits`);
const put = (gateway, settings) => gw.api(`/gateways/${gateway}`, { method: "PUT", body: JSON.stringify(settings) });
const budget = (rule) => ({ spend_limits: { enabled: true, rules: [{ id: "budget", limitType: "cost", window: farFromItsEnd(), ...rule }] } });

/** Sends requests side by side, and reads each answer whole. */
async function together(count, send) {
  const answers = await Promise.all(Array.from({ length: count }, (_, n) => send(n)));
  const bodies = await Promise.all(answers.map((answer) => answer.text()));
  const statuses = answers.map((answer) => answer.status);
  return { answers, bodies, statuses, passed: statuses.filter((status) => status === 200).length, refused: statuses.filter((status) => status === 429).length };
}

/** Waits until what was spent has been counted. */
async function spent(gateway, dollars) {
  await until(async () => Math.abs((await limits(gateway)).spend[0].counters.reduce((sum, counter) => sum + counter.spent, 0) - dollars) < 1e-9, `${dollars} to be counted`);
}

/** All files below a folder, as one text. */
function contents(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile()).map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1")).join("");
}

async function token(permissions = ["run"]) {
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "app", permissions }) });
  return (await made.json()).result;
}

for (const technique of ["fixed", "sliding"]) {
  test(`of 64 parallel requests at a limit of 10 exactly 10 pass (${technique})`, async () => {
    const interval = farFromItsEnd();
    const gateway = await gw.create(`rate-${technique}`, { rate_limiting_limit: 10, rate_limiting_interval: interval, rate_limiting_technique: technique });
    const before = gw.upstream.requests.length;
    const { answers, bodies, passed, refused } = await together(64, () => chat(gateway));
    assert.deepEqual([passed, refused], [10, 54]);
    assert.equal(gw.upstream.requests.length - before, 10, "none of the refused ones was sent");
    const left = [];
    for (const [n, answer] of answers.entries()) {
      assert.equal(answer.headers.get("ratelimit-policy"), `"gateway";q=10;w=${interval}`);
      const [, remaining, resets] = answer.headers.get("ratelimit").match(/^"gateway";r=(\d+);t=(\d+)$/);
      assert.ok(Number(resets) > 0 && Number(resets) <= interval);
      if (answer.status === 200) {
        left.push(Number(remaining));
        assert.equal(answer.headers.get("retry-after"), null);
        continue;
      }
      const body = JSON.parse(bodies[n]);
      assert.deepEqual([body.error, body.internalCode, body.httpCode, body.success, remaining], [[{ code: 2003, message: "Rate limited" }], 2003, 429, false, "0"]);
      const wait = Number(answer.headers.get("retry-after"));
      // The end of a fixed window, or when the first of the last hour is an hour ago.
      const wanted = technique === "fixed" ? interval - (Date.now() / 1_000) % interval : interval;
      assert.ok(Math.abs(wait - wanted) < 30, `${wait} is about ${wanted}`);
    }
    assert.deepEqual(left.sort((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const log = await gw.logOf(answers.find((answer) => answer.status === 429), gateway);
    assert.deepEqual([log.status_code, log.success, log.error.startsWith("gateway: Tollgate's rate limit 'gateway'")], [429, false, true]);
    const [rule] = (await limits(gateway)).rate;
    assert.deepEqual([rule.id, rule.counters[0].count, rule.counters[0].remaining, rule.technique], ["gateway", 10, 0, technique]);
  });
}

test("each token and each metadata value has a limit of its own, and a request without them has none", async () => {
  const rules = [{ id: "per-token", key: "token", limit: 3, interval: farFromItsEnd() }, { key: "metadata.user", limit: 2, interval: farFromItsEnd(), technique: "sliding" }];
  const gateway = await gw.create("rules", { authentication: true, rate_limiting_rules: rules });
  const shown = (await gw.result("/gateways/rules")).rate_limiting_rules;
  assert.match(shown[1].id, /^[a-z0-9]{26}-1$/);
  const [one, other] = [await token(), await token()];
  const as = ({ value }, metadata) => ({ "cf-aig-authorization": `Bearer ${value}`, ...(metadata && tagged(metadata)) });
  const admin = { "cf-aig-authorization": `Bearer ${TOKEN}` };
  const run = async (count, headers) => (await together(count, () => chat(gateway, headers))).passed;
  assert.deepEqual([await run(32, as(one)), await run(32, as(other)), await run(8, admin)], [3, 3, 8]);
  const users = await together(64, (n) => chat(gateway, { ...admin, ...tagged({ user: n % 2 ? "a" : 7 }) }));
  assert.equal(users.passed, 4);
  // 7 and "7" are the same to people.
  assert.equal(await run(1, { ...admin, ...tagged({ user: "7" }) }), 0);
  const refused = await chat(gateway, { ...admin, ...tagged({ user: "a" }) });
  assert.match(refused.headers.get("ratelimit"), new RegExp(`^"${shown[1].id}";r=0;t=\\d+$`));
  const state = await limits(gateway);
  const partitions = state.rate.map(({ counters }) => Object.fromEntries(counters.map(({ partition, count }) => [Object.values(partition)[0], count])));
  assert.deepEqual(partitions, [{ [one.id]: 3, [other.id]: 3 }, { a: 2, 7: 2 }]);
});

test("a stored key is sent no more often than it may be, and another step may use another", async () => {
  const gateway = await gw.create("stored-key", { authentication: true });
  const key = { alias: "default", provider_slug: "openai", secret: "sk-stored", rate_limit: 5, rate_limit_period: farFromItsEnd() };
  assert.equal((await gw.api(`/gateways/${gateway}/provider_configs`, { method: "POST", body: JSON.stringify(key) })).status, 200);
  const admin = { "cf-aig-authorization": `Bearer ${TOKEN}` };
  const { answers, passed, refused } = await together(64, () => chat(gateway, admin));
  assert.deepEqual([passed, refused, answers[0].headers.get("ratelimit-policy")], [5, 59, `"key";q=5;w=${key.rate_limit_period}`]);
  assert.equal((await chat(gateway, { ...admin, authorization: "Bearer sk-own" })).status, 200);
  const element = (headers) => ({ provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json", ...headers }, query: CHAT });
  const stepped = await gw.call("", { gateway, json: [element({}), element({ authorization: "Bearer sk-own" })], headers: admin });
  assert.deepEqual([stepped.status, stepped.headers.get("cf-aig-step")], [200, "1"]);
});

test("a request that one limit refuses takes from no other", async () => {
  const interval = farFromItsEnd();
  const gateway = await gw.create("both", { rate_limiting_limit: 10, rate_limiting_interval: interval, rate_limiting_rules: [{ id: "user", key: "metadata.user", limit: 1, interval }] });
  assert.equal((await together(20, () => chat(gateway, tagged({ user: "a" })))).passed, 1);
  const { answers, passed } = await together(20, (n) => chat(gateway, tagged({ user: `b${n}` })));
  assert.equal(passed, 9);
  assert.match(answers[0].headers.get("ratelimit-policy"), /^"gateway";q=10;w=\d+, "user";q=1;w=\d+$/);
});

test("the attempts of a request and the steps of a universal one count once", async () => {
  const gateway = await gw.create("steps", { rate_limiting_limit: 3, rate_limiting_interval: farFromItsEnd() });
  gw.upstream.next({ status: 500 });
  gw.upstream.next({ status: 500 });
  const retried = await chat(gateway, { "cf-aig-max-attempts": "3", "cf-aig-retry-delay": "1" });
  assert.deepEqual([retried.status, retried.headers.get("cf-aig-attempt"), retried.headers.get("ratelimit").split(";")[1]], [200, "3", "r=2"]);
  const universal = (...elements) => gw.call("", { gateway, json: elements.map((element) => ({ provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json" }, query: CHAT, ...element })) });
  gw.upstream.next({ status: 500 });
  const stepped = await universal({}, {});
  assert.deepEqual([stepped.status, stepped.headers.get("cf-aig-step")], [200, "1"]);
  assert.equal((await limits(gateway)).rate[0].counters[0].count, 2);
  // A first step that never got as far as the limits does not open the way past them.
  assert.equal((await universal({ provider: "nothing" }, {})).status, 200);
  const before = gw.upstream.requests.length;
  const refused = await universal({ provider: "nothing" }, {}, {});
  assert.deepEqual([refused.status, (await refused.json()).internalCode, gw.upstream.requests.length], [429, 2003, before]);
});

test("the steps of a universal request are its token's", async () => {
  const gateway = await gw.create("steps-token", { authentication: true, rate_limiting_rules: [{ id: "t", key: "token", limit: 1, interval: farFromItsEnd() }] });
  const { value } = await token();
  const element = { provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json" }, query: CHAT };
  const { statuses } = await together(4, () => gw.call("", { gateway, json: [element], headers: { "cf-aig-authorization": `Bearer ${value}` } }));
  assert.deepEqual(statuses.sort(), [200, 429, 429, 429]);
  // Also where only the elements bring the token.
  const open = await gw.create("steps-open", { rate_limiting_rules: [{ id: "t", key: "token", limit: 1, interval: farFromItsEnd() }] });
  const bringing = { ...element, headers: { ...element.headers, "cf-aig-authorization": `Bearer ${value}` } };
  const inside = await together(4, () => gw.call("", { gateway: open, json: [bringing] }));
  assert.deepEqual(inside.statuses.sort(), [200, 429, 429, 429]);
});

test("a budget is used up by what requests did cost", async () => {
  const window = farFromItsEnd();
  const gateway = await gw.create("spend", budget({ limit: 0.5, window }));
  const first = await chat(gateway, costs(0.3));
  assert.deepEqual([first.status, first.headers.get("cf-aig-spend-remaining").replace(/\d+$/, "")], [200, '"budget";usd="0.5";t=']);
  await spent(gateway, 0.3);
  const second = await chat(gateway, costs(0.3));
  assert.equal(second.headers.get("cf-aig-spend-remaining").replace(/;t=\d+$/, ""), '"budget";usd="0.2"');
  await spent(gateway, 0.6);
  const refused = await chat(gateway, costs(0));
  const body = await refused.json();
  const message = `Spend limit exceeded: rule 'budget' (cost limit 0.5 per ${window}s, sliding) for openai gpt-4o`;
  assert.deepEqual([refused.status, body.error, body.internalCode, body.message], [429, [{ code: 2045, message }], 2045, message]);
  const wait = Number(refused.headers.get("retry-after"));
  assert.ok(wait > 0 && wait <= 2 * window);
  const [counter] = (await limits(gateway)).spend[0].counters;
  assert.deepEqual([counter.partition, counter.spent, counter.reserved, counter.remaining], [{}, 0.6, 0, 0]);
  assert.ok(Date.parse(counter.resets_at) > Date.now());
  assert.equal((await gw.logOf(refused, gateway)).cost, 0);
  // Other gateways have budgets of their own, also with the same rule.
  assert.equal((await chat(await gw.create("spend-beside", budget({ limit: 0.5 })))).status, 200);
});

test("a known price is counted as the log has it, whole and streamed, with the log switched off as well", async () => {
  const gateway = await gw.create("priced", budget({ limit: 100, technique: "fixed" }));
  const whole = await chat(gateway);
  const { cost } = await gw.logOf(whole, gateway);
  assert.ok(cost > 0);
  await spent(gateway, cost);
  const streamed = await chat(gateway, {}, { ...CHAT, stream: true });
  await streamed.text();
  const both = cost + (await gw.logOf(streamed, gateway)).cost;
  await spent(gateway, both);
  const silent = await chat(gateway, { "cf-aig-collect-log": "false" });
  assert.deepEqual([silent.headers.get("cf-aig-log-id"), (await silent.json()).object], [null, "chat.completion"]);
  await spent(gateway, both + cost);
  assert.equal((await gw.result(`/gateways/${gateway}/logs`)).length, 2);
});

test("rules are about what their dimensions say, with a budget for each value of a partition", async () => {
  const window = farFromItsEnd();
  const rule = (id, dimensions) => ({ id, limit: 0.1, limitType: "cost", window, ...dimensions });
  const gateway = await gw.create("dimensions", {
    spend_limits: {
      enabled: true,
      rules: [
        rule("team", { limit: 0.2, metadata: { team: { mode: "partition" } } }),
        rule("mini", { model: { mode: "filter", values: ["gpt-4o-mini"] } }),
        rule("anthropic", { provider: { mode: "filter", values: ["anthropic"] } }),
        rule("off", { enabled: false, limit: 0.000001 }),
      ],
    },
  });
  const run = async (headers, model = "gpt-4o") => {
    const answer = await chat(gateway, { ...costs(0.2), ...headers }, { ...CHAT, model });
    return answer.status === 200 ? 200 : (await answer.json()).message.match(/rule '(.*?)'/)[1];
  };
  assert.equal(await run(tagged({ team: "a" })), 200);
  await spent(gateway, 0.2);
  assert.deepEqual([await run(tagged({ team: "a" })), await run({}), await run({}, "gpt-4o-mini")], ["team", 200, 200]);
  await until(async () => (await limits(gateway)).spend[1].counters[0].spent > 0, "the other rule to have counted");
  assert.deepEqual([await run({}, "GPT-4o-mini"), await run({})], ["mini", 200]);
  assert.equal(await run(tagged({ team: "b" })), 200);
  await until(async () => (await limits(gateway)).spend[0].counters.length === 2, "both teams");
  const { spend } = await limits(gateway);
  assert.deepEqual(spend[0].counters.map(({ partition }) => partition["metadata.team"]).sort(), ["a", "b"]);
  assert.deepEqual([spend[2].counters[0].spent, spend[3].enabled], [0, false]);
});

test("with reserve a budget for 10 lets 10 of 64 parallel requests pass, and what they did not cost is free again", async () => {
  const gateway = await gw.create("reserve", budget({ limit: 1, reserve: true, technique: "fixed" }));
  // Each sets 0.1 aside, and costs that. They wait for each other, so none is settled before all were asked.
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  gw.upstream.answer = () => ({ after: released, body: "{}", headers: { "content-type": "application/json" } });
  const before = gw.upstream.requests.length;
  const sent = Promise.all(Array.from({ length: 64 }, async () => {
    const answer = await chat(gateway, costs(0.1));
    await answer.text();
    return answer.status;
  }));
  await until(async () => gw.upstream.requests.length - before === 10, "ten requests to be under way");
  const under = (await limits(gateway)).spend[0].counters[0];
  assert.deepEqual([under.reserved, under.spent, under.remaining], [1, 0, 0]);
  release();
  gw.upstream.answer = undefined;
  const statuses = await sent;
  assert.deepEqual([statuses.filter((status) => status === 200).length, statuses.filter((status) => status === 429).length], [10, 54]);
  await spent(gateway, 1);
  assert.equal((await chat(gateway, costs(0.0001))).status, 429);
});

test("a reservation is settled to what was spent, also where nothing was", async () => {
  const gateway = await gw.create("settle", budget({ limit: 0.05, reserve: true }));
  // By its price: some input, and 1000 tokens of output at most.
  const answer = await chat(gateway, {}, { ...CHAT, max_tokens: 1_000 });
  const estimated = 0.05 - Number(answer.headers.get("cf-aig-spend-remaining").match(/usd="(.*?)"/)[1]);
  assert.ok(estimated > 0.01 && estimated < 0.011, `${estimated}`);
  const { cost } = await gw.logOf(answer, gateway);
  await spent(gateway, cost);
  const settled = async () => (await limits(gateway)).spend[0].counters[0];
  assert.deepEqual([(await settled()).reserved, (await settled()).spent], [0, Math.round(cost * 1e9) / 1e9]);
  // More output than the budget has is refused at once, and a provider that fails costs nothing.
  assert.equal((await chat(gateway, {}, { ...CHAT, max_tokens: 100_000 })).status, 429);
  gw.upstream.next({ status: 500 });
  assert.equal((await chat(gateway)).status, 500);
  gw.upstream.next({ reset: true });
  await (await chat(gateway)).text();
  await until(async () => (await settled()).reserved === 0, "everything to be settled");
  assert.equal((await settled()).spent, Math.round(cost * 1e9) / 1e9);
  // A model without a price sets 0.01 aside.
  const unknown = await chat(gateway, {}, { ...CHAT, model: "never-heard-of" });
  const left = Number(unknown.headers.get("cf-aig-spend-remaining").match(/usd="(.*?)"/)[1]);
  assert.ok(Math.abs(0.05 - cost - 0.01 - left) < 1e-8, `${left}`);
});

test("with reserve, an answer that does not say what it cost counts as what was set aside for it", async () => {
  const gateway = await gw.create("silent", budget({ limit: 1, reserve: true, technique: "fixed" }));
  const aside = (answer) => 1 - Number(answer.headers.get("cf-aig-spend-remaining").match(/usd="(.*?)"/)[1]);
  // OpenAI tells the tokens of a stream only to those who ask for them.
  const chunk = 'data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n';
  gw.upstream.next({ events: [chunk, "data: [DONE]\n\n"] });
  const streamed = await chat(gateway, {}, { ...CHAT, stream: true });
  await streamed.text();
  const estimated = aside(streamed);
  assert.ok(estimated > 0.001, `${estimated}`);
  assert.equal((await gw.logOf(streamed, gateway)).cost, null);
  await spent(gateway, estimated);
  // Who leaves before the end has had most of an answer.
  gw.upstream.next({ events: Array(50).fill(chunk), pause: 20 });
  const stop = new AbortController();
  const left = await fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}/openai/chat/completions`, { method: "POST", body: JSON.stringify({ ...CHAT, stream: true }), headers: { "content-type": "application/json" }, signal: stop.signal });
  await left.body.getReader().read();
  stop.abort();
  await spent(gateway, 2 * estimated);
  // Without an answer nothing was spent, and what has no price cannot be estimated.
  gw.upstream.next({ status: 500 });
  await (await chat(gateway)).text();
  gw.upstream.next({ body: "{}", headers: { "content-type": "application/json" } });
  const other = await chat(gateway, {}, { ...CHAT, model: "never-heard-of" });
  await other.text();
  await until(async () => (await limits(gateway)).spend[0].counters[0].reserved === 0, "everything to be settled");
  await spent(gateway, 2 * estimated);
});

test("a step that a budget refuses gives way to the next", async () => {
  const gateway = await gw.create("cheaper", budget({ limit: 0.1, model: { mode: "filter", values: ["gpt-4o"] } }));
  await chat(gateway, costs(0.2));
  await spent(gateway, 0.2);
  const element = (model) => ({ provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json" }, query: { ...CHAT, model } });
  const answer = await gw.call("", { gateway, json: [element("gpt-4o"), element("gpt-4o-mini")] });
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step")], [200, "1"]);
  const refused = await gw.call("", { gateway, json: [element("gpt-4o"), element("gpt-4o")] });
  assert.deepEqual([refused.status, (await refused.json()).internalCode], [429, 2045]);
});

test("counters go on when settings are written again, and hold for the changed limit", async () => {
  const gateway = await gw.create("again", { ...budget({ limit: 0.5 }), rate_limiting_limit: 4, rate_limiting_interval: farFromItsEnd() });
  assert.equal((await chat(gateway, costs(0.4))).status, 200);
  await spent(gateway, 0.4);
  const settings = await gw.result(`/gateways/${gateway}`);
  settings.spend_limits.rules[0].limit = 0.3;
  assert.equal((await put(gateway, settings)).status, 200);
  assert.equal((await chat(gateway)).status, 429);
  assert.equal((await put(gateway, { rate_limiting_limit: 1, spend_limits: null })).status, 200);
  const refused = await chat(gateway);
  assert.deepEqual([refused.status, (await refused.json()).internalCode], [429, 2003]);
  assert.equal((await put(gateway, { rate_limiting_limit: null })).status, 200);
  const free = await chat(gateway);
  assert.deepEqual([free.status, free.headers.get("ratelimit")], [200, null]);
});

test("wrong rules are refused by name, and change nothing", async () => {
  const gateway = await gw.create("strict");
  const before = await gw.result(`/gateways/${gateway}`);
  for (const [settings, path] of [
    [{ rate_limiting_rules: [{ key: "ip", limit: 1, interval: 1 }] }, ["body", "rate_limiting_rules", "0", "key"]],
    [{ rate_limiting_rules: [{ key: "token", limit: 0, interval: 1 }] }, ["body", "rate_limiting_rules", "0", "limit"]],
    [{ spend_limits: { enabled: true, rules: [{ limit: "1", limitType: "cost", window: 60 }] } }, ["body", "spend_limits", "rules", "0", "limit"]],
    [{ spend_limits: { enabled: true, rules: [{ limit: 1, limitType: "cost", window: 60, model: { mode: "filter", values: [] } }] } }, ["body", "spend_limits", "rules", "0", "model", "values"]],
  ]) {
    const answer = await put(gateway, settings);
    const { errors } = await answer.json();
    assert.deepEqual([answer.status, errors[0].code, errors[0].path], [400, 7001, path]);
  }
  assert.deepEqual(await gw.result(`/gateways/${gateway}`), before);
});

test("a gateway without limits never asks the limiter, and one with all kinds asks once", async () => {
  const plain = await gw.create("plain");
  await limiter({ calls: 0 });
  assert.equal((await together(16, () => chat(plain))).passed, 16);
  assert.equal((await limits(plain)).rate.length, 0);
  assert.equal((await limiter({ calls: 0 })).calls, 0);
  const interval = farFromItsEnd();
  const all = await gw.create("all", { ...budget({ limit: 100 }), rate_limiting_limit: 100, rate_limiting_interval: interval, rate_limiting_rules: [{ key: "metadata.user", limit: 100, interval }] });
  await (await chat(all, { ...tagged({ user: "a" }), ...costs(0.1) })).text();
  await until(async () => (await limiter()).calls === 2, "one call before the request, and one behind it for what it did cost");
  // Requests that cost nothing that is known have no second call; nor do those that budgets are not about.
  await put(all, { spend_limits: null });
  await limiter({ calls: 0 });
  await gw.logOf(await chat(all), all);
  assert.equal((await limiter()).calls, 1);
});

test("answers from the cache are not limited, and cost nothing", async () => {
  const gateway = await gw.create("cached", { ...budget({ limit: 0.1 }), cache_ttl: 600, rate_limiting_limit: 1, rate_limiting_interval: farFromItsEnd() });
  const first = await chat(gateway, costs(0.2));
  assert.deepEqual([first.status, first.headers.get("cf-aig-cache-status"), (await first.json()).object], [200, "MISS", "chat.completion"]);
  await spent(gateway, 0.2);
  await until(async () => (await chat(gateway, costs(0.2))).headers.get("cf-aig-cache-status") === "HIT", "the answer to be kept");
  const hit = await chat(gateway, costs(0.2));
  assert.deepEqual([hit.status, hit.headers.get("ratelimit"), hit.headers.get("cf-aig-spend-remaining")], [200, null, null]);
  await gw.logOf(hit, gateway);
  const state = await limits(gateway);
  assert.deepEqual([state.rate[0].counters[0].count, state.spend[0].counters[0].spent], [1, 0.2]);
  // The same request at once, which nothing is kept for: a request that waited for the first is refused like it.
  assert.deepEqual((await together(4, () => chat(gateway, {}, { ...CHAT, n: 2 }))).statuses, [429, 429, 429, 429]);
});

test("a new gateway of the same name begins with nothing counted", async () => {
  const settings = { rate_limiting_limit: 1, rate_limiting_interval: farFromItsEnd() };
  for (let turn = 0; turn < 2; turn += 1) {
    await gw.create("phoenix", settings);
    assert.deepEqual([(await chat("phoenix")).status, (await chat("phoenix")).status], [200, 429]);
    assert.equal((await gw.api("/gateways/phoenix", { method: "DELETE" })).status, 200);
    await until(async () => JSON.parse((await limiter()).last)[0] === "forget", "the counters to be forgotten");
  }
});

for (const mode of ["throws", "hangs", "babbles"]) {
  test(`while the limiter ${mode}, requests pass unless money is set aside for them`, async () => {
    const interval = farFromItsEnd();
    const open = await gw.create(`open-${mode}`, { ...budget({ limit: 100 }), rate_limiting_limit: 1, rate_limiting_interval: interval });
    const closed = await gw.create(`closed-${mode}`, { ...budget({ limit: 100, reserve: true }), rate_limiting_limit: 100, rate_limiting_interval: interval });
    await limiter({ mode });
    const printed = gw.output.length;
    try {
      const answers = await Promise.all([chat(open), chat(open), chat(closed)]);
      assert.deepEqual(answers.map(({ status }) => status), [200, 200, 503]);
      assert.deepEqual([answers[0].headers.get("ratelimit"), (await answers[0].json()).object], [null, "chat.completion"]);
      const refused = await answers[2].json();
      assert.deepEqual([refused.internalCode, /spend limits of this gateway/.test(refused.description)], [7000, true]);
      await until(() => gw.output.slice(printed).filter((line) => line.includes("limiter_failed")).length === 3, "a line for each");
      const lines = gw.output.slice(printed).filter((line) => line.includes("limiter_failed"));
      assert.deepEqual(lines.map((line) => /"request":"(.*?)"/.exec(line)[1]).sort(), ["let through", "let through", "refused"]);
      if (mode !== "hangs") assert.equal((await gw.api(`/gateways/${open}/limits`)).status, 500);
    } finally {
      await limiter({ mode: "" });
    }
    // As soon as it is back, everything is counted again; what was let through meanwhile is not.
    assert.deepEqual([(await chat(open)).status, (await chat(open)).status, (await chat(closed)).status], [200, 429, 200]);
  });
}

test("counters are there after a restart", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-"));
  const settings = { ...budget({ limit: 0.5, technique: "fixed" }), rate_limiting_limit: 3, rate_limiting_interval: farFromItsEnd() };
  const call = (gateway, headers) => gateway.call("openai/chat/completions", { json: CHAT, headers });
  const state = async (gateway) => {
    const { rate, spend } = await gateway.result("/gateways/gw/limits");
    return [rate[0].counters[0].count, spend[0].counters[0].spent];
  };
  try {
    const first = await Gateway.start({ folder });
    await first.create("gw", settings);
    for (const dollars of [0.1, 0.2]) assert.equal((await call(first, costs(dollars))).status, 200);
    // No request asks for them: they are stored by themselves.
    await until(() => contents(folder).includes('"current":300000000000'), "both costs to be stored");
    await first.stop();
    const second = await Gateway.start({ folder });
    assert.deepEqual(await state(second), [2, 0.3]);
    assert.deepEqual([(await call(second)).status, (await call(second)).status], [200, 429]);
    await second.stop();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("limits are shown to those who may read, of their own account", async () => {
  const url = (account) => `${gw.url}/accounts/${account}/ai-gateway/gateways/plain/limits`;
  const { value } = await token();
  const status = async (url, bearer) => (await fetch(url, { headers: { authorization: `Bearer ${bearer}` } })).status;
  assert.deepEqual([await status(url(ACCOUNT), value), await status(url("stranger"), TOKEN), await status(url(ACCOUNT), (await token(["read"])).value)], [403, 404, 200]);
});
