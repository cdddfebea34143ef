// What can be reached of `npm start` and `npm run example`, and by whom: nothing but Tollgate, whatever miniflare and wrangler would add.
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as miniflare from "miniflare";
import { WebSocket } from "undici";
import { ACCOUNT, TOKEN, raw, until } from "../harness.mjs";
import { ECHO, EVERYTHING, Served, root } from "../served.mjs";

let gw;
let echo;
let example;
before(async () => {
  [gw, echo, example] = await Promise.all([
    Served.start({ config: EVERYTHING }),
    Served.start({ worker: ECHO, config: EVERYTHING }),
    Served.start({ config: EVERYTHING, front: fs.readFileSync(join(root, "examples/worker/index.js"), "utf8").replace("../../clients", join(root, "clients")) }),
  ]);
  await gw.create("gw");
});
after(() => Promise.all([gw, echo, example].map((served) => served?.stop())));

/** Headers by which miniflare, wrangler and Cloudflare tell the runtime something, in a stranger's hand. */
const FORGED = Object.fromEntries([
  ...Object.entries(miniflare.CoreHeaders).filter(([key]) => !["CF_BLOB", "PROXY_SHARED_SECRET"].includes(key)).map(([, name]) => [name, "1"]),
  ["MF-CF-Blob", '{"clientIp":"6.6.6.6:6","colo":"EVIL","botManagement":{"score":99}}'],
  ["cf-connecting-ip", "6.6.6.6"],
  ["cf-connecting-ipv6", "66::6"],
  ["cf-ew-via", "6"],
  ["cf-ipcountry", "XX"],
  ["cf-ray", "evil"],
  ["cf-visitor", '{"scheme":"https"}'],
  ["cf-worker", "evil.example"],
  ["cf-access-jwt-assertion", "evil"],
  ["x-mf-additional-response-log", "evil"],
  ["true-client-ip", "6.6.6.6"],
  ["x-forwarded-for", "6.6.6.6"],
  ["x-forwarded-proto", "https"],
  ["x-real-ip", "6.6.6.6"],
]);

/** Ways to ask the Worker behind miniflare's own socket for another one. */
const DETOURS = [
  {},
  FORGED,
  { "MF-Route-Override": "tollgate" },
  { "MF-Route-Override": "front" },
  { "MF-Route-Override": "front-door" },
  { "MF-Original-URL": "http://localhost/health", "MF-Proxy-Shared-Secret": "x" },
  { "MF-Op-Secret": "0".repeat(64), "MF-Op": "GET", "MF-Op-Target": "0" },
  { "MF-Custom-Fetch-Service": "MINIFLARE_IMAGES_BINDING_SERVICE", "MF-Loopback-Secret": "0".repeat(64) },
];

/** The names of the objects in the bucket, which no stranger can guess; here they make sure that the test asks for something that is there. */
async function bucketKeys() {
  const { DatabaseSync } = await import("node:sqlite");
  const files = fs.readdirSync(gw.path(".wrangler/state/v3/r2"), { recursive: true }).filter((name) => name.endsWith(".sqlite") && !name.endsWith("metadata.sqlite"));
  const keys = files.flatMap((file) => {
    const db = new DatabaseSync(join(gw.path(".wrangler/state/v3/r2"), file), { readOnly: true });
    try {
      return db.prepare("SELECT key FROM _mf_objects").all().map(({ key }) => key);
    } finally {
      db.close();
    }
  });
  assert.ok(keys.length > 0, files.join());
  return keys;
}

/** Every path that one of the two serves, as their sources name them, with something behind it. */
function runtimePaths() {
  const files = ["miniflare/dist/src/index.js", "miniflare/dist/src/workers/core/entry.worker.js", "wrangler/wrangler-dist/cli.js", "wrangler/wrangler-dist/ProxyWorker.js", "wrangler/wrangler-dist/InspectorProxyWorker.js"];
  const there = files.map((file) => join(root, "node_modules", file)).filter((file) => fs.existsSync(file));
  const named = there.flatMap((file) => fs.readFileSync(file, "utf8").match(/(?<=["'`])\/(?:cdn-cgi|__|core\/|browser\/|json\b)[\w./@-]*/g) ?? []);
  const known = [
    ...["explorer/api/d1/database", "explorer/api/local/workers", "local/scheduled?cron=*", "handler/scheduled", "handler/email", "mf/scheduled", "mf/reload", "mf/stream", "local/r2/public/tollgate-bodies/x", "platform-proxy", "ProxyWorker/play", "trace", "image/width=1/x"].map((path) => `/cdn-cgi/${path}`),
    ...["/__scheduled", "/__cf_local/stream/x", "/__proxyworker", "/ws", "/json/list", "/json/version", "/favicon.ico/", "/.dev.vars", "/.wrangler/state"],
  ];
  const below = (path) => [path, `${path.replace(/\/$/, "")}/`, `${path.replace(/\/$/, "")}/x`];
  return [...new Set([...known, ...Object.values(miniflare.CorePaths).flatMap(below), ...named.flatMap(below)])];
}

test("the paths that the next test walks are those of this version", () => {
  const paths = runtimePaths();
  for (const path of ["/cdn-cgi/local/scheduled", "/cdn-cgi/local/explorer/x", "/cdn-cgi/local/platform-proxy", "/core/error", "/__scheduled"]) assert.ok(paths.includes(path), path);
  assert.ok(paths.length > 50, String(paths.length));
});

test("no path of the runtime's answers otherwise than one that nobody knows", async () => {
  for (const [served, unknown] of [[gw, "/no-such-path"], [example, "/cdn-cgi/no-such-path"]]) {
    const bare = await raw(`${served.url}${unknown}`);
    assert.equal(bare.status, 404);
    for (const path of runtimePaths()) {
      if (served === example && !path.startsWith("/cdn-cgi/")) continue;
      for (const method of ["GET", "POST"]) {
        const { status, body } = await raw(`${served.url}${path}`, { method, headers: method === "GET" ? {} : FORGED, body: method === "GET" ? undefined : '{"sql":"select 1"}' });
        // Tollgate's own words name the path; but for that they have to be the same.
        const words = String(body).replace(path.split("?")[0], unknown);
        assert.deepEqual([status, words], [404, String(bare.body)], `${method} ${path}`);
      }
    }
  }
  assert.equal((await raw(`${gw.url}/cdn-cgi/local/scheduled`, { headers: { host: "localhost" } })).status, 404);
});

test("without a token no path of the control plane answers, whatever a header says", async () => {
  const routes = JSON.parse(fs.readFileSync(join(root, "tests/e2e/routes.json"), "utf8"));
  const closed = routes.filter(([, , , access]) => !["Open", "Gateway"].includes(access));
  assert.ok(closed.length > 40);
  for (const [, method, path] of closed) {
    const url = `${gw.url}${path.replaceAll(/\{[^}]*\}/g, "gw")}`;
    for (const headers of [{}, FORGED, ...DETOURS]) {
      const { status } = await raw(url, { method, headers });
      assert.equal(status, 401, `${method} ${path} ${JSON.stringify(headers)}`);
    }
  }
  assert.deepEqual([(await raw(`${gw.url}/health`)).status, (await raw(`${gw.url}/openapi.json`)).status], [200, 200]);
});

test("every socket that listens is on loopback, and only one answers", async () => {
  const big = "x".repeat(30_000);
  await gw.logOf(await gw.call("openai/chat/completions", { json: { model: "gpt-4o", messages: [{ role: "user", content: big }] } }));
  const [object] = await bucketKeys();
  for (const served of [gw, echo, example]) {
    const sockets = served.sockets();
    assert.deepEqual(sockets.filter(({ kind, address }) => kind !== "tcp" || address !== "127.0.0.1"), []);
    const others = sockets.filter(({ port }) => port !== served.port);
    assert.equal(sockets.length - others.length, 1, JSON.stringify(sockets));
    // Miniflare's two: what it listens on itself, and what workerd listens on for it.
    assert.ok(others.length <= 2, JSON.stringify(sockets));
    for (const { port } of others) {
      const paths = ["/", "/health", "/openapi.json", "/v1/acct/gw/openai/models", `/accounts/${ACCOUNT}/ai-gateway/gateways`, `/cdn-cgi/local/r2/public/tollgate-bodies/${object}`, ...runtimePaths()];
      for (const path of paths) {
        for (const detour of DETOURS) {
          const { status, body } = await raw(`http://127.0.0.1:${port}${path}`, { headers: { authorization: `Bearer ${TOKEN}`, ...detour } });
          assert.ok([400, 401, 403, 404, 500].includes(status), `${port}${path} ${status}`);
          assert.match(String(body), /^(|Forbidden|No entrypoint worker found|Invalid proxy request|Disallowed header in request: [\w-]+=\w+|Internal Server Error)$/, `${port}${path} ${JSON.stringify(detour)}`);
        }
      }
      const error = await new Promise((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, { headers: { "MF-Route-Override": "tollgate" } });
        socket.onopen = () => resolve(null);
        socket.onerror = () => resolve(true);
      });
      assert.ok(error, `a WebSocket opens on ${port}`);
    }
    assert.equal(served.processes().find(({ command }) => /inspect/.test(command)), undefined);
  }
});

test("what the runtime says of a request is its own, and headers are the client's", async () => {
  const { headers, cf, env } = JSON.parse((await raw(`${echo.url}/x`, { headers: { ...FORGED, "X-Own": "kept", "accept-encoding": "zstd" } })).body);
  assert.equal(cf, null);
  for (const [name, value] of Object.entries({ ...FORGED, "x-own": "kept", "accept-encoding": "zstd" })) assert.equal(headers[name.toLowerCase()], value, name);
  assert.ok(env.includes("ALLOWED_HOSTS") && env.includes("LIMITER") && env.includes("LOG_QUEUE") && env.includes("BODIES") && env.includes("CACHE"), env.join());
  const plain = JSON.parse((await raw(`${echo.url}/x`, { headers: { "User-Agent": "me" } })).body);
  assert.deepEqual(Object.keys(plain.headers).sort(), ["connection", "host", "user-agent"].filter((name) => name in plain.headers));
  assert.equal(plain.headers["cf-connecting-ip"], undefined);
});

test("nothing that a client says of itself reaches a provider or a row", async () => {
  const answer = await raw(`${gw.url}/v1/${ACCOUNT}/gw/openai/models`, { headers: FORGED });
  assert.equal(answer.status, 200);
  const sent = gw.upstream.last.headers;
  for (const name of Object.keys(sent)) assert.ok(!/^(cf-(?!worker$)|x-forwarded|x-real|true-client)/.test(name), name);
  assert.notEqual(sent["cf-worker"], "evil.example");
  assert.ok(!JSON.stringify(await gw.logOf(answer)).includes("6.6.6.6"));
});

test("only names of this machine are served", async () => {
  const port = String(gw.port);
  for (const host of ["localhost", `LOCALHOST:${port}`, "127.0.0.1", `127.0.0.1:${port}`, "[::1]:1", "localhost."]) {
    for (const served of [gw, example]) assert.notEqual((await raw(`${served.url}/health`, { headers: { host } })).status, 421, host);
  }
  for (const host of ["evil.example", `evil.example:${port}`, "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "evil.example@localhost"]) {
    for (const path of ["/health", "/openapi.json", "/no", `/accounts/${ACCOUNT}/ai-gateway/gateways`, `/v1/${ACCOUNT}/gw/openai/models`, `/v1/${ACCOUNT}/gw`]) {
      const { status, body } = await raw(`${gw.url}${path}`, { headers: { host, authorization: `Bearer ${TOKEN}` } });
      assert.equal(status, 421, `${host}${path}`);
      const said = JSON.parse(body);
      assert.match(path.startsWith("/v1/") ? said.description : said.errors[0].message, /ALLOWED_HOSTS does not name the host/);
      assert.equal(said.name, path.startsWith("/v1/") ? "AiGatewayError" : undefined);
    }
    assert.equal((await raw(`${example.url}/`, { headers: { host } })).status, 421);
  }
  assert.equal(gw.upstream.requests.filter(({ headers }) => /evil/.test(headers.host)).length, 0);
  // HTTP asks for the header, and the runtime does, too.
  const bare = await new Promise((resolve) => {
    const socket = connect(gw.port, "127.0.0.1", () => socket.write("GET /health HTTP/1.0\r\n\r\n"));
    let text = "";
    socket.on("data", (piece) => (text += piece)).on("close", () => resolve(text));
  });
  assert.match(bare, /^HTTP\/1\.[01] 4\d\d /);
  const upgrade = { upgrade: "websocket", connection: "Upgrade", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", host: "evil.example" };
  for (const path of [`/v1/${ACCOUNT}/gw`, `/v1/${ACCOUNT}/gw/openai/realtime`]) assert.equal((await raw(`${gw.url}${path}`, { headers: upgrade })).status, 421);
});

test("a Worker in front reaches Tollgate by its binding, and the outside does not", async () => {
  assert.match(String((await raw(`${example.url}/`)).body), /\/ask\?q=/);
  for (const path of ["/health", "/openapi.json", `/v1/${ACCOUNT}/default/openai/models`, `/accounts/${ACCOUNT}/ai-gateway/gateways`]) {
    assert.equal((await raw(`${example.url}${path}`, { headers: { authorization: `Bearer ${TOKEN}` } })).status, 404, path);
  }
  const answer = await (await fetch(`${example.url}/ask?q=Soup`)).json();
  assert.ok(answer.answer || answer.error, JSON.stringify(answer));
});

test("nothing is written but Tollgate's own state", async () => {
  await gw.logOf(await gw.call("google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent?key=sk-IN-THE-QUERY", { json: { contents: [] } }));
  const files = fs.readdirSync(gw.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files) {
    assert.match(file.slice(gw.folder.length), /^\/(wrangler\.toml|\.dev\.vars|\.wrangler\/state\/(server\.(lock(-journal)?|json)|v3\/(cache|d1|do|kv|queues|r2)\/.*))$/);
    assert.ok(!fs.readFileSync(file).includes("IN-THE-QUERY"), file);
  }
  await until(() => !/observab|trace/.test(files.join("\n")), "no trace store");
});
