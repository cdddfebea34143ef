// One log at the right of the list: it does not cover the page, and its frame is there before its contents are.
import { useRef } from "preact/hooks";
import { drawerWidth, remember } from "../state/preferences.ts";
import { useResource } from "../state/resource.ts";
import { gatewayPath, result } from "../state/api.ts";
import { withChanges } from "../state/logs.ts";
import { pathTo, query, setQuery } from "../state/router.ts";
import type { Log } from "../state/types.ts";
import { IconButton, Loaded, Skeleton, Tabs } from "./kit.tsx";
import { LogHead } from "./log_head.tsx";
import { ChecksTab, hasChecks } from "./log_checks.tsx";
import { AttemptsTab } from "./log_attempts.tsx";
import { ConversationTab } from "./conversation.tsx";
import { RequestTab, ResponseTab } from "./log_bodies.tsx";
import { FeedbackTab } from "./log_feedback.tsx";

export const TABS = [
  { id: "conversation", label: "Conversation" },
  { id: "request", label: "Request" },
  { id: "response", label: "Response" },
  { id: "attempts", label: "Attempts" },
  { id: "feedback", label: "Metadata & feedback" },
  { id: "checks", label: "Checks & route" },
] as const;

export type Tab = (typeof TABS)[number]["id"];

/** The tabs of a log; what was checked has one where something was. */
export function tabsOf(log: Log | undefined) {
  return TABS.filter(({ id }) => id !== "checks" || (log && hasChecks(log)));
}

const LEAST = 380;

export function LogDrawer({ id, listed, close, step }: { id: string; listed: Log | undefined; close: () => void; step: (by: 1 | -1) => void }) {
  const aside = useRef<HTMLElement>(null);
  const resize = (event: PointerEvent) => {
    event.preventDefault();
    const handle = event.currentTarget as HTMLElement;
    const move = (now: PointerEvent) => {
      drawerWidth.value = Math.round(Math.min(window.innerWidth - 320, Math.max(LEAST, window.innerWidth - now.clientX)));
    };
    handle.setPointerCapture(event.pointerId);
    handle.addEventListener("pointermove", move);
    handle.addEventListener("pointerup", () => (handle.removeEventListener("pointermove", move), remember("tollgate:drawer", String(drawerWidth.value))), { once: true });
  };
  return (
    <aside ref={aside} class="drawer" aria-label="Log" style={drawerWidth.value > 0 ? { width: `${drawerWidth.value}px` } : {}}>
      <span class="drawer-edge" onPointerDown={resize} aria-hidden="true" />
      <div class="drawer-bar">
        <IconButton icon="close" label="Close (Esc)" onClick={close} />
        <IconButton icon="left" label="Previous log (k)" onClick={() => step(-1)} />
        <IconButton icon="right" label="Next log (j)" onClick={() => step(1)} />
        <a class="icon-button" href={pathTo("logs", id)} title="Open as a page">
          <code>{id}</code>
        </a>
      </div>
      <LogView id={id} listed={listed} />
    </aside>
  );
}

/** A log with its tabs, in the drawer or on a page of its own. */
export function LogView({ id, listed }: { id: string; listed?: Log | undefined }) {
  const log = useResource(`log ${id}`, (signal) => result<Log>(gatewayPath(`/logs/${encodeURIComponent(id)}`), { signal }), { keep: false });
  const choose = (next: Tab) => setQuery({ tab: next === "conversation" ? null : next }, { replace: true });
  const value = log.isOld || !log.value ? listed : withChanges(log.value);
  const tabs = tabsOf(value);
  const tab = tabs.find((known) => known.id === query.value.get("tab"))?.id ?? "conversation";
  if (!value) return log.error ? <Loaded of={log}>{() => null}</Loaded> : <Skeleton lines={6} />;
  return (
    <>
      <LogHead log={value} />
      {log.error ? <Loaded of={{ ...log, value: undefined }}>{() => null}</Loaded> : null}
      <Tabs label="Parts of the log" tabs={tabs} chosen={tab} choose={choose} />
      <div class="tab-body" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0} key={`${id}/${tab}`}>
        {tab === "conversation" && <ConversationTab log={value} />}
        {tab === "request" && <RequestTab log={value} />}
        {tab === "response" && <ResponseTab log={value} />}
        {tab === "attempts" && <AttemptsTab log={value} />}
        {tab === "feedback" && <FeedbackTab log={value} reload={log.reload} />}
        {tab === "checks" && <ChecksTab log={value} />}
      </div>
    </>
  );
}
