// What would take Rust many crossings into JavaScript, each in one. Every request passes here.
import { waitUntil } from "cloudflare:workers";

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

function described(answer, headers) {
  return JSON.stringify([answer.status, headers, Date.now()]);
}

/**
 * Sends a request with the headers of another one, which are changed first. Gives the answer, what `answerHead` says of it,
 * and if it is `wanted` and short, all of it, or why that did not come.
 */
export async function send(url, method, headers, edits, body, signal, wanted) {
  const init = { method, headers: edited(new Headers(headers), edits), body, signal, redirect: "manual" };
  const answer = await fetch(url, init);
  const fields = Object.fromEntries(answer.headers);
  const head = described(answer, fields);
  // Nobody waits for the rest of an error when there may be another attempt.
  if (!wanted || method === "HEAD" || !answer.ok || BODILESS.includes(answer.status) || !isShort(fields)) return [answer, head];
  try {
    return [answer, head, await answer.arrayBuffer()];
  } catch (error) {
    return [answer, head, undefined, error];
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
    else {
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
