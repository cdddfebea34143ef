// `npm run deploy`: builds Tollgate, migrates its D1 databases at Cloudflare and uploads the Worker.
import { spawnSync } from "node:child_process";
import { databases } from "./databases.mjs";
import { build, wrangler, wranglerEnv } from "./setup.mjs";
import { Failure, main, root, say } from "./toolchain.mjs";

const NEXT_SECRET = "npx wrangler secret put ADMIN_TOKEN";

/** The bindings of the databases, all of which have to exist. */
function checked() {
  for (const { binding, id } of databases()) {
    if (id && !/^[0-]+$/.test(id)) continue;
    const name = binding.toLowerCase().replace("db", "tollgate").replace("_", "-");
    throw new Failure(
      `wrangler.toml has no database for ${binding} yet. Run \`npx wrangler d1 create ${name}\`, paste the id it prints into ` +
        `its database_id, set the admin token with \`${NEXT_SECRET}\`, and deploy again.`,
    );
  }
  return databases().map(({ binding }) => binding);
}

function wranglerStep(doing, ...args) {
  say(doing);
  const { command, args: all } = wrangler(...args);
  const result = spawnSync(command, all, { cwd: root, env: wranglerEnv(), stdio: "inherit" });
  if (result.status === 0) return;
  throw new Failure(`\`npx wrangler ${args.join(" ")}\` failed; its messages are above.`);
}

await main(import.meta.url, () => {
  const bindings = checked();
  build();
  for (const binding of bindings) {
    wranglerStep(`migrating the database ${binding} at Cloudflare`, "d1", "migrations", "apply", binding, "--remote");
  }
  wranglerStep("uploading the Worker", "deploy");
  say(`deployed. Set the admin token once, if that is not done yet: ${NEXT_SECRET}`);
});
