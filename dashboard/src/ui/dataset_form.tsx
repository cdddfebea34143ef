// Datasets: stored filters, made of the current list or of single logs.
import { useSignal } from "@preact/signals";
import type { ApiFilter } from "../core/filters.ts";
import { explain, messageFor, said } from "../core/words.ts";
import { api, gatewayPath, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { linkTo } from "../state/router.ts";
import { toast } from "../state/toasts.ts";
import type { Dataset } from "../state/types.ts";
import { bound, Button, Field, Loaded, Menu } from "./kit.tsx";

export function DatasetFromFilters({ filters, isSearch }: { filters: ApiFilter[]; isSearch: boolean }) {
  return (
    <Menu label="Save as dataset" title="Store these filters as a dataset" align="right" class="save-dataset">
      {(close) => <NewDataset filters={filters} isSearch={isSearch} done={close} />}
    </Menu>
  );
}

function NewDataset({ filters, isSearch, done }: { filters: ApiFilter[]; isSearch?: boolean; done: () => void }) {
  const name = useSignal("");
  const error = useSignal<unknown>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    try {
      await api(gatewayPath("/datasets"), { json: { name: name.value, enable: true, filters } });
      toast(`Dataset “${name.value}” stored`);
      done();
    } catch (failed) {
      error.value = failed;
    }
  };
  const message = error.value ? (messageFor(error.value, "name") ?? messageFor(error.value, "filters") ?? `${explain(error.value).title}. ${explain(error.value).text}`) : undefined;
  return (
    <form class="filter-form" onSubmit={(event) => void submit(event)}>
      {isSearch && <p class="warning">A dataset holds filters. The search text is not one, and is left out.</p>}
      <Field label="Name of the dataset" error={message} help="Its filters go on to match new logs.">
        {(id, about) => <input id={id} aria-describedby={about} required maxLength={200} {...bound(name)} />}
      </Field>
      <Button kind="main" type="submit">Store</Button>
    </form>
  );
}

/** The ids that a dataset lists; null for one that is made of other filters. */
function listedIds({ filters }: Dataset): string[] | null {
  const [only, ...others] = filters;
  return only?.key === "id" && only.operator === "eq" && others.length === 0 ? [only.value ?? []].flat().map(String) : null;
}

export function DatasetFromLog({ id }: { id: string }) {
  return (
    <Menu label="Add to dataset" title="Add this log to a dataset" wide>
      {(close) => <AddToDataset id={id} done={close} />}
    </Menu>
  );
}

function AddToDataset({ id, done }: { id: string; done: () => void }) {
  const datasets = useResource("datasets to add to", (signal) => result<Dataset[]>(gatewayPath("/datasets?per_page=100"), { signal }));
  const add = async (dataset: Dataset, ids: string[]) => {
    try {
      await api(gatewayPath(`/datasets/${dataset.id}`), { method: "PUT", json: { name: dataset.name, enable: dataset.enable, filters: [{ key: "id", operator: "eq", value: [...new Set([...ids, id])] }] } });
      toast(`Added to “${dataset.name}”`);
      done();
    } catch (error) {
      toast(said(error), { isError: true });
    }
  };
  return (
    <>
      <Loaded of={datasets} lines={2}>
        {(all) => {
          const lists = all.flatMap((dataset) => (listedIds(dataset) ? [{ dataset, ids: listedIds(dataset) ?? [] }] : []));
          return (
            <>
              {lists.length > 0 && (
                <ul class="choices">
                  {lists.map(({ dataset, ids }) => (
                    <li key={dataset.id}>
                      <button type="button" disabled={ids.includes(id)} onClick={() => void add(dataset, ids)}>
                        {dataset.name} <span class="note">{ids.includes(id) ? "has it" : ids.length}</span>
                      </button>
                    </li>
                  ))}
                </ul>
              )}
              {all.length > lists.length && <p class="note">Others of the <a href={linkTo("datasets")}>datasets</a> are filters, not lists of logs, so no log can be added to them.</p>}
            </>
          );
        }}
      </Loaded>
      <NewDataset filters={[{ key: "id", operator: "eq", value: [id] }]} done={done} />
    </>
  );
}
