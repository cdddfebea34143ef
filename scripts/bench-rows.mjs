// `npm run bench:rows [-- --rows N]`: fills a database with N logs (1,000,000 unless told otherwise), asks the built Worker for
// them over HTTP as a client would, and prints what each query took as the table that is in README.md.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { build, nodeProgram, wranglerEnv } from "./setup.mjs";
import { Failure, main, root, say } from "./toolchain.mjs";

const DAY = 86_400_000;
const DAYS = 30;
const REPEATS = 5;

/** Wraps the Worker so that `/__read` says how many rows D1 has read since it was last asked. */
const COUNTING = `
import Worker from "./index.js";
export * from "./index.js";
let read = 0;
const noted = (result) => { read += result.meta?.rows_read ?? 0; return result; };
const statement = (made) => ({ made, bind: (...values) => statement(made.bind(...values)), all: async () => noted(await made.all()) });
const counting = (db) => ({ prepare: (sql) => statement(db.prepare(sql)), batch: async (all) => (await db.batch(all.map(({ made }) => made))).map(noted) });
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, DB: counting(env.DB) }); }
  async fetch(request) {
    if (new URL(request.url).pathname !== "/__read") return super.fetch(request);
    const rows = read;
    read = 0;
    return Response.json(rows);
  }
}`;

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

/** Always the same numbers, so that two runs measure the same logs. */
let state = 1;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

const below = (n) => Math.floor(random() * n);
const one = (list) => list[below(list.length)];
/** Few numbers that are frequent and many that are rare. */
const skewed = (n) => Math.floor(n ** random());
const hex = (length) => Array.from({ length }, () => below(16).toString(16)).join("");
const chance = (percent) => random() * 100 < percent;
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

function ulid(time) {
  let id = "";
  for (let rest = time, digit = 0; digit < 10; digit += 1, rest = Math.floor(rest / 32)) id = BASE32[rest % 32] + id;
  for (let digit = 0; digit < 16; digit += 1) id += BASE32[below(32)];
  return id;
}

/** Picks from a list as often as the weights say. */
function weighted(entries) {
  const sums = [];
  let total = 0;
  for (const [, weight] of entries) sums.push((total += weight));
  return () => {
    const at = random() * total;
    return entries[sums.findIndex((sum) => at < sum)][0];
  };
}

function inserter(db, table, columns) {
  const statement = db.prepare(`INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`);
  return (row) => statement.run(...columns.map((column) => row[column] ?? null));
}

const LOG = {
  request_type: "native", step: 0, custom_cost: 0, authentication: 1, user_agent: "OpenAI/JS 7.55.0",
  request_content_type: "application/json", response_content_type: "application/json",
};
const LOG_FIELDS = [
  "id", "gateway", "created_at", "provider", "model", "model_type", "path", "request_type", "status_code", "success", "cached", "step",
  "error", "duration", "first_byte", "tokens_in", "tokens_out", "total_tokens", "cost", "custom_cost", "finish_reason", "event_id",
  "response_id", "user_agent", "authentication", "request_content_type", "response_content_type", "request_size", "response_size",
  "metadata", "feedback", "score",
];

/** Fills the database file while nobody else has it open. */
async function fill(file, gateway, rows) {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA temp_store = MEMORY");
  // Indexes are made faster when all rows are there.
  const indexes = db.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND (tbl_name LIKE 'log%')").all();
  for (const { name } of indexes) db.exec(`DROP INDEX ${name}`);
  const insert = {
    log: inserter(db, "logs", LOG_FIELDS),
    metadata: inserter(db, "log_metadata", ["log_id", "key", "value", "gateway", "created_at"]),
    body: inserter(db, "log_bodies", ["log_id", "seq", "request", "response"]),
    feedback: inserter(db, "log_feedback", ["log_id", "key", "json", "value", "gateway", "created_at", "given_at", "given_by"]),
    history: inserter(db, "feedback_history", ["log_id", "id", "given_at", "given_by", "kind", "data"]),
  };
  const all = Object.entries(MODELS).flatMap(([provider, models]) => models.map((model) => ({ provider, model })));
  // Zipf's law in an order that mixes the providers.
  const order = all.map((entry, index) => [entry, (index * 7) % all.length]).sort((a, b) => a[1] - b[1]);
  const pickModel = weighted(order.map(([entry], rank) => [entry, 1 / (rank + 1)]));
  const pickKey = weighted(METADATA.map(([key, weight, value]) => [{ key, value }, weight]));
  const end = Date.now() - 60_000;
  const start = end - DAYS * DAY;
  let event = null;
  db.exec("BEGIN");
  for (let n = 0; n < rows; n += 1) {
    const created_at = Math.floor(start + ((n + random()) / rows) * DAYS * DAY);
    const id = ulid(created_at);
    const { provider, model } = pickModel();
    const failed = chance(2);
    const cached = !failed && chance(4);
    const duration = cached ? 5 + below(20) : Math.round(Math.exp(7 + 0.8 * normal()));
    const tokens_in = failed ? null : Math.round(Math.exp(6 + normal()));
    const tokens_out = failed ? null : Math.round(Math.exp(5 + normal()));
    // An agent's requests share the event id of the first.
    if (event === null || chance(90)) event = id;
    const metadata = {};
    for (let wanted = 3 + below(3), tries = 0; Object.keys(metadata).length < wanted && tries < 30; tries += 1) {
      const { key, value } = pickKey();
      metadata[key] ??= value();
    }
    const body = chance(20);
    const prompt = `Question ${n}: what is ${below(1_000)} times ${below(1_000)}?`.repeat(1 + below(5));
    insert.log({
      ...LOG, id, gateway, created_at, provider, model, duration, tokens_in, tokens_out,
      model_type: model.includes("embedding") ? "embedding" : "llm",
      path: "chat/completions",
      status_code: failed ? one([400, 429, 429, 500, 503]) : 200,
      success: failed ? 0 : 1,
      cached: cached ? 1 : 0,
      error: failed ? one(["provider: rate limit reached", "provider: answered 503", "upstream: connection reset"]) : null,
      first_byte: failed ? null : Math.round(duration * (0.1 + 0.3 * random())),
      total_tokens: failed ? null : tokens_in + tokens_out,
      cost: failed || cached ? null : (tokens_in * 0.4 + tokens_out * 1.6) / 1e6,
      finish_reason: failed ? null : one(["stop", "stop", "stop", "length", "tool_calls"]),
      event_id: event,
      response_id: failed ? null : `chatcmpl-${hex(20)}`,
      request_size: prompt.length + 60,
      response_size: 600,
      metadata: JSON.stringify(metadata),
      feedback: chance(5) ? (chance(75) ? 1 : -1) : null,
      score: chance(2) ? below(101) : null,
    });
    for (const key of Object.keys(metadata).sort()) {
      const value = metadata[key];
      insert.metadata({ log_id: id, key, value: typeof value === "boolean" ? String(value) : value, gateway, created_at });
    }
    if (body) {
      const request = JSON.stringify({ model, messages: [{ role: "user", content: prompt }] });
      const response = JSON.stringify({ id: `chatcmpl-${n}`, model, choices: [{ index: 0, message: { role: "assistant", content: `It is ${n}.` }, finish_reason: "stop" }] });
      insert.body({ log_id: id, seq: 0, request, response });
    }
    if (chance(3)) {
      const said = { rating: 1 + below(5), ...(chance(30) && { comment: one(["great", "too long", "wrong", "slow"]) }) };
      for (const [key, value] of Object.entries(said)) {
        insert.feedback({ log_id: id, key, json: JSON.stringify(value), value, gateway, created_at, given_at: created_at + 60_000, given_by: "admin" });
      }
      insert.history({ log_id: id, id: ulid(created_at + 60_000), given_at: created_at + 60_000, given_by: "admin", kind: "merge", data: JSON.stringify(said) });
    }
  }
  db.exec("COMMIT");
  // To be counted by retention, as after an upgrade.
  db.prepare("INSERT INTO log_storage (gateway, logs, counted_at) VALUES (?, ?, 0)").run(gateway, rows);
  for (const { sql } of indexes) db.exec(sql);
  db.exec("PRAGMA journal_mode = WAL");
  const get = (sql) => db.prepare(sql).get();
  const middle = get(`SELECT id, created_at AS at FROM logs WHERE created_at > ${start + 15 * DAY} ORDER BY created_at, id LIMIT 1`);
  const known = {
    start, end, middle,
    models: db.prepare("SELECT model, provider, count(*) AS n FROM logs GROUP BY model ORDER BY n DESC").all(),
    providers: db.prepare("SELECT provider, count(*) AS n FROM logs GROUP BY provider ORDER BY n DESC").all(),
    user: get("SELECT value FROM log_metadata WHERE key = 'user_id' GROUP BY value HAVING count(*) < 60 ORDER BY count(*) DESC LIMIT 1")?.value,
    order: get("SELECT value FROM log_metadata WHERE key = 'order_no' LIMIT 1")?.value,
    events: db.prepare("SELECT event_id AS id FROM logs WHERE event_id <> id LIMIT 10").all().map(({ id }) => id),
    responses: db.prepare("SELECT response_id AS id FROM logs WHERE response_id IS NOT NULL ORDER BY created_at LIMIT 10").all().map(({ id }) => id),
  };
  db.close();
  return known;
}

function databaseFile(folder) {
  const files = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && entry.name.endsWith(".sqlite"));
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).filter((path) => !path.endsWith("metadata.sqlite"));
  if (paths.length !== 1) throw new Failure(`expected one database in ${folder}, found ${paths.join(", ") || "none"}`);
  return paths[0];
}

const median = (times) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];
const rounded = (time) => (time < 100 ? time.toFixed(1) : time.toFixed(0));
const number = (n) => n.toLocaleString("en-US");

/** The measurements, and the table they become. */
class Bench {
  lines = [];

  constructor(gateway, token) {
    this.gateway = gateway;
    this.token = token;
    this.logs = "/gateways/bench/logs";
  }

  async read() {
    return (await fetch(`${this.gateway.url}/__read`)).json();
  }

  /** Times what `ask` does with the n-th call, `repeats` times after the first. */
  async time(name, ask, repeats = REPEATS) {
    await this.read();
    let begun = performance.now();
    await ask(0);
    const first = performance.now() - begun;
    const read = await this.read();
    const times = [];
    for (let n = 1; n <= repeats; n += 1) {
      begun = performance.now();
      await ask(n);
      times.push(performance.now() - begun);
    }
    const again = times.length > 0 ? rounded(median(times)) : "";
    const line = `| ${name} | ${again} | ${rounded(first)} | ${number(read)} |`;
    this.lines.push(line);
    console.log(line);
  }

  async ask(path, init, expected = 200) {
    const feedback = path.startsWith("/feedback/");
    const answer = feedback ? await fetch(this.gateway.url + path, { ...init, headers: { authorization: `Bearer ${this.token}` } }) : await this.gateway.api(path, init);
    const text = await answer.text();
    if (answer.status !== expected) throw new Failure(`${path} answered ${answer.status}: ${text.slice(0, 500)}`);
    return text;
  }

  async list(name, query, least = 1) {
    await this.time(name, async () => {
      const { result } = JSON.parse(await this.ask(`${this.logs}?per_page=50&${query}`));
      if (result.length < least) throw new Failure(`${name}: ${result.length} logs, expected at least ${least}`);
    });
  }

  async evaluation(plan) {
    const dataset = JSON.parse(await this.ask("/gateways/bench/datasets", { method: "POST", body: JSON.stringify({ name: "all", enable: true, filters: [] }) }));
    const body = { name: "all", dataset_ids: [dataset.result.id], ...plan };
    const { result } = JSON.parse(await this.ask("/gateways/bench/evaluations", { method: "POST", body: JSON.stringify(body) }));
    for (;;) {
      const { result: now } = JSON.parse(await this.ask(`/gateways/bench/evaluations/${result.id}`));
      if (now.processed) return now;
      await sleep(100);
    }
  }
}

/** The clock's runs until a tenth of the logs, the oldest, is gone. */
async function retention(gateway) {
  const left = async () => (await gateway.rows("SELECT count(*) AS n FROM logs"))[0].n;
  const before = await left();
  const limit = Math.max(10_000, Math.floor(before * 0.9));
  const body = JSON.stringify({ log_management: limit, log_management_strategy: "DELETE_OLDEST" });
  const changed = await gateway.api("/gateways/bench", { method: "PUT", body });
  if (changed.status !== 200) throw new Failure(`the gateway cannot be changed: ${await changed.text()}`);
  const worker = await gateway.miniflare.getWorker("tollgate");
  let spent = 0;
  let now = before;
  while (now > limit) {
    const begun = performance.now();
    await worker.scheduled({ cron: "* * * * *" });
    spent += performance.now() - begun;
    now = await left();
  }
  const removed = before - now;
  say(`retention removed ${number(removed)} of ${number(before)} logs in ${(spent / 1000).toFixed(1)} s: ${number(Math.round(removed / (spent / 1000)))} a second`);
}

const filters = (...list) => `filters=${encodeURIComponent(JSON.stringify(list.map(([key, operator, ...value]) => ({ key, operator, value }))))}`;
const pair = (key, value) => [`metadata.${key}`, "eq", value];

async function measure(bench, known, rows) {
  const { models, providers, user, order, middle, events, responses, start } = known;
  const rare = (list) => list.at(-1);
  const time = (at) => new Date(at).toISOString();
  const day = `start_date=${time(start + 10 * DAY)}&end_date=${time(start + 11 * DAY)}`;
  await bench.list("newest", "");
  await bench.list("oldest", "order_by_direction=asc");
  await bench.list("one day", day);
  await bench.list("behind a cursor in the middle", `cursor=${middle.id}`);
  await bench.list(`provider (${number(providers[0].n)} logs)`, `provider=${providers[0].provider}`);
  await bench.list(`provider (${number(rare(providers).n)} logs)`, `provider=${rare(providers).provider}`);
  await bench.list(`model (${number(models[0].n)} logs)`, `model=${models[0].model}`);
  await bench.list(`model (${number(rare(models).n)} logs)`, `model=${encodeURIComponent(rare(models).model)}`);
  await bench.list("one of two models, both rare", filters(["model", "eq", models.at(-1).model, models.at(-2).model]));
  await bench.list("`success=true`", "success=true");
  await bench.list("`success=false` (2 %)", "success=false");
  await bench.list("`cached=true` (4 %)", "cached=true");
  await bench.list("thumbs-down (1 %)", "feedback=-1");
  await bench.list("thumbs-up on one model", `feedback=1&model=${models[0].model}`);
  await bench.list("score over 90 (0.2 %)", filters(["score", "gt", 90]));
  await bench.list("`metadata.env` is production", filters(pair("env", "production")));
  await bench.list("`metadata.user_id`, one user", filters(pair("user_id", user)));
  await bench.list("`metadata.order_no`, a number", filters(pair("order_no", order)));
  await bench.list("`metadata.test` is true", filters(pair("test", "true")));
  await bench.list("`feedback.rating` is 1", filters(["feedback.rating", "eq", 1]));
  await bench.list("a metadata pair on one day", `${filters(pair("team", "search"))}&${day}`);
  await bench.list("a metadata pair, model and success", filters(pair("team", "search"), ["model", "eq", models[3].model], ["success", "eq", true]));
  await bench.list("two metadata pairs", filters(pair("team", "search"), pair("env", "staging")));
  await bench.list("two metadata pairs, the second one rare", filters(pair("env", "production"), pair("user_id", user)), 0);
  await bench.list("`event_id`", filters(["event_id", "eq", events[0]]));
  await bench.list("`response_id`", filters(["response_id", "eq", responses[0]]));
  await bench.list("`duration` over 10 s (0.3 %)", filters(["duration", "gt", 10_000]));
  await bench.list("`model` contains a text that none has", filters(["model", "contains", "no-such-model"]), 0);
  await bench.list("`search=ios`", "search=ios");
  await bench.list("`order_by=model`", "order_by=model");
  const deep = Math.floor(rows / 100);
  await bench.list(`\`page=${deep}\``, `page=${deep}`);
  await bench.list("`meta_info`, all logs", "meta_info=true");
  await bench.list("`meta_info`, one day", `meta_info=true&${day}`);
  await bench.list(`\`meta_info\`, one provider (${number(providers[2].n)} logs)`, `meta_info=true&provider=${providers[2].provider}`);
  await bench.time("export of 10,000 logs", () => bench.ask(`${bench.logs}/export?limit=10000`));
  await bench.time("export of 10,000 logs of one metadata pair", () => bench.ask(`${bench.logs}/export?limit=10000&${filters(pair("team", "search"))}`));
  await bench.time("feedback by event id", (n) => bench.ask(`/feedback/${events[n]}`, { method: "POST", body: JSON.stringify({ data: { rating: n } }) }));
  await bench.time("feedback by the provider's id", (n) => bench.ask(`/feedback/${responses[n]}`, { method: "POST", body: JSON.stringify({ data: { rating: n } }) }));
  const figures = [
    "cost", "speed", "human_feedback", "success_rate", "cache_hit_rate", "p50_duration", "p95_duration", "p99_duration", "p50_first_byte",
    "p95_first_byte", "p99_first_byte", "tokens_in", "tokens_out", "cost_per_thumbs_up", "score", "feedback:rating",
  ];
  let evaluation;
  await bench.time(`evaluation of all logs, ${figures.length} figures by model`, async () => {
    evaluation = await bench.evaluation({ evaluation_type_ids: figures, group_by: "model" });
  }, 0);
  say(`the evaluation says: ${evaluation.total_logs} logs, rows_read ${evaluation.rows_read}`);
  await bench.time("delete of the oldest 1,000", () => bench.ask(`${bench.logs}?limit=1000`, { method: "DELETE" }));
}

await main(import.meta.url, async () => {
  // Node says that its SQLite is experimental.
  process.removeAllListeners("warning");
  const { values } = parseArgs({ options: { rows: { type: "string", default: "1000000" } } });
  const rows = Number(values.rows);
  if (!Number.isInteger(rows) || rows < 1_000) throw new Failure("usage: npm run bench:rows [-- --rows N], N at least 1000");
  if (!process.versions.sqlite) {
    build();
    // The machine's own Node is too old for node:sqlite.
    const again = spawnSync(nodeProgram, [...process.argv.slice(1)], { cwd: root, env: wranglerEnv(), stdio: "inherit" });
    process.exit(again.status ?? 1);
  }
  build();
  const { Gateway, TOKEN } = await import("../tests/e2e/harness.mjs");
  const folder = join(root, "target/bench-rows");
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const empty = await Gateway.start({ folder });
  await empty.create("bench");
  const [{ key }] = await empty.rows("SELECT key FROM gateways WHERE id = 'bench'");
  await empty.stop();
  const file = databaseFile(folder);
  const begun = Date.now();
  const known = await fill(file, key, rows);
  const size = Math.round(fs.statSync(file).size / 1e6);
  say(`made ${number(rows)} logs in ${Math.round((Date.now() - begun) / 1000)} s: ${number(size)} MB`);
  const gateway = await Gateway.start({ folder, around: COUNTING });
  console.log(`| query | ms | first, ms | rows read |\n|---|---|---|---|`);
  try {
    await measure(new Bench(gateway, TOKEN), known, rows);
    await retention(gateway);
  } finally {
    await gateway.stop(/"event":"retention"/);
  }
  fs.rmSync(folder, { recursive: true, force: true });
});
