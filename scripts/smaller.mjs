// Makes a built Worker smaller for gzip, without a change of what it does. Its functions come into an order in which gzip finds more of what
// they share, for it looks no farther back than 32 KB. And what wasm and script call each other loses the hashes in its names.

/** Sequences of so many bytes are looked for, one of four of them, unless more functions than this have them. */
const [LENGTH, ONE_OF, COMMON] = [8, 4, 800];
/** How often the functions of two halves are exchanged. */
const ROUNDS = 12;

class Reader {
  constructor(bytes, at = 0) {
    Object.assign(this, { bytes, at });
  }
  number() {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = this.bytes[this.at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }
  /** Passes a number and so many bytes. */
  pass() {
    const length = this.number();
    this.at += length;
  }
  /** Where the bytes begin that a number stands before. */
  after() {
    this.number();
    return this.at;
  }
  skip(count) {
    while (count-- > 0) while (this.bytes[this.at++] & 0x80);
  }
  /** Passes what stands behind the number of an instruction on vectors: an address, sixteen bytes, or a lane. */
  vector(code) {
    if (code <= 0x0b || (code >= 0x54 && code <= 0x5d)) this.skip(2);
    if (code === 0x0c || code === 0x0d) this.at += 16;
    if ((code >= 0x15 && code <= 0x22) || (code >= 0x54 && code <= 0x5b)) this.at++;
  }
  /** Calls `found` with the place of each number of a function in an expression. */
  instructions(found) {
    for (let depth = 1; depth > 0 && this.at < this.bytes.length; ) {
      const code = this.bytes[this.at++];
      if (code === 0x0b || code === 0x18) depth--;
      if ((code >= 0x02 && code <= 0x04) || code === 0x06 || code === 0x1f) depth++;
      if (code === 0x10 || code === 0x12 || code === 0xd2) {
        found(this.at);
        this.skip(1);
      } else if (code === 0x0e) this.skip(this.number() + 1);
      else if (code === 0x1c) this.pass();
      else if (code === 0x1f) {
        this.skip(1);
        for (let left = this.number(); left > 0; left--) this.skip(this.bytes[this.at++] < 2 ? 2 : 1);
      } else if (code === 0xfc) this.skip([0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1][this.number()]);
      else if (code === 0xfd) this.vector(this.number());
      else if (code === 0x43) this.at += 4;
      else if (code === 0x44) this.at += 8;
      else if (code === 0x11 || code === 0x13 || (code >= 0x28 && code <= 0x3e)) this.skip(2);
      else if (ONE_NUMBER.has(code)) this.skip(1);
      else if (code > 0xc4 && code !== 0xd1) throw new Error(`smaller.mjs does not know the instruction 0x${code.toString(16)}`);
    }
  }
}

const ONE_NUMBER = new Set([0x02, 0x03, 0x04, 0x06, 0x07, 0x08, 0x09, 0x0c, 0x0d, 0x18, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x3f, 0x40, 0x41, 0x42, 0xd0]);

function written(number) {
  const bytes = [];
  for (; number > 0x7f; number = Math.floor(number / 128)) bytes.push((number & 0x7f) | 0x80);
  return Buffer.from([...bytes, number]);
}

/** The sequences of each function that others have as well, as small numbers. */
function shared(bodies) {
  const owners = new Map();
  bodies.forEach((body, index) => {
    for (let at = 0; at + LENGTH <= body.length; at++) {
      const hash = (Math.imul(body.readUInt32LE(at), 0x9e3779b1) ^ Math.imul(body.readUInt32LE(at + 4), 0x85ebca6b)) >>> 0;
      if ((hash >>> 7) % ONE_OF > 0) continue;
      const known = owners.get(hash);
      if (!known) owners.set(hash, [index]);
      else if (known.at(-1) !== index) known.push(index);
    }
  });
  const features = bodies.map(() => []);
  let number = 0;
  for (const known of owners.values()) {
    if (known.length < 2 || known.length > COMMON) continue;
    for (const index of known) features[index].push(number);
    number++;
  }
  return { features, number };
}

/** An order in which what functions of one half have is in few of the other, and so within each half. */
function halved(functions, features, counts, logs) {
  if (functions.length < 6) return functions;
  const half = functions.length >> 1;
  const sides = [functions.slice(0, half), functions.slice(half)];
  const gain = (index, own, other) => features[index].reduce((sum, feature) => {
    const [here, there] = [own[feature], other[feature]];
    return here + there < 2 ? sum : sum + (here - 1) * logs[here - 1] + (there + 1) * logs[there + 1] - here * logs[here] - there * logs[there];
  }, 0);
  const count = (side, index, by) => features[index].forEach((feature) => (counts[side][feature] += by));
  sides.forEach((side, which) => side.forEach((index) => count(which, index, 1)));
  for (let round = 0, moved = 1; round < ROUNDS && moved > 0; round++) {
    const ranked = sides.map((side, which) => side.map((index) => [gain(index, counts[which], counts[1 - which]), index]).sort((a, b) => b[0] - a[0] || a[1] - b[1]));
    for (moved = 0; moved < half && ranked[0][moved][0] + ranked[1][moved][0] > 0; moved++) {
      const [[, left], [, right]] = [ranked[0][moved], ranked[1][moved]];
      [ranked[0][moved], ranked[1][moved]] = [ranked[1][moved], ranked[0][moved]];
      for (const [side, index, by] of [[0, left, -1], [1, left, 1], [1, right, -1], [0, right, 1]]) count(side, index, by);
    }
    sides.forEach((side, which) => ranked[which].forEach(([, index], at) => (side[at] = index)));
  }
  sides.forEach((side, which) => side.forEach((index) => count(which, index, -1)));
  return sides.flatMap((side) => halved(side.sort((a, b) => a - b), features, counts, logs));
}

/** Imports with short names, and how many of them are functions: these have the first numbers. */
function renamed(content) {
  const reader = new Reader(content);
  const [shortened, made] = [new Map(), []];
  let [functions, last] = [0, 0];
  for (let left = reader.number(); left > 0; left--) {
    reader.pass();
    const place = reader.at;
    reader.pass();
    const name = content.toString("utf8", new Reader(content, place).after(), reader.at);
    if (/^__wb\w+_[0-9a-f]{16}$/.test(name)) {
      const short = `_${shortened.size.toString(36)}`;
      shortened.set(name, short);
      made.push(content.subarray(last, place), written(short.length), Buffer.from(short));
      last = reader.at;
    }
    const kind = content[reader.at++];
    if (kind === 0) functions++;
    if (kind === 1 || kind === 3 || kind === 4) reader.at++;
    if (kind === 1 || kind === 2) reader.skip(reader.number() & 1 ? 2 : 1);
    else if (kind === 3) reader.at++;
    else reader.skip(1);
  }
  return { content: Buffer.concat([...made, content.subarray(last)]), shortened, functions };
}

const one = (reader, found) => {
  found(reader.at);
  reader.skip(1);
};

/** How the numbers of functions are found in sections of these ids: globals, exports, the start and the elements of tables. */
const SECTIONS = new Map([
  [6, (reader, found) => {
    for (let left = reader.number(); left > 0; left--) {
      reader.at += 2;
      reader.instructions(found);
    }
  }],
  [7, (reader, found) => {
    for (let left = reader.number(); left > 0; left--) {
      reader.pass();
      if (reader.bytes[reader.at++] === 0) one(reader, found);
      else reader.skip(1);
    }
  }],
  [8, one],
  [9, (reader, found) => {
    for (let left = reader.number(); left > 0; left--) {
      const flags = reader.number();
      if ((flags & 3) === 2) reader.skip(1);
      if (!(flags & 1)) reader.instructions(found);
      if (flags & 3) reader.at++;
      for (let all = reader.number(); all > 0; all--) flags & 4 ? reader.instructions(found) : one(reader, found);
    }
  }],
]);

/** In the code of a function, behind its locals. */
const body = (reader, found) => {
  for (let groups = reader.number(); groups > 0; groups--) {
    reader.skip(1);
    reader.at++;
  }
  reader.instructions(found);
};

/** Bytes with other numbers of functions. */
function renumbered(bytes, places, walk) {
  const made = [];
  let last = 0;
  walk(new Reader(bytes), (at) => {
    const old = new Reader(bytes, at);
    const index = old.number();
    made.push(bytes.subarray(last, at), written(places.get(index) ?? index));
    last = old.at;
  });
  return Buffer.concat([...made, bytes.subarray(last)]);
}

/**
 * The wasm and the script of a Worker, smaller. The names of functions, a tenth of what would be uploaded, are left out as well: cargo's
 * `strip` would take along a section that wasm-bindgen needs.
 */
export function smaller(wasm, script) {
  const sections = [];
  for (const reader = new Reader(wasm, 8); reader.at < wasm.length; ) {
    const id = wasm[reader.at++];
    const length = reader.number();
    sections.push({ id, content: wasm.subarray(reader.at, (reader.at += length)) });
  }
  const section = (id) => sections.find((section) => section.id === id);
  const imports = renamed(section(2).content);
  section(2).content = imports.content;
  const code = new Reader(section(10).content);
  const bodies = Array.from({ length: code.number() }, () => {
    const length = code.number();
    return code.bytes.subarray(code.at, (code.at += length));
  });
  const { features, number } = shared(bodies);
  const logs = Float64Array.from({ length: bodies.length + 2 }, (_, index) => Math.log2(index + 1));
  const order = halved(bodies.map((_, index) => index), features, [new Int32Array(number), new Int32Array(number)], logs);
  const places = new Map(order.map((index, place) => [index + imports.functions, place + imports.functions]));
  for (const found of sections.filter(({ id }) => SECTIONS.has(id))) found.content = renumbered(found.content, places, SECTIONS.get(found.id));
  const types = new Reader(section(3).content);
  const typed = Array.from({ length: types.number() }, () => types.number());
  section(3).content = Buffer.concat([written(order.length), ...order.map((index) => written(typed[index]))]);
  const moved = order.map((index) => renumbered(bodies[index], places, body));
  section(10).content = Buffer.concat([written(order.length), ...moved.flatMap((bytes) => [written(bytes.length), bytes])]);
  const isNames = ({ id, content }) => id === 0 && content.toString("utf8", 1, 1 + content[0]) === "name";
  const made = sections.filter((section) => !isNames(section)).flatMap(({ id, content }) => [Buffer.from([id]), written(content.length), content]);
  return {
    wasm: Buffer.concat([wasm.subarray(0, 8), ...made]),
    script: script.replace(/\b__wb\w+/g, (name) => imports.shortened.get(name) ?? name),
  };
}
