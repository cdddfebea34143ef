//! `/accounts/{account}/ai-gateway/custom-providers`: providers that an account adds to the built-in ones.

use super::{name, object, only};
use crate::address::{self, Origin};
use crate::audit::{self, By, Change};
use crate::envelope::{ApiError, Reply};
use crate::headers;
use crate::id;
use crate::page::Page;
use crate::params::flag;
use crate::query::Query;
use crate::resolver::Lookup;
use crate::store::{Bind, Statement, Store, StoreError, row};
use crate::timestamp;
use crate::upstream::{self, PREFIX};
use serde_json::{Map, Value, json};

const MAX_PER_PAGE: u64 = 100;

/// All of an account's custom providers are in the memory of every isolate.
const MAX_PROVIDERS: u64 = 100;

const MAX_HEADERS: usize = 8_192;

/// Logs keep 64 characters of a provider's name.
const MAX_SLUG: usize = 57;

/// Stands in answers for a value that is not shown; sent back, for the value that is stored.
pub const MASK: &str = "***";

/// Texts that are only shown, with how many characters each may have.
const ABOUT: &[(&str, usize)] =
    &[("description", 2_000), ("link", 2_000), ("curl_example", 10_000), ("js_example", 10_000), ("logo", 65_536)];

const FIELDS: &[&str] = &[
    "name",
    "slug",
    "base_url",
    "headers",
    "enable",
    "beta",
    "position",
    "description",
    "link",
    "curl_example",
    "js_example",
    "logo",
];

/// What answers show and nobody can change.
const SHOWN: &[&str] = &["id", "account_id", "account_tag", "created_at", "modified_at"];

const COLUMNS: &str =
    "id, account_id, slug, name, base_url, headers, checked, enable, beta, position, about, created_at, modified_at";

row! {
    #[derive(Clone, Debug)]
    struct Row {
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
    }
}

row! {
    struct Count {
        n: u64,
    }
}

/// What decides whether a host may be stored.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The operator's variable.
    pub internal_allowed: bool,
    pub found: Lookup,
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

pub async fn list(store: &impl Store, account: &str, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let order = order(query)?;
    let matching = "custom_providers WHERE account_id = ?1 AND (?2 IS NULL OR enable = ?2) AND (?3 IS NULL OR beta = ?3) \
         AND (instr(lower(name), lower(?4)) > 0 OR instr(lower(slug), lower(?4)) > 0 OR instr(id, lower(?4)) > 0)";
    let search = query.get("search").unwrap_or("");
    let binds = vec![account.into(), flag(query, "enable")?.into(), flag(query, "beta")?.into(), search.into()];
    let (rows, info) = page.read::<Row>(store, COLUMNS, matching, order, binds).await?;
    let shown: Vec<Value> = rows.iter().map(Row::show).collect();
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

pub async fn get(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::result(existing(store, account, id).await?.show()))
}

/// Whether an account has a provider of this slug, given with its prefix.
pub async fn exists(store: &impl Store, account: &str, provider: &str) -> Result<bool, StoreError> {
    let Some(slug) = provider.strip_prefix(PREFIX) else { return Ok(false) };
    let sql = "SELECT count(*) AS n FROM custom_providers WHERE account_id = ?1 AND slug = ?2";
    let count = store.row::<Count>(Statement::new(sql, [account.into(), slug.into()])).await?;
    Ok(count.is_some_and(|count| count.n > 0))
}

pub async fn create(
    store: &impl Store,
    account: &str,
    body: &[u8],
    new_id: &str,
    guard: &Guard,
    by: &By<'_>,
) -> Result<Reply, ApiError> {
    let body = object(body)?;
    only(&body, FIELDS, &["body"])?;
    let fresh = Row {
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
        created_at: by.now_ms,
        modified_at: by.now_ms,
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
         about, created_at, modified_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12 \
         WHERE (SELECT count(*) FROM custom_providers WHERE account_id = ?2) < ?13 ON CONFLICT DO NOTHING";
    let mut binds = row.binds();
    binds.push(Bind::Int(MAX_PROVIDERS as i64));
    let change = change("custom_provider.create", account, &row.id, &body);
    let changed = store.batch(vec![Statement::new(sql, binds), by.row(&change)]).await?;
    if changed.first() == Some(&1) {
        return Ok(Reply::result(row.show()));
    }
    if exists(store, account, &format!("{PREFIX}{}", row.slug)).await? {
        return Err(taken());
    }
    Err(ApiError::invalid(["body"], format!("An account may have {MAX_PROVIDERS} custom providers")))
}

/// Changes the fields that the body names; null resets one.
pub async fn update(
    store: &impl Store,
    account: &str,
    id: &str,
    body: &[u8],
    guard: &Guard,
    by: &By<'_>,
) -> Result<Reply, ApiError> {
    let old = existing(store, account, id).await?;
    let mut body = object(body)?;
    body.retain(|name, _| !SHOWN.contains(&name.as_str()));
    only(&body, FIELDS, &["body"])?;
    let new = Row { modified_at: by.now_ms, ..old.changed(&body, guard)? };
    let sql = "UPDATE OR IGNORE custom_providers SET slug = ?3, name = ?4, base_url = ?5, headers = ?6, checked = ?7, \
         enable = ?8, beta = ?9, position = ?10, about = ?11, modified_at = ?12 WHERE id = ?1 AND account_id = ?2";
    let audit = by.row(&change("custom_provider.update", account, id, &body));
    let mut statements = vec![Statement::new(sql, new.binds()), audit];
    if !new.leads_where(&old) || new.slug != old.slug {
        statements.extend(forget_keys(&old));
    }
    let changed = store.batch(statements).await?;
    if changed.first() == Some(&1) { Ok(Reply::result(new.show())) } else { Err(taken()) }
}

/// Deletes a provider with its prices, and shows it once more.
pub async fn delete(store: &impl Store, account: &str, id: &str, by: &By<'_>) -> Result<Reply, ApiError> {
    let row = existing(store, account, id).await?;
    let binds = || [id.into(), account.into()];
    let mut statements = vec![
        Statement::new("DELETE FROM price_rules WHERE account_provider_id = ?1 AND account_id = ?2", binds()),
        Statement::new("DELETE FROM custom_providers WHERE id = ?1 AND account_id = ?2", binds()),
        by.row(&change("custom_provider.delete", account, id, &Map::new())),
    ];
    statements.extend(forget_keys(&row));
    store.batch(statements).await?;
    Ok(Reply::result(row.show()))
}

async fn existing(store: &impl Store, account: &str, id: &str) -> Result<Row, ApiError> {
    let sql = format!("SELECT {COLUMNS} FROM custom_providers WHERE id = ?1 AND account_id = ?2");
    let row = store.row::<Row>(Statement::new(sql, [id.into(), account.into()])).await?;
    row.ok_or_else(|| ApiError { code: 1004, message: "Custom Provider not found".to_owned(), ..ApiError::not_found() })
}

fn taken() -> ApiError {
    let rule = "A custom provider with this slug already exists";
    ApiError { status: 409, code: 1003, ..ApiError::invalid(["body", "slug"], rule) }
}

fn change<'a>(action: &'static str, account: &'a str, target: &'a str, body: &'a Map<String, Value>) -> Change<'a> {
    Change { action, account, gateway: None, target, fields: audit::fields(body) }
}

/// What takes the stored keys of a provider away that leads elsewhere, or is no more: a key is for the host that it was
/// stored for, and the next provider of that slug may have another.
fn forget_keys(_old: &Row) -> Option<Statement> {
    None
}

/// `true` and `false`, or the default where a field is null.
fn switch(body: &Map<String, Value>, name: &str, old: u8) -> Result<u8, ApiError> {
    match body.get(name) {
        None => Ok(old),
        Some(Value::Null) => Ok(0),
        Some(Value::Bool(value)) => Ok(u8::from(*value)),
        Some(_) => Err(ApiError::invalid(["body", name], "Expected true or false")),
    }
}

fn slug(body: &Map<String, Value>) -> Result<&str, ApiError> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match body.get("slug") {
        Some(Value::String(slug)) if slug.len() <= MAX_SLUG && slug.split('-').all(is_word) => Ok(slug),
        _ => Err(ApiError::invalid(
            ["body", "slug"],
            format!("Expected 1 to {MAX_SLUG} characters: letters and digits, with single hyphens between them"),
        )),
    }
}

fn about(body: &Map<String, Value>, old: &str) -> Result<String, ApiError> {
    let mut about: Map<String, Value> = serde_json::from_str(old).unwrap_or_default();
    for (name, max) in ABOUT {
        match body.get(*name) {
            None => {}
            Some(Value::Null) => {
                about.remove(*name);
            }
            Some(Value::String(text)) if text.chars().count() <= *max => {
                // What is shown as a link must not become a script.
                if *name == "link" && !text.is_empty() && !text.starts_with("https://") && !text.starts_with("http://")
                {
                    return Err(ApiError::invalid(["body", name], "Expected a URL starting with https:// or http://"));
                }
                about.insert((*name).to_owned(), json!(text));
            }
            Some(_) => {
                return Err(ApiError::invalid(["body", name], format!("Expected a text of at most {max} characters")));
            }
        }
    }
    Ok(Value::Object(about).to_string())
}

/// The headers of a body, a JSON object in a text. `old` are those that are stored, where they may be kept.
fn given_headers(text: &str, old: &[(String, String)]) -> Result<String, ApiError> {
    let wrong = |rule: String| ApiError::invalid(["body", "headers"], rule);
    if text.chars().count() > MAX_HEADERS {
        return Err(wrong(format!("Expected at most {MAX_HEADERS} characters")));
    }
    let given: Map<String, Value> = match text.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(|_| wrong("Expected a text with a JSON object in it".to_owned()))?,
    };
    let mut kept = Map::new();
    for (name, value) in given {
        let lower = name.to_ascii_lowercase();
        if !headers::is_addable(&lower) {
            let rule = format!(
                "The header {name:?} cannot be added: it is no header's name, or belongs to the connection, the body or Tollgate"
            );
            return Err(wrong(rule));
        }
        let value = match value {
            Value::String(value) if value == MASK => {
                let old = old.iter().find(|(known, _)| *known == lower).map(|(_, value)| value.clone());
                old.ok_or_else(|| {
                    wrong(format!("There is no stored value of {lower} that could be kept: send the value itself"))
                })?
            }
            Value::String(value) => value,
            _ => return Err(wrong(format!("The value of {lower} is no text"))),
        };
        let legal = |byte: u8| (b' '..=b'~').contains(&byte);
        if value.is_empty() || value.trim() != value || !value.bytes().all(legal) {
            return Err(wrong(format!(
                "The value of {lower} is no header's value: visible ASCII characters, not empty, without blanks around them"
            )));
        }
        if kept.insert(lower.clone(), Value::String(value)).is_some() {
            return Err(wrong(format!("The header {lower} is there twice")));
        }
    }
    Ok(Value::Object(kept).to_string())
}

// === impl Row ===

impl Row {
    /// The row with what a body changes in it.
    fn changed(&self, body: &Map<String, Value>, guard: &Guard) -> Result<Self, ApiError> {
        let mut new = self.clone();
        if body.contains_key("name") {
            new.name = name(body)?.to_owned();
        }
        if body.contains_key("slug") {
            new.slug = slug(body)?.to_owned();
        }
        if let Some(base_url) = body.get("base_url") {
            let wrong = |rule: &str| ApiError { code: 1002, ..ApiError::invalid(["body", "base_url"], rule) };
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
            // Whoever changes the host must not get credentials sent there that were meant for another.
            old.retain(|(name, value)| !upstream::is_secret(name, value));
            new.headers =
                Value::Object(old.iter().map(|(name, value)| (name.clone(), json!(value))).collect()).to_string();
        }
        match body.get("headers") {
            None => {}
            Some(Value::Null) => new.headers = "{}".to_owned(),
            Some(Value::String(text)) => new.headers = given_headers(text, &old)?,
            Some(_) => return Err(ApiError::invalid(["body", "headers"], "Expected a text with a JSON object in it")),
        }
        new.enable = switch(body, "enable", self.enable)?;
        new.beta = switch(body, "beta", self.beta)?;
        match body.get("position") {
            None => {}
            Some(Value::Null) => new.position = None,
            Some(value) => match value.as_i64().filter(|position| i32::try_from(*position).is_ok()) {
                Some(position) => new.position = Some(position),
                None => return Err(ApiError::invalid(["body", "position"], "Expected an integer")),
            },
        }
        new.about = about(body, &self.about)?;
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
        ]
    }

    fn show(&self) -> Value {
        let mut masked = Map::new();
        for (name, value) in upstream::headers(&self.headers) {
            let shown = if upstream::is_secret(&name, &value) { MASK.to_owned() } else { value };
            masked.insert(name, Value::String(shown));
        }
        let mut shown = json!({
            "id": self.id,
            "account_id": self.account_id,
            "account_tag": self.account_id,
            "slug": self.slug,
            "name": self.name,
            "base_url": self.base_url,
            "headers": Value::Object(masked).to_string(),
            "enable": self.enable == 1,
            "beta": self.beta == 1,
            "created_at": timestamp::format(self.created_at),
            "modified_at": timestamp::format(self.modified_at),
        });
        if let Some(fields) = shown.as_object_mut() {
            fields.extend(serde_json::from_str::<Map<String, Value>>(&self.about).unwrap_or_default());
            fields.extend(self.position.map(|position| ("position".to_owned(), json!(position))));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::costs;
    use crate::store::sqlite::Sqlite;
    use pollster::block_on;

    fn guard() -> Guard {
        Guard { internal_allowed: false, found: Lookup::Found(vec!["8.8.8.8".parse().unwrap()]) }
    }

    fn by(n: u64) -> By<'static> {
        By { actor: "admin", now_ms: 1_700_000_000_000 + n, entry: id::mint(n, n.into()) }
    }

    fn asked(reply: Result<Reply, ApiError>) -> Value {
        let reply = reply.unwrap_or_else(|error| error.reply());
        let mut body: Value = serde_json::from_str(&reply.body).unwrap();
        body["status"] = json!(reply.status);
        body
    }

    fn make(store: &Sqlite, n: u64, body: &Value) -> Value {
        let id = id::mint(n, u128::from(n) << 64);
        asked(block_on(create(store, "a", body.to_string().as_bytes(), &id, &guard(), &by(n))))
    }

    fn patch(store: &Sqlite, id: &str, body: &Value, guard: &Guard) -> Value {
        asked(block_on(update(store, "a", id, body.to_string().as_bytes(), guard, &by(99))))
    }

    fn valid() -> Value {
        json!({ "name": "Acme", "slug": "acme", "base_url": "https://api.acme.example/v1" })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = valid();
        body[name] = value;
        body
    }

    fn stored_headers(store: &Sqlite) -> Vec<(String, String)> {
        row! {
            struct Headers {
                headers: String,
            }
        }
        let row = block_on(store.row::<Headers>(Statement::new("SELECT headers FROM custom_providers", []))).unwrap();
        upstream::headers(&row.unwrap().headers)
    }

    #[test]
    fn a_provider_is_disabled_until_somebody_enables_it() {
        let store = Sqlite::new();
        let made = make(&store, 1, &valid());
        let result = &made["result"];
        assert_eq!((&made["status"], &result["enable"], &result["beta"]), (&json!(200), &json!(false), &json!(false)));
        assert_eq!((&result["headers"], result["id"].as_str().unwrap().len()), (&json!("{}"), 36));
        let id = result["id"].as_str().unwrap();
        let patched = patch(&store, id, &json!({ "enable": true, "description": "d", "position": 3 }), &guard());
        assert_eq!((&patched["result"]["enable"], &patched["result"]["position"]), (&json!(true), &json!(3)));
        // What is shown can be sent back.
        let again = patch(&store, id, &patched["result"], &guard());
        assert_eq!(again["result"], patched["result"]);
        assert_eq!(asked(block_on(delete(&store, "a", id, &by(3))))["result"], patched["result"]);
        assert_eq!(asked(block_on(get(&store, "a", id)))["errors"][0]["code"], 1004);
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_stored() {
        let store = Sqlite::new();
        for (name, wrong) in [
            ("name", vec![json!(""), json!(5), json!("x".repeat(201))]),
            (
                "slug",
                vec![
                    json!(""),
                    json!("a_b"),
                    json!("-a"),
                    json!("a-"),
                    json!("a--b"),
                    json!("a/b"),
                    json!("ü"),
                    json!("a".repeat(58)),
                    json!(1),
                    json!(null),
                ],
            ),
            (
                "headers",
                vec![
                    json!({}),
                    json!("x"),
                    json!("[]"),
                    json!(r#"{"a":1}"#),
                    json!(r#"{"a":null}"#),
                    json!(r#"{"a":""}"#),
                    json!(r#"{"a":" x"}"#),
                    json!(r#"{"a":"x\r\ny"}"#),
                    json!(r#"{"a":"ü"}"#),
                    json!(r#"{"a b":"x"}"#),
                    json!(r#"{"":"x"}"#),
                    json!(r#"{"a":"x","A":"y"}"#),
                    json!(r#"{"host":"x"}"#),
                    json!(r#"{"Connection":"x"}"#),
                    json!(r#"{"content-length":"1"}"#),
                    json!(r#"{"Content-Type":"x"}"#),
                    json!(r#"{"cf-aig-metadata":"{}"}"#),
                    json!(r#"{"x-forwarded-for":"1.1.1.1"}"#),
                    json!(r#"{"upgrade":"x"}"#),
                    json!(r#"{"authorization":"***"}"#),
                    json!(format!(r#"{{"a":"{}"}}"#, "x".repeat(8_192))),
                ],
            ),
            ("enable", vec![json!("true"), json!(1)]),
            ("beta", vec![json!([])]),
            ("position", vec![json!(1.5), json!("1"), json!(1e18)]),
            ("link", vec![json!("javascript:alert(1)"), json!(1)]),
            ("description", vec![json!("x".repeat(2_001)), json!({})]),
            ("logo", vec![json!("x".repeat(65_537))]),
            ("colour", vec![json!("red")]),
            ("id", vec![json!("x")]),
        ] {
            for value in wrong {
                let refused = make(&store, 1, &with(name, value.clone()));
                let error = &refused["errors"][0];
                assert_eq!((&refused["status"], &error["code"]), (&json!(400), &json!(7001)), "{name} {value}");
                assert_eq!(error["path"], json!(["body", name]), "{value}");
            }
        }
        for url in [
            json!(""),
            json!(5),
            json!(null),
            json!("http://api.acme.example"),
            json!("https://127.0.0.1"),
            json!("https://0x7f.1"),
            json!("https://localhost"),
            json!("https://x.internal"),
            json!(format!("https://a.example/{}", "x".repeat(2_000))),
        ] {
            let error = &make(&store, 1, &with("base_url", url.clone()))["errors"][0];
            assert_eq!((&error["code"], &error["path"]), (&json!(1002), &json!(["body", "base_url"])), "{url}");
        }
        let literal = &make(&store, 1, &with("base_url", json!("http://api.acme.example")))["errors"][0]["message"];
        assert_eq!(literal, "base_url must be a valid HTTPS URL starting with https://");
        for name in ["name", "slug", "base_url"] {
            let mut body = valid();
            body.as_object_mut().unwrap().remove(name);
            assert_eq!(make(&store, 1, &body)["errors"][0]["path"], json!(["body", name]));
        }
        assert_eq!(asked(block_on(list(&store, "a", &Query::default())))["result_info"]["total_count"], 0);
    }

    #[test]
    fn a_slug_is_there_once_in_an_account() {
        let store = Sqlite::new();
        let first = make(&store, 1, &valid());
        for slug in ["acme", "ACME"] {
            let refused = make(&store, 2, &with("slug", json!(slug)));
            assert_eq!((&refused["status"], &refused["errors"][0]["code"]), (&json!(409), &json!(1003)));
            assert_eq!(refused["errors"][0]["path"], json!(["body", "slug"]));
        }
        let second = make(&store, 3, &with("slug", json!("other")));
        let id = second["result"]["id"].as_str().unwrap();
        assert_eq!(patch(&store, id, &json!({ "slug": "acme" }), &guard())["errors"][0]["code"], 1003);
        let own = first["result"]["id"].as_str().unwrap();
        assert_eq!(patch(&store, own, &json!({ "slug": "Acme" }), &guard())["result"]["slug"], "Acme");
        let body = br#"{"name":"n","slug":"acme","base_url":"https://x.example"}"#;
        let elsewhere = block_on(create(&store, "b", body, &id::mint(9, 9), &guard(), &by(4)));
        assert_eq!(elsewhere.unwrap().status, 200);
        // An id of another account is unknown.
        assert_eq!(block_on(get(&store, "b", id)).unwrap_err().code, 1004);
        assert_eq!(block_on(update(&store, "b", id, b"{}", &guard(), &by(5))).unwrap_err().code, 1004);
        assert_eq!(block_on(delete(&store, "b", id, &by(6))).unwrap_err().code, 1004);
    }

    #[test]
    fn secrets_are_masked_and_kept_when_the_mask_comes_back() {
        let store = Sqlite::new();
        let secret = r#"{"Authorization":"Bearer sk-secret","X-Team":"search"}"#;
        let made = make(&store, 1, &with("headers", json!(secret)));
        assert_eq!(made["result"]["headers"], r#"{"authorization":"***","x-team":"search"}"#);
        let id = made["result"]["id"].as_str().unwrap();
        patch(&store, id, &json!({ "headers": r#"{"authorization":"***","x-team":"ads"}"# }), &guard());
        let of =
            |name: &str| stored_headers(&store).into_iter().find(|(known, _)| known == name).map(|(_, value)| value);
        assert_eq!((of("authorization").as_deref(), of("x-team").as_deref()), (Some("Bearer sk-secret"), Some("ads")));
        // The path may change, the host may not: a credential is for the host it was given for.
        patch(&store, id, &json!({ "base_url": "https://api.acme.example:443/v2" }), &guard());
        assert_eq!(of("authorization").as_deref(), Some("Bearer sk-secret"));
        let moved = json!({ "base_url": "https://evil.example", "headers": r#"{"authorization":"***"}"# });
        assert_eq!(patch(&store, id, &moved, &guard())["errors"][0]["path"], json!(["body", "headers"]));
        assert_eq!(of("authorization").as_deref(), Some("Bearer sk-secret"));
        patch(&store, id, &json!({ "base_url": "https://evil.example" }), &guard());
        assert_eq!((of("authorization"), of("x-team").as_deref()), (None, Some("ads")));
        patch(&store, id, &json!({ "headers": null }), &guard());
        assert!(stored_headers(&store).is_empty());
    }

    #[test]
    fn a_name_has_to_lead_to_a_public_address() {
        let store = Sqlite::new();
        let id = make(&store, 1, &valid())["result"]["id"].as_str().unwrap().to_owned();
        let moved = json!({ "base_url": "https://rebound.example" });
        let of = |address: &str| Lookup::Found(vec![address.parse().unwrap()]);
        for found in [
            of("10.0.0.1"),
            of("::ffff:127.0.0.1"),
            of("64:ff9b::a00:1"),
            Lookup::Found(vec![]),
            Lookup::Failed("down".to_owned()),
            Lookup::NotAsked,
        ] {
            let refused = patch(&store, &id, &moved, &Guard { internal_allowed: false, found: found.clone() });
            assert_eq!(refused["errors"][0]["code"], 1002, "{found:?}");
        }
        // What is not about the host needs no resolver.
        let down = Guard { internal_allowed: false, found: Lookup::NotAsked };
        assert_eq!(patch(&store, &id, &json!({ "enable": true }), &down)["status"], 200);
        let allowed = Guard { internal_allowed: true, found: Lookup::NotAsked };
        assert_eq!(patch(&store, &id, &json!({ "base_url": "http://127.0.0.1:9" }), &allowed)["status"], 200);
        for (body, wanted) in [
            (r#"{"base_url":"https://api.acme.example/v1"}"#, Some("api.acme.example")),
            (r#"{"base_url":"https://8.8.8.8"}"#, None),
            (r#"{"base_url":"https://a.internal"}"#, None),
            (r#"{"base_url":"https://a.example?x"}"#, None),
            (r#"{"base_url":5}"#, None),
            ("[]", None),
        ] {
            assert_eq!(name_to_look_up(body.as_bytes()).as_deref(), wanted, "{body}");
        }
    }

    #[test]
    fn lists_are_ordered_filtered_and_counted() {
        let store = Sqlite::new();
        for (n, (name, slug, position)) in
            [("Zeta", "a1", json!(1)), ("alpha", "b2", json!(null)), ("Beta", "c3", json!(0))].into_iter().enumerate()
        {
            make(
                &store,
                n as u64 + 1,
                &json!({ "name": name, "slug": slug, "base_url": "https://x.example", "position": position, "enable": n == 1, "beta": n == 2 }),
            );
        }
        let slugs = |query: &str| {
            let found = asked(block_on(list(&store, "a", &Query::parse(query))));
            let slugs: Vec<String> = found["result"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["slug"].as_str().unwrap().to_owned())
                .collect();
            slugs.join(" ")
        };
        for (query, wanted) in [
            ("", "c3 a1 b2"),
            ("order_by=name ASC", "b2 c3 a1"),
            ("order_by=name+desc", "a1 c3 b2"),
            ("order_by=slug", "a1 b2 c3"),
            ("order_by=created_at DESC", "c3 b2 a1"),
            ("enable=true", "b2"),
            ("beta=true", "c3"),
            ("search=ZET", "a1"),
            ("search=b2", "b2"),
            ("search=%25", ""),
            ("page=2&per_page=2", "b2"),
            ("page=9", ""),
        ] {
            assert_eq!(slugs(query), wanted, "{query}");
        }
        let info = &asked(block_on(list(&store, "a", &Query::parse("per_page=2"))))["result_info"];
        assert_eq!(*info, json!({ "count": 2, "page": 1, "per_page": 2, "total_count": 3, "total_pages": 2 }));
        for wrong in ["order_by=name;drop", "order_by=name sideways", "order_by=", "enable=maybe", "per_page=101"] {
            assert_eq!(asked(block_on(list(&store, "a", &Query::parse(wrong))))["status"], 400, "{wrong}");
        }
    }

    #[test]
    fn prices_go_with_their_provider() {
        let store = Sqlite::new();
        let id = make(&store, 1, &valid())["result"]["id"].as_str().unwrap().to_owned();
        let body = json!({ "account_provider_id": id, "model": "m", "cost_in": 0 }).to_string();
        let made = asked(block_on(costs::create(&store, "a", body.as_bytes(), &id::mint(5, 5), &by(5))));
        assert_eq!(made["result"]["provider"], "custom-acme");
        patch(&store, &id, &json!({ "slug": "renamed" }), &guard());
        let price = made["result"]["id"].as_str().unwrap();
        assert_eq!(asked(block_on(costs::get(&store, "a", price)))["result"]["provider"], "custom-renamed");
        block_on(delete(&store, "a", &id, &by(6))).unwrap();
        assert_eq!(block_on(costs::get(&store, "a", price)).unwrap_err().status, 404);
    }
}
