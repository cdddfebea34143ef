// `tollgate apply`: makes a running Tollgate what a document says that `tollgate export` or a person wrote.
import { readFileSync } from "node:fs";
import { Failure, say } from "./base.mjs";
import { TOKEN, WHERE, ask } from "./control.mjs";
import { parsed } from "./options.mjs";

export const USAGE = "FILE [OPTIONS]";
export const HELP = [
  { name: "dry-run", about: "shows what would change, and changes nothing" },
  { name: "prune", about: "deletes what the lists of the document do not have, gateways with their logs" },
  ...WHERE,
];
export const MORE = `FILE is - for standard input. ${TOKEN}`;

const SIGNS = { create: "+", update: "~", delete: "-" };

export async function run(args) {
  const { values, positionals: [file, ...more] } = parsed(args, HELP);
  if (file === undefined || more.length > 0) throw new Failure("name one file. `tollgate export FILE` writes one.");
  const body = read(file);
  const query = { dry_run: values["dry-run"] === true, prune: values.prune === true };
  let [last, warned] = [Infinity, false];
  for (;;) {
    const plan = await ask(values, "import", { method: "PUT", query, body });
    const shown = plan.dry_run ? plan.changes : plan.changes.slice(0, plan.changes.length - plan.remaining);
    shown.forEach((change) => console.log(lineOf(change)));
    if (!warned) plan.warnings.forEach((warning) => say(`warning: ${warning}`));
    warned = true;
    if (plan.remaining === 0) {
      const counts = `${plan.create} to create, ${plan.update} to update, ${plan.delete} to delete`;
      console.log(plan.dry_run ? `${counts}; ${plan.unchanged} unchanged` : `applied; ${plan.unchanged} unchanged`);
      if (plan.not_in_document > 0 && !plan.prune) console.log(`${plan.not_in_document} not in the document stay as they are`);
      return 0;
    }
    // Each request carries out a part. One that carries out nothing would never come to an end.
    if (plan.remaining >= last) throw new Failure(`${plan.remaining} changes remain and do not become fewer: another change comes between.`);
    last = plan.remaining;
  }
}

function lineOf({ action, kind, gateway, name, changes }) {
  const fields = Object.entries(changes ?? {}).map(([field, { from, to }]) => `${field}: ${clipped(from)} → ${clipped(to)}`);
  return [`${SIGNS[action]} ${gateway ? `${gateway} ` : ""}${kind} ${name}`, ...fields.map((field) => `    ${field}`)].join("\n");
}

function clipped(value) {
  const text = JSON.stringify(value ?? null);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

function read(file) {
  let text;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${error.message}`);
  }
  try {
    JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw new Failure(`${file} is no JSON: ${error.message}`);
  }
  return text.replace(/^\uFEFF/, "");
}
