//! What pages of other origins may do: a gateway's setting `cors`, the preflights that browsers send before a request, and
//! the headers without which they keep an answer from the page. <https://fetch.spec.whatwg.org/#http-cors-protocol>
//!
//! A page is let in by its token alone. Cookies are never allowed, so nothing that a browser sends by itself counts, and what
//! is answered here decides only what a page may read.

use crate::http::headers::Headers;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The setting `cors` of a gateway, read for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<String>,
    /// Whether pages of all origins may.
    any: bool,
    /// How long a browser may keep the answer to a preflight, in seconds.
    max_age: u64,
}

/// How an origin is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed<'a> {
    ByName(&'a str),
    ByAny,
}

/// What a path belongs to, as far as pages are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The gateway decides by its setting.
    Gateway { account: &'a str, gateway: &'a str },
    /// Open to the pages of all origins: the token decides.
    Feedback,
    /// A preflight whose request is going to name its gateway. A request to that address needs a token.
    Unnamed,
}

/// A member of the setting that is wrong, and what was expected.
pub type Fault = (&'static str, String);

pub const MAX_ORIGINS: usize = 100;
/// Longer than any browser keeps an answer.
pub const MAX_MAX_AGE: u64 = 86_400;
const MAX_AGE: u64 = 600;

/// By which header a request to the account's own address names its gateway.
const GATEWAY: &str = "cf-aig-gateway-id";

/// Longer lists of requested headers are not answered, in bytes.
const MAX_REQUESTED: usize = 8_192;

/// Answers have `vary` with this wherever they differ by it, for shared caches.
pub const VARY: &str = "origin";
const VARY_PREFLIGHT: &str = "origin, access-control-request-method, access-control-request-headers";

/// Headers of answers that a page may always read. A browser takes no name with a `*` inside, so those of whole families are
/// found in each answer.
const EXPOSED: &[&str] = &[
    "apim-request-id",
    "cf-aig-attempt",
    "cf-aig-cache-status",
    "cf-aig-event-id",
    "cf-aig-log-id",
    "cf-aig-request-id",
    "cf-aig-spend-remaining",
    "cf-aig-step",
    "cf-aig-warning",
    "cf-ray",
    "content-disposition",
    "location",
    "openai-processing-ms",
    "openai-version",
    "ratelimit",
    "ratelimit-policy",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-amzn-requestid",
    "x-goog-request-id",
    "x-request-id",
    "x-should-retry",
];

/// What other names begin with that a page may read, and clients look at.
const EXPOSED_FAMILIES: &[&str] =
    &["anthropic-ratelimit-", "cf-aig-", "ratelimit", "x-amzn-", "x-goog-upload-", "x-ratelimit-"];

/// Headers that carry cookies; no page may send or set them.
const COOKIES: &[&str] = &["cookie", "cookie2", "set-cookie", "set-cookie2"];

/// Checks the setting as given, and names the member that is wrong.
pub fn check(given: &Map<String, Value>) -> Result<(), Fault> {
    let origins = given.get("origins").and_then(Value::as_array);
    let origins = origins.filter(|origins| (1..=MAX_ORIGINS).contains(&origins.len())).ok_or_else(|| {
        let what =
            format!("Expected an array of 1 to {MAX_ORIGINS} origins such as https://app.example.com, or of '*'");
        ("origins", what)
    })?;
    if let Some(wrong) = origins.iter().find(|origin| origin.as_str().and_then(read_origin).is_none()) {
        let wrong = wrong.as_str().map_or_else(|| wrong.to_string(), str::to_owned);
        let start: String = wrong.chars().take(64).collect();
        let what = format!(
            "Expected origins as browsers send them, scheme://host or scheme://host:port in ASCII and without a path or a slash \
             at the end, or '*' for all; '{start}' is none"
        );
        return Err(("origins", what));
    }
    match given.get("max_age") {
        None | Some(Value::Null) => {}
        Some(age) if age.as_u64().is_some_and(|age| age <= MAX_MAX_AGE) => {}
        Some(_) => return Err(("max_age", format!("Expected an integer from 0 to {MAX_MAX_AGE}, or null"))),
    }
    Ok(())
}

/// The members of the setting.
pub const MEMBERS: &[&str] = &["max_age", "origins"];

/// `*`, or an origin in the one spelling by which two are compared.
fn read_origin(text: &str) -> Option<Cow<'_, str>> {
    if text == "*" {
        return Some(Cow::Borrowed(text));
    }
    let (scheme, authority) = text.split_once("://")?;
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    if port.is_some_and(|port| !is_number(port)) {
        return None;
    }
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let in_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(in_address),
        None => !host.is_empty() && host.bytes().all(in_name),
    };
    if !is_host {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let is_usual = matches!((&*scheme, port), ("https", Some("443")) | ("http", Some("80")));
    let port = port.filter(|_| !is_usual).map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{scheme}://{}{port}", host.to_ascii_lowercase()).into())
}

/// Whether a request is what a browser asks before another one.
pub fn is_preflight(method: &str, headers: &Headers) -> bool {
    method == "OPTIONS" && headers.get("origin").is_some() && headers.get("access-control-request-method").is_some()
}

/// The headers of the answer to a preflight that is granted. Clients send headers of their own, and always new ones, so all
/// that are asked for are granted: what a header does is decided when it comes.
pub fn granted(asked: &Headers, allowed: Allowed<'_>, methods: &str, max_age: u64) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("access-control-allow-origin", allowed.origin().to_owned()),
        ("access-control-allow-methods", methods.to_owned()),
        ("access-control-max-age", max_age.to_string()),
        ("vary", VARY_PREFLIGHT.to_owned()),
    ];
    if let Some(names) = asked.get("access-control-request-headers").and_then(requested) {
        headers.push(("access-control-allow-headers", names));
    }
    // An operator who lets in all pages of the internet has not thought of pages that look around in the own network.
    let wants_private = asked.get("access-control-request-private-network").is_some_and(|asked| asked.trim() == "true");
    if wants_private && matches!(allowed, Allowed::ByName(_)) {
        headers.push(("access-control-allow-private-network", "true".to_owned()));
    }
    headers
}

/// The headers of an answer to a preflight of feedback.
pub fn granted_to_all(asked: &Headers, methods: &str) -> Vec<(&'static str, String)> {
    granted(asked, Allowed::ByAny, methods, MAX_AGE)
}

/// The gateway of a request to the account's own address of the unified API.
pub fn named_gateway(headers: &Headers) -> &str {
    headers.get(GATEWAY).map(str::trim).filter(|id| !id.is_empty()).unwrap_or("default")
}

/// Whether a preflight is for a request that names its gateway.
fn names_gateway(headers: &Headers) -> bool {
    let asked = headers.get("access-control-request-headers").unwrap_or_default();
    asked.split(',').any(|name| name.trim().eq_ignore_ascii_case(GATEWAY))
}

/// The names of headers that a page means to send, if they are names. `*` would not stand for `authorization`.
fn requested(names: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if names.len() > MAX_REQUESTED {
        return None;
    }
    let names: Vec<String> =
        names.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect();
    if !names.iter().all(|name| name.bytes().all(is_token)) {
        return None;
    }
    let names: Vec<String> = names.into_iter().filter(|name| !COOKIES.contains(&&**name)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The headers that let a page read an answer which has headers of these names.
pub fn readable<'a>(allowed: Allowed<'_>, names: impl Iterator<Item = &'a str>) -> Vec<(&'static str, String)> {
    let mut exposed: Vec<&str> = EXPOSED.to_vec();
    exposed.extend(
        names.filter(|name| !EXPOSED.contains(name) && EXPOSED_FAMILIES.iter().any(|family| name.starts_with(family))),
    );
    vec![
        ("access-control-allow-origin", allowed.origin().to_owned()),
        ("access-control-expose-headers", exposed.join(", ")),
    ]
}

// === impl Cors ===

impl Cors {
    /// The stored setting; `None` where no page may do anything.
    pub fn of(setting: &Value) -> Option<Self> {
        let given = setting.as_object()?;
        check(given).ok()?;
        let origins = given.get("origins")?.as_array()?.iter().filter_map(Value::as_str);
        let origins: Vec<String> = origins.filter_map(read_origin).map(Cow::into_owned).collect();
        let max_age = given.get("max_age").and_then(Value::as_u64).unwrap_or(MAX_AGE);
        Some(Self { any: origins.iter().any(|origin| origin == "*"), origins, max_age })
    }

    /// How a page of this origin is allowed to use the gateway, if it is.
    pub fn allows<'a>(&self, origin: &'a str) -> Option<Allowed<'a>> {
        let named = read_origin(origin)
            .is_some_and(|origin| origin != "*" && self.origins.iter().any(|known| *known == origin));
        match named {
            true => Some(Allowed::ByName(origin)),
            false => self.any.then_some(Allowed::ByAny),
        }
    }

    /// The headers of the answer to a preflight.
    pub fn preflight(&self, asked: &Headers, methods: &str) -> Vec<(&'static str, String)> {
        match asked.get("origin").and_then(|origin| self.allows(origin)) {
            Some(allowed) => granted(asked, allowed, methods, self.max_age),
            None => vec![("vary", VARY_PREFLIGHT.to_owned())],
        }
    }
}

// === impl Allowed ===

impl<'a> Allowed<'a> {
    fn origin(self) -> &'a str {
        match self {
            Self::ByName(origin) => origin,
            Self::ByAny => "*",
        }
    }
}

// === impl Subject ===

impl<'a> Subject<'a> {
    /// What a raw path belongs to. It need not be one that is served: a page is to learn that, too.
    /// At the account's own address of the unified API a header names the gateway.
    pub fn of(path: &'a str, headers: &'a Headers) -> Option<Self> {
        let below = path.strip_prefix("/client/v4").unwrap_or(path).strip_prefix("/accounts/");
        if let Some((account, below)) = below.and_then(|below| below.split_once('/')) {
            let is_ai = below == "ai" || below.starts_with("ai/");
            return match is_preflight("OPTIONS", headers) && names_gateway(headers) {
                _ if !is_ai || account.is_empty() => None,
                // A browser does not say which gateway before it may.
                true => Some(Self::Unnamed),
                false => Some(Self::Gateway { account, gateway: named_gateway(headers) }),
            };
        }
        let mut parts = path.strip_prefix('/')?.split('/');
        match parts.next()? {
            "v1" => {
                let account = parts.next().filter(|account| !account.is_empty())?;
                let gateway = parts.next().filter(|gateway| !gateway.is_empty())?;
                Some(Self::Gateway { account, gateway })
            }
            "feedback" => Some(Self::Feedback),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
