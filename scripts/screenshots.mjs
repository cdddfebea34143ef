// `npm run screenshots` makes the README's two pictures from the demonstration.
//
//   --all FOLDER      pictures of every page, in both themes and at three widths, for a person to look at
//   --only NAME       of the pages whose names begin so, and no others
//   --widths N,N      at these widths: 2560,1280,360
//   --requests N      how many chats the demonstration has: 2400
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CHROMIUM_ARGS, ensureChromium } from "./chromium.mjs";
import { startDemo } from "./demo.mjs";
import { build, ensurePackages, nodeProgram, wranglerEnv } from "./setup.mjs";
import { signInLink } from "../server/sign-in.mjs";
import { main, root, say } from "./toolchain.mjs";

const PAGES = ["overview?since=7d", "logs", "sessions", "evaluations", "datasets", "review", "limits", "routes", "alerts", "policies", "guards", "keys", "settings", "audit", "playground", "start"];
const WIDTHS = [2560, 1280, 360];

async function settled(page) {
  await page.waitForLoadState("networkidle").catch(() => {});
  await page.waitForTimeout(400);
}

await main(import.meta.url, async (args) => {
  const { values } = parseArgs({ args, options: { all: { type: "string" }, only: { type: "string" }, widths: { type: "string" }, requests: { type: "string" } } });
  const widths = values.widths?.split(",").map(Number) ?? WIDTHS;
  if (process.env.TOLLGATE_DEMO !== "inside") {
    ensurePackages();
    build();
    const { status } = spawnSync(nodeProgram, [join(root, "scripts/screenshots.mjs"), ...args], { cwd: root, stdio: "inherit", env: { ...wranglerEnv(), TOLLGATE_DEMO: "inside", CHROMIUM: ensureChromium() } });
    process.exit(status ?? 1);
  }
  const { chromium } = await import("playwright-core");
  const { gateway, token, account, name } = await startDemo({ requests: Number(values.requests ?? 2400) });
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: CHROMIUM_ARGS });
  const place = `${gateway.url}/dashboard/${account}/${name}`;
  const opened = async (width, height, colorScheme) => {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: "reduce", timezoneId: "UTC" });
    const page = await context.newPage();
    page.on("pageerror", (error) => say(`page error: ${error.message}`));
    page.on("console", (message) => message.type() === "error" && say(`console: ${message.text()}`));
    await page.goto(signInLink(gateway.url, token));
    await settled(page);
    return page;
  };
  const picture = async (page, file) => {
    await page.screenshot({ path: file });
    say(file);
  };
  /** A turn of an agent's session, which shows more of a conversation than most. */
  const openLog = async (page) => {
    await page.goto(`${place}/logs?f=session_id:present`);
    const id = await page.locator(".log-table tbody tr").nth(1).getAttribute("data-id");
    await page.goto(`${place}/logs?f=session_id:present&log=${id}`);
    await page.locator(".drawer .turn").first().waitFor();
    await settled(page);
  };
  if (values.all) {
    fs.mkdirSync(values.all, { recursive: true });
    for (const theme of ["light", "dark"]) {
      for (const width of widths) {
        const page = await opened(width, width < 500 ? 780 : 900, theme);
        for (const path of PAGES.filter((path) => path.startsWith(values.only ?? ""))) {
          await page.goto(`${place}/${path}`);
          await settled(page);
          await picture(page, join(values.all, `${path.split("?")[0]}-${width}-${theme}.png`));
        }
        if ("log".startsWith(values.only ?? "log")) {
          await openLog(page);
          await picture(page, join(values.all, `log-${width}-${theme}.png`));
        }
        if ("session".startsWith(values.only ?? "session")) {
          await page.goto(`${place}/sessions`);
          await page.locator("tbody a").first().click();
          await settled(page);
          await picture(page, join(values.all, `session-${width}-${theme}.png`));
        }
        await page.context().close();
      }
    }
  } else {
    fs.mkdirSync(join(root, "docs/images"), { recursive: true });
    const page = await opened(1440, 900, "light");
    await openLog(page);
    await picture(page, join(root, "docs/images/logs.png"));
    await page.goto(`${place}/overview?since=7d`);
    await settled(page);
    await picture(page, join(root, "docs/images/overview.png"));
  }
  await browser.close();
  await gateway.miniflare.dispose();
  process.exit(0);
});
