// One tenant's work stops no other tenant, neither while it runs nor after a restart: what is computed has a budget of steps, and a request
// does no work of another account.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, until } from "../harness.mjs";

const OTHER = "other";
const POISON = { regex: "(?:a{0,100}){0,100}b" };
const folder = mkdtempSync(join(tmpdir(), "tollgate-budgets-"));

let gw;
before(async () => {
  gw = await Gateway.start({ folder });
  await gw.create("gw");
  const theirs = await gw.api("/gateways", { account: OTHER, method: "POST", body: JSON.stringify({ id: "theirs", collect_logs: true }) });
  assert.equal(theirs.status, 200);
  for (let n = 0; n < 6; n += 1) await answered("a".repeat(290_000));
  await answered(JSON.stringify(Array.from({ length: 9_000 }, (_, n) => `text ${n}`)), "json");
  await post("/datasets", { name: "everything", enable: true, filters: [] });
});
after(async () => {
  await gw.stop();
  rmSync(folder, { recursive: true });
});

/** A log with an answer of our choice. */
async function answered(content, model = "gpt-4o") {
  gw.upstream.next({ headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "a", model, choices: [{ message: { role: "assistant", content } }], usage: { prompt_tokens: 1, completion_tokens: 1 } }) });
  const answer = await gw.call("openai/chat/completions", { json: { model, messages: [{ role: "user", content: "?" }] } });
  assert.equal(answer.status, 200);
  await answer.arrayBuffer();
  return gw.logOf(answer);
}

async function post(path, body, status = 200, account = ACCOUNT, gateway = "gw") {
  const answer = await gw.api(`/gateways/${gateway}${path}`, { account, method: "POST", body: JSON.stringify(body) });
  const { result, errors } = await answer.json();
  assert.equal(answer.status, status, JSON.stringify(errors));
  return result ?? errors[0];
}

const everything = async () => (await gw.result("/gateways/gw/datasets")).find(({ name }) => name === "everything").id;

/** An evaluation of all logs by one evaluator. */
const evaluate = async (name, type, settings) => post("/evaluations", { name, dataset_ids: [await everything()], evaluation_type_ids: [type], settings: { [type]: settings } });

/** How it stands, from the database, so that no request is asked to go on with it. */
const stands = async ({ id }) => (await gw.rows("SELECT processed, progress FROM evaluations WHERE id = ?", id))[0];

async function done({ id }) {
  let evaluation;
  await until(async () => (evaluation = await gw.result(`/gateways/gw/evaluations/${id}`)).processed, "the evaluation", 120_000);
  return evaluation;
}

/** What others do meanwhile: each of them has to be answered. Returns the longest time. */
async function others() {
  const timed = async (work) => {
    const begun = performance.now();
    const answer = await work();
    assert.equal(answer.status, 200, await answer.clone().text());
    await answer.arrayBuffer();
    return performance.now() - begun;
  };
  return Math.max(
    await timed(() => fetch(`${gw.url}/health`)),
    await timed(() => fetch(`${gw.url}/v1/${OTHER}/theirs/openai/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: '{"model":"gpt-4o","messages":[]}' })),
    await timed(() => gw.api("/gateways/theirs/evaluations", { account: OTHER })),
  );
}

for (const [what, type, settings] of [
  ["a pattern that multiplies", "answer_matches", POISON],
  ["a schema that multiplies", "json_valid", { schema: { items: { allOf: Array(1_000).fill({ enum: Array.from({ length: 100 }, (_, n) => n), not: { pattern: "(?:[a-z ]{0,20}){0,20}X" } }).map((each, n) => ({ anyOf: [each, { minLength: n % 5 }] })) } } }],
]) {
  test(`others are answered while an evaluation computes: ${what}`, async (t) => {
    const made = await evaluate(what, type, settings);
    let times = 0;
    let longest = 0;
    // A request that looks at it moves it on, should it take longer than the platform leaves a work behind an answer.
    while (!(await gw.result(`/gateways/gw/evaluations/${made.id}`)).processed) {
      longest = Math.max(longest, await others());
      times += 1;
    }
    t.diagnostic(`${times} rounds of others' requests were answered meanwhile, each within ${Math.round(longest)} ms`);
    assert.ok(times > 1, "others came first");
    const [result] = (await done(made)).results;
    assert.equal(result.status, 3, JSON.stringify(result));
    assert.match(result.status_description, /takes too many steps.*may take 20000000 steps/);
  });
}

test("patterns are compiled once, however many strings there are", async () => {
  const made = await evaluate("many strings", "json_valid", { schema: { type: "array", items: { type: "string", pattern: "^text [0-9]{1,100}$" } } });
  const [result] = (await done(made)).results;
  // The other six are no JSON.
  assert.deepEqual([result.status, result.total_logs, Number(result.result).toFixed(1)], [2, 7, "14.3"]);
});

test("what is too large is refused when it is stored, with its place", async () => {
  const dataset_ids = [await everything()];
  for (const [type, settings, path, message] of [
    ["answer_matches", { regex: "(?:a{0,1000}){0,1000}b" }, ["body", "settings", "answer_matches", "regex"], /too large/],
    ["answer_matches", { regex: "a{2000}" }, ["body", "settings", "answer_matches", "regex"], /repeated more than 1000 times/],
    ["answer_matches", { regex: "(" }, ["body", "settings", "answer_matches", "regex"], /no regular expression/],
    ["json_valid", { schema: { pattern: "(?:a{0,1000}){0,1000}b" } }, ["body", "settings", "json_valid", "schema"], /too large/],
    ["json_valid", { schema: { allOf: [1, 2, 3].map((n) => ({ pattern: `(?:a{0,100}){0,100}${n}` })) } }, ["body", "settings", "json_valid", "schema"], /together/],
  ]) {
    const error = await post("/evaluations", { name: "no", dataset_ids, evaluation_type_ids: [type], settings: { [type]: settings } }, 400);
    assert.deepEqual(error.path, path);
    assert.match(error.message, message);
  }
});

test("after a restart nobody goes on with it but whoever it is of", async () => {
  const made = await evaluate("cut off", "answer_matches", POISON);
  await until(async () => (await stands(made)).progress !== null, "it to begin");
  const { upstream } = gw;
  await gw.miniflare.dispose();
  gw = await Gateway.start({ folder, upstream });
  // As if its lease had run out long ago.
  await gw.db.prepare("UPDATE evaluations SET lease_until = 0 WHERE processed = 0").run();
  const before = await stands(made);
  if (before.processed === 1) return;
  for (const path of ["/gateways/theirs/evaluations", "/gateways/theirs/storage", "/gateways"]) {
    assert.equal((await gw.api(path, { account: OTHER })).status, 200);
  }
  await others();
  assert.deepEqual(await stands(made), before, "another account's reader does not take it up");
  const [result] = (await done(made)).results;
  assert.match(result.status_description, /takes too many steps/);
});

test("what was begun twice and never ended is given up, whoever looks at it", async () => {
  const made = await evaluate("crashing", "answer_matches", { regex: "x" });
  await done(made);
  // As two Workers leave it that ended in its slice.
  await gw.db.prepare("UPDATE evaluation_results SET status = 0 WHERE evaluation_id = ?").bind(made.id).run();
  await gw.db.prepare(`UPDATE evaluations SET processed = 0, lease_until = 0, progress = '{"figures_done":true,"begun":2}' WHERE id = ?`).bind(made.id).run();
  const [result] = (await done(made)).results;
  assert.equal(result.status, 3);
  assert.match(result.status_description, /begun 2 times, and each time the Worker ended/);
  await others();
});

test("a token of another account moves nothing on", async () => {
  const made = await evaluate("left alone", "answer_matches", { contains: "a" });
  await done(made);
  await gw.db.prepare("UPDATE evaluations SET processed = 0, lease_until = 0, progress = NULL WHERE id = ?").bind(made.id).run();
  const refused = await fetch(`${gw.url}/accounts/${ACCOUNT}/ai-gateway/gateways/gw/evaluations`, { headers: { authorization: "Bearer nonsense" } });
  assert.equal(refused.status, 401);
  assert.equal((await gw.api("/gateways/theirs/evaluations", { account: OTHER })).status, 200);
  await others();
  assert.equal((await stands(made)).progress, null);
  // The cron trigger does what there is, of all tenants.
  await (await gw.miniflare.getWorker("tollgate")).scheduled({ cron: "* * * * *" });
  await until(async () => (await stands(made)).processed === 1, "the cron trigger to do it");
});

test("a few logs among many are found in windows by evaluations, re-pricing, exports and deletions", async () => {
  await gw.create("wide");
  const [{ key }] = await gw.rows("SELECT key FROM gateways WHERE id = 'wide'");
  const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const begun = Date.now() - 100_000;
  const id = (n) => Array.from({ length: 10 }, (_, at) => digits[Math.floor((begun + n) / 32 ** (9 - at)) % 32]).join("") + String(n).padStart(16, "0");
  const rare = [3, 12_345, 24_999];
  for (let from = 0; from < 25_000; from += 5_000) {
    const logs = JSON.stringify(Array.from({ length: 5_000 }, (_, n) => [id(from + n), begun + from + n, rare.includes(from + n) ? "so rare" : "common"]));
    await gw.rows(
      `INSERT INTO logs (id, gateway, created_at, provider, path, request_type, success, cached, step, duration, cost, custom_cost, event_id, authentication, user_agent)
       SELECT value ->> 0, ?1, value ->> 1, 'openai', 'x', 'native', 1, 0, 0, 1, (value ->> 1) - ?2, 0, value ->> 0, 1, value ->> 2 FROM json_each(?3)`,
      key, begun, logs,
    );
  }
  const filters = [{ key: "user_agent", operator: "contains", value: ["RARE"] }];
  const query = `filters=${encodeURIComponent(JSON.stringify(filters))}`;
  for (const more of ["", "&limit=100", "&limit=100&order_by_direction=desc"]) {
    const file = await (await gw.api(`/gateways/wide/logs/export?${query}${more}`)).text();
    const found = file.trim().split("\n").map((line) => JSON.parse(line).id);
    const wanted = rare.map(id);
    assert.deepEqual(found, more.includes("desc") ? wanted.reverse() : wanted, more);
  }
  const dataset = await post("/datasets", { name: "rare", enable: true, filters }, 200, ACCOUNT, "wide");
  const body = { name: "rare", dataset_ids: [dataset.id], evaluation_type_ids: ["success_rate", "p95_duration", "answer_matches"], settings: { answer_matches: { contains: "a" } } };
  const made = await post("/evaluations", body, 200, ACCOUNT, "wide");
  let evaluation;
  await until(async () => (evaluation = await gw.result(`/gateways/wide/evaluations/${made.id}`)).processed, "the evaluation", 60_000);
  assert.deepEqual([evaluation.total_logs, ...evaluation.results.map(({ total_logs, status }) => [total_logs, status])], [3, [3, 2], [3, 2], [0, 2]]);
  const reprice = await post("/logs/reprice", { filters, dry_run: true }, 200, ACCOUNT, "wide");
  let priced;
  await until(async () => (priced = await gw.result(`/gateways/wide/logs/reprice/${reprice.id}`)).processed, "the new prices", 60_000);
  assert.equal(priced.logs_seen, 3);
  for (const [more, deleted, left] of [["&limit=1&order_by=cost&order_by_direction=desc", 1, [3, 12_345]], ["&limit=1", 1, [12_345]], ["", 1, []], ["", 0, []]]) {
    const answer = await gw.api(`/gateways/wide/logs?${query}${more}`, { method: "DELETE" });
    assert.deepEqual((await answer.json()).result, { deleted }, more);
    assert.deepEqual((await gw.rows("SELECT id FROM logs WHERE user_agent = 'so rare' ORDER BY id")).map((row) => row.id), left.map(id));
  }
});
