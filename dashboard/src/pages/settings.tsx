// Every setting of a gateway, in a form that shows what the server says of it beside the field.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { changesOf, fieldsOf, GROUPS, helpOf, KEPT, toText, type Schema, type SettingField } from "../core/settings.ts";
import { quoted } from "../core/snippets.ts";
import { integer, plural } from "../core/format.ts";
import { messageFor, said } from "../core/words.ts";
import { api, gatewayPath, result } from "../state/api.ts";
import { storeOver } from "../state/gateway.ts";
import { useResource } from "../state/resource.ts";
import { place, query } from "../state/router.ts";
import { may } from "../state/session.ts";
import { toast } from "../state/toasts.ts";
import type { Gateway } from "../state/types.ts";
import { Button, CodeBlock, Field, Loaded, PageHead, Panel, Time } from "../ui/kit.tsx";

export function SettingsPage() {
  const { gateway } = place.value;
  const loaded = useResource("settings", async (signal) => {
    const [described, value] = await Promise.all([
      fetch("/openapi.json", { signal }).then((answer) => answer.json() as Promise<{ components: { schemas: { Settings: { properties: Record<string, Schema> } } } }>),
      result<Gateway>(gatewayPath(""), { signal }),
    ]);
    return { fields: fieldsOf(described.components.schemas.Settings.properties), gateway: value };
  });
  return (
    <>
      <PageHead title="Settings" note={loaded.value && <>of {gateway}, changed <Time at={loaded.value.gateway.modified_at} relative /></>} />
      <div class="page settings">
        <Loaded of={loaded} lines={10}>{(value) => <SettingsForm {...value} stored={(next) => loaded.set({ ...value, gateway: next })} />}</Loaded>
        <Storage />
        {may("edit") && <DangerZone />}
      </div>
    </>
  );
}

function SettingsForm({ fields, gateway, stored }: { fields: SettingField[]; gateway: Gateway; stored: (gateway: Gateway) => void }) {
  const typed = useSignal<Record<string, string>>({});
  const error = useSignal<unknown>(null);
  const clash = useSignal<{ keys: string[]; now: Gateway } | null>(null);
  const isBusy = useSignal(false);
  const { changes, wrong } = changesOf(fields, gateway, typed.value);
  const dirty = Object.keys(changes);
  const isDirty = dirty.length > 0 || Object.keys(wrong).length > 0;
  useEffect(() => {
    if (!isDirty) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [isDirty]);
  const save = async (overwrite = false) => {
    isBusy.value = true;
    error.value = null;
    try {
      const next = await storeOver(gateway, changes, overwrite, (keys, now) => (clash.value = { keys, now }));
      if (next === null) return;
      typed.value = {};
      clash.value = null;
      stored(next);
      toast("Settings stored");
    } catch (failed) {
      error.value = failed;
    } finally {
      isBusy.value = false;
    }
  };
  const set = (key: string, text: string) => (typed.value = { ...typed.value, [key]: text });
  const rest = fields.map(({ key }) => key).filter((key) => !KEPT.includes(key) && !GROUPS.some(({ keys }) => keys.includes(key)));
  const groups = [...GROUPS, ...(rest.length > 0 ? [{ name: "Others", keys: rest }] : []), { name: "Kept for other clients", keys: KEPT }];
  const first = query.value.get("group");
  const details = (error.value as { details?: { path: string[] }[] } | null)?.details ?? [];
  const isPlaced = details.some(({ path }) => fields.some(({ key }) => path[0] === "body" && path[1] === key));
  const curl = `curl -X PUT ${window.location.origin}${gatewayPath("")} \\\n  --header "Authorization: Bearer $TOLLGATE_TOKEN" \\\n  --json ${quoted(JSON.stringify(changes))}`;
  return (
    <form onSubmit={(event) => (event.preventDefault(), void save())} class="settings-form" noValidate>
      {groups.map(({ name, keys }) => {
        const members = keys.map((key) => fields.find((field) => field.key === key)).filter((field): field is SettingField => field !== undefined);
        if (members.length === 0) return null;
        const body = (
          <div class="panel-body setting-grid">
            {members.map((field) => (
              <Setting key={field.key} field={field} text={typed.value[field.key] ?? toText(field.kind, gateway[field.key])} isDirty={dirty.includes(field.key) || field.key in wrong} error={wrong[field.key] ?? messageFor(error.value, field.key)} set={(text) => set(field.key, text)} />
            ))}
          </div>
        );
        if (keys === KEPT) return <details key={name} class="panel"><summary class="panel-body">{name}</summary>{body}</details>;
        return <Panel key={name} title={name} class={first === name ? "marked" : ""}>{body}</Panel>;
      })}
      {clash.value && (
        <div class="trouble" role="alert">
          <div>
            <strong>Somebody else has changed this meanwhile</strong>
            {clash.value.keys.map((key) => (
              <p key={key}><code>{key}</code>: theirs is <code>{JSON.stringify(clash.value?.now[key] ?? null)}</code>, yours is <code>{JSON.stringify(changes[key])}</code></p>
            ))}
            <p>
              <Button onClick={() => void save(true)}>Store mine</Button>{" "}
              <Button onClick={() => { const { keys, now } = clash.value ?? { keys: [], now: gateway }; typed.value = Object.fromEntries(Object.entries(typed.value).filter(([key]) => !keys.includes(key))); clash.value = null; stored(now); }}>Take theirs</Button>
            </p>
          </div>
        </div>
      )}
      {error.value && !isPlaced ? <p class="field-error" role="alert">{said(error.value)}</p> : null}
      {isDirty && (
        <div class="save-bar">
          <span>{plural(dirty.length, "change")}{Object.keys(wrong).length > 0 && `, ${Object.keys(wrong).length} cannot be read`}</span>
          <details><summary>as curl</summary><CodeBlock text={curl} what="curl" /></details>
          <Button onClick={() => ((typed.value = {}), (error.value = null), (clash.value = null))}>Discard</Button>
          <Button kind="main" type="submit" disabled={isBusy.value || dirty.length === 0 || Object.keys(wrong).length > 0 || !may("edit")}>{isBusy.value ? "Storing…" : "Store"}</Button>
        </div>
      )}
    </form>
  );
}

function Setting({ field, text, isDirty, error, set }: { field: SettingField; text: string; isDirty: boolean; error: string | undefined; set: (text: string) => void }) {
  const { key, kind, choices, isNullable, minimum, maximum } = field;
  const help = helpOf(key);
  const range = minimum !== undefined && maximum !== undefined && maximum < 1e12 ? `${integer(minimum)} to ${integer(maximum)}` : "";
  const shared = { disabled: !may("edit") };
  return (
    <div class={`setting ${isDirty ? "dirty" : ""} ${kind}`}>
      <Field label={key} error={error} help={[help, range].filter(Boolean).join(" ") || undefined}>
        {(id, about) => {
          if (kind === "flag") return <select id={id} aria-describedby={about} value={text} onChange={(event) => set(event.currentTarget.value)} {...shared}><option value="true">yes</option><option value="false">no</option>{text === "" && <option value="">as at first</option>}</select>;
          if (kind === "choice") return <select id={id} aria-describedby={about} value={text} onChange={(event) => set(event.currentTarget.value)} {...shared}>{isNullable && <option value="">none</option>}{choices.map((choice) => <option key={choice}>{choice}</option>)}</select>;
          if (kind === "json") return <textarea id={id} aria-describedby={about} class="code" rows={Math.min(10, Math.max(2, text.split("\n").length))} spellcheck={false} placeholder="none" value={text} onInput={(event) => set(event.currentTarget.value)} {...shared} />;
          return <input id={id} aria-describedby={about} inputMode={kind === "number" ? "numeric" : "text"} placeholder="none" value={text} onInput={(event) => set(event.currentTarget.value)} {...shared} />;
        }}
      </Field>
    </div>
  );
}

function Storage() {
  const storage = useResource("storage", (signal) => result<{ logs: number; oldest: string | null; not_stored: number; full_since: string | null; logs_removed: number }>(gatewayPath("/storage"), { signal }));
  return (
    <Panel title="What is stored">
      <Loaded of={storage} lines={2}>
        {(value) => (
          <dl class="facts panel-body">
            <div><dt>Logs</dt><dd>{integer(value.logs)}</dd></div>
            <div><dt>Oldest</dt><dd><Time at={value.oldest} /></dd></div>
            <div><dt>Found no room</dt><dd>{integer(value.not_stored)}</dd></div>
            <div><dt>Removed by retention</dt><dd>{integer(value.logs_removed)}</dd></div>
            {value.full_since && <div><dt>Full since</dt><dd class="error-text"><Time at={value.full_since} /></dd></div>}
          </dl>
        )}
      </Loaded>
    </Panel>
  );
}

function DangerZone() {
  const isBusy = useSignal(false);
  const purge = async () => {
    isBusy.value = true;
    try {
      await api(gatewayPath("/cache"), { method: "DELETE" });
      toast("The cache is empty");
    } catch (error) {
      toast(said(error), { isError: true });
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <Panel title="Cache">
      <div class="panel-body"><Button disabled={isBusy.value} onClick={() => void purge()}>Empty the cache</Button> <span class="note">Answers are then asked for anew.</span></div>
    </Panel>
  );
}
