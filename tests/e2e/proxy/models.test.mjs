// Which model a request is for, however it is written down: limits by model that no caller gets past by a spelling, compressed
// bodies, and what becomes of a request whose model cannot be told.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { Gateway, raw, until } from "../harness.mjs";

const HOUR = 3_600;
const MB = 1 << 20;
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] };
const TEXT = JSON.stringify(CHAT);
const ANSWER = { id: "c", object: "chat.completion", model: "gpt-4o-2024-08-06", choices: [], usage: { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 } };

let gw;
let made = 0;
before(async () => {
  gw = await Gateway.start();
  gw.upstream.answer = () => answering({});
});
after(() => gw.stop());

const answering = (fields) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify({ ...ANSWER, ...fields }) });

/** A window of about an hour of which at least half is left. */
function farFromItsEnd() {
  const seconds = Date.now() / 1_000;
  return Array.from({ length: 4_000 }, (_, n) => HOUR + n).find((window) => seconds % window < window / 2 && seconds % window > 30);
}

/** A gateway whose budget for some models is used up by one answer. */
function limited(values, { rule, ...settings } = {}) {
  made += 1;
  const rules = [{ id: "m", limit: 0.000001, limitType: "cost", window: farFromItsEnd(), technique: "fixed", model: { mode: "filter", values }, ...rule }];
  return gw.create(`limited-${made}`, { spend_limits: { enabled: true, rules }, ...settings });
}

const post = (gateway, body, { headers = { "content-type": "application/json" }, path = "openai/chat/completions" } = {}) =>
  raw(`${gw.url}/v1/acct/${gateway}/${path}`, { method: "POST", headers, body });
const spentIn = async (gateway) => (await gw.result(`/gateways/${gateway}/limits`)).spend[0].counters.reduce((sum, { spent }) => sum + spent, 0);
const counted = (gateway) => until(async () => (await spentIn(gateway)) > 0, "the cost to be counted");

const utf16 = Buffer.from(TEXT, "utf16le");
const type = (kind, more) => ({ headers: { ...(kind && { "content-type": kind }), ...more } });
const part = (disposition, value) => `--XX\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${value}\r\n`;
const form = (...parts) => `${parts.join("")}--XX--\r\n`;
const TRANSCRIPTION = { path: "openai/audio/transcriptions", ...type("multipart/form-data; boundary=XX") };
const long = `{"messages":[{"role":"user","content":"${"x".repeat(26 * MB)}"}],"model":"gpt-4o"}`;

/** Bodies that a provider reads as `gpt-4o`, or may. */
const SPELLINGS = {
  "as it should be": [TEXT],
  "a byte order mark before it": [Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(TEXT)])],
  "a NUL behind it": [`${TEXT}\0`],
  "blanks and other letters": [TEXT.replace("gpt-4o", " GPT-4o ")],
  "an escaped key and value": [TEXT.replace('"model":"gpt-4o"', '"m\\u006fdel":"gpt\\u002d4o"')],
  "a list": [TEXT.replace('"gpt-4o"', '["gpt-4o"]')],
  "the key twice, and this is the first": [TEXT.replace(/}$/, ',"model":"cheap"}')],
  "the key twice, and this is the last": [TEXT.replace("{", '{"model":"cheap",')],
  "another key beside it": [TEXT.replace(/}$/, ',"model_id":"cheap"}')],
  "a comma too many": [TEXT.replace(/}$/, ",}")],
  comments: [TEXT.replace('"model":', '/* "model":"cheap" */ "model" /* x */ :')],
  "UTF-16": [Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])],
  "UTF-16 without a mark": [utf16],
  "no content type": [TEXT, type(undefined)],
  "text/plain": [TEXT, type("text/plain")],
  "application/octet-stream": [TEXT, type("application/octet-stream")],
  "another type": [TEXT, type("application/x-www-form-urlencoded")],
  "called a form": [TEXT, type("multipart/form-data; boundary=XX")],
  "26 MB": [long],
  "a version": [TEXT.replace("gpt-4o", "gpt-4o-2024-11-20")],
  gzip: [gzipSync(TEXT), type("application/json", { "content-encoding": "gzip" })],
  "X-Gzip": [gzipSync(TEXT), type("application/json", { "content-encoding": "X-Gzip" })],
  deflate: [deflateSync(TEXT), type("application/json", { "content-encoding": "deflate" })],
  "raw deflate": [deflateRawSync(TEXT), type("application/json", { "content-encoding": "deflate" })],
  br: [brotliCompressSync(TEXT), type("application/json", { "content-encoding": "br" })],
  "gzip twice": [gzipSync(gzipSync(TEXT)), type("application/json", { "content-encoding": "gzip, gzip" })],
  "said to be gzip": [TEXT, type("application/json", { "content-encoding": "gzip" })],
  "said to be identity": [TEXT, type("application/json", { "content-encoding": "identity" })],
  "a form": [form(part('name="model"', "gpt-4o")), TRANSCRIPTION],
  "a form without quotes": [form(part("name=model", "gpt-4o")), TRANSCRIPTION],
  "a form with a long file before it": [form(part('name="file"; filename="a.wav"', "x".repeat(12 * MB)), part("name=model", "gpt-4o"), part('name="file2"; filename="b.wav"', "y".repeat(6 * MB))), TRANSCRIPTION],
  "a form called JSON": [form(part("name=model", "gpt-4o")), { ...TRANSCRIPTION, ...type("application/json") }],
};
if (zstdCompressSync) SPELLINGS.zstd = [zstdCompressSync(TEXT), type("application/json", { "content-encoding": "zstd" })];

for (const [name, [body, options]] of Object.entries(SPELLINGS)) {
  test(`a budget for a model holds: ${name}`, async () => {
    const gateway = await limited(["gpt-4o"]);
    const first = await post(gateway, body, options);
    assert.equal(first.status, 200);
    assert.ok(gw.upstream.last.body.equals(Buffer.from(body)), "the provider got what was sent");
    assert.equal(gw.upstream.last.headers["content-encoding"], options?.headers?.["content-encoding"]);
    await counted(gateway);
    const sent = gw.upstream.requests.length;
    const second = await post(gateway, body, options);
    assert.deepEqual([second.status, JSON.parse(second.body).internalCode, gw.upstream.requests.length], [429, 2045, sent]);
    assert.match((await gw.logOf(second, gateway)).error, /^gateway: Spend limit exceeded: rule 'm'/);
    const log = await gw.logOf(first, gateway);
    assert.ok(log.cost > 0 && /gpt-4o/i.test(log.model), log.model);
  });
}

test("a budget for a model holds in every spelling of a path", async () => {
  gw.upstream.answer = () => ({ headers: { "content-type": "application/json" }, body: JSON.stringify({ modelVersion: "gemini-2.5-flash", usageMetadata: { promptTokenCount: 100, candidatesTokenCount: 100, totalTokenCount: 200 } }) });
  const gateway = await limited(["gemini-2.5-flash"]);
  const path = (model) => ({ path: `google-ai-studio/v1beta/models${model}`, ...type("application/json") });
  const body = JSON.stringify({ contents: [{ parts: [{ text: "hi" }] }] });
  const first = await post(gateway, body, path("/gemini%2d2.5-flash%3AgenerateContent"));
  assert.deepEqual([first.status, gw.upstream.last.url], [200, "/v1beta/models/gemini%2d2.5-flash%3AgenerateContent"]);
  await counted(gateway);
  const log = await gw.logOf(first, gateway);
  assert.deepEqual([log.model, log.model_type], ["gemini-2.5-flash", "chat"]);
  for (const model of ["/gemini-2.5-flash:generateContent", "/gemini%2d2.5-flash:generateContent", "/gemini-2.5-flash%3AgenerateContent", "%2Fgemini-2.5-flash%3AgenerateContent", "/gemini%252D2.5-flash:generateContent", "/GEMINI-2.5-flash:generateContent"]) {
    assert.equal((await post(gateway, body, path(model))).status, 429, model);
  }
  assert.equal((await post(gateway, body, path("/gemini-2.5-pro:generateContent"))).status, 200);
  gw.upstream.answer = () => answering({});
});

test("a rule learns from the answer which model it was", async () => {
  const gateway = await limited(["gpt-4o"]);
  assert.equal((await post(gateway, JSON.stringify({ ...CHAT, model: "auto" }))).status, 200);
  await counted(gateway);
  assert.equal((await post(gateway, TEXT)).status, 429);
  assert.equal((await post(gateway, JSON.stringify({ ...CHAT, model: "gpt-4o-mini" }))).status, 200);
  // A budget for each model.
  const each = await limited([], { rule: { limit: 1, model: { mode: "partition" } } });
  const partitions = async () => (await gw.result(`/gateways/${each}/limits`)).spend[0].counters.map(({ partition }) => partition.model).sort();
  for (const model of ["gpt-4o", "GPT-4o ", "auto"]) assert.equal((await post(each, JSON.stringify({ ...CHAT, model }))).status, 200);
  await until(async () => (await partitions()).length === 3, "the budgets");
  assert.deepEqual(await partitions(), ["auto", "gpt-4o", "gpt-4o-2024-08-06"]);
});

test("a model that cannot be told is blocked where money is set aside, or as the setting says", async () => {
  const riddle = Buffer.from([0x93, 1, 2, 3]);
  const packed = type("application/json", { "content-encoding": "compress" });
  const reserve = { rule: { limit: 1, reserve: true } };
  for (const [settings, status] of [[{}, 200], [{ unknown_model: "allow" }, 200], [{ unknown_model: "block" }, 400], [reserve, 400], [{ ...reserve, unknown_model: "allow" }, 200]]) {
    const gateway = await limited(["gpt-4o"], settings);
    for (const [body, options] of [[riddle], ["{}"], ['{"model":7}'], [TEXT.replace("gpt-4o", "cheap"), packed], [`{"model":"cheap","x":"${"x".repeat(33 * MB)}"}`]]) {
      const sent = gw.upstream.requests.length;
      const answer = await post(gateway, body, options);
      assert.equal(answer.status, status, JSON.stringify(settings));
      if (status === 200) continue;
      const { internalCode, description } = JSON.parse(answer.body);
      assert.deepEqual([internalCode, gw.upstream.requests.length], [2045, sent]);
      assert.match(description, /rule 'm' is about models.*unknown_model of this gateway to allow/);
      assert.match((await gw.logOf(answer, gateway)).error, /^gateway: Spend limit: rule 'm'/);
    }
    // What names another model, and what has none by nature, is not unknown.
    assert.equal((await post(gateway, TEXT.replace("gpt-4o", "gpt-4o-mini"))).status, 200);
    assert.equal((await post(gateway, form(part('name="file"; filename="a.jsonl"', "{}")), { path: "openai/files", ...type("multipart/form-data; boundary=XX") })).status, 200);
    assert.equal((await post(gateway, "{}", { path: "openai/batches" })).status, 200);
    for (const method of ["GET", "DELETE"]) assert.equal((await raw(`${gw.url}/v1/acct/${gateway}/openai/files/f`, { method })).status, 200);
  }
  const open = await limited(["gpt-4o"]);
  assert.equal((await post(open, "{}")).status, 200);
  await counted(open);
});

test("a compressed body is logged as text and goes to its provider as it came", async () => {
  await gw.create("packed");
  for (const [coding, pack] of [["gzip", gzipSync], ["deflate", deflateSync], ["br", brotliCompressSync], ...(zstdCompressSync ? [["zstd", zstdCompressSync]] : [])]) {
    const body = pack(TEXT);
    const answer = await post("packed", body, type("application/json", { "content-encoding": coding }));
    const { headers, body: received } = gw.upstream.last;
    assert.deepEqual([answer.status, headers["content-encoding"], received.equals(body)], [200, coding, true]);
    const log = await gw.logOf(answer, "packed");
    assert.deepEqual([log.model, log.request_size], ["gpt-4o", body.length]);
    assert.deepEqual(await (await gw.api(`/gateways/packed/logs/${log.id}/request`)).json(), CHAT);
  }
});

test("a body that becomes very long when it is unpacked is not unpacked further", async () => {
  const bomb = gzipSync(Buffer.concat([Buffer.from('{"model":"gpt-4o","x":"'), Buffer.alloc(300 * MB, 0x61), Buffer.from('"}')]));
  const options = type("application/json", { "content-encoding": "gzip" });
  await gw.create("bombed");
  const before = Date.now();
  const answer = await post("bombed", bomb, options);
  assert.equal(answer.status, 200);
  assert.ok(gw.upstream.last.body.equals(bomb));
  const log = await gw.logOf(answer, "bombed");
  assert.equal(log.model, "gpt-4o-2024-08-06");
  assert.ok(Date.now() - before < 10_000);
  assert.equal((await (await gw.api(`/gateways/bombed/logs/${log.id}/request`)).text()).includes("aaaa"), false);
  const blocking = await limited(["gpt-4o"], { unknown_model: "block" });
  const blocked = await post(blocking, bomb, options);
  assert.equal(blocked.status, 400);
  assert.match(JSON.parse(blocked.body).description, /becomes too long when it is unpacked/);
});

test("compat and the universal endpoint take compressed bodies, or say what they take", async () => {
  await gw.create("own");
  const chat = JSON.stringify({ ...CHAT, model: "openai/gpt-4o" });
  const steps = JSON.stringify([{ provider: "openai", endpoint: "chat/completions", headers: { "content-type": "application/json" }, query: CHAT }]);
  for (const [path, text] of [["compat/chat/completions", chat], ["", steps]]) {
    for (const [coding, pack] of [["gzip", gzipSync], ["deflate", deflateSync], ["br", brotliCompressSync], ...(zstdCompressSync ? [["zstd", zstdCompressSync]] : [])]) {
      const answer = await post("own", pack(text), { path, ...type("application/json", { "content-encoding": coding }) });
      assert.deepEqual([answer.status, JSON.parse(gw.upstream.last.body), gw.upstream.last.headers["content-encoding"]], [200, CHAT, undefined], `${path} ${coding}`);
      assert.equal((await gw.logOf(answer, "own")).model, "gpt-4o");
    }
    assert.equal((await post("own", `\ufeff${text}`, { path })).status, 200);
    const bomb = gzipSync(Buffer.alloc(100 * MB, 0x20));
    for (const [body, coding, status, words] of [[text, "compress", 415, /gzip, deflate, br and zstd/], [text, "gzip", 400, /not packed as its content-encoding says/], [bomb, "gzip", 413, /too long when it is unpacked/]]) {
      const sent = gw.upstream.requests.length;
      const answer = await post("own", body, { path, ...type("application/json", { "content-encoding": coding }) });
      assert.deepEqual([answer.status, gw.upstream.requests.length], [status, sent], `${path} ${coding}`);
      assert.match(JSON.parse(answer.body).description, words);
    }
  }
});
