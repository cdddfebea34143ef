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

    /// All counters of its window, whichever bucket they are for.
    pub fn all(&self) -> Demand {
        Demand { part: String::new(), ..self.demand(Takes::Later) }
    }

    /// Whether a counter is for a bucket of this policy, whose bucket here still has its fields in braces.
    pub fn is_for(&self, counter: &str) -> bool {
        let bucket: Vec<String> = serde_json::from_str(counter).unwrap_or_default();
        let before = self.bucket.split('{').next().unwrap_or("");
        let behind = self.bucket.rsplit('}').next().unwrap_or("");
        match bucket.first() {
            Some(bucket) if before.len() == self.bucket.len() => *bucket == self.bucket,
            Some(bucket) => bucket.starts_with(before) && bucket.ends_with(behind),
            None => false,
        }
    }

    pub fn demand(&self, takes: Takes) -> Demand {
        let part = part(std::slice::from_ref(&self.bucket));
        Demand { rule: self.counters(), part, window: self.window, limit: spend::from_dollars(self.limit), takes }
    }
}
