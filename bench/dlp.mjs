// What data loss prevention costs: workerd's CPU for a request with a megabyte of clean English, with all profiles and without, of
// rounds in turn. It wants a release build (`npm run build`); the bound is 20 ms.
//
//   node_modules/.bin/node bench/dlp.mjs [rounds] [folder of the build]
import { Gateway } from "../tests/e2e/harness.mjs";
import { cpuOfWorkerds } from "./load.mjs";
import { median } from "./report.mjs";

const REQUESTS = 10;
const rounds = Number(process.argv[2] ?? 5);
const words = "the quick brown fox jumps over a lazy dog while people who read this page walk along the river, and nothing of it is secret.".split(" ");
let seed = 7;
const word = () => words[(seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % words.length];
let text = "";
while (text.length < 1_000_000) text += `${word()} `;

const gw = await Gateway.start({ build: process.argv[3] ?? "build" });
await gw.create("off", { collect_logs: false });
await gw.create("on", { collect_logs: false, dlp: { action: "BLOCK", profiles: ["financial", "national_ids", "contact", "network", "secrets"] } });
// Both take the body whole, as with a retry, so that the difference is the search alone.
const headers = { authorization: "Bearer sk-bench-0123456789", "cf-aig-max-attempts": "2" };
const taken = { off: [], on: [] };
for (let round = -1; round < rounds; round += 1) {
  for (const gateway of Object.keys(taken)) {
    const before = cpuOfWorkerds();
    for (let n = 0; n < REQUESTS; n += 1) {
      const answer = await gw.call("openai/chat/completions", { gateway, json: { model: "gpt-4o-mini", messages: [{ role: "user", content: text }] }, headers });
      if (answer.status !== 200) throw new Error(`${gateway}: ${answer.status} ${await answer.text()}`);
      await answer.text();
    }
    if (round >= 0) taken[gateway].push((cpuOfWorkerds() - before) / REQUESTS);
  }
}
const [off, on] = [median(taken.off), median(taken.on)];
console.log(`a request of 1 MB: ${off.toFixed(1)} ms of CPU without, ${on.toFixed(1)} ms with data loss prevention; it takes ${(on - off).toFixed(1)} ms`);
await gw.stop();
