// `tollgate doctor`: what would keep Tollgate from serving here, and what to do about it. It changes nothing that it does not have to
// change to look.
import * as fs from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { Failure, isNewEnough, readText, wasmHash } from "./base.mjs";
import { addressOf, chosen, OPTIONS, parsed } from "./options.mjs";
import { variable } from "./secrets.mjs";

process.env.WRANGLER_LOG ??= "warn";
// node:sqlite says of itself that it is new.
process.removeAllListeners("warning");

/** Three that most people have a key for; .dev.vars may name others. */
const PROVIDERS = { openai: "https://api.openai.com", anthropic: "https://api.anthropic.com", "google-ai-studio": "https://generativelanguage.googleapis.com" };
const REACH_MS = 10_000;
const WIDTH = 17;

export const HELP = [...OPTIONS.filter(({ name }) => ["host", "port", "config", "state"].includes(name)), { name: "offline", about: "leaves out the providers" }];

/** Each returns `[whether it is well, what was found, what to do]`. */
const CHECKS = {
  Node: () => [isNewEnough(), process.versions.node, "install Node 22.13 or newer: https://nodejs.org"],
  workerd: async () => {
    const { default: workerd } = await import("workerd").catch(() => ({}));
    const { spawnSync } = await import("node:child_process");
    const path = typeof workerd === "string" ? workerd : workerd?.default;
    const { stdout, error } = spawnSync(path ?? "workerd", ["--version"], { encoding: "utf8" });
    return [Boolean(stdout), stdout?.trim() || error?.message, "run `npm install` again; npm must not omit optional packages, and workerd needs glibc 2.35 (no Alpine)"];
  },
  configuration: async ({ config }) => {
    if (!fs.existsSync(config)) return [true, `no ${config} yet; start writes it`];
    const { databases } = await import("./databases.mjs");
    const { read } = await import("./runtime.mjs");
    const bound = databases(readText(config), dirname(config));
    return [true, `${config} binds ${bound.map(({ binding }) => binding).join(", ")}; wasm sha256 ${wasmHash(read(config).main)?.slice(0, 12)}…`];
  },
  secrets: ({ vars }) => {
    if (!fs.existsSync(vars)) return [true, `no ${vars} yet; start writes it`];
    const missing = ["ADMIN_TOKEN", "ENCRYPTION_KEY"].filter((name) => !variable(vars, name));
    const isOpen = (fs.statSync(vars).mode & 0o077) !== 0;
    if (missing.length > 0) return [true, `${vars} has no ${missing.join(" and no ")}; start writes one`];
    return [!isOpen, isOpen ? `other users of this machine can read ${vars}` : `${vars} has both, and only its owner reads it`, `chmod 600 ${vars}`];
  },
  state: async ({ state }) => {
    const { checkFolder, freeBytes } = await import("./state.mjs");
    if (!fs.existsSync(state)) return [true, `no ${state} yet; start makes it`];
    checkFolder(state);
    return [true, `${state}, ${(freeBytes(state) / 2 ** 30).toFixed(1)} GB free`];
  },
  port: async (options, held) => {
    const { host, port } = options;
    if (held) return [true, `${addressOf(options)} is this folder's own server`];
    const server = createServer();
    const error = await new Promise((resolve) => server.once("error", resolve).listen(port, host, () => server.close(() => resolve(null))));
    return [!error, `${port} of ${host} ${error ? `cannot be opened: ${error.code}` : "is free"}`, "choose another: PORT=8788"];
  },
  server: async (options, held) => {
    if (!held) return [true, "it does not run"];
    const answer = await fetch(`${held.address ?? addressOf(options)}/health`, { signal: AbortSignal.timeout(REACH_MS) }).then((answer) => answer.json(), (error) => ({ status: error.cause?.message ?? error.message }));
    return [answer.status === "ok", `process ${held.pid}: ${JSON.stringify(answer)}`, "its own lines on standard error say what is lost and why"];
  },
  databases: async ({ config, state }, held) => {
    if (!fs.existsSync(config) || !fs.existsSync(`${state}/v3/d1`)) return [true, "none yet; start makes them"];
    if (held) return [true, "in use by the server; stop it to have the files checked"];
    const { looked } = await import("./migrate.mjs");
    const { read } = await import("./runtime.mjs");
    const all = await looked({ d1Databases: read(config).options.d1Databases, state });
    const shown = all.map(({ binding, missing, unknown, check }) => `${binding}: ${check}${missing.length ? `, ${missing.length} migrations to come` : ""}${unknown.length ? `, used by a newer version (${unknown.join(", ")})` : ""}`);
    return [all.every(({ check }) => check === "ok"), shown.join("; "), "restore a backup: docs/self-hosting.md"];
  },
};

async function reached([name, url]) {
  try {
    const { status } = await fetch(url, { method: "HEAD", redirect: "manual", signal: AbortSignal.timeout(REACH_MS) });
    return [true, `answers (${status})`];
  } catch (error) {
    return [false, `${url} cannot be reached: ${error.cause?.message ?? error.message}`, `requests to ${name} will fail. Look at DNS, the firewall, and PROVIDER_BASE_URLS`];
  }
}

function providers(vars) {
  let own = {};
  try {
    own = JSON.parse(variable(vars, "PROVIDER_BASE_URLS") || "{}");
  } catch {
    throw new Failure(`PROVIDER_BASE_URLS in ${vars} is no JSON object.`);
  }
  return Object.entries({ ...PROVIDERS, ...own });
}

/** A provider that cannot be reached is told; only what keeps Tollgate from serving makes it an error. */
export async function run(args, folder = process.cwd()) {
  const { offline, ...values } = parsed(args, HELP).values;
  const options = chosen(Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]), { home: folder });
  let bad = 0;
  const told = (name, [isWell, found, advice]) => {
    console.log(`${isWell ? "ok  " : "BAD "} ${name.padEnd(WIDTH)} ${found}${isWell || !advice ? "" : `\n     ${"".padEnd(WIDTH)} → ${advice}`}`);
  };
  const held = isNewEnough() && fs.existsSync(options.state) ? (await import("./state.mjs")).holder(options.state) : null;
  for (const [name, check] of Object.entries(CHECKS)) {
    const result = await Promise.resolve().then(() => check(options, held)).catch((error) => [false, error.message]);
    if (!result[0]) bad += 1;
    told(name, result);
  }
  if (!offline) {
    const all = providers(options.vars);
    const found = await Promise.all(all.map(reached));
    all.forEach(([name], n) => told(name, found[n]));
  }
  console.log(bad === 0 ? "\nTollgate can serve here." : `\n${bad} of these ${bad === 1 ? "keeps" : "keep"} Tollgate from serving.`);
  return bad === 0 ? 0 : 1;
}
