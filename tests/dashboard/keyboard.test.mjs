// The dashboard without a mouse.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TOKEN, until } from "../e2e/harness.mjs";
import { Dashboard, rowIds, seeded } from "./browser.mjs";

let dashboard;
let gateway;
let ids;

before(async () => {
  dashboard = await Dashboard.start();
  gateway = dashboard.gateway;
  await gateway.create("gw", { rate_limiting_limit: 1000, rate_limiting_interval: 3600 });
  ids = await seeded(gateway, 12);
  await gateway.logOf({ headers: { "cf-aig-log-id": ids.at(-1) } });
});
after(() => dashboard.stop());

const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent?.trim() ?? "");

test("D26 from the sign-in to a thumb, a filter and another page: all by keys", async () => {
  const page = await dashboard.open({ token: null, path: "gw/logs" });
  const press = (...keys) => keys.reduce((done, key) => done.then(() => page.keyboard.press(key)), Promise.resolve());
  await page.getByLabel("Token").waitFor();
  await page.keyboard.type(TOKEN);
  await press("Enter");
  await page.locator(".log-table tbody tr").first().waitFor();
  const rows = await rowIds(page);
  await press("j", "j", "Enter");
  await page.locator(".drawer .turn").first().waitFor();
  assert.match(page.url(), new RegExp(`log=${rows[1]}`));
  await press("]");
  assert.match(page.url(), /tab=request/);
  await press("[");
  await press("t");
  await until(async () => (await gateway.result(`/gateways/gw/logs/${rows[1]}`)).feedback === 1, "the thumb up");
  await press("T");
  await until(async () => (await gateway.result(`/gateways/gw/logs/${rows[1]}`)).feedback === -1, "the thumb down");
  await press("x");
  await until(async () => (await gateway.result(`/gateways/gw/logs/${rows[1]}`)).feedback === null, "no thumb");
  await press("ArrowDown");
  await until(() => page.url().includes(`log=${rows[2]}`), "the next log");
  await press("Escape");
  await page.locator(".drawer").waitFor({ state: "detached" });
  assert.match(await focused(page), /^(log|error) /, "the focus is in the list again");
  await press("/");
  await page.keyboard.type("search");
  await press("Enter");
  await until(() => /search=search/.test(page.url()), "the search in the address");
  await until(async () => (await rowIds(page)).length === 6, "the six that match");
  // While something is typed, keys are letters.
  await page.keyboard.type("j?gor");
  assert.equal(await page.getByRole("searchbox").inputValue(), "searchj?gor");
  await press("Escape", "f");
  await page.getByRole("textbox", { name: "Field" }).waitFor();
  await page.keyboard.type("model");
  await press("Enter");
  await page.getByRole("textbox", { name: "Value" }).waitFor();
  await page.getByRole("textbox", { name: "Value" }).focus();
  await page.keyboard.type("gpt-4o-mini");
  await press("Enter");
  await until(() => /f=model:eq:gpt-4o-mini/.test(page.url()), "the filter in the address");
  await press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  for (const [key, heading] of [["s", "Sessions"], ["e", "Evaluations"], ["o", "Overview"], ["l", "Logs"]]) {
    await press("g", key);
    await page.getByRole("heading", { level: 1, name: heading }).waitFor();
  }
  // With a modifier a key is the browser's.
  const before = page.url();
  await press("Control+j");
  assert.equal(page.url(), before);
  await page.context().close();
});

test("D26 on every page Tab reaches whatever can be clicked, and shows where it is", async () => {
  const page = await dashboard.open();
  for (const path of ["overview?since=6h", "logs", `logs?log=${ids[0]}`, "sessions", "evaluations", "datasets", "review", "limits", "alerts", "routes", "policies", "guards", "keys", "settings", "audit", "playground", "start"]) {
    await page.goto(dashboard.url(`gw/${path}`));
    await page.locator("main h1").first().waitFor();
    await page.waitForLoadState("networkidle");
    const wanted = await page.evaluate(() => {
      const found = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((element) => !element.disabled && element.tabIndex >= 0 && element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0);
      found.forEach((element, at) => (element.dataset.stop = String(at)));
      // Of radio buttons with a name in common one is a stop.
      return found.length;
    });
    const reached = new Set();
    const unseen = new Set();
    for (let press = 0; press < wanted + 20 && reached.size < wanted; press += 1) {
      await page.keyboard.press("Tab");
      const stop = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
        return { at: element.dataset.stop ?? null, isSeen: (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none", what: element.outerHTML.slice(0, 120) };
      });
      if (!stop) continue;
      if (stop.at !== null) reached.add(stop.at);
      if (!stop.isSeen) unseen.add(stop.what);
    }
    const missed = await page.evaluate((known) => [...document.querySelectorAll("[data-stop]")].filter(({ dataset }) => !known.includes(dataset.stop)).map((element) => element.outerHTML.slice(0, 120)), [...reached]);
    assert.deepEqual(missed, [], `${path}: not reached by Tab`);
    assert.deepEqual([...unseen], [], `${path}: the focus is not seen`);
  }
  await page.context().close();
});

test("D26 a menu opens, closes and gives the focus back by keys; Tab stays inside of a dialog", async () => {
  const page = await dashboard.open({ path: "gw/keys" });
  const menu = page.getByTitle("Signed in as");
  await menu.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Sign out" }).waitFor({ state: "detached" });
  assert.ok(await menu.evaluate((element) => element === document.activeElement));
  const opener = page.getByRole("button", { name: "New token" });
  await opener.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  for (let press = 0; press < 30; press += 1) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null), "Tab leads out of the dialog");
  }
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.ok(await opener.evaluate((element) => element === document.activeElement), "the focus is where it was");
  await page.context().close();
});
