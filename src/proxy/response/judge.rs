//! Has the text of a stream judged on its way: in parts, as a whole, or behind it.

use crate::dlp;
use crate::dlp::{Screen, Work};
use crate::guardrails::{Mode, Phase, Seen, Verdict};
use crate::http::refusal::Refusal;
use crate::proxy::exchange::Exchange;
use crate::proxy::judges::Judges;
use std::rc::Rc;

pub struct Judge {
    judges: Rc<Judges>,
    reading: Screen,
    said: Said,
    /// The end of what was judged.
    before: String,
    /// How many characters there were so far.
    length: usize,
    is_begun: bool,
    /// What waits for a verdict.
    held: Vec<u8>,
    pub verdict: Verdict,
}

/// What a stream says.
#[derive(Default)]
struct Said {
    text: String,
    /// What tools are called with is not in it.
    content: String,
    /// Whether there are arguments of tools in it, in which an escape may hide a letter.
    has_arguments: bool,
}

/// So much text is judged at once, with so much of what came before it again, in bytes.
const WINDOW: usize = 1_024;
const OVERLAP: usize = 256;

/// No more waits for a verdict, in bytes.
const MOST_HELD: usize = 8 * 1024 * 1024;

// === impl Judge ===

impl Judge {
    pub fn new(judges: Rc<Judges>, is_lines: bool) -> Self {
        let (said, before, held) = (Said::default(), String::new(), Vec::new());
        let (reading, verdict) = (Screen::of(is_lines), Verdict::default());
        Self { judges, reading, said, before, length: 0, is_begun: false, held, verdict }
    }

    /// What may go on now. What is not yet judged waits, unless the verdict is for the log alone.
    pub async fn pass(&mut self, kept: &[u8], is_last: bool, exchange: &Exchange) -> Result<Vec<u8>, Refusal> {
        let mut read = Vec::new();
        self.reading.push(kept, &mut self.said, &mut read);
        if is_last {
            self.reading.end(&mut self.said, &mut read);
        }
        let mode = self.judges.guardrails.mode;
        self.held.extend_from_slice(kept);
        let is_window = mode == Mode::Window && self.said.text.len() >= WINDOW;
        if !is_last && !is_window && self.held.len() <= MOST_HELD {
            return Ok(if mode == Mode::After { std::mem::take(&mut self.held) } else { Vec::new() });
        }
        let said = std::mem::take(&mut self.said);
        let mut text = format!("{}{}", self.before, said.text);
        if said.has_arguments {
            text = dlp::unescaped(&text);
        }
        self.length += said.text.chars().count();
        let is_whole = is_last && !self.is_begun;
        self.is_begun = true;
        // What came before was judged without what is new.
        let is_empty = said.text.trim().is_empty();
        let seen =
            Seen { text: if is_empty { "" } else { &text }, content: &said.content, length: self.length, is_whole };
        let verdict = self.judges.judged(Phase::Response, &seen, &exchange.runtime).await;
        let mut from = text.len().saturating_sub(OVERLAP);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        self.before = text.get(from..).unwrap_or("").to_owned();
        let refused = self.judges.refused(Phase::Response, &verdict);
        self.verdict.add(verdict);
        match refused {
            Err(refusal) if mode != Mode::After => Err(refusal),
            _ => Ok(std::mem::take(&mut self.held)),
        }
    }
}

impl Work for Said {
    fn part(&mut self, _: &str, pending: &str, _: bool, _: &str, is_json: bool) -> (String, usize) {
        self.text.push_str(pending);
        self.has_arguments |= is_json;
        if !is_json {
            self.content.push_str(pending);
        }
        (pending.to_owned(), pending.len())
    }

    fn whole(&mut self, _: &str, _: &str) -> Option<String> {
        None
    }
}
