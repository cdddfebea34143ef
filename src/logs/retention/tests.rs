use crate::api::feedback;
use crate::api::storage;
use crate::auth::caller::Caller;
use crate::base::id::MarkKey;
use crate::db::whose::Whose;
use crate::feedback::locate::Context;
use crate::feedback::model::Feedback;
use crate::feedback::pending;
use crate::gateways::gateway;
use crate::http::query::Query;
use crate::logs::call::Call;
use crate::logs::group_commit;
use crate::logs::metadata;
use crate::logs::part::Group;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::retention::*;
use crate::logs::rollup::Tally;
use crate::testing::sqlite::{Faulty, Planned, Sqlite};
use crate::wire::Facts;
use pollster::block_on;
use proptest::prelude::*;
use serde_json::json;

const NOW: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;

row! {
    struct Count {
        n: u64,
    }
}

/// A store with gateway 1 and these settings, whose limits are smaller than the API allows.
fn gateway(settings: &Value) -> Sqlite {
    let store = Sqlite::new();
    let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'gw', 'i', 1, 1, ?1)";
    block_on(store.batch(vec![Statement::new(sql, [settings.to_string().into()])])).unwrap();
    store
}

fn stopping(limit: u64) -> Sqlite {
    gateway(&json!({ "log_management": limit, "log_management_strategy": "STOP_INSERTING" }))
}

fn set(store: &impl Store, settings: &Value) {
    let sql = "UPDATE gateways SET settings = ?1 WHERE key = 1";
    block_on(store.batch(vec![Statement::new(sql, [settings.to_string().into()])])).unwrap();
}

/// A log with metadata and both bodies, so many milliseconds before now. Its id begins with its time.
fn record(n: u64, age_ms: u64) -> LogRecord {
    let created_at = NOW - age_ms;
    let id = id::mint(created_at, n.into());
    let mut outcome = answered(Facts::default());
    outcome.body = Some("{}".to_owned());
    LogRecord::new(Call { created_at, metadata: metadata::parse(r#"{"a":"b"}"#, 5), ..call(&id) }, outcome)
}

fn written(store: &impl Store, records: Vec<LogRecord>) {
    assert_eq!(block_on(group_commit::write(store, records.into(), async |_| {})), []);
}

fn ran(store: &impl Store) -> Report {
    block_on(run(store, &Whose::All, NOW, || false)).unwrap()
}

/// As migrations leave it: the logs are to be counted.
fn uncounted(store: &impl Store) {
    block_on(store.batch(vec![Statement::new("UPDATE log_storage SET counted_at = 0", [])])).unwrap();
}

fn number(store: &impl Store, sql: &str) -> u64 {
    block_on(store.row::<Count>(Statement::new(format!("SELECT ({sql}) AS n"), []))).unwrap().unwrap().n
}

fn logs(store: &impl Store) -> u64 {
    number(store, "SELECT count(*) FROM logs")
}

fn bodies(store: &impl Store) -> u64 {
    number(store, "SELECT count(*) FROM log_bodies")
}

fn shown(store: &impl Store) -> Value {
    let reply = block_on(storage::get(store, &block_on(gateway::by_key(store, 1)).unwrap().unwrap())).reply.unwrap();
    serde_json::from_str::<Value>(&reply.body).unwrap()["result"].take()
}

/// What holds at any time: the count is right, and nothing belongs to a log that is not there.
fn sound(store: &impl Store) {
    let counted = number(store, "SELECT coalesce(sum(logs), 0) FROM log_storage");
    assert_eq!(counted, logs(store));
    for table in ["log_bodies", "log_metadata"] {
        let orphans = format!("SELECT count(*) FROM {table} WHERE log_id NOT IN (SELECT id FROM logs)");
        assert_eq!(number(store, &orphans), 0, "{table}");
    }
}

#[test]
fn a_full_gateway_stores_exactly_as_many_as_it_may() {
    let store = stopping(3);
    written(&store, vec![record(1, 50)]);
    written(&store, (2..7).map(|n| record(n, 50 - n)).collect());
    written(&store, vec![record(7, 1)]);
    assert_eq!(number(&store, "SELECT count(*) FROM logs WHERE created_at > 1700000000000 - 48 + 1"), 0);
    assert_eq!((logs(&store), bodies(&store)), (3, 3));
    sound(&store);
    let shown = shown(&store);
    assert_eq!((&shown["logs"], &shown["not_stored"]), (&json!(3), &json!(4)));
    assert_eq!(shown["full_since"], crate::base::timestamp::format(NOW - 44));
    assert_eq!(block_on(group_commit::write(&store, vec![record(8, 0)].into(), async |_| {})), []);
    assert_eq!(shown["log_management_strategy"], "STOP_INSERTING");
}

#[test]
fn what_makes_room_lets_logs_in_again() {
    let store = stopping(2);
    written(&store, (1..4).map(|n| record(n, 9)).collect());
    let first = record(1, 9).id;
    assert_eq!(block_on(removal::remove(&store, &[first], None)).unwrap(), 1);
    assert_eq!((&shown(&store)["full_since"], &shown(&store)["not_stored"]), (&Value::Null, &json!(1)));
    written(&store, vec![record(4, 1)]);
    sound(&store);
    assert_eq!(logs(&store), 2);
    // A higher limit holds from the next log on, and so does none.
    set(&store, &json!({ "log_management": 3 }));
    written(&store, vec![record(5, 1), record(6, 1)]);
    assert_eq!(logs(&store), 3);
    set(&store, &json!({}));
    written(&store, vec![record(7, 1)]);
    assert_eq!(logs(&store), 4);
    sound(&store);
}

#[test]
fn gateways_of_one_group_have_each_their_own_room() {
    let store = stopping(2);
    let other = |n: u64| LogRecord { gateway: 2, ..record(n, 5) };
    written(&store, vec![record(1, 9), other(2), record(3, 8), other(4), record(5, 7), other(6)]);
    assert_eq!(number(&store, "SELECT count(*) FROM logs WHERE gateway = 1"), 2);
    assert_eq!(number(&store, "SELECT logs FROM log_storage WHERE gateway = 2"), 3);
    sound(&store);
}

/// Long bodies are written by a statement of their own.
#[test]
fn a_log_without_room_leaves_no_body_behind() {
    let store = stopping(1);
    let mut long = record(2, 1);
    long.response_body = Some("x".repeat(2_000_000));
    written(&store, vec![record(1, 2), long]);
    sound(&store);
    assert_eq!(logs(&store), 1);
}

#[test]
fn a_write_that_is_repeated_counts_once() {
    for fault in 0..4 {
        let store = Faulty::new(stopping(3));
        if fault < 2 {
            store.fail_before(fault + 1)
        } else {
            store.fail_after(fault - 1)
        }
        written(&store, (1..6).map(|n| record(n, 9)).collect());
        written(&store, (6..8).map(|n| record(n, 9)).collect());
        sound(&store.inner);
        assert_eq!((logs(&store.inner), &shown(&store.inner)["not_stored"]), (3, &json!(4)), "{fault}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_count_is_right_whatever_happens(steps in prop::collection::vec((0u8..5, 0u64..40, 1u64..8), 1..25)) {
        let store = stopping(6);
        let mut ids: Vec<String> = Vec::new();
        for (step, from, n) in steps {
            let before = logs(&store);
            match step {
                0 | 1 => {
                    let records: Vec<LogRecord> =
                        (from..from + n).map(|age| record(ids.len() as u64 * 100 + age, age * DAY)).collect();
                    ids.extend(records.iter().map(|record| record.id.clone()));
                    // The second kind is delivered twice.
                    for _ in 0..=step {
                        written(&store, records.clone());
                    }
                    let limit = number(&store, "SELECT settings->>'log_management' FROM gateways");
                    let stops = number(&store, "SELECT settings->>'log_management_strategy' = 'STOP_INSERTING' FROM gateways");
                    prop_assert!(stops == 0 || logs(&store) <= limit.max(before));
                }
                2 => {
                    let chosen: Vec<String> = ids.iter().skip(from as usize).take(n as usize).cloned().collect();
                    block_on(removal::remove(&store, &chosen, None)).unwrap();
                }
                3 => { ran(&store); }
                _ => set(&store, &json!({
                    "log_management": n, "log_management_strategy": if from % 2 == 0 { "DELETE_OLDEST" } else { "STOP_INSERTING" },
                    "log_retention_days": (from > 20).then_some(from), "log_body_retention_days": (n > 4).then_some(n),
                })),
            }
            sound(&store);
        }
    }
}

#[test]
fn the_oldest_above_the_limit_go_and_no_more() {
    let store = gateway(&json!({ "log_management": 2_500, "log_management_strategy": "DELETE_OLDEST" }));
    written(&store, (0..4_600).map(|n| record(n, n)).collect());
    assert_eq!(ran(&store), Report { logs: 2_100, bodies: 0, unfinished: false });
    assert_eq!((logs(&store), number(&store, "SELECT min(created_at) FROM logs")), (2_500, NOW - 2_499));
    sound(&store);
    assert_eq!(ran(&store), Report::default());
    let shown = shown(&store);
    assert_eq!(
        (&shown["logs"], &shown["logs_removed"], &shown["last_run"]["logs_removed"]),
        (&json!(2_500), &json!(2_100), &json!(2_100))
    );
    assert_eq!(shown["oldest"], crate::base::timestamp::format(NOW - 2_499));
}

#[test]
fn a_limit_without_a_strategy_deletes_nothing() {
    let store = gateway(&json!({ "log_management": 2 }));
    written(&store, (0..4).map(|n| record(n, n)).collect());
    set(&store, &json!({ "log_management": 1 }));
    assert_eq!((ran(&store), logs(&store)), (Report::default(), 2));
}

#[test]
fn logs_and_bodies_go_at_their_age() {
    let store = gateway(&json!({ "log_retention_days": 30, "log_body_retention_days": 7 }));
    let edges = [30 * DAY + 1, 30 * DAY, 7 * DAY + 1, 7 * DAY, 0];
    written(&store, edges.iter().map(|age| record(1, *age)).collect());
    assert_eq!(ran(&store), Report { logs: 1, bodies: 2, unfinished: false });
    assert_eq!((logs(&store), bodies(&store)), (4, 2));
    sound(&store);
    let bodies_of = "SELECT min(created_at) FROM logs JOIN log_bodies ON log_id = id";
    assert_eq!(number(&store, bodies_of), NOW - 7 * DAY);
    let shown = shown(&store);
    assert_eq!(
        shown["last_run"],
        json!({ "at": crate::base::timestamp::format(NOW), "logs_removed": 1, "bodies_removed": 2 })
    );
    assert_eq!(
        (&shown["bodies_removed"], &shown["bodies_removed_before"]),
        (&json!(2), &json!(crate::base::timestamp::format(NOW - 7 * DAY - 1)))
    );
    // A day later the next ones are due; what was looked at is not looked at again.
    let later = block_on(run(&store, &Whose::All, NOW + DAY, || false)).unwrap();
    assert_eq!(later, Report { logs: 1, bodies: 1, unfinished: false });
}

#[test]
fn gateways_keep_what_no_setting_limits() {
    for settings in
        [json!({}), json!({ "log_retention_days": null, "log_body_retention_days": null, "log_management": null })]
    {
        let store = gateway(&settings);
        written(&store, vec![record(1, 3_000 * DAY)]);
        assert_eq!((ran(&store), bodies(&store)), (Report::default(), 1));
    }
    // Nor is a gateway's setting another's.
    let store = gateway(&json!({ "log_retention_days": 1 }));
    written(&store, vec![LogRecord { gateway: 2, ..record(1, 3 * DAY) }]);
    assert_eq!((ran(&store), logs(&store)), (Report::default(), 1));
}

#[test]
fn a_run_is_over_in_time_and_the_next_goes_on() {
    let store = gateway(&json!({ "log_retention_days": 1 }));
    written(&store, (0..2_500).map(|n| record(n, 2 * DAY)).collect());
    let looks = std::cell::Cell::new(0);
    let one_slice = || {
        looks.set(looks.get() + 1);
        looks.get() > 1
    };
    let report = block_on(run(&store, &Whose::All, NOW, one_slice)).unwrap();
    assert_eq!(report, Report { logs: 1_000, bodies: 0, unfinished: true });
    sound(&store);
    assert_eq!(ran(&store), Report { logs: 1_500, bodies: 0, unfinished: false });
}

#[test]
fn the_gateway_that_waited_longest_comes_first() {
    let store = gateway(&json!({ "log_retention_days": 1 }));
    let second = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) SELECT 2, 'a', 'other', 'j', 1, 1, settings FROM gateways";
    block_on(store.batch(vec![Statement::new(second, [])])).unwrap();
    let other = |n: u64| LogRecord { gateway: 2, ..record(10_000 + n, 2 * DAY) };
    written(&store, (0..1_500).map(|n| record(n, 2 * DAY)).chain((0..10).map(other)).collect());
    for wanted in [(500, 10), (500, 0), (0, 0)] {
        let looks = std::cell::Cell::new(0);
        let report = run(&store, &Whose::All, NOW + wanted.0, || {
            looks.set(looks.get() + 1);
            looks.get() > 1
        });
        block_on(report).unwrap();
        let left = |key: u8| number(&store, &format!("SELECT count(*) FROM logs WHERE gateway = {key}"));
        assert_eq!((left(1), left(2)), wanted);
    }
}

/// Two runs at once choose the same logs, so together they remove what one would have removed.
#[test]
fn two_runs_at_once_remove_no_more_than_one() {
    let store = gateway(&json!({ "log_management": 10, "log_management_strategy": "DELETE_OLDEST" }));
    written(&store, (0..15).map(|n| record(n, n)).collect());
    block_on(recount(&store, 1, NOW)).unwrap();
    let due = Due { key: 1, recount: 0, aged: 0, excess: 1 };
    // Both have found the gateway over its limit before either removes anything.
    for _ in 0..2 {
        block_on(slice(&store, &due, NOW, &mut Report::default())).unwrap();
        assert_eq!(logs(&store), 10);
    }
    let bodies = Due { excess: 0, ..due };
    set(&store, &json!({ "log_body_retention_days": 1 }));
    written(&store, vec![record(99, 2 * DAY)]);
    for _ in 0..2 {
        block_on(slice(&store, &bodies, NOW, &mut Report::default())).unwrap();
    }
    assert_eq!(shown(&store)["bodies_removed"], 1);
}

/// Whatever call of a run fails, before or after it took effect: everything fits together, and the next run finishes.
#[test]
fn a_run_that_is_cut_off_is_finished_by_the_next() {
    let filled = || {
        let store = gateway(&json!({
            "log_management": 4, "log_management_strategy": "DELETE_OLDEST", "log_retention_days": 30, "log_body_retention_days": 7,
        }));
        let ages = [40, 31, 20, 15, 9, 3, 1];
        written(&store, ages.iter().map(|age| record(1, age * DAY)).collect());
        uncounted(&store);
        Faulty::new(store)
    };
    let whole = filled();
    ran(&whole);
    let wanted = (shown(&whole.inner), bodies(&whole.inner));
    assert_eq!((logs(&whole.inner), wanted.1), (4, 2));
    for n in 1.. {
        let mut faults = 0;
        for after in [false, true] {
            let store = filled();
            if after {
                store.fail_after(n)
            } else {
                store.fail_before(n)
            }
            faults += u32::from(block_on(run(&store, &Whose::All, NOW, || false)).is_err());
            sound(&store.inner);
            ran(&store.inner);
            sound(&store.inner);
            assert_eq!((shown(&store.inner), bodies(&store.inner)), wanted, "{n} {after}");
        }
        if faults == 0 {
            assert!(n > 10, "a run has more calls than {n}");
            break;
        }
    }
}

#[test]
fn a_count_that_went_wrong_is_put_right_before_anything_is_removed() {
    let store = gateway(&json!({ "log_management": 5, "log_management_strategy": "DELETE_OLDEST" }));
    written(&store, (0..5).map(|n| record(n, n)).collect());
    let wrong = |logs: u64, counted_at: u64| {
        let sql = "UPDATE log_storage SET logs = ?1, counted_at = ?2";
        block_on(store.batch(vec![Statement::new(sql, [at(logs), at(counted_at)])])).unwrap();
    };
    for wrong_count in [9, 0] {
        wrong(wrong_count, NOW - RECOUNT_MS - 1);
        assert_eq!(ran(&store), Report::default());
        sound(&store);
    }
}

fn judging<'a>(query: &'a Query, mark: &'a MarkKey) -> Context<'a> {
    Context { caller: &Caller::Admin, query, mark, now_ms: NOW, entry: "e".to_owned() }
}

#[test]
fn feedback_does_not_wait_for_a_log_that_was_not_stored() {
    let (query, mark) = (Query::parse(""), MarkKey([7; 32]));
    let context = judging(&query, &mark);
    let feedback = Feedback::merge(&json!({ "data": { "rating": 5 } })).unwrap();
    let store = stopping(0);
    let id = id::mint_log(NOW - 1_000, 5, &mark);
    // Before it is known that the log finds no room.
    let kept = block_on(feedback::keep(&[(0, &store)], 0, &id, &feedback, None, &context)).unwrap();
    assert_eq!((kept.status, block_on(pending::waiting(&store)).unwrap()), (202, 1));
    written(&store, vec![LogRecord { id: id.clone(), ..record(1, 1_000) }]);
    block_on(pending::attach(&store, None, NOW)).unwrap();
    assert_eq!(block_on(pending::waiting(&store)).unwrap(), 0);
    // And afterwards.
    let refused = block_on(feedback::keep(&[(0, &store)], 0, &id, &feedback, None, &context)).unwrap_err();
    assert!(refused.status == 404 && refused.message.contains("log_management"), "{refused:?}");
    assert!(block_on(capacity::turned_away(&store, &id)).unwrap());
}

#[test]
fn ids_of_logs_that_were_not_stored_are_forgotten() {
    let store = stopping(0);
    let ages = [UNSTORED_MS + 1, UNSTORED_MS - 1];
    written(&store, ages.iter().map(|age| record(1, *age)).collect());
    ran(&store);
    assert_eq!(number(&store, "SELECT count(*) FROM unstored_logs"), 1);
    assert!(block_on(capacity::turned_away(&store, &record(1, UNSTORED_MS - 1).id)).unwrap());
}

#[test]
fn groups_are_forgotten_after_a_day() {
    let store = stopping(5);
    for age in [WRITTEN_MS + 1, WRITTEN_MS - 1] {
        let records = vec![record(1, 0)];
        let group = Group { id: id::mint(NOW - age, 7), shard: 0, records, unlogged: Tally::default() };
        assert_eq!(block_on(group_commit::write(&store, group, async |_| {})), []);
    }
    ran(&store);
    assert_eq!(number(&store, "SELECT count(*) FROM written_groups"), 1);
}

#[test]
fn a_group_that_is_delivered_again_is_neither_counted_nor_turned_away_again() {
    let store = stopping(3);
    let records = vec![record(1, 0), record(1, 1)];
    let group = Group { id: id::mint(NOW, 7), shard: 0, records, unlogged: Tally::default() };
    for _ in 0..2 {
        assert_eq!(block_on(group_commit::write(&store, group.clone(), async |_| {})), []);
        assert_eq!(number(&store, "SELECT logs FROM log_storage"), 2);
        assert_eq!(number(&store, "SELECT (SELECT count(*) FROM logs) + 10 * (SELECT count(*) FROM unstored_logs)"), 2);
    }
    // Nor does it bring back what was removed since.
    block_on(removal::remove(&store, &[group.records[0].id.clone()], None)).unwrap();
    written_again(&store, group);
    assert_eq!((logs(&store), bodies(&store)), (1, 1));
    sound(&store);
}

fn written_again(store: &impl Store, group: Group) {
    assert_eq!(block_on(group_commit::write(store, group, async |_| {})), []);
}

#[test]
fn a_gateway_without_logs_shows_its_settings() {
    let store = gateway(&json!({ "log_management": 10_000, "log_retention_days": 3 }));
    let wanted = json!({
        "logs": 0, "oldest": null, "log_management": 10_000, "log_management_strategy": "STOP_INSERTING",
        "log_retention_days": 3, "log_body_retention_days": null, "not_stored": 0, "full_since": null,
        "bodies_removed_before": null, "logs_removed": 0, "bodies_removed": 0, "last_run": null,
    });
    assert_eq!(shown(&store), wanted);
}

#[test]
fn nothing_is_scanned() {
    let settings = json!({
        "log_management": 4, "log_management_strategy": "DELETE_OLDEST", "log_retention_days": 30, "log_body_retention_days": 1,
    });
    let store = Planned::new(gateway(&settings));
    written(&store, (0..6).map(|n| record(n, 2 * n * DAY)).chain([record(9, 40 * DAY)]).collect());
    uncounted(&store.inner);
    ran(&store);
    shown(&store);
    let plans = store.plans.take();
    for (plan, sql) in &plans {
        for line in plan.lines().filter(|line| line.starts_with("SCAN")) {
            let known = [
                "json_each",
                "CONSTANT",
                "gateways USING INDEX gateways_with_retention",
                "SCAN fresh",
                "SCAN rows",
                "SCAN gone",
                "(subquery",
            ];
            assert!(known.iter().any(|known| line.contains(known)), "{sql}\n{plan}");
        }
    }
    assert!(!plans.iter().any(|(plan, sql)| plan.contains("TEMP") && sql.starts_with("SELECT id")), "{plans:#?}");
    let planned = |part: &str, by: &str| {
        let found: Vec<_> = plans.iter().filter(|(_, sql)| sql.contains(part)).collect();
        assert!(!found.is_empty() && found.iter().all(|(plan, _)| plan.contains(by)), "{part}\n{found:#?}");
    };
    planned("SELECT id FROM logs WHERE gateway = ?1 AND created_at <", "logs_by_time (gateway=? AND created_at<?");
    planned("SELECT id FROM logs WHERE gateway = ?1 ORDER", "logs_by_time (gateway=?)");
    planned("AS has_body", "logs_by_time (gateway=? AND created_at>? AND created_at<?");
    planned("AS aged", "logs_by_time (gateway=? AND created_at>? AND created_at<?");
    planned("DELETE FROM unstored_logs", "PRIMARY KEY (id<?");
    planned("UPDATE log_storage SET logs = max", "log_storage USING INTEGER PRIMARY KEY");
    planned("SELECT count(*) FROM logs WHERE logs.gateway", "USING COVERING INDEX");
}
