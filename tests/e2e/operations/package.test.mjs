// The package, from the packed file, as a new user has it: an empty folder, Node and npm, no Rust, and nothing of this repository.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { isNewEnough, wasmHash } from "../../../server/base.mjs";
import { ownConfig } from "../../../server/config.mjs";
import { databases } from "../../../server/databases.mjs";
import { Upstream } from "../../upstream.mjs";
import { freePort, raw, until } from "../harness.mjs";
import { root } from "../served.mjs";

const CHAT = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] });
const folder = fs.mkdtempSync(join(tmpdir(), "tollgate-package-"));
const home = join(folder, "home");
const env = {};
let files;
let upstream;

/** What a shell and npm need, and nothing else: in particular no cargo, wherever this machine has it. */
function programs() {
  const bin = join(folder, "bin");
  fs.mkdirSync(bin);
  const which = (name) => process.env.PATH.split(delimiter).map((place) => join(place, name)).find((path) => fs.existsSync(path));
  for (const name of ["npm", "npx", "sh", "env", "ps", "uname"]) if (which(name)) fs.symlinkSync(fs.realpathSync(which(name)), join(bin, name));
  fs.symlinkSync(fs.realpathSync(process.execPath), join(bin, "node"));
  return bin;
}

function run(command, ...args) {
  return spawnSync(command, args, { cwd: home, env, encoding: "utf8", timeout: 300_000 });
}

function ran(...args) {
  const { status, stdout, stderr } = run("npx", "tollgate", ...args);
  assert.equal(status, 0, `tollgate ${args.join(" ")}\n${stdout}${stderr}`);
  return { stdout, stderr };
}

before(async () => {
  upstream = await Upstream.start();
  const packed = spawnSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: root, encoding: "utf8" });
  assert.equal(packed.status, 0, packed.stderr);
  const read = JSON.parse(packed.stdout);
  const [pack] = Array.isArray(read) ? read : Object.values(read);
  files = pack.files.map(({ path }) => path);
  fs.mkdirSync(home);
  Object.assign(env, { PATH: programs(), HOME: folder, npm_config_cache: spawnSync("npm", ["config", "get", "cache"], { encoding: "utf8" }).stdout.trim(), npm_config_update_notifier: "false", LANG: "C.UTF-8" });
  for (const name of ["npm_config_registry", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NODE_EXTRA_CA_CERTS"]) if (process.env[name]) env[name] = process.env[name];
  for (const name of [".npmrc"]) if (fs.existsSync(join(process.env.HOME ?? "/root", name))) fs.copyFileSync(join(process.env.HOME ?? "/root", name), join(folder, name));
  const { status, stdout, stderr } = run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", join(folder, pack.filename));
  assert.equal(status, 0, stdout + stderr);
});

after(async () => {
  await upstream?.stop();
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 500 });
});

/** Starts it with npx, and waits until it says that it is ready. */
async function started(...args) {
  const port = await freePort();
  const server = { url: `http://127.0.0.1:${port}`, text: "", begun: Date.now() };
  server.child = spawn("npx", ["tollgate", ...args, ...(args[0] === "start" ? ["--port", String(port)] : ["--port", String(port), "--inspector-port", String(await freePort())])], { cwd: home, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
  for (const stream of [server.child.stdout, server.child.stderr]) stream.on("data", (piece) => (server.text += piece));
  server.ended = new Promise((resolve) => server.child.once("close", (code, signal) => resolve(signal ?? code)));
  let isOver = false;
  void server.ended.then(() => (isOver = true));
  await until(async () => isOver || (args[0] === "start" ? /ready on/.test(server.text) : (await raw(`${server.url}/health`)).status === 200), `tollgate ${args.join(" ")}`, 200_000);
  assert.ok(!isOver, server.text);
  server.took = Date.now() - server.begun;
  return server;
}

const admin = () => /^ADMIN_TOKEN=(.*)$/m.exec(fs.readFileSync(join(home, ".dev.vars"), "utf8"))[1];

async function asked({ url }, token = admin()) {
  const answer = await fetch(`${url}/v1/local/default/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json", authorization: "Bearer sk-test", "cf-aig-authorization": `Bearer ${token}` }, body: CHAT });
  await answer.arrayBuffer();
  return answer;
}

const logStatus = async ({ url }, id) => (await raw(`${url}/accounts/local/ai-gateway/gateways/default/logs/${id}`, { headers: { authorization: `Bearer ${admin()}` } })).status;

test("the package has what a server needs, and no sources, tests or secrets", () => {
  for (const name of ["build/index.js", "build/index_bg.wasm", "server/cli.mjs", "server/serve.mjs", "server/served.js", "wrangler.toml", "docs/self-hosting.md", "dashboard/dist/THIRD-PARTY-LICENSES.txt", "LICENSE", "README.md"]) assert.ok(files.includes(name), name);
  assert.equal(files.filter((name) => name.startsWith("migrations/") && name.endsWith(".sql")).length, fs.readdirSync(join(root, "migrations")).filter((name) => name.endsWith(".sql")).length);
  assert.deepEqual(files.filter((name) => !/^(build\/index(\.js|_bg\.wasm)|dashboard\/dist\/.+|clients\/logpush\/[\w-]+\.mjs|docs\/[\w./-]+|migrations\/.+|server\/(import\/)?[\w-]+\.m?js|wrangler\.toml|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(name)), []);
  const { scripts, peerDependencies, devDependencies } = JSON.parse(fs.readFileSync(join(root, "package.json"), "utf8"));
  for (const [name, wanted] of Object.entries(peerDependencies)) assert.equal(devDependencies[name], wanted, name);
  assert.equal(scripts.prepack, "node scripts/setup.mjs build");
  // Everything that the server imports comes with it.
  const imported = files.filter((name) => /^server\//.test(name)).flatMap((name) => [...fs.readFileSync(join(root, name), "utf8").matchAll(/(?:from|import\() ?"([^".:/][^":]*)"/g)].map(([, specifier]) => specifier));
  for (const name of new Set(imported)) assert.ok(name in peerDependencies || ["esbuild", "workerd"].includes(name), name);
  for (const name of files.filter((name) => /^server\//.test(name))) {
    for (const [, path] of fs.readFileSync(join(root, name), "utf8").matchAll(/(?:from|import\(?) ?"(\.[^"]*)"/g)) assert.ok(path === "./index.js" || files.includes(join(dirname(name), path)), `${name}: ${path}`);
  }
});

test("there is no Rust, and Node is new enough", () => {
  assert.equal(run("sh", "-c", "command -v cargo rustc rustup worker-build").stdout, "");
  assert.deepEqual(["20.20.2", "22.12.9", "22.13.0", "24.0.0"].map(isNewEnough), [false, false, true, true]);
});

test("each command has a --help, and an unknown one is told what there is", () => {
  assert.match(ran("--help").stdout, /start .*\n.*dev .*\n.*deploy .*\n.*token .*\n.*export .*\n.*apply .*\n.*backup .*\n.*restore .*\n.*import .*\n.*doctor /);
  for (const name of ["start", "dev", "deploy", "token", "export", "apply", "backup", "restore", "import", "doctor"]) assert.match(ran(name, "--help").stdout, new RegExp(`^usage: tollgate ${name} `));
  assert.match(ran("start", "--help").stdout, /--tls-cert FILE.*TLS_CERT/);
  assert.match(ran("--version").stdout, /^\d+\.\d+\.\d+\n$/);
  const { status, stderr } = run("npx", "tollgate", "strat");
  assert.equal(status, 1);
  assert.match(stderr, /error: there is no command "strat"/);
  assert.deepEqual(fs.readdirSync(home).sort(), ["node_modules", "package-lock.json", "package.json"]);
});

test("npx tollgate start serves, token makes a token, doctor finds nothing, and SIGTERM and kill -9 lose nothing that could be read", async (t) => {
  fs.writeFileSync(join(home, ".dev.vars"), `PROVIDER_BASE_URLS='${JSON.stringify(upstream.baseUrls)}'\n`);
  let server = await started("start");
  t.diagnostic(`ready after ${server.took} ms`);
  assert.match(server.text, /wrote .*wrangler\.toml/);
  assert.match(server.text, /wasm sha256 [0-9a-f]{64}/);
  assert.equal(JSON.parse((await raw(`${server.url}/health`)).body).wasm_sha256, wasmHash(join(home, "node_modules/tollgate/build/index.js")));
  assert.equal(ran("token").stdout, `${admin()}\n`);
  const answer = await asked(server);
  assert.equal(answer.status, 200);
  const first = answer.headers.get("cf-aig-log-id");
  assert.equal(await logStatus(server, first), 200);
  const token = ran("token", "shop", "--url", server.url).stdout.trim();
  assert.equal((await asked(server, token)).status, 200);
  assert.equal((await asked(server, "wrong")).status, 401);
  assert.equal((await raw(`${server.url}/accounts/local/ai-gateway/gateways`, { headers: { authorization: `Bearer ${token}` } })).status, 403);
  assert.match(ran("doctor", "--offline").stdout, /ok +server +process \d+: .*"status":"ok"/);
  process.kill(server.child.pid, "SIGTERM");
  await server.ended;
  assert.match(ran("doctor", "--offline").stdout, /ok +databases +DB: ok\n\nTollgate can serve here\./);
  server = await started("start");
  assert.equal(await logStatus(server, first), 200);
  const second = (await asked(server)).headers.get("cf-aig-log-id");
  assert.equal(await logStatus(server, second), 200);
  // npx, its shell and the server that waits, all at once.
  process.kill(-server.child.pid, "SIGKILL");
  await server.ended;
  await until(async () => (await raw(`${server.url}/health`)).error !== undefined, "the end of what was left", 60_000);
  server = await started("start");
  for (const id of [first, second]) assert.equal(await logStatus(server, id), 200);
  process.kill(server.child.pid, "SIGTERM");
  await server.ended;
});

test("npx tollgate dev is wrangler dev on the same state", async () => {
  const server = await started("dev");
  const gateways = JSON.parse((await raw(`${server.url}/accounts/local/ai-gateway/gateways`, { headers: { authorization: `Bearer ${admin()}` } })).body);
  assert.deepEqual(gateways.result.map(({ id }) => id), ["default"]);
  process.kill(-server.child.pid, "SIGTERM");
  await server.ended;
});

test("npx tollgate deploy writes a wrangler.toml of one's own, which can be uploaded", () => {
  fs.rmSync(join(home, "wrangler.toml"));
  const { stdout, stderr } = ran("deploy", "--dry-run");
  assert.match(stdout + stderr, /Total Upload: [\d.]+ KiB \/ gzip: [\d.]+ KiB/);
  for (const name of ["DB", "LIMITER"]) assert.match(stdout + stderr, new RegExp(`env\\.${name} `));
  const text = fs.readFileSync(join(home, "wrangler.toml"), "utf8");
  assert.match(text, /^main = "node_modules\/tollgate\/build\/index\.js"$/m);
  assert.match(text, /^migrations_dir = "node_modules\/tollgate\/migrations"$/m);
  assert.match(text, /^directory = "node_modules\/tollgate\/dashboard\/dist"$/m);
  assert.doesNotMatch(text, /\[build\]|setup\.mjs/);
  // What is there is its owner's.
  fs.appendFileSync(join(home, "wrangler.toml"), "# mine\n");
  const { status, stderr: refusal } = run("npx", "tollgate", "deploy");
  assert.equal(status, 1);
  assert.match(refusal, /error: wrangler\.toml has no database for DB yet\. Run `npx wrangler d1 create tollgate`/);
  assert.ok(fs.readFileSync(join(home, "wrangler.toml"), "utf8").endsWith("# mine\n"));
  assert.equal(run("npx", "wrangler", "--version").status, 0);
});

test("all that is a comment in wrangler.toml can be taken into use in one's own", () => {
  const text = ownConfig(root).replace(/^# (?=\[\[d1_databases\]\]|binding = "DB_1"|database_name = "tollgate-1"|database_id = "0+1"|migrations_dir)/gm, "");
  assert.deepEqual(databases(text).map(({ binding }) => binding), ["DB", "DB_1"]);
});
