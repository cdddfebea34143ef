//! Goes through the logs of a selection with statements of which none looks at more than a bounded number of logs: D1 has
//! one thread, and a rare filter over millions of logs would hold it for all other requests.

use crate::db::store::{Store, StoreError, row};
use crate::logs::filter::sql::{Direction, Selection};

/// How far the next statements look.
#[derive(Debug, Default)]
pub struct Ahead(End);

#[derive(Debug, Default)]
enum End {
    #[default]
    Unknown,
    /// To this log.
    At(String),
    /// To the end: fewer logs are left.
    Nowhere,
}

/// Where to go on when the logs that a statement found are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Behind the last of them.
    Found,
    /// Behind this log, which need not be one of them.
    Behind(String),
    Nothing,
}

// === impl Ahead ===

impl Ahead {
    /// Ends a selection, which begins behind its cursor, where its next statement may look. Returns how many rows were read
    /// for it.
    pub async fn bound(
        &mut self,
        store: &impl Store,
        selection: &mut Selection,
        direction: Direction,
    ) -> Result<u64, StoreError> {
        row! {
            struct Last {
                id: String,
            }
        }
        let mut read = 0;
        if matches!(self.0, End::Unknown) {
            self.0 = End::Nowhere;
            if selection.looks_through() {
                let (last, rows_read) = store.counted::<Last>(selection.end(direction, store.pace().look)).await?;
                self.0 = last.into_iter().next().map_or(End::Nowhere, |last| End::At(last.id));
                read = rows_read;
            }
        }
        if let End::At(last) = &self.0 {
            selection.up_to(last, direction);
        }
        Ok(read)
    }

    /// Where to go on behind what was found, of which there is more in front of the end if it is `full`.
    pub fn next(&mut self, full: bool) -> Next {
        if full {
            return Next::Found;
        }
        match std::mem::take(&mut self.0) {
            End::At(last) => Next::Behind(last),
            _ => Next::Nothing,
        }
    }
}
