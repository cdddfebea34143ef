// Load on one lane: wrk for latency and throughput, `client.rs` for what wrk cannot see, /proc for CPU time and memory.
import { execFile, spawn } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { complaint, Failure } from "../scripts/toolchain.mjs";
import { WORK } from "./work.mjs";

const run = promisify(execFile);
/** How long a paced stream takes, in ms. */
const PACED = 1_280;

/** Compiles one of this folder's programs, unless that is done. */
export function compiled(folder, name) {
  const program = join(folder, name);
  const source = new URL(`${name}.rs`, import.meta.url).pathname;
  if (fs.existsSync(program) && fs.statSync(program).mtimeMs > fs.statSync(source).mtimeMs) return program;
  const problem = complaint("rustc", ["--edition", "2021", "-O", "-o", program, source]);
  if (problem !== null) throw new Failure(`bench/${name}.rs cannot be compiled:\n${problem}`);
  return program;
}

/** wrk reads its request from a Lua file and ends with what `done` writes. */
function script(headers, { body, turns }) {
  const text = (value) => `[==[${value}]==]`;
  // Each run begins with sessions that no run before had.
  const session = Math.floor(Date.now() / 100) % 10_000_000;
  const sent = turns && `local turns = {${turns().map((parts) => `{${parts.map(text).join(", ")}}`).join(",\n")}}
local sent = 0
function request()
  local turn = turns[sent % #turns + 1]
  local session = string.format("%08d", ${session} + math.floor(sent / #turns))
  sent = sent + 1
  return wrk.format(nil, nil, nil, turn[1] .. session .. turn[2])
end`;
  const lines = Object.entries(headers).map(([name, value]) => `wrk.headers[ ${text(name)} ] = ${text(value)}`);
  return `wrk.method = "POST"
wrk.body = ${text(body)}
${lines.join("\n")}
${sent ?? ""}
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`;
}

/** So many seconds of one work over so many connections; all times in microseconds. */
export async function load(folder, lane, work, connections, seconds) {
  resetPeak(lane.pid);
  const before = cpu(lane.pid);
  const { paced, heavy } = WORK[work];
  const seen = await (paced || heavy ? counted : flatOut)(folder, lane, work, connections, seconds);
  // A machine that is busy with something else may leave no second for an answer.
  if (seen.requests === 0 && seen.errors === 0 && seconds < 10) return load(folder, lane, work, connections, seconds * 5);
  if (seen.errors > 0 || seen.requests === 0) throw new Failure(`${lane.name}, ${work}: ${seen.errors} of ${seen.requests} requests failed ${seen.trouble ?? ""}`);
  // What is done behind the answers is part of a request's price. Others never quite come to rest.
  const after = await settled(lane.pid, lane.rewrites ? 1 : 10);
  return { ...seen, cpu: before === null ? null : (after - before) / seen.requests, peak: peak(lane.pid) };
}

async function flatOut(folder, lane, work, connections, seconds) {
  const { url, headers } = lane.request;
  const file = join(folder, `${lane.name}-${work}.lua`);
  fs.writeFileSync(file, script(headers, { ...WORK[work], body: asked(lane, work) }));
  const { stdout, stderr } = await run("wrk", ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "30s", "-s", file, url]);
  const result = /^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$/m.exec(stdout);
  if (!result || stderr) throw new Failure(`wrk did not say what it measured:\n${stdout}${stderr}`);
  const [requests, duration, p50, p90, p99, errors] = result.slice(1).map(Number);
  return { requests, errors, p50, p90, p99, perSecond: requests / (duration / 1e6) };
}

/**
 * So many answers and no more: wrk ends with the clock, and what the last 16 streams had cost by then would be charged to the
 * few dozen that were complete. Paced clients begin evenly over the time of a stream, so that no stream begins in the rush in which
 * the others end, and the times of their first streams do not count, which made the connections.
 */
async function counted(folder, lane, work, connections, seconds) {
  const { paced, events } = WORK[work];
  const rounds = Math.max(1, Math.round(paced ? seconds / 1.3 : seconds * 2));
  const seen = await client(folder, "streams", lane, work, { clients: connections, ...(paced ? { rounds: rounds + 1, skip: 1, spread: PACED, dated: 1 } : { rounds }) });
  const { p50, p90, p99 } = seen.whole ?? {};
  const wanted = connections * rounds * events;
  if (paced && seen.failed === 0 && seen.delay?.n !== wanted) throw new Failure(`${lane.name}: ${seen.delay?.n} events of ${wanted}`);
  return { requests: seen.answers, errors: seen.failed, trouble: seen.trouble, p50, p90, p99, perSecond: seen.answers / (seen.took / 1e6), first: seen.first, gap: seen.gap, delay: seen.delay };
}

/** What a lane is asked: some are asked in the words of another API. */
export function asked({ words = (body) => body }, work) {
  return words(WORK[work].body);
}

/** Runs `client.rs`. A request may bring its own body; its file is then named like the work. */
export async function client(folder, mode, lane, work, options = {}) {
  const { request } = lane;
  const body = join(folder, `${work}.json`);
  fs.writeFileSync(body, request.body ?? asked(lane, work));
  const headers = Object.entries(request.headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]);
  const args = [mode, request.url, "--body", body, ...headers, ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])];
  const { stdout } = await run(compiled(folder, "client"), args, { maxBuffer: 1 << 26 });
  return JSON.parse(stdout);
}

/** Keeps a load running until it is stopped. */
export function background(folder, lane, work, { connections, rate }) {
  const { url, headers } = lane.request;
  let child;
  if (rate) {
    const body = join(folder, `${work}.json`);
    fs.writeFileSync(body, WORK[work].body);
    const args = Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]);
    child = spawn(compiled(folder, "client"), ["rate", url, "--body", body, ...args, "--clients", connections, "--rate", rate, "--seconds", 120].map(String), { stdio: "ignore" });
  } else {
    const file = join(folder, `${lane.name}-${work}.lua`);
    fs.writeFileSync(file, script(headers, WORK[work]));
    child = spawn("wrk", ["-t1", `-c${connections}`, "-d120s", "--timeout", "30s", "-s", file, url], { stdio: "ignore" });
  }
  const ended = new Promise((resolve) => child.once("exit", resolve));
  return () => {
    child.kill();
    return ended;
  };
}

/** A process and those it has started. */
function family(pid) {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
  return [pid, ...children.flatMap(family)];
}

function ofFamily(pid, figure) {
  if (!pid || !fs.existsSync(`/proc/${pid}/stat`)) return null;
  return family(pid).reduce((sum, one) => sum + figure(one), 0);
}

/** The CPU time that a process has used, in microseconds; null where there is no /proc. */
export function cpu(pid) {
  return ofFamily(pid, (one) => {
    const fields = fs.readFileSync(`/proc/${one}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
    // utime and stime, in hundredths of a second.
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  });
}

/** The same in nanoseconds, for what takes less than a tick of that clock. */
export function scheduled(pid) {
  return ofFamily(pid, (one) => {
    const threads = fs.readdirSync(`/proc/${one}/task`).map((thread) => fs.readFileSync(`/proc/${one}/task/${thread}/schedstat`, "utf8"));
    return threads.reduce((sum, text) => sum + Number(text.split(" ")[0]), 0);
  });
}

/** Lets the kernel forget the peak so far, where it may be told. */
export function resetPeak(pid) {
  try {
    ofFamily(pid, (one) => fs.writeFileSync(`/proc/${one}/clear_refs`, "5"));
  } catch {
    // The peak is then that of the whole run.
  }
}

/** Resident memory in bytes: the peak, or what there is now. */
export function peak(pid) {
  return memory(pid, "VmHWM");
}

export function resident(pid) {
  return memory(pid, "VmRSS");
}

function memory(pid, field) {
  return ofFamily(pid, (one) => 1_024 * Number(new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(fs.readFileSync(`/proc/${one}/status`, "utf8"))?.[1] ?? 0));
}

/** The CPU time once the process has come to rest, or so many seconds are over. */
export async function settled(pid, seconds = 10) {
  let last = cpu(pid);
  if (last === null) return null;
  for (let quiet = 0, waited = 0; quiet < 5 && waited < seconds * 20; waited += 1) {
    await sleep(50);
    const now = cpu(pid);
    quiet = now === last ? quiet + 1 : 0;
    last = now;
  }
  return last;
}

/** The workerd processes that this one has started. */
export function workerds() {
  if (!fs.existsSync("/proc/self/stat")) return [];
  const numbers = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return numbers.filter((pid) => {
    try {
      const [, name, parent] = /^\d+ \((.*)\) \S (\d+)/s.exec(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
      return name === "workerd" && Number(parent) === process.pid;
    } catch {
      // It has ended meanwhile.
      return false;
    }
  });
}

/** The CPU time of those processes, in milliseconds. */
export function cpuOfWorkerds() {
  return workerds().reduce((sum, pid) => sum + cpu(pid), 0) / 1_000;
}
