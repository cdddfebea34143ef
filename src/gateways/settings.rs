//! The settings of a gateway: every field, type and bound of Cloudflare AI Gateway's API.
//! <https://developers.cloudflare.com/api/resources/ai_gateway/>

use crate::base::fault::Invalid;
use crate::base::patience;
use crate::catalogue::aliases;
use crate::dlp::Dlp;
use crate::guardrails::Guardrails;
use crate::http::cors;
use crate::http::envelope::ApiError;
use crate::limit::rules::UnknownModel;
use crate::limit::rules::{self, Limits, RateKey, RateRule};
use crate::limit::window::Technique;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Of `circuit_breaker`: (name, smallest, greatest). The times are in seconds.
pub const CIRCUIT_BOUNDS: [(&str, u64, u64); 3] = [("failures", 1, 100), ("window", 1, 3_600), ("cooldown", 1, 3_600)];

/// The same for the one member that a setting need not have.
pub const TIMEOUT_FLOOR: (&str, u64, u64) = ("timeout_floor", 1, 3_600);

/// The values of `stream_usage`: requests go on as they came, or are made to ask.
pub const AS_SENT: &str = "as_sent";
pub const ASK: &str = "ask";

/// Calls of providers that one request may cause, all its steps and attempts together, where a gateway does not say otherwise.
pub const MAX_CALLS: u64 = 20;

/// What an operator can set. Fields whose function Tollgate does not have yet are stored and shown.
///
/// A row written before a field existed has that field's default, so that an upgrade leaves every gateway readable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewaySettings {
    pub authentication: bool,
    pub byok_only: bool,
    pub cache_invalidate_on_update: bool,
    pub cache_ttl: u64,
    /// When a provider is left alone; null for never. See `proxy/circuit_breaker.rs`.
    pub circuit_breaker: Value,
    pub collect_logs: bool,
    /// Which pages may use the gateway; null for none: Tollgate's own. See `cors`.
    pub cors: Value,
    /// Whether callers with a token are believed what they say a request cost.
    pub custom_cost: String,
    /// What must not leave in requests and answers. See `dlp/policy.rs`.
    pub dlp: Value,
    /// Seconds to the head of a provider's answer; 0 for ever. See `base/patience.rs`.
    pub first_byte_timeout: u64,
    /// What models are asked about requests and answers. See `guardrails/setting.rs`.
    pub guardrails: Value,
    /// Seconds between bytes of a provider's answer; 0 for ever.
    pub idle_timeout: u64,
    pub log_body_retention_days: Option<u64>,
    pub log_classification: bool,
    pub log_management: Option<u64>,
    pub log_management_strategy: Option<String>,
    pub log_retention_days: Option<u64>,
    pub logpush: bool,
    pub logpush_public_key: Option<String>,
    /// Calls of providers that one request may cause, all its steps and attempts together.
    pub max_calls: u64,
    /// What names of models mean; null for no others than they say: Tollgate's own. See `catalogue/aliases.rs`.
    pub model_aliases: Value,
    pub otel: Value,
    /// Whether cookies go to providers and come back from them: Tollgate's own.
    pub provider_cookies: bool,
    pub rate_limiting_interval: u64,
    pub rate_limiting_limit: u64,
    /// Limits for each token, or each value of a metadata key: Tollgate's own.
    pub rate_limiting_rules: Value,
    pub rate_limiting_technique: String,
    /// Whether signatures of AWS's clients count as no key, so that the gateway signs: Tollgate's own.
    pub resign: bool,
    pub retry_backoff: Option<String>,
    pub retry_delay: Option<u64>,
    pub retry_max_attempts: Option<u64>,
    /// Which more places a request's session is taken from: Tollgate's own. See `logs/session.rs`.
    pub session_from: Value,
    pub spend_limits: Value,
    pub store_id: Option<String>,
    /// Whether streams are asked for their usage whose clients did not: Tollgate's own. See `providers/stream_usage.rs`.
    pub stream_usage: String,
    pub stripe: Value,
    /// What becomes of a request that a spend rule by model is about when its model cannot be told; null leaves it to the rule.
    pub unknown_model: Option<String>,
    pub workers_ai_billing_mode: String,
    pub zdr: bool,
}

/// What `session_from` may name: often one for a whole application, or one for each request.
pub const SESSION_FROM: &[&str] = &["prompt_cache_key", "traceparent"];

/// Ten years.
const MAX_DAYS: u64 = 3_650;

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            authentication: false,
            byok_only: false,
            cache_invalidate_on_update: false,
            cache_ttl: 0,
            circuit_breaker: Value::Null,
            collect_logs: true,
            cors: Value::Null,
            custom_cost: "accept".to_owned(),
            dlp: Value::Null,
            first_byte_timeout: patience::FIRST_BYTE_SECONDS,
            guardrails: Value::Null,
            idle_timeout: patience::IDLE_SECONDS,
            log_body_retention_days: None,
            log_classification: false,
            log_management: None,
            log_management_strategy: None,
            log_retention_days: None,
            logpush: false,
            logpush_public_key: None,
            max_calls: MAX_CALLS,
            model_aliases: Value::Null,
            otel: Value::Null,
            provider_cookies: false,
            rate_limiting_interval: 0,
            rate_limiting_limit: 0,
            rate_limiting_rules: Value::Null,
            rate_limiting_technique: "fixed".to_owned(),
            resign: false,
            retry_backoff: None,
            retry_delay: None,
            retry_max_attempts: None,
            session_from: Value::Null,
            spend_limits: Value::Null,
            store_id: None,
            stream_usage: AS_SENT.to_owned(),
            stripe: Value::Null,
            unknown_model: None,
            workers_ai_billing_mode: "postpaid".to_owned(),
            zdr: false,
        }
    }
}

impl GatewaySettings {
    /// What `default` has when a request brings it into being.
    pub fn of_default_gateway() -> Self {
        Self { authentication: true, ..Self::default() }
    }

    /// Reads the body of POST and PUT. A field that is missing or null has its default, because SDKs of different ages
    /// send and require different ones; fields that are not settings are ignored, so that what GET shows can be PUT.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let fields = Fields(body);
        let defaults = Self::default();
        let log_retention_days = fields.integer("log_retention_days", 1, MAX_DAYS)?;
        Ok(Self {
            authentication: fields.boolean("authentication", defaults.authentication)?,
            byok_only: fields.boolean("byok_only", defaults.byok_only)?,
            cache_invalidate_on_update: fields
                .boolean("cache_invalidate_on_update", defaults.cache_invalidate_on_update)?,
            cache_ttl: fields.integer("cache_ttl", 0, MAX_INTEGER)?.unwrap_or(0),
            circuit_breaker: fields.circuit_breaker()?,
            collect_logs: fields.boolean("collect_logs", defaults.collect_logs)?,
            cors: fields.cors()?,
            custom_cost: fields.one_of("custom_cost", &["accept", "ignore"])?.unwrap_or(defaults.custom_cost),
            dlp: fields.checked("dlp", Dlp::check)?,
            first_byte_timeout: fields
                .integer("first_byte_timeout", 0, patience::MAX_SECONDS)?
                .unwrap_or(defaults.first_byte_timeout),
            guardrails: fields.checked("guardrails", Guardrails::check)?,
            idle_timeout: fields.integer("idle_timeout", 0, patience::MAX_SECONDS)?.unwrap_or(defaults.idle_timeout),
            log_body_retention_days: fields.body_days(log_retention_days)?,
            log_classification: fields.boolean("log_classification", defaults.log_classification)?,
            log_management: fields.integer("log_management", 10_000, 10_000_000)?,
            log_management_strategy: fields.one_of("log_management_strategy", &["STOP_INSERTING", "DELETE_OLDEST"])?,
            log_retention_days,
            logpush: fields.boolean("logpush", defaults.logpush)?,
            logpush_public_key: fields.text("logpush_public_key", 16, 1_024)?,
            max_calls: fields.integer("max_calls", 1, 100)?.unwrap_or(defaults.max_calls),
            model_aliases: fields.checked("model_aliases", aliases::check)?,
            otel: fields.json("otel", Value::is_array, "an array")?,
            provider_cookies: fields.boolean("provider_cookies", defaults.provider_cookies)?,
            rate_limiting_interval: fields.integer("rate_limiting_interval", 0, MAX_INTEGER)?.unwrap_or(0),
            rate_limiting_limit: fields.integer("rate_limiting_limit", 0, MAX_INTEGER)?.unwrap_or(0),
            rate_limiting_rules: fields.checked("rate_limiting_rules", rules::check_rate_rules)?,
            rate_limiting_technique: fields
                .one_of("rate_limiting_technique", &["fixed", "sliding"])?
                .unwrap_or(defaults.rate_limiting_technique),
            resign: fields.boolean("resign", defaults.resign)?,
            retry_backoff: fields.one_of("retry_backoff", &["constant", "linear", "exponential"])?,
            retry_delay: fields.integer("retry_delay", 0, 60_000)?,
            retry_max_attempts: fields.integer("retry_max_attempts", 1, 5)?,
            session_from: fields.json(
                "session_from",
                names_sessions,
                "an array of prompt_cache_key and traceparent",
            )?,
            spend_limits: fields.checked("spend_limits", rules::check_spend_limits)?,
            store_id: fields.text("store_id", 1, 1_024)?,
            stream_usage: fields.one_of("stream_usage", &[AS_SENT, ASK])?.unwrap_or(defaults.stream_usage),
            stripe: fields.json("stripe", Value::is_object, "an object")?,
            unknown_model: fields.one_of("unknown_model", UnknownModel::NAMES)?,
            workers_ai_billing_mode: fields
                .one_of("workers_ai_billing_mode", &["postpaid", "unified"])?
                .unwrap_or(defaults.workers_ai_billing_mode),
            zdr: fields.boolean("zdr", defaults.zdr)?,
        })
    }

    /// Gives ids to the rules that came without, made of one that is unique.
    pub fn name_rules(&mut self, seed: &str) {
        rules::mint_ids(&mut self.rate_limiting_rules, seed);
        if let Some(rules) = self.spend_limits.get_mut("rules") {
            rules::mint_ids(rules, seed);
        }
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

/// The members of a body, read with their types and bounds.
struct Fields<'a>(&'a Map<String, Value>);

// === impl Fields ===

impl Fields<'_> {
    fn given(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn boolean(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.given(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(expected(name, "true or false")),
        }
    }

    fn integer(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        // JSON does not tell 60 from 60.0.
        let whole = value.as_u64().or_else(|| {
            value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0).map(|number| number as u64)
        });
        match whole {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(expected(name, &format!("an integer from {min} to {max}, or null"))),
        }
    }

    fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<String>, ApiError> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(value)) if allowed.contains(&value.as_str()) => Ok(Some(value.clone())),
            Some(_) => Err(expected(name, &format!("one of {}, or null", allowed.join(", ")))),
        }
    }

    fn text(&self, name: &str, min: usize, max: usize) -> Result<Option<String>, ApiError> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(value)) if (min..=max).contains(&value.chars().count()) => Ok(Some(value.clone())),
            Some(_) => Err(expected(name, &format!("a string of {min} to {max} characters, or null"))),
        }
    }

    fn json(&self, name: &str, accepts: fn(&Value) -> bool, what: &str) -> Result<Value, ApiError> {
        match self.given(name) {
            None => Ok(Value::Null),
            Some(value) if accepts(value) => Ok(value.clone()),
            Some(_) => Err(expected(name, &format!("{what}, or null"))),
        }
    }

    fn circuit_breaker(&self) -> Result<Value, ApiError> {
        let given = self.json("circuit_breaker", Value::is_object, "an object")?;
        let Some(members) = given.as_object() else { return Ok(given) };
        let within = |name: &str, what: String| ApiError::invalid(["body", "circuit_breaker", name], what);
        let mut read = Map::new();
        for (name, min, max) in CIRCUIT_BOUNDS {
            match Fields(members).integer(name, min, max) {
                Ok(Some(number)) => read.insert(name.to_owned(), number.into()),
                _ => return Err(within(name, format!("Expected an integer from {min} to {max}"))),
            };
        }
        let (name, min, max) = TIMEOUT_FLOOR;
        match Fields(members).integer(name, min, max) {
            Ok(None) => {}
            Ok(Some(number)) => drop(read.insert(name.to_owned(), number.into())),
            Err(_) => return Err(within(name, format!("Expected an integer from {min} to {max}, or null"))),
        }
        let unknown = |name: &&String| !read.contains_key(*name) && *name != TIMEOUT_FLOOR.0;
        match members.keys().find(unknown) {
            Some(unknown) => {
                Err(within(unknown, "Expected failures, window, cooldown and timeout_floor only".to_owned()))
            }
            None => Ok(Value::Object(read)),
        }
    }

    fn cors(&self) -> Result<Value, ApiError> {
        let given = self.json("cors", Value::is_object, "an object")?;
        let Some(members) = given.as_object() else { return Ok(given) };
        let within = |name: &str, what: String| ApiError::invalid(["body", "cors", name], what);
        if let Some(unknown) = members.keys().find(|name| !cors::MEMBERS.contains(&name.as_str())) {
            return Err(within(unknown, "Expected origins and max_age only".to_owned()));
        }
        cors::check(members).map_err(|(member, what)| within(member, what))?;
        Ok(given)
    }

    /// A body is not kept longer than the log it belongs to.
    fn body_days(&self, log_days: Option<u64>) -> Result<Option<u64>, ApiError> {
        let name = "log_body_retention_days";
        match (self.integer(name, 1, MAX_DAYS)?, log_days) {
            (Some(days), Some(most)) if days > most => {
                Err(expected(name, &format!("at most log_retention_days, which is {most}, or null")))
            }
            (days, _) => Ok(days),
        }
    }

    /// A value that is more than one field, and is kept as given.
    fn checked(&self, name: &str, check: fn(&Value) -> Result<(), Invalid>) -> Result<Value, ApiError> {
        match self.given(name) {
            None => Ok(Value::Null),
            Some(value) => Ok(check(value).map(|()| value.clone())?),
        }
    }
}

fn names_sessions(value: &Value) -> bool {
    let is_known = |name: &Value| name.as_str().is_some_and(|name| SESSION_FROM.contains(&name));
    value.as_array().is_some_and(|all| all.iter().all(is_known) && all.len() <= SESSION_FROM.len())
}

fn expected(name: &str, what: &str) -> ApiError {
    ApiError::invalid(["body", name], format!("Expected {what}"))
}

#[cfg(test)]
mod tests;
