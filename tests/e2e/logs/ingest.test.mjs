// Logs that were measured elsewhere: taken in once, found by their own ids, and counted where they should be.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Cloudflare from "cloudflare";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
let sdk;
before(async () => {
  gw = await Gateway.start({ faulty: true });
  sdk = new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 });
  for (const id of ["gw", "beside", "budget"]) await gw.create(id, { spend_limits: id === "budget" ? { enabled: true, rules: [{ limit: 1, window: 3_600, limitType: "cost" }] } : null });
});
after(() => gw.stop());

const at = (seconds) => new Date(Date.now() - seconds * 1_000).toISOString();
const chat = (id, more = {}) => ({
  id,
  created_at: at(60),
  provider: "openai",
  model: "gpt-4o",
  duration: 900,
  tokens_in: 1_000,
  tokens_out: 100,
  request: { model: "gpt-4o", messages: [{ role: "user", content: "What is AES?" }] },
  response: { choices: [{ message: { role: "assistant", content: "A cipher." }, finish_reason: "stop" }] },
  ...more,
});

const send = (gateway, logs, headers = {}) =>
  gw.api(`/gateways/${gateway}/logs`, { method: "POST", headers: { "content-type": "application/x-ndjson", ...headers }, body: [logs].flat().map((log) => (typeof log === "string" ? log : JSON.stringify(log))).join("\n") });

async function sent(gateway, logs, headers) {
  const answer = await send(gateway, logs, headers);
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
}

const counts = ({ stored, existing, refused }) => [stored, existing, refused];

test("a thousand logs come in at once, are listed by the SDK, and are in charts and evaluations", async () => {
  const logs = Array.from({ length: 1_000 }, (_, n) => chat(`job-${n}`, { created_at: at(n), feedback: n % 2 ? 1 : -1, feedback_data: { rating: n % 2 ? 5 : 1 }, metadata: { job: "nightly", n }, session_id: `s-${n % 10}`, event_id: `row-${n}` }));
  assert.deepEqual(counts(await sent("gw", logs)), [1_000, 0, 0]);
  const found = [];
  for await (const log of sdk.aiGateway.logs.list("gw", { account_id: ACCOUNT, per_page: 50 })) found.push(log);
  assert.deepEqual(found.map((log) => log.id), logs.map((log) => log.id));
  for (const [n, log] of found.entries()) {
    assert.deepEqual([log.feedback, log.feedback_data.rating, log.metadata.n, log.created_at], [logs[n].feedback, logs[n].feedback_data.rating, n, logs[n].created_at]);
    assert.ok(log.ingested && Math.abs(log.cost - 0.0035) < 1e-9, JSON.stringify(log));
  }
  const one = await sdk.aiGateway.logs.get("job-7", { account_id: ACCOUNT, gateway_id: "gw" });
  assert.deepEqual([one.id, one.input_preview, one.output_preview, one.session_id], ["job-7", "What is AES?", "A cipher.", "s-7"]);
  const body = await sdk.aiGateway.logs.request("job-7", { account_id: ACCOUNT, gateway_id: "gw" });
  assert.deepEqual(body, logs[7].request);
  const analytics = await gw.result("/gateways/gw/analytics");
  assert.ok(JSON.stringify(analytics).includes('"requests":1000'), JSON.stringify(analytics).slice(0, 400));
  const { id: dataset } = await post("/gateways/gw/datasets", { name: "measured", enable: true, filters: [{ key: "ingested", operator: "eq", value: [true] }, { key: "metadata.job", operator: "eq", value: ["nightly"] }] });
  const { id: evaluation } = await post("/gateways/gw/evaluations", { name: "all", dataset_ids: [dataset], evaluation_type_ids: ["human_feedback", "cost"] });
  let done;
  await until(async () => (done = await gw.result(`/gateways/gw/evaluations/${evaluation}`)).processed, "the evaluation");
  assert.equal(done.total_logs, 1_000);
});

async function post(path, body) {
  const answer = await gw.api(path, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
}

test("the same lines again, at once or after a write that reported a failure, change nothing", async () => {
  const logs = Array.from({ length: 300 }, (_, n) => chat(`twice-${n}`, { cost: 0.001, feedback: 1 }));
  const both = await Promise.all([sent("beside", logs), sent("beside", logs), sent("beside", logs)]);
  assert.equal(both.reduce((sum, result) => sum + result.stored, 0), 300);
  assert.equal(both.reduce((sum, result) => sum + result.existing, 0), 600);
  // The write takes effect, and says that it did not.
  const more = Array.from({ length: 10 }, (_, n) => chat(`late-${n}`, { cost: 0.001 }));
  await gw.fault(1, true);
  assert.equal((await send("beside", more)).status, 500);
  gw.output.splice(0);
  assert.deepEqual(counts(await sent("beside", more)), [0, 10, 0]);
  const [row] = await gw.rows("SELECT count(*) AS n, sum(cost) AS cost FROM logs WHERE gateway = (SELECT key FROM gateways WHERE id = 'beside')");
  assert.deepEqual([row.n, Math.round(row.cost * 1_000)], [310, 310]);
  const [stored] = await gw.rows("SELECT logs FROM log_storage WHERE gateway = (SELECT key FROM gateways WHERE id = 'beside')");
  assert.equal(stored.logs, 310);
  const tallied = (await gw.rows("SELECT tallies FROM tallies")).flatMap(({ tallies }) => JSON.parse(tallies));
  const [rolled] = await gw.rows("SELECT total(requests) AS n FROM rollup WHERE gateway = (SELECT key FROM gateways WHERE id = 'beside')");
  const [{ key }] = await gw.rows("SELECT key FROM gateways WHERE id = 'beside'");
  const waiting = tallied.filter(([gateway]) => gateway === key).reduce((sum, row) => sum + row[4], 0);
  assert.equal(rolled.n + waiting, 310);
});

test("an id belongs to its gateway, and a log that came through is never written over", async () => {
  const answer = await gw.call("openai/chat/completions", { json: { model: "gpt-4o", messages: [] } });
  const own = await gw.logOf(answer);
  assert.deepEqual(counts(await sent("gw", chat(own.id, { cost: 5 }))), [0, 1, 0]);
  // Elsewhere the id is as good as any other, and tells nothing of the gateway that has it.
  assert.deepEqual(counts(await sent("budget", chat(own.id, { metadata: { where: "budget" } }))), [1, 0, 0]);
  assert.deepEqual([(await gw.result(`/gateways/gw/logs/${own.id}`)).ingested, (await gw.result(`/gateways/budget/logs/${own.id}`)).ingested], [false, true]);
  assert.equal((await gw.api(`/gateways/beside/logs/${own.id}`)).status, 404);
  const given = await fetch(`${gw.url}/feedback/${own.id}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: '{"data":{"rating":5}}' });
  assert.equal(given.status, 200);
  assert.deepEqual([(await gw.result(`/gateways/gw/logs/${own.id}`)).feedback, (await gw.result(`/gateways/budget/logs/${own.id}`)).feedback], [1, null]);
});

test("what was paid elsewhere uses up no budget here", async () => {
  assert.deepEqual(counts(await sent("budget", chat("dear", { cost: 900 }))), [1, 0, 0]);
  const answer = await gw.call("openai/chat/completions", { gateway: "budget", json: { model: "gpt-4o", messages: [] } });
  assert.equal(answer.status, 200);
  assert.equal((await gw.logOf(answer, "budget")).ingested, false);
});

test("a token that may run hands in, one that may read or judge does not", async () => {
  const token = async (permission) => (await post("/tokens", { name: permission, permissions: [permission], gateways: ["gw"] })).value;
  for (const [permission, status] of [["run", 200], ["edit", 200], ["read", 403], ["read_metadata", 403], ["feedback", 403]]) {
    const answer = await send("gw", chat(`by-${permission}`), { authorization: `Bearer ${await token(permission)}` });
    assert.equal(answer.status, status, permission);
  }
  assert.equal((await send("beside", chat("stray"), { authorization: `Bearer ${await token("run")}` })).status, 404);
});

test("bodies of any length and encoding, broken lines, and too much of it", async () => {
  const long = "ü€😀\n".repeat(200_000);
  assert.deepEqual(counts(await sent("gw", [chat("long", { request: long, request_content_type: "text/plain" }), '{"id":"cut","provider":"open', chat("short")])), [2, 0, 1]);
  const body = await gw.api("/gateways/gw/logs/long/request");
  assert.equal(await body.text(), long);
  assert.equal((await send("gw", chat("longest", { request: "x".repeat(5_000_000) }))).status, 413);
  const latin = await gw.api("/gateways/gw/logs", { method: "POST", body: Buffer.from('{"id":"caf\xe9","provider":"openai"}', "latin1") });
  assert.equal(latin.status, 400);
  assert.match((await latin.json()).errors[0].message, /UTF-8/);
});
