// What `npm start` has workerd run: the built Worker, with one way in from outside. The server in scripts/runtime.mjs binds its
// socket to `Served`; everything else that leads to a Worker in Miniflare ends at the default export, which answers no request.
import Worker from "./index.js";
export * from "./index.js";

let isStopping = false;

/** A request that comes while the server is being stopped. Whoever sent it may try again at once, elsewhere or a little later. */
function refused(request) {
  const isData = new URL(request.url).pathname.startsWith("/v1/");
  const description = "The server is being stopped and takes no more requests.";
  const body = isData
    ? { success: false, result: [], messages: [], error: [{ code: 7000, message: "Service unavailable" }], name: "AiGatewayError", httpCode: 503, internalCode: 7000, message: "Service unavailable", description }
    : { result: null, success: false, errors: [{ code: 7003, message: description }], messages: [] };
  return Response.json(body, { status: 503, headers: { "retry-after": "1", connection: "close" } });
}

export class Served extends Worker {
  fetch(request) {
    return isStopping ? refused(request) : super.fetch(request);
  }
}

/** The cron trigger, the queue, and the end. */
export default class extends Worker {
  fetch() {
    return new Response(null, { status: 404 });
  }

  /** Takes no more requests, and waits for those that are under way and for their logs. */
  stop(patience) {
    isStopping = true;
    return super.settled(patience);
  }
}
