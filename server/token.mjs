// `tollgate token`: the admin token of this folder, or a new token of a running Tollgate.
import { resolve } from "node:path";
import { Failure } from "./base.mjs";
import { addressOf, chosen, parsed } from "./options.mjs";
import { variable } from "./secrets.mjs";

export const USAGE = "[NAME] [OPTIONS]";
export const HELP = [
  { name: "permissions", value: "LIST", usual: "run", about: "what it may do: run, read, edit, feedback, with commas between" },
  { name: "account", value: "NAME", usual: "local", about: "whose gateways" },
  { name: "gateways", value: "LIST", usual: "all", about: "for these gateways only" },
  { name: "url", value: "ADDRESS", usual: "that of HOST and PORT", about: "where Tollgate runs" },
];
export const MORE = "Without a name it prints the admin token of .dev.vars, which may do everything. With one it asks the running Tollgate for a token\nof that name and prints it; it is shown once.";

export async function run(args, folder = process.cwd()) {
  const { values, positionals: [name, ...more] } = parsed(args, HELP);
  if (more.length > 0) throw new Failure("a token has one name; put it into quotes if it has blanks.");
  const vars = resolve(folder, ".dev.vars");
  const admin = variable(vars, "ADMIN_TOKEN");
  if (!admin) throw new Failure(`there is no ADMIN_TOKEN in ${vars}. \`tollgate start\` writes one.`);
  if (name === undefined) {
    console.log(admin);
    return 0;
  }
  const list = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);
  const url = (values.url ?? addressOf(chosen([], { home: folder }))).replace(/\/$/, "");
  const body = { name, permissions: list(values.permissions ?? "run"), ...(values.gateways && { gateways: list(values.gateways) }) };
  const answer = await fetch(`${url}/accounts/${encodeURIComponent(values.account ?? "local")}/ai-gateway/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  }).catch((error) => {
    throw new Failure(`${url} does not answer: ${error.cause?.message ?? error.message}. Start it, or name its address with --url.`);
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Failure(`${url} refused: ${said.errors?.[0]?.message ?? answer.status}`);
  console.log(said.result.value);
  return 0;
}
