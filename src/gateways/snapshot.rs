//! What a proxied request has to know of its gateway and account: read by one statement, and kept in the isolate for some
//! seconds.

use crate::catalogue::table::Catalogue;
use crate::credentials::key::StoredKey;
use crate::credentials::stored;
use crate::db::store::{FromRow, Row, Statement, Store, StoreError, column};
use crate::gateways::catalogue;
use crate::gateways::exporters::{self, Exporter};
use crate::gateways::gateway::{self, Gateway};
use crate::limit::watch::Watch;
use crate::policies;
use crate::policies::decide::Policy;
use crate::pricing::rules::{self, PriceRule};
use crate::providers::upstream::{self, CustomProvider};
use crate::routes::deployed::{self, Deployed};
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
    /// Who is told of limits that are nearly used up.
    pub watch: Option<Rc<Watch>>,
    /// The policies that are in force.
    pub policies: Rc<[Policy]>,
    /// The models that the account knows, of this version; 0 stands for the built-in ones alone.
    pub catalogue: Catalogue,
    pub catalogue_version: u64,
    /// The places that spans are sent to.
    pub exporters: Option<Rc<[Rc<Exporter>]>>,
    /// The dynamic routes that callers may name in a model's place.
    pub routes: Vec<Deployed>,
}

/// Of all webhooks for alerts of a gateway and its account; null where there is none.
const THRESHOLDS: &str = "(SELECT json_group_array(json(thresholds)) FROM alert_webhooks WHERE account_id = ?1 \
     AND (gateway IS NULL OR gateway = gateways.key) HAVING count(*) > 0)";

fn watch(gateway: &Gateway, thresholds: &str) -> Option<Rc<Watch>> {
    let lists: Vec<Vec<f64>> = serde_json::from_str(thresholds).ok()?;
    let mut thresholds: Vec<f64> = lists.into_iter().flatten().collect();
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    Some(Rc::new(Watch { account: gateway.account_id.clone(), gateway: gateway.id.clone(), thresholds }))
}

const POLICIES: &str = "(SELECT json_group_array(json(live)) FROM \
     (SELECT live FROM policies WHERE gateway = gateways.key AND live IS NOT NULL ORDER BY created_at, id))";

/// Reads a gateway, and the account's catalogue with it.
#[cfg(test)]
pub async fn read(store: &impl Store, account: &str, id: &str) -> Result<Option<GatewaySnapshot>, StoreError> {
    let Some(mut snapshot) = read_without_catalogue(store, account, id).await? else { return Ok(None) };
    (snapshot.catalogue_version, snapshot.catalogue) = catalogue::read(store, account).await?;
    Ok(Some(snapshot))
}

/// Reads a gateway, and of the account's catalogue its version only: it is long, and an isolate may have it already.
pub async fn read_without_catalogue(
    store: &impl Store,
    account: &str,
    id: &str,
) -> Result<Option<GatewaySnapshot>, StoreError> {
    let sql = format!(
        "SELECT {}, {} AS keys, {} AS custom, {} AS prices, {POLICIES} AS policies, {THRESHOLDS} AS thresholds, \
         {} AS routes, {} AS exporters, coalesce({}, 0) AS catalogue_version FROM gateways WHERE account_id = ?1 AND id = ?2",
        gateway::COLUMNS,
        stored::OF_GATEWAY,
        upstream::SELECT,
        rules::select(),
        deployed::OF_GATEWAY,
        exporters::OF_GATEWAY,
        catalogue::VERSION,
    );
    store.row::<GatewaySnapshot>(Statement::new(sql, [account.into(), id.into()])).await
}

impl FromRow for GatewaySnapshot {
    fn from_row(mut row: Row) -> Result<Self, StoreError> {
        let keys: String = column(&mut row, "keys")?;
        let custom: String = column(&mut row, "custom")?;
        let prices: String = column(&mut row, "prices")?;
        let policies: String = column(&mut row, "policies")?;
        let catalogue_version: u64 = column(&mut row, "catalogue_version")?;
        let thresholds: Option<String> = column(&mut row, "thresholds")?;
        let routes: String = column(&mut row, "routes")?;
        let places: Option<String> = column(&mut row, "exporters")?;
        let gateway = Gateway::from_row(row)?;
        Ok(Self {
            watch: thresholds.as_deref().and_then(|thresholds| watch(&gateway, thresholds)),
            exporters: places.as_deref().and_then(|places| exporters::of(&gateway, places)),
            gateway,
            keys: stored::keys(&keys)?,
            custom: upstream::from_json(&custom),
            prices: rules::from_json(&prices).into(),
            policies: policies::stored::all(&policies).into(),
            catalogue: Catalogue::default(),
            catalogue_version,
            routes: deployed::from_json(&routes),
        })
    }
}
