// Langfuse's exports: observations, or traces with theirs. docs/import.md has the mapping.
import { Unusable, between, body, idOf, json, log, metadata, number, object, providerOf, text, timeOf, whole } from "./fields.mjs";

const TYPES = { GENERATION: "chat", EMBEDDING: "embeddings" };

/** The logs of a row: one for each generation. */
export function logsOf(row, { provider }) {
  const observations = json(row.observations);
  const isOfObjects = Array.isArray(observations) && observations.some((one) => one && typeof one === "object");
  if (isOfObjects) {
    const calls = observations.filter((one) => TYPES[String(one?.type ?? "").toUpperCase()]);
    if (calls.length === 0) throw new Unusable("the trace has no generation");
    return calls.map((one) => logOf(one, row, provider));
  }
  const type = String(row.type ?? "").toUpperCase();
  if (type && !TYPES[type]) throw new Unusable(`the observation is a ${type}, which calls no model`);
  if (!type && !text(row.model, row.providedModelName, row.model_id)) throw new Unusable("the row is a trace without its observations: export observations, or traces with them");
  return [logOf(row, null, provider)];
}

function logOf(row, trace, usual) {
  const of = (camel) => row[camel] ?? row[camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)];
  const given = object(row.metadata);
  const model = text(row.model, of("providedModelName"), of("internalModel"));
  const usage = object(of("usageDetails"));
  const older = object(row.usage);
  const costs = object(of("costDetails"));
  const [start, end] = [of("startTime") ?? row.timestamp, of("endTime")];
  const isError = String(row.level ?? "").toUpperCase() === "ERROR";
  const cached = whole(usage.input_cached_tokens, usage.cache_read_input_tokens, usage.input_cache_read);
  const scores = json(row.scores) ?? json(trace?.scores);
  return log({
    id: idOf(row.id),
    created_at: timeOf(start),
    provider: providerOf(text(given.ls_provider, given.provider, object(given.attributes)["gen_ai.system"]), model, usual),
    model,
    model_type: TYPES[String(row.type ?? "").toUpperCase()],
    duration: between(start, end) ?? seconds(row.latency),
    timings: log({ latency: between(start, of("completionStartTime")) ?? seconds(of("timeToFirstToken")) }),
    success: !isError,
    status_code: isError ? 500 : 200,
    error: isError ? text(of("statusMessage")) ?? "Langfuse says that it failed" : undefined,
    tokens_in: whole(usage.input, older.input, older.promptTokens, of("promptTokens"), row.inputUsage, row.input_tokens),
    tokens_out: whole(usage.output, older.output, older.completionTokens, of("completionTokens"), row.outputUsage, row.output_tokens),
    usage_metadata: log({ total_tokens: whole(usage.total, older.total, of("totalTokens")), input_cached_tokens: cached }),
    cost: cost(costs.total, of("totalCost"), of("calculatedTotalCost"), older.totalCost),
    metadata: metadata(given.attributes ? {} : given, { name: text(row.name), environment: text(row.environment), user: text(of("userId"), trace?.userId), version: text(row.version), tags: tags(row.tags ?? trace?.tags) }),
    session_id: text(of("sessionId"), trace?.sessionId)?.slice(0, 200),
    event_id: text(of("traceId"), trace?.id)?.slice(0, 256),
    feedback_data: Array.isArray(scores) ? feedback(scores) : undefined,
    request: body(row.input),
    response: body(row.output),
  });
}

/** Langfuse writes 0 where it knows no cost; then Tollgate's prices hold. */
function cost(...values) {
  const found = number(...values);
  return found > 0 ? found : undefined;
}

/** Langfuse has seconds. */
function seconds(value) {
  const found = number(value);
  return found === undefined ? undefined : Math.round(found * 1_000);
}

function tags(value) {
  const all = json(value);
  return Array.isArray(all) && all.length > 0 ? all.join(",") : undefined;
}

function feedback(scores) {
  const pairs = scores.filter((one) => one?.name && (one.value ?? one.stringValue) !== undefined).map((one) => [String(one.name).slice(0, 200), one.stringValue ?? one.value]);
  return pairs.length > 0 ? Object.fromEntries(pairs.slice(0, 100)) : undefined;
}
