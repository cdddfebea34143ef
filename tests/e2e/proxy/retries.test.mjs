import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import OpenAI from "openai";
import { ACCOUNT, Gateway, raw, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  await gw.create("patient", { retry_max_attempts: 3, retry_delay: 1, retry_backoff: "linear" });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const BODY = { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] };
const failing = (status, headers) => ({ status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify({ error: { message: `failed with ${status}` } }) });
const chat = (headers, init = {}) => gw.call("openai/chat/completions", { json: BODY, ...init, headers: { authorization: "Bearer sk-test", "cf-aig-retry-delay": "1", ...headers } });
const fail = (...statuses) => statuses.forEach((status) => gw.upstream.next(typeof status === "number" ? failing(status) : status));

/** The rows of an answer's event, once there are so many. */
async function attempts(answer, count) {
  const event = answer.headers.get("cf-aig-event-id");
  let rows = [];
  await until(async () => (rows = await gw.rows("SELECT * FROM logs WHERE event_id = ? ORDER BY attempt", event)).length === count, `${count} rows`);
  assert.deepEqual(rows.map(({ attempt }) => attempt), Array.from({ length: count }, (_, index) => index + 1));
  assert.equal(rows.filter(({ answered }) => answered).length, 1, "one attempt answered");
  return rows;
}

test("whatever may pass is tried again, and each attempt leaves a row of its own", async () => {
  for (const status of [408, 409, 425, 429, 500, 502, 503, 504, 529]) {
    fail(status);
    const answer = await chat({ "cf-aig-max-attempts": "2" });
    assert.deepEqual([answer.status, (await answer.json()).object, answer.headers.get("cf-aig-attempt")], [200, "chat.completion", "2"], String(status));
    const [failed, done] = await attempts(answer, 2);
    assert.deepEqual([failed.status_code, failed.success, failed.answered, failed.error], [status, 0, 0, `provider: failed with ${status}`]);
    assert.deepEqual([done.status_code, done.success, done.answered, done.id], [200, 1, 1, answer.headers.get("cf-aig-log-id")]);
    assert.ok(failed.id === failed.event_id && done.event_id === failed.id && failed.cost === null && done.cost > 0);
    // What the provider said the first time is in its log, although no client got it.
    assert.match(await (await gw.api(`/gateways/gw/logs/${failed.id}/response`)).text(), new RegExp(`failed with ${status}`));
  }
});

test("the rest of an error is not waited for when there is another attempt", async () => {
  fail({ ...failing(503), stall: 3_000 });
  const answer = await chat({ "cf-aig-max-attempts": "2" });
  assert.equal((await answer.json()).object, "chat.completion");
  assert.equal(gw.upstream.requests[0].over, undefined, "the answer came while the error was still on its way");
  const [failed] = await attempts(answer, 2);
  assert.equal(failed.error, "provider: failed with 503");
});

test("the provider gets the same request each time", async () => {
  fail(500, { reset: true });
  const answer = await chat({ "cf-aig-max-attempts": "3", "x-own": "kept" });
  assert.equal(answer.status, 200);
  const [one, ...others] = gw.upstream.requests.map(({ method, url, headers, body }) => ({ method, url, headers, body: body.toString() }));
  assert.equal(others.length, 2);
  for (const other of others) assert.deepEqual(other, one);
  assert.deepEqual([JSON.parse(one.body), one.headers["x-own"], one.headers["cf-aig-max-attempts"]], [BODY, "kept", undefined]);
  await attempts(answer, 3);
});

test("a mistake of the caller is not tried again", async () => {
  for (const status of [400, 401, 403, 404, 413, 422]) {
    fail(status);
    const answer = await chat({ "cf-aig-max-attempts": "5" });
    assert.deepEqual([answer.status, (await answer.json()).error.message, answer.headers.get("cf-aig-attempt")], [status, `failed with ${status}`, null]);
    await attempts(answer, 1);
  }
  assert.equal(gw.upstream.requests.length, 6);
});

test("without being asked for, nothing is tried again", async () => {
  fail(500);
  const answer = await chat();
  assert.deepEqual([answer.status, gw.upstream.requests.length], [500, 1]);
  await attempts(answer, 1);
});

test("the last failure is the answer when all attempts fail", async () => {
  fail(500, 503, 429);
  const answer = await chat({ "cf-aig-max-attempts": "3" });
  assert.deepEqual([answer.status, await answer.json()], [429, { error: { message: "failed with 429" } }]);
  assert.deepEqual((await attempts(answer, 3)).map(({ status_code, answered }) => [status_code, answered]), [[500, 0], [503, 0], [429, 1]]);
});

test("the provider's own error is the answer rather than that it was out of reach later", async () => {
  fail(503, { reset: true });
  const answer = await chat({ "cf-aig-max-attempts": "2" });
  assert.deepEqual([answer.status, await answer.json()], [503, { error: { message: "failed with 503" } }]);
  assert.equal(answer.headers.get("cf-aig-attempt"), null);
  assert.deepEqual((await attempts(answer, 2)).map(({ status_code, answered }) => [status_code, answered]), [[503, 1], [400, 0]]);
});

test("a provider out of reach is named with every attempt", async () => {
  fail({ reset: true }, { reset: true });
  const answer = await chat({ "cf-aig-max-attempts": "2" });
  const { internalCode, description } = await answer.json();
  assert.deepEqual([answer.status, internalCode], [400, 2005]);
  assert.match(description, /step 0, attempt 1: openai did not answer.*step 0, attempt 2: openai did not answer/);
  assert.deepEqual((await attempts(answer, 2)).map(({ success, answered }) => [success, answered]), [[0, 0], [0, 1]]);
});

test("a gateway's setting holds for requests that say nothing, and a request's own comes first", async () => {
  const once = { gateway: "patient" };
  fail(500, 500);
  const settings = await gw.call("openai/chat/completions", { ...once, json: BODY });
  assert.deepEqual([settings.status, settings.headers.get("cf-aig-attempt")], [200, "3"]);
  fail(500, 500);
  const own = await chat({ "cf-aig-max-attempts": "1" }, once);
  assert.deepEqual([own.status, own.headers.get("cf-aig-attempt")], [500, null]);
  await chat({}, once);
});

test("an answer that broke off before the client had any of it is tried again", async () => {
  const body = JSON.stringify({ id: "chatcmpl-broken", choices: [] });
  fail({ status: 200, headers: { "content-type": "application/json", "content-length": String(body.length) }, body, cut: 10 });
  const answer = await chat({ "cf-aig-max-attempts": "2" });
  assert.deepEqual([answer.status, (await answer.json()).object], [200, "chat.completion"]);
  const [broken] = await attempts(answer, 2);
  assert.match(broken.error, /^upstream: the answer broke off/);
});

test("a stream that has begun is not tried again", async () => {
  fail({ events: ['data: {"choices":[]}\n\n', "data: [DONE]\n\n"], cut: 1 });
  const answer = await raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json", "cf-aig-max-attempts": "3" }, body: JSON.stringify({ ...BODY, stream: true }) });
  assert.deepEqual([answer.status, answer.broken, gw.upstream.requests.length], [200, true, 1]);
});

test("a provider that is too slow to begin is given up, and the last attempt has all the time it needs", async () => {
  fail({ hang: true }, { delay: 400, file: "openai/chat.json" });
  const answer = await chat({ "cf-aig-max-attempts": "2", "cf-aig-request-timeout": "100" });
  assert.equal(answer.status, 200);
  const [slow] = await attempts(answer, 2);
  assert.match(slow.error, /^upstream: no answer began within 100 ms/);
  assert.ok(slow.duration >= 99, `${slow.duration} ms`);
  await until(() => gw.upstream.requests[0].closed, "the first attempt to be ended");
});

test("a single attempt is held to its time", async () => {
  fail({ hang: true });
  const answer = await chat({ "cf-aig-request-timeout": "50" });
  const { internalCode, description } = await answer.json();
  assert.deepEqual([answer.status, internalCode], [400, 2005]);
  assert.match(description, /openai did not answer: no answer began within 50 ms/);
  await attempts(answer, 1);
});

test("the time is that to the first byte: a slow stream is not cut", async () => {
  fail({ events: Array.from({ length: 6 }, (_, n) => `data: {"n":${n}}\n\n`), pause: 60 });
  const answer = await chat({ "cf-aig-request-timeout": "200" }, { json: { ...BODY, stream: true } });
  assert.deepEqual([answer.status, (await answer.text()).match(/data:/g).length], [200, 6]);
});

test("Retry-After is waited for, and a provider that wants too much is not asked again", async () => {
  fail(failing(429, { "retry-after-ms": "150" }));
  const begun = Date.now();
  const answer = await chat({ "cf-aig-max-attempts": "2" });
  assert.equal(answer.status, 200);
  assert.ok(Date.now() - begun >= 150);
  fail(failing(429, { "retry-after": "3600" }));
  const told = await chat({ "cf-aig-max-attempts": "5" });
  assert.deepEqual([told.status, told.headers.get("retry-after"), gw.upstream.requests.length], [429, "3600", 3]);
});

test("what is asked for in vain is named and ignored", async () => {
  fail(500);
  const answer = await chat({ "cf-aig-max-attempts": "99", "cf-aig-backoff": "never", "cf-aig-request-timeout": "soon" });
  assert.deepEqual([answer.status, gw.upstream.requests.length], [500, 1]);
  for (const name of ["cf-aig-max-attempts", "cf-aig-backoff", "cf-aig-request-timeout"]) assert.match(answer.headers.get("cf-aig-warning"), new RegExp(`${name}: wants`));
});

test("without a log a request is tried again all the same, and so is one with a body that is no text", async () => {
  fail(500);
  const unlogged = await chat({ "cf-aig-max-attempts": "2", "cf-aig-collect-log": "false" });
  assert.deepEqual([unlogged.status, unlogged.headers.get("cf-aig-log-id")], [200, null]);
  fail(500);
  const bytes = Buffer.alloc(300_000, 7);
  const audio = await gw.call("deepgram/v1/listen", { method: "POST", body: bytes, headers: { "content-type": "audio/wav", "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" } });
  assert.deepEqual([audio.status, gw.upstream.last.body.equals(bytes), gw.upstream.requests.length], [200, true, 4]);
});

test("the OpenAI SDK sees one call, whatever it took", async () => {
  fail(500, 429);
  const client = new OpenAI({ apiKey: "sk-test", baseURL: `${gw.url}/v1/${ACCOUNT}/gw/openai`, maxRetries: 0, defaultHeaders: { "cf-aig-max-attempts": "3", "cf-aig-retry-delay": "1", "cf-aig-backoff": "exponential" } });
  const answer = await client.chat.completions.create(BODY);
  assert.equal(answer.object, "chat.completion");
  assert.equal(gw.upstream.requests.length, 3);
});
