// From the figures of the rounds to tables, and to what became of each bar.
import { WORK } from "./work.mjs";

export const median = (numbers) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const FIGURES = {
  perSecond: (round) => round.perSecond,
  cpu: (round) => round.cpu,
  p50: (round) => round.p50,
  p90: (round) => round.p90,
  p99: (round) => round.p99,
  peak: (round) => round.peak,
  firstP50: (round) => round.first?.p50,
  firstP99: (round) => round.first?.p99,
  gapP50: (round) => round.gap?.p50,
  gapP99: (round) => round.gap?.p99,
  delayP50: (round) => round.delay?.p50,
  delayP99: (round) => round.delay?.p99,
};

/** Nothing when one of them is not known. */
const known = (numbers) => (numbers.length > 0 && numbers.every((number) => Number.isFinite(number)) ? median(numbers) : null);

/** Medians over the rounds of each cell and lane; whatever is compared is compared round by round, so that what slows a whole round cancels out. */
export function summary(cells) {
  return cells.map(({ key, work, connections, lanes, rounds }) => ({
    key, work, connections,
    lanes: lanes.map(({ name, title }) => ({ name, title, median: figures((of) => rounds.map((round) => of(round[name] ?? {}))), ratio: ratios(rounds, name, "bare") })),
    rounds,
  }));
}

const figures = (values) => Object.fromEntries(Object.entries(FIGURES).map(([figure, of]) => [figure, known(values(of))]));
const ratios = (rounds, name, base) => figures((of) => rounds.map((round) => of(round[name] ?? {}) / of(round[base] ?? {})));

/** What one lane is to another in a cell: the median of the rounds' ratios, or of their differences. */
function compared(cells, key, figure, name, base, how = (a, b) => a / b) {
  const rounds = cells.find((cell) => cell.key === key)?.rounds ?? [];
  return known(rounds.map((round) => how(FIGURES[figure](round[name] ?? {}), FIGURES[figure](round[base] ?? {}))));
}

const added = (cells, figure, name, base) => compared(cells, "paced-16", figure, name, base, (a, b) => (a - b) / 1_000);

/** Section by section: what was promised, what was measured. A bar for which something is missing is not measured. */
export function bars({ cells, delays, starts, size }) {
  const ratio = (key, figure, base = "bare") => compared(cells, key, figure, "tollgate", base);
  const delay = (name) => delays?.find((one) => one.name === name)?.p99;
  const ms = (micros) => (micros === undefined ? null : micros / 1_000);
  const [ours, theirs] = ["tollgate", "portkey"].map((name) => added(cells, "firstP50", name, "direct"));
  const list = [
    ["16 connections: requests/s, of the bare Worker's", "least", 0.85, ratio("json-16", "perSecond"), "×"],
    ["1 connection: p50, of the bare Worker's", "most", 1.2, ratio("json-1", "p50"), "×"],
    ["as npm start serves it: requests/s at 16, of the lane \"tollgate\"", "least", 0.95, compared(cells, "json-16", "perSecond", "served", "tollgate"), "×"],
    ["as npm start serves it: requests/s at 16, of a bare Worker served so", "least", 0.85, compared(cells, "json-16", "perSecond", "served", "served-bare"), "×"],
    ["an answer of 50 KB: CPU, of the bare Worker's", "most", 2, ratio("json50-16", "cpu"), "×"],
    ["a request of 1 MB: CPU, of the bare Worker's", "most", 5, ratio("upload-16", "cpu"), "×"],
    ["2,000 events: CPU, of the bare Worker's", "most", 1.5, ratio("sse2000-16", "cpu"), "×"],
    ["paced events: time to the first, p50, more than direct", "most", 1, ours, "ms"],
    ["… more than the bare Worker's", "most", 1, added(cells, "firstP50", "tollgate", "bare"), "ms"],
    ["paced events: gap between two, p50, more than direct", "most", 1, added(cells, "gapP50", "tollgate", "direct"), "ms"],
    ["16 connections: requests/s, of Portkey's on Node", "least", 2, ratio("json-16", "perSecond", "portkey"), "×"],
    ["paced events: added time to the first, of Portkey's", "most", 0.1, ours === null || theirs === null || theirs <= 0 ? null : ours / theirs, "×"],
    ["a log can be read, p99, on an idle Worker", "most", 100, ms(delay("idle")), "ms"],
    ["a log can be read, p99, beside 200 requests/s", "most", 100, ms(delay("steady")), "ms"],
    ["a log can be read, p99, beside 16 connections that never pause", "most", 100, ms(delay("saturated")), "ms"],
    ["translated: an answer at 1 connection, p50, more than untranslated", "most", 1, compared(cells, "json-1", "p50", "translated", "unified", (a, b) => (a - b) / 1_000), "ms"],
    ["translated: 2,000 events: CPU, of untranslated", "most", 3, compared(cells, "sse2000-16", "cpu", "translated", "unified"), "×"],
    ["a route with a condition and a model: an answer at 1 connection, p50, more than without", "most", 0.3, compared(cells, "json-1", "p50", "routed", "unified", (a, b) => (a - b) / 1_000), "ms"],
    ["first request on a fresh runtime, more than the bare Worker's", "most", 20, starts?.added.first ?? null, "ms"],
    ["wasm and js, compressed", "most", 1_000, size ? size.sum / 1_000 : null, "KB"],
  ];
  return list.map(([name, kind, bar, measured, unit]) => ({ name, kind, bar, measured, unit, ...verdict(kind, bar, measured) }));
}

function verdict(kind, bar, measured) {
  if (measured === null || !Number.isFinite(measured)) return { holds: null, by: null };
  const over = kind === "most" ? measured - bar : bar - measured;
  return { holds: over <= 0, by: Math.max(0, over) };
}

const shown = (number, digits = 0) => (number === null || !Number.isFinite(number) ? "" : number.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits }));
const times = (ratio) => (ratio === null ? "" : `${shown(ratio, 2)} ×`);
const milliseconds = (micros) => (micros === null ? "" : shown(micros / 1_000, 2));
const megabytes = (bytes) => (bytes ? shown(bytes / 1_048_576) : "");
const row = (...fields) => `| ${fields.join(" | ")} |`;
const table = (heads, rows) => [row(...heads), row(...heads.map((_, n) => (n === 0 ? "---" : "--:"))), ...rows.map((fields) => row(...fields))];

export function markdown(result) {
  const { at, commit, machine, rounds, seconds, databases, took, cells, missing, delays, starts, size } = result;
  const parts = [
    `${at.slice(0, 16).replace("T", " ")}, commit ${commit ?? "unknown"}, ${machine}. Medians of ${rounds} interleaved rounds of ${seconds} s, ${shown(took)} s in all.`,
    "Latency in ms, CPU time of the gateway's process in µs for a request, × the ratio to the bare Worker in the same round,",
    `peak the most resident memory in MB.${databases ? ` Databases in ${databases}.` : ""}`,
    "",
    ...headline(cells),
    ...ceiling(cells),
  ];
  for (const cell of cells.filter(({ work }) => !WORK[work].paced)) {
    const heads = [`${WORK[cell.work].title}, ${cell.connections} ${cell.connections === 1 ? "connection" : "connections"}`, "requests/s", "×", "CPU", "×", "p50", "×", "p90", "p99", "peak"];
    parts.push("", ...table(heads, cell.lanes.map(({ title, median: m, ratio: r }) => [title, shown(m.perSecond), times(r.perSecond), shown(m.cpu), times(r.cpu), milliseconds(m.p50), times(r.p50), milliseconds(m.p90), milliseconds(m.p99), megabytes(m.peak)])));
  }
  for (const cell of cells.filter(({ work }) => WORK[work].paced)) {
    const more = (name, figure, base) => {
      const value = compared(cells, cell.key, figure, name, base, (a, b) => a - b);
      return name === base || value === null ? "" : `${value < 0 ? "" : "+"}${milliseconds(value)}`;
    };
    const heads = [`${WORK[cell.work].title}, ${cell.connections} connections`, "first p50", "to direct", "to bare", "first p99", "gap p50", "to direct", "gap p99", "to direct", "to bare", "under way p50", "p99", "CPU", "×"];
    parts.push("", ...table(heads, cell.lanes.map(({ name, title, median: m, ratio: r }) => [
      title, milliseconds(m.firstP50), more(name, "firstP50", "direct"), more(name, "firstP50", "bare"), milliseconds(m.firstP99),
      milliseconds(m.gapP50), more(name, "gapP50", "direct"), milliseconds(m.gapP99), more(name, "gapP99", "direct"), more(name, "gapP99", "bare"),
      milliseconds(m.delayP50), milliseconds(m.delayP99), shown(m.cpu), times(r.cpu),
    ])));
  }
  const priceOfLogs = cells.flatMap(({ key, work, connections }) => {
    const of = (figure) => compared(cells, key, figure, "tollgate", "tollgate-no-log");
    return of("perSecond") === null ? [] : [[`${WORK[work].title}, ${connections}`, times(of("perSecond")), times(of("cpu")), times(of("p50")), times(of("p99"))]];
  });
  if (priceOfLogs.length > 0) parts.push("", ...table(["logging on, of logging off", "requests/s", "CPU", "p50", "p99"], priceOfLogs));
  if (delays) parts.push("", ...table(["from an answer's end until `GET /logs/{id}` is 200, ms", "p50", "p90", "p99", "most", "samples", "asked again"], delays.map((one) => [one.title, milliseconds(one.p50), milliseconds(one.p90), milliseconds(one.p99), milliseconds(one.max), one.samples, one.again])));
  if (starts) {
    const line = (title, { first, cpu, second, listening }) => [title, shown(first, 1), shown(cpu, 1), shown(second, 1), shown(listening)];
    parts.push("", ...table([`a fresh runtime, ms, median of ${starts.times}`, "first request", "its CPU", "second", "until it listens"], [line("bare Worker", starts.bare), line("Tollgate", starts.tollgate), line("Tollgate adds", starts.added)]));
  }
  if (size) parts.push("", `Compressed: wasm ${shown(size.wasm / 1_000, 1)} KB, js ${shown(size.js / 1_000, 1)} KB, together ${shown(size.sum / 1_000, 1)} KB.`);
  for (const { name, reason } of missing) parts.push("", `Left out: ${name} (${reason}).`);
  parts.push("", ...table(["bar", "wanted", "measured", ""], result.bars.map(judged)), "");
  return parts.join("\n");
}

/** What docs/benchmarks.md tells: a lane to a line. */
function headline(cells) {
  const lanes = new Map(cells.flatMap((cell) => cell.lanes.map(({ name, title }) => [name, title])));
  const of = (key, name) => cells.find((cell) => cell.key === key)?.lanes.find((lane) => lane.name === name);
  const pair = (key, name, figure, show) => [show(of(key, name)?.median[figure] ?? null), times(of(key, name)?.ratio[figure] ?? null)];
  const rows = [...lanes].map(([name, title]) => {
    const first = name === "direct" ? null : added(cells, "firstP50", name, "direct");
    return [title, ...pair("json-1", name, "p50", milliseconds), ...pair("json-16", name, "perSecond", shown), ...pair("json-16", name, "cpu", shown), megabytes(of("json-16", name)?.median.peak), times(of("sse2000-16", name)?.ratio.cpu ?? null), shown(first, 2)];
  });
  return table(["0.5 KB of JSON", "p50, 1 connection", "×", "requests/s, 16", "×", "CPU, 16", "×", "peak", "2,000 events, CPU ×", "first paced event, ms added"], rows);
}

/** How much faster than the fastest gateway the stand-in is where it is least so. */
function ceiling(cells) {
  const ratios = cells.filter(({ work }) => !WORK[work].paced).flatMap(({ key, lanes }) => lanes.filter(({ name }) => name !== "direct").map(({ name }) => compared(cells, key, "perSecond", "direct", name)));
  const known = ratios.filter((ratio) => ratio !== null);
  return known.length > 0 ? ["", `The stand-in answers at least ${shown(Math.min(...known), 1)} times as fast as any gateway asks it.`] : [];
}

function judged({ name, kind, bar, measured, unit, holds, by }) {
  const with_ = (number) => `${shown(number, unit === "KB" ? 0 : 2)} ${unit}`;
  return [name, `at ${kind} ${with_(bar)}`, holds === null ? "" : with_(measured), holds === null ? "not measured" : holds ? "holds" : `misses by ${with_(by)}`];
}
