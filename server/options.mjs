// Where the state is, which port is opened, and every other choice of the operator who starts the server: decided here and nowhere else.
// docs/configuration.md has the same table, and a test compares the two.
import * as fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Failure, root } from "./base.mjs";

/** `env` is a variable of the environment that says the same; the option counts more. */
export const OPTIONS = [
  { name: "host", env: "HOST", value: "ADDRESS", usual: "127.0.0.1", about: "the address that is listened on; 0.0.0.0 for all" },
  { name: "port", env: "PORT", value: "N", usual: "8787", about: "the port" },
  { name: "tls-cert", env: "TLS_CERT", value: "FILE", usual: "none", about: "a certificate in PEM, with what it was signed with; then https is served" },
  { name: "tls-key", env: "TLS_KEY", value: "FILE", usual: "none", about: "its private key in PEM" },
  { name: "config", value: "FILE", usual: "wrangler.toml", about: "the bindings; .dev.vars is beside it" },
  { name: "state", env: "TOLLGATE_STATE", value: "FOLDER", usual: ".wrangler/state", about: "where the data is, beside the configuration" },
  { name: "log-requests", env: "LOG_REQUESTS", usual: "off", about: "a line for each request on standard output; LOG_REQUESTS=1" },
  { name: "grace", value: "SECONDS", usual: "30", about: "how long requests may take to end when the server is stopped" },
  { name: "minute", value: "SECONDS", usual: "60", about: "how often the cron trigger runs" },
  { name: "front", value: "FILE", usual: "none", about: "the wrangler.toml of a Worker that is served instead, with Tollgate behind its binding" },
  { name: "no-build", usual: "off", about: "in a clone: serves what is in build/ as it is" },
];

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/i;
const EXAMPLE = join(root, "examples/worker/wrangler.toml");

/** Everything that was chosen, read and checked. `home` is the folder that a configuration is looked for in. */
export function chosen(args, { home = process.cwd(), env = process.env } = {}) {
  const { values, positionals } = parsed(args, OPTIONS);
  if (positionals.length > 1 || ![undefined, "example"].includes(positionals[0])) throw new Failure(`there is no "${positionals.join(" ")}" to start. See tollgate start --help.`);
  const of = (name) => {
    const { env: variable, usual } = OPTIONS.find((option) => option.name === name);
    return values[name] ?? (variable && env[variable] ? env[variable] : usual);
  };
  const isUsual = (name) => of(name) === OPTIONS.find((option) => option.name === name).usual;
  // What is usual is beside the configuration; what the operator typed is where they stand.
  const path = (name, base = home) => (of(name) === "none" ? undefined : resolve(isUsual(name) ? base : process.cwd(), of(name)));
  const config = path("config");
  const front = positionals[0] === "example" ? EXAMPLE : path("front");
  for (const file of [values.config && config, front]) if (file && !fs.existsSync(file)) throw new Failure(`there is no ${file}.`);
  const [cert, key] = [path("tls-cert"), path("tls-key")];
  if (!cert !== !key) throw new Failure(`${cert ? "TLS_CERT" : "TLS_KEY"} is set and ${cert ? "TLS_KEY" : "TLS_CERT"} is not: https needs both, or neither.`);
  const host = of("host").replace(/^\[(.*)\]$/, "$1");
  return {
    config,
    front,
    vars: join(dirname(config), ".dev.vars"),
    state: path("state", dirname(config)),
    host,
    isLoopback: LOOPBACK.test(host),
    port: number("--port or PORT", of("port"), 1, 65_535),
    tls: cert && { cert, key },
    logRequests: values["log-requests"] ?? isOn("LOG_REQUESTS", env.LOG_REQUESTS),
    grace: number("--grace", of("grace"), 0, 86_400),
    minute: number("--minute", of("minute"), 1, 86_400),
    isBuilt: values["no-build"] === true,
  };
}

export function parsed(args, options) {
  try {
    const known = options.map(({ name, value }) => [name, { type: value ? "string" : "boolean" }]);
    return parseArgs({ args, options: Object.fromEntries(known), allowPositionals: true });
  } catch (error) {
    const hint = process.env.npm_lifecycle_event ? " Options come after two dashes: npm start -- --port 8788" : "";
    throw new Failure(`${error.message.replace(/\.$/, "")}.${hint}`);
  }
}

/** The lines of `--help`. */
export function helpOf(options) {
  const lines = options.map(({ name, value, env, about, usual }) => [`--${name}${value ? ` ${value}` : ""}`, `${about}${usual ? ` (${usual}${env ? `, or what ${env} says` : ""})` : ""}`]);
  const width = Math.max(...lines.map(([left]) => left.length));
  return lines.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
}

export function number(name, text, least, most) {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Failure(`${name} must be a number from ${least} to ${most}, not "${text}".`);
}

function isOn(name, text = "") {
  if (["", "0", "false"].includes(text)) return false;
  if (["1", "true"].includes(text)) return true;
  throw new Failure(`${name} must be 1 or 0, not "${text}".`);
}

/** How a client writes the address. */
export function addressOf({ host, port, tls }) {
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host.includes(":") ? `[${host}]` : host;
  return `${tls ? "https" : "http"}://${name}:${port}`;
}
