// What the providers of the demonstration answer, each in its own format.

const TOOLS = ["read_file", "search", "edit_file", "run"].map((name) => ({ name, description: `Lets the agent ${name.replace("_", " ")}`, input_schema: { type: "object", properties: { path: { type: "string" } } } }));

/** The request of a plan, as the client sends it: where to, and with what. */
export function requestOf({ provider, model, route, system, messages, tools, streams }) {
  if (route) return { path: "compat/chat/completions", json: { ...requestOf({ provider: "openai", system, messages, streams }).json, model: `dynamic/${route}` } };
  if (provider === "anthropic") {
    return { path: "anthropic/v1/messages", json: { model, max_tokens: 2048, system: [{ type: "text", text: system, cache_control: { type: "ephemeral" } }], messages, ...(tools && { tools: TOOLS }), ...(streams && { stream: true }) } };
  }
  if (provider === "google-ai-studio") {
    const contents = messages.map(({ role, content }) => ({ role: role === "assistant" ? "model" : "user", parts: [{ text: content }] }));
    return { path: `google-ai-studio/v1beta/models/${model}:${streams ? "streamGenerateContent?alt=sse" : "generateContent"}`, json: { systemInstruction: { parts: [{ text: system }] }, contents } };
  }
  return { path: "openai/chat/completions", json: { model, messages: [{ role: "system", content: system }, ...messages], temperature: 0.3, ...(streams && { stream: true, stream_options: { include_usage: true } }) } };
}

const event = (data, name) => `${name ? `event: ${name}\n` : ""}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
const json = (body, status = 200) => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** Text in pieces of some words, as models stream it. */
function pieces(text) {
  return text.match(/(?:\S+\s*){1,6}|\s+/g) ?? [text];
}

let last = 0;

/** The answer of a plan, for the stand-in. */
export function answerOf(plan) {
  const { provider, error, streams } = plan;
  const id = `demo${(last += 1).toString(36).padStart(6, "0")}`;
  if (error) {
    const body = provider === "anthropic" ? { type: "error", error: { type: "api_error", message: error.message } } : { error: { message: error.message, type: "error", code: error.status } };
    return json(body, error.status);
  }
  if (provider === "anthropic") return anthropic(plan, `msg_${id}`, streams);
  if (provider === "google-ai-studio") return google(plan, id, streams);
  return openai(plan, `chatcmpl-${id}`, streams);
}

function openai({ model, answer, tokens }, id, streams) {
  const usage = { prompt_tokens: tokens.input, completion_tokens: tokens.output, total_tokens: tokens.input + tokens.output, prompt_tokens_details: { cached_tokens: Math.min(tokens.cached, tokens.input) } };
  const head = { id, created: 1_764_000_000, model };
  if (!streams) return json({ ...head, object: "chat.completion", choices: [{ index: 0, message: { role: "assistant", content: answer }, finish_reason: "stop" }], usage });
  const chunk = (delta, finish_reason = null) => event({ ...head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] });
  return { events: [chunk({ role: "assistant", content: "" }), ...pieces(answer).map((content) => chunk({ content })), chunk({}, "stop"), event({ ...head, object: "chat.completion.chunk", choices: [], usage }), event("[DONE]")], pause: 1 };
}

function anthropic({ model, answer, tool, tokens }, id, streams) {
  const usage = { input_tokens: tokens.input, cache_creation_input_tokens: tokens.written ?? 0, cache_read_input_tokens: tokens.cached, output_tokens: tokens.output };
  const content = [{ type: "text", text: answer }, ...(tool ? [{ type: "tool_use", ...tool }] : [])];
  const stop_reason = tool ? "tool_use" : "end_turn";
  const head = { id, type: "message", role: "assistant", model };
  if (!streams) return json({ ...head, content, stop_reason, stop_sequence: null, usage });
  const say = (data) => event(data, data.type);
  const blocks = [
    say({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
    ...pieces(answer).map((text) => say({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })),
    say({ type: "content_block_stop", index: 0 }),
  ];
  if (tool) {
    blocks.push(
      say({ type: "content_block_start", index: 1, content_block: { type: "tool_use", id: tool.id, name: tool.name, input: {} } }),
      say({ type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: JSON.stringify(tool.input) } }),
      say({ type: "content_block_stop", index: 1 }),
    );
  }
  return { events: [say({ type: "message_start", message: { ...head, content: [], stop_reason: null, stop_sequence: null, usage: { ...usage, output_tokens: 1 } } }), ...blocks, say({ type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: tokens.output } }), say({ type: "message_stop" })], pause: 1 };
}

function google({ model, answer, tokens }, id, streams) {
  const usageMetadata = { promptTokenCount: tokens.input, candidatesTokenCount: tokens.output, totalTokenCount: tokens.input + tokens.output };
  const piece = (text, finishReason) => ({ candidates: [{ content: { role: "model", parts: [{ text }] }, ...(finishReason && { finishReason }), index: 0 }], modelVersion: model, responseId: id, usageMetadata });
  if (!streams) return json(piece(answer, "STOP"));
  const all = pieces(answer);
  return { events: all.map((text, at) => event(piece(text, at === all.length - 1 ? "STOP" : undefined))), pause: 1 };
}
