// Mistral: <https://docs.mistral.ai/api>. Its chat is like OpenAI's; it tells usage in the last chunk of a stream.
import { TEXT, bearer, id, now } from "./shared.mjs";
import { chat, embeddings, fileOperations } from "./openai.mjs";

const refusal = (status, message) => ({ status, json: { object: "error", message, type: status === 429 ? "rate_limited" : "invalid_request_error", param: null, code: String(status) } });

function mistralChat(request) {
  const { told, json, events, hold } = chat(request, { always: true });
  if (json) {
    json.choices.forEach((choice) => delete choice.message.refusal);
    return { told, json };
  }
  // The usage stands in the chunk with the finish_reason, and there is none without choices.
  const [usage] = events.splice(-2, 1);
  const last = JSON.parse(events.at(-2).slice(6));
  events.splice(-2, 1, `data: ${JSON.stringify({ ...last, usage: JSON.parse(usage.slice(6)).usage })}\n\n`);
  return { told, events, hold };
}

const withId = ({ told, json }) => ({ told, json: { id: id("embd-"), ...json } });

/** Its files say some things more, and the size under another name. */
const asMistral = (answer) => async (request) => {
  const { json, ...rest } = await answer(request);
  const more = json?.filename ? { size_bytes: json.bytes, sample_type: "batch_request", source: "upload", mimetype: null, num_lines: 1, signature: null, deleted: false } : {};
  return { ...rest, ...(json && { json: { ...json, ...more } }) };
};

function ocr({ json }) {
  return { told: { model: json.model }, json: { pages: [{ index: 0, markdown: "# Ramen", images: [], dimensions: { dpi: 200, height: 2200, width: 1700 } }], model: json.model, document_annotation: null, usage_info: { pages_processed: 1, doc_size_bytes: 1024 } } };
}

function transcription({ form }) {
  const usage = { prompt_audio_seconds: 3, prompt_tokens: 30, completion_tokens: 8, total_tokens: 38 };
  return { told: { kind: "audio", model: form.get("model") }, json: { model: form.get("model"), text: TEXT, language: "en", segments: [], usage } };
}

function fim({ json }) {
  const usage = { prompt_tokens: 17, completion_tokens: 14, total_tokens: 31 };
  const whole = { id: id("fim-"), object: "chat.completion", created: now(), model: json.model, choices: [{ index: 0, message: { role: "assistant", content: "return ramen" }, finish_reason: "stop" }], usage };
  return { told: { model: json.model, id: whole.id, in: 17, out: 14, finish: "stop" }, json: whole };
}

export default {
  slug: "mistral",
  credential: bearer,
  refusal,
  operations: [
    { method: "POST", path: /^\/v1\/chat\/completions$/, needs: ["model", "messages"], answer: mistralChat },
    { method: "POST", path: /^\/v1\/fim\/completions$/, needs: ["model", "prompt"], answer: fim },
    { method: "POST", path: /^\/v1\/embeddings$/, needs: ["model", "input"], answer: (request) => withId(embeddings(request)) },
    { method: "POST", path: /^\/v1\/audio\/transcriptions$/, form: ["model", "file"], answer: transcription },
    { method: "POST", path: /^\/v1\/ocr$/, needs: ["model", "document"], answer: ocr },
    ...fileOperations("/v1", { needs: ["file"] }).map((operation) => ({ ...operation, answer: asMistral(operation.answer) })),
  ],
};
