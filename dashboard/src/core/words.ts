// What is said where something could not be loaded or done: what is wrong, and what to do about it.
import { plural } from "./format.ts";

export interface Words {
  title: string;
  text: string;
}

interface Problem {
  status?: number;
  message?: string;
  reason?: "offline" | "timeout";
  retryAfter?: number | null;
}

export function explain(error: unknown): Words {
  const { status, message = "", reason, retryAfter } = (error ?? {}) as Problem;
  if (reason === "offline") return { title: "Tollgate cannot be reached", text: "The server is stopped, or this machine is offline. What is on the screen is from before." };
  if (reason === "timeout") return { title: "No answer within 15 seconds", text: "The database may be busy, or this looks through very many logs. A shorter time range helps." };
  if (status === undefined) return { title: "The page could not show this", text: `This is a fault of the dashboard: ${message || String(error)}` };
  if (status === 401) return { title: "You are signed out", text: "Your session has ended, or its token was revoked. Sign in again to go on." };
  if (status === 403) return { title: "Your token may not do this", text: message };
  if (status === 404) return { title: "This does not exist", text: "It was deleted, it has another address, or your token does not reach it." };
  if (status === 429) {
    const wait = retryAfter ? `Try again in ${plural(retryAfter, "second")}.` : "Try again in a minute.";
    return { title: "Too many requests", text: message ? `${sentence(message)} ${message.includes("again") ? "" : wait}`.trim() : wait };
  }
  if (status === 503) return { title: "Tollgate cannot answer now", text: message || "Its database does not answer, or something is not configured. /health says more." };
  if (status >= 500) return { title: "Tollgate failed", text: `It answered with status ${status}${message ? `: ${message}` : ""}. The server's output has the cause.` };
  return { title: "Tollgate refused this", text: message };
}

/** The same in one line. */
export function said(error: unknown): string {
  const { title, text } = explain(error);
  return `${title}. ${text}`;
}

export function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** The message for a field of a form, out of what the server refused. */
export function messageFor(error: unknown, field: string): string | undefined {
  const details = (error as { details?: { message: string; path: string[] }[] } | null)?.details ?? [];
  return details.find(({ path }) => path[0] === "body" && path[1] === field)?.message;
}
