import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { binaryOf, isDrawable } from "../src/core/body.ts";
import { breakdownOf } from "../src/core/breakdown.ts";
import { groupRows, series, stacked } from "../src/core/charts.ts";
import { isCard, joined, paired, type Turn } from "../src/core/conversation.ts";
import { EventReader, readEvents, textOf } from "../src/core/events.ts";
import { blocks, inline, safeUrl } from "../src/core/markdown.ts";
import { bodyFor, endpointOf, readAnswer } from "../src/core/playground.ts";
import { cachedShare, runningCost } from "../src/core/sessions.ts";
import { changesOf, conflicts, fieldsOf } from "../src/core/settings.ts";
import { snippet } from "../src/core/snippets.ts";
import { explain, messageFor } from "../src/core/words.ts";

test("D10: a tool's result is in the card of its call, also of parallel ones and of ids that come again", () => {
  const call = (id: string, name = "f") => ({ type: "tool_call" as const, id, name, arguments: "{}" });
  const result = (id: string | null, text: string) => ({ type: "tool_result" as const, id, text });
  const turns: Turn[] = [
    { role: "user", index: 0, parts: [{ type: "text", text: "go" }] },
    { role: "assistant", index: 1, parts: [call("1"), call("2")] },
    { role: "tool", index: 2, parts: [result("2", "two")] },
    { role: "tool", index: 3, parts: [result("1", "one")] },
    { role: "assistant", index: 4, parts: [call("1")] },
    { role: "tool", index: 5, parts: [result("1", "again"), result("9", "lost")] },
  ];
  const shown = paired(turns);
  assert.deepEqual(shown.map(({ index }) => index), [0, 1, 4, 5]);
  const cards = shown.flatMap(({ parts }) => parts).filter(isCard);
  assert.deepEqual(cards.map(({ result }) => result?.text), ["one", "two", "again"]);
  assert.equal(shown.at(-1)?.parts.length, 1, "a result without a call is shown all the same");
  const unnamed = paired([{ role: "model", index: 0, parts: [call(""), call("", "g")] }, { role: "tool", index: 1, parts: [result("", "first"), result("", "second")] }]);
  assert.deepEqual(unnamed.flatMap(({ parts }) => parts).filter(isCard).map(({ call, result }) => [call.name, result?.text]), [["f", "first"], ["g", "second"]]);
});

test("D10: pieces of one answer are one text, with its sources behind it; what a user sent in parts stays in parts", () => {
  const text = (value: string) => ({ type: "text" as const, text: value });
  const source = { type: "citation" as const, url: "https://e.example/" };
  const call = { type: "tool_call" as const, id: "1", name: "f", arguments: {} };
  assert.deepEqual(joined([text("Ra"), source, text("men"), call, text("a"), text("b")]), [text("Ramen"), source, call, text("ab")]);
  const cut = { type: "text" as const, text: "begun", truncated: true, chars: 100 };
  assert.deepEqual(joined([cut, text("x")]), [cut, text("x")], "behind what is left out nothing can be joined");
  assert.deepEqual(joined([text("Ra"), { ...cut, text: "men" }]), [{ type: "text", text: "Ramen", truncated: true, chars: 102 }]);
  const turns: Turn[] = [{ role: "user", index: 0, parts: [text("a"), text("b")] }];
  assert.equal(paired(turns)[0]?.parts.length, 2);
});

test("D11: Markdown is text, its links lead to web pages only, and images stay as they are written", () => {
  assert.deepEqual(inline("a **b** `c` [d](https://e.example/x)"), ["a ", { kind: "strong", text: "b" }, " ", { kind: "code", text: "c" }, " ", { kind: "link", text: "d", url: "https://e.example/x" }]);
  assert.deepEqual(inline("![x](https://evil.example/?q=1)"), ["![x](https://evil.example/?q=1)"]);
  assert.deepEqual(inline("[x](javascript:alert(1))"), ["[x](javascript:alert(1)", ")"]);
  for (const url of ["javascript:alert(1)", "data:text/html,x", "//evil", "file:///x", "https://"]) assert.equal(safeUrl(url), null);
  const kinds = blocks("# t\n\npara\n- a\n- b\n\n```js\nx\n```\n|a|b|\n|-|-|\n|1|2|\n> q\n---").map(({ kind }) => kind);
  assert.deepEqual(kinds, ["heading", "paragraph", "list", "code", "table", "quote", "rule"]);
});

test("Markdown of any text ends, and soon", () => {
  fc.assert(fc.property(fc.string(), (text) => void blocks(text)));
  for (const nasty of ["*".repeat(100_000), "[".repeat(100_000), "`".repeat(100_001), "> ".repeat(50_000), "|".repeat(100_000), "- ".repeat(50_000), "_ ".repeat(50_000), "```\n".repeat(20_000), "**a".repeat(30_000)]) {
    const begun = performance.now();
    blocks(nasty);
    assert.ok(performance.now() - begun < 5_000, `${nasty.slice(0, 10)}… took too long`);
  }
});

test("base64 is a chip; SVG is never drawn", () => {
  assert.equal(binaryOf("a plain sentence ".repeat(50)), null);
  assert.equal(binaryOf(`iVBORw0KGgo${"A".repeat(500)}`)?.mediaType, "image/png");
  assert.equal(binaryOf(`data:image/svg+xml;base64,${"A".repeat(50)}`)?.url, null);
  assert.ok(binaryOf(`data:image/png;base64,${"A".repeat(50)}`)?.url);
  assert.equal(isDrawable("text/html"), false);
});

test("events of a stream, whole or in pieces", () => {
  const text = 'event: a\ndata: {"x":1}\n\ndata: two\ndata: lines\n\n: ping\n\ndata: [DONE]\n\n';
  const whole = readEvents(text, "text/event-stream");
  assert.deepEqual(whole, [{ name: "a", data: '{"x":1}' }, { name: null, data: "two\nlines" }, { name: null, data: "[DONE]" }]);
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 8 }), (cuts) => {
      const reader = new EventReader();
      const places = [0, ...cuts.sort((a, b) => a - b), text.length];
      const read = places.slice(1).flatMap((end, at) => reader.push(text.slice(places[at], end)));
      assert.deepEqual(read, whole);
    }),
  );
  assert.equal(textOf({ choices: [{ delta: { content: "a" } }] }), "a");
  assert.equal(textOf({ type: "content_block_delta", delta: { type: "text_delta", text: "b" } }), "b");
  assert.equal(textOf({ type: "content_block_delta", delta: { type: "thinking_delta", thinking: "no" } }), "");
  assert.equal(textOf({ candidates: [{ content: { parts: [{ text: "c" }, { text: "hidden", thought: true }] } }] }), "c");
  for (const other of [null, 1, "x", [], {}]) assert.equal(textOf(other), "");
});

test("a program that sends a request again holds whatever the request held, and no key", () => {
  const replay = { origin: "http://h", account: "a", gateway: "g", provider: "openai", path: "chat/completions", contentType: "application/json", metadata: { name: "Zoë's" }, body: `{"a":"it's \\"$HOME\\""}` };
  const curl = snippet("curl", replay);
  assert.ok(curl.startsWith("curl 'http://h/v1/a/g/openai/chat/completions'"));
  assert.ok(curl.includes(`'{"a":"it'\\''s \\"$HOME\\""}'`));
  assert.ok(curl.includes("\\u00eb"), "headers are ASCII");
  for (const language of ["curl", "python", "javascript"] as const) assert.match(snippet(language, replay), /PROVIDER_KEY/);
});

test("settings: only what differs is sent, and a clash is seen", () => {
  const fields = fieldsOf({ cache_ttl: { type: ["integer", "null"] }, authentication: { type: ["boolean", "null"] }, cors: { type: ["object", "null"] }, mode: { enum: ["a", "b", null] } });
  assert.deepEqual(fields.map(({ kind }) => kind), ["number", "flag", "json", "choice"]);
  const gateway = { cache_ttl: 0, authentication: true, cors: null, mode: null };
  assert.deepEqual(changesOf(fields, gateway, { cache_ttl: "0", authentication: "false", cors: "{", mode: "" }), { changes: { authentication: false }, wrong: { cors: changesOf(fields, gateway, { cors: "{" }).wrong.cors } });
  assert.deepEqual(conflicts(gateway, { ...gateway, cache_ttl: 9 }, { authentication: false }), []);
  assert.deepEqual(conflicts(gateway, { ...gateway, authentication: null }, { authentication: false }), ["authentication"]);
});

test("D8: the server's message finds its field; every kind of failure has its own words", () => {
  const error = { status: 400, details: [{ message: "Expected 0 to 9", path: ["body", "cache_ttl"] }] };
  assert.equal(messageFor(error, "cache_ttl"), "Expected 0 to 9");
  assert.equal(messageFor(error, "other"), undefined);
  const titles = [{ status: 401 }, { status: 403 }, { status: 404 }, { status: 429 }, { status: 500 }, { status: 503 }, { reason: "offline" }, { reason: "timeout" }, new Error("x")].map((one) => explain(one).title);
  assert.equal(new Set(titles).size, titles.length);
});

test("charts: groups add up, the rest is one series, times without requests are zero", () => {
  const figures = (requests: number) => ({ requests, errors: 1, cost: requests / 10, unpriced: 0, tokens_in: 1, tokens_out: 1, duration: { p50: 5 } }) as never;
  const buckets = Array.from({ length: 9 }, (_, at) => ({ ...(figures(10 - at) as object), time: new Date(1000).toISOString(), model: `m${at}` })) as never;
  const all = series(buckets, [0, 1000], "model", ({ requests }) => requests);
  assert.deepEqual(all.map(({ name, values }) => [name, ...values]).slice(-2), [["m5", 0, 5], ["3 others", 0, 9]]);
  assert.equal(stacked(all).at(-1)?.[1], 54);
  assert.equal(groupRows(buckets, undefined, "model")[0]?.name, "m0");
  assert.equal(groupRows(buckets, undefined, "model")[0]?.p50, null, "percentiles of buckets do not add up");
});

test("a session's cost is unknown from the first turn of unknown cost on", () => {
  const logs = [{ cost: 1, tokens_in: 1, tokens_out: 1 }, { cost: null, tokens_in: null, tokens_out: null }, { cost: 2, tokens_in: 1, tokens_out: 1 }, { cost: null, tokens_in: 5, tokens_out: 1 }, { cost: 1, tokens_in: 1, tokens_out: 1 }];
  assert.deepEqual(runningCost(logs).map(({ sum }) => sum), [1, 1, 3, null, null]);
});

test("the playground speaks each provider's own format", () => {
  const said = [{ role: "system" as const, content: "s" }, { role: "user" as const, content: "u" }];
  const options = { temperature: 0.5, maxTokens: 9, stream: true };
  assert.deepEqual(bodyFor("anthropic", "m", said, options), { model: "m", max_tokens: 9, system: "s", messages: [said[1]], temperature: 0.5, stream: true });
  assert.equal(endpointOf("google-ai-studio", "gemini-x", true), "google-ai-studio/v1beta/models/gemini-x:streamGenerateContent?alt=sse");
  assert.deepEqual(bodyFor("openai", "m", said, { ...options, temperature: null, stream: false }), { model: "m", messages: said, max_completion_tokens: 9 });
  assert.equal(readAnswer({ choices: [{ message: { content: "x" } }] }), "x");
  assert.equal(readAnswer({ content: [{ type: "text", text: "y" }] }), "y");
});

test("a breakdown is what the server says, or nothing", () => {
  assert.deepEqual(breakdownOf({}), []);
  assert.deepEqual(breakdownOf({ cost_breakdown: [{ kind: "cached_input", quantity: 3, rate: 1e-6, cost: 3e-6 }, null, { kind: 1 }] }), [{ kind: "cached input", quantity: 3, rate: 1e-6, cost: 3e-6 }]);
});

test("the cached share of a prompt, whether the provider counts it within its input or beside", () => {
  const share = (tokens_in: number | null, cached_tokens: number | null, rest = {}) => cachedShare({ tokens_in, cached_tokens, ...rest });
  assert.deepEqual([share(100, 80, { provider: "openai" }), share(100, 300, { provider: "anthropic" }), share(100, 100, { models: ["claude-x"] }), share(10, 30), share(10, null), share(null, 5), share(0, 0)], [0.8, 0.75, 0.5, 0.75, 0, null, null]);
});
