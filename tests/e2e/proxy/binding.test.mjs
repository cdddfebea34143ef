import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

/** Another Worker, which reaches Tollgate by its service binding and under a made-up host. */
const CALLER = `
export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/method") return env.TOLLGATE.getUrl("openai", { account: "${ACCOUNT}", gateway: "gw", origin: "http://here" }).then((url) => Response.json({ url }));
    return env.TOLLGATE.fetch("https://tollgate" + pathname + search, request);
  },
};`;

let gw, caller;
before(async () => {
  const others = [{ name: "caller", modules: [{ type: "ESModule", path: "caller.mjs", contents: CALLER }], compatibilityDate: "2026-11-01", serviceBindings: { TOLLGATE: "tollgate" } }];
  gw = await Gateway.start({ others });
  await gw.create("gw");
  caller = await gw.miniflare.getWorker("caller");
});
after(() => gw.stop());

test("another Worker calls both planes through a service binding", async () => {
  const init = { method: "POST", body: '{"model":"gpt-4o","stream":true}', headers: { "content-type": "application/json" } };
  const answer = await caller.fetch(`https://caller/v1/${ACCOUNT}/gw/openai/chat/completions`, init);
  assert.equal(answer.status, 200);
  assert.match(await answer.text(), /\[DONE\]/);
  const log = await gw.logOf(answer);
  assert.deepEqual([log.success, log.tokens_in, log.tokens_out], [true, 17, 14]);
  const read = await caller.fetch(`https://caller/accounts/${ACCOUNT}/ai-gateway/gateways/gw/logs/${log.id}`, { headers: { authorization: `Bearer ${TOKEN}` } });
  assert.equal((await read.json()).result.id, log.id);
});

test("D3 a bound Worker gets the dashboard's files, and calls methods beside them", async () => {
  const page = await caller.fetch("https://caller/dashboard/");
  assert.deepEqual([page.status, page.headers.get("content-type").split(";")[0]], [200, "text/html"]);
  const [asset] = (await page.text()).match(/\/dashboard\/assets\/[\w-]+\.js/);
  const script = await caller.fetch(`https://caller${asset}`);
  assert.deepEqual([script.status, script.headers.get("content-type").split(";")[0]], [200, "text/javascript"]);
  assert.match(await script.text(), /^[^<]/);
  const called = await caller.fetch("https://caller/method");
  assert.deepEqual(await called.json(), { url: `http://here/v1/${ACCOUNT}/gw/openai` });
});
