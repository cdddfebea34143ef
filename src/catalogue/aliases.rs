//! Names that a gateway gives to models: agents send names of their own, and the operator decides what these mean.

use crate::base::fault::Invalid;
use crate::providers::table;
use crate::providers::upstream;
use serde_json::Value;

/// A gateway has at most so many.
pub const MAX_ALIASES: usize = 200;

const MAX_NAME: usize = 200;

/// A gateway's `model_aliases`, read once: (the name that callers send, what it means). A name that ends in `*` stands for all that
/// begin with what is before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(Vec<(String, String)>);

/// Whether a setting may be stored.
pub fn check(value: &Value) -> Result<(), Invalid> {
    let wrong = |what: String| Invalid::at(["body", "model_aliases"], what);
    let given = value.as_object().ok_or_else(|| {
        wrong("Expected an object such as {\"claude-sonnet-4-5\": \"openai/gpt-5\"}, or null".to_owned())
    })?;
    if given.len() > MAX_ALIASES {
        return Err(wrong(format!("Expected at most {MAX_ALIASES} aliases")));
    }
    for (name, meaning) in given {
        let within = |what: String| Invalid::at(["body", "model_aliases", name], what);
        if name.is_empty() || name.len() > MAX_NAME || name.trim_end_matches('*').contains('*') || name.ends_with("**")
        {
            let what = format!("Expected a name of 1 to {MAX_NAME} bytes, which may have one * as its last character");
            return Err(within(what));
        }
        let target = meaning.as_str().and_then(|meaning| meaning.split_once('/'));
        let Some((provider, _)) = target.filter(|(_, model)| (1..=MAX_NAME).contains(&model.len())) else {
            return Err(within("Expected '<provider>/<model>', such as 'openai/gpt-5'".to_owned()));
        };
        if table::find(provider).is_none() && !provider.starts_with(upstream::PREFIX) {
            let hint = table::nearest(provider).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
            return Err(within(format!("Expected '<provider>/<model>' with a provider that Tollgate knows{hint}")));
        }
    }
    Ok(())
}

// === impl Aliases ===

impl Aliases {
    pub fn of(setting: &Value) -> Self {
        let all = setting.as_object().into_iter().flatten();
        Self(all.filter_map(|(name, meaning)| Some((name.clone(), meaning.as_str()?.to_owned()))).collect())
    }

    /// What a name means, if it is an alias: the exact one, or of those that end in `*` the longest.
    pub fn meaning(&self, name: &str) -> Option<&str> {
        let exact = self.0.iter().find(|(alias, _)| alias == name);
        let fits = |alias: &str| alias.strip_suffix('*').is_some_and(|start| name.starts_with(start));
        let longest = || self.0.iter().filter(|(alias, _)| fits(alias)).max_by_key(|(alias, _)| alias.len());
        exact.or_else(longest).map(|(_, meaning)| meaning.as_str())
    }

    /// All aliases and their meanings.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(alias, meaning)| (alias.as_str(), meaning.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_exact_alias_counts_and_then_the_longest() {
        let aliases = Aliases::of(&json!({
            "claude-*": "openai/gpt-5-mini", "claude-opus-*": "openai/gpt-5", "claude-opus-4": "groq/x", "*": "mistral/m",
        }));
        for (name, meaning) in [
            ("claude-opus-4", "groq/x"),
            ("claude-opus-4-20250514", "openai/gpt-5"),
            ("claude-haiku-4-5-20251001", "openai/gpt-5-mini"),
            ("gpt-5-codex", "mistral/m"),
        ] {
            assert_eq!(aliases.meaning(name), Some(meaning), "{name}");
        }
        assert_eq!(Aliases::of(&json!({ "a": "openai/b" })).meaning("ab"), None);
        assert_eq!(Aliases::of(&Value::Null).meaning("a"), None);
    }

    #[test]
    fn a_setting_that_is_wrong_says_where() {
        assert_eq!(check(&json!({ "claude-*": "openai/gpt-5", "m": "custom-own/x", "n": "google/g/h" })), Ok(()));
        for (wrong, said) in [
            (json!([]), "object"),
            (json!({ "": "openai/x" }), "1 to 200"),
            (json!({ "a*b": "openai/x" }), "last character"),
            (json!({ "a**": "openai/x" }), "last character"),
            (json!({ "a": "gpt-5" }), "<provider>/<model>"),
            (json!({ "a": "openai/" }), "<provider>/<model>"),
            (json!({ "a": 5 }), "<provider>/<model>"),
            (json!({ "a": "opnai/gpt-5" }), "'openai'"),
        ] {
            let invalid = check(&wrong).unwrap_err();
            assert!(invalid.message.contains(said), "{wrong}: {}", invalid.message);
        }
        let many: serde_json::Map<_, _> = (0..=MAX_ALIASES).map(|n| (n.to_string(), json!("openai/x"))).collect();
        assert!(check(&Value::Object(many)).is_err());
    }
}
