// Forms in dialogs, whose errors the server says, beside the field that they are about.
import type { ComponentChildren } from "preact";
import { useSignal, type Signal } from "@preact/signals";
import { messageFor, said } from "../core/words.ts";
import { Button, Dialog, Field } from "./kit.tsx";

export interface TextField {
  name: string;
  label: string;
  help?: ComponentChildren;
  secret?: boolean;
  optional?: boolean;
  placeholder?: string;
  /** As many lines; else it is one line. */
  rows?: number;
  /** What it holds at first. */
  value?: string;
}

interface FormDialogProps {
  title: string;
  fields: TextField[];
  submit: (values: Record<string, string>) => Promise<unknown>;
  close: () => void;
  children?: ComponentChildren;
}

export function FormDialog({ title, fields, submit, close, children }: FormDialogProps) {
  const values = useSignal(Object.fromEntries(fields.map(({ name, value = "" }) => [name, value])));
  const error = useSignal<unknown>(null);
  const send = async (event: Event) => {
    event.preventDefault();
    try {
      await submit(values.value);
    } catch (failed) {
      error.value = failed;
    }
  };
  const isPlaced = fields.some(({ name }) => messageFor(error.value, name));
  return (
    <Dialog title={title} onClose={close}>
      <form class="form" onSubmit={(event) => void send(event)} autocomplete="off">
        {fields.map(({ name, label, help, secret, optional, placeholder, rows }) => (
          <Field key={name} label={label} help={help} error={messageFor(error.value, name)}>
            {(id, about) => {
              const shared = { id, "aria-describedby": about, required: !optional, placeholder, value: values.value[name] ?? "", spellcheck: false, onInput: ({ currentTarget }: { currentTarget: { value: string } }) => void (values.value = { ...values.value, [name]: currentTarget.value }) };
              if (rows) return <textarea {...shared} rows={rows} class="code" />;
              return secret ? <input {...shared} type="password" autocomplete="off" /> : <input {...shared} type="text" />;
            }}
          </Field>
        ))}
        {children}
        {error.value && !isPlaced ? <p class="field-error" role="alert">{said(error.value)}</p> : null}
        <Button kind="main" type="submit">Store</Button>
      </form>
    </Dialog>
  );
}

/** A box to tick, for a choice that is on or off. */
export function Check({ of, children }: { of: Signal<boolean>; children: ComponentChildren }) {
  return <label class="check"><input type="checkbox" checked={of.value} onChange={() => (of.value = !of.value)} /> {children}</label>;
}

/** A box to tick, for one of several choices. */
export function CheckOf({ of, id, title, children }: { of: Signal<string[]>; id: string; title?: string; children: ComponentChildren }) {
  const toggle = () => (of.value = of.value.includes(id) ? of.value.filter((other) => other !== id) : [...of.value, id]);
  return <label class="check" title={title}><input type="checkbox" checked={of.value.includes(id)} onChange={toggle} /> {children}</label>;
}
