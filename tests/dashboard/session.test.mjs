// Signing in, and what becomes of a page whose session ends.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signInCode } from "../../server/sign-in.mjs";
import { ACCOUNT, TOKEN, until } from "../e2e/harness.mjs";
import { Dashboard, seeded } from "./browser.mjs";

let dashboard;
let gateway;

before(async () => {
  dashboard = await Dashboard.start();
  gateway = dashboard.gateway;
  await gateway.create("gw");
  await gateway.create("other");
  await seeded(gateway, 3);
});
after(() => dashboard.stop());

async function token(permissions, gateways = null) {
  const made = await gateway.api("/tokens", { method: "POST", body: JSON.stringify({ name: permissions.join(" "), permissions, gateways }) });
  assert.equal(made.status, 200, await made.clone().text());
  return (await made.json()).result;
}

test("a sign-in link signs in, once, and leaves nothing in the address", async () => {
  const code = signInCode(TOKEN);
  const page = await dashboard.open({ token: null, path: `/sign-in#${code}` });
  await page.getByRole("heading", { name: "Logs" }).waitFor();
  assert.ok(!page.url().includes(code));
  await page.context().close();
  const again = await dashboard.open({ token: null, path: `/sign-in#${code}` });
  await again.getByText("was used already").waitFor();
  await again.getByLabel("Token").waitFor();
  await again.context().close();
});

test("D15 an address that needs a session asks for one and then shows what it meant, and leads nowhere else", async () => {
  const page = await dashboard.open({ token: null, path: "gw/settings" });
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Tollgate does not know this token").waitFor();
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Settings" }).waitFor();
  assert.equal(page.url(), dashboard.url("gw/settings"));
  await page.context().close();
  for (const strange of ["//evil.example/x", "\\\\evil.example", "/%2F%2Fevil.example", "?next=//evil.example"]) {
    const other = await dashboard.open({ token: null, path: `/${strange}` });
    await dashboard.signIn(other, TOKEN);
    assert.equal(new URL(other.url()).origin, gateway.url);
    await other.context().close();
  }
});

test("D18 D13 the token is in no storage, no address and no part of the page, and script does not see the cookie", async () => {
  const { value } = await token(["read"]);
  const page = await dashboard.open({ token: value, path: "gw/logs" });
  await page.locator(".log-table tbody tr").first().waitFor();
  const seen = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, document.documentElement.outerHTML, location.href]));
  assert.ok(!seen.includes(value));
  assert.ok(!seen.includes("tollgate="));
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.sameSite, "Strict");
  await page.context().close();
});

test("D17 a token of one gateway sees one gateway, and what it may not do is not offered", async () => {
  const { value } = await token(["read"], ["gw"]);
  const page = await dashboard.open({ token: value, path: "gw/logs" });
  await page.locator(".log-table tbody tr").first().waitFor();
  assert.deepEqual(await page.getByLabel("Gateway", { exact: true }).locator("option").allTextContents(), ["gw"]);
  for (const name of ["Save as dataset", "Delete"]) assert.equal(await page.getByRole("button", { name }).count(), 0, name);
  for (const name of ["Audit trail", "Playground", "Review"]) assert.equal(await page.getByRole("link", { name }).count(), 0, name);
  await page.goto(dashboard.url("other/logs"));
  await page.getByText("This does not exist").first().waitFor();
  await page.context().close();
});

test("a token that reads without bodies is told so", async () => {
  const { value } = await token(["read_metadata"]);
  const page = await dashboard.open({ token: value, path: "gw/logs" });
  await page.locator(".log-table td.c-time").first().click();
  await page.getByText("Bodies are hidden for your token").waitFor();
  await page.context().close();
});

test("a session that ends in the middle of an edit asks for a sign-in above the page, and nothing typed is lost", async () => {
  const { id, value } = await token(["edit"]);
  const page = await dashboard.open({ token: value, path: "gw/settings" });
  await page.getByLabel("log_retention_days", { exact: true }).fill("30");
  await page.getByText("1 change").waitFor();
  assert.equal((await gateway.api(`/tokens/${id}`, { method: "DELETE" })).status, 200);
  const store = page.getByRole("button", { name: "Store" });
  await until(async () => {
    if (await page.getByRole("heading", { name: "Your session has ended" }).count()) return true;
    // Revoked tokens are known for a few seconds.
    await store.click({ timeout: 500 }).catch(() => {});
    return false;
  }, "the sign-in above the page", 20_000);
  const { value: other } = await token(["edit"]);
  await page.getByLabel("Token").fill(other);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Your session has ended" }).waitFor({ state: "detached" });
  assert.equal(await page.getByLabel("log_retention_days", { exact: true }).inputValue(), "30");
  await page.context().close();
});

test("signing out ends the session", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  await page.getByTitle("Signed in as").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").waitFor();
  assert.equal(await page.evaluate((account) => fetch(`/accounts/${account}/ai-gateway/gateways`).then(({ status }) => status), ACCOUNT), 401);
  await page.context().close();
});
