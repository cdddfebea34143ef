//! How responses end, and the connection itself. Each response leaves its row.

use super::connection::{Connection, Work, shut};
use crate::logs::call::Outcome;
use crate::platform::{Carried, Runtime};
use crate::proxy::exchange::Exchange;
use crate::proxy::session::{Closed, Ended};
use std::rc::Rc;

// === impl Connection ===

impl Connection {
    pub(super) fn ended(self: &Rc<Self>, ended: Ended<Rc<Work>>) {
        let Ended { work, mut outcome, first_at, request } = ended;
        outcome.first_byte = first_at.map(|at| at.saturating_sub(work.arrived));
        work.request.replace(request);
        self.has_rows.set(true);
        match work.is_asking.get() {
            true => drop(work.outcome.replace(Some(outcome))),
            false => self.log(&work, outcome),
        }
    }

    pub(super) fn log(self: &Rc<Self>, work: &Work, outcome: Outcome) {
        if let Some(mut exchange) = work.exchange.take() {
            exchange.call.body = work.request.take().or(exchange.call.body.take());
            self.leave(exchange, outcome);
        }
    }

    pub(super) fn leave(&self, exchange: Exchange, outcome: Outcome) {
        self.has_rows.set(true);
        let runtime: Rc<Runtime> = Rc::clone(&exchange.runtime);
        let carried = Carried::begin();
        runtime.beside(async move {
            exchange.log(outcome).await;
            drop(carried);
        });
    }

    /// Ends the connection on both sides.
    pub(super) fn shut(self: &Rc<Self>, code: u16, reason: &str) {
        shut(&self.client, code, reason);
        shut(&self.provider, 1000, "");
        self.waiting.take();
        let connection = Rc::clone(self);
        let how = Closed::ByClient;
        // Apart from whatever called, which may be a listener that goes.
        wasm_bindgen_futures::spawn_local(async move { connection.over(&how) });
    }

    /// One of the two has ended the connection, and the other one learns of it.
    pub(super) fn end(self: Rc<Self>, by_client: bool, code: u16, reason: &str) {
        let how = match by_client {
            true => Closed::ByClient,
            false => Closed::ByProvider { code, reason: reason.to_owned() },
        };
        // A client that is just cut off says nothing, which no provider need take for a fault.
        let told = if by_client && code == 1006 { 1001 } else { code };
        shut(&self.client, told, reason);
        shut(&self.provider, told, reason);
        self.over(&how);
    }

    fn over(self: &Rc<Self>, how: &Closed) {
        if self.has_ended.replace(true) {
            return;
        }
        self.waiting.take();
        let ended = self.ledger.borrow_mut().close(how);
        ended.into_iter().for_each(|ended| self.ended(ended));
        if !self.has_rows.get() && !self.is_asking.get() {
            // Of a connection without a response there is nothing else to show.
            let outcome = Outcome { status: Some(101), ..Outcome::default() };
            self.leave(self.template.clone(), outcome);
        }
        drop(self.listeners.take());
    }
}
