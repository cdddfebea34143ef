//! What an answer says about itself: its model, its id, its tokens and how it ended.
//!
//! Modules here are per wire *format*, not per vendor, since a dozen vendors speak OpenAI's.
//! Nothing in here changes a byte: a body that cannot be read yields empty [`Facts`], never an error.

mod answer;
mod beside;
pub mod body;
pub mod complete;
pub mod counts;
pub mod details;
pub mod elide;
mod ends;
pub mod eventstream;
pub mod facts;
pub mod files;
pub mod form;
pub mod page;
pub mod picture;
pub mod places;
pub mod request;
pub mod scan;
pub mod sse;
mod telling;
mod units;
pub mod unpack_worker;
pub mod usage;

pub use facts::{Facts, Framing, Usage};

use answer::Place;
use facts::shortened;

/// Reads an answer. A body that broke off says what its complete part said.
pub fn read(framing: Framing, status: u16, body: &[u8]) -> Facts {
    let place = Place { failed: status >= 400, bedrock: framing == Framing::AwsEventStream };
    let mut reader = Reader { facts: Facts::default(), place, events: 0 };
    match sniffed(framing, body) {
        Framing::Json => reader.document(body, place),
        Framing::Lines => body.split(|byte| *byte == b'\n').for_each(|line| reader.event(line, place)),
        Framing::Sse => {
            let mut events = sse::Events::new(body);
            while let Some(data) = events.next() {
                reader.named_event(events.name(), &data);
            }
            // What broke off is no bare text that could be told from a part of a document.
            if let Some(data) = events.rest().filter(|_| events.name() != OUTPUT) {
                reader.event(&data, place);
            }
        }
        Framing::AwsEventStream => eventstream::Frames::new(body).for_each(|frame| reader.frame(&frame)),
    }
    let mut facts = reader.facts;
    usage::add_up(&mut facts.usage);
    facts.usage.total_tokens = facts.usage.total_tokens.or_else(|| total(&facts.usage));
    facts
}

/// A body as a log keeps it. Frames of bytes become lines of JSON: people could not read them, and evaluations neither.
pub fn stored(framing: Framing, body: Vec<u8>) -> String {
    match framing {
        Framing::AwsEventStream => eventstream::lines(&body),
        _ => crate::wire::body::text(body),
    }
}

/// Providers send streams as JSON and JSON as streams; the first byte tells better than the content type.
fn sniffed(framing: Framing, body: &[u8]) -> Framing {
    let start = body.trim_ascii_start();
    let json = matches!(start.first(), Some(b'{' | b'['));
    let sse = [&b"data:"[..], b"event:", b"id:", b": ", b":\n"].iter().any(|prefix| start.starts_with(prefix));
    match framing {
        Framing::Json if sse => Framing::Sse,
        Framing::Sse if json => Framing::Json,
        framing => framing,
    }
}

fn total(usage: &Usage) -> Option<u64> {
    let outside =
        if usage.cached_outside { usage.cached.unwrap_or(0).checked_add(usage.cache_write.unwrap_or(0))? } else { 0 };
    usage.tokens_in?.checked_add(usage.tokens_out?)?.checked_add(outside)
}

/// Gathers the facts of one answer from its documents, of which a stream has many.
struct Reader {
    facts: Facts,
    place: Place,
    /// How many events were looked at.
    events: u32,
}

/// The id and the model stand in the first events of a stream, if anywhere.
const FIRST_EVENTS: u32 = 8;

/// The name of Replicate's events whose data are a model's bare words.
const OUTPUT: &[u8] = b"output";

// === impl Reader ===

impl Reader {
    fn document(&mut self, body: &[u8], place: Place) {
        places::read(body, answer::answer, &mut |node| self.facts.take(&node, place));
    }

    /// Most events of a stream hold a few words of text; reading them all takes three times as long as looking through them.
    fn event(&mut self, data: &[u8], place: Place) {
        self.events += 1;
        let named = self.facts.model.is_some() && self.facts.response_id.is_some();
        if (!named && self.events <= FIRST_EVENTS) || place.failed || telling::is_telling(data) {
            self.document(data, place);
        }
    }

    fn named_event(&mut self, name: &[u8], data: &[u8]) {
        match name {
            OUTPUT => {}
            b"error" => {
                self.document(data, Place { failed: true, ..self.place });
                if self.facts.error.is_none() {
                    self.facts.error = Some(shortened(&String::from_utf8_lossy(data)));
                }
            }
            _ => self.event(data, self.place),
        }
    }

    fn frame(&mut self, frame: &eventstream::Frame<'_>) {
        let place = Place { failed: self.place.failed || frame.exception.is_some(), ..self.place };
        match eventstream::unwrapped(frame.payload) {
            Some(payload) => self.event(&payload, place),
            None => self.document(frame.payload, place),
        }
        if let Some(name) = frame.exception.filter(|_| self.facts.error.is_none()) {
            self.facts.error = Some(shortened(&String::from_utf8_lossy(name)));
        }
    }
}

#[cfg(test)]
mod word_tests;
