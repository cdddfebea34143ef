// One log as a page of its own, for a link that one sends to a colleague.
import { useEffect } from "preact/hooks";
import { go, linkTo, pathTo, query } from "../state/router.ts";
import { copy } from "../state/toasts.ts";
import { LogView } from "../ui/log_drawer.tsx";
import { useKeys } from "../ui/keyboard.ts";

export function LogPage({ id }: { id: string }) {
  useEffect(() => void (document.title = `Log ${id} · Tollgate`), [id]);
  useKeys({ Escape: () => go(linkTo("logs")), c: () => void copy(id, "log id"), l: () => void copy(window.location.href, "link") });
  return (
    <div class="log-page">
      <p class="crumbs">
        <a href={linkTo("logs", { log: id, ...(query.value.get("tab") && { tab: query.value.get("tab") }) })}>Logs</a> / <a href={pathTo("logs", id)}><code>{id}</code></a>
      </p>
      <LogView id={id} />
    </div>
  );
}
