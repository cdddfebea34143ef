// Figures that no load gives: how soon a log can be read, and what a fresh runtime costs its first caller.
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { gzipSync } from "node:zlib";
import { root, say } from "../scripts/toolchain.mjs";
import { ACCOUNT, TOKEN } from "../tests/e2e/harness.mjs";
import { bareWorker, HEADERS, inOwnProcess, tollgateWorker, urlOf } from "./lanes.mjs";
import { background, client, scheduled, settled } from "./load.mjs";
import { median } from "./report.mjs";
import { WORK } from "./work.mjs";

/** The load that runs beside, from none to as much as there can be. */
const BESIDE = [
  { name: "idle", title: "on an idle Worker", part: 1 },
  { name: "steady", title: "beside 200 requests/s", load: { rate: 200, connections: 32 }, part: 1 },
  { name: "saturated", title: "beside 16 connections that never pause", load: { connections: 16 }, part: 0.5 },
];

/** From the end of an answer until its log can be read. */
export async function logDelays(folder, lane, samples) {
  const delays = [];
  for (const { name, title, load, part } of BESIDE) {
    const stop = load && background(folder, lane, "json", load);
    const logs = `${lane.gateway.url}/accounts/${ACCOUNT}/ai-gateway/gateways/bench/logs`;
    const seen = await client(folder, "logs", lane, "json", { rounds: Math.ceil(samples * part), logs, "log-header": `authorization: Bearer ${TOKEN}` });
    await stop?.();
    await settled(lane.pid);
    delays.push({ name, title, samples: seen.answers, failed: seen.failed, again: seen.again, ...seen.whole });
    say(`logs ${title} can be read after ${(seen.whole?.p50 / 1_000).toFixed(1)} ms`);
  }
  return delays;
}

/**
 * Fresh runtimes, by turns: until they listen, and the first request beside what the second takes. Both Workers have a
 * database on disk that is there already and has been asked once.
 */
export async function starts(origin, times) {
  const folder = fs.mkdtempSync(join(tmpdir(), "tollgate-bench-"));
  const all = [];
  try {
    const made = [];
    const { gateway } = await tollgateWorker(origin, made, { folder });
    await gateway.create("bench");
    await Promise.all(made.map((stop) => stop()));
    for (let n = 0; n < times; n += 1) all.push({ bare: await bareStart(origin, join(folder, "bare")), tollgate: await tollgateStart(origin, folder) });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  const of = (figure) => median(all.map(({ bare, tollgate }) => tollgate[figure] - bare[figure]));
  return { times, bare: medians(all.map(({ bare }) => bare)), tollgate: medians(all.map(({ tollgate }) => tollgate)), added: { listening: of("listening"), first: of("first"), cpu: of("cpu"), second: of("second") }, all };
}

function medians(starts) {
  return Object.fromEntries(Object.keys(starts[0]).map((figure) => [figure, median(starts.map((start) => start[figure]))]));
}

async function bareStart(origin, folder) {
  const begun = performance.now();
  const { started: miniflare, pid } = await inOwnProcess(() => bareWorker(origin, { folder, d1Databases: ["DB"] }));
  const db = await miniflare.getD1Database("DB");
  await db.prepare("SELECT name FROM sqlite_master").run();
  const listening = performance.now() - begun;
  const url = `${String(await miniflare.ready).replace(/\/$/, "")}/v1/chat/completions`;
  const times = await firstTimes(url, pid);
  await miniflare.dispose();
  return { listening, ...times };
}

async function tollgateStart(origin, folder) {
  const begun = performance.now();
  const stops = [];
  const { gateway, pid } = await tollgateWorker(origin, stops, { folder });
  const listening = performance.now() - begun;
  const url = urlOf(gateway, "bench");
  const times = await firstTimes(url, pid);
  await Promise.all(stops.map((stop) => stop()));
  return { listening, ...times };
}

/** The CPU time hardly depends on what else the machine does. */
async function firstTimes(url, pid) {
  await settled(pid);
  const before = scheduled(pid);
  const first = await timed(url);
  const cpu = (scheduled(pid) - before) / 1e6;
  return { first, cpu, second: await timed(url) };
}

async function timed(url) {
  const begun = performance.now();
  const answer = await fetch(url, { method: "POST", headers: HEADERS, body: WORK.json.body });
  await answer.text();
  if (answer.status !== 200) throw new Error(`a fresh runtime answers ${answer.status}`);
  return performance.now() - begun;
}

/** What Cloudflare would be sent, compressed. */
export function size() {
  const of = (file) => gzipSync(fs.readFileSync(join(root, "build", file)), { level: 9 }).length;
  const [js, wasm] = [of("index.js"), of("index_bg.wasm")];
  return { js, wasm, sum: js + wasm };
}
