// What checks found in a request and its answer.
import { categoriesOf, ruleName } from "../core/guards.ts";
import { visible } from "../core/format.ts";
import type { Log } from "../state/types.ts";
import { JsonTree } from "./json_tree.tsx";

export function hasChecks({ dlp, dlp_action, guardrails }: Log): boolean {
  return [dlp, dlp_action, guardrails].some((value) => value !== null && value !== undefined);
}

export function ChecksTab({ log: { dlp, dlp_action, guardrails } }: { log: Log }) {
  const said = categoriesOf(guardrails);
  return (
    <div class="feedback">
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
