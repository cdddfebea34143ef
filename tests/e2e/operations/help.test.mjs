// What the scripts of package.json say of themselves, and of options that they do not have.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../served.mjs";

const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const STACK = /^\s+at .+:\d+:\d+\)?$/m;

function run(command, ...args) {
  const [, ...words] = command.split(" ");
  return spawnSync(process.execPath, [...words, ...args], { cwd: root, encoding: "utf8", timeout: 60_000 });
}

test("each npm script answers --help with words, and does nothing else", () => {
  for (const [name, command] of Object.entries(scripts)) {
    for (const flag of ["--help", "-h"]) {
      const { status, stdout, stderr } = run(command, flag);
      assert.equal(status, 0, `${name}: ${stderr}`);
      assert.ok(stdout.length > 60 && !STACK.test(stdout), `npm run ${name} -- ${flag} printed ${JSON.stringify(stdout)}`);
      assert.equal(stderr, "", name);
    }
  }
});

test("an option that a script does not have is named, without a stack", () => {
  for (const name of ["start", "demo", "screenshots", "bench", "bench:soak", "bench:rows", "bench:kills"]) {
    const { status, stderr } = run(scripts[name], "--nonsense");
    assert.equal(status, 1, `${name}: ${stderr}`);
    assert.match(stderr, /^tollgate: error: Unknown option '--nonsense'\./, name);
    assert.ok(!STACK.test(stderr), stderr);
  }
});
