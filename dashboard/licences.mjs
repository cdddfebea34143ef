// The licences of the packages that are in the built page, which its files have to bring along.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

export const LICENCES = "THIRD-PARTY-LICENSES.txt";

/** The folder and the name of the npm package that a module is of; null for the dashboard's own. */
function packageOf(id) {
  const found = /^(?:\0)?(.*\/node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(id);
  return found && { folder: found[1], name: found[2] };
}

function textOf({ folder, name }) {
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} has no file with its licence, which the dashboard's files have to bring along`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
}

/** A plugin of Vite that writes what the bundle has taken in. */
export function licences() {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const ids = Object.values(bundle).flatMap(({ modules }) => Object.keys(modules ?? {}));
      const packages = new Map(ids.map(packageOf).filter(Boolean).map((found) => [found.name, found]));
      const source = [...packages.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(textOf).join(`\n${"-".repeat(72)}\n\n`);
      this.emitFile({ type: "asset", fileName: LICENCES, source });
    },
  };
}
