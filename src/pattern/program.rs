//! What a pattern has become: states, each of which leads to others.

use crate::base::sorted;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 10_000;

/// What a pattern has become: states, each of which leads to others.
#[derive(Debug, Default)]
pub struct Program {
    pub states: Vec<State>,
    pub sets: Vec<Set>,
    pub start: u32,
    /// With which characters a match can begin; `None` where one can be empty.
    pub first: Option<First>,
}

#[derive(Clone, Copy, Debug)]
pub enum State {
    /// Goes on behind this character.
    One(char, u32),
    /// Goes on behind a character of a set.
    Any(u32, u32),
    /// Goes on at both places.
    Split(u32, u32),
    /// Goes on if what is around this place is right.
    Look(Look, u32),
    Match,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Start,
    End,
    StartOfLine,
    EndOfLine,
    StartOfLineCrlf,
    EndOfLineCrlf,
    Word,
    NoWord,
    WordStart,
    WordEnd,
    WordStartHalf,
    WordEndHalf,
}

/// Characters, as ranges in order that neither meet nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub ranges: Vec<(u32, u32)>,
    /// The part below 128 once more, for speed.
    pub ascii: u128,
}

/// Characters that are cheap to tell: those below 128 one by one, and all others together.
#[derive(Clone, Copy, Debug, Default)]
pub struct First {
    pub ascii: u128,
    pub beyond: bool,
}

// === impl Set ===

impl Set {
    pub fn new(mut ranges: Vec<(u32, u32)>) -> Self {
        sorted::by(&mut ranges, Ord::cmp);
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        let ascii = (0..128).filter(|code| merged.iter().any(|(from, to)| (from..=to).contains(&code)));
        let ascii = ascii.fold(0, |bits, code| bits | 1 << code);
        Self { ranges: merged, ascii }
    }

    /// All other characters.
    pub fn negated(&self) -> Self {
        let mut others = Vec::new();
        let mut next = 0;
        for (from, to) in &self.ranges {
            if next < *from {
                others.push((next, from - 1));
            }
            next = to + 1;
        }
        if next <= u32::from(char::MAX) {
            others.push((next, u32::from(char::MAX)));
        }
        Self::new(others)
    }

    /// The set with the other case of its letters. Only A to Z have one here.
    pub fn folded(&self) -> Self {
        let mut all = self.ranges.clone();
        for (from, to) in &self.ranges {
            for (first, last, other) in [('a', 'z', 'A'), ('A', 'Z', 'a')] {
                let (first, last, other) = (u32::from(first), u32::from(last), u32::from(other));
                let (from, to) = (first.max(*from), last.min(*to));
                if from <= to {
                    all.push((from - first + other, to - first + other));
                }
            }
        }
        Self::new(all)
    }

    pub fn has(&self, char: char) -> bool {
        let code = u32::from(char);
        if code < 128 {
            return self.ascii >> code & 1 == 1;
        }
        let at = self.ranges.partition_point(|(_, to)| *to < code);
        self.ranges.get(at).is_some_and(|(from, _)| *from <= code)
    }
}

// === impl First ===

impl First {
    pub fn add(&mut self, char: char) {
        match u32::from(char) {
            code if code < 128 => self.ascii |= 1 << code,
            _ => self.beyond = true,
        }
    }

    pub fn add_all(&mut self, set: &Set) {
        self.ascii |= set.ascii;
        self.beyond |= set.ranges.last().is_some_and(|(_, to)| *to >= 128);
    }

    pub fn has(&self, byte: u8) -> bool {
        if byte < 128 { self.ascii >> byte & 1 == 1 } else { self.beyond }
    }
}
