// The gateway's settings: what is stored over others' changes, and what is not.
import { conflicts } from "../core/settings.ts";
import { ApiError, gatewayPath, result } from "./api.ts";
import type { Gateway } from "./types.ts";

/**
 * Stores changes over what the gateway has now, and nothing over what one has not seen: where another change of the same settings came
 * between, it is told instead.
 */
export async function storeOver(seen: Gateway, changes: Record<string, unknown>, overwrite: boolean, tell: (keys: string[], now: Gateway) => void): Promise<Gateway | null> {
  for (let tries = 1; ; tries += 1) {
    const now = await result<Gateway>(gatewayPath(""));
    const both = conflicts(seen, now, changes);
    if (both.length > 0 && !overwrite) {
      tell(both, now);
      return null;
    }
    try {
      return await result<Gateway>(gatewayPath(""), { method: "PUT", json: changes, version: now.modified_at });
    } catch (failed) {
      if (!(failed instanceof ApiError) || failed.status !== 412 || tries === 3) throw failed;
    }
  }
}
