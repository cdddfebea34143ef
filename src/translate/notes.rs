//! What a translation leaves for the answer and for the caller to know.

use crate::translate::names::Names;

/// What was left out of a request because the other format has no place for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped(Vec<String>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub dropped: Dropped,
    pub names: Names,
    /// The answer's schema stands in the request as a tool.
    pub json_tool: bool,
}

// === impl Dropped ===

impl Dropped {
    pub fn note(&mut self, field: impl Into<String>) {
        let field = field.into();
        if !self.0.contains(&field) {
            self.0.push(field);
        }
    }

    pub fn note_if(&mut self, given: bool, field: &str) {
        if given {
            self.note(field);
        }
    }

    /// Adds what another one has.
    pub fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|field| self.note(field.as_str()));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said of parts of an answer; nothing where there are none. A provider chose their names.
    pub fn of_answer(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let names: String = self.0.join(",").chars().filter(|char| matches!(char, '!'..='~')).take(200).collect();
        format!("left out of the answer: {names}")
    }

    pub fn fields(&self) -> &[String] {
        &self.0
    }
}
