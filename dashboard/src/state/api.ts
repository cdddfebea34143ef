// Requests to Tollgate, and what is said where one of them fails.
import { signal } from "@preact/signals";
import { place } from "./router.ts";

const PATIENCE_MS = 15_000;

export interface FieldError {
  message: string;
  path: string[];
}

export class ApiError extends Error {
  readonly status: number;
  readonly details: FieldError[];
  readonly retryAfter: number | null;

  constructor(status: number, details: FieldError[], retryAfter: number | null = null) {
    super(details.map(({ message }) => message).join("; ") || `status ${status}`);
    this.status = status;
    this.details = details;
    this.retryAfter = retryAfter;
  }
}

/** No answer came: the status is that of no answer, and the reason is one of these. */
export class NoAnswer extends Error {
  readonly reason: "offline" | "timeout";

  constructor(reason: "offline" | "timeout") {
    super(reason);
    this.reason = reason;
  }
}

/** Whether the session has ended. The page stays as it is below the sign-in, so that nothing typed is lost. */
export const expired = signal(false);
/** Counts the sign-ins, so that what failed for want of one is asked for again. */
export const signIns = signal(0);

export interface ListInfo {
  count: number;
  page?: number;
  per_page: number;
  total_count?: number;
  total_count_relation?: "eq" | "gte";
  cursor?: string | null;
}

export interface Answer<T> {
  result: T;
  result_info?: ListInfo;
}

export interface Options {
  method?: string;
  json?: unknown;
  signal?: AbortSignal;
  patience?: number;
  /** The version of what is changed, as its `modified_at` has it: a change of another version is refused with 412. */
  version?: string;
}

export async function send(path: string, { method, json, signal, patience = PATIENCE_MS, version }: Options = {}): Promise<Response> {
  const late = AbortSignal.timeout(patience);
  const headers = { ...(json !== undefined && { "content-type": "application/json" }), ...(version !== undefined && { "if-match": `"${version}"` }) };
  const body = json === undefined ? {} : { body: JSON.stringify(json) };
  let answer: Response;
  try {
    answer = await fetch(path, {
      method: method ?? (json === undefined ? "GET" : "POST"),
      credentials: "same-origin",
      signal: signal ? AbortSignal.any([signal, late]) : late,
      headers,
      ...body,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new NoAnswer(late.aborted ? "timeout" : "offline");
  }
  if (answer.ok) return answer;
  if (answer.status === 401 && path !== "/dashboard/session") expired.value = true;
  throw await refusalOf(answer);
}

async function refusalOf(answer: Response): Promise<ApiError> {
  const text = await answer.text().catch(() => "");
  let details: FieldError[] = [];
  try {
    const errors = (JSON.parse(text) as { errors?: { message?: unknown; path?: unknown }[] }).errors ?? [];
    details = errors.map(({ message, path }) => ({ message: String(message ?? ""), path: Array.isArray(path) ? path.map(String) : [] }));
  } catch {
    // Something in front of Tollgate answered, with a page of its own.
    details = text.trim() !== "" && text.length < 300 && !text.includes("<") ? [{ message: text.trim(), path: [] }] : [];
  }
  const after = Number(answer.headers.get("retry-after"));
  return new ApiError(answer.status, details, Number.isFinite(after) && after > 0 ? after : null);
}

export async function api<T>(path: string, options?: Options): Promise<Answer<T>> {
  const answer = await send(path, options);
  if (answer.status === 204) return { result: null as T };
  return (await answer.json()) as Answer<T>;
}

export async function result<T>(path: string, options?: Options): Promise<T> {
  return (await api<T>(path, options)).result;
}

export function accountPath(path = ""): string {
  return `/accounts/${encodeURIComponent(place.value.account ?? "")}/ai-gateway${path}`;
}

export function gatewayPath(path = ""): string {
  return accountPath(`/gateways/${encodeURIComponent(place.value.gateway ?? "")}${path}`);
}

/** A query out of what is set. */
export function queryOf(values: Record<string, string | number | boolean | null | undefined | string[]>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value ?? []].flat()) if (one !== "") query.append(name, String(one));
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
