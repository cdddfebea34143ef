// Requests by hand: up to three models side by side, with stored keys, each a log like any other.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { EventReader, textOf } from "../core/events.ts";
import { cost, duration, integer, visible } from "../core/format.ts";
import { bodyFor, endpointOf, PROVIDERS, readAnswer, type Message } from "../core/playground.ts";
import { gatewayPath, result, send } from "../state/api.ts";
import { recall, remember } from "../state/preferences.ts";
import { useResource } from "../state/resource.ts";
import { pathTo, place, query } from "../state/router.ts";
import { ofGateway } from "../state/session.ts";
import type { Log } from "../state/types.ts";
import { bound, Button, Field, IconButton, PageHead } from "../ui/kit.tsx";
import { Prose } from "../ui/text.tsx";

interface Choice {
  provider: string;
  model: string;
}

interface Run {
  text: string;
  error: string | null;
  isRunning: boolean;
  startedAt: number;
  first: number | null;
  total: number | null;
  logId: string | null;
}

const MOST = 3;

function readChoices(text: string | null): Choice[] {
  try {
    const read: unknown = JSON.parse(text ?? "");
    if (Array.isArray(read)) {
      const good = read.filter((one): one is Choice => typeof one?.provider === "string" && typeof one?.model === "string").slice(0, MOST);
      if (good.length > 0) return good;
    }
  } catch {
    // What was stored by another version counts as nothing.
  }
  return [{ provider: "openai", model: "gpt-4o-mini" }];
}

export function PlaygroundPage() {
  const { account, gateway } = place.value;
  const choices = useSignal<Choice[]>(readChoices(recall(ofGateway("playground"))));
  const messages = useSignal<Message[]>([{ role: "system", content: "" }, { role: "user", content: "" }]);
  const temperature = useSignal("");
  const maxTokens = useSignal("1024");
  const isStreaming = useSignal(true);
  const runs = useSignal<Record<number, Run>>({});
  const aborts = useRef<AbortController[]>([]);
  const fromLog = query.value.get("from_log");
  useResource(fromLog ? `from ${fromLog}` : null, async (signal) => {
    const body = (await (await send(gatewayPath(`/logs/${encodeURIComponent(fromLog ?? "")}/request`), { signal })).json()) as { model?: unknown; messages?: { role?: unknown; content?: unknown }[] };
    const read = (body.messages ?? []).map(({ role, content }) => ({ role: String(role) as Message["role"], content: typeof content === "string" ? content : JSON.stringify(content) }));
    if (read.length > 0) messages.value = read;
    const log = await result<Log>(gatewayPath(`/logs/${encodeURIComponent(fromLog ?? "")}`), { signal });
    choices.value = [{ provider: log.provider, model: log.model }];
    return true;
  });
  useEffect(() => remember(ofGateway("playground"), JSON.stringify(choices.value)), [choices.value]);
  useEffect(() => () => aborts.current.forEach((abort) => abort.abort()), []);

  const update = (at: number, change: Partial<Run>) => {
    const before = runs.peek()[at] ?? { text: "", error: null, isRunning: true, startedAt: Date.now(), first: null, total: null, logId: null };
    runs.value = { ...runs.peek(), [at]: { ...before, ...change } };
  };
  const run = async (choice: Choice, at: number) => {
    const abort = new AbortController();
    aborts.current.push(abort);
    const startedAt = Date.now();
    runs.value = { ...runs.peek(), [at]: { text: "", error: null, isRunning: true, startedAt, first: null, total: null, logId: null } };
    try {
      const options = { temperature: temperature.value === "" ? null : Number(temperature.value), maxTokens: Number(maxTokens.value) || 1024, stream: isStreaming.value };
      const path = `/dashboard/playground/${encodeURIComponent(account ?? "")}/${encodeURIComponent(gateway ?? "")}/${endpointOf(choice.provider, choice.model, options.stream)}`;
      const answer = await fetch(path, { method: "POST", credentials: "same-origin", signal: abort.signal, headers: { "content-type": "application/json" }, body: JSON.stringify(bodyFor(choice.provider, choice.model, messages.value, options)) });
      update(at, { logId: answer.headers.get("cf-aig-log-id") });
      if (!answer.ok) return update(at, { error: await readError(answer), isRunning: false, total: Date.now() - startedAt });
      if ((answer.headers.get("content-type") ?? "").includes("event-stream") && answer.body) {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        const events = new EventReader();
        let text = "";
        for (;;) {
          const { value, done } = await reader.read();
          for (const { data } of events.push(done ? "\n\n" : value)) text += parsed(data);
          update(at, { text, ...(text !== "" && runs.peek()[at]?.first === null && { first: Date.now() - startedAt }) });
          if (done) break;
        }
      } else {
        update(at, { text: readAnswer(await answer.json()) });
      }
      update(at, { isRunning: false, total: Date.now() - startedAt });
    } catch (error) {
      update(at, { isRunning: false, total: Date.now() - startedAt, error: abort.signal.aborted ? "Stopped" : `No answer: ${(error as Error).message}` });
    }
  };
  const isRunning = Object.values(runs.value).some((one) => one.isRunning);
  const runAll = () => {
    aborts.current = [];
    runs.value = {};
    choices.value.forEach((choice, at) => void run(choice, at));
  };
  const setMessage = (at: number, change: Partial<Message>) => (messages.value = messages.value.map((message, index) => (index === at ? { ...message, ...change } : message)));
  const setChoice = (at: number, change: Partial<Choice>) => (choices.value = choices.value.map((choice, index) => (index === at ? { ...choice, ...change } : choice)));
  const isReady = messages.value.some(({ role, content }) => role === "user" && content.trim() !== "") && choices.value.every(({ model }) => model.trim() !== "");
  return (
    <>
      <PageHead title="Playground" note="With the gateway's stored keys. Each request is a log and costs what it costs." />
      <form class="page playground" onSubmit={(event) => (event.preventDefault(), isReady && runAll())}>
        <div class="panel panel-body messages" onKeyDown={(event) => event.key === "Enter" && (event.metaKey || event.ctrlKey) && isReady && (event.preventDefault(), runAll())}>
          {messages.value.map((message, at) => (
            <div key={at} class="message">
              <select aria-label={`Role of message ${at + 1}`} value={message.role} onChange={(event) => setMessage(at, { role: event.currentTarget.value as Message["role"] })}>
                {["system", "user", "assistant"].map((role) => <option key={role}>{role}</option>)}
              </select>
              <textarea aria-label={`Message ${at + 1}`} rows={message.role === "system" ? 2 : 4} value={message.content} onInput={(event) => setMessage(at, { content: event.currentTarget.value })} />
              <IconButton icon="close" label={`Remove message ${at + 1}`} disabled={messages.value.length === 1} onClick={() => (messages.value = messages.value.filter((_, index) => index !== at))} />
            </div>
          ))}
          <div class="playground-bar">
            <Button icon="plus" onClick={() => (messages.value = [...messages.value, { role: messages.value.at(-1)?.role === "user" ? "assistant" : "user", content: "" }])}>Message</Button>
            <Field label="Temperature">{(id) => <input id={id} type="number" step="any" min={0} max={2} placeholder="default" {...bound(temperature)} />}</Field>
            <Field label="Most tokens">{(id) => <input id={id} type="number" min={1} {...bound(maxTokens)} />}</Field>
            <label class="check"><input type="checkbox" checked={isStreaming.value} onChange={() => (isStreaming.value = !isStreaming.value)} /> stream</label>
            <span class="spacer" />
            {isRunning ? <Button onClick={() => aborts.current.forEach((abort) => abort.abort())}>Stop</Button> : <Button kind="main" type="submit" disabled={!isReady} title="Ctrl+Enter">Run</Button>}
          </div>
        </div>
        <div class="runs">
          {choices.value.map((choice, at) => (
            <section key={at} class="panel">
              <header>
                <span class="run-choice">
                  <select aria-label={`Provider ${at + 1}`} value={choice.provider} onChange={(event) => setChoice(at, { provider: event.currentTarget.value })}>
                    {[...new Set([...PROVIDERS, choice.provider])].map((name) => <option key={name}>{name}</option>)}
                  </select>
                  <input aria-label={`Model ${at + 1}`} value={choice.model} spellcheck={false} onInput={(event) => setChoice(at, { model: event.currentTarget.value })} />
                </span>
                {choices.value.length > 1 && <IconButton icon="close" label={`Remove ${choice.model}`} onClick={() => (choices.value = choices.value.filter((_, index) => index !== at))} />}
              </header>
              <div class="panel-body run">{runs.value[at] ? <RunView run={runs.value[at]} /> : <p class="note">The answer appears here.</p>}</div>
            </section>
          ))}
          {choices.value.length < MOST && <Button icon="plus" class="add-run" onClick={() => (choices.value = [...choices.value, { provider: "openai", model: "gpt-4o" }])}>Compare with another model</Button>}
        </div>
      </form>
    </>
  );
}

function parsed(data: string): string {
  try {
    return textOf(JSON.parse(data));
  } catch {
    return "";
  }
}

async function readError(answer: Response): Promise<string> {
  const text = await answer.text();
  try {
    const body = JSON.parse(text) as { error?: unknown; errors?: { message?: string }[] };
    const { error } = body;
    const message = body.errors?.[0]?.message ?? (typeof error === "string" ? error : (error as { message?: string } | null)?.message);
    return `${answer.status}: ${message ?? text.slice(0, 500)}`;
  } catch {
    return `${answer.status}: ${text.slice(0, 500)}`;
  }
}

function RunView({ run }: { run: Run }) {
  const log = useResource(run.logId && !run.isRunning ? `run ${run.logId}` : null, (signal) => result<Log>(gatewayPath(`/logs/${run.logId ?? ""}`), { signal }));
  return (
    <>
      <div class="parts" aria-live="polite" aria-busy={run.isRunning}>
        {run.text !== "" && <Prose text={run.text} />}
        {run.text === "" && run.isRunning && <p class="note">Waiting…</p>}
        {run.error && <p class="error-box">{visible(run.error)}</p>}
      </div>
      <p class="note">
        {run.total !== null && duration(run.total)}
        {run.first !== null && ` · first text after ${duration(run.first)}`}
        {log.value && ` · ${integer(log.value.tokens_in)} in, ${integer(log.value.tokens_out)} out · ${cost(log.value.cost)}`}
        {run.logId && <> · <a href={pathTo("logs", run.logId)}>log</a></>}
      </p>
    </>
  );
}
