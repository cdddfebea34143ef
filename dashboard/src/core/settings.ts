// A gateway's settings as fields of a form. What there is comes from the API's own description, so that none is missing.

export interface Schema {
  type?: string | string[];
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  description?: string;
}

export type FieldKind = "flag" | "number" | "choice" | "text" | "json";

export interface SettingField {
  key: string;
  kind: FieldKind;
  choices: string[];
  isNullable: boolean;
  minimum?: number;
  maximum?: number;
}

/** Which settings belong together. What is in no group is at the end, under "Others". */
export const GROUPS: { name: string; keys: string[] }[] = [
  { name: "Access", keys: ["authentication", "byok_only", "cors", "provider_cookies", "resign"] },
  { name: "Logs", keys: ["collect_logs", "log_management", "log_management_strategy", "log_retention_days", "log_body_retention_days", "zdr", "logpush", "logpush_public_key", "logpush_plain", "session_from", "stream_usage"] },
  { name: "Cache", keys: ["cache_ttl", "cache_invalidate_on_update"] },
  { name: "Limits", keys: ["rate_limiting_limit", "rate_limiting_interval", "rate_limiting_technique", "rate_limiting_rules", "spend_limits", "unknown_model", "custom_cost"] },
  { name: "Retries and time", keys: ["retry_max_attempts", "retry_delay", "retry_backoff", "max_calls", "circuit_breaker", "first_byte_timeout", "idle_timeout"] },
  { name: "Models", keys: ["model_aliases"] },
  { name: "Checks", keys: ["guardrails", "dlp"] },
  { name: "Traces", keys: ["otel"] },
];

/** Fields that older or other clients send and Tollgate keeps without acting on them. */
export const KEPT = ["log_classification", "store_id", "stripe", "workers_ai_billing_mode"];

const HELP: Record<string, string> = {
  authentication: "Callers need a token of Tollgate's that may run.",
  byok_only: "The operator's PROVIDER_KEYS are not used.",
  provider_cookies: "Whether cookies pass in both directions.",
  resign: "Requests that AWS's clients have signed are signed anew, with the stored key.",
  cache_ttl: "Seconds for which an answer is given again. 0 is off.",
  cache_invalidate_on_update: "A change of these settings empties the cache.",
  collect_logs: "Whether requests leave logs. Sums are counted in any case.",
  log_management: "How many logs are kept; empty for all.",
  log_management_strategy: "What happens to more.",
  log_retention_days: "Days after which logs are removed; empty for never.",
  logpush: "Logs leave once a minute, for a bucket or an endpoint: see docs/logpush.md.",
  logpush_public_key: "A public RSA key in PEM. Metadata and bodies are encrypted with it.",
  logpush_plain: "Without a key, logs are pushed as they are.",
  zdr: "No body of any kind is kept, whatever headers say.",
  guardrails: "See the page “Guardrails & DLP”.",
  otel: "Where spans of each request go, such as [{\"url\": \"https://otel.example.com/v1/traces\", \"authorization\": \"Bearer …\"}]. *** keeps a secret that is stored: see docs/telemetry.md.",
  dlp: "See the page “Guardrails & DLP”.",
  log_body_retention_days: "Days after which their bodies are removed.",
  rate_limiting_limit: "Requests in an interval for the whole gateway; empty for no limit.",
  rate_limiting_interval: "Seconds.",
  rate_limiting_rules: "Limits for each token or metadata value.",
  spend_limits: "Limits of money.",
  retry_max_attempts: "How often a request is sent at most.",
  retry_delay: "Milliseconds before the second attempt.",
  first_byte_timeout: "Seconds until the answer has to begin.",
  idle_timeout: "Seconds without a byte until the answer is given up.",
  circuit_breaker: "When a provider that fails is left alone.",
  unknown_model: "What a limit of money does with a model of unknown price.",
  custom_cost: "Whether callers may say what a request costs.",
  stream_usage: "Whether streams are asked for their usage where the client has not.",
  cors: "Which pages may call this gateway from a browser.",
  session_from: "What else a session is taken from.",
  max_calls: "How many calls one request may cause.",
  model_aliases: "What names of models mean, such as {\"claude-*\": \"openai/gpt-5\"}.",
};

export function helpOf(key: string): string | undefined {
  return HELP[key] ?? (KEPT.includes(key) ? "Kept for clients that send it; Tollgate does not act on it." : undefined);
}

export function fieldsOf(properties: Record<string, Schema>): SettingField[] {
  return Object.entries(properties).map(([key, schema]) => {
    const types = [schema.type ?? []].flat();
    const choices = (schema.enum ?? []).filter((value) => value !== null).map(String);
    const kind: FieldKind = choices.length > 0 ? "choice" : types.includes("boolean") ? "flag" : types.includes("integer") || types.includes("number") ? "number" : types.includes("string") ? "text" : "json";
    const bounds = { ...(schema.minimum !== undefined && { minimum: schema.minimum }), ...(schema.maximum !== undefined && { maximum: schema.maximum }) };
    return { key, kind, choices, isNullable: types.includes("null") || (schema.enum ?? []).includes(null), ...bounds };
  });
}

/** What is typed for a value. */
export function toText(kind: FieldKind, value: unknown): string {
  if (value === null || value === undefined) return "";
  return kind === "json" ? JSON.stringify(value, null, 2) : String(value);
}

/** The value of what was typed; an Error says what is wrong before the server is asked. */
export function toValue(kind: FieldKind, text: string): unknown {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  if (kind === "flag") return trimmed === "true";
  if (kind === "number") {
    const value = Number(trimmed);
    return Number.isFinite(value) ? value : new Error("This is not a number");
  }
  if (kind !== "json") return trimmed;
  try {
    return JSON.parse(trimmed);
  } catch (error) {
    return new Error(`This is not JSON: ${(error as Error).message}`);
  }
}

/** The settings whose typed values differ from what the gateway has. */
export function changesOf(fields: SettingField[], gateway: Record<string, unknown>, typed: Record<string, string>): { changes: Record<string, unknown>; wrong: Record<string, string> } {
  const changes: Record<string, unknown> = {};
  const wrong: Record<string, string> = {};
  for (const { key, kind } of fields) {
    const text = typed[key];
    if (text === undefined || text === toText(kind, gateway[key])) continue;
    const value = toValue(kind, text);
    if (value instanceof Error) wrong[key] = value.message;
    else if (JSON.stringify(value) !== JSON.stringify(gateway[key] ?? null)) changes[key] = value;
  }
  return { changes, wrong };
}

/** Fields that another person has changed since the form was opened, among those that are to be stored. */
export function conflicts(opened: Record<string, unknown>, now: Record<string, unknown>, changes: Record<string, unknown>): string[] {
  return Object.keys(changes).filter((key) => JSON.stringify(opened[key] ?? null) !== JSON.stringify(now[key] ?? null));
}
