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
  await page.locator(".panel", { has: page.getByRole("heading", { name: "Guardrails", exact: true }) }).getByRole("button", { name: "Store" }).click();
  await page.getByText("Settings stored").waitFor();
  const { guardrails } = await gateway.result("/gateways/guarded");
  assert.deepEqual([guardrails.prompt, guardrails.response], [{ S1: "FLAG", P1: "BLOCK" }, { S10: "BLOCK" }]);
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
  await page.context().close();
});
