// The folder of the state: whether it can be written to, whether there is room, and that one server has it at a time.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Failure, readText, say } from "./base.mjs";

/** SQLite needs room for its journal before it can say that there is none. In bytes. */
const LEAST = 32 * 1024 * 1024;
/** Below this a running server warns, in bytes. */
const LOW = 256 * 1024 * 1024;
const LOOK_MS = 10_000;

const megabytes = (bytes) => `${(bytes / 1_048_576).toFixed(1)} MB`;

export function freeBytes(state) {
  const { bavail, bsize } = fs.statfsSync(state);
  return bavail * bsize;
}

function trouble(state, error) {
  if (["ENOSPC", "EDQUOT"].includes(error.code)) return new Failure(`the disk of ${state} is full. Make room there, or choose another folder with --state.`);
  const reason = { EACCES: "this user may not write there", EPERM: "this user may not write there", EROFS: "it is read-only", ENOTDIR: "a part of that path is a file", EEXIST: "it is a file" }[error.code];
  return new Failure(`the state folder ${state} cannot be used: ${reason ?? error.message}. Give this user the right to write there, or choose another folder with --state.`);
}

/** Makes the folder, writes to it, and looks how much room there is. */
export function checkFolder(state) {
  const probe = join(state, `.probe-${process.pid}`);
  try {
    fs.mkdirSync(state, { recursive: true });
    fs.writeFileSync(probe, Buffer.alloc(65_536), { flush: true });
    fs.rmSync(probe);
  } catch (error) {
    if (error.code === "ENOSPC") fs.rmSync(probe, { force: true });
    throw trouble(state, error);
  }
  const free = freeBytes(state);
  if (free < LEAST) throw new Failure(`the disk of ${state} is full: ${megabytes(free)} are free, and ${megabytes(LEAST)} are needed to begin. Make room there, or choose another folder with --state.`);
}

/** Says so when the disk runs full, and again when there is room. */
export function watchDisk(state) {
  let isLow = false;
  const look = () => {
    const free = freeBytes(state);
    if (free < LOW !== isLow) {
      isLow = !isLow;
      say(isLow ? `warning: ${megabytes(free)} are free on the disk of ${state}. When it is full, requests pass but their logs are lost. Make room, or set log_retention_days.` : `there is room on the disk of ${state} again.`);
    }
  };
  look();
  setInterval(look, LOOK_MS).unref();
}

/**
 * Takes the state for this process until it ends, however it ends: the kernel gives the lock of the file back. Returns what notes the
 * processes that belong to the server, so that the next one can end those that a kill has left; and whether there were such.
 */
export function claim(state) {
  const file = join(state, "server.lock");
  const notes = join(state, "server.json");
  const lock = new DatabaseSync(file);
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    if (!/locked/.test(error.message)) throw new Failure(`${file} cannot be locked: ${error.message}.`);
    const { pid, address } = noted(notes);
    const where = pid ? ` (process ${pid}${address ? `, ${address}` : ""})` : "";
    throw new Failure(`another server${where} has the state in ${state}. Stop it, or choose another folder with --state.`);
  }
  const hadOrphans = (noted(notes).runtime ?? []).map(endOrphan).includes(true);
  const note = (facts) => fs.writeFileSync(notes, JSON.stringify({ pid: process.pid, ...facts }));
  note({});
  return { note, hadOrphans, release: () => (lock.close(), fs.rmSync(notes, { force: true })) };
}

/** Whether a server has that state now. */
export function holder(state) {
  if (!fs.existsSync(join(state, "server.lock"))) return null;
  const lock = new DatabaseSync(join(state, "server.lock"));
  try {
    lock.exec("BEGIN EXCLUSIVE");
    return null;
  } catch {
    return noted(join(state, "server.json"));
  } finally {
    lock.close();
  }
}

function noted(file) {
  try {
    return JSON.parse(readText(file) ?? "{}");
  } catch {
    return {};
  }
}

/** Ends a workerd whose server was killed together with what would have ended it: it still answers, and has our port. */
function endOrphan(pid) {
  const is = (column) => (spawnSync("ps", ["-o", `${column}=`, "-p", String(pid)], { encoding: "utf8" }).stdout ?? "").trim();
  if (!/workerd/.test(is("command"))) return false;
  process.kill(pid, "SIGKILL");
  for (let n = 0; n < 100 && /^[^Z]/.test(is("stat")); n += 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  say(`ended process ${pid}, a workerd that an earlier server left behind.`);
  return true;
}
