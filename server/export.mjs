// `tollgate export`: the configuration of a running Tollgate as one JSON document, without its secrets.
import { writeFileSync } from "node:fs";
import { Failure, say } from "./base.mjs";
import { TOKEN, WHERE, ask } from "./control.mjs";
import { parsed } from "./options.mjs";

export const USAGE = "[FILE] [OPTIONS]";
export const HELP = WHERE;
export const MORE = `Without a file it prints the document. \`tollgate apply\` takes it back. ${TOKEN}`;

export async function run(args) {
  const { values, positionals: [file, ...more] } = parsed(args, HELP);
  if (more.length > 0) throw new Failure("a configuration goes into one file.");
  const document = `${JSON.stringify(await ask(values, "export"), null, 2)}\n`;
  if (file === undefined) {
    process.stdout.write(document);
    return 0;
  }
  try {
    writeFileSync(file, document);
  } catch (error) {
    throw new Failure(`${file} cannot be written: ${error.message}`);
  }
  say(`wrote ${file}`);
  return 0;
}
