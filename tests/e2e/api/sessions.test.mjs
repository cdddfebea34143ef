// Requests that belong together: which header or field says so, who is never joined, and what of each prompt the turn before had.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

const UUID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(() => gw.stop());

const chat = (contents, more = {}) => ({ model: "gpt-4o", messages: contents.map((content, n) => ({ role: n % 2 ? "assistant" : "user", content })), ...more });
async function ask(body, headers = {}, path = "openai/chat/completions", gateway = "gw") {
  const answer = await gw.call(path, { json: body, headers, gateway });
  assert.ok(answer.status < 500, await answer.clone().text());
  await answer.arrayBuffer();
  return gw.logOf(answer, gateway);
}
const sessionOf = async (...given) => (await ask(...given)).session_id;
const json = (body) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
async function token(permissions, more = {}) {
  const made = await gw.api("/tokens", { method: "POST", body: JSON.stringify({ name: "t", permissions, ...more }) });
  return (await made.json()).result;
}

test("the headers that name a session count in their order", async () => {
  const names = ["cf-aig-session-id", "x-session-id", "x-claude-code-session-id", "session-id", "session_id", "x-opencode-session", "x-session-affinity"];
  const body = { ...chat(["q"]), metadata: { user_id: `user_1_account__session_${UUID}` } };
  for (let n = 0; n < names.length; n += 1) {
    const headers = Object.fromEntries(names.slice(n).reverse().map((name) => [name, `by ${name}`]));
    assert.equal(await sessionOf(body, headers), `by ${names[n]}`);
  }
  // The body comes behind all headers.
  const anthropic = { model: "claude-sonnet-4-5", max_tokens: 9, messages: [{ role: "user", content: "q" }], metadata: { user_id: `user_1_account__session_${UUID}` } };
  assert.equal(await sessionOf(anthropic, {}, "anthropic/v1/messages"), UUID);
  assert.equal(await sessionOf({ ...anthropic, metadata: { user_id: "user-5" } }, {}, "anthropic/v1/messages"), null);
  assert.equal(await sessionOf(anthropic, { "x-session-id": "named" }, "anthropic/v1/messages"), "named");
  assert.equal(await sessionOf(chat(["q"])), null);
  // None of these headers is the provider's business but its own clients'.
  await ask(chat(["q"]), { "cf-aig-session-id": "mine" });
  assert.equal(gw.upstream.last.headers["cf-aig-session-id"], undefined);
});

test("what is often shared is a session only where the gateway says so", async () => {
  const body = chat(["q"], { prompt_cache_key: "app" });
  assert.equal(await sessionOf(body, { traceparent: TRACE }), null);
  await gw.create("keyed", { session_from: ["prompt_cache_key"] });
  await gw.create("traced", { session_from: ["traceparent"] });
  await gw.create("both", { session_from: ["prompt_cache_key", "traceparent"] });
  const path = "openai/chat/completions";
  assert.equal(await sessionOf(body, { traceparent: TRACE }, path, "keyed"), "app");
  assert.equal(await sessionOf(body, { traceparent: TRACE }, path, "traced"), TRACE.slice(3, 35));
  assert.equal(await sessionOf(body, { traceparent: TRACE }, path, "both"), "app");
  assert.equal(await sessionOf(body, { "x-session-id": "named" }, path, "both"), "named");
  for (const wrong of [["user"], "traceparent", [5]]) {
    const refused = await gw.api("/gateways/both", { method: "PUT", body: JSON.stringify({ session_from: wrong }) });
    assert.deepEqual([refused.status, (await refused.json()).errors[0].path[1]], [400, "session_from"]);
  }
});

test("responses that go on with each other are a session, with the first of them", async () => {
  const response = async (id, previous, headers) => {
    gw.upstream.next(json({ id, object: "response", status: "completed", model: "gpt-4.1", output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "a" }] }] }));
    return ask({ model: "gpt-4.1", input: "q", ...(previous && { previous_response_id: previous }) }, headers, "openai/responses");
  };
  const first = await response("resp_1");
  assert.equal(first.session_id, null);
  const second = await response("resp_2", "resp_1");
  const third = await response("resp_3", "resp_2");
  assert.deepEqual([second.session_id, second.previous_response_id, third.session_id], ["resp_1", "resp_1", "resp_1"]);
  assert.equal((await gw.result(`/gateways/gw/logs/${first.id}`)).session_id, "resp_1");
  const session = await gw.result("/gateways/gw/sessions/resp_1");
  assert.deepEqual([session.turns, session.logs.map(({ id }) => id)], [3, [first.id, second.id, third.id]]);
  const filtered = await gw.result(`/gateways/gw/logs?filters=${encodeURIComponent(JSON.stringify([{ key: "session_id", operator: "eq", value: ["resp_1"] }]))}`);
  assert.equal(filtered.length, 3);
  // A session with a name of its own keeps it, and the chain with it.
  const named = await response("resp_4", null, { "x-session-id": "own" });
  assert.deepEqual([named.session_id, (await response("resp_5", "resp_4")).session_id], ["own", "own"]);
});

test("callers with different tokens are never in one session", async () => {
  await gw.create("shared", { authentication: true });
  const [one, two] = [await token(["run"]), await token(["run"])];
  const as = (value) => ({ "cf-aig-authorization": `Bearer ${value}`, "x-session-id": "s" });
  const path = "openai/chat/completions";
  for (const [value, contents] of [[one.value, ["mine"]], [two.value, ["theirs"]], [one.value, ["mine", "a", "more"]], [TOKEN, ["admin's"]]]) await ask(chat(contents), as(value), path, "shared");
  const list = await gw.result("/gateways/shared/sessions");
  assert.deepEqual(list.map(({ id, caller, turns }) => [id, caller, turns]).sort(), [["s", "admin", 1], ["s", one.id, 2], ["s", two.id, 1]].sort());
  const own = await gw.result(`/gateways/shared/sessions/s?caller=${one.id}`);
  assert.deepEqual(own.logs.map(({ input_preview }) => input_preview), ["mine", "more"]);
  // Nor does it help to know the id of another's response.
  gw.upstream.next(json({ id: "resp_secret", object: "response", output: [] }));
  await ask({ model: "gpt-4.1", input: "q" }, { "cf-aig-authorization": `Bearer ${one.value}` }, "openai/responses", "shared");
  const thief = await ask({ model: "gpt-4.1", input: "q", previous_response_id: "resp_secret" }, { "cf-aig-authorization": `Bearer ${two.value}` }, "openai/responses", "shared");
  const found = await gw.result("/gateways/shared/sessions/resp_secret");
  assert.deepEqual([found.turns, found.caller, found.logs[0].id], [1, two.id, thief.id]);
});

test("a session shows its turns, its sums, and where its prompt left that of the turn before", async () => {
  const headers = { "x-session-id": "a/b c" };
  const usage = (cached) => json({ model: "gpt-4o", choices: [{ message: { role: "assistant", content: "ok" }, finish_reason: "stop" }], usage: { prompt_tokens: 100, completion_tokens: 10, prompt_tokens_details: { cached_tokens: cached } } });
  for (const [contents, cached] of [[["q"], 0], [["q", "a", "r"], 60], [["q", "changed", "r", "b", "s"], 0]]) {
    gw.upstream.next(usage(cached));
    await ask(chat(contents), headers);
  }
  gw.upstream.next({ status: 422, ...json({ error: { message: "no" } }) });
  await ask(chat(["q", "changed", "r", "b", "s"]), headers);
  const session = await gw.result(`/gateways/gw/sessions/${encodeURIComponent("a/b c")}`);
  assert.deepEqual([session.id, session.turns, session.models, session.tokens_in, session.tokens_out, session.cached_tokens, session.errors], ["a/b c", 4, ["gpt-4o"], 300, 30, 60, 1]);
  assert.deepEqual(session.logs.map(({ messages, shared_prefix, diverges_at, cached_tokens, success }) => [messages, shared_prefix, diverges_at, cached_tokens, success]), [[1, 0, null, 0, true], [3, 1, null, 60, true], [5, 1, 1, 0, true], [5, 5, null, null, false]]);
  const cost = session.logs.reduce((all, log) => all + (log.cost ?? 0), 0);
  assert.ok(session.cost > 0 && Math.abs(session.cost - cost) < 1e-12);
  assert.ok(session.first_at <= session.last_at && session.logs.every(({ created_at, duration }) => created_at.endsWith("Z") && duration >= 0));
  const page = await gw.result(`/gateways/gw/sessions/${encodeURIComponent("a/b c")}?offset=1&limit=2`);
  assert.deepEqual([page.logs.length, page.turns], [2, 4]);
  const listed = await gw.result(`/gateways/gw/sessions?limit=1&start=${session.first_at}`);
  assert.deepEqual([listed.length, listed[0].id, listed[0].turns], [1, "a/b c", 4]);
  assert.deepEqual(await gw.result(`/gateways/gw/sessions?end=2020-01-01T00:00:00Z`), []);
  for (const path of ["/gateways/gw/sessions/none", "/gateways/none/sessions", "/gateways/gw/sessions/x?caller=y"]) assert.equal((await gw.api(path)).status, 404, path);
  for (const query of ["limit=0", "start=x"]) assert.equal((await gw.api(`/gateways/gw/sessions?${query}`)).status, 400, query);
});

test("facets name the values of the newest logs with their counts", async () => {
  await gw.create("facets");
  const path = "openai/chat/completions";
  for (const [metadata, status] of [['{"team":"a","n":1}', 200], ['{"team":"a","n":true}', 200], ['{"team":"b"}', 429]]) {
    if (status !== 200) gw.upstream.next({ status, ...json({ error: { message: "slow down" } }) });
    await ask(chat(["q"]), { "cf-aig-metadata": metadata }, path, "facets");
  }
  const facets = (query) => gw.result(`/gateways/facets/logs/facets?${query}`);
  const { examined, fields } = await facets("fields=model,success,status_code,metadata,metadata.team,metadata.n");
  assert.equal(examined, 3);
  assert.deepEqual(fields.success, [{ value: true, count: 2 }, { value: false, count: 1 }]);
  assert.deepEqual(fields.status_code, [{ value: 200, count: 2 }, { value: 429, count: 1 }]);
  assert.deepEqual([fields.metadata, fields["metadata.team"]], [[{ value: "team", count: 3 }, { value: "n", count: 2 }], [{ value: "a", count: 2 }, { value: "b", count: 1 }]]);
  assert.deepEqual(new Set(fields["metadata.n"].map(({ value }) => value)), new Set([1, true]));
  const failed = await facets("fields=status_code&success=false");
  assert.deepEqual([failed.examined, failed.fields.status_code], [1, [{ value: 429, count: 1 }]]);
  assert.equal((await facets("examine=1")).examined, 1);
  const refused = await gw.api("/gateways/facets/logs/facets?fields=request");
  assert.deepEqual([refused.status, (await refused.json()).errors[0].path], [400, ["query", "fields"]]);
});

test("views are kept for a gateway, and the trail says who made them", async () => {
  const views = (id = "", init = {}, gateway = "gw") => gw.api(`/gateways/${gateway}/views${id}`, init);
  const made = await views("", { method: "POST", body: JSON.stringify({ name: "Slow", query: "f=duration:gt:5000" }) });
  assert.equal(made.status, 200);
  const { result } = await made.json();
  assert.deepEqual((await (await views()).json()).result, [{ id: result.id, name: "Slow", query: "f=duration:gt:5000", created_at: result.created_at }]);
  await gw.create("viewless");
  assert.deepEqual((await (await views("", {}, "viewless")).json()).result, []);
  assert.equal((await views(`/${result.id}`, { method: "DELETE" }, "viewless")).status, 404);
  // Who may read may look at them, and who may edit may make them.
  const reader = { headers: { authorization: `Bearer ${(await token(["read_metadata"])).value}` } };
  assert.equal((await views("", reader)).status, 200);
  assert.equal((await views("", { ...reader, method: "POST", body: '{"name":"x","query":""}' })).status, 403);
  assert.equal((await views(`/${result.id}`, { ...reader, method: "DELETE" })).status, 403);
  assert.equal((await views(`/${result.id}`, { method: "DELETE" })).status, 200);
  const trail = await gw.result(`/audit?target=${result.id}`);
  assert.deepEqual(trail.map(({ action, actor, gateway_id }) => [action, actor, gateway_id]), [["view.delete", "admin", "gw"], ["view.create", "admin", "gw"]]);
});

test("the second of two people who change a setting is told", async () => {
  await gw.create("settings");
  const put = (body, tag) => gw.api("/gateways/settings", { method: "PUT", body: JSON.stringify(body), headers: tag ? { "if-match": tag } : {} });
  const seen = (await gw.api("/gateways/settings")).headers.get("etag");
  const first = await put({ cache_ttl: 60 }, seen);
  assert.deepEqual([first.status, (await first.json()).result.cache_ttl], [200, 60]);
  const second = await put({ cache_ttl: 90 }, seen);
  const { errors } = await second.json();
  assert.deepEqual([second.status, errors[0].path], [412, ["header", "if-match"]]);
  assert.match(errors[0].message, /changed at .*Read it again/);
  const now = await gw.api("/gateways/settings");
  assert.deepEqual([(await now.json()).result.cache_ttl, now.headers.get("etag") === first.headers.get("etag")], [60, true]);
  assert.equal((await put({ cache_ttl: 90 }, now.headers.get("etag"))).status, 200);
  // Without a version changes of different settings at once are all kept.
  const many = [{ cache_ttl: 5 }, { rate_limiting_limit: 7, rate_limiting_interval: 60 }, { retry_max_attempts: 3 }];
  assert.deepEqual((await Promise.all(many.map((body) => put(body)))).map(({ status }) => status), [200, 200, 200]);
  const { cache_ttl, rate_limiting_limit, retry_max_attempts } = await gw.result("/gateways/settings");
  assert.deepEqual([cache_ttl, rate_limiting_limit, retry_max_attempts], [5, 7, 3]);
  const trail = await gw.result("/audit?gateway=settings&action=gateway.update");
  assert.equal(trail.length, 5);
});

test("read_metadata sees no text anywhere", async () => {
  await gw.create("secret");
  const path = "openai/chat/completions";
  const canary = "CANARYWORD";
  for (const headers of [{ "x-session-id": "s" }, { "x-session-id": "s" }]) {
    gw.upstream.next(json({ model: "gpt-4o", choices: [{ message: { role: "assistant", content: `${canary} answer` }, finish_reason: "stop" }], usage: { prompt_tokens: 9, completion_tokens: 9 } }));
    await ask(chat([`${canary} question`]), { ...headers, "cf-aig-metadata": '{"team":"a"}' }, path, "secret");
  }
  const [log] = await gw.result("/gateways/secret/logs");
  assert.ok(JSON.stringify(log).includes(canary));
  const dataset = await (await gw.api("/gateways/secret/datasets", { method: "POST", body: JSON.stringify({ name: "d", filters: [{ key: "model", operator: "present" }] }) })).json();
  const made = await gw.api("/gateways/secret/evaluations", { method: "POST", body: JSON.stringify({ name: "e", dataset_ids: [dataset.result.id], evaluation_type_ids: ["output_contains"], settings: { output_contains: { text: "answer" } } }) });
  const evaluation = made.status === 200 ? (await made.json()).result.id : null;
  const reader = { authorization: `Bearer ${(await token(["read_metadata"])).value}` };
  const base = `/accounts/${ACCOUNT}/ai-gateway/gateways/secret`;
  const get = (path) => fetch(gw.url + base + path, { headers: reader });
  const open = ["", "/logs", "/logs?search=team", `/logs/${log.id}`, `/logs/${log.id}/attempts`, "/logs/export", "/logs/export?format=csv", "/logs/export?limit=5", "/logs/facets?fields=model,session_id,metadata,metadata.team", "/sessions", "/sessions/s", "/analytics?group_by=metadata.team", "/datasets", "/evaluations", "/storage", "/limits", "/views", "/provider_configs"];
  if (evaluation) open.push(`/evaluations/${evaluation}`);
  for (const path of open) {
    const seen = await get(path);
    const text = await seen.text();
    assert.deepEqual([seen.status, text.includes(canary)], [200, false], path);
  }
  const closed = [`/logs/${log.id}/conversation`, `/logs/${log.id}/request`, `/logs/${log.id}/response`, "/logs/export?bodies=true", "/logs/export?format=openai-finetune", "/logs/export?limit=1&bodies=true"];
  if (evaluation) closed.push(`/evaluations/${evaluation}/verdicts`);
  for (const path of closed) {
    const refused = await get(path);
    const text = await refused.text();
    assert.deepEqual([refused.status, text.includes(canary)], [403, false], path);
  }
  // What one searches for is metadata, so no search tells what is in a body.
  assert.deepEqual((await (await get(`/logs?search=${canary}`)).json()).result, []);
  const feedback = await fetch(`${gw.url}/feedback/${log.id}`, { headers: reader });
  assert.ok(!(await feedback.text()).includes(canary));
  for (const [method, path, body] of [["PATCH", `/logs/${log.id}`, '{"feedback":1}'], ["POST", "/views", '{"name":"x","query":""}'], ["PUT", "", '{"cache_ttl":5}'], ["DELETE", "/logs?filters=[]", undefined]]) {
    assert.equal((await fetch(gw.url + base + path, { method, headers: reader, body })).status, 403, `${method} ${path}`);
  }
});

test("figures of the period before, of groups, and by metadata", async () => {
  await gw.create("figures");
  const path = "openai/chat/completions";
  for (const metadata of ['{"team":"a"}', '{"team":"a"}', '{"team":7}', "{}"]) await ask(chat(["q"]), { "cf-aig-metadata": metadata }, path, "figures");
  const analytics = (query) => gw.result(`/gateways/figures/analytics?${query}`);
  await until(async () => (await analytics("")).totals.requests === 4, "four requests to be counted");
  const day = 86_400_000;
  const compared = await analytics(`compare=previous&start=${Date.now() - 2 * day}&end=${Date.now() - day}`);
  assert.deepEqual([compared.totals.requests, compared.previous.totals.requests, compared.previous.end], [0, 0, compared.start]);
  const later = await analytics(`compare=previous&granularity=day&start=${Date.now() + day}&end=${Date.now() + 2 * day}`);
  assert.equal(later.previous.totals.requests, 4);
  const byModel = await analytics("group_by=model");
  assert.deepEqual(byModel.groups.map(({ model, requests, duration }) => [model, requests, duration.count]), [["gpt-4o", 4, 4]]);
  assert.deepEqual(Object.keys(byModel.groups[0].duration).sort(), ["avg", "count", "p50", "p90", "p95", "p99"]);
  const byTeam = await analytics("group_by=metadata.team&compare=previous");
  assert.deepEqual(byTeam.groups.map(({ value, requests }) => [value, requests]).sort(), [["a", 2], [7, 1], [null, 1]].sort());
  assert.deepEqual([byTeam.examined, byTeam.complete, byTeam.totals.requests, byTeam.previous.totals.requests, byTeam.buckets[0].time.endsWith("Z")], [4, true, 4, 0, true]);
  assert.equal((await analytics("")).groups, null);
  for (const query of ["compare=next", "group_by=metadata.", "group_by=team"]) assert.equal((await gw.api(`/gateways/figures/analytics?${query}`)).status, 400, query);
});
