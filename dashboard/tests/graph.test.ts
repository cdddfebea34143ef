import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { counted, edgeKey, edgesOf, FIRST, messagesOf, placed, renamed, summary, TYPES, without, withNew, type Element } from "../src/core/graph.ts";
import { readWay } from "../src/core/way.ts";

const ROUTE: Element[] = [
  { id: "s", type: "start", outputs: { next: { elementId: "c" } } },
  { id: "c", type: "conditional", properties: { condition: { "metadata.plan": { $eq: "free" } } }, outputs: { true: { elementId: "small" }, false: { elementId: "p" } } },
  { id: "p", type: "percentage", properties: { sticky: "metadata.user" }, outputs: { "10%": { elementId: "small" }, else: { elementId: "large" } } },
  { id: "large", type: "model", properties: { provider: "openai", model: "gpt-5" }, outputs: { success: { elementId: "e" }, fallback: { elementId: "small" } } },
  { id: "small", type: "model", properties: { provider: "openai", model: "gpt-5-mini" }, outputs: { success: { elementId: "e" } } },
  { id: "e", type: "end", outputs: {} },
];

const ids = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
const graphs = fc.uniqueArray(fc.record({ id: ids, type: fc.constantFrom(...TYPES), outputs: fc.dictionary(fc.constantFrom("true", "false", "next", "50%"), fc.record({ elementId: ids })) }, { noNullPrototype: true }), { selector: ({ id }) => id, minLength: 1 }) as fc.Arbitrary<Element[]>;

test("an element stands behind all that lead to it, and in a place of its own", () => {
  const at = new Map(placed(ROUTE).map(({ element, column, row }) => [element.id, { column, row }]));
  for (const { from, to } of edgesOf(ROUTE)) assert.ok((at.get(from)?.column ?? 0) < (at.get(to)?.column ?? 0), `${from} → ${to}`);
  assert.equal(at.get("e")?.column, 5);
});

test("whatever is drawn, no two elements stand in one place, and a circle ends", () => {
  fc.assert(fc.property(graphs, (elements) => {
    const places = placed(elements).map(({ column, row }) => `${column} ${row}`);
    assert.equal(new Set(places).size, elements.length);
    for (const place of placed(elements)) assert.ok(place.column < elements.length && place.row <= elements.length * 2);
  }));
});

test("an element says what it does in a line", () => {
  assert.deepEqual(ROUTE.map(summary), ["", "metadata.plan $eq free", "sticks to user", "openai/gpt-5", "openai/gpt-5-mini", ""]);
  assert.equal(summary({ id: "r", type: "rate", outputs: {}, properties: { limit: 5, limitType: "cost", window: 3600, key: "metadata.user" } }), "$5 in 3600 s for each user");
});

test("what is added, renamed or taken away leaves no output without an element", () => {
  fc.assert(fc.property(graphs, fc.constantFrom(...TYPES), (elements, type) => {
    const dangling = (all: Element[]) => all.flatMap(({ outputs }) => Object.values(outputs)).filter(({ elementId }) => !all.some(({ id }) => id === elementId)).length;
    const made = withNew(FIRST, type);
    assert.equal(dangling(made), 0);
    assert.equal(made.length, FIRST.length + 1);
    const before = dangling(elements);
    const first = elements[0]?.id ?? "";
    assert.ok(dangling(renamed(elements, first, "other")) <= before);
    assert.ok(without(elements, first).every(({ outputs }) => Object.values(outputs).every(({ elementId }) => elementId !== first)));
  }));
});

test("ways are counted by output, whatever stands in a log", () => {
  const way = [{ element: "s", output: "next" }, { element: "c", output: "true", reason: null }];
  const counts = counted([way, way, readWay({ name: "x", way })]);
  assert.equal(counts.get(edgeKey("c", "true")), 3);
  fc.assert(fc.property(fc.anything(), (value) => void readWay(value)));
});

test("what the server says of an element stands with it", () => {
  const error = { details: [{ message: "no such element", path: ["body", "elements[1]", "outputs", "true", "elementId"] }, { message: "the id is taken", path: ["body", "elements[2]"] }] };
  assert.deepEqual([messagesOf(error, 1), messagesOf(error, 2), messagesOf(error, 3)], [["outputs.true.elementId: no such element"], ["the id is taken"], []]);
});
