// What a provider keeps and shows again is paid once: by the request that had it made, however often and by what caller it is asked for.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, until } from "../harness.mjs";

/** 1,000 tokens each way of gpt-5. */
const COST = 0.01125;
const JSON_TYPE = { "content-type": "application/json" };
/** A week that began at least an hour ago, or ends in more than one: no test runs into its end. */
const WINDOW = [604_800, 604_801].find((window) => (Date.now() / 1_000) % window < window - 3_600);

let gw;
before(async () => {
  gw = await Gateway.start();
});
after(() => gw.stop());

const response = (id, status, usage = { input_tokens: 1_000, output_tokens: 1_000, total_tokens: 2_000 }) =>
  ({ id, object: "response", created_at: 1, status, model: "gpt-5", background: true, output: [], usage: status === "queued" ? null : usage });
const batch = (id, status) => ({
  id, object: "batch", status, model: "gpt-5", errors: null, created_at: 1,
  usage: { input_tokens: status === "completed" ? 1_200_000 : 0, output_tokens: status === "completed" ? 200_000 : 0, total_tokens: status === "completed" ? 1_400_000 : 0 },
});

async function send(gateway, method, path, answer, { headers, json } = {}) {
  const body = typeof answer === "string" ? answer : JSON.stringify(answer);
  gw.upstream.next({ body, headers: typeof answer === "string" ? { "content-type": "text/event-stream" } : JSON_TYPE });
  const got = await gw.call(path, { gateway, method, json, headers });
  const text = await got.text();
  return { status: got.status, text, got };
}
const make = (gateway, answer, headers) => send(gateway, "POST", "openai/responses", answer, { json: { model: "gpt-5", input: "x", background: true }, headers });
const poll = (gateway, id, answer, headers) => send(gateway, "GET", `openai/responses/${id}`, answer, { headers });
const rows = async (gateway, count) => {
  let found;
  await until(async () => (found = await gw.result(`/gateways/${gateway}/logs?order_by=created_at&order_by_direction=asc&per_page=50`)).length >= count, `${count} logs`);
  return found;
};
const charted = async (gateway) => {
  const { totals } = await gw.result(`/gateways/${gateway}/analytics?start_date=${new Date(Date.now() - 3_600_000).toISOString()}`);
  return totals.cost;
};
const budget = (limit, rule = {}) => ({ spend_limits: { enabled: true, rules: [{ id: "b", limit, limitType: "cost", window: WINDOW, technique: "fixed", ...rule }] } });
const spent = async (gateway) => {
  const { spend } = await gw.result(`/gateways/${gateway}/limits`);
  return spend[0].counters;
};
const tagged = (team) => ({ "cf-aig-metadata": JSON.stringify({ team }) });
const near = (found, wanted) => assert.ok(Math.abs(found - wanted) < 1e-9, `${found} is not ${wanted}`);

test("a response that is made in the background is paid once, by the request that made it", async () => {
  await gw.create("background");
  await make("background", response("resp_b", "queued"), tagged("made"));
  await poll("background", "resp_b", response("resp_b", "in_progress", null), tagged("polls"));
  for (let n = 0; n < 4; n += 1) await poll("background", "resp_b", response("resp_b", "completed"), tagged("polls"));
  await send("background", "POST", "openai/responses/resp_b/cancel", response("resp_b", "completed"));
  const resumed = [{ type: "response.completed", response: response("resp_b", "completed") }];
  await send("background", "GET", "openai/responses/resp_b?stream=true&starting_after=3", resumed.map((event) => `event: x\ndata: ${JSON.stringify(event)}\n\n`).join(""));
  await until(async () => (await rows("background", 8))[0].cost !== null, "the usage to reach the log of the request");
  const [made, working, ...shown] = await rows("background", 8);
  assert.deepEqual([made.cost, made.tokens_in, made.usage_of, made.cost_unknown], [COST, 1_000, null, null]);
  assert.deepEqual([working.cost, working.tokens_in, working.usage_of], [null, null, null]);
  assert.match(working.cost_unknown, /still at work/);
  for (const row of shown) assert.deepEqual([row.cost, row.usage_metadata.input_tokens, row.usage_of], [0, 1_000, made.id]);
  near(await charted("background"), COST);
});

test("polls do not use up a budget, and pass one that is used up", async () => {
  await gw.create("polls", budget(0.05));
  await make("polls", response("resp_p", "queued"));
  for (let n = 0; n < 6; n += 1) assert.equal((await poll("polls", "resp_p", response("resp_p", "completed"))).status, 200);
  await until(async () => (await spent("polls"))[0]?.spent > 0, "the cost to be counted");
  near((await spent("polls"))[0].spent, COST);
  // Four more use the budget up; what was paid can be fetched all the same.
  for (let n = 0; n < 4; n += 1) await make("polls", { ...response(`resp_${n}`, "completed"), background: false });
  await until(async () => (await spent("polls"))[0].spent > 0.05, "the budget to be used up");
  const refused = await gw.call("openai/responses", { gateway: "polls", json: { model: "gpt-5", input: "x", background: true } });
  assert.equal(refused.status, 429, await refused.text());
  for (const [method, path] of [["GET", "responses/resp_p"], ["POST", "responses/resp_p/cancel"], ["DELETE", "responses/resp_p"], ["GET", "models"], ["POST", "responses/input_tokens"]]) {
    assert.equal((await send("polls", method, `openai/${path}`, response("resp_p", "completed"))).status, 200, `${method} ${path}`);
  }
  near((await spent("polls"))[0].spent, COST * 5);
});

test("the budget that pays is that of who made it", async () => {
  await gw.create("teams", budget(1, { metadata: { team: { mode: "partition" } } }));
  await make("teams", response("resp_t", "queued"), tagged("made"));
  for (let n = 0; n < 3; n += 1) await poll("teams", "resp_t", response("resp_t", "completed"), tagged("polls"));
  await poll("teams", "resp_unseen", response("resp_unseen", "completed"), tagged("found"));
  await poll("teams", "resp_unseen", response("resp_unseen", "completed"), tagged("late"));
  await until(async () => (await spent("teams")).length >= 2, "the budgets of two teams");
  const found = Object.fromEntries((await spent("teams")).filter((counter) => counter.spent > 0).map((counter) => [counter.partition["metadata.team"], counter.spent]));
  assert.deepEqual(Object.keys(found).sort(), ["found", "made"]);
  for (const cost of Object.values(found)) near(cost, COST);
});

test("what was set aside counts until more is known", async () => {
  await gw.create("reserve", budget(1, { reserve: true }));
  await make("reserve", response("resp_r", "queued"));
  await until(async () => (await spent("reserve"))[0]?.spent > 0, "what was set aside to count");
  const [before] = await spent("reserve");
  assert.ok(before.spent > 0 && before.reserved === 0, JSON.stringify(before));
  await poll("reserve", "resp_r", response("resp_r", "completed"));
  await until(async () => Math.abs((await spent("reserve"))[0].spent - COST) < 1e-9, "the cost in its place");
});

// Its lines are what is paid for: tests/e2e/logs/batches.test.mjs.
test("what a batch says that its lines used is not counted beside them", async () => {
  await gw.create("batches", budget(100));
  await send("batches", "POST", "openai/batches", batch("batch_1", "validating"), { json: { input_file_id: "f", endpoint: "/v1/responses", completion_window: "24h" } });
  await send("batches", "GET", "openai/batches/batch_1", batch("batch_1", "in_progress"));
  await Promise.all(Array.from({ length: 5 }, () => send("batches", "GET", "openai/batches/batch_1", batch("batch_1", "completed"))));
  const [made, ...shown] = await rows("batches", 7);
  assert.ok(shown.every((row) => !row.cost), JSON.stringify(shown.map(({ cost }) => cost)));
  assert.ok(!made.cost && !(await charted("batches")) && !(await spent("batches"))[0]?.spent);
});

test("evaluations count it once", async () => {
  await gw.create("evaluated");
  await make("evaluated", response("resp_e", "queued"));
  for (let n = 0; n < 3; n += 1) await poll("evaluated", "resp_e", response("resp_e", "completed"));
  await until(async () => (await rows("evaluated", 4))[0].cost !== null, "the cost");
  const post = async (path, json) => (await (await gw.api(`/gateways/evaluated${path}`, { method: "POST", body: JSON.stringify(json) })).json()).result;
  const dataset = await post("/datasets", { name: "all", enable: true, filters: [{ key: "provider", operator: "eq", value: ["openai"] }] });
  const made = await post("/evaluations", { name: "e", dataset_ids: [dataset.id], evaluation_type_ids: ["cost", "tokens_in"] });
  let evaluation;
  await until(async () => (evaluation = await gw.result(`/gateways/evaluated/evaluations/${made.id}`)).processed, "the evaluation");
  const result = (type) => Number(evaluation.results.find((found) => found.evaluation_type_id === type).result);
  near(result("cost"), COST);
  near(result("tokens_in"), 1_000);
});
