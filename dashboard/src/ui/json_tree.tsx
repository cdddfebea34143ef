// JSON as a tree whose branches come into being when they are opened.
import { useSignal } from "@preact/signals";
import { binaryOf, TEXT_LIMIT, TREE_DEPTH, TREE_STEP } from "../core/body.ts";
import { plural, visible } from "../core/format.ts";
import { BinaryChip, LongText } from "./text.tsx";

export function JsonTree({ value, name, depth = 0, openTo = 2 }: { value: unknown; name?: string; depth?: number; openTo?: number }) {
  if (typeof value !== "object" || value === null) {
    return (
      <div class="leaf">
        {name !== undefined && <span class="key">{visible(name)}: </span>}
        <Leaf value={value} />
      </div>
    );
  }
  return <Branch value={value as object} depth={depth} openTo={openTo} {...(name !== undefined && { name })} />;
}

function Branch({ value, name, depth, openTo }: { value: object; name?: string; depth: number; openTo: number }) {
  const entries = Object.entries(value);
  const isList = Array.isArray(value);
  const isOpen = useSignal(depth < openTo && entries.length <= TREE_STEP);
  const shown = useSignal(TREE_STEP);
  const size = isList ? plural(entries.length, "element") : plural(entries.length, "member");
  if (depth >= TREE_DEPTH) return <div class="leaf">{name !== undefined && <span class="key">{name}: </span>}<span class="faint">deeper than {TREE_DEPTH} levels, not shown</span></div>;
  return (
    <details class="branch" open={isOpen.value} onToggle={(event) => (event.stopPropagation(), (isOpen.value = event.currentTarget.open))}>
      <summary>
        {name !== undefined && <span class="key">{visible(name)}: </span>}
        <span class="faint">{isList ? "[" : "{"} {size} {isList ? "]" : "}"}</span>
      </summary>
      {isOpen.value && (
        <div class="branches">
          {entries.slice(0, shown.value).map(([key, child]) => (
            <JsonTree key={key} name={key} value={child} depth={depth + 1} openTo={openTo} />
          ))}
          {entries.length > shown.value && (
            <button type="button" class="link" onClick={() => (shown.value += TREE_STEP)}>
              {plural(Math.min(TREE_STEP, entries.length - shown.value), "more", "more")} of {entries.length}
            </button>
          )}
        </div>
      )}
    </details>
  );
}

function Leaf({ value }: { value: unknown }) {
  if (typeof value !== "string") return <span class={`value ${value === null ? "null" : typeof value}`}>{String(value)}</span>;
  const binary = binaryOf(value);
  if (binary) return <BinaryChip binary={binary} />;
  if (value.length > TEXT_LIMIT) return <LongText text={value} />;
  return <span class="value string">{visible(JSON.stringify(value))}</span>;
}
