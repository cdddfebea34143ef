// Lets schemathesis loose on a Worker of its own: `node tests/schemathesis.mjs <the program>`, which `npm run fuzz` calls.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ACCOUNT, Gateway, TOKEN } from "./e2e/harness.mjs";

const gw = await Gateway.start();
const made = async (path, body) => (await (await gw.api(path, { method: "POST", body: JSON.stringify(body) })).json()).result.id;

/** One of each kind. What is deleted is not what the other operations look at. */
async function cast(gateway) {
  await gw.create(gateway);
  const { id: log } = await gw.logOf(await gw.call("openai/chat/completions", { gateway, json: { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] } }), gateway);
  const datasets = await made(`/gateways/${gateway}/datasets`, { name: "all", filters: [] });
  const evaluations = await made(`/gateways/${gateway}/evaluations`, { name: "all", dataset_ids: [datasets], evaluation_type_ids: ["cost", "json_valid"] });
  const provider_configs = await made(`/gateways/${gateway}/provider_configs`, { alias: "default", provider_slug: "mistral", secret: "sk-0123456789" });
  return { provider_configs, logs: log, datasets, evaluations, tokens: await made("/tokens", { name: gateway, permissions: ["read"] }), feedback: log };
}

/** What is really there. Without it nearly all answers would be 404. */
const parts = [`parameters = { "path.account" = "${ACCOUNT}" }`];
for (const [gateway, choice] of [["gw", 'exclude-method = "DELETE"'], ["doomed", 'include-method = "DELETE"']]) {
  const kinds = Object.entries(await cast(gateway)).map(([kind, id]) => [`/${kind}/\\{id\\}`, { gateway, id }]);
  const others = ["^(?!.*\\{id\\})", { gateway }];
  for (const [place, values] of [...kinds, others]) {
    // Feedback waits two seconds for what it does not find, for instance in another gateway.
    const narrowed = place.startsWith("/feedback") ? [`"query.account" = "${ACCOUNT}"`, `"query.gateway" = "${gateway}"`] : [];
    const parameters = [...Object.entries(values).map(([name, value]) => `"path.${name}" = "${value}"`), ...narrowed];
    parts.push(`[[operations]]\ninclude-path-regex = '${place}'\n${choice}\nparameters = { ${parameters.join(", ")} }`);
  }
}
const folder = mkdtempSync(join(tmpdir(), "tollgate-fuzz-"));
writeFileSync(join(folder, "schemathesis.toml"), parts.join("\n"));
const args = [
  "--config-file", "schemathesis.toml", "run", `${gw.url}/openapi.json`, "--header", `Authorization: Bearer ${TOKEN}`, "--exclude-path-regex", "^/v1/",
  "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
  "--phases", "examples,coverage,fuzzing", "--max-examples", process.env.FUZZ_EXAMPLES ?? "10", "--seed", process.env.FUZZ_SEED ?? "20261121",
  "--continue-on-failure", "--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off", "--no-color",
];
const child = spawn(process.argv[2], args, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
// The Worker answers whatever happens; a run that does not end is a fault of the tool or of this machine. A whole one takes 100 s.
const timer = setTimeout(() => child.kill("SIGINT"), 600_000);
process.exitCode = await new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
clearTimeout(timer);
rmSync(folder, { recursive: true });
await gw.stop();
