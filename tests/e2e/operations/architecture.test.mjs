// The check of src/'s plan, with a broken example of each of its rules.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { problems, ROOMS } from "../../../scripts/check-architecture.mjs";
import { root } from "../../../scripts/toolchain.mjs";

function checked(files) {
  const base = mkdtempSync(join(tmpdir(), "tollgate-architecture-"));
  try {
    for (const [path, text] of Object.entries({ "src/lib.rs": "mod base;\n", ...files })) {
      mkdirSync(dirname(join(base, path)), { recursive: true });
      writeFileSync(join(base, path), text);
    }
    return problems(base);
  } finally {
    rmSync(base, { recursive: true });
  }
}

test("src/ is as its plan says", () => assert.deepEqual(problems(root), []));

test("rooms import rooms that stand before them in the plan, so that none can be in a circle", () => {
  const before = [];
  for (const [room, [may]] of Object.entries(ROOMS)) {
    for (const other of may ?? []) assert.ok(before.includes(other), `${room} imports ${other}`);
    before.push(room);
  }
});

// === ARCHITECTURE.md, which is to lead to anything within a minute ===

const plan = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
const section = (title) => plan.split(/^## /m).find((part) => part.startsWith(title)) ?? "";

test("ARCHITECTURE.md has at most 120 lines", () => assert.ok(plan.trimEnd().split("\n").length <= 120));

test("ARCHITECTURE.md has the rooms that there are, in the order in which they may import each other", () => {
  const tree = plan.split("```")[1];
  const rooms = [...tree.matchAll(/^  (\w+)\//gm)].map(([, room]) => room);
  assert.deepEqual(rooms.toSorted(), readdirSync(join(root, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name).sort());
  for (const [at, room] of rooms.entries()) {
    for (const other of ROOMS[room][0] ?? []) assert.ok(rooms.indexOf(other) < at, `${room} imports ${other}, which stands below it`);
  }
});

/** Places that ARCHITECTURE.md names and that are not there, of files also by their bare name. */
function missing(text) {
  const sources = readdirSync(join(root, "src"), { recursive: true }).map((path) => path.replaceAll("\\", "/"));
  const isThere = (place) => sources.some((path) => `/${path}`.endsWith(`/${place}`)) || ["", "src"].some((base) => existsSync(join(root, base, place)) || existsSync(join(root, base, `${place}.rs`)));
  const places = [...text.matchAll(/`([\w./-]*(?:\/[\w.-]*|\.(?:rs|mjs|js|json|md|toml)))`/g)].map(([, place]) => place).filter((place) => !/^[/_]/.test(place));
  const functions = [...text.matchAll(/`(\w+)` in `([\w/]+\.rs)`/g)].filter(([, name, file]) => !existsSync(join(root, "src", file)) || !readFileSync(join(root, "src", file), "utf8").includes(`fn ${name}(`));
  return [...places.filter((place) => !isThere(place)), ...functions.map(([text]) => text)];
}

test("what ARCHITECTURE.md names is there", () => {
  assert.deepEqual(missing(plan), []);
  assert.deepEqual(missing("`cache/keys.rs` `attic/` `say` in `cache/key.rs` `/v1/x` `cache/key.rs` `key.rs`"), ["cache/keys.rs", "attic/", "`say` in `cache/key.rs`"]);
});

test("what people look for most often has its line", () => {
  const table = section("Where is");
  for (const wanted of ["a metadata filter's SQL", "a provider's base URL", "a cache key", "a judge's call", "the line that reports a lost log"]) assert.ok(table.includes(`| ${wanted} |`), wanted);
});

test("the glossary has its terms, one meaning each", () => {
  const terms = [...section("Words").matchAll(/\*\*([^*]+)\*\*/g)].map(([, term]) => term.toLowerCase());
  assert.ok(terms.length >= 20 && terms.length <= 40, `${terms.length} terms`);
  assert.equal(new Set(terms).size, terms.length);
});

const ROOM = { "src/base/mod.rs": "pub mod id;\n", "src/base/id.rs": "pub fn of() {}\n", "src/logs/row.rs": "pub fn of() {}\n", "src/api/logs.rs": "pub fn of() {}\n", "src/proxy/handle.rs": "pub fn of() {}\n" };
for (const [rule, files, said] of [
  ["a room that others stand on imports nothing", { "src/base/id.rs": "use crate::logs::row;\n" }, /^src\/base\/id\.rs:1: base imports logs \(crate::logs::row\): everything stands on it/],
  ["an import within braces counts", { "src/base/id.rs": "use std::fmt;\nuse crate::{logs::{row::of as it}, base};\n" }, /^src\/base\/id\.rs:2: base imports logs/],
  ["so does a path in the middle of code", { "src/base/id.rs": "pub fn of() {\n    crate::logs::row::of()\n}\n" }, /^src\/base\/id\.rs:2: base imports logs/],
  ["so does a path that goes up", { "src/base/id.rs": "use super::super::logs::row;\n" }, /base imports logs/],
  ["the control plane does not know the proxy", { "src/api/logs.rs": "use crate::proxy::handle;\n" }, /api imports proxy .*know nothing of each other/],
  ["the proxy does not know the control plane", { "src/proxy/handle.rs": "use crate::api::logs;\n" }, /proxy imports api/],
  ["nothing imports entry", { "src/entry/http.rs": "", "src/proxy/handle.rs": "use crate::entry::http;\n" }, /proxy imports entry/],
  ["a new room has a row in the plan", { "src/attic/box.rs": "use crate::base::id;\n" }, /attic imports base .*add it to ROOMS/],
  ["files do not import each other in a circle", { "src/logs/row.rs": "use super::page;\n", "src/logs/page.rs": "use super::row;\n" }, /circle.*src\/logs\/page\.rs, src\/logs\/row\.rs/],
  ["topics do not name the runtime", { "src/logs/row.rs": "use worker::Env;\n" }, /^src\/logs\/row\.rs:1: uses the crate worker/],
  ["one file prints", { "src/proxy/handle.rs": "fn a() {\n    console_error!(\"x\");\n}\n" }, /^src\/proxy\/handle\.rs:2: prints/],
  ["topics leave the status of an answer to http", { "src/http/envelope.rs": "pub struct ApiError;\n", "src/feedback/model.rs": "use crate::base::id;\nuse crate::http::envelope::ApiError;\n" }, /^src\/feedback\/model\.rs:2: knows of answers of HTTP \(http::envelope\); .*http\/kinds\.rs/],
  ["so does a filter, by whatever way", { "src/logs/filter/parse.rs": "fn a() -> Refusal {}\n" }, /knows of answers of HTTP \(Refusal\)/],
  ["tests run what ships", { "src/logs/row.rs": "const A: u32 = if cfg!(test) { 1 } else { 2 };\n" }, /cfg!\(test\)/],
  ["long tests stand in a file of their own", { "src/logs/row.rs": `#[cfg(test)]\nmod tests {\n${"    // one\n".repeat(149)}}\n` }, /^src\/logs\/row\.rs:1: has 152 lines of tests, and may have 150/],
  ["a file of tests says that it is one", { "src/logs/mod.rs": "pub mod row;\n#[cfg(test)]\nmod plans;\n", "src/logs/plans.rs": "" }, /^src\/logs\/mod\.rs:2: the module plans is tests/],
  ["a file is short", { "src/logs/row.rs": "// one\n".repeat(401) }, /has 401 lines before its tests, and may have 400/],
]) {
  test(`the check sees where it does not hold that ${rule}`, () => {
    const found = checked({ ...ROOM, ...files });
    assert.equal(found.length, 1, found.join("\n"));
    assert.match(found[0], said);
  });
}

test("the check lets stand what the rules allow", () => {
  const fine = {
    "src/logs/row.rs": 'use crate::base::id;\n// worker::Env in a comment\nconst A: &str = "use worker::Env;";\n#[cfg(test)]\nmod tests {\n    use crate::api::logs;\n}\n',
    "src/limit/plan.rs": "// Refusal\nfn is_error(status: u16) -> bool {\n    status >= 400\n}\n#[cfg(test)]\nmod tests {\n    use crate::http::refusal::Refusal;\n}\n",
    "src/logs/row_worker.rs": "use worker::Env;\n",
    "src/logs/mod.rs": "pub mod row;\n#[cfg(test)]\nmod plan_tests;\n",
    "src/logs/plan_tests.rs": "use crate::api::logs;\n",
    "src/proxy/handle.rs": "use worker::Env;\nuse crate::logs::row;\n",
    "src/long.rs": `${"// one\n".repeat(400)}#[cfg(test)]\n${"// one\n".repeat(400)}`,
  };
  assert.deepEqual(checked({ ...ROOM, ...fine }), []);
});
