//! What lets a client go on with something that it was let in to begin, without its token: it follows an address that a
//! provider gave out, such as that of an upload, and clients send no credentials there.
//!
//! A capability stands in the query of such an address. It is for one address of the provider and for some methods, holds
//! for a day, and admits as the caller who was given it, as long as that token is valid. A client that has it
//! can send the same again until then, because an upload comes in pieces and is taken up again after a break; what the provider makes of it is its own
//! matter. It begins like a token, so that all that keeps tokens out of rows and away from providers keeps it, too.

use crate::auth::presented;
use crate::auth::presented::CapabilityKey;
use crate::base::hmac::hmac_sha256;
use crate::credentials::select;
use crate::providers::links::fields::Act;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use subtle::ConstantTimeEq;

/// The parameter that it comes in.
pub const PARAMETER: &str = "cf-aig-capability";

/// How long it holds, in milliseconds.
pub const LIFETIME_MS: u64 = 24 * 60 * 60 * 1_000;

/// Whose key the provider is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentWith {
    /// None of the gateway's: what was begun was begun with the caller's own.
    Own,
    /// The gateway's, under this alias if it is not the one that is taken anyway.
    Kept(Option<String>),
}

/// What a capability grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub act: Act,
    /// As [`crate::auth::presented::Presented::identity`] says it.
    pub identity: String,
    pub sent_with: SentWith,
    /// In milliseconds.
    pub until: u64,
}

/// What a capability is for, and for nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    pub account: &'a str,
    /// The `key` of the gateway's row, which no other gateway ever gets.
    pub gateway: i64,
    pub provider: &'a str,
    /// The provider's URL, with its host.
    pub url: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not ours, or it is for something else.
    Foreign,
    Expired,
    /// It does not go with this method.
    Method,
}

/// A new capability, as the value of [`PARAMETER`].
pub fn issue(key: &CapabilityKey, bound: &Bound<'_>, grant: &Grant) -> String {
    let payload = grant.to_json();
    let mut text = mac(key, bound, payload.as_bytes()).to_vec();
    text.extend_from_slice(payload.as_bytes());
    format!("{}{}", presented::TOKEN_PREFIX, URL_SAFE_NO_PAD.encode(text))
}

/// What a capability grants for a request.
pub fn read(key: &CapabilityKey, text: &str, bound: &Bound<'_>, method: &str, now_ms: u64) -> Result<Grant, Fault> {
    let encoded = text.strip_prefix(presented::TOKEN_PREFIX).ok_or(Fault::Foreign)?;
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Fault::Foreign)?;
    let (tag, payload) = bytes.split_at_checked(TAG).ok_or(Fault::Foreign)?;
    if !bool::from(mac(key, bound, payload).ct_eq(tag)) {
        return Err(Fault::Foreign);
    }
    let grant = Grant::from_json(payload).ok_or(Fault::Foreign)?;
    if grant.until <= now_ms {
        return Err(Fault::Expired);
    }
    if !grant.act.goes_with(method) {
        return Err(Fault::Method);
    }
    Ok(grant)
}

/// A query without capabilities, and the first of them: it goes no further than here.
pub fn taken(query: &str) -> (Cow<'_, str>, Option<String>) {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let value = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(name).eq_ignore_ascii_case(PARAMETER).then(|| decoded(value))
    };
    let given = query.strip_prefix('?').unwrap_or(query);
    let Some(first) = given.split('&').find_map(value) else { return (Cow::Borrowed(query), None) };
    let kept: Vec<&str> = given.split('&').filter(|pair| value(pair).is_none()).collect();
    let kept = kept.join("&");
    (if kept.is_empty() { Cow::Borrowed("") } else { Cow::Owned(format!("?{kept}")) }, Some(first))
}

/// A provider's URL as a capability is for it: without keys, for another takes their place.
pub fn bare(url: &str) -> Cow<'_, str> {
    let Some(at) = url.find('?') else { return Cow::Borrowed(url) };
    let (path, query) = url.split_at_checked(at).unwrap_or((url, ""));
    match select::outgoing_query(query, true, |_| true, |_| false) {
        Cow::Borrowed(_) => Cow::Borrowed(url),
        Cow::Owned(query) => Cow::Owned(format!("{path}{query}")),
    }
}

/// In bytes.
const TAG: usize = 32;

/// Each part has its length before it, so that no two lists of parts are one text.
fn mac(key: &CapabilityKey, bound: &Bound<'_>, payload: &[u8]) -> [u8; TAG] {
    let gateway = bound.gateway.to_be_bytes();
    let url = bare(bound.url);
    let mut text = Vec::new();
    for part in [bound.account.as_bytes(), &gateway, bound.provider.as_bytes(), url.as_bytes(), payload] {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    hmac_sha256(&key.0, &text)
}

// === impl Grant ===

impl Grant {
    fn to_json(&self) -> String {
        let (own, alias) = match &self.sent_with {
            SentWith::Own => (true, None),
            SentWith::Kept(alias) => (false, alias.as_deref()),
        };
        crate::base::json::json!([self.act.name(), self.until, self.identity, own, alias]).to_string()
    }

    fn from_json(payload: &[u8]) -> Option<Self> {
        let (act, until, identity, own, alias): (String, u64, String, bool, Option<String>) =
            serde_json::from_slice(payload).ok()?;
        let act = [Act::Upload, Act::Read].into_iter().find(|known| known.name() == act)?;
        Some(Self { act, until, identity, sent_with: if own { SentWith::Own } else { SentWith::Kept(alias) } })
    }
}

// === impl Fault ===

impl Fault {
    pub fn description(self) -> &'static str {
        match self {
            Self::Foreign => {
                "The cf-aig-capability in the address is not one that Tollgate gave out for this gateway, provider, path and query. \
                 Use the address unchanged, as the answer before gave it, or send a Tollgate token that may run."
            }
            Self::Expired => {
                "The cf-aig-capability in the address has expired after a day. Begin anew, or send a Tollgate token that may run."
            }
            Self::Method => {
                "The cf-aig-capability in the address does not go with this method: that of an upload takes POST and PUT, any other \
                 GET and HEAD."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::mask;
    use crate::providers::model;
    use proptest::prelude::*;

    const KEY: CapabilityKey = CapabilityKey([7; 32]);

    const BOUND: Bound<'static> = Bound {
        account: "acct",
        gateway: 5,
        provider: "google-ai-studio",
        url: "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=A&upload_protocol=resumable",
    };

    fn grant() -> Grant {
        let sent_with = SentWith::Kept(Some("team".to_owned()));
        Grant { act: Act::Upload, identity: "01TOKEN".to_owned(), sent_with, until: 1_000 }
    }

    #[test]
    fn it_grants_what_it_was_given_out_for_as_often_as_it_comes() {
        for grant in [
            grant(),
            Grant { sent_with: SentWith::Own, identity: "admin".to_owned(), ..grant() },
            Grant { sent_with: SentWith::Kept(None), ..grant() },
        ] {
            let text = issue(&KEY, &BOUND, &grant);
            for method in ["POST", "PUT", "POST"] {
                assert_eq!(read(&KEY, &text, &BOUND, method, 999), Ok(grant.clone()));
            }
        }
        let reading = Grant { act: Act::Read, ..grant() };
        assert_eq!(read(&KEY, &issue(&KEY, &BOUND, &reading), &BOUND, "GET", 0), Ok(reading));
    }

    #[test]
    fn it_is_for_nothing_else() {
        let text = issue(&KEY, &BOUND, &grant());
        for (other, what) in [
            (Bound { account: "acct2", ..BOUND }, "another account"),
            (Bound { gateway: 6, ..BOUND }, "another gateway"),
            (Bound { provider: "openai", ..BOUND }, "another provider"),
            (
                Bound {
                    url: "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=B&upload_protocol=resumable",
                    ..BOUND
                },
                "another upload",
            ),
            (
                Bound { url: "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent", ..BOUND },
                "another path",
            ),
            (
                Bound {
                    url: "https://elsewhere.example/upload/v1beta/files?upload_id=A&upload_protocol=resumable",
                    ..BOUND
                },
                "another host",
            ),
            (
                Bound {
                    url: "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=A&upload_protocol=resumable&x=1",
                    ..BOUND
                },
                "a longer query",
            ),
            (Bound { account: "acc", ..BOUND }, "part of the account"),
        ] {
            assert_eq!(read(&KEY, &text, &other, "POST", 0), Err(Fault::Foreign), "{what}");
        }
        assert_eq!(read(&CapabilityKey([8; 32]), &text, &BOUND, "POST", 0), Err(Fault::Foreign));
        assert_eq!(read(&KEY, &text, &BOUND, "POST", 1_000), Err(Fault::Expired));
        for method in ["GET", "DELETE", "PATCH", "HEAD"] {
            assert_eq!(read(&KEY, &text, &BOUND, method, 0), Err(Fault::Method));
        }
        let reading = issue(&KEY, &BOUND, &Grant { act: Act::Read, ..grant() });
        assert_eq!(read(&KEY, &reading, &BOUND, "POST", 0), Err(Fault::Method));
    }

    #[test]
    fn a_key_beside_it_does_not_change_what_it_is_for() {
        let text = issue(&KEY, &BOUND, &grant());
        let with_key = format!("{}&key=AIzaSomething", BOUND.url);
        assert!(read(&KEY, &text, &Bound { url: &with_key, ..BOUND }, "POST", 0).is_ok());
        let before = BOUND.url.replace("?", "?key=tgt_x&");
        assert!(read(&KEY, &text, &Bound { url: &before, ..BOUND }, "POST", 0).is_ok());
    }

    #[test]
    fn every_change_of_it_is_noticed() {
        let text = issue(&KEY, &BOUND, &grant());
        for at in 4..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            if other != text {
                assert!(read(&KEY, &other, &BOUND, "POST", 0).is_err(), "{at}");
            }
        }
        for other in ["", "tgt_", "x", text.get(..60).unwrap(), text.get(4..).unwrap(), &format!("{text}A")] {
            assert_eq!(read(&KEY, other, &BOUND, "POST", 0), Err(Fault::Foreign), "{other}");
        }
    }

    #[test]
    fn it_goes_no_further_than_here() {
        let text = issue(&KEY, &BOUND, &grant());
        for (query, wanted) in [
            (format!("?upload_id=A&{PARAMETER}={text}&x=1"), "?upload_id=A&x=1"),
            (format!("?{PARAMETER}={text}"), ""),
            (format!("?cf%2Daig-Capability={text}&a=b&{PARAMETER}=other"), "?a=b"),
        ] {
            let (kept, found) = taken(&query);
            assert_eq!((&*kept, found.as_deref()), (wanted, Some(text.as_str())), "{query}");
        }
        for query in ["", "?a=b&c", "?capability=x&cf-aig-capability-x=1"] {
            assert_eq!(taken(query), (Cow::Borrowed(query), None));
        }
        // Where it should not be, it is masked as tokens are, and kept from providers as they are.
        let admin = presented::admin_digest(Some("f3a9c1d27b604e8895aa01bc")).unwrap();
        assert!(presented::holds_token(&format!("x={text}"), &admin));
        assert!(!mask::line(&format!("at /upload?x={text} it")).contains(text.get(8..40).unwrap()));
        assert!(
            !model::stored_path("upload", &format!("?cf-aig-capability={text}")).contains(text.get(8..40).unwrap())
        );
    }

    proptest! {
        #[test]
        fn anything_is_read_without_harm(text in "(tgt_)?[A-Za-z0-9_-]{0,80}", query in "\\PC{0,60}") {
            prop_assert!(read(&KEY, &text, &BOUND, "POST", 0).is_err());
            let _ = (taken(&query), bare(&query));
        }
    }
}
