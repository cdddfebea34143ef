//! GraphQL for charts that were made for Cloudflare's analytics: the four data sets of AI Gateway, from the same sums as
//! `…/analytics`.

mod asked;
mod parse;
mod sets;

use super::object;
use crate::api::graphql::asked::{Asked, Column, MOST_ROWS, leaf};
use crate::api::graphql::parse::Field;
use crate::api::graphql::sets::{Dimension, SETS, unknown};
use crate::auth::caller::Caller;
use crate::base::json::json;
use crate::base::sorted;
use crate::base::timestamp;
use crate::db::databases::Databases;
use crate::db::store::{Row, Statement, Store, row};
use crate::gateways::gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::logs::rollup::merge;
use crate::pricing::rates;
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Data sets in one query.
const MOST_SETS: usize = 20;

row! {
    struct Own {
        key: i64,
        id: String,
        shard: u32,
        log_management: Option<u64>,
    }
}

/// A group of an answer.
struct Group {
    dimensions: Vec<Value>,
    measures: Vec<f64>,
}

/// Why a query is not answered: what is wrong with it, or what failed here.
enum Fault {
    Query { message: String, path: Vec<Value>, code: &'static str },
    Failed(ApiError),
}

/// `POST /client/v4/graphql`
///
/// What is wrong with a query is told as GraphQL does, with status 200.
pub async fn answer(databases: &impl Databases, body: &[u8], caller: &Caller, now_ms: u64) -> Result<Reply, ApiError> {
    let body = object(body)?;
    let wrong = |field: &str, rule: &str| ApiError::invalid(["body", field], rule);
    let text = body.get("query").and_then(Value::as_str);
    let text = text.ok_or_else(|| wrong("query", "Expected a query of GraphQL as a text"))?;
    let none = Map::new();
    let variables = match body.get("variables") {
        None | Some(Value::Null) => &none,
        Some(given) => given.as_object().ok_or_else(|| wrong("variables", "Expected an object, or null"))?,
    };
    let operation = match body.get("operationName") {
        None | Some(Value::Null) => None,
        Some(given) => Some(given.as_str().ok_or_else(|| wrong("operationName", "Expected a text, or null"))?),
    };
    let answered = match parse::read(text, operation, variables) {
        Ok(fields) => root(databases, &fields, caller, now_ms).await,
        Err(message) => Err(Fault::Query { message, path: Vec::new(), code: "parse" }),
    };
    match answered {
        Ok(data) => Ok(Reply::json(200, &json!({ "data": data, "errors": null }))),
        Err(Fault::Failed(error)) => Err(error),
        Err(Fault::Query { message, path, code }) => {
            let extensions = json!({ "code": code, "timestamp": timestamp::format(now_ms) });
            let error = json!({ "message": message, "path": path, "extensions": extensions });
            Ok(Reply::json(200, &json!({ "data": null, "errors": [error] })))
        }
    }
}

async fn root(databases: &impl Databases, fields: &[Field], caller: &Caller, now_ms: u64) -> Result<Value, Fault> {
    let mut data = Map::new();
    for field in fields {
        let at = |message: String| fault(&[&field.key], message);
        let value = match field.name.as_str() {
            "__typename" => "Query".into(),
            "viewer" if field.arguments.is_empty() => viewer(databases, field, caller, now_ms).await?,
            "viewer" => return Err(at("viewer takes no arguments".to_owned())),
            other => return Err(at(unknown(other, ["viewer"].into_iter()))),
        };
        data.insert(field.key.clone(), value);
    }
    Ok(Value::Object(data))
}

async fn viewer(databases: &impl Databases, viewer: &Field, caller: &Caller, now_ms: u64) -> Result<Value, Fault> {
    let mut data = Map::new();
    if viewer.fields.is_empty() {
        return Err(fault(&[&viewer.key], unknown("", ["accounts"].into_iter())));
    }
    for field in &viewer.fields {
        let path = [viewer.key.as_str(), field.key.as_str()];
        let value = match field.name.as_str() {
            "__typename" => "viewer".into(),
            "accounts" => accounts(databases, field, &path, caller, now_ms).await?,
            other => return Err(fault(&path, unknown(other, ["accounts"].into_iter()))),
        };
        data.insert(field.key.clone(), value);
    }
    Ok(Value::Object(data))
}

/// The account that the filter names. It stands in the query, so here is where the caller's right to it is looked at.
async fn accounts(
    databases: &impl Databases,
    accounts: &Field,
    path: &[&str],
    caller: &Caller,
    now_ms: u64,
) -> Result<Value, Fault> {
    let filter = accounts.arguments.get("filter").and_then(Value::as_object);
    let tag = filter.filter(|filter| filter.len() == 1).and_then(|filter| filter.get("accountTag")?.as_str());
    let is_only = accounts.arguments.keys().all(|name| matches!(name.as_str(), "filter" | "limit"));
    let Some(tag) = tag.filter(|_| is_only) else {
        return Err(fault(
            path,
            "accounts has to have filter: { accountTag: \"…\" }, and no other arguments".to_owned(),
        ));
    };
    if !gateway::is_account_id(tag) || caller.account().is_some_and(|own| own != tag) {
        let message = "not authorized for that account".to_owned();
        return Err(Fault::Query { message, path: path.iter().map(|key| Value::from(*key)).collect(), code: "authz" });
    }
    let sets = accounts.fields.iter().filter(|field| field.name.ends_with("Groups")).count();
    if sets > MOST_SETS || accounts.fields.is_empty() {
        return Err(fault(path, format!("accounts has to have 1 to {MOST_SETS} data sets")));
    }
    let mut all = Vec::new();
    for field in &accounts.fields {
        let at = |message: String| fault(&[path, &[&field.key]].concat(), message);
        all.push(match field.name.as_str() {
            "__typename" | "accountTag" => None,
            name if SETS.iter().any(|set| set.name == name) => Some(Asked::read(field).map_err(at)?),
            other => return Err(at(unknown(other, SETS.iter().map(|set| set.name)))),
        });
    }
    let own = own(databases, tag, caller).await?;
    let mut shards: Vec<u32> = own.iter().map(|own| own.shard).collect();
    sorted::by(&mut shards, Ord::cmp);
    shards.dedup();
    for shard in &shards {
        merge::merge_tallies(databases.of(*shard).map_err(ApiError::from)?, now_ms).await.map_err(ApiError::from)?;
    }
    let mut data = Map::new();
    for (field, asked) in accounts.fields.iter().zip(all) {
        let value = match asked {
            None if field.name == "accountTag" => tag.into(),
            None => "account".into(),
            Some(asked) => {
                let at = |message: String| fault(&[path, &[&field.key]].concat(), message);
                let groups = groups(databases, (&own, &shards), &asked, now_ms).await?.map_err(at)?;
                groups.iter().map(|group| group.shown(field, &asked)).collect()
            }
        };
        data.insert(field.key.clone(), value);
    }
    Ok(Value::from(vec![Value::Object(data)]))
}

/// The gateways of the account that the caller reaches.
async fn own(databases: &impl Databases, account: &str, caller: &Caller) -> Result<Vec<Own>, ApiError> {
    let sql = "SELECT key, id, shard, settings->>'log_management' AS log_management FROM gateways \
         WHERE account_id = ?1 AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2))) ORDER BY key";
    let binds = [account.into(), caller.gateways().into()];
    Ok(databases.first().rows::<Own>(Statement::new(sql, binds)).await?)
}

/// The groups that were asked for, of all databases together.
async fn groups(
    databases: &impl Databases,
    (own, shards): (&[Own], &[u32]),
    asked: &Asked,
    now_ms: u64,
) -> Result<Result<Vec<Group>, String>, ApiError> {
    // Of groups that several databases have, all have to be known before the first are.
    let is_whole = shards.len() < 2 || asked.is_sorted_by_groups();
    let limit = if is_whole { asked.limit } else { MOST_ROWS };
    let mut all: Vec<Group> = Vec::new();
    for shard in shards {
        let store = databases.of(*shard)?;
        let these = own.iter().filter(|own| own.shard == *shard);
        let these: Vec<Value> =
            these.map(|own| json!([own.key, own.id, own.log_management.map(|n| n.to_string())])).collect();
        let (rows, _) = store.select(asked.statement(Value::from(these).to_string(), now_ms, limit)).await?;
        if !is_whole && rows.len() as u64 == MOST_ROWS {
            return Ok(Err(
                "the query has too many groups: ask for a shorter time, fewer dimensions, or another order".to_owned(),
            ));
        }
        for row in rows {
            let group = Group::read(row, asked);
            match all.iter_mut().find(|other| shards.len() > 1 && other.dimensions == group.dimensions) {
                Some(other) => other.add(&group, asked),
                None => all.push(group),
            }
        }
    }
    if shards.len() > 1 {
        sorted::by(&mut all, |one, other| one.compared(other, asked));
        all.truncate(asked.limit as usize);
    }
    Ok(Ok(all))
}

fn fault(path: &[&str], message: String) -> Fault {
    Fault::Query { message, path: path.iter().map(|key| Value::from(*key)).collect(), code: "validation" }
}

// === impl Fault ===

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

// === impl Group ===

impl Group {
    fn read(mut row: Row, asked: &Asked) -> Self {
        let mut take = |name: String| row.remove(&name).unwrap_or_default();
        let dimensions = (0..asked.dimensions.len()).map(|place| take(format!("g{place}"))).collect();
        let measures =
            (0..asked.measures.len()).map(|place| take(format!("m{place}")).as_f64().unwrap_or(0.0)).collect();
        Self { dimensions, measures }
    }

    fn add(&mut self, other: &Self, asked: &Asked) {
        for ((own, more), place) in self.measures.iter_mut().zip(&other.measures).zip(&asked.measures) {
            *own = if asked.set.is_most(*place) { own.max(*more) } else { *own + *more };
        }
    }

    fn compared(&self, other: &Self, asked: &Asked) -> Ordering {
        for (column, down) in &asked.order {
            let order = match column {
                Column::Measure(place) => {
                    let of = |group: &Self| group.measures.get(*place).copied().unwrap_or(0.0);
                    of(self).total_cmp(&of(other))
                }
                Column::Dimension(place) => {
                    let of = |group: &Self| {
                        let value = group.dimensions.get(*place);
                        (value.and_then(Value::as_u64), value.and_then(Value::as_str).unwrap_or("").to_owned())
                    };
                    of(self).cmp(&of(other))
                }
            };
            if order != Ordering::Equal {
                return if *down { order.reverse() } else { order };
            }
        }
        Ordering::Equal
    }

    /// As it was asked for. The names are known to be right.
    fn shown(&self, field: &Field, asked: &Asked) -> Value {
        let measure = |name: &str| {
            let place = asked.set.measure(name).ok();
            let at = place.and_then(|place| asked.measures.iter().position(|asked| *asked == place));
            let value = at.and_then(|at| self.measures.get(at)).copied().unwrap_or(0.0);
            if place.is_some_and(|place| asked.set.is_money(place)) {
                Value::from(rates::rounded(value))
            } else {
                Value::from(value as i64)
            }
        };
        let dimension = |name: &str| {
            let wanted = asked.set.dimension(name).ok();
            let at = asked.dimensions.iter().position(|asked| Some(*asked) == wanted);
            let value = at.and_then(|at| self.dimensions.get(at)).cloned().unwrap_or_default();
            match (wanted, value.as_u64()) {
                (Some(Dimension::Time(span)), Some(ms)) => time(ms, span).into(),
                _ => value,
            }
        };
        let mut shown = Map::new();
        for part in &field.fields {
            let inside = |show: &dyn Fn(&str) -> Value| {
                let members = part.fields.iter().filter_map(|field| Some((field.key.clone(), show(leaf(field).ok()?))));
                members.collect::<Value>()
            };
            let value = match part.name.as_str() {
                "__typename" => asked.set.name.into(),
                "dimensions" => inside(&dimension),
                block @ ("sum" | "max") => inside(&|name| measure(&format!("{block}.{name}"))),
                name => measure(name),
            };
            shown.insert(part.key.clone(), value);
        }
        Value::Object(shown)
    }
}

/// A time without milliseconds, and a day without a time.
fn time(ms: u64, span: u64) -> String {
    let whole = timestamp::format(ms);
    let end = if span == merge::DAY_MS { 10 } else { 19 };
    let start: String = whole.chars().take(end).collect();
    if span == merge::DAY_MS { start } else { start + "Z" }
}

#[cfg(test)]
mod tests;
