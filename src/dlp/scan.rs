//! The walk over a text: at each word and at each mark that something may stand around, the detectors are asked.

use crate::dlp::contact;
use crate::dlp::entry::Entry;
use crate::dlp::folded::{Folded, is_word};
use crate::dlp::numbers;
use crate::dlp::secrets;
use crate::dlp::text::{Hit, Scan, Wanted};
use crate::dlp::words;

/// Something that was looked for, at bytes `start` to `end` of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    pub entry: Entry,
    pub start: usize,
    pub end: usize,
}

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
            true => word(&scan, at),
            false => (mark(&scan, *byte, at), at + 1),
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

/// A word that begins here, and where to go on when nothing was found.
fn word(scan: &Scan<'_>, at: usize) -> (Option<Hit>, usize) {
    let rest = scan.bytes.get(at..).unwrap_or(&[]);
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
    if scan.byte(at).is_ascii_digit() {
        if kinds & LETTERS == 0 {
            let (hit, run_end) = numbers::run(scan, at);
            // Behind what was found another number may stand.
            return (hit, if hit.is_some() { end } else { end.max(run_end) });
        }
        return (words::mixed(scan, at, end), end);
    }
    // Most words of a language are letters and have nothing behind them that a key goes on with.
    let is_plain = kinds & (DIGIT | MARK) == 0;
    let key = match is_plain && !matches!(scan.byte(end), b'-' | b'.') {
        true => None,
        false => secrets::token(scan, at),
    };
    let has_shape = !is_plain || matches!(length, 2 | 8 | 11);
    (key.or_else(|| if has_shape { words::lettered(scan, at, end) } else { None }), end)
}

fn mark(scan: &Scan<'_>, byte: u8, at: usize) -> Option<Hit> {
    match byte {
        b'@' => contact::email(scan, at),
        b'+' | b'(' => contact::phone(scan, at),
        b':' => contact::colons(scan, at),
        b'-' => secrets::pem(scan, at),
        _ => None,
    }
}
