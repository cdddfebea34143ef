// `env.AI` in the shape of Cloudflare's, over a service binding to Tollgate.

/** Where a provider takes chats, under the names that models are prefixed with. */
const CHATS = {
  anthropic: "v1/messages",
  baseten: "v1/chat/completions",
  cerebras: "chat/completions",
  cohere: "compatibility/v1/chat/completions",
  deepseek: "chat/completions",
  fireworks: "chat/completions",
  "google-ai-studio": "v1beta/openai/chat/completions",
  grok: "chat/completions",
  groq: "chat/completions",
  mistral: "v1/chat/completions",
  openai: "chat/completions",
  openrouter: "chat/completions",
  "perplexity-ai": "chat/completions",
};
const ALIASES = { google: "google-ai-studio", perplexity: "perplexity-ai", xai: "grok" };

/** Headers that bring a provider's key. */
const KEY_HEADERS = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key"];

/** Takes the place of `env.AI`. */
export class Tollgate {
  /** The log of the last `run` that was answered; `null` when it left none. */
  aiGatewayLogId = null;
  #service;
  #options;

  /**
   * @param service the service binding, `env.TOLLGATE`
   * @param {import("./index.d.ts").TollgateOptions} options
   */
  constructor(service, options) {
    if (!service) throw new TypeError("Tollgate: there is no such service binding; see `services` in the Wrangler configuration");
    if (!options?.account) throw new TypeError("Tollgate: the option `account` is missing");
    this.#service = service;
    this.#options = { gateway: "default", keys: {}, ...options };
  }

  gateway(id) {
    return new AiGateway(this.#service, id, this.#options);
  }

  async run(model, inputs, { gateway, returnRawResponse = false, extraHeaders, signal } = {}) {
    if (inputs instanceof ReadableStream) throw named("AiInternalError", "AI Gateway does not support ReadableStreams yet.");
    this.aiGatewayLogId = null;
    const element = { ...destination(model, inputs), headers: extraHeaders ?? {} };
    if (element.provider === "anthropic") element.headers = { "anthropic-version": "2023-06-01", ...element.headers };
    const { id = this.#options.gateway, ...options } = gateway ?? {};
    const response = await this.gateway(id).run(element, { gateway: options, signal });
    this.aiGatewayLogId = response.headers.get("cf-aig-log-id");
    if (returnRawResponse) return response;
    if (!response.ok) throw await upstreamError(response);
    // Images and audio are streams for `env.AI`, too.
    if (inputs?.stream || !/\bjson\b/.test(response.headers.get("content-type") ?? "")) return response.body;
    const answer = await response.json();
    return element.provider === "workers-ai" && answer && "result" in answer ? answer.result : answer;
  }
}

class AiGateway {
  #service;
  #scope;
  #keys;

  constructor(service, id, { account, keys, origin }) {
    this.#service = service;
    this.#scope = { account, gateway: id, origin };
    this.#keys = keys;
  }

  async run(data, { gateway, extraHeaders, signal } = {}) {
    const elements = [data].flat().map((element) => this.#withKey(element));
    const { account, gateway: id } = this.#scope;
    const options = JSON.parse(json({ account, gateway: { ...gateway, id: gateway?.id ?? id }, extraHeaders }));
    return abortable(signal, (sent) => this.#service.run(json(elements), { ...options, ...sent }));
  }

  async getLog(id) {
    return restored(this.#service.getLog(id, this.#scope));
  }

  async patchLog(id, data) {
    await restored(this.#service.patchLog(id, JSON.parse(json(data)), this.#scope));
  }

  /** Keeps what an end user said of an answer: any JSON object. What was said before under other keys stays. */
  async feedback(id, data) {
    return restored(this.#service.feedback(id, JSON.parse(json(data)), this.#scope));
  }

  async getUrl(provider) {
    return restored(this.#service.getUrl(provider, this.#scope));
  }

  #withKey(element) {
    const key = this.#keys[element?.provider];
    const given = Object.keys(element?.headers ?? {}).map((name) => name.toLowerCase());
    if (!key || element.authorization || KEY_HEADERS.some((name) => given.includes(name))) return element;
    const header = element.provider === "anthropic" ? { "x-api-key": key } : { authorization: `Bearer ${key}` };
    return { ...element, headers: { ...header, ...element.headers } };
  }
}

/** The provider, endpoint and body that a model's name and inputs stand for. */
function destination(model, inputs) {
  if (/^@(cf|hf)\//.test(model)) return { provider: "workers-ai", endpoint: model, query: inputs };
  const slash = model.indexOf("/");
  const [prefix, name] = [model.slice(0, slash), model.slice(slash + 1)];
  if (prefix === "workers-ai") return destination(name, inputs);
  const provider = ALIASES[prefix] ?? prefix;
  const endpoint = Object.hasOwn(CHATS, provider) ? CHATS[provider] : undefined;
  if (!endpoint) throw named("AiInternalError", `"${model}" is neither a model of Workers AI nor one of ${Object.keys(CHATS).join(", ")}; others are reached with gateway(id).run()`);
  return { provider, endpoint, query: { ...inputs, model: name } };
}

/** JSON in which big integers are strings. */
function json(value) {
  return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner));
}

/**
 * Runs a call that a signal can end. Workers without the compatibility flag `enable_abortsignal_rpc` cannot send the
 * signal along: there the caller is released, and Tollgate goes on until it has an answer.
 */
async function abortable(signal, call) {
  if (!signal) return call({});
  signal.throwIfAborted();
  const sent = async () => {
    try {
      return await call({ signal });
    } catch (error) {
      if (error?.name !== "DataCloneError") throw error;
      return call({});
    }
  };
  const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  const response = await Promise.race([sent(), aborted]);
  return response.body ? new Response(response.body.pipeThrough(new TransformStream(), { signal }), response) : response;
}

/** Before the compatibility date 2026-04-21 an error keeps its name only as the beginning of its message. */
async function restored(call) {
  try {
    return await call;
  } catch (error) {
    const [, name, message] = /^(AiGateway\w+): (.*)$/s.exec(error?.message) ?? [];
    throw name ? named(name, message) : error;
  }
}

async function upstreamError(response) {
  const text = await response.text();
  let body = {};
  try {
    body = JSON.parse(text) ?? {};
  } catch {
    // The text itself is all there is to say.
  }
  // The gateway's own form first; then Workers AI's, and that of most providers.
  const error = body.errors?.[0] ?? body.error ?? {};
  const code = body.internalCode ?? error.code ?? response.status;
  return named("InferenceUpstreamError", `${code}: ${body.description ?? error.message ?? (text.slice(0, 500) || response.statusText)}`);
}

function named(name, message) {
  return Object.assign(new Error(message), { name });
}
