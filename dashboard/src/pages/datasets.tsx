// Datasets: stored filters. What they match now is what an evaluation made now would measure.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { describe, encode, fromApi, type ApiFilter } from "../core/filters.ts";
import { integer } from "../core/format.ts";
import { explain } from "../core/words.ts";
import { api, gatewayPath, queryOf } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { linkTo, place } from "../state/router.ts";
import { may } from "../state/session.ts";
import { toast } from "../state/toasts.ts";
import type { Dataset, Log } from "../state/types.ts";
import { Button, Empty, Loaded, PageHead, Time } from "../ui/kit.tsx";

export function isSimple(filter: ApiFilter): boolean {
  return typeof filter.key === "string" && typeof filter.operator === "string";
}

export function DatasetsPage() {
  const { account, gateway } = place.value;
  useEffect(() => void (document.title = `Datasets · ${account}/${gateway} · Tollgate`), []);
  const datasets = useResource("datasets", (signal) => api<Dataset[]>(gatewayPath("/datasets?per_page=100"), { signal }));
  const remove = async (dataset: Dataset) => {
    if (!window.confirm(`Delete the dataset “${dataset.name}”? Its logs stay, and so do evaluations that were made of it.`)) return;
    try {
      await api(gatewayPath(`/datasets/${dataset.id}`), { method: "DELETE" });
      datasets.reload();
    } catch (error) {
      toast(`${explain(error).title}. ${explain(error).text}`, { isError: true });
    }
  };
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
              <div class="panel scroll-x" tabIndex={0} role="group" aria-label="Datasets">
                <table class="plain-table">
                  <thead><tr><th>Name</th><th>Filters</th><th class="right">Matches now</th><th>Changed</th><th><span class="read-only">Actions</span></th></tr></thead>
                  <tbody>
                    {all.map((dataset) => (
                      <tr key={dataset.id}>
                        <td>{dataset.filters.every(isSimple) ? <a href={linkTo("logs", { since: "all", f: dataset.filters.map(fromApi).map(encode) })}>{dataset.name}</a> : dataset.name}{!dataset.enable && <span class="note"> off</span>}</td>
                        <td>{dataset.filters.length === 0 ? <span class="faint">all logs</span> : dataset.filters.map((filter, at) => <span key={at} class="tag">{isSimple(filter) ? describe(fromApi(filter)).slice(0, 120) : JSON.stringify(filter).slice(0, 120)}</span>)}</td>
                        <td class="right"><Count filters={dataset.filters} id={dataset.id} /></td>
                        <td class="nowrap"><Time at={dataset.modified_at} relative /></td>
                        <td class="actions">
                          {may("edit") && <a class="button quiet" href={linkTo("evaluations", { new: dataset.id })}>Evaluate</a>}
                          {may("edit") && <a class="button quiet" href={linkTo("review", { dataset: dataset.id })}>Review</a>}
                          {may("edit") && <Button kind="quiet" class="danger" onClick={() => void remove(dataset)}>Delete</Button>}
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
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
