//! Log ids: ULIDs made of a given time, given random bits, and a mark that only this installation can make.
//!
//! The mark lets the gateway tell an id it handed out from one it did not, before the row is written: feedback for the
//! first is kept, for the second refused.

use sha2::{Digest, Sha256};
use ulid::Ulid;

/// What marks are made with. Ids of other things, which need not be recognised, are minted without one.
#[derive(Clone, Copy)]
pub struct MarkKey(pub [u8; 32]);

/// Of the 80 random bits of a ULID.
const MARK_BITS: u32 = 32;

const MARK: u128 = (1 << MARK_BITS) - 1;

/// A new id. Ids of one millisecond are not ordered among themselves; page by `(created_at, id)`.
pub fn mint(now_ms: u64, random: u128) -> String {
    Ulid::from_parts(now_ms, random).to_string()
}

/// A new log id.
pub fn mint_log(now_ms: u64, random: u128, key: &MarkKey) -> String {
    let bare = Ulid::from_parts(now_ms, random & !MARK);
    Ulid(bare.0 | key.mark(bare)).to_string()
}

/// Whether an id came from [`mint_log`] with the same key.
pub fn is_ours(id: &str, key: &MarkKey) -> bool {
    Ulid::from_string(id).is_ok_and(|id| id.0 & MARK == key.mark(Ulid(id.0 & !MARK)))
}

/// The millisecond an id of ours was minted in; `None` for ids that are no ULID, such as UUIDs.
pub fn minted_at(id: &str) -> Option<u64> {
    Ulid::from_string(id).ok().map(|id| id.timestamp_ms())
}

/// Whether an id of ours was minted less than `age_ms` ago. Clocks of isolates may differ by a second.
pub fn is_younger(id: &str, age_ms: u64, now_ms: u64) -> bool {
    minted_at(id).is_some_and(|at| at <= now_ms + 1_000 && now_ms.saturating_sub(at) < age_ms)
}

/// An id of ours as a UUID of version 7, for resources that are known to have one: the time stays where it is.
pub fn uuid(id: &str) -> String {
    let mut bytes = Ulid::from_string(id).map_or([0; 16], |id| id.0.to_be_bytes());
    for (at, mask, mark) in [(6, 0x0f, 0x70), (8, 0x3f, 0x80)] {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = (*byte & mask) | mark;
        }
    }
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
    }
    text
}

// === impl MarkKey ===

impl MarkKey {
    fn mark(&self, bare: Ulid) -> u128 {
        let digest = Sha256::new().chain_update(self.0).chain_update(bare.0.to_be_bytes()).finalize();
        digest.iter().take(MARK_BITS as usize / 8).fold(0, |mark, byte| (mark << 8) | u128::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_ids_of_the_same_key_are_ours(now in 0u64..1 << 47, random in any::<u128>(), change in 0u32..80) {
            let key = MarkKey([7; 32]);
            let id = mint_log(now, random, &key);
            prop_assert_eq!(minted_at(&id), Some(now));
            prop_assert!(is_ours(&id, &key) && !is_ours(&id, &MarkKey([8; 32])));
            let other = Ulid(Ulid::from_string(&id).unwrap().0 ^ (1 << change)).to_string();
            prop_assert!(!is_ours(&other, &key));
        }
    }

    #[test]
    fn an_id_as_a_uuid_keeps_its_time() {
        let id = mint(0x0123_4567_89ab, u128::MAX);
        assert_eq!(uuid(&id), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(uuid("no id"), "00000000-0000-7000-8000-000000000000");
    }

    #[test]
    fn what_is_no_ulid_is_not_ours() {
        for id in ["", "chatcmpl-1", "0190a3c4-1111-7222-8333-444455556666"] {
            assert!(!is_ours(id, &MarkKey([7; 32])) && minted_at(id).is_none());
        }
    }
}
