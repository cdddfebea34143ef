//! Why feedback reaches no log.

use crate::base::fault::{self, Kind};
use crate::db::store::StoreError;

/// So many gateways are named where an id means logs of several.
const MAX_NAMED: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Logs of several gateways, each as account/gateway, have the id.
    SeveralGateways(Vec<String>),
    Store(StoreError),
}

// === impl Fault ===

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fault::Fault for Fault {
    fn kind(&self) -> Kind {
        match self {
            Self::SeveralGateways(_) => Kind::Ambiguous,
            Self::Store(error) => error.kind(),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::SeveralGateways(gateways) => {
                let named = gateways.get(..MAX_NAMED).unwrap_or(gateways).join(", ");
                let more = if gateways.len() > MAX_NAMED { ", and others" } else { "" };
                format!(
                    "Logs of several gateways have this id: {named}{more} (account/gateway). Name one with ?gateway= (the admin \
                     with ?account= as well), or give the log's own id, the cf-aig-log-id of the answer"
                )
            }
            Self::Store(error) => error.message(),
        }
    }

    fn cause(&self) -> Option<String> {
        match self {
            Self::SeveralGateways(_) => None,
            Self::Store(error) => error.cause(),
        }
    }
}
