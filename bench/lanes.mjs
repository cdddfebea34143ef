// What is measured: the stand-in itself, the barest Worker that passes requests on, and Tollgate with one control after
// the other, each Worker in a workerd of its own; `others.mjs` adds what is not ours.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Log, LogLevel, Miniflare, convertV4MiniflareOptions } from "miniflare";
import { say } from "../scripts/toolchain.mjs";
import { ACCOUNT, compatibility, Gateway } from "../tests/e2e/harness.mjs";
import { compiled, workerds } from "./load.mjs";
import { litellm, portkey } from "./others.mjs";
import { SERVED, startServed } from "./served.mjs";
import { WORK } from "./work.mjs";

export const HEADERS = { "content-type": "application/json", authorization: "Bearer sk-bench" };
const PATH = "/v1/chat/completions";

/** What every comparison is with: nothing a Worker does between a client and a provider can cost less. */
const BARE = `export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    return fetch(env.UPSTREAM + pathname + search, request);
  },
};`;

const NEVER = 1_000_000_000;

/** A provider that speaks chat completions alone. */
const ALIASES = { "gpt-4o": "groq/gpt-4o" };

/** A route that asks one condition and has one model. */
const ROUTE = [
  { id: "s", type: "start", outputs: { next: { elementId: "c" } } },
  { id: "c", type: "conditional", properties: { conditions: { "body.model": { $eq: "dynamic/bench" } } }, outputs: { true: { elementId: "m" }, false: { elementId: "e" } } },
  { id: "m", type: "model", properties: { provider: "groq", model: "gpt-4o", retries: 0, timeout: 0 }, outputs: { success: { elementId: "e" } } },
  { id: "e", type: "end", outputs: {} },
];

/** `works` says of the probe's two answers whether the control is there. */
const TOLLGATE = [
  { name: "tollgate-no-log", title: "Tollgate, logging off", settings: { collect_logs: false } },
  { name: "tollgate", title: "Tollgate, logs with bodies" },
  {
    name: "controlled", title: "… and a token, and a rate limit", authenticated: true,
    settings: { authentication: true, rate_limiting_limit: NEVER, rate_limiting_interval: 3_600 },
    probe: { authentication: true, rate_limiting_limit: 1, rate_limiting_interval: 3_600 },
    works: (answers) => answers[0].status === 200 && answers[1].status === 429,
  },
  {
    name: "cache-hit", title: "… and answered from the cache",
    headers: { "cf-aig-cache-ttl": "86400" },
    works: (answers) => answers[1].headers.get("cf-aig-cache-status") === "HIT",
  },
  {
    name: "spend-limit", title: "… and a spend rule that reserves",
    settings: { spend_limits: budget(10_000_000) },
    probe: { spend_limits: budget(0.000001) },
    works: (answers) => answers.some(({ status }) => status === 429),
  },
  { name: "unified", title: "Tollgate, the unified API", path: "/ai/v1/chat/completions", settings: { model_aliases: ALIASES } },
  { name: "translated", title: "… translated, from Messages to chat completions", path: "/ai/v1/messages", words: inMessages, settings: { model_aliases: ALIASES } },
  { name: "routed", title: "… by a route with a condition and a model", path: "/ai/v1/chat/completions", words: byRoute, elements: ROUTE },
];

const OTHERS = { portkey, litellm };

/** The same question as Anthropic's clients ask it. */
function inMessages(body) {
  const { model, user, stream, messages: [system, ...messages] } = JSON.parse(body);
  return JSON.stringify({ model, stream, max_tokens: 500, metadata: { user_id: user }, system: system.content, messages });
}

/** The same question for the route in a model's place. */
function byRoute(body) {
  return JSON.stringify({ ...JSON.parse(body), model: "dynamic/bench" });
}

function budget(limit) {
  return { enabled: true, rules: [{ id: "bench", limit, limitType: "cost", window: 86_400, reserve: true }] };
}

/**
 * Starts the lanes that are wanted, or all, with their databases in `databases` if that is not to be a temporary folder.
 * Returns them and those that cannot be had here, with the reason; `stops` gets what ends it all.
 */
export async function start(folder, wanted, databases, stops) {
  const wants = (name) => !wanted || wanted.includes(name);
  const origin = await standIn(folder, stops);
  const lanes = [{ name: "direct", title: "no gateway: straight to the stand-in", request: request(origin + PATH) }];
  const missing = [];
  if (wants("bare")) lanes.push(await bare(origin, stops));
  for (const lane of TOLLGATE.filter(({ name }) => wants(name))) {
    const started = await tollgate(lane, origin, stops, databases && { folder: join(databases, lane.name) });
    if (started) lanes.push(started);
    else missing.push({ name: lane.name, reason: "this Worker does not have it" });
  }
  for (const name of Object.keys(SERVED).filter(wants)) {
    const { url, ...lane } = await startServed(name, origin, stops, databases);
    lanes.push({ ...lane, request: request(url) });
  }
  for (const [name, startOther] of Object.entries(OTHERS).filter(([name]) => wants(name))) {
    const { reason, request: to, ...lane } = await startOther(folder, origin, stops);
    if (reason) missing.push({ name, reason });
    else lanes.push({ name, rewrites: true, ...lane, request: { ...request(to.url), headers: { ...HEADERS, ...to.headers } } });
  }
  for (const { name, reason } of missing) say(`left out: ${name} (${reason})`);
  return { origin, lanes, missing };
}

function request(url, headers = {}) {
  return { url, headers: { ...HEADERS, ...headers } };
}

export async function standIn(folder, stops) {
  const child = spawn(compiled(folder, "upstream"), { stdio: ["pipe", "pipe", "inherit"] });
  stops.push(() => child.kill());
  return new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
}

/** Starts a Worker and finds out which process it is. */
export async function inOwnProcess(work) {
  const before = workerds();
  const started = await work();
  const [pid] = workerds().filter((pid) => !before.includes(pid));
  return { started, pid };
}

/** Further options are those of Miniflare for a Worker. */
export async function bareWorker(origin, { folder, runtime, ...worker } = {}) {
  const { date, flags } = compatibility();
  const options = convertV4MiniflareOptions({
    ...runtime,
    host: "127.0.0.1",
    log: new Log(LogLevel.ERROR),
    workers: [{ name: "bare", modules: [{ type: "ESModule", path: "bare.mjs", contents: BARE }], compatibilityDate: date, compatibilityFlags: flags, bindings: { UPSTREAM: origin }, ...worker }],
  });
  const miniflare = new Miniflare({ ...options, ...(folder && { resourcePersistencePath: folder }) });
  await miniflare.ready;
  return miniflare;
}

async function bare(origin, stops) {
  const { started: miniflare, pid } = await inOwnProcess(() => bareWorker(origin));
  stops.push(() => miniflare.dispose());
  return { name: "bare", title: "bare Worker, passes on", pid, request: request(String(await miniflare.ready).replace(/\/$/, "") + PATH) };
}

/** Starts Tollgate in front of the stand-in. */
export async function tollgateWorker(origin, stops, options = {}) {
  const upstream = { origin, baseUrls: { openai: `${origin}/v1`, groq: `${origin}/v1` }, stop() {} };
  const { started: gateway, pid } = await inOwnProcess(() => Gateway.start({ upstream, ...options }));
  stops.push(() => gateway.miniflare.dispose());
  return { gateway, pid };
}

export function urlOf(gateway, id, path = "chat/completions") {
  return `${gateway.url}/v1/${ACCOUNT}/${id}/openai/${path}`;
}

async function tollgate({ name, title, settings, headers, authenticated, probe = settings, works, path, words, elements }, origin, stops, options) {
  const { gateway, pid } = await tollgateWorker(origin, stops, options);
  const sent = { ...headers, ...(authenticated && { "cf-aig-authorization": `Bearer ${await token(gateway)}` }) };
  if (works) {
    await gateway.create("probe", probe);
    const answers = [];
    for (let n = 0; n < 2; n += 1) {
      const answer = await fetch(urlOf(gateway, "probe"), { method: "POST", body: WORK.json.body, headers: { ...HEADERS, ...sent } });
      await answer.text();
      answers.push(answer);
    }
    if (!works(answers)) return null;
  }
  await gateway.create("bench", settings);
  if (elements) {
    const made = await gateway.api("/gateways/bench/routes", { method: "POST", body: JSON.stringify({ name: "bench", elements }) });
    if (!made.ok) throw new Error(`the route is refused: ${await made.text()}`);
  }
  const url = path ? `${gateway.url}/v1/${ACCOUNT}/bench${path}` : urlOf(gateway, "bench");
  const lane = { name, title, pid, gateway, words, request: request(url, sent) };
  if (authenticated && (await fetch(lane.request.url, { method: "POST", body: WORK.json.body, headers: HEADERS })).status !== 401) return null;
  return lane;
}

async function token(gateway) {
  const made = await gateway.api("/tokens", { method: "POST", body: JSON.stringify({ name: "bench", permissions: ["run"] }) });
  return (await made.json()).result.value;
}
