// Who is signed in, and what they may do. What they may not do is not offered.
import { signal } from "@preact/signals";
import { learnTime } from "../core/clock.ts";
import { expired, result, send, signIns } from "./api.ts";
import { place } from "./router.ts";

export type Permission = "read" | "read_metadata" | "edit" | "run" | "feedback";

export interface Me {
  version: string;
  /** The server's clock. */
  time: string;
  actor: {
    kind: "token" | "access" | "admin";
    name: string;
    token_id: string | null;
    permissions: Permission[];
    account: string | null;
    gateways: string[] | null;
    expires_at: string | number | null;
  };
  accounts: string[];
  features: Record<string, boolean>;
}

/** `undefined` until the first answer, null where there is no session. */
export const me = signal<Me | null | undefined>(undefined);
export const meError = signal<unknown>(null);

export async function loadMe(): Promise<void> {
  meError.value = null;
  try {
    const found = await result<Me>("/dashboard/me");
    learnTime(found.time);
    me.value = found;
    expired.value = false;
  } catch (error) {
    if ((error as { status?: number }).status === 401) {
      me.value = null;
      expired.value = false;
    } else {
      meError.value = error;
    }
  }
}

export async function signIn(proof: { token: string } | { code: string }): Promise<void> {
  await send("/dashboard/session", { json: proof });
  const before = me.value;
  await loadMe();
  // Another person must not find the page of the one before.
  if (before && before.actor.name !== me.value?.actor.name) return window.location.reload();
  expired.value = false;
  signIns.value += 1;
}

export async function signOut(): Promise<void> {
  await send("/dashboard/session", { method: "DELETE" });
  window.location.assign("/dashboard/");
}

export function may(permission: Permission): boolean {
  const actor = me.value?.actor;
  if (!actor) return false;
  if (actor.kind === "admin") return true;
  if (permission === "read" && actor.permissions.includes("edit")) return true;
  return actor.permissions.includes(permission);
}

export function isAdmin(): boolean {
  return me.value?.actor.kind === "admin";
}

export function maySeeBodies(): boolean {
  return may("read");
}

/** A key of the browser's memory for what belongs to one gateway. */
export function ofGateway(name: string): string {
  return `tollgate:${name}:${place.value.account}/${place.value.gateway}`;
}
