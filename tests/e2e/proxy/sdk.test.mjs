import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { Gateway, TOKEN } from "../harness.mjs";

let gw, openai, anthropic;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw", { authentication: true });
  const defaultHeaders = { "cf-aig-authorization": `Bearer ${TOKEN}`, "cf-aig-metadata": JSON.stringify({ user: "JaneDoe", team: 12345, test: true }) };
  openai = new OpenAI({ apiKey: "sk-test", baseURL: `${gw.url}/v1/acct/gw/openai`, defaultHeaders, maxRetries: 0 });
  anthropic = new Anthropic({ apiKey: "sk-ant-test", baseURL: `${gw.url}/v1/acct/gw/anthropic`, defaultHeaders, maxRetries: 0 });
});
after(() => gw.stop());

const messages = [{ role: "user", content: "What should I eat for lunch?" }];

async function logged(response) {
  const log = await gw.logOf(response);
  assert.deepEqual(log.metadata, { user: "JaneDoe", team: 12345, test: true });
  return [log.success, log.tokens_in, log.tokens_out];
}

test("openai: chat completions, whole and streamed", async () => {
  const whole = await openai.chat.completions.create({ model: "gpt-4o", messages, max_tokens: 50 }).withResponse();
  assert.equal(whole.data.choices[0].message.content, "A bowl of ramen.");
  assert.deepEqual(await logged(whole.response), [true, 17, 6]);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-test");

  const { data, response } = await openai.chat.completions.create({ model: "gpt-4o", messages, stream: true }).withResponse();
  let text = "";
  for await (const chunk of data) text += chunk.choices[0]?.delta?.content ?? "";
  assert.equal(text, "A bowl of ramen, with a soft egg: 味玉 🥚");
  assert.deepEqual(await logged(response), [true, 17, 14]);
});

test("openai: responses, embeddings and errors", async () => {
  const { data, response } = await openai.responses.create({ model: "gpt-4.1", input: "Lunch?" }).withResponse();
  assert.equal(data.output_text, "Ramen, 味玉.");
  assert.deepEqual(await logged(response), [true, 33, 21]);
  const streamed = await openai.responses.create({ model: "gpt-4.1", input: "Lunch?", stream: true }).withResponse();
  const kinds = [];
  for await (const event of streamed.data) kinds.push(event.type);
  assert.equal(kinds.at(-1), "response.completed");
  assert.deepEqual(await logged(streamed.response), [true, 33, 21]);
  const embedded = await openai.embeddings.create({ model: "text-embedding-3-small", input: "lunch", encoding_format: "float" }).withResponse();
  assert.equal(embedded.data.data[0].embedding.length, 3);
  assert.deepEqual(await logged(embedded.response), [true, 9, null]);

  gw.upstream.next({ file: "openai/error.json", status: 404 });
  await assert.rejects(openai.chat.completions.create({ model: "gpt-9", messages }), (error) => error instanceof OpenAI.NotFoundError && /gpt-9/.test(error.message));
  const locked = new OpenAI({ apiKey: "sk-test", baseURL: `${gw.url}/v1/acct/gw/openai`, maxRetries: 0 });
  await assert.rejects(locked.models.list(), OpenAI.AuthenticationError);
});

test("anthropic: messages, whole and streamed", async () => {
  const whole = await anthropic.messages.create({ model: "claude-sonnet-4-5", max_tokens: 50, messages }).withResponse();
  assert.equal(whole.data.content[0].text, "Ramen.");
  assert.deepEqual(await logged(whole.response), [true, 20, 12]);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-ant-test");

  const stream = anthropic.messages.stream({ model: "claude-sonnet-4-5", max_tokens: 50, messages });
  const final = await stream.finalMessage();
  assert.deepEqual([final.content[0].text, final.usage.output_tokens], ["A bowl of ramen, with a soft egg: 味玉 🥚", 15]);
  assert.deepEqual(await logged(stream.response), [true, 20, 15]);
});
