//! A request's or an answer's headers as plain data, and which of them may go on to a provider.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::borrow::Cow;

/// Lower-case names with their values, in the order the runtime gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

/// What is to be changed in headers: names with their new values, or with none where a header is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits<'a>(Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>);

/// Headers that concern one connection only (RFC 9110, section 7.6.1), or that the runtime sets itself.
const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that a provider never gets, whatever callers and operators set: they are between a client and us.
const BETWEEN_CLIENT_AND_US: &[&str] = &["cdn-loop", "forwarded", "true-client-ip", "x-fal-target-url", "x-real-ip"];

const OURS: &[&str] = &["cf-", "x-forwarded-"];

/// Headers of a client that speak of its network, or of the site that a browser was on. An operator may add some of them
/// to a custom provider's requests; those that a client sent stay here. Sorted.
const OF_THE_CLIENT: &[&str] = &[
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "alt-used",
    "client-ip",
    "downlink",
    "early-data",
    "ect",
    "http2-settings",
    "origin",
    "referer",
    "rtt",
    "save-data",
    "via",
    "x-amz-cf-id",
    "x-arr-log-id",
    "x-azure-clientip",
    "x-azure-fdid",
    "x-azure-ref",
    "x-azure-socketip",
    "x-client-port",
    "x-cluster-client-ip",
    "x-coming-from",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-remote-addr",
    "x-remote-host",
    "x-remote-user",
    "x-rewrite-url",
    "x-scheme",
];

/// What such headers begin with where a content delivery network or a host adds several.
const OF_A_NETWORK: &[&str] = &[
    "akamai-",
    "cloudfront-",
    "fastly-",
    "fly-",
    "sec-fetch-",
    "x-akamai-",
    "x-appengine-",
    "x-client-geo",
    "x-envoy-",
    "x-nf-",
    "x-original-",
    "x-proxy-",
    "x-real-",
    "x-vercel-",
];

/// What other headers with an address end with.
const WITH_AN_ADDRESS: &[&str] = &["-ip", "-ip-address", "-ipaddr", "-remote-addr", "-forwarded-for"];

/// Whether a header with this lower-case name is between a client and us, and must not reach a provider.
fn stays(name: &str) -> bool {
    OF_THE_CONNECTION.contains(&name)
        || BETWEEN_CLIENT_AND_US.contains(&name)
        || OURS.iter().any(|own| name.starts_with(own))
}

/// Whether a client's header with this lower-case name is for the gateway or for the connection to it, and goes no further.
pub fn is_for_us(name: &str) -> bool {
    stays(name)
}

/// Whether a client's header with this lower-case name speaks of the client's network, or of another site.
fn is_of_the_client(name: &str) -> bool {
    OF_THE_CLIENT.binary_search(&name).is_ok()
        || OF_A_NETWORK.iter().any(|start| name.starts_with(start))
        || WITH_AN_ADDRESS.iter().any(|end| name.ends_with(end))
}

/// Whether an operator may have a header with this lower-case name added to requests: what describes the connection or
/// the body of a request is not his to say.
pub fn is_addable(name: &str) -> bool {
    const OF_THE_BODY: &[&str] = &["accept-encoding", "content-encoding", "content-type", "range"];
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty()
        && name.bytes().all(token)
        && !stays(name)
        && !OF_THE_BODY.contains(&name)
        && !name.starts_with("sec-websocket-")
}

// === impl Headers ===

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names of those headers that must not reach a provider. Cookies do where the gateway's setting lets them.
    pub fn not_forwarded(&self, with_cookies: bool) -> impl Iterator<Item = &str> {
        let named_by_connection = self.get("connection").unwrap_or("");
        self.0.iter().map(|(name, _)| name.as_str()).filter(move |name| {
            stays(name)
                || is_of_the_client(name)
                || (!with_cookies && matches!(*name, "cookie" | "cookie2"))
                || named_by_connection.split(',').any(|named| named.trim().eq_ignore_ascii_case(name))
        })
    }

    /// The id the provider gave the request in its headers.
    pub fn provider_request_id(&self) -> Option<&str> {
        ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id", "cf-ray"]
            .iter()
            .find_map(|name| self.get(name))
    }

    /// How a body is packed, in the order in which that was done. Empty where it is not.
    pub fn content_codings(&self) -> Vec<String> {
        let codings =
            self.get("content-encoding").unwrap_or("").split(',').map(|coding| coding.trim().to_ascii_lowercase());
        codings.filter(|coding| !matches!(&**coding, "" | "identity")).collect()
    }

    pub fn content_length(&self) -> Option<u64> {
        self.get("content-length")?.trim().parse().ok()
    }
}

// === impl Edits ===

impl<'a> Edits<'a> {
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.put(name.into(), Some(value.into()));
    }

    pub fn remove(&mut self, name: impl Into<Cow<'a, str>>) {
        self.put(name.into(), None);
    }

    fn put(&mut self, name: Cow<'a, str>, value: Option<Cow<'a, str>>) {
        match self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// Whether something is to be done with a header.
    pub fn names(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The value that a header will have, `before` being the headers without the changes.
    pub fn get<'b>(&'b self, before: &'b Headers, name: &str) -> Option<&'b str> {
        match self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, value)) => value.as_deref(),
            None => before.get(name),
        }
    }

    /// The headers with the changes made.
    pub fn applied(&self, before: &Headers) -> Headers {
        let kept = before.0.iter().filter(|(name, _)| !self.names(name)).cloned();
        let set =
            self.0.iter().filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_ref()?.to_string())));
        Headers(kept.chain(set).collect())
    }

    /// As a JSON list of pairs.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_else(|_| "[]".to_owned())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Headers;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of header names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(16));
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Headers(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A header that is `true` or `false`, where it is given; what is neither becomes a warning.
pub fn boolean(headers: &Headers, name: &str, warnings: &mut Vec<String>) -> Option<bool> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_is_between_us_and_the_client_stays_there() {
        let all = headers(&[
            ("authorization", "Bearer sk"),
            ("cf-aig-metadata", "{}"),
            ("cf-connecting-ip", "1.2.3.4"),
            ("connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("host", "localhost"),
            ("accept", "*/*"),
        ]);
        let dropped: Vec<_> = all.not_forwarded(false).collect();
        assert_eq!(dropped, ["cf-aig-metadata", "cf-connecting-ip", "connection", "x-hop", "x-forwarded-for", "host"]);
    }

    #[test]
    fn what_speaks_of_the_clients_network_or_of_another_site_stays_here() {
        assert!(OF_THE_CLIENT.is_sorted());
        for name in [
            "origin",
            "referer",
            "via",
            "x-client-ip",
            "fastly-client-ip",
            "fastly-ff",
            "x-cluster-client-ip",
            "fly-client-ip",
            "fly-region",
            "do-connecting-ip",
            "x-real-ip",
            "x-real-host",
            "true-client-ip",
            "forwarded",
            "x-forwarded",
            "x-forwarded-host",
            "x-original-forwarded-for",
            "x-original-url",
            "x-vercel-ip-country",
            "x-appengine-user-ip",
            "x-envoy-external-address",
            "x-envoy-peer-metadata",
            "wl-proxy-client-ip",
            "x-originating-ip",
            "x-nf-client-connection-ip",
            "cloudfront-viewer-address",
            "x-azure-clientip",
            "sec-fetch-site",
            "sec-fetch-mode",
            "cdn-loop",
            "cf-ipcountry",
            "access-control-request-method",
        ] {
            for cookies in [false, true] {
                assert_eq!(headers(&[(name, "x")]).not_forwarded(cookies).collect::<Vec<_>>(), [name]);
            }
        }
        for name in [
            "authorization",
            "user-agent",
            "http-referer",
            "x-title",
            "x-stainless-lang",
            "anthropic-version",
            "openai-organization",
            "x-amzn-trace-id",
            "idempotency-key",
            "x-tip",
            "accept-language",
        ] {
            assert_eq!(headers(&[(name, "x")]).not_forwarded(false).count(), 0, "{name}");
        }
        assert_eq!(headers(&[("cookie", "a=b")]).not_forwarded(false).count(), 1);
        assert_eq!(headers(&[("cookie", "a=b")]).not_forwarded(true).count(), 0);
        // What an operator adds to a custom provider's requests is another matter.
        assert!(
            is_addable("origin") && is_addable("referer") && is_addable("cookie") && !is_addable("x-forwarded-for")
        );
    }

    #[test]
    fn the_last_word_on_a_header_counts() {
        let before = headers(&[("a", "1"), ("b", "2")]);
        let mut edits = Edits::default();
        edits.set("X-Key", "k\n\"");
        edits.remove("a");
        edits.set("b", "3");
        assert_eq!(
            (edits.get(&before, "a"), edits.get(&before, "b"), edits.get(&before, "x-key")),
            (None, Some("3"), Some("k\n\""))
        );
        edits.remove("x-key");
        assert_eq!(edits.to_json(), r#"[["X-Key",null],["a",null],["b","3"]]"#);
    }

    #[test]
    fn headers_are_read_from_a_json_object() {
        let read: Headers = serde_json::from_str(r#"{"a":"1","content-length":"12"}"#).unwrap();
        assert_eq!((read.get("a"), read.content_length()), (Some("1"), Some(12)));
    }
}
