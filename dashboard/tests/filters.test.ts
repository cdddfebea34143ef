import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { added, decode, describe, encode, toApi, type Filter } from "../src/core/filters.ts";
import { isDefault, moved, readColumns, DEFAULT_COLUMNS } from "../src/core/columns.ts";
import { bucketStarts, granularityOf, lengthOf, readRange } from "../src/core/range.ts";

const filters = fc.record({
  key: fc.string({ minLength: 1 }),
  operator: fc.constantFrom("eq", "neq", "contains", "lt", "gt") as fc.Arbitrary<Filter["operator"]>,
  values: fc.array(fc.string(), { minLength: 1, maxLength: 4 }),
}, { noNullPrototype: true });

test("D19: whatever a filter says, its address says the same", () => {
  fc.assert(fc.property(filters, (filter) => assert.deepEqual(decode(encode(filter)), filter)));
});

test("what people type into an address is a filter or nothing", () => {
  assert.deepEqual(decode("model:eq:gpt-4o,gpt-4o-mini"), { key: "model", operator: "eq", values: ["gpt-4o", "gpt-4o-mini"] });
  assert.deepEqual(decode("feedback:absent"), { key: "feedback", operator: "absent", values: [] });
  assert.deepEqual(decode("metadata.a\\:b:eq:c\\,d"), { key: "metadata.a:b", operator: "eq", values: ["c,d"] });
  for (const wrong of ["", "model", "model:is:x", ":eq:x", "model:eq", "model:eq:a:b"]) assert.equal(decode(wrong), null);
  fc.assert(fc.property(fc.string(), (text) => void decode(text)));
});

test("the API gets numbers and booleans as such", () => {
  assert.deepEqual(toApi({ key: "status_code", operator: "eq", values: ["429", "500"] }), { key: "status_code", operator: "eq", value: [429, 500] });
  assert.deepEqual(toApi({ key: "success", operator: "eq", values: ["false"] }), { key: "success", operator: "eq", value: [false] });
  assert.deepEqual(toApi({ key: "metadata.user", operator: "eq", values: ["12"] }), { key: "metadata.user", operator: "eq", value: ["12"] });
  assert.deepEqual(toApi({ key: "feedback", operator: "absent", values: [] }), { key: "feedback", operator: "absent" });
});

test("values of one field and operator are one chip", () => {
  const one = added([], { key: "model", operator: "eq", values: ["a"] });
  assert.deepEqual(added(one, { key: "model", operator: "eq", values: ["b", "a"] }), [{ key: "model", operator: "eq", values: ["a", "b"] }]);
  assert.equal(added(one, { key: "model", operator: "neq", values: ["b"] }).length, 2);
  assert.equal(describe({ key: "feedback", operator: "eq", values: ["-1"] }), "thumb is down");
});

test("columns of an address are those that exist, each once", () => {
  assert.deepEqual(readColumns("cost,nope,status,cost"), ["cost", "status"]);
  assert.equal(readColumns("nope"), null);
  assert.equal(readColumns(null), null);
  assert.deepEqual(moved(["a", "b", "c"], "b", -1), ["b", "a", "c"]);
  assert.deepEqual(moved(["a", "b"], "b", 1), ["a", "b"]);
  assert.ok(isDefault(DEFAULT_COLUMNS));
});

test("D24: ranges are read whatever they say, and buckets are whole", () => {
  const now = Date.parse("2026-11-27T12:00:00Z");
  const read = (text: string) => readRange(new URLSearchParams(text), null, now);
  assert.deepEqual(read("since=24h"), { from: now - 86_400_000, to: null, since: "24h" });
  assert.deepEqual(read("from=2026-11-01&to=2026-11-02"), { from: Date.parse("2026-11-01"), to: Date.parse("2026-11-02"), since: null });
  for (const wrong of ["since=soon", "from=x", "since=-1h", ""]) assert.deepEqual(read(wrong), { from: null, to: null, since: null });
  assert.equal(lengthOf("15m"), 900_000);
  assert.deepEqual([3_600_000, 86_400_000, 30 * 86_400_000].map((length) => granularityOf(now - length, now, now)), ["minute", "hour", "day"]);
  assert.equal(granularityOf(now - 4 * 86_400_000, now - 4 * 86_400_000 + 3_600_000, now), "hour", "minutes go back two days only");
  assert.deepEqual(bucketStarts(10, 35, 10), [10, 20, 30]);
});
