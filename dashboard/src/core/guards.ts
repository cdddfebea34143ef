// Guardrails and data loss prevention: the settings as a form has them, and what they have found.
import type { DlpReport, Log } from "../state/types.ts";

export const CATEGORIES: [string, string][] = [
  ["S1", "Violent crimes"],
  ["S2", "Non-violent crimes"],
  ["S3", "Sex-related crimes"],
  ["S4", "Child sexual exploitation"],
  ["S5", "Defamation"],
  ["S6", "Specialized advice"],
  ["S7", "Privacy"],
  ["S8", "Intellectual property"],
  ["S9", "Indiscriminate weapons"],
  ["S10", "Hate"],
  ["S11", "Suicide and self-harm"],
  ["S12", "Sexual content"],
  ["S13", "Elections"],
  ["P1", "Prompt injection"],
];

/** Profiles that Tollgate has of its own. */
export const PROFILES: [string, string][] = [
  ["financial", "cards, IBAN, bank routing, wallets"],
  ["national_ids", "numbers of people, by country"],
  ["contact", "e-mail addresses, telephone numbers"],
  ["network", "IP and MAC addresses"],
  ["secrets", "keys and tokens of providers and services"],
];

export interface DlpPolicy {
  id: string;
  enabled?: boolean;
  action: string;
  check: string[];
  profiles: string[];
}

export interface Dlp {
  enabled?: boolean;
  restore?: boolean;
  policies: DlpPolicy[];
  custom_profiles?: unknown[];
}

/** The setting as the form shows it: the older form, one action and its profiles, is one policy. */
export function dlpOf(setting: unknown): Dlp {
  const given = (setting ?? {}) as Record<string, unknown>;
  const { action, profiles, policies, ...rest } = given;
  const older = Array.isArray(profiles) ? [{ id: "dlp", action: String(action ?? "FLAG"), check: ["REQUEST", "RESPONSE"], profiles: profiles.map(String) }] : [];
  const newer = (Array.isArray(policies) ? policies : []) as DlpPolicy[];
  return { ...rest, policies: [...older, ...newer.map((policy) => ({ ...policy, check: policy.check ?? ["REQUEST", "RESPONSE"], profiles: policy.profiles ?? [] }))] };
}

/** What the gateway stores; null where nothing is looked for. */
export function toSetting(dlp: Dlp): Dlp | null {
  return dlp.policies.length === 0 && !dlp.custom_profiles?.length ? null : dlp;
}

/** One rule, what it did, and how many logs it did it in. */
export interface Flagged {
  kind: "DLP" | "Guardrail";
  rule: string;
  where: string;
  action: string;
  count: number;
}

const WORDS = new Map(CATEGORIES);

/** What checks of a model said, whatever members stand beside it. */
export function categoriesOf(guardrails: unknown): { rule: string; where: string; action: string }[] {
  const found: { rule: string; where: string; action: string }[] = [];
  const look = (value: unknown, where: string, action: string, depth: number): void => {
    if (depth > 6 || value === null || typeof value !== "object") return;
    if (Array.isArray(value)) return value.slice(0, 100).forEach((one) => (typeof one === "string" && WORDS.has(one) ? found.push({ rule: one, where, action }) : look(one, where, action, depth + 1)));
    const given = value as Record<string, unknown>;
    const next = typeof given.action === "string" ? given.action : action;
    const at = [given.check, given.phase, given.direction].find((one) => typeof one === "string");
    const place = typeof at === "string" ? at.toLowerCase() : where;
    const rule = [given.category, given.rule, given.name].find((one) => typeof one === "string");
    if (typeof rule === "string") found.push({ rule, where: place, action: next });
    for (const [name, inner] of Object.entries(given)) {
      if (WORDS.has(name) && typeof inner === "string") found.push({ rule: name, where: place, action: inner });
      else look(inner, ["prompt", "response", "request"].includes(name) ? name : place, next, depth + 1);
    }
  };
  look(guardrails, "", "", 0);
  return found;
}

/** What was found in these logs, by rule, the most frequent first. */
export function flagged(logs: Pick<Log, "dlp" | "dlp_action" | "guardrails">[]): Flagged[] {
  const counts = new Map<string, Flagged>();
  const add = (kind: Flagged["kind"], rule: string, where: string, action: string) => {
    const key = [kind, rule, where, action].join("\n");
    const known = counts.get(key) ?? { kind, rule, where, action, count: 0 };
    counts.set(key, { ...known, count: known.count + 1 });
  };
  for (const { dlp, dlp_action, guardrails } of logs) {
    for (const entry of entriesOf(dlp)) add("DLP", entry.entry, entry.where, dlp_action ?? dlp?.action ?? "");
    const seen = new Set<string>();
    for (const { rule, where, action } of categoriesOf(guardrails)) {
      const key = [rule, where, action].join("\n");
      if (!seen.has(key)) add("Guardrail", ruleName(rule), where, action);
      seen.add(key);
    }
  }
  return [...counts.values()].sort((a, b) => b.count - a.count);
}

function entriesOf(dlp: DlpReport | null | undefined): { entry: string; where: string }[] {
  if (!dlp) return [];
  const found = new Map((dlp.found ?? []).map(({ entry, check }) => [`${entry} ${check}`, { entry, where: check.toLowerCase() }]));
  if (found.size > 0) return [...found.values()];
  return (dlp.entry_ids ?? []).map((entry) => ({ entry, where: (dlp.checks ?? []).join(", ").toLowerCase() }));
}

export function ruleName(rule: string): string {
  const word = WORDS.get(rule);
  return word ? `${rule} ${word}` : rule;
}
