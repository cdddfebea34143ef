//! Which build of the Worker this is.

use js_sys::Reflect;

/// The SHA-256 of the wasm, which scripts/setup.mjs writes into the JavaScript beside it: a file cannot contain its own.
pub fn wasm_sha256() -> Option<String> {
    Reflect::get(&js_sys::global(), &"TOLLGATE_WASM_SHA256".into()).ok()?.as_string()
}
