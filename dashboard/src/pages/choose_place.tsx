// Where an address names no gateway: the one that was looked at last, or the only one there is, or a choice.
import { useEffect } from "preact/hooks";
import { api } from "../state/api.ts";
import { recall } from "../state/preferences.ts";
import { useResource } from "../state/resource.ts";
import { go, pathTo, place } from "../state/router.ts";
import { me } from "../state/session.ts";
import type { Gateway } from "../state/types.ts";
import { Loaded } from "../ui/kit.tsx";
import { FirstRun } from "./start.tsx";

export const LAST_PLACE = "tollgate:place";

interface Found {
  account: string;
  gateways: string[];
}

export function ChoosePlace() {
  const accounts = place.value.account ? [place.value.account] : (me.value?.accounts ?? []);
  const found = useResource<Found[]>(`places ${accounts.join(" ")}`, (signal) =>
    Promise.all(
      accounts.slice(0, 20).map(async (account) => {
        const { result } = await api<Gateway[]>(`/accounts/${encodeURIComponent(account)}/ai-gateway/gateways?per_page=100`, { signal });
        return { account, gateways: result.map(({ id }) => id) };
      }),
    ),
  );
  const places = (found.value ?? []).flatMap(({ account, gateways }) => gateways.map((gateway) => ({ account, gateway })));
  const last = recall(LAST_PLACE);
  const chosen = places.find(({ account, gateway }) => `${account}/${gateway}` === last) ?? (places.length === 1 ? places[0] : undefined) ?? places.find(({ gateway }) => gateway === "default") ?? places[0];
  useEffect(() => {
    document.title = "Tollgate";
    if (chosen && !found.isLoading) go(pathTo("logs", null, chosen), { replace: true });
  }, [chosen?.account, chosen?.gateway, found.isLoading]);
  return (
    <main class="alone wide">
      <Loaded of={found}>{() => (chosen ? null : <FirstRun account={place.value.account ?? me.value?.actor.account ?? "my-account"} gateway="default" />)}</Loaded>
    </main>
  );
}
