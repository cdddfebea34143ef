// Which models there are, what they do beside conversing, and what an operator says of them.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { toFile } from "openai";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: "sk-operator-0123456789", anthropic: "sk-operator-anthropic", "google-ai-studio": "sk-operator-google", "workers-ai": "sk-operator-cf" }) } });
  await gw.create("gw", { model_aliases: { fast: "openai/gpt-5-mini", "claude-haiku-*": "openai/gpt-5-mini" } });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const auth = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const openai = () => new OpenAI({ apiKey: TOKEN, baseURL: `${gw.url}/v1/${ACCOUNT}/gw/ai/v1`, maxRetries: 0 });
const anthropic = () => new Anthropic({ apiKey: TOKEN, baseURL: `${gw.url}/v1/${ACCOUNT}/gw/ai`, maxRetries: 0 });
const answer = (body) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

test("OpenAI's and Anthropic's clients list the models that there are keys for", async () => {
  const ids = (await openai().models.list()).data.map(({ id }) => id);
  for (const id of ["fast", "openai/gpt-5", "anthropic/claude-opus-5", "google-ai-studio/gemini-2.5-pro"]) assert.ok(ids.includes(id), id);
  assert.ok(!ids.some((id) => id.startsWith("groq/") || id.endsWith("*")));
  const gpt = await openai().models.retrieve("openai/gpt-5");
  assert.deepEqual([gpt.id, gpt.object, gpt.context_window, gpt.capabilities.thinking, gpt.pricing.input], ["openai/gpt-5", "model", 272000, "effort", 1.25]);
  assert.equal((await openai().models.retrieve("claude-haiku-4-5-20251001")).alias_of, "openai/gpt-5-mini");
  await assert.rejects(openai().models.retrieve("gpt5"), (error) => error.status === 404 && error.code === "model_not_found" && error.message.includes("openai/gpt-5"));
  const seen = [];
  for await (const model of anthropic().models.list({ limit: 500 })) seen.push(model);
  assert.deepEqual(seen.map(({ id }) => id), ids);
  const opus = await anthropic().models.retrieve("claude-opus-5");
  assert.deepEqual([opus.type, opus.max_tokens, opus.capabilities.sampling], ["model", 128000, false]);
  await assert.rejects(anthropic().models.retrieve("never-heard-of"), (error) => error.status === 404 && error.error.error.type === "not_found_error");
  const rest = await fetch(`${gw.url}/client/v4/accounts/${ACCOUNT}/ai/v1/models?kind=embedding`, { headers: { ...auth, "cf-aig-gateway-id": "gw" } });
  const { data } = await rest.json();
  assert.ok(rest.status === 200 && data.length > 0 && data.every(({ kind }) => kind === "embedding"));
  // Without a token there are no keys.
  assert.deepEqual((await (await gw.call("ai/v1/models")).json()).data, []);
  assert.equal(gw.upstream.requests.length, 0);
});

test("embeddings, images, speech and transcripts go to the model's provider", async () => {
  const list = { object: "list", model: "text-embedding-3-small", data: [{ object: "embedding", index: 0, embedding: [0.5] }], usage: { prompt_tokens: 3, total_tokens: 3 } };
  gw.upstream.next(answer(list));
  const { data, response } = await openai().embeddings.create({ model: "text-embedding-3-small", input: "hi", encoding_format: "float" }).withResponse();
  assert.deepEqual(data.data[0].embedding, [0.5]);
  assert.deepEqual([gw.upstream.last.url, gw.upstream.last.headers.authorization, JSON.parse(gw.upstream.last.body).model], ["/v1/embeddings", "Bearer sk-operator-0123456789", "text-embedding-3-small"]);
  const log = await gw.logOf(response);
  assert.deepEqual([log.provider, log.model, log.tokens_in, log.success, log.cost > 0], ["openai", "text-embedding-3-small", 3, true, true]);
  gw.upstream.next(answer({ ...list, model: "gemini-embedding-001" }));
  const gemini = await gw.call("ai/v1/embeddings", { json: { model: "google-ai-studio/gemini-embedding-001", input: "hi" }, headers: auth });
  assert.deepEqual([gemini.status, gw.upstream.last.url, gw.upstream.last.headers.authorization], [200, "/v1beta/openai/embeddings", "Bearer sk-operator-google"]);
  assert.equal((await gw.logOf(gemini)).provider, "google-ai-studio");
  gw.upstream.next(answer({ text: "Ramen." }));
  const heard = await openai().audio.transcriptions.create({ model: "openai/whisper-1", file: await toFile(Buffer.from([0, 255, 13, 10]), "a.wav") });
  assert.equal(heard.text, "Ramen.");
  const form = gw.upstream.last.body.toString("latin1");
  assert.ok(gw.upstream.last.url === "/v1/audio/transcriptions" && /name="model"\r\n\r\nwhisper-1\r\n/.test(form) && form.includes("\x00\xff\r\n"));
  const refused = await gw.call("ai/v1/embeddings", { json: { model: "anthropic/claude-opus-5", input: "hi" }, headers: auth });
  const { error } = await refused.json();
  assert.ok(refused.status === 400 && error.message.includes("has no such endpoint"), JSON.stringify(error));
  assert.equal((await gw.logOf(refused)).success, false);
});

test("ai/run runs a model of Workers AI, named in the path or in the body", async () => {
  const model = "@cf/meta/llama-3.1-8b-instruct";
  const result = { result: { response: "Ramen." }, success: true, errors: [], messages: [] };
  for (const [path, json] of [[`ai/run/${model}`, { prompt: "Lunch?" }], ["ai/run", { model, input: { prompt: "Lunch?" } }]]) {
    gw.upstream.next(answer(result));
    const given = await fetch(`${gw.url}/client/v4/accounts/${ACCOUNT}/${path}`, { method: "POST", headers: { ...auth, "cf-aig-gateway-id": "gw", "content-type": "application/json" }, body: JSON.stringify(json) });
    assert.deepEqual([given.status, await given.json()], [200, result], path);
    assert.ok(gw.upstream.last.url.endsWith(`/ai/run/${model}`), gw.upstream.last.url);
    assert.deepEqual(JSON.parse(gw.upstream.last.body), { prompt: "Lunch?" });
    const log = await gw.logOf(given);
    assert.deepEqual([log.provider, log.model], ["workers-ai", model]);
  }
});

test("an operator's catalogue holds for prices, names and lists, after a dry run that shows what changes", async () => {
  const rows = { as_of: "2027-01-31", prices: [{ provider: "openai", model: "gpt-99", kind: "chat", context: 99, input: 1000, output: 2000 }] };
  const put = (query) => gw.api(`/catalogue${query}`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(rows) });
  const dry = (await (await put("?dry_run=true")).json()).result;
  assert.deepEqual([dry.dry_run, dry.added, dry.changes[0].after.input], [true, 1, 1000]);
  assert.deepEqual((await gw.result("/catalogue")).prices, []);
  assert.equal((await put("")).status, 200);
  assert.equal((await gw.result("/catalogue")).prices[0].model, "gpt-99");
  let model;
  await until(async () => (model = await openai().models.retrieve("gpt-99").catch(() => undefined)), "the new model");
  assert.equal(model.context_window, 99);
  gw.upstream.next(answer({ id: "c-99", object: "chat.completion", model: "gpt-99", choices: [], usage: { prompt_tokens: 1000, completion_tokens: 1000 } }));
  const log = await gw.logOf(await gw.call("openai/chat/completions", { json: { model: "gpt-99", messages: [] }, headers: auth }));
  assert.deepEqual([log.cost, log.price_rule], [3, "list:2027-01-31"]);
});

test("a name alone finds a provider that its key is for", async () => {
  const ask = (model, headers) => gw.call("ai/v1/messages", { json: { model, max_tokens: 9, messages: [{ role: "user", content: "Lunch?" }] }, headers });
  // A signature for Amazon is no key for another provider.
  const signature = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261128/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0123456789abcdef";
  const signed = await ask("claude-opus-5", { authorization: signature });
  assert.equal(signed.status, 400);
  assert.match((await signed.json()).error.message, /'claude-opus-5' is one of anthropic, and there is no key for it/);
  assert.equal(gw.upstream.requests.length, 0);
  gw.upstream.next(answer({ id: "msg_1", type: "message", role: "assistant", content: [{ type: "text", text: "Ramen." }], stop_reason: "end_turn", usage: { input_tokens: 3, output_tokens: 2 } }));
  const own = await ask("claude-opus-5", { "x-api-key": "sk-client-0123456789" });
  assert.deepEqual([own.status, (await gw.logOf(own)).provider], [200, "anthropic"]);
  const platform = await ask("amazon.nova-pro-v1:0", auth);
  assert.equal(platform.status, 400);
  assert.match((await platform.json()).error.message, /one of aws-bedrock, where a name alone does not say where a request goes/);
});
