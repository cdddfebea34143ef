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

/// Headers that tell the provider who our client is, or how it reached us.
const OF_THE_CLIENT: &[&str] = &["cdn-loop", "forwarded", "true-client-ip", "x-fal-target-url", "x-real-ip"];

const OURS: &[&str] = &["cf-", "x-forwarded-"];

/// Whether a header with this lower-case name is between a client and us, and must not reach a provider.
fn stays(name: &str) -> bool {
    OF_THE_CONNECTION.contains(&name) || OF_THE_CLIENT.contains(&name) || OURS.iter().any(|own| name.starts_with(own))
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

    /// The names of those headers that must not reach a provider.
    pub fn not_forwarded(&self) -> impl Iterator<Item = &str> {
        let named_by_connection = self.get("connection").unwrap_or("");
        self.0.iter().map(|(name, _)| name.as_str()).filter(move |name| {
            stays(name) || named_by_connection.split(',').any(|named| named.trim().eq_ignore_ascii_case(name))
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

    /// The value that a header will have, `before` being the headers without the changes.
    pub fn get<'b>(&'b self, before: &'b Headers, name: &str) -> Option<&'b str> {
        match self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, value)) => value.as_deref(),
            None => before.get(name),
        }
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
        let dropped: Vec<_> = all.not_forwarded().collect();
        assert_eq!(dropped, ["cf-aig-metadata", "cf-connecting-ip", "connection", "x-hop", "x-forwarded-for", "host"]);
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
