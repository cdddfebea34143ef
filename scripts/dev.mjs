// `npm run dev`: `wrangler dev`, which builds anew when a source changes.
import { run } from "../server/dev.mjs";
import { ensurePackages } from "./setup.mjs";
import { main, root } from "./toolchain.mjs";

await main(import.meta.url, (options) => {
  ensurePackages();
  process.exitCode = run(options, root);
});
