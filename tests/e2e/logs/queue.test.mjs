// Logs that take the way through a queue. What a test has to see of the queue, or to break, it does in a module around the Worker.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Gateway, TOKEN, until } from "../harness.mjs";

const AROUND = `
import Worker from "./index.js";
export * from "./index.js";
const plan = {};
const seen = { sent: [], delivered: [], written: 0 };
function faulty(db) {
  const bound = (statement, values) => ({ statement, values, bind: (...values) => bound(statement.bind(...values), values), all: () => statement.all() });
  const check = (values) => {
    if (plan.down) throw new Error("D1_ERROR: the test pulled the plug");
    if (plan.poison && values.some((value) => String(value).includes(plan.poison))) throw new Error("D1_ERROR: the test does not like this");
  };
  return {
    prepare: (sql) => bound(db.prepare(sql), []),
    batch: async (all) => {
      all.forEach(({ values }) => check(values));
      const result = await db.batch(all.map(({ statement }) => statement));
      seen.written += 1;
      return result;
    },
  };
}
const watched = (queue) => ({
  sendBatch: async (messages) => {
    if (plan.unsent > 0) { plan.unsent -= 1; throw new Error("the test closed the queue"); }
    seen.sent.push(messages.map(({ body }) => new TextEncoder().encode(body).length));
    return queue.sendBatch(messages);
  },
});
export default class extends Worker {
  constructor(ctx, env) { super(ctx, { ...env, DB: faulty(env.DB), LOG_QUEUE: watched(env.LOG_QUEUE) }); }
  async queue(batch) {
    seen.delivered.push([batch.queue, batch.messages.length]);
    while (plan.hold) await new Promise((resolve) => setTimeout(resolve, 10));
    if (plan.crash > 0) { plan.crash -= 1; throw new Error("the test crashed the consumer"); }
    await super.queue(batch);
    if (plan.again > 0) { plan.again -= 1; throw new Error("the test crashed the consumer, too late"); }
  }
  async fetch(request) {
    const url = new URL(request.url);
    if (url.pathname !== "/__plan") return super.fetch(request);
    if (request.method === "POST") { Object.keys(plan).forEach((name) => delete plan[name]); Object.assign(plan, await request.json()); }
    if (plan.fresh) { delete plan.fresh; Object.assign(seen, { sent: [], delivered: [], written: 0 }); }
    return Response.json({ plan, seen });
  }
}`;

let gw;
before(async () => {
  const consumer = { maxBatchSize: 100, maxBatchTimeout: 0.05, maxRetries: 2 };
  const worker = { queueProducers: { LOG_QUEUE: "logs" }, queueConsumers: { logs: { ...consumer, deadLetterQueue: "dead" }, dead: { ...consumer, maxRetries: 100 } } };
  gw = await Gateway.start({ around: AROUND, worker });
  await gw.create("gw");
});
after(() => gw.stop(/"event":"queue_(write_failed|message_unreadable)"|the test/));
beforeEach(() => plan({ fresh: true }));


/** Makes the Worker's surroundings fail as the plan says, and with `fresh` forgets what was seen. */
async function plan(wanted) {
  await fetch(`${gw.url}/__plan`, { method: "POST", body: JSON.stringify(wanted) });
}

async function seen() {
  return (await fetch(`${gw.url}/__plan`)).json();
}

async function asked(text, tag) {
  const json = { model: "gpt-4o", messages: [{ role: "user", content: text }] };
  const answer = await gw.call("openai/chat/completions", { json, headers: tag && { "cf-aig-metadata": JSON.stringify({ tag }) } });
  assert.equal(answer.status, 200);
  const body = await answer.text();
  return { id: answer.headers.get("cf-aig-log-id"), sent: JSON.stringify(json), body, headers: answer.headers };
}

async function arrived(calls) {
  await until(async () => {
    const ids = JSON.stringify(calls.map(({ id }) => id));
    const [{ n }] = await gw.rows("SELECT count(*) AS n FROM logs WHERE id IN (SELECT value FROM json_each(?))", ids);
    return n === calls.length;
  }, "the rows");
}

/** The rows are there once each, are counted once each, and none is lost. */
async function exact() {
  const [{ n }] = await gw.rows("SELECT count(*) AS n FROM logs");
  assert.equal((await gw.result("/gateways/gw/storage")).logs, n);
  assert.equal((await (await fetch(`${gw.url}/health`)).json()).logs_lost, 0);
}

const stored = async (id, part) => (await gw.api(`/gateways/gw/logs/${id}/${part}`)).text();

test("logs arrive through the queue with all that belongs to them, and the request writes nothing itself", async () => {
  const calls = await Promise.all(Array.from({ length: 60 }, (_, tag) => asked(`ü ${"x".repeat(tag * 100)}`, tag + 1)));
  await arrived(calls);
  const { sent, delivered, written } = (await seen()).seen;
  assert.ok(sent.flat().every((size) => size <= 127_000));
  assert.equal(delivered.reduce((sum, [, count]) => sum + count, 0), sent.flat().length);
  assert.ok(written <= delivered.length, `${written} transactions for ${delivered.length} deliveries`);
  for (const [tag, call] of calls.entries()) {
    assert.equal((await gw.logOf({ headers: call.headers })).metadata.tag, tag + 1);
    assert.deepEqual([await stored(call.id, "request"), await stored(call.id, "response")], [call.sent, call.body]);
  }
  assert.equal((await gw.result(`/gateways/gw/logs?meta_info=true&per_page=5&filters=${encodeURIComponent(JSON.stringify([{ key: "metadata.key", operator: "eq", value: ["tag"] }]))}`)).length, 5);
  await exact();
});

test("a log that no message has room for is written at once, and the rest of its group is sent", async () => {
  const calls = await Promise.all([asked("y".repeat(300_000)), asked("z"), asked("é".repeat(1_000_000))]);
  await arrived(calls);
  for (const call of calls) assert.equal(await stored(call.id, "request"), call.sent);
  assert.deepEqual((await seen()).seen.sent.map((batch) => batch.length), [1]);
  await exact();
});

test("a consumer that fails is asked again, and one that fails too late writes nothing twice", async () => {
  await plan({ crash: 2, again: 2 });
  const calls = await Promise.all([asked("a"), asked("b")]);
  await arrived(calls);
  await until(async () => (await seen()).plan.again === 0, "deliveries after the one that worked");
  const last = await asked("c");
  await arrived([last]);
  await exact();
});

test("while the database is down the queue takes the logs, and they arrive when it is back", async () => {
  await asked("settings");
  await plan({ down: true });
  const calls = await Promise.all([1, 2, 3, 4].map((tag) => asked("d", tag)));
  await until(async () => gw.output.some((line) => line.includes("queue_write_failed") && line.includes("pulled the plug")), "a delivery that failed");
  await plan({});
  await arrived(calls);
  await exact();
});

test("a message that is refused ends among the dead letters, holds nobody up, and can be put back from there", async () => {
  await plan({ poison: "hemlock" });
  const bad = await asked("hemlock");
  await until(async () => (await seen()).seen.delivered.length > 0, "the first delivery");
  const good = await Promise.all([asked("wine"), asked("water")]);
  await arrived(good);
  await until(async () => (await seen()).seen.delivered.some(([queue]) => queue === "dead"), "the dead letter");
  assert.deepEqual(await gw.rows("SELECT id FROM logs WHERE id = ?", bad.id), []);
  await plan({});
  await arrived([bad]);
  await exact();
});

test("what cannot be read is not asked for again for ever, and takes nobody along", async () => {
  const queue = await gw.miniflare.getQueueProducer("LOG_QUEUE");
  await queue.send("no message of ours", { contentType: "text" });
  const call = await asked("e");
  await arrived([call]);
  await until(async () => (await seen()).seen.delivered.some(([queue]) => queue === "dead"), "the dead letter");
  assert.ok(gw.output.some((line) => line.includes("queue_message_unreadable")));
  await exact();
});

test("what people say of a log that is still in the queue waits for it", async () => {
  await plan({ hold: true });
  const call = await asked("f");
  const patched = await gw.api(`/gateways/gw/logs/${call.id}`, { method: "PATCH", body: JSON.stringify({ feedback: 1, score: 80 }) });
  assert.equal(patched.status, 202, await patched.text());
  const told = await fetch(`${gw.url}/feedback/${call.id}`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: JSON.stringify({ data: { helpful: true } }) });
  assert.equal(told.status, 202, await told.text());
  await plan({});
  await arrived([call]);
  await until(async () => (await gw.rows("SELECT score FROM logs WHERE id = ?", call.id))[0].score === 80, "the score");
  const log = await gw.result(`/gateways/gw/logs/${call.id}`);
  assert.deepEqual([log.feedback, log.score, log.feedback_data.helpful], [1, 80, true]);
});

test("a queue that refuses is tried again, and in the end the database is written to directly", async () => {
  await plan({ unsent: 2 });
  const first = await asked("g");
  await arrived([first]);
  assert.equal((await seen()).seen.sent.length, 1);
  await plan({ unsent: 1e9, fresh: true });
  const second = await asked("h");
  await arrived([second]);
  assert.deepEqual((await seen()).seen.sent, []);
  await exact();
});

test("several messages of one delivery are written in one transaction", async () => {
  await plan({ hold: true });
  const calls = await Promise.all(Array.from({ length: 12 }, () => asked("x".repeat(40_000))));
  await until(async () => (await seen()).seen.sent.flat().reduce((sum, size) => sum + size, 0) > 12 * 40_000, "all messages");
  await plan({});
  await arrived(calls);
  const { delivered, written } = (await seen()).seen;
  const messages = delivered.reduce((sum, [, count]) => sum + count, 0);
  assert.ok(written < messages, `${written} transactions for ${messages} messages`);
  await exact();
});
