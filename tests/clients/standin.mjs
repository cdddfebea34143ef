// Stands in for the providers, strictly: it takes only the methods, paths, queries and headers that a provider really has, and
// answers in the provider's own formats. Whatever else comes is refused as the provider would, and is a problem of the case.
//
// A case is one feature of one client. Its number is in its keys, so a request tells which case it belongs to.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import anthropic from "./providers/anthropic.mjs";
import azure from "./providers/azure.mjs";
import bedrock from "./providers/bedrock.mjs";
import cohere from "./providers/cohere.mjs";
import google from "./providers/google.mjs";
import mistral from "./providers/mistral.mjs";
import openai from "./providers/openai.mjs";
import { likeOpenai } from "./providers/openai-like.mjs";
import workersAi from "./providers/workers-ai.mjs";


const PROVIDERS = [anthropic, azure, bedrock, cohere, google, mistral, openai, ...likeOpenai, workersAi];

/** How long a stream waits for its client to say that it has the first piece, before it counts as one that does not stream. */
const PATIENCE = 15_000;
/** The time between two events of a stream, about that of a fast model. */
const PAUSE = 5;
/** What the gateway is told and no provider may hear of. */
const OURS = /^(cf-aig-|x-forwarded|forwarded$|cookie$|x-real-ip$|origin$)/;

export class StandIn {
  /** By number: `{told, problems, feature}`; `told` is what each accepted request was answered, in order. */
  cases = new Map();
  /** What came without the number of a case. */
  strays = [];
  /** Texts that no provider may see. */
  secrets = [];
  /** What the clients call beside the gateway: `{begin, end}`, set by the runner. */
  control = {};
  #server;

  static async start() {
    const standIn = new StandIn();
    standIn.#server = createServer((request, response) => standIn.#serve(request, response));
    standIn.#server.keepAliveTimeout = 600_000;
    // Clients have this server as their proxy for whatever is not on this machine.
    standIn.#server.on("connect", (request, socket) => {
      standIn.strays.push(`a client tried to reach ${request.url}`);
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    const sockets = new WebSocketServer({ noServer: true });
    standIn.#server.on("upgrade", (request, socket, head) => standIn.#upgrade(sockets, request, socket, head));
    await new Promise((resolve) => standIn.#server.listen(0, "127.0.0.1", resolve));
    return standIn;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  get baseUrls() {
    return Object.fromEntries(PROVIDERS.map(({ slug, base = "" }) => [slug, `${this.origin}/${slug}${base}`]));
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** A case begins: `kind` says whose key the provider is sent, the client's `own` or the `stored` one. */
  open(number, feature, kind) {
    let seen;
    const first = new Promise((resolve) => (seen = resolve));
    this.cases.set(number, { number, feature, kind, told: [], problems: [], first, seen });
  }

  async #serve(request, response) {
    try {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      if (request.url.startsWith("/control/")) return await this.#steer(request.url.slice(9), body, response);
      await this.#provide(request, body, response);
    } catch (error) {
      this.strays.push(`${request.method} ${request.url}: ${error.stack}`);
      response.destroy();
    }
  }

  async #steer(what, body, response) {
    const said = JSON.parse(body.toString() || "{}");
    const answer = what === "first" ? this.cases.get(said.case).seen() : await this.control[what](said);
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer ?? {}));
  }

  /** The provider, the operation and the case of a request, or why there is none. */
  async #understand(message, body) {
    const url = new URL(message.url, this.origin);
    const slug = url.pathname.split("/")[1];
    const provider = PROVIDERS.find((provider) => provider.slug === slug);
    if (!provider) return { problem: "no such provider" };
    const path = url.pathname.slice(1 + slug.length);
    const request = { method: message.method, path, url, headers: message.headers, body, origin: `${this.origin}/${slug}` };
    const named = provider.case?.(request) || numberIn(provider.credential(request));
    const entry = this.cases.get(named?.number);
    const wrong = (problem, status = 404) => ({ provider, entry, request, problem: `${provider.slug}: ${message.method} ${path}${url.search}: ${problem}`, status });
    const all = `${message.url}\n${JSON.stringify(message.headers)}\n${body.toString("latin1")}`;
    if (this.secrets.some((secret) => all.includes(secret))) return wrong("has a token of Tollgate's in it", 400);
    const foreign = Object.keys(message.headers).filter((name) => OURS.test(name));
    if (foreign.length > 0) return wrong(`has the headers ${foreign}`, 400);
    if (!entry) return wrong("no key, or one that the provider does not know", 401);
    if (named.kind && named.kind !== entry.kind) return wrong(`has the ${named.kind} key`, 401);
    const fits = provider.operations.filter((operation) => operation.path.test(path));
    const operation = fits.find(({ method, socket }) => method === message.method && Boolean(socket) === Boolean(message.headers.upgrade));
    if (!operation) return fits.length > 0 ? wrong(`the method is ${fits.map(({ method }) => method).join(" or ")}`, 405) : wrong("no such path");
    const bad = (await provider.check?.(request, operation)) ?? (await checkBody(request, operation)) ?? checkQuery(request, operation);
    if (bad) return wrong(bad, 400);
    request.match = operation.path.exec(path);
    request.number = entry.number;
    return { provider, operation, entry, request };
  }

  async #provide(message, body, response) {
    const { provider, operation, entry, request, problem, status } = await this.#understand(message, body);
    if (problem) {
      (entry?.problems ?? this.strays).push(problem);
      return send(response, provider?.refusal(status ?? 404, problem) ?? { status: 404, json: {} });
    }
    const asked = /answer with status (\d{3})/.exec(body.toString())?.[1];
    const answer = asked ? { ...provider.refusal(Number(asked), "as you wish"), told: {} } : await operation.answer(request);
    // A gateway that looks for the results of a batch by itself asks for them as they are, which no client here does.
    const isLook = request.method === "GET" && /batches\//.test(request.path) && message.headers["accept-encoding"] === "identity";
    if (!isLook) entry.told.push({ provider: provider.slug, method: request.method, path: request.path, status: answer.status ?? 200, ...answer.told });
    await send(response, answer, entry);
  }

  async #upgrade(sockets, message, socket, head) {
    const { provider, operation, entry, request, problem, status } = await this.#understand(message, Buffer.alloc(0));
    if (problem) {
      (entry?.problems ?? this.strays).push(problem);
      const text = JSON.stringify(provider?.refusal(status, problem).json ?? {});
      return socket.end(`HTTP/1.1 ${status ?? 404} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    }
    sockets.handleUpgrade(message, socket, head, (connection) => operation.socket(connection, request, (told) => entry.told.push({ provider: provider.slug, method: "GET", path: request.path, status: 200, ...told })));
  }
}

/** The case that a key names: `{kind, number}`. */
function numberIn(credential) {
  const found = /(own|stored)c(\d+)z/i.exec(credential ?? "");
  return found && { kind: found[1].toLowerCase(), number: Number(found[2]) };
}

async function checkBody(request, { needs, form, bytes, untyped }) {
  const type = request.headers["content-type"] ?? (untyped ? "application/json" : "");
  if (needs) {
    if (!type.startsWith("application/json")) return `the body is ${type || "of no type"}, not JSON`;
    try {
      request.json = JSON.parse(request.body.toString());
    } catch {
      return "the body is no JSON";
    }
    const missing = needs.filter((name) => request.json[name] === undefined);
    return missing.length > 0 ? `the body has no ${missing.join(", ")}` : undefined;
  }
  if (form) {
    if (!type.startsWith("multipart/form-data")) return `the body is ${type || "of no type"}, not a form`;
    request.form = await new Response(request.body, { headers: { "content-type": type } }).formData();
    const missing = form.filter((name) => !request.form.has(name));
    return missing.length > 0 ? `the form has no ${missing.join(", ")}` : undefined;
  }
  if (!bytes && request.body.length > 0) return "there is a body";
  return undefined;
}

function checkQuery({ url }, { query = [] }) {
  const unknown = [...url.searchParams.keys()].filter((name) => !query.includes(name));
  return unknown.length > 0 ? `there is no parameter ${unknown.join(", ")}` : undefined;
}

async function send(response, { status = 200, headers, json, bytes, type, events, hold }, entry) {
  const common = { "x-request-id": "req_standin", ...headers };
  if (!events) {
    const body = bytes ?? Buffer.from(json === undefined ? "" : JSON.stringify(json));
    const kind = body.length > 0 ? { "content-type": type ?? "application/json" } : {};
    return response.writeHead(status, { ...kind, "content-length": body.length, ...common }).end(body);
  }
  response.writeHead(status, { "content-type": type ?? "text/event-stream; charset=utf-8", ...common });
  for (const [index, event] of events.entries()) {
    response.write(event);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    // Behind the first piece of text. Without it in the client's hands nothing more is said.
    if (entry?.feature === "stream" && index === hold && !(await within(PATIENCE, entry.first))) {
      entry.problems.push("the client did not get the first piece of a stream while the rest was not there yet");
    }
  }
  response.end();
}

function within(patience, promise) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, patience, false)));
  return Promise.race([promise.then(() => true), late]).finally(() => clearTimeout(timer));
}
