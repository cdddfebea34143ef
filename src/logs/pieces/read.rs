//! The one reader of bodies: from their rows, their pieces, and their objects in the bucket.

use crate::base::json::json;
use crate::base::{hex, sorted};
use crate::db::store::{Statement, Store, StoreError, row};
use crate::logs::bodies;
use crate::logs::stored::Stored;
use serde_json::Value;
use std::collections::HashMap;

/// The bodies of a log as its rows have them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    pub id: String,
    pub request: Option<String>,
    pub response: Option<String>,
    /// What of them is only the beginning, and goes on in the log's object.
    pub stored: Stored,
}

row! {
    /// A row of `log_bodies`. Keys of pieces are texts here, as they are longer than numbers of JavaScript.
    struct Row {
        id: String,
        request: Option<String>,
        response: Option<String>,
        request_bytes: Option<u64>,
        response_bytes: Option<u64>,
        cut: Option<u8>,
        own: Option<String>,
        messages: Option<String>,
        members: Option<String>,
        layout: Option<String>,
    }
}

row! {
    struct Content {
        last: String,
        content: String,
    }
}

fn select(ids: &[&str]) -> Statement {
    let sql = "SELECT log_id AS id, request, response, request_bytes, response_bytes, cut, CAST(own AS TEXT) AS own, \
         CAST(messages AS TEXT) AS messages, CAST(members AS TEXT) AS members, layout FROM log_bodies \
         WHERE log_id IN (SELECT value FROM json_each(?1)) ORDER BY log_id, seq";
    Statement::new(sql, [Value::from(ids).to_string().into()])
}

/// The bodies of logs, of those that have any, and how many rows were read.
pub async fn rows(store: &impl Store, ids: &[&str]) -> Result<(Vec<Rows>, u64), StoreError> {
    let (rows, mut read) = store.counted::<Row>(select(ids)).await?;
    let mut lasts: Vec<&str> = rows.iter().flat_map(Row::chains).flatten().collect();
    sorted::by(&mut lasts, Ord::cmp);
    lasts.dedup();
    let texts = if lasts.is_empty() {
        HashMap::new()
    } else {
        let (texts, more) = chains(store, &lasts).await?;
        read += more;
        texts
    };
    let mut all: Vec<Rows> = Vec::new();
    for row in rows {
        if all.last().is_none_or(|last| last.id != row.id) {
            all.push(Rows { id: row.id.clone(), ..Rows::default() });
        }
        if let Some(last) = all.last_mut() {
            last.add(row, &texts);
        }
    }
    Ok((all, read))
}

/// The beginnings of a log's bodies, of each so many bytes, or what ends in the middle of a character there. Of pieces no more than that
/// leaves the database.
pub async fn beginnings(store: &impl Store, id: &str, most: usize) -> Result<Rows, StoreError> {
    let mut found = Rows::default();
    let mut wanted: Vec<Value> = Vec::new();
    // How many bytes come of each body; none where it is not in pieces.
    let mut lengths = [None; 2];
    for row in store.rows::<Row>(select(&[id])).await? {
        let layout = row.layout();
        for (slices, length) in [2, 3].into_iter().zip(&mut lengths) {
            let Some(slices) = layout.get(slices).and_then(Value::as_array) else { continue };
            let length = length.get_or_insert(0);
            for slice in slices {
                let (Some((chain, from, to)), left) = (numbers(slice), most - *length) else { continue };
                let to = to.min(from.saturating_add(left));
                if to > from {
                    wanted.push(json!([row.chains().get(chain).copied().flatten(), from, to]));
                    *length += to - from;
                }
            }
        }
        found.add(row, &HashMap::new());
    }
    if !wanted.is_empty() {
        row! {
            struct Slice {
                bytes: String,
            }
        }
        let slices = store.rows::<Slice>(Statement::new(SLICES, [Value::from(wanted).to_string().into()])).await?;
        let digits: String = slices.into_iter().map(|Slice { bytes }| bytes).collect();
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(hex::byte).collect();
        let bytes = bytes.unwrap_or_default();
        let mut rest = bytes.as_slice();
        for (body, length) in [&mut found.request, &mut found.response].into_iter().zip(lengths) {
            // Where a piece is missing, it is not known whose bytes these are.
            let Some(((part, after), length)) =
                length.and_then(|length| Some((rest.split_at_checked(length)?, length)))
            else {
                continue;
            };
            rest = after;
            let is_whole = bytes.len() == lengths.iter().flatten().sum::<usize>();
            let text = part.utf8_chunks().next().map(|chunk| chunk.valid().to_owned());
            *body = text.or_else(|| (length == 0).then(String::new)).filter(|_| is_whole);
        }
    }
    Ok(found)
}

/// Slices of chains as digits: substr of a text would end at a NUL character, and a slice may end within a character.
const SLICES: &str = "WITH RECURSIVE wanted (place, last, since, until) AS (SELECT key, value->>0, value->>1, value->>2 FROM json_each(?1)), \
     chain (last, key, depth) AS (SELECT DISTINCT last, CAST(last AS INTEGER), 0 FROM wanted \
       UNION ALL SELECT chain.last, body_pieces.before, depth + 1 FROM chain JOIN body_pieces ON body_pieces.key = chain.key \
       WHERE body_pieces.before IS NOT NULL), \
     placed (last, key, bytes, ends) AS (SELECT last, chain.key, length(CAST(content AS BLOB)), \
       sum(length(CAST(content AS BLOB))) OVER (PARTITION BY last ORDER BY depth DESC) \
       FROM chain JOIN body_pieces ON body_pieces.key = chain.key) \
     SELECT hex(substr(CAST(content AS BLOB), max(since - ends + bytes, 0) + 1, until - max(since, ends - bytes))) AS bytes \
     FROM wanted JOIN placed ON placed.last = wanted.last AND ends > since AND ends - bytes < until \
     JOIN body_pieces ON body_pieces.key = placed.key ORDER BY place, ends";

/// The whole bodies of a log, also from its object. A body that is not to be had is none.
pub async fn whole(store: &impl Store, id: &str) -> Result<[Option<String>; 2], StoreError> {
    let found = rows(store, &[id]).await?.0.pop().unwrap_or_default();
    bodies::whole(store, id, found.stored, [found.request, found.response]).await
}

/// The texts of chains, by their last pieces.
async fn chains(store: &impl Store, lasts: &[&str]) -> Result<(HashMap<String, String>, u64), StoreError> {
    let sql = "WITH RECURSIVE chain (last, key, depth) AS (SELECT value, CAST(value AS INTEGER), 0 FROM json_each(?1) \
         UNION ALL SELECT chain.last, body_pieces.before, depth + 1 FROM chain JOIN body_pieces ON body_pieces.key = chain.key \
         WHERE body_pieces.before IS NOT NULL) \
         SELECT last, content FROM chain JOIN body_pieces ON body_pieces.key = chain.key ORDER BY depth DESC";
    let (pieces, read) = store.counted::<Content>(Statement::new(sql, [Value::from(lasts).to_string().into()])).await?;
    let mut texts: HashMap<String, String> = HashMap::new();
    for Content { last, content } in pieces {
        texts.entry(last).or_default().push_str(&content);
    }
    Ok((texts, read))
}

/// Where the messages of two turns first differ: how many bytes of their chains are the same, and how many the later one has. A
/// provider's prompt cache holds up to there. `None` where one of the logs has no messages that are shared.
#[cfg_attr(not(test), expect(dead_code, reason = "the page of a session is going to ask"))]
pub async fn shared_messages(store: &impl Store, earlier: &str, later: &str) -> Result<Option<(u64, u64)>, StoreError> {
    row! {
        struct Length {
            log: String,
            piece: String,
            bytes: u64,
        }
    }
    let sql = "WITH RECURSIVE chain (log, key, depth) AS (SELECT log_id, messages, 0 FROM log_bodies \
         WHERE log_id IN (?1, ?2) AND seq = 0 AND messages IS NOT NULL \
         UNION ALL SELECT chain.log, body_pieces.before, depth + 1 FROM chain JOIN body_pieces ON body_pieces.key = chain.key \
         WHERE body_pieces.before IS NOT NULL) \
         SELECT log, CAST(chain.key AS TEXT) AS piece, length(CAST(content AS BLOB)) AS bytes \
         FROM chain JOIN body_pieces ON body_pieces.key = chain.key ORDER BY depth DESC";
    let pieces: Vec<Length> = store.rows(Statement::new(sql, [earlier.into(), later.into()])).await?;
    let of = |log: &str| pieces.iter().filter(|piece| piece.log == log).collect::<Vec<_>>();
    let (before, after) = (of(earlier), of(later));
    if before.is_empty() || after.is_empty() {
        return Ok(None);
    }
    let same = before.iter().zip(&after).take_while(|(one, other)| one.piece == other.piece);
    let same = same.map(|(piece, _)| piece.bytes).sum();
    Ok(Some((same, after.iter().map(|piece| piece.bytes).sum())))
}

// === impl Row ===

impl Row {
    /// By their numbers: see [`super::layout::OWN`].
    fn chains(&self) -> [Option<&str>; 3] {
        [self.own.as_deref(), self.messages.as_deref(), self.members.as_deref()]
    }

    fn layout(&self) -> Value {
        self.layout.as_deref().and_then(|layout| serde_json::from_str(layout).ok()).unwrap_or_default()
    }
}

// === impl Rows ===

impl Rows {
    fn add(&mut self, row: Row, texts: &HashMap<String, String>) {
        if row.request_bytes.or(row.response_bytes).is_some() {
            self.stored = Stored { request: row.request_bytes, response: row.response_bytes, cut: row.cut == Some(1) };
        }
        let layout = row.layout();
        let laid = |slices: usize| {
            let slices = layout.get(slices)?.as_array()?;
            put_together(slices, row.chains().map(|chain| chain.and_then(|last| texts.get(last)).map(String::as_str)))
        };
        let (request, response) = (laid(2), laid(3));
        for (whole, part) in
            [(&mut self.request, row.request.or(request)), (&mut self.response, row.response.or(response))]
        {
            if let Some(part) = part {
                whole.get_or_insert_default().push_str(&part);
            }
        }
    }
}

/// A slice of a chain: which one, and from where to where.
fn numbers(slice: &Value) -> Option<(usize, usize, usize)> {
    let number = |place: usize| slice.get(place).and_then(Value::as_u64).map(|number| number as usize);
    Some((number(0)?, number(1)?, number(2)?))
}

/// A body of slices; none where a piece is missing.
fn put_together(slices: &[Value], chains: [Option<&str>; 3]) -> Option<String> {
    let mut body = String::new();
    for slice in slices {
        let (chain, from, to) = numbers(slice)?;
        body.push_str((*chains.get(chain)?)?.get(from..to)?);
    }
    Some(body)
}
