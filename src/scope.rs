//! What a proxied request has to know of its gateway: read by one statement, and kept in the isolate for some seconds.

use crate::api::gateways::{self, Gateway};
use crate::api::provider_configs;
use crate::credential::StoredKey;
use crate::store::{Statement, Store, StoreError, column};

#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    pub gateway: Gateway,
    /// The keys that the gateway stores, still sealed.
    pub keys: Vec<StoredKey>,
}

pub async fn read(store: &impl Store, account: &str, id: &str) -> Result<Option<Scope>, StoreError> {
    let sql = format!(
        "SELECT {}, {} AS keys FROM gateways WHERE account_id = ?1 AND id = ?2",
        gateways::COLUMNS,
        provider_configs::OF_GATEWAY
    );
    let (rows, _) = store.select(Statement::new(sql, [account.into(), id.into()])).await?;
    let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
    let keys: String = column(&mut row, "keys")?;
    Ok(Some(Scope { keys: provider_configs::keys(&keys)?, gateway: gateways::read(row)? }))
}
