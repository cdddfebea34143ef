// `tollgate dev` and `npm run dev`: `wrangler dev`, without what it would open beside the Worker: the explorer serves the database to
// any caller that reaches the port, and the observability store keeps every address that was called. For development on one's own
// machine only: wrangler's debugger, and paths of its own below /cdn-cgi/, stay open.
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { wrangler, wranglerEnv } from "./base.mjs";
import { ensureConfig } from "./config.mjs";

export const USAGE = "[OPTIONS OF wrangler dev]";
export const MORE = "All options go to `wrangler dev`; --help of wrangler lists them: npx wrangler dev --help.";

export function run(args, folder = process.cwd()) {
  ensureConfig(resolve(folder, "wrangler.toml"));
  const { command, args: all } = wrangler("dev", "--local", "--ip", "127.0.0.1", ...args);
  const env = { ...wranglerEnv(), X_LOCAL_EXPLORER: "false", X_LOCAL_OBSERVABILITY: "false" };
  return spawnSync(command, all, { cwd: folder, env, stdio: "inherit" }).status ?? 1;
}
