// Stands in for a model that does a task with two tools, in the format of each API: it looks up the weather, then the time, and then
// answers. It refuses what the provider of the format would refuse, so that a request that is translated wrongly does not get on.
import { crc32 } from "node:zlib";

/** The tools that clients offer, as JSON schemas. */
export const TOOLS = [
  { name: "weather", description: "The weather of a city", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
  { name: "clock", description: "The time in a zone", parameters: { type: "object", properties: { zone: { type: "string" } }, required: ["zone"] } },
];

export const QUESTION = "What is the weather in Paris, and what time is it there?";
export const ANSWER = "It is sunny in Paris, and noon.";

/** What the client's tools say. */
export const RESULTS = { weather: "sunny", clock: "12:00" };

const CALLS = [
  { name: "weather", input: { city: "Paris é" } },
  { name: "clock", input: { zone: "CET" } },
];

const USAGE = { input: 20, cached: 4, output: 5 };

/** What a step costs in tokens, as a log counts them. */
export const TOKENS = { in: USAGE.input + USAGE.cached, out: USAGE.output };

/** Which format a path of a provider's is of. */
export function formatOf(url) {
  const path = url.split("?")[0];
  if (path.endsWith("/chat/completions")) return "chat";
  if (path.endsWith("/responses")) return "responses";
  if (path.endsWith("/messages") || /:(stream)?[rR]awPredict$/.test(path)) return "messages";
  if (/:(g|streamG)enerateContent$/.test(path)) return "gemini";
  if (/\/converse(-stream)?$/.test(path)) return "converse";
  return undefined;
}

/** An answer for `Upstream.answer`. */
export function agent(seen) {
  const format = formatOf(seen.url);
  if (format === undefined) return undefined;
  const body = JSON.parse(seen.body);
  const stream = body.stream === true || /stream/i.test(seen.url);
  try {
    const step = stepOf[format](body);
    return stream ? streamed(format, step, body) : { body: JSON.stringify(whole[format](step, body)), headers: { "content-type": "application/json", ...beside(format) } };
  } catch (error) {
    return { status: 400, body: JSON.stringify({ error: { message: `stand-in: ${error.message}`, type: "invalid_request_error" }, type: "error" }), headers: { "content-type": "application/json" } };
  }
}

function beside(format) {
  return format === "converse" ? { "x-amzn-requestid": "amzn-1" } : {};
}

function must(holds, what) {
  if (!holds) throw new Error(what);
}

/** The results that a conversation has, checked against the calls that the stand-in made. */
function counted(names, results) {
  must(names.length === TOOLS.length && names.every((name, index) => name === TOOLS[index].name), `the tools are ${JSON.stringify(names)}`);
  for (const [index, { id, text }] of results.entries()) {
    must(id === undefined || id === `call_${index}`, `result ${index} is for ${id}`);
    must(text.includes(RESULTS[CALLS[index].name]), `result ${index} says ${text}`);
  }
  return results.length;
}

const textOf = (content) => (typeof content === "string" ? content : JSON.stringify(content));

const stepOf = {
  chat({ messages, tools }) {
    const calls = messages.flatMap((message) => message.tool_calls ?? []);
    for (const [index, call] of calls.entries()) {
      must(call.id === `call_${index}` && call.function.name === CALLS[index].name, `call ${index} is ${JSON.stringify(call)}`);
      must(JSON.stringify(JSON.parse(call.function.arguments)) === JSON.stringify(CALLS[index].input), `its arguments are ${call.function.arguments}`);
    }
    const results = messages.filter(({ role }) => role === "tool").map(({ tool_call_id, content }) => ({ id: tool_call_id, text: textOf(content) }));
    must(calls.length === results.length, "a call has no result");
    return counted(tools.map((tool) => tool.function.name), results);
  },
  responses({ input, tools }) {
    must(Array.isArray(input), "input is no list");
    const results = input.filter(({ type }) => type === "function_call_output").map(({ call_id, output }) => ({ id: call_id, text: textOf(output) }));
    must(input.filter(({ type }) => type === "function_call").length === results.length, "a call has no result");
    return counted(tools.map((tool) => tool.name), results);
  },
  messages({ messages, tools, max_tokens }) {
    must(Number.isInteger(max_tokens), "max_tokens: Field required");
    const results = [];
    for (const [index, { role, content }] of messages.entries()) {
      must(role === (index % 2 ? "assistant" : "user"), "roles must alternate");
      const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
      for (const block of blocks) {
        must(block.type !== "text" || block.text !== "", "text content blocks must be non-empty");
        if (block.type === "tool_use") must(typeof block.input === "object", "input must be an object");
        if (block.type !== "tool_result") continue;
        const before = messages[index - 1].content.filter(({ type }) => type === "tool_use").map(({ id }) => id);
        must(before.includes(block.tool_use_id), "unexpected tool_use_id");
        results.push({ id: block.tool_use_id, text: textOf(block.content) });
      }
    }
    return counted(tools.map((tool) => (must(tool.input_schema.type === "object", "input_schema"), tool.name)), results);
  },
  gemini({ contents, tools }) {
    const parts = contents.flatMap(({ parts }) => parts);
    const results = parts.filter((part) => part.functionResponse).map(({ functionResponse: { id, name, response } }, index) => {
      must(name === CALLS[index].name, `result ${index} is of ${name}`);
      return { id, text: JSON.stringify(response) };
    });
    for (const { parts } of contents) must(!parts.some((part) => part.functionResponse) || parts.every((part) => part.functionResponse), "a result has siblings");
    return counted(tools.flatMap(({ functionDeclarations }) => functionDeclarations.map(({ name }) => name)), results);
  },
  converse({ messages, toolConfig }) {
    const blocks = messages.flatMap(({ content }) => content);
    const results = blocks.filter((block) => block.toolResult).map(({ toolResult: { toolUseId, content } }) => ({ id: toolUseId, text: JSON.stringify(content) }));
    return counted(toolConfig.tools.map(({ toolSpec }) => toolSpec.name), results);
  },
};

/** What the model says at a step, and calls if it is not the last. */
function turn(step) {
  const call = CALLS[step];
  return call ? { text: step === 0 ? "Let me look." : "", call: { id: `call_${step}`, ...call } } : { text: ANSWER };
}

const chatUsage = { prompt_tokens: TOKENS.in, completion_tokens: USAGE.output, total_tokens: TOKENS.in + USAGE.output, prompt_tokens_details: { cached_tokens: USAGE.cached } };
const responsesUsage = { input_tokens: TOKENS.in, input_tokens_details: { cached_tokens: USAGE.cached, cache_write_tokens: 0 }, output_tokens: USAGE.output, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: TOKENS.in + USAGE.output };
const messagesUsage = { input_tokens: USAGE.input, cache_read_input_tokens: USAGE.cached, cache_creation_input_tokens: 0, output_tokens: USAGE.output };
const geminiUsage = { promptTokenCount: TOKENS.in, cachedContentTokenCount: USAGE.cached, candidatesTokenCount: USAGE.output, totalTokenCount: TOKENS.in + USAGE.output };
const converseUsage = { inputTokens: USAGE.input, cacheReadInputTokens: USAGE.cached, outputTokens: USAGE.output, totalTokens: TOKENS.in + USAGE.output };

const whole = {
  chat(step, { model }) {
    const { text, call } = turn(step);
    const tool_calls = call && [{ id: call.id, type: "function", function: { name: call.name, arguments: JSON.stringify(call.input) } }];
    return { id: `chatcmpl-${step}`, object: "chat.completion", created: 1, model, choices: [{ index: 0, message: { role: "assistant", content: text || null, ...(call && { tool_calls }) }, finish_reason: call ? "tool_calls" : "stop" }], usage: chatUsage };
  },
  responses(step, { model }) {
    return responseOf(step, model, "completed", itemsOf(step), responsesUsage);
  },
  messages(step, { model }) {
    const { text, call } = turn(step);
    const content = [...(text ? [{ type: "text", text }] : []), ...(call ? [{ type: "tool_use", id: call.id, name: call.name, input: call.input }] : [])];
    return { id: `msg_${step}`, type: "message", role: "assistant", model: model ?? "claude", content, stop_reason: call ? "tool_use" : "end_turn", stop_sequence: null, usage: messagesUsage };
  },
  gemini(step) {
    const { text, call } = turn(step);
    const parts = [...(text ? [{ text }] : []), ...(call ? [{ functionCall: { id: call.id, name: call.name, args: call.input }, thoughtSignature: "c2lnbmVk" }] : [])];
    return { responseId: `gem-${step}`, modelVersion: "gemini-test", candidates: [{ index: 0, content: { role: "model", parts }, finishReason: "STOP" }], usageMetadata: geminiUsage };
  },
  converse(step) {
    const { text, call } = turn(step);
    const content = [...(text ? [{ text }] : []), ...(call ? [{ toolUse: { toolUseId: call.id, name: call.name, input: call.input } }] : [])];
    return { output: { message: { role: "assistant", content } }, stopReason: call ? "tool_use" : "end_turn", usage: converseUsage, metrics: { latencyMs: 5 } };
  },
};

function responseOf(step, model, status, output, usage) {
  return { id: `resp_${step}`, object: "response", created_at: 1, status, model, output, error: null, incomplete_details: null, instructions: null, metadata: {}, parallel_tool_calls: true, temperature: 1, tool_choice: "auto", tools: [], top_p: 1, usage: usage ?? null };
}

function itemsOf(step) {
  const { text, call } = turn(step);
  const message = { id: `msg_${step}`, type: "message", status: "completed", role: "assistant", content: [{ type: "output_text", text, annotations: [] }] };
  const made = call && { id: `fc_${step}`, type: "function_call", status: "completed", call_id: call.id, name: call.name, arguments: JSON.stringify(call.input) };
  return [...(text ? [message] : []), ...(call ? [made] : [])];
}

/** A text in two pieces, as streams have them. */
function halves(text) {
  const middle = Math.ceil(text.length / 2);
  return [text.slice(0, middle), text.slice(middle)].filter(Boolean);
}

const data = (json) => `data: ${JSON.stringify(json)}\n\n`;
const named = (json) => `event: ${json.type}\ndata: ${JSON.stringify(json)}\n\n`;

/** The events of a streamed answer. */
export const events = {
  chat(step, { model }) {
    const { text, call } = turn(step);
    const chunk = (delta, finish_reason = null) => data({ id: `chatcmpl-${step}`, object: "chat.completion.chunk", created: 1, model, choices: [{ index: 0, delta, finish_reason }] });
    const made = call ? [{ tool_calls: [{ index: 0, id: call.id, type: "function", function: { name: call.name, arguments: "" } }] }, ...halves(JSON.stringify(call.input)).map((piece) => ({ tool_calls: [{ index: 0, function: { arguments: piece } }] }))] : [];
    return [chunk({ role: "assistant", content: "" }), ...halves(text).map((content) => chunk({ content })), ...made.map((delta) => chunk(delta)), chunk({}, call ? "tool_calls" : "stop"), data({ id: `chatcmpl-${step}`, object: "chat.completion.chunk", created: 1, model, choices: [], usage: chatUsage }), "data: [DONE]\n\n"];
  },
  responses(step, { model }) {
    const all = [{ type: "response.created", response: responseOf(step, model, "in_progress", []) }, { type: "response.in_progress", response: responseOf(step, model, "in_progress", []) }];
    for (const [output_index, item] of itemsOf(step).entries()) {
      const place = { output_index, item_id: item.id };
      if (item.type === "message") {
        const [{ text }] = item.content;
        all.push({ type: "response.output_item.added", output_index, item: { ...item, status: "in_progress", content: [] } });
        all.push({ type: "response.content_part.added", ...place, content_index: 0, part: { type: "output_text", text: "", annotations: [] } });
        for (const delta of halves(text)) all.push({ type: "response.output_text.delta", ...place, content_index: 0, delta });
        all.push({ type: "response.output_text.done", ...place, content_index: 0, text }, { type: "response.content_part.done", ...place, content_index: 0, part: item.content[0] });
      } else {
        all.push({ type: "response.output_item.added", output_index, item: { ...item, status: "in_progress", arguments: "" } });
        for (const delta of halves(item.arguments)) all.push({ type: "response.function_call_arguments.delta", ...place, delta });
        all.push({ type: "response.function_call_arguments.done", ...place, arguments: item.arguments });
      }
      all.push({ type: "response.output_item.done", output_index, item });
    }
    all.push({ type: "response.completed", response: responseOf(step, model, "completed", itemsOf(step), responsesUsage) });
    return all.map((event, sequence_number) => named({ ...event, sequence_number }));
  },
  messages(step, { model }) {
    const { content, stop_reason, usage, ...message } = whole.messages(step, { model });
    const all = [{ type: "message_start", message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } } }];
    for (const [index, block] of content.entries()) {
      const begun = block.type === "text" ? { type: "text", text: "" } : { ...block, input: {} };
      const deltas = block.type === "text" ? halves(block.text).map((text) => ({ type: "text_delta", text })) : halves(JSON.stringify(block.input)).map((partial_json) => ({ type: "input_json_delta", partial_json }));
      all.push({ type: "content_block_start", index, content_block: begun }, ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })), { type: "content_block_stop", index });
    }
    all.push({ type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: usage.output_tokens } }, { type: "message_stop" });
    return all.map(named);
  },
  gemini(step) {
    const all = whole.gemini(step);
    const [candidate] = all.candidates;
    const piece = (parts, finishReason) => data({ ...all, candidates: [{ index: 0, content: { role: "model", parts }, ...(finishReason && { finishReason }) }] });
    const parts = candidate.content.parts.flatMap((part) => (part.text ? halves(part.text).map((text) => ({ text })) : [part]));
    return [...parts.map((part) => piece([part])), piece([], "STOP")];
  },
  converse(step) {
    const { output, stopReason, usage } = whole.converse(step);
    const all = [["messageStart", { role: "assistant" }]];
    for (const [contentBlockIndex, block] of output.message.content.entries()) {
      if (block.toolUse) all.push(["contentBlockStart", { contentBlockIndex, start: { toolUse: { toolUseId: block.toolUse.toolUseId, name: block.toolUse.name } } }]);
      const deltas = block.toolUse ? halves(JSON.stringify(block.toolUse.input)).map((input) => ({ toolUse: { input } })) : halves(block.text).map((text) => ({ text }));
      all.push(...deltas.map((delta) => ["contentBlockDelta", { contentBlockIndex, delta }]), ["contentBlockStop", { contentBlockIndex }]);
    }
    all.push(["messageStop", { stopReason }], ["metadata", { usage, metrics: { latencyMs: 5 } }]);
    return all.map(([name, payload]) => frame({ ":message-type": "event", ":event-type": name, ":content-type": "application/json" }, payload));
  },
};

function streamed(format, step, body) {
  const type = format === "converse" ? { "content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "amzn-1" } : {};
  return { events: events[format](step, body), headers: type };
}

/** A frame of Amazon's binary event stream. */
export function frame(headers, payload) {
  const named = Object.entries(headers).map(([name, value]) => {
    const text = Buffer.from(value);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(text.length);
    return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from([7]), length, text]);
  });
  const [head, body] = [Buffer.concat(named), Buffer.from(JSON.stringify(payload))];
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(16 + head.length + body.length, 0);
  prelude.writeUInt32BE(head.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const whole = Buffer.concat([prelude, head, body]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(whole));
  return Buffer.concat([whole, sum]);
}
