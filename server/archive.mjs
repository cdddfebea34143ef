// The file that `tollgate backup` writes and `tollgate restore` reads: a tar of the state's data, the secrets and the configuration.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Failure } from "./base.mjs";

/** The folder of a state that has all data. */
export const DATA = "v3";
export const MANIFEST = "backup.json";
/** What a backup may have at its top. */
export const PARTS = [DATA, MANIFEST, ".dev.vars", "wrangler.toml"];

function entries(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? entries(path) : [{ path, entry }];
  });
}

export function folderBytes(folder) {
  return entries(folder).reduce((sum, { path }) => sum + (fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
}

/** Every database below a folder. */
export function databasesIn(folder) {
  return entries(folder).map(({ path }) => path).filter((path) => path.endsWith(".sqlite"));
}

/** Brings what stood in the journal into the file, and asks SQLite whether all of it makes sense. */
export function checked(file) {
  let found;
  try {
    const database = new DatabaseSync(file);
    try {
      database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      found = Object.values(database.prepare("PRAGMA quick_check(1)").get() ?? {})[0];
    } finally {
      database.close();
    }
  } catch (error) {
    found = error.message;
  }
  if (found !== "ok") throw new Failure(`the copy of the database ${file} is damaged: ${found}. \`tollgate doctor\` looks at the one that is served.`);
}

function tar(...args) {
  const { status, stderr, error, stdout } = spawnSync("tar", args, { encoding: "utf8", maxBuffer: 1 << 28 });
  if (error) throw new Failure(`tar cannot be run: ${error.message}. Install it; backups are made with it.`);
  return { isDone: status === 0, why: stderr.trim().split("\n").slice(0, 3).join(" "), stdout };
}

/** Packs a folder; the file is there whole, or not at all, and only its owner reads it. */
export function packed(folder, file) {
  const part = `${file}.part`;
  fs.closeSync(fs.openSync(part, "w", 0o600));
  const { isDone, why } = tar("-czf", part, "-C", folder, ...fs.readdirSync(folder));
  if (!isDone) {
    fs.rmSync(part, { force: true });
    throw new Failure(`${file} could not be written: ${why}`);
  }
  fs.renameSync(part, file);
}

/** Unpacks a backup into an empty folder and looks at each part of it; returns its manifest. */
export function unpacked(file, folder) {
  const listed = tar("-tzf", file);
  if (!listed.isDone) throw new Failure(`${file} is no backup, or is cut short: ${listed.why}`);
  const names = listed.stdout.split("\n").filter(Boolean);
  const foreign = names.find((name) => name.split("/").includes("..") || !PARTS.includes(name.split("/")[0]));
  if (foreign !== undefined || !names.includes(MANIFEST)) throw new Failure(`${file} is no backup of Tollgate${foreign === undefined ? `: it has no ${MANIFEST}` : `: it holds "${foreign}"`}.`);
  const { isDone, why } = tar("-xzf", file, "-C", folder, "--no-same-owner");
  if (!isDone) throw new Failure(`${file} could not be unpacked: ${why}`);
  const odd = entries(folder).find(({ entry }) => !entry.isFile());
  if (odd) throw new Failure(`${file} holds "${odd.entry.name}", which is no plain file.`);
  const manifest = readManifest(join(folder, MANIFEST));
  if (manifest?.format !== 1) throw new Failure(`${file} was made by another version of Tollgate (${manifest?.version ?? "unknown"}); restore it with that one, or a newer one.`);
  const databases = databasesIn(folder);
  if (databases.length !== manifest.databases) throw new Failure(`${file} holds ${databases.length} databases, and had ${manifest.databases}.`);
  databases.forEach(checked);
  return manifest;
}

function readManifest(path) {
  try {
    return JSON.parse(fs.readFileSync(path, "utf8"));
  } catch {
    return null;
  }
}
