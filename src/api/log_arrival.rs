//! Waits for the row of a log whose id was handed out a moment ago: rows are written behind the answers, and a caller must not have
//! to guess how far behind.

use crate::api::shell::Shell;
use crate::base::id;
use crate::db::databases::Databases;
use crate::db::store::{Statement, Store, StoreError};
use crate::feedback::locate::{self, Context, Found, LogDatabases};
use crate::http::envelope::ApiError;
use crate::logs::retention::capacity;
use crate::logs::row;
use percent_encoding::percent_decode_str;
use std::cell::Cell;

/// Pauses between looks for a log that is on its way, in milliseconds: about two seconds in all, a hundred times the
/// window in which rows are gathered.
const PAUSES_MS: &[u64] = &[10, 15, 25, 50, 100, 200, 400, 600, 600];

/// How old an id may be, in milliseconds, for its row to be still awaited. Answers can take minutes, and the row is
/// written when they end.
pub const AGE_MS: u64 = 10 * 60 * 1_000;

/// Looks for the logs that the ids of a request for feedback mean.
pub struct Finder<'c, D: Databases, S> {
    /// The databases that may have them.
    pub log_databases: LogDatabases<'c, D::One>,
    pub context: Context<'c>,
    shell: &'c S,
    /// How many pauses were made. The lines of a bulk request wait together: one that is unknown was awaited for the others, too.
    waited: Cell<usize>,
}

/// Whether the row of an id can still be on its way.
pub fn is_recent(id: &str, now_ms: u64) -> bool {
    id::is_younger(id, AGE_MS, now_ms)
}

/// Waits for the row of a log, as long as it can be on its way.
pub async fn wait(store: &impl Store, id: &str, now_ms: u64, shell: &impl Shell) -> Result<(), StoreError> {
    if !is_recent(id, now_ms) {
        return Ok(());
    }
    for pause in PAUSES_MS {
        if row::exists(store, None, id).await? || capacity::turned_away(store, id).await? {
            break;
        }
        shell.pause(*pause).await;
    }
    Ok(())
}

/// The row of a log that was measured elsewhere, by the id that it was handed in with.
pub async fn ingested(store: &impl Store, gateway: i64, id: &str) -> Result<Option<String>, StoreError> {
    let Ok(id) = percent_decode_str(id).decode_utf8() else { return Ok(None) };
    let sql = "SELECT id FROM logs WHERE ingested_id = ?1 AND gateway = ?2";
    Ok(store.ids(Statement::new(sql, [id.as_ref().into(), gateway.into()])).await?.pop())
}

// === impl Finder ===

impl<'c, D: Databases, S: Shell> Finder<'c, D, S> {
    pub async fn new(databases: &'c D, context: Context<'c>, shell: &'c S) -> Result<Self, ApiError> {
        let log_databases = locate::log_databases(databases, &context).await?;
        Ok(Self { log_databases, context, shell, waited: Cell::new(0) })
    }

    /// The log that an id means, which is awaited: the answer has just gone out when the first feedback comes.
    pub async fn find(&self, id: &str) -> Result<Option<Found>, ApiError> {
        let mut found = locate::locate(&self.log_databases, id, &self.context).await?;
        // Other ids than ours do not tell their age.
        if id::minted_at(id).is_none() || is_recent(id, self.context.now_ms) {
            for pause in PAUSES_MS.iter().skip(self.waited.get()) {
                if found.is_some() {
                    break;
                }
                self.shell.pause(*pause).await;
                self.waited.set(self.waited.get() + 1);
                found = locate::locate(&self.log_databases, id, &self.context).await?;
            }
        }
        Ok(found)
    }
}
