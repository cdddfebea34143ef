// Time ranges: relative ones stay relative in the address, so that a link to "the last day" goes on meaning that.
import { now as serverNow } from "./clock.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export interface Range {
  /** Milliseconds; null for no bound. */
  from: number | null;
  to: number | null;
  /** Such as `24h`, where the range is relative. */
  since: string | null;
}

export const RANGES: { since: string; label: string }[] = [
  { since: "15m", label: "15 minutes" },
  { since: "1h", label: "1 hour" },
  { since: "6h", label: "6 hours" },
  { since: "24h", label: "24 hours" },
  { since: "7d", label: "7 days" },
  { since: "30d", label: "30 days" },
];

const UNITS: Record<string, number> = { m: MINUTE, h: HOUR, d: DAY };

/** The length of `24h`; null for what is not a length. */
export function lengthOf(since: string): number | null {
  const [, count, unit] = /^(\d{1,4})([mhd])$/.exec(since) ?? [];
  const length = UNITS[unit ?? ""];
  return count && length ? Number(count) * length : null;
}

/** Reads the range of an address. What cannot be read is as if it were not there. */
export function readRange(query: URLSearchParams, fallback: string | null, now = serverNow()): Range {
  const from = readTime(query.get("from"));
  const to = readTime(query.get("to"));
  if (from !== null || to !== null) return { from, to, since: null };
  const since = query.get("since");
  if (since === "all") return { from: null, to: null, since: "all" };
  const chosen = since !== null && lengthOf(since) !== null ? since : fallback;
  const length = chosen === null ? null : lengthOf(chosen);
  return { from: length === null ? null : now - length, to: null, since: chosen };
}

function readTime(text: string | null): number | null {
  if (!text) return null;
  const time = /^\d{10,14}$/.test(text) ? Number(text) : Date.parse(text);
  return Number.isFinite(time) ? time : null;
}

/** How wide the buckets of a chart are: enough to see a shape, and few enough to be drawn. */
export function granularityOf(from: number, to: number, now = serverNow()): "minute" | "hour" | "day" {
  const length = to - from;
  // By the minute the API looks back two days, by the hour 62.
  if (length <= 6 * HOUR && now - from < 2 * DAY - HOUR) return "minute";
  return length <= 8 * DAY && now - from < 62 * DAY - DAY ? "hour" : "day";
}

export const STEPS = { minute: MINUTE, hour: HOUR, day: DAY };

/** The bounds that an API asks for, as an ISO text each. */
export function bounds({ from, to }: Range): { start?: string; end?: string } {
  return { ...(from !== null && { start: new Date(from).toISOString() }), ...(to !== null && { end: new Date(to).toISOString() }) };
}

export function rangeLabel({ from, to, since }: Range, format: (time: number) => string): string {
  if (since === "all") return "All time";
  if (since !== null) return `Last ${RANGES.find((range) => range.since === since)?.label ?? since}`;
  if (from === null && to === null) return "All time";
  return `${from === null ? "…" : format(from)} to ${to === null ? "now" : format(to)}`;
}

/** Starts of all buckets of a range, so that times without requests are drawn as such. */
export function bucketStarts(from: number, to: number, step: number): number[] {
  const starts = [];
  for (let at = Math.floor(from / step) * step; at < to; at += step) starts.push(at);
  return starts;
}
