// How each client is told to go through Tollgate.

export interface Client {
  id: string;
  label: string;
  baseUrl: string;
  code: string;
  note?: string;
}

export function clientsFor(origin: string, account: string, gateway: string): Client[] {
  const base = `${origin}/v1/${account}/${gateway}`;
  return [
    {
      id: "curl",
      label: "curl",
      baseUrl: `${base}/openai`,
      code: `curl ${base}/openai/chat/completions \\
  --header "cf-aig-authorization: Bearer $TOLLGATE_TOKEN" \\
  --header "Authorization: Bearer $OPENAI_API_KEY" \\
  --header 'cf-aig-metadata: {"team": "AI", "user": 12345}' \\
  --json '{"model": "gpt-4o", "messages": [{"role": "user", "content": "What should I eat for lunch?"}]}'`,
    },
    {
      id: "openai",
      label: "OpenAI",
      baseUrl: `${base}/openai`,
      code: `import OpenAI from "openai";

const openai = new OpenAI({
  baseURL: "${base}/openai",
  defaultHeaders: { "cf-aig-authorization": \`Bearer \${process.env.TOLLGATE_TOKEN}\` },
});`,
      note: "Python takes base_url and default_headers.",
    },
    {
      id: "anthropic",
      label: "Anthropic",
      baseUrl: `${base}/anthropic`,
      code: `import Anthropic from "@anthropic-ai/sdk";

const anthropic = new Anthropic({
  baseURL: "${base}/anthropic",
  defaultHeaders: { "cf-aig-authorization": \`Bearer \${process.env.TOLLGATE_TOKEN}\` },
});`,
    },
    {
      id: "vercel",
      label: "Vercel AI SDK",
      baseUrl: `${base}/openai`,
      code: `import { createOpenAI } from "@ai-sdk/openai";

const openai = createOpenAI({
  baseURL: "${base}/openai",
  headers: { "cf-aig-authorization": \`Bearer \${process.env.TOLLGATE_TOKEN}\` },
});`,
    },
    {
      id: "claude-code",
      label: "Claude Code",
      baseUrl: `${base}/anthropic`,
      code: `export ANTHROPIC_BASE_URL=${base}/anthropic
export ANTHROPIC_CUSTOM_HEADERS="cf-aig-authorization: Bearer $TOLLGATE_TOKEN"
claude`,
      note: "Its sessions appear under “Sessions”.",
    },
    {
      id: "codex",
      label: "Codex",
      baseUrl: `${base}/openai`,
      code: `# ~/.codex/config.toml
model_provider = "tollgate"

[model_providers.tollgate]
name = "Tollgate"
base_url = "${base}/openai"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
env_http_headers = { "cf-aig-authorization" = "TOLLGATE_AUTHORIZATION" }`,
      note: "TOLLGATE_AUTHORIZATION holds “Bearer ” and the token. Its sessions appear under “Sessions”.",
    },
  ];
}
