// `node dashboard/build.mjs` builds the dashboard into dashboard/dist, unless that is made from exactly these sources already,
// and prints how large it is. `setup.mjs build` does so before it builds the Worker.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { Failure, main, root, say } from "../scripts/toolchain.mjs";
import { LICENCES } from "./licences.mjs";

const FOLDER = join(root, "dashboard");
export const DIST = join(FOLDER, "dist");
const BUILT_FROM = join(root, "target/.dashboard-built-from");
const SOURCES = ["package-lock.json", "dashboard/index.html", "dashboard/icon.svg", "dashboard/vite.config.mjs", "dashboard/build.mjs", "dashboard/licences.mjs", "dashboard/src"];
/** What a browser loads before the list of logs is there, compressed; and all of it. */
const FIRST_LOAD_LIMIT = 56_000;
const WHOLE_LIMIT = 110_000;
/** Ways to make text into a page or a program. What a model has written must never come near one. */
const FORBIDDEN = /\b(innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|srcdoc|createContextualFragment|DOMParser|document\.write|eval|new Function)\b|\bset(Timeout|Interval)\(\s*["'`]/;

function filesUnder(path) {
  if (!fs.statSync(path).isDirectory()) return [path];
  return fs.readdirSync(path).sort().flatMap((name) => filesUnder(join(path, name)));
}

function fingerprint() {
  const hash = createHash("sha256");
  for (const file of SOURCES.flatMap((path) => filesUnder(join(root, path)))) hash.update(`\0${relative(root, file)}\0`).update(fs.readFileSync(file));
  return hash.digest("hex");
}

/** Lines of the dashboard's sources that could run what others wrote. */
export function forbiddenLines(files = filesUnder(join(FOLDER, "src"))) {
  return files.flatMap((file) => {
    const lines = fs.readFileSync(file, "utf8").split("\n");
    return lines.flatMap((line, at) => (FORBIDDEN.test(line) ? [`${relative(root, file)}:${at + 1}: ${line.trim()}`] : []));
  });
}

/** Compressed sizes: of what is loaded first, and of everything. */
export function sizes() {
  const page = fs.readFileSync(join(DIST, "index.html"), "utf8");
  // No browser loads the licences, nor the description of the API, which lies there as well.
  const loaded = filesUnder(DIST).filter((file) => !file.endsWith(LICENCES) && relative(DIST, file) !== "openapi.json");
  const all = loaded.map((file) => ({ name: relative(DIST, file), bytes: gzipSync(fs.readFileSync(file), { level: 9 }).length }));
  // A script that the first one imports is loaded with it.
  const imported = all.filter(({ name }) => page.includes(name) && name.endsWith(".js")).flatMap(({ name }) => [...fs.readFileSync(join(DIST, name), "utf8").matchAll(/(?:from|import)"\.\/([\w-]+\.js)"/g)].map(([, file]) => file));
  const first = all.filter(({ name }) => name === "index.html" || page.includes(name) || imported.some((file) => name.endsWith(file)));
  const sum = (files) => files.reduce((total, { bytes }) => total + bytes, 0);
  return { first: sum(first), whole: sum(all) };
}

/** Builds into a folder whose contents are replaced. */
export function buildInto(folder, node) {
  const vite = join(root, "node_modules/vite/bin/vite.js");
  const args = [vite, "build", FOLDER, "--config", join(FOLDER, "vite.config.mjs"), "--outDir", folder, "--emptyOutDir", "--logLevel", "warn"];
  const { status } = spawnSync(node, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Failure("the dashboard does not build; the messages above say why.");
}

/** Builds with the node of the npm packages, because Vite wants a newer one than Tollgate's scripts do. */
export function buildDashboard(node = join(root, "node_modules/.bin/node")) {
  const wanted = fingerprint();
  const before = fs.existsSync(BUILT_FROM) ? fs.readFileSync(BUILT_FROM, "utf8") : null;
  if (before === wanted && fs.existsSync(join(DIST, "index.html"))) return;
  const forbidden = forbiddenLines();
  if (forbidden.length > 0) throw new Failure(`the dashboard makes text into a page or a program, which hostile logs could use:\n  ${forbidden.join("\n  ")}`);
  buildInto(DIST, node);
  const { first, whole } = sizes();
  say(`built the dashboard: ${(first / 1000).toFixed(1)} KB compressed for the first page (at most ${FIRST_LOAD_LIMIT / 1000}), ${(whole / 1000).toFixed(1)} KB in all (at most ${WHOLE_LIMIT / 1000})`);
  if (first > FIRST_LOAD_LIMIT || whole > WHOLE_LIMIT) throw new Failure("the dashboard has become too large. Load what is seldom needed later (src/pages/rest.ts), or leave it out.");
  fs.mkdirSync(join(root, "target"), { recursive: true });
  fs.writeFileSync(BUILT_FROM, wanted);
}

await main(import.meta.url, () => buildDashboard());
