//! A WebSocket to a provider whose messages are understood: each of its responses passes the limits before it begins, and leaves
//! a row when it has ended. What messages mean is in [`crate::proxy::session`]; here they are moved.

mod connection;
mod endings;
mod responses;

use crate::auth::presented;
use crate::http::headers::Headers;
use crate::http::message_worker;
use crate::http::refusal::Refusal;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::{js, now};
use crate::proxy::exchange::Exchange;
use crate::proxy::session::refused;
use crate::proxy::session::{Begun, Dialect, Ledger, MAX_HELD, Step};
use connection::{Connection, Work, deliver};
use js_sys::{ArrayBuffer, JsString, Reflect, Uint8Array};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Response;

#[wasm_bindgen]
extern "C" {
    type WebSocketPair;
    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<WebSocketPair, JsValue>;
}

#[wasm_bindgen(module = "/src/platform/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = join, catch)]
    fn join(
        client: &JsValue,
        provider: &JsValue,
        may_show_key: bool,
        from_client: &JsValue,
        from_provider: &JsValue,
        ended: &JsValue,
    ) -> Result<(), JsValue>;

    #[wasm_bindgen(js_name = encoded)]
    fn encoded(text: &JsString) -> Uint8Array;

}

pub use connection::Caller;

/// Messages that wait take no more than this, in bytes.
const MAX_WAITING: u64 = 32 * 1024 * 1024;

/// Room for what comes piece by piece is asked for so much at a time, in bytes.
const PIECES: usize = 128 * 1024;

/// A longer text comes over as bytes, in characters.
const LONG: u32 = 4 * 1024;

/// What a message takes that is being read: it is there as a text of JavaScript's, and as bytes.
const COPIES: u64 = 2;

/// Gives a client the WebSocket that the provider has accepted.
#[inline(never)]
pub fn relayed(
    upstream: &Response,
    theirs: &Headers,
    dialect: Dialect,
    caller: Caller,
    exchange: Exchange,
) -> Result<Response, (Box<Exchange>, String)> {
    let mut edits = exchange.marks(101, theirs);
    // The rows are those of its responses.
    edits.remove("cf-aig-log-id");
    if theirs.get("sec-websocket-protocol").is_none()
        && let Some(protocol) = caller.headers.get("sec-websocket-protocol").and_then(presented::answered_protocol)
    {
        // A browser that offered subprotocols gives up unless one of them is taken.
        edits.set("sec-websocket-protocol", protocol.to_owned());
    }
    let made = || {
        let pair = WebSocketPair::new()?;
        let (theirs, ours) = (Reflect::get_u32(&pair, 0)?, Reflect::get_u32(&pair, 1)?);
        let provider = Reflect::get(upstream, &JsValue::from_str("webSocket"))?;
        let response = message_worker::switched_as(upstream, &theirs, &edits)?;
        Ok((ours, provider, response))
    };
    let (client, provider, response) = match made() {
        Ok(made) => made,
        Err(error) => {
            let error: JsValue = error;
            drop(edits);
            return Err((Box::new(exchange), js::message(&error)));
        }
    };
    drop(edits);
    let may_show_key = exchange.call.secrets.has_kept();
    let mut template = exchange;
    // It is a row only where no response is one.
    template.mark = None;
    let connection = Rc::new(Connection {
        client,
        provider,
        caller,
        dialect,
        ledger: RefCell::new(Ledger::new(dialect, template.call.model(), template.collect_payload)),
        template,
        waiting: RefCell::default(),
        waiting_bytes: Cell::new(0),
        held: RefCell::default(),
        is_asking: Cell::new(false),
        has_ended: Cell::new(false),
        has_rows: Cell::new(false),
        listeners: RefCell::default(),
    });
    match connection.listen(may_show_key) {
        Ok(()) => Ok(response),
        Err(error) => Err((Box::new(connection.template.clone()), js::message(&error))),
    }
}

/// A message as bytes, if there is room to read it.
fn bytes(data: &JsValue) -> Option<(Vec<u8>, GrowingAllotment)> {
    let mut allotment = GrowingAllotment::default();
    if !allotment.add(COPIES * length(data)) {
        return None;
    }
    let bytes = match data.dyn_ref::<JsString>() {
        Some(text) if text.length() > LONG => encoded(text).to_vec(),
        Some(text) => String::from(text).into_bytes(),
        None => js::bytes(data.unchecked_ref::<ArrayBuffer>()),
    };
    Some((bytes, allotment))
}

fn length(data: &JsValue) -> u64 {
    match data.dyn_ref::<JsString>() {
        Some(text) => u64::from(text.length()),
        None => u64::from(data.unchecked_ref::<ArrayBuffer>().byte_length()),
    }
}

// === impl Connection ===

impl Connection {
    fn listen(self: &Rc<Self>, may_show_key: bool) -> Result<(), JsValue> {
        let (asking, answering, ending) = (Rc::clone(self), Rc::clone(self), Rc::clone(self));
        let from_client = Closure::<dyn Fn(JsValue)>::new(move |data| asking.receive(data));
        let from_provider = Closure::<dyn Fn(JsValue) -> JsValue>::new(move |data: JsValue| answering.heard(&data));
        let ended = Closure::<dyn Fn(bool, u16, String)>::new(move |by_client, code, reason: String| {
            Rc::clone(&ending).end(by_client, code, &reason);
        });
        let joined = join(
            &self.client,
            &self.provider,
            may_show_key,
            from_client.as_ref(),
            from_provider.as_ref(),
            ended.as_ref(),
        );
        self.listeners.replace(Some((from_client, from_provider, ended)));
        joined
    }

    /// A message of the client. While one waits for the limits, those behind it wait as well, so that they stay in order.
    fn receive(self: &Rc<Self>, data: JsValue) {
        if self.has_ended.get() {
            return;
        }
        if !self.is_asking.get() {
            return self.read(data);
        }
        let mut allotment = GrowingAllotment::default();
        let all = self.waiting_bytes.get() + length(&data);
        if all > MAX_WAITING || !allotment.add(length(&data)) {
            return self.shut(1009, "Tollgate is still looking at the messages before this one");
        }
        self.waiting_bytes.set(all);
        self.waiting.borrow_mut().push_back((data, allotment));
    }

    fn read(self: &Rc<Self>, data: JsValue) {
        let Some((message, allotment)) = bytes(&data) else {
            let refusal = Refusal::no_room("a message of that length");
            return self.refuse(&refusal, &Begun::default(), None);
        };
        self.make_room(message.len());
        let step = self.ledger.borrow_mut().client(&message);
        let begun = match step {
            Step::Pass => {
                deliver(&self.provider, &data);
                return;
            }
            Step::Unreadable => {
                let refusal = Refusal::bad_request(refused::UNREADABLE);
                let mut exchange = self.exchange(&Begun::default());
                self.keep(&mut exchange, &message);
                return self.refuse(&refusal, &Begun::default(), Some(exchange));
            }
            Step::Begins(begun) => *begun,
        };
        self.is_asking.set(true);
        let connection = Rc::clone(self);
        self.template.runtime.beside(async move {
            connection.begin(begun, &data, message).await;
            drop(allotment);
            connection.go_on();
        });
    }

    /// Sends on what waited, up to the next message that has to wait for the limits itself.
    fn go_on(self: &Rc<Self>) {
        self.is_asking.set(false);
        while !self.is_asking.get() && !self.has_ended.get() {
            let Some((next, _room)) = self.waiting.borrow_mut().pop_front() else { return };
            self.waiting_bytes.set(self.waiting_bytes.get().saturating_sub(length(&next)));
            self.read(next);
        }
    }

    /// A message of the provider, which the client has by now. Gives what it is to get instead, if there is a key in an error.
    fn heard(self: &Rc<Self>, data: &JsValue) -> JsValue {
        let Some((message, _room)) = bytes(data) else { return JsValue::UNDEFINED };
        self.make_room(message.len());
        let unasked = RefCell::new(Vec::new());
        let make = |begun: &Begun| {
            let work = Work::new(self.exchange(begun), true);
            unasked.borrow_mut().push((begun.clone(), Rc::clone(&work)));
            work
        };
        let ended = self.ledger.borrow_mut().server(&message, now(), make);
        let unasked = unasked.take();
        for (begun, work) in unasked {
            let connection = Rc::clone(self);
            self.template.runtime.beside(async move { connection.catch_up(&begun, &work).await });
        }
        ended.into_iter().for_each(|ended| self.ended(ended));
        self.without_key(&message)
    }

    /// Has the ledger keep pieces for bodies as long as there is memory for them.
    fn make_room(&self, more: usize) {
        let mut ledger = self.ledger.borrow_mut();
        let (allotment, size) = &mut *self.held.borrow_mut();
        let wanted = ledger.held() + more;
        while *size < wanted.min(MAX_HELD) && allotment.add(PIECES as u64) {
            *size += PIECES;
        }
        ledger.allow(*size);
    }

    fn without_key(&self, message: &[u8]) -> JsValue {
        let secrets = &self.template.call.secrets;
        if !secrets.has_kept() || memchr::memmem::find(message, b"rror").is_none() {
            return JsValue::UNDEFINED;
        }
        match secrets.for_caller().bytes(message) {
            Some(masked) => JsValue::from_str(&String::from_utf8_lossy(&masked)),
            None => JsValue::UNDEFINED,
        }
    }
}
