// Pages that are not part of the first load.
import type { ComponentType } from "preact";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Skeleton, Trouble } from "./kit.tsx";

const loaded = new Map<string, ComponentType>();
const RELOADED = "tollgate:reloaded";

export function Lazy({ name, load }: { name: string; load: () => Promise<ComponentType> }) {
  const round = useSignal(0);
  const error = useSignal<unknown>(null);
  useEffect(() => {
    if (loaded.has(name)) return;
    load().then(
      (page) => {
        loaded.set(name, page);
        sessionStorage.removeItem(RELOADED);
        round.value += 1;
      },
      (failed: unknown) => {
        // After an update the server no longer has the files of this tab's version: one reload gets the new ones.
        if (sessionStorage.getItem(RELOADED) === null && navigator.onLine) {
          sessionStorage.setItem(RELOADED, "1");
          window.location.reload();
        } else {
          error.value = failed;
        }
      },
    );
  }, [name]);
  // Read, so that this is drawn again when the page has come.
  void round.value;
  const Page = loaded.get(name);
  if (Page) return <Page />;
  return error.value ? <Trouble error={{ reason: "offline" }} retry={() => window.location.reload()} /> : <Skeleton lines={6} />;
}
