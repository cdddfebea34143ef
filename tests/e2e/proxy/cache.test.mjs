import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { fixtures } from "../../upstream.mjs";
import { Gateway, TOKEN, raw, until } from "../harness.mjs";

/** Stands before the Worker's cache, whichever it is: counts, keeps what was said of an entry, and fails when told to. */
const WATCHED = `
import Worker from "./index.js";
export * from "./index.js";
const seen = { looked: 0, kept: [], fail: "", hang: "", broken: false, ttl: 0 };
const guarded = async (what, run) => {
  if (seen.hang === what) await new Promise(() => {});
  if (seen.fail === what) throw new Error("the test broke the cache");
  return run();
};
const broken = (size) => {
  let sent = 0;
  return new ReadableStream({ pull(controller) { if (sent++) controller.error(new Error("the test broke the entry")); else controller.enqueue(new Uint8Array(size)); } });
};
const open = caches.open.bind(caches);
caches.open = async (name) => {
  const cache = await open(name);
  return {
    match: (url) => guarded("look", async () => {
      seen.looked += 1;
      const found = await cache.match(url);
      return found && seen.broken ? new Response(broken(10), found) : found;
    }),
    put: (url, answer) => guarded("keep", async () => {
      const ttl = answer.headers.get("cache-control");
      if (seen.ttl) answer.headers.set("cache-control", "max-age=" + seen.ttl);
      await cache.put(url, answer);
      seen.kept.push({ url, ttl });
    }),
  };
};
const watched = (kv) => ({
  getWithMetadata: (key, kind) => guarded("look", async () => {
    seen.looked += 1;
    const found = await kv.getWithMetadata(key, kind);
    return found.value && seen.broken ? { ...found, value: broken(10) } : found;
  }),
  put: (key, value, options) => guarded("keep", async () => {
    await kv.put(key, value, options);
    seen.kept.push({ url: key, ttl: "max-age=" + options.expirationTtl });
  }),
});
export default class extends Worker {
  constructor(ctx, env) { super(ctx, env.CACHE ? { ...env, CACHE: watched(env.CACHE) } : env); }
  async fetch(request) {
    if (new URL(request.url).pathname !== "/__cache") return super.fetch(request);
    if (request.method === "POST") Object.assign(seen, await request.json());
    return Response.json(seen);
  }
}`;

const EXPECTED = /"event":"cache_un(readable|writable)"/;
const SSE = readFileSync(join(fixtures, "openai/chat.sse"));
let prompts = 0;
/** A question that no other test has asked. */
const question = (fields = {}) => ({ model: "gpt-4o", messages: [{ role: "user", content: `question ${(prompts += 1)}` }], ...fields });

for (const [store, kv] of [["the data centre's cache", false], ["KV", true]]) {
  describe(`with ${store}`, () => {
    let gw;
    before(async () => {
      gw = await Gateway.start({ around: WATCHED, kv, bindings: { PROVIDER_KEYS: JSON.stringify({ groq: "gsk-operator" }) } });
      await gw.create("gw", { cache_ttl: 600 });
      await gw.create("off");
    });
    after(() => gw.stop(EXPECTED));

    const watch = async (change) => (await fetch(`${gw.url}/__cache`, change && { method: "POST", body: JSON.stringify(change) })).json();
    /** Waits until so many answers more than `before` have been kept. */
    const kept = async (before, more = 1) => {
      await until(async () => (await watch()).kept.length >= before + more, "an answer to be kept");
      return (await watch()).kept.slice(before);
    };
    const keptNow = async () => (await watch()).kept.length;
    async function ask(json, { headers, gateway = "gw", account = "acct", path = "openai/chat/completions", ...init } = {}) {
      const calls = gw.upstream.requests.length;
      const body = json === undefined ? {} : { method: "POST", body: typeof json === "string" ? json : JSON.stringify(json) };
      const url = `${gw.url}/v1/${account}/${gateway}/${path}`;
      const answer = await fetch(url, { ...body, ...init, headers: { ...(json !== undefined && { "content-type": "application/json" }), authorization: "Bearer sk-1", ...headers } });
      const bytes = Buffer.from(await answer.arrayBuffer());
      return { answer, status: answer.status, bytes, text: bytes.toString(), cache: answer.headers.get("cf-aig-cache-status"), calls: gw.upstream.requests.length - calls };
    }
    const seen = ({ cache, calls }) => [cache, calls];
    const MISS = ["MISS", 1];
    const HIT = ["HIT", 0];
    const OFF = [null, 1];

    test("off means off, by setting and by request", async () => {
      const json = question();
      for (const options of [{ gateway: "off" }, { gateway: "off" }, { headers: { "cf-aig-cache-ttl": "0" } }, { headers: { "cf-aig-cache-ttl": "0" } }]) {
        assert.deepEqual(seen(await ask(json, options)), OFF);
      }
      const { looked, kept } = await watch();
      assert.deepEqual([looked, kept.length], [0, 0]);
    });

    test("the second of two same requests is a hit: the same answer, nothing asked, nothing paid", async () => {
      const json = question();
      const first = await ask(json);
      const second = await ask(json);
      assert.deepEqual([seen(first), seen(second)], [MISS, HIT]);
      assert.ok(second.bytes.equals(first.bytes) && second.status === 200);
      assert.equal(second.answer.headers.get("content-type"), "application/json");
      assert.notEqual(second.answer.headers.get("cf-aig-log-id"), first.answer.headers.get("cf-aig-log-id"));
      for (const name of ["x-request-id", "age", "cf-cache-status", "cache-control", "date-of-entry"]) assert.equal(second.answer.headers.get(name), null, name);
      const [asked, hit] = [await gw.logOf(first.answer), await gw.logOf(second.answer)];
      assert.deepEqual([asked.cached, hit.cached, hit.success, hit.status_code], [false, true, true, 200]);
      assert.deepEqual([hit.cost, hit.saved_cost, hit.tokens_in, hit.tokens_out], [0, asked.cost, 0, 0]);
      assert.ok(asked.cost > 0 && asked.saved_cost === null && asked.tokens_in > 0);
      assert.deepEqual([hit.model, hit.provider_request_id, hit.response_head], ["gpt-4o", null, asked.response_head]);
      assert.ok(hit.duration >= 0 && hit.timings.latency >= 0);
      const filters = JSON.stringify([{ key: "cached", operator: "eq", value: [true] }]);
      const found = await gw.result(`/gateways/gw/logs?filters=${encodeURIComponent(filters)}`);
      assert.ok(found.some((log) => log.id === hit.id) && found.every((log) => log.cached));
    });

    test("a request asks for itself, under the new names and the old", async () => {
      for (const name of ["cf-aig-cache-ttl", "cf-cache-ttl"]) {
        const [json, options] = [question(), { gateway: "off", headers: { [name]: "90" } }];
        const before = await keptNow();
        assert.deepEqual(seen(await ask(json, options)), MISS);
        assert.deepEqual((await kept(before)).map((entry) => entry.ttl), ["max-age=90"]);
        assert.deepEqual(seen(await ask(json, options)), HIT);
      }
      const before = await keptNow();
      await ask(question());
      assert.equal((await kept(before))[0].ttl, "max-age=600");
      await ask(question(), { gateway: "off", headers: { "cf-aig-cache-key": `of its own ${prompts}` } });
      assert.equal((await kept(before, 2))[1].ttl, "max-age=300");
    });

    test("values that make no sense are ignored, and the caller is told", async () => {
      for (const wrong of ["59", "2592001", "-1", "soon"]) {
        const { answer, cache } = await ask(question(), { gateway: "off", headers: { "cf-aig-cache-ttl": wrong } });
        assert.deepEqual([cache, answer.headers.get("cf-aig-warning")], [null, "cf-aig-cache-ttl: wants 0 or 60 to 2592000 seconds"]);
      }
    });

    test("skipping brings a fresh answer and leaves the kept one", async () => {
      const json = question();
      gw.upstream.next({ status: 200, headers: { "content-type": "application/json" }, body: '{"kept":1}' });
      await ask(json);
      for (const name of ["cf-aig-skip-cache", "cf-skip-cache"]) {
        const before = await keptNow();
        gw.upstream.next({ status: 200, headers: { "content-type": "application/json" }, body: '{"fresh":1}' });
        const fresh = await ask(json, { headers: { [name]: "true" } });
        assert.deepEqual([seen(fresh), fresh.text], [MISS, '{"fresh":1}']);
        await gw.logOf(fresh.answer);
        const again = await ask(json);
        assert.deepEqual([seen(again), again.text, await keptNow()], [HIT, '{"kept":1}', before]);
      }
    });

    test("whitespace and the order of parameters do not matter; what the model sees does", async () => {
      const content = `question ${(prompts += 1)}`;
      const one = `{"model":"gpt-4o","temperature":0.50,"messages":[{"role":"user","content":"${content}"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"a":1,"b":2}}}]}`;
      const same = `{ "tools": [ {"type":"function", "function":{"name":"f","parameters":{"a":1,"b":2}}} ],\n  "messages": [{"content":"${content}","role":"user"}], "temperature": 0.50, "model": "gpt-4o" }`;
      assert.deepEqual([seen(await ask(one)), seen(await ask(same))], [MISS, HIT]);
      for (const other of [one.replace("0.50", "0.5"), one.replace('"a":1,"b":2', '"b":2,"a":1'), one.replace(content, `${content} `), one.replace("gpt-4o", "gpt-4.1")]) {
        assert.deepEqual(seen(await ask(other)), MISS, other);
      }
    });

    test("gateways, accounts, keys, paths and queries do not meet", async () => {
      await gw.create("gw2", { cache_ttl: 600 });
      for (const id of ["gw"]) {
        const made = await gw.api("/gateways", { account: "acct2", method: "POST", body: JSON.stringify({ id, collect_logs: true, cache_ttl: 600 }) });
        assert.equal(made.status, 200);
      }
      const json = question();
      const others = [
        {}, { gateway: "gw2" }, { account: "acct2" }, { headers: { authorization: "Bearer sk-2" } }, { headers: { "x-api-key": "sk-1" } }, { headers: { "openai-organization": "org" } },
        { headers: { "x-tenant": "b" } }, { path: "openai/responses" }, { path: "openai/chat/completions?a=1" }, { path: "groq/chat/completions" },
      ];
      for (const options of others) assert.deepEqual(seen(await ask(json, options)), MISS, JSON.stringify(options));
      for (const options of others) assert.deepEqual(seen(await ask(json, options)), HIT, JSON.stringify(options));
      // Nor do they under one name, which stands for path and body alone.
      const key = { "cf-aig-cache-key": `shared ${prompts}` };
      const named = [{}, { gateway: "gw2" }, { account: "acct2" }, { headers: { authorization: "Bearer sk-2" } }, { path: "groq/chat/completions" }];
      for (const options of named) assert.deepEqual(seen(await ask(question(), { ...options, headers: { ...options.headers, ...key } })), MISS, JSON.stringify(options));
      for (const options of named) assert.deepEqual(seen(await ask(question(), { ...options, headers: { ...options.headers, ...key } })), HIT, JSON.stringify(options));
    });

    test("callers with tokens of their own do not meet, although the provider gets the same key for all", async () => {
      const made = async (name) => {
        const answer = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name, permissions: ["run"] }) });
        return (await answer.json()).result.value;
      };
      const tokens = [TOKEN, await made("a"), await made("b")];
      const json = question();
      const direct = (token) => ask(json, { path: "groq/chat/completions", headers: { authorization: `Bearer ${token}` } });
      const universal = (token) => ask([{ provider: "groq", endpoint: "chat/completions", query: { ...json, n: 1 } }], { path: "", headers: { authorization: "", "cf-aig-authorization": `Bearer ${token}` } });
      // The gateway is open, so that an element can bring the token that the request around it does not.
      const element = (token) => ask([{ provider: "groq", endpoint: "chat/completions", headers: { "cf-aig-authorization": `Bearer ${token}` }, query: { ...json, n: 2 } }], { path: "", headers: { authorization: "" } });
      for (const way of [direct, universal, element]) {
        for (const token of tokens) assert.deepEqual(seen(await way(token)), MISS);
        assert.equal(gw.upstream.last.headers.authorization, "Bearer gsk-operator");
        for (const token of tokens) assert.deepEqual(seen(await way(token)), HIT);
      }
    });

    test("an element of a universal request asks for itself", async () => {
      const json = question();
      const element = (headers) => [{ provider: "openai", endpoint: "chat/completions", headers: { authorization: "Bearer sk-1", ...headers }, query: json }];
      const run = (inner, outer) => ask(element(inner), { gateway: "off", path: "", headers: outer });
      assert.deepEqual(seen(await run({ "cf-aig-cache-ttl": 60 }, {})), MISS);
      assert.deepEqual(seen(await run({}, { "cf-aig-cache-ttl": "60" })), HIT);
      assert.deepEqual(seen(await run({ "cf-aig-cache-ttl": 0 }, { "cf-aig-cache-ttl": "60" })), OFF);
      const hit = await run({ "cf-aig-cache-ttl": "60" }, { "cf-aig-cache-ttl": "0" });
      assert.deepEqual([...seen(hit), hit.answer.headers.get("cf-aig-step")], [...HIT, "0"]);
    });

    test("a name of the caller's own stands for path and body, but not for a stream", async () => {
      const headers = { "cf-aig-cache-key": `mine ${(prompts += 1)}` };
      const first = await ask(question(), { headers });
      const second = await ask(question({ model: "gpt-4.1" }), { headers });
      assert.deepEqual([seen(first), seen(second), second.text], [MISS, HIT, first.text]);
      const streamed = await ask(question({ stream: true }), { headers });
      assert.deepEqual([seen(streamed), streamed.answer.headers.get("content-type")], [MISS, "text/event-stream"]);
    });

    test("a complete stream is replayed byte for byte as a stream", async () => {
      const json = question({ stream: true });
      const before = await keptNow();
      const first = await ask(json);
      await kept(before);
      const second = await ask(json);
      assert.deepEqual([seen(first), seen(second)], [MISS, HIT]);
      assert.ok(first.bytes.equals(SSE) && second.bytes.equals(SSE));
      assert.equal(second.answer.headers.get("content-type"), "text/event-stream");
      const log = await gw.logOf(second.answer);
      assert.deepEqual([log.cached, log.cost, log.success, log.response_content_type], [true, 0, true, "text/event-stream"]);
      assert.ok(log.saved_cost > 0 && log.response_head.startsWith("data: "));
      // The same question without a stream is another.
      assert.deepEqual(seen(await ask({ ...json, stream: false })), MISS);
      const openai = new OpenAI({ apiKey: "sk-1", baseURL: `${gw.url}/v1/acct/gw/openai`, maxRetries: 0 });
      const asked = async () => {
        const { data, response } = await openai.chat.completions.create(json).withResponse();
        let text = "";
        for await (const chunk of data) text += chunk.choices[0]?.delta?.content ?? "";
        return [text, response.headers.get("cf-aig-cache-status")];
      };
      const others = await keptNow();
      const [text] = await asked();
      await kept(others);
      assert.deepEqual(await asked(), [text, "HIT"]);
      assert.equal(text, "A bowl of ramen, with a soft egg: 味玉 🥚");
    });

    test("streams of other formats are replayed too", async () => {
      for (const [path, json] of [
        ["anthropic/v1/messages", { model: "claude-sonnet-4-5", stream: true, messages: [] }],
        ["openai/responses", { model: "gpt-4.1", stream: true, input: "x" }],
        ["google-ai-studio/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", { contents: [] }],
        ["aws-bedrock/bedrock-runtime/us-east-1/model/amazon.nova-lite-v1:0/converse-stream", { messages: [] }],
        ["cohere/v1/chat", { model: "command-r", stream: true, message: "x" }],
      ]) {
        const before = await keptNow();
        const first = await ask(json, { path });
        assert.equal(first.status, 200, path);
        await kept(before);
        const second = await ask(json, { path });
        assert.deepEqual([seen(first), seen(second)], [MISS, HIT], path);
        assert.ok(first.bytes.equals(second.bytes));
      }
    });

    test("long streams are replayed, too", async () => {
      const events = SSE.toString().split("\n\n").filter(Boolean).map((event) => `${event}\n\n`);
      for (const megabytes of [2, 12]) {
        const json = question({ stream: true });
        const before = await keptNow();
        gw.upstream.next({ events: [...Array(megabytes).fill(`: ${"x".repeat(1 << 20)}\n\n`), ...events] });
        const first = await ask(json);
        await kept(before);
        const second = await ask(json);
        assert.deepEqual([seen(first), seen(second), second.bytes.equals(first.bytes)], [MISS, HIT, true]);
        assert.deepEqual([(await gw.logOf(second.answer)).cached, (await gw.logOf(second.answer)).response_size], [true, first.bytes.length]);
      }
    });

    test("a stream that breaks, errs, stops early or loses its client is not kept", async () => {
      const events = SSE.toString().split("\n\n").filter(Boolean).map((event) => `${event}\n\n`);
      const before = await keptNow();
      const early = [
        { events, cut: 2 },
        { events: events.slice(0, 3) },
        { events: events.slice(0, -1) },
        { events: [...events.slice(0, 2), 'data: {"error":{"message":"overloaded"}}\n\n', "data: [DONE]\n\n"] },
        { events: [...events.slice(0, -1), "data: [DONE]"] },
        { events: ["data: hello\n\n"] },
        { events: [] },
      ];
      for (const behaviour of early) {
        const json = question({ stream: true });
        for (let turn = 0; turn < 2; turn += 1) {
          gw.upstream.next(behaviour);
          const answer = await raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, { method: "POST", body: JSON.stringify(json), headers: { "content-type": "application/json" } });
          assert.equal(answer.headers["cf-aig-cache-status"], "MISS", JSON.stringify(behaviour));
          await gw.logOf(answer);
        }
      }
      const json = question({ stream: true });
      gw.upstream.next({ events: [...Array(300).fill(events[0]), ...events], pause: 10 });
      let headers;
      await raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, { method: "POST", body: JSON.stringify(json), headers: { "content-type": "application/json", authorization: "Bearer sk-1" }, onHeaders: (head) => (headers = head.headers), onData: (_, request) => request.destroy() });
      await gw.logOf({ headers });
      assert.deepEqual(seen(await ask(json)), MISS);
      assert.equal((await kept(before)).length, 1);
    });

    test("only whole successes are kept", async () => {
      const before = await keptNow();
      const type = { "content-type": "application/json" };
      for (const behaviour of [
        { status: 400, headers: type, body: '{"error":{"message":"no"}}' }, { status: 429, headers: type, body: "{}" }, { status: 500, headers: type, body: "{}" },
        { status: 302, headers: { ...type, location: "https://elsewhere.example" }, body: "" }, { status: 202, headers: type, body: "{}" }, { status: 206, headers: { ...type, "content-range": "bytes 0-1/9" }, body: "{}" },
        { status: 204 }, { status: 200, headers: type, body: '{"a":' }, { status: 200, headers: type, body: '{"error":{"message":"in disguise"}}' }, { status: 200, headers: type, body: '{"cut":"off"}', cut: 4 },
      ]) {
        const json = question();
        for (let turn = 0; turn < 2; turn += 1) {
          gw.upstream.next(behaviour);
          const answer = await ask(json, { redirect: "manual" });
          assert.deepEqual(seen(answer), MISS, JSON.stringify(behaviour));
          await gw.logOf(answer.answer);
        }
      }
      const json = question();
      for (let turn = 0; turn < 2; turn += 1) assert.deepEqual(seen(await ask(json, { headers: { range: "bytes=0-1" } })), OFF);
      for (let turn = 0; turn < 2; turn += 1) assert.deepEqual(seen(await ask(json, { method: "PUT" })), OFF);
      for (let turn = 0; turn < 2; turn += 1) assert.deepEqual(seen(await ask(json, { path: "openai/batches" })), OFF);
      assert.equal(await keptNow(), before);
      for (const wanted of [MISS, HIT]) assert.deepEqual(seen(await ask(undefined, { path: "openai/models?of=cache" })), wanted);
    });

    test("a provider's cookies and limits are not kept with an answer", async () => {
      const json = question();
      gw.upstream.next({ status: 201, body: "{}", headers: { "content-type": "application/json", "set-cookie": "__cf_bm=secret", "x-ratelimit-remaining-requests": "9", "openai-version": "2020-10-01", vary: "*", "cache-control": "no-store", "cf-aig-cache-status": "HIT" } });
      const first = await ask(json);
      assert.deepEqual([seen(first), first.answer.headers.get("x-ratelimit-remaining-requests")], [MISS, "9"]);
      const second = await ask(json);
      const header = (name) => second.answer.headers.get(name);
      assert.deepEqual([...seen(second), second.status, header("openai-version")], [...HIT, 201, "2020-10-01"]);
      assert.deepEqual([header("set-cookie"), header("x-ratelimit-remaining-requests")], [null, null]);
    });

    test("logs and bodies switched off do not switch the cache off", async () => {
      for (const stream of [false, true]) {
        for (const headers of [{ "cf-aig-collect-log": "false" }, { "cf-aig-collect-log-payload": "false" }]) {
          const json = question({ stream });
          const before = await keptNow();
          const first = await ask(json, { headers });
          await kept(before);
          const second = await ask(json, { headers });
          assert.deepEqual([seen(first), seen(second)], [MISS, HIT], JSON.stringify([stream, headers]));
          assert.ok(second.bytes.equals(first.bytes));
          if (headers["cf-aig-collect-log"]) assert.equal(second.answer.headers.get("cf-aig-log-id"), null);
          else assert.deepEqual([(await gw.logOf(second.answer)).cached, (await gw.logOf(second.answer)).response_head], [true, undefined]);
        }
      }
    });

    test("images and audio are kept, of known length and not, up to 25 MB", async () => {
      const sizes = [[0, false], [100_000, false], [100_000, true], [12 << 20, false], [12 << 20, true], [25 << 20, false], [25 << 20, true]];
      for (const [size, chunked] of sizes) {
        for (const headers of [{}, { "cf-aig-collect-log": "false" }]) {
          const json = question({ voice: "alloy" });
          const body = Buffer.alloc(size, `${prompts} \u0000\u00ff`);
          const before = await keptNow();
          gw.upstream.next({ body, chunked, headers: { "content-type": "audio/mpeg" } });
          const first = await ask(json, { path: "openai/audio/speech", headers });
          await kept(before);
          const second = await ask(json, { path: "openai/audio/speech", headers });
          assert.deepEqual([seen(first), seen(second)], [MISS, HIT], `${size} ${chunked}`);
          assert.ok(first.bytes.equals(body) && second.bytes.equals(body) && second.answer.headers.get("content-type") === "audio/mpeg");
          if (!headers["cf-aig-collect-log"]) assert.deepEqual([(await gw.logOf(second.answer)).cached, (await gw.logOf(second.answer)).response_size], [true, size]);
        }
      }
      const before = await keptNow();
      for (const chunked of [false, true]) {
        const json = question();
        for (let turn = 0; turn < 2; turn += 1) {
          gw.upstream.next({ body: Buffer.alloc((25 << 20) + 1, 1), chunked, headers: { "content-type": "image/png" } });
          const answer = await ask(json, { path: "openai/images/generations" });
          assert.deepEqual([...seen(answer), answer.bytes.length], [...MISS, (25 << 20) + 1]);
          await gw.logOf(answer.answer);
        }
      }
      assert.equal(await keptNow(), before);
    });

    test("long texts and packed ones are kept", async () => {
      const long = `{"text":"${"x".repeat(12 << 20)}"}`;
      for (const behaviour of [{ body: long }, { body: long, chunked: true }, { body: '{"a":1}', gzip: true }, { body: '{"a":1}', gzip: true, chunked: true }]) {
        const json = question();
        const before = await keptNow();
        gw.upstream.next({ ...behaviour, headers: { "content-type": "application/json" } });
        const first = await ask(json);
        await kept(before);
        const second = await ask(json);
        assert.deepEqual([seen(first), seen(second), second.text === behaviour.body, first.text === behaviour.body], [MISS, HIT, true, true]);
      }
      // A body too long to be put in order is compared as it is.
      const image = question({ image: "x".repeat(300_000) });
      const before = await keptNow();
      assert.deepEqual(seen(await ask(image)), MISS);
      await kept(before);
      assert.deepEqual([seen(await ask(image)), seen(await ask({ ...image, image: "y".repeat(300_000) }))], [HIT, MISS]);
    });

    test("a hundred same requests at once are one for the provider", async () => {
      const json = question();
      const before = gw.upstream.requests.length;
      gw.upstream.next({ file: "openai/chat.json", delay: 200 });
      const answers = await Promise.all(Array.from({ length: 100 }, () => ask(json)));
      assert.equal(gw.upstream.requests.length - before, 1);
      assert.equal(answers.filter(({ cache }) => cache === "MISS").length, 1);
      assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
      const logs = await Promise.all(answers.map(({ answer }) => gw.logOf(answer)));
      assert.equal(logs.filter((log) => log.cached).length, 99);
    });

    test("those who waited for a failure ask for themselves", async () => {
      const json = question();
      const before = gw.upstream.requests.length;
      gw.upstream.answer = () => ({ status: 500, headers: { "content-type": "application/json" }, body: "{}", delay: 50 });
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask(json)));
      gw.upstream.answer = undefined;
      assert.deepEqual([gw.upstream.requests.length - before, answers.filter(({ status, cache }) => status === 500 && cache === "MISS").length], [20, 20]);
    });

    test("a purge forgets everything of a gateway, and nothing of another", async () => {
      await gw.create("purged", { cache_ttl: 600 });
      const json = question();
      for (const gateway of ["gw", "purged"]) assert.deepEqual(seen(await ask(json, { gateway })), MISS);
      assert.deepEqual(seen(await ask(json, { gateway: "purged" })), HIT);
      const purged = await gw.api("/gateways/purged/cache", { method: "DELETE" });
      assert.deepEqual([purged.status, (await purged.json()).result], [200, { purged: "all" }]);
      assert.deepEqual(seen(await ask(json, { gateway: "purged" })), MISS);
      assert.deepEqual([seen(await ask(json, { gateway: "purged" })), seen(await ask(json))], [HIT, HIT]);
      assert.equal((await gw.api("/gateways/nothing/cache", { method: "DELETE" })).status, 404);
    });

    test("one key can be purged, for all callers", async () => {
      const [one, other] = [`one & ${prompts}`, `other ${prompts}`];
      const asked = (key, authorization) => ask(question(), { headers: { "cf-aig-cache-key": key, authorization } });
      const all = [[one, "Bearer sk-1"], [one, "Bearer sk-2"], [other, "Bearer sk-1"]];
      for (const request of all) assert.deepEqual(seen(await asked(...request)), MISS);
      const purge = (query) => gw.api(`/gateways/gw/cache?${query}`, { method: "DELETE" });
      assert.deepEqual((await (await purge(`key=${encodeURIComponent(one)}`)).json()).result, { purged: "key" });
      for (const [index, wanted] of [MISS, MISS, HIT].entries()) assert.deepEqual(seen(await asked(...all[index])), wanted);
      for (const [query, path] of [["key=", "key"], ["keys=a", "keys"]]) {
        const refused = await purge(query);
        assert.deepEqual([refused.status, (await refused.json()).errors[0].path], [400, ["query", path]]);
      }
      assert.deepEqual(seen(await asked(...all[2])), HIT);
    });

    test("an update of the gateway forgets where its setting says so", async () => {
      await gw.create("updated", { cache_ttl: 600 });
      const json = question();
      const put = (settings) => gw.api("/gateways/updated", { method: "PUT", body: JSON.stringify(settings) });
      const asked = async () => seen(await ask(json, { gateway: "updated" }));
      assert.deepEqual([await asked(), await asked()], [MISS, HIT]);
      await put({ collect_logs: true });
      assert.deepEqual(await asked(), HIT);
      await put({ cache_invalidate_on_update: true });
      assert.deepEqual([await asked(), await asked()], [MISS, HIT]);
      await put({ collect_logs: true });
      assert.deepEqual([await asked(), await asked()], [MISS, HIT]);
      await put({ cache_ttl: 0 });
      assert.deepEqual(await asked(), OFF);
    });

    for (const [how, fault] of [["fails", { fail: "look" }], ["hangs", { hang: "look" }]]) {
      test(`a cache that ${how} costs no answer: the provider is asked, and one line says so`, async () => {
        const json = question();
        await ask(json);
        const [lines, before] = [gw.output.length, await keptNow()];
        await watch(fault);
        const begun = Date.now();
        const answers = [await ask(json), await ask(json, { headers: { "cf-aig-collect-log": "false" } })];
        for (const answer of answers) assert.deepEqual([...seen(answer), answer.status], [...MISS, 200]);
        assert.ok(Date.now() - begun < 8_000);
        await watch({ fail: "", hang: "" });
        assert.deepEqual(seen(await ask(json)), HIT);
        assert.equal(await keptNow(), before);
        const told = gw.output.slice(lines).filter((line) => line.includes("cache_unreadable"));
        assert.deepEqual([told.length, /the test broke the cache|no answer within 1000 ms/.test(told[0])], [2, true]);
      });
    }

    test("an answer that cannot be kept reaches its client", async () => {
      const json = question();
      const lines = gw.output.length;
      await watch({ fail: "keep" });
      for (const stream of [false, true]) {
        const answer = await ask({ ...json, stream });
        assert.deepEqual([...seen(answer), answer.status], [...MISS, 200]);
        assert.equal((await gw.logOf(answer.answer)).success, true);
      }
      await until(() => gw.output.slice(lines).filter((line) => line.includes("cache_unwritable")).length === 2, "the lines about it");
      await watch({ fail: "" });
      assert.deepEqual([seen(await ask(json)), seen(await ask(json))], [MISS, HIT]);
    });

    test("a kept answer that breaks off is asked for anew", async () => {
      const long = `{"text":"${"x".repeat(2 << 20)}"}`;
      for (const body of ['{"a":1}', long]) {
        const json = question();
        const answered = () => gw.upstream.next({ status: 200, headers: { "content-type": "application/json" }, body });
        answered();
        const before = await keptNow();
        await ask(json);
        await kept(before);
        await watch({ broken: true });
        answered();
        const answer = await ask(json);
        await watch({ broken: false });
        assert.deepEqual([...seen(answer), answer.status, answer.text === body], [...MISS, 200, true]);
        assert.equal((await gw.logOf(answer.answer)).cached, false);
      }
    });

    if (!kv) {
      test("what was kept expires", async () => {
        const json = question();
        await watch({ ttl: 1 });
        const before = await keptNow();
        await ask(json);
        await kept(before);
        await watch({ ttl: 0 });
        await until(async () => (await ask(json)).cache === "MISS", "the answer to expire");
      });
    }
  });
}
