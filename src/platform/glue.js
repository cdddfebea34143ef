// What would take Rust many crossings into JavaScript, each in one. Every request passes here.
import { waitUntil } from "cloudflare:workers";
import { current, hasEnded } from "../logs/crash.js";

/** Answers of up to so many bytes are short. */
const SHORT = 65_536;

/** A module of the runtime's own. Its name is put together so that the bundler does not look for it. */
const ZLIB = ["node", "zlib"].join(":");

/** The statuses of successes that have no body, whatever their headers say. */
const BODILESS = [204, 205];

// Rust wakes its tasks by this. The runtime's own wraps every task in a new native function, which costs five times what a
// promise does. Like that one, it reports what a task throws, which is how a trap gets into the operator's log.
globalThis.queueMicrotask = (task) => void Promise.resolve().then(task).catch((error) => reportError(error));

/** Keeps the request that is being answered going until the function that is returned is called. */
export function hold() {
  const { promise, resolve } = Promise.withResolvers();
  waitUntil(promise);
  return resolve;
}

/** A request but for its body, as JSON. */
export function requestHead(request) {
  return JSON.stringify([request.method, request.url, Object.fromEntries(request.headers)]);
}

/** An answer but for its body, as JSON: its status, its headers, and when it was there. */
export function answerHead(answer) {
  return described(answer, Object.fromEntries(answer.headers));
}

/** Several cookies of an answer come to Rust as lines. */
const COOKIES = "set-cookie";

function described(answer, headers) {
  if (headers[COOKIES] !== undefined) headers[COOKIES] = answer.headers.getSetCookie().join("\n");
  return JSON.stringify([answer.status, headers, Date.now()]);
}

/**
 * Sends a request with the headers of another one, which are changed first. The answer has to begin within `firstByte`
 * milliseconds, and not to pause for longer than `idle`; 0 is for ever. Gives the answer, what `answerHead` says of it, the
 * watch over the rest of it, and if it is short all of it, or why that did not come.
 */
export async function send(url, method, headers, edits, body, client, firstByte, isOfGateway, idle) {
  const watch = firstByte > 0 || idle > 0 ? new Watch(firstByte, isOfGateway, idle) : undefined;
  const signal = watch === undefined ? client : AbortSignal.any([client, watch.signal]);
  const init = { method, headers: edited(new Headers(headers), edits), body, signal, redirect: "manual" };
  let answer;
  try {
    answer = await fetch(url, init);
  } catch (error) {
    watch?.end();
    throw watch?.reason ?? error;
  }
  watch?.answered();
  const fields = Object.fromEntries(answer.headers);
  const head = described(answer, fields);
  // The rest of an error is not waited for when there may be another attempt.
  if (method === "HEAD" || !answer.ok || BODILESS.includes(answer.status) || !isShort(fields)) return [answer, head, watch];
  try {
    return [answer, head, watch, await taken(answer, Number(fields["content-length"]), watch)];
  } catch (error) {
    return [answer, head, watch, undefined, error];
  }
}

/**
 * A timer keeps its request alive. Of one whose instance has crashed the timer stays, so none runs for longer than
 * this, in milliseconds, without a look whether the instance is still there.
 */
const LOOK_MS = 2_000;

/**
 * Ends a call to a provider that does not answer, or whose answer comes to a stop. All of a call has one timer: it goes off
 * after the shorter of the two times, or sooner, looks how far the call is, and is set again to what is left. So most calls
 * set it once, and what comes in between only notes the time.
 */
export class Watch {
  /** Why the call was ended. */
  reason = undefined;
  #stop = new AbortController();
  #since = Date.now();
  #limit;
  #words;
  #idle;
  #timer = undefined;
  #isHeld = false;
  #instance = current();

  constructor(firstByte, isOfGateway, idle) {
    this.#limit = firstByte;
    this.#words = isOfGateway
      ? () => `no answer began within ${firstByte / 1000} s, the first_byte_timeout of the gateway`
      : () => `no answer began within ${firstByte} ms`;
    this.#idle = idle;
    this.#set(firstByte);
  }

  get signal() {
    return this.#stop.signal;
  }

  /** The head of the answer is there. */
  answered() {
    this.#limit = this.#idle;
    this.#words = () => `nothing more of the answer came for ${this.#idle / 1000} s, the idle_timeout of the gateway`;
    this.came();
    if (this.#idle === 0) this.end();
  }

  /** Something came. */
  came() {
    this.#since = Date.now();
  }

  /** While the client is waited for, the provider need not send anything. */
  hold(isHeld) {
    this.#isHeld = isHeld;
    this.#since = Date.now();
  }

  /** There is nothing to watch over any more. */
  end() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Ends the call. */
  stop() {
    this.end();
    this.#stop.abort(this.reason);
  }

  #set(left) {
    // Never later than the answer may have come to a stop by then.
    const next = Math.min(left || Infinity, this.#idle || Infinity);
    this.#timer = next === Infinity ? undefined : setTimeout(() => this.#look(), Math.min(next, LOOK_MS));
  }

  #look() {
    if (hasEnded(this.#instance)) return this.end();
    if (this.#isHeld || this.#limit === 0) return this.#set(0);
    const left = this.#since + this.#limit - Date.now();
    if (left > 0) return this.#set(left);
    // What is worth another attempt passes for a lost connection, which it is for the client: of any other error the runtime
    // tells the operator, as of a fault of ours.
    this.reason = Object.assign(new Error(this.#words()), { retryable: true, waited: this.#limit });
    this.stop();
  }
}

/** All of an answer. `length` is 0 where it is not known. */
export async function taken(answer, length, watch) {
  if (watch === undefined || answer.body === null) return answer.arrayBuffer();
  try {
    return length > 0 ? await filled(answer.body, length, watch) : await gathered(answer.body, watch);
  } catch (error) {
    throw watch.reason ?? error;
  } finally {
    watch.end();
  }
}

/** A stream of known length. It mostly comes with the first read. */
async function filled(stream, length, watch) {
  const reader = stream.getReader({ mode: "byob" });
  let [buffer, offset] = [new ArrayBuffer(length), 0];
  while (offset < length) {
    const { value, done } = await reader.read(new Uint8Array(buffer, offset));
    if (done) throw new Error("it is shorter than its content-length");
    watch.came();
    buffer = value.buffer;
    offset += value.byteLength;
  }
  return buffer;
}

async function gathered(stream, watch) {
  const chunks = [];
  for await (const chunk of stream) {
    watch.came();
    chunks.push(chunk);
  }
  return new Blob(chunks).arrayBuffer();
}

/** How much of a file is moved at once, in bytes. */
const PUMPED = 131_072;

/**
 * Moves a stream into a pipe as it comes, for the native pipe does not tell when nothing comes any more. Gives how many bytes
 * were moved, and what went wrong.
 */
export async function pump(stream, writable, watch) {
  const [reader, writer] = [stream.getReader({ mode: "byob" }), writable.getWriter()];
  let [buffer, count] = [new ArrayBuffer(PUMPED), 0];
  try {
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(buffer));
      if (done) break;
      watch?.hold(true);
      await writer.write(value);
      watch?.hold(false);
      count += value.byteLength;
      // The pipe's reader has these bytes by now, so that their place can be used again.
      buffer = value.buffer;
    }
    watch?.end();
    await writer.close();
    return [count];
  } catch (error) {
    watch?.end();
    // Whichever side is left learns of it: the client sees the break, or the provider is told to stop.
    await Promise.allSettled([writer.abort(error), reader.cancel(error)]);
    return [count, watch?.reason ?? error];
  }
}

/** Whether a document of known length comes in a moment, so that it may as well be waited for. */
function isShort({ "content-type": type, "content-length": length, "content-encoding": encoding }) {
  return encoding === undefined && length > 0 && length <= SHORT && type?.startsWith("application/json") === true;
}

/** The given answer with another body, and with headers that are changed. */
export function answered(answer, body, edits) {
  const made = new Response(body, answer);
  edited(made.headers, edits);
  return made;
}

/** Changes headers as a JSON list of names and values says; a value of null removes. */
export function edited(headers, edits) {
  for (const [name, value] of JSON.parse(edits)) {
    if (value === null) headers.delete(name);
    else if (name === COOKIES) {
      headers.delete(name);
      for (const cookie of value.split("\n")) headers.append(name, cookie);
    } else {
      try {
        headers.set(name, value);
      } catch {
        // What is no header is not sent as one.
      }
    }
  }
  return headers;
}

/**
 * Tells of the messages of a WebSocket, and once of its end, whichever way it comes. After that nothing is called any more, so
 * that what listens can be dropped; the end comes apart, because an event that is being told of must not lose its listener.
 */
export function listen(socket, received, ended) {
  let isOpen = true;
  socket.addEventListener("message", ({ data }) => isOpen && received(data));
  const end = () => {
    if (!isOpen) return;
    isOpen = false;
    queueMicrotask(ended);
  };
  socket.addEventListener("close", end);
  socket.addEventListener("error", end);
}

/**
 * Joins the two ends of a WebSocket. Messages of the client go to Rust, which sends them on; those of the provider go to the
 * client at once and to Rust behind that, but for short ones where `mayShowKey`: Rust gives back what is to go in their place.
 * The end is told once, with the code and the reason of the side that ended it.
 */
export function join(client, provider, mayShowKey, fromClient, fromProvider, ended) {
  const instance = current();
  let isOpen = true;
  // Otherwise the runtime would give bytes as something that has to be waited for, and messages would change their order.
  client.binaryType = provider.binaryType = "arraybuffer";
  const end = (byClient, code, reason) => {
    if (!isOpen) return;
    isOpen = false;
    // An instance that has crashed can be told of nothing. Its responses are not counted any more, so that none goes on.
    if (hasEnded(instance)) return [client, provider].forEach((socket) => shut(socket, 1011, "Tollgate has crashed"));
    queueMicrotask(() => ended(byClient, code, reason));
  };
  const isAlive = () => {
    if (isOpen && hasEnded(instance)) end(false, 1011, "");
    return isOpen;
  };
  client.addEventListener("message", ({ data }) => isAlive() && fromClient(data));
  provider.addEventListener("message", ({ data }) => {
    if (!isAlive()) return;
    const isHeld = mayShowKey && (data.length ?? data.byteLength) <= SHORT;
    if (!isHeld) deliver(client, data);
    const masked = fromProvider(data);
    if (isHeld) deliver(client, masked ?? data);
  });
  for (const [socket, byClient] of [[client, true], [provider, false]]) {
    socket.addEventListener("close", ({ code, reason }) => end(byClient, code, reason));
    socket.addEventListener("error", () => end(byClient, 1006, ""));
    socket.accept();
  }
}

/** A text as bytes. For a long one this takes a fraction of the time that bringing it to Rust as a text does. */
export function encoded(text) {
  return new TextEncoder().encode(text);
}

/** Sends to a side that may have left. */
export function deliver(socket, data) {
  try {
    socket.send(data);
    return true;
  } catch {
    return false;
  }
}

/** Closes with a code that was told, or one that may be told in its place: some only say how a connection ended. */
export function shut(socket, code, reason) {
  const told = code >= 1000 && code < 5000 && ![1004, 1005, 1006, 1015].includes(code);
  try {
    if (told) socket.close(code, reason);
    else if (code === 1005) socket.close();
    else socket.close(1011, reason);
  } catch {
    // It is closed already.
  }
}

/**
 * What was packed in some ways, one after the other, if it is no more than `most` bytes; otherwise the reason. The runtime
 * stops at the bound, and at windows of more than 16 MB, which a body may ask for in a few bytes.
 */
export async function unpacked(buffer, codings, most) {
  const zlib = await import(ZLIB);
  const plain = { maxOutputLength: most };
  const ways = {
    gzip: [(packed) => zlib.gunzipSync(packed, plain)],
    deflate: [(packed) => zlib.inflateSync(packed, plain), (packed) => zlib.inflateRawSync(packed, plain)],
    br: [(packed) => zlib.brotliDecompressSync(packed, plain)],
    zstd: [(packed) => zlib.zstdDecompressSync(packed, { ...plain, params: { [zlib.constants.ZSTD_d_windowLogMax]: 24 } })],
  };
  ways["x-gzip"] = ways.gzip;
  const steps = codings.split(",").reverse().map((coding) => (Object.hasOwn(ways, coding) ? ways[coding] : undefined));
  if (steps.length > 3 || steps.includes(undefined)) return "unknown";
  let bytes = new Uint8Array(buffer);
  for (const step of steps) {
    let failed;
    const found = step.some((way) => {
      try {
        bytes = way(bytes);
        return true;
      } catch (error) {
        failed ??= error;
        return false;
      }
    });
    if (!found) return /memory limit/i.test(failed.message) ? "long" : "broken";
  }
  // A buffer of Node's may be a part of a larger one.
  return bytes.buffer.byteLength === bytes.byteLength ? bytes.buffer : bytes.slice().buffer;
}
