// The list of logs: what people look at all day.
import { useSignal } from "@preact/signals";
import { useCallback, useEffect, useMemo, useRef } from "preact/hooks";
import { columnsOf, COLUMNS, DEFAULT_COLUMNS, isDefault, leastWidth, moved, NARROW_COLUMNS, readColumns, type ColumnInfo } from "../core/columns.ts";
import { describe, type Filter } from "../core/filters.ts";
import { compact, duration, integer, plural } from "../core/format.ts";
import { gatewayPath, queryOf } from "../state/api.ts";
import { changed, EXAMINE, filterQuery, judge, listed, listLogs, PER_PAGE, removed, wantedOf, withChanges, apiFilters } from "../state/logs.ts";
import { recall, remember } from "../state/preferences.ts";
import { refreshes } from "../state/refresh.ts";
import { useResource } from "../state/resource.ts";
import { pathTo, place, query, setQuery } from "../state/router.ts";
import { may, ofGateway } from "../state/session.ts";
import { copy } from "../state/toasts.ts";
import type { Log } from "../state/types.ts";
import { addFilter, FilterBar } from "../ui/filter_bar.tsx";
import { Icon } from "../ui/icons.tsx";
import { useKeys } from "../ui/keyboard.ts";
import { Button, Empty, IconButton, Menu, Skeleton, Time, Trouble } from "../ui/kit.tsx";
import { cellOf, isError, rowName, Status, Cost } from "../ui/log_cells.tsx";
import { LogDrawer, TABS } from "../ui/log_drawer.tsx";
import { DatasetFromFilters } from "../ui/dataset_form.tsx";
import { FirstRun } from "./start.tsx";

const TAIL_MS = 2000;

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
    const at = TABS.findIndex(({ id }) => id === (query.value.get("tab") ?? "conversation"));
    setQuery({ tab: TABS[(at + by + TABS.length) % TABS.length]?.id ?? null }, { replace: true });
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
                    <col key={id} style={grows && !columns.widths[id] ? {} : { width: `${columns.widths[id] ?? width}px` }} />
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

// === columns ===

interface Columns {
  ids: string[];
  infos: ColumnInfo[];
  widths: Record<string, number>;
  resize: (id: string, width: number) => void;
  choose: (ids: string[]) => void;
}

function useColumns(): Columns {
  const name = ofGateway("columns");
  const kept = useSignal(recall(name));
  const widths = useSignal<Record<string, number>>(readWidths(recall(ofGateway("widths"))));
  const ids = readColumns(query.value.get("cols")) ?? readColumns(kept.value) ?? DEFAULT_COLUMNS;
  return {
    ids,
    // Beside an open log there is room for a few, unless somebody has chosen otherwise.
    infos: columnsOf(query.value.has("log") && isDefault(ids) ? NARROW_COLUMNS : ids),
    widths: widths.value,
    resize: (id, width) => {
      widths.value = { ...widths.value, [id]: width };
      remember(ofGateway("widths"), JSON.stringify(widths.value));
    },
    choose: (next) => {
      const text = isDefault(next) ? null : next.join(",");
      remember(name, text);
      kept.value = text;
      if (query.value.has("cols")) setQuery({ cols: text }, { replace: true });
    },
  };
}

function readWidths(text: string | null): Record<string, number> {
  try {
    const read: unknown = JSON.parse(text ?? "{}");
    const entries = Object.entries(read ?? {}).filter(([, width]) => typeof width === "number" && width >= 40 && width <= 1200);
    return Object.fromEntries(entries);
  } catch {
    return {};
  }
}

function Resizer({ column, resize }: { column: ColumnInfo; resize: (id: string, width: number) => void }) {
  const begin = (event: PointerEvent) => {
    event.preventDefault();
    const handle = event.currentTarget as HTMLElement;
    const width = handle.parentElement?.getBoundingClientRect().width ?? column.width;
    const from = event.clientX;
    const move = (now: PointerEvent) => resize(column.id, Math.round(Math.min(1200, Math.max(40, width + now.clientX - from))));
    handle.setPointerCapture(event.pointerId);
    handle.addEventListener("pointermove", move);
    handle.addEventListener("pointerup", () => handle.removeEventListener("pointermove", move), { once: true });
  };
  return <span class="resizer" onPointerDown={begin} aria-hidden="true" />;
}

function ColumnsMenu({ ids, choose }: Columns) {
  const others = COLUMNS.filter(({ id }) => !ids.includes(id));
  return (
    <Menu label={<><Icon name="columns" /> Columns</>} title="Choose columns" align="right">
      {() => (
        <div class="column-choice scrolls">
          {columnsOf(ids).map(({ id, label }, at) => (
            <div key={id} class="with-action">
              <label>
                <input type="checkbox" checked disabled={ids.length === 1} onChange={() => choose(ids.filter((other) => other !== id))} />
                {label}
              </label>
              <IconButton icon="left" label={`Move ${label} to the left`} disabled={at === 0} onClick={() => choose(moved(ids, id, -1))} />
              <IconButton icon="right" label={`Move ${label} to the right`} disabled={at === ids.length - 1} onClick={() => choose(moved(ids, id, 1))} />
            </div>
          ))}
          {others.map(({ id, label }) => (
            <div key={id} class="with-action">
              <label>
                <input type="checkbox" checked={false} onChange={() => choose([...ids, id])} />
                {label}
              </label>
            </div>
          ))}
          <p>
            <Button kind="quiet" onClick={() => choose(DEFAULT_COLUMNS)}>As at first</Button>
          </p>
        </div>
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

// === live ===

interface Tail {
  isOn: boolean;
  toggle: () => void;
  waiting: number;
  show: () => void;
  fresh: ReadonlySet<string>;
}

/**
 * Asks for the first page again and again, with the same filters as the list. The server decides what matches; a log that was
 * written late stands where its request began, so whatever of the page is not known yet is new.
 */
function useTail(list: { value: Awaited<ReturnType<typeof listLogs>> | undefined; isLoading: boolean; isOld: boolean; set: (value: Awaited<ReturnType<typeof listLogs>>) => void }, isPossible: boolean, key: string, open: string | null): Tail {
  const name = "tollgate:live";
  const isWanted = useSignal(recall(name) !== "off");
  const arrived = useSignal<Awaited<ReturnType<typeof listLogs>> | null>(null);
  const waiting = useSignal(0);
  const fresh = useSignal<ReadonlySet<string>>(new Set());
  const isOn = isWanted.value && isPossible;
  const now = useRef({ list, open });
  now.current = { list, open };
  const take = (answer: Awaited<ReturnType<typeof listLogs>>) => {
    const known = new Set(now.current.list.value?.result.map(({ id }) => id));
    fresh.value = new Set(answer.result.map(({ id }) => id).filter((id) => !known.has(id)));
    arrived.value = null;
    waiting.value = 0;
    now.current.list.set(answer);
  };
  useEffect(() => {
    arrived.value = null;
    waiting.value = 0;
    fresh.value = new Set();
  }, [key, refreshes.value]);
  useEffect(() => {
    if (!isOn) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      if (document.visibilityState !== "visible" || now.current.list.isLoading || now.current.list.value === undefined) return;
      const answer = await listLogs(wantedOf(query.peek()), abort.signal).catch(() => null);
      if (!answer || abort.signal.aborted) return;
      const known = new Set(now.current.list.value?.result.map(({ id }) => id));
      const news = answer.result.filter(({ id }) => !known.has(id));
      if (news.length === 0) return;
      // Whoever reads further down, or has a log open, keeps the place.
      const isReading = now.current.open !== null || (document.querySelector(".table-box")?.scrollTop ?? 0) > 4 || window.scrollY > 4;
      if (isReading) {
        arrived.value = answer;
        waiting.value = news.length;
      } else {
        take(answer);
      }
    };
    const round = () => void ask().finally(() => !abort.signal.aborted && (timer = setTimeout(round, TAIL_MS)));
    timer = setTimeout(round, TAIL_MS);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [isOn, key]);
  return {
    isOn,
    toggle: () => {
      isWanted.value = !isWanted.value;
      remember(name, isWanted.value ? null : "off");
    },
    waiting: waiting.value,
    show: () => arrived.value && take(arrived.value),
    fresh: fresh.value,
  };
}

