// `npm run deploy`: builds Tollgate, migrates the D1 database at Cloudflare and uploads the Worker.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { build, wrangler, wranglerEnv } from "./setup.mjs";
import { Failure, main, readText, root, say } from "./toolchain.mjs";

const NEXT_SECRET = "npx wrangler secret put ADMIN_TOKEN";

function checkDatabaseId() {
  const id = /^database_id\s*=\s*"(.*)"/m.exec(readText(join(root, "wrangler.toml")) ?? "")?.[1];
  if (id && !/^[0-]+$/.test(id)) return;
  throw new Failure(
    "wrangler.toml has no database yet. Run `npx wrangler d1 create tollgate`, paste the id it prints into " +
      `database_id, set the admin token with \`${NEXT_SECRET}\`, and deploy again.`,
  );
}

function wranglerStep(doing, ...args) {
  say(doing);
  const { command, args: all } = wrangler(...args);
  const result = spawnSync(command, all, { cwd: root, env: wranglerEnv(), stdio: "inherit" });
  if (result.status === 0) return;
  throw new Failure(`\`npx wrangler ${args.join(" ")}\` failed; its messages are above.`);
}

await main(import.meta.url, () => {
  checkDatabaseId();
  build();
  wranglerStep("migrating the database at Cloudflare", "d1", "migrations", "apply", "DB", "--remote");
  wranglerStep("uploading the Worker", "deploy");
  say(`deployed. Set the admin token once, if that is not done yet: ${NEXT_SECRET}`);
});
