// Reads the documents for people (Markdown), and carries out what they tell people to type. Words behind a block's language say how:
//
//   sh          run by bash, all blocks of a page in one session; `refused`: its last curl gets an error from Tollgate.
//               `account` (wants an account at Cloudflare), `server` (goes on until it is stopped), `long` (takes minutes): only looked at
//   js          run by node; `worker`: run as a Worker to which Tollgate is bound; `fragment`: only its syntax is looked at
//   json, text  `answer`: what the block before printed, where … stands for any text; `shape`: JSON with the same members and types
//   dotenv      variables that the gateway of the page is started with
//   json, toml, python, ts are otherwise read or compiled
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build, transform } from "esbuild";
import { compatibility, Gateway, TOKEN } from "./harness.mjs";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
/** What the documents call the address of `npm start`, and that of the stand-in for providers. */
const [ADDRESS, STANDIN] = [/(?:127\.0\.0\.1|localhost):8787/g, /127\.0\.0\.1:9100/g];
/** The account of the documents, "a name that you choose". */
const ACCOUNT = "my-account";
/** Blocks of shell that are not run here. */
const LOOKED_AT = ["account", "server", "long"];
const WORDS = { sh: [...LOOKED_AT, "refused"], js: ["worker", "fragment"], json: ["answer", "shape"], text: ["answer"], dotenv: [], toml: [], python: [], ts: [], html: [], http: [], rust: [], sql: [] };
const PATIENCE_MS = 60_000;

export class Page {
  constructor(name, text) {
    this.name = name;
    this.lines = text.split("\n");
    this.text = text;
    [this.blocks, this.prose] = parts(name, this.lines);
  }

  static of(name) {
    return new Page(name, fs.readFileSync(join(root, name), "utf8"));
  }

  /** What links within the page can lead to, as GitHub makes it of headings. */
  get anchors() {
    const seen = new Map();
    return this.prose.flatMap((line) => {
      const title = /^#{1,6} (.*)/.exec(line)?.[1];
      if (title === undefined) return [];
      const plain = title.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "");
      const anchor = plain.trim().toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
      const times = seen.get(anchor) ?? 0;
      seen.set(anchor, times + 1);
      return [times ? `${anchor}-${times}` : anchor];
    });
  }

  get links() {
    const prose = this.prose.join("\n").replace(/`[^`\n]*`/g, "");
    return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
  }

  /** Links that lead nowhere. Pages elsewhere are not asked. */
  deadLinks(read = Page.of) {
    return this.links.filter((link) => !/^(https?|mailto):/.test(link)).flatMap((link) => {
      const [path, anchor] = link.split("#");
      const target = path ? relative(root, resolve(root, dirname(this.name), path)) : this.name;
      if (path && (target.startsWith("..") || !fs.existsSync(join(root, target)))) return [`${this.name}: ${link} does not exist`];
      if (!anchor || !target.endsWith(".md")) return [];
      const page = target === this.name ? this : read(target);
      return page.anchors.includes(anchor) ? [] : [`${this.name}: ${link} has no such heading`];
    });
  }

  /** What is wrong with the blocks without running any. */
  async faults() {
    const faults = [];
    for (const block of this.blocks) {
      const fault = await block.fault();
      if (fault) faults.push(`${block.place}: ${fault}`);
    }
    return faults;
  }

  /** Its commands of wrangler that are not run here. */
  get wranglerCommands() {
    const blocks = this.blocks.filter(({ language, isRun }) => language === "sh" && !isRun);
    return blocks.flatMap(({ text }) => [...text.matchAll(/\bnpx wrangler ([^#|;&\n]+)/g)].map(([, words]) => words.trim()));
  }

  get isRun() {
    return this.blocks.some(({ isRun }) => isRun);
  }

  get #variables() {
    return this.blocks.filter(({ language }) => language === "dotenv").flatMap(({ text }) => settings(text));
  }

  get #workers() {
    return this.blocks.filter(({ isWorker }) => isWorker);
  }

  get #account() {
    return this.name.replace(/\W/g, "-");
  }

  /** Whether it wants a Tollgate that other pages have no use for. */
  get wantsItsOwn() {
    return this.#variables.length + this.#workers.length > 0;
  }

  async gateway() {
    const others = await Promise.all(this.#workers.map(async (block, n) => bound(`front${n}`, await bundled(block, this.#account))));
    return Gateway.start({ bindings: Object.fromEntries(this.#variables), others });
  }

  /** Carries out the page as an account of its own, which has nothing yet but what the blocks `before` make. */
  async walk(gw, before = []) {
    const folder = fs.mkdtempSync(join(tmpdir(), "tollgate-page-"));
    try {
      await this.#session(gw, folder, before);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
    for (const [n, block] of this.#workers.entries()) {
      const answer = await (await gw.miniflare.getWorker(`front${n}`)).fetch("http://front/");
      assert.equal(answer.status, 200, `${block.place}: the Worker answered ${answer.status}: ${await answer.text()}`);
    }
  }

  /** All that is run of the page, in one bash, as a person would type it in the folder of Tollgate. */
  async #session(gw, folder, before) {
    for (const name of ["node_modules", "clients", "scripts", "tests", "package.json"]) fs.symlinkSync(join(root, name), join(folder, name));
    const steps = [...before, ...this.blocks.filter(({ isRun, isWorker }) => isRun && !isWorker)];
    const own = (text) => text.replace(ADDRESS, new URL(gw.url).host).replace(STANDIN, new URL(gw.upstream.origin).host).replaceAll(ACCOUNT, this.#account);
    const write = (name, text) => fs.writeFileSync(join(folder, name), text);
    write(".dev.vars", `ADMIN_TOKEN=${TOKEN}\n`);
    // An answer that is an error is a failure for curl, and with it for the page.
    write(".curlrc", "silent\nshow-error\nfail-with-body\n");
    const script = ["set -eEuo pipefail"];
    for (const [n, block] of steps.entries()) {
      const file = `block${n}.${block.language === "js" ? "mjs" : "sh"}`;
      write(file, own(block.text));
      const command = block.language === "js" ? `node ./${file}` : `source ./${file}`;
      script.push(`echo ${n} > at; exec > out${n} 2> err${n}`);
      // 22 is curl's word for an error of HTTP.
      script.push(block.words.includes("refused") ? `set +e; ${command}; status=$?; set -e; [ $status = 22 ]` : command);
    }
    write("session.sh", script.join("\n"));
    const keys = Object.fromEntries(["OPENAI", "ANTHROPIC", "GROQ", "GEMINI", "MISTRAL"].map((name) => [`${name}_API_KEY`, `sk-of-${name.toLowerCase()}-0123456789`]));
    const env = { ...keys, PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}`, HOME: folder, CURL_HOME: folder, LANG: "C.UTF-8", TOLLGATE_TOKEN: TOKEN, OLLAMA: `${gw.upstream.origin}/openai/v1` };
    const read = (name) => (fs.existsSync(join(folder, name)) ? fs.readFileSync(join(folder, name), "utf8") : "");
    try {
      await run("bash", ["session.sh"], { cwd: folder, env, timeout: PATIENCE_MS });
    } catch (error) {
      const n = Number(read("at"));
      assert.fail(`${steps[n]?.place}: ${error.killed ? "it takes too long" : `exit code ${error.code}`}\n${read(`out${n}`)}${read(`err${n}`)}${error.stderr}`);
    }
    for (const block of this.blocks.filter(({ isAnswer }) => isAnswer)) {
      const before = this.blocks[this.blocks.indexOf(block) - 1];
      const n = steps.indexOf(before);
      assert.ok(n >= 0, `${block.place}: the block before it is not run, so it has no answer`);
      assert.equal(block.difference(read(`out${n}`)), null, `${block.place}: the answer is another`);
    }
  }
}

class Block {
  constructor(page, line, info, text) {
    const [language = "", ...words] = info.trim().split(/\s+/);
    Object.assign(this, { page, line, language, words, text });
  }

  get place() {
    return `${this.page}:${this.line}`;
  }

  get isWorker() {
    return this.language === "js" && this.words.includes("worker");
  }

  get isRun() {
    return (this.language === "sh" && !this.words.some((word) => LOOKED_AT.includes(word))) || (this.language === "js" && !this.words.includes("fragment"));
  }

  get isAnswer() {
    return this.words.includes("answer") || this.words.includes("shape");
  }

  /** What is wrong with it as it stands, or null. */
  async fault() {
    const known = WORDS[this.language];
    if (!known) return `'${this.language}' is no language that this test knows; there are ${Object.keys(WORDS).join(", ")}`;
    const unknown = this.words.find((word) => !known.includes(word));
    if (unknown) return `'${unknown}' says nothing of ${this.language}`;
    try {
      await checks[this.language]?.(this.text);
      return null;
    } catch (error) {
      return error.stderr || error.message;
    }
  }

  /** How what was printed differs from what the block shows; null where it does not. */
  difference(printed) {
    if (this.language === "text") return like(this.text.trim(), printed.replaceAll("\r", "").trim()) ? null : printed;
    const [shown, got] = [JSON.parse(this.text), JSON.parse(printed)];
    return difference(shown, got, this.words.includes("shape"), "$");
  }
}

const checks = {
  sh: async (text) => {
    await piped("bash", ["-n"], text);
    const { scripts } = JSON.parse(fs.readFileSync(join(root, "package.json"), "utf8"));
    for (const [, name] of text.matchAll(/\bnpm (?:run )?(start|test|(?<=run )[\w:]+)/g)) assert.ok(scripts[name], `package.json has no script ${name}`);
    for (const [, file] of text.matchAll(/\bnode ([\w/.-]+\.mjs)/g)) assert.ok(fs.existsSync(join(root, file)), `there is no ${file}`);
    for (const [, name] of text.matchAll(/\bcargo (\w+)/g)) assert.ok(["test", "clippy", "fmt", "build", "check"].includes(name), `cargo ${name}?`);
  },
  js: (text) => transform(text, { loader: "js", format: "esm" }),
  ts: (text) => transform(text, { loader: "ts", format: "esm" }),
  json: (text) => JSON.parse(text),
  dotenv: (text) => settings(text),
  toml: async (text) => {
    const { experimental_readRawConfig: read } = await import("wrangler");
    const folder = fs.mkdtempSync(join(tmpdir(), "tollgate-toml-"));
    try {
      fs.writeFileSync(join(folder, "wrangler.toml"), text);
      read({ config: join(folder, "wrangler.toml") });
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  },
  // Their packages are not here, so they are only compiled.
  python: (text) => piped("python3", ["-c", "import sys; compile(sys.stdin.read(), 'document', 'exec')"], text),
};

/** How wrangler's commands are called, as its own help says: a line and the flags. Each is asked for once, because that takes a second even with its code compiled. */
const helps = [];

async function helpFor(words) {
  const known = helps.find(({ usage }) => usage.filter((part) => !/^[<[]/.test(part)).every((part, n) => words[n] === part));
  if (known) return known;
  const { stdout: text } = await run(join(root, "node_modules/.bin/wrangler"), [...words.filter((word) => !word.startsWith("-")), "--help"], { cwd: root, env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}`, WRANGLER_SEND_METRICS: "false", NODE_COMPILE_CACHE: join(root, "target/node-cache") } });
  const usage = text.split("\n").find((line) => line.startsWith("wrangler "))?.split(/\s+/).slice(1) ?? [];
  const help = { usage, text };
  // A group of commands, such as `wrangler queues`, says nothing of those in it.
  if (!/^COMMANDS$/m.test(text)) helps.push(help);
  return help;
}

/** What is wrong with a command of wrangler; null where nothing is. */
export async function wranglerFault(command, help) {
  const words = command.split(/\s+/);
  const { usage, text } = help ?? (await helpFor(words));
  const called = `wrangler ${usage.join(" ")}`;
  const isCalledSo = usage.length > 0 && usage.every((part, n) => /^\[/.test(part) || (/^</.test(part) ? words[n] && !words[n].startsWith("-") : words[n] === part));
  if (!isCalledSo) return `wrangler ${command} is called so: ${called}`;
  const most = usage.some((part) => /^\[?<?.*\.\.>?\]?$/.test(part)) ? Infinity : usage.length;
  if (words.filter((word) => !word.startsWith("-")).length > most + words.filter((word) => word.startsWith("--")).length) return `${called} has no ${words[usage.length]}`;
  const flag = words.find((word) => word.startsWith("--") && !text.includes(`${word} `));
  return flag ? `${called} has no ${flag}` : null;
}

function piped(command, args, text) {
  const child = run(command, args, { timeout: PATIENCE_MS });
  child.child.stdin.end(text);
  return child;
}

function settings(text) {
  return text.split("\n").filter((line) => line.trim() && !line.startsWith("#")).map((line) => {
    const [, name, value] = /^([A-Z0-9_]+)=(.*)$/.exec(line) ?? assert.fail(`'${line}' sets no variable`);
    return [name, value.replace(/^(['"])(.*)\1$/, "$2")];
  });
}

/** The fenced blocks of a page, and its other lines. */
function parts(name, lines) {
  const [blocks, prose] = [[], []];
  let open;
  for (const [index, line] of lines.entries()) {
    const fence = /^\s*(```+)(.*)$/.exec(line);
    if (!open && fence) open = { line: index + 1, fence: fence[1], info: fence[2], text: [] };
    else if (open && fence && fence[1] === open.fence && !fence[2].trim()) {
      blocks.push(new Block(name, open.line, open.info, open.text.join("\n") + "\n"));
      open = undefined;
    } else (open ? open.text : prose).push(line);
  }
  assert.ok(!open, `${name}:${open?.line}: the block has no end`);
  return [blocks, prose];
}

/** Whether a text is the other, in which … stands for anything. */
function like(shown, got) {
  const pattern = shown.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[^]*?");
  return new RegExp(`^${pattern}$`).test(got);
}

function difference(shown, got, isShape, at) {
  const [kind, other] = [kindOf(shown), kindOf(got)];
  if (kind !== other) return `${at} is ${other}, not ${kind}`;
  if (kind === "array") {
    if (shown.length > 0 && got.length === 0) return `${at} is empty`;
    if (!isShape && shown.length !== got.length) return `${at} has ${got.length} elements`;
    return shown.map((value, n) => (n < got.length ? difference(value, got[n], isShape, `${at}[${n}]`) : null)).find(Boolean) ?? null;
  }
  if (kind === "object") {
    const names = (value) => Object.keys(value).sort().join(", ");
    if (names(shown) !== names(got)) return `${at} has ${names(got)}`;
    return Object.keys(shown).map((name) => difference(shown[name], got[name], isShape, `${at}.${name}`)).find(Boolean) ?? null;
  }
  if (isShape || (kind === "string" ? like(shown, got) : shown === got)) return null;
  return `${at} is ${JSON.stringify(got)}`;
}

function kindOf(value) {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

/** A block of JavaScript with all that it imports. */
async function bundled(block, account) {
  const { outputFiles } = await build({ stdin: { contents: block.text.replaceAll(ACCOUNT, account), resolveDir: root, loader: "js" }, bundle: true, write: false, format: "esm", logLevel: "silent", alias: { "@tollgate/workers": join(root, "clients/workers/index.js") } });
  return outputFiles[0].text;
}

/** A Worker to which Tollgate is bound. */
function bound(name, contents) {
  const { date, flags } = compatibility();
  return {
    name,
    modules: [{ type: "ESModule", path: `${name}.mjs`, contents }],
    compatibilityDate: date,
    compatibilityFlags: flags,
    serviceBindings: { TOLLGATE: "tollgate" },
    bindings: { OPENAI_API_KEY: "sk-of-openai-0123456789", TOLLGATE_TOKEN: TOKEN },
  };
}
