// A stream that fails before it has said anything: while another attempt may do better, the client gets nothing of it.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { events, frame } from "../../agent.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const KEYS = JSON.stringify({ openai: "sk-operator-openai-0123456789", anthropic: "sk-ant-operator-0123456789", "aws-bedrock": JSON.stringify({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secretsecretsecret", region: "us-east-1" }) });
let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: KEYS } });
  await gw.create("gw", { authentication: true });
  await gw.create("broken", { authentication: true, circuit_breaker: { failures: 1, window: 60, cooldown: 60 } });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const auth = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const CHAT = { model: "gpt-4o", stream: true, messages: [{ role: "user", content: "Lunch?" }] };
const OVERLOADED = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n';
const START = events.messages(0, { model: "claude" })[0];
const CREATED = events.responses(0, { model: "gpt" }).slice(0, 2);
const FAILED = 'event: response.failed\ndata: {"type":"response.failed","sequence_number":2,"response":{"id":"resp_0","error":{"code":"server_error","message":"went wrong"}}}\n\n';
const THROTTLED = frame({ ":message-type": "exception", ":exception-type": "throttlingException" }, { message: "Too many" });
const [OPENED] = events.converse(0);
const binary = { "content-type": "application/vnd.amazon.eventstream" };

const universal = (elements, gateway = "gw") => fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}`, { method: "POST", body: JSON.stringify(elements), headers: { "content-type": "application/json", ...auth } });
const element = (provider, endpoint, query, config) => ({ provider, endpoint, query, config });
const openai = (config) => element("openai", "chat/completions", CHAT, config);
const good = () => gw.upstream.next({ events: events.chat(2, { model: "gpt-4o" }) });

/** The rows of an answer's event, once there are so many. */
async function rows(answer, count) {
  let found = [];
  await until(async () => (found = await gw.rows("SELECT * FROM logs WHERE event_id = ? ORDER BY step, attempt", answer.headers.get("cf-aig-event-id"))).length === count, `${count} rows`);
  return found;
}

test("the next element answers instead, whatever the format of the stream that fails", async () => {
  const messages = element("anthropic", "v1/messages", { ...CHAT, model: "claude-sonnet-4-5", max_tokens: 9 });
  const bedrock = element("aws-bedrock", "bedrock-runtime/us-east-1/model/us.amazon.nova-pro-v1:0/converse-stream", { messages: [] });
  for (const [first, behaviour, error] of [
    [messages, { events: [OVERLOADED] }, "provider: Overloaded"],
    [messages, { events: [START, 'event: ping\ndata: {"type":"ping"}\n\n', OVERLOADED], pause: 20 }, "provider: Overloaded"],
    [openai(), { events: [": hello\n\n", 'data: {"error":{"message":"no room","code":503}}\n\n', "data: [DONE]\n\n"] }, "provider: no room"],
    [element("openai", "responses", { model: "gpt-4o", input: "x", stream: true }), { events: [...CREATED, FAILED] }, "provider: went wrong"],
    [bedrock, { events: [THROTTLED], headers: binary }, "provider: Too many"],
    [bedrock, { events: [OPENED, THROTTLED], headers: binary }, "provider: Too many"],
    [openai(), { events: [] }, "upstream: its stream ended before it said anything"],
    [openai(), { events: [": hello\n\n", ": hello\n\n"], cut: 1 }, /^upstream: the answer broke off before its first event/],
    [element("ai", "v1/chat/completions", { ...CHAT, model: "anthropic/claude-sonnet-4-5" }), { events: [START, OVERLOADED] }, "provider: Overloaded"],
  ]) {
    gw.upstream.next(behaviour);
    good();
    const answer = await universal([first, openai()]);
    const text = await answer.text();
    assert.deepEqual([answer.status, answer.headers.get("cf-aig-step"), text.includes("[DONE]"), text.includes("verload")], [200, "1", true, false], JSON.stringify(behaviour));
    const [failed, done] = await rows(answer, 2);
    assert.deepEqual([failed.success, failed.answered, done.success, done.answered, done.tokens_in], [0, 0, 1, 1, 24]);
    if (typeof error === "string") assert.equal(failed.error, error);
    else assert.match(failed.error, error);
  }
});

test("a stream that goes well is not touched, event by event", async () => {
  const all = events.chat(0, { model: "gpt-4o" });
  gw.upstream.next({ events: all, pause: 30 });
  const answer = await universal([openai({ maxAttempts: 3 }), openai()]);
  const reader = answer.body.getReader();
  const first = new TextDecoder().decode((await reader.read()).value);
  assert.ok(gw.upstream.last.sent < all.length, "the first event came after the last");
  let text = first;
  for (let piece; !(piece = await reader.read()).done; ) text += new TextDecoder().decode(piece.value);
  assert.equal(text, all.join(""));
  const [row] = await rows(answer, 1);
  assert.deepEqual([row.success, row.tokens_in, row.tokens_out], [1, 24, 5]);
});

test("an error that may pass is tried again, one that will not pass is not", async () => {
  const headers = { ...auth, "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" };
  const asked = { ...CHAT, model: "claude-sonnet-4-5", max_tokens: 9 };
  gw.upstream.next({ events: [START, OVERLOADED] });
  gw.upstream.next({ events: events.messages(2, { model: "claude" }) });
  const again = await gw.call("anthropic/v1/messages", { json: asked, headers });
  assert.deepEqual([again.headers.get("cf-aig-attempt"), await again.text()], ["2", events.messages(2, { model: "claude" }).join("")]);
  assert.deepEqual((await rows(again, 2)).map(({ success, error }) => [success, error]), [[0, "provider: Overloaded"], [1, null]]);
  const wrong = OVERLOADED.replace("overloaded_error", "invalid_request_error");
  gw.upstream.next({ events: [START, wrong] });
  const once = await gw.call("anthropic/v1/messages", { json: asked, headers });
  assert.deepEqual([once.status, await once.text()], [200, START + wrong]);
  assert.equal((await rows(once, 1))[0].success, 0);
});

test("where all fail, the error comes in the caller's format", async () => {
  const translated = (config) => element("ai", "v1/chat/completions", { ...CHAT, model: "anthropic/claude-sonnet-4-5" }, config);
  for (const last of [{ events: [START, OVERLOADED] }, { reset: true }]) {
    gw.upstream.next({ events: [START, OVERLOADED] });
    gw.upstream.next(last);
    const answer = await universal([translated(), translated()]);
    const text = await answer.text();
    assert.match(answer.headers.get("content-type"), /^text\/event-stream/);
    assert.match(text, /data: \{"error":\{.*Overloaded/);
    assert.ok(!text.includes("[DONE]") && !text.includes("event: "), text);
    assert.deepEqual((await rows(answer, 2)).map(({ success }) => success), [0, 0]);
  }
});

test("a first event that does not come in time is not waited for", async () => {
  let given;
  const gaveUp = new Promise((resolve) => (given = resolve));
  gw.upstream.answer = async ({ url }) => {
    if (gw.upstream.requests.length > 1) return { events: events.chat(2, { model: "gpt-4o" }) };
    until(() => gw.upstream.requests[0].closed, "the first to be given up").then(given);
    return { events: Array(2_000).fill(": still there\n\n"), pause: 20, url };
  };
  try {
    const answer = await universal([openai({ requestTimeout: 100 }), openai()]);
    assert.deepEqual([answer.headers.get("cf-aig-step"), (await answer.text()).includes("[DONE]")], ["1", true]);
    await gaveUp;
    const [late] = await rows(answer, 2);
    assert.equal(late.error, "upstream: no event of its stream came within 100 ms");
  } finally {
    gw.upstream.answer = undefined;
  }
});

test("a route goes on to its next model", async () => {
  const route = await gw.api("/gateways/gw/routes", {
    method: "POST",
    body: JSON.stringify({ name: "lunch", elements: [
      { id: "start", type: "start", outputs: { next: { elementId: "a" } } },
      { id: "a", type: "model", properties: { provider: "anthropic", model: "claude-sonnet-4-5", timeout: 60_000, retries: 0 }, outputs: { success: { elementId: "end" }, fallback: { elementId: "b" } } },
      { id: "b", type: "model", properties: { provider: "openai", model: "gpt-4o", timeout: 60_000, retries: 0 }, outputs: { success: { elementId: "end" }, fallback: { elementId: "end" } } },
      { id: "end", type: "end", outputs: {} },
    ] }),
  });
  assert.equal(route.status, 200, await route.clone().text());
  await until(async () => {
    gw.upstream.next({ events: [START, OVERLOADED] });
    gw.upstream.next({ events: events.chat(2, { model: "gpt-4o" }) });
    const answer = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, model: "dynamic/lunch" }, headers: { ...auth, "cf-aig-route-path": "1" } });
    if (answer.status !== 200) return false;
    assert.equal(answer.headers.get("cf-aig-route-path"), "start:next,a:fallback:529,b");
    assert.match(await answer.text(), /\[DONE\]/);
    const found = await rows(answer, 2);
    assert.deepEqual(found.map(({ provider, success }) => [provider, success]), [["anthropic", 0], ["openai", 1]]);
    assert.deepEqual(JSON.parse(found[1].route).path[1], { element: "a", output: "fallback", reason: "529" });
    return true;
  }, "the route");
  // What fails within a stream is told apart as well: by the status that its error names, and by none.
  const made = await gw.api("/gateways/gw/routes", {
    method: "POST",
    body: JSON.stringify({ name: "own", elements: [
      { id: "start", type: "start", outputs: { next: { elementId: "a" } } },
      { id: "a", type: "model", properties: { provider: "openai", model: "gpt-4o", timeout: 0, retries: 0 }, outputs: { success: { elementId: "end" }, fallback: { elementId: "b" } } },
      { id: "b", type: "model", properties: { provider: "openai", model: "gpt-4o-mini", timeout: 0, retries: 0 }, outputs: { success: { elementId: "end" } } },
      { id: "end", type: "end", outputs: {} },
    ] }),
  });
  assert.equal(made.status, 200, await made.clone().text());
  for (const [behaviour, reason] of [[{ events: ['data: {"error":{"message":"no room","code":503}}\n\n'] }, "503"], [{ events: [] }, "unreachable"]]) {
    gw.upstream.next(behaviour);
    good();
    const answer = await gw.call("compat/chat/completions", { json: { ...CHAT, model: "dynamic/own" }, headers: { ...auth, "cf-aig-route-path": "1" } });
    assert.match(await answer.text(), /\[DONE\]/);
    assert.equal(answer.headers.get("cf-aig-route-path"), `start:next,a:fallback:${reason},b`);
  }
});

test("a circuit opens for a stream that begins with a fault of the provider", async () => {
  good();
  await (await universal([openai()], "broken")).text();
  gw.upstream.next({ events: ['data: {"error":{"message":"down","code":500}}\n\n'] });
  good();
  const first = await universal([openai(), element("groq", "chat/completions", CHAT)], "broken");
  await first.text();
  assert.equal(first.headers.get("cf-aig-step"), "1");
  good();
  const second = await universal([openai(), element("groq", "chat/completions", CHAT)], "broken");
  await second.text();
  assert.equal(second.headers.get("cf-aig-skipped"), "0");
});
