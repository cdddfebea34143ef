// Evaluations: what was measured, of which logs, and how two of them compare.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { cost, duration, integer, plural, UNKNOWN, visible } from "../core/format.ts";
import { messageFor, said } from "../core/words.ts";
import { accountPath, api, gatewayPath, queryOf, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { go, linkTo, pathTo, place, query, setQuery } from "../state/router.ts";
import { may } from "../state/session.ts";
import { attempt } from "../state/toasts.ts";
import type { Dataset, Evaluation, EvaluationResult, Verdict } from "../state/types.ts";
import { CheckOf } from "../ui/form_dialog.tsx";
import { bound, Button, type Column, Dialog, Empty, Field, Loaded, PageHead, Panel, Table, Time } from "../ui/kit.tsx";

/** How often one that is running is looked at, which also moves it on. */
const LOOK_MS = 2000;

export function EvaluationsPage() {
  const { id, account, gateway } = place.value;
  useEffect(() => void (document.title = `Evaluations · ${account}/${gateway} · Tollgate`), [id]);
  const compared = query.value.get("compare");
  if (compared) return <Compare ids={compared} />;
  return id ? <OneEvaluation key={id} id={id} /> : <EvaluationList />;
}

export function measured({ result: value, unit }: { result: string; unit: string | null }): string {
  if (value === "" || value === null) return UNKNOWN;
  const number = Number(value);
  if (!Number.isFinite(number)) return visible(value);
  if (unit === "US dollars") return cost(number);
  if (unit === "milliseconds") return duration(number);
  const text = String(Number(number.toPrecision(4)));
  return unit === "percent" ? `${text}%` : unit ? `${text} ${unit}` : text;
}

function interval(bounds: [number, number] | null): string {
  return bounds ? `${Number(bounds[0].toPrecision(4))} to ${Number(bounds[1].toPrecision(4))}` : "";
}

function Progress({ evaluation }: { evaluation: Evaluation }) {
  const done = evaluation.results.filter(({ status }) => status >= 2).length;
  const failed = evaluation.results.filter(({ status }) => status === 3).length;
  if (evaluation.processed) return <span class={failed > 0 ? "error-text" : "good-text"}>{failed > 0 ? `${failed} failed` : "done"}</span>;
  return <span><progress max={evaluation.results.length} value={done} aria-label="Progress" /> {done} of {evaluation.results.length}</span>;
}

function EvaluationList() {
  const list = useResource("evaluations", (signal) => api<Evaluation[]>(gatewayPath("/evaluations?per_page=100"), { signal }));
  const chosen = useSignal<string[]>([]);
  const isRunning = (list.value?.result ?? []).some(({ processed }) => !processed);
  useEffect(() => {
    if (!isRunning) return;
    const timer = setInterval(() => document.visibilityState === "visible" && list.reload(), LOOK_MS);
    return () => clearInterval(timer);
  }, [isRunning]);
  const toggle = (id: string) => (chosen.value = chosen.value.includes(id) ? chosen.value.filter((other) => other !== id) : [...chosen.value, id].slice(-4));
  return (
    <>
      <PageHead title="Evaluations">
        <Button disabled={chosen.value.length < 2} title="Choose two to four" onClick={() => setQuery({ compare: chosen.value.join(",") })}>Compare {chosen.value.length > 1 ? chosen.value.length : ""}</Button>
        {may("edit") && <Button kind="main" onClick={() => setQuery({ new: "" })}>New evaluation</Button>}
      </PageHead>
      <div class="page">
        <Loaded of={list} lines={6}>
          {({ result: all }) =>
            all.length === 0 ? (
              <Empty title="No evaluations yet"><p>An evaluation measures the logs of a <a href={linkTo("datasets")}>dataset</a>: cost, speed, what people thought, whether answers pass tests, what a model says of them.</p></Empty>
            ) : (
              <Table
                label="Evaluations"
                boxed
                rows={all}
                columns={[
                  [<span class="read-only">Compare</span>, ({ id, name }) => <input type="checkbox" aria-label={`Compare ${name}`} checked={chosen.value.includes(id)} onChange={() => toggle(id)} />],
                  ["Name", ({ id, name }) => <a href={linkTo("evaluations", { id })}>{visible(name)}</a>],
                  ["State", (evaluation) => <Progress evaluation={evaluation} />, "nowrap"],
                  ["Logs", ({ total_logs }) => integer(total_logs), "right"],
                  ["Values", ({ results }) => <>{results.slice(0, 4).map((one) => <span key={one.id} class="tag"><b>{one.evaluation_type_id}</b> {one.status === 2 ? measured(one) : UNKNOWN}</span>)}{results.length > 4 && <span class="note"> +{results.length - 4}</span>}</>],
                  ["Made", ({ created_at }) => <Time at={created_at} relative />, "nowrap"],
                ]}
              />
            )
          }
        </Loaded>
      </div>
      {query.value.has("new") && <NewEvaluation preset={query.value.get("new") ?? ""} close={() => setQuery({ new: null }, { replace: true })} />}
    </>
  );
}

function NewEvaluation({ preset, close }: { preset: string; close: () => void }) {
  const datasets = useResource("datasets", (signal) => result<Dataset[]>(gatewayPath("/datasets?per_page=100"), { signal }));
  const types = useResource("evaluation types", (signal) => result<{ id: string; name: string; description: string }[]>(accountPath("/evaluation-types?per_page=50"), { signal }));
  const name = useSignal("");
  const groupBy = useSignal("");
  const settings = useSignal("");
  const chosen = useSignal<string[]>(preset ? [preset] : []);
  const measures = useSignal<string[]>(["cost", "speed", "human_feedback"]);
  const error = useSignal<unknown>(null);
  const needsSettings = measures.value.some((id) => /^(llm_judge|answer_matches|json_valid)/.test(id));
  const submit = async (event: Event) => {
    event.preventDefault();
    let given: unknown = null;
    try {
      given = settings.value.trim() === "" ? null : JSON.parse(settings.value);
    } catch {
      error.value = { status: 400, details: [{ message: "This is not JSON", path: ["body", "settings"] }] };
      return;
    }
    try {
      const made = await result<Evaluation>(gatewayPath("/evaluations"), { json: { name: name.value, dataset_ids: chosen.value, evaluation_type_ids: measures.value, ...(groupBy.value && { group_by: groupBy.value }), ...(given !== null && { settings: given }) } });
      go(pathTo("evaluations", made.id));
    } catch (failed) {
      error.value = failed;
    }
  };
  const wrong = (field: string) => (error.value ? messageFor(error.value, field) : undefined);
  const other = error.value && !["name", "dataset_ids", "evaluation_type_ids", "group_by", "settings"].some(wrong) ? said(error.value) : null;
  return (
    <Dialog title="New evaluation" onClose={close}>
      <form class="form" onSubmit={(event) => void submit(event)}>
        <Field label="Name" error={wrong("name")}>{(id, about) => <input id={id} aria-describedby={about} required maxLength={200} {...bound(name)} />}</Field>
        <fieldset>
          <legend>Datasets</legend>
          {wrong("dataset_ids") && <p class="field-error">{wrong("dataset_ids")}</p>}
          <Loaded of={datasets} lines={2}>
            {(all) => all.length === 0 ? <p class="note">There are none. Filter the logs and save the filters as a dataset.</p> : <>{all.map(({ id, name: label }) => <CheckOf key={id} of={chosen} id={id}>{label}</CheckOf>)}</>}
          </Loaded>
        </fieldset>
        <fieldset>
          <legend>What is measured</legend>
          {wrong("evaluation_type_ids") && <p class="field-error">{wrong("evaluation_type_ids")}</p>}
          <Loaded of={types} lines={4}>
            {(all) => <div class="check-grid">{all.map(({ id, description }) => <CheckOf key={id} of={measures} id={id} title={description}>{id}</CheckOf>)}</div>}
          </Loaded>
        </fieldset>
        <Field label="Group by" error={wrong("group_by")} help="model, provider or metadata.name; empty for no groups">{(id, about) => <input id={id} aria-describedby={about} {...bound(groupBy)} />}</Field>
        {(needsSettings || wrong("settings")) && (
          <Field label="Settings of the tests" error={wrong("settings")} help="JSON, by the test's name">{(id, about) => <textarea id={id} aria-describedby={about} class="code" rows={6} spellcheck={false} placeholder={'{"llm_judge": {"prompt": "Is this polite?\\n{{output}}", "provider": "openai", "model": "gpt-4o-mini", "verdict": "boolean"}}'} {...bound(settings)} />}</Field>
        )}
        {other && <p class="field-error" role="alert">{other}</p>}
        <Button kind="main" type="submit" disabled={chosen.value.length === 0 || measures.value.length === 0}>Measure</Button>
      </form>
    </Dialog>
  );
}

function OneEvaluation({ id }: { id: string }) {
  const evaluation = useResource(`evaluation ${id}`, (signal) => result<Evaluation>(gatewayPath(`/evaluations/${encodeURIComponent(id)}`), { signal }));
  const isRunning = evaluation.value?.processed === false;
  useEffect(() => {
    if (!isRunning) return;
    const timer = setInterval(() => document.visibilityState === "visible" && evaluation.reload(), LOOK_MS);
    return () => clearInterval(timer);
  }, [isRunning]);
  const remove = () => window.confirm("Delete this evaluation and its verdicts?") && void attempt(() => api(gatewayPath(`/evaluations/${id}`), { method: "DELETE" }), () => go(linkTo("evaluations")));
  return (
    <Loaded of={evaluation} lines={8}>
      {(value) => (
        <>
          <div class="page-head">
            <p class="crumbs"><a href={linkTo("evaluations")}>Evaluations</a> /</p>
            <h1>{visible(value.name)}</h1>
            <span class="note">{plural(value.total_logs, "log")} of {value.datasets.map(({ name }) => name).join(", ")} · <Time at={value.created_at} full /></span>
            <Progress evaluation={value} />
            {may("edit") && <div class="actions"><Button kind="quiet" class="danger" onClick={remove}>Delete</Button></div>}
          </div>
          <div class="page">
            <div class="panel scroll-x" tabIndex={0} role="group" aria-label="Results">
              <table class="plain-table">
                <thead><tr><th>Measure</th><th>State</th><th class="right">Value</th><th class="right">95 % interval</th><th class="right">Logs</th></tr></thead>
                <tbody>{value.results.map((one) => <ResultRows key={one.id} one={one} />)}</tbody>
              </table>
            </div>
            <Verdicts id={id} types={value.results.filter(({ evaluation_type_id: type }) => /^(llm_judge|answer_matches|json_valid)/.test(type)).map(({ evaluation_type_id: type }) => type)} />
          </div>
        </>
      )}
    </Loaded>
  );
}

function ResultRows({ one }: { one: EvaluationResult }) {
  return (
    <>
      <tr>
        <td>{one.evaluation_type_id}</td>
        <td class={one.status === 3 ? "error-text" : ""}>{one.status_description}</td>
        <td class="right">{one.status === 2 ? measured(one) : UNKNOWN}</td>
        <td class="right note">{interval(one.confidence_interval)}</td>
        <td class="right">{integer(one.total_logs)}{one.skipped ? <span class="note"> ({one.skipped} skipped)</span> : null}</td>
      </tr>
      {one.groups.map((group) => (
        <tr key={group.group} class="sub">
          <td>{visible(group.group)}</td>
          <td />
          <td class="right">{measured({ ...group, unit: one.unit })}</td>
          <td class="right note">{interval(group.confidence_interval)}</td>
          <td class="right">{integer(group.total_logs)}</td>
        </tr>
      ))}
    </>
  );
}

function Verdicts({ id, types }: { id: string; types: string[] }) {
  const page = Math.max(1, Number(query.value.get("page")) || 1);
  const type = query.value.get("type");
  const failing = query.value.get("failing") === "1";
  const list = useResource(types.length > 0 ? `verdicts ${id} ${page} ${type}` : null, (signal) => api<Verdict[]>(gatewayPath(`/evaluations/${id}/verdicts${queryOf({ page, per_page: 50, evaluation_type_id: type })}`), { signal }));
  if (types.length === 0) return null;
  return (
    <Panel
      title="Verdicts"
      actions={
        <>
          <select aria-label="Measure" value={type ?? ""} onChange={(event) => setQuery({ type: event.currentTarget.value || null, page: null })}>
            <option value="">all</option>
            {types.map((name) => <option key={name}>{name}</option>)}
          </select>
          <label class="check"><input type="checkbox" checked={failing} onChange={() => setQuery({ failing: failing ? null : "1" })} /> failing only</label>
        </>
      }
    >
      <Loaded of={list} lines={4}>
        {({ result: all, result_info: info }) => {
          const shown = failing ? all.filter(({ verdict }) => verdict === 0 || verdict === null) : all;
          if (all.length === 0) return <Empty title="No verdicts here" />;
          return (
            <>
              {shown.length === 0 && <Empty title="None of these failed" />}
              <Table
                label="Verdicts"
                rows={shown}
                columns={[
                  ["Log", ({ log_id }) => <a href={pathTo("logs", log_id)}><code>{log_id.slice(-8)}</code></a>],
                  ["Measure", (one) => one.evaluation_type_id],
                  ["Verdict", ({ verdict }) => verdict ?? UNKNOWN, "right"],
                  ["Reason", ({ reason }) => visible((reason ?? "").slice(0, 600))],
                ]}
              />
              {failing && (info?.total_count ?? 0) > 50 && <p class="note panel-body">Of the 50 verdicts on this page.</p>}
              {((info?.total_count ?? 0) > 50) && (
                <div class="pager">
                  <Button disabled={page === 1} onClick={() => setQuery({ page: String(page - 1) })}>Before</Button>
                  <Button disabled={page * 50 >= (info?.total_count ?? 0)} onClick={() => setQuery({ page: String(page + 1) })}>After</Button>
                </div>
              )}
            </>
          );
        }}
      </Loaded>
    </Panel>
  );
}

interface Comparison {
  evaluations: { id: string; name: string; total_logs: number }[];
  figures: { evaluation_type_id: string; name: string; unit: string | null; values: { evaluation_id: string; result: string | null; total_logs: number; confidence_interval: [number, number] | null; difference?: number | null }[] }[];
}

function Compare({ ids }: { ids: string }) {
  const compared = useResource(`compare ${ids}`, (signal) => result<Comparison>(gatewayPath(`/evaluations/compare${queryOf({ ids })}`), { signal }));
  return (
    <>
      <div class="page-head"><p class="crumbs"><a href={linkTo("evaluations")}>Evaluations</a> /</p><h1>Compared</h1></div>
      <div class="page">
        <Loaded of={compared} lines={6}>
          {({ evaluations, figures }) => (
            <Table
              label="Comparison"
              boxed
              rows={[null, ...figures]}
              columns={[
                ["Measure", (one) => one?.evaluation_type_id ?? "logs"],
                ...evaluations.map(({ id, name, total_logs }): Column<Comparison["figures"][number] | null> => [
                  <a href={pathTo("evaluations", id)}>{visible(name)}</a>,
                  (one) => {
                    if (one === null) return integer(total_logs);
                    const value = one.values.find(({ evaluation_id }) => evaluation_id === id);
                    return <>{value?.result ? measured({ result: value.result, unit: one.unit }) : UNKNOWN}{value?.confidence_interval && <div class="note">{interval(value.confidence_interval)}</div>}</>;
                  },
                  "right",
                ]),
              ]}
            />
          )}
        </Loaded>
      </div>
    </>
  );
}
