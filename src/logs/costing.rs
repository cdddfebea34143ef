//! What a request cost by its answer: the figures that count, the price that holds, and what of it is not known.

use crate::limit::charge_of::Charge;
use crate::logs::call::{Call, Failure};
use crate::logs::claim::{self, Claim};
use crate::pricing::bill::Bill;
use crate::pricing::price::{self, CustomCost};
use crate::pricing::rules::{self, Quote};
use crate::providers::model;
use crate::providers::stream_usage::{self, Target};
use crate::providers::upstream;
use crate::wire::details::Place;
use crate::wire::{Facts, Usage};

/// What a request cost.
#[derive(Clone, Debug)]
pub struct Costed {
    pub usage: Usage,
    pub cost: Option<f64>,
    pub cost_unknown: Option<String>,
    pub price_rule: Option<String>,
    /// What it cost at least.
    pub least: f64,
    /// What budgets learn.
    pub charge: Charge,
    /// What it has to do with something that can be asked for again.
    pub claim: Option<Claim>,
}

// === impl Costed ===

impl Costed {
    pub fn new(call: &Call, facts: &Facts, status: Option<u16>, failure: Option<&Failure>, success: bool) -> Self {
        let broken = failure.is_some() && facts.finish_reason.is_none();
        let mut usage = if broken { begun(facts.usage) } else { facts.usage };
        if usage.is_sum && facts.thing.id.is_some() {
            // What a batch used is told by the lines of its results, which have logs of their own.
            usage = Usage::default();
        }
        if success {
            usage = call.with_asked(usage);
        }
        if usage.details.place.is_none() && model::is_regional(&call.provider, &call.rest) {
            usage.details.place = Some(Place::Region);
        }
        let asked = call.model_beside(facts.model.as_deref());
        let quoted = match broken {
            true => unknown("the answer broke off before it told what it used"),
            false => {
                let models = [facts.model.as_deref(), asked.as_deref()];
                rules::quote_in(&call.catalogue, &call.prices, &call.provider, models, &usage)
            }
        };
        let by_price = quoted.bill.cost().and_then(|cost| price::bounded(cost).ok());
        let least = price::bounded(quoted.bill.known).unwrap_or(0.0);
        let Quote { bill, from } = match &call.custom_cost {
            // What the gateway refused was not sent, whatever its caller says that it costs.
            Some(CustomCost::Total(_)) if matches!(failure, Some(Failure::Gateway(_))) => by_caller(Some(0.0)),
            Some(CustomCost::Total(total)) => by_caller(Some(*total)),
            _ if broken => quoted,
            Some(custom) => by_caller(price::custom_cost(custom, &usage)),
            None => quoted,
        };
        let answered = status.is_some_and(|status| status < 400) && !call.cached;
        let is_total = matches!(call.custom_cost, Some(CustomCost::Total(_)));
        let certain = if broken { Usage::default() } else { usage };
        let claim = if answered { claim::claim(call, facts, &certain, is_total) } else { None };
        // What is not done yet has told nothing.
        let waits = claim.as_ref().is_some_and(|claim| !claim.has_usage) || (facts.thing.is_open && call.is_free());
        // Where there was nothing to pay for, there is nothing to explain.
        let is_explained = usage.is_reported() || (success && asked.is_some() && !call.is_free());
        let (cost, cost_unknown) = match bill.cost().map(price::bounded) {
            _ if waits && !broken => (None, Some(claim::OPEN.to_owned())),
            Some(Ok(cost)) => (Some(cost), None),
            Some(Err(reason)) => (None, Some(reason.to_owned())),
            None => (None, bill.unknown.filter(|_| is_explained).map(|why| explained(why, call, &usage, status))),
        };
        let charge = match call.cached || waits {
            true => Charge { priced: Some(0.0), said: None },
            false => {
                Charge { priced: by_price, said: cost.filter(|_| call.custom_cost.is_some() && call.authentication) }
            }
        };
        let is_beyond = cost_unknown.as_deref() == Some(price::BEYOND);
        let price_rule = from.filter(|_| !waits && (cost.is_some() || usage.is_reported() || is_beyond));
        let least = if call.cached || waits { 0.0 } else { least };
        Self { usage, cost, cost_unknown, price_rule, least, charge, claim }
    }
}

/// Why a cost is not known, with what to do about it where it is a stream that was not asked for its usage.
fn explained(why: String, call: &Call, usage: &Usage, status: Option<u16>) -> String {
    let has_asked = call.usage_asked || call.body.as_ref().is_some_and(|body| body.contains("include_usage"));
    let is_custom = call.provider.starts_with(upstream::PREFIX);
    let target = Target { provider: &call.provider, is_custom, rest: &call.rest, query: &call.query };
    let answered = status.is_some_and(|status| status < 400) && !call.cached;
    match call.facts.stream && answered && !usage.is_reported() && !has_asked && target.knows_option() {
        true => format!("{why}; {}", stream_usage::HINT),
        false => why,
    }
}

fn unknown(why: &str) -> Quote {
    Quote { bill: Bill::lacking(0.0, why.to_owned()), from: None }
}

fn by_caller(cost: Option<f64>) -> Quote {
    match cost {
        Some(known) => Quote { bill: Bill::whole(known, Vec::new()), from: Some("request".to_owned()) },
        None => unknown("the answer does not tell its tokens"),
    }
}

/// The figures of an answer that broke off are those of its beginning: Anthropic opens a stream with one output token.
/// Unless the model had finished, how much came out is unknown.
fn begun(usage: Usage) -> Usage {
    Usage { tokens_out: None, total_tokens: None, reasoning: None, cost: None, ..usage }
}
