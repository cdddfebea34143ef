// Something that is loaded: each panel has its own, with its own error, so that one that fails leaves the others.
import { useSignal } from "@preact/signals";
import { useCallback, useEffect, useRef } from "preact/hooks";
import { signIns } from "./api.ts";
import { refreshes } from "./refresh.ts";

export interface Resource<T> {
  value: T | undefined;
  error: unknown;
  isLoading: boolean;
  /** Whether the value belongs to what was asked for before. */
  isOld: boolean;
  reload: () => void;
  /** Replaces the value, for what is changed before the server has said so. */
  set: (value: T) => void;
}


/** Loads whenever `key` changes; null loads nothing. A load that is no longer wanted is cancelled, at the server as well. */
export function useResource<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>, { keep = true } = {}): Resource<T> {
  const state = useSignal<{ key: string | null; value: T | undefined; error: unknown; isLoading: boolean }>({ key: null, value: undefined, error: null, isLoading: key !== null });
  const again = useSignal(0);
  const loader = useRef(load);
  loader.current = load;
  const round = refreshes.value + signIns.value;
  useEffect(() => {
    if (key === null) {
      state.value = { key, value: undefined, error: null, isLoading: false };
      return;
    }
    const abort = new AbortController();
    const before = state.peek();
    state.value = { ...before, value: keep || before.key === key ? before.value : undefined, error: null, isLoading: true };
    loader.current(abort.signal).then(
      (value) => !abort.signal.aborted && (state.value = { key, value, error: null, isLoading: false }),
      (error: unknown) => !abort.signal.aborted && (state.value = { ...state.peek(), error, isLoading: false }),
    );
    return () => abort.abort();
  }, [key, again.value, round]);
  const reload = useCallback(() => void (again.value += 1), []);
  const set = useCallback((value: T) => void (state.value = { ...state.peek(), value }), []);
  const { value, error, isLoading } = state.value;
  return { value, error, isLoading: isLoading || state.value.key !== key, isOld: state.value.key !== key, reload, set };
}
