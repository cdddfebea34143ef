// What a gateway's requests add up to, each mark with the logs behind it.
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { now as serverNow } from "../core/clock.ts";
import { groupRows, line, series, type Series } from "../core/charts.ts";
import { encode, type Filter } from "../core/filters.ts";
import { change, compact, cost, costTick, dateTime, duration, integer, percent, UNKNOWN, visible } from "../core/format.ts";
import { bucketStarts, granularityOf, rangeLabel, readRange, STEPS } from "../core/range.ts";
import { api, gatewayPath, queryOf, result } from "../state/api.ts";
import { filterQuery } from "../state/logs.ts";
import { zone } from "../state/preferences.ts";
import { useResource } from "../state/resource.ts";
import { go, linkTo, query, setQuery } from "../state/router.ts";
import type { Analytics, Facets, Figures, Log } from "../state/types.ts";
import { Chart } from "../ui/chart.tsx";
import { type Column, Empty, Loaded, PageHead, Panel, Table } from "../ui/kit.tsx";

const DAY = 86_400_000;

export function OverviewPage() {
  const by = query.value.get("by") ?? "model";
  const rangeKey = ["since", "from", "to"].map((name) => query.value.get(name)).join(" ");
  const ask = (groupBy: string, compare: boolean) => async (signal: AbortSignal) => {
    const { from, to } = bounded();
    const path = queryOf({ start: new Date(from).toISOString(), end: new Date(to).toISOString(), granularity: granularityOf(from, to), group_by: groupBy, compare: compare ? "previous" : null });
    const found = await result<Analytics>(gatewayPath(`/analytics${path}`), { signal });
    if (!compare || found.previous !== undefined) return found;
    // A server that does not compare is asked for the period before as well.
    const before = queryOf({ start: new Date(from - (to - from)).toISOString(), end: new Date(from).toISOString(), granularity: granularityOf(from - (to - from), from) });
    const previous = await result<Analytics>(gatewayPath(`/analytics${before}`), { signal }).catch(() => null);
    return { ...found, previous };
  };
  const totals = useResource(`totals ${rangeKey}`, ask("none", true));
  const groups = useResource(`groups ${by} ${rangeKey}`, ask(by, false));
  const range = readRange(query.value, "24h");
  const zoom = (from: number, to: number) => setQuery({ since: null, from: new Date(from).toISOString(), to: new Date(to).toISOString() });
  const openLogs = (from: number, to: number, filters: Filter[]) => go(linkTo("logs", { since: null, from: new Date(from).toISOString(), to: new Date(to).toISOString(), f: filters.map(encode) }));
  return (
    <>
      <PageHead title="Overview" note={rangeLabel(range, (time) => dateTime(new Date(time), zone.value))}>
        <GroupChoice by={by} />
      </PageHead>
      <div class="page">
        <Loaded of={totals} lines={3}>{(value) => <Tiles value={value} />}</Loaded>
        <Loaded of={groups} lines={8}>
          {(value) =>
            value.totals.requests + value.totals.attempts === 0 ? (
              <Empty title="No requests in this time range">
                <p>Choose a longer one at the top, or <a href={linkTo("start")}>connect a client</a>.</p>
              </Empty>
            ) : (
              <Charts groups={value} totals={totals.value} by={by} zoom={zoom} openLogs={openLogs} />
            )
          }
        </Loaded>
        <div class="columns">
          <Loaded of={groups} lines={4}>{(value) => <GroupTable value={value} by={by} />}</Loaded>
          <Errors totals={totals.value?.totals} />
        </div>
      </div>
    </>
  );
}

/** A range with both ends: analytics go back 400 days at most. */
function bounded(): { from: number; to: number } {
  const now = serverNow();
  const { from, to } = readRange(query.peek(), "24h", now);
  const end = to ?? now;
  return { from: Math.max(from ?? end - 30 * DAY, now - 399 * DAY), to: end };
}

function GroupChoice({ by }: { by: string }) {
  // The keys of metadata that the newest logs have. A server that cannot group by them says so in the panels.
  const keys = useResource("metadata keys", async (signal) => {
    const { result: logs } = await api<Log[]>(gatewayPath("/logs?per_page=50"), { signal });
    return [...new Set(logs.flatMap(({ metadata }) => Object.keys(metadata ?? {})))].sort().slice(0, 20);
  });
  const all = [...new Set(["model", "provider", ...(keys.value ?? []).map((key) => `metadata.${key}`), by])];
  return (
    <label class="group-choice">
      <span class="note">by</span>
      <select value={by} onChange={(event) => setQuery({ by: event.currentTarget.value === "model" ? null : event.currentTarget.value })}>
        {all.map((name) => (
          <option key={name} value={name}>{name.replace("metadata.", "")}</option>
        ))}
      </select>
    </label>
  );
}

function Tiles({ value: { totals, previous } }: { value: Analytics }) {
  const before = previous?.totals;
  const rate = (figures: Figures) => (figures.requests > 0 ? figures.errors / figures.requests : null);
  const hits = (figures: Figures) => (figures.requests > 0 ? figures.cached / figures.requests : null);
  return (
    <div class="tiles">
      <Tile name="Requests" exact={totals.requests} value={integer(totals.requests)} delta={change(totals.requests, before?.requests)} href={linkTo("logs")} />
      <Tile name="Cost" exact={totals.cost} value={cost(totals.cost)} delta={change(totals.cost, before?.cost)} isBad={totals.cost > (before?.cost ?? Infinity)} href={linkTo("logs")}>
        {totals.unpriced > 0 && <a href={linkTo("logs", { f: "cost_unknown:present" })}>{integer(totals.unpriced)} of unknown cost</a>}
      </Tile>
      <Tile name="Tokens in" exact={totals.tokens_in} value={compact(totals.tokens_in)} delta={change(totals.tokens_in, before?.tokens_in)}>
        {totals.tokens_cached > 0 && `${compact(totals.tokens_cached)} from the provider's cache`}
      </Tile>
      <Tile name="Tokens out" exact={totals.tokens_out} value={compact(totals.tokens_out)} delta={change(totals.tokens_out, before?.tokens_out)}>
        {totals.tokens_reasoning > 0 && `${compact(totals.tokens_reasoning)} of them thinking`}
      </Tile>
      <Tile name="Errors" exact={totals.errors} value={totals.requests > 0 ? percent(rate(totals)) : UNKNOWN} delta={before ? change(rate(totals), rate(before)) : null} isBad={(rate(totals) ?? 0) > (before ? (rate(before) ?? 0) : Infinity)} href={linkTo("logs", { f: "success:eq:false" })}>
        {totals.errors > 0 && integer(totals.errors)}
      </Tile>
      <Tile name="Duration p50" exact={totals.duration.p50} value={duration(totals.duration.p50)} delta={change(totals.duration.p50, before?.duration.p50)}>
        p90 {duration(totals.duration.p90)} · p99 {duration(totals.duration.p99)}
      </Tile>
      <Tile name="First byte p50" exact={totals.first_byte.p50} value={duration(totals.first_byte.p50)} delta={change(totals.first_byte.p50, before?.first_byte.p50)}>
        p90 {duration(totals.first_byte.p90)}
      </Tile>
      <Tile name="From cache" exact={totals.cached} value={totals.requests > 0 ? percent(hits(totals)) : UNKNOWN} delta={before ? change(hits(totals), hits(before)) : null} href={linkTo("logs", { f: "cached:eq:true" })}>
        {totals.saved_cost > 0 && `saved ${cost(totals.saved_cost)}`}
      </Tile>
    </div>
  );
}

function Tile({ name, value, exact, delta, isBad = false, href, children }: { name: string; value: string; exact: number | null; delta: string | null; isBad?: boolean; href?: string; children?: ComponentChildren }) {
  return (
    <div class="tile" data-tile={name} data-value={exact ?? ""}>
      <span class="tile-name">{href ? <a href={href}>{name}</a> : name}</span>
      <span class="tile-value" title={exact === null ? "Nothing to measure" : String(exact)}>{value}</span>
      <span class={`tile-delta ${isBad ? "bad" : ""}`} title="Against the period of the same length before">{delta ?? ""}</span>
      <span class="note">{children}</span>
    </div>
  );
}

const LAYERS: [keyof Figures["errors_by_layer"], string][] = [
  ["provider_5xx", "provider 5xx"],
  ["provider_4xx", "provider 4xx"],
  ["limit", "limit"],
  ["upstream", "no answer"],
  ["gateway", "gateway"],
  ["client", "client left"],
];

function Charts({ groups, totals, by, zoom, openLogs }: { groups: Analytics; totals: Analytics | undefined; by: string; zoom: (from: number, to: number) => void; openLogs: (from: number, to: number, filters: Filter[]) => void }) {
  const step = STEPS[groups.granularity];
  const drawn = useMemo(() => {
    const starts = bucketStarts(Date.parse(groups.start), Date.parse(groups.end), step);
    const all = totals?.granularity === groups.granularity ? totals.buckets : [];
    const sums = (name: string, value: (figures: Figures) => number): Series[] => series(all, starts, null, value).map((one) => ({ ...one, name, group: null }));
    return {
      starts,
      requests: series(groups.buckets, starts, by, ({ requests }) => requests),
      cost: series(groups.buckets, starts, by, (figures) => figures.cost),
      tokens: [
        ...sums("input", ({ tokens_in, tokens_cached }) => Math.max(0, tokens_in - tokens_cached)),
        ...sums("input from cache", ({ tokens_cached }) => tokens_cached),
        ...sums("output", ({ tokens_out, tokens_reasoning }) => Math.max(0, tokens_out - tokens_reasoning)),
        ...sums("thinking", ({ tokens_reasoning }) => tokens_reasoning),
      ],
      errors: LAYERS.flatMap(([layer, name]) => sums(name, (figures) => figures.errors_by_layer[layer])),
      times: (["p50", "p90", "p99"] as const).map((name) => ({ name, values: line(all, starts, (figures) => figures.duration[name]) })),
      firstBytes: (["p50", "p90"] as const).map((name) => ({ name, values: line(all, starts, (figures) => figures.first_byte[name]) })),
    };
  }, [groups, totals]);
  const isPartial = Date.parse(groups.end) > serverNow();
  const common = { starts: drawn.starts, step, isPartial, zoom };
  const open = (filters: Filter[]) => (from: number, to: number, group: string | null) => openLogs(from, to, group === null ? filters : [...filters, { key: by, ...(group === "(none)" ? { operator: "absent" as const, values: [] } : { operator: "eq" as const, values: [group] }) }]);
  const failed: Filter = { key: "success", operator: "eq", values: ["false"] };
  return (
    <div class="charts">
      <Panel title="Requests"><Chart name="Requests" {...common} series={drawn.requests} format={compact} open={open([])} /></Panel>
      <Panel title="Cost"><Chart name="Cost" {...common} series={drawn.cost} format={cost} tick={costTick} open={open([])} /></Panel>
      <Panel title="Tokens"><Chart name="Tokens" {...common} series={drawn.tokens} format={compact} open={open([])} /></Panel>
      <Panel title="Errors">{drawn.errors.length === 0 ? <Empty title="No errors" /> : <Chart name="Errors" {...common} series={drawn.errors} format={compact} open={open([failed])} />}</Panel>
      <Panel title="Duration"><Chart name="Duration" {...common} series={[]} lines={drawn.times} format={duration} open={open([])} /></Panel>
      <Panel title="First byte"><Chart name="First byte" {...common} series={[]} lines={drawn.firstBytes} format={duration} open={open([])} /></Panel>
    </div>
  );
}

function GroupTable({ value, by }: { value: Analytics; by: string }) {
  const filter = (name: string): Filter => (name === "(none)" ? { key: by, operator: "absent", values: [] } : { key: by, operator: "eq", values: [name] });
  return (
    <Panel title={`By ${by.replace("metadata.", "")}`}>
      {value.complete === false && <p class="note panel-body">Counted among the newest {integer(value.examined ?? 0)} logs of this range.</p>}
      <Table
        label="Groups"
        rows={groupRows(value.buckets, value.groups, by).slice(0, 10)}
        columns={[
          [by.replace("metadata.", ""), ({ name }) => <a href={linkTo("logs", { f: encode(filter(name)) })}>{visible(name)}</a>],
          ["Requests", ({ requests }) => integer(requests), "right"],
          ["Errors", ({ errors, requests }) => (errors === 0 ? <span class="faint">0</span> : percent(errors, requests)), "right"],
          ["Tokens", ({ tokens }) => compact(tokens), "right"],
          ["Cost", (row) => (row.cost === 0 && row.unpriced > 0 ? <span class="faint" title={`${row.unpriced} of unknown cost`}>{UNKNOWN}</span> : cost(row.cost)), "right"],
          ...(value.groups ? [["p50", ({ p50 }: { p50?: number | null }) => duration(p50), "right"] as Column<{ p50?: number | null }>] : []),
        ]}
      />
    </Panel>
  );
}

function Errors({ totals }: { totals: Figures | undefined }) {
  const key = ["since", "from", "to"].map((name) => query.value.get(name)).join(" ");
  const failed: Filter = { key: "success", operator: "eq", values: ["false"] };
  const facets = useResource(`errors ${key}`, async (signal) => {
    const wanted = { filters: [failed], range: readRange(query.peek(), "24h"), search: "" };
    return (await api<Facets>(gatewayPath(`/logs/facets${queryOf({ fields: "status_code", ...filterQuery(wanted) })}`), { signal })).result;
  });
  const layers = LAYERS.map(([layer, name]) => ({ name, count: totals?.errors_by_layer[layer] ?? 0 })).filter(({ count }) => count > 0);
  return (
    <Panel title="Errors" actions={<span class="note">{layers.map(({ name, count }) => `${name} ${integer(count)}`).join(" · ")}</span>}>
      <Loaded of={facets} lines={4}>
        {({ fields }) => {
          const errors = fields.status_code ?? [];
          if (errors.length === 0) return <Empty title="No errors" />;
          return (
            <table class="plain-table fixed">
              <tbody>
                {errors.slice(0, 10).map(({ value, count }) => (
                  <tr key={String(value)}>
                    <td><a href={linkTo("logs", { f: [encode(failed), encode({ key: "status_code", operator: "eq", values: [String(value)] })] })}>{value === null ? "no status" : `status ${String(value)}`}</a></td>
                    <td class="right count">{integer(count)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          );
        }}
      </Loaded>
    </Panel>
  );
}
