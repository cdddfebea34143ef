import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "undici";
import { Gateway, TOKEN, until } from "./harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw", { authentication: true });
});
after(() => gw.stop());

test("a WebSocket is relayed and leaves one row", async () => {
  const url = `${gw.url.replace("http", "ws")}/v1/acct/gw/openai/realtime?model=gpt-realtime`;
  const socket = new WebSocket(url, { protocols: ["realtime", `cf-aig-authorization.${TOKEN}`], headers: { authorization: "Bearer sk-test" } });
  socket.binaryType = "arraybuffer";
  const received = [];
  await new Promise((resolve, reject) => {
    socket.onerror = ({ error }) => reject(error ?? new Error("the socket failed"));
    socket.onopen = () => socket.send("hello");
    socket.onmessage = ({ data }) => {
      received.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
      if (received.length === 1) socket.send(new Uint8Array([1, 2, 3]));
      else socket.close();
    };
    socket.onclose = resolve;
  });
  assert.deepEqual(received, ["hello", [1, 2, 3]]);
  assert.equal(socket.protocol, "realtime");
  const { url: seen, headers } = gw.upstream.last;
  assert.deepEqual([seen, headers.authorization, headers["sec-websocket-protocol"]], ["/v1/realtime?model=gpt-realtime", "Bearer sk-test", "realtime"]);
  let logs = [];
  await until(async () => (logs = await gw.result("/gateways/gw/logs")).length > 0, "the row");
  assert.deepEqual(logs.map((log) => [log.request_type, log.model, log.status_code, log.success]), [["websocket", "gpt-realtime", 101, true]]);
});

test("a WebSocket without the token is refused", async () => {
  const refused = await new Promise((resolve) => {
    const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/acct/gw/openai/realtime`);
    socket.onerror = () => resolve(true);
    socket.onopen = () => resolve(false);
  });
  assert.ok(refused);
});
