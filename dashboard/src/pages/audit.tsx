// Who changed what.
import { useEffect } from "preact/hooks";
import { integer, visible } from "../core/format.ts";
import { accountPath, api, queryOf } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { query, setQuery } from "../state/router.ts";
import type { Audit } from "../state/types.ts";
import { Button, Empty, Loaded, PageHead, Time } from "../ui/kit.tsx";

export function AuditPage() {
  useEffect(() => void (document.title = "Audit trail · Tollgate"), []);
  const page = Math.max(1, Number(query.value.get("page")) || 1);
  const list = useResource(`audit ${page}`, (signal) => api<Audit[]>(accountPath(`/audit${queryOf({ page, per_page: 50 })}`), { signal }));
  return (
    <>
      <PageHead title="Audit trail" note="What was changed in this account, and by whom" />
      <div class="page">
        <Loaded of={list} lines={8}>
          {({ result: all, result_info: info }) =>
            all.length === 0 ? (
              <Empty title="Nothing was changed yet" />
            ) : (
              <>
                <div class="panel scroll-x" tabIndex={0} role="group" aria-label="Changes">
                  <table class="plain-table">
                    <thead><tr><th>Time</th><th>Who</th><th>What</th><th>Gateway</th><th>Target</th><th>Fields</th></tr></thead>
                    <tbody>
                      {all.map((row) => (
                        <tr key={row.id}>
                          <td class="nowrap"><Time at={row.at} /></td>
                          <td>{visible(row.actor)}</td>
                          <td>{row.action}</td>
                          <td>{row.gateway_id ?? ""}</td>
                          <td><code>{visible(row.target)}</code></td>
                          <td class="note">{row.fields.join(", ")}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
                <div class="pager">
                  <Button icon="left" disabled={page === 1} onClick={() => setQuery({ page: page === 2 ? null : String(page - 1) })}>Newer</Button>
                  <Button disabled={page * 50 >= (info?.total_count ?? 0)} onClick={() => setQuery({ page: String(page + 1) })}>Older</Button>
                  <span class="note">{integer(info?.total_count ?? null)} changes</span>
                </div>
              </>
            )
          }
        </Loaded>
      </div>
    </>
  );
}
