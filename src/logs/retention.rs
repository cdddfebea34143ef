//! What is removed without a request for it: logs above a gateway's limit, logs and bodies that are older than it keeps them.
//!
//! A run works in slices, each one transaction that removes logs with all that belongs to them and notes what it did. It
//! may end after any of them; the next one begins with the gateway that has waited longest. What is to go is read from the
//! settings by the statement that chooses it, so that two runs at once choose the same logs, and a setting that has just
//! been taken back removes nothing.

pub mod capacity;

use crate::base::id;
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::db::whose::Whose;
use crate::logs::bodies;
use crate::logs::paid_once;
use crate::logs::removal;
use serde_json::Value;

/// Slices in one run, because an invocation may send D1 a thousand statements.
pub const MAX_SLICES: u32 = 50;

/// Gateways looked at together.
const MAX_DUE: u32 = 20;

/// Ids that are forgotten at once, of logs that were not stored.
const FORGOTTEN_AT_ONCE: u32 = 5_000;

/// How often the counts that limits go by are compared with the logs, in milliseconds.
const RECOUNT_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long it is known of a log that it was not stored, in milliseconds: longer than feedback would be kept for it.
const UNSTORED_MS: u64 = 2 * 60 * 60 * 1_000;

/// How long it is known of a group that it was written, in milliseconds: a queue may deliver it again for hours.
pub const WRITTEN_MS: u64 = 24 * 60 * 60 * 1_000;

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub logs: u64,
    pub bodies: u64,
    /// Whether it ended before everything was done.
    pub unfinished: bool,
}

row! {
    /// A gateway with something to do.
    struct Due {
        key: i64,
        recount: u8,
        aged: u8,
        excess: u8,
    }
}

/// Removes what is to go until nothing is left, or `is_over` says that there is no more time.
pub async fn run(
    store: &impl Store,
    whose: &Whose,
    now_ms: u64,
    is_over: impl Fn() -> bool,
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    if whose.is_all() {
        forget(store, FORGET_UNSTORED, now_ms.saturating_sub(UNSTORED_MS), &is_over).await?;
        forget(store, FORGET_GROUPS, now_ms.saturating_sub(WRITTEN_MS), &is_over).await?;
        store.batch(vec![paid_once::forgotten(now_ms, FORGOTTEN_AT_ONCE.into())]).await?;
    }
    let mut slices = 0;
    loop {
        let due = due(store, whose, now_ms).await?;
        if due.is_empty() {
            return Ok(report);
        }
        for gateway in due {
            if slices == MAX_SLICES || is_over() {
                return Ok(Report { unfinished: true, ..report });
            }
            slices += 1;
            slice(store, &gateway, now_ms, &mut report).await?;
        }
    }
}

/// The gateways that have something to do, the one first that was last served longest ago.
async fn due(store: &impl Store, whose: &Whose, now_ms: u64) -> Result<Vec<Due>, StoreError> {
    // Only three are told apart: a gateway that is due for none of them has bodies to remove.
    let own = whose.holds("gateways.key", 4);
    let sql = format!(
        "SELECT key, recount, aged, coalesce(excess, 0) AS excess FROM (SELECT gateways.key, log_storage.run_at, \
           settings->>'log_management' IS NOT NULL AND log_storage.counted_at < ?1 - ?2 AS recount, \
           settings->>'log_management_strategy' = 'DELETE_OLDEST' AND log_storage.logs > settings->>'log_management' AS excess, \
           EXISTS (SELECT 1 FROM logs WHERE logs.gateway = gateways.key \
             AND logs.created_at < ?1 - 86400000 * (settings->>'log_retention_days')) AS aged, \
           EXISTS (SELECT 1 FROM logs WHERE logs.gateway = gateways.key \
             AND (logs.created_at, logs.id) > (log_storage.bodies_at, log_storage.bodies_id) \
             AND logs.created_at < ?1 - 86400000 * (settings->>'log_body_retention_days')) AS bodies \
         FROM gateways JOIN log_storage ON log_storage.gateway = gateways.key \
         WHERE (settings->>'log_management' IS NOT NULL OR settings->>'log_retention_days' IS NOT NULL \
           OR settings->>'log_body_retention_days' IS NOT NULL) AND {own}) \
         WHERE recount OR excess OR aged OR bodies ORDER BY coalesce(run_at, 0), key LIMIT ?3"
    );
    let binds: Vec<Bind> = [at(now_ms), at(RECOUNT_MS), count(MAX_DUE)].into_iter().chain(whose.binds()).collect();
    store.rows(Statement::new(sql, binds)).await
}

async fn slice(store: &impl Store, due: &Due, now_ms: u64, report: &mut Report) -> Result<(), StoreError> {
    // First, because a count that is too high would have too many removed.
    if due.recount == 1 {
        return recount(store, due.key, now_ms).await;
    }
    if due.aged == 1 {
        let aged = "SELECT id FROM logs WHERE gateway = ?1 AND created_at < ?2 - 86400000 * \
             (SELECT settings->>'log_retention_days' FROM gateways WHERE key = ?1) ORDER BY created_at, id LIMIT ?3";
        report.logs +=
            remove(store, Statement::new(aged, [due.key.into(), at(now_ms), count(store.pace().removed)]), now_ms)
                .await?;
    } else if due.excess == 1 {
        let excess = "SELECT id FROM logs WHERE gateway = ?1 ORDER BY created_at, id LIMIT coalesce(max(0, min(?2, \
             (SELECT logs FROM log_storage WHERE gateway = ?1) - (SELECT settings->>'log_management' FROM gateways \
               WHERE key = ?1 AND settings->>'log_management_strategy' = 'DELETE_OLDEST'))), 0)";
        report.logs +=
            remove(store, Statement::new(excess, [due.key.into(), count(store.pace().removed)]), now_ms).await?;
    } else {
        report.bodies += remove_bodies(store, due.key, now_ms).await?;
    }
    Ok(())
}

/// Removes the logs that a statement chooses.
async fn remove(store: &impl Store, chosen: Statement, now_ms: u64) -> Result<u64, StoreError> {
    let ids = store.ids(chosen).await?;
    removal::remove_in_run(store, &ids, now_ms).await
}

/// Removes the bodies of the next logs that are too old to have any, and notes how far that is.
async fn remove_bodies(store: &impl Store, gateway: i64, now_ms: u64) -> Result<u64, StoreError> {
    row! {
        struct Old {
            id: String,
            created_at: u64,
            has_body: u8,
        }
    }
    let sql = "SELECT id, created_at, EXISTS (SELECT 1 FROM log_bodies WHERE log_id = logs.id AND seq = 0) AS has_body \
         FROM logs WHERE gateway = ?1 \
         AND (created_at, id) > (SELECT bodies_at, bodies_id FROM log_storage WHERE gateway = ?1) AND created_at < \
         ?2 - 86400000 * (SELECT settings->>'log_body_retention_days' FROM gateways WHERE key = ?1) \
         ORDER BY created_at, id LIMIT ?3";
    let old: Vec<Old> =
        store.rows(Statement::new(sql, [gateway.into(), at(now_ms), count(store.pace().removed)])).await?;
    let Some(Old { id: last, created_at, .. }) = old.last() else { return Ok(0) };
    let ids: Vec<&str> = old.iter().filter(|old| old.has_body == 1).map(|old| old.id.as_str()).collect();
    let removed = ids.len() as u64;
    let ids = Value::from(ids).to_string();
    let noted = "UPDATE log_storage SET bodies_at = ?3, bodies_id = ?4, bodies_removed = bodies_removed + gone.n, \
         run_bodies = CASE WHEN run_at = ?2 THEN run_bodies + gone.n ELSE gone.n END, \
         run_logs = iif(run_at = ?2, run_logs, 0), run_at = ?2 \
         FROM (SELECT count(*) AS n FROM json_each(?5) JOIN log_bodies ON log_id = value AND seq = 0) AS gone WHERE gateway = ?1";
    let binds = [gateway.into(), at(now_ms), at(*created_at), last.as_str().into(), ids.as_str().into()];
    let removal = "DELETE FROM log_bodies WHERE log_id IN (SELECT value FROM json_each(?1))";
    let objects = bodies::removed(&ids);
    store.batch(vec![Statement::new(noted, binds), objects, Statement::new(removal, [ids.into()])]).await?;
    Ok(removed)
}

/// Counts a gateway's logs anew. The count is right but for what versions of the Worker do that do not know it.
async fn recount(store: &impl Store, gateway: i64, now_ms: u64) -> Result<(), StoreError> {
    let sql = "UPDATE log_storage SET logs = (SELECT count(*) FROM logs WHERE logs.gateway = ?1), counted_at = ?2 WHERE gateway = ?1";
    store.batch(vec![Statement::new(sql, [gateway.into(), at(now_ms)])]).await.map(drop)
}

/// Removes ids from one of the tables that need them for a while only. Ids begin with their time.
async fn forget(
    store: &impl Store,
    sql: &'static str,
    oldest_ms: u64,
    is_over: &impl Fn() -> bool,
) -> Result<(), StoreError> {
    let oldest = id::mint(oldest_ms, 0);
    for _ in 0..MAX_SLICES {
        let forgotten =
            store.batch(vec![Statement::new(sql, [oldest.as_str().into(), count(FORGOTTEN_AT_ONCE)])]).await?;
        if forgotten.first() != Some(&u64::from(FORGOTTEN_AT_ONCE)) || is_over() {
            break;
        }
    }
    Ok(())
}

const FORGET_UNSTORED: &str =
    "DELETE FROM unstored_logs WHERE id IN (SELECT id FROM unstored_logs WHERE id < ?1 ORDER BY id LIMIT ?2)";

const FORGET_GROUPS: &str =
    "DELETE FROM written_groups WHERE id IN (SELECT id FROM written_groups WHERE id < ?1 ORDER BY id LIMIT ?2)";

fn at(ms: u64) -> Bind {
    Bind::Int(ms as i64)
}

fn count(n: u32) -> Bind {
    Bind::Int(i64::from(n))
}

#[cfg(test)]
mod tests;
