// Which columns the list of logs has, and what the address and the browser remember of that.

export interface ColumnInfo {
  id: string;
  label: string;
  width: number;
  /** Takes what is left. */
  grows?: boolean;
  align?: "right";
}

export const COLUMNS: ColumnInfo[] = [
  { id: "status", label: "Status", width: 62 },
  { id: "time", label: "Time", width: 124 },
  { id: "model", label: "Model", width: 140 },
  { id: "provider", label: "Provider", width: 80 },
  { id: "input", label: "Input", width: 92, grows: true },
  { id: "output", label: "Answer", width: 92, grows: true },
  { id: "tokens", label: "Tokens", width: 88, align: "right" },
  { id: "cost", label: "Cost", width: 104, align: "right" },
  { id: "duration", label: "Duration", width: 72, align: "right" },
  { id: "ttft", label: "First byte", width: 72, align: "right" },
  { id: "cache", label: "Cache", width: 52 },
  { id: "feedback", label: "Thumb", width: 60 },
  { id: "metadata", label: "Metadata", width: 118 },
  { id: "session", label: "Session", width: 120 },
  { id: "id", label: "Log id", width: 220 },
  { id: "event", label: "Event id", width: 160 },
  { id: "attempt", label: "Step / attempt", width: 100, align: "right" },
  { id: "finish", label: "Finish reason", width: 110 },
  { id: "key", label: "Key", width: 110 },
  { id: "path", label: "Path", width: 180 },
  { id: "agent", label: "User agent", width: 180 },
  { id: "score", label: "Score", width: 64, align: "right" },
  { id: "cached_tokens", label: "Cached tokens", width: 104, align: "right" },
  { id: "evaluation", label: "Evaluation", width: 120 },
  { id: "error", label: "Error", width: 240 },
];

export const DEFAULT_COLUMNS = ["status", "time", "model", "provider", "input", "output", "tokens", "cost", "duration", "ttft", "feedback", "metadata"];

const KNOWN = new Map(COLUMNS.map((column) => [column.id, column]));

/** What is shown while a log is open beside the list. */
export const NARROW_COLUMNS = ["status", "time", "model", "input", "cost"];

/** How wide a table has to be for its columns; narrower ones are scrolled. */
export function leastWidth(columns: ColumnInfo[], widths: Record<string, number>): number {
  return columns.reduce((sum, { id, width }) => sum + (widths[id] ?? width), 0);
}

/** The columns that a text names, in its order; null where it names none that exist. */
export function readColumns(text: string | null): string[] | null {
  const named = [...new Set((text ?? "").split(","))].filter((id) => KNOWN.has(id));
  return named.length > 0 ? named : null;
}

export function columnsOf(ids: string[]): ColumnInfo[] {
  return ids.map((id) => KNOWN.get(id)).filter((column): column is ColumnInfo => column !== undefined);
}

/** Moves one column a place to the left or right. */
export function moved(ids: string[], id: string, by: -1 | 1): string[] {
  const at = ids.indexOf(id);
  const to = at + by;
  const other = ids[to];
  if (at < 0 || other === undefined) return ids;
  const next = [...ids];
  next[at] = other;
  next[to] = id;
  return next;
}

export function isDefault(ids: string[]): boolean {
  return ids.join() === DEFAULT_COLUMNS.join();
}
