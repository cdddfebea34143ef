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
    (refused.status, refused.path.clone())
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
    assert_eq!(rows(&result, &["time", "requests"]), [json!([hour(23), 1]), json!([hour(1), 1]), json!([hour(0), 3])]);
    assert_eq!((&result["totals"]["requests"], &result["totals"]["tokens_in"]), (&json!(5), &json!(500)));
    assert_eq!(
        (&result["start"], &result["end"]),
        (&json!(hour(24)), &json!(timestamp::format(NOW / HOUR_MS * HOUR_MS + HOUR_MS)))
    );
    let of = |query: &str| rows(&ask(&store, query).unwrap(), &["provider", "model", "requests"]);
    let day = format!("granularity=day&start={}&end={}", NOW / DAY_MS * DAY_MS, NOW + 5);
    assert_eq!(of(&day), [json!([null, null, 4])]);
    assert_eq!(of(&format!("{day}&group_by=provider")), [json!(["anthropic", null, 1]), json!(["openai", null, 3])]);
    assert_eq!(
        of(&format!("{day}&group_by=provider,model")),
        [json!(["anthropic", "claude", 1]), json!(["openai", null, 1]), json!(["openai", "gpt-4o", 2])]
    );
    assert_eq!(of(&format!("{day}&group_by=model&provider=openai&model=gpt-4o&model=x")), [json!([null, "gpt-4o", 2])]);
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
    let records: Vec<LogRecord> = (0..110).map(|n| record(n, NOW - n * MINUTE_MS, "openai", Some("gpt-4o"))).collect();
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
    let range = Range { start: 1, end: 2, span: HOUR_MS, kept_from: 0 };
    for group in GROUPS {
        let plan = store.plan(&statement(1, &Query::parse("provider=x&model=y"), &range, group, 100));
        assert!(plan.contains("SEARCH rollup USING PRIMARY KEY (gateway=? AND time>? AND time<?)"), "{plan}");
    }
}

#[test]
fn the_same_time_before_is_compared() {
    let store = with_requests();
    let compared = |query: &str| ask(&store, &format!("compare=previous&end={}&{query}", NOW + 5)).unwrap();
    let result = compared("");
    let hour = |back: u64| timestamp::format(NOW / HOUR_MS * HOUR_MS - back * HOUR_MS);
    let previous = &result["previous"];
    assert_eq!(
        (&previous["start"], &previous["end"], &result["start"]),
        (&json!(hour(49)), &json!(hour(24)), &json!(hour(24)))
    );
    assert_eq!((&previous["totals"]["requests"], &previous["totals"]["tokens_in"]), (&json!(1), &json!(100)));
    // What is chosen, and how it is grouped, is the same before; what is not asked for is not said.
    assert_eq!(compared("provider=openai")["previous"]["totals"]["requests"], 0);
    assert_eq!(compared("group_by=model")["previous"]["totals"]["requests"], 1);
    assert_eq!(compared("group_by=metadata.team")["previous"]["totals"]["requests"], 1);
    assert!(ask(&store, "").unwrap().get("previous").is_none());
    // Further back than is kept there is nothing to compare with.
    let long = |days: u64| format!("granularity=day&start={}", NOW - days * DAY_MS);
    assert_eq!(compared(&long(150))["previous"]["totals"]["requests"], 0);
    assert_eq!(compared(&long(250))["previous"], Value::Null);
    let minutes = |hours: u64| format!("granularity=minute&start={}", NOW - hours * HOUR_MS);
    assert!(compared(&minutes(24))["previous"].is_object());
    assert_eq!(compared(&minutes(25))["previous"], Value::Null);
    assert_eq!(refusal(&store, "compare=next"), (400, vec!["query".to_owned(), "compare".to_owned()]));
}

#[test]
fn groups_have_figures_of_the_whole_range() {
    let store = with_requests();
    let grouped = |query: &str| ask(&store, &format!("end={}&{query}", NOW + 5)).unwrap()["groups"].clone();
    assert_eq!(grouped(""), Value::Null);
    let groups = grouped("group_by=provider");
    let seen = |group: &Value| json!([group["provider"], group["requests"], group["duration"]["count"]]);
    assert_eq!((seen(&groups[0]), seen(&groups[1])), (json!(["openai", 3, 3]), json!(["anthropic", 2, 2])));
    // Percentiles are those of all requests of the group, and no mean of those of its buckets.
    assert_eq!((&groups[0]["duration"]["p50"], &groups[0]["duration"]["p95"]), (&json!(84), &json!(98)));
    assert_eq!((groups.as_array().unwrap().len(), groups[0].get("time")), (2, None));
    let both = grouped("group_by=provider,model&model=gpt-4o");
    assert_eq!(
        (&both[0]["provider"], &both[0]["model"], &both[0]["requests"]),
        (&json!("openai"), &json!("gpt-4o"), &json!(2))
    );
}

#[test]
fn a_key_of_metadata_tells_requests_apart() {
    let store = Sqlite::new();
    let tagged = |n: u64, at: u64, metadata: &str| {
        let made = record(n, at, "openai", Some("gpt-4o"));
        LogRecord { metadata: crate::logs::metadata::parse(metadata, 5).to_json(), ..made }
    };
    let records = vec![
        tagged(1, NOW, r#"{"team":"a"}"#),
        tagged(2, NOW - HOUR_MS, r#"{"team":"a"}"#),
        tagged(3, NOW, r#"{"team":7}"#),
        tagged(4, NOW, ""),
        tagged(5, NOW - 40 * HOUR_MS, r#"{"team":"old"}"#),
    ];
    assert_eq!(block_on(group_commit::write(&store, records.into(), async |_| {})), []);
    let result = ask(&store, &format!("group_by=metadata.team&end={}", NOW + 5)).unwrap();
    assert_eq!(rows(&result, &["value", "requests"]).len(), 4);
    let groups: Vec<Value> =
        result["groups"].as_array().unwrap().iter().map(|group| json!([group["value"], group["requests"]])).collect();
    assert_eq!((&groups[0], groups.len()), (&json!(["a", 2]), 3));
    assert!(groups.contains(&json!([7, 1])) && groups.contains(&json!([null, 1])));
    assert_eq!(
        (&result["group_by"], &result["examined"], &result["complete"], &result["totals"]["requests"]),
        (&json!("metadata.team"), &json!(4), &json!(true), &json!(4))
    );
    assert_eq!(refusal(&store, "group_by=metadata."), (400, vec!["query".to_owned(), "group_by".to_owned()]));
}
