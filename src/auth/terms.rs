//! What a token may be used for beside its permissions, and what is said of its holder.

use crate::base::object;
use serde_json::{Map, Value};

/// The terms of a token. A list without an entry means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What people call the token.
    pub name: String,
    /// Who holds it, in the operator's words.
    pub owner: Option<String>,
    /// Patterns in small letters.
    pub models: Vec<String>,
    pub providers: Vec<String>,
    /// Metadata of all of its requests. No caller overrides it.
    pub metadata: Vec<(String, Value)>,
    /// Rules in the form of a gateway's `rate_limiting_rules`; null for none.
    pub rate_rules: Value,
    /// Budgets in the form of a gateway's `spend_limits`; null for none.
    pub spend_limits: Value,
}

/// The members of the terms in a body, in an answer and in a row.
pub const FIELDS: &[&str] = &["owner", "models", "providers", "metadata", "rate_limiting_rules", "spend_limits"];

// === impl Terms ===

impl Terms {
    /// Terms as a row has them. What cannot be read must not become a token for everything.
    pub fn of_row(name: String, stored: Option<&str>) -> Self {
        let Some(stored) = stored else { return Self { name, ..Self::default() } };
        let given: Map<String, Value> = match serde_json::from_str(stored) {
            Ok(given) => given,
            Err(_) => return Self { name, providers: vec![String::new()], ..Self::default() },
        };
        let texts = |field: &str| -> Vec<String> {
            let all = given.get(field).and_then(Value::as_array).into_iter().flatten();
            all.map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
        };
        let value = |field: &str| given.get(field).cloned().unwrap_or_default();
        let metadata = given.get("metadata").and_then(Value::as_object).into_iter().flatten();
        Self {
            name,
            owner: given.get("owner").and_then(Value::as_str).map(str::to_owned),
            models: texts("models"),
            providers: texts("providers"),
            metadata: metadata.map(|(key, value)| (key.clone(), value.clone())).collect(),
            rate_rules: value("rate_limiting_rules"),
            spend_limits: value("spend_limits"),
        }
    }

    /// What a row has of a body's members; `None` where there is nothing to keep.
    pub fn stored(given: &Map<String, Value>) -> Option<String> {
        let kept = FIELDS.iter().filter_map(|field| {
            let value = given.get(*field).filter(|value| !value.is_null())?;
            Some(((*field).to_owned(), value.clone()))
        });
        let kept = object::of(kept);
        (!kept.is_empty()).then(|| Value::Object(kept).to_string())
    }

    /// Whether it is limited to some providers or models.
    pub fn are_of_models(&self) -> bool {
        !(self.models.is_empty() && self.providers.is_empty())
    }

    /// Whether it has limits of its own.
    pub fn have_limits(&self) -> bool {
        !(self.rate_rules.is_null() && self.spend_limits.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms_come_back_as_they_were_stored_and_nonsense_allows_nothing() {
        let given = json!({ "owner": "ann", "models": ["gpt-*"], "providers": null, "metadata": { "team": "a", "level": 2 },
            "rate_limiting_rules": [{ "limit": 1, "interval": 60 }], "name": "other" });
        let stored = Terms::stored(given.as_object().unwrap()).unwrap();
        let terms = Terms::of_row("app".to_owned(), Some(&stored));
        assert_eq!((terms.owner.as_deref(), terms.name.as_str()), (Some("ann"), "app"));
        assert_eq!((terms.models.as_slice(), terms.providers.len()), (&["gpt-*".to_owned()][..], 0));
        assert_eq!(terms.metadata, [("level".to_owned(), json!(2)), ("team".to_owned(), json!("a"))]);
        assert!(terms.have_limits() && terms.are_of_models());
        assert_eq!(Terms::stored(&Map::new()), None);
        assert!(!Terms::of_row(String::new(), None).are_of_models());
        assert_eq!(Terms::of_row(String::new(), Some("{")).providers, [""]);
    }
}
