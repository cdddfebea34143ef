// Cloudflare's providers for Vercel's `ai`. Both know only Cloudflare's own hosts, so they are given a `fetch` or a binding that
// leads here, as their documentation has it.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createAiGateway } from "ai-gateway-provider";
import { createWorkersAI } from "workers-ai-provider";
import { features } from "./_ai.mjs";
import { NO_HEADERS, run } from "./_case.mjs";

const universal = (at) => {
  const binding = {
    run: (data, { signal } = {}) => fetch(at.url, { method: "POST", body: JSON.stringify(data), signal, headers: { "content-type": "application/json", "cf-aig-authorization": `Bearer ${at.token}` } }),
  };
  return createAiGateway({ binding });
};
const openai = ({ key, token }) => createOpenAI({ apiKey: key === token ? "unused" : key });
await run("ai-gateway-provider (npm)", { of: "ai-gateway-provider", providers: ["openai"] }, {
  ...features((at) => universal(at)(openai(at).chat("gpt-4o")), { embeddings: "it takes models of chat", media: "it takes models of chat" }),
});

const workersAi = ({ gateway, url, key, headers }) => createWorkersAI({
  accountId: "acct",
  apiKey: key,
  gateway: { id: gateway },
  fetch: (address, init) => {
    assert.ok(address.startsWith("https://gateway.ai.cloudflare.com/v1/acct/"), address);
    return fetch(address.replace(/^https:\/\/gateway\.ai\.cloudflare\.com\/v1\/acct\/[^/]+/, url), { ...init, headers: { ...init.headers, ...headers } });
  },
});
await run("workers-ai-provider (npm)", { of: "workers-ai-provider", providers: ["workers-ai"] }, {
  ...features((at) => workersAi(at)("@cf/meta/llama-3.3-70b-instruct-fp8-fast"), { embedder: (at) => workersAi(at).textEmbedding("@cf/baai/bge-m3"), painter: (at) => workersAi(at).image("@cf/black-forest-labs/flux-1-schnell") }),
  feedback: NO_HEADERS,
});
