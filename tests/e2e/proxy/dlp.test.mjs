// What must not leave in requests and answers: what the provider got, what the client got, and what the log says.
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { after, before, beforeEach, test } from "node:test";
import { Gateway } from "../harness.mjs";

const CARD = "4111 1111 1111 1111";
const PLAIN = "4111111111111111";
let gw;
before(async () => {
  gw = await Gateway.start({ kv: true });
  await gw.create("gw");
  await gw.create("flag", { dlp: { enabled: true, action: "FLAG", profiles: ["financial", "contact"] } });
  await gw.create("block", { dlp: { enabled: true, action: "BLOCK", profiles: ["financial"] } });
  await gw.create("redact", { cache_ttl: 60, dlp: { enabled: true, restore: true, custom_profiles: [{ id: "projects", words: ["Apollo"], patterns: ["PRJ-[0-9]+"] }], policies: [
    { id: "cards", enabled: true, action: "REDACT", check: ["REQUEST", "RESPONSE"], profiles: ["credit_card", "projects"] },
    { id: "mail", enabled: true, action: "FLAG", check: ["RESPONSE"], profiles: ["email"] },
  ] } });
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const sk = { authorization: "Bearer sk-client-0123456789" };
const chat = (content, more = {}) => ({ model: "gpt-4o-mini", messages: [{ role: "user", content }], ...more });
const completion = (content) => ({ body: JSON.stringify({ id: "c1", object: "chat.completion", model: "gpt-4o-mini", choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } }), headers: { "content-type": "application/json" } });
const ask = (gateway, json, path = "openai/chat/completions", headers = {}) => gw.call(path, { gateway, json, headers: { ...sk, ...headers } });
const bodies = async (gateway, id) => [await (await gw.api(`/gateways/${gateway}/logs/${id}/request`)).text(), await (await gw.api(`/gateways/${gateway}/logs/${id}/response`)).text()];

test("a card number is flagged, and goes on as it came", async () => {
  gw.upstream.next(completion("Fine."));
  const answer = await ask("flag", chat(`my card is ${CARD}`));
  assert.equal((await answer.json()).choices[0].message.content, "Fine.");
  const told = JSON.parse(answer.headers.get("cf-aig-dlp"));
  assert.deepEqual(told, { action: "FLAG", findings: [{ check: "REQUEST", policy_ids: ["dlp"], profile: { context: {}, entry_ids: ["credit_card"], profile_id: "financial" } }] });
  assert.equal(JSON.parse(gw.upstream.last.body).messages[0].content, `my card is ${CARD}`);
  const log = await gw.logOf(answer, "flag");
  assert.deepEqual([log.dlp_action, log.success, log.dlp.found], ["FLAG", true, [{ check: "REQUEST", entry: "credit_card", path: "messages[0].content", offset: 11 }]]);
  const of = (operator, value) => gw.result(`/gateways/flag/logs?filters=${encodeURIComponent(JSON.stringify([{ key: "dlp_action", operator, value }]))}`);
  assert.deepEqual((await of("eq", ["FLAG"])).map(({ id }) => id), [log.id]);
  assert.deepEqual(await of("eq", ["BLOCK"]), []);
  gw.upstream.next(completion("Fine."));
  const clean = await ask("flag", chat("nothing here"));
  assert.deepEqual([clean.headers.get("cf-aig-dlp"), (await gw.logOf(clean, "flag")).dlp_action], [null, null]);
});

test("a blocked request is not sent, and its number is nowhere", async () => {
  const answer = await ask("block", chat(`my card is ${CARD}`));
  const body = await answer.json();
  assert.deepEqual([answer.status, body.internalCode, body.message], [400, 2029, "Request content blocked due to DLP policy violations"]);
  assert.equal(gw.upstream.requests.length, 0);
  const log = await gw.logOf(answer, "block");
  assert.deepEqual([log.dlp_action, log.success, log.status_code], ["BLOCK", false, 400]);
  const [asked] = await bodies("block", log.id);
  assert.match(asked, /my card is \[CARD_1\]/);
});

test("a blocked answer is not given, is paid for, and its number is nowhere", async () => {
  gw.upstream.next(completion(`It is ${CARD}.`));
  const answer = await ask("block", chat("tell me"));
  const body = await answer.json();
  assert.deepEqual([answer.status, body.internalCode, body.message], [400, 2030, "Response content blocked due to DLP policy violations"]);
  assert.equal(JSON.parse(answer.headers.get("cf-aig-dlp")).findings[0].check, "RESPONSE");
  const log = await gw.logOf(answer, "block");
  assert.deepEqual([log.dlp_action, log.success, log.status_code, log.tokens_in, log.tokens_out], ["BLOCK", false, 400, 5, 7]);
  assert.match((await bodies("block", log.id))[1], /It is \[CARD_1\]/);
});

test("what is redacted reaches neither provider nor log nor cache, and comes back to its own client alone", async () => {
  gw.upstream.next(completion("You said [CARD_1] about [PROJECTS_1] and [CARD_2]."));
  const answer = await ask("redact", chat(`${CARD}, APOLLO`));
  assert.equal((await answer.json()).choices[0].message.content, `You said ${CARD} about APOLLO and [CARD_2].`);
  assert.equal(JSON.parse(gw.upstream.last.body).messages[0].content, "[CARD_1], [PROJECTS_1]");
  const log = await gw.logOf(answer, "redact");
  assert.equal(log.dlp_action, "REDACT");
  const [asked, said] = await bodies("redact", log.id);
  assert.ok(asked.includes("[CARD_1], [PROJECTS_1]") && said.includes("You said [CARD_1]"), asked + said);
  assert.ok(!JSON.stringify(log).includes(CARD) && !JSON.stringify(await gw.rows("SELECT * FROM logs WHERE id = ?", log.id)).includes(CARD));
  // Another card makes the same request, so the kept answer is found, and has the other card's place filled with it.
  let hit;
  for (let turn = 0; turn < 20; turn += 1) {
    gw.upstream.next(completion("You said [CARD_1]."));
    hit = await ask("redact", chat("5555 5555 5555 4444, Apollo"));
    if (hit.headers.get("cf-aig-cache-status") === "HIT") break;
    await hit.text();
  }
  assert.equal(hit.headers.get("cf-aig-cache-status"), "HIT");
  assert.match((await hit.json()).choices[0].message.content, /^You said 5555 5555 5555 4444/);
  // What nothing has taken is no answer to the next test.
  await (await ask("gw", chat("x"))).text();
});

const sse = (events) => ({ events, pause: 5 });
const FORMATS = {
  "openai/chat/completions": {
    json: chat("tell", { stream: true }),
    events: (parts) => [...parts.map((content) => `data: ${JSON.stringify({ id: "c", model: "gpt-4o-mini", choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`), `data: ${JSON.stringify({ id: "c", model: "gpt-4o-mini", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`, "data: [DONE]\n\n"],
    text: (data) => data.choices?.[0]?.delta?.content ?? "",
    failed: (data) => data.error?.code,
  },
  "anthropic/v1/messages": {
    json: { model: "claude-sonnet-4-5", max_tokens: 50, stream: true, messages: [{ role: "user", content: "tell" }] },
    events: (parts) => [
      `event: message_start\ndata: ${JSON.stringify({ type: "message_start", message: { id: "m", model: "claude-sonnet-4-5", usage: { input_tokens: 3, output_tokens: 1 } } })}\n\n`,
      `event: content_block_start\ndata: ${JSON.stringify({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })}\n\n`,
      ...parts.map((text) => `event: content_block_delta\ndata: ${JSON.stringify({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })}\n\n`),
      `event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n`, `event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}\n\n`, `event: message_stop\ndata: {"type":"message_stop"}\n\n`,
    ],
    text: (data) => data.delta?.text ?? "",
    failed: (data) => data.type === "error" && data.error.message.includes("DLP") && "2030",
  },
  "openai/responses": {
    json: { model: "gpt-4o-mini", stream: true, input: "tell" },
    events: (parts) => [
      ...parts.map((delta, n) => `event: response.output_text.delta\ndata: ${JSON.stringify({ type: "response.output_text.delta", item_id: "i", output_index: 0, content_index: 0, delta, sequence_number: n })}\n\n`),
      `event: response.completed\ndata: ${JSON.stringify({ type: "response.completed", response: { id: "resp_1", model: "gpt-4o-mini", status: "completed", output: [], usage: { input_tokens: 3, output_tokens: 9, total_tokens: 12 } } })}\n\n`,
    ],
    text: (data) => (data.type === "response.output_text.delta" ? data.delta : ""),
    failed: (data) => data.type === "error" && data.code,
  },
};
const PARTS = ["My card is 41", "11 1111", " 1111", " 1111", ", ok? Or", " ann@exam", "ple.com"];

for (const [path, format] of Object.entries(FORMATS)) {
  const datas = (text) => text.split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)));

  test(`${path}: a number in several parts of a stream is redacted, flagged or blocked`, async () => {
    gw.upstream.next(sse(format.events(PARTS)));
    const redacted = await ask("redact", format.json, path, { "cf-aig-skip-cache": "true" });
    const text = await redacted.text();
    assert.equal(datas(text).map(format.text).join(""), "My card is [CARD_1], ok? Or ann@example.com");
    assert.equal(datas(text).length, datas(format.events(PARTS).join("")).length);
    const log = await gw.logOf(redacted, "redact");
    assert.deepEqual([log.dlp_action, log.success, log.dlp.entry_ids], ["REDACT", true, ["credit_card", "email"]]);
    assert.ok(!(await bodies("redact", log.id))[1].includes("11 1111"));

    gw.upstream.next(sse(format.events(PARTS)));
    const flagged = await ask("flag", format.json, path);
    assert.equal(datas(await flagged.text()).map(format.text).join(""), PARTS.join(""));
    assert.equal((await gw.logOf(flagged, "flag")).dlp_action, "FLAG");

    gw.upstream.next(sse(format.events(PARTS)));
    const blocked = await ask("block", format.json, path);
    const rest = await blocked.text();
    assert.ok(!rest.includes("41") || !rest.includes("11 1111"), rest);
    assert.equal(String(format.failed(datas(rest).at(-1))), "2030", rest);
    const row = await gw.logOf(blocked, "block");
    assert.deepEqual([row.dlp_action, row.success, row.status_code], ["BLOCK", false, 200]);
    assert.match(row.error, /DLP/);
  });

  test(`${path}: a clean stream goes on event by event, byte by byte`, async () => {
    const events = format.events(["Hello there, ", "how are you ", "today? ", "Well."]);
    gw.upstream.next({ events, pause: 80 });
    const answer = await ask("block", format.json, path);
    const reader = answer.body.getReader();
    let text = "";
    for (let piece; !text.includes("Hello there") && !(piece = await reader.read()).done; ) text += new TextDecoder().decode(piece.value);
    assert.ok(gw.upstream.last.sent < events.length, "the first words came after the last");
    for (let piece; !(piece = await reader.read()).done; ) text += new TextDecoder().decode(piece.value);
    assert.equal(text, events.join(""));
  });

  test(`${path}: placeholders in a stream are put back, however they are cut`, async () => {
    gw.upstream.next(sse(format.events(["You said [CA", "RD_1", "]. And [CARD", "_7]"])));
    const json = JSON.parse(JSON.stringify(format.json).replace('"tell"', JSON.stringify(`x ${PLAIN}`)));
    const answer = await ask("redact", json, path, { "cf-aig-skip-cache": "true" });
    assert.equal(datas(await answer.text()).map(format.text).join(""), `You said ${PLAIN}. And [CARD_7]`);
    const log = await gw.logOf(answer, "redact");
    const all = (await bodies("redact", log.id)).join("");
    assert.ok(!all.includes(PLAIN) && !gw.upstream.last.body.includes(PLAIN), all);
  });
}

test("translated answers are looked at and put back, too", async () => {
  const message = { id: "msg_01", type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [{ type: "text", text: `You said [CARD_1]; I know 5555555555554444.` }], stop_reason: "end_turn", usage: { input_tokens: 10, output_tokens: 4 } };
  gw.upstream.next({ body: JSON.stringify(message), headers: { "content-type": "application/json" } });
  const answer = await ask("redact", { ...chat(CARD), model: "anthropic/claude-sonnet-4-5" }, "ai/v1/chat/completions", { "cf-aig-skip-cache": "true" });
  assert.equal((await answer.json()).choices[0].message.content, `You said ${CARD}; I know [CARD_2].`);
  assert.ok(!gw.upstream.last.body.includes("4111"));
  gw.upstream.next(sse(FORMATS["anthropic/v1/messages"].events(["It is [CARD", "_1], not 55", "55555555554444."])));
  const stream = await ask("redact", { ...chat(CARD, { stream: true }), model: "anthropic/claude-sonnet-4-5" }, "ai/v1/chat/completions", { "cf-aig-skip-cache": "true" });
  const text = (await stream.text()).split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)).choices?.[0]?.delta?.content ?? "").join("");
  assert.equal(text, `It is ${CARD}, not [CARD_2].`);
  gw.upstream.next(sse(FORMATS["anthropic/v1/messages"].events(["It is 55", "55555555554444."])));
  const blocked = await ask("block", { ...chat("tell", { stream: true }), model: "anthropic/claude-sonnet-4-5" }, "ai/v1/chat/completions");
  assert.match(await blocked.text(), /"code":"?2030/);
});

test("compressed bodies and forms are looked at, and what is no text is refused or marked", async () => {
  gw.upstream.next(completion("ok"));
  const packed = await gw.call("openai/chat/completions", { gateway: "redact", method: "POST", body: gzipSync(JSON.stringify(chat(CARD))), headers: { ...sk, "content-type": "application/json", "content-encoding": "gzip", "cf-aig-skip-cache": "true" } });
  assert.equal(packed.status, 200, await packed.clone().text());
  assert.equal(gw.upstream.last.headers["content-encoding"], undefined);
  assert.equal(JSON.parse(gw.upstream.last.body).messages[0].content, "[CARD_1]");
  const form = (file, name) => {
    const form = new FormData();
    form.set("purpose", "batch");
    form.set("file", new Blob([file]), name);
    return form;
  };
  const lines = `${JSON.stringify({ custom_id: "a", body: chat("hello\n" + CARD) })}\n${JSON.stringify({ custom_id: "b", body: chat("x") })}\n`;
  gw.upstream.next({ body: '{"id":"file-1","object":"file"}', headers: { "content-type": "application/json" } });
  const upload = await gw.call("openai/files", { gateway: "redact", method: "POST", body: form(lines, "a.jsonl"), headers: { ...sk, "cf-aig-skip-cache": "true" } });
  assert.equal(upload.status, 200, await upload.clone().text());
  assert.ok(gw.upstream.last.body.includes("hello\\n[CARD_1]") && !gw.upstream.last.body.includes("4111"));
  const binary = form(Buffer.from([37, 80, 68, 70, 255, 0, 1]), "a.pdf");
  const refused = await gw.call("openai/files", { gateway: "block", method: "POST", body: binary, headers: sk });
  assert.deepEqual([refused.status, (await refused.json()).internalCode], [400, 2029]);
  gw.upstream.next({ body: '{"id":"file-1","object":"file"}', headers: { "content-type": "application/json" } });
  const marked = await gw.call("openai/files", { gateway: "flag", method: "POST", body: form(Buffer.from([37, 80, 68, 70, 255, 0, 1]), "a.pdf"), headers: sk });
  assert.equal(marked.status, 200);
  assert.equal(JSON.parse(marked.headers.get("cf-aig-dlp")).unscanned[0].check, "REQUEST");
  assert.equal((await gw.logOf(marked, "flag")).dlp_action, "UNSCANNED");
  gw.upstream.next({ body: '{"text":"hello"}', headers: { "content-type": "application/json" } });
  const sound = await gw.call("openai/audio/transcriptions", { gateway: "block", method: "POST", body: form(Buffer.from([255, 251, 0, 1]), "a.mp3"), headers: sk });
  assert.equal(sound.status, 200, await sound.clone().text());
});

test("a content type does not hide a text, nor does UTF-16", async () => {
  const body = JSON.stringify(chat(CARD));
  const post = (gateway, body, type) => gw.call("openai/chat/completions", { gateway, method: "POST", body, headers: { ...sk, "content-type": type, "cf-aig-skip-cache": "true" } });
  const codeOf = async (answer) => [answer.status, (await answer.json()).internalCode];
  assert.deepEqual(await codeOf(await post("block", body, "image/png")), [400, 2029]);
  assert.deepEqual(await codeOf(await post("block", Buffer.from(body, "utf16le"), "application/json")), [400, 2029]);
  const part = `--b\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n${CARD}\r\n--b--\r\n`;
  assert.deepEqual(await codeOf(await post("block", part, "multipart/form-data; boundary=b")), [400, 2029]);
  assert.equal(gw.upstream.requests.length, 0);
  // A picture is one, and goes on.
  const picture = await post("block", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 1]), "image/png");
  assert.deepEqual([picture.status, gw.upstream.requests.length], [200, 1]);
});

test("what stands beside the body is kept out of rows, and of what is sent", async () => {
  // A number that no other test sends: the whole database is looked through.
  const [card, digits] = ["4012 8888 8888 1881", "4012888888881881"];
  const beside = { "cf-aig-metadata": JSON.stringify({ user: card, n: Number(digits), [digits]: "x" }), "cf-aig-event-id": digits, "cf-aig-session-id": `s ${card}`, "x-note": card, "cf-aig-skip-cache": "true" };
  gw.upstream.next(completion("Fine."));
  const answer = await ask("redact", chat(`hello ${digits}`), `openai/chat/completions?note=4012%208888%208888%201881&n=${digits}`, beside);
  assert.equal((await answer.json()).choices[0].message.content, "Fine.");
  const sent = gw.upstream.last;
  assert.doesNotMatch(JSON.stringify([sent.body, sent.url, sent.headers]), /4012.{0,3}8888/);
  const log = await gw.logOf(answer, "redact");
  // A batch is remembered with its caller, and a request without a provider is refused before its body is looked at.
  gw.upstream.next({ body: JSON.stringify({ id: "batch_1", object: "batch", status: "validating", endpoint: "/v1/chat/completions", input_file_id: "file-1" }), headers: { "content-type": "application/json" } });
  const batch = await ask("redact", { input_file_id: "file-1", endpoint: "/v1/chat/completions", completion_window: "24h" }, "openai/batches", beside);
  assert.equal(batch.status, 200, await batch.clone().text());
  await gw.logOf(batch, "redact");
  const unknown = await ask("redact", chat("x"), "opnai/chat/completions", beside);
  assert.equal(unknown.status, 400);
  assert.equal((await gw.rows("SELECT count(*) AS n FROM batches"))[0].n, 1);
  const tables = await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'");
  for (const { name } of tables) assert.doesNotMatch(JSON.stringify(await gw.rows(`SELECT * FROM "${name}" WHERE 1`)), /4012.{0,3}8888.{0,3}8888/, name);
  assert.equal(log.dlp_action, "REDACT");
  const stopped = await ask("block", chat("hello"), "openai/chat/completions", { "cf-aig-metadata": JSON.stringify({ user: card }) });
  assert.deepEqual([stopped.status, (await stopped.json()).internalCode], [400, 2029]);
});

test("a universal request is looked at element by element", async () => {
  const element = { provider: "openai", endpoint: "chat/completions", headers: sk, query: chat(CARD) };
  gw.upstream.next(completion("[CARD_1]"));
  const answer = await gw.call("", { gateway: "redact", json: [element], headers: { "cf-aig-skip-cache": "true" } });
  assert.equal((await answer.json()).choices[0].message.content, CARD);
  assert.ok(!gw.upstream.last.body.includes("4111"));
});

test("the setting is checked when it is stored", async () => {
  const put = async (dlp) => {
    const answer = await gw.api("/gateways/gw", { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ dlp }) });
    return [answer.status, (await answer.json()).errors?.[0]?.path?.join(".")];
  };
  assert.deepEqual(await put({ enabled: true, action: "DROP", profiles: ["financial"] }), [400, "body.dlp.action"]);
  assert.deepEqual(await put({ enabled: true, policies: [{ id: "a", enabled: true, action: "FLAG", check: ["REQUEST"], profiles: ["cards"] }] }), [400, "body.dlp.policies.0.profiles"]);
  assert.deepEqual(await put({ enabled: true, custom_profiles: [{ id: "a", patterns: ["("] }] }), [400, "body.dlp.custom_profiles.0.patterns"]);
  assert.deepEqual(await put(null), [200, undefined]);
});
