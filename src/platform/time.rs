//! The clock, and waiting.

use futures_util::future::{Either, select};
use js_sys::{Date, Function, Promise};
use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Milliseconds since 1970. The runtime's clock stands still between I/O, so this measures waiting, not computing.
pub fn now() -> u64 {
    Date::now() as u64
}

pub async fn pause(milliseconds: u64) {
    Timer::new(milliseconds).await;
}

/// Waits for work, but no longer than some milliseconds.
pub async fn within<T>(milliseconds: u64, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), pin!(Timer::new(milliseconds))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// A timer that is cleared when no future waits for it any more. Not worker::Delay: it unwraps the number that setTimeout used
/// to return, which is an object by now.
struct Timer {
    id: Rc<RefCell<JsValue>>,
    elapsed: JsFuture,
}

impl Timer {
    fn new(milliseconds: u64) -> Self {
        let id = Rc::new(RefCell::new(JsValue::UNDEFINED));
        let elapsed = Promise::new(&mut |resolve, _| {
            id.replace(set_timeout(&resolve, milliseconds as f64));
        });
        Self { id, elapsed: JsFuture::from(elapsed) }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<()> {
        Pin::new(&mut self.elapsed).poll(context).map(|_| ())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id.borrow());
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);
}
