// scripts/update-prices.mjs: what becomes of the public table's entries, and of models that have left it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { merged, priced } from "../../../scripts/update-prices.mjs";

const entry = (more) => ({ litellm_provider: "openai", mode: "chat", input_cost_per_token: 1e-6, output_cost_per_token: 2e-6, ...more });

test("a model that has left the public table stays, with its price and all that is known of it", () => {
  const gone = { provider: "openai", model: "gpt-3", kind: "chat", context: 9, input: 5, output: 6 };
  const rows = priced({ "gpt-5": entry() });
  assert.equal(merged(rows, [gone, { provider: "openai", model: "gpt-5", input: 77, output: 77 }]), 1);
  assert.deepEqual(rows.map(({ model, input }) => [model, input]), [["gpt-3", 5], ["gpt-5", 1]]);
  assert.deepEqual(rows[0], gone);
});

test("a model has its kind, its limits and what it accepts beside its price", () => {
  const claude = { litellm_provider: "anthropic", supports_reasoning: true, supports_vision: true, supports_pdf_input: true, supports_function_calling: true, supports_response_schema: true };
  const rows = priced({
    "claude-new": entry({ ...claude, max_input_tokens: 200_000, max_output_tokens: 64_000, supports_adaptive_thinking: true, supports_native_structured_output: true, supports_sampling_params: false }),
    "claude-old": entry(claude),
    "gpt-5": entry({ supports_reasoning: true, supports_response_schema: true, max_input_tokens: "many" }),
    ...Object.fromEntries(["gpt-5-chat", "gpt-5.4-mini", "gpt-5.4-pro"].map((model) => [model, entry({ supports_reasoning: true })])),
    "gpt-4o": entry(),
    "gemini/gemini-3-flash": entry({ litellm_provider: "gemini", supports_reasoning: true }),
    "text-embedding-3": { litellm_provider: "openai", mode: "embedding", input_cost_per_token: 1e-6, max_input_tokens: 8191, max_output_tokens: 1536 },
  });
  const known = Object.fromEntries(rows.map(({ model, kind, context, max_output, accepts, thinking, sampling }) => [model, [kind, context, max_output, accepts, thinking, sampling]]));
  assert.deepEqual(known, {
    "claude-new": ["chat", 200_000, 64_000, ["image", "document", "tools", "schema"], "adaptive", false],
    "claude-old": ["chat", undefined, undefined, ["image", "document", "tools"], "budget", undefined],
    "gpt-5": ["chat", undefined, undefined, ["schema"], "effort", false],
    "gpt-5-chat": ["chat", undefined, undefined, undefined, "effort", undefined],
    "gpt-5.4-mini": ["chat", undefined, undefined, undefined, "effort", undefined],
    "gpt-5.4-pro": ["chat", undefined, undefined, undefined, "effort", false],
    "gpt-4o": ["chat", undefined, undefined, undefined, undefined, undefined],
    "gemini-3-flash": ["chat", undefined, undefined, undefined, "level", undefined],
    "text-embedding-3": ["embedding", 8191, undefined, undefined, undefined, undefined],
  });
});
