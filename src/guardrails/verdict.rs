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
    /// True where there is no verdict, and a rule may block.
    pub is_refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Flag,
    Block,
}

/// How a stream is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In parts that are held back until they are.
    Window,
    /// As a whole, before any of it goes on.
    Buffer,
    /// When all of it has gone on: for the log alone.
    After,
}

// === impl Phase ===

impl Phase {
    pub fn name(self) -> &'static str {
        if self == Self::Prompt { "prompt" } else { "response" }
    }
}

// === impl Rule ===

impl Rule {
    pub fn parse(given: &Value) -> Option<Self> {
        match given.as_str() {
            Some("FLAG") => Some(Self::Flag),
            Some("BLOCK") => Some(Self::Block),
            _ => None,
        }
    }
}

// === impl Verdict ===

impl Verdict {
    pub fn found(categories: Vec<String>, is_blocked: bool) -> Self {
        Self { is_blocked: is_blocked && !categories.is_empty(), categories, ..Self::default() }
    }

    /// There is none. `may_block` says whether one of the rules that wait for it blocks.
    pub fn unsure(why: String, may_block: bool) -> Self {
        Self { error: Some(why), is_refused: may_block, ..Self::default() }
    }

    /// Adds another part's.
    pub fn add(&mut self, other: Self) {
        for category in other.categories {
            if !self.categories.contains(&category) {
                self.categories.push(category);
            }
        }
        self.is_blocked |= other.is_blocked;
        self.is_refused |= other.is_refused;
        self.error = self.error.take().or(other.error);
    }

    /// The row's field, with what was said before of the other phase.
    pub fn row(&self, phase: Phase, before: Option<&str>) -> String {
        let action = match (self.is_blocked, self.categories.is_empty()) {
            (true, _) => "BLOCK",
            (false, false) => "FLAG",
            (false, true) if self.error.is_some() => "UNSCANNED",
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
