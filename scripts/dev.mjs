// `npm run dev`: `wrangler dev`, which builds anew when a source changes. Options go to `wrangler dev`:
// npm run dev -- --port 8788
import { run } from "../server/dev.mjs";
import { ensurePackages } from "./setup.mjs";
import { main, root } from "./toolchain.mjs";

await main(import.meta.url, (options) => {
  ensurePackages();
  process.exitCode = run(options, root);
});
