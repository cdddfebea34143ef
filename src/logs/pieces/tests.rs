//! Pieces over SQLite: what is shared, what is left after removals, and what happens in between.

use super::moves;
use super::name::NamingKey;
use super::plan::{self, Plan};
use super::read;
use super::release;
use crate::db::store::{Bind, Row, Statement, Store, StoreError, row};
use crate::logs::call::Call;
use crate::logs::group_commit;
use crate::logs::part::{Group, Part};
use crate::logs::record::LogRecord;
use crate::logs::record::tests::{answered, call};
use crate::logs::removal;
use crate::logs::rollup::Tally;
use crate::logs::rows;
use crate::testing::sqlite::Sqlite;
use crate::wire::Facts;
use pollster::block_on;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;

const KEY: NamingKey = NamingKey::of_test([7; 32]);

/// A database whose next transaction ends after so many statements, as if the Worker or the database had been killed there.
struct Killed {
    inner: Sqlite,
    after: Cell<Option<usize>>,
}

impl Store for Killed {
    async fn select(&self, statement: Statement) -> Result<(Vec<Row>, u64), StoreError> {
        self.inner.select(statement).await
    }

    async fn batch(&self, mut statements: Vec<Statement>) -> Result<Vec<u64>, StoreError> {
        if let Some(after) = self.after.take() {
            statements.truncate(after);
            statements.push(Statement::new("killed", []));
        }
        self.inner.batch(statements).await
    }
}

fn killed() -> Killed {
    Killed { inner: Sqlite::new(), after: Cell::new(None) }
}

fn record(id: &str, gateway: i64, request: &str, response: &str) -> LogRecord {
    let mut outcome = answered(Facts::default());
    outcome.body = Some(response.to_owned());
    LogRecord { gateway, ..LogRecord::new(Call { body: Some(request.to_owned()), ..call(id) }, outcome) }
}

fn part(id: &str, records: Vec<LogRecord>) -> Part {
    Part::of(&Group { id: id.to_owned(), shard: 0, records, unlogged: Tally::default() }, KEY)
}

fn write(store: &impl Store, records: Vec<LogRecord>) {
    let id = format!("group of {}", records[0].id);
    assert!(block_on(group_commit::write_parts(store, vec![part(&id, records)], &async |_| {})).is_ok());
}

fn number(store: &impl Store, sql: &str) -> u64 {
    row! {
        struct Count {
            n: u64,
        }
    }
    block_on(store.row::<Count>(Statement::new(format!("SELECT ({sql}) AS n"), []))).unwrap().unwrap().n
}

fn bodies(store: &impl Store, id: &str) -> [Option<String>; 2] {
    block_on(read::whole(store, id)).unwrap()
}

fn remove(store: &impl Store, id: &str) {
    block_on(removal::remove(store, &[id.to_owned()], None)).unwrap();
}

fn released(store: &impl Store) {
    block_on(release::run(store, 3, || false)).unwrap();
}

/// What always holds: each count is the number of references, beside those that are about to be taken out of it.
fn sound(store: &impl Store) {
    let wrong = "SELECT count(*) FROM (SELECT key, 1 + coalesce((SELECT refs FROM piece_refs WHERE piece_refs.key = body_pieces.key), 0) AS counted, \
         (SELECT count(*) FROM log_bodies WHERE own = body_pieces.key) + (SELECT count(*) FROM log_bodies WHERE messages = body_pieces.key) \
         + (SELECT count(*) FROM log_bodies WHERE members = body_pieces.key) + (SELECT count(*) FROM body_pieces AS other WHERE other.before = body_pieces.key) \
         + (SELECT count(*) FROM released_pieces WHERE released_pieces.key = body_pieces.key) AS held FROM body_pieces) WHERE counted <> held";
    assert_eq!(number(store, wrong), 0);
    let dangling = "SELECT count(*) FROM (SELECT own AS key FROM log_bodies UNION SELECT messages FROM log_bodies UNION \
         SELECT members FROM log_bodies UNION SELECT before FROM body_pieces) WHERE key IS NOT NULL AND key NOT IN (SELECT key FROM body_pieces)";
    assert_eq!(number(store, dangling), 0);
}

/// A turn of an agent's session: messages of some 5 KB, of which the last two of the user have a cache mark. Tools stand behind them.
fn turn(session: &str, n: usize) -> String {
    let mut messages = Vec::new();
    for place in 0..=2 * n {
        let filler = format!("{session} {place} é ").repeat(5_000 / (session.len() + 6));
        let is_marked = place % 2 == 0 && place + 4 > 2 * n;
        let mark = if is_marked { r#","cache_control":{"type":"ephemeral"}"# } else { "" };
        let role = if place % 2 == 0 { "user" } else { "assistant" };
        messages.push(format!(r#"{{"role":"{role}","content":[{{"type":"text","text":"{filler}"{mark}}}]}}"#));
    }
    let system = "You write code. ".repeat(600);
    let tools = r#"{"name":"read","input_schema":{}},"#.repeat(300);
    format!(
        r#"{{"model":"claude","max_tokens":{n},"messages":[{}],"system":"{system}","tools":[{tools}null]}}"#,
        messages.join(", ")
    )
}

#[test]
fn forty_turns_of_an_agent_are_forty_logs_in_a_seventh_of_their_bytes() {
    let store = Sqlite::new();
    let mut sent = Vec::new();
    for n in 0..40 {
        let (id, request, response) = (format!("log-{n:02}"), turn("s", n), format!("answer {n} ").repeat(100));
        let before = number(
            &store,
            "SELECT (SELECT count(*) FROM body_pieces) + (SELECT coalesce(sum(refs), 0) FROM piece_refs)",
        );
        write(&store, vec![record(&id, 1, &request, &response)]);
        let after = number(
            &store,
            "SELECT (SELECT count(*) FROM body_pieces) + (SELECT coalesce(sum(refs), 0) FROM piece_refs)",
        );
        // Beside the row of `log_bodies` and the five of `logs` with its indexes.
        assert!(after - before <= 4, "turn {n}: {} rows", after - before);
        sent.push((id, request, response));
    }
    for (id, request, response) in &sent {
        assert!(bodies(&store, id) == [Some(request.clone()), Some(response.clone())], "{id}");
        let begun = block_on(read::beginnings(&store, id, 9_001)).unwrap().request.unwrap();
        assert!(begun.len() >= request.len().min(8_998) && request.starts_with(&begun), "{id}: {}", begun.len());
    }
    let received: usize = sent.iter().map(|(_, request, response)| request.len() + response.len()).sum();
    let stored = number(&store, "SELECT sum(length(CAST(content AS BLOB))) FROM body_pieces")
        + number(&store, "SELECT sum(length(layout)) FROM log_bodies");
    assert!(stored as f64 <= 0.15 * received as f64, "{stored} of {received}");
    sound(&store);
    let (same, all) = block_on(read::shared_messages(&store, "log-20", "log-21")).unwrap().unwrap();
    assert!(same > 150_000 && all > same && all - same < 20_000, "{same} of {all}");
    for (id, ..) in &sent {
        remove(&store, id);
        sound(&store);
    }
    released(&store);
    for table in ["body_pieces", "piece_refs", "released_pieces", "log_bodies"] {
        assert_eq!(number(&store, &format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn messages_that_never_change_are_stored_once() {
    let store = Sqlite::new();
    let request = |n: usize| {
        let message = |place: usize| format!(r#"{{"role":"user","content":"{}"}}"#, format!("{place} ").repeat(3_000));
        let messages: Vec<String> = (0..=2 * n).map(message).collect();
        format!(r#"{{"input":[{}],"model":"gpt"}}"#, messages.join(","))
    };
    for n in 0..20 {
        write(&store, vec![record(&format!("{n:02}"), 1, &request(n), "ok")]);
        assert_eq!(bodies(&store, &format!("{n:02}"))[0], Some(request(n)));
    }
    let stored = number(&store, "SELECT sum(length(content)) FROM body_pieces");
    assert!(stored < 2 * request(19).len() as u64, "{stored}");
}

#[test]
fn a_short_half_with_other_characters_leaves_the_long_one_in_ascii() {
    let (long, other) = ("plain \\n".repeat(2_000), "“Soup” – ü…".repeat(20));
    let pieces = |request: &str, response: &str| {
        let store = Sqlite::new();
        write(&store, vec![record("a", 1, request, response)]);
        assert_eq!(bodies(&store, "a"), [Some(request.to_owned()), Some(response.to_owned())]);
        sound(&store);
        let ascii =
            number(&store, "SELECT count(*) FROM body_pieces WHERE length(content) = length(CAST(content AS BLOB))");
        let all = number(&store, "SELECT count(*) FROM body_pieces");
        remove(&store, "a");
        released(&store);
        assert_eq!(number(&store, "SELECT count(*) FROM body_pieces"), 0);
        (all, ascii)
    };
    assert_eq!((pieces(&long, &other), pieces(&other, &long)), ((2, 1), (2, 1)));
    // Where it would gain nothing there is one row, as rows are paid for.
    assert_eq!((pieces(&long, "Soup"), pieces(&format!("{long}…"), &other)), ((1, 1), (1, 0)));
    let huge = "x".repeat(2_000_000);
    assert_eq!((pieces(&huge, &other), pieces(&other, &huge)), ((4, 3), (4, 3)));
}

#[test]
fn gateways_share_nothing_and_one_group_shares_at_once() {
    let store = Sqlite::new();
    let text = turn("s", 10);
    write(&store, vec![record("a", 1, &text, "1"), record("b", 1, &text, "2"), record("c", 2, &text, "3")]);
    sound(&store);
    let own = "SELECT sum(length(CAST(content AS BLOB))) FROM body_pieces WHERE digest <> ''";
    let once = number(&store, own) / 2;
    assert!(once > text.len() as u64 / 2 && once < text.len() as u64);
    assert_eq!(
        number(
            &store,
            "SELECT count(*) FROM log_bodies AS a JOIN log_bodies AS b ON a.messages = b.messages WHERE a.log_id < b.log_id"
        ),
        1
    );
    remove(&store, "a");
    released(&store);
    sound(&store);
    for id in ["b", "c"] {
        assert_eq!(bodies(&store, id)[0].as_deref(), Some(text.as_str()));
    }
}

#[test]
fn a_piece_that_goes_between_the_look_and_the_write_is_sent_again() {
    let store = Sqlite::new();
    write(&store, vec![record("a", 1, &turn("s", 8), "1")]);
    let stale = part("g", vec![record("b", 1, &turn("s", 9), "2")]);
    let plan = block_on(Plan::shared(&store, &stale)).unwrap();
    remove(&store, "a");
    released(&store);
    let failed = block_on(store.batch(rows::statements(&stale, plan))).unwrap_err();
    assert!(failed.0.contains("piece_refs.refs") && !failed.is_of_the_rows(), "{}", failed.0);
    assert_eq!(number(&store, "SELECT count(*) FROM logs"), 0);
    // Two that bring the same: the second one fails, and finds what the first has brought.
    let other = part("h", vec![record("c", 1, &turn("s", 9), "2")]);
    let plans = [block_on(Plan::shared(&store, &stale)).unwrap(), block_on(Plan::shared(&store, &other)).unwrap()];
    let [first, second] = plans;
    block_on(store.batch(rows::statements(&stale, first))).unwrap();
    let failed = block_on(store.batch(rows::statements(&other, second))).unwrap_err();
    assert!(!failed.is_of_the_rows(), "{}", failed.0);
    assert!(block_on(group_commit::write_parts(&store, vec![other], &async |_| {})).is_ok());
    sound(&store);
    assert_eq!(bodies(&store, "c"), [Some(turn("s", 9)), Some("2".to_owned())]);
}

#[test]
fn logs_that_find_no_room_leave_no_piece() {
    let store = Sqlite::new();
    let sql = "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings) \
         VALUES (1, 'a', 'gw', 'i', 1, 1, '{\"log_management\":2,\"log_management_strategy\":\"STOP_INSERTING\"}')";
    block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
    write(&store, (0..4).map(|n| record(&format!("{n}"), 1, &turn("s", 5 + n), "ok")).collect());
    sound(&store);
    assert_eq!(number(&store, "SELECT count(*) FROM logs"), 2);
    assert_eq!(number(&store, "SELECT count(*) FROM log_bodies"), 2);
    assert_eq!(bodies(&store, "1")[0], Some(turn("s", 6)));
    remove(&store, "0");
    remove(&store, "1");
    released(&store);
    assert_eq!(number(&store, "SELECT count(*) FROM body_pieces"), 0);
}

#[test]
fn several_messages_of_a_queue_share_in_one_transaction() {
    let store = Sqlite::new();
    let parts =
        [part("a", vec![record("a", 1, &turn("s", 6), "1")]), part("b", vec![record("b", 1, &turn("s", 7), "2")])];
    let (drafts, mut known) = block_on(plan::look_up(&store, &parts.iter().collect::<Vec<_>>())).unwrap();
    let each = parts.iter().zip(&drafts);
    let statements =
        each.flat_map(|(part, drafts)| rows::statements(part, Plan::of(part, drafts, &mut known))).collect();
    block_on(store.batch(statements)).unwrap();
    sound(&store);
    assert_eq!(
        [bodies(&store, "a")[0].clone(), bodies(&store, "b")[0].clone()],
        [Some(turn("s", 6)), Some(turn("s", 7))]
    );
    assert!(number(&store, "SELECT count(*) FROM piece_refs") > 0);
}

#[test]
fn long_rows_of_before_are_moved_and_read_the_same_at_any_time() {
    let store = killed();
    let mut wanted = BTreeMap::new();
    for n in 0..30 {
        let (id, request, response) = (format!("{n:02}"), "ü".repeat(n * 300), "{}".repeat(n * 100 % 7_000));
        let logs = "INSERT INTO log_bodies (log_id, seq, request, response) VALUES (?1, ?2, ?3, ?4)";
        for seq in 0..1 + n % 3 {
            let binds = [id.as_str().into(), Bind::Int(seq as i64), request.as_str().into(), response.as_str().into()];
            block_on(store.batch(vec![Statement::new(logs, binds)])).unwrap();
        }
        wanted.insert(id, [Some(request.repeat(1 + n % 3)), Some(response.repeat(1 + n % 3))]);
    }
    let same = || wanted.iter().for_each(|(id, wanted)| assert!(bodies(&store, id) == *wanted, "{id}"));
    same();
    for _ in 0..60 {
        let slices = Cell::new(0);
        store.after.set(Some(1));
        let _ = block_on(moves::run(&store, &KEY, 4, || slices.replace(1) == 1));
        store.after.set(None);
        let slices = Cell::new(0);
        block_on(moves::run(&store, &KEY, 4, || slices.replace(1) == 1)).unwrap();
        same();
        sound(&store);
    }
    assert_eq!(number(&store, "SELECT count(*) FROM log_bodies WHERE length(request) + length(response) > 4000"), 0);
    assert_eq!(number(&store, "SELECT count(*) FROM body_moves WHERE up_to IS NULL"), 1);
    let sql = "DELETE FROM log_bodies";
    block_on(store.batch(vec![Statement::new(sql, [])])).unwrap();
    released(&store);
    assert_eq!(number(&store, "SELECT count(*) FROM body_pieces"), 0);
}

#[derive(Clone, Debug)]
enum Step {
    /// Writes turns of a session, some of them together, and repeats the transaction.
    Write {
        session: usize,
        turns: Vec<usize>,
        killed_after: Option<usize>,
        repeated: bool,
    },
    /// Plans a turn, and writes it only when others have been at work.
    Plan {
        session: usize,
        turn: usize,
    },
    Late,
    Remove {
        which: usize,
        killed_after: Option<usize>,
    },
    Release {
        slices: u32,
        killed_after: Option<usize>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let killed = || proptest::option::weighted(0.3, 0_usize..9);
    let step = prop_oneof![
        4 => (0_usize..3, proptest::collection::vec(0_usize..7, 1..3), killed(), any::<bool>())
            .prop_map(|(session, turns, killed_after, repeated)| Step::Write { session, turns, killed_after, repeated }),
        1 => (0_usize..3, 0_usize..7).prop_map(|(session, turn)| Step::Plan { session, turn }),
        1 => Just(Step::Late),
        3 => (any::<usize>(), killed()).prop_map(|(which, killed_after)| Step::Remove { which, killed_after }),
        2 => (1_u32..4, killed()).prop_map(|(slices, killed_after)| Step::Release { slices, killed_after }),
    ];
    proptest::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn every_log_reads_as_it_was_sent_and_nothing_else_is_left(steps in steps()) {
        let store = killed();
        let mut there: BTreeMap<String, String> = BTreeMap::new();
        let mut planned: Vec<(Part, Plan, String, String)> = Vec::new();
        let mut minted = 0;
        // Sessions 0 and 1 have the same beginning, 2 is that of another gateway.
        let body = |session: usize, n: usize| {
            let text = turn("s", n);
            if n > 3 && session == 1 { text.replace("s 5", "t 5") } else { text }
        };
        for step in steps {
            match step {
                Step::Write { session, turns, killed_after, repeated } => {
                    let gateway = 1 + (session / 2) as i64;
                    let logs: Vec<(String, String)> = turns.iter().map(|n| {
                        minted += 1;
                        (format!("log-{minted:03}"), body(session, *n))
                    }).collect();
                    let records = logs.iter().map(|(id, text)| record(id, gateway, text, id)).collect();
                    let part = part(&format!("group-{minted:03}"), records);
                    store.after.set(killed_after);
                    for _ in 0..=u8::from(repeated) {
                        let written = block_on(group_commit::write_parts(&store, vec![part.clone()], &async |_| {}));
                        prop_assert!(written.is_ok());
                    }
                    store.after.set(None);
                    there.extend(logs);
                }
                Step::Plan { session, turn } => {
                    minted += 1;
                    let (id, text) = (format!("log-{minted:03}"), body(session, turn));
                    let part = part(&format!("group-{minted:03}"), vec![record(&id, 1 + (session / 2) as i64, &text, &id)]);
                    let plan = block_on(Plan::shared(&store, &part)).unwrap();
                    planned.push((part, plan, id, text));
                }
                Step::Late => {
                    if let Some((part, plan, id, text)) = planned.pop()
                        && block_on(store.batch(rows::statements(&part, plan))).is_ok()
                    {
                        there.insert(id, text);
                    }
                }
                Step::Remove { which, killed_after } => {
                    let Some(id) = there.keys().nth(which % there.len().max(1)).cloned() else { continue };
                    store.after.set(killed_after);
                    if block_on(removal::remove(&store, std::slice::from_ref(&id), None)).is_ok() {
                        there.remove(&id);
                    }
                    store.after.set(None);
                }
                Step::Release { slices, killed_after } => {
                    store.after.set(killed_after);
                    let done = Cell::new(0);
                    let _ = block_on(release::run(&store, 2, || done.replace(done.get() + 1) >= slices));
                    store.after.set(None);
                }
            }
            sound(&store);
        }
        for (id, text) in &there {
            prop_assert!(bodies(&store, id) == [Some(text.clone()), Some(id.clone())], "{}", id);
        }
        released(&store);
        sound(&store);
        let reachable = "SELECT count(*) FROM body_pieces WHERE key NOT IN (WITH RECURSIVE held (key) AS (SELECT own FROM log_bodies \
             UNION SELECT messages FROM log_bodies UNION SELECT members FROM log_bodies UNION \
             SELECT before FROM held JOIN body_pieces ON body_pieces.key = held.key) SELECT key FROM held WHERE key IS NOT NULL)";
        prop_assert_eq!(number(&store, reachable), 0);
        for (id, text) in &there {
            prop_assert!(bodies(&store, id)[0].as_ref() == Some(text));
            remove(&store, id);
        }
        released(&store);
        prop_assert_eq!(number(&store, "SELECT (SELECT count(*) FROM body_pieces) + (SELECT count(*) FROM piece_refs)"), 0);
    }
}
