// What all programs of the server share: where the package is, how they speak, and which Node runs wrangler and miniflare. This file
// and start.mjs run on any Node from 20 on, for a fresh clone brings the newer one itself.
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The folder of the package, or of the clone. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
/** What wrangler and miniflare want, and node:sqlite without a flag. */
const NODE = [22, 13];

/** A problem the user can act on: shown as one message, without a stack trace. */
export class Failure extends Error {}

export function say(line) {
  console.error(`tollgate: ${line}`);
}

/**
 * Runs `work` when the script is the program itself, and not when another script imports it. `--help` prints what `help` gives, which
 * is the comment that the script begins with unless another is given; null leaves the question to `work`.
 */
export async function main(moduleUrl, work, help = opening) {
  const program = process.argv[1] && fs.realpathSync(process.argv[1]);
  if (!program || pathToFileURL(program).href !== moduleUrl) return;
  const args = process.argv.slice(2);
  try {
    if (help && args.some((arg) => ["--help", "-h"].includes(arg))) return console.log(help(program));
    await work(args);
  } catch (error) {
    const isTyped = error.code?.startsWith("ERR_PARSE_ARGS");
    if (!(error instanceof Failure) && !isTyped) throw error;
    // Node's own message goes on with how an argument that begins with a dash would be written, which no script here takes.
    console.error(`tollgate: error: ${isTyped ? `${error.message.split(". ")[0]}. --help says what there is.` : error.message}`);
    process.exitCode = 1;
  }
}

/** The comment that a script begins with, without its slashes. */
export function opening(program) {
  const lines = fs.readFileSync(program, "utf8").replace(/^#!.*\n/, "").split("\n");
  const end = lines.findIndex((line) => !line.startsWith("//"));
  return lines.slice(0, end).map((line) => line.replace(/^\/\/ ?/, "")).join("\n");
}

export function readText(path) {
  try {
    return fs.readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  }
}

export const version = () => JSON.parse(readText(join(root, "package.json"))).version;

export function isNewEnough(node = process.versions.node) {
  const [major, minor] = node.split(".").map(Number);
  return major > NODE[0] || (major === NODE[0] && minor >= NODE[1]);
}

/** The Node that runs the server: the one among a clone's npm packages, or the one that runs this. */
export function newNode() {
  const own = join(root, "node_modules/.bin/node");
  if (fs.existsSync(own)) return own;
  if (isNewEnough()) return process.execPath;
  throw new Failure(`this is Node ${process.versions.node}, and Tollgate needs ${NODE.join(".")} or newer. https://nodejs.org has it.`);
}

/** Wrangler's command line, which npm may have installed in this package or beside it. */
export function wrangler(...args) {
  let folder;
  try {
    folder = dirname(createRequire(import.meta.url).resolve("wrangler/package.json"));
  } catch {
    const { peerDependencies } = JSON.parse(readText(join(root, "package.json")));
    const names = Object.entries(peerDependencies).map(([name, version]) => `${name}@${version}`).join(" ");
    throw new Failure(`wrangler is not installed, which npm does with Tollgate unless it is told not to. Run \`npm install ${names}\`.`);
  }
  return { command: newNode(), args: [join(folder, "bin/wrangler.js"), ...args] };
}

export function wranglerEnv() {
  const path = [join(root, "node_modules/.bin"), process.env.PATH].join(delimiter);
  // Without the second, wrangler asks Cloudflare where this machine is, and offline warns that it got no answer.
  return { ...process.env, PATH: path, WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" };
}

/** The SHA-256 of a built Worker, which `/health` shows as well. */
export function wasmHash(main) {
  const file = join(dirname(main), "index_bg.wasm");
  return fs.existsSync(file) ? createHash("sha256").update(fs.readFileSync(file)).digest("hex") : null;
}
