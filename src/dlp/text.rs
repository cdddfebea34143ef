//! A text as detectors read it, and what is looked for in it.

use crate::dlp::entry::Entry;
use crate::dlp::folded::is_word;

/// The entries that are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted(u64);

/// A text and what is looked for in it.
pub(super) struct Scan<'a> {
    pub bytes: &'a [u8],
    pub wanted: Wanted,
}

/// What a detector has found, from where it was asked to the second number.
pub(super) type Hit = (Entry, usize, usize);

/// How far before a number a word stands that says what it is, in bytes.
const CONTEXT: usize = 48;

// === impl Wanted ===

impl Wanted {
    #[cfg(test)]
    pub fn all() -> Self {
        Entry::all().collect()
    }

    pub fn has(self, entry: Entry) -> bool {
        self.0 & (1 << entry as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one item of a number: an entry, or behind them a profile of a gateway's own.
    pub fn item(item: u8) -> Self {
        Self(1_u64.checked_shl(item.into()).unwrap_or(0))
    }

    pub fn has_item(self, item: u8) -> bool {
        self.0 & Self::item(item).0 != 0
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Entry> for Wanted {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(entries.into_iter().fold(0, |all, entry| all | 1 << entry as u8))
    }
}

// === impl Scan ===

impl Scan<'_> {
    pub fn wants(&self, entry: Entry) -> bool {
        self.wanted.has(entry)
    }

    /// The byte at a place, or 0.
    pub fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The byte before a place, or 0.
    pub fn before(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |before| self.byte(before))
    }

    pub fn slice(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or(&[])
    }

    pub fn word_end(&self, at: usize) -> usize {
        self.while_is(at, is_word)
    }

    /// Where the bytes end that a test lets pass.
    pub fn while_is(&self, at: usize, test: impl Fn(u8) -> bool) -> usize {
        let length = self.bytes.get(at..).map_or(0, |rest| rest.iter().take_while(|byte| test(**byte)).count());
        at + length
    }

    /// The same, no further than a number of bytes.
    pub fn while_is_within(&self, at: usize, most: usize, test: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        at + rest.iter().take(most).take_while(|byte| test(**byte)).count()
    }

    /// Whether one of the words stands shortly before a place. They are in small letters.
    pub fn has_context(&self, at: usize, known: &[&str]) -> bool {
        let around = self.slice(at.saturating_sub(CONTEXT), at);
        let mut is_start = true;
        for from in 0..around.len() {
            let rest = around.get(from..).unwrap_or(&[]);
            let is_letter = rest.first().is_some_and(u8::is_ascii_alphabetic);
            let says = |word: &&str| {
                let ends = rest.get(word.len()).is_none_or(|byte| !byte.is_ascii_alphabetic());
                ends && rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
            };
            if is_start && is_letter && known.iter().any(says) {
                return true;
            }
            is_start = !is_letter;
        }
        false
    }
}
