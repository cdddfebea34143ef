// Checks that ask no model, and a webhook that is asked: what the client got, what the provider and the webhook got, and what the logs say.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { Gateway, until } from "../harness.mjs";

const SECRET = "whsec-0123456789abcdef";
let gw, hook;
/** What the webhook was asked, and what it says. */
const asked = [];
let says = () => ({ action: "pass" });
before(async () => {
  hook = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      asked.push({ url: request.url, headers: request.headers, body });
      const said = says(JSON.parse(body));
      if (said === "hang") return;
      response.writeHead(said.status ?? 200, { "content-type": "application/json", ...said.headers });
      response.end(typeof said.text === "string" ? said.text : JSON.stringify(said));
    });
  });
  await new Promise((ready) => hook.listen(0, "127.0.0.1", ready));
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true" } });
  const made = await gw.api("/custom-providers", { method: "POST", body: JSON.stringify({ name: "Judge", slug: "judge", base_url: `http://127.0.0.1:${hook.address().port}/v1`, enable: true }) });
  assert.equal(made.status, 200, await made.clone().text());
  const webhook = { provider: "custom-judge", path: "check" };
  await gw.create("hooked", { guardrails: { webhook: { ...webhook, prompt: "BLOCK", response: "BLOCK" } } });
  await gw.create("hook-flags", { guardrails: { webhook: { ...webhook, prompt: "FLAG" } } });
  await gw.create("unsigned", { guardrails: { webhook: { ...webhook, prompt: "BLOCK" } } });
  for (const gateway of ["hooked", "hook-flags"]) {
    const kept = await gw.api(`/gateways/${gateway}/provider_configs`, { method: "POST", body: JSON.stringify({ provider_slug: "custom-judge", alias: "default", secret: SECRET, default_config: true }) });
    assert.equal(kept.status, 200, await kept.clone().text());
  }
  await gw.create("deny", { guardrails: { checks: [{ id: "projects", type: "deny", patterns: ["prj-[0-9]+"], case_sensitive: false, action: "BLOCK" }, { id: "long", type: "size", max_characters: 2000, action: "FLAG" }] } });
  await gw.create("shaped", { guardrails: { stream: "buffer", checks: [{ id: "json", type: "schema", action: "BLOCK", schema: { type: "object", required: ["city"] } }, { id: "polite", type: "allow", action: "FLAG", check: ["response"], patterns: ["thank"] }] } });
  await gw.create("tagged", { guardrails: { checks: [{ id: "team", type: "metadata", keys: ["team"], action: "BLOCK" }] } });
});
beforeEach(() => {
  gw.upstream.requests.length = 0;
  asked.length = 0;
  says = () => ({ action: "pass" });
});
after(async () => {
  await gw.stop();
  hook.closeAllConnections();
  hook.close();
});

const sk = { authorization: "Bearer sk-client-0123456789" };
const chat = (content, more = {}) => ({ model: "gpt-4o-mini", messages: [{ role: "user", content }], ...more });
const completion = (content, more = {}) => ({ body: JSON.stringify({ id: "c1", object: "chat.completion", model: "gpt-4o-mini", choices: [{ index: 0, message: { role: "assistant", content, ...more }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } }), headers: { "content-type": "application/json" } });
const ask = (gateway, json, headers = {}, path = "openai/chat/completions") => gw.call(path, { gateway, json, headers: { ...sk, ...headers } });
const sent = () => gw.upstream.requests.length;
const codeOf = async (answer) => [answer.status, (await answer.json()).internalCode];
const event = (content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
const end = "data: [DONE]\n\n";

test("a webhook gets prompt and answer signed, and says what becomes of them", async () => {
  gw.upstream.next(completion("Fine."));
  const answer = await ask("hooked", chat("hello"), { "cf-aig-metadata": '{"team":"a"}', "cf-aig-event-id": "event-1" });
  assert.equal((await answer.json()).choices[0].message.content, "Fine.");
  assert.deepEqual(asked.map(({ url }) => url), ["/v1/check", "/v1/check"]);
  assert.deepEqual(asked.map(({ body }) => JSON.parse(body)), [
    { phase: "prompt", text: "hello", asked: "", gateway: "hooked", event_id: "event-1", metadata: { team: "a" } },
    { phase: "response", text: "Fine.", asked: "hello", gateway: "hooked", event_id: "event-1", metadata: { team: "a" } },
  ]);
  for (const { headers, body } of asked) {
    const [, seconds, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers["tollgate-signature"]);
    assert.equal(signature, createHmac("sha256", SECRET).update(`${seconds}.${body}`).digest("hex"));
    assert.ok(Math.abs(Date.now() / 1000 - Number(seconds)) < 120);
    assert.equal(headers.authorization, undefined, "the secret went along");
  }
  const log = await gw.logOf(answer, "hooked");
  assert.deepEqual(log.guardrails, { prompt: { action: "PASS", categories: [], error: null }, response: { action: "PASS", categories: [], error: null } });
  const rows = await gw.rows("SELECT provider, request_type, success FROM logs WHERE event_id = 'event-1' AND id <> ?", log.id);
  assert.deepEqual(rows, [1, 2].map(() => ({ provider: "custom-judge", request_type: "guardrail", success: 1 })));
  const all = JSON.stringify(await gw.rows("SELECT * FROM logs")) + JSON.stringify(await gw.rows("SELECT * FROM log_bodies").catch(() => [])) + (await (await gw.api("/gateways/hooked")).text());
  assert.ok(!all.includes(SECRET), "the secret is stored");

  says = ({ text }) => ({ action: text.includes("secret plan") ? "block" : "pass", categories: ["legal"] });
  const blocked = await ask("hooked", chat("the secret plan"));
  assert.deepEqual(await codeOf(blocked), [424, 2016]);
  assert.equal(sent(), 1);
  assert.deepEqual((await gw.logOf(blocked, "hooked")).guardrails.prompt, { action: "BLOCK", categories: ["webhook", "legal"], error: null });
  gw.upstream.next(completion("It is the secret plan."));
  assert.deepEqual(await codeOf(await ask("hooked", chat("tell"))), [424, 2017]);
  gw.upstream.next({ events: [event("It is the sec"), event("ret plan."), end], pause: 5 });
  const stream = await (await ask("hooked", chat("tell", { stream: true }))).text();
  assert.ok(!stream.includes("plan") && /"code":"?2017/.test(stream), stream);
  gw.upstream.next(completion("Fine."));
  const flagged = await ask("hook-flags", chat("the secret plan"));
  assert.equal(flagged.status, 200, "a webhook that may only flag has blocked");
  await flagged.text();
  assert.equal((await gw.logOf(flagged, "hook-flags")).guardrails.prompt.action, "FLAG");
});

test("a webhook that is down, slow, leads elsewhere or lies has given no verdict, nor has one that cannot be signed for", async () => {
  const lies = { down: { status: 500 }, slow: "hang", elsewhere: { status: 302, headers: { location: "http://127.0.0.1:1/" } }, lying: { action: "allow" }, "no JSON": { text: "pass" }, long: { text: `{"action":"pass","x":"${"y".repeat(100_000)}"}` } };
  for (const [what, lie] of Object.entries(lies)) {
    says = () => lie;
    const refused = await ask("hooked", chat("hello"));
    assert.deepEqual([...(await codeOf(refused)), sent()], [503, 7013, 0], what);
    assert.match((await gw.logOf(refused, "hooked")).guardrails.prompt.error, /custom-judge\/check/, what);
    gw.upstream.next(completion("Fine."));
    const passed = await ask("hook-flags", chat("hello"));
    assert.equal(passed.status, 200, what);
    assert.match(passed.headers.get("cf-aig-warning"), /guardrails: unscanned: the prompt was not judged/, what);
    await passed.text();
    assert.ok((await gw.logOf(passed, "hook-flags")).guardrails.prompt.error, what);
    gw.upstream.requests.length = 0;
  }
  asked.length = 0;
  says = () => ({ action: "pass" });
  assert.deepEqual(await codeOf(await ask("unsigned", chat("hello"))), [503, 7013]);
  assert.equal(asked.length, 0, "an unsigned request went out");
  await until(async () => (await gw.rows("SELECT id FROM logs WHERE request_type = 'guardrail' AND error LIKE '%no secret to sign with%'")).length === 1);
});

test("what a pattern denies is not sent and not given, in prompts, tool arguments, forms and streams", async () => {
  const blocked = await ask("deny", chat("about PRJ-77"));
  assert.deepEqual([...(await codeOf(blocked)), sent()], [424, 2016, 0]);
  assert.deepEqual((await gw.logOf(blocked, "deny")).guardrails.prompt, { action: "BLOCK", categories: ["projects"], error: null });
  gw.upstream.next(completion(null, { tool_calls: [{ id: "t", type: "function", function: { name: "f", arguments: '{"a":"\\u0050RJ-7\\u0037"}' } }] }));
  assert.deepEqual(await codeOf(await ask("deny", chat("tell"))), [424, 2017]);
  gw.upstream.next({ events: [event("x".repeat(1_500)), event(" about PR"), event("J-77 and"), end], pause: 5 });
  const stream = await ask("deny", chat("tell", { stream: true }));
  const text = await stream.text();
  assert.ok(!text.includes("J-77") && /"code":"?2017/.test(text), text.slice(-300));
  assert.equal((await gw.logOf(stream, "deny")).guardrails.response.action, "BLOCK");
  const form = new FormData();
  form.set("prompt", "about PRJ-77");
  form.set("model", "whisper-1");
  form.set("file", new Blob([Buffer.from([255, 251, 0])], { type: "audio/mpeg" }), "a.mp3");
  assert.deepEqual(await codeOf(await gw.call("openai/audio/transcriptions", { gateway: "deny", method: "POST", body: form, headers: sk })), [424, 2016]);
  const binary = new FormData();
  binary.set("file", new Blob([Buffer.from([37, 80, 255, 0])], { type: "application/pdf" }), "a.pdf");
  assert.deepEqual(await codeOf(await gw.call("openai/files", { gateway: "deny", method: "POST", body: binary, headers: sk })), [503, 7013]);
  assert.equal(sent(), 2);
  gw.upstream.next(completion("y".repeat(2_500)));
  const long = await ask("deny", chat("tell"));
  assert.equal(long.status, 200);
  await long.text();
  assert.deepEqual((await gw.logOf(long, "deny")).guardrails.response, { action: "FLAG", categories: ["long"], error: null });
});

test("nothing of a prompt hides behind its form", async () => {
  const user = { role: "user", content: "about PRJ-77" };
  const body = JSON.stringify(chat(user.content));
  for (const [what, json, path] of [
    ["a turn of the model that the caller begins", chat("", { messages: [user, { role: "assistant", content: "Sure" }] })],
    ["a batch", { requests: [{ custom_id: "a", params: { model: "claude-haiku-4-5", max_tokens: 5, messages: [user] } }] }, "anthropic/v1/messages/batches"],
    ["a message of a thread", user, "openai/threads/t/messages"],
  ]) assert.deepEqual([what, ...(await codeOf(await ask("deny", json, {}, path)))], [what, 424, 2016]);
  for (const [what, raw, type, wanted] of [
    ["no JSON", `${body.slice(0, -1)},}`, "application/json", [424, 2016]],
    ["a byte order mark", `\ufeff${body}`, "application/json", [424, 2016]],
    ["what calls itself a picture", body, "image/png", [424, 2016]],
    ["UTF-16", Buffer.from(body, "utf16le"), "application/json", [503, 7013]],
  ]) assert.deepEqual([what, ...(await codeOf(await gw.call("openai/chat/completions", { gateway: "deny", method: "POST", body: raw, headers: { ...sk, "content-type": type } })))], [what, ...wanted]);
  assert.equal(sent(), 0);
});

test("system prompts are judged where the setting says so, in three formats", async () => {
  const check = { id: "projects", type: "deny", patterns: ["PRJ-[0-9]+"], action: "BLOCK", check: ["prompt"] };
  await gw.create("systems", { guardrails: { system: true, checks: [check] } });
  await gw.create("no-systems", { guardrails: { checks: [check] } });
  const user = { role: "user", content: "hi" };
  const bad = "speak of PRJ-77";
  const ways = [
    ["openai/chat/completions", chat("", { messages: [{ role: "system", content: bad }, user] })],
    ["openai/chat/completions", chat("", { messages: [user, { role: "developer", content: bad }] })],
    ["openai/responses", { model: "gpt-4o-mini", instructions: bad, input: "hi" }],
    ["anthropic/v1/messages", { model: "claude-haiku-4-5", max_tokens: 5, system: [{ type: "text", text: bad }], messages: [user] }],
  ];
  for (const [path, json] of ways) {
    const refused = await ask("systems", json, {}, path);
    assert.deepEqual([path, ...(await codeOf(refused)), sent()], [path, 424, 2016, 0]);
    assert.deepEqual((await gw.logOf(refused, "systems")).guardrails.prompt, { action: "BLOCK", categories: ["projects"], error: null });
  }
  for (const [path, json] of ways) {
    const passed = await ask("no-systems", json, {}, path);
    assert.equal(passed.status, 200, await passed.text());
    assert.equal((await gw.logOf(passed, "no-systems")).guardrails.prompt.action, "PASS");
  }
});

test("an answer has the form that a schema wants, whole or as a stream", async () => {
  gw.upstream.next(completion('{"city":"Bern"}'));
  const fits = await ask("shaped", chat("where"));
  assert.equal(fits.status, 200);
  await fits.text();
  assert.deepEqual((await gw.logOf(fits, "shaped")).guardrails.response, { action: "FLAG", categories: ["polite"], error: null });
  gw.upstream.next(completion("in Bern, thank you"));
  const other = await ask("shaped", chat("where"));
  assert.deepEqual(await codeOf(other), [424, 2017]);
  assert.deepEqual((await gw.logOf(other, "shaped")).guardrails.response.categories, ["json"]);
  gw.upstream.next({ events: [event('{"ci'), event('ty":"thank'), event('"}'), end], pause: 5 });
  assert.equal(await (await ask("shaped", chat("where", { stream: true }))).text(), event('{"ci') + event('ty":"thank') + event('"}') + end);
  gw.upstream.next({ events: [event('{"ci'), event('"}'), end], pause: 5 });
  assert.match(await (await ask("shaped", chat("where", { stream: true }))).text(), /"code":"?2017/);
  gw.upstream.next(completion(null, { tool_calls: [{ id: "t", type: "function", function: { name: "f", arguments: "{}" } }] }));
  assert.equal((await ask("shaped", chat("where"))).status, 200, "a call of a tool is no answer yet");
});

test("metadata that has to be there is", async () => {
  assert.deepEqual([...(await codeOf(await ask("tagged", chat("x"), { "cf-aig-metadata": '{"user":"u"}' }))), sent()], [424, 2016, 0]);
  gw.upstream.next(completion("Fine."));
  assert.equal((await ask("tagged", chat("x"), { "cf-aig-metadata": '{"team":"a"}' })).status, 200);
});

test("the setting is checked when it is stored", async () => {
  const put = async (guardrails) => {
    const answer = await gw.api("/gateways/tagged", { method: "PUT", body: JSON.stringify({ guardrails }) });
    const { errors } = await answer.json();
    return [answer.status, errors?.[0]?.path?.join("."), errors?.[0]?.message];
  };
  const schema = { id: "a", type: "schema", action: "BLOCK", schema: { type: "object" } };
  const [status, place, message] = await put({ checks: [schema] });
  assert.deepEqual([status, place], [400, "body.guardrails.checks.0.type"]);
  assert.match(message, /buffer or after/);
  assert.match((await put({ checks: [{ ...schema, type: "replace" }] }))[2], /custom_profiles with a replacement/);
  assert.equal((await put({ webhook: { provider: "openai", path: "x", prompt: "FLAG" } }))[1], "body.guardrails.webhook.provider");
  assert.equal((await put({ system: "yes", checks: [schema] }))[1], "body.guardrails.system");
  assert.equal((await put({ stream: "after", checks: [schema] }))[0], 200);
});
