//! `…/datasets`: named sets of filters. They are evaluated live: a dataset has the logs that match when it is used.

use super::{Place, object};
use crate::base::json::json;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::params::flag;
use crate::http::query::Query;
use crate::logs::filter::{self, Filters};
use serde::Serialize;
use serde_json::{Map, Value};

const MAX_PER_PAGE: u64 = 100;

const COLUMNS: &str = "id, name, enable, filters, created_at, modified_at";

row! {
    #[derive(Debug)]
    pub struct Dataset {
        pub id: String,
        pub name: String,
        enable: u8,
        filters: String,
        created_at: u64,
        modified_at: u64,
    }
}

/// The fields that a caller sets.
struct Draft {
    name: String,
    enable: bool,
    filters: Value,
}

/// A dataset as answers show it, and as evaluations keep it.
#[derive(Serialize)]
pub struct Shown<'a> {
    id: &'a str,
    gateway_id: &'a str,
    account_id: &'a str,
    account_tag: &'a str,
    name: &'a str,
    enable: bool,
    filters: Value,
    created_at: String,
    modified_at: String,
}

pub async fn find(store: &impl Store, gateway: i64, id: &str) -> Result<Option<Dataset>, StoreError> {
    store
        .row(Statement::new(
            format!("SELECT {COLUMNS} FROM datasets WHERE id = ?1 AND gateway = ?2"),
            [id.into(), gateway.into()],
        ))
        .await
}

async fn existing(store: &impl Store, place: &Place<'_>, id: &str) -> Result<Dataset, ApiError> {
    find(store, place.key, id).await?.ok_or_else(ApiError::not_found)
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/datasets`
pub async fn list(store: &impl Store, place: &Place<'_>, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let matching = "datasets WHERE gateway = ?1 AND (?2 IS NULL OR name = ?2) AND (?3 IS NULL OR enable = ?3) \
         AND (?4 IS NULL OR instr(lower(id), ?4) > 0 OR instr(lower(name), ?4) > 0 OR instr(lower(filters), ?4) > 0)";
    let binds = vec![
        place.key.into(),
        query.get("name").into(),
        flag(query, "enable")?.into(),
        query.get("search").map(str::to_ascii_lowercase).into(),
    ];
    let (rows, info) = page.read::<Dataset>(store, COLUMNS, matching, "created_at DESC, id DESC", binds).await?;
    let shown: Vec<Shown<'_>> = rows.iter().map(|row| row.show(place)).collect();
    Ok(Reply::list(shown, info))
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/datasets/{id}`
pub async fn get(store: &impl Store, place: &Place<'_>, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::result(existing(store, place, id).await?.show(place)))
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/datasets`
pub async fn create(
    store: &impl Store,
    place: &Place<'_>,
    body: &[u8],
    id: &str,
    actor: &Actor<'_>,
    bound: &Most,
) -> Result<Reply, ApiError> {
    let body = object(body)?;
    let draft = Draft::parse(&body, None)?;
    let insert = Statement::new(
        "INSERT INTO datasets (id, gateway, name, enable, filters, created_at, modified_at) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?6 WHERE (SELECT count(*) FROM datasets WHERE gateway = ?2) < ?7 \
         ON CONFLICT (gateway, name) DO NOTHING",
        [
            id.into(),
            place.key.into(),
            draft.name.as_str().into(),
            draft.enable.into(),
            draft.filters.to_string().into(),
            Bind::Int(actor.now_ms as i64),
            bound.bind(),
        ],
    );
    let row = actor.row(&place.change("dataset.create", id, &body));
    if store.batch(vec![insert, row]).await?.first() != Some(&1) {
        let of_that_name = "SELECT id FROM datasets WHERE gateway = ?1 AND name = ?2";
        let found = store.ids(Statement::new(of_that_name, [place.key.into(), draft.name.as_str().into()])).await?;
        return Err(if found.is_empty() { bound.reached() } else { taken(&draft.name) });
    }
    get(store, place, id).await
}

/// `PUT /accounts/{account}/ai-gateway/gateways/{gateway}/datasets/{id}`
pub async fn update(
    store: &impl Store,
    place: &Place<'_>,
    id: &str,
    body: &[u8],
    actor: &Actor<'_>,
) -> Result<Reply, ApiError> {
    let current = existing(store, place, id).await?;
    let body = object(body)?;
    let draft = Draft::parse(&body, Some(&current))?;
    // A name of another dataset leaves everything as it is.
    let update = Statement::new(
        "UPDATE OR IGNORE datasets SET name = ?3, enable = ?4, filters = ?5, modified_at = ?6 WHERE id = ?1 AND gateway = ?2",
        [
            id.into(),
            place.key.into(),
            draft.name.as_str().into(),
            draft.enable.into(),
            draft.filters.to_string().into(),
            Bind::Int(actor.now_ms as i64),
        ],
    );
    let row = actor.row(&place.change("dataset.update", id, &body));
    if store.batch(vec![update, row]).await?.first() != Some(&1) {
        return Err(taken(&draft.name));
    }
    get(store, place, id).await
}

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/datasets/{id}`
pub async fn delete(store: &impl Store, place: &Place<'_>, id: &str, actor: &Actor<'_>) -> Result<Reply, ApiError> {
    let dataset = existing(store, place, id).await?;
    let delete = Statement::new("DELETE FROM datasets WHERE id = ?1 AND gateway = ?2", [id.into(), place.key.into()]);
    store.batch(vec![delete, actor.row(&place.change("dataset.delete", id, &Map::new()))]).await?;
    Ok(Reply::result(dataset.show(place)))
}

fn taken(name: &str) -> ApiError {
    ApiError::invalid(["body", "name"], format!("A dataset with the name '{name}' already exists"))
}

// === impl Dataset ===

impl Dataset {
    pub fn is_enabled(&self) -> bool {
        self.enable == 1
    }

    /// How many filters it has.
    pub fn filters(&self) -> usize {
        let filters = serde_json::from_str(&self.filters).unwrap_or(Value::Null);
        filter::from_json(&filters, &[]).map_or(0, |filters| filters.count())
    }

    pub fn show<'a>(&'a self, place: &Place<'a>) -> Shown<'a> {
        Shown {
            id: &self.id,
            gateway_id: place.gateway,
            account_id: place.account,
            account_tag: place.account,
            name: &self.name,
            enable: self.is_enabled(),
            filters: serde_json::from_str(&self.filters).unwrap_or_default(),
            created_at: timestamp::format(self.created_at),
            modified_at: timestamp::format(self.modified_at),
        }
    }
}

// === impl Draft ===

impl Draft {
    /// Fields that are not given keep their value.
    fn parse(body: &Map<String, Value>, current: Option<&Dataset>) -> Result<Self, ApiError> {
        let name = match (body.get("name"), current) {
            (None, Some(current)) => current.name.clone(),
            _ => super::name(body)?.to_owned(),
        };
        let enable = match (body.get("enable"), current) {
            (None, Some(current)) => current.is_enabled(),
            (None, None) => true,
            (Some(Value::Bool(enable)), _) => *enable,
            _ => return Err(ApiError::invalid(["body", "enable"], "Expected true or false")),
        };
        let filters = match (body.get("filters"), current) {
            (None, Some(current)) => serde_json::from_str(&current.filters).unwrap_or_default(),
            (None, None) => {
                return Err(ApiError::invalid(["body", "filters"], "Expected an array of filters; [] means every log"));
            }
            (Some(filters), _) => {
                let _: Filters = filter::from_json(filters, &["body", "filters"])?;
                match arrays(filters) {
                    one @ Value::Object(_) => Value::Array(vec![one]),
                    list => list,
                }
            }
        };
        Ok(Self { name, enable, filters })
    }
}

/// The filters with every `value` as an array, which clients of the API rely on, and without what means nothing.
fn arrays(filters: &Value) -> Value {
    match filters {
        Value::Array(list) => list.iter().map(arrays).collect(),
        Value::Object(filter) => match filter.get("or") {
            Some(alternatives) => json!({ "or": arrays(alternatives) }),
            None => {
                let operator = filter.get("operator").and_then(Value::as_str).unwrap_or("");
                let value = match filter.get("value") {
                    _ if matches!(operator, "present" | "absent") => json!([]),
                    Some(Value::Array(values)) => json!(values),
                    Some(value) => json!([value]),
                    None => json!([]),
                };
                json!({ "key": filter.get("key"), "operator": operator, "value": value })
            }
        },
        _ => json!([]),
    }
}
