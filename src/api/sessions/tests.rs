use super::*;
use crate::logs::call::Call;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::testing::plans::scan;
use crate::testing::sqlite::{Planned, Sqlite};
use crate::wire::request::Said;
use crate::wire::{Facts, Usage};
use pollster::block_on;

const NOW: u64 = 1_700_000_000_000;

fn turn(id: &str, n: u64, session: &str, caller: &str, texts: &[&str]) -> LogRecord {
    let messages: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| json!({ "role": if at.is_multiple_of(2) { "user" } else { "assistant" }, "content": text }))
        .collect();
    let mut made = Call {
        created_at: NOW + n,
        session: [Some(session.to_owned()), None],
        caller: caller.to_owned(),
        body: Some(json!({ "model": "gpt-4o", "messages": messages }).to_string()),
        ..call(id)
    };
    made.facts.said = Said { last_user: texts.last().map(|text| (*text).to_owned()), ..Said::default() };
    let usage = Usage { tokens_in: Some(10), tokens_out: Some(2), cached: Some(4), ..Usage::default() };
    LogRecord::new(made, answered(Facts { usage, ..Facts::default() }))
}

fn response(id: &str, n: u64, caller: &str, previous: Option<&str>, own: &str) -> LogRecord {
    let mut made = Call { created_at: NOW + n, caller: caller.to_owned(), ..call(id) };
    made.facts.said = Said { previous_response_id: previous.map(str::to_owned), ..Said::default() };
    LogRecord::new(made, answered(Facts { response_id: Some(own.to_owned()), ..Facts::default() }))
}

fn write(store: &Sqlite, records: Vec<LogRecord>) {
    assert_eq!(block_on(group_commit::write(store, records.into(), async |_| {})), []);
}

fn read(reply: Result<Reply, ApiError>) -> Value {
    serde_json::from_str::<Value>(&reply.unwrap().body).unwrap()["result"].clone()
}

fn listed(store: &impl Store, query: &str) -> Vec<Value> {
    let all = read(block_on(list(store, 1, &Query::parse(query))));
    all.as_array().unwrap().iter().map(|one| json!([one["id"], one["caller"], one["turns"]])).collect()
}

fn shown(store: &impl Store, id: &str, query: &str, with_text: bool) -> Value {
    read(block_on(get(store, 1, id, &Query::parse(query), with_text)))
}

#[test]
fn turns_of_one_session_are_together_and_those_of_different_callers_are_not() {
    let store = Sqlite::new();
    let elsewhere = LogRecord { gateway: 2, ..turn("x", 9, "s", "t1", &["q"]) };
    let alone = LogRecord { session_id: None, ..turn("y", 9, "s", "t1", &["q"]) };
    write(
        &store,
        vec![
            turn("a", 1, "s", "t1", &["q"]),
            turn("b", 2, "s", "t2", &["q"]),
            turn("c", 3, "s", "t1", &["q", "a", "r"]),
            turn("d", 4, "other", "t1", &["q"]),
            elsewhere,
            alone,
        ],
    );
    assert_eq!(listed(&store, ""), [json!(["other", "t1", 1]), json!(["s", "t1", 2]), json!(["s", "t2", 1])]);
    assert_eq!(listed(&store, "limit=1"), [json!(["other", "t1", 1])]);
    assert_eq!(
        listed(&store, &format!("start={}&end={}", NOW + 2, NOW + 4)),
        [json!(["s", "t1", 1]), json!(["s", "t2", 1])]
    );
    let session = shown(&store, "s", "", true);
    let sums = ["turns", "tokens_in", "tokens_out", "cached_tokens", "errors", "unpriced"].map(|name| &session[name]);
    assert_eq!(sums, [&json!(2), &json!(20), &json!(4), &json!(8), &json!(0), &json!(0)]);
    assert_eq!(
        (&session["caller"], &session["models"], session["cost"].as_f64() > Some(0.0)),
        (&json!("t1"), &json!(["gpt-4o"]), true)
    );
    assert_eq!(shown(&store, "s", "caller=t2", true)["logs"][0]["id"], "b");
    let page = shown(&store, "s", "caller=t1&offset=1&limit=1", true);
    assert_eq!(
        (page["logs"].as_array().unwrap().len(), &page["logs"][0]["id"], &page["turns"]),
        (1, &json!("c"), &json!(2))
    );
    for (gateway, id, query) in [(1, "none", ""), (1, "s", "caller=t3"), (3, "s", ""), (1, "%ff", "")] {
        assert_eq!(block_on(get(&store, gateway, id, &Query::parse(query), true)).unwrap_err().status, 404, "{id}");
    }
    for (query, at) in [("limit=0", "limit"), ("start=x", "start"), ("end=", "end")] {
        assert_eq!(block_on(list(&store, 1, &Query::parse(query))).unwrap_err().path, ["query", at]);
    }
}

#[test]
fn a_turn_tells_what_of_its_prompt_the_one_before_had() {
    let store = Sqlite::new();
    let mut failed = turn("e", 5, "s", "t", &["q"]);
    (failed.success, failed.cost) = (false, None);
    write(
        &store,
        vec![
            turn("a", 1, "s", "t", &["q"]),
            turn("b", 2, "s", "t", &["q", "a", "r"]),
            turn("c", 3, "s", "t", &["q", "changed", "r", "b", "s"]),
            turn("d", 4, "s", "t", &["q"]),
            failed,
        ],
    );
    let session = shown(&store, "s", "", true);
    let told: Vec<Value> = session["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| json!([log["messages"], log["shared_prefix"], log["diverges_at"]]))
        .collect();
    assert_eq!(
        told,
        [json!([1, 0, null]), json!([3, 1, null]), json!([5, 1, 1]), json!([1, 1, 1]), json!([1, 1, null])]
    );
    assert_eq!((&session["errors"], &session["logs"][0]["input_preview"]), (&json!(1), &json!("q")));
    // Without the right to see texts nothing is read of them.
    let blind = shown(&store, "s", "", false);
    assert_eq!((&blind["logs"][1]["messages"], &blind["logs"][1]["input_preview"]), (&Value::Null, &Value::Null));
    assert_eq!(blind["logs"].as_array().unwrap().len(), 5);
}

#[test]
fn responses_that_go_on_with_each_other_are_one_session_of_one_caller() {
    let store = Sqlite::new();
    write(&store, vec![response("a", 1, "t1", None, "r1")]);
    assert_eq!(listed(&store, ""), Vec::<Value>::new());
    write(&store, vec![response("b", 2, "t1", Some("r1"), "r2")]);
    write(&store, vec![response("c", 3, "t1", Some("r2"), "r3"), response("d", 4, "t2", Some("r3"), "r4")]);
    // The first of a chain belongs to it, and whose id another caller found belongs to another session.
    assert_eq!(listed(&store, ""), [json!(["r3", "t2", 1]), json!(["r1", "t1", 3])]);
    write(&store, vec![response("e", 5, "t1", None, "r5"), response("f", 6, "t1", Some("r5"), "r6")]);
    assert_eq!(listed(&store, "limit=1"), [json!(["r5", "t1", 2])]);
    // What named a session itself keeps it.
    let mut named = response("g", 7, "t1", None, "r7");
    named.session_id = Some("own".to_owned());
    write(&store, vec![named]);
    write(&store, vec![response("h", 8, "t1", Some("r7"), "r8")]);
    assert_eq!(listed(&store, "limit=1"), [json!(["own", "t1", 2])]);
}

#[test]
fn sessions_read_no_more_than_their_logs() {
    let inner = Sqlite::new();
    write(&inner, (0..50).map(|n| turn(&format!("{n:02}"), n, "s", "t", &["q"])).collect());
    let store = Planned::new(inner);
    listed(&store, "");
    shown(&store, "s", "", true);
    shown(&store, "s", "caller=t&offset=3", true);
    for (plan, sql) in store.plans.take() {
        assert_eq!(scan(&plan), None, "{sql}\n{plan}");
    }
}
