//! Keys and tokens that say by their first letters what they are. The prefixes are those that the services document.

use crate::dlp::entry::Entry;
use crate::dlp::text::{Hit, Scan};

/// Which characters a key goes on with.
#[derive(Clone, Copy)]
enum Alphabet {
    /// Letters, digits, `_` and `-`.
    Url,
    Hex,
    Alnum,
    /// Capital letters and digits.
    Capitals,
    /// `Url` and `.`.
    Dotted,
    /// `Url`, `/`, `+`, `=` and `.`.
    Base64,
}

struct Key {
    prefix: &'static [u8],
    entry: Entry,
    alphabet: Alphabet,
    /// How many characters come behind the prefix.
    least: usize,
    most: usize,
}

const fn key(prefix: &'static [u8], entry: Entry, alphabet: Alphabet, least: usize, most: usize) -> Key {
    Key { prefix, entry, alphabet, least, most }
}

use Alphabet::*;
use Entry::{CloudKey, PrivateKey, ProviderKey, ServiceToken};

/// The longest key.
const MOST: usize = 400;

/// The longest part of a JSON web token.
const MOST_JWT: usize = 16_384;

/// Ordered by first letter; within it a longer prefix comes first.
const KEYS: &[Key] = &[
    key(b"AGE-SECRET-KEY-1", PrivateKey, Capitals, 50, 60),
    key(b"ABIA", CloudKey, Capitals, 16, 16),
    key(b"ABSK", CloudKey, Base64, 60, MOST),
    key(b"ACCA", CloudKey, Capitals, 16, 16),
    key(b"AIza", ProviderKey, Url, 35, 35),
    key(b"AKIA", CloudKey, Capitals, 16, 16),
    key(b"ASIA", CloudKey, Capitals, 16, 16),
    key(b"PMAK-", ServiceToken, Url, 40, 80),
    key(b"SG.", ServiceToken, Dotted, 40, 80),
    key(b"SK", ServiceToken, Hex, 32, 32),
    key(b"bedrock-api-key-", CloudKey, Base64, 20, MOST),
    key(b"dapi", ServiceToken, Hex, 32, 34),
    key(b"dop_v1_", ServiceToken, Hex, 64, 64),
    key(b"doo_v1_", ServiceToken, Hex, 64, 64),
    key(b"fw_", ProviderKey, Alnum, 20, 40),
    key(b"github_pat_", ServiceToken, Url, 22, 100),
    key(b"ghp_", ServiceToken, Alnum, 36, 40),
    key(b"gho_", ServiceToken, Alnum, 36, 40),
    key(b"ghu_", ServiceToken, Alnum, 36, 40),
    key(b"ghs_", ServiceToken, Alnum, 36, 40),
    key(b"ghr_", ServiceToken, Alnum, 36, 80),
    key(b"glpat-", ServiceToken, Url, 20, 60),
    key(b"glsa_", ServiceToken, Url, 32, 60),
    key(b"glc_", ServiceToken, Base64, 32, MOST),
    key(b"gsk_", ProviderKey, Alnum, 40, 60),
    key(b"hf_", ProviderKey, Alnum, 34, 40),
    key(b"hvs.", ServiceToken, Url, 24, 200),
    key(b"hooks.slack.com/services/", ServiceToken, Base64, 20, 100),
    key(b"lin_api_", ServiceToken, Alnum, 32, 48),
    key(b"npm_", ServiceToken, Alnum, 36, 36),
    key(b"ntn_", ServiceToken, Alnum, 40, 50),
    key(b"nvapi-", ProviderKey, Url, 40, 90),
    key(b"pplx-", ProviderKey, Alnum, 40, 60),
    key(b"pypi-AgEIcHlwaS5vcmc", ServiceToken, Url, 20, 200),
    key(b"pul-", ServiceToken, Hex, 40, 40),
    key(b"r8_", ProviderKey, Alnum, 30, 40),
    key(b"rk_live_", ServiceToken, Alnum, 20, 120),
    key(b"rk_test_", ServiceToken, Alnum, 20, 120),
    key(b"shpat_", ServiceToken, Hex, 32, 32),
    key(b"sk-ant-", ProviderKey, Url, 24, 160),
    key(b"sk-or-v1-", ProviderKey, Hex, 64, 64),
    key(b"sk-proj-", ProviderKey, Url, 20, 200),
    key(b"sk-svcacct-", ProviderKey, Url, 20, 200),
    key(b"sk-admin-", ProviderKey, Url, 20, 200),
    key(b"sk-", ProviderKey, Alnum, 20, 80),
    key(b"sk_live_", ServiceToken, Alnum, 20, 120),
    key(b"sk_test_", ServiceToken, Alnum, 20, 120),
    key(b"sk_prod_", ServiceToken, Alnum, 20, 120),
    key(b"xai-", ProviderKey, Alnum, 40, 90),
    key(b"xoxa-", ServiceToken, Url, 20, 120),
    key(b"xoxb-", ServiceToken, Url, 20, 120),
    key(b"xoxe.", ServiceToken, Dotted, 20, 200),
    key(b"xoxp-", ServiceToken, Url, 20, 120),
    key(b"xoxr-", ServiceToken, Url, 20, 120),
    key(b"xoxs-", ServiceToken, Url, 20, 120),
];

/// The least entropy of what comes behind a prefix, in bits a character. A name of words and hyphens has less variety.
const ENTROPY: f64 = 3.0;

/// A key that begins at the first letter of a word.
pub(super) fn token(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    let first = scan.byte(at);
    // Most words begin with a letter that no key begins with, or go on otherwise.
    let mut keys = KEYS.iter().filter(|key| key.prefix.first() == Some(&first));
    let starts = |prefix: &[u8]| scan.slice(at, at + prefix.len()) == prefix;
    if first == b'e' && starts(b"eyJ") {
        return jwt(scan, at);
    }
    let key = keys.find(|key| starts(key.prefix))?;
    let from = at + key.prefix.len();
    let end = scan.while_is_within(from, key.most + 1, |byte| key.alphabet.has(byte));
    let end = (from..=end).rev().find(|end| !matches!(scan.before(*end), b'.' | b'-' | b'/')).unwrap_or(from);
    let body = scan.slice(from, end);
    let ends_there = !scan.byte(end).is_ascii_alphanumeric();
    let is_key = scan.wants(key.entry) && (key.least..=key.most).contains(&body.len()) && ends_there && is_random(body);
    is_key.then_some((key.entry, at, end))
}

// === impl Alphabet ===

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        let more: &[u8] = match self {
            Self::Hex => return byte.is_ascii_hexdigit(),
            Self::Capitals => return byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alnum => b"",
            Self::Url => b"_-",
            Self::Dotted => b"_-.",
            Self::Base64 => b"_-/+=.",
        };
        byte.is_ascii_alphanumeric() || more.contains(&byte)
    }
}

/// Whether characters look as if a machine had thrown dice.
fn is_random(body: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    for byte in body {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let length = body.len() as f64;
    let part = |count: &u32| {
        let share = f64::from(*count) / length;
        -share * share.log2()
    };
    let entropy: f64 = counts.iter().filter(|count| **count > 0).map(part).sum();
    entropy >= ENTROPY && body.iter().any(u8::is_ascii_digit)
}

/// Three parts of base64, of which the first is a JSON object.
fn jwt(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if !scan.wants(Entry::Jwt) {
        return None;
    }
    // Within a token no other begins. Without this, each of its words would read the rest of it.
    if matches!(scan.before(at), b'-' | b'.') {
        return None;
    }
    let part = |from: usize| scan.while_is_within(from, MOST_JWT, |byte| Url.has(byte));
    let head = part(at);
    if head - at < 16 || !scan.slice(head, head + 4).eq(b".eyJ") {
        return None;
    }
    let claims = part(head + 1);
    let signature = part(claims + 1);
    let is_jwt = claims - head > 10 && scan.byte(claims) == b'.' && signature - claims > 20;
    is_jwt.then_some((Entry::Jwt, at, signature))
}

/// A private key in PEM, to its last line or to the end of the text.
pub(super) fn pem(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const KIND: &[u8] = b"PRIVATE KEY";
    const END: &[u8] = b"-----END ";
    if !scan.wants(Entry::PrivateKey) || !scan.slice(at, at + BEGIN.len()).eq(BEGIN) {
        return None;
    }
    let from = at + BEGIN.len();
    let head_end = scan.while_is(from, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    if !scan.slice(from, head_end).windows(KIND.len()).any(|part| part == KIND) {
        return None;
    }
    let rest = scan.bytes.get(head_end..)?;
    let end = rest.windows(END.len()).position(|part| part == END).map_or(scan.bytes.len(), |place| {
        let label = scan.while_is(head_end + place + END.len(), |byte| byte != b'-');
        scan.while_is(label, |byte| byte == b'-')
    });
    Some((Entry::PrivateKey, at, end))
}
