// `tollgate deploy` and `npm run deploy`: migrates the D1 databases at Cloudflare and uploads the Worker.
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { Failure, readText, say, wrangler, wranglerEnv } from "./base.mjs";
import { ensureConfig } from "./config.mjs";
import { databases } from "./databases.mjs";
import { parsed } from "./options.mjs";

const NEXT_SECRET = "npx wrangler secret put ADMIN_TOKEN";

export const HELP = [{ name: "dry-run", about: "makes what would be uploaded, and asks Cloudflare for nothing" }];
export const MORE = "The first time it writes a wrangler.toml of your own. `npx wrangler login` comes before it, and `npx wrangler d1 create tollgate`\nprints the id of a database, which belongs into that file.";

/** The bindings of the databases, all of which have to exist unless nothing is sent. */
function checked(folder, isDry) {
  const all = databases(readText(resolve(folder, "wrangler.toml")) ?? "", folder);
  for (const { binding, id } of all) {
    if (isDry || (id && !/^[0-]+$/.test(id))) continue;
    const name = binding.toLowerCase().replace("db", "tollgate").replace("_", "-");
    throw new Failure(
      `wrangler.toml has no database for ${binding} yet. Run \`npx wrangler d1 create ${name}\`, paste the id it prints into ` +
        `its database_id, set the admin token with \`${NEXT_SECRET}\`, and deploy again.`,
    );
  }
  return all.map(({ binding }) => binding);
}

function wranglerStep(folder, doing, ...args) {
  say(doing);
  const { command, args: all } = wrangler(...args);
  const result = spawnSync(command, all, { cwd: folder, env: wranglerEnv(), stdio: "inherit" });
  if (result.status === 0) return;
  throw new Failure(`\`npx wrangler ${args.join(" ")}\` failed; its messages are above.`);
}

/** `build` is what a clone has to do before, once it is clear that it can be deployed. */
export function run(args, folder = process.cwd(), build = () => {}) {
  const isDry = parsed(args, HELP).values["dry-run"] === true;
  ensureConfig(resolve(folder, "wrangler.toml"));
  const bindings = checked(folder, isDry);
  build();
  if (isDry) {
    wranglerStep(folder, "making what would be uploaded", "deploy", "--dry-run");
    return 0;
  }
  for (const binding of bindings) {
    wranglerStep(folder, `migrating the database ${binding} at Cloudflare`, "d1", "migrations", "apply", binding, "--remote");
  }
  wranglerStep(folder, "uploading the Worker", "deploy");
  say(`deployed. Set the admin token once, if that is not done yet: ${NEXT_SECRET}`);
  return 0;
}
