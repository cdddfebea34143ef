// Filters of logs: as the page's address has them, as the API takes them, and as people read them.

export type Operator = "eq" | "neq" | "contains" | "lt" | "gt" | "present" | "absent";

export interface Filter {
  key: string;
  operator: Operator;
  values: string[];
}

export type Kind = "text" | "number" | "boolean" | "metadata";

export interface Field {
  key: string;
  label: string;
  kind: Kind;
  /** Whether the most frequent values can be asked for. */
  facet?: boolean;
  /** What stands behind a number. */
  unit?: string;
}

export const FIELDS: Field[] = [
  { key: "model", label: "model", kind: "text", facet: true },
  { key: "provider", label: "provider", kind: "text", facet: true },
  { key: "status_code", label: "status", kind: "number", facet: true },
  { key: "success", label: "success", kind: "boolean", facet: true },
  { key: "cached", label: "from cache", kind: "boolean", facet: true },
  { key: "error", label: "error", kind: "text" },
  { key: "finish_reason", label: "finish reason", kind: "text", facet: true },
  { key: "feedback", label: "thumb", kind: "number", facet: true },
  { key: "score", label: "score", kind: "number" },
  { key: "cost", label: "cost", kind: "number", unit: "$" },
  { key: "duration", label: "duration", kind: "number", unit: "ms" },
  { key: "tokens", label: "tokens", kind: "number" },
  { key: "tokens_in", label: "tokens in", kind: "number" },
  { key: "tokens_out", label: "tokens out", kind: "number" },
  { key: "session_id", label: "session", kind: "text", facet: true },
  { key: "event_id", label: "event id", kind: "text" },
  { key: "id", label: "log id", kind: "text" },
  { key: "response_id", label: "response id", kind: "text" },
  { key: "model_type", label: "kind of model", kind: "text", facet: true },
  { key: "request_type", label: "kind of request", kind: "text" },
  { key: "user_agent", label: "user agent", kind: "text", facet: true },
  { key: "credential_alias", label: "key alias", kind: "text", facet: true },
  { key: "credential", label: "whose key", kind: "text" },
  { key: "cost_unknown", label: "why the cost is unknown", kind: "text" },
  { key: "evaluation_id", label: "evaluation", kind: "text" },
  { key: "dlp_action", label: "found by DLP", kind: "text" },
  { key: "guardrails_action", label: "guardrails", kind: "text" },
  { key: "guardrails_category", label: "found by guardrails", kind: "text" },
  { key: "route_id", label: "route", kind: "text" },
  { key: "step", label: "step", kind: "number" },
  { key: "attempt", label: "attempt", kind: "number" },
  { key: "answered", label: "answered", kind: "boolean" },
  { key: "ingested", label: "handed in", kind: "boolean" },
];

const KNOWN = new Map(FIELDS.map((field) => [field.key, field]));

const OPERATORS: Operator[] = ["eq", "neq", "contains", "lt", "gt", "present", "absent"];

/** A field by its key; metadata and feedback have fields that their users made up. */
export function fieldOf(key: string): Field {
  const known = KNOWN.get(key);
  if (known) return known;
  if (key.startsWith("metadata.")) return { key, label: key.slice("metadata.".length), kind: "metadata", facet: true };
  return { key, label: key, kind: "text" };
}

export function operatorsOf(kind: Kind): Operator[] {
  if (kind === "boolean") return ["eq"];
  if (kind === "number") return ["eq", "neq", "gt", "lt", "present", "absent"];
  return OPERATORS;
}

const WORDS: Record<Operator, string> = {
  eq: "is",
  neq: "is not",
  contains: "contains",
  lt: "below",
  gt: "above",
  present: "is there",
  absent: "is missing",
};

export function operatorWord(operator: Operator): string {
  return WORDS[operator];
}

export function takesValue(operator: Operator): boolean {
  return operator !== "present" && operator !== "absent";
}

/** A filter in one parameter of the address: `key:operator:value,value`, with a backslash before what would end a part. */
export function encode({ key, operator, values }: Filter): string {
  const escaped = (text: string) => text.replace(/[\\:,]/g, "\\$&");
  const head = `${escaped(key)}:${operator}`;
  return takesValue(operator) ? `${head}:${values.map(escaped).join(",")}` : head;
}

/** Reads what `encode` has written; null for anything else, because addresses are typed by people as well. */
export function decode(text: string): Filter | null {
  const [key = [], operator = [], values = [], ...more] = split(text);
  const name = key.join(",");
  const chosen = OPERATORS.find((known) => known === operator.join(","));
  if (name === "" || !chosen || more.length > 0) return null;
  if (!takesValue(chosen)) return { key: name, operator: chosen, values: [] };
  return values.length > 0 ? { key: name, operator: chosen, values } : null;
}

/** Parts between colons, each a list of what is between commas. */
function split(text: string): string[][] {
  const parts: string[][] = [[""]];
  for (let at = 0; at < text.length; at += 1) {
    const last = parts.at(-1) ?? [];
    const letter = text[at] ?? "";
    if (letter === ":") parts.push([""]);
    else if (letter === ",") last.push("");
    else {
      if (letter === "\\") at += 1;
      last[last.length - 1] += letter === "\\" ? (text[at] ?? "") : letter;
    }
  }
  return parts;
}

/** As the API takes it. */
export interface ApiFilter {
  key: string;
  operator: Operator;
  value?: (string | number | boolean | null)[];
}

export function toApi({ key, operator, values }: Filter): ApiFilter {
  if (!takesValue(operator)) return { key, operator };
  const { kind } = fieldOf(key);
  const typed = values.map((text) => {
    if (text === "null") return null;
    if (kind === "boolean") return text === "true";
    if (kind === "number" && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
    return text;
  });
  return { key, operator, value: typed };
}

export function fromApi(filter: ApiFilter): Filter {
  return { key: filter.key, operator: filter.operator, values: [filter.value ?? []].flat().map(String) };
}

/** What a filter says, for people. */
export function describe({ key, operator, values }: Filter): string {
  const { label, unit } = fieldOf(key);
  if (!takesValue(operator)) return `${label} ${WORDS[operator]}`;
  const shown = values.map((value) => (unit === "$" ? `$${value}` : unit ? `${value} ${unit}` : valueWord(key, value)));
  return `${label} ${WORDS[operator]} ${shown.join(" or ")}`;
}

/** A value as people call it. */
export function valueWord(key: string, value: string): string {
  if (key === "feedback") return { "1": "up", "-1": "down", "0": "neither", null: "none" }[value] ?? value;
  if (key === "success" || key === "cached" || key === "answered") return value === "true" ? "yes" : "no";
  return value === "" ? "(empty)" : value;
}

/** Adds a filter. One that is there for the same field and operator gets the values instead of a second chip. */
export function added(filters: Filter[], filter: Filter): Filter[] {
  const at = filters.findIndex(({ key, operator }) => key === filter.key && operator === filter.operator);
  const same = filters[at];
  if (!same) return [...filters, filter];
  const values = [...new Set([...same.values, ...filter.values])];
  return filters.map((other, index) => (index === at ? { ...same, values } : other));
}

/** Shortcuts beside the filters. */
export const SHORTCUTS: { name: string; filter: Filter }[] = [
  { name: "Errors", filter: { key: "success", operator: "eq", values: ["false"] } },
  { name: "Thumbs down", filter: { key: "feedback", operator: "eq", values: ["-1"] } },
  { name: "No feedback", filter: { key: "feedback", operator: "absent", values: [] } },
  { name: "From cache", filter: { key: "cached", operator: "eq", values: ["true"] } },
  { name: "Truncated", filter: { key: "finish_reason", operator: "eq", values: ["length", "max_tokens", "MAX_TOKENS"] } },
  { name: "Over 10 s", filter: { key: "duration", operator: "gt", values: ["10000"] } },
  { name: "Cost unknown", filter: { key: "cost_unknown", operator: "present", values: [] } },
];

export function isSame(a: Filter, b: Filter): boolean {
  return encode(a) === encode(b);
}
