// Anthropic: <https://docs.anthropic.com/en/api>.
import { CITY, PIECES, TEXT, WEATHER, bearer, files, id, named, shellOf } from "./shared.mjs";

const KINDS = { 400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 405: "invalid_request_error", 429: "rate_limit_error", 500: "api_error" };
const refusal = (status, message) => ({ status, headers: { "request-id": id("req_") }, json: { type: "error", error: { type: KINDS[status] ?? "api_error", message }, request_id: id("req_") } });

/** Python's and npm's clients send the second since their version 2 and 1. */
const VERSIONS = ["2023-06-01", "2026-10-21"];


function content(json) {
  const blocks = json.messages.flatMap(({ content }) => (Array.isArray(content) ? content : []));
  if (blocks.some(({ type }) => type === "tool_result")) return [{ type: "text", text: WEATHER }];
  const agents = shellOf((json.tools ?? []).map(({ name }) => name));
  if (agents) return [{ type: "tool_use", id: id("toolu_"), ...agents }];
  const tool = json.tools?.find(({ input_schema }) => input_schema);
  if (tool) return [{ type: "tool_use", id: id("toolu_"), name: tool.name, input: { city: CITY } }];
  return [{ type: "text", text: TEXT }];
}

/** A message that answers a request, whole. */
export function message(json, model = json.model) {
  const parts = content(json);
  const stop_reason = parts[0].type === "tool_use" ? "tool_use" : "end_turn";
  const usage = { input_tokens: 20, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 15, service_tier: "standard" };
  return { id: id("msg_"), type: "message", role: "assistant", model, content: parts, stop_reason, stop_sequence: null, usage };
}

/** The same as events. */
export function messageEvents(whole) {
  const { usage } = whole;
  const events = [{ type: "message_start", message: { ...whole, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } } }, { type: "ping" }];
  for (const [index, part] of whole.content.entries()) {
    const isText = part.type === "text";
    events.push({ type: "content_block_start", index, content_block: isText ? { type: "text", text: "" } : { ...part, input: {} } });
    const input = JSON.stringify(part.input);
    const deltas = isText
      ? (part.text === TEXT ? PIECES : [part.text]).map((text) => ({ type: "text_delta", text }))
      : [{ type: "input_json_delta", partial_json: "" }, { type: "input_json_delta", partial_json: input.slice(0, 7) }, { type: "input_json_delta", partial_json: input.slice(7) }];
    for (const delta of deltas) events.push({ type: "content_block_delta", index, delta });
    events.push({ type: "content_block_stop", index });
  }
  events.push({ type: "message_delta", delta: { stop_reason: whole.stop_reason, stop_sequence: null }, usage: { output_tokens: usage.output_tokens } }, { type: "message_stop" });
  return events;
}

export function toldOf(whole) {
  return { kind: "chat", model: whole.model, id: whole.id, finish: whole.stop_reason, in: 20, out: 15, priced: true };
}

function messages({ json }) {
  const whole = message(json);
  const told = toldOf(whole);
  return json.stream ? { told, events: messageEvents(whole).map(named), hold: 3 } : { told, json: whole };
}

const batches = new Map();
function shownBatch(made, origin, status) {
  const ended = status === "ended";
  const counts = { processing: ended ? 0 : made.requests.length, succeeded: ended ? made.requests.length : 0, errored: 0, canceled: 0, expired: 0 };
  const at = (ms) => new Date(Date.now() + ms).toISOString();
  return { id: made.id, type: "message_batch", processing_status: status, request_counts: counts, created_at: at(0), expires_at: at(86_400_000), ended_at: ended ? at(0) : null, archived_at: null, cancel_initiated_at: null, results_url: ended ? `${origin}/v1/messages/batches/${made.id}/results` : null };
}

function batchResults({ match }) {
  const { requests } = batches.get(match[1]);
  const lines = requests.map(({ custom_id, params }) => ({ custom_id, result: { type: "succeeded", message: message(params) } }));
  return { told: { batch: true }, type: "application/x-jsonl", bytes: Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join("")) };
}

async function upload({ form }) {
  const file = form.get("file");
  const made = { id: id("file_"), type: "file", filename: file.name, mime_type: file.type, size_bytes: file.size, created_at: new Date().toISOString(), downloadable: false };
  files.set(made.id, { made, content: Buffer.from(await file.arrayBuffer()) });
  return { told: {}, json: made };
}

const beta = { query: ["beta"] };
export default {
  slug: "anthropic",
  credential: (request) => request.headers["x-api-key"] ?? bearer(request),
  refusal,
  check({ headers, path }) {
    if (headers["x-api-key"] && headers.authorization) return "there are two credentials";
    if (!VERSIONS.includes(headers["anthropic-version"])) return "anthropic-version: header is required";
    if (path.startsWith("/v1/files") && headers["anthropic-version"] === VERSIONS[0] && !headers["anthropic-beta"]?.includes("files-api-2025-04-14")) return "the files API needs its anthropic-beta";
    return undefined;
  },
  operations: [
    { method: "POST", path: /^\/v1\/messages$/, ...beta, needs: ["model", "max_tokens", "messages"], answer: messages },
    { method: "POST", path: /^\/v1\/messages\/count_tokens$/, ...beta, needs: ["model", "messages"], answer: ({ json }) => ({ told: { model: json.model }, json: { input_tokens: 20 } }) },
    { method: "POST", path: /^\/v1\/messages\/batches$/, ...beta, needs: ["requests"], answer({ json, origin }) {
      const made = { id: id("msgbatch_"), requests: json.requests };
      batches.set(made.id, made);
      return { told: { batch: true }, json: shownBatch(made, origin, "in_progress") };
    } },
    { method: "GET", path: /^\/v1\/messages\/batches\/(msgbatch_\w+)$/, ...beta, answer: ({ match, origin }) => ({ told: { batch: true }, json: shownBatch(batches.get(match[1]), origin, "ended") }) },
    { method: "GET", path: /^\/v1\/messages\/batches\/(msgbatch_\w+)\/results$/, ...beta, answer: batchResults },
    { method: "GET", path: /^\/v1\/models$/, query: ["beta", "limit", "after_id", "before_id"], answer: () => ({ told: {}, json: { data: [{ type: "model", id: "claude-sonnet-4-5", display_name: "Claude Sonnet 4.5", created_at: "2025-09-29T00:00:00Z" }], has_more: false, first_id: "claude-sonnet-4-5", last_id: "claude-sonnet-4-5" } }) },
    { method: "POST", path: /^\/v1\/files$/, ...beta, form: ["file"], answer: upload },
    { method: "GET", path: /^\/v1\/files\/(file_\w+)$/, ...beta, answer: ({ match }) => ({ told: {}, json: files.get(match[1]).made }) },
    { method: "DELETE", path: /^\/v1\/files\/(file_\w+)$/, ...beta, answer: ({ match }) => ({ told: {}, json: { id: match[1], type: "file_deleted" } }) },
  ],
};
