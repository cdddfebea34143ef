// Fills a database file with logs as the Worker would have written them in 30 days, while no other process has it open.
import { DatabaseSync } from "node:sqlite";
import { below, chance, hex, metadata, normal, one, pickModel, random, seed, ulid } from "./random.mjs";

const DAY = 86_400_000;
const DAYS = 30;

/** Rows that are committed together: the journal is off, so a commit costs little and keeps the process's memory flat. */
const TOGETHER = 200_000;

const LOG = {
  request_type: "native", step: 0, custom_cost: 0, authentication: 1, user_agent: "OpenAI/JS 7.55.0", credential: "request",
  request_content_type: "application/json", response_content_type: "application/json",
};
const LOG_FIELDS = [
  "id", "gateway", "created_at", "provider", "model", "model_type", "path", "request_type", "status_code", "success", "cached", "step",
  "error", "duration", "first_byte", "tokens_in", "tokens_out", "total_tokens", "cost", "custom_cost", "finish_reason", "event_id",
  "response_id", "user_agent", "authentication", "request_content_type", "response_content_type", "request_size", "response_size",
  "metadata", "feedback", "score", "credential",
];

function inserter(db, table, columns) {
  const statement = db.prepare(`INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`);
  return (row) => statement.run(...columns.map((column) => row[column] ?? null));
}

function log(gateway, created_at) {
  const { provider, model } = pickModel();
  const failed = chance(2);
  const cached = !failed && chance(4);
  const duration = cached ? 5 + below(20) : Math.round(Math.exp(7 + 0.8 * normal()));
  const tokens_in = failed ? null : Math.round(Math.exp(6 + normal()));
  const tokens_out = failed ? null : Math.round(Math.exp(5 + normal()));
  return {
    ...LOG, id: ulid(created_at), gateway, created_at, provider, model, duration, tokens_in, tokens_out,
    model_type: model.includes("embedding") ? "embeddings" : "chat",
    path: "chat/completions",
    status_code: failed ? one([400, 429, 429, 500, 503]) : 200,
    success: failed ? 0 : 1,
    cached: cached ? 1 : 0,
    error: failed ? one(["provider: rate limit reached", "provider: answered 503", "upstream: connection reset"]) : null,
    first_byte: failed ? null : Math.round(duration * (0.1 + 0.3 * random())),
    total_tokens: failed ? null : tokens_in + tokens_out,
    cost: failed || cached ? null : (tokens_in * 0.4 + tokens_out * 1.6) / 1e6,
    finish_reason: failed ? null : one(["stop", "stop", "stop", "length", "tool_calls"]),
    response_id: failed ? null : `chatcmpl-${hex(20)}`,
    feedback: chance(5) ? (chance(75) ? 1 : -1) : null,
    score: chance(2) ? below(101) : null,
  };
}

/** Fills the file with `rows` logs of a gateway; `note` hears how far it is. */
export function fill(file, gateway, rows, note) {
  seed(1);
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000");
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
  const end = Date.now() - 60_000;
  const start = end - DAYS * DAY;
  let event = null;
  db.exec("BEGIN");
  for (let n = 0; n < rows; n += 1) {
    if (n % TOGETHER === TOGETHER - 1) {
      db.exec("COMMIT; BEGIN");
      note(n + 1);
    }
    const created_at = Math.floor(start + ((n + random()) / rows) * DAYS * DAY);
    const row = log(gateway, created_at);
    // An agent's requests share the event id of the first.
    if (event === null || chance(90)) event = row.id;
    const entries = metadata(3 + below(3));
    const names = Object.keys(entries).sort();
    const prompt = `Question ${n}: what is ${below(1_000)} times ${below(1_000)}?`.repeat(1 + below(5));
    insert.log({ ...row, event_id: event, request_size: prompt.length + 60, response_size: 600, metadata: names.length > 0 ? JSON.stringify(entries) : null });
    for (const key of names) {
      const value = entries[key];
      insert.metadata({ log_id: row.id, key, value: typeof value === "boolean" ? String(value) : value, gateway, created_at });
    }
    const request = JSON.stringify({ model: row.model, messages: [{ role: "user", content: prompt }] });
    const message = { role: "assistant", content: `It is ${n}.` };
    const response = JSON.stringify({ id: `chatcmpl-${n}`, model: row.model, choices: [{ index: 0, message, finish_reason: "stop" }] });
    insert.body({ log_id: row.id, seq: 0, request, response });
    if (chance(3)) {
      const said = { rating: 1 + below(5), ...(chance(30) && { comment: one(["great", "too long", "wrong", "slow"]) }) };
      const given_at = created_at + 60_000;
      for (const [key, value] of Object.entries(said)) {
        insert.feedback({ log_id: row.id, key, json: JSON.stringify(value), value, gateway, created_at, given_at, given_by: "admin" });
      }
      insert.history({ log_id: row.id, id: ulid(given_at), given_at, given_by: "admin", kind: "merge", data: JSON.stringify(said) });
    }
  }
  db.exec("COMMIT");
  db.prepare("INSERT INTO log_storage (gateway, logs, counted_at) VALUES (?, ?, ?)").run(gateway, rows, Date.now());
  for (const { name, sql } of indexes) {
    note(name);
    db.exec(sql);
  }
  db.exec("PRAGMA journal_mode = WAL");
  db.close();
}

/** Values to ask for, frequent ones and rare ones. They come from the newer half, which retention leaves alone longest. */
export function sample(file, gateway) {
  const db = new DatabaseSync(file, { readOnly: true });
  const list = (sql, ...binds) => db.prepare(sql).all(...binds).map((row) => Object.values(row)[0]);
  const { first, last } = db.prepare("SELECT min(created_at) AS first, max(created_at) AS last FROM logs WHERE gateway = ?").get(gateway);
  const at = (part) => Math.floor(first + (last - first) * part);
  const spread = (count, pick) => Array.from({ length: count }, (_, n) => pick(at(0.5 + (0.45 * n) / count))).filter((found) => found !== undefined);
  const near = (columns, condition) => {
    const statement = db.prepare(`SELECT ${columns} FROM logs INDEXED BY logs_by_time WHERE gateway = ? AND created_at > ? AND ${condition} ORDER BY created_at, id LIMIT 1`);
    return (time) => statement.get(gateway, time);
  };
  const tag = (key) => {
    const statement = db.prepare("SELECT value FROM log_metadata WHERE gateway = ? AND key = ? AND value > ? ORDER BY value LIMIT 1");
    return (after) => statement.get(gateway, key, after)?.value;
  };
  const [user, order, tenant] = ["user_id", "order_no", "tenant"].map(tag);
  const known = {
    first, last,
    ids: spread(200, near("id", "1")).map(({ id }) => id),
    events: spread(200, near("event_id", "event_id <> id")).map(({ event_id }) => event_id),
    responses: spread(200, near("response_id", "response_id IS NOT NULL")).map(({ response_id }) => response_id),
    users: Array.from({ length: 100 }, (_, n) => user(`user-${1_000 + n * 1_777}`)).filter(Boolean),
    tenants: Array.from({ length: 100 }, (_, n) => tenant(`tenant-${1 + n * 19}`)).filter(Boolean),
    orders: Array.from({ length: 100 }, (_, n) => order(n * 90_000)).filter((found) => found !== undefined),
    models: list("SELECT model FROM logs WHERE gateway = ? GROUP BY model ORDER BY count(*) DESC", gateway),
    providers: list("SELECT provider FROM logs WHERE gateway = ? GROUP BY provider ORDER BY count(*) DESC", gateway),
  };
  db.close();
  return known;
}
