// What each column of the list shows of a log.
import type { ComponentChildren } from "preact";
import { clock, compact, cost, duration, integer, UNKNOWN, visible } from "../core/format.ts";
import type { Filter } from "../core/filters.ts";
import { zone } from "../state/preferences.ts";
import { linkTo } from "../state/router.ts";
import type { Log } from "../state/types.ts";
import { Icon } from "./icons.tsx";
import { Time } from "./kit.tsx";

const is = (key: string, value: unknown): Filter => ({ key, operator: "eq", values: [String(value)] });

export function isError(log: Log): boolean {
  return !log.success;
}

export function statusWord(log: Log): string {
  return log.status_code === null ? (log.success ? "ok" : "failed") : String(log.status_code);
}

export function rowName(log: Log): string {
  return `${log.success ? "log" : "error"} ${statusWord(log)}, ${log.model || "no model"}, ${clock(new Date(log.created_at), zone.value)}`;
}

export function Status({ log }: { log: Log }) {
  return (
    <span class={`status ${log.success ? "good" : "bad"}`}>
      {log.success ? <i aria-hidden="true" /> : <Icon name="warn" size={12} />}
      {statusWord(log)}
    </span>
  );
}

/** A cost, or why there is none. */
export function Cost({ value, why }: { value: number | null | undefined; why?: string | null | undefined }) {
  if (value === null || value === undefined) return <span class="faint" title={why ? `Unknown: ${why}` : "Nothing was used, or what it costs is not known"}>{UNKNOWN}</span>;
  return <span title={`${value} US dollars`}>{cost(value)}</span>;
}

export function Thumb({ value }: { value: Log["feedback"] }) {
  if (value === null) return <span class="faint">{UNKNOWN}</span>;
  if (value === 0) return <span class="faint" title="Neither up nor down">0</span>;
  return (
    <span class={`thumb ${value > 0 ? "up" : "down"}`} title={value > 0 ? "Thumb up" : "Thumb down"}>
      <Icon name={value > 0 ? "up" : "down"} />
      <span class="read-only">{value > 0 ? "up" : "down"}</span>
    </span>
  );
}

export interface Cell {
  content: ComponentChildren;
  /** What the cell filters for. */
  filter?: Filter;
  title?: string;
}

const faint = <span class="faint">{UNKNOWN}</span>;
const text = (value: string | null | undefined): Cell => (value ? { content: visible(value), title: value } : { content: faint });

export function cellOf(column: string, log: Log, link: (id: string) => string): Cell {
  switch (column) {
    case "status":
      return { content: <Status log={log} />, title: log.error ?? (log.success ? "Answered" : "Failed"), ...(log.status_code !== null && { filter: is("status_code", log.status_code) }) };
    case "time":
      return { content: <a href={link(log.id)} tabIndex={-1}><Time at={log.created_at} /></a> };
    case "model":
      return { ...text(log.model), filter: is("model", log.model) };
    case "provider":
      return { ...text(log.provider), filter: is("provider", log.provider) };
    case "input":
      return log.input_preview ? text(log.input_preview) : { content: faint, title: "No text was stored" };
    case "output":
      if (log.output_preview) return text(log.output_preview);
      return log.error ? { content: <span class="error-text">{visible(log.error.slice(0, 300))}</span>, title: log.error.slice(0, 2000) } : { content: faint };
    case "tokens":
      if (log.tokens_in === null && log.tokens_out === null) return { content: faint, title: log.usage_unread ?? "The answer says nothing of tokens" };
      return { content: `${compact(log.tokens_in)} / ${compact(log.tokens_out)}`, title: `${integer(log.tokens_in)} in, ${integer(log.tokens_out)} out` };
    case "cost":
      return { content: <Cost value={log.cost} why={log.cost_unknown} /> };
    case "duration":
      return { content: duration(log.duration), title: `${log.duration} ms` };
    case "ttft":
      return { content: duration(log.timings?.latency) };
    case "cache":
      return log.cached ? { content: "hit", title: log.saved_cost === null ? "From Tollgate's cache" : `Saved ${cost(log.saved_cost)}`, filter: is("cached", true) } : { content: faint };
    case "feedback":
      return { content: <Thumb value={log.feedback} />, ...(log.feedback !== null && { filter: is("feedback", log.feedback) }) };
    case "metadata":
      return { content: <MetadataChips metadata={log.metadata} /> };
    case "session":
      return log.session_id ? { content: <a href={linkTo("sessions", { id: log.session_id })} tabIndex={-1}>{visible(log.session_id)}</a>, title: log.session_id, filter: is("session_id", log.session_id) } : { content: faint };
    case "id":
      return { content: <code>{log.id}</code>, title: log.id };
    case "event":
      return { ...text(log.event_id), filter: is("event_id", log.event_id) };
    case "attempt":
      return { content: `${log.step} / ${log.attempt}` };
    case "finish":
      return { ...text(log.finish_reason), ...(log.finish_reason && { filter: is("finish_reason", log.finish_reason) }) };
    case "key":
      return { ...text(log.credential_alias ?? log.credential), ...(log.credential_alias && { filter: is("credential_alias", log.credential_alias) }) };
    case "path":
      return text(log.path);
    case "agent":
      return { ...text(log.user_agent), ...(log.user_agent && { filter: is("user_agent", log.user_agent) }) };
    case "score":
      return { content: log.score === null ? faint : String(log.score) };
    case "cached_tokens":
      return { content: integer(log.usage_metadata?.input_cached_tokens as number | null) };
    case "evaluation":
      return { ...text(log.evaluation_id), ...(log.evaluation_id && { filter: is("evaluation_id", log.evaluation_id) }) };
    case "error":
      return log.error ? { content: <span class="error-text">{visible(log.error.slice(0, 300))}</span>, title: log.error.slice(0, 2000) } : { content: faint };
    default:
      return { content: null };
  }
}

function MetadataChips({ metadata }: { metadata: Log["metadata"] }) {
  const all = Object.entries(metadata ?? {});
  if (all.length === 0) return faint;
  return (
    <>
      {all.slice(0, 2).map(([key, value]) => (
        <span key={key} class="tag" title={`${key}: ${String(value)}`}>
          {typeof value === "string" ? visible(value) : <><b>{visible(key)}</b> {String(value)}</>}
        </span>
      ))}
      {all.length > 2 && <span class="faint" title={all.slice(2).map(([key, value]) => `${key}: ${String(value)}`).join("\n")}>+{all.length - 2}</span>}
    </>
  );
}
