// Conversations that span many requests: what they cost, and where they lost the provider's cache.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { compact, cost, dateTime, duration, integer, percent, plural, UNKNOWN, visible } from "../core/format.ts";
import { bounds, rangeLabel, readRange } from "../core/range.ts";
import { cachedShare, runningCost } from "../core/sessions.ts";
import { api, gatewayPath, queryOf, result } from "../state/api.ts";
import { zone } from "../state/preferences.ts";
import { useResource } from "../state/resource.ts";
import { linkTo, pathTo, place, query, setQuery } from "../state/router.ts";
import { maySeeBodies } from "../state/session.ts";
import type { Session, SessionLog } from "../state/types.ts";
import { ConversationView } from "../ui/conversation.tsx";
import { Icon } from "../ui/icons.tsx";
import { Button, CopyButton, Empty, Loaded, PageHead, Table, Time } from "../ui/kit.tsx";

const PER_PAGE = 50;

export function SessionsPage() {
  const { id, account, gateway } = place.value;
  useEffect(() => void (document.title = `${id ? `Session ${id}` : "Sessions"} · ${account}/${gateway} · Tollgate`), [id]);
  return id ? <OneSession key={id} id={id} /> : <SessionList />;
}

function SessionList() {
  const range = readRange(query.value, "7d");
  const until = query.value.get("until");
  const key = ["since", "from", "to", "until"].map((name) => query.value.get(name)).join(" ");
  const sessions = useResource(`sessions ${key}`, (signal) => api<Session[]>(gatewayPath(`/sessions${queryOf({ ...bounds(readRange(query.peek(), "7d")), ...(until && { end: until }), limit: PER_PAGE })}`), { signal }));
  return (
    <>
      <PageHead title="Sessions" note={rangeLabel(range, (time) => dateTime(new Date(time), zone.value))} />
      <div class="page">
        <Loaded of={sessions} lines={8}>
          {({ result: all }) =>
            all.length === 0 ? (
              <Empty title="No sessions in this time range">
                <p>A request belongs to a session when its client says so: in the header <code>cf-aig-session-id</code>, as Claude Code, Codex and OpenCode do by themselves in headers of their own, or with <code>previous_response_id</code>.</p>
              </Empty>
            ) : (
              <Table
                label="Sessions"
                boxed
                rows={all}
                columns={[
                  ["Session", ({ id, caller }) => <a href={linkTo("sessions", { id, caller: caller || null })} title={id}>{visible(id.length > 36 ? `${id.slice(0, 34)}…` : id)}</a>],
                  ["Last request", ({ last_at }) => <Time at={last_at} />, "nowrap"],
                  ["Lasted", ({ first_at, last_at }) => duration(Date.parse(last_at) - Date.parse(first_at)), "right"],
                  ["Turns", ({ turns }) => integer(turns), "right"],
                  ["Models", ({ models }) => <>{models.slice(0, 3).map(visible).join(", ")}{models.length > 3 && ` +${models.length - 3}`}</>],
                  ["Tokens in / out", (one) => `${compact(one.tokens_in)} / ${compact(one.tokens_out)}`, "right"],
                  ["From cache", (one) => percent(cachedShare(one)), "right"],
                  ["Cost", (one) => <SessionCost session={one} />, "right"],
                  ["Errors", ({ errors }) => (errors > 0 ? <span class="error-text">{integer(errors)}</span> : <span class="faint">0</span>), "right"],
                ]}
              />
            )
          }
        </Loaded>
        {((sessions.value?.result.length ?? 0) === PER_PAGE || until) && (
          <div class="pager">
            {until && <Button onClick={() => setQuery({ until: null })}>Newest</Button>}
            <Button disabled={(sessions.value?.result.length ?? 0) < PER_PAGE} onClick={() => setQuery({ until: sessions.value?.result.at(-1)?.last_at ?? null })}>Older <Icon name="right" /></Button>
          </div>
        )}
      </div>
    </>
  );
}

/** A sum that lacks something says so. */
function SessionCost({ session: { cost: sum, unpriced = 0 } }: { session: Session }) {
  if (unpriced === 0) return <>{cost(sum)}</>;
  return <span title={`The cost of ${plural(unpriced, "turn")} is not known`}>{sum ? `${cost(sum)} + ${UNKNOWN}` : UNKNOWN}</span>;
}

function OneSession({ id }: { id: string }) {
  const caller = query.value.get("caller");
  const session = useResource(`session ${id} ${caller}`, (signal) => result<Session & { logs: SessionLog[] }>(gatewayPath(`/sessions/${encodeURIComponent(id)}${queryOf({ caller })}`), { signal }));
  return (
    <>
      <div class="page-head">
        <p class="crumbs"><a href={linkTo("sessions")}>Sessions</a> /</p>
        <h1 class="id-title">{visible(id)}</h1>
        <CopyButton text={id} what="session id" />
        <div class="actions"><a class="button plain" href={linkTo("logs", { f: `session_id:eq:${id.replace(/[\\:,]/g, "\\$&")}`, since: "all" })}>As logs</a></div>
      </div>
      <div class="page">
        <Loaded of={session} lines={8}>
          {(value) => (
            <>
              <dl class="facts boxed">
                <div><dt>First</dt><dd><Time at={value.first_at} full /></dd></div>
                <div><dt>Lasted</dt><dd>{duration(Date.parse(value.last_at) - Date.parse(value.first_at))}</dd></div>
                <div><dt>Turns</dt><dd>{integer(value.turns)}</dd></div>
                <div><dt>Cost</dt><dd><SessionCost session={value} /></dd></div>
                <div><dt>Tokens in / out</dt><dd>{integer(value.tokens_in)} / {integer(value.tokens_out)}</dd></div>
                <div><dt>From the provider's cache</dt><dd>{percent(cachedShare(value))}</dd></div>
                <div><dt>Errors</dt><dd>{integer(value.errors)}</dd></div>
                <div><dt>Models</dt><dd>{value.models.map(visible).join(", ")}</dd></div>
              </dl>
              <ol class="turns">
                {runningCost(value.logs).map(({ log, sum }, at) => (
                  <Turn key={log.id} log={log} sum={sum} number={at + 1} />
                ))}
              </ol>
            </>
          )}
        </Loaded>
      </div>
    </>
  );
}

function Turn({ log, sum, number }: { log: SessionLog; sum: number | null; number: number }) {
  const isOpen = useSignal(false);
  const isGood = log.success ?? (log.status ?? 500) < 400;
  const cached = cachedShare(log);
  return (
    <li class="session-turn panel">
      <div class="turn-head">
        <span class="turn-number">{number}</span>
        <span class={`status ${isGood ? "good" : "bad"}`}>{isGood ? <i aria-hidden="true" /> : <Icon name="warn" size={12} />} {log.status ?? "failed"}</span>
        <a href={pathTo("logs", log.id)}><Time at={log.created_at} /></a>
        <span>{visible(log.model ?? log.provider)}</span>
        <span class="note">{integer(log.tokens_in)} in, {integer(log.tokens_out)} out{log.duration === undefined ? "" : ` · ${duration(log.duration)}`}</span>
        <span class="cache-bar" title={cached === null ? "Not known" : `${percent(cached)} of the prompt came from the provider's cache`}>
          <i style={{ width: `${Math.round((cached ?? 0) * 100)}%` }} />
        </span>
        <span class="note">{cached === null ? UNKNOWN : percent(cached)} cached</span>
        <span class="turn-cost">{cost(log.cost)} <span class="note">of {sum === null ? UNKNOWN : cost(sum)}</span></span>
        {maySeeBodies() && <Button kind="quiet" aria-pressed={isOpen.value} onClick={() => (isOpen.value = !isOpen.value)}>{isOpen.value ? "Hide" : "Show"}</Button>}
      </div>
      {log.diverges_at !== null && (
        <p class="warning">The prompt differs from the turn before from message {log.diverges_at + 1} on, so the provider's cache did not fit any further.</p>
      )}
      {!isOpen.value && (log.input_preview || log.output_preview) && (
        <p class="turn-preview">
          {log.input_preview && <span>{visible(log.input_preview)}</span>}
          {log.output_preview && <span class="note">{visible(log.output_preview)}</span>}
        </p>
      )}
      {isOpen.value && (
        <div class="panel-body">
          {(log.shared_prefix ?? 0) > 0 && <p class="note">{plural(log.shared_prefix ?? 0, "message")} as in the turn before.</p>}
          <ConversationView id={log.id} from={log.shared_prefix ?? 0} />
        </div>
      )}
    </li>
  );
}
