//! Moves the long rows of `log_bodies` that older versions wrote into `body_pieces`, a slice at a time, within the database.
//!
//! A row is moved in one transaction: before it and after it the reader finds the same bodies. What an older version writes after
//! its place has been passed stays where it is, and can be read there.

use super::name::NamingKey;
use super::plan::INLINE;
use crate::db::store::{Bind, Statement, Store, StoreError, row};

/// Rows that are looked at together, of which each may have 1.8 MB.
pub const SLICE: u32 = 100;

/// Bytes that are moved in one transaction, unless one row alone has more.
const MAX_MOVED: u64 = 8_000_000;

row! {
    struct Place {
        up_to: Option<String>,
    }
}

row! {
    struct Found {
        id: String,
        seq: u64,
        bytes: u64,
    }
}

/// Moves rows until all are moved, or `is_over` says that there is no more time.
pub async fn run(
    store: &impl Store,
    naming: &NamingKey,
    slice: u32,
    is_over: impl Fn() -> bool,
) -> Result<(), StoreError> {
    let place = Statement::new("SELECT up_to FROM body_moves WHERE id = 1", []);
    let mut place = store.row::<Place>(place).await?.and_then(|place| place.up_to);
    while let Some(up_to) = place {
        if is_over() {
            break;
        }
        // A row of before has no layout. Which of them are long is not asked of those in a bucket: they have the beginnings only.
        let sql = "SELECT log_id AS id, seq, iif(layout IS NULL AND request_bytes IS NULL AND response_bytes IS NULL, \
             coalesce(length(CAST(request AS BLOB)), 0) + coalesce(length(CAST(response AS BLOB)), 0), 0) AS bytes \
             FROM log_bodies WHERE log_id > ?1 ORDER BY log_id, seq LIMIT ?2";
        let found: Vec<Found> = store.rows(Statement::new(sql, [up_to.into(), Bind::Int(slice.into())])).await?;
        let is_last = found.len() < slice as usize;
        let (mut moved, mut statements, mut next) = (0, Vec::new(), None);
        for (number, Found { id, seq, bytes }) in found.iter().enumerate() {
            if moved > MAX_MOVED {
                break;
            }
            if *bytes > INLINE as u64 {
                moved += bytes;
                let key = naming.row(&format!("{id}#{seq}"), 0).to_string();
                let binds = [key.into(), id.as_str().into(), Bind::Int(*seq as i64)];
                statements.extend([Statement::new(COPY, binds.clone()), Statement::new(REFER, binds)]);
            }
            // A log may have rows beyond this slice.
            let is_whole = found.get(number + 1).map_or(is_last, |next| next.id != *id);
            if is_whole {
                next = Some(id.clone());
            }
        }
        // One that is longer than a slice is passed when it has been moved as far as it was seen: what is left can be read.
        let next = next.or_else(|| found.last().map(|last| last.id.clone()));
        let is_done = is_last && moved <= MAX_MOVED;
        let place_now = if is_done { None } else { next };
        let noted = Statement::new("UPDATE body_moves SET up_to = ?1 WHERE id = 1", [place_now.clone().into()]);
        statements.push(noted);
        store.batch(statements).await?;
        place = place_now;
    }
    Ok(())
}

const COPY: &str = "INSERT OR IGNORE INTO body_pieces (key, digest, content) \
     SELECT CAST(?1 AS INTEGER), '', coalesce(request, '') || coalesce(response, '') FROM log_bodies \
     WHERE log_id = ?2 AND seq = ?3 AND layout IS NULL";

const REFER: &str = "UPDATE log_bodies SET own = CAST(?1 AS INTEGER), request = NULL, response = NULL, \
     layout = json_array(length(CAST(request AS BLOB)), length(CAST(response AS BLOB)), \
       iif(request IS NULL, json('null'), json_array(json_array(0, 0, length(CAST(request AS BLOB))))), \
       iif(response IS NULL, json('null'), json_array(json_array(0, coalesce(length(CAST(request AS BLOB)), 0), \
         coalesce(length(CAST(request AS BLOB)), 0) + length(CAST(response AS BLOB)))))) \
     WHERE log_id = ?2 AND seq = ?3 AND layout IS NULL";
