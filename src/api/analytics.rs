//! `…/gateways/{id}/analytics`: what a gateway's requests add up to over time, for charts.

use crate::base::timestamp;
use crate::db::store::{Bind, Row, Statement, Store};
use crate::http::envelope::{ApiError, Reply};
use crate::http::params::chosen;
use crate::http::query::Query;
use crate::logs::rollup::MINUTE_MS;
use crate::logs::rollup::figures::{Figures, gathered};
use crate::logs::rollup::merge::{self, DAY_MS, DAYS_MS, HOUR_MS, HOURS_MS, MINUTES_MS};
use serde_json::{Value, json};

const GRANULARITIES: &[&str] = &["hour", "minute", "day"];

const GROUPS: &[&str] = &["none", "provider", "model", "provider,model"];

/// A range of time that consists of whole minutes, hours or days.
struct Range {
    start: u64,
    end: u64,
    span: u64,
}

/// `GET /accounts/{account}/ai-gateway/gateways/{gateway}/analytics`
///
/// What transactions have left is added up first, so that the answer is of now.
pub async fn get(store: &impl Store, gateway: i64, query: &Query, now_ms: u64) -> Result<Reply, ApiError> {
    let granularity = chosen(query, "granularity", GRANULARITIES)?;
    let group_by = chosen(query, "group_by", GROUPS)?;
    let range = Range::parse(query, granularity, now_ms)?;
    merge::merge_tallies(store, now_ms).await?;
    let most = store.pace().answer;
    let (rows, _) = store.select(statement(gateway, query, &range, group_by, most)).await?;
    if rows.len() > most {
        let rule = format!(
            "The answer would have more than {most} rows. Ask for a shorter range, a coarser granularity, fewer groups, or \
             one provider or model"
        );
        return Err(ApiError::invalid(["query", "granularity"], rule));
    }
    Ok(shown(rows, &range, granularity, group_by))
}

fn shown(rows: Vec<Row>, range: &Range, granularity: &str, group_by: &str) -> Reply {
    let mut totals = Figures::default();
    let mut buckets = Vec::with_capacity(rows.len());
    for mut row in rows {
        let figures = Figures::read(&row);
        totals.add_all(&figures);
        let mut shown = figures.show();
        let time = row.get("time").and_then(Value::as_u64).unwrap_or(0);
        shown.insert("time".to_owned(), timestamp::format(time).into());
        for name in ["provider", "model"].into_iter().filter(|name| group_by.contains(name)) {
            let value = row.remove(name).filter(|value| value.as_str() != Some(""));
            shown.insert(name.to_owned(), value.unwrap_or(Value::Null));
        }
        buckets.push(Value::Object(shown));
    }
    Reply::result(json!({
        "start": timestamp::format(range.start),
        "end": timestamp::format(range.end),
        "granularity": granularity,
        "group_by": group_by,
        "buckets": buckets,
        "totals": totals.show(),
    }))
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
    let all = |name: &str| {
        let values: Vec<&str> = query.all(name).collect();
        Bind::from((!values.is_empty()).then(|| Value::from(values).to_string()))
    };
    let at = |ms: u64| Bind::Int(ms as i64);
    Statement::new(sql, [gateway.into(), at(range.start), at(range.end), all("provider"), all("model")])
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
        if start < now_ms.saturating_sub(kept) {
            return Err(ApiError::invalid(["query", "start"], advice));
        }
        Ok(Self { start: start - start % span, end: end.div_ceil(span) * span, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::call::{Call, Outcome};
    use crate::logs::group_commit;
    use crate::logs::record::LogRecord;
    use crate::logs::record::tests::{answered, call};
    use crate::testing::sqlite::Sqlite;
    use crate::wire::{Facts, Usage};
    use pollster::block_on;

    const NOW: u64 = 1_700_000_000_000 / DAY_MS * DAY_MS + 10 * HOUR_MS + 30 * MINUTE_MS;

    fn ask(store: &Sqlite, query: &str) -> Result<Value, ApiError> {
        let reply = block_on(get(store, 1, &Query::parse(query), NOW))?;
        Ok(serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone())
    }

    fn refusal(store: &Sqlite, query: &str) -> (u16, Vec<String>) {
        let refused = ask(store, query).unwrap_err();
        (refused.status, refused.path)
    }

    fn record(n: u64, at: u64, provider: &str, model: Option<&str>) -> LogRecord {
        let usage = Usage { tokens_in: Some(100), tokens_out: Some(10), ..Usage::default() };
        let mut made = Call { created_at: at, provider: provider.to_owned(), ..call(&n.to_string()) };
        made.facts.model = model.map(str::to_owned);
        let outcome = answered(Facts { usage, ..Facts::default() });
        LogRecord::new(made, Outcome { duration: 100, first_byte: Some(50), ..outcome })
    }

    fn with_requests() -> Sqlite {
        let store = Sqlite::new();
        let other = LogRecord { gateway: 2, ..record(9, NOW, "openai", None) };
        let records = vec![
            record(1, NOW, "openai", Some("gpt-4o")),
            record(2, NOW + 1, "openai", Some("gpt-4o")),
            record(3, NOW - HOUR_MS, "openai", None),
            record(4, NOW - 20 * MINUTE_MS, "anthropic", Some("claude")),
            record(5, NOW - 23 * HOUR_MS, "anthropic", Some("claude")),
            record(6, NOW - 40 * HOUR_MS, "anthropic", Some("claude")),
            other,
        ];
        assert_eq!(block_on(group_commit::write(&store, records.into(), async |_| {})), []);
        store
    }

    fn rows(result: &Value, fields: &[&str]) -> Vec<Value> {
        let rows = result["buckets"].as_array().unwrap();
        rows.iter().map(|row| fields.iter().map(|field| row[*field].clone()).collect()).collect()
    }

    #[test]
    fn rows_are_added_up_as_asked() {
        let store = with_requests();
        let result = ask(&store, &format!("end={}", NOW + 5)).unwrap();
        let hour = |back: u64| timestamp::format(NOW / HOUR_MS * HOUR_MS - back * HOUR_MS);
        assert_eq!(
            rows(&result, &["time", "requests"]),
            [json!([hour(23), 1]), json!([hour(1), 1]), json!([hour(0), 3])]
        );
        assert_eq!((&result["totals"]["requests"], &result["totals"]["tokens_in"]), (&json!(5), &json!(500)));
        assert_eq!(
            (&result["start"], &result["end"]),
            (&json!(hour(24)), &json!(timestamp::format(NOW / HOUR_MS * HOUR_MS + HOUR_MS)))
        );
        let of = |query: &str| rows(&ask(&store, query).unwrap(), &["provider", "model", "requests"]);
        let day = format!("granularity=day&start={}&end={}", NOW / DAY_MS * DAY_MS, NOW + 5);
        assert_eq!(of(&day), [json!([null, null, 4])]);
        assert_eq!(
            of(&format!("{day}&group_by=provider")),
            [json!(["anthropic", null, 1]), json!(["openai", null, 3])]
        );
        assert_eq!(
            of(&format!("{day}&group_by=provider,model")),
            [json!(["anthropic", "claude", 1]), json!(["openai", null, 1]), json!(["openai", "gpt-4o", 2])]
        );
        assert_eq!(
            of(&format!("{day}&group_by=model&provider=openai&model=gpt-4o&model=x")),
            [json!([null, "gpt-4o", 2])]
        );
        assert_eq!(of(&format!("{day}&provider=groq")), Vec::<Value>::new());
        let minutes = ask(&store, &format!("granularity=minute&start={}", NOW - 30 * MINUTE_MS)).unwrap();
        assert_eq!(rows(&minutes, &["requests"]), [json!([1])]);
        let figures = &result["totals"];
        assert_eq!((&figures["duration"]["p50"], &figures["first_byte"]["p50"]), (&json!(84), &json!(58)));
        assert_eq!((&figures["duration"]["avg"], &figures["duration"]["count"]), (&json!(100), &json!(5)));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_advice() {
        let store = with_requests();
        let start = |ago: u64| format!("start={}", NOW - ago);
        for (query, at) in [
            ("granularity=week".to_owned(), "granularity"),
            ("group_by=gateway".to_owned(), "group_by"),
            ("start=yesterday".to_owned(), "start"),
            ("end=".to_owned(), "end"),
            (format!("start={NOW}&end={NOW}"), "start"),
            (format!("granularity=minute&{}", start(MINUTES_MS + 1)), "start"),
            (start(HOURS_MS + 1), "start"),
            (format!("granularity=day&{}", start(DAYS_MS + 1)), "start"),
        ] {
            assert_eq!(refusal(&store, &query), (400, vec!["query".to_owned(), at.to_owned()]), "{query}");
        }
        for query in [
            format!("granularity=minute&{}", start(MINUTES_MS)),
            start(HOURS_MS),
            format!("granularity=day&{}", start(DAYS_MS)),
        ] {
            assert!(ask(&store, &query).is_ok(), "{query}");
        }
    }

    #[test]
    fn answers_are_bounded() {
        let store = Sqlite::new();
        let records: Vec<LogRecord> =
            (0..110).map(|n| record(n, NOW - n * MINUTE_MS, "openai", Some("gpt-4o"))).collect();
        for group in records.chunks(30) {
            assert_eq!(block_on(group_commit::write(&store, group.to_vec().into(), async |_| {})), []);
        }
        let asked = format!("granularity=minute&end={}&start=", NOW + 1);
        assert_eq!(
            refusal(&store, &format!("{asked}{}", NOW - HOUR_MS * 2)),
            (400, vec!["query".to_owned(), "granularity".to_owned()])
        );
        let result = ask(&store, &format!("{asked}{}", NOW - 99 * MINUTE_MS)).unwrap();
        assert_eq!((result["buckets"].as_array().unwrap().len(), &result["totals"]["requests"]), (100, &json!(100)));
    }

    #[test]
    fn only_the_rows_of_the_range_are_read() {
        let store = Sqlite::new();
        let range = Range { start: 1, end: 2, span: HOUR_MS };
        for group in GROUPS {
            let plan = store.plan(&statement(1, &Query::parse("provider=x&model=y"), &range, group, 100));
            assert!(plan.contains("SEARCH rollup USING PRIMARY KEY (gateway=? AND time>? AND time<?)"), "{plan}");
        }
    }
}
