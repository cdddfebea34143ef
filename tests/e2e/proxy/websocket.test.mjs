import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "undici";
import { Gateway, TOKEN, raw } from "../harness.mjs";

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
  // Rows are written in their order, so that a second one of this connection would be there before the next request's.
  await gw.logOf(await gw.call("openai/models", { headers: { "cf-aig-authorization": TOKEN } }));
  const logs = (await gw.result("/gateways/gw/logs")).filter((log) => log.path.startsWith("realtime"));
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

test("a key in a subprotocol reaches the provider and no row", async () => {
  const protocols = ["realtime", "openai-insecure-api-key.sk-CANARY", `cf-aig-authorization.${TOKEN}`];
  const socket = new WebSocket(`${gw.url.replace("http", "ws")}/v1/acct/gw/openai/realtime?model=gpt-realtime`, { protocols });
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = ({ error }) => reject(error);
  });
  socket.close();
  assert.equal(gw.upstream.last.headers["sec-websocket-protocol"], "realtime, openai-insecure-api-key.sk-CANARY");
  await gw.logOf(await gw.call("openai/models", { headers: { "cf-aig-authorization": TOKEN } }));
  const stored = JSON.stringify([await gw.rows("SELECT * FROM logs"), await gw.rows("SELECT * FROM log_bodies"), await gw.rows("SELECT content FROM body_pieces")]);
  assert.ok(stored.includes("realtime") && !stored.includes("CANARY") && !stored.includes(TOKEN));
});

test("a provider that refuses the connection is heard", async () => {
  gw.upstream.refuse = { status: 401, body: '{"error":{"message":"no such key"}}' };
  const headers = { upgrade: "websocket", connection: "Upgrade", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13", "cf-aig-authorization": TOKEN };
  const answer = await raw(`${gw.url}/v1/acct/gw/openai/realtime`, { headers });
  gw.upstream.refuse = undefined;
  assert.deepEqual([answer.status, answer.body.toString()], [401, '{"error":{"message":"no such key"}}']);
  const log = await gw.logOf(answer);
  assert.deepEqual([log.request_type, log.status_code, log.success, log.error], ["websocket", 401, false, "provider: no such key"]);
});
