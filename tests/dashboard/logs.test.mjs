// The list of logs and the view of one log.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { until } from "../e2e/harness.mjs";
import { Dashboard, rowIds, seeded } from "./browser.mjs";

let dashboard;
let gateway;
let ids;

before(async () => {
  dashboard = await Dashboard.start({ faulty: true });
  gateway = dashboard.gateway;
  await gateway.create("gw");
  await gateway.create("live");
  ids = await seeded(gateway, 60);
  await gateway.logOf({ headers: { "cf-aig-log-id": ids.at(-1) } });
});
after(() => dashboard.stop());

const rows = (page) => page.locator(".log-table tbody tr");

test("D19 filters are in the address: a reload and another browser show the same rows", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  await rows(page).first().waitFor();
  await page.getByRole("button", { name: "Errors", exact: true }).click();
  await until(async () => (await rows(page).count()) === 6, "the six errors");
  assert.match(page.url(), /f=success:eq:false/);
  const before = await rowIds(page);
  await page.reload();
  await until(async () => (await rows(page).count()) === 6, "the six errors after a reload");
  assert.deepEqual(await rowIds(page), before);
  const other = await dashboard.open({ path: page.url().split("/dashboard/")[1].replace(/^/, "/") });
  await until(async () => (await rows(other).count()) === 6, "the six errors in another browser");
  assert.deepEqual(await rowIds(other), before);
  for (const row of await rows(page).all()) assert.match(await row.getAttribute("aria-label"), /^error 429, gpt-4o/);
  await other.context().close();
  await page.context().close();
});

test("D20 Back and Forward go through every state exactly", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  await rows(page).first().waitFor();
  const states = [page.url()];
  const step = async (act) => {
    await act();
    await until(() => page.url() !== states.at(-1), "another address");
    states.push(page.url());
  };
  await step(() => page.getByRole("button", { name: "Errors", exact: true }).click());
  await step(() => page.getByRole("button", { name: "Clear" }).click());
  await step(() => page.getByRole("button", { name: "Older" }).click());
  await step(() => page.getByRole("button", { name: "Newest" }).click());
  await rows(page).first().waitFor();
  await step(() => page.locator(".log-table td.c-time").first().click());
  await step(() => page.getByRole("link", { name: "Overview" }).click());
  await step(() => page.getByRole("link", { name: "Settings" }).click());
  for (const wanted of states.slice(0, -1).reverse()) {
    await page.goBack();
    assert.equal(page.url(), wanted);
  }
  await until(async () => (await rows(page).count()) === 50, "the first page");
  for (const wanted of states.slice(1)) {
    await page.goForward();
    assert.equal(page.url(), wanted);
  }
  await page.context().close();
});

test("J and K walk exactly the list, over the end of a page; the drawer follows", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  await rows(page).first().waitFor();
  const first = await rowIds(page);
  assert.deepEqual(first, ids.toReversed().slice(0, 50), "newest first");
  await page.keyboard.press("j");
  await page.keyboard.press("o");
  await page.locator(".drawer").waitFor();
  await page.keyboard.press("j");
  await until(() => page.url().includes(`log=${first[1]}`), "the second log");
  await page.keyboard.press("k");
  await until(() => page.url().includes(`log=${first[0]}`), "the first log");
  for (let press = 0; press < 50; press += 1) await page.keyboard.press("j");
  const next = ids.toReversed()[50];
  await until(() => page.url().includes(`log=${next}`), "the first log of the next page");
  assert.match(page.url(), /after=/);
  await page.keyboard.press("Escape");
  await page.locator(".drawer").waitFor({ state: "detached" });
  await page.context().close();
});

test("the drawer shows what was said, sent and answered, and its cost", async () => {
  const id = ids[0];
  const page = await dashboard.open({ path: `gw/logs?log=${id}` });
  const drawer = page.locator(".drawer");
  await drawer.getByText("question number 0").waitFor();
  await drawer.getByRole("tab", { name: "Request" }).click();
  await drawer.locator(".tree").getByText('"question number 0"').first().waitFor();
  assert.match(page.url(), /tab=request/);
  await drawer.getByRole("tab", { name: "Response" }).click();
  await drawer.locator(".tree").getByText("choices").waitFor();
  await drawer.getByRole("tab", { name: "Attempts" }).click();
  await drawer.locator(".waterfall li").first().waitFor();
  await drawer.getByRole("tab", { name: "Metadata" }).click();
  await drawer.getByText("Nobody has said anything yet").waitFor();
  await page.context().close();
});

test("D21 a thumb shows at once, is stored, and is taken back where the server refuses it", async () => {
  const id = ids[1];
  const page = await dashboard.open({ path: `gw/logs?log=${id}` });
  const up = page.locator(".drawer").getByRole("button", { name: "Thumb up (t)" });
  await up.click();
  await until(async () => (await up.getAttribute("aria-pressed")) === "true", "the thumb");
  await until(async () => (await gateway.result(`/gateways/gw/logs/${id}`)).feedback === 1, "the thumb in the log");
  await page.route("**/logs/*", (route) => (route.request().method() === "PATCH" ? route.fulfill({ status: 500, contentType: "application/json", body: '{"errors":[{"message":"no"}]}' }) : route.fallback()));
  await page.locator(".drawer").getByRole("button", { name: "Thumb down (T)" }).click();
  await page.getByText("The feedback was not stored").waitFor();
  await until(async () => (await up.getAttribute("aria-pressed")) === "true", "the thumb as it was");
  assert.equal((await gateway.result(`/gateways/gw/logs/${id}`)).feedback, 1);
  await page.context().close();
});

test("D22 new logs appear by themselves, those that match and each once; a reader keeps the place", async () => {
  const page = await dashboard.open({ path: "live/logs" });
  await page.getByText("Waiting for the first request").first().waitFor();
  await seeded(gateway, 1, "live");
  await page.getByText("The first request has arrived").waitFor();
  await page.goto(dashboard.url("live/logs?f=metadata.team:eq:support"));
  await page.getByText("No log matches").waitFor();
  const sent = await seeded(gateway, 8, "live");
  await until(async () => (await rows(page).count()) === 4, "the four that match");
  assert.deepEqual(await rowIds(page), sent.filter((_, at) => at % 2 === 1).reverse());
  await page.keyboard.press("j");
  await page.keyboard.press("o");
  await page.locator(".drawer").waitFor();
  const before = await rowIds(page);
  await seeded(gateway, 4, "live");
  await page.getByRole("button", { name: "2 new logs" }).waitFor();
  assert.deepEqual(await rowIds(page), before, "the list has not moved");
  await page.getByRole("button", { name: "2 new logs" }).click();
  await until(async () => (await rows(page).count()) === 6, "all six");
  const shown = await rowIds(page);
  assert.equal(new Set(shown).size, shown.length);
  await page.context().close();
});

test("D25 D26 no width scrolls sideways, and axe finds nothing serious, light and dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await dashboard.open({ colorScheme, path: `gw/logs?log=${ids[2]}` });
    for (const width of [320, 768, 1440, 2560]) {
      await page.setViewportSize({ width, height: 900 });
      for (const path of ["gw/logs", `gw/logs?log=${ids[2]}`]) {
        await page.goto(dashboard.url(path));
        await page.locator(path.includes("log=") ? ".drawer .turn, .drawer .empty" : ".log-table tbody tr").first().waitFor();
        const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(over <= 0, `${path} at ${width} is ${over} px too wide`);
      }
      if (width !== 768 && width !== 2560) assert.deepEqual(await dashboard.axe(page), [], `axe at ${width} px, ${colorScheme}`);
    }
    await page.context().close();
  }
});

test("D27 a database that fails has words and a retry of its own; what was typed is still there", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  await rows(page).first().waitFor();
  await page.route("**/logs?*", (route) => route.fulfill({ status: 503, contentType: "application/json", body: '{"errors":[{"code":7003,"message":"The database does not answer"}]}' }));
  await page.getByRole("button", { name: "Thumbs down" }).click();
  await page.getByText("Tollgate cannot answer now").waitFor();
  assert.ok(await rows(page).count() > 0, "the rows of before are still there");
  await page.unroute("**/logs?*");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("Tollgate cannot answer now").waitFor({ state: "detached" });
  await page.context().close();
});

test("D23 a search that is long under way is called off by the next one, and what was not looked through yet is said", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  await rows(page).first().waitFor();
  const calledOff = [];
  page.on("requestfailed", (request) => request.url().includes("search=nowhere") && calledOff.push(request.failure().errorText));
  await page.route(/\/logs\?.*search=nowhere/, () => {});
  const field = page.getByRole("searchbox");
  await field.fill("nowhere");
  const [asked] = await Promise.all([page.waitForRequest(/search=nowhere/), field.press("Enter")]);
  assert.match(asked.url(), /examine=100000/);
  await field.fill("nothing");
  await page.route(/\/logs\?.*search=nothing/, (route) => {
    const isFurther = route.request().url().includes("cursor=");
    return route.fulfill({ json: { success: true, errors: [], messages: [], result: [], result_info: { count: 0, per_page: 50, ...(!isFurther && { cursor: ids[0] }) } } });
  });
  await field.press("Enter");
  await page.getByText(/Nothing among the newest 100.000 logs here/).waitFor();
  assert.deepEqual([...new Set(calledOff)], ["net::ERR_ABORTED"]);
  await page.getByRole("button", { name: "Look further back" }).click();
  await page.getByText(/Nothing among the newest 100.000 logs here/).waitFor({ state: "detached" });
  assert.match(page.url(), new RegExp(`after=${ids[0]}`));
  await page.context().close();
});

test("D24 D28 times are in the browser's zone or UTC, rows are the same; a cost that is not known is a dash with its reason", async () => {
  const answer = await gateway.call("openai/chat/completions", { gateway: "live", json: { model: "acme-own-model", messages: [{ role: "user", content: "x" }] } });
  await answer.text();
  const log = await gateway.logOf(answer, "live");
  for (const [timezoneId, offset] of [["Asia/Kolkata", 330], ["America/St_Johns", null]]) {
    const page = await dashboard.open({ timezoneId, path: `live/logs?f=id:eq:${log.id}` });
    const time = page.locator(".log-table td.c-time time");
    await time.waitFor();
    const local = await time.textContent();
    const before = await rowIds(page);
    if (offset !== null) assert.ok(local.endsWith(new Date(Date.parse(log.created_at) + offset * 60_000).toISOString().slice(11, 19)), local);
    await page.getByTitle("Times are shown in this zone").click();
    await until(async () => (await time.textContent()) !== local, "the time in UTC");
    assert.ok((await time.textContent()).endsWith(log.created_at.slice(11, 19)));
    assert.ok((await time.getAttribute("title")).startsWith(log.created_at));
    assert.deepEqual(await rowIds(page), before);
    if (log.cost === null) {
      const cost = page.locator(".log-table td.c-cost .faint");
      assert.equal(await cost.textContent(), "–");
      assert.ok((await cost.getAttribute("title")).includes(log.cost_unknown));
    }
    await page.context().close();
  }
});

test("D24 a browser whose clock is an hour off sees the same last hour as the server", async () => {
  for (const off of [-3_600_000, 3_600_000]) {
    const page = await dashboard.open();
    await page.clock.setSystemTime(Date.now() + off);
    await page.goto(dashboard.url("gw/logs?since=15m"));
    await rows(page).first().waitFor();
    assert.deepEqual(await rowIds(page), ids.toReversed().slice(0, 50), `the clock is off by ${off} ms`);
    await page.goto(dashboard.url("gw/overview?since=15m"));
    await page.locator('[data-tile="Requests"]').waitFor();
    assert.equal(await page.locator('[data-tile="Requests"]').getAttribute("data-value"), "60");
    await page.context().close();
  }
});

test("D22 a tab that is not seen asks for nothing, and shows what is new when it is seen again", async () => {
  await gateway.create("hidden");
  await seeded(gateway, 1, "hidden");
  const page = await dashboard.open({ path: "hidden/logs" });
  await until(async () => (await rows(page).count()) === 1, "the first log");
  const show = (state) => page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
  await show("hidden");
  // One question may be on its way.
  await page.waitForLoadState("networkidle");
  let asked = 0;
  page.on("request", () => (asked += 1));
  await seeded(gateway, 1, "hidden");
  // Two rounds of the tail.
  await page.waitForTimeout(4_500);
  assert.equal(asked, 0);
  await show("visible");
  await until(async () => (await rows(page).count()) === 2, "the second log");
  await page.context().close();
});

test("D12 D18 the addresses, the titles and the storage of a day's work name nothing that is secret", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  for (const path of ["gw/keys", "gw/settings", `gw/logs?log=${ids[3]}`, "gw/overview?since=1h", "gw/sessions"]) {
    await page.goto(dashboard.url(path));
    await page.locator("main h1, .drawer").first().waitFor();
  }
  const kept = await page.evaluate(() => JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)]));
  assert.ok(!kept.includes("question number"), "nothing of what was said is kept in the browser");
  assert.match(kept, /tollgate:place/);
  await page.context().close();
});
