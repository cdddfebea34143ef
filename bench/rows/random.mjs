// Random numbers that are the same in every run, and what realistic logs are made of.

let state = 1;

/** Begins the row of numbers anew. */
export function seed(n) {
  state = n | 0;
}

export function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

export const below = (n) => Math.floor(random() * n);
export const one = (list) => list[below(list.length)];
export const chance = (percent) => random() * 100 < percent;
export const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
/** Few numbers that are frequent and many that are rare. */
const skewed = (n) => Math.floor(n ** random());

export function hex(length) {
  let text = "";
  while (text.length < length) text += (0x10000000 + below(0xf0000000)).toString(16);
  return text.slice(0, length);
}

export const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

export function ulid(time) {
  let id = "";
  for (let rest = time, digit = 0; digit < 10; digit += 1, rest = Math.floor(rest / 32)) id = BASE32[rest % 32] + id;
  for (let part = 0; part < 4; part += 1) {
    const bits = below(2 ** 20);
    id += BASE32[bits & 31] + BASE32[(bits >> 5) & 31] + BASE32[(bits >> 10) & 31] + BASE32[bits >> 15];
  }
  return id;
}

/** Picks from a list as often as the weights say. */
export function weighted(entries) {
  const sums = [];
  let total = 0;
  for (const [, weight] of entries) sums.push((total += weight));
  return () => {
    const at = random() * total;
    return entries[sums.findIndex((sum) => at < sum)][0];
  };
}

const MODELS = {
  openai: ["gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "o4-mini", "text-embedding-3-small", "gpt-5"],
  anthropic: ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5", "claude-3-5-haiku-20241022"],
  "google-ai-studio": ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash", "gemini-2.5-flash-lite"],
  groq: ["llama-3.3-70b-versatile", "llama-3.1-8b-instant", "openai/gpt-oss-120b"],
  mistral: ["mistral-large-latest", "mistral-small-latest", "codestral-latest"],
  deepseek: ["deepseek-chat", "deepseek-reasoner"],
  cohere: ["command-r-plus"],
  "perplexity-ai": ["sonar"],
};

const all = Object.entries(MODELS).flatMap(([provider, models]) => models.map((model) => ({ provider, model })));
// Zipf's law in an order that mixes the providers.
const order = all.map((entry, index) => [entry, (index * 7) % all.length]).sort((a, b) => a[1] - b[1]);
export const pickModel = weighted(order.map(([entry], rank) => [entry, 1 / (rank + 1)]));

/** The 20 metadata keys: how often each is sent, and a value of it. */
const METADATA = [
  ["user_id", 10, () => `user-${skewed(200_000)}`],
  ["session_id", 6, () => `s-${hex(12)}`],
  ["trace_id", 5, () => hex(32)],
  ["tenant", 6, () => `tenant-${skewed(2_000)}`],
  ["order_no", 2, () => below(10_000_000)],
  ["team", 8, () => one(["search", "support", "growth", "core", "data", "mobile", "billing", "ads", "trust", "labs"])],
  ["env", 8, () => one(["production", "production", "production", "production", "staging", "dev"])],
  ["feature", 6, () => one(["chat", "summary", "autocomplete", "translate", "classify", "extract", "agent", "search"])],
  ["region", 4, () => one(["eu-west", "eu-central", "us-east", "us-west", "ap-south", "ap-east"])],
  ["version", 4, () => `v2.${below(10)}.0`],
  ["plan", 3, () => one(["free", "pro", "enterprise"])],
  ["locale", 3, () => one(["en", "de", "fr", "es", "it", "pl", "pt", "nl", "ja", "ko"])],
  ["experiment", 2, () => one(["prompt-length", "reranker", "few-shot", "none"])],
  ["variant", 2, () => one(["a", "b"])],
  ["test", 3, () => below(20) === 0],
  ["priority", 2, () => 1 + below(5)],
  ["attempt", 2, () => below(3)],
  ["channel", 2, () => one(["web", "ios", "android", "email"])],
  ["app", 2, () => one(["dashboard", "assistant", "batch", "plugin", "crm"])],
  ["cost_center", 1, () => 1_000 + below(30)],
];

const pickKey = weighted(METADATA.map(([key, weight, value]) => [{ key, value }, weight]));

/** So many entries of metadata. */
export function metadata(wanted) {
  const found = {};
  for (let count = 0; count < wanted; ) {
    const { key, value } = pickKey();
    if (key in found) continue;
    found[key] = value();
    count += 1;
  }
  return found;
}
