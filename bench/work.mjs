// What is asked of the stand-in, and which lanes are asked over how many connections. Its answer is named in the request's
// `user`, which every gateway passes on.
import { Failure } from "../scripts/toolchain.mjs";
import { counted, turn, TURNS } from "./agent.mjs";

const MEGABYTE = 1_000_000;

const question = (mark, { stream = false, size = 0 } = {}) => {
  const text = "What should I eat for lunch? ".padEnd(size, "It should be warm, and not \"too\" expensive.\n");
  return JSON.stringify({
    model: "gpt-4o",
    user: `bench-${mark}`,
    ...(stream && { stream: true, stream_options: { include_usage: true } }),
    messages: [
      { role: "system", content: "You are a helpful assistant. Answer in one short sentence." },
      { role: "user", content: text },
    ],
  });
};

const agent = { model: "gpt-4o", user: "bench-json500" };

/** `turns` are sent one after the other, again and again, each time as another session. `heavy` is so few a second that a load must not be cut off by the clock; of `paced` every event is looked at. */
export const WORK = {
  json: { title: "0.5 KB of JSON", body: question("json500") },
  json50: { title: "50 KB of JSON", body: question("json50000") },
  upload: { title: "a request of 1 MB", body: question("json500", { size: MEGABYTE }) },
  agent: { title: "an agent's 40 turns, to 400 KB", body: turn(TURNS - 1, 0, { first: agent }), turns: () => Array.from({ length: TURNS }, (_, n) => counted(n, agent)) },
  sse22: { title: "22 events at once", body: question("sse22", { stream: true }), events: 22 },
  sse2000: { title: "2,000 events at once", body: question("sse2000", { stream: true }), events: 2_000, heavy: true },
  paced: { title: "64 events, one in 20 ms", body: question("paced64x20", { stream: true }), events: 64, paced: true },
};

const EVERY = ["direct", "bare", "served-bare", "tollgate-no-log", "tollgate", "served", "controlled", "cache-hit", "portkey", "litellm"];
const MAIN = ["direct", "bare", "served-bare", "tollgate-no-log", "tollgate", "served", "portkey"];
/** The same request through the unified API, as it is and translated. */
const UNIFIED = ["unified", "translated"];
/** … and by a dynamic route. */
const ROUTED = "routed";

/** One after the other in each round. All of all with all would take an hour; what a bar depends on gets twice the time. */
export const CELLS = [
  { work: "json", connections: 1, lanes: [...EVERY, ...UNIFIED, ROUTED], long: true },
  { work: "json", connections: 16, lanes: [...EVERY, "spend-limit"], long: true },
  { work: "json", connections: 64, lanes: EVERY },
  { work: "json50", connections: 1, lanes: ["bare", "tollgate", "served"] },
  { work: "json50", connections: 16, lanes: MAIN },
  { work: "upload", connections: 16, lanes: MAIN },
  { work: "agent", connections: 1, lanes: ["bare", "tollgate-no-log", "tollgate"], long: true },
  { work: "sse22", connections: 16, lanes: MAIN },
  { work: "sse2000", connections: 16, lanes: [...MAIN, ...UNIFIED], long: true },
  { work: "paced", connections: 16, lanes: [...MAIN, "litellm"] },
];

/** The cells that were asked for, of the lanes that are there. */
export function cells({ work, connections }, lanes) {
  const wanted = CELLS.filter((cell) => (!work || work.includes(cell.work)) && (!connections || connections.includes(cell.connections)));
  const there = (cell) => lanes.filter((lane) => cell.lanes.includes(lane.name));
  return wanted.map((cell) => ({ ...cell, key: `${cell.work}-${cell.connections}`, lanes: there(cell) })).filter((cell) => cell.lanes.length > 0);
}

/**
 * A lane that answers without doing its work would be a fast one: each is tried once before it is measured. Returns those of the
 * others' gateways that do not do it, with the reason; one of ours ends the run.
 */
export async function probe(lanes, all) {
  const direct = all.find(({ name }) => name === "direct");
  const broken = [];
  for (const [name, work] of Object.entries(WORK)) {
    const wanted = await answer(direct, work);
    for (const lane of lanes.filter((lane) => CELLS.some((cell) => cell.work === name && cell.lanes.includes(lane.name)))) {
      const reason = complaintOf(name, await answer(lane, work), wanted.text, lane.rewrites || lane.words || work.paced);
      if (reason && !lane.rewrites) throw new Failure(`${lane.name} ${reason}`);
      if (reason) broken.push({ name: lane.name, reason: `it ${reason}` });
    }
  }
  return broken;
}

function complaintOf(name, { status, text }, wanted, rewritten) {
  if (status !== 200) return `answers ${name} with ${status}: ${text.slice(0, 200)}`;
  const same = rewritten ? said(text) === said(wanted) : text === wanted;
  return same ? null : `answers ${name} with something else than the provider said: ${text.slice(0, 200)}`;
}

async function answer({ request: { url, headers }, words = (body) => body }, { body }) {
  const response = await fetch(url, { method: "POST", headers, body: words(body) });
  return { status: response.status, text: await response.text() };
}

/** What remains the same when a gateway writes the JSON anew. The times in paced events are not. */
function said(text) {
  const events = /^(data|event):/.test(text) ? text.split("\n").filter((line) => line.startsWith("data: {")).map((line) => line.slice(6)) : [text];
  const contents = events.map((event) => JSON.parse(event)).map(({ choices: [choice] = [], delta, content }) => choice?.delta?.content ?? choice?.message?.content ?? delta?.text ?? content?.[0]?.text ?? "");
  return contents.join("").replace(/@\d+/g, "@");
}
