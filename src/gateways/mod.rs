//! A gateway: its row, its settings, what an isolate remembers of it, and where its logs are.

pub mod catalogue;
pub mod exporters;
pub mod gateway;
pub mod settings;
pub mod shards;
pub mod shards_worker;
pub mod snapshot;
pub mod snapshot_worker;
