//! Tests of what was answered: is it JSON, does it say a certain thing.

use crate::pattern::budget::{Exhausted, Meter};
use crate::pattern::schema::{self, Schema};
use crate::pattern::{MAX_PATTERN, Pattern};
use serde_json::Value;
use std::rc::Rc;

#[derive(Clone, Debug)]
pub enum Test {
    /// The answer is JSON, of a schema if there is one.
    Json(Option<Rc<Schema>>),
    /// The answer has this text in it; in lower case where case does not matter, of which only A to Z have one here.
    Contains {
        text: String,
        case_sensitive: bool,
    },
    Regex(Pattern),
    /// The answer says anything at all.
    Says,
}

/// What is wrong with settings: the field (empty for all of them) and what is allowed.
pub type Wrong = (&'static str, String);

/// Bytes that are read, written or compared in a step by what the library does with them.
const BYTES_IN_A_STEP: u64 = 4;

// === impl Test ===

impl Test {
    pub fn json(settings: &Value) -> Result<Self, Wrong> {
        let Some(object) = settings.as_object() else { return Err(("", "Expected an object".to_owned())) };
        if object.keys().any(|name| name != "schema") {
            return Err(("", "Expected {\"schema\": …} or nothing".to_owned()));
        }
        match object.get("schema").filter(|schema| !schema.is_null()) {
            None => Ok(Self::Json(None)),
            Some(schema) => match Schema::new(schema) {
                Err(reason) => Err(("schema", reason)),
                Ok(schema) => Ok(Self::Json(Some(Rc::new(schema)))),
            },
        }
    }

    /// Clients of Cloudflare's format can send no settings, and some take whichever evaluator is listed first: without settings, an
    /// answer matches that says anything.
    pub fn text(settings: &Value) -> Result<Self, Wrong> {
        if settings.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(Self::Says);
        }
        let case_sensitive = match settings.get("case_sensitive") {
            None => false,
            Some(Value::Bool(sensitive)) => *sensitive,
            Some(_) => return Err(("case_sensitive", "Expected true or false".to_owned())),
        };
        let text = |name: &str| {
            settings.get(name).and_then(Value::as_str).filter(|text| (1..=MAX_PATTERN).contains(&text.len()))
        };
        match (text("contains"), text("regex")) {
            (Some(text), None) if case_sensitive => Ok(Self::Contains { text: text.to_owned(), case_sensitive }),
            (Some(text), None) => Ok(Self::Contains { text: text.to_ascii_lowercase(), case_sensitive }),
            (None, Some(pattern)) => Pattern::new(pattern, case_sensitive)
                .map(Self::Regex)
                .map_err(|error| ("regex", format!("This is no regular expression that can be used: {error}"))),
            _ => Err((
                "",
                "Expected {\"contains\": text} or {\"regex\": pattern}, and optionally \"case_sensitive\"".to_owned(),
            )),
        }
    }

    /// Whether an answer passes, and why not.
    pub async fn check(
        &self,
        answer: &str,
        meter: &Meter<impl AsyncFn()>,
    ) -> Result<(bool, Option<String>), Exhausted> {
        meter.spend(answer.len() as u64 / BYTES_IN_A_STEP + 1).await?;
        Ok(match self {
            Self::Json(schema) => match serde_json::from_str::<Value>(unfenced(answer)) {
                Err(error) => (false, Some(format!("not JSON: {error}"))),
                Ok(value) => match schema {
                    None => (true, None),
                    Some(schema) => match schema::check(schema, &value, meter).await? {
                        Ok(()) => (true, None),
                        Err(reason) => (false, Some(reason)),
                    },
                },
            },
            Self::Contains { text, case_sensitive: true } => (answer.contains(text), None),
            Self::Contains { text, .. } => (answer.to_ascii_lowercase().contains(text), None),
            Self::Regex(pattern) => (pattern.is_in(answer, meter).await?, None),
            Self::Says => (!answer.trim().is_empty(), None),
        })
    }
}

/// Models like to wrap JSON in a fenced block of Markdown.
pub fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) else { return text };
    inner.split_once('\n').map_or(inner, |(_, body)| body).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;
    use serde_json::json;

    fn checked(test: &Test, answer: &str) -> (bool, Option<String>) {
        block_on(test.check(answer, &Meter::new(1_000_000, async || {}))).unwrap()
    }

    #[test]
    fn without_settings_an_answer_matches_that_says_anything() {
        let says = Test::text(&json!({})).unwrap();
        for (answer, passes) in [("a", true), (" \n\u{a0}", false), ("", false), ("\u{5473}", true)] {
            assert_eq!(checked(&says, answer).0, passes, "{answer}");
        }
        assert!(Test::text(&json!({ "case_sensitive": true })).is_err());
    }

    #[test]
    fn json_may_be_fenced_and_has_to_fit() {
        let any = Test::json(&json!({})).unwrap();
        for (answer, passes) in
            [("{\"a\":1}", true), ("```json\n[1]\n```", true), ("Sure! {\"a\":1}", false), ("", false)]
        {
            assert_eq!(checked(&any, answer).0, passes, "{answer}");
        }
        let schema = Test::json(&json!({ "schema": { "required": ["a"] } })).unwrap();
        assert_eq!(checked(&schema, "{}"), (false, Some("the answer lacks 'a'".to_owned())));
        assert_eq!(Test::json(&json!({ "schema": { "if": {} } })).unwrap_err().0, "schema");
    }

    #[test]
    fn texts_are_found_whatever_their_case() {
        let test = |settings: Value| Test::text(&settings).unwrap();
        let passes = |settings: Value, answer: &str| checked(&test(settings), answer).0;
        assert!(passes(json!({ "contains": "Paris" }), "it is PARIS"));
        assert!(!passes(json!({ "contains": "Paris", "case_sensitive": true }), "it is PARIS"));
        assert!(passes(json!({ "regex": "^it\\s+is" }), "It is so"));
        assert!(!passes(json!({ "regex": "^it\\s+is", "case_sensitive": true }), "It is so"));
        for wrong in
            [json!({ "contains": "" }), json!({ "regex": "(" }), json!({ "contains": "a", "regex": "b" }), json!([])]
        {
            assert!(Test::text(&wrong).is_err(), "{wrong}");
        }
    }
}
