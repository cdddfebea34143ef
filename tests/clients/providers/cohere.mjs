// Cohere: <https://docs.cohere.com/reference>.
import { CITY, PIECES, TEXT, WEATHER, bearer, id, vector } from "./shared.mjs";

const refusal = (status, message) => ({ status, json: { id: id("err-"), message } });
/** What is billed is what a row counts. */
const USAGE = { billed_units: { input_tokens: 11, output_tokens: 9 }, tokens: { input_tokens: 70, output_tokens: 12 } };

function chat({ json }) {
  const answered = json.messages.some(({ role }) => role === "tool");
  const wantsTool = json.tools?.length > 0 && !answered;
  const text = answered ? WEATHER : TEXT;
  const finish_reason = wantsTool ? "TOOL_CALL" : "COMPLETE";
  const made = id("cohere-");
  const call = wantsTool && { id: id("call_"), type: "function", function: { name: json.tools[0].function.name, arguments: JSON.stringify({ city: CITY }) } };
  const told = { kind: "chat", model: json.model, id: made, finish: finish_reason, in: 11, out: 9, priced: true };
  if (!json.stream) {
    const message = wantsTool ? { role: "assistant", tool_plan: "I look at the weather.", tool_calls: [call] } : { role: "assistant", content: [{ type: "text", text }] };
    return { told, json: { id: made, finish_reason, message, usage: USAGE } };
  }
  const events = [{ id: made, type: "message-start", delta: { message: { role: "assistant", content: [], tool_plan: "", tool_calls: [], citations: [] } } }];
  if (wantsTool) {
    events.push({ type: "tool-plan-delta", delta: { message: { tool_plan: "I look at the weather." } } });
    events.push({ type: "tool-call-start", index: 0, delta: { message: { tool_calls: { ...call, function: { name: call.function.name, arguments: "" } } } } });
    events.push({ type: "tool-call-delta", index: 0, delta: { message: { tool_calls: { function: { arguments: call.function.arguments } } } } });
    events.push({ type: "tool-call-end", index: 0 });
  } else {
    events.push({ type: "content-start", index: 0, delta: { message: { content: { type: "text", text: "" } } } });
    for (const piece of text === TEXT ? PIECES : [text]) events.push({ type: "content-delta", index: 0, delta: { message: { content: { text: piece } } } });
    events.push({ type: "content-end", index: 0 });
  }
  events.push({ type: "message-end", delta: { finish_reason, usage: USAGE } });
  return { told, events: [...events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)], hold: 2 };
}

function embed({ json }) {
  const texts = json.texts ?? json.inputs ?? [];
  return { told: { kind: "embeddings", model: json.model }, json: { id: id("embed-"), texts: json.texts, embeddings: { float: texts.map(() => vector(8)) }, meta: { api_version: { version: "2" }, billed_units: { input_tokens: 9 } }, response_type: "embeddings_by_type" } };
}

function rerank({ json }) {
  const results = json.documents.map((_, index) => ({ index, relevance_score: 0.9 - index / 10 }));
  return { told: { model: json.model }, json: { id: id("rerank-"), results, meta: { api_version: { version: "2" }, billed_units: { search_units: 1 } } } };
}

export default {
  slug: "cohere",
  credential: bearer,
  refusal,
  operations: [
    { method: "POST", path: /^\/v2\/chat$/, needs: ["model", "messages"], answer: chat },
    { method: "POST", path: /^\/v2\/embed$/, needs: ["model", "input_type"], answer: embed },
    { method: "POST", path: /^\/v2\/rerank$/, needs: ["model", "query", "documents"], answer: rerank },
  ],
};
