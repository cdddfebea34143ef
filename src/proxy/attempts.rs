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
    pub prepared: &'a Prepared,
    pub plan: RetryPolicy,
    /// Where the messages of a WebSocket are understood.
    pub dialect: Option<Dialect>,
}

/// What an attempt came to.
enum Outcome {
    Answered(Response),
    /// With the milliseconds to wait before the next attempt, if there is to be one.
    Failed(Box<Failed>, Option<u64>),
}

// === impl Attempts ===

impl Attempts<'_> {
    /// What fails is added to `failures`; `None` means that one of them is to be the answer.
    pub async fn make(mut self, mut exchange: Exchange, failures: &mut Vec<Failed>) -> Option<Response> {
        loop {
            let sent = self.send(&exchange).await;
            let (mut failed, wait) = match self.outcome(sent, exchange).await {
                Outcome::Answered(response) => return Some(response),
                Outcome::Failed(failed, wait) => (failed, wait),
            };
            // Without another attempt nothing is copied: a job holds the body for its row.
            let next = wait.map(|wait| (wait, failed.exchange.another()));
            failures.push(*failed);
            let (wait, mut next) = next?;
            if let Err(why) = self.begin(&mut next, wait).await {
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
        let Self { caller, prepared, .. } = *self;
        let (settings, attempt) = (self.settings(), exchange.call.attempt);
        caller.calls.set(caller.calls.get() + 1);
        let asked_ms = self.plan.timeout(attempt, caller.is_followed);
        let patience = Patience::of(settings.first_byte_timeout, settings.idle_timeout, asked_ms);
        let asked_at = now();
        let mut sent = prepared.send(patience, &exchange.client).await;
        // What another attempt could do better is not given to the client before it says something.
        if (attempt < self.plan.attempts || caller.is_followed)
            && let Ok(answer) = sent
        {
            let first_byte_ms = if patience.is_of_gateway { 0 } else { patience.first_byte_ms };
            sent = beginning::awaited(answer, first_byte_ms, asked_at).boxed_local().await;
        }
        let who = || {
            let presented = self.arrival.presented;
            let identity = Some(&*presented.identity).filter(|_| presented.let_in);
            circuit_breaker::caller(identity, caller.network.as_deref())
        };
        if circuits::note(exchange, &prepared.url, settings, &sent, who) {
            self.plan.attempts = attempt;
            alerting::circuit(&exchange.runtime, exchange.watch.as_ref(), &exchange.call);
        }
        sent
    }

    /// Gives the client what the provider answers, unless another attempt or another step may do better.
    async fn outcome(&self, sent: Result<Answer, NoAnswer>, exchange: Exchange) -> Outcome {
        let attempt = exchange.call.attempt;
        let unanswered = |exchange: Exchange, cause: String| {
            let wait = self.plan.pause(attempt, None, random() as u64);
            Outcome::Failed(Box::new(Failed { exchange, end: End::Unanswered(cause) }), wait)
        };
        let upstream = match sent {
            Ok(upstream) => upstream,
            Err(_) if exchange.client.aborted() => return Outcome::Answered(exchange.abandon()),
            Err(none) => return unanswered(exchange, none.cause),
        };
        let status = upstream.said_status();
        let wait = match retry::is_retried(status) {
            true => self.plan.pause(attempt, retry_after(&upstream), random() as u64),
            false => None,
        };
        if wait.is_some() || (self.caller.is_followed && status >= 400) {
            let held = Box::new(Held::new(upstream, &exchange));
            return Outcome::Failed(Box::new(Failed { exchange, end: End::Answered(held) }), wait);
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

    /// Waits, and asks whether the next attempt may be made.
    async fn begin(&self, next: &mut Exchange, wait: u64) -> Result<(), Unsent> {
        let max_calls = self.settings().max_calls;
        let is_last = self.caller.calls.get() >= max_calls;
        if !is_last {
            pause(wait).await;
        }
        next.begin_next();
        if is_last {
            return Err(Refusal::too_many_calls(max_calls).into());
        }
        if next.client.aborted() {
            return Err(Unsent::ClientLeft);
        }
        let passed = limit_checks::pass_again(next, &self.arrival.snapshot.gateway).await;
        passed.map_err(|Refused { refusal, .. }| refusal.into())
    }

    fn settings(&self) -> &GatewaySettings {
        &self.arrival.snapshot.gateway.settings
    }
}
