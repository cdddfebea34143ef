//! What a document cannot say, for it is secret: each is warned of, and all else is done.

use super::plan::{Plan, body, headers_of};
use super::{MASK, text_of};
use crate::providers::address;
use serde_json::{Map, Value};

// === impl Plan ===

impl Plan {
    pub(super) fn without_masked_headers(&mut self, sent: &mut Map<String, Value>, place: &str) {
        let mut headers = headers_of(sent);
        if self.missing_headers(sent, &Value::Null, place) {
            headers.retain(|_, value| *value != MASK);
            sent.insert("headers".to_owned(), body(headers).into());
        }
    }

    /// Warns of headers that only the document names, and does not show.
    pub(super) fn missing_headers(&mut self, given: &Map<String, Value>, shown: &Value, place: &str) -> bool {
        let kept = shown.as_object().map(headers_of).unwrap_or_default();
        let mut hidden = headers_of(given);
        hidden.retain(|name, value| *value == MASK && !kept.contains_key(name));
        if hidden.is_empty() {
            return false;
        }
        let names: Vec<&str> = hidden.keys().map(String::as_str).collect();
        self.warnings.push(format!(
            "{place}.headers: the document does not show {}; PATCH …/custom-providers/{{id}} adds it",
            names.join(", ")
        ));
        true
    }

    /// What is secret goes to no other host than before.
    pub(super) fn left_behind(&mut self, sent: &mut Map<String, Value>, shown: &Value, place: &str) {
        let Some(url) = sent.get("base_url").and_then(Value::as_str) else { return };
        if address::origin_of(url) == address::origin_of(text_of(shown, "base_url")) {
            return;
        }
        self.warnings.push(format!(
            "{place}.base_url: the new host gets no secrets of the old one. Headers that are not shown, and stored keys of the provider, are dropped; \
             PATCH …/custom-providers/{{id}} and POST …/provider_configs give them again"
        ));
        let mut headers = headers_of(sent);
        headers.retain(|_, value| *value != MASK);
        if sent.contains_key("headers") {
            sent.insert("headers".to_owned(), body(headers).into());
        }
    }

    /// Of a stored key that is there a document changes the weight alone.
    pub(super) fn of_keys_alone(
        &mut self,
        changes: &mut Map<String, Value>,
        sent: &mut Map<String, Value>,
        place: &str,
    ) {
        changes.retain(|name, _| name == "weight");
        sent.retain(|name, _| {
            let is_weight = name == "weight";
            if !is_weight {
                self.warnings.push(format!(
                    "{place}.{name}: it is left as it is, for it is set when a key is stored. DELETE and POST …/provider_configs store the key anew"
                ));
            }
            is_weight
        });
    }
}
