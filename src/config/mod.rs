//! The Worker's variables and secrets, read once per isolate.

pub mod bounds;
pub mod isolate_worker;

use crate::auth::access::Access;
use crate::auth::presented::{self, TokenDigest};
use crate::auth::wrong_tokens;
use crate::base::id::{self, MarkKey};
use crate::config::bounds::Bounds;
use crate::credentials::google_token;
use crate::credentials::vault::{self, EncryptionKeys};
use crate::http::hosts::AllowedHosts;
use crate::logs::metadata;
use crate::logs::pieces::name::NamingKey;
use crate::providers::address;
use crate::providers::resolver;
use serde_json::Value;
use std::rc::Rc;

/// Every variable Tollgate knows. docs/configuration.md describes each.
pub struct Config {
    /// The admin token's digest, or why there is none to work with.
    pub admin: Result<TokenDigest, String>,
    /// What log ids are marked with, made once and not for every request.
    mark: Option<MarkKey>,
    /// (provider slug, base URL), from `PROVIDER_BASE_URLS`.
    base_urls: Vec<(String, String)>,
    /// (provider slug, key), from the secret `PROVIDER_KEYS`: what a provider is sent for callers who proved
    /// themselves and bring no key of their own, and for judges.
    provider_keys: Vec<(String, String)>,
    /// `MAX_GATEWAYS` and its like: how many of each kind can be made.
    pub bounds: Bounds,
    /// `CLIENT_ADDRESS_HEADER`: the header that tells a client's address; `None` where none is to be believed.
    pub client_address_header: Option<String>,
    /// `CLIENT_COUNTRY_HEADER`: the header that tells a client's country; `None` where none is to be believed.
    pub client_country_header: Option<String>,
    /// `DATABASE_LIMIT_MB`: how large a database may be, for the alert that comes before.
    pub database_limit_mb: u64,
    /// What stored keys are sealed with, from the secret `ENCRYPTION_KEY`, or why that is not possible. Nothing else needs
    /// it, so the Worker does not stop for the lack of it, but for one that makes no sense.
    pub encryption_keys: Result<EncryptionKeys, String>,
    /// `GOOGLE_TOKEN_URL`: where service accounts are turned into tokens, in place of Google's own address.
    google_token_url: Option<String>,
    /// `METADATA_MAX_ENTRIES`: how many entries of `cf-aig-metadata` are kept.
    pub max_metadata_entries: usize,
    /// `ALLOW_INTERNAL_UPSTREAMS`: custom providers may be inside the operator's own network.
    pub allow_internal_upstreams: bool,
    /// `ALLOWED_HOSTS`: which `Host` headers are served.
    pub allowed_hosts: AllowedHosts,
    /// `PUBLIC_URL`: what the gateway's addresses begin with, where requests do not tell as their clients see it.
    public_url: Option<String>,
    /// `DNS_OVER_HTTPS_URL`: who is asked which addresses a custom provider's name leads to.
    pub dns_over_https_url: String,
    /// `DASHBOARD`: false where the operator wants none.
    pub dashboard: bool,
    /// `ACCESS_TEAM`, `ACCESS_AUD` and `ACCESS_ROLES`: people that Cloudflare Access vouches for.
    pub access: Option<Access>,
}

/// Of D1 with a paid plan.
const DATABASE_MB: u64 = 10_000;

fn database_limit(value: Option<&str>) -> Result<u64, String> {
    match value.map(str::trim).filter(|value| !value.is_empty()) {
        None => Ok(DATABASE_MB),
        Some(text) => match text.parse() {
            Ok(limit @ 1..=1_000_000) => Ok(limit),
            _ => Err("DATABASE_LIMIT_MB must be a number from 1 to 1000000.".to_owned()),
        },
    }
}

/// Cloudflare sets it, whatever the client sent.
const COUNTRY_HEADER: &str = "cf-ipcountry";

/// An operator may raise the number of metadata entries this far: each is a row in D1.
const MAX_METADATA_ENTRIES: usize = 64;

impl Config {
    /// Reads variables through `get`. A variable that makes no sense stops the Worker with the reason, for a gateway
    /// that silently ignores its operator is worse than one that does not start.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let admin = presented::admin_digest(get("ADMIN_TOKEN").as_deref());
        let base_urls = base_urls(get("PROVIDER_BASE_URLS").as_deref());
        let provider_keys = provider_keys(get("PROVIDER_KEYS").as_deref());
        let entries = entries(get("METADATA_MAX_ENTRIES").as_deref());
        let internal = internal_upstreams(get("ALLOW_INTERNAL_UPSTREAMS").as_deref());
        let resolver = resolver_url(get("DNS_OVER_HTTPS_URL").as_deref());
        let google_token_url = token_url(get("GOOGLE_TOKEN_URL"));
        let encryption_key = get("ENCRYPTION_KEY").filter(|value| !value.trim().is_empty());
        let encryption_keys = vault::encryption_keys(encryption_key.as_deref());
        let allowed_hosts = AllowedHosts::parse(get("ALLOWED_HOSTS").as_deref());
        let fault = base_urls.as_ref().err().or(entries.as_ref().err()).or(provider_keys.as_ref().err());
        let fault = fault.or(internal.as_ref().err()).or(resolver.as_ref().err()).or(google_token_url.as_ref().err());
        let public_url = public_url(get("PUBLIC_URL").as_deref());
        let fault = fault.or(allowed_hosts.as_ref().err()).or(public_url.as_ref().err());
        let given = |name: &str, usual: &str| header(name, get(name).as_deref(), usual);
        let address = given("CLIENT_ADDRESS_HEADER", wrong_tokens::DEFAULT_HEADER);
        let (bounds, country) = (Bounds::read(&get), given("CLIENT_COUNTRY_HEADER", COUNTRY_HEADER));
        let limit = database_limit(get("DATABASE_LIMIT_MB").as_deref());
        let fault = fault.or(limit.as_ref().err());
        let fault = fault.or(bounds.as_ref().err()).or(address.as_ref().err()).or(country.as_ref().err());
        let fault = fault.or(encryption_keys.as_ref().err().filter(|_| encryption_key.is_some()));
        let (dashboard, access) = (dashboard(get("DASHBOARD").as_deref()), Access::read(&get));
        let fault = fault.or(dashboard.as_ref().err()).or(access.as_ref().err());
        let fault = fault.cloned();
        let admin = fault.map_or(admin, Err);
        Self {
            mark: admin.as_ref().ok().map(TokenDigest::mark_key),
            admin,
            base_urls: base_urls.unwrap_or_default(),
            provider_keys: provider_keys.unwrap_or_default(),
            bounds: bounds.unwrap_or_default(),
            client_address_header: address.unwrap_or_default(),
            client_country_header: country.unwrap_or_default(),
            database_limit_mb: limit.unwrap_or(DATABASE_MB),
            encryption_keys,
            google_token_url: google_token_url.unwrap_or_default(),
            max_metadata_entries: entries.unwrap_or(metadata::DEFAULT_ENTRIES),
            allowed_hosts: allowed_hosts.unwrap_or_default(),
            public_url: public_url.unwrap_or_default(),
            allow_internal_upstreams: internal.unwrap_or(false),
            dns_over_https_url: resolver.unwrap_or_default(),
            dashboard: dashboard.unwrap_or(false),
            access: access.unwrap_or_default(),
        }
    }

    /// An id for a request. Only that of a log to come is marked: feedback for it is kept.
    pub fn log_id(&self, now_ms: u64, random: u128, will_be_logged: bool) -> String {
        match &self.mark {
            Some(mark) if will_be_logged => id::mint_log(now_ms, random, mark),
            _ => id::mint(now_ms, random),
        }
    }

    /// What pieces of bodies are named with.
    pub fn naming_key(&self) -> NamingKey {
        self.mark.as_ref().map(NamingKey::new).unwrap_or_default()
    }

    /// Whether a text has a token of ours in it.
    pub fn holds_token(&self, text: &str) -> bool {
        self.admin.as_ref().is_ok_and(|admin| presented::holds_token(text, admin))
    }

    /// The operator's key for a provider.
    pub fn provider_key(&self, slug: &str) -> Option<&str> {
        self.provider_keys.iter().find(|(known, _)| known == slug).map(|(_, key)| key.as_str())
    }

    pub fn google_token_url(&self) -> &str {
        self.google_token_url.as_deref().unwrap_or(google_token::TOKEN_URL)
    }

    /// What the gateway's addresses begin with for the client of a request with this URL.
    pub fn public_origin(&self, url: &str) -> Rc<str> {
        self.public_url.as_deref().unwrap_or_else(|| address::origin_of(url)).into()
    }

    pub fn base_url(&self, slug: &str) -> Option<&str> {
        self.base_urls.iter().find(|(known, _)| known == slug).map(|(_, url)| url.as_str())
    }
}

fn dashboard(value: Option<&str>) -> Result<bool, String> {
    match value.map(str::trim) {
        None | Some("" | "on") => Ok(true),
        Some("off") => Ok(false),
        Some(_) => Err("DASHBOARD must be on or off.".to_owned()),
    }
}

fn provider_keys(value: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(Vec::new());
    };
    // The value is a secret, so the message says nothing of it.
    let wrong = || "PROVIDER_KEYS is not a JSON object of provider slugs and keys.".to_owned();
    let object: serde_json::Map<String, Value> = serde_json::from_str(value).map_err(|_| wrong())?;
    object
        .into_iter()
        .map(|(slug, key)| match key {
            Value::String(key) => match crate::providers::table::find(&slug) {
                Some(provider) => Ok((provider.slug.to_owned(), key)),
                None => Err(wrong()),
            },
            _ => Err(wrong()),
        })
        .collect()
}

fn base_urls(value: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(Vec::new());
    };
    let Ok(Value::Object(object)) = serde_json::from_str(value) else {
        return Err("PROVIDER_BASE_URLS is not a JSON object of provider slugs and base URLs.".to_owned());
    };
    object
        .into_iter()
        .map(|(slug, url)| {
            if crate::providers::table::find(&slug).is_none_or(|provider| provider.slug != slug) {
                return Err(format!("PROVIDER_BASE_URLS names '{slug}', which is no provider's slug."));
            }
            match url {
                Value::String(url) if is_base_url(&url) => Ok((slug, url)),
                _ => Err(format!(
                    "PROVIDER_BASE_URLS: the value of '{slug}' must be an http:// or https:// URL without query."
                )),
            }
        })
        .collect()
}

fn token_url(value: Option<String>) -> Result<Option<String>, String> {
    let value = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    if value.as_deref().is_some_and(|url| !is_base_url(url)) {
        return Err("GOOGLE_TOKEN_URL must be an http:// or https:// URL without query.".to_owned());
    }
    Ok(value)
}

fn is_base_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.starts_with('/')
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@' | b'\\'))
    })
}

fn public_url(value: Option<&str>) -> Result<Option<String>, String> {
    match value.map(str::trim).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(url) if is_base_url(url) => Ok(Some(url.trim_end_matches('/').to_owned())),
        Some(_) => Err("PUBLIC_URL must be an http:// or https:// URL without query.".to_owned()),
    }
}

fn entries(value: Option<&str>) -> Result<usize, String> {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(metadata::DEFAULT_ENTRIES);
    };
    match value.parse() {
        Ok(number) if number <= MAX_METADATA_ENTRIES => Ok(number),
        _ => Err(format!("METADATA_MAX_ENTRIES must be a number from 0 to {MAX_METADATA_ENTRIES}.")),
    }
}

fn internal_upstreams(value: Option<&str>) -> Result<bool, String> {
    match value.map(str::trim) {
        None | Some("" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err("ALLOW_INTERNAL_UPSTREAMS must be true or false.".to_owned()),
    }
}

fn resolver_url(value: Option<&str>) -> Result<String, String> {
    match value.map(str::trim) {
        None | Some("") => Ok(resolver::DEFAULT_URL.to_owned()),
        Some(url) if is_base_url(url) => Ok(url.to_owned()),
        Some(_) => Err("DNS_OVER_HTTPS_URL must be an http:// or https:// URL without query.".to_owned()),
    }
}

/// `none` is for where clients can say whatever they like.
fn header(name: &str, value: Option<&str>, usual: &str) -> Result<Option<String>, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match value.map(str::trim).filter(|value| !value.is_empty()) {
        None => Ok(Some(usual.to_owned())),
        Some(name) if name.eq_ignore_ascii_case("none") => Ok(None),
        Some(name) if name.bytes().all(token) => Ok(Some(name.to_ascii_lowercase())),
        Some(_) => Err(format!("{name} must be the name of a header, or none.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "f3a9c1d27b604e8895aa01bc";

    fn config(name: &str, value: &str) -> Config {
        Config::read(|wanted| match wanted {
            "ADMIN_TOKEN" => Some(TOKEN.to_owned()),
            _ => (wanted == name).then(|| value.to_owned()),
        })
    }

    #[test]
    fn base_urls_are_read_for_known_providers() {
        let config = config("PROVIDER_BASE_URLS", r#"{"openai":"http://127.0.0.1:11434/v1"}"#);
        assert!(config.admin.is_ok());
        assert_eq!(config.base_url("openai"), Some("http://127.0.0.1:11434/v1"));
        assert_eq!(config.base_url("anthropic"), None);
    }

    #[test]
    fn what_an_operator_mistyped_stops_the_worker() {
        for (name, value, reason) in [
            ("PROVIDER_BASE_URLS", "[]", "JSON object"),
            ("PROVIDER_BASE_URLS", r#"{"opnai":"http://x"}"#, "'opnai'"),
            ("PROVIDER_BASE_URLS", r#"{"openai":"ftp://x"}"#, "http://"),
            ("PROVIDER_BASE_URLS", r#"{"openai":"https://user@x"}"#, "http://"),
            ("METADATA_MAX_ENTRIES", "many", "0 to 64"),
            ("ALLOWED_HOSTS", "https://gateway.example.com", "no host"),
            ("ENCRYPTION_KEY", "hunter2", "32 bytes"),
            ("ENCRYPTION_KEY", "AAAA,", "32 bytes"),
            ("ALLOW_INTERNAL_UPSTREAMS", "yes", "true or false"),
            ("DNS_OVER_HTTPS_URL", "8.8.8.8", "http://"),
            ("PUBLIC_URL", "gateway.example.com", "http://"),
            ("DASHBOARD", "no", "on or off"),
            ("ACCESS_TEAM", "team", "ACCESS_AUD is missing"),
            ("GOOGLE_TOKEN_URL", "oauth2.googleapis.com", "http://"),
            ("ENCRYPTION_KEY", "not base64 of 32 bytes", "ENCRYPTION_KEY is not the base64"),
            ("ENCRYPTION_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "one byte 32 times"),
            ("ENCRYPTION_KEY", "UMzCE0d5k8r3p1vJ0b8gBqzS2xkWfQe4n7HhYtLmAoI=,", "ENCRYPTION_KEY is not the base64"),
            ("MAX_GATEWAYS", "0", "MAX_GATEWAYS must be"),
            ("MAX_TOKENS", "many", "MAX_TOKENS must be"),
            ("CLIENT_ADDRESS_HEADER", "x real ip", "the name of a header"),
        ] {
            assert!(config(name, value).admin.err().unwrap().contains(reason), "{value}");
        }
        assert_eq!(config("METADATA_MAX_ENTRIES", "20").max_metadata_entries, 20);
        let without = config("ENCRYPTION_KEY", " ");
        assert!(without.admin.is_ok() && without.encryption_keys.is_err());
    }

    #[test]
    fn the_header_of_an_address_is_cloudflares_unless_the_operator_names_another_or_none() {
        let header = |value: &str| config("CLIENT_ADDRESS_HEADER", value).client_address_header;
        assert_eq!(header("").as_deref(), Some("cf-connecting-ip"));
        assert_eq!(header(" X-Real-IP ").as_deref(), Some("x-real-ip"));
        assert_eq!((header("none"), header("None")), (None, None));
    }
}
