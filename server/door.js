// The way in to a Worker that is served in front of Tollgate: it answers only under names of this machine, and there is nothing
// below /cdn-cgi/, which is the runtime's.
const LOOPBACK = /^(localhost\.?|127\.0\.0\.1|\[::1\])(:\d+)?$/i;

export default {
  fetch() {
    return new Response(null, { status: 404 });
  },
};

export const Served = {
  fetch(request, env) {
    if (!LOOPBACK.test(request.headers.get("host") ?? "")) return new Response("No such host is served here.\n", { status: 421 });
    if (new URL(request.url).pathname.startsWith("/cdn-cgi/")) return new Response(null, { status: 404 });
    return env.SERVED.fetch(request);
  },
};
