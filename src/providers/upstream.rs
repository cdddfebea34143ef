//! Where a proxied request goes: to one of the built-in providers, or to one that the account added.

use crate::providers::address::{self, Origin};
use crate::providers::fault::Fault;
use crate::providers::format::Format;
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
    /// The languages of APIs that it speaks; empty for chat completions.
    pub formats: Vec<Format>,
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
pub const SELECT: &str = "(SELECT json_group_array(json_array(slug, base_url, headers, enable, checked, modified_at, formats)) \
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
            formats: text(6).unwrap_or("").split(',').filter_map(Format::parse).collect(),
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
mod tests;
