// The elements of a dynamic route as a form; what the form has no field for can be typed as JSON.
import { useSignal } from "@preact/signals";
import { messagesOf, OPTIONAL, OUTPUTS, renamed, summary, TYPES, without, withNew, type Element } from "../core/graph.ts";
import { Button, Field, IconButton } from "./kit.tsx";

interface Property {
  name: string;
  label: string;
  kind: "text" | "number" | "json" | string[];
  placeholder?: string;
}

const PROPERTIES: Record<string, Property[]> = {
  conditional: [{ name: "condition", label: "Condition", kind: "json", placeholder: '{"metadata.plan": {"$eq": "free"}}' }],
  percentage: [
    { name: "sticky", label: "Sticks to", kind: "text", placeholder: "session, metadata.user" },
    { name: "goal", label: "Learns", kind: ["", "feedback", "score", "cost", "latency", "success"] },
    { name: "floor", label: "Least share", kind: "number", placeholder: "0.05" },
    { name: "min_samples", label: "Least requests", kind: "number", placeholder: "50" },
    { name: "window", label: "Window, s", kind: "number", placeholder: "604800" },
  ],
  rate: [
    { name: "limit", label: "Limit", kind: "number" },
    { name: "limitType", label: "Counts", kind: ["count", "cost"] },
    { name: "window", label: "Window, s", kind: "number" },
    { name: "key", label: "For each", kind: "text", placeholder: "metadata.user" },
    { name: "technique", label: "Window is", kind: ["sliding", "fixed"] },
  ],
  model: [
    { name: "provider", label: "Provider", kind: "text", placeholder: "openai" },
    { name: "model", label: "Model", kind: "text", placeholder: "gpt-4o-mini" },
    { name: "retries", label: "Retries", kind: "number" },
    { name: "timeout", label: "First byte within, ms", kind: "number", placeholder: "0: no limit" },
  ],
};

interface FormProps {
  elements: Element[];
  set: (elements: Element[]) => void;
  error: unknown;
  chosen: string | null;
}

export function RouteForm({ elements, set, error, chosen }: FormProps) {
  const asJson = useSignal<string | null>(null);
  const wrong = useSignal("");
  const change = (at: number, next: Element) => set(elements.map((element, index) => (index === at ? next : element)));
  const typeJson = (text: string) => {
    asJson.value = text;
    try {
      const read: unknown = JSON.parse(text);
      const isGood = Array.isArray(read) && read.every((one) => typeof one?.id === "string" && typeof one?.type === "string" && typeof (one?.outputs ?? {}) === "object");
      wrong.value = isGood ? "" : "Elements are a list of objects with id, type and outputs";
      if (isGood) set((read as Element[]).map((element) => ({ ...element, outputs: element.outputs ?? {} })));
    } catch (failed) {
      wrong.value = `This is not JSON: ${(failed as Error).message}`;
    }
  };
  return (
    <div class="route-form panel-body">
      <div class="actions">
        {asJson.value === null && (
          <select aria-label="Add an element" value="" onChange={({ currentTarget }) => { set(withNew(elements, currentTarget.value)); currentTarget.value = ""; }}>
            <option value="">Add…</option>
            {TYPES.filter((type) => type !== "start").map((type) => <option key={type}>{type}</option>)}
          </select>
        )}
        <Button kind="quiet" onClick={() => ((asJson.value = asJson.value === null ? JSON.stringify(elements, null, 2) : null), (wrong.value = ""))}>{asJson.value === null ? "As JSON" : "As a form"}</Button>
      </div>
      {asJson.value !== null ? (
        <Field label="Elements" error={wrong.value || undefined}>{(id, about) => <textarea id={id} aria-describedby={about} class="code" rows={18} spellcheck={false} value={asJson.value ?? ""} onInput={({ currentTarget }) => typeJson(currentTarget.value)} />}</Field>
      ) : (
        elements.map((element, at) => <ElementForm key={at} element={element} elements={elements} messages={messagesOf(error, at)} isChosen={element.id === chosen} change={(next) => change(at, next)} rename={(id) => set(renamed(elements, element.id, id))} remove={() => set(without(elements, element.id))} />)
      )}
    </div>
  );
}

interface ElementProps {
  element: Element;
  elements: Element[];
  messages: string[];
  isChosen: boolean;
  change: (element: Element) => void;
  rename: (id: string) => void;
  remove: () => void;
}

function ElementForm({ element, elements, messages, isChosen, change, rename, remove }: ElementProps) {
  const { id, outputs, properties = {} } = element;
  const type = element.type === "rate_limit" ? "rate" : element.type;
  const setOutputs = (entries: [string, { elementId: string }][]) => change({ ...element, outputs: Object.fromEntries(entries) });
  const entries = Object.entries(outputs);
  const optional = type === "percentage" ? [] : (OUTPUTS[type] ?? []).filter((name) => OPTIONAL.includes(name) && !(name in outputs));
  const first = elements.find((other) => other.type === "end")?.id ?? id;
  return (
    <fieldset class={isChosen ? "marked" : ""}>
      <legend>{type}</legend>
      <div class="setting-grid">
        <Field label="Id">{(field) => <input id={field} value={id} maxLength={128} onChange={({ currentTarget }) => { if (currentTarget.value !== "" && !elements.some((other) => other.id === currentTarget.value)) rename(currentTarget.value); else currentTarget.value = id; }} />}</Field>
        {(PROPERTIES[type] ?? []).map((property) => <PropertyField key={property.name} property={property} value={properties[property.name] ?? (property.name === "condition" ? properties.conditions : undefined)} set={(value) => change({ ...element, properties: withProperty(properties, property.name, value) })} />)}
        {entries.map(([name, { elementId }], at) => (
          <Field key={at} label={type === "percentage" && name !== "else" ? "Share" : name}>
            {(field) => (
              <span class="with-action">
                {type === "percentage" && name !== "else" && <input aria-label="Share" class="share" value={name} onChange={({ currentTarget }) => setOutputs(entries.map(([other, to], index) => [index === at ? currentTarget.value : other, to]))} />}
                <select id={field} value={elementId} onChange={({ currentTarget }) => setOutputs(entries.map(([other, to], index) => [other, index === at ? { elementId: currentTarget.value } : to]))}>
                  {elements.filter((other) => other.id !== id && other.type !== "start").map((other) => <option key={other.id} value={other.id}>{other.id}{summary(other) && ` (${summary(other).slice(0, 40)})`}</option>)}
                </select>
                {(type === "percentage" || OPTIONAL.includes(name)) && <IconButton icon="close" label={`Remove the output ${name}`} onClick={() => setOutputs(entries.filter((_, index) => index !== at))} />}
              </span>
            )}
          </Field>
        ))}
      </div>
      {messages.map((message) => <p key={message} class="field-error" role="alert">{message}</p>)}
      <div class="actions">
        {type === "percentage" && entries.length < 6 && <Button kind="quiet" icon="plus" onClick={() => setOutputs([[freeShare(outputs), { elementId: first }], ...entries])}>Share</Button>}
        {optional.map((name) => <Button key={name} kind="quiet" icon="plus" onClick={() => setOutputs([...entries, [name, { elementId: first }]])}>{name}</Button>)}
        {type !== "start" && <Button kind="quiet" class="danger" onClick={remove}>Remove</Button>}
      </div>
    </fieldset>
  );
}

/** An output's name that the element does not have yet. */
function freeShare(outputs: Element["outputs"]): string {
  for (let part = 10; ; part += 1) if (!(`${part}%` in outputs)) return `${part}%`;
}

function withProperty(properties: Record<string, unknown>, name: string, value: unknown): Record<string, unknown> {
  // Either name is read, and only one may be there.
  const { [name]: _, ...rest } = properties;
  if (name === "condition") delete rest.conditions;
  return value === undefined ? rest : { ...rest, [name]: value };
}

function PropertyField({ property: { label, kind, placeholder }, value, set }: { property: Property; value: unknown; set: (value: unknown) => void }) {
  const typed = useSignal<string | null>(null);
  const wrong = useSignal("");
  const shown = typed.value ?? (value === undefined || value === null ? "" : kind === "json" ? JSON.stringify(value) : String(value));
  const take = (text: string) => {
    typed.value = text;
    wrong.value = "";
    if (text.trim() === "") return set(undefined);
    if (kind === "number") {
      const number = Number(text);
      if (Number.isFinite(number)) return set(number);
      wrong.value = "This is not a number";
    } else if (kind === "json") {
      try {
        set(JSON.parse(text));
      } catch {
        wrong.value = "This is not JSON";
      }
    } else {
      set(text);
    }
  };
  return (
    <Field label={label} error={wrong.value || undefined}>
      {(id, about) => {
        const shared = { id, "aria-describedby": about, value: shown };
        // What is not written is the first of the choices.
        if (Array.isArray(kind)) return <select {...shared} value={shown || kind[0]} onChange={({ currentTarget }) => take(currentTarget.value)}>{kind.map((choice) => <option key={choice} value={choice}>{choice || "no"}</option>)}</select>;
        if (kind === "json") return <textarea {...shared} class="code" rows={2} spellcheck={false} placeholder={placeholder} onInput={({ currentTarget }) => take(currentTarget.value)} />;
        return <input {...shared} inputMode={kind === "number" ? "decimal" : "text"} placeholder={placeholder} onInput={({ currentTarget }) => take(currentTarget.value)} />;
      }}
    </Field>
  );
}
