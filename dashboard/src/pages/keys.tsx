// Who may call Tollgate, with which keys Tollgate calls providers, and which providers and prices the account has added.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { cost, integer, UNKNOWN, visible } from "../core/format.ts";
import { explain, messageFor } from "../core/words.ts";
import { accountPath, api, gatewayPath, queryOf, result } from "../state/api.ts";
import { useResource, type Resource } from "../state/resource.ts";
import { pathTo, place } from "../state/router.ts";
import { isAdmin, may } from "../state/session.ts";
import { toast } from "../state/toasts.ts";
import type { Log, ProviderConfig, Token } from "../state/types.ts";
import { Button, CodeBlock, Dialog, Empty, Field, Loaded, PageHead, Panel, Time } from "../ui/kit.tsx";

export function KeysPage() {
  const { account, gateway } = place.value;
  useEffect(() => void (document.title = `Keys & providers · ${account}/${gateway} · Tollgate`), []);
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

async function attempt(what: () => Promise<unknown>, done: () => void): Promise<void> {
  try {
    await what();
    done();
  } catch (error) {
    toast(`${explain(error).title}. ${explain(error).text}`, { isError: true });
  }
}

/** A form in a dialog: fields of text, whose errors the server says. */
function FormDialog({ title, fields, submit, close, children }: { title: string; fields: { name: string; label: string; help?: ComponentChildren; secret?: boolean; optional?: boolean; placeholder?: string; rows?: number }[]; submit: (values: Record<string, string>) => Promise<unknown>; close: () => void; children?: ComponentChildren }) {
  const values = useSignal<Record<string, string>>({});
  const error = useSignal<unknown>(null);
  const send = async (event: Event) => {
    event.preventDefault();
    try {
      await submit(values.value);
    } catch (failed) {
      error.value = failed;
    }
  };
  const isPlaced = fields.some(({ name }) => messageFor(error.value, name));
  return (
    <Dialog title={title} onClose={close}>
      <form class="form" onSubmit={(event) => void send(event)} autocomplete="off">
        {fields.map(({ name, label, help, secret, optional, placeholder, rows }) => (
          <Field key={name} label={label} help={help} error={messageFor(error.value, name)}>
            {(id, about) => {
              const shared = { id, "aria-describedby": about, required: !optional, placeholder, value: values.value[name] ?? "", spellcheck: false };
              const set = (text: string) => (values.value = { ...values.value, [name]: text });
              if (rows) return <textarea {...shared} rows={rows} class="code" onInput={(event) => set(event.currentTarget.value)} />;
              return secret ? <input {...shared} type="password" autocomplete="off" onInput={(event) => set(event.currentTarget.value)} /> : <input {...shared} type="text" onInput={(event) => set(event.currentTarget.value)} />;
            }}
          </Field>
        ))}
        {children}
        {error.value && !isPlaced ? <p class="field-error" role="alert">{explain(error.value).title}. {explain(error.value).text}</p> : null}
        <Button kind="main" type="submit">Store</Button>
      </form>
    </Dialog>
  );
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
  const tokens = useResource("tokens", (signal) => result<Token[]>(accountPath("/tokens?per_page=100"), { signal }));
  const isMaking = useSignal(false);
  const shown = useSignal<Token | null>(null);
  const roll = (token: Token) => window.confirm(`Give “${token.name}” a new value? The old one stops working at once.`) && attempt(async () => (shown.value = await result<Token>(accountPath(`/tokens/${token.id}/roll`), { method: "POST" })), tokens.reload);
  const revoke = (token: Token) => window.confirm(`Revoke “${token.name}”? It stops working within seconds.`) && attempt(() => api(accountPath(`/tokens/${token.id}`), { method: "DELETE" }), tokens.reload);
  return (
    <Panel title="Tokens" actions={<Button onClick={() => (isMaking.value = true)}>New token</Button>}>
      <Loaded of={tokens} lines={3}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="No tokens yet"><p>The admin token can do everything. Give applications tokens of their own, which may run.</p></Empty>
          ) : (
            <div class="scroll-x" tabIndex={0} role="group" aria-label="Tokens">
              <table class="plain-table">
                <thead><tr><th>Name</th><th>May</th><th>Gateways</th><th>Last used</th><th>Ends</th><th><span class="read-only">Actions</span></th></tr></thead>
                <tbody>
                  {all.map((token) => (
                    <tr key={token.id}>
                      <td>{visible(token.name)}</td>
                      <td>{token.permissions.join(", ")}</td>
                      <td>{token.gateways?.join(", ") ?? <span class="faint">all</span>}</td>
                      <td class="nowrap">{token.last_used_at ? <Time at={token.last_used_at} relative /> : <span class="faint">never</span>}</td>
                      <td class="nowrap">{token.expires_at ? <Time at={token.expires_at} /> : <span class="faint">never</span>}</td>
                      <td class="actions"><Button kind="quiet" onClick={() => void roll(token)}>Roll</Button><Button kind="quiet" class="danger" onClick={() => void revoke(token)}>Revoke</Button></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
      {isMaking.value && <NewToken close={() => (isMaking.value = false)} made={(token) => ((isMaking.value = false), (shown.value = token), tokens.reload())} />}
      {shown.value && (
        <Dialog title={`The token “${shown.value.name}”`} onClose={() => (shown.value = null)}>
          <p>This is shown once. Copy it now; Tollgate keeps only a digest of it.</p>
          <CodeBlock text={shown.value.value ?? ""} what="token" />
        </Dialog>
      )}
    </Panel>
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
      submit={async ({ name, expires_at }) => made(await result<Token>(accountPath("/tokens"), { json: { name: name ?? "", permissions: permissions.value, gateways: isHereOnly.value ? [gateway] : null, ...(expires_at && { expires_at }) } }))}
    >
      <fieldset>
        <legend>May</legend>
        {PERMISSIONS.map(([id, text]) => (
          <label key={id} class="check"><input type="checkbox" checked={permissions.value.includes(id)} onChange={() => (permissions.value = permissions.value.includes(id) ? permissions.value.filter((other) => other !== id) : [...permissions.value, id])} /> {id} <span class="note">{text}</span></label>
        ))}
      </fieldset>
      <label class="check"><input type="checkbox" checked={isHereOnly.value} onChange={() => (isHereOnly.value = !isHereOnly.value)} /> for {gateway} only</label>
    </FormDialog>
  );
}

// === stored keys ===

function StoredKeys() {
  const keys = useResource("stored keys", (signal) => result<ProviderConfig[]>(gatewayPath("/provider_configs?per_page=100"), { signal }));
  const isMaking = useSignal(false);
  const remove = (key: ProviderConfig) => window.confirm(`Delete the key “${key.alias}” of ${key.provider_slug}?`) && attempt(() => api(gatewayPath(`/provider_configs/${key.id}`), { method: "DELETE" }), keys.reload);
  return (
    <Panel title="Stored keys of providers" actions={may("edit") && <Button onClick={() => (isMaking.value = true)}>New key</Button>}>
      <Loaded of={keys} lines={2}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="No stored keys"><p>Callers bring their own, or the operator's PROVIDER_KEYS are used. With a stored key, applications need none.</p></Empty>
          ) : (
            <div class="scroll-x" tabIndex={0} role="group" aria-label="Stored keys">
              <table class="plain-table">
                <thead><tr><th>Provider</th><th>Alias</th><th>Key</th><th>Stored</th><th>Last used</th><th><span class="read-only">Actions</span></th></tr></thead>
                <tbody>
                  {all.map((key) => (
                    <tr key={key.id}>
                      <td>{key.provider_slug}{key.default_config && <span class="tag">default</span>}</td>
                      <td>{visible(key.alias)}</td>
                      <td><code>{key.secret_preview ? `…${key.secret_preview}` : key.secret_id}</code></td>
                      <td class="nowrap"><Time at={key.modified_at} relative /></td>
                      <td class="nowrap"><LastUse of={key} /></td>
                      <td class="actions"><TestCall provider={key.provider_slug} alias={key.alias} />{may("edit") && <Button kind="quiet" class="danger" onClick={() => void remove(key)}>Delete</Button>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
      {isMaking.value && <NewKey keys={keys} close={() => (isMaking.value = false)} />}
    </Panel>
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

function NewKey({ keys, close }: { keys: Resource<ProviderConfig[]>; close: () => void }) {
  const isDefault = useSignal(true);
  return (
    <FormDialog
      title="New key"
      close={close}
      fields={[
        { name: "provider_slug", label: "Provider", placeholder: "openai" },
        { name: "alias", label: "Alias", placeholder: "production", help: "Letters, digits, . _ -" },
        { name: "secret", label: "Key", secret: true, help: "It is sealed, and never shown again." },
      ]}
      submit={async ({ provider_slug, alias, secret }) => {
        await api(gatewayPath("/provider_configs"), { json: { provider_slug, alias, secret, default_config: isDefault.value } });
        keys.reload();
        close();
      }}
    >
      <label class="check"><input type="checkbox" checked={isDefault.value} onChange={() => (isDefault.value = !isDefault.value)} /> used where a caller brings no key</label>
    </FormDialog>
  );
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
  const list = useResource("custom providers", (signal) => result<CustomProvider[]>(accountPath("/custom-providers?per_page=100"), { signal }));
  const isMaking = useSignal(false);
  const remove = (one: CustomProvider) => window.confirm(`Delete the provider “${one.name}”?`) && attempt(() => api(accountPath(`/custom-providers/${one.id}`), { method: "DELETE" }), list.reload);
  return (
    <Panel title="Custom providers" actions={isAdmin() && <Button onClick={() => (isMaking.value = true)}>New provider</Button>}>
      <Loaded of={list} lines={2}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="None besides the built-in ones" />
          ) : (
            <div class="scroll-x" tabIndex={0} role="group" aria-label="Custom providers">
              <table class="plain-table">
                <thead><tr><th>Name</th><th>In paths</th><th>Base URL</th><th><span class="read-only">Actions</span></th></tr></thead>
                <tbody>
                  {all.map((one) => (
                    <tr key={one.id}>
                      <td>{visible(one.name)}{!one.enable && <span class="note"> off</span>}</td>
                      <td><code>custom-{one.slug}</code></td>
                      <td>{visible(one.base_url)}</td>
                      <td class="actions">{isAdmin() && <Button kind="quiet" class="danger" onClick={() => void remove(one)}>Delete</Button>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
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
    </Panel>
  );
}

interface Price {
  id: string;
  provider: string;
  model: string;
  model_rule: string;
  cost_in?: number;
  cost_out?: number;
  token_pricing?: string;
  enable: boolean;
}

function Prices() {
  const list = useResource("prices", (signal) => result<Price[]>(accountPath("/custom-providers/costs?per_page=100"), { signal }));
  const isMaking = useSignal(false);
  const remove = (one: Price) => window.confirm(`Delete the price of ${one.model}?`) && attempt(() => api(accountPath(`/custom-providers/costs/${one.id}`), { method: "DELETE" }), list.reload);
  const perMillion = (value: number | undefined) => (value === undefined ? "–" : cost(value * 1e6));
  return (
    <Panel title="Prices of this account" actions={isAdmin() && <Button onClick={() => (isMaking.value = true)}>New price</Button>}>
      <Loaded of={list} lines={2}>
        {(all) =>
          all.length === 0 ? (
            <Empty title="Tollgate's list of prices counts" />
          ) : (
            <div class="scroll-x" tabIndex={0} role="group" aria-label="Prices">
              <table class="plain-table">
                <thead><tr><th>Provider</th><th>Model</th><th class="right">In, per 1M tokens</th><th class="right">Out, per 1M tokens</th><th><span class="read-only">Actions</span></th></tr></thead>
                <tbody>
                  {all.map((one) => (
                    <tr key={one.id}>
                      <td>{one.provider}</td>
                      <td><span class="note">{one.model_rule}</span> {visible(one.model)}{!one.enable && <span class="note"> off</span>}</td>
                      <td class="right">{perMillion(one.cost_in)}</td>
                      <td class="right">{perMillion(one.cost_out)}</td>
                      <td class="actions">{isAdmin() && <Button kind="quiet" class="danger" onClick={() => void remove(one)}>Delete</Button>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
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
    </Panel>
  );
}
