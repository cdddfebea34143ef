//! `…/logs` as a whole: finding logs and deleting them.

use super::Place;
use super::logs::{COLUMNS, Row};
use crate::audit::{By, Change};
use crate::body_object;
use crate::envelope::{ApiError, Reply};
use crate::filter::{self, Direction, Filters, Selection};
use crate::id;
use crate::page::Page;
use crate::params::{chosen, flag, number};
use crate::query::Query;
use crate::retention::room;
use crate::store::{Bind, Statement, Store, StoreError, row};
use serde::Serialize;
use serde_json::{Value, json};

const MAX_PER_PAGE: u64 = 50;

/// Counting reads every match, so lists count no further than this.
const MAX_COUNT: u64 = 10_000;

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

/// Where a page stands. `total_count` is exact up to [`MAX_COUNT`] (and with `meta_info`), else a lower bound.
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
    /// What to send as `cursor` for the page after this one; null at the end.
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

row! {
    struct Count {
        n: u64,
    }
}

/// The logs that a query's filters and search describe.
pub fn selection(gateway: i64, query: &Query) -> Result<Selection, ApiError> {
    Ok(searched(gateway, &filter::from_query(query)?, query))
}

/// The logs that filters and a query's search describe.
pub fn searched(gateway: i64, filters: &Filters, query: &Query) -> Selection {
    let mut selection = Selection::new(gateway, filters);
    if let Some(text) = query.get("search").map(str::trim).filter(|text| !text.is_empty()) {
        selection.search(text);
    }
    selection
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

pub async fn list(store: &impl Store, gateway: i64, query: &Query) -> Result<Reply, ApiError> {
    let page = Page::parse(query, MAX_PER_PAGE)?;
    let order = chosen(query, "order_by", ORDERS)?;
    let direction = direction(query, Direction::Descending)?;
    let with_meta = flag(query, "meta_info")?.unwrap_or(false);
    let cursor = cursor(query)?;
    if cursor.is_some() && (order != "created_at" || query.get("page").is_some()) {
        let rule = "A cursor goes with order_by=created_at, and without page";
        return Err(ApiError::invalid(["query", "cursor"], rule));
    }
    let mut selection = selection(gateway, query)?;
    let (meta, rows_read) = if with_meta {
        let (rows, read) = store.counted::<Extremes>(selection.gather(EXTREMES, "")).await?;
        (rows.into_iter().next(), Some(read))
    } else {
        (None, None)
    };
    let total = match (&meta, cursor) {
        (Some(meta), _) => Some(meta.n),
        (None, Some(_)) => None,
        (None, None) => {
            let some = selection.gather("1", &format!("LIMIT {}", MAX_COUNT + 1));
            let count = Statement { sql: format!("SELECT count(*) AS n FROM ({})", some.sql).into(), ..some };
            Some(store.row::<Count>(count).await?.map_or(0, |count| count.n))
        }
    };
    if let Some(cursor) = cursor {
        selection.beyond(cursor, direction);
    }
    // Ties are broken by time and id, so that no log is on two pages or on none.
    let order = match order {
        "created_at" => selection.in_time(direction),
        order => format!("logs.{order} {}, {}", direction.sql(), selection.in_time(Direction::Descending)),
    };
    let limit = selection.bind(page.limit());
    let offset = selection.bind(page.offset());
    let rows = selection.select(COLUMNS, &format!("ORDER BY {order} LIMIT {limit} OFFSET {offset}"));
    let rows: Vec<Row> = store.rows(rows).await?;
    let in_time = query.get("order_by").is_none_or(|order| order == "created_at");
    let full = rows.len() as u64 == page.per_page;
    let capped = meta.is_none() && total.is_some_and(|total| total > MAX_COUNT);
    let info = Info {
        count: rows.len() as u64,
        per_page: page.per_page,
        page: cursor.is_none().then_some(page.page),
        total_count: total.map(|total| if capped { MAX_COUNT } else { total }),
        total_count_relation: total.map(|_| if capped { "gte" } else { "eq" }),
        cursor: in_time.then(|| rows.last().filter(|_| full).map(|row| row.id.clone())),
        meta,
        rows_read,
    };
    let shown: Vec<Value> = rows.iter().map(|row| Value::Object(row.show())).collect();
    Ok(Reply::list(shown, info))
}

/// What a deletion may be asked with. Anything else is refused: a misspelt filter must not mean "all of them".
const DELETE_PARAMETERS: &[&str] = &["limit", "order_by", "order_by_direction", "direction", "search", "feedback"];

/// Deletes the logs that the filters describe, the oldest first unless the caller says otherwise.
pub async fn delete(
    store: &impl Store,
    place: &Place<'_>,
    query: &Query,
    body: &[u8],
    by: &By<'_>,
) -> Result<Reply, ApiError> {
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
    let mut selection = selection(place.key, query)?;
    let order = match order {
        "created_at" => selection.in_time(direction),
        order => format!("logs.{order} {}, {}", direction.sql(), selection.in_time(Direction::Ascending)),
    };
    let limit = selection.bind(limit as i64);
    let chosen = selection.select("logs.id AS id", &format!("ORDER BY {order} LIMIT {limit}"));
    let ids = store.ids(chosen).await?;
    let mut fields: Vec<&str> = query.iter().map(|(name, _)| name).collect();
    fields.dedup();
    let row = by.row(&Change {
        action: "logs.delete",
        account: place.account,
        gateway: Some(place.gateway),
        target: place.gateway,
        fields,
    });
    let deleted = remove(store, &ids, Some(row)).await?;
    Ok(Reply::json(200, &json!({ "success": true, "errors": [], "messages": [], "result": { "deleted": deleted } })))
}

/// Removes logs with all that belongs to them, in one transaction. Returns how many logs were there.
pub async fn remove(store: &impl Store, ids: &[String], audit: Option<Statement>) -> Result<u64, StoreError> {
    removed(store, ids, None, audit).await
}

/// [`remove`] by a run of retention that began at a certain time.
pub async fn remove_in_run(store: &impl Store, ids: &[String], run: u64) -> Result<u64, StoreError> {
    removed(store, ids, Some(run), None).await
}

async fn removed(
    store: &impl Store,
    ids: &[String],
    run: Option<u64>,
    audit: Option<Statement>,
) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let ids = Value::from(ids).to_string();
    let released = room::release(&ids, run);
    let objects = body_object::removed(&ids);
    let statements = [
        "DELETE FROM log_bodies WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM log_metadata WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM log_feedback WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM feedback_history WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM pending_feedback WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM verdicts WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM logs WHERE id IN (SELECT value FROM json_each(?1))",
    ];
    let statements = statements.map(|sql| Statement::new(sql, [Bind::from(ids.as_str())]));
    let last = statements.len() + 1;
    let changed = store.batch([released, objects].into_iter().chain(statements).chain(audit).collect()).await?;
    Ok(changed.get(last).copied().unwrap_or(0))
}
