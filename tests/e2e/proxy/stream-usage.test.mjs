// Streams that are asked for their usage in the client's place: what the provider was sent, what the client got, what the row says.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { ACCOUNT, Gateway, raw, until } from "../harness.mjs";

const chunk = (fields) => `data: ${JSON.stringify({ id: "chatcmpl-asked", object: "chat.completion.chunk", model: "gpt-4o", ...fields })}\n\n`;
const word = (content, rest = {}) => ({ choices: [{ index: 0, delta: { content }, finish_reason: null }], ...rest });
const USAGE = { choices: [], usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } };
const ENDING = [chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })];
const DONE = "data: [DONE]\n\n";

/** As OpenAI streams: with the option, every chunk has a member usage, and one more comes at the end. */
function provider(count = 3, content = (n) => `${n} 🥚 "usage":null`) {
  return ({ body }) => {
    const { stream, stream_options: options } = JSON.parse(body.toString());
    if (!stream) return undefined;
    const asked = options?.include_usage === true;
    const words = Array.from({ length: count }, (_, n) => word(content(n)));
    const all = [word("", { choices: [], prompt_filter_results: [] }), ...words, { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }];
    const events = all.map((fields) => chunk(asked ? { ...fields, usage: null, obfuscation: "x" } : { ...fields, obfuscation: "x" }));
    return { events: [...events, ...(asked ? [chunk(USAGE)] : []), DONE] };
  };
}

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  await gw.create("gw");
  await gw.create("ask", { stream_usage: "ask" });
  gw.upstream.answer = provider();
});
after(() => gw.stop());

const CHAT = { model: "gpt-4o", stream: true, messages: [{ role: "user", content: "Hi" }] };
const call = (gateway, body, { path = "openai/chat/completions", headers } = {}) =>
  fetch(`${gw.url}/v1/${ACCOUNT}/${gateway}/${path}`, { method: "POST", body, headers: { "content-type": "application/json", ...headers } });

test("the option is added to a body that is otherwise the client's, and the client sees what it would have seen without", async () => {
  const bodies = [
    ['{ "model":"gpt-4o",  "stream":true, "temperature":1.0,"messages":[] }', '{"stream_options":{"include_usage":true}, "model":"gpt-4o",  "stream":true, "temperature":1.0,"messages":[] }'],
    ['{"stream_options":{"include_obfuscation":false},"model":"gpt-4o","stream":true}', '{"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"gpt-4o","stream":true}'],
    ['{"stream_options":null,"model":"gpt-4o","stream":true}', '{"stream_options":{"include_usage":true},"model":"gpt-4o","stream":true}'],
    ['{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":false}}', '{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}'],
  ];
  for (const [body, sent] of bodies) {
    const plain = await (await call("gw", body)).text();
    assert.equal(gw.upstream.last.body.toString(), body);
    const answer = await call("ask", body, { headers: { "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg==" } });
    assert.equal(await answer.text(), plain);
    const { headers, body: got } = gw.upstream.last;
    assert.equal(got.toString(), sent);
    assert.deepEqual([headers["content-length"], headers["content-md5"]], [String(Buffer.byteLength(sent)), undefined]);
    const log = await gw.logOf(answer, "ask");
    assert.deepEqual([log.tokens_in, log.tokens_out, log.cost > 0, log.finish_reason], [5, 7, true, "stop"]);
    // The log shows what the client sent, and what the provider said.
    assert.equal(log.request_head, body);
    assert.match(await (await gw.api(`/gateways/ask/logs/${log.id}/response`)).text(), /"completion_tokens":7/);
  }
});

test("a client that asks itself gets what it asked for", async () => {
  const body = JSON.stringify({ ...CHAT, stream_options: { include_usage: true } });
  const answer = await call("ask", body);
  assert.match(await answer.text(), /"usage":null.*"completion_tokens":7/s);
  assert.equal(gw.upstream.last.body.toString(), body);
  assert.equal((await gw.logOf(answer, "ask")).tokens_out, 7);
});

test("official clients see no chunk without choices at the end", async () => {
  const client = new OpenAI({ apiKey: "sk", baseURL: `${gw.url}/v1/${ACCOUNT}/ask/openai`, maxRetries: 0 });
  const seen = [];
  for await (const part of await client.chat.completions.create(CHAT)) seen.push(part);
  assert.equal(seen.length, 5);
  assert.ok(seen.every((part) => !("usage" in part)));
});

test("only those are sent the option who know it", async () => {
  for (const [path, body, asked] of [
    ["openai/v1/chat/completions", CHAT, true],
    ["openai/chat/completions", { ...CHAT, stream: false }, false],
    ["groq/chat/completions", CHAT, true],
    ["deepseek/chat/completions", CHAT, true],
    ["google-ai-studio/v1beta/openai/chat/completions", CHAT, true],
    ["azure-openai/res/gpt/chat/completions?api-version=2024-10-21", CHAT, true],
    ["azure-openai/res/gpt/chat/completions?api-version=2024-02-01", CHAT, false],
    ["compat/chat/completions", { ...CHAT, model: "groq/gpt-4o" }, true],
    ["compat/chat/completions", { ...CHAT, model: "mistral/gpt-4o" }, false],
    ["mistral/v1/chat/completions", CHAT, false],
    ["openai/responses", CHAT, false],
    ["anthropic/v1/messages", CHAT, false],
  ]) {
    await (await call("ask", JSON.stringify(body), { path })).text();
    assert.equal(gw.upstream.last.body.includes("include_usage"), asked, `${path} ${body.model}`);
  }
  const universal = await call("ask", JSON.stringify([{ provider: "openai", endpoint: "chat/completions", query: CHAT }]), { path: "" });
  assert.doesNotMatch(await universal.text(), /prompt_tokens/);
  assert.equal((await gw.logOf(universal, "ask")).tokens_out, 7);
});

test("errors pass as they are, and attempts that follow ask as well", async () => {
  const error = { status: 400, headers: { "content-type": "application/json" }, body: '{"error":{"message":"x"},"usage":null}' };
  gw.upstream.next(error);
  const refused = await call("ask", JSON.stringify(CHAT));
  assert.deepEqual([refused.status, await refused.text()], [400, error.body]);
  gw.upstream.next({ ...error, status: 503 });
  const before = gw.upstream.requests.length;
  const answer = await call("ask", JSON.stringify(CHAT), { headers: { "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" } });
  assert.doesNotMatch(await answer.text(), /"usage":(null|\{)(?!.*🥚)/);
  const sent = gw.upstream.requests.slice(before).map(({ body }) => body.toString());
  assert.deepEqual([sent.length, sent[0] === sent[1], sent[1].includes("include_usage")], [2, true, true]);
  assert.equal((await gw.logOf(answer, "ask")).tokens_out, 7);
});

test("where a budget is about the request it is asked, and a budget stops streams", async () => {
  const rule = { id: "all", limit: 0.0001, limitType: "cost", window: 3_600, provider: { mode: "filter", values: ["openai"] } };
  await gw.create("budget", { spend_limits: { enabled: true, rules: [rule] } });
  let passed = 0;
  for (; passed < 10; passed += 1) {
    const answer = await call("budget", JSON.stringify(CHAT));
    const text = await answer.text();
    if (answer.status !== 200) break;
    assert.doesNotMatch(text, /prompt_tokens/);
    assert.equal((await gw.logOf(answer, "budget")).tokens_out, 7);
  }
  assert.ok(passed > 0 && passed < 10, `${passed} passed`);
  // The rule is not about this provider.
  await (await call("budget", JSON.stringify(CHAT), { path: "groq/chat/completions" })).text();
  assert.equal(gw.upstream.last.body.includes("include_usage"), false);
});

test("a row without usage says how to get it", async () => {
  const row = async (gateway, body, path) => {
    const answer = await call(gateway, JSON.stringify(body), { path });
    await answer.text();
    return gw.logOf(answer, gateway);
  };
  assert.match((await row("gw", CHAT)).cost_unknown, /stream_options\.include_usage.*stream_usage/);
  assert.equal((await row("ask", CHAT)).cost_unknown, null);
  gw.upstream.next({ events: [chunk(word("a")), ...ENDING, DONE] });
  assert.doesNotMatch((await row("ask", CHAT)).cost_unknown, /stream_usage/);
});

test("the cache keeps them apart: with the option, without it, and asked by the gateway", async () => {
  const headers = { "cf-aig-cache-ttl": "300" };
  const body = (n, more = {}) => JSON.stringify({ ...more, ...CHAT, user: n });
  const explicit = { stream_options: { include_usage: true } };
  const got = async (gateway, text, more = headers) => {
    const answer = await call(gateway, text, { headers: more });
    const said = await answer.text();
    const log = await gw.logOf(answer, gateway);
    return [answer.headers.get("cf-aig-cache-status"), said, log.tokens_out, answer.headers.get("content-length")];
  };
  const [missed, first, tokens] = await got("ask", body("a"));
  const [hit, second, again, length] = await got("ask", body("a"));
  assert.deepEqual([missed, tokens, hit, again, second], ["MISS", 7, "HIT", 0, first]);
  assert.doesNotMatch(second, /prompt_tokens/);
  assert.ok(length === null || Number(length) === Buffer.byteLength(second), length);
  const [own, asked] = await got("ask", body("a", explicit));
  assert.equal(own, "MISS");
  assert.match(asked, /prompt_tokens/);
  // Also under a key of the caller's own, whichever was there first.
  for (const [key, order] of [["k1", [{}, explicit]], ["k2", [explicit, {}]]]) {
    for (const more of order) {
      const [status, said] = await got("ask", body("b", more), { ...headers, "cf-aig-cache-key": key });
      assert.deepEqual([status, said.includes("prompt_tokens")], ["MISS", more === explicit]);
    }
  }
  // And when the setting changes.
  const settings = await gw.result("/gateways/ask");
  const set = (stream_usage) => gw.api("/gateways/ask", { method: "PUT", body: JSON.stringify({ ...settings, stream_usage }) });
  await set("as_sent");
  const [status, said] = await got("ask", body("a"));
  assert.deepEqual([status, said], ["MISS", first]);
  await set("ask");
});

test("events go on as they come, however they are cut into blocks", async () => {
  const events = Array.from({ length: 60 }, (_, n) => chunk(word(`${n} 🥚`, { usage: null })));
  const plain = events.map((event) => event.replace(',"usage":null', ""));
  const all = Buffer.from([...events, ...ENDING, chunk(USAGE), DONE].join(""));
  const wanted = [...plain, ...ENDING, DONE].join("");
  for (const size of [1, 7, 100, 5_000]) {
    const pieces = Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.subarray(n * size, (n + 1) * size));
    gw.upstream.next({ events: pieces });
    const answer = await call("ask", JSON.stringify(CHAT));
    assert.equal(await answer.text(), wanted, `in blocks of ${size}`);
  }
  gw.upstream.next({ events: [...events, ...ENDING, chunk(USAGE), DONE], pause: 10 });
  let sentAtFirst;
  const body = JSON.stringify(CHAT);
  const answer = await raw(`${gw.url}/v1/${ACCOUNT}/ask/openai/chat/completions`, { method: "POST", body, headers: { "content-type": "application/json" }, onData: () => (sentAtFirst ??= gw.upstream.last.sent) });
  assert.ok(sentAtFirst < 30, `the first event came when ${sentAtFirst} had been sent`);
  assert.equal(answer.body.toString(), wanted);
});

test("long events pass, and streams that end without a blank line", async () => {
  const long = chunk(word("y".repeat(300_000), { usage: null }));
  gw.upstream.next({ events: [chunk(word("a", { usage: null })), long, chunk(word("b", { usage: null })), ...ENDING, chunk(USAGE), DONE.trimEnd()] });
  const text = await (await call("ask", JSON.stringify(CHAT))).text();
  assert.equal(text, [chunk(word("a")), long, chunk(word("b")), ...ENDING, DONE.trimEnd()].join(""));
});

test("a client that leaves ends the request, and a provider that breaks off is a break", async () => {
  const many = Array.from({ length: 500 }, (_, n) => chunk(word(`${n}`, { usage: null })));
  const ask = (options) => raw(`${gw.url}/v1/${ACCOUNT}/ask/openai/chat/completions`, { method: "POST", body: JSON.stringify(CHAT), headers: { "content-type": "application/json" }, ...options });
  gw.upstream.next({ events: many, pause: 10 });
  let headers;
  const left = await ask({ onHeaders: (head) => (headers = head.headers), onData: (_, request) => gw.upstream.last.sent > 20 && request.destroy() });
  assert.ok(left.broken);
  await until(() => gw.upstream.last.closed, "the upstream request to end");
  const log = await gw.logOf({ headers }, "ask");
  assert.deepEqual([log.success, log.error], [false, "client: went away before the answer was complete"]);
  gw.upstream.next({ events: many.slice(0, 50), pause: 1, cut: 30 });
  const broken = await ask({ onHeaders: (head) => (headers = head.headers) });
  assert.ok(broken.broken);
  assert.match((await gw.logOf({ headers }, "ask")).error, /^upstream: /);
});

test("custom providers are asked where the setting says so, and not for a budget's sake", async () => {
  const made = await gw.api("/custom-providers", { method: "POST", body: JSON.stringify({ name: "Own", slug: "own", base_url: `${gw.upstream.origin}/openai/v1`, enable: true }) });
  assert.equal(made.status, 200, await made.clone().text());
  for (const [gateway, asked] of [["ask", true], ["budget", false], ["gw", false]]) {
    await (await call(gateway, JSON.stringify(CHAT), { path: "custom-own/chat/completions" })).text();
    assert.equal(gw.upstream.last.body.includes("include_usage"), asked, gateway);
  }
});

test("a value that is none is refused", async () => {
  for (const value of ["loud", 7]) {
    const refused = await gw.api("/gateways", { method: "POST", body: JSON.stringify({ id: "wrong", stream_usage: value }) });
    assert.deepEqual([refused.status, (await refused.json()).errors[0].path], [400, ["body", "stream_usage"]]);
  }
});
