//! Who is asking: the operator's admin token and the tokens it made, wherever clients are able to put them.

use crate::headers::Headers;
use crate::id::MarkKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 of a token. Tokens themselves are not kept.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

/// The headers a client can bring our token in. Vendor SDKs have no setting for `cf-aig-authorization`, but all of
/// them send an API key.
const TOKEN_HEADERS: &[&str] =
    &["cf-aig-authorization", "authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key"];

/// Browsers cannot set headers on a WebSocket; the token comes as a subprotocol `cf-aig-authorization.<token>`.
const TOKEN_PROTOCOL: &str = "cf-aig-authorization.";

/// How the tokens begin that the control plane makes: nothing else is looked up in the database, and nothing that looks
/// like one is ever sent to a provider.
const TOKEN_PREFIX: &str = "tgt_";

const MIN_TOKEN_LENGTH: usize = 16;

/// Values from tutorials and examples, which whoever scans for open gateways tries first.
const WELL_KNOWN: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "admin",
    "password",
    "secret",
    "default",
    "example",
    "test",
    "token",
    "your-",
    "your_",
    "sk-1234",
    "tollgate",
    "letmein",
    "qwerty",
    "0123456789",
    "1234567890",
    "abcdefgh",
];

/// The identity of whoever has the admin's token. No token has this id.
pub const ADMIN: &str = "admin";

/// What the presented headers prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    pub is_admin: bool,
    /// True once it is known that the caller may use the gateway.
    pub let_in: bool,
    /// Who the caller proved to be and was let in as: the id of its token, [`ADMIN`], or nothing.
    pub identity: String,
    /// A token that may be one of ours.
    pub token: Option<String>,
    /// Headers that hold our token; they must never reach a provider.
    pub carriers: Vec<&'static str>,
}

/// Checks that a token is fit to guard a gateway; otherwise says what is wrong with it.
pub fn admin_digest(token: Option<&str>) -> Result<TokenDigest, String> {
    const HOW: &str = "Set a long random one with `wrangler secret put ADMIN_TOKEN`, or in .dev.vars for local use.";
    let token = token.map(str::trim).filter(|token| !token.is_empty());
    let Some(token) = token else {
        return Err(format!("ADMIN_TOKEN is not set. {HOW}"));
    };
    if token.len() < MIN_TOKEN_LENGTH {
        return Err(format!("ADMIN_TOKEN is shorter than {MIN_TOKEN_LENGTH} characters. {HOW}"));
    }
    if is_well_known(token) {
        return Err(format!("ADMIN_TOKEN is a well-known example. {HOW}"));
    }
    Ok(TokenDigest::of(token))
}

/// True for tokens made of example words or of hardly any different characters.
fn is_well_known(token: &str) -> bool {
    let lower = token.to_ascii_lowercase();
    let mut left = lower.clone();
    for word in WELL_KNOWN {
        left = left.replace(word, "");
    }
    let distinct = lower.bytes().collect::<std::collections::BTreeSet<_>>().len();
    distinct < 6 || left.bytes().filter(u8::is_ascii_alphanumeric).count() < MIN_TOKEN_LENGTH / 2
}

/// Looks for our tokens in every place a client may put them. The first of them counts.
pub fn presented(headers: &Headers, admin: &TokenDigest) -> Presented {
    let mut found = Presented::default();
    for name in TOKEN_HEADERS {
        if headers.get(name).is_some_and(|value| found.takes(bare(value), admin)) {
            found.carriers.push(name);
        }
    }
    let protocols = headers.get("sec-websocket-protocol").unwrap_or("");
    for token in protocols.split(',').filter_map(|entry| entry.trim().strip_prefix(TOKEN_PROTOCOL)) {
        found.takes(token, admin);
    }
    found
}

/// Whether a page on another site wants to open a WebSocket: browsers let it, and say whose it is. A gateway that asks for no
/// token would answer whatever the page asks, on behalf of whoever looks at it.
pub fn is_of_another_site(headers: &Headers) -> bool {
    let is_socket = headers.get("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    let Some(origin) = headers.get("origin").filter(|_| is_socket) else { return false };
    let bare = |host: &str, port: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    let host = headers.get("host").unwrap_or("");
    match origin.trim().split_once("://") {
        Some((scheme, theirs)) => {
            let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
            host.is_empty() || bare(theirs, port) != bare(host, port)
        }
        // Such as `null`, of a page in a sandbox.
        None => true,
    }
}

/// The control plane takes a bearer token, also in the header that an application has it in for the data plane, or
/// Cloudflare's older pair of e-mail address and key.
pub fn control(headers: &Headers, admin: &TokenDigest) -> Presented {
    let mut found = Presented::default();
    if let Some(value) = headers.get("authorization").filter(|value| has_scheme(value)) {
        found.takes(bare(value), admin);
    } else if let Some(value) = headers.get("cf-aig-authorization") {
        found.takes(bare(value), admin);
    } else if let (Some(_), Some(key)) = (headers.get("x-auth-email"), headers.get("x-auth-key")) {
        found.takes(key, admin);
    }
    found
}

/// A new token.
pub fn token(entropy: &[u8; 32]) -> String {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(entropy))
}

/// What is stored of a token: its SHA-256 in hexadecimal. A token has 256 random bits, so nobody can guess their way
/// from the one to the other.
pub fn digest_text(token: &str) -> String {
    TokenDigest::of(token).0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text is the admin token, or looks like one of those that the control plane makes.
pub fn is_ours(text: &str, admin: &TokenDigest) -> bool {
    text.starts_with(TOKEN_PREFIX) || admin.matches(text)
}

/// The subprotocols that go on to the provider: all but the one that carries our token.
pub fn provider_protocols(protocols: &str) -> String {
    let kept: Vec<&str> = protocols
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty() && !entry.starts_with(TOKEN_PROTOCOL))
        .collect();
    kept.join(", ")
}

/// The subprotocol that a WebSocket of our own answers with: one of those that were offered, and the one that carries our
/// token only where there is no other.
pub fn answered_protocol(protocols: &str) -> Option<&str> {
    let mut offered = protocols.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    offered.clone().find(|entry| !entry.starts_with(TOKEN_PROTOCOL)).or_else(|| offered.next())
}

fn has_scheme(value: &str) -> bool {
    value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
}

/// The token of `Bearer <token>` or another scheme, or of a bare token.
pub fn bare(value: &str) -> &str {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if ["bearer", "token", "key"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            token.trim()
        }
        _ => value.trim(),
    }
}

// === impl Presented ===

impl Presented {
    /// The id of the token that let the caller in, if it was not the admin's.
    pub fn token_id(&self) -> Option<&str> {
        Some(self.identity.as_str()).filter(|identity| !identity.is_empty() && *identity != ADMIN)
    }

    /// Takes note of a token that is ours, or looks like it.
    fn takes(&mut self, token: &str, admin: &TokenDigest) -> bool {
        if admin.matches(token) {
            self.is_admin = true;
            return true;
        }
        if token.starts_with(TOKEN_PREFIX) {
            self.token.get_or_insert_with(|| token.to_owned());
            return true;
        }
        false
    }
}

// === impl TokenDigest ===

impl TokenDigest {
    /// What log ids are marked with. It changes with the admin token, and with it ends only that feedback is accepted for
    /// logs that are still being written.
    pub fn mark_key(&self) -> MarkKey {
        MarkKey(Sha256::new().chain_update(self.0).chain_update(b"log ids").finalize().into())
    }

    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    fn matches(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "f3a9c1d27b604e8895aa01bc";

    fn presents(name: &str, value: &str) -> Presented {
        presented(&Headers(vec![(name.to_owned(), value.to_owned())]), &admin_digest(Some(TOKEN)).unwrap())
    }

    #[test]
    fn weak_tokens_are_refused_with_the_reason() {
        for (token, reason) in [
            (None, "not set"),
            (Some("   "), "not set"),
            (Some("f3a9c1d27b604e8"), "shorter"),
            (Some("changeme-changeme"), "well-known"),
            (Some("0000000000000000"), "well-known"),
            (Some("your-admin-token-here"), "well-known"),
            (Some("sk-1234567890abcdefgh"), "well-known"),
        ] {
            assert!(admin_digest(token).err().unwrap().contains(reason), "{token:?}");
        }
        assert!(admin_digest(Some(TOKEN)).is_ok());
    }

    #[test]
    fn the_token_is_found_wherever_a_client_can_put_it() {
        for name in TOKEN_HEADERS {
            for value in [TOKEN.to_owned(), format!("Bearer {TOKEN}"), format!("bearer  {TOKEN} ")] {
                assert_eq!(
                    presents(name, &value),
                    Presented { is_admin: true, carriers: vec![name], ..Presented::default() }
                );
            }
        }
        assert!(presents("sec-websocket-protocol", &format!("realtime, cf-aig-authorization.{TOKEN}")).is_admin);
    }

    #[test]
    fn tokens_that_share_a_beginning_are_different() {
        for value in [TOKEN.strip_suffix("01bc").unwrap(), &format!("{TOKEN}x"), "", "Bearer", "Bearer ", "Bearer é"] {
            assert!(!presents("authorization", value).is_admin, "{value}");
        }
    }

    #[test]
    fn the_control_plane_takes_bearer_or_email_and_key() {
        let admin = admin_digest(Some(TOKEN)).unwrap();
        let check = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            control(&Headers(pairs), &admin).is_admin
        };
        assert!(check(&[("authorization", &format!("Bearer {TOKEN}"))]));
        assert!(check(&[("x-auth-email", "a@b.c"), ("x-auth-key", TOKEN)]));
        assert!(!check(&[("x-auth-key", TOKEN)]));
        assert!(!check(&[("x-api-key", TOKEN)]));
        assert!(!check(&[("authorization", TOKEN)]));
    }

    #[test]
    fn whatever_looks_like_a_token_of_ours_stays_here() {
        let value = token(&[7; 32]);
        assert_eq!((value.len(), digest_text(&value).len()), (47, 64));
        for name in TOKEN_HEADERS {
            let found = presents(name, &format!("Bearer {value}"));
            assert_eq!(found, Presented { token: Some(value.clone()), carriers: vec![name], ..Presented::default() });
        }
        assert_eq!(presents("authorization", "Bearer sk-proj-1").carriers, Vec::<&str>::new());
    }

    #[test]
    fn a_browser_gets_back_one_of_the_subprotocols_it_offered() {
        for (offered, wanted) in [
            ("cf-aig-authorization.abc, json", Some("json")),
            ("json,cf-aig-authorization.abc", Some("json")),
            ("cf-aig-authorization.abc", Some("cf-aig-authorization.abc")),
            (" , ", None),
        ] {
            assert_eq!(answered_protocol(offered), wanted, "{offered}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_known_by_their_origin() {
        let foreign = |origin: Option<&str>, host: &str, upgrade: &str| {
            let given = [("upgrade", Some(upgrade)), ("host", Some(host)), ("origin", origin)];
            let headers = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
            is_of_another_site(&Headers(headers.collect()))
        };
        for own in ["https://gate.example", "http://gate.example", "https://GATE.example:443"] {
            assert!(!foreign(Some(own), "gate.example", "WebSocket"), "{own}");
        }
        assert!(!foreign(Some("http://127.0.0.1:8787"), "127.0.0.1:8787", "websocket"));
        assert!(!foreign(None, "gate.example", "websocket"));
        for other in [
            "https://evil.example",
            "https://gate.example.evil",
            "http://gate.example:8080",
            "null",
            "",
            "gate.example",
        ] {
            assert!(foreign(Some(other), "gate.example", "websocket"), "{other}");
            // What is no WebSocket, browsers protect by themselves.
            assert!(!foreign(Some(other), "gate.example", "h2c"), "{other}");
        }
    }

    #[test]
    fn our_subprotocol_is_not_passed_on() {
        assert_eq!(
            provider_protocols("realtime, cf-aig-authorization.abc, openai-beta.v1"),
            "realtime, openai-beta.v1"
        );
    }
}
