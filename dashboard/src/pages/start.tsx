// How a client is connected, and whether its first request has arrived.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { clientsFor } from "../core/clients.ts";
import { api } from "../state/api.ts";
import { refreshes } from "../state/refresh.ts";
import { go, pathTo, place } from "../state/router.ts";
import type { Log } from "../state/types.ts";
import { Icon } from "../ui/icons.tsx";
import { CodeBlock, CopyButton, PageHead, Tabs } from "../ui/kit.tsx";

const ASK_MS = 2000;

export function StartPage() {
  const { account, gateway } = place.value;
  useEffect(() => void (document.title = "Connect a client · Tollgate"), []);
  return (
    <>
      <PageHead title="Connect a client" note="Change the base URL; all else stays as it is." />
      <Clients account={account ?? ""} gateway={gateway ?? ""} />
    </>
  );
}

/** What a gateway without any log shows. */
export function FirstRun({ account, gateway }: { account: string; gateway: string; isWaiting?: boolean }) {
  const name = useSignal(account);
  const first = useFirstLog(name.value, gateway);
  const isFixed = place.value.account !== null;
  return (
    <div class="first-run">
      <h1>{isFixed ? "No request has come through this gateway yet" : "Welcome. Send a request through Tollgate"}</h1>
      <p>Give your client this base URL in place of its provider's. Everything else stays as it is, streams and all, and each request appears here with its tokens and its cost.</p>
      {!isFixed && (
        <label class="account-name">
          Your account's name, which you choose
          <input value={name.value} pattern="[A-Za-z0-9_-]{1,64}" maxLength={64} spellcheck={false} onInput={(event) => (name.value = event.currentTarget.value.replace(/[^A-Za-z0-9_-]/g, ""))} />
        </label>
      )}
      <p class={`waiting ${first ? "arrived" : ""}`} role="status">
        <i aria-hidden="true" />
        {first ? "The first request has arrived." : "Waiting for the first request…"}
        {first && (
          <button type="button" class="button main" onClick={() => (go(`${pathTo("logs", null, { account: name.value, gateway })}?log=${first.id}`), (refreshes.value += 1))}>
            Open it
          </button>
        )}
      </p>
      <Clients account={name.value || "my-account"} gateway={gateway} />
    </div>
  );
}

function useFirstLog(account: string, gateway: string): Log | null {
  const found = useSignal<Log | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    const ask = async () => {
      if (document.visibilityState !== "visible" || found.value || account === "") return;
      const path = `/accounts/${encodeURIComponent(account)}/ai-gateway/gateways/${encodeURIComponent(gateway)}/logs?per_page=1`;
      // Until the first request a gateway does not exist, which is no fault.
      const logs = await api<Log[]>(path, { signal: abort.signal }).catch(() => null);
      found.value = logs?.result[0] ?? null;
    };
    const timer = setInterval(() => void ask(), ASK_MS);
    void ask();
    return () => (clearInterval(timer), abort.abort());
  }, [account, gateway]);
  return found.value;
}

function Clients({ account, gateway }: { account: string; gateway: string }) {
  const clients = clientsFor(window.location.origin, account, gateway);
  const chosen = useSignal(clients[0]?.id ?? "");
  const client = clients.find(({ id }) => id === chosen.value) ?? clients[0];
  if (!client) return null;
  return (
    <div class="clients">
      <Tabs label="Clients" tabs={clients.map(({ id, label }) => ({ id, label }))} chosen={client.id} choose={(id) => (chosen.value = id)} />
      <div role="tabpanel" aria-labelledby={`tab-${client.id}`} class="client" tabIndex={0}>
        <p class="base-url">
          <span class="note">Base URL</span> <code>{client.baseUrl}</code> <CopyButton text={client.baseUrl} what="base URL" />
        </p>
        <CodeBlock text={client.code} what={`${client.label} example`} />
        {client.note && <p class="note">{client.note}</p>}
        <p class="note">
          <Icon name="warn" size={12} /> A gateway that asks its callers for a token takes it in <code>cf-aig-authorization: Bearer …</code>; “Keys & providers” makes one that may run.
        </p>
      </div>
    </div>
  );
}
