// Whose key a provider is sent: the caller's, one that the gateway stores, or the operator's. And that no stored key is ever
// given out, used for the wrong caller, or sent to the wrong place.
import assert from "node:assert/strict";
import { createHash, createHmac, createVerify, generateKeyPairSync } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import Cloudflare from "cloudflare";
import OpenAI from "openai";
import { ACCOUNT, ENCRYPTION_KEY, Gateway, TOKEN, until } from "../harness.mjs";

const OURS = { "cf-aig-authorization": `Bearer ${TOKEN}` };
const KEY = (name) => `sk-CANARY-${name}-0123456789`;
const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Lunch?" }] };
/** Every header that a key can be in. */
const KEY_HEADERS = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key"];

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: KEY("operator"), groq: KEY("operator-groq") }) } });
  await gw.create("gw", { authentication: true });
  await store("gw", { alias: "default", default_config: true, provider_slug: "openai", secret: KEY("default") });
  await store("gw", { alias: "other", provider_slug: "openai", secret: KEY("other") });
  await gw.create("bare", { authentication: true });
});
after(() => gw.stop(/"event":"stored_key_unreadable"|"event":"gateway_unreadable"/));

async function config(gateway, body, { on = gw, method = "POST", id = "" } = {}) {
  const answer = await on.api(`/gateways/${gateway}/provider_configs${id && `/${id}`}`, { method, body: JSON.stringify(body) });
  return { status: answer.status, text: await answer.text() };
}

/** Stores a key, or replaces the one with an `id`. */
async function store(gateway, body, options) {
  const { status, text } = await config(gateway, body, options);
  assert.equal(status, 200, text);
  return JSON.parse(text).result;
}

/** The keys that the provider was sent with the last request. */
const sent = (on = gw) => Object.fromEntries(KEY_HEADERS.map((name) => [name, on.upstream.last.headers[name]]).filter(([, value]) => value));

/** A call with what the provider was sent, and what the log says of it. */
async function call(path, { on = gw, gateway = "gw", headers = OURS, json = CHAT, ...more } = {}) {
  const before = on.upstream.requests.length;
  const answer = await on.call(path, { gateway, json, headers, ...more });
  const text = await answer.text();
  const log = answer.headers.has("cf-aig-log-id") ? await on.logOf(answer, gateway) : {};
  const arrived = on.upstream.requests.length > before;
  return { status: answer.status, text, sent: arrived ? sent(on) : null, credential: log.credential, alias: log.credential_alias, log, headers: answer.headers };
}

const bearer = (key) => ({ authorization: `Bearer ${key}` });

test("the caller's key comes before a stored one, and that before the operator's", async () => {
  for (const [what, options, key, credential, alias] of [
    ["the caller's own", { headers: { ...OURS, ...bearer("sk-mine") } }, bearer("sk-mine"), "request", null],
    ["the caller's own in the query", { path: "openai/chat/completions?api_key=mine" }, {}, "request", null],
    ["the default", {}, bearer(KEY("default")), "stored", "default"],
    ["by alias", { headers: { ...OURS, "cf-aig-byok-alias": "other" } }, bearer(KEY("other")), "stored", "other"],
    ["the operator's", { gateway: "bare" }, bearer(KEY("operator")), "operator", null],
    ["the operator's for another provider", { path: "groq/chat/completions" }, bearer(KEY("operator-groq")), "operator", null],
    ["none", { gateway: "bare", path: "mistral/v1/chat/completions" }, {}, "none", null],
  ]) {
    const { path = "openai/chat/completions", ...rest } = options;
    const seen = await call(path, rest);
    assert.deepEqual([seen.status, seen.sent, seen.credential, seen.alias], [200, key, credential, alias], what);
  }
  const ignored = await call("openai/chat/completions", { headers: { ...OURS, ...bearer("sk-mine"), "cf-aig-byok-alias": "other" } });
  assert.deepEqual([ignored.sent, ignored.credential], [bearer("sk-mine"), "request"]);
  assert.match(ignored.headers.get("cf-aig-warning"), /cf-aig-byok-alias: not used/);
});

test("an alias that does not exist is refused with those that do", async () => {
  const seen = await call("openai/chat/completions", { headers: { ...OURS, "cf-aig-byok-alias": "nobody" } });
  const message = "Provider 'openai' has no BYOK credential named 'nobody'. Configured aliases: 'default', 'other'";
  assert.deepEqual([seen.status, seen.sent, JSON.parse(seen.text).error], [400, null, [{ code: 2040, message }]]);
  assert.match(seen.log.error, /^gateway: Provider 'openai' has no BYOK credential named 'nobody'/);
  const none = await call("openai/chat/completions", { gateway: "bare", headers: { ...OURS, "cf-aig-byok-alias": 'x"}' } });
  assert.match(JSON.parse(none.text).message, /named 'x\?}'\. Configured aliases: none$/);
});

test("the operator's key can be forbidden, by the gateway or by the request", async () => {
  await gw.create("strict", { authentication: true, byok_only: true });
  for (const [options, status] of [
    [{ gateway: "strict" }, 400],
    [{ gateway: "strict", headers: { ...OURS, ...bearer("unused") } }, 400],
    [{ gateway: "bare", headers: { ...OURS, "cf-aig-no-wholesale": "true" } }, 400],
    [{ gateway: "bare", headers: { ...OURS, "cf-aig-no-wholesale": "false" } }, 200],
    [{ gateway: "strict", headers: { ...OURS, ...bearer("sk-mine") } }, 200],
    [{ gateway: "gw", headers: { ...OURS, "cf-aig-no-wholesale": "true" } }, 200],
  ]) {
    const seen = await call("openai/chat/completions", options);
    assert.equal(seen.status, status, JSON.stringify(options));
    if (status === 400) {
      assert.equal(seen.sent, null);
      assert.match(JSON.parse(seen.text).description, /no key to send this request to openai with/);
      assert.equal(JSON.parse(seen.text).internalCode, 2040);
    }
  }
  // Workers AI is no third party.
  assert.equal((await call("workers-ai/@cf/meta/llama-3.1-8b-instruct", { gateway: "strict" })).status, 200);
});

test("what SDKs put where a key has to be is no key, and does not reach the provider", async () => {
  for (const apiKey of ["unused", TOKEN]) {
    const client = new OpenAI({ apiKey, baseURL: `${gw.url}/v1/${ACCOUNT}/gw/openai`, defaultHeaders: apiKey === TOKEN ? {} : OURS, maxRetries: 0 });
    const { data, response } = await client.chat.completions.create(CHAT).withResponse();
    assert.equal(data.choices[0].message.content, "A bowl of ramen.");
    assert.deepEqual(sent(), bearer(KEY("default")));
    assert.equal((await gw.logOf(response)).credential, "stored");
  }
  await store("gw", { alias: "default", provider_slug: "anthropic", secret: KEY("anthropic") });
  const anthropic = new Anthropic({ apiKey: "unused", baseURL: `${gw.url}/v1/${ACCOUNT}/gw/anthropic`, defaultHeaders: OURS, maxRetries: 0 });
  await anthropic.messages.create({ model: "claude-sonnet-4-5", max_tokens: 9, messages: CHAT.messages });
  assert.deepEqual(sent(), { "x-api-key": KEY("anthropic") });
  for (const placeholder of ["", "Bearer", "Bearer unused", "Bearer CF_TEMP_TOKEN", "CF_TEMP_TOKEN_1", "Key unused", `Bearer ${TOKEN}`, "tgt_unknown-token-of-our-form"]) {
    for (const name of KEY_HEADERS) {
      const seen = await call("openai/chat/completions", { headers: { ...OURS, [name]: placeholder } });
      assert.deepEqual([seen.sent, seen.credential], [bearer(KEY("default")), "stored"], `${name}: ${placeholder}`);
    }
  }
  await store("gw", { alias: "default", provider_slug: "google-ai-studio", secret: KEY("google") });
  await call(`google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent?key=unused&alt=json`);
  assert.deepEqual(sent(), { "x-goog-api-key": KEY("google") });
  assert.match(gw.upstream.last.url, /generateContent\?alt=json$/);
  // A token of ours in the query goes to no provider, stored key or not.
  await call(`mistral/v1/chat/completions?key=${TOKEN}&a=b`);
  assert.match(gw.upstream.last.url, /chat\/completions\?a=b$/);
  // A universal request, as ai-gateway-provider writes it.
  const element = { provider: "openai", endpoint: "chat/completions", headers: { Authorization: "Bearer CF_TEMP_TOKEN", "Content-Type": "application/json" }, query: CHAT };
  const universal = await gw.call("", { json: [element], headers: OURS });
  assert.deepEqual([universal.status, sent()], [200, bearer(KEY("default"))]);
  const byAlias = await gw.call("", { json: [{ ...element, headers: { ...element.headers, "cf-aig-byok-alias": "other" } }], headers: OURS });
  assert.deepEqual([byAlias.status, sent()], [200, bearer(KEY("other"))]);
});

test("a stored key is used for nobody who has not proved himself", async () => {
  await gw.create("open");
  await store("open", { alias: "default", default_config: true, provider_slug: "openai", secret: KEY("open") });
  for (const headers of [{}, { "cf-aig-authorization": "Bearer wrong" }, bearer("unused"), bearer("tgt_unknown-token-of-our-form")]) {
    const seen = await call("openai/chat/completions", { gateway: "open", headers });
    assert.equal(seen.credential, "none");
    assert.ok(!JSON.stringify(seen.sent).includes("CANARY"), JSON.stringify(headers));
  }
  for (const alias of ["default", "unknown"]) {
    const seen = await call("openai/chat/completions", { gateway: "open", headers: { "cf-aig-byok-alias": alias } });
    assert.deepEqual([seen.status, JSON.parse(seen.text).internalCode, seen.sent], [401, 2009, null]);
    assert.ok(!seen.text.includes("'default'"));
  }
  assert.equal((await call("openai/chat/completions", { gateway: "open" })).credential, "stored");
  // Nor for a token that may do other things, or for other gateways.
  const token = async (body) => (await (await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "t", ...body }) })).json()).result.value;
  for (const value of [await token({ permissions: ["edit"] }), await token({ permissions: ["run"], gateways: ["bare"] })]) {
    const seen = await call("openai/chat/completions", { gateway: "open", headers: { "cf-aig-authorization": value } });
    assert.equal(seen.credential, "none");
  }
});

test("each provider gets its key in the header that it wants, also when it is tried again", async () => {
  const wanted = { cartesia: { "x-api-key": "" }, deepgram: { authorization: "Token " }, elevenlabs: { "xi-api-key": "" }, fal: { authorization: "Key " }, ideogram: { "api-key": "" }, cohere: { authorization: "Bearer " } };
  for (const [slug, header] of Object.entries(wanted)) {
    await store("gw", { alias: "default", provider_slug: slug, secret: KEY(slug) });
    gw.upstream.next({ body: "{}", headers: { "content-type": "application/json" } });
    await call(`${slug}/v1/x`, {});
    const [[name, scheme]] = Object.entries(header);
    assert.deepEqual(sent(), { [name]: scheme + KEY(slug) }, slug);
  }
  gw.upstream.next({ status: 500, body: "{}" });
  const before = gw.upstream.requests.length;
  const seen = await call("openai/chat/completions", { headers: { ...OURS, "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "0" } });
  assert.equal(seen.status, 200);
  assert.deepEqual(gw.upstream.requests.slice(before).map(({ headers }) => headers.authorization), [1, 2].map(() => `Bearer ${KEY("default")}`));
});

test("no route gives a key out, and no table holds one", async () => {
  const made = await store("gw", { alias: "canary", provider_slug: "openai", secret: KEY("secret"), rate_limit: 5, rate_limit_period: 10 });
  assert.deepEqual([made.secret_preview, made.has_secret, made.rate_limit, made.rate_limit_period], ["…6789", true, 5, 10]);
  const rotated = await store("gw", { secret: KEY("rotated") }, { method: "PUT", id: made.id });
  assert.deepEqual({ ...rotated, modified_at: "" }, { ...made, modified_at: "" });
  const seen = await call("openai/chat/completions", { headers: { ...OURS, "cf-aig-byok-alias": "canary" } });
  assert.deepEqual(seen.sent, bearer(KEY("rotated")));
  const paths = ["/gateways/gw/provider_configs", `/gateways/gw/provider_configs/${made.id}`, "/gateways", "/gateways/gw", "/audit?per_page=100", "/tokens", "/gateways/gw/logs", `/gateways/gw/logs/${seen.log.id}`, "/gateways/gw/logs/export"];
  for (const path of paths) {
    const answer = await gw.api(path);
    assert.equal(answer.status, 200, path);
    assert.ok(!(await answer.text()).includes("CANARY"), path);
  }
  for (const wrong of [{ secret: `${KEY("x")} ` + "y" }, { secret: KEY("x"), surprise: KEY("x") }, { secret: [KEY("x")] }]) {
    const refused = await config("gw", wrong, { method: "PUT", id: made.id });
    assert.equal(refused.status, 400);
    assert.ok(!refused.text.includes("CANARY"), refused.text);
  }
  const audit = await gw.result(`/audit?target=${made.id}`);
  assert.deepEqual(audit.map(({ action, fields }) => [action, fields.sort()]), [
    ["provider_config.update", ["secret"]],
    ["provider_config.create", ["alias", "provider_slug", "rate_limit", "rate_limit_period", "secret"]],
  ]);
  const deleted = await gw.api(`/gateways/gw/provider_configs/${made.id}`, { method: "DELETE" });
  assert.ok(deleted.status === 200 && !(await deleted.text()).includes("CANARY"));
  assert.equal((await call("openai/chat/completions", { headers: { ...OURS, "cf-aig-byok-alias": "canary" } })).status, 400);
  const tables = await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'");
  assert.ok(tables.some(({ name }) => name === "provider_configs"));
  for (const { name } of tables) {
    const text = JSON.stringify(await gw.rows(`SELECT * FROM "${name}"`));
    for (const hidden of ["CANARY", Buffer.from("CANARY").toString("base64").slice(0, 7), ENCRYPTION_KEY]) assert.ok(!text.includes(hidden), name);
  }
  assert.ok(!gw.output.join("").includes("CANARY"));
});

test("one alias, one default, and what is wrong is named", async () => {
  await gw.create("rules", { authentication: true });
  const body = { alias: "a", default_config: true, provider_slug: "openai", secret: KEY("a") };
  const first = await store("rules", body);
  const taken = await config("rules", body);
  assert.deepEqual([taken.status, JSON.parse(taken.text).errors[0].path], [400, ["body", "alias"]]);
  await store("rules", { ...body, alias: "b", secret: KEY("b") });
  assert.deepEqual((await call("openai/chat/completions", { gateway: "rules" })).sent, bearer(KEY("b")));
  assert.equal((await gw.result(`/gateways/rules/provider_configs/${first.id}`)).default_config, false);
  for (const [field, wrong] of [["alias", "a b"], ["alias", ""], ["provider_slug", "opnai"], ["secret", ""], ["secret", "a\nb"], ["secret", { a: 1 }], ["secret", 5], ["rate_limit", "many"], ["rate_limit_period", 0], ["default_config", "yes"], ["secret_id", "env:ADMIN_TOKEN"], ["secret_id", "store:DB"]]) {
    const refused = await config("rules", { ...body, alias: "c", [field]: wrong });
    assert.deepEqual([refused.status, JSON.parse(refused.text).errors[0].code, JSON.parse(refused.text).errors[0].path], [400, 7001, ["body", field]], `${field} ${wrong}`);
  }
  const client = new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 }).aiGateway.providerConfigs;
  const made = await client.create("rules", { account_id: ACCOUNT, alias: "sdk", default_config: false, provider_slug: "openai", secret: KEY("sdk"), secret_id: "any", rate_limit: 10, rate_limit_period: 60 });
  assert.equal(made.alias, "sdk");
  const listed = [];
  for await (const row of client.list("rules", { account_id: ACCOUNT })) listed.push(row.alias);
  assert.deepEqual(listed, ["a", "b", "sdk"]);
  await gw.api("/gateways/rules", { method: "DELETE" });
  assert.deepEqual(await gw.rows("SELECT c.id FROM provider_configs c LEFT JOIN gateways g ON g.key = c.gateway WHERE g.key IS NULL"), []);
});

/** Another Worker on the same database and upstream, for what needs other variables. */
async function restarted(folder, options, use) {
  const other = await Gateway.start({ upstream: gw.upstream, folder, ...options });
  try {
    return await use(other);
  } finally {
    await other.miniflare.dispose();
  }
}

const fresh = () => mkdtempSync(join(tmpdir(), "tollgate-"));
const NEWER = Buffer.from("a newer key of thirty-two bytes!").toString("base64");

test("a change of the encryption key loses nothing, and the older one can go", async () => {
  for (const by of ["use", "clock"]) {
    const folder = fresh();
    let older;
    await restarted(folder, {}, async (on) => {
      await on.create("gw", { authentication: true });
      ({ encryption_key_id: older } = await store("gw", { alias: "default", provider_slug: "openai", secret: KEY("kept") }, { on }));
    });
    await restarted(folder, { bindings: { ENCRYPTION_KEY: `${NEWER},${ENCRYPTION_KEY}` } }, async (on) => {
      if (by === "use") assert.deepEqual((await call("openai/chat/completions", { on })).sent, bearer(KEY("kept")));
      else await (await on.miniflare.getWorker("tollgate")).scheduled({ cron: "* * * * *" });
      await until(async () => (await on.result("/gateways/gw/provider_configs"))[0].encryption_key_id !== older, "the key to be sealed anew");
    });
    await restarted(folder, { bindings: { ENCRYPTION_KEY: NEWER } }, async (on) => {
      assert.deepEqual((await call("openai/chat/completions", { on })).sent, bearer(KEY("kept")), by);
      assert.deepEqual(on.output, []);
    });
  }
});

test("secrets of destinations are sealed anew like keys: headers of spans, an endpoint's authorization, a webhook's secret", async () => {
  const folder = fresh();
  const internal = { ALLOW_INTERNAL_UPSTREAMS: "true" };
  const url = `${gw.upstream.origin}/destinations`;
  const tables = ["otel_destinations", "logpush_destinations", "alert_webhooks"];
  const sealedBy = async (on) => (await Promise.all(tables.map((table) => on.rows(`SELECT key_id FROM ${table}`)))).flat().map(({ key_id }) => key_id);
  let older;
  await restarted(folder, { bindings: internal }, async (on) => {
    await on.create("gw", { logpush: true, logpush_plain: true, otel: [{ url: `${url}/v1/traces`, authorization: "Bearer of-spans-1" }] });
    for (const [method, path, body] of [["PUT", "/gateways/gw/logpush", { url, authorization: "Bearer of-logs-1" }], ["POST", "/alerts/webhooks", { url, secret: "whsec-of-alerts-1" }]]) {
      const set = await on.api(path, { method, body: JSON.stringify(body) });
      assert.equal(set.status, 200, await set.clone().text());
    }
    older = await sealedBy(on);
    assert.deepEqual([older.length, new Set(older).size], [3, 1]);
  });
  await restarted(folder, { bindings: { ...internal, ENCRYPTION_KEY: `${NEWER},${ENCRYPTION_KEY}` } }, async (on) => {
    await (await on.miniflare.getWorker("tollgate")).scheduled({ cron: "* * * * *" });
    await until(async () => (await sealedBy(on)).every((id) => id !== older[0]), "the secrets to be sealed anew");
  });
  await restarted(folder, { bindings: { ...internal, ENCRYPTION_KEY: NEWER } }, async (on) => {
    gw.upstream.requests.length = 0;
    await on.logOf(await on.call("openai/chat/completions", { json: CHAT, headers: bearer(KEY("own")) }));
    await (await on.miniflare.getWorker("tollgate")).scheduled({ cron: "* * * * *" });
    const came = () => gw.upstream.requests.filter(({ provider }) => provider === "destinations").map(({ headers }) => headers.authorization);
    await until(() => came().includes("Bearer of-spans-1") && came().includes("Bearer of-logs-1"), "both with their secrets");
  });
});

test("what cannot be decrypted is refused visibly, and no other key is sent in its place", async () => {
  const folder = fresh();
  const PROVIDER_KEYS = JSON.stringify({ openai: KEY("operator") });
  await restarted(folder, {}, async (on) => {
    await on.create("gw", { authentication: true });
    await store("gw", { alias: "default", provider_slug: "openai", secret: KEY("kept") }, { on });
  });
  for (const ENCRYPTION_KEY of [NEWER, undefined]) {
    await restarted(folder, { bindings: { ENCRYPTION_KEY, PROVIDER_KEYS } }, async (on) => {
      const seen = await call("openai/chat/completions", { on });
      assert.deepEqual([seen.status, seen.sent, seen.credential], [503, null, "stored"]);
      assert.match(JSON.parse(seen.text).description, /cannot get at the key 'default'/);
      await until(() => on.output.length > 0, "the line about it");
      assert.match(on.output.join(""), /"event":"stored_key_unreadable"/);
      assert.ok(!on.output.join("").includes("CANARY"));
    });
  }
  // One that makes no sense is a mistake of the operator's, and stops everything with its reason.
  for (const ENCRYPTION_KEY of ["not base64 of 32 bytes", "AAAA", `${NEWER},`]) {
    await restarted(folder, { bindings: { ENCRYPTION_KEY, PROVIDER_KEYS } }, async (on) => {
      const sent = on.upstream.requests.length;
      const refused = await on.call("openai/chat/completions", { json: { model: "gpt-4o", messages: [] }, headers: { ...OURS, ...bearer("sk-mine") } });
      const text = await refused.text();
      assert.deepEqual([refused.status, /ENCRYPTION_KEY is not the base64 of 32 bytes/.test(JSON.parse(text).description), text.includes(ENCRYPTION_KEY)], [503, true, false]);
      assert.equal(on.upstream.requests.length, sent);
      const health = await (await fetch(`${on.url}/health`)).json();
      assert.deepEqual([health.status, /^ENCRYPTION_KEY/.test(health.reason)], ["unconfigured", true]);
      assert.match((await (await on.api("/gateways")).json()).errors[0].message, /ENCRYPTION_KEY/);
    });
  }
  await restarted(folder, { bindings: { ENCRYPTION_KEY: undefined } }, async (on) => {
    const refused = await config("gw", { alias: "b", provider_slug: "openai", secret: KEY("b") }, { on });
    assert.deepEqual([refused.status, /ENCRYPTION_KEY is not set\. Make one with `openssl rand -base64 32/.test(refused.text)], [503, true]);
    // Nothing else needs the encryption key.
    assert.equal((await call("openai/chat/completions", { on, headers: { ...OURS, ...bearer("sk-mine") } })).status, 200);
  });
  // A ciphertext in another row opens nothing.
  await gw.create("thief", { authentication: true });
  await gw.db.prepare("INSERT INTO provider_configs (id, gateway, provider, alias, default_config, secret, key_id, reference, preview, upstream, rate_limit, rate_limit_period, created_at, modified_at) SELECT 'stolen', (SELECT key FROM gateways WHERE id = 'thief'), provider, alias, default_config, secret, key_id, reference, preview, upstream, rate_limit, rate_limit_period, created_at, modified_at FROM provider_configs WHERE provider = 'openai' AND alias = 'default' AND gateway = (SELECT key FROM gateways WHERE id = 'gw')").run();
  const stolen = await call("openai/chat/completions", { gateway: "thief" });
  assert.deepEqual([stolen.status, stolen.sent], [503, null]);
  await until(() => gw.output.some((line) => line.includes('"gateway":"thief"')), "the line about it");
});

test("while the stored keys cannot be read, no request goes with another key", async () => {
  await gw.create("unseen", { authentication: true });
  await gw.db.prepare("ALTER TABLE provider_configs RENAME TO hidden").run();
  try {
    const seen = await call("openai/chat/completions", { gateway: "unseen" });
    assert.deepEqual([seen.status, seen.sent], [503, null]);
    // A gateway whose keys this isolate has read goes on.
    await until(() => gw.output.some((line) => line.includes("gateway_unreadable")), "the line about it");
  } finally {
    await gw.db.prepare("ALTER TABLE hidden RENAME TO provider_configs").run();
  }
});

test("a key can stay where the operator keeps it: a secret of the Worker or of the Secrets Store", async () => {
  const worker = { secretsStoreSecrets: { PROVIDER_KEY_STORED: { store_id: "s", secret_name: "openai" }, PROVIDER_KEY_GONE: { store_id: "s", secret_name: "gone" } } };
  const bindings = { PROVIDER_KEY_OPENAI: KEY("of-the-worker"), PROVIDER_KEY_BAD: "two words", ENCRYPTION_KEY: undefined };
  await restarted(fresh(), { worker, bindings }, async (on) => {
    const admin = (await on.miniflare.getSecretsStoreSecretAPI("PROVIDER_KEY_STORED", "tollgate"))();
    await admin.create(KEY("of-the-store"));
    await on.create("gw", { authentication: true });
    const made = await store("gw", { alias: "env", provider_slug: "openai", secret_id: "env:PROVIDER_KEY_OPENAI" }, { on });
    assert.deepEqual([made.secret_id, made.secret_preview, made.encryption_key_id], ["env:PROVIDER_KEY_OPENAI", "", null]);
    await store("gw", { alias: "store", provider_slug: "openai", secret_id: "store:PROVIDER_KEY_STORED" }, { on });
    for (const [alias, key] of [["env", "of-the-worker"], ["store", "of-the-store"]]) {
      const seen = await call("openai/chat/completions", { on, headers: { ...OURS, "cf-aig-byok-alias": alias } });
      assert.deepEqual([seen.sent, seen.credential, seen.alias], [bearer(KEY(key)), "stored", alias]);
    }
    for (const secret_id of ["env:PROVIDER_KEY_NONE", "store:PROVIDER_KEY_NONE", "store:PROVIDER_KEY_GONE", "store:PROVIDER_KEY_OPENAI", "env:PROVIDER_KEY_BAD", "env:ADMIN_TOKEN", "env:PROVIDER_KEYS", "store:DB", "env:provider_key_x"]) {
      const refused = await config("gw", { alias: "x", provider_slug: "openai", secret_id }, { on });
      assert.deepEqual([refused.status, JSON.parse(refused.text).errors[0].path], [400, ["body", "secret_id"]], secret_id);
      assert.ok(!refused.text.includes("CANARY") && !refused.text.includes("two words"));
    }
    // The Worker's secrets are the operator's.
    const token = (await (await on.api("/tokens", { method: "POST", body: '{"name":"editor","permissions":["edit"]}' })).json()).result.value;
    const editor = await on.api("/gateways/gw/provider_configs", { method: "POST", headers: bearer(token), body: JSON.stringify({ alias: "x", provider_slug: "openai", secret_id: "env:PROVIDER_KEY_OPENAI" }) });
    assert.equal(editor.status, 403);
    assert.ok(!JSON.stringify(await on.rows("SELECT * FROM provider_configs")).includes("CANARY"));
    // A secret that has gone since is no reason to send another.
    await admin.delete((await admin.list())[0].metadata.uuid);
    const gone = await call("openai/chat/completions", { on, headers: { ...OURS, "cf-aig-byok-alias": "store" } });
    assert.deepEqual([gone.status, gone.sent], [503, null]);
  });
});

/** A Secrets Store that gives a key once, and then says nothing any more. */
const SILENT = `
import Worker from "./index.js";
export * from "./index.js";
let asked = 0;
const store = { get: () => (asked++ === 0 ? Promise.resolve("sk-CANARY-once") : new Promise(() => {})) };
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, PROVIDER_KEY_SILENT: store }); }
}`;

test("a Secrets Store that does not answer costs a visible error, and no request", async () => {
  await restarted(fresh(), { around: SILENT }, async (on) => {
    await on.create("gw", { authentication: true });
    await store("gw", { alias: "default", provider_slug: "openai", secret_id: "store:PROVIDER_KEY_SILENT" }, { on });
    const seen = await call("openai/chat/completions", { on });
    assert.deepEqual([seen.status, seen.sent], [503, null]);
    assert.equal(on.output.filter((line) => line.includes("stored_key_unreadable") && line.includes("no answer within")).length, 1);
  });
});

test("a key is not sent to another address than the one it was stored for", async () => {
  const folder = fresh();
  const bindings = (openai) => ({ bindings: { PROVIDER_BASE_URLS: JSON.stringify({ openai }) } });
  const base = gw.upstream.baseUrls.openai;
  const id = await restarted(folder, bindings(base), async (on) => {
    await on.create("gw", { authentication: true });
    const made = await store("gw", { alias: "default", provider_slug: "openai", secret: KEY("bound") }, { on });
    assert.deepEqual((await call("openai/chat/completions", { on })).sent, bearer(KEY("bound")));
    return made.id;
  });
  // The same address by another path is the same host.
  await restarted(folder, bindings(`${base}/v1`), async (on) => {
    gw.upstream.next({ body: "{}" });
    assert.deepEqual((await call("openai/chat/completions", { on })).sent, bearer(KEY("bound")));
  });
  await restarted(folder, bindings(base.replace("127.0.0.1", "localhost")), async (on) => {
    const refused = await call("openai/chat/completions", { on });
    assert.deepEqual([refused.status, refused.sent], [400, null]);
    assert.match(JSON.parse(refused.text).description, /stored for another address of openai.*Store it again: PUT …\/provider_configs\//);
    assert.equal((await call("openai/chat/completions", { on, headers: { ...OURS, ...bearer("sk-mine") } })).status, 200);
    await store("gw", { secret: KEY("again") }, { on, method: "PUT", id });
    assert.deepEqual((await call("openai/chat/completions", { on })).sent, bearer(KEY("again")));
  });
});

const AWS = { accessKeyId: "AKIDEXAMPLE0123456789", secretAccessKey: "CANARY/K7MDENG+bPxRfiCYEXAMPLEKEY", region: "us-east-1" };

/** What AWS computes from a request that it got, written anew from its documentation. */
function awsSignature({ method, headers, body, path }, service) {
  const [, id, day, region, signed] = headers.authorization.match(/^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/[^/]+\/aws4_request, SignedHeaders=([^,]+), Signature=[0-9a-f]{64}$/);
  const [pathname, query = ""] = path.split("?");
  const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  const pairs = query.split("&").filter(Boolean).map((pair) => pair.split("=").map((part) => encode(decodeURIComponent(part ?? ""))));
  const sha = (data) => createHash("sha256").update(data).digest("hex");
  const canonical = [method, pathname.split("/").map(encode).join("/"), pairs.map(([name, value = ""]) => `${name}=${value}`).sort().join("&"), ...signed.split(";").map((name) => `${name}:${headers[name].trim()}`), "", signed, sha(body ?? "")].join("\n");
  const text = ["AWS4-HMAC-SHA256", headers["x-amz-date"], `${day}/${region}/${service}/aws4_request`, sha(canonical)].join("\n");
  const key = [day, region, service, "aws4_request"].reduce((key, part) => createHmac("sha256", key).update(part).digest(), `AWS4${AWS.secretAccessKey}`);
  return { id, region, signed, signature: createHmac("sha256", key).update(text).digest("hex") };
}

test("requests to Bedrock are signed with stored AWS credentials", async () => {
  await gw.create("bedrock", { authentication: true });
  await store("bedrock", { alias: "object", default_config: true, provider_slug: "aws-bedrock", secret: AWS });
  await store("bedrock", { alias: "session", provider_slug: "aws-bedrock", secret: JSON.stringify({ ...AWS, sessionToken: "CANARY/session+token==" }) });
  await store("bedrock", { alias: "key", provider_slug: "aws-bedrock", secret: KEY("bedrock-api-key") });
  const model = "us.anthropic.claude-sonnet-4-5-20250929-v1";
  for (const [path, alias, { service = "bedrock", headers = {}, method = "POST", json = CHAT, region = "us-east-1", arrives } = {}] of [
    [`bedrock-runtime/us-east-1/model/${model}:0/invoke`, "object", { arrives: `model/${model}%3A0/invoke` }],
    [`bedrock-runtime/us-east-1/model/${model}%3A0/invoke`, "session", { arrives: `model/${model}%3A0/invoke` }],
    [`bedrock-runtime/eu-central-1/model/arn%3aaws%3Abedrock%2Fx/invoke?b=2&a=%20x&a=1`, "object", { region: "eu-central-1", arrives: "model/arn%3Aaws%3Abedrock%2Fx/invoke?b=2&a=%20x&a=1" }],
    [`bedrock-runtime/us-east-1/model/${model}/invoke`, "object", { headers: { "cf-aig-collect-log": "false", "x-amz-date": "20000101T000000Z", "x-amz-security-token": "stale", authorization: "unused" } }],
    ["bedrock-runtime/us-east-1/models", "object", { method: "GET", json: null }],
    ["bedrock-mantle/us-east-1/anthropic/v1/messages", "object", { service: "bedrock-mantle", headers: { authorization: "Bearer unused" } }],
  ]) {
    gw.upstream.next({ body: "{}", headers: { "content-type": "application/json" } });
    const answer = await gw.call(`aws-bedrock/${path}`, { gateway: "bedrock", method, json: json ?? undefined, headers: { ...OURS, "cf-aig-byok-alias": alias, ...headers } });
    assert.equal(answer.status, 200, `${path}: ${await answer.text()}`);
    const { last } = gw.upstream;
    if (arrives) assert.equal(last.url, `/${arrives}`);
    const found = awsSignature({ ...last, path: `/${last.provider}${last.url}` }, service);
    assert.ok(last.headers.authorization.endsWith(`Signature=${found.signature}`), path);
    assert.deepEqual([found.id, found.region], [AWS.accessKeyId, region]);
    assert.equal(last.headers["x-amz-security-token"], alias === "session" ? "CANARY/session+token==" : undefined);
    assert.ok(found.signed.includes("host;x-amz-date") && found.signed.includes("x-amz-security-token") === (alias === "session"));
    assert.ok(Math.abs(Date.parse(last.headers["x-amz-date"].replace(/(....)(..)(..)T(..)(..)(..)Z/, "$1-$2-$3T$4:$5:$6Z")) - Date.now()) < 60_000);
    if (json) assert.deepEqual(JSON.parse(last.body), json);
    assert.deepEqual(Object.keys(sent()), ["authorization"]);
  }
  // A key of Bedrock's own is a bearer, or what its Anthropic endpoint wants.
  for (const [path, key] of [["bedrock-runtime/us-east-1/model/m/invoke", bearer(KEY("bedrock-api-key"))], ["bedrock-mantle/us-east-1/anthropic/v1/messages", { "x-api-key": KEY("bedrock-api-key") }]]) {
    gw.upstream.next({ body: "{}" });
    assert.deepEqual((await call(`aws-bedrock/${path}`, { gateway: "bedrock", headers: { ...OURS, "cf-aig-byok-alias": "key" } })).sent, key);
  }
  // The caller's own signature is left alone.
  gw.upstream.next({ body: "{}" });
  const own = await call("aws-bedrock/bedrock-runtime/us-east-1/model/m:0/invoke", { gateway: "bedrock", headers: { ...OURS, authorization: "AWS4-HMAC-SHA256 Credential=x", "x-amz-date": "20300101T000000Z" } });
  assert.deepEqual([own.sent, own.credential, gw.upstream.last.headers["x-amz-date"], gw.upstream.last.url], [{ authorization: "AWS4-HMAC-SHA256 Credential=x" }, "request", "20300101T000000Z", "/model/m:0/invoke"]);
});

test("service accounts are turned into tokens for Vertex, once for many requests", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const account = (client_email, token_uri) => ({ type: "service_account", client_email, private_key_id: "k1", private_key: privateKey.export({ type: "pkcs8", format: "pem" }), token_uri, region: "us-central1" });
  const minted = [];
  let expires_in = 3600;
  gw.upstream.answer = (request) => {
    if (request.provider !== "google-oauth") return { body: "{}", headers: { "content-type": "application/json" } };
    const form = new URLSearchParams(String(request.body));
    const [header, claims, signature] = form.get("assertion").split(".");
    const verified = createVerify("RSA-SHA256").update(`${header}.${claims}`).verify(publicKey, Buffer.from(signature, "base64url"));
    const { iss, aud, scope, iat, exp } = JSON.parse(Buffer.from(claims, "base64url"));
    assert.equal(form.get("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert.deepEqual([aud, scope, exp - iat, Math.abs(iat - Date.now() / 1000) < 60], ["https://oauth2.googleapis.com/token", "https://www.googleapis.com/auth/cloud-platform", 3600, true]);
    if (!verified || iss === "revoked@p") return { status: 400, headers: { "content-type": "application/json" }, body: '{"error":"invalid_grant","error_description":"CANARY"}' };
    minted.push(iss);
    return { headers: { "content-type": "application/json" }, body: JSON.stringify({ access_token: `ya29.${iss}.${minted.length}`, expires_in, token_type: "Bearer" }) };
  };
  try {
    await restarted(fresh(), { bindings: { GOOGLE_TOKEN_URL: `${gw.upstream.origin}/google-oauth/token` } }, async (on) => {
      await on.create("gw", { authentication: true });
      await store("gw", { alias: "default", provider_slug: "google-vertex-ai", secret: account("one@p", "http://127.0.0.1:1/evil") }, { on });
      await store("gw", { alias: "two", provider_slug: "google-vertex-ai", secret: JSON.stringify(account("two@p")) }, { on });
      await store("gw", { alias: "revoked", provider_slug: "google-vertex-ai", secret: account("revoked@p") }, { on });
      const path = "google-vertex-ai/v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-pro:generateContent";
      const ask = (headers) => call(path, { on, headers: { ...OURS, ...headers } });
      for (let n = 0; n < 3; n += 1) assert.deepEqual((await ask({})).sent, bearer("ya29.one@p.1"));
      const two = await ask({ "cf-aig-byok-alias": "two" });
      assert.deepEqual([two.sent, two.credential, two.alias], [bearer("ya29.two@p.2"), "stored", "two"]);
      assert.deepEqual(minted, ["one@p", "two@p"]);
      const revoked = await ask({ "cf-aig-byok-alias": "revoked" });
      assert.equal(revoked.status, 400);
      assert.match(JSON.parse(revoked.text).description, /Google gave no access token for the service account: 400, invalid_grant\./);
      assert.ok(!revoked.text.includes("CANARY") && on.upstream.last.provider === "google-oauth");
      // The client's own, in the form that Cloudflare's documentation gives; of no use for other providers.
      const own = Buffer.from(JSON.stringify(account("own@p"))).toString("base64");
      for (const authorization of [own, `Bearer ${own}`]) {
        const seen = await ask({ authorization });
        assert.deepEqual([seen.sent, seen.credential], [bearer("ya29.own@p.3"), "request"]);
      }
      assert.deepEqual((await call("openai/chat/completions", { on, headers: { ...OURS, authorization: own } })).sent, { authorization: own });
      assert.deepEqual((await ask(bearer("ya29.mine"))).sent, bearer("ya29.mine"));
      assert.equal(minted.length, 3);
      // A token that is at its end is not used again.
      expires_in = 60;
      await store("gw", { alias: "short", provider_slug: "google-vertex-ai", secret: account("short@p") }, { on });
      for (const n of [4, 5]) assert.deepEqual((await ask({ "cf-aig-byok-alias": "short" })).sent, bearer(`ya29.short@p.${n}`));
      for (const secret of [{ client_email: "a@b" }, { ...account("a@b"), private_key: "CANARY" }, "{"]) {
        const refused = await config("gw", { alias: "bad", provider_slug: "google-vertex-ai", secret }, { on });
        assert.deepEqual([refused.status, JSON.parse(refused.text).errors[0].path, refused.text.includes("CANARY")], [400, ["body", "secret"], false]);
      }
    });
  } finally {
    gw.upstream.answer = undefined;
  }
});

test("a WebSocket gets the stored key, and no placeholder with it", async () => {
  await store("gw", { alias: "ws", provider_slug: "elevenlabs", default_config: true, secret: KEY("ws") });
  const seen = new Promise((resolve) => {
    const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/gw/elevenlabs/v1/convai/conversation?agent_id=1`, ["realtime", `cf-aig-authorization.${TOKEN}`, "xi-api-key.unused"]);
    socket.onopen = () => resolve(socket);
    socket.onerror = () => resolve(socket);
  });
  (await seen).close();
  assert.deepEqual([sent(), gw.upstream.last.headers["sec-websocket-protocol"]], [{ "xi-api-key": KEY("ws") }, "realtime"]);
});

/** A window of the clock that began a while ago and is far from its end, whatever the time is. */
function farFromItsEnd() {
  const seconds = Date.now() / 1_000;
  return Array.from({ length: 4_000 }, (_, n) => 3_600 + n).find((window) => seconds % window < window / 2 && seconds % window > 30);
}

test("a stored key is used as often as its own limit allows, and no other is used in its place", async () => {
  await gw.create("limited", { authentication: true });
  await store("limited", { alias: "few", default_config: true, provider_slug: "openai", secret: KEY("few"), rate_limit: 3, rate_limit_period: farFromItsEnd() });
  await store("limited", { alias: "many", provider_slug: "openai", secret: KEY("many") });
  const all = await Promise.all(Array.from({ length: 12 }, () => call("openai/chat/completions", { gateway: "limited" })));
  assert.deepEqual(all.map(({ status }) => status).sort(), [...Array(3).fill(200), ...Array(9).fill(429)]);
  const refused = await call("openai/chat/completions", { gateway: "limited" });
  assert.deepEqual([JSON.parse(refused.text).internalCode, refused.sent, refused.alias], [2003, null, "few"]);
  assert.equal((await call("openai/chat/completions", { gateway: "limited", headers: { ...OURS, "cf-aig-byok-alias": "many" } })).status, 200);
  assert.equal((await call("openai/chat/completions", { gateway: "limited", headers: { ...OURS, ...bearer("sk-mine") } })).status, 200);
});

test("a custom provider's stored key goes before its headers, and away with its address", async () => {
  await restarted(fresh(), { bindings: { ALLOW_INTERNAL_UPSTREAMS: "true", PROVIDER_BASE_URLS: JSON.stringify({}) } }, async (on) => {
    const base = `${gw.upstream.origin}/openai/v1`;
    const other = base.replace("127.0.0.1", "localhost");
    await on.create("gw", { authentication: true });
    const change = async (body, id) => {
      const answer = await on.api(`/custom-providers${id ? `/${id}` : ""}`, { method: id ? "PATCH" : "POST", body: JSON.stringify(body) });
      return { status: answer.status, result: (await answer.json()).result };
    };
    assert.equal((await config("gw", { alias: "default", provider_slug: "custom-acme", secret: KEY("x") }, { on })).status, 400);
    const { result: acme } = await change({ name: "Acme", slug: "acme", base_url: base, enable: true, headers: JSON.stringify({ authorization: `Bearer ${KEY("header")}`, "x-team": "ads" }) });
    await change({ name: "Taken", slug: "taken", base_url: base, enable: true });
    const ask = (headers) => call("custom-acme/chat/completions", { on, headers: { ...OURS, ...headers } });
    for (const headers of [{}, bearer("unused"), { "x-api-key": "unused" }]) {
      const seen = await ask(headers);
      assert.deepEqual([seen.sent, seen.credential], [bearer(KEY("header")), "operator"]);
    }
    const made = await store("gw", { alias: "default", provider_slug: "custom-acme", secret: KEY("custom") }, { on });
    const seen = await ask(bearer("unused"));
    assert.deepEqual([seen.sent, seen.credential, on.upstream.last.headers["x-team"]], [bearer(KEY("custom")), "stored", "ads"]);
    // A change that is refused, or that leads to the same place, takes nothing away.
    assert.equal((await change({ slug: "taken", base_url: other }, acme.id)).status, 409);
    assert.equal((await change({ base_url: `${base}/`, description: "d" }, acme.id)).status, 200);
    assert.deepEqual((await ask({})).sent, bearer(KEY("custom")));
    assert.equal((await change({ base_url: other }, acme.id)).status, 200);
    const shown = await on.result(`/gateways/gw/provider_configs/${made.id}`);
    assert.deepEqual([shown.has_secret, shown.secret_preview, shown.encryption_key_id], [false, "", null]);
    const refused = await ask({});
    assert.deepEqual([refused.status, refused.sent, /Store it again/.test(refused.text)], [400, null, true]);
    await store("gw", { secret: KEY("again") }, { on, method: "PUT", id: made.id });
    assert.deepEqual((await ask({})).sent, bearer(KEY("again")));
    // And the next provider of the name gets none of it.
    assert.equal((await on.api(`/custom-providers/${acme.id}`, { method: "DELETE" })).status, 200);
    await change({ name: "Other", slug: "acme", base_url: base, enable: true });
    const next = await ask({});
    assert.deepEqual([next.status, next.sent], [400, null]);
  });
});

test("an answer in the cache is for the key that it was got with", async () => {
  await gw.create("caching", { authentication: true, cache_ttl: 60 });
  for (const alias of ["a", "b"]) await store("caching", { alias, provider_slug: "openai", secret: KEY(alias) });
  const statuses = [];
  for (const alias of ["a", "a", "b"]) {
    const seen = await call("openai/chat/completions", { gateway: "caching", headers: { ...OURS, "cf-aig-byok-alias": alias } });
    statuses.push(seen.headers.get("cf-aig-cache-status"));
  }
  assert.deepEqual(statuses, ["MISS", "HIT", "MISS"]);
  // Under a name that was given away and given out anew there may be another owner's key.
  const { id } = (await gw.result("/gateways/caching/provider_configs")).find(({ alias }) => alias === "a");
  assert.equal((await gw.api(`/gateways/caching/provider_configs/${id}`, { method: "DELETE" })).status, 200);
  await store("caching", { alias: "a", provider_slug: "openai", secret: KEY("another-a") });
  const seen = await call("openai/chat/completions", { gateway: "caching", headers: { ...OURS, "cf-aig-byok-alias": "a" } });
  assert.deepEqual([seen.headers.get("cf-aig-cache-status"), seen.sent], ["MISS", bearer(KEY("another-a"))]);
});

test("no caller chooses the host that a key of the gateway's is sent to", async () => {
  await gw.create("hosts", { authentication: true });
  for (const secret of [KEY("azure"), { apiKey: KEY("azure") }, { resource: "ours" }, { apiKey: "", resource: "ours" }, { apiKey: KEY("azure"), resource: "a.b" }]) {
    const refused = await config("hosts", { alias: "default", provider_slug: "azure-openai", secret });
    assert.deepEqual([refused.status, JSON.parse(refused.text).errors[0].path], [400, ["body", "secret"]], JSON.stringify(secret));
    assert.ok(!refused.text.includes("CANARY"));
  }
  await store("hosts", { alias: "default", provider_slug: "azure-openai", secret: { apiKey: KEY("azure"), resource: "ours" } });
  await store("hosts", { alias: "default", provider_slug: "fal", secret: KEY("fal") });
  const azure = (resource, headers = {}) => call(`azure-openai/${resource}/gpt-4o/chat/completions?api-version=1`, { gateway: "hosts", headers: { ...OURS, ...headers } });
  for (const resource of ["ours", "Ours"]) assert.deepEqual((await azure(resource)).sent, { "api-key": KEY("azure") });
  const theirs = await azure("theirs");
  assert.deepEqual([theirs.status, JSON.parse(theirs.text).internalCode, theirs.sent], [400, 2040, null]);
  assert.ok(!theirs.text.includes("CANARY") && !theirs.log.error.includes("CANARY"));
  assert.deepEqual((await azure("theirs", { "api-key": "mine" })).sent, { "api-key": "mine" });
  const fal = (host, headers = {}) => call("fal/", { gateway: "hosts", json: {}, headers: { ...OURS, "x-fal-target-url": `https://${host}/fal-ai/flux`, ...headers } });
  for (const host of ["fal.run", "queue.fal.run", "rest.alpha.fal.ai"]) assert.deepEqual((await fal(host)).sent, { authorization: `Key ${KEY("fal")}` }, host);
  for (const host of ["somebody.fal.run", "110602490-flux.gateway.alpha.fal.ai"]) {
    const refused = await fal(host);
    assert.deepEqual([refused.status, refused.sent], [400, null], host);
    assert.deepEqual((await fal(host, { authorization: "Key mine" })).sent, { authorization: "Key mine" });
  }
});

test("a judge is called with the stored key", async () => {
  await gw.create("judged");
  await store("judged", { alias: "default", provider_slug: "openai", secret: KEY("judge") });
  await call("openai/chat/completions", { gateway: "judged", headers: bearer("sk-mine") });
  const post = async (path, body) => (await (await gw.api(`/gateways/judged${path}`, { method: "POST", body: JSON.stringify(body) })).json()).result;
  const dataset = await post("/datasets", { name: "all", enable: true, filters: [] });
  const before = gw.upstream.requests.length;
  const plan = { name: "judge", dataset_ids: [dataset.id], evaluation_type_ids: ["llm_judge"], settings: { llm_judge: { prompt: "JUDGE {{output}}", provider: "openai", model: "gpt-4o" } } };
  const made = await gw.api("/gateways/judged/evaluations", { method: "POST", body: JSON.stringify(plan) });
  assert.equal(made.status, 200, await made.clone().text());
  const { id } = (await made.json()).result;
  await until(async () => (await gw.result(`/gateways/judged/evaluations/${id}`)).processed, "the evaluation");
  assert.deepEqual(gw.upstream.requests.slice(before).map(({ headers }) => headers.authorization), [`Bearer ${KEY("judge")}`]);
});
