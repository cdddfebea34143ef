// Whose words are whose: what users and models write into an answer says nothing about it, whatever it looks like. And what
// evaluations and exports read of answers in every format.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures } from "../../upstream.mjs";
import { Gateway, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const JSON_TYPE = { "content-type": "application/json" };
const SSE_TYPE = { "content-type": "text/event-stream" };
const events = (list) => list.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("");

/** What a user or a model can write: the names of every format's facts, with values that would cost, fail and rename. */
const WORDS = {
  usage: { prompt_tokens: 999_999, completion_tokens: 999_999, input_tokens: 999_999, cost: 9 },
  usageMetadata: { promptTokenCount: 999_999 },
  meta: { billed_units: { input_tokens: 999_999 } },
  error: { message: "mine" },
  errors: ["mine"],
  stop_reason: "mine",
  finish_reason: "mine",
  finishReason: "mine",
  model: "gpt-5-pro",
  id: "mine",
  type: "error",
  response: { usage: { input_tokens: 999_999 }, error: "mine" },
  choices: [{ finish_reason: "mine" }],
  service_tier: "priority",
};

/** Sends an answer through the gateway: the client gets it as it is, and the log says what it says. */
async function logged(path, body, { type = JSON_TYPE, status = 200, model = "gpt-4o", method = "POST" } = {}) {
  gw.upstream.next({ status, headers: type, body });
  const answer = await gw.call(path, method === "GET" ? {} : { json: { model, messages: [{ role: "user", content: "x" }], stream: type === SSE_TYPE } });
  assert.equal(answer.status, status);
  assert.equal(await answer.text(), body);
  const log = await gw.logOf(answer);
  const { id, model: named, success, error, tokens_in, tokens_out, cost, finish_reason, response_id } = log;
  return { id, facts: { model: named, success, error, tokens_in, tokens_out, cost, finish_reason, response_id } };
}

/** Answers of each format, JSON and stream, as functions of what users and models fill in. */
const FORMATS = {
  "openai/chat/completions": (words) => {
    const usage = { prompt_tokens: 20, completion_tokens: 60, total_tokens: 80 };
    const named = { id: "chatcmpl-1", model: "gpt-4o-2024-08-06", metadata: words };
    const message = { role: "assistant", content: words, tool_calls: [{ id: words, type: "function", function: { name: "f", arguments: words } }] };
    return [
      JSON.stringify({ ...named, object: "chat.completion", choices: [{ index: 0, message, logprobs: { content: [words] }, finish_reason: "stop" }], usage }),
      events([
        { ...named, object: "chat.completion.chunk", choices: [{ index: 0, delta: message, finish_reason: null }], usage: null },
        { ...named, object: "chat.completion.chunk", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] },
        { ...named, object: "chat.completion.chunk", choices: [], usage },
        { ...named, object: "chat.completion.chunk", choices: [{ index: 0, delta: { content: words } }] },
        "[DONE]",
      ]),
    ];
  },
  "openai/responses": (words) => {
    const response = { id: "resp_1", object: "response", status: "completed", error: null, model: "gpt-4o-2024-08-06", instructions: words, metadata: words, user: words, tools: [{ parameters: words }], text: { format: { schema: words } }, output: [{ type: "message", content: [{ type: "output_text", text: words, annotations: [words] }] }, { type: "function_call", arguments: words }], usage: { input_tokens: 20, output_tokens: 60, total_tokens: 80 } };
    return [
      JSON.stringify(response),
      events([
        { type: "response.created", response: { ...response, output: [], usage: null } },
        { type: "response.function_call_arguments.delta", delta: words },
        { type: "response.output_item.done", item: words },
        { type: "response.completed", response },
        { type: "response.output_text.delta", delta: words },
      ]),
    ];
  },
  "anthropic/v1/messages": (words) => {
    const named = { id: "msg_1", type: "message", model: "claude-sonnet-4-5" };
    const content = [{ type: "text", text: words, citations: [words] }, { type: "tool_use", id: "t", name: "f", input: words }];
    return [
      JSON.stringify({ ...named, content, stop_reason: "tool_use", stop_sequence: words, usage: { input_tokens: 20, output_tokens: 60 } }),
      events([
        { type: "message_start", message: { ...named, content, usage: { input_tokens: 20, output_tokens: 1 } } },
        { type: "content_block_start", index: 0, content_block: { type: "tool_use", input: words } },
        { type: "content_block_delta", index: 0, delta: words },
        { type: "message_delta", delta: { stop_reason: "tool_use", stop_sequence: words }, usage: { output_tokens: 60 } },
        { type: "message_stop" },
      ]),
    ];
  },
  "google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent": (words) => {
    const named = { modelVersion: "gemini-2.5-flash", responseId: "r1" };
    const usageMetadata = { promptTokenCount: 20, candidatesTokenCount: 60, totalTokenCount: 80 };
    const content = { parts: [{ text: words }, { functionCall: { name: "f", args: words } }] };
    const last = { candidates: [{ content, finishReason: "STOP", citationMetadata: words }], usageMetadata, ...named };
    return [JSON.stringify(last), events([{ candidates: [{ content }], ...named }, last]), JSON.stringify([{ candidates: [{ content }], ...named }, last])];
  },
  "workers-ai/@cf/meta/llama-3.1-8b-instruct": (words) => {
    const usage = { prompt_tokens: 20, completion_tokens: 60, total_tokens: 80 };
    return [
      JSON.stringify({ result: { response: words, tool_calls: [{ name: "f", arguments: words }], usage }, success: true, errors: [], messages: [] }),
      events([{ response: words, p: "x" }, { response: "", usage }, { response: words }, "[DONE]"]),
    ];
  },
  "cohere/v2/chat": (words) => {
    const usage = { billed_units: { input_tokens: 20, output_tokens: 60 } };
    return [
      JSON.stringify({ id: "c1", message: { role: "assistant", content: [{ type: "text", text: words }], tool_calls: [{ function: { arguments: words } }], citations: [words] }, finish_reason: "COMPLETE", usage }),
      events([
        { id: "c1", type: "message-start", delta: { message: words } },
        { type: "content-delta", delta: { message: { content: { text: words } } } },
        { type: "tool-call-delta", delta: words },
        { type: "message-end", delta: { finish_reason: "COMPLETE", usage } },
      ]),
    ];
  },
  "replicate/models/meta/llama/predictions": (words) => [
    JSON.stringify({ id: "p1", model: "meta/llama", version: "v", input: words, output: words, logs: words, error: null, status: "succeeded", metrics: { input_token_count: 20, output_token_count: 60 } }),
  ],
  "google-ai-studio/v1beta/interactions": (words) => {
    const done = { id: "v1_1", object: "interaction", model: "gemini-2.5-flash", status: "completed", outputs: [{ type: "text", text: words }, { type: "function_call", arguments: words }], input: words, usage: { total_input_tokens: 20, total_output_tokens: 40, total_thought_tokens: 20, total_tokens: 80 } };
    return [
      JSON.stringify(done),
      events([{ event_type: "interaction.created", interaction: { id: "v1_1", object: "interaction", model: "gemini-2.5-flash", input: words } }, { event_type: "step.delta", delta: words }, { event_type: "interaction.completed", interaction: done }, "[DONE]"]),
    ];
  },
  "openai/threads/runs": (words) => [
    JSON.stringify({ id: "run_1", object: "thread.run", model: "gpt-4o", status: "completed", instructions: words, metadata: words, tools: [words], response_format: words, last_error: null, usage: { prompt_tokens: 20, completion_tokens: 60, total_tokens: 80 } }),
  ],
};

for (const [path, format] of Object.entries(FORMATS)) {
  test(`whatever is written into an answer of ${path}, the row is the same`, async () => {
    for (const position of format("x").keys()) {
      const type = format("x")[position].startsWith("data:") ? SSE_TYPE : JSON_TYPE;
      const { facts } = await logged(path, format("x")[position], { type });
      assert.deepEqual([facts.success, facts.error, facts.tokens_in, facts.tokens_out], [true, null, 20, 60], path);
      for (const words of [WORDS, JSON.stringify(WORDS), [WORDS], "\"error\":\"mine\"}\n\ndata: {\"error\":\"mine\"}", "", null]) {
        assert.deepEqual((await logged(path, format(words)[position], { type })).facts, facts, `${path} with ${JSON.stringify(words)}`);
      }
    }
  });
}

test("an answer that echoes a user's `error` is kept by the cache and stands in exports", async () => {
  await gw.create("kept", { cache_ttl: 300 });
  const body = FORMATS["openai/chat/completions"]({ error: "retry of run 5", stop_reason: "mine" })[0].replace(/"content":\{.*?\}/, '"content":"Soup."');
  gw.upstream.next({ headers: JSON_TYPE, body });
  const ask = () => gw.call("openai/chat/completions", { gateway: "kept", json: { model: "gpt-4o", messages: [{ role: "user", content: "x" }], metadata: { error: "retry of run 5" } } });
  const first = await ask();
  assert.deepEqual([first.headers.get("cf-aig-cache-status"), await first.text()], ["MISS", body]);
  const { id } = await gw.logOf(first, "kept");
  let status;
  await until(async () => {
    const again = await ask();
    assert.equal(await again.text(), body);
    status = again.headers.get("cf-aig-cache-status");
    if (status !== "HIT") gw.upstream.next({ headers: JSON_TYPE, body });
    return status === "HIT";
  }, "the cache to have it");
  await gw.api(`/gateways/kept/logs/${id}`, { method: "PATCH", body: '{"feedback":1}' });
  const exported = await (await gw.api("/gateways/kept/logs/export?format=openai-finetune")).text();
  assert.equal(JSON.parse(exported).messages.at(-1).content, "Soup.");
});

test("an empty error is none, and a real one fails the log, whole and within a stream", async () => {
  const answer = (error) => ({ id: "chatcmpl-1", object: "chat.completion", model: "gpt-4o", choices: [], error });
  for (const none of ["", null, {}, [], false, { code: null, message: null }]) {
    for (const [body, type] of [[JSON.stringify(answer(none)), JSON_TYPE], [events([answer(none), "[DONE]"]), SSE_TYPE]]) {
      const { facts } = await logged("openai/chat/completions", body, { type });
      assert.deepEqual([facts.success, facts.error], [true, null], body);
    }
  }
  for (const [path, event] of [
    ["openai/chat/completions", answer({ message: "busy" })],
    ["openai/responses", { type: "response.failed", response: { id: "resp_1", error: { code: "server_error", message: "busy" } } }],
    ["openai/responses", { type: "error", code: "rate_limit_exceeded", message: "busy", param: null }],
    ["anthropic/v1/messages", { type: "error", error: { type: "overloaded_error", message: "busy" } }],
    ["openrouter/chat/completions", { id: "gen-1", choices: [{ index: 0, finish_reason: "error", error: { code: 502, message: "busy" } }] }],
    ["workers-ai/@cf/meta/llama-3.1-8b-instruct", { result: null, success: false, errors: [{ code: 1, message: "busy" }], messages: [] }],
  ]) {
    const words = { choices: [{ index: 0, delta: { content: "x" } }] };
    for (const [body, type] of [[JSON.stringify(event), JSON_TYPE], [events([...Array(20).fill(words), event]), SSE_TYPE]]) {
      const { facts } = await logged(path, body, { type });
      assert.deepEqual([facts.success, facts.error], [false, "provider: busy"], body.slice(-200));
    }
  }
});

test("the content of a file says nothing of the answer that brings it", async () => {
  for (const path of ["openai/files/file-1/content", "anthropic/v1/messages/batches/msgbatch_1/results"]) {
    const { facts } = await logged(path, JSON.stringify(WORDS), { method: "GET" });
    assert.deepEqual(facts, { model: "", success: true, error: null, tokens_in: null, tokens_out: null, cost: null, finish_reason: null, response_id: null });
    const missing = await logged(path, '{"error":{"message":"no such file"}}', { method: "GET", status: 404 });
    assert.equal(missing.facts.error, "provider: no such file");
  }
  const dictated = await logged("openai/audio/transcriptions", JSON.stringify(WORDS), { type: { "content-type": "text/plain; charset=utf-8" }, model: "whisper-1" });
  assert.deepEqual([dictated.facts.success, dictated.facts.error, dictated.facts.tokens_in, dictated.facts.model], [true, null, null, "whisper-1"]);
  const line = (id) => JSON.stringify({ custom_id: id, response: { body: WORDS }, error: null });
  const { facts } = await logged("openai/anything/else", `${line("a")}\n${line("b")}\n`, { method: "GET", type: { "content-type": "application/jsonl" } });
  assert.deepEqual([facts.success, facts.cost, facts.tokens_in], [true, null, null]);
});

/** Answers whose text stands in several pieces: what exports and evaluations read is one text. */
test("evaluations and exports read what every format says, JSON and streamed", async () => {
  await gw.create("read");
  const wanted = {};
  for (const [provider, files] of Object.entries({
    anthropic: ["cited.json", "cited.sse", "tools.json", "tools.sse"],
    openai: ["refused.json", "refused.sse", "tools.json", "tools.sse", "responses-tools.json", "responses-tools.sse"],
    "google-ai-studio": ["stream.json", "stream.sse", "tools-stream.json"],
    cohere: ["v2.sse", "v1.ndjson"],
    "aws-bedrock": ["converse.eventstream", "invoke.eventstream", "tools.eventstream", "tools.json"],
    "workers-ai": ["json-mode.json", "run.sse"],
    mistral: ["thought.json", "thought.sse"],
    replicate: ["prediction.json"],
  })) {
    const expected = JSON.parse(readFileSync(join(fixtures, provider, "expected.json"), "utf8"));
    for (const file of files) {
      const { path, request, request_model, answer: text, calls } = expected[file];
      gw.upstream.next({ file: `${provider}/${file}` });
      const answer = await gw.call(`${provider}/${path}`, { gateway: "read", json: { ...request, ...(request_model && { model: request_model }) } });
      const given = readFileSync(join(fixtures, provider, file));
      // The addresses of Replicate's predictions lead below the gateway.
      const led = provider === "replicate" && Buffer.from(String(given).replaceAll("https://api.replicate.com/v1/", `${gw.url}/v1/acct/read/replicate/`));
      assert.ok(Buffer.from(await answer.arrayBuffer()).equals(led || given), `${provider}/${file}`);
      const { id } = await gw.logOf(answer, "read");
      await gw.api(`/gateways/read/logs/${id}`, { method: "PATCH", body: '{"feedback":1}' });
      wanted[id] = { file: `${provider}/${file}`, text: text ?? null, calls: calls ?? [] };
    }
  }
  const exported = await (await gw.api("/gateways/read/logs/export?format=openai-finetune")).text();
  const examples = exported.trim().split("\n").map((line) => JSON.parse(line));
  const said = examples.map(({ messages }) => {
    const { role, content, tool_calls = [] } = messages.at(-1);
    assert.equal(role, "assistant");
    return { text: content, calls: tool_calls.map((call) => `${call.function.name}(${call.function.arguments})`) };
  });
  // Logs are exported in the order in which their requests began.
  assert.deepEqual(said, Object.values(wanted).map(({ text, calls }) => ({ text, calls })));
  assert.ok(examples.filter(({ tools }) => tools).every(({ tools }) => tools.every(({ function: { name } }) => name === "menu")));

  const make = async (path, body) => {
    const made = await gw.api(`/gateways/read${path}`, { method: "POST", body: JSON.stringify(body) });
    const { result, errors } = await made.json();
    assert.equal(made.status, 200, JSON.stringify(errors));
    return result;
  };
  const dataset = await make("/datasets", { name: "all", enable: true, filters: [] });
  const settings = { "answer_matches:cited": { contains: "The egg is soft for two days, and the broth is ready." }, "answer_matches:gemini": { contains: "Ramen 味玉!" }, "answer_matches:bedrock": { contains: "A bowl of ramen, with a soft egg" } };
  const { id } = await make("/evaluations", { name: "read", dataset_ids: [dataset.id], evaluation_type_ids: Object.keys(settings), settings });
  let evaluation;
  await until(async () => (evaluation = await gw.result(`/gateways/read/evaluations/${id}`)).processed, "the evaluation");
  const texts = Object.values(wanted).filter(({ text }) => text !== null);
  const matching = evaluation.results.map(({ result, total_logs }) => [total_logs, Math.round((Number(result) / 100) * total_logs)]);
  assert.deepEqual(matching, [[texts.length, 2], [texts.length, 2], [texts.length, texts.filter(({ text }) => text.startsWith("A bowl of ramen, with")).length]]);
});

test("a stream of Bedrock's frames is kept as lines that can be read", async () => {
  gw.upstream.next({ file: "aws-bedrock/converse.eventstream" });
  const answer = await gw.call("aws-bedrock/bedrock-runtime/us-east-1/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream", { json: { messages: [] } });
  await answer.arrayBuffer();
  const { id } = await gw.logOf(answer);
  const kept = await (await gw.api(`/gateways/gw/logs/${id}/response`)).text();
  const lines = kept.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines[0], { messageStart: { role: "assistant" } });
  assert.deepEqual(lines.at(-2), { messageStop: { stopReason: "end_turn" } });
  assert.equal(lines.map((line) => line.contentBlockDelta?.delta.text ?? "").join(""), "A bowl of ramen, with a soft egg: 味玉 🥚");
});
