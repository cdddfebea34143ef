// Every query of the routes that read logs, with values that change from call to call.
import { setTimeout as sleep } from "node:timers/promises";

const DAY = 86_400_000;

const FIGURES = [
  "cost", "speed", "human_feedback", "success_rate", "cache_hit_rate", "p50_duration", "p95_duration", "p99_duration", "p50_first_byte",
  "p95_first_byte", "p99_first_byte", "tokens_in", "tokens_out", "cost_per_thumbs_up", "score", "feedback:rating",
];

const filters = (...list) => `filters=${encodeURIComponent(JSON.stringify(list.map(clause)))}`;
const clause = (one) => (Array.isArray(one) ? { key: one[0], operator: one[1], value: one.slice(2) } : one);
const pair = (key, value) => [`metadata.${key}`, "eq", value];
const nth = (list, n) => list[n % list.length];
const json = (body, method = "POST") => ({ method, body: JSON.stringify(body) });

export async function measure(bench, known) {
  await lists(bench, known);
  await single(bench, known);
  await dashboard(bench, known);
  await feedback(bench, known);
  await files(bench, known);
  await evaluations(bench, known);
}

async function lists(bench, known) {
  const { first, last, ids, events, responses, users, tenants, orders, models, providers } = known;
  const time = (at) => new Date(at).toISOString();
  const days = Math.floor((last - first) / DAY) - 1;
  const day = (n) => `start_date=${time(first + (n % days) * DAY)}&end_date=${time(first + ((n % days) + 1) * DAY)}`;
  const team = (n) => nth(["search", "support", "growth", "core", "data", "mobile"], n);
  await bench.list("newest", "");
  await bench.list("oldest", "order_by_direction=asc");
  await bench.list("20 of them", "per_page=20");
  await bench.list("`page=200`", (n) => `page=${150 + n}`);
  await bench.list("behind a cursor", (n) => `cursor=${nth(ids, n)}`);
  await bench.list("behind a cursor, oldest first", (n) => `cursor=${nth(ids, n)}&order_by_direction=asc`);
  await bench.list("one day", day);
  await bench.list("one day, oldest first", (n) => `${day(n)}&order_by_direction=asc`);
  await bench.list("`provider`", (n) => `provider=${nth(providers, n)}`);
  await bench.list("`provider` on one day", (n) => `provider=${nth(providers, n)}&${day(n)}`);
  await bench.list("`model`", (n) => `model=${encodeURIComponent(nth(models, n))}`);
  await bench.list("`model` on one day", (n) => `model=${encodeURIComponent(nth(models, n))}&${day(n)}`);
  await bench.list("one of two models", (n) => filters(["model", "eq", nth(models, n), nth(models, n + 7)]));
  await bench.list("one of two models, both rare", filters(["model", "eq", models.at(-1), models.at(-2)]));
  await bench.list("`model` is not", (n) => filters(["model", "neq", nth(models, n)]));
  await bench.list("`success=true`", "success=true");
  await bench.list("`success=false` (2 %)", "success=false");
  await bench.list("`cached=true` (4 %)", "cached=true");
  await bench.list("`cached=false`", "cached=false");
  await bench.list("thumbs (1 or 4 %)", (n) => `feedback=${n % 2 === 0 ? 1 : -1}`);
  await bench.list("no thumb", filters(["feedback", "absent"]));
  await bench.list("thumbs-up on one model", (n) => `feedback=1&model=${encodeURIComponent(nth(models, n))}`);
  await bench.list("failures of one model", (n) => `success=false&model=${encodeURIComponent(nth(models, n))}`);
  await bench.list("`score` over 90 (0.2 %)", filters(["score", "gt", 90]));
  await bench.list("one `score`", (n) => filters(["score", "eq", n % 100]), { least: 0 });
  await bench.list("`feedback.rating`", (n) => filters(["feedback.rating", "eq", 1 + (n % 5)]));
  await bench.list("`metadata.env` is production", filters(pair("env", "production")), { least: 0 });
  await bench.list("`metadata.user_id`, one user", (n) => filters(pair("user_id", nth(users, n))));
  await bench.list("`metadata.tenant`, one tenant", (n) => filters(pair("tenant", nth(tenants, n))));
  await bench.list("`metadata.order_no`, a number", (n) => filters(pair("order_no", nth(orders, n))));
  await bench.list("`metadata.test` is true", filters(pair("test", true)));
  await bench.list("a pair on one day", (n) => `${filters(pair("team", team(n)))}&${day(n)}`, { least: 0 });
  await bench.list("a pair, model and success", (n) => filters(pair("team", team(n)), ["model", "eq", nth(models, n)], ["success", "eq", true]), { least: 0 });
  await bench.list("two pairs", (n) => filters(pair("team", team(n)), pair("env", nth(["staging", "dev", "production"], n))), { least: 0 });
  await bench.list("two pairs, the first one rare", (n) => filters(pair("user_id", nth(users, n)), pair("env", "production")), { least: 0 });
  await bench.list("two pairs, the second one rare", (n) => filters(pair("env", "production"), pair("user_id", nth(users, n))), { least: 0 });
  await bench.list("a pair, newest of the rest", (n) => `${filters(pair("team", team(n)))}&cursor=${nth(ids, n)}`, { least: 0 });
  await bench.list("`id`", (n) => filters(["id", "eq", nth(ids, n)]));
  await bench.list("20 ids", (n) => filters(["id", "eq", ...Array.from({ length: 20 }, (_, at) => nth(ids, n + at))]));
  await bench.list("`event_id`", (n) => filters(["event_id", "eq", nth(events, n)]));
  await bench.list("`response_id`", (n) => filters(["response_id", "eq", nth(responses, n)]));
  await bench.list("`model_type=embeddings`", filters(["model_type", "eq", "embeddings"]));
  await bench.list("`finish_reason=length`", filters(["finish_reason", "eq", "length"]));
  await bench.list("`tokens_out` over 1,000 (3 %)", filters(["tokens_out", "gt", 1_000]));
  await bench.list("`duration` over 10 s (0.3 %)", filters(["duration", "gt", 10_000]));
  await bench.list("`duration` over 5 s on one day", (n) => `${filters(["duration", "gt", 5_000])}&${day(n)}`);
  await bench.list("`cost` over $0.01 (rare)", filters(["cost", "gt", 0.01]), { least: 0 });
  await bench.list("`status_code=429`", filters(["status_code", "eq", 429]));
  await bench.list("`error` contains reset", filters(["error", "contains", "reset"]));
  await bench.list("`model` contains gpt", filters(["model", "contains", "gpt"]));
  await bench.list("`model` contains what none has", filters(["model", "contains", "no-such-model"]), { least: 0 });
  await bench.list("`user_agent` contains openai", filters(["user_agent", "contains", "openai"]));
  await bench.list("one of two conditions", (n) => filters({ or: [clause(["model", "eq", nth(models, n)]), clause(pair("team", team(n)))] }));
  await bench.list("`metadata.key`", filters(["metadata.key", "eq", "channel"]), { least: 0 });
  await bench.list("`metadata.value`", filters(["metadata.value", "eq", "ios"]), { least: 0 });
  await bench.list("a pair is absent", filters(["metadata.team", "absent"]));
  await bench.list("a pair contains", filters(["metadata.tenant", "contains", "tenant-1"]), { least: 0 });
  await bench.list("`search=ios`", "search=ios", { least: 0 });
  await bench.list("`search`, what none has", "search=no-such-text", { least: 0 });
  await bench.list("the same with `examine=5000`", "search=no-such-text&examine=5000", { least: 0 });
  await bench.list("`search` on one day", (n) => `search=ios&${day(n)}`, { least: 0 });
  for (const field of ["provider", "model", "model_type", "success", "cached"]) {
    for (const direction of ["desc", "asc"]) await bench.list(`\`order_by=${field}\`, ${direction}`, `order_by=${field}&order_by_direction=${direction}`);
  }
  await bench.list("`order_by=model` with a filter", (n) => `order_by=model&success=false&${day(n)}`);
  await bench.list("`page=10000`", "page=10000", { bar: false, least: 0 });
  await bench.list("`meta_info`, all logs", "meta_info=true", { bar: false });
  await bench.list("`meta_info`, one day", (n) => `meta_info=true&${day(n)}`, { bar: false });
}

async function single(bench, { ids }) {
  const path = (n) => `${bench.logs}/${nth(ids, n)}`;
  await bench.time("a log", (n) => bench.ask(path(n)));
  await bench.time("its request", (n) => bench.ask(`${path(n)}/request`, {}, [200, 404]));
  await bench.time("its response", (n) => bench.ask(`${path(n)}/response`, {}, [200, 404]));
  await bench.time("a thumb (PATCH)", (n) => bench.ask(path(n), json({ feedback: n % 2 === 0 ? 1 : -1, metadata: { judged: n } }, "PATCH")));
  await bench.time("the storage", () => bench.ask("/gateways/bench/storage"));
}

/** What the dashboard asks for besides. */
async function dashboard(bench, { ids }) {
  const base = "/gateways/bench";
  await bench.time("facets of six fields", () => bench.ask(`${bench.logs}/facets?fields=model,provider,status_code,finish_reason,metadata,metadata.team`));
  await bench.time("facets of what failed", () => bench.ask(`${bench.logs}/facets?fields=model&success=false`));
  await bench.time("sessions", () => bench.ask(`${base}/sessions`));
  await bench.time("a conversation", (n) => bench.ask(`${bench.logs}/${nth(ids, n)}/conversation`));
  await bench.time("attempts", (n) => bench.ask(`${bench.logs}/${nth(ids, n)}/attempts`));
  await bench.time("analytics with the time before", () => bench.ask(`${base}/analytics?compare=previous&group_by=model`));
  await bench.time("analytics by a key of metadata", () => bench.ask(`${base}/analytics?granularity=day&start=${Date.now() - 30 * 86_400_000}&group_by=metadata.team`));
}

async function feedback(bench, { ids, events, responses }) {
  const said = (n) => json({ data: { rating: 1 + (n % 5) } });
  await bench.time("feedback by the log's id", (n) => bench.ask(`/feedback/${nth(ids, n)}`, said(n)));
  await bench.time("feedback by the provider's id", (n) => bench.ask(`/feedback/${nth(responses, n)}`, said(n)));
  await bench.time("feedback by event id", (n) => bench.ask(`/feedback/${nth(events, n)}`, said(n)));
  await bench.time("what was said", (n) => bench.ask(`/feedback/${nth(ids, n)}`));
  const line = (n) => JSON.stringify({ request_id: nth([nth(ids, n), nth(responses, n), nth(events, n)], n), data: { rating: 1 + (n % 5) } });
  const bulk = (n, count) => bench.ask("/feedback", { method: "POST", body: Array.from({ length: count }, (_, at) => line(n + at)).join("\n") });
  await bench.time("bulk feedback, 5 lines", (n) => bulk(n, 5));
  await bench.time("bulk feedback, 100 lines", (n) => bulk(n, 100), { repeats: 20, bar: false });
}

async function files(bench, { ids, models }) {
  const path = `${bench.logs}/export`;
  await bench.time("export, the first 250", () => bench.ask(`${path}?limit=250`));
  await bench.time("export behind a cursor", (n) => bench.ask(`${path}?limit=250&cursor=${nth(ids, n)}`));
  await bench.time("export of one model as CSV", (n) => bench.ask(`${path}?limit=250&format=csv&model=${encodeURIComponent(nth(models, n))}`));
  await bench.time("export of one pair", () => bench.ask(`${path}?limit=250&${filters(pair("team", "search"))}`));
  await bench.time("export of thumbs-up for fine-tuning, 20", () => bench.ask(`${path}?limit=20&format=openai-finetune`));
  await bench.time("export of 10,000 logs", () => bench.ask(`${path}?limit=10000`), { bar: false, repeats: 10 });
}

async function evaluations(bench, { models }) {
  const base = "/gateways/bench";
  const run = Date.now();
  const made = async (path, body) => JSON.parse(await bench.ask(`${base}/${path}`, json(body))).result.id;
  const sets = [];
  await bench.time("create a dataset", async (n) => {
    const chosen = [[], [clause(["model", "eq", nth(models, n)])], [clause(pair("team", "search"))], [clause(["success", "eq", false])]];
    sets.push(await made("datasets", { name: `set ${run} ${n}`, enable: true, filters: nth(chosen, n) }));
  });
  if (sets.length === 0) return;
  await bench.time("list the datasets", () => bench.ask(`${base}/datasets`));
  await bench.time("a dataset", (n) => bench.ask(`${base}/datasets/${nth(sets, n)}`));
  const made_of = [];
  // Only the first is carried out here: the others are removed before the clock looks.
  await bench.time("create an evaluation", async (n) => {
    made_of.push(await made("evaluations", { name: `few ${run} ${n}`, dataset_ids: [nth(sets, 3)], evaluation_type_ids: ["cost", "json_valid"] }));
    await bench.ask(`${base}/evaluations/${made_of.pop()}`, { method: "DELETE" });
  }, { bar: false, repeats: 20 });
  const done = [];
  for (const [name, set, plan] of [
    ["evaluation of all logs, 16 figures by model", 0, { evaluation_type_ids: FIGURES, group_by: "model" }],
    ["evaluation of one model's answers", 1, { evaluation_type_ids: ["cost", "json_valid"] }],
    ["evaluation of one pair by a pair", 2, { evaluation_type_ids: ["cost", "p95_duration"], group_by: "metadata.env" }],
  ]) {
    await bench.recorder.take();
    const from = performance.now();
    const id = await made("evaluations", { name: `${name} ${run}`, dataset_ids: [sets[set]], ...plan });
    const statements = [];
    for (;;) {
      const { result } = JSON.parse(await bench.ask(`${base}/evaluations/${id}`));
      statements.push(...(await bench.recorder.take()));
      // The rest of a run over answers is more of the same.
      if (result.processed || performance.now() - from > 60_000) break;
      await sleep(100);
    }
    done.push(id);
    await bench.note(`${name}, a statement of the run`, [performance.now() - from], statements.filter(({ sql }) => sql.includes("logs")), false);
  }
  await bench.time("list the evaluations", () => bench.ask(`${base}/evaluations`));
  await bench.time("an evaluation", (n) => bench.ask(`${base}/evaluations/${nth(done, n)}`));
  await bench.time("compare two", () => bench.ask(`${base}/evaluations/compare?ids=${done[0]},${done[1]}`));
  await bench.time("verdicts", (n) => bench.ask(`${base}/evaluations/${nth(done, n)}/verdicts`));
  for (const id of done) await bench.ask(`${base}/evaluations/${id}`, { method: "DELETE" });
  for (const id of sets) await bench.ask(`${base}/datasets/${id}`, { method: "DELETE" });
}
