// `npm run dev`: `wrangler dev`, which builds anew when a source changes, without what it would open beside the Worker: the explorer
// serves the database to whoever reaches the port, and the observability store keeps every address that was called. For development on
// one's own machine only: wrangler's debugger, and paths of its own below /cdn-cgi/, stay open.
import { spawnSync } from "node:child_process";
import { ensurePackages, wrangler, wranglerEnv } from "./setup.mjs";
import { main, root } from "./toolchain.mjs";

await main(import.meta.url, (options) => {
  ensurePackages();
  const { command, args } = wrangler("dev", "--local", "--ip", "127.0.0.1", ...options);
  const env = { ...wranglerEnv(), X_LOCAL_EXPLORER: "false", X_LOCAL_OBSERVABILITY: "false" };
  process.exitCode = spawnSync(command, args, { cwd: root, env, stdio: "inherit" }).status ?? 1;
});
