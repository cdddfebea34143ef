#!/usr/bin/env node
// The command `tollgate`: each of its words is a file beside this one.
import { Failure, isNewEnough, main, say, version } from "./base.mjs";
import { helpOf } from "./options.mjs";

const COMMANDS = {
  start: { about: "serves Tollgate on this machine until it is stopped", load: () => import("./start.mjs") },
  dev: { about: "wrangler dev: for development only, for it opens a debugger", load: () => import("./dev.mjs") },
  deploy: { about: "migrates the databases at Cloudflare and uploads the Worker", load: () => import("./deploy.mjs") },
  token: { about: "prints the admin token, or makes a token with fewer rights", load: () => import("./token.mjs") },
  export: { about: "prints the configuration of a running Tollgate as one document", load: () => import("./export.mjs") },
  apply: { about: "makes a running Tollgate what such a document says", load: () => import("./apply.mjs") },
  backup: { about: "keeps all data of one moment in one file, also while it serves", load: () => import("./backup.mjs") },
  restore: { about: "brings a backup back, while nothing serves", load: () => import("./restore.mjs") },
  import: { about: "takes logs and settings over from Cloudflare AI Gateway, Langfuse, Helicone and LiteLLM", load: () => import("./import.mjs") },
  doctor: { about: "checks Node, port, state, databases and providers, and says what to do", load: () => import("./doctor.mjs") },
};

function usage() {
  const lines = Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(8)}${about}`);
  return `tollgate ${version()}, a self-hosted LLM gateway\n\nusage: tollgate COMMAND [OPTIONS]\n\n${lines.join("\n")}\n\ntollgate COMMAND --help has the options. The folder that you run it in has wrangler.toml, .dev.vars and the data.`;
}

await main(import.meta.url, async ([name, ...args]) => {
  if (name === "--version" || name === "-v") return console.log(version());
  if (name === undefined || name === "help" || name === "--help" || name === "-h") return console.log(usage());
  if (!Object.hasOwn(COMMANDS, name)) throw new Failure(`there is no command "${name}".\n\n${usage()}`);
  if (!isNewEnough() && name !== "doctor") say(`warning: this is Node ${process.versions.node}; Tollgate needs 22.13 or newer.`);
  const { about, load } = COMMANDS[name];
  const command = await load();
  if (args.some((arg) => ["--help", "-h"].includes(arg))) {
    const options = command.HELP ? `\n\n${helpOf(command.HELP)}` : "";
    return console.log(`usage: tollgate ${name} ${command.USAGE ?? "[OPTIONS]"}\n\n${about[0].toUpperCase()}${about.slice(1)}.${options}${command.MORE ? `\n\n${command.MORE}` : ""}`);
  }
  process.exitCode = await command.run(args);
}, null);
