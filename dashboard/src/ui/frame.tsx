// What is around every page: the pages' names at the left, the gateway and the time range at the top.
import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { RANGES, rangeLabel, readRange } from "../core/range.ts";
import { dateTime, zoneName } from "../core/format.ts";
import { accountPath, api } from "../state/api.ts";
import { remember, theme, zone } from "../state/preferences.ts";
import { refreshes } from "../state/refresh.ts";
import { useResource } from "../state/resource.ts";
import { go, linkTo, pathTo, place, query, setQuery, type Page } from "../state/router.ts";
import { isAdmin, may, me, signOut } from "../state/session.ts";
import type { Gateway } from "../state/types.ts";
import { LAST_PLACE } from "../pages/choose_place.tsx";
import { Icon } from "./icons.tsx";
import { HELP, useKeys } from "./keyboard.ts";
import { bound, Button, Dialog, IconButton, Menu } from "./kit.tsx";

const NAMES: [Page, string][] = [
  ["overview", "Overview"],
  ["logs", "Logs"],
  ["sessions", "Sessions"],
  ["evaluations", "Evaluations"],
  ["datasets", "Datasets"],
  ["review", "Review"],
  ["limits", "Limits"],
  ["alerts", "Alerts"],
  ["routes", "Routes"],
  ["policies", "Policies"],
  ["guards", "Guardrails & DLP"],
  ["keys", "Keys & providers"],
  ["settings", "Settings"],
  ["audit", "Audit trail"],
  ["playground", "Playground"],
];

/** Pages that show a stretch of time. */
const WITH_RANGE: Page[] = ["overview", "logs", "sessions"];
export const DEFAULT_RANGE: Partial<Record<Page, string>> = { overview: "24h", sessions: "7d" };

function isOffered(page: Page): boolean {
  if (page === "audit") return isAdmin();
  if (page === "playground") return may("run") && me.value?.features?.playground !== false;
  if (page === "review") return may("edit");
  return true;
}

export function Frame({ children }: { children: ComponentChildren }) {
  const isMenuOpen = useSignal(false);
  const isHelpOpen = useSignal(false);
  const { account, gateway, page } = place.value;
  useEffect(() => remember(LAST_PLACE, `${account}/${gateway}`), [account, gateway]);
  useEffect(() => void (isMenuOpen.value = false), [page]);
  const isOnline = useOnline();
  useKeys({
    "?": () => (isHelpOpen.value = true),
    r: () => (refreshes.value += 1),
    "g o": () => go(linkTo("overview")),
    "g l": () => go(linkTo("logs")),
    "g s": () => go(linkTo("sessions")),
    "g e": () => go(linkTo("evaluations")),
  });
  return (
    <div class="frame">
      <a class="skip" href="#content" onClick={(event) => (event.preventDefault(), document.getElementById("content")?.focus())}>
        To the content
      </a>
      <nav class={`rail ${isMenuOpen.value ? "open" : ""}`} aria-label="Pages">
        <div class="brand">
          <span>Tollgate</span>
          <IconButton icon="menu" label="Pages" class="menu-button" pressed={isMenuOpen.value} onClick={() => (isMenuOpen.value = !isMenuOpen.value)} />
        </div>
        <ul>
          {NAMES.filter(([name]) => isOffered(name)).map(([name, label]) => (
            <li key={name} class={`to-${name}`}>
              <a href={linkTo(name)} {...(name === page && { "aria-current": "page" as const })}>
                {label}
              </a>
            </li>
          ))}
        </ul>
        <a class="version" href={linkTo("start")}>
          Connect a client
        </a>
      </nav>
      <header class="top">
        <GatewaySwitch />
        <div class="spacer" />
        {WITH_RANGE.includes(page) && <RangeMenu />}
        <button type="button" class="button plain" title="Times are shown in this zone; click to change" onClick={() => (zone.value = zone.value === "local" ? "utc" : "local")}>
          {zoneName(zone.value)}
        </button>
        <IconButton icon="refresh" label="Refresh (r)" onClick={() => (refreshes.value += 1)} />
        <ThemeButton />
        <PersonMenu help={() => (isHelpOpen.value = true)} />
      </header>
      <main id="content" tabIndex={-1}>
        {!isOnline && (
          <p class="banner" role="status">
            This machine is offline. What is shown is from before.
          </p>
        )}
        {children}
      </main>
      {isHelpOpen.value && (
        <Dialog title="Keys" onClose={() => (isHelpOpen.value = false)}>
          {HELP.map(({ group, keys }) => (
            <section key={group} class="help-keys">
              <h3>{group}</h3>
              <dl>
                {keys.map(([key, text]) => (
                  <div key={key}>
                    <dt>{key}</dt>
                    <dd>{text}</dd>
                  </div>
                ))}
              </dl>
            </section>
          ))}
        </Dialog>
      )}
    </div>
  );
}

function useOnline(): boolean {
  const isOnline = useSignal(navigator.onLine);
  useEffect(() => {
    const changed = () => (isOnline.value = navigator.onLine);
    for (const name of ["online", "offline"]) window.addEventListener(name, changed);
    return () => ["online", "offline"].forEach((name) => window.removeEventListener(name, changed));
  }, []);
  return isOnline.value;
}

function GatewaySwitch() {
  const { account, gateway, page } = place.value;
  const gateways = useResource(`gateways ${account}`, (signal) => api<Gateway[]>(accountPath("/gateways?per_page=100"), { signal }));
  const accounts = [...new Set([account ?? "", ...(me.value?.accounts ?? [])])].filter(Boolean);
  const names = gateways.value?.result.map(({ id }) => id) ?? [];
  const isGone = gateways.value && !gateways.isOld && !gateways.isLoading && (gateways.value.result_info?.total_count ?? 0) <= 100 && !names.includes(gateway ?? "");
  const shown = names.includes(gateway ?? "") ? names : [...names, gateway ?? ""];
  return (
    <div class="switch">
      {accounts.length > 1 ? (
        <select aria-label="Account" value={account ?? ""} onChange={(event) => go(`/dashboard/${encodeURIComponent(event.currentTarget.value)}`)}>
          {accounts.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      ) : (
        <span class="account">{account}</span>
      )}
      <span class="slash">/</span>
      <select aria-label="Gateway" value={gateway ?? ""} onChange={(event) => go(pathTo(page, null, { account, gateway: event.currentTarget.value }))}>
        {shown.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      {isGone && <span class="gone" role="alert">This gateway does not exist (any more). Choose another.</span>}
    </div>
  );
}

function RangeMenu() {
  const fallback = DEFAULT_RANGE[place.value.page] ?? null;
  const range = readRange(query.value, fallback);
  const choose = (since: string) => setQuery({ since, from: null, to: null, after: null, before: null });
  const label = rangeLabel(range, (time) => dateTime(new Date(time), zone.value));
  return (
    <Menu label={<><Icon name="clock" /> <span class="range-label">{label}</span></>} title={`Time range: ${label}`} align="right" class="range">
      {(close) => (
        <>
          <ul class="choices">
            {RANGES.map(({ since, label: name }) => (
              <li key={since}>
                <button type="button" aria-pressed={range.since === since} onClick={() => (choose(since), close())}>
                  Last {name}
                </button>
              </li>
            ))}
            {place.value.page !== "overview" && (
              <li>
                <button type="button" aria-pressed={range.since === "all" || label === "All time"} onClick={() => (choose("all"), close())}>
                  All time
                </button>
              </li>
            )}
          </ul>
          <CustomRange close={close} from={range.from} to={range.to} />
        </>
      )}
    </Menu>
  );
}

/** A time as the browser's field for times writes it, in the chosen zone. */
function inputTime(time: number | null): string {
  return time === null ? "" : dateTime(new Date(time), zone.value).replace(" ", "T").slice(0, 16);
}

function CustomRange({ from, to, close }: { from: number | null; to: number | null; close: () => void }) {
  const begin = useSignal(inputTime(from));
  const end = useSignal(inputTime(to));
  const read = (text: string) => (text === "" ? null : new Date(zone.value === "utc" ? `${text}Z` : text).toISOString());
  const apply = (event: Event) => {
    event.preventDefault();
    setQuery({ since: null, from: read(begin.value), to: read(end.value), after: null, before: null });
    close();
  };
  return (
    <form class="custom-range" onSubmit={apply}>
      <label>
        From
        <input type="datetime-local" {...bound(begin)} />
      </label>
      <label>
        To
        <input type="datetime-local" {...bound(end)} />
      </label>
      <Button kind="main" type="submit">
        Show {zoneName(zone.value)}
      </Button>
    </form>
  );
}

function ThemeButton() {
  const next = { system: "light", light: "dark", dark: "system" } as const;
  const icon = { system: "auto", light: "sun", dark: "moon" } as const;
  const label = { system: "Colours as the system has them", light: "Light", dark: "Dark" }[theme.value];
  return <IconButton icon={icon[theme.value]} label={`${label}; click to change`} onClick={() => (theme.value = next[theme.value])} />;
}

function PersonMenu({ help }: { help: () => void }) {
  const actor = me.value?.actor;
  if (!actor) return null;
  return (
    <Menu label={<Icon name="person" />} title={`Signed in as ${actor.name}`} align="right">
      {(close) => (
        <div class="person">
          <strong>{actor.name}</strong>
          <p class="note">{actor.kind === "admin" ? "The admin token: may do everything" : `May ${actor.permissions.join(", ").replace("read_metadata", "read without bodies")}`}</p>
          <p class="note">Tollgate {me.value?.version}</p>
          <ul class="choices">
            <li>
              <button type="button" onClick={() => (close(), help())}>
                Keys (?)
              </button>
            </li>
            <li>
              <a href="/openapi.json" target="_blank" rel="noopener">
                API description
              </a>
            </li>
            <li>
              <button type="button" onClick={() => void signOut()}>
                Sign out
              </button>
            </li>
          </ul>
        </div>
      )}
    </Menu>
  );
}
