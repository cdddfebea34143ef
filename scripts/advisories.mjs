// `node scripts/advisories.mjs`: whether one of the locked dependencies has a known fault. Both databases are asked where they can be had;
// where one cannot, that is said in one line and is no failure, because nothing has been found out.
import { spawnSync } from "node:child_process";
import { Failure, main, root, say } from "./toolchain.mjs";

/** A database that does not answer must not hold up everything else. */
const PATIENCE_MS = 90_000;
/** Faults that do not concern Tollgate, with the reason: `"RUSTSEC-2026-0001": "…"`, `"GHSA-…": "…"`. */
const IGNORED = {};

/** What a program prints as JSON, or why there is none. */
function asked(command, ...args) {
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8", timeout: PATIENCE_MS, maxBuffer: 1 << 28 });
  if (result.error) return { problem: result.error.code === "ENOENT" ? `${command} is not installed` : result.error.message };
  try {
    return { report: JSON.parse(result.stdout) };
  } catch {
    const line = `${result.stderr}\n${result.stdout}`.split("\n").find((line) => line.trim() !== "");
    return { problem: (line ?? `it ended with ${result.status}`).trim().slice(0, 200) };
  }
}

/** `cargo audit` brings its database from the network, or has it in the cargo folder already. */
function crates() {
  const { report, problem } = asked("cargo-audit", "audit", "--json");
  if (!report?.vulnerabilities) return { problem: problem ?? "its report has no vulnerabilities field" };
  return { found: report.vulnerabilities.list.map(({ advisory, package: { name, version } }) => ({ id: advisory.id, what: `${name} ${version}: ${advisory.title}` })) };
}

/** Development tools, all of them; what is only annoying on one's own machine does not stop a merge. */
function packages() {
  const { report, problem } = asked("npm", "audit", "--json");
  if (!report?.vulnerabilities) return { problem: problem ?? report?.message ?? "its report has no vulnerabilities field" };
  const all = Object.values(report.vulnerabilities).flatMap(({ via }) => via.filter((fault) => typeof fault === "object"));
  const grave = all.filter(({ severity }) => ["high", "critical"].includes(severity));
  return { found: grave.map(({ url, name, title }) => ({ id: url?.split("/").at(-1) ?? name, what: `${name}: ${title}` })) };
}

await main(import.meta.url, () => {
  const faults = [];
  for (const [name, look] of [["crates", crates], ["npm packages", packages]]) {
    const { found, problem } = look();
    if (problem) {
      say(`advisories for ${name}: not checked (${problem})`);
      continue;
    }
    const counted = found.filter(({ id }) => !(id in IGNORED));
    say(`advisories for ${name}: ${counted.length === 0 ? "none" : counted.length}`);
    faults.push(...counted);
  }
  for (const { id, what } of faults) console.error(`  ${id} ${what}`);
  if (faults.length > 0) throw new Failure("locked dependencies have known faults: update them, or say in scripts/advisories.mjs why they do not concern Tollgate.");
});
