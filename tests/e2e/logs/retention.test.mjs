import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, TOKEN, until } from "../harness.mjs";

const DAY = 86_400_000;
const LIMIT = 10_000;
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };

let gw;
before(async () => {
  gw = await Gateway.start();
});
// Whatever is removed is said in one line.
after(() => gw.stop(/^log: \{"bodies_removed":\d+,"event":"retention","level":"info","logs_removed":\d+,"unfinished":false\}$/));

const storage = (gateway) => gw.result(`/gateways/${gateway}/storage`);
const chat = (gateway, headers) => gw.call("openai/chat/completions", { gateway, json: CHAT, headers });
const idOf = (answer) => answer.headers.get("cf-aig-log-id");

/** The clock, as it ticks once a minute. */
async function tick() {
  const worker = await gw.miniflare.getWorker("tollgate");
  await worker.scheduled({ cron: "* * * * *" });
}

/** Puts logs into a gateway as if they had been written so many days ago. */
async function fill(gateway, n, days) {
  const [{ key }] = await gw.rows("SELECT key FROM gateways WHERE id = ?", gateway);
  await gw.rows(
    `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2)
     INSERT INTO logs (id, gateway, created_at, provider, path, request_type, success, cached, step, duration, custom_cost, event_id, authentication)
     SELECT ?1 || '-' || ?3 || '-' || n, ?1, ?3 + n, 'openai', 'x', 'native', 1, 0, 0, 1, 0, 'e' || n, 1 FROM numbers`,
    key, n, Date.now() - days * DAY,
  );
  await gw.rows("INSERT INTO log_storage (gateway, logs, counted_at) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET logs = logs + ?2", key, n, Date.now());
  return key;
}

async function change(gateway, settings) {
  const changed = await gw.api(`/gateways/${gateway}`, { method: "PUT", body: JSON.stringify(settings) });
  assert.equal(changed.status, 200, await changed.text());
}

/** As if an answer had come some days ago. */
const age = (id, days) => gw.rows("UPDATE logs SET created_at = created_at - ? WHERE id = ?", days * DAY, id);

test("a full gateway answers and stores exactly as many logs as it may", async () => {
  await gw.create("full", { log_management: LIMIT, log_management_strategy: "STOP_INSERTING" });
  const key = await fill("full", LIMIT - 5, 1);
  const answers = await Promise.all(Array.from({ length: 64 }, () => chat("full", { "cf-aig-metadata": '{"team":"AI"}' })));
  assert.ok(answers.every(({ status }) => status === 200));
  await Promise.all(answers.map((answer) => answer.text()));
  await until(async () => (await storage("full")).not_stored === 59, "59 logs without room");
  const { logs, full_since } = await storage("full");
  assert.ok(logs === LIMIT && Math.abs(Date.parse(full_since) - Date.now()) < 60_000, full_since);
  const ids = answers.map(idOf);
  const stored = (await gw.rows("SELECT id FROM logs WHERE gateway = ? AND id IN (SELECT value FROM json_each(?))", key, JSON.stringify(ids))).map(({ id }) => id);
  assert.equal(stored.length, 5);
  for (const table of ["log_bodies", "log_metadata"]) assert.deepEqual(await gw.rows(`SELECT DISTINCT log_id AS id FROM ${table} ORDER BY 1`), stored.toSorted().map((id) => ({ id })), table);
  // Neither the log nor a judgement of it is awaited.
  const missing = ids.find((id) => !stored.includes(id));
  assert.equal((await gw.api(`/gateways/full/logs/${missing}`)).status, 404);
  const judged = await fetch(`${gw.url}/feedback/${missing}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: '{"data":{"rating":5}}' });
  assert.equal(judged.status, 404);
  assert.match((await judged.json()).errors[0].message, /log_management/);
  assert.equal((await gw.api(`/gateways/full/logs/${missing}`, { method: "PATCH", body: '{"score":1}' })).status, 404);
});

test("a judgement that came before the log is given up with it", async () => {
  gw.upstream.next({ events: ["data: {}\n\n", "data: [DONE]\n\n"], pause: 4_000 });
  const answer = await gw.call("openai/chat/completions", { gateway: "full", json: { ...CHAT, stream: true } });
  const judged = await gw.api(`/gateways/full/logs/${idOf(answer)}`, { method: "PATCH", body: '{"score":1}' });
  assert.equal(judged.status, 202);
  assert.deepEqual((await gw.rows("SELECT log_id FROM pending_feedback")).map(({ log_id }) => log_id), [idOf(answer)]);
  await answer.text();
  await until(async () => (await gw.rows("SELECT id FROM pending_feedback")).length === 0, "the judgement to be given up");
});

test("room is found again once logs are deleted", async () => {
  assert.equal((await gw.api("/gateways/full/logs?limit=2", { method: "DELETE" })).status, 200);
  const { logs, full_since } = await storage("full");
  assert.deepEqual([logs, full_since], [LIMIT - 2, null]);
  await gw.logOf(await chat("full"), "full");
  assert.equal((await storage("full")).logs, LIMIT - 1);
});

test("the oldest logs go when a gateway is over its limit", async () => {
  await gw.create("oldest", { log_management: LIMIT, log_management_strategy: "DELETE_OLDEST" });
  const key = await fill("oldest", LIMIT + 1_500, 1);
  const { id } = await gw.logOf(await chat("oldest"), "oldest");
  await tick();
  const { logs, not_stored, last_run } = await storage("oldest");
  assert.deepEqual([logs, not_stored, last_run.logs_removed], [LIMIT, 0, 1_501]);
  const [{ n, least }] = await gw.rows("SELECT count(*) AS n, min(CAST(substr(event_id, 2) AS INTEGER)) AS least FROM logs WHERE gateway = ? AND id <> ?", key, id);
  assert.deepEqual([n, least], [LIMIT - 1, 1_502]);
});

test("bodies go before their logs, and both at their age", async () => {
  await gw.create("aging");
  const [young, middle, old] = [await chat("aging"), await chat("aging"), await chat("aging")].map(idOf);
  for (const id of [young, middle, old]) await until(async () => (await gw.rows("SELECT id FROM logs WHERE id = ?", id)).length === 1, "the log");
  await age(middle, 8);
  await age(old, 31);
  await tick();
  assert.equal((await storage("aging")).logs, 3, "nothing goes that no setting limits");
  await change("aging", { log_retention_days: 30, log_body_retention_days: 7 });
  await tick();
  const logs = (await gw.result("/gateways/aging/logs")).map(({ id }) => id);
  assert.deepEqual(logs, [young, middle]);
  const { request_head, request_head_complete } = await gw.result(`/gateways/aging/logs/${middle}`);
  assert.deepEqual([request_head, request_head_complete], [undefined, false]);
  for (const part of ["request", "response"]) {
    assert.equal((await gw.api(`/gateways/aging/logs/${middle}/${part}`)).status, 404);
    assert.equal((await gw.api(`/gateways/aging/logs/${young}/${part}`)).status, 200);
  }
  assert.deepEqual(await gw.rows("SELECT log_id FROM log_bodies WHERE log_id = ?", old), []);
  const { last_run, oldest, logs_removed, bodies_removed } = await storage("aging");
  assert.deepEqual([last_run.logs_removed, last_run.bodies_removed, logs_removed, bodies_removed], [1, 1, 1, 1]);
  assert.ok(Math.abs(Date.parse(oldest) - (Date.now() - 8 * DAY)) < 60_000);
});

test("where there is no clock, looking at the storage does it", async () => {
  const [{ id }] = await gw.result("/gateways/aging/logs");
  await age(id, 31);
  await storage("aging");
  await until(async () => (await gw.rows("SELECT id FROM logs WHERE id = ?", id)).length === 0, "the log to go");
});

test("settings out of bounds are refused and change nothing", async () => {
  for (const [settings, field] of [
    [{ log_management: 9_999 }, "log_management"], [{ log_management_strategy: "KEEP" }, "log_management_strategy"],
    [{ log_retention_days: 0 }, "log_retention_days"], [{ log_retention_days: "30" }, "log_retention_days"], [{ log_retention_days: 3_651 }, "log_retention_days"],
    [{ log_body_retention_days: 1.5 }, "log_body_retention_days"], [{ log_body_retention_days: 31 }, "log_body_retention_days"], [{ log_retention_days: 6 }, "log_body_retention_days"],
  ]) {
    const refused = await gw.api("/gateways/aging", { method: "PUT", body: JSON.stringify(settings) });
    assert.deepEqual([refused.status, (await refused.json()).errors[0].path], [400, ["body", field]], JSON.stringify(settings));
  }
  const { log_retention_days, log_body_retention_days } = await gw.result("/gateways/aging");
  assert.deepEqual([log_retention_days, log_body_retention_days], [30, 7]);
});

test("a database that fails costs a run and no log", async () => {
  const faulty = await Gateway.start({ faulty: true, upstream: gw.upstream });
  const outer = gw;
  try {
    gw = faulty;
    await gw.create("gw", { log_management: LIMIT, log_management_strategy: "STOP_INSERTING" });
    await fill("gw", LIMIT - 1, 40);
    // The write is repeated after it took effect, and counts once.
    await gw.fault(1, true);
    await gw.logOf(await chat("gw"));
    await chat("gw");
    // Looking at the storage would begin a run, and the failure is for the clock's.
    const noted = async () => (await gw.rows("SELECT logs, not_stored FROM log_storage"))[0];
    await until(async () => (await noted()).not_stored === 1, "a log without room");
    assert.deepEqual(await noted(), { logs: LIMIT, not_stored: 1 });
    await change("gw", { log_retention_days: 30 });
    await gw.fault(1);
    await storage("gw");
    await until(() => gw.output.some((line) => line.includes("retention_failed")), "the run to fail");
    const [{ n }] = await gw.rows("SELECT count(*) AS n FROM logs");
    assert.equal(n, LIMIT, "the run failed at its first write");
    await tick();
    assert.deepEqual([(await noted()).logs, (await gw.rows("SELECT count(*) AS n FROM logs"))[0].n], [1, 1]);
    assert.equal(gw.output.filter((line) => line.includes("retention_failed")).length, 1, gw.output.join("\n"));
  } finally {
    gw = outer;
    await faulty.miniflare.dispose();
  }
});
