// The pages about what requests may do and where they go.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Dashboard } from "./browser.mjs";
import { layoutFaults } from "./layout.mjs";

let dashboard;
let gateway;

before(async () => {
  dashboard = await Dashboard.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: "sk-operator", anthropic: "sk-operator" }) } });
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
  await page.context().close();
});
