//! The responses of a connection: their limits, their rows, and what a client is told of those that do not begin.

use super::{Caller, Connection, deliver};
use crate::auth::presented::Presented;
use crate::config::isolate_worker::config;
use crate::gateways::snapshot::Scope;
use crate::http::refusal::Refusal;
use crate::http::router::{Access, Endpoint, Route};
use crate::limit::plan::Refused;
use crate::logs::call::{Call, Failure, Outcome};
use crate::logs::crash_worker::Mark;
use crate::platform::growing::Growing;
use crate::platform::{Around, Carried, now, random};
use crate::proxy::exchange::{self, Job};
use crate::proxy::session::refused::{self, Told};
use crate::proxy::session::{Begun, Dialect, Ended};
use crate::proxy::{handle, limits};
use crate::wire::body::MAX_BODY;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::JsValue;

/// A response under way, with what its row will need. One that the provider began by itself may end before its limits are known.
pub(super) struct Work {
    job: RefCell<Option<Job>>,
    is_asking: Cell<bool>,
    arrived: u64,
    outcome: RefCell<Option<Outcome>>,
    /// What was asked, where the end tells it.
    request: RefCell<Option<String>>,
}

// === impl Connection ===

impl Connection {
    /// Asks the limits, and sends the message if they let the response begin.
    pub(super) async fn begin(self: &Rc<Self>, begun: Begun, data: &JsValue, message: Vec<u8>) {
        let found = self.authorised().await;
        let mut job = self.job(&begun);
        self.keep(&mut job, &message);
        let admitted = match found {
            Ok((scope, presented)) => {
                job.call.prices = Rc::clone(&scope.prices);
                let room = self.ledger.borrow().admits();
                match room {
                    Ok(()) => {
                        let passed = limits::pass(&mut job, &scope.gateway, &presented, false).await;
                        passed.map_err(|Refused { refusal, .. }| refusal)
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        };
        if self.has_ended.get() {
            job.admission = None;
            let refusal = Refusal { status: 499, ..Refusal::unreachable("the client went away") };
            return self.leave(job, exchange::refused(&refusal, Failure::ClientLeft));
        }
        if let Err(refusal) = admitted {
            return self.refuse(&refusal, &begun, Some(job));
        }
        self.ledger.borrow_mut().begin(begun, Work::new(job, false), &message);
        deliver(&self.provider, data);
    }

    /// Whoever loses the right to run loses it at the next response.
    async fn authorised(&self) -> Result<(Rc<Scope>, Presented), Refusal> {
        let Caller { headers, account, gateway, trusted, identity } = &self.caller;
        let route = Route {
            endpoint: Endpoint::Proxy,
            access: Access::Gateway,
            account,
            gateway,
            provider: &self.template.call.provider,
            id: "",
            rest: &self.template.call.rest,
        };
        let (scope, mut presented) = handle::authorised(headers, &route, *trusted, &self.template.around).await?;
        if *trusted {
            presented.identity.clone_from(identity);
        }
        Ok((scope, presented))
    }

    /// What a response's row has from its connection, and of itself.
    pub(super) fn job(&self, begun: &Begun) -> Job {
        let template = &self.template;
        let arrived = now();
        let id = config(&template.around).log_id(arrived, random(), template.collect_log);
        let mark = template.collect_log.then(|| Rc::new(Mark::new(&id)));
        // It makes something, however the connection was opened.
        let method = "POST".to_owned();
        let facts = begun.facts.clone();
        let call = Call { id, created_at: arrived, method, facts, request_size: None, ..template.call.clone() };
        Job { call, admission: None, mark, share: None, arrived, ..template.clone() }
    }

    /// Keeps the message that asks for a response for its row.
    pub(super) fn keep(&self, job: &mut Job, message: &[u8]) {
        job.call.request_size = Some(message.len() as u64);
        job.call.request_content_type = Some("application/json".to_owned());
        let mut room = Growing::default();
        let fits = message.len() <= MAX_BODY && room.add(message.len() as u64);
        if job.collect_payload && self.dialect == Dialect::Responses && fits {
            job.call.body = Some(String::from_utf8_lossy(message).into_owned());
            job.share = Some(Rc::new(room));
        }
    }

    /// Tells the client why a response does not begin. Other responses go on.
    pub(super) fn refuse(self: &Rc<Self>, refusal: &Refusal, begun: &Begun, job: Option<Job>) {
        if let Some(job) = job {
            self.leave(job, exchange::refused(refusal, Failure::Gateway(refusal.description.clone())));
        }
        self.tell(refusal, begun);
    }

    fn tell(self: &Rc<Self>, refusal: &Refusal, begun: &Begun) {
        match refused::told(self.dialect, refusal, begun) {
            Told::Message(message) => {
                deliver(&self.client, &JsValue::from_str(&message));
            }
            Told::Close { code, reason } => self.shut(code, &reason),
        }
    }

    /// Asks the limits about a response that the provider has begun by itself, and ends it where they do not let it pass. What
    /// it makes of sound that it was sent anyhow only counts.
    pub(super) async fn catch_up(self: &Rc<Self>, begun: &Begun, work: &Rc<Work>) {
        let Some(mut job) = work.job.take() else { return };
        let is_response = begun.id.is_some();
        let refused = match self.authorised().await {
            Ok((scope, presented)) => {
                job.call.prices = Rc::clone(&scope.prices);
                let passed = match is_response {
                    true => limits::pass(&mut job, &scope.gateway, &presented, false).await,
                    false => Ok(()),
                };
                if passed.is_err() || !is_response {
                    limits::count(&mut job, &scope.gateway, &presented).await;
                }
                passed.err().map(|Refused { refusal, .. }| refusal)
            }
            Err(refusal) => Some(refusal),
        };
        // A message that cancels a response is what realtime sessions have, and they alone.
        if let (Some(refusal), Some(id), Dialect::Realtime) = (refused, &begun.id, self.dialect) {
            let cancel = serde_json::json!({ "type": "response.cancel", "response_id": id });
            deliver(&self.provider, &JsValue::from_str(&cancel.to_string()));
            self.tell(&refusal, begun);
        }
        work.job.replace(Some(job));
        work.is_asking.set(false);
        if let Some(outcome) = work.outcome.take() {
            self.log(work, outcome);
        }
    }

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

    fn log(self: &Rc<Self>, work: &Work, outcome: Outcome) {
        if let Some(mut job) = work.job.take() {
            job.call.body = work.request.take().or(job.call.body.take());
            self.leave(job, outcome);
        }
    }

    pub(super) fn leave(&self, job: Job, outcome: Outcome) {
        self.has_rows.set(true);
        let around: Rc<Around> = Rc::clone(&job.around);
        let carried = Carried::begin();
        around.context.wait_until(async move {
            job.log(outcome).await;
            drop(carried);
        });
    }
}

// === impl Work ===

impl Work {
    pub(super) fn new(job: Job, is_asking: bool) -> Rc<Self> {
        let arrived = job.arrived;
        let (job, is_asking) = (RefCell::new(Some(job)), Cell::new(is_asking));
        Rc::new(Self { job, is_asking, arrived, outcome: RefCell::default(), request: RefCell::default() })
    }
}
