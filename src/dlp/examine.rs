//! Looks through texts and bodies for what a gateway's policies are about, and puts placeholders where they say so.

use crate::dlp::across::{self, Found};
use crate::dlp::entry::Entry;
use crate::dlp::form::{self, PartKind};
use crate::dlp::places::{Kind, Place, of_json, places};
use crate::dlp::policy::{Action, Check, Dlp};
use crate::dlp::redact::{Redactor, escaped};
use crate::dlp::report::Report;
use crate::dlp::scan::{self, Finding};
use crate::dlp::tail;
use crate::dlp::unescaped::Unescaped;
use crate::pattern::budget::Steps;
use std::rc::Rc;

/// One request or one answer that is looked through.
pub struct Examiner {
    pub dlp: Rc<Dlp>,
    pub check: Check,
    pub redactor: Redactor,
    pub report: Report,
    /// What patterns may still take.
    steps: Steps,
    is_blocked: bool,
    /// How much of the end of a text may be a word of the gateway's own, in bytes.
    longest: usize,
}

/// What became of a body that was looked through.
pub struct Body {
    /// `None` where it stays as it is.
    pub rewritten: Option<Vec<u8>>,
    /// False where it has something that is no text, and not known to be a picture or sound.
    pub is_read: bool,
}

/// So many steps may the patterns of a gateway take for a body: some tenths of a second at worst.
const STEPS: u64 = 8_000_000;

/// What is not looked at because patterns would take too long.
const TOO_DEAR: &str = "the patterns of custom_profiles take too long on this text";

/// What a row says of a place whose path has something in it that was looked for.
const HIDDEN: &str = "…";

/// A match of a pattern may be found that is so long and in several parts of a stream, in bytes.
const LONGEST_MATCH: usize = 256;

// === impl Examiner ===

impl Examiner {
    pub fn new(dlp: Rc<Dlp>, check: Check, redactor: Redactor, report: Report) -> Self {
        let own = dlp.own.iter().map(|own| own.longest_word().max(if own.has_patterns() { LONGEST_MATCH } else { 0 }));
        let longest = own.max().unwrap_or(0);
        Self { dlp, check, redactor, report, steps: Steps::new(STEPS), is_blocked: false, longest }
    }

    /// Whether something was found that must not go on at all.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Looks through a body: a JSON document, one on each line, a form whose boundary is known, or plain text.
    pub fn read(&mut self, body: &[u8], boundary: Option<&str>) -> Body {
        let Some(boundary) = boundary else {
            return match std::str::from_utf8(body) {
                // JSON in UTF-16 hides its letters, and some servers read it.
                Ok(_) if !body.contains(&0) => Body { rewritten: self.document(body), is_read: true },
                _ => Body { rewritten: None, is_read: false },
            };
        };
        let Some(parts) = form::parts(body, boundary) else { return Body { rewritten: None, is_read: false } };
        let is_read = parts.iter().all(|part| part.kind != PartKind::Binary);
        let texts = parts.iter().filter(|part| part.kind == PartKind::Text).map(|part| (part.start, part.end));
        Body { rewritten: self.pieces(body, texts, Self::document), is_read }
    }

    fn document(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let first = body.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or(&[]);
        let is_lines = first.len() < body.trim_ascii_end().len() && of_json(first).is_some() && of_json(body).is_none();
        if !is_lines {
            return self.body(body);
        }
        let mut from = 0;
        let lines = body.split_inclusive(|byte| *byte == b'\n').map(|line| {
            let start = from;
            from += line.len();
            (start, start + line.trim_ascii_end().len())
        });
        self.pieces(body, lines, Self::body)
    }

    /// Looks through some parts of a body.
    fn pieces(
        &mut self,
        body: &[u8],
        pieces: impl Iterator<Item = (usize, usize)>,
        look: fn(&mut Self, &[u8]) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let (mut made, mut copied) = (Vec::new(), 0);
        for (start, end) in pieces {
            let piece = body.get(start..end).unwrap_or(&[]);
            if let Some(other) = look(self, piece) {
                made.extend_from_slice(body.get(copied..start).unwrap_or(&[]));
                made.extend_from_slice(&other);
                copied = end;
            }
        }
        if copied == 0 {
            return None;
        }
        made.extend_from_slice(body.get(copied..).unwrap_or(&[]));
        Some(made)
    }

    /// The body with placeholders; `None` where it stays as it is.
    pub fn body(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let places = places(body);
        let mut across = across::found(&places, |text| self.find(&Unescaped::of(text, false)));
        let mut at = 0;
        rewritten_in(body, &places, |place| {
            at += 1;
            let more = across.remove(&(at - 1)).unwrap_or_default();
            self.text_with(&place.text, &place.path, place.kind == Kind::Plain, body, more)
        })
    }

    /// A text with placeholders. `around` is the body it is of.
    pub fn text(&mut self, text: &str, path: &str, is_plain: bool, around: &[u8]) -> Option<String> {
        self.text_with(text, path, is_plain, around, Vec::new())
    }

    /// The same; `more` was found in this text with others.
    fn text_with(&mut self, text: &str, path: &str, is_plain: bool, around: &[u8], more: Vec<Found>) -> Option<String> {
        let is_json = !is_plain && matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
        let mut found = self.find_both(&Unescaped::of(text, is_json), text, is_json);
        if !more.is_empty() {
            found.extend(more);
            found.sort_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
        }
        if found.is_empty() { None } else { self.noted(text, &found, path, is_json, around) }
    }

    /// A query with placeholders. What it has of credentials stays: it goes to the provider, and is masked where it is stored.
    pub fn query(&mut self, query: &str) -> Option<String> {
        const CREDENTIALS: [&str; 7] = ["key", "token", "secret", "signature", "credential", "auth", "sig"];
        let mut is_changed = false;
        let parts: Vec<String> = query
            .split('&')
            .map(|part| {
                let name = part.split('=').next().unwrap_or("").to_ascii_lowercase();
                let is_credential = CREDENTIALS.iter().any(|known| name.ends_with(known));
                let other = if is_credential { None } else { self.text(part, "query", true, query.as_bytes()) };
                is_changed |= other.is_some();
                // A replacement of the gateway's own must not end the query, nor begin another member.
                let within = |text: String| text.replace('&', "%26").replace('#', "%23").replace(' ', "%20");
                other.map_or_else(|| part.to_owned(), within)
            })
            .collect();
        is_changed.then(|| parts.join("&"))
    }

    /// The next part of a text that comes in parts: `pending` stands behind `before`, of which nothing is told any more. Gives what
    /// can be said of it, and how many of its bytes that is.
    pub fn part(&mut self, before: &str, pending: &str, is_end: bool, path: &str, is_json: bool) -> (String, usize) {
        let text = format!("{before}{pending}");
        let read = Unescaped::of(&text, is_json);
        let waits = || read.original(tail::begin(&read.text, self.longest)).min(read.open).max(before.len());
        let mut cut = if is_end { text.len() } else { waits() };
        let mut found = self.find_both(&read, &text, is_json);
        found.retain(|found| found.start >= before.len());
        if let Some(across) = found.iter().find(|found| found.start < cut && found.end > cut) {
            cut = across.start;
        }
        found.retain(|found| found.end <= cut);
        let ready = text.get(..cut).unwrap_or(&text);
        let given = if found.is_empty() { None } else { self.noted(ready, &found, path, is_json, ready.as_bytes()) };
        let given = given.as_deref().unwrap_or(ready);
        (given.get(before.len()..).unwrap_or("").to_owned(), cut.saturating_sub(before.len()))
    }

    /// What stands in a text as an address would have it, and as it is written.
    fn find_both(&mut self, read: &Unescaped<'_>, text: &str, is_json: bool) -> Vec<Found> {
        let mut found = self.find(read);
        if let Some(plain) = Unescaped::without_percent(text, is_json) {
            for more in self.find(&plain) {
                if !found.iter().any(|known| known.start < more.end && known.end > more.start) {
                    found.push(more);
                }
            }
            found.sort_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
        }
        found
    }

    fn find(&mut self, read: &Unescaped<'_>) -> Vec<Found> {
        let (wanted, text) = (self.dlp.wanted(self.check), &*read.text);
        let found = scan::find(text, wanted);
        let mut found: Vec<(u8, usize, usize)> =
            found.into_iter().map(|Finding { entry, start, end }| (entry as u8, start, end)).collect();
        let dlp = Rc::clone(&self.dlp);
        for (at, own) in dlp.own.iter().enumerate() {
            let item = (Entry::COUNT + at) as u8;
            if wanted.has_item(item) {
                let own = own.find(text, &mut self.steps);
                found.extend(own.into_iter().map(|(start, end)| (item, start, end)));
            }
        }
        if self.steps.is_over() {
            self.report.unscanned(self.check, TOO_DEAR);
        }
        let mut found: Vec<Found> = found
            .into_iter()
            .map(|(item, start, end)| Found {
                item,
                start: read.original(start),
                end: read.original(end),
                said: text.get(start..end).unwrap_or("").to_owned(),
                is_rest: false,
            })
            .collect();
        found.sort_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
        found
    }

    /// Reports what was found, and puts placeholders where they belong.
    fn noted(&mut self, text: &str, found: &[Found], path: &str, is_json: bool, around: &[u8]) -> Option<String> {
        let dlp = Rc::clone(&self.dlp);
        let mut made = String::new();
        let (mut copied, mut is_changed) = (0, false);
        // The names of a document's members may be what is looked for.
        let path = if self.find(&Unescaped::of(path, false)).is_empty() { path } else { HIDDEN };
        for Found { item, start, end, said, is_rest } in found {
            let action = match is_rest {
                true => dlp.action(self.check, *item),
                false => self.report.note(&dlp, self.check, *item, path, *start),
            };
            self.is_blocked |= action == Action::Block;
            // Of two that overlap the first one has the place; it covers what it can.
            if action == Action::Flag || *end <= copied {
                continue;
            }
            let start = (*start).max(copied);
            let before = text.get(copied..start).unwrap_or("");
            made.push_str(before);
            let (_, label) = dlp.names(*item);
            let placeholder = match dlp.replacement(*item) {
                Some(fixed) if is_json => escaped(fixed),
                Some(fixed) => fixed.to_owned(),
                // Its placeholder stands where it began. A text that is empty some providers refuse.
                None if *is_rest && !text.get(*end..).unwrap_or("").trim().is_empty() => String::new(),
                None => self.redactor.placeholder(label, said, around),
            };
            // A number of a document within a string has no quotes; a placeholder needs them.
            let is_bare = is_json && before.trim_end().ends_with(':');
            made.push_str(&if is_bare { format!("\"{placeholder}\"") } else { placeholder });
            copied = *end;
            is_changed = true;
        }
        made.push_str(text.get(copied..).unwrap_or(""));
        is_changed.then_some(made)
    }
}

/// A body of which some texts became others; `None` where none did.
pub fn rewritten(body: &[u8], other: impl FnMut(&Place<'_>) -> Option<String>) -> Option<Vec<u8>> {
    rewritten_in(body, &places(body), other)
}

fn rewritten_in(
    body: &[u8],
    places: &[Place<'_>],
    mut other: impl FnMut(&Place<'_>) -> Option<String>,
) -> Option<Vec<u8>> {
    let mut made: Vec<u8> = Vec::new();
    let (mut copied, mut is_changed) = (0, false);
    for place in places {
        let Some(text) = other(place) else { continue };
        made.extend_from_slice(body.get(copied..place.start).unwrap_or(&[]));
        made.extend_from_slice(place.written(&text).as_bytes());
        copied = place.end;
        is_changed = true;
    }
    made.extend_from_slice(body.get(copied..).unwrap_or(&[]));
    is_changed.then_some(made)
}
