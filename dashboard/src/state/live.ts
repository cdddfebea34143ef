// New logs, as they come.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Answer } from "./api.ts";
import { listLogs, wantedOf } from "./logs.ts";
import { recall, remember } from "./preferences.ts";
import { refreshes } from "./refresh.ts";
import type { Resource } from "./resource.ts";
import { query } from "./router.ts";
import type { Log } from "./types.ts";

const TAIL_MS = 2000;

type Page = Answer<Log[]>;

export interface Tail {
  isOn: boolean;
  toggle: () => void;
  waiting: number;
  show: () => void;
  fresh: ReadonlySet<string>;
}

/**
 * Asks for the first page again and again, with the same filters as the list. The server decides what matches; a log that was
 * written late stands where its request began, so whatever of the page is not known yet is new.
 */
export function useTail(list: Resource<Page>, isPossible: boolean, key: string, open: string | null): Tail {
  const name = "tollgate:live";
  const isWanted = useSignal(recall(name) !== "off");
  const arrived = useSignal<Page | null>(null);
  const waiting = useSignal(0);
  const fresh = useSignal<ReadonlySet<string>>(new Set());
  const isOn = isWanted.value && isPossible;
  const now = useRef({ list, open });
  now.current = { list, open };
  const take = (answer: Page) => {
    const known = new Set(now.current.list.value?.result.map(({ id }) => id));
    fresh.value = new Set(answer.result.map(({ id }) => id).filter((id) => !known.has(id)));
    arrived.value = null;
    waiting.value = 0;
    now.current.list.set(answer);
  };
  useEffect(() => {
    arrived.value = null;
    waiting.value = 0;
    fresh.value = new Set();
  }, [key, refreshes.value]);
  useEffect(() => {
    if (!isOn) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      if (document.visibilityState !== "visible" || now.current.list.isLoading || now.current.list.value === undefined) return;
      const answer = await listLogs(wantedOf(query.peek()), abort.signal).catch(() => null);
      if (!answer || abort.signal.aborted) return;
      const known = new Set(now.current.list.value?.result.map(({ id }) => id));
      const news = answer.result.filter(({ id }) => !known.has(id));
      if (news.length === 0) return;
      // A reader who is further down, or has a log open, keeps the place.
      const isReading = now.current.open !== null || (document.querySelector(".table-box")?.scrollTop ?? 0) > 4 || window.scrollY > 4;
      if (isReading) {
        arrived.value = answer;
        waiting.value = news.length;
      } else {
        take(answer);
      }
    };
    const round = () => void ask().finally(() => !abort.signal.aborted && (timer = setTimeout(round, TAIL_MS)));
    timer = setTimeout(round, TAIL_MS);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [isOn, key]);
  return {
    isOn,
    toggle: () => {
      isWanted.value = !isWanted.value;
      remember(name, isWanted.value ? null : "off");
    },
    waiting: waiting.value,
    show: () => arrived.value && take(arrived.value),
    fresh: fresh.value,
  };
}
