import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, TOKEN, raw, until } from "../harness.mjs";

let gw;
before(async () => {
  gw = await Gateway.start();
  await gw.create("gw", { authentication: true });
});
after(() => gw.stop(/"event":"gateway_unreadable"/));

test("no credential reaches a row or a line of output", async () => {
  const headers = { "content-type": "application/json", "cf-aig-authorization": `Bearer ${TOKEN}` };
  for (const name of ["authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key", "proxy-authorization", "cookie", "x-amz-security-token", "openai-organization"]) {
    headers[name] = `Bearer sk-CANARY-${name}`;
  }
  const query = ["key", "api_key", "apikey", "access_token", "token", "X-Amz-Signature", "X-Amz-Credential", "a%75th"].map((name) => `${name}=sk-CANARY-query`).join("&");
  const requests = [
    ["openai/chat/completions", {}],
    ["openai/chat/completions", { stream: true }],
    ["google-ai-studio/v1beta/models/gemini-2.5-flash:generateContent", {}],
    ["opnai/chat/completions", {}],
    ["azure-openai/a.b/c/d", {}],
  ];
  gw.upstream.next({ reset: true });
  for (const [path, body] of [["openai/reset", {}], ...requests]) {
    const answer = await raw(`${gw.url}/v1/acct/gw/${path}?alt=1&${query}`, { method: "POST", headers, body: JSON.stringify({ model: "gpt-4o", ...body }) });
    const log = await gw.logOf(answer);
    assert.match(log.path, /\?alt=1&key=\*\*\*&api_key=\*\*\*/);
    assert.ok(!JSON.stringify(log).includes("CANARY"));
  }
  // The provider's answer may not give a credential back to the log by way of headers either.
  gw.upstream.next({ body: "{}", headers: { "content-type": "application/json", "set-cookie": "session=sk-CANARY-answer" } });
  await gw.logOf(await raw(`${gw.url}/v1/acct/gw/openai/models`, { headers }));
  // Nor by saying back all that it was sent, nor the caller by writing it elsewhere.
  gw.upstream.answer = (seen) => ({ status: 401, body: JSON.stringify({ error: { message: `Incorrect: ${seen.headers.authorization}` }, seen: Object.entries(seen.headers).filter(([name]) => name in headers && name !== "content-type") }), headers: { "content-type": "application/json", "x-request-id": seen.headers["x-api-key"] } });
  const everywhere = { ...headers, "user-agent": "sk-CANARY-agent", "cf-aig-event-id": "sk-CANARY-event", "cf-aig-metadata": '{"note":"sk-CANARY-note"}', "content-type": "application/json; key=sk-CANARY-type" };
  const echoed = await raw(`${gw.url}/v1/acct/gw/openai/sk-CANARY-path/completions?${query}&code=CANARY`, { method: "POST", headers: everywhere, body: JSON.stringify({ model: "gpt-4o", mine: headers["x-api-key"] }) });
  gw.upstream.answer = undefined;
  assert.equal(echoed.status, 401);
  assert.match((await gw.logOf(echoed)).error, /^provider: Incorrect: Bearer \*\*\*$/);

  const tables = await gw.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'");
  assert.ok(tables.length >= 5);
  for (const { name } of tables) {
    const text = JSON.stringify(await gw.rows(`SELECT * FROM "${name}"`));
    assert.ok(!text.includes("CANARY") && !text.includes(TOKEN), name);
  }
  // A Worker in trouble prints why; that line has to be clean, too, and proves that the output is seen here at all.
  await gw.db.prepare("ALTER TABLE gateways RENAME TO hidden").run();
  const failed = await raw(`${gw.url}/v1/acct/unseen/openai/models?${query}`, { headers });
  assert.equal(failed.status, 503);
  await until(() => gw.output.join("").includes("no such table"), "the line about the database");
  const output = gw.output.join("");
  assert.ok(!output.includes("CANARY") && !output.includes(TOKEN));
  // The keys did reach the provider, or the test would prove nothing.
  assert.equal(gw.upstream.last.headers["x-api-key"], "Bearer sk-CANARY-x-api-key");
});
