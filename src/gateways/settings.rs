//! The settings of a gateway: every field, type and bound of Cloudflare AI Gateway's API.
//! <https://developers.cloudflare.com/api/resources/ai_gateway/>

mod fields;

use crate::base::mask::MASK;
use crate::base::patience;
use crate::catalogue::aliases;
use crate::dlp::Dlp;
use crate::guardrails::Guardrails;
use crate::http::envelope::ApiError;
use crate::limit::rules::UnknownModel;
use crate::limit::rules::{self, Limits, RateKey, RateRule};
use crate::limit::window::Technique;
use crate::telemetry::destination;
pub use fields::{CIRCUIT_BOUNDS, TIMEOUT_FLOOR};
use fields::{Fields, MAX_DAYS};
use serde::Serialize;
use serde_json::{Map, Value};

/// The values of `stream_usage`: requests go on as they came, or are made to ask.
pub const AS_SENT: &str = "as_sent";
pub const ASK: &str = "ask";

/// Calls of providers that one request may cause, all its steps and attempts together, where a gateway does not say otherwise.
pub const MAX_CALLS: u64 = 20;

/// Declares the settings with their defaults, and how they are read from where they are stored. Not by serde, whose code for a struct of
/// forty fields was 20 KB.
macro_rules! settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$about:meta])* pub $field:ident: $kind:ty = $usual:expr,)* }) => {
        $(#[$meta])*
        pub struct $name { $($(#[$about])* pub $field: $kind,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $usual,)* }
            }
        }

        impl $name {
            /// Reads what was stored. The error says what is wrong with it.
            pub fn read(text: &str) -> Result<Self, String> {
                let stored: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
                let mut read = Self::default();
                $(Setting::take(&mut read.$field, &stored, stringify!($field))?;)*
                Ok(read)
            }
        }
    };
}

settings! {
    /// What an operator can set. Fields whose function Tollgate does not have yet are stored and shown.
    ///
    /// A row written before a field existed has that field's default, so that an upgrade leaves every gateway readable.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct GatewaySettings {
        pub authentication: bool = false,
        pub byok_only: bool = false,
        pub cache_invalidate_on_update: bool = false,
        pub cache_ttl: u64 = 0,
        /// When a provider is left alone; null for never. See `proxy/circuit_breaker.rs`.
        pub circuit_breaker: Value = Value::Null,
        pub collect_logs: bool = true,
        /// Which pages may use the gateway; null for none: Tollgate's own. See `cors`.
        pub cors: Value = Value::Null,
        /// Whether callers with a token are believed what they say a request cost.
        pub custom_cost: String = "accept".to_owned(),
        /// What must not leave in requests and answers. See `dlp/policy.rs`.
        pub dlp: Value = Value::Null,
        /// Seconds to the head of a provider's answer; 0 for ever. See `base/patience.rs`.
        pub first_byte_timeout: u64 = patience::FIRST_BYTE_SECONDS,
        /// What models are asked about requests and answers. See `guardrails/setting.rs`.
        pub guardrails: Value = Value::Null,
        /// Seconds between bytes of a provider's answer; 0 for ever.
        pub idle_timeout: u64 = patience::IDLE_SECONDS,
        pub log_body_retention_days: Option<u64> = None,
        pub log_classification: bool = false,
        pub log_management: Option<u64> = None,
        pub log_management_strategy: Option<String> = None,
        pub log_retention_days: Option<u64> = None,
        pub logpush: bool = false,
        /// Whether logs are pushed as they are where there is no key: Tollgate's own.
        pub logpush_plain: bool = false,
        pub logpush_public_key: Option<String> = None,
        /// Calls of providers that one request may cause, all its steps and attempts together.
        pub max_calls: u64 = MAX_CALLS,
        /// What names of models mean; null for no others than they say: Tollgate's own. See `catalogue/aliases.rs`.
        pub model_aliases: Value = Value::Null,
        /// Where spans are sent, without what is secret of it. See `telemetry/destination.rs`.
        pub otel: Value = Value::Null,
        /// Whether cookies go to providers and come back from them: Tollgate's own.
        pub provider_cookies: bool = false,
        pub rate_limiting_interval: u64 = 0,
        pub rate_limiting_limit: u64 = 0,
        /// Limits for each token, or each value of a metadata key: Tollgate's own.
        pub rate_limiting_rules: Value = Value::Null,
        pub rate_limiting_technique: String = "fixed".to_owned(),
        /// Whether signatures of AWS's clients count as no key, so that the gateway signs: Tollgate's own.
        pub resign: bool = false,
        pub retry_backoff: Option<String> = None,
        pub retry_delay: Option<u64> = None,
        pub retry_max_attempts: Option<u64> = None,
        /// Which more places a request's session is taken from: Tollgate's own. See `logs/session.rs`.
        pub session_from: Value = Value::Null,
        pub spend_limits: Value = Value::Null,
        pub store_id: Option<String> = None,
        /// Whether streams are asked for their usage whose clients did not: Tollgate's own. See `providers/stream_usage.rs`.
        pub stream_usage: String = AS_SENT.to_owned(),
        pub stripe: Value = Value::Null,
        /// What becomes of a request that a spend rule by model is about when its model cannot be told; null leaves it to the rule.
        pub unknown_model: Option<String> = None,
        pub workers_ai_billing_mode: String = "postpaid".to_owned(),
        pub zdr: bool = false,
    }
}

/// A value of a setting, as it is stored.
trait Setting: Sized {
    fn of(value: &Value) -> Option<Self>;

    /// Leaves what there is where nothing is stored.
    fn take(&mut self, stored: &Map<String, Value>, name: &str) -> Result<(), String> {
        if let Some(value) = stored.get(name) {
            *self = Self::of(value).ok_or_else(|| format!("{name} is of another type"))?;
        }
        Ok(())
    }
}

/// What `session_from` may name: often one for a whole application, or one for each request.
pub const SESSION_FROM: &[&str] = &["prompt_cache_key", "traceparent"];

impl GatewaySettings {
    /// What `default` has when a request brings it into being.
    pub fn of_default_gateway() -> Self {
        Self { authentication: true, ..Self::default() }
    }

    /// Reads the body of POST and PUT. A field that is missing or null has its default, because SDKs of different ages
    /// send and require different ones; fields that are not settings are ignored, so that what GET shows can be PUT.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut settings = Self::default();
        let to = &mut settings;
        let mut fields = Fields::new(body);
        fields.optional("log_retention_days", 1, MAX_DAYS, &mut to.log_retention_days);
        fields.boolean("authentication", &mut to.authentication);
        fields.boolean("byok_only", &mut to.byok_only);
        fields.boolean("cache_invalidate_on_update", &mut to.cache_invalidate_on_update);
        fields.integer("cache_ttl", 0, MAX_INTEGER, &mut to.cache_ttl);
        fields.read(fields::circuit_breaker, &mut to.circuit_breaker);
        fields.boolean("collect_logs", &mut to.collect_logs);
        fields.read(fields::cors, &mut to.cors);
        fields.choice("custom_cost", &["accept", "ignore"], &mut to.custom_cost);
        fields.checked("dlp", Dlp::check, &mut to.dlp);
        fields.integer("first_byte_timeout", 0, patience::MAX_SECONDS, &mut to.first_byte_timeout);
        fields.checked("guardrails", Guardrails::check, &mut to.guardrails);
        fields.integer("idle_timeout", 0, patience::MAX_SECONDS, &mut to.idle_timeout);
        fields.body_days(to.log_retention_days, &mut to.log_body_retention_days);
        fields.boolean("log_classification", &mut to.log_classification);
        fields.optional("log_management", 10_000, 10_000_000, &mut to.log_management);
        let strategies = &["STOP_INSERTING", "DELETE_OLDEST"];
        fields.one_of("log_management_strategy", strategies, &mut to.log_management_strategy);
        fields.boolean("logpush", &mut to.logpush);
        fields.boolean("logpush_plain", &mut to.logpush_plain);
        fields.text("logpush_public_key", 16, 1_024, &mut to.logpush_public_key);
        fields.integer("max_calls", 1, 100, &mut to.max_calls);
        fields.checked("model_aliases", aliases::check, &mut to.model_aliases);
        fields.checked("otel", destination::check, &mut to.otel);
        destination::mask(&mut to.otel);
        fields.boolean("provider_cookies", &mut to.provider_cookies);
        fields.integer("rate_limiting_interval", 0, MAX_INTEGER, &mut to.rate_limiting_interval);
        fields.integer("rate_limiting_limit", 0, MAX_INTEGER, &mut to.rate_limiting_limit);
        fields.checked("rate_limiting_rules", rules::check_rate_rules, &mut to.rate_limiting_rules);
        fields.choice("rate_limiting_technique", &["fixed", "sliding"], &mut to.rate_limiting_technique);
        fields.boolean("resign", &mut to.resign);
        fields.one_of("retry_backoff", &["constant", "linear", "exponential"], &mut to.retry_backoff);
        fields.optional("retry_delay", 0, 60_000, &mut to.retry_delay);
        fields.optional("retry_max_attempts", 1, 5, &mut to.retry_max_attempts);
        let sessions = "an array of prompt_cache_key and traceparent";
        fields.json("session_from", names_sessions, sessions, &mut to.session_from);
        fields.checked("spend_limits", rules::check_spend_limits, &mut to.spend_limits);
        fields.text("store_id", 1, 1_024, &mut to.store_id);
        fields.choice("stream_usage", &[AS_SENT, ASK], &mut to.stream_usage);
        fields.json("stripe", Value::is_object, "an object", &mut to.stripe);
        to.forget_stripe_key();
        fields.one_of("unknown_model", UnknownModel::NAMES, &mut to.unknown_model);
        fields.choice("workers_ai_billing_mode", &["postpaid", "unified"], &mut to.workers_ai_billing_mode);
        fields.boolean("zdr", &mut to.zdr);
        fields.done(settings)
    }

    /// Gives ids to the rules that came without, made of one that is unique.
    pub fn name_rules(&mut self, seed: &str) {
        rules::mint_ids(&mut self.rate_limiting_rules, seed);
        rules::mint_ids(&mut self.otel, seed);
        if let Some(rules) = self.spend_limits.get_mut("rules") {
            rules::mint_ids(rules, seed);
        }
    }

    /// A key that pays for nothing here is not kept.
    pub fn forget_stripe_key(&mut self) {
        let members = self.stripe.as_object_mut().into_iter().flat_map(Map::values_mut);
        members.filter(|value| value.is_string()).for_each(|value| *value = MASK.into());
    }

    /// Whether logs that are written are to be pushed: encrypted, or as they are.
    pub fn pushes_logs(&self) -> bool {
        self.logpush && (self.logpush_plain || self.logpush_public_key.is_some())
    }

    /// What limits requests, read for use.
    pub fn limits(&self) -> Limits {
        let (limit, interval) = (self.rate_limiting_limit, self.rate_limiting_interval);
        let technique = Technique::parse(&self.rate_limiting_technique).unwrap_or(Technique::Fixed);
        let gateway = RateRule { id: rules::GATEWAY.to_owned(), key: RateKey::Everyone, limit, interval, technique };
        let gateway = (limit > 0 && interval > 0).then_some(gateway);
        let unknown_model = self.unknown_model.as_deref().and_then(UnknownModel::parse);
        Limits { unknown_model, ..Limits::of(gateway, &self.rate_limiting_rules, &self.spend_limits) }
    }
}

/// Integers travel through D1 as floating point, which holds them exactly up to here.
const MAX_INTEGER: u64 = 1 << 53;

// === impl Setting ===

impl Setting for bool {
    fn of(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Setting for u64 {
    fn of(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Setting for String {
    fn of(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Setting for Value {
    fn of(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn of(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::of(value).map(Some) }
    }
}

fn names_sessions(value: &Value) -> bool {
    let is_known = |name: &Value| name.as_str().is_some_and(|name| SESSION_FROM.contains(&name));
    value.as_array().is_some_and(|all| all.iter().all(is_known) && all.len() <= SESSION_FROM.len())
}

#[cfg(test)]
mod tests;
