// What the Worker keeps in memory is bounded, whatever passes through it. `TOLLGATE_LONG=1` takes ten times as much of it;
// bench/soak.mjs does so for minutes.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { after, before, test } from "node:test";
import { Isolate, LIMIT_MB } from "../../../bench/isolate.mjs";
import { Gateway, until } from "../harness.mjs";

const SCALE = process.env.TOLLGATE_LONG === "1" ? 10 : 1;
const MB = 1 << 20;
const CHAT = { model: "gpt-4o", messages: [] };

let gw;
let pid;
let isolate;
before(async () => {
  gw = await Gateway.start({ runtime: { inspectorPort: 0 } });
  isolate = await Isolate.of(gw.miniflare, "tollgate");
  await gw.create("gw");
  await gw.create("retrying", { retry_max_attempts: 2 });
  pid = workerd();
});
after(() => {
  isolate.close();
  return gw.stop();
});

/** The process of the Worker; null where there is no /proc, and then sizes are not looked at. */
function workerd() {
  try {
    const stat = (id) => /^\d+ \((.*)\) \S (\d+)/s.exec(readFileSync(`/proc/${id}/stat`, "utf8"));
    return readdirSync("/proc").filter((id) => /^\d+$/.test(id)).find((id) => {
      const [, name, parent] = stat(id) ?? [];
      return name === "workerd" && Number(parent) === process.pid;
    });
  } catch {
    return null;
  }
}

/** Resident bytes of the Worker's process. It has the database in it, too. */
const resident = () => (pid ? Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024 : 0);

/** Does something and returns how much larger the Worker has been meanwhile than before. */
async function growth(work) {
  const before = resident();
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, resident())), 20);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(most, resident()) - before;
}

/** A request whose answer is only counted and hashed. `reading` is waited for before anything of it is read. */
function transfer(path, { gateway = "gw", body, headers, reading, onHead } = {}) {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${gw.url}/v1/acct/${gateway}/${path}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, agent: false }, async (answer) => {
      onHead?.(answer);
      await reading;
      const hash = createHash("sha256");
      let length = 0;
      answer.on("data", (chunk) => {
        hash.update(chunk);
        length += chunk.length;
      });
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, length, hash: hash.digest("hex"), complete: answer.complete }));
      answer.on("error", reject);
    });
    request.on("error", reject);
    if (body?.[Symbol.asyncIterator]) pump(body, request).catch(reject);
    else request.end(body ?? JSON.stringify(CHAT));
  });
}

async function pump(pieces, request) {
  for await (const piece of pieces) if (!request.write(piece)) await new Promise((go) => request.once("drain", go));
  request.end();
}

const hashOf = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
const repeated = (piece, times) => hashOf(...Array(times).fill(piece));

const event = (fields) => `data: ${JSON.stringify({ id: "chatcmpl-long", model: "gpt-4o", ...fields })}\n\n`;
const WORD = Buffer.from(event({ choices: [{ index: 0, delta: { content: "x".repeat(65_000) } }] }));
const ENDING = `${event({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}${event({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 100 } })}data: [DONE]\n\n`;

test("memory does not grow with the number of requests", async (t) => {
  const text = "x".repeat(50_000);
  gw.upstream.answer = ({ body }) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify({ id: "a", model: "gpt-4o", text: body.toString().slice(-50_000), usage: { prompt_tokens: 5, completion_tokens: 1 } }) });
  let sent = 0;
  const some = async (number) => {
    const one = async () => {
      for (; number > 0; ) {
        number -= 1;
        sent += 1;
        const answer = await gw.call("openai/chat/completions", { json: { ...CHAT, text, sent } });
        assert.equal(answer.status, 200);
        await answer.arrayBuffer();
      }
    };
    await Promise.all(Array.from({ length: 16 }, one));
    await until(async () => (await gw.rows("SELECT count(*) AS n FROM logs"))[0].n === sent, "all rows", 60_000);
  };
  // What is garbage does not count: without pressure V8 leaves it for long, and the process with it. To find the memory of
  // wasm, V8 removes it first.
  const kept = async () => {
    const wasm = await isolate.wasm();
    return wasm + (await isolate.heap());
  };
  await some(400);
  const [before, process] = [await kept(), resident()];
  await some(600 * SCALE);
  const [now, more] = [await kept(), resident() - process];
  gw.upstream.answer = undefined;
  const each = (now - before) / (600 * SCALE);
  t.diagnostic(`${(each / 1024).toFixed(1)} KB in the isolate for each request of 100 KB in all; ${Math.round(now / MB)} MB in the end, ${Math.round(more / MB)} MB more in the process`);
  // One of the bodies kept of each request would be 50 KB.
  assert.ok(each < 10 * 1024, `${each} bytes are kept of each request`);
});

test("hundreds of streams at once arrive whole, and each leaves its row", async (t) => {
  const [{ n: before }] = await gw.rows("SELECT count(*) AS n FROM logs");
  const number = 300 * Math.min(SCALE, 4);
  const events = Array.from({ length: 64 }, (_, n) => event({ choices: [{ index: 0, delta: { content: `${n} 🥚` } }] }));
  gw.upstream.answer = () => ({ events: [...events, ENDING], pause: 20 });
  const wanted = hashOf(...events, ENDING);
  let answers;
  let heap = 0;
  const timer = setInterval(async () => (heap = Math.max(heap, await isolate.heap())), 200);
  const more = await growth(async () => {
    answers = await Promise.all(Array.from({ length: number }, () => transfer("openai/chat/completions", { body: JSON.stringify({ ...CHAT, stream: true }) })));
  });
  clearInterval(timer);
  gw.upstream.answer = undefined;
  assert.ok(answers.every((answer) => answer.status === 200 && answer.complete && answer.hash === wanted));
  await until(async () => (await gw.rows("SELECT count(*) AS n FROM logs"))[0].n === before + number, "a row for each", 60_000);
  const [{ n }] = await gw.rows(`SELECT count(*) AS n FROM logs WHERE success = 1 AND tokens_out = 100 AND id IN (SELECT value FROM json_each(?1))`, JSON.stringify(answers.map(({ headers }) => headers["cf-aig-log-id"])));
  assert.equal(n, number);
  const wasm = await isolate.wasm();
  t.diagnostic(`${number} streams: ${Math.round(more / MB)} MB more at most; in the isolate ${Math.round(heap / MB)} MB of heap and ${Math.round(wasm / MB)} MB of wasm`);
  assert.ok(heap + wasm < LIMIT_MB * MB, "the memory of an isolate");
  // With its two connections, which take most of it.
  assert.ok(more < number * 1.5 * MB, `${more} bytes more`);
});

/** Clients that do not read until the provider cannot send any more, and then read everything. */
async function slowly(number, path, behaviour) {
  let go;
  const reading = new Promise((resolve) => (go = resolve));
  const first = gw.upstream.requests.length;
  for (let n = 0; n < number; n += 1) gw.upstream.next(behaviour);
  let heads = 0;
  const seen = () => gw.upstream.requests.slice(first).reduce((sum, { sent = 0 }) => sum + sent, 0);
  const before = resident();
  const answers = Promise.all(Array.from({ length: number }, () => transfer(path, { reading, onHead: () => (heads += 1) })));
  await until(() => heads === number, "all to begin", 30_000);
  let last = -1;
  await until(async () => {
    const now = seen();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return now === seen() && (last = now) >= 0;
  }, "the provider to be held back", 60_000);
  const held = resident() - before;
  go();
  return { held, sent: last, answers: await answers };
}

for (const [what, path, type, size] of [["audio", "openai/audio/speech", "audio/mpeg", 20], ["an event stream", "openai/chat/completions", "text/event-stream", 20]]) {
  test(`clients that read slowly hold ${what} back`, async (t) => {
    const number = 10 * SCALE;
    const times = (size * MB) / 65_536;
    const piece = type === "text/event-stream" ? WORD : Buffer.alloc(65_536, 7);
    const ending = type === "text/event-stream" ? ENDING : undefined;
    const { held, sent, answers } = await slowly(number, path, { piece, times, ending, headers: { "content-type": type } });
    const wanted = ending ? hashOf(...Array(times).fill(piece), ending) : repeated(piece, times);
    assert.ok(answers.every((answer) => answer.complete && answer.hash === wanted));
    for (const answer of answers) {
      const log = await gw.logOf(answer);
      assert.deepEqual([log.success, log.response_size], [true, answer.length]);
      if (ending) assert.deepEqual([log.tokens_in, log.tokens_out], [5, 100]);
    }
    t.diagnostic(`${number} × ${size} MB: ${Math.round(held / MB)} MB more, ${Math.round((sent * piece.length) / MB)} MB sent by the provider before anybody read`);
    assert.ok(sent < times * number * 0.6, "the provider was held back");
    assert.ok(held < number * 8 * MB + 60 * MB, `${held} bytes are held`);
  });
}

test("a long answer of unknown length is not kept, and its figures are read", async (t) => {
  const times = 1_600 * SCALE;
  gw.upstream.next({ piece: WORD, times, ending: ENDING, headers: { "content-type": "text/event-stream" } });
  let answer;
  const more = await growth(async () => (answer = await transfer("openai/chat/completions")));
  assert.deepEqual([answer.complete, answer.hash], [true, hashOf(...Array(times).fill(WORD), ENDING)]);
  const log = await gw.logOf(answer);
  assert.deepEqual([log.success, log.response_size, log.tokens_in, log.tokens_out, log.response_head], [true, answer.length, 5, 100, undefined]);
  t.diagnostic(`${Math.round(answer.length / MB)} MB: ${Math.round(more / MB)} MB more at most`);
  assert.ok(more < 150 * MB, `${more} bytes more`);
});

async function* upload(piece, times) {
  yield '{"model":"gpt-4o","text":"';
  for (let n = 0; n < times; n += 1) yield piece;
  yield '"}';
}

for (const gateway of ["gw", "retrying"]) {
  test(`a long upload of unknown length goes through, from a gateway ${gateway === "gw" ? "without retries" : "with them"}`, async (t) => {
    const piece = Buffer.alloc(65_536, "x");
    const times = 1_600 * SCALE;
    let answer;
    const more = await growth(async () => (answer = await transfer("openai/chat/completions", { gateway, body: upload(piece, times) })));
    assert.equal(answer.status, 200);
    const { body } = gw.upstream.last;
    assert.equal(hashOf(body), hashOf('{"model":"gpt-4o","text":"', ...Array(times).fill(piece), '"}'));
    const log = await gw.logOf(answer, gateway);
    // Its beginning names the model, and the answer agrees.
    assert.deepEqual([log.success, log.model, log.request_head], [true, "gpt-4o", undefined]);
    t.diagnostic(`${Math.round(body.length / MB)} MB: ${Math.round(more / MB)} MB more at most`);
    assert.ok(more < 150 * MB, `${more} bytes more`);
  });
}

test("long requests at once go through unkept", async (t) => {
  const number = 10 * Math.min(SCALE, 5);
  const body = JSON.stringify({ ...CHAT, text: "x".repeat(20 * MB) });
  const before = gw.upstream.requests.length;
  let answers;
  const more = await growth(async () => {
    answers = await Promise.all(Array.from({ length: number }, () => transfer("openai/chat/completions", { body, headers: { "content-length": body.length } })));
  });
  assert.ok(answers.every(({ status }) => status === 200));
  assert.ok(gw.upstream.requests.slice(before).every((seen) => seen.body.equals(Buffer.from(body))));
  for (const answer of answers) assert.deepEqual([(await gw.logOf(answer)).request_size, (await gw.logOf(answer)).success], [body.length, true]);
  t.diagnostic(`${number} × 20 MB: ${Math.round(more / MB)} MB more at most`);
  assert.ok(more < 200 * MB, `${more} bytes more`);
});

test("long requests that are to be kept share one bound, and what finds no room is sent once", async (t) => {
  const number = 40;
  const body = Buffer.from(JSON.stringify({ ...CHAT, text: "x".repeat(24 * MB - 100) }));
  const before = gw.upstream.requests.length;
  let answers;
  const more = await growth(async () => {
    answers = await Promise.all(Array.from({ length: number }, () => transfer("openai/chat/completions", { body, headers: { "content-length": body.length, "cf-aig-max-attempts": "2" } })));
  });
  assert.deepEqual(answers.map(({ status }) => status), Array(number).fill(200));
  assert.ok(gw.upstream.requests.slice(before).every((seen) => seen.body.equals(body)), "all of them arrive whole");
  const unkept = answers.filter(({ headers }) => /sent once and not kept/.test(headers["cf-aig-warning"] ?? ""));
  t.diagnostic(`${number} × 24 MB: ${Math.round(more / MB)} MB more at most, ${unkept.length} of them unkept`);
  assert.ok(unkept.length >= number / 2, `${unkept.length} were told`);
  const log = await gw.logOf(unkept[0]);
  assert.deepEqual([log.success, log.attempt, log.request_size], [true, 1, body.length]);
  assert.ok(more < 600 * MB, `${more} bytes more`);
  // A request that is alone finds room again.
  gw.upstream.next({ status: 500, headers: { "content-type": "application/json" }, body: "{}" });
  const alone = await transfer("openai/chat/completions", { body, headers: { "content-length": body.length, "cf-aig-max-attempts": "2", "cf-aig-retry-delay": "1" } });
  assert.deepEqual([alone.status, alone.headers["cf-aig-attempt"], alone.headers["cf-aig-warning"]], [200, "2", undefined]);
});

test("an error that never ends is not kept whole for another attempt", async (t) => {
  const piece = Buffer.alloc(65_536, 120);
  gw.upstream.next({ status: 500, headers: { "content-type": "text/plain" }, piece, times: 3_200 });
  // The provider's own error is what the client is told of.
  gw.upstream.next({ reset: true });
  let answer;
  const more = await growth(async () => (answer = await transfer("openai/chat/completions", { gateway: "retrying", headers: { "cf-aig-retry-delay": "1" } })));
  t.diagnostic(`${answer.length} bytes of 200 MB: ${Math.round(more / MB)} MB more at most`);
  assert.equal(answer.status, 500);
  assert.ok(answer.length > 0 && answer.length <= MB, `${answer.length}`);
  assert.match(answer.headers["cf-aig-warning"], /ends early/);
  assert.ok(more < 100 * MB, `${more} bytes more`);
});

test("a body that is too long for what reads it is refused, and not kept", async () => {
  const piece = Buffer.alloc(65_536, "x");
  for (const [path, limit] of [["compat/chat/completions", 25], ["", 16]]) {
    let answer;
    const more = await growth(async () => (answer = await transfer(path, { body: upload(piece, 1_600) })));
    assert.equal(answer.status, 413);
    assert.ok(more < (limit * 2 + 80) * MB, `${path}: ${more} bytes more`);
  }
});
