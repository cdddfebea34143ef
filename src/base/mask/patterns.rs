//! What looks like a key, be it the gateway's, a caller's or another's.

use std::ops::Range;

/// Which characters follow the beginning of a key.
#[derive(Clone, Copy)]
enum Kind {
    /// Letters, digits, `-` and `_`.
    Word,
    /// Also what base64 and dots need.
    Long,
    /// Capital letters and digits.
    Capital,
}

use Kind::{Capital, Long, Word};

/// How keys begin, and how many characters follow at least. Sorted by the beginning's first byte alone.
const KEYS: &[(&str, usize, Kind)] = &[
    ("ABIA", 12, Capital),
    ("ABSK", 20, Long),
    ("ACCA", 12, Capital),
    ("AIza", 16, Word),
    ("AKIA", 12, Capital),
    ("AQ.", 20, Word),
    ("ASIA", 12, Capital),
    ("GOCSPX-", 12, Word),
    ("bedrock-api-key-", 12, Long),
    ("co_", 32, Word),
    ("csk-", 12, Word),
    ("dapi", 28, Word),
    ("dop_v1_", 12, Word),
    ("fw_", 16, Word),
    ("ghb_", 16, Word),
    ("gho_", 16, Word),
    ("ghp_", 16, Word),
    ("ghr_", 16, Word),
    ("ghs_", 16, Word),
    ("ghu_", 16, Word),
    ("github_pat_", 16, Word),
    ("glpat-", 12, Word),
    ("gsk_", 12, Word),
    ("hf_", 12, Word),
    ("jina_", 16, Word),
    ("nvapi-", 12, Word),
    ("pk_live_", 12, Word),
    ("pplx-", 12, Word),
    ("pa-", 24, Word),
    ("r8_", 12, Word),
    ("rk_live_", 12, Word),
    ("sk-", 8, Word),
    ("sk_", 12, Word),
    ("tgp_v1_", 12, Word),
    ("tgt_", 12, Word),
    ("tvly-", 12, Word),
    ("xai-", 12, Word),
    ("xapp-", 12, Word),
    ("xoxb-", 12, Word),
    ("xoxe.", 12, Word),
    ("xoxp-", 12, Word),
    ("ya29.", 12, Long),
];

/// How many characters a part of a JSON web token has at least.
const LEAST_JWT: usize = 8;

/// How many characters follow `Bearer` at least. One of them is a digit, or it would be a word.
const LEAST_BEARER: usize = 12;

/// Names of parameters whose values are credentials, in lower case and with `_` for `-`.
const PARAMETERS: &[&str] = &[
    "access_key",
    "access_token",
    "api_key",
    "apikey",
    "assertion",
    "auth",
    "auth_token",
    "authorization",
    "bearer",
    "client_secret",
    "code",
    "code_verifier",
    "credential",
    "device_code",
    "id_token",
    "jwt",
    "key",
    "passwd",
    "password",
    "private_key",
    "pwd",
    "refresh_token",
    "secret",
    "session_token",
    "sig",
    "signature",
    "subscription_key",
    "token",
    "x_amz_credential",
    "x_amz_security_token",
    "x_amz_signature",
    "x_api_key",
    "x_goog_api_key",
    "x_goog_signature",
];

/// Where keys are in a text.
pub fn keys(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut at, mut before) = (0, b' ');
    while let Some(byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let length = if before.is_ascii_alphanumeric() { None } else { key(*byte, rest) };
        match length {
            Some(length) => {
                found.push(at..at + length);
                at += length;
                before = b'*';
            }
            None => {
                before = *byte;
                at += 1;
            }
        }
    }
    found
}

/// Also the values of parameters that are credentials by their names, such as `code=` behind a sign-in.
pub fn keys_and_parameters(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = keys(text);
    for equals in memchr::memchr_iter(b'=', text) {
        let before = text.get(..equals).unwrap_or_default();
        let name = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte)).count();
        let name = before.get(equals - name..).unwrap_or_default();
        let after = text.get(equals + 1..).unwrap_or_default();
        let value = run(after, |byte| !byte.is_ascii_whitespace() && !b"&;,\"'<>()[]{}#\\|".contains(&byte));
        if value > 0 && is_parameter(name) {
            found.push(equals + 1..equals + 1 + value);
        }
    }
    found
}

/// Whether a parameter's value is a credential by its name.
pub fn is_parameter(name: &[u8]) -> bool {
    let name: String =
        name.iter().map(|byte| if *byte == b'-' { '_' } else { char::from(byte.to_ascii_lowercase()) }).collect();
    PARAMETERS.binary_search(&name.as_str()).is_ok()
}

/// The length of the key that a text begins with.
fn key(first: u8, text: &[u8]) -> Option<usize> {
    match first {
        b'e' if text.starts_with(b"eyJ") => return jwt(text),
        b'B' | b'b' if text.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"bearer")) => return bearer(text),
        b'-' if text.starts_with(b"-----BEGIN ") => return pem(text),
        _ => {}
    }
    let of_first = KEYS.iter().filter(|(start, ..)| start.as_bytes().first() == Some(&first));
    of_first
        .filter_map(|(start, least, kind)| {
            let rest = text.strip_prefix(start.as_bytes())?;
            let length = run(rest, |byte| kind.takes(byte));
            (length >= *least).then_some(start.len() + length)
        })
        .max()
}

fn run(text: &[u8], takes: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| takes(**byte)).count()
}

fn jwt(text: &[u8]) -> Option<usize> {
    let head = run(text, |byte| Word.takes(byte));
    let rest = text.get(head..)?.strip_prefix(b".")?;
    let body = run(rest, |byte| Word.takes(byte) || byte == b'.');
    (head >= LEAST_JWT && body >= LEAST_JWT).then_some(head + 1 + body)
}

fn bearer(text: &[u8]) -> Option<usize> {
    let blank = run(text.get(6..)?, |byte| matches!(byte, b' ' | b'\t' | b':'));
    let token = text.get(6 + blank..)?;
    let length = run(token, |byte| Long.takes(byte));
    let has_digit = token.iter().take(length).any(u8::is_ascii_digit);
    (blank > 0 && length >= LEAST_BEARER && has_digit).then_some(6 + blank + length)
}

/// A private key with its frame, or as much of it as there is.
fn pem(text: &[u8]) -> Option<usize> {
    let title = text.get(..64.min(text.len()))?;
    memchr::memmem::find(title, b"PRIVATE KEY")?;
    let end = memchr::memmem::find(text, b"-----END ").map(|at| at + 9);
    let closed =
        |from: usize| text.get(from..).and_then(|rest| memchr::memmem::find(rest, b"-----")).map(|at| from + at + 5);
    Some(end.and_then(closed).unwrap_or(text.len()))
}

// === impl Kind ===

impl Kind {
    fn takes(self, byte: u8) -> bool {
        match self {
            Word => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Long => byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte),
            Capital => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::mask::line;

    #[test]
    fn keys_of_known_providers_are_recognised() {
        assert!(PARAMETERS.is_sorted());
        for key in [
            "sk-abcdefgh",
            "sk-proj-0123456789abcdefghij_-x",
            "sk-ant-api03-0123456789abcdef",
            "sk-or-v1-0123456789abcdef",
            "sk_0123456789abcdef",
            "AIzaSyA0123456789012345678901234567890",
            "AQ.Ab8RN6J0123456789abcdefghij",
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            "gsk_0123456789abcdef",
            "xai-0123456789abcdef",
            "hf_0123456789abcdef",
            "r8_0123456789abcdef",
            "pplx-0123456789abcdef",
            "ghp_0123456789abcdef0123",
            "github_pat_0123456789abcdef",
            "csk-0123456789abcdef",
            "fw_0123456789abcdef",
            "tgt_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
            "ya29.a0AfH6SMBx-0123456789",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            "Bearer 0123456789abcdef",
            "bearer\tAbcdefghijk1",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----MIIB",
        ] {
            for (before, after) in [("", ""), ("team=", " x"), ("[", "]"), ("/v1/", "?a"), ("'", "'"), ("a_", ",")] {
                let hidden = line(&format!("{before}{key}{after}")).into_owned();
                assert_eq!(hidden, format!("{before}***{}", if key.ends_with("MIIB") { "" } else { after }), "{key}");
            }
        }
        for text in [
            "task-force-0123456789",
            "sk-learn",
            "risk-assessment-of-things",
            "gpt-4o",
            "0197f3c0-1234-7abc-8def-0123456789ab",
            "chatcmpl-AbCdEf0123456789",
            "Bearer authentication",
            "bearer",
            "eyJ",
            "eyJhbGci",
            "hf_model",
            "01JABCDEFGHJKMNPQRSTVWXYZ0",
            "max_tokens=100",
            "monkey=banana",
            "a=b",
            "code=",
        ] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn a_credential_is_known_by_its_name() {
        for (text, hidden) in [
            ("code=abc", "code=***"),
            ("?code=abc&state=x", "?code=***&state=x"),
            ("cb?a=1&Code=4/0AX4XfWh#x", "cb?a=1&Code=***#x"),
            ("https://app/cb?code=abc next", "https://app/cb?code=*** next"),
            (
                "redirect=https%3A%2F%2Fapp%2Fcb%3Fcode%3Dabc%26state%3Dx",
                "redirect=https%3A%2F%2Fapp%2Fcb%3Fcode%3D***%26state%3Dx",
            ),
            ("%63ode=abc", "%63ode=***"),
            ("{\"url\":\"x?api-key=abc\"}", "{\"url\":\"x?api-key=***\"}"),
            ("x-api-key=1", "x-api-key=***"),
            ("country_code=DE", "country_code=DE"),
        ] {
            assert_eq!(line(text), hidden);
        }
    }
}
