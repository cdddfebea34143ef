// What a cost is made of.

export interface Line {
  kind: string;
  quantity: number | null;
  /** US dollars for one; null where it is not known. */
  rate: number | null;
  cost: number | null;
}

/** The lines of a cost. The server says them; without them nothing is guessed. */
export function breakdownOf(log: { cost_breakdown?: unknown }): Line[] {
  if (!Array.isArray(log.cost_breakdown)) return [];
  const number = (value: unknown) => (typeof value === "number" ? value : null);
  return log.cost_breakdown.flatMap((line: Record<string, unknown> | null) =>
    line && typeof line.kind === "string" ? [{ kind: line.kind.replaceAll("_", " "), quantity: number(line.quantity), rate: number(line.rate), cost: number(line.cost) }] : [],
  );
}
