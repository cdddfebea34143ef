import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ faulty: true });
  await gw.create("gw");
});
after(() => gw.stop(/"event":"(gateway_unreadable|log_lost|request_failed|tallies_unread)"/));

const CHAT = { model: "gpt-4o", messages: [] };
const health = async () => (await fetch(`${gw.url}/health`)).json();

test("while logs are being lost the Worker says so, and when they are written again, too", async () => {
  const call = () => gw.call("openai/chat/completions", { json: CHAT });
  await gw.logOf(await call());
  assert.equal((await health()).status, "ok");
  await gw.fault(1e9);
  assert.equal((await call()).status, 200);
  await until(async () => (await health()).status === "degraded", "the loss to be told", 90_000);
  assert.ok((await health()).logs_lost > 0);
  await gw.fault(0);
  await gw.logOf(await call());
  await until(async () => (await health()).status === "ok", "the end of it");
});
