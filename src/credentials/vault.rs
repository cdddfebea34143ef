//! How stored keys are kept: sealed with the operator's encryption key, and bound to the row they stand in.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

const HOW: &str =
    "Make one with `openssl rand -base64 32 | npx wrangler secret put ENCRYPTION_KEY`, or in .dev.vars for local use.";

/// How many encryption keys `ENCRYPTION_KEY` may list.
const MAX_KEYS: usize = 8;

/// An encryption key of 256 bits, with the name it goes by in rows.
#[derive(Clone)]
pub struct EncryptionKey {
    pub id: String,
    pub bytes: [u8; 32],
}

/// All that the operator has given: the first is written with, every one is read with.
pub type EncryptionKeys = Vec<EncryptionKey>;

/// A text that only the vault can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub text: String,
    /// The encryption key it was sealed with.
    pub key_id: String,
}

/// Where the Worker finds a key that is not in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A secret or variable of the Worker.
    Variable(String),
    /// A binding of the Secrets Store.
    Store(String),
}

/// What a sealed text belongs to. It cannot be opened in any other place: not in the row of another tenant, not for
/// another provider, not for another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    pub account: &'a str,
    /// The `key` of the gateway's row, which is never used again.
    pub gateway: i64,
    pub provider: &'a str,
    pub alias: &'a str,
    pub upstream: Option<&'a str>,
}

/// What only the runtime can do: its cryptography, and its bindings. The errors are for people and hold no secret.
pub trait Vault {
    async fn seal(&self, plain: &str, bound: &Bound<'_>) -> Result<Sealed, String>;
    async fn open(&self, sealed: &Sealed, bound: &Bound<'_>) -> Result<String, String>;
    async fn look_up(&self, reference: &Reference) -> Result<String, String>;
    /// The name of the encryption key that is written with.
    fn current(&self) -> Option<&str>;
}

/// Names of variables and bindings that a reference may lead to begin like this: none of the Worker's own do.
const REFERENCE_PREFIX: &str = "PROVIDER_KEY_";

/// Reads `ENCRYPTION_KEY`: base64 of 32 bytes, or several of them with commas between, the newest first.
pub fn encryption_keys(value: Option<&str>) -> Result<EncryptionKeys, String> {
    let value = value.map(str::trim).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| format!("ENCRYPTION_KEY is not set. {HOW}"))?;
    let wrong = |what: &str| format!("ENCRYPTION_KEY {what}. {HOW}");
    let mut keys = EncryptionKeys::new();
    for text in value.split(',') {
        let text = text.trim();
        let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).or_else(|_| URL_SAFE_NO_PAD.decode(text));
        let bytes: [u8; 32] = bytes
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| wrong("is not the base64 of 32 bytes, or several of them with commas between"))?;
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(wrong("is one byte 32 times"));
        }
        if keys.len() == MAX_KEYS {
            return Err(wrong("lists more than 8 keys"));
        }
        let digest = Sha256::digest(bytes);
        let id = crate::base::hex::hex(digest.get(..8).unwrap_or_default());
        keys.push(EncryptionKey { id, bytes });
    }
    Ok(keys)
}

// === impl Bound ===

impl Bound<'_> {
    /// The additional authenticated data. None of the parts can hold a line break, so no two places have the same.
    pub fn text(&self) -> String {
        let Self { account, gateway, provider, alias, upstream } = self;
        format!("tollgate 1\n{account}\n{gateway}\n{provider}\n{alias}\n{}", upstream.unwrap_or(""))
    }
}

// === impl Reference ===

impl Reference {
    /// `env:NAME` or `store:BINDING`; `None` for what is neither.
    pub fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        let (variable, name) = match (text.strip_prefix("env:"), text.strip_prefix("store:")) {
            (Some(name), _) => (true, name),
            (_, Some(name)) => (false, name),
            _ => return None,
        };
        let named = name.strip_prefix(REFERENCE_PREFIX).is_some_and(|rest| {
            (1..=64).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        });
        if !named {
            return Some(Err(
                "A name after env: or store: has to begin with PROVIDER_KEY_, followed by upper-case letters, digits and _",
            ));
        }
        let name = name.to_owned();
        Some(Ok(if variable { Self::Variable(name) } else { Self::Store(name) }))
    }

    pub fn text(&self) -> String {
        match self {
            Self::Variable(name) => format!("env:{name}"),
            Self::Store(name) => format!("store:{name}"),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A vault without cryptography that keeps its promises all the same, for tests on the host.
    pub struct Plain {
        pub current: &'static str,
        pub older: &'static [&'static str],
    }

    pub const PLAIN: Plain = Plain { current: "k1", older: &[] };

    impl Vault for Plain {
        async fn seal(&self, plain: &str, bound: &Bound<'_>) -> Result<Sealed, String> {
            let text = URL_SAFE_NO_PAD.encode(format!("{}\u{1}{plain}", bound.text()));
            Ok(Sealed { text, key_id: self.current.to_owned() })
        }

        async fn open(&self, sealed: &Sealed, bound: &Bound<'_>) -> Result<String, String> {
            if sealed.key_id != self.current && !self.older.contains(&sealed.key_id.as_str()) {
                return Err("no such encryption key".to_owned());
            }
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(&sealed.text).unwrap()).unwrap();
            let (place, plain) = text.split_once('\u{1}').unwrap();
            if place == bound.text() { Ok(plain.to_owned()) } else { Err("it belongs elsewhere".to_owned()) }
        }

        async fn look_up(&self, reference: &Reference) -> Result<String, String> {
            match reference {
                Reference::Variable(name) if name == "PROVIDER_KEY_OPENAI" => Ok("sk-of-the-worker-1234".to_owned()),
                _ => Err("the Worker has no such secret".to_owned()),
            }
        }

        fn current(&self) -> Option<&str> {
            Some(self.current)
        }
    }

    #[test]
    fn encryption_keys_are_32_bytes_and_the_first_is_the_newest() {
        let (one, two) =
            (STANDARD.encode([1; 31].iter().chain(&[2]).copied().collect::<Vec<u8>>()), "A".repeat(42) + "E=");
        let keys = encryption_keys(Some(&format!(" {one} , {two}\n"))).ok().unwrap();
        assert_eq!((keys.len(), keys[0].bytes[31], keys[0].id.len()), (2, 2, 16));
        assert_ne!(keys[0].id, keys[1].id);
        for (value, reason) in [
            (None, "not set"),
            (Some("  "), "not set"),
            (Some("hunter2"), "32 bytes"),
            (Some("AAAA"), "32 bytes"),
            (Some(&*format!("{one},")), "32 bytes"),
            (Some(&*STANDARD.encode([0; 32])), "32 times"),
            (Some(&*[one.as_str(); 9].join(",")), "more than 8"),
        ] {
            let error = encryption_keys(value).err().unwrap();
            assert!(error.contains(reason) && error.contains("openssl rand -base64 32"), "{value:?}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn references_lead_to_names_of_their_own_only() {
        for good in ["env:PROVIDER_KEY_OPENAI", "store:PROVIDER_KEY_A1_B"] {
            assert_eq!(Reference::parse(good).unwrap().unwrap().text(), good);
        }
        for bad in [
            "env:ADMIN_TOKEN",
            "env:PROVIDER_KEYS",
            "env:PROVIDER_KEY_",
            "env:",
            "store:DB",
            "env:PROVIDER_KEY_a",
            "store:__proto__",
        ] {
            assert!(Reference::parse(bad).unwrap().is_err(), "{bad}");
        }
        assert!(Reference::parse("ENV:PROVIDER_KEY_X").is_none() && Reference::parse("some-id").is_none());
    }

    #[test]
    fn no_two_places_are_the_same() {
        let place = Bound { account: "a", gateway: 1, provider: "openai", alias: "default", upstream: None };
        let others = [
            Bound { account: "b", ..place },
            Bound { gateway: 2, ..place },
            Bound { provider: "groq", ..place },
            Bound { alias: "other", ..place },
            Bound { upstream: Some("https://other"), ..place },
        ];
        for other in others {
            assert_ne!(other.text(), place.text());
        }
    }
}
