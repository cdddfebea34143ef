// `npm start` and `npm run example` in a clone: installs what is missing, builds, and does what `tollgate start` does.
// npm start -- --port 8788
import { opening } from "../server/base.mjs";
import { chosen, helpOf, OPTIONS } from "../server/options.mjs";
import { serve } from "../server/start.mjs";
import { build, ensurePackages } from "./setup.mjs";
import { main, root } from "./toolchain.mjs";

await main(import.meta.url, async (args) => {
  const options = chosen(args, { home: root });
  if (!options.isBuilt) build();
  ensurePackages();
  process.exit(await serve(options));
}, (program) => `${opening(program)}\n\n${helpOf(OPTIONS)}`);
