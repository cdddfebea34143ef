// Workers AI's REST API: <https://developers.cloudflare.com/workers-ai/get-started/rest-api>.
import { CITY, PIECES, PNG, TEXT, WEATHER, bearer, data, vector } from "./shared.mjs";
import { chat as openaiChat, embeddings } from "./openai.mjs";

const refusal = (status, message) => ({ status, json: { result: null, success: false, errors: [{ code: status === 429 ? 3036 : 5000 + status, message }], messages: [] } });
const USAGE = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };

function run({ json, match }) {
  const model = match[1];
  const result = (value) => ({ result: value, success: true, errors: [], messages: [] });
  if (/bge|embed/.test(model)) return { told: { kind: "embeddings", model }, json: result({ shape: [1, 8], data: [json.text].flat().map(() => vector(8)), pooling: "mean" }) };
  if (/flux|diffusion/.test(model)) return { told: { model }, json: result({ image: PNG }) };
  const answered = json.messages?.some(({ role }) => role === "tool");
  const tool = !answered && json.tools?.[0];
  const told = { model, in: 11, out: 7 };
  if (!json.stream) {
    const calls = tool && { tool_calls: [{ name: (tool.function ?? tool).name, arguments: { city: CITY } }] };
    return { told, json: result({ response: tool ? null : answered ? WEATHER : TEXT, ...calls, usage: USAGE }) };
  }
  const call = tool && { tool_calls: [{ name: (tool.function ?? tool).name, arguments: { city: CITY } }] };
  const pieces = call ? [data({ response: "", ...call, p: "abcd" })] : (answered ? [WEATHER] : PIECES).map((response) => data({ response, p: "abcd" }));
  return { told, events: [...pieces, data({ response: "", usage: USAGE }), data("[DONE]")], hold: 0 };
}

export default {
  slug: "workers-ai",
  base: "/client/v4/accounts/acct/ai",
  credential: bearer,
  refusal,
  operations: [
    { method: "POST", path: /^\/client\/v4\/accounts\/acct\/ai\/run\/(@(?:cf|hf)\/[\w./-]+)$/, needs: [], answer: run },
    { method: "POST", path: /^\/client\/v4\/accounts\/acct\/ai\/v1\/chat\/completions$/, needs: ["model", "messages"], answer: (request) => openaiChat(request, { always: true }) },
    { method: "POST", path: /^\/client\/v4\/accounts\/acct\/ai\/v1\/embeddings$/, needs: ["model", "input"], answer: embeddings },
  ],
};
