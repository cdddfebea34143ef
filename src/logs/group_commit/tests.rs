use super::*;
use crate::db::store::{Bind, Statement, row};
use crate::logs::call::Call;
use crate::logs::metadata;
use crate::logs::pieces::read;
use crate::logs::record::tests::{answered, call};
use crate::testing::sqlite::{Faulty, Sqlite};
use crate::wire::Facts;
use pollster::block_on;
use std::cell::RefCell;

row! {
    struct Count {
        n: u64,
    }
}

fn record(id: &str) -> LogRecord {
    let tags = metadata::parse(r#"{"team":"AI","user":12345,"test":true}"#, 5);
    let mut outcome = answered(Facts::default());
    outcome.body = Some(r#"{"ok":"ü"}"#.to_owned());
    LogRecord::new(Call { metadata: tags, ..call(id) }, outcome)
}

/// For tests, in which every group has a first record of its own.
impl From<Vec<LogRecord>> for Group {
    fn from(records: Vec<LogRecord>) -> Self {
        let id = records.first().map(|record| format!("group of {}", record.id)).unwrap_or_default();
        Self { id, shard: 0, records, unlogged: Tally::default() }
    }
}

fn lengths(waiting: &mut Waiting) -> Vec<usize> {
    waiting.take(String::new).iter().map(|group| group.records.len()).collect()
}

fn count(store: &impl Store, sql: &'static str) -> u64 {
    block_on(store.row::<Count>(Statement::new(sql, []))).unwrap().unwrap().n
}

#[test]
fn the_first_record_leads_until_the_buffer_is_taken() {
    let mut waiting = Waiting::default();
    assert!(waiting.push(record("a"), 0, WINDOW_MS) && !waiting.push(record("b"), 0, WINDOW_MS));
    assert_eq!(lengths(&mut waiting), [2]);
    assert!(waiting.push(record("c"), 0, WINDOW_MS));
}

#[test]
fn what_is_only_counted_waits_longer_unless_a_log_comes() {
    let mut waiting = Waiting::default();
    assert!(waiting.count(&record("a"), 0, COUNT_WINDOW_MS) && !waiting.count(&record("b"), 90, COUNT_WINDOW_MS));
    assert!(waiting.push(record("c"), 100, WINDOW_MS) && !waiting.count(&record("d"), 110, COUNT_WINDOW_MS));
    assert!(!waiting.is_due(110) && waiting.is_due(149) && waiting.is_due(250));
    let groups = waiting.take(String::new);
    assert!(!waiting.is_due(250));
    assert_eq!(groups.iter().map(|group| group.unlogged.attempts()).collect::<Vec<_>>(), [3]);
    // A count that is about to be written takes a log along.
    assert!(waiting.count(&record("e"), 0, COUNT_WINDOW_MS) && !waiting.push(record("f"), 200, WINDOW_MS));
}

#[test]
fn a_leader_that_was_ended_is_replaced() {
    let mut waiting = Waiting::default();
    assert!(waiting.push(record("a"), 5_000, WINDOW_MS) && !waiting.push(record("b"), 5_900, WINDOW_MS));
    assert!(waiting.push(record("c"), 6_100, WINDOW_MS));
    assert_eq!(lengths(&mut waiting), [3]);
    // D1 did not say that these were written, and in the end no request waits for it.
    assert!(!waiting.is_empty());
    waiting.push(record("d"), 100_000, WINDOW_MS);
    let weight = record("d").weight();
    lengths(&mut waiting);
    waiting.settled(weight, 0);
    assert!(waiting.is_empty());
}

#[test]
fn groups_are_bounded_in_number_and_size() {
    let mut waiting = Waiting::default();
    for n in 0..250 {
        waiting.push(record(&n.to_string()), 0, WINDOW_MS);
    }
    let mut long = record("long");
    long.response_body = Some("x".repeat(3_000_000));
    waiting.push(long, 0, WINDOW_MS);
    assert_eq!(lengths(&mut waiting), [100, 100, 50, 1]);
}

#[test]
fn a_group_goes_to_one_database() {
    let mut waiting = Waiting::default();
    for n in 0..250 {
        waiting.push(LogRecord { shard: n % 2, ..record(&n.to_string()) }, 0, WINDOW_MS);
    }
    for shard in [1, 2, 1] {
        waiting.count(&LogRecord { shard, ..record("unlogged") }, 0, WINDOW_MS);
    }
    let groups = waiting.take(String::new);
    let sizes: Vec<(u32, usize, u64)> =
        groups.iter().map(|group| (group.shard, group.records.len(), group.unlogged.attempts())).collect();
    assert_eq!(sizes, [(0, 100, 0), (1, 100, 0), (0, 25, 0), (1, 25, 2), (2, 0, 1)]);
    assert!(waiting.take(String::new).is_empty());
    assert!(groups.iter().all(|group| group.records.iter().all(|record| record.shard == group.shard)));
}

#[test]
fn a_full_isolate_keeps_the_row_and_drops_the_bodies() {
    let mut waiting = Waiting::default();
    for n in 0..5 {
        let mut long = record(&n.to_string());
        long.response_body = Some("x".repeat(9_000_000));
        waiting.push(long, 0, WINDOW_MS);
    }
    let groups = waiting.take(String::new);
    let records = groups.into_iter().flat_map(|group| group.records);
    let kept: Vec<bool> = records.map(|record| record.response_body.is_some()).collect();
    assert_eq!(kept, [true, true, true, false, false]);
}

#[test]
fn a_group_is_written_to_every_table_with_its_types() {
    let store = Sqlite::new();
    let lost = block_on(write(&store, vec![record("a"), record("b")].into(), async |_| {}));
    assert_eq!(lost, []);
    assert_eq!(count(&store, "SELECT count(*) AS n FROM logs WHERE success = 1 AND tokens_in IS NULL"), 2);
    assert_eq!(
        count(&store, "SELECT count(*) AS n FROM log_bodies WHERE response = '{\"ok\":\"ü\"}' AND request = '{}'"),
        2
    );
    for (condition, kind) in [("value = 'AI'", "text"), ("value = 12345", "integer"), ("value = 'true'", "text")] {
        let sql = format!("SELECT count(*) AS n FROM log_metadata WHERE {condition} AND typeof(value) = '{kind}'");
        let found = block_on(store.row::<Count>(Statement::new(sql, []))).unwrap().unwrap().n;
        assert_eq!(found, 2, "{condition}");
    }
}

#[test]
fn long_bodies_are_cut_between_characters_and_come_back_whole() {
    let store = Sqlite::new();
    let mut long = record("a");
    let text = "aü€😀".repeat(300_000);
    long.response_body = Some(text.clone());
    block_on(write(&store, vec![long].into(), async |_| {}));
    assert_eq!(count(&store, "SELECT count(*) AS n FROM body_pieces"), 4);
    let [request, response] = block_on(read::whole(&store, "a")).unwrap();
    assert!(request.as_deref() == Some("{}") && response == Some(text));
}

#[test]
fn a_failed_write_is_repeated_without_doubling_rows() {
    for took_effect in [false, true] {
        let store = Faulty::new(Sqlite::new());
        if took_effect {
            store.fail_after(1)
        } else {
            store.fail_before(1)
        }
        let pauses = RefCell::new(Vec::new());
        let lost =
            block_on(write(&store, vec![record("a"), record("b")].into(), async |ms| pauses.borrow_mut().push(ms)));
        assert_eq!((lost, pauses.into_inner()), (vec![], vec![100]));
        assert_eq!(count(&store, "SELECT count(*) AS n FROM logs"), 2);
        assert_eq!(count(&store, "SELECT count(*) AS n FROM log_metadata"), 6);
    }
}

#[test]
fn one_refused_record_does_not_take_the_others_along() {
    struct Picky(Sqlite);
    impl Store for Picky {
        async fn select(
            &self,
            statement: Statement,
        ) -> Result<(Vec<crate::db::store::Row>, u64), crate::db::store::StoreError> {
            self.0.select(statement).await
        }
        async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, crate::db::store::StoreError> {
            let poisoned = |bind: &Bind| matches!(bind, Bind::Text(text) if text.contains("poison"));
            if statements.iter().flat_map(|statement| &statement.binds).any(poisoned) {
                return Err(crate::db::store::StoreError("refused".to_owned()));
            }
            self.0.batch(statements).await
        }
    }
    let store = Picky(Sqlite::new());
    let lost = block_on(write(&store, vec![record("a"), record("poison"), record("b")].into(), async |_| {}));
    assert_eq!(lost, [Lost { id: Some("poison".to_owned()), requests: 1, reason: "refused".to_owned() }]);
    assert_eq!(count(&store.0, "SELECT count(*) AS n FROM logs"), 2);
}
