//! A small sorted map. The standard library's adds some 6 KB to the Worker for every pair of types, and these have a few
//! dozen entries.

use serde::{Deserialize, Serialize};

/// Entries in the order of their keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keyed<K, V>(Vec<(K, V)>);

// === impl Keyed ===

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Keyed<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The value of a key, which is made if there is none.
    pub fn at(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = self.0.partition_point(|(known, _)| *known < key);
        if self.0.get(place).is_none_or(|(known, _)| *known != key) {
            self.0.insert(place, (key, V::default()));
        }
        #[expect(clippy::indexing_slicing, reason = "an entry was found or made at this place")]
        &mut self.0[place].1
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
