// `tollgate restore`: brings back what `tollgate backup` has kept, into a folder that no server uses.
import * as fs from "node:fs";
import { join, resolve } from "node:path";
import { DATA, unpacked } from "./archive.mjs";
import { Failure, say } from "./base.mjs";
import { chosen, OPTIONS, parsed } from "./options.mjs";
import { variable } from "./secrets.mjs";
import { claim } from "./state.mjs";

export const USAGE = "FILE [OPTIONS]";
export const HELP = [...OPTIONS.filter(({ name }) => ["config", "state"].includes(name)), { name: "replace", about: "puts what is there aside, under another name" }];
export const MORE = "It restores into the state of this folder, which no server may use meanwhile. wrangler.toml and .dev.vars come back where they are missing.";

export async function run(args, folder = process.cwd()) {
  const { values: { replace = false, config, state: named }, positionals: [name, ...more] } = parsed(args, HELP);
  if (name === undefined || more.length > 0) throw new Failure("name the file of one backup: tollgate restore FILE");
  const file = resolve(folder, name);
  if (!fs.existsSync(file)) throw new Failure(`there is no ${file}.`);
  // The backup may be what brings the configuration, so that it need not be there yet.
  const toml = resolve(folder, config ?? "wrangler.toml");
  const { state, vars } = chosen(named === undefined ? [] : ["--state", named], { home: resolve(toml, "..") });
  fs.mkdirSync(state, { recursive: true });
  const claimed = claim(state);
  const work = fs.mkdtempSync(join(state, ".restoring-"));
  try {
    const { created_at: made, version } = unpacked(file, work);
    const data = join(state, DATA);
    const isThere = fs.existsSync(data) && fs.readdirSync(data).length > 0;
    if (isThere && !replace) throw new Failure(`there is data in ${state} already. With --replace it is put aside, under another name.`);
    const restored = { vars: join(work, ".dev.vars"), toml: join(work, "wrangler.toml") };
    checkKeys(restored.vars, vars, file);
    const aside = `${data}.before-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}`;
    if (isThere) fs.renameSync(data, aside);
    else fs.rmSync(data, { recursive: true, force: true });
    fs.renameSync(join(work, DATA), data);
    for (const [from, to, mode] of [[restored.vars, vars, 0o600], [restored.toml, toml, 0o644]]) {
      if (fs.existsSync(from) && !fs.existsSync(to)) (fs.copyFileSync(from, to), fs.chmodSync(to, mode), say(`${to} is that of the backup.`));
    }
    say(`${state} is as it was on ${made}, by version ${version}.${isThere ? ` What was there is in ${aside}.` : ""} \`tollgate start\` serves it.`);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
    claimed.release();
  }
  return 0;
}

/** Keys that were sealed with another `ENCRYPTION_KEY` could not be opened, which would be seen only when a request needs one. */
function checkKeys(restored, vars, file) {
  const [before, now] = [restored, vars].map((path) => variable(path, "ENCRYPTION_KEY"));
  if (before && now && before !== now) throw new Failure(`${vars} has another ENCRYPTION_KEY than the backup, so that no stored provider key could be read. Move ${vars} away, or put the line of ${file} there.`);
}
