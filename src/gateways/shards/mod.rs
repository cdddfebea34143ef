//! What several databases tell each other: copies of gateways' rows, deletions, feedback and audit entries that wait in the
//! wrong one.

pub mod carry;
pub mod mirror;

use crate::base::join_all::{Work, join_all};
use crate::db::databases::Databases;
use crate::db::store::StoreError;

/// Tells the databases of each other what is new, behind each change of a gateway and once a minute. `report` gets what
/// failed, which is made up for the next time.
pub async fn tell(databases: &impl Databases, now_ms: u64, report: impl Fn(&str, Result<(), StoreError>)) {
    if databases.others().is_empty() {
        return;
    }
    report("deletion_untold", mirror::hand_over(databases, now_ms).await);
    report("feedback_undelivered", carry::all_pending(databases).await);
    let mut works: Vec<Work<'_>> = Vec::new();
    for (shard, store) in databases.others() {
        works.push(Box::pin(async {
            report("gateways_untold", mirror::heal(databases, *shard).await);
            report("audit_undelivered", carry::audit(databases, store).await);
        }));
    }
    join_all(works).await;
}

#[cfg(test)]
mod tests;
