// `npm start` as a child process, in a folder of its own: what a person gets who starts Tollgate, and not what Miniflare gives the other tests.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Upstream } from "../upstream.mjs";
import { freePort, Gateway, TOKEN, until } from "./harness.mjs";

export const root = fileURLToPath(new URL("../..", import.meta.url));
/** A start runs wrangler for the migrations, which takes its time on a machine that is busy. */
const PATIENCE = 400_000;

/** Everything that wrangler.toml has a comment for. */
export const EVERYTHING = (text) => {
  const tables = /^# (\[\[(?:kv_namespaces|queues\.producers|queues\.consumers|r2_buckets)\]\])\n((?:# ?.*\n?)*)/gm;
  return text.replace(tables, (whole) => whole.replace(/^# ?(?=\[\[|\w+ = )/gm, ""));
};

/** A Worker in the gateway's place that says what the runtime gave it, and counts what it was asked to do. */
export const ECHO = `
import { WorkerEntrypoint } from "cloudflare:workers";
const ticks = [];
export class Limiter {}
export default class extends WorkerEntrypoint {
  fetch(request) {
    return Response.json({ url: request.url, headers: Object.fromEntries(request.headers), cf: request.cf ?? null, ticks, env: Object.keys(this.env) });
  }
  scheduled({ cron }) {
    ticks.push([cron, Date.now()]);
  }
  settled() {
    return 0;
  }
}`;

/** Those that run. A test that fails before it stops its server leaves it behind; then this process takes it along when it ends. */
const running = new Set();
process.once("exit", () => {
  for (const { child } of running) child.kill("SIGTERM");
});

export class Served extends Gateway {
  /** What it printed. */
  text = "";

  /**
   * `config` changes the text of wrangler.toml; `vars` are the lines of .dev.vars; `args` are further options; `front` is the source of
   * a Worker in front, `worker` that of one in Tollgate's place; `npm` starts it as people do, and `folder` where another was before;
   * `environment` are further variables of the process, and `under` is a command that runs it.
   */
  static async start({ config = (text) => text, vars = {}, args = [], front, worker, npm = false, folder, upstream, isReady = true, group = false, environment = {}, under = [], host = "127.0.0.1" } = {}) {
    const served = new Served();
    served.folder = folder ?? fs.mkdtempSync(join(tmpdir(), "tollgate-start-"));
    served.upstream = upstream ?? (await Upstream.start());
    served.port = await freePort();
    served.url = `${environment.TLS_CERT ? "https" : "http"}://${host}:${served.port}`;
    const main = worker ? join(served.folder, "worker/index.js") : join(root, "build/index.js");
    if (worker) {
      fs.mkdirSync(join(served.folder, "worker"), { recursive: true });
      fs.writeFileSync(main, worker);
      fs.writeFileSync(join(served.folder, "worker/index_bg.wasm"), Buffer.from("0061736d01000000", "hex"));
    }
    const toml = fs.readFileSync(join(root, "wrangler.toml"), "utf8");
    const own = toml.replace(/^main = .*$/m, `main = "${main}"`).replace(/^directory = .*$/m, `directory = "${join(root, "dashboard/dist")}"`).replaceAll('migrations_dir = "migrations"', `migrations_dir = "${join(root, "migrations")}"`);
    served.write("wrangler.toml", config(own));
    if (vars !== null) {
      const all = { ADMIN_TOKEN: TOKEN, PROVIDER_BASE_URLS: JSON.stringify(served.upstream.baseUrls), DNS_OVER_HTTPS_URL: `${served.upstream.origin}/dns-query`, ...vars };
      const lines = Object.entries(all).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}='${value}'\n`);
      const kept = fs.existsSync(served.path(".dev.vars")) ? fs.readFileSync(served.path(".dev.vars"), "utf8").split("\n").filter((line) => /^ENCRYPTION_KEY=/.test(line)) : [];
      served.write(".dev.vars", [...lines, ...("ENCRYPTION_KEY" in vars ? [] : kept), ""].join("\n").replace(/\n+/g, "\n"));
    }
    const options = ["--config", served.path("wrangler.toml"), "--port", String(served.port), "--no-build", ...args];
    if (front) {
      fs.mkdirSync(join(served.folder, "front"), { recursive: true });
      served.write("front/index.js", front);
      served.write("front/wrangler.toml", 'name = "front"\nmain = "index.js"\ncompatibility_date = "2026-11-01"\n[vars]\nACCOUNT = "acct"\nGATEWAY = "gw"\n[[services]]\nbinding = "TOLLGATE"\nservice = "tollgate"\n');
      options.push("--front", served.path("front/wrangler.toml"));
    }
    const [command, ...before] = npm ? ["npm", "start", "--"] : [process.execPath, join(root, "scripts/start.mjs")];
    const env = { ...process.env };
    // What tells a script that npm runs it is set for whatever npm test runs.
    for (const name of Object.keys(env)) if (/^(npm_|NODE_TEST_|(PORT|HOST|TLS_CERT|TLS_KEY|LOG_REQUESTS|TOLLGATE_STATE)$)/.test(name)) delete env[name];
    Object.assign(env, environment);
    const [first, ...rest] = [...under, command, ...before, ...options];
    served.child = spawn(first, rest, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"], detached: group });
    for (const stream of [served.child.stdout, served.child.stderr]) stream.on("data", (piece) => (served.text += piece));
    served.ended = new Promise((resolve) => served.child.once("close", (code, signal) => resolve(signal ?? code)));
    served.over = false;
    running.add(served);
    void served.ended.then(() => {
      served.over = true;
      running.delete(served);
    });
    if (isReady) {
      await until(() => served.over || /ready on/.test(served.text), "npm start", PATIENCE);
      assert.ok(!served.over, `npm start ended:\n${served.text}`);
    }
    return served;
  }

  path(name) {
    return join(this.folder, name);
  }

  write(name, text) {
    fs.writeFileSync(this.path(name), text);
  }

  /** The processes of it, as `{pid, name}`, the one that was started first. */
  processes() {
    const all = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
      try {
        const [, name, parent] = /^\d+ \((.*)\) \S (\d+)/s.exec(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
        const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return [{ pid: Number(pid), parent: Number(parent), name, command }];
      } catch {
        return [];
      }
    });
    const ours = all.filter(({ pid }) => pid === this.child.pid);
    for (const one of ours) ours.push(...all.filter(({ parent }) => parent === one.pid));
    return ours;
  }

  /** The process whose command line has that word. */
  pid(word) {
    return this.processes().find(({ command }) => command.includes(word))?.pid;
  }

  /** Every socket that listens, as `{address, port, pid}`; an address that is no IP address is that of a Unix socket. */
  sockets() {
    const owners = new Map(this.processes().flatMap(({ pid }) => {
      const files = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => { try { return fs.readlinkSync(`/proc/${pid}/fd/${fd}`); } catch { return ""; } });
      return files.flatMap((file) => /^socket:\[(\d+)\]$/.exec(file)?.slice(1) ?? []).map((inode) => [inode, pid]);
    }));
    const lines = (name) => (fs.existsSync(`/proc/net/${name}`) ? fs.readFileSync(`/proc/net/${name}`, "utf8") : "").split("\n").slice(1).map((line) => line.trim().split(/\s+/));
    const inet = ["tcp", "tcp6", "udp", "udp6"].flatMap((name) => lines(name).flatMap(([, local, , state, , , , , , inode]) => {
      if (!owners.has(inode) || (name.startsWith("tcp") && state !== "0A")) return [];
      const [address, port] = local.split(":");
      return [{ kind: name, address: ipOf(address), port: parseInt(port, 16), pid: owners.get(inode) }];
    }));
    const unix = lines("unix").flatMap(([, , , flags, , , inode, path]) => (owners.has(inode) && flags === "00010000" ? [{ kind: "unix", address: path ?? "", port: 0, pid: owners.get(inode) }] : []));
    return [...inet, ...unix];
  }

  /** What the local database of a state answers, by wrangler, while the server does not run. */
  sql(command, state = this.path(".wrangler/state")) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "node_modules/wrangler/bin/wrangler.js"), "d1", "execute", "DB", "--local", "--json", "--config", this.path("wrangler.toml"), "--persist-to", state, "--command", command], { encoding: "utf8", env: { ...process.env, WRANGLER_SEND_METRICS: "false" } });
    assert.equal(status, 0, stdout + stderr);
    return JSON.parse(stdout)[0].results;
  }

  /** Sends a signal, and says how it ended. */
  async stopped(signal = "SIGTERM") {
    if (!this.over) process.kill(this.child.pid, signal);
    return this.ended;
  }

  /** Stops it and what belongs to it. */
  async stop({ keep = false } = {}) {
    const left = this.processes();
    await this.stopped();
    for (const { pid } of left) try { process.kill(pid, "SIGKILL"); } catch { /* It has ended, as it should. */ }
    await this.upstream.stop();
    if (!keep) fs.rmSync(this.folder, { recursive: true, force: true });
  }

  isAlive(pid) {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  }
}

/** An address of /proc/net: words of 32 bits in the machine's order. */
function ipOf(hex) {
  const bytes = hex.match(/.{8}/g).flatMap((word) => word.match(/../g).reverse().map((byte) => parseInt(byte, 16)));
  return bytes.length === 4 ? bytes.join(".") : bytes.reduce((text, byte, at) => text + (at % 2 ? byte.toString(16).padStart(2, "0") : `${at ? ":" : ""}${byte.toString(16)}`), "");
}
