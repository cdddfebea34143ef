// What is not paid by the token, and rows of the right kind: seconds, pages, images, characters, units; `model_type`, how an
// answer ended, and names of models. Each with what the client got and what its row says.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const JSON_TYPE = { "content-type": "application/json" };

/** Sends a request, gives it this answer, and returns its row. */
async function logged(path, { json, form, method, answer = {}, text, type = "application/json", gateway = "gw" } = {}) {
  const body = text ?? JSON.stringify(answer);
  gw.upstream.next({ headers: { "content-type": type }, body });
  const given = form ? { method: "POST", body: formOf(form) } : { json, ...(method && { method }) };
  const response = await gw.call(path, { ...given, gateway });
  assert.equal(response.status, 200);
  assert.equal(await response.text(), body);
  return gw.logOf(response, gateway);
}

function formOf(fields) {
  const form = new FormData();
  form.set("file", new Blob([new Uint8Array(32_000)], { type: "audio/wav" }), "a.wav");
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

const near = (found, wanted, name) => assert.ok(Math.abs(found - wanted) < 1e-12, `${name}: ${found} instead of ${wanted}`);
const image = (count) => ({ created: 1, data: Array.from({ length: count }, () => ({ url: "https://images.invalid/1.png" })) });

const PAID = [
  ["mistral/v1/ocr", { json: { model: "mistral-ocr-2512", document: { type: "document_url", document_url: "https://a.invalid/a.pdf" } }, answer: { pages: [], model: "mistral-ocr-2512", usage_info: { pages_processed: 4, doc_size_bytes: 9 } } }, "ocr", { ocr_pages: 4 }, 0.008],
  ["openai/audio/transcriptions", { form: { model: "whisper-1", response_format: "verbose_json" }, answer: { task: "transcribe", language: "english", duration: 8.47, text: "hi", segments: [], usage: { type: "duration", seconds: 9 } } }, "audio", { input_audio_seconds: 9 }, 0.0009],
  ["groq/audio/transcriptions", { form: { model: "whisper-large-v3", response_format: "verbose_json" }, answer: { text: "hi", duration: 12.5, x_groq: { id: "req_1" } } }, "audio", { input_audio_seconds: 12.5 }, 12.5 * 0.00003083],
  ["deepgram/v1/listen?model=nova-3", { json: { url: "https://a.invalid/a.wav" }, answer: { metadata: { request_id: "r", duration: 20 }, results: { channels: [] } } }, "audio", { input_audio_seconds: 20 }, 20 * 0.00007167],
  ["elevenlabs/v1/speech-to-text", { form: { model_id: "scribe_v2" }, answer: { text: "hi", transcription_id: "t", audio_duration_secs: 3 } }, "audio", { input_audio_seconds: 3 }, 3 * 0.0000611],
  ["workers-ai/run/@cf/openai/whisper-large-v3-turbo", { json: { audio: "UklGRg==" }, answer: { result: { text: "hi", transcription_info: { duration: 4 } }, success: true, errors: [], messages: [] } }, "audio", { input_audio_seconds: 4 }, 4 * 0.0000085],
  ["cohere/v2/rerank", { json: { model: "rerank-v3.5", query: "x", documents: ["y"] }, answer: { id: "r", results: [], meta: { billed_units: { search_units: 2 } } } }, "rerank", { search_units: 2 }, 0.004],
  ["openai/images/generations", { json: { model: "dall-e-3", prompt: "x", size: "1024x1792", quality: "hd", n: 1 }, answer: image(1) }, "image", { output_image_count: 1, image_size: "1024x1792", image_quality: "hd" }, 0.12],
  ["openai/images/edits", { form: { model: "dall-e-2", prompt: "x", size: "512x512", n: "2" }, answer: image(2) }, "image", { output_image_count: 2, image_size: "512x512" }, 0.036],
  ["google-ai-studio/v1beta/models/imagen-4.0-generate-001:predict", { json: { instances: [{ prompt: "x" }] }, answer: { predictions: [{ mimeType: "image/png", bytesBase64Encoded: "iVBORw0KGgo=" }] } }, "image", { output_image_count: 1 }, 0.04],
  ["openai/audio/speech", { json: { model: "tts-1", input: "hello 🥚", voice: "alloy" }, text: "ID3", type: "audio/mpeg" }, "audio", { input_characters: 7 }, 7 * 0.000015],
  ["elevenlabs/v1/text-to-speech/chat", { json: { model_id: "eleven_flash_v2_5", text: "hello" }, text: "ID3", type: "audio/mpeg" }, "audio", { input_characters: 5 }, 5 * 0.00004],
];

test("what is paid for by its number is in the row, and has its price", async () => {
  for (const [path, request, kind, units, cost] of PAID) {
    const log = await logged(path, request);
    const { input_tokens, output_tokens, total_tokens, input_cached_tokens, input_cache_write_tokens, output_reasoning_tokens, ...others } = log.usage_metadata;
    assert.deepEqual(others, units, path);
    near(log.cost, cost, path);
    assert.equal(log.model_type, kind, path);
    assert.equal(log.success, true, path);
    assert.ok(log.model && log.price_rule.startsWith("list:"), path);
  }
});

test("a row without the number says what would tell it, and a budget that sets money aside counts something all the same", async () => {
  const rules = [{ id: "b", limit: 1, limitType: "cost", window: 100_000, technique: "fixed", reserve: true }];
  await gw.create("budget", { spend_limits: { enabled: true, rules } });
  const log = await logged("openai/audio/transcriptions", { form: { model: "whisper-1", response_format: "text" }, text: "hi there\n", type: "text/plain; charset=utf-8", gateway: "budget" });
  assert.equal(log.cost, null);
  assert.match(log.cost_unknown, /seconds of audio.*verbose_json/);
  const spent = async () => (await gw.result("/gateways/budget/limits")).spend[0].counters.reduce((sum, counter) => sum + counter.spent, 0);
  await until(async () => (await spent()) > 0, "the budget to count it");
  // 32 kB are two seconds, and a little for the form.
  assert.ok((await spent()) <= 0.0004, `${await spent()}`);
  const paid = await logged("mistral/v1/ocr", { json: { model: "mistral-ocr-2512" }, answer: { pages: [], model: "mistral-ocr-2512", usage_info: { pages_processed: 100 } }, gateway: "budget" });
  near(paid.cost, 0.2, "pages");
  await until(async () => (await spent()) >= 0.2, "the budget to count the pages");
});

test("a price rule can name a price for each of them", async () => {
  const made = await gw.api("/custom-providers/costs", { method: "POST", body: JSON.stringify({ account_provider_id: "mistral", model: "mistral-ocr-2512", token_pricing: { ocr_pages: 0.5 } }) });
  const { result } = await made.json();
  assert.equal(made.status, 200);
  const log = await logged("mistral/v1/ocr", { json: { model: "mistral-ocr-2512" }, answer: { pages: [], model: "mistral-ocr-2512", usage_info: { pages_processed: 3 } } });
  assert.deepEqual([log.cost, log.price_rule], [1.5, `rule:${result.id}`]);
  await gw.api(`/custom-providers/costs/${result.id}`, { method: "DELETE" });
});

const CLAUDE = { id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5-20250929", content: [], stop_reason: "end_turn", usage: { input_tokens: 5, output_tokens: 5 } };
const MESSAGES = { anthropic_version: "x", max_tokens: 9, messages: [{ role: "user", content: "x" }] };
const vertex = (model) => `google-vertex-ai/v1/projects/p/locations/us-east5/publishers/${model}`;

test("a row's kind is what was asked for, and what runs no model has none", async () => {
  const kinds = [
    [vertex("anthropic/models/claude-sonnet-4-5@20250929:rawPredict"), { json: MESSAGES, answer: CLAUDE }, "chat"],
    [vertex("anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"), { json: MESSAGES, answer: CLAUDE }, "chat"],
    ["aws-bedrock/bedrock-runtime/us-east-1/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke", { json: MESSAGES, answer: CLAUDE }, "chat"],
    ["workers-ai/run/@cf/meta/llama-3.1-8b-instruct", { json: { prompt: "x" }, answer: { result: { response: "x" }, success: true } }, "chat"],
    ["workers-ai/@cf/baai/bge-m3", { json: { text: "x" }, answer: { result: { shape: [1, 1], data: [[0.1]] }, success: true } }, "embeddings"],
    ["workers-ai/@cf/black-forest-labs/flux-1-schnell", { json: { prompt: "x" }, answer: { result: { image: "x" }, success: true } }, "image"],
    ["anthropic/v1/messages/batches", { json: { requests: [] }, answer: { id: "msgbatch_1", type: "message_batch", processing_status: "in_progress" } }, "batch"],
    ["openai/batches", { json: { input_file_id: "file-1", endpoint: "/v1/chat/completions" }, answer: { id: "batch_1", object: "batch", status: "validating" } }, "batch"],
    ["openai/responses/resp_1", { method: "DELETE", answer: { id: "resp_1", object: "response", deleted: true } }, ""],
    ["openai/chat/completions/chatcmpl-1", { method: "DELETE", answer: { object: "chat.completion.deleted", id: "chatcmpl-1", deleted: true } }, ""],
    ["anthropic/v1/messages/count_tokens", { json: MESSAGES, answer: { input_tokens: 5 } }, ""],
  ];
  for (const [path, request, kind] of kinds) {
    assert.equal((await logged(path, request)).model_type, kind, path);
  }
});

test("how a response and an interaction ended is told", async () => {
  const response = { id: "resp_1", object: "response", model: "gpt-5", output: [], usage: { input_tokens: 5, output_tokens: 5, total_tokens: 10 } };
  const ended = async (answer, type) => (await logged("openai/responses", { json: { model: "gpt-5", input: "x", stream: Boolean(type) }, ...(type ? { text: answer, type } : { answer }) })).finish_reason;
  assert.equal(await ended({ ...response, status: "completed" }), "completed");
  assert.equal(await ended({ ...response, status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }), "max_output_tokens");
  const events = [["response.created", { ...response, status: "in_progress", usage: null }], ["response.completed", { ...response, status: "completed" }]];
  const stream = events.map(([kind, whole]) => `event: ${kind}\ndata: ${JSON.stringify({ type: kind, response: whole })}\n\n`).join("");
  assert.equal(await ended(stream, "text/event-stream"), "completed");
  const interaction = { id: "v1_1", object: "interaction", model: "gemini-2.5-flash", status: "requires_action", outputs: [], usage: { total_input_tokens: 1_000, total_output_tokens: 10, total_thought_tokens: 5, total_tokens: 1_015 } };
  const log = await logged("google-ai-studio/v1beta/interactions", { json: { model: "models/gemini-2.5-flash", input: "x" }, answer: interaction });
  assert.deepEqual([log.finish_reason, log.tokens_in, log.tokens_out, log.model, log.model_type], ["requires_action", 1_000, 15, "gemini-2.5-flash", "chat"]);
  near(log.cost, 0.0003375, "an interaction");
  const run = await logged("workers-ai/run/@cf/qwen/qwen3-30b-a3b-fp8", { json: { messages: [] }, answer: { result: { choices: [{ index: 0, message: { role: "assistant", content: "x" }, finish_reason: "length" }], usage: { prompt_tokens: 5, completion_tokens: 5 } }, success: true } });
  assert.deepEqual([run.finish_reason, run.model_type, run.tokens_in], ["length", "chat", 5]);
});

test("a model has one name, in rows and for rules, however it is written", async () => {
  const answer = { id: "c", object: "chat.completion", model: "models/gemini-2.5-flash", choices: [], usage: { prompt_tokens: 1_000, completion_tokens: 0, total_tokens: 1_000 } };
  const names = { model: "models/gemini-2.5-flash", messages: [] };
  const log = await logged("google-ai-studio/v1beta/openai/chat/completions", { json: names, answer });
  assert.deepEqual([log.model, log.cost], ["gemini-2.5-flash", 0.0003]);
  const kept = await logged("google-ai-studio/v1beta/cachedContents", { json: { model: "models/gemini-2.5-flash", contents: [] }, answer: { name: "cachedContents/1", model: "models/gemini-2.5-flash", usageMetadata: { totalTokenCount: 5 } } });
  assert.equal(kept.model, "gemini-2.5-flash");
  const tuned = await logged("google-ai-studio/v1beta/openai/chat/completions", { json: { ...names, model: "tunedModels/mine" }, answer: { ...answer, model: "tunedModels/mine" } });
  assert.equal(tuned.model, "tunedModels/mine");
  const rules = [{ id: "m", limit: 0.0000001, limitType: "cost", window: 100_000, technique: "fixed", model: { mode: "filter", values: ["gemini-2.5-flash"] } }];
  await gw.create("named", { spend_limits: { enabled: true, rules } });
  await logged("google-ai-studio/v1beta/openai/chat/completions", { json: names, answer, gateway: "named" });
  await until(async () => {
    gw.upstream.next({ headers: JSON_TYPE, body: JSON.stringify(answer) });
    const again = await gw.call("google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent", { json: { contents: [] }, gateway: "named" });
    await again.arrayBuffer();
    return again.status === 429;
  }, "the budget of the model to be used up");
});
