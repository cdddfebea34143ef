// Fails when what Cloudflare would be sent, compressed, is larger than Tollgate may be.
import * as fs from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Failure, main, root } from "./toolchain.mjs";

const FILES = ["build/index.js", "build/index_bg.wasm"];
// Far below what a free plan may upload; docs/decisions.md ("Why is the Worker larger than 1 MB") has how it came to be.
const LIMIT = 1_325_000;

function compressedSize(path) {
  const file = join(root, path);
  if (!fs.existsSync(file)) throw new Failure(`${path} does not exist. Run \`npm run build\` first.`);
  return gzipSync(fs.readFileSync(file), { level: 9 }).length;
}

function report(name, bytes) {
  console.log(`${name.padEnd(20)} ${(bytes / 1000).toFixed(1).padStart(7)} KB gzip`);
}

await main(import.meta.url, () => {
  const sizes = FILES.map(compressedSize);
  const sum = sizes.reduce((a, b) => a + b, 0);
  FILES.forEach((file, index) => report(file, sizes[index]));
  report("sum", sum);
  report("limit", LIMIT);
  if (sum > LIMIT) throw new Failure(`the Worker is ${((sum - LIMIT) / 1000).toFixed(1)} KB over its limit.`);
});
