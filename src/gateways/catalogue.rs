//! An account's own catalogue of models in the database.

use crate::catalogue::table::Catalogue;
use crate::db::audit::{Actor, Change};
use crate::db::store::{Bind, Statement, Store, StoreError, row};

/// The version of the account `?1`; null where it has no catalogue of its own.
pub const VERSION: &str = "(SELECT version FROM catalogues WHERE account_id = ?1)";

row! {
    struct OwnRow {
        version: u64,
        as_of: String,
        lines: String,
    }
}

/// An account's catalogue and its version; that of the built-in one is 0.
pub async fn read(store: &impl Store, account: &str) -> Result<(u64, Catalogue), StoreError> {
    let sql = "SELECT version, as_of, lines FROM catalogues WHERE account_id = ?1";
    let found = store.row::<OwnRow>(Statement::new(sql, [account.into()])).await?;
    Ok(found.map_or((0, Catalogue::default()), |row| (row.version, Catalogue::of(row.as_of, row.lines))))
}

/// Stores an account's own lines, unless the version is another one than that which was read. Tells whether it did.
pub async fn write(
    store: &impl Store,
    account: &str,
    version: u64,
    (as_of, lines): (&str, &str),
    actor: &Actor<'_>,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO catalogues (account_id, version, as_of, lines, modified_at) \
         SELECT ?1, ?2 + 1, ?3, ?4, ?5 WHERE ?2 = coalesce((SELECT version FROM catalogues WHERE account_id = ?1), 0) \
         ON CONFLICT (account_id) DO UPDATE SET version = excluded.version, as_of = excluded.as_of, lines = excluded.lines, \
           modified_at = excluded.modified_at";
    let binds = [account.into(), Bind::Int(version as i64), as_of.into(), lines.into(), Bind::Int(actor.now_ms as i64)];
    let change =
        Change { action: "catalogue.update", account, gateway: None, target: "catalogue", fields: vec!["prices"] };
    let changed = store.batch(vec![Statement::new(sql, binds), actor.row(&change)]).await?;
    Ok(changed.first() == Some(&1))
}
