import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, change, compact, cost, dateTime, duration, integer, percent, visible, when } from "../src/core/format.ts";

const plain = (text: string) => text.replaceAll("\u202f", " ");

test("D28: a cost below a cent has six significant digits, an unknown one is a dash and never 0", () => {
  const shown: [number | null, string][] = [[null, "–"], [0, "$0"], [0.000123, "$0.000123"], [0.0000001234567, "$0.000000123457"], [0.00123456789, "$0.00123457"], [0.0123, "$0.0123"], [0.5, "$0.5000"], [1, "$1.00"], [1234567.891, "$1 234 567.89"], [-0.5, "−$0.5000"]];
  for (const [value, text] of shown) assert.equal(plain(cost(value)), text);
  assert.equal(cost(undefined), "–");
});

test("D28: tokens have thin separators, durations a unit that fits", () => {
  assert.equal(integer(1234567), "1\u202f234\u202f567");
  assert.deepEqual([0, 999, 1000, 999_700, 1_234_567, 12.3456].map(compact), ["0", "999", "1k", "1M", "1.23M", "12.3"]);
  assert.deepEqual([12, 999, 1234, 12_340, 61_000, 119_900, 3_720_000, 86_400_000, 90 * 3_600_000].map((ms) => plain(duration(ms))), ["12 ms", "999 ms", "1.23 s", "12.3 s", "1 min 1 s", "2 min", "1 h 2 min", "24 h", "4 days"]);
  assert.deepEqual([0, 999, 1500, 2_000_000].map((size) => plain(bytes(size))), ["0 B", "999 B", "1.5 KB", "2 MB"]);
});

test("shares and changes", () => {
  assert.deepEqual([percent(1, 3), percent(0.004), percent(0, 5), percent(1, 0), percent(null)], ["33%", "0.4%", "0%", "–", "–"]);
  assert.deepEqual([change(150, 100), change(50, 100), change(100, 100), change(1, 0), change(null, 3), change(5000, 100)], ["+50%", "−50%", "0%", null, null, "+50×"]);
});

test("D24: UTC changes the text of a time and not the time", () => {
  const at = new Date("2026-03-29T01:30:00.000Z");
  assert.equal(dateTime(at, "utc"), "2026-03-29 01:30:00");
  assert.equal(when(at, "utc", new Date("2026-03-29T12:00:00Z")), "01:30:00");
  assert.equal(when(at, "utc", new Date("2026-03-30T12:00:00Z")), "03-29 01:30:00");
  assert.equal(when(at, "utc", new Date("2027-03-30T12:00:00Z")), "2026-03-29 01:30:00");
});

test("D11: characters that turn or hide text are shown by name, line ends and tabs are left", () => {
  assert.equal(visible("a\u202Eb\u0000c\u2066d"), "a⟨U+202E⟩b⟨U+0000⟩c⟨U+2066⟩d");
  assert.equal(visible("one\n\ttwo\r\n"), "one\n\ttwo\r\n");
});
