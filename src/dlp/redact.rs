//! Placeholders in the place of what was found, and what was there back in an answer.

use crate::dlp::entry::Entry;
use crate::dlp::places::{Kind, Place, places};
use crate::dlp::scan::{Finding, find};
use crate::dlp::text::Wanted;
use std::borrow::Cow;
use std::collections::HashMap;

/// One finding as a log has it: never what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub entry: Entry,
    pub path: String,
    /// Where it begins in its text, in bytes.
    pub offset: usize,
}

/// Gives placeholders. The same number has the same one in all of a request.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// What stands for what, in the order in which they were given.
    given: Vec<(String, String)>,
    by_original: HashMap<(&'static str, String), usize>,
    counts: HashMap<&'static str, usize>,
}

/// Puts back what placeholders stand for. It is fed with parts of a text, and keeps what may be half of a placeholder.
pub struct Restorer<'r> {
    redactor: &'r Redactor,
    is_json: bool,
    kept: String,
}

/// A text, and whether anything in it was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub text: String,
    pub is_changed: bool,
}

// === impl Redactor ===

impl Redactor {
    /// The body with placeholders, and what they stand for by kind. `None` where there is nothing to replace.
    pub fn body(&mut self, body: &[u8], wanted: Wanted) -> Option<(Vec<u8>, Vec<Seen>)> {
        let mut seen = Vec::new();
        let mut made: Vec<u8> = Vec::new();
        let mut copied = 0;
        for Place { start, end, kind, text, path } in places(body) {
            let found = find(&text, wanted);
            if found.is_empty() {
                continue;
            }
            seen.extend(found.iter().map(|finding| Seen {
                entry: finding.entry,
                path: path.clone(),
                offset: finding.start,
            }));
            let redacted = self.text(&text, &found);
            made.extend_from_slice(body.get(copied..start).unwrap_or(&[]));
            match kind {
                Kind::Plain => made.extend_from_slice(redacted.as_bytes()),
                Kind::String => made.extend_from_slice(escaped(&redacted).as_bytes()),
                // A placeholder is no number, so the number becomes a string.
                Kind::Number => made.extend_from_slice(format!("\"{redacted}\"").as_bytes()),
            }
            copied = end;
        }
        made.extend_from_slice(body.get(copied..).unwrap_or(&[]));
        (!seen.is_empty()).then_some((made, seen))
    }

    /// A text with placeholders.
    pub fn text(&mut self, text: &str, found: &[Finding]) -> String {
        let mut made = String::with_capacity(text.len());
        let mut copied = 0;
        for finding in found {
            made.push_str(text.get(copied..finding.start).unwrap_or(""));
            let original = text.get(finding.start..finding.end).unwrap_or("");
            made.push_str(&self.placeholder(finding.entry, original, text));
            copied = finding.end;
        }
        made.push_str(text.get(copied..).unwrap_or(""));
        made
    }

    fn placeholder(&mut self, entry: Entry, original: &str, around: &str) -> String {
        let label = entry.label();
        let key = (label, original.to_owned());
        if let Some((placeholder, _)) = self.by_original.get(&key).and_then(|at| self.given.get(*at)) {
            return placeholder.clone();
        }
        let count = self.counts.entry(label).or_insert(0);
        let placeholder = loop {
            *count += 1;
            let made = format!("[{label}_{count}]");
            // A caller may have written such a text itself.
            if !around.contains(&made) {
                break made;
            }
        };
        self.by_original.insert(key, self.given.len());
        self.given.push((placeholder.clone(), original.to_owned()));
        placeholder
    }

    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Reads an answer that may have placeholders in it; `is_json` when they stand in strings of a JSON document.
    pub fn restorer(&self, is_json: bool) -> Restorer<'_> {
        Restorer { redactor: self, is_json, kept: String::new() }
    }
}

// === impl Restorer ===

impl Restorer<'_> {
    /// The next part of the text. What could be the beginning of a placeholder comes with a later part.
    pub fn feed(&mut self, part: &str) -> Restored {
        let text = std::mem::take(&mut self.kept) + part;
        let longest = self.redactor.given.iter().map(|(placeholder, _)| placeholder.len()).max().unwrap_or(0);
        let tail = text.rfind('[').filter(|at| {
            let rest = text.get(*at..).unwrap_or("");
            rest.len() < longest && self.redactor.given.iter().any(|(placeholder, _)| placeholder.starts_with(rest))
        });
        let (now, later) = text.split_at_checked(tail.unwrap_or(text.len())).unwrap_or((&text, ""));
        self.kept = later.to_owned();
        self.replaced(now)
    }

    /// What was kept, when no more comes.
    pub fn end(&mut self) -> Restored {
        let rest = std::mem::take(&mut self.kept);
        self.replaced(&rest)
    }

    fn replaced(&self, text: &str) -> Restored {
        let mut made = String::with_capacity(text.len());
        let mut rest = text;
        let mut is_changed = false;
        while let Some(at) = rest.find('[') {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            made.push_str(before);
            let given = self.redactor.given.iter().find(|(placeholder, _)| from.starts_with(placeholder.as_str()));
            if let Some((placeholder, original)) = given {
                let original =
                    if self.is_json { Cow::Owned(escaped(original)) } else { Cow::Borrowed(original.as_str()) };
                made.push_str(&original);
                rest = from.get(placeholder.len()..).unwrap_or("");
                is_changed = true;
            } else {
                made.push('[');
                rest = from.get(1..).unwrap_or("");
            }
        }
        made.push_str(rest);
        Restored { text: made, is_changed }
    }
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("").to_owned()
}
