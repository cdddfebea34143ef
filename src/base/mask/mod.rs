//! What must not be shown of a text: the credentials that a request was sent with, and what looks like a key.
//!
//! A provider is free to echo what it was sent, and people paste keys wherever there is room. What is stored or printed goes
//! through here first, and so do errors for callers who do not know the key that was used for them.

pub mod patterns;
mod search;
mod spelling;
#[cfg(test)]
mod tests;

use crate::base::object;
use crate::base::sorted;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use search::Search;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

/// Stands in the place of what was there.
pub const MASK: &str = "***";

/// A kept key is masked from this length on, in bytes. Shorter ones are words that stand everywhere.
const LEAST_KEPT: usize = 6;

/// The gateway's operator has not chosen what a caller brought as a secret, so it has to look more like one.
pub const LEAST_BROUGHT: usize = 8;

/// As much of the beginning of a credential is masked at the end of a text that may have been cut, in bytes.
const LEAST_CUT: usize = 6;

/// Shorter texts have not been cut, in bytes.
const SHORTEST_CUT: usize = 60;

/// In longer texts other spellings are looked for only if the credential has characters that encoders change.
const SHORT: usize = 64 * 1024;

/// The credentials of a request. They are nowhere but in the memory of the isolate, while the request is under way.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The operator's and the gateway's: their caller does not know them.
    kept: Rc<Vec<String>>,
    /// What the caller brought, for the provider or for us.
    brought: Rc<Vec<String>>,
}

/// Finds certain credentials in texts, however they are spelled there.
pub struct Masker {
    search: Option<Search>,
    /// True if an encoder would change one of the credentials.
    changes: bool,
}

// === impl Secrets ===

impl Secrets {
    /// Takes note of what a request brings with it.
    pub fn brought(mut pieces: Vec<String>) -> Self {
        pieces.retain(|piece| piece.len() >= LEAST_BROUGHT);
        Self { brought: Rc::new(pieces), ..Self::default() }
    }

    /// Takes note of a credential that the gateway adds.
    pub fn keep(&mut self, value: &str) {
        let bare = bare(value);
        if bare.len() >= LEAST_KEPT {
            Rc::make_mut(&mut self.kept).push(bare.to_owned());
        }
    }

    /// Whether the provider is sent a credential that the caller does not know.
    pub fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// For what the caller is told.
    pub fn for_caller(&self) -> Masker {
        // A caller may be told what it said itself.
        Masker::new(self.kept.iter().filter(|key| !self.brought.contains(key)).map(String::as_str))
    }

    /// For what is stored.
    pub fn for_storage(&self) -> Masker {
        Masker::new(self.kept.iter().chain(self.brought.iter()).map(String::as_str))
    }
}

/// Nothing that prints a request may print its credentials.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Secrets({} kept, {} brought)", self.kept.len(), self.brought.len())
    }
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

/// The user and the password of a header of the Basic scheme.
pub fn basic(value: &str) -> Option<String> {
    let value = value.trim();
    let scheme = value.get(..6).filter(|scheme| scheme.trim_end().eq_ignore_ascii_case("basic"))?;
    let encoded = value.get(scheme.len()..)?.trim().trim_end_matches('=');
    let decoded = STANDARD_NO_PAD.decode(encoded).or_else(|_| URL_SAFE_NO_PAD.decode(encoded)).ok()?;
    String::from_utf8(decoded).ok()
}

// === impl Masker ===

impl Masker {
    fn new<'a>(credentials: impl Iterator<Item = &'a str>) -> Self {
        let (mut needles, mut changes) = (Vec::new(), false);
        for credential in credentials {
            changes |= !credential.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
            needles.push(credential.as_bytes().to_vec());
            for shift in 0..3 {
                base64_needles(credential.as_bytes(), shift, &mut needles);
            }
        }
        Self { search: Search::new(needles), changes }
    }

    /// A long text or a document of any kind without the credentials; `None` if there are none in it.
    pub fn bytes(&self, text: &[u8]) -> Option<Vec<u8>> {
        let search = self.search.as_ref()?;
        let mut found = search.ranges(text);
        if self.changes || text.len() <= SHORT {
            let begins = |byte| search.begins(byte);
            spelling::each(text, &begins, &mut |spelled, _| search.ranges(spelled), &mut found);
        }
        masked(text, found)
    }

    /// The value of a header; `None` if there is nothing to mask in it.
    pub fn header(&self, value: &str) -> Option<String> {
        self.bytes(value.as_bytes()).map(|masked| String::from_utf8_lossy(&masked).into_owned())
    }

    /// A body as it is stored.
    pub fn body(&self, text: String) -> String {
        match self.bytes(text.as_bytes()) {
            Some(masked) => String::from_utf8(masked).unwrap_or_else(|_| MASK.to_owned()),
            None => text,
        }
    }

    /// A field as it is stored: also without what looks like a key, and without the beginning of a credential at its end,
    /// where it may have been cut.
    pub fn field(&self, text: String) -> String {
        self.without(text, patterns::keys)
    }

    /// The same for what a caller writes freely, where a key may also stand behind its name.
    pub fn said(&self, text: String) -> String {
        self.without(text, patterns::keys_and_parameters)
    }

    fn without(&self, text: String, patterns: fn(&[u8]) -> Vec<Range<usize>>) -> String {
        let find = |text: &[u8], is_end: bool| {
            let mut found = patterns(text);
            if let Some(search) = &self.search {
                found.extend(search.ranges(text));
                if is_end && text.len() >= SHORTEST_CUT {
                    found.extend(search.cut(text, LEAST_CUT));
                }
            }
            found
        };
        let mut found = find(text.as_bytes(), true);
        let begins = |byte| self.search.as_ref().is_some_and(|search| search.begins(byte));
        spelling::each(text.as_bytes(), &begins, &mut |spelled, is_end| find(spelled, is_end), &mut found);
        match masked(text.as_bytes(), found) {
            Some(masked) => String::from_utf8(masked).unwrap_or_else(|_| MASK.to_owned()),
            None => text,
        }
    }
}

/// A text, such as a line for the operator's log, without what looks like a key.
pub fn line(text: &str) -> Cow<'_, str> {
    let mut found = patterns::keys_and_parameters(text.as_bytes());
    spelling::each(text.as_bytes(), &|_| false, &mut |spelled, _| patterns::keys_and_parameters(spelled), &mut found);
    match masked(text.as_bytes(), found) {
        Some(masked) => String::from_utf8(masked).map_or(Cow::Borrowed(MASK), Cow::Owned),
        None => Cow::Borrowed(text),
    }
}

/// What people say, without what looks like a key in it.
pub fn object(said: &Map<String, Value>) -> Map<String, Value> {
    object::of(said.iter().map(|(key, value)| (line(key).into_owned(), self::value(value))))
}

fn value(said: &Value) -> Value {
    match said {
        Value::String(text) => Value::String(line(text).into_owned()),
        Value::Array(all) => all.iter().map(value).collect(),
        Value::Object(members) => Value::Object(object(members)),
        Value::Null | Value::Bool(_) | Value::Number(_) => said.clone(),
    }
}

/// The base64 of whatever has a text in it, after `shift` bytes more than a multiple of three: those characters of it that
/// do not depend on what is around the text.
fn base64_needles(text: &[u8], shift: usize, needles: &mut Vec<Vec<u8>>) {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(text);
    let encoded = STANDARD.encode(&padded);
    // Six bits a character: those that begin before the text, or end behind it, are not all its own.
    let (from, to) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
    let Some(own) = encoded.get(from..to).filter(|own| own.len() >= LEAST_BROUGHT) else { return };
    if own.contains(['+', '/']) {
        needles.push(own.replace('+', "-").replace('/', "_").into_bytes());
    }
    needles.push(own.as_bytes().to_vec());
}

/// A text with [`MASK`] in the place of certain ranges, which may overlap; `None` without any.
fn masked(text: &[u8], mut ranges: Vec<Range<usize>>) -> Option<Vec<u8>> {
    if ranges.is_empty() {
        return None;
    }
    sorted::by_key(&mut ranges, |range| (range.start, range.end));
    let mut out = Vec::with_capacity(text.len());
    let (mut copied, mut end_of_mask) = (0, None);
    for Range { start, end } in ranges {
        if start >= copied && end_of_mask.is_none_or(|last| start > last) {
            out.extend_from_slice(text.get(copied..start).unwrap_or_default());
            out.extend_from_slice(MASK.as_bytes());
        }
        copied = copied.max(end);
        end_of_mask = Some(copied);
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    Some(out)
}
