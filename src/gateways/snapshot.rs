//! What a proxied request has to know of its gateway and account: read by one statement, and kept in the isolate for some
//! seconds.

use crate::credentials::select::StoredKey;
use crate::credentials::stored;
use crate::db::store::{FromRow, Row, Statement, Store, StoreError, column};
use crate::gateways::gateway::{self, Gateway};
use crate::policies;
use crate::policies::decide::Policy;
use crate::pricing::rules::{self, PriceRule};
use crate::providers::upstream::{self, CustomProvider};
use std::rc::Rc;

#[derive(Clone, Debug)]
pub struct GatewaySnapshot {
    pub gateway: Gateway,
    /// The keys that the gateway stores, still sealed.
    pub keys: Vec<StoredKey>,
    /// The providers that the account added.
    pub custom: Vec<CustomProvider>,
    /// The prices that the account set.
    pub prices: Rc<[PriceRule]>,
    /// The policies that are in force.
    pub policies: Rc<[Policy]>,
}

const POLICIES: &str = "(SELECT json_group_array(json(live)) FROM \
     (SELECT live FROM policies WHERE gateway = gateways.key AND live IS NOT NULL ORDER BY created_at, id))";

pub async fn read(store: &impl Store, account: &str, id: &str) -> Result<Option<GatewaySnapshot>, StoreError> {
    let sql = format!(
        "SELECT {}, {} AS keys, {} AS custom, {} AS prices, {POLICIES} AS policies FROM gateways WHERE account_id = ?1 AND id = ?2",
        gateway::COLUMNS,
        stored::OF_GATEWAY,
        upstream::SELECT,
        rules::select(),
    );
    store.row::<GatewaySnapshot>(Statement::new(sql, [account.into(), id.into()])).await
}

impl FromRow for GatewaySnapshot {
    fn from_row(mut row: Row) -> Result<Self, StoreError> {
        let keys: String = column(&mut row, "keys")?;
        let custom: String = column(&mut row, "custom")?;
        let prices: String = column(&mut row, "prices")?;
        let policies: String = column(&mut row, "policies")?;
        Ok(Self {
            gateway: Gateway::from_row(row)?,
            keys: stored::keys(&keys)?,
            custom: upstream::from_json(&custom),
            prices: rules::from_json(&prices).into(),
            policies: policies::stored::all(&policies).into(),
        })
    }
}
