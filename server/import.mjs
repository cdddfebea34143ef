// `tollgate import`: logs, and what belongs to them, from other systems into a running Tollgate, by its API.
import * as fs from "node:fs";
import { resolve } from "node:path";
import { Failure, say } from "./base.mjs";
import { addressOf, chosen, number, parsed } from "./options.mjs";
import { variable } from "./secrets.mjs";
import { Api, RATE, Refused } from "./import/calls.mjs";
import { Progress, imported } from "./import/cloudflare.mjs";
import { given } from "./import/feedback.mjs";
import { Unusable } from "./import/fields.mjs";
import { rowsOf } from "./import/rows.mjs";
import { Logs, Refusals } from "./import/target.mjs";

const FORMATS = { langfuse: () => import("./import/langfuse.mjs"), helicone: () => import("./import/helicone.mjs"), litellm: () => import("./import/litellm.mjs"), bedrock: () => import("./import/bedrock.mjs") };

export const USAGE = "cloudflare [OPTIONS], or import langfuse|helicone|litellm|bedrock|feedback FILE [OPTIONS]";
export const HELP = [
  { name: "account", value: "ID", about: "the account, at Cloudflare and here" },
  { name: "to-account", value: "NAME", usual: "the same", about: "the account here" },
  { name: "gateway", value: "ID", usual: "all; default for a file", about: "the gateway; for Cloudflare several with commas between" },
  { name: "to", value: "ADDRESS", usual: "that of HOST and PORT", about: "where Tollgate runs" },
  { name: "since", value: "TIME", usual: "all", about: "cloudflare: logs from then on" },
  { name: "bodies", about: "cloudflare: what was asked and answered, too: two more calls for each log" },
  { name: "no-logs", about: "cloudflare: everything but logs" },
  { name: "rate", value: "N", usual: String(RATE), about: "cloudflare: calls in five minutes" },
  { name: "provider", value: "NAME", usual: "such rows are not taken", about: "a file: the provider of rows that name none" },
  { name: "job", value: "ID", about: "bedrock: the model invocation job that a file is of" },
  { name: "model", value: "ID", about: "bedrock: the job's model" },
  { name: "state", value: "FILE", usual: "tollgate-import-ACCOUNT.json", about: "cloudflare: how far it is" },
  { name: "refused", value: "FILE", usual: "tollgate-import-refused.ndjson", about: "what was not taken, with the reason" },
  { name: "dry-run", about: "says what would be done, and does nothing" },
];
export const MORE = "CLOUDFLARE_API_TOKEN has a token with the permission AI Gateway Read, or CLOUDFLARE_API_TOKEN_FILE the name of a file with it. TOLLGATE_TOKEN has one\nthat may edit here; without it the ADMIN_TOKEN of .dev.vars counts. An import that was interrupted goes on with the same command.";

export async function run(args, folder = process.cwd(), env = process.env) {
  const { values, positionals: [source, file, ...more] } = parsed(args, HELP);
  const known = ["cloudflare", ...Object.keys(FORMATS), "feedback"];
  if (!known.includes(source)) throw new Failure(`import takes ${known.join(", ")}${source ? `, not "${source}"` : ""}. See tollgate import --help.`);
  const wantsFile = source !== "cloudflare";
  if (more.length > 0 || wantsFile !== (file !== undefined)) throw new Failure(wantsFile ? `import ${source} takes one file.` : "import cloudflare takes no file.");
  for (const name of ["job", "model"]) if (source === "bedrock" && !values[name]) throw new Failure(`import bedrock takes --job and --model, which its files do not say; --${name} is missing.`);
  const account = values["to-account"] ?? values.account ?? (wantsFile ? "local" : undefined);
  if (!account) throw new Failure("name the account with --account: 32 hexadecimal digits in the address of Cloudflare's dashboard.");
  const url = (values.to ?? addressOf(chosen([], { home: folder }))).replace(/\/$/, "");
  const token = env.TOLLGATE_TOKEN || variable(resolve(folder, ".dev.vars"), "ADMIN_TOKEN");
  if (!token) throw new Failure("there is no token for Tollgate: set TOLLGATE_TOKEN, or run this in the folder of the server.");
  const isDry = values["dry-run"] === true;
  const refusals = new Refusals(resolve(folder, values.refused ?? "tollgate-import-refused.ndjson"));
  const to = new Api({ name: "Tollgate", token, base: `${url}/accounts/${encodeURIComponent(account)}/ai-gateway` });
  to.wants = "may edit in this account";
  const gateway = values.gateway ?? "default";
  let sum;
  try {
    sum = await taken();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new Failure(`${error.message}. What was taken is kept: run the same command again when the reason is gone.`);
  }
  async function taken() {
    if (source === "cloudflare") return cloudflare({ values, to, url, account, folder, env, refusals });
    if (source === "feedback") return given({ api: new Api({ name: "Tollgate", token, base: url }), file: resolve(folder, file), account, gateway: values.gateway, refusals, isDry });
    return fromFile({ format: await FORMATS[source](), file: resolve(folder, file), api: to, gateway, refusals, isDry, given: values });
  }
  console.log(sum);
  if (refusals.count > 0) say(`${refusals.count} were not taken; ${refusals.file} has each with the reason.`);
  return 0;
}

async function cloudflare({ values, to, url, account, folder, env, refusals }) {
  const token = env.CLOUDFLARE_API_TOKEN || (env.CLOUDFLARE_API_TOKEN_FILE && readToken(resolve(folder, env.CLOUDFLARE_API_TOKEN_FILE)));
  if (!token) throw new Failure("there is no token for Cloudflare: set CLOUDFLARE_API_TOKEN, or CLOUDFLARE_API_TOKEN_FILE. It needs the permission AI Gateway Read.");
  const since = values.since === undefined ? undefined : new Date(values.since);
  if (since && Number.isNaN(since.getTime())) throw new Failure(`--since must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z, not "${values.since}".`);
  const rate = number("--rate", values.rate ?? String(RATE), 1, 1_200);
  const base = (env.CLOUDFLARE_API_BASE_URL || "https://api.cloudflare.com/client/v4").replace(/\/$/, "");
  const from = new Api({ name: "Cloudflare", token, rate, base: `${base}/accounts/${encodeURIComponent(values.account ?? account)}/ai-gateway` });
  from.wants = "has the permission AI Gateway Read in this account";
  const progress = new Progress(resolve(folder, values.state ?? `tollgate-import-${account}.json`), { from: `${base}/${values.account ?? account}`, to: `${url}/${account}`, bodies: values.bodies === true, since: since?.toISOString() ?? "all" });
  const summary = await imported({ from, to, account, refusals, progress, options: { ...values, since: since?.toISOString() } });
  if (from.waited > 0) say(`${Math.round(from.waited / 1_000)} s were spent waiting for Cloudflare's rate limit.`);
  return summary.join("\n");
}

function readToken(file) {
  try {
    return fs.readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${error.code}.`);
  }
}

async function fromFile({ format, file, api, gateway, refusals, isDry, given }) {
  const path = `/gateways/${encodeURIComponent(gateway)}`;
  if ((await api.text(path, { optional: true })) === null) throw new Failure(`Tollgate has no gateway ${gateway} in this account. Make it, or name another one with --gateway.`);
  const logs = new Logs({ api, path: `${path}/logs`, refusals, isDry });
  let rows = 0;
  for await (const { number: row, row: content, reason } of rowsOf(file)) {
    rows += 1;
    const where = { row, id: content?.id ?? content?.request_id };
    if (reason) logs.refuse({ row }, reason);
    else {
      try {
        for (const log of format.logsOf(content, given)) await logs.add(log, where);
      } catch (error) {
        if (!(error instanceof Unusable)) throw error;
        logs.refuse(where, error.message);
      }
    }
    if (rows % 10_000 === 0) say(`${rows} rows read.`);
  }
  await logs.flush();
  return `${rows} rows read: ${logs.sum()}`;
}
