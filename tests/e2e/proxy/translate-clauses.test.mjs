// What holds between all formats: state that only its provider reads, the end of a stream that fails, names that agents send, bytes that are not translated, and what custom providers speak.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { events } from "../../agent.mjs";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  await gw.create("gw", { model_aliases: { "claude-*": "groq/all", "claude-haiku-*": "groq/small", "claude-haiku-4-5": "groq/exact" } });
  for (const format of ["chat", "responses", "messages", "gemini"]) {
    const made = await gw.api("/custom-providers", { method: "POST", body: JSON.stringify({ name: `c${format}`, slug: `c${format}`, base_url: `${gw.upstream.origin}/own`, enable: true, formats: [format] }) });
    assert.equal(made.status, 200, await made.clone().text());
  }
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const json = (body) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });
const sk = { authorization: "Bearer sk-client-0123456789" };
const call = (path, body, headers = sk) => gw.call(path, { json: body, headers });
const sent = () => JSON.parse(gw.upstream.last.body);
const usage = { input_tokens: 3, output_tokens: 2, total_tokens: 5 };
const TOOL = { name: "look", description: "Looks", input_schema: { type: "object", properties: {} } };

test("what OpenAI encrypted goes back to it through Anthropic's client, and to no other provider", async () => {
  const item = { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "Hm." }], encrypted_content: "gAAA+/=sealed" };
  const asked = { model: "openai/gpt-5.6", max_tokens: 4096, thinking: { type: "enabled", budget_tokens: 2048 }, tools: [TOOL], messages: [{ role: "user", content: "Look." }] };
  gw.upstream.next(json({ id: "resp_1", object: "response", status: "completed", model: "gpt-5.6", output: [item, { type: "function_call", id: "fc_1", call_id: "call_1", name: "look", arguments: "{}", status: "completed" }], usage }));
  const first = await (await call("ai/v1/messages", asked)).json();
  assert.deepEqual([first.stop_reason, first.content.map(({ type }) => type)], ["tool_use", ["thinking", "tool_use"]]);
  assert.deepEqual(sent().include, ["reasoning.encrypted_content"]);
  const more = { ...asked, messages: [...asked.messages, { role: "assistant", content: first.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: first.content[1].id, content: "seen" }] }] };
  gw.upstream.next(json({ id: "resp_2", object: "response", status: "completed", model: "gpt-5.6", output: [], usage }));
  await call("ai/v1/messages", more);
  assert.deepEqual(sent().input.slice(1).map(({ type, encrypted_content }) => encrypted_content ?? type), ["gAAA+/=sealed", "function_call", "function_call_output"]);
  for (const model of ["groq/llama", "custom-cgemini/gemini-3-pro"]) {
    gw.upstream.next(json(model.startsWith("groq") ? { choices: [] } : { candidates: [] }));
    const other = await call("ai/v1/messages", { ...more, model });
    await gw.logOf(other);
    assert.ok(!gw.upstream.last.body.toString().includes("sealed"), model);
  }
});

test("Gemini's signature of a call goes back through a client of chat completions that keeps nothing but the id", async () => {
  const asked = { model: "custom-cgemini/gemini-3-pro", messages: [{ role: "user", content: "Look." }], tools: [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }] };
  gw.upstream.next(json({ candidates: [{ content: { role: "model", parts: [{ functionCall: { name: "look", args: {} }, thoughtSignature: "c2lnbmVk+/==" }] }, finishReason: "STOP", index: 0 }], responseId: "r1" }));
  const [made] = (await (await call("ai/v1/chat/completions", asked)).json()).choices[0].message.tool_calls;
  const { id, function: own } = made;
  const more = { ...asked, messages: [...asked.messages, { role: "assistant", content: null, tool_calls: [{ id, type: "function", function: own }] }, { role: "tool", tool_call_id: id, content: "seen" }] };
  gw.upstream.next(json({ candidates: [] }));
  await call("ai/v1/chat/completions", more);
  const parts = sent().contents.flatMap(({ parts }) => parts);
  assert.equal(parts.find(({ functionCall }) => functionCall).thoughtSignature, "c2lnbmVk+/==");
  assert.equal(parts.filter(({ functionResponse }) => functionResponse).length, 1);
  // Another provider gets an id that it takes, with the call and with its result.
  gw.upstream.next(json({ content: [] }));
  await call("ai/v1/chat/completions", { ...more, model: "anthropic/claude-opus-5" });
  const [use] = sent().messages[1].content.filter(({ type }) => type === "tool_use");
  assert.match(use.id, /^[a-zA-Z0-9_-]{1,64}$/);
  assert.equal(sent().messages[2].content[0].tool_use_id, use.id);
  assert.ok(!gw.upstream.last.body.toString().includes("c2lnbmVk"));
});

test("a thought that Anthropic signed goes back through a client of Responses, first in its turn", async () => {
  const asked = { model: "anthropic/claude-sonnet-4-5", store: false, reasoning: { effort: "medium", summary: "auto" }, tools: [{ type: "function", name: "look", parameters: { type: "object", properties: {} } }], input: [{ role: "user", content: "Look." }] };
  const content = [{ type: "thinking", thinking: "Hm.", signature: "sig+/==" }, { type: "redacted_thinking", data: "hidden+/==" }, { type: "tool_use", id: "toolu_1", name: "look", input: {} }];
  gw.upstream.next(json({ id: "msg_1", type: "message", role: "assistant", model: "claude", content, stop_reason: "tool_use", usage }));
  const { output } = await (await call("ai/v1/responses", asked)).json();
  gw.upstream.next(json({ id: "msg_2", type: "message", role: "assistant", model: "claude", content: [{ type: "text", text: "Done." }], stop_reason: "end_turn", usage }));
  await call("ai/v1/responses", { ...asked, input: [...asked.input, ...output, { type: "function_call_output", call_id: output.at(-1).call_id, output: "seen" }] });
  assert.deepEqual(sent().messages[1].content, content);
  assert.equal(sent().thinking.type, "enabled");
});

const ENDS = {
  "ai/v1/chat/completions": { body: { model: "", stream: true, messages: [{ role: "user", content: "x" }] }, error: /data: \{"error":\{/, clean: /\[DONE\]|"finish_reason":"/ },
  "ai/v1/responses": { body: { model: "", stream: true, store: false, input: "x" }, error: /event: (response\.failed|error)\n/, clean: /response\.completed|response\.incomplete/ },
  "ai/v1/messages": { body: { model: "", stream: true, max_tokens: 50, messages: [{ role: "user", content: "x" }] }, error: /event: error\n/, clean: /message_stop|"stop_reason":"/ },
  gemini: { body: { contents: [{ role: "user", parts: [{ text: "x" }] }] }, error: /data: \{"error":\{/, clean: /finishReason/ },
};

const FAILS = {
  "custom-cchat/m": ["chat", 'data: {"error":{"message":"Overloaded","type":"server_error"}}\n\n'],
  "custom-cresponses/m": ["responses", 'event: response.failed\ndata: {"type":"response.failed","response":{"id":"resp_0","status":"failed","error":{"code":"server_error","message":"Overloaded"},"output":[]}}\n\n'],
  "custom-cmessages/m": ["messages", 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'],
  "custom-cgemini/m": ["gemini", 'data: {"error":{"code":503,"message":"Overloaded","status":"UNAVAILABLE"}}\n\n'],
};

for (const [door, { body, error, clean }] of Object.entries(ENDS)) {
  test(`a stream that fails ends at ${door} as its clients expect, whichever provider failed`, async () => {
    for (const [model, [format, failure]] of Object.entries(FAILS)) {
      if (door.endsWith(format === "chat" ? "completions" : format)) continue;
      const begun = events[format](0, { model: "m" }).slice(0, 2);
      for (const stream of [[...begun, failure], begun]) {
        gw.upstream.next({ events: stream });
        const path = door === "gemini" ? `ai/v1beta/models/${model}:streamGenerateContent?alt=sse` : door;
        const answer = await call(path, door === "gemini" ? body : { ...body, model });
        const text = await answer.text();
        assert.match(text, error, `${model}: ${text}`);
        assert.doesNotMatch(text, clean, model);
        if (stream.length > 2) assert.match(text, /Overloaded/, model);
        const log = await gw.logOf(answer);
        assert.deepEqual([log.success, log.provider], [false, model.split("/")[0]]);
      }
    }
  });
}

test("an alias is exact first and then the longest, and no alias means another", async () => {
  for (const [model, wanted] of [["claude-haiku-4-5", "exact"], ["claude-haiku-4-5-20251001", "small"], ["claude-opus-5", "all"], ["claude-", "all"]]) {
    gw.upstream.next(json({ choices: [] }));
    const answer = await call("ai/v1/messages", { model, max_tokens: 5, messages: [{ role: "user", content: "x" }] });
    assert.equal(sent().model, wanted, model);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.provider, log.model], ["groq", wanted]);
  }
  const refused = await gw.api("/gateways/gw", { method: "PUT", body: JSON.stringify({ ...(await gw.result("/gateways/gw")), model_aliases: { small: "claude-opus" } }) });
  assert.equal(refused.status, 400);
});

test("a request in its provider's own format keeps its bytes but for the model, and so does the answer", async () => {
  const odd = '{"z":1,  "model" : "NAME" ,"messages":[ {"content":"\\u00e9 \u{1F35C}","role":"user"}],"max_tokens":5, "unknown":{"b":2,"a":1}, "n":1.0}';
  const said = '{ "weird":true,"choices":[ ] ,"content":[]}';
  for (const [path, model, name] of [["ai/v1/messages", "anthropic/claude-x", "claude-x"], ["ai/v1/messages", "custom-cmessages/m", "m"], ["ai/v1/chat/completions", "groq/llama", "llama"], ["ai/v1/chat/completions", "openai/gpt-5.6", "gpt-5.6"], ["compat/chat/completions", "anthropic/claude-x", "claude-x"]]) {
    gw.upstream.next({ body: said, headers: { "content-type": "application/json" } });
    const answer = await gw.call(path, { method: "POST", body: odd.replace("NAME", model), headers: { ...sk, "content-type": "application/json" } });
    assert.deepEqual([await answer.text(), gw.upstream.last.body.toString()], [said, odd.replace("NAME", name)], `${path} ${model}`);
    assert.equal((await gw.logOf(answer)).translated_from ?? null, null);
  }
});

test("a provider of the account's own is asked in the format that it speaks", async () => {
  const ask = { max_tokens: 5, messages: [{ role: "user", content: "x" }] };
  for (const [model, url, key] of [["custom-cchat/m", "/chat/completions", "authorization"], ["custom-cresponses/m", "/responses", "authorization"], ["custom-cgemini/m", "/models/m:generateContent", "x-goog-api-key"], ["custom-cmessages/m", "/messages", "x-api-key"]]) {
    const door = model === "custom-cmessages/m" ? "ai/v1/chat/completions" : "ai/v1/messages";
    gw.upstream.next(json({ id: "a", choices: [], output: [], candidates: [], content: [], status: "completed", stop_reason: "end_turn" }));
    const answer = await call(door, { ...ask, model });
    const { headers } = gw.upstream.last;
    assert.deepEqual([answer.status, gw.upstream.last.url, headers[key]?.replace("Bearer ", "")], [200, url, "sk-client-0123456789"], model);
    assert.equal((await gw.logOf(answer)).provider, model.split("/")[0]);
  }
});

test("images, speech and rankings go to their providers, below Cloudflare's address, too", async () => {
  const rest = (path, body) => fetch(`${gw.url}/client/v4/accounts/${ACCOUNT}/ai/v1/${path}`, { method: "POST", headers: { "content-type": "application/json", "cf-aig-gateway-id": "gw", "cf-aig-authorization": `Bearer ${TOKEN}`, ...sk }, body: JSON.stringify(body) });
  for (const [path, body, url] of [
    ["images/generations", { model: "openai/gpt-image-1", prompt: "ramen" }, "/v1/images/generations"],
    ["audio/speech", { model: "groq/playai-tts", input: "Ramen.", voice: "a" }, "/openai/v1/audio/speech"],
    ["rerank", { model: "cohere/rerank-v3.5", query: "lunch", documents: ["ramen"] }, "/v2/rerank"],
    ["embeddings", { model: "mistral/mistral-embed", input: "x" }, "/v1/embeddings"],
  ]) {
    for (const asked of [() => call(`ai/v1/${path}`, body), () => rest(path, body)]) {
      gw.upstream.next(json({ id: "a", data: [], results: [] }));
      const answer = await asked();
      assert.equal(answer.status, 200, await answer.clone().text());
      assert.deepEqual([gw.upstream.last.url, sent()], [url, { ...body, model: body.model.split("/")[1] }], path);
      assert.equal((await gw.logOf(answer)).provider, body.model.split("/")[0]);
    }
  }
  const refused = await call("ai/v1/rerank", { model: "anthropic/claude-opus-5", query: "x", documents: [] });
  assert.equal(refused.status, 400);
  assert.match((await refused.json()).error.message, /cohere/);
});
