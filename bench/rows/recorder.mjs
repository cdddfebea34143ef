// What the Worker sends to its database, and what the database says of it.

/** Wraps the Worker: `/__recorded` gives out the statements since it was last asked, `/__replay` runs batches as they are. */
export const RECORDING = `
import Worker from "./index.js";
export * from "./index.js";
let recorded = [];
const short = (value) => (typeof value === "string" && value.length > 2000 ? null : value);
function noted(sql, values, { meta }, whole) {
  recorded.push({ sql, binds: whole ? values : values.map(short), ms: meta.duration, read: meta.rows_read, written: meta.rows_written, batch: whole });
  if (recorded.length > 20000) recorded = [];
}
let batches = 0;
const statement = (made, sql, values = []) => ({
  made, sql, values,
  bind: (...values) => statement(made.bind(...values), sql, values),
  all: async () => { const result = await made.all(); noted(sql, values, result); return result; },
});
const recording = (db) => ({
  prepare: (sql) => statement(db.prepare(sql), sql),
  batch: async (all) => {
    const results = await db.batch(all.map(({ made }) => made));
    const batch = (batches += 1);
    results.forEach((result, n) => noted(all[n].sql, all[n].values, result, batch));
    return results;
  },
});
async function replay(db, groups) {
  let written = 0;
  const begun = performance.now();
  for (const group of groups) {
    const results = await db.batch(group.map(({ sql, binds }) => db.prepare(sql).bind(...binds)));
    for (const { meta } of results) written += meta.rows_written;
  }
  return { ms: performance.now() - begun, written };
}
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, DB: recording(env.DB) }); this.database = env.DB; }
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/__replay") return Response.json(await replay(this.database, await request.json()));
    if (pathname !== "/__recorded") return super.fetch(request);
    const all = recorded;
    recorded = [];
    return Response.json(all);
  }
}`;

/** Not worth an index: a few rows, or none. */
const SMALL = /^SCAN (json_each|\(subquery|CONSTANT|gateways|pending|deleted_gateways|tokens|custom_providers|price_rules|provider_configs|part|new|fresh|gone|known|list|page)\b|^SCAN .* VIRTUAL TABLE/;

/** The statements that the Worker sent, and their plans. */
export class Recorder {
  plans = new Map();

  constructor(gateway) {
    this.gateway = gateway;
  }

  async take() {
    return (await fetch(`${this.gateway.url}/__recorded`)).json();
  }

  /** How SQLite runs a statement on this very database. */
  async plan({ sql, binds }) {
    if (!this.plans.has(sql)) {
      const steps = await this.gateway.rows(`EXPLAIN QUERY PLAN ${sql}`, ...binds);
      this.plans.set(sql, steps.map(({ detail }) => detail));
    }
    return this.plans.get(sql);
  }

  /** What is wrong with the plans of some statements, in few words. */
  async faults(statements) {
    const found = new Set();
    for (const statement of statements) {
      for (const step of await this.plan(statement)) {
        if (step.startsWith("SCAN") && !SMALL.test(step)) found.add(step);
        if (step.includes("TEMP B-TREE FOR ORDER BY") || step.includes("TERMS OF ORDER BY")) found.add("sorts");
      }
    }
    return [...found].join("; ");
  }
}
