// The requests of coding agents, as the programs make them, until their task ends on models of every format: what the agent got, what the
// provider got, and what the logs say. tests/clients/ runs the programs themselves.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { ANSWER, QUESTION, RESULTS, TOOLS, agent } from "../../agent.mjs";
import { Gateway, until } from "../harness.mjs";

const MODELS = {
  "GPT-shaped": ["custom-own/gpt-5", "custom-own"],
  "chat-shaped": ["groq/llama-3.3-70b-versatile", "groq"],
  "Gemini-shaped": ["google-ai-studio/gemini-2.5-pro", "google-ai-studio"],
  "Claude-shaped": ["anthropic/claude-sonnet-4-5", "anthropic"],
};
const SESSION = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  const custom = { name: "own", slug: "own", base_url: `${gw.upstream.origin}/own`, enable: true, formats: ["responses"] };
  assert.equal((await gw.api("/custom-providers", { method: "POST", body: JSON.stringify(custom) })).status, 200);
  gw.upstream.answer = agent;
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

/** The data of a stream's events. */
async function events(answer) {
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return text.split("\n\n").filter(Boolean).map((event) => JSON.parse(event.split("\n").find((line) => line.startsWith("data: ")).slice(6)));
}

/** Holds the rows of a task against what came to the provider. */
async function logged(gateway, provider, format, requests) {
  let rows;
  await until(async () => (rows = await gw.result(`/gateways/${gateway}/logs?per_page=50`)).length >= requests, "a row for each request");
  const translated = provider === { messages: "anthropic", responses: "custom-own" }[format] ? null : format;
  for (const row of rows) assert.deepEqual([row.provider, row.success, row.translated_from ?? null, row.tokens_out], [provider, true, translated, 5]);
  assert.equal(rows.length, requests);
  return rows;
}

/** Claude Code's loop: everything that it got goes back, with marks for the cache, and reminders behind the results. */
async function claudeCode(gateway, model) {
  const mark = { cache_control: { type: "ephemeral" } };
  const tools = TOOLS.map(({ name, description, parameters }) => ({ name, description, input_schema: { $schema: "http://json-schema.org/draft-07/schema#", additionalProperties: false, ...parameters } }));
  const messages = [{ role: "user", content: [{ type: "text", text: "<system-reminder>be brief</system-reminder>" }, { type: "text", text: QUESTION, ...mark }] }];
  for (let turn = 1; turn < 9; turn += 1) {
    const body = {
      model, messages, tools, stream: true, max_tokens: 32_000, temperature: 1,
      system: [{ type: "text", text: "You are Claude Code.", ...mark }, { type: "text", text: "Do as you are asked.", ...mark }],
      metadata: { user_id: `user_${"a".repeat(64)}_account__session_${SESSION}` },
      thinking: { type: "enabled", budget_tokens: 31_999 },
    };
    const headers = { "x-api-key": "sk-client-0123456789", "anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14", "x-app": "cli" };
    const blocks = [];
    let reason;
    for (const event of await events(await gw.call("ai/v1/messages?beta=true", { gateway, json: body, headers }))) {
      if (event.type === "content_block_start") blocks.push({ ...event.content_block, json: "" });
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") blocks.at(-1).text += event.delta.text;
      if (event.type === "content_block_delta" && event.delta.type === "input_json_delta") blocks.at(-1).json += event.delta.partial_json;
      if (event.type === "message_delta") reason = event.delta.stop_reason;
    }
    const content = blocks.map(({ json, ...block }) => (block.type === "tool_use" ? { ...block, input: JSON.parse(json) } : block));
    const calls = content.filter(({ type }) => type === "tool_use");
    if (calls.length === 0) {
      assert.equal(reason, "end_turn");
      return [content.map(({ text }) => text).join(""), turn];
    }
    assert.equal(reason, "tool_use");
    const results = calls.map(({ id, name }, index) => ({ type: "tool_result", tool_use_id: id, content: RESULTS[name], ...(index === calls.length - 1 && mark) }));
    messages.push({ role: "assistant", content }, { role: "user", content: [...results, { type: "text", text: "<system-reminder>go on</system-reminder>" }] });
  }
  throw new Error("the task does not end");
}

/** Codex's loop: nothing is stored, and every item goes back. */
async function codex(gateway, model) {
  const tools = [...TOOLS.map((tool) => ({ type: "function", strict: false, ...tool })), ...(model.startsWith("custom") ? [] : [{ type: "web_search", external_web_access: false }])];
  const message = (role, text) => ({ type: "message", role, content: [{ type: "input_text", text }] });
  const input = [message("developer", "<permissions>all</permissions>"), message("user", "<environment_context/>"), message("user", QUESTION)];
  for (let turn = 1; turn < 9; turn += 1) {
    const body = { model, instructions: "You are Codex.", input, tools, tool_choice: "auto", parallel_tool_calls: true, reasoning: { effort: "medium", summary: "auto" }, store: false, stream: true, include: ["reasoning.encrypted_content"], prompt_cache_key: SESSION, text: { verbosity: "low" } };
    const all = await events(await gw.call("ai/v1/responses", { gateway, json: body, headers: { authorization: "Bearer sk-client-0123456789", originator: "codex_exec", session_id: SESSION } }));
    const items = all.filter(({ type }) => type === "response.output_item.done").map(({ item }) => item);
    assert.equal(all.at(-1).type, "response.completed");
    const calls = items.filter(({ type }) => type === "function_call");
    if (calls.length === 0) return [items.flatMap(({ content }) => content ?? []).map(({ text }) => text).join(""), turn];
    input.push(...items, ...calls.map(({ call_id, name }) => ({ type: "function_call_output", call_id, output: RESULTS[name] })));
  }
  throw new Error("the task does not end");
}

let made = 0;
for (const [shape, [model, provider]] of Object.entries(MODELS)) {
  test(`Claude Code on a ${shape} model`, async () => {
    const gateway = await gw.create(`agents-${(made += 1)}`);
    assert.deepEqual(await claudeCode(gateway, model), [ANSWER, 3]);
    const rows = await logged(gateway, provider, "messages", 3);
    assert.ok(rows.every(({ session_id }) => session_id === SESSION));
    // What only Anthropic takes went to no other provider.
    if (provider !== "anthropic") assert.ok(gw.upstream.requests.every(({ headers, body }) => !headers["anthropic-beta"] && !/cache_control|system_fingerprint/.test(body)));
  });

  test(`Codex on a ${shape} model`, async () => {
    const gateway = await gw.create(`agents-${(made += 1)}`);
    assert.deepEqual(await codex(gateway, model), [ANSWER, 3]);
    await logged(gateway, provider, "responses", 3);
    // The search that it offers beside its own tools is left out.
    if (provider !== "custom-own") assert.ok(gw.upstream.requests.every(({ body }) => !String(body).includes("web_search")));
  });
}
