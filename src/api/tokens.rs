//! `/accounts/{account}/ai-gateway/tokens`: tokens for applications and people, each with as much as it needs.

use super::{name, object, only};
use crate::api::effect::{Effect, Handled};
use crate::auth::caller::Permission;
use crate::auth::presented;
use crate::auth::terms::{self, Terms};
use crate::auth::tokens::{COLUMNS, TokenRow};
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::db::audit::{self, Actor, Change};
use crate::db::store::{Bind, Statement, Store};
use crate::gateways::gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::limit::rules;
use serde::Serialize;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

const MAX_GATEWAYS: usize = 100;

const MAX_PATTERNS: usize = 100;
const MAX_PATTERN: usize = 256;
const MAX_METADATA: usize = 16;

/// A token as answers show it.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    gateways: Option<Value>,
    permissions: Value,
    /// The token itself, in the one answer that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    created_at: String,
    modified_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    /// The members of its terms; null for what it has not.
    #[serde(flatten)]
    terms: Map<String, Value>,
}

/// `GET /accounts/{account}/ai-gateway/tokens`
pub async fn list(store: &impl Store, account: &str, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let binds = vec![account.into()];
    let (rows, info) = page.read::<TokenRow>(store, COLUMNS, "tokens WHERE account_id = ?1", "id DESC", binds).await?;
    let shown: Vec<Shown<'_>> = rows.iter().map(show).collect();
    Ok(Reply::list(shown, info))
}

/// `GET /accounts/{account}/ai-gateway/tokens/{id}`
pub async fn get(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::result(show(&existing(store, account, id).await?)))
}

async fn existing(store: &impl Store, account: &str, id: &str) -> Result<TokenRow, ApiError> {
    let row = Statement::new(
        format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1 AND account_id = ?2"),
        [id.into(), account.into()],
    );
    store.row::<TokenRow>(row).await?.ok_or_else(ApiError::not_found)
}

/// `POST /accounts/{account}/ai-gateway/tokens`
///
/// Makes a token and shows it, this once.
pub async fn create(
    store: &impl Store,
    account: &str,
    body: &[u8],
    id: &str,
    entropy: &[u8; 32],
    actor: &Actor<'_>,
    bound: &Most,
) -> Result<Reply, ApiError> {
    let body = object(body)?;
    only(&body, &[&["name", "permissions", "gateways", "expires_at"], terms::FIELDS].concat(), &["body"])?;
    let name = name(&body)?;
    let permissions = permissions(&body)?;
    let gateways = gateways(store, account, &body).await?;
    let expires_at = expiry(&body, actor.now_ms)?;
    let terms = checked_terms(&body, id)?;
    let value = presented::token(entropy);
    let insert = Statement::new(
        "INSERT INTO tokens (id, account_id, name, digest, gateways, permissions, created_at, modified_at, expires_at, \
         terms) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?10 \
         WHERE (SELECT count(*) FROM tokens WHERE account_id = ?2) < ?9",
        [
            id.into(),
            account.into(),
            name.into(),
            presented::digest_text(&value).into(),
            gateways.map(|gateways| Value::from(gateways).to_string()).into(),
            Value::from(permissions).to_string().into(),
            Bind::Int(actor.now_ms as i64),
            expires_at.map(|at| at as i64).into(),
            bound.bind(),
            terms.into(),
        ],
    );
    let changed = store.batch(vec![insert, actor.row(&change("token.create", account, id, &body))]).await?;
    if changed.first() != Some(&1) {
        return Err(bound.reached());
    }
    shown_once(store, account, id, value).await
}

/// `PATCH /accounts/{account}/ai-gateway/tokens/{id}`
///
/// Changes the name and the terms that the body names; null takes one away. What the token may do stays: make another for that.
pub async fn update(store: &impl Store, account: &str, id: &str, body: &[u8], actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetTokens], async {
        let body = object(body)?;
        only(&body, &[&["name"], terms::FIELDS].concat(), &["body"])?;
        let row = existing(store, account, id).await?;
        let mut whole: Map<String, Value> =
            row.terms.as_deref().and_then(|terms| serde_json::from_str(terms).ok()).unwrap_or_default();
        whole.extend(body.iter().map(|(name, value)| (name.clone(), value.clone())));
        let name = if body.contains_key("name") { name(&body)? } else { &row.name };
        let update = Statement::new(
            "UPDATE tokens SET name = ?3, terms = ?4, modified_at = ?5 WHERE id = ?1 AND account_id = ?2",
            [id.into(), account.into(), name.into(), checked_terms(&whole, id)?.into(), Bind::Int(actor.now_ms as i64)],
        );
        store.batch(vec![update, actor.row(&change("token.update", account, id, &body))]).await?;
        get(store, account, id).await
    })
    .await
}

/// `POST /accounts/{account}/ai-gateway/tokens/{id}/roll`
///
/// Replaces a token's value. The old one stops to work.
pub async fn roll(store: &impl Store, account: &str, id: &str, entropy: &[u8; 32], actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetTokens], async {
        existing(store, account, id).await?;
        let value = presented::token(entropy);
        let update = Statement::new(
            "UPDATE tokens SET digest = ?3, modified_at = ?4 WHERE id = ?1 AND account_id = ?2",
            [id.into(), account.into(), presented::digest_text(&value).into(), Bind::Int(actor.now_ms as i64)],
        );
        store.batch(vec![update, actor.row(&change("token.roll", account, id, &Map::new()))]).await?;
        shown_once(store, account, id, value).await
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/tokens/{id}`
pub async fn revoke(store: &impl Store, account: &str, id: &str, actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetTokens], async {
        let token = existing(store, account, id).await?;
        let delete =
            Statement::new("DELETE FROM tokens WHERE id = ?1 AND account_id = ?2", [id.into(), account.into()]);
        store.batch(vec![delete, actor.row(&change("token.revoke", account, id, &Map::new()))]).await?;
        Ok(Reply::result(show(&token)))
    })
    .await
}

async fn shown_once(store: &impl Store, account: &str, id: &str, value: String) -> Result<Reply, ApiError> {
    let token = existing(store, account, id).await?;
    Ok(Reply::result(Shown { value: Some(value), ..show(&token) }))
}

fn change<'a>(action: &'static str, account: &'a str, target: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account, gateway: None, target, fields: audit::fields(body) }
}

/// The terms of a body as they are stored, once they make sense. Rules without an id get one.
fn checked_terms(body: &Map<String, Value>, seed: &str) -> Result<Option<String>, ApiError> {
    let mut body = body.clone();
    let wrong = |field: &str, rule: String| ApiError::invalid(["body", field], rule);
    let given = |body: &Map<String, Value>, field: &str| body.get(field).filter(|value| !value.is_null()).cloned();
    if let Some(owner) = given(&body, "owner") {
        let is_name = owner.as_str().is_some_and(|owner| (1..=200).contains(&owner.trim().chars().count()));
        if !is_name {
            return Err(wrong("owner", "Expected a text of 1 to 200 characters, or null".to_owned()));
        }
    }
    for field in ["models", "providers"] {
        let Some(value) = given(&body, field) else { continue };
        let text = |value: &Value| {
            let text = value.as_str()?.trim();
            let fits = !text.is_empty() && text.chars().count() <= MAX_PATTERN;
            fits.then(|| Value::from(text.to_lowercase()))
        };
        let list = value.as_array().and_then(|list| list.iter().map(text).collect::<Option<Vec<Value>>>());
        let list = list.filter(|list| (1..=MAX_PATTERNS).contains(&list.len()));
        let rule = || format!("Expected 1 to {MAX_PATTERNS} texts of 1 to {MAX_PATTERN} characters, or null");
        body.insert(field.to_owned(), list.ok_or_else(|| wrong(field, rule()))?.into());
    }
    if let Some(metadata) = body.get("metadata").filter(|value| !value.is_null()) {
        let fits = |(key, value): (&String, &Value)| {
            let is_value =
                value.is_number() || value.is_boolean() || value.as_str().is_some_and(|text| text.len() <= 1_000);
            is_value && (1..=200).contains(&key.chars().count()) && !key.starts_with("cf.")
        };
        if !metadata.as_object().is_some_and(|all| all.len() <= MAX_METADATA && all.iter().all(fits)) {
            let rule = format!(
                "Expected an object of at most {MAX_METADATA} texts, numbers, true and false, with keys that do not begin with cf., or null"
            );
            return Err(wrong("metadata", rule));
        }
    }
    for (field, check) in [
        ("rate_limiting_rules", rules::check_rate_rules as fn(&Value) -> _),
        ("spend_limits", rules::check_spend_limits),
    ] {
        let Some(value) = body.get_mut(field).filter(|value| !value.is_null()) else { continue };
        if field == "rate_limiting_rules" {
            let rules = value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
            // All requests of the token share such a rule.
            for rule in rules {
                rule.entry("key").or_insert_with(|| "token".into());
            }
        }
        check(value)?;
        let rules = if field == "spend_limits" { value.get_mut("rules") } else { Some(value) };
        rules.into_iter().for_each(|rules| rules::mint_ids(rules, seed));
    }
    Ok(Terms::stored(&body))
}

fn permissions(body: &Map<String, Value>) -> Result<Vec<String>, ApiError> {
    let wrong = || {
        let what = "Expected an array of at least one of 'read', 'read_metadata', 'edit', 'run', 'feedback'";
        ApiError::invalid(["body", "permissions"], what)
    };
    let list = body.get("permissions").and_then(Value::as_array).filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    let mut found: Vec<String> = Vec::new();
    for entry in list {
        let name = entry.as_str().filter(|name| Permission::parse(name).is_some()).ok_or_else(wrong)?;
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

/// The gateways a token is limited to. They have to exist: a limit to a misspelt one would be noticed only later.
async fn gateways(
    store: &impl Store,
    account: &str,
    body: &Map<String, Value>,
) -> Result<Option<Vec<String>>, ApiError> {
    let wrong = |rule: &str| ApiError::invalid(["body", "gateways"], rule);
    let list = match body.get("gateways") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if (1..=MAX_GATEWAYS).contains(&list.len()) => list,
        Some(_) => {
            return Err(wrong("Expected an array of 1 to 100 gateway ids, or null for all gateways of the account"));
        }
    };
    let mut found = Vec::new();
    for entry in list {
        let id = entry.as_str().ok_or_else(|| wrong("Expected an array of gateway ids"))?;
        if gateway::find(store, account, id).await?.is_none() {
            return Err(wrong("One of the gateways does not exist in this account"));
        }
        found.push(id.to_owned());
    }
    Ok(Some(found))
}

fn expiry(body: &Map<String, Value>, now_ms: u64) -> Result<Option<u64>, ApiError> {
    match body.get("expires_at") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_str().and_then(timestamp::parse) {
            Some(at) if at > now_ms => Ok(Some(at)),
            _ => {
                Err(ApiError::invalid(["body", "expires_at"], "Expected a time to come, such as 2030-01-01T00:00:00Z"))
            }
        },
    }
}

fn shown_terms(stored: Option<&str>) -> Map<String, Value> {
    let mut given: Map<String, Value> = stored.and_then(|terms| serde_json::from_str(terms).ok()).unwrap_or_default();
    terms::FIELDS.iter().map(|field| ((*field).to_owned(), given.remove(*field).unwrap_or_default())).collect()
}

fn show(row: &TokenRow) -> Shown<'_> {
    Shown {
        id: &row.id,
        name: &row.name,
        gateways: row.gateways.as_deref().and_then(|all| serde_json::from_str(all).ok()),
        permissions: serde_json::from_str(&row.permissions).unwrap_or_default(),
        value: None,
        created_at: timestamp::format(row.created_at),
        modified_at: timestamp::format(row.modified_at),
        expires_at: row.expires_at.map(timestamp::format),
        last_used_at: row.last_used_at.map(timestamp::format),
        terms: shown_terms(row.terms.as_deref()),
    }
}
