// A dynamic route as a drawing: where its elements stand, what leads where, and how often each way was taken.

import type { Passed } from "./way.ts";

export interface Element {
  id: string;
  type: string;
  outputs: Record<string, { elementId: string }>;
  properties?: Record<string, unknown>;
}

export interface Edge {
  from: string;
  to: string;
  /** The output's name, such as `true` or `10%`. */
  name: string;
}

export interface Placed {
  element: Element;
  column: number;
  row: number;
}

export const TYPES = ["start", "conditional", "percentage", "rate", "model", "end"];

/** The outputs that elements of a type have; those of a percentage are called by their parts. */
export const OUTPUTS: Record<string, string[]> = { start: ["next"], conditional: ["true", "false"], percentage: ["50%", "else"], rate: ["success", "fallback"], model: ["success", "fallback"], end: [] };
/** The outputs that an element may do without. */
export const OPTIONAL = ["fallback"];

export function edgesOf(elements: Element[]): Edge[] {
  const known = new Set(elements.map(({ id }) => id));
  return elements.flatMap(({ id, outputs }) => Object.entries(outputs ?? {}).flatMap(([name, output]) => (known.has(output?.elementId) ? [{ from: id, to: output.elementId, name }] : [])));
}

/**
 * Each element stands behind all that lead to it, and in a row near the first of them. A circle, which the server refuses, does not
 * stop the drawing: nothing stands further behind than there are elements.
 */
export function placed(elements: Element[]): Placed[] {
  const edges = edgesOf(elements);
  const columns = new Map(elements.map(({ id }) => [id, 0]));
  for (let round = 0; round < elements.length; round += 1) {
    for (const { from, to } of edges) columns.set(to, Math.min(elements.length - 1, Math.max(columns.get(to) ?? 0, (columns.get(from) ?? 0) + 1)));
  }
  const rows = new Map<string, number>();
  const most = Math.max(0, ...columns.values());
  for (let column = 0; column <= most; column += 1) {
    const here = elements.filter(({ id }) => columns.get(id) === column);
    const wanted = (id: string) => Math.min(...edges.filter(({ to }) => to === id).map(({ from }) => (rows.get(from) ?? 0) + outputPlace(elements, from, id) / 8), Infinity);
    const sorted = here.map(({ id }, at) => ({ id, key: wanted(id), at })).sort((a, b) => (a.key === b.key ? a.at - b.at : a.key - b.key));
    let next = 0;
    for (const { id, key } of sorted) {
      const row = Math.max(next, Number.isFinite(key) ? Math.floor(key) : 0);
      rows.set(id, row);
      next = row + 1;
    }
  }
  return elements.map((element) => ({ element, column: columns.get(element.id) ?? 0, row: rows.get(element.id) ?? 0 }));
}

function outputPlace(elements: Element[], from: string, to: string): number {
  const outputs = Object.values(elements.find(({ id }) => id === from)?.outputs ?? {});
  return Math.max(0, outputs.findIndex(({ elementId }) => elementId === to));
}

/** What an element does, in a line. */
export function summary({ type, properties = {} }: Element): string {
  const text = (name: string) => (properties[name] === undefined || properties[name] === null ? "" : String(properties[name]));
  if (type === "model") return [text("provider"), text("model")].filter(Boolean).join("/") || "no model yet";
  if (type === "conditional") return JSON.stringify(properties.condition ?? properties.conditions ?? {}).replace(/["{}]/g, "").replaceAll(":", " ").replaceAll(",", ", ");
  if (type === "percentage") return text("goal") ? `learns: ${text("goal")}` : text("sticky") ? `sticks to ${text("sticky").replace("metadata.", "")}` : "by chance";
  if (type === "rate" || type === "rate_limit") return `${text("limitType") === "cost" ? "$" : ""}${text("limit")} in ${text("window") || text("interval")} s${text("key") ? ` for each ${text("key").replace("metadata.", "")}` : ""}`;
  return "";
}

/** How often each output was taken, by the element's id and the output's name. */
export function counted(ways: Passed[][]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { element, output } of ways.flat()) counts.set(edgeKey(element, output), (counts.get(edgeKey(element, output)) ?? 0) + 1);
  return counts;
}

export function edgeKey(element: string, output: string): string {
  return `${element}\n${output}`;
}

/** An id that no element has. */
export function freeId(elements: Element[], type: string): string {
  for (let at = 1; ; at += 1) if (!elements.some(({ id }) => id === `${type}-${at}`)) return `${type}-${at}`;
}

/** Adds an element whose outputs lead to the route's end. */
export function withNew(elements: Element[], type: string): Element[] {
  const end = elements.find((element) => element.type === "end")?.id ?? "";
  const outputs = Object.fromEntries((OUTPUTS[type] ?? []).filter((name) => !OPTIONAL.includes(name)).map((name) => [name, { elementId: end }]));
  const properties: Record<string, Record<string, unknown>> = { conditional: { condition: { "metadata.plan": { $eq: "free" } } }, rate: { limit: 100, limitType: "count", window: 60 }, model: { provider: "openai", model: "gpt-4o-mini", retries: 0, timeout: 0 }, percentage: {} };
  const made = { id: freeId(elements, type), type, outputs, ...(properties[type] && { properties: properties[type] }) };
  return [...elements.slice(0, -1), made, ...elements.slice(-1)];
}

/** Takes an element out; what led to it leads to where its first output led. */
export function without(elements: Element[], gone: string): Element[] {
  const next = Object.values(elements.find(({ id }) => id === gone)?.outputs ?? {})[0]?.elementId;
  const led = (outputs: Element["outputs"]) => Object.fromEntries(Object.entries(outputs).flatMap(([name, output]) => (output.elementId !== gone ? [[name, output]] : next && next !== gone ? [[name, { elementId: next }]] : [])));
  return elements.filter(({ id }) => id !== gone).map((element) => ({ ...element, outputs: led(element.outputs) }));
}

/** Gives an element another id, and what leads to it as well. */
export function renamed(elements: Element[], from: string, to: string): Element[] {
  return elements.map((element) => ({
    ...element,
    id: element.id === from ? to : element.id,
    outputs: Object.fromEntries(Object.entries(element.outputs).map(([name, { elementId }]) => [name, { elementId: elementId === from ? to : elementId }])),
  }));
}

/** Elements as a version has them. An end may be stored without its empty outputs. */
export function readElements(value: unknown): Element[] {
  const list = Array.isArray(value) ? (value as Element[]) : [];
  return list.map((element) => ({ ...element, outputs: element.outputs ?? {} }));
}

/** What a new route begins with: one model. */
export const FIRST: Element[] = [
  { id: "start", type: "start", outputs: { next: { elementId: "model-1" } } },
  { id: "model-1", type: "model", properties: { provider: "openai", model: "gpt-4o-mini", retries: 0, timeout: 0 }, outputs: { success: { elementId: "end" } } },
  { id: "end", type: "end", outputs: {} },
];

/** What the server says of an element, by its place; `path` is that of an error. */
export function messagesOf(error: unknown, place: number): string[] {
  const details = (error as { details?: { message: string; path: string[] }[] } | null)?.details ?? [];
  return details.filter(({ path }) => path[1] === `elements[${place}]`).map(({ message, path }) => (path.length > 2 ? `${path.slice(2).join(".")}: ${message}` : message));
}
