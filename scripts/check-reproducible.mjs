// Fails when a second build, of the same sources in another folder and from nothing, gives another wasm: the hash that `/health` shows
// would then say nothing of what runs.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wasmHash } from "../server/base.mjs";
import { build, INPUTS } from "./setup.mjs";
import { Failure, main, root, say } from "./toolchain.mjs";

/** Read by the build besides its inputs. */
const BESIDE = ["package.json", "package-lock.json", "dashboard", "server", "scripts"];

await main(import.meta.url, () => {
  build();
  const folder = fs.mkdtempSync(join(tmpdir(), "tollgate-again-"));
  try {
    for (const path of new Set([...INPUTS.filter((path) => !path.startsWith("scripts/")), ...BESIDE])) {
      if (fs.existsSync(join(root, path))) fs.cpSync(join(root, path), join(folder, path), { recursive: true });
    }
    fs.symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    say(`building once more, in ${folder}`);
    const { status } = spawnSync(process.execPath, [join(folder, "scripts/setup.mjs"), "build"], { cwd: folder, stdio: "inherit" });
    if (status !== 0) throw new Failure("the second build failed; the messages above say why.");
    const [first, second] = [root, folder].map((place) => wasmHash(join(place, "build/index.js")));
    if (first !== second) throw new Failure(`two builds of the same sources differ: ${first} and ${second}.`);
    console.log(`wasm sha256 ${first}, twice`);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
