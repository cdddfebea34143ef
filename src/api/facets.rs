//! `…/logs/facets`: which values the newest logs of a selection have, and how often.

use crate::db::store::{Store, row};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::number;
use crate::http::query::Query;
use crate::logs::filter::search::selection;
use serde_json::{Map, Value, json};

/// Fields that have few values, and their columns.
const FIELDS: &[(&str, &str)] = &[
    ("model", "logs.model"),
    ("provider", "logs.provider"),
    ("model_type", "logs.model_type"),
    ("status_code", "logs.status_code"),
    ("success", "logs.success"),
    ("cached", "logs.cached"),
    ("finish_reason", "logs.finish_reason"),
    ("feedback", "logs.feedback"),
    ("credential_alias", "logs.credential_alias"),
    ("caller", "logs.caller"),
    ("session_id", "logs.session_id"),
    ("user_agent", "logs.user_agent"),
];

/// Values of a field beyond so many are not named.
const TOP: usize = 20;

/// So many of the newest logs are looked at, unless `examine` says otherwise.
const EXAMINED: u64 = 5_000;
const MAX_EXAMINED: u64 = 50_000;

pub async fn get(store: &impl Store, gateway: i64, query: &Query) -> Result<Reply, ApiError> {
    row! {
        struct Found {
            n: u64,
            facets: String,
        }
    }
    let examined = number(query, "examine", 1, MAX_EXAMINED)?.unwrap_or(EXAMINED);
    let wrong = || {
        let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        ApiError::invalid(
            ["query", "fields"],
            format!("Expected names of fields with commas between, out of {}", names.join(", ")),
        )
    };
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for name in query.get("fields").unwrap_or("model,provider,status_code,finish_reason").split(',') {
        let field = FIELDS.iter().find(|(known, _)| *known == name.trim()).ok_or_else(wrong)?;
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
    let selection = selection(gateway, query)?;
    // One look at the newest logs; each field is then counted in what was found.
    let columns: Vec<String> = fields.iter().map(|(name, column)| format!("{column} AS {name}")).collect();
    let order = selection.in_time(crate::logs::filter::Direction::Descending);
    let newest = selection.select(&columns.join(", "), &format!("ORDER BY {order} LIMIT {examined}"));
    let counted: Vec<String> = fields
        .iter()
        .map(|(name, _)| {
            format!(
                "'{name}', (SELECT json_group_array(json_object('value', value, 'count', count)) FROM \
                 (SELECT {name} AS value, count(*) AS count FROM newest GROUP BY {name} ORDER BY 2 DESC, 1 LIMIT {}))",
                TOP + 1
            )
        })
        .collect();
    let sql = format!(
        "WITH newest AS MATERIALIZED ({}) SELECT (SELECT count(*) FROM newest) AS n, json_object({}) AS facets",
        newest.sql,
        counted.join(", ")
    );
    let found = store.row::<Found>(crate::db::store::Statement { sql: sql.into(), ..newest }).await?;
    let found = found.ok_or_else(|| ApiError::internal("no row of counts"))?;
    let facets: Map<String, Value> = serde_json::from_str(&found.facets).unwrap_or_default();
    let shown = facets.into_iter().map(|(name, values)| {
        let mut values = values.as_array().cloned().unwrap_or_default();
        values.truncate(TOP);
        if matches!(name.as_str(), "success" | "cached") {
            for value in values.iter_mut().filter_map(|value| value.get_mut("value")) {
                *value = json!(value == 1);
            }
        }
        (name, Value::Array(values))
    });
    let shown: Map<String, Value> = shown.collect();
    Ok(Reply::result(json!({ "examined": found.n, "fields": shown })))
}
