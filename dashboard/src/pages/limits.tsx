// What the gateway's limits are, and how much of each is used.
import { useSignal } from "@preact/signals";
import { ago, cost, integer, seconds, visible } from "../core/format.ts";
import { gatewayPath, result } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { linkTo } from "../state/router.ts";
import type { Circuit, Counter, Limits } from "../state/types.ts";
import { Empty, Loaded, PageHead, Panel, Table, Time } from "../ui/kit.tsx";

export function LimitsPage() {
  const limits = useResource("limits", (signal) => result<Limits>(gatewayPath("/limits"), { signal }));
  return (
    <>
      <PageHead title="Limits"><a class="button plain" href={linkTo("settings", { group: "Limits" })}>Change</a></PageHead>
      <div class="page">
        <Loaded of={limits} lines={5}>
          {({ rate, spend, circuits }) => (
            <>
              {rate.length + spend.length === 0 && <Empty title="This gateway has no limits"><p><a href={linkTo("settings", { group: "Limits" })}>Settings</a> sets limits of requests and of money, for the gateway, a token or a metadata value.</p></Empty>}
              {rate.map((rule) => (
                <Panel key={rule.id} title={<>{integer(rule.limit)} requests in {seconds(rule.interval)}{rule.key && rule.key !== "gateway" ? ` for each ${rule.key.replace("metadata.", "")}` : ""}</>} actions={<span class="note">{rule.technique} · {rule.id}</span>}>
                  <Counters counters={rule.counters} more={rule.more_counters} limit={rule.limit} used={(counter) => counter.count ?? rule.limit - counter.remaining} show={integer} />
                </Panel>
              ))}
              {spend.map((rule) => (
                <Panel key={rule.id} title={<>{cost(rule.limit)} in {seconds(rule.window)}{rule.enabled ? "" : " (off)"}</>} actions={<span class="note">{rule.technique}{rule.reserve ? " · reserves before a call" : ""} · {rule.id}</span>}>
                  <Counters counters={rule.counters} more={rule.more_counters} limit={rule.limit} used={(counter) => (counter.spent ?? 0) + (counter.reserved ?? 0)} show={cost} />
                </Panel>
              ))}
              {circuits.length > 0 && <Circuits circuits={circuits} />}
            </>
          )}
        </Loaded>
      </div>
    </>
  );
}

function Circuits({ circuits }: { circuits: Circuit[] }) {
  const state = ({ state, tried_at }: Circuit) => {
    if (state === "closed") return "requests pass";
    if (state === "trial") return "the next request finds out";
    return <>left alone until <Time at={tried_at ?? ""} /></>;
  };
  return (
    <Panel title="Providers that failed" actions={<span class="note">circuits, as the instance that answered knows them</span>}>
      <Table
        label="Circuits"
        rows={circuits}
        columns={[
          ["Provider", ({ provider }) => visible(provider)],
          ["At", ({ origin }) => visible(origin)],
          ["Failures", ({ failures, limit, state }) => (state === "closed" ? <>{integer(failures)} <span class="note">of {integer(limit)}</span></> : "–"), "right"],
          ["State", (circuit) => <span class={circuit.state === "closed" ? "" : "status bad"}>{state(circuit)}</span>],
        ]}
      />
    </Panel>
  );
}

/** The fullest counters of a limit are what one looks for. */
const SHOWN = 8;

function Counters({ counters, more, limit, used, show }: { counters: Counter[]; more: boolean; limit: number; used: (counter: Counter) => number; show: (value: number) => string }) {
  const shown = useSignal(SHOWN);
  const sorted = counters.toSorted((a, b) => used(b) - used(a));
  if (counters.length === 0) return <p class="panel-body note">Nothing was counted in this window yet.</p>;
  return (
    <ul class="counters">
      {sorted.slice(0, shown.value).map((counter, at) => {
        const value = used(counter);
        const share = Math.min(1, value / limit);
        const name = Object.entries(counter.partition).map(([key, part]) => `${key.replace("metadata.", "")} ${part}`).join(", ") || "all";
        return (
          <li key={at}>
            <span class="counter-name">{visible(name)}</span>
            <span class={`meter ${share >= 1 ? "full" : share >= 0.8 ? "high" : ""}`} role="meter" aria-label={name} aria-valuemin={0} aria-valuemax={limit} aria-valuenow={Math.min(value, limit)}><i style={{ width: `${share * 100}%` }} /></span>
            <span class="counter-value">{show(value)} <span class="note">of {show(limit)}</span></span>
            <span class="note" title={counter.resets_at}>resets {ago(new Date(counter.resets_at))} (<Time at={counter.resets_at} />)</span>
          </li>
        );
      })}
      {sorted.length > shown.value && <li><button type="button" class="link" onClick={() => (shown.value = sorted.length)}>Show all {sorted.length}</button></li>}
      {more && <li class="note">There are more than these.</li>}
    </ul>
  );
}
