//! An answer that comes as server-sent events, of which some texts become others before the events go on. A text that comes in parts
//! is one text: of each part as much waits as may still change with the next one, and with it the events behind.

use crate::dlp::examine::{Examiner, rewritten};
use crate::dlp::places::{Place, of_json};
use crate::dlp::redact::{Redactor, escaped};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};

/// What is done with the texts of a stream.
pub trait Work {
    /// The next part of a text, behind `before`: what it becomes, and how many of its bytes that is about.
    fn part(&mut self, before: &str, pending: &str, is_end: bool, path: &str, is_json: bool) -> (String, usize);

    /// A text that stands by itself, if it becomes another one.
    fn whole(&mut self, text: &str, path: &str) -> Option<String>;

    /// Whether nothing may go on any more.
    fn is_blocked(&self) -> bool {
        false
    }
}

/// Puts back what placeholders stand for.
pub struct Restorer<'r>(pub &'r Redactor);

/// The stream under way.
#[derive(Default)]
pub struct Screen {
    /// What has come of the next event.
    pending: Vec<u8>,
    queue: VecDeque<Event>,
    /// The number of the queue's first event.
    first: usize,
    channels: HashMap<String, Channel>,
    is_over: bool,
    /// True for JSON documents on lines, each of which is an event.
    is_lines: bool,
}

/// An event on its way, with the texts that it has instead of its own.
pub struct Event {
    raw: Vec<u8>,
    /// The JSON that it carries.
    data: Vec<u8>,
    edits: Vec<Edit>,
    /// How many of its texts wait for what comes next.
    waiting: usize,
    is_line: bool,
}

struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// A text that comes in parts.
#[derive(Default)]
struct Channel {
    /// The end of what has gone on, as it was.
    before: String,
    /// What waits, as it was, and in which text of which event.
    held: String,
    at: (usize, usize),
    path: String,
    is_json: bool,
}

/// So much is remembered of what has gone on: a word before a number may say what it is.
const BEFORE: usize = 64;

/// No more events wait than this, and no longer event is looked at.
const MOST_WAITING: usize = 256;
const LONGEST_EVENT: usize = 16 * 1024 * 1024;

// === impl Screen ===

impl Screen {
    /// A stream of events, or of a JSON document on each line.
    pub fn of(is_lines: bool) -> Self {
        Self { is_lines, ..Self::default() }
    }

    /// Adds to `out` what may go on once a block has come.
    pub fn push(&mut self, block: &[u8], work: &mut dyn Work, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        self.pending.extend_from_slice(block);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        let next = if self.is_lines { line } else { event };
        while let Some((event, after)) = next(rest).filter(|_| !self.is_over) {
            self.take(event, work, out);
            rest = after;
        }
        self.pending = rest.to_vec();
        if self.pending.len() > LONGEST_EVENT {
            let event = std::mem::take(&mut self.pending);
            self.take(&event, work, out);
        }
    }

    /// The stream has ended, as it should or not.
    pub fn end(&mut self, work: &mut dyn Work, out: &mut Vec<u8>) {
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() && !self.is_over {
            self.take(&rest, work, out);
        }
        if !self.is_over {
            self.flush(work);
            self.go_on(work, out);
        }
    }

    fn take(&mut self, raw: &[u8], work: &mut dyn Work, out: &mut Vec<u8>) {
        let data = if self.is_lines { raw.trim_ascii().to_vec() } else { data(raw) };
        let value: Option<Value> = serde_json::from_slice(&data).ok();
        let kind = value.as_ref().and_then(|value| value.get("type")?.as_str()).unwrap_or("").to_owned();
        let places = if value.is_some() { of_json(&data) } else { None };
        let number = self.first + self.queue.len();
        let is_line = self.is_lines;
        let mut event = Event { raw: raw.to_vec(), data: data.clone(), edits: Vec::new(), waiting: 0, is_line };
        match (&value, places) {
            (Some(value), Some(places)) => {
                let channels: Vec<Option<String>> =
                    places.iter().map(|place| channel(value, &kind, &place.path)).collect();
                if channels.iter().all(Option::is_none) && kind != "ping" {
                    self.flush(work);
                }
                for (place, channel) in places.iter().zip(channels) {
                    match channel {
                        Some(key) => self.part(key, place, &kind, (number, &mut event), work),
                        None => {
                            if let Some(text) = work.whole(&place.text, &place.path) {
                                event.edits.push(Edit {
                                    start: place.start,
                                    end: place.end,
                                    text: place.written(&text),
                                });
                            }
                        }
                    }
                }
            }
            _ if data.is_empty() => {}
            _ => {
                self.flush(work);
                if let Some(other) = rewritten(&data, |place| work.whole(&place.text, &place.path)) {
                    let text = String::from_utf8_lossy(&other).into_owned();
                    event.edits.push(Edit { start: 0, end: data.len(), text });
                }
            }
        }
        self.queue.push_back(event);
        if self.queue.len() > MOST_WAITING {
            self.flush(work);
        }
        self.go_on(work, out);
    }

    /// A part of a text: what can be said of it is, and the rest waits.
    fn part(&mut self, key: String, place: &Place<'_>, kind: &str, own: (usize, &mut Event), work: &mut dyn Work) {
        let (number, event) = own;
        let channel = self.channels.entry(key).or_default();
        let held = std::mem::take(&mut channel.held);
        if !held.is_empty()
            && let Some(before) = channel.at.0.checked_sub(self.first).and_then(|at| self.queue.get_mut(at))
        {
            before.waiting = before.waiting.saturating_sub(1);
        }
        channel.path.clone_from(&place.path);
        channel.is_json = ["arguments", "partial_json", "toolUse.input"].iter().any(|name| place.path.ends_with(name))
            || kind.contains("arguments");
        let pending = held + &place.text;
        let (text, used) = work.part(&channel.before, &pending, false, &place.path, channel.is_json);
        let (gone, held) = pending.split_at_checked(used).unwrap_or((&pending, ""));
        channel.goes(gone);
        channel.held = held.to_owned();
        channel.at = (number, event.edits.len());
        if !held.is_empty() {
            event.waiting += 1;
        }
        event.edits.push(Edit { start: place.start, end: place.end, text: escaped(&text) });
    }

    /// Says what can be said of all that waits: no more of it comes.
    fn flush(&mut self, work: &mut dyn Work) {
        let first = self.first;
        for channel in self.channels.values_mut().filter(|channel| !channel.held.is_empty()) {
            let held = std::mem::take(&mut channel.held);
            let (text, _) = work.part(&channel.before, &held, true, &channel.path, channel.is_json);
            channel.goes(&held);
            let (number, place) = channel.at;
            if let Some(event) = number.checked_sub(first).and_then(|at| self.queue.get_mut(at)) {
                event.waiting = event.waiting.saturating_sub(1);
                if let Some(edit) = event.edits.get_mut(place) {
                    edit.text.push_str(&escaped(&text));
                }
            }
        }
    }

    fn go_on(&mut self, work: &dyn Work, out: &mut Vec<u8>) {
        if work.is_blocked() {
            self.is_over = true;
            self.queue.clear();
            return;
        }
        while self.queue.front().is_some_and(|event| event.waiting == 0) {
            if let Some(event) = self.queue.pop_front() {
                event.written(out);
                self.first += 1;
            }
        }
    }
}

// === impl Event ===

impl Event {
    fn written(&self, out: &mut Vec<u8>) {
        let is_same = |edit: &Edit| self.data.get(edit.start..edit.end) == Some(edit.text.as_bytes());
        if self.edits.iter().all(is_same) {
            out.extend_from_slice(&self.raw);
            return;
        }
        let (mut data, mut copied) = (Vec::with_capacity(self.data.len()), 0);
        for edit in &self.edits {
            data.extend_from_slice(self.data.get(copied..edit.start).unwrap_or(&[]));
            data.extend_from_slice(edit.text.as_bytes());
            copied = edit.end;
        }
        data.extend_from_slice(self.data.get(copied..).unwrap_or(&[]));
        if self.is_line {
            out.extend_from_slice(&data);
            out.push(b'\n');
            return;
        }
        for line in lines(&self.raw).filter(|line| !line.is_empty() && !line.starts_with(b"data")) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        for line in lines(&data) {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

// === impl Channel ===

impl Channel {
    fn goes(&mut self, text: &str) {
        self.before.push_str(text);
        let mut from = self.before.len().saturating_sub(BEFORE);
        while !self.before.is_char_boundary(from) {
            from += 1;
        }
        self.before.drain(..from);
    }
}

// === impl Work ===

impl Work for Examiner {
    fn part(&mut self, before: &str, pending: &str, is_end: bool, path: &str, is_json: bool) -> (String, usize) {
        Examiner::part(self, before, pending, is_end, path, is_json)
    }

    fn whole(&mut self, text: &str, path: &str) -> Option<String> {
        self.text(text, path, false, text.as_bytes())
    }

    fn is_blocked(&self) -> bool {
        Examiner::is_blocked(self)
    }
}

impl Work for Restorer<'_> {
    fn part(&mut self, _: &str, pending: &str, is_end: bool, _: &str, is_json: bool) -> (String, usize) {
        let cut = if is_end { pending.len() } else { self.0.held(pending) };
        let text = pending.get(..cut).unwrap_or(pending);
        (self.0.restored(text, is_json).unwrap_or_else(|| text.to_owned()), cut)
    }

    fn whole(&mut self, text: &str, _: &str) -> Option<String> {
        let is_json = matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
        self.0.restored(text, is_json)
    }
}

/// Which text a part belongs to; `None` for a text that is whole.
fn channel(value: &Value, kind: &str, path: &str) -> Option<String> {
    let mut names = String::new();
    let mut key = String::from(kind);
    let mut at = Some(value);
    let numbered = |at: Option<&Value>, key: &mut String| {
        for name in ["index", "contentBlockIndex", "output_index", "content_index", "summary_index", "item_id"] {
            if let Some(own) = at.and_then(|at| at.get(name)) {
                key.push_str(&format!(" {own}"));
            }
        }
    };
    // What a block begins with is the beginning of its text.
    let path = match (kind, path.strip_prefix("content_block.")) {
        ("content_block_start", Some(name @ ("text" | "thinking"))) => {
            return channel(value, "content_block_delta", &format!("delta.{name}"));
        }
        _ => path,
    };
    numbered(at, &mut key);
    for step in path.split('.') {
        let (name, index) = step.split_once('[').map_or((step, None), |(name, index)| (name, Some(index)));
        names.push_str(if names.is_empty() { "" } else { "." });
        names.push_str(name);
        at = at.and_then(|at| at.get(name));
        for index in index.into_iter().flat_map(|index| index.split('[')) {
            let index: usize = index.trim_end_matches(']').parse().unwrap_or(0);
            at = at.and_then(|at| at.get(index));
            match at.is_some_and(|at| at.get("index").is_some()) {
                true => numbered(at, &mut key),
                false => key.push_str(&format!(" [{index}]")),
            }
        }
    }
    key.push_str(&names);
    let (rest, last) = names.rsplit_once('.').unwrap_or(("", &names));
    let is_part = match names.as_str() {
        "delta" => kind.ends_with(".delta"),
        "choices.text" | "candidates.content.parts.text" | "completion" | "response" | "message.content" => true,
        _ => {
            rest.split('.').any(|name| name == "delta")
                && [
                    "text",
                    "content",
                    "arguments",
                    "partial_json",
                    "thinking",
                    "reasoning",
                    "reasoning_content",
                    "refusal",
                    "input",
                ]
                .contains(&last)
        }
    };
    is_part.then_some(key)
}

/// The first event of some bytes with the empty line behind it, and what follows.
fn event(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let length = memchr::memchr2(b'\n', b'\r', rest)?;
        let end = match rest.get(length..)? {
            [b'\r', b'\n', ..] => length + 2,
            [b'\r'] => return None,
            _ => length + 1,
        };
        from += end;
        if length == 0 {
            return bytes.split_at_checked(from);
        }
    }
}

/// The first line, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(memchr::memchr(b'\n', bytes)? + 1)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// What an event carries.
fn data(event: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for line in lines(event).flat_map(|line| line.split(|byte| *byte == b'\r')) {
        let value = match line.strip_prefix(b"data") {
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            _ => continue,
        };
        if !data.is_empty() {
            data.push(b'\n');
        }
        data.extend_from_slice(value);
    }
    data
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
