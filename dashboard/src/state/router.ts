// The address is the state: pages read what they show from here, and change it by going to another address.
import { computed, signal } from "@preact/signals";

const BASE = "/dashboard/";

export const PAGES = ["overview", "logs", "sessions", "evaluations", "datasets", "review", "limits", "keys", "settings", "audit", "playground", "start", "guards", "policies", "alerts", "routes"] as const;
export type Page = (typeof PAGES)[number];

interface Address {
  path: string;
  query: URLSearchParams;
}

export interface Place {
  account: string | null;
  gateway: string | null;
  page: Page;
  /** What stands behind the page's name, such as the id of a log. */
  id: string | null;
}

const read = (): Address => ({ path: window.location.pathname, query: new URLSearchParams(window.location.search) });

export const address = signal<Address>(read());
window.addEventListener("popstate", () => (address.value = read()));

export function parsePath(path: string): Place {
  const parts = path.startsWith(BASE) ? path.slice(BASE.length).split("/").filter(Boolean).map(decode) : [];
  const [account = null, gateway = null, page, id = null] = parts;
  return { account, gateway, page: PAGES.find((known) => known === page) ?? "logs", id };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const place = computed(() => parsePath(address.value.path));
export const query = computed(() => address.value.query);

export function go(url: string, { replace = false } = {}): void {
  const target = new URL(url, window.location.href);
  if (target.href === window.location.href) return;
  window.history[replace ? "replaceState" : "pushState"](null, "", target);
  address.value = read();
}

export type Patch = Record<string, string | string[] | null>;

/** The address of this page with some parameters changed; null removes one. */
export function withQuery(patch: Patch, path = address.value.path): string {
  const next = new URLSearchParams(address.value.query);
  for (const [name, value] of Object.entries(patch)) {
    next.delete(name);
    for (const one of value === null ? [] : [value].flat()) next.append(name, one);
  }
  return path + search(next);
}

function search(query: URLSearchParams): string {
  // These are legal in a query, and addresses are read by people.
  const text = query.toString().replace(/%3A/g, ":").replace(/%2C/g, ",");
  return text === "" ? "" : `?${text}`;
}

export function setQuery(patch: Patch, options?: { replace?: boolean }): void {
  go(withQuery(patch), options);
}

export function pathTo(page: Page, id?: string | null, to: { account: string | null; gateway: string | null } = place.value): string {
  const parts = [to.account, to.gateway, page, id].filter((part): part is string => !!part);
  return BASE + parts.map(encodeURIComponent).join("/");
}

/** A link to a page that keeps the time range, which all pages share. */
export function linkTo(page: Page, { id = null, ...patch }: Record<string, string | string[] | null> & { id?: string | null } = {}): string {
  const kept = new URLSearchParams();
  for (const name of ["since", "from", "to"]) {
    const value = query.value.get(name);
    if (value !== null && !(name in patch)) kept.set(name, value);
  }
  for (const [name, value] of Object.entries(patch)) for (const one of value === null ? [] : [value].flat()) kept.append(name, one);
  return pathTo(page, id as string | null) + search(kept);
}

/** Clicks on links of the dashboard change the address without loading anything; with a modifier the browser opens a tab. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.hasAttribute("download") || link.origin !== window.location.origin || !link.pathname.startsWith(BASE)) return;
  event.preventDefault();
  go(link.href);
});
