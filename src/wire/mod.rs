//! What an answer says about itself: its model, its id, its tokens and how it ended.
//!
//! Modules here are per wire *format*, not per vendor, since a dozen vendors speak OpenAI's.
//! Nothing in here changes a byte: a body that cannot be read yields empty [`Facts`], never an error.

mod answer;
mod beside;
pub mod body;
pub mod complete;
pub mod details;
pub mod elide;
mod ends;
mod eventstream;
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

use answer::Place;
use details::Details;
use serde_json::Value;

/// What a provider's answer reported, as far as it could be read. Unknown is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The model the answer names, e.g. `gpt-4o-2024-08-06`.
    pub model: Option<String>,
    /// The id inside the answer: `chatcmpl-…`, `msg_…`, `resp_…`, Gemini's `responseId`.
    pub response_id: Option<String>,
    pub usage: Usage,
    /// Why the model stopped, in the provider's own word (`stop`, `end_turn`, `MAX_TOKENS`).
    pub finish_reason: Option<String>,
    /// The provider's message when the answer is an error, or when an error arrived inside a stream.
    pub error: Option<String>,
    pub thing: Thing,
}

/// What an answer says of something that its provider keeps, and that can be asked for again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thing {
    /// Its id, where the format tells that it is such a thing.
    pub id: Option<String>,
    /// True while its provider is at work on it.
    pub is_open: bool,
    /// True for what its provider was told not to keep.
    pub is_dropped: bool,
}

/// Token counts in the provider's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Input tokens as the provider counts them; see [`Usage::cached_outside`].
    pub tokens_in: Option<u64>,
    /// Output tokens that are billed, reasoning included.
    pub tokens_out: Option<u64>,
    pub total_tokens: Option<u64>,
    /// Input tokens read from the provider's prompt cache.
    pub cached: Option<u64>,
    /// Input tokens written to the provider's prompt cache.
    pub cache_write: Option<u64>,
    /// Output tokens spent on reasoning; always contained in `tokens_out`.
    pub reasoning: Option<u64>,
    /// True where cached and cache-write tokens are counted beside `tokens_in` (Anthropic, Bedrock Converse),
    /// false where `tokens_in` contains them (OpenAI, Gemini).
    pub cached_outside: bool,
    /// True where `tokens_out` does not contain the reasoning (Gemini). Whoever gets a usage from [`read`] finds it contained.
    pub reasoning_beside: bool,
    /// Input tokens that come on top of `tokens_in`, likewise (Gemini's tools).
    pub tool_input: Option<u64>,
    /// The cost in USD where the provider reports one (OpenRouter, Perplexity, xAI).
    pub cost: Option<f64>,
    /// True for what several answers used together (a batch): no single one of them was as long.
    pub is_sum: bool,
    pub details: Details,
}

/// How the bytes of a body are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Json,
    /// A JSON document per line.
    Lines,
    /// `text/event-stream`.
    Sse,
    /// `application/vnd.amazon.eventstream`.
    AwsEventStream,
}

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
    usage::settle(&mut facts.usage);
    facts.usage.total_tokens = facts.usage.total_tokens.or_else(|| total(&facts.usage));
    facts
}

/// A body as a log keeps it. Frames of bytes become lines of JSON: nobody could read them, and no evaluation either.
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

const MAX_ERROR: usize = 500;

/// The name of Replicate's events whose data are a model's bare words.
const OUTPUT: &[u8] = b"output";

// === impl Reader ===

impl Reader {
    fn document(&mut self, body: &[u8], place: Place) {
        places::read(body, answer::answer, |node| self.facts.take(&node, place));
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

/// An error as a row keeps it.
fn shortened(error: &str) -> String {
    error.trim().chars().take(MAX_ERROR).collect()
}

// === impl Usage ===

impl Usage {
    /// Whether there is any figure.
    pub fn is_told(&self) -> bool {
        self.tokens_in.is_some() || self.tokens_out.is_some() || self.cost.is_some() || !self.details.is_plain()
    }

    /// What columns of logs do not have, as they keep it.
    pub fn details_json(&self) -> Option<String> {
        let mut shown = self.details.show();
        if self.is_sum {
            shown.insert(SUM.to_owned(), Value::Bool(true));
        }
        (!shown.is_empty()).then(|| Value::Object(shown).to_string())
    }

    /// Takes over what [`Usage::details_json`] made.
    pub fn with_details(self, json: Option<&str>) -> Self {
        let shown: Value = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Self { details: Details::read(&shown), is_sum: shown.get(SUM) == Some(&Value::Bool(true)), ..self }
    }
}

/// How logs name [`Usage::is_sum`].
const SUM: &str = "sum_of_requests";

// === impl Framing ===

impl Framing {
    /// The framing of a content type, or `None` for what holds no facts.
    pub fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => Some(Self::Sse),
            "application/vnd.amazon.eventstream" => Some(Self::AwsEventStream),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/stream+json"
            | "application/jsonl"
            | "application/x-jsonl" => Some(Self::Lines),
            "application/json" => Some(Self::Json),
            kind if kind.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

#[cfg(test)]
mod words;
