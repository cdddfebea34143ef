//! What a gateway looks for beside the built-in entries: patterns and words of its own.

use crate::base::fault::Invalid;
use crate::dlp::entry::{Entry, Profile};
use crate::pattern::Pattern;
use crate::pattern::budget::Steps;
use serde_json::Value;

/// A profile of a gateway's own.
#[derive(Clone, Debug)]
pub struct Own {
    pub id: String,
    /// What its placeholders begin with.
    pub label: String,
    /// What stands in its place for ever, and not a placeholder.
    pub replacement: Option<String>,
    patterns: Vec<Pattern>,
    /// In small letters and in order, so that those with one first letter stand together.
    words: Vec<String>,
}

/// How many profiles of its own a gateway may have: they share the bits of a set with the built-in entries.
pub const MOST: usize = 32;

const MOST_PATTERNS: usize = 20;
const MOST_WORDS: usize = 1_000;

/// The longest pattern and the longest word, in bytes.
const LONGEST_PATTERN: usize = 1_000;
const LONGEST_WORD: usize = 200;

// === impl Own ===

impl Own {
    pub fn parse(given: &Value, path: &[&str]) -> Result<Self, Invalid> {
        let wrong = |member: &str, what: String| {
            let at = path.iter().copied().chain(Some(member).filter(|member| !member.is_empty()));
            Invalid::at(at, what)
        };
        let Some(members) = given.as_object() else {
            return Err(wrong("", "Expected an object with id, and patterns or words".to_owned()));
        };
        if let Some(name) =
            members.keys().find(|name| !matches!(name.as_str(), "id" | "patterns" | "words" | "replacement"))
        {
            return Err(wrong(name, "Expected id, patterns, words and replacement only".to_owned()));
        }
        let id = members.get("id").and_then(Value::as_str).unwrap_or("");
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if !(1..=64).contains(&id.len()) || !id.bytes().all(is_name) {
            return Err(wrong("id", "Expected 1 to 64 lower-case letters, digits, - and _".to_owned()));
        }
        if Entry::parse(id).is_some() || Profile::parse(id).is_some() {
            return Err(wrong("id", format!("Expected another name: '{id}' is one of Tollgate's own")));
        }
        let mut patterns = Vec::new();
        for pattern in texts(members.get("patterns"), MOST_PATTERNS, LONGEST_PATTERN).ok_or_else(|| {
            wrong("patterns", format!("Expected up to {MOST_PATTERNS} strings of 1 to {LONGEST_PATTERN} bytes"))
        })? {
            patterns.push(Pattern::new(pattern, true).map_err(|why| wrong("patterns", format!("'{pattern}': {why}")))?);
        }
        let words = texts(members.get("words"), MOST_WORDS, LONGEST_WORD).ok_or_else(|| {
            wrong("words", format!("Expected up to {MOST_WORDS} strings of 1 to {LONGEST_WORD} bytes"))
        })?;
        if patterns.is_empty() && words.is_empty() {
            return Err(wrong("", "Expected patterns or words to look for".to_owned()));
        }
        let replacement = match members.get("replacement") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.len() <= LONGEST_WORD && !text.chars().any(char::is_control) => {
                Some(text.clone())
            }
            Some(_) => {
                return Err(wrong(
                    "replacement",
                    format!("Expected a text of up to {LONGEST_WORD} bytes, without line breaks"),
                ));
            }
        };
        let mut words: Vec<String> = words.iter().map(|word| word.trim().to_lowercase()).collect();
        words.retain(|word| !word.is_empty());
        words.sort_unstable_by(|one, other| {
            one.chars().next().cmp(&other.chars().next()).then(other.len().cmp(&one.len()))
        });
        Ok(Self { id: id.to_owned(), label: id.to_ascii_uppercase().replace('-', "_"), replacement, patterns, words })
    }

    /// Where a text has what is looked for. What it costs is taken from the steps.
    pub fn find(&self, text: &str, steps: &mut Steps) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> =
            self.patterns.iter().flat_map(|pattern| pattern.spans(text, steps)).collect();
        if !self.words.is_empty() {
            steps.take(text.len() as u64 / 8);
            self.words_of(text, &mut found);
        }
        found
    }

    fn words_of(&self, text: &str, found: &mut Vec<(usize, usize)>) {
        let mut before = None;
        for (at, char) in text.char_indices() {
            // A word does not begin within another one.
            if !before.replace(char).is_some_and(|before| is_letter(before) && is_letter(char)) {
                let first = char.to_lowercase().next();
                let from = self.words.partition_point(|word| word.chars().next() < first);
                let alike = self.words.iter().skip(from).take_while(|word| word.chars().next() == first);
                let rest = text.get(at..).unwrap_or("");
                if let Some(length) = alike.into_iter().find_map(|word| begins_with(rest, word)) {
                    found.push((at, at + length));
                }
            }
        }
    }

    /// How much of a text's end may be the beginning of one of the words, at most, in bytes.
    pub fn longest_word(&self) -> usize {
        self.words.iter().map(|word| word.len() * 2).max().unwrap_or(0)
    }

    pub fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }
}

fn is_letter(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The length of a word at the beginning of a text, whatever the size of its letters.
fn begins_with(text: &str, word: &str) -> Option<usize> {
    let mut wanted = word.chars();
    let mut chars = text.char_indices();
    let mut last = ' ';
    loop {
        let next = chars.next();
        let at = next.map_or(text.len(), |(at, _)| at);
        if wanted.as_str().is_empty() {
            let goes_on = next.is_some_and(|(_, char)| is_letter(char) && is_letter(last));
            return (!goes_on).then_some(at);
        }
        let (_, char) = next?;
        for lower in char.to_lowercase() {
            if wanted.next() != Some(lower) {
                return None;
            }
        }
        last = char;
    }
}

/// A list of texts that may be absent; `None` where it is none, or too long.
fn texts(given: Option<&Value>, most: usize, longest: usize) -> Option<Vec<&str>> {
    match given {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(all)) if all.len() <= most => {
            all.iter().map(|text| text.as_str().filter(|text| (1..=longest).contains(&text.len()))).collect()
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(own: &Value, text: &str) -> Vec<String> {
        let own = Own::parse(own, &[]).unwrap();
        let mut found = own.find(text, &mut Steps::new(1_000_000));
        found.sort_unstable();
        found.into_iter().map(|(start, end)| text.get(start..end).unwrap().to_owned()).collect()
    }

    #[test]
    fn words_are_found_whole_and_patterns_as_long_as_they_are() {
        let own = json!({"id": "projects", "words": ["Apollo", "apollo 13", "Straße", "münchen", "火箭"], "patterns": ["PRJ-[0-9]+", "x*"]});
        let text = "APOLLO 13, apollo; apollos STRASSE straße München 大火箭 PRJ-12345 xx";
        assert_eq!(
            found(&own, text),
            ["APOLLO 13", "apollo", "straße", "München", "PRJ-12345", "xx"].map(str::to_owned)
        );
        assert_eq!(found(&json!({"id": "a", "words": ["火箭"]}), "火箭 x 火箭"), ["火箭", "火箭"]);
    }

    #[test]
    fn what_is_no_profile_is_refused_with_its_place() {
        for (wrong, place) in [
            (json!([]), "p"),
            (json!({"id": "A", "words": ["x"]}), "p.id"),
            (json!({"id": "email", "words": ["x"]}), "p.id"),
            (json!({"id": "financial", "words": ["x"]}), "p.id"),
            (json!({"id": "a"}), "p"),
            (json!({"id": "a", "words": [1]}), "p.words"),
            (json!({"id": "a", "patterns": ["("]}), "p.patterns"),
            (json!({"id": "a", "words": ["x"], "more": 1}), "p.more"),
            (json!({"id": "a", "words": ["x"], "replacement": "a\nb"}), "p.replacement"),
        ] {
            assert_eq!(Own::parse(&wrong, &["p"]).unwrap_err().path.join("."), place, "{wrong}");
        }
    }
}
