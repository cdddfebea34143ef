//! Removes the pieces that nothing refers to any more. What removes a log leaves its references in `released_pieces`, by a trigger;
//! here they are taken out of the counts, a slice in a transaction.

use crate::db::store::{Bind, Statement, Store, StoreError};

/// References in one slice.
pub const SLICE: u32 = 200;

/// Takes released references out of the counts until none is left, or `is_over` says that there is no more time.
pub async fn run(store: &impl Store, slice: u32, is_over: impl Fn() -> bool) -> Result<(), StoreError> {
    loop {
        let changed = store.batch(statements(slice)).await?;
        // The second statement says how many references there were.
        if changed.get(1).is_none_or(|released| *released == 0) || is_over() {
            return Ok(());
        }
    }
}

fn statements(slice: u32) -> Vec<Statement> {
    let slice = || [Bind::Int(slice.into())];
    vec![
        Statement::new(COUNT, slice()),
        Statement::new(TAKE, slice()),
        Statement::new(FOLLOW, []),
        Statement::new(RELEASE, []),
        Statement::new("DELETE FROM body_pieces WHERE key IN (SELECT key FROM piece_refs WHERE refs < 0)", []),
        Statement::new("DELETE FROM piece_refs WHERE refs < 0", []),
    ]
}

/// A piece without a row has one reference: what is left below zero is unused.
const COUNT: &str = "INSERT INTO piece_refs (key, refs) SELECT key, -count(*) FROM \
     (SELECT key FROM released_pieces ORDER BY id LIMIT ?1) WHERE true GROUP BY key \
     ON CONFLICT (key) DO UPDATE SET refs = refs + excluded.refs";

const TAKE: &str = "DELETE FROM released_pieces WHERE id IN (SELECT id FROM released_pieces ORDER BY id LIMIT ?1)";

/// With a piece goes the one before it, if nothing else refers to that, and so on.
const FOLLOW: &str = "INSERT INTO piece_refs (key, refs) \
     WITH RECURSIVE unused (key) AS (SELECT key FROM piece_refs WHERE refs < 0 \
       UNION SELECT body_pieces.before FROM unused JOIN body_pieces ON body_pieces.key = unused.key \
       WHERE body_pieces.before IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM piece_refs WHERE piece_refs.key = body_pieces.before AND refs > 0)) \
     SELECT key, -1 FROM unused WHERE true ON CONFLICT (key) DO UPDATE SET refs = -1";

/// Where something else does, one reference is gone.
const RELEASE: &str = "INSERT INTO released_pieces (key) SELECT body_pieces.before FROM piece_refs \
     JOIN body_pieces ON body_pieces.key = piece_refs.key WHERE piece_refs.refs < 0 AND body_pieces.before IS NOT NULL \
     AND EXISTS (SELECT 1 FROM piece_refs AS other WHERE other.key = body_pieces.before AND other.refs > 0)";
