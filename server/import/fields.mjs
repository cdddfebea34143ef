// What the mappings of all sources share: ids, times, numbers and bodies as `POST …/logs` wants them.
import { createHash } from "node:crypto";

/** Why a row is not taken. */
export class Unusable extends Error {}

/** An id that may stand in a path: the own one, or a digest of it. */
export function idOf(value) {
  const id = value === undefined || value === null ? "" : String(value);
  if (id === "") throw new Unusable("the row has no id");
  if (/^[A-Za-z0-9_:~-][A-Za-z0-9_.:~-]{0,127}$/.test(id) && !["export", "facets", "reprice"].includes(id)) return id;
  return `sha256:${createHash("sha256").update(id).digest("hex")}`;
}

/** A time as RFC 3339. Databases write a blank in the middle, and leave out the zone where it is UTC. */
export function timeOf(value) {
  if (value === undefined || value === null || value === "") throw new Unusable("the row has no time");
  if (typeof value === "number" || /^\d{9,17}(\.\d+)?$/.test(value)) {
    const number = Number(value);
    // Seconds, milliseconds or microseconds: each is of this century in one unit only.
    return iso(number < 1e11 ? number * 1_000 : number < 1e14 ? number : number / 1_000, value);
  }
  let text = String(value).trim().replace(/^(\d{4}-\d\d-\d\d)[ T]/, "$1T").replace(/ ?UTC$/, "Z").replace(/ ?([+-]\d\d):?(\d\d)?$/, (_, hours, minutes = "00") => `${hours}:${minutes}`);
  if (/T\d\d:\d\d(:\d\d(\.\d+)?)?$/.test(text)) text += "Z";
  return iso(Date.parse(text), value);
}

function iso(milliseconds, value) {
  if (!Number.isFinite(milliseconds) || milliseconds < 0 || milliseconds > 4e12) throw new Unusable(`the time "${String(value).slice(0, 40)}" is none that can be read`);
  return new Date(milliseconds).toISOString();
}

/** Milliseconds between two times; undefined where one of them is missing or they are in the wrong order. */
export function between(from, to) {
  if (!from || !to) return undefined;
  try {
    const span = Date.parse(timeOf(to)) - Date.parse(timeOf(from));
    return span >= 0 ? span : undefined;
  } catch {
    return undefined;
  }
}

/** The first number among some values; CSV has texts. */
export function number(...values) {
  for (const value of values) {
    if (value === undefined || value === null || value === "" || typeof value === "boolean" || typeof value === "object") continue;
    const found = Number(value);
    if (Number.isFinite(found) && found >= 0) return found;
  }
  return undefined;
}

export const whole = (...values) => {
  const found = number(...values);
  return found === undefined ? undefined : Math.round(found);
};

/** The first text among some values. */
export const text = (...values) => values.find((value) => typeof value === "string" && value !== "" && value !== "null");

/** A value that CSV has as the text of JSON. */
export function json(value) {
  if (typeof value !== "string") return value ?? undefined;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

export function object(value) {
  const found = json(value);
  return found && typeof found === "object" && !Array.isArray(found) ? found : {};
}

/** A body: JSON as JSON, anything else as it is. */
export function body(value) {
  if (value === undefined || value === null || value === "" || value === "null") return undefined;
  const found = typeof value === "string" && /^\s*[[{]/.test(value) ? json(value) : value;
  return found && typeof found === "object" ? (Object.keys(found).length > 0 ? found : undefined) : String(value);
}

/** Metadata: strings, numbers and booleans, deeper values as JSON; what is empty is none. */
export function metadata(...objects) {
  const found = {};
  for (const [key, value] of objects.flatMap((one) => Object.entries(one ?? {}))) {
    if (value === null || value === undefined || value === "" || key === "" || key.startsWith("cf.")) continue;
    const flat = typeof value === "object" ? JSON.stringify(value) : value;
    if (["string", "number", "boolean"].includes(typeof flat)) found[key.slice(0, 256)] = typeof flat === "string" ? flat.slice(0, 1_000) : flat;
  }
  const entries = Object.entries(found).slice(0, 64);
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}

/** Names of models, and whose they are. */
const OF_MODEL = [
  [/^(gpt|o[1-9]|chatgpt|text-embedding-(3|ada)|davinci|whisper|tts-|dall-e)/, "openai"],
  [/^claude/, "anthropic"],
  [/^(gemini|gemma|text-embedding-00|imagen|veo)/, "google-ai-studio"],
  [/^(mistral|mixtral|codestral|ministral|pixtral|magistral)/, "mistral"],
  [/^(command|embed-|rerank)/, "cohere"],
  [/^deepseek/, "deepseek"],
  [/^grok/, "grok"],
  [/^sonar/, "perplexity-ai"],
  [/^@cf\//, "workers-ai"],
];

/** How others call the providers. */
const NAMES = {
  azure: "azure-openai", azure_openai: "azure-openai", bedrock: "aws-bedrock", bedrock_converse: "aws-bedrock", amazon_bedrock: "aws-bedrock", vertex_ai: "google-vertex-ai", google_vertexai: "google-vertex-ai",
  gemini: "google-ai-studio", google: "google-ai-studio", google_genai: "google-ai-studio", xai: "grok", perplexity: "perplexity-ai", mistralai: "mistral", cohere_chat: "cohere", cloudflare: "workers-ai", text_completion_openai: "openai",
};

/** The provider as Tollgate calls it, by what a row says or by the model's name; `usual` where neither tells. */
export function providerOf(said, model, usual) {
  const name = text(said)?.toLowerCase().trim().replace(/[^a-z0-9._-]+/g, "-");
  if (name && name !== "custom" && name !== "unknown") return (NAMES[name.replaceAll("-", "_")] ?? name).slice(0, 64);
  const bare = (text(model) ?? "").toLowerCase();
  const [prefix] = bare.includes("/") && !bare.startsWith("@") ? bare.split("/") : [""];
  const found = OF_MODEL.find(([pattern]) => pattern.test(bare))?.[1] ?? (prefix && (NAMES[prefix.replaceAll("-", "_")] ?? (/^[a-z0-9._-]+$/.test(prefix) ? prefix : undefined)));
  if (found) return found;
  if (usual) return usual;
  throw new Unusable("neither the row nor its model's name says which provider it is of; --provider NAME says it for such rows");
}

/** A log without the members that are not known. */
export const log = (members) => Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && value !== null));

/** Two texts that are either success or failure. */
export const failed = (status, error) => (status !== undefined && status >= 400) || error !== undefined;
