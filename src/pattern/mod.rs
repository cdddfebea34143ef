//! Patterns that are looked for in texts, both of them written by callers of a gateway.
//!
//! A search takes as many steps as the pattern has states at each character, which can be millions where both are hostile. So it
//! counts its steps, and can be left at any character to go on later. That is why this is no library's matcher: those run to
//! their end. Syntax and meaning are those of regex-lite, which tests compare it with.

pub mod budget;
mod compile;
pub mod json_values;
mod program;
pub mod schema;
#[cfg(test)]
mod schema_suite_tests;
mod search;

pub use program::MAX_PATTERN;

use crate::pattern::budget::{Exhausted, Meter, Steps};
use program::Program;
use search::{Outcome, Search};
use std::rc::Rc;

/// A pattern that is ready to be looked for. Copies share it.
#[derive(Clone, Debug)]
pub struct Pattern(Rc<Program>);

// === impl Pattern ===

impl Pattern {
    /// The error says what is wrong with the pattern.
    pub fn new(pattern: &str, case_sensitive: bool) -> Result<Self, String> {
        compile::compile(pattern, case_sensitive).map(|program| Self(Rc::new(program)))
    }

    /// How many states it has.
    pub fn size(&self) -> usize {
        self.0.states.len()
    }

    /// Where a text has it, the longest match at each place, as far as the steps lead. No two overlap, and none is empty.
    pub fn spans(&self, text: &str, steps: &mut Steps) -> Vec<(usize, usize)> {
        let mut search = Search::new(&self.0, text);
        let (mut found, mut at) = (Vec::new(), 0);
        while at < text.len() && !steps.is_over() {
            at = search.begin(at, steps);
            let Some(char) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
            match search.longest(at, steps) {
                Some(end) if end > at => {
                    found.push((at, end));
                    at = end;
                }
                _ => at += char.len_utf8(),
            }
        }
        found
    }

    /// Whether a text has it, at the cost of steps.
    pub async fn is_in(&self, text: &str, meter: &Meter<impl AsyncFn()>) -> Result<bool, Exhausted> {
        let mut search = Search::new(&self.0, text);
        loop {
            let mut steps = meter.some();
            let most = steps.left();
            let outcome = search.go_on(&mut steps);
            meter.spend(most - steps.left()).await?;
            match outcome {
                Outcome::Found => return Ok(true),
                Outcome::Missing => return Ok(false),
                Outcome::Unfinished => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
