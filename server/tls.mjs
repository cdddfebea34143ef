// https in front of workerd's own socket, which is on loopback then. workerd could do it, but Miniflare passes it no certificate.
import * as fs from "node:fs";
import { connect } from "node:net";
import { createSecureContext, createServer } from "node:tls";
import { Failure, say } from "./base.mjs";

/** How often it is looked for a new certificate, in milliseconds. */
const LOOK_MS = 30_000;

/** Reads both files and checks that they belong together. */
export function credentials({ cert, key }) {
  const read = (name, file) => {
    try {
      return fs.readFileSync(file);
    } catch (error) {
      throw new Failure(`${name} cannot be read: ${error.message}.`);
    }
  };
  const both = { cert: read("TLS_CERT", cert), key: read("TLS_KEY", key) };
  try {
    createSecureContext(both);
    return both;
  } catch (error) {
    throw new Failure(`${cert} and ${key} make no certificate with its key, both in PEM: ${error.message.split("::").at(-1)}.`);
  }
}

/** Serves https on `host` and `port`, and passes what it hears to `inner()`, a port of loopback. A certificate that is renewed counts from its next connection on. */
export async function serveTls({ host, port, tls, inner }) {
  const server = createServer({ ...credentials(tls), ALPNProtocols: ["http/1.1"] }, (client) => {
    client.setNoDelay(true);
    const end = () => client.destroy();
    client.on("error", end);
    inner().then((to) => {
      const worker = connect(to, "127.0.0.1").setNoDelay(true);
      worker.on("error", end).on("close", end);
      // A client that leaves has to be seen to leave: its call of the provider ends then.
      client.on("close", () => worker.destroy());
      client.pipe(worker).pipe(client);
    }, end);
  });
  for (const file of Object.values(tls)) {
    fs.watchFile(file, { interval: LOOK_MS, persistent: false }, () => {
      try {
        server.setSecureContext(credentials(tls));
        say(`${file} has changed, and new connections get the new certificate.`);
      } catch (error) {
        say(`warning: ${error.message} The old certificate stays.`);
      }
    });
  }
  server.on("tlsClientError", () => {});
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  return () => server.close();
}
