// What `.dev.vars` says, and the two secrets that are written there when it has none.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { readText, say } from "./base.mjs";

/** A token that is guessed a thousand times a second should take more than a lifetime. */
const GOOD_TOKEN = 32;

/** What `.dev.vars` says of a name; an empty value is none. */
export function variable(vars, name) {
  const line = new RegExp(`^\\s*(?:export\\s+)?${name}\\s*[=:]\\s*(.*)$`, "m").exec(readText(vars) ?? "")?.[1].trim() ?? "";
  return /^(["'`])(.*)\1/.exec(line)?.[2] ?? line.replace(/\s*#.*$/, "");
}

function write(vars, name, secret) {
  const text = readText(vars) ?? "";
  const others = text.split("\n").filter((line) => line.trim() && !new RegExp(`^\\s*(export\\s+)?${name}\\s*[=:]`).test(line));
  fs.writeFileSync(vars, [...others, `${name}=${secret}`, ""].join("\n"), { mode: 0o600 });
  // The mode above only counts for a file that is new.
  fs.chmodSync(vars, 0o600);
  say(`wrote a random ${name} to ${vars}`);
}

/** What the Worker cannot do without, or not store keys without; nothing that is there already is changed. `sealed` is how many keys are stored. */
export function ensureSecrets(vars, sealed) {
  const token = variable(vars, "ADMIN_TOKEN");
  if (token === "") write(vars, "ADMIN_TOKEN", randomBytes(32).toString("hex"));
  else if (token.length < GOOD_TOKEN) say(`warning: ADMIN_TOKEN in ${vars} has ${token.length} characters. Use ${GOOD_TOKEN} or more, such as \`openssl rand -hex 32\` prints.`);
  if (variable(vars, "ENCRYPTION_KEY") !== "") return;
  if (sealed === 0) return write(vars, "ENCRYPTION_KEY", randomBytes(32).toString("base64"));
  say(
    `warning: ${vars} has no ENCRYPTION_KEY, but ${sealed} stored keys are sealed with one. No new one is written, for they could not be read ` +
      "with it. Put the old one back; or delete those keys, and the next start writes a new one.",
  );
}
