// npm's `openai`, and its Azure.
import assert from "node:assert/strict";
import OpenAI, { AzureOpenAI } from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";
import { CITY, PROMPT, TEXT, WEATHER, failing, gather, run } from "./_case.mjs";

const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } }];
const user = (content) => ({ role: "user", content });
const client = ({ url, key, headers }) => new OpenAI({ apiKey: key, baseURL: `${url}/openai`, defaultHeaders: headers, maxRetries: 0 });
const azure = ({ url, key, headers, resource }, version = "2024-10-21") => new AzureOpenAI({ apiKey: key, endpoint: `${url}/azure-openai/${resource}`, apiVersion: version, defaultHeaders: headers, maxRetries: 0 });

/** The features that both have, with a client for each case. */
const common = (open, model, { media }) => ({
  async chat(at) {
    const done = await open(at).chat.completions.create({ model, messages: [user(PROMPT)] });
    assert.equal(done.choices[0].message.content, TEXT);
    const response = await open(at, "2025-04-01-preview").responses.create({ model, input: PROMPT });
    assert.equal(response.output_text, TEXT);
  },
  async stream(at) {
    const stream = await open(at).chat.completions.create({ model, messages: [user(PROMPT)], stream: true, stream_options: { include_usage: true } });
    const pieces = async function* () {
      for await (const { choices } of stream) yield choices[0]?.delta.content;
    };
    assert.equal(await gather(pieces(), at.first), TEXT);
    const events = await open(at, "2025-04-01-preview").responses.create({ model, input: PROMPT, stream: true });
    let last;
    for await (const event of events) last = event;
    assert.equal(last.type, "response.completed");
  },
  async tools(at) {
    const messages = [user("How is the weather?")];
    const { choices: [{ message }] } = await open(at).chat.completions.create({ model, messages, tools });
    const [call] = message.tool_calls;
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["weather", { city: CITY }]);
    messages.push(message, { role: "tool", tool_call_id: call.id, content: "rain" });
    const stream = open(at).chat.completions.stream({ model, messages, tools, stream_options: { include_usage: true } });
    assert.equal(await stream.finalContent(), WEATHER);
    const streamed = open(at).chat.completions.stream({ model, messages: messages.slice(0, 1), tools, stream_options: { include_usage: true } });
    assert.equal((await streamed.finalMessage()).tool_calls[0].function.arguments, JSON.stringify({ city: CITY }));
    const declared = [{ type: "function", ...tools[0].function, strict: false }];
    const first = await open(at, "2025-04-01-preview").responses.create({ model, input: [user("How is the weather?")], tools: declared });
    const { call_id } = first.output.find(({ type }) => type === "function_call");
    const second = await open(at, "2025-04-01-preview").responses.create({ model, input: [user("How is the weather?"), ...first.output, { type: "function_call_output", call_id, output: "rain" }], tools: declared });
    assert.equal(second.output_text, WEATHER);
  },
  async files(at) {
    const { files } = open(at);
    const made = await files.create({ file: new File(['{"a":1}\n'], "a.jsonl", { type: "application/jsonl" }), purpose: "batch" });
    assert.equal((await files.retrieve(made.id)).filename, "a.jsonl");
    assert.equal(await (await files.content(made.id)).text(), '{"a":1}\n');
    assert.equal((await files.list()).data.length, 1);
    assert.equal((await files.delete(made.id)).deleted, true);
  },
  async embeddings(at) {
    const { data } = await open(at).embeddings.create({ model: "text-embedding-3-small", input: ["lunch", "dinner"] });
    assert.deepEqual([data.length, data[0].embedding.length], [2, 8]);
  },
  media,
  async errors(at) {
    const ask = (status) => open(at).chat.completions.create({ model, messages: [user(failing(status))] });
    await assert.rejects(ask(429), (error) => error instanceof OpenAI.RateLimitError && /as you wish/.test(error.message));
    await assert.rejects(ask(500), OpenAI.InternalServerError);
  },
  async token(at) {
    const only = { ...at, key: at.token, headers: {} };
    assert.equal((await open(only).chat.completions.create({ model, messages: [user(PROMPT)] })).choices[0].message.content, TEXT);
    const stream = open({ ...at, key: "unused" }).chat.completions.stream({ model, messages: [user(PROMPT)], stream_options: { include_usage: true } });
    assert.equal(await stream.finalContent(), TEXT);
  },
  async feedback(at) {
    const { response } = await open(at).chat.completions.create({ model, messages: [user(PROMPT)] }).withResponse();
    await at.judge(response.headers.get("cf-aig-log-id"));
  },
});

/** Two responses over one connection. Its WebSockets have no default headers, so the token is its key. */
const socket = Object.assign(async (at) => {
  const connection = new ResponsesWS(client({ ...at, key: at.token, headers: {} }));
  for (let n = 0; n < 2; n += 1) {
    const done = new Promise((resolve, reject) => {
      connection.once("response.completed", resolve);
      connection.once("error", reject);
    });
    connection.send({ type: "response.create", model: "gpt-4o", input: PROMPT });
    assert.equal((await done).response.output[0].content[0].text, TEXT);
  }
  connection.close();
}, { settings: { keys: true } });

await run("openai (npm)", { of: "openai", providers: ["openai"] }, { socket, ...common(client, "gpt-4o", {
  async media(at) {
    const { data } = await client(at).images.generate({ model: "gpt-image-1", prompt: "ramen" });
    assert.match(data[0].b64_json, /^iVBOR/);
    const sound = Buffer.from(await (await client(at).audio.speech.create({ model: "gpt-4o-mini-tts", voice: "alloy", input: "ramen" })).arrayBuffer());
    const heard = await client(at).audio.transcriptions.create({ model: "gpt-4o-transcribe", file: new File([sound], "a.mp3", { type: "audio/mpeg" }) });
    assert.equal(heard.text, TEXT);
  },
}) });
await run("openai (npm), AzureOpenAI", { of: "openai", providers: ["azure-openai"] }, { socket: "see openai", ...common(azure, "my-deployment", {
  async media(at) {
    const { data } = await azure(at).images.generate({ model: "my-images", prompt: "ramen" });
    assert.match(data[0].b64_json, /^iVBOR/);
  },
}) });
