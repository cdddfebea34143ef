//! The client's body, as it was taken to be sent on.

use crate::platform::allotment::GrowingAllotment;
use js_sys::ArrayBuffer;
use std::rc::Rc;
use wasm_bindgen::JsValue;

/// The client's body.
pub enum Taken {
    Nothing,
    /// Goes upstream as it comes, once.
    Stream(JsValue),
    /// The second holds the room for as long as the body is kept.
    Whole(ArrayBuffer, Rc<GrowingAllotment>),
}

/// How the body that is sent differs from the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Rewritten,
    /// It was compressed, and is not any more.
    Unpacked,
}
