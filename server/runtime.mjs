// The runtime that `npm start` serves with: workerd, as Miniflare starts and restarts it, and as wrangler reads its configuration.
// Everything that these two call unstable or unsafe is used in this file only, and tests/e2e/operations/start.test.mjs holds it to what it promises.
import processes from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { CoreBindings, CoreHeaders, Log, LogLevel, Miniflare, convertV4MiniflareOptions } from "miniflare";
import { unstable_getMiniflareWorkerOptions as readOptions } from "wrangler";
import { Failure, root } from "./base.mjs";
import { serveTls } from "./tls.mjs";

/** The entrypoint that the outside reaches. */
const OUTSIDE = "Served";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
/** More crashes than this within a minute, and starting again makes nothing better. */
const CRASHES = 5;
/** What served.js is told by bindings, which no variable of a configuration is called. */
const SWITCHES = { log: "SERVED_LOG_REQUESTS", tls: "SERVED_BY_TLS" };
/** How long the last lines may take, in milliseconds. */
const PIPE_MS = 5_000;
/** How often it is looked whether the runtime could be started again, in milliseconds. */
const LOOK_MS = 500;

/** The bindings by which the Worker behind Miniflare's own socket finds what it could serve: buckets, Workers, handlers. */
const DOORS = [
  "SERVICE_IMAGES_DELIVERY",
  "SERVICE_LOCAL_EXPLORER",
  "SERVICE_R2_PUBLIC",
  "SERVICE_R2_S3",
  "SERVICE_STREAM",
  "SERVICE_USER_FALLBACK",
  "SERVICE_USER_ROUTE_PREFIX",
  "TRIGGER_HANDLERS",
];

const unguessable = () => randomBytes(16).toString("hex");
/** What the Worker prints when it has said everything. */
const LAST_WORD = unguessable();

// Our socket takes what a header says for `request.cf`. Under a name that cannot be known outside, no client can say it.
CoreHeaders.CF_BLOB = `x-${unguessable()}`;
// Miniflare opens a socket of its own, on loopback, and talks to the runtime by it with a secret. The Worker behind it also serves
// callers without the secret, from bindings that it knows by name. Under other names it finds none and answers 404.
for (const door of DOORS) {
  if (!(door in CoreBindings)) throw new Failure(`this version of miniflare has no ${door} any more: see server/runtime.mjs.`);
  CoreBindings[door] = `${unguessable()}_`;
}

// Miniflare starts workerd in our process group, where Ctrl-C and a supervisor's signal would end it before its requests.
const started = new Set();
let tellStarted = () => {};
const { spawn } = processes;
processes.spawn = (command, args, options) => {
  const child = spawn(command, args, { ...options, detached: true });
  started.add(child.pid);
  child.once("exit", () => started.delete(child.pid));
  tellStarted([...started]);
  return child;
};

const beside = (name) => fs.readFileSync(new URL(name, import.meta.url), "utf8");

/** A line of JSON for what the Worker reports, whatever it is: it may be a stack, or what the runtime itself has to say. */
export function jsonLine(level, message) {
  const text = String(message);
  try {
    const read = JSON.parse(text);
    if (read !== null && typeof read === "object" && !Array.isArray(read) && !text.includes("\n")) return text;
  } catch { /* It is said in words. */ }
  return JSON.stringify({ event: "worker_printed", level, message: text });
}

/** A Worker of a configuration, without its modules: `{name, main, crons, options}`. */
export function read(config) {
  let found;
  try {
    found = readOptions(config);
  } catch (error) {
    throw new Failure(`${config} cannot be read: ${error.message}`);
  }
  const { workerOptions, main, externalWorkers } = found;
  const { modulesRules, cronTriggers = [], ...options } = workerOptions;
  const name = /^\s*name\s*=\s*["'](.+?)["']/m.exec(fs.readFileSync(config, "utf8"))?.[1];
  if (!name || !main) throw new Failure(`${config} has no name or no main.`);
  if (!fs.existsSync(main)) throw new Failure(`${main}, which ${config} names as its main, is not there.`);
  return { name, main, crons: cronTriggers, options, others: externalWorkers };
}

/**
 * The binding of the dashboard's files. Cloudflare's router of assets, two Workers more, has nothing to do where the Worker is asked
 * first. A configuration of an older version names no files, and workerd does not start without the folder.
 */
function page({ binding = "ASSETS", directory = join(root, "dashboard/dist") } = {}) {
  return fs.existsSync(directory) ? { [binding]: { disk: { path: directory } } } : {};
}

/** Tollgate, as it was built. */
function tollgate({ name, main, options: { assets, ...options } }, variables, switches) {
  const folder = dirname(main);
  const bindings = { ...variables, ...options.bindings };
  // A bound Worker calls it under any name, and no other can.
  if (variables === null) delete bindings.ALLOWED_HOSTS;
  Object.assign(bindings, switches);
  return {
    ...options,
    name,
    modulesRoot: folder,
    modules: [
      { type: "ESModule", path: join(folder, "served.js"), contents: beside("served.js") },
      { type: "ESModule", path: main },
      { type: "CompiledWasm", path: join(folder, "index_bg.wasm") },
    ],
    bindings,
    serviceBindings: { ...options.serviceBindings, ...page(assets) },
  };
}

/** A Worker in front of it, with what reaches it from outside. */
async function inFront({ name, main, options }, gateway) {
  // Only a clone has it: it is not needed for Tollgate itself.
  const { build: bundle, stop: endBundler } = await import("esbuild");
  const { outputFiles } = await bundle({ entryPoints: [main], bundle: true, format: "esm", target: "esnext", external: ["cloudflare:*", "node:*"], write: false });
  await endBundler();
  const bound = Object.entries(options.serviceBindings ?? {}).map(([binding, to]) => {
    const isGateway = (to?.name ?? to) === gateway && !to?.entrypoint;
    return [binding, isGateway ? { name: gateway, entrypoint: OUTSIDE } : to];
  });
  const worker = { ...options, name, serviceBindings: Object.fromEntries(bound), modulesRoot: dirname(main), modules: [{ type: "ESModule", path: join(dirname(main), "bundled.js"), contents: outputFiles[0].text }] };
  const { compatibilityDate } = options;
  const door = { name: `${name}-door`, compatibilityDate, modules: [{ type: "ESModule", path: "door.js", contents: beside("door.js") }], serviceBindings: { SERVED: name } };
  return [door, worker];
}

/** The crash that Miniflare only writes a line about. */
class Watch extends Log {
  constructor(crashed) {
    super(LogLevel.WARN);
    this.crashed = crashed;
  }

  warn(message) {
    super.warn(message);
    if (/runtime crashed unexpectedly/.test(message)) this.crashed();
  }
}

export class Runtime {
  #miniflare;
  #tollgate;
  #crons = new Map();
  #timers = [];
  #crashes = [];
  #failed;
  #saidAll;
  #said = new Promise((resolve) => (this.#saidAll = resolve));
  /** Fulfilled with the reason when it cannot go on. */
  failed = new Promise((resolve) => (this.#failed = resolve));

  /**
   * Serves the Worker of `config`, or the one of `front` with the other behind it, on `host` and `port`. State is kept where
   * wrangler keeps it. `variables` are those that the configuration says nothing of; `minute` is how long a minute of the cron's is, in
   * milliseconds; `tls` are the files of https; `started` is told the ids of the processes that run.
   */
  static async start({ config, front, host, port, tls, state, logRequests = false, variables = {}, minute = 60_000, started: tell = () => {} }) {
    tellStarted = tell;
    const runtime = new Runtime();
    const own = read(config);
    const others = front ? await inFront(read(front), own.name) : [];
    const switches = { ...(logRequests && { [SWITCHES.log]: true }), ...(tls && { [SWITCHES.tls]: true }) };
    const workers = [...others, tollgate(own, front ? null : variables, switches), ...own.others];
    workers[0].unsafeDirectSockets = [{ ...(tls ? { host: "127.0.0.1", port: 0 } : { host, port }), entrypoint: OUTSIDE }];
    const options = convertV4MiniflareOptions({
      host: "127.0.0.1",
      cf: false,
      logRequests: false,
      log: new Watch(() => runtime.#crashed()),
      handleStructuredLogs: ({ level, message }) => {
        if (message === LAST_WORD) runtime.#saidAll();
        else if (level === "error" || level === "warn") console.error(jsonLine(level, message));
        else console.log(message);
      },
      unsafeLocalExplorer: false,
      unsafeObservability: false,
      unsafeTriggerHandlers: false,
      unsafeInspectDurableObjects: false,
      telemetry: { enabled: false },
      resourcePersistencePath: join(state, "v3"),
      workers,
    });
    const before = new Map(SIGNALS.map((signal) => [signal, process.listeners(signal)]));
    runtime.#miniflare = new Miniflare(options);
    // Miniflare ends the process at once where it gets one of these.
    for (const [signal, known] of before) {
      for (const listener of process.listeners(signal)) if (!known.includes(listener)) process.off(signal, listener);
    }
    try {
      await runtime.#miniflare.ready;
    } catch (error) {
      throw new Failure(`workerd cannot be started: ${error.message}`);
    }
    runtime.#tollgate = own.name;
    const inner = async () => Number((await runtime.#miniflare.unsafeGetDirectURL(workers[0].name, OUTSIDE)).port);
    if (tls) await serveTls({ host, port, tls, inner });
    for (const cron of own.crons) runtime.#every(minute, () => runtime.#tick(cron));
    runtime.#every(LOOK_MS, () => runtime.#miniflare.ready.catch((error) => runtime.#failed(error.message)));
    return runtime;
  }

  #every(milliseconds, work) {
    this.#timers.push(setInterval(work, milliseconds));
  }

  #crashed() {
    const now = Date.now();
    this.#crashes = [...this.#crashes.filter((at) => now - at < 60_000), now];
    if (this.#crashes.length > CRASHES) this.#failed(`workerd crashed ${this.#crashes.length} times within a minute`);
  }

  async #worker() {
    return this.#miniflare.getWorker(this.#tollgate);
  }

  /** One run at a time: the next minute does what one that takes longer has left. */
  async #tick(cron) {
    if (this.#crons.has(cron)) return;
    this.#crons.set(cron, Date.now());
    try {
      await (await this.#worker()).scheduled({ cron, scheduledTime: new Date() });
    } catch (error) {
      console.error(`tollgate: the cron trigger failed: ${error.message}`);
    }
    this.#crons.delete(cron);
  }

  /** Takes no more requests, waits for those under way but no longer than `patience` milliseconds, and until all logs are written. Returns how many requests were cut off. */
  async stop(patience) {
    this.#timers.forEach(clearInterval);
    const left = await (await this.#worker()).stop(patience, LAST_WORD);
    // Its last lines come by a pipe, and not with the answer.
    await Promise.race([this.#said, new Promise((resolve) => setTimeout(resolve, PIPE_MS))]);
    return left;
  }

  async end() {
    this.#timers.forEach(clearInterval);
    await this.#miniflare.dispose();
  }
}
