//! The one reader of bodies: from their rows, their pieces, and their objects in the bucket.

use super::layout::{MEMBERS, MESSAGES, OWN};
use crate::base::sorted;
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

/// The bodies of logs, of those that have any, and how many rows were read.
pub async fn rows(store: &impl Store, ids: &[&str]) -> Result<(Vec<Rows>, u64), StoreError> {
    let sql = "SELECT log_id AS id, request, response, request_bytes, response_bytes, cut, CAST(own AS TEXT) AS own, \
         CAST(messages AS TEXT) AS messages, CAST(members AS TEXT) AS members, layout FROM log_bodies \
         WHERE log_id IN (SELECT value FROM json_each(?1)) ORDER BY log_id, seq";
    let (rows, mut read) = store.counted::<Row>(Statement::new(sql, [Value::from(ids).to_string().into()])).await?;
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
    fn chains(&self) -> [Option<&str>; 3] {
        [self.own.as_deref(), self.messages.as_deref(), self.members.as_deref()]
    }
}

// === impl Rows ===

impl Rows {
    fn add(&mut self, row: Row, texts: &HashMap<String, String>) {
        if row.request_bytes.or(row.response_bytes).is_some() {
            self.stored = Stored { request: row.request_bytes, response: row.response_bytes, cut: row.cut == Some(1) };
        }
        let layout: Value =
            row.layout.as_deref().and_then(|layout| serde_json::from_str(layout).ok()).unwrap_or_default();
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

/// A body of slices; none where a piece is missing.
fn put_together(slices: &[Value], [own, messages, members]: [Option<&str>; 3]) -> Option<String> {
    let mut body = String::new();
    for slice in slices {
        let number = |place: usize| slice.get(place).and_then(Value::as_u64).map(|number| number as usize);
        let text = match u8::try_from(number(0)?).ok()? {
            OWN => own?,
            MESSAGES => messages?,
            MEMBERS => members?,
            _ => return None,
        };
        body.push_str(text.get(number(1)?..number(2)?)?);
    }
    Some(body)
}
