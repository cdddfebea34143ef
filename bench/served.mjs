// The lanes that are served as people serve them, by `npm start`: workerd's own socket, a state on disk, and the server beside it. The
// other lanes have Miniflare's Workers before and behind them.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Served } from "../tests/e2e/served.mjs";

/** As `bare` is, in the place of Tollgate. */
const BARE = `import { WorkerEntrypoint } from "cloudflare:workers";
export class Limiter {}
export default class extends WorkerEntrypoint {
  fetch(request) {
    const { pathname, search } = new URL(request.url);
    return fetch(this.env.UPSTREAM + pathname + search, request);
  }
  settled() {
    return 0;
  }
}`;

export const SERVED = {
  "served-bare": { title: "bare Worker, as npm start serves it", worker: BARE },
  served: { title: "Tollgate as npm start serves it, logs with bodies" },
};

/** Starts one of them; `stops` gets what ends it. */
export async function startServed(name, origin, stops, databases = tmpdir()) {
  const { title, worker } = SERVED[name];
  const upstream = { origin, baseUrls: { openai: `${origin}/v1` }, stop() {} };
  const served = await Served.start({ upstream, worker, vars: { UPSTREAM: origin }, folder: mkdtempSync(join(databases, `tollgate-${name}-`)) });
  stops.push(() => served.stop());
  // What the runs count by SQL with Miniflare's own bindings is asked over HTTP here.
  served.rows = async () => [{ n: (await served.api("/gateways/bench/logs?per_page=1&meta_info=true").then((answer) => answer.json())).result_info.total_count }];
  const pid = served.pid("/bin/workerd");
  if (worker) return { name, title, pid, url: `${served.url}/v1/chat/completions` };
  await served.create("bench");
  return { name, title, pid, gateway: served, url: `${served.url}/v1/acct/bench/openai/chat/completions` };
}
