// The list of logs: what people look at all day.
import { useSignal } from "@preact/signals";
import { useCallback, useEffect, useMemo, useRef } from "preact/hooks";
import { leastWidth, type ColumnInfo } from "../core/columns.ts";
import { describe, type Filter } from "../core/filters.ts";
import { compact, duration, integer, plural } from "../core/format.ts";
import { gatewayPath, queryOf } from "../state/api.ts";
import { changed, EXAMINE, filterQuery, judge, listed, listLogs, PER_PAGE, removed, wantedOf, withChanges, apiFilters } from "../state/logs.ts";
import { useTail } from "../state/live.ts";
import { useResource } from "../state/resource.ts";
import { pathTo, place, query, setQuery } from "../state/router.ts";
import { may } from "../state/session.ts";
import { copy } from "../state/toasts.ts";
import type { Log } from "../state/types.ts";
import { addFilter, FilterBar } from "../ui/filter_bar.tsx";
import { Icon } from "../ui/icons.tsx";
import { useKeys } from "../ui/keyboard.ts";
import { Button, Empty, Menu, Skeleton, Time, Trouble } from "../ui/kit.tsx";
import { cellOf, isError, rowName, Status, Cost } from "../ui/log_cells.tsx";
import { ColumnsMenu, Resizer, useColumns } from "../ui/log_columns.tsx";
import { LogDrawer, tabsOf } from "../ui/log_drawer.tsx";
import { DatasetFromFilters } from "../ui/dataset_form.tsx";
import { FirstRun } from "./start.tsx";

export function LogsPage() {
  const params = query.value;
  const wanted = useMemo(() => wantedOf(params), [params]);
  // The log that is open and the columns change nothing about which logs are listed.
  const key = ["f", "search", "since", "from", "to", "after", "before"].map((name) => params.getAll(name).join("\n")).join("\u0000");
  const list = useResource(`logs ${key}`, (signal) => listLogs(wantedOf(query.peek()), signal));
  const open = params.get("log");
  const isFirstPage = wanted.after === null && wanted.before === null;
  const isNarrowed = wanted.filters.length > 0 || wanted.search !== "";
  // A gateway without any log waits for its first in its own words.
  const isUnused = list.value !== undefined && !list.isOld && list.value.result.length === 0 && !isNarrowed && isFirstPage && wanted.range.from === null && wanted.range.to === null;
  const tail = useTail(list, isFirstPage && wanted.range.to === null && !isUnused, key, open);
  const rows = (list.value?.result ?? []).filter(({ id }) => !removed.value.has(id)).map(withChanges);
  const columns = useColumns();
  const selected = useSignal<string | null>(open);
  const body = useRef<HTMLTableSectionElement>(null);
  // Where j came to the end of a page, the next page begins with its first log.
  const opensNext = useSignal<"first" | "last" | null>(null);

  useEffect(() => {
    if (!opensNext.value || list.isLoading || rows.length === 0) return;
    const log = opensNext.value === "first" ? rows[0] : rows.at(-1);
    opensNext.value = null;
    if (log) select(log.id);
  }, [list.value, list.isLoading]);
  useEffect(() => {
    const { account, gateway } = place.value;
    const what = [...wanted.filters.map(describe), ...(wanted.search ? [`“${wanted.search}”`] : [])].join(", ");
    document.title = `${what || "Logs"} · ${account}/${gateway} · Tollgate`;
  }, [key]);
  useEffect(() => {
    changed.value = new Map();
    listed.value = list.value?.result ?? [];
  }, [list.value]);

  const openLog = (id: string | null) => setQuery({ log: id }, { replace: id !== null && query.value.get("log") !== null });
  const select = (id: string) => {
    selected.value = id;
    if (query.value.get("log") !== null) openLog(id);
    const row = [...(body.current?.rows ?? [])].find((other) => other.dataset.id === id);
    row?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: "nearest" });
  };
  const step = (by: 1 | -1) => {
    const at = rows.findIndex(({ id }) => id === (selected.value ?? open));
    const next = at < 0 ? rows[by > 0 ? 0 : rows.length - 1] : rows[at + by];
    if (next) return select(next.id);
    if (list.isLoading) return;
    if (by > 0 && hasNext) {
      opensNext.value = "first";
      nextPage();
    } else if (by < 0 && !isFirstPage) {
      opensNext.value = "last";
      previousPage();
    }
  };
  const current = rows.find(({ id }) => id === (open ?? selected.value));
  const thumb = (value: Log["feedback"]) => current && may("edit") && void judge(current, { feedback: value });
  const tab = (by: number) => {
    if (!open) return;
    const tabs = tabsOf(current);
    const at = tabs.findIndex(({ id }) => id === (query.value.get("tab") ?? "conversation"));
    setQuery({ tab: tabs[(at + by + tabs.length) % tabs.length]?.id ?? null }, { replace: true });
  };
  useKeys({
    j: () => step(1),
    k: () => step(-1),
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    Enter: () => selected.value && openLog(selected.value),
    o: () => selected.value && openLog(selected.value),
    Escape: () => open && closeDrawer(),
    "]": () => tab(1),
    "[": () => tab(-1),
    t: () => thumb(1),
    T: () => thumb(-1),
    x: () => thumb(null),
    c: () => current && void copy(current.id, "log id"),
    l: () => current && void copy(new URL(pathTo("logs", current.id), window.location.href).href, "link"),
    p: () => tail.toggle(),
  });
  const closeDrawer = useCallback(() => {
    setQuery({ log: null, tab: null });
    [...(body.current?.rows ?? [])].find((row) => row.dataset.id === selected.value)?.focus({ preventScroll: true });
  }, []);

  const cursor = list.value?.result_info?.cursor ?? null;
  const full = (list.value?.result.length ?? 0) >= PER_PAGE;
  const hasNext = wanted.before !== null || cursor !== null;
  const nextPage = () => setQuery({ after: wanted.before !== null ? (rows.at(-1)?.id ?? null) : cursor, before: null });
  const previousPage = () => setQuery({ before: rows[0]?.id ?? null, after: null });
  const backAtFirst = wanted.before !== null && !full;
  useEffect(() => {
    // Going back from the second page leads to the first, which has to be full.
    if (backAtFirst && !list.isLoading && !list.isOld) setQuery({ before: null, after: null }, { replace: true });
  }, [backAtFirst, list.isLoading, list.isOld]);

  const isEmpty = list.value !== undefined && rows.length === 0 && !list.isLoading;
  return (
    <div class={`logs ${open ? "with-drawer" : ""}`}>
      <div class="list">
        <div class="page-head compact">
          <h1>Logs</h1>
          <Total list={list.value?.result_info} isNarrowed={isNarrowed} />
          <div class="actions">
            {isFirstPage && (
              <Button kind="quiet" icon={tail.isOn ? "pause" : "play"} aria-pressed={tail.isOn} title="New logs appear by themselves (p)" onClick={tail.toggle}>
                Live
              </Button>
            )}
            <span class="wide-only"><ColumnsMenu {...columns} /></span>
            <ExportMenu />
            {may("edit") && <DatasetFromFilters filters={apiFilters(wanted)} isSearch={wanted.search !== ""} />}
          </div>
        </div>
        {!isUnused && <FilterBar />}
        {list.error ? <Trouble error={list.error} retry={list.reload} compact={rows.length > 0} /> : null}
        {tail.waiting > 0 && (
          <button type="button" class="new-logs" onClick={tail.show}>
            {plural(tail.waiting, "new log")}
          </button>
        )}
        {list.value === undefined && list.isLoading && <Skeleton lines={12} />}
        {isUnused && <FirstRun account={place.value.account ?? ""} gateway={place.value.gateway ?? ""} isWaiting />}
        {isEmpty && !isUnused && (
          <Empty title="No log matches">
            {cursor ? (
              <p>Nothing among the newest {integer(EXAMINE)} logs here. Older ones have not been looked at yet.</p>
            ) : (
              <p>There are logs only outside of these filters or this time range.</p>
            )}
            <p>
              {cursor && <Button kind="main" onClick={nextPage}>Look further back</Button>}
              {isNarrowed && <Button onClick={() => setQuery({ f: null, search: null, after: null, before: null })}>Clear the filters</Button>}
              {wanted.range.from !== null && <Button onClick={() => setQuery({ since: "all", from: null, to: null, after: null, before: null })}>All time</Button>}
            </p>
          </Empty>
        )}
        {rows.length > 0 && (
          <>
            <div class="table-box">
              <table class={`log-table ${list.isLoading && list.isOld ? "stale" : ""}`} style={{ minWidth: `${leastWidth(columns.infos, columns.widths)}px` }} role="grid" aria-label="Logs" aria-busy={list.isLoading}>
                <colgroup>
                  {columns.infos.map(({ id, width, grows }) => (
                    <col key={id} class={`col-${id}`} style={grows && !columns.widths[id] ? {} : { width: `${columns.widths[id] ?? width}px` }} />
                  ))}
                </colgroup>
                <thead>
                  <tr>
                    {columns.infos.map((column) => (
                      <th key={column.id} scope="col" class={column.align ?? ""}>
                        {column.label}
                        <Resizer column={column} resize={columns.resize} />
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody ref={body}>
                  {rows.map((log, at) => (
                    <Row key={log.id} log={log} columns={columns.infos} isOpen={log.id === open} isSelected={log.id === (open ?? selected.value)} isFresh={tail.fresh.has(log.id)} isEntry={selected.value ? log.id === selected.value : at === 0} choose={() => ((selected.value = log.id), openLog(log.id))} focus={() => (selected.value = log.id)} />
                  ))}
                </tbody>
              </table>
            </div>
            <div class="pager">
              <Button icon="left" disabled={isFirstPage || list.isLoading} onClick={previousPage}>Newer</Button>
              {!isFirstPage && <Button kind="quiet" onClick={() => setQuery({ after: null, before: null })}>Newest</Button>}
              <Button disabled={!hasNext || list.isLoading} onClick={nextPage}>Older <Icon name="right" /></Button>
              {!full && cursor && <span class="note">Looked through {integer(EXAMINE)} logs; “Older” goes on.</span>}
              {!hasNext && <span class="note">These are the oldest.</span>}
            </div>
          </>
        )}
      </div>
      {open && <LogDrawer id={open} listed={rows.find(({ id }) => id === open)} close={closeDrawer} step={step} />}
    </div>
  );
}

function Total({ list, isNarrowed }: { list: { total_count?: number; total_count_relation?: "eq" | "gte" } | undefined; isNarrowed: boolean }) {
  if (list?.total_count === undefined) return null;
  return (
    <span class="note">
      {list.total_count_relation === "gte" ? `${integer(list.total_count)} or more` : integer(list.total_count)}
      {isNarrowed ? " match" : ""}
    </span>
  );
}

interface RowProps {
  log: Log;
  columns: ColumnInfo[];
  isOpen: boolean;
  isSelected: boolean;
  isFresh: boolean;
  isEntry: boolean;
  choose: () => void;
  focus: () => void;
}

function Row({ log, columns, isOpen, isSelected, isFresh, isEntry, choose, focus }: RowProps) {
  const click = (event: MouseEvent) => {
    const target = event.target as Element;
    if (target.closest("button, .popover")) return;
    const link = target.closest("a");
    // A link with a modifier opens a tab, and the link to a session leads there.
    if (link && (event.metaKey || event.ctrlKey || event.shiftKey || !link.pathname.endsWith(log.id))) return;
    // Text that was just selected is being copied.
    if (window.getSelection()?.toString()) return;
    event.preventDefault();
    choose();
  };
  const classes = [isError(log) && "error", isOpen && "open", isSelected && "selected", isFresh && "fresh"].filter(Boolean).join(" ");
  return (
    <tr class={classes} data-id={log.id} tabIndex={isEntry ? 0 : -1} aria-selected={isSelected} aria-label={rowName(log)} onClick={click} onFocus={focus}>
      {columns.map((column) => {
        const { content, filter, title } = cellOf(column.id, log, (id) => pathTo("logs", id));
        return (
          <td key={column.id} class={`${column.align ?? ""} c-${column.id}`} title={title}>
            <span class="cell">{content}</span>
            {filter && <CellMenu filter={filter} />}
          </td>
        );
      })}
      <td class="card" role="presentation">
        <Card log={log} />
      </td>
    </tr>
  );
}

/** A row where there is no room for columns. */
function Card({ log }: { log: Log }) {
  return (
    <>
      <span class="card-head">
        <Status log={log} />
        <b>{log.model || log.provider}</b>
        <Time at={log.created_at} />
      </span>
      <span class="card-body">{log.input_preview ?? log.error ?? log.path}</span>
      <span class="card-foot">
        <Cost value={log.cost} why={log.cost_unknown} /> · {compact(log.tokens_in)} / {compact(log.tokens_out)} · {duration(log.duration)}
      </span>
    </>
  );
}

function CellMenu({ filter }: { filter: Filter }) {
  const text = filter.values[0] ?? "";
  return (
    <Menu label={<Icon name="filter" size={12} />} title={`Filter by ${describe(filter)}`} class="cell-menu" align="right">
      {(close) => (
        <ul class="choices">
          <li>
            <button type="button" onClick={() => (close(), addFilter(filter))}>Only these</button>
          </li>
          <li>
            <button type="button" onClick={() => (close(), addFilter({ ...filter, operator: "neq" }))}>Without these</button>
          </li>
          <li>
            <button type="button" onClick={() => (close(), void copy(text, "value"))}>Copy</button>
          </li>
        </ul>
      )}
    </Menu>
  );
}

function ExportMenu() {
  const wanted = wantedOf(query.value);
  const href = (format: string, bodies: boolean) => gatewayPath(`/logs/export${queryOf({ format, bodies: bodies || null, ...filterQuery(wanted) })}`);
  const choices: [string, string, boolean][] = [
    ["JSON lines", "jsonl", false],
    ["CSV", "csv", false],
    ...(may("read") ? ([["JSON lines with bodies", "jsonl", true], ["OpenAI fine-tuning file", "openai-finetune", false]] as [string, string, boolean][]) : []),
  ];
  return (
    <Menu label={<><Icon name="download" /> Export</>} title="Export what the filters match" align="right">
      {(close) => (
        <ul class="choices">
          {choices.map(([label, format, bodies]) => (
            <li key={label}>
              <a href={href(format, bodies)} download={`logs.${format === "csv" ? "csv" : "jsonl"}`} onClick={close}>{label}</a>
            </li>
          ))}
        </ul>
      )}
    </Menu>
  );
}
