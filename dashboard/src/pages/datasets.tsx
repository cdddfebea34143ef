// Datasets: stored filters. What they match now is what an evaluation made now would measure.
import { useSignal } from "@preact/signals";
import { describe, encode, fromApi, type ApiFilter } from "../core/filters.ts";
import { integer, visible } from "../core/format.ts";
import { explain } from "../core/words.ts";
import { api, gatewayPath, queryOf } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { linkTo } from "../state/router.ts";
import { may } from "../state/session.ts";
import { attempt } from "../state/toasts.ts";
import type { Dataset, Log } from "../state/types.ts";
import { Button, Empty, Loaded, PageHead, Table, Time } from "../ui/kit.tsx";

export function isSimple(filter: ApiFilter): boolean {
  return typeof filter.key === "string" && typeof filter.operator === "string";
}

export function DatasetsPage() {
  const datasets = useResource("datasets", (signal) => api<Dataset[]>(gatewayPath("/datasets?per_page=100"), { signal }));
  const remove = (dataset: Dataset) => window.confirm(`Delete the dataset “${dataset.name}”? Its logs stay, and so do evaluations that were made of it.`) && void attempt(() => api(gatewayPath(`/datasets/${dataset.id}`), { method: "DELETE" }), datasets.reload);
  return (
    <>
      <PageHead title="Datasets" note="Stored filters of logs">
        {may("edit") && <a class="button plain" href={linkTo("logs")}>New, from filters</a>}
      </PageHead>
      <div class="page">
        <Loaded of={datasets} lines={5}>
          {({ result: all }) =>
            all.length === 0 ? (
              <Empty title="No datasets yet"><p>Filter the <a href={linkTo("logs")}>logs</a>, then “Save as dataset”.</p></Empty>
            ) : (
              <Table
                label="Datasets"
                boxed
                rows={all}
                columns={[
                  ["Name", ({ name, filters, enable }) => <>{filters.every(isSimple) ? <a href={linkTo("logs", { since: "all", f: filters.map(fromApi).map(encode) })}>{visible(name)}</a> : visible(name)}{!enable && <span class="note"> off</span>}</>],
                  ["Filters", ({ filters }) => (filters.length === 0 ? <span class="faint">all logs</span> : filters.map((filter, at) => <span key={at} class="tag">{(isSimple(filter) ? describe(fromApi(filter)) : JSON.stringify(filter)).slice(0, 120)}</span>))],
                  ["Matches now", ({ filters, id }) => <Count filters={filters} id={id} />, "right"],
                  ["Changed", ({ modified_at }) => <Time at={modified_at} relative />, "nowrap"],
                  ["Actions", (dataset) => may("edit") && <><a class="button quiet" href={linkTo("evaluations", { new: dataset.id })}>Evaluate</a><a class="button quiet" href={linkTo("review", { dataset: dataset.id })}>Review</a><Button kind="quiet" class="danger" onClick={() => remove(dataset)}>Delete</Button></>, "actions"],
                ]}
              />
            )
          }
        </Loaded>
      </div>
    </>
  );
}

/** Counted when it is asked for: it may look through many logs. */
function Count({ filters, id }: { filters: ApiFilter[]; id: string }) {
  const isAsked = useSignal(false);
  const count = useResource(isAsked.value ? `count ${id}` : null, (signal) => api<Log[]>(gatewayPath(`/logs${queryOf({ per_page: 1, filters: JSON.stringify(filters) })}`), { signal }));
  if (!isAsked.value) return <button type="button" class="link" onClick={() => (isAsked.value = true)}>count</button>;
  if (count.error) return <span class="error-text">{explain(count.error).title}</span>;
  const info = count.value?.result_info;
  return <>{info ? `${integer(info.total_count ?? null)}${info.total_count_relation === "gte" ? " or more" : ""}` : "…"}</>;
}
