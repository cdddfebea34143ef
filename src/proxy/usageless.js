// Takes out of a stream of chat completions what the gateway asked for in the client's place: the last chunk, which has the
// usage and no choices, and the members `"usage": null` that the other chunks have because of it.

const TEXT = new TextDecoder();

/** How much is moved at once, in bytes. An event that is longer passes as it is. */
const BLOCK = 65_536;

const LINE = 0x0a;
const RETURN = 0x0d;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;

/** `"usage"` and `null` in bytes. */
const [USAGE, NULL] = ['"usage"', "null"].map((text) => new TextEncoder().encode(text));

/**
 * Moves a stream into a pipe without what was not asked for. Whole events go on as soon as they are there, and what has come of
 * the next one waits for its end, before which no client can read it. Fails as a native pipe does.
 */
export async function usageless(stream, writable) {
  const [reader, writer] = [stream.getReader({ mode: "byob" }), writable.getWriter()];
  let [buffer, held, isLong] = [new ArrayBuffer(BLOCK), 0, false];
  const send = async (length) => {
    if (length > 0) await writer.write(new Uint8Array(buffer, 0, length));
  };
  try {
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(buffer, held));
      buffer = value.buffer;
      const bytes = new Uint8Array(buffer, 0, held + value.byteLength);
      if (done) {
        await send(isLong ? bytes.length : cut(bytes, 0));
        break;
      }
      let end = lastEnd(bytes);
      // Of an event that is too long to wait for, the rest goes on as well.
      const from = isLong && end > 0 ? firstEnd(bytes) : 0;
      if (end > 0) isLong = false;
      const keep = end > 0 ? cut(bytes.subarray(0, end), from) : 0;
      const rest = bytes.length - end;
      if (isLong || (end === 0 && rest === BLOCK)) {
        isLong = true;
        end = bytes.length;
        await send(end);
      } else {
        await send(keep);
      }
      held = bytes.length - end;
      if (held > 0) new Uint8Array(buffer).copyWithin(0, end, bytes.length);
    }
    await writer.close();
  } catch (error) {
    // Whichever side is left learns of it: the client sees the break, or the provider is told to stop.
    await Promise.allSettled([writer.abort(error), reader.cancel(error)]);
    throw error;
  }
}

/** The same for a stream that is there as a whole. */
export function usagelessWhole(buffer) {
  const bytes = new Uint8Array(buffer.slice(0));
  return bytes.slice(0, cut(bytes, 0)).buffer;
}

/** Where the last whole event ends; 0 where none does. */
function lastEnd(bytes) {
  for (let at = bytes.length; at > 1; at -= 1) if (isEnd(bytes, at)) return at;
  return 0;
}

function firstEnd(bytes) {
  for (let at = 2; at <= bytes.length; at += 1) if (isEnd(bytes, at)) return at;
  return bytes.length;
}

/** Whether an empty line ends there. */
function isEnd(bytes, at) {
  if (bytes[at - 1] !== LINE) return bytes[at - 1] === RETURN && bytes[at - 2] === RETURN;
  return bytes[at - 2] === LINE || (bytes[at - 2] === RETURN && bytes[at - 3] === LINE);
}

/**
 * Takes out of whole events what was not asked for, in their place, from a place on. Gives what length is left. Byte by byte in
 * JavaScript is cheaper than a call of the runtime for each event, of which most streams have one in each block.
 */
function cut(bytes, from) {
  let [length, done] = [0, 0];
  const drop = (start, end) => {
    if (done > 0) bytes.copyWithin(length, done, start);
    length += start - done;
    done = end;
  };
  let [event, depth, quoted, found] = [from, 0, false, []];
  for (let at = from; at <= bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === LINE || byte === RETURN || byte === undefined) {
      [depth, quoted] = [0, false];
      if (byte !== undefined && !isEnd(bytes, at + 1)) continue;
      const end = Math.min(at + 1, bytes.length);
      for (const place of found) {
        const part = unasked(bytes, event, place, end);
        if (part) drop(...part);
        if (part?.[1] === end) break;
      }
      if (found.length > 0) found = [];
      event = end;
    } else if (quoted) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) {
      quoted = true;
      if (depth === 1 && isAt(bytes, at, USAGE)) found.push(at);
    } else if ((byte | 0x20) === 0x7b) depth += 1;
    else if ((byte | 0x20) === 0x7d) depth -= 1;
  }
  if (done === 0) return bytes.length;
  drop(bytes.length, bytes.length);
  return length;
}

function isAt(bytes, at, text) {
  for (let next = 0; next < text.length; next += 1) if (bytes[at + next] !== text[next]) return false;
  return true;
}

/**
 * Which part of an event was not asked for, of which a member `usage` is at a place: all of it, the member with one of its
 * commas, or none.
 */
function unasked(bytes, event, place, end) {
  const colon = past(bytes, place + USAGE.length);
  if (bytes[colon] !== COLON) return undefined;
  const value = past(bytes, colon + 1);
  if (bytes[value] === OPEN) return isUsageChunk(bytes.subarray(event, end)) ? [event, end] : undefined;
  if (!isAt(bytes, value, NULL)) return undefined;
  const behind = past(bytes, value + NULL.length);
  if (bytes[behind] === COMMA) return [place, behind + 1];
  let before = place - 1;
  while (isSpace(bytes[before])) before -= 1;
  return bytes[before] === COMMA ? [before, value + NULL.length] : undefined;
}

function isSpace(byte) {
  return byte === 0x20 || byte === 0x09;
}

/** The next place that has no blank. */
function past(bytes, at) {
  while (isSpace(bytes[at])) at += 1;
  return at;
}

/** Whether an event is the chunk that has the usage: without choices, it adds nothing to the answer. */
function isUsageChunk(bytes) {
  try {
    const { choices } = JSON.parse(/^data:(.*)$/m.exec(TEXT.decode(bytes))[1]);
    return Array.isArray(choices) && choices.length === 0;
  } catch {
    return false;
  }
}
