//! The rows of tokens, and the token that a digest belongs to.

use crate::auth::caller::{Permission, Token};
use crate::auth::terms::Terms;
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use std::rc::Rc;

pub const COLUMNS: &str =
    "id, account_id, name, gateways, permissions, created_at, modified_at, expires_at, last_used_at, terms";

row! {
    pub struct TokenRow {
        pub id: String,
        pub account_id: String,
        pub name: String,
        pub gateways: Option<String>,
        pub permissions: String,
        pub created_at: u64,
        pub modified_at: u64,
        pub expires_at: Option<u64>,
        pub last_used_at: Option<u64>,
        pub terms: Option<String>,
    }
}

/// Finds the token of a digest, whether or not it is still valid.
pub async fn find(store: &impl Store, digest: &str) -> Result<Option<Token>, StoreError> {
    let row = Statement::new(format!("SELECT {COLUMNS} FROM tokens WHERE digest = ?1"), [digest.into()]);
    Ok(store.row::<TokenRow>(row).await?.map(TokenRow::token))
}

/// Finds a token of an account by its id, whether or not it is still valid.
pub async fn by_id(store: &impl Store, account: &str, id: &str) -> Result<Option<Token>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1 AND account_id = ?2");
    let row = store.row::<TokenRow>(Statement::new(sql, [id.into(), account.into()])).await?;
    Ok(row.map(TokenRow::token))
}

/// What people call a token of an account.
pub async fn named(store: &impl Store, account: &str, id: &str) -> Result<Option<String>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1 AND account_id = ?2");
    Ok(store.row::<TokenRow>(Statement::new(sql, [id.into(), account.into()])).await?.map(|row| row.name))
}

/// Notes that a token was used.
pub async fn used(store: &impl Store, id: &str, now_ms: u64) -> Result<(), StoreError> {
    let sql = "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1 AND coalesce(last_used_at, 0) < ?2";
    store.batch(vec![Statement::new(sql, [id.into(), Bind::Int(now_ms as i64)])]).await.map(drop)
}

// === impl Row ===

impl TokenRow {
    fn token(self) -> Token {
        let names: Vec<String> = serde_json::from_str(&self.permissions).unwrap_or_default();
        Token {
            id: self.id,
            account: self.account_id,
            // What cannot be read must not become a token for everything.
            gateways: self.gateways.map(|all| serde_json::from_str(&all).unwrap_or_default()),
            permissions: names.iter().filter_map(|name| Permission::parse(name)).collect(),
            expires_at: self.expires_at,
            terms: Rc::new(Terms::of_row(self.name, self.terms.as_deref())),
        }
    }
}
