import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Cloudflare from "cloudflare";
import OpenAI from "openai";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ faulty: true, bindings: { PROVIDER_KEYS: '{"openrouter":"sk-operators-own"}' } });
  await gw.create("gw");
});
after(() => gw.stop(/"event":"request_failed"/));

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What is AES?" }] };

function send(id, data, { method = "POST", query = "", token = TOKEN, body = JSON.stringify({ data }) } = {}) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  return fetch(`${gw.url}/feedback/${encodeURIComponent(id)}${query}`, { method, headers, body: method === "POST" ? body : undefined });
}
const patch = (id, body) => gw.api(`/gateways/gw/logs/${id}`, { method: "PATCH", body: typeof body === "string" ? body : JSON.stringify(body) });
const chat = (headers) => gw.call("openai/chat/completions", { json: CHAT, headers });
const answered = async (headers) => {
  const answer = await chat(headers);
  return { response: await answer.json(), log: await gw.logOf(answer) };
};

test("thumbs by PATCH are verified by GET, as the documentation does it", async () => {
  const { log } = await answered();
  assert.deepEqual([log.feedback, log.score], [null, null]);
  const get = () => gw.result(`/gateways/gw/logs/${log.id}`);
  for (const feedback of [1, -1, 0]) {
    const answer = await patch(log.id, { feedback });
    assert.deepEqual([answer.status, await answer.json()], [200, { result: {}, success: true, errors: [], messages: [] }]);
    assert.equal((await get()).feedback, feedback);
  }
  await patch(log.id, { feedback: null, score: 99.5 });
  assert.deepEqual([(await get()).feedback, (await get()).score], [null, 99.5]);
  await patch(log.id, { score: null });
  assert.equal((await get()).score, null);
});

test("metadata is merged by key, found by its new value, and removed by null", async () => {
  const { log } = await answered({ "cf-aig-metadata": '{"team":"AI","keep":1}' });
  await patch(log.id, { metadata: { team: "Research", reviewed: true, n: 5 } });
  await patch(log.id, { metadata: { n: null } });
  const shown = await gw.result(`/gateways/gw/logs/${log.id}`);
  assert.deepEqual(shown.metadata, { team: "Research", keep: 1, reviewed: true });
  const find = async (key, value) => (await gw.result(`/gateways/gw/logs?filters=${encodeURIComponent(JSON.stringify([{ key: `metadata.${key}`, operator: "eq", value }]))}`)).map(({ id }) => id);
  assert.deepEqual(await find("reviewed", "true"), [log.id]);
  assert.deepEqual(await find("n", 5), []);
  assert.ok(!(await find("team", "AI")).includes(log.id));
});

test("a PATCH that is wrong changes nothing", async () => {
  const { log } = await answered({ "cf-aig-metadata": '{"team":"AI"}' });
  await patch(log.id, { feedback: 1 });
  for (const [body, path] of [
    [{ feedback: 2, score: 5 }, ["body", "feedback"]],
    [{ feedback: -1, score: 101 }, ["body", "score"]],
    [{ feedback: "1" }, ["body", "feedback"]],
    [{ feedback: -1, metadata: { a: { b: 1 } } }, ["body", "metadata", "a"]],
    ["{", ["body"]],
    ["[]", ["body"]],
  ]) {
    const refused = await patch(log.id, body);
    const [error] = (await refused.json()).errors;
    assert.deepEqual([refused.status, error.code, error.path], [400, 7001, path], JSON.stringify(body));
  }
  const shown = await gw.result(`/gateways/gw/logs/${log.id}`);
  assert.deepEqual([shown.feedback, shown.score, shown.metadata], [1, null, { team: "AI" }]);
  assert.equal((await patch("01ARZ3NDEKTSV4RRFFQ69G5FAV", { feedback: 1 })).status, 404);
});

test("Cloudflare's SDK edits logs, also in an older major version", async () => {
  const { log } = await answered();
  const client = new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4` });
  await client.aiGateway.logs.edit(log.id, { account_id: ACCOUNT, gateway_id: "gw", feedback: -1, score: 10, metadata: { a: "b" } });
  const { feedback, score, metadata } = await client.aiGateway.logs.get(log.id, { account_id: ACCOUNT, gateway_id: "gw" });
  assert.deepEqual([feedback, score, metadata], [-1, 10, { a: "b" }]);
});

test("Requesty's example works with its two URLs changed", async () => {
  const client = new OpenAI({ apiKey: "sk-provider", baseURL: `${gw.url}/v1/${ACCOUNT}/gw/openai` });
  const response = await client.chat.completions.create(CHAT);
  const data = { message: "The response was very accurate and helpful.", rating: 5, helpful: true, user_id: "user_1234", tags: ["customer-support", "positive-feedback"] };
  const feedback = await send(response.id, data);
  assert.ok(feedback.ok, feedback.statusText);
  const { result } = await feedback.json();
  assert.deepEqual(result.data, data);
  const log = await gw.result(`/gateways/gw/logs/${result.log_id}`);
  assert.deepEqual([log.response_id, log.feedback, log.feedback_data], [response.id, 1, data]);
});

test("Requesty's Node example works with one token for both URLs, as it is with theirs", async () => {
  const { value } = (await (await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "app", permissions: ["run"] }) })).json()).result;
  await gw.create("locked", { authentication: true });
  const client = new OpenAI({ apiKey: value, baseURL: `${gw.url}/v1/${ACCOUNT}/locked/openrouter` });
  const response = await client.chat.completions.create({ model: "anthropic/claude-3-7-sonnet-latest", messages: [{ role: "user", content: "What is AES?" }] });
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-operators-own");
  const data = { message: "Test feedback message", rating: 5, helpful: true };
  const feedback = await send(response.id, data, { token: value });
  assert.equal(feedback.status, 200);
  assert.deepEqual((await feedback.json()).result.data, data);
});

test("the operator's key is for callers who proved themselves and bring none of their own", async () => {
  const key = async (gateway, headers, path = "openrouter/v1/chat/completions") => {
    await (await gw.call(path, { gateway, json: CHAT, headers })).arrayBuffer();
    return gw.upstream.last.headers.authorization;
  };
  const token = { "cf-aig-authorization": `Bearer ${TOKEN}` };
  assert.equal(await key("locked", token), "Bearer sk-operators-own");
  assert.equal(await key("gw", token), "Bearer sk-operators-own");
  assert.equal(await key("gw", { ...token, authorization: "Bearer sk-mine" }), "Bearer sk-mine");
  // No caller without a token has it, and no other provider gets it.
  assert.equal(await key("gw", {}), undefined);
  assert.equal(await key("gw", { authorization: "Bearer tgt_made-up" }), undefined);
  assert.equal(await key("gw", token, "openai/chat/completions"), undefined);
  const universal = JSON.stringify([{ provider: "openrouter", endpoint: "v1/chat/completions", query: CHAT }]);
  await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "POST", body: universal });
  assert.equal(gw.upstream.last.headers.authorization, undefined);
  await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "POST", body: universal, headers: token });
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-operators-own");
});

test("every kind of provider's id, the log id and the event id lead to the log", async () => {
  const cases = [
    ["openai/chat/completions", CHAT, (body) => body.id],
    ["openai/responses", { model: "gpt-4o", input: "x" }, (body) => body.id],
    ["anthropic/v1/messages", { model: "claude-sonnet-4-5" }, (body) => body.id],
    ["google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent", {}, (body) => body.responseId],
  ];
  for (const [index, [path, json, idOf]] of cases.entries()) {
    const event = `event ${index}/ü`;
    const answer = await gw.call(path, { json, headers: { "cf-aig-event-id": encodeURIComponent(event) } });
    const id = idOf(await answer.json());
    const logId = answer.headers.get("cf-aig-log-id");
    assert.ok(id, path);
    for (const [name, request] of [["provider", id], ["log", logId], ["event", answer.headers.get("cf-aig-event-id")]]) {
      const given = await send(request, { [name]: index });
      assert.equal(given.status, 200, `${path} ${name} ${await given.clone().text()}`);
      assert.equal((await given.json()).result.log_id, logId, `${path} ${name}`);
    }
  }
});

test("further calls merge key by key, and a call that is repeated changes nothing", async () => {
  const { log } = await answered();
  await send(log.id, { rating: 1, a: { b: 1 } });
  await send(log.id, { rating: 5, c: [1, null] });
  await send(log.id, { rating: 5, c: [1, null] });
  const { result } = await (await send(log.id, undefined, { method: "GET" })).json();
  assert.deepEqual(result.data, { rating: 5, a: { b: 1 }, c: [1, null] });
  assert.equal(result.feedback, 1);
  assert.deepEqual(result.history.map(({ given_by, kind, data }) => [given_by, kind, data]), [["admin", "merge", { rating: 5, c: [1, null] }], ["admin", "merge", { rating: 1, a: { b: 1 } }]]);
});

test("concurrent writers with different keys lose nothing", async () => {
  const { log } = await answered();
  const statuses = await Promise.all(Array.from({ length: 40 }, (_, n) => send(log.id, { [`key${n}`]: n }).then(({ status }) => status)));
  assert.deepEqual(new Set(statuses), new Set([200]));
  const { result } = await (await send(log.id, undefined, { method: "GET" })).json();
  assert.deepEqual(result.data, Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`key${n}`, n])));
});

test("feedback is taken back key by key or as a whole, and what came of it as well", async () => {
  const { log } = await answered();
  await send(log.id, { helpful: false, note: "x", score: 30 });
  const show = async () => {
    const { feedback, score, feedback_data } = await gw.result(`/gateways/gw/logs/${log.id}`);
    return [feedback, score, feedback_data];
  };
  assert.deepEqual(await show(), [-1, 30, { helpful: false, note: "x", score: 30 }]);
  assert.equal((await send(log.id, undefined, { method: "DELETE", query: "?key=helpful" })).status, 200);
  assert.deepEqual(await show(), [null, 30, { note: "x", score: 30 }]);
  assert.equal((await send(log.id, undefined, { method: "DELETE", query: "?key=helpful" })).status, 404);
  assert.equal((await send(log.id, undefined, { method: "DELETE" })).status, 200);
  assert.deepEqual(await show(), [null, null, {}]);
});

test("taking feedback back leaves a thumb that was changed since, and no text in the history", async () => {
  const { log } = await answered();
  const thumb = async () => (await gw.result(`/gateways/gw/logs/${log.id}`)).feedback;
  await send(log.id, { rating: 5, comment: "call me at 0123 456" });
  await patch(log.id, { feedback: -1 });
  await send(log.id, undefined, { method: "DELETE" });
  assert.equal(await thumb(), -1);
  await send(log.id, { rating: 5 });
  assert.equal(await thumb(), 1);
  await send(log.id, undefined, { method: "DELETE" });
  assert.equal(await thumb(), null);
  const text = await (await send(log.id, undefined, { method: "GET" })).text();
  assert.ok(!text.includes("0123 456"), text);
  assert.equal((await fetch(`${gw.url}/feedback/`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: '{"data":{}}' })).status, 404);
});

test("odd keys and values are data, and what cannot be kept is refused whole", async () => {
  const { log } = await answered();
  const deep = (levels) => JSON.parse("[".repeat(levels) + "]".repeat(levels));
  const kept = { long: "ü".repeat(32_000), deep: deep(100), "a.b": 1, "$": null, "'; DROP TABLE logs; --": "%" };
  assert.equal((await send(log.id, kept)).status, 200);
  assert.equal((await send(log.id, null, { body: '{"data":{"__proto__":{"polluted":true},"constructor":1,"twice":1,"twice":2}}' })).status, 200);
  const { result } = await (await send(log.id, undefined, { method: "GET" })).json();
  assert.deepEqual({ ...kept, constructor: 1, twice: 2 }, Object.fromEntries(Object.entries(result.data).filter(([key]) => key !== "__proto__")));
  assert.ok(Object.hasOwn(result.data, "__proto__") && {}.polluted === undefined);
  for (const [body, status] of [
    ['{"data":[]}', 400],
    ['{"data":1}', 400],
    ["{}", 400],
    ["x", 400],
    [`{"data":{"ok":1,"x":${"[".repeat(200)}${"]".repeat(200)}}}`, 400],
    ['{"data":{"ok":1,"":1}}', 400],
    ['{"data":{"ok":1,"a\\u0000":1}}', 400],
    [`{"data":{"ok":1,"x":"${"y".repeat(300_000)}"}}`, 413],
    [`{"data":{${Array.from({ length: 300 }, (_, n) => `"${n}":1`)}}}`, 400],
  ]) {
    const refused = await send(log.id, null, { body });
    assert.equal(refused.status, status, body.slice(0, 60));
    assert.equal((await refused.json()).errors[0].code, 7001);
  }
  assert.equal((await gw.result(`/gateways/gw/logs/${log.id}`)).feedback_data.ok, undefined);
});

test("feedback that is as fast as the answer is not lost, by any id", async () => {
  for (let round = 0; round < 5; round += 1) {
    const answer = await chat({ "cf-aig-event-id": `fast-${round}` });
    const logId = answer.headers.get("cf-aig-log-id");
    const [byLog, byEvent, patched] = await Promise.all([send(logId, { log: 1 }), send(`fast-${round}`, { event: 1 }), patch(logId, { score: round })]);
    assert.deepEqual([byLog.status, byEvent.status, patched.status], [200, 200, 200]);
    const log = await gw.result(`/gateways/gw/logs/${logId}`);
    assert.deepEqual([log.feedback_data, log.score], [{ log: 1, event: 1 }, round]);
  }
});

test("feedback during a stream and while rows cannot be written is kept until the row is there", async () => {
  gw.upstream.next({ events: Array.from({ length: 12 }, (_, n) => `data: {"id":"chatcmpl-slow","choices":[{"delta":{"content":"${n}"}}]}\n\n`), pause: 500 });
  const answer = await gw.call("openai/chat/completions", { json: { ...CHAT, stream: true } });
  const id = answer.headers.get("cf-aig-log-id");
  const early = await send(id, { rating: 4 });
  assert.equal(early.status, 202);
  assert.deepEqual((await early.json()).result, { log_id: id, matches: 1, pending: true, data: { rating: 4 } });
  assert.equal((await patch(id, { score: 70, metadata: { late: true } })).status, 202);
  await answer.text();
  const log = await gw.logOf(answer);
  await until(async () => (await gw.result(`/gateways/gw/logs/${id}`)).score === 70, "the kept PATCH");
  const settled = await gw.result(`/gateways/gw/logs/${id}`);
  assert.deepEqual([settled.feedback, settled.feedback_data, settled.metadata], [1, { rating: 4 }, { late: true }]);
  assert.equal(log.success, true);
  assert.deepEqual(await gw.rows("SELECT * FROM pending_feedback"), []);
});

test("an id that never was is not found, however much it looks like one", async () => {
  for (const id of ["chatcmpl-nothing", "x", "' OR 1=1 --", "../gateways"]) assert.equal((await send(id, { a: 1 })).status, 404, id);
  // A ULID of this moment that no gateway minted.
  const { log } = await answered();
  const forged = log.id.slice(0, 25) + (log.id.endsWith("0") ? "1" : "0");
  assert.equal((await send(forged, { a: 1 })).status, 404);
  assert.equal((await patch(forged, { feedback: 1 })).status, 404);
  assert.deepEqual(await gw.rows("SELECT * FROM pending_feedback"), []);
});

test("of several logs with one event id the newest is meant, and the answer says how many there are", async () => {
  const first = await answered({ "cf-aig-event-id": "session-7" });
  const second = await answered({ "cf-aig-event-id": "session-7" });
  const { result } = await (await send("session-7", { good: true })).json();
  assert.deepEqual([result.log_id, result.matches], [second.log.id, 2]);
  assert.deepEqual((await gw.result(`/gateways/gw/logs/${first.log.id}`)).feedback_data, {});
  assert.equal((await send("session-7", { good: true }, { query: "?gateway=other" })).status, 404);
});

test("NDJSON has one result for each line", async () => {
  const { log } = await answered();
  const lines = [`{"request_id":"${log.id}","data":{"a":1}}`, "nonsense", "", '{"request_id":"chatcmpl-nothing","data":{"a":1}}', '{"data":{"a":1}}', `{"request_id":"${log.id}","data":{"b":2}}`];
  const answer = await fetch(`${gw.url}/feedback`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: lines.join("\n") });
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "application/x-ndjson"]);
  const results = (await answer.text()).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(results.map(({ line, status, success }) => [line, status, success]), [[1, 200, true], [2, 400, false], [4, 404, false], [5, 400, false], [6, 200, true]]);
  assert.deepEqual((await gw.result(`/gateways/gw/logs/${log.id}`)).feedback_data, { a: 1, b: 2 });
});

test("judged conversations become a file for fine-tuning", async () => {
  await gw.create("tune");
  const make = async (question, feedback) => {
    const answer = await gw.call("openai/chat/completions", { gateway: "tune", json: { model: "gpt-4o", messages: [{ role: "user", content: question }] } });
    const content = (await answer.json()).choices[0].message.content;
    const log = await gw.logOf(answer, "tune");
    if (feedback) await gw.api(`/gateways/tune/logs/${log.id}`, { method: "PATCH", body: JSON.stringify(feedback) });
    return content;
  };
  const content = await make("good?", { feedback: 1 });
  await make("bad?", { feedback: -1, score: 10 });
  await make("unjudged?");
  const read = async (query) => (await (await gw.api(`/gateways/tune/logs/export?format=openai-finetune${query}`)).text()).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(await read(""), [{ messages: [{ role: "user", content: "good?" }, { role: "assistant", content }] }]);
  const filter = encodeURIComponent(JSON.stringify([{ key: "score", operator: "lt", value: [50] }]));
  assert.deepEqual((await read(`&filters=${filter}`)).map(({ messages }) => messages[0].content), ["bad?"]);
});

test("a database that fails half-way leaves nothing half-written", async () => {
  const { log } = await answered();
  await gw.fault(1);
  assert.equal((await send(log.id, { a: 1 })).status, 500);
  assert.deepEqual((await gw.result(`/gateways/gw/logs/${log.id}`)).feedback_data, {});
  await gw.fault(1, true);
  assert.equal((await send(log.id, { helpful: true })).status, 500);
  // It took effect although it was reported as failed; sending it again is harmless.
  assert.equal((await send(log.id, { helpful: true })).status, 200);
  const { result } = await (await send(log.id, undefined, { method: "GET" })).json();
  assert.deepEqual([result.data, result.feedback, result.history.length], [{ helpful: true }, 1, 1]);
});
