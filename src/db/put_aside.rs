//! Rows that cannot be read. They are put aside, whole, so that what one loop does for all gateways goes on without them, and an
//! operator is told of each once.

use crate::db::store::{Bind, Row, Statement, Store, StoreError, row};
use serde_json::Value;

/// What is read from a table or a queue, by the name of it.
pub const TALLIES: &str = "tallies";
pub const PENDING: &str = "pending_feedback";
pub const EVALUATIONS: &str = "evaluations";
pub const REPRICES: &str = "reprices";
pub const QUEUE: &str = "queue";

/// How long such a row is kept, in milliseconds.
const KEPT_MS: u64 = 90 * 24 * 60 * 60 * 1_000;

/// Rows that an operator is told of at once.
const REPORTED_AT_ONCE: u32 = 20;

row! {
    /// A row that an operator has not been told of.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Unreported {
        pub source: String,
        pub id: String,
        pub reason: String,
    }
}

/// Keeps what could not be read.
pub fn kept(source: &'static str, id: &str, reason: &str, content: &str, now_ms: u64) -> Statement {
    Statement::new(
        "INSERT OR IGNORE INTO put_aside (source, id, at, reason, content) VALUES (?1, ?2, ?3, ?4, ?5)",
        [source.into(), id.into(), Bind::Int(now_ms as i64), reason.into(), content.into()],
    )
}

/// Takes a row out of its table and keeps it.
pub fn moved(source: &'static str, id: &str, reason: &str, content: &str, now_ms: u64) -> Vec<Statement> {
    let gone = Statement::new(format!("DELETE FROM {source} WHERE id = ?1"), [id.into()]);
    vec![kept(source, id, reason, content, now_ms), gone]
}

/// Takes rows out of their table that could not be read as what they should be.
pub async fn unreadable(
    store: &impl Store,
    source: &'static str,
    rows: &[(Row, StoreError)],
    now_ms: u64,
) -> Result<(), StoreError> {
    for (row, reason) in rows {
        // An id of another type would be one that no statement finds.
        let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
        let content = Value::Object(row.clone()).to_string();
        store.batch(moved(source, id, &reason.0, &content, now_ms)).await?;
    }
    Ok(())
}

/// What is to be told, how many rows are put aside in all, and the removal of those that are too old.
pub async fn report(store: &impl Store, now_ms: u64) -> Result<(Vec<Unreported>, u64), StoreError> {
    row! {
        struct Count {
            n: u64,
        }
    }
    let count = "SELECT count(*) AS n FROM put_aside";
    let n = store.row::<Count>(Statement::new(count, [])).await?.map_or(0, |count| count.n);
    if n == 0 {
        return Ok((Vec::new(), 0));
    }
    let unreported = "SELECT source, id, reason FROM put_aside WHERE told = 0 ORDER BY at LIMIT ?1";
    let unreported: Vec<Unreported> =
        store.rows(Statement::new(unreported, [Bind::Int(REPORTED_AT_ONCE.into())])).await?;
    let reported =
        unreported.iter().map(|row| Value::from(vec![row.source.as_str(), row.id.as_str()])).collect::<Value>();
    let old = Bind::Int(now_ms.saturating_sub(KEPT_MS) as i64);
    store
        .batch(vec![
            Statement::new(
                "UPDATE put_aside SET told = 1 WHERE (source, id) IN (SELECT value->>0, value->>1 FROM json_each(?1))",
                [reported.to_string().into()],
            ),
            Statement::new("DELETE FROM put_aside WHERE told = 1 AND at < ?1", [old]),
        ])
        .await?;
    Ok((unreported, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    #[test]
    fn an_operator_is_told_of_each_row_once_and_it_is_kept() {
        let store = Sqlite::new();
        assert_eq!(block_on(report(&store, 1)).unwrap(), (Vec::new(), 0));
        for n in 0..REPORTED_AT_ONCE + 5 {
            let statement = kept(QUEUE, &n.to_string(), "no JSON", "{", n.into());
            block_on(store.batch(vec![statement.clone(), statement])).unwrap();
        }
        let reported = |now_ms| {
            let (rows, n) = block_on(report(&store, now_ms)).unwrap();
            (rows.len(), n)
        };
        assert_eq!([reported(1), reported(2), reported(3)], [(20, 25), (5, 25), (0, 25)]);
        assert_eq!([reported(KEPT_MS + 10), reported(KEPT_MS + 11)], [(0, 25), (0, 15)]);
    }
}
