// `npm run bench:kills`: how many answers have no row when a process of `npm start` is killed by SIGKILL under load, and over how long
// they were answered. 16 connections that never pause, against a stand-in that answers at once.
import { parseArgs } from "node:util";
import { main } from "../scripts/toolchain.mjs";
import { number, onNode22 } from "./run.mjs";

const PARTS = { workerd: "/bin/workerd", server: "serve.mjs", "what waits for it": "start.mjs" };

await main(import.meta.url, async () => {
  const { values } = parseArgs({ options: { times: { type: "string", default: "5" }, "no-build": { type: "boolean" } } });
  onNode22();
  const [{ ids, killedUnderLoad }, { Served }, { raw, until }, { build }] = await Promise.all(["tests/e2e/kills.mjs", "tests/e2e/served.mjs", "tests/e2e/harness.mjs", "scripts/setup.mjs"].map((path) => import(`../${path}`)));
  if (!values["no-build"]) build();
  let served = await Served.start();
  const { folder, upstream } = served;
  await served.create("gw");
  console.log("| killed | answers read | without a row | between the first and the last of them, ms |\n|---|--:|--:|--:|");
  for (const [name, word] of Object.entries(PARTS)) {
    for (let n = 0; n < number(values.times, "times"); n += 1) {
      const pid = served.processes().findLast(({ command }) => command.includes(word)).pid;
      const { answered } = await killedUnderLoad(served, () => process.kill(pid, "SIGKILL"), { before: 500, after: 200 });
      if (name === "workerd") await until(async () => (await raw(`${served.url}/health`)).status === 200, "the runtime", 60_000);
      if (name === "workerd") await served.stopped();
      else await served.ended;
      await until(async () => (await raw(`${served.url}/health`)).error !== undefined, "the end", 60_000);
      served = await Served.start({ folder, upstream });
      const kept = await ids(served);
      const lost = answered.filter(({ id }) => !kept.has(id));
      // The last answer before the break: the runtime goes on for a moment when another process is killed.
      const last = Math.max(...lost.map(({ at }) => at));
      console.log(`| ${name} | ${answered.length} | ${lost.length} | ${lost.length ? last - Math.min(...lost.map(({ at }) => at)) : ""} |`);
    }
  }
  await served.stop();
});
