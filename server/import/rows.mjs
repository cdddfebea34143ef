// Export files as rows, read as they come: NDJSON, a JSON array, or CSV as RFC 4180 has it. A file may be longer than memory, and a row may not.
import * as fs from "node:fs";
import { TextDecoder } from "node:util";
import { Failure } from "../base.mjs";

/** A longer row is skipped, and listed, in characters. */
export const MOST = 16 * 1024 * 1024;

const ENCODINGS = [["utf-8", [0xef, 0xbb, 0xbf]], ["utf-16le", [0xff, 0xfe]], ["utf-16be", [0xfe, 0xff]]];

/** Yields `{number, row}`, or `{number, reason}` for what is no row. */
export async function* rowsOf(file) {
  const texts = decoded(file);
  const first = await texts.next();
  const text = first.done ? "" : first.value;
  const all = (async function* () {
    yield text;
    yield* texts;
  })();
  const start = text.trimStart()[0];
  if (start === "{") yield* jsonRows(split(all, "line"));
  else if (start === "[") yield* arrayRows(all);
  else yield* csvRows(all, separatorOf(text));
}

/** What stands between fields, by the header: spreadsheets of many countries write semicolons. */
function separatorOf(text) {
  const header = text.slice(0, Math.max(text.indexOf("\n"), 0) || text.length);
  const count = (separator) => header.split(separator).length;
  return [",", ";", "\t"].reduce((best, one) => (count(one) > count(best) ? one : best));
}

/** The text of a file. Bytes that are none are said, and not guessed. */
async function* decoded(file) {
  const head = Buffer.alloc(3);
  try {
    const handle = fs.openSync(file, "r");
    // Of a folder only this fails.
    fs.readSync(handle, head, 0, 3, 0);
    fs.closeSync(handle);
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${error.code}.`);
  }
  const [encoding] = ENCODINGS.find(([, mark]) => mark.every((byte, at) => head[at] === byte)) ?? ["utf-8"];
  const decoder = new TextDecoder(encoding, { fatal: true });
  const wrong = () => new Failure(`${file} is not in ${encoding.toUpperCase()}. Save it as UTF-8; for example: iconv -f WINDOWS-1252 -t UTF-8 ${file}`);
  for await (const bytes of fs.createReadStream(file, { highWaterMark: 1 << 20 })) {
    let text;
    try {
      text = decoder.decode(bytes, { stream: true });
    } catch {
      throw wrong();
    }
    if (text) yield text;
  }
  try {
    const rest = decoder.decode();
    if (rest) yield rest;
  } catch {
    // The file ends within a character: it was cut, which its last row will say.
    yield "\ufffd";
  }
}

/** Lines, or nothing where one is too long. */
async function* split(texts) {
  let [rest, skips] = ["", false];
  for await (const text of texts) {
    let from = 0;
    for (;;) {
      const end = text.indexOf("\n", from);
      const piece = end < 0 ? text.slice(from) : text.slice(from, end);
      if (!skips) rest += piece;
      if (rest.length > MOST) [rest, skips] = ["", true];
      if (end < 0) break;
      yield skips ? null : rest.replace(/\r$/, "");
      [rest, skips] = ["", false];
      from = end + 1;
    }
  }
  if (rest || skips) yield skips ? null : rest;
}

async function* jsonRows(lines) {
  let number = 0;
  for await (const line of lines) {
    number += 1;
    if (line === "") continue;
    yield read(number, line);
  }
}

function read(number, text) {
  if (text === null) return { number, reason: `the row is longer than ${MOST} characters` };
  try {
    const row = JSON.parse(text);
    if (row && typeof row === "object" && !Array.isArray(row)) return { number, row };
    return { number, reason: "the row is no JSON object" };
  } catch (error) {
    return { number, reason: `the row is no JSON: ${error.message}` };
  }
}

/** The elements of an array, each found by its brackets. */
async function* arrayRows(texts) {
  let [element, depth, isText, escaped, number, skips, ended] = ["", 0, false, false, 0, false, false];
  for await (const text of texts) {
    let from = depth > 1 ? 0 : -1;
    for (let at = 0; at < text.length; at += 1) {
      const char = text[at];
      if (isText) {
        if (escaped) escaped = false;
        else if (char === "\\") escaped = true;
        else if (char === '"') isText = false;
        continue;
      }
      if (char === '"') isText = true;
      else if (char === "{" || char === "[") {
        depth += 1;
        if (depth === 2) from = at;
      } else if (char === "}" || char === "]") {
        depth -= 1;
        if (depth === 1) {
          number += 1;
          element += text.slice(Math.max(from, 0), at + 1);
          yield skips || element.length > MOST ? read(number, null) : read(number, element);
          [element, skips, from] = ["", false, -1];
        }
        if (depth === 0) ended = true;
      }
    }
    if (depth > 1) element += text.slice(Math.max(from, 0));
    if (element.length > MOST) [element, skips] = ["", true];
  }
  if (!ended) yield { number: number + 1, reason: "the file ends within its array: it was cut" };
}

async function* csvRows(texts, separator) {
  let [names, number] = [null, 0];
  for await (const { fields, isCut, isLong } of records(texts, separator)) {
    if (fields.length === 1 && fields[0] === "" && !isLong) continue;
    if (!names) {
      names = fields.map((name) => name.trim());
      continue;
    }
    number += 1;
    if (isLong) yield { number, reason: `the row is longer than ${MOST} characters` };
    else if (isCut) yield { number, reason: "the file ends within a quoted field: it was cut" };
    else if (fields.length !== names.length) yield { number, reason: `the row has ${fields.length} fields, and the header ${names.length}` };
    else yield { number, row: Object.fromEntries(names.map((name, at) => [name, fields[at]])) };
  }
}

/** Records of CSV: fields in quotes have separators, line ends and doubled quotes. */
async function* records(texts, separator) {
  let [fields, field, quoted, closing, length] = [[], "", false, false, 0];
  const record = (isCut = false) => {
    const done = { fields: [...fields, field], isCut, isLong: length > MOST };
    [fields, field, quoted, closing, length] = [[], "", false, false, 0];
    return done;
  };
  const add = (text) => {
    length += text.length;
    if (length <= MOST) field += text;
  };
  for await (const text of texts) {
    for (let at = 0; at < text.length; at += 1) {
      const char = text[at];
      if (closing) {
        closing = false;
        if (char === '"') {
          add('"');
          continue;
        }
        quoted = false;
      }
      if (quoted) {
        const end = text.indexOf('"', at);
        add(end < 0 ? text.slice(at) : text.slice(at, end));
        if (end < 0) break;
        [at, closing] = [end, true];
      } else if (char === '"' && field === "") quoted = true;
      else if (char === separator) {
        fields.push(field);
        field = "";
      } else if (char === "\n") yield record();
      else if (char !== "\r") add(char);
    }
  }
  if (quoted && !closing) yield record(true);
  else if (field !== "" || fields.length > 0) yield record();
}
