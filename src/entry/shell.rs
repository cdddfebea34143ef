//! The runtime, as handlers of the control plane ask for it.

use crate::api::shell::Shell;
use crate::config::isolate_worker::config;
use crate::credentials::vault::Vault;
use crate::credentials::vault_worker::EnvVault;
use crate::gateways::gateway::Gateway;
use crate::gateways::shards_worker;
use crate::http::envelope::{ApiError, Reply};
use crate::platform::{self, Runtime};
use crate::providers::resolver::Lookup;
use crate::providers::resolver_worker;
use crate::proxy::limits;

pub struct RuntimeShell<'a>(pub &'a Runtime);

// === impl RuntimeShell ===

impl Shell for RuntimeShell<'_> {
    fn vault(&self) -> impl Vault {
        EnvVault { env: &self.0.env, keys: &config(self.0).encryption_keys }
    }

    fn base_url(&self, provider: &str) -> Option<String> {
        config(self.0).base_url(provider).map(str::to_owned)
    }

    async fn pause(&self, milliseconds: u64) {
        platform::pause(milliseconds).await;
    }

    async fn look_up(&self, name: &str) -> Lookup {
        resolver_worker::look_up(name, &config(self.0).dns_over_https_url).await
    }

    async fn sync_shards(&self) {
        shards_worker::tell(self.0).await;
    }

    async fn limits(&self, gateway: &Gateway) -> Result<Reply, ApiError> {
        limits::show(self.0, gateway).await
    }
}
