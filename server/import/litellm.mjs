// LiteLLM's spend logs: the table LiteLLM_SpendLogs, or /spend/logs. docs/import.md has the mapping.
import { between, body, idOf, json, log, metadata, number, object, providerOf, text, timeOf, whole } from "./fields.mjs";

const TYPES = [[/embedding/, "embeddings"], [/image/, "image"], [/transcription|speech/, "audio"], [/rerank/, "rerank"], [/moderation/, "moderation"], [/text_completion/, "completion"], [/completion|responses|messages|generate/, "chat"]];

export function logsOf(row, { provider }) {
  const given = object(row.metadata);
  const usage = object(given.usage_object);
  const cached = object(usage.prompt_tokens_details);
  const model = text(row.model, row.model_group);
  const bare = model?.replace(/^[a-z0-9_]+\/(?=.)/, "");
  const isFailure = text(row.status, given.status) === "failure";
  const failure = object(given.error_information);
  const code = whole(failure.error_code);
  const isHit = /^true$/i.test(String(row.cache_hit ?? ""));
  const tags = json(row.request_tags);
  return [
    log({
      id: idOf(row.request_id),
      created_at: timeOf(row.startTime ?? row.start_time),
      provider: providerOf(row.custom_llm_provider, model, provider),
      model: bare,
      model_type: TYPES.find(([pattern]) => pattern.test(String(row.call_type ?? "")))?.[1],
      duration: whole(row.request_duration_ms) ?? between(row.startTime ?? row.start_time, row.endTime ?? row.end_time),
      timings: log({ latency: between(row.startTime, row.completionStartTime) }),
      success: !isFailure,
      status_code: isFailure ? (code >= 400 && code < 600 ? code : 500) : 200,
      error: isFailure ? text(failure.error_message, given.error) ?? "LiteLLM says that it failed" : undefined,
      cached: isHit || undefined,
      tokens_in: whole(row.prompt_tokens),
      tokens_out: whole(row.completion_tokens),
      usage_metadata: log({ total_tokens: whole(row.total_tokens), input_cached_tokens: whole(cached.cached_tokens, usage.cache_read_input_tokens), input_cache_write_tokens: whole(usage.cache_creation_input_tokens) }),
      // What failed was not paid for, and 0 stands where LiteLLM knew no price as well.
      cost: number(row.spend) > 0 || isFailure || isHit ? number(row.spend) : undefined,
      // Neither the key's hash nor the caller's address is taken.
      metadata: metadata({
        user: text(row.user), end_user: text(row.end_user), team: text(row.team_id, given.user_api_key_team_alias), key_alias: text(given.user_api_key_alias), model_group: text(row.model_group),
        tags: Array.isArray(tags) && tags.length > 0 ? tags.join(",") : undefined,
      }),
      session_id: text(row.session_id)?.slice(0, 200),
      request: body(row.proxy_server_request) ?? messages(row.messages, model),
      response: body(row.response),
    }),
  ];
}

/** What was asked, as the body that it was in. */
function messages(value, model) {
  const found = body(value);
  return Array.isArray(found) ? { model, messages: found } : found;
}
