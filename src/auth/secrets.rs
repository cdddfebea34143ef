//! The credentials that a request brings: whatever stands where clients put one, so that nothing of it is stored.

use crate::base::mask::{LEAST_BROUGHT, Secrets, basic};
use crate::http::headers::Headers;
use crate::http::query::is_credential;
use percent_encoding::percent_decode_str;

/// Cookies tell many things that are no secret, and those are short.
const LEAST_COOKIE: usize = 16;

/// What is before a key in a subprotocol.
const KEY_PROTOCOLS: &[&str] = &["api-key.", "authorization."];

/// The words before a credential that say what it is.
const SCHEMES: &[&str] = &["bearer", "basic", "token", "key", "apikey", "api-key", "digest", "aws4-hmac-sha256"];

/// What the names of headers with credentials end with.
const ENDINGS: &[&str] = &["authorization", "key", "token", "secret", "cookie", "-auth", "password", "signature"];

/// The credentials that a request brings with it.
pub fn brought(headers: &Headers, query: &str) -> Secrets {
    let mut all = Vec::new();
    for (name, value) in &headers.0 {
        let protocol = name == "sec-websocket-protocol";
        let bearer = || value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
        if protocol || ENDINGS.iter().any(|end| name.ends_with(end)) || bearer() {
            pieces(name, value, &mut all);
        }
    }
    for pair in query.strip_prefix('?').unwrap_or(query).split('&') {
        if let Some((name, value)) = pair.split_once('=')
            && is_credential(name)
        {
            all.push(percent_decode_str(value).decode_utf8_lossy().into_owned());
        }
    }
    Secrets::brought(all)
}

/// The parts of a header's value that may be a credential.
fn pieces(name: &str, value: &str, all: &mut Vec<String>) {
    let mut add = |piece: &str, least: usize| {
        let known = SCHEMES.iter().any(|scheme| piece.eq_ignore_ascii_case(scheme)) || piece.contains("CF_TEMP_TOKEN");
        if piece.len() >= least && !known {
            all.push(piece.to_owned());
        }
    };
    if name == "sec-websocket-protocol" {
        for entry in value.split(',').map(str::trim) {
            let carried = KEY_PROTOCOLS.iter().find_map(|protocol| entry.split_once(protocol));
            carried.into_iter().for_each(|(_, key)| add(key, LEAST_BROUGHT));
        }
    } else if name.ends_with("cookie") {
        let values = value.split(';').filter_map(|pair| pair.split_once('='));
        values.for_each(|(_, value)| add(value.trim(), LEAST_COOKIE));
    } else if value.trim_start().starts_with("AWS4-") {
        for (part, end) in [("Signature=", ','), ("Credential=", '/')] {
            let part = value.split_once(part).and_then(|(_, rest)| rest.split(end).next());
            part.into_iter().for_each(|part| add(part.trim(), LEAST_BROUGHT));
        }
    } else {
        // Of an object in several parts, such as a service account, only the long ones are secret.
        let least = if value.contains('{') { 40 } else { LEAST_BROUGHT };
        let is_end = |char: char| char.is_whitespace() || matches!(char, ',' | ';' | '"' | '\'');
        for piece in value.split(is_end) {
            add(piece, least);
            piece.split_once('=').into_iter().for_each(|(_, inner)| add(inner, least));
        }
    }
    if let Some(pair) = basic(value) {
        all.extend(
            pair.split_once(':').into_iter().flat_map(|(user, password)| [user.to_owned(), password.to_owned()]),
        );
        all.push(pair);
    }
}
