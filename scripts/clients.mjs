// `npm run clients`: official clients of PyPI and npm through the built Worker. They are installed once per machine. Where PyPI
// cannot be reached, or there is no Python, npm's are run alone and the run says so.
//
//   npm run clients [-- part of a program's name] [-- --update]     the second writes the table of docs/clients.md
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { build, nodeProgram, testOptions, wranglerEnv } from "./setup.mjs";
import { cache, complaint, Failure, main, readText, root, say, withLock } from "./toolchain.mjs";

const HERE = join(root, "tests/clients");
const LOCKED = ["package.json", "package-lock.json"].map((name) => join(HERE, name));
const REQUIREMENTS = join(HERE, "requirements.txt");
/** The programs below python/ are for these, which stand among what they need in requirements.txt. */
const PYTHON_CLIENTS = ["openai", "anthropic", "google-genai", "mistralai", "cohere", "boto3", "cloudflare", "langchain-openai", "litellm"];

const PROGRAMS = { "@openai/codex": "codex", "@anthropic-ai/claude-code": "claude" };

/** A place in the cache for what some files describe: a change of them is another place. */
function placeFor(kind, files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readText(file) ?? "");
  return join(cache, "tools", `clients-${kind}-${hash.digest("hex").slice(0, 12)}`);
}

/** Fills a place unless it is finished already; `fill` returns what went wrong, or null. */
function ensure(place, fill) {
  const finished = join(place, ".finished");
  if (fs.existsSync(finished)) return null;
  return withLock(join(cache, "lock"), () => {
    if (fs.existsSync(finished)) return null;
    fs.rmSync(place, { recursive: true, force: true });
    fs.mkdirSync(place, { recursive: true });
    const problem = fill();
    if (problem === null) fs.writeFileSync(finished, "");
    return problem;
  });
}

/** Installs npm's clients, and lets the programs find them; returns where they are, or null. */
function ensureNpm() {
  const place = placeFor("npm", LOCKED);
  const problem = ensure(place, () => {
    say("installing npm's clients (about a minute, once per machine)");
    for (const file of LOCKED) fs.copyFileSync(file, join(place, file.split("/").at(-1)));
    // npm must not run on the Node of the packages it does not know of.
    const path = (process.env.PATH ?? "").split(":").filter((directory) => directory !== dirname(nodeProgram)).join(":");
    return complaint("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: place, env: { ...process.env, PATH: path }, timeout: 300_000 });
  });
  if (problem !== null) {
    const names = Object.keys(JSON.parse(readText(LOCKED[0])).dependencies);
    say(`these clients of npm cannot be installed here and are left out: ${names.join(", ")} (${problem.split("\n")[0].trim()})`);
    return null;
  }
  const link = join(HERE, "node_modules");
  const target = join(place, "node_modules");
  if (fs.lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() && fs.readlinkSync(link) === target) return target;
  fs.rmSync(link, { recursive: true, force: true });
  fs.symlinkSync(target, link);
  return target;
}

let python;
/** A Python that has the clients, or null. */
export function ensurePython() {
  return (python ??= { path: installPython() }).path;
}

function installPython() {
  const place = placeFor("python", [REQUIREMENTS]);
  const problem = ensure(place, () => {
    const made = complaint("python3", ["-m", "venv", place], { timeout: 60_000 });
    if (made !== null) return `python3 makes no virtual environment: ${made}`;
    say("installing PyPI's clients with pip (about a minute, once per machine)");
    const args = ["install", "--quiet", "--disable-pip-version-check", "--no-compile", "--retries", "1", "--timeout", "10", "--no-deps", "--requirement", REQUIREMENTS];
    return complaint(join(place, "bin/pip"), args, { timeout: 900_000 });
  });
  if (problem === null) return join(place, "bin/python");
  say(`these clients of PyPI cannot be installed here and are left out: ${PYTHON_CLIENTS.join(", ")} (${problem.split("\n").at(-1).trim()})`);
  return null;
}

/** True when all clients that can be had here did what they should. */
export function clients(part = "", update = false) {
  const packages = ensureNpm();
  const optional = Object.keys(JSON.parse(readText(LOCKED[0])).optionalDependencies);
  const runs = (name) => packages !== null && complaint(join(packages, ".bin", PROGRAMS[name]), ["--version"]) === null;
  const missing = optional.filter((name) => !runs(name));
  if (missing.length > 0) say(`these clients of npm do not run here and are left out: ${missing.join(", ")}`);
  const interpreter = ensurePython();
  build();
  say("clients (node --test)");
  const env = { ...wranglerEnv(), CLIENTS_PART: part, CLIENTS_MISSING: missing.join(","), ...(packages === null && { CLIENTS_NPM_MISSING: "1" }), ...(interpreter && { CLIENTS_PYTHON: interpreter }), ...(update && { CLIENTS_UPDATE: "1" }) };
  return spawnSync(nodeProgram, [...testOptions, "tests/clients/clients.test.mjs"], { cwd: root, env, stdio: "inherit" }).status === 0;
}

await main(import.meta.url, (options) => {
  const [part, ...more] = options.filter((option) => option !== "--update");
  if (more.length > 0) throw new Failure("usage: npm run clients -- [part of a program's name] [--update]");
  if (!clients(part, options.includes("--update"))) throw new Failure("some clients failed; the messages above say which.");
});
