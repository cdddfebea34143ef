// Calls of the two sides of an import: as often as they may be made, and again where that helps.
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../base.mjs";

/** Cloudflare's bound for a user: 1,200 requests in five minutes. Some are left for what else runs with the same token. */
export const RATE = 1_150;
const WINDOW_MS = 300_000;

/** Pauses before a call is made again, in milliseconds. */
const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
const PATIENCE_MS = 60_000;

/** What an API answered that is no success. */
export class Refused extends Error {
  constructor(status, body, what) {
    const error = body?.errors?.[0] ?? {};
    super(`${what}: ${status} ${error.message ?? ""}${error.path ? ` (${error.path.join(".")})` : ""}`.trim());
    Object.assign(this, { status, path: error.path ?? [], reason: error.message ?? String(status) });
  }
}

export class Api {
  /** `base` ends where paths begin; `rate` is how many calls five minutes may have; `limit` says who sets that. */
  constructor({ name, base, token, rate = Infinity }) {
    Object.assign(this, { name, base: base.replace(/\/$/, ""), token, rate, made: [], waited: 0 });
  }

  /** The JSON of an answer. */
  async json(path, init) {
    return JSON.parse(await this.text(path, init));
  }

  /** The text of an answer, or null for a 404 where `optional` is set. */
  async text(path, { method = "GET", body, type = "application/json", optional = false } = {}) {
    const what = `${this.name}: ${method} ${path.split("?")[0]}`;
    for (let attempt = 0; ; attempt += 1) {
      await this.turn();
      let answer;
      let text;
      try {
        answer = await fetch(this.base + path, { method, body, headers: { authorization: `Bearer ${this.token}`, ...(body !== undefined && { "content-type": type }) }, signal: AbortSignal.timeout(PATIENCE_MS), redirect: "error" });
        text = await answer.text();
      } catch (error) {
        if (attempt >= PAUSES_MS.length) throw new Failure(`${what} does not answer: ${error.cause?.message ?? error.message}. What was taken is kept: run the same command again.`);
        await sleep(PAUSES_MS[attempt]);
        continue;
      }
      if (answer.ok) return text;
      if (answer.status === 404 && optional) return null;
      const again = answer.status === 429 || answer.status === 408 || answer.status >= 500;
      if (again && attempt < PAUSES_MS.length) {
        await this.pause(answer, attempt);
        continue;
      }
      const refused = new Refused(answer.status, parsed(text), what);
      if (answer.status === 401) throw new Failure(`${refused.message}. The token has to be one that ${this.wants ?? "may do this"}.`);
      throw refused;
    }
  }

  async pause(answer, attempt) {
    const after = Number(answer.headers.get("retry-after"));
    const wait = Number.isFinite(after) && answer.headers.has("retry-after") ? Math.min(Math.max(after, 0), 600) * 1_000 : PAUSES_MS[attempt];
    this.waited += wait;
    await sleep(wait);
  }

  /** Waits until one more call may be made. */
  async turn() {
    for (;;) {
      const now = Date.now();
      while (this.made.length > 0 && now - this.made[0] >= WINDOW_MS) this.made.shift();
      if (this.made.length < this.rate) break;
      const wait = WINDOW_MS - (now - this.made[0]);
      this.waited += wait;
      await sleep(wait);
    }
    if (this.rate !== Infinity) this.made.push(Date.now());
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
