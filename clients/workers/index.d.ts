/** Metadata that is stored with a log. */
export type Metadata = Record<string, number | string | boolean | null | bigint>;

export interface GatewayRetries {
  maxAttempts?: 1 | 2 | 3 | 4 | 5;
  retryDelayMs?: number;
  backoff?: "constant" | "linear" | "exponential";
}

export interface GatewayOptions {
  /** The gateway; the client's own when it is not given. */
  id?: string;
  metadata?: Metadata;
  cacheKey?: string;
  cacheTtl?: number;
  skipCache?: boolean;
  collectLog?: boolean;
  eventId?: string;
  requestTimeoutMs?: number;
  retries?: GatewayRetries;
}

export interface RunOptions {
  gateway?: GatewayOptions;
  /** Answers with the whole response, whatever its status, and does not throw. */
  returnRawResponse?: boolean;
  extraHeaders?: object;
  signal?: AbortSignal;
}

export interface UniversalRequest {
  provider: string;
  /** The path after the provider. */
  endpoint: string;
  headers?: Record<string, string | number | boolean | object>;
  query: unknown;
}

export interface PatchLog {
  score?: number | null;
  feedback?: -1 | 1 | null;
  metadata?: Metadata | null;
}

export interface Log {
  id: string;
  provider: string;
  model: string;
  model_type?: string;
  path: string;
  duration: number;
  request_type?: string;
  request_content_type?: string;
  status_code: number;
  response_content_type?: string;
  success: boolean;
  cached: boolean;
  tokens_in?: number;
  tokens_out?: number;
  metadata?: Metadata;
  step?: number;
  cost?: number;
  custom_cost?: boolean;
  request_size: number;
  request_head?: string;
  request_head_complete: boolean;
  response_size: number;
  response_head?: string;
  response_head_complete: boolean;
  created_at: Date;
}

/** Thrown errors are told apart by their `name`: `AiGatewayLogNotFound` or `AiGatewayInternalError`. */
export interface AiGateway {
  run(data: UniversalRequest | UniversalRequest[], options?: Omit<RunOptions, "returnRawResponse">): Promise<Response>;
  getLog(logId: string): Promise<Log>;
  patchLog(logId: string, data: PatchLog): Promise<void>;
  /** Keeps what an end user said of an answer: any JSON object. */
  feedback(logId: string, data: Record<string, unknown>): Promise<unknown>;
  getUrl(provider?: string): Promise<string>;
}

export interface TollgateOptions {
  /** The account in Tollgate's URLs: `/v1/{account}/{gateway}/…`. */
  account: string;
  /** The gateway of calls that name none; `default` when left out. */
  gateway?: string;
  /** Keys of the providers, by their slugs. */
  keys?: Record<string, string | undefined>;
  /** What `getUrl` begins with, such as `https://tollgate.example.com`; else Tollgate's variable `PUBLIC_URL`. */
  origin?: string;
}

export declare class Tollgate {
  constructor(service: unknown, options: TollgateOptions);
  /** The log of the last `run` that was answered; `null` when it left none. Concurrent calls overwrite each other's. */
  aiGatewayLogId: string | null;
  gateway(id: string): AiGateway;
  run(model: string, inputs: object, options: RunOptions & { returnRawResponse: true }): Promise<Response>;
  run(model: string, inputs: object & { stream: true }, options?: RunOptions): Promise<ReadableStream>;
  // The shape of an answer is the model's.
  run(model: string, inputs: object, options?: RunOptions): Promise<any>;
}
