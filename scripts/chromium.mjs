// `node scripts/chromium.mjs` sees to it that this machine has a browser for the tests that need a real one, and prints where it
// is: Debian's Chromium, because CI reaches no other source of browsers. The path in CHROMIUM is taken instead, where it is set.
import * as fs from "node:fs";
import { ensureProgram, Failure, main, programPath } from "./toolchain.mjs";

const ADVICE = "Install Debian's package chromium, or name a Chromium's program in the variable CHROMIUM.";

/** What a browser is started with here. Chromium's sandbox refuses to run for root, which is who runs in a container. */
export const CHROMIUM_ARGS = process.getuid?.() === 0 ? ["--no-sandbox"] : [];

/** Where Chromium is, or null where there is none. Installs nothing. */
export function chromiumPath() {
  const named = process.env.CHROMIUM;
  if (named) return fs.existsSync(named) ? named : null;
  return programPath("chromium");
}

/** Where Chromium is, which is installed if need be. Throws what is to be done where it cannot be. */
export function ensureChromium() {
  if (process.env.CHROMIUM && !chromiumPath()) throw new Failure(`CHROMIUM names ${process.env.CHROMIUM}, which does not exist.`);
  if (!chromiumPath()) ensureProgram("chromium", "chromium", ADVICE);
  return chromiumPath();
}

await main(import.meta.url, () => console.log(ensureChromium()));
