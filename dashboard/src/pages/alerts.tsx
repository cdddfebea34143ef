// Alerts: what happened that an operator was to know, who was told, and the webhooks that are told.
import { useSignal } from "@preact/signals";
import { visible } from "../core/format.ts";
import { accountPath, api, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { place } from "../state/router.ts";
import { isAdmin } from "../state/session.ts";
import { attempt } from "../state/toasts.ts";
import { Check, CheckOf, FormDialog } from "../ui/form_dialog.tsx";
import { Button, CodeBlock, Dialog, PageHead, TablePanel, Time } from "../ui/kit.tsx";

interface Delivery {
  webhook_id: string;
  status: "pending" | "delivered" | "failed";
  attempts: number;
  error: string | null;
}

interface Alert {
  id: string;
  type: string;
  gateway: string | null;
  at: string;
  summary: string;
  deliveries: Delivery[];
}

interface Webhook {
  id: string;
  gateway: string | null;
  url: string;
  format: string;
  events: string[] | null;
  thresholds: number[];
  created_at: string;
  secret?: string;
}

/** The kinds of alerts, and what each is about. */
const KINDS: [string, string][] = [
  ["spend", "a budget is nearly used up"],
  ["rate", "a limit of requests is nearly used up"],
  ["circuit", "a provider is left alone"],
  ["errors", "many requests fail"],
  ["logs_lost", "logs could not be written"],
  ["database", "a database is nearly full"],
  ["model", "a model in use left the catalogue"],
  ["telemetry", "spans did not reach their destination"],
];

export function AlertsPage() {
  const alerts = useResource(`alerts ${accountPath()}`, (signal) => result<Alert[]>(accountPath("/alerts"), { signal }));
  return (
    <>
      <PageHead title="Alerts" note="What operators are told of: limits that are nearly used up, failures, logs that were lost" />
      <div class="page">
        <TablePanel
          title="The last hundred"
          of={alerts}
          none="Nothing has happened that is told of"
          advice={isAdmin() ? "Alerts are noted once there is a webhook." : undefined}
          columns={[
            ["Time", ({ at }) => <Time at={at} />, "nowrap"],
            ["Gateway", ({ gateway }) => (gateway === null ? <span class="faint">all</span> : visible(gateway))],
            ["Kind", ({ type }) => type],
            ["What", ({ summary }) => visible(summary)],
            ["Told", ({ deliveries }) => (deliveries.length === 0 ? <span class="faint">nobody</span> : deliveries.map((one) => <Told key={one.webhook_id} of={one} />))],
          ]}
        />
        {isAdmin() && <Webhooks />}
      </div>
    </>
  );
}

function Told({ of: { status, attempts, error } }: { of: Delivery }) {
  const tries = attempts > 1 ? ` after ${attempts} tries` : "";
  if (status === "delivered") return <div class="good-text">delivered{tries}</div>;
  return <div class={status === "failed" ? "error-text" : ""}>{status}{tries}{error && <div class="note">{visible(error.slice(0, 300))}</div>}</div>;
}

function Webhooks() {
  const path = accountPath("/alerts/webhooks");
  const list = useResource(path, (signal) => result<Webhook[]>(path, { signal }));
  const isMaking = useSignal(false);
  const changed = useSignal<Webhook | null>(null);
  const made = useSignal<Webhook | null>(null);
  const events = useSignal<string[]>(KINDS.map(([kind]) => kind));
  const isHereOnly = useSignal(true);
  const isSlack = useSignal(false);
  const open = (one: Webhook | null) => {
    changed.value = one;
    events.value = one?.events ?? KINDS.map(([kind]) => kind);
    isHereOnly.value = one === null || one.gateway !== null;
    isSlack.value = one?.format === "slack";
    isMaking.value = true;
  };
  const remove = (one: Webhook) => window.confirm(`Remove the webhook ${one.url}?`) && void attempt(() => api(`${path}/${one.id}`, { method: "DELETE" }), list.reload);
  return (
    <TablePanel
      title="Webhooks"
      of={list}
      none="Nobody is told yet"
      advice="A webhook gets each alert once, signed, and is tried for an hour."
      actions={<Button onClick={() => open(null)}>New webhook</Button>}
      columns={[
        ["URL", ({ url }) => visible(url)],
        ["Gateway", ({ gateway }) => gateway ?? <span class="faint">all</span>],
        ["Form", ({ format }) => format],
        ["Kinds", ({ events: kinds }) => kinds?.join(", ") ?? <span class="faint">all</span>],
        ["At", ({ thresholds }) => thresholds.map((share) => `${Math.round(share * 100)}%`).join(", ")],
        ["Actions", (one) => <><Button kind="quiet" onClick={() => open(one)}>Change</Button><Button kind="quiet" class="danger" onClick={() => remove(one)}>Remove</Button></>, "actions"],
      ]}
    >
      {isMaking.value && (
        <FormDialog
          title={changed.value ? "Change a webhook" : "New webhook"}
          close={() => (isMaking.value = false)}
          fields={[
            { name: "url", label: "URL", placeholder: "https://hooks.example.com/tollgate", value: changed.value?.url },
            { name: "thresholds", label: "Shares of a limit", value: changed.value?.thresholds.join(", ") ?? "0.8, 1", help: "At which it is told: up to five, from 0.01 to 1" },
          ]}
          submit={async ({ url, thresholds = "" }) => {
            const shares = thresholds.split(/[\s,]+/).filter(Boolean).map(Number);
            const json = { url, gateway: isHereOnly.value ? (changed.value?.gateway ?? place.value.gateway) : null, format: isSlack.value ? "slack" : "json", events: events.value.length === KINDS.length ? null : events.value, thresholds: shares.length > 0 ? shares : null };
            if (changed.value) await api(`${path}/${changed.value.id}`, { method: "PATCH", json });
            else made.value = await result<Webhook>(path, { json });
            isMaking.value = false;
            list.reload();
          }}
        >
          <fieldset>
            <legend>Is told when</legend>
            {KINDS.map(([kind, text]) => <CheckOf key={kind} of={events} id={kind}>{text}</CheckOf>)}
          </fieldset>
          <Check of={isHereOnly}>for {changed.value?.gateway ?? place.value.gateway} only</Check>
          <Check of={isSlack}>as text, as Slack's incoming webhooks take it</Check>
        </FormDialog>
      )}
      {made.value?.secret && (
        <Dialog title="The webhook's secret" onClose={() => (made.value = null)}>
          <p>This is shown once. What the webhook gets is signed with it.</p>
          <CodeBlock text={made.value.secret} what="secret" />
        </Dialog>
      )}
    </TablePanel>
  );
}
