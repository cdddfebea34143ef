// Responses that OpenAI's client asks for later, of providers that keep none: retrieved, listed, gone on from, deleted.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import OpenAI from "openai";
import { events } from "../../agent.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const KEYS = { anthropic: "sk-operator-0123456789abcdef", openai: "sk-operator-openai-0123456789", groq: "sk-operator-groq-0123456789" };
let gw;
let bucket;
before(async () => {
  gw = await Gateway.start({ worker: { r2Buckets: ["BODIES"] }, bindings: { PROVIDER_KEYS: JSON.stringify(KEYS) } });
  bucket = await gw.miniflare.getR2Bucket("BODIES");
  await gw.create("gw");
  await gw.create("other");
  await gw.create("open", { authentication: false });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const client = (apiKey = TOKEN, gateway = "gw") => new OpenAI({ apiKey, baseURL: `${gw.url}/v1/${ACCOUNT}/${gateway}/ai/v1`, maxRetries: 0 });
const json = (body) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });
let count = 0;
const message = (text) => json({ id: `msg_${(count += 1)}`, type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [{ type: "thinking", thinking: "Hm.", signature: "sig==" }, { type: "text", text }], stop_reason: "end_turn", usage: { input_tokens: 10, output_tokens: 4 } });
const claude = "anthropic/claude-sonnet-4-5";
const sent = () => JSON.parse(gw.upstream.last.body);
const missing = (error) => error.status === 404 && error.error.type === "not_found_error" && error.message.includes("not found");

async function ask(text, more = {}, by = client()) {
  gw.upstream.next(message(`To ${text}`));
  return by.responses.create({ model: claude, input: text, ...more });
}

test("a response is retrieved, its items are listed, and it is deleted", async () => {
  const made = await ask("Lunch?", { instructions: "Be brief.", metadata: { team: "a" } });
  assert.deepEqual([made.store, made.output_text], [true, "To Lunch?"]);
  const found = await client().responses.retrieve(made.id);
  assert.deepEqual(found, made);
  const items = await client().responses.inputItems.list(made.id);
  assert.deepEqual(items.data.map(({ type, role, content, id }) => [type, role, content, typeof id]), [["message", "user", [{ type: "input_text", text: "Lunch?" }], "string"]]);
  await assert.rejects(client().responses.cancel(made.id), (error) => error.status === 400 && error.type === "invalid_request_error" && error.code === null && /synchronous/.test(error.message));
  const gone = await fetch(`${gw.url}/client/v4/accounts/${ACCOUNT}/ai/v1/responses/${made.id}`, { method: "DELETE", headers: { authorization: `Bearer ${TOKEN}`, "cf-aig-gateway-id": "gw" } });
  assert.deepEqual([gone.status, await gone.json()], [200, { id: made.id, object: "response", deleted: true }]);
  for (const what of [() => client().responses.retrieve(made.id), () => client().responses.delete(made.id), () => client().responses.inputItems.list(made.id), () => client().responses.cancel(made.id)]) await assert.rejects(what(), missing);
  assert.equal(gw.upstream.requests.length, 1);
});

test("a response that OpenAI keeps is asked for there", async () => {
  const id = `resp_${"0123456789abcdef".repeat(3)}`;
  const response = (status) => ({ id, object: "response", created_at: 1, status, background: true, model: "gpt-5", output: [], error: null, usage: null });
  gw.upstream.next(json(response("queued")));
  const made = await client().responses.create({ model: "openai/gpt-5", input: "Lunch?", background: true });
  assert.deepEqual([made.id, made.status, sent().background], [id, "queued", true]);
  for (const [what, method, path, status] of [
    [() => client().responses.retrieve(id), "GET", `/v1/responses/${id}`, "in_progress"],
    [() => client().responses.cancel(id), "POST", `/v1/responses/${id}/cancel`, "cancelled"],
  ]) {
    gw.upstream.next(json(response(status)));
    assert.equal((await what()).status, status);
    const { method: sentBy, url, headers } = gw.upstream.last;
    assert.deepEqual([sentBy, url, headers.authorization], [method, path, `Bearer ${KEYS.openai}`]);
  }
  let row;
  await until(async () => ([row] = await gw.rows("SELECT provider, path, success, translated_from FROM logs WHERE path = ?", `responses/${id}/cancel`))[0], "the row");
  assert.deepEqual(row, { provider: "openai", path: `responses/${id}/cancel`, success: 1, translated_from: null });
  // OpenAI's own refusals come through.
  gw.upstream.next({ status: 400, ...json({ error: { message: "Cannot cancel a synchronous response.", type: "invalid_request_error", param: null, code: null } }) });
  await assert.rejects(client().responses.cancel(id), (error) => error.status === 400 && error.message.includes("synchronous"));
  // Without a key for OpenAI there is no one to ask.
  gw.upstream.requests.length = 0;
  const unknown = await fetch(`${gw.url}/v1/${ACCOUNT}/open/ai/v1/responses/${id}/cancel`, { method: "POST" });
  assert.deepEqual([unknown.status, (await unknown.json()).error.type, gw.upstream.requests.length], [404, "not_found_error", 0]);
});

test("a request goes on from a response, with what its provider wants back", async () => {
  const first = await ask("One?");
  const second = await ask("Two?", { previous_response_id: first.id });
  assert.equal(second.previous_response_id, first.id);
  const turns = sent().messages;
  assert.deepEqual(turns.map(({ role, content }) => [role, content.at(-1).text]), [["user", "One?"], ["assistant", "To One?"], ["user", "Two?"]]);
  assert.deepEqual(turns[1].content[0], { type: "thinking", thinking: "Hm.", signature: "sig==" });
  const items = [];
  for await (const item of client().responses.inputItems.list(second.id, { order: "asc", limit: 2 })) items.push(item);
  assert.deepEqual(items.map(({ type, role }) => role ?? type), ["user", "reasoning", "assistant", "user"]);
  // Items are referred to by their ids, as the AI SDK does.
  gw.upstream.next(message("Three."));
  await client().responses.create({ model: claude, input: [{ role: "user", content: "One?" }, { type: "item_reference", id: first.output[0].id }, { type: "item_reference", id: first.output[1].id }, { role: "user", content: "Three?" }] });
  assert.deepEqual(sent().messages.map(({ role, content }) => [role, content.at(-1).text]), [["user", "One?"], ["assistant", "To One?"], ["user", "Three?"]]);
  // Two conversations go on from one response.
  await ask("Other?", { previous_response_id: first.id });
  assert.equal(sent().messages.length, 3);
  // Without its beginning a conversation is not another one.
  await client().responses.delete(first.id);
  await assert.rejects(client().responses.create({ model: claude, input: "x", previous_response_id: second.id }), (error) => error.status === 400 && error.message.includes(first.id));
  await assert.rejects(client().responses.create({ model: claude, input: "x", previous_response_id: "resp_never" }), (error) => error.status === 400 && error.message.includes("previous_response_id"));
});

test("a conversation goes from provider to provider, and back", async () => {
  const first = await ask("One?");
  gw.upstream.next(json({ id: `resp_${"0a".repeat(25)}`, object: "response", status: "completed", model: "gpt-5", output: [{ id: "msg_o", type: "message", role: "assistant", status: "completed", content: [{ type: "output_text", text: "Two.", annotations: [] }] }], usage: { input_tokens: 9, output_tokens: 2, total_tokens: 11 } }));
  const second = await client().responses.create({ model: "openai/gpt-5", input: "Two?", previous_response_id: first.id });
  assert.equal(gw.upstream.last.url, "/v1/responses");
  assert.equal(sent().previous_response_id, undefined);
  const text = JSON.stringify(sent().input);
  assert.ok(["One?", "To One?", "Two?"].every((said) => text.includes(said)) && !text.includes("sig=="), text);
  const third = await ask("Three?", { previous_response_id: second.id });
  assert.deepEqual(sent().messages.map(({ content }) => content.at(-1).text), ["One?", "To One?", "Two?", "Two.", "Three?"]);
  gw.upstream.next(json({ id: "chatcmpl-4", object: "chat.completion", model: "llama", choices: [{ index: 0, message: { role: "assistant", content: "Four." }, finish_reason: "stop" }] }));
  const fourth = await client().responses.create({ model: "groq/llama", input: "Four?", previous_response_id: third.id });
  assert.deepEqual([fourth.output_text, sent().messages.length], ["Four.", 7]);
  // OpenAI's own goes to OpenAI as it is.
  gw.upstream.next(json({ id: "resp_5", object: "response", output: [] }));
  await client().responses.create({ model: "openai/gpt-5", input: "x", previous_response_id: `resp_${"1b".repeat(25)}` });
  assert.equal(sent().previous_response_id, `resp_${"1b".repeat(25)}`);
});

test("a stream is kept when it has ended well, and not when it broke off", async () => {
  gw.upstream.next({ events: events.messages(0, {}) });
  let completed;
  for await (const event of await client().responses.create({ model: claude, input: "Lunch?", stream: true })) if (event.type === "response.completed") completed = event.response;
  assert.equal(completed.store, true);
  const { output_text, ...found } = await client().responses.retrieve(completed.id);
  assert.deepEqual(found, completed);
  gw.upstream.next({ events: events.messages(0, {}).slice(0, 3).map((event) => event.replaceAll("msg_", "msg_broken_")) });
  let begun;
  for await (const event of await client().responses.create({ model: claude, input: "Lunch?", stream: true })) begun ??= event.response?.id;
  await assert.rejects(client().responses.retrieve(begun), missing);
});

test("a response is found by the same token in the same gateway, or by the same key", async () => {
  const made = await ask("Secret?");
  const token = await (await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "two", permissions: ["run"] }) })).json();
  for (const by of [client(token.result.value), client(TOKEN, "other"), client("sk-some-key-0123456789", "open")]) {
    await assert.rejects(by.responses.retrieve(made.id), missing);
    await assert.rejects(by.responses.delete(made.id), missing);
    await assert.rejects(by.responses.create({ model: claude, input: "x", previous_response_id: made.id }), (error) => error.status === 400);
  }
  const own = client("sk-own-key-0123456789", "open");
  const mine = await ask("Mine?", {}, own);
  assert.equal((await own.responses.retrieve(mine.id)).id, mine.id);
  await assert.rejects(client("sk-other-key-0123456789", "open").responses.retrieve(mine.id), missing);
  const rows = JSON.stringify((await gw.db.prepare("SELECT * FROM stored_responses").all()).results);
  assert.ok(!rows.includes("sk-own-key") && !rows.includes(KEYS.anthropic));
});

test("nothing is kept that is not to be, and the caller is told", async () => {
  const keeps = async (headers, more = {}) => {
    gw.upstream.next(message("x"));
    const answer = await gw.call("ai/v1/responses", { json: { model: claude, input: "x", ...more }, headers: { "cf-aig-authorization": `Bearer ${TOKEN}`, ...headers } });
    const body = await answer.json();
    await gw.logOf(answer);
    const found = await gw.call(`ai/v1/responses/${body.id}`, { headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
    return [body.store, found.status, answer.headers.get("cf-aig-warning")];
  };
  assert.deepEqual(await keeps({}), [true, 200, null]);
  assert.deepEqual(await keeps({ "cf-aig-collect-log-payload": "false" }), [false, 404, "the response is not kept, because payloads are not collected"]);
  assert.deepEqual(await keeps({}, { store: false }), [false, 404, null]);
});

test("a long response is in the bucket, and goes with its row; an old one is not found", async () => {
  const text = "long ".repeat(100_000);
  const made = await ask(text);
  assert.equal((await client().responses.retrieve(made.id)).id, made.id);
  const objects = async () => (await bucket.list({ prefix: "responses/" })).objects.length;
  assert.equal(await objects(), 1);
  await ask("more", { previous_response_id: made.id });
  assert.equal(sent().messages[0].content[0].text, text);
  await client().responses.delete(made.id);
  const cron = () => gw.miniflare.getWorker().then((worker) => worker.scheduled({ cron: "* * * * *" }));
  await until(async () => (await cron(), (await objects()) === 0), "the object to go");
  const old = await ask("Old?");
  await client().responses.retrieve(old.id);
  await gw.db.prepare("UPDATE stored_responses SET created_at = created_at - 2592000001 WHERE id = ?1").bind(old.id).run();
  await assert.rejects(client().responses.retrieve(old.id), missing);
  await until(async () => (await cron(), !(await gw.db.prepare("SELECT 1 FROM stored_responses WHERE id = ?1").bind(old.id).first())), "the row to go");
});
