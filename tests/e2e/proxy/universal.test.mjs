import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  await gw.create("locked", { authentication: true });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const chat = (extra) => ({ provider: "openai", endpoint: "chat/completions", headers: { authorization: "Bearer sk-test" }, query: { model: "gpt-4o", messages: [] }, ...extra });
const failing = (status, message) => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify({ error: { message } }) });

function universal(body, { gateway = "gw", headers, slash = "", ...init } = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}${slash}`, { method: "POST", body: text, headers: { "content-type": "application/json", ...headers }, ...init });
}

/** The rows of an answer's event, once there are so many. */
async function steps(answer, count) {
  const event = answer.headers.get("cf-aig-event-id");
  let rows = [];
  await until(async () => (rows = await gw.rows("SELECT * FROM logs WHERE event_id = ? ORDER BY step", event)).length === count, `${count} rows`);
  return rows;
}

test("the first element answers, and nothing else is asked", async () => {
  for (const slash of ["", "/"]) {
    const answer = await universal([chat(), chat({ provider: "groq" })], { slash });
    assert.deepEqual([answer.status, answer.headers.get("cf-aig-step"), (await answer.json()).object], [200, "0", "chat.completion"]);
    const [row] = await steps(answer, 1);
    assert.deepEqual([row.step, row.provider, row.success, row.id], [0, "openai", 1, answer.headers.get("cf-aig-log-id")]);
  }
  assert.deepEqual(gw.upstream.requests.map(({ provider }) => provider), ["openai", "openai"]);
});

test("a failed element is followed by the next, and each leaves a row under one event", async () => {
  gw.upstream.next(failing(500, "first"));
  gw.upstream.next({ reset: true });
  const answer = await universal([chat(), chat({ provider: "groq" }), { provider: "anthropic", endpoint: "v1/messages", query: { model: "claude-sonnet-4-5" } }]);
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step"), (await answer.json()).type], [200, "2", "message"]);
  const rows = await steps(answer, 3);
  assert.deepEqual(rows.map(({ step, provider, success, status_code }) => [step, provider, success, status_code]), [[0, "openai", 0, 500], [1, "groq", 0, 400], [2, "anthropic", 1, 200]]);
  assert.match(rows[0].error, /first/);
  const log = await gw.logOf(answer);
  assert.deepEqual([log.step, log.event_id], [2, rows[0].id]);
  // The answer that no client saw is in its log all the same.
  assert.match(await (await gw.api(`/gateways/gw/logs/${rows[0].id}/response`)).text(), /first/);
});

test("when all fail, the last failure is the answer", async () => {
  gw.upstream.next(failing(500, "first"));
  gw.upstream.next(failing(429, "second"));
  const answer = await universal([chat(), chat()]);
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step"), await answer.json()], [429, "1", { error: { message: "second" } }]);
  await steps(answer, 2);
});

test("when all fail, what a provider said comes before what it did not", async () => {
  gw.upstream.next(failing(404, "first"));
  gw.upstream.next({ reset: true });
  const answer = await universal([chat(), chat({ provider: "groq" }), chat({ provider: "nobody" })]);
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step"), await answer.json()], [404, "0", { error: { message: "first" } }]);
  const rows = await steps(answer, 3);
  assert.deepEqual(rows.map(({ step, answered, status_code }) => [step, answered, status_code]), [[0, 1, 404], [1, 0, 400], [2, 0, 400]]);
  assert.equal(rows[0].id, answer.headers.get("cf-aig-log-id"));
});

test("when no provider says anything, the cause of every step is told", async () => {
  for (const last of ["openai", "nobody"]) {
    gw.upstream.next({ reset: true });
    gw.upstream.next({ reset: true });
    gw.upstream.next({ reset: true });
    const answer = await universal([chat({ provider: "groq", config: { maxAttempts: 2, retryDelay: 0 } }), chat({ provider: last })]);
    const { internalCode, description } = await answer.json();
    assert.deepEqual([answer.status, internalCode, answer.headers.get("cf-aig-step")], [400, 2005, "1"]);
    const cause = last === "openai" ? "openai did not answer: " : "Tollgate knows no provider 'nobody'";
    assert.ok(description.startsWith("step 0, attempt 1: groq did not answer: "), description);
    assert.ok(description.includes("; step 0, attempt 2: groq did not answer: ") && description.includes(`; step 1, attempt 1: ${cause}`), description);
    const rows = await steps(answer, 3);
    assert.deepEqual(rows.map(({ answered }) => answered), [0, 0, 1]);
    assert.equal(rows[2].error.startsWith(last === "openai" ? "upstream: " : "gateway: Tollgate knows no provider"), true, rows[2].error);
    // One behaviour is left when the last step was not sent.
    if (last === "nobody") await gw.call("openai/models");
  }
});

test("steps that the gateway refused for one reason keep its code", async () => {
  for (const providers of [["nobody"], ["nobody", "no-one"]]) {
    const answer = await universal(providers.map((provider) => chat({ provider })));
    const { internalCode, description } = await answer.json();
    assert.deepEqual([answer.status, internalCode, answer.headers.get("cf-aig-step")], [400, 2008, String(providers.length - 1)]);
    assert.match(description, new RegExp(providers.at(-1)));
    assert.equal((await steps(answer, providers.length)).filter(({ answered }) => answered).length, 1);
  }
});

test("a dead first provider costs one timeout, and the second answers", async () => {
  // The second gets its answer only once the first was given up, so that the order is no matter of speed.
  gw.upstream.answer = async ({ provider }) => {
    if (provider === "openai") return { hang: true };
    await until(() => gw.upstream.requests[0].closed, "the first to be given up");
  };
  const answer = await universal([chat({ config: { requestTimeout: 100 } }), chat({ provider: "groq" })]);
  gw.upstream.answer = undefined;
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step")], [200, "1"]);
  assert.deepEqual(gw.upstream.requests.map(({ provider }) => provider), ["openai", "groq"]);
  const [dead, alive] = await steps(answer, 2);
  assert.match(dead.error, /^upstream: no answer began within 100 ms/);
  assert.deepEqual([dead.answered, alive.answered, alive.success], [0, 1, 1]);
});

test("failed answers of any kind are left behind: streamed, without a length, binary", async () => {
  gw.upstream.next({ events: ["data: {}\n\n", "data: {}\n\n"], status: 503 });
  gw.upstream.next({ status: 500, headers: { "content-type": "audio/mpeg" }, body: "x".repeat(5000) });
  gw.upstream.next({ ...failing(502, "packed"), gzip: true });
  const answer = await universal([chat(), chat(), chat(), chat({ query: { model: "gpt-4o", stream: true } })]);
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step")], [200, "3"]);
  assert.match(await answer.text(), /\[DONE\]/);
  const rows = await steps(answer, 4);
  assert.deepEqual(rows.map(({ status_code }) => status_code), [503, 500, 502, 200]);
  assert.deepEqual([rows[1].response_size, rows[3].tokens_in], [5000, 17]);
});

test("a single element need not be in an array", async () => {
  const answer = await universal(chat({ endpoint: "/v1/chat/completions?beta=1" }));
  assert.equal(answer.status, 200);
  assert.equal(gw.upstream.last.url, "/v1/chat/completions?beta=1");
});

test("the provider gets the query as it was written", async () => {
  const query = '{"model":"gpt-4o", "z":1.0,"a":12345678901234567890123,"é":"\\u00e9"}';
  const answer = await universal(`[{"provider":"openai","endpoint":"chat/completions","query":${query}}]`);
  assert.equal(answer.status, 200);
  assert.equal(gw.upstream.last.body.toString(), query);
  assert.equal(gw.upstream.last.headers["content-type"], "application/json");
});

test("an element's headers win over the request's, and are strings, numbers, booleans or objects", async () => {
  const headers = { "cf-aig-metadata": '{"from":"request"}', "cf-aig-event-id": "event-1", "user-agent": "universal-test", "x-stranger": "1" };
  const own = { Authorization: "Bearer new", "cf-aig-metadata": { from: "element", n: 1, café: true }, "x-count": 3, "x-flag": true, "x-object": { a: 1 } };
  gw.upstream.next(failing(500, "first"));
  const answer = await universal([chat({ headers: {}, authorization: "Bearer old" }), chat({ authorization: "Bearer old", headers: own })], { headers });
  const [first, second] = await steps(answer, 2);
  assert.equal(answer.headers.get("cf-aig-event-id"), "event-1");
  assert.deepEqual([JSON.parse(first.metadata), JSON.parse(second.metadata)], [{ from: "request" }, { from: "element", n: 1, café: true }]);
  assert.deepEqual([first.user_agent, second.user_agent], ["universal-test", "universal-test"]);
  const [one, two] = gw.upstream.requests.map((request) => request.headers);
  assert.deepEqual([one.authorization, two.authorization], ["Bearer old", "Bearer new"]);
  assert.deepEqual([two["x-count"], two["x-flag"], two["x-object"]], ["3", "true", '{"a":1}']);
  assert.deepEqual([two["x-stranger"], two["cf-aig-metadata"]], [undefined, undefined]);
});

test("a locked gateway wants the token on the request, and no provider sees it", async () => {
  const refused = await universal([chat()], { gateway: "locked" });
  assert.deepEqual([refused.status, (await refused.json()).internalCode], [401, 2009]);
  for (const headers of [{ "cf-aig-authorization": `Bearer ${TOKEN}` }, { authorization: `Bearer ${TOKEN}` }, { "x-api-key": TOKEN }]) {
    gw.upstream.next(failing(500, "first"));
    const answer = await universal([chat({ headers: {} }), chat()], { gateway: "locked", headers });
    assert.deepEqual([answer.status, answer.headers.get("cf-aig-step")], [200, "1"]);
    assert.deepEqual((await steps(answer, 2)).map(({ authentication }) => authentication), [1, 1]);
  }
  assert.ok(gw.upstream.requests.length === 6 && !JSON.stringify(gw.upstream.requests.map(({ headers }) => headers)).includes(TOKEN));
});

test("an unknown gateway is told before the body is looked at", async () => {
  const answer = await universal("nonsense", { gateway: "unknown" });
  assert.deepEqual([answer.status, (await answer.json()).internalCode], [400, 2001]);
});

test("a provider that does not exist fails like any other", async () => {
  const answer = await universal([chat({ provider: "nobody" }), chat()]);
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step")], [200, "1"]);
  const [row] = await steps(answer, 2);
  assert.deepEqual([row.status_code, row.provider, row.success], [400, "nobody", 0]);
  const last = await universal([chat({ provider: "open ai/../x" })]);
  assert.deepEqual([last.status, (await last.json()).internalCode], [400, 2008]);
});

test("bad input is refused with the place of its fault", async () => {
  const cases = [["", /not JSON/], ["[{", /not JSON/], ["7", /no array/], [[], /no elements/], [Array(21).fill(chat()), /21 elements/], [[chat(), { endpoint: "x" }], /Element 1: missing field `provider`/], [{ provider: "openai" }, /Element 0: missing field `endpoint`/], [[chat({ headers: { a: "1\n2" } })], /Element 0: the header a/]];
  for (const [body, fault] of cases) {
    const answer = await universal(body);
    const { name, success, internalCode, description } = await answer.json();
    assert.deepEqual([answer.status, name, success, internalCode], [400, "AiGatewayError", false, 7001]);
    assert.match(description, fault);
  }
  const long = await universal([chat({ query: { text: "x".repeat(17 * 1024 * 1024) } })]);
  assert.deepEqual([long.status, (await long.json()).httpCode], [413, 413]);
  assert.equal(gw.upstream.requests.length, 0);
  const wrong = await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "PUT" });
  assert.deepEqual([wrong.status, wrong.headers.get("allow"), (await wrong.json()).name], [405, "POST, GET", "AiGatewayError"]);
});

test("settings that make no sense are said so", async () => {
  const answer = await universal([chat({ config: { maxAttempts: 9, backoff: "fibonacci" } })], { headers: { "cf-aig-collect-log": "maybe" } });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("cf-aig-warning"), /collect-log.*cf-aig-max-attempts: wants an integer from 1 to 5.*cf-aig-backoff/);
});

test("a client that leaves within a stream ends the upstream request", async () => {
  gw.upstream.next(failing(500, "first"));
  gw.upstream.next({ events: Array.from({ length: 300 }, (_, n) => `data: {"n":${n}}\n\n`), pause: 10 });
  const leaving = new AbortController();
  const answer = await universal([chat(), chat({ query: { model: "gpt-4o", stream: true } })], { signal: leaving.signal });
  await answer.body.getReader().read();
  leaving.abort();
  await until(() => gw.upstream.last.closed, "the upstream request to end");
  assert.ok(gw.upstream.last.sent < 150);
  const [, row] = await steps(answer, 2);
  assert.deepEqual([row.step, row.success, row.error], [1, 0, "client: went away before the answer was complete"]);
});
