// Everything a machine needs to compile Rust to wasm32: the standard library, a linker, and the two tools around cargo.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Failure, main, readText, root, say } from "../server/base.mjs";

export { Failure, main, readText, root, say };
export const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tollgate");
const WASM = "wasm32-unknown-unknown";
const WORKER_BUILD_VERSION = "0.8.7";
const DEBIAN_PACKAGES = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_RUSTLIB = "/usr/lib/rustlib";

/** The trimmed output of a command, or null when it cannot be run or fails. */
export function output(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: "utf8", ...options });
  return result.status === 0 ? result.stdout.trim() : null;
}

/** Runs a command whose output matters only when it fails; returns that output, or null after a success. */
export function complaint(command, args, options = {}) {
  const result = spawnSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
    ...options,
  });
  if (result.status === 0) return null;
  if (result.error?.code === "ETIMEDOUT") return `no answer within ${options.timeout / 1000} seconds`;
  if (result.error) return result.error.message;
  const lines = `${result.stdout}\n${result.stderr}`.split("\n").filter((line) => line.trim());
  return lines.slice(-20).join("\n") || `stopped by ${result.signal ?? `exit code ${result.status}`}`;
}

/** Runs a command quietly; when it fails, its last lines are shown, then one error that says what to do. */
export function quietly(command, args, advice, options) {
  const problem = complaint(command, args, options);
  if (problem === null) return;
  console.error(problem.replace(/^/gm, "  "));
  throw new Failure(`\`${[command, ...args].join(" ")}\` failed. ${advice}`);
}

function sleep(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function isStale(lock) {
  const owner = Number(readText(join(lock, "pid")));
  if (owner) return !isAlive(owner);
  const created = fs.statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
  return created !== undefined && Date.now() - created > 10_000;
}

/** Holds a directory as a lock while `work` runs, and takes over one whose process is gone. */
export function withLock(lock, work) {
  fs.mkdirSync(dirname(lock), { recursive: true });
  for (let attempt = 0; !tryMkdir(lock); attempt += 1) {
    if (attempt === 4) say(`waiting for another set-up of this machine to finish (it holds ${lock})`);
    if (isStale(lock)) fs.rmSync(lock, { recursive: true, force: true });
    else sleep(500);
  }
  try {
    fs.writeFileSync(join(lock, "pid"), String(process.pid));
    return work();
  } finally {
    fs.rmSync(lock, { recursive: true, force: true });
  }
}

function tryMkdir(path) {
  try {
    fs.mkdirSync(path);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

/** The compiled standard library of a compiler for wasm32, or null when there is none that it can use. */
function standardLibrary(rustc) {
  const directory = output(rustc, ["--print", "target-libdir", "--target", WASM]);
  if (!directory || !fs.existsSync(directory)) return null;
  const file = fs.readdirSync(directory).find((name) => /^libstd-.*\.rlib$/.test(name));
  if (!file) return null;
  // Only a library that this script built has a stamp. It is of no use to a compiler that was upgraded since.
  const builtWith = readText(stampPath(dirname(directory)));
  if (builtWith !== null && builtWith.trim() !== output(rustc, ["-vV"])) return null;
  return join(directory, file);
}

function stampPath(targetDirectory) {
  return join(targetDirectory, "tollgate-built-with");
}

/** Where a program is, or null when it is not on PATH. */
export function programPath(program) {
  const places = (process.env.PATH ?? "").split(":").map((directory) => join(directory, program));
  return places.find((place) => fs.existsSync(place)) ?? null;
}

function onPath(program) {
  return programPath(program) !== null;
}

/**
 * A compiler that has the wasm32 standard library, which is installed if need be.
 * `bin` is the directory to put first on PATH, or null when PATH finds the right compiler already.
 */
function ensureCompiler() {
  const ready = readyCompiler();
  if (ready) return ready;
  return withLock(join(cache, "lock"), () => {
    const meanwhile = readyCompiler();
    if (meanwhile) return meanwhile;
    const problem = addRustupTarget();
    if (problem !== null) installFromDebian(problem);
    const compiler = readyCompiler();
    if (!compiler) throw new Failure(`Rust's ${WASM} library was installed, but rustc does not find it.`);
    return compiler;
  });
}

function readyCompiler() {
  const own = standardLibrary("rustc");
  if (own) return { rustc: "rustc", bin: null, library: own };
  const debian = standardLibrary("/usr/bin/rustc");
  if (debian && fs.existsSync("/usr/bin/cargo")) return { rustc: "/usr/bin/rustc", bin: "/usr/bin", library: debian };
  return null;
}

/** Returns what went wrong, or null after a success. */
function addRustupTarget() {
  if (!onPath("rustup")) return "there is no rustup on PATH";
  say(`adding Rust's ${WASM} target with rustup (10 seconds, at most a minute)`);
  // Behind some firewalls rustup neither gets an answer nor gives up.
  return complaint("rustup", ["target", "add", WASM], { timeout: 60_000 });
}

function rootCommand() {
  if (process.getuid?.() === 0) return [];
  return output("sudo", ["-n", "true"]) === null ? null : ["sudo", "-n"];
}

/** For machines that reach only package registries: builds the library from the sources that Debian packages. */
function installFromDebian(rustupProblem) {
  const prefix = rootCommand();
  if (!onPath("apt-get") || prefix === null) {
    throw new Failure(
      `Rust's ${WASM} standard library could not be got: ${rustupProblem}\n` +
        `Run \`rustup target add ${WASM}\` where rustup reaches its server (https://rustup.rs has rustup itself), ` +
        "or `node scripts/setup.mjs` as root on a Debian that has the package rustc-web.",
    );
  }
  const asRoot = (args, advice) => {
    const [command, ...rest] = [...prefix, ...args];
    quietly(command, rest, advice, { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  };
  say("rustup could not add it; the compiler and its sources come from Debian's packages instead");
  installDebianPackages(asRoot);
  buildStandardLibrary(asRoot);
}

function installDebianPackages(asRoot) {
  const status = output("dpkg-query", ["-W", "-f=${db:Status-Status} ", ...DEBIAN_PACKAGES]);
  if (status?.split(" ").filter((word) => word === "installed").length === DEBIAN_PACKAGES.length) return;
  const names = DEBIAN_PACKAGES.join(" ");
  say(`installing ${names} with apt-get (about a minute, once per machine)`);
  asRoot(["apt-get", "update"], "Check that apt's mirrors can be reached.");
  asRoot(
    ["apt-get", "install", "-y", "--no-install-recommends", ...DEBIAN_PACKAGES],
    `This distribution may not have ${names}; then let rustup reach its server and run \`rustup target add ${WASM}\`.`,
  );
  const needed = /^rust-version = "(.*)"/m.exec(readText(join(root, "Cargo.toml")))?.[1] ?? "0";
  const found = /^rustc (\S+)/.exec(output("/usr/bin/rustc", ["--version"]) ?? "")?.[1] ?? "0";
  if (found.localeCompare(needed, "en", { numeric: true }) < 0) {
    throw new Failure(`Debian's rustc is ${found}, Tollgate needs ${needed}: enable Debian's security updates in apt.`);
  }
}

function buildStandardLibrary(asRoot) {
  say(`building Rust's ${WASM} standard library from source (about 90 seconds, once per machine)`);
  const work = fs.mkdtempSync(join(tmpdir(), "tollgate-std-"));
  try {
    const finished = join(work, WASM);
    compileStandardLibrary(work);
    collectStandardLibrary(work, finished);
    // Copied beside its place and then renamed, so that no compiler ever sees half of it.
    const place = join(DEBIAN_RUSTLIB, WASM);
    const advice = `Check that ${DEBIAN_RUSTLIB} can be written to.`;
    asRoot(["rm", "-rf", `${place}.partial`, place], advice);
    asRoot(["cp", "-r", finished, `${place}.partial`], advice);
    asRoot(["chmod", "-R", "a+rX", `${place}.partial`], advice);
    asRoot(["mv", `${place}.partial`, place], advice);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

function compileStandardLibrary(work) {
  fs.mkdirSync(join(work, "src"));
  fs.writeFileSync(join(work, "src/lib.rs"), "");
  fs.writeFileSync(join(work, "Cargo.toml"), '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n');
  const env = {
    ...process.env,
    PATH: `/usr/bin:${process.env.PATH}`,
    CARGO_TARGET_DIR: join(work, "target"),
    // Tollgate's link-time optimisation needs the bitcode, and -Z options need the bootstrap switch on stable.
    RUSTFLAGS: "-Cembed-bitcode=yes",
    RUSTC_BOOTSTRAP: "1",
  };
  const args = ["build", "--release", "-Z", "build-std=std,panic_abort", "--target", WASM];
  quietly("/usr/bin/cargo", args, "Check that crates.io can be reached and that there is 1 GB of disk space.", {
    cwd: work,
    env,
  });
}

function collectStandardLibrary(work, finished) {
  const built = join(work, "target", WASM, "release/deps");
  fs.mkdirSync(join(finished, "lib"), { recursive: true });
  for (const name of fs.readdirSync(built)) {
    if (name.endsWith(".rlib") && !name.startsWith("libempty-")) {
      fs.copyFileSync(join(built, name), join(finished, "lib", name));
    }
  }
  fs.writeFileSync(stampPath(finished), output("/usr/bin/rustc", ["-vV"]));
}

/** A linker for wasm32 when the compiler brings none of its own, which is so with Debian's; else null. */
function ensureLinker(rustc) {
  if (hasLinker(rustc)) return null;
  const [found] = linkerPlaces("rustc").filter(fs.existsSync);
  if (found) return found;
  const major = /^LLVM version: (\d+)/m.exec(output(rustc, ["-vV"]) ?? "")?.[1];
  const linker = `/usr/bin/wasm-ld-${major}`;
  if (!fs.existsSync(linker)) installLinker(`lld-${major}`);
  return linker;
}

function hasLinker(rustc) {
  return onPath("rust-lld") || linkerPlaces(rustc).some(fs.existsSync);
}

function linkerPlaces(rustc) {
  const sysroot = output(rustc, ["--print", "sysroot"]);
  const host = /^host: (.*)$/m.exec(output(rustc, ["-vV"]) ?? "")?.[1];
  return sysroot && host ? [join(sysroot, "lib/rustlib", host, "bin/rust-lld")] : [];
}

function installLinker(name) {
  const advice = `Install rustup's stable toolchain, which has rust-lld, or Debian's ${name}.`;
  aptInstall(name, `There is no linker for ${WASM}. ${advice}`, advice);
}

/** Installs one of Debian's packages, where that can be done. */
function aptInstall(name, problem, advice) {
  const prefix = rootCommand();
  if (!onPath("apt-get") || prefix === null) throw new Failure(problem);
  say(`installing ${name} with apt-get (about 20 seconds, once per machine)`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const [command, ...args] = [...prefix, "apt-get", "install", "-y", "--no-install-recommends", name];
  // A machine whose lists are old, or that has none yet, knows the package only afterwards.
  if (complaint(command, args, { env }) === null) return;
  const [update, ...updating] = [...prefix, "apt-get", "update"];
  quietly(update, updating, "Check that apt's mirrors can be reached.", { env });
  quietly(command, args, advice, { env });
}

/** Sees to it that a program is on PATH, from a Debian package if need be. */
export function ensureProgram(program, debianPackage, advice) {
  if (!onPath(program)) aptInstall(debianPackage, `${program} is not on PATH. ${advice}`, advice);
}

function wasmBindgenVersion() {
  const lock = readText(join(root, "Cargo.lock")) ?? "";
  const version = /name = "wasm-bindgen"\nversion = "(.*)"/.exec(lock)?.[1];
  if (!version) throw new Failure("Cargo.lock does not name wasm-bindgen. Is this a whole checkout of Tollgate?");
  return version;
}

/** Installs the cargo tools that this machine does not have yet and returns the paths of their programs. */
function ensureTools(env) {
  const tools = [
    { name: "worker-build", version: WORKER_BUILD_VERSION, program: "worker-build" },
    { name: "wasm-bindgen-cli", version: wasmBindgenVersion(), program: "wasm-bindgen" },
  ].map((tool) => ({ ...tool, place: join(cache, "tools", `${tool.name}-${tool.version}`) }));
  const missing = () => tools.filter((tool) => !fs.existsSync(tool.place));
  if (missing().length > 0) {
    withLock(join(cache, "lock"), () => {
      missing().forEach((tool) => installTool(tool, env));
      fs.rmSync(toolsTarget(), { recursive: true, force: true });
    });
  }
  return tools.map(({ place, program }) => join(place, "bin", program));
}

/** Both tools share one directory of compiled crates, which saves half a minute. */
function toolsTarget() {
  return join(cache, "tools-target");
}

function installTool({ name, version, place }, env) {
  say(`installing ${name} ${version} with cargo (about 2 minutes, once per machine)`);
  const partial = `${place}.partial`;
  fs.rmSync(partial, { recursive: true, force: true });
  // An unoptimised build of the tools takes a fraction of the time, and they are fast enough.
  const args = ["install", "--debug", "--locked", "--root", partial, "--version", version, name];
  quietly("cargo", args, "Check that crates.io can be reached, then run the command again.", {
    cwd: tmpdir(),
    env: { ...env, CARGO_TARGET_DIR: toolsTarget() },
  });
  fs.renameSync(partial, place);
}

/** Installs what is missing on the machine; returns the environment for worker-build and the library it will link. */
export function ensureToolchain() {
  const { rustc, bin, library } = ensureCompiler();
  const linker = ensureLinker(rustc);
  const programs = join(root, "node_modules/.bin");
  const env = { ...process.env, PATH: [programs, bin, process.env.PATH].filter(Boolean).join(":") };
  if (linker) env.CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER ??= linker;
  const [workerBuild, wasmBindgen] = ensureTools(env);
  env.WASM_BINDGEN_BIN = wasmBindgen;
  env.WASM_OPT_BIN = join(programs, "wasm-opt");
  env.ESBUILD_BIN = join(programs, "esbuild");
  return { env, library, workerBuild };
}
