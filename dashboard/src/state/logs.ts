// The list of logs that an address means, and changes to logs that the list shows before the server has confirmed them.
import { signal } from "@preact/signals";
import { decode, toApi, type ApiFilter, type Filter } from "../core/filters.ts";
import { readRange, type Range } from "../core/range.ts";
import { api, gatewayPath, queryOf, type Answer } from "./api.ts";
import { toast } from "./toasts.ts";
import { explain } from "../core/words.ts";
import type { Log } from "./types.ts";

export const PER_PAGE = 50;
/** A search without an index looks through so many logs before it shows what it has. */
export const EXAMINE = 100_000;

export interface Wanted {
  filters: Filter[];
  search: string;
  range: Range;
  /** The log behind which the page begins, in the order of time from new to old. */
  after: string | null;
  /** The log before which the page ends. */
  before: string | null;
}

export function wantedOf(query: URLSearchParams, fallbackRange: string | null = null): Wanted {
  return {
    filters: query.getAll("f").map(decode).filter((filter) => filter !== null),
    search: query.get("search") ?? "",
    range: readRange(query, fallbackRange),
    after: query.get("after"),
    before: query.get("before"),
  };
}

/** The filters as the API takes them, with the time range among them. */
export function apiFilters({ filters, range }: Pick<Wanted, "filters" | "range">): ApiFilter[] {
  const times: ApiFilter[] = [];
  if (range.from !== null) times.push({ key: "created_at", operator: "gt", value: [range.from - 1] });
  if (range.to !== null) times.push({ key: "created_at", operator: "lt", value: [range.to] });
  return [...filters.map(toApi), ...times];
}

export function filterQuery(wanted: Pick<Wanted, "filters" | "range" | "search">): { filters: string | null; search: string | null } {
  const filters = apiFilters(wanted);
  return { filters: filters.length > 0 ? JSON.stringify(filters) : null, search: wanted.search || null };
}

export async function listLogs(wanted: Wanted, signal?: AbortSignal): Promise<Answer<Log[]>> {
  const isBackwards = wanted.before !== null;
  const narrowed = wanted.search !== "" || wanted.filters.length > 0;
  const path = queryOf({
    per_page: PER_PAGE,
    ...filterQuery(wanted),
    cursor: wanted.before ?? wanted.after,
    order_by_direction: isBackwards ? "asc" : null,
    examine: narrowed ? EXAMINE : null,
  });
  const answer = await api<Log[]>(gatewayPath(`/logs${path}`), signal ? { signal } : {});
  return isBackwards ? { ...answer, result: answer.result.toReversed() } : answer;
}

/** The logs that the list showed last: what metadata has is offered from them, because nothing counts it over many logs. */
export const listed = signal<readonly Log[]>([]);

/** How often each key of metadata, or each value of one key, is among the listed logs; the most frequent first. */
export function metadataCounts(key: string | null): { value: string; count: number }[] {
  const counts = new Map<string, number>();
  for (const { metadata } of listed.value) {
    for (const [name, value] of Object.entries(metadata ?? {})) {
      const counted = key === null ? name : name === key ? String(value) : null;
      if (counted !== null) counts.set(counted, (counts.get(counted) ?? 0) + 1);
    }
  }
  return [...counts].map(([value, count]) => ({ value, count })).sort((a, b) => b.count - a.count);
}

/** What was changed here and may not be in the list yet. */
export const changed = signal<ReadonlyMap<string, Partial<Log>>>(new Map());
export const removed = signal<ReadonlySet<string>>(new Set());

export function withChanges(log: Log): Log {
  const change = changed.value.get(log.id);
  return change ? { ...log, ...change } : log;
}

function change(id: string, fields: Partial<Log>): void {
  changed.value = new Map(changed.value).set(id, { ...changed.value.get(id), ...fields });
}

/** Shows a judgement at once, and takes it back where the server refuses it. */
export async function judge(log: Log, fields: Pick<Partial<Log>, "feedback" | "score">): Promise<void> {
  const before = { feedback: log.feedback, score: log.score };
  change(log.id, fields);
  try {
    await api(gatewayPath(`/logs/${log.id}`), { method: "PATCH", json: fields });
  } catch (error) {
    change(log.id, Object.fromEntries(Object.keys(fields).map((key) => [key, before[key as "feedback" | "score"]])));
    const { title, text } = explain(error);
    toast(`The feedback was not stored. ${title}. ${text}`, { isError: true });
  }
}

/** How long a removal can be taken back, in milliseconds. */
const UNDO_MS = 5000;

export function removeLog(log: Log): void {
  const show = () => (removed.value = new Set([...removed.value].filter((id) => id !== log.id)));
  removed.value = new Set([...removed.value, log.id]);
  const timer = setTimeout(() => {
    const filters = JSON.stringify([{ key: "id", operator: "eq", value: [log.id] }]);
    api(gatewayPath(`/logs${queryOf({ filters })}`), { method: "DELETE" }).catch((error: unknown) => {
      show();
      toast(`The log was not deleted. ${explain(error).title}.`, { isError: true });
    });
  }, UNDO_MS);
  toast("Log deleted", { ms: UNDO_MS, action: { label: "Undo", run: () => (clearTimeout(timer), show()) } });
}
