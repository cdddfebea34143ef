// What must not leave in answers that are streams of other kinds, or not known as streams.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { crc32 } from "node:zlib";
import { frame } from "../../agent.mjs";
import { Gateway } from "../harness.mjs";

const CARD = /4111.{0,3}1111.{0,3}1111/;
const PARTS = ["My card is 41", "11 1111", " 1111 11", "11, ok? ", "Well."];
const REDACTED = "My card is [CARD_1], ok? Well.";
const sk = { authorization: "Bearer sk-client-0123456789" };
let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ "aws-bedrock": "bedrock-api-key-0123456789" }) } });
  for (const action of ["FLAG", "BLOCK", "REDACT"]) await gw.create(action.toLowerCase(), { dlp: { enabled: true, action, profiles: ["financial"] } });
});
after(() => gw.stop());

const chunk = (content) => JSON.stringify({ id: "c", model: "gpt-4o-mini", choices: [{ index: 0, delta: { content }, finish_reason: null }] });
const datas = (text) => text.split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)));
const ask = (gateway, path, json) => gw.call(path, { gateway, json, headers: sk });
/** What the log keeps of the answer. */
const kept = async (gateway, answer) => (await gw.api(`/gateways/${gateway}/logs/${(await gw.logOf(answer, gateway)).id}/response`)).text();

test("a stream that is said to be a text is looked at all the same", async () => {
  const events = [...PARTS.map((part) => `data: ${chunk(part)}\n\n`), "data: [DONE]\n\n"];
  for (const type of ["text/plain", "application/octet-stream", "TEXT/EVENT-STREAM; charset=utf-8"]) {
    for (const gateway of ["redact", "block"]) {
      gw.upstream.next({ events, pause: 5, headers: { "content-type": type } });
      const answer = await ask(gateway, "openai/chat/completions", { model: "gpt-4o-mini", stream: true, messages: [{ role: "user", content: "tell" }] });
      const text = await answer.text();
      const said = datas(text).map((data) => data.choices?.[0]?.delta?.content ?? "").join("");
      assert.doesNotMatch(said, CARD, `${type} ${gateway}`);
      assert.doesNotMatch(await kept(gateway, answer), CARD, `${type} ${gateway}`);
      if (gateway === "redact") assert.equal(said, REDACTED, type);
    }
  }
});

test("lines of JSON are looked at", async () => {
  const lines = PARTS.map((content, n) => `${JSON.stringify({ model: "llama3", message: { role: "assistant", content }, done: n === PARTS.length - 1 })}\n`);
  for (const gateway of ["redact", "block"]) {
    gw.upstream.next({ events: lines, pause: 5, headers: { "content-type": "application/x-ndjson" } });
    const answer = await ask(gateway, "workers-ai/@cf/meta/llama-3.1-8b-instruct", { stream: true, messages: [{ role: "user", content: "tell" }] });
    const text = await answer.text();
    const said = answer.ok ? text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line).message?.content ?? "").join("") : "";
    assert.doesNotMatch(said, CARD, gateway);
    assert.doesNotMatch(await kept(gateway, answer), CARD, gateway);
  }
});

test("Gemini's array is looked at element by element", async () => {
  const element = (text) => JSON.stringify({ candidates: [{ content: { parts: [{ text }], role: "model" }, index: 0 }], usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 5, totalTokenCount: 8 }, modelVersion: "gemini-2.5-flash" });
  const events = PARTS.map((part, n) => `${n === 0 ? "[" : ",\r\n"}${element(part)}${n === PARTS.length - 1 ? "]" : ""}`);
  for (const gateway of ["redact", "block"]) {
    gw.upstream.next({ events, pause: 5, headers: { "content-type": "application/json" } });
    const answer = await ask(gateway, "google-ai-studio/v1beta/models/gemini-2.5-flash:streamGenerateContent", { contents: [{ role: "user", parts: [{ text: "tell" }] }] });
    const text = await answer.text();
    assert.doesNotMatch(text, CARD, gateway);
    if (gateway === "redact") assert.equal(JSON.parse(text).map((one) => one.candidates?.[0]?.content?.parts?.[0]?.text ?? "").join(""), REDACTED);
    assert.doesNotMatch(await kept(gateway, answer), CARD, gateway);
  }
});

test("a compressed answer is looked at", async () => {
  for (const gateway of ["redact", "block"]) {
    gw.upstream.next({ gzip: true, body: JSON.stringify({ id: "c1", model: "gpt-4o-mini", choices: [{ index: 0, message: { role: "assistant", content: `My card is ${"4111 1111 1111 1111"}` }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } }), headers: { "content-type": "application/json" } });
    const answer = await ask(gateway, "openai/chat/completions", { model: "gpt-4o-mini", messages: [{ role: "user", content: "tell" }] });
    assert.doesNotMatch(await answer.text(), CARD, gateway);
    assert.doesNotMatch(await kept(gateway, answer), CARD, gateway);
  }
});

test("what a block begins with is part of its text", async () => {
  const event = (data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
  const events = [
    event({ type: "message_start", message: { id: "m", model: "claude-sonnet-4-5", content: [], usage: { input_tokens: 3, output_tokens: 1 } } }),
    event({ type: "content_block_start", index: 0, content_block: { type: "text", text: PARTS[0] } }),
    ...PARTS.slice(1).map((text) => event({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })),
    event({ type: "content_block_stop", index: 0 }),
    event({ type: "content_block_start", index: 1, content_block: { type: "text", text: "Again 4111 1111 1111 1111." } }),
    event({ type: "content_block_stop", index: 1 }),
    event({ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 9 } }),
    event({ type: "message_stop" }),
  ];
  for (const gateway of ["redact", "block"]) {
    gw.upstream.next({ events, pause: 5 });
    const answer = await ask(gateway, "anthropic/v1/messages", { model: "claude-sonnet-4-5", max_tokens: 50, stream: true, messages: [{ role: "user", content: "tell" }] });
    const said = datas(await answer.text()).map((data) => data.content_block?.text ?? data.delta?.text ?? "").join("");
    assert.doesNotMatch(said, CARD, gateway);
    if (gateway === "redact") assert.equal(said, `${REDACTED}Again [CARD_1].`);
    assert.doesNotMatch(await kept(gateway, answer), CARD, gateway);
  }
});

test("events of Responses that repeat a text have the same placeholder", async () => {
  const whole = PARTS.join("");
  const part = { type: "output_text", text: whole, annotations: [] };
  const item = { id: "msg_1", type: "message", role: "assistant", status: "completed", content: [part] };
  const event = (data, n) => `event: ${data.type}\ndata: ${JSON.stringify({ ...data, sequence_number: n })}\n\n`;
  const at = { item_id: "msg_1", output_index: 0, content_index: 0 };
  const events = [
    ...PARTS.map((delta) => ({ type: "response.output_text.delta", ...at, delta })),
    { type: "response.output_text.done", ...at, text: whole },
    { type: "response.content_part.done", ...at, part },
    { type: "response.output_item.done", output_index: 0, item },
    { type: "response.completed", response: { id: "resp_1", model: "gpt-4o-mini", status: "completed", output: [item], usage: { input_tokens: 3, output_tokens: 9, total_tokens: 12 } } },
  ].map(event);
  gw.upstream.next({ events, pause: 5 });
  const answer = await ask("redact", "openai/responses", { model: "gpt-4o-mini", stream: true, input: "tell" });
  const all = datas(await answer.text());
  assert.equal(all.map((data) => data.delta ?? "").join(""), REDACTED);
  const of = (type) => all.find((data) => data.type === type);
  assert.deepEqual([of("response.output_text.done").text, of("response.content_part.done").part.text, of("response.output_item.done").item.content[0].text, of("response.completed").response.output[0].content[0].text], [REDACTED, REDACTED, REDACTED, REDACTED]);
  assert.doesNotMatch(await kept("redact", answer), CARD);
});

/** The payloads of Amazon's frames, whose sums must be right. */
function payloads(bytes) {
  const all = [];
  for (let at = 0; at < bytes.length; ) {
    const [length, head] = [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)];
    const message = bytes.subarray(at, at + length);
    assert.equal(message.readUInt32BE(8), crc32(message.subarray(0, 8)), "the sum of a prelude");
    assert.equal(message.readUInt32BE(length - 4), crc32(message.subarray(0, length - 4)), "the sum of a frame");
    all.push(JSON.parse(message.subarray(12 + head, length - 4)));
    at += length;
  }
  return all;
}

test("Amazon's binary stream is looked at, and its frames stay right", async () => {
  const event = (name, payload) => frame({ ":message-type": "event", ":event-type": name, ":content-type": "application/json" }, payload);
  const events = [event("messageStart", { role: "assistant" }), ...PARTS.map((text) => event("contentBlockDelta", { contentBlockIndex: 0, delta: { text } })), event("contentBlockStop", { contentBlockIndex: 0 }), event("messageStop", { stopReason: "end_turn" }), event("metadata", { usage: { inputTokens: 3, outputTokens: 9, totalTokens: 12 }, metrics: { latencyMs: 5 } })];
  for (const gateway of ["redact", "block", "flag"]) {
    gw.upstream.next({ events, pause: 5, headers: { "content-type": "application/vnd.amazon.eventstream" } });
    const answer = await gw.call("aws-bedrock/bedrock-runtime/us-east-1/model/amazon.nova-lite-v1:0/converse-stream", { gateway, json: { messages: [{ role: "user", content: [{ text: "tell" }] }] } });
    const bytes = Buffer.from(await answer.arrayBuffer());
    const log = await gw.logOf(answer, gateway);
    if (gateway === "flag") {
      assert.deepEqual([payloads(bytes).map((one) => one.delta?.text ?? "").join(""), log.dlp_action], [PARTS.join(""), "FLAG"]);
      continue;
    }
    const said = answer.ok && answer.headers.get("content-type").includes("eventstream") ? payloads(bytes).map((one) => one.delta?.text ?? "").join("") : bytes.toString();
    assert.doesNotMatch(said, CARD, gateway);
    assert.doesNotMatch(await kept(gateway, answer), CARD, gateway);
    if (gateway === "redact") assert.deepEqual([said, log.dlp_action, log.tokens_out], [REDACTED, "REDACT", 9]);
  }
});
