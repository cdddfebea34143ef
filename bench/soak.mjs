// `npm run bench:soak`: does Tollgate stay within its memory, and lose nothing, when it runs long, holds many streams, has slow
// readers or large requests? Every part has a fresh runtime, and the bare Worker does it as well, which says what is the
// runtime's own. A wrong byte or a missing row fails the run; memory and time are only reported. bench/README.md has the flags.
import * as fs from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { build } from "../scripts/setup.mjs";
import { Failure, main, output, root, say } from "../scripts/toolchain.mjs";
import { number, onNode22 } from "./run.mjs";

const MB = 1_048_576;
const BIG = 20_000_000;

const OPTIONS = {
  only: { type: "string" },
  seconds: { type: "string", default: "600" },
  rate: { type: "string", default: "200" },
  streams: { type: "string", default: "1000" },
  clients: { type: "string", default: "100" },
  requests: { type: "string", default: "50" },
};

const CHAT = { path: "chat/completions" };
const question = (mark, more) => JSON.stringify({ model: "gpt-4o", user: `bench-${mark}`, ...more, messages: [{ role: "user", content: "What should I eat for lunch?" }] });

/** What is sent, how, and what is known of the answers; `count` is how many there must be. */
const PARTS = {
  steady: {
    ...CHAT, title: ({ rate, seconds }) => `${rate} requests/s for ${seconds} s`, body: () => question("json500"),
    // Long enough to see where the runtime by itself comes to rest.
    beside: (amounts) => ({ ...amounts, seconds: Math.ceil(amounts.seconds / 2) }),
    mode: "rate", options: ({ rate, seconds }) => ({ rate, seconds, clients: 64 }), count: ({ rate, seconds }) => rate * seconds,
  },
  streams: {
    ...CHAT, title: ({ streams }) => `${streams} streams at once, 64 events, one in 50 ms`, beside: (amounts) => amounts,
    body: () => question("steady64x50", { stream: true, stream_options: { include_usage: true } }),
    mode: "streams", options: ({ streams }) => ({ clients: streams, spread: 1_000 }), count: ({ streams }) => streams,
  },
  slow: {
    path: "audio/speech", title: ({ clients }) => `${clients} clients that read 20 MB at 2 MB/s`, beside: (amounts) => amounts,
    body: () => JSON.stringify({ model: "tts-1", user: `bench-audio${BIG}`, input: "Noodles.", voice: "alloy" }),
    mode: "streams", options: ({ clients }) => ({ clients, speed: 2_000_000 }), count: ({ clients }) => clients,
  },
  large: {
    ...CHAT, title: ({ requests }) => `${requests} requests of 20 MB at once`, beside: (amounts) => amounts,
    body: () => question("json500", { image: "iVBORw0KGgo".padEnd(BIG, "AAAANSUhEUgAAB9gAAAf") }),
    mode: "streams", options: ({ requests }) => ({ clients: requests }), count: ({ requests }) => requests,
  },
};

async function one(tools, folder, origin, name, part, amounts, kind) {
  const title = part.title(amounts);
  say(`${title}, ${kind}`);
  const stops = [];
  try {
    const { url, direct, pid, isolate, gateway } = await worker(tools, origin, part, kind, stops);
    const request = { url, headers: tools.HEADERS, body: part.body() };
    const expected = join(folder, `soak-${name}.expected`);
    const answer = await fetch(direct, { method: "POST", headers: request.headers, body: request.body });
    fs.writeFileSync(expected, Buffer.from(await answer.arrayBuffer()));
    // What is made once for all requests is there before the first of them counts.
    const warm = await fetch(url, { method: "POST", headers: request.headers, body: part.path === CHAT.path ? question("json500") : request.body });
    await warm.arrayBuffer();
    await tools.settled(pid);
    const before = tools.resident(pid);
    tools.resetPeak(pid);
    const watched = watch(tools, pid, isolate);
    const seen = await tools.client(folder, part.mode, { request }, `soak-${name}`, { expected, ...part.options(amounts) });
    // Bodies are written behind the answers.
    await tools.settled(pid);
    const samples = await watched();
    const wasm = await isolate.wasm().catch(() => null);
    const count = part.count(amounts);
    const rows = gateway ? await rowsOf(gateway, count, fs.statSync(expected).size, warm.status === 200 ? 1 : 0) : null;
    const memory = { before, peak: tools.peak(pid), after: tools.resident(pid), heap: Math.max(...samples.map(({ heap }) => heap ?? 0)), wasm };
    const growth = part.mode === "rate" ? growthOf(samples, seen.answers) : null;
    return { name, lane: kind, title, seen, rows, memory, growth, samples, problems: problemsOf(seen, rows, count) };
  } finally {
    await Promise.all(stops.map((stop) => stop()));
  }
}

async function worker(tools, origin, { path }, kind, stops) {
  const runtime = { inspectorPort: 0 };
  const direct = `${origin}/v1/${path}`;
  if (kind === "bare") {
    const { started, pid } = await tools.inOwnProcess(() => tools.bareWorker(origin, { runtime }));
    stops.push(() => started.dispose());
    const isolate = await tools.Isolate.of(started, "bare");
    stops.unshift(() => isolate.close());
    return { url: `${String(await started.ready).replace(/\/$/, "")}/v1/${path}`, direct, pid, isolate };
  }
  const { gateway, pid } = await tools.tollgateWorker(origin, stops, { runtime });
  await gateway.create("bench");
  const isolate = await tools.Isolate.of(gateway.miniflare, "tollgate");
  stops.unshift(() => isolate.close());
  return { url: tools.urlOf(gateway, "bench", path), direct, pid, isolate, gateway };
}

/** Five times a second, and what was seen when it ends. */
function watch(tools, pid, isolate) {
  const samples = [];
  const begun = Date.now();
  let over = false;
  const watching = (async () => {
    while (!over) {
      const heap = await Promise.race([isolate.heap().catch(() => null), sleep(1_000, null)]);
      samples.push({ at: (Date.now() - begun) / 1_000, rss: tools.resident(pid), heap });
      await sleep(200);
    }
  })();
  return async () => {
    over = true;
    await watching;
    return samples;
  };
}

/** Resident memory from when the first third is over: where it stays, and the slope of a line through it. */
function growthOf(samples, answers) {
  const end = samples.at(-1).at;
  const warm = samples.filter(({ at }) => at >= end / 3);
  const mean = (of) => warm.reduce((sum, sample) => sum + of(sample), 0) / warm.length;
  const [time, memory] = [mean(({ at }) => at), mean(({ rss }) => rss)];
  const slope = mean(({ at, rss }) => (at - time) * (rss - memory)) / mean(({ at }) => (at - time) ** 2);
  const sorted = samples.filter(({ at }) => at >= (end * 4) / 5).map(({ rss }) => rss).sort((a, b) => a - b);
  return { afterWarmUp: warm[0].rss, plateau: sorted[Math.floor(sorted.length / 2)], perThousand: (slope * end * 1_000) / Math.max(1, answers) };
}

/** Rows of the answers, and how many of them are whole. Those that are on their way get half a minute. */
async function rowsOf(gateway, count, size, others) {
  for (let waited = 0; ; waited += 1) {
    const [{ n, whole }] = await gateway.rows("SELECT count(*) AS n, coalesce(sum(success = 1 AND response_size = ?1), 0) AS whole FROM logs", size);
    if (n - others >= count || waited === 60) return { n: n - others, whole };
    await sleep(500);
  }
}

function problemsOf(seen, rows, count) {
  const problems = [];
  if (seen.answers !== count) problems.push(`${seen.answers} of ${count} requests were answered (${seen.trouble})`);
  if (seen.wrong > 0) problems.push(`${seen.wrong} answers have wrong bytes`);
  if (rows && rows.n !== count) problems.push(`${rows.n} rows for ${count} requests`);
  if (rows && rows.whole < count) problems.push(`${rows.whole} rows tell of a whole answer, of ${count}`);
  return problems;
}

const shown = (value, digits = 0) => (value === null || value === undefined ? "" : value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits }));
const megabytes = (bytes, digits = 0) => (bytes === null ? "" : shown(bytes / MB, digits));
const row = (...fields) => `| ${fields.join(" | ")} |`;

function markdown({ at, commit, machine, done }) {
  const heads = ["", "", "answered", "wrong bytes", "rows", "p50 ms", "p99 ms", "resident before", "peak", "after", "V8 heap", "wasm", "both"];
  const lines = done.map(({ lane, title, seen, rows, memory }) =>
    row(title, lane, shown(seen.answers), shown(seen.wrong), rows ? shown(rows.n) : "", shown((seen.whole?.p50 ?? 0) / 1_000, 1), shown((seen.whole?.p99 ?? 0) / 1_000, 1), ...[memory.before, memory.peak, memory.after].map((bytes) => megabytes(bytes)), ...[memory.heap, memory.wasm, memory.wasm === null ? null : memory.heap + memory.wasm].map((bytes) => megabytes(bytes, 1))));
  const growth = done.filter((part) => part.growth).map(({ title, lane, growth }) =>
    `${title}, ${lane}: ${megabytes(growth.afterWarmUp)} MB resident when a third was over, ${megabytes(growth.plateau)} MB in the last fifth; ${shown(growth.perThousand / 1_024, 1)} KB more with every 1,000 requests.`);
  const problems = done.flatMap(({ lane, title, problems }) => problems.map((problem) => `${title}, ${lane}: ${problem}.`));
  return [
    `${at.slice(0, 16).replace("T", " ")}, commit ${commit ?? "unknown"}, ${machine}. Memory in MB; resident is the whole runtime with its D1, V8 heap the most that`,
    "the Worker's isolate had in use, arrays included, beside its wasm memory; Cloudflare allows 128 MB for both.",
    "",
    row(...heads), row(...heads.map((_, n) => (n < 2 ? "---" : "--:"))), ...lines,
    ...growth.flatMap((line) => ["", line]),
    ...problems.flatMap((line) => ["", line]),
    "",
  ].join("\n");
}

await main(import.meta.url, async () => {
  const { values } = parseArgs({ options: OPTIONS });
  onNode22();
  const amounts = Object.fromEntries(["seconds", "rate", "streams", "clients", "requests"].map((name) => [name, number(values[name], name)]));
  const chosen = values.only?.split(",") ?? Object.keys(PARTS);
  const unknown = chosen.filter((name) => !PARTS[name]);
  if (unknown.length > 0) throw new Failure(`--only knows no ${unknown.join(", ")}; there are ${Object.keys(PARTS).join(", ")}`);
  build();
  const folder = join(root, "target/bench");
  fs.mkdirSync(folder, { recursive: true });
  const tools = Object.assign({}, ...(await Promise.all(["lanes", "load", "isolate", "report"].map((name) => import(`./${name}.mjs`)))));
  tools.limitHeap();
  const at = new Date().toISOString();
  const commit = output("git", ["rev-parse", "--short", "HEAD"], { cwd: root });
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, load ${loadavg()[0].toFixed(1)} at the start`;
  const stops = [];
  const done = [];
  try {
    const origin = await tools.standIn(folder, stops);
    for (const name of chosen) {
      const part = PARTS[name];
      done.push(await one(tools, folder, origin, name, part, part.beside(amounts), "bare"));
      done.push(await one(tools, folder, origin, name, part, amounts, "tollgate"));
    }
  } finally {
    await Promise.all(stops.map((stop) => stop()));
  }
  const table = markdown({ at, commit, machine, done });
  const results = join(root, "bench/results");
  fs.mkdirSync(results, { recursive: true });
  const name = join(results, `soak-${at.slice(0, 16).replace(":", "")}`);
  fs.writeFileSync(`${name}.json`, `${JSON.stringify({ at, commit, machine, amounts, done }, null, 1)}\n`);
  fs.writeFileSync(`${name}.md`, table);
  console.log(table);
  say(`written to ${name}.md and .json`);
  const problems = done.filter(({ lane }) => lane === "tollgate").flatMap(({ title, problems }) => problems.map((problem) => `${title}: ${problem}`));
  if (problems.length > 0) throw new Failure(problems.join("\n"));
});
