// `node scripts/setup.mjs` installs whatever Tollgate needs and this machine lacks; `build [--dev]` then builds the
// Worker, and `packages` stops after the npm packages. `build --panicking` builds one for the tests that crashes on demand.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { buildDashboard, DIST } from "../dashboard/build.mjs";
import { wasmHash, wrangler, wranglerEnv } from "../server/base.mjs";
import { smaller } from "./smaller.mjs";
import { complaint, ensureToolchain, Failure, main, quietly, readText, root, say, withLock } from "./toolchain.mjs";

export { wrangler, wranglerEnv };

/** The Node of the npm packages: wrangler wants at least version 22, whatever the machine has. */
export const nodeProgram = join(root, "node_modules/.bin/node");
/** What Node is given for any tests. The last of these ends a file that waits for what never comes, after 20 minutes, so that the others are reported. */
export const testOptions = ["--import", "./tests/ends.mjs", "--test", "--test-timeout=1200000"];
/** Where a build goes. The one that crashes on demand is kept apart from what could be deployed. */
const FOLDERS = { release: "build", dev: "build", panicking: "target/panicking" };
const WASM_TARGET = join(root, "target/wasm");
const SETUP_LOCK = join(root, "target/.setup-lock");
export const INPUTS = [
  "Cargo.toml",
  "Cargo.lock",
  "package-lock.json",
  "rust-toolchain.toml",
  ".cargo",
  "build.rs",
  "src",
  "data",
  "migrations",
  "scripts/setup.mjs",
  "scripts/smaller.mjs",
  "scripts/toolchain.mjs",
];

function readJson(path) {
  const text = readText(join(root, path));
  return text === null ? null : JSON.parse(text);
}

/** Compares package-lock.json with the record that npm leaves in node_modules when it has finished. */
function packagesAreInstalled() {
  const wanted = readJson("package-lock.json")?.packages;
  const installed = readJson("node_modules/.package-lock.json")?.packages;
  if (!wanted || !installed || !fs.existsSync(nodeProgram)) return false;
  return Object.entries(wanted).every(([path, { version, optional, devOptional }]) => {
    if (path === "") return true;
    return installed[path] ? installed[path].version === version : optional || devOptional;
  });
}

export function ensurePackages() {
  if (packagesAreInstalled()) return;
  withLock(SETUP_LOCK, () => {
    if (!packagesAreInstalled()) installPackages();
  });
}

function installPackages() {
  say("installing npm packages (about half a minute)");
  // npm replaces node_modules, so it must not run on the Node inside it.
  const inside = dirname(nodeProgram);
  const path = (process.env.PATH ?? "").split(delimiter).filter((directory) => directory !== inside);
  const options = { cwd: root, env: { ...process.env, PATH: path.join(delimiter) } };
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  // `npm ci` refuses a lock file written where the registry lacked the packages of some other platform; `npm install`
  // takes the same locked versions. Without a lock file it also writes one.
  if (complaint("npm", ["ci", ...quiet], options) !== null) {
    const keepLock = fs.existsSync(join(root, "package-lock.json")) ? ["--no-save"] : [];
    quietly("npm", ["install", ...keepLock, ...quiet], "Check that the npm registry can be reached.", options);
  }
  if (!fs.existsSync(nodeProgram)) {
    throw new Failure(
      "npm installed the packages without running their install scripts, so Node 22 for wrangler is missing. " +
        "Run `npm ci --ignore-scripts=false`.",
    );
  }
}

/** Every file under a path, or the path itself; nothing when it does not exist. */
function filesUnder(path) {
  const stat = fs.statSync(join(root, path), { throwIfNoEntry: false });
  if (!stat) return [];
  if (!stat.isDirectory()) return [path];
  return fs
    .readdirSync(join(root, path))
    .sort()
    .flatMap((name) => filesUnder(join(path, name)));
}

/** Identifies what a build is made from, so that an unchanged one need not even start cargo. */
function fingerprint(profile) {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([profile, process.env.RUSTFLAGS ?? null]));
  for (const path of INPUTS.flatMap(filesUnder)) {
    const content = fs.readFileSync(join(root, path));
    hash.update(`\0${path}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

function builtFrom(profile) {
  return join(root, FOLDERS[profile], ".built-from");
}

function isBuilt(profile, wanted) {
  const files = ["index.js", "index_bg.wasm"].map((name) => join(root, FOLDERS[profile], name));
  return files.every((path) => fs.existsSync(path)) && readText(builtFrom(profile)) === wanted;
}

/** Builds index.js and index_bg.wasm in the profile's folder, unless they are made from exactly these sources already. */
export function build(profile = "release") {
  ensurePackages();
  buildDashboard(nodeProgram);
  writeDescription();
  if (isBuilt(profile, fingerprint(profile))) return;
  const toolchain = ensureToolchain();
  withLock(SETUP_LOCK, () => {
    // Taken before the build: a file that changes while it runs leaves a fingerprint that is out of date.
    const wanted = fingerprint(profile);
    if (!isBuilt(profile, wanted)) compile(profile, wanted, toolchain);
  });
}

/** Puts the description of the API with the files that the Worker gives out, without its blanks. */
function writeDescription() {
  const file = join(DIST, "openapi.json");
  const text = JSON.stringify(readJson("src/openapi.json"));
  if (readText(file) !== text) fs.writeFileSync(file, text);
}

function compile(profile, wanted, { env, library, workerBuild }) {
  const cold = prepareTarget(library);
  const time = cold ? "1 to 3 minutes the first time" : "up to half a minute";
  say(`building the Worker, ${profile} profile (${time})`);
  fs.rmSync(builtFrom(profile), { force: true });
  const options = profile === "panicking" ? ["--profile", profile, "--features", "panic-on-demand"] : [`--${profile}`];
  const result = spawnSync(workerBuild, ["--out-dir", FOLDERS[profile], ...options], {
    cwd: root,
    // Apart from ./target, where the host's cargo may be another version and would wait for the same lock.
    // Without backtraces, which would bury the compiler's messages under worker-build's own frames.
    env: { ...env, CARGO_TARGET_DIR: WASM_TARGET, RUST_BACKTRACE: "0", RUSTFLAGS: rustflags() },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.error) {
    throw new Failure(`${workerBuild} cannot be run: ${result.error.message}. Delete its directory and try again.`);
  }
  if (result.status !== 0) throw new Failure("the Worker does not build; the messages above say why.");
  if (profile === "release") makeSmaller(join(root, "build"));
  nameBuild(join(root, FOLDERS[profile]));
  fs.writeFileSync(builtFrom(profile), wanted);
}

function makeSmaller(folder) {
  const [wasm, script] = ["index_bg.wasm", "index.js"].map((name) => join(folder, name));
  const made = smaller(fs.readFileSync(wasm), fs.readFileSync(script, "utf8"));
  fs.writeFileSync(wasm, made.wasm);
  fs.writeFileSync(script, made.script);
}

/** Panics name source files: the folder of this user's crates has no place in what others run, and would make it another wasm. */
function rustflags() {
  const crates = process.env.CARGO_HOME || join(homedir(), ".cargo");
  // Long bodies are searched for quotes and credentials: sixteen bytes at a time, as workerd and Cloudflare can.
  return [process.env.RUSTFLAGS, "-C target-feature=+simd128", `--remap-path-prefix=${crates}=/cargo`].filter(Boolean).join(" ");
}

/** Writes the hash of the wasm to where the Worker finds it, which `/health` shows. */
function nameBuild(folder) {
  const script = join(folder, "index.js");
  fs.writeFileSync(script, `globalThis.TOLLGATE_WASM_SHA256="${wasmHash(script)}";${fs.readFileSync(script, "utf8")}`);
  // npm pack would leave out what it names, which is everything.
  fs.rmSync(join(folder, ".gitignore"), { force: true });
}

/** Cargo does not notice a standard library of the same version built anew, so its earlier output has to go. */
function prepareTarget(library) {
  const marker = join(WASM_TARGET, ".standard-library");
  const identity = `${library} ${fs.statSync(library).mtimeMs}`;
  const before = readText(marker);
  if (before !== null && before !== identity) fs.rmSync(WASM_TARGET, { recursive: true, force: true });
  fs.mkdirSync(WASM_TARGET, { recursive: true });
  fs.writeFileSync(marker, identity);
  return before !== identity;
}

await main(import.meta.url, ([command, ...options]) => {
  if (command === "build" && options.length < 2 && options.every((option) => ["--dev", "--panicking"].includes(option))) {
    return build(options[0]?.slice(2));
  }
  if (command !== undefined && command !== "packages") {
    throw new Failure("usage: node scripts/setup.mjs [packages | build [--dev | --panicking]]");
  }
  ensurePackages();
  if (command === undefined) ensureToolchain();
});
