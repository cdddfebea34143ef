// Long bodies in a bucket. What a test has to see of the bucket, or to break, it does in a module around the Worker.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Gateway, until } from "../harness.mjs";

const AROUND = `
import Worker from "./index.js";
export * from "./index.js";
const plan = {};
const seen = { puts: 0, gets: 0 };
const watched = (bucket) => bucket && ({
  put: async (key, value) => {
    seen.puts += 1;
    if (plan.full > 0) { plan.full -= 1; throw new Error("the test closed the bucket"); }
    return bucket.put(key, value);
  },
  get: (key, options) => { seen.gets += 1; return bucket.get(key, options); },
  delete: (keys) => { if (plan.stuck) throw new Error("the test closed the bucket"); return bucket.delete(keys); },
  list: (options) => bucket.list(options),
});
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, BODIES: plan.unbound ? undefined : watched(env.BODIES) }); }
  async fetch(request) {
    const url = new URL(request.url);
    if (url.pathname !== "/__plan") return super.fetch(request);
    if (request.method === "POST") { Object.keys(plan).forEach((name) => delete plan[name]); Object.assign(plan, await request.json()); Object.assign(seen, { puts: 0, gets: 0 }); }
    return Response.json({ plan, seen });
  }
}`;

let gw;
let bucket;
before(async () => {
  const worker = { r2Buckets: ["BODIES"], queueProducers: { LOG_QUEUE: "logs" }, queueConsumers: { logs: { maxBatchSize: 100, maxBatchTimeout: 0.05 } } };
  gw = await Gateway.start({ around: AROUND, worker });
  bucket = await gw.miniflare.getR2Bucket("BODIES");
  await gw.create("gw");
});
after(() => gw.stop(/"event":"(body_lost|objects_failed|retention)"|the test closed the bucket/));
beforeEach(() => plan({}));

async function plan(wanted) {
  await fetch(`${gw.url}/__plan`, { method: "POST", body: JSON.stringify(wanted) });
}

async function seen() {
  return (await (await fetch(`${gw.url}/__plan`)).json()).seen;
}

/** A request with a text, answered with a text. */
async function asked(text, reply, gateway = "gw") {
  const sent = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: text }] });
  const body = JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", model: "gpt-4o", choices: [{ message: { role: "assistant", content: reply } }] });
  gw.upstream.next({ headers: { "content-type": "application/json" }, body });
  const answer = await gw.call("openai/chat/completions", { gateway, method: "POST", body: sent, headers: { "content-type": "application/json" } });
  assert.equal(await answer.text(), body);
  const log = await gw.logOf(answer, gateway);
  return { id: log.id, log, sent, body };
}

const stored = (id, part) => gw.api(`/gateways/gw/logs/${id}/${part}`);

async function reads(call) {
  for (const [part, wanted] of [["request", call.sent], ["response", call.body]]) {
    const answer = await stored(call.id, part);
    assert.deepEqual([answer.status, answer.headers.get("content-type"), answer.headers.get("x-content-type-options")], [200, "application/json", "nosniff"]);
    assert.equal(await answer.text(), wanted);
  }
}

const keys = async () => (await bucket.list()).objects.map(({ key }) => key.replace("logs/", ""));

test("long bodies come back from the bucket byte by byte, and short ones never get there", async () => {
  for (const [text, reply, inBucket] of [["a", "b", false], ["é".repeat(3_000), "b", false], ["x".repeat(9_000), "b", true], ["a", "😀".repeat(100_000), true], ["ü".repeat(2_000_000), "€".repeat(1_500_000), true]]) {
    await plan({});
    const call = await asked(text, reply);
    assert.equal((await keys()).includes(call.id), inBucket);
    await reads(call);
    const inRow = (body) => Buffer.byteLength(body) <= 8_000;
    assert.deepEqual([(await seen()).puts, (await seen()).gets], [inBucket ? 1 : 0, [call.sent, call.body].filter((body) => !inRow(body)).length]);
    assert.deepEqual([call.log.request_size, call.log.response_size], [Buffer.byteLength(call.sent), Buffer.byteLength(call.body)]);
    assert.deepEqual([call.log.request_head, call.log.response_head], [call.sent, call.body].map((body) => [...body].slice(0, 2_000).join("")));
    assert.deepEqual([call.log.request_head_complete, call.log.response_head_complete], [call.sent, call.body].map((body) => [...body].length <= 2_000));
    const [row] = await gw.rows("SELECT length(CAST(request AS BLOB)) AS request, length(CAST(response AS BLOB)) AS response FROM log_bodies WHERE log_id = ?", call.id);
    assert.ok(row.request <= 8_000 && row.response <= 8_000);
  }
});

test("exports and evaluations read the whole bodies", async () => {
  await gw.create("whole");
  const long = await asked("q".repeat(20_000), `${"word ".repeat(4_000)}END`, "whole");
  const short = await asked("short", "nothing", "whole");
  const lines = (await (await gw.api("/gateways/whole/logs/export?bodies=true")).text()).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ id, request, response }) => ({ id, sent: request, body: response })), [long, short].map(({ id, sent, body }) => ({ id, sent, body })));
  const dataset = await (await gw.api("/gateways/whole/datasets", { method: "POST", body: JSON.stringify({ name: "all", enable: true, filters: [{ key: "success", operator: "eq", value: [true] }] }) })).json();
  const asks = { name: "e", dataset_ids: [dataset.result.id], evaluation_type_ids: ["answer_matches:end"], settings: { "answer_matches:end": { regex: "END$" } } };
  const made = await (await gw.api("/gateways/whole/evaluations", { method: "POST", body: JSON.stringify(asks) })).json();
  assert.ok(made.success, JSON.stringify(made));
  let shown;
  await until(async () => (shown = await gw.result(`/gateways/whole/evaluations/${made.result.id}`)).processed, "the evaluation");
  assert.equal(Number(shown.results[0].result), 50);
});

test("a bucket that fails for a moment costs nothing, and one that fails for good costs what goes beyond the heads", async () => {
  await plan({ full: 2 });
  await reads(await asked("x".repeat(9_000), "b"));
  await plan({ full: 1e9 });
  const text = "y".repeat(9_000);
  const sent = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: text }] });
  const answer = await gw.call("openai/chat/completions", { method: "POST", body: sent, headers: { "content-type": "application/json" } });
  const body = await answer.text();
  const id = answer.headers.get("cf-aig-log-id");
  await until(async () => (await gw.rows("SELECT id FROM logs WHERE id = ?", id)).length === 1, "the row");
  const missing = await stored(id, "request");
  assert.equal(missing.status, 404);
  assert.match((await missing.json()).errors[0].message, /bucket did not take/);
  assert.equal(await (await stored(id, "response")).text(), body);
  const log = await gw.result(`/gateways/gw/logs/${id}`);
  assert.deepEqual([log.request_head, log.request_head_complete, log.request_size], [sent.slice(0, 2_000), false, sent.length]);
  const health = await (await fetch(`${gw.url}/health`)).json();
  assert.deepEqual([health.logs_lost, health.bodies_lost], [0, 1]);
  assert.ok(gw.output.some((line) => line.includes("body_lost") && line.includes(id)));
});

test("what is removed takes its object along, also when the bucket fails meanwhile", async () => {
  const calls = [await asked("1".repeat(9_000), "b"), await asked("2".repeat(9_000), "b"), await asked("3".repeat(9_000), "b")];
  const remove = (id) => gw.api(`/gateways/gw/logs?filters=${encodeURIComponent(JSON.stringify([{ key: "id", operator: "eq", value: [id] }]))}`, { method: "DELETE" });
  assert.equal((await remove(calls[0].id)).status, 200);
  await until(async () => !(await keys()).includes(calls[0].id), "the object to go");
  await plan({ stuck: true });
  assert.equal((await remove(calls[1].id)).status, 200);
  assert.equal((await stored(calls[1].id, "request")).status, 404);
  await until(async () => gw.output.some((line) => line.includes("objects_failed")), "the bucket to fail");
  assert.ok((await keys()).includes(calls[1].id));
  await plan({});
  await gw.result("/gateways/gw/storage");
  await until(async () => !(await keys()).includes(calls[1].id), "the object to go");
  await reads(calls[2]);
  // Bodies that are too old.
  await gw.db.prepare("UPDATE logs SET created_at = created_at - 864000000 WHERE id = ?").bind(calls[2].id).run();
  const settings = { ...(await gw.result("/gateways/gw")), log_body_retention_days: 5 };
  assert.equal((await gw.api("/gateways/gw", { method: "PUT", body: JSON.stringify(settings) })).status, 200);
  await gw.result("/gateways/gw/storage");
  await until(async () => !(await keys()).includes(calls[2].id), "the old object to go");
  assert.equal((await stored(calls[2].id, "request")).status, 404);
});

test("a deleted gateway leaves no objects, and a log without room none either", async () => {
  await gw.create("gone");
  const call = await asked("x".repeat(9_000), "b", "gone");
  assert.ok((await keys()).includes(call.id));
  assert.equal((await gw.api("/gateways/gone", { method: "DELETE" })).status, 200);
  await until(async () => !(await keys()).includes(call.id), "the object to go");

  await gw.create("full", { log_management: 10_000, log_management_strategy: "STOP_INSERTING" });
  const [{ key }] = await gw.rows("SELECT key FROM gateways WHERE id = 'full'");
  await gw.db.prepare("INSERT INTO log_storage (gateway, logs, counted_at) VALUES (?, 10000, ?)").bind(key, Date.now()).run();
  const answer = await gw.call("openai/chat/completions", { gateway: "full", json: { model: "gpt-4o", messages: [{ role: "user", content: "x".repeat(9_000) }] } });
  await answer.text();
  const id = answer.headers.get("cf-aig-log-id");
  await until(async () => (await gw.rows("SELECT log_id FROM removed_objects WHERE log_id = ?", id)).length === 1, "the log to be turned away");
  await gw.result("/gateways/full/storage");
  await until(async () => !(await keys()).includes(id), "the object to go");
});

test("an object whose row never came is found after a month", async () => {
  const [old, young] = ["01F8MECHZX3TBDSZ7XRADM79XE", ulid(Date.now() - 86_400_000)];
  for (const id of [old, young]) await bucket.put(`logs/${id}`, "lost");
  await bucket.put("other/things", "of the operator");
  await gw.db.prepare("DELETE FROM object_search").run();
  await gw.result("/gateways/gw/storage");
  await until(async () => !(await keys()).includes(old), "the old object to go");
  const left = await keys();
  assert.ok(left.includes(young) && left.includes("other/things"));
});

test("logs stay readable when the bucket comes and goes, or it is said what is missing", async () => {
  const inBucket = await asked("x".repeat(9_000), "y".repeat(9_000));
  await plan({ unbound: true });
  const inRows = await asked("x".repeat(300_000), "y".repeat(9_000));
  await reads(inRows);
  const answer = await stored(inBucket.id, "request");
  assert.equal(answer.status, 503);
  assert.match((await answer.json()).errors[0].message, /not bound to the Worker as BODIES/);
  await plan({});
  await reads(inBucket);
  await reads(inRows);
});

/** An id of a certain time. */
function ulid(time) {
  const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let text = "";
  for (let left = time, digit = 0; digit < 10; digit += 1, left = Math.floor(left / 32)) text = letters[left % 32] + text;
  return `${text}0000000000000000`;
}
