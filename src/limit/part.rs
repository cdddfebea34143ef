//! The name of a counter: the values that tell it from the others of its rule.

use crate::base::mask::patterns;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Longer values, and what looks like a key, stand in a counter's name by their digest, whole: two that begin alike never share a counter.
const MAX_VALUE: usize = 128;

/// The name of a rule's counter for some values, which is empty where there is one for all.
pub fn part_of(values: &[String]) -> String {
    if values.is_empty() { String::new() } else { part(values) }
}

/// The values that a counter is for, as its name.
pub fn part(values: &[String]) -> String {
    // A counter's name is stored and shown, which a key must not be.
    let value = |value: &String| match value.len() {
        0..=MAX_VALUE if patterns::keys(value.as_bytes()).is_empty() => Value::from(value.as_str()),
        _ => format!("sha256:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(value.as_bytes()))).into(),
    };
    values.iter().map(value).collect::<Value>().to_string()
}
