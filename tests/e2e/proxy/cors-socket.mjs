// Opens a WebSocket with an origin of one's own, which Node's client does not let a test choose.
import { request } from "node:http";

export class WebSocketClient {
  static open(url, headers) {
    const upgrade = { connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
    return new Promise((resolve, reject) => {
      const asked = request(url, { headers: { ...upgrade, ...headers } });
      asked.on("upgrade", (answer, socket) => resolve({ status: answer.statusCode, close: () => socket.destroy() }));
      asked.on("response", (answer) => resolve({ status: answer.statusCode, close: () => answer.destroy() }));
      asked.on("error", reject);
      asked.end();
    });
  }
}
