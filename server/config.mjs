// A wrangler.toml of one's own, in the folder that a server or a deployment has for itself. It names the Worker and the migrations of
// this package; bindings and variables are its owner's.
import * as fs from "node:fs";
import { dirname, join, relative } from "node:path";
import { Failure, readText, root, say } from "./base.mjs";

/** From a folder to something in this package: a path that goes on being right when both are moved together. */
function pathFrom(folder, name) {
  const [from, to] = [fs.realpathSync(folder), join(fs.realpathSync(root), name)];
  const path = relative(from, to);
  return path.startsWith("..") ? to : path;
}

/** The text: that of this package, without what builds it. */
export function ownConfig(folder) {
  const text = readText(join(root, "wrangler.toml"));
  return text
    .replace(/^\[build\]\n(?:.+\n)*\n?/m, "")
    .replace(/^main = .*$/m, `main = "${pathFrom(folder, "build/index.js")}"`)
    .replace(/^directory = .*$/m, `directory = "${pathFrom(folder, "dashboard/dist")}"`)
    .replace(/^(#? ?)migrations_dir = .*$/gm, `$1migrations_dir = "${pathFrom(folder, "migrations")}"`);
}

/** Writes it where there is none. */
export function ensureConfig(config) {
  if (fs.existsSync(config)) return;
  // npx keeps what it was given in a cache of its own, which it empties when it likes.
  if (/[/\\]_npx[/\\]/.test(root)) throw new Failure("npx has Tollgate in its cache, and a wrangler.toml would lead there. Install it in this folder: npm install, then the name or the file of the package.");
  try {
    fs.writeFileSync(config, ownConfig(dirname(config)), { flag: "wx" });
  } catch (error) {
    throw new Failure(`${config} cannot be written: ${error.message}.`);
  }
  say(`wrote ${config}: databases, queues and buckets are bound there`);
}
