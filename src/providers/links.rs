//! Addresses of a provider in its answers, and where they lead below the gateway: a client that follows one sends its
//! credentials along, and they must not leave the gateway.
//!
//! An address is turned into a path of the gateway only where that path leads to the very same address. So no answer
//! chooses a host: what is on another one is no address of the provider's, whatever it says.

pub mod body;
pub mod fields;

use crate::providers::table::{self, Paths, Target};
use crate::providers::upstream::Upstream;
use std::borrow::Cow;

/// Where the addresses of an answer lead: the provider that gave it, as the request before reached it.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub upstream: Upstream<'a>,
    pub account: &'a str,
    /// The base URL that the operator put in the place of the provider's own.
    pub base_override: Option<&'a str>,
    /// The path of the request after the provider's segment.
    pub rest: &'a str,
}

/// A path below the provider's segment of the gateway, and its query with the `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below<'a> {
    pub rest: String,
    pub query: Cow<'a, str>,
}

/// Headers that clients follow by themselves. `location` is one in a redirect.
const FOLLOWED: &[&str] =
    &["azure-asyncoperation", "operation-location", "x-goog-upload-control-url", "x-goog-upload-url"];

/// Headers with an address that no client asks: of a page, or of the origin that may read the answer.
const NOT_FOLLOWED: &[&str] = &[
    "access-control-allow-origin",
    "content-security-policy",
    "content-security-policy-report-only",
    "report-to",
    "reporting-endpoints",
    "set-cookie",
    "sourcemap",
    "www-authenticate",
];

/// Whether a client follows the address in a header of an answer by itself.
pub fn is_followed(name: &str, status: u16) -> bool {
    FOLLOWED.contains(&name) || (name == "location" && (300..400).contains(&status))
}

/// Whether a client that follows the address in a header sends pieces of an upload there.
pub fn is_of_upload(name: &str, status: u16) -> bool {
    // Google's older protocol gives the address of an upload as that of something that was made.
    name.starts_with("x-goog-upload-") || (name == "location" && matches!(status, 200 | 201))
}

/// Whether a header may have an address in it. Asked of every header of every answer.
pub fn may_hold_one(name: &str, value: &str) -> bool {
    let begins = |start: &str| value.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    (begins("http") || begins("//") || begins("<http") || name == "location") && !NOT_FOLLOWED.contains(&name)
}

/// Whether a text names a host, in any of the ways that a client reads so.
pub fn is_absolute(value: &str) -> bool {
    let value = value.trim_start_matches(|char: char| char <= ' ');
    let scheme = value.split(':').next().filter(|scheme| scheme.len() < value.len()).unwrap_or_default();
    let is_scheme = scheme.starts_with(|char: char| char.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let mut start = value.chars();
    let is_slash = |char: Option<char>| matches!(char, Some('/' | '\\'));
    is_scheme || (is_slash(start.next()) && is_slash(start.next()))
}

/// The value of a `link` header with other addresses in it; `None` where none changes.
pub fn relinked(value: &str, mut to: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut changed = false;
    let mut rest = value;
    while let Some((before, address, after)) = rest
        .split_once('<')
        .and_then(|(before, inner)| inner.split_once('>').map(|(address, after)| (before, address, after)))
    {
        let other = to(address);
        changed |= other.is_some();
        out.push_str(before);
        out.push('<');
        out.push_str(other.as_deref().unwrap_or(address));
        out.push('>');
        rest = after;
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// `(scheme and host, path without its first slash, query with its '?')`, of an address that all readers understand alike.
fn parts(address: &str) -> Option<(String, &str, &str)> {
    if !address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#') {
        return None;
    }
    let (scheme, rest) = address.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at_checked(end)?;
    if host.is_empty() || host.contains('@') {
        return None;
    }
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let usual = match scheme.as_str() {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => return None,
    };
    let host = host.strip_suffix(usual).unwrap_or(&host);
    let at = rest.find('?').unwrap_or(rest.len());
    let (path, query) = rest.split_at_checked(at)?;
    Some((format!("{scheme}://{host}"), path.strip_prefix('/').unwrap_or(path), query))
}

// === impl Site ===

impl<'a> Site<'a> {
    pub fn of(upstream: Upstream<'a>, base_override: Option<&'a str>, account: &'a str, rest: &'a str) -> Self {
        Self { upstream, account, base_override, rest }
    }

    /// Where an address leads below the gateway; `None` if it is not the provider's.
    pub fn below<'b>(&self, address: &'b str) -> Option<Below<'b>> {
        let (origin, path, query) = parts(address)?;
        let at = |base: Option<&str>| {
            let mut found = self.candidates(&origin, path, base).into_iter();
            found.find(|rest| self.leads_to(rest, base) == Some(format!("{origin}/{path}")))
        };
        let own = at(None);
        let found = own.or_else(|| self.base_override.and_then(|base| at(Some(base)))).or_else(|| {
            // Behind a proxy a provider sees the proxy's host, and not the path that the proxy has it under.
            let base = self.base_override.and_then(parts)?;
            let is_there = base.0 == origin && !path.is_empty() && !path.starts_with(base.1.trim_end_matches('/'));
            is_there.then(|| path.to_owned()).filter(|rest| self.url(rest, "", self.base_override).is_some())
        });
        Some(Below { rest: found?, query: Cow::Borrowed(query) })
    }

    /// Where an address leads that names no host, and begins where those of the provider's host do.
    pub fn below_relative(&self, path: &str) -> Option<Below<'static>> {
        if !path.starts_with('/') || is_absolute(path) {
            return None;
        }
        let base = self.url(self.rest, "", self.base_override)?;
        let (origin, ..) = parts(&base)?;
        let address = format!("{origin}{path}");
        let (_, path, query) = parts(&address)?;
        let mut found = self.candidates(&origin, path, self.base_override).into_iter();
        let rest = found.find(|rest| self.leads_to(rest, self.base_override) == Some(format!("{origin}/{path}")))?;
        Some(Below { rest, query: Cow::Owned(query.to_owned()) })
    }

    /// The provider's URL that a path below the gateway leads to.
    pub fn url(&self, rest: &str, query: &str, base: Option<&str>) -> Option<String> {
        let target = Target { account: self.account, rest, query, base_override: base, fal_target: None, keyed: true };
        self.upstream.url(&target).ok()
    }

    /// The same with scheme and host as they are compared.
    fn leads_to(&self, rest: &str, base: Option<&str>) -> Option<String> {
        let url = self.url(rest, "", base)?;
        let (origin, path, query) = parts(&url)?;
        query.is_empty().then(|| format!("{origin}/{path}"))
    }

    /// Paths that may lead to an address, the one first that is spelled as the request was. Which of them does is seen by
    /// trying.
    fn candidates(&self, origin: &str, path: &str, base: Option<&str>) -> Vec<String> {
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let mut found = Vec::new();
        let provider = match self.upstream {
            Upstream::BuiltIn(provider) => provider,
            Upstream::Custom(provider) => {
                let below =
                    parts(&provider.base_url).and_then(|(_, base, _)| path.strip_prefix(base.trim_end_matches('/')));
                return below.map(|below| below.strip_prefix('/').unwrap_or(below).to_owned()).into_iter().collect();
            }
        };
        let own = provider.base.replace("{account}", self.account);
        let base_path = base.or(Some(&own)).and_then(parts).map_or(String::new(), |(_, path, _)| path.to_owned());
        let below =
            path.strip_prefix(base_path.trim_end_matches('/')).map(|below| below.strip_prefix('/').unwrap_or(below));
        let segment = |number: usize| self.rest.split('/').nth(number).unwrap_or_default();
        let Some(below) = below else { return found };
        match provider.paths {
            Paths::Optional(prefixes) => {
                let spelled = prefixes.iter().find(|prefix| self.rest.starts_with(**prefix));
                found.extend(spelled.map(|prefix| format!("{prefix}{below}")));
            }
            Paths::Azure => found.push(format!("{}/{below}", segment(0))),
            Paths::Bedrock => found.push(format!("{}/{}/{below}", segment(0), segment(1))),
            Paths::Baseten => {
                let model = host.strip_prefix("model-").and_then(|rest| rest.split('.').next());
                found.extend(model.map(|model| format!("model/{model}/{below}")));
                found.extend(base.filter(|_| segment(0) == "model").map(|_| format!("model/{}/{below}", segment(1))));
            }
            _ => {}
        }
        found.push(below.to_owned());
        if base.is_none() && table::beside(provider.slug).contains(&host) {
            found.push(format!("~{host}/{path}"));
        }
        found
    }
}

#[cfg(test)]
mod tests;
