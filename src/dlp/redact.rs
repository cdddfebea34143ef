//! Placeholders in the place of what was found, and what was there back in an answer.

use memchr::memmem;
use std::collections::HashMap;

/// Gives placeholders. The same number has the same one in all of a request.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// What stands for what, in the order in which they were given.
    given: Vec<(String, String)>,
    by_original: HashMap<(String, String), usize>,
    counts: HashMap<String, usize>,
}

// === impl Redactor ===

impl Redactor {
    /// What stands for an original from now on. `around` is what the placeholder must not stand in already: a caller may have written
    /// such a text itself.
    pub fn placeholder(&mut self, label: &str, original: &str, around: &[u8]) -> String {
        let key = (label.to_owned(), original.to_owned());
        if let Some((placeholder, _)) = self.by_original.get(&key).and_then(|at| self.given.get(*at)) {
            return placeholder.clone();
        }
        let count = self.counts.entry(key.0.clone()).or_insert(0);
        let placeholder = loop {
            *count += 1;
            let made = format!("[{label}_{count}]");
            if memmem::find(around, made.as_bytes()).is_none() {
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

    /// Where the end of a text begins that may become a placeholder with what comes next.
    pub fn held(&self, text: &str) -> usize {
        let longest = self.given.iter().map(|(placeholder, _)| placeholder.len()).max().unwrap_or(0);
        let tail = text.rfind('[').filter(|at| {
            let rest = text.get(*at..).unwrap_or("");
            rest.len() < longest && self.given.iter().any(|(placeholder, _)| placeholder.starts_with(rest))
        });
        tail.unwrap_or(text.len())
    }

    /// A text with what its placeholders stand for. `is_json` when they stand in strings of a JSON document.
    pub fn restored(&self, text: &str, is_json: bool) -> Option<String> {
        let mut made = String::with_capacity(text.len());
        let mut rest = text;
        let mut is_changed = false;
        while let Some(at) = rest.find('[') {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            made.push_str(before);
            let given = self.given.iter().find(|(placeholder, _)| from.starts_with(placeholder.as_str()));
            if let Some((placeholder, original)) = given {
                if is_json {
                    made.push_str(&escaped(original));
                } else {
                    made.push_str(original);
                }
                rest = from.get(placeholder.len()..).unwrap_or("");
                is_changed = true;
            } else {
                made.push('[');
                rest = from.get(1..).unwrap_or("");
            }
        }
        made.push_str(rest);
        is_changed.then_some(made)
    }
}

/// A text as it stands between the quotes of a JSON string.
pub fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("").to_owned()
}
