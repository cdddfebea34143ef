//! What a caller asks of the gateway, read once at the door from the `cf-aig-*` headers and the gateway's settings.
//! Nothing below looks at a header again.

use crate::headers::Headers;
use crate::metadata::{self, Metadata};
use crate::price::{self, CustomCost};

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
    /// What could not be understood, for the response header `cf-aig-warning`; empty when all could.
    pub warning: String,
}

/// The settings of a gateway and of the Worker that an option falls back to.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub collect_logs: bool,
    pub max_metadata_entries: usize,
}

const MAX_EVENT_ID: usize = 256;

impl Options {
    /// A value that cannot be understood counts as not given: a tag must never cost an answer. The caller is told.
    pub fn parse(headers: &Headers, defaults: Defaults) -> Self {
        let mut warnings = Vec::new();
        let collect_log = boolean(headers, "cf-aig-collect-log", &mut warnings).unwrap_or(defaults.collect_logs);
        let collect_payload = boolean(headers, "cf-aig-collect-log-payload", &mut warnings).unwrap_or(true);
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
            .map(|value| metadata::parse(value, defaults.max_metadata_entries))
            .unwrap_or_default();
        let alias = headers.get("cf-aig-byok-alias").map(str::trim).filter(|alias| !alias.is_empty());
        let byok_alias = alias.map(str::to_owned);
        let no_wholesale = boolean(headers, "cf-aig-no-wholesale", &mut warnings).unwrap_or(false);
        let warning = ascii(&warnings.join("; "));
        Self { metadata, collect_log, collect_payload, custom_cost, event_id, byok_alias, no_wholesale, warning }
    }
}

fn boolean(headers: &Headers, name: &str, warnings: &mut Vec<String>) -> Option<bool> {
    let value = headers.get(name)?.trim();
    if value.eq_ignore_ascii_case("true") || value == "1" {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") || value == "0" {
        Some(false)
    } else {
        warnings.push(format!("{name}: wants true or false"));
        None
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

    const DEFAULTS: Defaults = Defaults { collect_logs: true, max_metadata_entries: 5 };

    fn parse(pairs: &[(&str, &str)], defaults: Defaults) -> Options {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Options::parse(&Headers(pairs), defaults)
    }

    #[test]
    fn a_request_overrides_its_gateway_either_way() {
        let off = Defaults { collect_logs: false, ..DEFAULTS };
        assert!(parse(&[], DEFAULTS).collect_log && !parse(&[], off).collect_log);
        assert!(!parse(&[("cf-aig-collect-log", "false")], DEFAULTS).collect_log);
        assert!(parse(&[("cf-aig-collect-log", "True")], off).collect_log);
        assert!(!parse(&[("cf-aig-collect-log-payload", "false")], DEFAULTS).collect_payload);
    }

    #[test]
    fn what_makes_no_sense_is_named_and_ignored() {
        let read = parse(
            &[("cf-aig-collect-log", "maybe"), ("cf-aig-custom-cost", "cheap"), ("cf-aig-event-id", "a b")],
            DEFAULTS,
        );
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
        ])) {
            let read = parse(&[(name, &value)], DEFAULTS);
            prop_assert!(read.warning.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
