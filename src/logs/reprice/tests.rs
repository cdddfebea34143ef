use super::*;
use crate::api::{Place, costs, reprices};
use crate::base::id;
use crate::catalogue::table::Catalogue;
use crate::db::audit::Actor;
use crate::logs::call::Call;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::pricing::price::CustomCost;
use crate::pricing::rates;
use crate::testing::sqlite::{Faulty, Sqlite};
use crate::wire::Facts;
use pollster::block_on;
use std::cell::Cell;

const NOW: u64 = 1_700_000_000_000;

const PLACE: Place<'static> = Place { account: "a", gateway: "gw", key: 1 };

fn actor() -> Actor<'static> {
    Actor { name: "admin", now_ms: NOW + 1_000_000, entry: id::mint(NOW, 1) }
}

/// `count` logs of 100 and 10 tokens, the first of them priced by their callers.
fn with_logs(count: u64) -> Sqlite {
    let store = Sqlite::new();
    let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'gw', 'i', 0, 0, '{}')";
    block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
    let records: Vec<LogRecord> = (0..count)
        .map(|n| {
            let usage = Usage { tokens_in: Some(100), tokens_out: Some(10), ..Usage::default() };
            let custom_cost = (n == 0).then_some(CustomCost::Total(7.0));
            let made = Call { created_at: NOW + n, custom_cost, ..call(&id::mint(NOW + n, n.into())) };
            LogRecord::new(made, answered(Facts { usage, ..Facts::default() }))
        })
        .collect();
    for group in records.chunks(100) {
        assert!(block_on(group_commit::write(&store, group.to_vec().into(), async |_| {})).is_empty());
    }
    store
}

fn rule(store: &impl Store, model: &str) {
    let body = json!({ "account_provider_id": "openai", "model": model, "cost_in": 1e-5, "cost_out": 1e-4 });
    block_on(costs::create(
        store,
        "a",
        body.to_string().as_bytes(),
        &id::mint(NOW, 5),
        &actor(),
        &crate::config::bounds::Bounds::USUAL.costs,
    ))
    .reply
    .unwrap();
}

fn begin(store: &impl Store, body: Value) -> String {
    let id = id::mint(NOW, 9);
    let made = block_on(reprices::create(
        store,
        &PLACE,
        body.to_string().as_bytes(),
        &id,
        &actor(),
        &crate::config::bounds::Bounds::USUAL.reprices,
    ));
    assert_eq!(made.reply.unwrap().status, 200);
    id
}

/// What charts say that all logs cost.
fn charted(store: &impl Store) -> f64 {
    row! {
        struct Charted {
            cost: f64,
        }
    }
    block_on(crate::logs::rollup::merge::merge_tallies(store, NOW)).unwrap();
    let sum = Statement::new("SELECT sum(cost) AS cost FROM rollup", []);
    rates::rounded(block_on(store.row::<Charted>(sum)).unwrap().unwrap().cost)
}

fn state(store: &impl Store, id: &str) -> Value {
    let reply = block_on(reprices::get(store, &PLACE, id)).reply.unwrap();
    serde_json::from_str::<Value>(&reply.body).unwrap()["result"].clone()
}

fn costs(store: &impl Store) -> Vec<(Option<f64>, Option<String>)> {
    row! {
        struct Cost {
            cost: Option<f64>,
            price_rule: Option<String>,
        }
    }
    let all = Statement::new("SELECT cost, price_rule FROM logs ORDER BY created_at, id", []);
    block_on(store.rows::<Cost>(all)).unwrap().into_iter().map(|row| (row.cost, row.price_rule)).collect()
}

/// A clock that goes on by a second with every look.
fn clock() -> impl Fn() -> u64 {
    let now = Cell::new(NOW + 2_000_000);
    move || {
        now.set(now.get() + 1_000);
        now.get()
    }
}

#[test]
fn past_logs_get_todays_prices_but_those_their_callers_priced() {
    let store = with_logs(13);
    let listed = costs(&store)[1].clone();
    rule(&store, "gpt-4o");
    let dry = begin(&store, json!({ "dry_run": true }));
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    let seen = state(&store, &dry);
    assert_eq!((&seen["processed"], &seen["logs_seen"], &seen["logs_changed"]), (&json!(true), &json!(13), &json!(12)));
    assert_eq!(costs(&store)[1], listed);
    assert_eq!(seen["cost_after"], json!(rates::rounded(7.0 + 12.0 * 0.002)));
    assert_eq!(charted(&store), seen["cost_before"].as_f64().unwrap());
    block_on(store.batch(vec![Statement::new("DELETE FROM reprices", [])])).unwrap();
    let wet = begin(&store, json!({}));
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    let now = costs(&store);
    assert_eq!(now[0], (Some(7.0), Some("request".to_owned())));
    assert!(now[1..].iter().all(|(cost, rule)| *cost == Some(0.002) && rule.as_ref().unwrap().starts_with("rule:")));
    let changed = state(&store, &wet);
    assert_eq!(charted(&store), changed["cost_after"].as_f64().unwrap());
    assert_eq!((&changed["cost_before"], &changed["cost_after"]), (&seen["cost_before"], &seen["cost_after"]));
    // Once more there is nothing to change; without the rule all is as it was.
    block_on(
        store.batch(vec![Statement::new("DELETE FROM reprices", []), Statement::new("DELETE FROM price_rules", [])]),
    )
    .unwrap();
    begin(&store, json!({}));
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    assert_eq!(costs(&store)[1], listed);
}

#[test]
fn only_the_logs_that_are_meant_are_seen() {
    let store = with_logs(20);
    rule(&store, "gpt-4o");
    let from = crate::base::timestamp::format(NOW + 15);
    let id = begin(
        &store,
        json!({ "start_date": from, "filters": [{ "key": "provider", "operator": "eq", "value": ["openai"] }] }),
    );
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    let changed: Vec<bool> = costs(&store).iter().map(|(cost, _)| *cost == Some(0.002)).collect();
    assert_eq!(changed, (0..20).map(|n| n >= 15).collect::<Vec<_>>());
    assert_eq!(state(&store, &id)["logs_seen"], 5);
    for wrong in [
        json!({ "dry_run": 1 }),
        json!({ "filter": [] }),
        json!({ "start_date": "" }),
        json!({ "filters": "x" }),
        json!({ "filters": [{ "key": "nothing" }] }),
    ] {
        let refused = block_on(reprices::create(
            &store,
            &PLACE,
            wrong.to_string().as_bytes(),
            "x",
            &actor(),
            &crate::config::bounds::Bounds::USUAL.reprices,
        ))
        .reply
        .unwrap_err();
        assert_eq!((refused.status, refused.path.first().map(String::as_str)), (400, Some("body")), "{wrong}");
    }
    assert!(block_on(reprices::get(&store, &Place { key: 2, ..PLACE }, &id)).reply.is_err());
}

#[test]
fn logs_that_a_rare_filter_means_are_found_window_by_window() {
    let store = with_logs(40);
    rule(&store, "gpt-4o");
    let rare = "UPDATE logs SET user_agent = 'rare' WHERE id IN (SELECT id FROM logs ORDER BY id LIMIT 3 OFFSET 30)";
    block_on(store.batch(vec![Statement::new(rare, [])])).unwrap();
    let id = begin(&store, json!({ "filters": [{ "key": "user_agent", "operator": "contains", "value": ["rar"] }] }));
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    let changed: Vec<bool> = costs(&store).iter().map(|(cost, _)| *cost == Some(0.002)).collect();
    assert_eq!(changed, (0..40).map(|n| (30..33).contains(&n)).collect::<Vec<_>>());
    let seen = state(&store, &id);
    assert_eq!((&seen["processed"], &seen["logs_seen"], &seen["logs_changed"]), (&json!(true), &json!(3), &json!(3)));
}

#[test]
fn a_job_that_is_broken_off_anywhere_counts_every_log_once() {
    let whole = with_logs(13);
    rule(&whole, "gpt-4o");
    let id = begin(&whole, json!({}));
    block_on(run_all(&whole, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    let wanted = (state(&whole, &id), costs(&whole));
    let wanted_sum = charted(&whole);
    for after in [false, true] {
        for call in 0..15 {
            let store = with_logs(13);
            rule(&store, "gpt-4o");
            let id = begin(&store, json!({}));
            let faulty = Faulty::new(store);
            if after {
                faulty.fail_after(call)
            } else {
                faulty.fail_before(call)
            }
            let first = block_on(run_all(&faulty, 0, &Whose::All, clock(), u64::MAX));
            // The next isolate waits for the lease of one that is gone to end.
            let later = clock();
            block_on(run_all(&faulty.inner, 0, &Whose::All, || later() + LEASE_MS + 1_000_000, u64::MAX)).unwrap();
            let mut found = state(&faulty.inner, &id);
            found["modified_at"] = wanted.0["modified_at"].clone();
            assert_eq!((found, costs(&faulty.inner)), wanted, "{call} {after} {first:?}");
            assert_eq!(charted(&faulty.inner), wanted_sum, "{call} {after}");
        }
    }
}

#[test]
fn of_two_who_work_on_a_slice_one_counts() {
    let store = with_logs(3);
    rule(&store, "gpt-4o");
    let id = begin(&store, json!({}));
    assert!(!block_on(slice(&store, &store, &id, &clock(), &mut Ahead::default())).unwrap());
    let before = state(&store, &id);
    let job = Job {
        id: id.clone(),
        gateway: 1,
        query: "[]".to_owned(),
        dry_run: 0,
        cursor: None,
        logs_seen: 0,
        logs_changed: 0,
        cost_before: 0.0,
        cost_after: 0.0,
        created_at: NOW,
    };
    assert!(!block_on(job.commit(&store, &[], &Next::Nothing, (&Catalogue::default(), &[]), NOW)).unwrap());
    assert_eq!(state(&store, &id), before);
    // While an isolate holds the lease no other begins.
    block_on(store.batch(vec![Statement::new("UPDATE reprices SET processed = 0, lease_until = 9e15", [])])).unwrap();
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    assert_eq!(state(&store, &id)["processed"], false);
}

#[test]
fn a_job_that_cannot_be_read_ends_and_the_others_go_on() {
    let store = with_logs(7);
    rule(&store, "gpt-4o");
    let id = begin(&store, json!({}));
    for (name, fault) in [("a", "cost_before = 9e999"), ("b", "query = '{'"), ("c", "cursor = 5, logs_seen = 'x'")] {
        let copy = "INSERT INTO reprices SELECT ?1, gateway, query, dry_run, processed, error, cursor, logs_seen, logs_changed, cost_before, \
                 cost_after, -1, created_at, modified_at FROM reprices WHERE id = ?2";
        let broken = format!("UPDATE reprices SET {fault} WHERE id = ?1");
        let statements =
            vec![Statement::new(copy, [name.into(), id.as_str().into()]), Statement::new(broken, [name.into()])];
        block_on(store.batch(statements)).unwrap();
    }
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    let left = block_on(store.ids(Statement::new("SELECT id FROM reprices WHERE processed = 0", []))).unwrap();
    assert_eq!((left, &state(&store, &id)["logs_changed"]), (Vec::new(), &json!(6)));
    assert!(block_on(put_aside::report(&store, NOW)).unwrap().1 >= 2);
}

#[test]
fn what_an_older_version_took_for_a_cost_is_in_no_sum() {
    let store = with_logs(3);
    block_on(store.batch(vec![Statement::new("UPDATE logs SET cost = 1e300", [])])).unwrap();
    charted(&store);
    block_on(store.batch(vec![Statement::new("UPDATE rollup SET cost = 1", [])])).unwrap();
    rule(&store, "gpt-4o");
    let id = begin(&store, json!({}));
    block_on(run_all(&store, 0, &Whose::All, clock(), u64::MAX)).unwrap();
    let seen = state(&store, &id);
    assert_eq!((&seen["cost_before"], &seen["cost_after"]), (&json!(0.0), &json!(0.004)));
    assert_eq!(charted(&store), 1.004);
}

#[test]
fn logs_that_cannot_be_priced_anew_keep_what_they_have() {
    let log = |change: fn(&mut Log)| {
        let mut log = Log {
            id: "x".to_owned(),
            created_at: NOW,
            provider: "openai".to_owned(),
            model: Some("gpt-4o".to_owned()),
            answer_model: None,
            error: None,
            finish_reason: None,
            cached: 0,
            custom_cost: 0,
            tokens_in: Some(100),
            tokens_out: Some(10),
            total_tokens: None,
            tokens_cached: None,
            tokens_cache_write: None,
            tokens_reasoning: None,
            cached_beside: Some(0),
            provider_cost: None,
            cost: Some(5.0),
            usage_details: None,
            usage_of: None,
            cost_unknown: None,
            price_rule: None,
        };
        change(&mut log);
        log
    };
    let rules = rules::from_json(r#"[["r","openai","gpt-4o","equals",1e-5,1e-4,null,1]]"#);
    let priced = |change: fn(&mut Log), rules: &[PriceRule]| log(change).priced(&Catalogue::default(), rules);
    let kept = (Some(5.0), None, None);
    assert_eq!(priced(|_| (), &rules), (Some(0.002), Some("rule:r".to_owned()), None));
    for change in [
        |log: &mut Log| log.cached = 1,
        |log: &mut Log| log.custom_cost = 1,
        |log: &mut Log| log.usage_of = Some("another".to_owned()),
        |log: &mut Log| log.error = Some("upstream: the answer broke off".to_owned()),
    ] {
        assert_eq!(priced(change, &rules), kept);
    }
    // A log from before may have the provider's own cost: only a rule is better than that.
    assert_eq!(priced(|log| log.cached_beside = None, &[]), kept);
    assert_eq!(priced(|log| log.cached_beside = None, &rules).0, Some(0.002));
    assert_eq!(priced(|log| log.provider_cost = Some(0.25), &[]), (Some(0.25), Some("provider".to_owned()), None));
    assert_eq!(
        priced(|log| log.provider_cost = Some(1e300), &[]),
        (None, Some("provider".to_owned()), Some(price::BEYOND.to_owned()))
    );
    let unheard_of = priced(|log| log.model = Some("unheard-of".to_owned()), &[]);
    assert_eq!(unheard_of, (None, None, Some("there is no price for this model".to_owned())));
    // What has a price of its own is priced by the row alone.
    let flex = |log: &mut Log| {
        (log.model, log.usage_details) = (Some("gpt-5".to_owned()), Some(r#"{"service_tier":"flex"}"#.to_owned()))
    };
    assert_eq!(priced(flex, &[]).0, Some((100.0 * 0.625 + 10.0 * 5.0) / 1e6));
    // The answer's own name of the model counts first.
    let named =
        |log: &mut Log| (log.model, log.answer_model) = (Some("my-deployment".to_owned()), Some("gpt-4o".to_owned()));
    assert_eq!(priced(named, &rules).0, Some(0.002));
    let beside = |log: &mut Log| {
        (log.provider, log.cached_beside, log.cost, log.tokens_cached) = ("anthropic".to_owned(), None, None, Some(50))
    };
    assert!(log(beside).usage().cached_outside);
}
