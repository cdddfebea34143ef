// What README and docs/ tell people to type is typed here, page by page, against the built Worker with the stand-in as its providers.
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Gateway } from "../harness.mjs";
import { Page, root, wranglerFault } from "../documents.mjs";

const folder = (name) => fs.readdirSync(join(root, name)).filter((file) => file.endsWith(".md")).map((file) => `${name}/${file}`);
const top = fs.readdirSync(root).filter((file) => file.endsWith(".md"));
const pages = [...top, ...["docs", "bench", "migrations", "clients/workers", "examples/worker"].flatMap(folder)].map(Page.of);
/** The pages that people type from. What the others show is only looked at. */
const readme = pages.find(({ name }) => name === "README.md");
/** README's first request: what is typed of the other pages is typed behind it. */
const first = readme.blocks.find(({ isRun }) => isRun);
const walked = pages.filter(({ name, isRun }) => (name === "README.md" || name.startsWith("docs/")) && isRun);

let gw;
before(async () => (gw = await Gateway.start()));
after(() => gw.stop());

test("README has at most 200 lines", () => {
  assert.ok(readme.lines.length <= 201);
});

test("every page of docs/ is in its list", () => {
  const listed = Page.of("docs/README.md").links.map((link) => `docs/${link.split("#")[0]}`);
  for (const { name } of pages.filter(({ name }) => name.startsWith("docs/") && name !== "docs/README.md")) assert.ok(listed.includes(name), `docs/README.md does not list ${name}`);
});

test("every setting, variable and code of an error has its line", () => {
  const source = (folder) => fs.readdirSync(join(root, folder)).filter((file) => file.endsWith(".rs")).map((file) => fs.readFileSync(join(root, folder, file), "utf8")).join("\n");
  const rows = (name) => Page.of(name).prose.filter((line) => line.startsWith("|")).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const settings = Object.keys(JSON.parse(fs.readFileSync(join(root, "src/openapi.json"), "utf8")).components.schemas.Settings.properties);
  const variables = [...source("src/config").matchAll(/"([A-Z]+_[A-Z_]+)"/g)].map(([, name]) => name);
  assert.ok(settings.length > 30 && variables.length > 15);
  const told = rows("docs/configuration.md").flatMap(([names]) => [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
  assert.deepEqual([...settings, ...new Set(variables)].filter((name) => !told.includes(name)), [], "docs/configuration.md does not have these");
  const codes = [...source("src/http").matchAll(/(?:Self::new|=> )\((\d{3}), (\d{4,5})[,)]/g)].map(([, status, code]) => `${code} ${status}`);
  assert.ok(codes.length > 30);
  const explained = rows("docs/errors.md").flatMap(([code, statuses, what]) => [...`${statuses} ${what}`.matchAll(/\b[45]\d\d\b/g)].map(([status]) => `${code} ${status}`));
  assert.deepEqual([...new Set(codes)].filter((one) => !explained.includes(one)), [], "docs/errors.md does not have these");
});

test("links lead somewhere", () => {
  assert.deepEqual(pages.flatMap((page) => page.deadLinks()), []);
});

test("blocks are what their language says", async () => {
  const faults = await Promise.all(pages.map((page) => page.faults()));
  assert.deepEqual(faults.flat(), []);
});

test("commands of wrangler are there", async () => {
  const commands = [...new Set(pages.flatMap((page) => page.wranglerCommands))];
  assert.ok(commands.length > 5);
  for (const command of commands) assert.equal(await wranglerFault(command), null);
});

test("what pages tell people to type works", { concurrency: 3 }, async (t) => {
  const walk = async (page) => {
    const before = page === readme ? [] : [first];
    if (!page.wantsItsOwn) return page.walk(gw, before);
    const own = await page.gateway();
    return page.walk(own, before).finally(() => own.stop());
  };
  await Promise.all(walked.map((page) => t.test(page.name, () => walk(page))));
});

test("what is wrong with a page is seen", async () => {
  const fence = "```";
  const page = (text) => new Page("docs/broken.md", text);
  assert.deepEqual(page("[a](b.md) [c](#d) [e](README.md#f)").deadLinks(), ["docs/broken.md: b.md does not exist", "docs/broken.md: #d has no such heading", "docs/broken.md: README.md#f has no such heading"]);
  assert.deepEqual(page("# A `b`: c, d\n[x](#a-b-c-d)\n").deadLinks(), []);
  for (const [info, text, fault] of [
    ["", "x", /'' is no language/],
    ["sh soon", "true", /'soon' says nothing of sh/],
    ["sh", "if true", /syntax error/],
    ["sh server", "npm run nothing", /no script nothing/],
    ["sh long", "node scripts/nothing.mjs", /there is no scripts\/nothing.mjs/],
    ["js", "const = 1", /Expected/],
    ["json", "{a}", /JSON/],
    ["toml", "a = ", /./],
    ["python", "def", /SyntaxError/],
    ["dotenv", "what", /sets no variable/],
  ]) assert.match((await page(`${fence}${info}\n${text}\n${fence}\n`).faults()).join(), fault, `${info}: ${text}`);
  for (const [text, fault] of [
    [`${fence}sh\nfalse\ntrue\n${fence}`, /docs\/broken.md:1: exit code 1/],
    [`${fence}sh\necho $NOBODY_SET_THIS\n${fence}`, /unbound variable/],
    [`${fence}sh\ncurl http://127.0.0.1:8787/nowhere\n${fence}`, /exit code 22/],
    [`${fence}sh refused\ncurl http://127.0.0.1:8787/health\n${fence}`, /exit code 1/],
    [`${fence}js\nthrow new Error("no");\n${fence}`, /Error: no/],
    [`${fence}sh\necho a; echo c\n${fence}\n${fence}text answer\na\nb\n${fence}`, /docs\/broken.md:4: the answer is another/],
    [`${fence}sh\necho '{"a": 2}'\n${fence}\n${fence}json answer\n{"a": 1}\n${fence}`, /\$\.a is 2/],
    [`${fence}sh\necho '{"a": []}'\n${fence}\n${fence}json shape\n{"a": {}}\n${fence}`, /\$\.a is array, not object/],
    [`${fence}json answer\n{}\n${fence}`, /not run/],
  ]) await assert.rejects(page(text).walk(gw), fault, text);
  const help = (usage, text = "") => ({ usage: usage.split(" "), text });
  assert.equal(await wranglerFault("queues create a --delay 5", help("queues create <name>", "      --delay  Seconds")), null);
  for (const [command, usage, fault] of [["queues nonsense", "queues", /has no nonsense/], ["d1 create", "d1 create <name>", /is called so/], ["d1 make a", "d1 create <name>", /is called so/], ["queues create a --for-ever", "queues create <name>", /has no --for-ever/]]) {
    assert.match(await wranglerFault(command, help(usage)), fault, command);
  }
  await page(`${fence}sh refused\ncurl http://127.0.0.1:8787/nowhere\n${fence}\n${fence}text answer\n{…"internalCode":7002…}\n${fence}`).walk(gw);
});
