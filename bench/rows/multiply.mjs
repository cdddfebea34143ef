// Ten million logs out of one: copies at other times, because making them one by one takes a quarter of an hour.
import { DatabaseSync } from "node:sqlite";
import { BASE32 } from "./random.mjs";

const SLICES = 720;

/** The id of a log that began so many milliseconds later. */
function moved(id, by) {
  let time = 0;
  for (const digit of id.slice(0, 10)) time = time * 32 + BASE32.indexOf(digit);
  let prefix = "";
  for (let rest = time + by, digit = 0; digit < 10; digit += 1, rest = Math.floor(rest / 32)) prefix = BASE32[rest % 32] + prefix;
  return prefix + id.slice(10);
}

/** What a copy keeps: D1's 10 GB are the limit, so a quarter of the logs has tags and every fiftieth its bodies. */
const KEPT = { logs: "1", log_metadata: "substr(log_id, 26) < '8'", log_bodies: "substr(log_id, 25) < '0M'", log_feedback: "1", feedback_history: "1" };

/** Fills the file with so many copies of the logs of another; both have the same gateway. */
export function multiply(source, file, times, { key, first, last }, note) {
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode = DELETE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000");
  db.exec(`ATTACH '${source}' AS one`);
  db.function("moved", { deterministic: true }, moved);
  const indexes = db.prepare("SELECT name, sql FROM main.sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND (tbl_name LIKE 'log%')").all();
  for (const { name } of indexes) db.exec(`DROP INDEX main.${name}`);
  const length = Math.ceil((last - first + 1) / SLICES);
  const statements = Object.entries(KEPT).map(([table, kept]) => {
    const columns = db.prepare("SELECT name FROM pragma_table_info(?) ORDER BY cid").all(table).map(({ name }) => name);
    const own = table === "logs" ? "id" : "log_id";
    const made = columns.map((name) => {
      if (name === own || name === "event_id") return `moved(${name}, :by)`;
      if (name === "created_at" || name === "given_at") return `${name} + :by`;
      if (name === "response_id") return "substr(response_id, 1, length(response_id) - 2) || :copy";
      if (table === "logs" && name === "metadata") return "iif(substr(id, 26) < '8', metadata, NULL)";
      return name;
    });
    const range = `${own} >= :from AND ${own} < :to`;
    return db.prepare(`INSERT INTO main.${table} (${columns.join(", ")}) SELECT ${made.join(", ")} FROM one.${table} WHERE ${range} AND ${kept} AND :by IS NOT NULL AND :copy IS NOT NULL ORDER BY ${own}`);
  });
  const at = (slice) => moved("0".repeat(26), first + slice * length);
  for (let slice = 0; slice < SLICES; slice += 1) {
    db.exec("BEGIN");
    for (let copy = 0; copy < times; copy += 1) {
      // Every copy is turned by its part of the days, so that no two logs are alike near each other.
      const origin = (slice + SLICES - Math.floor((copy * SLICES) / times)) % SLICES;
      const binds = { ":by": (slice - origin) * length, ":copy": `${copy}`.padStart(2, "-"), ":from": at(origin), ":to": at(origin + 1) };
      for (const statement of statements) statement.run(binds);
    }
    db.exec("COMMIT");
    if (slice % 72 === 71) note(`${slice + 1} of ${SLICES} slices`);
  }
  const { n } = db.prepare("SELECT count(*) AS n FROM main.logs").get();
  db.prepare("INSERT INTO main.log_storage (gateway, logs, counted_at) VALUES (?, ?, ?)").run(key, n, Date.now());
  for (const { name, sql } of indexes) {
    note(name);
    db.exec(sql);
  }
  db.exec("DETACH one; PRAGMA journal_mode = WAL");
  db.close();
}
