// Addresses of providers in their answers lead below the gateway: uploads, results of batches, redirects.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { ACCOUNT, Gateway, TOKEN, raw } from "../harness.mjs";

const GOOGLE = "https://generativelanguage.googleapis.com";
const KEY = "AIzaSyStoredKeyOfTheGateway0123456789";
const OURS = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const START = { "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-goog-upload-header-content-length": "5", "x-goog-upload-header-content-type": "text/plain" };
const FINAL = { "x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0" };

let gw;
let token;
let uploads;
before(async () => {
  gw = await Gateway.start();
  for (const id of ["gw", "second"]) {
    await gw.create(id, { authentication: true });
    await store(id, "google-ai-studio", KEY);
    await store(id, "anthropic", "sk-ant-stored-key-of-the-gateway");
    await store(id, "replicate", "r8_storedkeyofthegateway0123");
    await store(id, "fal", "falkeyid:falsecret-of-the-gateway");
  }
  await gw.create("open");
  token = await made();
});
beforeEach(() => {
  gw.upstream.requests.length = 0;
  gw.upstream.answer = google;
  uploads = new Map();
});
after(() => gw.stop());

async function store(gateway, provider_slug, secret, alias = "default") {
  const answer = await gw.api(`/gateways/${gateway}/provider_configs`, { method: "POST", body: JSON.stringify({ alias, provider_slug, secret }) });
  assert.equal(answer.status, 200, await answer.clone().text());
}

async function made(permissions = ["run"]) {
  const answer = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "app", permissions }) });
  const { result } = await answer.json();
  return { id: result.id, value: result.value ?? result.token };
}

const json = (body, { status = 200, headers = {} } = {}) => ({ status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });

/** Google's Files API, as strict as it is: it takes a session's pieces in their order, at the address that it gave out, and nothing else. */
function google({ method, url, headers, body }) {
  const { pathname, searchParams } = new URL(url, GOOGLE);
  const refused = (status, message) => json({ error: { code: status, message } }, { status });
  if (method !== "POST" || pathname !== "/upload/v1beta/files") return refused(404, `no ${method} ${url}`);
  if (headers["x-goog-upload-command"] === "start") {
    if (headers["x-goog-upload-protocol"] !== "resumable") return refused(400, "no protocol");
    const key = headers["x-goog-api-key"];
    if (![KEY, "AIzaSyOwnKey"].includes(key)) return refused(403, "no key");
    const id = `ABPnzs${uploads.size}`;
    uploads.set(id, { size: Number(headers["x-goog-upload-header-content-length"]), bytes: Buffer.alloc(0) });
    const address = `${GOOGLE}/upload/v1beta/files?key=${key}&upload_id=${id}&upload_protocol=resumable`;
    return { status: 200, headers: { "x-goog-upload-url": address, "x-goog-upload-control-url": address, "x-goog-upload-status": "active", "x-goog-upload-chunk-granularity": "262144", "x-guploader-uploadid": id } };
  }
  const names = [...searchParams.keys()].filter((name) => name !== "key").sort();
  if (names.join() !== "upload_id,upload_protocol") return refused(400, `parameters: ${names}`);
  const upload = uploads.get(searchParams.get("upload_id"));
  if (!upload) return refused(404, "no such upload");
  if (Number(headers["x-goog-upload-offset"]) !== upload.bytes.length) return refused(400, "offset");
  upload.bytes = Buffer.concat([upload.bytes, body]);
  if (!headers["x-goog-upload-command"].includes("finalize")) return { status: 200, headers: { "x-goog-upload-status": "active" } };
  if (upload.bytes.length !== upload.size) return refused(400, "size");
  const file = { name: "files/abc-123", displayName: "", mimeType: "text/plain", sizeBytes: String(upload.size), uri: `${GOOGLE}/v1beta/files/abc-123`, state: "ACTIVE" };
  return json({ file }, { headers: { "x-goog-upload-status": "final" } });
}

/** Nothing that is ours came to the provider, in whatever place. */
function nothingOfOurs() {
  for (const { url, headers } of gw.upstream.requests) {
    const all = decodeURIComponent(url) + JSON.stringify(headers);
    for (const ours of [TOKEN, token.value, "capability", "tgt_", "cf-aig"]) assert.ok(!all.includes(ours), `${ours} in ${all}`);
  }
}

async function noRowWith(...texts) {
  const [{ all }] = await gw.rows("SELECT group_concat(coalesce(path, '') || coalesce(error, '') || coalesce(user_agent, '')) AS 'all' FROM logs");
  for (const text of texts) assert.ok(!all.includes(text), `${text} in a row`);
}

async function started(headers = { "x-goog-api-key": token.value }, { gateway = "gw", provider = "google-ai-studio" } = {}) {
  const answer = await gw.call(`${provider}/upload/v1beta/files`, { gateway, json: { file: {} }, headers: { ...START, ...headers } });
  assert.equal(answer.status, 200, await answer.clone().text());
  return { answer, address: answer.headers.get("x-goog-upload-url") };
}

const piece = (address, { method = "POST", headers = {}, body = "hello" } = {}) => fetch(address, { method, headers: { ...FINAL, ...headers }, body: method === "GET" ? undefined : body });

test("npm's client of Google uploads a file through the gateway, with a token alone", async () => {
  const ai = new GoogleGenAI({ apiKey: token.value, httpOptions: { baseUrl: `${gw.url}/v1/${ACCOUNT}/gw/google-ai-studio` } });
  const bytes = Buffer.alloc(9 * 1024 * 1024, "0123456789abcdef");
  const before = await gw.rows("SELECT id FROM logs");
  const file = await ai.files.upload({ file: new Blob([bytes]), config: { mimeType: "text/plain" } });
  // What goes back to Gemini in a prompt is Gemini's own address.
  assert.deepEqual([file.name, file.uri], ["files/abc-123", `${GOOGLE}/v1beta/files/abc-123`]);
  const [upload] = uploads.values();
  assert.ok(upload.bytes.equals(bytes));
  assert.equal(gw.upstream.requests.length, 3);
  for (const { headers } of gw.upstream.requests) assert.equal(headers["x-goog-api-key"], KEY);
  nothingOfOurs();
  await gw.api("/gateways/gw/logs");
  const rows = (await gw.rows("SELECT * FROM logs ORDER BY id")).filter(({ id }) => !before.some((known) => known.id === id));
  assert.deepEqual(rows.map(({ path, status_code, credential, authentication, request_size }) => [path.split("?")[0], status_code, credential, authentication, request_size > 1_000]), [
    ["upload/v1beta/files", 200, "stored", 1, false], ["upload/v1beta/files", 200, "stored", 1, true], ["upload/v1beta/files", 200, "stored", 1, true],
  ]);
  await noRowWith(KEY, token.value, "capability");
});

test("the second request of an upload needs no token, and is for that upload alone", async () => {
  for (const [provider, headers] of [["google-ai-studio", { "x-goog-api-key": token.value }], ["google", OURS]]) {
    const { answer, address } = await started(headers, { provider });
    const url = new URL(address);
    assert.equal(url.origin + url.pathname, `${gw.url}/v1/${ACCOUNT}/gw/${provider}/upload/v1beta/files`);
    assert.deepEqual([...url.searchParams.keys()], ["upload_id", "upload_protocol", "cf-aig-capability"]);
    assert.equal(answer.headers.get("x-goog-upload-control-url").split("&cf-aig")[0], address.split("&cf-aig")[0]);
    // The key that Google puts into the address is not the client's to know.
    assert.ok(![...answer.headers.values()].join().includes(KEY));
    const done = await piece(address);
    assert.deepEqual([done.status, (await done.json()).file.name], [200, "files/abc-123"]);
    assert.equal(gw.upstream.last.headers["x-goog-api-key"], KEY);
    const log = await gw.logOf(done);
    assert.deepEqual([log.authentication, log.provider, log.status_code, log.path], [true, "google-ai-studio", 200, `upload/v1beta/files?upload_id=${url.searchParams.get("upload_id")}&upload_protocol=resumable`]);
    nothingOfOurs();
  }
});

test("a capability is refused wherever it was not given out for", async () => {
  const { address } = await started();
  const sent = gw.upstream.requests.length;
  const url = new URL(address);
  const capability = url.searchParams.get("cf-aig-capability");
  const with_ = (change) => {
    const other = new URL(address);
    change(other);
    return String(other);
  };
  const middle = Math.floor(capability.length / 2);
  const tampered = capability.slice(0, middle) + (capability[middle] === "A" ? "B" : "A") + capability.slice(middle + 1);
  for (const [what, other, options] of [
    ["another gateway", with_((url) => (url.pathname = url.pathname.replace("/gw/", "/second/")))],
    ["another path", with_((url) => (url.pathname = url.pathname.replace("upload/v1beta/files", "v1beta/models/gemini-2.5-flash:generateContent")))],
    ["another provider", with_((url) => (url.pathname = url.pathname.replace("google-ai-studio", "anthropic")))],
    ["another upload", with_((url) => url.searchParams.set("upload_id", "other"))],
    ["more parameters", with_((url) => url.searchParams.append("alt", "json"))],
    ["another account", with_((url) => (url.pathname = url.pathname.replace(ACCOUNT, "acct2")))],
    ["a change of it", with_((url) => url.searchParams.set("cf-aig-capability", tampered))],
    ["none of ours", with_((url) => url.searchParams.set("cf-aig-capability", "x"))],
    ["nothing", with_((url) => url.searchParams.delete("cf-aig-capability"))],
    ["another method", address, { method: "GET" }],
    ["deleting", address, { method: "DELETE" }],
  ]) {
    const answer = await piece(other, options);
    const { name, description } = await answer.json();
    assert.deepEqual([[400, 401].includes(answer.status), name], [true, "AiGatewayError"], what);
    if (what !== "another account") assert.equal(answer.status, 401, what);
    if (!["nothing", "another account"].includes(what)) assert.match(description, /cf-aig-capability/, what);
    assert.ok(!description.includes(capability), what);
  }
  assert.equal(gw.upstream.requests.length, sent);
  // It is good all the same, more than once, and a caller with a token of its own needs none.
  assert.equal((await piece(address, { headers: { "x-goog-upload-command": "upload" }, body: "he" })).status, 200);
  assert.equal((await piece(address, { headers: { "x-goog-upload-offset": "2" }, body: "llo" })).status, 200);
  const own = with_((url) => url.searchParams.set("cf-aig-capability", tampered));
  assert.equal((await piece(own, { headers: { ...OURS, "x-goog-upload-offset": "5", "x-goog-upload-command": "upload" }, body: "" })).status, 200);
  nothingOfOurs();
  await gw.api("/gateways/gw/logs");
  await noRowWith(capability, tampered, capability.slice(0, 40), "cf-aig-capability=");
});

test("a capability ends with the token that it was given to", async () => {
  const gone = await made();
  const { address } = await started({ "x-goog-api-key": gone.value });
  assert.equal((await piece(address, { headers: { "x-goog-upload-command": "upload" }, body: "he" })).status, 200);
  assert.equal((await gw.api(`/tokens/${gone.id}`, { method: "DELETE" })).status, 200);
  const answer = await piece(address, { headers: { "x-goog-upload-offset": "2" }, body: "llo" });
  assert.deepEqual([answer.status, /no longer valid/.test((await answer.json()).description)], [401, true]);
});

test("an upload that was begun with the caller's own key goes on with that, and a stranger's needs no capability", async () => {
  const { address } = await started({ ...OURS, "x-goog-api-key": "AIzaSyOwnKey" });
  assert.ok(new URL(address).searchParams.get("cf-aig-capability"));
  const done = await piece(address);
  assert.equal(done.status, 200);
  assert.deepEqual([gw.upstream.last.headers["x-goog-api-key"], (await gw.logOf(done)).credential], [undefined, "request"]);
  const open = await started({ "x-goog-api-key": "AIzaSyOwnKey" }, { gateway: "open" });
  assert.equal(open.address, `${gw.url}/v1/${ACCOUNT}/open/google-ai-studio/upload/v1beta/files?key=AIzaSyOwnKey&upload_id=ABPnzs1&upload_protocol=resumable`);
  assert.equal((await piece(open.address)).status, 200);
  nothingOfOurs();
});

test("whatever header has an address of the provider leads below the gateway, and no other host is ever chosen", async () => {
  const { origin } = gw.upstream;
  const below = `${gw.url}/v1/${ACCOUNT}/gw`;
  for (const [path, status, headers, wanted, request = {}] of [
    ["openai/v1/x", 307, { location: "https://api.openai.com/v1/y?z=1" }, { location: `${below}/openai/v1/y?z=1` }],
    ["openai/x", 302, { location: `${origin}/openai/v1/y` }, { location: `${below}/openai/y` }],
    ["openai/x", 303, { location: "/openai/v1/y" }, { location: `${below}/openai/y` }],
    ["openai/x", 303, { location: "y" }, { location: "y" }],
    ["openai/x", 201, { location: "https://api.openai.com/v1/y", "x-next": "https://api.openai.com/v1/z" }, { location: `${below}/openai/y`, "x-next": `${below}/openai/z` }],
    ["azure-openai/res/dep/images/generations", 202, { "operation-location": "https://res.openai.azure.com/openai/operations/images/1?api-version=1" }, { "operation-location": `${below}/azure-openai/res/openai/operations/images/1?api-version=1` }],
    ["openai/x", 200, { link: '<https://api.openai.com/v1/x?after=1>; rel="next"' }, { link: `<${below}/openai/x?after=1>; rel="next"` }],
    // Not the provider's.
    ["openai/x", 200, { "x-doc": "https://platform.openai.com/docs" }, { "x-doc": "https://platform.openai.com/docs" }],
    ["openai/x", 201, { location: "https://evil.example/x" }, { location: "https://evil.example/x" }],
    // A client takes the token along to wherever it is led, but for `authorization`.
    ["openai/x", 302, { location: "https://evil.example/x" }, { location: null, "cf-aig-location": "https://evil.example/x" }],
    ["openai/x", 302, { location: "//evil.example/x" }, { location: null, "cf-aig-location": "//evil.example/x" }],
    ["openai/x", 302, { location: "https://api.openai.com@evil.example/v1/x" }, { location: null, "cf-aig-location": "https://api.openai.com@evil.example/v1/x" }],
    ["openai/x", 302, { location: "https://evil.example/x" }, { location: "https://evil.example/x" }, { authorization: `Bearer ${TOKEN}`, "cf-aig-authorization": undefined }],
    ["google-ai-studio/upload/v1beta/files", 200, { "x-goog-upload-url": "https://evil.example/upload" }, { "x-goog-upload-url": null, "cf-aig-location": "https://evil.example/upload" }],
    ["openai/x", 200, { "cf-aig-location": "https://evil.example/" }, { "cf-aig-location": null }],
  ]) {
    gw.upstream.next({ status, headers: { "content-type": "application/json", ...headers }, body: "{}" });
    const sent = Object.fromEntries(Object.entries({ ...OURS, ...request }).filter(([, value]) => value));
    const answer = await gw.call(path, { json: {}, headers: sent });
    assert.equal(answer.status, status);
    for (const [name, value] of Object.entries(wanted)) assert.equal(answer.headers.get(name), value, `${path} ${JSON.stringify(headers)}`);
    assert.equal(answer.headers.get("cf-aig-warning")?.includes("another host") ?? false, "cf-aig-location" in wanted && wanted["cf-aig-location"] !== null);
  }
  // Followed by a client, the redirect arrives at the provider with the stored key.
  gw.upstream.next({ status: 307, headers: { location: "https://api.anthropic.com/v1/messages/elsewhere" } });
  gw.upstream.next(json({ id: "there" }));
  const answer = await gw.call("anthropic/v1/messages", { json: {}, headers: OURS, redirect: "follow" });
  assert.deepEqual([(await answer.json()).id, gw.upstream.last.url, gw.upstream.last.headers["x-api-key"]], ["there", "/v1/messages/elsewhere", "sk-ant-stored-key-of-the-gateway"]);
  // A header of the network does not choose what addresses begin with.
  gw.upstream.next({ status: 302, headers: { location: "https://api.openai.com/v1/y" }, body: "" });
  const named = await raw(`${gw.url}/v1/${ACCOUNT}/open/openai/x`, { headers: { "x-forwarded-host": "evil.example", forwarded: "host=evil.example" } });
  assert.equal(named.headers.location, `${gw.url}/v1/${ACCOUNT}/open/openai/y`);
});

const BATCH = { id: "msgbatch_1", type: "message_batch", processing_status: "ended", request_counts: { processing: 0, succeeded: 1, errored: 0, canceled: 0, expired: 0 }, created_at: "2026-01-01T00:00:00Z", expires_at: "2026-01-02T00:00:00Z", ended_at: "2026-01-01T01:00:00Z", cancel_initiated_at: null, archived_at: null, results_url: "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results" };
const LINE = { custom_id: "a", result: { type: "succeeded", message: { id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [{ type: "text", text: "ramen" }], stop_reason: "end_turn", stop_sequence: null, usage: { input_tokens: 5, output_tokens: 2 } } } };

function anthropic({ method, url, headers }) {
  if (headers["x-api-key"] !== "sk-ant-stored-key-of-the-gateway") return json({ type: "error", error: { type: "authentication_error", message: "invalid x-api-key" } }, { status: 401 });
  const path = url.split("?")[0];
  const answers = {
    "POST /v1/messages/batches": json({ ...BATCH, processing_status: "in_progress", results_url: null }),
    "GET /v1/messages/batches": { ...json({ data: [BATCH, { ...BATCH, id: "msgbatch_2", results_url: null }], has_more: false, first_id: "msgbatch_1", last_id: "msgbatch_2" }), gzip: true },
    "GET /v1/messages/batches/msgbatch_1": { ...json({ ...BATCH, note: BATCH.results_url }), gzip: true },
    "POST /v1/messages/batches/msgbatch_1/cancel": { ...json(BATCH), chunked: true },
    "GET /v1/messages/batches/msgbatch_1/results": { status: 200, headers: { "content-type": "application/x-jsonl" }, body: `${JSON.stringify(LINE)}\n` },
  };
  return answers[`${method} ${path}`] ?? json({ type: "error", error: { type: "not_found_error", message: path } }, { status: 404 });
}

test("the results of Anthropic's batches are read through the gateway", async () => {
  gw.upstream.answer = anthropic;
  for (const how of [{ apiKey: token.value }, { apiKey: "unused", defaultHeaders: OURS }]) {
    const client = new Anthropic({ ...how, baseURL: `${gw.url}/v1/${ACCOUNT}/gw/anthropic`, maxRetries: 0 });
    const results = `${gw.url}/v1/${ACCOUNT}/gw/anthropic/v1/messages/batches/msgbatch_1/results`;
    const batch = await client.messages.batches.create({ requests: [{ custom_id: "a", params: { model: "claude-sonnet-4-5", max_tokens: 5, messages: [{ role: "user", content: "Lunch?" }] } }] });
    assert.equal(batch.results_url, null);
    const { data: again, response } = await client.messages.batches.retrieve("msgbatch_1").withResponse();
    // That field, and no other with the same text.
    assert.deepEqual([again.results_url, again.note], [results, BATCH.results_url]);
    const listed = await client.messages.batches.list();
    assert.deepEqual(listed.data.map(({ results_url }) => results_url), [results, null]);
    assert.equal((await client.messages.batches.cancel("msgbatch_1")).results_url, results);
    const lines = [];
    for await (const line of await client.messages.batches.results("msgbatch_1")) lines.push(line);
    assert.deepEqual(lines, [LINE]);
    assert.equal(gw.upstream.last.url, "/v1/messages/batches/msgbatch_1/results");
    nothingOfOurs();
    // The row has what the provider said.
    const log = await gw.logOf(response);
    assert.deepEqual([log.status_code, log.success], [200, true]);
    const kept = await (await gw.api(`/gateways/gw/logs/${log.id}/response`)).json();
    assert.equal((kept.result ?? kept).results_url ?? JSON.parse(kept.result ?? kept).results_url, BATCH.results_url);
  }
  // In an element of a universal request, too, whose own address means nothing.
  const universal = await fetch(`${gw.url}/v1/${ACCOUNT}/gw`, { method: "POST", headers: OURS, body: JSON.stringify([{ provider: "anthropic", endpoint: "v1/messages/batches/msgbatch_1/cancel", query: {} }]) });
  assert.equal((await universal.json()).results_url, `${gw.url}/v1/${ACCOUNT}/gw/anthropic/v1/messages/batches/msgbatch_1/results`);
  const plain = await raw(`${gw.url}/v1/${ACCOUNT}/gw/anthropic/v1/messages/batches/msgbatch_1`, { headers: OURS });
  assert.equal(Number(plain.headers["content-length"]), plain.body.length);
  const { results_url, ...rest } = JSON.parse(plain.body);
  assert.deepEqual([results_url, rest], [`${gw.url}/v1/${ACCOUNT}/gw/anthropic/v1/messages/batches/msgbatch_1/results`, { ...BATCH, results_url: undefined, note: BATCH.results_url }].map((value) => JSON.parse(JSON.stringify(value))));
});

test("no other answer is looked into", async () => {
  for (const path of ["anthropic/v1/messages", "openai/v1/chat/completions", "anthropic/v1/messages/batches/msgbatch_1/results"]) {
    const body = '{ "results_url" : "https://api.anthropic.com/v1/x",  "urls":{"get":"https://api.openai.com/v1/x"} }';
    gw.upstream.next({ headers: { "content-type": "application/json", etag: '"x"' }, body });
    const answer = await gw.call(path, { json: {}, headers: OURS });
    assert.deepEqual([await answer.text(), answer.headers.get("etag")], [body, '"x"']);
  }
  // One on the list without an address in it stays the bytes that it was.
  const body = '{ "id" : 1.0, "results_url" : "https://elsewhere.example/x" }';
  gw.upstream.next({ headers: { "content-type": "application/json", etag: '"x"' }, body });
  const answer = await gw.call("anthropic/v1/messages/batches/b", { headers: OURS });
  assert.deepEqual([await answer.text(), answer.headers.get("etag")], [body, '"x"']);
});

test("Replicate's and fal's addresses lead below the gateway, to the host that they name", async () => {
  const below = `${gw.url}/v1/${ACCOUNT}/gw`;
  const urls = { get: "https://api.replicate.com/v1/predictions/p1", cancel: "https://api.replicate.com/v1/predictions/p1/cancel", stream: "https://stream.replicate.com/v1/files/f1", web: "https://replicate.com/p/p1" };
  gw.upstream.next(json({ id: "p1", urls, output: "https://replicate.delivery/x.png" }, { status: 201 }));
  const prediction = await (await gw.call("replicate/v1/predictions", { json: {}, headers: OURS })).json();
  const { stream, ...others } = prediction.urls;
  assert.deepEqual(others, { get: `${below}/replicate/v1/predictions/p1`, cancel: `${below}/replicate/v1/predictions/p1/cancel`, web: urls.web });
  assert.equal(prediction.output, "https://replicate.delivery/x.png");
  // Its JavaScript client sends no token there.
  assert.ok(stream.startsWith(`${below}/replicate/~stream.replicate.com/v1/files/f1?cf-aig-capability=tgt_`));
  gw.upstream.next({ events: ["event: output\ndata: hi\n\n", "event: done\ndata: {}\n\n"] });
  const events = await fetch(stream, { headers: { accept: "text/event-stream" } });
  assert.match(await events.text(), /data: hi/);
  assert.deepEqual([gw.upstream.last.url, gw.upstream.last.headers.authorization], ["/v1/v1/files/f1", "Bearer r8_storedkeyofthegateway0123"]);
  assert.equal((await fetch(stream, { method: "POST", body: "{}" })).status, 401);
  gw.upstream.next(json({ next: "https://api.replicate.com/v1/predictions?cursor=c", previous: null, results: [{ urls }] }));
  const page = await (await gw.call("replicate/predictions", { headers: OURS })).json();
  assert.deepEqual([page.next, page.results[0].urls.get], [`${below}/replicate/predictions?cursor=c`, `${below}/replicate/predictions/p1`]);

  const queue = "https://queue.fal.run/fal-ai/flux/requests/r1";
  const queued = { request_id: "r1", response_url: queue, status_url: `${queue}/status`, cancel_url: `${queue}/cancel`, queue_position: 0 };
  gw.upstream.next(json(queued));
  const submitted = await (await gw.call("fal/fal-ai/flux", { json: {}, headers: { ...OURS, "x-fal-target-url": "https://queue.fal.run/fal-ai/flux" } })).json();
  assert.deepEqual(submitted, { ...queued, response_url: `${below}/fal/~queue.fal.run/fal-ai/flux/requests/r1`, status_url: `${below}/fal/~queue.fal.run/fal-ai/flux/requests/r1/status`, cancel_url: `${below}/fal/~queue.fal.run/fal-ai/flux/requests/r1/cancel` });
  gw.upstream.next(json({ ...queued, status: "COMPLETED" }));
  const status = await fetch(submitted.status_url, { headers: OURS });
  assert.equal((await status.json()).response_url, submitted.response_url);
  assert.deepEqual([gw.upstream.last.url, gw.upstream.last.headers.authorization], ["/fal-ai/flux/requests/r1/status", "Key falkeyid:falsecret-of-the-gateway"]);
  const refused = await gw.call("fal/~evil.example/x", { json: {}, headers: OURS });
  assert.deepEqual([refused.status, /the host must be one of/.test((await refused.json()).description)], [400, true]);
  nothingOfOurs();
});

test("behind a proxy the operator says what addresses begin with", async () => {
  const proxied = await Gateway.start({ bindings: { PUBLIC_URL: "https://gate.example/llm/" } });
  try {
    await proxied.create("gw");
    proxied.upstream.next({ status: 302, headers: { location: "https://api.openai.com/v1/y" }, body: "" });
    const answer = await proxied.call("openai/x", { gateway: "gw" });
    assert.equal(answer.headers.get("location"), `https://gate.example/llm/v1/${ACCOUNT}/gw/openai/y`);
  } finally {
    await proxied.stop();
  }
});
