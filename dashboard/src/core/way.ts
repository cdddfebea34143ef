// The way of a request through a dynamic route.

/** An element that a request has passed, as a log and a simulation tell it. */
export interface Passed {
  element: string;
  output: string;
  reason?: string | null;
}

/** The way of a log: what its request has passed, and the model that this attempt was sent to. */
export function wayOf({ route, answered, success }: { route?: unknown; answered: boolean; success: boolean }): Passed[] {
  const last = (route as { element?: unknown } | null | undefined)?.element;
  const way = readWay(route);
  return typeof last === "string" ? [...way, { element: last, output: answered && success ? "success" : "" }] : way;
}

/** A way as it stands in a log or an answer, whatever else stands beside it; empty for what is none. */
export function readWay(value: unknown): Passed[] {
  const list = Array.isArray(value) ? value : (value as { way?: unknown; path?: unknown } | null)?.way ?? (value as { path?: unknown } | null)?.path;
  if (!Array.isArray(list)) return [];
  return list.filter((one): one is Passed => typeof one?.element === "string" && typeof one?.output === "string");
}
