// `npm run deploy`: builds Tollgate and does what `tollgate deploy` does.
import { run } from "../server/deploy.mjs";
import { build } from "./setup.mjs";
import { main, root } from "./toolchain.mjs";

await main(import.meta.url, (args) => {
  process.exitCode = run(args, root, build);
});
