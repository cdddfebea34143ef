//! Whether a caller may send a request through a gateway.

use crate::auth::caller::{Caller as Identity, Permission};
use crate::auth::presented::{self, Presented};
use crate::auth::tokens_worker::{self, Who};
use crate::config::isolate_worker::config;
use crate::db::store::StoreError;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::gateways::snapshot_worker;
use crate::http::headers::Headers;
use crate::http::message_worker::Incoming;
use crate::http::refusal::Refusal;
use crate::http::router::{Endpoint, Route};
use crate::platform::{Runtime, console};
use crate::proxy::caller::Caller;
use crate::proxy::capability::SentWith;
use crate::proxy::capability_worker;
use futures_util::FutureExt;
use std::rc::Rc;

/// A caller that may go on.
pub struct Admitted {
    pub snapshot: Rc<GatewaySnapshot>,
    pub presented: Presented,
    /// The stored key that its capability was made with.
    pub byok_alias: Option<String>,
}

/// Lets a request in by the token that it brings, by the capability in its address, or because its caller was let in before.
pub async fn admit(
    asked: &Incoming,
    route: &Route<'_>,
    (query, capability): (&str, Option<&str>),
    caller: &Caller,
    runtime: &Rc<Runtime>,
) -> Result<Admitted, Refusal> {
    let granted = match capability {
        Some(text) => Some(capability_worker::redeem(text, route, query, &asked.method, runtime).boxed_local().await),
        None => None,
    };
    let is_granted = matches!(granted, Some(Ok(_)));
    let (snapshot, mut presented) = match authorised(&asked.headers, route, caller.trusted || is_granted, runtime).await
    {
        Ok(found) => found,
        Err(refusal) => return Err(granted.and_then(Result::err).unwrap_or(refusal)),
    };
    let granted = match granted {
        // A caller with a token needs no capability.
        Some(Err(refusal)) if !presented.let_in => return Err(refusal),
        granted => granted.and_then(Result::ok).filter(|_| presented.identity.is_empty()),
    };
    if let Some((granted, terms)) = &granted {
        presented.identity = granted.identity.as_str().into();
        presented.terms.clone_from(terms);
        presented.goes_on_with_own = granted.sent_with == SentWith::Own;
    }
    // A stranger's request may still have a token in one of its elements, which then says who is asking.
    if let Some(identity) = caller.identity.as_ref().filter(|_| caller.trusted) {
        presented.identity = Rc::clone(identity);
        presented.terms.clone_from(&caller.terms);
    }
    let byok_alias = granted.and_then(|(granted, _)| match granted.sent_with {
        SentWith::Kept(alias) => alias,
        SentWith::Own => None,
    });
    Ok(Admitted { snapshot, presented, byok_alias })
}

/// Finds the gateway and checks that the caller may use it.
pub async fn authorised(
    headers: &Headers,
    route: &Route<'_>,
    trusted: bool,
    runtime: &Rc<Runtime>,
) -> Result<(Rc<GatewaySnapshot>, Presented), Refusal> {
    let admin = config(runtime).admin.as_ref().map_err(|reason| Refusal::unavailable(reason.clone()))?;
    let unreadable = |error: StoreError| {
        let line = crate::base::json::json!({ "level": "error", "event": "gateway_unreadable", "cause": error.0 });
        console::error(&line);
        Refusal::unavailable(
            "Tollgate's database does not answer, so the settings of the gateway are unknown. Try again.",
        )
    };
    let mut presented = presented::presented(headers, admin);
    let who =
        tokens_worker::identify(runtime, headers, &presented, config(runtime).client_address_header.as_deref()).await;
    let proven = match &who {
        Ok(Who::Known(Identity::Admin | Identity::Operator(_))) => Some(presented::ADMIN.to_owned()),
        Ok(Who::Known(Identity::Token(token)))
            if token.has(Permission::Run) && token.reaches(route.account, route.gateway) =>
        {
            presented.terms = Some(Rc::clone(&token.terms));
            Some(token.id.clone())
        }
        _ => None,
    };
    presented.let_in = trusted || proven.is_some();
    presented.identity = proven.unwrap_or_default().into();
    // Cloudflare's REST is for callers with a token alone, whatever the gateway says.
    let wants_token = route.endpoint == Endpoint::AccountAi && !presented.let_in;
    if wants_token {
        return Err(unproven(who.map_err(unreadable)?));
    }
    let found = snapshot_worker::settings(runtime, route.account, route.gateway, presented.let_in).await;
    let snapshot = found.map_err(unreadable)?.ok_or_else(|| Refusal::unknown_gateway(route.account, route.gateway))?;
    if snapshot.gateway.settings.authentication && !presented.let_in {
        return Err(unproven(who.map_err(unreadable)?));
    }
    // Where pages may send requests, they may open a WebSocket for them.
    let may = || {
        headers
            .get("origin")
            .zip(snapshot.gateway.cors.as_ref())
            .is_some_and(|(from, cors)| cors.allows(from).is_some())
    };
    if !presented.let_in && presented::is_of_another_site(headers) && !may() {
        return Err(Refusal::of_another_site());
    }
    Ok((snapshot, presented))
}

/// What is said to a caller who has to prove itself and does not.
fn unproven(who: Who) -> Refusal {
    match who {
        Who::Barred(seconds) => Refusal::barred(seconds),
        _ => Refusal::unauthorized(
            "This gateway is authenticated, and Tollgate (not the provider) refused the request: send a Tollgate token \
             that may run, in the header cf-aig-authorization: Bearer <token>.",
        ),
    }
}
