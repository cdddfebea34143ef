import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { categoriesOf, dlpOf, flagged, toSetting } from "../src/core/guards.ts";

test("the older form of data loss prevention is one policy, and nothing of a setting is lost", () => {
  assert.deepEqual(dlpOf({ enabled: true, action: "BLOCK", profiles: ["financial"] }), { enabled: true, policies: [{ id: "dlp", action: "BLOCK", check: ["REQUEST", "RESPONSE"], profiles: ["financial"] }] });
  const newer = { enabled: false, restore: true, policies: [{ id: "a", action: "FLAG", check: ["REQUEST"], profiles: ["secrets"] }], custom_profiles: [{ id: "own", words: ["x"] }] };
  assert.deepEqual(dlpOf(newer), newer);
  assert.deepEqual(toSetting(dlpOf(newer)), newer);
  assert.equal(toSetting(dlpOf(null)), null);
});

test("what was found is counted by rule, place and action", () => {
  const dlp = { checks: ["REQUEST"], entry_ids: ["credit_card"], found: [{ check: "REQUEST", entry: "credit_card", path: "messages[0].content", offset: 3 }, { check: "REQUEST", entry: "credit_card", path: "messages[1].content", offset: 3 }] };
  const rows = flagged([{ dlp, dlp_action: "REDACT" }, { dlp, dlp_action: "REDACT" }, { dlp: null, dlp_action: null, guardrails: { prompt: { S1: "FLAG" } } }]);
  assert.deepEqual(rows, [{ kind: "DLP", rule: "credit_card", where: "request", action: "REDACT", count: 2 }, { kind: "Guardrail", rule: "S1 Violent crimes", where: "prompt", action: "FLAG", count: 1 }]);
});

test("what a check of a model said is read from lists and objects, and from nothing else", () => {
  assert.deepEqual(categoriesOf({ check: "RESPONSE", action: "BLOCK", categories: ["S10"] }), [{ rule: "S10", where: "response", action: "BLOCK" }]);
  assert.deepEqual(categoriesOf(null), []);
  fc.assert(fc.property(fc.anything(), (value) => void categoriesOf(value)));
});
