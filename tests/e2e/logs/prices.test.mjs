// What a request costs, what says so, and past logs priced anew.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, until } from "../harness.mjs";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  await gw.create("gw");
});
after(() => gw.stop());

const send = async (method, path, body) => {
  const answer = await gw.api(path, { method, body: body && JSON.stringify(body) });
  const { result, errors } = await answer.json();
  return { status: answer.status, result, errors };
};
const price = async (fields) => {
  const { status, result, errors } = await send("POST", "/custom-providers/costs", { account_provider_id: "openai", model: "gpt-4o", ...fields });
  assert.equal(status, 200, JSON.stringify(errors));
  return result;
};
const drop = ({ id }) => send("DELETE", `/custom-providers/costs/${id}`);

/** An answer of 1000 and 100 tokens, and its log. */
async function chat({ provider = "openai", model = "gpt-4o", answered = model, usage = {}, headers, gateway = "gw" } = {}) {
  const body = { id: "chatcmpl-1", object: "chat.completion", model: answered, choices: [], usage: { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100, ...usage } };
  gw.upstream.next({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  const answer = await gw.call(`${provider}/chat/completions`, { json: { ...CHAT, model }, headers, gateway });
  await answer.arrayBuffer();
  return gw.logOf(answer, gateway);
}
const priced = async (given) => {
  const { cost, price_rule } = await chat(given);
  return [cost, price_rule];
};

test("a log names what priced it: the list, the account's rule, the provider or the caller", async () => {
  const { prices_as_of } = await (await fetch(`${gw.url}/health`)).json();
  const [listed, from] = await priced();
  assert.ok(listed > 0);
  assert.equal(from, `list:${prices_as_of}`);
  assert.deepEqual(await priced({ usage: { cost: 0.125 } }), [0.125, "provider"]);
  assert.deepEqual(await priced({ model: "unheard-of" }), [null, null]);
  const rule = await price({ cost_in: 0.000002, cost_out: 0.00001 });
  assert.deepEqual(await priced(), [0.003, `rule:${rule.id}`]);
  assert.deepEqual(await priced({ usage: { cost: 0.125 } }), [0.003, `rule:${rule.id}`]);
  const headers = { "cf-aig-custom-cost": JSON.stringify({ total_cost: 7 }) };
  const custom = await chat({ headers });
  assert.deepEqual([custom.cost, custom.price_rule, custom.custom_cost], [7, "request", true]);
  // The rule is for OpenAI alone, holds while it is enabled, and a change of it at once.
  assert.notEqual((await chat({ provider: "groq" })).price_rule, `rule:${rule.id}`);
  await send("PATCH", `/custom-providers/costs/${rule.id}`, { cost_in: 0 });
  assert.deepEqual(await priced(), [0.001, `rule:${rule.id}`]);
  await send("PATCH", `/custom-providers/costs/${rule.id}`, { enable: false });
  assert.deepEqual(await priced(), [listed, from]);
  await drop(rule);
});

test("the most telling rule counts, for the model of the answer before that of the request", async () => {
  const rules = {};
  for (const [name, fields] of Object.entries({ part: { model_rule: "contains", model: "4o" }, start: { model_rule: "starts-with", model: "GPT-" }, exact: { model: "gpt-4o" } })) {
    rules[name] = await price({ cost_in: 0, cost_out: 0, ...fields });
  }
  const by = async (given) => (await chat(given)).price_rule;
  assert.equal(await by({ model: "gpt-4o" }), `rule:${rules.exact.id}`);
  assert.equal(await by({ model: "gpt-4o-mini" }), `rule:${rules.start.id}`);
  assert.equal(await by({ model: "chat4o" }), `rule:${rules.part.id}`);
  assert.equal(await by({ model: "my-own", answered: "gpt-4o" }), `rule:${rules.exact.id}`);
  assert.equal(await by({ model: "gpt-4o", answered: "gpt-4o-2031-01-31" }), `rule:${rules.start.id}`);
  for (const rule of Object.values(rules)) await drop(rule);
});

test("a custom provider is priced by its rules, kind by kind of token", async () => {
  const { result: provider } = await send("POST", "/custom-providers", { name: "Acme", slug: "acme", base_url: `${gw.upstream.origin}/openai/v1`, enable: true });
  const usage = { prompt_tokens_details: { cached_tokens: 600 }, completion_tokens_details: { reasoning_tokens: 40 } };
  assert.deepEqual(await priced({ provider: "custom-acme", model: "m", usage }), [null, null]);
  const token_pricing = { input_tokens: 0.000001, input_cached_tokens: 0.0000001, output_tokens: 0.00001, output_reasoning_tokens: 0.00002 };
  const rule = await price({ account_provider_id: provider.id, model: "m", token_pricing });
  // 400 × 1 + 600 × 0.1 + 60 × 10 + 40 × 20 millionths.
  assert.deepEqual(await priced({ provider: "custom-acme", model: "m", usage }), [0.00186, `rule:${rule.id}`]);
  await send("PATCH", `/custom-providers/costs/${rule.id}`, { token_pricing: { total_tokens: 0.000001 } });
  assert.deepEqual(await priced({ provider: "custom-acme", model: "m" }), [0.0011, `rule:${rule.id}`]);
  await send("DELETE", `/custom-providers/${provider.id}`);
  assert.equal((await send("GET", `/custom-providers/costs/${rule.id}`)).status, 404);
});

test("prices are checked: a price per million tokens is none per token", async () => {
  for (const [fields, path] of [
    [{ cost_in: 2.5 }, ["cost_in"]], [{ cost_in: -0.000001 }, ["cost_in"]], [{ cost_in: "1" }, ["cost_in"]], [{}, ["cost_in"]], [{ cost_in: 0, model_rule: "regex" }, ["model_rule"]], [{ cost_in: 0, cost_type: "images" }, ["cost_type"]],
    [{ cost_in: 0, account_provider_id: "nobody" }, ["account_provider_id"]], [{ cost_in: 0, model: "" }, ["model"]], [{ token_pricing: { input_image_count: 0.00001 } }, ["token_pricing", "input_image_count"]], [{ cost_in: 0, costs: 1 }, ["costs"]],
  ]) {
    const { status, errors } = await send("POST", "/custom-providers/costs", { account_provider_id: "openai", model: "gpt-4o", ...fields });
    assert.deepEqual([status, errors[0].code, errors[0].path], [400, 7001, ["body", ...path]], JSON.stringify(fields));
  }
});

test("past logs are priced anew on request, after a look at what that would change", async () => {
  await gw.create("past");
  const one = () => chat({ gateway: "past" });
  const before = [await one(), await one()];
  const custom = await chat({ gateway: "past", headers: { "cf-aig-custom-cost": JSON.stringify({ total_cost: 7 }) } });
  const other = await chat({ gateway: "past", model: "gpt-4o-mini" });
  const rule = await price({ cost_in: 0.000002, cost_out: 0.00001 });
  const run = async (body) => {
    const begun = await send("POST", "/gateways/past/logs/reprice", body);
    assert.equal(begun.status, 200, JSON.stringify(begun.errors));
    let job = begun.result;
    await until(async () => (job = (await send("GET", `/gateways/past/logs/reprice/${job.id}`)).result).processed, "the new prices");
    return job;
  };
  const costs = async () => (await gw.result("/gateways/past/logs?order_by_direction=asc")).map(({ cost, price_rule }) => [cost, price_rule]);
  const was = await costs();
  const total = (list) => Number(list.reduce((sum, [cost]) => sum + cost, 0).toFixed(12));

  const tried = await run({ dry_run: true });
  assert.deepEqual([tried.dry_run, tried.error, tried.logs_seen, tried.logs_changed], [true, null, 4, 2]);
  assert.deepEqual([tried.cost_before, tried.cost_after], [total(was), Number((7 + other.cost + 0.006).toFixed(12))]);
  assert.deepEqual(await costs(), was);

  // One of them by its id, and then all.
  const first = await run({ filters: [{ key: "id", operator: "eq", value: [before[0].id] }] });
  assert.deepEqual([first.logs_seen, first.logs_changed], [1, 1]);
  const now = [0.003, `rule:${rule.id}`];
  assert.deepEqual(await costs(), [now, ...was.slice(1)]);
  const rest = await run({});
  assert.deepEqual([rest.logs_seen, rest.logs_changed, rest.cost_after], [4, 1, tried.cost_after]);
  assert.deepEqual(await costs(), [now, now, [7, "request"], [other.cost, other.price_rule]]);
  assert.equal((await run({})).logs_changed, 0);
  assert.equal((await gw.result(`/gateways/past/logs/${custom.id}`)).custom_cost, true);

  // Without the rule the list holds again.
  await drop(rule);
  assert.equal((await run({ start_date: "2020-01-01T00:00:00Z" })).logs_changed, 2);
  assert.deepEqual(await costs(), was);
  const trail = await gw.result("/audit?gateway=past&action=logs.reprice");
  assert.deepEqual(trail.map(({ fields }) => fields), [["start_date"], [], [], ["filters"], ["dry_run"]]);
});

test("a job belongs to its gateway, and wants a selection that means something", async () => {
  const { result } = await send("POST", "/gateways/gw/logs/reprice", { dry_run: true });
  await gw.create("beside");
  assert.equal((await send("GET", `/gateways/beside/logs/reprice/${result.id}`)).status, 404);
  for (const [body, path] of [[{ dry_run: "yes" }, "dry_run"], [{ filter: [] }, "filter"], [{ search: "" }, "search"], [{ filters: "x" }, "filters"], [{ start_date: "never" }, "start_date"]]) {
    const { status, errors } = await send("POST", "/gateways/gw/logs/reprice", body);
    assert.deepEqual([status, errors[0].path.slice(0, 2)], [400, ["body", path]], JSON.stringify(errors));
  }
});

test("prices have the dimensions that answers have, as JSON and as a stream", async () => {
  const sonnet = (usage) => ({ id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5-20250929", content: [], stop_reason: "end_turn", usage });
  const response = (more) => ({ id: "resp_1", object: "response", status: "completed", model: "gpt-5", output: [], usage: { input_tokens: 1_000, output_tokens: 1_000, total_tokens: 2_000 }, ...more });
  const chatted = (model, usage) => ({ id: "c", object: "chat.completion", model, choices: [], usage });
  const anthropic = ({ usage, ...message }) => [
    ["message_start", { message: { ...message, usage: { ...usage, output_tokens: 1 } } }],
    ["message_delta", { delta: { stop_reason: "end_turn" }, usage: { input_tokens: 0, output_tokens: usage.output_tokens } }],
    ["message_stop", {}],
  ];
  const responses = (answer) => [["response.created", { response: { ...answer, usage: null, service_tier: "auto" } }], ["response.completed", { response: answer }]];
  const plain = (answer) => [[undefined, answer]];
  const cases = [
    ["an hour in the cache", "anthropic/v1/messages", sonnet({ input_tokens: 200, output_tokens: 10, cache_creation_input_tokens: 11_350, cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 11_350 } }), anthropic, 0.06885, { input_cache_write_1h_tokens: 11_350 }],
    ["searches", "anthropic/v1/messages", sonnet({ input_tokens: 100, output_tokens: 20, server_tool_use: { web_search_requests: 3 } }), anthropic, 0.0306, { web_search_requests: 3 }],
    ["flex", "openai/responses", response({ service_tier: "flex" }), responses, 0.005625, { service_tier: "flex" }],
    ["priority", "openai/responses", response({ service_tier: "priority" }), responses, 0.0225, { service_tier: "priority" }],
    ["scale", "openai/responses", response({ service_tier: "scale" }), responses, null, { service_tier: "reserved" }],
    ["a search of OpenAI's", "openai/responses", response({ output: [{ type: "web_search_call", action: { type: "search" } }] }), responses, 0.02125, { web_search_requests: 1 }],
    ["sound", "openai/chat/completions", chatted("gpt-4o-audio-preview-2025-06-03", { prompt_tokens: 150, completion_tokens: 310, total_tokens: 460, prompt_tokens_details: { audio_tokens: 100, text_tokens: 50 }, completion_tokens_details: { audio_tokens: 300, text_tokens: 10 } }), plain, 0.028225, { input_audio_tokens: 100, output_audio_tokens: 300 }],
    ["sound of Gemini's", "google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent", { candidates: [{ content: { parts: [{ text: "x" }] }, finishReason: "STOP" }], modelVersion: "gemini-2.5-flash", usageMetadata: { promptTokenCount: 99_100, candidatesTokenCount: 1, totalTokenCount: 99_101, promptTokensDetails: [{ modality: "AUDIO", tokenCount: 99_000 }, { modality: "TEXT", tokenCount: 100 }] } }, plain, 0.0990325, { input_audio_tokens: 99_000 }],
    ["images", "openai/images/generations", { created: 1, model: "gpt-image-1", data: [], usage: { input_tokens: 1_050, output_tokens: 1_056, total_tokens: 2_106, input_tokens_details: { image_tokens: 1_000, text_tokens: 50 } } }, plain, 0.05249, { input_image_tokens: 1_000 }],
    ["a key of one's own", "openrouter/chat/completions", chatted("openai/gpt-4o", { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15, cost: 0, is_byok: true, cost_details: { upstream_inference_cost: 0.0360795 } }), plain, 0.0360795, {}],
  ];
  for (const [name, path, answer, events, cost, counts] of cases) {
    const stream = events(answer).map(([type, data]) => `${type ? `event: ${type}\n` : ""}data: ${JSON.stringify(type ? { type, ...data } : data)}\n\n`).join("");
    for (const [body, kind] of [[JSON.stringify(answer), "application/json"], [stream, "text/event-stream"]]) {
      gw.upstream.next({ body, headers: { "content-type": kind } });
      const got = await gw.call(path, { gateway: "gw", json: { model: answer.model } });
      assert.equal(await got.text(), body, name);
      const log = await gw.logOf(got, "gw");
      assert.equal(log.cost, cost, `${name} ${kind}: ${log.cost_unknown}`);
      assert.equal(typeof log.cost_unknown, cost === null ? "string" : "object", name);
      for (const [count, value] of Object.entries(counts)) assert.equal(log.usage_metadata[count], value, `${name} ${kind}`);
    }
  }
});

test("a rule of the account says rates of its own for all of them", async () => {
  const rule = await price({ model: "m", token_pricing: { input_tokens: 0.000001, output_tokens: 0.000002, input_audio_tokens: 0.00001, web_search_requests: 0.5, service_tiers: { flex: 0.5 } } });
  const usage = { prompt_tokens: 1_000, completion_tokens: 100, prompt_tokens_details: { audio_tokens: 400 } };
  assert.deepEqual(await priced({ model: "m", usage }), [0.0048, `rule:${rule.id}`]);
  const missing = await chat({ model: "m", usage: { ...usage, completion_tokens_details: { audio_tokens: 50 } } });
  assert.equal(missing.cost, null);
  assert.match(missing.cost_unknown, /50 output_audio_tokens/);
  await drop(rule);
});
