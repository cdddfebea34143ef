// OpenAI's own clients over WebSockets, with a token alone: npm's here, PyPI's where a Python has it.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { execFile } from "node:child_process";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { ResponsesWS } from "openai/resources/responses/ws";
import { WebSocket } from "ws";
import { Providers } from "../../websockets.mjs";
import { ACCOUNT, Gateway, TOKEN, until } from "../harness.mjs";

let gw;
let providers;
before(async () => {
  providers = await Providers.start();
  gw = await Gateway.start({ bindings: { PROVIDER_BASE_URLS: JSON.stringify(providers.baseUrls) } });
});
after(async () => {
  await gw.stop();
  await providers.stop();
});

/** A gateway with a stored key, whose budget is used up by some responses. */
async function stored(id, limit) {
  await gw.create(id, { authentication: true, spend_limits: { enabled: true, rules: [{ id: "all", limit, limitType: "cost", window: 3600 }] } });
  const made = await gw.api(`/gateways/${id}/provider_configs`, { method: "POST", body: JSON.stringify({ provider_slug: "openai", alias: "default", default_config: true, secret: "sk-stored-key-of-the-gateway-1234", secret_id: "1" }) });
  assert.equal(made.status, 200, await made.text());
  return `${gw.url}/v1/${ACCOUNT}/${id}/openai`;
}

async function logs(id, count) {
  let found = [];
  await until(async () => (found = await gw.rows("SELECT logs.* FROM logs JOIN gateways ON gateways.key = logs.gateway WHERE gateways.id = ? ORDER BY logs.id", id)).length >= count, `${count} rows of ${id}`);
  assert.equal(found.length, count);
  return found;
}

test("npm's client for responses", async () => {
  const client = new OpenAI({ apiKey: TOKEN, baseURL: await stored("npm", 0.0003) });
  const socket = new ResponsesWS(client);
  const heard = [];
  socket.on("error", (error) => heard.push(["error", error.message]));
  socket.on("response.completed", ({ response, stream_id }) => heard.push([stream_id, response.output[0].content[0].text, response.usage.total_tokens]));
  for (let n = 1; n <= 3; n += 1) {
    socket.send({ type: "response.create", stream_id: "main", model: "gpt-4o", input: "Hi" });
    await until(() => heard.length === n, "an answer");
  }
  socket.close();
  assert.deepEqual(heard.slice(0, 2), Array(2).fill(["main", "Hello there.", 30]));
  assert.match(heard[2][1], /Spend limit exceeded/);
  const found = await logs("npm", 3);
  assert.deepEqual(found.map(({ status_code, tokens_in, cost, credential }) => [status_code, tokens_in, cost, credential]), [[200, 20, 0.00015, "stored"], [200, 20, 0.00015, "stored"], [429, null, null, "stored"]]);
  assert.equal(providers.last.key, "sk-stored-key-of-the-gateway-1234");
});

test("npm's client for realtime sessions, which wants TLS", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-tls-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  try {
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=127.0.0.1"], { stdio: "ignore" });
  } catch {
    return t.skip("there is no openssl to make a certificate with");
  }
  const { port } = new URL(gw.url);
  const proxy = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    const behind = connect(Number(port), "127.0.0.1");
    for (const end of [socket, behind]) end.on("error", () => {});
    socket.pipe(behind).pipe(socket);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => proxy.close());
  const url = (await stored("npm-realtime", 0.002)).replace(gw.url, `https://127.0.0.1:${proxy.address().port}`);
  const client = new OpenAI({ apiKey: TOKEN, baseURL: url });
  const session = new OpenAIRealtimeWS({ model: "gpt-realtime", options: { rejectUnauthorized: false } }, client);
  const heard = [];
  session.on("error", (error) => heard.push(["error", error.error?.code ?? error.message]));
  session.on("response.done", ({ response }) => heard.push([response.status, response.usage.total_tokens]));
  await new Promise((resolve) => session.socket.addEventListener("open", resolve));
  for (let n = 1; n <= 2; n += 1) {
    session.send({ type: "response.create" });
    await until(() => heard.length === n, "an answer");
  }
  session.close();
  assert.deepEqual(heard, [["completed", 130], ["error", "insufficient_quota"]]);
  const found = await logs("npm-realtime", 2);
  assert.deepEqual(found.map(({ status_code, tokens_in, model }) => [status_code, tokens_in, model]), [[200, 100, "gpt-realtime"], [429, null, "gpt-realtime"]]);
});

test("a browser's client brings the token as a subprotocol", async () => {
  const url = (await stored("browser", 1)).replace("http", "ws");
  // As openai/realtime/websocket opens it in a browser, which cannot set headers.
  const socket = new WebSocket(`${url}/realtime?model=gpt-realtime`, ["realtime", `openai-insecure-api-key.${TOKEN}`]);
  const heard = [];
  socket.on("message", (data) => heard.push(JSON.parse(String(data)).type));
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  assert.equal(socket.protocol, "realtime");
  socket.send('{"type":"response.create"}');
  await until(() => heard.includes("response.done"), "the answer");
  socket.close();
  const [row] = await logs("browser", 1);
  assert.deepEqual([row.authentication, row.credential, row.tokens_in], [1, "stored", 100]);
  const { headers } = providers.last;
  assert.deepEqual([headers["sec-websocket-protocol"], headers.authorization], ["realtime", "Bearer sk-stored-key-of-the-gateway-1234"]);
});

const python = process.env.CLIENTS_PYTHON ?? "python3";
const hasClient = spawnSync(python, ["-c", "import openai, websockets"]).status === 0;

test("PyPI's client for both", { skip: !hasClient && `${python} has no openai with websockets; CLIENTS_PYTHON may name one that has` }, async () => {
  const url = await stored("pypi", 0.0003);
  const script = fileURLToPath(new URL("../../clients/python/_openai_websocket.py", import.meta.url));
  const { stdout } = await promisify(execFile)(python, [script, url, TOKEN], { timeout: 60_000 });
  const { responses, errors, realtime } = JSON.parse(stdout);
  assert.deepEqual(responses.map(([, text, tokens]) => [text, tokens]), Array(2).fill(["Hello there.", 30]));
  // The budget is used up by the responses, so that no realtime one begins.
  assert.deepEqual([errors.length, realtime], [3, []]);
  assert.deepEqual([errors[0].slice(0, 2), errors[2][0]], [[429, "insufficient_quota"], "insufficient_quota"]);
  const found = await logs("pypi", 5);
  assert.deepEqual(found.map(({ status_code, response_id }) => [status_code, response_id]), [[200, responses[0][0]], [200, responses[1][0]], [429, null], [429, null], [429, null]]);
  const more = await stored("pypi-realtime", 0.005);
  const heard = JSON.parse((await promisify(execFile)(python, [script, more, TOKEN], { timeout: 60_000 })).stdout);
  assert.deepEqual([heard.responses.length, heard.realtime.map(([, tokens]) => tokens), heard.errors.length], [4, [130, 130], 1]);
});
