// Dynamic routes: what is called as `dynamic/name`, drawn with what went which way, and a form to change it.
import { useSignal } from "@preact/signals";
import { counted, FIRST, readElements, type Element } from "../core/graph.ts";
import { readWay, wayOf, type Passed } from "../core/way.ts";
import { encode } from "../core/filters.ts";
import { integer, percent, plural, UNKNOWN, visible } from "../core/format.ts";
import { explain, said } from "../core/words.ts";
import { api, gatewayPath, result, send } from "../state/api.ts";
import { newest } from "../state/newest.ts";
import { useResource } from "../state/resource.ts";
import { go, linkTo, place, query, setQuery } from "../state/router.ts";
import { may } from "../state/session.ts";
import { attempt, toast } from "../state/toasts.ts";
import { FormDialog } from "../ui/form_dialog.tsx";
import { JsonTree } from "../ui/json_tree.tsx";
import { Way } from "../ui/log_checks.tsx";
import { bound, Button, Empty, Field, Loaded, PageHead, Panel, Table, Time } from "../ui/kit.tsx";
import { RouteForm } from "../ui/route_form.tsx";
import { RouteGraph } from "../ui/route_graph.tsx";

interface Version {
  version_id: string;
  active: "true" | "false";
  created_at: string;
  data: string;
}

interface Deployment {
  deployment_id: string;
  version_id: string;
  created_at: string;
}

interface Route {
  id: string;
  name: string;
  modified_at: string;
  elements: Element[];
  version: Version;
  deployment: Deployment;
  learned?: unknown;
}

/** Lists of routes stand in `data`, as Cloudflare has them. */
async function listed<T>(path: string, name: string, signal: AbortSignal): Promise<T[]> {
  const { data } = (await (await send(gatewayPath(`${path}?per_page=100`), { signal })).json()) as { data: Record<string, T[]> };
  return data[name] ?? [];
}

export function RoutesPage() {
  const { id } = place.value;
  return id ? <OneRoute key={id} id={id} /> : <RouteList />;
}

function RouteList() {
  const routes = useResource("routes", (signal) => listed<Route>("/routes", "routes", signal));
  const isMaking = useSignal(false);
  return (
    <>
      <PageHead title="Routes" note="Names that lead a request to one of several models">
        {may("edit") && <Button kind="main" onClick={() => (isMaking.value = true)}>New route</Button>}
      </PageHead>
      <div class="page">
        <Loaded of={routes} lines={4}>
          {(all) =>
            all.length === 0 ? (
              <Empty title="No routes yet"><p>A route decides by conditions, shares and limits which model answers, and goes to another where one fails. Clients name it as their model: <code>dynamic/name</code>.</p></Empty>
            ) : (
              <Table
                label="Routes"
                boxed
                rows={all}
                columns={[
                  ["Name", ({ id, name }) => <a href={linkTo("routes", { id })}>{visible(name)}</a>],
                  ["Called as", ({ name }) => <code>dynamic/{visible(name)}</code>],
                  ["Models", ({ elements }) => elements.filter(({ type }) => type === "model").map(({ id, properties }) => <span key={id} class="tag">{visible(`${String(properties?.provider ?? "")}/${String(properties?.model ?? "")}`)}</span>)],
                  ["Changed", ({ modified_at }) => <Time at={modified_at} relative />, "nowrap"],
                ]}
              />
            )
          }
        </Loaded>
      </div>
      {isMaking.value && (
        <FormDialog
          title="New route"
          close={() => (isMaking.value = false)}
          fields={[{ name: "name", label: "Name", placeholder: "support", help: "It begins with one model. What else it does is drawn on its page." }, { name: "provider", label: "Provider", value: "openai" }, { name: "model", label: "Model", value: "gpt-4o-mini" }]}
          submit={async ({ name, ...model }) => {
            const elements = FIRST.map((element) => (element.type === "model" ? { ...element, properties: { ...element.properties, ...model } } : element));
            const made = await result<Route>(gatewayPath("/routes"), { json: { name, elements } });
            go(linkTo("routes", { id: made.id }));
          }}
        />
      )}
    </>
  );
}

/** So many of a route's newest requests are counted for the drawing. */
const COUNTED = 200;

/** The ways of the newest requests of a route, each once, however many attempts it had. */
async function waysOf(id: string, signal: AbortSignal): Promise<{ ways: Passed[][]; isAll: boolean }> {
  const { logs, isAll } = await newest([{ key: "route_id", operator: "eq", value: [id] }], COUNTED, signal);
  const byCall = new Map<string, Passed[]>();
  for (const log of logs) {
    const way = wayOf(log);
    if (way.length > (byCall.get(log.event_id)?.length ?? 0)) byCall.set(log.event_id, way);
  }
  return { ways: [...byCall.values()], isAll };
}

function OneRoute({ id }: { id: string }) {
  const path = `/routes/${encodeURIComponent(id)}`;
  const wanted = query.value.get("version");
  const route = useResource(`route ${id}`, (signal) => result<Route>(gatewayPath(path), { signal }));
  const versions = useResource(`versions ${id}`, (signal) => listed<Version>(`${path}/versions`, "versions", signal));
  const figures = useResource(`ways ${id}`, (signal) => waysOf(id, signal));
  const edited = useSignal<Element[] | null>(null);
  const error = useSignal<unknown>(null);
  const chosen = useSignal<string | null>(null);
  const way = useSignal<Passed[]>([]);
  const isRenaming = useSignal(false);
  const reload = () => (route.reload(), versions.reload());
  const older = wanted ? versions.value?.find(({ version_id }) => version_id === wanted) : undefined;
  const store = async (elements: Element[], isUsed: boolean) => {
    error.value = null;
    try {
      const { version } = await result<Route>(gatewayPath(`${path}/versions`), { json: { elements } });
      if (isUsed) await deploy(version.version_id);
      else setQuery({ version: version.version_id });
      edited.value = null;
      reload();
    } catch (failed) {
      error.value = failed;
    }
  };
  const deploy = async (version_id: string) => {
    await api(gatewayPath(`${path}/deployments`), { json: { version_id } });
    setQuery({ version: null });
    toast("This version is in use");
  };
  const remove = (name: string) => window.confirm(`Delete the route “${name}”? Requests to dynamic/${name} are refused from then on.`) && void attempt(() => api(gatewayPath(path), { method: "DELETE" }), () => go(linkTo("routes")));
  return (
    <Loaded of={route} lines={8}>
      {(value) => {
        const stored = readElements(older ? JSON.parse(older.data) : value.elements);
        const elements = edited.value ?? stored;
        return (
          <>
            <PageHead title={`dynamic/${visible(value.name)}`} note={older && older.active !== "true" ? "a version that is not in use" : <>in use since <Time at={value.deployment.created_at} relative /></>}>
              <a class="button plain" href={linkTo("logs", { f: encode({ key: "route_id", operator: "eq", values: [id] }) })}>As logs</a>
              {may("edit") && <Button kind="quiet" onClick={() => (isRenaming.value = true)}>Rename</Button>}
              {may("edit") && <Button kind="quiet" class="danger" onClick={() => remove(value.name)}>Delete</Button>}
            </PageHead>
            <div class="page">
              <Panel
                title="Ways"
                actions={
                  <>
                    <span class="note">{way.value.length > 0 ? <>one simulated request <button type="button" class="link" onClick={() => (way.value = [])}>all</button></> : figures.value && figures.value.ways.length > 0 ? `${figures.value.isAll ? "" : "the newest "}${plural(figures.value.ways.length, "request")}` : figures.error ? explain(figures.error).title : figures.value ? "no requests yet" : ""}</span>
                    {may("edit") && edited.value === null && <Button onClick={() => (edited.value = stored)}>Change</Button>}
                  </>
                }
              >
                <RouteGraph elements={elements} counts={way.value.length > 0 || !figures.value ? undefined : counted(figures.value.ways)} way={way.value} chosen={chosen.value} choose={(next) => (chosen.value = next)} />
                {edited.value !== null && <RouteForm elements={elements} set={(next) => (edited.value = next)} error={error.value} chosen={chosen.value} />}
                {edited.value !== null && (
                  <div class="save-bar">
                    <span>{error.value ? <span class="field-error" role="alert">{said(error.value)}</span> : "Stored as a new version"}</span>
                    <Button onClick={() => ((edited.value = null), (error.value = null))}>Discard</Button>
                    <Button onClick={() => void store(elements, false)}>Store</Button>
                    <Button kind="main" onClick={() => void store(elements, true)}>Store and use</Button>
                  </div>
                )}
              </Panel>
              <Learned value={value.learned} />
              {may("edit") && <Simulation path={path} version={older?.version_id ?? null} show={(next) => (way.value = next)} />}
              <Panel title="Versions">
                <Loaded of={versions} lines={3}>
                  {(all) => (
                    <Table
                      label="Versions"
                      rows={all}
                      columns={[
                        ["Stored", ({ created_at }) => <Time at={created_at} full />, "nowrap"],
                        ["Version", ({ version_id, active }) => <><code>{version_id.slice(-8)}</code>{active === "true" && <> <span class="tag">in use</span></>}</>],
                        ["Elements", ({ data }) => integer((JSON.parse(data) as unknown[]).length), "right"],
                        ["Actions", ({ version_id, active }) => (
                          <>
                            <Button kind="quiet" onClick={() => ((edited.value = null), setQuery({ version: active === "true" ? null : version_id }))}>Show</Button>
                            {may("edit") && active !== "true" && <Button kind="quiet" onClick={() => void attempt(() => deploy(version_id), reload)}>Use</Button>}
                          </>
                        ), "actions"],
                      ]}
                    />
                  )}
                </Loaded>
              </Panel>
              <Deployments path={path} round={value.deployment.deployment_id} />
            </div>
            {isRenaming.value && (
              <FormDialog
                title="Another name"
                close={() => (isRenaming.value = false)}
                fields={[{ name: "name", label: "Name", value: value.name, help: "Clients have to name the new one at once." }]}
                submit={async (values) => {
                  await api(gatewayPath(path), { method: "PATCH", json: values });
                  isRenaming.value = false;
                  route.reload();
                }}
              />
            )}
          </>
        );
      }}
    </Loaded>
  );
}

interface Arm {
  output?: string;
  name?: string;
  weight?: number;
  samples?: number;
  mean?: number | null;
  low?: number | null;
  high?: number | null;
}

/** What shares that learn know of their outputs. */
function Learned({ value }: { value: unknown }) {
  const rows = Object.entries((value ?? {}) as Record<string, unknown>).flatMap(([element, known]) => {
    const arms = Array.isArray(known) ? known : ((known as { arms?: unknown } | null)?.arms ?? []);
    return Array.isArray(arms) ? (arms as Arm[]).map((arm) => ({ element, ...arm })) : [];
  });
  if (rows.length === 0) return null;
  const short = (number: number | null | undefined) => (typeof number === "number" ? String(Number(number.toPrecision(3))) : UNKNOWN);
  return (
    <Panel title="What was learned">
      <Table
        label="What was learned"
        rows={rows}
        columns={[
          ["Element", ({ element }) => visible(element)],
          ["Output", ({ output, name }) => visible(String(output ?? name ?? ""))],
          ["Share", ({ weight }) => percent(weight), "right"],
          ["Requests", ({ samples }) => integer(samples ?? null), "right"],
          ["Value", ({ mean }) => short(mean), "right"],
          ["90 % interval", ({ low, high }) => (typeof low === "number" ? `${short(low)} to ${short(high)}` : UNKNOWN), "right"],
        ]}
      />
    </Panel>
  );
}

function Deployments({ path, round }: { path: string; round: string }) {
  const deployments = useResource(`deployments ${path} ${round}`, (signal) => listed<Deployment>(`${path}/deployments`, "deployments", signal));
  return (
    <Panel title="Deployments">
      <Loaded of={deployments} lines={2}>
        {(all) => <Table label="Deployments" rows={all} columns={[["Put to use", ({ created_at }) => <Time at={created_at} full />, "nowrap"], ["Version", ({ version_id }) => <code>{version_id.slice(-8)}</code>]]} />}
      </Loaded>
    </Panel>
  );
}

const EXAMPLE = '{"messages": [{"role": "user", "content": "Hello"}]}';

/** Asks which way a request would take; nothing is sent to a provider. */
function Simulation({ path, version, show }: { path: string; version: string | null; show: (way: Passed[]) => void }) {
  const body = useSignal(EXAMPLE);
  const metadata = useSignal("{}");
  const answer = useSignal<unknown>(null);
  const error = useSignal("");
  const run = async (event: Event) => {
    event.preventDefault();
    error.value = "";
    answer.value = null;
    try {
      const json = { body: JSON.parse(body.value) as unknown, metadata: JSON.parse(metadata.value || "{}") as unknown, ...(version && { version_id: version }) };
      answer.value = await result<unknown>(gatewayPath(`${path}/simulate`), { json });
      show(readWay(answer.value));
    } catch (failed) {
      error.value = failed instanceof SyntaxError ? `This is not JSON: ${failed.message}` : said(failed);
    }
  };
  return (
    <Panel title="Simulate" actions={<span class="note">nothing is sent to a provider</span>}>
      <form class="panel-body form" onSubmit={(event) => void run(event)}>
        <div class="setting-grid">
          <Field label="Body">{(id) => <textarea id={id} class="code" rows={3} spellcheck={false} {...bound(body)} />}</Field>
          <Field label="Metadata">{(id) => <textarea id={id} class="code" rows={3} spellcheck={false} {...bound(metadata)} />}</Field>
        </div>
        {error.value && <p class="field-error" role="alert">{error.value}</p>}
        {answer.value !== null && (
          <div data-simulated>
            <Way of={readWay(answer.value)} />
            <JsonTree value={answer.value} openTo={1} />
          </div>
        )}
        <Button type="submit">Show the way</Button>
      </form>
    </Panel>
  );
}
