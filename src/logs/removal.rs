//! Removing logs with all that belongs to them, and what a deleted gateway leaves behind.

use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::db::whose::Whose;
use crate::logs::bodies;
use crate::logs::responses;
use crate::logs::retention::capacity;
use serde_json::Value;

/// How long after its deletion a gateway may still get logs, in milliseconds: they may wait in a queue.
const LAST_LOGS_MS: u64 = 24 * 60 * 60 * 1_000;

/// Removes logs with all that belongs to them, in one transaction. Returns how many logs were there.
pub async fn remove(store: &impl Store, ids: &[String], audit: Option<Statement>) -> Result<u64, StoreError> {
    removed(store, ids, None, audit).await
}

/// [`remove`] by a run of retention that began at a certain time.
pub async fn remove_in_run(store: &impl Store, ids: &[String], run: u64) -> Result<u64, StoreError> {
    removed(store, ids, Some(run), None).await
}

async fn removed(
    store: &impl Store,
    ids: &[String],
    run: Option<u64>,
    audit: Option<Statement>,
) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let ids = Value::from(ids).to_string();
    let released = capacity::release(&ids, run);
    let objects = bodies::removed(&ids);
    // What people remove is not to be pushed any more; what retention removes too early is missed.
    let missed = run.map(|_| Statement::new(MISSED, [Bind::from(ids.as_str())]));
    let statements = [
        "DELETE FROM logs_to_push WHERE (gateway, log_id) IN (SELECT gateway, id FROM logs WHERE id IN (SELECT value FROM json_each(?1)))",
        "DELETE FROM log_bodies WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM log_metadata WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM log_feedback WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM feedback_history WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM pending_feedback WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM verdicts WHERE log_id IN (SELECT value FROM json_each(?1))",
        "DELETE FROM logs WHERE id IN (SELECT value FROM json_each(?1))",
    ];
    let statements = statements.map(|sql| Statement::new(sql, [Bind::from(ids.as_str())]));
    let last = statements.len() + 1 + usize::from(missed.is_some());
    let changed =
        store.batch([released, objects].into_iter().chain(missed).chain(statements).chain(audit).collect()).await?;
    Ok(changed.get(last).copied().unwrap_or(0))
}

/// Counts the logs that are removed before they were pushed.
const MISSED: &str = "INSERT INTO logpush_progress (gateway, lost) SELECT logs.gateway, count(*) AS n FROM logs \
     JOIN logs_to_push ON logs_to_push.gateway = logs.gateway AND logs_to_push.log_id = logs.id \
     WHERE logs.id IN (SELECT value FROM json_each(?1)) GROUP BY logs.gateway \
     ON CONFLICT (gateway) DO UPDATE SET lost = lost + excluded.lost";

/// Removes the logs in this database of deleted gateways, `limit` at a time. A gateway is done with only some time after its deletion,
/// because answers that were under way then leave their logs when they end.
pub async fn sweep(store: &impl Store, whose: &Whose, now_ms: u64, limit: u32) -> Result<(), StoreError> {
    row! {
        struct Deleted {
            key: i64,
            deleted_at: u64,
        }
    }
    let all = format!(
        "SELECT key, deleted_at FROM deleted_gateways WHERE shard = 0 AND {} ORDER BY deleted_at",
        whose.holds("deleted_gateways.key", 1)
    );
    for Deleted { key, deleted_at } in store.rows::<Deleted>(Statement::new(all, whose.binds())).await? {
        while delete_logs_slice(store, key, limit).await? {}
        delete_evaluations(store, key).await?;
        while responses::remove_gateway(store, key).await? {}
        let sums = ["DELETE FROM rollup WHERE gateway = ?1", "DELETE FROM totals WHERE gateway = ?1"];
        store.batch(sums.map(|sql| Statement::new(sql, [key.into()])).into()).await?;
        if now_ms.saturating_sub(deleted_at) > LAST_LOGS_MS {
            let done = [
                "DELETE FROM log_storage WHERE gateway = ?1",
                "DELETE FROM logpush_progress WHERE gateway = ?1",
                "DELETE FROM deleted_gateways WHERE key = ?1",
            ];
            store.batch(done.map(|sql| Statement::new(sql, [key.into()])).into()).await?;
        }
    }
    Ok(())
}

/// Removes up to `limit` logs of a deleted gateway with all that belongs to them. True when there may be more.
pub async fn delete_logs_slice(store: &impl Store, key: i64, limit: u32) -> Result<bool, StoreError> {
    let slice = Statement::new(
        "SELECT id FROM logs WHERE gateway = ?1 ORDER BY created_at, id LIMIT ?2",
        [key.into(), Bind::Int(i64::from(limit))],
    );
    let ids = store.ids(slice).await?;
    remove(store, &ids, None).await?;
    Ok(ids.len() == limit as usize)
}

/// Removes what was done with the logs of a deleted gateway: datasets, evaluations, new prices, views and batches.
async fn delete_evaluations(store: &impl Store, key: i64) -> Result<(), StoreError> {
    let statements = [
        "DELETE FROM verdicts WHERE evaluation_id IN (SELECT id FROM evaluations WHERE gateway = ?1)",
        "DELETE FROM evaluation_results WHERE evaluation_id IN (SELECT id FROM evaluations WHERE gateway = ?1)",
        "DELETE FROM evaluations WHERE gateway = ?1",
        "DELETE FROM datasets WHERE gateway = ?1",
        "DELETE FROM reprices WHERE gateway = ?1",
        "DELETE FROM views WHERE gateway = ?1",
        "DELETE FROM batches WHERE gateway = ?1",
    ];
    store.batch(statements.map(|sql| Statement::new(sql, [key.into()])).into()).await.map(drop)
}
