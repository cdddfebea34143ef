//! The attempts of a request that may be sent: it is sent until the provider answers well, or may not be sent once more.

use crate::base::patience::Patience;
use crate::gateways::settings::GatewaySettings;
use crate::http::message_worker::Answer;
use crate::http::refusal::Refusal;
use crate::platform::{now, pause, random};
use crate::proxy::arrival::Arrival;
use crate::proxy::beginning;
use crate::proxy::caller::Caller;
use crate::proxy::exchange::Exchange;
use crate::proxy::failures::{End, Failed};
use crate::proxy::limits::Refused;
use crate::proxy::options::Options;
use crate::proxy::response::{self, Held};
use crate::proxy::retry::RetryPolicy;
use crate::proxy::session::Dialect;
use crate::proxy::upstream_request::{NoAnswer, Prepared, Unsent, retry_after};
use crate::proxy::{alerting, circuit_breaker, circuits, limit_checks, retry, session_worker};
use futures_util::FutureExt;
use web_sys::Response;

pub struct Attempts<'a> {
    pub arrival: &'a Arrival<'a>,
    pub caller: &'a Caller,
    pub prepared: Prepared,
    pub options: &'a Options,
    pub plan: RetryPolicy,
    /// How many attempts were made because a provider turned a stored key away; the plan does not count them.
    pub by_key: u32,
    /// Where the messages of a WebSocket are understood.
    pub dialect: Option<Dialect>,
}

/// What an attempt came to.
enum Outcome {
    Answered(Response),
    /// With what comes before the next attempt, if there is to be one.
    Failed(Box<Failed>, Option<Next>),
}

/// What comes before another attempt.
enum Next {
    /// A pause, in milliseconds.
    Pause(u64),
    /// The next of several stored keys.
    Key,
}

/// Statuses by which a provider turns a key away that another may not have: it is none, its account has no money left, or it was
/// used too often.
fn is_about_key(status: u16) -> bool {
    matches!(status, 401 | 402 | 429)
}

// === impl Attempts ===

impl Attempts<'_> {
    /// What fails is added to `failures`; `None` means that one of them is to be the answer.
    pub async fn make(mut self, mut exchange: Exchange, failures: &mut Vec<Failed>) -> Option<Response> {
        loop {
            let sent = self.send(&exchange).await;
            let (mut failed, next) = match self.outcome(sent, exchange).await {
                Outcome::Answered(response) => return Some(response),
                Outcome::Failed(failed, next) => (failed, next),
            };
            // Without another attempt nothing is copied: a job holds the body for its row.
            let next = next.map(|before| (before, failed.exchange.another()));
            failures.push(*failed);
            let (before, mut next) = next?;
            if let Err(why) = self.begin(&mut next, before).await {
                // What is not sent costs nothing; those before it are settled with their own rows.
                next.admission = None;
                match why {
                    Unsent::ClientLeft => return Some(next.abandon()),
                    Unsent::Refused(refusal) => failures.push(Failed::refused(next, refusal)),
                }
                return None;
            }
            exchange = next;
        }
    }

    async fn send(&mut self, exchange: &Exchange) -> Result<Answer, NoAnswer> {
        let attempt = self.planned(exchange);
        let Self { arrival, caller, ref prepared, .. } = *self;
        let settings = &arrival.snapshot.gateway.settings;
        caller.calls.set(caller.calls.get() + 1);
        let asked_ms = self.plan.timeout(attempt, caller.is_followed);
        let patience = Patience::of(settings.first_byte_timeout, settings.idle_timeout, asked_ms);
        let asked_at = now();
        let mut sent = prepared.send(patience, &exchange.client).await;
        // What another attempt could do better is not given to the client before it says something.
        if (attempt < self.plan.attempts || caller.is_followed || prepared.has_next_key)
            && let Ok(answer) = sent
        {
            let first_byte_ms = if patience.is_of_gateway { 0 } else { patience.first_byte_ms };
            sent = beginning::awaited(answer, first_byte_ms, asked_at).boxed_local().await;
        }
        let who = || {
            let presented = arrival.presented;
            let identity = Some(&*presented.identity).filter(|_| presented.let_in);
            circuit_breaker::caller(identity, caller.network.as_deref())
        };
        if circuits::note(exchange, &prepared.url, settings, &sent, who) {
            self.plan.attempts = attempt;
            self.prepared.has_next_key = false;
            alerting::circuit(&exchange.runtime, exchange.watch.as_ref(), &exchange.call);
        }
        sent
    }

    /// Gives the client what the provider answers, unless another attempt or another step may do better.
    async fn outcome(&self, sent: Result<Answer, NoAnswer>, exchange: Exchange) -> Outcome {
        let attempt = self.planned(&exchange);
        let unanswered = |exchange: Exchange, cause: String| {
            let wait = self.plan.pause(attempt, None, random() as u64);
            Outcome::Failed(Box::new(Failed { exchange, end: End::Unanswered(cause) }), wait.map(Next::Pause))
        };
        let upstream = match sent {
            Ok(upstream) => upstream,
            Err(_) if exchange.client.aborted() => return Outcome::Answered(exchange.abandon()),
            Err(none) => return unanswered(exchange, none.cause),
        };
        let status = upstream.said_status();
        let next = match retry::is_retried(status) {
            _ if self.prepared.has_next_key && is_about_key(status) => Some(Next::Key),
            true => self.plan.pause(attempt, retry_after(&upstream), random() as u64).map(Next::Pause),
            false => None,
        };
        if next.is_some() || (self.caller.is_followed && status >= 400) {
            let held = Box::new(Held::new(upstream, &exchange));
            return Outcome::Failed(Box::new(Failed { exchange, end: End::Answered(held) }), next);
        }
        let given = match self.dialect.filter(|_| status == 101) {
            Some(dialect) => {
                let caller = self.arrival.websocket_caller(self.caller.trusted);
                session_worker::relayed(&upstream.response, &upstream.headers, dialect, caller, exchange)
            }
            None => response::give(upstream, self.arrival.asked.method == "HEAD", exchange).await,
        };
        match given {
            Ok(response) => Outcome::Answered(response),
            Err((exchange, cause)) => unanswered(*exchange, cause),
        }
    }

    /// Waits or takes the next key, and asks whether the next attempt may be made.
    async fn begin(&mut self, next: &mut Exchange, before: Next) -> Result<(), Unsent> {
        let max_calls = self.settings().max_calls;
        let is_last = self.caller.calls.get() >= max_calls;
        match before {
            Next::Pause(wait) if !is_last => pause(wait).await,
            _ => {}
        }
        next.begin_next();
        if is_last {
            return Err(Refusal::too_many_calls(max_calls).into());
        }
        if next.client.aborted() {
            return Err(Unsent::ClientLeft);
        }
        let mut takes_next = matches!(before, Next::Key);
        self.by_key += u32::from(takes_next);
        loop {
            if takes_next {
                self.arrival.present_next_key(self.options, &mut self.prepared, next).boxed_local().await?;
            }
            match limit_checks::pass_again(next, &self.arrival.snapshot.gateway).await {
                Ok(()) => return Ok(()),
                // A key that was used often enough is passed over.
                Err(_) if self.prepared.has_next_key => takes_next = true,
                Err(Refused { refusal, .. }) => return Err(refusal.into()),
            }
        }
    }

    /// Which attempt of its plan an exchange is.
    fn planned(&self, exchange: &Exchange) -> u32 {
        exchange.call.attempt.saturating_sub(self.by_key)
    }

    fn settings(&self) -> &GatewaySettings {
        &self.arrival.snapshot.gateway.settings
    }
}
