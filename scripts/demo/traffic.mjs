// Two weeks of plausible requests: chats of a product, agents that work in sessions, errors, feedback. The same each time.

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Requests that are sent at a time. */
const PART = 8;

/** A generator of numbers between 0 and 1 that gives the same ones for the same seed (mulberry32). */
export function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const QUESTIONS = [
  ["Our export to CSV stops at 10,000 rows. Is that a limit, or a fault?", "It is a limit of the page. The API has no such limit: ask for `GET /exports` with `format=csv`, and the file comes in pieces of 50,000 rows.\n\n1. Create a token that may read.\n2. Call the export with `cursor=` until the answer has none.\n\nShall I write the script for you?"],
  ["Summarise this thread in three points for somebody who was on leave.", "- The migration to the new region is done; two services still read from the old one.\n- Ana owns the clean-up, planned for **Thursday**.\n- Open question: whether invoices may be regenerated, which legal answers this week."],
  ["What is the difference between AES-GCM and AES-CBC, and which do I want?", "AES-GCM encrypts and authenticates in one pass; CBC only encrypts, and needs a MAC beside it.\n\n| | GCM | CBC |\n|---|---|---|\n| integrity | yes | no |\n| parallel | yes | decryption only |\n| repeated nonce | fatal | leaks little |\n\nYou want **GCM**, with a nonce that never repeats for a key."],
  ["Classify this message: 'I was charged twice for November, please help!'", '{"category": "billing", "urgency": "high", "sentiment": "negative", "needs_human": true}'],
  ["Translate to Norwegian: The invoice is attached, payment is due in 14 days.", "Fakturaen er vedlagt. Betalingsfristen er 14 dager."],
  ["Why does my Rust code say 'borrowed value does not live long enough'?", "The reference outlives what it points at. In your function `name` is dropped at the end of the block, but the struct still holds `&name`.\n\n```rust\nstruct Holder { name: String } // own it instead of borrowing\n```\n\nOwning the string is the simplest way out."],
  ["Write a polite reminder for an unpaid invoice, two sentences.", "I hope all is well with you. Our invoice 2026-1187 of 3 November seems to be still open; could you let us know when we may expect the payment?"],
  ["How many of our users in Norway were active last week?", "There were 1,284 active users in Norway last week, 6 % more than the week before."],
  ["Give me a title and a description for this help page about retries.", "**When a provider fails: retries and fallbacks**\n\nHow often a request is tried again, how long that takes, and what it costs."],
  ["A customer writes: 'I paid twice with my card 4242 4242 4242 4242.' What do I answer?", "Thank them, say that both payments were found, and that the second one is on its way back: it takes three to five working days."],
  ["Is this contract clause unusual? 'Either party may terminate with 5 days notice.'", "Five days is short for a contract with running costs on your side; 30 to 90 days are common. I would ask for 30 days, and for work already begun to be paid."],
];

const FEATURES = ["support", "search", "summary", "classify"];
const TEAMS = ["support", "growth", "platform"];
const CHATS = [
  { provider: "openai", model: "gpt-4o-mini", weight: 42 },
  { provider: "openai", model: "gpt-4o", weight: 18 },
  { provider: "anthropic", model: "claude-haiku-4-5", weight: 14 },
  { provider: "anthropic", model: "claude-sonnet-4-5", weight: 12 },
  { provider: "google-ai-studio", model: "gemini-2.5-flash", weight: 10 },
  { provider: "openai", model: "acme-support-ft-3", weight: 4 },
];

const ERRORS = [
  { status: 429, message: "Rate limit reached for requests per minute. Please try again in 2s." },
  { status: 500, message: "The server had an error while processing your request." },
  { status: 529, message: "Overloaded" },
  { status: 400, message: "This model's maximum context length is 128000 tokens. However, your messages resulted in 131204 tokens." },
];

const STEPS = [
  { tool: "read_file", input: { path: "src/export/csv.rs" }, result: "pub fn rows(&self) -> usize { self.rows.min(10_000) }\n\n#[test]\nfn stops_at_the_limit() { assert_eq!(export(20_000).rows(), 10_000); }", said: "I'll look at how rows are counted." },
  { tool: "search", input: { pattern: "10_000", path: "src" }, result: "src/export/csv.rs:41: self.rows.min(10_000)\nsrc/api/limits.rs:12: const PAGE: usize = 10_000;", said: "The limit may stand in more places than this one." },
  { tool: "edit_file", input: { path: "src/export/csv.rs", old: "self.rows.min(10_000)", new: "self.rows" }, result: "ok", said: "The page's limit was used for the export as well. I'll take it out." },
  { tool: "run", input: { command: "cargo test export" }, result: "running 14 tests\ntest export::csv::stops_at_the_limit ... FAILED\n\nfailures: 1", said: "Now the tests." },
  { tool: "edit_file", input: { path: "src/export/csv.rs", old: "stops_at_the_limit", new: "has_no_limit" }, result: "ok", said: "That test held the limit as it was. It should say the opposite." },
  { tool: "run", input: { command: "cargo test" }, result: "running 212 tests\n\ntest result: ok. 212 passed; 0 failed", said: "Once more, all of them." },
];

function pick(next, all) {
  const sum = all.reduce((total, { weight = 1 }) => total + weight, 0);
  let left = next() * sum;
  return all.find(({ weight = 1 }) => (left -= weight) < 0) ?? all[0];
}

/** How busy an hour is: a working day in Europe, quiet weekends, and a bit more each week. */
function busy(at) {
  const date = new Date(at);
  const hour = date.getUTCHours();
  const day = date.getUTCDay() % 6 === 0 ? 0.3 : 1;
  return day * (0.15 + Math.exp(-((hour - 10) ** 2) / 14) + 0.8 * Math.exp(-((hour - 15) ** 2) / 10));
}

/** Batches of requests, each with the time at which it is sent, the oldest first. */
export function* batches(now, count, seed = 17) {
  const next = random(seed);
  const from = now - 14 * DAY;
  const hours = Array.from({ length: 14 * 24 }, (_, at) => from + at * HOUR);
  const whole = hours.reduce((sum, at) => sum + busy(at), 0);
  let owed = 0;
  for (const [index, hour] of hours.entries()) {
    const requests = [];
    owed += (count * busy(hour)) / whole;
    for (; owed >= 1; owed -= 1) requests.push(chat(next, { isBadHour: index === 201 || index === 202 }));
    const isWorking = busy(hour) > 0.8 && next() < 0.35;
    if (isWorking) yield* session(next, hour + 20 * 60_000);
    // What a caller asks twice comes from the cache.
    if (requests.length > 6) requests.push({ ...requests[0], cached: true });
    // Some at a time, so that an hour's requests are not all of its first minute.
    const parts = Math.ceil(requests.length / PART);
    for (let part = 0; part < parts; part += 1) yield { at: hour + (part + next() * 0.9) * (HOUR / parts), requests: requests.slice(part * PART, (part + 1) * PART) };
  }
}

function chat(next, { isBadHour }) {
  const { provider, model } = pick(next, CHATS);
  const [question, answer] = QUESTIONS[Math.floor(next() * QUESTIONS.length)];
  const feature = FEATURES[Math.floor(next() * next() * FEATURES.length)];
  const metadata = { feature, team: TEAMS[Math.floor(next() * TEAMS.length)], user: `u${1000 + Math.floor(next() * next() * 400)}`, plan: next() < 0.3 ? "pro" : "free" };
  const fails = next() < (isBadHour && provider === "openai" ? 0.45 : 0.02);
  const error = fails ? ERRORS[Math.floor(next() * (isBadHour ? 3 : ERRORS.length))] : null;
  const isLong = next() < 0.2;
  const streams = next() < 0.5;
  const system = `You help the customers of Acme. Answer briefly and exactly, in the customer's language. If you do not know, say so and offer a colleague.\n\nProduct notes:\n${"- Exports, invoices, teams and tokens are described in the handbook, chapter by chapter.\n".repeat(isLong ? 40 : 8)}`;
  const before = isLong ? [{ role: "user", content: "Hello, I have a question." }, { role: "assistant", content: "Of course. What is it about?" }] : [];
  const tokens = { input: Math.round((isLong ? 900 : 260) + next() * 300), output: Math.max(6, Math.round(answer.length / 4)), cached: isLong && next() < 0.6 ? 640 : 0 };
  const slow = { "gpt-4o-mini": 900, "gpt-4o": 1900, "claude-haiku-4-5": 1100, "claude-sonnet-4-5": 2900, "gemini-2.5-flash": 700 }[model] ?? 1300;
  const wait = slow * (0.5 + next() * next() * 3);
  const feedback = !error && next() < 0.22 ? (next() < (model === "gpt-4o-mini" ? 0.68 : 0.86) ? 1 : -1) : null;
  const route = feature === "support" && provider === "openai" && next() < 0.4 ? "support" : null;
  return { provider, model, route, messages: [...before, { role: "user", content: question }], system, metadata, streams, error, answer, tokens, wait, feedback, comment: feedback === -1 && next() < 0.5 ? "does not answer the question" : null };
}

/** An agent's session: each turn sends the whole conversation again, and most of it comes from the provider's cache. */
function* session(next, begun) {
  const id = `acme-agent-${Math.floor(next() * 0xffffffff).toString(16).padStart(8, "0")}`;
  const model = next() < 0.75 ? "claude-sonnet-4-5" : "claude-opus-4-1";
  const messages = [{ role: "user", content: "The export to CSV stops at 10,000 rows. Find out why, and mend it." }];
  const system = `You are a careful engineer. Read before you write, keep changes small, run the tests.\n${"Conventions: names are the field's own; errors say what to do.\n".repeat(60)}`;
  const turns = 3 + Math.floor(next() * 4);
  const loses = next() < 0.35 ? 2 + Math.floor(next() * 2) : -1;
  let at = begun;
  let length = 2600;
  for (let turn = 0; turn < turns; turn += 1) {
    const step = STEPS[turn % STEPS.length];
    const isLast = turn === turns - 1;
    // A note that was put in front of everything: from there on the cache no longer fits.
    if (turn === loses) messages[0] = { role: "user", content: `${messages[0].content}\n\n(The date is now ${new Date(at).toISOString().slice(0, 10)}.)` };
    const cached = turn === 0 || turn === loses ? 0 : length - 300;
    const answer = isLast ? "The export had taken the page's limit of 10,000 rows for its own. I removed it, and the test now says that an export has no limit. All 212 tests pass." : step.said;
    const tool = isLast ? null : { id: `toolu_${id.slice(-8)}_${turn}`, name: step.tool, input: step.input };
    yield { at, requests: [{ provider: "anthropic", model, system, messages: structuredClone(messages), tools: true, metadata: { feature: "agent", team: "platform", user: "ci" }, session: id, streams: true, error: null, answer, tool, tokens: { input: 60 + Math.round(next() * 200), output: 90 + Math.round(next() * 160), cached, written: length - cached }, wait: 2200 + next() * 5000, feedback: isLast && next() < 0.6 ? 1 : null, comment: null }] };
    if (tool) messages.push({ role: "assistant", content: [{ type: "text", text: answer }, { type: "tool_use", ...tool }] }, { role: "user", content: [{ type: "tool_result", tool_use_id: tool.id, content: step.result }] });
    length += 380 + Math.round(next() * 300);
    at += 30_000 + next() * 90_000;
  }
}
