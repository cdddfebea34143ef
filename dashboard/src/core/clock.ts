// The time of the server, which "the last hour" is counted from: the clock of the browser's machine may be wrong.

/** Below this the two clocks agree: an answer takes a while. */
const AGREEMENT_MS = 10_000;

let ahead = 0;

/** Learns from what an answer that has just come says of the time. */
export function learnTime(said: string, own = Date.now()): void {
  const theirs = Date.parse(said);
  if (Number.isNaN(theirs)) return;
  ahead = Math.abs(theirs - own) < AGREEMENT_MS ? 0 : theirs - own;
}

export function now(): number {
  return Date.now() + ahead;
}
