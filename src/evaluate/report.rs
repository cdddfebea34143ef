//! What an evaluator found, as it is stored and shown.

use super::tally::Measured;

/// The states of a result; Cloudflare's numbers are not documented, the words stand beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending = 0,
    Completed = 2,
    Error = 3,
}

/// What an evaluator found.
pub(super) struct Report {
    pub(super) measured: Measured,
    pub(super) groups: Vec<(String, Measured)>,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    pub(super) cost: Option<f64>,
    pub(super) note: String,
    pub(super) error: Option<String>,
}

impl Default for Report {
    fn default() -> Self {
        let measured = Measured { n: 0, value: None, interval: None };
        Self { measured, groups: Vec::new(), skipped: 0, failed: 0, cost: None, note: String::new(), error: None }
    }
}

impl Report {
    pub(super) fn description(&self) -> String {
        let mut said = if self.measured.value.is_some() {
            "completed".to_owned()
        } else {
            "completed: no log has what this measures".to_owned()
        };
        if self.skipped > 0 {
            said.push_str(&format!("; {} logs without an answer to read", self.skipped));
        }
        if self.failed > 0 {
            said.push_str(&format!("; {} without a verdict", self.failed));
        }
        if !self.note.is_empty() {
            said.push_str(&format!("; {}", self.note));
        }
        said
    }
}
