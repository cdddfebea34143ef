// `npm run bench`: what Tollgate costs a request, against the barest Worker and other gateways in the same run. Prints
// tables, and at last what became of each bar; leaves them, with every figure, in bench/results/. bench/README.md has the flags.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, nodeProgram, wranglerEnv } from "../scripts/setup.mjs";
import { ensureProgram, Failure, main, output, root, say } from "../scripts/toolchain.mjs";

const OPTIONS = {
  rounds: { type: "string", default: "5" },
  seconds: { type: "string", default: "1" },
  minutes: { type: "string", default: "9" },
  starts: { type: "string", default: "5" },
  samples: { type: "string", default: "300" },
  lanes: { type: "string" },
  work: { type: "string" },
  connections: { type: "string" },
  databases: { type: "string" },
};

export function number(value, name, least = 1) {
  const read = Number(value);
  if (Number.isInteger(read) && read >= least) return read;
  throw new Failure(`--${name} must be a whole number from ${least} on, not "${value}"`);
}

function names(value, name, allowed) {
  if (value === undefined) return undefined;
  const list = value.split(",").map((part) => part.trim());
  const unknown = list.filter((part) => !allowed.includes(part));
  if (unknown.length > 0) throw new Failure(`--${name} knows no ${unknown.join(", ")}; there are ${allowed.join(", ")}`);
  return list;
}

/** workerd and miniflare want a newer Node than a machine may have. What was started ends also when this is interrupted. */
export function onNode22() {
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));
  if (process.execPath === nodeProgram || process.env.TOLLGATE_BENCH === "1") return;
  const env = { ...wranglerEnv(), TOLLGATE_BENCH: "1" };
  process.exit(spawnSync(nodeProgram, process.argv.slice(1), { cwd: root, env, stdio: "inherit" }).status ?? 1);
}

/** Log delays and fresh starts come after the rounds. */
const REST = 75_000;

/** Every cell and lane once a round, each time beginning with another lane, so that none always has the quiet minute. */
async function measure(cells, { rounds, seconds, until }, one) {
  // Each lane once before, for what is compiled while it runs.
  const cold = new Set(cells.flatMap(({ lanes }) => lanes));
  for (const { work, connections, lanes } of cells) {
    for (const lane of lanes.filter((lane) => cold.delete(lane))) await one(lane, work, connections, 1);
  }
  for (const cell of cells) cell.rounds = [];
  for (let round = 0; round < rounds; round += 1) {
    const begun = Date.now();
    for (const { work, connections, lanes, long, rounds: done } of cells) {
      const figures = {};
      for (let n = 0; n < lanes.length; n += 1) {
        const lane = lanes[(round + n) % lanes.length];
        figures[lane.name] = await one(lane, work, connections, long ? 2 * seconds : seconds);
      }
      done.push(figures);
    }
    say(`round ${round + 1} of ${rounds} is done`);
    if (round + 1 < rounds && 2 * Date.now() - begun + REST > until) {
      say("there is no time for another one");
      return round + 1;
    }
  }
  return rounds;
}

/** A lane that logs less than it was sent would be a fast one. Those that were cut off at the end of a load may be there as well. */
async function checkLogs(lanes, sent) {
  for (const lane of lanes.filter(({ gateway }) => gateway)) {
    const wanted = lane.name === "tollgate-no-log" ? 0 : sent.get(lane);
    const [{ n }] = await lane.gateway.rows("SELECT count(*) AS n FROM logs JOIN gateways ON gateways.key = gateway WHERE gateways.id = 'bench'");
    if (wanted === 0 ? n > 0 : n < wanted) throw new Failure(`${lane.name}: ${n} logs for ${sent.get(lane)} requests`);
  }
}

await main(import.meta.url, async () => {
  const { values } = parseArgs({ options: OPTIONS });
  onNode22();
  const begun = Date.now();
  const [{ start }, { load, settled }, { logDelays, size, starts }, report, { CELLS, WORK, cells: choose, probe }] = await Promise.all(
    ["lanes", "load", "extra", "report", "work"].map((name) => import(`./${name}.mjs`)),
  );
  const [rounds, seconds, minutes] = ["rounds", "seconds", "minutes"].map((name) => number(values[name], name));
  const [startTimes, samples] = ["starts", "samples"].map((name) => number(values[name], name, 0));
  const wanted = names(values.lanes, "lanes", [...new Set(CELLS.flatMap(({ lanes }) => lanes))]);
  const chosen = {
    work: names(values.work, "work", Object.keys(WORK)),
    connections: values.connections?.split(",").map((text) => number(text, "connections")),
  };
  ensureProgram("wrk", "wrk", "Install wrk (https://github.com/wg/wrk), which makes the load.");
  build();
  const folder = join(root, "target/bench");
  fs.mkdirSync(folder, { recursive: true });
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GB, load ${loadavg()[0].toFixed(1)} at the start`;
  if (loadavg()[0] > cpus().length / 2) say("other work keeps this machine busy; of these figures only the ratios of CPU time will mean much");
  const stops = [];
  const databases = values.databases && fs.mkdtempSync(join(values.databases, "tollgate-bench-"));
  const result = { at: new Date(begun).toISOString(), commit: output("git", ["rev-parse", "--short", "HEAD"], { cwd: root }), machine, rounds, seconds, databases: values.databases };
  try {
    const { origin, lanes, missing } = await start(folder, wanted, databases, stops);
    const cells = choose(chosen, wanted ? lanes.filter(({ name }) => wanted.includes(name)) : lanes);
    missing.push(...(await probe([...new Set(cells.flatMap((cell) => cell.lanes))], lanes)));
    for (const cell of cells) cell.lanes = cell.lanes.filter(({ name }) => !missing.some((one) => one.name === name));
    const sent = new Map();
    result.rounds = await measure(cells, { rounds, seconds, until: Date.now() + minutes * 60_000 }, async (lane, work, connections, time) => {
      try {
        const figures = await load(folder, lane, work, connections, time);
        sent.set(lane, (sent.get(lane) ?? 0) + figures.requests);
        return figures;
      } catch (error) {
        if (!lane.rewrites || !(error instanceof Failure)) throw error;
        // Another gateway that breaks under load has no figures; that is no failure of this one.
        if (!missing.some(({ reason }) => reason === error.message)) missing.push({ name: lane.name, reason: error.message });
        return undefined;
      }
    });
    const logged = lanes.find(({ name }) => name === "tollgate");
    if (samples > 0 && logged) result.delays = await logDelays(folder, logged, samples);
    await Promise.all(lanes.filter(({ gateway }) => gateway).map(({ pid }) => settled(pid)));
    await checkLogs(lanes, sent);
    if (startTimes > 0) result.starts = await starts(origin, startTimes);
    Object.assign(result, { missing, cells: report.summary(cells), size: size() });
  } finally {
    await Promise.all(stops.map((stop) => stop()));
    if (databases) fs.rmSync(databases, { recursive: true, force: true });
  }
  result.bars = report.bars(result);
  result.took = (Date.now() - begun) / 1_000;
  const table = report.markdown(result);
  const results = join(root, "bench/results");
  fs.mkdirSync(results, { recursive: true });
  const name = join(results, result.at.slice(0, 16).replace(":", ""));
  fs.writeFileSync(`${name}.json`, `${JSON.stringify(result, null, 1)}\n`);
  fs.writeFileSync(`${name}.md`, table);
  console.log(table);
  say(`written to ${name}.md and .json`);
});
