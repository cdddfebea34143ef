// The pages about what requests may do and where they go.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TOKEN, until } from "../e2e/harness.mjs";
import { Dashboard } from "./browser.mjs";
import { layoutFaults } from "./layout.mjs";

let dashboard;
let gateway;

before(async () => {
  dashboard = await Dashboard.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: "sk-operator", anthropic: "sk-operator" }), ALLOW_INTERNAL_UPSTREAMS: "true" } });
  gateway = dashboard.gateway;
});
after(() => dashboard.stop());

const said = (content) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", model: "gpt-4o", choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }) });
const post = async (path, json) => {
  const answer = await gateway.api(path, { method: "POST", body: JSON.stringify(json) });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return (await answer.json()).result;
};

/** How a page looks in both themes and at four widths, as far as that can be measured. */
async function looksRight(page, what) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const width of [320, 360, 1280, 2560]) {
      await page.setViewportSize({ width, height: 900 });
      assert.deepEqual(await layoutFaults(page), [], `${what}, ${width} px, ${colorScheme}`);
    }
    assert.deepEqual(await dashboard.axe(page), [], `${what}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  await page.setViewportSize({ width: 1440, height: 900 });
}

const model = (id, provider, name, more = {}) => ({ id, type: "model", properties: { provider, model: name, retries: 0, timeout: 0 }, outputs: { success: { elementId: "end" }, ...more } });

test("a route is made, drawn and changed; each way says how often it was taken, and a log which it took", async () => {
  await gateway.create("routed");
  const page = await dashboard.open({ path: "routed/routes" });
  await page.getByText("No routes yet").waitFor();
  await page.getByRole("button", { name: "New route" }).click();
  await page.getByLabel("Name").fill("support");
  await page.getByRole("button", { name: "Store" }).click();
  await page.getByRole("heading", { name: "dynamic/support" }).waitFor();
  await page.locator(".element", { hasText: "openai/gpt-4o-mini" }).waitFor();

  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.getByLabel("Add an element").selectOption("conditional");
  const conditional = page.locator("fieldset", { has: page.getByLabel("Condition") });
  await conditional.getByLabel("Id", { exact: true }).fill("plan");
  await conditional.getByLabel("Id", { exact: true }).press("Tab");
  await conditional.getByLabel("Condition").fill('{"metadata.plan": {"$nonsense": 1}}');
  await conditional.getByLabel("true").selectOption("model-1");
  await conditional.getByLabel("false").selectOption("model-1");
  await page.locator("fieldset", { hasText: "start" }).first().getByLabel("next").selectOption("plan");
  await page.getByRole("button", { name: "Store and use" }).click();
  // The server's words stand with the element that they are about, and nothing typed is lost.
  await conditional.locator(".field-error").waitFor();
  assert.match(await conditional.locator(".field-error").textContent(), /nonsense/);
  await conditional.getByLabel("Condition").fill('{"metadata.plan": {"$eq": "free"}}');
  await page.getByRole("button", { name: "Store and use" }).click();
  await page.getByText("This version is in use").waitFor();
  const [route] = (await (await gateway.api("/gateways/routed/routes")).json()).data.routes;
  assert.deepEqual(route.elements.find(({ id }) => id === "plan").properties, { condition: { "metadata.plan": { $eq: "free" } } });

  for (const plan of ["free", "free", "paid"]) {
    gateway.upstream.next(said("Hello"));
    const sent = await gateway.call("compat/chat/completions", { gateway: "routed", headers: { "cf-aig-metadata": JSON.stringify({ plan }) }, json: { model: "dynamic/support", messages: [{ role: "user", content: "Hello" }] } });
    assert.equal(sent.status, 200, await sent.clone().text());
    await sent.text();
    await gateway.logOf(sent, "routed");
  }
  await page.reload();
  await until(async () => /2 · 67%/.test((await page.locator(".way", { hasText: "true" }).textContent()) ?? ""), "the figures of a way");
  assert.match(await page.locator(".way", { hasText: "false" }).textContent(), /1 · 33%/);
  await page.getByLabel("Metadata").fill('{"plan": "free"}');
  await page.getByRole("button", { name: "Show the way" }).click();
  await page.locator(".way.taken", { hasText: "true" }).waitFor();
  assert.equal(await page.locator(".way.taken", { hasText: "false" }).count(), 0);
  await looksRight(page, "a route");

  // An older version again.
  await page.getByRole("button", { name: "Use", exact: true }).first().click();
  await until(async () => (await gateway.result(`/gateways/routed/routes/${route.id}`)).elements.length === 3, "the first version in use");
  await page.goto(dashboard.url("routed/logs"));
  await page.locator(".log-table td.c-time").first().click();
  await page.locator(".drawer").getByRole("tab", { name: "Checks & route" }).click();
  await page.locator(".route-way li", { hasText: "plan" }).waitFor();
  assert.match(await page.locator(".route-way").textContent(), /plan\s*false/);
  await page.context().close();
});

test("names and ids of a route that others made up break nothing", async () => {
  await gateway.create("nasty");
  const long = `<b onclick=alert(1)>${"w".repeat(100)}`;
  const elements = [
    { id: "s", type: "start", outputs: { next: { elementId: long } } },
    { id: long, type: "conditional", properties: { condition: { [`metadata.${"k".repeat(80)}`]: { $eq: "w".repeat(300) } } }, outputs: { true: { elementId: "m" }, false: { elementId: "n" } } },
    model("m", "openai", `m${"w".repeat(120)}`, { fallback: { elementId: "n" } }),
    model("n", "openai", "gpt-4o"),
    { id: "end", type: "end", outputs: {} },
  ];
  const { id } = await post("/gateways/nasty/routes", { name: `<script>${"w".repeat(80)}`, elements });
  const page = await dashboard.open({ path: "nasty/routes" });
  await page.locator(".plain-table a").first().waitFor();
  await looksRight(page, "the list of routes");
  await page.goto(dashboard.url(`nasty/routes/${id}`));
  await page.locator(".element").first().waitFor();
  await page.getByRole("button", { name: "Change", exact: true }).click();
  await looksRight(page, "a route with long names");
  assert.equal(await page.locator("main b[onclick], main script").count(), 0);
  await page.context().close();
});

test("a policy is made and changed, the tester says what it would do, and requests are refused by it", async () => {
  await gateway.create("policed");
  const page = await dashboard.open({ path: "policed/policies" });
  await page.getByText("No policies: every caller may call every model").waitFor();
  await page.getByRole("button", { name: "New policy" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("Teams");
  await dialog.getByLabel("US dollars").fill("5");
  await dialog.getByLabel("Counted for each").fill("team:{metadata.team}");
  await dialog.getByLabel("Where").fill("metadata.team ==");
  await dialog.getByRole("button", { name: "Store and put in force" }).click();
  await dialog.locator(".field-error").waitFor();
  assert.match(await dialog.locator(".field-error").textContent(), /CEL/);
  await dialog.getByLabel("Where").fill('metadata.team == "search"');
  await dialog.getByRole("button", { name: "Store and put in force" }).click();
  await page.getByRole("cell", { name: "at most $5.00 monthly" }).waitFor();
  const [policy] = await gateway.result("/gateways/policed/policies");
  assert.deepEqual([policy.name, policy.actor, policy.resource, policy.action.amount], ["Teams", "team:{metadata.team}", "*", 5]);

  await page.getByRole("button", { name: "New policy" }).click();
  await dialog.getByLabel("Name").fill("No opus");
  await dialog.getByLabel("What").selectOption("block");
  await dialog.getByLabel("Models").fill("*opus*");
  await dialog.getByRole("button", { name: "Store, not in force yet" }).click();
  await page.getByText("not in force").waitFor();
  await page.getByRole("button", { name: "Put 1 change in force" }).click();
  await page.getByText("All are in force").waitFor();
  await page.getByText("not in force").waitFor({ state: "detached" });

  const verdict = page.locator("[data-verdict]");
  await page.getByRole("button", { name: "Try" }).click();
  await page.locator('[data-verdict="allowed"]').waitFor();
  await page.getByLabel("Spent so far").fill('{"Teams": {"spent": 7}}');
  await page.getByRole("button", { name: "Try" }).click();
  await page.locator('[data-verdict="refused"]').waitFor();
  assert.match(await verdict.textContent(), /Teams, \$7\.00 of \$5\.00 is spent/);
  await looksRight(page, "policies");
  for (const [name, team, status] of [["gpt-4o", "search", 200], ["gpt-4o", "ads", 403]]) {
    const sent = await gateway.call("openai/chat/completions", { gateway: "policed", headers: { "cf-aig-metadata": JSON.stringify({ team }) }, json: { model: name, messages: [{ role: "user", content: "Hello" }] } });
    assert.equal(sent.status, status, await sent.text());
  }
  await page.context().close();
});

const CARD = "4111 1111 1111 1111";

test("a card number is taken out by a policy of the form, and the page says by which rule; it stands nowhere", async () => {
  await gateway.create("checked");
  const page = await dashboard.open({ path: "checked/guards" });
  await page.getByText("Nothing was found yet").waitFor();
  const panel = page.locator(".panel", { has: page.getByRole("heading", { name: "Data loss prevention" }) });
  await panel.getByRole("button", { name: "Policy" }).click();
  await panel.getByLabel("Name").fill("cards");
  await panel.getByLabel("What is done").selectOption("REDACT");
  await panel.getByLabel("Profiles of your own").fill('[{"id": "UPPER", "words": ["x"]}]');
  await panel.getByRole("button", { name: "Store" }).click();
  await panel.locator(".field-error").waitFor();
  assert.match(await panel.locator(".field-error").textContent(), /custom_profiles.*lower-case/);
  await panel.getByLabel("Profiles of your own").fill("");
  await panel.getByRole("button", { name: "Store" }).click();
  await page.getByText("Settings stored").waitFor();
  const { dlp } = await gateway.result("/gateways/checked");
  assert.deepEqual(dlp.policies, [{ id: "cards", action: "REDACT", check: ["REQUEST", "RESPONSE"], profiles: ["financial"] }]);

  gateway.upstream.next(said("Thank you"));
  const sent = await gateway.call("openai/chat/completions", { gateway: "checked", json: { model: "gpt-4o", messages: [{ role: "user", content: `My card is ${CARD}, thank you` }] } });
  assert.equal(sent.status, 200, await sent.clone().text());
  await sent.text();
  assert.ok(!gateway.upstream.last.body.toString().includes(CARD));
  const log = await gateway.logOf(sent, "checked");
  assert.equal(log.dlp_action, "REDACT");
  await page.getByRole("button", { name: "Refresh (r)" }).click();
  const row = page.getByRole("row", { name: /credit_card/ });
  await row.first().waitFor();
  assert.match(await row.first().textContent(), /request.*redact.*1/);
  await looksRight(page, "guardrails and DLP");
  await page.goto(dashboard.url(`checked/logs?log=${log.id}&tab=checks`));
  await page.locator(".drawer .history li", { hasText: "credit_card" }).waitFor();
  await page.locator(".drawer").getByRole("tab", { name: "Request" }).click();
  await page.locator(".drawer .tree").waitFor();
  for (const part of [await page.content(), await page.locator("body").innerText()]) assert.ok(!part.includes(CARD), "the card stands on the page");
  await page.context().close();
});

test("guardrails are set for prompts and answers, and what the table has no place for stays", async () => {
  await gateway.create("guarded");
  const page = await dashboard.open({ path: "guarded/guards" });
  await page.getByLabel("S1 in prompts").selectOption("FLAG");
  await page.getByLabel("P1 in prompts").selectOption("BLOCK");
  await page.getByLabel("S10 in answers").selectOption("BLOCK");
  await page.getByLabel("judge system prompts too").check();
  await page.getByLabel("Streams").selectOption("buffer");
  await page.locator(".panel", { has: page.getByRole("heading", { name: "Guardrails", exact: true }) }).getByRole("button", { name: "Store" }).click();
  await page.getByText("Settings stored").waitFor();
  const { guardrails } = await gateway.result("/gateways/guarded");
  assert.deepEqual([guardrails.prompt, guardrails.response], [{ S1: "FLAG", P1: "BLOCK" }, { S10: "BLOCK" }]);
  assert.deepEqual([guardrails.system, guardrails.stream], [true, "buffer"]);
  await page.reload();
  await page.getByLabel("S1 in prompts").waitFor();
  assert.equal(await page.getByLabel("S1 in prompts").inputValue(), "FLAG");
  await page.getByLabel("Engine and other checks").fill('{"engine": {"provider": "openai", "model": "llama-guard-3-8b"}}');
  await page.getByLabel("P1 in prompts").selectOption("");
  await page.getByLabel("S10 in answers").selectOption("");
  await page.getByRole("button", { name: "Store" }).click();
  await page.getByText("Settings stored").waitFor();
  gateway.upstream.next(said("unsafe\nS1"));
  gateway.upstream.next(said("Hello"));
  const sent = await gateway.call("openai/chat/completions", { gateway: "guarded", json: { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] } });
  assert.equal(sent.status, 200, await sent.clone().text());
  await sent.text();
  const log = await gateway.logOf(sent, "guarded");
  assert.deepEqual([log.guardrails.prompt.action, log.guardrails.prompt.categories], ["FLAG", ["S1"]]);
  await page.getByRole("button", { name: "Refresh (r)" }).click();
  const row = page.getByRole("row", { name: /S1 Violent crimes Guardrail/ });
  await row.first().waitFor();
  assert.match(await row.first().textContent(), /prompt.*flag.*1/);
  await page.goto(dashboard.url(`guarded/logs?log=${log.id}&tab=checks`));
  await page.locator(".drawer .tag", { hasText: "S1 Violent crimes · prompt · flag" }).waitFor();
  await page.context().close();
});

test("a webhook is made and told of a budget, and the page says what, when and whom", async () => {
  await gateway.create("alerted", { spend_limits: { rules: [{ id: "budget", limit: 1, limitType: "cost", window: 86_400 }] } });
  const page = await dashboard.open({ path: "alerted/alerts" });
  await page.getByText("Nobody is told yet").waitFor();
  await page.getByRole("button", { name: "New webhook" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("URL").fill("ftp://example.com");
  await dialog.getByRole("button", { name: "Store" }).click();
  await dialog.locator(".field-error").waitFor();
  await dialog.getByLabel("URL").fill(`${gateway.upstream.origin}/openai/hook`);
  await dialog.getByRole("button", { name: "Store" }).click();
  await page.getByText("This is shown once").waitFor();
  const secret = await page.getByLabel("secret", { exact: true }).textContent();
  assert.match(secret, /^whsec_/);
  await page.getByRole("button", { name: "Close" }).click();
  const [webhook] = (await (await gateway.api("/alerts/webhooks")).json()).result;
  assert.deepEqual([webhook.gateway, webhook.events, webhook.thresholds], ["alerted", null, [0.8, 1]]);
  const sent = await gateway.call("openai/chat/completions", { gateway: "alerted", headers: { "cf-aig-authorization": `Bearer ${TOKEN}`, "cf-aig-custom-cost": JSON.stringify({ total_cost: 0.85 }) }, json: { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] } });
  assert.equal(sent.status, 200, await sent.text());
  await until(async () => (await (await gateway.api("/alerts")).json()).result.some(({ deliveries }) => deliveries.length > 0), "the alert");
  await page.getByRole("button", { name: "Refresh (r)" }).click();
  const row = page.getByRole("row", { name: /80 % of the limit 'budget'/ });
  await row.waitFor();
  assert.match(await row.textContent(), /alerted.*spend/);
  await until(async () => (await page.getByRole("button", { name: "Refresh (r)" }).click(), /delivered/.test((await row.textContent()) ?? "")), "the delivery");
  assert.ok(!(await page.content()).includes(secret));
  await looksRight(page, "alerts");
  // What is changed keeps its secret and its gateway.
  await page.getByRole("row", { name: /openai.hook/ }).getByRole("button", { name: "Change" }).click();
  await dialog.getByLabel("Shares of a limit").fill("0.5");
  await dialog.getByLabel("a provider is left alone").uncheck();
  await dialog.getByRole("button", { name: "Store" }).click();
  await page.getByRole("cell", { name: "50%" }).waitFor();
  const changed = (await (await gateway.api("/alerts/webhooks")).json()).result[0];
  assert.deepEqual([changed.id, changed.gateway, changed.thresholds, changed.url], [webhook.id, "alerted", [0.5], webhook.url]);
  assert.deepEqual([changed.events.includes("circuit"), changed.events.includes("telemetry"), changed.events.length], [false, true, 7]);
  await page.context().close();
});

test("stored keys get weights by a form, and requests are shared by them", async () => {
  await gateway.create("weighed");
  const page = await dashboard.open({ path: "weighed/keys" });
  for (const [alias, weight] of [["one", "2"], ["two", ""]]) {
    await page.getByRole("button", { name: "New key" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Provider").fill("openai");
    await dialog.getByLabel("Alias").fill(alias);
    await dialog.getByLabel("Key", { exact: true }).fill(`sk-weighed-${alias}-0123456789`);
    await dialog.getByLabel("Weight").fill(weight);
    await dialog.getByLabel("used where a caller brings no key").uncheck();
    await dialog.getByRole("button", { name: "Store" }).click();
    await page.getByRole("row", { name: new RegExp(`openai ?${alias}`) }).waitFor();
  }
  const weights = async () => Object.fromEntries((await gateway.result("/gateways/weighed/provider_configs")).map(({ alias, weight }) => [alias, weight]));
  assert.deepEqual(await weights(), { one: 2, two: 0 });
  await page.getByRole("row", { name: /openai ?two/ }).getByRole("button", { name: "Change" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Weight").fill("many");
  await dialog.getByRole("button", { name: "Store" }).click();
  await dialog.locator(".field-error").waitFor();
  await dialog.getByLabel("Weight").fill("1000");
  await dialog.getByRole("button", { name: "Store" }).click();
  await dialog.waitFor({ state: "detached" });
  await page.getByRole("row", { name: /openai ?two.*1.000/ }).waitFor();
  assert.deepEqual(await weights(), { one: 2, two: 1_000 });
  const sent = await gateway.call("openai/chat/completions", { gateway: "weighed", headers: { "cf-aig-authorization": `Bearer ${TOKEN}`, authorization: undefined }, json: { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] } });
  assert.equal(sent.status, 200, await sent.text());
  await looksRight(page, "keys with weights");
  await page.context().close();
});

test("the setting for spans is among those that act", async () => {
  await gateway.create("traced");
  const page = await dashboard.open({ path: "traced/settings" });
  await page.getByLabel("otel").fill('[{"url": "https://otel.example.com/v1/traces"}]');
  assert.match(await page.locator(".panel", { has: page.getByLabel("otel") }).textContent(), /Where spans of each request go/);
  await page.context().close();
});
