//! Looking for a pattern in a text, as far as some steps lead.

use crate::pattern::budget::Steps;
use crate::pattern::program::{Look, Program, State};

/// What came out of some steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Found,
    Missing,
    /// The text goes on; the next steps begin where these ended.
    Unfinished,
}

/// A search under way: in which states it is at once, and where.
pub struct Search<'a> {
    pattern: &'a Program,
    text: &'a str,
    pub(super) at: usize,
    now: States,
    next: States,
    stack: Vec<u32>,
}

/// Some of a program's states; each of them once.
struct States {
    all: Vec<u32>,
    /// For each state where it may be in `all`.
    places: Vec<u32>,
    /// Those that wait for a character.
    waiting: Vec<State>,
}

// === impl Search ===

impl<'a> Search<'a> {
    pub fn new(pattern: &'a Program, text: &'a str) -> Self {
        let states = || States { all: Vec::new(), places: vec![0; pattern.states.len()], waiting: Vec::new() };
        Self { pattern, text, at: 0, now: states(), next: states(), stack: Vec::new() }
    }

    /// Goes on until the end, or until the steps are used up. A step is a state that is visited, or a character that is skipped.
    pub fn go_on(&mut self, steps: &mut Steps) -> Outcome {
        loop {
            if self.now.all.is_empty() {
                self.skip(steps);
            }
            if steps.is_over() {
                return Outcome::Unfinished;
            }
            // A match can begin anywhere.
            if self.enter(self.pattern.start, false, self.at, steps) {
                return Outcome::Found;
            }
            let Some(char) = self.text.get(self.at..).and_then(|rest| rest.chars().next()) else {
                return Outcome::Missing;
            };
            let behind = self.at + char.len_utf8();
            let waiting = std::mem::take(&mut self.now.waiting);
            for state in &waiting {
                if let Some(target) = self.behind(state, char)
                    && self.enter(target, true, behind, steps)
                {
                    return Outcome::Found;
                }
            }
            steps.take(waiting.len() as u64 + 1);
            self.now.waiting = waiting;
            self.now.clear();
            std::mem::swap(&mut self.now, &mut self.next);
            self.at = behind;
        }
    }

    /// Goes to where a match can begin.
    fn skip(&mut self, steps: &mut Steps) {
        let Some(first) = self.pattern.first else { return };
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let most = usize::try_from(steps.left()).unwrap_or(usize::MAX).min(rest.len());
        let skipped = rest.iter().take(most).position(|byte| first.has(*byte)).unwrap_or(most);
        steps.take(skipped as u64);
        self.at += skipped;
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
    }

    /// Goes to where a match can begin, at `from` or behind it.
    pub fn begin(&mut self, from: usize, steps: &mut Steps) -> usize {
        self.at = from;
        self.skip(steps);
        self.at
    }

    /// Where the longest match ends that begins at a place.
    pub fn longest(&mut self, from: usize, steps: &mut Steps) -> Option<usize> {
        self.now.clear();
        self.next.clear();
        let mut found = self.enter(self.pattern.start, false, from, steps).then_some(from);
        let mut at = from;
        while !self.now.waiting.is_empty() && !steps.is_over() {
            let Some(char) = self.text.get(at..).and_then(|rest| rest.chars().next()) else { break };
            at += char.len_utf8();
            let waiting = std::mem::take(&mut self.now.waiting);
            for state in &waiting {
                if let Some(target) = self.behind(state, char)
                    && self.enter(target, true, at, steps)
                {
                    found = Some(at);
                }
            }
            steps.take(waiting.len() as u64 + 1);
            self.now.waiting = waiting;
            self.now.clear();
            std::mem::swap(&mut self.now, &mut self.next);
        }
        found
    }

    /// The state that a character leads to.
    fn behind(&self, state: &State, char: char) -> Option<u32> {
        match state {
            State::One(own, target) if *own == char => Some(*target),
            State::Any(set, target) => {
                self.pattern.sets.get(*set as usize).is_some_and(|set| set.has(char)).then_some(*target)
            }
            _ => None,
        }
    }

    /// Adds a state, and all that it leads to without a character, to those of this place or of the next one. True where that
    /// is the end of the pattern.
    fn enter(&mut self, state: u32, is_next: bool, at: usize, steps: &mut Steps) -> bool {
        let states = if is_next { &mut self.next } else { &mut self.now };
        let mut is_end = false;
        self.stack.push(state);
        while let Some(state) = self.stack.pop() {
            if !states.add(state) {
                continue;
            }
            steps.take(1);
            match self.pattern.states.get(state as usize) {
                Some(State::Split(one, other)) => self.stack.extend([*other, *one]),
                Some(State::Look(look, behind)) if look.holds(self.text.as_bytes(), at) => self.stack.push(*behind),
                Some(State::Match) => is_end = true,
                Some(state @ (State::One(..) | State::Any(..))) => states.waiting.push(*state),
                _ => {}
            }
        }
        is_end
    }
}

// === impl States ===

impl States {
    /// False for one that is there already.
    fn add(&mut self, state: u32) -> bool {
        let Some(place) = self.places.get_mut(state as usize) else { return false };
        if self.all.get(*place as usize) == Some(&state) {
            return false;
        }
        *place = self.all.len() as u32;
        self.all.push(state);
        true
    }

    fn clear(&mut self) {
        self.all.clear();
        self.waiting.clear();
    }
}

// === impl Look ===

impl Look {
    fn holds(self, text: &[u8], at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|at| text.get(at)).copied();
        let after = text.get(at).copied();
        let is_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match self {
            Self::Start => before.is_none(),
            Self::End => after.is_none(),
            Self::StartOfLine => matches!(before, None | Some(b'\n')),
            Self::EndOfLine => matches!(after, None | Some(b'\n')),
            Self::StartOfLineCrlf => {
                matches!(before, None | Some(b'\n')) || before == Some(b'\r') && after != Some(b'\n')
            }
            Self::EndOfLineCrlf => matches!(after, None | Some(b'\r')) || after == Some(b'\n') && before != Some(b'\r'),
            Self::Word => is_word(before) != is_word(after),
            Self::NoWord => is_word(before) == is_word(after),
            Self::WordStart => !is_word(before) && is_word(after),
            Self::WordEnd => is_word(before) && !is_word(after),
            Self::WordStartHalf => !is_word(before),
            Self::WordEndHalf => !is_word(after),
        }
    }
}
