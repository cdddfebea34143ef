//! What the newest logs of a range add up to, by the value that each has under a key of its metadata. Nothing is added up by metadata
//! as requests come, because a key may have as many values as there are requests. So a bounded number of logs is looked at.

use crate::db::store::{Bind, Row, Statement, Store, StoreError};
use crate::logs::claim;
use crate::logs::rollup::OTHER;
use crate::logs::rollup::figures::{Figures, Sum, Time};
use serde_json::Value;

/// So many of the newest logs of a range are looked at.
pub const EXAMINED: u64 = 20_000;

/// Values that are told apart: those of the most logs. The others are [`OTHER`].
const TOLD: usize = 20;

/// What is asked for.
pub struct Asked<'a> {
    pub gateway: i64,
    pub key: &'a str,
    pub start: u64,
    pub end: u64,
    /// The length of a bucket.
    pub span: u64,
    /// JSON arrays of the only providers and models that count, or null.
    pub providers: Bind,
    pub models: Bind,
    /// So many rows are answered with, at most.
    pub most: usize,
}

/// The figures of the logs of a bucket with one value.
#[derive(Debug, PartialEq)]
pub struct Bucket {
    pub time: u64,
    /// Null for logs without the key.
    pub value: Value,
    pub figures: Figures,
}

/// The figures, and of how many logs.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub buckets: Vec<Bucket>,
    pub examined: u64,
}

/// The sums, by their column here.
const SUMS: &[(Sum, &str)] = &[
    (Sum::Requests, "total(answered)"),
    (Sum::Attempts, "count(*)"),
    (Sum::ByClient, "total(layer = 'client')"),
    (Sum::ByGateway, "total(layer = 'gateway')"),
    (Sum::ByLimit, "total(layer = 'limit')"),
    (Sum::ByUpstream, "total(layer = 'upstream')"),
    (Sum::By4xx, "total(layer = '4xx')"),
    (Sum::By5xx, "total(layer = '5xx')"),
    (Sum::Cached, "total(answered AND cached)"),
    (Sum::TokensIn, "total(tokens_in)"),
    (Sum::TokensOut, "total(tokens_out)"),
    (Sum::TokensCached, "total(tokens_cached)"),
    (Sum::TokensCacheWrite, "total(tokens_cache_write)"),
    (Sum::TokensReasoning, "total(tokens_reasoning)"),
    (Sum::Cost, "total(cost)"),
    (Sum::Unpriced, "total(unpriced)"),
    (Sum::SavedCost, "total(saved_cost)"),
];

/// As [`super::layer`] has it.
const LAYER: &str = "CASE WHEN NOT answered OR success THEN NULL ELSE CASE substr(error, 1, instr(error, ':') - 1) \
     WHEN 'client' THEN 'client' WHEN 'gateway' THEN iif(status_code = 429, 'limit', 'gateway') WHEN 'upstream' THEN 'upstream' \
     ELSE iif(status_code BETWEEN 400 AND 499, '4xx', '5xx') END END";

pub async fn read(store: &impl Store, asked: &Asked<'_>) -> Result<Found, StoreError> {
    let (rows, _) = store.select(statement(asked)).await?;
    let mut found = Found::default();
    for row in &rows {
        let number = |name: &str| row.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        match row.get("time").and_then(Value::as_u64) {
            None => found.examined = number("n") as u64,
            Some(time) => {
                let value = row.get("value").and_then(Value::as_str);
                let value = value.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                found.buckets.push(Bucket { time, value, figures: figures(row) });
            }
        }
    }
    Ok(found)
}

fn figures(row: &Row) -> Figures {
    let mut figures = Figures::default();
    let list = |name: &str| -> Vec<Value> {
        row.get(name).and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    for ((sum, _), value) in SUMS.iter().zip(list("sums")) {
        figures.add(*sum, value.as_f64().unwrap_or(0.0));
    }
    for (name, time) in [("durations", Time::Duration), ("first_bytes", Time::FirstByte)] {
        list(name).iter().filter_map(Value::as_u64).for_each(|ms| figures.time(time, ms));
    }
    figures
}

/// The last row has no time, and says how many logs were looked at.
pub fn statement(asked: &Asked<'_>) -> Statement {
    let sums: Vec<&str> = SUMS.iter().map(|(_, sql)| *sql).collect();
    let sums = sums.join(", ");
    let (span, limit) = (asked.span, asked.most + 2);
    // The index is named, so that the limit is one of what is read. What else is wanted is looked for among these.
    let sql = format!(
        "WITH newest AS MATERIALIZED (SELECT created_at - created_at % {span} AS time, answered, success, cached, provider, model, \
             tokens_in, tokens_out, tokens_cached, tokens_cache_write, tokens_reasoning, cost, saved_cost, \
             iif(answered AND success AND NOT cached, duration, NULL) AS duration, \
             iif(answered AND success AND NOT cached, first_byte, NULL) AS first_byte, {LAYER} AS layer, \
             success AND cost IS NULL AND model IS NOT NULL AND cost_unknown IS NOT ?7 AS unpriced, \
             (SELECT iif(type IN ('true', 'false'), type, json_quote(value)) FROM json_each(logs.metadata) WHERE key = ?6) AS value \
           FROM logs INDEXED BY logs_by_time WHERE gateway = ?1 AND created_at >= ?2 AND created_at < ?3 \
           ORDER BY created_at DESC, id DESC LIMIT {EXAMINED}), \
         page AS MATERIALIZED (SELECT * FROM newest WHERE (?4 IS NULL OR provider IN (SELECT value FROM json_each(?4))) \
           AND (?5 IS NULL OR model IN (SELECT value FROM json_each(?5)))), \
         told AS MATERIALIZED (SELECT value FROM page WHERE value IS NOT NULL GROUP BY value ORDER BY count(*) DESC, value LIMIT {TOLD}), \
         part AS MATERIALIZED (SELECT *, iif(value IS NULL OR value IN (SELECT value FROM told), value, ?8) AS shown FROM page) \
         SELECT * FROM (SELECT time, shown AS value, NULL AS n, json_array({sums}) AS sums, json_group_array(duration) AS durations, \
             json_group_array(first_byte) AS first_bytes FROM part GROUP BY 1, 2 \
           UNION ALL SELECT NULL, NULL, (SELECT count(*) FROM newest), NULL, NULL, NULL) ORDER BY 1, 2 LIMIT {limit}"
    );
    let at = |ms: u64| Bind::Int(ms as i64);
    let binds = [
        asked.gateway.into(),
        at(asked.start),
        at(asked.end),
        asked.providers.clone(),
        asked.models.clone(),
        asked.key.into(),
        claim::OPEN.into(),
        Value::from(OTHER).to_string().into(),
    ];
    Statement::new(sql, binds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::call::{Call, Failure, Outcome};
    use crate::logs::group_commit;
    use crate::logs::metadata;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::logs::rollup::figures::gathered;
    use crate::logs::rollup::merge;
    use crate::testing::plans::scan;
    use crate::testing::sqlite::Sqlite;
    use crate::wire::{Facts, Usage};
    use pollster::block_on;
    use serde_json::json;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_700_000_000_000 / HOUR * HOUR;

    fn asked(key: &str) -> Asked<'_> {
        let (start, end) = (NOW - HOUR, NOW + HOUR);
        Asked { gateway: 1, key, start, end, span: HOUR, providers: Bind::Null, models: Bind::Null, most: 100 }
    }

    fn record(n: u64, at: u64, metadata: &str, outcome: Outcome) -> LogRecord {
        let mut made = Call { created_at: at, metadata: metadata::parse(metadata, 5), ..call(&format!("{n:05}")) };
        made.facts.model = Some(if n.is_multiple_of(2) { "gpt-4o" } else { "never-heard-of" }.to_owned());
        LogRecord::new(made, outcome)
    }

    fn good(duration: u64) -> Outcome {
        let usage =
            Usage { tokens_in: Some(10), tokens_out: Some(3), cached: Some(4), reasoning: Some(1), ..Usage::default() };
        Outcome { duration, first_byte: Some(duration / 2), ..answered(Facts { usage, ..Facts::default() }) }
    }

    fn failed(status: u16, failure: Option<Failure>) -> Outcome {
        Outcome { status: Some(status), failure, ..answered(Facts::default()) }
    }

    fn stored(records: Vec<LogRecord>) -> Sqlite {
        let store = Sqlite::new();
        for group in records.chunks(50) {
            assert_eq!(block_on(group_commit::write(&store, group.to_vec().into(), async |_| {})), []);
        }
        store
    }

    /// Every kind of answer, each with another value.
    fn kinds() -> Vec<LogRecord> {
        let broken = || Some(Failure::Upstream("reset".to_owned()));
        let refused = || Some(Failure::Gateway("no".to_owned()));
        vec![
            record(0, NOW, r#"{"k":"a"}"#, good(700)),
            record(1, NOW + 1, r#"{"k":"a"}"#, good(30)),
            record(2, NOW + 2, r#"{"k":5}"#, failed(404, None)),
            record(3, NOW + 3, r#"{"k":true}"#, failed(503, None)),
            record(4, NOW + 4, r#"{"k":"5"}"#, failed(429, refused())),
            record(5, NOW + 5, r#"{"k":"true"}"#, failed(400, refused())),
            record(6, NOW + 6, r#"{"other":"a"}"#, failed(200, broken())),
            record(7, NOW + 7, "", failed(200, Some(Failure::ClientLeft))),
            record(8, NOW - 5, r#"{"k":"a"}"#, good(2_000)),
        ]
    }

    #[test]
    fn every_value_has_its_own_figures_with_its_type() {
        let store = stored(kinds());
        let found = block_on(read(&store, &asked("k"))).unwrap();
        let seen: Vec<Value> = found
            .buckets
            .iter()
            .map(|bucket| json!([(bucket.time + HOUR - NOW) / HOUR, bucket.value, bucket.figures.get(Sum::Attempts)]))
            .collect();
        let wanted = [
            json!([0, "a", 1.0]),
            json!([1, null, 2.0]),
            json!([1, "5", 1.0]),
            json!([1, "a", 2.0]),
            json!([1, "true", 1.0]),
            json!([1, 5, 1.0]),
            json!([1, true, 1.0]),
        ];
        assert_eq!((seen.as_slice(), found.examined), (&wanted[..], 9));
        // A key is compared as it is, whatever is in it.
        for key in ["\"", "$.k", "k' OR 1=1 --", "", "K"] {
            let found = block_on(read(&store, &asked(key))).unwrap();
            assert!(found.buckets.iter().all(|bucket| bucket.value == Value::Null), "{key}");
        }
    }

    /// What logs add up to is what was added up as they came.
    #[test]
    fn the_sums_are_those_of_charts() {
        let store = stored(kinds());
        block_on(merge::merge_tallies(&store, NOW)).unwrap();
        let sql = format!("SELECT {} FROM rollup WHERE gateway = 1", gathered());
        let rollup = Figures::read(&block_on(store.select(Statement::new(sql, []))).unwrap().0[0]);
        for key in ["k", "other", "none"] {
            let mut sum = Figures::default();
            block_on(read(&store, &asked(key))).unwrap().buckets.iter().for_each(|bucket| sum.add_all(&bucket.figures));
            assert_eq!(sum.show(), rollup.show(), "{key}");
        }
        let shown = rollup.show();
        assert_eq!((&shown["requests"], &shown["errors"], &shown["unpriced"]), (&json!(9), &json!(6), &json!(1)));
    }

    #[test]
    fn rare_values_are_one_and_other_models_do_not_count() {
        let value = |n: u64| format!(r#"{{"k":"v{n:02}"}}"#);
        let mut records: Vec<LogRecord> = (0..25).map(|n| record(n, NOW + n, &value(n), good(1))).collect();
        records.extend((25..50).map(|n| record(n, NOW + n, &value(n % 5), good(1))));
        let store = stored(records);
        let found = block_on(read(&store, &asked("k"))).unwrap();
        assert_eq!(found.buckets.len(), TOLD + 1);
        let other = found.buckets.iter().find(|bucket| bucket.value == OTHER).unwrap();
        assert_eq!(other.figures.get(Sum::Requests), 5.0);
        let models = Bind::Text(r#"["gpt-4o"]"#.to_owned());
        let found = block_on(read(&store, &Asked { models, ..asked("k") })).unwrap();
        let all: f64 = found.buckets.iter().map(|bucket| bucket.figures.get(Sum::Requests)).sum();
        assert_eq!((all, found.examined), (25.0, 50));
        let providers = Bind::Text(r#"["groq"]"#.to_owned());
        let none = block_on(read(&store, &Asked { providers, ..asked("k") })).unwrap();
        assert_eq!(none, Found { buckets: Vec::new(), examined: 50 });
    }

    #[test]
    fn no_more_than_the_newest_logs_of_the_range_are_read() {
        let plan = Sqlite::new().plan(&statement(&asked("k")));
        assert!(
            plan.contains("SEARCH logs USING INDEX logs_by_time (gateway=? AND created_at>? AND created_at<?)"),
            "{plan}"
        );
        assert!(!plan.contains("logs_by_time USING TEMP B-TREE"), "{plan}");
        assert_eq!(
            scan(&plan.replace("SCAN newest", "SEARCH newest").replace("SCAN told", "SEARCH told")),
            None,
            "{plan}"
        );
    }
}
