//! A shell for handlers under test: what it is asked for is not there, and pauses take no time.

use crate::api::shell::Shell;
use crate::credentials::vault::Vault;
use crate::credentials::vault::tests::PLAIN;
use crate::gateways::gateway::Gateway;
use crate::http::envelope::{ApiError, Reply};
use crate::providers::resolver::Lookup;

/// It calls this with each pause.
pub struct TestShell<P>(pub P);

// === impl TestShell ===

impl<P: AsyncFn(u64)> Shell for TestShell<P> {
    fn vault(&self) -> impl Vault {
        PLAIN
    }

    fn base_url(&self, _provider: &str) -> Option<String> {
        None
    }

    async fn pause(&self, milliseconds: u64) {
        (self.0)(milliseconds).await;
    }

    async fn look_up(&self, _name: &str) -> Lookup {
        Lookup::NotAsked
    }

    async fn sync_shards(&self) {}

    async fn limits(&self, _gateway: &Gateway) -> Result<Reply, ApiError> {
        Err(ApiError::internal("no counters on the host"))
    }
}
