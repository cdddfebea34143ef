//! What is done with logs in three databases: by id, by page, in slices, and what is carried from one to another.

use crate::api::feedback;
use crate::db::databases::unbound;
use crate::db::whose::Whose;
use crate::feedback::locate::Context;
use crate::feedback::model::Feedback;
use crate::feedback::pending;
use crate::gateways::shards::tests::*;
use crate::logs::bodies;
use crate::logs::reprice;

#[test]
fn an_id_leads_to_its_log_in_whatever_database() {
    let databases = three();
    let gateways: Vec<Gateway> = (0..3).map(|n| made(&databases, &format!("g{n}"), json!({}))).collect();
    for (n, gateway) in gateways.iter().enumerate() {
        log(&databases, gateway, &format!("log-{n}"), |call| {
            call.created_at = NOW + n as u64;
            call.event_id = if n < 2 { "event".to_owned() } else { "other".to_owned() };
            call.provider = n.to_string();
        });
    }
    let judged = |path: &str| {
        parsed(&ask(&databases, "POST", &format!("/feedback/{path}"), &json!({ "data": { "a": 1 } })))["result"].clone()
    };
    for n in 0..3 {
        for id in [format!("log-{n}"), format!("chatcmpl-{n}")] {
            assert_eq!(judged(&id)["log_id"], format!("log-{n}"), "{id}");
        }
    }
    let several = ask(&databases, "POST", "/feedback/event", &json!({ "data": { "a": 1 } }));
    assert!(several.status == 409 && several.body.contains("a/g0, a/g1 (account/gateway)"), "{}", several.body);
    assert_eq!(judged("event?account=a&gateway=g1")["log_id"], "log-1");
    assert_eq!(judged("event?account=a&gateway=g0")["log_id"], "log-0");
    assert_eq!(judged("event?account=a&gateway=g2"), Value::Null);
    assert_eq!(judged("event?account=b"), Value::Null);
    assert_eq!(judged("event?account=a&gateway=none"), Value::Null);
    assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM log_feedback"), [1, 1, 1]);
    let shown = result(&ask(&databases, "DELETE", "/feedback/log-2", &Value::Null));
    assert_eq!((&shown["data"], shown["history"].as_array().unwrap().len()), (&json!({}), 2));
    let id = id::mint_log(NOW, 3, &MARK);
    log(&databases, &gateways[1], &id, |_| {});
    for (gateway, status) in [("g0", 404), ("g1", 200), ("g2", 404)] {
        let patched = ask(&databases, "PATCH", &format!("/gateways/{gateway}/logs/{id}"), &json!({ "score": 1 }));
        let given =
            ask(&databases, "POST", &format!("/feedback/{id}?account=a&gateway={gateway}"), &json!({ "data": {} }));
        assert_eq!((patched.status, given.status), (status, status), "{gateway}");
    }
    // An id of one gateway is unknown under another, wherever that one is.
    for (n, suffix) in [(0, ""), (1, "/request"), (2, "/response")] {
        for other in (0..3).filter(|other| *other != n) {
            let path = format!("/gateways/g{other}/logs/log-{n}{suffix}");
            assert_eq!(ask(&databases, "GET", &path, &Value::Null).status, 404, "{path}");
        }
    }
}

#[test]
fn a_database_that_is_down_hides_only_its_own_logs() {
    let databases = three();
    for n in 0..3 {
        let gateway = made(&databases, &format!("g{n}"), json!({}));
        log(&databases, &gateway, &format!("log-{n}"), |_| {});
    }
    let judge = |id: &str| {
        databases.others[0].1.fail_before(1);
        ask(&databases, "POST", &format!("/feedback/{id}"), &json!({ "data": { "a": 1 } })).status
    };
    assert_eq!(judge("log-0"), 200);
    assert_eq!(judge("log-2"), 200);
    // It may well be there, so no caller is told that it is unknown.
    assert_eq!(judge("log-1"), 500);
    assert_eq!(judge("log-1?account=a&gateway=g0"), 404);
    databases.others[0].1.fail_before(1);
    assert_eq!(ask(&databases, "GET", "/gateways/g0/logs", &Value::Null).status, 200);
    assert_eq!(ask(&databases, "GET", "/gateways/g2/logs", &Value::Null).status, 200);
    assert_eq!(ask(&databases, "GET", "/gateways/g1/logs", &Value::Null).status, 500);
}

#[test]
fn a_database_that_is_no_longer_bound_is_named_to_the_operator() {
    let mut databases = three();
    made(&databases, "g", json!({ "log_database": 2 }));
    databases.others.pop();
    for (method, path) in [("GET", "/gateways/g/logs"), ("GET", "/gateways/g/storage"), ("GET", "/gateways/g/datasets")]
    {
        let refused = ask(&databases, method, path, &Value::Null);
        let cause = &refused.headers.iter().find(|(name, _)| *name == "cause").unwrap().1;
        assert_eq!((refused.status, parsed(&refused)["errors"][0]["message"].clone()), (500, json!("Internal Error")));
        assert_eq!(cause, "database: the Worker has no D1 binding named DB_2; see wrangler.toml");
    }
    for (method, path) in [
        ("GET", "/gateways/g"),
        ("PUT", "/gateways/g"),
        ("GET", "/gateways/g/provider_configs"),
        ("DELETE", "/gateways/g"),
    ] {
        assert_eq!(
            ask(&databases, method, path, &if method == "PUT" { json!({}) } else { Value::Null }).status,
            200,
            "{method}"
        );
    }
    assert!(block_on(mirror::hand_over(&databases, NOW)).is_err());
    assert_eq!(number(&databases.first.inner, "SELECT count(*) AS n FROM deleted_gateways WHERE shard = 2"), 1);
}

fn context<'a>(query: &'a Query, entry: &str) -> Context<'a> {
    Context { caller: &Caller::Admin, query, mark: &MARK, now_ms: NOW, entry: entry.to_owned() }
}

#[test]
fn feedback_that_comes_before_its_log_finds_it_in_the_end() {
    for after in [false, true] {
        for (faulty, call) in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2)] {
            let databases = three();
            let gateway = made(&databases, "g", json!({ "log_database": 1 }));
            let id = id::mint_log(NOW, 7, &MARK);
            let query = Query::parse("");
            let feedback = Feedback::merge(&json!({ "data": { "rating": 5 } })).unwrap();
            let log_databases: Vec<_> = databases.all().collect();
            let kept = block_on(feedback::keep(&log_databases, 0, &id, &feedback, None, &context(&query, "e")));
            assert_eq!(kept.unwrap().status, 202);
            block_on(carry::all_pending(&databases)).unwrap();
            assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM pending_feedback"), [1, 0, 0]);
            log(&databases, &gateway, &id, |_| {});
            if call > 0 {
                let store = databases.of(faulty).unwrap();
                if after {
                    store.fail_after(call)
                } else {
                    store.fail_before(call)
                }
                assert!(block_on(carry::all_pending(&databases)).is_err(), "{faulty} {call}");
                let kept = numbers(&databases, "SELECT count(*) AS n FROM pending_feedback");
                assert!(kept.iter().sum::<u64>() > 0, "{faulty} {call} {after}");
            }
            block_on(carry::all_pending(&databases)).unwrap();
            assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM pending_feedback"), [0, 1, 0]);
            block_on(pending::attach(&databases.others[0].1, None, NOW)).unwrap();
            let shown = result(&ask(&databases, "GET", &format!("/feedback/{id}"), &Value::Null));
            assert_eq!((&shown["data"], shown["history"].as_array().unwrap().len()), (&json!({ "rating": 5 }), 1));
        }
    }
}

#[test]
fn whoever_reads_a_log_first_sees_what_was_said_before() {
    for path in ["/feedback/ID", "/gateways/g/logs/ID"] {
        let databases = three();
        let gateway = made(&databases, "g", json!({ "log_database": 2 }));
        let id = id::mint_log(NOW, 7, &MARK);
        let query = Query::parse("");
        let feedback = Feedback::merge(&json!({ "data": { "helpful": true } })).unwrap();
        let log_databases: Vec<_> = databases.all().collect();
        block_on(feedback::keep(&log_databases, 0, &id, &feedback, None, &context(&query, "e"))).unwrap();
        log(&databases, &gateway, &id, |_| {});
        assert_eq!(result(&ask(&databases, "GET", &path.replace("ID", &id), &Value::Null))["feedback"], 1, "{path}");
        assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM pending_feedback"), [0, 0, 0]);
    }
}

#[test]
fn feedback_is_not_given_up_while_the_gateway_is_not_known_yet() {
    let databases = three();
    databases.others[0].1.fail_before(1);
    let gateway = made(&databases, "g", json!({ "log_database": 1 }));
    let store = &databases.others[0].1;
    assert_eq!(number(&store.inner, "SELECT count(*) AS n FROM gateways"), 0);
    let id = id::mint_log(NOW, 7, &MARK);
    let judged = ask(&databases, "PATCH", &format!("/gateways/g/logs/{id}"), &json!({ "score": 50 }));
    assert_eq!(judged.status, 202);
    log(&databases, &gateway, &id, |_| {});
    block_on(pending::attach(store, None, NOW)).unwrap();
    assert_eq!(number(&store.inner, "SELECT count(*) AS n FROM pending_feedback"), 1);
    heal(&databases);
    block_on(pending::attach(store, None, NOW)).unwrap();
    assert_eq!(number(&store.inner, "SELECT count(*) AS n FROM pending_feedback"), 0);
    assert_eq!(result(&ask(&databases, "GET", &format!("/gateways/g/logs/{id}"), &Value::Null))["score"], 50.0);
}

/// The changes of an account, newest first, as pages of two and as a whole.
fn audited(databases: &Three) -> (Vec<String>, Vec<u64>) {
    let read = |query: &str| parsed(&ask(&databases.first.inner, "GET", &format!("/audit?{query}"), &Value::Null));
    let lines = |page: &Value| -> Vec<String> {
        let entries = page["result"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {}", entry["action"].as_str().unwrap(), entry["gateway_id"].as_str().unwrap()))
            .collect()
    };
    let whole = lines(&read("per_page=100"));
    let pages: Vec<Value> =
        (1..=whole.len().div_ceil(2)).map(|page| read(&format!("per_page=2&page={page}"))).collect();
    assert_eq!(pages.iter().flat_map(&lines).collect::<Vec<String>>(), whole);
    (whole, pages.iter().map(|page| page["result_info"]["total_count"].as_u64().unwrap()).collect())
}

#[test]
fn the_trail_of_changes_is_one_whatever_fails() {
    let dataset = |n: u64| json!({ "name": format!("set {n}"), "enable": true, "filters": [] });
    for after in [false, true] {
        for (faulty, call) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (1, 4)] {
            let databases = three();
            for id in ["g0", "g1", "g2"] {
                made(&databases, id, json!({}));
            }
            for n in 0..25 {
                result(&ask(&databases, "POST", &format!("/gateways/g{}/datasets", n % 3), &dataset(n)));
            }
            assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM audit"), [12, 8, 8]);
            assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM datasets"), [9, 8, 8]);
            for _ in 0..13 {
                result(&ask(&databases, "POST", "/gateways/g1/datasets", &dataset(100 + ASKED.get())));
            }
            if call > 0 {
                let store = databases.of(faulty).unwrap();
                if after {
                    store.fail_after(call)
                } else {
                    store.fail_before(call)
                }
                assert!(block_on(carry::audit(&databases, &databases.others[0].1)).is_err(), "{faulty} {call}");
            }
            for (_, store) in &databases.others {
                block_on(carry::audit(&databases, store)).unwrap();
            }
            assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM audit"), [41, 0, 0], "{faulty} {call} {after}");
            let (whole, totals) = audited(&databases);
            assert_eq!(totals, vec![41; 21]);
            let wanted: Vec<String> = (0..13)
                .map(|_| 1)
                .chain((0..25).rev().map(|n| n % 3))
                .map(|n| format!("dataset.create g{n}"))
                .collect();
            assert_eq!(whole[..38], wanted);
        }
    }
}

#[test]
fn new_prices_reach_logs_in_other_databases() {
    let databases = three();
    let gateway = made(&databases, "g", json!({ "log_database": 2 }));
    log(&databases, &gateway, &id::mint(NOW, 1), |_| {});
    let rule = json!({ "account_provider_id": "openai", "model": "my-model", "model_rule": "equals", "cost_in": 0.005, "cost_out": 0.01, "enable": true });
    result(&ask(&databases, "POST", "/custom-providers/costs", &rule));
    let job = result(&ask(&databases, "POST", "/gateways/g/logs/reprice", &json!({})));
    assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM reprices"), [0, 0, 1]);
    let clock = Cell::new(NOW + 10_000);
    let tick = || {
        clock.set(clock.get() + 1);
        clock.get()
    };
    for shard in 0..3 {
        block_on(reprice::run_all(&databases, shard, &Whose::All, tick, u64::MAX)).unwrap();
    }
    let id = job["id"].as_str().unwrap();
    let done = result(&ask(&databases, "GET", &format!("/gateways/g/logs/reprice/{id}"), &Value::Null));
    assert_eq!((&done["processed"], &done["logs_changed"], &done["error"]), (&json!(true), &json!(1), &Value::Null));
    assert_eq!(result(&ask(&databases, "GET", "/gateways/g/logs", &Value::Null))[0]["cost"], 5.0);
}

#[test]
fn a_limit_on_logs_holds_in_other_databases() {
    let databases = three();
    let gateway = made(&databases, "g", json!({ "log_database": 1, "log_management": 10_000 }));
    let store = &databases.others[0].1.inner;
    let full = "INSERT INTO log_storage (gateway, logs, counted_at) SELECT key, 9999, 9e15 FROM gateways";
    block_on(store.batch(vec![Statement::new(full, [])])).unwrap();
    for n in 0..3 {
        log(&databases, &gateway, &format!("log-{n}"), |_| {});
    }
    let storage = result(&ask(&databases, "GET", "/gateways/g/storage", &Value::Null));
    assert_eq!(
        (&storage["logs"], &storage["not_stored"], &storage["log_management"]),
        (&json!(10_000), &json!(2), &json!(10_000))
    );
    assert_eq!(numbers(&databases, "SELECT count(*) AS n FROM logs"), [0, 1, 0]);
}

#[test]
fn with_one_database_no_statement_is_added() {
    let store = Faulty::new(Sqlite::new());
    let count = |method: &str, path: &str, body: &Value| {
        let before = store.calls();
        ask(&store, method, path, body);
        store.calls() - before
    };
    assert_eq!(count("POST", "/gateways", &json!({ "id": "g" })), 2);
    assert_eq!(count("PUT", "/gateways/g", &json!({})), 3);
    assert_eq!(count("GET", "/gateways/g/logs", &Value::Null), 3);
    assert_eq!(count("GET", "/feedback/unknown-id?account=a&gateway=g", &Value::Null), 10);
    let id = id::mint(NOW - 1_000_000, 1);
    assert_eq!(count("GET", &format!("/feedback/{id}"), &Value::Null), 1);
    assert_eq!(count("GET", "/audit", &Value::Null), 2);
    assert_eq!(count("DELETE", "/gateways/g", &Value::Null), 2);
}

#[test]
fn an_object_is_missing_only_where_every_database_says_so() {
    let mut databases = three();
    for n in 0..3 {
        let gateway = made(&databases, &format!("g{n}"), json!({}));
        log(&databases, &gateway, &format!("log-{n}"), |_| {});
        let row = "UPDATE log_bodies SET request_bytes = 9000";
        block_on(databases.of(n).unwrap().inner.batch(vec![Statement::new(row, [])])).unwrap();
    }
    let ids = || ["log-0", "log-1", "log-2", "nowhere"].map(str::to_owned).to_vec();
    assert_eq!(block_on(bodies::missing(&databases, ids())).unwrap(), ["nowhere"]);
    // Its objects would be taken for such that no row names.
    databases.others.pop();
    let error = block_on(bodies::missing(&databases, ids())).unwrap_err();
    assert_eq!(error, unbound(2));
    result(&ask(&databases, "DELETE", "/gateways/g2", &Value::Null));
    assert_eq!(block_on(bodies::missing(&databases, ids())).unwrap_err(), unbound(2));
}
