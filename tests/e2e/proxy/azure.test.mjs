// Azure: every form in which its clients name a path arrives where Azure has it, and the row names the deployment.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  gw.upstream.answer = azure;
});
after(() => gw.stop());

const JSON_TYPE = { "content-type": "application/json" };
/** The paths that Azure has, and nothing else. <https://learn.microsoft.com/azure/ai-services/openai/reference> */
const KNOWN = [
  /^\/openai\/deployments\/[\w.-]+\/(chat\/completions|completions|embeddings|audio\/(speech|transcriptions|translations)|images\/(generations|edits))\?api-version=/,
  /^\/openai\/(responses|files|models|batches|assistants|threads|vector_stores)(\/[\w-]+)*\?api-version=/,
  /^\/openai\/v1\/(responses|chat\/completions|embeddings|files|models)(\/[\w-]+)*(\?|$)/,
];

function azure({ url, body }) {
  if (!KNOWN.some((path) => path.test(url))) return { status: 404, headers: JSON_TYPE, body: '{"error":{"code":"404","message":"Resource not found"}}' };
  const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };
  const { model } = body.length > 0 ? JSON.parse(body) : {};
  const answer = { id: "chatcmpl-1", object: "chat.completion", created: 1, model: model && "gpt-4o-2024-08-06", choices: [{ index: 0, message: { role: "assistant", content: "Soup." }, finish_reason: "stop" }], usage };
  return { headers: JSON_TYPE, body: JSON.stringify(answer) };
}

const VERSION = "?api-version=2024-10-21";
const BODY = { model: "D", messages: [{ role: "user", content: "lunch?" }] };

for (const { by, sent, arrives, json = BODY, model } of [
  { by: "Cloudflare's form", sent: `D/chat/completions${VERSION}`, arrives: `/openai/deployments/D/chat/completions${VERSION}`, model: "D" },
  { by: "AzureOpenAI with azure_endpoint", sent: `openai/deployments/D/chat/completions${VERSION}`, arrives: `/openai/deployments/D/chat/completions${VERSION}`, model: "D" },
  { by: "AzureOpenAI with base_url", sent: `deployments/D/embeddings${VERSION}`, arrives: `/openai/deployments/D/embeddings${VERSION}`, json: { input: "x" }, model: "D" },
  { by: "LangChain's embeddings, with another model in the body", sent: `openai/deployments/D/embeddings${VERSION}`, arrives: `/openai/deployments/D/embeddings${VERSION}`, json: { model: "text-embedding-ada-002", input: "x" }, model: "D" },
  { by: "responses", sent: `openai/responses${VERSION}`, arrives: `/openai/responses${VERSION}`, json: { model: "D", input: "x" }, model: "D" },
  { by: "responses with base_url", sent: `responses${VERSION}`, arrives: `/openai/responses${VERSION}`, json: { model: "D", input: "x" }, model: "D" },
  { by: "the v1 API", sent: "openai/v1/chat/completions", arrives: "/openai/v1/chat/completions", model: "D" },
  { by: "files", sent: `openai/files/file-1${VERSION}`, arrives: `/openai/files/file-1${VERSION}`, json: null, model: "" },
  { by: "models", sent: `openai/models${VERSION}`, arrives: `/openai/models${VERSION}`, json: null, model: "" },
]) {
  test(`azure-openai: ${by}`, async () => {
    const answer = await gw.call(`azure-openai/myres/${sent}`, { json: json ?? undefined, headers: { "api-key": "mine" } });
    assert.equal(answer.status, 200, await answer.text());
    assert.equal(gw.upstream.last.url, arrives);
    assert.equal(gw.upstream.last.headers["api-key"], "mine");
    const log = await gw.logOf(answer);
    assert.deepEqual([log.success, log.model, log.path], [true, model, `myres/${sent}`]);
  });
}

test("azure-openai: an answer to a path without a deployment names the model", async () => {
  const answer = await gw.call(`azure-openai/myres/openai/v1/responses`, { json: { model: "gpt-4o", input: "x" } });
  const log = await gw.logOf(answer);
  assert.deepEqual([log.model, log.cost !== null], ["gpt-4o", true]);
});

test("azure-openai: a path that Azure does not have stays Azure's to refuse, and a bad deployment is refused here", async () => {
  const unknown = await gw.call(`azure-openai/myres/openai/nothing${VERSION}`, { json: BODY });
  assert.deepEqual([unknown.status, gw.upstream.last.url], [404, `/openai/nothing${VERSION}`]);
  const sent = gw.upstream.requests.length;
  const refused = await gw.call(`azure-openai/myres/openai/deployments/a%2Fb/chat/completions${VERSION}`, { json: BODY });
  assert.equal(refused.status, 400);
  assert.match(await refused.text(), /the deployment must be/);
  assert.equal(gw.upstream.requests.length, sent);
});
