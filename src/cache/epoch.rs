//! What a purge left of a gateway's cache.

use crate::cache::key;
use serde_json::{Map, Value};

/// What of a gateway's cache is still good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    pub generation: u64,
    /// Digests of callers' keys with the time of their purge.
    pub purged: Vec<(String, u64)>,
}

// === impl Epoch ===

impl Epoch {
    /// From the columns of the gateway's row. What cannot be read is as good as purged now.
    pub fn read(generation: u64, purged: &str) -> Self {
        let purged = match serde_json::from_str(purged) {
            Ok(Value::Object(purged)) => purged,
            _ => Map::new(),
        };
        let purged = purged.into_iter().filter_map(|(digest, at)| Some((digest, at.as_u64()?))).collect();
        Self { generation, purged }
    }

    /// When a caller's key was last purged, or 0.
    pub fn purged_at(&self, key: &str) -> u64 {
        if self.purged.is_empty() {
            return 0;
        }
        let digest = key::digest(key);
        self.purged.iter().find(|(known, _)| *known == digest).map_or(0, |(_, at)| *at)
    }
}
