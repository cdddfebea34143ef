// `npm run fuzz`: schemathesis, a fuzzer of its own kind, makes requests from /openapi.json. It comes from PyPI; where that
// cannot be reached, or there is no Python, the run is left out and says so. `npm test` has a fuzz that needs neither.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { build, nodeProgram, wranglerEnv } from "./setup.mjs";
import { cache, complaint, Failure, main, readText, root, say, withLock } from "./toolchain.mjs";

const REQUIREMENTS = join(root, "scripts/fuzz-requirements.txt");
const VERSION = /^schemathesis==(.*)$/m.exec(readText(REQUIREMENTS))[1];
const PLACE = join(cache, "tools", `schemathesis-${VERSION}`);
const PROGRAM = join(PLACE, "bin/schemathesis");
const FINISHED = join(PLACE, ".finished");

/** Installs schemathesis; returns what went wrong, or null when it is there. */
function ensureSchemathesis() {
  if (fs.existsSync(FINISHED)) return null;
  return withLock(join(cache, "lock"), () => {
    if (fs.existsSync(FINISHED)) return null;
    fs.rmSync(PLACE, { recursive: true, force: true });
    const python = complaint("python3", ["-m", "venv", PLACE], { timeout: 60_000 });
    if (python !== null) return `python3 makes no virtual environment: ${python}`;
    say(`installing schemathesis ${VERSION} with pip (about 20 seconds, once per machine)`);
    const args = ["install", "--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "5", "--no-deps", "--requirement", REQUIREMENTS];
    const pip = complaint(join(PLACE, "bin/pip"), args, { timeout: 120_000 });
    if (pip !== null) return `pip: ${pip}`;
    fs.writeFileSync(FINISHED, "");
    return null;
  });
}

/** True when schemathesis found nothing, or is not to be had here. */
export function fuzz() {
  const problem = ensureSchemathesis();
  if (problem !== null) {
    say(`no schemathesis on this machine, its run is left out (${problem.split("\n").at(-1).trim()})`);
    return true;
  }
  build();
  say("fuzz (schemathesis)");
  return spawnSync(nodeProgram, ["tests/schemathesis.mjs", PROGRAM], { cwd: root, env: wranglerEnv(), stdio: "inherit" }).status === 0;
}

await main(import.meta.url, () => {
  if (!fuzz()) throw new Failure("schemathesis found something, or did not end; its messages are above.");
});
