// What was sent and what came back, as it is.
import { useSignal } from "@preact/signals";
import { BODY_LIMIT, HEAD_LIMIT } from "../core/body.ts";
import { readEvents, type StreamEvent } from "../core/events.ts";
import { bytes, integer, visible } from "../core/format.ts";
import { gatewayPath, send } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { maySeeBodies } from "../state/session.ts";
import type { Log } from "../state/types.ts";
import { ConversationView } from "./conversation.tsx";
import { JsonTree } from "./json_tree.tsx";
import { Button, CopyButton, Empty, Skeleton, Trouble } from "./kit.tsx";
import { LongText } from "./text.tsx";

interface Body {
  text: string;
  isWhole: boolean;
  json: unknown;
  isJson: boolean;
}

/** Reads a body up to what can be shown; of a longer one only the beginning is loaded. */
async function readBody(path: string, size: number | null | undefined, signal: AbortSignal): Promise<Body> {
  const answer = await send(path, { signal });
  if ((size ?? 0) > BODY_LIMIT && answer.body) {
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    while (text.length < HEAD_LIMIT) {
      const { value, done } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    void reader.cancel();
    return { text: text.slice(0, HEAD_LIMIT), isWhole: false, json: null, isJson: false };
  }
  const text = await answer.text();
  try {
    return { text, isWhole: true, json: JSON.parse(text), isJson: true };
  } catch {
    return { text, isWhole: true, json: null, isJson: false };
  }
}

export function useBody(log: Log, part: "request" | "response") {
  const size = part === "request" ? log.request_size : log.response_size;
  const path = gatewayPath(`/logs/${encodeURIComponent(log.id)}/${part}`);
  return useResource(maySeeBodies() ? path : null, (signal) => readBody(path, size, signal), { keep: false });
}

function Hidden() {
  return <Empty title="Bodies are hidden for your token"><p>It may read what is in the list, but not what was said.</p></Empty>;
}

function BodyTrouble({ error, retry, part }: { error: unknown; retry: () => void; part: string }) {
  const { status, message } = error as { status?: number; message?: string };
  if (status === 404) return <Empty title={`The ${part} was not kept`}><p>{message && message !== "Not Found" ? message : "It was not text, it was longer than 10 MB, or it was removed since. Its size is above."}</p></Empty>;
  return <Trouble error={error} retry={retry} />;
}

function BodyBar({ log, part, body, mode, modes, choose }: { log: Log; part: "request" | "response"; body: Body; mode: string; modes: [string, string][]; choose: (mode: string) => void }) {
  const size = part === "request" ? log.request_size : log.response_size;
  return (
    <div class="conversation-bar">
      <span class="note">
        {(part === "request" ? log.request_content_type : log.response_content_type) || "no content type"} · {bytes(size ?? body.text.length)}
      </span>
      <span class="segments" role="group" aria-label="How it is shown">
        {modes.map(([id, label]) => (
          <button key={id} type="button" aria-pressed={mode === id} onClick={() => choose(id)}>{label}</button>
        ))}
      </span>
      {body.isWhole && <CopyButton text={body.text} what={part} />}
      <a class="button plain" href={gatewayPath(`/logs/${encodeURIComponent(log.id)}/${part}`)} download={`${log.id}-${part}.txt`}>Save</a>
    </div>
  );
}

function Raw({ body, size }: { body: Body; size: number | null | undefined }) {
  return (
    <div class="raw plain">
      <LongText text={body.text} />
      {!body.isWhole && <p class="note">The first {bytes(HEAD_LIMIT)} of {bytes(size)}. Save it to see all of it.</p>}
    </div>
  );
}

export function RequestTab({ log }: { log: Log }) {
  const body = useBody(log, "request");
  const chosen = useSignal("tree");
  if (!maySeeBodies()) return <Hidden />;
  if (body.error) return <BodyTrouble error={body.error} retry={body.reload} part="request" />;
  if (!body.value) return <Skeleton />;
  const { isJson, json } = body.value;
  const mode = isJson ? chosen.value : "raw";
  return (
    <>
      <BodyBar log={log} part="request" body={body.value} mode={mode} modes={isJson ? [["tree", "Tree"], ["raw", "Text"]] : [["raw", "Text"]]} choose={(next) => (chosen.value = next)} />
      {mode === "tree" ? <div class="tree"><JsonTree value={json} openTo={4} /></div> : <Raw body={body.value} size={log.request_size} />}
    </>
  );
}

export function ResponseTab({ log }: { log: Log }) {
  const body = useBody(log, "response");
  const chosen = useSignal<string | null>(null);
  if (!maySeeBodies()) return <Hidden />;
  if (body.error) return <BodyTrouble error={body.error} retry={body.reload} part="response" />;
  if (!body.value) return <Skeleton />;
  const { isJson, json, text, isWhole } = body.value;
  const events = isWhole && !isJson ? readEvents(text, log.response_content_type ?? "") : null;
  const modes: [string, string][] = events ? [["assembled", "Assembled"], ["events", "Events"], ["raw", "Text"]] : isJson ? [["tree", "Tree"], ["raw", "Text"]] : [["raw", "Text"]];
  const mode = modes.some(([id]) => id === chosen.value) ? (chosen.value ?? "raw") : (modes[0]?.[0] ?? "raw");
  return (
    <>
      <BodyBar log={log} part="response" body={body.value} mode={mode} modes={modes} choose={(next) => (chosen.value = next)} />
      {events && log.success === false && <p class="warning">The stream ended without a finish. What had come is below.</p>}
      {mode === "assembled" && <ConversationView id={log.id} />}
      {mode === "events" && events && <Events events={events} />}
      {mode === "tree" && <div class="tree"><JsonTree value={json} openTo={3} /></div>}
      {mode === "raw" && <Raw body={body.value} size={log.response_size} />}
    </>
  );
}

const EVENTS_STEP = 200;

function Events({ events }: { events: StreamEvent[] }) {
  const shown = useSignal(EVENTS_STEP);
  return (
    <>
      <ol class="events">
        {events.slice(0, shown.value).map(({ name, data }, at) => (
          <li key={at}>
            {name && <b>{visible(name)}</b>} <code>{visible(data.slice(0, 2000))}</code>
          </li>
        ))}
      </ol>
      {events.length > shown.value && <Button onClick={() => (shown.value += EVENTS_STEP)}>More of {integer(events.length)} events</Button>}
    </>
  );
}
