//! The walk over a text: at each word and at each mark that something may stand around, the detectors are asked.

use crate::dlp::entry::Entry;
use crate::dlp::folded::{Folded, is_word};
use crate::dlp::{contact, numbers, secrets, words};

/// Something that was looked for, at bytes `start` to `end` of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    pub entry: Entry,
    pub start: usize,
    pub end: usize,
}

/// The entries that are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted(u64);

/// A text and what is looked for in it.
pub(super) struct Scan<'a> {
    pub bytes: &'a [u8],
    wanted: Wanted,
}

/// What a detector has found, from where it was asked to the second number.
pub(super) type Hit = (Entry, usize, usize);

/// How far before a number a word stands that says what it is, in bytes.
const CONTEXT: usize = 48;

/// What a byte of a word is; 0 is none.
const LETTERS: u8 = 1;
const DIGIT: u8 = 2;
const MARK: u8 = 4;

const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "it is within the table, which the compiler makes")]
        {
            kinds[byte] = match byte as u8 {
                b'0'..=b'9' => DIGIT,
                b'_' => MARK,
                _ if is_word(byte as u8) => LETTERS,
                _ => 0,
            };
        }
        byte += 1;
    }
    kinds
};

fn kind(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Everything in a text that is wanted, in its order. No two overlap.
pub fn find(text: &str, wanted: Wanted) -> Vec<Finding> {
    let folded = Folded::new(text);
    let scan = Scan { bytes: folded.bytes(), wanted };
    let mut found: Vec<Finding> = Vec::new();
    let mut at = 0;
    while let Some(byte) = scan.bytes.get(at) {
        let (hit, next) = match is_word(*byte) {
            true => scan.word(at),
            false => (scan.mark(*byte, at), at + 1),
        };
        at = next;
        if let Some((entry, start, end)) = hit {
            at = end.max(next);
            let (start, end) = (folded.original(start), folded.original_end(text, end));
            // An address begins before its mark, perhaps within what was taken for something else.
            while found.last().is_some_and(|last| last.start >= start) {
                found.pop();
            }
            if found.last().is_none_or(|last| last.end <= start) {
                found.push(Finding { entry, start, end });
            }
        }
    }
    found
}

// === impl Wanted ===

impl Wanted {
    pub fn all() -> Self {
        Entry::all().collect()
    }

    pub fn has(self, entry: Entry) -> bool {
        self.0 & (1 << entry as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Entry> for Wanted {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(entries.into_iter().fold(0, |all, entry| all | 1 << entry as u8))
    }
}

// === impl Scan ===

impl Scan<'_> {
    /// A word that begins here, and where to go on when nothing was found.
    fn word(&self, at: usize) -> (Option<Hit>, usize) {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        let mut kinds = 0;
        let mut length = 0;
        for byte in rest {
            let kind = kind(*byte);
            if kind == 0 {
                break;
            }
            kinds |= kind;
            length += 1;
        }
        let end = at + length;
        if self.byte(at).is_ascii_digit() {
            if kinds == DIGIT {
                let (hit, run_end) = numbers::run(self, at);
                return (hit.or_else(|| contact::national_phone(self, at)), if hit.is_some() { end } else { run_end });
            }
            return (words::mixed(self, at, end), end);
        }
        // Most words of a language are letters and have nothing behind them that a key goes on with.
        let is_plain = kinds & (DIGIT | MARK) == 0;
        let key = match is_plain && !matches!(self.byte(end), b'-' | b'.') {
            true => None,
            false => secrets::token(self, at),
        };
        let has_shape = !is_plain || matches!(length, 2 | 8 | 11);
        (key.or_else(|| if has_shape { words::lettered(self, at, end) } else { None }), end)
    }

    fn mark(&self, byte: u8, at: usize) -> Option<Hit> {
        match byte {
            b'@' => contact::email(self, at),
            b'+' | b'(' => contact::phone(self, at),
            b':' => contact::colons(self, at),
            b'-' => secrets::pem(self, at),
            _ => None,
        }
    }

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
