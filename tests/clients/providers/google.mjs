// Google AI Studio (Gemini): <https://ai.google.dev/api>.
import { CITY, PIECES, PNG, TEXT, WEATHER, data, files, id, vector } from "./shared.mjs";

const STATUS = { 400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL" };
export const refusal = (status, message) => ({ status, json: { error: { code: status, message, status: STATUS[status] ?? "UNKNOWN" } } });
const USAGE = { promptTokenCount: 8, candidatesTokenCount: 13, totalTokenCount: 21, promptTokensDetails: [{ modality: "TEXT", tokenCount: 8 }] };

export function generate({ json, match }) {
  const [, model, verb] = match;
  const answered = json.contents.some(({ parts }) => parts?.some(({ functionResponse, function_response }) => functionResponse ?? function_response));
  const declared = json.tools?.flatMap(({ functionDeclarations, function_declarations }) => functionDeclarations ?? function_declarations ?? []) ?? [];
  const call = !answered && declared[0] && { functionCall: { name: declared[0].name, args: { city: CITY } } };
  const responseId = id("gem");
  const whole = (parts, last) => ({ candidates: [{ content: { parts, role: "model" }, index: 0, ...(last && { finishReason: "STOP" }) }], usageMetadata: last ? USAGE : { promptTokenCount: 8, totalTokenCount: 8 }, modelVersion: model, responseId });
  if (model.endsWith("-image")) {
    return { told: { model, id: responseId, finish: "STOP", in: 8, out: 13 }, json: whole([{ inlineData: { mimeType: "image/png", data: PNG } }], true) };
  }
  const told = { kind: "chat", model, id: responseId, finish: "STOP", in: 8, out: 13, priced: true };
  if (verb === "generateContent") return { told, json: whole([call || { text: answered ? WEATHER : TEXT }], true) };
  const pieces = call ? [call] : (answered ? [WEATHER] : PIECES).map((text) => ({ text }));
  return { told, events: pieces.map((piece, index) => data(whole([piece], index === pieces.length - 1)).replaceAll("\n", "\r\n")), hold: 0 };
}

function embedOne({ json, match: [, model] }) {
  return { told: { kind: "embeddings", model }, json: { embedding: { values: vector(json.outputDimensionality ?? 8) } } };
}

function embedMany({ json, match: [, model] }) {
  return { told: { kind: "embeddings", model }, json: { embeddings: json.requests.map(() => ({ values: vector(8) })) } };
}

const shown = (made, origin) => ({ name: made.name, displayName: made.displayName, mimeType: made.type, sizeBytes: String(made.size), createTime: "2026-11-27T12:00:00Z", updateTime: "2026-11-27T12:00:00Z", expirationTime: "2026-11-29T12:00:00Z", sha256Hash: "", uri: `${origin}/v1beta/${made.name}`, state: "ACTIVE", source: "UPLOADED" });

/** Begins an upload: the bytes are sent to another address, by any client that knows it. */
function begin({ json, headers, number, origin }) {
  const upload = id("upload");
  files.set(upload, { number, name: `files/${id("f")}`, displayName: json.file?.displayName ?? json.file?.display_name, type: headers["x-goog-upload-header-content-type"], size: Number(headers["x-goog-upload-header-content-length"]) });
  const url = `${origin}/upload/v1beta/files?upload_id=${upload}&upload_protocol=resumable`;
  return { told: {}, headers: { "x-goog-upload-url": url, "x-goog-upload-status": "active", "x-goog-upload-chunk-granularity": "262144" }, json: {} };
}

function take({ url, headers, body, origin }) {
  const made = files.get(url.searchParams.get("upload_id"));
  const final = headers["x-goog-upload-command"] === "upload, finalize";
  if (!final || Number(headers["x-goog-upload-offset"]) !== 0 || body.length !== made.size) return { told: {}, ...refusal(400, "not the whole file") };
  files.set(made.name, made);
  return { told: { upload: true }, headers: { "x-goog-upload-status": "final" }, json: { file: shown(made, origin) } };
}

function interaction({ json }) {
  const made = id("v1_");
  const usage = { total_input_tokens: 8, total_output_tokens: 13, total_tokens: 21, total_cached_tokens: 0, total_reasoning_tokens: 0 };
  return { told: { model: json.model, in: 8, out: 13 }, json: { id: made, object: "interaction", model: json.model, role: "model", status: "completed", created: "2026-11-27T12:00:00Z", updated: "2026-11-27T12:00:00Z", outputs: [{ type: "text", text: TEXT }], steps: [{ type: "model_output", content: [{ type: "text", text: TEXT }] }], usage } };
}

const model = (verbs) => new RegExp(`^/v1(?:beta)?/models/([\\w.-]+):(${verbs})$`);
const key = { query: ["key"] };
const isUpload = ({ url }) => url.searchParams.has("upload_id");
export default {
  slug: "google-ai-studio",
  credential: ({ headers, url }) => headers["x-goog-api-key"] ?? url.searchParams.get("key"),
  /** The bytes of an upload come without a key: the address is enough. */
  case: (request) => isUpload(request) && { number: files.get(request.url.searchParams.get("upload_id"))?.number },
  refusal,
  check({ headers, url, path }) {
    if (headers.authorization || headers["x-api-key"]) return "the key is in x-goog-api-key";
    if (path.startsWith("/upload/") && !url.searchParams.has("upload_id") && headers["x-goog-upload-command"] !== "start") return "an upload begins with the command start";
    return undefined;
  },
  operations: [
    { method: "POST", path: model("generateContent"), ...key, needs: ["contents"], answer: generate },
    { method: "POST", path: model("streamGenerateContent"), query: ["key", "alt"], needs: ["contents"], answer: generate },
    { method: "POST", path: model("embedContent"), ...key, needs: ["content"], answer: embedOne },
    { method: "POST", path: model("batchEmbedContents"), ...key, needs: ["requests"], answer: embedMany },
    { method: "POST", path: model("countTokens"), ...key, needs: ["contents"], answer: ({ match }) => ({ told: { model: match[1] }, json: { totalTokens: 8 } }) },
    { method: "POST", path: model("predict"), ...key, needs: ["instances"], answer: ({ match }) => ({ told: { model: match[1] }, json: { predictions: [{ mimeType: "image/png", bytesBase64Encoded: PNG }] } }) },
    { method: "POST", path: /^\/v1(?:beta)?\/interactions$/, ...key, needs: ["model", "input"], answer: interaction },
    { method: "POST", path: /^\/upload\/v1(?:beta)?\/files$/, query: ["key", "upload_id", "upload_protocol"], bytes: true, answer: (request) => (isUpload(request) ? take(request) : begin({ ...request, json: JSON.parse(request.body.toString() || "{}") })) },
    { method: "GET", path: /^\/v1(?:beta)?\/(files\/\w+)$/, ...key, answer: ({ match, origin }) => ({ told: {}, json: shown(files.get(match[1]), origin) }) },
    { method: "DELETE", path: /^\/v1(?:beta)?\/(files\/\w+)$/, ...key, bytes: true, answer: () => ({ told: {}, json: {} }) },
  ],
};
