import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import OpenAI from "openai";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true", PROVIDER_KEYS: JSON.stringify({ "google-ai-studio": "sk-google", parallel: "sk-parallel", openai: "sk-operator" }) } });
  await gw.create("gw");
  await gw.create("locked", { authentication: true });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const CHAT = { headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "c-1", object: "chat.completion", model: "gpt-4o", choices: [], usage: { prompt_tokens: 17, completion_tokens: 6 } }) };

/** Where the stand-in is asked by each provider; the part before is that of the base URL. */
const PATHS = {
  anthropic: "/v1/chat/completions",
  baseten: "/v1/v1/chat/completions",
  cerebras: "/v1/chat/completions",
  cohere: "/compatibility/v1/chat/completions",
  deepseek: "/chat/completions",
  fireworks: "/inference/v1/chat/completions",
  "google-ai-studio": "/v1beta/openai/chat/completions",
  grok: "/v1/chat/completions",
  groq: "/openai/v1/chat/completions",
  mistral: "/v1/chat/completions",
  openai: "/v1/chat/completions",
  openrouter: "/api/v1/chat/completions",
  parallel: "/chat/completions",
  "perplexity-ai": "/chat/completions",
  "workers-ai": "/ai/v1/chat/completions",
};

test("the model's prefix chooses the provider, and nothing else of the body changes", async () => {
  for (const [provider, path] of Object.entries(PATHS)) {
    gw.upstream.next(CHAT);
    const body = (model) => `{"temperature":1.0, "model": ${JSON.stringify(model)},"messages":[{"role":"user","content":"é"}],"logit_bias":12345678901234567890123}`;
    const answer = await gw.call("compat/chat/completions?a=b", { method: "POST", body: body(`${provider}/some/model`), headers: { "content-type": "application/json", authorization: "Bearer sk-test" } });
    assert.deepEqual([answer.status, await answer.text()], [200, CHAT.body], provider);
    const { url, headers, body: sent, provider: asked } = gw.upstream.last;
    assert.deepEqual([asked, url, sent.toString()], [provider, `${path}?a=b`, body("some/model")]);
    assert.deepEqual([headers.authorization, headers["content-type"], headers["content-length"]], ["Bearer sk-test", "application/json", String(sent.length)]);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.provider, log.model, log.path, log.success, log.tokens_in], [provider, "some/model", `${path.replace(/^\/(ai|v1|inference\/v1|openai\/v1|api\/v1)\/(?=.*chat)/, (prefix) => (["anthropic", "mistral"].includes(provider) ? prefix : "/")).slice(1)}?a=b`, true, 17]);
    assert.equal(await (await gw.api(`/gateways/gw/logs/${log.id}/request`)).text(), body("some/model"));
  }
});

test("the OpenAI SDK, whole and streamed", async () => {
  const openai = new OpenAI({ apiKey: "sk-test", baseURL: `${gw.url}/v1/${ACCOUNT}/gw/compat`, maxRetries: 0 });
  const messages = [{ role: "user", content: "What should I eat for lunch?" }];
  const { data, response } = await openai.chat.completions.create({ model: "openai/gpt-4o", messages }).withResponse();
  assert.equal(data.choices[0].message.content, "A bowl of ramen.");
  const log = await gw.logOf(response);
  assert.deepEqual([log.provider, log.model, log.cost > 0], ["openai", "gpt-4o", true]);
  let text = "";
  for await (const chunk of await openai.chat.completions.create({ model: "groq/llama-3.3-70b-versatile", messages, stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
  assert.ok(text.length > 0);
});

test("our token in the place of a key stays here, and the operator's key goes as the endpoint wants it", async () => {
  for (const [model, key] of [["google-ai-studio/gemini-2.5-flash", "sk-google"], ["parallel/speed", "sk-parallel"], ["openai/gpt-4o", "sk-operator"]]) {
    gw.upstream.next(CHAT);
    const answer = await gw.call("compat/chat/completions", { gateway: "locked", json: { model, messages: [] }, headers: { authorization: `Bearer ${TOKEN}` } });
    assert.equal(answer.status, 200);
    const { headers } = gw.upstream.last;
    assert.deepEqual([headers.authorization, headers["x-goog-api-key"], headers["x-api-key"]], [`Bearer ${key}`, undefined, undefined]);
  }
  // On Google's own paths the same key is in the header of theirs.
  await gw.call("google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent", { gateway: "locked", json: {}, headers: { "cf-aig-authorization": TOKEN } });
  assert.deepEqual([gw.upstream.last.headers["x-goog-api-key"], gw.upstream.last.headers.authorization], ["sk-google", undefined]);
  const refused = await gw.call("compat/chat/completions", { gateway: "locked", body: "nonsense", method: "POST" });
  assert.deepEqual([refused.status, (await refused.json()).internalCode], [401, 2009]);
});

test("a provider of the account's own is asked below its base URL, or at /v1 where that is only a host", async () => {
  for (const [slug, base_url, asked] of [["own", `${gw.upstream.origin}/openai/api/v2`, ["openai", "/api/v2/chat/completions"]], ["bare", gw.upstream.origin, ["v1", "/chat/completions"]]]) {
    const made = await gw.api("/custom-providers", { method: "POST", body: JSON.stringify({ name: slug, slug, base_url, enable: true }) });
    assert.equal(made.status, 200, await made.clone().text());
    gw.upstream.next(CHAT);
    // The isolate notices new providers within five seconds.
    let answer;
    await until(async () => (answer = await gw.call("compat/chat/completions", { json: { model: `custom-${slug}/m`, messages: [] } })).status === 200, "the provider");
    assert.deepEqual([gw.upstream.last.provider, gw.upstream.last.url], asked);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.provider, log.model], [`custom-${slug}`, "m"]);
  }
  const none = await gw.call("compat/chat/completions", { json: { model: "custom-none/m", messages: [] } });
  assert.deepEqual([none.status, (await none.json()).internalCode], [400, 2008]);
});

test("as an element of a universal request, in the singular as well", async () => {
  const element = (endpoint, model) => ({ provider: "compat", endpoint, headers: { Authorization: "Bearer sk-test" }, query: { model, messages: [] } });
  gw.upstream.next({ status: 500, headers: { "content-type": "application/json" }, body: "{}" });
  const body = [element("chat/completions", "openai/gpt-4o"), element("chat/completion", "nobody/x"), element("/chat/completion", "groq/llama-3.3-70b-versatile")];
  const answer = await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "POST", body: JSON.stringify(body) });
  assert.deepEqual([answer.status, answer.headers.get("cf-aig-step")], [200, "2"]);
  let rows = [];
  await until(async () => (rows = await gw.rows("SELECT * FROM logs WHERE event_id = ? ORDER BY step", answer.headers.get("cf-aig-event-id"))).length === 3, "three rows");
  assert.deepEqual(rows.map(({ provider, model, answered }) => [provider, model, answered]), [["openai", "gpt-4o", 0], ["compat", null, 0], ["groq", "llama-3.3-70b-versatile", 1]]);
});

test("what is no chat, or names no provider, is refused by its own code and leaves a row", async () => {
  for (const [path, body, code, text] of [
    ["compat/chat/completions", { model: "gpt-4o", messages: [] }, 2008, /name another provider: '<provider>\/gpt-4o'/],
    ["compat/chat/completions", { model: "opnai/gpt-4o", messages: [] }, 2008, /no provider 'opnai'.*'openai'/],
    ["compat/chat/completions", { model: "azure-openai/gpt-4o", messages: [] }, 2008, /azure-openai\/\{resource\}\/\{deployment\}/],
    ["compat/embeddings", { model: "openai/x", input: "" }, 2008, /chat\/completions only/],
    ["compat/chat/completions", { messages: [] }, 2019, /missing field `model`/],
    ["compat/chat/completions", { model: "openai/gpt-4o" }, 2019, /missing field `messages`/],
    ["compat/chat/completions", { model: 5, messages: [] }, 2019, /model is no string/],
    ["compat/chat/completions", "nonsense", 2019, /no chat completion/],
    ["compat/chat/completions", "", 2019, /no chat completion/],
    ["compat/chat/completions", Buffer.from([0x7b, 0xff]), 2019, /not UTF-8/],
  ]) {
    const answer = await gw.call(path, { method: "POST", body: Buffer.isBuffer(body) || typeof body === "string" ? body : JSON.stringify(body), headers: { "content-type": "application/json" } });
    const { internalCode, description } = await answer.json();
    assert.deepEqual([answer.status, internalCode], [400, code], String(text));
    assert.match(description, text);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.provider, log.success], ["compat", false]);
    assert.match(log.error, /^gateway: /);
  }
  const get = await gw.call("compat/chat/completions");
  assert.deepEqual([get.status, (await get.json()).internalCode], [400, 2019]);
  assert.equal(gw.upstream.requests.length, 0);
});

test("a retry sends the same body, and a client that leaves ends the request", async () => {
  gw.upstream.next({ status: 503, headers: { "content-type": "application/json" }, body: "{}" });
  const again = await gw.call("compat/chat/completions", { json: { model: "openai/gpt-4o", messages: [] }, headers: { "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" } });
  assert.equal(again.status, 200);
  assert.deepEqual(gw.upstream.requests.map(({ body }) => body.toString()), Array(2).fill('{"model":"gpt-4o","messages":[]}'));
  gw.upstream.next({ events: Array.from({ length: 300 }, (_, n) => `data: {"n":${n}}\n\n`), pause: 10 });
  const leaving = new AbortController();
  const stream = await gw.call("compat/chat/completions", { json: { model: "openai/gpt-4o", messages: [], stream: true }, signal: leaving.signal });
  await stream.body.getReader().read();
  leaving.abort();
  await until(() => gw.upstream.last.closed, "the upstream request to end");
  assert.ok(gw.upstream.last.sent < 150);
  assert.equal((await gw.logOf(stream)).error, "client: went away before the answer was complete");
});

test("what a provider's own endpoint would ignore or refuse is translated", async () => {
  const headers = { authorization: "Bearer sk-test-0123456789" };
  const messages = [{ role: "user", content: "Lunch?" }];
  const schema = { type: "object", properties: { dish: { type: "string" } }, required: ["dish"], additionalProperties: false };
  const message = { id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [{ type: "text", text: '{"dish":"Ramen"}' }], stop_reason: "end_turn", usage: { input_tokens: 7, output_tokens: 3 } };
  gw.upstream.next({ headers: CHAT.headers, body: JSON.stringify(message) });
  const form = await gw.call("compat/chat/completions", { json: { model: "anthropic/claude-sonnet-4-5", messages, response_format: { type: "json_schema", json_schema: { name: "lunch", schema } } }, headers });
  assert.deepEqual([form.status, (await form.json()).choices[0].message.content], [200, '{"dish":"Ramen"}']);
  const sent = JSON.parse(gw.upstream.last.body);
  assert.deepEqual([gw.upstream.last.url, sent.output_config.format.schema.required], ["/v1/messages", ["dish"]]);
  const log = await gw.logOf(form);
  assert.deepEqual([log.translated_from, log.path, log.tokens_in], ["chat", "v1/messages", 7]);
  gw.upstream.next({ headers: CHAT.headers, body: JSON.stringify({ candidates: [{ content: { parts: [{ text: "Ramen." }] }, finishReason: "STOP" }] }) });
  const seeded = await gw.call("compat/chat/completions", { json: { model: "google-ai-studio/gemini-2.5-flash", messages, seed: 7 }, headers });
  assert.deepEqual([seeded.status, (await seeded.json()).choices[0].message.content, JSON.parse(gw.upstream.last.body).generationConfig.seed], [200, "Ramen.", 7]);
  gw.upstream.next(CHAT);
  const plain = await gw.call("compat/chat/completions", { json: { model: "anthropic/claude-sonnet-4-5", messages, response_format: { type: "text" } }, headers });
  assert.deepEqual([await plain.text(), gw.upstream.last.url, (await gw.logOf(plain)).translated_from], [CHAT.body, "/v1/chat/completions", null]);
});

test("a long request goes on as it is, and is refused with its bound where it has to be translated", async () => {
  const headers = { authorization: "Bearer sk-test-0123456789" };
  const ask = (megabytes, more) => gw.call("compat/chat/completions", { json: { model: "anthropic/claude-sonnet-4-5", messages: [{ role: "user", content: "x".repeat(megabytes * 1024 * 1024) }], ...more }, headers });
  gw.upstream.next(CHAT);
  const plain = await ask(20);
  assert.deepEqual([plain.status, await plain.text()], [200, CHAT.body]);
  gw.upstream.requests.length = 0;
  const long = await ask(20, { reasoning_effort: "low" });
  const { internalCode, description } = await long.json();
  assert.deepEqual([long.status, internalCode], [413, 7001]);
  assert.match(description, /translated must not be longer than 12582912 bytes/);
  assert.equal(gw.upstream.requests.length, 0);
  const log = await gw.logOf(long);
  assert.deepEqual([log.success, log.status_code], [false, 413]);
  gw.upstream.next({ headers: CHAT.headers, body: JSON.stringify({ id: "msg_1", type: "message", role: "assistant", content: [{ type: "text", text: "Ramen." }], stop_reason: "end_turn", usage: { input_tokens: 7, output_tokens: 3 } }) });
  const shorter = await ask(11, { reasoning_effort: "low" });
  assert.deepEqual([shorter.status, (await shorter.json()).choices[0].message.content], [200, "Ramen."]);
  assert.ok(gw.upstream.last.body.length > 11 * 1024 * 1024);
});
