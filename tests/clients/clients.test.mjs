// Official clients, unchanged but for the base URL, through the built Worker to strict stand-ins. Each program below js/ and
// python/ drives one client; what it did is held against the rows of a gateway that is made for that one feature.
//
//   npm run clients [-- part of a program's name] [-- --update]     the second writes the table of docs/clients.md
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Gateway, until } from "../e2e/harness.mjs";
import { secretOf } from "./providers/bedrock.mjs";
import { StandIn } from "./standin.mjs";
import { committed, line, write } from "./table.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const { CLIENTS_PYTHON: python, CLIENTS_PART: part = "", CLIENTS_UPDATE: update, CLIENTS_NPM_MISSING: missing, CLIENTS_MISSING: left = "" } = process.env;
/** A client that hangs is ended after so long. The slowest take 20 s alone, and minutes on a busy machine. */
const PATIENCE = 300_000;
const AZURE_RESOURCE = "myres";

/** What runs where npm's registry could not be reached: the clients that the package.json above brings. */
const ALWAYS = ["anthropic.mjs", "cloudflare.mjs", "openai.mjs"];
const programs = [
  ...readdirSync(join(here, "js")).filter((name) => name.endsWith(".mjs") && (!missing || ALWAYS.includes(name))).map((name) => ({ name: `js/${name}`, command: process.execPath })),
  ...(python ? readdirSync(join(here, "python")).filter((name) => name.endsWith(".py")).map((name) => ({ name: `python/${name}`, command: python })) : []),
].filter(({ name }) => name.includes(part) && !/\/_/.test(name));

assert.ok(programs.length > 0, `no program below js/ or python/ has ${part} in its name`);

let gw, standIn, token, control, folder;
let cases = 0;
/** By client: `{made, cells, program}`. */
const clients = new Map();
const results = [];

before(async () => {
  standIn = await StandIn.start();
  standIn.control = { begin, end, about };
  gw = await Gateway.start({ upstream: standIn, bindings: { MAX_GATEWAYS: "5000" } });
  token = (await made("/tokens", { name: "clients", permissions: ["run"] })).value;
  control = (await made("/tokens", { name: "control", permissions: ["read", "edit"] })).value;
  standIn.secrets = [token, control];
  folder = mkdtempSync(join(tmpdir(), "tollgate-clients-"));
});
after(async () => {
  if (folder) rmSync(folder, { recursive: true, force: true });
  // Without a gateway the stand-in would keep the process alive.
  await (gw ?? standIn)?.stop();
});

async function made(path, body) {
  const answer = await gw.api(path, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).result;
}

/** What a program says of a client: its version, and a reason for each feature that it does not have. */
function about({ client, version, program, reasons }) {
  clients.set(client, { made: version, cells: { ...reasons }, program });
}

/** Makes a gateway for one feature of one client. */
async function begin({ client, feature, providers, settings: { keys, ...settings } = {} }) {
  const number = (cases += 1);
  const gateway = await gw.create(`case-${number}`, { authentication: true, ...settings });
  standIn.open(number, feature, feature === "token" || keys ? "stored" : "own");
  const stored = `sk-storedc${number}z-0123456789abcdef`;
  const accessKeyId = `AKIASTOREDC${number}Z0`;
  const secrets = {
    "azure-openai": { apiKey: stored, resource: AZURE_RESOURCE },
    "aws-bedrock": { accessKeyId, secretAccessKey: secretOf(accessKeyId), region: "us-east-1" },
  };
  if (feature === "token" || keys) {
    for (const provider of providers) await made(`/gateways/${gateway}/provider_configs`, { alias: "default", default_config: true, provider_slug: provider, secret: secrets[provider] ?? stored });
  }
  return { case: number, gateway, url: `${gw.url}/v1/acct/${gateway}`, origin: gw.url, key: `sk-ownc${number}z-0123456789abcdef`, token, control, resource: AZURE_RESOURCE, client, feature };
}

/** Looks at what a feature left behind. */
async function end({ client, feature, case: number, error, judged, rows: wanted, refused, translated }) {
  let problem = error;
  try {
    if (!error) await check({ number, judged, wanted, refused, translated });
  } catch (failure) {
    problem = failure.message;
  }
  const told = standIn.cases.get(number);
  if (told.problems.length > 0) problem = [...told.problems, problem].filter(Boolean).join("\n");
  results.push({ client, feature, problem });
  if (problem && process.env.CLIENTS_TRACE) console.error(`\n## ${client}: ${feature}: ${problem}`);
  clients.get(client).cells[feature] = problem ? "fails" : "yes";
}

/** A line of a batch's results, which the gateway has read by itself. */
const isLine = ({ request_type, event_id, id }) => request_type === "batch" && event_id !== id;

async function check({ number, judged, wanted, refused, translated }) {
  const { told, kind } = standIn.cases.get(number);
  assert.ok(told.length > 0 || wanted === 0, "no request came to the provider");
  let list;
  const asked = async () => (await gw.result(`/gateways/case-${number}/logs?per_page=50&order_by=created_at&order_by_direction=asc`)).filter((row) => !isLine(row));
  const shown = async () => (list = await asked()).length >= told.length;
  await until(shown, `a row for each of ${told.map(({ method, path }) => `${method} ${path}`).join(", ")}`, 5_000).catch((error) => {
    throw new Error(`${error.message}; there are ${list.length}`);
  });
  const all = await Promise.all(list.map(({ id }) => gw.result(`/gateways/case-${number}/logs/${id}`)));
  const isRefusal = ({ error }) => Boolean(refused) && /^gateway: /.test(error ?? "");
  const rows = all.filter((row) => !isRefusal(row));
  if (refused) assert.ok(all.some(isRefusal) && told.length < 10, `a budget stopped nothing: ${told.length} answers, ${all.length} rows`);
  const facts = (row) => ({ provider: row.provider, path: row.path, status: row.status_code, model: row.model });
  assert.deepEqual(rows.map(facts).map(({ provider, status }) => [provider, status]), told.map(({ provider, status }) => [provider, status]), "the rows are not what the provider answered");
  for (const [index, row] of rows.entries()) {
    const answer = told[index];
    const expected = { success: answer.status < 400 };
    if (!answer.upload) expected.credential = { stored: "stored", own: "request" }[kind];
    if ("model" in answer) expected.model = answer.model;
    if (answer.kind) expected.model_type = answer.kind;
    if (translated) expected.translated_from = translated;
    // The id that the client saw.
    if (answer.id) expected.response_id = translated === "responses" ? `resp_${answer.id}` : answer.id;
    if (answer.finish) expected.finish_reason = answer.finish;
    if ("in" in answer) expected.tokens_in = answer.in;
    if ("out" in answer) expected.tokens_out = answer.out;
    const found = Object.fromEntries(Object.keys(expected).map((name) => [name, row[name]]));
    assert.deepEqual(found, expected, `the row of ${answer.method} ${answer.path} (${row.id})`);
    if (answer.priced) assert.ok(row.cost > 0, `the row of ${answer.path} has no cost: ${row.cost_unknown}`);
    assert.ok(!/(own|stored)c\d+z/i.test(JSON.stringify(row)), `the row of ${answer.path} has a key in it`);
  }
  if (judged) assert.deepEqual(rows.find(({ id }) => id === judged)?.feedback_data, { rating: 5 }, "the feedback");
}

/** No client may reach another host than this one, and none shall report its use elsewhere. */
function environment() {
  const keep = Object.fromEntries(["PATH", "LANG", "LC_ALL", "TZ"].filter((name) => process.env[name]).map((name) => [name, process.env[name]]));
  const proxy = standIn.origin;
  return {
    ...keep,
    HOME: folder,
    TMPDIR: folder,
    STANDIN: standIn.origin,
    PYTHONUNBUFFERED: "1",
    // A client that tries another host all the same comes to the stand-in, which refuses and tells.
    HTTP_PROXY: proxy, HTTPS_PROXY: proxy, http_proxy: proxy, https_proxy: proxy,
    NO_PROXY: "127.0.0.1,localhost", no_proxy: "127.0.0.1,localhost",
    LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_TELEMETRY: "False",
    LANGSMITH_TRACING: "false", LANGCHAIN_TRACING_V2: "false",
    DO_NOT_TRACK: "1", DISABLE_TELEMETRY: "1", DISABLE_ERROR_REPORTING: "1", DISABLE_AUTOUPDATER: "1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    HF_HUB_OFFLINE: "1", AWS_EC2_METADATA_DISABLED: "true", OTEL_SDK_DISABLED: "true", AI_SDK_LOG_WARNINGS: "false",
  };
}

function run({ name, command }) {
  return new Promise((resolve) => {
    const child = spawn(command, [join(here, name)], { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    const output = [];
    child.stdout.on("data", (chunk) => output.push(chunk));
    child.stderr.on("data", (chunk) => output.push(chunk));
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? signal, output: Buffer.concat(output).toString() });
    });
  });
}

describe("clients", { concurrency: 2 }, () => {
  for (const program of programs) {
    test(program.name, async (context) => {
      const { code, output } = await run(program);
      for (const [client, { program: by }] of clients) {
        if (by !== program.name) continue;
        for (const { feature, problem } of results.filter((result) => result.client === client)) {
          await context.test(`${client}: ${feature}`, () => {
            if (problem) throw Object.assign(new Error(problem), { stack: problem });
          });
        }
      }
      assert.equal(code, 0, output);
    });
  }
});

test("nothing came to a provider that belongs to no feature, and no client tried another host", () => {
  assert.deepEqual(standIn.strays, []);
});

test("the table of docs/clients.md is what the clients did", () => {
  const rows = committed();
  const ran = new Map([...clients].map(([client, row]) => [client, line(client, row)]));
  const isWhole = part === "" && python && !missing && left === "";
  // Of what was not run, the table says what it said before.
  if (update) return write(isWhole ? ran : new Map([...rows, ...ran]));
  const stale = [...ran].filter(([client, text]) => rows.get(client) !== text);
  assert.deepEqual(stale.map(([client]) => [client, rows.get(client)]), stale, "npm run clients -- --update writes it anew");
  if (isWhole) assert.deepEqual([...rows.keys()].filter((client) => !ran.has(client)), [], "the table has clients that no program drives");
  return undefined;
});
