//! The circuit breaker of the isolate, as an attempt meets it.

use crate::gateways::settings::GatewaySettings;
use crate::http::message_worker::Answer;
use crate::http::refusal::Refusal;
use crate::platform::{counted, now};
use crate::providers::address;
use crate::proxy::circuit_breaker::{self, Breaker, End, Settings};
use crate::proxy::exchange::Exchange;
use crate::proxy::isolate_breaker::BREAKER;
use crate::proxy::proven::{Endpoint, Proven};
use crate::proxy::upstream_request::NoAnswer;
use std::cell::RefCell;

thread_local! {
    static PROVEN: RefCell<Proven> = RefCell::new(Proven::default());
}

/// The header of an answer that says of a request that it was not sent.
pub const HEADER: &str = "cf-aig-circuit";

/// Refuses a request while its provider is left alone.
pub fn check(exchange: &mut Exchange, url: &str, settings: &GatewaySettings) -> Result<(), Refusal> {
    asked(exchange, url, settings, Breaker::check)
}

/// As `check`, for a request that is sent if it passes.
pub fn admit(exchange: &mut Exchange, url: &str, settings: &GatewaySettings) -> Result<(), Refusal> {
    asked(exchange, url, settings, Breaker::admit)
}

type Question = fn(&mut Breaker, i64, &str, Settings, u64) -> Result<(), u64>;

fn asked(exchange: &mut Exchange, url: &str, settings: &GatewaySettings, question: Question) -> Result<(), Refusal> {
    let Some(settings) = Settings::of(&settings.circuit_breaker) else { return Ok(()) };
    let circuit = circuit(exchange, url);
    let answer = BREAKER.with_borrow_mut(|breaker| question(breaker, exchange.call.gateway, &circuit, settings, now()));
    answer.map_err(|milliseconds| {
        let seconds = milliseconds.div_ceil(1_000);
        exchange.gateway_headers.push((HEADER, "open".to_owned()));
        exchange.gateway_headers.push(("retry-after", seconds.to_string()));
        Refusal::circuit_open(&exchange.call.provider, seconds)
    })
}

/// Takes note of how an attempt ended. True when no other may follow for now. `caller` tells whose it was.
pub fn note(
    exchange: &Exchange,
    url: &str,
    settings: &GatewaySettings,
    sent: &Result<Answer, NoAnswer>,
    caller: impl FnOnce() -> u64,
) -> bool {
    let endpoint = || {
        let model = exchange.call.model();
        Endpoint::new(&exchange.call.provider, address::origin_of(url), &exchange.call.rest, model.as_deref())
    };
    if sent.as_ref().is_ok_and(|answer| answer.said_status() < 400) {
        PROVEN.with_borrow_mut(|proven| proven.note(endpoint(), now()));
    }
    let Some(settings) = Settings::of(&settings.circuit_breaker) else { return false };
    let failed = || match PROVEN.with_borrow(|proven| proven.has(endpoint(), now())) {
        true => End::Failed,
        false => End::Doubtful { caller: caller() },
    };
    let end = match sent {
        Ok(upstream) if circuit_breaker::is_failure(upstream.said_status()) => failed(),
        Ok(_) => End::Answered,
        // The client took its request back, which says nothing about the provider.
        Err(_) if exchange.client.aborted() => End::Unknown,
        Err(NoAnswer { waited_ms: Some(waited), .. }) if *waited < settings.timeout_floor_ms => End::Unknown,
        Err(NoAnswer { waited_ms: Some(_), .. }) => failed(),
        Err(NoAnswer { waited_ms: None, .. }) => End::Unreached,
    };
    let circuit = circuit(exchange, url);
    let gateway = exchange.call.gateway;
    BREAKER.with_borrow_mut(|breaker| {
        let before = breaker.open_until(gateway, &circuit);
        let is_open = breaker.note(gateway, &circuit, settings, end, now());
        let after = breaker.open_until(gateway, &circuit);
        if before != after {
            counted::circuit(gateway, &exchange.call.provider, before.is_none(), after.unwrap_or(0));
        }
        is_open
    })
}

/// Only gateways with a breaker need the name.
fn circuit(exchange: &Exchange, url: &str) -> String {
    circuit_breaker::name(&exchange.call.provider, address::origin_of(url))
}
