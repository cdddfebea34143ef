use super::*;
use crate::api::gateways;
use crate::base::id::{self, MarkKey};
use crate::db::audit::Actor;
use crate::db::put_aside::{self, PENDING};
use crate::feedback::locate::locate;
use crate::feedback::model::FeedbackAuthor;
use crate::feedback::pending::{KEPT_MS, attach, waiting};
use crate::gateways::gateway;
use crate::http::query::Query;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::testing::sqlite::Sqlite;
use crate::wire::Facts;
use pollster::block_on;

const NOW: u64 = 1_700_000_000_000;

fn with_log(id: &str) -> Sqlite {
    let store = Sqlite::new();
    let actor = Actor { name: "admin", now_ms: NOW, entry: "a".to_owned() };
    let body = json!({ "id": "gw", "collect_logs": true }).to_string();
    block_on(gateways::create(
        &store,
        "acct",
        body.as_bytes(),
        &actor,
        "internal".to_owned(),
        &crate::config::bounds::Bounds::USUAL.gateways,
    ))
    .reply
    .unwrap();
    let lost = block_on(group_commit::write(
        &store,
        vec![LogRecord::new(call(id), answered(Facts::default()))].into(),
        async |_| {},
    ));
    assert_eq!(lost, []);
    store
}

fn said(store: &Sqlite, log: &str, at: u64, data: Value) {
    let author = FeedbackAuthor { name: "admin", at, id: at.to_string() };
    let feedback = Feedback::merge(&json!({ "data": data })).unwrap();
    block_on(store.batch(feedback.statements(log, &author))).unwrap();
}

#[test]
fn what_was_said_earlier_and_arrives_later_changes_nothing() {
    let store = with_log("log");
    said(&store, "log", 2_000, json!({ "helpful": false, "score": 10 }));
    said(&store, "log", 1_000, json!({ "helpful": true, "score": 90, "more": 1 }));
    let judged = block_on(judged(&store, "log")).unwrap();
    assert_eq!((judged.feedback, judged.score), (Some(-1), Some(10.0)));
    assert_eq!(judged.said, r#"{"helpful":false,"more":1,"score":10}"#);
}

#[test]
fn feedback_for_logs_that_never_come_holds_nobody_up() {
    let store = with_log("log");
    let pending = |n: usize, log: String| {
        let sql = "INSERT INTO pending_feedback (id, log_id, given_at, given_by, kind, data) VALUES (?1, ?2, ?3, 'admin', 'merge', '{\"a\":1}')";
        Statement::new(sql, [format!("{n:04}").into(), log.into(), Bind::Int((NOW + n as u64) as i64)])
    };
    let mut rows: Vec<Statement> = (0..300).map(|n| pending(n, format!("never {n}"))).collect();
    rows.push(pending(300, "log".to_owned()));
    block_on(store.batch(rows)).unwrap();
    block_on(attach(&store, None, NOW + 1_000)).unwrap();
    assert_eq!(block_on(judged(&store, "log")).unwrap().said, r#"{"a":1}"#);
    assert_eq!(block_on(waiting(&store)).unwrap(), 300);
    // A day later they are given up, some at a time.
    for _ in 0..15 {
        block_on(attach(&store, None, NOW + KEPT_MS + 1_000)).unwrap();
    }
    assert_eq!(block_on(waiting(&store)).unwrap(), 0);
}

#[test]
fn kept_feedback_that_cannot_be_read_holds_nobody_up() {
    let store = with_log("log");
    let pending = |id: &str, at: &str, kind: &str, data: &str, gateways: &str| {
        let sql = "INSERT INTO pending_feedback (id, log_id, given_at, given_by, kind, data, gateways) VALUES (?1, 'log', ?2, 'admin', ?3, ?4, nullif(?5, ''))";
        Statement::new(sql, [id.into(), at.into(), kind.into(), data.into(), gateways.into()])
    };
    let rows = vec![
        pending("1", "1", "merge", "{", ""),
        pending("2", "soon", "merge", "{}", ""),
        pending("3", "3", "merge", r#"{"a":1}"#, "[\"x"),
        pending("4", "4", "patch", r#"{"score":"much"}"#, ""),
        pending("5", "5", "patch", r#"{"metadata":{"a":1}}"#, ""),
        pending("6", "6", "merge", r#"{"b":2}"#, ""),
    ];
    block_on(store.batch(rows)).unwrap();
    // A log whose own metadata cannot be read takes no more of it.
    block_on(store.batch(vec![Statement::new("UPDATE logs SET metadata = '{'", [])])).unwrap();
    block_on(attach(&store, None, NOW)).unwrap();
    assert_eq!(block_on(waiting(&store)).unwrap(), 0);
    assert_eq!(block_on(judged(&store, "log")).unwrap().said, r#"{"b":2}"#);
    let (told, n) = block_on(put_aside::report(&store, NOW)).unwrap();
    assert_eq!(n, 5, "{told:?}");
    assert!(told.iter().all(|row| row.source == PENDING && row.id != "6"));
}

#[test]
fn an_id_that_another_gateway_may_have_forged_is_for_the_caller_to_tell_apart() {
    let store = with_log("mine");
    let actor = Actor { name: "admin", now_ms: NOW, entry: "b".to_owned() };
    let body = json!({ "id": "sibling", "collect_logs": true }).to_string();
    let bound = crate::config::bounds::Bounds::USUAL.gateways;
    block_on(gateways::create(&store, "acct", body.as_bytes(), &actor, "i2".to_owned(), &bound)).reply.unwrap();
    let sibling = block_on(gateway::find(&store, "acct", "sibling")).unwrap().unwrap().key;
    let mark = MarkKey([7; 32]);
    let handed_out = id::mint_log(NOW, 1, &mark);
    let named = |event: &str, response: &str, gateway, id: &str| {
        let facts = Facts { response_id: Some(response.to_owned()), ..Facts::default() };
        let call = crate::logs::call::Call { gateway, event_id: event.to_owned(), ..call(id) };
        LogRecord::new(call, answered(facts))
    };
    let own = call("mine").gateway;
    let records = vec![
        named("e1", "same", own, "a"),
        named("e2", "same", sibling, "b"),
        // The event of one is what the other's provider says of itself.
        named("session", "r1", own, "c"),
        named("e3", "session", sibling, "d"),
        named("shared", "r2", own, "e"),
        named("shared", "r3", sibling, "f"),
        named("twice", "r4", own, "g"),
        named("twice", "r5", own, "h"),
        // A row that comes is not to be taken for one that is there already.
        named(&handed_out, "r6", sibling, "i"),
    ];
    assert_eq!(block_on(group_commit::write(&store, records.into(), async |_| {})), []);
    let found = |id: &str, query: &str| {
        let (query, entry) = (Query::parse(query), "entry".to_owned());
        let context = Context { caller: &Caller::Admin, query: &query, mark: &mark, now_ms: NOW, entry };
        block_on(locate(&[(0, &store)], id, &context))
    };
    for id in ["same", "session", "shared"] {
        let error = ApiError::from(found(id, "").unwrap_err());
        assert_eq!(error.status, 409, "{id}");
        assert!(error.message.contains("acct/gw, acct/sibling"), "{}", error.message);
        assert!(found(id, "account=acct&gateway=gw").unwrap().is_some(), "{id}");
    }
    assert_eq!(found("same", "gateway=gw").unwrap().unwrap().id, "a");
    assert_eq!(found("same", "gateway=sibling").unwrap().unwrap().id, "b");
    let twice = found("twice", "").unwrap().unwrap();
    assert_eq!((twice.id.as_str(), twice.matches), ("h", 2));
    assert_eq!(found("a", "").unwrap().unwrap().id, "a");
    assert_eq!(found(&handed_out, "").unwrap(), None);
}

#[test]
fn what_waits_for_a_log_has_a_bound() {
    let store = with_log("log");
    let (mark, query) = (MarkKey([7; 32]), Query::parse(""));
    let log = id::mint_log(NOW, 1, &mark);
    let given = |n: u64, data: Value| {
        let feedback = Feedback::merge(&json!({ "data": data })).unwrap();
        let entry = format!("{n:05}");
        let context = Context { caller: &Caller::Admin, query: &query, mark: &mark, now_ms: NOW, entry };
        block_on(keep(&[(0, &store)], 0, &log, &feedback, None, &context))
            .map_or_else(|error| error.status, |reply| reply.status)
    };
    let long = "x".repeat(200_000);
    assert_eq!([1, 2, 3, 4, 5].map(|n| given(n, json!({ "a": long }))), [202, 202, 202, 202, 413]);
    assert!((6..=101).all(|n| given(n, json!({ "a": 1 })) == 202));
    assert_eq!(given(102, json!({ "a": 1 })), 413);
}

#[test]
fn kept_feedback_of_a_stranger_is_dropped() {
    let store = with_log("log");
    let sql = "INSERT INTO pending_feedback (id, log_id, account, given_at, given_by, kind, data) VALUES ('p', 'log', 'other', 1, 'x', 'merge', '{\"a\":1}')";
    block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
    block_on(attach(&store, Some("log"), NOW)).unwrap();
    assert_eq!(block_on(judged(&store, "log")).unwrap().said, "{}");
    assert_eq!(block_on(waiting(&store)).unwrap(), 0);
}
