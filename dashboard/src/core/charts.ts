// Figures over time as series for a chart.
import type { Bucket, Figures } from "../state/types.ts";

export interface Series {
  name: string;
  values: number[];
  total: number;
  /** What a click on it filters for; null for the rest of all. */
  group: string | null;
}

/** More groups than these are one. */
const GROUPS = 6;
export const REST = "others";

export type GroupBy = "model" | "provider" | `metadata.${string}`;

export function groupOf(row: { provider?: string; model?: string | null; value?: unknown }, by: string): string {
  const value = by === "model" ? row.model : by === "provider" ? row.provider : row.value;
  return value === null || value === undefined || value === "" ? "(none)" : String(value);
}

/** A series for each of the largest groups, and one for the rest. Times without a row are zero. */
export function series(buckets: Bucket[], starts: number[], by: string | null, value: (figures: Figures) => number): Series[] {
  const at = new Map(starts.map((start, index) => [start, index]));
  const groups = new Map<string, number[]>();
  for (const bucket of buckets) {
    const index = at.get(Date.parse(bucket.time));
    if (index === undefined) continue;
    const name = by === null ? "all" : groupOf(bucket, by);
    const values = groups.get(name) ?? new Array<number>(starts.length).fill(0);
    values[index] = (values[index] ?? 0) + value(bucket);
    groups.set(name, values);
  }
  const all = [...groups].map(([name, values]) => ({ name, values, total: sum(values), group: name as string | null }));
  all.sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1));
  const rest = all.splice(all.length > GROUPS + 1 ? GROUPS : all.length);
  if (rest.length > 0) {
    const values = starts.map((_, index) => sum(rest.map((other) => other.values[index] ?? 0)));
    all.push({ name: `${rest.length} ${REST}`, values, total: sum(values), group: null });
  }
  return all.filter(({ total }) => total > 0);
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** A value for each time, where groups cannot be added up, such as percentiles. Times without any are gaps. */
export function line(buckets: Bucket[], starts: number[], value: (figures: Figures) => number | null): (number | null)[] {
  const found = new Map(buckets.map((bucket) => [Date.parse(bucket.time), value(bucket)]));
  return starts.map((start) => found.get(start) ?? null);
}

/** Each series on top of the ones before: the heights at which its bars end. */
export function stacked(all: Series[]): number[][] {
  const heights: number[][] = [];
  for (const { values } of all) {
    const below = heights.at(-1);
    heights.push(values.map((value, index) => value + (below?.[index] ?? 0)));
  }
  return heights;
}

export interface GroupRow {
  name: string;
  requests: number;
  errors: number;
  cost: number;
  unpriced: number;
  tokens: number;
  p50: number | null;
}

/** The groups of a range, the largest first. */
export function groupRows(buckets: Bucket[], groups: (Figures & { provider?: string; model?: string | null; value?: unknown })[] | null | undefined, by: string): GroupRow[] {
  const rows = new Map<string, GroupRow>();
  for (const figures of groups ?? buckets) {
    const name = groupOf(figures, by);
    const row = rows.get(name) ?? { name, requests: 0, errors: 0, cost: 0, unpriced: 0, tokens: 0, p50: null };
    row.requests += figures.requests;
    row.errors += figures.errors;
    row.cost += figures.cost;
    row.unpriced += figures.unpriced;
    row.tokens += figures.tokens_in + figures.tokens_out;
    // Percentiles of buckets do not add up to one of the range.
    if (groups) row.p50 = figures.duration.p50;
    rows.set(name, row);
  }
  return [...rows.values()].sort((a, b) => b.requests - a.requests);
}
