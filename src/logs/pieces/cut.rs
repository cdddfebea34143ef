//! Where a request's body can be cut: behind each of its messages, and around its other long members. Cuts are positions in the
//! text as it was sent. They only decide what is stored once, so that a wrong one costs room and never a byte.

use crate::wire::request::turns;
use memchr::{memchr2, memmem};
use std::ops::Range;

/// Shorter members stay where they are, in bytes.
const MIN_MEMBER: usize = 2_048;

/// Clients move their cache marks among so many messages at the end.
const MARKED_AT_THE_END: usize = 4;

/// So deeply nested is no request.
const MAX_DEPTH: usize = 512;

/// The lists of messages, in the formats of Anthropic, OpenAI and Bedrock, of Gemini, and of Responses.
const LISTS: [&[u8]; 3] = [b"messages", b"contents", b"input"];

/// What providers put first in their own prompt caches.
const FIRST: [&[u8]; 2] = [b"tools", b"functions"];

/// Where a body can be cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Where the first message begins, or would.
    pub begin: usize,
    /// Where each message ends.
    pub ends: Vec<usize>,
    /// How many messages will probably stand in the next turn as they stand here.
    pub settled: usize,
    /// The values of other long members, those of tools first.
    pub members: Vec<Range<usize>>,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

// === impl Cuts ===

impl Cuts {
    /// Looks for the cuts of a body; `None` where it has none.
    pub fn of(text: &str) -> Option<Self> {
        let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
        let mut cuts = Self::default();
        let mut first = 0;
        scanner.take(b'{')?;
        while scanner.peek()? != b'}' {
            let key = scanner.string()?;
            let key = text.as_bytes().get(key)?;
            scanner.take(b':')?;
            if LISTS.contains(&key) && cuts.ends.is_empty() && scanner.peek()? == b'[' {
                (cuts.begin, cuts.ends) = scanner.list()?;
            } else {
                let value = scanner.value()?;
                if value.len() >= MIN_MEMBER {
                    match FIRST.contains(&key) {
                        true => {
                            cuts.members.insert(first, value);
                            first += 1;
                        }
                        false => cuts.members.push(value),
                    }
                }
            }
            if scanner.peek()? == b',' {
                scanner.at += 1;
            }
        }
        cuts.settled = cuts.unmarked(text);
        Some(cuts).filter(|cuts| !cuts.ends.is_empty() || !cuts.members.is_empty())
    }

    /// The beginning of what the user says last.
    pub fn last_user(&self, text: &str) -> Option<String> {
        self.ends.iter().enumerate().rev().find_map(|(number, end)| {
            let begin = number.checked_sub(1).and_then(|before| self.ends.get(before)).unwrap_or(&self.begin);
            let message = text.get(*begin..*end)?.trim_start_matches(|char: char| char == ',' || char.is_whitespace());
            turns::said_by_user(message)
        })
    }

    /// The messages before the first of the last ones that has a cache mark.
    fn unmarked(&self, text: &str) -> usize {
        let from = self.ends.len().saturating_sub(MARKED_AT_THE_END);
        let has_mark = |number: &usize| {
            let begin = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(self.begin);
            let message = self.ends.get(*number).and_then(|end| text.as_bytes().get(begin..*end)).unwrap_or_default();
            memmem::find(message, b"\"cache_control\"").or_else(|| memmem::find(message, b"\"cachePoint\"")).is_some()
        };
        (from..self.ends.len()).find(has_mark).unwrap_or(self.ends.len())
    }
}

// === impl Scanner ===

impl Scanner<'_> {
    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// What stands between two quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let begin = self.at;
        loop {
            let rest = self.text.get(self.at..)?;
            let next = self.at + memchr2(b'"', b'\\', rest)?;
            if self.text.get(next) == Some(&b'"') {
                self.at = next + 1;
                return Some(begin..next);
            }
            self.at = next + 2;
        }
    }

    /// A value of any kind.
    fn value(&mut self) -> Option<Range<usize>> {
        let first = self.peek()?;
        let begin = self.at;
        let mut depth = 0;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' if depth < MAX_DEPTH => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b'{' | b'[' => return None,
                b',' | b'}' | b']' if depth == 0 => break,
                _ => self.at += 1,
            }
            if depth == 0 && matches!(first, b'"' | b'{' | b'[') {
                break;
            }
        }
        Some(begin..self.at)
    }

    /// A list: where its first element begins, and where each ends.
    fn list(&mut self) -> Option<(usize, Vec<usize>)> {
        self.take(b'[')?;
        let begin = self.at;
        let mut ends = Vec::new();
        while self.peek()? != b']' {
            let element = self.value()?;
            if element.is_empty() {
                return None;
            }
            ends.push(element.end);
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Some((begin, ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Vec<&str>, Vec<&str>, usize) {
        let cuts = Cuts::of(text).unwrap();
        let begins = std::iter::once(cuts.begin).chain(cuts.ends.iter().copied());
        let messages = begins.zip(&cuts.ends).map(|(begin, end)| text.get(begin..*end).unwrap());
        let members = cuts.members.iter().map(|range| text.get(range.clone()).unwrap());
        (messages.collect(), members.collect(), cuts.settled)
    }

    #[test]
    fn a_body_is_cut_behind_each_message_and_around_long_members() {
        let long = format!("\"{}\"", "x\\\"}]".repeat(600));
        let text = format!(
            r#" {{"model":"m","messages":[{{"role":"user","content":"a]\"}}"}} , {{"b":[1,{{}}]}},"c"],"n":1.5 ,"system":{long},"tools":[{long}]}} "#
        );
        let tools = format!("[{long}]");
        let messages = vec![r#"{"role":"user","content":"a]\"}"}"#, r#" , {"b":[1,{}]}"#, r#","c""#];
        assert_eq!(parts(&text), (messages, vec![tools.as_str(), long.as_str()], 3));
        for key in ["contents", "input"] {
            assert_eq!(parts(&format!("{{\"{key}\":[{{}}]}}")).0, ["{}"]);
        }
    }

    #[test]
    fn messages_with_marks_at_the_end_are_not_settled() {
        let body = |marked: &[usize]| {
            let messages: Vec<String> = (0..8)
                .map(|n| match marked.contains(&n) {
                    true => r#"{"content":[{"cache_control":{"type":"ephemeral"}}]}"#.to_owned(),
                    false => r#"{"content":"a cache_control"}"#.to_owned(),
                })
                .collect();
            Cuts::of(&format!(r#"{{"messages":[{}]}}"#, messages.join(","))).unwrap().settled
        };
        assert_eq!([body(&[]), body(&[0]), body(&[5, 7]), body(&[0, 4, 6])], [8, 8, 5, 4]);
    }

    #[test]
    fn what_is_no_request_has_no_cuts() {
        let deep = format!("{{\"messages\":[{}", "[".repeat(100_000));
        for text in [
            "",
            "{",
            "{}",
            "[1]",
            "text",
            r#"{"messages":"x"}"#,
            r#"{"messages":[1"#,
            r#"{"messages":[,]}"#,
            r#"{"a" 1}"#,
            &deep,
        ] {
            assert_eq!(Cuts::of(text), None, "{text:.40}");
        }
    }

    proptest! {
        #[test]
        fn cuts_stand_in_order_between_characters(text in r#"[{]?("(messages|x)":)?[\[\]{}",:\\ aü€0-9]{0,60}"#) {
            if let Some(cuts) = Cuts::of(&text) {
                let mut last = cuts.begin;
                for end in &cuts.ends {
                    prop_assert!(*end > last && text.is_char_boundary(*end));
                    last = *end;
                }
                prop_assert!(cuts.settled <= cuts.ends.len());
            }
        }
    }
}
