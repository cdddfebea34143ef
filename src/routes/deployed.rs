//! Routes as requests know them: the version of each that is in use, read with the gateway's row.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    pub id: String,
    /// Callers write it behind `dynamic/`.
    pub name: String,
    pub version: String,
    /// The graph as JSON, which is parsed once it is needed.
    pub elements: String,
    /// What is known of the arms of its percentages, as JSON.
    pub learned: String,
}

/// The header that asks for the way through a route, and the one that tells it.
pub const WAY: &str = "cf-aig-route-path";

/// What callers write before a route's name, in the place of a model.
pub const PREFIX: &str = "dynamic/";

/// The routes of the gateway in a row of `gateways`, as one JSON array for [`from_json`].
pub const OF_GATEWAY: &str = "(SELECT json_group_array(json_array(routes.id, name, version, elements, learned)) FROM routes \
     JOIN route_versions ON route_versions.id = routes.version WHERE routes.gateway = gateways.key)";

/// Reads what [`OF_GATEWAY`] found.
pub fn from_json(rows: &str) -> Vec<Deployed> {
    if rows == "[]" {
        return Vec::new();
    }
    let rows: Vec<Value> = serde_json::from_str(rows).unwrap_or_default();
    rows.iter().filter_map(Deployed::from_row).collect()
}

// === impl Deployed ===

impl Deployed {
    fn from_row(row: &Value) -> Option<Self> {
        let text = |place: usize| row.get(place)?.as_str().map(str::to_owned);
        Some(Self { id: text(0)?, name: text(1)?, version: text(2)?, elements: text(3)?, learned: text(4)? })
    }
}
