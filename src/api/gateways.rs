//! `/accounts/{account}/ai-gateway/gateways`.

use super::object;
use crate::api::effect::{Effect, Handled};
use crate::auth::caller::Caller;
use crate::auth::presented::ADMIN;
use crate::base::json::json;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::db::audit::{self, Actor, Change};
use crate::db::databases::Databases;
use crate::db::store::{Bind, Statement, Store, StoreError};
use crate::db::whose::Whose;
use crate::gateways::gateway::{COLUMNS, DEFAULT, Gateway, GatewayRow, find, insert, is_gateway_id, stored, time};
use crate::gateways::settings::GatewaySettings;
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::providers::table;
use serde::Serialize;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

/// So often a change is made anew when another one came between.
const MAX_TRIES: u32 = 5;

/// A gateway as answers show it. Older SDKs cannot do without `account_id`, `account_tag` and `internal_id`.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    settings: &'a GatewaySettings,
    id: &'a str,
    account_id: &'a str,
    account_tag: &'a str,
    internal_id: &'a str,
    is_default: bool,
    log_database: u32,
    created_at: String,
    modified_at: String,
}

/// `GET /accounts/{account}/ai-gateway/gateways`
///
/// Lists the gateways that the caller can reach.
pub async fn list(store: &impl Store, account: &str, query: &Query, caller: &Caller) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let search = query.get("search").unwrap_or("");
    let matching = "gateways WHERE account_id = ?1 AND instr(id, lower(?2)) > 0 \
         AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3)))";
    let binds = vec![account.into(), search.into(), caller.gateways().into()];
    let (rows, info) = page.read::<GatewayRow>(store, COLUMNS, matching, "created_at, key", binds).await?;
    let gateways = rows.into_iter().map(Gateway::read).collect::<Result<Vec<Gateway>, StoreError>>()?;
    let shown: Vec<Shown<'_>> = gateways.iter().map(show).collect();
    Ok(Reply::list(shown, info))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}`
pub async fn get(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
    let gateway = existing(store, account, id).await?;
    Ok(Reply::result(show(&gateway)).with_header("etag", version(&gateway)))
}

/// As [`get`], and names the settings that are stored and have no effect in `messages`.
async fn noted(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
    let gateway = existing(store, account, id).await?;
    let GatewaySettings { log_classification, stripe, store_id, workers_ai_billing_mode, .. } = &gateway.settings;
    let key = gateway.settings.logpush_public_key.as_deref();
    let set = [
        (
            key.is_some_and(|key| !key.contains("-----BEGIN PUBLIC KEY-----")),
            "logpush_public_key",
            "it is no public RSA key in PEM, so that no log can be pushed; `openssl rsa -pubout` writes one",
        ),
        (
            *log_classification,
            "log_classification",
            "Cloudflare labels logs by models of its own, which are not here; evaluations do such work",
        ),
        (
            !stripe.is_null(),
            "stripe",
            "no usage is sent to Stripe, and its key is not kept; the costs of logs can be exported",
        ),
        (
            store_id.is_some(),
            "store_id",
            "stored keys are in this gateway's own database, or in the Secrets Store that secret_id names",
        ),
        (
            workers_ai_billing_mode != "postpaid",
            "workers_ai_billing_mode",
            "Workers AI is paid by the owner of the key that a request is sent with",
        ),
    ];
    let notes = set.iter().filter(|(is_set, ..)| *is_set);
    let notes = notes
        .map(|(_, name, why)| json!({ "code": 1000, "message": format!("{name} is stored and has no effect: {why}") }));
    let reply = Reply::noted(show(&gateway), notes.collect());
    Ok(reply.with_header("etag", version(&gateway)))
}

/// Names a version of a gateway's settings. No two have the same time.
fn version(gateway: &Gateway) -> String {
    format!("\"{}\"", timestamp::format(gateway.modified_at))
}

/// Whether a header `if-match` means this version. Proxies that compress an answer make its tag a weak one.
fn is_meant(if_match: &str, version: &str) -> bool {
    if_match.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == version)
}

fn changed(gateway: &Gateway) -> ApiError {
    let at = timestamp::format(gateway.modified_at);
    ApiError::changed(format!(
        "The gateway was changed at {at}, since the version that if-match names. Read it again, and send the change with the etag \
         of that answer"
    ))
}

/// `POST /accounts/{account}/ai-gateway/gateways`
pub async fn create(
    databases: &impl Databases,
    account: &str,
    body: &[u8],
    actor: &Actor<'_>,
    internal_id: String,
    bound: &Most,
) -> Handled {
    Handled::always([Effect::SyncShards, Effect::ForgetSnapshots], async {
        let store = databases.first();
        let body = object(body)?;
        let id = match body.get("id") {
            Some(Value::String(id)) if is_gateway_id(id) => id.as_str(),
            _ => {
                let rule =
                    "Expected 1 to 64 characters: lower-case letters, digits and _, with single hyphens between them";
                return Err(ApiError::invalid(["body", "id"], rule));
            }
        };
        let mut settings = GatewaySettings::parse(&body)?;
        settings.name_rules(&actor.entry);
        let shards = shards(databases, &body, actor)?;
        let row = actor.row(&change("gateway.create", account, id, &body));
        let insert = insert(account, id, &internal_id, actor.now_ms, &settings, shards, bound.bind());
        let changed = store.batch(vec![insert, row]).await?;
        if changed.first() != Some(&1) {
            if find(store, account, id).await?.is_none() {
                return Err(bound.reached());
            }
            return Err(ApiError::invalid(["body", "id"], format!("A gateway with the id '{id}' already exists")));
        }
        noted(store, account, id).await
    })
    .await
}

/// The databases that a new gateway's logs may go to: the one that its body names, or all.
fn shards(databases: &impl Databases, body: &Map<String, Value>, actor: &Actor<'_>) -> Result<String, ApiError> {
    let Some(given) = body.get("log_database").filter(|given| !given.is_null()) else {
        return Ok(databases.numbers());
    };
    if actor.name != ADMIN {
        return Err(ApiError::forbidden("Only the admin token may choose the log_database of a gateway"));
    }
    let chosen = databases.all().find(|(number, _)| given.as_f64() == Some(f64::from(*number)));
    chosen.map(|(number, _)| format!("[{number}]")).ok_or_else(|| {
        let rule = format!(
            "There is no database {given}. Expected one of {}, or null for the one with the fewest gateways",
            databases.numbers()
        );
        ApiError::invalid(["body", "log_database"], rule)
    })
}

/// `PUT /accounts/{account}/ai-gateway/gateways/{gateway}`
///
/// Changes the settings that the body names. SDKs of different ages know different fields, and an old one must not open
/// a gateway by not knowing `authentication`; null resets a field to its default. With a header `if-match` nothing is changed that
/// the caller has not seen.
pub async fn update(
    store: &impl Store,
    account: &str,
    id: &str,
    given: (&[u8], Option<&str>),
    actor: &Actor<'_>,
) -> Handled {
    let (body, if_match) = given;
    Handled::always([Effect::SyncShards, forget(account, id)], async {
        let given = object(body)?;
        for _ in 0..MAX_TRIES {
            let gateway = existing(store, account, id).await?;
            if if_match.is_some_and(|tags| !is_meant(tags, &version(&gateway))) {
                return Err(changed(&gateway));
            }
            let update = updating(&gateway, &given, actor)?;
            let done = store.batch(vec![update, actor.row(&change("gateway.update", account, id, &given))]).await?;
            if done.first() == Some(&1) {
                return noted(store, account, id).await;
            }
        }
        Err(ApiError::unavailable("The gateway is being changed by many at once. Try again in a moment"))
    })
    .await
}

/// The statement that changes the settings that a body names, and has no effect where another request has changed any meanwhile:
/// all settings are one value, and the other's change would be lost.
fn updating(gateway: &Gateway, given: &Map<String, Value>, actor: &Actor<'_>) -> Result<Statement, ApiError> {
    if given.get("log_database").is_some_and(|to| !to.is_null() && to.as_f64() != Some(gateway.shard.into())) {
        let rule =
            "A gateway's logs stay in the database that was chosen when it was made; make another gateway for another";
        return Err(ApiError::invalid(["body", "log_database"], rule));
    }
    let mut fields = given.clone();
    if let Ok(Value::Object(current)) = serde_json::to_value(&gateway.settings) {
        for (name, value) in current {
            fields.entry(name).or_insert(value);
        }
    }
    let mut settings = GatewaySettings::parse(&fields)?;
    settings.name_rules(&actor.entry);
    let forgets = settings.cache_invalidate_on_update || gateway.settings.cache_invalidate_on_update;
    // Of two copies of a row the later one is known by its time, so no two changes have the same.
    Ok(Statement::new(
        "UPDATE gateways SET settings = ?2, modified_at = max(?3, modified_at + 1), \
         cache_generation = cache_generation + ?4 WHERE key = ?1 AND modified_at = ?5",
        [
            gateway.key.into(),
            stored(&settings).into(),
            time(actor.now_ms),
            Bind::Int(forgets.into()),
            time(gateway.modified_at),
        ],
    ))
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}`
///
/// Deletes a gateway and shows it once more. Its logs are out of reach from then on; [`sweep`] removes them.
pub async fn delete(store: &impl Store, account: &str, id: &str, actor: &Actor<'_>) -> Handled {
    let gateway = match existing(store, account, id).await {
        Ok(gateway) => gateway,
        Err(error) => return Err(error).into(),
    };
    let deleted = Handled::always([Effect::SyncShards, forget(account, id)], async {
        let key = || [gateway.key.into()];
        let of_route = "route IN (SELECT id FROM routes WHERE gateway = ?1)";
        let deleted = "INSERT OR IGNORE INTO deleted_gateways (key, deleted_at, shard) VALUES (?1, ?2, ?3)";
        store
            .batch(vec![
                Statement::new(deleted, [gateway.key.into(), time(actor.now_ms), Bind::Int(gateway.shard.into())]),
                Statement::new("DELETE FROM gateways WHERE key = ?1", key()),
                actor.row(&change("gateway.delete", account, id, &Map::new())),
                // After the audit row, which goes by what the statement before it changed.
                Statement::new("DELETE FROM provider_configs WHERE gateway = ?1", key()),
                Statement::new("DELETE FROM policies WHERE gateway = ?1", key()),
                Statement::new("DELETE FROM otel_destinations WHERE gateway = ?1", key()),
                Statement::new("DELETE FROM alert_webhooks WHERE gateway = ?1", key()),
                Statement::new("DELETE FROM logpush_destinations WHERE gateway = ?1", key()),
                Statement::new("DELETE FROM counted WHERE gateway = ?1", key()),
                Statement::new(format!("DELETE FROM route_versions WHERE {of_route}"), key()),
                Statement::new(format!("DELETE FROM route_deployments WHERE {of_route}"), key()),
                Statement::new("DELETE FROM routes WHERE gateway = ?1", key()),
            ])
            .await?;
        Ok(Reply::result(show(&gateway)))
    });
    let left = [Effect::ForgetCounters(gateway.key), Effect::Sweep(Whose::Key(gateway.key)), Effect::ClearObjects];
    deleted.await.on(200, left)
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/url/{provider}`
///
/// The base URL to give to a provider's SDK; `universal` has no provider, and its URL ends with a slash.
/// `is_custom` tells that the provider is one of the account's own.
pub fn url(origin: &str, account: &str, gateway: &str, provider: &str, is_custom: bool) -> Result<Reply, ApiError> {
    let base = format!("{origin}/v1/{account}/{gateway}/");
    if provider == "universal" {
        return Ok(Reply::result(base));
    }
    if is_custom || provider == table::COMPAT || crate::providers::table::find(provider).is_some() {
        return Ok(Reply::result(format!("{base}{provider}")));
    }
    Err(ApiError::not_found())
}

fn forget(account: &str, gateway: &str) -> Effect {
    Effect::ForgetSnapshot { account: account.to_owned(), gateway: gateway.to_owned() }
}

fn change<'a>(action: &'static str, account: &'a str, id: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account, gateway: Some(id), target: id, fields: audit::fields(body) }
}

async fn existing(store: &impl Store, account: &str, id: &str) -> Result<Gateway, ApiError> {
    find(store, account, id).await?.ok_or_else(ApiError::not_found)
}

fn show(gateway: &Gateway) -> Shown<'_> {
    Shown {
        settings: &gateway.settings,
        id: &gateway.id,
        account_id: &gateway.account_id,
        account_tag: &gateway.account_id,
        internal_id: &gateway.internal_id,
        is_default: gateway.id == DEFAULT,
        log_database: gateway.shard,
        created_at: timestamp::format(gateway.created_at),
        modified_at: timestamp::format(gateway.modified_at),
    }
}

#[cfg(test)]
mod tests;
