import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { fixtures } from "../../upstream.mjs";
import { Gateway, TOKEN, raw } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  await gw.create("quiet", { collect_logs: false });
});
after(() => gw.stop());

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] };

test("a request goes through untouched and its log has metadata, tokens and cost", async () => {
  const body = '{"model": "gpt-4o",\n "messages": [{"role":"user","content":"Mittagessen? 🥚"}], "x":1}';
  const answer = await gw.call("openai/chat/completions?trace=1", {
    method: "POST",
    body,
    headers: { "content-type": "application/json", authorization: "Bearer sk-test", "cf-aig-metadata": '{"team": "AI", "user": 12345, "test":true}' },
  });
  assert.equal(answer.status, 200);
  const text = await answer.text();
  assert.equal(JSON.parse(text).id, "chatcmpl-Tg01");
  assert.equal(gw.upstream.last.url, "/v1/chat/completions?trace=1");
  assert.equal(gw.upstream.last.body.toString(), body);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-test");
  assert.equal(answer.headers.get("x-request-id"), "req_standin");
  assert.equal(answer.headers.get("cf-aig-step"), "0");
  assert.equal(answer.headers.get("cf-aig-event-id"), answer.headers.get("cf-aig-request-id"));

  const log = await gw.logOf(answer);
  assert.deepEqual(log.metadata, { team: "AI", user: 12345, test: true });
  assert.deepEqual([log.model, log.provider, log.path, log.status_code, log.success], ["gpt-4o", "openai", "chat/completions?trace=1", 200, true]);
  assert.deepEqual([log.tokens_in, log.tokens_out, log.custom_cost, log.cached, log.step], [17, 6, false, false, 0]);
  assert.ok(log.cost > 0 && log.cost < 0.001);
  assert.deepEqual([log.request_head, log.request_head_complete, log.request_size], [body, true, Buffer.byteLength(body)]);
  assert.deepEqual([log.response_head, log.response_size, log.response_id], [text, text.length, "chatcmpl-Tg01"]);
  assert.deepEqual([log.request_type, log.model_type, log.provider_request_id], ["native", "chat", "req_standin"]);
  assert.ok(new Date(log.created_at).getTime() > Date.now() - 60_000 && log.duration >= log.timings.latency);
});

test("what is between client and gateway is not forwarded", async () => {
  const { headers } = await raw(`${gw.url}/v1/acct/gw/openai/models`, {
    headers: {
      "cf-aig-metadata": '{"a":1}',
      "cf-connecting-ip": "1.2.3.4",
      "cf-ray": "x",
      "x-forwarded-for": "1.2.3.4",
      "x-forwarded-proto": "https",
      "x-real-ip": "1.2.3.4",
      "true-client-ip": "1.2.3.4",
      connection: "close, x-hop",
      "x-hop": "1",
      te: "trailers",
      "proxy-authorization": "Basic x",
      "x-own": "kept",
    },
  });
  assert.ok(headers["cf-aig-log-id"]);
  const seen = gw.upstream.last.headers;
  assert.equal(seen["x-own"], "kept");
  // The runtime names the Worker itself; everything else is up to us.
  const ours = Object.keys(seen).filter((name) => /^(cf-(?!worker$)|x-forwarded|x-real-ip|true-client|x-hop|te$|proxy-)/.test(name));
  assert.deepEqual(ours, []);
  assert.equal(seen.host, new URL(gw.upstream.origin).host);
});

test("redirects, errors and empty answers are handed on as they are", async () => {
  for (const behaviour of [
    { status: 302, headers: { location: "https://elsewhere.example/" }, body: "" },
    { status: 429, headers: { "retry-after": "7", "content-type": "application/json" }, body: '{"error":{"message":"slow down"}}' },
    { status: 500, headers: { "content-type": "text/plain" }, body: "oh no" },
    { status: 204 },
    { status: 304, headers: { etag: '"x"' } },
    { status: 200, headers: { "content-type": "application/json" }, body: "" },
    { status: 200, headers: { "content-type": "application/json" }, body: "not json" },
    { status: 200, body: "no content type" },
  ]) {
    gw.upstream.next(behaviour);
    const answer = await raw(`${gw.url}/v1/acct/gw/openai/x`);
    assert.equal(answer.status, behaviour.status);
    assert.equal(answer.body.toString(), behaviour.body ?? "");
    for (const [name, value] of Object.entries(behaviour.headers ?? {})) assert.deepEqual(answer.headers[name], value);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.status_code, log.success], [behaviour.status, behaviour.status < 400]);
    assert.equal(log.response_size, (behaviour.body ?? "").length);
    if (behaviour.status === 429) assert.equal(log.error, "provider: slow down");
  }
});

test("HEAD keeps the length it was told", async () => {
  gw.upstream.next({ body: "x".repeat(42), headers: { "content-type": "application/json" } });
  const answer = await raw(`${gw.url}/v1/acct/gw/openai/models`, { method: "HEAD" });
  assert.deepEqual([answer.status, answer.headers["content-length"], answer.body.length], [200, "42", 0]);
  assert.equal((await gw.logOf(answer)).success, true);
});

test("compressed answers are passed on byte for byte and logged unpacked", async () => {
  // The level is not the usual one, so that a body packed anew would have other bytes.
  for (const file of ["chat.json", "chat.sse"]) {
    const packed = gzipSync(readFileSync(join(fixtures, "openai", file)), { level: 1 });
    const type = file.endsWith("sse") ? "text/event-stream" : "application/json";
    for (const chunked of [false, true]) {
      gw.upstream.next({ body: packed, chunked, headers: { "content-type": type, "content-encoding": "gzip" } });
      const answer = await raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, { headers: { "accept-encoding": "gzip" } });
      assert.equal(answer.headers["content-encoding"], "gzip");
      assert.ok(answer.body.equals(packed), `${file} ${chunked}`);
      assert.equal((await gw.logOf(answer)).tokens_in, 17);
    }
  }
});

test("what is read on its way is asked for unpacked, and the rest as the client wants it", async () => {
  const accepted = async (path, options) => {
    await raw(`${gw.url}/v1/acct/gw/${path}`, { ...options, headers: { "content-type": "application/json", ...options.headers } });
    return gw.upstream.last.headers["accept-encoding"];
  };
  const gzip = { "accept-encoding": "gzip" };
  assert.equal(await accepted("openai/chat/completions", { method: "POST", headers: gzip, body: JSON.stringify(CHAT) }), "identity");
  assert.equal(await accepted("openai/models", { method: "GET", headers: gzip }), "gzip");
  assert.equal(await accepted("openai/models", { method: "GET", headers: {} }), "identity");
});

test("multipart and binary bodies arrive whole, and the form's model is found", async () => {
  const form = new FormData();
  const sound = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 256));
  form.append("file", new Blob([sound], { type: "audio/wav" }), "lunch.wav");
  form.append("model", "gpt-4o-transcribe");
  const answer = await gw.call("openai/audio/transcriptions", { method: "POST", body: form });
  assert.equal((await answer.json()).text, "What should I eat for lunch?");
  assert.ok(gw.upstream.last.body.includes(sound));
  const log = await gw.logOf(answer);
  assert.deepEqual([log.model, log.tokens_in, log.tokens_out, log.request_head], ["gpt-4o-transcribe", 14, 45, undefined]);
  assert.equal(log.request_size, gw.upstream.last.body.length);
});

test("20 MB of audio pass with and without a length, and 20 MB of JSON too", async () => {
  const big = Buffer.alloc(20 << 20, "tollgate");
  for (const [type, chunked] of [["audio/mpeg", false], ["audio/mpeg", true], ["application/json", false]]) {
    gw.upstream.next({ body: big, chunked, headers: { "content-type": type } });
    const answer = await raw(`${gw.url}/v1/acct/gw/openai/audio/speech`);
    assert.ok(answer.body.equals(big), `${type} ${chunked}`);
    assert.equal(answer.headers["content-length"], chunked ? undefined : String(big.length));
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.response_size, log.response_head], [true, big.length, undefined]);
  }
  const answer = await raw(`${gw.url}/v1/acct/gw/openai/files`, { method: "POST", body: big, headers: { "content-type": "application/octet-stream", "content-length": big.length } });
  assert.ok(gw.upstream.last.body.equals(big));
  assert.equal((await gw.logOf(answer)).request_size, big.length);
});

test("a request body that is no UTF-8 arrives byte for byte", async () => {
  const body = Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x00, 0x22, 0x7d]);
  const answer = await raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, { method: "POST", body, headers: { "content-type": "application/json" } });
  assert.ok(gw.upstream.last.body.equals(body));
  assert.match((await gw.logOf(answer)).request_head, /^\{"\ufffd/);
});

test("logging is off where the caller or the gateway says so", async () => {
  const counted = async () => (await gw.rows("SELECT count(*) AS n FROM logs"))[0].n;
  const first = await gw.call("openai/chat/completions", { json: CHAT });
  await gw.logOf(first);
  const before = await counted();
  const off = await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-collect-log": "false" } });
  const quiet = await gw.call("openai/chat/completions", { json: CHAT, gateway: "quiet" });
  assert.equal(off.headers.get("cf-aig-log-id") ?? quiet.headers.get("cf-aig-log-id"), null);
  assert.ok(off.headers.get("cf-aig-request-id"));
  assert.equal((await off.json()).id, (await quiet.json()).id);
  const on = await gw.call("openai/chat/completions", { json: CHAT, gateway: "quiet", headers: { "cf-aig-collect-log": "true" } });
  await gw.logOf(on, "quiet");
  assert.equal(await counted(), before + 1);

  const bare = await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-collect-log-payload": "false" } });
  const log = await gw.logOf(bare);
  assert.deepEqual([log.tokens_in, log.request_head, log.response_head], [17, undefined, undefined]);
  assert.ok(log.response_size > 0);
  assert.deepEqual(await gw.rows("SELECT * FROM log_bodies WHERE log_id = ?", log.id), []);
});

test("costs of the caller's own, event ids and what makes no sense", async () => {
  const costs = { '{"total_cost":0.5}': 0.5, '{"per_token_in":0.001,"per_token_out":0.01}': 17 * 0.001 + 6 * 0.01 };
  for (const [header, cost] of Object.entries(costs)) {
    const answer = await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-custom-cost": header, "cf-aig-event-id": "my-event" } });
    const log = await gw.logOf(answer);
    assert.ok(Math.abs(log.cost - cost) < 1e-9 && log.custom_cost);
    assert.deepEqual([answer.headers.get("cf-aig-event-id"), log.event_id], ["my-event", "my-event"]);
  }
  const odd = await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-custom-cost": "cheap", "cf-aig-metadata": '{"a":1,"b":null}', "cf-aig-collect-log": "perhaps" } });
  assert.match(odd.headers.get("cf-aig-warning"), /cf-aig-collect-log.*cf-aig-custom-cost/);
  assert.match(odd.headers.get("cf-aig-metadata-dropped"), /^all: b is neither/);
  const log = await gw.logOf(odd);
  assert.deepEqual([log.metadata, log.custom_cost], [null, false]);
  const six = await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-metadata": '{"f":1,"e":2,"d":3,"c":4,"b":5,"a":6}' } });
  assert.equal(six.headers.get("cf-aig-metadata-dropped"), "a is beyond the first 5");
  assert.deepEqual((await gw.logOf(six)).metadata, { f: 1, e: 2, d: 3, c: 4, b: 5 });
});

test("an unknown model has no cost", async () => {
  const answer = await gw.call("openai/chat/completions", { json: { ...CHAT, model: "gpt-99" } });
  // The stand-in answers as gpt-4o, which has a price; a model of its own has none.
  gw.upstream.next({ headers: { "content-type": "application/json" }, body: '{"id":"x","model":"gpt-99","usage":{"prompt_tokens":1,"completion_tokens":1}}' });
  const unknown = await gw.call("openai/chat/completions", { json: { ...CHAT, model: "gpt-99" } });
  assert.ok((await gw.logOf(answer)).cost > 0);
  assert.deepEqual([(await gw.logOf(unknown)).cost, (await gw.logOf(unknown)).tokens_in], [null, 1]);
});

test("the gateway's own token opens every header and is never forwarded", async () => {
  await gw.create("locked", { authentication: true });
  for (const headers of [{ "cf-aig-authorization": `Bearer ${TOKEN}` }, { "cf-aig-authorization": TOKEN }, { authorization: `Bearer ${TOKEN}` }, { "x-api-key": TOKEN }, { "api-key": TOKEN }]) {
    const answer = await gw.call("openai/models", { gateway: "locked", headers });
    assert.equal(answer.status, 200, JSON.stringify(headers));
    assert.ok(!JSON.stringify(gw.upstream.last.headers).includes(TOKEN));
  }
  for (const headers of [{}, { authorization: "Bearer sk-other" }, { "cf-aig-authorization": `Bearer ${TOKEN.slice(0, -1)}` }]) {
    const seen = gw.upstream.requests.length;
    const answer = await gw.call("openai/models", { gateway: "locked", headers });
    const body = await answer.json();
    assert.deepEqual([answer.status, body.internalCode, body.httpCode, body.error[0].code, gw.upstream.requests.length], [401, 2009, 401, 2009, seen]);
    assert.match(body.description, /cf-aig-authorization/);
  }
});

test("every method goes through, and every body goes upstream once", async () => {
  const answered = { body: "{}", headers: { "content-type": "application/json" } };
  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
    const body = method === "GET" ? undefined : `{"model":"gpt-4o","by":"${method}"}`;
    for (const framing of body ? [{ "content-length": body.length }, { "transfer-encoding": "chunked" }] : [{}]) {
      const seen = gw.upstream.requests.length;
      gw.upstream.next(answered);
      const answer = await raw(`${gw.url}/v1/acct/gw/openai/files/f`, { method, body, headers: body ? { "content-type": "application/json", ...framing } : {} });
      const log = await gw.logOf(answer);
      assert.equal(gw.upstream.requests.length, seen + 1);
      assert.deepEqual([answer.status, gw.upstream.last.method, gw.upstream.last.body.toString()], [200, method, body ?? ""]);
      assert.deepEqual([log.success, log.model, log.request_head], [true, body ? "gpt-4o" : "", body]);
    }
  }
});

test("an upstream that is not there is error 2005", async () => {
  const gone = createServer();
  await new Promise((resolve) => gone.listen(0, "127.0.0.1", resolve));
  const { port } = gone.address();
  await new Promise((resolve) => gone.close(resolve));
  const other = await Gateway.start({ upstream: gw.upstream, bindings: { PROVIDER_BASE_URLS: JSON.stringify({ openai: `http://127.0.0.1:${port}/v1` }) } });
  try {
    await other.create("gw");
    const answer = await other.call("openai/chat/completions?api_key=sk-CANARY", { json: CHAT });
    const body = await answer.json();
    assert.deepEqual([answer.status, body.internalCode, body.httpCode, body.error], [400, 2005, 400, [{ code: 2005, message: "Failed to get response from provider" }]]);
    assert.match(body.description, /^openai did not answer: ./);
    const log = await other.logOf(answer);
    assert.deepEqual([log.success, log.status_code, log.model], [false, 400, "gpt-4o"]);
    assert.match(log.error, /^upstream: ./);
    assert.ok(!JSON.stringify([body, log]).includes("CANARY"));
  } finally {
    await other.miniflare.dispose();
  }
});

test("an operator may allow more metadata; reserved keys are never kept", async () => {
  const other = await Gateway.start({ upstream: gw.upstream, bindings: { METADATA_MAX_ENTRIES: "7" } });
  try {
    await other.create("gw");
    const kept = { a: 1, b: "2", c: true, d: 1.5, e: -3, f: "x".repeat(600), g: 0 };
    const answer = await other.call("openai/models", { headers: { "cf-aig-metadata": JSON.stringify({ "cf.user_id": "me", ...kept, h: 1 }) } });
    assert.equal(answer.headers.get("cf-aig-metadata-dropped"), "cf.user_id is reserved; h is beyond the first 7");
    assert.deepEqual((await other.logOf(answer)).metadata, kept);
  } finally {
    await other.miniflare.dispose();
  }
});
