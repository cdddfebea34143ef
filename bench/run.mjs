// `npm run bench [-- --rounds N --seconds N]`: what Tollgate and each of its controls add to a request, as ratios to the
// barest Worker in the same run. Prints a table and leaves it, with every figure, in bench/results/.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, nodeProgram, wranglerEnv } from "../scripts/setup.mjs";
import { ensureProgram, Failure, main, output, root, say } from "../scripts/toolchain.mjs";

const CONNECTIONS = 16;

const median = (numbers) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Every lane once a round, each time beginning with another one, so that no lane always has the quiet minute. */
async function measure(lanes, rounds, seconds, one) {
  for (const lane of lanes) {
    lane.rounds = [];
    await one(lane, CONNECTIONS, Math.min(2, seconds));
  }
  for (let round = 0; round < rounds; round += 1) {
    for (let n = 0; n < lanes.length; n += 1) {
      const lane = lanes[(round + n) % lanes.length];
      const alone = await one(lane, 1, seconds);
      const together = await one(lane, CONNECTIONS, seconds);
      lane.rounds.push({ p50: alone.p50, p90: alone.p90, p99: alone.p99, perSecond: together.perSecond, cpu: together.cpu });
    }
    say(`round ${round + 1} of ${rounds} is done`);
  }
}

const FIGURES = ["p50", "p90", "p99", "perSecond", "cpu"];

/** Medians over the rounds; a ratio is the median of the rounds' ratios, so that what slows a whole round cancels out. */
function summary(lane, bare) {
  const of = (value) => Object.fromEntries(FIGURES.map((figure) => [figure, value(figure)]));
  const known = (numbers) => (numbers.every((number) => Number.isFinite(number)) ? median(numbers) : null);
  return {
    name: lane.name,
    title: lane.title,
    median: of((figure) => known(lane.rounds.map((round) => round[figure] ?? NaN))),
    ratio: of((figure) => known(lane.rounds.map((round, n) => (round[figure] ?? NaN) / (bare.rounds[n][figure] ?? NaN)))),
    rounds: lane.rounds,
  };
}

const shown = (number, digits = 0) => (number === null ? "" : number.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits }));
const times = (ratio) => (ratio === null ? "" : `${shown(ratio, 2)} ×`);

/** What a control adds to Tollgate with logs, in parts of a bare request. */
function added(lane, base) {
  const of = (figure) => {
    const parts = lane.rounds.map((round, n) => round[figure] - base.rounds[n][figure]);
    return parts.every(Number.isFinite) ? median(parts) : null;
  };
  return { p50: of("p50"), cpu: of("cpu") };
}

function markdown({ machine, rounds, seconds, lanes, missing }) {
  const row = ({ title, median: m, ratio: r }) =>
    `| ${title} | ${shown(m.p50)} | ${times(r.p50)} | ${shown(m.p90)} | ${times(r.p90)} | ${shown(m.p99)} | ${times(r.p99)} | ${shown(m.perSecond)} | ${times(r.perSecond)} | ${shown(m.cpu)} | ${times(r.cpu)} |`;
  const named = (name) => lanes.find((lane) => lane.name === name);
  const [bare, base] = [named("bare"), named("tollgate")];
  const adding = lanes.slice(lanes.indexOf(base) + 1).map((lane) => {
    const { p50, cpu } = added(lane, base);
    const part = (figure, of) => (figure === null ? "" : `${shown(figure)} µs, ${shown(figure / of, 2)} of a bare request`);
    return `| ${lane.name} | ${part(p50, bare.median.p50)} | ${part(cpu, bare.median.cpu)} |`;
  });
  return [
    `Median of ${rounds} interleaved rounds of ${seconds} s on ${machine}. Latency at 1 connection in µs; requests a second and workerd's CPU time`,
    `for a request in µs at ${CONNECTIONS}; × is the ratio to the bare Worker in the same round.`,
    "",
    "| | p50 | | p90 | | p99 | | requests/s | | CPU | |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
    ...lanes.map(row),
    ...(adding.length > 0 ? ["", "What a control adds to Tollgate with logs:", "", "| | p50 | CPU |", "|---|---|---|", ...adding] : []),
    ...(missing.length > 0 ? ["", `Not in this Worker: ${missing.join(", ")}.`] : []),
    "",
  ].join("\n");
}

function positive(value, name) {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Failure(`--${name} must be a whole number from 1 on, not "${value}"`);
}

await main(import.meta.url, async () => {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "4" } } });
  const [rounds, seconds] = ["rounds", "seconds"].map((name) => positive(values[name], name));
  // workerd and miniflare want a newer Node than a machine may have.
  if (process.execPath !== nodeProgram && process.env.TOLLGATE_BENCH !== "1") {
    const env = { ...wranglerEnv(), TOLLGATE_BENCH: "1" };
    process.exit(spawnSync(nodeProgram, process.argv.slice(1), { cwd: root, env, stdio: "inherit" }).status ?? 1);
  }
  ensureProgram("wrk", "wrk", "Install wrk (https://github.com/wg/wrk), which makes the load.");
  build();
  const folder = join(root, "target/bench");
  fs.mkdirSync(folder, { recursive: true });
  const [{ start }, { load }] = await Promise.all([import("./lanes.mjs"), import("./load.mjs")]);
  const at = new Date().toISOString();
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, load ${loadavg()[0].toFixed(1)} at the start`;
  if (loadavg()[0] > cpus().length / 2) say("other work keeps this machine busy; of these figures only the ratios of CPU time will mean much");
  const stops = [];
  let lanes, missing;
  try {
    ({ lanes, missing } = await start(folder, stops));
    const sent = new Map();
    await measure(lanes, rounds, seconds, async (lane, connections, time) => {
      const result = await load(folder, lane, connections, time);
      sent.set(lane, (sent.get(lane) ?? 0) + result.requests);
      return result;
    });
    await checkLogs(lanes, sent);
  } finally {
    await Promise.all(stops.map((stop) => stop()));
  }
  const bare = lanes.find(({ name }) => name === "bare");
  const commit = output("git", ["rev-parse", "--short", "HEAD"], { cwd: root });
  const result = { at, commit, machine, rounds, seconds, connections: CONNECTIONS, missing, lanes: lanes.map((lane) => summary(lane, bare)) };
  const table = markdown(result);
  const results = join(root, "bench/results");
  fs.mkdirSync(results, { recursive: true });
  const name = join(results, at.slice(0, 16).replace(":", ""));
  fs.writeFileSync(`${name}.json`, `${JSON.stringify(result, null, 1)}\n`);
  fs.writeFileSync(`${name}.md`, table);
  console.log(table);
  say(`written to ${name}.md and .json`);
});

/** A lane that answers without doing its work would be a fast one. */
async function checkLogs(lanes, sent) {
  for (const lane of lanes.filter(({ gateway }) => gateway)) {
    const wanted = lane.name === "tollgate-no-log" ? 0 : sent.get(lane);
    const [{ n }] = await lane.gateway.rows("SELECT count(*) AS n FROM logs JOIN gateways ON gateways.key = gateway WHERE gateways.id = 'bench'");
    if (wanted === 0 ? n > 0 : n < wanted) throw new Failure(`${lane.name}: ${n} logs for ${sent.get(lane)} requests`);
  }
}
