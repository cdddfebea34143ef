// What callers said of a request, what people thought of its answer, and who said so when.
import { useSignal } from "@preact/signals";
import { visible } from "../core/format.ts";
import { said } from "../core/words.ts";
import { api, result } from "../state/api.ts";
import { judge } from "../state/logs.ts";
import { useResource } from "../state/resource.ts";
import { linkTo, place } from "../state/router.ts";
import { encode } from "../core/filters.ts";
import { may } from "../state/session.ts";
import { toast } from "../state/toasts.ts";
import type { Log } from "../state/types.ts";
import { JsonTree } from "./json_tree.tsx";
import { bound, Button, Empty, Field, Loaded, Time } from "./kit.tsx";

interface Given {
  data: Record<string, unknown>;
  history?: { given_at: string; given_by: string; kind: string; data: unknown }[];
}

export function FeedbackTab({ log, reload }: { log: Log; reload: () => void }) {
  const { account, gateway } = place.value;
  const path = `/feedback/${encodeURIComponent(log.id)}?account=${encodeURIComponent(account ?? "")}&gateway=${encodeURIComponent(gateway ?? "")}`;
  const given = useResource(`feedback ${log.id} ${log.feedback} ${log.score}`, (signal) => result<Given>(path, { signal }));
  const metadata = Object.entries(log.metadata ?? {});
  return (
    <div class="feedback">
      <h3>Metadata</h3>
      {metadata.length === 0 && <p class="note">None. Callers send it in the header cf-aig-metadata.</p>}
      <dl class="pairs">
        {metadata.map(([key, value]) => (
          <div key={key}>
            <dt>{visible(key)}</dt>
            <dd>
              <a href={linkTo("logs", { f: encode({ key: `metadata.${key}`, operator: "eq", values: [String(value)] }) })}>{visible(String(value))}</a>
            </dd>
          </div>
        ))}
      </dl>
      <h3>Score</h3>
      <Score log={log} />
      <h3>Feedback</h3>
      {Object.keys(log.feedback_data ?? {}).length > 0 ? <JsonTree value={log.feedback_data} /> : <p class="note">None besides thumb and score.</p>}
      {(may("edit") || may("run")) && <AnyFeedback path={path} done={() => (given.reload(), reload())} />}
      <h3>History</h3>
      <Loaded of={given} lines={2}>
        {({ history = [] }) =>
          history.length === 0 ? (
            <Empty title="Nobody has said anything yet" />
          ) : (
            <ol class="history">
              {history.map(({ given_at, given_by, kind, data }, at) => (
                <li key={at}>
                  <Time at={given_at} full /> <b>{visible(given_by)}</b> <span class="note">{kind === "delete" ? "took back" : kind === "patch" ? "set" : "said"}</span>
                  <JsonTree value={data} openTo={1} />
                </li>
              ))}
            </ol>
          )
        }
      </Loaded>
    </div>
  );
}

function Score({ log }: { log: Log }) {
  const typed = useSignal<string | null>(null);
  const save = (event: Event) => {
    event.preventDefault();
    const text = (typed.value ?? "").trim();
    const score = text === "" ? null : Number(text);
    if (score !== null && !(score >= 0 && score <= 100)) return toast("A score is a number from 0 to 100", { isError: true });
    typed.value = null;
    return judge(log, { score });
  };
  return (
    <form class="inline-form" onSubmit={(event) => void save(event)}>
      <input type="number" min={0} max={100} step="any" aria-label="Score, 0 to 100" disabled={!may("edit")} value={typed.value ?? log.score ?? ""} placeholder="0 to 100" onInput={(event) => (typed.value = event.currentTarget.value)} />
      <Button type="submit" disabled={typed.value === null}>Set</Button>
    </form>
  );
}

function AnyFeedback({ path, done }: { path: string; done: () => void }) {
  const text = useSignal("");
  const error = useSignal<string | undefined>(undefined);
  const submit = async (event: Event) => {
    event.preventDefault();
    let data: unknown;
    try {
      data = JSON.parse(text.value);
    } catch {
      error.value = "This is not JSON";
      return;
    }
    try {
      await api(path, { json: { data } });
      text.value = "";
      error.value = undefined;
      done();
    } catch (failed) {
      error.value = said(failed);
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <Field label="Add feedback" error={error.value} help={<>An object of any keys. <code>feedback</code>, <code>helpful</code>, <code>rating</code> and <code>score</code> set thumb and score as well.</>}>
        {(id, about) => <textarea id={id} aria-describedby={about} rows={3} spellcheck={false} placeholder='{"rating": 5, "comment": "just right"}' {...bound(text)} />}
      </Field>
      <Button type="submit" disabled={text.value.trim() === ""}>Add</Button>
    </form>
  );
}
