// What scripts/smaller.mjs makes of a wasm does what it did before.
import assert from "node:assert/strict";
import { test } from "node:test";
import binaryen from "binaryen";
import { smaller } from "../../../scripts/smaller.mjs";

const IMPORTED = "__wbg_told_0123456789abcdef";

/** Instructions on vectors, with immediates that would be calls of functions, were they taken for instructions. */
const VECTORS = `(i32x4.extract_lane 1 (i8x16.shuffle 16 17 16 16 16 0 1 16 18 16 2 16 16 16 3 16
  (v128.load8_lane offset=8 11 (i32.const 0) (i32x4.splat (i32.const 9)))
  (i32x4.replace_lane 2 (v128.const i32x4 0x10101010 0x10d2fd10 0x12111010 0x0b0b0b0b) (i8x16.extract_lane_u 10 (v128.load offset=4 (i32.const 4))))))`;

/** Functions of two kinds in turn, so that they come into another order, which call each other, an import and a table. */
function module() {
  const functions = Array.from({ length: 60 }, (_, n) => {
    const kind = n % 2 ? "(i32.mul (i32.xor (local.get 0) (i32.const 77777)) (i32.const 31337))" : "(i32.sub (i32.shl (local.get 0) (i32.const 3)) (i32.const 991199))";
    const next = n < 59 ? `(call $f${n + 1} (i32.add (local.get 0) (i32.const ${n})))` : "(call $told (local.get 0))";
    return `(func $f${n} (export "f${n}") (param i32) (result i32) (i32.xor ${VECTORS} (i32.add ${kind} ${next})))`;
  });
  return `(module
    (import "./index_bg.js" "${IMPORTED}" (func $told (param i32) (result i32)))
    (import "./index_bg.js" "kept" (func $kept (param i32)))
    (table $table 4 funcref) (elem (i32.const 0) $f7 $f30 $told $f59)
    (memory (export "memory") 1) (data (i32.const 8) "abc")
    (global $number (mut i32) (i32.const 0)) (start $begin)
    (func $begin (global.set $number (i32.const 5)))
    ${functions.join("\n")}
    (func (export "through") (param i32 i32) (result i32)
      (block $out (br_table $out $out (i32.and (local.get 0) (i32.const 1))))
      (call $kept (global.get $number))
      (call_indirect (param i32) (result i32) (local.get 1) (local.get 0)))
  )`;
}

function results(wasm, name) {
  const kept = [];
  const imports = { [name]: (n) => n * 7, kept: (n) => kept.push(n) };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), { "./index_bg.js": imports });
  const own = Array.from({ length: 60 }, (_, n) => exports[`f${n}`](n + 3));
  return [own, [0, 1, 2, 3].map((place) => exports.through(place, place + 11)), kept];
}

test("a wasm whose functions stand in another order, and whose imports have short names, gives the same results", () => {
  const parsed = binaryen.parseText(module());
  const { MutableGlobals, SignExt, BulkMemory, Multivalue, ReferenceTypes, ExceptionHandling, SIMD128 } = binaryen.Features;
  parsed.setFeatures(MutableGlobals | SignExt | BulkMemory | Multivalue | ReferenceTypes | ExceptionHandling | SIMD128);
  const before = Buffer.from(parsed.emitBinary());
  const script = `const imports = { ${IMPORTED}: 1, __wbg_ptr: 2, kept: 3 };`;
  const after = smaller(before, script);
  const [, short] = /^const imports = \{ (_\w+): 1, __wbg_ptr: 2, kept: 3 \};$/.exec(after.script);
  assert.deepEqual(results(after.wasm, short), results(before, IMPORTED));
  assert.ok(!after.wasm.includes(IMPORTED) && after.wasm.includes("kept"));
  const order = (wasm) => binaryen.readBinary(wasm).emitText().split("\n").filter((line) => line.includes("(func $") && line.includes("param")).join("\n");
  assert.notEqual(order(after.wasm), order(before));
  assert.deepEqual(smaller(before, script), after, "two builds give the same");
});
