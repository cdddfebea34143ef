// The built files: how large they are, where they point, and what their sources may not contain.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildDashboard, buildInto, DIST, forbiddenLines, sizes } from "../../dashboard/build.mjs";
import { root } from "../../scripts/toolchain.mjs";
import { LICENCES } from "../../dashboard/licences.mjs";

test("D4 the first page is at most 60 KB compressed, in three requests, and all from here", () => {
  buildDashboard();
  const { first, whole } = sizes();
  console.log(`the dashboard, compressed: ${first} bytes for the first page, ${whole} in all`);
  assert.ok(first <= 60_000);
  const page = readFileSync(join(DIST, "index.html"), "utf8");
  const loaded = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url);
  assert.equal(loaded.filter((url) => /\.(js|css)$/.test(url)).length, 2);
  for (const url of loaded) assert.match(url, /^\/dashboard\/assets\/[\w-]+\.(js|css|svg)$/);
  assert.ok(!/<script(?![^>]*\bsrc=)|\bstyle=|\son\w+=/.test(page), "nothing that the page's policy refuses");
});

test("D31 another build gives the same files, and none of them is committed", () => {
  buildDashboard();
  const folder = mkdtempSync(join(tmpdir(), "tollgate-dist-"));
  try {
    buildInto(folder, process.execPath);
    const contents = (of) => Object.fromEntries(readdirSync(of, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && entry.name !== "openapi.json").map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name), "base64")]));
    const built = contents(folder);
    assert.ok(Object.keys(built).length >= 5);
    assert.deepEqual(built, contents(DIST));
    assert.equal(spawnSync("git", ["ls-files", DIST], { cwd: root, encoding: "utf8" }).stdout, "");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the licences of all packages in the bundle are among its files", () => {
  buildDashboard();
  const text = readFileSync(join(DIST, LICENCES), "utf8");
  const named = [...text.matchAll(/^(\S+) \d+\.\d+\.\d+ \(MIT\)$/gm)].map(([, name]) => name);
  assert.deepEqual(named, ["@preact/signals", "@preact/signals-core", "preact", "uplot"]);
  assert.equal(text.match(/Permission is hereby granted/g).length, named.length);
});

test("what makes text into a page or a program is found in the sources, and is not there", () => {
  assert.deepEqual(forbiddenLines(), []);
  const folder = mkdtempSync(join(tmpdir(), "tollgate-lint-"));
  try {
    const wrong = ["box.innerHTML = text;", "document.write(text)", "eval(text)", "new Function(text)", "<p dangerouslySetInnerHTML={{}} />", 'setTimeout("run()", 1)', "frame.srcdoc = text"];
    for (const line of wrong) {
      const file = join(folder, "x.tsx");
      writeFileSync(file, `const fine = 1;\n${line}\n`);
      assert.equal(forbiddenLines([file]).length, 1, line);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
