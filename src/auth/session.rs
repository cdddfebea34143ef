//! The dashboard's session: a signed cookie, the sign-in link, and what a browser has to say of a request that changes
//! something.
//!
//! A cookie holds no token. It names the digest of the token that signed in, so that a session ends when that token is
//! revoked, rolled or expires.

use crate::http::headers::Headers;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// How long a session lasts without a request, in milliseconds.
pub const IDLE_MS: u64 = 8 * 60 * 60 * 1_000;

/// How long a session lasts at most.
pub const MOST_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// A session that was renewed a shorter time ago keeps its cookie.
const RENEW_MS: u64 = 10 * 60 * 1_000;

/// No sign-in link may be valid for longer than this.
pub const LINK_MS: u64 = 10 * 60 * 1_000;

/// So many sign-ins that fail are answered, from one address within a minute.
pub const ATTEMPTS: u32 = 10;

/// Browsers store a cookie of this name only over HTTPS, for this host alone, and with `Path=/`.
const SECURE_NAME: &str = "__Host-tollgate";

/// Over plain HTTP on this machine browsers refuse the name above.
const LOCAL_NAME: &str = "tollgate";

const RANDOM: usize = 32;

/// What cookies and links are signed with. It changes with the admin token.
#[derive(Clone, Copy)]
pub struct SessionKey(pub [u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Admin,
    /// The digest of a token, as the database has it.
    Token(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Random; what is remembered of a session that was ended.
    pub id: String,
    pub holder: Holder,
    pub begun: u64,
    pub until: u64,
}

/// Where the browser says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Scheme and host, as the request's URL has them.
    pub origin: &'a str,
}

// === impl Session ===

impl Session {
    pub fn new(holder: Holder, entropy: &[u8; RANDOM], now_ms: u64) -> Self {
        Self { id: URL_SAFE_NO_PAD.encode(entropy), holder, begun: now_ms, until: now_ms + IDLE_MS }
    }

    /// The value of the cookie.
    pub fn sealed(&self, key: &SessionKey) -> String {
        let (kind, digest) = match &self.holder {
            Holder::Admin => ("admin", ""),
            Holder::Token(digest) => ("token", digest.as_str()),
        };
        let text = format!("{kind}.{digest}.{}.{}.{}", self.begun, self.until, self.id);
        let mac = key.mac("session", &text);
        format!("{text}.{mac}")
    }

    /// The session of a cookie's value, if we made it and it has not ended.
    pub fn open(value: &str, key: &SessionKey, now_ms: u64) -> Option<Self> {
        let (text, mac) = value.rsplit_once('.')?;
        key.proves("session", text, mac)?;
        let mut parts = text.split('.');
        let holder = match (parts.next()?, parts.next()?) {
            ("admin", _) => Holder::Admin,
            (_, digest) => Holder::Token(digest.to_owned()),
        };
        let (begun, until) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let session = Self { id: parts.next()?.to_owned(), holder, begun, until };
        (now_ms < session.until && now_ms < session.begun.saturating_add(MOST_MS)).then_some(session)
    }

    /// The same session with a later end, where that is worth a new cookie.
    pub fn renewed(&self, now_ms: u64) -> Option<Self> {
        let until = (now_ms + IDLE_MS).min(self.begun.saturating_add(MOST_MS));
        (until >= self.until.saturating_add(RENEW_MS)).then(|| Self { until, ..self.clone() })
    }

    /// The header that gives the browser this session.
    pub fn set_cookie(&self, key: &SessionKey, place: Place<'_>) -> String {
        format!("{}={}; {}; Max-Age={}", place.cookie_name(), self.sealed(key), place.attributes(), IDLE_MS / 1_000)
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    pub fn of_url(url: &'a str) -> Self {
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url.get(host..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| host + at);
        Self { origin: url.get(..end).unwrap_or(url) }
    }

    /// Whether the address is one of this machine's own.
    pub fn is_loopback(&self) -> bool {
        let host = self.origin.split_once("://").map_or(self.origin, |(_, host)| host).to_ascii_lowercase();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(""),
            None => host.split(':').next().unwrap_or(""),
        };
        matches!(name, "localhost" | "127.0.0.1" | "::1")
    }

    fn is_local(&self) -> bool {
        self.is_loopback() && self.origin.starts_with("http://")
    }

    fn cookie_name(&self) -> &'static str {
        if self.is_local() { LOCAL_NAME } else { SECURE_NAME }
    }

    fn attributes(&self) -> &'static str {
        if self.is_local() { "Path=/; HttpOnly; SameSite=Strict" } else { "Path=/; Secure; HttpOnly; SameSite=Strict" }
    }

    /// The header that takes the session from the browser.
    pub fn clear_cookie(&self) -> String {
        format!("{}=; {}; Max-Age=0", self.cookie_name(), self.attributes())
    }

    /// The values of the session's cookie. There may be several, where another path of the host set one as well.
    pub fn cookies<'h>(&self, headers: &'h Headers) -> Vec<&'h str> {
        let name = self.cookie_name();
        let pairs = headers.get("cookie").unwrap_or("").split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value).take(4).collect()
    }
}

/// Whether a request that a browser authenticates by itself was made by our own page. A request that only looks need not say.
pub fn is_own_request(method: &str, headers: &Headers, place: Place<'_>) -> bool {
    if matches!(method, "GET" | "HEAD") {
        return true;
    }
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => headers.get("origin").is_some_and(|origin| is_same_host(origin, headers, place)),
    }
}

/// The scheme is not compared: a proxy in front may speak HTTPS with the browser and HTTP with us.
fn is_same_host(origin: &str, headers: &Headers, place: Place<'_>) -> bool {
    let host = |text: &str| text.split_once("://").map(|(_, host)| host.to_ascii_lowercase());
    let Some(theirs) = host(origin).filter(|host| !host.is_empty()) else { return false };
    let own = headers.get("host").map(str::to_ascii_lowercase);
    own.or_else(|| host(place.origin)).is_some_and(|own| own == theirs)
}

// === impl SessionKey ===

impl SessionKey {
    pub fn of(admin_sha256: &[u8; 32]) -> Self {
        Self(Sha256::new().chain_update(admin_sha256).chain_update(b"dashboard").finalize().into())
    }

    /// What a sign-in code is remembered by once it was used, and when it ends. `None` for what is no code of ours, or too old.
    pub fn sign_in(&self, code: &str, now_ms: u64) -> Option<(String, u64)> {
        let (text, mac) = code.rsplit_once('.')?;
        self.proves("sign-in", text, mac)?;
        let (until, random) = text.split_once('.')?;
        let until: u64 = until.parse().ok()?;
        (now_ms < until && until <= now_ms + LINK_MS).then(|| (format!("code {random}"), until))
    }

    fn mac(&self, purpose: &str, text: &str) -> String {
        self.keyed(purpose, text).map_or_else(String::new, |mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn proves(&self, purpose: &str, text: &str, mac: &str) -> Option<()> {
        let given = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.keyed(purpose, text)?.verify_slice(&given).ok()
    }

    fn keyed(&self, purpose: &str, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(purpose.as_bytes());
        mac.update(b"\n");
        mac.update(text.as_bytes());
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const KEY: SessionKey = SessionKey([7; 32]);

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_cookie_is_opened_by_its_own_key_only_and_not_when_anything_in_it_changed() {
        for holder in [Holder::Admin, Holder::Token("ab".repeat(32))] {
            let session = Session::new(holder, &[3; 32], NOW);
            let sealed = session.sealed(&KEY);
            assert_eq!(Session::open(&sealed, &KEY, NOW), Some(session));
            assert_eq!(Session::open(&sealed, &SessionKey([8; 32]), NOW), None);
            for at in 0..sealed.len() {
                let mut other = sealed.clone().into_bytes();
                other[at] = if other[at] == b'1' { b'2' } else { b'1' };
                assert_eq!(Session::open(std::str::from_utf8(&other).unwrap(), &KEY, NOW), None, "{at}");
            }
        }
        for text in ["", ".", "admin", "admin....", &"x".repeat(10_000)] {
            assert_eq!(Session::open(text, &KEY, NOW), None);
        }
    }

    #[test]
    fn a_session_ends_after_eight_hours_without_a_request_and_after_seven_days() {
        let session = Session::new(Holder::Admin, &[3; 32], NOW);
        let open = |session: &Session, now| Session::open(&session.sealed(&KEY), &KEY, now).is_some();
        assert!(open(&session, NOW + IDLE_MS - 1) && !open(&session, NOW + IDLE_MS));
        assert_eq!(session.renewed(NOW + RENEW_MS - 1), None);
        let mut later = session.clone();
        let mut now = NOW;
        while let Some(next) = later.renewed(now + IDLE_MS / 2) {
            now += IDLE_MS / 2;
            later = next;
        }
        assert_eq!(later.until, NOW + MOST_MS);
        assert!(!open(&later, NOW + MOST_MS));
    }

    #[test]
    fn the_cookie_is_bound_to_the_host_but_on_this_machine() {
        let session = Session::new(Holder::Admin, &[3; 32], NOW);
        let set = |url: &str| session.set_cookie(&KEY, Place::of_url(url));
        let secure = set("https://gateway.example.com/dashboard/session");
        assert!(secure.starts_with("__Host-tollgate=admin."), "{secure}");
        assert!(secure.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=28800"), "{secure}");
        for local in ["http://127.0.0.1:8787/x", "http://localhost/", "http://[::1]:1/"] {
            let plain = set(local);
            assert!(plain.starts_with("tollgate=") && !plain.contains("Secure"), "{plain}");
        }
        for other in [
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://example.com/?http://127.0.0.1",
        ] {
            assert!(set(other).starts_with("__Host-"), "{other}");
        }
        let place = Place::of_url("https://x/");
        let both = headers(&[("cookie", "tollgate=a; __Host-tollgate=b; x=y; __Host-tollgate=c")]);
        assert_eq!(
            (place.cookies(&both), Place::of_url("http://127.0.0.1/").cookies(&both)),
            (vec!["b", "c"], vec!["a"])
        );
    }

    #[test]
    fn only_our_own_page_may_change_anything() {
        let place = Place::of_url("https://gateway.example.com/x");
        let own = |method: &str, pairs: &[(&str, &str)]| is_own_request(method, &headers(pairs), place);
        assert!(own("GET", &[("sec-fetch-site", "cross-site")]));
        assert!(own("POST", &[("sec-fetch-site", "same-origin")]));
        assert!(own("DELETE", &[("origin", "https://gateway.example.com")]));
        for wrong in [
            vec![],
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![("sec-fetch-site", "none")],
            vec![("sec-fetch-site", "cross-site"), ("origin", "https://gateway.example.com")],
            vec![("origin", "null")],
            vec![("origin", "")],
            vec![("origin", "https://evil.example")],
            vec![("origin", "https://gateway.example.com.evil.example")],
        ] {
            assert!(!own("POST", &wrong) && !own("PATCH", &wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_sign_in_code_is_good_for_minutes() {
        let code = |until: u64| {
            let text = format!("{until}.abc");
            let mac = KEY.mac("sign-in", &text);
            format!("{text}.{mac}")
        };
        let minute = 60_000;
        assert_eq!(KEY.sign_in(&code(NOW + minute), NOW), Some(("code abc".to_owned(), NOW + minute)));
        assert_eq!(KEY.sign_in(&code(NOW), NOW), None);
        assert_eq!(KEY.sign_in(&code(NOW + LINK_MS + 1), NOW), None);
        assert_eq!(KEY.sign_in(&code(NOW + minute).replace("abc", "abd"), NOW), None);
        // A session is no code, although both are signed with one key.
        assert_eq!(KEY.sign_in(&Session::new(Holder::Admin, &[1; 32], NOW).sealed(&KEY), NOW), None);
    }
}
