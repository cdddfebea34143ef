//! Group commit: the records of an isolate are gathered for a moment and written together, one statement per table.
//!
//! A statement per request would cut the Worker's throughput to a fifth. This module holds what is waiting and how it
//! is written; the timer and the database come from the shell.

use crate::metadata;
use crate::record::LogRecord;
use crate::retention::room;
use crate::store::{Bind, Statement, Store};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::{Value, json};

/// How long the first record waits for company, in milliseconds.
pub const WINDOW_MS: u64 = 20;

/// How long a leader may take until another is elected, in milliseconds.
const LEADER_MS: u64 = 1_000;

/// After this long without any movement nothing is being written any more, in milliseconds.
const FORGOTTEN_MS: u64 = 60_000;

const MAX_RECORDS: usize = 100;

/// D1 takes at most 2 MB in one bound value; escaping can make JSON twice as long as what is in it.
const MAX_JSON: usize = 1_000_000;

/// The longest piece of a body. Request and response share a row, and D1 limits a row to 2 MB.
const PIECE: usize = 900_000;

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
    /// When a request promised to write what is waiting, in milliseconds.
    leader_since: Option<u64>,
    /// When something was last taken or settled.
    touched_at: u64,
    /// Bytes waiting or being written.
    weight: usize,
    /// Records that will never be written, since the isolate started.
    pub lost: u64,
}

/// What is written in one transaction.
#[derive(Clone, Debug)]
pub struct Group {
    /// Stays the same when the group is written again: see [`Key`].
    pub id: String,
    pub records: Vec<LogRecord>,
}

/// What a transaction is known by in `written_groups`. When a group is written in parts, each of them looks for the whole
/// as well, which may have been written although an error came back.
pub struct Key<'a> {
    group: &'a str,
    part: String,
}

/// SQL for: the transaction was not carried out before. Its statements have [`Key::binds`] as their last values.
macro_rules! is_new {
    () => {
        is_new!("?2, ?3")
    };
    ($binds:literal) => {
        concat!("NOT EXISTS (SELECT 1 FROM written_groups WHERE written_groups.id IN (", $binds, "))")
    };
}
pub(crate) use is_new;

/// A record that could not be written, with the reason, for the operator's log.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    pub id: String,
    pub reason: String,
}

// === impl Waiting ===

impl Waiting {
    /// Adds a record. True means: the caller leads, and has to [`Waiting::take`] and write after [`WINDOW_MS`].
    pub fn push(&mut self, mut record: LogRecord, now_ms: u64) -> bool {
        if self.records.is_empty() && now_ms.saturating_sub(self.touched_at) > FORGOTTEN_MS {
            // The platform ended whoever was writing; nobody is going to say that it is done.
            self.weight = 0;
        }
        self.touched_at = now_ms;
        if self.weight + record.weight() > MAX_WAITING {
            record.request_body = None;
            record.response_body = None;
        }
        self.weight += record.weight();
        self.records.push(record);
        // A leader whose request was ended early has not kept its promise.
        let leads = self.leader_since.is_none_or(|since| now_ms.saturating_sub(since) > LEADER_MS);
        if leads {
            self.leader_since = Some(now_ms);
        }
        leads
    }

    /// Everything that waits, in groups to be written each in one transaction; `mint` makes their ids. The next record
    /// elects a new leader.
    pub fn take(&mut self, mint: impl Fn() -> String) -> Vec<Group> {
        self.leader_since = None;
        let mut groups: Vec<Group> = Vec::new();
        let mut weight = 0;
        for record in self.records.drain(..) {
            weight += record.weight();
            match groups.last_mut() {
                Some(Group { records, .. }) if records.len() < MAX_RECORDS && weight <= MAX_JSON => {
                    records.push(record)
                }
                _ => {
                    weight = record.weight();
                    groups.push(Group { id: mint(), records: vec![record] });
                }
            }
        }
        groups
    }

    /// Whether nothing waits and nothing is being written.
    pub fn is_empty(&self) -> bool {
        self.weight == 0
    }

    /// A group has been written, or given up.
    pub fn settled(&mut self, weight: usize, lost: usize) {
        self.weight = self.weight.saturating_sub(weight);
        self.lost += lost as u64;
    }
}

/// Writes a group, trying again while time allows, and returns what is lost in the end. `pause` waits so many
/// milliseconds. A write that took effect although it reported an error is recognised and not repeated.
pub async fn deliver(store: &impl Store, group: &Group, pause: impl AsyncFn(u64)) -> Vec<Lost> {
    let Group { id, records } = group;
    let mut parts = vec![(Key::of(id), records.as_slice())];
    let mut pauses = PAUSES_MS.iter();
    let mut failures = 0;
    loop {
        let mut failed = Vec::new();
        let mut reason = String::new();
        for (key, part) in parts {
            if let Err(error) = store.batch(statements(&key, part)).await {
                reason = error.0;
                failed.push((key, part));
            }
        }
        if failed.is_empty() {
            return Vec::new();
        }
        failures += 1;
        let Some(wait) = pauses.next() else {
            let lost = failed.into_iter().flat_map(|(_, records)| records);
            return lost.map(|record| Lost { id: record.id.clone(), reason: reason.clone() }).collect();
        };
        pause(*wait).await;
        parts = if failures == FAILURES_TOGETHER {
            records.chunks(1).enumerate().map(|(number, record)| (Key::part(id, number), record)).collect()
        } else {
            failed
        };
    }
}

#[cfg(test)]
pub async fn write(store: &impl Store, group: Group, pause: impl AsyncFn(u64)) -> Vec<Lost> {
    deliver(store, &group, pause).await
}

/// The statements that write records in one transaction, which has no effect when it is repeated. Logs are left out for
/// which their gateway has no room.
pub fn statements(key: &Key<'_>, records: &[LogRecord]) -> Vec<Statement> {
    let (mut statements, places) = room::admit(key, records);
    let rows = records.iter().zip(places).map(|(record, place)| Row { record, place });
    let rows = json_array(rows.filter_map(|row| serde_json::to_string(&row).ok()));
    statements.push(Statement::new(insert_logs(), key.binds([rows.into()])));
    let entries: Vec<String> = records.iter().flat_map(metadata_rows).map(|row| row.to_string()).collect();
    if !entries.is_empty() {
        statements.push(Statement::new(INSERT_METADATA, key.binds([Bind::Text(json_array(entries))])));
    }
    let mut together: Vec<String> = Vec::new();
    let mut length = 0;
    for (row, size) in records.iter().flat_map(body_rows) {
        if size > MAX_JSON / 4 {
            statements.push(Statement::new(INSERT_BODY, key.binds(row)));
            continue;
        }
        let row = as_json(&row).to_string();
        if length + row.len() > MAX_JSON && !together.is_empty() {
            statements.push(Statement::new(INSERT_BODIES, key.binds([Bind::Text(json_array(together.drain(..)))])));
            length = 0;
        }
        length += row.len();
        together.push(row);
    }
    if !together.is_empty() {
        statements.push(Statement::new(INSERT_BODIES, key.binds([Bind::Text(json_array(together))])));
    }
    statements.push(Statement::new(NOTE_GROUP, [Bind::Text(key.part.clone())]));
    statements
}

/// The last statement of a transaction, because those before it ask whether it was carried out already.
const NOTE_GROUP: &str = "INSERT OR IGNORE INTO written_groups (id) VALUES (?1)";

// === impl Key ===

impl<'a> Key<'a> {
    /// A group that is written as a whole.
    pub fn of(group: &'a str) -> Self {
        Self { group, part: group.to_owned() }
    }

    fn part(group: &'a str, number: usize) -> Self {
        Self { group, part: format!("{group}/{number}") }
    }

    /// A statement's own values, and after them those for [`is_new!`].
    pub fn binds(&self, own: impl Into<Vec<Bind>>) -> Vec<Bind> {
        let mut binds = own.into();
        binds.extend([Bind::from(self.group), Bind::Text(self.part.clone())]);
        binds
    }
}

/// Declares the columns of `logs`, each named like the field of [`LogRecord`] it takes.
macro_rules! columns {
    ($($column:ident,)*) => {
        const COLUMNS: &[&str] = &[$(stringify!($column)),*];

        impl Serialize for Row<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let LogRecord { $($column,)* may_lack_room: _, metadata_entries: _, request_body: _, response_body: _ } = self.record;
                let mut row = serializer.serialize_seq(None)?;
                $(row.serialize_element($column)?;)*
                row.serialize_element(&self.place)?;
                row.end()
            }
        }
    };
}

/// A row of `logs` as an array in the order of the columns, which SQLite reads in a quarter of the time that an object takes.
/// After them comes which of its gateway's logs in this transaction it is, counted from 1.
struct Row<'a> {
    record: &'a LogRecord,
    place: usize,
}

columns! {
    id,
    gateway,
    created_at,
    provider,
    model,
    model_type,
    path,
    request_type,
    status_code,
    success,
    cached,
    step,
    attempt,
    answered,
    credential,
    credential_alias,
    evaluation_id,
    error,
    duration,
    first_byte,
    tokens_in,
    tokens_out,
    total_tokens,
    tokens_cached,
    tokens_cache_write,
    tokens_reasoning,
    cost,
    price_rule,
    answer_model,
    cached_beside,
    provider_cost,
    saved_cost,
    custom_cost,
    finish_reason,
    event_id,
    response_id,
    provider_request_id,
    user_agent,
    authentication,
    request_content_type,
    response_content_type,
    request_size,
    response_size,
    metadata,
}

/// SQL for the rows of a JSON array. Without MATERIALIZED, SQLite would write each row out as text and parse it again for
/// every value that is taken out of it.
macro_rules! rows {
    () => {
        "WITH rows AS MATERIALIZED (SELECT value AS v FROM json_each(?1)) "
    };
}

/// What belongs to a log goes where the log went: there, or nowhere.
const INSERT_METADATA: &str = concat!(
    "INSERT OR IGNORE INTO log_metadata (log_id, key, value, gateway, created_at) ",
    rows!(),
    "SELECT v->>0, v->>1, v->>2, v->>3, v->>4 FROM rows WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = v->>0) AND ",
    is_new!()
);

const INSERT_BODIES: &str = concat!(
    "INSERT OR IGNORE INTO log_bodies (log_id, seq, request, response) ",
    rows!(),
    "SELECT v->>0, v->>1, v->>2, v->>3 FROM rows WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = v->>0) AND ",
    is_new!()
);

const INSERT_BODY: &str = concat!(
    "INSERT OR IGNORE INTO log_bodies (log_id, seq, request, response) \
     SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = ?1) AND ",
    is_new!("?5, ?6")
);

fn insert_logs() -> String {
    let values: Vec<String> = (0..COLUMNS.len()).map(|place| format!("v->>{place}")).collect();
    let (columns, values, last) = (COLUMNS.join(", "), values.join(", "), COLUMNS.len());
    let (rows, new) = (rows!(), is_new!());
    format!(
        "INSERT OR IGNORE INTO logs ({columns}) {rows} SELECT {values} FROM rows \
         WHERE v->>{last} <= (SELECT admitted FROM log_storage WHERE log_storage.gateway = v->>1) AND {new}"
    )
}

fn metadata_rows(record: &LogRecord) -> impl Iterator<Item = Value> {
    record
        .metadata_entries
        .iter()
        .map(|(key, value)| json!([record.id, key, metadata::searchable(value), record.gateway, record.created_at]))
}

/// The rows of a record's bodies, each with about its size in bytes.
fn body_rows(record: &LogRecord) -> Vec<(Vec<Bind>, usize)> {
    let mut requests = pieces(record.request_body.as_deref().unwrap_or(""));
    let mut responses = pieces(record.response_body.as_deref().unwrap_or(""));
    // An empty body that was kept differs from one that was not: it has a row with an empty text.
    if record.request_body.is_some() && requests.is_empty() {
        requests.push("");
    }
    if record.response_body.is_some() && responses.is_empty() {
        responses.push("");
    }
    let rows = requests.len().max(responses.len());
    (0..rows)
        .map(|seq| {
            let (request, response) = (requests.get(seq).copied(), responses.get(seq).copied());
            let size = request.map_or(0, str::len) + response.map_or(0, str::len);
            (vec![Bind::from(record.id.as_str()), Bind::Int(seq as i64), request.into(), response.into()], size)
        })
        .collect()
}

/// A text in pieces of at most [`PIECE`] bytes, none of which ends within a character.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(PIECE);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

pub fn as_json(row: &[Bind]) -> Value {
    row.iter()
        .map(|bind| match bind {
            Bind::Null => Value::Null,
            Bind::Int(value) => json!(value),
            Bind::Real(value) => json!(value),
            Bind::Text(value) => json!(value),
        })
        .collect()
}

fn json_array(rows: impl IntoIterator<Item = String>) -> String {
    let rows: Vec<String> = rows.into_iter().collect();
    format!("[{}]", rows.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Call;
    use crate::record::tests::{answered, call};
    use crate::store::row;
    use crate::store::sqlite::{Faulty, Sqlite};
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
            Self { id: records.first().map(|record| format!("group of {}", record.id)).unwrap_or_default(), records }
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
        assert!(waiting.push(record("a"), 0) && !waiting.push(record("b"), 0));
        assert_eq!(lengths(&mut waiting), [2]);
        assert!(waiting.push(record("c"), 0));
    }

    #[test]
    fn a_leader_that_was_ended_is_replaced() {
        let mut waiting = Waiting::default();
        assert!(waiting.push(record("a"), 5_000) && !waiting.push(record("b"), 5_900));
        assert!(waiting.push(record("c"), 6_100));
        assert_eq!(lengths(&mut waiting), [3]);
        // Nobody said that these were written, and in the end nobody waits for it.
        assert!(!waiting.is_empty());
        waiting.push(record("d"), 100_000);
        let weight = record("d").weight();
        lengths(&mut waiting);
        waiting.settled(weight, 0);
        assert!(waiting.is_empty());
    }

    #[test]
    fn groups_are_bounded_in_number_and_size() {
        let mut waiting = Waiting::default();
        for n in 0..250 {
            waiting.push(record(&n.to_string()), 0);
        }
        let mut long = record("long");
        long.response_body = Some("x".repeat(3_000_000));
        waiting.push(long, 0);
        assert_eq!(lengths(&mut waiting), [100, 100, 50, 1]);
    }

    #[test]
    fn a_full_isolate_keeps_the_row_and_drops_the_bodies() {
        let mut waiting = Waiting::default();
        for n in 0..5 {
            let mut long = record(&n.to_string());
            long.response_body = Some("x".repeat(9_000_000));
            waiting.push(long, 0);
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
        row! {
            struct Piece {
                response: Option<String>,
            }
        }
        let pieces: Vec<Piece> =
            block_on(store.rows(Statement::new("SELECT response FROM log_bodies ORDER BY seq", []))).unwrap();
        assert!(pieces.len() > 3);
        assert_eq!(pieces.into_iter().filter_map(|piece| piece.response).collect::<String>(), text);
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
            ) -> Result<(Vec<crate::store::Row>, u64), crate::store::StoreError> {
                self.0.select(statement).await
            }
            async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, crate::store::StoreError> {
                let poisoned = |bind: &Bind| matches!(bind, Bind::Text(text) if text.contains("poison"));
                if statements.iter().flat_map(|statement| &statement.binds).any(poisoned) {
                    return Err(crate::store::StoreError("refused".to_owned()));
                }
                self.0.batch(statements).await
            }
        }
        let store = Picky(Sqlite::new());
        let lost = block_on(write(&store, vec![record("a"), record("poison"), record("b")].into(), async |_| {}));
        assert_eq!(lost, [Lost { id: "poison".to_owned(), reason: "refused".to_owned() }]);
        assert_eq!(count(&store.0, "SELECT count(*) AS n FROM logs"), 2);
    }
}
