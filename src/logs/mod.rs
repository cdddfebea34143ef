//! What a request becomes in the database: written, found, added up, removed.

mod asked;
pub mod bodies;
pub mod call;
pub mod charge;
pub mod claim;
pub mod costing;
pub mod crash_recovery;
pub mod crash_worker;
pub mod filter;
pub mod group_commit;
pub mod metadata;
pub mod page;
pub mod paid_once;
pub mod part;
pub mod pieces;
pub mod queue;
pub mod queue_worker;
pub mod record;
pub mod removal;
pub mod reprice;
pub mod retention;
pub mod rollup;
pub mod row;
pub mod rows;
pub mod selection;
pub mod stored;
pub mod writer_worker;
