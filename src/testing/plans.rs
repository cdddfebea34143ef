//! How SQLite runs the statements of the routes that read logs, of what works behind them, and of what writes them: by an
//! index, whatever table grows with the logs. Without statistics, as on D1, plans do not depend on how many rows there are.

use crate::api::feedback;
use crate::api::log_export::{self, Export};
use crate::api::logs::{self, WhichBody};
use crate::api::{Place, datasets, evaluation_export, evaluations, gateways, log_list, reprices, storage};
use crate::auth::caller::Caller;
use crate::base::id::{self, MarkKey};
use crate::config::bounds::Bounds;
use crate::db::audit::Actor;
use crate::db::store::{Statement, Store};
use crate::db::whose::Whose;
use crate::evaluate::run::{self, Call, Heard, World};
use crate::feedback::locate;
use crate::feedback::locate::Context;
use crate::feedback::model::Feedback;
use crate::feedback::pending;
use crate::gateways::gateway;
use crate::http::query::Query;
use crate::logs::filter::plan_tests::encoded;
use crate::logs::group_commit;
use crate::logs::metadata;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::removal;
use crate::logs::retention;
use crate::testing::sqlite::{Planned, Sqlite};
use crate::wire::Facts;
use pollster::block_on;
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000_000;
const LOGS: u64 = 3_000;
const PLACE: Place<'static> = Place { account: "a", gateway: "gw", key: 1 };
const MARK: MarkKey = MarkKey([7; 32]);

/// What a statement may scan: its own values and results, and tables that do not grow with the logs.
const SMALL: &[&str] = &[
    "json_each",
    "(subquery",
    "CONSTANT",
    "gone",
    "fresh",
    "new",
    "part",
    "gateways",
    "pending",
    "deleted_gateways",
    "page",
    "rows",
];

/// The first step that reads the whole of a table or of an index.
pub fn scan(plan: &str) -> Option<&str> {
    plan.lines().find(|line| {
        line.strip_prefix("SCAN ")
            .is_some_and(|of| !SMALL.iter().any(|small| of.starts_with(small)) && !of.contains("VIRTUAL TABLE"))
    })
}

/// A store of a gateway with some thousand logs, their metadata, bodies, judgements and counts.
fn filled() -> Planned {
    let store = Planned::new(Sqlite::new());
    let gateway = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'gw', 'i', 1, 1, '{}')";
    block_on(store.inner.batch(vec![Statement::new(gateway, [])])).unwrap();
    let mut logs: Vec<LogRecord> = (0..LOGS).map(record).collect();
    while !logs.is_empty() {
        let rest = logs.split_off(logs.len().min(100));
        assert_eq!(block_on(group_commit::write(&store, logs.into(), async |_| {})), []);
        logs = rest;
    }
    let judged = "UPDATE logs SET feedback = 1, score = 50 WHERE substr(id, 26) < '5'";
    block_on(store.inner.batch(vec![Statement::new(judged, [])])).unwrap();
    store
}

fn record(n: u64) -> LogRecord {
    let created_at = NOW - (LOGS - n) * 1_000;
    let mut made = call(&id::mint(created_at, n.into()));
    (made.created_at, made.gateway) = (created_at, 1);
    made.metadata = metadata::parse(r#"{"team":"AI","user":12345}"#, 5);
    made.facts.model = Some(format!("model-{}", n % 7));
    let mut outcome = answered(Facts { response_id: Some(format!("chatcmpl-{n}")), ..Facts::default() });
    outcome.body = Some(r#"{"choices":[{"message":{"content":"{}"}}]}"#.to_owned());
    LogRecord::new(made, outcome)
}

fn log(n: u64) -> String {
    record(n).id
}

fn actor() -> Actor<'static> {
    Actor { name: "admin", now_ms: NOW, entry: id::mint(NOW, 5) }
}

/// Asserts that none of what was asked for since the last time scans a table that grows, and that something was.
fn checked(store: &Planned, what: &str) {
    let plans = store.plans.take();
    assert!(!plans.is_empty(), "{what} asked for nothing");
    for (plan, sql) in plans {
        assert_eq!(scan(&plan), None, "{what}\n{sql}\n{plan}");
    }
}

fn set(store: &Planned, settings: &Value) {
    let sql = "UPDATE gateways SET settings = ?1 WHERE key = 1";
    block_on(store.inner.batch(vec![Statement::new(sql, [settings.to_string().into()])])).unwrap();
}

struct Nobody;

impl World for Nobody {
    fn now(&self) -> u64 {
        NOW
    }

    async fn rest(&self) {}

    async fn ask(&self, _: &Call<'_>) -> Result<Heard, String> {
        Err("nobody".to_owned())
    }
}

#[test]
fn writing_looks_nothing_up_by_scanning() {
    checked(&filled(), "a group of logs");
}

#[test]
fn a_log_and_its_bodies_are_found_by_its_id() {
    let store = filled();
    let _ = store.plans.take();
    block_on(logs::get([&store, &store], &PLACE, &log(5), true)).unwrap();
    checked(&store, "a log");
    for part in [WhichBody::Request, WhichBody::Response] {
        block_on(logs::body(&store, 1, &log(5), part)).ok();
        checked(&store, "a body");
    }
    let gateway = block_on(gateway::by_key(&store, 1)).unwrap().unwrap();
    block_on(storage::get(&store, &gateway)).reply.unwrap();
    checked(&store, "the storage");
}

#[test]
fn feedback_is_given_shown_and_taken_back_by_ids() {
    let store = filled();
    let _ = store.plans.take();
    let query = Query::parse("account=a&gateway=gw");
    let context = Context { caller: &Caller::Admin, query: &query, mark: &MARK, now_ms: NOW, entry: id::mint(NOW, 6) };
    let log_databases = [(0, &store)];
    let body = json!({ "feedback": 1, "score": 10, "metadata": { "team": "x", "user": null } });
    block_on(logs::patch(&log_databases, (0, &store), &PLACE, &log(7), body.to_string().as_bytes(), &context))
        .reply
        .unwrap();
    checked(&store, "PATCH");
    for id in [log(8), "chatcmpl-9".to_owned(), "no-such-id".to_owned()] {
        let found = block_on(locate::locate(&log_databases, &id, &context)).unwrap();
        checked(&store, "finding a log");
        let Some(found) = found else { continue };
        let feedback = Feedback::merge(&json!({ "data": { "rating": 5 } })).unwrap();
        block_on(feedback::give(&store, &log_databases, &id, Some(found.clone()), &feedback, &context)).reply.unwrap();
        checked(&store, "feedback");
        block_on(feedback::show(&store, &found)).unwrap();
        checked(&store, "what was said");
        block_on(feedback::take_back(&store, &found, &context)).unwrap();
        checked(&store, "taking it back");
    }
    let lines = r#"{"request_id": "chatcmpl-1", "data": {"rating": 1}}"#;
    let find = async |id: &str| Ok(locate::locate(&log_databases, id, &context).await?);
    block_on(feedback::bulk(&store, &log_databases, lines.as_bytes(), &context, find)).reply.unwrap();
    checked(&store, "bulk feedback");
    let early = id::mint_log(NOW, 9, &MARK);
    block_on(feedback::keep(
        &log_databases,
        0,
        &early,
        &Feedback::merge(&json!({ "data": { "a": 1 } })).unwrap(),
        None,
        &context,
    ))
    .unwrap();
    block_on(pending::attach(&store, None, NOW + 1)).unwrap();
    checked(&store, "feedback before its log");
}

#[test]
fn datasets_and_evaluations_are_found_by_their_gateway() {
    let store = filled();
    let _ = store.plans.take();
    let mut sets = Vec::new();
    for (n, filters) in [
        json!([]),
        json!([{ "key": "model", "operator": "eq", "value": ["model-3"] }, { "key": "metadata.team", "operator": "eq", "value": ["AI"] }]),
        json!([{ "or": [{ "key": "success", "operator": "eq", "value": [false] }, { "key": "duration", "operator": "gt", "value": [5] }] }]),
    ]
    .into_iter()
    .enumerate()
    {
        let id = id::mint(NOW, n as u128);
        let body = json!({ "name": id, "enable": true, "filters": filters }).to_string();
        block_on(datasets::create(&store, &PLACE, body.as_bytes(), &id, &actor(), &Bounds::USUAL.datasets)).unwrap();
        block_on(datasets::update(&store, &PLACE, &id, body.as_bytes(), &actor())).unwrap();
        sets.push(id);
    }
    for query in ["", "name=a&enable=true", "search=x&page=2"] {
        block_on(datasets::list(&store, &PLACE, &Query::parse(query))).unwrap();
    }
    checked(&store, "datasets");
    let mut made = Vec::new();
    for (n, chosen) in [&sets[..1], &sets[1..2], &sets[..]].into_iter().enumerate() {
        let id = id::mint(NOW, 10 + n as u128);
        let types =
            json!(["cost", "human_feedback", "p95_duration", "cost_per_thumbs_up", "feedback:rating", "json_valid"]);
        let body =
            json!({ "name": id, "dataset_ids": chosen, "evaluation_type_ids": types, "group_by": "metadata.team" });
        block_on(evaluations::create(
            &store,
            &PLACE,
            body.to_string().as_bytes(),
            &id,
            &actor(),
            &Bounds::USUAL.evaluations,
        ))
        .reply
        .unwrap();
        checked(&store, "creating an evaluation");
        assert_eq!(block_on(run::waiting(&store, &Whose::All, NOW)).unwrap(), [id.as_str()]);
        block_on(run::run(&store, &Nobody, &id, "me", u64::MAX, u64::MAX)).unwrap();
        checked(&store, "the run of an evaluation");
        made.push(id);
    }
    for query in ["", "processed=true&name=a", "search=x"] {
        block_on(evaluations::list(&store, &PLACE, &Query::parse(query))).reply.unwrap();
    }
    block_on(evaluations::get(&store, &PLACE, &made[0])).reply.unwrap();
    block_on(evaluations::compare(&store, &PLACE, &Query::parse(&format!("ids={},{}", made[0], made[1]))))
        .reply
        .unwrap();
    block_on(evaluations::verdicts(&store, &PLACE, &made[0], &Query::parse(""))).unwrap();
    block_on(evaluations::verdicts(&store, &PLACE, &made[0], &Query::parse("evaluation_type_id=json_valid"))).unwrap();
    block_on(evaluation_export::export(&store, &PLACE, &made[0], &Query::parse("cursor=a/b"))).unwrap();
    block_on(evaluations::delete(&store, &PLACE, &made[0], &actor())).unwrap();
    block_on(datasets::delete(&store, &PLACE, &sets[0], &actor())).unwrap();
    checked(&store, "evaluations");
}

#[test]
fn retention_and_repricing_work_through_an_index() {
    let store = filled();
    let _ = store.plans.take();
    let body = json!({ "filters": [{ "key": "model", "operator": "eq", "value": ["model-3"] }] }).to_string();
    block_on(reprices::create(&store, &PLACE, body.as_bytes(), &id::mint(NOW, 1), &actor(), &Bounds::USUAL.reprices))
        .reply
        .unwrap();
    let until = NOW + 1_000;
    block_on(crate::logs::reprice::run_all(&store, 0, &Whose::All, || NOW, until)).unwrap();
    block_on(reprices::get(&store, &PLACE, &id::mint(NOW, 1))).reply.unwrap();
    checked(&store, "re-pricing");
    for settings in [
        json!({ "log_body_retention_days": 0.001 }),
        json!({ "log_management": LOGS - 10, "log_management_strategy": "DELETE_OLDEST" }),
        json!({ "log_retention_days": 0.001 }),
    ] {
        set(&store, &settings);
        let report = block_on(retention::run(&store, &Whose::All, NOW + 100_000_000, || false)).unwrap();
        assert!(report.logs + report.bodies > 0, "{settings}");
        checked(&store, "retention");
    }
}

#[test]
fn a_deleted_gateway_is_swept_through_an_index() {
    let store = filled();
    let _ = store.plans.take();
    block_on(gateways::delete(&store, "a", "gw", &actor())).reply.unwrap();
    for _ in 0..3 {
        block_on(removal::sweep(&store, &Whose::All, NOW, 1_000)).unwrap();
    }
    checked(&store, "a deleted gateway");
}

/// The most steps that a statement of some work took, among thousands of logs of which a few are meant.
fn longest(store: &Planned, work: impl FnOnce()) -> i32 {
    store.inner.steps.set(0);
    work();
    let _ = store.plans.take();
    store.inner.steps.get()
}

/// A database has one thread: a request for a few logs among many does not hold it for others.
#[test]
fn no_statement_looks_at_more_than_a_window() {
    let store = filled();
    let rare = "UPDATE logs SET user_agent = 'rare' WHERE id IN (SELECT id FROM logs ORDER BY id LIMIT 3 OFFSET 2000)";
    block_on(store.inner.batch(vec![Statement::new(rare, [])])).unwrap();
    let all = longest(&store, || {
        let sql = "SELECT id FROM logs WHERE instr(user_agent, 'rar') > 0";
        assert_eq!(block_on(store.ids(Statement::new(sql, []))).unwrap().len(), 3);
    });
    let filters = json!([{ "key": "user_agent", "operator": "contains", "value": ["RAR"] }]);
    let reprice = json!({ "filters": filters }).to_string();
    block_on(reprices::create(
        &store,
        &PLACE,
        reprice.as_bytes(),
        &id::mint(NOW, 1),
        &actor(),
        &Bounds::USUAL.reprices,
    ))
    .reply
    .unwrap();
    let repricing = longest(&store, || {
        block_on(crate::logs::reprice::run_all(&store, 0, &Whose::All, || NOW, NOW + 1)).unwrap();
        let reply = block_on(reprices::get(&store, &PLACE, &id::mint(NOW, 1))).reply.unwrap().body;
        let reply: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!((&reply["result"]["processed"], &reply["result"]["logs_seen"]), (&json!(true), &json!(3)));
    });
    let dataset = json!({ "name": "rare", "enable": true, "filters": filters }).to_string();
    block_on(datasets::create(&store, &PLACE, dataset.as_bytes(), "rare", &actor(), &Bounds::USUAL.datasets)).unwrap();
    let types = json!(["cost", "p95_duration", "json_valid"]);
    let body = json!({ "name": "e", "dataset_ids": ["rare"], "evaluation_type_ids": types }).to_string();
    block_on(evaluations::create(&store, &PLACE, body.as_bytes(), "evaluation", &actor(), &Bounds::USUAL.evaluations))
        .reply
        .unwrap();
    let evaluating = longest(&store, || {
        block_on(run::run(&store, &Nobody, "evaluation", "me", u64::MAX, u64::MAX)).unwrap();
        let reply = block_on(evaluations::get(&store, &PLACE, "evaluation")).reply.unwrap().body;
        let reply: Value = serde_json::from_str(&reply).unwrap();
        let [processed, total] = ["processed", "total_logs"].map(|name| &reply["result"][name]);
        assert_eq!((processed, total), (&json!(true), &json!(3)), "{reply}");
        let tested = &reply["result"]["results"][2];
        assert_eq!((&tested["total_logs"], &tested["result"]), (&json!(3), &json!("100")), "{reply}");
    });
    let wanted =
        block_on(store.ids(Statement::new("SELECT id FROM logs WHERE user_agent = 'rare' ORDER BY id", []))).unwrap();
    let query = format!("filters={}&limit=100&format=csv", encoded(&filters.to_string()));
    let exporting = longest(&store, || {
        let (mut found, mut next) = (Vec::new(), String::new());
        loop {
            let export = Export::parse(1, &Query::parse(&format!("{query}{next}"))).unwrap();
            let reply = block_on(log_export::collected(&store, export)).unwrap();
            found.extend(reply.body.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()));
            match reply.headers.iter().find(|(name, _)| *name == "x-next-cursor") {
                Some((_, cursor)) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(found, wanted);
    });
    let streaming = longest(&store, || {
        let mut export = Export::parse(1, &Query::parse(&query)).unwrap();
        let mut file = String::new();
        while let Some(piece) = block_on(export.next(&store)).unwrap() {
            file.push_str(&piece);
        }
        assert_eq!(file.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect::<Vec<_>>(), wanted);
    });
    let deleting = longest(&store, || {
        let mut deleted = Vec::new();
        for more in ["&order_by_direction=desc", "&order_by=cost&start_date=2023-11-14T21:50:00Z"] {
            let query = format!("filters={}&limit=2{more}", encoded(&filters.to_string()));
            let reply = block_on(log_list::delete(&store, &PLACE, &Query::parse(&query), b"", &actor())).reply.unwrap();
            let reply: Value = serde_json::from_str(&reply.body).unwrap();
            deleted.push(reply["result"]["deleted"].as_u64().unwrap());
        }
        assert_eq!(deleted, [2, 1]);
        // Nothing is left that is meant, and it would take too long to know.
        let query = format!("filters={}", encoded(&filters.to_string()));
        let refused =
            block_on(log_list::delete(&store, &PLACE, &Query::parse(&query), b"", &actor())).reply.unwrap_err();
        assert!(refused.status == 400 && refused.message.contains("start_date"), "{}", refused.message);
    });
    for (what, steps) in [
        ("re-pricing", repricing),
        ("an evaluation", evaluating),
        ("an export", exporting),
        ("a stream", streaming),
        ("a deletion", deleting),
    ] {
        assert!(steps * 10 < all, "{what} took {steps} of {all} steps at once");
    }
}

/// The plans of lists are those of `filter::plan_tests`; here, that pages found window by window are the same as if all were read.
#[test]
fn a_list_is_exact_however_many_windows_it_takes() {
    let store = filled();
    let wanted: Vec<String> = (0..LOGS).rev().filter(|n| n % 7 == 3).map(log).collect();
    let filters = |extra: &str| {
        format!(
            "filters=%5B%7B%22key%22%3A%22model%22%2C%22operator%22%3A%22contains%22%2C%22value%22%3A%5B%22EL-3%22%5D%7D%5D{extra}"
        )
    };
    let asked = |query: &str| -> Value {
        serde_json::from_str(&block_on(log_list::list(&store, 1, &Query::parse(query), true)).unwrap().body).unwrap()
    };
    let ids = |reply: &Value| -> Vec<String> {
        reply["result"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    for page in [1, 2, 9] {
        let reply = asked(&filters(&format!("&per_page=50&page={page}")));
        let from = (page - 1) * 50;
        assert_eq!(ids(&reply), wanted[from.min(wanted.len())..(from + 50).min(wanted.len())]);
    }
    let last = asked(&filters("&per_page=50&page=9"));
    assert_eq!(
        (&last["result_info"]["total_count"], &last["result_info"]["total_count_relation"]),
        (&json!(wanted.len()), &json!("eq"))
    );
    let first = asked(&filters("&per_page=5"));
    assert_eq!(first["result_info"]["total_count_relation"], "gte");
    // Only so many are looked at, and the cursor goes on from there.
    let (mut found, mut next) = (Vec::new(), String::new());
    for _ in 0..10 {
        let reply = asked(&filters(&format!("&per_page=50&examine=1000{next}")));
        found.extend(ids(&reply));
        match reply["result_info"]["cursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(found, wanted);
}
