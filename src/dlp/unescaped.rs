//! A text as it is meant: a JSON document within a string, such as the arguments of a tool, has escapes of its own, and an address or a
//! form has others. An escape can hide a digit.

use std::borrow::Cow;

/// A text as it is looked through, and the way back to where it was written.
pub struct Unescaped<'a> {
    pub text: Cow<'a, str>,
    /// Where an escape ends, here and in the original.
    ends: Vec<(usize, usize)>,
    /// Where an escape begins in the original of which the end is missing, or the original's length.
    pub open: usize,
}

/// What an escape stands for, and how long it is, in bytes.
enum Escape {
    Means(char, usize),
    /// It may become one with what comes next.
    Unfinished,
    None,
}

// === impl Unescaped ===

impl<'a> Unescaped<'a> {
    pub fn of(text: &'a str, is_json: bool) -> Self {
        Self::read(text, |rest| match is_json {
            true => memchr::memchr2(b'\\', b'%', rest.as_bytes()),
            false => memchr::memchr(b'%', rest.as_bytes()),
        })
    }

    /// As it is meant where `%` is no escape: a pattern of SQL has such signs, too. `None` where that is no difference.
    pub fn without_percent(text: &'a str, is_json: bool) -> Option<Self> {
        memchr::memchr(b'%', text.as_bytes())?;
        Some(Self::read(text, |rest| if is_json { memchr::memchr(b'\\', rest.as_bytes()) } else { None }))
    }

    fn read(text: &'a str, next: impl Fn(&str) -> Option<usize>) -> Self {
        if next(text).is_none() {
            return Self { text: Cow::Borrowed(text), ends: Vec::new(), open: text.len() };
        }
        let (mut made, mut ends, mut open) = (String::with_capacity(text.len()), Vec::new(), text.len());
        let mut rest = text;
        while let Some(at) = next(rest) {
            let (plain, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            made.push_str(plain);
            let is_percent = from.starts_with('%');
            let length = match if is_percent { percent(from) } else { escape(from) } {
                Escape::Means(char, length) => {
                    made.push(char);
                    ends.push((made.len(), text.len() - from.len() + length));
                    length
                }
                Escape::Unfinished => {
                    open = text.len() - from.len();
                    made.push_str(from);
                    from.len()
                }
                Escape::None => {
                    made.push(if is_percent { '%' } else { '\\' });
                    1
                }
            };
            rest = from.get(length..).unwrap_or("");
        }
        made.push_str(rest);
        Self { text: Cow::Owned(made), ends, open }
    }

    /// Where a place was in the original.
    pub fn original(&self, at: usize) -> usize {
        let before = self.ends.partition_point(|(end, _)| *end <= at);
        let (here, there) = before.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or((0, 0));
        there + (at - here)
    }
}

/// What a text begins with that is escaped as in an address.
fn percent(text: &str) -> Escape {
    let mut bytes = Vec::new();
    for at in 0..4 {
        let rest = text.get(at * 3..).unwrap_or("");
        let is_hex = |digits: &&str| rest.starts_with('%') && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = rest.get(1..3).filter(is_hex).map(|digits| u8::from_str_radix(digits, 16));
        let Some(Ok(value)) = digits else {
            let hex = rest.get(1..).unwrap_or("");
            let is_open = (rest.is_empty() || rest.starts_with('%')) && hex.len() < 2;
            let is_open = is_open && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            return if is_open { Escape::Unfinished } else { Escape::None };
        };
        bytes.push(value);
        if let Some(char) = std::str::from_utf8(&bytes).ok().and_then(|known| known.chars().next()) {
            return Escape::Means(char, (at + 1) * 3);
        }
    }
    Escape::None
}

/// The escape that a text begins with.
fn escape(text: &str) -> Escape {
    let char = match text.as_bytes().get(1) {
        None => return Escape::Unfinished,
        Some(b'u') => return code(text),
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'b' | b'f') => ' ',
        Some(b'"') => '"',
        Some(b'/') => '/',
        Some(b'\\') => '\\',
        Some(_) => return Escape::None,
    };
    Escape::Means(char, 2)
}

fn code(text: &str) -> Escape {
    let unit = |from: usize| {
        let digits = text.get(from..from + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let is_unfinished = |from: usize| {
        let rest = text.get(from..).unwrap_or("");
        rest.len() < 4 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match unit(2) {
        None if is_unfinished(2) => Escape::Unfinished,
        None => Escape::None,
        Some(high @ 0xd800..=0xdbff) => match (text.get(6..8), unit(8)) {
            (Some("\\u"), Some(low @ 0xdc00..=0xdfff)) => {
                let joined = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                Escape::Means(char::from_u32(joined).unwrap_or('\u{fffd}'), 12)
            }
            (Some("\\u"), None) if is_unfinished(8) => Escape::Unfinished,
            (None, _) if matches!(text.get(6..), Some("" | "\\")) => Escape::Unfinished,
            _ => Escape::Means('\u{fffd}', 6),
        },
        Some(code) => Escape::Means(char::from_u32(code).unwrap_or('\u{fffd}'), 6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_read_and_their_places_known() {
        let text = r#"{"a":"\u0034\u0031 1\n\"\ud83d\ude00\x \ud83d."}"#;
        let read = Unescaped::of(text, true);
        assert_eq!(read.text, "{\"a\":\"41 1\n\"😀\\x \u{fffd}.\"}");
        let from = read.text.find('4').unwrap();
        assert_eq!(text.get(read.original(from)..read.original(from + 2)), Some(r"\u0034\u0031"));
        assert_eq!((read.original(read.text.len()), read.open), (text.len(), text.len()));
        assert_eq!(Unescaped::of(text, false).text, text);
        let text = "a%20b%C2%A0c%e2%80%89d 5% %zz %c3x %F0%9F%98%80%";
        let read = Unescaped::of(text, false);
        assert_eq!((&*read.text, read.open), ("a b\u{a0}c\u{2009}d 5% %zz %c3x 😀%", text.len() - 1));
        let from = read.text.find('c').unwrap();
        assert_eq!(text.get(read.original(from)..read.original(from + 1)), Some("c"));
        for (open, at) in [
            (r"a\", 1),
            (r"a\u", 1),
            (r"a\u003", 1),
            (r"a\ud83d", 1),
            (r"a\ud83d\", 1),
            (r"a\ud83d\ude0", 1),
            (r"a\u00zz", 7),
            (r"a\ud83dx", 8),
        ] {
            assert_eq!(Unescaped::of(open, true).open, at, "{open}");
        }
    }

    proptest! {
        #[test]
        fn each_place_leads_back(text in "(%[2-5][0-9a-f]|%c2%a0|%|\\\\u00[3-5][0-9a-f]|\\\\[nt\"u]|\\\\ud83d\\\\ude00|[a-z0-9é\\\\]){0,30}") {
            let read = Unescaped::of(&text, true);
            let mut last = 0;
            for (at, _) in read.text.char_indices().chain([(read.text.len(), ' ')]) {
                let original = read.original(at);
                prop_assert!(original >= last && text.is_char_boundary(original));
                last = original;
            }
            prop_assert_eq!(last, text.len());
        }
    }
}
