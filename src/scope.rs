//! What a proxied request has to know of its gateway: read by one statement, and kept in the isolate for some seconds.

use crate::api::gateways::{self, Gateway};
use crate::store::{Store, StoreError};

#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    pub gateway: Gateway,
}

pub async fn read(store: &impl Store, account: &str, id: &str) -> Result<Option<Scope>, StoreError> {
    Ok(gateways::find(store, account, id).await?.map(|gateway| Scope { gateway }))
}
