// What was tried for one call, as a waterfall.
import { duration, visible } from "../core/format.ts";
import { gatewayPath, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { pathTo } from "../state/router.ts";
import type { Attempt, Log } from "../state/types.ts";
import { Icon } from "./icons.tsx";
import { Loaded, Time } from "./kit.tsx";

export function AttemptsTab({ log }: { log: Log }) {
  const attempts = useResource(`attempts ${log.id}`, (signal) => result<Attempt[]>(gatewayPath(`/logs/${encodeURIComponent(log.id)}/attempts`), { signal }), { keep: false });
  return <Loaded of={attempts}>{(all) => <Waterfall attempts={all} current={log.id} />}</Loaded>;
}

function Waterfall({ attempts, current }: { attempts: Attempt[]; current: string }) {
  const starts = attempts.map(({ started_at }) => Date.parse(started_at));
  const begin = Math.min(...starts);
  const end = Math.max(...attempts.map(({ duration: length }, at) => (starts[at] ?? begin) + length), begin + 1);
  const share = (ms: number) => `${((ms / (end - begin)) * 100).toFixed(2)}%`;
  return (
    <ol class="waterfall">
      {attempts.map(({ step, attempt, provider, model, status, duration: length, ttfb, error, log_id, started_at }, at) => {
        const isGood = error === null && (status ?? 500) < 400;
        return (
          <li key={log_id} class={log_id === current ? "current" : ""}>
            <div class="attempt-head">
              <span class={`status ${isGood ? "good" : "bad"}`}>
                {isGood ? <i aria-hidden="true" /> : <Icon name="warn" size={12} />} {status ?? "failed"}
              </span>
              <a href={pathTo("logs", log_id)}>{provider}{model ? ` · ${model}` : ""}</a>
              <span class="note">step {step}, attempt {attempt}</span>
              <span class="note">begun <Time at={started_at} /> {at > 0 && `after ${duration((starts[at] ?? begin) - begin)}`}</span>
            </div>
            <div class="bar-line" role="img" aria-label={`took ${duration(length)}${ttfb === null ? "" : `, first byte after ${duration(ttfb)}`}`}>
              <span class={`bar ${isGood ? "" : "bad"}`} style={{ left: share((starts[at] ?? begin) - begin), width: share(length) }}>
                {ttfb !== null && length > 0 && <i style={{ width: `${Math.min(100, (ttfb / length) * 100)}%` }} />}
              </span>
            </div>
            <div class="note">{duration(length)}{ttfb !== null && `, first byte after ${duration(ttfb)}`}</div>
            {error && <p class="error-text">{visible(error.slice(0, 1000))}</p>}
          </li>
        );
      })}
    </ol>
  );
}
