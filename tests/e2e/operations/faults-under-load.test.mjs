// While requests keep coming, something else fails. Afterwards every answer that a client got has exactly one row, or it is
// counted as lost, by name and with a reason. `TOLLGATE_LONG=1` keeps everything up for as long as the issue wants.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Gateway, raw, until } from "../harness.mjs";

const LONG = process.env.TOLLGATE_LONG === "1";
const SECONDS = LONG ? 30 : 3;
const DOWN_SECONDS = LONG ? 20 : 5;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const event = (fields) => `data: ${JSON.stringify({ id: "chatcmpl-load", model: "gpt-4o", ...fields })}\n\n`;
const EVENTS = [...Array.from({ length: 20 }, (_, n) => event({ choices: [{ index: 0, delta: { content: `${n}` } }] })), event({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 20 } }), "data: [DONE]\n\n"];

/** Answers like a provider, with a stream where one is asked for. */
function provider({ body }) {
  if (body.includes('"stream":true')) return { events: EVENTS, pause: 10 };
  return { headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "a", model: "gpt-4o", choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } }) };
}

/**
 * Clients that send one request after the other until `stop` is called. Each leaves `{id, status, complete, from, to}`: what it
 * got, and when. Of `leaving` requests one is broken off by its client.
 */
function load(gw, { clients = 12, leaving = 0 } = {}) {
  const all = [];
  let running = true;
  let number = 0;
  const one = async (client) => {
    while (running) {
      number += 1;
      const leaves = leaving > 0 && number % leaving === 0;
      const seen = { stream: client % 3 === 0, leaves, from: Date.now() };
      all.push(seen);
      const body = JSON.stringify({ model: "gpt-4o", messages: [], stream: seen.stream });
      const answer = await raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, {
        method: "POST",
        body,
        headers: { "content-type": "application/json", "cf-aig-metadata": JSON.stringify({ number }) },
        onHeaders: (head) => Object.assign(seen, { id: head.headers["cf-aig-log-id"], status: head.statusCode }),
        onData: (_, request) => leaves && request.destroy(),
      });
      Object.assign(seen, { complete: !answer.broken, to: Date.now() });
      // A client that is refused does not ask again at once.
      if (!answer.status || answer.status >= 400) await sleep(20);
    }
  };
  const done = Promise.all(Array.from({ length: clients }, (_, client) => one(client)));
  return {
    all,
    stop: async () => {
      running = false;
      await done;
      return all;
    },
  };
}

/** Lets the consumer of a queue fail in two of three deliveries, before it has written and after. */
const CRASHING = `
import Worker from "./index.js";
export * from "./index.js";
let deliveries = 0;
export default class extends Worker {
  async queue(batch) {
    const turn = (deliveries += 1) % 3;
    if (turn === 1) throw new Error("the test crashed the consumer");
    await super.queue(batch);
    if (turn === 2) throw new Error("the test crashed the consumer, too late");
  }
  async fetch(request) {
    return new URL(request.url).pathname === "/__deliveries" ? Response.json(deliveries) : super.fetch(request);
  }
}`;
const QUEUE = { queueProducers: { LOG_QUEUE: "logs" }, queueConsumers: { logs: { maxBatchSize: 100, maxBatchTimeout: 0.1, maxRetries: 100 } } };

const ids = (seen) => seen.map(({ id }) => id).filter(Boolean);
const lostLines = (gw) => gw.output.filter((line) => line.includes('"event":"log_lost"')).map((line) => JSON.parse(line.slice(line.indexOf("{"))));
const lost = async (gw) => (await (await fetch(`${gw.url}/health`)).json()).logs_lost;

/** Waits for the rows of what was answered; fails for one that is missing and not told to be lost. */
async function accounted(gw, seen, patience = 45_000) {
  const answered = ids(seen);
  assert.equal(new Set(answered).size, answered.length, "no id is given out twice");
  let missing;
  await until(async () => {
    const rows = new Set((await gw.rows("SELECT id FROM logs WHERE id IN (SELECT value FROM json_each(?1))", JSON.stringify(answered))).map(({ id }) => id));
    const told = new Set(lostLines(gw).map(({ id }) => id));
    missing = answered.filter((id) => !rows.has(id) && !told.has(id));
    return missing.length === 0;
  }, "a row of every answer", patience).catch((error) => assert.fail(`${error.message}; missing: ${missing.length} of ${answered.length}: ${missing.slice(0, 5)}`));
  // A group that is written twice would be counted twice.
  const [{ n, counted }] = await gw.rows("SELECT (SELECT count(*) FROM logs) AS n, (SELECT sum(logs) FROM log_storage) AS counted");
  assert.equal(counted, n, "the count of logs");
  return answered.length;
}

describe("with the Worker as it is shipped", () => {
  let gw;
  before(async () => {
    gw = await Gateway.start({ faulty: true });
    await gw.create("gw");
    gw.upstream.answer = provider;
  });
  after(() => gw.stop(/"event":"(gateway_unreadable|request_failed)"/));

  test("a database that fails one call in ten, before or after it took effect", async (t) => {
    await gw.failEvery(10);
    const running = load(gw);
    const failures = async () => gw.failEvery(10);
    await sleep(SECONDS * 1_000);
    await until(async () => (await failures()) >= 4, "failures");
    const seen = await running.stop();
    const number = await accounted(gw, seen);
    t.diagnostic(`${number} answers, ${await failures()} failures`);
    await gw.failEvery(0);
    assert.ok(seen.every(({ status, complete }) => status === 200 && complete));
    assert.equal(await lost(gw), 0);
  });

  test(`a database that is down for ${DOWN_SECONDS} s`, async (t) => {
    const running = load(gw);
    await sleep(500);
    await gw.fault(1e9, false, true);
    await sleep(DOWN_SECONDS * 1_000);
    await gw.fault(0);
    await sleep(500);
    const seen = await running.stop();
    assert.ok(seen.every(({ status, complete }) => status === 200 && complete));
    t.diagnostic(`${await accounted(gw, seen)} answers`);
    assert.equal(await lost(gw), 0);
  });

  test("a provider that resets one connection in ten", async (t) => {
    let asked = 0;
    gw.upstream.answer = (request) => ((asked += 1) % 10 === 0 ? { reset: true } : asked % 10 === 5 ? { ...provider(request), cut: 10 } : provider(request));
    const running = load(gw);
    await sleep(SECONDS * 1_000);
    const seen = await running.stop();
    gw.upstream.answer = provider;
    const broken = seen.filter(({ status, complete }) => status !== 200 || !complete);
    assert.ok(broken.length > 0 && broken.length < seen.length / 2);
    t.diagnostic(`${await accounted(gw, seen)} answers, ${broken.length} of them broken`);
    assert.equal(ids(seen).length, seen.length, "every request was answered");
    const [{ n }] = await gw.rows("SELECT count(*) AS n FROM logs WHERE success = 0 AND error LIKE 'upstream: %'");
    assert.equal(n, broken.length);
    assert.equal(await lost(gw), 0);
  });

  test("one client in ten leaves", async (t) => {
    const [{ n: before }] = await gw.rows("SELECT count(*) AS n FROM logs");
    const running = load(gw, { leaving: 10 });
    await sleep(SECONDS * 1_000);
    const seen = await running.stop();
    const left = seen.filter(({ leaves }) => leaves);
    assert.ok(left.length > 0);
    t.diagnostic(`${await accounted(gw, seen)} answers, ${left.length} clients left`);
    const [{ n: behind }] = await gw.rows("SELECT count(*) AS n FROM logs");
    assert.equal(behind - before, seen.length, "whoever left has a row as well");
    assert.equal(await lost(gw), 0);
  });
});

test("a queue whose consumer crashes in two deliveries of three", async (t) => {
  const gw = await Gateway.start({ around: CRASHING, worker: QUEUE });
  await gw.create("gw");
  gw.upstream.answer = provider;
  const deliveries = async () => (await fetch(`${gw.url}/__deliveries`)).json();
  const running = load(gw);
  await sleep(SECONDS * 1_000);
  const seen = await running.stop();
  assert.ok(seen.every(({ status, complete }) => status === 200 && complete));
  t.diagnostic(`${await accounted(gw, seen)} answers, ${await deliveries()} deliveries`);
  assert.ok((await deliveries()) >= 3);
  assert.equal(await lost(gw), 0);
  await gw.stop(/the test crashed/);
});

describe("with a Worker that crashes when it is asked to", () => {
  let gw;
  let queued;
  before(async () => {
    gw = await Gateway.start({ build: "target/panicking", faulty: true });
    queued = await Gateway.start({ build: "target/panicking", worker: QUEUE });
    for (const one of [gw, queued]) {
      await one.create("gw");
      one.upstream.answer = provider;
    }
  });
  after(async () => {
    // The runtime tells of the crash, and of every callback that has nowhere to go.
    const expected = /log_lost|Critical|panick|Module terminated|Reinitializing|unreachable|RuntimeError|previous W|queue_/i;
    await gw.stop(expected);
    await queued.stop(expected);
  });

  for (const [kind, faults] of [["panic", ""], ["trap", ""], ["panic", " while the database is down"], ["panic", " with a queue"]]) {
    test(`a ${kind}${faults} loses what was under way, and says so`, async (t) => {
      const where = faults === " with a queue" ? queued : gw;
      await crashed(where, kind, faults.includes("down"), t);
    });
  }

  test("what an instance that crashes leaves has no body of a gateway that keeps none", { timeout: 60_000 }, async () => {
    await gw.create("quiet", { zdr: true });
    gw.upstream.answer = (asked) => (asked.body.includes("quincunx") ? { headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "a", model: "gpt-4o", choices: [{ index: 0, message: { role: "assistant", content: "a zeugma" }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 1 } }) } : provider(asked));
    const seen = [];
    const ask = async () => {
      const answer = await gw.call("openai/chat/completions", { gateway: "quiet", json: { model: "gpt-4o", messages: [{ role: "user", content: "what is quincunx" }] } }).catch(() => null);
      const text = await answer?.text().catch(() => "");
      if (answer?.status === 200 && text.includes("zeugma")) seen.push(answer.headers.get("cf-aig-log-id"));
    };
    // With the database down the records wait in the instance that crashes, and its text is all that is left of them.
    await ask();
    await gw.fault(1e9);
    await Promise.all(Array.from({ length: 10 }, ask));
    await (await fetch(`${gw.url}/__crash/panic`)).arrayBuffer();
    await gw.fault(0);
    await ask();
    assert.ok(seen.length >= 5, `${seen.length} answers`);
    await until(async () => (await gw.rows("SELECT id FROM logs WHERE id IN (SELECT value FROM json_each(?1))", JSON.stringify(seen))).length === seen.length, "the rows of what was left");
    for (const { name } of await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")) {
      assert.doesNotMatch(JSON.stringify(await gw.rows(`SELECT * FROM "${name}"`)), /quincunx|zeugma/, name);
    }
    gw.upstream.answer = provider;
  });

  test("a stream that begins when its instance has crashed is waited for no longer", { timeout: 60_000 }, async () => {
    const sent = gw.upstream.requests.length;
    gw.upstream.next({ events: EVENTS, pause: 10, delay: 1_000 });
    const answer = gw.call("openai/chat/completions", { json: { model: "gpt-4o", stream: true } });
    await until(() => gw.upstream.requests.length > sent, "the request");
    await (await fetch(`${gw.url}/__crash/panic`)).arrayBuffer();
    assert.equal((await answer).status, 500);
  });
});

/** Crashes the Worker three times while requests keep coming. */
async function crashed(gw, kind, faults, t) {
  const crash = () => fetch(`${gw.url}/__crash/${kind}`).then((answer) => answer.arrayBuffer(), () => undefined);
  const before = await lost(gw);
  const told = lostLines(gw).length;
  const running = load(gw);
  await sleep(1_000);
  const crashes = [];
  for (let n = 0; n < 3; n += 1) {
    if (faults) {
      await gw.fault(1e9);
      await sleep(300);
    }
    const from = Date.now();
    await crash();
    if (faults) {
      // The next instance has not written yet what this one left, and has to leave it in its turn.
      await (await fetch(`${gw.url}/health`)).text();
      await crash();
    }
    crashes.push([from, Date.now()]);
    if (faults) await gw.fault(0);
    await sleep(500);
  }
  const seen = await running.stop();
  const number = await accounted(gw, seen);
  const names = lostLines(gw).slice(told);
  t.diagnostic(`${number} answers, ${names.length} requests lost, ${seen.filter(({ status }) => status !== 200).length} without an answer`);
  assert.ok(names.length > 0 && names.every(({ reason }) => /crashed while the request was under way/.test(reason)));
  assert.equal(new Set(names.map(({ id }) => id)).size, names.length);
  await until(async () => (await lost(gw)) === before + names.length, "the count of the lost");
  const rows = await gw.rows("SELECT id FROM logs WHERE id IN (SELECT value FROM json_each(?1))", JSON.stringify(names.map(({ id }) => id)));
  assert.deepEqual(rows, [], "what is lost has no row");
  // Only what was under way is lost: an answer that had come to its end before has its row.
  const gone = new Set(names.map(({ id }) => id));
  const wrongly = seen.filter(({ id, from, to }) => gone.has(id) && !crashes.some(([begun, ended]) => from <= ended && to >= begun - 500));
  assert.deepEqual(wrongly, []);
  assert.ok(seen.filter(({ from }) => from > crashes.at(-1)[1]).every(({ status, complete }) => status === 200 && complete), "it goes on as before");
}

test("the Worker that is shipped cannot be asked to crash", async () => {
  const path = (folder) => new URL(`../../../${folder}/index_bg.wasm`, import.meta.url);
  assert.ok(readFileSync(path("target/panicking")).includes("/__crash/"));
  assert.ok(!readFileSync(path("build")).includes("__crash"));
});
