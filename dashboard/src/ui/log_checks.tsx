// What checks found in a request and its answer, and the way it took through a dynamic route.
import { categoriesOf, ruleName } from "../core/guards.ts";
import { wayOf, type Passed } from "../core/way.ts";
import { visible } from "../core/format.ts";
import { linkTo } from "../state/router.ts";
import type { Log } from "../state/types.ts";
import { JsonTree } from "./json_tree.tsx";

export function hasChecks({ dlp, dlp_action, guardrails, route }: Log): boolean {
  return [dlp, dlp_action, guardrails, route].some((value) => value !== null && value !== undefined);
}

/** A way through a route, an element a line. */
export function Way({ of: way }: { of: Passed[] }) {
  return (
    <ol class="route-way">
      {way.map(({ element, output, reason }, at) => (
        <li key={at}><b>{visible(element)}</b> <span class="note">{visible(output)}</span>{reason && <span class="error-text">{visible(String(reason).slice(0, 300))}</span>}</li>
      ))}
    </ol>
  );
}

export function ChecksTab({ log }: { log: Log }) {
  const { dlp, dlp_action, guardrails, route, route_id } = log;
  const way = wayOf(log);
  const name = (route as { name?: unknown } | null | undefined)?.name;
  const said = categoriesOf(guardrails);
  return (
    <div class="feedback">
      {route !== null && route !== undefined && (
        <>
          <h3>Route {route_id && <a href={linkTo("routes", { id: route_id })}>{visible(typeof name === "string" ? `dynamic/${name}` : route_id)}</a>}</h3>
          <Way of={way} />
          {way.length === 0 && <JsonTree value={route} openTo={2} />}
        </>
      )}
      {(dlp || dlp_action) && (
        <>
          <h3>Data loss prevention</h3>
          <p>{visible((dlp_action ?? dlp?.action ?? "").toLowerCase())} {(dlp?.profile_ids ?? []).map((id) => <span key={id} class="tag">{visible(id)}</span>)}</p>
          {(dlp?.found ?? []).length > 0 && (
            <ul class="history">
              {dlp?.found?.map(({ entry, check, path, offset }, at) => <li key={at}><b>{visible(entry)}</b> <span class="note">{check.toLowerCase()}</span> <code>{visible(path)}</code> <span class="note">at character {offset}</span></li>)}
            </ul>
          )}
          {dlp?.unscanned?.map(({ check, reason }) => <p key={check} class="warning">The {check.toLowerCase()} was not looked at: {visible(reason)}</p>)}
        </>
      )}
      {guardrails !== null && guardrails !== undefined && (
        <>
          <h3>Guardrails</h3>
          {said.length > 0 && <p>{said.map(({ rule, where, action }, at) => <span key={at} class="tag">{visible([ruleName(rule), where, action.toLowerCase()].filter(Boolean).join(" · "))}</span>)}</p>}
          <JsonTree value={guardrails} openTo={3} />
        </>
      )}
    </div>
  );
}
