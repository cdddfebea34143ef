import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { ACCOUNT, Gateway, until } from "../harness.mjs";

let gw;
before(async () => (gw = await Gateway.start()));
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const BODY = { model: "gpt-4o", messages: [] };
const LONG = { circuit_breaker: { failures: 3, window: 3600, cooldown: 3600 } };
const failing = (status) => ({ status, headers: { "content-type": "application/json" }, body: '{"error":{"message":"down"}}' });
const fail = (...behaviours) => behaviours.forEach((behaviour) => gw.upstream.next(typeof behaviour === "number" ? failing(behaviour) : behaviour));
const chat = (gateway, headers, provider = "openai") => gw.call(`${provider}/chat/completions`, { gateway, json: BODY, headers });

/** Every test has a gateway of its own: circuits are kept for as long as the Worker lives. */
async function broken(gateway, settings = LONG) {
  await gw.create(gateway, settings);
  for (let n = 0; n < settings.circuit_breaker.failures; n += 1) {
    fail(500);
    assert.equal((await chat(gateway)).status, 500);
  }
}

test("without the setting a provider is asked however often it fails", async () => {
  await gw.create("off");
  for (let n = 0; n < 6; n += 1) {
    fail(500);
    assert.equal((await chat("off")).status, 500);
  }
  assert.equal((await chat("off")).status, 200);
  assert.equal(gw.upstream.requests.length, 7);
});

test("a provider that failed repeatedly is not asked, and the refusal says so everywhere", async () => {
  await broken("native");
  const refused = await chat("native");
  const { internalCode, httpCode, description } = await refused.json();
  assert.deepEqual([refused.status, httpCode, internalCode, refused.headers.get("cf-aig-circuit")], [503, 503, 2005, "open"]);
  const seconds = Number(refused.headers.get("retry-after"));
  assert.ok(seconds > 3_500 && seconds <= 3_600, `${seconds}`);
  assert.match(description, /^circuit open: openai failed repeatedly/);
  assert.equal(gw.upstream.requests.length, 3);
  const log = await gw.logOf(refused, "native");
  assert.deepEqual([log.status_code, log.success, log.provider, log.model, log.answered], [503, false, "openai", "gpt-4o", true]);
  assert.match(log.error, /^gateway: circuit open: openai/);
  // Other providers, and the same provider of another gateway, have circuits of their own.
  assert.equal((await chat("native", {}, "groq")).status, 200);
  await gw.create("beside", LONG);
  assert.equal((await chat("beside")).status, 200);
});

test("what opens a circuit: 5xx and no answer, but not what the caller or its key is to blame for", async () => {
  await gw.create("causes", { circuit_breaker: { failures: 3, window: 3600, cooldown: 3600 } });
  for (const status of [400, 401, 403, 404, 408, 409, 422, 425, 429]) {
    fail(status);
    assert.equal((await chat("causes")).status, status);
  }
  fail({ reset: true });
  assert.equal((await chat("causes")).status, 400);
  // So short a time limit was the caller's choice.
  fail({ hang: true });
  assert.equal((await chat("causes", { "cf-aig-request-timeout": "50" })).status, 400);
  fail(500);
  assert.equal((await chat("causes")).status, 500);
  assert.equal((await chat("causes")).status, 200);
  fail(529);
  assert.equal((await chat("causes")).status, 529);
  assert.equal((await chat("causes")).headers.get("cf-aig-circuit"), "open");
});

test("a circuit that opens ends the attempts of the request that opened it", async () => {
  await gw.create("attempts", { circuit_breaker: { failures: 2, window: 3600, cooldown: 3600 } });
  fail(500, 502, 503);
  const answer = await chat("attempts", { "cf-aig-max-attempts": "5", "cf-aig-retry-delay": "1" });
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-attempt"), gw.upstream.requests.length], [502, "2", 2]);
  // The third reached no client.
  assert.equal((await chat("attempts", {}, "groq")).status, 503);
});

test("a universal request goes straight to the next step, and names the ones it skipped", async () => {
  await broken("universal");
  const element = (provider) => ({ provider, endpoint: "chat/completions", headers: { "cf-aig-max-attempts": 3 }, query: BODY });
  const run = (...providers) => fetch(`${gw.url}/v1/${ACCOUNT}/universal`, { method: "POST", body: JSON.stringify(providers.map(element)) });
  gw.upstream.requests.length = 0;
  const answer = await run("openai", "groq");
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step"), answer.headers.get("cf-aig-skipped"), answer.headers.get("cf-aig-circuit")], [200, "1", "0", null]);
  assert.deepEqual(gw.upstream.requests.map(({ provider }) => provider), ["groq"]);
  let rows = [];
  const event = answer.headers.get("cf-aig-event-id");
  await until(async () => (rows = await gw.rows("SELECT * FROM logs WHERE event_id = ? ORDER BY step, attempt", event)).length === 2, "two rows");
  assert.deepEqual(rows.map(({ step, status_code, answered, success }) => [step, status_code, answered, success]), [[0, 503, 0, 0], [1, 200, 1, 1]]);
  assert.match(rows[0].error, /^gateway: circuit open/);
  // Where nothing is left, the refusal is the answer; where another provider spoke, its own words are.
  const all = await run("openai", "openai");
  assert.deepEqual([all.status, all.headers.get("cf-aig-skipped"), all.headers.get("cf-aig-circuit")], [503, "0, 1", "open"]);
  assert.ok(Number(all.headers.get("retry-after")) > 0);
  fail(404);
  const spoken = await run("groq", "openai");
  assert.deepEqual([spoken.status, spoken.headers.get("cf-aig-step"), spoken.headers.get("cf-aig-skipped"), (await spoken.json()).error.message], [404, "0", "1", "down"]);
});

test("after the cooldown one request finds out: a success closes the circuit", async () => {
  await broken("short", { circuit_breaker: { failures: 2, window: 3600, cooldown: 1 } });
  let answer;
  await until(async () => (answer = await chat("short")).status === 200, "the cooldown to end");
  assert.equal(gw.upstream.requests.length, 3, "nothing was sent meanwhile");
  assert.equal((await chat("short")).status, 200);
  // What had failed before counts no more.
  fail(500);
  assert.equal((await chat("short")).status, 500);
  assert.equal((await chat("short")).status, 200);
});

test("a trial that fails opens the circuit again, and no second request is let through with it", async () => {
  await broken("trial", { circuit_breaker: { failures: 2, window: 3600, cooldown: 1 } });
  // From the trial on it is a long time, so that nothing depends on how fast the test goes on.
  assert.equal((await gw.api("/gateways/trial", { method: "PUT", body: JSON.stringify({ collect_logs: true, ...LONG }) })).status, 200);
  gw.upstream.answer = () => failing(500);
  let trial;
  await until(async () => (trial = await chat("trial")).status === 500, "the trial");
  gw.upstream.answer = undefined;
  assert.equal(trial.headers.get("cf-aig-circuit"), null);
  assert.equal((await chat("trial")).headers.get("cf-aig-circuit"), "open");
  assert.equal(gw.upstream.requests.length, 3);
});

test("a header of the provider's that has our name is not passed on", async () => {
  await gw.create("names");
  gw.upstream.next({ status: 200, headers: { "cf-aig-circuit": "open", "cf-aig-skipped": "0", "content-type": "application/json" }, body: "{}" });
  const answer = await chat("names");
  assert.deepEqual([answer.headers.get("cf-aig-circuit"), answer.headers.get("cf-aig-skipped")], [null, null]);
});

test("settings that make no sense are refused and name the field", async () => {
  for (const [member, circuit_breaker] of [["failures", { failures: 0, window: 1, cooldown: 1 }], ["window", { failures: 1, window: 3601, cooldown: 1 }], ["cooldown", { failures: 1, window: 1 }], ["more", { failures: 1, window: 1, cooldown: 1, more: 1 }]]) {
    const answer = await gw.api("/gateways", { method: "POST", body: JSON.stringify({ id: "wrong", circuit_breaker }) });
    assert.deepEqual([answer.status, (await answer.json()).errors[0].path], [400, ["body", "circuit_breaker", member]]);
  }
  assert.deepEqual((await gw.result("/gateways/native")).circuit_breaker, LONG.circuit_breaker);
  assert.equal((await gw.result("/gateways/off")).circuit_breaker, null);
});

test("where circuits stand is shown with the limits", async () => {
  await gw.create("shown", LONG);
  const circuits = async () => (await gw.result("/gateways/shown/limits")).circuits;
  assert.deepEqual(await circuits(), []);
  fail({ reset: true }, { reset: true });
  await chat("shown", {}, "groq");
  await chat("shown", {}, "groq");
  const [closed] = await circuits();
  assert.deepEqual([closed.provider, closed.state, closed.failures, closed.limit, closed.tried_at], ["groq", "closed", 2, 3, null]);
  fail({ reset: true });
  await chat("shown", {}, "groq");
  const [open, ...others] = await circuits();
  assert.deepEqual([open.provider, open.state, others], ["groq", "open", []]);
  assert.match(open.origin, /^https?:\/\//);
  const left = Date.parse(open.tried_at) - Date.now();
  assert.ok(left > 3_500_000 && left <= 3_600_000, `${left}`);
  // Without the setting no circuit is open.
  assert.equal((await gw.api("/gateways/shown", { method: "PUT", body: JSON.stringify({ circuit_breaker: null }) })).status, 200);
  await until(async () => (await circuits()).length === 0, "the circuits to go");
});
