// How commands ask a running Tollgate's control plane.
import { resolve } from "node:path";
import { Failure } from "./base.mjs";
import { addressOf, chosen } from "./options.mjs";
import { variable } from "./secrets.mjs";

export const WHERE = [
  { name: "account", value: "NAME", usual: "local", about: "whose configuration" },
  { name: "gateway", value: "ID", usual: "all, and what the account has beside them", about: "one gateway alone" },
  { name: "url", value: "ADDRESS", usual: "that of HOST and PORT", about: "where Tollgate runs" },
];
export const TOKEN = "The token is TOLLGATE_TOKEN of the environment, or else ADMIN_TOKEN of the .dev.vars of this folder. It has to be the admin token.";

/** Asks, and gives the answer's `result`. A refusal says where in the document it is. */
export async function ask(values, path, { method = "GET", query = {}, body, folder = process.cwd() } = {}) {
  const vars = resolve(folder, ".dev.vars");
  const token = process.env.TOLLGATE_TOKEN || variable(vars, "ADMIN_TOKEN");
  if (!token) throw new Failure(`there is no token: set TOLLGATE_TOKEN, or run this where ${vars} has an ADMIN_TOKEN.`);
  const url = (values.url ?? addressOf(chosen([], { home: folder }))).replace(/\/$/, "");
  const search = new URLSearchParams({ ...query, ...(values.gateway && { gateway: values.gateway }) });
  const answer = await fetch(`${url}/accounts/${encodeURIComponent(values.account ?? "local")}/ai-gateway/${path}?${search}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
    body,
  }).catch((error) => {
    throw new Failure(`${url} does not answer: ${error.cause?.message ?? error.message}. Start it, or name its address with --url.`);
  });
  const said = await answer.json().catch(() => ({}));
  const [error] = said.errors ?? [];
  if (answer.ok && said.result !== undefined) return said.result;
  const place = (error?.path ?? []).filter((step) => step !== "body").join(".");
  throw new Failure(`${url} refused${place ? `, at ${place}` : ""}: ${error?.message ?? `it answered ${answer.status}`}`);
}
