// What the programs of npm's clients share: each feature is a function, or a text that says why the client does not have it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const TEXT = "A bowl of ramen, 味玉 🥚.";
export const WEATHER = "It is raining in Kyōto: ramen.";
export const CITY = "Kyōto";
export const PROMPT = "What should I eat for lunch?";
/** A prompt that the stand-in answers with an error. */
export const failing = (status) => `Please answer with status ${status}.`;
export const NO_HEADERS = "it does not show an answer's headers";

async function post(what, body) {
  const answer = await fetch(`${process.env.STANDIN}/control/${what}`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200);
  return answer.json();
}

/** The version of an installed package. */
export function versionOf(name) {
  const program = pathToFileURL(process.argv[1]);
  for (const folder of createRequire(program).resolve.paths(name)) {
    try {
      return `${name} ${JSON.parse(readFileSync(join(folder, name, "package.json"), "utf8")).version}`;
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
  }
  throw new Error(`${name} is not installed`);
}

/** Runs the features of a client. `providers` are those whose keys are stored where the client has only a token. */
export async function run(client, { of, providers }, said) {
  const features = { socket: "it opens none", ...said };
  const reasons = Object.fromEntries(Object.entries(features).filter(([, how]) => typeof how === "string"));
  const program = process.argv[1].split("/").slice(-2).join("/");
  await post("about", { client, version: versionOf(of), program, reasons });
  for (const [feature, how] of Object.entries(features)) {
    if (typeof how === "string") continue;
    const at = await post("begin", { client, feature, providers, settings: how.settings });
    const headers = { "cf-aig-authorization": `Bearer ${at.token}` };
    let judged;
    const judge = async (id) => {
      assert.match(id ?? "", /^[0-9A-Z]{26}$/, "the log's id");
      const answer = await fetch(`${at.origin}/feedback/${id}`, { method: "POST", headers: { authorization: `Bearer ${at.token}`, "content-type": "application/json" }, body: '{"data":{"rating":5}}' });
      assert.equal(answer.status, 200, await answer.text());
      judged = id;
    };
    const asked = { client, feature, case: at.case };
    try {
      const more = await how({ ...at, headers, judge, first: () => post("first", { case: at.case }) });
      await post("end", { ...asked, ...more, judged });
    } catch (error) {
      await post("end", { ...asked, error: `${error.stack}\n${error.cause?.stack ?? ""}` });
    }
  }
}

/** Reads a stream of pieces, and says when the first is there. */
export async function gather(pieces, first) {
  let [text, seen] = ["", false];
  for await (const piece of pieces) {
    if (piece && !seen) {
      seen = true;
      await first();
    }
    text += piece ?? "";
  }
  return text;
}
