//! The responses of a connection: their limits, their rows, and what a client is told of those that do not begin.

use super::connection::{Caller, Connection, Work, deliver};
use crate::auth::presented::Presented;
use crate::config::isolate_worker::config;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::refusal::Refusal;
use crate::http::router::{Access, Endpoint, Route};
use crate::logs::call::{Call, Failure};
use crate::logs::crash_worker::Mark;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::{now, random};
use crate::proxy::exchange::{self, Exchange};
use crate::proxy::guard::{self, OriginFacts};
use crate::proxy::limits::Refused;
use crate::proxy::session::refused::{self, RefusalMessage};
use crate::proxy::session::{Begun, Dialect};
use crate::proxy::{authorization, limit_checks};
use crate::wire::body::MAX_BODY;
use std::rc::Rc;
use wasm_bindgen::JsValue;

// === impl Connection ===

impl Connection {
    /// Asks the limits, and sends the message if they let the response begin.
    pub(super) async fn begin(self: &Rc<Self>, begun: Begun, data: &JsValue, message: Vec<u8>) {
        let found = self.authorised().await;
        let mut exchange = self.exchange(&begun);
        self.keep(&mut exchange, &message);
        let admitted = match found {
            Ok((snapshot, presented)) => {
                exchange.call.prices = Rc::clone(&snapshot.prices);
                let allotment = self.ledger.borrow().admits();
                match allotment {
                    Ok(()) => self.pass(&mut exchange, &snapshot, &presented).await,
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        };
        if self.has_ended.get() {
            exchange.admission = None;
            let refusal = Refusal::unreachable("the client went away").with(|refusal| refusal.status = 499);
            return self.leave(exchange, exchange::refused(&refusal, Failure::ClientLeft));
        }
        if let Err(refusal) = admitted {
            return self.refuse(&refusal, &begun, Some(exchange));
        }
        self.ledger.borrow_mut().begin(begun, Work::new(exchange, false), &message);
        deliver(&self.provider, data);
    }

    /// Has a response pass the guard and the limits.
    async fn pass(
        &self,
        exchange: &mut Exchange,
        snapshot: &GatewaySnapshot,
        presented: &Presented,
    ) -> Result<(), Refusal> {
        let whence = || Rc::new(OriginFacts::of(&self.caller.headers, &self.template.runtime));
        guard::pass(exchange, snapshot, presented, whence).await?;
        let passed = limit_checks::pass(exchange, &snapshot.gateway, presented, false).await;
        passed.map_err(|Refused { refusal, .. }| refusal)
    }

    /// A caller who loses the right to run loses it at the next response.
    async fn authorised(&self) -> Result<(Rc<GatewaySnapshot>, Presented), Refusal> {
        let Caller { headers, account, gateway, trusted, identity, terms } = &self.caller;
        let route = Route {
            endpoint: Endpoint::Proxy,
            access: Access::Gateway,
            account,
            gateway,
            provider: &self.template.call.provider,
            id: "",
            version: "",
            rest: &self.template.call.rest,
        };
        let (snapshot, mut presented) =
            authorization::authorised(headers, &route, *trusted, &self.template.runtime).await?;
        if *trusted {
            presented.identity.clone_from(identity);
            presented.terms.clone_from(terms);
        }
        Ok((snapshot, presented))
    }

    /// What a response's row has from its connection, and of itself.
    pub(super) fn exchange(&self, begun: &Begun) -> Exchange {
        let template = &self.template;
        let arrived = now();
        let id = config(&template.runtime).log_id(arrived, random(), template.collect_log);
        let mark = template.collect_log.then(|| Rc::new(Mark::new(&id)));
        // It makes something, however the connection was opened.
        let method = "POST".to_owned();
        let facts = begun.facts.clone();
        let call = Call { id, created_at: arrived, method, facts, request_size: None, ..template.call.clone() };
        let traced = template.traced.as_ref().map(|traced| traced.within(arrived));
        Exchange { call, admission: None, mark, traced, allotment: None, arrived, ..template.clone() }
    }

    /// Keeps the message that asks for a response for its row.
    pub(super) fn keep(&self, exchange: &mut Exchange, message: &[u8]) {
        exchange.call.request_size = Some(message.len() as u64);
        exchange.call.request_content_type = Some("application/json".to_owned());
        let mut allotment = GrowingAllotment::default();
        let fits = message.len() <= MAX_BODY && allotment.add(message.len() as u64);
        if exchange.collect_payload && self.dialect == Dialect::Responses && fits {
            exchange.call.body = Some(String::from_utf8_lossy(message).into_owned());
            exchange.allotment = Some(Rc::new(allotment));
        }
    }

    /// Tells the client why a response does not begin. Other responses go on.
    pub(super) fn refuse(self: &Rc<Self>, refusal: &Refusal, begun: &Begun, exchange: Option<Exchange>) {
        if let Some(exchange) = exchange {
            self.leave(exchange, exchange::refused(refusal, Failure::Gateway(refusal.description.clone())));
        }
        self.tell(refusal, begun);
    }

    fn tell(self: &Rc<Self>, refusal: &Refusal, begun: &Begun) {
        match refused::refusal_message(self.dialect, refusal, begun) {
            RefusalMessage::Message(message) => {
                deliver(&self.client, &JsValue::from_str(&message));
            }
            RefusalMessage::Close { code, reason } => self.shut(code, &reason),
        }
    }

    /// Asks the limits about a response that the provider has begun by itself, and ends it where they do not let it pass. What
    /// it makes of sound that it was sent anyhow only counts.
    pub(super) async fn catch_up(self: &Rc<Self>, begun: &Begun, work: &Rc<Work>) {
        let Some(mut exchange) = work.exchange.take() else { return };
        let is_response = begun.id.is_some();
        let refused = match self.authorised().await {
            Ok((snapshot, presented)) => {
                exchange.call.prices = Rc::clone(&snapshot.prices);
                let passed = match is_response {
                    true => self.pass(&mut exchange, &snapshot, &presented).await,
                    false => Ok(()),
                };
                if passed.is_err() || !is_response {
                    limit_checks::count(&mut exchange, &snapshot.gateway, &presented).await;
                }
                passed.err()
            }
            Err(refusal) => Some(refusal),
        };
        // A message that cancels a response is what realtime sessions have, and they alone.
        if let (Some(refusal), Some(id), Dialect::Realtime) = (refused, &begun.id, self.dialect) {
            let cancel = crate::base::json::json!({ "type": "response.cancel", "response_id": id });
            deliver(&self.provider, &JsValue::from_str(&cancel.to_string()));
            self.tell(&refusal, begun);
        }
        work.exchange.replace(Some(exchange));
        work.is_asking.set(false);
        if let Some(outcome) = work.outcome.take() {
            self.log(work, outcome);
        }
    }
}
