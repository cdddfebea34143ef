//! What an answer cost, and what that is made of.

/// What an answer cost, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bill {
    /// US dollars. Where the cost is unknown, what it is at least.
    pub known: f64,
    /// Why it is more, or may be.
    pub unknown: Option<String>,
    /// What it is made of.
    pub lines: Vec<Line>,
}

/// So many of something at one rate, in US dollars for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// As logs and price rules name it.
    pub kind: &'static str,
    pub quantity: f64,
    pub rate: f64,
}

// === impl Bill ===

impl Bill {
    pub fn cost(&self) -> Option<f64> {
        self.unknown.is_none().then_some(self.known)
    }

    /// A bill of which only this is known, and what is missing.
    pub fn lacking(known: f64, what: String) -> Self {
        Self { known, unknown: Some(what), lines: Vec::new() }
    }

    /// A bill of one line, or of none where only the sum is known.
    pub fn whole(known: f64, lines: Vec<Line>) -> Self {
        Self { known, unknown: None, lines }
    }

    pub(super) fn add(&mut self, kind: &'static str, quantity: f64, rate: f64) {
        self.known += quantity * rate;
        self.lines.push(Line { kind, quantity, rate });
    }

    /// Notes what the cost does not contain. The first reason is enough.
    pub(super) fn lacks(&mut self, what: impl FnOnce() -> String) {
        if self.unknown.is_none() {
            self.unknown = Some(what());
        }
    }
}
