// `tollgate backup`: all that a folder's Tollgate keeps, of one moment, in one file, while it serves.
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, say, version } from "./base.mjs";
import { chosen, OPTIONS, parsed } from "./options.mjs";
import { checked, databasesIn, DATA, folderBytes, MANIFEST, packed } from "./archive.mjs";
import { claim, freeBytes, holder } from "./state.mjs";

/** How long a process may take to stop, in milliseconds. */
const STOP_MS = 5_000;

export const USAGE = "[FILE] [OPTIONS]";
export const HELP = [...OPTIONS.filter(({ name }) => ["config", "state"].includes(name)), { name: "no-secrets", about: "leaves .dev.vars out, without which stored provider keys cannot be read" }];
export const MORE = "FILE is tollgate-<time>.tar.gz here, if none is named; `tollgate restore FILE` brings it back. A running server stands still while\nits files are copied, about a second for each GB; requests wait and none fails.";

export async function run(args, folder = process.cwd()) {
  const { values: { "no-secrets": noSecrets = false, config, state: named }, positionals: [name, ...more] } = parsed(args, HELP);
  if (more.length > 0) throw new Failure(`a backup has one file, not "${[name, ...more].join(" ")}".`);
  const given = Object.entries({ config, state: named }).flatMap(([option, value]) => (value === undefined ? [] : [`--${option}`, value]));
  const { state, vars, config: toml } = chosen(given, { home: folder });
  const at = new Date();
  const file = resolve(folder, name ?? `tollgate-${at.toISOString().slice(0, 19).replaceAll(":", "-")}.tar.gz`);
  if (fs.existsSync(file)) throw new Failure(`${file} is there already. Choose another name, or remove it.`);
  if (!fs.existsSync(join(state, DATA))) throw new Failure(`there is no data in ${state}. Run this in the folder of the server, or name its state with --state.`);
  const needed = folderBytes(join(state, DATA));
  const free = freeBytes(dirname(file));
  if (free < 2 * needed) throw new Failure(`the disk of ${dirname(file)} has ${megabytes(free)} free, and a backup needs ${megabytes(2 * needed)} there while it is made. Choose another disk.`);
  const work = fs.mkdtempSync(join(dirname(file), ".tollgate-backup-"));
  try {
    const stillMs = await copied(state, join(work, DATA));
    const databases = databasesIn(work);
    databases.forEach(checked);
    const copies = [[vars, noSecrets], [toml, false]].filter(([path, isLeftOut]) => !isLeftOut && fs.existsSync(path));
    for (const [path] of copies) fs.copyFileSync(path, join(work, path === vars ? ".dev.vars" : "wrangler.toml"));
    fs.writeFileSync(join(work, MANIFEST), JSON.stringify({ format: 1, version: version(), created_at: at.toISOString(), databases: databases.length }));
    packed(work, file);
    say(`${file}: ${megabytes(fs.statSync(file).size)}, ${databases.length} databases, each checked${stillMs === null ? "" : `; the server stood still for ${stillMs} ms`}.`);
    if (!noSecrets && copies.some(([path]) => path === vars)) say(`it holds ${basename(vars)} with the admin token and the key of stored provider keys: keep it as you keep those.`);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
  return 0;
}

const megabytes = (bytes) => `${(bytes / 1_048_576).toFixed(1)} MB`;

/** Copies the data of one moment; returns for how many milliseconds a server stood still, or null where none runs. */
async function copied(state, to) {
  const copy = () => fs.cpSync(join(state, DATA), to, { recursive: true, mode: fs.constants.COPYFILE_FICLONE, preserveTimestamps: true });
  const server = holder(state);
  if (!server) {
    const claimed = claim(state);
    try {
      copy();
      return null;
    } finally {
      claimed.release();
    }
  }
  const pids = server.runtime ?? [];
  if (pids.length === 0) throw new Failure(`the server in ${state} is only just starting. Try again when it is ready.`);
  // What waits for our end goes on even when this process is killed while the server stands still.
  const guard = spawn("sh", ["-c", `cat >/dev/null; kill -CONT ${pids.map(Number).join(" ")}`], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  const began = performance.now();
  try {
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    for (const pid of pids) await stopped(pid);
    copy();
  } finally {
    for (const pid of pids) signalled(pid, "SIGCONT");
    guard.stdin.end();
  }
  return Math.round(performance.now() - began);
}

function signalled(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** Waits until each thread of a process stands still: one that still writes would give the copy two moments. */
async function stopped(pid) {
  const states = () => (spawnSync("ps", ["-L", "-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).stdout ?? "").trim().split(/\s+/);
  const single = () => (spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).stdout ?? "").trim().split(/\s+/);
  for (const end = Date.now() + STOP_MS; Date.now() < end; await sleep(5)) {
    const all = process.platform === "linux" ? states() : single();
    if (all.every((one) => /^[TtZ]/.test(one))) return;
  }
  throw new Failure(`process ${pid}, which serves, does not stand still, so that no backup of one moment can be made. Stop the server and try again.`);
}
