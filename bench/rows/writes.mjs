// Logs written by the Worker's own statements, and removed by its own retention.
import { setTimeout as sleep } from "node:timers/promises";
import { say, Failure } from "../../scripts/toolchain.mjs";
import { metadata, pickModel, seed, ulid } from "./random.mjs";
import { number } from "./table.mjs";

/** As many requests as fill a group. */
const REQUESTS = 100;
const ID = /\b[0-9A-HJKMNP-TV-Z]{26}\b/g;

/** Sends requests with so many metadata entries through the Worker, and returns the transactions that wrote their logs. */
async function captured(bench, entries) {
  const { gateway, recorder } = bench;
  await recorder.take();
  await Promise.all(Array.from({ length: REQUESTS }, async (_, n) => {
    const { model } = pickModel();
    const body = { model, messages: [{ role: "user", content: `Question ${n}: what is ${n} times ${n}?` }] };
    const tags = JSON.stringify(metadata(entries));
    const headers = { authorization: "Bearer sk-test", "cf-aig-authorization": `Bearer ${bench.token}`, ...(entries > 0 && { "cf-aig-metadata": tags }) };
    const answer = await gateway.call("openai/chat/completions", { gateway: "bench", json: body, headers });
    const text = await answer.text();
    if (answer.status !== 200) throw new Failure(`a proxied request was answered ${answer.status}: ${text.slice(0, 300)}`);
  }));
  // A log that can be read has been written.
  const groups = new Map();
  for (let logs = 0, tries = 0; logs < REQUESTS; tries += 1) {
    if (tries === 200) throw new Failure(`${logs} of ${REQUESTS} logs were written`);
    await sleep(50);
    for (const statement of await recorder.take()) {
      if (statement.batch) groups.set(statement.batch, [...(groups.get(statement.batch) ?? []), statement]);
    }
    for (const [batch, group] of groups) if (!group.some(({ sql }) => sql.includes("INTO logs "))) groups.delete(batch);
    logs = [...groups.values()].reduce((sum, group) => sum + logsOf(group), 0);
  }
  return [...groups.values()];
}

/** How many logs a transaction wrote. */
function logsOf(group) {
  return JSON.parse(group.find(({ sql }) => sql.includes("INTO logs ")).binds[0]).length;
}

/** Groups made into larger ones: statements take arrays. */
function joined(groups) {
  const large = [];
  for (const group of groups) {
    const last = large.at(-1);
    const fits = last && last.every(({ sql }, n) => sql === group[n]?.sql) && logsOf(last) + logsOf(group) <= 100;
    if (!fits) large.push(structuredClone(group));
    else last.forEach((statement, n) => (statement.binds[0] = array(statement.binds[0], group[n].binds[0])));
  }
  const most = Math.max(...large.map(logsOf));
  return large.filter((group) => logsOf(group) > most / 2);
}

const array = (one, other) => (one.startsWith("[") ? JSON.stringify([...JSON.parse(one), ...JSON.parse(other)]) : one);

/** The same transaction for other logs: new ids, and the time of now. */
function renewed(group, time) {
  const ids = new Map();
  const fresh = (id) => ids.get(id) ?? ids.set(id, ulid(time)).get(id);
  const stamp = (text) => text.replace(ID, fresh).replace(/(?<=[[,:])1[789]\d{11}(?=[\],}])/g, String(time));
  return group.map(({ sql, binds }) => ({ sql, binds: binds.map((value) => (typeof value === "string" ? stamp(value) : value)) }));
}

/** Writes so many logs in groups, and says how fast that was and how many rows D1 bills. */
export async function measureWrites(bench, wanted) {
  seed(7);
  const made = await bench.gateway.api("/gateways", { method: "POST", body: JSON.stringify({ id: "bench", collect_logs: true }) });
  await made.text();
  // The limit of a run before must not turn logs away.
  await bench.ask("/gateways/bench", { method: "PUT", body: JSON.stringify({ log_management: null }) });
  const found = [];
  for (const entries of [0, 5]) {
    await captured(bench, entries);
    const written = await captured(bench, entries);
    const sum = (list, value) => list.reduce((total, one) => total + value(one), 0);
    const billed = sum(written.flat(), ({ written }) => written) / sum(written, logsOf);
    const groups = joined([...written, ...written]);
    let done = 0;
    let ms = 0;
    const slices = [];
    while (done < wanted / 2) {
      const time = Date.now();
      // Groups of a hundred, which is what an isolate under load writes at once.
      const batch = Array.from({ length: 10 }, (_, n) => renewed(groups[n % groups.length], time));
      const count = batch.reduce((sum, group) => sum + logsOf(group), 0);
      const answer = await fetch(`${bench.gateway.url}/__replay`, { method: "POST", body: JSON.stringify(batch) });
      if (answer.status !== 200) throw new Failure(`replay: ${(await answer.text()).slice(0, 500)}`);
      const result = await answer.json();
      slices.push(result.ms / batch.length);
      ms += result.ms;
      done += count;
    }
    const group = sum(groups, logsOf) / groups.length;
    const sorted = slices.toSorted((a, b) => a - b);
    const result = { entries, logs: done, perSecond: done / (ms / 1_000), rowsWritten: billed, group, groupP50: sorted[Math.floor(sorted.length / 2)], groupMost: sorted.at(-1) };
    found.push(result);
    say(`${entries} metadata entries: ${number(result.perSecond)} logs a second in groups of ${number(group)} (${result.groupP50.toFixed(1)} ms each, at most ${result.groupMost.toFixed(1)}), ${billed.toFixed(2)} rows written for a log`);
    for (const { sql, written: rows } of written[0]) say(`  ${(rows / logsOf(written[0])).toFixed(2)} by ${sql.slice(0, 60)}…`);
  }
  return found;
}

/** What retention does to remove so many logs, the oldest. */
export async function retention(bench, surplus) {
  const { gateway, recorder } = bench;
  const left = async () => (await gateway.rows("SELECT sum(logs) AS n FROM log_storage"))[0].n;
  const before = await left();
  // The most that a gateway may be told to keep.
  const limit = Math.min(before - surplus, 10_000_000);
  await recorder.take();
  const begun = performance.now();
  await bench.ask("/gateways/bench", { method: "PUT", body: JSON.stringify({ log_management: limit, log_management_strategy: "DELETE_OLDEST" }) });
  let now = before;
  // The clock's runs are not recorded: they find their database past the one that is wrapped. Looking at the storage begins one.
  for (let looks = 0; now > limit && looks < 600; looks += 1) {
    await bench.ask("/gateways/bench/storage");
    await sleep(200);
    now = await left();
  }
  const perSecond = (before - now) / ((performance.now() - begun) / 1_000);
  const statements = (await recorder.take()).filter(({ sql }) => /log|feedback|verdicts/.test(sql));
  // A transaction is what others wait for.
  const transactions = new Map();
  for (const { batch, ms, read } of statements.filter(({ batch }) => batch)) {
    const sum = transactions.get(batch) ?? { ms: 0, read: 0 };
    transactions.set(batch, { sql: "", ms: sum.ms + ms, read: sum.read + read });
  }
  await bench.note("retention, choosing 1,000 logs", [], statements.filter(({ batch, sql }) => !batch && sql.includes("FROM logs")), false);
  await bench.note("retention, removing them", [], [...transactions.values()], false, statements);
  const rowsWritten = statements.reduce((sum, { written }) => sum + written, 0) / (before - now);
  say(`retention removed ${number(before - now)} of ${number(before)} logs: ${number(perSecond)} a second, ${rowsWritten.toFixed(2)} rows written for a log`);
  await bench.ask("/gateways/bench", { method: "PUT", body: JSON.stringify({ log_management: null }) });
  return { removed: before - now, perSecond, rowsWritten };
}
