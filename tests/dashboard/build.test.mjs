// The built files: how large they are, where they point, and what their sources may not contain.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildDashboard, DIST, forbiddenLines, sizes } from "../../dashboard/build.mjs";

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
