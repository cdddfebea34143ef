// What a provider or a user wrote is opened in a browser that is signed in to the dashboard: it must be no page of this origin. No
// script of it runs or reaches the API, and no answer sets, reads or replaces the cookie of the session.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ACCOUNT, TOKEN, until } from "../e2e/harness.mjs";
import { Dashboard } from "./browser.mjs";

/** What each of them tries: to say that it ran, to read what the session may read, and to make itself the session. */
const ATTACK = `document.title = "owned"; try { document.cookie = "tollgate=forged; path=/"; } catch {} fetch("/dashboard/me?stolen", { credentials: "include" }).then((answer) => answer.text()).then((text) => { new Image().src = "/stolen?" + encodeURIComponent(text); });`;
const COOKIES = ["tollgate=forged; Path=/", "tollgate=; Path=/; Max-Age=0", "__Host-tollgate=forged; Path=/; Secure", "TOLLGATE=forged; Path=/", "=tollgate=forged; Path=/"];

const DOCUMENTS = {
  "text/html": `<!doctype html><title>harmless</title><script>${ATTACK}</script><img src="/stolen?img" onerror='${ATTACK}'><iframe srcdoc="<script>parent.document.title='owned'</script>"></iframe><meta http-equiv="refresh" content="0;url=/stolen?refresh"><link rel="stylesheet" href="/stolen?css"><form id=f action="/accounts/${ACCOUNT}/ai-gateway/gateways" method="post"></form><svg onload='document.getElementById("f").submit()'></svg>`,
  "image/svg+xml": `<svg xmlns="http://www.w3.org/2000/svg" onload='${ATTACK.replaceAll("'", "")}'><script>${ATTACK}</script><image href="/stolen?image"/></svg>`,
  "application/xhtml+xml": `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>harmless</title><script>${ATTACK.replaceAll("&", "&amp;")}</script></head><body/></html>`,
  "text/xml": `<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="/stolen?xsl"?><r><script xmlns="http://www.w3.org/1999/xhtml">${ATTACK}</script></r>`,
  "text/plain": `<!doctype html><title>harmless</title><script>${ATTACK}</script>`,
  "application/json": `<!doctype html><title>harmless</title><script>${ATTACK}</script>`,
  "": `<!doctype html><title>harmless</title><script>${ATTACK}</script>`,
};

let dashboard;
let gateway;
let context;
let requests = [];

before(async () => {
  dashboard = await Dashboard.start();
  gateway = dashboard.gateway;
  await gateway.create("gw");
  await gateway.create("cookies", { provider_cookies: true });
  // Not one of those that the other tests watch: the browser reports every script that it refuses.
  context = await dashboard.browser.newContext();
  const page = await context.newPage();
  await dashboard.signIn(page, TOKEN);
  await page.close();
});
after(() => dashboard.stop());

const sessionCookies = async () => (await context.cookies(gateway.url)).filter(({ name }) => /tollgate/i.test(name)).map(({ name, value, httpOnly, sameSite }) => ({ name, value, httpOnly, sameSite }));

/** Opens an address as a person would, and says what came of it. A download opens nothing. */
async function opened(path) {
  const page = await context.newPage();
  requests = [];
  // What the policy refuses has no answer: it never left the browser.
  page.on("response", (response) => requests.push(response.url().slice(gateway.url.length)));
  const answer = await page.goto(gateway.url + path).catch((error) => {
    if (!/Download is starting|ERR_ABORTED/.test(error.message)) throw error;
    return null;
  });
  // Whatever is started by a document has been started when it is idle.
  await page.waitForLoadState("networkidle");
  const origin = await page.evaluate(() => globalThis.origin).catch(() => "none");
  const seen = { isDownload: answer === null, title: await page.title(), origin, headers: (await answer?.allHeaders()) ?? {} };
  await page.close();
  return seen;
}

async function harmless(path, what) {
  const before = await sessionCookies();
  assert.equal(before.length, 1, "the session's cookie and no other");
  const seen = await opened(path);
  assert.notEqual(seen.title, "owned", `a script ran: ${what}`);
  // `/stolen` may be asked for where the document is of no origin; what is read there belongs to nobody. Here not even that happens.
  assert.deepEqual(requests.filter((url) => url !== path && url !== "/favicon.ico"), [], `it loaded something: ${what}`);
  if (!seen.isDownload) assert.ok(seen.origin === "null" || /^text\/plain|^application\/json|^text\/csv/.test(seen.headers["content-type"]), `${what} is a page of this origin: ${seen.headers["content-type"]}`);
  assert.deepEqual(await sessionCookies(), before, `the cookie was changed: ${what}`);
  return seen;
}

/** Every kind of document through a gateway, from a provider that sends cookies along. */
async function proxied(name, method) {
  for (const [type, body] of Object.entries(DOCUMENTS)) {
    const behaviour = { status: 200, headers: { ...(type && { "content-type": type }), "set-cookie": COOKIES, "clear-site-data": '"cookies", "storage"', "service-worker-allowed": "/", refresh: "0; url=/stolen?header", link: "</stolen?link>; rel=preload; as=script" }, body };
    gateway.upstream.next(behaviour);
    await method(type, `${name} ${type || "without a type"}`);
  }
}

test("an answer that a browser opens through the gateway is no page, and changes no cookie", async () => {
  for (const name of ["gw", "cookies"]) await proxied(name, (_, what) => harmless(`/v1/${ACCOUNT}/${name}/openai/page`, what));
  assert.ok(gateway.upstream.requests.length >= 14, "all of them were asked for");
  assert.ok(gateway.upstream.requests.every(({ headers }) => !/tollgate/.test(headers.cookie ?? "")), "no provider gets the session's cookie");
});

test("a request from a page of the dashboard's origin sets no cookie either", async () => {
  const page = await context.newPage();
  await page.goto(dashboard.url("gw/logs"));
  const before = await sessionCookies();
  for (const name of ["gw", "cookies"]) {
    gateway.upstream.next({ status: 200, headers: { "content-type": "application/json", "set-cookie": COOKIES, "clear-site-data": '"*"' }, body: "{}" });
    await page.evaluate((path) => fetch(path, { credentials: "include" }).then((answer) => answer.text()), `/v1/${ACCOUNT}/${name}/openai/x`);
  }
  assert.deepEqual(await sessionCookies(), before);
  assert.ok(gateway.upstream.requests.slice(-2).every(({ headers }) => !/tollgate/.test(headers.cookie ?? "")));
  await page.close();
});

test("the stored request and response of such a log, and exports of it, are no pages", async () => {
  const ids = [];
  await proxied("gw", async (type) => {
    const answer = await gateway.call("openai/chat/completions", { body: DOCUMENTS["text/html"], method: "POST", headers: { "content-type": type || "text/html", "cf-aig-metadata": JSON.stringify({ note: "<script>document.title='owned'</script>" }) } });
    await answer.text();
    ids.push((await gateway.logOf(answer)).id);
  });
  const logs = `/accounts/${ACCOUNT}/ai-gateway/gateways/gw/logs`;
  for (const id of ids) await harmless(`${logs}/${id}/response`, `response of ${id}`);
  for (const part of ["request", "conversation", "attempts"]) await harmless(`${logs}/${ids[0]}/${part}`, `${part} of ${ids[0]}`);
  for (const query of ["format=csv", "format=jsonl", "format=jsonl&bodies=true", "format=openai-finetune"]) {
    const seen = await harmless(`${logs}/export?${query}`, query);
    assert.ok(seen.isDownload, `${query} is saved and not shown`);
  }
});

test("an answer is no script, no style and no worker of a page that asks for one", async () => {
  const page = await context.newPage();
  await page.goto(dashboard.url("gw/logs"));
  gateway.upstream.answer = () => ({ status: 200, headers: { "content-type": "text/javascript", "service-worker-allowed": "/" }, body: ATTACK });
  const worker = await page.evaluate((path) => navigator.serviceWorker.register(path, { scope: path }).then(() => "registered", (error) => error.name), `/v1/${ACCOUNT}/gw/openai/worker.js`);
  assert.notEqual(worker, "registered");
  const script = await page.evaluate((path) => new Promise((resolve) => {
    const element = document.createElement("script");
    element.onload = () => resolve("ran");
    element.onerror = () => resolve("refused");
    try {
      element.src = path;
    } catch {
      return resolve("refused");
    }
    document.head.append(element);
  }), `/v1/${ACCOUNT}/gw/openai/script.js`);
  assert.equal(script, "refused");
  gateway.upstream.answer = undefined;
  assert.notEqual(await page.title(), "owned");
  await page.close();
});

test("the session is still that of before, after all of it", async () => {
  const page = await context.newPage();
  await page.goto(dashboard.url("gw/logs"));
  await until(async () => (await page.evaluate(() => fetch("/dashboard/me").then(({ status }) => status))) === 200, "the session");
  await page.close();
});
