import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { Gateway, raw } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw");
});
after(async () => {
  assert.equal((await gw.call("openai/models")).status, 200, "the Worker still answers");
  await gw.stop();
});

/** Sends a request line no client library would send. */
function line(target, headers = "") {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(gw.url);
    let text = "";
    const socket = connect(Number(port), hostname, () => socket.write(`GET ${target} HTTP/1.1\r\nHost: ${hostname}\r\n${headers}Connection: close\r\n\r\n`));
    socket.on("data", (data) => (text += data));
    socket.on("close", () => resolve({ status: Number(text.split(" ")[1]), text }));
    socket.on("error", () => resolve({ status: 0, text }));
  });
}

test("paths that could be read in two ways are refused or arrive as they were sent", async () => {
  const base = "/v1/acct/gw/openai";
  for (const path of ["/a%2f..%2fb", "/%2e%2e%2fadmin", "/a%0d%0aHost:evil", "/a%00b", "/x%5c..%5cy"]) {
    const seen = gw.upstream.requests.length;
    const answer = await line(base + path);
    assert.equal(answer.status, 400, path);
    assert.match(answer.text, /"internalCode":2008/);
    assert.equal(gw.upstream.requests.length, seen);
  }
  for (const [path, arrives] of [["//a//b", "/v1//a//b"], ["/a%2fb?x=%2f", "/v1/a%2fb?x=%2f"], ["/a/../b", "/v1/b"], ["/a;b=c", "/v1/a;b=c"], ["/models/", "/v1/models/"], [`/${"x".repeat(15_000)}`, `/v1/${"x".repeat(15_000)}`]]) {
    const answer = await line(base + path);
    assert.equal(answer.status, 200, path);
    assert.equal(gw.upstream.last.url, arrives);
  }
  // The runtime resolves dots before the Worker sees them, so this is no longer a path of a provider.
  const escaped = await line(`${base}/../../../../../health`);
  assert.equal(escaped.status, 200);
  assert.match(escaped.text, /"status":"ok"/);
});

test("hostile accounts, gateways and providers are refused", async () => {
  for (const [path, code] of [["a.b/gw/openai/x", 2001], ["acct/No-Such/openai/x", 2001], ["acct/gw'--/openai/x", 2001], ["acct/%67w/openai/x", 2001], ["acct/unknown/openai/x", 2001], [`acct/${"g".repeat(5_000)}/openai/x`, 2001], ["acct/gw/opnai/x", 2008], ["acct/gw/OPENAI/x", 2008], ["acct/gw/%3Cscript%3E/x", 2008], [`acct/gw/${"p".repeat(5_000)}/x`, 2008]]) {
    const answer = await line(`/v1/${path}`);
    assert.equal(answer.status, 400, path);
    const body = JSON.parse(answer.text.split("\r\n\r\n").slice(1).join("").replace(/^[0-9a-f]+\r\n|\r\n0\r\n.*$/gs, ""));
    assert.deepEqual([body.internalCode, body.error[0].code, body.success, body.httpCode], [code, code, false, 400]);
    assert.ok(body.description.length < 500, "what was sent is not repeated at length");
  }
  const named = await (await gw.call("opnai/x")).json();
  assert.match(named.description, /openai/);
  for (const path of ["azure-openai/evil.example%23/d/x", "azure-openai/a@b/d/x", "aws-bedrock/bedrock-runtime/us-east-1.evil.example/x", "aws-bedrock/s3/us-east-1/x", "google-vertex-ai/v1/projects/p/locations/evil.example%23/x", "baseten/model/a.b/x"]) {
    const seen = gw.upstream.requests.length;
    const answer = await gw.call(path);
    assert.deepEqual([answer.status, gw.upstream.requests.length], [400, seen], path);
    const log = await gw.logOf(answer);
    assert.match(log.error, /^gateway: /);
  }
});

test("cf-aig headers that make no sense cost nobody an answer", async () => {
  const values = ["", " ", "{", "[]", "null", "true", "1e999", '{"a":1e999}', "[".repeat(5_000), '{"a":"' + "x".repeat(8_000) + '"}', '{"\\u0000":"\\u0000"}', '{"__proto__":1,"constructor":2}', "\u00ff\u00fe", "'; DROP TABLE logs; --"];
  for (const name of ["cf-aig-metadata", "cf-aig-custom-cost", "cf-aig-collect-log-payload", "cf-aig-event-id", "cf-aig-step", "cf-aig-unknown"]) {
    for (const value of values) {
      const answer = await raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, { method: "POST", body: '{"model":"gpt-4o"}', headers: { "content-type": "application/json", [name]: value } });
      assert.equal(answer.status, 200, `${name}: ${value.slice(0, 40)}`);
      const log = await gw.logOf(answer);
      assert.deepEqual([log.success, log.model], [true, "gpt-4o"]);
    }
  }
  const named = await gw.call("openai/models", { headers: { "cf-aig-metadata": '{"__proto__":1,"constructor":"x"}' } });
  const { metadata } = JSON.parse(JSON.stringify((await gw.logOf(named)).metadata, null, 0).replace(/^/, '{"metadata":') + "}");
  assert.equal(metadata.constructor, "x");
  assert.ok((await gw.rows("SELECT count(*) AS n FROM logs"))[0].n > 0);
});

test("request bodies that are no JSON arrive as they are", async () => {
  for (const body of ["", "{", "null", "[1,2", '{"model":{"a":1}}', '{"model":"' + "m".repeat(100_000) + '"}', "[".repeat(50_000), '{"model":"a","model":"b"}']) {
    const answer = await raw(`${gw.url}/v1/acct/gw/openai/chat/completions`, { method: "POST", body, headers: { "content-type": "application/json" } });
    assert.equal(answer.status, 200);
    assert.equal(gw.upstream.last.body.toString(), body);
    const log = await gw.logOf(answer);
    assert.ok(log.success && log.model.length <= 256);
  }
});

test("ids of logs are data", async () => {
  for (const id of ["x", "0197f3c0-0000-7000-8000-000000000000", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "%27%20OR%201=1", "..%2f..", "x".repeat(3_000)]) {
    for (const suffix of ["", "/request", "/response"]) {
      const answer = await gw.api(`/gateways/gw/logs/${id}${suffix}`);
      assert.equal(answer.status, 404, id);
      assert.equal((await answer.json()).errors[0].code, 7002);
    }
  }
});
