// Links that sign in to the dashboard of a Tollgate on this machine, once and within ten minutes: whoever can read the admin token
// makes them, and the Worker checks them (src/auth/session.rs). The code stands behind a #, so that it reaches no log.
import { createHash, createHmac, randomBytes } from "node:crypto";

const MINUTES = 10;

/** A code for the Worker that has this admin token. */
export function signInCode(adminToken, now = Date.now()) {
  const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
  const key = sha256(sha256(adminToken.trim()), "dashboard");
  // A little less, for clocks that differ.
  const text = `${now + MINUTES * 60_000 - 5_000}.${randomBytes(16).toString("base64url")}`;
  return `${text}.${createHmac("sha256", key).update(`sign-in\n${text}`).digest("base64url")}`;
}

export function signInLink(address, adminToken) {
  return `${address}/dashboard/sign-in#${signInCode(adminToken)}`;
}
