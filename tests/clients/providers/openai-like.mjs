// Providers whose chat is OpenAI's, each with its own path. All of them tell the usage of a stream without being asked.
import { PNG, bearer } from "./shared.mjs";
import { chat, refusal } from "./openai.mjs";

function like(slug, base, path, { priced = true, tails = [] } = {}) {
  const answer = (request) => {
    const { told, ...rest } = chat(request, { always: true });
    return { ...rest, told: { ...told, priced: priced && told.priced } };
  };
  return { slug, base, credential: bearer, refusal, operations: [{ method: "POST", path, needs: ["model", "messages"], answer }, ...tails] };
}

export const likeOpenai = [
  // <https://api-docs.deepseek.com>: the version is no part of the path, though it may be there.
  like("deepseek", "", /^\/(v1\/)?chat\/completions$/),
  like("grok", "/v1", /^\/v1\/chat\/completions$/, { tails: [{ method: "POST", path: /^\/v1\/images\/generations$/, needs: ["model", "prompt"], answer: ({ json }) => ({ told: { kind: "image", model: json.model }, json: { data: [{ b64_json: PNG }] } }) }] }),
  like("groq", "/openai/v1", /^\/openai\/v1\/chat\/completions$/),
  like("openrouter", "/api/v1", /^\/api\/v1\/chat\/completions$/, { priced: false }),
  like("perplexity-ai", "", /^\/chat\/completions$/, { priced: false }),
];
