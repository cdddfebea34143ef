import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import Cloudflare from "cloudflare";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw, everything;
const client = () => new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4` });
const at = (gateway_id = "gw") => ({ account_id: ACCOUNT, gateway_id });

before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: '{"openai":"sk-judge-CANARY"}' } });
  await gw.create("gw");
  for (let n = 0; n < 6; n += 1) await logged(n);
  everything = await post("/datasets", { name: "everything", enable: true, filters: [] });
});
after(() => gw.stop());

/** A log with an answer of our choice: odd ones are JSON, the third fails, costs are n cents, every second has a thumb. */
async function logged(n, gateway = "gw") {
  const content = n % 2 ? `{"answer":${n}}` : `The answer is ${n}`;
  const body = { id: `chatcmpl-${n}`, model: "gpt-4o", choices: [{ message: { role: "assistant", content } }], usage: { prompt_tokens: 10 * n, completion_tokens: n, total_tokens: 11 * n } };
  gw.upstream.next(n === 2 ? { status: 500, headers: { "content-type": "application/json" }, body: "{}" } : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const answer = await gw.call("openai/chat/completions", {
    gateway,
    json: { model: n < 3 ? "gpt-4o" : "gpt-4o-mini", messages: [{ role: "user", content: `question ${n}` }] },
    headers: { "cf-aig-custom-cost": `{"total_cost":${n / 100}}`, "cf-aig-metadata": JSON.stringify({ team: n % 2 ? "odd" : "even" }) },
  });
  await answer.arrayBuffer();
  const { id } = await gw.logOf(answer, gateway);
  await gw.api(`/gateways/${gateway}/logs/${id}`, { method: "PATCH", body: JSON.stringify({ feedback: [1, null, -1, 1, null, 1][n], score: Math.min(n * 10, 100) }) });
  await fetch(`${gw.url}/feedback/${id}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: JSON.stringify({ data: { stars: n } }) });
  return id;
}

async function post(path, body, { status = 200, gateway = "gw" } = {}) {
  const answer = await gw.api(`/gateways/${gateway}${path}`, { method: "POST", body: JSON.stringify(body) });
  const { result, errors } = await answer.json();
  assert.equal(answer.status, status, JSON.stringify(errors));
  return result ?? errors[0];
}

/** Waits until an evaluation is done. */
async function done({ id }, gateway = "gw") {
  let evaluation;
  await until(async () => (evaluation = await gw.result(`/gateways/${gateway}/evaluations/${id}`)).processed, "the evaluation");
  return evaluation;
}

const figures = ({ results }) => Object.fromEntries(results.map(({ evaluation_type_id, result, total_logs }) => [evaluation_type_id, [result, total_logs]]));

/** A judge that gives as many points as the number in the answer it is shown. */
function judging(say = (n) => JSON.stringify({ verdict: n, reason: "because" })) {
  gw.upstream.answer = (request) => {
    const text = JSON.parse(request.body).messages?.[0]?.content ?? "";
    const n = Number(text.match(/JUDGE .*?(\d+)/s)?.[1]);
    const message = { role: "assistant", content: say(n) };
    return { headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "gpt-4o", choices: [{ message }], usage: { prompt_tokens: 1000, completion_tokens: 10, total_tokens: 1010 } }) };
  };
}

test("the evaluation types are listed, Cloudflare's three first", async () => {
  const answer = await (await gw.api("/evaluation-types?per_page=50")).json();
  assert.deepEqual(answer.result.slice(0, 3).map(({ id, mandatory, enable }) => [id, mandatory, enable]), [["cost", true, true], ["speed", true, true], ["human_feedback", true, true]]);
  for (const type of answer.result) assert.deepEqual(Object.keys(type).sort(), ["created_at", "description", "enable", "id", "mandatory", "modified_at", "name", "type"]);
});

test("datasets are made, found, changed and deleted by Cloudflare's SDK", async () => {
  const { aiGateway } = client();
  const filters = [{ key: "provider", operator: "eq", value: ["openai"] }];
  const made = await aiGateway.datasets.create("gw", { account_id: ACCOUNT, name: "mine", enable: true, filters });
  assert.deepEqual([made.name, made.enable, made.filters, made.gateway_id], ["mine", true, filters, "gw"]);
  const changed = await aiGateway.datasets.update(made.id, { ...at(), name: "ours", enable: false, filters: [] });
  assert.deepEqual([changed.name, changed.enable, changed.filters], ["ours", false, []]);
  const names = async (query) => (await aiGateway.datasets.list("gw", { account_id: ACCOUNT, ...query })).result.map(({ name }) => name);
  assert.deepEqual(await names({ enable: false }), ["ours"]);
  assert.deepEqual(await names({ search: "OUR" }), ["ours"]);
  assert.deepEqual(await names({ name: "everything" }), ["everything"]);
  assert.equal((await aiGateway.datasets.get(made.id, at())).id, made.id);
  await assert.rejects(aiGateway.datasets.create("gw", { account_id: ACCOUNT, name: "ours", enable: true, filters: [] }), { status: 400 });
  assert.equal((await aiGateway.datasets.delete(made.id, at())).id, made.id);
  await assert.rejects(aiGateway.datasets.get(made.id, at()), { status: 404 });
  for (const [body, path] of [[{ enable: true, filters: [] }, ["body", "name"]], [{ name: "x", enable: 1, filters: [] }, ["body", "enable"]], [{ name: "x", enable: true }, ["body", "filters"]], [{ name: "x", enable: true, filters: [{ key: "no", operator: "eq", value: [1] }] }, ["body", "filters", "0", "key"]]]) {
    assert.deepEqual((await post("/datasets", body, { status: 400 })).path, path);
  }
});

test("an evaluation measures the logs that are there, in the documented shape", async () => {
  const { aiGateway } = client();
  const made = await aiGateway.evaluations.create("gw", { account_id: ACCOUNT, name: "first", dataset_ids: [everything.id], evaluation_type_ids: ["cost", "speed", "human_feedback"] });
  assert.deepEqual([made.name, made.results.length, made.datasets[0].id], ["first", 3, everything.id]);
  const evaluation = await done(made);
  assert.equal(evaluation.total_logs, 6);
  const { cost, human_feedback, speed } = figures(evaluation);
  assert.deepEqual([cost, human_feedback], [["0.025", 6], ["75", 4]]);
  assert.ok(Number(speed[0]) >= 0 && speed[1] === 6);
  for (const name of ["id", "created_at", "datasets", "gateway_id", "modified_at", "name", "processed", "results", "total_logs"]) assert.ok(name in evaluation, name);
  for (const name of ["id", "account_id", "account_tag", "created_at", "enable", "filters", "gateway_id", "modified_at", "name"]) assert.ok(name in evaluation.datasets[0], name);
  for (const name of ["id", "created_at", "evaluation_id", "evaluation_type_id", "modified_at", "result", "status", "status_description", "total_logs"]) assert.ok(name in evaluation.results[0], name);
  assert.deepEqual(evaluation.results.map(({ status }) => status), [2, 2, 2]);
  assert.ok(evaluation.rows_read > 0);
  const names = async (query) => (await aiGateway.evaluations.list("gw", { account_id: ACCOUNT, ...query })).result.map(({ name }) => name);
  assert.ok((await names({ processed: true })).includes("first"));
  assert.deepEqual(await names({ name: "first" }), ["first"]);
  assert.deepEqual((await (await gw.api("/gateways/gw/evaluations?search=FIR")).json()).result.map(({ name }) => name), ["first"]);
});

test("every figure is what a pocket calculator says", async () => {
  const ids = ["success_rate", "cache_hit_rate", "p50_duration", "p95_duration", "p99_duration", "p50_first_byte", "p95_first_byte", "p99_first_byte", "tokens_in", "tokens_out", "cost_per_thumbs_up", "score", "feedback:stars"];
  const evaluation = await done(await post("/evaluations", { name: "figures", dataset_ids: [everything.id], evaluation_type_ids: ids }));
  const found = figures(evaluation);
  assert.deepEqual(found.success_rate, ["83.333333333", 6]);
  assert.deepEqual(found.cache_hit_rate, ["0", 6]);
  // 15 cents over three thumbs.
  assert.deepEqual(found.cost_per_thumbs_up, ["0.05", 6]);
  assert.deepEqual(found.score, ["25", 6]);
  assert.deepEqual(found["feedback:stars"], ["2.5", 6]);
  assert.deepEqual(found.tokens_in, ["26", 5]);
  assert.deepEqual(found.tokens_out, ["2.6", 5]);
  const durations = (await gw.rows("SELECT duration FROM logs ORDER BY duration")).map(({ duration }) => duration);
  assert.deepEqual([found.p50_duration[0], found.p95_duration[0]], [String(durations[2]), String(durations[5])]);
  const score = evaluation.results.find(({ evaluation_type_id }) => evaluation_type_id === "score");
  assert.equal(score.unit, "points");
  assert.ok(score.confidence_interval[0] < 25 && score.confidence_interval[1] > 25);
});

test("answers are tested for JSON, a schema, a text and a pattern", async () => {
  const evaluation = await done(
    await post("/evaluations", {
      name: "answers",
      dataset_ids: [everything.id],
      evaluation_type_ids: ["json_valid", "json_valid:big", "answer_matches:says", "answer_matches:digits"],
      settings: {
        "json_valid:big": { schema: { type: "object", required: ["answer"], properties: { answer: { type: "integer", minimum: 3 } } } },
        "answer_matches:says": { contains: "THE ANSWER" },
        "answer_matches:digits": { regex: "\\b[45]\\b" },
      },
    }),
  );
  assert.deepEqual(figures(evaluation), { json_valid: ["60", 5], "json_valid:big": ["40", 5], "answer_matches:says": ["40", 5], "answer_matches:digits": ["40", 5] });
  assert.equal(evaluation.results[0].skipped, 1);
  const verdicts = await gw.result(`/gateways/gw/evaluations/${evaluation.id}/verdicts?evaluation_type_id=json_valid:big`);
  assert.deepEqual(verdicts.map(({ verdict }) => verdict), [0, 0, 0]);
  assert.ok(verdicts.some(({ reason }) => reason === "/answer is out of bounds"));
});

test("figures are broken down by model and by a metadata key", async () => {
  for (const [group_by, wanted] of [["model", { "gpt-4o": ["0.01", 3], "gpt-4o-mini": ["0.04", 3] }], ["metadata.team", { even: ["0.02", 3], odd: ["0.03", 3] }], ["provider", { openai: ["0.025", 6] }]]) {
    const { results } = await done(await post("/evaluations", { name: group_by, dataset_ids: [everything.id], evaluation_type_ids: ["cost", "answer_matches"], settings: { answer_matches: { contains: "a" } }, group_by }));
    assert.deepEqual(Object.fromEntries(results[0].groups.map(({ group, result, total_logs }) => [group, [result, total_logs]])), wanted, group_by);
    assert.equal(results[1].groups.length, Object.keys(wanted).length);
  }
});

test("evaluations are compared side by side", async () => {
  const dataset = (name, model) => post("/datasets", { name, enable: true, filters: [{ key: "model", operator: "eq", value: [model] }] });
  const [a, b] = [await dataset("large", "gpt-4o"), await dataset("small", "gpt-4o-mini")];
  const [x, y] = [
    await done(await post("/evaluations", { name: "x", dataset_ids: [a.id], evaluation_type_ids: ["cost", "human_feedback"] })),
    await done(await post("/evaluations", { name: "y", dataset_ids: [b.id], evaluation_type_ids: ["cost"] })),
  ];
  const compared = await gw.result(`/gateways/gw/evaluations/compare?ids=${x.id},${y.id}`);
  assert.deepEqual(compared.evaluations.map(({ name, total_logs }) => [name, total_logs]), [["x", 3], ["y", 3]]);
  const [cost, feedback] = compared.figures;
  assert.deepEqual(cost.values.map(({ result, total_logs }) => [result, total_logs]), [[0.01, 3], [0.04, 3]]);
  assert.ok(cost.values.every(({ confidence_interval: [low, high] }) => low < high));
  assert.deepEqual(feedback.values.map(({ result }) => result), [50, null]);
  assert.equal((await gw.api("/gateways/gw/evaluations/compare?ids=")).status, 400);
  assert.equal((await gw.api(`/gateways/gw/evaluations/compare?ids=${x.id},nothing`)).status, 404);
});

test("a judge is asked through the gateway, and its own calls are marked and never judged", async () => {
  judging();
  const settings = { llm_judge: { prompt: "JUDGE {{output}} to {{input}}", provider: "openai", model: "gpt-4o", verdict: "number", concurrency: 2 } };
  const evaluation = await done(await post("/evaluations", { name: "judged", dataset_ids: [everything.id], evaluation_type_ids: ["llm_judge", "cost"], settings }));
  // 0, 1, 3, 4, 5: the one that failed has no answer.
  assert.deepEqual(figures(evaluation), { llm_judge: ["2.6", 5], cost: ["0.025", 6] });
  const [judge] = evaluation.results;
  assert.deepEqual([judge.skipped, judge.failed, judge.unit], [1, 0, "points"]);
  assert.ok(judge.cost > 0);
  const verdicts = await gw.result(`/gateways/gw/evaluations/${evaluation.id}/verdicts`);
  assert.deepEqual(verdicts.map(({ verdict }) => verdict).sort(), [0, 1, 3, 4, 5]);
  const call = await gw.result(`/gateways/gw/logs/${verdicts[0].judge_log_id}`);
  assert.deepEqual([call.evaluation_id, call.success, call.provider], [evaluation.id, true, "openai"]);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-judge-CANARY");
  const again = await done(await post("/evaluations", { name: "after judging", dataset_ids: [everything.id], evaluation_type_ids: ["cost"] }));
  assert.equal(again.total_logs, 6);
  for (const { name } of await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'")) {
    assert.ok(!JSON.stringify(await gw.rows(`SELECT * FROM "${name}"`)).includes("CANARY"), name);
  }
  gw.upstream.answer = undefined;
});

test("a judge has a cap on logs and on cost, and one that fails says why and leaves the others standing", async () => {
  judging();
  const settings = (more) => ({ llm_judge: { prompt: "JUDGE {{output}}", provider: "openai", model: "gpt-4o", concurrency: 1, ...more } });
  const run = async (name, more, ids = ["llm_judge"]) => (await done(await post("/evaluations", { name, dataset_ids: [everything.id], evaluation_type_ids: ids, settings: settings(more) }))).results;
  const [capped] = await run("two logs", { max_logs: 2 });
  assert.deepEqual([capped.total_logs, capped.result], [2, "4.5"]);
  assert.match(capped.status_description, /max_logs/);
  const [cheap] = await run("cheap", { max_cost: 0.0001 });
  assert.equal(cheap.total_logs, 1);
  assert.match(cheap.status_description, /max_cost/);
  const [yes] = await run("boolean", { verdict: "boolean" });
  assert.deepEqual([yes.status, yes.total_logs], [3, 0]);
  judging((n) => `{"verdict": ${n > 3}}`);
  assert.deepEqual((await run("true and false", { verdict: "boolean" }))[0].result, "40");
  judging((n) => JSON.stringify({ verdict: n, reason: "x".repeat(n === 1 ? 200_000 : 300_000) }));
  const [long] = await run("says too much", {});
  assert.deepEqual([long.status, long.total_logs, long.failed], [2, 1, 4]);
  judging((n) => JSON.stringify({ verdict: n, reason: "x".repeat(300_000) }));
  const [longer] = await run("always says too much", {});
  assert.deepEqual([longer.status, longer.total_logs], [3, 0]);
  assert.match(longer.status_description, /the judge's answer is not read: it has more than 256 KB/);
  gw.upstream.answer = () => ({ status: 401, headers: { "content-type": "application/json" }, body: '{"error":{"message":"wrong key"}}' });
  const [failed, cost] = await run("wrong key", {}, ["llm_judge", "cost"]);
  assert.deepEqual([failed.status, failed.result, cost.status], [3, "", 2]);
  assert.match(failed.status_description, /wrong key/);
  gw.upstream.answer = undefined;
});

test("what cannot be evaluated is refused before anything is made", async () => {
  const good = { name: "refused", dataset_ids: [everything.id], evaluation_type_ids: ["cost"] };
  for (const [change, path] of [
    [{ name: "" }, ["body", "name"]],
    [{ name: "first" }, ["body", "name"]],
    [{ dataset_ids: [] }, ["body", "dataset_ids"]],
    [{ dataset_ids: ["nothing"] }, ["body", "dataset_ids", "0"]],
    [{ evaluation_type_ids: ["cost", "beauty"] }, ["body", "evaluation_type_ids", "1"]],
    [{ evaluation_type_ids: ["cost", "cost"] }, ["body", "evaluation_type_ids", "1"]],
    [{ evaluation_type_ids: ["feedback"] }, ["body", "evaluation_type_ids", "0"]],
    [{ evaluation_type_ids: ["answer_matches"], settings: { answer_matches: { case_sensitive: true } } }, ["body", "settings", "answer_matches"]],
    [{ evaluation_type_ids: ["json_valid"], settings: { json_valid: { schema: { if: {} } } } }, ["body", "settings", "json_valid", "schema"]],
    [{ evaluation_type_ids: ["llm_judge"], settings: { llm_judge: { prompt: "no" } } }, ["body", "settings", "llm_judge", "prompt"]],
    [{ settings: { speed: {} } }, ["body", "settings", "speed"]],
    [{ group_by: "colour" }, ["body", "group_by"]],
    [{ groupby: "model" }, ["body", "groupby"]],
    [{ evaluation_type_ids: ["llm_judge"], settings: { llm_judge: { prompt: "{{output}}", provider: "openai", model: "m", max_log: 2 } } }, ["body", "settings", "llm_judge"]],
  ]) {
    const error = await post("/evaluations", { ...good, ...change }, { status: 400 });
    assert.deepEqual([error.code, error.path], [7001, path], JSON.stringify(change));
  }
  assert.deepEqual((await (await gw.api("/gateways/gw/evaluations?name=refused")).json()).result, []);
});

test("deleting an evaluation takes its results and verdicts along", async () => {
  const [{ id }] = (await (await gw.api("/gateways/gw/evaluations?name=judged")).json()).result;
  const deleted = await client().aiGateway.evaluations.delete(id, at());
  assert.equal(deleted.id, id);
  for (const table of ["evaluation_results", "verdicts"]) assert.deepEqual(await gw.rows(`SELECT * FROM ${table} WHERE evaluation_id = ?`, id), []);
});

test("the clock moves on what nobody looks at", async () => {
  const { id } = await done(await post("/evaluations", { name: "forgotten", dataset_ids: [everything.id], evaluation_type_ids: ["cost"] }));
  // As if the Worker had gone away right after the evaluation was made.
  await gw.db.prepare("UPDATE evaluations SET processed = 0, progress = NULL, lease_until = 0 WHERE id = ?").bind(id).run();
  await gw.db.prepare("UPDATE evaluation_results SET status = 0, result = '' WHERE evaluation_id = ?").bind(id).run();
  const [{ log_id }] = await gw.rows("SELECT id AS log_id FROM logs LIMIT 1");
  await gw.db.prepare("INSERT INTO pending_feedback (id, log_id, given_at, given_by, kind, data) VALUES ('p', ?, 1, 'admin', 'merge', '{\"late\":1}')").bind(log_id).run();
  const worker = await gw.miniflare.getWorker("tollgate");
  await worker.scheduled({ cron: "* * * * *" });
  const [{ processed }] = await gw.rows("SELECT processed FROM evaluations WHERE id = ?", id);
  const [{ result }] = await gw.rows("SELECT result FROM evaluation_results WHERE evaluation_id = ?", id);
  assert.deepEqual([processed, result], [1, "0.025"]);
  assert.deepEqual((await gw.rows("SELECT json FROM log_feedback WHERE log_id = ? AND key = 'late'", log_id)).map(({ json }) => json), ["1"]);
});

test("killing the Worker in the middle of an evaluation loses nothing and judges nothing twice", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-"));
  const outer = gw;
  const start = () => Gateway.start({ upstream: outer.upstream, folder, bindings: { PROVIDER_KEYS: "{}" } });
  try {
    gw = await start();
    await gw.create("gw");
    for (let n = 0; n < 20; n += 1) await logged(n + 10);
    const all = await post("/datasets", { name: "all", enable: true, filters: [] });
    let asked = 0;
    judging();
    const answer = gw.upstream.answer;
    gw.upstream.answer = (request) => {
      asked += 1;
      return { ...answer(request), delay: 150 };
    };
    const settings = { llm_judge: { prompt: "JUDGE {{output}}", provider: "openai", model: "gpt-4o", concurrency: 1 } };
    const { id } = await post("/evaluations", { name: "killed", dataset_ids: [all.id], evaluation_type_ids: ["cost", "llm_judge"], settings });
    await until(() => asked >= 5, "some verdicts");
    await gw.miniflare.dispose();
    gw = await start();
    const [{ n }] = await gw.rows("SELECT count(*) AS n FROM verdicts");
    assert.ok(n >= 4 && n < 20, `${n} verdicts before the end`);
    // As if the time had passed after which the dead runner's place is free.
    await gw.db.prepare("UPDATE evaluations SET lease_until = 0").run();
    const evaluation = await done({ id });
    assert.deepEqual(figures(evaluation).llm_judge, ["19.5", 20]);
    assert.equal(figures(evaluation).cost[1], 20);
    // Only what was on its way when the Worker died was asked again.
    assert.ok(asked <= 22, `${asked} questions for 20 logs`);
  } finally {
    if (gw !== outer) await gw.miniflare.dispose();
    gw = outer;
    gw.upstream.answer = undefined;
    rmSync(folder, { recursive: true, force: true });
  }
});
