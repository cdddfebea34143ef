//! `…/gateways/{id}/logpush`: where a gateway's logs are pushed to, and how far that is.

use super::{alerts, object, only};
use crate::api::custom_providers::Guard;
use crate::api::request::Request;
use crate::api::shell::{Shell, guard};
use crate::auth::caller::Caller;
use crate::base::json::json;
use crate::base::timestamp;
use crate::credentials::vault::Vault;
use crate::db::audit::{self, Actor, Change};
use crate::db::store::{Bind, Statement, Store, row};
use crate::gateways::gateway::Gateway;
use crate::gateways::settings::GatewaySettings;
use crate::http::envelope::{ApiError, Reply};
use crate::http::router::Endpoint;
use crate::logpush::batch::{self, Destination};
use crate::logpush::send_worker::bound;
use crate::providers::address;
use crate::providers::upstream;
use serde_json::{Map, Value};

/// Waiting logs are counted no further.
const MOST_COUNTED: i64 = 100_000;

row! {
    struct Progress {
        waiting: u64,
        under_way: u64,
        pushed: u64,
        batches: u64,
        lost: u64,
        failures: u64,
        pushed_up_to: Option<String>,
        error: Option<String>,
        pushed_at: Option<u64>,
        error_at: Option<u64>,
        next_at: u64,
    }
}

/// One of the three. `stores` are the database that has the destination, and the one that has the logs.
pub async fn handle<S: Store>(
    stores: [&S; 2],
    shell: &impl Shell,
    request: &Request<'_>,
    gateway: &Gateway,
) -> Result<Reply, ApiError> {
    match request.route.endpoint {
        Endpoint::PutLogpush => {
            let guard = guard(shell, request, alerts::name_to_look_up(request.body)).await;
            put(stores, gateway, request.body, (&guard, &shell.vault()), &request.actor()).await
        }
        Endpoint::DeleteLogpush => delete(stores, gateway, &request.actor()).await,
        _ => get(stores, gateway).await,
    }
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logpush`
///
/// Where the logs go, how many wait, and what failed last.
pub async fn get<S: Store>([first, store]: [&S; 2], gateway: &Gateway) -> Result<Reply, ApiError> {
    let sql = "SELECT waiting, coalesce(json_array_length(batch), 0) AS under_way, coalesce(pushed, 0) AS pushed, \
         coalesce(batches, 0) AS batches, coalesce(lost, 0) AS lost, coalesce(failures, 0) AS failures, pushed_up_to, error, pushed_at, \
         error_at, coalesce(next_at, 0) AS next_at FROM \
         (SELECT count(*) AS waiting FROM (SELECT 1 FROM logs_to_push WHERE gateway = ?1 LIMIT ?2)) \
         LEFT JOIN logpush_progress ON logpush_progress.gateway = ?1";
    let progress = store.row::<Progress>(Statement::new(sql, [gateway.key.into(), MOST_COUNTED.into()])).await?;
    let progress = progress.ok_or_else(ApiError::not_found)?;
    let endpoint = batch::destination(first, gateway.key).await?;
    Ok(Reply::result(progress.shown(gateway, endpoint.as_ref())))
}

/// `PUT /accounts/{account}/ai-gateway/gateways/{gateway}/logpush`
///
/// Has the logs go to an endpoint from the next batch on.
pub async fn put<S: Store>(
    stores: [&S; 2],
    gateway: &Gateway,
    body: &[u8],
    (guard, vault): (&Guard, &impl Vault),
    actor: &Actor<'_>,
) -> Result<Reply, ApiError> {
    let body = object(body)?;
    only(&body, &["url", "authorization"], &["body"])?;
    let wrong = |field: &str, rule: String| ApiError::invalid(["body", field], rule);
    let url = body.get("url").and_then(Value::as_str).filter(|url| url.len() <= 2_000).unwrap_or_default();
    let origin = address::origin(url).map_err(|rule| wrong("url", rule.replace("base_url", "url")))?;
    let checked = upstream::storable(&origin, guard.internal_allowed, &guard.found)
        .map_err(|rule| wrong("url", rule.replace("base_url", "url")))?;
    let (mut secret, mut key_id) = (Bind::Null, Bind::Null);
    if let Some(given) = body.get("authorization").filter(|given| !given.is_null()) {
        let is_header =
            |text: &&str| (1..=2_000).contains(&text.len()) && text.bytes().all(|byte| (32..127).contains(&byte));
        let text = given.as_str().filter(is_header);
        let rule = "Expected the value of the header authorization, such as 'Bearer …': 1 to 2,000 printable characters of ASCII, or null for none";
        let text = text.ok_or_else(|| wrong("authorization", rule.to_owned()))?;
        let place = bound(&gateway.account_id, gateway.key, address::origin_of(url));
        let sealed = vault.seal(text, &place).await.map_err(ApiError::unavailable)?;
        (secret, key_id) = (sealed.text.into(), sealed.key_id.into());
    }
    let stored = Statement::new(
        "INSERT INTO logpush_destinations (gateway, url, secret, key_id, checked, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (gateway) DO UPDATE SET url = excluded.url, secret = excluded.secret, key_id = excluded.key_id, \
           checked = excluded.checked, created_at = excluded.created_at",
        [gateway.key.into(), url.into(), secret, key_id, checked.into(), Bind::Int(actor.now_ms as i64)],
    );
    changed(stores, gateway, stored, actor.row(&change("logpush.update", gateway, &body))).await
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/logpush`
///
/// Has the logs go to the bucket again.
pub async fn delete<S: Store>(stores: [&S; 2], gateway: &Gateway, actor: &Actor<'_>) -> Result<Reply, ApiError> {
    let removed = Statement::new("DELETE FROM logpush_destinations WHERE gateway = ?1", [gateway.key.into()]);
    changed(stores, gateway, removed, actor.row(&change("logpush.delete", gateway, &Map::new()))).await
}

async fn changed<S: Store>(
    [first, store]: [&S; 2],
    gateway: &Gateway,
    change: Statement,
    audit: Statement,
) -> Result<Reply, ApiError> {
    first.batch(vec![change, audit]).await?;
    store.batch(vec![batch::tried_at_once(gateway.key)]).await?;
    get([first, store], gateway).await
}

fn change<'a>(action: &'static str, gateway: &'a Gateway, body: &'a Map<String, Value>) -> Change<'a> {
    let Gateway { account_id, id, .. } = gateway;
    Change { action, account: account_id, gateway: Some(id), target: id, fields: audit::fields(body) }
}

/// The settings that say who can read what is pushed.
pub const FORM: &[&str] = &["logpush_public_key", "logpush_plain"];

/// Refuses a change of those to tokens: what left encrypted for one reader would leave for another, and the bucket cannot tell.
pub fn may_change(caller: &Caller, stored: &GatewaySettings, body: &Map<String, Value>) -> Result<(), ApiError> {
    let plain = body.get("logpush_plain").is_some_and(|plain| *plain != stored.logpush_plain);
    let key = body.get("logpush_public_key").is_some_and(|key| key.as_str() != stored.logpush_public_key.as_deref());
    if caller.is_admin() || !(plain || key) {
        return Ok(());
    }
    let message = "Only the admin token may change logpush_public_key and logpush_plain: they say who can read the logs that leave. Leave \
                   them out, or send them as they are";
    Err(ApiError::forbidden(message))
}

/// Why nothing is pushed, and what to do about it.
fn missing(gateway: &Gateway) -> Option<&'static str> {
    let settings = &gateway.settings;
    if !settings.logpush {
        Some("The setting logpush is off")
    } else if !settings.collect_logs {
        Some("The setting collect_logs is off: there are no logs to push")
    } else if !settings.pushes_logs() {
        Some("Set logpush_public_key, or logpush_plain for logs that are not encrypted")
    } else {
        None
    }
}

// === impl Progress ===

impl Progress {
    fn shown(&self, gateway: &Gateway, endpoint: Option<&Destination>) -> Value {
        let time = |at: Option<u64>| at.map(timestamp::format);
        let form = match &gateway.settings.logpush_public_key {
            Some(_) => "encrypted",
            None => "plain",
        };
        let missing = missing(gateway);
        let is_on = missing.is_none();
        let destination = match endpoint {
            Some(Destination { url, secret, .. }) => {
                json!({ "type": "https", "url": url, "authorization": secret.is_some() })
            }
            None => json!({ "type": "r2", "binding": "LOGPUSH" }),
        };
        json!({
            "enabled": is_on,
            "missing": missing,
            "form": is_on.then_some(form),
            "destination": destination,
            "waiting": self.waiting,
            "under_way": self.under_way,
            "pushed": self.pushed,
            "batches": self.batches,
            "lost": self.lost,
            "pushed_up_to": self.pushed_up_to,
            "pushed_at": time(self.pushed_at),
            "failures": self.failures,
            "error": self.error,
            "error_at": time(self.error_at),
            "next_try": time((self.failures > 0).then_some(self.next_at)),
        })
    }
}

#[cfg(test)]
mod tests;
