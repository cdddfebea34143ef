//! Who comes with a capability.

use crate::auth::caller::Permission;
use crate::auth::terms::Terms;
use crate::auth::{presented, tokens_worker};
use crate::config::isolate_worker::config;
use crate::db::store::StoreError;
use crate::gateways::snapshot_worker;
use crate::http::refusal::Refusal;
use crate::http::router::Route;
use crate::platform::{Runtime, console, now};
use crate::providers::links::Site;
use crate::providers::upstream::Upstream;
use crate::proxy::capability::{self, Bound, Grant};
use std::rc::Rc;

/// What a capability grants to the request that it came with, on the terms of the token that it was given to. The caller it was given to may have lost its token since.
pub async fn redeem(
    text: &str,
    route: &Route<'_>,
    query: &str,
    method: &str,
    runtime: &Rc<Runtime>,
) -> Result<(Grant, Option<Rc<Terms>>), Refusal> {
    let unreadable = |error: StoreError| {
        let line = crate::base::json::json!({ "level": "error", "event": "capability_unreadable", "cause": error.0 });
        console::error(&line);
        Refusal::unavailable("Tollgate's database does not answer, so the capability cannot be looked at. Try again.")
    };
    let admin = config(runtime).admin.as_ref().map_err(|reason| Refusal::unavailable(reason.clone()))?;
    // As a stranger, for whom no gateway is made.
    let snapshot = snapshot_worker::settings(runtime, route.account, route.gateway, false).await.map_err(unreadable)?;
    let snapshot = snapshot.ok_or_else(|| Refusal::unknown_gateway(route.account, route.gateway))?;
    let upstream = Upstream::find(route.provider, &snapshot.custom)?;
    let site = Site::of(upstream, config(runtime).base_url(upstream.slug()), route.account, route.rest);
    let url = site.url(route.rest, query, site.base_override).unwrap_or_default();
    let bound = Bound { account: route.account, gateway: snapshot.gateway.key, provider: upstream.slug(), url: &url };
    let grant = capability::read(&admin.capability_key(), text, &bound, method, now())
        .map_err(|fault| Refusal::unauthorized(fault.description()))?;
    if grant.identity == presented::ADMIN {
        return Ok((grant, None));
    }
    let token = tokens_worker::by_id(runtime, route.account, &grant.identity).await.map_err(unreadable)?;
    let valid = token.filter(|token| {
        token.is_valid(now()) && token.has(Permission::Run) && token.reaches(route.account, route.gateway)
    });
    match valid {
        Some(token) => Ok((grant, Some(token.terms))),
        None => Err(Refusal::unauthorized(
            "The token that the cf-aig-capability in the address was given to is no longer valid for this gateway. Begin anew with \
             one that is.",
        )),
    }
}
