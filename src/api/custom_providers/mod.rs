//! `/accounts/{account}/ai-gateway/custom-providers`: providers that an account adds to the built-in ones.

mod fields;
#[cfg(test)]
mod tests;

use super::{name, object, only};
use crate::api::effect::{Effect, Handled};
use crate::auth::caller::Caller;
use crate::base::id;
use crate::base::json::json;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::credentials::stored;
use crate::db::audit::{self, Actor, Change};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::params::flag;
use crate::http::query::Query;
use crate::providers::address::{self, Origin};
use crate::providers::resolver::Lookup;
use crate::providers::upstream::{self, PREFIX};
use crate::translate::Format;
use fields::MASK;
use serde::Serialize;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

/// What a request may give of one.
pub const FIELDS: &[&str] = &[
    "name",
    "slug",
    "base_url",
    "headers",
    "enable",
    "beta",
    "formats",
    "position",
    "description",
    "link",
    "curl_example",
    "js_example",
    "logo",
];

/// What answers show and no request can change.
const SHOWN: &[&str] = &["id", "account_id", "account_tag", "created_at", "modified_at"];

const COLUMNS: &str = "id, account_id, slug, name, base_url, headers, checked, enable, beta, position, about, created_at, modified_at, \
     formats";

row! {
    #[derive(Clone, Debug)]
    struct ProviderRow {
        id: String,
        account_id: String,
        slug: String,
        name: String,
        base_url: String,
        headers: String,
        checked: u8,
        enable: u8,
        beta: u8,
        position: Option<i64>,
        about: String,
        created_at: u64,
        modified_at: u64,
        formats: String,
    }
}

/// What decides whether a host may be stored.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The operator's variable.
    pub internal_allowed: bool,
    pub found: Lookup,
}

/// How much of the added headers a caller sees. They are for all gateways of the account, and what is no secret by its name
/// may be one all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// All values that do not look like credentials.
    Shown,
    /// The names alone.
    Named,
}

/// How much a caller sees: one that is bound to certain gateways has no business with what all of them send.
pub fn shown_to(caller: &Caller) -> Headers {
    match caller.gateways() {
        None => Headers::Shown,
        Some(_) => Headers::Named,
    }
}

/// The orders of a list. The first is the usual one: positions, those without one last.
const ORDERS: &[(&str, &str, &str)] = &[
    ("position", "position IS NULL, position, lower(name), id", "position IS NULL, position DESC, lower(name), id"),
    ("name", "lower(name), id", "lower(name) DESC, id"),
    ("slug", "slug, id", "slug DESC, id"),
    ("created_at", "created_at, id", "created_at DESC, id"),
    ("modified_at", "modified_at, id", "modified_at DESC, id"),
];

/// The name that a body's base URL leads to, to be looked up before it is stored. What cannot be read is refused later.
pub fn name_to_look_up(body: &[u8]) -> Option<String> {
    let body = object(body).ok()?;
    let origin = address::origin(body.get("base_url")?.as_str()?).ok()?;
    (!origin.is_internal()).then(|| origin.name().map(str::to_owned))?
}

/// A provider as answers show it.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    account_id: &'a str,
    account_tag: &'a str,
    slug: &'a str,
    name: &'a str,
    base_url: &'a str,
    headers: String,
    enable: bool,
    beta: bool,
    /// The languages of APIs that it speaks.
    formats: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
    /// Texts and links that tell people of the provider.
    #[serde(flatten)]
    about: Map<String, Value>,
    created_at: String,
    modified_at: String,
}

/// `GET /accounts/{account}/ai-gateway/custom-providers`
pub async fn list(store: &impl Store, account: &str, query: &Query, headers: Headers) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let order = order(query)?;
    let matching = "custom_providers WHERE account_id = ?1 AND (?2 IS NULL OR enable = ?2) AND (?3 IS NULL OR beta = ?3) \
         AND (instr(lower(name), lower(?4)) > 0 OR instr(lower(slug), lower(?4)) > 0 OR instr(id, lower(?4)) > 0)";
    let search = query.get("search").unwrap_or("");
    let binds = vec![account.into(), flag(query, "enable")?.into(), flag(query, "beta")?.into(), search.into()];
    let (rows, info) = page.read::<ProviderRow>(store, COLUMNS, matching, order, binds).await?;
    let shown: Vec<Shown<'_>> = rows.iter().map(|row| row.show(headers)).collect();
    let info = json!({
        "count": info.count,
        "page": info.page,
        "per_page": info.per_page,
        "total_count": info.total_count,
        "total_pages": info.total_count.div_ceil(info.per_page),
    });
    Ok(Reply::list(shown, info))
}

fn order(query: &Query) -> Result<&'static str, ApiError> {
    let text = query.get("order_by").unwrap_or("position").trim();
    let (column, direction) = text.split_once(' ').unwrap_or((text, "asc"));
    let found = ORDERS.iter().find(|(known, ..)| *known == column);
    match (found, direction.trim().to_ascii_lowercase().as_str()) {
        (Some((_, up, _)), "asc") => Ok(up),
        (Some((_, _, down)), "desc") => Ok(down),
        _ => {
            let names: Vec<&str> = ORDERS.iter().map(|(known, ..)| *known).collect();
            let rule = format!("Expected one of {}, with ASC or DESC behind it", names.join(", "));
            Err(ApiError::invalid(["query", "order_by"], rule))
        }
    }
}

/// `GET /accounts/{account}/ai-gateway/custom-providers/{id}`
pub async fn get(store: &impl Store, account: &str, id: &str, headers: Headers) -> Result<Reply, ApiError> {
    Ok(Reply::result(existing(store, account, id).await?.show(headers)))
}

/// Whether an account has a provider of this slug, given with its prefix.
pub async fn exists(store: &impl Store, account: &str, provider: &str) -> Result<bool, StoreError> {
    Ok(base_url(store, account, provider).await?.is_some())
}

/// Where a provider of an account leads, of a slug with its prefix.
pub async fn base_url(store: &impl Store, account: &str, provider: &str) -> Result<Option<String>, StoreError> {
    row! {
        struct Base {
            base_url: String,
        }
    }
    let Some(slug) = provider.strip_prefix(PREFIX) else { return Ok(None) };
    let sql = "SELECT base_url FROM custom_providers WHERE account_id = ?1 AND slug = ?2";
    let base = store.row::<Base>(Statement::new(sql, [account.into(), slug.into()])).await?;
    Ok(base.map(|base| base.base_url))
}

/// `POST /accounts/{account}/ai-gateway/custom-providers`
pub async fn create(
    store: &impl Store,
    account: &str,
    body: &[u8],
    new_id: &str,
    guard: &Guard,
    actor: &Actor<'_>,
    bound: &Most,
) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
    let body = object(body)?;
    only(&body, FIELDS, &["body"])?;
    let fresh = ProviderRow {
        id: id::uuid(new_id),
        account_id: account.to_owned(),
        slug: String::new(),
        name: String::new(),
        base_url: String::new(),
        headers: "{}".to_owned(),
        checked: 0,
        enable: 0,
        beta: 0,
        position: None,
        about: "{}".to_owned(),
        created_at: actor.now_ms,
        modified_at: actor.now_ms,
        formats: String::new(),
    };
    for name in ["name", "slug", "base_url"] {
        if !body.contains_key(name) {
            return Err(ApiError::invalid(["body", name], "Required"));
        }
    }
    let row = fresh.changed(&body, guard)?;
    if exists(store, account, &format!("{PREFIX}{}", row.slug)).await? {
        return Err(taken());
    }
    let sql = "INSERT INTO custom_providers (id, account_id, slug, name, base_url, headers, checked, enable, beta, position, \
         about, created_at, modified_at, formats) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13 \
         WHERE (SELECT count(*) FROM custom_providers WHERE account_id = ?2) < ?14 ON CONFLICT DO NOTHING";
    let mut binds = row.binds();
    binds.push(bound.bind());
    let change = change("custom_provider.create", account, &row.id, &body);
    let changed = store.batch(vec![Statement::new(sql, binds), actor.row(&change)]).await?;
    if changed.first() == Some(&1) {
        return Ok(Reply::result(row.show(Headers::Shown)));
    }
    if exists(store, account, &format!("{PREFIX}{}", row.slug)).await? {
        return Err(taken());
    }
    Err(bound.reached())
    })
    .await
}

/// `PATCH /accounts/{account}/ai-gateway/custom-providers/{id}`
///
/// Changes the fields that the body names; null resets one.
pub async fn update(
    store: &impl Store,
    account: &str,
    id: &str,
    body: &[u8],
    guard: &Guard,
    actor: &Actor<'_>,
) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
    let old = existing(store, account, id).await?;
    let mut body = object(body)?;
    body.retain(|name, _| !SHOWN.contains(&name.as_str()));
    only(&body, FIELDS, &["body"])?;
    let new = ProviderRow { modified_at: actor.now_ms, ..old.changed(&body, guard)? };
    let sql = "UPDATE OR IGNORE custom_providers SET slug = ?3, name = ?4, base_url = ?5, headers = ?6, checked = ?7, \
         enable = ?8, beta = ?9, position = ?10, about = ?11, modified_at = ?12, formats = ?13 \
         WHERE id = ?1 AND account_id = ?2";
    let audit = actor.row(&change("custom_provider.update", account, id, &body));
    let mut statements = vec![Statement::new(sql, new.binds()), audit];
    if !new.leads_where(&old) || new.slug != old.slug {
        statements.push(forget_keys(&old));
    }
    let changed = store.batch(statements).await?;
    if changed.first() == Some(&1) { Ok(Reply::result(new.show(Headers::Shown))) } else { Err(taken()) }
    })
    .await
}

/// `DELETE /accounts/{account}/ai-gateway/custom-providers/{id}`
///
/// Deletes a provider with its prices, and shows it once more.
pub async fn delete(store: &impl Store, account: &str, id: &str, actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ForgetSnapshots], async {
        let row = existing(store, account, id).await?;
        let binds = || [id.into(), account.into()];
        let mut statements = vec![
            Statement::new("DELETE FROM price_rules WHERE account_provider_id = ?1 AND account_id = ?2", binds()),
            Statement::new("DELETE FROM custom_providers WHERE id = ?1 AND account_id = ?2", binds()),
            actor.row(&change("custom_provider.delete", account, id, &Map::new())),
        ];
        statements.push(forget_keys(&row));
        store.batch(statements).await?;
        Ok(Reply::result(row.show(Headers::Shown)))
    })
    .await
}

async fn existing(store: &impl Store, account: &str, id: &str) -> Result<ProviderRow, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM custom_providers WHERE id = ?1 AND account_id = ?2");
    let row = store.row::<ProviderRow>(Statement::new(sql, [id.into(), account.into()])).await?;
    row.ok_or_else(|| {
        ApiError::not_found().with(|error| {
            error.code = 1004;
            error.message = "Custom Provider not found".to_owned();
        })
    })
}

fn taken() -> ApiError {
    let rule = "A custom provider with this slug already exists";
    ApiError::invalid(["body", "slug"], rule).with(|error| {
        error.status = 409;
        error.code = 1003;
    })
}

fn change<'a>(action: &'static str, account: &'a str, target: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account, gateway: None, target, fields: audit::fields(body) }
}

/// Takes the stored keys of a provider away that leads elsewhere, or is no more: a key is for the host that it was stored
/// for, and the next provider of that slug may have another.
fn forget_keys(old: &ProviderRow) -> Statement {
    stored::clear_statement(&old.account_id, &format!("{PREFIX}{}", old.slug), &old.base_url)
}

// === impl Row ===

impl ProviderRow {
    /// The row with what a body changes in it.
    fn changed(&self, body: &Map<String, Value>, guard: &Guard) -> Result<Self, ApiError> {
        let mut new = self.clone();
        if body.contains_key("name") {
            new.name = name(body)?.to_owned();
        }
        if body.contains_key("slug") {
            new.slug = fields::slug(body)?.to_owned();
        }
        if let Some(base_url) = body.get("base_url") {
            let wrong = |rule: &str| ApiError::invalid(["body", "base_url"], rule).with(|error| error.code = 1002);
            let base_url = base_url.as_str().unwrap_or_default();
            let origin = address::origin(base_url).map_err(wrong)?;
            if base_url.len() > 2_000 {
                return Err(wrong("base_url must not be longer than 2000 characters"));
            }
            if base_url != self.base_url || self.checked == 0 {
                new.checked = u8::from(
                    upstream::storable(&origin, guard.internal_allowed, &guard.found).map_err(|rule| wrong(&rule))?,
                );
            }
            new.base_url = base_url.to_owned();
        }
        let mut old = upstream::headers(&self.headers);
        if !new.leads_where(self) {
            // An editor who changes the host must not get credentials sent there that were meant for another.
            old.retain(|(name, value)| !upstream::is_secret(name, value));
            new.headers =
                Value::Object(crate::base::object::of(old.iter().map(|(name, value)| (name.clone(), json!(value)))))
                    .to_string();
        }
        match body.get("headers") {
            None => {}
            Some(Value::Null) => new.headers = "{}".to_owned(),
            Some(Value::String(text)) => new.headers = fields::given_headers(text, &old)?,
            Some(_) => return Err(ApiError::invalid(["body", "headers"], "Expected a text with a JSON object in it")),
        }
        new.enable = fields::switch(body, "enable", self.enable)?;
        new.beta = fields::switch(body, "beta", self.beta)?;
        match body.get("position") {
            None => {}
            Some(Value::Null) => new.position = None,
            Some(value) => match value.as_i64().filter(|position| i32::try_from(*position).is_ok()) {
                Some(position) => new.position = Some(position),
                None => return Err(ApiError::invalid(["body", "position"], "Expected an integer")),
            },
        }
        if let Some(formats) = body.get("formats") {
            new.formats = fields::formats(formats)?;
        }
        new.about = fields::about(body, &self.about)?;
        Ok(new)
    }

    fn origin(&self) -> Option<Origin> {
        address::origin(&self.base_url).ok()
    }

    /// Whether the row leads to the same scheme, host and port as another.
    fn leads_where(&self, other: &Self) -> bool {
        self.base_url == other.base_url || (self.origin().is_some() && self.origin() == other.origin())
    }

    fn binds(&self) -> Vec<Bind> {
        vec![
            self.id.as_str().into(),
            self.account_id.as_str().into(),
            self.slug.as_str().into(),
            self.name.as_str().into(),
            self.base_url.as_str().into(),
            self.headers.as_str().into(),
            Bind::Int(self.checked.into()),
            Bind::Int(self.enable.into()),
            Bind::Int(self.beta.into()),
            self.position.into(),
            self.about.as_str().into(),
            Bind::Int(self.modified_at as i64),
            self.formats.as_str().into(),
        ]
    }

    fn show(&self, headers: Headers) -> Shown<'_> {
        let mut masked = Map::new();
        for (name, value) in upstream::headers(&self.headers) {
            let shown =
                if headers == Headers::Named || upstream::is_secret(&name, &value) { MASK.to_owned() } else { value };
            masked.insert(name, Value::String(shown));
        }
        Shown {
            id: &self.id,
            account_id: &self.account_id,
            account_tag: &self.account_id,
            slug: &self.slug,
            name: &self.name,
            base_url: &self.base_url,
            headers: Value::Object(masked).to_string(),
            enable: self.enable == 1,
            beta: self.beta == 1,
            formats: match self.formats.as_str() {
                "" => vec![Format::Chat.name()],
                formats => formats.split(',').collect(),
            },
            position: self.position,
            about: serde_json::from_str(&self.about).unwrap_or_default(),
            created_at: timestamp::format(self.created_at),
            modified_at: timestamp::format(self.modified_at),
        }
    }
}
