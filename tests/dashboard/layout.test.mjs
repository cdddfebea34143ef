// How every page looks, as far as that can be measured, with ordinary contents and with such as somebody made up to break it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, TOKEN } from "../e2e/harness.mjs";
import { Dashboard, seeded } from "./browser.mjs";
import { layoutFaults } from "./layout.mjs";

const PAGES = ["overview?since=6h", "logs", "sessions", "evaluations", "datasets", "review", "limits", "routes", "alerts", "policies", "guards", "keys", "settings", "audit", "playground", "start"];
const WIDTHS = [320, 360, 1280, 2560];

let dashboard;
let gateway;

before(async () => {
  dashboard = await Dashboard.start({ bindings: { PROVIDER_KEYS: JSON.stringify({ openai: "sk-operator" }) } });
  gateway = dashboard.gateway;
});
after(() => dashboard.stop());

/** Looks at these pages at each width in both themes; what is wrong is named with the page, the width and the theme. */
async function lookedAt(paths, { axeAt = null } = {}) {
  const faults = [];
  for (const colorScheme of ["light", "dark"]) {
    const page = await dashboard.open({ colorScheme });
    for (const path of paths) {
      await page.goto(dashboard.url(path));
      await page.locator("main :is(h1, h2)").last().waitFor();
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: width < 500 ? 780 : 900 });
        await page.waitForLoadState("networkidle");
        faults.push(...(await layoutFaults(page)).map((fault) => `${path}, ${width} px, ${colorScheme}: ${fault}`));
        if (width === axeAt) faults.push(...(await dashboard.axe(page)).map((fault) => `${path}, ${width} px, ${colorScheme}: ${fault}`));
      }
    }
    await page.context().close();
  }
  return faults;
}

test("D25 D30 no page is too wide, cuts text off or lays it over other text, at four widths in both themes, and all can be read", async () => {
  await gateway.create("gw", { rate_limiting_limit: 1000, rate_limiting_interval: 3600, rate_limiting_technique: "fixed" });
  const ids = await seeded(gateway, 12);
  assert.deepEqual(await lookedAt([...PAGES.map((path) => `gw/${path}`), `gw/logs?log=${ids[0]}`, `gw/logs?log=${ids[4]}`, `gw/logs/${ids[0]}`], { axeAt: 360 }), []);
});

const LONG = "w".repeat(400);
const HOSTILE = `<img src=x onerror="document.title='owned'"></td></tr></table>\u202E${"\u0301".repeat(40)}${LONG}`;

test("D10 D11 names, metadata and feedback that others made up break no page", async () => {
  await gateway.create("nasty");
  const place = "/gateways/nasty";
  const stored = async (path, json) => {
    const answer = await gateway.api(path, { method: "POST", body: JSON.stringify(json) });
    assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.text()}`);
  };
  gateway.upstream.names["api.example.com"] = ["93.184.215.14"];
  await stored("/custom-providers", { name: HOSTILE.slice(0, 100), slug: "w".repeat(30), base_url: `https://api.example.com/${"w".repeat(120)}`, enable: true });
  await stored("/custom-providers/costs", { account_provider_id: "openai", model: HOSTILE.slice(0, 200), model_rule: "equals", cost_in: 1e-6, cost_out: 1e-6, enable: true });
  await stored("/tokens", { name: HOSTILE.slice(0, 100), permissions: ["run"] });
  await stored(`${place}/datasets`, { name: HOSTILE.slice(0, 100), enable: true, filters: [{ key: "metadata.team", operator: "eq", value: [LONG] }] });
  await stored(`${place}/views`, { name: LONG.slice(0, 90), query: "f=success:eq:false" });
  const metadata = { [LONG.slice(0, 100)]: LONG, "<b>bold</b>": "<script>document.title='owned'</script>", team: "\u202Ethgir", empty: "", n: 1 };
  const ids = [];
  for (let at = 0; at < 4; at += 1) {
    if (at === 1) gateway.upstream.next({ status: 500, headers: { "content-type": "application/json" }, body: JSON.stringify({ error: { message: HOSTILE } }) });
    const sent = await gateway.call("openai/chat/completions", { gateway: "nasty", headers: { "cf-aig-metadata": JSON.stringify(metadata).replace(/[^\x20-\x7e]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`), "cf-aig-session-id": "s".repeat(120), "user-agent": LONG }, json: { model: at === 2 ? `m${LONG.slice(0, 120)}` : "gpt-4o", messages: [{ role: "user", content: HOSTILE }] } });
    await sent.text();
    ids.push((await gateway.logOf(sent, "nasty")).id);
  }
  const feedback = await fetch(`${gateway.url}/feedback/${ids[0]}?account=${ACCOUNT}&gateway=nasty`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" }, body: JSON.stringify({ data: { [LONG.slice(0, 64)]: LONG, comment: HOSTILE, deep: { "<h1>": [LONG, { more: LONG }] } } }) });
  assert.equal(feedback.status, 200, await feedback.text());
  const paths = [...PAGES, `logs?log=${ids[0]}`, `logs?log=${ids[1]}`, `logs?log=${ids[0]}&tab=feedback`, `logs?log=${ids[0]}&tab=attempts`, `sessions/${"s".repeat(120)}`, `logs?f=model:eq:${`m${LONG.slice(0, 120)}`}`];
  assert.deepEqual(await lookedAt(paths.map((path) => `nasty/${path}`)), []);
  const page = await dashboard.open({ path: `nasty/logs?log=${ids[0]}&tab=feedback` });
  await page.locator(".drawer .pairs").waitFor();
  assert.notEqual(await page.title(), "owned");
  assert.equal(await page.locator("main img, main script, main h1:not(.page-head h1)").count(), 0);
  assert.match(await page.locator(".drawer .pairs").textContent(), /<script>/);
  await page.context().close();
});
