//! What cannot be used again although its signature is good: sessions that were ended, and sign-in codes that were used.

use crate::db::store::{Bind, Statement, Store, StoreError, row};

row! {
    struct Count {
        n: u64,
    }
}

pub async fn is_spent(store: &impl Store, id: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) AS n FROM spent_credentials WHERE id = ?1";
    Ok(store.row::<Count>(Statement::new(sql, [id.into()])).await?.is_some_and(|count| count.n > 0))
}

/// Notes that something is used up, until it would have ended anyway; false where that is known already.
pub async fn spend(store: &impl Store, id: &str, until_ms: u64, now_ms: u64) -> Result<bool, StoreError> {
    let (until, now) = (Bind::Int(until_ms as i64), Bind::Int(now_ms as i64));
    let insert =
        Statement::new("INSERT OR IGNORE INTO spent_credentials (id, until) VALUES (?1, ?2)", [id.into(), until]);
    let tidy = Statement::new("DELETE FROM spent_credentials WHERE until < ?1", [now]);
    let changed = store.batch(vec![insert, tidy]).await?;
    Ok(changed.first() == Some(&1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sqlite::Sqlite;
    use pollster::block_on;

    #[test]
    fn a_credential_is_spent_once_and_forgotten_when_it_would_have_ended() {
        let store = Sqlite::new();
        let spend = |id: &str, until, now| block_on(spend(&store, id, until, now)).unwrap();
        let is_spent = |id: &str| block_on(is_spent(&store, id)).unwrap();
        assert!(!is_spent("a"));
        assert_eq!((spend("a", 100, 1), spend("a", 100, 2), is_spent("a")), (true, false, true));
        assert!(spend("b", 300, 200));
        assert_eq!((is_spent("a"), is_spent("b")), (false, true));
    }
}
