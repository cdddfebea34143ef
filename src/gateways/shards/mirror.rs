//! What the database of a gateway's logs knows of the gateway: a copy of its row, under the same key.
//!
//! The first database decides. A gateway is made, changed and deleted there, and its logs' database is told afterwards. While
//! that fails, logs are written all the same, as those of a gateway without limits: what is to be told can be read from the
//! first database at any time.

use crate::db::databases::{Databases, binding};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::gateways::gateway::{self, Gateway};

/// Gateways that are compared at once.
const COMPARED: usize = 1_000;

row! {
    struct GatewayKey {
        key: i64,
    }
}

/// The statements that copy a row. They leave newer ones alone, and bring no deleted gateway back.
pub fn copy(gateway: &Gateway) -> Vec<Statement> {
    // Where this one is, its predecessor of the same name is no more.
    let predecessor = Statement::new(
        "DELETE FROM gateways WHERE account_id = ?1 AND id = ?2 AND key < ?3",
        [gateway.account_id.as_str().into(), gateway.id.as_str().into(), gateway.key.into()],
    );
    let row = Statement::new(
        "INSERT INTO gateways (key, account_id, id, internal_id, created_at, modified_at, settings, shard) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM deleted_gateways WHERE key = ?1) \
         AND NOT EXISTS (SELECT 1 FROM gateways WHERE account_id = ?2 AND id = ?3 AND key > ?1) \
         ON CONFLICT (key) DO UPDATE SET modified_at = excluded.modified_at, settings = excluded.settings \
         WHERE excluded.modified_at > gateways.modified_at AND excluded.id = gateways.id",
        [
            gateway.key.into(),
            gateway.account_id.as_str().into(),
            gateway.id.as_str().into(),
            gateway.internal_id.as_str().into(),
            Bind::Int(gateway.created_at as i64),
            Bind::Int(gateway.modified_at as i64),
            gateway::stored(&gateway.settings).into(),
            Bind::Int(gateway.shard.into()),
        ],
    );
    vec![predecessor, row]
}

/// Copies what a database does not know of its gateways. Two sums tell whether there is anything.
pub async fn heal(databases: &impl Databases, shard: u32) -> Result<(), StoreError> {
    row! {
        #[derive(PartialEq)]
        struct Sum {
            n: u64,
            sum: u64,
        }
    }
    let (first, store) = (databases.first(), databases.of(shard)?);
    let number = || Bind::Int(shard.into());
    let sum = "SELECT count(*) AS n, coalesce(sum((modified_at * 31 + key) & 1073741823), 0) AS sum FROM gateways WHERE shard = ?1";
    let wanted = first.row::<Sum>(Statement::new(sum, [number()])).await?;
    if wanted == store.row::<Sum>(Statement::new(sum, [number()])).await? {
        return Ok(());
    }
    let strange = "SELECT shard AS key FROM gateways WHERE shard <> ?1 LIMIT 1";
    if let Some(GatewayKey { key }) = store.row::<GatewayKey>(Statement::new(strange, [number()])).await? {
        let (here, other) = (binding(shard), binding(key.try_into().unwrap_or(0)));
        return Err(StoreError(format!(
            "the database bound as {here} has the gateways of {other}: the bindings were swapped"
        )));
    }
    let mut after = 0;
    loop {
        let page = format!(
            "SELECT max(key) AS key, json_group_array(json_array(key, modified_at)) AS rows FROM \
             (SELECT key, modified_at FROM gateways WHERE shard = ?1 AND key > ?2 ORDER BY key LIMIT {COMPARED})"
        );
        row! {
            struct Page {
                key: Option<i64>,
                rows: String,
            }
        }
        let page = first.row::<Page>(Statement::new(page, [number(), after.into()])).await?;
        let Some(Page { key: Some(last), rows }) = page else { return Ok(()) };
        let sql = "SELECT value->>0 AS key FROM json_each(?1) LEFT JOIN gateways ON gateways.key = value->>0 \
             WHERE coalesce(gateways.modified_at, 0) < value->>1";
        let old: Vec<i64> =
            store.rows::<GatewayKey>(Statement::new(sql, [rows.into()])).await?.iter().map(|row| row.key).collect();
        for key in old {
            // Read one by one, because their settings may be long.
            if let Some(gateway) = gateway::by_key(first, key).await? {
                store.batch(copy(&gateway)).await?;
            }
        }
        after = last;
    }
}

/// Tells the databases of deleted gateways' logs that they are to remove them.
pub async fn hand_over(databases: &impl Databases, now_ms: u64) -> Result<(), StoreError> {
    row! {
        struct Deleted {
            key: i64,
            shard: u32,
        }
    }
    let first = databases.first();
    let deleted = Statement::new("SELECT key, shard FROM deleted_gateways WHERE shard > 0 ORDER BY deleted_at", []);
    let mut failed = Ok(());
    let mut down = Vec::new();
    for Deleted { key, shard } in first.rows::<Deleted>(deleted).await? {
        // One that hangs is waited for once.
        if down.contains(&shard) {
            continue;
        }
        let synced = async {
            // Its last logs are awaited from now on, however long the database was out of reach.
            let deleted = "INSERT OR IGNORE INTO deleted_gateways (key, deleted_at) VALUES (?1, ?2)";
            let deleted = Statement::new(deleted, [key.into(), Bind::Int(now_ms as i64)]);
            let row = Statement::new("DELETE FROM gateways WHERE key = ?1", [key.into()]);
            databases.of(shard)?.batch(vec![deleted, row]).await?;
            first
                .batch(vec![Statement::new("DELETE FROM deleted_gateways WHERE key = ?1 AND shard > 0", [key.into()])])
                .await
        };
        if let Err(error) = synced.await {
            failed = Err(error);
            down.push(shard);
        }
    }
    failed
}
