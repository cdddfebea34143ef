// `npm run bench:page`: how soon the dashboard shows its list over the million logs of `npm run bench:rows`, in Chromium. The bars are
// 1 s for the first rows after the address was opened, and 500 ms for a change of a filter that an index holds. Nothing fails here.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { ensureChromium } from "../scripts/chromium.mjs";
import { build, nodeProgram, wranglerEnv } from "../scripts/setup.mjs";
import { Failure, main, root, say } from "../scripts/toolchain.mjs";

const ROUNDS = 5;
/** Filters that an index holds, as the page's address has them; each is chosen from the list without any. */
const FILTERS = { "a model": "f=model:eq:gpt-4o", "a provider": "f=provider:eq:openai", errors: "f=success:eq:false", "the last day": "since=24h" };

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

await main(import.meta.url, async () => {
  const folder = join(root, "target/rows/1000000");
  if (!fs.existsSync(join(folder, "known.json"))) throw new Failure("the database with a million logs is not there: `npm run bench:rows -- --fill` makes it.");
  if (process.env.TOLLGATE_BENCH !== "inside") {
    build();
    const { status } = spawnSync(nodeProgram, [join(root, "bench/page.mjs")], { cwd: root, stdio: "inherit", env: { ...wranglerEnv(), TOLLGATE_BENCH: "inside", CHROMIUM: ensureChromium() } });
    process.exit(status ?? 1);
  }
  const { Dashboard } = await import("../tests/dashboard/browser.mjs");
  const dashboard = await Dashboard.start({ folder });
  const page = await dashboard.open();
  const rows = page.locator(".log-table tbody tr");
  say(`load ${loadavg()[0].toFixed(1)}; medians of ${ROUNDS}`);
  const first = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await page.goto("about:blank");
    const begun = performance.now();
    await page.goto(dashboard.url("bench/logs"), { waitUntil: "commit" });
    await rows.first().waitFor();
    first.push(performance.now() - begun);
  }
  say(`the first rows: ${Math.round(median(first))} ms (bar 1000)`);
  for (const [name, query] of Object.entries(FILTERS)) {
    const took = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      await page.goto(dashboard.url("bench/logs?since=30d"));
      await rows.first().waitFor();
      took.push(
        await page.evaluate(async (query) => {
          const table = () => document.querySelector(".log-table");
          const begun = performance.now();
          history.pushState(null, "", `${location.pathname}?${query}`);
          dispatchEvent(new PopStateEvent("popstate"));
          const isShown = () => document.querySelector(".empty") !== null || (table() && table().getAttribute("aria-busy") === "false" && !table().classList.contains("stale"));
          // The frame in which the list is asked for comes first.
          await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
          while (!isShown()) await new Promise((resolve) => requestAnimationFrame(resolve));
          return performance.now() - begun;
        }, query),
      );
    }
    say(`${name}: ${Math.round(median(took))} ms (bar 500)`);
  }
  await page.context().close();
  await dashboard.stop(/"event":"(retention|reprice)"/);
});
