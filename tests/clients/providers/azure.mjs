// Azure OpenAI: <https://learn.microsoft.com/azure/ai-services/openai/reference>. Its paths begin with /openai, and either name a
// deployment and a version or, below v1, neither.
import { bearer } from "./shared.mjs";
import { chat, embeddings, fileOperations, image, response, speech, transcription } from "./openai.mjs";

const version = { query: ["api-version"] };
/** A row names the deployment, whatever model Azure has behind it. */
const of = (model, make) => (request) => {
  const { told, ...answer } = make(request, { model });
  return { ...answer, told: { ...told, model: request.match[1] } };
};
/** Where the body names the deployment, the answer does so as well, and no list has the price of that. */
const unpriced = (make) => (request) => {
  const { told, ...answer } = make(request);
  return { ...answer, told: { ...told, priced: false } };
};
const deployment = (tail) => new RegExp(`^/openai/deployments/([\\w.-]+)/${tail}$`);

export default {
  slug: "azure-openai",
  // An API key, or a token of Entra ID.
  credential: (request) => request.headers["api-key"] ?? bearer(request),
  refusal: (status, message) => ({ status, json: { error: { code: String(status), message } } }),
  check({ path, url, headers }) {
    if (headers["x-api-key"]) return "Azure's key is in api-key";
    const needsVersion = !path.startsWith("/openai/v1/");
    return needsVersion && !/^\d{4}-\d\d-\d\d(-preview)?$/.test(url.searchParams.get("api-version") ?? "") ? "there is no api-version" : undefined;
  },
  operations: [
    { method: "POST", path: deployment("chat/completions"), ...version, needs: ["messages"], answer: of("gpt-4o", chat) },
    { method: "POST", path: deployment("embeddings"), ...version, needs: ["input"], answer: of("text-embedding-3-small", embeddings) },
    { method: "POST", path: deployment("images/generations"), ...version, needs: ["prompt"], answer: of(undefined, image) },
    { method: "POST", path: deployment("audio/speech"), ...version, needs: ["input", "voice"], answer: of(undefined, speech) },
    { method: "POST", path: deployment("audio/transcriptions"), ...version, form: ["file"], answer: of(undefined, transcription) },
    { method: "POST", path: /^\/openai\/(v1\/)?responses$/, ...version, needs: ["model", "input"], answer: unpriced(response) },
    { method: "POST", path: /^\/openai\/v1\/chat\/completions$/, ...version, needs: ["model", "messages"], answer: unpriced(chat) },
    { method: "POST", path: /^\/openai\/v1\/embeddings$/, ...version, needs: ["model", "input"], answer: unpriced(embeddings) },
    { method: "POST", path: /^\/openai\/v1\/images\/generations$/, ...version, needs: ["model", "prompt"], answer: image },
    ...fileOperations("/openai(?:/v1)?", version),
  ],
};
