// A new user's first minutes: `npm start`, the link that it prints, README's request, and a thumb that the API has.
import assert from "node:assert/strict";
import { test } from "node:test";
import { TOKEN, until } from "../e2e/harness.mjs";
import { Served } from "../e2e/served.mjs";
import { Dashboard } from "./browser.mjs";

test("npm start prints a link, README's request appears by itself behind it, and its thumb is in the API", async () => {
  const served = await Served.start({ npm: true });
  const dashboard = await Dashboard.start({ gateway: served });
  try {
    const [, link] = /(http:\/\/127\.0\.0\.1:\d+\/dashboard\/sign-in#\S+)/.exec(served.text) ?? assert.fail(`no link in:\n${served.text}`);
    assert.ok(served.text.trim().endsWith(link), "the link is what is printed last");
    const page = await dashboard.open({ token: null, path: "" });
    await page.goto(link);
    await page.getByRole("heading", { name: "Send a request through Tollgate" }).waitFor();
    await page.getByText("Waiting for the first request").waitFor();
    const code = await page.locator(".client pre").first().innerText();
    assert.ok(code.includes(`${served.url}/v1/my-account/default`), code);
    const sent = await fetch(`${served.url}/v1/my-account/default/openai/chat/completions`, {
      method: "POST",
      headers: { "cf-aig-authorization": `Bearer ${TOKEN}`, authorization: "Bearer sk-any", "cf-aig-metadata": '{"team": "AI", "user": 12345, "test": true}', "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "What should I eat for lunch?" }] }),
    });
    assert.equal(sent.status, 200, await sent.text());
    const id = sent.headers.get("cf-aig-log-id");
    await page.getByText("The first request has arrived").waitFor();
    await page.getByRole("button", { name: "Open it" }).click();
    await page.locator(".drawer .turn.user", { hasText: "What should I eat for lunch?" }).waitFor();
    await page.locator(".drawer .turn.assistant").first().waitFor();
    assert.match(page.url(), new RegExp(`/dashboard/my-account/default/logs\\?log=${id}$`));
    await page.locator(".drawer").getByRole("button", { name: "Thumb up (t)" }).click();
    const log = async () => (await (await fetch(`${served.url}/accounts/my-account/ai-gateway/gateways/default/logs/${id}`, { headers: { authorization: `Bearer ${TOKEN}` } })).json()).result;
    await until(async () => (await log()).feedback === 1, "the thumb in the API");
    // The next visit leads to the logs, without a link.
    await page.goto(`${served.url}/`);
    await page.locator(`tr[data-id="${id}"]`).waitFor();
    await page.context().close();
  } finally {
    await dashboard.stop();
  }
});
