// The dashboard of a built Worker in a real browser. A request to any other origin, a page error, an error on the console or a
// violation of the page's policy fails the test that caused it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { CHROMIUM_ARGS, ensureChromium } from "../../scripts/chromium.mjs";
import { ACCOUNT, Gateway, TOKEN } from "../e2e/harness.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export class Dashboard {
  /** What no test expects: other origins, errors, violations. */
  faults = [];

  /** On a gateway of its own with these options, or on the one that is given. */
  static async start({ gateway, ...options } = {}) {
    const dashboard = new Dashboard();
    dashboard.gateway = gateway ?? (await Gateway.start(options));
    dashboard.browser = await chromium.launch({ executablePath: ensureChromium(), args: CHROMIUM_ARGS });
    return dashboard;
  }

  async stop(expect) {
    await this.browser.close();
    await this.gateway.stop(expect);
    assert.deepEqual(this.faults, [], "the browser saw what must not be");
  }

  /** A browser of its own, signed in with a token unless that is null. */
  async open({ token = TOKEN, path = "", width = 1440, height = 900, ...context } = {}) {
    const opened = await this.browser.newContext({ viewport: { width, height }, reducedMotion: "reduce", ...context });
    const page = await opened.newPage();
    page.setDefaultTimeout(30_000);
    this.watch(page);
    if (token !== null) await this.signIn(page, token);
    if (token === null || path !== "") await page.goto(this.url(path));
    return page;
  }

  watch(page) {
    const origin = new URL(this.gateway.url).origin;
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(origin) && !/^(data|blob|about):/.test(url)) this.faults.push(`request to ${url}`);
    });
    page.on("pageerror", (error) => this.faults.push(`page error: ${error.stack}`));
    page.on("console", (message) => {
      // The browser itself notes every answer above 399, which tests bring about on purpose.
      if (message.type() === "error" && !/Failed to load resource/.test(message.text())) this.faults.push(`console: ${message.text()}`);
    });
    void page.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
  }

  async signIn(page, token) {
    await page.goto(this.url(""));
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    // The button has another name meanwhile; the field goes when there is a session.
    await page.getByLabel("Token").waitFor({ state: "detached" });
  }

  /** `gw/logs` is a page of the tests' account. */
  url(path) {
    const place = path === "" || path.startsWith("/") ? path.replace(/^\//, "") : `${ACCOUNT}/${path}`;
    return `${this.gateway.url}/dashboard/${place}`;
  }

  /** The faults of accessibility that axe calls serious or critical. */
  async axe(page) {
    // The page's policy lets no script in, so this goes by the debugger's way.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  }
}

/** Requests with metadata, of two models and a few errors; gives the answers' log ids, the oldest first. */
export async function seeded(gateway, count = 60, name = "gw") {
  const ids = [];
  for (let at = 0; at < count; at += 1) {
    if (at % 10 === 4) gateway.upstream.next({ status: 429, headers: { "content-type": "application/json" }, body: '{"error":{"message":"slow down"}}' });
    const metadata = JSON.stringify({ team: ["search", "support"][at % 2], n: at });
    const answer = await gateway.call("openai/chat/completions", { gateway: name, headers: { "cf-aig-metadata": metadata }, json: { model: at % 3 === 0 ? "gpt-4o-mini" : "gpt-4o", messages: [{ role: "user", content: `question number ${at}` }] } });
    await answer.text();
    ids.push(answer.headers.get("cf-aig-log-id"));
  }
  return ids;
}

export const rowIds = (page) => page.locator(".log-table tbody tr").evaluateAll((rows) => rows.map((row) => row.dataset.id));
