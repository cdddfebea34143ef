// What is measured: the stand-in itself, the barest Worker that passes requests on, and Tollgate with one control after
// the other. Each Worker has a workerd of its own.
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Log, LogLevel, Miniflare, convertV4MiniflareOptions } from "miniflare";
import { complaint, Failure, say } from "../scripts/toolchain.mjs";
import { ACCOUNT, compatibility, Gateway } from "../tests/e2e/harness.mjs";
import { workerds } from "./load.mjs";

const BODY = JSON.stringify({
  model: "gpt-4o",
  messages: [
    { role: "system", content: "You are a helpful assistant. Answer in one short sentence." },
    { role: "user", content: "What should I eat for lunch?" },
  ],
});
const HEADERS = { "content-type": "application/json", authorization: "Bearer sk-bench" };
const PATH = "/v1/chat/completions";

/** What every comparison is with: nothing a Worker does between a client and a provider can cost less. */
const BARE = `export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    return fetch(env.UPSTREAM + pathname + search, request);
  },
};`;

const NEVER = 1_000_000_000;

/** Tollgate with its logs, and one thing more in each. `works` says of the probe's two answers whether the thing is there. */
const TOLLGATE = [
  { name: "tollgate-no-log", title: "Tollgate without logs", settings: { collect_logs: false } },
  { name: "tollgate", title: "Tollgate, logs with bodies" },
  {
    name: "rate-limit", title: "… and a rate limit",
    settings: { rate_limiting_limit: NEVER, rate_limiting_interval: 3_600 },
    probe: { rate_limiting_limit: 1, rate_limiting_interval: 3_600 },
    works: (answers) => answers[1].status === 429,
  },
  {
    name: "spend-limit", title: "… and a spend rule that reserves",
    settings: { spend_limits: budget(10_000_000) },
    probe: { spend_limits: budget(0.000001) },
    works: (answers) => answers.some(({ status }) => status === 429),
  },
  {
    name: "cache-hit", title: "… and answered from the cache",
    headers: { "cf-aig-cache-ttl": "86400" },
    works: (answers) => answers[1].headers.get("cf-aig-cache-status") === "HIT",
  },
];

function budget(limit) {
  return { enabled: true, rules: [{ id: "bench", limit, limitType: "cost", window: 86_400, reserve: true }] };
}

/** Starts everything. Returns the lanes and the controls that are not there yet; `stops` gets what ends it all. */
export async function start(folder, stops) {
  const upstream = await standIn(folder);
  stops.push(() => upstream.process.kill());
  const lanes = [{ name: "direct", title: "no Worker: wrk to the stand-in", request: request(upstream.origin + PATH) }];
  const missing = [];
  lanes.push(await bare(upstream.origin, stops));
  for (const wanted of TOLLGATE) {
    const lane = await tollgate(wanted, upstream.origin, stops);
    if (lane) lanes.push(lane);
    else missing.push(wanted.name);
  }
  for (const name of missing) say(`left out: this Worker has no ${name}`);
  return { lanes, missing };
}

function request(url, headers = {}) {
  return { url, body: BODY, headers: { ...HEADERS, ...headers } };
}

async function standIn(folder) {
  const program = join(folder, "upstream");
  const source = new URL("upstream.rs", import.meta.url).pathname;
  const problem = complaint("rustc", ["--edition", "2021", "-O", "-o", program, source]);
  if (problem !== null) throw new Failure(`the stand-in for the provider cannot be compiled:\n${problem}`);
  const child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
  const origin = await new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  return { origin, process: child };
}

/** Starts a Worker and finds out which process it is. */
async function inOwnProcess(work) {
  const before = workerds();
  const started = await work();
  const [pid] = workerds().filter((pid) => !before.includes(pid));
  return { started, pid };
}

async function bare(origin, stops) {
  const { date, flags } = compatibility();
  const { started: miniflare, pid } = await inOwnProcess(async () => {
    const options = convertV4MiniflareOptions({
      host: "127.0.0.1",
      log: new Log(LogLevel.ERROR),
      workers: [{ name: "bare", modules: [{ type: "ESModule", path: "bare.mjs", contents: BARE }], compatibilityDate: date, compatibilityFlags: flags, bindings: { UPSTREAM: origin } }],
    });
    const miniflare = new Miniflare(options);
    await miniflare.ready;
    return miniflare;
  });
  stops.push(() => miniflare.dispose());
  return { name: "bare", title: "bare Worker, passes on", pid, request: request(String(await miniflare.ready).replace(/\/$/, "") + PATH) };
}

async function tollgate({ name, title, settings, headers, probe = settings, works }, origin, stops) {
  const upstream = { origin, baseUrls: { openai: `${origin}/v1` }, stop() {} };
  const { started: gateway, pid } = await inOwnProcess(() => Gateway.start({ upstream }));
  stops.push(() => gateway.miniflare.dispose());
  const url = (id) => `${gateway.url}/v1/${ACCOUNT}/${id}/openai/chat/completions`;
  if (works) {
    await gateway.create("probe", probe);
    const answers = [];
    for (let n = 0; n < 2; n += 1) {
      const { body, headers: sent } = request("", headers);
      const answer = await fetch(url("probe"), { method: "POST", body, headers: sent });
      await answer.text();
      answers.push(answer);
    }
    if (!works(answers)) return null;
  }
  await gateway.create("bench", settings);
  return { name, title, pid, gateway, request: request(url("bench"), headers) };
}
