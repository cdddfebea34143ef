//! Messages and their way, over SQLite and a queue that only remembers.

use crate::base::id;
use crate::db::store::{Bind, Row, row};
use crate::logs::call::Call;
use crate::logs::metadata;
use crate::logs::queue::*;
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::testing::sqlite::{Down, Faulty, Sqlite};
use crate::wire::Facts;
use pollster::block_on;
use std::cell::{Cell, RefCell};

const NOW: u64 = 1_700_000_000_000;

#[derive(Default)]
struct Queue {
    sent: RefCell<Vec<Vec<String>>>,
    missing: bool,
    /// How many of the next calls fail.
    broken: Cell<u32>,
}

impl Outbox for Queue {
    async fn send(&self, messages: &[String]) -> Result<(), String> {
        if self.broken.get() > 0 {
            self.broken.set(self.broken.get() - 1);
            return Err("no queue".to_owned());
        }
        self.sent.borrow_mut().push(messages.to_vec());
        Ok(())
    }

    fn is_bound(&self) -> bool {
        !self.missing
    }
}

impl Queue {
    fn delivered(&self, attempts: u32) -> Vec<Message> {
        let sent = self.sent.take().into_iter().flatten();
        sent.map(|message| Message::read(&message, NamingKey::default(), attempts).unwrap()).collect()
    }
}

/// A database that refuses whatever speaks of poison.
struct Picky(Sqlite);

impl Store for Picky {
    fn pace(&self) -> crate::db::pace::Pace {
        self.0.pace()
    }

    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        self.0.select(statement).await
    }

    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        let poisoned = |bind: &Bind| matches!(bind, Bind::Text(text) if text.contains("poison"));
        if statements.iter().flat_map(|statement| &statement.binds).any(poisoned) {
            return Err(StoreError("refused".to_owned()));
        }
        self.0.batch(statements).await
    }
}

fn record(number: u64, size: usize) -> LogRecord {
    let tags = metadata::parse(r#"{"team":"Ä I","n":12345}"#, 5);
    let mut outcome = answered(Facts::default());
    outcome.body = Some("{\"a\":\"ü\n\"}".repeat(size / 10 + 1));
    LogRecord::new(Call { metadata: tags, ..call(&id::mint(NOW + number, u128::from(number))) }, outcome)
}

fn group(sizes: &[usize]) -> Group {
    let records = sizes.iter().enumerate().map(|(n, size)| record(n as u64, *size)).collect();
    Group { id: id::mint(NOW, 99), shard: 0, records, unlogged: Tally::default() }
}

fn minted() -> impl Fn() -> String {
    let last = Cell::new(100);
    move || {
        last.set(last.get() + 1);
        id::mint(NOW, last.get())
    }
}

fn sent(outbox: &Queue, store: &impl Store, group: Group) -> Losses {
    block_on(send(outbox, store, &group, NamingKey::default(), minted(), &async |_| {}))
}

fn received(store: &impl Store, outbox: &Queue, messages: &[Message]) -> (Vec<bool>, Option<String>) {
    received_at(NOW, store, outbox, messages)
}

fn received_at(now: u64, store: &impl Store, outbox: &Queue, messages: &[Message]) -> (Vec<bool>, Option<String>) {
    let mut messages = messages.to_vec();
    let cause = block_on(receive(store, 0, outbox, &mut messages, now, || false));
    (messages.iter().map(|message| message.done).collect(), cause)
}

fn number(store: &impl Store, sql: &'static str) -> u64 {
    row! {
        struct Count {
            n: u64,
        }
    }
    block_on(store.row::<Count>(Statement::new(sql, []))).unwrap().unwrap().n
}

fn logs(store: &impl Store) -> u64 {
    number(store, "SELECT count(*) AS n FROM logs")
}

/// How many logs were counted for limits.
fn counted(store: &impl Store) -> u64 {
    number(store, "SELECT coalesce(sum(logs), 0) AS n FROM log_storage")
}

/// How many requests were counted for charts.
fn charted(store: &impl Store) -> u64 {
    block_on(crate::logs::rollup::merge::merge_tallies(store, 0)).unwrap();
    number(store, "SELECT coalesce(sum(attempts), 0) AS n FROM rollup")
}

#[test]
fn what_arrives_is_what_was_sent() {
    let outbox = Queue::default();
    let entries: Vec<Entry> = group(&[10, 0, 5_000]).records.iter().map(Entry::of).collect();
    assert_eq!(sent(&outbox, &Sqlite::new(), group(&[10, 0, 5_000])), Losses::default());
    let arrived = outbox.delivered(1);
    assert_eq!((arrived.len(), &arrived[0].part.entries, arrived[0].shard), (1, &entries, 0));
    assert_eq!(arrived[0].part.id, group(&[]).id);
}

#[test]
fn messages_and_batches_are_bounded_and_no_record_is_left_out() {
    let outbox = Queue::default();
    let store = Sqlite::new();
    let sizes: Vec<usize> = (0..90).map(|n| n * 1_200).collect();
    sent(&outbox, &store, group(&sizes));
    let batches = outbox.sent.borrow().clone();
    assert!(batches.len() > 5);
    for batch in &batches {
        assert!(batch.iter().map(|message| message.len() + OVERHEAD).sum::<usize>() <= MAX_BATCH);
        assert!(batch.len() <= MAX_BATCH_MESSAGES && batch.iter().all(|message| message.len() <= MAX_MESSAGE));
    }
    let messages = outbox.delivered(1);
    let mut ids: Vec<&str> = messages.iter().map(|message| message.part.id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), messages.len());
    assert_eq!(received(&store, &outbox, &messages), (vec![true; messages.len()], None));
    assert_eq!((logs(&store), counted(&store), charted(&store)), (90, 90, 90));
    assert_eq!(number(&store, "SELECT count(*) AS n FROM log_metadata"), 180);
}

#[test]
fn a_record_that_no_message_holds_is_written_at_once() {
    let (outbox, store) = (Queue::default(), Sqlite::new());
    sent(&outbox, &store, group(&[10, 300_000, 150_000]));
    assert_eq!((logs(&store), outbox.delivered(1).len()), (2, 1));
    // Where the database refuses to the end, at least the row takes the queue.
    let refusing = Picky(Sqlite::new());
    let mut long = group(&[150_000]);
    long.records[0].response_body = Some("poison".repeat(30_000));
    let id = long.records[0].id.clone();
    let losses = sent(&outbox, &refusing, long);
    assert_eq!(
        losses,
        Losses { logs: vec![], bodies: vec![Lost { id: Some(id), requests: 1, reason: "refused".to_owned() }] }
    );
    assert_eq!(received(&refusing, &outbox, &outbox.delivered(1)), (vec![true], None));
    assert_eq!((logs(&refusing), number(&refusing, "SELECT count(*) AS n FROM log_bodies")), (1, 0));
}

#[test]
fn without_a_queue_everything_is_written_under_the_id_of_the_group() {
    let (outbox, store) = (Queue { missing: true, ..Queue::default() }, Sqlite::new());
    assert_eq!(sent(&outbox, &store, group(&[10, 300_000])), Losses::default());
    assert_eq!((logs(&store), outbox.sent.borrow().len()), (2, 0));
    assert_eq!(number(&store, "SELECT count(*) AS n FROM written_groups"), 1);
    let mut poisoned = group(&[10, 10]);
    poisoned.records[0].path = "poison".to_owned();
    let lost = sent(&outbox, &Picky(Sqlite::new()), poisoned);
    assert_eq!((lost.logs.len(), lost.bodies.len()), (1, 0));
}

#[test]
fn requests_without_logs_are_counted_with_the_others_or_alone() {
    for sizes in [&[10, 300_000][..], &[300_000], &[]] {
        let (outbox, store) = (Queue::default(), Sqlite::new());
        let mut unlogged = Tally::default();
        (0..3).for_each(|n| unlogged.count(&record(n, 0)));
        sent(&outbox, &store, Group { unlogged, ..group(sizes) });
        let messages = outbox.delivered(1);
        assert_eq!(messages.len(), 1);
        assert_eq!(received(&store, &outbox, &messages), (vec![true], None));
        assert_eq!((logs(&store), charted(&store)), (sizes.len() as u64, sizes.len() as u64 + 3));
    }
}

#[test]
fn what_neither_takes_is_counted_as_lost() {
    let mut unlogged = Tally::default();
    (0..3).for_each(|n| unlogged.count(&record(n, 0)));
    let outbox = Queue { missing: true, ..Queue::default() };
    let lost = sent(&outbox, &Down, Group { unlogged, ..group(&[10, 10]) }).logs;
    let requests: Vec<(bool, u64)> = lost.iter().map(|lost| (lost.id.is_some(), lost.requests)).collect();
    assert_eq!(requests, [(true, 1), (true, 1), (false, 3)]);
}

#[test]
fn messages_for_another_database_are_left_alone() {
    let (outbox, store) = (Queue::default(), Sqlite::new());
    sent(&outbox, &store, group(&[10]));
    let mut messages = outbox.delivered(1);
    messages[0].shard = 1;
    assert_eq!(received(&store, &outbox, &messages), (vec![false], None));
    assert_eq!(logs(&store), 0);
}

#[test]
fn a_queue_that_fails_is_tried_again_and_then_done_without() {
    let (outbox, store) = (Queue::default(), Sqlite::new());
    outbox.broken.set(2);
    sent(&outbox, &store, group(&[10, 10]));
    assert_eq!((logs(&store), outbox.delivered(1).len()), (0, 1));

    outbox.broken.set(100);
    assert_eq!(sent(&outbox, &store, group(&[10, 10])), Losses::default());
    assert_eq!((logs(&store), counted(&store)), (2, 2));
    // Had it been sent after all, nothing would come twice.
    outbox.broken.set(0);
    sent(&outbox, &Sqlite::new(), group(&[10, 10]));
    assert_eq!(received(&store, &outbox, &outbox.delivered(1)), (vec![true], None));
    assert_eq!((logs(&store), counted(&store)), (2, 2));

    outbox.broken.set(100);
    let refusing = Faulty::new(Sqlite::new());
    refusing.fail_before(1);
    let lost = sent(&outbox, &refusing, group(&[10]));
    assert_eq!((lost, logs(&refusing.inner)), (Losses::default(), 1));
    let mut poisoned = group(&[10, 10]);
    poisoned.records[0].response_body = Some("poison".to_owned());
    let refusing = Picky(Sqlite::new());
    let lost = sent(&outbox, &refusing, poisoned);
    assert_eq!((lost.logs.len(), lost.bodies.len(), logs(&refusing)), (1, 0, 1));
}

#[test]
fn a_delivery_that_is_repeated_changes_nothing() {
    let (outbox, store) = (Queue::default(), Sqlite::new());
    for n in 0..3 {
        sent(
            &outbox,
            &store,
            Group {
                id: id::mint(NOW, n),
                shard: 0,
                records: vec![record(n as u64, 10), record(50 + n as u64, 10)],
                unlogged: Tally::default(),
            },
        );
    }
    let messages = outbox.delivered(1);
    for _ in 0..2 {
        assert_eq!(received(&store, &outbox, &messages), (vec![true; 3], None));
        assert_eq!((logs(&store), counted(&store), charted(&store)), (6, 6, 6));
    }
    // Also when the answer was lost, and when the group is forgotten by then.
    let faulty = Faulty::new(store);
    faulty.fail_after(1);
    assert_eq!(received(&faulty, &outbox, &messages).0, [true; 3]);
    block_on(faulty.inner.batch(vec![Statement::new("DELETE FROM written_groups", [])])).unwrap();
    let later = received_at(NOW + WRITTEN_MS, &faulty.inner, &outbox, &messages);
    assert_eq!((later, logs(&faulty.inner), counted(&faulty.inner)), ((vec![true; 3], None), 6, 6));
}

#[test]
fn a_message_that_comes_late_is_written() {
    let (outbox, store) = (Queue::default(), Sqlite::new());
    sent(&outbox, &store, group(&[10]));
    let late = received_at(NOW + 3 * WRITTEN_MS, &store, &outbox, &outbox.delivered(40));
    assert_eq!((late, logs(&store)), ((vec![true], None), 1));
}

#[test]
fn a_refused_message_does_not_hold_the_others_up_and_in_the_end_stands_alone() {
    let (outbox, store) = (Queue::default(), Picky(Sqlite::new()));
    let mut poisoned = group(&[10, 10, 10]);
    poisoned.records[1].path = "poison".to_owned();
    sent(&outbox, &store, poisoned);
    for n in 10..12 {
        sent(
            &outbox,
            &store,
            Group { id: id::mint(NOW, n), shard: 0, records: vec![record(n as u64, 10)], unlogged: Tally::default() },
        );
    }
    let messages = outbox.delivered(1);
    let (done, cause) = received(&store, &outbox, &messages);
    assert_eq!((done, cause.as_deref(), logs(&store)), (vec![false, true, true], Some("refused"), 2));
    assert!(outbox.sent.borrow().is_empty());

    // After some deliveries its entries go apart, and only the one that is refused is left.
    let again = [Message { attempts: DELIVERIES_TOGETHER + 1, ..messages[0].clone() }];
    assert_eq!(received(&store, &outbox, &again).0, [true]);
    let parts = outbox.delivered(1);
    assert_eq!(parts.len(), 4);
    assert_eq!(received(&store, &outbox, &parts).0, [true, false, true, true]);
    assert_eq!((logs(&store), counted(&store)), (4, 4));
    // Sent twice, because the first time the queue did not say that it had worked.
    received(&store, &outbox, &again);
    received(&store, &outbox, &outbox.delivered(1));
    assert_eq!((logs(&store), counted(&store), charted(&store)), (4, 4, 5));
    // Put back from the dead letters once it is no longer refused.
    assert_eq!(received(&store.0, &outbox, &parts).0, [true; 4]);
    assert_eq!((logs(&store), counted(&store), charted(&store)), (5, 5, 5));
}

#[test]
fn a_message_that_no_database_can_read_is_put_aside_and_the_others_are_written() {
    let (outbox, store) = (Queue::default(), Sqlite::new());
    for n in 0..3 {
        let records = vec![record(n, 10)];
        sent(&outbox, &store, Group { id: id::mint(NOW, n.into()), shard: 0, records, unlogged: Tally::default() });
    }
    let mut messages = outbox.delivered(1);
    messages[1].part.entries[0].log.push_str(",,");
    messages[1].part.tally.clear();
    let (done, cause) = received(&store, &outbox, &messages);
    assert_eq!((done, logs(&store)), (vec![true; 3], 2));
    assert!(cause.unwrap().contains("malformed JSON"));
    let (told, n) = block_on(put_aside::report(&store, NOW)).unwrap();
    assert_eq!((told[0].source.as_str(), told[0].id.as_str(), n), ("queue", messages[1].part.id.as_str(), 1));
    // Whole, so that it can be delivered again by hand.
    let kept = Statement::new("SELECT content AS id FROM put_aside", []);
    let kept = block_on(store.ids(kept)).unwrap().remove(0);
    assert_eq!(Message::read(&kept, NamingKey::default(), 1).unwrap().part, messages[1].part);
}

#[test]
fn a_strange_message_is_put_aside_once_no_newer_version_has_come() {
    let store = Sqlite::new();
    let aside = |attempts| block_on(put_strange_aside(&store, "m", "hello", attempts, NOW));
    assert_eq!(
        [aside(1), aside(9), aside(10), block_on(put_strange_aside(&Down, "m", "x", 10, NOW))],
        [false, false, true, false]
    );
    assert_eq!(block_on(put_aside::report(&store, NOW)).unwrap().1, 1);
}

#[test]
fn while_the_database_is_down_messages_stay_as_they_are() {
    let outbox = Queue::default();
    sent(&outbox, &Sqlite::new(), group(&[10, 10]));
    let messages = outbox.delivered(9);
    assert_eq!(received(&Down, &outbox, &messages), (vec![false], Some("down".to_owned())));
    assert!(outbox.sent.borrow().is_empty());
}

#[test]
fn what_is_no_message_of_ours_is_not_read() {
    let outbox = Queue::default();
    sent(&outbox, &Sqlite::new(), group(&[10]));
    let good = outbox.sent.borrow()[0][0].clone();
    assert!(Message::read(&good, NamingKey::default(), 1).is_some());
    for bad in [
        "",
        "{}",
        "hello\n",
        "tollgate-logs/2 a 0\n",
        "tollgate-logs/1 a\n",
        "tollgate-logs/1 a x\n",
        "tollgate-logs/1 a 0\nbody []\n",
        "tollgate-logs/1 a 0\nlog x\n",
        &format!("{good}novelty []\n"),
        &good.replace("\nlog ", "\nlog"),
    ] {
        assert_eq!(Message::read(bad, NamingKey::default(), 1), None, "{bad}");
    }
}

#[test]
fn messages_wait_longer_each_time() {
    assert_eq!([1, 2, 3, 9, 10, 40, 1_000].map(delay), [1, 2, 4, 256, 300, 300, 300]);
}

#[test]
fn a_message_is_for_one_database() {
    let (outbox, stores) = (Queue::default(), [Sqlite::new(), Sqlite::new(), Sqlite::new()]);
    for (shard, store) in [0, 1, 2].into_iter().zip(&stores) {
        let id = id::mint(NOW, u128::from(shard));
        let records = vec![LogRecord { shard, ..record(u64::from(shard), 10) }];
        sent(&outbox, store, Group { id, shard, records, unlogged: Tally::default() });
    }
    let mut messages = outbox.delivered(1);
    assert_eq!(messages.iter().map(|message| message.shard).collect::<Vec<u32>>(), [0, 1, 2]);
    for (shard, store) in [1, 2].into_iter().zip(&stores[1..]) {
        block_on(receive(store, shard, &outbox, &mut messages, NOW, || false));
    }
    assert_eq!(messages.iter().map(|message| message.done).collect::<Vec<bool>>(), [false, true, true]);
    assert_eq!(stores.each_ref().map(logs), [0, 1, 1]);
    // What is taken apart stays with its database.
    let mut several = Message { shard: 2, attempts: 9, ..messages.remove(2) };
    several.part = Part::of(&Group { shard: 2, ..group(&[10, 10]) }, NamingKey::default());
    assert!(block_on(divided(&outbox, &several)));
    assert!(outbox.delivered(1).iter().all(|message| message.shard == 2));
}
