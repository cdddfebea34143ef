//! Which logs a deletion means, without asking the database for more than it can answer at once.

use crate::base::sorted;
use crate::db::store::{Row, Store, StoreError};
use crate::http::envelope::ApiError;
use crate::logs::filter::{Ahead, Direction, Next, Selection};
use serde_json::Value;
use std::cmp::Ordering;

/// D1 allows a thousand statements in an invocation; a window takes two.
const MAX_WINDOWS: u32 = 450;

/// The ids of the first `limit` logs of a selection in the order of a field, and of time for logs that have the same value.
/// `by` may be `created_at` itself.
pub async fn choose(
    store: &impl Store,
    selection: &Selection,
    by: &str,
    direction: Direction,
    limit: usize,
) -> Result<Vec<String>, ApiError> {
    let in_time = by == "created_at";
    let walk = if in_time { direction } else { Direction::Ascending };
    let mut chosen: Vec<Row> = Vec::new();
    let mut ahead = Ahead::default();
    let mut behind: Option<String> = None;
    for _ in 0..MAX_WINDOWS {
        let mut rest = selection.clone();
        if let Some(last) = &behind {
            rest.beyond(last, walk);
        }
        ahead.bound(store, &mut rest, walk).await?;
        let order = if in_time { String::new() } else { format!("logs.{by} {}, ", direction.sql()) };
        let order = format!("ORDER BY {order}{} LIMIT {limit}", rest.in_time(walk));
        let columns = if in_time { "logs.id AS id".to_owned() } else { format!("logs.id AS id, logs.{by} AS value") };
        chosen.extend(store.select(rest.select(&columns, &order)).await?.0);
        if !in_time {
            // Windows follow in time, and so do logs that have the same value.
            sorted::by(&mut chosen, |left, right| compared(left, right, direction));
        }
        chosen.truncate(limit);
        match ahead.next(false) {
            Next::Behind(last) if !in_time || chosen.len() < limit => behind = Some(last),
            _ => return Ok(ids(chosen)?),
        }
    }
    if in_time && !chosen.is_empty() {
        return Ok(ids(chosen)?);
    }
    let rule = "There are too many logs to look through for these. Say from when to when, with start_date and end_date";
    Err(ApiError::invalid(["query"], rule))
}

fn ids(rows: Vec<Row>) -> Result<Vec<String>, StoreError> {
    rows.into_iter().map(|mut row| crate::db::store::column(&mut row, "id")).collect()
}

/// As SQLite orders values of a column: null, numbers, texts.
fn compared(left: &Row, right: &Row, direction: Direction) -> Ordering {
    let [left, right] = [left, right].map(|row| row.get("value").unwrap_or(&Value::Null));
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::String(_) => 2,
        _ => 1,
    };
    let order = kind(left).cmp(&kind(right)).then_with(|| match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
        _ => left.as_str().cmp(&right.as_str()),
    });
    if direction == Direction::Ascending { order } else { order.reverse() }
}
