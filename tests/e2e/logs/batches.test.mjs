// Batches: each line of their results is a log at the price of batches, once, whoever asks how often, and whatever breaks meanwhile.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const KEYS = JSON.stringify({ openai: "sk-operator-openai-0123456789", mistral: "operator-mistral-0123456789", "google-ai-studio": "AIzaOperator0123456789" });
const OWN = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const RULE = { id: "month", limitType: "cost", limit: 1000, window: 86_400 * 30 };

let gw, answers, asked;
before(async () => {
  gw = await Gateway.start({ faulty: true, bindings: { PROVIDER_KEYS: KEYS } });
  for (const id of ["gw", "broken", "own", "google", "mistral", "quiet"]) {
    await gw.create(id, { authentication: true, collect_logs: id !== "quiet", spend_limits: { enabled: true, rules: [RULE] } });
  }
});
beforeEach(() => {
  answers = {};
  asked = [];
  gw.upstream.answer = ({ method, url }) => {
    asked.push(`${method} ${url}`);
    return answers[`${method} ${url}`];
  };
});
after(() => gw.stop(/the test pulled the plug|batches_failed|broke off/));

const json = (body) => ({ status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const lines = (list) => ({ status: 200, headers: { "content-type": "application/octet-stream" }, body: list.map((line) => `${JSON.stringify(line)}\n`).join("") });
const tick = async () => (await gw.miniflare.getWorker("tollgate")).scheduled({ cron: "* * * * *" });
const spent = async (gateway) => (await gw.result(`/gateways/${gateway}/limits`)).spend[0].counters.reduce((sum, { spent }) => sum + spent, 0);
const logs = (gateway) => gw.rows("SELECT logs.* FROM logs JOIN gateways ON gateways.key = logs.gateway WHERE gateways.id = ? AND request_type = 'batch' ORDER BY logs.created_at, event_id", gateway);
const near = (found, wanted, what) => assert.ok(Math.abs(found - wanted) < 1e-9, `${what}: ${found}, not ${wanted}`);

/** A batch of OpenAI's: two dollars per million tokens out, half of it for batches. gpt-5-mini: 0.125 in, 1 out. */
const completion = (n) => ({ id: `chatcmpl-${n}`, object: "chat.completion", model: "gpt-5-mini", choices: [{ index: 0, message: { role: "assistant", content: `ramen ${n}` }, finish_reason: "stop" }], usage: { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 } });
const LINE_COST = (1000 * 0.125 + 100 * 1) / 1e6;
const openaiLine = (n) => ({ id: `batch_req_${n}`, custom_id: `request-${n}`, response: { status_code: 200, request_id: `req_${n}`, body: completion(n) }, error: null });

function openai(id, list, { status = "completed" } = {}) {
  const batch = { id, object: "batch", endpoint: "/v1/chat/completions", input_file_id: "file-in", completion_window: "24h", created_at: 1, usage: { input_tokens: 1000 * list.length, output_tokens: 100 * list.length, total_tokens: 1100 * list.length }, model: "gpt-5-mini" };
  answers["POST /v1/batches"] = json({ ...batch, status: "validating", usage: undefined });
  answers[`GET /v1/batches/${id}`] = json({ ...batch, status, output_file_id: `file-out-${id}` });
  answers[`GET /v1/files/file-out-${id}/content`] = lines(list);
}

async function create(gateway, headers = {}) {
  const client = new OpenAI({ apiKey: TOKEN, baseURL: `${gw.url}/v1/${ACCOUNT}/${gateway}/openai`, maxRetries: 0, defaultHeaders: headers });
  const batch = await client.batches.create({ input_file_id: "file-in", endpoint: "/v1/chat/completions", completion_window: "24h" });
  await until(async () => (await gw.rows("SELECT id FROM batches WHERE id = ?", batch.id)).length === 1, "the batch to be remembered");
  return { client, batch };
}

/** Lets the cron run until a batch is done. */
async function read(id) {
  await until(
    async () => {
      await gw.rows("UPDATE batches SET next_at = 0, lease = 0 WHERE id = ? AND next_at IS NOT NULL", id);
      await Promise.all([tick(), tick()]);
      return (await gw.rows("SELECT id FROM batches WHERE id = ? AND done_at IS NOT NULL", id)).length === 1;
    },
    `${id} to be read`,
    60_000,
  );
}

test("a batch of 1,000 lines leaves 1,000 logs at half the price, once, however often it is polled", async () => {
  openai("batch_1", Array.from({ length: 1_000 }, (_, n) => openaiLine(n)));
  const { client } = await create("gw", { "cf-aig-metadata": '{"team":"AI"}' });
  await Promise.all([client.batches.retrieve("batch_1"), read("batch_1"), client.batches.retrieve("batch_1")]);
  await (await client.files.content("file-out-batch_1")).text();
  await read("batch_1");
  const rows = await logs("gw");
  assert.equal(rows.length, 1_000);
  assert.deepEqual(new Set(rows.map(({ event_id }) => event_id)).size, 1_000);
  const [row] = rows;
  assert.deepEqual([row.provider, row.model, row.tokens_in, row.tokens_out, row.status_code, row.success, row.credential, row.caller, JSON.parse(row.metadata)], ["openai", "gpt-5-mini", 1000, 100, 200, 1, "operator", "admin", { team: "AI" }]);
  assert.match(row.price_rule, /\+batch$/);
  near(row.cost, LINE_COST, "a line");
  near((await gw.rows("SELECT sum(cost) AS sum FROM logs JOIN gateways ON gateways.key = logs.gateway WHERE gateways.id = 'gw'"))[0].sum, 1_000 * LINE_COST, "all logs, those of the polls included");
  await until(async () => Math.abs((await spent("gw")) - 1_000 * LINE_COST) < 1e-9, "the budget to learn of it");
  await until(async () => Math.abs((await gw.result("/gateways/gw/analytics?granularity=day")).totals.cost - 1_000 * LINE_COST) < 1e-9, "the charts");
  const found = await gw.result(`/gateways/gw/logs?${new URLSearchParams({ filters: JSON.stringify([{ key: "metadata.team", operator: "eq", value: ["AI"] }, { key: "request_type", operator: "eq", value: ["batch"] }]), per_page: "1" })}`);
  assert.equal(found.length, 1);
  assert.match(await (await gw.api(`/gateways/gw/logs/${found[0].id}/response`)).text(), /ramen/);
});

test("a batch whose reading breaks is gone on with where it was", async () => {
  const list = Array.from({ length: 230 }, (_, n) => openaiLine(n));
  openai("batch_2", list);
  await create("broken");
  const whole = answers["GET /v1/files/file-out-batch_2/content"];
  // The results break off, the database refuses before and after it has written, and the provider is busy.
  for (const trouble of [
    () => (answers["GET /v1/files/file-out-batch_2/content"] = { ...whole, cut: 60_000 }),
    () => gw.failEvery(4),
    () => (answers["GET /v1/files/file-out-batch_2/content"] = { status: 503, headers: {}, body: "" }),
  ]) {
    await trouble();
    await gw.rows("UPDATE batches SET next_at = 0, lease = 0 WHERE id = 'batch_2'");
    await tick();
    await gw.failEvery(0);
    answers["GET /v1/files/file-out-batch_2/content"] = whole;
  }
  await read("batch_2");
  const rows = await logs("broken");
  assert.deepEqual([rows.length, new Set(rows.map(({ event_id }) => event_id)).size], [230, 230]);
  await until(async () => Math.abs((await spent("broken")) - 230 * LINE_COST) < 1e-9, "the budget to learn of it");
});

test("a batch that only its caller has a key for is read behind the request that asks for it", async () => {
  const message = (n) => ({ id: `msg_${n}`, type: "message", role: "assistant", model: "claude-haiku-4-5", content: [{ type: "text", text: "ramen" }], stop_reason: "end_turn", stop_sequence: null, usage: { input_tokens: 100, output_tokens: 10, service_tier: "batch" } });
  const batch = { id: "msgbatch_9", type: "message_batch", request_counts: { processing: 0, succeeded: 2, errored: 1, canceled: 0, expired: 1 }, created_at: "2026-01-01T00:00:00Z", expires_at: "2026-01-02T00:00:00Z", ended_at: null, cancel_initiated_at: null, archived_at: null, results_url: null };
  answers["POST /v1/messages/batches"] = json({ ...batch, processing_status: "in_progress" });
  answers["GET /v1/messages/batches/msgbatch_9"] = json({ ...batch, processing_status: "in_progress" });
  answers["GET /v1/messages/batches/msgbatch_9/results"] = lines([
    { custom_id: "a", result: { type: "succeeded", message: message(1) } },
    { custom_id: "b", result: { type: "errored", error: { type: "error", error: { type: "invalid_request_error", message: "no such model" } } } },
    { custom_id: "c", result: { type: "expired" } },
    { custom_id: "d", result: { type: "succeeded", message: message(2) } },
  ]);
  const client = new Anthropic({ apiKey: "sk-ant-own-key-of-the-caller", baseURL: `${gw.url}/v1/${ACCOUNT}/own/anthropic`, maxRetries: 0, defaultHeaders: { ...OWN, "cf-aig-metadata": '{"user":"ann"}' } });
  await client.messages.batches.create({ requests: [{ custom_id: "a", params: { model: "claude-haiku-4-5", max_tokens: 5, messages: [{ role: "user", content: "Lunch?" }] } }] });
  await until(async () => (await gw.rows("SELECT id FROM batches WHERE id = 'msgbatch_9'")).length === 1, "the batch to be remembered");
  await tick();
  assert.deepEqual(asked, ["POST /v1/messages/batches"]);
  await client.messages.batches.retrieve("msgbatch_9");
  await until(() => asked.length === 3, "the gateway to look");
  assert.equal((await logs("own")).length, 0);
  answers["GET /v1/messages/batches/msgbatch_9"] = json({ ...batch, processing_status: "ended", results_url: "https://api.anthropic.com/v1/messages/batches/msgbatch_9/results" });
  await until(async () => {
    await Promise.all([client.messages.batches.retrieve("msgbatch_9"), client.messages.batches.retrieve("msgbatch_9")]);
    return (await logs("own")).length === 4;
  }, "four logs");
  for await (const line of await client.messages.batches.results("msgbatch_9")) assert.ok(line.custom_id);
  const rows = await logs("own");
  assert.deepEqual(rows.map(({ event_id, success, status_code }) => [event_id, success, status_code]), [["a", 1, 200], ["b", 0, 400], ["c", 0, 499], ["d", 1, 200]]);
  near(rows.reduce((sum, { cost }) => sum + (cost ?? 0), 0), 2 * (100 * 0.5 + 10 * 2.5) / 1e6, "the lines");
  // Every look was taken with the caller's key, and no table has it.
  const looks = gw.upstream.requests.filter(({ url }) => url.includes("msgbatch_9"));
  assert.ok(looks.length >= 4 && looks.every(({ headers }) => headers.authorization === "Bearer sk-ant-own-key-of-the-caller"));
  assert.deepEqual(await gw.rows("SELECT about FROM batches WHERE about LIKE '%own-key%'"), []);
});

test("Gemini's results are read from their file, and where they stand in the batch itself", async () => {
  const response = { candidates: [{ content: { role: "model", parts: [{ text: "ramen" }] }, finishReason: "STOP" }], modelVersion: "gemini-2.5-flash", usageMetadata: { promptTokenCount: 100, candidatesTokenCount: 10, totalTokenCount: 110 } };
  for (const [id, done, file] of [
    ["inline", { inlinedResponses: { inlinedResponses: [{ metadata: { key: "a" }, response }, { metadata: { key: "b" }, error: { code: 3, message: "no" } }] } }, null],
    ["filed", { responsesFile: "files/r1" }, [{ key: "a", response }, { key: "b", error: { code: 3, message: "no" } }]],
  ]) {
    const before = (await logs("google")).length;
    answers["POST /v1beta/models/gemini-2.5-flash:batchGenerateContent"] = json({ name: `batches/${id}`, metadata: { state: "BATCH_STATE_PENDING" } });
    answers[`GET /v1beta/batches/${id}`] = json({ name: `batches/${id}`, metadata: { state: "BATCH_STATE_SUCCEEDED" }, done: true, response: done });
    if (file) answers["GET /v1beta/files/r1:download?alt=media"] = lines(file);
    const made = await gw.call("google-ai-studio/v1beta/models/gemini-2.5-flash:batchGenerateContent", { gateway: "google", json: { batch: { display_name: "x", input_config: { file_name: "files/x" } } }, headers: OWN });
    assert.equal(made.status, 200, await made.text());
    await until(async () => (await gw.rows("SELECT id FROM batches WHERE id = ?", id)).length === 1, "the batch to be remembered");
    await read(id);
    const rows = (await logs("google")).slice(before);
    assert.deepEqual(rows.map(({ event_id, status_code, tokens_in }) => [event_id, status_code, tokens_in]), [["a", 200, 100], ["b", 400, null]], id);
    near(rows[0].cost, (100 * 0.15 + 10 * 1.25) / 1e6, id);
  }
});

test("Mistral's results are read from both of their files, at a price of one's own", async () => {
  const model = "mistral-small-2603";
  const rule = { account_provider_id: "mistral", model, token_pricing: { input_tokens: 1e-6, output_tokens: 2e-6, service_tiers: { batch: 0.5 } } };
  assert.equal((await gw.api("/custom-providers/costs", { method: "POST", body: JSON.stringify(rule) })).status, 200);
  const job = { id: "job-1", object: "batch", input_files: ["in"], endpoint: "/v1/chat/completions", model, errors: [], created_at: 1, total_requests: 2, completed_requests: 0, succeeded_requests: 0, failed_requests: 0 };
  answers["POST /v1/batch/jobs"] = json({ ...job, status: "QUEUED" });
  answers["GET /v1/batch/jobs/job-1"] = json({ ...job, status: "SUCCESS", output_file: "out-1", error_file: "err-1" });
  answers["GET /v1/files/out-1/content"] = lines([{ id: "b-1", custom_id: "a", response: { status_code: 200, body: { ...completion(1), model } }, error: null }]);
  answers["GET /v1/files/err-1/content"] = lines([{ id: "b-2", custom_id: "b", response: { status_code: 422, body: { message: "no messages" } }, error: null }]);
  const made = await gw.call("mistral/v1/batch/jobs", { gateway: "mistral", json: { input_files: ["in"], endpoint: "/v1/chat/completions", model }, headers: OWN });
  assert.equal(made.status, 200, await made.text());
  await until(async () => (await gw.rows("SELECT id FROM batches WHERE id = 'job-1'")).length === 1, "the batch to be remembered");
  await read("job-1");
  const rows = await logs("mistral");
  assert.deepEqual(rows.map(({ event_id, status_code, provider, tokens_in }) => [event_id, status_code, provider, tokens_in]), [["a", 200, "mistral", 1000], ["b", 422, "mistral", null]]);
  near(rows[0].cost, (1000 * 1 + 100 * 2) / 2e6, "the line");
});

test("where logs are off, lines are counted and leave none", async () => {
  openai("batch_3", [openaiLine(1), openaiLine(2)]);
  await create("quiet");
  await read("batch_3");
  assert.equal((await logs("quiet")).length, 0);
  await until(async () => Math.abs((await spent("quiet")) - 2 * LINE_COST) < 1e-9, "the budget to learn of it");
  await until(async () => Math.abs((await gw.result("/gateways/quiet/analytics?granularity=day")).totals.cost - 2 * LINE_COST) < 1e-9, "the charts");
});

test("hostile results become logs of failures, or none, and the batch is done", async () => {
  openai("batch_4", []);
  answers["GET /v1/files/file-out-batch_4/content"] = { status: 200, headers: { "content-type": "application/octet-stream" }, body: `{"custom_id":"x"}\n[]\n\u0000\n{"response":{"status_code":99999999,"body":"text"}}\n${"[".repeat(10_000)}\n\n` };
  const before = (await logs("gw")).length;
  await create("gw");
  await read("batch_4");
  const rows = (await logs("gw")).slice(before);
  assert.equal(rows.length, 5);
  assert.ok(rows.every(({ cost }) => !cost));
  openai("batch_5", []);
  answers["GET /v1/batches/batch_5"] = { status: 404, headers: { "content-type": "application/json" }, body: "{}" };
  await create("gw");
  await read("batch_5");
  assert.match((await gw.rows("SELECT note FROM batches WHERE id = 'batch_5'"))[0].note, /answered 404/);
});
