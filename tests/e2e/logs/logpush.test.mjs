// Logs that are pushed: to a bucket and to an endpoint, encrypted and as they are, again after failures, and nothing that was not stored.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { decrypted } from "../../../clients/logpush/decrypt.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 4_096, publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: "pkcs8", format: "pem" } });
const KEY = "sk-canary-0123456789abcdefghij";
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What is a canary? 🐤" }] };

let gw, worker, receiver, bucket, got, answer;
before(async () => {
  receiver = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method, url, headers } = request;
    got.push({ method, url, headers, body: Buffer.concat(chunks) });
    answer(response);
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" }, worker: { r2Buckets: ["LOGPUSH"] } });
  worker = await gw.miniflare.getWorker();
  bucket = await gw.miniflare.getR2Bucket("LOGPUSH");
});
beforeEach(() => {
  got = [];
  answer = (response) => response.writeHead(204).end();
});
after(async () => {
  await gw.stop(/logpush_not_delivered/);
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
});

const cron = () => worker.scheduled({ cron: "* * * * *" });
const chat = async (gateway, headers = {}, json = CHAT) => {
  const sent = await gw.call("openai/chat/completions", { gateway, json, headers: { authorization: `Bearer ${KEY}`, "cf-aig-metadata": JSON.stringify({ user: "Ada", n: 7 }), ...headers } });
  await sent.arrayBuffer();
  return (await gw.logOf(sent, gateway)).id;
};
const status = (gateway) => gw.result(`/gateways/${gateway}/logpush`);
const endpoint = async (gateway, more) => {
  const set = await gw.api(`/gateways/${gateway}/logpush`, { method: "PUT", body: JSON.stringify({ url: `http://127.0.0.1:${receiver.address().port}/in`, ...more }) });
  assert.equal(set.status, 200, await set.clone().text());
  return (await set.json()).result;
};
const lines = (packed) => String(gunzipSync(packed)).trimEnd().split("\n").map((line) => JSON.parse(line));
const objects = async (gateway) => {
  const { objects } = await bucket.list({ prefix: `${ACCOUNT}/${gateway}/` });
  return Promise.all(objects.map(async ({ key }) => ({ key, lines: lines(Buffer.from(await (await bucket.get(key)).arrayBuffer())) })));
};
/** Has the next try be now: in a test nobody waits for minutes. */
const now = () => gw.rows("UPDATE logpush_progress SET next_at = 0, lease_until = 0");

test("logs arrive in the bucket, encrypted, and the script reads them", async () => {
  const gateway = await gw.create("sealed", { logpush: true, logpush_public_key: publicKey });
  assert.deepEqual((({ enabled, form, waiting, destination }) => [enabled, form, waiting, destination])(await status(gateway)), [true, "encrypted", 0, { type: "r2", binding: "LOGPUSH" }]);
  const first = await chat(gateway);
  const second = await chat(gateway, { "cf-aig-collect-log-payload": "false" });
  assert.equal((await status(gateway)).waiting, 2);
  await cron();
  const [object, ...more] = await objects(gateway);
  assert.deepEqual([more.length, object.lines.length], [0, 2]);
  assert.match(object.key, /^acct\/sealed\/\d{8}\/\d{8}T\d{6}Z_[0-9A-Z]{26}\.log\.gz$/);
  const [whole, bare] = object.lines;
  assert.deepEqual([whole.ID, bare.ID], [first, second].sort());
  const { Timestamp, EventID, Metrics, RequestBody, ResponseBody, Metadata, ...plain } = whole.ID === first ? whole : bare;
  assert.deepEqual(plain, { ID: first, Gateway: "sealed", Provider: "openai", Model: plain.Model, RequestedModel: "gpt-4o", Endpoint: "chat/completions", StatusCode: 200, Cached: false, RateLimited: false, SessionID: null, BodiesLeftOut: false });
  assert.ok(Date.parse(Timestamp) > 0 && EventID && Metrics.durationMs >= 0 && Metrics.tokensIn > 0 && Metrics.cost > 0);
  for (const sealed of [RequestBody, ResponseBody, Metadata]) assert.deepEqual(Object.keys(sealed), ["key", "iv", "data"]);
  assert.ok(!JSON.stringify(object.lines).includes("canary"), "what is private is not readable");
  const read = object.lines.map((line) => decrypted(line, privateKey));
  const mine = read.find(({ ID }) => ID === first);
  assert.deepEqual([JSON.parse(mine.RequestBody), JSON.parse(mine.Metadata)], [CHAT, { user: "Ada", n: 7 }]);
  assert.equal(mine.ResponseBody, await (await gw.api(`/gateways/${gateway}/logs/${first}/response`)).text());
  const other = read.find(({ ID }) => ID === second);
  assert.deepEqual([other.RequestBody, other.ResponseBody], [null, null], "what is not stored is not pushed");
  assert.ok(!JSON.stringify(read).includes(KEY), "no key leaves in a push");
  const { pushed, batches, waiting, pushed_up_to, error, lost } = await status(gateway);
  assert.deepEqual({ pushed, batches, waiting, pushed_up_to, error, lost }, { pushed: 2, batches: 1, waiting: 0, pushed_up_to: bare.ID, error: null, lost: 0 });
  await cron();
  assert.equal((await objects(gateway)).length, 1, "nothing is pushed twice");
});

test("an endpoint gets them as they are, with the secret that was given, and nobody else sees it", async () => {
  const gateway = await gw.create("plain", { logpush: true, logpush_plain: true });
  const shown = await endpoint(gateway, { authorization: "Bearer logs-secret-1" });
  assert.deepEqual([shown.destination.type, shown.destination.authorization, shown.form], ["https", true, "plain"]);
  assert.ok(!JSON.stringify([shown, await status(gateway), await gw.rows("SELECT * FROM logpush_destinations")]).includes("logs-secret-1"));
  const id = await chat(gateway);
  await cron();
  const [{ method, url, headers, body }, ...more] = got;
  assert.deepEqual([method, url, headers.authorization, headers["content-type"], headers["content-encoding"], more.length], ["POST", "/in", "Bearer logs-secret-1", "application/x-ndjson", "gzip", 0]);
  assert.match(headers["tollgate-object-name"], new RegExp(`_${headers["tollgate-batch-id"]}\\.log\\.gz$`));
  const [line] = lines(body);
  assert.deepEqual([line.ID, JSON.parse(line.RequestBody), line.Metadata], [id, CHAT, { user: "Ada", n: 7 }]);
  assert.ok(!JSON.stringify(line).includes(KEY));
  assert.deepEqual(decrypted(line, privateKey), line, "the script passes on what is not encrypted");
  const back = await gw.api(`/gateways/${gateway}/logpush`, { method: "DELETE" });
  assert.equal((await back.json()).result.destination.type, "r2");
  await chat(gateway);
  await cron();
  assert.deepEqual([got.length, (await objects(gateway)).length], [1, 1]);
});

test("a destination that is down, slow to say so, or breaks off gets the same batch later, and no request waits for it", async () => {
  const gateway = await gw.create("down", { logpush: true, logpush_plain: true });
  await endpoint(gateway);
  const first = await chat(gateway);
  const ways = [(response) => response.writeHead(503).end("no"), (response) => response.destroy(), (response) => response.writeHead(302, { location: "/elsewhere" }).end()];
  for (const [n, way] of ways.entries()) {
    answer = way;
    await cron();
    const { failures, error, next_try, pushed, waiting } = await status(gateway);
    assert.deepEqual([failures, pushed, waiting >= 1, Date.parse(next_try) > Date.now()], [n + 1, 0, true, true]);
    assert.match(error, [/status 503/, /./, /status 302/][n]);
    const asked = got.length;
    await cron();
    assert.equal(got.length, asked, "it is not tried before its time");
    await chat(gateway);
    await now();
  }
  answer = (response) => response.writeHead(200).end();
  await cron();
  const names = new Set(got.slice(0, 4).map(({ headers }) => headers["tollgate-batch-id"]));
  assert.equal(names.size, 1, "the batch keeps its name");
  assert.ok(got.every(({ url }) => url === "/in"), "redirects are not followed");
  const arrived = got.slice(3).flatMap(({ body }) => lines(body).map(({ ID }) => ID));
  assert.deepEqual([arrived.length, new Set(arrived).size, arrived[0]], [4, 4, first]);
  const { failures, error, waiting, pushed } = await status(gateway);
  assert.deepEqual([failures, waiting, pushed, error !== null], [0, 0, 4, true], "the last failure stays visible");
});

test("an endpoint that hangs keeps no other gateway waiting, and its batch comes later", async () => {
  const hanging = await gw.create("hanging", { logpush: true, logpush_plain: true });
  const others = await Promise.all([0, 1, 2, 3, 4].map((n) => gw.create(`prompt-${n}`, { logpush: true, logpush_plain: true })));
  await endpoint(hanging);
  await chat(hanging);
  for (const gateway of others) await chat(gateway);
  const held = [];
  answer = (response) => held.push(response);
  const begun = Date.now();
  const run = cron();
  await until(async () => (await Promise.all(others.map(status))).every(({ pushed }) => pushed === 1), "the batches of the others");
  assert.ok(held.length === 1 && (await status(hanging)).pushed === 0, "the others arrived while it hung");
  await run;
  assert.match((await status(hanging)).error, /did not answer within 10 s/);
  held[0].destroy();
  answer = (response) => response.writeHead(202, { "content-type": "text/html" }).end("<p>Thank you");
  await now();
  await cron();
  assert.deepEqual([(await status(hanging)).pushed, got[0].headers["tollgate-batch-id"] === got[1].headers["tollgate-batch-id"]], [1, true]);
  assert.ok(Date.now() - begun < 120_000);
});

test("a Worker that is ended in the middle of a push sends the same batch when it is there again", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-push-"));
  const start = () => Gateway.start({ upstream: gw.upstream, folder, bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  let arrived;
  const reached = new Promise((resolve) => (arrived = resolve));
  answer = () => arrived();
  const first = await start();
  await first.create("gw", { logpush: true, logpush_plain: true });
  const set = await first.api("/gateways/gw/logpush", { method: "PUT", body: JSON.stringify({ url: `http://127.0.0.1:${receiver.address().port}/in` }) });
  assert.equal(set.status, 200);
  await first.logOf(await first.call("openai/chat/completions", { json: CHAT }));
  const run = (await first.miniflare.getWorker()).scheduled({ cron: "* * * * *" }).catch(() => {});
  await reached;
  await first.miniflare.dispose();
  await run;
  answer = (response) => response.writeHead(200).end();
  const second = await start();
  try {
    await second.rows("UPDATE logpush_progress SET lease_until = 0, next_at = 0");
    for (const _ of [1, 2]) await (await second.miniflare.getWorker()).scheduled({ cron: "* * * * *" });
    const [before, after, ...more] = got.map(({ headers, body }) => [headers["tollgate-batch-id"], lines(body).map(({ ID }) => ID)]);
    assert.deepEqual([after, more], [before, []], "the same logs under the same name, and then nothing");
    assert.equal((await second.result("/gateways/gw/logpush")).pushed, 1);
  } finally {
    await second.miniflare.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("what people delete is not pushed, and a gateway that goes takes its destination along", async () => {
  const gateway = await gw.create("deleted", { logpush: true, logpush_plain: true });
  await endpoint(gateway);
  await chat(gateway);
  assert.equal((await gw.api(`/gateways/${gateway}/logs`, { method: "DELETE" })).status, 200);
  await until(async () => (await status(gateway)).waiting === 0, "the log to go");
  await chat(gateway);
  assert.equal((await gw.api(`/gateways/${gateway}`, { method: "DELETE" })).status, 200);
  await cron();
  assert.deepEqual([got.length, await gw.rows("SELECT * FROM logpush_destinations WHERE url LIKE '%in' AND gateway NOT IN (SELECT key FROM gateways)")], [0, []]);
});

test("what is missing is said: a key, a bucket, an address that may be called", async () => {
  const off = await gw.create("off", {});
  assert.deepEqual([(await status(off)).enabled, (await status(off)).missing], [false, "The setting logpush is off"]);
  const keyless = await gw.create("keyless", { logpush: true });
  await chat(keyless);
  assert.deepEqual([(await status(keyless)).waiting, /logpush_plain/.test((await status(keyless)).missing)], [0, true]);
  const wrong = await gw.create("wrong-key", { logpush: true, logpush_public_key: "x".repeat(64) });
  await chat(wrong);
  await cron();
  assert.match((await status(wrong)).error, /no public RSA key in PEM/);
  const put = await gw.api(`/gateways/${wrong}`, { method: "PUT", body: JSON.stringify({ logpush_public_key: publicKey }) });
  assert.equal(put.status, 200);
  await now();
  await cron();
  assert.deepEqual([(await status(wrong)).pushed, (await status(wrong)).waiting], [1, 0]);
  const strict = await Gateway.start({ upstream: gw.upstream });
  try {
    const gateway = await strict.create("gw", { logpush: true, logpush_plain: true });
    const refused = await strict.api(`/gateways/${gateway}/logpush`, { method: "PUT", body: JSON.stringify({ url: "https://10.0.0.1/in" }) });
    assert.equal(refused.status, 400);
    await strict.logOf(await strict.call("openai/chat/completions", { json: CHAT }));
    await (await strict.miniflare.getWorker()).scheduled({ cron: "* * * * *" });
    assert.match((await strict.result(`/gateways/${gateway}/logpush`)).error, /no R2 bucket is bound as LOGPUSH/);
  } finally {
    await strict.miniflare.dispose();
  }
});

test("a thousand logs and bodies of a megabyte leave in batches, each log once", async () => {
  const gateway = await gw.create("many", { logpush: true, logpush_public_key: publicKey });
  const long = { model: "gpt-4o", messages: [{ role: "user", content: "ß".repeat(400_000) }] };
  const id = await chat(gateway, {}, long);
  const { key } = (await gw.rows("SELECT key FROM gateways WHERE id = 'many'"))[0];
  // Copies of a row are as good as a thousand requests.
  const columns = (await gw.rows("SELECT name FROM pragma_table_info('logs')")).map(({ name }) => name).filter((name) => name !== "id");
  const count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n";
  await gw.rows(`INSERT INTO logs (id, ${columns.join(", ")}) SELECT printf('0000000000000000000000%04d', i), ${columns.map((name) => (/_size$/.test(name) ? "10" : name)).join(", ")} FROM (${count}), logs WHERE id = ?1`, id);
  await gw.rows(`INSERT INTO logs_to_push SELECT ?1, printf('0000000000000000000000%04d', i) FROM (${count})`, key);
  await cron();
  const { pushed, batches, waiting } = await status(gateway);
  assert.deepEqual({ pushed, batches, waiting }, { pushed: 1_001, batches: 3, waiting: 0 });
  const all = (await objects(gateway)).flatMap(({ lines }) => lines);
  assert.equal(new Set(all.map(({ ID }) => ID)).size, 1_001);
  assert.deepEqual(JSON.parse(decrypted(all.find(({ ID }) => ID === id), privateKey).RequestBody), long);
});

test("only the admin may say where logs go", async () => {
  await gw.create("guarded", { authentication: true });
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "editor", permissions: ["edit"] }) });
  const { value } = (await made.json()).result;
  const path = "/gateways/guarded/logpush";
  const as = (method, body) => gw.api(path, { method, headers: { authorization: `Bearer ${value}` }, body });
  assert.deepEqual([(await as("GET")).status, (await as("PUT", '{"url":"https://x.example.com"}')).status, (await as("DELETE")).status], [200, 403, 403]);
  assert.notEqual(value, TOKEN);
  // Nor may another make readable what left encrypted.
  await gw.create("readers", { logpush: true, logpush_public_key: publicKey });
  const edit = (body) => gw.api("/gateways/readers", { method: "PUT", headers: { authorization: `Bearer ${value}` }, body: JSON.stringify(body) });
  for (const body of [{ logpush_plain: true }, { logpush_public_key: null }, { logpush_public_key: "x".repeat(64), logpush_plain: true }]) assert.equal((await edit(body)).status, 403, JSON.stringify(body));
  assert.equal((await edit({ ...(await gw.result("/gateways/readers")), cache_ttl: 60 })).status, 200, "as they are they can be sent");
  assert.equal((await status("readers")).form, "encrypted");
});
