//! `…/provider_configs`: keys of providers that a gateway keeps for its callers. A key can be put in, used and replaced; no
//! route gives one out.

mod secret;

use super::{Place, custom_providers, object, only};
use crate::api::effect::Handled;
use crate::auth::caller::Caller;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::credentials::select;
use crate::credentials::share::MAX_WEIGHT;
use crate::credentials::stored::{COLUMNS, StoredKeyRow};
use crate::credentials::vault::{Bound, Reference, Sealed, Vault};
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::query::Query;
use crate::providers::address;
use crate::providers::table::{self, KeyForm};
use secret::{fits, secret};
use serde::Serialize;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

const MAX_RATE_LIMIT: u64 = 1_000_000_000;

/// Thirty days, in seconds.
const MAX_RATE_LIMIT_PERIOD: u64 = 2_592_000;

const DEFAULT_RATE_LIMIT_PERIOD: u64 = 60;

/// Who wants to store a key, and what that takes.
pub struct KeyContext<'a, V> {
    pub caller: &'a Caller,
    pub vault: &'a V,
    /// The base URL that the operator put in the place of a provider's own.
    pub base_override: &'a dyn Fn(&str) -> Option<String>,
    /// How many keys a gateway stores. They are read in one row, and D1 allows 2 MB for it.
    pub bound: &'a Most,
}

/// What a row holds of a key.
struct Stored {
    sealed: Option<Sealed>,
    reference: Option<Reference>,
    preview: String,
}

/// A provider that keys are stored for.
struct KeyProvider {
    slug: String,
    form: KeyForm,
    upstream: Option<String>,
}

/// A key as answers show it: without itself.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    gateway_id: &'a str,
    provider_slug: &'a str,
    alias: &'a str,
    default_config: bool,
    secret_id: &'a str,
    secret_preview: &'a str,
    has_secret: bool,
    encryption_key_id: Option<&'a str>,
    rate_limit: Option<u64>,
    rate_limit_period: u64,
    weight: u32,
    created_at: String,
    modified_at: String,
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs`
pub async fn list(store: &impl Store, place: &Place<'_>, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let binds = vec![place.key.into()];
    let order = "created_at, id";
    let (rows, info) =
        page.read::<StoredKeyRow>(store, COLUMNS, "provider_configs WHERE gateway = ?1", order, binds).await?;
    let shown: Vec<Shown<'_>> = rows.iter().map(|row| show(row, place)).collect();
    Ok(Reply::list(shown, info))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs/{id}`
pub async fn get(store: &impl Store, place: &Place<'_>, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::result(show(&existing(store, place, id).await?, place)))
}

async fn existing(store: &impl Store, place: &Place<'_>, id: &str) -> Result<StoredKeyRow, ApiError> {
    let row = Statement::new(
        format!("SELECT {COLUMNS} FROM provider_configs WHERE id = ?1 AND gateway = ?2"),
        [id.into(), place.key.into()],
    );
    store.row::<StoredKeyRow>(row).await?.ok_or_else(ApiError::not_found)
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs`
///
/// Stores a key. One that becomes its provider's default takes that from the older one.
pub async fn create<V: Vault>(
    store: &impl Store,
    place: &Place<'_>,
    body: &[u8],
    id: &str,
    actor: &Actor<'_>,
    key_context: &KeyContext<'_, V>,
) -> Handled {
    Handled::always([place.forget()], async {
    let body = object(body)?;
    let known = ["alias", "default_config", "provider_slug", "rate_limit", "rate_limit_period", "secret", "secret_id", "weight"];
    only(&body, &known, &["body"])?;
    let alias = alias(&body)?;
    let key_provider = key_context.key_provider(store, place, &body).await?;
    let default = match body.get("default_config") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(default)) => *default,
        Some(_) => return Err(ApiError::invalid(["body", "default_config"], "Expected true or false")),
    };
    let rate_limit = number(&body, "rate_limit", MAX_RATE_LIMIT)?.filter(|limit| *limit > 0);
    let period = number(&body, "rate_limit_period", MAX_RATE_LIMIT_PERIOD)?.unwrap_or(DEFAULT_RATE_LIMIT_PERIOD);
    if period == 0 {
        return Err(ApiError::invalid(["body", "rate_limit_period"], "Expected an integer from 1 to 2592000"));
    }
    let weight = number(&body, "weight", MAX_WEIGHT)?.unwrap_or(0);
    let stored = key_context.stored(place, &body, &key_provider, alias).await?;
    let place_of_it = || -> [Bind; 3] { [place.key.into(), key_provider.slug.as_str().into(), alias.into()] };
    let step_back = Statement::new(
        "UPDATE provider_configs SET default_config = 0 WHERE gateway = ?1 AND provider = ?2 AND ?4 \
         AND default_config = 1 AND NOT EXISTS \
         (SELECT 1 FROM provider_configs WHERE gateway = ?1 AND provider = ?2 AND alias = ?3) \
         AND (SELECT count(*) FROM provider_configs WHERE gateway = ?1) < ?5",
        place_of_it().into_iter().chain([default.into(), key_context.bound.bind()]).collect::<Vec<Bind>>(),
    );
    let insert = Statement::new(
        "INSERT INTO provider_configs (gateway, provider, alias, id, default_config, secret, key_id, reference, preview, \
         upstream, rate_limit, rate_limit_period, weight, created_at, modified_at) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14 \
         WHERE (SELECT count(*) FROM provider_configs WHERE gateway = ?1) < ?15 ON CONFLICT (gateway, provider, alias) DO NOTHING",
        place_of_it()
            .into_iter()
            .chain([id.into(), default.into()])
            .chain(stored.binds())
            .chain([
                key_provider.upstream.clone().into(),
                rate_limit.map(|limit| limit as i64).into(),
                Bind::Int(period as i64),
                Bind::Int(weight as i64),
                Bind::Int(actor.now_ms as i64),
                key_context.bound.bind(),
            ])
            .collect::<Vec<Bind>>(),
    );
    let row = actor.row(&place.change("provider_config.create", id, &body));
    if store.batch(vec![step_back, insert, row]).await?.get(1) != Some(&1) {
        let of_that_alias = "SELECT id FROM provider_configs WHERE gateway = ?1 AND provider = ?2 AND alias = ?3";
        if store.ids(Statement::new(of_that_alias, place_of_it())).await?.is_empty() {
            return Err(key_context.bound.reached());
        }
        let rule = format!("The gateway already has a key of {} with the alias '{alias}'", key_provider.slug);
        return Err(ApiError::invalid(["body", "alias"], rule));
    }
    get(store, place, id).await
    })
    .await
}

/// `PUT /accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs/{id}`
///
/// Replaces the key, its weight or both. Whatever else is to change needs another row.
pub async fn rotate<V: Vault>(
    store: &impl Store,
    place: &Place<'_>,
    id: &str,
    body: &[u8],
    actor: &Actor<'_>,
    key_context: &KeyContext<'_, V>,
) -> Handled {
    Handled::always([place.forget()], async {
        let current = existing(store, place, id).await?;
        let body = object(body)?;
        only(&body, &["secret", "secret_id", "weight"], &["body"])?;
        let weight = number(&body, "weight", MAX_WEIGHT)?;
        let mut updates = Vec::with_capacity(3);
        if weight.is_none() || ["secret", "secret_id"].iter().any(|name| body.contains_key(*name)) {
            let key_provider = key_context.key_provider_of(store, place, &current.provider).await?;
            let stored = key_context.stored(place, &body, &key_provider, &current.alias).await?;
            updates.push(Statement::new(
                "UPDATE provider_configs SET secret = ?3, key_id = ?4, reference = ?5, preview = ?6, upstream = ?7, \
                 modified_at = ?8 WHERE id = ?1 AND gateway = ?2",
                [id.into(), place.key.into()]
                    .into_iter()
                    .chain(stored.binds())
                    .chain([key_provider.upstream.into(), Bind::Int(actor.now_ms as i64)])
                    .collect::<Vec<Bind>>(),
            ));
        }
        if let Some(weight) = weight {
            updates.push(Statement::new(
                "UPDATE provider_configs SET weight = ?3, modified_at = ?4 WHERE id = ?1 AND gateway = ?2",
                [id.into(), place.key.into(), Bind::Int(weight as i64), Bind::Int(actor.now_ms as i64)],
            ));
        }
        updates.push(actor.row(&place.change("provider_config.update", id, &body)));
        store.batch(updates).await?;
        get(store, place, id).await
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/provider_configs/{id}`
pub async fn delete(store: &impl Store, place: &Place<'_>, id: &str, actor: &Actor<'_>) -> Handled {
    Handled::always([place.forget()], async {
        let row = existing(store, place, id).await?;
        let delete = Statement::new(
            "DELETE FROM provider_configs WHERE id = ?1 AND gateway = ?2",
            [id.into(), place.key.into()],
        );
        store.batch(vec![delete, actor.row(&place.change("provider_config.delete", id, &Map::new()))]).await?;
        Ok(Reply::result(show(&row, place)))
    })
    .await
}

fn alias(body: &Map<String, Value>) -> Result<&str, ApiError> {
    let named = |alias: &str| {
        (1..=64).contains(&alias.len())
            && alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match body.get("alias") {
        Some(Value::String(alias)) if named(alias) => Ok(alias),
        _ => Err(ApiError::invalid(["body", "alias"], "Expected 1 to 64 letters, digits, '-', '_' and '.'")),
    }
}

fn number(body: &Map<String, Value>, name: &str, max: u64) -> Result<Option<u64>, ApiError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if number.fract() == 0.0 && (0.0..=max as f64).contains(&number) => Ok(Some(number as u64)),
            _ => Err(ApiError::invalid(["body", name], format!("Expected an integer from 0 to {max}, or null"))),
        },
    }
}

fn unknown_provider(slug: &str) -> ApiError {
    let hint = table::nearest(slug).map_or(String::new(), |nearest| format!(". Did you mean '{nearest}'?"));
    ApiError::invalid(["body", "provider_slug"], format!("Expected the slug of a provider{hint}"))
}

// === impl KeyContext ===

impl<V: Vault> KeyContext<'_, V> {
    async fn key_provider(
        &self,
        store: &impl Store,
        place: &Place<'_>,
        body: &Map<String, Value>,
    ) -> Result<KeyProvider, ApiError> {
        let slug = body.get("provider_slug").and_then(Value::as_str);
        let slug =
            slug.ok_or_else(|| ApiError::invalid(["body", "provider_slug"], "Expected the slug of a provider"))?;
        self.key_provider_of(store, place, slug).await
    }

    async fn key_provider_of(
        &self,
        store: &impl Store,
        place: &Place<'_>,
        slug: &str,
    ) -> Result<KeyProvider, ApiError> {
        if let Some(provider) = table::find(slug) {
            let base = (self.base_override)(provider.slug);
            let upstream = base.map(|base| address::origin_of(&base).to_owned());
            return Ok(KeyProvider { slug: provider.slug.to_owned(), form: provider.key, upstream });
        }
        let base = custom_providers::base_url(store, place.account, slug).await?;
        let base = base.ok_or_else(|| unknown_provider(slug))?;
        let upstream = Some(address::origin_of(&base).to_owned());
        Ok(KeyProvider { slug: slug.to_owned(), form: KeyForm::Bearer, upstream })
    }

    /// Seals the key of a body, or looks whether what it refers to is there.
    async fn stored(
        &self,
        place: &Place<'_>,
        body: &Map<String, Value>,
        key_provider: &KeyProvider,
        alias: &str,
    ) -> Result<Stored, ApiError> {
        let secret = secret(body, key_provider.form)?;
        let wrong = |rule: &str| ApiError::invalid(["body", "secret_id"], rule);
        let reference = match body.get("secret_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => match Reference::parse(text) {
                Some(reference) => Some(reference.map_err(wrong)?),
                // Older SDKs send an id of Cloudflare's along with the key itself.
                None if secret.is_some() => None,
                None => return Err(wrong("Expected env:<name of a Worker secret> or store:<Secrets Store binding>")),
            },
            Some(_) => return Err(wrong("Expected a string")),
        };
        match (secret, reference) {
            (Some(_), Some(_)) => Err(wrong("Expected either secret or secret_id, not both")),
            (None, None) => {
                Err(ApiError::invalid(["body", "secret"], "Expected a key, or a secret_id that refers to one"))
            }
            (Some(secret), None) => {
                let bound = Bound {
                    account: place.account,
                    gateway: place.key,
                    provider: &key_provider.slug,
                    alias,
                    upstream: key_provider.upstream.as_deref(),
                };
                let sealed = self.vault.seal(&secret, &bound).await.map_err(ApiError::unavailable)?;
                Ok(Stored { sealed: Some(sealed), reference: None, preview: select::preview(&secret) })
            }
            (None, Some(reference)) => {
                // The Worker's secrets are the operator's, and meant for every account or for one of them only.
                if !self.caller.is_admin() {
                    return Err(ApiError::forbidden("Only the admin token may refer to secrets of the Worker"));
                }
                let found = self.vault.look_up(&reference).await.map_err(|fault| wrong(&fault))?;
                fits(key_provider.form, found.trim())
                    .map_err(|rule| wrong(&format!("What it refers to is no key. {rule}")))?;
                Ok(Stored { sealed: None, reference: Some(reference), preview: String::new() })
            }
        }
    }
}

// === impl Stored ===

impl Stored {
    /// The columns `secret`, `key_id`, `reference` and `preview`.
    fn binds(self) -> [Bind; 4] {
        let (secret, key_id) = self.sealed.map_or((None, None), |sealed| (Some(sealed.text), Some(sealed.key_id)));
        let reference = self.reference.map(|reference| reference.text());
        [secret.into(), key_id.into(), reference.into(), self.preview.into()]
    }
}

fn show<'a>(row: &'a StoredKeyRow, place: &Place<'a>) -> Shown<'a> {
    Shown {
        id: &row.id,
        gateway_id: place.gateway,
        provider_slug: &row.provider,
        alias: &row.alias,
        default_config: row.default_config == 1,
        secret_id: row.reference.as_ref().unwrap_or(&row.id),
        secret_preview: &row.preview,
        has_secret: row.secret.is_some() || row.reference.is_some(),
        encryption_key_id: row.key_id.as_deref(),
        rate_limit: row.rate_limit,
        rate_limit_period: row.rate_limit_period,
        weight: row.weight,
        created_at: timestamp::format(row.created_at),
        modified_at: timestamp::format(row.modified_at),
    }
}

#[cfg(test)]
mod tests;
