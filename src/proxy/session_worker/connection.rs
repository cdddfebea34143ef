//! A connection under way, and its responses.

use crate::auth::terms::Terms;
use crate::http::headers::Headers;
use crate::logs::call::Outcome;
use crate::platform::allotment::GrowingAllotment;
use crate::proxy::exchange::Exchange;
use crate::proxy::session::{Dialect, Ledger};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = deliver)]
    pub(super) fn deliver(socket: &JsValue, data: &JsValue) -> bool;

    #[wasm_bindgen(js_name = shut)]
    pub(super) fn shut(socket: &JsValue, code: u16, reason: &str);
}

/// The caller who opened the connection, and with what.
pub struct Caller {
    pub headers: Headers,
    pub account: String,
    pub gateway: String,
    pub trusted: bool,
    pub identity: Rc<str>,
    pub terms: Option<Rc<Terms>>,
}

/// One connection.
pub(super) struct Connection {
    pub client: JsValue,
    pub provider: JsValue,
    pub caller: Caller,
    pub dialect: Dialect,
    /// What the rows of all its responses have in common; none of it is a row of its own.
    pub template: Exchange,
    pub ledger: RefCell<Ledger<Rc<Work>>>,
    /// Messages of the client behind one that waits for the limits.
    pub waiting: RefCell<VecDeque<(JsValue, GrowingAllotment)>>,
    pub waiting_bytes: Cell<u64>,
    /// Room for what comes piece by piece, and how much there is.
    pub held: RefCell<(GrowingAllotment, usize)>,
    pub is_asking: Cell<bool>,
    pub has_ended: Cell<bool>,
    /// Whether a row was left by a response.
    pub has_rows: Cell<bool>,
    /// What the sockets call. They hold the connection, so they go when it ends.
    pub listeners: RefCell<Option<Listeners>>,
}

pub(super) type Listeners =
    (Closure<dyn Fn(JsValue)>, Closure<dyn Fn(JsValue) -> JsValue>, Closure<dyn Fn(bool, u16, String)>);

/// A response under way, with what its row will need. One that the provider began by itself may end before its limits are known.
pub(super) struct Work {
    pub exchange: RefCell<Option<Exchange>>,
    pub is_asking: Cell<bool>,
    pub arrived: u64,
    pub outcome: RefCell<Option<Outcome>>,
    /// What was asked, where the end tells it.
    pub request: RefCell<Option<String>>,
}

// === impl Work ===

impl Work {
    pub(super) fn new(exchange: Exchange, is_asking: bool) -> Rc<Self> {
        let arrived = exchange.arrived;
        let (exchange, is_asking) = (RefCell::new(Some(exchange)), Cell::new(is_asking));
        Rc::new(Self { exchange, is_asking, arrived, outcome: RefCell::default(), request: RefCell::default() })
    }
}
