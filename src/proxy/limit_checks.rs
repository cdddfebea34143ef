//! What the limits of its gateway mean for an exchange under way.

use crate::auth::presented::Presented;
use crate::gateways::gateway::Gateway;
use crate::limit::models::Models;
use crate::limit::plan::{KeyLimit, LimitSubject};
use crate::limit::rules::{KEY, Limits};
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::{Refused, admit};
use futures_util::FutureExt;

/// Has a request pass the limits of its gateway, and tells its caller of them. `is_counted` is true for a step of a universal
/// request that an earlier one was counted for.
pub async fn pass(
    exchange: &mut Exchange,
    gateway: &Gateway,
    presented: &Presented,
    is_counted: bool,
) -> Result<(), Refused> {
    if exchange.key_limit.is_none() && gateway.limits.rate.is_empty() && gateway.limits.spend.is_empty() {
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
    let by_model = gateway.limits.are_by_model();
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
    };
    let admission = admit(&exchange.runtime, gateway.key, &gateway.limits, &asked, || exchange.call.estimate()).await?;
    exchange.gateway_headers.extend(admission.iter().flat_map(|admission| admission.gateway_headers.iter().cloned()));
    exchange.admission = admission;
    Ok(())
}

/// Has the budgets of a gateway learn of a response that a provider began by itself, and that they would have stopped.
pub async fn count(exchange: &mut Exchange, gateway: &Gateway, presented: &Presented) {
    let model = exchange.call.model();
    let asked = LimitSubject {
        token: presented.token_id(),
        metadata: &exchange.call.metadata.entries,
        provider: &exchange.call.provider,
        model: model.as_deref(),
        models: if gateway.limits.are_by_model() { exchange.call.models() } else { Models::default() },
        key: None,
        is_counted: true,
        is_free: true,
    };
    if let Ok(admission) = admit(&exchange.runtime, gateway.key, &gateway.limits, &asked, || 0).await {
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
