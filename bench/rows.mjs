// `npm run bench:rows [-- --rows N --only text --writes N]`: fills a D1 with N logs (1,000,000 unless told otherwise), asks the
// built Worker for them over HTTP as a client would, writes logs by the Worker's own statements, and prints what each query
// took, what it read, and whether its plan scans or sorts. The filled database stays in target/rows, for the next run.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, nodeProgram, wranglerEnv } from "../scripts/setup.mjs";
import { Failure, main, root, say } from "../scripts/toolchain.mjs";

/** More logs than this are copies of as many. */
const MADE = 1_000_000;

const MIGRATIONS = join(root, "migrations");

function databaseFile(folder) {
  const files = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && entry.name.endsWith(".sqlite"));
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).filter((path) => path.includes("/d1/") && !path.endsWith("metadata.sqlite"));
  if (paths.length !== 1) throw new Failure(`expected one database in ${folder}, found ${paths.join(", ") || "none"}`);
  return paths[0];
}

const migrations = () => fs.readdirSync(MIGRATIONS).filter((name) => name.endsWith(".sql")).sort();

/** The folder of a database with so many logs, and what is known of it. Made when it is not there or not whole. */
async function filled(rows, Gateway) {
  const folder = join(root, "target/rows", String(rows));
  const about = join(folder, "known.json");
  if (fs.existsSync(about)) return { folder, about, known: JSON.parse(fs.readFileSync(about, "utf8")) };
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const empty = await Gateway.start({ folder });
  await empty.create("bench");
  const [{ key }] = await empty.rows("SELECT key FROM gateways WHERE id = 'bench'");
  await empty.stop();
  const file = databaseFile(folder);
  const { fill, sample } = await import("./rows/fill.mjs");
  const begun = Date.now();
  const note = (done) => say(`${Math.round((Date.now() - begun) / 1000)} s: ${done}`);
  if (rows > MADE) {
    const one = await filled(MADE, Gateway);
    await migrate(one);
    const { multiply } = await import("./rows/multiply.mjs");
    multiply(databaseFile(one.folder), file, rows / MADE, one.known, note);
  } else {
    fill(file, key, rows, note);
  }
  const known = { ...(rows > 0 && sample(file, key)), key, migrations: migrations(), seconds: Math.round((Date.now() - begun) / 1000) };
  fs.writeFileSync(about, JSON.stringify(known));
  say(`made ${rows} logs in ${known.seconds} s: ${Math.round(fs.statSync(file).size / 1e6)} MB`);
  return { folder, about, known };
}

/** Brings a database that was kept up to the schema of today, says how long each migration took with all the rows, and removes
 * what a run that was ended has left. */
async function migrate({ folder, about, known }) {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(databaseFile(folder));
  for (const name of migrations().filter((name) => !known.migrations.includes(name))) {
    const begun = performance.now();
    db.exec(fs.readFileSync(join(MIGRATIONS, name), "utf8"));
    say(`${name} took ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    known.migrations.push(name);
    fs.writeFileSync(about, JSON.stringify(known));
  }
  db.exec("DELETE FROM datasets; DELETE FROM evaluations; DELETE FROM evaluation_results; DELETE FROM verdicts");
  db.close();
}

/** Bytes of the file by table and index. */
async function sizes(folder) {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(databaseFile(folder), { readOnly: true });
  const found = db.prepare("SELECT name, sum(pgsize) AS bytes FROM dbstat('main', 1) GROUP BY name HAVING bytes > 1000000 ORDER BY bytes DESC").all();
  db.close();
  return found;
}

await main(import.meta.url, async () => {
  // Node says that its SQLite is experimental.
  process.removeAllListeners("warning");
  const { values } = parseArgs({
    options: { rows: { type: "string", default: "1000000" }, only: { type: "string" }, writes: { type: "string", default: "20000" }, fill: { type: "boolean" } },
  });
  const rows = Number(values.rows);
  const writes = Number(values.writes);
  const whole = rows === 0 || (rows >= 1_000 && (rows <= MADE || rows % MADE === 0));
  if (!Number.isInteger(rows) || !whole || !Number.isInteger(writes)) {
    throw new Failure("usage: npm run bench:rows [-- --rows N --writes N --only text --fill], N of rows 0, 1,000 to 1,000,000 or millions");
  }
  // The schema is all that filling needs of the Worker.
  if (!values.fill || !fs.existsSync(join(root, "build/index.js"))) build();
  if (!process.versions.sqlite) {
    // The machine's own Node is too old for node:sqlite.
    const again = spawnSync(nodeProgram, [...process.argv.slice(1)], { cwd: root, env: wranglerEnv(), stdio: "inherit" });
    process.exit(again.status ?? 1);
  }
  const { Gateway, TOKEN } = await import("../tests/e2e/harness.mjs");
  const database = await filled(rows, Gateway);
  if (values.fill) return;
  if (rows > 0) await migrate(database);
  const { RECORDING, Recorder } = await import("./rows/recorder.mjs");
  const { Bench } = await import("./rows/table.mjs");
  const gateway = await Gateway.start({ folder: database.folder, around: RECORDING });
  const bench = new Bench(gateway, TOKEN, new Recorder(gateway), values.only);
  say(`${cpus().length} × ${cpus()[0].model}, load ${loadavg()[0].toFixed(1)}, ${new Date().toISOString()}`);
  const results = { rows, at: new Date().toISOString(), cpu: cpus()[0].model, load: loadavg() };
  try {
    if (rows > 0) {
      const { measure } = await import("./rows/queries.mjs");
      await measure(bench, database.known);
    }
    const { measureWrites, retention } = await import("./rows/writes.mjs");
    if (writes > 0) results.writes = await measureWrites(bench, writes);
    // Back to as many logs as before.
    if (rows > 0 && writes > 0) results.retention = await retention(bench, rows);
  } finally {
    await gateway.stop(/"event":"(retention|reprice)"/);
  }
  results.queries = bench.results;
  if (rows > 0) {
    results.sizes = await sizes(database.folder);
    for (const { name, bytes } of results.sizes) say(`${name}: ${Math.round(bytes / rows)} bytes a log`);
  }
  fs.writeFileSync(join(root, "target/rows", `results-${rows}.json`), JSON.stringify(results, null, 1));
  fs.writeFileSync(join(root, "target/rows", `results-${rows}.md`), `${bench.lines.join("\n")}\n`);
  if (rows === 0) fs.rmSync(database.folder, { recursive: true, force: true });
  const late = bench.results.filter(({ bar, http }) => bar && http.p99 > 50);
  const scans = bench.results.filter(({ plan }) => plan.includes("SCAN"));
  say(`${bench.results.length} queries; p99 above 50 ms: ${late.map(({ name }) => name).join(", ") || "none"}; full scans: ${scans.map(({ name }) => name).join(", ") || "none"}`);
});
