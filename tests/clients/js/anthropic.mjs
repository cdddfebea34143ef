// npm's `@anthropic-ai/sdk`.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { CITY, PROMPT, TEXT, WEATHER, failing, gather, run } from "./_case.mjs";

const open = ({ url, key, headers }) => new Anthropic({ apiKey: key, baseURL: `${url}/anthropic`, defaultHeaders: headers, maxRetries: 0 });
const tools = [{ name: "weather", input_schema: { type: "object", properties: { city: { type: "string" } } } }];
const asked = (content, more) => ({ model: "claude-sonnet-4-5", max_tokens: 100, messages: [{ role: "user", content }], ...more });

await run("@anthropic-ai/sdk (npm)", { of: "@anthropic-ai/sdk", providers: ["anthropic"] }, {
  async chat(at) {
    assert.equal((await open(at).messages.create(asked(PROMPT))).content[0].text, TEXT);
    assert.equal((await open(at).messages.countTokens({ model: "claude-sonnet-4-5", messages: asked(PROMPT).messages })).input_tokens, 20);
  },
  async stream(at) {
    const stream = await open(at).messages.create(asked(PROMPT, { stream: true }));
    const pieces = async function* () {
      for await (const event of stream) yield event.type === "content_block_delta" ? event.delta.text : "";
    };
    assert.equal(await gather(pieces(), at.first), TEXT);
  },
  async tools(at) {
    const first = await open(at).messages.stream(asked("How is the weather?", { tools })).finalMessage();
    const call = first.content.find(({ type }) => type === "tool_use");
    assert.deepEqual([call.name, call.input, first.stop_reason], ["weather", { city: CITY }, "tool_use"]);
    const result = { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "rain" }] };
    const messages = [...asked("How is the weather?").messages, { role: "assistant", content: first.content }, result];
    assert.equal((await open(at).messages.create({ ...asked(""), messages, tools })).content[0].text, WEATHER);
  },
  async files(at) {
    const { files } = open(at).beta;
    const made = await files.upload({ file: new File(["ramen"], "a.txt", { type: "text/plain" }) });
    assert.equal((await files.retrieveMetadata(made.id)).filename, "a.txt");
    await files.delete(made.id);
    // A batch's results are at an address that its answer names, and the client follows it with its credential.
    const { batches } = open(at).messages;
    const batch = await batches.create({ requests: [{ custom_id: "one", params: asked(PROMPT) }] });
    assert.equal((await batches.retrieve(batch.id)).processing_status, "ended");
    const results = [];
    for await (const { result } of await batches.results(batch.id)) results.push(result.message.content[0].text);
    assert.deepEqual(results, [TEXT]);
  },
  embeddings: "the provider has none",
  media: "the provider makes none",
  async errors(at) {
    const ask = (status) => open(at).messages.create(asked(failing(status)));
    await assert.rejects(ask(429), (error) => error instanceof Anthropic.RateLimitError && /as you wish/.test(error.message));
    await assert.rejects(ask(500), Anthropic.InternalServerError);
  },
  async token(at) {
    assert.equal((await open({ ...at, key: at.token, headers: {} }).messages.create(asked(PROMPT))).content[0].text, TEXT);
    assert.equal((await open({ ...at, key: "unused" }).messages.stream(asked(PROMPT)).finalMessage()).content[0].text, TEXT);
  },
  async feedback(at) {
    const { response } = await open(at).messages.create(asked(PROMPT)).withResponse();
    await at.judge(response.headers.get("cf-aig-log-id"));
  },
});
