// Vercel's AI SDK through `ai-gateway-provider`, whose binding form leads to us over HTTP.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import { AiGatewayDoesNotExist, AiGatewayUnauthorizedError, createAiGateway } from "ai-gateway-provider";
import { createUnified } from "ai-gateway-provider/providers/unified";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw", { authentication: true });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const openai = createOpenAI({ apiKey: "sk-test" });
const failing = (status) => ({ status, headers: { "content-type": "application/json" }, body: '{"error":{"message":"down"}}' });
const saying = (text) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "c", object: "chat.completion", created: 1, model: "gpt-4o", choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }) });

/** The provider as its documentation has it for a binding, with `fetch` in the place of the binding. */
function gateway(options, { id = "gw", token = TOKEN } = {}) {
  const run = (data, { signal } = {}) => {
    const headers = { "content-type": "application/json", "cf-aig-authorization": `Bearer ${token}` };
    return fetch(`${gw.url}/v1/${ACCOUNT}/${id}`, { method: "POST", body: JSON.stringify(data), headers, signal });
  };
  return createAiGateway({ binding: { run }, options });
}

async function steps(event, count) {
  let rows = [];
  await until(async () => (rows = await gw.rows("SELECT * FROM logs WHERE event_id = ? ORDER BY step, attempt", event)).length === count, `${count} rows`);
  assert.equal(rows.filter(({ answered }) => answered).length, 1);
  return rows;
}

test("generateText", async () => {
  const { text, usage } = await generateText({ model: gateway({ eventId: "whole" })(openai.chat("gpt-4o")), prompt: "Lunch?", maxRetries: 0 });
  assert.deepEqual([text, usage.inputTokens], ["A bowl of ramen.", 17]);
  const [row] = await steps("whole", 1);
  assert.deepEqual([row.provider, row.model, row.success, row.path], ["openai", "gpt-4o", 1, "v1/chat/completions"]);
  assert.deepEqual([gw.upstream.last.headers.authorization, gw.upstream.last.headers["cf-aig-event-id"]], ["Bearer sk-test", undefined]);
});

test("generateText falls back when the first is out of order", async () => {
  gw.upstream.next(failing(500));
  gw.upstream.next(saying("from the second"));
  const model = gateway({ eventId: "second" })([openai.chat("gpt-4o-mini"), openai.chat("gpt-4o")]);
  assert.equal((await generateText({ model, prompt: "Lunch?", maxRetries: 0 })).text, "from the second");
  assert.deepEqual((await steps("second", 2)).map(({ model, success, answered }) => [model, success, answered]), [["gpt-4o-mini", 0, 0], ["gpt-4o", 1, 1]]);
});

test("streamText, and falling back to a stream", async () => {
  const text = async (model) => {
    let whole = "";
    for await (const part of streamText({ model, prompt: "Lunch?", maxRetries: 0 }).textStream) whole += part;
    return whole;
  };
  assert.equal(await text(gateway({ eventId: "stream" })(openai.chat("gpt-4o"))), "A bowl of ramen, with a soft egg: 味玉 🥚");
  gw.upstream.next(failing(503));
  assert.equal(await text(gateway({ eventId: "stream-2" })([openai.chat("gpt-4o-mini"), openai.chat("gpt-4o")])), "A bowl of ramen, with a soft egg: 味玉 🥚");
  assert.deepEqual((await steps("stream-2", 2)).map(({ status_code, answered }) => [status_code, answered]), [[503, 0], [200, 1]]);
});

test("a first provider that does not answer costs one timeout", async () => {
  gw.upstream.next({ hang: true });
  gw.upstream.next(saying("in time"));
  const model = gateway({ eventId: "slow", requestTimeoutMs: 100 })([openai.chat("gpt-4o-mini"), openai.chat("gpt-4o")]);
  assert.equal((await generateText({ model, prompt: "Lunch?", maxRetries: 0 })).text, "in time");
  assert.match((await steps("slow", 2))[0].error, /^upstream: no answer began within 100 ms/);
});

test("its options reach every element: retries, metadata, event and cache", async () => {
  gw.upstream.next(failing(500));
  gw.upstream.next(failing(500));
  gw.upstream.next(saying("third time"));
  const options = { eventId: "options", metadata: { team: "AI", n: 1 }, retries: { maxAttempts: 2, retryDelayMs: 1, backoff: "linear" }, cacheTtl: 3_600 };
  const model = () => gateway(options)([openai.chat("gpt-4o-mini"), openai.chat("gpt-4o")]);
  assert.equal((await generateText({ model: model(), prompt: "Options?", maxRetries: 0 })).text, "third time");
  const rows = await steps("options", 3);
  assert.deepEqual(rows.map(({ step, attempt, model }) => [step, attempt, model]), [[0, 1, "gpt-4o-mini"], [0, 2, "gpt-4o-mini"], [1, 1, "gpt-4o"]]);
  for (const { metadata } of rows) assert.deepEqual(JSON.parse(metadata), { team: "AI", n: 1 });
  const unlogged = gateway({ collectLog: false, eventId: "unlogged" })(openai.chat("gpt-4o"));
  await generateText({ model: unlogged, prompt: "Lunch?", maxRetries: 0 });
  // The cache answers in the place of the second element, which is the one that was kept.
  gw.upstream.next(failing(500));
  gw.upstream.next(failing(500));
  const asked = gw.upstream.requests.length;
  options.eventId = "options-2";
  assert.equal((await generateText({ model: model(), prompt: "Options?", maxRetries: 0 })).text, "third time");
  assert.equal(gw.upstream.requests.length, asked + 2);
  assert.deepEqual((await steps("options-2", 3)).map(({ cached }) => cached), [0, 0, 1]);
  assert.deepEqual(await gw.rows("SELECT id FROM logs WHERE event_id = 'unlogged'"), []);
});

test("its unified models come as `compat`", async () => {
  gw.upstream.next(saying("unified"));
  const model = gateway({ eventId: "unified" })(createUnified({ apiKey: "sk-unified" })("openai/gpt-4o"));
  assert.equal((await generateText({ model, prompt: "Lunch?", maxRetries: 0 })).text, "unified");
  const [row] = await steps("unified", 1);
  assert.deepEqual([row.provider, row.model, JSON.parse(gw.upstream.last.body).model, gw.upstream.last.headers.authorization], ["openai", "gpt-4o", "gpt-4o", "Bearer sk-unified"]);
});

test("a gateway that does not exist and a token that is wrong are errors of their own types", async () => {
  const ask = (place) => generateText({ model: gateway({}, place)(openai.chat("gpt-4o")), prompt: "Lunch?", maxRetries: 0 });
  await assert.rejects(ask({ id: "unknown" }), AiGatewayDoesNotExist);
  await assert.rejects(ask({ token: "wrong" }), AiGatewayUnauthorizedError);
  assert.equal(gw.upstream.requests.length, 0);
});

test("when all fail, the SDK sees the provider's own error", async () => {
  gw.upstream.next(failing(429));
  gw.upstream.next({ reset: true });
  const model = gateway({ eventId: "all" })([openai.chat("gpt-4o-mini"), openai.chat("gpt-4o")]);
  await assert.rejects(generateText({ model, prompt: "Lunch?", maxRetries: 0 }), ({ statusCode, message }) => statusCode === 429 && message === "down");
  assert.deepEqual((await steps("all", 2)).map(({ answered }) => answered), [1, 0]);
});
