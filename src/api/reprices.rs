//! `…/logs/reprice`: today's prices for logs of the past.

use super::{Place, object, only};
use crate::api::effect::{Effect, Handled};
use crate::base::json::json;
use crate::base::timestamp;
use crate::config::bounds::Most;
use crate::db::audit::Actor;
use crate::db::store::{Bind, Statement, Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::query::Query;
use crate::logs::filter;
use crate::logs::reprice;
use serde::Serialize;
use serde_json::{Map, Value};

/// How long a finished job can be looked at, in milliseconds.
const KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

const COLUMNS: &str =
    "id, dry_run, query, processed, error, logs_seen, logs_changed, cost_before, cost_after, created_at, modified_at";

row! {
    struct RepriceRow {
        id: String,
        dry_run: u8,
        query: String,
        processed: u8,
        error: Option<String>,
        logs_seen: u64,
        logs_changed: u64,
        cost_before: f64,
        cost_after: f64,
        created_at: u64,
        modified_at: u64,
    }
}

/// A job as answers show it.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    gateway_id: &'a str,
    dry_run: bool,
    selection: Value,
    processed: bool,
    error: Option<&'a str>,
    logs_seen: u64,
    logs_changed: u64,
    cost_before: f64,
    cost_after: f64,
    created_at: String,
    modified_at: String,
}

/// `POST /accounts/{account}/ai-gateway/gateways/{gateway}/logs/reprice`
///
/// Makes a job. It is carried out behind the answer.
pub async fn create(
    store: &impl Store,
    place: &Place<'_>,
    body: &[u8],
    id: &str,
    actor: &Actor<'_>,
    bound: &Most,
) -> Handled {
    Handled::always([Effect::Reprice(place.own())], async {
    let body = object(body)?;
    let query = selection(&body)?;
    let dry_run = match body.get("dry_run") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => *dry_run,
        Some(_) => return Err(ApiError::invalid(["body", "dry_run"], "Expected true or false")),
    };
    reprice::selection(place.key, &reprice::query(&query)).map_err(in_body)?;
    let insert = Statement::new(
        "INSERT INTO reprices (id, gateway, query, dry_run, processed, logs_seen, logs_changed, cost_before, cost_after, \
         lease_until, created_at, modified_at) SELECT ?1, ?2, ?3, ?4, 0, 0, 0, 0, 0, 0, ?5, ?5 \
         WHERE (SELECT count(*) FROM reprices WHERE gateway = ?2) < ?6",
        [id.into(), place.key.into(), query.into(), dry_run.into(), Bind::Int(actor.now_ms as i64), bound.bind()],
    );
    let old = Statement::new(
        "DELETE FROM reprices WHERE gateway = ?1 AND processed = 1 AND created_at < ?2",
        [place.key.into(), Bind::Int(actor.now_ms.saturating_sub(KEPT_MS) as i64)],
    );
    let changed = store.batch(vec![old, insert, actor.row(&place.change("logs.reprice", id, &body))]).await?;
    if changed.get(1) != Some(&1) {
        return Err(bound.reached());
    }
    get(store, place, id).await.reply
    })
    .await
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs/reprice/{id}`
pub async fn get(store: &impl Store, place: &Place<'_>, id: &str) -> Handled {
    Handled::always([Effect::Reprice(place.own())], async {
        let row = Statement::new(
            format!("SELECT {COLUMNS} FROM reprices WHERE id = ?1 AND gateway = ?2"),
            [id.into(), place.key.into()],
        );
        let row = store.row::<RepriceRow>(row).await?.ok_or_else(ApiError::not_found)?;
        Ok(Reply::result(row.show(place.gateway)))
    })
    .await
}

/// Which logs a body means, in the terms of the list of logs: names and values in turn, as JSON.
fn selection(body: &Map<String, Value>) -> Result<String, ApiError> {
    let mut words = Vec::new();
    for (name, value) in body {
        if name == "dry_run" || value.is_null() {
            continue;
        }
        if name != "search" && !filter::is_parameter(name) {
            only(body, &["dry_run", "search", "filters", "start_date", "end_date"], &["body"])?;
        }
        let text = match value {
            Value::String(text) if text.is_empty() => {
                return Err(ApiError::invalid(["body", name], "Expected a value, or no such field"));
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        words.extend([Value::from(name.as_str()), Value::from(text)]);
    }
    Ok(Value::from(words).to_string())
}

/// A fault in a filter, which was read as a query parameter and is part of the body.
fn in_body(error: ApiError) -> ApiError {
    error.with(|error| {
        if let Some(first) = error.path.first_mut().filter(|first| *first == "query") {
            "body".clone_into(first);
        }
    })
}

// === impl Row ===

impl RepriceRow {
    fn show<'a>(&'a self, gateway: &'a str) -> Shown<'a> {
        Shown {
            id: &self.id,
            gateway_id: gateway,
            dry_run: self.dry_run == 1,
            selection: shown(&reprice::query(&self.query)),
            processed: self.processed == 1,
            error: self.error.as_deref(),
            logs_seen: self.logs_seen,
            logs_changed: self.logs_changed,
            cost_before: self.cost_before,
            cost_after: self.cost_after,
            created_at: timestamp::format(self.created_at),
            modified_at: timestamp::format(self.modified_at),
        }
    }
}

fn shown(query: &Query) -> Value {
    Value::Object(crate::base::object::of(query.iter().map(|(name, value)| (name.to_owned(), json!(value)))))
}
