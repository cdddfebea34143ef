//! How the runtime calls Tollgate: requests, bound Workers, the cron trigger, queues, the limiter object.

pub mod batches;
pub mod begin;
pub mod cors;
pub mod cron;
pub mod dashboard;
pub mod effects;
pub mod http;
pub mod judge;
pub mod limiter_object;
pub mod openapi;
#[cfg(feature = "panic-on-demand")]
pub mod panicking;
pub mod queue;
pub mod reply;
pub mod rpc;
pub mod shell;
mod watching;
