//! What handlers want of the runtime beside the databases.

use crate::api::custom_providers::Guard;
use crate::api::request::Request;
use crate::credentials::vault::Vault;
use crate::gateways::gateway::Gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::providers::resolver::Lookup;

pub trait Shell {
    /// What seals the keys that gateways keep.
    fn vault(&self) -> impl Vault;

    /// The base URL that the operator put in the place of a provider's own.
    fn base_url(&self, provider: &str) -> Option<String>;

    /// Waits so many milliseconds.
    async fn pause(&self, milliseconds: u64);

    /// The addresses of a host.
    async fn look_up(&self, name: &str) -> Lookup;

    /// Has the databases tell each other what is new.
    async fn sync_shards(&self);

    /// Where the limits of a gateway stand, as its counters tell.
    async fn limits(&self, gateway: &Gateway) -> Result<Reply, ApiError>;
}

/// What decides whether the host of a body may be stored. A host that has a name is looked up.
pub async fn guard(shell: &impl Shell, request: &Request<'_>, name: Option<String>) -> Guard {
    let Guard { internal_allowed, .. } = request.guard;
    match name {
        Some(name) if !internal_allowed => Guard { internal_allowed, found: shell.look_up(&name).await },
        _ => request.guard.clone(),
    }
}
