// Claude Code without a terminal. A tool is its own: it is asked to run a command in its shell, and says what came of it.
import assert from "node:assert/strict";
import { TASK, home, runAgent } from "./_agent.mjs";
import { NO_HEADERS, WEATHER, failing, run } from "./_case.mjs";

const none = "an agent has none";
const ask = async (at, prompt, env, { door = "anthropic", model = "claude-sonnet-4-5", fast = "claude-haiku-4-5" } = {}) => {
  const args = ["-p", prompt, "--output-format", "json", "--model", model, "--allowedTools", "Bash"];
  const given = { ANTHROPIC_BASE_URL: `${at.url}/${door}`, CLAUDE_CODE_MAX_RETRIES: "0", ANTHROPIC_SMALL_FAST_MODEL: fast, IS_SANDBOX: "1", ...env };
  return JSON.parse(await runAgent("claude", args, { home: home(), env: given }));
};
const own = (at) => ({ ANTHROPIC_API_KEY: at.key, ANTHROPIC_CUSTOM_HEADERS: `cf-aig-authorization: Bearer ${at.token}` });

if (!(process.env.CLIENTS_MISSING ?? "").includes("@anthropic-ai/claude-code")) {
  await run("Claude Code (npm)", { of: "@anthropic-ai/claude-code", providers: ["anthropic"] }, {
    chat: "it only streams",
    stream: "see tools",
    async tools(at) {
      const { result, num_turns } = await ask(at, TASK, own(at));
      assert.deepEqual([result, num_turns], [WEATHER, 2]);
    },
    files: none,
    embeddings: none,
    media: none,
    async errors(at) {
      await assert.rejects(ask(at, failing(400), own(at)), /400.*as you wish/);
    },
    async token(at) {
      assert.equal((await ask(at, TASK, { ANTHROPIC_AUTH_TOKEN: at.token })).result, WEATHER);
    },
    feedback: NO_HEADERS,
  });

  // The same program, and every request of it translated.
  const gpt = { door: "ai", model: "openai/gpt-5", fast: "openai/gpt-5-mini" };
  await run("Claude Code (npm), on a model of OpenAI's", { of: "@anthropic-ai/claude-code", providers: ["openai"] }, {
    chat: "it only streams",
    stream: "see tools",
    async tools(at) {
      const { result, num_turns } = await ask(at, TASK, own(at), gpt);
      assert.deepEqual([result, num_turns], [WEATHER, 2]);
      return { translated: "messages" };
    },
    files: none,
    embeddings: none,
    media: none,
    async errors(at) {
      await assert.rejects(ask(at, failing(400), own(at), gpt), /400.*as you wish/);
      return { translated: "messages" };
    },
    async token(at) {
      assert.equal((await ask(at, TASK, { ANTHROPIC_AUTH_TOKEN: at.token }, gpt)).result, WEATHER);
      return { translated: "messages" };
    },
    feedback: NO_HEADERS,
  });
}
