// What the API answers with, as far as the dashboard reads it.
import type { ApiFilter } from "../core/filters.ts";

/** What was found that must not leave; never what it says. */
export interface DlpReport {
  action?: string;
  checks?: string[];
  policy_ids?: string[];
  profile_ids?: string[];
  entry_ids?: string[];
  found?: { check: string; entry: string; path: string; offset: number }[];
  unscanned?: { check: string; reason: string }[];
}

export interface Log {
  id: string;
  created_at: string;
  provider: string;
  model: string;
  model_type: string;
  path: string;
  request_type: string;
  request_content_type: string;
  response_content_type: string;
  status_code: number | null;
  success: boolean;
  cached: boolean;
  duration: number;
  tokens_in: number | null;
  tokens_out: number | null;
  cost: number | null;
  custom_cost: boolean;
  metadata: Record<string, string | number | boolean> | null;
  step: number;
  attempt: number;
  answered: boolean;
  event_id: string;
  session_id?: string | null;
  usage_metadata: Record<string, number | string | boolean | null>;
  timings: { total: number; latency: number | null };
  user_agent: string | null;
  feedback: -1 | 0 | 1 | null;
  score: number | null;
  feedback_data: Record<string, unknown>;
  error: string | null;
  finish_reason: string | null;
  response_id: string | null;
  provider_request_id: string | null;
  evaluation_id: string | null;
  saved_cost: number | null;
  credential: string | null;
  credential_alias: string | null;
  price_rule: string | null;
  cost_unknown: string | null;
  usage_unread: string | null;
  input_preview?: string | null;
  output_preview?: string | null;
  request_size?: number | null;
  response_size?: number | null;
  request_head_complete?: boolean;
  response_head_complete?: boolean;
  /** The way through a dynamic route, as far as this attempt. */
  route?: unknown;
  route_id?: string | null;
  dlp_action?: string | null;
  dlp?: DlpReport | null;
  guardrails?: unknown;
  cost_breakdown?: { kind: string; quantity: number; rate: number; cost: number }[] | null;
}

export interface Times {
  count: number;
  avg: number | null;
  p50: number | null;
  p90: number | null;
  p95?: number | null;
  p99: number | null;
}

export interface Figures {
  requests: number;
  attempts: number;
  errors: number;
  errors_by_layer: Record<"client" | "gateway" | "limit" | "upstream" | "provider_4xx" | "provider_5xx", number>;
  cached: number;
  tokens_in: number;
  tokens_out: number;
  tokens_cached: number;
  tokens_cache_write: number;
  tokens_reasoning: number;
  cost: number;
  unpriced: number;
  saved_cost: number;
  duration: Times;
  first_byte: Times;
}

export type Bucket = Figures & { time: string; provider?: string; model?: string | null; value?: string | number | boolean | null };

export interface Analytics {
  start: string;
  end: string;
  granularity: "minute" | "hour" | "day";
  buckets: Bucket[];
  totals: Figures;
  groups?: (Figures & { provider?: string; model?: string | null; value?: string | number | boolean | null })[] | null;
  previous?: { start: string; end: string; totals: Figures } | null;
  /** How many logs were looked at for groups by metadata, and whether these are all. */
  examined?: number;
  complete?: boolean;
}

export interface Gateway {
  id: string;
  created_at: string;
  modified_at: string;
  [setting: string]: unknown;
}

export interface Dataset {
  id: string;
  name: string;
  enable: boolean;
  filters: ApiFilter[];
  created_at: string;
  modified_at: string;
}

export interface EvaluationResult {
  id: string;
  evaluation_type_id: string;
  status: 0 | 1 | 2 | 3;
  status_description: string;
  result: string;
  total_logs: number;
  unit: string | null;
  confidence_interval: [number, number] | null;
  groups: { group: string; result: string; total_logs: number; confidence_interval: [number, number] | null }[];
  skipped?: number;
  failed?: number;
  cost?: number | null;
}

export interface Evaluation {
  id: string;
  name: string;
  processed: boolean;
  total_logs: number;
  datasets: Dataset[];
  results: EvaluationResult[];
  group_by: string | null;
  rows_read: number;
  created_at: string;
  modified_at: string;
}

export interface Verdict {
  evaluation_type_id: string;
  log_id: string;
  verdict: number | null;
  reason: string | null;
  cost: number | null;
  judge_log_id: string | null;
  created_at: string;
}

export interface Session {
  id: string;
  first_at: string;
  last_at: string;
  turns: number;
  models: string[];
  tokens_in: number | null;
  tokens_out: number | null;
  cached_tokens: number | null;
  cost: number | null;
  errors: number;
  caller?: string;
  /** Turns whose cost is not known. */
  unpriced?: number;
}

export interface SessionLog {
  id: string;
  created_at: string;
  model: string | null;
  provider: string;
  status: number | null;
  success?: boolean;
  tokens_in: number | null;
  tokens_out: number | null;
  cached_tokens: number | null;
  cost: number | null;
  duration?: number;
  messages: number | null;
  shared_prefix: number | null;
  diverges_at: number | null;
  input_preview?: string | null;
  output_preview?: string | null;
}

export interface Attempt {
  step: number;
  attempt: number;
  provider: string;
  model: string | null;
  status: number | null;
  started_at: string;
  duration: number;
  ttfb: number | null;
  error: string | null;
  log_id: string;
}

export interface Facets {
  examined: number;
  fields: Record<string, { value: string | number | boolean | null; count: number }[]>;
}

export interface Counter {
  partition: Record<string, string>;
  count?: number;
  spent?: number;
  reserved?: number;
  remaining: number;
  resets_at: string;
}

export interface Limits {
  rate: { id: string; key: string; limit: number; interval: number; technique: string; counters: Counter[]; more_counters: boolean }[];
  spend: { id: string; enabled: boolean; limit: number; window: number; technique: string; reserve: boolean; counters: Counter[]; more_counters: boolean }[];
  circuits: Circuit[];
}

export interface Circuit {
  provider: string;
  origin: string;
  state: "open" | "trial" | "closed";
  failures: number;
  limit: number;
  tried_at: string | null;
}

export interface Token {
  id: string;
  name: string;
  gateways: string[] | null;
  permissions: string[];
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
  value?: string;
}

export interface ProviderConfig {
  id: string;
  provider_slug: string;
  alias: string;
  default_config: boolean;
  weight: number;
  secret_preview: string;
  has_secret: boolean;
  secret_id: string;
  created_at: string;
  modified_at: string;
}

export interface Audit {
  id: string;
  at: string;
  actor: string;
  action: string;
  gateway_id: string | null;
  target: string;
  fields: string[];
}

export interface View {
  id?: string;
  name: string;
  query: string;
}
