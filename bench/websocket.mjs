// What reading along costs a message of a WebSocket: the time of a round trip through the built Worker, with a path whose
// messages are read and with one that is relayed natively, and without a gateway at all.
//
//   node scripts/setup.mjs build && node bench/websocket.mjs
import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";
import { ACCOUNT, Gateway } from "../tests/e2e/harness.mjs";

const ROUNDS = 3_000;
const WARM = 300;

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 64 * 1024 * 1024 });
/** What is sent back for each message. */
let answer;
sockets.on("connection", (socket) => socket.on("message", () => socket.send(answer)));
server.listen(0, "127.0.0.1");
await once(server, "listening");
const origin = `127.0.0.1:${server.address().port}`;
const gw = await Gateway.start({ bindings: { PROVIDER_BASE_URLS: JSON.stringify({ openai: `http://${origin}/v1`, elevenlabs: `http://${origin}` }) } });
await gw.create("gw");
const base = `${gw.url.replace("http", "ws")}/v1/${ACCOUNT}/gw`;
const URLS = { "no gateway": `ws://${origin}/v1/realtime`, "relayed natively": `${base}/elevenlabs/v1/convai/conversation`, "read along": `${base}/openai/realtime?model=gpt-realtime` };

const audio = (bytes) => JSON.stringify({ type: "input_audio_buffer.append", audio: "A".repeat(bytes) });
const delta = (bytes) => JSON.stringify({ type: "response.output_audio.delta", response_id: "resp_1", item_id: "item_1", output_index: 0, content_index: 0, delta: "A".repeat(bytes) });
const CASES = { "100 B": 1, "4 KB": 4_000, "64 KB": 64_000, "1 MB": 1_000_000 };

async function opened(url) {
  const socket = new WebSocket(url, { headers: { authorization: "Bearer sk-test", "xi-api-key": "k" }, perMessageDeflate: false, maxPayload: 64 * 1024 * 1024 });
  await once(socket, "open");
  return socket;
}

async function round(socket, message) {
  const heard = new Promise((resolve) => socket.once("message", resolve));
  const begun = performance.now();
  socket.send(message);
  await heard;
  return performance.now() - begun;
}

for (const [name, bytes] of Object.entries(CASES)) {
  const message = audio(bytes);
  answer = delta(bytes);
  const opened_ = await Promise.all(Object.values(URLS).map(opened));
  const times = opened_.map(() => []);
  const rounds = bytes > 100_000 ? ROUNDS / 10 : ROUNDS;
  // In turns, so that whatever else the machine does falls on all alike.
  for (let n = 0; n < WARM + rounds; n += 1) {
    for (const [at, socket] of opened_.entries()) {
      const time = await round(socket, message);
      if (n >= WARM) times[at].push(time);
    }
  }
  opened_.forEach((socket) => socket.close());
  const shown = times.map((all) => all.sort((a, b) => a - b)).map((all) => [all[all.length >> 1], all[Math.floor(all.length * 0.99)]]);
  const added = (shown[2][0] - shown[1][0]) / 2;
  console.log(`${name}: ${Object.keys(URLS).map((url, at) => `${url} ${shown[at].map((time) => time.toFixed(3)).join(" (p99 ")})`).join(", ")} ms a round trip; reading adds ${added.toFixed(3)} ms to a message`);
}
await gw.stop();
sockets.clients.forEach((socket) => socket.terminate());
server.close();
