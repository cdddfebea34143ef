// The D1 databases of wrangler.toml: `DB`, and beside it `DB_1` to `DB_63`, if logs are spread over several.
import { join, resolve } from "node:path";
import { Failure, readText, root } from "./base.mjs";

const NAME = /^DB(_([1-9]|[1-5]\d|6[0-3]))?$/;

/** `{binding, id}` of each, in the order of the file, which is in `folder`. Two bindings of one database would mix up their logs. */
export function databases(toml = readText(join(root, "wrangler.toml")) ?? "", folder = root) {
  const tables = toml.split(/^\s*(?=\[)/m).filter((table) => /^\[\[\s*d1_databases\s*\]\]/.test(table));
  const value = (table, name) => new RegExp(`^\\s*${name}\\s*=\\s*["'](.*?)["']`, "m").exec(table)?.[1];
  const all = tables.map((table) => ({ binding: value(table, "binding"), id: value(table, "database_id"), migrations: value(table, "migrations_dir") }));
  const ours = all.filter(({ binding }) => /^DB(_|$)/.test(binding));
  for (const [n, { binding, id, migrations }] of ours.entries()) {
    if (!NAME.test(binding)) throw new Failure(`wrangler.toml binds a database as ${binding}: Tollgate knows DB, and DB_1 to DB_63.`);
    const twin = ours.slice(0, n).find((other) => other.binding === binding || other.id === id);
    if (twin) throw new Failure(`wrangler.toml binds ${twin.binding} and ${binding} with the same name or database_id; each needs a database of its own.`);
    if (resolve(folder, migrations ?? "") !== join(root, "migrations")) throw new Failure(`wrangler.toml needs migrations_dir = "migrations" for ${binding}, too.`);
  }
  if (!ours.some(({ binding }) => binding === "DB")) throw new Failure("wrangler.toml binds no D1 database as DB.");
  return ours;
}
