// `npm test`: the host tests, then the end-to-end tests against the built Worker.
// `npm test -- host`, `npm test -- e2e [part of a path]` and `npm test -- dashboard [part of a name]` run one of them. Then come official clients, `npm run clients`,
// and schemathesis, where they can be had.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { ensureChromium } from "./chromium.mjs";
import { clients, ensurePython } from "./clients.mjs";
import { fuzz } from "./fuzz.mjs";
import { build, nodeProgram, testOptions, wranglerEnv } from "./setup.mjs";
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
  return succeeds(nodeProgram, [...testOptions, "--test-concurrency=3", ...files], { ...wranglerEnv(), ...(python && { CLIENTS_PYTHON: python }) });
}

/** The dashboard's pure parts, its types, and its pages in a real browser against the built Worker. */
function testDashboard(part = "") {
  build();
  say("the dashboard (tsc, node --test, Chromium)");
  const pages = fs.readdirSync(join(root, "tests/dashboard")).filter((name) => name.endsWith(".test.mjs") && name.includes(part)).map((name) => join("tests/dashboard", name));
  const pure = part === "" ? fs.readdirSync(join(root, "dashboard/tests")).map((name) => join("dashboard/tests", name)) : [];
  if (pages.length + pure.length === 0) throw new Failure(`no test of the dashboard has "${part}" in its name`);
  const env = { ...wranglerEnv(), CHROMIUM: ensureChromium() };
  const isTyped = succeeds(nodeProgram, ["node_modules/typescript/bin/tsc", "-p", "dashboard"], env);
  return succeeds(nodeProgram, [...testOptions, "--test-concurrency=2", ...pure, ...pages], env) && isTyped;
}

await main(import.meta.url, ([suite, part]) => {
  if (![undefined, "host", "e2e", "dashboard"].includes(suite)) throw new Failure("usage: npm test -- [host | e2e [part of a path] | dashboard [part of a name]]");
  const failed = [];
  if ([undefined, "host"].includes(suite) && !testHost()) failed.push("host");
  if ([undefined, "e2e"].includes(suite) && !testEndToEnd(part, suite === undefined ? (ensurePython() ?? undefined) : undefined)) failed.push("end-to-end");
  if ([undefined, "dashboard"].includes(suite) && !testDashboard(part)) failed.push("dashboard");
  if (suite === undefined && !clients()) failed.push("clients");
  if (suite === undefined && !fuzz()) failed.push("fuzz");
  if (failed.length > 0) throw new Failure(`these tests failed: ${failed.join(", ")}`);
});
