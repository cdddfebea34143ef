//! What was said of a prompt or an answer.

use crate::base::json::json;
use serde_json::Value;

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Prompt,
    Response,
}

/// What was said of one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The categories that rules are about.
    pub categories: Vec<String>,
    pub is_blocked: bool,
    /// Why there is no verdict, or not one about all of the text.
    pub error: Option<String>,
}

// === impl Phase ===

impl Phase {
    pub fn name(self) -> &'static str {
        if self == Self::Prompt { "prompt" } else { "response" }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Adds another part's.
    pub fn add(&mut self, other: Self) {
        for category in other.categories {
            if !self.categories.contains(&category) {
                self.categories.push(category);
            }
        }
        self.is_blocked |= other.is_blocked;
        self.error = self.error.take().or(other.error);
    }

    /// The row's field, with what was said before of the other phase.
    pub fn row(&self, phase: Phase, before: Option<&str>) -> String {
        let action = match (self.is_blocked, self.categories.is_empty()) {
            (true, _) => "BLOCK",
            (false, false) => "FLAG",
            (false, true) => "PASS",
        };
        let mut row: Value = before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!({}));
        if let Value::Object(members) = &mut row {
            let own = json!({ "action": action, "categories": self.categories, "error": self.error });
            members.insert(phase.name().to_owned(), own);
        }
        row.to_string()
    }
}
