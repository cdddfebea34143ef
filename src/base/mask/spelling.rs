//! The same text in other spellings: `%2F`, `\/`, `\u002f` and `&#47;` are all a slash.

use std::ops::Range;

/// How often an encoding may have been encoded again.
const DEPTH: usize = 3;

/// Long texts are read in windows of this many bytes. They overlap by more than any credential takes in any spelling.
const WINDOW: usize = 64 * 1024;
const OVERLAP: usize = 16 * 1024;

/// What stands in front of a credential may make an escape of its first letters, as `\\` does of a key that begins with `n`. So
/// many bytes behind such a place are read once more without it, and so many places in a window.
const RESTART: usize = 4 * 1024;
const RESTARTS: usize = 32;

/// A text without its escapes, and where its bytes, and its end, came from.
struct Plain {
    bytes: Vec<u8>,
    /// Where runs of bytes begin that came one behind the other, and where from: few, as most of a text is as it was.
    runs: Vec<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    at: usize,
    origin: usize,
}

/// Asks `find` about every other spelling of a text, and adds what it finds to `found`, as ranges of the text. `find` is
/// told whether it sees the end of the text; `begins` tells whether something that is looked for begins with a byte.
pub fn each(
    text: &[u8],
    begins: &impl Fn(u8) -> bool,
    find: &mut impl FnMut(&[u8], bool) -> Vec<Range<usize>>,
    found: &mut Vec<Range<usize>>,
) {
    if memchr::memchr3(b'%', b'\\', b'&', text).is_none() {
        return;
    }
    let mut from = 0;
    loop {
        let to = text.len().min(from + WINDOW);
        let is_last = to == text.len();
        let bytes = text.get(from..to).unwrap_or_default().to_vec();
        let mut plain = Plain { bytes, runs: vec![Run { at: 0, origin: from }] };
        for _ in 0..DEPTH {
            for part in plain.restarts(begins) {
                part.search(is_last && part.origin(part.bytes.len()) == Some(to), find, found);
            }
            let Some(next) = plain.unescaped() else { break };
            plain = next;
            let origin = |at: usize| plain.origin(at).unwrap_or(to);
            found.extend(find(&plain.bytes, is_last).into_iter().map(|range| origin(range.start)..origin(range.end)));
            if is_last {
                // An escape may have been cut as well.
                let whole = plain.bytes.len() - cut_escape(&plain.bytes);
                if whole < plain.bytes.len() {
                    let begun = find(plain.bytes.get(..whole).unwrap_or_default(), true);
                    found.extend(begun.into_iter().map(|range| origin(range.start)..origin(range.end)));
                }
            }
        }
        if is_last {
            return;
        }
        from = to - OVERLAP;
    }
}

/// How many bytes at the end of a text are the beginning of an escape.
fn cut_escape(text: &[u8]) -> usize {
    let end = text.get(text.len().saturating_sub(6)..).unwrap_or_default();
    match end.iter().rposition(|byte| matches!(byte, b'%' | b'\\' | b'&')) {
        Some(at) => end.len() - at,
        None => 0,
    }
}

/// The byte that an escape at the beginning of a text stands for, and the length of the escape.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let number = |from: usize, to: usize, radix: u32| {
        let digits = text.get(from..to).and_then(|digits| std::str::from_utf8(digits).ok())?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !digits.is_empty();
        is_number.then(|| u32::from_str_radix(digits, radix).ok()).flatten().and_then(|code| u8::try_from(code).ok())
    };
    match text {
        [b'%', ..] => Some((number(1, 3, 16)?, 3)),
        [b'\\', b'u', ..] => Some((number(2, 6, 16).filter(u8::is_ascii)?, 6)),
        [b'\\', b'x', ..] => Some((number(2, 4, 16).filter(u8::is_ascii)?, 4)),
        [b'\\', byte @ (b'/' | b'"' | b'\'' | b'\\'), ..] => Some((*byte, 2)),
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => Some((b'\n', 2)),
        [b'&', b'#', ..] => {
            let end = text.iter().take(9).position(|byte| *byte == b';')?;
            let code = match text.get(2) {
                Some(b'x' | b'X') => number(3, end, 16),
                _ => number(2, end, 10),
            };
            Some((code.filter(u8::is_ascii)?, end + 1))
        }
        _ => [(&b"&amp;"[..], b'&'), (b"&quot;", b'"'), (b"&lt;", b'<'), (b"&gt;", b'>')]
            .into_iter()
            .find(|(name, _)| text.starts_with(name))
            .map(|(name, byte)| (byte, name.len())),
    }
}

// === impl Plain ===

impl Plain {
    /// What is behind the first byte of escapes that may be none.
    fn restarts(&self, begins: &impl Fn(u8) -> bool) -> Vec<Self> {
        let places = memchr::memchr2_iter(b'%', b'\\', &self.bytes).filter(|at| {
            let text = self.bytes.get(*at..).unwrap_or_default();
            text.get(1).is_some_and(|next| next.is_ascii_alphanumeric() && begins(*next)) && escape(text).is_some()
        });
        let part = |at: usize| {
            let end = self.bytes.len().min(at + RESTART);
            let mut part = Self { bytes: Vec::with_capacity(end - at), runs: Vec::new() };
            part.copy(self, at..end, &mut 0);
            part
        };
        places.take(RESTARTS).map(|at| part(at + 1)).collect()
    }

    /// Asks about the text without its escapes.
    fn search(
        &self,
        is_end: bool,
        find: &mut impl FnMut(&[u8], bool) -> Vec<Range<usize>>,
        found: &mut Vec<Range<usize>>,
    ) {
        let mut next = self.unescaped();
        for _ in 0..DEPTH {
            let Some(plain) = next else { return };
            let origin = |at: usize| plain.origin(at);
            let ranges = find(&plain.bytes, is_end).into_iter();
            found.extend(ranges.filter_map(|range| Some(origin(range.start)?..origin(range.end)?)));
            next = plain.unescaped();
        }
    }

    /// The text with its escapes resolved once; `None` if it has none.
    fn unescaped(&self) -> Option<Self> {
        let mut plain = Self { bytes: Vec::new(), runs: Vec::new() };
        let (mut done, mut run) = (0, 0);
        for at in memchr::memchr3_iter(b'%', b'\\', b'&', &self.bytes) {
            // What stands within an escape is no other one.
            if at < done {
                continue;
            }
            let Some((byte, length)) = escape(self.bytes.get(at..).unwrap_or_default()) else { continue };
            plain.bytes.reserve(if done == 0 { self.bytes.len() } else { 0 });
            plain.copy(self, done..at, &mut run);
            plain.come(self.origin(at)?);
            plain.bytes.push(byte);
            done = at + length;
        }
        if done == 0 {
            return None;
        }
        plain.copy(self, done..self.bytes.len(), &mut run);
        Some(plain)
    }

    /// Adds a part of another text as it is. `run` is one of its runs that begins no later than the part.
    fn copy(&mut self, other: &Self, part: Range<usize>, run: &mut usize) {
        let next = |run: usize| other.runs.get(run + 1).filter(|next| next.at <= part.start);
        while next(*run).is_some() {
            *run += 1;
        }
        let Some(first) = other.runs.get(*run) else { return };
        self.come(first.origin + (part.start - first.at));
        let begin = self.bytes.len();
        for next in other.runs.iter().skip(*run + 1).take_while(|next| next.at <= part.end) {
            self.runs.push(Run { at: begin + (next.at - part.start), origin: next.origin });
        }
        self.bytes.extend_from_slice(other.bytes.get(part).unwrap_or_default());
    }

    /// Notes where the next byte comes from.
    fn come(&mut self, origin: usize) {
        let at = self.bytes.len();
        if self.runs.last().is_some_and(|run| run.at == at) {
            self.runs.pop();
        }
        self.runs.push(Run { at, origin });
    }

    /// Where a byte came from, or the end.
    fn origin(&self, at: usize) -> Option<usize> {
        let run = self.runs.partition_point(|run| run.at <= at).checked_sub(1).and_then(|run| self.runs.get(run))?;
        (at <= self.bytes.len()).then_some(run.origin + (at - run.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, needle: &str) -> Vec<String> {
        let mut ranges = Vec::new();
        let mut find = |text: &[u8], _: bool| {
            let at = memchr::memmem::find(text, needle.as_bytes());
            at.map(|at| at..at + needle.len()).into_iter().collect()
        };
        let begins = |byte| needle.as_bytes().first() == Some(&byte);
        each(text.as_bytes(), &begins, &mut find, &mut ranges);
        ranges.into_iter().map(|range| text.get(range).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_slash_is_a_slash() {
        for text in ["a%2Fb", "a%2fb", "%61%2f%62", "a\\/b", "a\\u002fb", "a\\x2Fb", "a&#47;b", "a&#x2f;b", "\\u0061/b"]
        {
            assert_eq!(found(&format!("ü {text} ü"), "a/b"), [text], "{text}");
        }
        for text in ["a%252Fb", "a%25252Fb", "a%5Cu002fb", "a\\\\u002fb", "a&amp;#47;b"] {
            assert!(found(&format!("ü {text} ü"), "a/b").contains(&text.to_owned()), "{text}");
        }
        for text in ["a/b", "a%2", "a%zzb", "a\\u00", "a&#47b", "&#999999;", "%", "\\", "&", "%C3%BC", "\\u00e9"] {
            assert_eq!(found(text, "a/b"), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_stands_in_front_makes_no_escape_of_the_first_letters() {
        for (text, needle) in [
            ("\\n-a%2Fb", "n-a/b"),
            ("%ab%2Fc", "ab/c"),
            ("x%5Cn-a%252Fb", "n-a/b"),
            ("\\u0041a%2Fb", "u0041a/b"),
            ("\\x41%2Fb", "x41/b"),
        ] {
            let needle_begins = text.find(|char| needle.starts_with(char)).unwrap();
            assert!(found(text, needle).contains(&text.get(needle_begins..).unwrap().to_owned()), "{text}");
        }
    }

    /// What [`Plain::unescaped`] is held against: each byte with its own origin.
    fn byte_by_byte(bytes: &[u8], origins: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut plain, mut from, mut at) = (Vec::new(), Vec::new(), 0);
        while at < bytes.len() {
            let (byte, length) = match bytes[at] {
                b'%' | b'\\' | b'&' => escape(&bytes[at..]).unwrap_or((bytes[at], 1)),
                byte => (byte, 1),
            };
            plain.push(byte);
            from.push(origins[at]);
            at += length;
        }
        from.push(*origins.last().unwrap());
        (plain, from)
    }

    proptest::proptest! {
        #[test]
        fn every_byte_knows_where_it_came_from(text in r"([a-n0-9]{0,3}(\\|\\n|\\u0025|%25|%5c|%|&amp;|&#37;|&|;|/|ü)){0,12}", begin in 0_usize..9) {
            let mut plain = Plain { bytes: text.clone().into_bytes(), runs: vec![Run { at: 0, origin: begin }] };
            let mut wanted = (plain.bytes.clone(), (begin..=begin + text.len()).collect::<Vec<usize>>());
            for _ in 0..4 {
                let before = wanted.clone();
                wanted = byte_by_byte(&wanted.0, &wanted.1);
                let Some(next) = plain.unescaped() else {
                    proptest::prop_assert_eq!(&before, &wanted);
                    break;
                };
                let origins = |plain: &Plain| (0..=plain.bytes.len()).map(|at| plain.origin(at).unwrap()).collect::<Vec<_>>();
                proptest::prop_assert_eq!((&next.bytes, origins(&next)), (&wanted.0, wanted.1.clone()));
                for cut in [0, next.bytes.len() / 2] {
                    let mut part = Plain { bytes: Vec::new(), runs: Vec::new() };
                    part.copy(&next, cut..next.bytes.len(), &mut 0);
                    proptest::prop_assert_eq!((&part.bytes[..], origins(&part)), (&wanted.0[cut..], wanted.1[cut..].to_vec()));
                }
                plain = next;
            }
        }
    }

    #[test]
    fn what_lies_across_two_windows_is_found() {
        for before in [0, 100, WINDOW - 7, WINDOW - 3, WINDOW - 1, WINDOW, 3 * WINDOW - 5] {
            let text = format!("{}a%2Fb{}", "x".repeat(before), "y".repeat(WINDOW));
            assert!(found(&text, "a/b").contains(&"a%2Fb".to_owned()), "{before}");
        }
    }
}
