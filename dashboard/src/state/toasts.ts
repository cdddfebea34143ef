// Short messages at the edge of the page.
import { signal } from "@preact/signals";
import { said } from "../core/words.ts";

export interface Toast {
  id: number;
  text: string;
  isError: boolean;
  action?: { label: string; run: () => void };
}

export const toasts = signal<Toast[]>([]);
let last = 0;

export function toast(text: string, { isError = false, action, ms = isError ? 8000 : 4000 }: { isError?: boolean; action?: Toast["action"]; ms?: number } = {}): number {
  const id = (last += 1);
  toasts.value = [...toasts.value, { id, text, isError, ...(action && { action }) }];
  setTimeout(() => dismiss(id), ms);
  return id;
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((shown) => shown.id !== id);
}

/** Does something that may be refused, and says so where it is. */
export async function attempt(what: () => Promise<unknown>, done?: () => void): Promise<void> {
  try {
    await what();
    done?.();
  } catch (error) {
    toast(said(error), { isError: true });
  }
}

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast(`The browser did not let ${what} be copied`, { isError: true });
  }
}
