// `npm test`: the host tests, then the end-to-end tests against the built Worker.
// `npm test -- host` and `npm test -- e2e [part of a path]` run one of the two. Then come official clients, `npm run clients`,
// and schemathesis, where they can be had.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { clients, ensurePython } from "./clients.mjs";
import { fuzz } from "./fuzz.mjs";
import { build, nodeProgram, wranglerEnv } from "./setup.mjs";
import { Failure, main, root, say } from "./toolchain.mjs";

const END_TO_END = "tests/e2e";

function succeeds(command, args, env) {
  const result = spawnSync(command, args, { cwd: root, env, stdio: "inherit" });
  if (result.error) throw new Failure(`${command} cannot be run: ${result.error.message}`);
  return result.status === 0;
}

function testHost() {
  say("host tests (cargo test)");
  return succeeds("cargo", ["test", "--locked"], process.env);
}

function endToEndFiles(part) {
  const paths = fs.readdirSync(join(root, END_TO_END), { recursive: true }).map((path) => path.replaceAll("\\", "/"));
  return paths.filter((path) => path.endsWith(".test.mjs") && path.includes(part)).sort().map((path) => join(END_TO_END, path));
}

function testEndToEnd(part = "", python = process.env.CLIENTS_PYTHON) {
  const files = endToEndFiles(part);
  if (files.length === 0) throw new Failure(`no test in ${END_TO_END} has "${part}" in its path`);
  build();
  if (files.some((file) => file.includes("faults-under-load"))) build("panicking");
  say("end-to-end tests (node --test)");
  return succeeds(nodeProgram, ["--test", "--test-concurrency=2", ...files], { ...wranglerEnv(), ...(python && { CLIENTS_PYTHON: python }) });
}

await main(import.meta.url, ([suite, part]) => {
  if (![undefined, "host", "e2e"].includes(suite)) throw new Failure("usage: npm test -- [host | e2e [part of a path]]");
  const failed = [];
  if (suite !== "e2e" && !testHost()) failed.push("host");
  if (suite !== "host" && !testEndToEnd(part, suite === undefined ? (ensurePython() ?? undefined) : undefined)) failed.push("end-to-end");
  if (suite === undefined && !clients()) failed.push("clients");
  if (suite === undefined && !fuzz()) failed.push("fuzz");
  if (failed.length > 0) throw new Failure(`these tests failed: ${failed.join(", ")}`);
});
