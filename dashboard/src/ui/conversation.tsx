// A conversation, drawn from what the API makes of a log. Whatever the format was, this draws it.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { isCard, isModel, paired, readJson, roughTokens, type Conversation, type Part, type Shown, type ToolCall, type ToolResult } from "../core/conversation.ts";
import { integer, plural, visible } from "../core/format.ts";
import { gatewayPath, queryOf, result } from "../state/api.ts";
import { textMode } from "../state/preferences.ts";
import { useResource } from "../state/resource.ts";
import { setQuery } from "../state/router.ts";
import { maySeeBodies } from "../state/session.ts";
import type { Log } from "../state/types.ts";
import { Button, Empty, Skeleton, Trouble } from "./kit.tsx";
import { JsonTree } from "./json_tree.tsx";
import { BinaryChip, LongText, Picture, Prose } from "./text.tsx";
import { safeUrl } from "../core/markdown.ts";
import { explain } from "../core/words.ts";
import { toast } from "../state/toasts.ts";

/** Turns of a page of a conversation. The last ones are shown first, because they are what was asked and answered. */
const PAGE = 60;

export function ConversationTab({ log }: { log: Log }) {
  if (!maySeeBodies()) return <Empty title="Bodies are hidden for your token"><p>It may read what is in the list, but not what was said.</p></Empty>;
  return <ConversationView id={log.id} />;
}

async function load(id: string, offset: number | null, limit: number, signal?: AbortSignal): Promise<Conversation> {
  return result<Conversation>(gatewayPath(`/logs/${encodeURIComponent(id)}/conversation${queryOf({ offset, limit })}`), signal ? { signal } : {});
}

export function ConversationView({ id, from = 0 }: { id: string; from?: number }) {
  const first = useResource(`conversation ${id}`, async (signal) => {
    const found = await load(id, null, PAGE, signal);
    if (found.total <= PAGE) return { ...found, offset: 0 };
    const offset = Math.max(0, found.total - PAGE);
    return { ...(await load(id, offset, PAGE, signal)), offset };
  }, { keep: false });
  if (first.error) {
    const { status } = first.error as { status?: number };
    if (status === 404) {
      return (
        <Empty title="There is no conversation to show">
          <p>The bodies of this log were not kept or were removed since, or this server does not read them as a conversation.</p>
          <p>
            <Button onClick={() => setQuery({ tab: "request" }, { replace: true })}>The request as it is</Button>
            <Button onClick={() => setQuery({ tab: "response" }, { replace: true })}>The response as it is</Button>
          </p>
        </Empty>
      );
    }
    return (
      <>
        <Trouble error={first.error} retry={first.reload} />
        <p><Button onClick={() => setQuery({ tab: "request" }, { replace: true })}>Show the request as it is</Button></p>
      </>
    );
  }
  if (!first.value) return <Skeleton lines={6} />;
  return <Turns key={id} id={id} value={first.value} offset={first.value.offset} hidden={from} />;
}

function Turns({ id, value, offset, hidden }: { id: string; value: Conversation; offset: number; hidden: number }) {
  const earlier = useSignal<Conversation["turns"]>([]);
  const start = useSignal(offset);
  const isLoading = useSignal(false);
  const isFolded = useSignal(hidden > 0);
  const loadEarlier = async () => {
    isLoading.value = true;
    try {
      const from = Math.max(0, start.value - PAGE);
      const more = await load(id, from, start.value - from);
      earlier.value = [...more.turns, ...earlier.value];
      start.value = from;
    } catch (error) {
      toast(`Earlier messages could not be loaded. ${explain(error).title}`, { isError: true });
    } finally {
      isLoading.value = false;
    }
  };
  const turns = paired([...earlier.value, ...value.turns]);
  const shown = isFolded.value ? turns.filter(({ index }) => index >= hidden) : turns;
  return (
    <div class="conversation">
      <div class="conversation-bar">
        <span class="note">{value.format} · {plural(value.total, "message")}</span>
        <span role="group" aria-label="How texts are shown" class="segments">
          {(["text", "markdown"] as const).map((mode) => (
            <button key={mode} type="button" aria-pressed={textMode.value === mode} onClick={() => (textMode.value = mode)}>
              {mode === "text" ? "Text" : "Markdown"}
            </button>
          ))}
        </span>
      </div>
      {value.warnings?.map((warning) => (
        <p key={warning} class="warning">{visible(warning)}</p>
      ))}
      <Parameters value={value} />
      {start.value > 0 && (
        <Button disabled={isLoading.value} onClick={() => void loadEarlier()}>
          {isLoading.value ? "Loading…" : `${plural(start.value, "earlier message")}`}
        </Button>
      )}
      {isFolded.value && (
        <button type="button" class="fold" onClick={() => (isFolded.value = false)}>
          {plural(hidden, "earlier message")} unchanged since the turn before
        </button>
      )}
      {shown.map((turn) => (
        <article key={turn.index} class={`turn ${roleClass(turn.role)}`}>
          <h3>{visible(turn.role)}</h3>
          <div class="parts">
            {turn.parts.length === 0 && <p class="note">(nothing)</p>}
            {turn.parts.map((part, at) => (
              <ShownPart key={at} shown={part} isSystem={turn.role === "system" || turn.role === "developer"} />
            ))}
          </div>
        </article>
      ))}
      {turns.length === 0 && <Empty title="No messages"><p>The request is no conversation. Its tabs show it as it is.</p></Empty>}
      {value.finish && <p class="note">Finished: {visible(value.finish)}</p>}
    </div>
  );
}

const ROLES = ["system", "developer", "user", "assistant", "tool"];

function roleClass(role: string): string {
  return ROLES.includes(role) ? role : isModel(role) ? "assistant" : "other";
}

function Parameters({ value }: { value: Conversation }) {
  const params = Object.entries(value.params ?? {});
  const tools = value.tools ?? [];
  if (params.length === 0 && tools.length === 0) return null;
  return (
    <div class="parameters">
      {params.length > 0 && (
        <p>
          {params.map(([name, setting]) => (
            <span key={name} class="tag" title={JSON.stringify(setting)?.slice(0, 500)}>
              <b>{visible(name)}</b> {visible(short(setting))}
            </span>
          ))}
        </p>
      )}
      {tools.length > 0 && (
        <details>
          <summary>{plural(tools.length, "tool")} offered</summary>
          <table class="tools">
            <tbody>
              {tools.map(({ name, description, parameters }, at) => (
                <tr key={at}>
                  <th scope="row"><code>{visible(name)}</code></th>
                  <td>
                    {description && <p>{visible(description.slice(0, 2000))}</p>}
                    {parameters !== undefined && parameters !== null && <JsonTree value={parameters} openTo={0} name="parameters" />}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </div>
  );
}

function short(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function ShownPart({ shown, isSystem }: { shown: Shown; isSystem: boolean }) {
  if (isCard(shown)) return <ToolCard call={shown.call} result={shown.result} />;
  if (isSystem && shown.part.type === "text" && (shown.part.text.length > 500 || shown.part.text.split("\n").length > 6)) {
    return (
      <Folded summary={shown.part.text.slice(0, 200).replace(/\s+/g, " ")}>
        <PartView part={shown.part} />
      </Folded>
    );
  }
  return <PartView part={shown.part} />;
}

/** Folded text is found by the browser's search all the same. */
function Folded({ summary, children }: { summary: ComponentChildren; children: ComponentChildren }) {
  return (
    <details class="folded">
      <summary>{typeof summary === "string" ? visible(summary) : summary}</summary>
      {children}
    </details>
  );
}

function PartView({ part }: { part: Part }): ComponentChildren {
  switch (part.type) {
    case "text":
      return <Prose text={part.text} {...(part.truncated !== undefined && { truncated: part.truncated })} {...(part.chars !== undefined && { chars: part.chars })} />;
    case "thinking":
      return (
        <details class="thinking">
          <summary>
            Thinking{part.text === "" ? " (not shown by the provider)" : `, about ${integer(roughTokens(part.text))} tokens`}
            {part.signed ? ", signed" : ""}
          </summary>
          <div class="plain"><LongText text={part.text} /></div>
        </details>
      );
    case "refusal":
      return <div class="refusal"><strong>Refused</strong> <Prose text={part.text} /></div>;
    case "image":
      return <Picture mediaType={part.media_type ?? ""} size={part.bytes} data={part.data} url={part.url} />;
    case "audio":
    case "document":
      return (
        <p>
          <BinaryChip binary={{ mediaType: part.media_type ?? part.type, bytes: part.bytes ?? 0, url: null }} {...(part.name && { name: part.name })} />
          {part.url && <span class="note"> {visible(part.url.slice(0, 200))}</span>}
        </p>
      );
    case "citation": {
      const host = part.url ? safeUrl(part.url) : null;
      return <p class="citation">{part.text ? visible(part.text) : "Source"} {host && <a href={part.url} target="_blank" rel="noopener noreferrer nofollow">{host}</a>}</p>;
    }
    case "tool_call":
      return <ToolCard call={part} result={null} />;
    case "tool_result":
      return (
        <div class="tool-card">
          <div class="tool-head">Result {part.id && <code>{visible(part.id)}</code>} <span class="note">of a call that is not here</span></div>
          <ToolResultView result={part} />
        </div>
      );
    case "unknown":
      return <JsonTree value={part.json} />;
    default:
      return <JsonTree value={part} />;
  }
}

function ToolCard({ call, result: found }: { call: ToolCall; result: ToolResult | null }) {
  const args = readJson(call.arguments);
  return (
    <div class={`tool-card ${found?.error ? "failed" : ""}`}>
      <div class="tool-head">
        <code>{visible(call.name)}</code>
        {found?.error && <span class="error-text">failed</span>}
        {call.id && <span class="note tool-id" title={call.id}>{visible(call.id.slice(-8))}</span>}
      </div>
      <div class="tool-args">{typeof args === "string" ? <div class="plain"><LongText text={args} /></div> : <JsonTree value={args ?? {}} openTo={3} />}</div>
      {found ? <ToolResultView result={found} /> : <p class="note unanswered">No result in this log</p>}
    </div>
  );
}

function ToolResultView({ result: { text, parts } }: { result: ToolResult }) {
  const content = parts && parts.length > 0 ? parts : text !== undefined ? [{ type: "text" as const, text }] : [];
  const all = content.map((part) => ("text" in part ? part.text : "")).join("\n");
  const body = content.map((part, at) => {
    const json = part.type === "text" ? readJson(part.text) : null;
    return typeof json === "object" && json !== null ? <JsonTree key={at} value={json} openTo={1} /> : <PartView key={at} part={part} />;
  });
  if (content.length === 0) return <p class="note tool-result">(an empty result)</p>;
  const isLong = all.length > 1600 || all.split("\n").length > 20;
  return <div class="tool-result">{isLong ? <Folded summary={<>Result, {integer(all.length)} characters</>}>{body}</Folded> : body}</div>;
}
