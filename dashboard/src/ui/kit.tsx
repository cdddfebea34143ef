// The small parts that all pages are made of.
import type { ComponentChildren } from "preact";
import { useSignal, type Signal } from "@preact/signals";
import { useEffect, useId, useLayoutEffect, useRef } from "preact/hooks";
import { ago, dateTime, when, zoneName } from "../core/format.ts";
import { explain } from "../core/words.ts";
import { zone } from "../state/preferences.ts";
import type { Resource } from "../state/resource.ts";
import { place } from "../state/router.ts";
import { copy, dismiss, toasts } from "../state/toasts.ts";
import { Icon, type IconName } from "./icons.tsx";

interface ButtonProps {
  icon?: IconName;
  kind?: "plain" | "main" | "quiet" | "danger";
  class?: string;
  type?: "button" | "submit";
  disabled?: boolean;
  title?: string;
  "aria-pressed"?: boolean;
  onClick?: (event: MouseEvent) => void;
  children?: ComponentChildren;
}

export function Button({ icon, children, class: name = "", kind = "plain", ...rest }: ButtonProps) {
  return (
    <button type="button" class={`button ${kind} ${name}`} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** A button that is an icon; its name is read out and shown as its title. */
export function IconButton({ icon, label, pressed, class: name = "", ...rest }: { icon: IconName; label: string; pressed?: boolean; class?: string; onClick: (event: MouseEvent) => void; disabled?: boolean }) {
  return (
    <button type="button" class={`icon-button ${name}`} aria-label={label} title={label} {...(pressed !== undefined && { "aria-pressed": pressed })} {...rest}>
      <Icon name={icon} />
    </button>
  );
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  return <IconButton icon="copy" label={`Copy ${what}`} class="copy" onClick={(event) => (event.stopPropagation(), void copy(text, what))} />;
}

/** Opens below its button, and closes with Escape, a click elsewhere, or when a choice was made. */
export function Menu({ label, title, children, align = "left", class: name = "", wide = false }: { label: ComponentChildren; title?: string; children: (close: () => void) => ComponentChildren; align?: "left" | "right"; class?: string; wide?: boolean }) {
  const isOpen = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const close = () => {
    isOpen.value = false;
    root.current?.querySelector<HTMLElement>("button")?.focus();
  };
  useEffect(() => {
    if (!isOpen.value) return;
    const outside = (event: Event) => !(event.target instanceof Node && root.current?.contains(event.target)) && (isOpen.value = false);
    document.addEventListener("pointerdown", outside);
    root.current?.querySelector<HTMLElement>(".popover input, .popover a, .popover button, .popover select")?.focus();
    return () => document.removeEventListener("pointerdown", outside);
  }, [isOpen.value]);
  return (
    <div class={`menu ${name}`} ref={root} onKeyDown={(event) => event.key === "Escape" && isOpen.value && (event.stopPropagation(), close())}>
      <button type="button" class="button plain" aria-expanded={isOpen.value} title={title} onClick={() => (isOpen.value = !isOpen.value)}>
        {label}
      </button>
      {isOpen.value && <Popover align={align} wide={wide}>{children(close)}</Popover>}
    </div>
  );
}

/** Stays inside of the window, whatever its button's place. */
export function Popover({ align, wide, children }: { align: "left" | "right"; wide?: boolean; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const { left, right } = element.getBoundingClientRect();
    const over = Math.max(0, right - window.innerWidth + 8) - Math.max(0, 8 - left);
    if (over !== 0) element.style.transform = `translateX(${-over}px)`;
  }, []);
  return (
    <div class={`popover ${align} ${wide ? "wide" : ""}`} ref={box}>
      {children}
    </div>
  );
}

/** A dialog above the page. */
export function Dialog({ title, onClose, children, class: name = "", closable = true }: { title: string; onClose: () => void; children: ComponentChildren; class?: string; closable?: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    return () => {
      dialog.current?.close();
      // The browser gives the focus back only while the dialog is still in the page.
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} class={name} aria-labelledby={id} onCancel={(event) => (event.preventDefault(), closable && onClose())} onKeyDown={(event) => event.stopPropagation()}>
      <header class="dialog-head">
        <h2 id={id}>{title}</h2>
        {closable && <IconButton icon="close" label="Close" onClick={onClose} />}
      </header>
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}

/** A time in the chosen zone; the exact one is its title. */
export function Time({ at, relative = false, full = false }: { at: string | number | null | undefined; relative?: boolean; full?: boolean }) {
  if (at === null || at === undefined) return <span class="faint">–</span>;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return <span>{String(at)}</span>;
  const text = relative ? ago(date) : full ? `${dateTime(date, zone.value)} ${zoneName(zone.value, date)}` : when(date, zone.value);
  return (
    <time dateTime={date.toISOString()} title={`${date.toISOString()} · ${dateTime(date, zone.value)} ${zoneName(zone.value, date)}`}>
      {text}
    </time>
  );
}

/** What stands in the place of what could not be loaded. */
export function Trouble({ error, retry, compact = false }: { error: unknown; retry?: () => void; compact?: boolean }) {
  const { title, text } = explain(error);
  return (
    <div class={`trouble ${compact ? "compact" : ""}`} role="alert">
      <Icon name="warn" size={16} />
      <div>
        <strong>{title}</strong>
        <p>{text}</p>
        {retry && <Button onClick={retry}>Try again</Button>}
      </div>
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children}
    </div>
  );
}

/** Grey lines in the place of what is loading; they appear late, so that what is quick does not flicker. */
export function Skeleton({ lines = 5 }: { lines?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} />
      ))}
    </div>
  );
}

/** Draws a resource in whatever state it is. An error above older values leaves these on the screen. */
export function Loaded<T>({ of, children, lines, empty }: { of: Resource<T>; children: (value: T) => ComponentChildren; lines?: number; empty?: ComponentChildren }) {
  if (of.error && of.value === undefined) return <Trouble error={of.error} retry={of.reload} />;
  if (of.value === undefined) return of.isLoading ? <Skeleton lines={lines ?? 5} /> : <>{empty ?? null}</>;
  return (
    <>
      {of.error ? <Trouble error={of.error} retry={of.reload} compact /> : null}
      <div class={`loaded ${of.isOld ? "stale" : ""}`}>{children(of.value)}</div>
    </>
  );
}

export function Panel({ title, actions, children, class: name = "", id }: { title: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren; class?: string; id?: string }) {
  return (
    <section class={`panel ${name}`} {...(id && { id })}>
      <header>
        <h2>{title}</h2>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </section>
  );
}

export function PageHead({ title, children, note }: { title: string; children?: ComponentChildren; note?: ComponentChildren }) {
  const { account, gateway } = place.value;
  useEffect(() => void (document.title = `${title} · ${account}/${gateway} · Tollgate`), [title, account, gateway]);
  return (
    <div class="page-head">
      <h1>{title}</h1>
      {note && <p class="note">{note}</p>}
      {children && <div class="actions">{children}</div>}
    </div>
  );
}

/** The head, what stands below it, and how: to the right, in one line, or as buttons whose head is only read out. */
export type Column<T> = [head: ComponentChildren, cell: (row: T) => ComponentChildren, kind?: "right" | "nowrap" | "actions"];

interface TableProps<T> {
  /** What is read out to people who scroll it by keys. */
  label: string;
  rows: T[];
  columns: Column<T>[];
  /** Whether it is a panel by itself. */
  boxed?: boolean;
}

export function Table<T>({ label, rows, columns, boxed = false }: TableProps<T>) {
  return (
    <div class={`scroll-x ${boxed ? "panel" : ""}`} tabIndex={0} role="group" aria-label={label}>
      <table class="plain-table">
        <thead>
          <tr>{columns.map(([head, , kind], at) => <th key={at} class={kind}>{kind === "actions" ? <span class="read-only">{head}</span> : head}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((row, at) => <tr key={(row as { id?: string }).id ?? at}>{columns.map(([, cell, kind], column) => <td key={column} class={kind}>{cell(row)}</td>)}</tr>)}
        </tbody>
      </table>
    </div>
  );
}

interface TablePanelProps<T> extends Omit<TableProps<T>, "rows" | "label" | "boxed"> {
  title: string;
  of: Resource<T[]>;
  /** What is said where there are no rows, and what may follow it. */
  none: string;
  advice?: ComponentChildren;
  actions?: ComponentChildren;
  children?: ComponentChildren;
}

/** A panel with a table that is loaded. */
export function TablePanel<T>({ title, of, none, advice, actions, columns, children }: TablePanelProps<T>) {
  return (
    <Panel title={title} actions={actions}>
      <Loaded of={of} lines={3}>{(rows) => (rows.length > 0 ? <Table label={title} rows={rows} columns={columns} /> : <Empty title={none}>{advice && <p>{advice}</p>}</Empty>)}</Loaded>
      {children}
    </Panel>
  );
}

/** What a field of text needs to hold a signal. */
export function bound(of: Signal<string>) {
  return { value: of.value, onInput: ({ currentTarget }: { currentTarget: { value: string } }) => void (of.value = currentTarget.value) };
}

export interface TabsProps<T extends string> {
  label: string;
  tabs: { id: T; label: ComponentChildren }[];
  chosen: T;
  choose: (id: T) => void;
}

export function Tabs<T extends string>({ label, tabs, chosen, choose }: TabsProps<T>) {
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex(({ id }) => id === chosen);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (next) choose(next.id);
    (event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("[role=tab]")[(at + step + tabs.length) % tabs.length]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map(({ id, label: text }) => (
        <button key={id} type="button" role="tab" id={`tab-${id}`} aria-selected={id === chosen} tabIndex={id === chosen ? 0 : -1} onClick={() => choose(id)}>
          {text}
        </button>
      ))}
    </div>
  );
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, text, isError, action }) => (
        <div key={id} class={`toast ${isError ? "error" : ""}`}>
          {isError && <Icon name="warn" />}
          <span>{text}</span>
          {action && (
            <button type="button" class="link" onClick={() => (action.run(), dismiss(id))}>
              {action.label}
            </button>
          )}
          <IconButton icon="close" label="Dismiss" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}

/** A text with a button that copies it. */
export function CodeBlock({ text, what = "text", label }: { text: string; what?: string; label?: string }) {
  return (
    <div class="code-block">
      <pre tabIndex={0} aria-label={label ?? what}>{text}</pre>
      <CopyButton text={text} what={what} />
    </div>
  );
}

export function Field({ label, help, error, children }: { label: string; help?: ComponentChildren; error?: string | undefined; children: (id: string, describedBy: string | undefined) => ComponentChildren }) {
  const id = useId();
  const about = error ? `${id}-error` : help ? `${id}-help` : undefined;
  return (
    <div class={`field ${error ? "wrong" : ""}`}>
      <label for={id}>{label}</label>
      {children(id, about)}
      {error && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
      {help && !error && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
    </div>
  );
}
