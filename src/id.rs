//! Log ids: ULIDs made of a given time and given random bits.

use ulid::Ulid;

/// A new log id. Ids of one millisecond are not ordered among themselves; page by `(created_at, id)`.
pub fn mint(now_ms: u64, random: u128) -> String {
    Ulid::from_parts(now_ms, random).to_string()
}

/// The millisecond an id of ours was minted in; `None` for ids that are no ULID, such as UUIDs.
pub fn minted_at(id: &str) -> Option<u64> {
    Ulid::from_string(id).ok().map(|id| id.timestamp_ms())
}
