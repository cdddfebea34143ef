//! What a provider's answer may say to a browser. It is given out under the gateway's own origin, where it must be neither
//! a page nor a script, and where it must not change what the browser does with that origin.

use crate::http::headers::{Edits, Headers};
use std::borrow::Cow;

/// A word in the names of all cookies that are ours. A provider sets none of these, and gets none of them.
const OUR_COOKIES: &str = "tollgate";

/// What an answer gets that a browser could show or run: nothing in it runs, loads or belongs to an origin.
pub const SANDBOX: &[(&str, &str)] =
    &[("content-security-policy", "sandbox; default-src 'none'"), ("x-frame-options", "DENY")];

pub const NO_SNIFFING: (&str, &str) = ("x-content-type-options", "nosniff");

/// Headers of a provider that tell a browser what to do with a whole origin, with later requests or with a page. The origin
/// is the gateway's, and a provider has no say in it. Sorted.
const DROPPED: &[&str] = &[
    "accept-ch",
    "accept-ch-lifetime",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
    "activate-storage-access",
    "ad-auction-allowed",
    "ad-auction-only",
    "ad-auction-signals",
    "alt-svc",
    "attribution-reporting-register-os-source",
    "attribution-reporting-register-os-trigger",
    "attribution-reporting-register-source",
    "attribution-reporting-register-trigger",
    "authentication-info",
    "clear-site-data",
    "content-security-policy-report-only",
    "critical-ch",
    "cross-origin-embedder-policy",
    "cross-origin-embedder-policy-report-only",
    "cross-origin-opener-policy",
    "cross-origin-opener-policy-report-only",
    "cross-origin-resource-policy",
    "document-isolation-policy",
    "document-policy",
    "document-policy-report-only",
    "expect-ct",
    "feature-policy",
    "integrity-policy",
    "integrity-policy-report-only",
    "nel",
    "observe-browsing-topics",
    "origin-agent-cluster",
    "origin-trial",
    "p3p",
    "permissions-policy",
    "permissions-policy-report-only",
    "proxy-authenticate",
    "proxy-authentication-info",
    "public-key-pins",
    "public-key-pins-report-only",
    "referrer-policy",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "require-document-policy",
    "sec-session-challenge",
    "sec-session-registration",
    "secure-session-challenge",
    "secure-session-registration",
    "service-worker-allowed",
    "set-cookie2",
    "set-login",
    "sourcemap",
    "speculation-rules",
    "strict-transport-security",
    "supports-loading-mode",
    "timing-allow-origin",
    "use-as-dictionary",
    "www-authenticate",
    "x-dns-prefetch-control",
    "x-permitted-cross-domain-policies",
    "x-sourcemap",
    "x-xss-protection",
];

/// Headers that concern what is shown, and go where it is not to be shown.
const OF_A_PAGE: &[&str] = &["content-security-policy", "link", "x-frame-options"];

/// Types of documents that no browser runs, whatever is in them. Everything else gets the sandbox, unknown names too: it
/// costs two headers that only browsers look at.
const INERT: &[&str] = &[
    "application/grpc",
    "application/json",
    "application/json-seq",
    "application/jsonl",
    "application/msgpack",
    "application/ndjson",
    "application/octet-stream",
    "application/problem+json",
    "application/vnd.amazon.eventstream",
    "application/x-jsonlines",
    "application/x-msgpack",
    "application/x-ndjson",
    "application/x-protobuf",
    "application/zip",
    "text/csv",
    "text/event-stream",
    "text/markdown",
    "text/plain",
    "text/vtt",
];

/// Whether a request asks for something to be shown or run: a page, a frame, or a script that goes on by itself.
pub fn navigates(asked: &Headers) -> bool {
    let shown = |dest: &str| {
        matches!(dest, "document" | "iframe" | "frame" | "fencedframe" | "embed" | "object" | "serviceworker" | "xslt")
            || dest.ends_with("worker")
            || dest.ends_with("worklet")
            || dest.starts_with("script")
    };
    asked.0.iter().any(|(name, value)| match name.as_str() {
        "sec-fetch-mode" => value.split(',').any(|mode| {
            let mode = mode.trim().to_ascii_lowercase();
            mode == "navigate" || mode == "nested-navigate"
        }),
        "sec-fetch-dest" => value.split(',').any(|dest| shown(&dest.trim().to_ascii_lowercase())),
        // The script of a service worker is fetched with this in every browser.
        "service-worker" | "sec-fetch-user" => true,
        _ => false,
    })
}

/// Whether a browser could show an answer of this type as a document, or run it.
pub fn is_active(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    // Of several types a browser takes the last that it can read.
    if content_type.contains(',') {
        return true;
    }
    let essence = content_type.split(';').next().unwrap_or("").trim_matches([' ', '\t']).to_ascii_lowercase();
    let Some((kind, name)) = essence.split_once('/') else { return true };
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    if !token(kind) || !token(name) || name.ends_with("+xml") {
        return true;
    }
    match kind {
        "audio" | "video" | "font" => false,
        "image" => name.starts_with("svg"),
        "application" if name.ends_with("+json") => false,
        _ => INERT.binary_search(&essence.as_str()).is_err(),
    }
}

/// Adds to the changes of a provider's answer what makes it harmless under the gateway's origin. The status and the body
/// stay what they are. `theirs` has several cookies on a line each.
pub fn guard(theirs: &Headers, navigates: bool, with_cookies: bool, edits: &mut Edits<'_>) {
    let is_active = navigates || is_active(theirs.get("content-type"));
    for (name, value) in &theirs.0 {
        let name = name.as_str();
        let of_a_page = || OF_A_PAGE.iter().find(|known| is_active && **known == name);
        if let Some(dropped) = DROPPED.binary_search(&name).ok().and_then(|at| DROPPED.get(at)).or_else(of_a_page) {
            edits.remove(*dropped);
        } else if name == "set-cookie" {
            match kept_cookies(value).filter(|_| with_cookies) {
                None => edits.remove("set-cookie"),
                Some(kept) if kept == *value => {}
                Some(kept) => edits.set("set-cookie", kept.into_owned()),
            }
        }
    }
    edits.set(NO_SNIFFING.0, NO_SNIFFING.1);
    if is_active {
        for (name, value) in SANDBOX {
            edits.set(*name, *value);
        }
    }
}

/// The headers of every answer of our own: what it says has come from outside, and none is a page.
pub fn own() -> impl Iterator<Item = (&'static str, &'static str)> {
    [NO_SNIFFING].into_iter().chain(SANDBOX.iter().copied())
}

/// The cookies that a provider may set, a line each; `None` without any.
fn kept_cookies(lines: &str) -> Option<Cow<'_, str>> {
    if !lines.split('\n').any(is_our_cookie) {
        return Some(Cow::Borrowed(lines));
    }
    let kept: Vec<&str> = lines.split('\n').filter(|line| !is_our_cookie(line)).collect();
    (!kept.is_empty()).then(|| kept.join("\n").into())
}

/// The cookies of a client that a provider gets, where the gateway lets cookies through; `None` without any.
pub fn sent_cookies(cookies: &str, is_credential: impl Fn(&str) -> bool) -> Option<Cow<'_, str>> {
    let stays = |pair: &str| is_our_cookie(pair) || is_credential(pair);
    if !cookies.split(';').any(stays) {
        return Some(Cow::Borrowed(cookies));
    }
    let kept: Vec<&str> = cookies.split(';').map(str::trim).filter(|pair| !stays(pair)).collect();
    (!kept.is_empty()).then(|| kept.join("; ").into())
}

/// Whether a cookie has a name of ours, with or without a prefix such as `__Host-`. One without a name counts by its value,
/// which browsers send in the name's place.
fn is_our_cookie(cookie: &str) -> bool {
    let pair = cookie.split(';').next().unwrap_or("").trim_matches(|char: char| char == '=' || char.is_whitespace());
    let name = pair.split('=').next().unwrap_or("").to_ascii_lowercase();
    name.contains(OUR_COOKIES)
}

#[cfg(test)]
mod tests;
