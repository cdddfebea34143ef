// Runs a coding agent without a person at the keyboard, in a home and a folder of its own.
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const programs = fileURLToPath(new URL("../node_modules/.bin/", import.meta.url));

/** What the agents are asked for. The stand-in has them run a command, and then says what the weather is. */
export const TASK = "Use the shell to say ramen, then tell me the weather.";

/** An empty home. */
export const home = () => mkdtempSync(join(process.env.TMPDIR, "agent-"));

/** What an agent printed; it has two minutes. */
export function runAgent(program, args, { home, env }) {
  return new Promise((resolve, reject) => {
    const child = spawn(join(programs, program), args, { cwd: home, env: { ...process.env, ...env, HOME: home }, stdio: ["ignore", "pipe", "pipe"] });
    const [output, complaints] = [[], []];
    child.stdout.on("data", (chunk) => output.push(chunk));
    child.stderr.on("data", (chunk) => complaints.push(chunk));
    const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      const said = Buffer.concat(output).toString();
      if (code !== 0) reject(new Error(`${program} ended with ${code ?? signal}: ${said.slice(-1_500)} ${Buffer.concat(complaints).toString().slice(-1_500)}`));
      else resolve(said);
    });
  });
}
