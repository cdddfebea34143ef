// The running Tollgate that an import goes to, by its API: batches of logs, and what became of each.
import * as fs from "node:fs";
import { say } from "../base.mjs";
import { Refused } from "./calls.mjs";

/** Logs and bytes of one request. Tollgate takes 1,000, and 4 MB. */
const MOST_LOGS = 500;
const MOST_BYTES = 2_000_000;

/** A longer log is sent without its bodies. */
const MOST_OF_ONE = 3_500_000;

/** So many refusals are printed; all of them are in the file. */
const SHOWN = 20;

/** Takes note of everything that was not taken, with the reason. */
export class Refusals {
  constructor(file) {
    Object.assign(this, { file, count: 0 });
  }

  add(what, reason) {
    this.count += 1;
    fs.appendFileSync(this.file, `${JSON.stringify({ ...what, reason })}\n`, { mode: 0o600 });
    if (this.count <= SHOWN) say(`not taken: ${Object.values(what).join(" ")}: ${reason}`);
    if (this.count === SHOWN + 1) say(`more that is not taken is in ${this.file} only.`);
  }
}

/** Gathers logs and hands them in. */
export class Logs {
  constructor({ api, path, refusals, isDry = false }) {
    Object.assign(this, { api, path, refusals, isDry, waiting: [], bytes: 0, counts: { stored: 0, existing: 0, refused: 0, cut: 0 } });
  }

  /** `where` says in words of the source which row it is. */
  async add(log, where) {
    let line = JSON.stringify(log);
    if (Buffer.byteLength(line) > MOST_OF_ONE) {
      const { request, response, ...rest } = log;
      line = JSON.stringify({ ...rest, metadata: { ...rest.metadata, body_left_out: true } });
      this.counts.cut += 1;
      if (Buffer.byteLength(line) > MOST_OF_ONE) return this.refuse(where, `the row has ${Buffer.byteLength(line)} bytes without its bodies, and may have ${MOST_OF_ONE}`);
    }
    const bytes = Buffer.byteLength(line) + 1;
    if (this.waiting.length >= MOST_LOGS || (this.waiting.length > 0 && this.bytes + bytes > MOST_BYTES)) await this.flush();
    this.waiting.push({ line, where });
    this.bytes += bytes;
  }

  refuse(where, reason) {
    this.counts.refused += 1;
    this.refusals.add(where, reason);
  }

  async flush() {
    const batch = this.waiting;
    [this.waiting, this.bytes] = [[], 0];
    if (batch.length === 0) return;
    if (this.isDry) {
      this.counts.stored += batch.length;
      return;
    }
    const { result } = await this.api.json(this.path, { method: "POST", type: "application/x-ndjson", body: batch.map(({ line }) => line).join("\n") }).catch((error) => {
      // One log alone is answered as any body is.
      if (error instanceof Refused && error.status === 400 && batch.length === 1) return { result: { stored: 0, existing: 0, logs: [{ line: 1, status: "refused", reason: `${error.path.slice(1).join(".")}: ${error.reason}` }] } };
      throw error;
    });
    this.counts.stored += result.stored;
    this.counts.existing += result.existing;
    for (const { line, status, reason } of result.logs) if (status === "refused") this.refuse(batch[line - 1]?.where ?? {}, reason);
  }

  sum() {
    const { stored, existing, refused, cut } = this.counts;
    return `${stored} logs ${this.isDry ? "would be taken" : "taken"}, ${existing} were there, ${refused} not taken${cut ? `, ${cut} without bodies that are too long` : ""}`;
  }
}
