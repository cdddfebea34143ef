//! Where a proxied request goes: to one of the built-in providers, or to one that the account added.

use crate::providers::address::{self, Origin};
use crate::providers::fault::Fault;
use crate::providers::paths;
use crate::providers::resolver::Lookup;
use crate::providers::table::{self, KeyForm, Provider, Target};
use serde_json::{Map, Value};

/// What stands before a custom provider's slug in URLs.
pub const PREFIX: &str = "custom-";

/// A custom provider as requests use it.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomProvider {
    /// With its prefix.
    pub slug: String,
    pub base_url: String,
    /// Lower-case names with their values.
    pub headers: Vec<(String, String)>,
    pub enable: bool,
    /// Whether the host was found to be a public one when it was stored.
    pub checked: bool,
    /// Changes with every change of the provider.
    pub version: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Upstream<'a> {
    BuiltIn(&'static Provider),
    Custom(&'a CustomProvider),
}

/// Whether a header's value must not be shown: by its name, or because it looks like a key.
pub fn is_secret(name: &str, value: &str) -> bool {
    const PARTS: &[&str] =
        &["auth", "key", "token", "secret", "password", "credential", "cookie", "session", "signature", "jwt"];
    const SCHEMES: &[&str] = &["bearer ", "basic ", "token ", "key ", "digest "];
    // A run of letters and digits that no word is: 20 characters with both in them.
    let is_random = |run: &str| {
        run.len() >= 20
            && run.bytes().any(|byte| byte.is_ascii_digit())
            && run.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let lower = value.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
        || SCHEMES.iter().any(|scheme| lower.starts_with(scheme))
        || value.split(|char: char| !(char.is_ascii_alphanumeric() || "-_.+/=".contains(char))).any(is_random)
}

/// The custom providers of the account `?1`, as one value for [`from_json`].
pub const SELECT: &str = "(SELECT json_group_array(json_array(slug, base_url, headers, enable, checked, modified_at)) \
     FROM custom_providers WHERE account_id = ?1)";

/// Reads providers that the database put together as an array of arrays.
pub fn from_json(rows: &str) -> Vec<CustomProvider> {
    let rows: Vec<Value> = serde_json::from_str(rows).unwrap_or_default();
    rows.iter().filter_map(CustomProvider::from_json).collect()
}

/// What changes with every change of a provider, so that answers that were kept of it before are not given any more.
pub fn version(name: &str, custom: &[CustomProvider]) -> u64 {
    custom.iter().find(|provider| provider.slug == name).map_or(0, |provider| provider.version)
}

// === impl Upstream ===

impl<'a> Upstream<'a> {
    /// Finds the provider that a URL or an element of a universal request names.
    pub fn find(name: &str, custom: &'a [CustomProvider]) -> Result<Self, Fault> {
        if let Some(provider) = table::find(name) {
            return Ok(Self::BuiltIn(provider));
        }
        match custom.iter().find(|provider| provider.slug == name) {
            Some(provider) if provider.enable => Ok(Self::Custom(provider)),
            Some(provider) => Err(Fault::Disabled(provider.slug.clone())),
            None if name.starts_with(PREFIX) => Err(Fault::UnknownCustom(name.to_owned())),
            None => Err(Fault::Unknown { slug: name.to_owned(), nearest: table::nearest(name) }),
        }
    }

    pub fn slug(self) -> &'a str {
        match self {
            Self::BuiltIn(provider) => provider.slug,
            Self::Custom(provider) => &provider.slug,
        }
    }

    /// How it takes an API key.
    pub fn key_form(self) -> KeyForm {
        match self {
            Self::BuiltIn(provider) => provider.key,
            Self::Custom(_) => KeyForm::Bearer,
        }
    }

    /// Scheme and host, where these are not Tollgate's own for the provider: a stored key goes only where it was stored for.
    /// `base_override` is the base URL that the operator gave to a built-in provider.
    pub fn origin(self, base_override: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::BuiltIn(_) => base_override.map(address::origin_of),
            Self::Custom(provider) => Some(address::origin_of(&provider.base_url)),
        }
    }

    /// The upstream URL of a request. The host of a custom provider is the stored one, whatever the request says.
    pub fn url(self, target: &Target<'_>) -> Result<String, Fault> {
        match self {
            Self::BuiltIn(provider) => provider.url(target),
            Self::Custom(provider) => {
                let rest = paths::checked(target.rest)?;
                Ok(format!("{}/{rest}{}", provider.base_url.trim_end_matches('/'), target.query))
            }
        }
    }

    /// True for a request whose credential has to travel under another name than the client gave it.
    pub fn wants_bearer_as_api_key(self, rest: &str) -> bool {
        matches!(self, Self::BuiltIn(provider) if provider.wants_bearer_as_api_key(rest))
    }

    /// The headers that are added to a request. Those with credentials are for callers who proved themselves and bring no
    /// key of their own, as every key is that the gateway keeps.
    pub fn headers(self, with_secrets: bool) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = match self {
            Self::BuiltIn(_) => &[][..],
            Self::Custom(provider) => provider.headers.as_slice(),
        };
        all.iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(move |(name, value)| with_secrets || !is_secret(name, value))
    }

    pub fn has_secrets(self) -> bool {
        self.headers(true).any(|(name, value)| is_secret(name, value))
    }
}

// === impl CustomProvider ===

impl CustomProvider {
    fn from_json(row: &Value) -> Option<Self> {
        let text = |index: usize| row.get(index).and_then(Value::as_str);
        let flag = |index: usize| row.get(index).and_then(Value::as_u64) == Some(1);
        Some(Self {
            slug: format!("{PREFIX}{}", text(0)?),
            base_url: text(1)?.to_owned(),
            headers: headers(text(2)?),
            enable: flag(3),
            checked: flag(4),
            version: row.get(5).and_then(Value::as_u64).unwrap_or(0),
        })
    }

    /// Whether the base URL says more than the host.
    pub fn has_path(&self) -> bool {
        let host = self.base_url.split_once("://").map_or("", |(_, rest)| rest);
        host.split_once('/').is_some_and(|(_, path)| !path.is_empty())
    }

    /// The name that has to be looked up before a request is sent there, if the host may be used at all.
    pub fn name_to_check(&self, internal_allowed: bool) -> Result<Option<String>, Fault> {
        if internal_allowed {
            return Ok(None);
        }
        let origin = address::origin(&self.base_url).map_err(|fault| self.refused(fault))?;
        if !origin.secure || origin.is_internal() {
            return Err(self.refused(INTERNAL));
        }
        Ok(origin.name().map(str::to_owned))
    }

    /// Whether a request may be sent to the host after it was looked up. While the resolver does not answer, what was
    /// found when the provider was stored holds.
    pub fn admit(&self, found: &Lookup) -> Result<(), Fault> {
        match found.fault() {
            None => Ok(()),
            Some(_) if self.checked && matches!(found, Lookup::Failed(_)) => Ok(()),
            Some(fault) => Err(self.refused(&fault)),
        }
    }

    fn refused(&self, fault: &str) -> Fault {
        Fault::path(format!("Tollgate sends nothing to '{}': {fault}.", self.slug))
    }
}

/// Why a host is refused.
pub const INTERNAL: &str = "its base_url leads to an internal address, which wants the operator's variable \
                            ALLOW_INTERNAL_UPSTREAMS=true";

/// The stored headers of a custom provider.
pub fn headers(json: &str) -> Vec<(String, String)> {
    let all: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    all.into_iter()
        .filter_map(|(name, value)| match value {
            Value::String(value) => Some((name, value)),
            _ => None,
        })
        .collect()
}

/// Whether a base URL may be stored. True if its host was found to be a public one.
pub fn storable(origin: &Origin, internal_allowed: bool, found: &Lookup) -> Result<bool, String> {
    let internal = origin.is_internal();
    // Before the scheme: an internal host is what the operator has to allow, and then plain http will do.
    if internal && !internal_allowed {
        return Err("base_url leads to an internal address, which wants the operator's variable \
                    ALLOW_INTERNAL_UPSTREAMS=true"
            .to_owned());
    }
    if !origin.secure && !internal {
        return Err("base_url must be a valid HTTPS URL starting with https://".to_owned());
    }
    if internal_allowed {
        return Ok(false);
    }
    match (origin.name(), found.fault()) {
        (None, _) | (Some(_), None) => Ok(true),
        (Some(name), Some(fault)) => Err(format!("the host {name} of base_url cannot be used: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::refusal::Refusal;
    use proptest::prelude::*;

    fn custom(slug: &str, base_url: &str) -> CustomProvider {
        CustomProvider {
            slug: format!("{PREFIX}{slug}"),
            base_url: base_url.to_owned(),
            headers: vec![
                ("x-team".to_owned(), "search".to_owned()),
                ("authorization".to_owned(), "Bearer sk-1".to_owned()),
            ],
            enable: true,
            checked: true,
            version: 1,
        }
    }

    fn target<'a>(rest: &'a str, query: &'a str) -> Target<'a> {
        Target {
            account: "acct",
            rest,
            query,
            base_override: None,
            fal_target: Some("https://fal.run/x"),
            keyed: false,
        }
    }

    #[test]
    fn the_rest_and_the_query_follow_the_base_as_they_are() {
        for (base, rest, query, wanted) in [
            ("https://api.example.com", "v1/chat", "?a=b", "https://api.example.com/v1/chat?a=b"),
            ("https://api.example.com/v1/", "v1/chat", "", "https://api.example.com/v1/v1/chat"),
            ("https://api.example.com/v1", "", "", "https://api.example.com/v1/"),
            ("https://api.example.com", "/evil.example", "", "https://api.example.com//evil.example"),
            ("https://api.example.com", "@evil.example/x", "?@y", "https://api.example.com/@evil.example/x?@y"),
        ] {
            assert_eq!(Upstream::Custom(&custom("x", base)).url(&target(rest, query)).unwrap(), wanted);
        }
        let provider = custom("x", "https://api.example.com/v1");
        for rest in ["../x", "a/%2e%2E/b", "a\\b", "a#b", "a b", "%2e%2e%2fx", "a%0d%0ab", "."] {
            assert_eq!(
                Refusal::from(Upstream::Custom(&provider).url(&target(rest, "")).unwrap_err()).code,
                2008,
                "{rest}"
            );
        }
    }

    #[test]
    fn a_provider_that_cannot_be_used_says_why() {
        let all =
            [custom("on", "https://a.example"), CustomProvider { enable: false, ..custom("off", "https://b.example") }];
        assert_eq!(Upstream::find("custom-on", &all).unwrap().slug(), "custom-on");
        assert_eq!(Upstream::find("openai", &all).unwrap().slug(), "openai");
        for (name, reason) in
            [("custom-off", "disabled"), ("custom-nothing", "no custom provider"), ("on", "no provider")]
        {
            let refusal = Refusal::from(Upstream::find(name, &all).unwrap_err());
            assert_eq!((refusal.status, refusal.code), (400, 2008));
            assert!(refusal.description.contains(reason), "{}", refusal.description);
        }
    }

    #[test]
    fn credentials_go_only_with_callers_who_proved_themselves() {
        let provider = custom("x", "https://a.example");
        let upstream = Upstream::Custom(&provider);
        assert_eq!(upstream.headers(true).count(), 2);
        assert_eq!(upstream.headers(false).collect::<Vec<_>>(), [("x-team", "search")]);
        for (name, value) in [
            ("authorization", "x"),
            ("x-api-key", "x"),
            ("x-goog-user-token", "1"),
            ("cookie", "a=b"),
            ("x-org", "Bearer x"),
            ("x-org", "sk-0123456789abcdefghij"),
            ("x-org", "a, 9f8e7d6c5b4a39281706f5e4d3"),
        ] {
            assert!(is_secret(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("anthropic-version", "2023-06-01"),
            ("x-team", "search and recommendation"),
            ("accept", "application/vnd.example+json"),
        ] {
            assert!(!is_secret(name, value), "{name}: {value}");
        }
    }

    #[test]
    fn internal_hosts_want_the_operators_word() {
        let asked = |base: &str, allowed: bool| {
            let found = Lookup::Found(vec!["8.8.8.8".parse().unwrap()]);
            storable(&address::origin(base).unwrap(), allowed, &found)
        };
        assert_eq!(asked("https://api.example.com", false), Ok(true));
        assert_eq!(asked("https://8.8.8.8", false), Ok(true));
        assert_eq!(asked("https://api.example.com", true), Ok(false));
        assert_eq!(asked("http://127.0.0.1:8080", true), Ok(false));
        for (base, allowed) in [
            ("http://api.example.com", true),
            ("http://api.example.com", false),
            ("http://127.0.0.1", false),
            ("https://127.0.0.1", false),
            ("https://[::1]", false),
            ("https://x.internal", false),
        ] {
            let rule = asked(base, allowed).unwrap_err();
            let wanted = if base == "http://api.example.com" { "HTTPS" } else { "ALLOW_INTERNAL_UPSTREAMS=true" };
            assert!(rule.contains(wanted), "{base} {allowed}: {rule}");
        }
        for found in [Lookup::Failed("down".to_owned()), Lookup::NotAsked, Lookup::Found(vec![])] {
            assert!(storable(&address::origin("https://api.example.com").unwrap(), false, &found).is_err());
        }
    }

    #[test]
    fn what_was_public_goes_on_to_be_while_nobody_can_tell() {
        let provider = custom("x", "https://api.example.com");
        let unchecked = CustomProvider { checked: false, ..provider.clone() };
        let (public, internal) = ("8.8.8.8".parse().unwrap(), "10.0.0.1".parse().unwrap());
        for (found, if_checked, if_not) in [
            (Lookup::Found(vec![public]), true, true),
            (Lookup::Found(vec![public, internal]), false, false),
            (Lookup::Found(vec![]), false, false),
            (Lookup::Failed("down".to_owned()), true, false),
        ] {
            assert_eq!(
                (provider.admit(&found).is_ok(), unchecked.admit(&found).is_ok()),
                (if_checked, if_not),
                "{found:?}"
            );
        }
        assert_eq!(provider.name_to_check(false).unwrap().as_deref(), Some("api.example.com"));
        assert_eq!(provider.name_to_check(true).unwrap(), None);
        // Stored while the operator allowed it, and not any more.
        for base in ["http://127.0.0.1:1", "https://10.0.0.1", "https://localhost", "http://api.example.com"] {
            assert!(custom("x", base).name_to_check(false).is_err(), "{base}");
            assert!(custom("x", base).name_to_check(true).is_ok(), "{base}");
        }
    }

    proptest! {
        #[test]
        fn no_request_changes_the_host(rest in "[a-z.%2fF5cCeE@:#?/\\\\ ]{0,24}|\\PC{0,24}", query in "(\\?[a-z@:#/\\\\]{0,12})?") {
            for base in ["https://api.example.com", "https://api.example.com/v1", "https://8.8.8.8:8443/a/b/"] {
                let provider = custom("x", base);
                if let Ok(url) = Upstream::Custom(&provider).url(&target(&rest, &query)) {
                    let (ours, theirs) = (url::Url::parse(base).unwrap(), url::Url::parse(&url).unwrap());
                    prop_assert_eq!(ours.origin(), theirs.origin());
                    prop_assert!(theirs.username().is_empty() && theirs.password().is_none());
                    prop_assert!(theirs.path().starts_with(ours.path().trim_end_matches('/')), "{}", theirs);
                }
            }
        }
    }
}
