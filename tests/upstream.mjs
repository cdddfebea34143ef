// A stand-in for the model providers on loopback. It answers with the fixtures, in the provider's own format and at the
// provider's own paths, keeps what it was sent, and misbehaves when a test tells it to.
//
//   node tests/upstream.mjs --port 9100        for trying the documents by hand
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

export const fixtures = fileURLToPath(new URL("fixtures", import.meta.url));

export const CONTENT_TYPES = {
  json: "application/json",
  sse: "text/event-stream",
  ndjson: "application/x-ndjson",
  eventstream: "application/vnd.amazon.eventstream",
};

/** The part of a provider's base URL that follows its host, which the stand-in keeps below `/{slug}`. */
const PREFIXES = {
  openai: "/v1",
  grok: "/v1",
  groq: "/openai/v1",
  openrouter: "/api/v1",
  cerebras: "/v1",
  fireworks: "/inference/v1",
  replicate: "/v1",
  baseten: "/v1",
  "workers-ai": "/ai",
};

export class Upstream {
  /** Everything that was received: `{provider, method, url, headers, body, closed}`. */
  requests = [];
  /** `{status, body}` that WebSockets are refused with. */
  refuse;
  /** A function from a request to a behaviour, or to a promise of one, for whatever `next` says nothing about. */
  answer;
  /** What names lead to, for resolvers that ask by DNS over HTTPS below `/dns-query`. Others do not exist; `down` is a resolver that fails. */
  names = {};
  /** The names that were asked for. */
  lookups = [];
  #behaviours = [];
  #server;

  static async start(port = 0) {
    const upstream = new Upstream();
    upstream.#server = createServer((request, response) => upstream.#serve(request, response));
    // A connection that is closed while a request is on its way would look like a fault of the gateway's.
    upstream.#server.keepAliveTimeout = 600_000;
    upstream.#server.on("upgrade", (request, socket) => upstream.#upgrade(request, socket));
    await new Promise((resolve) => upstream.#server.listen(port, "127.0.0.1", resolve));
    return upstream;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** A value for PROVIDER_BASE_URLS that leads every provider here. */
  get baseUrls() {
    return Object.fromEntries(readdirSync(fixtures).map((slug) => [slug, `${this.origin}/${slug}${PREFIXES[slug] ?? ""}`]));
  }

  /**
   * What the next request that nothing was said about gets. One of:
   * `{file}` a fixture; `{status, headers, body}`; `{events, pause}` an event every `pause` ms, each when `before(index)` has resolved; with either of them
   * `cut: n` breaks the connection after n bytes or events, and with a body `stall` sends no more of it for so many ms.
   * `{piece, times}` sends one buffer again and again, as fast as it is read. `{reset: true}` answers nothing; `{hang: true}` never answers;
   * `delay` answers so many ms later, `after` when a promise is kept.
   */
  next(behaviour) {
    this.#behaviours.push(behaviour);
  }

  /** The last request. */
  get last() {
    return this.requests.at(-1);
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request, response) {
    if (request.url.startsWith("/dns-query?")) {
      const asked = new URL(request.url, "http://resolver").searchParams;
      this.lookups.push(asked.get("name"));
      return resolve(this.names, asked, response);
    }
    const [, provider] = request.url.split("/");
    const seen = { provider, method: request.method, url: request.url.slice(provider.length + 1), headers: request.headers, closed: false };
    this.requests.push(seen);
    response.on("close", () => (seen.closed = !response.writableFinished));
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
      seen.body = Buffer.concat(chunks);
      await answer(this.#behaviours.shift() ?? (await this.answer?.(seen)) ?? usual(provider, seen), request, response, seen);
    } catch {
      response.destroy();
    }
  }

  /** A WebSocket that says back whatever it is told (RFC 6455, short frames only). */
  #upgrade(request, socket) {
    const [, provider] = request.url.split("/");
    this.requests.push({ provider, method: "GET", url: request.url.slice(provider.length + 1), headers: request.headers });
    if (this.refuse) {
      const { status, body } = this.refuse;
      return socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    }
    const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    const protocol = request.headers["sec-websocket-protocol"]?.split(",")[0].trim();
    const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
    if (protocol) head.push(`Sec-WebSocket-Protocol: ${protocol}`);
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    socket.on("error", () => {});
    socket.on("data", (frame) => {
      const length = frame[1] & 127;
      const [mask, payload] = [frame.subarray(2, 6), frame.subarray(6, 6 + length)];
      const plain = Buffer.from(payload.map((byte, index) => byte ^ mask[index % 4]));
      socket.write(Buffer.concat([Buffer.from([frame[0], length]), plain]));
      if ((frame[0] & 15) === 8) socket.end();
    });
  }
}

/** An answer of a resolver as Cloudflare's and Google's give it in JSON. */
function resolve(names, asked, response) {
  const [name, kind] = [asked.get("name"), asked.get("type")];
  if (names.down) return response.writeHead(503).end("down");
  const addresses = names[name]?.filter((address) => address.includes(":") === (kind === "AAAA"));
  const type = { A: 1, AAAA: 28 }[kind];
  response.writeHead(200, { "content-type": "application/dns-json" });
  response.end(JSON.stringify({ Status: addresses ? 0 : 3, Question: [{ name, type }], Answer: addresses?.map((data) => ({ name, type, TTL: 0, data })) }));
}

/** What a provider says when a test did not ask for anything else: its first fixture that fits the request. */
function usual(provider, { url, body }) {
  const text = body.toString("latin1");
  const streams = /"stream"\s*:\s*true/.test(text) || /[sS]tream/.test(url);
  const extension = streams ? /\.(sse|eventstream|ndjson)$/ : /\.json$/;
  const expected = JSON.parse(readFileSync(join(fixtures, provider, "expected.json"), "utf8"));
  const path = url.replace(/^.*?\/(v\d[a-z]*|models|ai)\//, "").split("?")[0];
  const files = Object.keys(expected).filter((file) => extension.test(file) && (expected[file].status ?? 200) === 200);
  const fits = files.filter((file) => expected[file].path.split("?")[0].endsWith(path));
  const file = fits.find((file) => text.includes(`"${expected[file].request_model}"`)) ?? fits[0] ?? files[0];
  return file ? { file: `${provider}/${file}` } : { status: 404, headers: { "content-type": "application/json" }, body: '{"error":{"message":"no fixture"}}' };
}

async function answer(behaviour, request, response, seen) {
  if (behaviour.reset) return response.destroy();
  if (behaviour.hang) return undefined;
  await behaviour.after;
  if (behaviour.delay) await new Promise((resolve) => setTimeout(resolve, behaviour.delay));
  const { status = 200, headers, events, pause = 0 } = behaviour;
  if (events) {
    response.writeHead(status, { "content-type": "text/event-stream", "x-request-id": "req_standin", ...headers });
    for (const [index, event] of events.entries()) {
      await behaviour.before?.(index);
      if (index === behaviour.cut || seen.closed) return response.destroy();
      response.write(event);
      seen.sent = index + 1;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    return response.end();
  }
  if (behaviour.piece) {
    response.writeHead(status, { "x-request-id": "req_standin", ...headers });
    const closed = once(response, "close");
    for (seen.sent = 0; seen.sent < behaviour.times && !response.destroyed; seen.sent += 1) {
      if (!response.write(behaviour.piece)) await Promise.race([once(response, "drain"), closed]);
    }
    return response.end(behaviour.ending);
  }
  let body = behaviour.file ? readFileSync(join(fixtures, behaviour.file)) : Buffer.from(behaviour.body ?? "");
  const type = behaviour.file && { "content-type": CONTENT_TYPES[behaviour.file.split(".").at(-1)] };
  const encoding = behaviour.gzip && { "content-encoding": "gzip" };
  if (behaviour.gzip) body = gzipSync(body);
  const length = !behaviour.chunked && (behaviour.file?.endsWith(".json") || !behaviour.file) && { "content-length": body.length };
  const none = status === 204 || status === 304;
  response.writeHead(status, { "x-request-id": "req_standin", ...type, ...encoding, ...(none ? {} : length), ...headers });
  if (request.method === "HEAD" || none) return response.end();
  if (behaviour.cut !== undefined) {
    await new Promise((resolve) => response.write(body.subarray(0, behaviour.cut), resolve));
    return setTimeout(() => response.destroy(), 20);
  }
  if (behaviour.stall) {
    response.write(body.subarray(0, 4));
    await new Promise((resolve) => setTimeout(resolve, behaviour.stall));
    seen.over = true;
  }
  return response.end(body.subarray(behaviour.stall ? 4 : 0));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.argv[process.argv.indexOf("--port") + 1] || 9100);
  const upstream = await Upstream.start(port);
  console.log(`standing in for the providers on ${upstream.origin}; for .dev.vars:\n\nPROVIDER_BASE_URLS='${JSON.stringify(upstream.baseUrls)}'`);
}
