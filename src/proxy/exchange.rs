//! A proxied request under way, with what its row in the log will need.

use crate::batches::stored::{self, Keeps};
use crate::config::isolate_worker::config;
use crate::credentials::key::KeyLimit;
use crate::db::store::Store;
use crate::dlp::{Redactor, Report};
use crate::feedback::attach_worker;
use crate::http::envelope::Reply;
use crate::http::headers::{Edits, Headers};
use crate::http::refusal::Refusal;
use crate::http::{message_worker, response_headers};
use crate::limit::cap::Cap;
use crate::limit::watch::Watch;
use crate::logs::call::{Call, Failure, Outcome};
use crate::logs::charge;
use crate::logs::crash_worker::Mark;
use crate::logs::record::LogRecord;
use crate::logs::writer_worker;
use crate::platform::allotment::GrowingAllotment;
use crate::platform::{Runtime, console, counted, now, random};
use crate::proxy::answer_links::{self, Door, Links};
use crate::proxy::cache::Cache;
use crate::proxy::judges::Judges;
use crate::proxy::limits::Admission;
use crate::proxy::screening::{self, Screening};
use crate::proxy::traced::Traced;
use crate::proxy::unified::Unified;
use crate::proxy::unified::translation::Translation;
use crate::routes::deployed;
use serde_json::Value;
use std::rc::Rc;
use web_sys::{AbortSignal, Response};

/// The status of a row whose client left before there was an answer, as nginx writes it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Response headers that only we set: a provider's of the same name are removed.
const OURS: &[&str] = &[
    "cf-aig-attempt",
    "cf-aig-cache-status",
    "cf-aig-circuit",
    screening::HEADER,
    answer_links::WITHHELD,
    "cf-aig-log-id",
    "cf-aig-metadata-dropped",
    "cf-aig-model",
    "cf-aig-provider",
    deployed::WAY,
    "cf-aig-skipped",
    "cf-aig-spend-remaining",
    "cf-aig-warning",
];

#[derive(Clone)]
pub struct Exchange {
    pub runtime: Rc<Runtime>,
    pub call: Call,
    pub collect_log: bool,
    pub collect_payload: bool,
    pub cache: Cache,
    /// What let the request pass, if its gateway has limits.
    pub admission: Option<Rc<Admission>>,
    /// Who is told of limits that are nearly used up.
    pub watch: Option<Rc<Watch>>,
    /// Whether policies or the caller's token may count what the request costs.
    pub counts_money: bool,
    /// The caps that policies set for the request.
    pub caps: Vec<Cap>,
    /// The counters of a route that learn of the cost.
    pub rates: Vec<Rc<Admission>>,
    /// How many requests may be sent with the stored key that is used.
    pub key_limit: Option<KeyLimit>,
    /// True for a browser that means to show or run the answer.
    pub navigates: bool,
    /// True where a model is asked whether another request may go on.
    pub is_check: bool,
    /// True where the provider's key signs the body, and is not sent.
    pub is_signed: bool,
    /// What judges the answer.
    pub judges: Option<Rc<Judges>>,
    /// What is looked for that must not leave, and the placeholders that the request has.
    pub screening: Option<Rc<Screening>>,
    /// The way that the request came, by which addresses in the answer lead back.
    pub door: Door,
    /// What the answer of a request of the unified API is given with.
    pub unified: Option<Rc<Unified>>,
    /// Whether cookies go from the provider to the client and back.
    pub passes_cookies: bool,
    /// Response headers that tell the caller what the gateway made of its request.
    pub gateway_headers: Vec<(&'static str, String)>,
    /// Tells that the row is still to come.
    pub mark: Option<Rc<Mark>>,
    /// How the request is told of as spans, if its gateway sends any.
    pub traced: Option<Box<Traced>>,
    /// Room for the request's body, while it waits for its row.
    pub allotment: Option<Rc<GrowingAllotment>>,
    /// When the request arrived, or when this attempt of it began.
    pub arrived: u64,
    /// Tells when the client leaves.
    pub client: AbortSignal,
}

impl Exchange {
    /// The job of another attempt. Both have the request's body for their rows, if there is room for it twice; else the other one
    /// has it.
    #[inline(never)]
    pub fn another(&mut self) -> Self {
        let body = self.call.body.take();
        let mut other = self.clone();
        if let Some(body) = body {
            let mut allotment = GrowingAllotment::default();
            if allotment.add(body.len() as u64) {
                self.call.body = Some(body.clone());
                self.allotment = Some(Rc::new(allotment));
            }
            other.call.body = Some(body);
        }
        other
    }

    /// Becomes the job of the next attempt, with a row of its own.
    pub fn begin_next(&mut self) {
        self.arrived = now();
        self.call.id = config(&self.runtime).log_id(self.arrived, random(), self.collect_log);
        self.call.created_at = self.arrived;
        self.call.attempt += 1;
        self.mark = self.collect_log.then(|| Rc::new(Mark::new(&self.call.id)));
    }

    /// The headers that are ours on an answer of this status, and what becomes of `theirs`, those that it has.
    pub fn marks(&self, status: u16, theirs: &Headers) -> Edits<'_> {
        let mut edits = Edits::default();
        for name in OURS.iter().filter(|name| theirs.get(name).is_some()) {
            edits.remove(*name);
        }
        response_headers::guard(theirs, self.navigates, self.passes_cookies, &mut edits);
        if self.call.secrets.has_kept() && status >= 300 {
            let masker = self.call.secrets.for_caller();
            for (name, value) in &theirs.0 {
                if let Some(masked) = masker.header(value).filter(|_| !edits.names(name)) {
                    edits.set(name.clone(), masked);
                }
            }
        }
        if self.collect_log {
            edits.set("cf-aig-log-id", &self.call.id);
        }
        edits.set("cf-aig-event-id", &self.call.event_id);
        edits.set("cf-aig-request-id", &self.call.id);
        edits.set("cf-aig-step", self.call.step.to_string());
        if self.call.attempt > 1 {
            edits.set("cf-aig-attempt", self.call.attempt.to_string());
        }
        if let Some(status) = self.cache.status {
            edits.set("cf-aig-cache-status", status);
        }
        for (name, text) in &self.gateway_headers {
            edits.set(*name, text);
        }
        if let Some(warning) = self.links().rewrite_headers(status, theirs, &mut edits) {
            let others = self.gateway_headers.iter().find(|(name, _)| *name == "cf-aig-warning");
            edits
                .set("cf-aig-warning", others.map_or(warning.to_owned(), |(_, others)| format!("{others}; {warning}")));
        }
        edits
    }

    /// What stands for what in the answer, where its client wants its own texts back.
    pub fn restores(&self) -> Option<&Redactor> {
        self.screening.as_ref()?.restores()
    }

    /// What turns the answer into the caller's format, where the provider speaks another.
    pub fn translation(&self) -> Option<&Translation> {
        self.unified.as_ref()?.translation.as_ref()
    }

    /// The reply that a refusal is for this caller.
    pub fn reply(&self, refusal: &Refusal) -> Reply {
        self.unified.as_ref().map_or_else(|| refusal.reply(), |unified| unified.reply(refusal))
    }

    /// What leads the addresses of the answer back below the gateway.
    pub fn links(&self) -> Links<'_> {
        Links::new(&self.call, &self.door, &self.runtime)
    }

    /// Says anew where a limit stands, which is one item of a list.
    pub fn note_anew(&mut self, name: &str, limit: &str, text: &str) {
        let begin = format!("\"{limit}\";");
        for (_, items) in self.gateway_headers.iter_mut().filter(|(known, _)| *known == name) {
            let others = items.split(", ").map(|item| if item.starts_with(&begin) { text } else { item });
            *items = others.collect::<Vec<&str>>().join(", ");
        }
    }

    /// Adds to what the caller is told in `cf-aig-warning`.
    pub fn warn(&mut self, text: &str) {
        match self.gateway_headers.iter_mut().find(|(name, _)| *name == "cf-aig-warning") {
            Some((_, others)) => {
                others.push_str("; ");
                others.push_str(text);
            }
            None => self.gateway_headers.push(("cf-aig-warning", text.to_owned())),
        }
    }

    /// Goes on after the answer is on its way.
    pub fn later<F: Future<Output = ()> + 'static>(self, work: impl FnOnce(Self) -> F) {
        let runtime = Rc::clone(&self.runtime);
        runtime.later(work(self));
    }

    /// Counts the attempt, leaves its row if there is to be one, and says what it did cost.
    pub async fn log(mut self, mut outcome: Outcome) {
        if let Some(translation) = self.translation() {
            let own = outcome.facts.response_id.take();
            outcome.facts.response_id = translation.seen_id(own, &self.call.id);
        }
        let screening = self.screening.take();
        if let Some(screening) = &screening {
            let rest = self.call.rest.clone();
            // It was told when the request came.
            screening.conceal(&mut self.call, Report::default());
            // The path says which batch it is.
            let concealed = std::mem::replace(&mut self.call.rest, rest);
            self.remember_batch(&outcome);
            self.call.rest = concealed;
        } else {
            self.remember_batch(&outcome);
        }
        let Self { runtime, call, admission, rates, mark, allotment, traced, .. } = self;
        let duration = now().saturating_sub(self.arrived);
        let unsaid =
            admission.as_ref().filter(|admission| admission.reserves()).and_then(|_| call.unreported_cost(&outcome));
        let set_aside = admission.as_ref().filter(|admission| admission.reserves()).map(|_| call.estimate());
        let mut called = traced.as_ref().and_then(|traced| traced.called(&call, &outcome));
        if let (Some(screening), Some(called)) = (&screening, &mut called)
            && let Some(url) = screening.word(&called.url)
        {
            called.url = url;
        }
        let record = LogRecord::new(call, Outcome { duration, ..outcome });
        if let Some(traced) = traced {
            traced.tell(&runtime, &record, called.as_ref());
        }
        if let Some(admission) = &admission {
            let model = record.answer_model.as_deref().or(record.model.as_deref());
            match charge::of(&record, set_aside) {
                Some(charge) => admission.charge(charge, model),
                None => {
                    admission.spent(record.charge.amount(record.least_spent(unsaid), admission.reserves()), model);
                }
            }
        }
        for rate in &rates {
            rate.spent(record.charge.amount(record.least_spent(unsaid), false), None);
        }
        drop((admission, rates));
        drop(allotment);
        if record.answered {
            count(&record);
        }
        writer_worker::submit(record, self.collect_log, mark, &runtime, attach_worker::written).await;
        counted::settle(&runtime);
    }

    /// Remembers a batch that the request has made, or asked for: its results are going to be logs.
    fn remember_batch(&self, outcome: &Outcome) {
        if outcome.status != Some(200) || outcome.failure.is_some() {
            return;
        }
        let keeps = Keeps { log: self.collect_log, bodies: self.collect_payload };
        let Some(remember) = stored::remember(&self.call, &outcome.facts, keeps, &self.caps) else { return };
        let store = self.runtime.database_of(self.call.shard);
        self.runtime.beside(async move {
            console::failed("batch_not_remembered", store.batch(vec![remember]).await.map(drop));
        });
    }

    pub fn finish(self, outcome: Outcome, response: Response) -> Response {
        self.later(|exchange| exchange.log(outcome));
        response
    }

    pub fn refuse(self, refusal: &Refusal, failure: Failure) -> Response {
        let response = message_worker::response(&self.reply(refusal));
        let own = Headers(vec![("content-type".to_owned(), "application/json".to_owned())]);
        message_worker::edit(&response.headers(), &self.marks(refusal.status, &own));
        self.finish(refused(refusal, failure), response)
    }

    pub fn broken(self, cause: &str) -> Response {
        let refusal = Refusal::unreachable(format!("{}: {cause}", self.call.provider));
        self.refuse(&refusal, Failure::Upstream(cause.to_owned()))
    }

    /// The client is not there to read an answer any more; the row still says what happened.
    pub fn abandon(self) -> Response {
        let refusal =
            Refusal::unreachable("the client went away").with(|refusal| refusal.status = CLIENT_CLOSED_REQUEST);
        self.refuse(&refusal, Failure::ClientLeft)
    }
}

/// How a request ended that the gateway answered itself.
pub fn refused(refusal: &Refusal, failure: Failure) -> Outcome {
    Outcome {
        status: Some(refusal.status),
        content_type: Some("application/json".to_owned()),
        failure: Some(failure),
        ..Outcome::default()
    }
}

/// Counts what guardrails said of a request, for `/metrics`.
fn count(record: &LogRecord) {
    let said: Option<Value> = record.guardrails.as_deref().and_then(|text| serde_json::from_str(text).ok());
    for (phase, verdict) in said.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let action = verdict.get("action").and_then(Value::as_str).unwrap_or_default();
        let mut categories: Vec<&str> = verdict
            .get("categories")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if categories.is_empty() {
            categories.push("");
        }
        for category in categories {
            counted::add(record.gateway, "guardrail", format!("{phase} {action} {category}"), 1);
        }
    }
}
