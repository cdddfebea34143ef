// Feedback from a CSV file: a column `id`, and `rating`, `comment` or any others.
import { Failure } from "../base.mjs";
import { rowsOf } from "./rows.mjs";

/** What one request may have. */
const AT_ONCE = 100;

export async function given({ api, file, account, gateway, refusals, isDry }) {
  const counts = { taken: 0, refused: 0 };
  let batch = [];
  const refuse = (where, reason) => {
    counts.refused += 1;
    refusals.add(where, reason);
  };
  const flush = async () => {
    const [lines, rows] = [batch.map(({ line }) => line), batch];
    batch = [];
    if (lines.length === 0) return;
    if (isDry) {
      counts.taken += lines.length;
      return;
    }
    const answer = await api.text(`/feedback?${new URLSearchParams({ account, ...(gateway && { gateway }) })}`, { method: "POST", type: "application/x-ndjson", body: lines.join("\n") });
    for (const said of answer.trim().split("\n").map((line) => JSON.parse(line))) {
      if (said.status < 300) counts.taken += 1;
      else refuse(rows[said.line - 1].where, said.errors?.[0]?.message ?? String(said.status));
    }
  };
  for await (const { number, row, reason } of rowsOf(file)) {
    const where = { row: number };
    if (reason) refuse(where, reason);
    else {
      const { id, log_id: log, request_id: request, ...others } = row;
      const name = id || log || request;
      if (number === 1 && !("id" in row || "log_id" in row || "request_id" in row)) throw new Failure(`${file} has no column id. It has ${Object.keys(row).join(", ")}.`);
      const data = Object.fromEntries(Object.entries(others).filter(([key, value]) => key !== "" && value !== "" && value !== undefined && value !== null).map(([key, value]) => [key, scalar(key, value)]));
      if (!name) refuse(where, "the row has no id");
      else if (Object.keys(data).length === 0) refuse({ ...where, id: name }, "the row says nothing of the log");
      else batch.push({ line: JSON.stringify({ request_id: String(name), data }), where: { ...where, id: name } });
    }
    if (batch.length === AT_ONCE) await flush();
  }
  await flush();
  return `${counts.taken} rows ${isDry ? "would be given" : "given"} as feedback, ${counts.refused} not taken`;
}

/** Numbers and yes or no, as JSON would have them; a comment stays what it is. */
function scalar(key, value) {
  if (typeof value !== "string" || key === "comment") return value;
  if (/^-?\d+(\.\d+)?$/.test(value.trim())) return Number(value);
  return { true: true, false: false }[value.trim().toLowerCase()] ?? value;
}
