// Gateways that others publish, as they come from their registries, at the versions below. Each is installed apart from this
// project's packages, and left out where that cannot be done.
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { complaint, say } from "../scripts/toolchain.mjs";

const PORTKEY = "1.15.2";
/** What npm would take for Portkey today answers its streams with 500. */
const HONO_SERVER = "1.13.5";
const LITELLM = "1.105.3";

export async function portkey(folder, origin, stops) {
  const place = join(folder, `portkey-${PORTKEY}`);
  const problem = installed(place, () => {
    say(`installing @portkey-ai/gateway ${PORTKEY} with npm (about 15 seconds, once)`);
    const manifest = { private: true, dependencies: { "@portkey-ai/gateway": PORTKEY }, overrides: { "@hono/node-server": HONO_SERVER } };
    fs.writeFileSync(join(place, "package.json"), JSON.stringify(manifest));
    return complaint("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], { cwd: place, timeout: 120_000 });
  });
  if (problem) return { reason: problem };
  const port = await freePort();
  const program = join(place, "node_modules/@portkey-ai/gateway/build/start-server.js");
  const { pid, reason } = await serve(process.execPath, [program, `--port=${port}`, "--headless"], { place, port, path: "/", seconds: 20, stops });
  const headers = { "x-portkey-provider": "openai", "x-portkey-custom-host": `${origin}/v1` };
  return reason ? { reason } : { title: `Portkey ${PORTKEY} on Node, no logs`, pid, request: { url: `http://127.0.0.1:${port}/v1/chat/completions`, headers } };
}

export async function litellm(folder, origin, stops) {
  const place = join(folder, `litellm-${LITELLM}`);
  const problem = installed(place, () => {
    const python = complaint("python3", ["-m", "venv", join(place, "venv")], { timeout: 60_000 });
    if (python !== null) return `python3 makes no virtual environment: ${python}`;
    say(`installing litellm[proxy] ${LITELLM} with pip (about 2 minutes, once)`);
    const args = ["install", "--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "10", `litellm[proxy]==${LITELLM}`];
    return complaint(join(place, "venv/bin/pip"), args, { timeout: 300_000 });
  });
  if (problem) return { reason: problem };
  const port = await freePort();
  const config = join(place, "config.yaml");
  fs.writeFileSync(config, JSON.stringify({
    model_list: [{ model_name: "gpt-4o", litellm_params: { model: "openai/gpt-4o", api_base: `${origin}/v1`, api_key: "sk-bench" } }],
    litellm_settings: { telemetry: false },
  }));
  // Without the first it asks GitHub for a list of prices, without the last it wants a key; no other lane checks one either.
  const env = { LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_TELEMETRY: "False", LITELLM_LOG: "ERROR", LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY: "true" };
  const args = ["--config", config, "--host", "127.0.0.1", "--port", String(port), "--num_workers", "1"];
  const { pid, reason } = await serve(join(place, "venv/bin/litellm"), args, { place, port, path: "/health/liveliness", seconds: 90, env, stops });
  return reason ? { reason } : { title: `litellm ${LITELLM} proxy, no logs`, pid, request: { url: `http://127.0.0.1:${port}/v1/chat/completions`, headers: {} } };
}

/** Returns what went wrong, in a line, or null when it is there. */
function installed(place, install) {
  const finished = join(place, ".finished");
  if (fs.existsSync(finished)) return null;
  fs.rmSync(place, { recursive: true, force: true });
  fs.mkdirSync(place, { recursive: true });
  const problem = install();
  if (problem === null) fs.writeFileSync(finished, "");
  return problem && `it cannot be installed: ${problem.split("\n").at(-1).trim()}`;
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function serve(program, args, { place, port, path, seconds, env, stops }) {
  const log = join(place, "output.log");
  const output = fs.openSync(log, "w");
  const child = spawn(program, args, { env: { PATH: process.env.PATH, HOME: process.env.HOME, NO_PROXY: "127.0.0.1,localhost", ...env }, stdio: ["ignore", output, output] });
  fs.closeSync(output);
  let gone = null;
  child.once("error", (error) => (gone = error.message));
  child.once("exit", (code) => (gone ??= `it ended with ${code}, see ${log}`));
  stops.push(() => child.kill());
  process.once("exit", () => child.kill());
  for (let waited = 0; waited < seconds * 10 && gone === null; waited += 1) {
    if (await fetch(`http://127.0.0.1:${port}${path}`).then((answer) => answer.ok, () => false)) return { pid: child.pid };
    await sleep(100);
  }
  return { reason: gone ?? `it does not answer within ${seconds} seconds, see ${log}` };
}
