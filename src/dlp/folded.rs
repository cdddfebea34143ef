//! A text as detectors read it: digits and letters of other widths as those of ASCII, every blank as a space, every dash as a hyphen,
//! and nothing of what is not seen. It knows where each of its bytes stands in the original.

use std::borrow::Cow;

/// Stands for a letter that no detector knows: `é` before a number makes a word of both.
const LETTER: u8 = 0x80;

/// Stands for any other character.
const OTHER: u8 = 0x81;

pub struct Folded<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where each byte stands in the original, and the end. `None` where they are the same.
    at: Option<Vec<u32>>,
}

// === impl Folded ===

impl<'a> Folded<'a> {
    pub fn new(text: &'a str) -> Self {
        if text.is_ascii() {
            return Self { bytes: Cow::Borrowed(text.as_bytes()), at: None };
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut at = Vec::with_capacity(text.len() + 1);
        for (place, character) in text.char_indices() {
            if let Some(byte) = fold(character) {
                bytes.push(byte);
                at.push(place as u32);
            }
        }
        at.push(text.len() as u32);
        Self { bytes: Cow::Owned(bytes), at: Some(at) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where a byte stands in the original.
    pub fn original(&self, at: usize) -> usize {
        match &self.at {
            Some(all) => all.get(at).map_or(0, |at| *at as usize),
            None => at,
        }
    }

    /// The end in the original of what ends here. What is not seen behind it stays.
    pub fn original_end(&self, text: &str, end: usize) -> usize {
        let Some(last) = end.checked_sub(1) else { return 0 };
        let from = self.original(last);
        from + text.get(from..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
    }
}

/// The digit of a script that a character is.
fn digit(code: u32) -> Option<u8> {
    const ZEROS: [u32; 16] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20, 0x1040,
    ];
    ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code)).map(|zero| (code - zero) as u8)
}

fn fold(character: char) -> Option<u8> {
    let code = character as u32;
    Some(match code {
        0..0x80 => code as u8,
        // Soft hyphen, zero-width characters, marks of direction, joiners, what chooses a form or a key around a character, tags.
        0xad | 0x34f | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x20e3 => return None,
        0xfe00..=0xfe0f | 0xfeff | 0xe0000..=0xe01ef => return None,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => b' ',
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xfe58 | 0xfe63 => b'-',
        0xb7 | 0x2022 | 0x2024 | 0x2027 | 0x2219 | 0x22c5 | 0x30fb => b'.',
        0x2044 | 0x2215 => b'/',
        0x2028 | 0x2029 | 0x85 => b'\n',
        // Full-width forms of ASCII.
        0xff01..=0xff5e => (code - 0xff01) as u8 + b'!',
        // Digits that are raised, lowered, in a circle, or of the letters of mathematics.
        0xb2 | 0xb3 => (code - 0xb0) as u8 + b'0',
        0xb9 => b'1',
        0x2070 | 0x2074..=0x2079 => (code - 0x2070) as u8 + b'0',
        0x2080..=0x2089 => (code - 0x2080) as u8 + b'0',
        0x2460..=0x2468 => (code - 0x2460) as u8 + b'1',
        0x1d7ce..=0x1d7ff => ((code - 0x1d7ce) % 10) as u8 + b'0',
        // Digits of other scripts, Arabic first; a zero stands at the beginning of each ten.
        0x660..=0x1099 if digit(code).is_some() => digit(code)? + b'0',
        _ if character.is_alphabetic() => LETTER,
        _ => OTHER,
    })
}

/// Whether a byte belongs to a word.
pub const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == LETTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_read_alike_and_is_found_where_it_stands() {
        let text = "né ４１\u{200b}1\u{a0}1–x";
        let folded = Folded::new(text);
        assert_eq!(folded.bytes(), b"n\x80 411 1-x");
        assert_eq!((folded.original(3), folded.original(5)), (4, 13));
        assert_eq!(text.get(folded.original(3)..folded.original_end(text, 6)), Some("４１\u{200b}1"));
        let plain = Folded::new("4111");
        assert_eq!((plain.original(2), plain.original_end("4111", 4)), (2, 4));
    }
}
