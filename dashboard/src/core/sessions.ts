// What a session has cost so far, turn by turn.

/** Null from the first turn on whose cost is not known, because a sum would then be too small; what used nothing costs nothing. */
export function runningCost<T extends { cost: number | null; tokens_in: number | null; tokens_out: number | null }>(logs: T[]): { log: T; sum: number | null }[] {
  let sum: number | null = 0;
  return logs.map((log) => {
    const used = log.tokens_in !== null || log.tokens_out !== null;
    if (log.cost === null && used) sum = null;
    else if (sum !== null) sum += log.cost ?? 0;
    return { log, sum };
  });
}

/**
 * What share of a prompt came from the provider's cache. Anthropic and Bedrock count cached tokens beside the input, others within it.
 * A session names its models only; there the models of Anthropic say so, and more cached tokens than input.
 */
export function cachedShare({ tokens_in, cached_tokens, provider, models = [] }: { tokens_in: number | null; cached_tokens: number | null; provider?: string; models?: string[] }): number | null {
  if (tokens_in === null) return null;
  const cached = cached_tokens ?? 0;
  const isBeside = cached > tokens_in || (provider ? /^(anthropic|aws-bedrock)$/.test(provider) : models.some((model) => model.includes("claude")));
  const whole = isBeside ? tokens_in + cached : tokens_in;
  return whole > 0 ? cached / whole : null;
}
