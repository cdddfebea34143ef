// `npm run deploy`: builds Tollgate and does what `tollgate deploy` does.
import { opening } from "../server/base.mjs";
import { HELP, run } from "../server/deploy.mjs";
import { helpOf } from "../server/options.mjs";
import { build } from "./setup.mjs";
import { main, root } from "./toolchain.mjs";

await main(import.meta.url, (args) => {
  process.exitCode = run(args, root, build);
}, (program) => `${opening(program)}\n\n${helpOf(HELP)}`);
