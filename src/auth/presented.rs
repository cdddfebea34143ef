//! Who is asking: the operator's admin token and the tokens it made, wherever clients are able to put them.

use crate::auth::session::SessionKey;
use crate::auth::terms::Terms;
use crate::base::hex::hex;
use crate::base::id::MarkKey;
use crate::base::mask::{self, bare};
use crate::http::headers::{self, Headers};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::rc::Rc;
use subtle::ConstantTimeEq;

/// The SHA-256 of a token. Tokens themselves are not kept.
#[derive(Clone, Copy)]
pub struct TokenDigest {
    sha256: [u8; 32],
    /// Tells cheaply where in a text the token may be.
    print: Fingerprint,
}

/// A number that a text's parts of one length are looked through for, which changes with every step by one byte.
#[derive(Clone, Copy)]
struct Fingerprint {
    length: usize,
    sum: u64,
    /// What the first byte of a part is multiplied by.
    first: u64,
}

/// The header that is for our token alone.
const OWN_HEADER: &str = "cf-aig-authorization";

/// The headers a client can bring our token in. Vendor SDKs have no setting for `cf-aig-authorization`, but all of
/// them send an API key.
const TOKEN_HEADERS: &[&str] = &[OWN_HEADER, "authorization", "x-api-key", "api-key", "x-goog-api-key", "xi-api-key"];

/// Browsers cannot set headers on a WebSocket; the token comes as a subprotocol `cf-aig-authorization.<token>`.
const TOKEN_PROTOCOL: &str = "cf-aig-authorization.";

/// Where OpenAI's clients put their API key in a browser, which for Tollgate is a token: `openai-insecure-api-key.<token>`.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

/// How the tokens begin that the control plane makes: nothing else is looked up in the database, and nothing that looks
/// like one is ever sent to a provider.
pub const TOKEN_PREFIX: &str = "tgt_";

const MIN_TOKEN_LENGTH: usize = 16;

/// How many characters of a token follow its beginning where it may as well be another word, such as `tgt_lang`. Real ones
/// have 43.
const MIN_TOKEN_REST: usize = 20;

/// How often a text may have been percent-encoded.
const MAX_ENCODINGS: usize = 3;

/// Values from tutorials and examples, which scanners for open gateways try first.
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

/// The identity of callers who have the admin's token. No token has this id.
pub const ADMIN: &str = "admin";

/// What it is signed with. It changes with the admin token.
#[derive(Clone, Copy)]
pub struct CapabilityKey(pub [u8; 32]);

/// What the presented headers prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    pub is_admin: bool,
    /// True once it is known that the caller may use the gateway.
    pub let_in: bool,
    /// Who the caller proved to be and was let in as: the id of its token, [`ADMIN`], or nothing.
    pub identity: Rc<str>,
    /// What its token may be used for, if it is limited.
    pub terms: Option<Rc<Terms>>,
    /// A token that may be one of ours.
    pub token: Option<String>,
    /// True where the request goes on with what was begun with the caller's own key, and needs none any more.
    pub goes_on_with_own: bool,
    /// True where something stands in a token's place that is none of ours. It needs no look to be wrong.
    pub is_wrong: bool,
    /// Headers that hold our token; they must never reach a provider.
    pub carriers: Vec<Cow<'static, str>>,
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
    // A bit for each byte: a set of them would bring a sort of its own.
    let (mut low, mut high) = (0_u128, 0_u128);
    for byte in lower.bytes() {
        *(if byte < 128 { &mut low } else { &mut high }) |= 1 << (byte % 128);
    }
    let distinct = low.count_ones() + high.count_ones();
    distinct < 6 || left.bytes().filter(u8::is_ascii_alphanumeric).count() < MIN_TOKEN_LENGTH / 2
}

/// Looks for our tokens in every place a client may put them. The first of them counts.
pub fn presented(headers: &Headers, admin: &TokenDigest) -> Presented {
    let mut found = Presented::default();
    for name in TOKEN_HEADERS {
        if headers.get(name).is_some_and(|value| found.takes(bare(value), admin)) {
            found.carriers.push(Cow::Borrowed(name));
        }
    }
    // The other headers may hold a provider's key.
    found.is_wrong = headers.get(OWN_HEADER).is_some() && !found.carries(OWN_HEADER);
    let protocols = headers.get("sec-websocket-protocol").unwrap_or("");
    // The place for our token alone comes first; the other one may hold a provider's key.
    for place in [TOKEN_PROTOCOL, KEY_PROTOCOL] {
        for token in protocols.split(',').filter_map(|entry| entry.trim().strip_prefix(place)) {
            found.takes(token, admin);
        }
    }
    // What did not prove anything, because it is in the wrong place or oddly spelled, is a secret of ours all the same.
    for (name, value) in &headers.0 {
        let is_other = name != "sec-websocket-protocol" && !headers::is_for_us(name) && !found.carries(name);
        if is_other && holds_token(value, admin) {
            found.carriers.push(Cow::Owned(name.clone()));
        }
    }
    found
}

/// Whether a page on another site wants to open a WebSocket: browsers let it, and say whose it is. A gateway that asks for no
/// token would answer whatever the page asks, on behalf of the page's reader.
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
    let key = || headers.get("x-auth-key").filter(|_| headers.get("x-auth-email").is_some());
    let bearer = headers.get("authorization").filter(|value| has_scheme(value)).or_else(|| headers.get(OWN_HEADER));
    let mut found = Presented::default();
    if let Some(token) = bearer.map(bare).or_else(key) {
        found.is_wrong = !found.takes(token, admin);
    }
    found
}

/// A new token.
pub fn token(entropy: &[u8; 32]) -> String {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(entropy))
}

/// What is stored of a token: its SHA-256 in hexadecimal. A token has 256 random bits, so an attacker cannot guess the way
/// from the one to the other.
pub fn digest_text(token: &str) -> String {
    hex(&TokenDigest::of(token).sha256)
}

/// Whether a credential is the admin token, or looks like one of those that the control plane makes.
pub fn is_ours(credential: &str, admin: &TokenDigest) -> bool {
    credential.starts_with(TOKEN_PREFIX) || holds_token(credential, admin)
}

/// Whether the admin token, or what looks like one of those that the control plane makes, is anywhere in a text, also in
/// percent-encoding or in the base64 of the Basic scheme.
pub fn holds_token(text: &str, admin: &TokenDigest) -> bool {
    let is_plain = |text: &[u8]| looks_like_ours(text) || admin.is_in(text);
    if is_plain(text.as_bytes()) || mask::basic(text).is_some_and(|pair| is_plain(pair.as_bytes())) {
        return true;
    }
    let mut decoded = Cow::Borrowed(text);
    for _ in 0..MAX_ENCODINGS {
        if !decoded.contains('%') {
            return false;
        }
        decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned().into();
        if is_plain(decoded.as_bytes()) {
            return true;
        }
    }
    false
}

fn looks_like_ours(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, TOKEN_PREFIX.as_bytes()).any(|at| {
        let rest = text.get(at + TOKEN_PREFIX.len()..).unwrap_or_default();
        let is_token = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        rest.iter().take_while(is_token).take(MIN_TOKEN_REST).count() == MIN_TOKEN_REST
    })
}

/// The subprotocols that go on to the provider: all but those that carry a token of ours.
pub fn provider_protocols(protocols: &str, ours: impl Fn(&str) -> bool) -> String {
    let kept: Vec<&str> = protocols
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty() && !entry.starts_with(TOKEN_PROTOCOL) && !ours(entry))
        .collect();
    kept.join(", ")
}

/// The subprotocol that a WebSocket of our own answers with: one of those that were offered, and one that carries a token or a
/// key only where there is no other.
pub fn answered_protocol(protocols: &str) -> Option<&str> {
    let mut offered = protocols.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let is_credential = |entry: &&str| entry.starts_with(TOKEN_PROTOCOL) || entry.starts_with(KEY_PROTOCOL);
    offered.clone().find(|entry| !is_credential(entry)).or_else(|| offered.next())
}

fn has_scheme(value: &str) -> bool {
    value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
}

// === impl Presented ===

impl Presented {
    /// The id of the token that let the caller in, if it was not the admin's.
    pub fn token_id(&self) -> Option<&str> {
        Some(&*self.identity).filter(|identity| !identity.is_empty() && *identity != ADMIN)
    }

    /// Whether a client that is led to another host takes our token along. Of what has a token in it, clients leave these
    /// headers out there.
    pub fn travels(&self) -> bool {
        self.carriers.iter().any(|carrier| !matches!(&**carrier, "authorization" | "cookie" | "proxy-authorization"))
    }

    /// Whether a header has a token of ours in it.
    pub fn carries(&self, name: &str) -> bool {
        self.carriers.iter().any(|carrier| carrier == name)
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
        MarkKey(Sha256::new().chain_update(self.sha256).chain_update(b"log ids").finalize().into())
    }

    /// What capabilities are signed with. With the admin token all of them end.
    pub fn capability_key(&self) -> CapabilityKey {
        CapabilityKey(Sha256::new().chain_update(self.sha256).chain_update(b"capabilities").finalize().into())
    }

    /// What the dashboard's sessions are signed with. With the admin token all of them end.
    pub fn session_key(&self) -> SessionKey {
        SessionKey::of(&self.sha256)
    }

    fn of(token: &str) -> Self {
        Self { sha256: Sha256::digest(token.as_bytes()).into(), print: Fingerprint::of(token.as_bytes()) }
    }

    fn matches(&self, token: &str) -> bool {
        self.proves(token.as_bytes())
    }

    fn proves(&self, token: &[u8]) -> bool {
        let sha256: [u8; 32] = Sha256::digest(token).into();
        self.sha256.ct_eq(&sha256).into()
    }

    /// Whether the token is anywhere in a text.
    fn is_in(&self, text: &[u8]) -> bool {
        self.print.places(text).any(|part| self.proves(part))
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// An odd number without small factors, so that every bit of the sum depends on every byte.
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

    fn of(text: &[u8]) -> Self {
        let first = text.iter().skip(1).fold(1_u64, |power, _| power.wrapping_mul(Self::BASE));
        Self { length: text.len(), sum: Self::sum(text), first }
    }

    fn sum(text: &[u8]) -> u64 {
        text.iter().fold(0, |sum, byte| Self::then(sum, *byte))
    }

    fn then(sum: u64, byte: u8) -> u64 {
        sum.wrapping_mul(Self::BASE).wrapping_add(u64::from(byte) + 1)
    }

    /// The parts of a text that have this fingerprint. Hardly any other has.
    fn places<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let begun = text.get(..self.length).map(Self::sum);
        let gone = text.iter().map(Some).chain([None]);
        let next = text.get(self.length..).unwrap_or_default().iter();
        let steps = next.map(Some).chain([None]).zip(gone);
        let mut sum = begun.unwrap_or_default();
        steps.take(if begun.is_some() { usize::MAX } else { 0 }).enumerate().filter_map(move |(start, (next, gone))| {
            let part = (sum == self.sum).then(|| text.get(start..start + self.length)).flatten();
            if let (Some(next), Some(gone)) = (next, gone) {
                sum = Self::then(sum.wrapping_sub((u64::from(*gone) + 1).wrapping_mul(self.first)), *next);
            }
            part
        })
    }
}

#[cfg(test)]
mod tests;
