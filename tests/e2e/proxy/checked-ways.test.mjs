// Every way in which an answer reaches a caller passes data loss prevention and guardrails: what the client got, and that what must not leave is stored nowhere.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import WebSocket from "ws";
import { Gateway, TOKEN, until } from "../harness.mjs";

const CARD = "4111111111111111";
const KEYS = JSON.stringify({ openai: "sk-operator-openai-0123456789", anthropic: "sk-ant-operator-0123456789", groq: "gsk-operator-0123456789" });
let gw;
before(async () => {
  gw = await Gateway.start({ kv: true, bindings: { PROVIDER_KEYS: KEYS } });
  const dlp = (action) => ({ enabled: true, policies: [{ id: "cards", action, check: ["REQUEST", "RESPONSE"], profiles: ["credit_card"] }] });
  const retries = { retry_max_attempts: 2, retry_delay: 0 };
  await gw.create("redact", { dlp: dlp("REDACT"), ...retries, cache_ttl: 600 });
  await gw.create("block", { dlp: dlp("BLOCK"), ...retries });
  await gw.create("deny", { guardrails: { checks: [{ id: "bombs", type: "deny", patterns: ["bomb"], action: "BLOCK" }] }, ...retries });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const json = { "content-type": "application/json" };
const chat = { model: "gpt-4o-mini", messages: [{ role: "user", content: "tell" }] };
const completion = (content) => JSON.stringify({ id: "c1", object: "chat.completion", model: "gpt-4o-mini", choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } });
const message = (text) => JSON.stringify({ id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [{ type: "text", text }], stop_reason: "end_turn", usage: { input_tokens: 3, output_tokens: 2 } });
const error = (text) => ({ status: 500, headers: json, body: JSON.stringify({ error: { message: text } }) });
const delta = (content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
const headers = { "cf-aig-authorization": `Bearer ${TOKEN}`, "cf-aig-skip-cache": "true" };
const ask = (gateway, path = "openai/chat/completions", body = chat, more = {}) => gw.call(path, { gateway, json: body, headers: { ...headers, ...more } });

/** What the provider answers with a text, and how the caller asks. Errors are no answers that models said, so guardrails do not judge them. */
const WAYS = {
  "short": [(text) => [{ headers: json, body: completion(text) }], (gateway) => ask(gateway)],
  "longer than a short one": [(text) => [{ headers: json, body: completion(text + " and so on".repeat(150_000)) }], (gateway) => ask(gateway)],
  "of no known length": [(text) => [{ events: [completion(text).slice(0, 80), completion(text).slice(80)], pause: 5, headers: json }], (gateway) => ask(gateway)],
  "compressed": [(text) => [{ headers: { ...json, "content-encoding": "gzip" }, body: gzipSync(completion(text)) }], (gateway) => ask(gateway)],
  "plain text": [(text) => [{ headers: { "content-type": "text/plain" }, body: text }], (gateway) => ask(gateway), "error"],
  "a stream": [(text) => [{ events: [delta(text.slice(0, 9)), delta(text.slice(9)), "data: [DONE]\n\n"], pause: 5 }], (gateway) => ask(gateway, undefined, { ...chat, stream: true })],
  "translated": [(text) => [{ headers: json, body: message(text) }], (gateway) => ask(gateway, "ai/v1/chat/completions", { ...chat, model: "anthropic/claude-sonnet-4-5" })],
  "an error": [(text) => [{ ...error(text), status: 400 }], (gateway) => ask(gateway), "error"],
  "an error after retries": [(text) => [error(text), error(text)], (gateway) => ask(gateway), "error"],
  "a translated error after retries": [(text) => [error(text), error(text)], (gateway) => ask(gateway, "ai/v1/chat/completions", { ...chat, model: "anthropic/claude-sonnet-4-5" }), "error"],
  "a universal element": [(text) => [error("busy"), error("busy"), { headers: json, body: completion(text) }], (gateway) => ask(gateway, "", [1, 2].map(() => ({ provider: "openai", endpoint: "chat/completions", headers: {}, query: chat })))],
  "the error of a universal element": [(text) => [error(text), error(text), { reset: true }, { reset: true }], (gateway) => ask(gateway, "", [1, 2].map(() => ({ provider: "openai", endpoint: "chat/completions", headers: {}, query: chat }))), "error"],
  "a route's fallback": [(text) => [error("busy"), { headers: json, body: completion(text) }], (gateway) => ask(gateway, "compat/chat/completions", { ...chat, model: "dynamic/way" })],
};

for (const [way, [answers, send, kind]] of Object.entries(WAYS)) {
  test(`${way}: it is looked at`, async () => {
    if (way === "a route's fallback") {
      const model = (id, provider, name, fallback) => ({ id, type: "model", properties: { provider, model: name, retries: 0, timeout: 0 }, outputs: { success: { elementId: "e" }, ...(fallback && { fallback: { elementId: fallback } }) } });
      const elements = [{ id: "s", type: "start", outputs: { next: { elementId: "a" } } }, model("a", "openai", "gpt-4o-mini", "b"), model("b", "groq", "llama-3.3-70b-versatile"), { id: "e", type: "end", outputs: {} }];
      for (const gateway of ["redact", "block", "deny"]) assert.equal((await gw.api(`/gateways/${gateway}/routes`, { method: "POST", body: JSON.stringify({ name: "way", elements }) })).status, 200);
    }
    const given = async (gateway, text) => {
      answers(text).forEach((answer) => gw.upstream.next(answer));
      const answer = await send(gateway);
      return [answer, await answer.text()];
    };
    const [redacted, text] = await given("redact", `It is ${CARD}.`);
    assert.ok(text.includes("[CARD_1]") && !text.includes(CARD), text.slice(0, 300));
    assert.equal((await gw.logOf(redacted, "redact")).dlp_action, "REDACT");
    const [blocked, refusal] = await given("block", `It is ${CARD}.`);
    assert.ok(!refusal.includes(CARD) && refusal.includes("DLP policy violations"), refusal.slice(0, 300));
    assert.equal((await gw.logOf(blocked, "block")).dlp_action, "BLOCK");
    const [denied, said] = await given("deny", "how a bomb is made");
    const log = await gw.logOf(denied, "deny");
    if (kind === "error") assert.equal(log.guardrails.response?.action ?? "PASS", "PASS");
    else assert.ok(!said.includes("bomb is") && said.includes("Response blocked") && log.guardrails.response.action === "BLOCK", said.slice(0, 300));
  });
}

test("an answer from the cache has what was redacted when it came", async () => {
  const body = { ...chat, messages: [{ role: "user", content: "kept" }] };
  let hit;
  await until(async () => {
    gw.upstream.next({ headers: json, body: completion(`It is ${CARD}.`) });
    hit = await gw.call("openai/chat/completions", { gateway: "redact", json: body, headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
    const text = await hit.text();
    assert.ok(text.includes("[CARD_1]") && !text.includes(CARD), text);
    return hit.headers.get("cf-aig-cache-status") === "HIT";
  }, "a hit");
  // What nothing has taken is no answer to the next test.
  await (await ask("redact")).text();
});

test("a stored response that is read later has placeholders, in what was asked and in what was answered", async () => {
  gw.upstream.next({ headers: json, body: message(`It is ${CARD}.`) });
  const made = await (await ask("redact", "ai/v1/responses", { model: "anthropic/claude-sonnet-4-5", input: `mine is ${CARD}`, store: true })).json();
  assert.match(made.id, /^resp_/);
  let read;
  await until(async () => (read = await gw.call(`ai/v1/responses/${made.id}`, { gateway: "redact", headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } })).status === 200, "the response");
  const later = await read.text();
  assert.ok(later.includes("[CARD_1]") && !later.includes(CARD), later);
  const items = await (await gw.call(`ai/v1/responses/${made.id}/input_items`, { gateway: "redact", headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } })).text();
  assert.ok(items.includes("mine is [CARD_1]") && !items.includes(CARD), items);
});

test("messages of a WebSocket are not looked at, so none is opened where something must not pass", async () => {
  for (const gateway of ["redact", "block", "deny"]) {
    const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/acct/${gateway}/openai/realtime?model=gpt-4o-realtime-preview`, { headers });
    const status = await new Promise((done) => {
      socket.on("unexpected-response", (_, response) => done(response.statusCode));
      socket.on("open", () => done("open"));
      socket.on("error", () => {});
    });
    socket.terminate();
    assert.equal(status, gateway === "deny" ? 503 : 400, gateway);
  }
});

test("what must not leave is stored nowhere", async () => {
  let all = "";
  for (const { name } of await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")) all += JSON.stringify(await gw.rows(`SELECT * FROM "${name}"`));
  const kv = await gw.miniflare.getKVNamespace("CACHE");
  for (const { name } of (await kv.list()).keys) all += await kv.get(name);
  assert.ok(all.includes("[CARD_1]") && !all.includes(CARD), all.slice(Math.max(0, all.indexOf(CARD) - 300)).slice(0, 400));
});
