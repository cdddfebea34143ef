// What each page says while it loads, where there is nothing, and where something fails; and that one panel's trouble is no other's.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, until } from "../e2e/harness.mjs";
import { Dashboard, seeded } from "./browser.mjs";

let dashboard;
let gateway;

before(async () => {
  dashboard = await Dashboard.start({ faulty: true });
  gateway = dashboard.gateway;
  await gateway.create("gw");
  await gateway.create("empty");
  const ids = await seeded(gateway, 20);
  await gateway.logOf({ headers: { "cf-aig-log-id": ids.at(-1) } });
});
after(() => dashboard.stop(/D1|database|pulled the plug|did not answer/i));

const PAGES = ["overview?since=6h", "logs", "sessions", "evaluations", "datasets", "review", "limits", "routes", "alerts", "policies", "guards", "keys", "settings", "audit"];
const refusal = (status, message, headers = {}) => (route) => route.fulfill({ status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify({ success: false, errors: message ? [{ code: 7000, message }] : [] }) });

const STATES = [
  [403, "this needs the permission read", {}, "Your token may not do this", /this needs the permission read/],
  [404, "", {}, "This does not exist", /deleted/],
  [429, "", { "retry-after": "7" }, "Too many requests", /Try again in 7 seconds/],
  [500, "", {}, "Tollgate failed", /status 500/],
  [503, "The database does not answer", {}, "Tollgate cannot answer now", /The database does not answer/],
];

test("D27 on every page 403, 404, 429, 500 and 503 have their own words, and a retry that works", async () => {
  const page = await dashboard.open();
  for (const [status, message, headers, title, text] of STATES) {
    await page.route(`**/accounts/${ACCOUNT}/**`, refusal(status, message, headers));
    for (const path of PAGES) {
      await page.goto(dashboard.url(`gw/${path}`));
      const trouble = page.locator("main [role=alert]", { hasText: title }).first();
      await trouble.waitFor().catch(() => assert.fail(`${path} says nothing of a ${status}`));
      assert.match(await trouble.innerText(), text, `${path} at ${status}`);
    }
    await page.unroute(`**/accounts/${ACCOUNT}/**`);
    // The last page again, without a reload.
    await page.locator("main").getByRole("button", { name: "Try again" }).first().click();
    await page.locator("main [role=alert]").first().waitFor({ state: "detached" });
  }
  await page.context().close();
});

test("D27 a page that waits says so, one without logs shows how to send one, one without a match how to see more", async () => {
  const page = await dashboard.open();
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route("**/logs?*", async (route) => (await held, route.continue()));
  await page.goto(dashboard.url("gw/logs"));
  await page.getByRole("status", { name: "Loading" }).waitFor();
  release();
  await page.locator(".log-table tbody tr").first().waitFor();
  await page.unroute("**/logs?*");
  await page.goto(dashboard.url("empty/logs"));
  await page.getByText("No request has come through this gateway yet").waitFor();
  assert.match(await page.locator(".base-url code").innerText(), new RegExp(`/v1/${ACCOUNT}/empty`));
  await page.getByRole("tab", { name: "curl" }).click();
  assert.match(await page.locator(".client pre").innerText(), /^curl /);
  await page.goto(dashboard.url("gw/logs?f=model:eq:no-such-model"));
  await page.getByText("No log matches").waitFor();
  await page.getByRole("button", { name: "Clear the filters" }).click();
  await page.locator(".log-table tbody tr").first().waitFor();
  for (const [path, words] of [["sessions", "No sessions"], ["evaluations", "No evaluations yet"], ["datasets", "No datasets yet"], ["overview?since=1h", "No requests in this time range"]]) {
    await page.goto(dashboard.url(`empty/${path}`));
    await page.getByText(words).first().waitFor();
  }
  await page.context().close();
});

test("D27 without a network the page says so, keeps what it shows, and goes on when it is back", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  await page.locator(".log-table tbody tr").first().waitFor();
  await page.context().setOffline(true);
  await page.locator(".banner", { hasText: "This machine is offline" }).waitFor();
  await page.getByRole("button", { name: "Refresh (r)" }).click();
  await page.getByText("Tollgate cannot be reached").waitFor();
  assert.ok((await page.locator(".log-table tbody tr").count()) > 0);
  await page.context().setOffline(false);
  await page.locator(".banner").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("Tollgate cannot be reached").waitFor({ state: "detached" });
  await page.context().close();
});

test("D27 a server that fails at the first question of all is said to, with a retry", async () => {
  const page = await dashboard.open();
  await page.route("**/dashboard/me", refusal(503, "The database does not answer"));
  await page.goto(dashboard.url("gw/logs"));
  await page.getByText("Tollgate cannot answer now").waitFor();
  await page.unroute("**/dashboard/me");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".log-table tbody tr").first().waitFor();
  await page.context().close();
});

test("D7 D27 with a database that does not answer each panel has its own error and its own retry, and the frame stays usable", async () => {
  const page = await dashboard.open({ path: "gw/limits" });
  await page.getByRole("heading", { name: "Limits" }).waitFor();
  await gateway.hang({ hangReads: true });
  try {
    await page.getByRole("link", { name: "Overview" }).click();
    const troubles = page.locator("main [role=alert]");
    // The server's own patience or the page's, whichever ends first.
    await until(async () => (await troubles.count()) >= 2, "an error in each panel", 40_000);
    assert.match(await troubles.first().innerText(), /cannot answer now|No answer within|Tollgate failed/);
    await page.getByRole("link", { name: "Connect a client" }).click();
    await page.getByRole("heading", { name: "Connect a client" }).waitFor();
    await page.goBack();
  } finally {
    await gateway.hang({ hangReads: false });
  }
  await page.getByRole("link", { name: "Limits" }).click();
  await page.getByRole("link", { name: "Overview" }).click();
  await page.locator('[data-tile="Requests"]').waitFor();
  await page.context().close();
});

test("a body that was not kept has the reason; a log that does not exist is said not to", async () => {
  await gateway.create("bodiless", { collect_logs: true });
  const answer = await gateway.call("openai/chat/completions", { gateway: "bodiless", headers: { "cf-aig-collect-log-payload": "false" }, json: { model: "gpt-4o", messages: [{ role: "user", content: "unseen words" }] } });
  await answer.text();
  const { id, input_preview: preview } = await gateway.logOf(answer, "bodiless");
  assert.equal(preview ?? null, null);
  const page = await dashboard.open({ path: `bodiless/logs?log=${id}` });
  await page.locator(".drawer .empty").first().waitFor();
  assert.ok(!(await page.locator("body").innerText()).includes("unseen words"));
  for (const tab of ["Request", "Response"]) {
    await page.locator(".drawer").getByRole("tab", { name: tab }).click();
    await page.locator(".drawer").getByText(/was not kept/).waitFor();
  }
  await page.goto(dashboard.url("gw/logs/01ARZ3NDEKTSV4RRFFQ69G5FAV"));
  await page.getByText("This does not exist").waitFor();
  await page.context().close();
});
