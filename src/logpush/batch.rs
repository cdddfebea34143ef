//! Batches in the database. A batch is chosen once and stays the same, under the same name, until it has arrived.

use crate::db::store::{Bind, Statement, Store, StoreError, row};

/// Logs of a batch.
const MOST_LOGS: i64 = 500;

/// What their bodies may have together, in bytes. A log that has more is a batch of its own.
const MOST_BYTES: i64 = 4_000_000;

/// How long a batch is left to the isolate that works on it, in milliseconds: longer than it may take to send it.
pub const LEASE_MS: u64 = 60_000;

/// Gateways that are served in turn.
const MOST_DUE: i64 = 20;

/// The longest wait between two tries, in milliseconds.
const LONGEST_WAIT_MS: u64 = 30 * MINUTE_MS;

const MINUTE_MS: u64 = 60_000;

/// Characters of an error that are kept.
const MOST_ERROR: usize = 300;

row! {
    /// A gateway with logs to push.
    pub struct Due {
        pub key: i64,
        pub account_id: String,
        pub id: String,
        pub public_key: Option<String>,
        pub plain: u8,
    }
}

row! {
    /// A batch under way.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Batch {
        pub batch_id: String,
        /// The ids of its logs, a JSON array.
        pub batch: String,
        pub failures: u64,
    }
}

row! {
    /// Where a gateway's logs go, if not to the bucket.
    pub struct Destination {
        pub url: String,
        pub secret: Option<String>,
        pub key_id: Option<String>,
        pub checked: u8,
    }
}

/// The gateways that have something to push now, the one first that has waited longest. What failed last comes behind the others, unless
/// its turn has not come for long.
pub async fn due(store: &impl Store, now_ms: u64) -> Result<Vec<Due>, StoreError> {
    let sql = "SELECT key, account_id, id, settings->>'logpush_public_key' AS public_key, coalesce(settings->>'logpush_plain', 0) AS plain \
         FROM gateways LEFT JOIN logpush_progress ON logpush_progress.gateway = gateways.key \
         WHERE settings->>'logpush' = 1 AND coalesce(next_at, 0) <= ?1 AND coalesce(lease_until, 0) <= ?1 \
         AND (batch IS NOT NULL OR EXISTS (SELECT 1 FROM logs_to_push WHERE logs_to_push.gateway = gateways.key)) \
         ORDER BY coalesce(failures, 0) > 0 AND served_at > ?1 - ?3, coalesce(served_at, 0), key LIMIT ?2";
    store.rows(Statement::new(sql, [at(now_ms), MOST_DUE.into(), at(2 * LONGEST_WAIT_MS)])).await
}

/// Takes over the batch of a gateway, or chooses one under the name `id`. `None` where another isolate works on it, or where there is
/// nothing to do.
pub async fn claim(store: &impl Store, gateway: i64, id: &str, now_ms: u64) -> Result<Option<Batch>, StoreError> {
    let begin = Statement::new("INSERT OR IGNORE INTO logpush_progress (gateway) VALUES (?1)", [gateway.into()]);
    let take = "UPDATE logpush_progress SET lease_until = ?2 + ?3, served_at = ?2, batch_id = iif(batch IS NULL, ?4, batch_id), \
         batch = coalesce(batch, (SELECT json_group_array(id) FROM \
           (SELECT id, sum(size) OVER (ORDER BY id) AS total, row_number() OVER (ORDER BY id) AS place FROM \
             (SELECT log_id AS id, coalesce(request_size, 0) + coalesce(response_size, 0) AS size FROM logs_to_push \
              LEFT JOIN logs ON logs.id = log_id WHERE logs_to_push.gateway = ?1 ORDER BY log_id LIMIT ?5)) \
           WHERE total <= ?6 OR place = 1)) \
         WHERE gateway = ?1 AND lease_until <= ?2 AND next_at <= ?2";
    let binds: [Bind; 6] = [gateway.into(), at(now_ms), at(LEASE_MS), id.into(), MOST_LOGS.into(), MOST_BYTES.into()];
    let changed = store.batch(vec![begin, Statement::new(take, binds)]).await?;
    if changed.get(1) != Some(&1) {
        return Ok(None);
    }
    let sql = "SELECT batch_id, batch, failures FROM logpush_progress WHERE gateway = ?1 AND batch IS NOT NULL";
    store.row(Statement::new(sql, [gateway.into()])).await
}

/// Notes that a batch has arrived, with how many logs. It is noted once, however many isolates have sent it.
pub async fn arrived(
    store: &impl Store,
    gateway: i64,
    batch: &Batch,
    logs: u64,
    now_ms: u64,
) -> Result<(), StoreError> {
    // The logs first: they are removed only while the batch is noted as under way.
    let done = "DELETE FROM logs_to_push WHERE gateway = ?1 AND log_id IN \
         (SELECT value FROM json_each((SELECT batch FROM logpush_progress WHERE gateway = ?1 AND batch_id = ?2)))";
    let noted = "UPDATE logpush_progress SET pushed = pushed + ?3, batches = batches + (?3 > 0), \
         pushed_up_to = coalesce((SELECT max(value) FROM json_each(batch)), pushed_up_to), pushed_at = iif(?3 > 0, ?4, pushed_at), \
         batch_id = NULL, batch = NULL, lease_until = 0, failures = 0 WHERE gateway = ?1 AND batch_id = ?2";
    let id = batch.batch_id.as_str();
    let statements = vec![
        Statement::new(done, [gateway.into(), id.into()]),
        Statement::new(noted, [gateway.into(), id.into(), Bind::Int(logs as i64), at(now_ms)]),
    ];
    store.batch(statements).await.map(drop)
}

/// Notes that a batch did not arrive, and when it is tried again.
pub async fn failed(
    store: &impl Store,
    gateway: i64,
    batch: &Batch,
    error: &str,
    now_ms: u64,
) -> Result<(), StoreError> {
    let error: String = error.chars().take(MOST_ERROR).collect();
    let sql = "UPDATE logpush_progress SET failures = failures + 1, error = ?3, error_at = ?4, next_at = ?5, lease_until = 0 \
         WHERE gateway = ?1 AND batch_id = ?2";
    let next = now_ms + wait(batch.failures);
    let binds = [gateway.into(), batch.batch_id.as_str().into(), error.into(), at(now_ms), at(next)];
    store.batch(vec![Statement::new(sql, binds)]).await.map(drop)
}

/// Where a gateway's logs go, in the first database.
pub async fn destination(store: &impl Store, gateway: i64) -> Result<Option<Destination>, StoreError> {
    let sql = "SELECT url, secret, key_id, checked FROM logpush_destinations WHERE gateway = ?1";
    store.row(Statement::new(sql, [gateway.into()])).await
}

/// The next try is tried at once: there is another destination.
pub fn tried_at_once(gateway: i64) -> Statement {
    Statement::new("UPDATE logpush_progress SET next_at = 0, failures = 0 WHERE gateway = ?1", [gateway.into()])
}

/// The time to the next try, after so many failures before this one.
fn wait(failures: u64) -> u64 {
    (MINUTE_MS << failures.min(8)).min(LONGEST_WAIT_MS)
}

fn at(ms: u64) -> Bind {
    Bind::Int(ms as i64)
}

#[cfg(test)]
mod tests;
