//! Several stored keys of one provider: which of them a request is sent with, and which one after it.

use crate::credentials::key::StoredKey;
use sha2::{Digest, Sha256};

/// The heaviest weight that a key may have.
pub const MAX_WEIGHT: u64 = 1_000;

/// What decides between the keys of a provider that have a weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn<'a> {
    /// Requests of a session are sent with one key, so that its provider still has their prompts in its cache.
    pub session: Option<&'a str>,
    /// True for a request that runs no model: what belongs to an account, such as its files, is asked for with one key.
    pub is_for_account: bool,
    pub random: u128,
    /// The ids of the keys that this request was sent with.
    pub tried: &'a [String],
}

/// Whether a provider's keys share its requests.
pub fn is_shared<'a>(mut of_provider: impl Iterator<Item = &'a StoredKey>) -> bool {
    of_provider.any(|key| key.weight > 0)
}

/// The key whose turn it is. A default without a weight comes after all others.
pub fn next<'a>(of_provider: impl Iterator<Item = &'a StoredKey>, turn: &Turn<'_>) -> Option<&'a StoredKey> {
    let mut best: Option<(f64, &StoredKey)> = None;
    for key in of_provider.filter(|key| key.weight > 0 || key.is_default) {
        if turn.tried.contains(&key.id) {
            continue;
        }
        let place = turn.place(key);
        if best.is_none_or(|(least, _)| place < least) {
            best = Some((place, key));
        }
    }
    best.map(|(_, key)| key)
}

// === impl Turn ===

impl Turn<'_> {
    /// Where a key stands among the others: the least comes first. An exponential variate for each key, so that each is the least
    /// as often as its weight says. A key that goes or comes moves no session but those that it had, or gets.
    fn place(&self, key: &StoredKey) -> f64 {
        if key.weight == 0 {
            return f64::INFINITY;
        }
        let weight = f64::from(key.weight);
        if self.is_for_account {
            return 1.0 / weight;
        }
        let random = self.random.to_le_bytes();
        let of = self.session.map_or(&random[..], str::as_bytes);
        let digest: [u8; 32] = Sha256::new().chain_update(of).chain_update([0]).chain_update(&key.id).finalize().into();
        let number = digest.iter().take(6).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        // Above 0 and below 1.
        let part = (number as f64 + 0.5) / (1_u64 << 48) as f64;
        -part.ln() / weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(id: &str, weight: u32) -> StoredKey {
        StoredKey { id: id.to_owned(), weight, ..StoredKey::sealed(id, false) }
    }

    fn alias<'a>(keys: &'a [StoredKey], turn: &Turn<'_>) -> Option<&'a str> {
        next(keys.iter(), turn).map(|key| &*key.alias)
    }

    #[test]
    fn each_key_gets_the_part_that_its_weight_says() {
        let keys = [weighted("a", 1), weighted("b", 3), weighted("none", 0)];
        for by_session in [false, true] {
            let mut of_b = 0;
            for number in 0..4_000_u128 {
                let session = number.to_string();
                let turn = Turn { session: by_session.then_some(&*session), random: number, ..Turn::default() };
                let alias = alias(&keys, &turn).unwrap();
                assert_ne!(alias, "none");
                of_b += u32::from(alias == "b");
            }
            assert!((2_850..3_150).contains(&of_b), "{of_b} of 4,000");
        }
    }

    #[test]
    fn a_session_keeps_its_key_also_when_others_come_and_go() {
        let keys = [weighted("a", 1), weighted("b", 1), weighted("c", 1)];
        let mut moved = 0;
        for number in 0..500 {
            let session = number.to_string();
            let turn = |random| Turn { session: Some(&session), random, ..Turn::default() };
            let first = alias(&keys, &turn(1)).unwrap();
            assert_eq!(alias(&keys, &turn(2)), Some(first));
            let without = alias(&keys[..2], &turn(3)).unwrap();
            assert!(first == "c" || first == without);
            moved += u32::from(first == "c");
        }
        assert!((110..230).contains(&moved), "{moved}");
    }

    #[test]
    fn the_next_is_one_that_was_not_tried_and_the_default_without_a_weight_is_the_last() {
        let keys = [
            StoredKey { weight: 0, ..StoredKey::sealed("default", true) },
            weighted("a", 1),
            weighted("b", 1),
            weighted("c", 0),
        ];
        let mut tried = Vec::new();
        while let Some(key) = next(keys.iter(), &Turn { session: Some("s"), tried: &tried, ..Turn::default() }) {
            tried.push(key.id.clone());
        }
        assert_eq!(tried.len(), 3);
        assert_eq!(tried.last().map(String::as_str), Some("id-default"));
    }

    #[test]
    fn what_runs_no_model_is_always_asked_with_the_heaviest_key_and_of_equals_with_the_first() {
        let keys = [weighted("a", 2), weighted("b", 5), weighted("c", 5)];
        for random in 0..20 {
            let turn = Turn { is_for_account: true, random, session: Some("s"), ..Turn::default() };
            assert_eq!(alias(&keys, &turn), Some("b"));
        }
    }
}
