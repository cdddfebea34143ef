//! The attempts of a request that failed, and which of them its client is told of.

use crate::http::refusal::{Refusal, TOO_MANY_CALLS};
use crate::logs::call::{Failure, Outcome};
use crate::proxy::circuits;
use crate::proxy::exchange::{self, Exchange};
use crate::proxy::response::Held;
use crate::telemetry::context::Trace;
use web_sys::Response;

/// An attempt without an answer that the client should get while there are others to make.
pub struct Failed {
    pub exchange: Exchange,
    pub end: End,
}

/// How an attempt failed.
pub enum End {
    /// The provider answered with an error.
    Answered(Box<Held>),
    /// The provider did not answer, for this reason.
    Unanswered(String),
    /// The gateway refused.
    Refused(Refusal),
}

/// Ends a request: with the answer there is, or with the best of what failed. Every attempt leaves its row.
pub async fn conclude(answered: Option<Response>, mut failures: Vec<Failed>) -> Response {
    let capped = failures.iter().find_map(Failed::capped).map(str::to_owned);
    let chosen = match answered {
        Some(_) => None,
        None => chosen(&failures).map(|index| failures.remove(index)),
    };
    let chosen = chosen.map(|mut chosen| {
        if let Some(why) = &capped {
            chosen.exchange.warn(why);
        }
        chosen
    });
    let response = match (answered, chosen) {
        (Some(response), _) => response,
        (None, Some(Failed { exchange, end: End::Answered(held) })) => held.give(exchange).await,
        (None, Some(Failed { exchange, end: End::Refused(refusal) })) => {
            let failure = Failure::Gateway(refusal.description.clone());
            let agreed = failures.iter().all(|other| other.is_refused_with(refusal.code));
            match agreed {
                true => exchange.refuse(&refusal, failure),
                false => {
                    let all = causes(&failures, &exchange, &refusal.description);
                    exchange.refuse(&Refusal::unreachable(all), failure)
                }
            }
        }
        (None, Some(Failed { exchange, end: End::Unanswered(cause) })) => {
            let all = causes(&failures, &exchange, &unanswered(&exchange, &cause));
            exchange.refuse(&Refusal::unreachable(all), Failure::Upstream(cause))
        }
        (None, None) => Response::error(),
    };
    failures.into_iter().for_each(Failed::leave);
    response
}

/// Which failure the client is told of: the provider's own error if there was one, and else the last.
fn chosen(failures: &[Failed]) -> Option<usize> {
    let by_provider = failures.iter().rposition(|failed| matches!(failed.end, End::Answered(_)));
    by_provider.or_else(|| failures.len().checked_sub(1))
}

/// What every attempt failed with.
fn causes(others: &[Failed], last: &Exchange, cause: &str) -> String {
    let said = |exchange: &Exchange, cause: &str| {
        format!("step {}, attempt {}: {cause}", exchange.call.step, exchange.call.attempt)
    };
    if others.is_empty() {
        return cause.to_owned();
    }
    let all = others.iter().map(|Failed { exchange, end }| match end {
        End::Answered(_) => said(exchange, "it answered with an error"),
        End::Unanswered(cause) => said(exchange, &unanswered(exchange, cause)),
        End::Refused(refusal) => said(exchange, &refusal.description),
    });
    all.chain([said(last, cause)]).collect::<Vec<String>>().join("; ")
}

fn unanswered(exchange: &Exchange, cause: &str) -> String {
    format!("{} did not answer: {cause}", exchange.call.provider)
}

// === impl Failed ===

impl Failed {
    /// What the gateway did not send.
    pub fn refused(exchange: Exchange, refusal: Refusal) -> Self {
        Self { exchange, end: End::Refused(refusal) }
    }

    /// Why it failed, in a word, for the row of the next.
    pub fn reason(&self) -> String {
        match &self.end {
            End::Answered(held) => held.status().to_string(),
            End::Unanswered(cause) if cause.contains("within") => "timeout".to_owned(),
            End::Unanswered(_) => "unreachable".to_owned(),
            End::Refused(refusal) => format!("refused {}", refusal.status),
        }
    }

    /// The trace that the attempt belongs to.
    pub fn trace(&self) -> Option<Trace> {
        self.exchange.traced.as_ref().map(|traced| traced.trace)
    }

    /// The event that the attempt belongs to.
    pub fn event_id(&self) -> &str {
        &self.exchange.call.event_id
    }

    /// Which element of a universal request failed, if it did so because its provider is left alone.
    pub fn skipped_step(&self) -> Option<u32> {
        self.exchange
            .gateway_headers
            .iter()
            .any(|(name, _)| *name == circuits::HEADER)
            .then_some(self.exchange.call.step)
    }

    /// Why the request ends here, if it has caused as many calls as it may.
    pub fn capped(&self) -> Option<&str> {
        match &self.end {
            End::Refused(refusal) if refusal.code == TOO_MANY_CALLS => Some(&refusal.description),
            _ => None,
        }
    }

    fn is_refused_with(&self, code: u32) -> bool {
        matches!(&self.end, End::Refused(refusal) if refusal.code == code)
    }

    /// Leaves the row of an attempt whose failure the client is not told of.
    fn leave(self) {
        let Self { exchange, end } = self;
        let (refusal, failure) = match end {
            End::Answered(held) => return exchange.later(|exchange| held.log(exchange)),
            End::Unanswered(cause) => (Refusal::unreachable(""), Failure::Upstream(cause)),
            End::Refused(refusal) => {
                let failure = Failure::Gateway(refusal.description.clone());
                (refusal, failure)
            }
        };
        let outcome = Outcome { superseded: true, ..exchange::refused(&refusal, failure) };
        exchange.later(|exchange| exchange.log(outcome));
    }
}
