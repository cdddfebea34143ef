//! Which of several filters a list had best begin with, as far as the database must be asked.

use crate::db::store::Statement;
use crate::logs::filter::sql::Selection;
use crate::logs::filter::terms::{Field, FilterKey, Filters, bound};
use serde_json::Value;

/// How far the logs of a value are counted to find the rarest of several.
const RARE: u32 = 1_000;

/// A statement that counts, for each of several candidates and no further than it matters, the logs that their index has:
/// `counts` is a JSON array.
pub fn probe(gateway: i64, filters: &Filters, candidates: &[usize]) -> Statement {
    let mut probe = Selection::new(gateway, &Filters::default());
    let counts: Vec<String> = candidates
        .iter()
        .filter_map(|at| filters.0.get(*at)?.first())
        .filter_map(|filter| {
            let own = probe.bind(gateway);
            let some = match filter.pair() {
                Some((table, key, value)) => {
                    let (key, value) = (probe.bind(key), probe.bind(bound(value)));
                    format!("{table} WHERE gateway = {own} AND key = {key} AND value = {value}")
                }
                None => {
                    let FilterKey::Field(Field { sql, .. }) = filter.key else { return None };
                    let is = match filter.values.first()? {
                        Value::Bool(is) => u8::from(*is).to_string(),
                        value => probe.bind(bound(value)),
                    };
                    let source = filter.source()?;
                    let also = source.also().map_or(String::new(), |also| format!(" AND {also}"));
                    format!("{} WHERE logs.gateway = {own} AND {sql} = {is}{also}", source.from)
                }
            };
            Some(format!("(SELECT count(*) FROM (SELECT 1 FROM {some} LIMIT {RARE}))"))
        })
        .collect();
    Statement::new(format!("SELECT json_array({}) AS counts", counts.join(", ")), probe.binds())
}
