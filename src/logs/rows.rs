//! A part as SQL: the rows of its records, one statement for each table.

use crate::base::json::json;
use crate::db::store::{Bind, Statement};
use crate::db::write_once::{WriteKey, is_new};
use crate::logs::bodies;
use crate::logs::metadata;
use crate::logs::paid_once;
use crate::logs::part::{Bodies, Entry, Group, LONG, Part};
use crate::logs::pieces::name::NamingKey;
use crate::logs::pieces::plan::{Piece, Plan};
use crate::logs::record::LogRecord;
use crate::logs::retention::capacity::{self, Arrival};
use crate::logs::rollup;
use serde::Serialize;
use serde_json::Value;

/// D1 takes at most 2 MB in one bound value; escaping can make JSON twice as long as what is in it.
pub const MAX_JSON: usize = 1_000_000;

/// The statements that write a part in one transaction, which has no effect when it is repeated. Logs are left out for which
/// their gateway has no room.
pub fn statements(part: &Part, plan: Plan) -> Vec<Statement> {
    let key = &WriteKey::of(&part.id);
    let mut statements = if part.entries.is_empty() { Vec::new() } else { rows(key, &part.entries, plan) };
    if !part.tally.is_empty() {
        statements.push(rollup::leave(key, &part.tally));
    }
    if !part.claims.is_empty() {
        statements.extend(paid_once::statements(key, &part.claims));
    }
    statements.push(Statement::new(NOTE_GROUP, [Bind::from(key.part)]));
    statements
}

fn rows(key: &WriteKey<'_>, entries: &[Entry], plan: Plan) -> Vec<Statement> {
    let arrivals: Vec<Arrival<'_>> = entries.iter().map(Entry::arrival).collect();
    let (mut statements, places) = capacity::admit(key, &arrivals);
    let logs = entries.iter().zip(places).map(|(entry, place)| format!("[{place},{}]", entry.log));
    let logs: Vec<String> = logs.collect();
    statements
        .push(Statement::new(insert_logs(), key.binds([Bind::Text(json_array(logs.iter().map(String::as_str)))])));
    let continuing: Vec<&str> = entries.iter().filter(|entry| entry.continues).map(|entry| entry.id.as_str()).collect();
    if !continuing.is_empty() {
        statements.push(Statement::new(BEGIN_SESSIONS, key.binds([Value::from(continuing).to_string().into()])));
    }
    let metadata = entries.iter().map(|entry| entry.metadata.as_str()).filter(|rows| !rows.is_empty());
    let metadata = json_array(metadata);
    if metadata.len() > EMPTY_ARRAY {
        statements.push(Statement::new(INSERT_METADATA, key.binds([Bind::Text(metadata)])));
    }
    let Plan { rows, pieces, refs } = plan;
    if !refs.is_empty() {
        let rows: Vec<Value> = refs
            .iter()
            .map(|one| json!([one.to.key.to_string(), one.to.digest(), u8::from(one.brought), one.log]))
            .collect();
        statements.push(Statement::new(COUNT_REFERENCES, key.binds([Value::from(rows).to_string().into()])));
    }
    let mut short = Vec::new();
    for Piece { key: row, digest, before, content, log } in pieces {
        if content.len() < LONG && digest.is_empty() {
            short.push(json!([row.to_string(), before.map(|key| key.to_string()), content, log]).to_string());
            continue;
        }
        let sql = if digest.is_empty() { INSERT_OWN_PIECE } else { INSERT_PIECE };
        let before = before.map(|key| key.to_string());
        let binds = [row.to_string().into(), digest.into(), before.into(), content.into(), log.into()];
        statements.push(Statement::new(sql, key.binds(binds)));
    }
    insert(&mut statements, key, INSERT_OWN_PIECES, &short);
    insert(&mut statements, key, INSERT_BODIES, &rows);
    let objects: Vec<&str> = entries.iter().filter(|entry| entry.object).map(|entry| entry.id.as_str()).collect();
    if !objects.is_empty() {
        statements.push(bodies::turned_away(key, &objects));
    }
    let pushed: Vec<&str> = entries.iter().filter(|entry| entry.is_pushed).map(|entry| entry.id.as_str()).collect();
    if !pushed.is_empty() {
        statements.push(Statement::new(NOTE_PUSH, key.binds([Value::from(pushed).to_string().into()])));
    }
    statements
}

/// Adds the statements that insert rows, each of them with as many as D1 takes.
fn insert(statements: &mut Vec<Statement>, key: &WriteKey<'_>, sql: &'static str, rows: &[String]) {
    let (mut together, mut length) = (Vec::new(), 0);
    for row in rows {
        if length + row.len() > MAX_JSON && !together.is_empty() {
            statements.push(Statement::new(sql, key.binds([Bind::Text(json_array(together.drain(..)))])));
            length = 0;
        }
        length += row.len();
        together.push(row.as_str());
    }
    if !together.is_empty() {
        statements.push(Statement::new(sql, key.binds([Bind::Text(json_array(together))])));
    }
}

/// Logs that found room are pushed.
const NOTE_PUSH: &str = concat!(
    "INSERT OR IGNORE INTO logs_to_push (gateway, log_id) SELECT gateway, id FROM logs WHERE id IN (SELECT value FROM json_each(?1)) AND ",
    is_new!()
);

/// The last statement of a transaction, because those before it ask whether it was carried out already.
const NOTE_GROUP: &str = "INSERT OR IGNORE INTO written_groups (id) VALUES (?1)";

// === impl Part ===

impl Part {
    /// A group as a whole.
    pub fn of(group: &Group, naming: NamingKey) -> Self {
        let mut tally = group.unlogged.clone();
        group.records.iter().for_each(|record| tally.count(record));
        let entries = group.records.iter().map(Entry::of).collect();
        let rows = if tally.is_empty() { String::new() } else { tally.json() };
        let claims = tally.claims().to_vec();
        Self { id: group.id.clone(), naming, entries, tally: rows, unlogged: group.unlogged.attempts(), claims }
    }
}

// === impl Entry ===

impl Entry {
    fn arrival(&self) -> Arrival<'_> {
        let Self { id, gateway, created_at, has_log_limit, .. } = self;
        Arrival { id, gateway: *gateway, created_at: *created_at, has_log_limit: *has_log_limit }
    }

    pub fn of(record: &LogRecord) -> Self {
        let metadata: Vec<String> = metadata_rows(record).map(|row| row.to_string()).collect();
        Self {
            id: record.id.clone(),
            gateway: record.gateway,
            created_at: record.created_at,
            log: log_values(record),
            metadata: metadata.join(","),
            bodies: Bodies {
                request: record.request_body.clone(),
                response: record.response_body.clone(),
                stored: record.stored,
                cuts: record.cuts.clone(),
            },
            object: !record.stored.is_empty(),
            has_log_limit: record.has_log_limit,
            is_pushed: record.is_pushed,
            continues: record.previous_response_id.is_some(),
        }
    }
}

/// Declares the columns of `logs`, each named like the field of [`LogRecord`] it takes. New ones come last: messages that an
/// older version has put into the queue are read by place.
macro_rules! columns {
    ($($column:ident,)*) => {
        const COLUMNS: &[&str] = &[$(stringify!($column)),*];

        /// The values of a record's columns as JSON, with commas between them: in the order of the columns, because SQLite reads an
        /// array in a quarter of the time that an object takes. Which of its gateway's logs it is comes before them.
        fn log_values(record: &LogRecord) -> String {
            let LogRecord { $($column,)* shard: _, has_log_limit: _, is_pushed: _, least_cost: _, claim: _, metadata_entries: _, request_body: _, response_body: _, cuts: _, stored: _, charge: _ } = record;
            let mut values = Vec::with_capacity(1_024);
            $(value(&mut values, $column);)*
            String::from_utf8(values).unwrap_or_default()
        }
    };
}

fn value(values: &mut Vec<u8>, value: &impl Serialize) {
    if !values.is_empty() {
        values.push(b',');
    }
    // Plain values always serialize, and memory takes every byte.
    let _ = serde_json::to_writer(values, value);
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
    cost_unknown,
    usage_unread,
    usage_details,
    usage_of,
    input_preview,
    output_preview,
    session_id,
    previous_response_id,
    caller,
    translated_from,
    dlp_action,
    dlp,
    guardrails,
    route,
    route_id,
    ingested_id,
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
    "INSERT OR IGNORE INTO log_bodies (log_id, seq, request, response, request_bytes, response_bytes, cut, own, messages, members, layout) ",
    rows!(),
    "SELECT v->>0, v->>1, v->>2, v->>3, v->>4, v->>5, v->>6, v->>7, v->>8, v->>9, v->>10 FROM rows \
     WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = v->>0) AND ",
    is_new!()
);

/// Counts references to pieces. A piece that is not there as planned makes the whole transaction fail, by a count that is null:
/// one that should be there has been removed, or another transaction has brought the one that should be new.
const COUNT_REFERENCES: &str = concat!(
    "INSERT INTO piece_refs (key, refs) ",
    rows!(),
    "SELECT key, iif(there = brought, NULL, n - brought) FROM (SELECT CAST(v->>0 AS INTEGER) AS key, max(v->>2) AS brought, count(*) AS n, \
       EXISTS (SELECT 1 FROM body_pieces WHERE body_pieces.key = CAST(v->>0 AS INTEGER) AND body_pieces.digest = v->>1) AS there \
       FROM rows WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = v->>3) GROUP BY v->>0, v->>1) \
     WHERE (there = brought OR n > brought) AND ",
    is_new!(),
    " ON CONFLICT (key) DO UPDATE SET refs = refs + excluded.refs"
);

/// A piece that may be shared. That another transaction has brought it makes this one fail: its references would not be counted.
const INSERT_PIECE: &str = concat!(
    "INSERT INTO body_pieces (key, digest, before, content) SELECT CAST(?1 AS INTEGER), ?2, CAST(?3 AS INTEGER), ?4 \
     WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = ?5) AND ",
    is_new!("?6, ?7")
);

const INSERT_OWN_PIECE: &str = concat!(
    "INSERT OR IGNORE INTO body_pieces (key, digest, before, content) SELECT CAST(?1 AS INTEGER), ?2, CAST(?3 AS INTEGER), ?4 \
     WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = ?5) AND ",
    is_new!("?6, ?7")
);

const INSERT_OWN_PIECES: &str = concat!(
    "INSERT OR IGNORE INTO body_pieces (key, digest, before, content) ",
    rows!(),
    "SELECT CAST(v->>0 AS INTEGER), '', CAST(v->>1 AS INTEGER), v->>2 FROM rows \
     WHERE EXISTS (SELECT 1 FROM logs WHERE logs.id = v->>3) AND ",
    is_new!()
);

fn insert_logs() -> String {
    // First comes which of its gateway's logs in this transaction it is, counted from 1.
    let place = |name: &str| COLUMNS.iter().position(|column| *column == name).map_or(0, |at| at + 1);
    let (previous, caller, gateway) = (place("previous_response_id"), place("caller"), place("gateway"));
    // A request that goes on with a response belongs to the session of that one, or makes one with it. Looked up only for those.
    let chained = |own: &str| {
        format!(
            "coalesce({own}, iif(v->>{previous} IS NULL, NULL, coalesce((SELECT coalesce(before.session_id, before.response_id) \
             FROM logs AS before WHERE before.response_id = v->>{previous} AND before.gateway = v->>{gateway} \
             AND before.caller = v->>{caller} LIMIT 1), v->>{previous})))"
        )
    };
    let value = |(at, name): (usize, &&str)| {
        let own = format!("v->>{}", at + 1);
        if *name == "session_id" { chained(&own) } else { own }
    };
    let values: Vec<String> = COLUMNS.iter().enumerate().map(value).collect();
    let (columns, values) = (COLUMNS.join(", "), values.join(", "));
    let (rows, new) = (rows!(), is_new!());
    format!(
        "INSERT OR IGNORE INTO logs ({columns}) {rows} SELECT {values} FROM rows \
         WHERE v->>0 <= (SELECT admitted FROM log_storage WHERE log_storage.gateway = v->>2) AND {new}"
    )
}

/// A request that another goes on with begins the session of both, where it named none itself.
const BEGIN_SESSIONS: &str = concat!(
    "UPDATE logs SET session_id = logs.response_id FROM (SELECT later.session_id AS session, later.gateway AS place, later.caller AS who \
     FROM json_each(?1) AS own JOIN logs AS later ON later.id = own.value WHERE later.session_id = later.previous_response_id) AS chain \
     WHERE logs.response_id = chain.session AND logs.gateway = chain.place AND logs.caller = chain.who AND logs.session_id IS NULL AND ",
    is_new!()
);

fn metadata_rows(record: &LogRecord) -> impl Iterator<Item = Value> {
    record
        .metadata_entries
        .iter()
        .map(|(key, value)| json!([record.id, key, metadata::searchable(value), record.gateway, record.created_at]))
}

/// The length of an array without anything in it.
const EMPTY_ARRAY: usize = 2;

fn json_array<'a>(rows: impl IntoIterator<Item = &'a str>) -> String {
    let mut array = String::from("[");
    for row in rows {
        if array.len() > 1 {
            array.push(',');
        }
        array.push_str(row);
    }
    array.push(']');
    in_ascii(array)
}

/// The same JSON in ASCII. The runtime keeps all that goes to the database at once in two bytes a character when a single one of it, such
/// as the … of a preview, needs them, and then every step with a long body costs twice as much.
fn in_ascii(json: String) -> String {
    if json.is_ascii() {
        return json;
    }
    let mut ascii = String::with_capacity(json.len() + json.len() / 4);
    let mut rest = json.as_str();
    while let Some(at) = rest.bytes().position(|byte| !byte.is_ascii()) {
        let (plain, others) = rest.split_at_checked(at).unwrap_or((rest, ""));
        ascii.push_str(plain);
        let mut others = others.chars();
        // Of JSON only its texts have other characters.
        let Some(char) = others.next() else { break };
        for unit in char.encode_utf16(&mut [0; 2]) {
            ascii.push_str("\\u");
            ascii.extend([12, 8, 4, 0].iter().filter_map(|shift| char::from_digit(u32::from(*unit) >> shift & 15, 16)));
        }
        rest = others.as_str();
    }
    ascii.push_str(rest);
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn json_in_ascii_says_the_same(text in any::<String>()) {
            let row = json!([text, { (text.as_str()): 1 }]);
            let ascii = json_array([row.to_string().as_str()]);
            prop_assert!(ascii.is_ascii());
            prop_assert_eq!(serde_json::from_str::<Value>(&ascii).unwrap(), json!([row]));
        }
    }
}
