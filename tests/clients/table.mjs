// The table *client × feature* in docs/clients.md, between two marks.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What each client is asked to do, in the order of the columns. */
export const FEATURES = {
  chat: "chat",
  stream: "stream",
  tools: "tools",
  files: "files",
  embeddings: "embeddings",
  media: "images, audio",
  errors: "errors",
  token: "token only",
  feedback: "feedback",
  socket: "WebSocket",
};

const PAGE = fileURLToPath(new URL("../../docs/clients.md", import.meta.url));
const BEGIN = "<!-- The table is made by `npm run clients -- --update`. -->";
const END = "<!-- The end of the table. -->";

/** The rows of the page, by client; each is its line. */
export function committed() {
  const text = existsSync(PAGE) ? readFileSync(PAGE, "utf8") : "";
  const lines = text.slice(text.indexOf(BEGIN), text.indexOf(END)).split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| client"));
  return new Map(lines.map((line) => [line.split(" | ")[0].slice(2), line]));
}

/** The line of a client: `cells` has "yes" or a reason for each feature. */
export function line(client, { made, cells }) {
  const empty = Object.keys(FEATURES).filter((feature) => !cells[feature]);
  if (empty.length > 0) throw new Error(`${client} says nothing of ${empty.join(", ")}: say "yes" by a test, or the reason why not`);
  return `| ${[client, made, ...Object.keys(FEATURES).map((feature) => cells[feature])].join(" | ")} |`;
}

export function write(rows) {
  const page = readFileSync(PAGE, "utf8");
  const [before, after] = [page.slice(0, page.indexOf(BEGIN)), page.slice(page.indexOf(END))];
  const head = [`| client | version | ${Object.values(FEATURES).join(" | ")} |`, `|---|---|${"---|".repeat(Object.keys(FEATURES).length)}`];
  const sorted = [...rows].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, text]) => text);
  writeFileSync(PAGE, `${before}${BEGIN}\n\n${[...head, ...sorted].join("\n")}\n\n${after}`);
}
