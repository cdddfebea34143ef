//! Futures that the runtime drives. Each is boxed, so that what drives them exists once and not once for each future.

use crate::base::join_all::Work;
use futures_util::future::LocalBoxFuture;
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use worker::Context;

/// A promise of what a future brings. It is worked on although nothing may wait for it.
pub fn promise(work: LocalBoxFuture<'static, Result<JsValue, JsValue>>) -> Promise {
    future_to_promise(work)
}

/// Does work that the runtime waits for, although the answer may have been given long before.
pub fn beside(context: &Context, work: Work<'static>) {
    context.wait_until(work);
}
