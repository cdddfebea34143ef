//! What a caller asks of the gateway, read once at the door from the `cf-aig-*` headers and the gateway's settings.
//! Nothing below looks at a header again.

use crate::cache::{self, Policy};
use crate::gateways::settings::GatewaySettings;
use crate::http::headers::{Headers, boolean};
use crate::logs::metadata::{self, Metadata};
use crate::pricing::price::{self, CustomCost};
use crate::proxy::retry::{self, Backoff, RetryPolicy};

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub metadata: Metadata,
    /// Whether the request leaves a row.
    pub collect_log: bool,
    /// Whether the row keeps the bodies.
    pub collect_payload: bool,
    pub custom_cost: Option<CustomCost>,
    /// The caller's own name for a group of requests.
    pub event_id: Option<String>,
    /// Which of the provider's stored keys is wanted. Never ignored: another key than the one that was meant would do harm.
    pub byok_alias: Option<String>,
    /// True when the operator's key must not be used.
    pub no_wholesale: bool,
    pub retry: RetryPolicy,
    /// What the cache is to do; `None` when caching is off.
    pub cache: Option<Policy>,
    /// What could not be understood, for the response header `cf-aig-warning`; empty when all could.
    pub warning: String,
}

const MAX_EVENT_ID: usize = 256;

/// The longest pause a header can ask for, in milliseconds. A gateway's setting may be longer.
const MAX_RETRY_DELAY_MS: u64 = 5_000;

/// The longest time to the head of an answer that can be asked for, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 60 * 60 * 1_000;

impl Options {
    /// A value that cannot be understood counts as not given: a tag must never cost an answer. The caller is told.
    pub fn parse(headers: &Headers, settings: &GatewaySettings, max_metadata_entries: usize) -> Self {
        let mut warnings = Vec::new();
        let collect_log = boolean(headers, "cf-aig-collect-log", &mut warnings).unwrap_or(settings.collect_logs);
        let collect_payload = boolean(headers, "cf-aig-collect-log-payload", &mut warnings).unwrap_or(true);
        // No body is stored for such a gateway, whatever headers say: neither in the log nor in the cache.
        let collect_payload = collect_payload && !settings.zdr;
        let custom_cost = headers.get("cf-aig-custom-cost").and_then(|value| match price::parse_custom(value) {
            Ok(cost) => Some(cost),
            Err(reason) => {
                warnings.push(format!("cf-aig-custom-cost: {reason}"));
                None
            }
        });
        let event_id = headers.get("cf-aig-event-id").and_then(|value| {
            let printable = value.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
            if value.is_empty() || value.len() > MAX_EVENT_ID || !printable {
                warnings.push(format!(
                    "cf-aig-event-id: wants 1 to {MAX_EVENT_ID} printable ASCII characters without spaces"
                ));
                return None;
            }
            Some(value.to_owned())
        });
        let metadata = headers
            .get("cf-aig-metadata")
            .map(|value| metadata::parse(value, max_metadata_entries))
            .unwrap_or_default();
        let alias = headers.get("cf-aig-byok-alias").map(str::trim).filter(|alias| !alias.is_empty());
        let byok_alias = alias.map(str::to_owned);
        let no_wholesale = boolean(headers, "cf-aig-no-wholesale", &mut warnings).unwrap_or(false);
        let retry = plan(headers, settings, &mut warnings);
        let cache = cache::policy(headers, settings.cache_ttl, &mut warnings).filter(|_| !settings.zdr);
        let warning = ascii(&warnings.join("; "));
        Self {
            metadata,
            collect_log,
            collect_payload,
            custom_cost,
            event_id,
            byok_alias,
            no_wholesale,
            retry,
            cache,
            warning,
        }
    }
}

// === impl Options ===

impl Options {
    /// Leaves what a caller with a token says of the cost aside, where the gateway does not want to hear it. Of callers without
    /// one it is about their own row.
    pub fn believe(&mut self, let_in: bool, settings: &GatewaySettings) {
        if let_in && settings.custom_cost == "ignore" && self.custom_cost.take().is_some() {
            if !self.warning.is_empty() {
                self.warning.push_str("; ");
            }
            self.warning.push_str("cf-aig-custom-cost: ignored, as the gateway's setting custom_cost says");
        }
    }
}

fn plan(headers: &Headers, settings: &GatewaySettings, warnings: &mut Vec<String>) -> RetryPolicy {
    let attempts = integer(headers, "cf-aig-max-attempts", 1, retry::MAX_ATTEMPTS, warnings);
    let delay = integer(headers, "cf-aig-retry-delay", 0, MAX_RETRY_DELAY_MS, warnings);
    let timeout_ms = integer(headers, "cf-aig-request-timeout", 1, MAX_TIMEOUT_MS, warnings);
    let backoff = headers.get("cf-aig-backoff").and_then(|name| {
        let known = Backoff::parse(&name.trim().to_ascii_lowercase());
        if known.is_none() {
            warnings.push("cf-aig-backoff: wants constant, linear or exponential".to_owned());
        }
        known
    });
    RetryPolicy {
        attempts: attempts.or(settings.retry_max_attempts).unwrap_or(1) as u32,
        delay_ms: delay.or(settings.retry_delay).unwrap_or(retry::DELAY_MS),
        backoff: backoff.or_else(|| Backoff::parse(settings.retry_backoff.as_deref()?)).unwrap_or(Backoff::Constant),
        timeout_ms,
    }
}

fn integer(headers: &Headers, name: &str, min: u64, max: u64, warnings: &mut Vec<String>) -> Option<u64> {
    let value = headers.get(name)?.trim();
    match value.parse() {
        Ok(number) if (min..=max).contains(&number) && !value.starts_with('+') => Some(number),
        _ => {
            warnings.push(format!("{name}: wants an integer from {min} to {max}"));
            None
        }
    }
}

/// A response header takes printable ASCII only.
fn ascii(text: &str) -> String {
    text.chars().take(1_000).map(|char| if matches!(char, ' '..='~') { char } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse_with(pairs: &[(&str, &str)], settings: &GatewaySettings) -> Options {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Options::parse(&Headers(pairs), settings, 5)
    }

    fn parse(pairs: &[(&str, &str)]) -> Options {
        parse_with(pairs, &GatewaySettings::default())
    }

    #[test]
    fn a_request_overrides_its_gateway_either_way() {
        let off = GatewaySettings { collect_logs: false, ..GatewaySettings::default() };
        assert!(parse(&[]).collect_log && !parse_with(&[], &off).collect_log);
        assert!(!parse(&[("cf-aig-collect-log", "false")]).collect_log);
        assert!(parse_with(&[("cf-aig-collect-log", "True")], &off).collect_log);
        assert!(!parse(&[("cf-aig-collect-log-payload", "false")]).collect_payload);
    }

    #[test]
    fn zero_retention_is_stronger_than_headers() {
        let zdr = GatewaySettings { zdr: true, cache_ttl: 60, ..GatewaySettings::default() };
        let asks =
            [("cf-aig-collect-log-payload", "true"), ("cf-aig-cache-ttl", "600"), ("cf-aig-collect-log", "true")];
        for headers in [&asks[..], &[]] {
            let read = parse_with(headers, &zdr);
            assert!(read.collect_log && !read.collect_payload && read.cache.is_none());
        }
    }

    #[test]
    fn retries_are_asked_for_by_headers_or_settings() {
        let settings = GatewaySettings {
            retry_max_attempts: Some(4),
            retry_delay: Some(30_000),
            retry_backoff: Some("linear".to_owned()),
            ..GatewaySettings::default()
        };
        let of_gateway = RetryPolicy { attempts: 4, delay_ms: 30_000, backoff: Backoff::Linear, timeout_ms: None };
        assert_eq!(parse(&[]).retry, RetryPolicy::default());
        assert_eq!(parse_with(&[], &settings).retry, of_gateway);
        let given = [
            ("cf-aig-max-attempts", "2"),
            ("cf-aig-retry-delay", "0"),
            ("cf-aig-backoff", "Exponential"),
            ("cf-aig-request-timeout", "250"),
        ];
        let wanted = RetryPolicy { attempts: 2, delay_ms: 0, backoff: Backoff::Exponential, timeout_ms: Some(250) };
        assert_eq!(parse_with(&given, &settings).retry, wanted);
        for (name, wrong) in [
            ("cf-aig-max-attempts", "0"),
            ("cf-aig-max-attempts", "6"),
            ("cf-aig-max-attempts", "+2"),
            ("cf-aig-retry-delay", "5001"),
            ("cf-aig-retry-delay", "-1"),
            ("cf-aig-request-timeout", "0"),
            ("cf-aig-request-timeout", "1e3"),
            ("cf-aig-backoff", "fibonacci"),
        ] {
            let read = parse_with(&[(name, wrong)], &settings);
            assert_eq!(read.retry, of_gateway, "{name}: {wrong}");
            assert!(read.warning.starts_with(name), "{}", read.warning);
        }
    }

    #[test]
    fn a_gateway_may_not_want_to_hear_what_a_request_costs() {
        let ignoring = GatewaySettings { custom_cost: "ignore".to_owned(), ..GatewaySettings::default() };
        for (let_in, settings, is_heard) in
            [(true, &ignoring, false), (false, &ignoring, true), (true, &GatewaySettings::default(), true)]
        {
            let mut read = parse(&[("cf-aig-custom-cost", r#"{"total_cost":1}"#), ("cf-aig-backoff", "x")]);
            read.believe(let_in, settings);
            assert_eq!(
                (read.custom_cost.is_some(), read.warning.contains("; cf-aig-custom-cost: ")),
                (is_heard, !is_heard)
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_and_ignored() {
        let read =
            parse(&[("cf-aig-collect-log", "maybe"), ("cf-aig-custom-cost", "cheap"), ("cf-aig-event-id", "a b")]);
        assert!(read.collect_log && read.custom_cost.is_none() && read.event_id.is_none());
        for name in ["cf-aig-collect-log:", "cf-aig-custom-cost:", "cf-aig-event-id:"] {
            assert!(read.warning.contains(name), "{}", read.warning);
        }
    }

    proptest! {
        #[test]
        fn no_header_value_does_harm(value in "\\PC{0,300}", name in prop::sample::select(vec![
            "cf-aig-collect-log", "cf-aig-collect-log-payload", "cf-aig-custom-cost", "cf-aig-event-id", "cf-aig-metadata",
            "cf-aig-byok-alias", "cf-aig-no-wholesale",
            "cf-aig-max-attempts", "cf-aig-retry-delay", "cf-aig-backoff", "cf-aig-request-timeout", "cf-aig-cache-ttl", "cf-aig-cache-key",
            "cf-aig-skip-cache", "cf-cache-ttl", "cf-skip-cache",
        ])) {
            let read = parse(&[(name, &value)]);
            prop_assert!(read.warning.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
