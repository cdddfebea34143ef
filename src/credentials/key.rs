//! A provider's key that a gateway stores.

use crate::credentials::vault::{Reference, Sealed};

/// A key that a gateway stores for a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub id: String,
    pub provider: String,
    pub alias: String,
    pub is_default: bool,
    /// How large a part of the requests it gets beside others with a weight; 0 for none.
    pub weight: u32,
    pub held: Held,
    /// Scheme and host it was stored for, where these are not Tollgate's own for the provider.
    pub upstream: Option<String>,
    pub limit: Option<KeyLimit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Sealed(Sealed),
    Reference(Reference),
    /// It was thrown away when the provider's address changed.
    Nothing,
}

/// How many requests may be sent with a stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLimit {
    pub key_id: String,
    pub limit: u64,
    /// In seconds.
    pub period: u64,
}

#[cfg(test)]
impl StoredKey {
    /// One of OpenAI's, under an alias.
    pub fn sealed(alias: &str, is_default: bool) -> Self {
        Self {
            id: format!("id-{alias}"),
            provider: "openai".to_owned(),
            alias: alias.to_owned(),
            is_default,
            weight: 0,
            held: Held::Sealed(Sealed { text: String::new(), key_id: String::new() }),
            upstream: None,
            limit: None,
        }
    }
}
