//! Group commit: the records of an isolate are gathered for a moment and written together, one statement per table.
//!
//! A statement per request would cut the Worker's throughput to a fifth. This module holds what is waiting and how it
//! is written; the timer and the database come from the shell.

use crate::db::store::{Store, StoreError};
#[cfg(test)]
use crate::logs::part::Lost;
use crate::logs::part::{Group, Part};
#[cfg(test)]
use crate::logs::pieces::name::NamingKey;
use crate::logs::pieces::plan::Plan;
use crate::logs::record::LogRecord;
use crate::logs::rollup::Tally;
use crate::logs::rows::{self, MAX_JSON};

/// How long the first record waits for company, in milliseconds. A caller who asks for logs does not wait that long.
pub const WINDOW_MS: u64 = 50;

/// How long what is only counted waits, in milliseconds: no caller looks for a single request in a count.
pub const COUNT_WINDOW_MS: u64 = 250;

/// How much too soon a timer may wake its leader, in milliseconds.
const EARLY_MS: u64 = 10;

/// How late a leader may be until another is elected, in milliseconds.
const LATE_MS: u64 = 1_000;

/// After this long without any movement nothing is being written any more, in milliseconds.
const FORGOTTEN_MS: u64 = 60_000;

const MAX_RECORDS: usize = 100;

/// Above this many bytes waiting in an isolate of 128 MB, records are kept without their bodies.
const MAX_WAITING: usize = 32 * 1024 * 1024;

/// Pauses before a failed write is tried again, in milliseconds: 27 s, because the platform ends background work
/// 30 s after the response.
pub const PAUSES_MS: &[u64] = &[100, 250, 500, 1_000, 2_000, 4_000, 6_000, 6_000, 7_000];

/// After this many failures records are written one by one, so that one that D1 refuses does not take others along.
const FAILURES_TOGETHER: usize = 3;

/// The records of an isolate on their way to the database. Plain data: no request may touch another's JS handles.
#[derive(Default)]
pub struct Waiting {
    records: Vec<LogRecord>,
    /// The requests that are counted and leave no log, by database.
    unlogged: Vec<(u32, Tally)>,
    /// When what is waiting will be written, as some request promised, in milliseconds.
    due_at: Option<u64>,
    /// When something was last taken or settled.
    touched_at: u64,
    /// Bytes waiting or being written.
    weight: usize,
    /// Records that will never be written, since the isolate started.
    pub lost: u64,
    /// Records that were written without the whole of their bodies.
    pub cut: u64,
}

/// What could not be written.
pub struct Unwritten {
    pub parts: Vec<Part>,
    pub reason: String,
}

// === impl Waiting ===

impl Waiting {
    /// Adds a record, to be written within so many milliseconds. True means: the caller leads, and has to
    /// [`Waiting::take`] and write by then.
    pub fn push(&mut self, mut record: LogRecord, now_ms: u64, window_ms: u64) -> bool {
        if self.records.is_empty() && now_ms.saturating_sub(self.touched_at) > FORGOTTEN_MS {
            // The platform ended the request that was writing; it is not going to say that it is done.
            self.weight = 0;
        }
        self.touched_at = now_ms;
        if self.weight + record.weight() > MAX_WAITING {
            record.request_body = None;
            record.response_body = None;
        }
        self.weight += record.weight();
        self.records.push(record);
        self.leads(now_ms, window_ms)
    }

    /// Counts a request that leaves no log. True means the same as for [`Waiting::push`].
    pub fn count(&mut self, record: &LogRecord, now_ms: u64, window_ms: u64) -> bool {
        let place = self.unlogged.iter().position(|(shard, _)| *shard == record.shard).unwrap_or(self.unlogged.len());
        if place == self.unlogged.len() {
            self.unlogged.push((record.shard, Tally::default()));
        }
        if let Some((_, tally)) = self.unlogged.get_mut(place) {
            tally.count(record);
        }
        self.leads(now_ms, window_ms)
    }

    /// Whether a leader that has waited is to write: another one may have promised to do so soon.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.due_at.is_some_and(|promised| promised <= now_ms.saturating_add(EARLY_MS))
    }

    fn leads(&mut self, now_ms: u64, window_ms: u64) -> bool {
        let due_at = now_ms.saturating_add(window_ms);
        // A leader whose request was ended early has not kept its promise.
        let leads = self.due_at.is_none_or(|promised| promised > due_at || now_ms.saturating_sub(promised) > LATE_MS);
        if leads {
            self.due_at = Some(due_at);
        }
        leads
    }

    /// Everything that waits, in groups to be written each in one transaction; `mint` makes their ids. The next record
    /// elects a new leader.
    pub fn take(&mut self, mint: impl Fn() -> String) -> Vec<Group> {
        self.due_at = None;
        let mut groups: Vec<(usize, Group)> = Vec::new();
        for record in self.records.drain(..) {
            let (own, shard) = (record.weight(), record.shard);
            match groups.iter_mut().rfind(|(_, group)| group.shard == shard) {
                Some((weight, Group { records, .. })) if records.len() < MAX_RECORDS && *weight + own <= MAX_JSON => {
                    *weight += own;
                    records.push(record);
                }
                _ => {
                    let group = Group { id: mint(), shard, records: vec![record], unlogged: Tally::default() };
                    groups.push((own, group));
                }
            }
        }
        for (shard, unlogged) in self.unlogged.drain(..) {
            match groups.iter_mut().rfind(|(_, group)| group.shard == shard) {
                Some((_, group)) => group.unlogged = unlogged,
                None => groups.push((0, Group { id: mint(), shard, records: Vec::new(), unlogged })),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// Whether nothing waits and nothing is being written.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.weight == 0
    }

    /// Bodies are about to be put into the bucket. False means that too much waits already.
    pub fn hold(&mut self, weight: usize, now_ms: u64) -> bool {
        let fits = self.weight + weight <= MAX_WAITING;
        if fits {
            self.touched_at = now_ms;
            self.weight += weight;
        }
        fits
    }

    /// A group has been written, or given up.
    pub fn settled(&mut self, weight: usize, lost: u64) {
        self.weight = self.weight.saturating_sub(weight);
        self.lost += lost;
    }
}

/// Writes a group, for tests.
#[cfg(test)]
pub async fn write(store: &impl Store, group: Group, pause: impl AsyncFn(u64)) -> Vec<Lost> {
    write_parts(store, vec![Part::of(&group, NamingKey::default())], &pause)
        .await
        .err()
        .map(Unwritten::lost)
        .unwrap_or_default()
}

/// Writes groups, or parts of them, trying again while time allows. `pause` waits so many milliseconds. A write that took
/// effect although it reported an error is recognised and not repeated.
pub async fn write_parts(store: &impl Store, mut parts: Vec<Part>, pause: &impl AsyncFn(u64)) -> Result<(), Unwritten> {
    let mut pauses = PAUSES_MS.iter();
    let mut failures = 0;
    loop {
        let mut failed = Vec::new();
        let mut reason = String::new();
        for part in parts {
            if let Err(error) = write_part(store, &part, failures < FAILURES_TOGETHER).await {
                reason = error.0;
                failed.push(part);
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        failures += 1;
        let Some(wait) = pauses.next() else { return Err(Unwritten { parts: failed, reason }) };
        pause(*wait).await;
        parts = if failures == FAILURES_TOGETHER { failed.into_iter().flat_map(Part::apart).collect() } else { failed };
    }
}

/// Writes a part. What it shares with other logs is looked up anew each time: between a look and the write it may have changed.
async fn write_part(store: &impl Store, part: &Part, shares: bool) -> Result<(), StoreError> {
    let plan = if shares { Plan::shared(store, part).await? } else { Plan::alone(part) };
    store.batch(rows::statements(part, plan)).await.map(drop)
}

// === impl Unwritten ===

#[cfg(test)]
impl Unwritten {
    pub fn lost(self) -> Vec<Lost> {
        self.parts.into_iter().flat_map(|part| part.lost(&self.reason)).collect()
    }
}

#[cfg(test)]
mod tests {
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
}
