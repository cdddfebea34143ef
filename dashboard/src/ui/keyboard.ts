// Keys without a modifier, while nothing is being typed. The browser's own shortcuts are never taken.
import { useEffect, useRef } from "preact/hooks";

export type Keys = Record<string, (event: KeyboardEvent) => void>;

/** How long the second key of a pair such as `g l` may take. */
const PAIR_MS = 1200;

let pendingG = 0;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) && (target as HTMLInputElement).type !== "checkbox";
}

export function useKeys(keys: Keys, isOn = true): void {
  const current = useRef(keys);
  current.current = keys;
  useEffect(() => {
    if (!isOn) return;
    const pressed = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector("dialog[open], .popover")) return;
      const isPair = Date.now() - pendingG < PAIR_MS;
      const name = isPair ? `g ${event.key}` : event.key;
      // Enter and space belong to the button or link that has the focus.
      if ((event.key === "Enter" || event.key === " ") && event.target instanceof Element && event.target.closest("button, a, summary")) return;
      if (event.key === "g" && !isPair) {
        pendingG = Date.now();
        return;
      }
      const run = current.current[name];
      if (!run) return;
      event.preventDefault();
      run(event);
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [isOn]);
}

export const HELP: { group: string; keys: [string, string][] }[] = [
  {
    group: "Everywhere",
    keys: [
      ["?", "this list"],
      ["g o · g l · g s · g e", "overview, logs, sessions, evaluations"],
      ["r", "refresh"],
      ["Esc", "close what is open"],
    ],
  },
  {
    group: "Logs",
    keys: [
      ["j k or ↓ ↑", "next and previous log, also while one is open"],
      ["Enter or o", "open"],
      ["[ ]", "previous and next tab of the open log"],
      ["t · T · x", "thumb up, thumb down, neither"],
      ["c · l", "copy the log's id, its link"],
      ["/ · f", "search, add a filter"],
      ["p", "pause or go on with new logs"],
    ],
  },
  { group: "Review", keys: [["1 · 2 · 0", "up, down, skip"]] },
];
