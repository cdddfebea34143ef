// Which columns the list of logs has, in which order and how wide.
import { signal, useSignal } from "@preact/signals";
import { columnsOf, COLUMNS, DEFAULT_COLUMNS, isDefault, moved, NARROW_COLUMNS, readColumns, type ColumnInfo } from "../core/columns.ts";
import { recall, remember } from "../state/preferences.ts";
import { query, setQuery } from "../state/router.ts";
import { ofGateway } from "../state/session.ts";
import { Icon } from "./icons.tsx";
import { Button, IconButton, Menu } from "./kit.tsx";

const wide = window.matchMedia("(min-width: 1400px)");
const isWide = signal(wide.matches);
wide.addEventListener("change", () => (isWide.value = wide.matches));

export interface Columns {
  ids: string[];
  infos: ColumnInfo[];
  widths: Record<string, number>;
  resize: (id: string, width: number) => void;
  choose: (ids: string[]) => void;
}

export function useColumns(): Columns {
  const name = ofGateway("columns");
  const kept = useSignal(recall(name));
  const widths = useSignal<Record<string, number>>(readWidths(recall(ofGateway("widths"))));
  const ids = readColumns(query.value.get("cols")) ?? readColumns(kept.value) ?? DEFAULT_COLUMNS;
  return {
    ids,
    // Beside an open log there is room for a few, unless the reader has chosen columns; in a narrow window what was said comes before metadata.
    infos: columnsOf(!isDefault(ids) ? ids : query.value.has("log") ? NARROW_COLUMNS : isWide.value ? ids : ids.filter((id) => id !== "metadata")),
    widths: widths.value,
    resize: (id, width) => {
      widths.value = { ...widths.value, [id]: width };
      remember(ofGateway("widths"), JSON.stringify(widths.value));
    },
    choose: (next) => {
      const text = isDefault(next) ? null : next.join(",");
      remember(name, text);
      kept.value = text;
      if (query.value.has("cols")) setQuery({ cols: text }, { replace: true });
    },
  };
}

function readWidths(text: string | null): Record<string, number> {
  try {
    const read: unknown = JSON.parse(text ?? "{}");
    const entries = Object.entries(read ?? {}).filter(([, width]) => typeof width === "number" && width >= 40 && width <= 1200);
    return Object.fromEntries(entries);
  } catch {
    return {};
  }
}

export function Resizer({ column, resize }: { column: ColumnInfo; resize: (id: string, width: number) => void }) {
  const begin = (event: PointerEvent) => {
    event.preventDefault();
    const handle = event.currentTarget as HTMLElement;
    const width = handle.parentElement?.getBoundingClientRect().width ?? column.width;
    const from = event.clientX;
    const move = (now: PointerEvent) => resize(column.id, Math.round(Math.min(1200, Math.max(40, width + now.clientX - from))));
    handle.setPointerCapture(event.pointerId);
    handle.addEventListener("pointermove", move);
    handle.addEventListener("pointerup", () => handle.removeEventListener("pointermove", move), { once: true });
  };
  return <span class="resizer" onPointerDown={begin} aria-hidden="true" />;
}

export function ColumnsMenu({ ids, choose }: Columns) {
  const others = COLUMNS.filter(({ id }) => !ids.includes(id));
  return (
    <Menu label={<><Icon name="columns" /> Columns</>} title="Choose columns" align="right">
      {() => (
        <div class="column-choice scrolls">
          {columnsOf(ids).map(({ id, label }, at) => (
            <div key={id} class="with-action">
              <label>
                <input type="checkbox" checked disabled={ids.length === 1} onChange={() => choose(ids.filter((other) => other !== id))} />
                {label}
              </label>
              <IconButton icon="left" label={`Move ${label} to the left`} disabled={at === 0} onClick={() => choose(moved(ids, id, -1))} />
              <IconButton icon="right" label={`Move ${label} to the right`} disabled={at === ids.length - 1} onClick={() => choose(moved(ids, id, 1))} />
            </div>
          ))}
          {others.map(({ id, label }) => (
            <div key={id} class="with-action">
              <label>
                <input type="checkbox" checked={false} onChange={() => choose([...ids, id])} />
                {label}
              </label>
            </div>
          ))}
          <p>
            <Button kind="quiet" onClick={() => choose(DEFAULT_COLUMNS)}>As at first</Button>
          </p>
        </div>
      )}
    </Menu>
  );
}
