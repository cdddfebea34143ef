// Spans by OTLP/HTTP: what a receiver gets, in both encodings, and what becomes of spans that it does not take. Protobuf is decoded by what protobufjs
// has generated from OpenTelemetry's own .proto files: the last @opentelemetry/otlp-transformer that ships it.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import proto from "@opentelemetry/otlp-transformer/build/src/generated/root.js";
import { ACCOUNT, Gateway, until } from "../harness.mjs";

const { ExportTraceServiceRequest, ExportTraceServiceResponse } = proto.opentelemetry.proto.collector.trace.v1;
let gw, receiver, got, answer;
before(async () => {
  receiver = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const type = request.headers["content-type"];
    const { resource, spans } = decoded(type, Buffer.concat(chunks));
    const { status = 200, headers = {}, body = type === "application/json" ? "{}" : "", delay = 0 } = (await answer(request.url, spans)) ?? {};
    const take = () => {
      if (status === 200) got.push({ path: request.url, type, headers: request.headers, resource, spans });
      response.writeHead(status, { "content-type": type, ...headers }).end(body);
    };
    delay ? setTimeout(take, delay) : take();
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
});
beforeEach(() => {
  got = [];
  answer = () => ({});
  gw.upstream.requests.length = 0;
});
after(async () => {
  await gw.stop(/"event":"spans_dropped"/);
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
});

/** A request to the receiver as plain objects: ids as hexadecimal digits, attributes by their names. */
function decoded(type, body) {
  const value = (any) => {
    if (!any) return undefined;
    if (any.arrayValue) return any.arrayValue.values.map(value);
    return any.stringValue ?? any.boolValue ?? any.doubleValue ?? Number(any.intValue);
  };
  const attributes = (all = []) => Object.fromEntries(all.map(({ key, value: any }) => [key, value(any)]));
  let request;
  if (type === "application/json") {
    request = JSON.parse(body);
    // What the standard says of JSON: hexadecimal ids, numbers of 64 bits as texts, and no member that the .proto files do not have.
    const [{ spans }] = request.resourceSpans[0].scopeSpans;
    for (const span of spans) {
      assert.match(span.traceId, /^[0-9a-f]{32}$/);
      assert.match(span.startTimeUnixNano, /^\d{19}$/);
      for (const { value: any } of span.attributes) assert.ok(any.intValue === undefined || typeof any.intValue === "string");
    }
    assert.equal(ExportTraceServiceRequest.verify({ resourceSpans: [] }), null);
  } else {
    assert.equal(type, "application/x-protobuf");
    const message = ExportTraceServiceRequest.decode(body);
    assert.ok(Buffer.from(ExportTraceServiceRequest.encode(message).finish()).length === body.length, "the decoder knows every field");
    request = ExportTraceServiceRequest.toObject(message, { longs: String, oneofs: false });
  }
  const [{ resource, scopeSpans }] = request.resourceSpans;
  assert.equal(scopeSpans[0].scope.name, "tollgate");
  const id = (bytes) => (typeof bytes === "string" ? bytes : bytes?.length ? Buffer.from(bytes).toString("hex") : undefined);
  const spans = scopeSpans[0].spans.map((span) => ({
    name: span.name, kind: span.kind, trace: id(span.traceId), id: id(span.spanId), parent: id(span.parentSpanId), status: span.status?.code ?? 0,
    ms: Number((BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1_000_000n), of: attributes(span.attributes),
  }));
  return { resource: attributes(resource.attributes), spans };
}

const CHAT = { model: "gpt-4o", temperature: 0.5, messages: [{ role: "user", content: "Lunch?" }] };
const sk = { authorization: "Bearer sk-client-0123456789" };
const chat = (gateway, headers = {}, json = CHAT) => gw.call("openai/chat/completions", { gateway, json, headers: { ...sk, ...headers } });
const url = (path) => `http://127.0.0.1:${receiver.address().port}${path}/v1/traces`;
const spansOf = (path) => got.filter((one) => one.path.startsWith(path)).flatMap(({ spans }) => spans);
const roots = (path) => spansOf(path).filter(({ of }) => of["gen_ai.operation.name"]);
const came = (path, number) => until(() => spansOf(path).length >= number, `${number} spans at ${path}`, 30_000);
const telemetry = async (gateway) => (await gw.result(`/gateways/${gateway}/telemetry`))[0];

test("a request and its call are spans in both encodings, by the conventions, and secrets of destinations are never shown again", async () => {
  const secret = "canary-of-a-destination";
  const otel = [
    { url: url("/json"), headers: { "X-Team": secret }, authorization: `Bearer ${secret}` },
    { url: url("/proto"), headers: {}, content_type: "protobuf" },
  ];
  await gw.create("both", { otel });
  const reply = await chat("both", { "cf-aig-metadata": JSON.stringify({ team: "red", seats: 4 }) });
  assert.equal(reply.status, 200);
  const log = await gw.logOf(reply, "both");
  await came("/json", 2);
  await came("/proto", 2);
  for (const path of ["/json", "/proto"]) {
    const spans = spansOf(path);
    assert.equal(spans.length, 2);
    const request = spans.find(({ of }) => of["gen_ai.operation.name"]);
    const call = spans.find((span) => span !== request);
    assert.deepEqual([request.name, request.kind, request.status, request.parent], ["chat gpt-4o", 3, 0, undefined]);
    assert.deepEqual([call.name, call.trace, call.parent, call.of["http.response.status_code"]], ["HTTP POST", request.trace, request.id, 200]);
    assert.deepEqual([call.of["server.address"], call.of["url.full"]], ["127.0.0.1", `${gw.upstream.origin}/openai/v1/chat/completions`]);
    const { of } = request;
    assert.deepEqual([of["gen_ai.provider.name"], of["gen_ai.system"], of["gen_ai.model.provider"]], ["openai", "openai", "openai"]);
    assert.deepEqual([of["gen_ai.usage.input_tokens"], of["gen_ai.usage.output_tokens"], of["gen_ai.usage.cost"]], [log.tokens_in, log.tokens_out, log.cost]);
    assert.deepEqual([of["tollgate.log_id"], of["tollgate.gateway"], of["tollgate.account"], of.team, of.seats], [log.id, "both", ACCOUNT, "red", 4]);
    assert.equal(of["gen_ai.request.temperature"], 0.5);
    assert.ok(!JSON.stringify(spans).includes("Lunch?"), "content is told only where it is asked for");
    assert.deepEqual([got.find((one) => one.path.startsWith(path)).resource["service.name"]], ["ai-gateway"]);
  }
  const sent = got.find(({ path }) => path.startsWith("/json"));
  assert.deepEqual([sent.headers.authorization, sent.headers["x-team"]], [`Bearer ${secret}`, secret]);
  const shown = await gw.result("/gateways/both");
  assert.deepEqual([shown.otel[0].headers, shown.otel[0].authorization, shown.otel[1].content_type], [{ "X-Team": "***" }, "***", "protobuf"]);
  const stored = JSON.stringify([await gw.rows("SELECT * FROM gateways"), await gw.rows("SELECT * FROM otel_destinations"), await gw.rows("SELECT * FROM audit")]);
  assert.ok(!stored.includes(secret));
  // What GET shows can be sent back, and the secrets hold; also by a client that does not know ids.
  for (const back of [shown, { otel: shown.otel.map(({ id, ...one }) => one) }]) {
    const put = await gw.api("/gateways/both", { method: "PUT", body: JSON.stringify(back) });
    assert.equal(put.status, 200, await put.clone().text());
    assert.deepEqual((await put.json()).result.otel, shown.otel);
    got = [];
    await chat("both");
    await came("/json", 2);
    assert.equal(got.find(({ path }) => path.startsWith("/json")).headers["x-team"], secret);
  }
  await until(async () => (await telemetry("both")).exported === 6, "the count of spans");
  const { active, rejected, dropped, error } = await telemetry("both");
  assert.deepEqual([active, rejected, dropped, error], [true, 0, 0, null]);
});

test("a secret goes to no other host, and only the admin says who is told", async () => {
  await gw.create("kept", { otel: [{ id: "one", url: url("/kept"), authorization: "Bearer secret-of-one" }] });
  const put = (otel, headers) => gw.api("/gateways/kept", { method: "PUT", body: JSON.stringify({ otel }), headers });
  const elsewhere = await put([{ id: "one", url: "http://127.0.0.1:9/v1/traces", authorization: "***" }]);
  assert.deepEqual([elsewhere.status, (await elsewhere.json()).errors[0].path], [400, ["body", "otel", "0", "headers"]]);
  const fresh = await gw.api("/gateways", { method: "POST", body: JSON.stringify({ id: "fresh", otel: [{ url: url("/x"), authorization: "***" }] }) });
  assert.equal(fresh.status, 400);
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "editor", permissions: ["edit"] }) });
  const editor = { authorization: `Bearer ${(await made.json()).result.value}` };
  const shown = (await gw.result("/gateways/kept")).otel;
  assert.equal((await put(shown, editor)).status, 200);
  assert.equal((await put([{ url: url("/theirs") }], editor)).status, 403);
  assert.equal((await put(null, editor)).status, 403);
  assert.deepEqual((await gw.result("/gateways/kept")).otel, shown);
  assert.equal((await put(null)).status, 200);
  assert.deepEqual(await gw.rows("SELECT id FROM otel_destinations WHERE gateway = (SELECT key FROM gateways WHERE id = 'kept')"), []);
});

test("an internal address wants the operator's word", async () => {
  const strict = await Gateway.start();
  for (const [wrong, at] of [["http://127.0.0.1:4318", "url"], ["https://metadata.google.internal/v1/traces", "url"], ["http://collector.example.com", "url"]]) {
    const made = await strict.api("/gateways", { method: "POST", body: JSON.stringify({ id: "inner", otel: [{ url: wrong }] }) });
    assert.deepEqual([made.status, (await made.json()).errors[0].path], [400, ["body", "otel", "0", at]], wrong);
  }
  await strict.stop();
});

test("a trace goes on with what the caller began: Cloudflare's headers before traceparent, and what is not sampled is not told", async () => {
  await gw.create("traces", { otel: [{ url: url("/traces") }] });
  const [trace, parent] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
  await chat("traces", { traceparent: `00-${trace}-${parent}-00` });
  await chat("traces", { traceparent: `00-${trace}-${parent}-01` });
  assert.equal(gw.upstream.last.headers.traceparent, `00-${trace}-${parent}-01`);
  await chat("traces", { traceparent: `00-${trace}-${parent}-01`, "cf-aig-otel-trace-id": "a".repeat(32), "cf-aig-otel-parent-span-id": "b".repeat(16) });
  await chat("traces", { traceparent: "nonsense" });
  await until(() => roots("/traces").length >= 3, "three requests");
  assert.deepEqual(roots("/traces").map((span) => [span.trace.replace(/^(?!4bf|aaa).*/, "new"), span.parent]).sort(), [[trace, parent], ["a".repeat(32), "b".repeat(16)], ["new", undefined]].sort());
  assert.equal(gw.upstream.last.headers["cf-aig-otel-trace-id"], undefined);
});

test("each attempt of a request is a child of the same span, and so is each step", async () => {
  await gw.create("tries", { otel: [{ url: url("/tries") }], retry_max_attempts: 3, retry_delay: 1 });
  const failing = { status: 503, headers: { "content-type": "application/json" }, body: '{"error":{"message":"busy"}}' };
  gw.upstream.next(failing);
  gw.upstream.next(failing);
  assert.equal((await chat("tries")).status, 200);
  await came("/tries", 4);
  const [root] = roots("/tries");
  const children = spansOf("/tries").filter((span) => span !== root);
  assert.deepEqual(children.map(({ parent, trace }) => [parent, trace]), Array(3).fill([root.id, root.trace]));
  assert.deepEqual(children.map(({ of }) => [of["http.response.status_code"], of["http.request.resend_count"], of["error.type"]]).sort(), [[200, 2, undefined], [503, undefined, "503"], [503, 1, "503"]].sort());
  assert.deepEqual([root.status, root.of["tollgate.attempts"]], [0, 3]);
  assert.ok(children.every(({ ms }) => root.ms >= ms));
  // The steps of a universal request, of which the last has an answer.
  got = [];
  gw.upstream.next(failing);
  const step = (provider, endpoint, query) => ({ provider, endpoint, headers: { ...sk, "content-type": "application/json", "cf-aig-max-attempts": "1" }, query });
  const reply = await fetch(`${gw.url}/v1/${ACCOUNT}/tries`, { method: "POST", body: JSON.stringify([step("openai", "chat/completions", CHAT), step("groq", "chat/completions", { ...CHAT, model: "llama-3.3-70b-versatile" })]) });
  assert.equal(reply.status, 200);
  await came("/tries", 3);
  assert.equal(roots("/tries").length, 1);
  assert.deepEqual([roots("/tries")[0].of["gen_ai.provider.name"], spansOf("/tries").filter(({ parent }) => parent === roots("/tries")[0].id).map(({ of }) => of["tollgate.step"]).sort()], ["groq", [0, 1]]);
});

test("what the gateway refuses is an error without a call, and failures are told whatever part of all traces is wanted", async () => {
  await gw.create("refuses", { otel: [{ url: url("/refuses"), sample: 0 }], rate_limiting_limit: 1, rate_limiting_interval: 86_400 });
  assert.equal((await chat("refuses")).status, 200);
  assert.equal((await chat("refuses")).status, 429);
  await came("/refuses", 1);
  assert.deepEqual(spansOf("/refuses").map(({ status, of }) => [status, of["error.type"], of["http.response.status_code"]]), [[2, "429", 429]]);
});

test("content is told where it is asked for and kept: never with zdr, and with the placeholders of data loss prevention", async () => {
  const otel = (path) => [{ url: url(path), content: true, preset: "langfuse", content_type: "protobuf" }];
  await gw.create("says", { otel: otel("/says") });
  await gw.create("nothing", { otel: otel("/nothing"), zdr: true });
  await gw.create("places", { otel: otel("/places"), dlp: { enabled: true, policies: [{ id: "c", enabled: true, action: "REDACT", check: ["REQUEST", "RESPONSE"], profiles: ["credit_card"] }] } });
  const card = { ...CHAT, messages: [{ role: "user", content: "my card is 4111 1111 1111 1111" }] };
  for (const gateway of ["says", "nothing", "places"]) assert.equal((await chat(gateway, {}, card)).status, 200);
  assert.equal((await chat("says", { "cf-aig-collect-log-payload": "false" }, card)).status, 200);
  for (const path of ["/says", "/nothing", "/places"]) await until(() => roots(path).length >= (path === "/says" ? 2 : 1), path);
  const [said, unsaid] = roots("/says").sort((a, b) => Number("gen_ai.prompt_json" in b.of) - Number("gen_ai.prompt_json" in a.of));
  assert.deepEqual(JSON.parse(said.of["gen_ai.input.messages"]), [{ role: "user", parts: [{ type: "text", content: card.messages[0].content }] }]);
  assert.ok(said.of["gen_ai.completion_json"] && said.of["gen_ai.output.messages"] && said.of["langfuse.observation.input"]);
  const usage = JSON.parse(said.of["langfuse.observation.usage_details"]);
  assert.equal(usage.input + usage.input_cached_tokens + usage.output + usage.output_reasoning_tokens, usage.total);
  for (const span of [unsaid, roots("/nothing")[0]]) assert.ok(!JSON.stringify(span).includes("card"), "no content");
  const placed = JSON.stringify(roots("/places")[0]);
  assert.ok(!placed.includes("4111 1111") && placed.includes("my card is ["), placed);
  assert.equal(got.find(({ path }) => path.startsWith("/says")).headers["x-langfuse-ingestion-version"], "4");
});

test("a destination that is busy is tried again, one that is slow keeps no request waiting, and one that lies is counted", async () => {
  await gw.create("busy", { otel: [{ url: url("/busy") }] });
  let refused = 0;
  answer = () => (refused++ < 2 ? { status: [429, 503][refused - 1], headers: { "retry-after": "0" } } : {});
  await chat("busy");
  await came("/busy", 2);
  await until(async () => (await telemetry("busy")).exported === 2, "the count");
  const busy = await telemetry("busy");
  assert.deepEqual([busy.dropped, busy.rejected, busy.error], [0, 0, "it answered with the status 503"]);
  assert.equal(spansOf("/busy").length, 2, "nothing came twice");

  await gw.create("slow", { otel: [{ url: url("/slow") }] });
  let release;
  const held = new Promise((resolve) => (release = resolve));
  answer = () => held;
  assert.equal((await chat("slow")).status, 200);
  assert.equal((await chat("slow")).status, 200, "no request waits for the destination");
  release({});
  await came("/slow", 4);

  for (const [id, type, body] of [
    ["lies", "json", JSON.stringify({ partialSuccess: { rejectedSpans: "2", errorMessage: "too old" } })],
    ["lies-too", "protobuf", Buffer.from(ExportTraceServiceResponse.encode({ partialSuccess: { rejectedSpans: 2, errorMessage: "too old" } }).finish())],
  ]) {
    await gw.create(id, { otel: [{ url: url(`/${id}`), content_type: type }] });
    answer = () => ({ body });
    await chat(id);
    await until(async () => (await telemetry(id)).rejected === 2, "what was rejected");
    const lying = await telemetry(id);
    assert.deepEqual([lying.exported, lying.dropped, lying.error], [0, 0, "it rejected 2 spans: too old"]);
    assert.equal(spansOf(`/${id}`).length, 2, "what was rejected is not sent again");
  }
});

test("what a destination refuses for good is dropped, counted, told to the operator, and not sent again", async () => {
  await gw.create("refused", { otel: [{ url: url("/refused"), authorization: "Bearer wrong" }] });
  let asked = 0;
  answer = (path) => (path.startsWith("/refused") ? (asked++, { status: 401, body: "no" }) : {});
  const hook = await gw.api("/alerts/webhooks", { method: "POST", body: JSON.stringify({ url: `${gw.upstream.origin}/hook`, gateway: "refused", events: ["telemetry"] }) });
  assert.equal(hook.status, 200);
  assert.equal((await chat("refused")).status, 200);
  await until(async () => (await telemetry("refused")).dropped === 2, "what was dropped");
  assert.deepEqual([asked, (await telemetry("refused")).error], [1, "it answered with the status 401"]);
  await until(async () => (await gw.result("/alerts")).some(({ type, gateway }) => type === "telemetry" && gateway === "refused"), "the alert");
  assert.ok(gw.output.some((line) => line.includes("spans_dropped") && line.includes('"spans":2') && !line.includes("Bearer")));
});

test("a gateway without destinations sends nothing, and one that is deleted leaves nothing", async () => {
  await gw.create("gone", { otel: [{ url: url("/gone") }] });
  const [{ key }] = await gw.rows("SELECT key FROM gateways WHERE id = 'gone'");
  assert.equal((await gw.api("/gateways/gone", { method: "DELETE" })).status, 200);
  assert.deepEqual(await gw.rows("SELECT id FROM otel_destinations WHERE gateway = ?", key), []);
  await gw.create("plain");
  const reply = await chat("plain");
  await gw.logOf(reply, "plain");
  assert.deepEqual([got, await gw.result("/gateways/plain/telemetry")], [[], []]);
});

test("with a queue its consumer sends the spans, which outlive a destination that is down", async () => {
  const queued = await Gateway.start({
    bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" },
    worker: { queueProducers: { LOG_QUEUE: "logs" }, queueConsumers: { logs: { maxBatchSize: 10, maxBatchTimeout: 0, maxRetries: 100 } } },
  });
  await queued.create("queued", { otel: [{ url: url("/queued"), content_type: "protobuf" }, { url: url("/queued-json") }] });
  let asked = 0;
  answer = (path) => (path === "/queued/v1/traces" && asked++ < 1 ? { status: 503 } : {});
  const reply = await queued.call("openai/chat/completions", { gateway: "queued", json: CHAT, headers: sk });
  assert.equal(reply.status, 200);
  const log = await queued.logOf(reply, "queued");
  await came("/queued-json", 2);
  await came("/queued/", 2);
  assert.deepEqual(roots("/queued/").map(({ of }) => of["tollgate.log_id"]), [log.id]);
  await until(async () => (await queued.result("/gateways/queued/telemetry"))[0].exported === 2, "the count");
  const [{ dropped, error }] = await queued.result("/gateways/queued/telemetry");
  assert.deepEqual([dropped, error], [0, "it answered with the status 503"]);
  await queued.stop();
});
