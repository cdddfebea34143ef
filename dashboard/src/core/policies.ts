// Policies of a gateway: as the API has them, and as people read and type them.

export type Action = { type: "no-limit" } | { type: "block"; except?: boolean } | { type: "limit"; amount: number; period: string; technique?: string };
export type Resource = "*" | { model?: string | string[]; provider?: string | string[] };

export interface Policy {
  id: string;
  name: string;
  actor: string;
  resource: Resource;
  condition?: string | null;
  action: Action;
  /** In seconds. */
  created_at: number;
  updated_at: number;
  /** Whether this is a change that is not in force yet. */
  staging?: boolean;
}

export const PERIODS = ["hourly", "daily", "weekly", "monthly"];

/** What can be done, as one choice of a form. */
export const ACTIONS: [string, string][] = [
  ["block", "Block these models"],
  ["except", "Block all but these models"],
  ["limit", "Cap what is spent"],
  ["no-limit", "No cap"],
];

const list = (value: string | string[] | undefined) => [value ?? []].flat();

export function resourceText(resource: Resource): string {
  if (resource === "*") return "all models";
  const parts = [list(resource.model).join(", "), resource.provider === undefined ? "" : `of ${list(resource.provider).join(", ")}`];
  return parts.filter(Boolean).join(" ") || "all models";
}

export function actionText(action: Action, money: (value: number) => string): string {
  if (action.type === "limit") return `at most ${money(action.amount)} ${action.period}`;
  if (action.type === "block") return action.except ? "only these" : "blocked";
  return "no cap";
}

const split = (text: string) => text.split(/[\s,]+/).filter(Boolean);

/** What was typed, as the API takes it. */
export function resourceOf(models: string, providers: string): Resource {
  const [model, provider] = [split(models), split(providers)];
  if (model.length + provider.length === 0) return "*";
  return { ...(model.length > 0 && { model }), ...(provider.length > 0 && { provider }) };
}

export function actionOf(kind: string, amount: string, period: string): Action {
  if (kind === "limit") return { type: "limit", amount: Number(amount), period, technique: "named-interval" };
  if (kind === "no-limit") return { type: "no-limit" };
  return kind === "except" ? { type: "block", except: true } : { type: "block" };
}

/** The same the other way round, for a form that begins with what is stored. */
export function typedOf(policy: Policy | null): { name: string; actor: string; models: string; providers: string; condition: string; kind: string; amount: string; period: string } {
  const resource = policy?.resource === "*" ? {} : (policy?.resource ?? {});
  const action = policy?.action ?? { type: "limit", amount: 10, period: "monthly" };
  return {
    name: policy?.name ?? "",
    actor: policy?.actor ?? "",
    models: list(resource.model).join(", "),
    providers: list(resource.provider).join(", "),
    condition: policy?.condition ?? "",
    kind: action.type === "block" && action.except ? "except" : action.type,
    amount: action.type === "limit" ? String(action.amount) : "",
    period: action.type === "limit" ? action.period : "monthly",
  };
}
