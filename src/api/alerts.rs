//! `…/alerts`: what an operator was told, and the webhooks that it is told by.

use super::{object, only};
use crate::alerts::event::{FORMATS, KINDS, THRESHOLDS};
use crate::alerts::journal::bound;
use crate::api::custom_providers::Guard;
use crate::api::effect::{Effect, Handled};
use crate::auth::caller::Caller;
use crate::base::hex::hex;
use crate::base::object::of as object_of;
use crate::base::timestamp;
use crate::credentials::vault::{Sealed, Vault};
use crate::db::audit::{self, Actor, Change};
use crate::db::store::{Bind, Statement, Store, row};
use crate::gateways::gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::providers::{address, upstream};
use serde_json::{Map, Value};

/// All of an account's are asked for by each event.
const MOST: i64 = 20;
const MOST_THRESHOLDS: usize = 5;
const MEMBERS: &[&str] = &["url", "gateway", "format", "events", "thresholds", "secret"];
const SHOWN: i64 = 100;

const COLUMNS: &str = "SELECT id, (SELECT gateways.id FROM gateways WHERE key = gateway) AS gateway, url, format, events, thresholds, \
                       secret, key_id, checked, created_at FROM alert_webhooks WHERE account_id = ?1";

row! {
    struct WebhookRow {
        id: String,
        gateway: Option<String>,
        url: String,
        format: String,
        events: Option<String>,
        thresholds: String,
        secret: String,
        key_id: String,
        checked: u8,
        created_at: u64,
    }
}

/// The members of a webhook as its row has them.
struct Checked {
    url: String,
    gateway: Option<i64>,
    format: String,
    events: Option<String>,
    thresholds: String,
    checked: bool,
}

row! {
    struct AlertRow {
        id: String,
        body: String,
        created_at: u64,
        deliveries: String,
    }
}

/// `GET /accounts/{account}/ai-gateway/alerts`
///
/// The last hundred of what happened, of the gateways that the caller reaches, with what each webhook has been told.
pub async fn list(store: &impl Store, account: &str, caller: &Caller) -> Result<Reply, ApiError> {
    let sql = "SELECT id, body, created_at, (SELECT json_group_array(json_object('webhook_id', webhook_id, 'status', status, \
               'attempts', attempts, 'next_at', next_at, 'error', error, 'delivered_at', delivered_at)) \
               FROM alert_deliveries WHERE alert_id = alerts.id) AS deliveries FROM alerts WHERE account_id = ?1 \
               AND (?2 IS NULL OR gateway IN (SELECT key FROM gateways WHERE account_id = ?1 AND id IN (SELECT value FROM json_each(?2)))) \
               ORDER BY created_at DESC, id DESC LIMIT ?3";
    let binds: [Bind; 3] = [account.into(), caller.gateways().into(), SHOWN.into()];
    let rows: Vec<AlertRow> = store.rows(Statement::new(sql, binds)).await?;
    Ok(Reply::result(rows.iter().map(AlertRow::shown).collect::<Vec<Value>>()))
}

/// `GET /accounts/{account}/ai-gateway/alerts/webhooks`
pub async fn webhooks(store: &impl Store, account: &str) -> Result<Reply, ApiError> {
    let rows: Vec<WebhookRow> =
        store.rows(Statement::new(format!("{COLUMNS} ORDER BY created_at, id"), [account.into()])).await?;
    Ok(Reply::result(rows.iter().map(WebhookRow::shown).collect::<Vec<Value>>()))
}

/// `POST /accounts/{account}/ai-gateway/alerts/webhooks`
///
/// Adds a webhook, and shows its secret this once.
pub async fn create(
    store: &impl Store,
    account: &str,
    body: &[u8],
    (id, entropy): (&str, &[u8; 32]),
    (guard, vault): (&Guard, &impl Vault),
    actor: &Actor<'_>,
) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
        let body = object(body)?;
        only(&body, MEMBERS, &["body"])?;
        let Checked { url, gateway, format, events, thresholds, checked } = checked(store, account, &body, Some(guard)).await?;
        let secret = secret(&body)?.unwrap_or_else(|| format!("whsec_{}", hex(entropy)));
        let place = bound(account, id, address::origin_of(&url));
        let sealed = vault.seal(&secret, &place).await.map_err(ApiError::unavailable)?;
        let insert = Statement::new(
            "INSERT INTO alert_webhooks (id, account_id, gateway, url, format, events, thresholds, secret, key_id, checked, created_at) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE (SELECT count(*) FROM alert_webhooks WHERE account_id = ?2) < ?12",
            [
                id.into(),
                account.into(),
                gateway.into(),
                url.into(),
                format.into(),
                events.into(),
                thresholds.into(),
                sealed.text.into(),
                sealed.key_id.into(),
                checked.into(),
                Bind::Int(actor.now_ms as i64),
                MOST.into(),
            ],
        );
        let changed = store.batch(vec![insert, actor.row(&change("alert_webhook.create", account, id, &body))]).await?;
        if changed.first() != Some(&1) {
            return Err(ApiError::invalid(["body"], format!("An account may have {MOST} webhooks for alerts")));
        }
        let mut shown = existing(store, account, id).await?.shown();
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("secret".to_owned(), secret.into());
        }
        Ok(Reply::result(shown))
    })
    .await
}

/// `PATCH /accounts/{account}/ai-gateway/alerts/webhooks/{id}`
///
/// Changes what the body names. What is under way is told where it goes now.
pub async fn update(
    store: &impl Store,
    account: &str,
    id: &str,
    body: &[u8],
    (guard, vault): (&Guard, &impl Vault),
    actor: &Actor<'_>,
) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
        let row = existing(store, account, id).await?;
        let body = object(body)?;
        only(&body, MEMBERS, &["body"])?;
        let mut whole = row.members();
        whole.extend(body.iter().map(|(name, value)| (name.clone(), value.clone())));
        // An address that is stored may stay: where its name leads to is looked at before each delivery.
        let guard = body.contains_key("url").then_some(guard);
        let Checked { url, gateway, format, events, thresholds, checked } =
            checked(store, account, &whole, guard).await?;
        let checked = if guard.is_some() { checked } else { row.checked == 1 };
        let (old, new) = (bound(account, id, address::origin_of(&row.url)), bound(account, id, address::origin_of(&url)));
        let sealed = Sealed { text: row.secret.clone(), key_id: row.key_id.clone() };
        let sealed = match secret(&body)? {
            Some(secret) => vault.seal(&secret, &new).await.map_err(ApiError::unavailable)?,
            None if address::origin_of(&row.url) == address::origin_of(&url) => sealed,
            None => {
                let secret = vault.open(&sealed, &old).await.map_err(ApiError::unavailable)?;
                vault.seal(&secret, &new).await.map_err(ApiError::unavailable)?
            }
        };
        let update = Statement::new(
            "UPDATE alert_webhooks SET gateway = ?3, url = ?4, format = ?5, events = ?6, thresholds = ?7, secret = ?8, key_id = ?9, \
             checked = ?10 WHERE id = ?1 AND account_id = ?2",
            [
                id.into(),
                account.into(),
                gateway.into(),
                url.into(),
                format.into(),
                events.into(),
                thresholds.into(),
                sealed.text.into(),
                sealed.key_id.into(),
                checked.into(),
            ],
        );
        store.batch(vec![update, actor.row(&change("alert_webhook.update", account, id, &body))]).await?;
        Ok(Reply::result(existing(store, account, id).await?.shown()))
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/alerts/webhooks/{id}`
pub async fn delete(store: &impl Store, account: &str, id: &str, actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
        let row = existing(store, account, id).await?;
        let delete =
            Statement::new("DELETE FROM alert_webhooks WHERE id = ?1 AND account_id = ?2", [id.into(), account.into()]);
        store.batch(vec![delete, actor.row(&change("alert_webhook.delete", account, id, &Map::new()))]).await?;
        Ok(Reply::result(row.shown()))
    })
    .await
}

/// Checks the members of a webhook. Without a `guard` nothing is asked about its address.
async fn checked(
    store: &impl Store,
    account: &str,
    body: &Map<String, Value>,
    guard: Option<&Guard>,
) -> Result<Checked, ApiError> {
    let wrong = |field: &str, rule: String| ApiError::invalid(["body", field], rule);
    let given = |field: &str| body.get(field).filter(|value| !value.is_null());
    let url = given("url").and_then(Value::as_str).filter(|url| url.len() <= 2_000).unwrap_or_default();
    let origin = address::origin(url).map_err(|rule| wrong("url", rule.replace("base_url", "url")))?;
    let checked = match guard {
        None => false,
        Some(guard) => upstream::storable(&origin, guard.internal_allowed, &guard.found)
            .map_err(|rule| wrong("url", rule.replace("base_url", "url")))?,
    };
    let gateway = match given("gateway") {
        None => None,
        Some(named) => {
            let found = gateway::find(store, account, named.as_str().unwrap_or_default()).await?;
            let found = match (found, named.as_str()) {
                // The document of a rehearsal makes it.
                (None, Some(id)) if store.is_rehearsal() => Some(gateway::Gateway::supposed(account, id)?),
                (found, _) => found,
            };
            let rule = || wrong("gateway", "Expected the id of a gateway of this account, or null for all".to_owned());
            Some(found.ok_or_else(rule)?.key)
        }
    };
    let format = given("format").map_or(Some("json"), Value::as_str).filter(|format| FORMATS.contains(format));
    let format = format.ok_or_else(|| wrong("format", format!("Expected one of {}", FORMATS.join(", "))))?;
    if let Some(events) = given("events") {
        let is_kind = |event: &Value| event.as_str().is_some_and(|event| KINDS.contains(&event));
        if !events.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(is_kind)) {
            return Err(wrong("events", format!("Expected an array of {}, or null for all", KINDS.join(", "))));
        }
    }
    let thresholds = match given("thresholds") {
        None => THRESHOLDS.to_vec(),
        Some(list) => {
            let share = |value: &Value| value.as_f64().filter(|share| (0.01..=1.0).contains(share));
            let list = list.as_array().and_then(|list| list.iter().map(share).collect::<Option<Vec<f64>>>());
            let list = list.filter(|list| (1..=MOST_THRESHOLDS).contains(&list.len()));
            let rule = || format!("Expected 1 to {MOST_THRESHOLDS} numbers from 0.01 to 1, or null for 0.8 and 1");
            list.ok_or_else(|| wrong("thresholds", rule()))?
        }
    };
    Ok(Checked {
        url: url.to_owned(),
        gateway,
        format: format.to_owned(),
        events: given("events").map(Value::to_string),
        thresholds: Value::from(thresholds).to_string(),
        checked,
    })
}

/// The secret that a body brings.
fn secret(body: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    let Some(secret) = body.get("secret").filter(|secret| !secret.is_null()) else { return Ok(None) };
    let secret = secret.as_str().filter(|secret| (16..=500).contains(&secret.len()));
    let rule = "Expected a text of 16 to 500 bytes, or null for one that is made";
    secret.map(|secret| Some(secret.to_owned())).ok_or_else(|| ApiError::invalid(["body", "secret"], rule))
}

async fn existing(store: &impl Store, account: &str, id: &str) -> Result<WebhookRow, ApiError> {
    let row = Statement::new(format!("{COLUMNS} AND id = ?2"), [account.into(), id.into()]);
    store.row::<WebhookRow>(row).await?.ok_or_else(ApiError::not_found)
}

fn change<'a>(action: &'static str, account: &'a str, target: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account, gateway: None, target, fields: audit::fields(body) }
}

/// The name that a body's URL leads to, to be looked up before it is stored.
pub fn name_to_look_up(body: &[u8]) -> Option<String> {
    let origin = address::origin(object(body).ok()?.get("url")?.as_str()?).ok()?;
    (!origin.is_internal()).then(|| origin.name().map(str::to_owned))?
}

// === impl WebhookRow ===

impl WebhookRow {
    fn shown(&self) -> Value {
        let mut shown = self.members();
        shown.insert("id".to_owned(), self.id.as_str().into());
        shown.insert("created_at".to_owned(), timestamp::format(self.created_at).into());
        Value::Object(shown)
    }

    /// What a body may change, but for the secret.
    fn members(&self) -> Map<String, Value> {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        object_of([
            ("gateway".to_owned(), self.gateway.clone().into()),
            ("url".to_owned(), self.url.as_str().into()),
            ("format".to_owned(), self.format.as_str().into()),
            ("events".to_owned(), self.events.as_deref().map(parsed).into()),
            ("thresholds".to_owned(), parsed(&self.thresholds)),
        ])
    }
}

// === impl AlertRow ===

impl AlertRow {
    fn shown(&self) -> Value {
        let mut shown: Map<String, Value> = serde_json::from_str(&self.body).unwrap_or_default();
        let mut deliveries: Vec<Value> = serde_json::from_str(&self.deliveries).unwrap_or_default();
        for delivery in deliveries.iter_mut().filter_map(Value::as_object_mut) {
            for name in ["next_at", "delivered_at"] {
                let time = delivery.get(name).and_then(Value::as_u64).map(timestamp::format);
                delivery.insert(name.to_owned(), time.into());
            }
        }
        shown.insert("id".to_owned(), self.id.as_str().into());
        shown.insert("at".to_owned(), timestamp::format(self.created_at).into());
        shown.insert("deliveries".to_owned(), deliveries.into());
        Value::Object(shown)
    }
}
