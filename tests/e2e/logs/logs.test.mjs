import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Cloudflare from "cloudflare";
import { ACCOUNT, Gateway, TOKEN } from "../harness.mjs";

let gw, client;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
  client = new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4` });
});
after(() => gw.stop());

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "x".repeat(3_000) }] };

test("logs are listed newest first, in pages, with every field of the API", async () => {
  const answers = [];
  for (let n = 0; n < 5; n += 1) answers.push(await gw.call("openai/chat/completions", { json: CHAT, headers: { "cf-aig-metadata": `{"n":${n}}` } }));
  for (const answer of answers) await gw.logOf(answer);
  const list = await (await gw.api("/gateways/gw/logs?per_page=2&page=2")).json();
  assert.deepEqual([list.success, list.errors, list.messages], [true, [], []]);
  assert.deepEqual(list.result_info, { count: 2, page: 2, per_page: 2, total_count: 5, total_count_relation: "eq", cursor: list.result[1].id });
  assert.deepEqual(list.result.map((log) => log.metadata.n), [2, 1]);
  const [log] = list.result;
  for (const field of "id cached created_at duration model path provider success tokens_in tokens_out cost custom_cost metadata model_type request_content_type request_type response_content_type status_code step".split(" ")) {
    assert.ok(field in log, field);
  }
  assert.deepEqual([log.request, log.response, log.feedback, log.score], ["", "", null, null]);
  assert.deepEqual((await (await gw.api("/gateways/gw/logs?page=99")).json()).result, []);
  const oldest = await gw.result("/gateways/gw/logs?order_by=created_at&order_by_direction=asc");
  assert.deepEqual(oldest.map((log) => log.metadata.n), [0, 1, 2, 3, 4]);
  for (const query of ["per_page=51", "per_page=0", "page=0", "order_by=path", "order_by_direction=up"]) {
    const refused = await gw.api(`/gateways/gw/logs?${query}`);
    const { errors } = await refused.json();
    assert.deepEqual([refused.status, errors[0].code, errors[0].path], [400, 7001, ["query", query.split("=")[0]]]);
  }
});

test("Cloudflare's own SDK drives gateways and logs", async () => {
  const made = await client.aiGateway.create({
    account_id: ACCOUNT, id: "sdk", cache_ttl: null, collect_logs: true, cache_invalidate_on_update: false,
    rate_limiting_interval: 0, rate_limiting_limit: 0, rate_limiting_technique: "fixed",
  });
  assert.deepEqual([made.id, made.cache_ttl, made.account_tag], ["sdk", 0, ACCOUNT]);
  const changed = await client.aiGateway.update("sdk", { ...made, account_id: ACCOUNT, cache_ttl: 60 });
  assert.equal(changed.cache_ttl, 60);
  const ids = [];
  for await (const gateway of client.aiGateway.list({ account_id: ACCOUNT, per_page: 1 })) ids.push(gateway.id);
  assert.deepEqual(ids, ["gw", "sdk"]);

  const answer = await gw.call("openai/chat/completions", { gateway: "sdk", json: CHAT });
  const text = await answer.text();
  const { id } = await gw.logOf(answer, "sdk");
  const logs = [];
  for await (const log of client.aiGateway.logs.list("sdk", { account_id: ACCOUNT })) logs.push(log.id);
  assert.deepEqual(logs, [id]);
  const at = { account_id: ACCOUNT, gateway_id: "sdk" };
  const log = await client.aiGateway.logs.get(id, at);
  assert.deepEqual([log.model, log.request_head.length, log.request_head_complete, log.response_head_complete], ["gpt-4o", 2_000, false, true]);
  assert.deepEqual(await client.aiGateway.logs.request(id, at), CHAT);
  assert.deepEqual(await client.aiGateway.logs.response(id, at), JSON.parse(text));
  assert.equal(await client.aiGateway.urls.get("openai", at), `${gw.url}/v1/${ACCOUNT}/sdk/openai`);
  assert.equal((await client.aiGateway.delete("sdk", { account_id: ACCOUNT })).id, "sdk");
  await assert.rejects(client.aiGateway.get("sdk", { account_id: ACCOUNT }), (error) => error.status === 404 && error.errors[0].code === 7002);
});

test("a deleted gateway's logs are gone, also under a new gateway of the same id", async () => {
  await gw.create("brief");
  const answer = await gw.call("openai/chat/completions", { gateway: "brief", json: CHAT });
  const { id } = await gw.logOf(answer, "brief");
  await gw.api("/gateways/brief", { method: "DELETE" });
  assert.equal((await gw.call("openai/models", { gateway: "brief" })).status, 400);
  await gw.create("brief");
  assert.equal((await gw.api(`/gateways/brief/logs/${id}`)).status, 404);
  assert.deepEqual(await gw.result("/gateways/brief/logs"), []);
});

test("a change of a gateway holds at once", async () => {
  await gw.create("toggle");
  assert.ok((await gw.call("openai/models", { gateway: "toggle" })).headers.get("cf-aig-log-id"));
  await gw.api("/gateways/toggle", { method: "PUT", body: '{"collect_logs":false}' });
  assert.equal((await gw.call("openai/models", { gateway: "toggle" })).headers.get("cf-aig-log-id"), null);
  await gw.api("/gateways/toggle", { method: "PUT", body: '{"authentication":true}' });
  assert.equal((await gw.call("openai/models", { gateway: "toggle" })).status, 401);
  // A field that the body does not name stays as it is.
  await gw.api("/gateways/toggle", { method: "PUT", body: '{"cache_ttl":60}' });
  const { authentication, collect_logs, cache_ttl } = await gw.result("/gateways/toggle");
  assert.deepEqual([authentication, collect_logs, cache_ttl], [true, false, 60]);
});

test("wrong settings are refused with the field and what is allowed", async () => {
  for (const [body, path] of [["{", ["body"]], ["[]", ["body"]], ['{"id":"No!"}', ["body", "id"]], ['{"id":"a","cache_ttl":"60"}', ["body", "cache_ttl"]], ['{"id":"gw"}', ["body", "id"]], [`{"id":"a","x":"${"x".repeat(1 << 20)}"}`, ["body"]]]) {
    const refused = await gw.api("/gateways", { method: "POST", body });
    const { errors, success, result } = await refused.json();
    assert.deepEqual([refused.status, errors[0].code, errors[0].path, success, result], [body.length > 1 << 20 ? 413 : 400, 7001, path, false, null]);
  }
});

test("default comes into being with the first authenticated request", async () => {
  assert.equal((await gw.call("openai/models", { gateway: "default" })).status, 400);
  const answer = await gw.call("openai/models", { gateway: "default", headers: { "cf-aig-authorization": `Bearer ${TOKEN}` } });
  assert.equal(answer.status, 200);
  await gw.logOf(answer, "default");
  const made = await gw.result("/gateways/default");
  assert.deepEqual([made.authentication, made.collect_logs, made.is_default], [true, true, true]);
  assert.equal((await gw.call("openai/models", { gateway: "default" })).status, 401);
});

test("bodies of every length and alphabet come back as they were", async () => {
  // D1 takes them in pieces of 900,000 bytes, none of which may end within a character; a head has 2,000 characters.
  for (const size of [0, 1, 1_999, 2_001, 899_999, 900_001, 1_800_001, 5_000_000]) {
    for (const letter of ["x", "é", "🥚"]) {
      const text = size < 30 ? "7".repeat(size) : JSON.stringify({ model: "gpt-4o", text: letter.repeat((size - 30) / Buffer.byteLength(letter)) });
      gw.upstream.next({ body: text, headers: { "content-type": "application/json" } });
      const answer = await gw.call("openai/chat/completions", { method: "POST", body: text, headers: { "content-type": "application/json" } });
      const log = await gw.logOf(answer);
      const characters = [...text];
      for (const part of ["request", "response"]) {
        const stored = await gw.api(`/gateways/gw/logs/${log.id}/${part}`);
        assert.deepEqual([stored.status, await stored.text() === text], [200, true], `${part} of ${size} ${letter}`);
        assert.equal(log[`${part}_size`], Buffer.byteLength(text));
        assert.equal(log[`${part}_head`], characters.slice(0, 2_000).join(""));
        assert.equal(log[`${part}_head_complete`], characters.length <= 2_000);
      }
    }
  }
});

test("a provider's page is not handed out as a page", async () => {
  const page = "<script>alert(1)</script>";
  gw.upstream.next({ status: 502, body: page, headers: { "content-type": "text/html" } });
  const answer = await gw.call("openai/models");
  assert.deepEqual([answer.status, answer.headers.get("content-type"), await answer.text()], [502, "text/html", page]);
  const { id, error } = await gw.logOf(answer);
  assert.equal(error, "provider: answered 502");
  const stored = await gw.api(`/gateways/gw/logs/${id}/response`);
  assert.deepEqual([stored.headers.get("content-type"), stored.headers.get("x-content-type-options"), await stored.text()], ["text/plain; charset=utf-8", "nosniff", page]);
});

test("a list holds what was answered the moment before, and so do charts, logged or not", async () => {
  await gw.create("moment");
  await gw.create("uncounted", { collect_logs: false });
  for (let n = 1; n <= 10; n += 1) {
    const answer = await gw.call("openai/chat/completions", { gateway: "moment", json: CHAT });
    await answer.arrayBuffer();
    const [log] = await gw.result("/gateways/moment/logs?per_page=1");
    assert.equal(log?.id, answer.headers.get("cf-aig-log-id"));
    await (await gw.call("openai/chat/completions", { gateway: "uncounted", json: CHAT })).arrayBuffer();
    for (const gateway of ["moment", "uncounted"]) {
      assert.equal((await gw.result(`/gateways/${gateway}/analytics`)).totals.requests, n, gateway);
    }
  }
});
