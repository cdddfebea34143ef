//! The cap that a policy sets for all that share a bucket.

use super::part::part;
use super::spend;
use super::window::{Technique, Window};
use super::{Demand, Takes};

/// So much may be spent in a calendar window by all that share a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Cap {
    /// The policy's name.
    pub policy: String,
    pub bucket: String,
    pub window: Window,
    /// In US dollars.
    pub limit: f64,
}

// === impl Cap ===

impl Cap {
    /// The name of its counters. Policies that come and go keep what was counted for the bucket.
    fn counters(&self) -> String {
        let name = match self.window.technique {
            Technique::Fixed | Technique::Sliding => (self.window.length_ms / 1_000).to_string(),
            technique => technique.name().to_owned(),
        };
        format!("policy/{name}")
    }

    pub fn demand(&self, takes: Takes) -> Demand {
        let part = part(std::slice::from_ref(&self.bucket));
        Demand { rule: self.counters(), part, window: self.window, limit: spend::from_dollars(self.limit), takes }
    }
}
