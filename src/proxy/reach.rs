//! Which providers a request could be sent to with a key, and what its model's name means for its caller.

use crate::auth::presented::Presented;
use crate::catalogue::resolve::{self, Named, Names};
use crate::config::isolate_worker::config;
use crate::credentials::select;
use crate::gateways::snapshot::GatewaySnapshot;
use crate::http::headers::Headers;
use crate::platform::Runtime;
use crate::providers::fault::Fault;
use crate::providers::upstream::Upstream;
use crate::proxy::credentials;

/// What a caller's requests could be sent with.
pub struct Reach<'a> {
    snapshot: &'a GatewaySnapshot,
    runtime: &'a Runtime,
    let_in: bool,
    brings_key: bool,
    /// What the caller brings is a signature, which is for one provider alone.
    is_signed: bool,
    own_keys_only: bool,
}

// === impl Reach ===

impl<'a> Reach<'a> {
    pub fn new(
        headers: &Headers,
        query: &str,
        snapshot: &'a GatewaySnapshot,
        presented: &Presented,
        runtime: &'a Runtime,
    ) -> Self {
        let ours = |text: &str| credentials::is_ours(runtime, text);
        let no_wholesale = headers.get("cf-aig-no-wholesale").is_some_and(|value| value.trim() == "true");
        Self {
            snapshot,
            runtime,
            let_in: presented.let_in,
            brings_key: presented.goes_on_with_own || select::brings_key(headers, query, ours),
            is_signed: headers.get("authorization").is_some_and(|own| own.trim_start().starts_with("AWS4-HMAC-")),
            own_keys_only: no_wholesale || snapshot.gateway.settings.byok_only,
        }
    }

    /// Whether a request to a provider would be sent with a key: the caller's own, whichever provider's that is, a stored
    /// one, or the operator's.
    pub fn has_key(&self, slug: &str) -> bool {
        if self.brings_key || !self.let_in {
            return self.brings_key && (!self.is_signed || slug == "aws-bedrock");
        }
        let is_stored = self.snapshot.keys.iter().any(|key| key.provider == slug);
        let has_secrets = Upstream::find(slug, &self.snapshot.custom).is_ok_and(Upstream::has_secrets);
        is_stored || has_secrets || (!self.own_keys_only && config(self.runtime).provider_key(slug).is_some())
    }

    /// What the name of a model means.
    pub fn resolve(&self, model: &str) -> Result<Named, Fault> {
        let names = Names {
            aliases: &self.snapshot.gateway.aliases,
            custom: &self.snapshot.custom,
            catalogue: &self.snapshot.catalogue,
            has_key: &|slug| self.has_key(slug),
        };
        resolve::resolve(model, &names)
    }
}
