// The server that start.mjs starts, on a Node that is new enough and in a process group of its own. It brings the state up to date
// and then serves. It ends when it is told to, when it gets a signal, or when what started it is gone; in each case not before its
// requests and logs have.
import { request as http } from "node:http";
import { request as https } from "node:https";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { dirname } from "node:path";
import { Failure, main, readText, say, wasmHash } from "./base.mjs";
import { databases } from "./databases.mjs";
import { migrate } from "./migrate.mjs";
import { addressOf } from "./options.mjs";
import { Runtime, read } from "./runtime.mjs";
import { ensureSecrets, variable } from "./secrets.mjs";
import { checkFolder, claim, watchDisk } from "./state.mjs";
import { credentials } from "./tls.mjs";

/** How long the last logs may take, in milliseconds, before the process ends all the same. */
const LAST_LOGS_MS = 25_000;
/** How long `/health` may take at first, in milliseconds. */
const HEALTH_MS = 60_000;
/** How long a process that was killed may hold its port, in milliseconds: the last of its threads gives it back. */
const PORT_MS = 10_000;

/** Why a port cannot be opened; null where it can. */
async function portError(host, port) {
  const server = createServer();
  const error = await new Promise((resolve) => {
    server.once("error", resolve).listen(port, host, () => resolve(null));
  });
  if (!error) await new Promise((resolve) => server.close(resolve));
  return error;
}

/** `mayBeHeld` says that a process was killed just now which may still hold the port. */
export async function checkPortIsFree({ host, port }, mayBeHeld = false) {
  let error = await portError(host, port);
  const until = Date.now() + (mayBeHeld ? PORT_MS : 0);
  while (error?.code === "EADDRINUSE" && Date.now() < until) {
    await sleep(50);
    error = await portError(host, port);
  }
  if (!error) return;
  const reasons = { EADDRINUSE: `port ${port} of ${host} is in use. Choose another: PORT=8788`, EACCES: `port ${port} of ${host} may not be opened by this user. Choose one from 1024 on: PORT=8788`, EADDRNOTAVAIL: `${host} is no address of this machine. Choose another HOST`, ENOTFOUND: `${host} is no address. Choose another HOST` };
  throw new Failure(`${reasons[error.code] ?? `port ${port} of ${host} cannot be opened (${error.code}). Choose another: PORT=8788`}.`);
}

/** What a Worker without words of its own about it is told. */
function variables({ host, isLoopback, vars }) {
  const names = ["localhost", "127.0.0.1", "[::1]"];
  if (!isLoopback && !["0.0.0.0", "::"].includes(host)) names.push(host.includes(":") ? `[${host}]` : host);
  const url = variable(vars, "PUBLIC_URL");
  if (URL.canParse(url)) names.push(new URL(url).hostname);
  return { ALLOWED_HOSTS: names.join(","), CLIENT_ADDRESS_HEADER: "none", CLIENT_COUNTRY_HEADER: "none" };
}

/** Other machines would send their keys in the clear, unless something in front ends TLS, which `PUBLIC_URL` tells. */
function warnOfOpenDoors({ host, isLoopback, tls, vars }) {
  if (isLoopback) return;
  const isEncrypted = tls || /^https:/i.test(variable(vars, "PUBLIC_URL"));
  if (!isEncrypted) say(`warning: ${host} can be reached from other machines, and without TLS: tokens and provider keys travel in the clear. Set TLS_CERT and TLS_KEY, or put a proxy in front and set PUBLIC_URL to its https address.`);
  if (["0.0.0.0", "::"].includes(host) && !variable(vars, "ALLOWED_HOSTS") && !variable(vars, "PUBLIC_URL")) say("warning: only requests to localhost are served until ALLOWED_HOSTS names the hosts that clients call; others get 421.");
}

function asked(address) {
  return new Promise((resolve) => {
    const send = address.startsWith("https") ? https : http;
    const request = send(`${address}/health`, { agent: false, headers: { host: "localhost" }, rejectUnauthorized: false, timeout: 10_000 }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (piece) => (text += piece)).on("end", () => resolve({ status: answer.statusCode, text })).on("error", () => resolve(null));
    });
    request.on("timeout", () => request.destroy()).on("error", () => resolve(null)).end();
  });
}

/** Waits until it answers as any client would see it. */
async function healthy(options) {
  for (const end = Date.now() + HEALTH_MS; ; await sleep(50)) {
    const answer = await asked(addressOf(options));
    if (answer && (answer.status < 500 || options.front)) return complain(answer.text, options);
    if (Date.now() > end) throw new Failure(`${addressOf(options)}/health does not answer${answer ? `, but with ${answer.status}: ${answer.text.slice(0, 300)}` : ""}.`);
  }
}

function complain(text, { vars, front }) {
  if (front) return;
  let health = {};
  try {
    health = JSON.parse(text);
  } catch { /* Another Worker in its place answers something else. */ }
  if (health.status === "unconfigured") throw new Failure(`a variable in ${vars} or in [vars] makes no sense, so nothing would be served: ${health.reason}`);
}

async function begun(options, tell) {
  const { config, state, vars, tls } = options;
  if (tls) credentials(tls);
  checkFolder(state);
  const claimed = claim(state);
  await checkPortIsFree(options, claimed.hadOrphans);
  databases(readText(config), dirname(config));
  const { main: built, options: bound } = read(config);
  const sealed = await migrate({ d1Databases: bound.d1Databases, state });
  ensureSecrets(vars, sealed);
  const runtime = await Runtime.start({
    ...options,
    variables: variables(options),
    started: (pids) => (tell({ pids }), claimed.note({ runtime: pids, address: addressOf(options) })),
  });
  await healthy(options).catch(async (error) => {
    await runtime.end();
    throw error;
  });
  warnOfOpenDoors(options);
  watchDisk(state);
  return { runtime, claimed, wasm: wasmHash(built) };
}

await main(import.meta.url, async ([text]) => {
  const { grace, ...options } = JSON.parse(text);
  const tell = (message) => process.connected && process.send(message);
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const { runtime, claimed, wasm } = await begun(options, tell).catch((error) => {
    console.error(`tollgate: error: ${error instanceof Failure ? error.message : error.stack}`);
    process.exit(1);
  });
  const failed = runtime.failed.then((reason) => {
    console.error(`tollgate: error: ${reason}.`);
    process.exitCode = 1;
  });
  let stops = 0;
  const told = new Promise((resolve) => {
    const stop = () => {
      stops += 1;
      // A second signal means that the operator does not want to wait.
      const patience = stops === 1 ? grace : 0;
      if (stops === 1 && grace > 0) say("stopping: requests that are under way may end. Once more ends them.");
      const late = new Promise((resolve) => setTimeout(resolve, patience + LAST_LOGS_MS, "late"));
      void Promise.race([runtime.stop(patience), late]).then(resolve, (error) => resolve(error.message));
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
    process.on("message", stop);
    process.on("disconnect", stop);
  });
  tell({ ready: true, wasm });
  const left = await Promise.race([told, failed]);
  if (left > 0) say(`${left} requests were cut off, and their logs are missing.`);
  if (typeof left === "string") {
    console.error(`tollgate: error: the last logs could not be waited for (${left}).`);
    process.exitCode = 1;
  }
  await runtime.end();
  claimed.release();
  process.exit();
});
