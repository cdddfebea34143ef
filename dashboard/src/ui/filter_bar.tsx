// Filters as chips, with values and how often they occur; search; shortcuts; stored views.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { added, decode, describe, encode, FIELDS, fieldOf, isSame, operatorsOf, operatorWord, SHORTCUTS, takesValue, valueWord, type Filter, type Operator } from "../core/filters.ts";
import { integer } from "../core/format.ts";
import { explain, said } from "../core/words.ts";
import { api, gatewayPath, queryOf, result } from "../state/api.ts";
import { filterQuery, metadataCounts, wantedOf } from "../state/logs.ts";
import { useResource } from "../state/resource.ts";
import { go, pathTo, query, setQuery } from "../state/router.ts";
import { may } from "../state/session.ts";
import { toast } from "../state/toasts.ts";
import type { Facets, View } from "../state/types.ts";
import { Icon } from "./icons.tsx";
import { useKeys } from "./keyboard.ts";
import { bound, Button, IconButton, Menu } from "./kit.tsx";

const FIRST_PAGE = { after: null, before: null };

export function setFilters(filters: Filter[]): void {
  setQuery({ f: filters.map(encode), ...FIRST_PAGE });
}

export function addFilter(filter: Filter): void {
  setFilters(added(wantedOf(query.value).filters, filter));
}

export function FilterBar() {
  const { filters } = wantedOf(query.value);
  const search = useSignal(query.value.get("search") ?? "");
  const input = useRef<HTMLInputElement>(null);
  const inAddress = query.value.get("search") ?? "";
  useEffect(() => void (search.value = inAddress), [inAddress]);
  useKeys({ "/": () => input.current?.focus(), f: () => document.querySelector<HTMLElement>(".add-filter > button")?.click() });
  const submit = (event: Event) => {
    event.preventDefault();
    setQuery({ search: search.value || null, ...FIRST_PAGE });
  };
  const unread = query.value.getAll("f").filter((text) => decode(text) === null);
  return (
    <div class="filter-bar">
      <div class="filter-line">
        <form class="search" role="search" onSubmit={submit}>
          <input ref={input} type="search" value={search.value} placeholder="Search metadata  /" aria-label="Search keys and values of metadata" onInput={(event) => (search.value = event.currentTarget.value)} onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()} />
        </form>
        {filters.map((filter, at) => (
          <span key={encode(filter)} class="chip">
            <Menu label={describe(filter)} title={`Change the filter: ${describe(filter)}`}>
              {(close) => <FilterForm start={filter} done={(next) => (setFilters(filters.map((other, index) => (index === at ? next : other))), close())} />}
            </Menu>
            <IconButton icon="close" label={`Remove the filter: ${describe(filter)}`} onClick={() => setFilters(filters.filter((_, index) => index !== at))} />
          </span>
        ))}
        {unread.map((text) => (
          <span key={text} class="chip wrong" title="This part of the address is not a filter">
            {text}
          </span>
        ))}
        <Menu label={<><Icon name="filter" /> Filter</>} title="Add a filter (f)" class="add-filter">
          {(close) => <FilterForm done={(filter) => (addFilter(filter), close())} />}
        </Menu>
        {(filters.length > 0 || inAddress !== "" || unread.length > 0) && (
          <Button kind="quiet" onClick={() => setQuery({ f: null, search: null, ...FIRST_PAGE })}>
            Clear
          </Button>
        )}
      </div>
      <div class="shortcuts" role="group" aria-label="Shortcuts">
        {SHORTCUTS.map(({ name, filter }) => {
          const isOn = filters.some((other) => isSame(other, filter));
          return (
            <button key={name} type="button" aria-pressed={isOn} onClick={() => setFilters(isOn ? filters.filter((other) => !isSame(other, filter)) : [...filters, filter])}>
              {name}
            </button>
          );
        })}
        <Views />
      </div>
    </div>
  );
}

function FilterForm({ start, done }: { start?: Filter; done: (filter: Filter) => void }) {
  const key = useSignal(start?.key ?? "");
  const typed = useSignal("");
  if (key.value === "") {
    const words = typed.value.toLowerCase();
    const found = FIELDS.filter(({ key, label }) => label.includes(words) || key.includes(words));
    const choose = (name: string) => void (key.value = name);
    return (
      <div class="filter-form">
        <input type="text" aria-label="Field" placeholder="Field, or metadata.name" {...bound(typed)} onKeyDown={(event) => event.key === "Enter" && (typed.value.startsWith("metadata.") ? choose(typed.value) : found[0] && choose(found[0].key))} />
        <ul class="choices scrolls">
          {typed.value.startsWith("metadata.") && typed.value.length > 9 && (
            <li>
              <button type="button" onClick={() => choose(typed.value)}>{typed.value}</button>
            </li>
          )}
          {found.map(({ key: name, label }) => (
            <li key={name}>
              <button type="button" onClick={() => choose(name)}>{label}</button>
            </li>
          ))}
          <MetadataKeys words={words} choose={choose} />
        </ul>
      </div>
    );
  }
  return <ValueForm key={key.value} name={key.value} {...(start?.key === key.value && { start })} done={done} back={() => (key.value = "")} />;
}

function useFacet(fields: string) {
  const wanted = wantedOf(query.value);
  // What the field itself is filtered by would hide its other values.
  const others = { ...wanted, filters: wanted.filters.filter(({ key }) => key !== fields) };
  return useResource(`facets ${fields} ${query.value.toString()}`, (signal) => result<Facets>(gatewayPath(`/logs/facets${queryOf({ fields, ...filterQuery(others) })}`), { signal }));
}

function MetadataKeys({ words, choose }: { words: string; choose: (name: string) => void }) {
  const facet = useFacet("metadata");
  const known = facet.value?.fields.metadata?.map(({ value }) => String(value)) ?? metadataCounts(null).map(({ value }) => value);
  const keys = known.filter((key) => `metadata.${key}`.toLowerCase().includes(words));
  return (
    <>
      {keys.slice(0, 50).map((key) => (
        <li key={key}>
          <button type="button" onClick={() => choose(`metadata.${key}`)}>
            <span><span class="faint">metadata.</span>{key}</span>
          </button>
        </li>
      ))}
    </>
  );
}

function ValueForm({ name, start, done, back }: { name: string; start?: Filter; done: (filter: Filter) => void; back: () => void }) {
  const field = fieldOf(name);
  const operator = useSignal<Operator>(start?.operator ?? (field.kind === "number" && !field.facet ? "gt" : "eq"));
  const values = useSignal<string[]>(start?.values ?? []);
  const typed = useSignal(start && !field.facet ? start.values.join(", ") : "");
  const submit = (event: Event) => {
    event.preventDefault();
    const own = typed.value.trim();
    const all = [...new Set([...(field.facet ? values.value : []), ...(own === "" ? [] : field.kind === "number" ? own.split(/[\s,]+/) : [own])])];
    if (takesValue(operator.value) && all.length === 0) return;
    done({ key: name, operator: operator.value, values: takesValue(operator.value) ? all : [] });
  };
  const toggle = (value: string) => (values.value = values.value.includes(value) ? values.value.filter((other) => other !== value) : [...values.value, value]);
  return (
    <form class="filter-form" onSubmit={submit}>
      <div class="filter-head">
        <button type="button" class="link" onClick={back}>{field.label}</button>
        <select aria-label="Comparison" value={operator.value} onChange={(event) => (operator.value = event.currentTarget.value as Operator)}>
          {operatorsOf(field.kind).map((known) => (
            <option key={known} value={known}>{operatorWord(known)}</option>
          ))}
        </select>
      </div>
      {takesValue(operator.value) && (
        <>
          {field.kind !== "boolean" && (
            <input type="text" inputMode={field.kind === "number" ? "decimal" : "text"} aria-label="Value" placeholder={field.unit ? `Value in ${field.unit}` : "Value"} {...bound(typed)} />
          )}
          {(operator.value === "eq" || operator.value === "neq") && field.facet && <FacetValues name={name} chosen={values.value} toggle={toggle} words={typed.value} isBoolean={field.kind === "boolean"} />}
        </>
      )}
      <Button kind="main" type="submit">Apply</Button>
    </form>
  );
}

function FacetValues({ name, chosen, toggle, words, isBoolean }: { name: string; chosen: string[]; toggle: (value: string) => void; words: string; isBoolean: boolean }) {
  const facet = useFacet(name);
  const fallback: { value: string; count: number | null }[] = name.startsWith("metadata.") ? metadataCounts(name.slice("metadata.".length)) : isBoolean ? ["true", "false"].map((value) => ({ value, count: null })) : [];
  const counted: { value: string; count: number | null }[] = facet.value?.fields[name]?.map(({ value, count }) => ({ value: isBoolean ? String(value === 1 || value === true || value === "true") : String(value), count })) ?? fallback;
  const found = [...counted, ...chosen.filter((value) => !counted.some((other) => other.value === value)).map((value) => ({ value, count: null }))];
  const shown = found.filter(({ value }) => valueWord(name, value).toLowerCase().includes(words.toLowerCase()));
  return (
    <fieldset class="facet">
      <legend class="read-only">Values</legend>
      {facet.isLoading && facet.value === undefined && !isBoolean && <p class="note">Counting…</p>}
      {facet.error && counted.length === 0 && (facet.error as { status?: number }).status !== 404 ? <p class="note">{explain(facet.error).title}</p> : null}
      <div class="scrolls">
        {shown.slice(0, 20).map(({ value, count }) => (
          <label key={value}>
            <input type="checkbox" checked={chosen.includes(value)} onChange={() => toggle(value)} />
            <span>{valueWord(name, value)}</span>
            <span class="count">{count === null ? "" : integer(count)}</span>
          </label>
        ))}
      </div>
      {name.startsWith("metadata.") && !facet.value && counted.length > 0 && <p class="note">of the logs on this page</p>}
      {facet.value && <p class="note">of the newest {integer(facet.value.examined)} logs here</p>}
    </fieldset>
  );
}

const BUILT_IN: View[] = [
  { name: "All logs", query: "" },
  { name: "Errors", query: "f=success:eq:false" },
  { name: "Unreviewed", query: "f=feedback:absent&f=success:eq:true" },
];

/** What of an address a view keeps: the log that is open and the place in the list are not part of it. */
function viewQuery(): string {
  const kept = new URLSearchParams();
  for (const name of ["f", "search", "since", "from", "to", "cols"]) for (const value of query.value.getAll(name)) kept.append(name, value);
  return kept.toString();
}

function Views() {
  const stored = useResource(`views ${pathTo("logs")}`, (signal) => result<View[]>(gatewayPath("/views"), { signal }));
  const name = useSignal("");
  const open = (view: View) => go(`${pathTo("logs")}${view.query ? `?${view.query}` : ""}`);
  const save = async (event: Event, close: () => void) => {
    event.preventDefault();
    try {
      await api(gatewayPath("/views"), { json: { name: name.value, query: viewQuery() } });
      toast(`View “${name.value}” stored`);
      name.value = "";
      stored.reload();
      close();
    } catch (error) {
      toast(said(error), { isError: true });
    }
  };
  const remove = async (view: View) => {
    try {
      await api(gatewayPath(`/views/${encodeURIComponent(view.id ?? view.name)}`), { method: "DELETE" });
      stored.reload();
    } catch (error) {
      toast(said(error), { isError: true });
    }
  };
  return (
    <Menu label={<><Icon name="star" /> Views</>} title="Stored views" class="views">
      {(close) => (
        <>
          <ul class="choices">
            {BUILT_IN.map((view) => (
              <li key={view.name}>
                <button type="button" onClick={() => (open(view), close())}>{view.name}</button>
              </li>
            ))}
            {(stored.value ?? []).map((view) => (
              <li key={view.id ?? view.name} class="with-action">
                <button type="button" onClick={() => (open(view), close())}>{view.name}</button>
                {may("edit") && <IconButton icon="close" label={`Delete the view ${view.name}`} onClick={() => void remove(view)} />}
              </li>
            ))}
          </ul>
          {may("edit") && !stored.error && (
            <form class="inline-form" onSubmit={(event) => void save(event, close)}>
              <input type="text" required maxLength={100} aria-label="Name of the view" placeholder="Name of this view" {...bound(name)} />
              <Button type="submit">Store</Button>
            </form>
          )}
        </>
      )}
    </Menu>
  );
}
