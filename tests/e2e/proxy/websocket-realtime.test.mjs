// OpenAI's realtime sessions and Gemini's Live sessions: a row for each response or turn, with what was said and without audio.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { WebSocket } from "ws";
import { Providers } from "../../websockets.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
let providers;
before(async () => {
  providers = await Providers.start();
  gw = await Gateway.start({ bindings: { PROVIDER_BASE_URLS: JSON.stringify(providers.baseUrls) } });
});
beforeEach(() => (providers.behave = () => ({})));
after(async () => {
  await gw.stop();
  await providers.stop();
});

const GEMINI = "google-ai-studio/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const PCM = Buffer.alloc(4_800, 3).toString("base64");
/** What a response of the stand-in's costs: each kind of its tokens at its own price. */
const COST = (30 * 4 + 10 * 0.4 + 20 * 32 + 40 * 0.4 + 10 * 16 + 20 * 64) / 1e6;

async function open(path, { gateway, headers = {}, protocols = [] }) {
  const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/${gateway}/${path}`, protocols, { headers: { authorization: "Bearer sk-test", ...headers } });
  const connection = { socket, events: [], raw: [], send: (event) => socket.send(JSON.stringify(event)) };
  socket.on("message", (data, isBinary) => {
    connection.raw.push([isBinary, String(data)]);
    connection.events.push(JSON.parse(String(data)));
  });
  connection.closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, String(reason)])));
  await new Promise((resolve, reject) => {
    socket.on("open", resolve);
    socket.on("error", reject);
  });
  connection.provider = providers.last;
  connection.until = (count, is) => until(() => connection.events.filter(is).length >= count, `${count} events of ${connection.events.length}`);
  connection.close = () => {
    socket.close(1000);
    return connection.closed;
  };
  return connection;
}

const done = ({ type }) => type === "response.done";
const turned = ({ serverContent }) => serverContent?.turnComplete;

async function rows(count, gateway) {
  const sql = "SELECT logs.*, log_bodies.request, log_bodies.response FROM logs LEFT JOIN log_bodies ON log_bodies.log_id = logs.id AND log_bodies.seq = 0 JOIN gateways ON gateways.key = logs.gateway WHERE gateways.id = ? ORDER BY logs.id";
  let found = [];
  await until(async () => (found = await gw.rows(sql, gateway)).length >= count, `${count} rows of ${gateway}`);
  assert.equal(found.length, count, JSON.stringify(found.map(({ path, error, model }) => [path, error, model])));
  return found;
}

test("realtime: each response is a row with text, audio and cached tokens, what was said, and no audio", async () => {
  await gw.create("talk");
  const connection = await open("openai/realtime?model=gpt-realtime", { gateway: "talk", protocols: ["realtime"] });
  connection.send({ type: "conversation.item.create", event_id: "e1", item: { type: "message", role: "user", content: [{ type: "input_text", text: "Hello?" }, { type: "input_audio", audio: PCM }] } });
  connection.send({ type: "response.create", event_id: "e2", response: { output_modalities: ["audio"], instructions: "Be kind." } });
  await connection.until(1, done);
  providers.behave = () => ({ kind: "incomplete", response: { status_details: { type: "incomplete", reason: "max_output_tokens" } } });
  connection.send({ type: "response.create", event_id: "e3" });
  await connection.until(2, done);
  providers.behave = () => ({ kind: "failed", response: { usage: null, output: [], status_details: { type: "failed", error: { type: "server_error", code: "overloaded", message: "Try later." } } } });
  connection.send({ type: "response.create", event_id: "e4" });
  await connection.until(3, done);
  providers.behave = () => ({ error: "Invalid value: 'loud'." });
  connection.send({ type: "response.create", event_id: "e5", response: { output_modalities: ["loud"] } });
  await connection.until(1, ({ type }) => type === "error");
  await connection.close();
  const [first, second, third, fourth] = await rows(4, "talk");
  const { response } = connection.events.find(done);
  assert.deepEqual([first.model, first.answer_model, first.response_id, first.status_code, first.success, first.finish_reason, first.request_type], ["gpt-realtime", "gpt-realtime-2025-08-28", response.id, 200, 1, "completed", "websocket"]);
  assert.deepEqual([first.tokens_in, first.tokens_out, first.tokens_cached, first.cost], [100, 30, 50, COST]);
  assert.deepEqual(JSON.parse(first.usage_details), { input_audio_tokens: 60, input_cached_audio_tokens: 40, output_audio_tokens: 20 });
  assert.deepEqual(JSON.parse(first.response), response);
  const asked = JSON.parse(first.request);
  assert.deepEqual([asked.response, asked.input[0].content[0]], [{ output_modalities: ["audio"], instructions: "Be kind." }, { type: "input_text", text: "Hello?" }]);
  assert.ok(!first.request.includes(PCM.slice(0, 100)) && !first.response.includes("BwcHBw"));
  assert.deepEqual([second.finish_reason, second.success], ["max_output_tokens", 1]);
  assert.deepEqual([third.success, third.error, third.cost], [0, "provider: Try later.", null]);
  assert.deepEqual([fourth.status_code, fourth.error], [400, "provider: Invalid value: 'loud'."]);
});

test("realtime: what the provider answers by itself is a row, and so is what it wrote down", async () => {
  await gw.create("heard");
  const connection = await open("openai/v1/realtime?model=gpt-realtime", { gateway: "heard" });
  connection.send({ type: "input_audio_buffer.append", audio: PCM });
  connection.send({ type: "input_audio_buffer.commit" });
  await connection.until(1, done);
  await connection.close();
  const found = await rows(2, "heard");
  const [written, answered] = found.sort((a) => (a.response_id ? 1 : -1));
  assert.deepEqual([written.model, written.tokens_in, written.tokens_out, JSON.parse(written.response)], ["gpt-4o-mini-transcribe", 14, 7, { text: "What time is it?" }]);
  assert.ok(written.cost > 0);
  assert.deepEqual([answered.tokens_in, answered.cost], [100, COST]);
  assert.deepEqual(JSON.parse(answered.request).input, [{ type: "message", role: "user", content: [{ type: "input_audio", transcript: "What time is it?" }] }]);
  assert.deepEqual(connection.provider.received.map((message) => JSON.parse(message)), [{ type: "input_audio_buffer.append", audio: PCM }, { type: "input_audio_buffer.commit" }]);
});

test("realtime: a budget stops what is asked for, and ends what the provider begins by itself", async () => {
  await gw.create("spent", { spend_limits: { enabled: true, rules: [{ id: "all", limit: 0.002, limitType: "cost", window: 3600 }] } });
  const connection = await open("openai/realtime?model=gpt-realtime", { gateway: "spent" });
  connection.send({ type: "response.create", event_id: "e1" });
  await connection.until(1, done);
  connection.send({ type: "response.create", event_id: "e2" });
  await connection.until(1, ({ type }) => type === "error");
  const { error } = connection.events.find(({ type }) => type === "error");
  assert.deepEqual([error.code, error.event_id, error.type], ["insufficient_quota", "e2", "insufficient_quota"]);
  assert.match(error.message, /Spend limit exceeded/);
  assert.equal(connection.provider.received.length, 1);
  providers.behave = () => ({ hang: true, counted: false });
  connection.send({ type: "input_audio_buffer.commit" });
  await connection.until(2, done);
  assert.equal(JSON.parse(connection.provider.received.at(-1)).type, "response.cancel");
  await connection.close();
  const found = await rows(3, "spent");
  assert.deepEqual(found.map(({ status_code, finish_reason }) => [status_code, finish_reason]), [[200, "completed"], [429, null], [200, "client_cancelled"]]);
  const { spend } = await gw.result("/gateways/spent/limits");
  assert.ok(Math.abs(spend[0].counters[0].spent - 2 * COST) < 1e-9, JSON.stringify(spend));
});

test("realtime: payloads are not kept where the handshake says so, and keys and tokens go where they belong", async () => {
  await gw.create("quiet", { authentication: true });
  const connection = await open("azure-openai/res/openai/v1/realtime?model=gpt-realtime", { gateway: "quiet", headers: { "cf-aig-collect-log-payload": "false", "api-key": "sk-azure" }, protocols: ["realtime", `openai-insecure-api-key.${TOKEN}`] });
  connection.send({ type: "conversation.item.create", item: { type: "message", role: "user", content: [{ type: "input_text", text: "secret" }] } });
  connection.send({ type: "response.create" });
  await connection.until(1, done);
  await connection.close();
  const [row] = await rows(1, "quiet");
  assert.deepEqual([row.request, row.response, row.tokens_in, row.provider, row.authentication], [null, null, 100, "azure-openai", 1]);
  assert.ok(!JSON.stringify(providers.last.headers).includes(TOKEN));
});

test("live: each turn is a row with what both said, and no audio", async () => {
  await gw.create("live");
  const connection = await open(`${GEMINI}?key=sk-google`, { gateway: "live", headers: { authorization: "" } });
  connection.send({ setup: { model: "models/gemini-2.5-flash-native-audio-latest", generationConfig: { responseModalities: ["AUDIO"] } } });
  await connection.until(1, ({ setupComplete }) => setupComplete);
  connection.send({ clientContent: { turns: [{ role: "user", parts: [{ text: "Hello?" }] }], turnComplete: true } });
  await connection.until(1, turned);
  for (let n = 0; n < 3; n += 1) connection.send({ realtimeInput: { audio: { mimeType: "audio/pcm;rate=16000", data: PCM } } });
  providers.behave = () => ({ late: true });
  connection.send({ realtimeInput: { activityEnd: {} } });
  await connection.until(2, turned);
  providers.behave = () => ({ tool: true });
  connection.send({ clientContent: { turns: [{ role: "user", parts: [{ text: "By the clock?" }] }], turnComplete: true } });
  await connection.until(1, ({ toolCall }) => toolCall);
  connection.send({ toolResponse: { functionResponses: [{ id: "call_1", name: "clock", response: { time: "12:00" } }] } });
  await connection.until(3, turned);
  await connection.close();
  assert.ok(connection.raw.every(([isBinary]) => isBinary));
  const [first, second, third] = await rows(3, "live");
  assert.deepEqual([first.model, first.provider, first.tokens_in, first.tokens_out, first.total_tokens, first.finish_reason, first.success], ["gemini-2.5-flash-native-audio-latest", "google-ai-studio", 200, 40, 240, "turn_complete", 1]);
  assert.equal(first.cost, (80 * 0.5 + 120 * 3 + 40 * 12) / 1e6);
  assert.deepEqual(JSON.parse(first.request).contents, [{ role: "user", parts: [{ text: "Hello?" }] }]);
  assert.deepEqual(JSON.parse(first.response).candidates[0].content, { role: "model", parts: [{ text: "Hello there." }] });
  assert.deepEqual(JSON.parse(second.request).contents, [{ role: "user", parts: [{ text: "What time is it?" }] }]);
  assert.deepEqual([second.tokens_in, second.cost], [200, first.cost]);
  assert.deepEqual([third.tokens_in, third.tokens_out, third.total_tokens], [400, 80, 480]);
  assert.deepEqual(JSON.parse(third.response).candidates[0].content.parts, [{ text: "Hello there." }, { functionCall: { id: "call_1", name: "clock", args: {} } }]);
  assert.ok([first, second, third].every((row) => !row.request.includes(PCM.slice(0, 100)) && !row.response.includes("BwcHBw") && !row.path.includes("sk-google")));
});

test("live: a budget ends the session as Gemini does, and says why", async () => {
  await gw.create("live-budget", { spend_limits: { enabled: true, rules: [{ id: "all", limit: 0.0008, limitType: "cost", window: 3600, model: { mode: "filter", values: ["gemini-2.5-flash-native-audio-latest"] } }] } });
  const connection = await open(`${GEMINI}?key=sk-google`, { gateway: "live-budget", headers: { authorization: "" } });
  connection.send({ setup: { model: "models/gemini-2.5-flash-native-audio-latest" } });
  const content = { clientContent: { turns: [{ role: "user", parts: [{ text: "Hello?" }] }], turnComplete: true } };
  connection.send(content);
  await connection.until(1, turned);
  connection.send(content);
  const [code, reason] = await connection.closed;
  assert.equal(code, 1008);
  assert.match(reason, /^Spend limit exceeded: rule 'all'/);
  assert.equal(connection.provider.received.length, 2);
  const found = await rows(2, "live-budget");
  assert.deepEqual(found.map(({ status_code }) => status_code), [200, 429]);
});

test("live: a turn that is cut off has its row, and a microphone that nobody answered has none", async () => {
  await gw.create("live-cut");
  const connection = await open(`${GEMINI}?key=sk-google`, { gateway: "live-cut", headers: { authorization: "" } });
  connection.send({ setup: { model: "models/gemini-2.5-flash-native-audio-latest" } });
  providers.behave = () => ({ hang: true });
  connection.send({ clientContent: { turns: [{ role: "user", parts: [{ text: "Hello?" }] }], turnComplete: true } });
  await connection.until(1, ({ serverContent }) => serverContent?.outputTranscription);
  connection.provider.socket.close(1011, "Internal error encountered.");
  assert.deepEqual(await connection.closed, [1011, "Internal error encountered."]);
  const [row] = await rows(1, "live-cut");
  assert.deepEqual([row.success, row.error], [0, "upstream: the answer broke off: the provider closed the WebSocket with 1011 Internal error encountered."]);
  assert.match(row.response, /Hello there/);
  const other = await open(`${GEMINI}?key=sk-google`, { gateway: "live-cut", headers: { authorization: "" } });
  other.send({ setup: { model: "models/gemini-2.5-flash-native-audio-latest" } });
  other.send({ realtimeInput: { audio: { mimeType: "audio/pcm;rate=16000", data: PCM } } });
  await other.until(1, ({ setupComplete }) => setupComplete);
  await other.close();
  const [, session] = await rows(2, "live-cut");
  assert.deepEqual([session.status_code, session.tokens_in, session.cost], [101, null, null]);
});

test("a connection without a response is a row of its own", async () => {
  await gw.create("idle");
  const connection = await open("openai/realtime?model=gpt-realtime", { gateway: "idle" });
  connection.send({ type: "session.update", session: { type: "realtime", instructions: "x" } });
  await connection.until(1, ({ type }) => type === "session.updated");
  await connection.close();
  const [row] = await rows(1, "idle");
  assert.deepEqual([row.status_code, row.success, row.model, row.cost], [101, 1, "gpt-realtime", null]);
});
