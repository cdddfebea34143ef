//! A bucket of objects, one for each log that has a long body.

use crate::db::store::StoreError;

/// The bucket lists and removes so many objects at once.
pub const AT_ONCE: usize = 1_000;

/// What the names of objects begin with; the rest is the log's id, and so they are in the order of time.
pub const PREFIX: &str = "logs/";

pub trait Bucket {
    async fn remove(&self, ids: &[String]) -> Result<(), StoreError>;

    /// The ids of the next objects, at most [`AT_ONCE`].
    async fn after(&self, id: &str) -> Result<Vec<String>, StoreError>;
}
