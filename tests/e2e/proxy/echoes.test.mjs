// A provider that says back what it was sent: another's key reaches no caller, and no key reaches a row or a line.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { Gateway, TOKEN, raw, until } from "../harness.mjs";

const OURS = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const KEY = "CANARY/kept+key=0123456789";
const JSON_TYPE = { "content-type": "application/json" };
const AWS = { accessKeyId: "AKIACANARY0123456789", secretAccessKey: "CANARY/aws+secret0123456789", region: "eu-central-1", sessionToken: "CANARY/session+token0123==" };

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ groq: "CANARY-operators-key-0123" }), ALLOW_INTERNAL_UPSTREAMS: "true" } });
  await gw.create("gw", { authentication: true });
  await gw.create("own");
  for (const [provider_slug, secret] of [["openai", KEY], ["anthropic", KEY], ["aws-bedrock", JSON.stringify(AWS)]]) {
    const stored = await gw.api("/gateways/gw/provider_configs", { method: "POST", body: JSON.stringify({ provider_slug, alias: "default", default_config: true, secret }) });
    assert.equal(stored.status, 200, await stored.clone().text());
  }
});
after(() => gw.stop(/"event":"gateway_unreadable"/));

/** What the provider says when it echoes everything it was sent. */
const echo = (seen) => JSON.stringify({ error: { message: `Incorrect API key provided: ${seen.headers.authorization ?? seen.headers["x-api-key"]}`, sent: seen.headers, url: seen.url } });

async function ask({ path = "openai/chat/completions", gateway = "gw", headers = OURS, answer, body = '{"model":"gpt-4o"}', method = "POST" }) {
  gw.upstream.answer = answer;
  const got = await raw(`${gw.url}/v1/acct/${gateway}/${path}`, { method, body, headers: { ...JSON_TYPE, ...headers } });
  gw.upstream.answer = undefined;
  return got;
}

const stored = async () => JSON.stringify([await gw.rows("SELECT * FROM logs"), await gw.rows("SELECT * FROM log_bodies"), await gw.rows("SELECT content FROM body_pieces"), await gw.rows("SELECT * FROM log_metadata")]);
const clean = (text) => assert.ok(!text.includes("CANARY") && !text.includes(Buffer.from("CANARY").toString("base64").slice(0, 7)), text);

test("a kept key that is echoed reaches neither the caller nor the row, in any spelling", async () => {
  const percent = encodeURIComponent(KEY);
  const spellings = [KEY, `Bearer ${KEY}`, percent, percent.toLowerCase().replace("canary", "CANARY").replace("kept", "kept"), encodeURIComponent(percent), KEY.replaceAll("/", "\\/"), [...KEY].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""), Buffer.from(KEY).toString("base64"), Buffer.from(`Bearer ${KEY}`).toString("base64"), Buffer.from(`x:${KEY}`).toString("base64url")];
  for (const spelled of spellings) {
    for (const status of [400, 401, 403, 422, 500, 529]) {
      const body = `{"error":{"message":"Incorrect API key provided: ${spelled}."}}`;
      const answer = await ask({ answer: () => ({ status, body, headers: JSON_TYPE }) });
      const text = answer.body.toString();
      assert.deepEqual([answer.status, answer.headers["content-length"]], [status, String(answer.body.length)]);
      assert.match(text, /^\{"error":\{"message":"Incorrect API key provided: .*\*\*\*.*\."\}\}$/, spelled);
      clean(decodeURIComponent(text));
      assert.ok(!JSON.parse(text).error.message.includes("CANARY"));
      if (status === 401) {
        const log = await gw.logOf(answer);
        assert.deepEqual([log.status_code, log.credential], [401, "stored"]);
        assert.match(log.error, /^provider: Incorrect API key provided: .*\*\*\*/);
        assert.equal(await (await gw.api(`/gateways/gw/logs/${log.id}/response`)).text(), text);
      }
    }
  }
  clean(await stored());
});

test("it does not matter how the error is sent", async () => {
  const body = (seen) => echo(seen);
  for (const [what, answer, length] of [
    ["chunked", (seen) => ({ status: 401, body: body(seen), headers: JSON_TYPE, chunked: true })],
    ["compressed", (seen) => ({ status: 401, body: gzipSync(body(seen)), headers: { ...JSON_TYPE, "content-encoding": "gzip" } })],
    ["events", (seen) => ({ status: 400, events: [`data: ${body(seen)}\n\n`, "data: [DONE]\n\n"] })],
    ["a page", (seen) => ({ status: 500, body: `<p>${seen.headers.authorization}</p>`, headers: { "content-type": "text/html", etag: '"x"', "x-debug": `sent ${seen.headers.authorization}`, location: `/x?key=${encodeURIComponent(KEY)}` } })],
    ["bytes", (seen) => ({ status: 500, body: Buffer.concat([Buffer.from([0xff, 0]), Buffer.from(seen.headers.authorization)]), headers: { "content-type": "application/octet-stream" } })],
    ["nearly too long", (seen) => ({ status: 500, body: `${"x".repeat(1_000_000)} ${seen.headers.authorization}`, headers: { "content-type": "text/plain" } })],
  ]) {
    const got = await ask({ answer });
    assert.ok(got.status >= 400 && !got.broken, what);
    assert.ok(!got.body.includes("CANARY") && got.body.includes("***"), `${what}: ${got.body.subarray(-200)}`);
    clean(JSON.stringify(got.headers));
    if (got.headers["content-length"]) assert.equal(got.headers["content-length"], String(got.body.length), what);
    await gw.logOf(got);
  }
  // Longer than that goes on as it comes, whole.
  const long = `${"x".repeat(2_000_000)}.`;
  for (const chunked of [false, true]) {
    const got = await ask({ answer: () => ({ status: 500, body: long, chunked, headers: { "content-type": "text/plain" } }) });
    assert.deepEqual([got.status, got.body.toString() === long], [500, true]);
    assert.equal((await gw.logOf(got)).response_size, long.length);
  }
  // So do answers without the key, to the byte.
  const plain = '{"error":{"message":"no *** here"},  "a":1.0}';
  assert.equal((await ask({ answer: () => ({ status: 404, body: plain, headers: JSON_TYPE }) })).body.toString(), plain);
  clean(await stored());
});

test("every key that is not the caller's is masked: the operator's, a custom provider's, AWS's, and Google's tokens", async () => {
  const made = await gw.api("/custom-providers", { method: "POST", body: JSON.stringify({ name: "x", slug: "x", base_url: `${gw.upstream.origin}/openai/v1`, enable: true, headers: JSON.stringify({ "x-secret": "CANARY-custom-0123", authorization: "Bearer CANARY-custom-4567" }) }) });
  assert.equal(made.status, 200, await made.clone().text());
  for (const path of ["groq/chat/completions", "custom-x/chat/completions", "anthropic/v1/messages", "aws-bedrock/bedrock-runtime/eu-central-1/model/m/converse"]) {
    const got = await ask({ path, answer: (seen) => ({ status: 403, body: echo(seen), headers: JSON_TYPE }) });
    assert.equal(got.status, 403);
    assert.match(got.body.toString(), /\*\*\*/, path);
    clean(got.body.toString());
    assert.ok(!/Signature=[0-9a-f]{64}/.test(got.body.toString()), got.body.toString());
    clean(JSON.stringify(await gw.logOf(got)));
  }
  clean(await stored());
});

test("also in retries, in fallbacks, and in events of an answer that began well", async () => {
  const failing = (seen) => ({ status: 503, body: echo(seen), headers: JSON_TYPE });
  const got = await ask({ answer: failing, headers: { ...OURS, "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "0" } });
  assert.deepEqual([got.status, got.headers["cf-aig-attempt"]], [503, "2"]);
  clean(got.body.toString());
  const elements = ["openai", "anthropic"].map((provider) => ({ provider, endpoint: "chat/completions", headers: JSON_TYPE, query: { model: "gpt-4o" } }));
  gw.upstream.answer = failing;
  const universal = await raw(`${gw.url}/v1/acct/gw`, { method: "POST", body: JSON.stringify(elements), headers: { ...OURS, ...JSON_TYPE } });
  gw.upstream.answer = undefined;
  clean(universal.body.toString());
  const streamed = await ask({ body: '{"model":"gpt-4o","stream":true}', answer: (seen) => ({ events: [`data: ${echo(seen)}\n\n`] }) });
  const log = await gw.logOf(streamed);
  assert.deepEqual([log.status_code, log.success], [200, false]);
  assert.match(log.error, /\*\*\*/);
  const told = await ask({ answer: (seen) => ({ body: JSON.stringify({ model: "gpt-4o", said: seen.headers.authorization }), headers: JSON_TYPE }) });
  await gw.logOf(told);
  await until(async () => (await gw.rows("SELECT id FROM logs WHERE attempt = 2")).length > 0, "the second attempt's row");
  clean(await stored());
});

test("a caller is told what it said itself, and no row is", async () => {
  const mine = "CANARY/mine+0123456789=";
  for (const [headers, path] of [
    [{ authorization: `Bearer ${mine}` }, "openai/chat/completions"],
    [{ authorization: `Basic ${Buffer.from(`user:${mine}`).toString("base64")}` }, "openai/chat/completions"],
    [{ "x-api-key": mine }, "anthropic/v1/messages"],
    [{}, `google-ai-studio/v1beta/models/m:generateContent?key=${encodeURIComponent(mine)}`],
  ]) {
    const got = await ask({ gateway: "own", path, headers, body: JSON.stringify({ model: "gpt-4o", pasted: mine }), answer: (seen) => ({ status: 401, body: echo(seen), headers: JSON_TYPE }) });
    const shown = decodeURIComponent(got.body.toString());
    assert.ok(shown.includes(mine) || Buffer.from(shown.match(/Basic ([\w+/=]+)/)?.[1] ?? "", "base64").includes(mine), shown);
    const log = await gw.logOf(got, "own");
    assert.match(log.error, /\*\*\*|undefined/);
    assert.match(log.request_head, /"pasted":"\*\*\*"/);
  }
  clean(await stored());
});

test("what looks like a key is masked in paths, metadata, user agents and event ids", async () => {
  const keys = ["sk-CANARY-proj-0123456789", "sk-ant-api03-CANARY0123456789", "AIzaSyCANARY01234567890123456789012345", "AKIACANARY0123456789", "gsk_CANARY0123456789", "xai-CANARY0123456789", "hf_CANARY0123456789abcdef", "r8_CANARY0123456789abcdef", "pplx-CANARY0123456789", "ghp_CANARY0123456789abcdef", "tgt_CANARY0123456789abcdef0123456789abcdef012345", "eyJhbGciOiJIUzI1CANARY.eyJzdWIiOiIxMjM0.CANARY0123"];
  for (const key of keys) {
    const headers = { "user-agent": `app/1 (${key})`, "cf-aig-event-id": `run:${key}`, "cf-aig-metadata": JSON.stringify({ team: "a", note: `see ${key}`, [key]: 1 }) };
    // A token of ours is refused in a path.
    const where = key.startsWith("tgt_") ? "x" : key;
    const got = await ask({ gateway: "own", path: `openai/files/${where}?code=CANARY-code&state=1&cb=https%3A%2F%2Fx%3Fcode%3DCANARY-code&v=${key}`, headers, answer: () => ({ body: "{}", headers: JSON_TYPE }) });
    const log = await gw.logOf(got, "own");
    assert.match(log.path, /^openai\/files|^files\/(\*\*\*|x)\?code=\*\*\*&state=1&cb=https%3A%2F%2Fx%3Fcode%3D\*\*\*&v=\*\*\*$/);
    assert.deepEqual([log.user_agent, log.event_id, log.metadata], ["app/1 (***)", "run:***", { team: "a", note: "see ***", "***": 1 }]);
  }
  clean(await stored());
});

test("the Worker prints no key", async () => {
  await gw.db.prepare("ALTER TABLE gateways RENAME TO hidden").run();
  const failed = await raw(`${gw.url}/v1/acct/unseen/openai/x?key=sk-CANARY-0123456789`, { headers: { ...OURS, authorization: "Bearer sk-CANARY-0123456789" } });
  assert.equal(failed.status, 503);
  await until(() => gw.output.join("").includes("no such table"), "the line about the database");
  await gw.db.prepare("ALTER TABLE hidden RENAME TO gateways").run();
  clean(gw.output.join(""));
});

test("a reader that is bound to a gateway sees no values of custom providers' headers", async () => {
  const made = await gw.api("/custom-providers", { method: "POST", body: JSON.stringify({ name: "y", slug: "y", base_url: `${gw.upstream.origin}/openai/v1`, headers: JSON.stringify({ "x-tenant": "acme", "x-secret": "CANARY-custom-0123" }) }) });
  const { id } = (await made.json()).result;
  const token = async (gateways) => {
    const created = await (await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "reader", permissions: ["read"], ...(gateways && { gateways }) }) })).json();
    return created.result.value;
  };
  for (const [gateways, shown] of [[undefined, "acme"], [["gw"], "***"]]) {
    const headers = { authorization: `Bearer ${await token(gateways)}` };
    const one = (await (await gw.api(`/custom-providers/${id}`, { headers })).json()).result;
    const all = (await (await gw.api("/custom-providers", { headers })).json()).result.find((provider) => provider.id === id);
    for (const provider of [one, all]) assert.deepEqual(JSON.parse(provider.headers), { "x-secret": "***", "x-tenant": shown });
  }
});

test("Google's minted tokens are masked", async () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const account = { type: "service_account", client_email: "a@b.iam.gserviceaccount.com", private_key: privateKey.export({ type: "pkcs8", format: "pem" }) };
  const own = await Gateway.start({ upstream: gw.upstream, bindings: { GOOGLE_TOKEN_URL: `${gw.upstream.origin}/google/token` } });
  try {
    await own.create("gw", { authentication: true });
    const stored = await own.api("/gateways/gw/provider_configs", { method: "POST", body: JSON.stringify({ provider_slug: "google-vertex-ai", alias: "default", default_config: true, secret: JSON.stringify(account) }) });
    assert.equal(stored.status, 200, await stored.clone().text());
    gw.upstream.answer = (seen) => (seen.provider === "google" ? { body: JSON.stringify({ access_token: "CANARY.minted-0123456789", expires_in: 3600 }), headers: JSON_TYPE } : { status: 403, body: echo(seen), headers: JSON_TYPE });
    const got = await raw(`${own.url}/v1/acct/gw/google-vertex-ai/v1/projects/p/locations/l/publishers/google/models/m:generateContent`, { method: "POST", body: "{}", headers: { ...OURS, ...JSON_TYPE } });
    assert.equal(got.status, 403);
    assert.match(got.body.toString(), /\*\*\*/);
    clean(got.body.toString());
    clean(JSON.stringify(await own.logOf(got)));
  } finally {
    gw.upstream.answer = undefined;
    await own.miniflare.dispose();
  }
});
