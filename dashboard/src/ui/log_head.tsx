// What stands above the tabs of a log: what happened, what it cost and why, and what can be done with it.
import { useSignal } from "@preact/signals";
import { bytes, cost, duration, integer, UNKNOWN, visible } from "../core/format.ts";
import { breakdownOf } from "../core/breakdown.ts";
import { snippet, type Language } from "../core/snippets.ts";
import { explain } from "../core/words.ts";
import { gatewayPath, send } from "../state/api.ts";
import { judge, removeLog } from "../state/logs.ts";
import { linkTo, place, setQuery } from "../state/router.ts";
import { may, maySeeBodies } from "../state/session.ts";
import { copy, toast } from "../state/toasts.ts";
import type { Log } from "../state/types.ts";
import { DatasetFromLog } from "./dataset_form.tsx";
import { Icon } from "./icons.tsx";
import { CopyButton, IconButton, Menu, Time } from "./kit.tsx";
import { Cost, Status } from "./log_cells.tsx";

export function LogHead({ log }: { log: Log }) {
  return (
    <header class="log-head">
      <div class="log-title">
        <Status log={log} />
        <h2>{log.model || log.path || "no model"}</h2>
        <span class="note">{log.provider}</span>
        <span class="note"><Time at={log.created_at} full /></span>
      </div>
      {log.error && <p class="error-box">{visible(log.error.slice(0, 4000))}</p>}
      <dl class="facts">
        <Fact name="Cost">
          <CostDetail log={log} />
        </Fact>
        <Fact name="Tokens in / out">
          {integer(log.tokens_in)} / {integer(log.tokens_out)}
        </Fact>
        <Fact name="Duration">{duration(log.duration)}</Fact>
        <Fact name="First byte">{duration(log.timings?.latency)}</Fact>
        <Fact name="Speed">{speed(log)}</Fact>
        <Fact name="Finish reason">{log.finish_reason ? visible(log.finish_reason) : UNKNOWN}</Fact>
        <Fact name="Key">{log.credential_alias ?? log.credential ?? UNKNOWN}</Fact>
        <Fact name="Size in / out">
          {bytes(log.request_size)} / {bytes(log.response_size)}
        </Fact>
        {log.cached && <Fact name="Cache">{log.saved_cost === null ? "hit" : `hit, saved ${cost(log.saved_cost)}`}</Fact>}
        {log.session_id && (
          <Fact name="Session">
            <a href={linkTo("sessions", { id: log.session_id })}>{visible(log.session_id)}</a>
          </Fact>
        )}
      </dl>
      <div class="log-actions">
        <Thumbs log={log} />
        {maySeeBodies() && <CopyAs log={log} />}
        {may("edit") && <DatasetFromLog id={log.id} />}
        <Ids log={log} />
        <MoreActions log={log} />
      </div>
    </header>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function speed(log: Log): string {
  const writing = log.duration - (log.timings?.latency ?? 0);
  if (!log.tokens_out || log.cached || writing < 50) return UNKNOWN;
  return `${integer(log.tokens_out / (writing / 1000))} tokens/s`;
}

function CostDetail({ log }: { log: Log }) {
  if (log.cost === null) return <span>{UNKNOWN} <span class="note">{log.cost_unknown ?? (log.success ? "nothing that costs was used" : "the request failed")}</span></span>;
  const lines = breakdownOf(log);
  return (
    <Menu label={<Cost value={log.cost} />} title="How the cost came about" class="cost-menu" wide>
      {() => (
        <div class="breakdown">
          {lines.length > 0 ? (
            <table>
              <thead>
                <tr>
                  <th>Kind</th>
                  <th class="right">Used</th>
                  <th class="right">Rate</th>
                  <th class="right">Cost</th>
                </tr>
              </thead>
              <tbody>
                {lines.map(({ kind, quantity, rate, cost: part }) => (
                  <tr key={kind}>
                    <td>{kind}</td>
                    <td class="right">{integer(quantity)}</td>
                    <td class="right">{rate === null ? UNKNOWN : `${cost(rate * 1e6)} / 1M`}</td>
                    <td class="right">{cost(part)}</td>
                  </tr>
                ))}
              </tbody>
              <tfoot>
                <tr>
                  <td>Sum</td>
                  <td />
                  <td />
                  <td class="right">{cost(log.cost)}</td>
                </tr>
              </tfoot>
            </table>
          ) : (
            <p>{cost(log.cost)}</p>
          )}
          <p class="note">{priceSource(log)}</p>
        </div>
      )}
    </Menu>
  );
}

function priceSource({ custom_cost, price_rule }: Log): string {
  if (custom_cost) return "The caller said what this costs.";
  if (!price_rule) return "The provider's own figure, or Tollgate's list of prices.";
  return `Price: ${price_rule}`;
}

function Thumbs({ log }: { log: Log }) {
  const isOff = !may("edit");
  const give = (value: 1 | -1) => void judge(log, { feedback: log.feedback === value ? null : value });
  return (
    <span class="thumbs" role="group" aria-label="Thumb">
      <IconButton icon="up" label="Thumb up (t)" pressed={log.feedback === 1} disabled={isOff} onClick={() => give(1)} />
      <IconButton icon="down" label="Thumb down (T)" pressed={log.feedback === -1} disabled={isOff} onClick={() => give(-1)} />
    </span>
  );
}

function CopyAs({ log }: { log: Log }) {
  const copyAs = async (language: Language) => {
    const { account, gateway } = place.value;
    try {
      const answer = await send(gatewayPath(`/logs/${log.id}/request`));
      const body = await answer.text();
      const replay = { origin: window.location.origin, account: account ?? "", gateway: gateway ?? "", provider: log.provider, path: log.path, contentType: log.request_content_type, metadata: log.metadata, body };
      await copy(snippet(language, replay), language);
    } catch (error) {
      toast(`The request's body could not be read. ${explain(error).title}`, { isError: true });
    }
  };
  return (
    <Menu label={<><Icon name="copy" /> Copy as</>} title="Copy the request as a program">
      {(close) => (
        <ul class="choices">
          {([["curl", "curl"], ["python", "Python"], ["javascript", "JavaScript"]] as [Language, string][]).map(([language, label]) => (
            <li key={language}>
              <button type="button" onClick={() => (close(), void copyAs(language))}>{label}</button>
            </li>
          ))}
        </ul>
      )}
    </Menu>
  );
}

function Ids({ log }: { log: Log }) {
  const ids: [string, string | null | undefined][] = [
    ["Log id", log.id],
    ["Event id", log.event_id],
    ["Response id", log.response_id],
    ["Provider's request id", log.provider_request_id],
    ["Session", log.session_id],
    ["Evaluation", log.evaluation_id],
  ];
  return (
    <Menu label="Ids" title="Ids of this log" wide>
      {() => (
        <dl class="ids">
          {ids.map(([name, id]) => id && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <code>{visible(id)}</code> <CopyButton text={id} what={name.toLowerCase()} />
              </dd>
            </div>
          ))}
        </dl>
      )}
    </Menu>
  );
}

function MoreActions({ log }: { log: Log }) {
  const isDeleting = useSignal(false);
  const download = () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(log, null, 2)], { type: "application/json" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: `${log.id}.json` });
    link.click();
    URL.revokeObjectURL(url);
  };
  return (
    <Menu label="More" title="More actions" align="right">
      {(close) => (
        <ul class="choices">
          <li><button type="button" onClick={() => (close(), download())}>Download as JSON</button></li>
          <li><a href={linkTo("logs", { f: `event_id:eq:${log.event_id.replace(/[\\:,]/g, "\\$&")}` })} onClick={close}>All attempts of this call</a></li>
          {may("run") && maySeeBodies() && <li><a href={linkTo("playground", { from_log: log.id })} onClick={close}>Open in the playground</a></li>}
          {may("edit") && (
            <li>
              <button type="button" class="danger" disabled={isDeleting.value} onClick={() => (close(), removeLog(log), setQuery({ log: null, tab: null }))}>Delete</button>
            </li>
          )}
        </ul>
      )}
    </Menu>
  );
}
