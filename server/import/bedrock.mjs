// Results of Bedrock's batches: the files *.jsonl.out of a model invocation job. docs/import.md has the mapping.
import { Unusable, body, idOf, log, metadata, object, text, whole } from "./fields.mjs";

export function logsOf(row, { job, model }) {
  const record = text(row.recordId);
  if (!record) throw new Unusable("the row has no recordId");
  const [asked, said] = [object(row.modelInput), object(row.modelOutput)];
  const failure = row.error === undefined || row.error === null ? undefined : object(row.error);
  if (!failure && Object.keys(said).length === 0) throw new Unusable("the row has neither modelOutput nor error");
  const code = whole(failure?.errorCode);
  const usage = object(said.usage);
  const [first] = Array.isArray(said.results) ? said.results : [];
  return [
    log({
      // Each job numbers its records anew.
      id: idOf(`${job}:${record}`),
      event_id: record.slice(0, 256),
      provider: "aws-bedrock",
      model,
      model_type: asked.messages || asked.prompt ? "chat" : said.embedding ? "embeddings" : undefined,
      path: "bedrock/model-invocation-job",
      success: !failure,
      status_code: failure ? (code >= 400 && code < 600 ? code : 500) : 200,
      error: failure ? text(failure.errorMessage) ?? "Bedrock says that it failed" : undefined,
      // Of Claude and Converse; of Llama; of Titan.
      tokens_in: whole(usage.input_tokens, usage.inputTokens, said.prompt_token_count, said.inputTextTokenCount),
      tokens_out: whole(usage.output_tokens, usage.outputTokens, said.generation_token_count, first?.tokenCount),
      usage_metadata: log({
        service_tier: "batch",
        input_cached_tokens: whole(usage.cache_read_input_tokens, usage.cacheReadInputTokens, usage.cacheReadInputTokenCount),
        input_cache_write_tokens: whole(usage.cache_creation_input_tokens, usage.cacheWriteInputTokens, usage.cacheWriteInputTokenCount),
      }),
      metadata: metadata({ job }),
      request: body(asked),
      response: body(said),
    }),
  ];
}
