// `tollgate start`, and `npm start` once it has built: serves Tollgate on this machine until it is stopped. This process waits for
// signals and looks after the other, which serves (serve.mjs).
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, newNode, root, say, version, wranglerEnv } from "./base.mjs";
import { ensureConfig } from "./config.mjs";
import { addressOf, chosen, OPTIONS } from "./options.mjs";
import { variable } from "./secrets.mjs";
import { signInLink } from "./sign-in.mjs";

export const HELP = OPTIONS.filter(({ name }) => !["no-build", "front"].includes(name));
export const MORE = "The first start writes wrangler.toml, and .dev.vars with two secrets, and makes the databases.\ndocs/self-hosting.md has a unit for systemd, a proxy with TLS, backup and update.";

const PARENT = process.ppid;
/** Signals within so many milliseconds are one. */
const SAME_MS = 1000;

function startServer({ grace, minute, ...options }) {
  const served = { ...options, grace: grace * 1000, minute: minute * 1000 };
  return spawn(newNode(), ["--disable-warning=ExperimentalWarning", join(root, "server/serve.mjs"), JSON.stringify(served)], {
    cwd: dirname(options.config),
    env: { ...wranglerEnv(), WRANGLER_LOG: "warn" },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // A process group of its own: Ctrl-C goes to all of a group, and the server must not end before its requests.
    detached: true,
  });
}

function announce(options, wasm) {
  const { front, state, vars, tls } = options;
  const address = addressOf(options);
  if (front) return say(`the example is ready on ${address}; see examples/worker/README.md. Ctrl-C stops it.`);
  const token = `"Authorization: Bearer $(sed -n 's/^ADMIN_TOKEN=//p' '${vars}')"`;
  say(`version ${version()}, wasm sha256 ${wasm}`);
  say(`ready on ${address}. Ctrl-C stops it; the data stays in ${state}.`);
  say(`the admin token is in ${vars} (ADMIN_TOKEN). Try:`);
  console.error(`\n  curl -s${tls ? "k" : ""} ${address}/accounts/local/ai-gateway/gateways -H ${token}\n`);
  if (variable(vars, "DASHBOARD") === "off") return;
  say(`the dashboard is on ${address}/dashboard/. This link signs you in once, within ten minutes:`);
  console.error(`\n  ${signInLink(address, variable(vars, "ADMIN_TOKEN"))}\n`);
}

/** npm hands a SIGTERM to the shell between us, which dies without passing it on. */
async function npmIsGone() {
  if (process.env.npm_lifecycle_event === undefined) return new Promise(() => {});
  while (process.ppid === PARENT) await sleep(500);
  return null;
}

function killed(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** Serves until it is stopped. Returns the exit code. */
export async function serve(options) {
  const child = startServer(options);
  /** The processes of the runtime, which must not outlive the server. */
  let runtime = [];
  let stoppedAt;
  const stop = () => {
    // Of one Ctrl-C both the terminal and npm tell.
    if (Date.now() - stoppedAt < SAME_MS) return;
    if (stoppedAt) say("ending without waiting for requests");
    stoppedAt = Date.now();
    if (child.connected) child.send("stop");
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
  void npmIsGone().then(() => stoppedAt ?? stop());
  // A terminal that is closed takes no more lines, which is no reason to end before the logs are written.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  child.on("message", ({ ready, wasm, pids }) => {
    if (pids) runtime = pids;
    if (ready) announce(options, wasm);
  });
  const ended = await new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? code));
  });
  runtime.forEach(killed);
  if (ended === 0 && stoppedAt) return 0;
  // It has said why.
  if (ended === 1) return 1;
  throw new Failure(`the server ended by itself (${typeof ended === "number" ? `exit code ${ended}` : ended}); its messages are above.`);
}

export async function run(args) {
  const options = chosen(args);
  ensureConfig(options.config);
  process.exit(await serve(options));
}
