import assert from "node:assert/strict";
import { test } from "node:test";
import { actionOf, actionText, resourceOf, resourceText, typedOf, type Policy } from "../src/core/policies.ts";

test("what is typed of a policy is what it says, and what is stored is what is typed", () => {
  assert.equal(resourceOf(" ", ""), "*");
  assert.deepEqual(resourceOf("openai/gpt-5*, *opus*", "openai anthropic"), { model: ["openai/gpt-5*", "*opus*"], provider: ["openai", "anthropic"] });
  assert.deepEqual(actionOf("limit", "5", "daily"), { type: "limit", amount: 5, period: "daily", technique: "named-interval" });
  for (const kind of ["block", "except", "no-limit", "limit"]) {
    const policy: Policy = { id: "1", name: "n", actor: "{cf.user.id}", resource: resourceOf("a, b", "c"), condition: "true", action: actionOf(kind, "5", "weekly"), created_at: 0, updated_at: 0 };
    const typed = typedOf(policy);
    assert.deepEqual([resourceOf(typed.models, typed.providers), actionOf(typed.kind, typed.amount, typed.period)], [policy.resource, policy.action]);
  }
});

test("a policy is read in a line", () => {
  const money = (value: number) => `$${value}`;
  assert.deepEqual(["*" as const, { model: "gpt-*" }, { provider: ["openai"] }, { model: ["a", "b"], provider: "c" }].map(resourceText), ["all models", "gpt-*", "of openai", "a, b of c"]);
  assert.deepEqual([{ type: "limit" as const, amount: 5, period: "daily" }, { type: "block" as const }, { type: "block" as const, except: true }, { type: "no-limit" as const }].map((action) => actionText(action, money)), ["at most $5 daily", "blocked", "only these", "no cap"]);
});
