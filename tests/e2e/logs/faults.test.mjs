import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ faulty: true });
  await gw.create("gw");
});
after(() => gw.stop(/"event":"(gateway_unreadable|request_failed)"/));

const CHAT = { model: "gpt-4o", messages: [] };

async function tagged(tag) {
  const answer = await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-metadata": JSON.stringify({ tag, even: tag % 2 === 0 }) } });
  assert.equal(answer.status, 200);
  assert.equal((await answer.json()).object, "chat.completion");
  return answer;
}

test("200 parallel requests leave 200 rows, each with its own metadata", async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, (_, tag) => tagged(tag)));
  const logs = await Promise.all(answers.map((answer) => gw.logOf(answer)));
  logs.forEach((log, tag) => assert.deepEqual([log.metadata.tag, log.metadata.even, log.success], [tag, tag % 2 === 0, true]));
  assert.equal(new Set(logs.map((log) => log.id)).size, 200);
  const [{ n, bodies }] = await gw.rows("SELECT (SELECT count(*) FROM logs) AS n, (SELECT count(*) FROM log_bodies) AS bodies");
  assert.deepEqual([n, bodies], [200, 200]);
  assert.equal((await gw.rows("SELECT count(*) AS n FROM log_metadata WHERE key = 'tag' AND typeof(value) = 'integer'"))[0].n, 200);
});

for (const [name, fail, after] of [["before it takes effect", 1, false], ["after it took effect", 1, true], ["for some seconds", 5, false]]) {
  test(`a write that fails ${name} is repeated, and no row is lost or doubled`, async () => {
    const [{ n: before }] = await gw.rows("SELECT count(*) AS n FROM logs");
    await gw.fault(fail, after);
    const answers = await Promise.all([1, 2, 3].map(tagged));
    const logs = await Promise.all(answers.map((answer) => gw.logOf(answer)));
    assert.deepEqual(logs.map((log) => log.metadata.tag), [1, 2, 3]);
    const [{ n }] = await gw.rows("SELECT count(*) AS n FROM logs");
    assert.equal(n, before + 3);
    assert.equal(await gw.faultsLeft(), 0, "the failures that were asked for did happen");
    assert.equal((await (await fetch(`${gw.url}/health`)).json()).logs_lost, 0);
  });
}

test("a fresh log can be read at once, again and again", async () => {
  for (let turn = 0; turn < 50; turn += 1) {
    const answer = await gw.call("openai/chat/completions", { json: { ...CHAT, stream: turn % 2 === 0 } });
    await answer.text();
    const found = await gw.api(`/gateways/gw/logs/${answer.headers.get("cf-aig-log-id")}`);
    assert.equal(found.status, 200);
  }
});

test("a database that is down for longer than settings are kept costs no answer and no row", async () => {
  await gw.logOf(await tagged(0));
  const [{ n: before }] = await gw.rows("SELECT count(*) AS n FROM logs");
  await gw.fault(1e9, false, true);
  const answers = [];
  // Settings are kept for five seconds.
  for (const end = Date.now() + 6_500; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 250))) answers.push(await tagged(answers.length));
  const unknown = await gw.call("openai/models", { gateway: "never-seen" });
  assert.deepEqual([unknown.status, (await unknown.json()).internalCode], [503, 7000]);
  const refused = await gw.api("/gateways/gw/logs");
  assert.deepEqual([refused.status, (await refused.json()).errors], [500, [{ code: 7000, message: "Internal Error" }]]);
  assert.ok(gw.output.some((line) => line.includes("the test pulled the plug")), "the operator is told the cause");
  await gw.fault(0);
  const logs = await Promise.all(answers.map((answer) => gw.logOf(answer)));
  assert.deepEqual(logs.map((log) => log.metadata.tag), answers.map((_, tag) => tag));
  assert.equal((await gw.rows("SELECT count(*) AS n FROM logs"))[0].n, before + answers.length);
  assert.equal((await (await fetch(`${gw.url}/health`)).json()).logs_lost, 0);
});

test("a database that hangs is given up and asked again, and older settings hold meanwhile", async () => {
  await gw.hang({ hang: 1 });
  const written = await tagged(1);
  // Settings are kept for five seconds; afterwards the read hangs, and what is known goes on to hold.
  await new Promise((resolve) => setTimeout(resolve, 5_500));
  await gw.hang({ hangReads: true });
  const begun = Date.now();
  const answer = await tagged(2);
  assert.ok(Date.now() - begun < 10_000);
  await gw.hang({});
  assert.deepEqual([(await gw.logOf(written)).metadata.tag, (await gw.logOf(answer)).metadata.tag], [1, 2]);
});
