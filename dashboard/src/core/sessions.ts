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
