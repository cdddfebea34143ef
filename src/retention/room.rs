//! How many logs each gateway has, and which logs find room.
//!
//! The count is part of the transactions that write and remove logs, so that a limit costs no counting and holds under
//! concurrency. A transaction that is repeated counts nothing.

use crate::log_batch::{Key, is_new};
use crate::record::LogRecord;
use crate::store::{Bind, Statement, Store, StoreError, row};
use serde_json::json;

/// SQL for: [`admit`] turned the log away whose id the expression gives.
macro_rules! is_unstored {
    ($id:literal) => {
        concat!("EXISTS (SELECT 1 FROM unstored_logs WHERE unstored_logs.id = ", $id, ")")
    };
}
pub(crate) use is_unstored;

/// Counts a group and notes which of its logs find no room because their gateway has reached its limit and is not to
/// delete older ones. These statements come before those that write the group, which leave such logs out.
pub fn admit(key: &Key<'_>, group: &[LogRecord]) -> Vec<Statement> {
    let mut gateways: Vec<(i64, u64, u64)> = Vec::new();
    for record in group {
        match gateways.iter_mut().find(|(gateway, ..)| *gateway == record.gateway) {
            Some((_, new, at)) => {
                *new += 1;
                *at = record.created_at.max(*at);
            }
            None => gateways.push((record.gateway, 1, record.created_at)),
        }
    }
    let ids: Vec<(&str, i64)> = group.iter().map(|record| (record.id.as_str(), record.gateway)).collect();
    vec![
        Statement::new(COUNT, key.binds([json!(gateways).to_string().into()])),
        Statement::new(TURN_AWAY, key.binds([json!(ids).to_string().into()])),
    ]
}

/// The limit is read here and not from the isolate's memory: it holds from the moment it is set.
const COUNT: &str = concat!(
    "INSERT INTO log_storage (gateway, logs, counted_at, admitted, not_stored, full_since) \
     SELECT gateway, min(new, room), at, min(new, room), max(0, new - room), CASE WHEN new > room THEN at END \
     FROM (SELECT fresh.gateway, fresh.new, fresh.at, \
       CASE WHEN coalesce(settings->>'log_management_strategy', 'STOP_INSERTING') = 'STOP_INSERTING' \
         THEN coalesce(max(0, settings->>'log_management' - coalesce(log_storage.logs, 0)), new) ELSE new END AS room \
       FROM (SELECT value->>0 AS gateway, value->>1 AS new, value->>2 AS at FROM json_each(?1)) AS fresh \
       LEFT JOIN gateways ON gateways.key = fresh.gateway LEFT JOIN log_storage ON log_storage.gateway = fresh.gateway) \
     WHERE ",
    is_new!(),
    " ON CONFLICT (gateway) DO UPDATE SET logs = logs + excluded.logs, admitted = excluded.admitted, \
       not_stored = not_stored + excluded.not_stored, \
       full_since = CASE WHEN excluded.not_stored > 0 THEN coalesce(full_since, excluded.full_since) END"
);

/// Only where [`COUNT`] has just found too little room are the logs looked at one by one.
const TURN_AWAY: &str = concat!(
    "INSERT OR IGNORE INTO unstored_logs (id) SELECT fresh.id FROM \
     (SELECT value->>0 AS id, value->>1 AS gateway, row_number() OVER (PARTITION BY value->>1 ORDER BY key) AS place \
       FROM json_each(?1) WHERE EXISTS (SELECT 1 FROM log_storage WHERE gateway = value->>1 AND full_since IS NOT NULL)) AS fresh \
     JOIN log_storage ON log_storage.gateway = fresh.gateway WHERE fresh.place > log_storage.admitted AND ",
    is_new!()
);

/// Takes logs that are about to be removed out of the count; `ids` is a JSON array. With `run`, the time at which a run of
/// retention began, they are also noted as what that run removed.
pub fn release(ids: &str, run: Option<u64>) -> Statement {
    Statement::new(
        "UPDATE log_storage SET logs = max(0, logs - gone.n), logs_removed = logs_removed + iif(?2 IS NULL, 0, gone.n), \
         run_logs = CASE WHEN ?2 IS NULL THEN run_logs WHEN run_at = ?2 THEN run_logs + gone.n ELSE gone.n END, \
         run_bodies = iif(?2 IS NULL OR run_at = ?2, run_bodies, 0), run_at = coalesce(?2, run_at) \
         FROM (SELECT gateway, count(*) AS n FROM logs WHERE id IN (SELECT value FROM json_each(?1)) GROUP BY gateway) AS gone \
         WHERE log_storage.gateway = gone.gateway",
        [ids.into(), run.map(|at| at as i64).into()],
    )
}

/// Whether a log was turned away.
pub async fn turned_away(store: &impl Store, id: &str) -> Result<bool, StoreError> {
    row! {
        struct Unstored {
            unstored: u8,
        }
    }
    let sql = concat!("SELECT ", is_unstored!("?1"), " AS unstored");
    let found = store.row::<Unstored>(Statement::new(sql, [Bind::from(id)])).await?;
    Ok(found.is_some_and(|found| found.unstored == 1))
}
