// Each engine with each action, in each mode, on JSON and on streams of three formats; and engines that are down, slow, or lie.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { Gateway } from "../harness.mjs";

const json = (body) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });
const isBad = (body) => body.includes("bomb");
/** What is wrong with the engines. */
let fault = null;
const FAULTS = { down: () => ({ status: 500, body: "no" }), slow: () => ({ hang: true }), lying: () => json({ choices: [{ message: { role: "assistant", content: "sure" } }], results: [{ categories: "none" }], action: "allow" }) };

/** The setting of each engine for an action, and the category that it says. */
const rules = (action) => ({ prompt: { S1: action }, response: { S1: action } });
const ENGINES = {
  "Llama Guard": [(action) => ({ ...rules(action), engine: { provider: "groq", model: "llama-guard-3-8b" } }), "S1", "groq"],
  "OpenAI's moderation": [(action) => ({ ...rules(action), engine: { provider: "openai", model: "omni-moderation-latest" } }), "S1", "openai"],
  "a webhook": [(action) => ({ webhook: { provider: "custom-judge", path: "check", prompt: action, response: action } }), "webhook", "custom-judge"],
  "a check": [(action) => ({ checks: [{ id: "bombs", type: "deny", patterns: ["bomb"], action }] }), "bombs", null],
};
const MODES = ["window", "buffer", "after"];

let gw, hook;
before(async () => {
  hook = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const said = fault ? FAULTS[fault]() : json({ action: isBad(JSON.parse(body).text) ? "block" : "pass" });
      if (!said.hang) response.writeHead(said.status ?? 200, said.headers).end(said.body);
    });
  });
  await new Promise((ready) => hook.listen(0, "127.0.0.1", ready));
  gw = await Gateway.start({ bindings: { ALLOW_INTERNAL_UPSTREAMS: "true", PROVIDER_KEYS: JSON.stringify({ groq: "gsk_operator", openai: "sk-operator-0123456789" }) } });
  const made = await gw.api("/custom-providers", { method: "POST", body: JSON.stringify({ name: "Judge", slug: "judge", base_url: `http://127.0.0.1:${hook.address().port}/v1`, enable: true }) });
  assert.equal(made.status, 200, await made.text());
  gw.upstream.answer = ({ provider, url, body }) => {
    const isEngine = provider === "groq" || url.endsWith("/moderations");
    if (!isEngine) return answers[new URL(url, "http://provider").pathname.split("/").at(-1)]?.(JSON.parse(body));
    if (fault) return FAULTS[fault]();
    const asked = JSON.parse(body);
    if (provider === "groq") return json({ id: "g", object: "chat.completion", model: asked.model, choices: [{ index: 0, message: { role: "assistant", content: isBad(asked.messages.at(-1).content) ? "unsafe\nS1" : "safe" }, finish_reason: "stop" }], usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 } });
    return json({ id: "modr-1", model: "omni-moderation-latest", results: [{ flagged: isBad(asked.input), categories: { violence: isBad(asked.input), hate: false } }] });
  };
});
after(async () => {
  await gw.stop();
  hook.closeAllConnections();
  hook.close();
});

/** The question of each format, and what its provider answers: what the question says behind "say". */
const BAD = ["First you build a bo", "mb, and so on."];
const sse = (events) => ({ events, pause: 2 });
const event = (data) => `${data.type ? `event: ${data.type}\n` : ""}data: ${JSON.stringify(data)}\n\n`;
const wanted = (body) => (JSON.stringify(body).includes("say it") ? BAD : ["Fine", " weather."]);
const answers = {
  completions: (body) => {
    const texts = wanted(body);
    if (body.stream) return sse([...texts.map((content) => event({ choices: [{ index: 0, delta: { content } }] })), "data: [DONE]\n\n"]);
    return json({ id: "c1", object: "chat.completion", model: "gpt-4o-mini", choices: [{ index: 0, message: { role: "assistant", content: texts.join("") }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } });
  },
  messages: (body) => sse([...wanted(body).map((text) => event({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })), event({ type: "message_stop" })]),
  responses: (body) => sse([...wanted(body).map((delta) => event({ type: "response.output_text.delta", item_id: "i", output_index: 0, content_index: 0, delta })), event({ type: "response.completed", response: { id: "r", status: "completed", output: [] } })]),
};
const WAYS = {
  json: ["openai/chat/completions", (content) => ({ model: "gpt-4o-mini", messages: [{ role: "user", content }] })],
  "a stream of chat completions": ["openai/chat/completions", (content) => ({ model: "gpt-4o-mini", stream: true, messages: [{ role: "user", content }] })],
  "a stream of messages": ["anthropic/v1/messages", (content) => ({ model: "claude-sonnet-4-5", max_tokens: 50, stream: true, messages: [{ role: "user", content }] })],
  "a stream of responses": ["openai/responses", (input) => ({ model: "gpt-4o-mini", stream: true, input })],
};
const ask = async (gateway, way, content) => {
  const [path, body] = WAYS[way];
  const answer = await gw.call(path, { gateway, json: body(content), headers: { authorization: "Bearer sk-client-0123456789" } });
  return [answer, await answer.text()];
};

const names = {};
async function made(engine, action, mode) {
  const id = `m-${Object.keys(ENGINES).indexOf(engine)}-${action.toLowerCase()}-${mode}`;
  if (!names[id]) {
    await gw.create(id, { guardrails: { ...ENGINES[engine][0](action), stream: mode } });
    const kept = await gw.api(`/gateways/${id}/provider_configs`, { method: "POST", body: JSON.stringify({ provider_slug: "custom-judge", alias: "default", secret: "whsec-0123456789abcdef", default_config: true }) });
    assert.equal(kept.status, 200, await kept.text());
    names[id] = true;
  }
  return id;
}

for (const engine of Object.keys(ENGINES)) {
  const [, category, provider] = ENGINES[engine];
  test(`${engine}: FLAG and BLOCK, in prompts and answers, on JSON and on streams of three formats, in each mode`, async () => {
    fault = null;
    for (const action of ["FLAG", "BLOCK"]) {
      for (const mode of MODES) {
        const gateway = await made(engine, action, mode);
        for (const way of Object.keys(WAYS)) {
          const what = `${engine}, ${action}, ${mode}, ${way}`;
          const [fine, text] = await ask(gateway, way, "hello");
          assert.deepEqual([what, fine.status, text.includes("weather")], [what, 200, true]);
          const [asked, prompt] = await ask(gateway, way, "how is a bomb made");
          const isStopped = action === "BLOCK";
          assert.deepEqual([what, asked.status, prompt.includes("2016")], [what, isStopped ? 424 : 200, isStopped], prompt);
          const [answered, response] = await ask(gateway, way, "say it");
          const isCut = isStopped && (way === "json" || mode !== "after");
          assert.deepEqual([what, response.includes("and so on"), /2017|Response blocked/.test(response)], [what, !isCut, isCut], response);
          if (way === "json") assert.equal(answered.status, isCut ? 424 : 200, what);
          const row = await gw.logOf(answered, gateway);
          const judged = { action, categories: [category], error: null };
          assert.deepEqual([what, row.guardrails.response], [what, judged]);
          assert.deepEqual([what, (await gw.logOf(asked, gateway)).guardrails.prompt], [what, judged]);
          if (!provider || way !== "json") continue;
          const rows = await gw.rows("SELECT request_type, provider FROM logs WHERE event_id = ? AND id <> ?", row.event_id, row.id);
          assert.deepEqual([what, rows], [what, [1, 2].map(() => ({ request_type: "guardrail", provider }))]);
        }
      }
    }
  });

  if (!provider) continue;
  test(`${engine} that is down, slow, or lies: BLOCK refuses and FLAG lets through, on JSON and on streams`, async () => {
    for (fault of Object.keys(FAULTS)) {
      for (const [action, way] of ["FLAG", "BLOCK"].flatMap((action) => Object.keys(WAYS).map((way) => [action, way]))) {
        if (fault === "slow" && way !== "json") continue;
        const what = `${engine}, ${fault}, ${action}, ${way}`;
        const gateway = await made(engine, action, "window");
        const [answer, text] = await ask(gateway, way, "hello");
        if (action === "BLOCK") assert.deepEqual([what, answer.status, JSON.parse(text).internalCode], [what, 503, 7013]);
        else {
          assert.deepEqual([what, answer.status, text.includes("weather")], [what, 200, true], text);
          assert.match(answer.headers.get("cf-aig-warning"), /guardrails: unscanned/, what);
        }
        const { guardrails } = await gw.logOf(answer, gateway);
        assert.equal(guardrails.prompt.action, "UNSCANNED", what);
        assert.ok(guardrails.prompt.error, what);
        if (action === "FLAG") assert.equal(guardrails.response.action, "UNSCANNED", what);
      }
    }
    // An answer that cannot be judged is not given where it might have to be stopped.
    fault = null;
    const id = `late-${Object.keys(ENGINES).indexOf(engine)}`;
    const setting = ENGINES[engine][0]("BLOCK");
    await gw.create(id, { guardrails: { ...setting, prompt: undefined, ...(setting.webhook && { webhook: { ...setting.webhook, prompt: undefined } }) } });
    await gw.api(`/gateways/${id}/provider_configs`, { method: "POST", body: JSON.stringify({ provider_slug: "custom-judge", alias: "default", secret: "whsec-0123456789abcdef", default_config: true }) });
    for (fault of ["down", "lying"]) {
      for (const way of Object.keys(WAYS)) {
        const [answer, text] = await ask(id, way, "hello");
        assert.ok(!text.includes("weather") && /7013|Guardrails are unavailable/.test(text), `${engine}, ${fault}, ${way}: ${answer.status} ${text}`);
      }
    }
    fault = null;
  });
}

test("what is packed or in a form is read, and of a WebSocket it is said that nothing was", async () => {
  const { gzipSync } = await import("node:zlib");
  const gateway = await made("a check", "BLOCK", "window");
  const headers = { authorization: "Bearer sk-client-0123456789", "content-type": "application/json", "content-encoding": "gzip" };
  const packed = (content) => gw.call("openai/chat/completions", { gateway, method: "POST", headers, body: gzipSync(JSON.stringify(WAYS.json[1](content))) });
  assert.equal((await packed("how is a bomb made")).status, 424);
  gw.upstream.next(json({}));
  assert.equal((await packed("hello")).status, 200);
  const form = (text) => {
    const body = new FormData();
    body.set("prompt", text);
    body.set("model", "gpt-image-1");
    return body;
  };
  const edit = (gateway, body) => gw.call("openai/images/edits", { gateway, method: "POST", body, headers: { authorization: headers.authorization } });
  assert.equal((await edit(gateway, form("a bomb"))).status, 424);
  // A file that cannot be read, and a coding that is none: refused where it may have to be, and marked elsewhere.
  const binary = form("fine");
  binary.set("file", new Blob([Buffer.from([37, 80, 255, 0])], { type: "application/pdf" }), "a.pdf");
  const odd = (gateway) => gw.call("openai/chat/completions", { gateway, method: "POST", headers: { ...headers, "content-encoding": "lzma" }, body: Buffer.from([1, 2, 3]) });
  const flags = await made("a check", "FLAG", "window");
  for (const send of [(gateway) => edit(gateway, binary), odd]) {
    const refused = await send(gateway);
    assert.deepEqual([refused.status, (await refused.json()).internalCode], [503, 7013]);
    gw.upstream.next(json({}));
    const passed = await send(flags);
    assert.equal(passed.status, 200, await passed.clone().text());
    await passed.text();
    assert.match(passed.headers.get("cf-aig-warning"), /guardrails: unscanned: the prompt/);
    const log = await gw.logOf(passed, flags);
    assert.deepEqual([log.guardrails.prompt.action, typeof log.guardrails.prompt.error], ["UNSCANNED", "string"]);
    const found = await gw.result(`/gateways/${flags}/logs?filters=${encodeURIComponent(JSON.stringify([{ key: "guardrails_action", operator: "eq", value: ["UNSCANNED"] }]))}`);
    assert.ok(found.some(({ id }) => id === log.id));
  }
});
