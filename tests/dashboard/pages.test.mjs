// The other pages: overview, settings, keys, evaluations, review, sessions, limits, playground.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TOKEN, until } from "../e2e/harness.mjs";
import { Dashboard, seeded } from "./browser.mjs";

let dashboard;
let gateway;

before(async () => {
  dashboard = await Dashboard.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: "sk-operator" }) } });
  gateway = dashboard.gateway;
  await gateway.create("gw", { rate_limiting_limit: 1000, rate_limiting_interval: 3600, rate_limiting_technique: "fixed" });
  await seeded(gateway, 30);
});
after(() => dashboard.stop());

test("D6 the tiles say what the analytics say, to the digit", async () => {
  const page = await dashboard.open({ path: "gw/overview?since=6h" });
  await page.locator('[data-tile="Requests"]').waitFor();
  const { totals } = await gateway.result(`/gateways/gw/analytics?granularity=minute&start=${Date.now() - 6 * 3_600_000}`);
  const tile = async (name) => page.locator(`[data-tile="${name}"]`).getAttribute("data-value");
  assert.equal(await tile("Requests"), String(totals.requests));
  assert.equal(await tile("Cost"), String(totals.cost));
  assert.equal(await tile("Tokens in"), String(totals.tokens_in));
  assert.equal(await tile("Errors"), String(totals.errors));
  await page.context().close();
});

test("D5 dragging over a chart sets the range for all, and Back takes it back", async () => {
  const page = await dashboard.open({ path: "gw/overview?since=1h" });
  const canvas = page.locator(".u-over").first();
  await canvas.waitFor();
  // The charts are drawn anew when the last figures have come.
  await page.waitForLoadState("networkidle");
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * 0.7, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.95, box.y + 60, { steps: 6 });
  await page.mouse.up();
  await until(() => /from=.*to=/.test(page.url()), "a range in the address");
  await page.goBack();
  assert.match(page.url(), /since=1h/);
  await page.context().close();
});

test("D7 one panel that fails leaves the others", async () => {
  const page = await dashboard.open();
  await page.route("**/logs/facets*", (route) => route.fulfill({ status: 500, contentType: "application/json", body: "{}" }));
  await page.goto(dashboard.url("gw/overview?since=1h"));
  await page.getByText("Tollgate failed").first().waitFor();
  await page.locator('[data-tile="Requests"]').waitFor();
  await page.locator(".u-over").first().waitFor();
  await page.context().close();
});

test("D8 a wrong value in a form shows the server's message beside the field; a good one is stored", async () => {
  const page = await dashboard.open({ path: "gw/settings" });
  const days = page.getByLabel("log_retention_days", { exact: true });
  await days.fill("99999");
  await page.getByRole("button", { name: "Store" }).click();
  const message = page.locator(".setting", { has: days }).locator(".field-error");
  await message.waitFor();
  assert.match(await message.textContent(), /3,?650/);
  assert.equal(await days.inputValue(), "99999");
  await days.fill("30");
  await page.getByText("as curl").click();
  assert.match(await page.locator(".save-bar pre").textContent(), /"log_retention_days":30/);
  await page.getByRole("button", { name: "Store" }).click();
  await page.getByText("Settings stored").waitFor();
  assert.equal((await gateway.result("/gateways/gw")).log_retention_days, 30);
  await page.context().close();
});

test("two people change the same setting: the second is told, and chooses", async () => {
  const page = await dashboard.open({ path: "gw/settings" });
  const ttl = page.getByLabel("cache_ttl", { exact: true });
  await ttl.fill("60");
  const put = await gateway.api("/gateways/gw", { method: "PUT", body: JSON.stringify({ cache_ttl: 90 }) });
  assert.equal(put.status, 200);
  await page.getByRole("button", { name: "Store" }).click();
  await page.getByText("Somebody else has changed this meanwhile").waitFor();
  assert.equal((await gateway.result("/gateways/gw")).cache_ttl, 90);
  await page.getByRole("button", { name: "Store mine" }).click();
  await page.getByText("Settings stored").waitFor();
  assert.equal((await gateway.result("/gateways/gw")).cache_ttl, 60);
  await page.context().close();
});

test("a token is shown once", async () => {
  const page = await dashboard.open({ path: "gw/keys" });
  await page.getByRole("button", { name: "New token" }).click();
  await page.getByLabel("Name").fill("web");
  await page.getByRole("button", { name: "Store" }).click();
  const shown = page.getByLabel("token", { exact: true });
  await shown.waitFor();
  const value = await shown.textContent();
  assert.match(value, /^tgt_/);
  await page.getByRole("button", { name: "Close" }).click();
  await page.reload();
  await page.getByText("web", { exact: true }).waitFor();
  assert.ok(!(await page.content()).includes(value));
  await page.context().close();
});

test("a dataset from the current filter, an evaluation of it, and its values", async () => {
  const page = await dashboard.open({ path: "gw/logs?f=model:eq:gpt-4o" });
  await page.getByRole("button", { name: "Save as dataset" }).click();
  await page.getByLabel("Name of the dataset").fill("large");
  await page.getByRole("button", { name: "Store", exact: true }).click();
  await page.getByText("stored").first().waitFor();
  await page.goto(dashboard.url("gw/datasets"));
  await page.getByRole("link", { name: "Evaluate" }).click();
  await page.getByLabel("Name").fill("first");
  await page.getByRole("button", { name: "Measure" }).click();
  await page.getByText("done", { exact: true }).waitFor();
  const evaluations = await gateway.result("/gateways/gw/evaluations");
  assert.equal(evaluations[0].name, "first");
  await page.getByRole("cell", { name: "cost", exact: true }).waitFor();
  await page.context().close();
});

test("the review queue gives feedback by keys", async () => {
  const page = await dashboard.open({ path: "gw/review" });
  await page.getByRole("button", { name: "Up 1" }).waitFor();
  const link = page.getByRole("link", { name: "open" });
  const first = (await link.getAttribute("href")).split("/").at(-1);
  await page.keyboard.press("1");
  await page.getByText("1 judged").waitFor();
  await until(async () => (await gateway.result(`/gateways/gw/logs/${first}`)).feedback === 1, "the thumb up");
  const second = (await link.getAttribute("href")).split("/").at(-1);
  assert.notEqual(second, first);
  await page.keyboard.press("2");
  await until(async () => (await gateway.result(`/gateways/gw/logs/${second}`)).feedback === -1, "the thumb down");
  await page.context().close();
});

test("limits show how much is used", async () => {
  const page = await dashboard.open({ path: "gw/limits" });
  await page.getByRole("meter").first().waitFor();
  assert.equal(await page.getByRole("meter").first().getAttribute("aria-valuenow"), "30");
  await page.context().close();
});

test("the playground sends with the stored keys, and its answer is a log", async () => {
  const page = await dashboard.open({ path: "gw/playground" });
  await page.getByRole("textbox", { name: "Message 2" }).fill("What should I eat?");
  await page.getByRole("button", { name: "Run" }).click();
  const log = page.locator(".run").getByRole("link", { name: "log" });
  await log.waitFor();
  await until(async () => ((await page.locator(".run .parts").textContent()) ?? "").length > 3, "the answer");
  const id = (await log.getAttribute("href")).split("/").at(-1);
  const row = await gateway.logOf({ headers: { "cf-aig-log-id": id } });
  assert.equal(row.success, true);
  assert.equal(gateway.upstream.last.headers.authorization, "Bearer sk-operator");
  assert.ok(!JSON.stringify(gateway.upstream.last.headers).includes("tollgate="), "no cookie goes upstream");
  assert.ok(!JSON.stringify(gateway.upstream.last.headers).includes(TOKEN));
  await page.context().close();
});

test("sessions: turns in order, what they cost, and what came from the cache", async () => {
  for (let turn = 0; turn < 3; turn += 1) {
    const messages = Array.from({ length: turn * 2 + 1 }, (_, at) => ({ role: at % 2 === 0 ? "user" : "assistant", content: `message ${at}` }));
    await (await gateway.call("openai/chat/completions", { headers: { "cf-aig-session-id": "one-session" }, json: { model: "gpt-4o", messages } })).text();
  }
  const page = await dashboard.open({ path: "gw/sessions" });
  await page.getByRole("link", { name: "one-session" }).click();
  await until(async () => (await page.locator(".session-turn").count()) === 3, "three turns");
  await page.locator(".session-turn").last().getByRole("button", { name: "Show" }).click();
  await page.locator(".session-turn").last().getByText("message 4").first().waitFor();
  await page.context().close();
});

test("D26 every page is accessible by axe's word, in both themes, and none is wider than the window", async () => {
  const pages = ["overview?since=6h", "sessions", "evaluations", "datasets", "review", "limits", "routes", "alerts", "policies", "guards", "keys", "settings", "audit", "playground", "start"];
  for (const colorScheme of ["light", "dark"]) {
    const page = await dashboard.open({ colorScheme });
    for (const path of pages) {
      await page.setViewportSize({ width: 1440, height: 900 });
      await page.goto(dashboard.url(`gw/${path}`));
      await page.locator("main h1").waitFor();
      await page.waitForLoadState("networkidle");
      assert.deepEqual(await dashboard.axe(page), [], `${path}, ${colorScheme}`);
      await page.setViewportSize({ width: 320, height: 700 });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(over <= 0, `${path} at 320 px is ${over} px too wide`);
    }
    await page.context().close();
  }
});
