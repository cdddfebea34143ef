// `npm start`: sets everything up, then serves Tollgate on this machine until it is stopped. `npm run example` serves the
// Worker in examples/worker, and Tollgate behind it.
//
//   --port N            8787, or what PORT says
//   --config FILE       wrangler.toml; .dev.vars and .wrangler/state are beside it
//   --front FILE        a Worker that is served in Tollgate's place, with Tollgate behind it: its wrangler.toml
//   --state FOLDER      where the data is, in place of .wrangler/state
//   --grace SECONDS     how long requests may take to end when the server is stopped: 30
//   --minute SECONDS    how often the cron trigger runs: 60
//   --no-build          serves what is in build/ as it is
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { databases } from "./databases.mjs";
import { build, ensurePackages, nodeProgram, wrangler, wranglerEnv } from "./setup.mjs";
import { Failure, main, readText, root, say } from "./toolchain.mjs";

const PARENT = process.ppid;
const HOST = "127.0.0.1";
const EXAMPLE = join(root, "examples/worker/wrangler.toml");
const OPTIONS = {
  port: { type: "string" },
  config: { type: "string" },
  front: { type: "string" },
  state: { type: "string" },
  grace: { type: "string" },
  minute: { type: "string" },
  "no-build": { type: "boolean" },
};
/** Signals within so many milliseconds are one. */
const SAME_MS = 1000;
/** Names of this machine. Whoever wants others names them in ALLOWED_HOSTS. */
const LOOPBACK = "localhost,127.0.0.1,[::1]";
/** A token that is guessed a thousand times a second should take more than somebody's life. */
const GOOD_TOKEN = 32;

function chosen(args) {
  let read;
  try {
    read = parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new Failure(`${error.message}. Options come after two dashes: npm start -- --port 8788`);
  }
  const { values, positionals } = read;
  if (positionals.length > 1 || ![undefined, "example"].includes(positionals[0])) throw new Failure("usage: npm start, or npm run example");
  const config = resolve(values.config ?? join(root, "wrangler.toml"));
  const front = positionals[0] === "example" ? EXAMPLE : values.front && resolve(values.front);
  for (const file of [config, front]) if (file && !fs.existsSync(file)) throw new Failure(`there is no ${file}.`);
  return {
    config,
    front,
    vars: join(dirname(config), ".dev.vars"),
    state: resolve(values.state ?? join(dirname(config), ".wrangler/state")),
    host: HOST,
    port: number("--port or PORT", values.port ?? (process.env.PORT || "8787"), 1, 65_535),
    grace: number("--grace", values.grace ?? "30", 0, 86_400),
    minute: number("--minute", values.minute ?? "60", 1, 86_400),
    isBuilt: values["no-build"] === true,
  };
}

function number(name, text, least, most) {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Failure(`${name} must be a number from ${least} to ${most}, not "${text}".`);
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

/** Runs wrangler on a local database. */
function d1({ config, state }, ...args) {
  const { command, args: all } = wrangler("d1", ...args, "--local", "--persist-to", state, "--config", config);
  // With CI set, wrangler does not ask for a confirmation.
  return spawnSync(command, all, { cwd: root, encoding: "utf8", env: { ...wranglerEnv(), CI: "true" } });
}

/** Only says something when there was something to apply. */
function migrate(binding, chosen) {
  const result = d1(chosen, "migrations", "apply", binding);
  if (result.status !== 0) {
    console.error(`${result.stdout}${result.stderr}`.trim());
    throw new Failure(`the local database ${binding} could not be migrated; the messages above say why.`);
  }
  if (!result.stdout.includes("No migrations to apply")) say(`migrated the local database ${binding} in ${chosen.state}`);
}

/** What `.dev.vars` says of a name; an empty value is none. */
function variable(vars, name) {
  const line = new RegExp(`^\\s*(?:export\\s+)?${name}\\s*[=:]\\s*(.*)$`, "m").exec(readText(vars) ?? "")?.[1].trim() ?? "";
  return /^(["'`])(.*)\1/.exec(line)?.[2] ?? line.replace(/\s*#.*$/, "");
}

function write(vars, name, secret) {
  const text = readText(vars) ?? "";
  const others = text.split("\n").filter((line) => line.trim() && !new RegExp(`^\\s*(export\\s+)?${name}\\s*[=:]`).test(line));
  fs.writeFileSync(vars, [...others, `${name}=${secret}`, ""].join("\n"), { mode: 0o600 });
  // The mode above only counts for a file that is new.
  fs.chmodSync(vars, 0o600);
  say(`wrote a random ${name} to ${vars}`);
}

/** How many keys are sealed in the local database. */
function sealedKeys(chosen) {
  const result = d1(chosen, "execute", "DB", "--json", "--command", "SELECT count(*) AS n FROM provider_configs WHERE key_id IS NOT NULL");
  const sealed = result.status === 0 ? JSON.parse(result.stdout)[0].results[0].n : undefined;
  if (Number.isInteger(sealed)) return sealed;
  throw new Failure(`the local database could not be asked for stored keys:\n${result.stdout}${result.stderr}`);
}

/** What the Worker cannot do without, or not store keys without; nothing that is there already is changed. */
function ensureSecrets(chosen, isNew) {
  const { vars } = chosen;
  const token = variable(vars, "ADMIN_TOKEN");
  if (token === "") write(vars, "ADMIN_TOKEN", randomBytes(32).toString("hex"));
  else if (token.length < GOOD_TOKEN) say(`warning: ADMIN_TOKEN in ${vars} has ${token.length} characters. Use ${GOOD_TOKEN} or more, such as \`openssl rand -hex 32\` prints.`);
  if (variable(vars, "ENCRYPTION_KEY") !== "") return;
  const sealed = isNew ? 0 : sealedKeys(chosen);
  if (sealed === 0) return write(vars, "ENCRYPTION_KEY", randomBytes(32).toString("base64"));
  say(
    `warning: ${vars} has no ENCRYPTION_KEY, but ${sealed} stored keys are sealed with one. No new one is written, for they could not be read ` +
      "with it. Put the old one back; or delete those keys, and the next start writes a new one.",
  );
}

async function checked(chosen) {
  await checkPortIsFree(chosen.port);
  if (!chosen.isBuilt) build();
  ensurePackages();
  const isNew = !fs.existsSync(join(chosen.state, "v3/d1"));
  for (const { binding } of databases(readText(chosen.config), dirname(chosen.config))) migrate(binding, chosen);
  ensureSecrets(chosen, isNew);
}

function startServer({ config, front, host, port, state, grace, minute }) {
  const served = { config, front, host, port, state, grace: grace * 1000, minute: minute * 1000, variables: { ALLOWED_HOSTS: LOOPBACK } };
  return spawn(nodeProgram, [join(root, "scripts/serve.mjs"), JSON.stringify(served)], {
    cwd: root,
    env: { ...wranglerEnv(), WRANGLER_LOG: "warn" },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // A process group of its own: Ctrl-C goes to all of a group, and the server must not end before its requests.
    detached: true,
  });
}

function announce({ host, port, front, state, vars }) {
  const address = `http://${host}:${port}`;
  if (front) return say(`the example is ready on ${address}; see examples/worker/README.md. Ctrl-C stops it.`);
  const token = `"Authorization: Bearer $(sed -n 's/^ADMIN_TOKEN=//p' '${vars}')"`;
  say(`ready on ${address}. Ctrl-C stops it; the data stays in ${state}.`);
  say(`the admin token is in ${vars} (ADMIN_TOKEN). Try:`);
  console.error(`\n  curl -s ${address}/accounts/local/ai-gateway/gateways -H ${token}\n`);
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

async function serve(chosen) {
  const child = startServer(chosen);
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
  child.on("message", ({ ready, pids }) => {
    if (pids) runtime = pids;
    if (ready) announce(chosen);
  });
  const ended = await new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? code));
  });
  runtime.forEach(killed);
  if (ended === 0 && stoppedAt) return;
  throw new Failure(`the server ended by itself (${typeof ended === "number" ? `exit code ${ended}` : ended}); its messages are above.`);
}

await main(import.meta.url, async (args) => {
  const options = chosen(args);
  await checked(options);
  await serve(options);
  process.exit(0);
});
