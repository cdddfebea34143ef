//! Bodies in a bucket: one object for each log that has a long one. The row keeps the beginnings and the lengths.
//!
//! An object is written before its row, and removed after it: what a row says is there, is there. What is left over when a
//! row does not come, or the Worker ends between the two, is found by [`search`].

use crate::base::id;
use crate::base::json::json;
use crate::db::bucket::{AT_ONCE, Bucket};
use crate::db::databases::{self, Databases};
use crate::db::store::{Bind, Statement, Store, StoreError};
use crate::db::write_once::{WriteKey, is_new};
use crate::logs::record::LogRecord;
use crate::logs::stored::Stored;
use serde_json::Value;

/// A body up to this many bytes is in the row. A log shows 2,000 characters of each.
pub const HEAD: usize = 8_000;

/// How long a row may be on its way, in milliseconds: a queue keeps messages for two weeks at most, and so do dead letters.
const ON_ITS_WAY_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// How often the bucket is searched, in milliseconds.
const SEARCH_EVERY_MS: u64 = 60 * 60 * 1_000;

/// SQL for: a row of `log_bodies` refers to an object.
macro_rules! has_object {
    () => {
        "(request_bytes IS NOT NULL OR response_bytes IS NOT NULL)"
    };
}

/// Whether a record has a body that is too long for its row.
pub fn is_long(record: &LogRecord) -> bool {
    [&record.request_body, &record.response_body].iter().any(|body| body.as_ref().is_some_and(|body| body.len() > HEAD))
}

/// Takes the long bodies out of a record, which keeps their beginnings.
pub fn detach(record: &mut LogRecord) -> [Option<String>; 2] {
    let request = beheaded(&mut record.request_body);
    let response = beheaded(&mut record.response_body);
    let bytes = |body: &Option<String>| body.as_ref().map(|body| body.len() as u64);
    record.stored = Stored { request: bytes(&request), response: bytes(&response), cut: false };
    [request, response]
}

fn beheaded(body: &mut Option<String>) -> Option<String> {
    let whole = body.take_if(|body| body.len() > HEAD)?;
    let mut end = HEAD;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    *body = whole.get(..end).map(str::to_owned);
    Some(whole)
}

/// Notes the objects of logs that found no room. Comes after the statement that writes logs.
pub fn turned_away(key: &WriteKey<'_>, ids: &[&str]) -> Statement {
    let sql = concat!(
        "INSERT OR IGNORE INTO removed_objects (log_id) SELECT value FROM json_each(?1) WHERE ",
        "NOT EXISTS (SELECT 1 FROM logs WHERE logs.id = value) AND ",
        is_new!()
    );
    Statement::new(sql, key.binds([json!(ids).to_string().into()]))
}

/// Notes the objects of logs that are about to lose their bodies; `ids` is a JSON array.
pub fn removed(ids: &str) -> Statement {
    let sql = concat!(
        "INSERT OR IGNORE INTO removed_objects (log_id) SELECT log_id FROM log_bodies \
         WHERE log_id IN (SELECT value FROM json_each(?1)) AND seq = 0 AND ",
        has_object!()
    );
    Statement::new(sql, [Bind::from(ids)])
}

/// Removes the objects that nothing refers to any more.
pub async fn clear(store: &impl Store, bucket: &impl Bucket, is_over: impl Fn() -> bool) -> Result<(), StoreError> {
    while !is_over() {
        let sql = "SELECT log_id AS id FROM removed_objects ORDER BY log_id LIMIT ?1";
        let ids = store.ids(Statement::new(sql, [Bind::Int(AT_ONCE as i64)])).await?;
        if ids.is_empty() {
            break;
        }
        bucket.remove(&ids).await?;
        let sql = "DELETE FROM removed_objects WHERE log_id IN (SELECT value FROM json_each(?1))";
        store.batch(vec![Statement::new(sql, [Value::from(ids).to_string().into()])]).await?;
    }
    Ok(())
}

/// Looks, once in an hour, for objects whose row has not come in a month, and removes them. Every object is looked at once.
/// `missing` says which ids of many no database has an object for.
pub async fn search(
    store: &impl Store,
    bucket: &impl Bucket,
    missing: impl AsyncFn(Vec<String>) -> Result<Vec<String>, StoreError>,
    now_ms: u64,
    is_over: impl Fn() -> bool,
) -> Result<(), StoreError> {
    let begin = "INSERT INTO object_search (id, searched_at, up_to) VALUES (1, ?1, '') \
         ON CONFLICT (id) DO UPDATE SET searched_at = ?1 WHERE searched_at <= ?1 - ?2";
    let begin = Statement::new(begin, [Bind::Int(now_ms as i64), Bind::Int(SEARCH_EVERY_MS as i64)]);
    if store.batch(vec![begin]).await?.first() != Some(&1) {
        return Ok(());
    }
    let place = Statement::new("SELECT up_to AS id FROM object_search WHERE id = 1", []);
    let mut up_to = store.ids(place).await?.pop().unwrap_or_default();
    let oldest = id::mint(now_ms.saturating_sub(ON_ITS_WAY_MS), 0);
    loop {
        let mut ids = bucket.after(&up_to).await?;
        let is_last = ids.len() < AT_ONCE || ids.last().is_some_and(|last| *last >= oldest);
        ids.retain(|id| *id < oldest);
        let Some(last) = ids.last().cloned() else { return Ok(()) };
        let orphans = missing(ids).await?;
        if !orphans.is_empty() {
            bucket.remove(&orphans).await?;
        }
        up_to = last;
        // What is left is looked at by the next run, and not in an hour.
        let next = if is_last { now_ms } else { 0 };
        let noted = "UPDATE object_search SET up_to = ?1, searched_at = ?2 WHERE id = 1";
        store.batch(vec![Statement::new(noted, [up_to.as_str().into(), Bind::Int(next as i64)])]).await?;
        if is_last || is_over() {
            return Ok(());
        }
    }
}

/// Which of the logs have no object as far as any database knows. All of them have to be asked, also one that is not bound
/// at the moment.
pub async fn missing(databases: &impl Databases, mut ids: Vec<String>) -> Result<Vec<String>, StoreError> {
    databases::all_bound(databases).await?;
    let sql = concat!(
        "SELECT value AS id FROM json_each(?1) WHERE NOT EXISTS \
         (SELECT 1 FROM log_bodies WHERE log_id = value AND seq = 0 AND ",
        has_object!(),
        ")"
    );
    for (_, store) in databases.all() {
        ids = store.ids(Statement::new(sql, [Value::from(ids).to_string().into()])).await?;
    }
    Ok(ids)
}

/// The bodies of a log, with what is in its object in the place of their beginnings. A body that the bucket does not have, or
/// did not take, is none.
pub async fn whole(
    store: &impl Store,
    id: &str,
    stored: Stored,
    [request, response]: [Option<String>; 2],
) -> Result<[Option<String>; 2], StoreError> {
    if stored.is_empty() {
        return Ok([request, response]);
    }
    let object = if stored.cut { None } else { store.object(id).await? };
    let object = object.and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = object.as_deref().and_then(|text| text.split_at_checked(stored.request.unwrap_or(0) as usize));
    let of = |bytes: Option<u64>, row: Option<String>, part: Option<&str>| match bytes {
        None => row,
        Some(bytes) => part.filter(|part| part.len() as u64 == bytes).map(str::to_owned),
    };
    Ok([
        of(stored.request, request, parts.map(|(request, _)| request)),
        of(stored.response, response, parts.map(|(_, response)| response)),
    ])
}

#[cfg(test)]
mod tests;
