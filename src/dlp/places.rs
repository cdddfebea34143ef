//! Where texts stand in a body: the values of a JSON document that can carry what people wrote, decoded, since an escape can hide a
//! digit. A body that is no JSON is one text.

use crate::dlp::redact::escaped;
use std::borrow::Cow;

/// A text in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its bytes in the body; of a string, without its quotes.
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
    /// As it is meant, without escapes.
    pub text: Cow<'a, str>,
    /// Where it stands: `messages[0].content`.
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Within the quotes of a JSON string.
    String,
    /// The name of a member, within its quotes.
    Key,
    /// A number of a JSON document. The text has its digits.
    Number,
    /// The whole body.
    Plain,
}

/// A number of fewer digits belongs to no person and no account.
const LEAST_DIGITS: usize = 9;

/// A number of more digits is none of an account.
const MOST_DIGITS: usize = 40;

/// Deeper documents are read as one text.
const MOST_DEPTH: usize = 128;

/// A string of that many characters of base64 and no blank is a file.
const BASE64: usize = 512;

/// All texts of a body, in their order.
pub fn places(body: &[u8]) -> Vec<Place<'_>> {
    if let Some(found) = of_json(body) {
        return found;
    }
    let text = String::from_utf8_lossy(body);
    vec![Place { start: 0, end: body.len(), kind: Kind::Plain, text, path: String::new() }]
}

/// All texts of a body, one below the other.
pub fn texts(body: &[u8]) -> String {
    let texts: Vec<_> = places(body)
        .into_iter()
        .filter(|place| !matches!(place.kind, Kind::Number | Kind::Key))
        .map(|place| place.text)
        .collect();
    texts.join("\n")
}

/// The texts of a JSON document.
pub fn of_json(body: &[u8]) -> Option<Vec<Place<'_>>> {
    let mut reader = Reader { body, at: 0, found: Vec::new(), path: Vec::new() };
    reader.document()?;
    Some(reader.found)
}

enum Step {
    Key(String),
    Index(usize),
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    found: Vec<Place<'a>>,
    path: Vec<Step>,
}

// === impl Place ===

impl Place<'_> {
    /// Whether it is the whole body.
    pub fn is_plain(&self) -> bool {
        self.kind == Kind::Plain
    }

    /// Another text as it stands in this place.
    pub fn written(&self, text: &str) -> String {
        match self.kind {
            Kind::Plain => text.to_owned(),
            Kind::String | Kind::Key => escaped(text),
            // A placeholder is no number, so the number becomes a string.
            Kind::Number => serde_json::Value::from(text).to_string(),
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// `None` where the body is no JSON document.
    fn document(&mut self) -> Option<()> {
        self.blanks();
        if !matches!(self.peek(), b'{' | b'[' | b'"') {
            return None;
        }
        self.value()?;
        self.blanks();
        (self.at == self.body.len()).then_some(())
    }

    fn value(&mut self) -> Option<()> {
        self.blanks();
        match self.peek() {
            b'{' => self.list(b'}', |reader, _| {
                let (start, end, text) = reader.string()?;
                if !is_name(&text) {
                    let path = reader.path();
                    reader.found.push(Place { start, end, kind: Kind::Key, text: text.clone(), path });
                }
                reader.blanks();
                reader.take(b':')?;
                reader.path.push(Step::Key(text.into_owned()));
                Some(())
            }),
            b'[' => self.list(b']', |reader, index| {
                reader.path.push(Step::Index(index));
                Some(())
            }),
            b'"' => {
                let (start, end, text) = self.string()?;
                if !is_file(&text) {
                    let path = self.path();
                    self.found.push(Place { start, end, kind: Kind::String, text, path });
                }
                Some(())
            }
            _ => self.scalar(),
        }
    }

    fn list(&mut self, close: u8, mut lead: impl FnMut(&mut Self, usize) -> Option<()>) -> Option<()> {
        if self.path.len() >= MOST_DEPTH {
            return None;
        }
        self.at += 1;
        self.blanks();
        if self.peek() == close {
            self.at += 1;
            return Some(());
        }
        for index in 0.. {
            self.blanks();
            lead(self, index)?;
            self.value()?;
            self.path.pop();
            self.blanks();
            if self.peek() == close {
                self.at += 1;
                return Some(());
            }
            self.take(b',')?;
        }
        None
    }

    /// A string's place without its quotes, and what it says.
    fn string(&mut self) -> Option<(usize, usize, Cow<'a, str>)> {
        self.take(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.body.get(self.at..)?;
            let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            self.at += length;
            if self.peek() == b'"' {
                break;
            }
            has_escapes = true;
            self.at += 2;
        }
        let raw = std::str::from_utf8(self.body.get(start..self.at)?).ok()?;
        let end = self.at;
        self.at += 1;
        let text = if has_escapes { Cow::Owned(decoded(raw)) } else { Cow::Borrowed(raw) };
        Some((start, end, text))
    }

    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        let rest = self.body.get(start..)?;
        let length =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')).count();
        self.at += length;
        let text = std::str::from_utf8(rest.get(..length)?).ok().filter(|text| !text.is_empty())?;
        if text.len() >= LEAST_DIGITS
            && let Some(text) = whole(text)
        {
            let path = self.path();
            self.found.push(Place { start, end: self.at, kind: Kind::Number, text, path });
        }
        Some(())
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Index(index) => {
                    path.push('[');
                    path.push_str(&index.to_string());
                    path.push(']');
                }
            }
        }
        path
    }

    fn blanks(&mut self) {
        let rest = self.body.get(self.at..).unwrap_or(&[]);
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
    }

    fn peek(&self) -> u8 {
        self.body.get(self.at).copied().unwrap_or(0)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }
}

/// What a JSON string means. A surrogate without its other half, and an escape that is none, are replaced: they hide no digit.
pub fn decoded(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut parts = raw.split('\\');
    text.push_str(parts.next().unwrap_or(""));
    let mut high: Option<u32> = None;
    while let Some(part) = parts.next() {
        if high.is_some() && !part.starts_with('u') {
            high = None;
            text.push('\u{fffd}');
        }
        let mut letters = part.chars();
        let character = match letters.next() {
            // Two backslashes: the next part is plain.
            None => {
                text.push('\\');
                text.push_str(parts.next().unwrap_or(""));
                continue;
            }
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('u') => {
                let code = part.get(1..5).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0xfffd);
                let rest = part.get(5..).unwrap_or("");
                match (high.take(), code) {
                    (first, 0xd800..=0xdbff) if rest.is_empty() => {
                        text.extend(first.map(|_| '\u{fffd}'));
                        high = Some(code);
                        continue;
                    }
                    (Some(first), 0xdc00..=0xdfff) => {
                        let joined = 0x1_0000 + ((first - 0xd800) << 10) + (code - 0xdc00);
                        text.push(char::from_u32(joined).unwrap_or('\u{fffd}'));
                    }
                    (first, _) => {
                        text.extend(first.map(|_| '\u{fffd}'));
                        text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                }
                text.push_str(rest);
                continue;
            }
            Some(other) => other,
        };
        text.push(character);
        text.push_str(letters.as_str());
    }
    if high.is_some() {
        text.push('\u{fffd}');
    }
    text
}

/// The digits of a number that has no part behind the point, however it is written: `4.111e15`.
fn whole(number: &str) -> Option<Cow<'_, str>> {
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(number));
    }
    let (mantissa, power) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (front, behind) = mantissa.strip_prefix('-').unwrap_or(mantissa).split_once('.').unwrap_or((mantissa, ""));
    let behind = behind.trim_end_matches('0');
    let zeros = power.parse::<usize>().ok()?.checked_sub(behind.len()).filter(|zeros| *zeros <= MOST_DIGITS)?;
    let digits = format!("{}{behind}{}", front.trim_start_matches('-'), "0".repeat(zeros));
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(Cow::Owned(digits))
}

/// Whether a member's name is one of an API, in which nothing stands that people wrote.
fn is_name(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn is_file(text: &str) -> bool {
    let data = match text.strip_prefix("data:") {
        Some(url) => match url.split_once(";base64,") {
            Some((_, data)) => return !data.is_empty(),
            None => text,
        },
        None => text,
    };
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    data.len() >= BASE64 && data.bytes().all(is_base64) && data.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<(String, String)> {
        places(body.as_bytes()).into_iter().map(|place| (place.path, place.text.into_owned())).collect()
    }

    #[test]
    fn each_string_and_each_long_number_is_found_with_its_path() {
        let body = r#" {"messages":[{"content":"a\u0034\n\\\"b","n":4111111111111111},[["x",true,null,1.5]]], "e":{}, "l":[] } "#;
        let expected =
            [("messages[0].content", "a4\n\\\"b"), ("messages[0].n", "4111111111111111"), ("messages[1][0][0]", "x")];
        assert_eq!(texts(body), expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
        for place in places(body.as_bytes()) {
            assert!(
                place.kind == Kind::Number
                    || body.as_bytes()[place.start - 1] == b'"' && body.as_bytes()[place.end] == b'"'
            );
        }
        let (path, text) = texts(r#"["\ud83d\ude00 \ud83dx \ude00"]"#).remove(0);
        assert_eq!((path.as_str(), text.as_str()), ("[0]", "😀 \u{fffd}x \u{fffd}"));
    }

    #[test]
    fn what_is_no_json_is_one_text_and_files_are_left_out() {
        for body in ["", "plain 4111", "{\"a\":", "{\"a\":1}x", "{a:1}", "[1,]", "\"a", "\"\\", &"[".repeat(200)] {
            let found = places(body.as_bytes());
            assert_eq!((found.len(), found[0].kind, found[0].end), (1, Kind::Plain, body.len()), "{body}");
        }
        let file = "QUJD".repeat(200);
        assert_eq!(texts(&format!(r#"{{"a":"{file}","b":"data:image/png;base64,AAAA","c":"data: x"}}"#)).len(), 1);
    }

    #[test]
    fn an_unpaired_high_half_at_the_end_is_replaced() {
        assert_eq!(texts(r#"["\ud83d"]"#), [("[0]".to_owned(), "\u{fffd}".to_owned())]);
    }
}
