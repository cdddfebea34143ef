// What repeats in bodies is stored once, and reads back byte for byte. The session is the one that the bench sends.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { turn, TURNS } from "../../../bench/agent.mjs";
import { Gateway, until } from "../harness.mjs";

const ANSWER = JSON.stringify({ id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [{ type: "text", text: "Done. ".repeat(200) }], usage: { input_tokens: 10, output_tokens: 20 } });

let gw;
before(async () => {
  gw = await Gateway.start();
});
after(() => gw.stop(/^log: \{"bodies_removed":\d+,"event":"retention","level":"info","logs_removed":\d+,"unfinished":false\}$/));

async function tick() {
  const worker = await gw.miniflare.getWorker("tollgate");
  await worker.scheduled({ cron: "* * * * *" });
}

/** Sends a turn and waits for its log. */
async function sent(gateway, body) {
  gw.upstream.next({ headers: { "content-type": "application/json" }, body: ANSWER });
  const answer = await gw.call("anthropic/v1/messages", { gateway, method: "POST", body, headers: { "content-type": "application/json" } });
  assert.equal(await answer.text(), ANSWER);
  assert.equal(gw.upstream.requests.at(-1).body.toString(), body);
  const log = await gw.logOf(answer, gateway);
  return { id: log.id, log, body };
}

async function reads(gateway, { id, body }) {
  const [request, response] = await Promise.all(["request", "response"].map(async (part) => (await gw.api(`/gateways/${gateway}/logs/${id}/${part}`)).text()));
  assert.ok(request === body, `the request of ${id} is another one`);
  assert.equal(response, ANSWER);
}

const one = async (sql, ...binds) => Object.values((await gw.rows(sql, ...binds))[0])[0];
const pieces = () => one("SELECT count(*) AS n FROM body_pieces");

test("the forty turns of an agent are forty logs in a sixth of their bytes", async () => {
  await gw.create("agent");
  const logs = [];
  for (let n = 0; n < TURNS; n += 1) logs.push(await sent("agent", turn(n)));
  assert.ok(Math.abs(logs.at(-1).body.length - 400_000) < 40_000, `${logs.at(-1).body.length}`);
  for (const log of logs) await reads("agent", log);
  const { log } = logs.at(-1);
  assert.deepEqual([log.request_size, log.request_head, log.request_head_complete, log.response_head_complete], [logs.at(-1).body.length, logs.at(-1).body.slice(0, 2_000), false, true]);
  // All that its user said himself is in the first of eighty messages.
  assert.ok(log.input_preview.startsWith("Session 00000000 ") && log.input_preview.length === 120, log.input_preview);
  assert.equal(log.output_preview, `${"Done. ".repeat(200).slice(0, 119)}…`);
  const received = logs.reduce((sum, { body }) => sum + body.length + ANSWER.length, 0);
  const stored = await one("SELECT (SELECT sum(length(content)) FROM body_pieces) + (SELECT sum(length(layout)) FROM log_bodies) AS n");
  assert.ok(stored <= 0.15 * received, `${stored} of ${received} bytes`);
  const rows = await one("SELECT (SELECT count(*) FROM body_pieces) + (SELECT count(*) FROM log_bodies) + (SELECT sum(refs) FROM piece_refs) AS n");
  assert.ok(rows <= 5 * TURNS, `${rows} rows beside the five of each log`);
  const lines = (await (await gw.api("/gateways/agent/logs/export?bodies=true")).text()).trim().split("\n").map((line) => JSON.parse(line));
  assert.ok(lines.length === TURNS && lines.every(({ id, request }) => logs.find((log) => log.id === id).body === request));

  // Without the first half the others still read, and without the last one nothing is left.
  const gone = (ids) => gw.api(`/gateways/agent/logs?filters=${encodeURIComponent(JSON.stringify([{ key: "id", operator: "eq", value: ids }]))}`, { method: "DELETE" });
  const first = await gone(logs.slice(0, 20).map(({ id }) => id));
  assert.equal(first.status, 200, await first.text());
  for (const log of logs.slice(20)) await reads("agent", log);
  await gone(logs.slice(20).map(({ id }) => id));
  await until(async () => (await pieces()) === 0, "no piece to be left");
  assert.equal(await one("SELECT (SELECT count(*) FROM piece_refs) + (SELECT count(*) FROM released_pieces) AS n"), 0);
});

test("gateways share nothing, and a deleted one leaves the other's pieces", async () => {
  await gw.create("mine");
  await gw.create("yours");
  const body = turn(5, 7);
  const [mine, yours] = [await sent("mine", body), await sent("yours", body)];
  assert.equal(await one("SELECT count(*) AS n FROM log_bodies AS a JOIN log_bodies AS b ON a.messages = b.messages WHERE a.log_id < b.log_id"), 0);
  const before = await pieces();
  await gw.api("/gateways/mine", { method: "DELETE" });
  await until(async () => (await pieces()) === before / 2, "the pieces of the deleted gateway to go");
  await reads("yours", yours);
  assert.equal((await gw.api(`/gateways/yours/logs/${mine.id}/request`)).status, 404);
});

test("bodies of before are read, moved by the clock, and read again", async () => {
  await gw.create("old");
  const log = await sent("old", turn(1, 9));
  await gw.rows("DELETE FROM log_bodies WHERE log_id = ?", log.id);
  await gw.rows("INSERT INTO log_bodies (log_id, seq, request, response) VALUES (?1, 0, ?2, ?3)", log.id, log.body, ANSWER);
  await gw.rows("UPDATE body_moves SET up_to = ''");
  await reads("old", log);
  await tick();
  await until(async () => (await one("SELECT request IS NULL AND layout IS NOT NULL AS n FROM log_bodies WHERE log_id = ?", log.id)) === 1, "the row to be moved");
  await reads("old", log);
});

test("characters of every kind are stored as they were sent", async () => {
  await gw.create("letters");
  const letters = "é“€”😀 \u0000\n";
  for (const length of [10, 1_000, 30_000]) {
    const messages = [{ role: "user", content: letters.repeat(length / 10) }];
    const body = JSON.stringify({ model: "claude-sonnet-4-5", max_tokens: 10, messages });
    const sending = await sent("letters", body);
    await reads("letters", sending);
    assert.ok(sending.log.input_preview.startsWith("é“€”😀"), sending.log.input_preview);
  }
});
