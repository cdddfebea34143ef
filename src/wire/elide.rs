//! JSON without what is long in it: texts of more than a few kilobytes lose their end. What is left has the same structure
//! and the same short values, so that a body of any length can be read in little memory, piece by piece.

use memchr::{memchr, memchr3};

/// So many bytes of a text are kept: all of an id of 1,024 characters.
pub const KEPT: usize = 4_200;

/// Where the last piece ended.
#[derive(Debug)]
pub struct Elider {
    /// How many bytes of a text are kept.
    kept: usize,
    place: Place,
    /// How many bytes of the text have been seen.
    length: usize,
    /// What of an escape sequence has been seen behind its backslash.
    escape: Vec<u8>,
    /// True behind one half of a character that takes two escapes.
    is_half: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    Text,
    Escape,
    /// In the part of a text that is left out, and behind a backslash there.
    Left,
    LeftEscape,
}

// === impl Elider ===

impl Default for Elider {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Elider {
    /// One that keeps so many bytes of a text.
    pub fn keeping(kept: usize) -> Self {
        Self { kept, place: Place::default(), length: 0, escape: Vec::new(), is_half: false }
    }

    /// Adds to `out` what is kept of the next piece. A line ends every text, because no text of JSON has line breaks.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some(first) = rest.first().copied() {
            let taken = match self.place {
                Place::Outside => {
                    let quote = memchr(b'"', rest);
                    self.enter(quote.is_some());
                    quote.map_or(rest.len(), |at| at + 1)
                }
                Place::Text => self.text(rest),
                Place::Escape => {
                    self.escaped(first);
                    1
                }
                Place::Left => match left(rest) {
                    Some(at) => {
                        let end = rest.get(at).copied();
                        self.place = if end == Some(b'\\') { Place::LeftEscape } else { Place::Outside };
                        out.extend(end.filter(|end| *end != b'\\'));
                        rest = rest.get(at + 1..).unwrap_or_default();
                        continue;
                    }
                    None => return,
                },
                Place::LeftEscape => {
                    self.place = if first == b'\n' { Place::Outside } else { Place::Left };
                    if first == b'\n' {
                        out.push(first);
                    }
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
            };
            let (kept, after) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            out.extend_from_slice(kept);
            rest = after;
        }
    }

    fn enter(&mut self, is_text: bool) {
        if is_text {
            (self.place, self.length, self.is_half) = (Place::Text, 0, false);
        }
    }

    /// How much of a text is kept as it is.
    fn text(&mut self, rest: &[u8]) -> usize {
        let left = self.kept.saturating_sub(self.length);
        if left == 0 && !self.is_half {
            // A character of several bytes is kept whole.
            let inside = rest.iter().take_while(|byte| (0x80..0xc0).contains(*byte)).count();
            if inside < rest.len() {
                self.place = Place::Left;
            }
            return inside;
        }
        let within = rest.get(..left.max(1)).unwrap_or(rest);
        let Some(at) = memchr3(b'"', b'\\', b'\n', within) else {
            self.length += within.len();
            self.is_half = false;
            return within.len();
        };
        self.length += at + 1;
        if at > 0 {
            self.is_half = false;
        }
        self.place = match within.get(at) {
            Some(b'\\') => {
                self.escape.clear();
                Place::Escape
            }
            _ => Place::Outside,
        };
        at + 1
    }

    fn escaped(&mut self, byte: u8) {
        self.length += 1;
        self.escape.push(byte);
        let is_unicode = self.escape.first() == Some(&b'u');
        if byte == b'\n' {
            self.place = Place::Outside;
        } else if !is_unicode || self.escape.len() == 5 {
            self.is_half =
                matches!(self.escape.as_slice(), [b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'b' | b'A'..=b'B', _, _]);
            self.place = Place::Text;
        }
    }
}

/// Where a text that is left out ends, or an escape that may end it or is not all there: escapes are frequent, and the others passed over at
/// once.
fn left(rest: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr3(b'"', b'\\', b'\n', rest.get(from..)?)?;
        match (rest.get(at), rest.get(at + 1)) {
            (Some(b'\\'), Some(escaped)) if *escaped != b'\n' => from = at + 2,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn elided(body: &[u8], size: usize) -> Vec<u8> {
        let (mut elider, mut out) = (Elider::default(), Vec::new());
        body.chunks(size.max(1)).for_each(|piece| elider.push(piece, &mut out));
        out
    }

    #[test]
    fn long_texts_are_cut_and_the_rest_stays() {
        let long = "é\\\"\n😀".repeat(20_000);
        let body = json!({ "a": long, "id": "x".repeat(1_024), "usage": { "n": 5 }, "b": [long, "short"] }).to_string();
        for size in [1, 7, 4_096, body.len()] {
            let out = elided(body.as_bytes(), size);
            assert!(out.len() < 12_000, "{}", out.len());
            let value: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!((&value["usage"]["n"], &value["b"][1]), (&json!(5), &json!("short")));
            assert_eq!(value["id"], "x".repeat(1_024));
            assert!(long.starts_with(value["a"].as_str().unwrap()));
        }
    }

    #[test]
    fn no_escape_is_cut_in_two() {
        for shift in 0..40 {
            let text = format!("{}{}", "x".repeat(KEPT - shift), "\\ud83d\\ude00".repeat(10));
            let out = elided(format!("{{\"a\":\"{text}\"}}").as_bytes(), 1_000);
            assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{shift}");
        }
    }

    #[test]
    fn a_line_ends_every_text() {
        let body = format!("data: {{\"a\":\"{}\ndata: {{\"b\":\"c\"}}\n\n", "x".repeat(9_000));
        assert!(elided(body.as_bytes(), 64).ends_with(b"\ndata: {\"b\":\"c\"}\n\n"));
    }

    proptest! {
        #[test]
        fn what_is_short_stays_as_it_is(text in "\\PC{0,60}", size in 1usize..9) {
            let body = json!({ "a": text, "b": [1, { "c": text }] }).to_string();
            prop_assert_eq!(elided(body.as_bytes(), size), body.as_bytes());
        }

        #[test]
        fn any_bytes_are_taken_without_harm(body in prop::collection::vec(prop::sample::select(b"\"\\u{}d8\nx".to_vec()), 0..200), size in 1usize..9) {
            prop_assert_eq!(elided(&body, size), body);
        }
    }
}
