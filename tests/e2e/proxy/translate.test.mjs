// Requests in one API's format to providers of another: what the client gets, what the provider got, and what the log says.
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { after, before, beforeEach, test } from "node:test";
import OpenAI from "openai";
import { events, frame } from "../../agent.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const SECRET = "sk-operator-0123456789abcdef";
let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ anthropic: SECRET, "aws-bedrock": JSON.stringify({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secretsecretsecret", region: "us-east-1" }) }) } });
  await gw.create("gw");
  await gw.create("cached", { cache_ttl: 60 });
  await gw.create("locked", { authentication: true, model_aliases: { "gpt-*": "anthropic/claude-sonnet-4-5" } });
  await gw.create("limited", { rate_limiting_limit: 1, rate_limiting_interval: 3600, rate_limiting_technique: "fixed" });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const json = (body, more = {}) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json", ...more } });
const MESSAGE = { id: "msg_01", type: "message", role: "assistant", model: "claude-sonnet-4-5-20250929", content: [{ type: "text", text: "Ramen." }], stop_reason: "end_turn", stop_sequence: null, usage: { input_tokens: 10, cache_read_input_tokens: 30, cache_creation_input_tokens: 0, output_tokens: 4 } };
const CHAT = { model: "anthropic/claude-sonnet-4-5", messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Lunch?" }] };
const MESSAGES = { model: "groq/llama", max_tokens: 50, messages: [{ role: "user", content: "Lunch?" }] };
const sk = { authorization: "Bearer sk-client-0123456789" };

test("a chat completion by Anthropic: the client gets its format, the log has what Anthropic got and said", async () => {
  gw.upstream.next(json(MESSAGE, { "request-id": "req_1", "anthropic-ratelimit-requests-remaining": "9" }));
  const answer = await gw.call("ai/v1/chat/completions?x=y", { json: { ...CHAT, temperature: 0.5 }, headers: { ...sk, "openai-organization": "org-secret" } });
  const body = await answer.json();
  assert.equal(answer.status, 200);
  assert.deepEqual([body.object, body.id, body.model, body.choices[0].message.content, body.choices[0].finish_reason], ["chat.completion", "msg_01", MESSAGE.model, "Ramen.", "stop"]);
  assert.deepEqual(body.usage, { prompt_tokens: 40, completion_tokens: 4, total_tokens: 44, prompt_tokens_details: { cached_tokens: 30 }, completion_tokens_details: { reasoning_tokens: 0 } });
  assert.deepEqual([answer.headers.get("content-type"), answer.headers.get("anthropic-ratelimit-requests-remaining")], ["application/json", "9"]);
  const { url, headers, body: sent } = gw.upstream.last;
  assert.equal(url, "/v1/messages");
  assert.deepEqual([headers["x-api-key"], headers.authorization, headers["anthropic-version"], headers["openai-organization"]], ["sk-client-0123456789", undefined, "2023-06-01", undefined]);
  assert.deepEqual(JSON.parse(sent), { model: "claude-sonnet-4-5", max_tokens: 64000, system: [{ type: "text", text: "Be brief." }], messages: [{ role: "user", content: [{ type: "text", text: "Lunch?" }] }], temperature: 0.5 });
  const log = await gw.logOf(answer);
  assert.deepEqual([log.provider, log.model, log.path, log.translated_from, log.success, log.tokens_in, log.tokens_out, log.response_id], ["anthropic", "claude-sonnet-4-5", "v1/messages", "chat", true, 10, 4, "msg_01"]);
  assert.ok(log.cost > 0);
  assert.deepEqual(await (await gw.api(`/gateways/gw/logs/${log.id}/response`)).json(), MESSAGE);
  assert.equal(await (await gw.api(`/gateways/gw/logs/${log.id}/request`)).text(), sent.toString());
  const found = await gw.result(`/gateways/gw/logs?filters=${encodeURIComponent(JSON.stringify([{ key: "translated_from", operator: "eq", value: ["chat"] }]))}`);
  assert.ok(found.some(({ id }) => id === log.id));
  // Feedback by the id that the client saw.
  const given = await fetch(`${gw.url}/feedback/${body.id}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" }, body: '{"data":{"feedback":1}}' });
  assert.equal(given.status, 200, await given.clone().text());
  assert.equal((await gw.result(`/gateways/gw/logs/${log.id}`)).feedback, 1);
});

test("a stream goes on event by event, and ends with what it used where the caller asks", async () => {
  gw.upstream.next({ events: events.messages(0, { model: "claude" }), pause: 60 });
  const answer = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, stream: true, stream_options: { include_usage: true } }, headers: sk });
  assert.match(answer.headers.get("content-type"), /^text\/event-stream/);
  const reader = answer.body.getReader();
  let text = "";
  while (!text.includes("Let me")) text += new TextDecoder().decode((await reader.read()).value);
  assert.ok(gw.upstream.last.sent < events.messages(0, {}).length, "the first words came after the last");
  for (let piece; !(piece = await reader.read()).done; ) text += new TextDecoder().decode(piece.value);
  const chunks = text.trim().split("\n\n").map((line) => line.slice(6));
  assert.equal(chunks.pop(), "[DONE]");
  const all = chunks.map((chunk) => JSON.parse(chunk));
  assert.deepEqual(all.at(-1).usage.prompt_tokens, 24);
  assert.equal(all.flatMap(({ choices }) => choices[0]?.delta.content ?? "").join(""), "Let me look.");
  const log = await gw.logOf(answer);
  assert.deepEqual([log.success, log.tokens_in, log.tokens_out, log.translated_from, log.response_content_type], [true, 20, 5, "chat", "text/event-stream"]);
});

test("a client that leaves ends the call", async () => {
  gw.upstream.next({ events: Array.from({ length: 500 }, () => ": more\n\n").toSpliced(0, 0, ...events.messages(0, {}).slice(0, 3)), pause: 20 });
  const stop = new AbortController();
  const answer = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, stream: true }, headers: sk, signal: stop.signal });
  await answer.body.getReader().read();
  stop.abort();
  await until(() => gw.upstream.last.closed, "the end of the call");
  const log = await gw.logOf(answer);
  assert.equal(log.success, false);
});

test("keys: stored here, of the operator, or of the caller in the style of its client", async () => {
  gw.upstream.next(json(MESSAGE));
  const locked = await gw.call("ai/v1/chat/completions", { gateway: "locked", json: { ...CHAT, model: "gpt-5" }, headers: { authorization: `Bearer ${TOKEN}` } });
  assert.equal(locked.status, 200, await locked.clone().text());
  assert.deepEqual([gw.upstream.last.headers["x-api-key"], gw.upstream.last.headers.authorization, JSON.parse(gw.upstream.last.body).model], [SECRET, undefined, "claude-sonnet-4-5"]);
  const chat = { id: "c", object: "chat.completion", model: "llama", choices: [{ index: 0, message: { role: "assistant", content: "Ramen." }, finish_reason: "stop" }], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } };
  for (const headers of [{ "x-api-key": "sk-1", "anthropic-version": "2023-06-01", "anthropic-beta": "x" }, { "x-goog-api-key": "sk-1" }, { authorization: "Bearer sk-1" }]) {
    gw.upstream.next(json(chat));
    const answer = await gw.call("ai/v1/messages", { json: MESSAGES, headers });
    assert.deepEqual([answer.status, (await answer.json()).content[0].text], [200, "Ramen."]);
    const sent = gw.upstream.last.headers;
    assert.deepEqual([sent.authorization, sent["x-api-key"], sent["x-goog-api-key"], sent["anthropic-version"], sent["anthropic-beta"]], ["Bearer sk-1", undefined, undefined, undefined, undefined]);
  }
  // Bedrock is signed for, over the body that it gets.
  gw.upstream.next(json({ output: { message: { role: "assistant", content: [{ text: "Ramen." }] } }, stopReason: "end_turn", usage: { inputTokens: 3, outputTokens: 2 } }));
  const signed = await gw.call("ai/v1/messages", { gateway: "locked", json: { ...MESSAGES, model: "aws-bedrock/us-east-1/us.amazon.nova-pro-v1:0" }, headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
  const said = await signed.json();
  assert.deepEqual([signed.status, said.content[0].text, said.id], [200, "Ramen.", signed.headers.get("cf-aig-log-id")]);
  assert.match(gw.upstream.last.headers.authorization, /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/us-east-1\/bedrock\//);
  assert.equal(gw.upstream.last.url, "/model/us.amazon.nova-pro-v1%3A0/converse");
});

test("errors come in the caller's format, with the provider's status and without the key", async () => {
  const error = { type: "error", error: { type: "rate_limit_error", message: `slow down, ${SECRET}` } };
  for (const encoding of [undefined, "gzip"]) {
    const body = JSON.stringify(error);
    gw.upstream.next({ status: 429, body, gzip: encoding === "gzip", headers: { "content-type": "application/json", "retry-after": "7" } });
    const answer = await gw.call("ai/v1/chat/completions", { gateway: "locked", json: CHAT, headers: { authorization: `Bearer ${TOKEN}` } });
    const { error: told } = await answer.json();
    assert.deepEqual([answer.status, told.type, answer.headers.get("retry-after")], [429, "rate_limit_error", "7"]);
    assert.ok(told.message.startsWith("slow down, ") && !told.message.includes(SECRET), told.message);
    const log = await gw.logOf(answer, "locked");
    assert.deepEqual([log.success, log.status_code], [false, 429]);
  }
  gw.upstream.next({ status: 500, body: "<html>oops</html>", headers: { "content-type": "text/html" } });
  const html = await gw.call("ai/v1/messages", { json: MESSAGES, headers: sk });
  assert.deepEqual([html.status, (await html.json()).error.type], [500, "api_error"]);
  gw.upstream.next({ body: "no json", headers: { "content-type": "application/json" } });
  const nonsense = await gw.call("ai/v1/messages", { json: MESSAGES, headers: sk });
  assert.deepEqual([nonsense.status, (await nonsense.json()).type], [502, "error"]);
});

test("a stream that fails has no clean end", async () => {
  const begun = events.messages(0, {}).slice(0, 3);
  const failing = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n';
  for (const behaviour of [{ events: [...begun, failing] }, { events: begun }, { events: [...begun, ...begun], cut: 3 }]) {
    gw.upstream.next(behaviour);
    const answer = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, stream: true }, headers: sk });
    const text = await answer.text();
    assert.ok(text.includes('"error":{') && !text.includes("[DONE]") && !text.includes('"finish_reason":"stop"'), text);
    assert.equal((await gw.logOf(answer)).success, false);
  }
  gw.upstream.next({ events: [frame({ ":message-type": "event", ":event-type": "messageStart" }, { role: "assistant" }), frame({ ":message-type": "exception", ":exception-type": "throttlingException" }, { message: "Too many" })], headers: { "content-type": "application/vnd.amazon.eventstream" } });
  const answer = await gw.call("ai/v1/messages", { gateway: "locked", json: { ...MESSAGES, model: "aws-bedrock/us-east-1/m", stream: true }, headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
  const text = await answer.text();
  assert.match(text, /event: error\ndata: .*rate_limit_error.*Too many/);
  assert.ok(!text.includes("message_stop"));
  assert.equal((await gw.logOf(answer, "locked")).success, false);
});

test("a compressed stream is read", async () => {
  gw.upstream.next({ body: gzipSync(events.messages(0, {}).join("")), headers: { "content-type": "text/event-stream", "content-encoding": "gzip" } });
  const answer = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, stream: true }, headers: sk });
  assert.match(await answer.text(), /Let me[^]*\[DONE\]/);
  assert.deepEqual([(await gw.logOf(answer)).tokens_out], [5]);
});

test("what is left out is named, and refused where the caller is strict or the meaning would change", async () => {
  gw.upstream.next(json(MESSAGE));
  const lenient = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, seed: 5, logit_bias: { 5: 1 } }, headers: sk });
  assert.deepEqual([lenient.status, lenient.headers.get("cf-aig-warning")], [200, "dropped=logit_bias,seed"]);
  for (const [more, field] of [[{ n: 2 }, "n:"], [{ logprobs: true }, "logprobs"]]) {
    const refused = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, ...more }, headers: sk });
    const { error } = await refused.json();
    assert.deepEqual([refused.status, error.type, error.code], [400, "invalid_request_error", "2019"]);
    assert.ok(error.message.includes(field), error.message);
  }
  const strict = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, seed: 5 }, headers: { ...sk, "cf-aig-translate": "strict" } });
  assert.equal(strict.status, 400);
  assert.match((await strict.json()).error.message, /seed/);
  assert.equal(gw.upstream.requests.length, 1);
  const log = await gw.logOf(strict);
  assert.deepEqual([log.success, log.status_code], [false, 400]);
});

test("several answers come where both formats have them", async () => {
  const candidate = (index, text, finishReason) => ({ index, content: { role: "model", parts: [{ text }] }, ...(finishReason && { finishReason }) });
  const gemini = (...candidates) => ({ responseId: "gem-1", modelVersion: "gemini-2.5-flash", candidates, usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 6, totalTokenCount: 10 } });
  const client = new OpenAI({ apiKey: "sk-client-0123456789", baseURL: `${gw.url}/v1/${ACCOUNT}/gw/ai/v1`, maxRetries: 0 });
  const asked = { model: "google-ai-studio/gemini-2.5-flash", n: 2, messages: [{ role: "user", content: "Lunch?" }] };
  gw.upstream.next(json(gemini(candidate(0, "Ramen.", "STOP"), candidate(1, "Soup.", "MAX_TOKENS"))));
  const { data, response } = await client.chat.completions.create(asked).withResponse();
  assert.equal(JSON.parse(gw.upstream.last.body).generationConfig.candidateCount, 2);
  assert.deepEqual(data.choices.map(({ index, message, finish_reason }) => [index, message.content, finish_reason]), [[0, "Ramen.", "stop"], [1, "Soup.", "length"]]);
  assert.deepEqual([data.usage.completion_tokens, (await gw.logOf(response)).tokens_out], [6, 6]);
  const pieces = [[candidate(0, "Ra"), candidate(1, "So")], [candidate(1, "up.", "STOP")], [candidate(0, "men.", "STOP")]];
  gw.upstream.next({ events: pieces.map((all) => `data: ${JSON.stringify(gemini(...all))}\n\n`) });
  const texts = ["", ""];
  const finishes = [];
  for await (const { choices } of await client.chat.completions.create({ ...asked, stream: true })) {
    for (const { index, delta, finish_reason } of choices) {
      texts[index] += delta.content ?? "";
      if (finish_reason) finishes[index] = finish_reason;
    }
  }
  assert.deepEqual([texts, finishes], [["Ramen.", "Soup."], ["stop", "stop"]]);
  // And the other way round.
  gw.upstream.next(json({ id: "c", model: "llama", choices: ["Ramen.", "Soup."].map((content, index) => ({ index, message: { role: "assistant", content }, finish_reason: "stop" })), usage: { prompt_tokens: 4, completion_tokens: 6 } }));
  const back = await gw.call("ai/v1beta/models/groq/llama:generateContent", { json: { contents: [{ role: "user", parts: [{ text: "Lunch?" }] }], generationConfig: { candidateCount: 2 } }, headers: sk });
  assert.deepEqual((await back.json()).candidates.map(({ content }) => content.parts[0].text), ["Ramen.", "Soup."]);
  assert.equal(JSON.parse(gw.upstream.last.body).n, 2);
});

test("refusals of the gateway come in the caller's format, too", async () => {
  const of = async (path, init, gateway) => {
    const answer = await gw.call(path, { gateway, ...init });
    return [answer.status, await answer.json()];
  };
  const [unauthorized, messages] = await of("ai/v1/messages", { json: MESSAGES }, "locked");
  assert.deepEqual([unauthorized, messages.type, messages.error.type], [401, "error", "authentication_error"]);
  const [unknown, gemini] = await of("ai/v1beta/models/nobody/x:generateContent", { json: { contents: [] } });
  assert.deepEqual([unknown, gemini.error.status, gemini.error.code], [400, "INVALID_ARGUMENT", 400]);
  const [nowhere, none] = await of("ai/v1/nothing", { json: {} });
  assert.deepEqual([nowhere, none.internalCode], [404, 7002]);
  gw.upstream.next(json(MESSAGE));
  await of("ai/v1/chat/completions", { json: CHAT, headers: sk }, "limited");
  const [limited, chat] = await of("ai/v1/chat/completions", { json: CHAT, headers: sk }, "limited");
  assert.deepEqual([limited, chat.error.type], [429, "rate_limit_error"]);
  const [uncounted, counted] = await of("ai/v1/messages/count_tokens", { json: MESSAGES, headers: sk });
  assert.deepEqual([uncounted, counted.error.type], [404, "not_found_error"]);
});

test("a kept answer is translated for whoever asks, and its provider asked once", async () => {
  for (const stream of [false, true]) {
    gw.upstream.requests.length = 0;
    gw.upstream.next(stream ? { events: events.messages(2, {}) } : json(MESSAGE));
    const texts = [];
    for (const status of ["MISS", "HIT"]) {
      const answer = await gw.call("ai/v1/chat/completions", { gateway: "cached", json: { ...CHAT, stream }, headers: sk });
      texts.push((await answer.text()).replace(/"created":\d+/g, ""));
      assert.equal(answer.headers.get("cf-aig-cache-status"), status);
      const log = await gw.logOf(answer, "cached");
      assert.deepEqual([log.cached, log.success, log.translated_from], [status === "HIT", true, "chat"]);
    }
    assert.equal(texts[0], texts[1]);
    assert.equal(gw.upstream.requests.length, 1);
  }
});

test("retries, and a fallback to a provider of another format", async () => {
  gw.upstream.next({ status: 529, body: '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', headers: { "content-type": "application/json" } });
  gw.upstream.next(json(MESSAGE));
  const retried = await gw.call("ai/v1/chat/completions", { json: CHAT, headers: { ...sk, "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "0" } });
  assert.deepEqual([retried.status, retried.headers.get("cf-aig-attempt"), (await retried.json()).choices[0].message.content], [200, "2", "Ramen."]);
  for (let times = 0; times < 2; times += 1) gw.upstream.next({ status: 529, body: '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', headers: { "content-type": "application/json" } });
  const failed = await gw.call("ai/v1/chat/completions", { json: CHAT, headers: { ...sk, "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "0" } });
  assert.deepEqual([failed.status, (await failed.json()).error.message], [529, "Overloaded"]);
  gw.upstream.next({ reset: true });
  gw.upstream.next(json(MESSAGE));
  const element = (model) => ({ provider: "ai", endpoint: "v1/chat/completions", headers: { ...sk, "content-type": "application/json" }, query: { ...CHAT, model } });
  const universal = await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify([element("mistral/m"), element("anthropic/claude-x")]) });
  assert.deepEqual([universal.status, universal.headers.get("cf-aig-step"), (await universal.json()).choices[0].message.content], [200, "1", "Ramen."]);
});

test("compat translates where it is told to, and otherwise uses the endpoint that a provider has", async () => {
  gw.upstream.next(json(MESSAGE));
  const always = await gw.call("compat/chat/completions", { json: CHAT, headers: { ...sk, "cf-aig-translate": "always" } });
  assert.deepEqual([(await always.json()).choices[0].message.content, gw.upstream.last.url], ["Ramen.", "/v1/messages"]);
  gw.upstream.next(json({ object: "chat.completion", choices: [] }));
  await gw.call("compat/chat/completions", { json: CHAT, headers: sk });
  assert.equal(gw.upstream.last.url, "/v1/chat/completions");
  const wrong = await gw.call("compat/chat/completions", { json: CHAT, headers: { ...sk, "cf-aig-translate": "sometimes" } });
  assert.equal(wrong.status, 400);
});

test("the account's own address takes a token alone, and a gateway by header", async () => {
  const call = (headers) => fetch(`${gw.url}/client/v4/accounts/${ACCOUNT}/ai/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(CHAT) });
  gw.upstream.next(json(MESSAGE));
  const named = await call({ authorization: `Bearer ${TOKEN}`, "cf-aig-gateway-id": "locked" });
  assert.equal(named.status, 200, await named.clone().text());
  assert.equal((await gw.logOf(named, "locked")).translated_from, "chat");
  gw.upstream.next(json(MESSAGE));
  const usual = await call({ authorization: `Bearer ${TOKEN}` });
  assert.equal((await gw.logOf(usual, "default")).provider, "anthropic");
  const openai = new OpenAI({ apiKey: TOKEN, baseURL: `${gw.url}/client/v4/accounts/${ACCOUNT}/ai/v1`, maxRetries: 0 });
  gw.upstream.next(json(MESSAGE));
  assert.equal((await openai.chat.completions.create(CHAT)).choices[0].message.content, "Ramen.");
  const stranger = await call({ ...sk, "cf-aig-gateway-id": "gw" });
  assert.deepEqual([stranger.status, (await stranger.json()).error.type], [401, "authentication_error"]);
});

test("a session in the caller's body stays one", async () => {
  const id = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
  gw.upstream.next(json({ id: "c", object: "chat.completion", model: "llama", choices: [{ index: 0, message: { role: "assistant", content: "Ramen." }, finish_reason: "stop" }] }));
  const answer = await gw.call("ai/v1/messages", { json: { ...MESSAGES, metadata: { user_id: `user_a_account__session_${id}` } }, headers: sk });
  assert.equal((await gw.logOf(answer)).session_id, id);
});

test("the id of a response that another API answered finds its log", async () => {
  gw.upstream.next(json(MESSAGE));
  const answer = await gw.call("ai/v1/responses", { json: { model: "anthropic/claude-x", input: "Lunch?", store: false }, headers: sk });
  const { id, output } = await answer.json();
  assert.deepEqual([id, output[0].content[0].text], ["resp_msg_01", "Ramen."]);
  assert.equal((await gw.logOf(answer)).response_id, id);
});

test("what is left out of an answer is said, in a header or in the stream", async () => {
  const content = [{ type: "server_tool_use", id: "srv", name: "web_search", input: {} }, { type: "text", text: "Ramen.", citations: [{ type: "web_search_result_location", url: "https://a.example" }] }];
  gw.upstream.next(json({ ...MESSAGE, content }));
  const whole = await gw.call("ai/v1/chat/completions", { json: CHAT, headers: sk });
  assert.deepEqual([(await whole.json()).choices[0].message.content, whole.headers.get("cf-aig-warning")], ["Ramen.", "left out of the answer: server_tool_use"]);
  const cited = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{}}}\n\n';
  const all = events.messages(0, {});
  gw.upstream.next({ events: [...all.slice(0, 3), cited, ...all.slice(3)] });
  const stream = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, stream: true }, headers: sk });
  assert.match(await stream.text(), /\n\n: cf-aig-warning left out of the answer: citations\n\ndata: [^]*\[DONE\]/);
  assert.equal((await gw.logOf(stream)).success, true);
});

test("an event that is no JSON does not become a part that is missing", async () => {
  const all = events.messages(0, {});
  gw.upstream.next({ events: [...all.slice(0, 3), "data: <html>\n\n", ...all.slice(3)] });
  const answer = await gw.call("ai/v1/chat/completions", { json: { ...CHAT, stream: true }, headers: sk });
  const text = await answer.text();
  assert.ok(text.includes("is no JSON") && !text.includes("[DONE]"), text);
});

test("a client that waits gets signs of life", { timeout: 60_000 }, async () => {
  const chunk = (choice) => `data: ${JSON.stringify({ id: "c", model: "llama", choices: [{ index: 0, ...choice }] })}\n\n`;
  gw.upstream.next({ events: [chunk({ delta: { content: "Ra" } }), chunk({ delta: { content: "men." }, finish_reason: "stop" })], pause: 21_000 });
  const answer = await gw.call("ai/v1/messages", { json: { ...MESSAGES, stream: true }, headers: sk });
  assert.match(await answer.text(), /"Ra"[^]*event: ping\ndata: {"type": "ping"}\n\n[^]*"men\."[^]*message_stop/);
});

test("tokens are counted by a provider of another format that counts", async () => {
  for (const [path, model, url, counted, wanted] of [
    ["ai/v1/messages/count_tokens", "openai/gpt-5", "/v1/responses/input_tokens", { object: "response.input_tokens", input_tokens: 11 }, { input_tokens: 11 }],
    ["ai/v1/messages/count_tokens", "google-ai-studio/gemini-2.5-pro", "/v1beta/models/gemini-2.5-pro:countTokens", { totalTokens: 12 }, { input_tokens: 12 }],
    ["ai/v1beta/models/anthropic/claude-sonnet-4-5:countTokens", undefined, "/v1/messages/count_tokens", { input_tokens: 13 }, { totalTokens: 13 }],
  ]) {
    gw.upstream.next(json(counted));
    const body = model ? { ...MESSAGES, model } : { contents: [{ role: "user", parts: [{ text: "Lunch?" }] }] };
    const answer = await gw.call(path, { json: body, headers: sk });
    assert.deepEqual([answer.status, await answer.json(), gw.upstream.last.url], [200, wanted, url]);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.cost ?? 0, log.translated_from !== null], [true, 0, true]);
  }
});

test("what an answer is cited from comes in the caller's words", async () => {
  const url = "https://example.com/ramen";
  const chunk = (delta, finish_reason = null) => `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "sonar", citations: [url], search_results: [{ url, title: "Ramen" }], choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
  gw.upstream.next({ events: [chunk({ role: "assistant", content: "Ra" }), chunk({ content: "men." }), chunk({}, "stop"), "data: [DONE]\n\n"] });
  const client = new OpenAI({ apiKey: "sk-client-0123456789", baseURL: `${gw.url}/v1/${ACCOUNT}/gw/ai/v1`, maxRetries: 0 });
  const stream = client.responses.stream({ model: "perplexity-ai/sonar", input: "Lunch?" });
  const added = [];
  stream.on("event", (event) => event.type === "response.output_text.annotation.added" && added.push(event.annotation.url));
  const response = await stream.finalResponse();
  const [{ text, annotations }] = response.output[0].content;
  assert.deepEqual([text, annotations, added], ["Ramen.", [{ type: "url_citation", url, title: "Ramen", start_index: 0, end_index: 6 }], [url]]);
  const cited = { type: "web_search_result_location", url, title: "Ramen", cited_text: "noodles", encrypted_index: "E" };
  const place = { type: "char_location", cited_text: "noodles", document_index: 0, document_title: "Menu", start_char_index: 2, end_char_index: 9 };
  gw.upstream.next(json({ ...MESSAGE, content: [{ type: "text", text: "Ah " }, { type: "text", text: "ramen.", citations: [cited, place] }] }));
  const { data, response: answer } = await client.chat.completions.create(CHAT).withResponse();
  assert.deepEqual(data.choices[0].message.annotations, [{ type: "url_citation", url_citation: { url, title: "Ramen", start_index: 3, end_index: 9 } }]);
  assert.equal(answer.headers.get("cf-aig-warning"), "left out of the answer: citations");
  assert.equal((await gw.logOf(answer)).success, true);
});
