// The raw text of a streamed answer, as a list of its events.

export interface StreamEvent {
  name: string | null;
  data: string;
}

/** Reads server-sent events; lines of JSON count as an event each. Null where the text is neither. */
export function readEvents(text: string, contentType: string): StreamEvent[] | null {
  if (/ndjson|jsonl|eventstream/.test(contentType)) {
    return text.split("\n").filter((line) => line.trim() !== "").map((data) => ({ name: null, data }));
  }
  if (!/event-stream/.test(contentType) && !/^(data|event|id|:)/.test(text)) return null;
  const events: StreamEvent[] = [];
  let name: string | null = null;
  let data: string[] = [];
  const flush = () => {
    if (data.length > 0) events.push({ name, data: data.join("\n") });
    name = null;
    data = [];
  };
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (line === "") flush();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    else if (line.startsWith("event:")) name = line.slice(6).trim();
  }
  flush();
  return events;
}

/** Cuts what a chunk of a stream has completed, for a reader that gets it piece by piece. */
export class EventReader {
  #rest = "";

  push(chunk: string): StreamEvent[] {
    const text = this.#rest + chunk;
    const end = Math.max(text.lastIndexOf("\n\n"), text.lastIndexOf("\r\n\r\n"));
    if (end < 0) {
      this.#rest = text;
      return [];
    }
    this.#rest = text.slice(end).replace(/^[\r\n]+/, "");
    return readEvents(text.slice(0, end + 2), "text/event-stream") ?? [];
  }
}

/** The text that an event adds to an answer, in any provider's format. */
export function textOf(event: unknown): string {
  const value = event as {
    choices?: { delta?: { content?: unknown }; text?: unknown }[];
    delta?: { text?: unknown } | string;
    type?: string;
    candidates?: { content?: { parts?: { text?: unknown; thought?: unknown }[] } }[];
    response?: unknown;
  } | null;
  if (typeof value !== "object" || value === null) return "";
  const choice = value.choices?.[0];
  const parts = value.candidates?.[0]?.content?.parts?.filter((part) => !part.thought).map((part) => part.text);
  const found = [choice?.delta?.content, choice?.text, value.type === "response.output_text.delta" ? value.delta : undefined, typeof value.delta === "object" ? value.delta?.text : undefined, value.response, ...(parts ?? [])];
  return found.filter((text): text is string => typeof text === "string").join("");
}
