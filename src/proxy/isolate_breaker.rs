//! The circuit breaker that an isolate remembers, and what is shown of it. It knows no request.

use crate::gateways::gateway::Gateway;
use crate::platform::now;
use crate::proxy::circuit_breaker::{Breaker, Settings};
use serde_json::Value;
use std::cell::RefCell;

thread_local! {
    pub static BREAKER: RefCell<Breaker> = RefCell::new(Breaker::default());
}

/// Where the circuits of a gateway stand in this isolate. None of them is open without the setting.
pub fn shown(gateway: &Gateway) -> Value {
    match Settings::of(&gateway.settings.circuit_breaker) {
        Some(settings) => BREAKER.with_borrow(|breaker| breaker.shown(gateway.key, settings, now())),
        None => Value::Array(Vec::new()),
    }
}
