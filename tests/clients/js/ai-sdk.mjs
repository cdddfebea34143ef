// Vercel's `ai` with the providers that it has, each with its own package.
import { createAmazonBedrock } from "@ai-sdk/amazon-bedrock";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createAzure } from "@ai-sdk/azure";
import { createCohere } from "@ai-sdk/cohere";
import { createDeepSeek } from "@ai-sdk/deepseek";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createGroq } from "@ai-sdk/groq";
import { createMistral } from "@ai-sdk/mistral";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createPerplexity } from "@ai-sdk/perplexity";
import { createXai } from "@ai-sdk/xai";
import { features } from "./_ai.mjs";
import { run } from "./_case.mjs";

const plain = (create, path) => ({ url, key, headers }) => create({ apiKey: key, baseURL: `${url}/${path}`, headers });
const openai = plain(createOpenAI, "openai");
const anthropic = plain(createAnthropic, "anthropic/v1");
const google = plain(createGoogleGenerativeAI, "google-ai-studio/v1beta");
const mistral = plain(createMistral, "mistral/v1");
const cohere = plain(createCohere, "cohere/v2");
// For hosts that are not Azure's it adds no version to its paths; the base URL has to have it.
const azure = ({ url, key, headers, resource }) => createAzure({ apiKey: key, baseURL: `${url}/azure-openai/${resource}/openai/v1`, headers });
const deployments = ({ url, key, headers, resource }) => createAzure({ apiKey: key, baseURL: `${url}/azure-openai/${resource}/openai`, useDeploymentBasedUrls: true, apiVersion: "2024-10-21", headers });
const bedrock = ({ url, key, headers }) => createAmazonBedrock({
  region: "us-east-1",
  baseURL: `${url}/aws-bedrock/bedrock-runtime/us-east-1`,
  headers,
  // With a key of Bedrock's, or signed with credentials that say that they are not used.
  ...(key === "unused" ? { accessKeyId: "unused", secretAccessKey: "unused" } : { apiKey: key }),
});
const xai = plain(createXai, "grok/v1");
const compatible = ({ url, key, headers }) => createOpenAICompatible({ name: "tollgate", apiKey: key, baseURL: `${url}/compat`, headers, includeUsage: true });

for (const [name, of, provider, open, more] of [
  ["@ai-sdk/openai", "@ai-sdk/openai", "openai", (at) => openai(at)("gpt-4o"), { embedder: (at) => openai(at).embedding("text-embedding-3-small"), painter: (at) => openai(at).image("gpt-image-1") }],
  ["@ai-sdk/openai, chat", "@ai-sdk/openai", "openai", (at) => openai(at).chat("gpt-4o"), { embeddings: "see above", media: "see above" }],
  ["@ai-sdk/azure", "@ai-sdk/azure", "azure-openai", (at) => azure(at)("my-deployment"), { embedder: (at) => azure(at).embedding("my-embeddings"), painter: (at) => azure(at).image("my-images") }],
  ["@ai-sdk/azure, deployments", "@ai-sdk/azure", "azure-openai", (at) => deployments(at).chat("my-deployment"), { embedder: (at) => deployments(at).embedding("my-embeddings"), painter: (at) => deployments(at).image("my-images") }],
  ["@ai-sdk/anthropic", "@ai-sdk/anthropic", "anthropic", (at) => anthropic(at)("claude-sonnet-4-5"), {}],
  ["@ai-sdk/google", "@ai-sdk/google", "google-ai-studio", (at) => google(at)("gemini-2.5-flash"), { embedder: (at) => google(at).embedding("gemini-embedding-001"), painter: (at) => google(at).image("gemini-2.5-flash-image") }],
  ["@ai-sdk/mistral", "@ai-sdk/mistral", "mistral", (at) => mistral(at)("mistral-small-latest"), { embedder: (at) => mistral(at).embedding("mistral-embed") }],
  ["@ai-sdk/cohere", "@ai-sdk/cohere", "cohere", (at) => cohere(at)("command-a-03-2025"), { embedder: (at) => cohere(at).embedding("embed-v4.0") }],
  ["@ai-sdk/amazon-bedrock", "@ai-sdk/amazon-bedrock", "aws-bedrock", (at) => bedrock(at)("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), { embedder: (at) => bedrock(at).embedding("amazon.titan-embed-text-v2:0"), painter: (at) => bedrock(at).image("amazon.nova-canvas-v1:0") }],
  ["@ai-sdk/groq", "@ai-sdk/groq", "groq", (at) => plain(createGroq, "groq/openai/v1")(at)("llama-3.3-70b-versatile"), {}],
  ["@ai-sdk/deepseek", "@ai-sdk/deepseek", "deepseek", (at) => plain(createDeepSeek, "deepseek")(at)("deepseek-chat"), {}],
  ["@ai-sdk/xai", "@ai-sdk/xai", "grok", (at) => xai(at).chat("grok-4"), { painter: (at) => xai(at).image("grok-2-image") }],
  ["@ai-sdk/perplexity", "@ai-sdk/perplexity", "perplexity-ai", (at) => plain(createPerplexity, "perplexity-ai")(at)("sonar"), { tools: "the provider has none" }],
  ["@ai-sdk/openai-compatible, compat", "@ai-sdk/openai-compatible", "groq", (at) => compatible(at)("groq/llama-3.3-70b-versatile"), { embeddings: "compat is for chat", media: "compat is for chat" }],
]) {
  await run(`ai (npm), ${name}`, { of, providers: [provider] }, features(open, more));
}
