// A conversation in the format of each provider's own API.

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface Options {
  temperature: number | null;
  maxTokens: number;
  stream: boolean;
}

export const PROVIDERS = ["openai", "anthropic", "google-ai-studio", "groq", "mistral", "deepseek", "grok", "cerebras", "openrouter", "cohere", "perplexity-ai", "workers-ai", "compat"];

/** The path behind the gateway: the provider and where its chats are. */
export function endpointOf(provider: string, model: string, stream: boolean): string {
  switch (provider) {
    case "anthropic":
      return "anthropic/v1/messages";
    case "google-ai-studio":
      return `google-ai-studio/v1beta/models/${encodeURIComponent(model)}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`;
    case "mistral":
      return "mistral/v1/chat/completions";
    case "cohere":
      return "cohere/v2/chat";
    case "grok":
      return "grok/v1/chat/completions";
    case "workers-ai":
      return "workers-ai/v1/chat/completions";
    default:
      return `${provider}/chat/completions`;
  }
}

export function bodyFor(provider: string, model: string, messages: Message[], { temperature, maxTokens, stream }: Options): Record<string, unknown> {
  const said = messages.filter(({ content }) => content.trim() !== "");
  const system = said.filter(({ role }) => role === "system").map(({ content }) => content).join("\n\n");
  const others = said.filter(({ role }) => role !== "system");
  const warmth = temperature === null ? {} : { temperature };
  if (provider === "anthropic") return { model, max_tokens: maxTokens, ...(system && { system }), messages: others, ...warmth, ...(stream && { stream }) };
  if (provider === "google-ai-studio") {
    return {
      ...(system && { systemInstruction: { parts: [{ text: system }] } }),
      contents: others.map(({ role, content }) => ({ role: role === "assistant" ? "model" : "user", parts: [{ text: content }] })),
      generationConfig: { maxOutputTokens: maxTokens, ...warmth },
    };
  }
  const limit = provider === "openai" ? { max_completion_tokens: maxTokens } : { max_tokens: maxTokens };
  return { model, messages: said, ...limit, ...warmth, ...(stream && { stream }) };
}

/** The text of an answer that came as a whole. */
export function readAnswer(body: unknown): string {
  const value = body as {
    choices?: { message?: { content?: unknown } }[];
    content?: { text?: unknown }[];
    message?: { content?: { text?: unknown }[] };
    candidates?: { content?: { parts?: { text?: unknown }[] } }[];
  } | null;
  const parts = value?.content ?? value?.message?.content ?? value?.candidates?.[0]?.content?.parts ?? [];
  const chat = value?.choices?.[0]?.message?.content;
  if (typeof chat === "string") return chat;
  return Array.isArray(parts) ? parts.map((part) => part?.text).filter((text) => typeof text === "string").join("") : "";
}
