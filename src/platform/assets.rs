//! The files beside the Worker: the binding `ASSETS`, which is the runtime's own at Cloudflare and a folder elsewhere.

use crate::platform::js;
use crate::platform::time::within;
use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

/// A call that takes longer has failed, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

#[wasm_bindgen]
extern "C" {
    type Binding;
    #[wasm_bindgen(method, catch)]
    fn fetch(this: &Binding, url: &str) -> Result<Promise, JsValue>;
}

/// A file, or `None` where there is none of that name. `Err` says why none can be had.
pub async fn fetch(env: &JsValue, name: &str) -> Result<Option<Response>, String> {
    let binding = Reflect::get(env, &JsValue::from_str("ASSETS")).ok().filter(JsValue::is_object);
    let binding: Binding = binding.ok_or("the Worker has no binding ASSETS; see wrangler.toml")?.unchecked_into();
    let failed = |error: JsValue| js::message(&error);
    // The binding looks at the path alone.
    let asked = binding.fetch(&format!("http://assets/{name}")).map_err(failed)?;
    let answer = within(PATIENCE_MS, JsFuture::from(asked)).await;
    let answer: Response = answer.ok_or("ASSETS did not answer")?.map_err(failed)?.unchecked_into();
    Ok(answer.ok().then_some(answer))
}
