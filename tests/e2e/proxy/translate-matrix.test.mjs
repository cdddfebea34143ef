// Official clients do a task with two tools against a model behind each format. The table in docs/translation.md is what happened.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";
import { ANSWER, QUESTION, RESULTS, TOKENS, TOOLS, agent } from "../../agent.mjs";
import { ACCOUNT, Gateway, until } from "../harness.mjs";

let gw, base;
before(async () => {
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  await gw.create("gw");
  const custom = { name: "own", slug: "own", base_url: `${gw.upstream.origin}/own`, enable: true, formats: ["responses"] };
  assert.equal((await gw.api("/custom-providers", { method: "POST", body: JSON.stringify(custom) })).status, 200);
  gw.upstream.answer = agent;
  base = `${gw.url}/v1/${ACCOUNT}/gw/ai`;
});
after(() => gw.stop());

/** A model behind each format, and the provider that its log names. */
const MODELS = {
  "Chat completions": ["groq/llama-test", "groq"],
  Responses: ["custom-own/gpt-test", "custom-own"],
  Messages: ["anthropic/claude-sonnet-4-5", "anthropic"],
  Gemini: ["google-ai-studio/gemini-2.5-flash", "google-ai-studio"],
  Converse: ["aws-bedrock/us-east-1/us.amazon.nova-pro-v1:0", "aws-bedrock"],
};

const said = (name, input) => {
  const wanted = { weather: { city: "Paris é" }, clock: { zone: "CET" } }[name];
  assert.deepEqual(input, wanted);
  return RESULTS[name];
};

/** Each does the task, and gives what the model said last. */
const CLIENTS = {
  "openai, chat completions": async (model, stream, defaultHeaders) => {
    const client = new OpenAI({ apiKey: "sk-client", baseURL: `${base}/v1`, maxRetries: 0, defaultHeaders });
    const messages = [{ role: "user", content: QUESTION }];
    const tools = TOOLS.map((tool) => ({ type: "function", function: tool }));
    for (;;) {
      const asked = { model, messages, tools };
      const answer = stream ? await client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } }).finalChatCompletion() : await client.chat.completions.create(asked);
      const [{ message, finish_reason }] = answer.choices;
      assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.prompt_tokens_details.cached_tokens], [TOKENS.in, TOKENS.out, 4]);
      const calls = message.tool_calls ?? [];
      assert.equal(finish_reason, calls.length > 0 ? "tool_calls" : "stop");
      if (calls.length === 0) return message.content;
      messages.push(message, ...calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: said(call.function.name, JSON.parse(call.function.arguments)) })));
    }
  },
  "openai, responses": async (model, stream, defaultHeaders) => {
    const client = new OpenAI({ apiKey: "sk-client", baseURL: `${base}/v1`, maxRetries: 0, defaultHeaders });
    const input = [{ role: "user", content: QUESTION }];
    const tools = TOOLS.map((tool) => ({ type: "function", ...tool, strict: false }));
    for (;;) {
      const asked = { model, input, tools, store: false };
      const answer = stream ? await client.responses.stream(asked).finalResponse() : await client.responses.create(asked);
      assert.deepEqual([answer.status, answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.input_tokens_details.cached_tokens], ["completed", TOKENS.in, TOKENS.out, 4]);
      const calls = answer.output.filter(({ type }) => type === "function_call");
      if (calls.length === 0) return answer.output_text;
      const made = answer.output.map(({ parsed_arguments: _, ...item }) => item);
      input.push(...made, ...calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: said(call.name, JSON.parse(call.arguments)) })));
    }
  },
  "@anthropic-ai/sdk": async (model, stream, defaultHeaders) => {
    const client = new Anthropic({ apiKey: "sk-client", baseURL: base, maxRetries: 0, defaultHeaders });
    const messages = [{ role: "user", content: QUESTION }];
    const tools = TOOLS.map(({ parameters, ...tool }) => ({ ...tool, input_schema: parameters }));
    for (;;) {
      const asked = { model, messages, tools, max_tokens: 500 };
      const answer = stream ? await client.messages.stream(asked).finalMessage() : await client.messages.create(asked);
      assert.deepEqual([answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens], [TOKENS.in - 4, 4, TOKENS.out]);
      const calls = answer.content.filter(({ type }) => type === "tool_use");
      assert.equal(answer.stop_reason, calls.length > 0 ? "tool_use" : "end_turn");
      if (calls.length === 0) return answer.content.map(({ text }) => text).join("");
      messages.push({ role: "assistant", content: answer.content }, { role: "user", content: calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: said(call.name, call.input) })) });
    }
  },
  "@google/genai": async (model, stream, headers) => {
    const client = new GoogleGenAI({ apiKey: "sk-client", httpOptions: { baseUrl: base, headers } });
    const contents = [{ role: "user", parts: [{ text: QUESTION }] }];
    const functionDeclarations = TOOLS.map(({ parameters, ...tool }) => ({ ...tool, parametersJsonSchema: parameters }));
    for (;;) {
      const asked = { model, contents, config: { tools: [{ functionDeclarations }] } };
      const parts = [];
      let usage, finish;
      const answers = stream ? await client.models.generateContentStream(asked) : [await client.models.generateContent(asked)];
      for await (const answer of answers) {
        parts.push(...(answer.candidates?.[0]?.content?.parts ?? []));
        usage = answer.usageMetadata ?? usage;
        finish = answer.candidates?.[0]?.finishReason ?? finish;
      }
      assert.deepEqual([finish, usage.promptTokenCount, usage.candidatesTokenCount, usage.cachedContentTokenCount], ["STOP", TOKENS.in, TOKENS.out, 4]);
      const calls = parts.flatMap((part) => part.functionCall ?? []);
      if (calls.length === 0) return parts.map(({ text }) => text ?? "").join("");
      contents.push({ role: "model", parts }, { role: "user", parts: calls.map(({ id, name, args }) => ({ functionResponse: { ...(id && { id }), name, response: { output: said(name, args) } } })) });
    }
  },
};

const FORMATS = { "openai, chat completions": "chat", "openai, responses": "responses", "@anthropic-ai/sdk": "messages", "@google/genai": "gemini" };
const SAME = { "openai, chat completions": "Chat completions", "openai, responses": "Responses", "@anthropic-ai/sdk": "Messages", "@google/genai": "Gemini" };

const cells = new Map();
for (const [client, run] of Object.entries(CLIENTS)) {
  for (const [format, [model, provider]] of Object.entries(MODELS)) {
    for (const stream of [false, true]) {
      test(`${client} on ${format}${stream ? ", streamed" : ""}`, async () => {
        const tag = `${client} ${format} ${stream}`;
        const before = gw.upstream.requests.length;
        assert.equal(await run(model, stream, { "cf-aig-metadata": JSON.stringify({ run: tag }) }), ANSWER);
        assert.equal(gw.upstream.requests.length - before, 3);
        let rows = [];
        await until(async () => (rows = await gw.rows("SELECT logs.* FROM logs JOIN log_metadata ON log_id = id WHERE key = 'run' AND value LIKE ?", `%${tag}%`)).length === 3, "the logs");
        const translated = SAME[client] === format ? null : FORMATS[client];
        for (const row of rows) {
          assert.deepEqual([row.provider, row.success, row.error, row.tokens_in, row.tokens_out, row.tokens_cached, row.translated_from], [provider, 1, null, row.cached_beside ? TOKENS.in - 4 : TOKENS.in, TOKENS.out, 4, translated], tag);
        }
        cells.set(tag, translated ? "translated" : "as it is");
      });
    }
  }
}

test("the table of the documentation is what happened", () => {
  const formats = Object.keys(MODELS);
  const lines = [`| client | ${formats.join(" | ")} |`, `|---|${formats.map(() => "---|").join("")}`];
  for (const client of Object.keys(CLIENTS)) {
    const cell = (format) => [false, true].map((stream) => cells.get(`${client} ${format} ${stream}`) ?? "fails").join(", streamed: ").replace(/^(.*), streamed: \1$/, "$1");
    lines.push(`| ${client} | ${formats.map(cell).join(" | ")} |`);
  }
  const file = new URL("../../../docs/translation.md", import.meta.url);
  const text = readFileSync(file, "utf8");
  const table = /(<!-- matrix -->\n)[^]*?(\n<!-- end of matrix -->)/;
  const wanted = text.replace(table, `$1${lines.join("\n")}$2`);
  if (process.env.UPDATE_MATRIX) writeFileSync(file, wanted);
  else assert.equal(text, wanted, "run this test with UPDATE_MATRIX=1 to renew the table");
});
