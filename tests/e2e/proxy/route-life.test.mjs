// A route's whole life, by official clients: Cloudflare's SDK makes and changes it, and OpenAI's calls it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Cloudflare from "cloudflare";
import OpenAI from "openai";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: "sk-operator-0123456789", groq: "gsk-operator-0123456789" }) } });
  await gw.create("gw", { authentication: true });
});
after(() => gw.stop());

const to = (elementId) => ({ elementId });
/** A conditional, a percentage, a rate and two models. Paying callers are counted; the others go by chance. */
const elements = (share, limit) => [
  { id: "start", type: "start", outputs: { next: to("plan") } },
  { id: "plan", type: "conditional", properties: { conditions: { "metadata.plan": { $eq: "paid" } } }, outputs: { true: to("rate"), false: to("split") } },
  { id: "rate", type: "rate", properties: { key: "metadata.user", limit, limitType: "count", window: 86_400 }, outputs: { success: to("big"), fallback: to("small") } },
  { id: "split", type: "percentage", properties: {}, outputs: { [`${share}%`]: to("big"), else: to("small") } },
  { id: "big", type: "model", properties: { provider: "openai", model: "gpt-4o", retries: 0, timeout: 0 }, outputs: { success: to("end"), fallback: to("small") } },
  { id: "small", type: "model", properties: { provider: "groq", model: "llama-3.3-70b-versatile", retries: 0, timeout: 0 }, outputs: { success: to("end") } },
  { id: "end", type: "end", outputs: {} },
];

test("Cloudflare's SDK makes a route, deploys it and rolls it back, and OpenAI's client calls it", async () => {
  const { dynamicRouting: api } = new Cloudflare({ apiToken: TOKEN, baseURL: `${gw.url}/client/v4`, maxRetries: 0 }).aiGateway;
  const client = new OpenAI({ apiKey: TOKEN, baseURL: `${gw.url}/v1/${ACCOUNT}/gw/compat`, maxRetries: 0 });
  const of = { account_id: ACCOUNT, gateway_id: "gw" };
  /** Where requests of a caller go, one after the other; and what the row of the last says of its way. */
  const ask = async (metadata, count = 1) => {
    const providers = [];
    let way;
    for (let n = 0; n < count; n += 1) {
      const { data, response } = await client.chat.completions.create({ model: "dynamic/life", messages: [{ role: "user", content: "Lunch?" }] }, { headers: { "cf-aig-metadata": JSON.stringify(metadata) } }).withResponse();
      assert.ok(data.choices[0].message.content);
      providers.push(response.headers.get("cf-aig-provider"));
      const { route, provider } = await gw.logOf(response);
      assert.equal(provider, providers.at(-1));
      way = [route.version, ...route.path.map(({ element, output }) => `${element}:${output}`), route.element];
    }
    return [providers, way];
  };
  await assert.rejects(ask({}), OpenAI.BadRequestError);
  const made = await api.create("gw", { account_id: ACCOUNT, name: "life", elements: elements(0, 1) });
  const first = (await api.listVersions(made.id, of)).data.versions[0].version_id;
  await api.createDeployment(made.id, { ...of, version_id: first });
  assert.deepEqual(await ask({ plan: "free" }, 3), [Array(3).fill("groq"), [first, "start:next", "plan:false", "split:else", "small"]]);
  // One request of each paying user, and the rest goes to the small model.
  assert.deepEqual(await ask({ plan: "paid", user: "ann" }), [["openai"], [first, "start:next", "plan:true", "rate:success", "big"]]);
  assert.deepEqual(await ask({ plan: "paid", user: "ann" }), [["groq"], [first, "start:next", "plan:true", "rate:fallback", "small"]]);
  assert.deepEqual((await ask({ plan: "paid", user: "bob" }))[0], ["openai"]);
  // A second version changes nothing until it is deployed.
  await api.createVersion(made.id, { ...of, elements: elements(100, 1) });
  const { versions } = (await api.listVersions(made.id, of)).data;
  const second = versions.map(({ version_id }) => version_id).find((id) => id !== first);
  assert.deepEqual([versions.length, (await ask({ plan: "free" }))[1][0]], [2, first]);
  await api.createDeployment(made.id, { ...of, version_id: second });
  assert.deepEqual(await ask({ plan: "free" }, 3), [Array(3).fill("openai"), [second, "start:next", "plan:false", "split:100%", "big"]]);
  // Its fallback: the failure and the answer are two rows of one event.
  gw.upstream.next({ status: 503, headers: { "content-type": "application/json" }, body: "{}" });
  const { response } = await client.chat.completions.create({ model: "dynamic/life", messages: [{ role: "user", content: "Lunch?" }] }, { headers: { "cf-aig-event-id": "fell-back" } }).withResponse();
  assert.equal(response.headers.get("cf-aig-provider"), "groq");
  await until(async () => (await gw.rows("SELECT status_code FROM logs WHERE event_id = 'fell-back'")).length === 2, "both rows");
  // And back.
  await api.createDeployment(made.id, { ...of, version_id: first });
  assert.deepEqual((await ask({ plan: "free" }))[1], [first, "start:next", "plan:false", "split:else", "small"]);
  const { deployments } = (await api.listDeployments(made.id, of)).data;
  assert.ok(deployments.length >= 3);
  assert.equal((await api.getVersion(second, { ...of, id: made.id })).version_id ?? second, second);
  const { routes } = (await api.list("gw", { account_id: ACCOUNT })).data;
  assert.deepEqual(routes.map(({ id, name, version }) => [id, name, version.version_id]), [[made.id, "life", first]]);
  assert.equal((await api.get(made.id, of)).deployment.version_id, first);
  await api.update(made.id, { ...of, name: "renamed" });
  await assert.rejects(ask({}), OpenAI.BadRequestError);
  await api.delete(made.id, of);
  await assert.rejects(api.get(made.id, of), Cloudflare.NotFoundError);
});
