//! How many logs each gateway has, and which logs find room.
//!
//! The count is part of the transactions that write and remove logs, so that a limit costs no counting and holds under
//! concurrency. A transaction that is repeated counts nothing.

use crate::base::json::json;
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::db::write_once::{WriteKey, is_new};

/// A log that is about to be written.
pub struct Arrival<'a> {
    pub id: &'a str,
    /// The `key` of its gateway's row.
    pub gateway: i64,
    pub created_at: u64,
    /// Whether there is a limit to how many logs the gateway has.
    pub has_log_limit: bool,
}

/// Counts what is about to be written, and finds out how many logs there is room for where a gateway has reached its limit
/// and is not to delete older ones. Also says of each log which of its gateway's it is: those that come later than there is
/// room for are left out by the statements that follow these.
pub fn admit(key: &WriteKey<'_>, entries: &[Arrival<'_>]) -> (Vec<Statement>, Vec<usize>) {
    let mut gateways: Vec<(i64, usize, u64)> = Vec::new();
    let mut places = Vec::new();
    for entry in entries {
        let place = match gateways.iter_mut().find(|(gateway, ..)| *gateway == entry.gateway) {
            Some((_, new, at)) => {
                *new += 1;
                *at = entry.created_at.max(*at);
                *new
            }
            None => {
                gateways.push((entry.gateway, 1, entry.created_at));
                1
            }
        };
        places.push(place);
    }
    let mut statements = vec![Statement::new(COUNT, key.binds([json!(gateways).to_string().into()]))];
    if entries.iter().any(|entry| entry.has_log_limit) {
        let rows = entries.iter().zip(&places).map(|(entry, place)| (entry.id, entry.gateway, place));
        let rows = json!(rows.collect::<Vec<_>>()).to_string();
        statements.push(Statement::new(TURN_AWAY, key.binds([rows.into()])));
    }
    (statements, places)
}

/// The limit is read here and not from the isolate's memory: it holds from the moment it is set.
const COUNT: &str = concat!(
    "INSERT INTO log_storage (gateway, logs, counted_at, admitted, not_stored, full_since) \
     SELECT gateway, min(new, capacity), at, min(new, capacity), max(0, new - capacity), CASE WHEN new > capacity THEN at END \
     FROM (SELECT fresh.gateway, fresh.new, fresh.at, \
       CASE WHEN coalesce(settings->>'log_management_strategy', 'STOP_INSERTING') = 'STOP_INSERTING' \
         THEN coalesce(max(0, settings->>'log_management' - coalesce(log_storage.logs, 0)), new) ELSE new END AS capacity \
       FROM (SELECT value->>0 AS gateway, value->>1 AS new, value->>2 AS at FROM json_each(?1)) AS fresh \
       LEFT JOIN gateways ON gateways.key = fresh.gateway LEFT JOIN log_storage ON log_storage.gateway = fresh.gateway) \
     WHERE ",
    is_new!(),
    " ON CONFLICT (gateway) DO UPDATE SET logs = logs + excluded.logs, admitted = excluded.admitted, \
       not_stored = not_stored + excluded.not_stored, \
       full_since = CASE WHEN excluded.not_stored > 0 THEN coalesce(full_since, excluded.full_since) END"
);

/// Notes which logs were left out, so that no caller waits for them. It is skipped where the isolate knows of no limit.
const TURN_AWAY: &str = concat!(
    "INSERT OR IGNORE INTO unstored_logs (id) SELECT value->>0 FROM json_each(?1) \
     WHERE value->>2 > (SELECT admitted FROM log_storage WHERE log_storage.gateway = value->>1) AND ",
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
    let sql = "SELECT EXISTS (SELECT 1 FROM unstored_logs WHERE id = ?1) AS unstored";
    let found = store.row::<Unstored>(Statement::new(sql, [Bind::from(id)])).await?;
    Ok(found.is_some_and(|found| found.unstored == 1))
}
