//! Feedback that waits for its log: made part of it when the row is there, given up when it does not come.

use crate::base::id::{self, MarkKey};
use crate::db::databases::Databases;
use crate::db::put_aside::{self, PENDING};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::feedback::locate::{Found, within};
use crate::feedback::model::{Feedback, FeedbackAuthor};
use crate::gateways::shards::carry;

/// How long after an id was handed out its row may still come, in milliseconds.
const PENDING_MS: u64 = 60 * 60 * 1_000;

/// How long feedback waits for a row, in milliseconds. A row that has not come by then was lost.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// [`attach`] of one log, wherever its judgements wait.
pub async fn settle_in(databases: &impl Databases, found: &Found, now_ms: u64) -> Result<(), StoreError> {
    carry::pending(databases, found.shard, &found.id).await?;
    attach(databases.of(found.shard)?, Some(&found.id), now_ms).await
}

/// Whether the row of an id can still come.
pub fn may_come(log: &str, mark: &MarkKey, now_ms: u64) -> bool {
    id::is_younger(log, PENDING_MS, now_ms) && id::is_ours(log, mark)
}

/// Makes kept judgements part of their logs, where these are there by now: of one log, or of all. Those of logs that will
/// not come are given up.
pub async fn attach(store: &impl Store, log: Option<&str>, now_ms: u64) -> Result<(), StoreError> {
    row! {
        struct Pending {
            id: String,
            log_id: String,
            given_at: u64,
            given_by: String,
            kind: String,
            data: String,
            /// Null while there is no row; 0 where it turned out to be of another account or gateway.
            allowed: Option<u8>,
            /// 0 where its gateway cannot be read.
            sound: u8,
        }
    }
    let sql = format!(
        "SELECT pending.id, pending.log_id, pending.given_at, pending.given_by, pending.kind, pending.data, \
         coalesce(json_valid(pending.gateways), 1) AS sound, \
         (SELECT {} FROM logs JOIN gateways ON gateways.key = logs.gateway WHERE logs.id = pending.log_id) AS allowed \
         FROM pending_feedback AS pending WHERE (?1 IS NULL OR pending.log_id = ?1) \
         AND (pending.given_at < ?2 \
           OR EXISTS (SELECT 1 FROM logs JOIN gateways ON gateways.key = logs.gateway WHERE logs.id = pending.log_id) \
           OR EXISTS (SELECT 1 FROM unstored_logs WHERE id = pending.log_id)) ORDER BY pending.given_at, pending.id LIMIT 20",
        within("pending.account", "iif(json_valid(pending.gateways), pending.gateways, NULL)")
    );
    let pending = Statement::new(sql, [log.into(), Bind::Int(now_ms.saturating_sub(KEPT_MS) as i64)]);
    let (rows, others) = store.readable::<Pending>(pending).await?;
    put_aside::unreadable(store, PENDING, &others, now_ms).await?;
    for row in rows {
        let aside = |reason: &str| put_aside::moved(PENDING, &row.id, reason, &row.data, now_ms);
        let mut statements = Vec::new();
        if row.sound == 0 {
            statements = aside("its gateways are no JSON");
        } else if row.allowed == Some(1) {
            let author = FeedbackAuthor { name: &row.given_by, at: row.given_at, id: row.id.clone() };
            let data = serde_json::from_str(&row.data).map_err(|error| error.to_string());
            match data.and_then(|data| Feedback::restore(&row.kind, data).map_err(|error| error.message)) {
                Ok(feedback) => statements = feedback.statements(&row.log_id, &author),
                Err(reason) => statements = aside(&reason),
            }
        }
        statements.push(Statement::new("DELETE FROM pending_feedback WHERE id = ?1", [row.id.as_str().into()]));
        match store.batch(statements).await {
            Err(error) if error.is_of_the_rows() => store.batch(aside(&error.0)).await.map(drop)?,
            settled => drop(settled?),
        }
    }
    Ok(())
}

/// How many judgements wait for their logs.
pub async fn waiting(store: &impl Store) -> Result<u64, StoreError> {
    row! {
        struct Count {
            n: u64,
        }
    }
    let waiting = Statement::new("SELECT count(*) AS n, NULL AS bytes FROM pending_feedback", []);
    Ok(store.row::<Count>(waiting).await?.map_or(0, |count| count.n))
}
