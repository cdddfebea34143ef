//! What the limits of its gateway mean for an exchange under way.

use crate::auth::presented::Presented;
use crate::gateways::gateway::Gateway;
use crate::limit::models::Models;
use crate::limit::plan::{KeyLimit, LimitSubject};
use crate::limit::rules::{KEY, Limits};
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::{Refused, admit};
use futures_util::FutureExt;
use std::borrow::Cow;

/// Has a request pass the limits of its gateway, and tells its caller of them. `is_counted` is true for a step of a universal
/// request that an earlier one was counted for.
pub async fn pass(
    exchange: &mut Exchange,
    gateway: &Gateway,
    presented: &Presented,
    is_counted: bool,
) -> Result<(), Refused> {
    let limits = &gateway.limits;
    let is_limited = !(limits.rate.is_empty() && limits.spend.is_empty() && exchange.caps.is_empty());
    let has_own = presented.terms.as_ref().is_some_and(|terms| terms.have_limits());
    if exchange.key_limit.is_none() && !is_limited && !has_own {
        return Ok(());
    }
    pass_limits(exchange, gateway, presented, is_counted).boxed_local().await
}

async fn pass_limits(
    exchange: &mut Exchange,
    gateway: &Gateway,
    presented: &Presented,
    is_counted: bool,
) -> Result<(), Refused> {
    let limits = limits_of(gateway, presented);
    let by_model = limits.are_by_model();
    let model = exchange.call.model();
    let asked = LimitSubject {
        token: presented.token_id(),
        metadata: &exchange.call.metadata.entries,
        provider: &exchange.call.provider,
        model: model.as_deref(),
        models: if by_model { exchange.call.models() } else { Models::default() },
        key: exchange.key_limit.as_ref().map(|key| KeyLimit {
            name: &key.key_id,
            limit: key.limit,
            interval: key.period,
        }),
        is_counted,
        is_free: exchange.call.is_free(),
        caps: &exchange.caps,
        watch: exchange.watch.as_ref(),
    };
    let admission = admit(&exchange.runtime, gateway.key, &limits, &asked, || exchange.call.estimate()).await?;
    exchange.gateway_headers.extend(admission.iter().flat_map(|admission| admission.gateway_headers.iter().cloned()));
    exchange.admission = admission;
    Ok(())
}

/// The limits of the gateway, and those of the caller's own token.
fn limits_of<'a>(gateway: &'a Gateway, presented: &Presented) -> Cow<'a, Limits> {
    let own = presented.terms.as_ref().filter(|terms| terms.have_limits()).zip(presented.token_id());
    match own {
        None => Cow::Borrowed(&gateway.limits),
        Some((terms, id)) => Cow::Owned(gateway.limits.with_those_of_token(id, &terms.rate_rules, &terms.spend_limits)),
    }
}

/// Has the budgets of a gateway learn of a response that a provider began by itself, and that they would have stopped.
pub async fn count(exchange: &mut Exchange, gateway: &Gateway, presented: &Presented) {
    let limits = limits_of(gateway, presented);
    let model = exchange.call.model();
    let asked = LimitSubject {
        token: presented.token_id(),
        metadata: &exchange.call.metadata.entries,
        provider: &exchange.call.provider,
        model: model.as_deref(),
        models: if limits.are_by_model() { exchange.call.models() } else { Models::default() },
        key: None,
        is_counted: true,
        is_free: true,
        caps: &exchange.caps,
        watch: exchange.watch.as_ref(),
    };
    if let Ok(admission) = admit(&exchange.runtime, gateway.key, &limits, &asked, || 0).await {
        exchange.admission = admission;
    }
}

/// Asks whether another attempt may be sent with the stored key of a request, if that has a limit: it counts what is sent.
pub async fn pass_again(exchange: &mut Exchange, gateway: &Gateway) -> Result<(), Refused> {
    let Some(key) = &exchange.key_limit else { return Ok(()) };
    let asked = LimitSubject {
        key: Some(KeyLimit { name: &key.key_id, limit: key.limit, interval: key.period }),
        ..LimitSubject::default()
    };
    let admission = admit(&exchange.runtime, gateway.key, &Limits::default(), &asked, || 0).await?;
    for (name, text) in admission.iter().flat_map(|admission| &admission.gateway_headers) {
        exchange.note_anew(name, KEY, text);
    }
    Ok(())
}
