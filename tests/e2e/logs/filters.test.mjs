import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Cloudflare from "cloudflare";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

let gw;
const ids = {};

/** Six logs that differ in everything that can be filtered by. */
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  const call = async (name, path, json, headers = {}) => {
    const answer = await gw.call(path, { json, headers });
    await answer.arrayBuffer();
    const log = await gw.logOf(answer);
    ids[name] = log.id;
  };
  const tags = (metadata) => ({ "cf-aig-metadata": JSON.stringify(metadata) });
  await call("chat", "openai/chat/completions", { model: "gpt-4o" }, { ...tags({ team: "AI", user: 12345, test: true }), "user-agent": "curl/8.0", "cf-aig-event-id": "trace-1" });
  await call("mini", "openai/chat/completions", { model: "gpt-4o-mini" }, tags({ team: "AI", user: "12346", test: false }));
  await call("claude", "anthropic/v1/messages", { model: "claude-sonnet-4-5" }, tags({ team: "Research", user: 9 }));
  gw.upstream.next({ status: 429, body: '{"error":{"message":"slow down"}}', headers: { "content-type": "application/json" } });
  await call("failed", "openai/chat/completions", { model: "gpt-4o" }, tags({ team: "AI (beta)", note: "AI" }));
  gw.upstream.next({ body: '{"object":"list","data":[]}', headers: { "content-type": "application/json" } });
  await call("list", "openai/models", undefined);
  await call("priced", "openai/chat/completions", { model: "gpt-4o" }, { "cf-aig-custom-cost": '{"total_cost":2.5}' });
  await gw.api(`/gateways/gw/logs/${ids.chat}`, { method: "PATCH", body: JSON.stringify({ feedback: 1, score: 90 }) });
  await gw.api(`/gateways/gw/logs/${ids.claude}`, { method: "PATCH", body: JSON.stringify({ feedback: -1, score: 20 }) });
  const said = await fetch(`${gw.url}/feedback/${ids.mini}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: JSON.stringify({ data: { rating: 3.5, topic: "billing" } }) });
  assert.equal(said.status, 200, await said.text());
});
after(() => gw.stop());

async function found(query) {
  const answer = await gw.api(`/gateways/gw/logs?${query}`);
  const body = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(body));
  return body.result.map(({ id }) => Object.keys(ids).find((name) => ids[name] === id)).sort();
}

const json = (...filters) => `filters=${encodeURIComponent(JSON.stringify(filters))}`;
const one = (key, operator, ...value) => json({ key, operator, value });

test("every key finds what it should", async () => {
  for (const [query, names] of [
    [one("id", "eq", ids.chat), ["chat"]],
    [one("created_at", "gt", "2020-01-01T00:00:00Z"), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("created_at", "lt", "2020-01-01T00:00:00Z"), []],
    [one("created_at", "contains", new Date().toISOString().slice(0, 4)), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("request_content_type", "eq", "application/json"), ["chat", "claude", "failed", "mini", "priced"]],
    [one("response_content_type", "contains", "JSON"), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("request_type", "eq", "native"), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("success", "eq", false), ["failed"]],
    [one("cached", "eq", true), []],
    [one("answered", "eq", false), []],
    [json({ key: "answered", operator: "eq", value: [true] }, { key: "attempt", operator: "eq", value: [1] }, { key: "step", operator: "lt", value: [1] }), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("credential", "neq", "request", "none"), []],
    [one("price_rule", "eq", "request"), ["priced"]],
    [one("provider", "neq", "openai"), ["claude"]],
    [one("model", "contains", "GPT-4O-"), ["mini"]],
    [one("model", "eq", "gpt-4o", "claude-sonnet-4-5"), ["chat", "claude", "failed", "priced"]],
    [one("request_content_type", "absent"), ["list"]],
    [one("response_id", "absent"), ["failed", "list"]],
    [one("cost", "gt", 1), ["priced"]],
    [one("tokens", "gt", "0"), ["chat", "claude", "mini", "priced"]],
    [one("tokens_in", "present"), ["chat", "claude", "mini", "priced"]],
    [one("tokens_out", "lt", 0), []],
    [one("duration", "lt", 60000), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("feedback", "eq", 1), ["chat"]],
    [one("feedback", "eq", null), ["failed", "list", "mini", "priced"]],
    [one("feedback", "neq", 1), ["claude", "failed", "list", "mini", "priced"]],
    [one("feedback", "neq", null), ["chat", "claude"]],
    [one("event_id", "eq", "trace-1"), ["chat"]],
    [one("metadata.key", "eq", "note"), ["failed"]],
    [one("metadata.value", "eq", "AI"), ["chat", "failed", "mini"]],
    // Key and value need not meet in one entry …
    [json({ key: "metadata.key", operator: "eq", value: ["note"] }, { key: "metadata.value", operator: "eq", value: ["AI (beta)"] }), ["failed"]],
    // … unless they are asked for as a pair.
    [one("metadata.note", "eq", "AI (beta)"), []],
    [one("metadata.team", "eq", "AI"), ["chat", "mini"]],
    [one("metadata.team", "neq", "AI"), ["claude", "failed", "list", "priced"]],
    [one("metadata.team", "contains", "ai"), ["chat", "failed", "mini"]],
    [one("metadata.user", "eq", "12345"), ["chat"]],
    [one("metadata.user", "eq", 12346), ["mini"]],
    // As numbers: as texts 9 would be more than 12345.
    [one("metadata.user", "gt", 100), ["chat", "mini"]],
    [one("metadata.user", "lt", "12346"), ["chat", "claude"]],
    [one("metadata.test", "eq", true), ["chat"]],
    [one("metadata.test", "eq", "false"), ["mini"]],
    [one("metadata.note", "present"), ["failed"]],
    [one("metadata.team", "absent"), ["list", "priced"]],
    [one("feedback.rating", "gt", 3), ["mini"]],
    [one("feedback.topic", "eq", "billing"), ["mini"]],
    [one("feedback.topic", "absent"), ["chat", "claude", "failed", "list", "priced"]],
    [one("authentication", "eq", false), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("wholesale", "eq", false), ["chat", "claude", "failed", "list", "mini", "priced"]],
    [one("compatibilityMode", "eq", true), []],
    [one("dlp_action", "eq", "BLOCK"), []],
    [one("guardrails_action", "present"), []],
    [one("guardrails_category", "eq", "S1"), []],
    [one("user_agent", "contains", "curl"), ["chat"]],
    [one("score", "gt", 50), ["chat"]],
    [one("status_code", "eq", 429), ["failed"]],
    [one("response_id", "present"), ["chat", "claude", "mini", "priced"]],
    [one("error", "contains", "slow down"), ["failed"]],
    [one("prompts.prompt_id", "eq", "x"), []],
    // All must hold, or any of an "or".
    [json({ key: "metadata.team", operator: "eq", value: ["AI"] }, { key: "model", operator: "eq", value: ["gpt-4o"] }), ["chat"]],
    [json({ or: [{ key: "feedback", operator: "eq", value: [-1] }, { key: "success", operator: "eq", value: [false] }] }), ["claude", "failed"]],
    // What older SDKs send.
    ["min_cost=1", ["priced"]],
    ["feedback=0", ["claude", "failed", "list", "mini", "priced"]],
    ["feedback=-1", ["claude"]],
    ["success=false&provider=openai", ["failed"]],
    ["end_date=2020-01-01T00:00:00Z", []],
    ["search=beta", ["failed"]],
    ["search=12346", ["mini"]],
    ["search=NOTE", ["failed"]],
  ]) {
    assert.deepEqual(await found(query), names, decodeURIComponent(query));
  }
});

test("model types are found by the name that logs show", async () => {
  const shown = await gw.result(`/gateways/gw/logs/${ids.chat}`);
  assert.ok((await found(one("model_type", "eq", shown.model_type))).includes("chat"));
});

test("the encodings of Cloudflare's SDKs mean the same, also with several values", async () => {
  const client = new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4` });
  const names = (page) => page.result.map(({ id }) => Object.keys(ids).find((name) => ids[name] === id)).sort();
  const filters = [{ key: "model", operator: "eq", value: ["gpt-4o", "gpt-4o-mini"] }, { key: "success", operator: "eq", value: [true] }];
  assert.deepEqual(names(await client.aiGateway.logs.list("gw", { account_id: ACCOUNT, filters })), ["chat", "mini", "priced"]);
  const python = "filters.key=provider&filters.key=success&filters.operator=eq&filters.operator=eq&filters.value=openai&filters.value=false";
  assert.deepEqual(await found(python), ["failed"]);
  assert.deepEqual(await found("filters[0][key]=provider&filters[0][operator]=eq&filters[0][value][]=anthropic"), ["claude"]);
});

test("what is wrong is refused with its place and what is allowed", async () => {
  for (const [query, path, allowed] of [
    [one("modle", "eq", "x"), ["query", "filters", "0", "key"], /'metadata\.<key>'/],
    [one("model", "like", "x"), ["query", "filters", "0", "operator"], /'contains'/],
    [one("success", "gt", true), ["query", "filters", "0", "operator"], /'neq'/],
    [one("cost", "gt", "much"), ["query", "filters", "0", "value", "0"], /number/],
    [one("created_at", "gt", "yesterday"), ["query", "filters", "0", "value", "0"], /2026/],
    [one("model", "eq"), ["query", "filters", "0", "value"], /at least one/],
    ["filters=%7B", ["query", "filters"], /JSON/],
    ["filters.key=model&filters.operator=eq", ["query", "filters", "0", "value"], /at least one/],
    ["min_cost=x", ["query", "min_cost"], /number/],
    ["meta_info=maybe", ["query", "meta_info"], /true or false/],
    ["cursor=x", ["query", "cursor"], /cursor/],
    [`cursor=${ids.chat}&order_by=model`, ["query", "cursor"], /created_at/],
    ["per_page=51", ["query", "per_page"], /1 to 50/],
    ["examine=999", ["query", "examine"], /1000 to 1000000/],
    ["examine=1000&page=2", ["query", "examine"], /cursor/],
    ["examine=1000&order_by=model", ["query", "examine"], /created_at/],
  ]) {
    const answer = await gw.api(`/gateways/gw/logs?${query}`);
    const [error] = (await answer.json()).errors;
    assert.deepEqual([answer.status, error.code, error.path], [400, 7001, path], query);
    assert.match(error.message, allowed);
  }
});

test("meta_info has the extremes of all matches and what they cost to find", async () => {
  const { result_info: info } = await (await gw.api(`/gateways/gw/logs?meta_info=true&per_page=1&${one("provider", "eq", "openai")}`)).json();
  assert.equal(info.max_cost, 2.5);
  assert.deepEqual([info.count, info.total_count, info.total_count_relation], [1, 5, "eq"]);
  for (const name of ["min_cost", "min_duration", "max_duration", "min_tokens_in", "max_tokens_in", "min_tokens_out", "max_tokens_out", "min_total_tokens", "max_total_tokens"]) {
    assert.equal(typeof info[name], "number", name);
  }
  assert.ok(info.rows_read >= 5);
});

test("pages past the end are empty, and a cursor goes on where it stood while logs arrive", async () => {
  assert.deepEqual((await (await gw.api("/gateways/gw/logs?page=99")).json()).result, []);
  const before = (await (await gw.api("/gateways/gw/logs?per_page=50")).json()).result.map(({ id }) => id);
  const seen = [];
  let cursor = "";
  do {
    const { result, result_info } = await (await gw.api(`/gateways/gw/logs?per_page=2&cursor=${cursor}`)).json();
    seen.push(...result.map(({ id }) => id));
    cursor = result_info.cursor;
    await gw.logOf(await gw.call("openai/models"));
  } while (cursor);
  assert.deepEqual(seen, before);
});

test("an export has every match, in each format, and can be taken up again", async () => {
  const text = async (query) => {
    const answer = await gw.api(`/gateways/gw/logs/export?${query}`);
    assert.equal(answer.status, 200);
    return { text: await answer.text(), headers: answer.headers };
  };
  const filter = one("metadata.team", "present");
  const lines = (await text(`format=jsonl&${filter}`)).text.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ id }) => id), [ids.chat, ids.mini, ids.claude, ids.failed]);
  assert.deepEqual(lines[0].metadata, { team: "AI", user: 12345, test: true });
  assert.equal(lines[0].request, undefined);
  const rest = (await text(`${filter}&cursor=${ids.mini}&bodies=true`)).text.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(rest.map(({ id }) => id), [ids.claude, ids.failed]);
  assert.equal(JSON.parse(rest[0].request).model, "claude-sonnet-4-5");
  const csv = await text(`format=csv&${filter}&order_by_direction=desc`);
  assert.match(csv.headers.get("content-type"), /^text\/csv/);
  const [head, ...rows] = csv.text.trim().split("\r\n");
  assert.match(head, /^id,created_at,provider,model,/);
  assert.deepEqual(rows.map((row) => row.slice(0, 26)), [ids.failed, ids.claude, ids.mini, ids.chat]);
  assert.ok(rows.at(-1).includes('"{""team"":""AI"",""test"":true,""user"":12345}"'), rows.at(-1));
  const limited = await text(`limit=3&${filter}`);
  assert.deepEqual([limited.text.trim().split("\n").length, limited.headers.get("x-next-cursor")], [3, ids.claude]);
  const tuned = await text("format=openai-finetune");
  // Of the stand-in's requests none has messages, so there is nothing to learn from; the feedback tests have some.
  assert.equal(tuned.text, "");
  assert.equal((await gw.api("/gateways/gw/logs/export?format=xml")).status, 400);
});

test("deleting takes the oldest of what matches, with all that belongs to it", async () => {
  await gw.create("del");
  const made = [];
  for (let n = 0; n < 4; n += 1) {
    const log = await gw.logOf(await gw.call("openai/chat/completions", { gateway: "del", json: { model: "gpt-4o" }, headers: { "cf-aig-metadata": `{"n":${n}}` } }), "del");
    made.push(log.id);
    await fetch(`${gw.url}/feedback/${log.id}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: '{"data":{"helpful":true}}' });
  }
  const remove = async (query) => (await gw.api(`/gateways/del/logs?${query}`, { method: "DELETE" })).json();
  assert.deepEqual(await remove(`limit=1&${one("metadata.n", "lt", 3)}`), { success: true, errors: [], messages: [], result: { deleted: 1 } });
  const left = async () => (await gw.result("/gateways/del/logs")).map(({ id }) => id).reverse();
  assert.deepEqual(await left(), made.slice(1));
  assert.equal((await remove("limit=1&order_by=created_at&order_by_direction=desc")).result.deleted, 1);
  assert.deepEqual(await left(), made.slice(1, 3));
  for (const table of ["log_bodies", "log_metadata", "log_feedback", "feedback_history"]) {
    const [{ n }] = await gw.rows(`SELECT count(*) AS n FROM ${table} WHERE log_id IN (?, ?)`, made[0], made[3]);
    assert.equal(n, 0, table);
  }
  // What is not understood must not mean "all of them".
  for (const [query, body] of [["limit=10001"], ["filter=%5B%5D"], ["metadata.n=1"], ["filters="], ["filters.key=model"], ["", "{}"]]) {
    const refused = await gw.api(`/gateways/del/logs?${query}`, { method: "DELETE", body });
    assert.equal(refused.status, 400, query);
  }
  const uneven = "filters.key=model&filters.key=provider&filters.operator=neq&filters.operator=eq&filters.value=a&filters.value=b&filters.value=openai";
  assert.match(JSON.stringify(await remove(uneven)), /as JSON/);
  assert.deepEqual(await left(), made.slice(1, 3));
  assert.deepEqual((await gw.result("/audit?action=logs.delete")).map(({ gateway_id, fields }) => [gateway_id, fields]), [["del", ["limit", "order_by", "order_by_direction"]], ["del", ["limit", "filters"]]]);
  await remove("");
  assert.deepEqual(await left(), []);
  // Nothing of another gateway went.
  assert.equal((await gw.result(`/gateways/gw/logs/${ids.chat}`)).id, ids.chat);
});
