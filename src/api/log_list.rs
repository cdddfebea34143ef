//! `…/logs` as a whole: finding logs and deleting them.

use crate::api::Place;
use crate::api::effect::{Effect, Handled};
use crate::base::id;
use crate::base::json::json;
use crate::db::audit::{Actor, Change};
use crate::db::store::{Store, StoreError, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::page::Page;
use crate::http::params::{chosen, flag, number};
use crate::http::query::Query;
use crate::logs::filter::search;
use crate::logs::filter::search::searched_by;
use crate::logs::filter::{self, Direction, Filters, Selection};
use crate::logs::removal::remove;
use crate::logs::{page, selection};
use serde::Serialize;
use serde_json::Value;

const MAX_PER_PAGE: u64 = 50;

/// The most that `examine` may say.
const MAX_EXAMINED: u64 = 1_000_000;

const MAX_DELETED: u64 = 10_000;

const ORDERS: &[&str] = &["created_at", "provider", "model", "model_type", "success", "cached"];

const DELETE_ORDERS: &[&str] = &[
    "created_at",
    "provider",
    "model",
    "model_type",
    "success",
    "cached",
    "cost",
    "tokens_in",
    "tokens_out",
    "duration",
    "feedback",
];

/// Where a page stands. `total_count` is a lower bound where `total_count_relation` says so.
#[derive(Serialize)]
struct Info {
    count: u64,
    per_page: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count_relation: Option<&'static str>,
    /// What to send as `cursor` for what comes after this page; null at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Option<String>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    meta: Option<Extremes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_read: Option<u64>,
}

row! {
    /// What `meta_info` adds.
    #[derive(Debug, Serialize)]
    struct Extremes {
        #[serde(skip_serializing)]
        n: u64,
        min_cost: Option<f64>,
        max_cost: Option<f64>,
        min_duration: Option<f64>,
        max_duration: Option<f64>,
        min_tokens_in: Option<f64>,
        max_tokens_in: Option<f64>,
        min_tokens_out: Option<f64>,
        max_tokens_out: Option<f64>,
        min_total_tokens: Option<f64>,
        max_total_tokens: Option<f64>,
    }
}

const EXTREMES: &str = "count(*) AS n, min(logs.cost) AS min_cost, max(logs.cost) AS max_cost, \
     min(logs.duration) AS min_duration, max(logs.duration) AS max_duration, \
     min(logs.tokens_in) AS min_tokens_in, max(logs.tokens_in) AS max_tokens_in, \
     min(logs.tokens_out) AS min_tokens_out, max(logs.tokens_out) AS max_tokens_out, \
     min(logs.total_tokens) AS min_total_tokens, max(logs.total_tokens) AS max_total_tokens";

/// Of several filters that a list can be read by, the place of the one with the fewest logs.
async fn rarest(store: &impl Store, gateway: i64, filters: &Filters) -> Result<Option<usize>, StoreError> {
    row! {
        struct Counts {
            counts: String,
        }
    }
    let candidates = filter::candidates(filters);
    if candidates.len() < 2 {
        return Ok(None);
    }
    let counts = store.row::<Counts>(filter::probe(gateway, filters, &candidates)).await?;
    let counts: Vec<u64> = counts.and_then(|row| serde_json::from_str(&row.counts).ok()).unwrap_or_default();
    let least = candidates.into_iter().zip(counts).reduce(|least, next| if next.1 < least.1 { next } else { least });
    Ok(least.map(|(at, _)| at))
}

/// `order_by_direction`, or its older name `direction`. The original leaves the default open; the latest requests are
/// what people look for.
pub fn direction(query: &Query, default: Direction) -> Result<Direction, ApiError> {
    let name = if query.get("order_by_direction").is_some() { "order_by_direction" } else { "direction" };
    match query.get(name) {
        None => Ok(default),
        Some(_) => match chosen(query, name, &["asc", "desc"])? {
            "asc" => Ok(Direction::Ascending),
            _ => Ok(Direction::Descending),
        },
    }
}

/// The last log that a reader of pages has seen.
pub fn cursor(query: &Query) -> Result<Option<&str>, ApiError> {
    match query.get("cursor").filter(|cursor| !cursor.is_empty()) {
        Some(cursor) if id::minted_at(cursor).is_none() => {
            Err(ApiError::invalid(["query", "cursor"], "Expected the cursor of a page, or the id of the last log seen"))
        }
        cursor => Ok(cursor),
    }
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/logs`. `with_text` is false for callers who may not see what was asked and
/// answered.
pub async fn list(store: &impl Store, gateway: i64, query: &Query, with_text: bool) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let order = chosen(query, "order_by", ORDERS)?;
    let direction = direction(query, Direction::Descending)?;
    let with_meta = flag(query, "meta_info")?.unwrap_or(false);
    let cursor = cursor(query)?;
    if cursor.is_some() && (order != "created_at" || query.get("page").is_some()) {
        let rule = "A cursor goes with order_by=created_at, and without page";
        return Err(ApiError::invalid(["query", "cursor"], rule));
    }
    let examine = number(query, "examine", 1_000, MAX_EXAMINED)?;
    if examine.is_some() && (order != "created_at" || query.get("page").is_some()) {
        let rule = "A limit of what is looked at goes with order_by=created_at, and with cursor rather than page";
        return Err(ApiError::invalid(["query", "examine"], rule));
    }
    let filters = filter::from_query(query)?;
    let rarest_first = rarest(store, gateway, &filters).await?;
    let mut selection = searched_by(Selection::led_by(gateway, &filters, rarest_first), query);
    let (meta, rows_read) = if with_meta {
        let (rows, read) = store.counted::<Extremes>(selection.gather(EXTREMES, "")).await?;
        (rows.into_iter().next(), Some(read))
    } else {
        (None, None)
    };
    let looks = selection.looks_through();
    let mut total = None;
    if meta.is_none() && cursor.is_none() && !looks {
        let all = (!selection.is_narrowed()).then_some(gateway);
        total = Some(page::count(store, &selection, all).await?);
    }
    if let Some(cursor) = cursor {
        selection.beyond(cursor, direction);
    }
    let (rows, ended_at) = if looks && order == "created_at" {
        let found = page::look(store, &selection, direction, page, examine).await?;
        total = cursor.is_none().then_some((found.total, found.capped));
        (found.rows, found.ended_at)
    } else {
        if looks && meta.is_none() {
            total = Some(page::count_some(store, &selection).await?);
        }
        let place = [page.per_page, page.offset() as u64];
        (page::read(store, selection, order, direction, place).await?, None)
    };
    if let Some(meta) = &meta {
        total = Some((meta.n, false));
    }
    let in_time = query.get("order_by").is_none_or(|order| order == "created_at");
    let full = rows.len() as u64 == page.per_page;
    let next = rows.last().filter(|_| full).map(|row| row.id.clone()).or(ended_at);
    // Those that are shown are there, however few were counted.
    let shown_until = if rows.is_empty() { 0 } else { page.offset() as u64 + rows.len() as u64 };
    let info = Info {
        count: rows.len() as u64,
        per_page: page.per_page,
        page: cursor.is_none().then_some(page.page),
        total_count: total.map(|(total, _)| total.max(shown_until)),
        total_count_relation: total.map(|(_, capped)| if capped { "gte" } else { "eq" }),
        cursor: in_time.then_some(next),
        meta,
        rows_read,
    };
    let shown: Vec<Value> = rows.iter().map(|row| Value::Object(row.show(with_text))).collect();
    Ok(Reply::list(shown, info))
}

/// What a deletion may be asked with. Anything else is refused: a misspelt filter must not mean "all of them".
const DELETE_PARAMETERS: &[&str] = &["limit", "order_by", "order_by_direction", "direction", "search", "feedback"];

/// `DELETE /accounts/{account}/ai-gateway/gateways/{gateway}/logs`
///
/// Deletes the logs that the filters describe, the oldest first unless the caller says otherwise.
pub async fn delete(store: &impl Store, place: &Place<'_>, query: &Query, body: &[u8], actor: &Actor<'_>) -> Handled {
    Handled::always([Effect::ClearObjects], async {
        if !body.is_empty() {
            return Err(ApiError::invalid(["body"], "Expected no body: what to delete is said in the query"));
        }
        for (name, value) in query.iter() {
            if !DELETE_PARAMETERS.contains(&name) && !filter::is_parameter(name) {
                let rule = format!("There is no such parameter. Expected filters, {}", DELETE_PARAMETERS.join(", "));
                return Err(ApiError::invalid(["query", name], rule));
            }
            if value.is_empty() {
                return Err(ApiError::invalid(
                    ["query", name],
                    "Expected a value; leave the parameter out to delete regardless of it",
                ));
            }
        }
        let limit = number(query, "limit", 1, MAX_DELETED)?.unwrap_or(MAX_DELETED);
        let order = chosen(query, "order_by", DELETE_ORDERS)?;
        let direction = direction(query, Direction::Ascending)?;
        let selection = search::selection(place.key, query)?;
        let ids = selection::choose(store, &selection, order, direction, limit as usize).await?;
        let mut fields: Vec<&str> = query.iter().map(|(name, _)| name).collect();
        fields.dedup();
        let row = actor.row(&Change {
            action: "logs.delete",
            account: place.account,
            gateway: Some(place.gateway),
            target: place.gateway,
            fields,
        });
        let deleted = remove(store, &ids, Some(row)).await?;
        Ok(Reply::json(
            200,
            &json!({ "success": true, "errors": [], "messages": [], "result": { "deleted": deleted } }),
        ))
    })
    .await
}
