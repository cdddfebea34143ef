// Keeps the Workers runtime in a thin shell, so that everything else can be tested on the host.
import * as fs from "node:fs";
import { join } from "node:path";
import { Failure, main, root } from "./toolchain.mjs";

/** A directory ends in a slash and stands for every file in it. */
const SHELL = ["src/lib.rs", "src/entry/", "src/proxy/", "src/platform/"];
/** Elsewhere a file says by its name that it is a topic's half that needs the runtime. */
const WORKER_HALF = /_(?:worker|do)\.rs$/;
const CRATES = "worker|web_sys|js_sys|wasm_bindgen|wasm_bindgen_futures";
/** A path into one of the crates, or a `use` of a whole one; `crate::worker::x` is neither. */
const USE_OF_CRATE = new RegExp(
  `(?<![\\w:]|\\w::)(?:::)?\\b(${CRATES})\\s*::|\\b(?:use|extern\\s+crate)\\s+(?:::)?(${CRATES})\\s*(?:;|as\\b)`,
  "g",
);
/** Raw strings, strings, characters and comments, where the name of a crate means nothing. */
const NOT_CODE = /\br(#*)"[^]*?"\1|"(?:\\[^]|[^"\\])*"|'(?:\\[^']+|[^'\\])'|\/\/.*|\/\*[^]*?\*\//g;

/** The only file that prints, because it masks what looks like a key. */
const CONSOLE = "src/platform/console.rs";
const PRINTING = /\bconsole_(?:log|error|warn|debug)!|\b(?:e?print(?:ln)?|dbg)!/g;

function sourceFiles(directory) {
  return fs
    .readdirSync(join(root, directory), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${directory}/${entry.name}`;
      return entry.isDirectory() ? sourceFiles(path) : path.endsWith(".rs") ? [path] : [];
    })
    .sort();
}

function isShell(path) {
  return WORKER_HALF.test(path) || SHELL.some((part) => (part.endsWith("/") ? path.startsWith(part) : path === part));
}

function found(path, pattern, what) {
  const blank = (text) => text.replace(/[^\n]/g, " ");
  const code = fs.readFileSync(join(root, path), "utf8").replace(NOT_CODE, blank);
  return [...code.matchAll(pattern)].map((match) => {
    const line = code.slice(0, match.index).split("\n").length;
    return `${path}:${line}: ${what(match)}`;
  });
}

function usesIn(path) {
  return found(path, USE_OF_CRATE, (match) => `uses the crate ${match[1] ?? match[2]}`);
}

function printsIn(path) {
  return found(path, PRINTING, () => `prints; that is for ${CONSOLE}, which masks keys`);
}

await main(import.meta.url, () => {
  const missing = SHELL.filter((path) => !path.endsWith("/") && !fs.existsSync(join(root, path)));
  const problems = [
    ...missing.map((path) => `${path}: does not exist; take it off the list in scripts/check-shell.mjs`),
    ...sourceFiles("src")
      .filter((path) => !isShell(path))
      .flatMap(usesIn),
    ...sourceFiles("src")
      .filter((path) => path !== CONSOLE)
      .flatMap(printsIn),
  ];
  if (problems.length === 0) return;
  problems.forEach((problem) => console.log(problem));
  throw new Failure(`code for the Workers runtime belongs in ${SHELL.join(", ")}, or in files that end in _worker.rs or _do.rs; the rest must run on the host, and only ${CONSOLE} prints.`);
});
