// Helicone's exports of requests. docs/import.md has the mapping.
import { body, between, failed, idOf, json, log, metadata, number, object, providerOf, text, timeOf, whole } from "./fields.mjs";

export function logsOf(row, { provider }) {
  const properties = { ...object(row.properties), ...object(row.request_properties) };
  // A CSV has a column for each property.
  for (const [name, value] of Object.entries(row)) if (/^(helicone-)?property[-_:. ]/i.test(name)) properties[name.replace(/^(helicone-)?property[-_:. ]/i, "")] = value;
  const { "Helicone-Session-Id": session, ...others } = properties;
  const [start, end] = [row.request_created_at ?? row.created_at ?? row.createdAt, row.response_created_at];
  const model = text(row.response_model, row.request_model, row.model_override, row.model);
  const status = whole(row.response_status, row.status);
  const isStatus = status >= 100 && status < 600;
  const error = isStatus && status >= 400 ? text(object(object(row.response_body).error).message) : undefined;
  const rating = json(row.feedback_rating ?? row.rating);
  return [
    log({
      id: idOf(row.request_id ?? row.id),
      created_at: timeOf(start),
      provider: providerOf(row.provider, model, provider),
      model,
      path: path(text(row.request_path, row.target_url)),
      duration: whole(row.delay_ms, row.latency) ?? between(start, end),
      timings: log({ latency: whole(row.time_to_first_token) }),
      // Helicone has -1, -3 and -4 for calls that were never answered.
      status_code: isStatus ? status : undefined,
      success: isStatus ? !failed(status, error) : row.response_status === undefined && row.status === undefined,
      error,
      tokens_in: whole(row.prompt_tokens),
      tokens_out: whole(row.completion_tokens),
      usage_metadata: log({ total_tokens: whole(row.total_tokens), input_cached_tokens: whole(row.prompt_cache_read_tokens), input_cache_write_tokens: whole(row.prompt_cache_write_tokens) }),
      cost: cost(row.costUSD, row.cost_usd, row.cost),
      cached: row.cache_enabled === true || row.cache_hit === true || row.cache_reference_id !== undefined && !/^(0{8}-|$)/.test(row.cache_reference_id ?? "") || undefined,
      metadata: metadata(others, { user: text(row.request_user_id, row.user_id), prompt: text(row.prompt_id, row.request_prompt) }),
      session_id: text(session)?.slice(0, 200),
      feedback: rating === true ? 1 : rating === false ? -1 : undefined,
      feedback_data: scores(object(row.scores)),
      request: body(row.request_body ?? row.request),
      response: body(row.response_body ?? row.response),
    }),
  ];
}

function cost(...values) {
  const found = number(...values);
  return found > 0 ? found : undefined;
}

function scores(all) {
  return Object.keys(all).length > 0 ? Object.fromEntries(Object.entries(all).slice(0, 100)) : undefined;
}

/** The path alone: a query may have keys. */
function path(address) {
  return address?.replace(/^https?:\/\/[^/]+\/?/, "").replace(/[?#].*$/, "").replace(/^\//, "").slice(0, 2_000);
}
