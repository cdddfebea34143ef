//! Rows that have to go from one database to another: they are in both for a moment, and never in neither.

use crate::db::databases::Databases;
use crate::db::store::{Bind, Row, Statement, Store, StoreError, row};
use serde_json::Value;

/// Rows in one step. One may be a quarter of a megabyte long.
const AT_ONCE: usize = 20;

/// Logs that are looked for at once.
const SOUGHT: usize = 500;

const AUDIT: &[&str] = &["id", "account_id", "at", "actor", "action", "gateway_id", "target", "fields"];

const PENDING: &[&str] = &["id", "log_id", "account", "gateways", "given_at", "given_by", "kind", "data"];

row! {
    struct Id {
        id: String,
    }
}

/// Brings the trail of changes together in the first database: what was changed together with logs was noted in the
/// same transaction, beside them.
pub async fn audit(databases: &impl Databases, store: &impl Store) -> Result<(), StoreError> {
    carry(store, databases.first(), "audit", AUDIT, "?1 IS NULL", Bind::Null).await
}

/// Brings judgements that wait for a log to its database, where it is not known at first. One database needs nothing done.
pub async fn pending(databases: &impl Databases, shard: u32, log: &str) -> Result<(), StoreError> {
    if shard == 0 {
        return Ok(());
    }
    let ids = Value::from([log].as_slice()).to_string();
    deliver(databases.first(), databases.of(shard)?, &ids).await
}

/// Brings all feedback that waits in the first database to the one where its log has turned up.
pub async fn all_pending(databases: &impl Databases) -> Result<(), StoreError> {
    if databases.others().is_empty() {
        return Ok(());
    }
    let sought = format!(
        "SELECT DISTINCT log_id AS id FROM pending_feedback WHERE log_id NOT IN (SELECT id FROM logs) LIMIT {SOUGHT}"
    );
    let sought = ids(databases.first(), Statement::new(sought, [])).await?;
    let mut failed = Ok(());
    if sought == "[]" {
        return failed;
    }
    for (_, store) in databases.others() {
        let arrived = async {
            let sql = "SELECT id FROM logs WHERE id IN (SELECT value FROM json_each(?1)) \
                 UNION SELECT id FROM unstored_logs WHERE id IN (SELECT value FROM json_each(?1))";
            let found = ids(store, Statement::new(sql, [sought.as_str().into()])).await?;
            deliver(databases.first(), store, &found).await
        };
        // One database that does not answer is no reason to keep from the others what is theirs.
        if let Err(error) = arrived.await {
            failed = Err(error);
        }
    }
    failed
}

async fn ids(store: &impl Store, statement: Statement) -> Result<String, StoreError> {
    let ids: Vec<String> = store.rows::<Id>(statement).await?.into_iter().map(|row| row.id).collect();
    Ok(Value::from(ids).to_string())
}

async fn deliver(from: &impl Store, to: &impl Store, logs: &str) -> Result<(), StoreError> {
    let condition = "log_id IN (SELECT value FROM json_each(?1))";
    carry(from, to, "pending_feedback", PENDING, condition, logs.into()).await
}

async fn carry(
    from: &impl Store,
    to: &impl Store,
    table: &str,
    columns: &[&str],
    condition: &str,
    bind: Bind,
) -> Result<(), StoreError> {
    let names = columns.join(", ");
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    let insert = format!("INSERT OR IGNORE INTO {table} ({names}) VALUES ({})", places.join(", "));
    let choice = format!("SELECT {names} FROM {table} WHERE {condition} LIMIT {AT_ONCE}");
    loop {
        let rows = from.select(Statement::new(choice.clone(), [bind.clone()])).await?.0;
        if rows.is_empty() {
            return Ok(());
        }
        to.batch(rows.iter().map(|row| Statement::new(insert.clone(), values(row, columns))).collect()).await?;
        let ids: Vec<Value> = rows.iter().filter_map(|row| row.get("id").cloned()).collect();
        let there = format!("DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?1))");
        from.batch(vec![Statement::new(there, [Value::from(ids).to_string().into()])]).await?;
        if rows.len() < AT_ONCE {
            return Ok(());
        }
    }
}

fn values(row: &Row, columns: &[&str]) -> Vec<Bind> {
    let value = |column: &&str| match row.get(*column) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(Value::Number(number)) => number.as_f64().into(),
        _ => Bind::Null,
    };
    columns.iter().map(value).collect()
}
