//! `…/gateways/{id}/analytics`: what a gateway's requests add up to over time, for charts.

use crate::base::json::json;
use crate::base::object;
use crate::base::sorted;
use crate::base::timestamp;
use crate::db::store::{Bind, Row, Statement, Store};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::chosen;
use crate::http::query::Query;
use crate::logs::rollup::MINUTE_MS;
use crate::logs::rollup::by_metadata::{self, Asked};
use crate::logs::rollup::figures::{Figures, Sum, gathered};
use crate::logs::rollup::merge::{self, DAY_MS, DAYS_MS, HOUR_MS, HOURS_MS, MINUTES_MS};
use serde_json::{Map, Value};

const GRANULARITIES: &[&str] = &["hour", "minute", "day"];

const GROUPS: &[&str] = &["none", "provider", "model", "provider,model"];

/// Groups by a key of metadata are named by it, behind this.
const METADATA: &str = "metadata.";

const COMPARISONS: &[&str] = &["none", "previous"];

/// What requests are told apart by.
#[derive(Clone, Copy)]
enum GroupBy<'q> {
    /// One of [`GROUPS`].
    Columns(&'static str),
    /// A key of metadata.
    Metadata(&'q str),
}

/// A range of time that consists of whole minutes, hours or days.
struct Range {
    start: u64,
    end: u64,
    span: u64,
    /// Figures from before are not there in spans of this length.
    kept_from: u64,
}

/// A row of an answer: the time of its bucket, what its group is called, and its figures.
struct Bucket {
    time: u64,
    names: Map<String, Value>,
    figures: Figures,
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/analytics`
///
/// What transactions have left is added up first, so that the answer is of now.
pub async fn get(store: &impl Store, gateway: i64, query: &Query, now_ms: u64) -> Result<Reply, ApiError> {
    let granularity = chosen(query, "granularity", GRANULARITIES)?;
    let group_by = GroupBy::parse(query)?;
    let compares = chosen(query, "compare", COMPARISONS)? == "previous";
    let range = Range::parse(query, granularity, now_ms)?;
    merge::merge_tallies(store, now_ms).await?;
    let most = store.pace().answer;
    let mut examined = None;
    let buckets: Vec<Bucket> = match group_by {
        GroupBy::Columns(group_by) => {
            let (rows, _) = store.select(statement(gateway, query, &range, group_by, most)).await?;
            rows.into_iter().map(|row| Bucket::of_row(row, group_by)).collect()
        }
        GroupBy::Metadata(key) => {
            let (providers, models) = (all(query, "provider"), all(query, "model"));
            let Range { start, end, span, .. } = range;
            let asked = Asked { gateway, key, start, end, span, providers, models, most };
            let found = by_metadata::read(store, &asked).await?;
            examined = Some(found.examined);
            found.buckets.into_iter().map(Bucket::of_value).collect()
        }
    };
    if buckets.len() > most {
        let rule = format!(
            "The answer would have more than {most} rows. Ask for a shorter range, a coarser granularity, fewer groups, or \
             one provider or model"
        );
        return Err(ApiError::invalid(["query", "granularity"], rule));
    }
    let previous = match range.previous().filter(|_| compares) {
        None => Value::Null,
        Some(before) => {
            let whole = Range { span: before.end, ..before };
            let (rows, _) = store.select(statement(gateway, query, &whole, "none", most)).await?;
            let mut totals = Figures::default();
            rows.iter().for_each(|row| totals.add_all(&Figures::read(row)));
            before.shown(json!({ "totals": totals.show() }))
        }
    };
    let mut totals = Figures::default();
    buckets.iter().for_each(|bucket| totals.add_all(&bucket.figures));
    let name = match group_by {
        GroupBy::Columns(name) => name.to_owned(),
        GroupBy::Metadata(key) => format!("{METADATA}{key}"),
    };
    let is_grouped = name != "none";
    let mut shown = json!({
        "granularity": granularity,
        "group_by": name,
        "groups": is_grouped.then(|| groups(&buckets)),
        "buckets": buckets.into_iter().map(Bucket::show).collect::<Vec<_>>(),
        "totals": totals.show(),
    });
    if let Some(shown) = shown.as_object_mut() {
        if compares {
            shown.insert("previous".to_owned(), previous);
        }
        if let Some(examined) = examined {
            shown.insert("examined".to_owned(), examined.into());
            shown.insert("complete".to_owned(), (examined < by_metadata::EXAMINED).into());
        }
    }
    Ok(Reply::result(range.shown(shown)))
}

/// The figures of each group over the whole range, those with the most requests first.
fn groups(buckets: &[Bucket]) -> Vec<Value> {
    let mut groups: Vec<(&Map<String, Value>, Figures)> = Vec::new();
    for bucket in buckets {
        match groups.iter_mut().find(|(names, _)| **names == bucket.names) {
            Some((_, figures)) => figures.add_all(&bucket.figures),
            None => groups.push((&bucket.names, bucket.figures.clone())),
        }
    }
    sorted::by(&mut groups, |(_, one), (_, other)| other.get(Sum::Attempts).total_cmp(&one.get(Sum::Attempts)));
    let show = |(names, figures): (&Map<String, Value>, Figures)| {
        Value::Object(object::of(names.clone().into_iter().chain(figures.show())))
    };
    groups.into_iter().map(show).collect()
}

fn statement(gateway: i64, query: &Query, range: &Range, group_by: &str, most: usize) -> Statement {
    let provider = if group_by.contains("provider") { "provider" } else { "NULL" };
    let model = if group_by.contains("model") { "model" } else { "NULL" };
    let (span, gathered) = (range.span, gathered());
    let limit = most + 1;
    let sql = format!(
        "SELECT time - time % {span} AS time, {provider} AS provider, {model} AS model, {gathered} FROM rollup \
         WHERE gateway = ?1 AND time >= ?2 AND time < ?3 \
           AND (?4 IS NULL OR provider IN (SELECT value FROM json_each(?4))) \
           AND (?5 IS NULL OR model IN (SELECT value FROM json_each(?5))) \
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT {limit}"
    );
    let at = |ms: u64| Bind::Int(ms as i64);
    Statement::new(sql, [gateway.into(), at(range.start), at(range.end), all(query, "provider"), all(query, "model")])
}

/// The values of a parameter as a JSON array, or null where it is not given.
fn all(query: &Query, name: &str) -> Bind {
    let values: Vec<&str> = query.all(name).collect();
    Bind::from((!values.is_empty()).then(|| Value::from(values).to_string()))
}

// === impl GroupBy ===

impl<'q> GroupBy<'q> {
    fn parse(query: &'q Query) -> Result<Self, ApiError> {
        match query.get("group_by").and_then(|name| name.strip_prefix(METADATA)).filter(|key| !key.is_empty()) {
            Some(key) => Ok(Self::Metadata(key)),
            None => chosen(query, "group_by", GROUPS)
                .map(Self::Columns)
                .map_err(|error| error.with(|error| error.message.push_str(" | 'metadata.' and a key"))),
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn of_row(mut row: Row, group_by: &str) -> Self {
        let figures = Figures::read(&row);
        let time = row.get("time").and_then(Value::as_u64).unwrap_or(0);
        let mut names = Map::new();
        for name in ["provider", "model"].into_iter().filter(|name| group_by.contains(name)) {
            let value = row.remove(name).filter(|value| value.as_str() != Some(""));
            names.insert(name.to_owned(), value.unwrap_or(Value::Null));
        }
        Self { time, names, figures }
    }

    fn of_value(found: by_metadata::Bucket) -> Self {
        let by_metadata::Bucket { time, value, figures } = found;
        Self { time, names: object::of([("value".to_owned(), value)]), figures }
    }

    fn show(self) -> Value {
        let mut shown = self.figures.show();
        shown.insert("time".to_owned(), timestamp::format(self.time).into());
        shown.extend(self.names);
        Value::Object(shown)
    }
}

// === impl Range ===

impl Range {
    /// `start` and `end`, the last 24 hours without them, widened to whole minutes, hours or days.
    fn parse(query: &Query, granularity: &str, now_ms: u64) -> Result<Self, ApiError> {
        let (span, kept, advice) = match granularity {
            "minute" => (MINUTE_MS, MINUTES_MS, "Minutes are kept for 2 days. Ask for granularity=hour"),
            "hour" => (HOUR_MS, HOURS_MS, "Hours are kept for 62 days. Ask for granularity=day"),
            _ => (DAY_MS, DAYS_MS, "Days are kept for 400 days. Ask for a later start"),
        };
        let time = |name: &'static str, default: u64| match query.get(name) {
            None => Ok(default),
            Some(text) => {
                timestamp::parse(text).ok_or_else(|| ApiError::invalid(["query", name], timestamp::expected(text)))
            }
        };
        let end = time("end", now_ms)?;
        let start = time("start", end.saturating_sub(DAY_MS))?;
        if start >= end {
            return Err(ApiError::invalid(["query", "start"], "Expected a time before the end"));
        }
        let kept_from = now_ms.saturating_sub(kept);
        if start < kept_from {
            return Err(ApiError::invalid(["query", "start"], advice));
        }
        Ok(Self { start: start - start % span, end: end.div_ceil(span) * span, span, kept_from })
    }

    /// The time of the same length that ends where this one begins. `None` where it begins before what is kept; what widened
    /// the range to whole spans does not count, because one span more is kept.
    fn previous(&self) -> Option<Self> {
        let length = self.end - self.start;
        let start = self.start.checked_sub(length).filter(|start| start + 2 * self.span > self.kept_from)?;
        Some(Self { start, end: self.start, ..*self })
    }

    /// What is shown of a range, with its ends.
    fn shown(&self, mut shown: Value) -> Value {
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("start".to_owned(), timestamp::format(self.start).into());
            shown.insert("end".to_owned(), timestamp::format(self.end).into());
        }
        shown
    }
}

#[cfg(test)]
mod tests;
