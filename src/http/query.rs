//! The query string of a control-plane request.

use crate::base::mask::patterns;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Names and values in the order they were sent, decoded. A name may occur several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the `?`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
        )
    }

    /// From names and values that need no decoding.
    pub fn of(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The last value of a name, as a later option overrides an earlier one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Percent-decoding with `+` as a space. What is no UTF-8 is replaced.
fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Whether a parameter is one that must not be stored. Parts of its name decide: hiding one too many costs less than storing
/// one key.
pub fn is_credential(name: &str) -> bool {
    const PARTS: &[&str] = &["key", "token", "secret", "sig", "auth", "password", "credential", "jwt", "capability"];
    let name = without_encoding(name).to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || patterns::is_parameter(name.as_bytes())
}

/// A path without its percent-encoding, also where it was encoded twice: some that pass it on decode it, too.
pub fn understood(rest: &str) -> Cow<'_, str> {
    let mut rest = Cow::Borrowed(rest);
    for _ in 0..3 {
        if !rest.contains('%') {
            break;
        }
        rest = Cow::Owned(without_encoding(&rest));
    }
    rest
}

/// A name without its percent-encoding; what is no UTF-8 afterwards stays encoded.
pub fn without_encoding(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let query = Query::parse("a=1&b=x+y%20z%26&c&a=2&%C3%BC=%zz");
        assert_eq!((query.get("a"), query.get("b"), query.get("c")), (Some("2"), Some("x y z&"), Some("")));
        assert_eq!((query.get("ü"), query.get("d")), (Some("%zz"), None));
        assert_eq!(Query::parse("").get(""), None);
    }
}
