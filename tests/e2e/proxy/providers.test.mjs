// Every provider, with every fixture: the answer comes back byte for byte, and the log says what the fixture says.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fixtures } from "../../upstream.mjs";
import { Gateway, raw } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

/** Where a path has to arrive at the stand-in, below the provider's base URL. */
const ARRIVES = {
  "azure-openai": (path) => path.replace(/^[^/]+\/(openai\/)?(deployments\/)?([^/]+)/, "/openai/deployments/$3"),
  "aws-bedrock": (path) => path.replace(/^[^/]+\/[^/]+/, ""),
  baseten: (path) => (path.startsWith("model/") ? "/production/predict" : `/${path}`),
  "workers-ai": (path) => (path.startsWith("@cf/") ? `/run/${path}` : `/${path}`),
  huggingface: (path) => (path.startsWith("v1/") ? `/${path}` : `/hf-inference/models/${path}`),
};
const VERSIONED = new Set(["openai", "grok", "groq", "openrouter", "cerebras", "fireworks", "replicate"]);

for (const provider of readdirSync(fixtures)) {
  const expected = JSON.parse(readFileSync(join(fixtures, provider, "expected.json"), "utf8"));
  for (const [file, facts] of Object.entries(expected)) {
    test(`${provider}: ${file}`, async () => {
      gw.upstream.next({ file: `${provider}/${file}`, status: facts.status });
      const body = JSON.stringify(facts.request_model ? { model: facts.request_model } : { prompt: "lunch?" });
      const answer = await raw(`${gw.url}/v1/acct/gw/${provider}/${facts.path}`, { method: "POST", body, headers: { "content-type": "application/json" } });
      assert.equal(answer.status, facts.status ?? 200);
      const given = readFileSync(join(fixtures, provider, file));
      // The addresses of Replicate's predictions lead below the gateway; no other byte of any answer changes.
      const led = provider === "replicate" && Buffer.from(String(given).replaceAll("https://api.replicate.com/v1/", `${gw.url}/v1/acct/gw/replicate/${facts.path.startsWith("v1/") ? "v1/" : ""}`));
      assert.ok(answer.body.equals(led || given));

      const base = new URL(gw.upstream.baseUrls[provider]).pathname.replace(`/${provider}`, "");
      const arrives = ARRIVES[provider]?.(facts.path) ?? `/${VERSIONED.has(provider) ? facts.path.replace(/^v1\//, "") : facts.path}`;
      assert.equal(gw.upstream.last.url, base + arrives);
      assert.equal(gw.upstream.last.body.toString(), body);

      const log = await gw.logOf(answer);
      assert.deepEqual(
        {
          model: log.model,
          response_id: log.response_id,
          tokens_in: log.tokens_in,
          tokens_out: log.tokens_out,
          cached: log.usage_metadata.input_cached_tokens,
          cache_write: log.usage_metadata.input_cache_write_tokens,
          reasoning: log.usage_metadata.output_reasoning_tokens,
          priced: log.cost !== null,
          success: log.success,
        },
        {
          model: facts.model ?? "",
          response_id: facts.response_id ?? null,
          tokens_in: facts.tokens_in ?? null,
          tokens_out: facts.tokens_out ?? null,
          cached: facts.cached ?? null,
          cache_write: facts.cache_write ?? null,
          reasoning: facts.reasoning ?? null,
          priced: facts.priced ?? false,
          success: (facts.status ?? 200) < 400 && !facts.error,
        },
      );
      assert.equal(log.error, facts.error ? `provider: ${facts.error}` : null);
    });
  }
}

test("Bedrock's tokens are taken from its headers where the answer has none", async () => {
  gw.upstream.next({ body: '{"outputs":[{"text":"Ramen."}]}', headers: { "content-type": "application/json", "x-amzn-bedrock-input-token-count": "7", "x-amzn-bedrock-output-token-count": "3" } });
  const answer = await gw.call("aws-bedrock/bedrock-runtime/us-east-1/model/mistral.mistral-7b-instruct-v0%3A2/invoke", { json: { prompt: "x" } });
  const log = await gw.logOf(answer);
  assert.deepEqual([log.tokens_in, log.tokens_out, log.model], [7, 3, "mistral.mistral-7b-instruct-v0:2"]);
});

test("Bedrock's Anthropic endpoint gets its key as x-api-key", async () => {
  await gw.call("aws-bedrock/bedrock-mantle/us-east-1/anthropic/v1/messages", { json: { model: "m" }, headers: { authorization: "Bearer bedrock-key" } });
  const { headers } = gw.upstream.last;
  assert.deepEqual([headers["x-api-key"], headers.authorization], ["bedrock-key", undefined]);
});

test("fal's clients may name fal's hosts and no others", async () => {
  const good = await gw.call("fal", { headers: { "x-fal-target-url": "https://queue.fal.run/fal-ai/flux/dev?x=1" } });
  assert.equal(good.status, 404);
  const through = await gw.call("fal/", { json: {}, headers: { "x-fal-target-url": "https://queue.fal.run/fal-ai/flux/dev?x=1" } });
  assert.equal(through.status, 200);
  assert.deepEqual([gw.upstream.last.url, gw.upstream.last.headers["x-fal-target-url"]], ["/fal-ai/flux/dev?x=1", undefined]);
  const bad = await gw.call("fal/", { json: {}, headers: { "x-fal-target-url": "https://fal.run.evil.example/x" } });
  assert.equal(bad.status, 400);
});

test("no field of a request chooses the upstream host", async () => {
  const fields = { api_base: "https://evil.example", base_url: "https://evil.example", custom_host: "https://evil.example", provider: "evil", endpoint: "https://evil.example" };
  const headers = { "x-portkey-custom-host": "https://evil.example", "cf-aig-endpoint": "https://evil.example", "x-base-url": "https://evil.example", authorization: "Bearer sk-mine" };
  const seen = gw.upstream.requests.length;
  const answer = await gw.call("openai/chat/completions?base_url=https://evil.example", { json: { model: "gpt-4o", ...fields }, headers });
  assert.deepEqual([answer.status, gw.upstream.requests.length], [200, seen + 1]);
  assert.equal(gw.upstream.last.headers.authorization, "Bearer sk-mine");
});

test("clients that send the version and clients that do not reach the same address", async () => {
  const both = { openai: "/v1", grok: "/v1", openrouter: "/api/v1", cerebras: "/v1", replicate: "/v1", groq: "/openai/v1", fireworks: "/inference/v1" };
  for (const [provider, base] of Object.entries(both)) {
    for (const path of ["models", "v1/models"]) {
      const answer = await gw.call(`${provider}/${path}?v=v1/`);
      assert.equal(gw.upstream.last.url, `${base}/models?v=v1/`, `${provider}/${path}`);
      assert.equal((await gw.logOf(answer)).path, `${path}?v=v1/`);
    }
  }
  for (const provider of ["anthropic", "deepseek", "mistral", "cohere", "perplexity-ai"]) {
    await gw.call(`${provider}/v1/models`);
    assert.equal(gw.upstream.last.url, "/v1/models", provider);
  }
});

test("no target but fal's own hosts by https is taken from a header", async () => {
  const bad = ["http://fal.run/x", "https://fal.run@evil.example/x", "https://evil.example/fal.run", "https://evil.example#.fal.run/x", "https://fal.run:444/x", "https://notfal.run/x", "//fal.run/x", "fal.run/x", "https://127.0.0.1/x", "https://fal.run/a/../b", "https://fal.run%2f.evil.example/x"];
  for (const target of bad) {
    const seen = gw.upstream.requests.length;
    const answer = await gw.call("fal/", { json: {}, headers: { "x-fal-target-url": target } });
    assert.deepEqual([answer.status, (await answer.json()).internalCode, gw.upstream.requests.length], [400, 2008, seen], target);
  }
});
