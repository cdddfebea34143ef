// Brings the databases of the state up to the schema of this version, before anything is served.
import * as fs from "node:fs";
import { join } from "node:path";
import { Log, LogLevel, Miniflare, convertV4MiniflareOptions } from "miniflare";
import { unstable_splitSqlQuery as statements } from "wrangler";
import { Failure, root, say } from "./base.mjs";
// It closes Miniflare's doors for every instance in the process.
import "./runtime.mjs";

/** As wrangler makes it, so that wrangler can go on with the same state. */
const TABLE = "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)";

export function migrations() {
  return fs.readdirSync(join(root, "migrations")).filter((name) => name.endsWith(".sql")).sort();
}

/** Opens the databases of a configuration, as the server does, for `work`. */
async function opened({ d1Databases, state }, work) {
  const options = convertV4MiniflareOptions({
    host: "127.0.0.1",
    cf: false,
    log: new Log(LogLevel.NONE),
    unsafeLocalExplorer: false,
    unsafeObservability: false,
    telemetry: { enabled: false },
    resourcePersistencePath: join(state, "v3"),
    workers: [{ name: "migrations", compatibilityDate: "2026-11-01", modules: [{ type: "ESModule", path: "none.mjs", contents: "export default {};" }], d1Databases }],
  });
  const miniflare = new Miniflare(options);
  try {
    return await work(await Promise.all(Object.keys(d1Databases).map(async (binding) => [binding, await miniflare.getD1Database(binding)])));
  } finally {
    await miniflare.dispose();
  }
}

async function applied(db) {
  const { results } = await db.prepare("SELECT name FROM d1_migrations ORDER BY id").all();
  return results.map(({ name }) => name);
}

/** Applies what is missing; returns how many keys are sealed in the first database. */
export async function migrate({ d1Databases, state }) {
  return opened({ d1Databases, state }, async (all) => {
    for (const [binding, db] of all) await brought(binding, db, state);
    const [, first] = all.find(([binding]) => binding === "DB");
    return (await first.prepare("SELECT count(*) AS n FROM provider_configs WHERE key_id IS NOT NULL").first()).n;
  });
}

async function brought(binding, db, state) {
  await db.prepare(TABLE).run();
  const there = await applied(db);
  const ours = migrations();
  const missing = ours.filter((name) => !there.includes(name));
  for (const name of missing) {
    const text = fs.readFileSync(join(root, "migrations", name), "utf8");
    const record = db.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name);
    try {
      // One transaction: a server that is killed here has applied the file, or nothing of it.
      await db.batch([...statements(text).map((statement) => db.prepare(statement)), record]);
    } catch (error) {
      throw new Failure(`the migration ${name} of the database ${binding} in ${state} failed: ${error.message}. Nothing of it was applied, and the data is as it was.`);
    }
  }
  if (missing.length > 0) say(`migrated the local database ${binding} in ${state} (${missing.length} of ${ours.length} migrations)`);
  const newer = there.filter((name) => !ours.includes(name));
  if (newer.length > 0) say(`warning: a newer version of Tollgate has used the database ${binding}: this one does not know ${newer.join(", ")}. docs/self-hosting.md says what an older version can live with.`);
}

/** What `tollgate doctor` asks: the migrations that are missing, those that are unknown, and what SQLite says of the file. */
export async function looked({ d1Databases, state }) {
  return opened({ d1Databases, state }, (all) =>
    Promise.all(all.map(async ([binding, db]) => {
      const there = await applied(db).catch(() => []);
      const ours = migrations();
      return { binding, missing: ours.filter((name) => !there.includes(name)), unknown: there.filter((name) => !ours.includes(name)), check: Object.values((await db.prepare("PRAGMA quick_check").first()) ?? { ok: "ok" })[0] };
    })),
  );
}
