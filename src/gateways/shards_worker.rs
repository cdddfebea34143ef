//! Tells several databases of each other, by the runtime's bindings.

use crate::gateways::shards;
use crate::platform::{Runtime, console, now};

/// How long a database may take to hear or tell what concerns another, in milliseconds. One that hangs hears it the next
/// time.
pub const TELLING_MS: u64 = 5_000;

/// Tells the databases of each other what is new.
pub async fn tell(runtime: &Runtime) {
    shards::tell(&runtime.databases().within(TELLING_MS), now(), console::failed).await;
}
