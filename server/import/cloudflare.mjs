// An account of Cloudflare AI Gateway, read by its API: gateways with what belongs to them, and logs under their own ids.
import * as fs from "node:fs";
import { Failure, say } from "../base.mjs";
import { Refused } from "./calls.mjs";
import { log, metadata, object, text, timeOf, whole } from "./fields.mjs";
import { Logs } from "./target.mjs";

/** What a page of logs may have at most. */
const PER_PAGE = 50;

/** Settings that hold secrets, or name stores of Cloudflare's: to be set again. */
const LEFT_OUT = ["otel", "stripe", "store_id", "logpush"];

/** Settings that tell nothing of a gateway but what it is called there. */
const NOT_SETTINGS = ["account_id", "account_tag", "internal_id", "created_at", "modified_at", "is_default", "wholesale", "internal"];

/** Where an import stands, in a file that is replaced as a whole: one that is killed goes on where it was. */
export class Progress {
  constructor(file, of) {
    this.file = file;
    const known = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : null;
    if (known && JSON.stringify(known.of) !== JSON.stringify(of)) throw new Failure(`${file} is of another import (${Object.values(known.of).join(", ")}). Name another file with --state, or remove it.`);
    this.now = known ?? { of, gateways: {} };
  }

  of(gateway) {
    return (this.now.gateways[gateway] ??= { since: null, stored: 0, existing: 0, refused: 0, cut: 0 });
  }

  save() {
    const next = `${this.file}.next`;
    fs.writeFileSync(next, JSON.stringify(this.now, null, 1), { mode: 0o600 });
    fs.renameSync(next, this.file);
  }
}

/** `from` and `to` are their APIs; `options` what the operator chose. */
export async function imported({ from, to, account, options, refusals, progress }) {
  const wanted = options.gateway;
  const all = await pages(from, "/gateways", 100);
  const gateways = wanted ? all.filter(({ id }) => wanted.split(",").includes(id)) : all;
  const missing = wanted?.split(",").filter((id) => !all.some((gateway) => gateway.id === id)) ?? [];
  if (missing.length > 0) throw new Failure(`the account has no gateway ${missing.join(", ")}. It has ${all.map(({ id }) => id).join(", ") || "none"}.`);
  const one = new Import({ from, to, account, options, refusals, progress });
  await one.costs(await one.customProviders());
  for (const gateway of gateways) await one.gateway(gateway);
  return one.summary;
}

/** All elements of a list. The last page may be full, and a page behind it empty. */
async function pages(api, path, perPage, pick = ({ result }) => result) {
  const found = [];
  const known = new Set();
  for (let page = 1; ; page += 1) {
    const list = pick(await api.json(`${path}?page=${page}&per_page=${perPage}`)) ?? [];
    // An API that does not know pages gives the first one for ever.
    const fresh = list.filter((one) => !known.has(one.id));
    fresh.forEach((one) => known.add(one.id));
    found.push(...fresh);
    if (list.length < perPage || fresh.length === 0) return found;
  }
}

class Import {
  constructor(parts) {
    Object.assign(this, parts, { summary: [] });
  }

  note(what) {
    this.summary.push(what);
    say(what);
  }

  /** Makes something that is not there yet; says what became of it. Nothing that is there is changed. */
  async make(kind, name, path, content) {
    if (this.options["dry-run"]) {
      this.note(`${kind} ${name}: would be made`);
      return null;
    }
    try {
      const { result } = await this.to.json(path, { method: "POST", body: JSON.stringify(content) });
      this.note(`${kind} ${name}: made`);
      return result;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.refusals.add({ [kind.replaceAll(" ", "_")]: name }, `${error.path.slice(1).join(".")}${error.path.length > 1 ? ": " : ""}${error.reason}`);
      return null;
    }
  }

  /** What there is of one kind on both sides; null where the account may not see it, or has none of it any more. */
  async both(kind, path, pick) {
    const read = async (api) => {
      try {
        return await pages(api, path, 50, pick);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.note(`${kind}: not read (${error.message})`);
        return null;
      }
    };
    const there = await read(this.from);
    if (!there || there.length === 0) return [[], []];
    const here = this.options["dry-run"] ? await read(this.to).catch(() => []) : await read(this.to);
    return [there, here ?? []];
  }

  async customProviders() {
    const [there, here] = await this.both("custom providers", "/custom-providers");
    for (const { name, slug, base_url, description, link, enable, beta, position, curl_example, js_example, headers } of there) {
      const known = here.find((one) => one.slug === slug);
      if (known) this.note(`custom provider ${slug}: is there`);
      else await this.make("custom provider", slug, "/custom-providers", log({ name, slug, base_url, description, link, enable, beta, position, curl_example, js_example }));
      const missing = Object.keys(object(headers)).filter((header) => !(header.toLowerCase() in object(known?.headers)));
      if (missing.length > 0) this.note(`custom provider ${slug}: set its headers again, for what is secret does not leave Cloudflare: ${missing.join(", ")}`);
    }
    return there;
  }

  /** Prices of the account's own. Here a custom provider has another id. */
  async costs(providers) {
    const [there, here] = await this.both("prices", "/custom-providers/costs");
    const key = (slug, { model, model_rule: rule }) => [slug, model, rule ?? "equals"].join(" ");
    const known = new Set(here.map((one) => key(one.provider, one)));
    for (const { account_provider_id: id, provider, model, model_rule, cost_in, cost_out, token_pricing, enable } of there) {
      const own = providers.find((one) => one.id === id)?.slug;
      const slug = own ? `custom-${own}` : provider ?? id;
      const name = key(slug, { model, model_rule });
      if (known.has(name)) this.note(`price ${name}: is there`);
      else await this.make("price", name, "/custom-providers/costs", log({ account_provider_id: slug, model, model_rule, cost_in, cost_out, enable, token_pricing: rates(token_pricing) }));
      known.add(name);
    }
  }

  async gateway(source) {
    const { id } = source;
    const path = `/gateways/${id}`;
    const there = await this.to.text(path, { optional: true });
    if (there) this.note(`gateway ${id}: is there, its settings stay as they are`);
    else await this.makeGateway(source);
    const here = there ? JSON.parse(there).result : {};
    for (const name of LEFT_OUT) if (isSet(source[name]) && !isSet(here[name])) this.note(`gateway ${id}: set ${name} again, which is secret or Cloudflare's own`);
    await this.routes(path);
    await this.providerConfigs(path);
    const datasets = await this.datasets(path);
    if (!this.options["no-logs"]) await this.logs(path, id);
    await this.evaluations(path, datasets);
  }

  async makeGateway(source) {
    const { id } = source;
    const settings = Object.fromEntries(Object.entries(source).filter(([name, value]) => value !== null && ![...NOT_SETTINGS, ...LEFT_OUT].includes(name)));
    if (this.options["dry-run"]) return this.note(`gateway ${id}: would be made`);
    for (;;) {
      try {
        await this.to.json("/gateways", { method: "POST", body: JSON.stringify(settings) });
        return this.note(`gateway ${id}: made`);
      } catch (error) {
        const [, name] = error.path ?? [];
        if (!(error instanceof Refused) || error.status !== 400 || !name || name === "id" || !(name in settings)) throw error;
        // One setting that means something else here must not keep the others out.
        this.refusals.add({ gateway: id, setting: name }, error.reason);
        delete settings[name];
      }
    }
  }

  async routes(path) {
    const pick = (answer) => (answer.data ?? answer.result)?.routes ?? answer.result;
    const [there, here] = await this.both("routes", `${path}/routes`, pick);
    for (const { id, name } of there) {
      if (here.some((one) => one.name === name)) this.note(`route ${name}: is there`);
      else {
        const { result } = await this.from.json(`${path}/routes/${id}`);
        const elements = result.elements ?? JSON.parse(result.version?.data ?? "[]");
        await this.make("route", name, `${path}/routes`, { name, elements });
      }
    }
  }

  /** Keys cannot be read at Cloudflare: their names say what to store again. */
  async providerConfigs(path) {
    const [there, here] = await this.both("provider keys", `${path}/provider_configs`);
    for (const { provider_slug: provider, alias } of there) {
      const isHere = here.some((one) => one.provider_slug === provider && one.alias === alias);
      this.note(`provider key ${provider}/${alias}: ${isHere ? "is there" : "store it again, for Cloudflare does not give keys out"}`);
    }
  }

  /** The datasets' ids here, by those at Cloudflare. */
  async datasets(path) {
    const [there, here] = await this.both("datasets", `${path}/datasets`);
    const ids = {};
    for (const { id, name, enable, filters } of there) {
      const known = here.find((one) => one.name === name);
      if (known) this.note(`dataset ${name}: is there`);
      const made = known ?? (await this.make("dataset", name, `${path}/datasets`, { name, enable, filters }));
      if (made) ids[id] = made.id;
    }
    return ids;
  }

  /** Evaluations are carried out again, over the logs that were taken. */
  async evaluations(path, datasets) {
    const [there, here] = await this.both("evaluations", `${path}/evaluations`);
    if (there.length === 0) return;
    const names = async (api) => Object.fromEntries((await pages(api, "/evaluation-types", 50)).map(({ id, name, type }) => [id, [name, type, id].map((one) => String(one ?? "").toLowerCase().replace(/[^a-z]+/g, "_"))]));
    const [theirs, ours] = [await names(this.from), await names(this.to)];
    const own = (id) => Object.entries(ours).find(([mine, known]) => mine === id || known.some((name) => name && (theirs[id] ?? []).includes(name)))?.[0];
    for (const { name, datasets: of = [], results = [] } of there) {
      if (here.some((one) => one.name === name)) {
        this.note(`evaluation ${name}: is there`);
        continue;
      }
      const types = [...new Set(results.map(({ evaluation_type_id: id }) => own(id)))].filter(Boolean);
      const ids = of.map(({ id }) => datasets[id]).filter(Boolean);
      if (types.length === 0 || (ids.length === 0 && !this.options["dry-run"])) this.refusals.add({ evaluation: name }, types.length === 0 ? "it has no results of a kind that there is here" : "its datasets are not there");
      else await this.make("evaluation", name, `${path}/evaluations`, { name, dataset_ids: ids, evaluation_type_ids: types });
    }
  }

  async logs(path, gateway) {
    const { since: from, bodies, "dry-run": isDry } = this.options;
    const stand = this.progress.of(gateway);
    const logs = new Logs({ api: this.to, path: `${path}/logs`, refusals: this.refusals, isDry });
    const before = { ...stand };
    let since = stand.since ?? from ?? "1970-01-01T00:00:00.000Z";
    let [page, seen, total, read] = [1, new Set(), null, 0];
    for (;;) {
      // Read by time and not by number: logs that come or go meanwhile move no page.
      const filters = [{ key: "created_at", operator: "gt", value: [new Date(Date.parse(since) - 1).toISOString()] }];
      const query = new URLSearchParams({ page, per_page: PER_PAGE, order_by: "created_at", order_by_direction: "asc", filters: JSON.stringify(filters) });
      const { result, result_info: info } = await this.from.json(`${path}/logs?${query}`);
      total ??= info?.total_count ?? null;
      if (isDry) {
        this.note(`gateway ${gateway}: ${total ?? "?"} logs would be read`);
        return;
      }
      const fresh = result.filter(({ id }) => !seen.has(id));
      for (const row of fresh) {
        const where = { gateway, log: row.id };
        try {
          const [request, response] = bodies ? await this.bodies(path, row.id) : [];
          await logs.add(logOf(row, request, response), where);
        } catch (error) {
          if (error instanceof Failure || error instanceof Refused) throw error;
          logs.refuse(where, error.message);
        }
      }
      read += fresh.length;
      const last = result.at(-1);
      const next = last ? timeOf(last.created_at) : since;
      const isOver = result.length < PER_PAGE;
      // Logs of one moment may fill more than a page: then the next page is of the same moment.
      if (next > since) [since, page, seen] = [next, 1, new Set(result.filter((row) => timeOf(row.created_at) === next).map(({ id }) => id))];
      else {
        page += 1;
        for (const { id } of result) seen.add(id);
      }
      if (isOver || read % 500 < fresh.length) {
        await logs.flush();
        stand.since = since;
        for (const name of Object.keys(logs.counts)) stand[name] = (before[name] ?? 0) + logs.counts[name];
        this.progress.save();
        say(`gateway ${gateway}: ${read}${total === null ? "" : ` of ${total}`} logs read, up to ${since}`);
      }
      if (isOver) break;
    }
    this.note(`gateway ${gateway}: ${logs.sum()}`);
  }

  async bodies(path, id) {
    const of = (part) => this.from.text(`${path}/logs/${encodeURIComponent(id)}/${part}`, { optional: true });
    try {
      return [await of("request"), await of("response")];
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 403) throw error;
      throw new Failure(`${error.message}. The token may list logs and not read their bodies: leave out --bodies, or use one that has AI Gateway Read.`);
    }
  }
}

const isSet = (setting) => Boolean(setting) && (!Array.isArray(setting) || setting.length > 0);

/** Rates by kind, which an answer has as a text. */
function rates(said) {
  const found = Object.entries(object(said)).filter(([, rate]) => rate !== null);
  return found.length > 0 ? Object.fromEntries(found) : undefined;
}

/** A log of Cloudflare's as `POST …/logs` takes it. */
export function logOf(row, request, response) {
  const status = whole(row.status_code);
  const given = typeof row.metadata === "string" ? parsed(row.metadata) : row.metadata;
  return log({
    id: row.id,
    created_at: timeOf(row.created_at),
    provider: row.provider || "unknown",
    model: text(row.model)?.slice(0, 256),
    model_type: MODEL_TYPES[row.model_type],
    path: text(row.path)?.replace(/[?].*$/, "").slice(0, 2_000),
    request_type: text(row.request_type)?.slice(0, 32),
    request_content_type: text(row.request_content_type)?.slice(0, 256),
    response_content_type: text(row.response_content_type)?.slice(0, 256),
    status_code: status >= 100 && status < 600 ? status : undefined,
    success: row.success ?? undefined,
    cached: row.cached ?? undefined,
    duration: whole(row.duration),
    timings: log({ latency: whole(row.timings?.latency) }),
    tokens_in: whole(row.tokens_in),
    tokens_out: whole(row.tokens_out),
    usage_metadata: log(Object.fromEntries(["total_tokens", "input_cached_tokens", "output_reasoning_tokens"].map((name) => [name, whole(row.usage_metadata?.[name])]))),
    cost: row.cost ?? undefined,
    custom_cost: row.custom_cost ?? false,
    step: whole(row.step),
    event_id: text(row.event_id)?.slice(0, 256),
    user_agent: text(row.user_agent)?.slice(0, 512),
    metadata: metadata(given),
    feedback: [-1, 0, 1].includes(row.feedback) ? row.feedback : undefined,
    score: row.score ?? undefined,
    request: typeof request === "string" ? request : undefined,
    response: typeof response === "string" ? response : undefined,
  });
}

const MODEL_TYPES = { embedding: "embeddings", ...Object.fromEntries(["audio", "batch", "chat", "completion", "embeddings", "image", "moderation", "ocr", "rerank", "video"].map((kind) => [kind, kind])) };

function parsed(json) {
  try {
    const found = JSON.parse(json);
    return found && typeof found === "object" && !Array.isArray(found) ? found : {};
  } catch {
    return {};
  }
}
