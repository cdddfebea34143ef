// What `npm start` has workerd run: the built Worker, with one way in from outside. The server in server/runtime.mjs binds its
// socket to `Served`; everything else that leads to a Worker in Miniflare ends at the default export, which answers no request.
import Worker from "./index.js";
export * from "./index.js";

/** How long a queue may take to be read to its end, in milliseconds. */
const QUEUE_MS = 20_000;
/** How often it is looked whether it was, in milliseconds. */
const LOOK_MS = 20;

let isStopping = false;
/** How many deliveries of a queue are being read. */
let delivered = 0;

/** Waits until a queue is empty: on one's own machine it is in memory, and what is in it at the end is lost. */
async function read(queue) {
  let looks = 0;
  for (const end = Date.now() + QUEUE_MS; looks < 3 && Date.now() < end; await scheduler.wait(LOOK_MS)) {
    const { backlogCount = 0 } = (await queue.metrics()) ?? {};
    // Between the queue and its reader a message is in neither count for a moment.
    looks = backlogCount === 0 && delivered === 0 ? looks + 1 : 0;
  }
}

/** A request that comes while the server is being stopped. Its client may try again at once, elsewhere or a little later. */
function refused(request) {
  const isData = new URL(request.url).pathname.startsWith("/v1/");
  const description = "The server is being stopped and takes no more requests.";
  const body = isData
    ? { success: false, result: [], messages: [], error: [{ code: 7000, message: "Service unavailable" }], name: "AiGatewayError", httpCode: 503, internalCode: 7000, message: "Service unavailable", description }
    : { result: null, success: false, errors: [{ code: 7003, message: description }], messages: [] };
  return Response.json(body, { status: 503, headers: { "retry-after": "1", connection: "close" } });
}

/** What may stand in a line: a piece of a path that could be a key is left out, and so is what a provider is asked for. */
function shown(path) {
  const parts = path.split("/");
  const kept = parts[1] === "v1" ? parts.slice(0, 5) : parts.slice(0, 12);
  const safe = kept.map((part) => (/^[\w.:@~-]{0,36}$/.test(part) && !/^(sk|pk|rk|key|AIza|gsk|xai|hf|ghp|AKIA)([-_]|(?<=AIza|AKIA))/i.test(part) ? part : "…"));
  return safe.join("/") + (kept.length < parts.length ? "/…" : "");
}

/** The access line of LOG_REQUESTS. A query is never in it, for it may have keys. */
async function withLine(request, answered) {
  const begun = Date.now();
  const answer = await answered;
  const log = answer.headers.get("cf-aig-log-id");
  console.log(JSON.stringify({ event: "request", at: new Date(begun).toISOString(), method: request.method, path: shown(new URL(request.url).pathname), status: answer.status, ms: Date.now() - begun, ...(log && { log }) }));
  return answer;
}

export class Served extends Worker {
  fetch(request) {
    if (isStopping) return refused(request);
    const { SERVED_BY_TLS: isTls, SERVED_LOG_REQUESTS: isLogged } = this.env;
    // What ends TLS in front passes on plain http. Addresses in answers have to say how the client came.
    const answered = super.fetch(isTls ? new Request(request.url.replace(/^http:/, "https:"), request) : request);
    return isLogged ? withLine(request, answered) : answered;
  }
}

/** The cron trigger, the queue, and the end. */
export default class extends Worker {
  fetch() {
    return new Response(null, { status: 404 });
  }

  async queue(batch) {
    delivered += 1;
    try {
      return await super.queue(batch);
    } finally {
      delivered -= 1;
    }
  }

  /** Takes no more requests, and waits for those that are under way and for their logs. */
  async stop(patience, word) {
    isStopping = true;
    const left = await super.settled(patience);
    if (this.env.LOG_QUEUE?.metrics) await read(this.env.LOG_QUEUE);
    // What was printed before comes out of the pipe before this.
    console.error(word);
    return left;
  }
}
