// Codex without a terminal: with a provider of its configuration, over HTTP, and with its built-in provider, which opens a WebSocket.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TASK, home, runAgent } from "./_agent.mjs";
import { NO_HEADERS, WEATHER, failing, run } from "./_case.mjs";

const none = "an agent has none";

/** The last thing that Codex says, and how it ended. */
async function ask(prompt, config, env) {
  const folder = home();
  mkdirSync(join(folder, ".codex"));
  writeFileSync(join(folder, ".codex/config.toml"), config);
  const args = ["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", prompt];
  const lines = (await runAgent("codex", args, { home: folder, env })).trim().split("\n").map((line) => JSON.parse(line));
  const messages = lines.filter(({ type, item }) => type === "item.completed" && item.type === "agent_message");
  const commands = lines.filter(({ type, item }) => type === "item.completed" && item.type === "command_execution");
  return { text: messages.at(-1)?.item.text, commands: commands.map(({ item }) => item.aggregated_output.trim()) };
}

const configured = (name) => `model = "${name}"\ncheck_for_update_on_startup = false\n[analytics]\nenabled = false\n[feedback]\nenabled = false\n[features]\nplugins = false\nremote_plugin = false\napps = false\n`;
const model = configured("gpt-5");
const custom = ({ url, headers, door = "openai", named = "gpt-5" }, more = "") => `model_provider = "tollgate"\n${configured(named)}[model_providers.tollgate]
name = "Tollgate"
base_url = "${url}/${door}"
env_key = "TOLLGATE_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
${more}http_headers = { ${Object.entries(headers).map(([name, value]) => `"${name}" = "${value}"`).join(", ")} }\n`;
const builtIn = ({ url }) => `openai_base_url = "${url}/openai"\n${model}`;

if (!(process.env.CLIENTS_MISSING ?? "").includes("@openai/codex")) {
  await run("Codex (npm), a provider of its configuration", { of: "@openai/codex", providers: ["openai"] }, {
    chat: "it only streams",
    stream: "see tools",
    async tools(at) {
      assert.deepEqual(await ask(TASK, custom(at), { TOLLGATE_KEY: at.key }), { text: WEATHER, commands: ["ramen from the shell"] });
    },
    files: none,
    embeddings: none,
    media: none,
    async errors(at) {
      await assert.rejects(ask(failing(400), custom(at), { TOLLGATE_KEY: at.key }), /as you wish/);
    },
    async token(at) {
      assert.equal((await ask(TASK, custom({ ...at, headers: {} }), { TOLLGATE_KEY: at.token })).text, WEATHER);
    },
    feedback: NO_HEADERS,
  });

  // The same program, and every request of it translated.
  const claude = { door: "ai/v1", named: "anthropic/claude-sonnet-4-5" };
  await run("Codex (npm), on a model of Anthropic's", { of: "@openai/codex", providers: ["anthropic"] }, {
    chat: "it only streams",
    stream: "see tools",
    async tools(at) {
      assert.deepEqual(await ask(TASK, custom({ ...at, ...claude }), { TOLLGATE_KEY: at.key }), { text: WEATHER, commands: ["ramen from the shell"] });
      return { translated: "responses" };
    },
    files: none,
    embeddings: none,
    media: none,
    async errors(at) {
      await assert.rejects(ask(failing(400), custom({ ...at, ...claude }), { TOLLGATE_KEY: at.key }), /as you wish/);
      return { translated: "responses" };
    },
    async token(at) {
      assert.equal((await ask(TASK, custom({ ...at, ...claude, headers: {} }), { TOLLGATE_KEY: at.token })).text, WEATHER);
      return { translated: "responses" };
    },
    feedback: NO_HEADERS,
  });

  await run("Codex (npm), its built-in provider", { of: "@openai/codex", providers: ["openai"] }, {
    socket: "see tools",
    chat: "it only streams",
    stream: "see tools",
    // It cannot be given a header, so its key is OpenAI's where the gateway asks for no token.
    tools: Object.assign(async (at) => {
      const { text, commands } = await ask(TASK, builtIn(at), { CODEX_API_KEY: at.key });
      assert.deepEqual([text, commands], [WEATHER, ["ramen from the shell"]]);
    }, { settings: { authentication: false } }),
    files: none,
    embeddings: none,
    media: none,
    errors: "see above",
    async token(at) {
      const { text, commands } = await ask(TASK, builtIn(at), { CODEX_API_KEY: at.token });
      assert.deepEqual([text, commands], [WEATHER, ["ramen from the shell"]]);
    },
    feedback: NO_HEADERS,
    // What Tollgate says of a budget, Codex says in its own words. A response costs some 0.00025 dollars, and this one goes on for 40 of them if the budget does not stop it.
    budget: Object.assign(async (at) => {
      await assert.rejects(ask("Say ramen in the shell, again and again without end.", builtIn(at), { CODEX_API_KEY: at.token }), /Quota exceeded/);
      return { refused: true };
    }, { settings: { keys: true, spend_limits: { enabled: true, rules: [{ id: "all", limit: 0.0006, limitType: "cost", window: 86400 }] } } }),
  });
}
