// Amazon Bedrock's runtime: <https://docs.aws.amazon.com/bedrock/latest/APIReference>. Signatures are computed again, for the host
// that a request came to, as AWS does.
import { createHash, createHmac } from "node:crypto";
import { crc32 } from "node:zlib";
import { CITY, PIECES, PNG, TEXT, WEATHER, bearer, vector } from "./shared.mjs";
import { message, messageEvents } from "./anthropic.mjs";

const NAMES = { 400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException", 404: "ResourceNotFoundException", 405: "ValidationException", 429: "ThrottlingException", 500: "InternalServerException" };
const refusal = (status, message) => ({ status: status === 401 ? 403 : status, headers: { "x-amzn-errortype": NAMES[status] ?? "InternalServerException" }, json: { message } });

const SIGNED = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/(bedrock)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;
/** The secret that belongs to an access key. */
export const secretOf = (accessKeyId) => `secret+of/${accessKeyId}/0123456789abcdef`;

function wrongSignature({ method, url, headers, body }) {
  const [, accessKeyId, day, region, service, signed, signature] = SIGNED.exec(headers.authorization);
  const sha = (text) => createHash("sha256").update(text).digest("hex");
  const names = signed.split(";");
  if (!names.includes("host")) return "the host is not signed";
  const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  const path = url.pathname.split("/").map(encode).join("/");
  const canonical = [method, path, "", ...names.map((name) => `${name}:${headers[name]?.trim()}`), "", signed, sha(body)].join("\n");
  const text = ["AWS4-HMAC-SHA256", headers["x-amz-date"], `${day}/${region}/${service}/aws4_request`, sha(canonical)].join("\n");
  const key = [day, region, service, "aws4_request"].reduce((key, part) => createHmac("sha256", key).update(part).digest(), `AWS4${secretOf(accessKeyId)}`);
  return createHmac("sha256", key).update(text).digest("hex") === signature ? undefined : "The request signature we calculated does not match the signature you provided.";
}

/** A frame of an event stream: lengths, checksum, headers, payload, checksum. */
function frame(type, payload) {
  const header = (name, value) => Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from([7, value.length >> 8, value.length & 255]), Buffer.from(value)]);
  const headers = Buffer.concat([header(":event-type", type), header(":content-type", "application/json"), header(":message-type", "event")]);
  const body = Buffer.from(JSON.stringify(payload));
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(16 + headers.length + body.length, 0);
  prelude.writeUInt32BE(headers.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const most = Buffer.concat([prelude, headers, body]);
  const end = Buffer.alloc(4);
  end.writeUInt32BE(crc32(most), 0);
  return Buffer.concat([most, end]);
}

const modelOf = ({ match }) => decodeURIComponent(match[1]);

function converse(request) {
  const { json, match } = request;
  const answered = json.messages.some(({ content }) => content.some(({ toolResult }) => toolResult));
  const tool = !answered && json.toolConfig?.tools[0]?.toolSpec;
  const toolUseId = "tooluse_standin";
  const stopReason = tool ? "tool_use" : "end_turn";
  const usage = { inputTokens: 20, outputTokens: 15, totalTokens: 35 };
  const told = { kind: "chat", model: modelOf(request), finish: stopReason, in: 20, out: 15, priced: true };
  if (match[2] === "converse") {
    const content = tool ? [{ toolUse: { toolUseId, name: tool.name, input: { city: CITY } } }] : [{ text: answered ? WEATHER : TEXT }];
    return { told, json: { output: { message: { role: "assistant", content } }, stopReason, usage, metrics: { latencyMs: 5 } } };
  }
  const events = [frame("messageStart", { role: "assistant" })];
  if (tool) {
    events.push(frame("contentBlockStart", { contentBlockIndex: 0, start: { toolUse: { toolUseId, name: tool.name } } }));
    events.push(frame("contentBlockDelta", { contentBlockIndex: 0, delta: { toolUse: { input: JSON.stringify({ city: CITY }) } } }));
  } else {
    for (const text of answered ? [WEATHER] : PIECES) events.push(frame("contentBlockDelta", { contentBlockIndex: 0, delta: { text } }));
  }
  events.push(frame("contentBlockStop", { contentBlockIndex: 0 }), frame("messageStop", { stopReason }), frame("metadata", { usage, metrics: { latencyMs: 5 } }));
  return { told, type: "application/vnd.amazon.eventstream", events, hold: 1 };
}

/** The model's own format: Anthropic's or Titan's. */
function invoke(request) {
  const { json, match } = request;
  const model = modelOf(request);
  if (model.startsWith("amazon.titan-embed")) {
    return { told: { kind: "embeddings", model, in: 9 }, headers: { "x-amzn-bedrock-input-token-count": "9" }, json: { embedding: vector(8), inputTextTokenCount: 9 } };
  }
  if (/titan-image|nova-canvas/.test(model)) return { told: { model }, json: { images: [PNG], error: null } };
  if (json.anthropic_version !== "bedrock-2023-05-31") return { told: {}, ...refusal(400, "anthropic_version is required") };
  const whole = message(json, model.replace(/^.*anthropic\./, "").replace(/-v\d.*$/, ""));
  const told = { kind: "chat", model, id: whole.id, finish: whole.stop_reason, in: 20, out: 15, priced: true };
  if (match[2] === "invoke") return { told, json: whole };
  return { told, type: "application/vnd.amazon.eventstream", events: messageEvents(whole).map((event) => frame("chunk", { bytes: Buffer.from(JSON.stringify(event)).toString("base64"), p: "abc" })), hold: 3 };
}

export default {
  slug: "aws-bedrock",
  credential: (request) => bearer(request) ?? SIGNED.exec(request.headers.authorization ?? "")?.[1],
  refusal,
  check: (request) => (bearer(request) ? undefined : wrongSignature(request)),
  operations: [
    { method: "POST", path: /^\/model\/([^/]+)\/(converse|converse-stream)$/, needs: ["messages"], answer: converse },
    { method: "POST", path: /^\/model\/([^/]+)\/(invoke|invoke-with-response-stream)$/, needs: [], untyped: true, answer: invoke },
  ],
};
