// Policies: who may call which models, and for how much; and what they would say of a request.
import { useSignal } from "@preact/signals";
import { ACTIONS, actionOf, actionText, PERIODS, resourceOf, resourceText, typedOf, type Policy } from "../core/policies.ts";
import { cost, plural, visible } from "../core/format.ts";
import { messageFor, said } from "../core/words.ts";
import { api, gatewayPath, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { may } from "../state/session.ts";
import { attempt, toast } from "../state/toasts.ts";
import { bound, Button, Dialog, Empty, Field, Loaded, PageHead, Panel, Table, Time } from "../ui/kit.tsx";

export function PoliciesPage() {
  const policies = useResource("policies", (signal) => result<Policy[]>(gatewayPath("/policies?includeStaging=true"), { signal }));
  /** The policy in the form; null for a new one, undefined for none. */
  const edited = useSignal<Policy | null | undefined>(undefined);
  const staged = (policies.value ?? []).filter(({ staging }) => staging).length;
  const remove = (one: Policy) => window.confirm(`Delete the policy “${one.name}”?`) && void attempt(() => api(gatewayPath(`/policies/${one.id}`), { method: "DELETE" }), policies.reload);
  const commit = () =>
    attempt(async () => {
      const { errors = [] } = await result<{ errors?: { error: string }[] }>(gatewayPath("/policies/commit"), { method: "POST", json: {} });
      toast(errors.length > 0 ? `Not all are in force: ${errors.map(({ error }) => error).join("; ")}` : "All are in force", { isError: errors.length > 0 });
    }, policies.reload);
  return (
    <>
      <PageHead title="Policies" note="Who may call which models, and for how much">
        {may("edit") && staged > 0 && <Button onClick={() => void commit()}>Put {plural(staged, "change")} in force</Button>}
        {may("edit") && <Button kind="main" onClick={() => (edited.value = null)}>New policy</Button>}
      </PageHead>
      <div class="page">
        <Loaded of={policies} lines={4}>
          {(all) =>
            all.length === 0 ? (
              <Empty title="No policies: every caller may call every model"><p>With the first policy in force, a request passes only where one matches it.</p></Empty>
            ) : (
              <Table
                label="Policies"
                boxed
                rows={all}
                columns={[
                  ["Name", ({ name, staging }) => <>{visible(name)}{staging && <> <span class="tag">not in force</span></>}</>],
                  ["Counted for each", ({ actor }) => (actor === "" ? <span class="faint">all together</span> : <code>{visible(actor)}</code>)],
                  ["Models", ({ resource }) => visible(resourceText(resource))],
                  ["Where", ({ condition }) => (condition ? <code>{visible(condition)}</code> : <span class="faint">always</span>)],
                  ["What", ({ action }) => actionText(action, cost)],
                  ["Changed", ({ updated_at }) => <Time at={updated_at * 1000} relative />, "nowrap"],
                  ["Actions", (one) => may("edit") && <><Button kind="quiet" onClick={() => (edited.value = one)}>Change</Button><Button kind="quiet" class="danger" onClick={() => remove(one)}>Delete</Button></>, "actions"],
                ]}
              />
            )
          }
        </Loaded>
        <Tester />
      </div>
      {edited.value !== undefined && <PolicyForm policy={edited.value} close={() => (edited.value = undefined)} done={() => ((edited.value = undefined), policies.reload())} />}
    </>
  );
}

function PolicyForm({ policy, close, done }: { policy: Policy | null; close: () => void; done: () => void }) {
  const typed = typedOf(policy);
  const name = useSignal(typed.name);
  const actor = useSignal(typed.actor);
  const models = useSignal(typed.models);
  const providers = useSignal(typed.providers);
  const condition = useSignal(typed.condition);
  const kind = useSignal(typed.kind);
  const amount = useSignal(typed.amount || "10");
  const period = useSignal(typed.period);
  const error = useSignal<unknown>(null);
  const store = async (isInForce: boolean) => {
    const json = { name: name.value, actor: actor.value, resource: resourceOf(models.value, providers.value), condition: condition.value.trim() || null, action: actionOf(kind.value, amount.value, period.value) };
    const query = isInForce ? "?commit=true" : "";
    try {
      await api(gatewayPath(policy ? `/policies/${policy.id}${query}` : `/policies${query}`), { method: policy ? "PUT" : "POST", json });
      done();
    } catch (failed) {
      error.value = failed;
    }
  };
  const wrong = (field: string) => messageFor(error.value, field);
  const isPlaced = ["name", "actor", "resource", "condition", "action"].some(wrong);
  return (
    <Dialog title={policy ? "Policy" : "New policy"} onClose={close}>
      <form class="form" onSubmit={(event) => (event.preventDefault(), void store(true))} autocomplete="off">
        <Field label="Name" error={wrong("name")}>{(id, about) => <input id={id} aria-describedby={about} required maxLength={200} {...bound(name)} />}</Field>
        <Field label="What" error={wrong("action")}>
          {(id, about) => (
            <span class="with-action">
              <select id={id} aria-describedby={about} value={kind.value} onChange={({ currentTarget }) => (kind.value = currentTarget.value)}>{ACTIONS.map(([value, label]) => <option key={value} value={value}>{label}</option>)}</select>
              {kind.value === "limit" && <><input aria-label="US dollars" type="number" min={0} step="any" required {...bound(amount)} /><select aria-label="Period" value={period.value} onChange={({ currentTarget }) => (period.value = currentTarget.value)}>{PERIODS.map((one) => <option key={one}>{one}</option>)}</select></>}
            </span>
          )}
        </Field>
        <Field label="Models" error={wrong("resource")} help="Names between commas; * stands for any characters but /. Empty for all.">{(id, about) => <input id={id} aria-describedby={about} placeholder="openai/gpt-5*, *opus*" {...bound(models)} />}</Field>
        <Field label="Providers" help="Empty for all">{(id, about) => <input id={id} aria-describedby={about} placeholder="openai, anthropic" {...bound(providers)} />}</Field>
        <Field label="Counted for each" error={wrong("actor")} help={<>A text with fields in braces: <code>team:{"{metadata.team}"}</code>, <code>{"{cf.user.email}"}</code>. Empty for all callers together.</>}>{(id, about) => <input id={id} aria-describedby={about} {...bound(actor)} />}</Field>
        <Field label="Where" error={wrong("condition")} help="An expression of CEL; empty for every request">{(id, about) => <textarea id={id} aria-describedby={about} class="code" rows={2} spellcheck={false} placeholder={'metadata.team == "search" && cf.country != "DE"'} {...bound(condition)} />}</Field>
        {error.value && !isPlaced ? <p class="field-error" role="alert">{said(error.value)}</p> : null}
        <div class="actions">
          {(!policy || !policy.staging) && <Button onClick={() => void store(false)}>Store, not in force yet</Button>}
          <Button kind="main" type="submit">Store and put in force</Button>
        </div>
      </form>
    </Dialog>
  );
}

interface Simulated {
  evaluation: { decision: string; buckets: { bucket: string; limits: { period: string; amount: number; policyName: string }[] }[] };
  enforcement: { allowed: boolean; reason?: string; bucket?: string; spent?: number; limit?: number; policyName?: string | null; missing?: string | null };
  policiesEvaluated: number;
}

const EXAMPLE = '{"metadata": {"team": "search"}, "cf": {"country": "DE", "user": {"email": "a@example.com"}}}';

/** What the policies would say of a request; nothing is sent or counted. */
function Tester() {
  const provider = useSignal("openai");
  const model = useSignal("gpt-5");
  const identity = useSignal(EXAMPLE);
  const usage = useSignal("{}");
  const answer = useSignal<Simulated | null>(null);
  const error = useSignal("");
  const run = async (event: Event) => {
    event.preventDefault();
    error.value = "";
    answer.value = null;
    try {
      const json = { provider: provider.value, model: model.value, identity: JSON.parse(identity.value || "{}") as unknown, bucketUsage: JSON.parse(usage.value || "{}") as unknown };
      answer.value = await result<Simulated>(gatewayPath("/policies/simulate"), { json });
    } catch (failed) {
      error.value = failed instanceof SyntaxError ? `This is not JSON: ${failed.message}` : said(failed);
    }
  };
  if (!may("edit") && !may("read")) return null;
  return (
    <Panel title="Try a request" actions={<span class="note">nothing is sent or counted</span>}>
      <form class="panel-body form" onSubmit={(event) => void run(event)}>
        <div class="setting-grid">
          <Field label="Provider">{(id) => <input id={id} {...bound(provider)} />}</Field>
          <Field label="Model">{(id) => <input id={id} {...bound(model)} />}</Field>
          <Field label="Who calls" help="What conditions and actors name">{(id, about) => <textarea id={id} aria-describedby={about} class="code" rows={3} spellcheck={false} {...bound(identity)} />}</Field>
          <Field label="Spent so far" help={'By policy: {"name": {"spent": 9.5}}'}>{(id, about) => <textarea id={id} aria-describedby={about} class="code" rows={3} spellcheck={false} {...bound(usage)} />}</Field>
        </div>
        {error.value && <p class="field-error" role="alert">{error.value}</p>}
        {answer.value && <Verdict of={answer.value} />}
        <Button type="submit">Try</Button>
      </form>
    </Panel>
  );
}

function Verdict({ of: { enforcement, evaluation, policiesEvaluated } }: { of: Simulated }) {
  const { allowed, reason, policyName, missing, spent, limit } = enforcement;
  const why = reason === "limit_exceeded" ? `${cost(spent ?? null)} of ${cost(limit ?? null)} is spent` : policyName ? (missing ? `it blocks what has no ${missing}` : "it blocks this") : "no policy matches";
  return (
    <div role="status" data-verdict={allowed ? "allowed" : "refused"}>
      <p><strong class={allowed ? "good-text" : "error-text"}>{allowed ? "It would pass" : "It would be refused"}</strong>{!allowed && <>: {policyName && <><b>{visible(policyName)}</b>, </>}{visible(why)}</>} <span class="note">of {plural(policiesEvaluated, "policy", "policies")}</span></p>
      {evaluation.buckets.map(({ bucket, limits }) => (
        <p key={bucket} class="note">counted as <code>{visible(bucket)}</code> · {limits.map(({ amount, period, policyName: name }) => `${cost(amount)} ${period} (${visible(name)})`).join(", ") || "no cap"}</p>
      ))}
    </div>
  );
}
