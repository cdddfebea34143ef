// Who may call Tollgate, with which keys Tollgate calls providers, and which providers and prices the account has added.
import { useSignal } from "@preact/signals";
import { cost, integer, UNKNOWN, visible } from "../core/format.ts";
import { explain } from "../core/words.ts";
import { accountPath, api, gatewayPath, queryOf, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { pathTo, place } from "../state/router.ts";
import { isAdmin, may } from "../state/session.ts";
import { attempt } from "../state/toasts.ts";
import type { Log, ProviderConfig, Token } from "../state/types.ts";
import { Check, CheckOf, FormDialog, type TextField } from "../ui/form_dialog.tsx";
import { Button, CodeBlock, Dialog, PageHead, TablePanel, Time } from "../ui/kit.tsx";

export function KeysPage() {
  return (
    <>
      <PageHead title="Keys & providers" />
      <div class="page">
        {isAdmin() && <Tokens />}
        <StoredKeys />
        <CustomProviders />
        <Prices />
      </div>
    </>
  );
}

const off = (one: { enable: boolean }) => !one.enable && <span class="note"> off</span>;
const never = <span class="faint">never</span>;

/** A list of this account or gateway: it loads, and each thing in it can be deleted. */
function useList<T extends { id: string }>(path: string) {
  const list = useResource(path, (signal) => result<T[]>(`${path}?per_page=100`, { signal }));
  const remove = (one: T, question: string) => window.confirm(question) && void attempt(() => api(`${path}/${one.id}`, { method: "DELETE" }), list.reload);
  return { list, remove, isMaking: useSignal(false) };
}

// === tokens ===

const PERMISSIONS: [string, string][] = [
  ["read", "see everything"],
  ["read_metadata", "see everything but what was said"],
  ["edit", "see and change everything"],
  ["run", "send requests, give feedback"],
  ["feedback", "give feedback only, for pages"],
];

function Tokens() {
  const { list, remove, isMaking } = useList<Token>(accountPath("/tokens"));
  const shown = useSignal<Token | null>(null);
  const roll = (token: Token) => window.confirm(`Give “${token.name}” a new value? The old one stops working at once.`) && void attempt(async () => (shown.value = await result<Token>(accountPath(`/tokens/${token.id}/roll`), { method: "POST" })), list.reload);
  return (
    <TablePanel
      title="Tokens"
      of={list}
      none="No tokens yet"
      advice="The admin token can do everything. Give applications tokens of their own, which may run."
      actions={<Button onClick={() => (isMaking.value = true)}>New token</Button>}
      columns={[
        ["Name", ({ name }) => visible(name)],
        ["May", ({ permissions }) => permissions.join(", ")],
        ["Gateways", ({ gateways }) => gateways?.join(", ") ?? <span class="faint">all</span>],
        ["Last used", ({ last_used_at: at }) => (at ? <Time at={at} relative /> : never), "nowrap"],
        ["Ends", ({ expires_at: at }) => (at ? <Time at={at} /> : never), "nowrap"],
        ["Actions", (token) => <><Button kind="quiet" onClick={() => roll(token)}>Roll</Button><Button kind="quiet" class="danger" onClick={() => remove(token, `Revoke “${token.name}”? It stops working within seconds.`)}>Revoke</Button></>, "actions"],
      ]}
    >
      {isMaking.value && <NewToken close={() => (isMaking.value = false)} made={(token) => ((isMaking.value = false), (shown.value = token), list.reload())} />}
      {shown.value && (
        <Dialog title={`The token “${shown.value.name}”`} onClose={() => (shown.value = null)}>
          <p>This is shown once. Copy it now; Tollgate keeps only a digest of it.</p>
          <CodeBlock text={shown.value.value ?? ""} what="token" />
        </Dialog>
      )}
    </TablePanel>
  );
}

function NewToken({ close, made }: { close: () => void; made: (token: Token) => void }) {
  const permissions = useSignal<string[]>(["run"]);
  const isHereOnly = useSignal(true);
  const gateway = place.value.gateway ?? "";
  return (
    <FormDialog
      title="New token"
      close={close}
      fields={[
        { name: "name", label: "Name", placeholder: "which application it is for" },
        { name: "expires_at", label: "Ends", optional: true, placeholder: "2027-01-31T00:00:00Z", help: "Empty for never" },
      ]}
      submit={async ({ name, expires_at }) => made(await result<Token>(accountPath("/tokens"), { json: { name, permissions: permissions.value, gateways: isHereOnly.value ? [gateway] : null, ...(expires_at && { expires_at }) } }))}
    >
      <fieldset>
        <legend>May</legend>
        {PERMISSIONS.map(([id, text]) => <CheckOf key={id} of={permissions} id={id}>{id} <span class="note">{text}</span></CheckOf>)}
      </fieldset>
      <Check of={isHereOnly}>for {gateway} only</Check>
    </FormDialog>
  );
}

// === stored keys ===

const WEIGHT: TextField = { name: "weight", label: "Weight", optional: true, placeholder: "none", help: "1 to 1,000: its part of the requests to this provider. Where the provider turns it away, the next key is tried." };

/** What was typed as a weight; what is no number goes to the server, which says so. */
const asWeight = (text: string) => (text.trim() === "" ? 0 : Number.isFinite(Number(text)) ? Number(text) : text);

function StoredKeys() {
  const { list, remove, isMaking } = useList<ProviderConfig>(gatewayPath("/provider_configs"));
  const isDefault = useSignal(true);
  const weighed = useSignal<ProviderConfig | null>(null);
  return (
    <TablePanel
      title="Stored keys of providers"
      of={list}
      none="No stored keys"
      advice="Callers bring their own, or the operator's PROVIDER_KEYS are used. With a stored key, applications need none."
      actions={may("edit") && <Button onClick={() => (isMaking.value = true)}>New key</Button>}
      columns={[
        ["Provider", (key) => <>{key.provider_slug}{key.default_config && <span class="tag">default</span>}</>],
        ["Alias", ({ alias }) => visible(alias)],
        ["Key", ({ secret_preview: preview, secret_id }) => <code>{preview ? `…${preview}` : secret_id}</code>],
        ["Weight", (key) => <>{key.weight > 0 ? integer(key.weight) : <span class="faint">none</span>}{may("edit") && <Button kind="quiet" onClick={() => (weighed.value = key)}>Change</Button>}</>, "nowrap"],
        ["Stored", ({ modified_at }) => <Time at={modified_at} relative />, "nowrap"],
        ["Last used", (key) => <LastUse of={key} />, "nowrap"],
        ["Actions", (key) => <><TestCall provider={key.provider_slug} alias={key.alias} />{may("edit") && <Button kind="quiet" class="danger" onClick={() => remove(key, `Delete the key “${key.alias}” of ${key.provider_slug}?`)}>Delete</Button>}</>, "actions"],
      ]}
    >
      {isMaking.value && (
        <FormDialog
          title="New key"
          close={() => (isMaking.value = false)}
          fields={[
            { name: "provider_slug", label: "Provider", placeholder: "openai" },
            { name: "alias", label: "Alias", placeholder: "production", help: "Letters, digits, . _ -" },
            { name: "secret", label: "Key", secret: true, help: "It is sealed, and never shown again." },
            WEIGHT,
          ]}
          submit={async ({ weight, ...values }) => {
            await api(gatewayPath("/provider_configs"), { json: { ...values, default_config: isDefault.value, ...(weight && { weight: asWeight(weight) }) } });
            list.reload();
            isMaking.value = false;
          }}
        >
          <Check of={isDefault}>used where a caller brings no key</Check>
        </FormDialog>
      )}
      {weighed.value && (
        <FormDialog
          title={`The weight of “${weighed.value.alias}”`}
          close={() => (weighed.value = null)}
          fields={[{ ...WEIGHT, value: weighed.value.weight > 0 ? String(weighed.value.weight) : "" }]}
          submit={async ({ weight = "" }) => {
            await api(gatewayPath(`/provider_configs/${weighed.value?.id ?? ""}`), { method: "PUT", json: { weight: asWeight(weight) } });
            list.reload();
            weighed.value = null;
          }}
        />
      )}
    </TablePanel>
  );
}

/** So many of the newest logs tell when a key was used last. */
const LOOKED_THROUGH = 10_000;

function LastUse({ of: { provider_slug, alias } }: { of: ProviderConfig }) {
  const filters = JSON.stringify([{ key: "provider", operator: "eq", value: [provider_slug] }, { key: "credential_alias", operator: "eq", value: [alias] }]);
  const last = useResource(`last use ${provider_slug} ${alias}`, (signal) => result<Log[]>(gatewayPath(`/logs${queryOf({ per_page: 1, examine: LOOKED_THROUGH, filters })}`), { signal }));
  if (last.error) return <span class="faint" title={explain(last.error).title}>{UNKNOWN}</span>;
  const log = last.value?.[0];
  if (!log) return <span class="faint" title={`In none of the newest ${integer(LOOKED_THROUGH)} logs`}>{last.value ? "not lately" : ""}</span>;
  return <a href={pathTo("logs", log.id)}><Time at={log.created_at} relative /></a>;
}

/** Asks the provider for its models, which costs nothing. */
function TestCall({ provider, alias }: { provider: string; alias: string }) {
  const state = useSignal("");
  if (!may("run")) return null;
  const call = async () => {
    state.value = "…";
    const { account, gateway } = place.value;
    const answer = await fetch(`/dashboard/playground/${account}/${gateway}/${provider}/models`, { credentials: "same-origin", headers: { "cf-aig-byok-alias": alias } }).catch(() => null);
    state.value = answer === null ? "no answer" : answer.ok ? "works" : `refused with ${answer.status}`;
  };
  return <><span class="note" role="status">{state.value}</span><Button kind="quiet" onClick={() => void call()}>Test</Button></>;
}

// === custom providers and prices ===

interface CustomProvider {
  id: string;
  slug: string;
  name: string;
  base_url: string;
  enable: boolean;
}

function CustomProviders() {
  const { list, remove, isMaking } = useList<CustomProvider>(accountPath("/custom-providers"));
  return (
    <TablePanel
      title="Custom providers"
      of={list}
      none="None besides the built-in ones"
      actions={isAdmin() && <Button onClick={() => (isMaking.value = true)}>New provider</Button>}
      columns={[
        ["Name", (one) => <>{visible(one.name)}{off(one)}</>],
        ["In paths", ({ slug }) => <code>custom-{slug}</code>],
        ["Base URL", ({ base_url }) => visible(base_url)],
        ["Actions", (one) => isAdmin() && <Button kind="quiet" class="danger" onClick={() => remove(one, `Delete the provider “${one.name}”?`)}>Delete</Button>, "actions"],
      ]}
    >
      {isMaking.value && (
        <FormDialog
          title="New provider"
          close={() => (isMaking.value = false)}
          fields={[
            { name: "name", label: "Name" },
            { name: "slug", label: "Name in paths", placeholder: "my-models", help: "custom- stands in front of it" },
            { name: "base_url", label: "Base URL", placeholder: "https://models.example.com/v1" },
          ]}
          submit={async (values) => {
            await api(accountPath("/custom-providers"), { json: { ...values, enable: true } });
            list.reload();
            isMaking.value = false;
          }}
        />
      )}
    </TablePanel>
  );
}

interface Price {
  id: string;
  provider: string;
  model: string;
  model_rule: string;
  cost_in?: number;
  cost_out?: number;
  enable: boolean;
}

const perMillion = (value: number | undefined) => (value === undefined ? UNKNOWN : cost(value * 1e6));

function Prices() {
  const { list, remove, isMaking } = useList<Price>(accountPath("/custom-providers/costs"));
  return (
    <TablePanel
      title="Prices of this account"
      of={list}
      none="Tollgate's list of prices counts"
      actions={isAdmin() && <Button onClick={() => (isMaking.value = true)}>New price</Button>}
      columns={[
        ["Provider", ({ provider }) => provider],
        ["Model", (one) => <><span class="note">{one.model_rule}</span> {visible(one.model)}{off(one)}</>],
        ["In, per 1M tokens", ({ cost_in }) => perMillion(cost_in), "right"],
        ["Out, per 1M tokens", ({ cost_out }) => perMillion(cost_out), "right"],
        ["Actions", (one) => isAdmin() && <Button kind="quiet" class="danger" onClick={() => remove(one, `Delete the price of ${one.model}?`)}>Delete</Button>, "actions"],
      ]}
    >
      {isMaking.value && (
        <FormDialog
          title="New price"
          close={() => (isMaking.value = false)}
          fields={[
            { name: "account_provider_id", label: "Provider", placeholder: "openai" },
            { name: "model", label: "Model" },
            { name: "cost_in", label: "US dollars for 1M tokens in" },
            { name: "cost_out", label: "US dollars for 1M tokens out" },
          ]}
          submit={async ({ account_provider_id, model, cost_in, cost_out }) => {
            await api(accountPath("/custom-providers/costs"), { json: { account_provider_id, model, model_rule: "equals", cost_in: Number(cost_in) / 1e6, cost_out: Number(cost_out) / 1e6, enable: true } });
            list.reload();
            isMaking.value = false;
          }}
        />
      )}
    </TablePanel>
  );
}
