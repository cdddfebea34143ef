// The measurements, and the table they become.
import { Failure } from "../../scripts/toolchain.mjs";

/** How often a query is asked, unless that takes longer than the milliseconds beside it. */
const REPEATS = 100;
const PATIENCE = 6_000;
const LEAST = 5;

const part = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
const rounded = (time) => (time < 100 ? time.toFixed(1) : time.toFixed(0));
export const number = (n) => Math.round(n).toLocaleString("en-US");

function spread(times) {
  const sorted = times.toSorted((a, b) => a - b);
  return { n: sorted.length, p50: part(sorted, 0.5), p99: part(sorted, 0.99), max: sorted.at(-1) ?? 0 };
}

export class Bench {
  results = [];
  /** The table so far. */
  lines = [];

  constructor(gateway, token, recorder, only) {
    this.gateway = gateway;
    this.token = token;
    this.recorder = recorder;
    this.only = only;
    this.logs = "/gateways/bench/logs";
  }

  async ask(path, init, expected = 200) {
    const headers = { authorization: `Bearer ${this.token}` };
    const answer = path.startsWith("/feedback") ? await fetch(this.gateway.url + path, { ...init, headers }) : await this.gateway.api(path, init);
    const text = await answer.text();
    if (![expected].flat().includes(answer.status)) throw new Failure(`${path} answered ${answer.status}: ${text.slice(0, 500)}`);
    return text;
  }

  /** Notes a query: its times over HTTP, and what its statements took, read and planned in the database. */
  async note(name, times, statements, bar = true, explained = statements) {
    // What a call took in the database is the sum of its statements; they are told apart by count.
    const calls = times.length > 1 ? times.length : statements.length;
    const perCall = statements.length / calls;
    const sums = Number.isInteger(perCall) && perCall > 0
      ? Array.from({ length: calls }, (_, n) => statements.slice(n * perCall, (n + 1) * perCall).reduce((sum, { ms }) => sum + ms, 0))
      : statements.map(({ ms }) => ms);
    const slowest = statements.reduce((most, { ms }) => Math.max(most, ms), 0);
    const read = spread(statements.length > 0 && Number.isInteger(perCall)
      ? Array.from({ length: calls }, (_, n) => statements.slice(n * perCall, (n + 1) * perCall).reduce((sum, { read }) => sum + read, 0))
      : [statements.reduce((sum, { read }) => sum + read, 0) / calls]);
    const plan = await this.recorder.faults(explained);
    const result = { name, bar, http: spread(times), sql: spread(sums), slowest, read: read.p50, readMost: read.max, plan };
    this.results.push(result);
    const { http, sql } = result;
    this.#line(`| ${name} | ${rounded(http.p50)} | ${rounded(http.p99)} | ${rounded(sql.p50)} | ${rounded(sql.p99)} | ${number(read.p50)} | ${number(read.max)} | ${plan} |`);
  }

  #line(text) {
    if (this.lines.length === 0) this.lines.push("| query | p50, ms | p99, ms | in D1: p50 | p99 | rows read | most | plan |", "|---|---|---|---|---|---|---|---|");
    if (this.lines.length === 2) console.log(this.lines.join("\n"));
    this.lines.push(text);
    console.log(text);
  }

  /** Times what `ask` does with the n-th call. `bar` is false for what is not a first page. */
  async time(name, ask, { repeats = REPEATS, bar = true, patience = PATIENCE } = {}) {
    if (this.only && !name.includes(this.only)) return;
    await ask(0);
    await this.recorder.take();
    const times = [];
    const begun = performance.now();
    for (let n = 1; n <= repeats; n += 1) {
      const spent = performance.now() - begun;
      if (spent > (n <= LEAST ? LEAST * patience : patience) && n > 1) break;
      const from = performance.now();
      await ask(n);
      times.push(performance.now() - from);
    }
    await this.note(name, times, await this.recorder.take(), bar);
  }

  /** A list of 50; `query` is a text or makes one of a number. */
  async list(name, query, { least = 1, ...more } = {}) {
    await this.time(name, async (n) => {
      const asked = typeof query === "function" ? query(n) : query;
      const { result } = JSON.parse(await this.ask(`${this.logs}?per_page=50&${asked}`));
      if (result.length < least) throw new Failure(`${name}: ${result.length} logs for ${asked}, expected at least ${least}`);
    }, more);
  }
}
