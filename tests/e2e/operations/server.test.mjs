// `npm start` as a server that people run for years: what it is told by options, what it says, and what it survives.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { WebSocket } from "undici";
import { OPTIONS, chosen, helpOf } from "../../../server/options.mjs";
import { jsonLine } from "../../../server/runtime.mjs";
import { checkPortIsFree } from "../../../server/serve.mjs";
import { Upstream } from "../../upstream.mjs";
import { ACCOUNT, raw, until } from "../harness.mjs";
import { ids, killedUnderLoad } from "../kills.mjs";
import { EVERYTHING, root, Served } from "../served.mjs";

// The certificate of these tests is signed by no authority.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };
const EVENT = (n) => `data: {"choices":[{"index":0,"delta":{"content":"${n}"}}]}\n\n`;
const isRoot = process.getuid() === 0;

let upstream;
let gw;
before(async () => {
  upstream = await Upstream.start();
  gw = await Served.start({ upstream, environment: { LOG_REQUESTS: "1" } });
  await gw.create("gw");
});
after(() => gw?.stop());

/** A folder that is removed at the end. */
function folder() {
  const made = fs.mkdtempSync(join(tmpdir(), "tollgate-server-"));
  after(() => fs.rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Starts, and ends with one error. */
async function refused(options, expected) {
  const served = await Served.start({ upstream, isReady: false, ...options });
  assert.equal(await served.ended, 1, served.text);
  assert.match(served.text, expected);
  assert.equal(served.text.match(/error/gi).length, 1, served.text);
  assert.doesNotMatch(served.text, /\n {4}at /);
  return served;
}

const answered = async (served = gw, json = CHAT) => {
  const answer = await served.call("openai/chat/completions", { json });
  assert.equal(answer.status, 200, await answer.clone().text());
  await answer.arrayBuffer();
  return answer.headers.get("cf-aig-log-id");
};

test("every option is decided in one table, which docs/configuration.md and --help have", () => {
  const page = fs.readFileSync(join(root, "docs/configuration.md"), "utf8");
  for (const { name, env, usual } of OPTIONS) {
    const row = page.split("\n").find((line) => line.startsWith(`| \`--${name}\``));
    assert.ok(row, `docs/configuration.md has no --${name}`);
    if (env) assert.ok(row.includes(`\`${env}\``), `${name}: ${env}`);
    assert.ok(row.includes(usual), `${name}: ${usual}`);
    assert.ok(helpOf(OPTIONS).includes(`--${name}`));
  }
  const of = (args, env = {}) => chosen(args, { home: root, env });
  assert.deepEqual([of([]).port, of([], { PORT: "1" }).port, of(["--port", "2"], { PORT: "1" }).port], [8787, 1, 2]);
  assert.deepEqual([of([]).host, of([], { HOST: "0.0.0.0" }).host, of(["--host", "[::]"]).host], ["127.0.0.1", "0.0.0.0", "::"]);
  assert.deepEqual([of([]).state, of([], { TOLLGATE_STATE: "/x" }).state], [join(root, ".wrangler/state"), "/x"]);
  assert.deepEqual([of([]).isLoopback, of([], { HOST: "::1" }).isLoopback, of([], { HOST: "10.0.0.1" }).isLoopback], [true, true, false]);
  assert.throws(() => of([], { PORT: "0" }), /--port or PORT must be a number from 1 to 65535, not "0"/);
  assert.throws(() => of([], { TLS_CERT: "/x" }), /TLS_CERT is set and TLS_KEY is not/);
  assert.throws(() => of([], { LOG_REQUESTS: "maybe" }), /LOG_REQUESTS must be 1 or 0/);
  assert.throws(() => of(["--nonsense"]), /--nonsense/);
});

test("/health and the start name the build", async () => {
  const { wasm_sha256 } = JSON.parse((await raw(`${gw.url}/health`)).body);
  assert.match(wasm_sha256, /^[0-9a-f]{64}$/);
  assert.match(gw.text, new RegExp(`version \\S+, wasm sha256 ${wasm_sha256}`));
  assert.match(spawnSync("sha256sum", [join(root, "build/index_bg.wasm")], { encoding: "utf8" }).stdout, new RegExp(`^${wasm_sha256} `));
});

test("LOG_REQUESTS=1 prints a line for each request, without keys; without it there is none", async () => {
  const log = await answered();
  await raw(`${gw.url}/v1/${ACCOUNT}/gw/google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent?key=AIzaSECRET`, { method: "POST", body: "{}" });
  await raw(`${gw.url}/sk-SECRET/x%0Ay`);
  const lines = () => gw.text.split("\n").filter((line) => line.includes('"event":"request"')).map((line) => JSON.parse(line));
  await until(() => lines().some(({ path }) => path === "/…/…"), "the lines");
  const [mine] = lines().filter((line) => line.log === log);
  assert.deepEqual([mine.method, mine.path, mine.status], ["POST", `/v1/${ACCOUNT}/gw/openai/…`, 200]);
  assert.ok(mine.ms >= 0 && Date.parse(mine.at) > 0);
  assert.ok(!gw.text.includes("SECRET"), gw.text);
});

test("what the Worker reports is a line of JSON, whatever it is", () => {
  assert.equal(jsonLine("error", '{"event":"log_lost"}'), '{"event":"log_lost"}');
  assert.deepEqual(JSON.parse(jsonLine("error", "Error: x\n    at y")), { event: "worker_printed", level: "error", message: "Error: x\n    at y" });
  for (const text of ["", "null", "[1]", '{"a":\n1}', "12", "{"]) assert.equal(JSON.parse(jsonLine("warn", text)).message, text);
});

test("errors of the Worker are JSON lines on standard error", async () => {
  const worker = `
    import { WorkerEntrypoint } from "cloudflare:workers";
    export class Limiter {}
    export default class extends WorkerEntrypoint {
      fetch(request) {
        if (new URL(request.url).pathname === "/throw") throw new Error("first\\nsecond");
        console.error({ event: "told" }.event + "\\nin words");
        console.log("a line");
        return new Response("ok");
      }
      settled() { return 0; }
    }`;
  const served = await Served.start({ upstream, worker });
  try {
    await raw(`${served.url}/throw`);
    await until(() => /second/.test(served.text) && /a line/.test(served.text), "the error");
    const lines = served.text.split("\n").filter((line) => line && !/^(tollgate: |\s+(curl |https?:\/\/))/.test(line) && line !== "a line");
    for (const line of lines) assert.equal(typeof JSON.parse(line), "object", line);
    assert.ok(lines.map((line) => JSON.parse(line)).some(({ level, message }) => level === "error" && message.includes("told\nin words")), lines.join("\n"));
  } finally {
    // What goes on keeps this file from ending.
    await served.stopped();
  }
  fs.rmSync(served.folder, { recursive: true, force: true });
});

test("an address of another machine's is warned about, unless TLS or a proxy is there; its own name is served", async () => {
  const own = Object.values(networkInterfaces()).flat().find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "0.0.0.0";
  const open = await Served.start({ upstream, environment: { HOST: "0.0.0.0" }, vars: { ALLOWED_HOSTS: undefined } });
  assert.match(open.text, /warning: 0\.0\.0\.0 can be reached from other machines, and without TLS/);
  assert.match(open.text, /warning: only requests to localhost are served until ALLOWED_HOSTS names the hosts/);
  assert.equal((await raw(`${open.url}/health`, { headers: { host: "gateway.example" } })).status, 421);
  await open.stopped();
  const behind = await Served.start({ upstream, folder: open.folder, environment: { HOST: "0.0.0.0" }, vars: { PUBLIC_URL: "https://gateway.example" } });
  assert.doesNotMatch(behind.text, /can be reached from other machines|others get 421/);
  assert.equal((await raw(`${behind.url}/health`, { headers: { host: "gateway.example" } })).status, 200);
  await behind.stopped();
  fs.rmSync(open.folder, { recursive: true, force: true });
  if (own === "0.0.0.0") return;
  const named = await Served.start({ upstream, host: own, environment: { HOST: own } });
  assert.match(named.text, new RegExp(`warning: ${own} can be reached`));
  assert.equal((await raw(`${named.url}/health`)).status, 200);
  await named.stopped();
  fs.rmSync(named.folder, { recursive: true, force: true });
});

/** A certificate and its key. */
function certificate(made, name = "a") {
  const [cert, key] = [join(made, `${name}.pem`), join(made, `${name}.key`)];
  const { status, stderr } = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-days", "2"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return { TLS_CERT: cert, TLS_KEY: key };
}

test("TLS: requests, streams and WebSockets pass, a client that leaves is noticed, and addresses in answers are https", async () => {
  const environment = certificate(folder());
  const served = await Served.start({ upstream, environment });
  try {
    await served.create("gw");
    assert.equal((await served.logOf(await served.call("openai/chat/completions", { json: CHAT }))).success, true);
    assert.match((await raw(`http://127.0.0.1:${served.port}/health`)).error ?? "", /ECONNRESET|EPROTO|HPE/);
    upstream.next({ events: [0, 1, 2].map(EVENT).concat("data: [DONE]\n\n"), pause: 50 });
    const stream = await served.call("openai/chat/completions", { json: { ...CHAT, stream: true } });
    assert.ok((await stream.text()).endsWith("[DONE]\n\n"));
    const socket = new WebSocket(`wss://127.0.0.1:${served.port}/v1/${ACCOUNT}/gw/openai/realtime?model=gpt-realtime`, { headers: { authorization: "Bearer sk-test" } });
    const said = await new Promise((resolve, reject) => {
      socket.onerror = ({ error }) => reject(error ?? new Error("the socket failed"));
      socket.onopen = () => socket.send("hello");
      socket.onmessage = ({ data }) => (socket.close(), resolve(data));
    });
    assert.equal(said, "hello");
    const before = upstream.requests.length;
    upstream.next({ events: Array.from({ length: 400 }, (_, n) => EVENT(n)), pause: 25 });
    const leaving = new AbortController();
    const left = await served.call("openai/chat/completions", { json: { ...CHAT, stream: true }, signal: leaving.signal });
    await left.body.getReader().read();
    leaving.abort();
    await until(() => upstream.requests[before].closed, "the end of the upstream's stream");
    assert.ok(upstream.requests[before].sent < 400);
    upstream.next({ status: 200, headers: { "x-goog-upload-url": `${upstream.baseUrls["google-ai-studio"]}/upload/v1beta/files?upload_id=1` }, json: {} });
    const upload = await served.call("google-ai-studio/upload/v1beta/files", { json: {}, headers: { "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-goog-api-key": "k" } });
    assert.match(upload.headers.get("x-goog-upload-url") ?? "", new RegExp(`^https://127\\.0\\.0\\.1:${served.port}/v1/`));
    // The runtime's own socket stays on loopback, and a crash does not cut https off from it.
    assert.deepEqual(served.sockets().filter(({ address }) => address !== "127.0.0.1"), []);
    process.kill(served.pid("/bin/workerd"), "SIGKILL");
    await until(async () => (await fetch(`${served.url}/health`).catch(() => ({}))).status === 200, "the runtime", 60_000);
    assert.equal(await served.stopped(), 0, served.text);
  } finally {
    await served.stopped("SIGKILL").catch(() => {});
    fs.rmSync(served.folder, { recursive: true, force: true });
  }
});

test("TLS: files that are none, or do not belong together, are one error", async () => {
  const made = folder();
  const [a, b] = [certificate(made, "a"), certificate(made, "b")];
  const { folder: used } = await refused({ environment: { ...a, TLS_KEY: b.TLS_KEY } }, /error: .*a\.pem and .*b\.key make no certificate with its key/);
  await refused({ folder: used, environment: { ...a, TLS_KEY: join(made, "none") } }, /error: TLS_KEY cannot be read: ENOENT/);
  fs.rmSync(used, { recursive: true, force: true });
});

test("the port of a process that was killed just now is awaited, and any other is an error at once", async () => {
  const holder = createServer();
  await new Promise((resolve) => holder.listen(0, "127.0.0.1", resolve));
  const place = { host: "127.0.0.1", port: holder.address().port };
  await assert.rejects(checkPortIsFree(place), /is in use/);
  let isHeld = true;
  const awaited = checkPortIsFree(place, true).then(() => assert.ok(!isHeld));
  setTimeout(() => {
    isHeld = false;
    holder.close();
  }, 300);
  await awaited;
});

test("a second start on the same state, a variable that makes no sense, and a main that is not there are one error each", async () => {
  await refused({ folder: gw.folder }, new RegExp(`error: another server \\(process \\d+, ${gw.url}\\) has the state in .*choose another folder with --state`));
  const { folder: used } = await refused({ vars: { PROVIDER_BASE_URLS: "{" } }, /error: a variable in .*\.dev\.vars or in \[vars\] makes no sense.*PROVIDER_BASE_URLS/);
  await refused({ folder: used, config: (text) => text.replace(/^main = .*$/m, 'main = "gone/index.js"') }, /error: .*gone\/index\.js, which .*wrangler\.toml names as its main, is not there/);
  fs.rmSync(used, { recursive: true, force: true });
  // The first one did not notice.
  await answered();
});

test("a state folder without rights is one error", async () => {
  const made = folder();
  fs.writeFileSync(join(made, "file"), "");
  const { folder: used } = await refused({ args: ["--state", join(made, "file")] }, /error: the state folder .*\/file cannot be used: it is a file\. Give this user/);
  const closed = join(made, "closed");
  fs.mkdirSync(closed, { mode: 0o500 });
  // root may write everywhere, unless it has no capabilities.
  const under = isRoot ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : [];
  await refused({ folder: used, under, args: ["--state", closed] }, /error: the state folder .*\/closed cannot be used: this user may not write there/);
  await refused({ folder: used, under, args: ["--state", join(closed, "below")] }, /error: the state folder .*below cannot be used: this user may not write there/);
  fs.rmSync(used, { recursive: true, force: true });
});

test("a full disk is one error at the start, and a warning while the server runs; requests pass", async (t) => {
  const disk = folder();
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=80m", "none", disk]).status !== 0) return t.skip("a small disk cannot be mounted here");
  const served = [];
  try {
    fs.writeFileSync(join(disk, "filler"), Buffer.alloc(79 * 1024 * 1024));
    const first = await refused({ args: ["--state", join(disk, "state")] }, /error: the disk of .*state is full: \d\.\d MB are free, and 32\.0 MB are needed/);
    fs.truncateSync(join(disk, "filler"), 0);
    const running = await Served.start({ upstream, folder: first.folder, args: ["--state", join(disk, "state")] });
    served.push(running);
    assert.match(running.text, /warning: \d+\.\d MB are free on the disk of .*state\. When it is full, requests pass but their logs are lost/);
    await running.create("gw");
    const kept = await answered(running);
    await running.logOf({ headers: { "cf-aig-log-id": kept } });
    const { bavail, bsize } = fs.statfsSync(disk);
    fs.writeFileSync(join(disk, "filler"), Buffer.alloc(bavail * bsize));
    const big = { ...CHAT, messages: [{ role: "user", content: "x".repeat(100_000) }] };
    for (let n = 0; n < 30; n += 1) assert.equal((await running.call("openai/chat/completions", { json: big })).status, 200);
    await until(() => /"event":"log_lost"/.test(running.text), "the report of lost logs", 120_000);
    fs.truncateSync(join(disk, "filler"), 0);
    await until(async () => {
      const id = await answered(running);
      return (await running.api(`/gateways/gw/logs/${id}`)).status === 200;
    }, "logs again once there is room", 60_000);
    assert.equal((await running.api(`/gateways/gw/logs/${kept}`)).status, 200);
    assert.equal(await running.stopped(), 0, running.text);
  } finally {
    for (const one of served) await one.stopped("SIGKILL");
    spawnSync("umount", ["-l", disk]);
    for (const one of served) fs.rmSync(one.folder, { recursive: true, force: true });
  }
});

test("a state that a newer version has used, and one that wrangler made, go on working", async () => {
  const made = await Served.start({ upstream });
  await made.create("gw");
  const id = await answered(made);
  await made.stopped();
  made.sql("INSERT INTO d1_migrations (name) VALUES ('9999_of_the_future.sql')");
  const again = await Served.start({ upstream, folder: made.folder });
  assert.match(again.text, /warning: a newer version of Tollgate has used the database DB: this one does not know 9999_of_the_future\.sql/);
  assert.equal((await again.api(`/gateways/gw/logs/${id}`)).status, 200);
  await again.stopped();
  // A copy is a backup.
  fs.cpSync(again.path(".wrangler/state"), again.path("copy"), { recursive: true });
  const copy = await Served.start({ upstream, folder: made.folder, args: ["--state", again.path("copy")] });
  assert.equal((await copy.api(`/gateways/gw/logs/${id}`)).status, 200);
  await copy.stopped();
  const SCHEMA = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'd1_%' AND name NOT LIKE '_cf_%' AND name NOT LIKE 'sqlite_%' ORDER BY type, name";
  const schema = made.sql(SCHEMA);
  fs.rmSync(made.folder, { recursive: true, force: true });
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "node_modules/wrangler/bin/wrangler.js"), "d1", "migrations", "apply", "DB", "--local", "--config", gw.path("wrangler.toml"), "--persist-to", gw.path("by-wrangler")], { encoding: "utf8", env: { ...process.env, CI: "true", WRANGLER_SEND_METRICS: "false" } });
  assert.equal(status, 0, stdout + stderr);
  const old = await Served.start({ upstream, args: ["--state", gw.path("by-wrangler")] });
  assert.doesNotMatch(old.text, /migrated|newer/);
  await old.create("gw");
  await answered(old);
  const long = await answered(old, { messages: [{ role: "user", content: "long ".repeat(3_000) }] });
  const byWrangler = gw.path("by-wrangler");
  const pieces = "SELECT (SELECT count(*) FROM body_pieces) AS there, (SELECT count(*) FROM released_pieces) AS released";
  assert.equal((await old.api(`/gateways/gw/logs/${long}`)).status, 200);
  await old.stopped();
  assert.deepEqual(old.sql(SCHEMA, byWrangler), schema);
  assert.deepEqual(old.sql(pieces, byWrangler), [{ there: 1, released: 0 }]);
  // A migration has a trigger, whose statements wrangler must not take for its own.
  old.sql(`DELETE FROM log_bodies WHERE log_id = '${long}'`, byWrangler);
  assert.deepEqual(old.sql(pieces, byWrangler), [{ there: 1, released: 1 }]);
  fs.rmSync(old.folder, { recursive: true, force: true });
});

test("a queue on this machine is read to its end before the server ends", async () => {
  // Long enough that a stop which did not wait would come first.
  const config = (text) => EVERYTHING(text).replace("max_batch_timeout = 1 ", "max_batch_timeout = 8 ");
  const served = await Served.start({ upstream, config });
  await served.create("gw");
  const all = await Promise.all(Array.from({ length: 20 }, () => answered(served)));
  assert.equal(await served.stopped(), 0, served.text);
  const again = await Served.start({ upstream, folder: served.folder, config });
  const kept = await ids(again);
  assert.deepEqual(all.filter((id) => !kept.has(id)), []);
  await again.stopped();
  fs.rmSync(served.folder, { recursive: true, force: true });
});

for (const part of ["workerd", "serve.mjs", "start.mjs", "all of them"]) {
  test(`kill -9 of ${part} under load: what could be read before can be read after the next start`, async (t) => {
    const parts = gw.processes().filter(({ command }) => /workerd|serve\.mjs|start\.mjs/.test(command));
    const chosenOnes = part === "all of them" ? parts.filter(({ command }) => !/bin\/workerd/.test(command)) : parts.filter(({ command }) => command.includes(part === "workerd" ? "bin/workerd" : part)).slice(-1);
    assert.ok(chosenOnes.length > 0, parts.map(({ command }) => command).join("\n"));
    const { answered: all, written, killedAt } = await killedUnderLoad(gw, () => chosenOnes.forEach(({ pid }) => process.kill(pid, "SIGKILL")));
    assert.ok(written.size > 20, `${written.size} logs`);
    if (part === "workerd") {
      await until(async () => (await raw(`${gw.url}/health`)).status === 200, "the runtime", 60_000);
      await gw.stopped();
    } else {
      await gw.ended;
      // A workerd that no server is left to end is ended by the next start; the others end of themselves.
      if (part !== "all of them") await until(() => !parts.some(({ pid }) => gw.isAlive(pid)), "the end of all processes", 60_000);
    }
    const { folder: used, port } = gw;
    gw = await Served.start({ upstream, folder: used, args: part === "all of them" ? ["--port", String(port)] : [] });
    if (part === "all of them") Object.assign(gw, { port, url: `http://127.0.0.1:${port}` });
    if (part === "all of them") assert.match(gw.text, /ended process \d+, a workerd that an earlier server left behind/);
    const kept = await ids(gw);
    assert.deepEqual([...written].filter((id) => !kept.has(id)), []);
    const lost = all.filter(({ id }) => !kept.has(id));
    t.diagnostic(`${lost.length} of ${all.length} answers have no row${lost.length ? `, the oldest of them ${killedAt - Math.min(...lost.map(({ at }) => at))} ms before the kill` : ""}`);
    assert.ok(lost.length < all.length / 2, `${lost.length} of ${all.length} were lost`);
  });
}
