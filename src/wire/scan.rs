//! The facts of a body that is too long to be kept: read piece by piece, in little memory. Long texts are left out on the way,
//! and of the events of a stream only the first ones stay and those that can tell something.

use super::elide::Elider;
use super::telling::is_telling;
use crate::wire::facts::{Facts, Framing};
use crate::wire::{FIRST_EVENTS, OUTPUT, eventstream, read, sniffed, sse};
use std::collections::VecDeque;

pub struct Scanner {
    framing: Framing,
    status: u16,
    is_begun: bool,
    elider: Elider,
    /// An event that is not complete yet, or a document, without its long texts.
    pending: Vec<u8>,
    /// Tells the elements of a list of documents apart; `None` for one document.
    elements: Option<Elements>,
    /// True until the end of an event of which too much came.
    is_skipping: bool,
    events: u32,
    kept: Kept,
    unread: Option<&'static str>,
}

/// Without its long texts, an event or a document of so many bytes is read.
const MAX_PENDING: usize = 4 * 1024 * 1024;

/// So much of the first events is kept, and of those after them the last, in bytes.
const MAX_FIRST: usize = 256 * 1024;
const MAX_LAST: usize = 2 * 1024 * 1024;

const TOO_MUCH: &str = "a part of the answer has more than 4 MB besides its long texts";

#[derive(Default)]
struct Kept {
    first: Vec<Vec<u8>>,
    first_bytes: usize,
    last: VecDeque<Vec<u8>>,
    last_bytes: usize,
}

/// Where one is in a list of documents.
#[derive(Default)]
struct Elements {
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    /// How much of what is pending has been looked at.
    at: usize,
}

// === impl Scanner ===

impl Scanner {
    pub fn new(framing: Framing, status: u16) -> Self {
        Self {
            framing,
            status,
            is_begun: false,
            elider: Elider::default(),
            pending: Vec::new(),
            elements: None,
            is_skipping: false,
            events: 0,
            kept: Kept::default(),
            unread: None,
        }
    }

    pub fn push(&mut self, piece: &[u8]) {
        if !self.is_begun {
            self.is_begun = true;
            self.framing = sniffed(self.framing, piece);
            let is_list = self.framing == Framing::Json && piece.trim_ascii_start().first() == Some(&b'[');
            self.elements = is_list.then(Elements::default);
        }
        // A frame of Amazon's is no text, and holds its text in another form.
        match self.framing {
            Framing::AwsEventStream => self.pending.extend_from_slice(piece),
            _ => self.elider.push(piece, &mut self.pending),
        }
        match self.framing {
            Framing::AwsEventStream => self.frames(),
            Framing::Sse if self.is_skipping => self.skip(),
            Framing::Sse if piece.iter().any(|byte| matches!(byte, b'\n' | b'\r')) => self.events(),
            Framing::Lines => self.lines(),
            Framing::Json if self.elements.is_some() => self.list(),
            Framing::Sse | Framing::Json => {}
        }
        if self.pending.len() > MAX_PENDING {
            self.unread = Some(TOO_MUCH);
            self.is_skipping = true;
            self.pending.clear();
        }
    }

    /// What was read, and why there are no counts, if that is because something was not.
    pub fn finish(mut self) -> (Facts, Option<&'static str>) {
        let pending = std::mem::take(&mut self.pending);
        let body = match self.framing {
            Framing::Json if self.elements.is_none() => pending,
            Framing::Json => [&b"["[..], &self.kept.joined(b","), b"]"].concat(),
            Framing::Lines => {
                if !self.is_skipping {
                    self.event(pending);
                }
                self.kept.joined(b"\n")
            }
            Framing::Sse => {
                let mut events = sse::Events::new(&pending);
                events.by_ref().for_each(drop);
                if let Some(data) = events.rest().filter(|_| !self.is_skipping && events.name() != OUTPUT) {
                    self.event(lines_of(&data));
                }
                self.kept.joined(b"")
            }
            Framing::AwsEventStream => self.kept.joined(b""),
        };
        let facts = read(self.framing, self.status, &body);
        let is_counted = facts.usage.tokens_in.is_some() || facts.usage.tokens_out.is_some();
        (facts, self.unread.filter(|_| !is_counted))
    }

    fn event(&mut self, event: Vec<u8>) {
        self.events = self.events.saturating_add(1);
        if self.events <= FIRST_EVENTS || is_telling(&event) {
            self.kept.push(event);
        }
    }

    fn events(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mut events = sse::Events::new(&pending);
        while let Some(data) = events.next() {
            // Bare words of a model say nothing.
            match events.name() {
                OUTPUT => {}
                // Whatever it says.
                b"error" => self.kept.push([b"event: error\n", lines_of(&data).as_slice()].concat()),
                _ => self.event(lines_of(&data)),
            }
        }
        self.pending = pending.get(events.consumed()..).unwrap_or_default().to_vec();
    }

    /// Looks for the end of an event that is left out.
    fn skip(&mut self) {
        let ends = [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].into_iter();
        let end = ends.filter_map(|end| Some(memchr::memmem::find(&self.pending, end)? + end.len())).min();
        match end {
            Some(end) => {
                self.is_skipping = false;
                self.pending.drain(..end);
                self.events();
            }
            None => drop(self.pending.drain(..self.pending.len().saturating_sub(3))),
        }
    }

    fn lines(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mut lines = pending.split(|byte| *byte == b'\n');
        let rest = lines.next_back().unwrap_or_default().to_vec();
        for line in lines {
            if std::mem::take(&mut self.is_skipping) {
                continue;
            }
            self.event(line.to_vec());
        }
        self.pending = rest;
    }

    fn list(&mut self) {
        let mut elements = self.elements.take().unwrap_or_default();
        let pending = std::mem::take(&mut self.pending);
        let mut begin = 0;
        for (at, byte) in pending.iter().enumerate().skip(elements.at) {
            match elements.next(*byte) {
                Step::Begins => begin = at,
                Step::Ends if !self.is_skipping => {
                    self.event(pending.get(begin..=at).unwrap_or_default().to_vec());
                    begin = at + 1;
                }
                Step::Ends => {
                    self.is_skipping = false;
                    begin = at + 1;
                }
                Step::Inside => {}
            }
        }
        self.pending = pending.get(begin..).unwrap_or_default().to_vec();
        elements.at = self.pending.len();
        if self.pending.len() > MAX_PENDING {
            elements.at = 0;
        }
        self.elements = Some(elements);
    }

    fn frames(&mut self) {
        loop {
            let Some(length) = eventstream::length(&self.pending) else { return };
            if self.pending.len() < length {
                return;
            }
            let frame: Vec<u8> = self.pending.drain(..length).collect();
            let Some(found) = eventstream::Frames::new(&frame).next() else { return };
            let text = eventstream::unwrapped(found.payload);
            let tells = found.exception.is_some() || is_telling(text.as_deref().unwrap_or(found.payload));
            self.events = self.events.saturating_add(1);
            if tells || self.events <= FIRST_EVENTS {
                self.kept.push(frame);
            }
        }
    }
}

/// An event of a stream as it is written.
fn lines_of(data: &[u8]) -> Vec<u8> {
    let mut event = Vec::with_capacity(data.len() + 16);
    for line in data.split(|byte| *byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    event
}

// === impl Kept ===

impl Kept {
    fn push(&mut self, event: Vec<u8>) {
        if self.first_bytes < MAX_FIRST {
            self.first_bytes += event.len();
            return self.first.push(event);
        }
        self.last_bytes += event.len();
        self.last.push_back(event);
        // Counts that are repeated with every event are those of all before it.
        while self.last_bytes > MAX_LAST && self.last.len() > 1 {
            self.last_bytes -= self.last.pop_front().map_or(0, |event| event.len());
        }
    }

    fn joined(&self, between: &[u8]) -> Vec<u8> {
        let all: Vec<&[u8]> = self.first.iter().chain(&self.last).map(Vec::as_slice).collect();
        all.join(between)
    }
}

// === impl Elements ===

enum Step {
    Begins,
    Inside,
    Ends,
}

impl Elements {
    fn next(&mut self, byte: u8) -> Step {
        if self.in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return Step::Inside;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                if self.depth == 2 {
                    return Step::Begins;
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 1 {
                    return Step::Ends;
                }
            }
            _ => {}
        }
        Step::Inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::eventstream::tests::frame;
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    fn scanned(framing: Framing, body: &[u8], size: usize) -> (Facts, Option<&'static str>) {
        let mut scanner = Scanner::new(framing, 200);
        body.chunks(size.max(1)).for_each(|piece| scanner.push(piece));
        scanner.finish()
    }

    fn counts(read: &(Facts, Option<&'static str>)) -> (Option<u64>, Option<u64>) {
        (read.0.usage.tokens_in, read.0.usage.tokens_out)
    }

    #[test]
    fn every_providers_answer_says_in_pieces_what_it_says_as_a_whole() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut answers = 0;
        for provider in std::fs::read_dir(fixtures).unwrap() {
            for file in std::fs::read_dir(provider.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let framing = match path.extension().and_then(|extension| extension.to_str()) {
                    Some("sse") => Framing::Sse,
                    Some("ndjson") => Framing::Lines,
                    Some("eventstream") => Framing::AwsEventStream,
                    Some("json") if !path.ends_with("expected.json") => Framing::Json,
                    _ => continue,
                };
                let body = std::fs::read(&path).unwrap();
                for size in [100, 1_000, body.len()] {
                    let whole = read(framing, 200, &body);
                    assert_eq!(scanned(framing, &body, size), (whole, None), "{} by {size}", path.display());
                }
                answers += 1;
            }
        }
        assert!(answers > 30);
    }

    #[test]
    fn the_last_event_of_a_long_stream_is_read_however_long_it_is() {
        let delta = json!({ "type": "response.output_text.delta", "delta": "some words of text" });
        let text = "words ".repeat(35_000);
        let parts: Vec<_> =
            (0..400).map(|n| json!({ "type": "output_text", "text": format!("{n} {}", "x".repeat(300)) })).collect();
        let last = json!({
            "type": "response.completed",
            "response": {
                "id": "r".repeat(1_024), "object": "response", "model": "gpt-4o", "status": "completed", "output": [{ "content": [{ "text": text }, parts] }],
                "usage": { "input_tokens": 7, "output_tokens": 42_000, "total_tokens": 42_007 },
            },
        });
        let mut body = format!("event: a\ndata: {delta}\n\n").repeat(42_000);
        body.push_str(&format!("event: response.completed\ndata: {last}\n\n"));
        let read = scanned(Framing::Sse, body.as_bytes(), 1 << 20);
        assert_eq!((counts(&read), read.1), ((Some(7), Some(42_000)), None));
        assert_eq!(read.0.response_id.as_deref(), Some("r".repeat(1_024).as_str()));
    }

    #[test]
    fn counts_that_come_with_every_event_are_those_of_the_last() {
        let event = |n: u64| {
            json!({ "model": "m", "candidates": [{ "content": { "parts": [{ "text": "x".repeat(200) }] } }], "usageMetadata": { "promptTokenCount": 5, "candidatesTokenCount": n } }).to_string()
        };
        let events: Vec<String> = (1..=30_000).map(event).collect();
        let stream: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
        assert_eq!(counts(&scanned(Framing::Sse, stream.as_bytes(), 100_000)), (Some(5), Some(30_000)));
        let list = format!("[{}\n]", events.join("\n,\r\n"));
        assert_eq!(counts(&scanned(Framing::Json, list.as_bytes(), 100_000)), (Some(5), Some(30_000)));
        assert_eq!(counts(&scanned(Framing::Lines, events.join("\n").as_bytes(), 100_000)), (Some(5), Some(30_000)));
    }

    #[test]
    fn a_long_document_is_read_around_its_long_texts() {
        let image = "iVBORw0KGgo".repeat(1_500_000);
        let body = json!({ "created": 1, "data": [{ "b64_json": image }], "usage": { "input_tokens": 5, "output_tokens": 6_208 } });
        assert_eq!(counts(&scanned(Framing::Json, body.to_string().as_bytes(), 1 << 20)), (Some(5), Some(6_208)));
    }

    #[test]
    fn long_streams_of_frames_are_read() {
        let mut body = Vec::new();
        for _ in 0..2_000 {
            body.extend(frame(
                &[(":event-type", "contentBlockDelta")],
                format!("{{\"delta\":{{\"text\":\"{}\"}}}}", "x".repeat(500)).as_bytes(),
            ));
        }
        body.extend(frame(
            &[(":event-type", "metadata")],
            br#"{"usage":{"inputTokens":3,"outputTokens":2000,"totalTokens":2003}}"#,
        ));
        assert_eq!(counts(&scanned(Framing::AwsEventStream, &body, 10_000)), (Some(3), Some(2_000)));
    }

    #[test]
    fn what_is_not_read_is_said_unless_the_counts_are_known_all_the_same() {
        let numbers = format!("[{}1]", "1,".repeat(3_000_000));
        let document = format!("{{\"data\":{numbers},\"usage\":{{\"prompt_tokens\":5}}}}");
        let (facts, unread) = scanned(Framing::Json, document.as_bytes(), 1 << 20);
        assert_eq!((facts.usage.tokens_in, unread), (None, Some(TOO_MUCH)));
        let last = "data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n";
        let stream = format!("data: {{\"a\":{numbers}}}\n\n{last}");
        assert_eq!(scanned(Framing::Sse, stream.as_bytes(), 1 << 20).1, None);
        let stream = format!("data: {{\"a\":{numbers}}}\n\n");
        assert_eq!(scanned(Framing::Sse, stream.as_bytes(), 1 << 20).1, Some(TOO_MUCH));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(body in prop::collection::vec(prop::sample::select(b"data: \r\n{}[]\",\\x\0\x01".to_vec()), 0..200), size in 1usize..20) {
            for framing in [Framing::Sse, Framing::Json, Framing::Lines, Framing::AwsEventStream] {
                let _ = scanned(framing, &body, size);
            }
        }
    }
}
