// Guardrails and data loss prevention: what is looked for, what is done about it, and what was found.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { CATEGORIES, categoriesOf, dlpOf, flagged, PROFILES, ruleName, toSetting, type Dlp, type DlpPolicy } from "../core/guards.ts";
import { encode } from "../core/filters.ts";
import { integer, plural, visible } from "../core/format.ts";
import { messageFor, said } from "../core/words.ts";
import { gatewayPath, result } from "../state/api.ts";
import { storeOver } from "../state/gateway.ts";
import { newest } from "../state/newest.ts";
import { useResource } from "../state/resource.ts";
import { linkTo, pathTo } from "../state/router.ts";
import { may } from "../state/session.ts";
import { toast } from "../state/toasts.ts";
import type { Gateway } from "../state/types.ts";
import { Button, Empty, Field, IconButton, Loaded, PageHead, Panel, Table, Time } from "../ui/kit.tsx";

export function GuardsPage() {
  const gateway = useResource("guards", (signal) => result<Gateway>(gatewayPath(""), { signal }));
  return (
    <>
      <PageHead title="Guardrails & DLP" note="What is looked for in prompts and answers, and what was found" />
      <div class="page">
        <FlaggedPanel />
        <Loaded of={gateway} lines={8}>
          {(value) => (
            <>
              <DlpPanel key={`d${value.modified_at}`} gateway={value} stored={gateway.set} />
              <GuardrailsPanel key={`g${value.modified_at}`} gateway={value} stored={gateway.set} />
            </>
          )}
        </Loaded>
      </div>
    </>
  );
}

/** So many of the newest logs with a finding are counted. */
const COUNTED = 200;

function FlaggedPanel() {
  // No index holds what guardrails said, so that these are looked for among the newest logs of all.
  const found = useResource("flagged", async (signal) => {
    const [dlp, all] = await Promise.all([newest([{ key: "dlp_action", operator: "present" }], COUNTED, signal), newest([], COUNTED, signal)]);
    const judged = all.logs.filter(({ guardrails }) => categoriesOf(guardrails).length > 0);
    const logs = [...new Map([...dlp.logs, ...judged].map((log) => [log.id, log])).values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
    return { logs, isAll: dlp.isAll && all.isAll };
  });
  return (
    <Panel title="What was found" actions={found.value && found.value.logs.length > 0 && <a class="button plain" href={linkTo("logs", { since: "all", f: encode({ key: "dlp_action", operator: "present", values: [] }) })}>As logs</a>}>
      <Loaded of={found} lines={3}>
        {({ logs, isAll }) =>
          logs.length === 0 ? (
            <Empty title="Nothing was found yet" />
          ) : (
            <>
              <Table
                label="What was found, by rule"
                rows={flagged(logs)}
                columns={[
                  ["Rule", ({ rule }) => visible(rule)],
                  ["Kind", ({ kind }) => kind],
                  ["In", ({ where }) => visible(where)],
                  ["What was done", ({ action }) => visible(action.toLowerCase())],
                  ["Requests", ({ count }) => integer(count), "right"],
                ]}
              />
              {!isAll && <p class="note panel-body">Guardrails are counted among the newest {integer(COUNTED)} logs, data loss prevention among the newest {integer(COUNTED)} with a finding.</p>}
              <details class="panel-body">
                <summary>The newest {plural(Math.min(20, logs.length), "request")}</summary>
                <Table
                  label="The newest requests with a finding"
                  rows={logs.slice(0, 20)}
                  columns={[
                    ["Time", ({ id, created_at }) => <a href={pathTo("logs", id)}><Time at={created_at} /></a>, "nowrap"],
                    ["Model", ({ model, provider }) => visible(model || provider)],
                    ["Found", ({ dlp, guardrails }) => [...(dlp?.entry_ids ?? []), ...categoriesOf(guardrails).map(({ rule }) => ruleName(rule))].map((text) => <span key={text} class="tag">{visible(text)}</span>)],
                    ["What was done", ({ dlp_action }) => visible((dlp_action ?? "").toLowerCase())],
                  ]}
                />
              </details>
            </>
          )
        }
      </Loaded>
    </Panel>
  );
}

interface SettingProps {
  gateway: Gateway;
  stored: (gateway: Gateway) => void;
}

/** A panel with a setting that is stored as a whole. */
function SettingPanel({ title, name, gateway, stored, value, isChanged, children }: SettingProps & { title: string; name: string; value: unknown; isChanged: boolean; children: ComponentChildren }) {
  const error = useSignal<unknown>(null);
  const clash = useSignal<string | null>(null);
  const store = async (event: Event) => {
    event.preventDefault();
    error.value = null;
    try {
      const next = await storeOver(gateway, { [name]: value }, clash.value !== null, (_, now) => (clash.value = JSON.stringify(now[name] ?? null)));
      if (next === null) return;
      toast("Settings stored");
      stored(next);
    } catch (failed) {
      error.value = failed;
    }
  };
  const details = (error.value as { details?: { message: string; path: string[] }[] } | null)?.details?.find(({ path }) => path[1] === name);
  return (
    <Panel title={title}>
      <form class="panel-body form" onSubmit={(event) => void store(event)}>
        {children}
        {error.value ? <p class="field-error" role="alert">{details ? `${details.path.slice(2).join(".")} ${details.message}` : (messageFor(error.value, name) ?? said(error.value))}</p> : null}
        {clash.value !== null && <p class="field-error" role="alert">Somebody else has changed this meanwhile, to <code>{visible(clash.value.slice(0, 400))}</code>. Store once more to have yours.</p>}
        {isChanged && <Button kind="main" type="submit" disabled={!may("edit")}>Store</Button>}
      </form>
    </Panel>
  );
}

function DlpPanel(props: SettingProps) {
  const before = dlpOf(props.gateway.dlp);
  const dlp = useSignal<Dlp>(before);
  const own = useSignal(JSON.stringify(before.custom_profiles ?? [], null, 2));
  const wrong = useSignal("");
  const set = (change: Partial<Dlp>) => (dlp.value = { ...dlp.value, ...change });
  const setPolicy = (at: number, change: Partial<DlpPolicy>) => set({ policies: dlp.value.policies.map((policy, index) => (index === at ? { ...policy, ...change } : policy)) });
  const typeOwn = (text: string) => {
    own.value = text;
    wrong.value = "";
    try {
      const { custom_profiles: _, ...rest } = dlp.value;
      const read: unknown = text.trim() === "" ? [] : JSON.parse(text);
      if (!Array.isArray(read)) wrong.value = "Profiles are a list";
      else dlp.value = read.length > 0 ? { ...rest, custom_profiles: read } : rest;
    } catch {
      wrong.value = "This is not JSON";
    }
  };
  const ids = [...PROFILES, ...(dlp.value.custom_profiles ?? []).flatMap((one) => { const id = (one as { id?: unknown } | null)?.id; return typeof id === "string" ? [[id, "your own"] as [string, string]] : []; })];
  const off = { disabled: !may("edit") };
  const isChanged = JSON.stringify(dlp.value) !== JSON.stringify(before) && wrong.value === "";
  return (
    <SettingPanel {...props} title="Data loss prevention" name="dlp" value={toSetting(dlp.value)} isChanged={isChanged}>
      {dlp.value.policies.length === 0 && <p class="note">Nothing is looked for. Cards, numbers of people, keys and words of your own can be flagged, taken out, or stop a request.</p>}
      {dlp.value.policies.map((policy, at) => (
        <fieldset key={at}>
          <legend>{visible(policy.id)}</legend>
          <div class="setting-grid">
            <Field label="Name">{(id) => <input id={id} {...off} value={policy.id} onInput={({ currentTarget }) => setPolicy(at, { id: currentTarget.value })} />}</Field>
            <Field label="What is done">{(id) => <select id={id} {...off} value={policy.action} onChange={({ currentTarget }) => setPolicy(at, { action: currentTarget.value })}><option value="FLAG">flag it</option><option value="REDACT">take it out</option><option value="BLOCK">stop the request</option></select>}</Field>
            <Field label="Where">{(id) => <select id={id} {...off} value={policy.check.join()} onChange={({ currentTarget }) => setPolicy(at, { check: currentTarget.value.split(",") })}><option value="REQUEST,RESPONSE">requests and answers</option><option value="REQUEST">requests</option><option value="RESPONSE">answers</option></select>}</Field>
          </div>
          {ids.map(([id, text]) => <label key={id} class="check"><input type="checkbox" {...off} checked={policy.profiles.includes(id)} onChange={() => setPolicy(at, { profiles: policy.profiles.includes(id) ? policy.profiles.filter((other) => other !== id) : [...policy.profiles, id] })} /> {visible(id)} <span class="note">{text}</span></label>)}
          <div class="actions">
            <label class="check"><input type="checkbox" {...off} checked={policy.enabled !== false} onChange={() => setPolicy(at, { enabled: policy.enabled === false })} /> on</label>
            {may("edit") && <IconButton icon="close" label={`Remove ${policy.id}`} onClick={() => set({ policies: dlp.value.policies.filter((_, index) => index !== at) })} />}
          </div>
        </fieldset>
      ))}
      {may("edit") && <div class="actions"><Button kind="quiet" icon="plus" onClick={() => set({ enabled: true, policies: [...dlp.value.policies, { id: `policy-${dlp.value.policies.length + 1}`, action: "FLAG", check: ["REQUEST", "RESPONSE"], profiles: ["financial"] }] })}>Policy</Button></div>}
      {(dlp.value.policies.length > 0 || own.value !== "[]") && (
        <>
          <Field label="Profiles of your own" error={wrong.value || undefined} help="A list: each has an id, and patterns or words">{(id, about) => <textarea id={id} aria-describedby={about} class="code" rows={3} spellcheck={false} {...off} placeholder={'[{"id": "projects", "words": ["Bluebird"]}]'} value={own.value} onInput={({ currentTarget }) => typeOwn(currentTarget.value)} />}</Field>
          <label class="check"><input type="checkbox" {...off} checked={dlp.value.restore === true} onChange={() => set({ restore: dlp.value.restore !== true })} /> put back in the answer what was taken out of the request</label>
          <label class="check"><input type="checkbox" {...off} checked={dlp.value.enabled !== false} onChange={() => set({ enabled: dlp.value.enabled === false })} /> all of this is on</label>
        </>
      )}
    </SettingPanel>
  );
}

type Phase = "prompt" | "response";

/** What has a control of its own. */
const OWN = ["prompt", "response", "system", "stream"];

function GuardrailsPanel(props: SettingProps) {
  const before = (props.gateway.guardrails ?? {}) as Record<string, unknown>;
  const given = useSignal(before);
  const { prompt, response, system, stream, ...rest } = before;
  const more = useSignal(Object.keys(rest).length > 0 ? JSON.stringify(rest, null, 2) : "");
  const wrong = useSignal("");
  const phase = (name: Phase) => (given.value[name] ?? {}) as Record<string, string>;
  const set = (name: Phase, category: string, action: string) => {
    const { [category]: _, ...others } = phase(name);
    given.value = { ...given.value, [name]: action === "" ? others : { ...others, [category]: action } };
  };
  const typeMore = (text: string) => {
    more.value = text;
    wrong.value = "";
    try {
      const read: unknown = text.trim() === "" ? {} : JSON.parse(text);
      if (read === null || typeof read !== "object" || Array.isArray(read)) wrong.value = "This is no object";
      else given.value = { ...Object.fromEntries(OWN.filter((name) => name in given.value).map((name) => [name, given.value[name]])), ...(read as Record<string, unknown>) };
    } catch {
      wrong.value = "This is not JSON";
    }
  };
  const choose = (name: string, value: unknown) => {
    const { [name]: _, ...others } = given.value;
    given.value = value === undefined ? others : { ...others, [name]: value };
  };
  const isEmpty = Object.values(given.value).every((value) => Object.keys((value ?? {}) as object).length === 0);
  return (
    <SettingPanel {...props} title="Guardrails" name="guardrails" value={isEmpty ? null : given.value} isChanged={JSON.stringify(given.value) !== JSON.stringify(before) && wrong.value === ""}>
      <Table
        label="Guardrails"
        rows={CATEGORIES.map(([id, text]) => ({ id, text }))}
        columns={[
          ["What a model looks for", ({ id, text }) => <><code>{id}</code> {text}</>],
          ...(["prompt", "response"] as Phase[]).map((name): [string, (row: { id: string }) => ComponentChildren] => [
            name === "prompt" ? "In prompts" : "In answers",
            ({ id }) => (
              <select aria-label={`${id} in ${name === "prompt" ? "prompts" : "answers"}`} disabled={!may("edit")} value={phase(name)[id] ?? ""} onChange={({ currentTarget }) => set(name, id, currentTarget.value)}>
                <option value="">nothing</option>
                <option value="FLAG">flag it</option>
                <option value="BLOCK">stop it</option>
              </select>
            ),
          ]),
        ]}
      />
      <Field label="Streams" help="When an answer is judged that comes piece by piece">{(id, about) => <select id={id} aria-describedby={about} disabled={!may("edit")} value={String(given.value.stream ?? "window")} onChange={({ currentTarget }) => choose("stream", currentTarget.value === "window" ? undefined : currentTarget.value)}><option value="window">in parts that wait until they are judged</option><option value="buffer">as a whole, before any of it goes on</option><option value="after">when it has gone on, for the log alone</option></select>}</Field>
      <label class="check"><input type="checkbox" disabled={!may("edit")} checked={given.value.system === true} onChange={() => choose("system", given.value.system === true ? undefined : true)} /> judge system prompts too</label>
      <Field label="Engine and other checks" error={wrong.value || undefined} help="JSON: everything of the setting but what stands above">{(id, about) => <textarea id={id} aria-describedby={about} class="code" rows={4} spellcheck={false} disabled={!may("edit")} placeholder="{}" value={more.value} onInput={({ currentTarget }) => typeMore(currentTarget.value)} />}</Field>
    </SettingPanel>
  );
}
