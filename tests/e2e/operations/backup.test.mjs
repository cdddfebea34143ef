// `tollgate backup` while the server answers, `tollgate restore` into another folder, and what is refused.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ACCOUNT, TOKEN, until } from "../harness.mjs";
import { EVERYTHING, root, Served } from "../served.mjs";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };
const ANSWER = { headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "a", model: "gpt-4o", choices: [{ message: { role: "assistant", content: "Hi" } }], usage: { prompt_tokens: 5, completion_tokens: 1 } }) };
const KEY = "sk-of-the-backup-0123456789abcdef";
const CLI = ["--disable-warning=ExperimentalWarning", join(root, "server/cli.mjs")];

let gw;
let file;
const folders = [];
const folder = () => folders[folders.push(fs.mkdtempSync(join(tmpdir(), "tollgate-backup-"))) - 1];

before(async () => {
  gw = await Served.start({ config: EVERYTHING, args: ["--minute", "1"] });
  await gw.create("gw");
  gw.upstream.answer = () => ANSWER;
});
after(async () => {
  await gw?.stop();
  for (const path of folders) fs.rmSync(path, { recursive: true, force: true });
});

function cli(at, ...args) {
  const { status, stderr } = spawnSync(process.execPath, [...CLI, ...args], { cwd: at, encoding: "utf8" });
  return { status, said: stderr };
}

/** Without waiting on this thread, which is the stand-in that the server's requests go to. */
async function running(at, ...args) {
  const child = spawn(process.execPath, [...CLI, ...args], { cwd: at, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (piece) => (said += piece));
  return { child, ended: new Promise((resolve) => child.once("close", (status) => resolve({ status, said }))) };
}

async function asked(served) {
  const answer = await fetch(`${served.url}/v1/${ACCOUNT}/gw/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json", "cf-aig-authorization": `Bearer ${TOKEN}` }, body: JSON.stringify(CHAT) });
  assert.equal(answer.status, 200, await answer.text());
  return answer.headers.get("cf-aig-log-id");
}

const written = (served, id) => until(async () => (await served.api(`/gateways/gw/logs/${id}`)).status === 200, `the row of ${id}`);

test("a backup of a server that answers has what was written before it, and the server misses no request", async () => {
  const stored = await gw.api("/gateways/gw/provider_configs", { method: "POST", body: JSON.stringify({ provider_slug: "openai", alias: "default", default_config: true, secret: KEY }) });
  assert.equal(stored.status, 200, await stored.text());
  const before = [];
  for (let n = 0; n < 20; n += 1) before.push(await asked(gw));
  for (const id of before) await written(gw, id);
  const thumb = await gw.api(`/gateways/gw/logs/${before[0]}`, { method: "PATCH", body: JSON.stringify({ feedback: 1 }) });
  assert.equal(thumb.status, 200, await thumb.text());
  let isOver = false;
  const during = [];
  const load = Promise.all(Array.from({ length: 4 }, async () => {
    while (!isOver) during.push(await asked(gw));
  }));
  await until(() => during.length > 20, "load");
  file = join(folder(), "kept.tar.gz");
  const { ended } = await running(gw.folder, "backup", file);
  const { status, said } = await ended;
  const soFar = during.length;
  await until(() => during.length > soFar + 4, "requests after the backup");
  isOver = true;
  await load;
  assert.equal(status, 0, said);
  assert.match(said, /databases, each checked; the server stood still for \d+ ms/);
  assert.equal(fs.statSync(file).mode & 0o077, 0, "others can read the secrets");
  for (const id of during) await written(gw, id);

  const other = folder();
  const restored = cli(other, "restore", file);
  assert.equal(restored.status, 0, restored.said);
  assert.equal(fs.statSync(join(other, ".dev.vars")).mode & 0o077, 0);
  const again = await Served.start({ config: EVERYTHING, folder: other, upstream: gw.upstream });
  try {
    for (const id of before) assert.equal((await again.api(`/gateways/gw/logs/${id}`)).status, 200, id);
    assert.equal((await again.result(`/gateways/gw/logs/${before[0]}`)).feedback, 1);
    await written(again, await asked(again));
    assert.equal(gw.upstream.last.headers.authorization, `Bearer ${KEY}`, "the stored key");
  } finally {
    again.child.kill("SIGTERM");
    await again.ended;
  }
});

test("a server whose backup is killed goes on", async () => {
  const to = join(folder(), "killed.tar.gz");
  const { child, ended } = await running(gw.folder, "backup", to);
  const isStill = () => fs.readFileSync(`/proc/${gw.pid("workerd serve")}/stat`, "utf8").split(") ").at(-1)[0] === "T";
  await until(() => isStill() || child.exitCode !== null, "the server to stand still");
  child.kill("SIGKILL");
  await ended;
  await written(gw, await asked(gw));
});

test("what cannot be kept or brought back is said, and nothing is changed", () => {
  const other = folder();
  const refused = (pattern, at, ...args) => {
    const { status, said } = cli(at, ...args);
    assert.deepEqual([status, pattern.test(said)], [1, true], said);
  };
  refused(/is there already/, gw.folder, "backup", file);
  refused(/there is no data in/, other, "backup");
  refused(/another server .* has the state/, gw.folder, "restore", file, "--replace");
  refused(/name the file/, other, "restore");
  refused(/there is no .*nothing/, other, "restore", "nothing");
  const cut = join(other, "cut.tar.gz");
  fs.writeFileSync(cut, fs.readFileSync(file).subarray(0, fs.statSync(file).size / 2));
  refused(/is no backup, or is cut short/, other, "restore", cut);
  const foreign = join(other, "foreign.tar.gz");
  fs.writeFileSync(join(other, "passwd"), "x");
  spawnSync("tar", ["-czPf", foreign, "--transform=s,^,../,", "passwd"], { cwd: other });
  refused(/holds "\.\.\/passwd"/, other, "restore", foreign);
  assert.ok(!fs.existsSync(join(other, ".wrangler/state/v3")));
  fs.writeFileSync(join(other, ".dev.vars"), "ENCRYPTION_KEY=bm90IHRoZSBzYW1lIGtleSBhcyBpbiB0aGUgYmFja3U=\n");
  refused(/another ENCRYPTION_KEY/, other, "restore", file);
  fs.rmSync(join(other, ".dev.vars"));
  assert.equal(cli(other, "restore", file).status, 0);
  refused(/With --replace it is put aside/, other, "restore", file);
  assert.match(cli(other, "restore", file, "--replace").said, /What was there is in .*v3\.before-/);
});

test("a damaged database is not taken for a backup", () => {
  const other = folder();
  assert.equal(cli(other, "restore", file).status, 0);
  const databases = fs.readdirSync(join(other, ".wrangler/state/v3"), { recursive: true }).filter((name) => name.endsWith(".sqlite"));
  assert.ok(databases.length > 0);
  for (const name of databases) {
    const path = join(other, ".wrangler/state/v3", name);
    const bytes = fs.readFileSync(path);
    fs.writeFileSync(path, bytes.fill(0x5a, 100, Math.min(bytes.length, 60_000)));
  }
  const { status, said } = cli(other, "backup", join(other, "bad.tar.gz"));
  assert.deepEqual([status, /is damaged/.test(said)], [1, true], said);
  assert.ok(!fs.existsSync(join(other, "bad.tar.gz")));
});
