//! The requests about one log: the row of its id is found, or awaited, and then each has its handler.

use crate::api::effect::Handled;
use crate::api::log_arrival;
use crate::api::logs::WhichBody;
use crate::api::request::Request;
use crate::api::shell::Shell;
use crate::api::{conversation, logs};
use crate::db::databases::Databases;
use crate::feedback::pending;
use crate::gateways::gateway::Gateway;
use crate::gateways::shards::carry;
use crate::http::envelope::ApiError;
use crate::http::router::Endpoint;

/// What fails before a handler is called has done nothing, and leaves nothing to do.
pub async fn handle(
    databases: &impl Databases,
    shell: &impl Shell,
    request: &Request<'_>,
    gateway: &Gateway,
) -> Result<Handled, ApiError> {
    let Request { route, query, body, caller, now_ms, .. } = request;
    let (store, place) = (databases.of(gateway.shard)?, request.place(gateway));
    let ingested = log_arrival::ingested(store, gateway.key, route.id).await?;
    let id = ingested.as_deref().unwrap_or(route.id);
    if ingested.is_none() {
        log_arrival::wait(store, id, *now_ms, shell).await?;
        if log_arrival::is_recent(id, *now_ms) {
            carry::pending(databases, gateway.shard, id).await?;
        }
    }
    Ok(match route.endpoint {
        Endpoint::GetLog => {
            if log_arrival::is_recent(id, *now_ms) {
                pending::attach(store, Some(id), *now_ms).await?;
            }
            logs::get([databases.first(), store], &place, id, caller.sees_bodies()).await.into()
        }
        Endpoint::GetConversation => conversation::get(store, place.key, id, query).await.into(),
        Endpoint::GetAttempts => conversation::attempts(store, place.key, id).await.into(),
        Endpoint::GetLogRequest => logs::body(store, place.key, id, WhichBody::Request).await.into(),
        Endpoint::GetLogResponse => logs::body(store, place.key, id, WhichBody::Response).await.into(),
        Endpoint::PatchLog => {
            let all: Vec<_> = databases.all().collect();
            logs::patch(&all, (gateway.shard, store), &place, id, body, &request.feedback_context()).await
        }
        _ => return Err(ApiError::not_found()),
    })
}
