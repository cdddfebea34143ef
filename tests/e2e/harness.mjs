// The built Worker in workerd, listening on a real port, with a D1 of its own and a stand-in for the providers.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Log, LogLevel, Miniflare, convertV4MiniflareOptions } from "miniflare";
import { Upstream } from "../upstream.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const TOKEN = "f3a9c1d27b604e8895aa01bc7d";
export const ACCOUNT = "acct";
export const ENCRYPTION_KEY = "UMzCE0d5k8r3p1vJ0b8gBqzS2xkWfQe4n7HhYtLmAoI=";

/** Subclasses the Worker so that its database fails when a test says so; see `fault` below. With `every: n` each n-th write fails, before and after it took effect in turn. */
const FAULTY = `
import Worker from "./index.js";
export * from "./index.js";
const plan = { fail: 0, after: false, down: false, hang: 0, hangReads: false, every: 0, writes: 0, failed: 0 };
function faulty(db) {
  const guarded = async (run) => {
    if (plan.hang > 0) { plan.hang -= 1; await new Promise(() => {}); }
    if (plan.fail > 0 && !plan.after) { plan.fail -= 1; throw new Error("D1_ERROR: the test pulled the plug"); }
    const turn = plan.every > 0 && (plan.writes += 1) % plan.every === 0 ? (plan.failed += 1) : 0;
    if (turn % 2 === 1) throw new Error("D1_ERROR: the test pulled the plug");
    const result = await run();
    if (turn > 0) throw new Error("D1_ERROR: the test pulled the plug, too late");
    if (plan.fail > 0) { plan.fail -= 1; throw new Error("D1_ERROR: the test pulled the plug, too late"); }
    return result;
  };
  // Reads fail only when a test wants everything down; otherwise it could not count the writes.
  const statement = (made) => ({ made, bind: (...values) => statement(made.bind(...values)), all: () => (plan.hangReads ? new Promise(() => {}) : plan.down ? guarded(() => made.all()) : made.all()) });
  return { prepare: (sql) => statement(db.prepare(sql)), batch: (statements) => guarded(() => db.batch(statements.map(({ made }) => made))) };
}
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, DB: faulty(env.DB) }); }
  async fetch(request) {
    const url = new URL(request.url);
    if (url.pathname !== "/__fault") return super.fetch(request);
    if (request.method === "POST") Object.assign(plan, await request.json());
    return Response.json(plan);
  }
}`;

export class Gateway {
  /** Lines the Worker printed, which tests may look through. */
  output = [];

  /**
   * `around` is a module that wraps the Worker; `databases` is how many databases it has: DB, DB_1 and so on; `folder` is where the database is kept, to be there after a restart;
   * `kv` binds a namespace for the cache; `outbound` names the one of the `others` that whatever the Worker fetches goes to;
   * `worker` are further options of Miniflare's, `runtime` those that are not one Worker's; `build` is the folder of another build.
   */
  static async start({ build = "build", bindings = {}, worker = {}, runtime = {}, faulty = false, around = faulty ? FAULTY : undefined, databases = 1, folder, upstream, kv = false, others = [], outbound } = {}) {
    const gateway = new Gateway();
    gateway.upstream = upstream ?? (await Upstream.start());
    const file = (name) => join(root, build, name);
    const modules = [
      { type: "ESModule", path: file("index.js") },
      { type: "CompiledWasm", path: file("index_bg.wasm") },
    ];
    if (around) modules.unshift({ type: "ESModule", path: file("around.mjs"), contents: around });
    const { date, flags } = compatibility();
    const bound = Array.from({ length: databases }, (_, n) => (n === 0 ? "DB" : `DB_${n}`));
    const options = convertV4MiniflareOptions({
      ...runtime,
      host: "127.0.0.1",
      log: new Log(LogLevel.ERROR),
      handleStructuredLogs: ({ level, message }) => gateway.output.push(`${level}: ${message}`),
      workers: [
        {
          name: "tollgate",
          modules,
          modulesRoot: join(root, build),
          compatibilityDate: date,
          compatibilityFlags: flags,
          d1Databases: bound,
          kvNamespaces: kv ? ["CACHE"] : [],
          serviceBindings: { ASSETS: { disk: { path: join(root, "dashboard/dist") } } },
          durableObjects: { LIMITER: { className: "Limiter", useSQLite: true } },
          ...(outbound && { outboundService: outbound }),
          ...worker,
          bindings: defined({
            ADMIN_TOKEN: TOKEN,
            ENCRYPTION_KEY,
            PROVIDER_BASE_URLS: JSON.stringify(gateway.upstream.baseUrls),
            DNS_OVER_HTTPS_URL: `${gateway.upstream.origin}/dns-query`,
            ...bindings,
          }),
        },
        ...others,
      ],
    });
    gateway.miniflare = new Miniflare({ ...options, ...(folder && { resourcePersistencePath: folder }) });
    gateway.url = String(await gateway.miniflare.ready).replace(/\/$/, "");
    gateway.dbs = await Promise.all(bound.map((name) => gateway.miniflare.getD1Database(name)));
    gateway.db = gateway.dbs[0];
    for (const db of gateway.dbs) {
      const made = await db.prepare("SELECT name FROM sqlite_master WHERE name = 'gateways'").first();
      if (!made) await db.batch(migrations().map((statement) => db.prepare(statement)));
    }
    return gateway;
  }

  /** Stops everything. The Worker prints only what an operator has to know, so any line is a failure of the tests but those they `expect`. */
  async stop(expect = /^$/) {
    await this.miniflare.dispose();
    await this.upstream.stop();
    const surprises = this.output.filter((line) => !expect.test(line));
    assert.deepEqual(surprises, [], "the Worker printed what no test expects");
  }

  /** Makes a gateway; without `authentication` its callers need no token. */
  async create(id, settings = {}) {
    const made = await this.api("/gateways", { method: "POST", body: JSON.stringify({ id, collect_logs: true, ...settings }) });
    assert.equal(made.status, 200, await made.clone().text());
    return id;
  }

  /** A request to the control plane as the admin. */
  api(path, { headers, account = ACCOUNT, ...init } = {}) {
    return fetch(`${this.url}/accounts/${account}/ai-gateway${path}`, { ...init, headers: { authorization: `Bearer ${TOKEN}`, ...headers } });
  }

  async result(path) {
    const answer = await this.api(path);
    assert.equal(answer.status, 200, await answer.clone().text());
    return (await answer.json()).result;
  }

  /** A request to a provider through a gateway. */
  call(path, { gateway = "gw", json, headers, ...init } = {}) {
    const body = json === undefined ? {} : { method: "POST", body: JSON.stringify(json) };
    const type = json === undefined ? {} : { "content-type": "application/json" };
    return fetch(`${this.url}/v1/${ACCOUNT}/${gateway}/${path}`, { redirect: "manual", ...body, ...init, headers: { ...type, ...headers } });
  }

  /** The log of an answer. The Worker waits for a row that is on its way; a broken answer may take longer than that. */
  async logOf(answer, gateway = "gw") {
    const id = answer.headers.get?.("cf-aig-log-id") ?? answer.headers["cf-aig-log-id"];
    assert.match(id, /^[0-9A-Z]{26}$/);
    for (let attempt = 1; ; attempt += 1) {
      const found = await this.api(`/gateways/${gateway}/logs/${id}`);
      if (found.status === 200 || attempt === 15) {
        assert.equal(found.status, 200, `log ${id} did not appear`);
        return (await found.json()).result;
      }
    }
  }

  async rows(sql, ...binds) {
    return (await this.db.prepare(sql).bind(...binds).all()).results;
  }

  /** Lets the next `fail` writes of logs fail, before they take effect or after; with `down`, the reads as well. */
  async fault(fail, after = false, down = false) {
    await fetch(`${this.url}/__fault`, { method: "POST", body: JSON.stringify({ fail, after, down }) });
  }

  /** Lets each `every`-th write fail, and says how many have. */
  async failEvery(every) {
    return (await (await fetch(`${this.url}/__fault`, { method: "POST", body: JSON.stringify({ every }) })).json()).failed;
  }

  /** Lets the next `hang` writes never answer, or all reads until this is taken back. */
  async hang({ hang = 0, hangReads = false }) {
    await fetch(`${this.url}/__fault`, { method: "POST", body: JSON.stringify({ hang, hangReads }) });
  }

  /** How many of the failures that were asked for have not happened yet. */
  async faultsLeft() {
    return (await (await fetch(`${this.url}/__fault`)).json()).fail;
  }
}

/** A port that nothing listens on. It is below those that systems hand out by themselves, so that no socket of another test gets it before it is used. */
export async function freePort() {
  const server = createServer();
  for (;;) {
    const port = 11_000 + Math.floor(Math.random() * 21_000);
    const isFree = await new Promise((resolve) => server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
    server.removeAllListeners("error").removeAllListeners("listening");
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** A request by node:http, which shows what fetch hides: raw bytes, broken connections, single chunks. */
export function raw(url, { method = "GET", headers = {}, body, onData, onHeaders } = {}) {
  return new Promise((resolve) => {
    const request = httpRequest(url, { method, headers, agent: false }, (answer) => {
      const chunks = [];
      const done = (broken) => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks), broken });
      onHeaders?.(answer, request);
      answer.on("data", (chunk) => {
        chunks.push(chunk);
        onData?.(chunk, request);
      });
      answer.on("end", () => done(!answer.complete));
      answer.on("error", () => done(true));
    });
    request.on("error", (error) => resolve({ error: error.code, broken: true }));
    request.end(body);
  });
}

/** Waits for something that happens elsewhere, such as the stand-in noticing a closed connection. */
export async function until(condition, what, patience = 30_000) {
  for (const end = Date.now() + patience; Date.now() < end; ) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`waited in vain for ${what}`);
}

/** A variable that is undefined is one that is not set. */
function defined(bindings) {
  return Object.fromEntries(Object.entries(bindings).filter(([, value]) => value !== undefined));
}

/** What wrangler.toml says of the runtime. */
export function compatibility() {
  const config = readFileSync(join(root, "wrangler.toml"), "utf8");
  return { date: config.match(/^compatibility_date = "(.*)"/m)[1], flags: JSON.parse(config.match(/^compatibility_flags = (\[.*\])/m)[1]) };
}

function migrations() {
  const folder = join(root, "migrations");
  const sql = readdirSync(folder).filter((file) => file.endsWith(".sql")).sort().map((file) => readFileSync(join(folder, file), "utf8").replace(/^\s*--.*$/gm, ""));
  // A trigger has statements inside.
  return sql.join("\n").match(/\s*CREATE TRIGGER[^]*?\bEND\b|[^;]+/g).map((statement) => statement.replace(/\s+/g, " ").trim()).filter(Boolean);
}
