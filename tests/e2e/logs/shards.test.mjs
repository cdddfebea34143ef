// Three D1 databases: gateways spread over them, each one's logs in its own, and one that is down hurts no other gateway.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { databases } from "../../../server/databases.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

/** Lets databases be down: every call of theirs fails, as D1's do, or there is no such binding. */
const AROUND = `
import Worker from "./index.js";
export * from "./index.js";
const plan = { down: [], unbound: [] };
function guarded(name, db) {
  const ask = (run) => (plan.down.includes(name) ? Promise.reject(new Error("D1_ERROR: " + name + " is down")) : run());
  const statement = (made) => ({ made, bind: (...values) => statement(made.bind(...values)), all: () => ask(() => made.all()) });
  return { prepare: (sql) => statement(db.prepare(sql)), batch: (statements) => ask(() => db.batch(statements.map(({ made }) => made))) };
}
export default class extends Worker {
  constructor(ctx, env) {
    const names = ["DB", "DB_1", "DB_2"];
    super(ctx, { ...env, ...Object.fromEntries(names.map((name) => [name, plan.unbound.includes(name) ? undefined : guarded(name, env[name])])) });
  }
  async fetch(request) {
    if (new URL(request.url).pathname !== "/__plan") return super.fetch(request);
    Object.assign(plan, await request.json());
    return new Response();
  }
}`;

const CALLER = `export default {
  async fetch(request, env) {
    const { method, args } = await request.json();
    try { return Response.json({ value: (await env.TOLLGATE[method](...args)) ?? null }); } catch (error) { return Response.json({ error: error.name }); }
  },
};`;

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };
const GATEWAYS = ["zero", "one", "two"];
/** How many rows of each kind a gateway has in each database. */
const TABLES = ["logs", "log_metadata", "log_feedback", "datasets", "evaluations", "reprices", "log_storage", "rollup"];

let gw;
before(async () => {
  const caller = { name: "caller", modules: [{ type: "ESModule", path: "caller.mjs", contents: CALLER }], compatibilityDate: "2026-11-01", serviceBindings: { TOLLGATE: "tollgate" } };
  gw = await Gateway.start({ databases: 3, around: AROUND, others: [caller], bindings: { PROVIDER_KEYS: '{"openai":"sk-judge"}' } });
  for (const id of GATEWAYS) await gw.create(id);
});
after(() => gw.stop(/"event":"(request_failed|log_lost|gateways_untold|deletion_untold|audit_undelivered|settle_failed|feedback_undelivered|sweep_failed|pieces_failed|moves_failed|retention)"/));

const plan = (now) => fetch(`${gw.url}/__plan`, { method: "POST", body: JSON.stringify({ down: [], unbound: [], ...now }) });
const chat = (gateway, headers) => gw.call("openai/chat/completions", { gateway, json: CHAT, headers });
const idOf = (answer) => answer.headers.get("cf-aig-log-id");
const send = (path, method, body) => gw.api(path, { method, body: body && JSON.stringify(body) });
const numbers = (sql, ...binds) => Promise.all(gw.dbs.map(async (db) => (await db.prepare(sql).bind(...binds).first()).n));
const key = async (gateway) => (await gw.rows("SELECT key FROM gateways WHERE id = ?", gateway))[0].key;
const feedback = (id, { query = "", method = "POST", data } = {}) =>
  fetch(`${gw.url}/feedback/${id}${query}`, { method, headers: { authorization: `Bearer ${TOKEN}` }, body: method === "POST" ? JSON.stringify({ data }) : undefined });

async function post(path, body) {
  const answer = await send(path, "POST", body);
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
}

/** Which databases have rows of a gateway's in any table of logs. */
async function homes(gateway) {
  const own = typeof gateway === "number" ? gateway : await key(gateway);
  const sum = TABLES.map((table) => `(SELECT count(*) FROM ${table} WHERE gateway = ?1)`).join(" + ");
  return (await numbers(`SELECT ${sum} AS n`, own)).flatMap((n, shard) => (n > 0 ? [shard] : []));
}

/** The clock, as it ticks once a minute. */
async function tick() {
  await (await gw.miniflare.getWorker("tollgate")).scheduled({ cron: "* * * * *" });
}

test("new gateways go where the fewest are, and an admin may say otherwise", async () => {
  assert.deepEqual(await Promise.all(GATEWAYS.map(async (id) => (await gw.result(`/gateways/${id}`)).log_database)), [0, 1, 2]);
  assert.equal((await post("/gateways", { id: "placed", log_database: 2 })).log_database, 2);
  assert.equal((await post("/gateways", { id: "next" })).log_database, 0);
  const unknown = await send("/gateways", "POST", { id: "nowhere", log_database: 7 });
  assert.equal(unknown.status, 400);
  const [{ path, message }] = (await unknown.json()).errors;
  assert.deepEqual([path, /database 7/.test(message)], [["body", "log_database"], true]);
  const moved = await send("/gateways/one", "PUT", { log_database: 2 });
  assert.equal(moved.status, 400);
  assert.match((await moved.json()).errors[0].message, /stay in the database/);
  // The gateway that the first request makes is placed as well.
  assert.equal((await chat("default", { "cf-aig-authorization": `Bearer ${TOKEN}` })).status, 200);
  assert.equal((await gw.result("/gateways/default")).log_database, 1);
  assert.deepEqual(await numbers("SELECT count(*) AS n FROM gateways WHERE shard = 1"), [2, 2, 0]);
});

test("logs are in their gateway's database, and nowhere else", async () => {
  const logs = {};
  for (const id of GATEWAYS) {
    const answers = await Promise.all(Array.from({ length: 5 }, (_, n) => chat(id, { "cf-aig-metadata": `{"n":${n}}` })));
    logs[id] = await Promise.all(answers.map((answer) => gw.logOf(answer, id)));
  }
  for (const [shard, id] of GATEWAYS.entries()) {
    assert.deepEqual(await homes(id), [shard]);
    const listed = await gw.result(`/gateways/${id}/logs`);
    assert.deepEqual(listed.map((log) => log.id).sort(), logs[id].map((log) => log.id).sort());
    const [{ id: log }] = logs[id];
    assert.equal(await (await gw.api(`/gateways/${id}/logs/${log}/request`)).text(), JSON.stringify(CHAT));
    assert.match(await (await gw.api(`/gateways/${id}/logs/${log}/response`)).text(), /chatcmpl/);
    const exported = (await (await gw.api(`/gateways/${id}/logs/export`)).text()).trim().split("\n");
    assert.equal(exported.length, 5);
    assert.equal((await gw.result(`/gateways/${id}/storage`)).logs, 5);
    for (const other of GATEWAYS.filter((other) => other !== id)) {
      const tries = ["", "/request", "/response"].map((suffix) => gw.api(`/gateways/${other}/logs/${log}${suffix}`));
      tries.push(send(`/gateways/${other}/logs/${log}`, "PATCH", { score: 1 }), feedback(log, { query: `?account=${ACCOUNT}&gateway=${other}`, data: { a: 1 } }));
      assert.deepEqual((await Promise.all(tries)).map(({ status }) => status), [404, 404, 404, 404, 404]);
    }
  }
  assert.deepEqual(await numbers("SELECT count(*) AS n FROM log_bodies"), [5, 6, 5]);
});

test("a judgement finds its log by any id, in whatever database", async () => {
  for (const [shard, id] of GATEWAYS.entries()) {
    gw.upstream.next({ headers: { "content-type": "application/json" }, body: JSON.stringify({ id: `chatcmpl-in-${id}`, model: "gpt-4o", choices: [] }) });
    const { id: log } = await gw.logOf(await chat(id, { "cf-aig-event-id": `event-in-${id}` }), id);
    assert.equal((await send(`/gateways/${id}/logs/${log}`, "PATCH", { score: 10 + shard, metadata: { reviewed: true } })).status, 200);
    for (const name of [log, `chatcmpl-in-${id}`, `event-in-${id}`]) {
      const answer = await feedback(name, { data: { by: name } });
      assert.equal(answer.status, 200, await answer.clone().text());
      assert.equal((await answer.json()).result.log_id, log);
    }
    const shown = (await (await feedback(`chatcmpl-in-${id}`, { method: "GET" })).json()).result;
    assert.deepEqual([shown.score, shown.data, shown.history.length], [10 + shard, { by: `event-in-${id}` }, 4]);
    assert.equal((await feedback(log, { method: "DELETE", query: `?account=${ACCOUNT}&gateway=${id}` })).status, 200);
    assert.equal((await feedback(log, { method: "GET", query: `?account=${ACCOUNT}&gateway=${GATEWAYS[(shard + 1) % 3]}` })).status, 404);
  }
});

test("feedback that comes before its log waits for it", async () => {
  gw.upstream.next({ events: ["data: {}\n\n", "data: [DONE]\n\n"], pause: 3_000 });
  const answer = await gw.call("openai/chat/completions", { gateway: "two", json: { ...CHAT, stream: true } });
  const id = idOf(answer);
  const judged = await feedback(id, { data: { rating: 5 } });
  assert.equal(judged.status, 202);
  await answer.text();
  await gw.logOf(answer, "two");
  assert.deepEqual((await gw.result(`/gateways/two/logs/${id}`)).feedback_data ?? (await (await feedback(id, { method: "GET" })).json()).result.data, { rating: 5 });
  await until(async () => (await numbers("SELECT count(*) AS n FROM pending_feedback WHERE log_id = ?", id)).every((n) => n === 0), "the feedback to be settled");
});

test("datasets, evaluations and new prices are made of the logs in their database", async () => {
  for (const [shard, id] of GATEWAYS.entries()) {
    const dataset = await post(`/gateways/${id}/datasets`, { name: "all", enable: true, filters: [] });
    const evaluation = await post(`/gateways/${id}/evaluations`, { name: "costs", dataset_ids: [dataset.id], evaluation_type_ids: ["cost", "json_valid"] });
    const job = await post(`/gateways/${id}/logs/reprice`, {});
    let seen;
    await until(async () => (seen = await gw.result(`/gateways/${id}/evaluations/${evaluation.id}`)).processed, "the evaluation");
    assert.ok(seen.total_logs >= 6 && seen.results.every(({ status }) => status === 2), JSON.stringify(seen));
    await until(async () => (await gw.result(`/gateways/${id}/logs/reprice/${job.id}`)).processed, "the new prices");
    assert.deepEqual(await homes(id), [shard]);
    for (const other of GATEWAYS.filter((other) => other !== id)) {
      assert.equal((await gw.api(`/gateways/${other}/datasets/${dataset.id}`)).status, 404);
      assert.equal((await gw.api(`/gateways/${other}/evaluations/${evaluation.id}`)).status, 404);
      assert.equal((await gw.api(`/gateways/${other}/logs/reprice/${job.id}`)).status, 404);
    }
  }
});

test("the trail of changes is one", async () => {
  const actions = async (query) => {
    const { result, result_info } = await (await gw.api(`/audit?per_page=3&${query}`)).json();
    return [result.map(({ action }) => action), result_info.total_count];
  };
  for (const id of GATEWAYS) {
    assert.deepEqual(await actions(`gateway=${id}`), [["logs.reprice", "evaluation.create", "dataset.create"], 4]);
    assert.deepEqual(await actions(`gateway=${id}&page=2`), [["gateway.create"], 4]);
  }
  const deleted = await gw.api("/gateways/two/logs?limit=1", { method: "DELETE" });
  assert.deepEqual((await deleted.json()).result, { deleted: 1 });
  assert.deepEqual(await actions(""), [["logs.delete", "logs.reprice", "evaluation.create"], 16]);
  assert.deepEqual(await numbers("SELECT count(*) AS n FROM audit"), [16, 0, 0]);
});

test("charts count the requests of a gateway in its database, also those without logs", async () => {
  for (const [shard, id] of GATEWAYS.entries()) {
    const before = (await gw.result(`/gateways/${id}/analytics`)).totals.requests;
    const logs = (await numbers("SELECT count(*) AS n FROM logs"))[shard];
    await Promise.all(Array.from({ length: 4 }, () => chat(id, { "cf-aig-collect-log": "false" })));
    await until(async () => (await gw.result(`/gateways/${id}/analytics`)).totals.requests === before + 4, "the requests to be counted");
    assert.deepEqual(await homes(id), [shard]);
    assert.equal((await numbers("SELECT count(*) AS n FROM logs"))[shard], logs);
  }
});

test("retention goes by settings that were changed later, in every database", async () => {
  for (const [shard, id] of GATEWAYS.entries()) {
    const { id: log } = await gw.logOf(await chat(id), id);
    await gw.dbs[shard].prepare("UPDATE logs SET created_at = created_at - 864000000 WHERE id = ?").bind(log).run();
    assert.equal((await send(`/gateways/${id}`, "PUT", { log_retention_days: 7 })).status, 200);
    await tick();
    assert.equal((await gw.api(`/gateways/${id}/logs/${log}`)).status, 404);
    assert.equal((await gw.result(`/gateways/${id}/storage`)).logs_removed, 1);
  }
});

test("a Worker that is bound reads and judges logs in any database", async () => {
  const caller = await gw.miniflare.getWorker("caller");
  const call = async (method, ...args) => (await caller.fetch("http://caller/", { method: "POST", body: JSON.stringify({ method, args }) })).json();
  for (const id of GATEWAYS) {
    const scope = { account: ACCOUNT, gateway: id };
    const { id: log } = await gw.logOf(await chat(id), id);
    assert.equal((await call("getLog", log, scope)).value.id, log);
    assert.deepEqual(await call("patchLog", log, { score: 99 }, scope), { value: null });
    assert.equal((await call("feedback", log, { helpful: true }, scope)).value.log_id, log);
    assert.deepEqual([(await call("getLog", log, scope)).value.score, (await call("getLog", log, scope)).value.feedback], [99, 1]);
    assert.equal((await call("getLog", log, { ...scope, gateway: "next" })).error, "AiGatewayLogNotFound");
  }
});

test("a database that is down hurts its own gateways only, and misses nothing", async () => {
  const known = (await gw.result("/gateways/one/logs"))[0].id;
  const judged = (await gw.result("/gateways/two/logs"))[0];
  await plan({ down: ["DB_1"] });
  const answers = await Promise.all([...GATEWAYS, ...GATEWAYS].map(async (id) => [id, await chat(id)]));
  for (const [id, answer] of answers) {
    assert.equal(answer.status, 200, id);
    if (id !== "one") await gw.logOf(answer, id);
  }
  assert.equal((await gw.api("/gateways/zero/logs")).status, 200);
  assert.equal((await feedback(judged.id, { data: { down: true } })).status, 200);
  assert.equal((await gw.api("/audit")).status, 200);
  assert.equal((await gw.api(`/gateways/one/logs/${known}`)).status, 500);
  assert.equal((await feedback(known, { data: { down: true } })).status, 500, "nobody is told that it is unknown");
  // Settings are changed all the same, and gateways made and deleted.
  assert.equal((await send("/gateways/one", "PUT", { log_management: 12_345 })).status, 200);
  const made = await post("/gateways", { id: "made-meanwhile", log_database: 1 });
  assert.equal(made.log_database, 1);
  assert.equal((await post("/gateways", { id: "gone-meanwhile", log_database: 1 })).log_database, 1);
  const gone = await key("gone-meanwhile");
  assert.equal((await send("/gateways/gone-meanwhile", "DELETE")).status, 200);
  const later = await chat("made-meanwhile");
  assert.equal(later.status, 200);
  await plan({});
  for (const [id, answer] of answers) await gw.logOf(answer, id);
  await gw.logOf(later, "made-meanwhile");
  await tick();
  assert.equal((await gw.result("/gateways/one/storage")).log_management, 12_345);
  const settings = await gw.dbs[1].prepare("SELECT settings->>'log_management' AS n FROM gateways WHERE id = 'one'").first();
  assert.equal(settings.n, 12_345);
  assert.equal((await feedback(idOf(later), { data: { up: true } })).status, 200);
  assert.deepEqual(await numbers("SELECT count(*) AS n FROM deleted_gateways WHERE key = ?", gone), [0, 1, 0]);
});

test("a gateway that is deleted leaves nothing in its database, and its successor begins anew", async () => {
  const before = await key("two");
  const [{ id: log }] = await gw.result("/gateways/two/logs");
  assert.equal((await send("/gateways/two", "DELETE")).status, 200);
  assert.equal((await feedback(log, { data: { late: true } })).status === 200, false);
  await until(async () => (await numbers("SELECT count(*) AS n FROM logs WHERE gateway = ?", before))[2] === 0, "the logs to be removed");
  await until(async () => (await numbers("SELECT count(*) AS n FROM evaluations WHERE gateway = ?", before))[2] === 0, "the evaluations to be removed");
  assert.equal((await post("/gateways", { id: "two", log_database: 2 })).log_database, 2);
  assert.deepEqual(await gw.result("/gateways/two/logs"), []);
  await gw.logOf(await chat("two"), "two");
  assert.deepEqual(await homes("two"), [2]);
});

test("a database that is no longer bound is named to the operator, and requests are still proxied", async () => {
  await plan({ unbound: ["DB_2"] });
  const answer = await chat("two");
  assert.equal(answer.status, 200);
  const refused = await gw.api("/gateways/two/logs");
  assert.deepEqual([refused.status, (await refused.json()).errors[0].message], [500, "Internal Error"]);
  assert.ok(gw.output.some((line) => line.includes("the Worker has no D1 binding named DB_2")));
  assert.equal((await gw.api("/gateways/zero/logs")).status, 200);
  await plan({});
  const later = await chat("two");
  await gw.logOf(later, "two");
});

test("messages of a queue and objects of a bucket lead to the database of their gateway", async (t) => {
  const worker = { queueProducers: { LOG_QUEUE: "logs" }, queueConsumers: { logs: { maxBatchSize: 100, maxBatchTimeout: 0.05, maxRetries: 20 } }, r2Buckets: ["BODIES"] };
  const queued = await Gateway.start({ databases: 3, worker });
  t.after(() => queued.stop());
  for (const id of GATEWAYS) await queued.create(id);
  const long = { ...CHAT, messages: [{ role: "user", content: "x".repeat(20_000) }] };
  const calls = [...GATEWAYS, ...GATEWAYS, ...GATEWAYS].map(async (id) => [id, await queued.call("openai/chat/completions", { gateway: id, json: long })]);
  for (const [id, answer] of await Promise.all(calls)) {
    const log = await queued.logOf(answer, id);
    assert.equal(await (await queued.api(`/gateways/${id}/logs/${log.id}/request`)).text(), JSON.stringify(long));
  }
  for (const [shard, db] of queued.dbs.entries()) {
    const [{ n, gateways, others }] = (await db.prepare("SELECT count(*) AS n, count(DISTINCT gateway) AS gateways, sum(gateway <> ?) AS others FROM logs").bind(shard + 1).all()).results;
    assert.deepEqual([n, gateways, others], [3, 1, 0]);
  }
  const bucket = await queued.miniflare.getR2Bucket("BODIES", "tollgate");
  assert.equal((await bucket.list()).objects.length, 9);
  assert.equal((await queued.api("/gateways/two", { method: "DELETE" })).status, 200);
  await until(async () => (await bucket.list()).objects.length === 6, "the objects of the deleted gateway to go");
});

test("every database of wrangler.toml is migrated, and none is bound twice", () => {
  const table = (binding, id, more = 'migrations_dir = "migrations"') => `[[d1_databases]]\nbinding = "${binding}"\ndatabase_id = "${id}"\n${more}\n\n`;
  const others = '[[kv_namespaces]]\nbinding = "CACHE"\nid = "k"\n\n# [[d1_databases]]\n# binding = "DB_9"\n\n';
  const read = (toml) => databases(toml).map(({ binding }) => binding);
  assert.deepEqual(databases().map(({ binding }) => binding), ["DB"]);
  assert.deepEqual(read(table("DB", "a") + others + table("DB_2", "b") + table("OTHER", "a", "") + table("DB_63", "c")), ["DB", "DB_2", "DB_63"]);
  for (const [toml, why] of [
    [table("DB", "a") + table("DB_1", "a"), /DB and DB_1/],
    [table("DB", "a") + table("DB", "b"), /DB and DB/],
    [table("DB", "a") + table("DB_64", "b"), /DB_64/],
    [table("DB", "a") + table("DB_01", "b"), /DB_01/],
    [table("DB", "a") + table("DB_1", "b", ""), /migrations_dir/],
    [table("DB_1", "b"), /no D1 database as DB/],
  ]) assert.throws(() => read(toml), why);
});
