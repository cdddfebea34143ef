// Pages in a real browser: the official clients under Debian's Chromium, from an origin that the gateway allows and from another.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { chromium } from "playwright-core";
import { CHROMIUM_ARGS, ensureChromium } from "../../../scripts/chromium.mjs";
import { ACCOUNT, Gateway, until } from "../harness.mjs";

/** What the page does with the clients. Each function says what came of it, errors too. */
const PAGE = `
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const outcome = async (work) => {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: { name: error.constructor.name, status: error.status ?? null, retryAfter: error.headers?.get?.("retry-after") ?? null } };
  }
};
const client = ({ url, token, key = "sk-page" }) =>
  new OpenAI({ apiKey: key, baseURL: url + "/openai", maxRetries: 0, dangerouslyAllowBrowser: true, defaultHeaders: { "cf-aig-metadata": '{"from":"page"}', ...(token && { "cf-aig-authorization": "Bearer " + token }) } });
const chat = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };

window.gateway = {
  chat: (told) => outcome(async () => {
    const { data, response, request_id } = await client(told).chat.completions.create(chat).withResponse();
    return { text: data.choices[0].message.content, log: response.headers.get("cf-aig-log-id"), request_id };
  }),
  stream: (told) => outcome(async () => {
    let [text, chunks, usage] = ["", 0, null];
    for await (const chunk of await client(told).chat.completions.create({ ...chat, stream: true })) {
      chunks += 1;
      text += chunk.choices[0]?.delta?.content ?? "";
      usage ??= chunk.usage ?? null;
    }
    return { text, chunks, usage };
  }),
  models: (told) => outcome(async () => (await client(told).models.list()).data.length),
  anthropic: (told) => outcome(async () => {
    const anthropic = new Anthropic({ apiKey: "sk-ant-page", baseURL: told.url + "/anthropic", maxRetries: 0, dangerouslyAllowBrowser: true });
    const message = await anthropic.messages.create({ model: "claude-sonnet-4-5", max_tokens: 16, messages: chat.messages });
    return message.content.length;
  }),
  feedback: ({ origin, id, token, method = "POST" }) => outcome(async () => {
    const body = method === "POST" ? JSON.stringify({ data: { thumb: 1 } }) : undefined;
    const answer = await fetch(origin + "/feedback/" + id, { method, body, headers: { authorization: "Bearer " + token, "content-type": "application/json" } });
    return { status: answer.status, result: (await answer.json()).result };
  }),
  cookies: ({ url }) => outcome(async () => (await fetch(url + "/openai/models", { credentials: "include" })).status),
  socket: ({ url }) => new Promise((resolve) => {
    const socket = new WebSocket(url.replace("http", "ws"));
    socket.onopen = () => (resolve("open"), socket.close());
    socket.onerror = () => resolve("refused");
  }),
};
`;

let program, missing;
try {
  program = ensureChromium();
} catch (error) {
  missing = `no Chromium on this machine: ${error.message}`;
}
const inBrowser = (name, work) => test(name, { skip: missing ?? false }, work);

let gw, browser, server, own, foreign, tokens;
const pages = {};
before(async () => {
  if (missing) return;
  const bundle = buildSync({ stdin: { contents: PAGE, resolveDir: fileURLToPath(new URL("../../..", import.meta.url)) }, bundle: true, keepNames: true, write: false, format: "iife", platform: "browser", logLevel: "silent" }).outputFiles[0].text;
  server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
    response.end(isScript ? bundle : '<!doctype html><title>page</title><script src="/page.js"></script>');
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  // Two names of one server are two origins.
  [own, foreign] = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
  gw = await Gateway.start();
  await gw.create("locked", { authentication: true, cors: { origins: [own] } });
  await gw.create("open", { cors: { origins: [own] } });
  await gw.create("limited", { cors: { origins: [own] }, rate_limiting_limit: 1, rate_limiting_interval: 3_600 });
  await gw.create("off");
  const made = async (permission) => (await (await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: permission, permissions: [permission] }) })).json()).result.value;
  tokens = { run: await made("run"), feedback: await made("feedback") };
  browser = await chromium.launch({ executablePath: program, args: CHROMIUM_ARGS });
  for (const origin of [own, foreign]) {
    pages[origin] = await browser.newPage();
    await pages[origin].goto(origin);
  }
});
after(async () => {
  await browser?.close();
  server?.close();
  server?.closeAllConnections();
  await gw?.stop();
});

const at = (gateway) => `${gw.url}/v1/${ACCOUNT}/${gateway}`;
const run = (name, told, origin = own) => pages[origin].evaluate(([name, told]) => window.gateway[name](told), [name, told]);
const unread = { name: "APIConnectionError", status: null, retryAfter: null };

inBrowser("the official client asks and streams with a run token, and the page learns the log's id", async () => {
  const told = { url: at("locked"), token: tokens.run };
  const { value } = await run("chat", told);
  assert.ok(value.text.length > 0);
  assert.equal(value.request_id, "req_standin");
  const log = (await gw.result(`/gateways/locked/logs/${value.log}`));
  assert.deepEqual([log.success, log.metadata.from, log.authentication], [true, "page", true]);
  const stream = await run("stream", told);
  assert.ok(stream.value.chunks > 2 && stream.value.text.length > 0, JSON.stringify(stream));
  const sent = gw.upstream.last.headers;
  // The page's origin and our token stay here.
  assert.deepEqual([sent.origin, sent["cf-aig-authorization"], sent.authorization], [undefined, undefined, "Bearer sk-page"]);
  assert.deepEqual(await run("anthropic", { url: at("open") }), { value: 1 });
});

inBrowser("a page learns why it is refused", async () => {
  assert.deepEqual((await run("chat", { url: at("locked") })).error, { name: "AuthenticationError", status: 401, retryAfter: null });
  assert.equal((await run("models", { url: at("limited") })).error, undefined);
  const { error } = await run("models", { url: at("limited") });
  assert.deepEqual([error.name, error.status, Number(error.retryAfter) > 0], ["RateLimitError", 429, true]);
  gw.upstream.next({ status: 500, headers: { "content-type": "application/json" }, body: '{"error":{"message":"no"}}' });
  assert.deepEqual((await run("chat", { url: at("open") })).error, { name: "InternalServerError", status: 500, retryAfter: null });
});

inBrowser("a page of another origin sends nothing that needs a question first, and reads nothing", async () => {
  const before = gw.upstream.requests.length;
  for (const [gateway, origin] of [["open", foreign], ["locked", foreign], ["off", own]]) {
    for (const name of ["chat", "stream", "models"]) assert.deepEqual((await run(name, { url: at(gateway), token: tokens.run }, origin)).error, unread, `${name} ${gateway}`);
  }
  assert.equal(gw.upstream.requests.length, before);
});

inBrowser("cookies are for no page", async () => {
  assert.equal((await run("cookies", { url: at("open") })).error.name, "TypeError");
});

inBrowser("a WebSocket opens for the pages that may send requests", async () => {
  assert.equal(await run("socket", { url: at("open") }), "open");
  assert.equal(await run("socket", { url: at("open") }, foreign), "refused");
  assert.equal(await run("socket", { url: at("off") }), "refused");
});

inBrowser("a page gives feedback by the id that it was told, and cannot read any", async () => {
  const { value } = await run("chat", { url: at("open") });
  const told = { origin: gw.url, id: value.log, token: tokens.feedback };
  // From any origin: the token decides.
  for (const origin of [own, foreign]) {
    const given = await run("feedback", told, origin);
    assert.ok([200, 202].includes(given.value.status), JSON.stringify(given));
    assert.deepEqual([given.value.result.log_id, given.value.result.data], [value.log, { thumb: 1 }]);
  }
  assert.equal((await run("feedback", { ...told, method: "GET" })).value.status, 403);
  assert.equal((await run("feedback", { ...told, token: "tgt_wrong" })).value.status, 401);
  assert.equal((await run("chat", { url: at("locked"), token: tokens.feedback })).error.status, 401);
  await until(async () => (await gw.result(`/gateways/open/logs/${value.log}`)).feedback_data?.thumb === 1 || (await gw.rows("SELECT 1 FROM log_feedback WHERE log_id = ?1", value.log)).length === 1, "the feedback to be there");
});
