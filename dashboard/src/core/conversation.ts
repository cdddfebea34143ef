// A conversation as the API gives it, put in the order in which it is drawn: a tool's result belongs to its call.

export type Part =
  | { type: "text"; text: string; truncated?: boolean; chars?: number }
  | { type: "thinking"; text: string; signed?: boolean; truncated?: boolean; chars?: number }
  | { type: "tool_call"; id: string | null; name: string; arguments: unknown }
  | { type: "tool_result"; id: string | null; parts?: Part[]; text?: string; error?: boolean }
  | { type: "image" | "audio" | "document"; media_type?: string; bytes?: number; data?: string; url?: string; name?: string }
  | { type: "refusal"; text: string }
  | { type: "citation"; text?: string; url?: string }
  | { type: "unknown"; json: unknown };

export interface Turn {
  role: string;
  index: number;
  parts: Part[];
}

export interface Conversation {
  format: string;
  turns: Turn[];
  total: number;
  tools: { name: string; description?: string | null; parameters?: unknown }[];
  params: Record<string, unknown>;
  finish: string | null;
  usage?: Record<string, unknown> | null;
  warnings: string[];
}

export type ToolCall = Extract<Part, { type: "tool_call" }>;
export type ToolResult = Extract<Part, { type: "tool_result" }>;

export type Shown = { part: Exclude<Part, ToolCall> } | { call: ToolCall; result: ToolResult | null };

export interface ShownTurn {
  role: string;
  index: number;
  parts: Shown[];
}

/** Puts each tool's result beside its call. A turn of which nothing is left is not drawn; a result without a call stays. */
export function paired(turns: Turn[]): ShownTurn[] {
  const cards: { call: ToolCall; result: ToolResult | null }[] = [];
  const shown: ShownTurn[] = [];
  for (const { role, index, parts } of turns) {
    const kept: Shown[] = [];
    for (const part of isModel(role) ? joined(parts) : parts) {
      if (part.type === "tool_call") {
        const card = { call: part, result: null };
        cards.push(card);
        kept.push(card);
      } else if (part.type === "tool_result") {
        // The last open call of that id: some clients count their ids anew in each turn. Without ids results come in the order of calls.
        const open = cards.filter(({ result }) => result === null);
        const card = part.id ? open.findLast(({ call }) => call.id === part.id || (!call.id && call.name === part.id)) : open.find(({ call }) => !call.id);
        if (card) card.result = part;
        else kept.push({ part });
      } else {
        kept.push({ part });
      }
    }
    if (kept.length > 0 || parts.length === 0) shown.push({ role, index, parts: kept });
  }
  return shown;
}

export function isModel(role: string): boolean {
  return role === "assistant" || role === "model";
}

/**
 * Providers give one text in pieces: a stream's, or those between citations. Pieces that follow each other are one text; sources that
 * stand between them come behind it.
 */
export function joined(parts: Part[]): Part[] {
  const all: Part[] = [];
  let sources: Part[] = [];
  for (const part of parts) {
    const last = all.at(-1);
    if (part.type === "citation" && last?.type === "text") sources.push(part);
    else if (part.type === "text" && last?.type === "text" && !last.truncated) all[all.length - 1] = { ...part, text: last.text + part.text, ...(part.chars !== undefined && { chars: last.text.length + part.chars }) };
    else {
      all.push(...sources, part);
      sources = [];
    }
  }
  return [...all, ...sources];
}

export function isCard(shown: Shown): shown is { call: ToolCall; result: ToolResult | null } {
  return "call" in shown;
}

/** JSON that was sent as a text, as tool arguments are, read where it can be. */
export function readJson(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const text = value.trim();
  if (!/^[[{]/.test(text)) return value;
  try {
    return JSON.parse(text);
  } catch {
    return value;
  }
}

/** About so many tokens, for text whose tokens the provider did not count. */
export function roughTokens(text: string): number {
  return Math.max(1, Math.round(text.length / 4));
}
