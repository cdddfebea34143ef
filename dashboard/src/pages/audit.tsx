// Who changed what.
import { integer, visible } from "../core/format.ts";
import { accountPath, api, queryOf } from "../state/api.ts";
import { useResource } from "../state/resource.ts";
import { query, setQuery } from "../state/router.ts";
import type { Audit } from "../state/types.ts";
import { Button, Empty, Loaded, PageHead, Table, Time } from "../ui/kit.tsx";

export function AuditPage() {
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
                <Table
                  label="Changes"
                  boxed
                  rows={all}
                  columns={[
                    ["Time", ({ at }) => <Time at={at} />, "nowrap"],
                    ["Who", ({ actor }) => visible(actor)],
                    ["What", ({ action }) => action],
                    ["Gateway", ({ gateway_id }) => gateway_id ?? ""],
                    ["Target", ({ target }) => <code>{visible(target)}</code>],
                    ["Fields", ({ fields }) => <span class="note">{fields.join(", ")}</span>],
                  ]}
                />
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
