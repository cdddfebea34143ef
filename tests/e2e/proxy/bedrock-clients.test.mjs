// AWS's clients sign over the host that they send to. What they sign for the gateway's host is signed anew, or told why not.
import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { fixtures } from "../../upstream.mjs";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

const OURS = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const AWS = { accessKeyId: "AKIDEXAMPLE0123456789", secretAccessKey: "CANARY/K7MDENG+bPxRfiCYEXAMPLEKEY", region: "us-east-1" };
const CHAT = { messages: [{ role: "user", content: [{ text: "Lunch?" }] }] };
const RUNTIME = "aws-bedrock/bedrock-runtime/us-east-1";
const AWS_HOST = "bedrock-runtime.us-east-1.amazonaws.com";

let gw;
before(async () => {
  gw = await Gateway.start();
  for (const [id, settings] of [["gw", {}], ["resigning", { resign: true }], ["keyless", {}], ["keyless-resigning", { resign: true }]]) {
    await gw.create(id, { authentication: id !== "keyless", ...settings });
    if (id.startsWith("keyless")) continue;
    for (const [alias, secret] of [["default", AWS], ["session", { ...AWS, sessionToken: "CANARY/session+token==" }], ["bearer", "bedrock-api-key-CANARY0123456789"]]) {
      const answer = await gw.api(`/gateways/${id}/provider_configs`, { method: "POST", body: JSON.stringify({ alias, provider_slug: "aws-bedrock", secret }) });
      assert.equal(answer.status, 200, await answer.text());
    }
  }
});
beforeEach(() => {
  gw.upstream.requests.length = 0;
  gw.upstream.answer = bedrock;
});
after(() => gw.stop());

const sha = (data) => createHash("sha256").update(data).digest("hex");
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** Signature Version 4, as a client makes it and as AWS computes it. */
function signature({ method, path, headers, body, names, day, region, service, time, secret }) {
  const [pathname, query = ""] = path.split("?");
  const pairs = query.split("&").filter(Boolean).map((pair) => pair.split("=").map((part) => encode(decodeURIComponent(part))));
  const canonical = [method, pathname.split("/").map(encode).join("/"), pairs.map(([name, value = ""]) => `${name}=${value}`).sort().join("&"), ...names.map((name) => `${name}:${headers[name].trim()}`), "", names.join(";"), sha(body ?? "")].join("\n");
  const text = ["AWS4-HMAC-SHA256", time, `${day}/${region}/${service}/aws4_request`, sha(canonical)].join("\n");
  const key = [day, region, service, "aws4_request"].reduce((key, part) => createHmac("sha256", key).update(part).digest(), `AWS4${secret}`);
  return createHmac("sha256", key).update(text).digest("hex");
}

/** Bedrock, which takes what is signed for it, and by the stored key alone. */
function bedrock({ provider, method, url, headers, body }) {
  const refused = (message, kind = "InvalidSignatureException") => ({ status: 403, headers: { "content-type": "application/json", "x-amzn-errortype": kind }, body: JSON.stringify({ message }) });
  if (/x-amz-(algorithm|signature)/i.test(url)) return refused("signed twice");
  if (headers.authorization === "Bearer bedrock-api-key-CANARY0123456789") return headers["x-amz-date"] ? refused("a date without a signature") : said();
  const [, id, day, region, service, names, given] = headers.authorization?.match(/^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/) ?? [];
  if (!id) return refused("Missing Authentication Token", "MissingAuthenticationTokenException");
  const wanted = signature({ method, path: `/${provider}${url}`, headers, body, names: names.split(";"), day, region, service, time: headers["x-amz-date"], secret: AWS.secretAccessKey });
  return id === AWS.accessKeyId && given === wanted ? said() : refused("The request signature we calculated does not match the signature you provided.");
}

const said = () => ({ status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify({ output: { message: { role: "assistant", content: [{ text: "ramen" }] } }, stopReason: "end_turn", usage: { inputTokens: 5, outputTokens: 2, totalTokens: 7 } }) });

/** The headers of a request that a client has signed with its own keys for a host. */
function signed(path, { id = "unused", secret = "unused", host = new URL(gw.url).host, method = "POST", body = JSON.stringify(CHAT), more = {} } = {}) {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const headers = { "content-type": "application/json", host, "x-amz-date": time, ...more };
  const names = Object.keys(headers).filter((name) => !name.startsWith("amz-sdk")).sort();
  const made = signature({ method, path, headers, body, names, day: time.slice(0, 8), region: "us-east-1", service: "bedrock", time, secret });
  const { host: _, ...sent } = headers;
  return { ...sent, authorization: `AWS4-HMAC-SHA256 Credential=${id}/${time.slice(0, 8)}/us-east-1/bedrock/aws4_request, SignedHeaders=${names.join(";")}, Signature=${made}` };
}

async function call({ path = "model/amazon.nova-lite-v1:0/converse", gateway = "gw", token = OURS, query = "", ...how } = {}) {
  const whole = `/v1/${ACCOUNT}/${gateway}/${RUNTIME}/${path}`;
  const headers = how.headers ?? signed(how.host ? `/${path}` : whole, how);
  const answer = await fetch(`${gw.url}${whole}${query}`, { method: "POST", body: JSON.stringify(CHAT), headers: { ...headers, ...token, ...how.also } });
  const text = await answer.text();
  return { answer, status: answer.status, json: JSON.parse(text), text, sent: gw.upstream.requests.length };
}

test("a signature with a placeholder gives way to the stored key's", async () => {
  for (const [what, how] of [
    ["boto3", { more: { "amz-sdk-invocation-id": "1", "amz-sdk-request": "attempt=1; max=1" } }],
    ["LiteLLM and the AI SDK", {}],
    ["the token signed, too", { more: OURS, token: {} }],
    ["a session of its own", { more: { "x-amz-security-token": "unused" } }],
    ["with its body's digest", { more: { "x-amz-content-sha256": sha(JSON.stringify(CHAT)) } }],
    ["another word", { id: "UNUSED-BY-THE-GATEWAY" }],
    ["a path that is encoded", { path: "model/amazon.nova-lite-v1%3A0/converse" }],
    ["an alias", { also: { "cf-aig-byok-alias": "session" } }],
    ["a key of Bedrock's", { also: { "cf-aig-byok-alias": "bearer" } }],
    ["signed beforehand", { headers: { "content-type": "application/json" }, query: "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=unused%2F20260101%2Fus-east-1%2Fbedrock%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=abc" }],
  ]) {
    gw.upstream.requests.length = 0;
    const { answer, status, json, sent } = await call(how);
    assert.deepEqual([status, json.output?.message.content[0].text, sent], [200, "ramen", 1], `${what}: ${JSON.stringify(json)}`);
    const { headers } = gw.upstream.last;
    assert.ok(!JSON.stringify(headers).includes(TOKEN) && !("cf-aig-authorization" in headers), what);
    assert.equal(headers["x-amz-security-token"], how.also?.["cf-aig-byok-alias"] === "session" ? "CANARY/session+token==" : undefined, what);
    const log = await gw.logOf(answer);
    assert.deepEqual([log.credential, log.success, log.model, log.tokens_in, log.tokens_out], ["stored", true, "amazon.nova-lite-v1:0", 5, 2], what);
  }
});

test("with the setting resign any signature does", async () => {
  for (const how of [{ id: "AKIAOFTHECLIENT01234", secret: "theirs" }, { id: AWS.accessKeyId, secret: AWS.secretAccessKey, more: { "amz-sdk-request": "attempt=1" } }, {}]) {
    const { answer, status } = await call({ gateway: "resigning", ...how });
    assert.equal(status, 200);
    assert.equal((await gw.logOf(answer, "resigning")).credential, "stored");
  }
});

test("what cannot be signed anew is refused, and says what to do", async () => {
  for (const [what, how, reason] of [
    ["no stored key", { gateway: "keyless" }, /keeps no key for aws-bedrock: store one with POST/],
    ["no token", { gateway: "keyless", token: {} }, /brings none: send one in the header cf-aig-authorization/],
    ["no stored key, and resign", { gateway: "keyless-resigning", id: "AKIAOFTHECLIENT01234" }, /keeps no key for aws-bedrock/],
    ["an SDK's with its own keys", { id: "AKIAOFTHECLIENT01234", more: { "amz-sdk-invocation-id": "1" } }, /'unused', or set resign/],
    ["an SDK's, no stored key", { gateway: "keyless", token: {}, id: "AKIAOFTHECLIENT01234", more: { "amz-sdk-request": "attempt=1; max=3" } }, /AWS would refuse the signature/],
    ["another's, where there is a key", { id: "AKIAOFTHECLIENT01234" }, /'unused', or set resign/],
    ["signed beforehand, where there is a key", { headers: { "content-type": "application/json" }, query: "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAX%2F1&X-Amz-SignedHeaders=host&X-Amz-Signature=abc" }, /'unused', or set resign/],
  ]) {
    gw.upstream.requests.length = 0;
    const { answer, status, json, sent } = await call(how);
    assert.deepEqual([status, json.name, json.internalCode, sent], [400, "AiGatewayError", 2040, 0], `${what}: ${JSON.stringify(json)}`);
    assert.match(json.description, reason, what);
    const log = await gw.logOf(answer, how.gateway ?? "gw");
    assert.deepEqual([log.success, log.status_code], [false, 400], what);
    assert.match(log.error, /signed/, what);
  }
  // On an authenticated gateway a caller without a token gets no further than that.
  assert.equal((await call({ token: {} })).status, 401);
});

test("what is signed by hand for AWS's host is forwarded as it is", async () => {
  const path = "model/amazon.nova-lite-v1%3A0/converse";
  // The stand-in is under another host and path than AWS, and that is what a client signs for here.
  const theirs = (secret) => signed(`/aws-bedrock/${path}`, { id: AWS.accessKeyId, secret, host: new URL(gw.upstream.origin).host });
  for (const token of [{}, OURS]) {
    const { answer, status } = await call({ gateway: "keyless", path, token, headers: theirs(AWS.secretAccessKey) });
    assert.equal(status, 200);
    assert.equal(answer.headers.get("cf-aig-warning"), null);
    assert.equal((await gw.logOf(answer, "keyless")).credential, "request");
  }
  const { answer, status } = await call({ gateway: "keyless", path, headers: theirs("wrong") });
  assert.equal(status, 403);
  assert.match(answer.headers.get("cf-aig-warning"), /refused the signature: one that is made for this gateway's host/);
});

test("streams of clients that sign are read like other streams", async () => {
  for (const [verb, file] of [["converse-stream", "converse"], ["invoke-with-response-stream", "invoke"]]) {
    gw.upstream.next({ file: `aws-bedrock/${file}.eventstream` });
    const path = `/v1/${ACCOUNT}/gw/${RUNTIME}/model/us.anthropic.claude-sonnet-4-5-v1:0/${verb}`;
    const answer = await fetch(`${gw.url}${path}`, { method: "POST", body: JSON.stringify(CHAT), headers: { ...signed(path), ...OURS } });
    assert.equal(answer.headers.get("content-type"), "application/vnd.amazon.eventstream");
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(readFileSync(`${fixtures}/aws-bedrock/${file}.eventstream`)));
    const log = await gw.logOf(answer);
    assert.deepEqual([log.credential, log.success, log.tokens_out > 0], ["stored", true, true], verb);
    const stored = await (await gw.api(`/gateways/gw/logs/${log.id}/response`)).text();
    const lines = stored.trim().split("\n");
    assert.ok(lines.length > 2, verb);
    for (const line of lines) assert.equal(typeof JSON.parse(line), "object", line);
  }
});
