// The newest logs that match, for figures that no sum has.
import type { ApiFilter } from "../core/filters.ts";
import { api, gatewayPath, queryOf } from "./api.ts";
import type { Log } from "./types.ts";

const PER_PAGE = 50;

export interface Newest {
  logs: Log[];
  /** Whether there are no older ones. */
  isAll: boolean;
}

export async function newest(filters: ApiFilter[], most: number, signal: AbortSignal): Promise<Newest> {
  const logs: Log[] = [];
  let cursor: string | null | undefined = null;
  while (logs.length < most) {
    const path = gatewayPath(`/logs${queryOf({ per_page: PER_PAGE, cursor, filters: JSON.stringify(filters) })}`);
    const { result: page, result_info: info } = await api<Log[]>(path, { signal });
    logs.push(...page);
    cursor = info?.cursor;
    if (page.length < PER_PAGE || !cursor) return { logs, isAll: true };
  }
  return { logs, isAll: false };
}
