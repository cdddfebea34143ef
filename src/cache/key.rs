//! Under which key an answer is kept: a digest over everything that could make the answer another one, or another
//! caller's.

use super::canonical;
use crate::base::hex::hex;
use crate::http::headers::Headers;
use crate::providers::format::Format;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// A request as far as it tells its answer from others.
#[derive(Clone, Copy)]
pub struct KeyInput<'a> {
    pub account: &'a str,
    /// The `key` of the gateway's row.
    pub gateway: i64,
    /// Changes when everything of the gateway is to be forgotten.
    pub generation: u64,
    /// Who called, by the token that proved it. Two callers of a gateway share no answers, even where the provider is
    /// sent the same key for both.
    pub caller: &'a str,
    /// Whose key the provider is sent, and which.
    pub credential: &'a str,
    pub provider: &'a str,
    /// Changes with what the provider's name stands for.
    pub provider_version: u64,
    pub method: &'a str,
    /// The provider's URL, without its query.
    pub url: &'a str,
    pub query: &'a str,
    pub headers: &'a Headers,
    /// Headers that hold our own token; `caller` tells what it proved.
    pub carriers: &'a [Cow<'static, str>],
    /// Whether the provider gets the client's cookies.
    pub with_cookies: bool,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Whether the gateway has asked for the stream's usage: what is kept then has more than the client asked for.
    pub usage_asked: bool,
    /// The provider's format, where the answer is translated: a key of the caller's own may be used with several.
    pub translated_to: Option<Format>,
    /// The caller's own key, and when it was last purged.
    pub custom: Option<(&'a str, u64)>,
}

/// A body as it goes into the key.
pub enum Body<'a> {
    Whole(&'a [u8]),
    /// The SHA-256 of a body that is too long for wasm.
    Digest(&'a [u8]),
}

/// Increased when what is kept, or how, changes.
const VERSION: &[u8] = b"1";

/// Headers that say nothing of the answer. All others are part of the key: an unknown one may be a credential.
const WITHOUT_MEANING: &[&str] = &[
    "accept-encoding",
    "baggage",
    "cache-control",
    "date",
    "dnt",
    "idempotency-key",
    "pragma",
    "priority",
    "referer",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-amzn-trace-id",
    "x-client-request-id",
    "x-correlation-id",
    "x-request-id",
];

const WITHOUT_MEANING_PREFIXES: &[&str] = &["sec-ch-", "sec-fetch-", "x-b3-", "x-datadog-", "x-stainless-"];

/// The key, in hexadecimal.
pub fn key(asked: &KeyInput<'_>, body: &Body<'_>) -> String {
    let mut parts = Parts(Sha256::new());
    parts.add(VERSION);
    parts.add(asked.account.as_bytes());
    parts.add(&asked.gateway.to_be_bytes());
    parts.add(&asked.generation.to_be_bytes());
    parts.add(asked.caller.as_bytes());
    parts.add(asked.credential.as_bytes());
    parts.add(asked.provider.as_bytes());
    parts.add(&asked.provider_version.to_be_bytes());
    parts.add(asked.method.as_bytes());
    parts.add(asked.query.as_bytes());
    parts.add(&[u8::from(asked.stream) | u8::from(asked.usage_asked) << 1]);
    if let Some(format) = asked.translated_to {
        parts.add(format.name().as_bytes());
    }
    let not_forwarded: Vec<&str> = asked.headers.not_forwarded(asked.with_cookies).collect();
    for (name, value) in &asked.headers.0 {
        let name = name.as_str();
        if !not_forwarded.contains(&name) && !asked.carriers.iter().any(|carrier| carrier == name) && has_meaning(name)
        {
            parts.add(name.as_bytes());
            parts.add(value.as_bytes());
        }
    }
    match asked.custom {
        Some((key, purged_at)) => {
            parts.add(b"custom");
            parts.add(key.as_bytes());
            parts.add(&purged_at.to_be_bytes());
        }
        None => {
            parts.add(b"url");
            parts.add(asked.url.as_bytes());
            parts.body(asked.headers, body);
        }
    }
    hex(&parts.0.finalize())
}

/// What a custom key is called where its purge is noted.
pub fn digest(key: &str) -> String {
    let mut hex = hex(&Sha256::digest(key.as_bytes()));
    hex.truncate(32);
    hex
}

fn has_meaning(name: &str) -> bool {
    !WITHOUT_MEANING.contains(&name) && !WITHOUT_MEANING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A list of values, each with its length, so that no two lists look the same when they are put together.
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    fn body(&mut self, headers: &Headers, body: &Body<'_>) {
        let bytes = match body {
            Body::Whole(bytes) => *bytes,
            Body::Digest(digest) => {
                self.add(b"digest");
                return self.add(digest);
            }
        };
        let is_json = headers.get("content-type").is_none_or(|kind| kind.contains("json"));
        match is_json.then(|| canonical::canonical(bytes)).flatten() {
            Some(canonical) => {
                self.add(b"json");
                self.add(&canonical);
            }
            None => {
                self.add(b"raw");
                self.add(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn asked(headers: &Headers) -> KeyInput<'_> {
        KeyInput {
            account: "acct",
            gateway: 1,
            generation: 0,
            caller: "admin",
            credential: "request",
            provider: "openai",
            provider_version: 0,
            method: "POST",
            url: "https://api.openai.com/v1/chat/completions",
            query: "",
            headers,
            carriers: &[],
            with_cookies: true,
            stream: false,
            usage_asked: false,
            translated_to: None,
            custom: None,
        }
    }

    const BODY: Body<'static> = Body::Whole(br#"{"model":"m","n":1}"#);

    #[test]
    fn nothing_that_could_make_another_answer_is_left_out() {
        let sent = headers(&[("authorization", "Bearer sk-1"), ("content-type", "application/json")]);
        let same = asked(&sent);
        let mut keys = vec![key(&same, &BODY)];
        let other = |pairs| headers(pairs);
        let variants = [
            KeyInput { account: "acct2", ..same },
            KeyInput { gateway: 2, ..same },
            KeyInput { generation: 1, ..same },
            KeyInput { caller: "token:a", ..same },
            KeyInput { credential: "stored:default", ..same },
            KeyInput { provider: "custom-x", ..same },
            KeyInput { provider_version: 7, ..same },
            KeyInput { method: "GET", ..same },
            KeyInput { url: "https://api.openai.com/v1/responses", ..same },
            KeyInput { query: "?key=secret", ..same },
            KeyInput { stream: true, ..same },
            KeyInput { usage_asked: true, ..same },
            KeyInput { stream: true, usage_asked: true, ..same },
            KeyInput { custom: Some(("mine", 0)), usage_asked: true, ..same },
            KeyInput { custom: Some(("mine", 0)), ..same },
            KeyInput { custom: Some(("mine", 0)), translated_to: Some(Format::Chat), ..same },
            KeyInput { custom: Some(("mine", 0)), translated_to: Some(Format::Responses), ..same },
            KeyInput { custom: Some(("mine", 1)), ..same },
            KeyInput { custom: Some(("mine2", 0)), ..same },
            KeyInput { custom: Some(("mine", 0)), caller: "token:a", ..same },
            KeyInput { custom: Some(("mine", 0)), account: "acct2", ..same },
            KeyInput { custom: Some(("mine", 0)), gateway: 2, ..same },
            KeyInput { custom: Some(("mine", 0)), query: "?key=secret", ..same },
        ];
        keys.extend(variants.iter().map(|variant| key(variant, &BODY)));
        for sent in [
            other(&[("authorization", "Bearer sk-2"), ("content-type", "application/json")]),
            other(&[("content-type", "application/json")]),
            other(&[("x-api-key", "Bearer sk-1"), ("content-type", "application/json")]),
            other(&[("authorization", "Bearer sk-1"), ("content-type", "application/json"), ("x-tenant", "a")]),
            other(&[("authorization", "Bearer sk-1"), ("content-type", "application/json"), ("cookie", "a")]),
            other(&[
                ("authorization", "Bearer sk-1"),
                ("content-type", "application/json"),
                ("anthropic-version", "1"),
            ]),
        ] {
            keys.push(key(&asked(&sent), &BODY));
            keys.push(key(&KeyInput { custom: Some(("mine", 0)), ..asked(&sent) }, &BODY));
        }
        for body in [Body::Whole(b"{}"), Body::Whole(b""), Body::Digest(&[0; 32]), Body::Whole(&[0; 32])] {
            keys.push(key(&same, &body));
        }
        for (index, one) in keys.iter().enumerate() {
            assert!(one.len() == 64 && !keys[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn what_says_nothing_of_the_answer_does_not_matter() {
        let plain = headers(&[("authorization", "Bearer sk-1"), ("content-type", "application/json")]);
        let noisy = headers(&[
            ("authorization", "Bearer sk-1"),
            ("cf-aig-metadata", "{}"),
            ("cf-aig-cache-ttl", "60"),
            ("cf-connecting-ip", "1.2.3.4"),
            ("content-length", "99"),
            ("content-type", "application/json"),
            ("host", "localhost"),
            ("traceparent", "00-1"),
            ("user-agent", "x"),
            ("x-stainless-retry-count", "1"),
        ]);
        let spaced = Body::Whole(b"{ \"n\": 1, \"model\": \"m\" }");
        assert_eq!(key(&asked(&plain), &BODY), key(&asked(&noisy), &spaced));
        let with_token = headers(&[
            ("authorization", "Bearer sk-1"),
            ("content-type", "application/json"),
            ("x-api-key", "our own token"),
        ]);
        assert_eq!(
            key(&asked(&plain), &BODY),
            key(&KeyInput { carriers: &["x-api-key".into()], ..asked(&with_token) }, &BODY)
        );
    }

    #[test]
    fn a_body_that_is_no_json_is_compared_as_it_is() {
        let text = headers(&[("content-type", "text/plain")]);
        let spaced = Body::Whole(b"{ \"n\": 1, \"model\": \"m\" }");
        assert_ne!(key(&asked(&text), &BODY), key(&asked(&text), &spaced));
        let custom = KeyInput { custom: Some(("mine", 0)), ..asked(&text) };
        assert_eq!(key(&custom, &BODY), key(&KeyInput { url: "https://other", ..custom }, &spaced));
    }

    #[test]
    fn values_cannot_move_from_one_part_to_the_next() {
        let one = headers(&[("a", "bc")]);
        let other = headers(&[("ab", "c")]);
        assert_ne!(key(&asked(&one), &BODY), key(&asked(&other), &BODY));
        assert_eq!((digest("mine").len(), digest("mine") == digest("mine2")), (32, false));
    }
}
