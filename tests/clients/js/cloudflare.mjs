// npm's `cloudflare`: the control plane. What a model did is asked of it, and a log is judged by it.
import assert from "node:assert/strict";
import Cloudflare from "cloudflare";
import { PROMPT, run } from "./_case.mjs";

const only = "control plane only";
const open = ({ origin }, apiToken) => new Cloudflare({ apiToken, baseURL: `${origin}/client/v4`, maxRetries: 0 });

await run("cloudflare (npm)", { of: "cloudflare", providers: ["openai"] }, {
  chat: only,
  stream: only,
  tools: only,
  files: only,
  embeddings: only,
  media: only,
  async errors(at) {
    await assert.rejects(open(at, "wrong").aiGateway.list({ account_id: "acct" }), Cloudflare.AuthenticationError);
    return { rows: 0 };
  },
  token: only,
  async feedback(at) {
    const body = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: PROMPT }] });
    const answer = await fetch(`${at.url}/openai/chat/completions`, { method: "POST", body, headers: { "content-type": "application/json", authorization: `Bearer ${at.key}`, ...at.headers } });
    const log = answer.headers.get("cf-aig-log-id");
    const { logs } = open(at, at.control).aiGateway;
    const of = { account_id: "acct", gateway_id: at.gateway };
    await logs.edit(log, { ...of, feedback: 1, score: 90, metadata: { by: "npm" } });
    const shown = await logs.get(log, of);
    assert.deepEqual([shown.model, shown.feedback, shown.score], ["gpt-4o", 1, 90]);
    const ids = [];
    for await (const { id } of logs.list(at.gateway, { account_id: "acct" })) ids.push(id);
    assert.deepEqual(ids, [log]);
    await assert.rejects(logs.get("nothing", of), Cloudflare.NotFoundError);
    await at.judge(log);
  },
});
