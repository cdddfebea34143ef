use super::*;
use crate::logpush::line;
use crate::logs::group_commit;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::removal;
use crate::testing::plans::scan;
use crate::testing::sqlite::{Faulty, Planned, Sqlite};
use crate::wire::Facts;
use pollster::block_on;

const NOW: u64 = 1_700_000_000_000;

fn filled(logs: u64, settings: &str) -> Sqlite {
    let store = Sqlite::new();
    let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) VALUES (1, 'a', 'gw', 'i', 1, 1, ?1)";
    block_on(store.batch(vec![Statement::new(sql, [settings.into()])])).unwrap();
    add(&store, 0..logs);
    store
}

fn add(store: &impl Store, numbers: std::ops::Range<u64>) {
    let record = |n: u64| {
        let mut made = call(&crate::base::id::mint(NOW + n, n.into()));
        (made.is_pushed, made.gateway, made.created_at) = (true, 1, NOW + n);
        LogRecord::new(made, answered(Facts::default()))
    };
    let records: Vec<LogRecord> = numbers.map(record).collect();
    assert_eq!(block_on(group_commit::write(store, records.into(), async |_| {})), []);
}

fn waiting(store: &impl Store) -> Vec<String> {
    block_on(store.ids(Statement::new("SELECT log_id AS id FROM logs_to_push ORDER BY log_id", []))).unwrap()
}

fn ids(batch: &Batch) -> Vec<String> {
    serde_json::from_str(&batch.batch).unwrap()
}

const ON: &str = r#"{"logpush":true,"logpush_plain":true}"#;

#[test]
fn only_a_gateway_that_pushes_is_due_and_only_its_logs_are_noted() {
    let store = filled(3, r#"{"logpush":false}"#);
    assert!(block_on(due(&store, NOW)).unwrap().is_empty());
    let store = filled(3, ON);
    let found = block_on(due(&store, NOW)).unwrap();
    assert_eq!((found.len(), found[0].plain, waiting(&store).len()), (1, 1, 3));
    let other = LogRecord::new(call("other"), answered(Facts::default()));
    block_on(group_commit::write(&store, vec![other].into(), async |_| {}));
    assert_eq!(waiting(&store).len(), 3, "a gateway without log push leaves nothing");
}

#[test]
fn a_batch_stays_the_same_until_it_has_arrived_whoever_sends_it() {
    let store = filled(600, ON);
    let first = block_on(claim(&store, 1, "one", NOW)).unwrap().unwrap();
    assert_eq!(ids(&first).len(), 500);
    assert_eq!(block_on(claim(&store, 1, "two", NOW + 1)).unwrap(), None, "another isolate works on it");
    // The isolate is gone, and logs that are older have come meanwhile.
    let late = LogRecord::new(
        crate::logs::call::Call { is_pushed: true, gateway: 1, ..call("00000000") },
        answered(Facts::default()),
    );
    block_on(group_commit::write(&store, vec![late].into(), async |_| {}));
    let again = block_on(claim(&store, 1, "three", NOW + LEASE_MS)).unwrap().unwrap();
    assert_eq!(again, first);
    for _ in 0..2 {
        block_on(arrived(&store, 1, &first, 500, NOW)).unwrap();
    }
    assert_eq!(waiting(&store).len(), 101);
    let second = block_on(claim(&store, 1, "four", NOW + LEASE_MS)).unwrap().unwrap();
    assert_eq!((ids(&second).len(), ids(&second)[0].as_str(), second.batch_id.as_str()), (101, "00000000", "four"));
    let counted = "SELECT pushed || ' ' || batches AS id FROM logpush_progress";
    assert_eq!(
        block_on(store.ids(Statement::new(counted, []))).unwrap(),
        ["500 1"],
        "what arrived twice is counted once"
    );
}

#[test]
fn long_logs_make_short_batches() {
    let store = filled(5, ON);
    let sized =
        "UPDATE logs SET request_size = iif(id = (SELECT min(id) FROM logs), 9000000, 1500000), response_size = 0";
    block_on(store.batch(vec![Statement::new(sized, [])])).unwrap();
    let mut lengths = Vec::new();
    while let Some(batch) = block_on(claim(&store, 1, "x", NOW)).unwrap().filter(|batch| batch.batch != "[]") {
        let logs = block_on(line::logs(&store, 1, &batch.batch)).unwrap();
        lengths.push((logs.len(), logs[0].brings_bodies(), line::together(&logs).len()));
        block_on(arrived(&store, 1, &batch, 1, NOW)).unwrap();
    }
    assert_eq!(lengths, [(1, false, 1), (2, true, 2), (2, true, 2)]);
}

#[test]
fn a_destination_that_is_down_is_tried_more_and_more_seldom_and_never_given_up() {
    let store = filled(3, ON);
    let (mut now, mut tries) = (NOW, 0);
    while now < NOW + 24 * 60 * MINUTE_MS {
        if !block_on(due(&store, now)).unwrap().is_empty() {
            let batch = block_on(claim(&store, 1, "x", now)).unwrap().unwrap();
            block_on(failed(&store, 1, &batch, "down", now)).unwrap();
            tries += 1;
        }
        now += MINUTE_MS;
    }
    assert!((48..=56).contains(&tries), "{tries}");
    block_on(store.batch(vec![tried_at_once(1)])).unwrap();
    assert_eq!(block_on(claim(&store, 1, "y", now)).unwrap().unwrap().batch_id, "x");
    assert_eq!(waiting(&store).len(), 3);
}

#[test]
fn what_people_remove_is_not_pushed_and_what_retention_removes_is_counted_as_lost() {
    let store = filled(6, ON);
    let all = waiting(&store);
    let batch = block_on(claim(&store, 1, "x", NOW)).unwrap().unwrap();
    assert_eq!(block_on(removal::remove(&store, &all[..2], None)).unwrap(), 2);
    assert_eq!(block_on(removal::remove_in_run(&store, &all[2..3], NOW)).unwrap(), 1);
    assert_eq!(block_on(line::logs(&store, 1, &batch.batch)).unwrap().len(), 3);
    let lost = "SELECT lost || ' ' || (SELECT count(*) FROM logs_to_push) AS id FROM logpush_progress";
    assert_eq!(block_on(store.ids(Statement::new(lost, []))).unwrap(), ["1 3"]);
}

#[test]
fn no_statement_looks_through_all_logs() {
    let store = Planned::new(filled(50, ON));
    store.plans.take();
    let gateway = block_on(due(&store, NOW)).unwrap().remove(0);
    let batch = block_on(claim(&store, gateway.key, "x", NOW)).unwrap().unwrap();
    assert_eq!(block_on(line::logs(&store, gateway.key, &batch.batch)).unwrap().len(), 50);
    block_on(arrived(&store, gateway.key, &batch, 50, NOW)).unwrap();
    block_on(destination(&store, gateway.key)).unwrap();
    for (plan, sql) in store.plans.take() {
        assert_eq!(scan(&plan).filter(|line| !line.contains("gateways_with_logpush")), None, "{sql}\n{plan}");
    }
}

/// The isolate dies, or the database fails, before or after each call: every log arrives, and each in one batch only.
#[test]
fn it_goes_on_after_a_crash_at_any_step() {
    for step in 1..=9 {
        for late in [false, true] {
            let store = Faulty::new(filled(700, ON));
            if late {
                store.fail_after(step)
            } else {
                store.fail_before(step)
            }
            let mut there: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
            let mut now = NOW;
            for round in 0..8 {
                let _ = block_on(async {
                    for gateway in due(&store, now).await? {
                        let Some(batch) = claim(&store, gateway.key, &format!("batch-{round}"), now).await? else {
                            continue;
                        };
                        let logs = line::logs(&store, gateway.key, &batch.batch).await?;
                        there.insert(batch.batch_id.clone(), logs.iter().map(|log| log.id.clone()).collect());
                        arrived(&store, gateway.key, &batch, logs.len() as u64, now).await?;
                    }
                    Ok::<(), StoreError>(())
                });
                now += LEASE_MS;
            }
            let mut all: Vec<String> = there.into_values().flatten().collect();
            all.sort_unstable();
            let count = all.len();
            all.dedup();
            assert_eq!((count, all.len(), waiting(&store.inner).len()), (700, 700, 0), "step {step}, late {late}");
        }
    }
}
