// OpenAI: <https://platform.openai.com/docs/api-reference>. Its formats are also those of Azure and of many others.
import { CITY, PIECES, PNG, SOUND, TEXT, WEATHER, bearer, data, files, id, named, now, shellOf, vector } from "./shared.mjs";

const USAGE = { prompt_tokens: 17, completion_tokens: 14, total_tokens: 31, prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 } };
const RESPONSE_USAGE = { input_tokens: 33, input_tokens_details: { cached_tokens: 0 }, output_tokens: 21, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 54 };
const KINDS = { 400: "invalid_request_error", 401: "invalid_request_error", 404: "invalid_request_error", 405: "invalid_request_error", 429: "rate_limit_error" };

export function refusal(status, message) {
  return { status, json: { error: { message, type: KINDS[status] ?? "server_error", param: null, code: status === 429 ? "rate_limit_exceeded" : null } } };
}

const argumentsOf = () => JSON.stringify({ city: CITY });

/** `POST chat/completions`. `always` is for providers that tell the usage of a stream without being asked. */
export function chat({ json }, { always = false, model = json.model } = {}) {
  const wantsTool = json.tools?.length > 0 && !json.messages.some(({ role }) => role === "tool");
  const text = json.messages.some(({ role }) => role === "tool") ? WEATHER : TEXT;
  const finish = wantsTool ? "tool_calls" : "stop";
  const call = wantsTool && { id: id("call_"), type: "function", function: { name: json.tools.find(({ type }) => type === "function").function.name, arguments: argumentsOf() } };
  const head = { id: id("chatcmpl-"), created: now(), model };
  const told = { kind: "chat", model, id: head.id, finish, in: 17, out: 14, priced: true };
  if (!json.stream) {
    const message = { role: "assistant", content: wantsTool ? null : text, refusal: null, ...(call && { tool_calls: [call] }) };
    return { told, json: { ...head, object: "chat.completion", choices: [{ index: 0, message, logprobs: null, finish_reason: finish }], usage: USAGE } };
  }
  const usage = always || json.stream_options?.include_usage;
  const piece = (delta, finish_reason = null, more = {}) => data({ ...head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }], ...more });
  const pieces = text === TEXT ? PIECES : [text.slice(0, 5), text.slice(5)];
  const deltas = call
    ? [{ tool_calls: [{ index: 0, ...call, function: { name: call.function.name, arguments: "" } }] }, ...[call.function.arguments.slice(0, 6), call.function.arguments.slice(6)].map((part) => ({ tool_calls: [{ index: 0, function: { arguments: part } }] }))]
    : pieces.map((content) => ({ content }));
  const events = [piece({ role: "assistant", content: call ? null : "" }), ...deltas.map((delta) => piece(delta)), piece({}, finish)];
  if (usage) events.push(data({ ...head, object: "chat.completion.chunk", choices: [], usage: USAGE }));
  events.push(data("[DONE]"));
  return { told: usage ? told : { ...told, in: null, out: null, priced: false }, events, hold: 1 };
}

/** The items that a model answers with. */
function items(json, choose) {
  const input = Array.isArray(json.input) ? json.input : [];
  const answered = input.some(({ type }) => /_call_output$/.test(type));
  const tool = !answered && choose(json.tools ?? []);
  if (tool) return [{ type: "function_call", id: id("fc_"), call_id: id("call_"), name: tool.name, arguments: JSON.stringify(tool.arguments ?? { city: CITY }), status: "completed" }];
  return [{ type: "message", id: id("msg_"), role: "assistant", status: "completed", content: [{ type: "output_text", text: answered ? WEATHER : TEXT, annotations: [], logprobs: [] }] }];
}

const firstFunction = (tools) => tools.find(({ type }) => type === "function");

/** Everything that a response is told by, as events without their form: they are the same over a WebSocket. */
export function responseEvents(json, choose = firstFunction) {
  const made = { id: id("resp_"), object: "response", created_at: now(), model: json.model, status: "in_progress", error: null, incomplete_details: null, instructions: null, metadata: {}, output: [], parallel_tool_calls: true, temperature: 1, tool_choice: "auto", tools: json.tools ?? [], top_p: 1, usage: null };
  const output = items(json, choose);
  const done = { ...made, status: "completed", output, usage: RESPONSE_USAGE };
  const events = [{ type: "response.created", response: made }, { type: "response.in_progress", response: made }];
  for (const [output_index, item] of output.entries()) {
    const at = { item_id: item.id, output_index };
    if (item.type === "function_call") {
      events.push({ type: "response.output_item.added", output_index, item: { ...item, arguments: "", status: "in_progress" } });
      events.push({ type: "response.function_call_arguments.delta", ...at, delta: item.arguments });
      events.push({ type: "response.function_call_arguments.done", ...at, name: item.name, arguments: item.arguments });
    } else {
      const [part] = item.content;
      events.push({ type: "response.output_item.added", output_index, item: { ...item, content: [], status: "in_progress" } });
      events.push({ type: "response.content_part.added", ...at, content_index: 0, part: { ...part, text: "" } });
      for (const delta of part.text === TEXT ? PIECES : [part.text]) events.push({ type: "response.output_text.delta", ...at, content_index: 0, delta, logprobs: [] });
      events.push({ type: "response.output_text.done", ...at, content_index: 0, text: part.text, logprobs: [] });
      events.push({ type: "response.content_part.done", ...at, content_index: 0, part });
    }
    events.push({ type: "response.output_item.done", output_index, item });
  }
  events.push({ type: "response.completed", response: done });
  const told = { kind: "chat", model: json.model, id: made.id, finish: "completed", in: 33, out: 21, priced: true };
  return { told, done, events: events.map((event, sequence_number) => ({ ...event, sequence_number })) };
}

/** `POST responses`. */
export function response({ json }, choose) {
  const { told, done, events } = responseEvents(json, choose);
  return json.stream ? { told, events: events.map(named), hold: 4 } : { told, json: done };
}

export function embeddings({ json }, { model = json.model } = {}) {
  const inputs = Array.isArray(json.input) && typeof json.input[0] !== "number" ? json.input : [json.input];
  const numbers = vector(json.dimensions ?? 8);
  const embedding = json.encoding_format === "base64" ? Buffer.from(new Float32Array(numbers).buffer).toString("base64") : numbers;
  const usage = { prompt_tokens: 9, total_tokens: 9 };
  return { told: { kind: "embeddings", model, in: 9, out: null, priced: true }, json: { object: "list", model, data: inputs.map((_, index) => ({ object: "embedding", index, embedding })), usage } };
}

export async function upload({ form, number }) {
  const file = form.get("file");
  const made = { id: id("file-"), object: "file", bytes: file.size, created_at: now(), filename: file.name, purpose: form.get("purpose"), status: "processed" };
  files.set(made.id, { number, made, content: Buffer.from(await file.arrayBuffer()), type: file.type });
  return { told: {}, json: made };
}

const missing = (name) => ({ told: {}, ...refusal(404, `No such File object: ${name}`) });

/** The four operations of files, below whatever the provider has in front of them. */
export function fileOperations(prefix, { query = [], needs = ["purpose", "file"] } = {}) {
  const at = (tail) => new RegExp(`^${prefix}/files${tail}$`);
  return [
    { method: "POST", path: at(""), form: needs, query, answer: upload },
    { method: "GET", path: at(""), query: [...query, "limit", "order", "after", "purpose"], answer: ({ number }) => ({ told: {}, json: { object: "list", data: [...files.values()].filter((file) => file.number === number).map(({ made }) => made), has_more: false, first_id: "", last_id: "" } }) },
    { method: "GET", path: at("/(file-\\w+)"), query, answer: ({ match: [, name] }) => (files.has(name) ? { told: {}, json: files.get(name).made } : missing(name)) },
    { method: "GET", path: at("/(file-\\w+)/content"), query, answer: ({ match: [, name] }) => (files.has(name) ? { told: {}, bytes: files.get(name).content, type: "application/octet-stream" } : missing(name)) },
    { method: "DELETE", path: at("/(file-\\w+)"), query, answer: ({ match: [, name] }) => (files.delete(name) ? { told: {}, json: { id: name, object: "file", deleted: true } } : missing(name)) },
  ];
}

export function image({ json }) {
  const usage = { input_tokens: 12, output_tokens: 272, total_tokens: 284, input_tokens_details: { text_tokens: 12, image_tokens: 0 } };
  return { told: { kind: "image", model: json.model, in: 12, out: 272 }, json: { created: now(), data: [{ b64_json: PNG }], size: "1024x1024", quality: "low", output_format: "png", usage } };
}

export const speech = ({ json }) => ({ told: { kind: "audio", model: json.model }, bytes: SOUND, type: "audio/mpeg" });

export function transcription({ form }) {
  const usage = { type: "tokens", input_tokens: 30, output_tokens: 8, total_tokens: 38, input_token_details: { text_tokens: 0, audio_tokens: 30 } };
  return { told: { kind: "audio", model: form.get("model"), in: 30, out: 8 }, json: { text: TEXT, usage } };
}

/** What a coding agent runs when it is asked to: a command of the tool that it brings. */
export function shell(tools) {
  const found = shellOf(tools.filter(({ type }) => type === "function").map(({ name }) => name));
  return found ? { name: found.name, arguments: found.input } : firstFunction(tools);
}

/** A client that only warms up is answered with nothing. */
function warmed(json) {
  const { told, done, events } = responseEvents({ ...json, tools: [] });
  const usage = { ...RESPONSE_USAGE, input_tokens: 0, output_tokens: 0, total_tokens: 0 };
  const nothing = { ...done, output: [], usage };
  return { told: { ...told, in: 0, out: 0, priced: false }, events: [events[0], { type: "response.completed", sequence_number: 1, response: nothing }] };
}

/** How often a model that was asked to goes on, before it gives up. */
const FOR_EVER = 40;

/** A WebSocket of the Responses API: each `response.create` is answered by the events of a response. */
function socket(connection, request, tell) {
  let [forEver, count] = [false, 0];
  connection.on("message", async (message) => {
    const { type, response: inner, ...rest } = JSON.parse(message.toString());
    const fail = (text) => connection.send(JSON.stringify({ type: "error", status: 400, error: { type: "invalid_request_error", message: text } }));
    if (type !== "response.create") return fail(`there is no event ${type}`);
    const json = inner ?? rest;
    if (!json.model) return fail("there is no model");
    forEver ||= JSON.stringify(json.input).includes("again and again without end");
    count += 1;
    const input = forEver && count < FOR_EVER ? [] : json.input;
    const { told, events } = json.generate === false ? warmed(json) : responseEvents({ ...json, input }, shell);
    tell({ ...told, socket: true });
    for (const event of events) connection.send(JSON.stringify(event));
  });
}

export default {
  slug: "openai",
  base: "/v1",
  credential: bearer,
  refusal,
  check: ({ headers }) => (headers["x-api-key"] || headers["api-key"] ? "OpenAI takes a bearer token and no other key" : undefined),
  operations: [
    { method: "POST", path: /^\/v1\/chat\/completions$/, needs: ["model", "messages"], answer: chat },
    { method: "POST", path: /^\/v1\/responses$/, needs: ["model", "input"], answer: (request) => response(request, shell) },
    { method: "GET", path: /^\/v1\/responses$/, socket },
    { method: "POST", path: /^\/v1\/embeddings$/, needs: ["model", "input"], answer: embeddings },
    { method: "POST", path: /^\/v1\/images\/generations$/, needs: ["model", "prompt"], answer: image },
    { method: "POST", path: /^\/v1\/audio\/speech$/, needs: ["model", "input", "voice"], answer: speech },
    { method: "POST", path: /^\/v1\/audio\/transcriptions$/, form: ["file", "model"], answer: transcription },
    { method: "GET", path: /^\/v1\/models$/, query: ["client_version"], answer: () => ({ told: {}, json: { object: "list", data: [{ id: "gpt-4o", object: "model", created: 1715367049, owned_by: "system" }] } }) },
    ...fileOperations("/v1"),
  ],
};
