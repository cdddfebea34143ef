// The queue of answers without a judgement: one at a time, a key for each judgement.
import { useSignal } from "@preact/signals";
import { integer } from "../core/format.ts";
import { said } from "../core/words.ts";
import type { ApiFilter } from "../core/filters.ts";
import { api, gatewayPath, queryOf, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { linkTo, pathTo, query, setQuery } from "../state/router.ts";
import { toast } from "../state/toasts.ts";
import type { Dataset, Log } from "../state/types.ts";
import { ConversationTab } from "../ui/conversation.tsx";
import { useKeys } from "../ui/keyboard.ts";
import { Button, Empty, Loaded, PageHead, Time, Trouble } from "../ui/kit.tsx";

const UNJUDGED: ApiFilter[] = [
  { key: "feedback", operator: "absent" },
  { key: "success", operator: "eq", value: [true] },
  { key: "evaluation_id", operator: "absent" },
];

export function ReviewPage() {
  const dataset = query.value.get("dataset");
  const after = query.value.get("after");
  const at = useSignal(0);
  const done = useSignal(0);
  const datasets = useResource("datasets", (signal) => result<Dataset[]>(gatewayPath("/datasets?per_page=100"), { signal }));
  const filters = [...UNJUDGED, ...(datasets.value?.find(({ id }) => id === dataset)?.filters ?? [])];
  const isReady = dataset === null || datasets.value !== undefined;
  const queue = useResource(isReady ? `review ${dataset} ${after}` : null, async (signal) => {
    at.value = 0;
    return api<Log[]>(gatewayPath(`/logs${queryOf({ per_page: 50, cursor: after, filters: JSON.stringify(filters), examine: 100_000 })}`), { signal });
  });
  const log = queue.isOld ? undefined : queue.value?.result[at.value];
  const next = () => {
    const cursor = queue.value?.result_info?.cursor;
    if (at.value + 1 < (queue.value?.result.length ?? 0)) at.value += 1;
    else if (cursor) setQuery({ after: cursor }, { replace: true });
    else at.value += 1;
  };
  const give = async (feedback: 1 | -1) => {
    if (!log) return;
    done.value += 1;
    next();
    await store(log.id, feedback);
  };
  const store = async (id: string, feedback: 1 | -1) => {
    try {
      await api(gatewayPath(`/logs/${id}`), { method: "PATCH", json: { feedback } });
    } catch (error) {
      done.value -= 1;
      const again = () => ((done.value += 1), void store(id, feedback));
      toast(`The feedback on ${id} was not stored. ${said(error)}`, { isError: true, ms: 15_000, action: { label: "Again", run: again } });
    }
  };
  useKeys({ "1": () => void give(1), "2": () => void give(-1), "0": next });
  return (
    <>
      <PageHead title="Review" note={done.value > 0 ? `${integer(done.value)} judged` : "Answers that nobody has judged yet"}>
        <select aria-label="Dataset" value={dataset ?? ""} onChange={(event) => setQuery({ dataset: event.currentTarget.value || null, after: null })}>
          <option value="">all logs</option>
          {(datasets.value ?? []).map(({ id, name }) => <option key={id} value={id}>{name}</option>)}
        </select>
      </PageHead>
      <div class="page review">
        {dataset !== null && datasets.error ? <Trouble error={datasets.error} retry={datasets.reload} /> : null}
        <Loaded of={queue} lines={8}>
          {() =>
            !log ? (
              queue.isLoading ? null : <Empty title="Nothing is left to review"><p>All answers here have been judged or skipped. <a href={linkTo("logs", { f: "feedback:present" })}>Those that were judged</a></p></Empty>
            ) : (
              <div class="panel">
                <header>
                  <h2>{log.model} <span class="note"><Time at={log.created_at} /> · <a href={pathTo("logs", log.id)}>open</a></span></h2>
                  <div class="actions" role="group" aria-label="Judgement">
                    <Button icon="up" onClick={() => void give(1)}>Up <kbd>1</kbd></Button>
                    <Button icon="down" onClick={() => void give(-1)}>Down <kbd>2</kbd></Button>
                    <Button kind="quiet" onClick={next}>Skip <kbd>0</kbd></Button>
                  </div>
                </header>
                <div class="panel-body" key={log.id}><ConversationTab log={log} /></div>
              </div>
            )
          }
        </Loaded>
      </div>
    </>
  );
}
