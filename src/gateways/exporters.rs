//! The places that a gateway's spans are sent to, with their secrets, still sealed.

use crate::credentials::vault::{Bound, Sealed};
use crate::db::store::{Bind, Statement, Store, StoreError, row};
use crate::gateways::gateway::Gateway;
use crate::providers::address;
use crate::telemetry::destination::Destination;
use serde_json::Value;
use std::rc::Rc;

#[derive(Clone, Debug, PartialEq)]
pub struct Exporter {
    pub account: String,
    /// The key of the gateway's row, and its id.
    pub gateway: i64,
    pub gateway_id: String,
    pub destination: Destination,
    pub sealed: Option<Sealed>,
    /// Whether the host was found to be a public one when it was stored.
    pub checked: bool,
}

/// Those of a gateway.
pub type Exporters = Rc<[Rc<Exporter>]>;

/// The places of the gateway in a row of `gateways`, as one JSON array for [`of`]; null where there is none.
pub const OF_GATEWAY: &str = "(SELECT json_group_array(json_array(id, secret, key_id, checked)) FROM otel_destinations \
     WHERE gateway = gateways.key HAVING count(*) > 0)";

/// Those of a gateway that spans may be sent to: what an older version stored has no row, and was never looked at.
pub fn of(gateway: &Gateway, rows: &str) -> Option<Exporters> {
    let rows: Vec<Value> = serde_json::from_str(rows).ok()?;
    let mut all = Vec::new();
    for destination in Destination::all(&gateway.settings.otel) {
        let Some(row) = rows.iter().find(|row| row.get(0).is_some_and(|id| *id == destination.id.as_str())) else {
            continue;
        };
        let text = |place: usize| row.get(place).and_then(Value::as_str).map(str::to_owned);
        all.push(Rc::new(Exporter {
            account: gateway.account_id.clone(),
            gateway: gateway.key,
            gateway_id: gateway.id.clone(),
            destination,
            sealed: text(1).zip(text(2)).map(|(text, key_id)| Sealed { text, key_id }),
            checked: row.get(3).and_then(Value::as_u64) == Some(1),
        }));
    }
    (!all.is_empty()).then(|| all.into())
}

/// Those of a gateway that is known by its key.
pub async fn by_key(store: &impl Store, gateway: &Gateway) -> Result<Option<Exporters>, StoreError> {
    row! {
        struct Rows {
            rows: Option<String>,
        }
    }
    let sql = format!("SELECT {OF_GATEWAY} AS rows FROM gateways WHERE key = ?1");
    let found = store.row::<Rows>(Statement::new(sql, [Bind::Int(gateway.key)])).await?;
    Ok(found.and_then(|found| of(gateway, &found.rows?)))
}

// === impl Exporter ===

impl Exporter {
    /// What its secrets are sealed for.
    pub fn bound(&self) -> Bound<'_> {
        bound(&self.account, self.gateway, &self.destination.id, address::origin_of(&self.destination.url))
    }
}

pub fn bound<'a>(account: &'a str, gateway: i64, id: &'a str, origin: &'a str) -> Bound<'a> {
    Bound { account, gateway, provider: "otel", alias: id, upstream: Some(origin) }
}
