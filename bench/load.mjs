// Load on one lane: wrk for latency and throughput, /proc for the CPU time of its workerd.
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Failure } from "../scripts/toolchain.mjs";

const run = promisify(execFile);

/** wrk reads its request from a Lua file and ends with what `done` writes. */
function script({ body, headers }) {
  const text = (value) => `[==[${value}]==]`;
  const lines = Object.entries(headers).map(([name, value]) => `wrk.headers[ ${text(name)} ] = ${text(value)}`);
  return `wrk.method = "POST"
wrk.body = ${text(body)}
${lines.join("\n")}
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`;
}

/** So many seconds of requests over so many connections; times in microseconds. */
export async function load(folder, lane, connections, seconds) {
  const file = join(folder, `${lane.name}.lua`);
  fs.writeFileSync(file, script(lane.request));
  const before = cpu(lane.pid);
  const { stdout, stderr } = await run("wrk", ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s", "-s", file, lane.request.url]);
  const result = /^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$/m.exec(stdout);
  if (!result || stderr) throw new Failure(`wrk did not say what it measured:\n${stdout}${stderr}`);
  const [requests, duration, p50, p90, p99, errors] = result.slice(1).map(Number);
  if (errors > 0 || requests === 0) throw new Failure(`${lane.name}: ${errors} of ${requests} requests failed`);
  // What is done behind the answers is part of a request's price.
  const after = await settled(lane.pid);
  return { requests, p50, p90, p99, perSecond: requests / (duration / 1e6), cpu: before === null ? null : (after - before) / requests };
}

/** The CPU time that a process has used, in microseconds; null where there is no /proc. */
function cpu(pid) {
  if (!pid || !fs.existsSync(`/proc/${pid}/stat`)) return null;
  const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  // utime and stime, in hundredths of a second.
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** The same once the process has come to rest. */
async function settled(pid) {
  let last = cpu(pid);
  for (let quiet = 0, waited = 0; quiet < 5 && waited < 100; waited += 1) {
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
