//! Names of pieces: keyed hashes of their content and all that stands before it in the chain.
//!
//! The key is made of the admin token and the gateway. Without it no caller can make two texts with one name, nor find out by a name
//! what is stored. A faster hash than SHA-256 is enough for that: SipHash is made to keep its key.

use crate::base::id::MarkKey;
use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::fmt::{self, Debug, Formatter};
use std::hash::Hasher;

/// What names are made with.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NamingKey([u8; 32]);

/// The name of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// 63 bits: the key of its row.
    pub key: i64,
    /// 64 bits more.
    pub digest: u64,
}

/// A text that grows, and can be named at every length.
#[derive(Clone)]
pub struct Prefix(SipHasher13);

// === impl NamingKey ===

impl NamingKey {
    pub fn new(mark: &MarkKey) -> Self {
        Self(mark.0)
    }

    #[cfg(test)]
    pub const fn of_test(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Whether it is one at all: without a secret nothing is shared.
    pub fn is_secret(&self) -> bool {
        *self != Self::default()
    }

    /// The beginning of a chain of a gateway.
    pub fn chain(&self, gateway: i64, kind: &str) -> Prefix {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(b"pieces")
            .chain_update(gateway.to_be_bytes())
            .chain_update(kind)
            .finalize();
        let mut key = [0; 16];
        key.iter_mut().zip(digest).for_each(|(byte, own)| *byte = own);
        Prefix(SipHasher13::new_with_key(&key))
    }

    /// The key of the n-th row of a text that is named by something else.
    pub fn row(&self, of: &str, number: usize) -> i64 {
        let mut prefix = self.chain(0, "row");
        prefix.push(of);
        prefix.push("/");
        prefix.push(&number.to_string());
        prefix.name().key
    }
}

impl Debug for NamingKey {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("NamingKey")
    }
}

// === impl Prefix ===

impl Prefix {
    pub fn push(&mut self, text: &str) {
        self.0.write(text.as_bytes());
    }

    pub fn name(&self) -> Name {
        let hash = self.0.finish128();
        Name { key: (hash.h1 >> 1) as i64, digest: hash.h2 }
    }
}

// === impl Name ===

impl Name {
    /// The digest as the table has it.
    pub fn digest(&self) -> String {
        format!("{:016x}", self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_stands_before_and_whose_it_is() {
        let name = |key: u8, gateway, kind, parts: &[&str]| {
            let mut prefix = NamingKey([key; 32]).chain(gateway, kind);
            parts.iter().for_each(|part| prefix.push(part));
            prefix.name()
        };
        let one = name(1, 1, "messages", &["some text", "and more"]);
        assert_eq!(one, name(1, 1, "messages", &["some te", "xtand", " more"]));
        for other in [
            name(2, 1, "messages", &["some text", "and more"]),
            name(1, 2, "messages", &["some text", "and more"]),
            name(1, 1, "members", &["some text", "and more"]),
            name(1, 1, "messages", &["and more"]),
        ] {
            assert!(one != other && one.key >= 0 && other.key >= 0);
        }
        let key = NamingKey([1; 32]);
        assert!(key.row("a", 1) == key.row("a", 1) && key.row("a", 1) != key.row("a", 2));
        assert_eq!(format!("{key:?}"), "NamingKey");
    }
}
