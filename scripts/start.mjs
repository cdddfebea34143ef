// `npm start`: sets everything up, then serves Tollgate on this machine until it is stopped. `npm run example` serves the
// Worker in examples/worker, and Tollgate behind it.
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { databases } from "./databases.mjs";
import { build, wrangler, wranglerEnv } from "./setup.mjs";
import { Failure, main, readText, root, say } from "./toolchain.mjs";

const PARENT = process.ppid;
const HOST = "127.0.0.1";
const VARS = join(root, ".dev.vars");
const STATE = ".wrangler/state";
const EXAMPLE = "examples/worker/wrangler.toml";

function chosenPort() {
  const port = Number(process.env.PORT || 8787);
  if (Number.isInteger(port) && port > 0 && port < 65536) return port;
  throw new Failure(`PORT must be a number from 1 to 65535, not "${process.env.PORT}".`);
}

async function checkPortIsFree(port) {
  const server = createServer();
  const error = await new Promise((resolve) => {
    server.once("error", resolve).listen(port, HOST, () => resolve(null));
  });
  if (!error) return new Promise((resolve) => server.close(resolve));
  const reason = error.code === "EADDRINUSE" ? "is in use" : `cannot be opened (${error.code})`;
  throw new Failure(`port ${port} of ${HOST} ${reason}. Choose another: PORT=8788 npm start`);
}

/** Only says something when there was something to apply. */
function migrate(binding) {
  const { command, args } = wrangler("d1", "migrations", "apply", binding, "--local", "--persist-to", STATE);
  // With CI set, wrangler does not ask for a confirmation.
  const env = { ...wranglerEnv(), CI: "true" };
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8", env });
  if (result.status !== 0) {
    console.error(`${result.stdout}${result.stderr}`.trim());
    throw new Failure(`the local database ${binding} could not be migrated; the messages above say why.`);
  }
  if (!result.stdout.includes("No migrations to apply")) say(`migrated the local database ${binding} in ${STATE}`);
}

/** What the Worker cannot do without, or not store keys without; nothing that is there already is changed. */
function ensureSecrets() {
  for (const [name, encoding] of [["ADMIN_TOKEN", "hex"], ["ENCRYPTION_KEY", "base64"]]) {
    const text = readText(VARS) ?? "";
    if (new RegExp(`^\\s*(export\\s+)?${name}\\s*=\\s*\\S`, "m").test(text)) continue;
    const others = text.split("\n").filter((line) => line.trim() && !new RegExp(`^\\s*${name}\\s*=`).test(line));
    const secret = randomBytes(32).toString(encoding);
    fs.writeFileSync(VARS, [...others, `${name}=${secret}`, ""].join("\n"), { mode: 0o600 });
    // The mode above only counts for a file that is new.
    fs.chmodSync(VARS, 0o600);
    say(`wrote a random ${name} to .dev.vars`);
  }
}

function startWrangler(port, example) {
  // The first Worker gets the requests; the others are there for its bindings.
  const configs = example ? ["-c", EXAMPLE, "-c", "wrangler.toml"] : [];
  const { command, args } = wrangler("dev", ...configs, "--local", "--ip", HOST, "--port", String(port), "--persist-to", STATE);
  return spawn(command, [...args, "--show-interactive-dev-session=false"], {
    cwd: root,
    env: wranglerEnv(),
    stdio: ["ignore", "inherit", "inherit"],
    // A process group of its own, so that stopping it reaches workerd too.
    detached: true,
  });
}

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
    return true;
  } catch (error) {
    if (error.code === "ESRCH") return false;
    throw error;
  }
}

/** Asks wrangler and workerd to stop, and after five seconds no longer asks. */
async function stop(child) {
  signalGroup(child, "SIGTERM");
  for (let waited = 0; waited < 5000; waited += 100) {
    if (!signalGroup(child, 0)) return;
    await sleep(100);
  }
  signalGroup(child, "SIGKILL");
}

async function answers(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

async function announceWhenReady(address, child, example) {
  while (!(await answers(`${address}/${example ? "" : "health"}`))) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    await sleep(200);
  }
  if (example) return say(`the example is ready on ${address}; see examples/worker/README.md. Ctrl-C stops it.`);
  const token = `"Authorization: Bearer $(sed -n 's/^ADMIN_TOKEN=//p' .dev.vars)"`;
  say(`ready on ${address}. Ctrl-C stops it; the data stays in ${STATE}.`);
  say("the admin token is in .dev.vars (ADMIN_TOKEN). Try, in this directory:");
  console.error(`\n  curl -s ${address}/accounts/local/ai-gateway/gateways -H ${token}\n`);
}

/** npm hands a SIGTERM to the shell between us, which dies without passing it on. */
async function npmIsGone() {
  if (process.env.npm_lifecycle_event === undefined) return new Promise(() => {});
  while (process.ppid === PARENT) await sleep(500);
  return null;
}

async function serve(port, example) {
  const child = startWrangler(port, example);
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const stopped = new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => resolve(null));
  });
  process.once("exit", () => signalGroup(child, "SIGKILL"));
  void announceWhenReady(`http://${HOST}:${port}`, child, example);
  const reason = await Promise.race([ended, stopped, npmIsGone()]);
  await stop(child);
  if (reason !== null) throw new Failure(`wrangler stopped by itself (${reason}); its messages are above.`);
}

await main(import.meta.url, async ([what]) => {
  if (![undefined, "example"].includes(what)) throw new Failure("usage: npm start, or npm run example");
  const port = chosenPort();
  await checkPortIsFree(port);
  const bindings = databases().map(({ binding }) => binding);
  build();
  bindings.forEach(migrate);
  ensureSecrets();
  await serve(port, what === "example");
  process.exit(0);
});
