// What a person has chosen for this browser: never credentials, never contents.
import { effect, signal } from "@preact/signals";
import type { Zone } from "../core/format.ts";

export type Theme = "system" | "light" | "dark";

function stored(name: string): string | null {
  try {
    return window.localStorage.getItem(name);
  } catch {
    // A browser may refuse; then choices hold until the page is closed.
    return null;
  }
}

export function remember(name: string, value: string | null): void {
  try {
    if (value === null) window.localStorage.removeItem(name);
    else window.localStorage.setItem(name, value);
  } catch {
    // See above.
  }
}

export const recall = stored;

const oneOf = <T extends string>(value: string | null, known: readonly T[], fallback: T): T => known.find((one) => one === value) ?? fallback;

export const theme = signal<Theme>(oneOf(stored("tollgate:theme"), ["system", "light", "dark"], "system"));
export const zone = signal<Zone>(oneOf(stored("tollgate:zone"), ["local", "utc"], "local"));
export const drawerWidth = signal<number>(Number(stored("tollgate:drawer")) || 0);
export const textMode = signal<"text" | "markdown">(oneOf(stored("tollgate:text"), ["text", "markdown"], "text"));
/** Counts up when the system changes between light and dark, for what is drawn on a canvas. */
export const painted = signal(0);

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
  remember("tollgate:theme", theme.value === "system" ? null : theme.value);
  painted.value = painted.peek() + 1;
});
effect(() => remember("tollgate:zone", zone.value === "local" ? null : zone.value));
effect(() => remember("tollgate:text", textMode.value === "text" ? null : textMode.value));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (painted.value += 1));
