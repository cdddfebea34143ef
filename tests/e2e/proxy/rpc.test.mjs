import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, before, beforeEach, test } from "node:test";
import { buildSync } from "esbuild";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/**
 * A Worker that does what it is told: `/raw` calls the entrypoint's methods, `/client` those of the client's objects, and
 * both answer with what came of it. `/stream` and `/sdk` hand on a stream, and what `ai-gateway-provider` made of one.
 */
const CALLER = `
import { Tollgate } from "./clients/workers/index.js";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import { createAiGateway } from "ai-gateway-provider";

async function shown(value) {
  if (value instanceof Response) return { status: value.status, headers: Object.fromEntries(value.headers), text: await value.text() };
  if (value instanceof ReadableStream) return { stream: await new Response(value).text() };
  if (value?.created_at instanceof Date) return { ...value, created_at: { date: value.created_at.toISOString() } };
  return value ?? null;
}

async function outcome(call) {
  try {
    return { value: await shown(await call()) };
  } catch (error) {
    return { error: { name: error.name, message: error.message, isError: error instanceof Error } };
  }
}

export default {
  async fetch(request, env) {
    const told = request.method === "POST" ? await request.json() : {};
    const ai = new Tollgate(env.TOLLGATE, { account: "acct", keys: { openai: "sk-openai", anthropic: "sk-ant", "workers-ai": "cf-token" }, gateway: "gw", ...told.options });
    switch (new URL(request.url).pathname) {
      case "/raw":
        return Response.json(await outcome(() => env.TOLLGATE[told.method](...told.args)));
      case "/client": {
        const on = told.gateway ? ai.gateway(told.gateway) : ai;
        const did = await outcome(() => on[told.method](...told.args));
        return Response.json({ ...did, log: ai.aiGatewayLogId });
      }
      case "/concurrent": {
        const runs = told.users.map(async (user) => {
          const own = new Tollgate(env.TOLLGATE, { account: "acct", gateway: "gw", keys: { openai: user } });
          await own.run("openai/gpt-4o", { messages: [] }, { gateway: { metadata: { user }, eventId: user } });
          return own.aiGatewayLogId;
        });
        return Response.json(await Promise.all(runs));
      }
      case "/stream":
        return new Response(await ai.run("openai/gpt-4o", { messages: [], stream: true }), { headers: { "x-log": ai.aiGatewayLogId } });
      case "/bigint": {
        await ai.run("openai/gpt-4o", { messages: [] }, { gateway: { metadata: { n: 12345678901234567890n } } });
        return Response.json({ log: ai.aiGatewayLogId });
      }
      case "/abort": {
        const leaving = new AbortController();
        setTimeout(() => leaving.abort(), 300);
        return Response.json(await outcome(() => ai.run("openai/gpt-4o", { messages: [] }, { signal: leaving.signal, ...told })));
      }
      case "/abort-stream": {
        const leaving = new AbortController();
        const stream = await ai.run("openai/gpt-4o", { messages: [], stream: true }, { signal: leaving.signal });
        const reader = stream.getReader();
        await reader.read();
        leaving.abort();
        return Response.json({ ...(await outcome(async () => { for (;;) if ((await reader.read()).done) return "whole"; })), log: ai.aiGatewayLogId });
      }
      case "/sdk": {
        const gateway = createAiGateway({ binding: ai.gateway(told.id ?? "gw"), options: { metadata: { via: "ai-sdk" }, eventId: told.event } });
        const openai = createOpenAI({ apiKey: "sk-sdk" });
        const model = gateway([openai.chat("gpt-4o-mini"), openai.chat("gpt-4o")]);
        if (told.stream) return streamText({ model, prompt: "Hi" }).toTextStreamResponse();
        return Response.json(await outcome(async () => (await generateText({ model, prompt: "Hi", maxRetries: 0 })).text));
      }
    }
  },
};`;

const bundled = (options) => buildSync({ bundle: true, write: false, format: "esm", conditions: ["workerd", "worker", "import"], target: "es2022", logLevel: "error", external: ["node:*"], absWorkingDir: root, ...options }).outputFiles[0].text;
const caller = bundled({ stdin: { contents: CALLER, resolveDir: root, sourcefile: "caller.mjs" } });
const example = bundled({ entryPoints: ["examples/worker/index.js"] });
const worker = (name, contents, more) => ({ name, modules: [{ type: "ESModule", path: `${name}.mjs`, contents }], compatibilityDate: "2026-11-01", serviceBindings: { TOLLGATE: "tollgate" }, ...more });

let gw;
const callers = {};
before(async () => {
  const others = [
    worker("caller", caller),
    worker("signalling", caller, { compatibilityFlags: ["enable_abortsignal_rpc"] }),
    worker("old", caller, { compatibilityDate: "2025-01-01" }),
    worker("example", example, { bindings: { ACCOUNT, GATEWAY: "default", OPENAI_API_KEY: "sk-example" } }),
  ];
  gw = await Gateway.start({ others, bindings: { PUBLIC_URL: "https://llm.example.com/" } });
  // A Worker that is bound needs no token, so the gateway of all these tests is one that wants one.
  await gw.create("gw", { authentication: true });
  for (const { name } of others) callers[name] = await gw.miniflare.getWorker(name);
});
beforeEach(() => (gw.upstream.requests.length = 0));
after(() => gw.stop());

const SCOPE = { account: ACCOUNT, gateway: "gw" };
const NO_LOG = "01JADMCQQQBWH3NXZ5GCRN98DP";
const chat = (extra) => ({ provider: "openai", endpoint: "chat/completions", headers: { authorization: "Bearer sk-test" }, query: { model: "gpt-4o", messages: [] }, ...extra });

async function ask(path, told, by = "caller") {
  const answer = await callers[by].fetch(`https://caller${path}`, { method: "POST", body: JSON.stringify(told ?? {}) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

const raw = (method, ...args) => ask("/raw", { method, args });
const client = (method, ...args) => ask("/client", { method, args });
const clientGateway = (method, ...args) => ask("/client", { gateway: "gw", method, args });
const logged = (id) => gw.logOf({ headers: { "cf-aig-log-id": id } });

// === The entrypoint's methods ===

test("run is the universal endpoint, and its options arrive in the log", async () => {
  const gateway = { id: "gw", metadata: { user: "jane", n: 1, yes: true }, eventId: "event-7", collectLog: true, cacheTtl: 0, skipCache: false };
  const { value } = await raw("run", chat(), { account: ACCOUNT, gateway });
  assert.deepEqual([value.status, value.headers["cf-aig-step"], value.headers["cf-aig-event-id"], JSON.parse(value.text).object], [200, "0", "event-7", "chat.completion"]);
  const log = await logged(value.headers["cf-aig-log-id"]);
  assert.deepEqual([log.metadata, log.event_id, log.success, log.tokens_in, log.authentication], [gateway.metadata, "event-7", true, 17, true]);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-test");
  assert.ok(!Object.keys(gw.upstream.last.headers).some((name) => name.startsWith("cf-aig-")));
});

test("run falls back, and each step leaves a row", async () => {
  gw.upstream.next({ status: 500, headers: { "content-type": "application/json" }, body: '{"error":{"message":"down"}}' });
  const { value } = await raw("run", [chat(), chat({ provider: "groq" })], { account: ACCOUNT, gateway: { id: "gw" }, extraHeaders: { "cf-aig-metadata": { a: 1 } } });
  assert.deepEqual([value.status, value.headers["cf-aig-step"]], [200, "1"]);
  const log = await logged(value.headers["cf-aig-log-id"]);
  const query = "SELECT step, provider, success, metadata FROM logs WHERE event_id = ? ORDER BY step";
  await until(async () => (await gw.rows(query, log.event_id)).length === 2, "both rows");
  assert.deepEqual(await gw.rows(query, log.event_id), [
    { step: 0, provider: "openai", success: 0, metadata: '{"a":1}' },
    { step: 1, provider: "groq", success: 1, metadata: '{"a":1}' },
  ]);
});

test("run answers bad input as HTTP does, and throws for options without a place", async () => {
  const { value } = await raw("run", [{ endpoint: "x" }], { account: ACCOUNT, gateway: { id: "gw" } });
  assert.deepEqual([value.status, JSON.parse(value.text).description], [400, "Element 0: missing field `provider` at line 1 column 16."]);
  const unknown = await raw("run", chat(), { account: ACCOUNT, gateway: { id: "unknown" } });
  assert.deepEqual([unknown.value.status, JSON.parse(unknown.value.text).internalCode], [400, 2001]);
  for (const options of [undefined, {}, { account: ACCOUNT }]) {
    const { error } = await raw("run", chat(), options);
    assert.deepEqual([error.name, /^options: /.test(error.message)], ["AiGatewayInternalError", true]);
  }
});

test("getLog answers with the log", async () => {
  const { value: answer } = await raw("run", chat(), { account: ACCOUNT, gateway: { id: "gw", metadata: { a: 1 } } });
  const id = answer.headers["cf-aig-log-id"];
  const { value: log } = await raw("getLog", id, SCOPE);
  const { created_at, ...rest } = await logged(id);
  assert.deepEqual(log, { ...rest, created_at: { date: new Date(created_at).toISOString() } });
  assert.deepEqual([log.id, log.metadata, log.provider, log.request_head_complete], [id, { a: 1 }, "openai", true]);
});

test("getLog tells a log that is not there from a call that cannot be understood", async () => {
  for (const id of [NO_LOG, "../..", `${NO_LOG}/request`, "", null]) {
    assert.equal((await raw("getLog", id, SCOPE)).error.name, "AiGatewayLogNotFound", id);
  }
  assert.equal((await raw("getLog", NO_LOG, { ...SCOPE, account: "stranger" })).error.name, "AiGatewayLogNotFound");
  for (const scope of [undefined, {}, { account: ACCOUNT }, { account: "a/b", gateway: "gw" }]) {
    assert.equal((await raw("getLog", NO_LOG, scope)).error.name, "AiGatewayInternalError");
  }
});

test("getUrl knows the caller's origin, and else the operator's", async () => {
  assert.equal((await raw("getUrl", undefined, SCOPE)).value, "https://llm.example.com/v1/acct/gw/");
  assert.equal((await raw("getUrl", "openai", SCOPE)).value, "https://llm.example.com/v1/acct/gw/openai");
  assert.equal((await raw("getUrl", "openai", { ...SCOPE, origin: "http://here" })).value, "http://here/v1/acct/gw/openai");
  assert.equal((await raw("getUrl", "openai", {})).error.name, "AiGatewayInternalError");
});

test("patchLog and feedback", async () => {
  const { value: answer } = await raw("run", chat(), { account: ACCOUNT, gateway: { id: "gw" } });
  const id = answer.headers["cf-aig-log-id"];
  assert.deepEqual(await raw("patchLog", id, { feedback: 1, score: 80, metadata: { late: true } }, SCOPE), { value: null });
  assert.ok((await raw("feedback", id, { rating: 5, tags: ["a"] }, SCOPE)).value);
  const log = await logged(id);
  assert.deepEqual([log.feedback, log.score, log.metadata], [1, 80, { late: true }]);
  assert.equal((await raw("patchLog", NO_LOG, { feedback: 1 }, SCOPE)).error.name, "AiGatewayLogNotFound");
  assert.equal((await raw("patchLog", id, { feedback: 7 }, SCOPE)).error.name, "AiGatewayInternalError");
});

test("without a usable admin token nobody is served", async () => {
  const bare = await Gateway.start({ bindings: { ADMIN_TOKEN: undefined }, others: [worker("caller", caller)], upstream: gw.upstream });
  const bound = await bare.miniflare.getWorker("caller");
  const told = async (method, ...args) => (await bound.fetch("https://caller/raw", { method: "POST", body: JSON.stringify({ method, args }) })).json();
  assert.equal((await told("run", chat(), { account: ACCOUNT, gateway: { id: "gw" } })).value.status, 503);
  assert.match((await told("getLog", NO_LOG, SCOPE)).error.message, /ADMIN_TOKEN is not set/);
  await bare.miniflare.dispose();
});

// === The client ===

test("run of a Workers AI model gives its result", async () => {
  const metadata = { team: "AI", user: 12345, test: true };
  gw.upstream.next({ file: "workers-ai/run.json" });
  const { value, log } = await client("run", "@cf/meta/llama-3.1-8b-instruct", { prompt: "What should I eat for lunch?" }, { gateway: { id: "gw", metadata } });
  assert.equal(typeof value.response, "string");
  assert.deepEqual([gw.upstream.last.url, gw.upstream.last.headers.authorization], ["/ai/run/@cf/meta/llama-3.1-8b-instruct", "Bearer cf-token"]);
  assert.deepEqual(JSON.parse(gw.upstream.last.body), { prompt: "What should I eat for lunch?" });
  const row = await logged(log);
  assert.deepEqual([row.metadata, row.provider, row.model, row.tokens_in], [metadata, "workers-ai", "@cf/meta/llama-3.1-8b-instruct", 11]);
});

test("run of a Workers AI model streams", async () => {
  const { value, log } = await client("run", "@cf/meta/llama-3.1-8b-instruct", { prompt: "Hi", stream: true });
  assert.match(value.stream, /\[DONE\]/);
  assert.equal((await logged(log)).tokens_out, 7);
});

test("run of the other providers' models gives their JSON", async () => {
  for (const [model, provider, sent, url, key] of [
    ["openai/gpt-4o", "openai", "gpt-4o", "/v1/chat/completions", "Bearer sk-openai"],
    ["xai/grok-4", "grok", "grok-4", "/v1/chat/completions", undefined],
    ["openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o", "/api/v1/chat/completions", undefined],
    ["anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5", "/v1/messages", undefined],
  ]) {
    const { value, log } = await client("run", model, { messages: [] });
    assert.ok(value.id, JSON.stringify(value));
    const { body, headers, url: to } = gw.upstream.last;
    assert.deepEqual([JSON.parse(body), to, headers.authorization], [{ messages: [], model: sent }, url, key]);
    if (provider === "anthropic") assert.deepEqual([headers["x-api-key"], headers["anthropic-version"]], ["sk-ant", "2023-06-01"]);
    assert.equal((await logged(log)).provider, provider);
  }
  const { error } = await client("run", "nobody/model", {});
  assert.deepEqual([error.name, /neither a model/.test(error.message)], ["AiInternalError", true]);
});

test("a failed run throws what went wrong, or gives the raw response", async () => {
  const down = { status: 503, headers: { "content-type": "application/json" }, body: '{"error":{"message":"overloaded","code":"busy"}}' };
  gw.upstream.next(down);
  const failed = await client("run", "openai/gpt-4o", { messages: [] });
  assert.deepEqual(failed.error, { name: "InferenceUpstreamError", message: "busy: overloaded", isError: true });
  assert.deepEqual([(await logged(failed.log)).status_code, (await logged(failed.log)).success], [503, false]);
  gw.upstream.next(down);
  const { value } = await client("run", "openai/gpt-4o", { messages: [] }, { returnRawResponse: true });
  assert.deepEqual([value.status, value.text], [503, down.body]);
  gw.upstream.next({ reset: true });
  assert.match((await client("run", "openai/gpt-4o", {})).error.message, /^2005: openai did not answer/);
  gw.upstream.next({ status: 500, headers: { "content-type": "text/html" }, body: "<h1>no</h1>" });
  assert.equal((await client("run", "openai/gpt-4o", {})).error.message, "500: <h1>no</h1>");
  const unknown = await client("run", "openai/gpt-4o", {}, { gateway: { id: "unknown" } });
  assert.deepEqual([unknown.error.name, /^2001: Tollgate has no gateway 'unknown'/.test(unknown.error.message), unknown.log], ["InferenceUpstreamError", true, null]);
});

test("extra headers reach the gateway and the provider", async () => {
  const { log } = await client("run", "openai/gpt-4o", { messages: [] }, { extraHeaders: { "cf-aig-event-id": "extra-1", "x-own": "1", Authorization: "Bearer other" } });
  assert.equal((await logged(log)).event_id, "extra-1");
  assert.deepEqual([gw.upstream.last.headers["x-own"], gw.upstream.last.headers.authorization], ["1", "Bearer other"]);
  const silent = await client("run", "openai/gpt-4o", { messages: [] }, { gateway: { collectLog: false } });
  assert.equal(silent.log, null);
});

test("big integers in metadata are kept as text", async () => {
  const { log } = await ask("/bigint");
  assert.deepEqual((await logged(log)).metadata, { n: "12345678901234567890" });
});

test("a stream arrives piece by piece", async () => {
  gw.upstream.next({ events: Array.from({ length: 10 }, (_, n) => `data: {"n":${n}}\n\n`), pause: 50 });
  const answer = await callers.caller.fetch("https://caller/stream");
  let pieces = 0;
  let early = 0;
  for await (const _ of answer.body) {
    pieces += 1;
    if ((gw.upstream.last.sent ?? 0) < 10) early += 1;
  }
  assert.ok(pieces >= 5 && early >= 3, `${pieces} pieces, ${early} before the end`);
  assert.equal((await logged(answer.headers.get("x-log"))).success, true);
});

test("concurrent runs do not mix", async () => {
  const users = Array.from({ length: 20 }, (_, n) => `user-${n}`);
  const logs = await ask("/concurrent", { users });
  assert.equal(new Set(logs).size, 20);
  for (const [index, id] of logs.entries()) {
    const log = await logged(id);
    assert.deepEqual([log.metadata, log.event_id], [{ user: users[index] }, users[index]]);
  }
});

test("gateway(id) has the methods of Cloudflare's", async () => {
  const { value } = await clientGateway("run", [chat({ headers: { "cf-aig-metadata": { a: 1 } } })], { gateway: { eventId: "event-9" } });
  assert.equal(value.status, 200);
  const id = value.headers["cf-aig-log-id"];
  const { value: log } = await clientGateway("getLog", id);
  assert.deepEqual([log.id, log.metadata, log.event_id, typeof log.created_at.date], [id, { a: 1 }, "event-9", "string"]);
  assert.equal((await clientGateway("getUrl")).value, "https://llm.example.com/v1/acct/gw/");
  assert.equal((await clientGateway("getUrl", "anthropic")).value, "https://llm.example.com/v1/acct/gw/anthropic");
});

test("errors have their names in new Workers and in old ones", async () => {
  for (const by of ["caller", "old"]) {
    const { error } = await ask("/client", { gateway: "gw", method: "getLog", args: [NO_LOG] }, by);
    assert.deepEqual(error, { name: "AiGatewayLogNotFound", message: "Not Found", isError: true }, by);
    const place = await ask("/client", { gateway: "a/b", method: "getLog", args: [NO_LOG] }, by);
    assert.deepEqual(place.error, { name: "AiGatewayInternalError", message: "gateway is missing or no name", isError: true }, by);
  }
});

test("the client's patchLog and feedback", async () => {
  const { log } = await client("run", "openai/gpt-4o", { messages: [] });
  assert.deepEqual((await clientGateway("patchLog", log, { feedback: -1 })).value, null);
  assert.ok((await clientGateway("feedback", log, { rating: 1 })).value);
  assert.equal((await logged(log)).feedback, -1);
});

test("a signal releases the caller, and where it can be sent along it ends the call", async () => {
  gw.upstream.next({ hang: true });
  assert.equal((await ask("/abort")).error.name, "AbortError");
  assert.equal(gw.upstream.last.closed, false);
  gw.upstream.next({ hang: true });
  assert.equal((await ask("/abort", {}, "signalling")).error.name, "AbortError");
  await until(() => gw.upstream.last.closed, "the upstream request to end");
  const long = () => gw.upstream.next({ events: Array.from({ length: 300 }, (_, n) => `data: {"n":${n}}\n\n`), pause: 10 });
  long();
  assert.equal((await ask("/abort-stream")).error.name, "AbortError");
  long();
  const left = await ask("/abort-stream", {}, "signalling");
  assert.equal(left.error.name, "AbortError");
  await until(() => gw.upstream.last.closed, "the upstream stream to end");
  assert.ok(gw.upstream.last.sent < 150);
  assert.equal((await logged(left.log)).error, "client: went away before the answer was complete");
});

test("a caller that leaves between two attempts ends them", async () => {
  gw.upstream.next({ status: 503, headers: { "content-type": "application/json", "retry-after-ms": "900" }, body: "{}" });
  const gateway = { eventId: "left-between", retries: { maxAttempts: 2 } };
  assert.equal((await ask("/abort", { gateway }, "signalling")).error.name, "AbortError");
  let rows = [];
  await until(async () => (rows = await gw.rows("SELECT * FROM logs WHERE event_id = 'left-between' ORDER BY attempt")).length === 2, "two rows");
  assert.deepEqual(rows.map(({ status_code, answered }) => [status_code, answered]), [[503, 0], [499, 1]]);
  assert.equal(gw.upstream.requests.length, 1);
});

// === Others that build on the binding ===

test("ai-gateway-provider works through its binding form, with fallback", async () => {
  const say = (text) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "c", object: "chat.completion", created: 1, model: "gpt-4o", choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }) });
  gw.upstream.next({ status: 500, headers: { "content-type": "application/json" }, body: '{"error":{"message":"down"}}' });
  gw.upstream.next(say("from the second"));
  assert.deepEqual(await ask("/sdk", { event: "sdk-1" }), { value: "from the second" });
  const query = "SELECT step, model, success, metadata, tokens_out FROM logs WHERE event_id = ? ORDER BY step";
  await until(async () => (await gw.rows(query, "sdk-1")).length === 2, "both rows");
  const metadata = '{"via":"ai-sdk"}';
  assert.deepEqual(await gw.rows(query, "sdk-1"), [
    { step: 0, model: "gpt-4o-mini", success: 0, metadata, tokens_out: null },
    { step: 1, model: "gpt-4o", success: 1, metadata, tokens_out: 2 },
  ]);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-sdk");
  assert.match((await ask("/sdk", { id: "unknown" })).error.message, /does not exist/);
});

test("ai-gateway-provider streams", async () => {
  const answer = await callers.caller.fetch("https://caller/sdk", { method: "POST", body: '{"stream":true,"event":"sdk-2"}' });
  assert.ok((await answer.text()).length > 0);
  await until(async () => (await gw.rows("SELECT id FROM logs WHERE event_id = 'sdk-2' AND success = 1 AND tokens_in = 17")).length === 1, "the row");
});

test("the example Worker asks, and finds its log", async () => {
  assert.match(await (await callers.example.fetch("https://example/")).text(), /\/ask/);
  const answer = await (await callers.example.fetch("https://example/ask?q=Soup%3F&user=jane")).json();
  assert.equal(typeof answer.answer, "string");
  assert.deepEqual([gw.upstream.last.headers.authorization, JSON.parse(gw.upstream.last.body).messages[0].content], ["Bearer sk-example", "Soup?"]);
  const log = await (await callers.example.fetch(`https://example/logs/${answer.log}`)).json();
  assert.deepEqual([log.id, log.metadata], [answer.log, { user: "jane", example: true }]);
  assert.equal((await callers.example.fetch(`https://example/logs/${NO_LOG}`)).status, 404);
  assert.ok(!JSON.stringify(gw.upstream.requests.map(({ headers }) => headers)).includes(TOKEN));
});

test("the example Worker takes a thumb", async () => {
  const { log } = await (await callers.example.fetch("https://example/ask")).json();
  assert.equal((await callers.example.fetch(`https://example/logs/${log}/up`, { method: "POST" })).status, 200);
  assert.equal((await (await callers.example.fetch(`https://example/logs/${log}`)).json()).feedback, 1);
});
