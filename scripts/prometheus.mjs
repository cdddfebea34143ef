// `node scripts/prometheus.mjs` sees to it that this machine has Prometheus and promtool for the test of /metrics, and prints where they are: those on PATH, or
// else the programs of Debian's package, which is unpacked into the cache and not installed, because its installation starts a service.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { cache, Failure, main, programPath } from "./toolchain.mjs";

/** `{ prometheus, promtool }`. Throws what is to be done where they cannot be had. */
export function ensurePrometheus() {
  const own = { prometheus: programPath("prometheus"), promtool: programPath("promtool") };
  if (own.prometheus && own.promtool) return own;
  const place = join(cache, "prometheus");
  const unpacked = { prometheus: join(place, "usr/bin/prometheus"), promtool: join(place, "usr/bin/promtool") };
  if (!fs.existsSync(unpacked.promtool)) {
    fs.mkdirSync(place, { recursive: true });
    const run = (program, ...args) => spawnSync(program, args, { cwd: place, encoding: "utf8" });
    let got = run("apt-get", "download", "prometheus");
    if (got.status !== 0) {
      run("apt-get", "update");
      got = run("apt-get", "download", "prometheus");
    }
    const file = fs.readdirSync(place).find((name) => name.endsWith(".deb"));
    const done = file && run("dpkg-deb", "-x", file, place);
    if (!done || done.status !== 0) throw new Failure("Prometheus is not on PATH, and Debian's package cannot be had. Install the package prometheus.");
  }
  return unpacked;
}

await main(import.meta.url, () => console.log(ensurePrometheus()));
