use super::*;
use crate::db::store::row;
use crate::gateways::gateway::create_default;
use crate::gateways::gateway::is_account_id;
use crate::logs::call::Call;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::removal::delete_logs_slice;
use crate::testing::sqlite::{Faulty, Sqlite};
use crate::wire::Facts;
use pollster::block_on;
use serde_json::json;

const NOW: u64 = 1_700_000_000_000;

row! {
    struct Count {
        n: u64,
    }
}

fn actor(entry: &str, now_ms: u64) -> Actor<'static> {
    Actor { name: "admin", now_ms, entry: entry.to_owned() }
}

fn made(store: &impl Store, account: &str, id: &str) -> Result<Reply, ApiError> {
    let body = json!({ "id": id, "cache_ttl": null, "collect_logs": true }).to_string();
    let bound = crate::config::bounds::Bounds::default().gateways;
    block_on(create(store, account, body.as_bytes(), &actor(id, NOW), format!("internal-{id}"), &bound)).reply
}

fn result(reply: Result<Reply, ApiError>) -> Value {
    let reply = reply.unwrap();
    assert_eq!(reply.status, 200);
    serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone()
}

#[test]
fn ids_follow_their_pattern() {
    for good in ["a", "my-gateway", "a_b-c1", &"x".repeat(64)] {
        assert!(is_gateway_id(good), "{good}");
    }
    for bad in ["", "-a", "a-", "a--b", "A", "a b", "ä", "a/b", "a'", &"x".repeat(65)] {
        assert!(!is_gateway_id(bad), "{bad}");
    }
    assert!(is_account_id("0123456789abcdef0123456789ABCDEF") && !is_account_id("a.b") && !is_account_id(""));
}

#[test]
fn a_gateway_is_made_shown_changed_and_deleted() {
    let store = Sqlite::new();
    let shown = result(made(&store, "acct", "gw"));
    assert_eq!((&shown["id"], &shown["account_tag"], &shown["cache_ttl"]), (&json!("gw"), &json!("acct"), &json!(0)));
    assert_eq!(shown["created_at"], "2023-11-14T22:13:20.000Z");
    // What GET shows can be PUT back, and changes nothing but the time.
    let again = result(
        block_on(update(&store, "acct", "gw", (shown.to_string().as_bytes(), None), &actor("u", NOW + 5))).reply,
    );
    let mut wanted = shown.clone();
    wanted["modified_at"] = json!("2023-11-14T22:13:20.005Z");
    assert_eq!(again, wanted);
    assert_eq!(result(block_on(delete(&store, "acct", "gw", &actor("d", NOW))).reply), wanted);
    assert_eq!(block_on(get(&store, "acct", "gw")).unwrap_err().status, 404);
}

#[test]
fn an_id_is_taken_once_in_each_account() {
    let store = Sqlite::new();
    made(&store, "one", "gw").unwrap();
    made(&store, "two", "gw").unwrap();
    let error = made(&store, "one", "gw").unwrap_err();
    assert_eq!(
        (error.status, error.code, error.path.as_slice()),
        (400, 7001, ["body".to_owned(), "id".to_owned()].as_slice())
    );
    for wrong in [json!({}), json!({ "id": 1 }), json!({ "id": "No" }), json!([]), json!("x")] {
        assert_eq!(
            block_on(create(
                &store,
                "one",
                wrong.to_string().as_bytes(),
                &actor("w", NOW),
                String::new(),
                &crate::config::bounds::Bounds::default().gateways
            ))
            .reply
            .unwrap_err()
            .code,
            7001
        );
    }
    assert_eq!(
        block_on(create(
            &store,
            "one",
            b"{\"id\":",
            &actor("w", NOW),
            String::new(),
            &crate::config::bounds::Bounds::default().gateways
        ))
        .reply
        .unwrap_err()
        .path,
        ["body"]
    );
}

#[test]
fn other_accounts_and_hostile_ids_are_not_found() {
    let store = Sqlite::new();
    made(&store, "one", "gw").unwrap();
    for (account, id) in [("two", "gw"), ("one", "gw' OR '1'='1"), ("one' --", "gw"), ("one", "")] {
        assert_eq!(block_on(get(&store, account, id)).unwrap_err().status, 404);
        assert_eq!(
            block_on(update(&store, account, id, (b"{}", None), &actor("u", NOW))).reply.unwrap_err().status,
            404
        );
        assert_eq!(block_on(delete(&store, account, id, &actor("d", NOW))).reply.unwrap_err().status, 404);
    }
    assert!(block_on(get(&store, "one", "gw")).is_ok());
}

#[test]
fn lists_are_searched_and_paged() {
    let store = Sqlite::new();
    for id in ["alpha", "beta", "gamma"] {
        made(&store, "acct", id).unwrap();
    }
    let ids = |query: &str| -> Vec<String> {
        let found = result(block_on(list(&store, "acct", &Query::parse(query), &Caller::Admin)));
        found.as_array().unwrap().iter().map(|gateway| gateway["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(""), ["alpha", "beta", "gamma"]);
    assert_eq!(ids("search=ET"), ["beta"]);
    assert_eq!(ids("page=2&per_page=2"), ["gamma"]);
    assert!(ids("page=9").is_empty() && ids("search=%25").is_empty() && ids("search=') OR 1=1 --").is_empty());
}

#[test]
fn the_default_gateway_is_made_once() {
    let store = Sqlite::new();
    let first = block_on(create_default(&store, "acct", &actor("a", NOW), "a".to_owned())).unwrap();
    let second = block_on(create_default(&store, "acct", &actor("b", NOW + 1), "b".to_owned())).unwrap();
    assert_eq!(first, second);
    assert!(first.settings.authentication && first.settings.collect_logs);
}

#[test]
fn an_update_forgets_what_was_cached_where_the_setting_says_so() {
    let store = Sqlite::new();
    made(&store, "acct", "gw").unwrap();
    let mut seen = Vec::new();
    for (n, body) in
        ["{}", r#"{"cache_invalidate_on_update":true}"#, "{}", r#"{"cache_invalidate_on_update":false}"#, "{}"]
            .into_iter()
            .enumerate()
    {
        block_on(update(&store, "acct", "gw", (body.as_bytes(), None), &actor(&n.to_string(), NOW))).reply.unwrap();
        seen.push(block_on(find(&store, "acct", "gw")).unwrap().unwrap().cache.generation);
    }
    assert_eq!(seen, [0, 1, 2, 3, 3]);
}

#[test]
fn a_new_gateway_of_the_same_name_has_none_of_the_old_logs() {
    let store = Sqlite::new();
    made(&store, "acct", "gw").unwrap();
    let old = block_on(find(&store, "acct", "gw")).unwrap().unwrap().key;
    let records: Vec<LogRecord> = (0..5)
        .map(|n| LogRecord::new(Call { gateway: old, ..call(&n.to_string()) }, answered(Facts::default())))
        .collect();
    block_on(group_commit::write(&store, records.into(), async |_| {}));
    block_on(delete(&store, "acct", "gw", &actor("d", NOW))).reply.unwrap();
    made(&store, "acct", "gw").unwrap();
    assert_ne!(block_on(find(&store, "acct", "gw")).unwrap().unwrap().key, old);
    let rounds: Vec<bool> = (0..3).map(|_| block_on(delete_logs_slice(&store, old, 2)).unwrap()).collect();
    assert_eq!(rounds, [true, true, false]);
    let left = "SELECT (SELECT count(*) FROM logs) + (SELECT count(*) FROM log_bodies) AS n";
    assert_eq!(block_on(store.row::<Count>(Statement::new(left, []))).unwrap().unwrap().n, 0);
}

/// Whether a call reported success, and whether the gateway is there afterwards, for each way a statement can fail.
#[test]
fn a_failing_database_leaves_nothing_half_done() {
    type Outcome = (bool, bool);
    let create = |store: &Faulty<Sqlite>| made(store, "acct", "gw").is_ok();
    let delete = |store: &Faulty<Sqlite>| block_on(delete(store, "acct", "gw", &actor("d", NOW))).reply.is_ok();
    let there = |store: &Faulty<Sqlite>| block_on(find(&store.inner, "acct", "gw")).unwrap().is_some();
    // (statement, fails before it took effect, fails after it took effect)
    let creating: [(u32, Outcome, Outcome); 2] =
        [(1, (false, false), (false, true)), (2, (false, true), (false, true))];
    let deleting: [(u32, Outcome, Outcome); 2] =
        [(1, (false, true), (false, true)), (2, (false, true), (false, false))];
    for (n, before, after) in creating {
        let store = Faulty::new(Sqlite::new());
        store.fail_before(n);
        assert_eq!((create(&store), there(&store)), before, "create, before {n}");
        let store = Faulty::new(Sqlite::new());
        store.fail_after(n);
        assert_eq!((create(&store), there(&store)), after, "create, after {n}");
    }
    for (n, before, after) in deleting {
        let store = Faulty::new(Sqlite::new());
        assert!(create(&store));
        store.fail_before(n);
        assert_eq!((delete(&store), there(&store)), before, "delete, before {n}");
        let store = Faulty::new(Sqlite::new());
        assert!(create(&store));
        store.fail_after(n);
        assert_eq!((delete(&store), there(&store)), after, "delete, after {n}");
    }
}

#[test]
fn a_slice_goes_from_all_three_tables_or_from_none() {
    let store = Faulty::new(Sqlite::new());
    let log = |id: &str, gateway| {
        let metadata = crate::logs::metadata::parse(r#"{"a":"b"}"#, 5);
        LogRecord::new(Call { gateway, metadata, ..call(id) }, answered(Facts::default()))
    };
    let records = vec![log("a", 1), log("b", 1), log("c", 1), log("kept", 2)];
    block_on(group_commit::write(&store, records.into(), async |_| {}));
    let left = || -> Vec<u64> {
        ["logs", "log_metadata", "log_bodies"]
            .map(|table| Statement::new(format!("SELECT count(*) AS n FROM {table}"), []))
            .map(|count| block_on(store.inner.row::<Count>(count)).unwrap().unwrap().n)
            .to_vec()
    };
    store.fail_before(2);
    assert!(block_on(delete_logs_slice(&store, 1, 2)).is_err());
    assert_eq!(left(), [4, 4, 4]);
    store.fail_after(2);
    assert!(block_on(delete_logs_slice(&store, 1, 2)).is_err());
    assert_eq!(left(), [2, 2, 2]);
    assert!(!block_on(delete_logs_slice(&store, 1, 2)).unwrap());
    assert_eq!(left(), [1, 1, 1]);
}

#[test]
fn a_change_of_what_another_has_changed_is_refused_where_its_version_is_named() {
    let store = Sqlite::new();
    made(&store, "acct", "gw").unwrap();
    let etag = |reply: &Reply| reply.headers.iter().find(|(name, _)| *name == "etag").unwrap().1.clone();
    let first = etag(&block_on(get(&store, "acct", "gw")).unwrap());
    assert_eq!(first, "\"2023-11-14T22:13:20.000Z\"");
    let change = |n: u64, body: &str, if_match: Option<&str>| {
        block_on(update(&store, "acct", "gw", (body.as_bytes(), if_match), &actor(&n.to_string(), NOW))).reply
    };
    let second = etag(&change(1, r#"{"cache_ttl":60}"#, Some(&first)).unwrap());
    // The second of two people is told, although both changes came in one millisecond.
    let refused = change(2, r#"{"cache_ttl":90}"#, Some(&first)).unwrap_err();
    assert_eq!((refused.status, refused.path.join("."), first != second), (412, "header.if-match".to_owned(), true));
    assert!(refused.message.contains("Read it again"), "{}", refused.message);
    assert_eq!(block_on(find(&store, "acct", "gw")).unwrap().unwrap().settings.cache_ttl, 60);
    let weak = format!("\"other\", W/{second}");
    assert!(change(3, r#"{"cache_ttl":90}"#, Some(&weak)).is_ok());
    assert!(change(4, r#"{"cache_ttl":91}"#, Some("*")).is_ok() && change(5, "{}", None).is_ok());
    for wrong in ["", "2023", "\"", "W/"] {
        assert_eq!(change(6, "{}", Some(wrong)).unwrap_err().status, 412, "{wrong}");
    }
}

/// What a refused change would have done is in no trail.
#[test]
fn of_changes_that_meet_none_is_lost() {
    let store = Sqlite::new();
    made(&store, "acct", "gw").unwrap();
    let seen = block_on(find(&store, "acct", "gw")).unwrap().unwrap();
    let given = |text: &str| super::object(text.as_bytes()).unwrap();
    let stale = updating(&seen, &given(r#"{"cache_ttl":5}"#), &actor("s", NOW)).unwrap();
    block_on(update(
        &store,
        "acct",
        "gw",
        (br#"{"rate_limiting_limit":7,"rate_limiting_interval":60}"#, None),
        &actor("o", NOW),
    ))
    .reply
    .unwrap();
    assert_eq!(block_on(store.batch(vec![stale])).unwrap(), [0]);
    block_on(update(&store, "acct", "gw", (br#"{"cache_ttl":5}"#, None), &actor("t", NOW))).reply.unwrap();
    let now = block_on(find(&store, "acct", "gw")).unwrap().unwrap().settings;
    assert_eq!((now.cache_ttl, now.rate_limiting_limit), (5, 7));
}
