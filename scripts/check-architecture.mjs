// Holds src/ to its plan: which room imports which, what may name the Workers runtime, what prints, and how long a file may be.
import * as fs from "node:fs";
import { join } from "node:path";
import { Failure, main, root } from "./toolchain.mjs";

/**
 * Each room (a folder of src/), what it may import, and why no more. A room imports rooms above it in this list only, so no
 * circle between rooms is possible.
 */
export const ROOMS = {
  base: [[], "everything stands on it, so it stands on nothing"],
  db: [["base"], "a statement knows no topic; topics bring their SQL"],
  platform: [["base", "db"], "it adapts the runtime; what is adapted for a topic stands with the topic, in a file that ends in _worker.rs"],
  http: [["base", "db", "platform"], "requests and answers are the same for all topics; of the database it knows pages of lists"],
  pattern: [["base"], "patterns and schemas are matched alike for evaluations, guardrails and whatever else looks for them"],
  dlp: [["base", "pattern"], "what must not leave is found in a text, whatever the text is of"],
  policies: [["base", "pattern"], "what policies say of a request follows from what it is described by"],
  routes: [["base", "pattern"], "the way of a request through a graph follows from what it is described by"],
  telemetry: [["base"], "formats of other systems, and where spans go; they know no request"],
  wire: [["base", "http", "platform"], "an answer is read by its format, for the proxy and for evaluations alike"],
  providers: [["base", "http", "platform", "db"], "where a request goes depends on no key, gateway or log"],
  catalogue: [["base", "providers"], "what is known of a model, and what its name means, is the same for prices, translation and lists"],
  translate: [["base", "providers", "catalogue"], "one API's words become another's by what stands in them, and by no key or gateway"],
  cache: [["base", "http", "providers"], "what may be kept is decided from the request and the answer alone"],
  conversation: [["base", "wire"], "one reader of questions and answers, for judges, filters and exports"],
  guardrails: [["base", "pattern", "dlp", "wire", "conversation"], "what is found in which text, and which model is asked, follows from the setting and the texts"],
  auth: [["base", "db", "http", "platform"], "who calls is found out before anything else is known"],
  credentials: [["base", "db", "http", "platform", "providers", "auth"], "a key is chosen by provider and caller"],
  pricing: [["base", "http", "wire", "providers", "catalogue"], "a price is a rate times what an answer used"],
  limit: [["base", "http", "wire", "providers", "pricing"], "a limit counts what it is told; it reads no log"],
  gateways: [
    [
      "base", "db", "http", "platform", "dlp", "policies", "providers", "catalogue", "cache", "guardrails", "auth", "credentials", "pricing",
      "limit", "routes", "telemetry",
    ],
    "a gateway is what a request runs under, before there is a log",
  ],
  logs: [
    ["base", "db", "http", "platform", "wire", "providers", "catalogue", "cache", "conversation", "pricing", "limit", "gateways", "dlp", "routes"],
    "logs are written and read the same with feedback and evaluations and without",
  ],
  config: [
    ["base", "db", "http", "platform", "providers", "auth", "credentials", "logs"],
    "it reads the operator's variables; topics are handed what they need of them",
  ],
  alerts: [
    ["base", "db", "platform", "providers", "credentials", "config"],
    "an event is told in the same way whatever it is about",
  ],
  logpush: [
    ["base", "db", "platform", "providers", "credentials", "gateways", "logs", "config"],
    "logs leave as they were written, and nothing of a request is needed",
  ],
  tracing: [
    ["base", "db", "platform", "telemetry", "providers", "conversation", "credentials", "gateways", "logs", "config", "alerts"],
    "a log becomes spans in the same way whatever it is of, and no request waits for them",
  ],
  feedback: [["base", "db", "http", "platform", "auth", "gateways", "logs"], "feedback belongs to a log, not to a route"],
  evaluate: [
    ["base", "db", "http", "pattern", "wire", "conversation", "pricing", "gateways", "logs"],
    "evaluations read logs; they run in any isolate, and so know no request",
  ],
  batches: [
    ["base", "db", "wire", "providers", "limit", "gateways", "logs", "dlp"],
    "what results say is read the same by the cron and behind a caller's request",
  ],
  api: [null, "the control plane and the proxy know nothing of each other", ["proxy", "entry"]],
  proxy: [null, "no proxied request depends on a handler of the control plane", ["api", "entry"]],
  entry: [null, "it calls all others; nothing calls it", []],
  testing: [null, "it is there for tests only", ["entry"]],
};

/** Rooms in which any file may name the runtime. In the others only files with such an ending may. */
const SHELL = ["entry", "proxy", "platform"];
const WORKER_HALF = /_(?:worker|do)\.rs$/;
const CRATES = "worker|web_sys|js_sys|wasm_bindgen|wasm_bindgen_futures";
/** A path into one of the crates, or a `use` of a whole one; `crate::worker::x` is neither. */
const USE_OF_CRATE = new RegExp(
  `(?<![\\w:]|\\w::)(?:::)?\\b(${CRATES})\\s*::|\\b(?:use|extern\\s+crate)\\s+(?:::)?(${CRATES})\\s*(?:;|as\\b)`,
  "g",
);

/** The only file that prints, because it masks what looks like a key. */
const CONSOLE = "src/platform/console.rs";
const PRINTING = /\bconsole_(?:log|error|warn|debug)!|\b(?:e?print(?:ln)?|dbg)!/g;

/** Topics that say what sort of error theirs are (base/fault.rs) and leave statuses and codes to http/kinds.rs. */
const WITHOUT_STATUS = ["src/limit/", "src/logs/filter/", "src/logs/filter.rs", "src/feedback/", "src/evaluate/", "src/providers/"];
/** The types that have a status, and a status of an error that is given to something. */
const STATUS = /\b(?:ApiError|Refusal|Reply)\b|\bhttp::(?:envelope|refusal|kinds)\b|\bstatus\s*[:=]\s*[45]\d\d\b/g;

const MOST_LINES = 400;

/** Words that leave open which component, or which person, a comment is about. */
const NAMES_NO_ONE = /\b(?:whoever|(?:some|any|every|no)body|(?:some|any|every)one)\b/gi;

/** Lines of a module of tests that stands behind what it tests. */
const MOST_TEST_LINES = 150;

/** Raw strings, strings, characters and comments, where the name of a crate means nothing. */
const NOT_CODE = /\br(#*)"[^]*?"\1|"(?:\\[^]|[^"\\])*"|'(?:\\[^']+|[^'\\])'|\/\/.*|\/\*[^]*?\*\//g;

function blank(text) {
  return text.replace(/[^\n]/g, " ");
}

function sourceFiles(directory, ending = /\.rs$/) {
  return fs.readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? sourceFiles(path, ending) : ending.test(path) ? [path] : [];
  });
}

function lineOf(code, at) {
  return code.slice(0, at).split("\n").length;
}

/** The end of the item that begins at `from`: its semicolon, or its closing brace. */
function endOfItem(code, from) {
  let depth = 0;
  for (let at = from; at < code.length; at += 1) {
    if (code[at] === "{") depth += 1;
    else if (code[at] === "}" && (depth -= 1) === 0) return at + 1;
    else if (code[at] === ";" && depth === 0) return at + 1;
  }
  return code.length;
}

/** Code without what is there for tests only, and the names of the modules that are. */
function withoutTests(code) {
  const testModules = [];
  for (const { index, 0: attribute } of code.matchAll(/#\[cfg\(test\)\]/g)) {
    const item = code.slice(index + attribute.length, endOfItem(code, index + attribute.length));
    const name = /^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+);/.exec(item)?.[1];
    if (name) testModules.push(name);
    code = code.slice(0, index) + blank(attribute + item) + code.slice(index + attribute.length + item.length);
  }
  return { code, testModules };
}

/** `a::{b, c::{d as e, self}}` as a list of paths. */
function leaves(tree, before = "") {
  const brace = tree.indexOf("{");
  const path = (text) => [before, text.trim().replace(/\s+as\s+\w+$/, "")].filter(Boolean).join("::");
  if (brace < 0) return [tree.trim() === "self" ? before : path(tree)];
  const head = path(tree.slice(0, brace).replace(/::\s*$/, ""));
  const parts = [""];
  let depth = 0;
  for (const char of tree.slice(brace + 1, tree.lastIndexOf("}"))) {
    depth += char === "{" ? 1 : char === "}" ? -1 : 0;
    if (char === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += char;
  }
  return parts.filter((part) => part.trim()).flatMap((part) => leaves(part, head));
}

function moduleOf(file) {
  return file.replace(/^src\//, "").replace(/(?:\/mod)?\.rs$/, "").split("/").filter((part) => part !== "lib");
}

function roomOf(file) {
  const [room, ...rest] = file.replace(/^src\//, "").split("/");
  return rest.length > 0 ? room : undefined;
}

/** Every file that ships, with its code and what it imports of the others. */
function read(base) {
  const all = sourceFiles(join(base, "src")).map((path) => path.slice(base.length + 1)).sort();
  const read = new Map();
  const forTests = new Set();
  for (const file of all) {
    const code = fs.readFileSync(join(base, file), "utf8").replace(NOT_CODE, blank);
    const shipped = withoutTests(code);
    const own = moduleOf(file).join("/");
    shipped.testModules.forEach((name) => forTests.add(own ? `${own}/${name}` : name));
    read.set(file, { code, shipped: shipped.code, lines: fs.readFileSync(join(base, file), "utf8").split(/^#\[cfg\(test\)\]/m)[0].split("\n").length - 1 });
  }
  const isForTests = (file) => {
    const parts = moduleOf(file);
    return parts.some((_, index) => forTests.has(parts.slice(0, index + 1).join("/")));
  };
  const files = new Map([...read].filter(([file]) => !isForTests(file)));
  const modules = new Map([...files.keys()].map((file) => [moduleOf(file).join("::"), file]));
  for (const [file, entry] of files) entry.imports = importsOf(file, entry.shipped, modules);
  return files;
}

function importsOf(file, code, modules) {
  const own = moduleOf(file);
  const absolute = (path) => {
    const parts = path.split("::").map((part) => part.trim());
    if (parts[0] === "crate") return parts.slice(1);
    if (parts[0] === "self") return [...own, ...parts.slice(1)];
    if (parts[0] !== "super") return modules.has([...own, parts[0]].join("::")) ? [...own, ...parts] : undefined;
    const up = parts.findIndex((part) => part !== "super");
    return [...own.slice(0, own.length - up), ...parts.slice(up)];
  };
  const found = [];
  const take = (path, at) => {
    let parts = absolute(path) ?? [];
    while (parts.length > 0 && !modules.has(parts.join("::"))) parts = parts.slice(0, -1);
    const to = modules.get(parts.join("::"));
    const line = lineOf(code, at);
    const isKnown = found.some((other) => other.to === to && other.line === line);
    if (parts.length > 0 && to !== file && !isKnown) found.push({ to, line, path });
  };
  for (const match of code.matchAll(/\buse\s+([^;]+);/g)) leaves(match[1].replace(/\s+/g, " ")).forEach((path) => take(path, match.index));
  for (const match of code.matchAll(/(?<![\w:$])(?:crate|super|self)(?:::\w+)+/g)) take(match[0], match.index);
  return found;
}

/** The files that import each other in a loop, each loop as a sorted list. */
function circles(files) {
  const reached = new Map();
  const reach = (from) => {
    if (reached.has(from)) return reached.get(from);
    const all = new Set();
    const next = [from];
    while (next.length > 0) for (const { to } of files.get(next.pop()).imports) if (!all.has(to)) all.add(to), next.push(to);
    reached.set(from, all);
    return all;
  };
  const groups = new Map();
  for (const file of files.keys()) {
    const group = [...reach(file)].filter((other) => reach(other).has(file)).sort();
    if (group.length > 1) groups.set(group.join(), group);
  }
  return [...groups.values()];
}

function importProblems(files) {
  return [...files].flatMap(([file, { imports }]) =>
    imports.flatMap(({ to, line, path }) => {
      const [from, other] = [roomOf(file), roomOf(to)];
      if (from === undefined || from === other) return [];
      const [may, why, never] = ROOMS[from] ?? [[], "it is no room of the plan; add it to ROOMS"];
      const allowed = other === undefined ? false : may === null ? !never.includes(other) : may.includes(other);
      return allowed ? [] : [`${file}:${line}: ${from} imports ${other ?? "the root"} (${path}): ${why}`];
    }),
  );
}

function circleProblems(files) {
  return circles(files).map((group) => `these import each other in a circle, so that none can be read without the others: ${group.join(", ")}`);
}

/** Where tests stand: short ones behind what they test, others in a file beside it whose name says what it is. */
function testProblems(file, code) {
  if (roomOf(file) === undefined || roomOf(file) === "testing") return [];
  return [...code.matchAll(/#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*[;{]/g)].flatMap(({ index, 0: head, 1: name }) => {
    const length = lineOf(code, endOfItem(code, index + head.length - 1)) - lineOf(code, index) + 1;
    if (head.endsWith("{") && length > MOST_TEST_LINES) return [`${file}:${lineOf(code, index)}: has ${length} lines of tests, and may have ${MOST_TEST_LINES}: they stand in tests.rs beside it`];
    if (head.endsWith(";") && !/^(?:tests|\w+_tests)$/.test(name)) return [`${file}:${lineOf(code, index)}: the module ${name} is tests, so its name is tests or ends in _tests`];
    return [];
  });
}

function fileProblems(file, { code, shipped, lines }) {
  const room = roomOf(file);
  const inShell = file === "src/lib.rs" || SHELL.includes(room) || WORKER_HALF.test(file);
  const problems = testProblems(file, code);
  const at = (pattern, say) => [...code.matchAll(pattern)].forEach((match) => problems.push(`${file}:${lineOf(code, match.index)}: ${say(match)}`));
  if (!inShell) at(USE_OF_CRATE, (match) => `uses the crate ${match[1] ?? match[2]}; it must run on the host, so the runtime is for ${SHELL.join(", ")} and files that end in _worker.rs or _do.rs`);
  if (WITHOUT_STATUS.some((topic) => file.startsWith(topic))) {
    const found = [...shipped.matchAll(STATUS)].map((match) => `${file}:${lineOf(shipped, match.index)}: knows of answers of HTTP (${match[0]}); a topic says the kind of its errors (base/fault.rs), and http/kinds.rs has the status of each kind`);
    problems.push(...found.slice(0, 1));
  }
  if (file !== CONSOLE) at(PRINTING, () => `prints; that is for ${CONSOLE}, which masks keys`);
  at(/\bcfg!\(test\)/g, () => "cfg!(test) in an expression makes tests run other code than ships; make it an argument");
  if (lines > MOST_LINES) problems.push(`${file}: has ${lines} lines before its tests, and may have ${MOST_LINES}: ask what leaked into it`);
  return problems;
}

function wordProblems(base) {
  return sourceFiles(join(base, "src"), /\.(?:rs|js)$/).sort().flatMap((path) => {
    const text = fs.readFileSync(path, "utf8");
    const comments = [...text.matchAll(NOT_CODE)].filter(({ 0: part }) => /^\/[/*]/.test(part));
    return comments.flatMap((comment) => [...comment[0].matchAll(NAMES_NO_ONE)].map(({ 0: word, index }) =>
      `${path.slice(base.length + 1)}:${lineOf(text, comment.index + index)}: a comment says "${word}"; name the component, or the caller, client, operator or attacker`));
  });
}

/** Everything in the `src` of a checkout that is against the plan, a line each. */
export function problems(base) {
  const files = read(base);
  return [...wordProblems(base), ...importProblems(files), ...circleProblems(files), ...[...files].flatMap(([file, entry]) => fileProblems(file, entry))];
}

await main(import.meta.url, () => {
  const found = problems(root);
  if (found.length === 0) return;
  found.forEach((problem) => console.log(problem));
  throw new Failure("src/ is not as ARCHITECTURE.md says; the table ROOMS in scripts/check-architecture.mjs has the rules.");
});
