//! What an answer says about itself: its model, its id, its tokens and how it ended.
//!
//! Modules here are per wire *format*, not per vendor, since a dozen vendors speak OpenAI's.
//! Nothing in here changes a byte: a body that cannot be read yields empty [`Facts`], never an error.

pub mod complete;
mod document;
mod eventstream;
pub mod request;
pub mod sse;
pub mod usage;

use document::{Document, Found};
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
    /// The cost in USD where the provider reports one (OpenRouter, Perplexity, xAI).
    pub cost: Option<f64>,
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
    let mut facts = Facts::default();
    let mut reader = Reader { facts: &mut facts, failed: status >= 400, documents: 0 };
    match sniffed(framing, body) {
        Framing::Json => reader.document(body),
        Framing::Lines => body.split(|byte| *byte == b'\n').for_each(|line| reader.event(line)),
        Framing::Sse => {
            let mut events = sse::Events::new(body);
            events.by_ref().for_each(|data| reader.event(&data));
            if let Some(rest) = events.rest() {
                reader.event(&rest);
            }
        }
        Framing::AwsEventStream => eventstream::Frames::new(body).for_each(|frame| reader.frame(&frame)),
    }
    facts.usage.total_tokens = facts.usage.total_tokens.or_else(|| total(&facts.usage));
    facts
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
struct Reader<'a> {
    facts: &'a mut Facts,
    /// True when the status says that the answer is an error.
    failed: bool,
    documents: u32,
}

/// The id and the model stand in the first events of a stream, if anywhere.
const FIRST_EVENTS: u32 = 8;

const MAX_ERROR: usize = 500;

impl Reader<'_> {
    fn document(&mut self, body: &[u8]) {
        match serde_json::from_slice(body) {
            Ok(Found::Document(document)) => self.take(*document, 0),
            Ok(Found::List(documents)) => documents.into_iter().for_each(|document| self.take(document, 0)),
            _ => {}
        }
    }

    /// Most events of a stream hold a few words of text; parsing them all would cost more than the rest of the log.
    fn event(&mut self, data: &[u8]) {
        self.documents += 1;
        let named = self.facts.model.is_some() && self.facts.response_id.is_some();
        if (!named && self.documents <= FIRST_EVENTS) || is_telling(data) {
            self.document(data);
        }
    }

    fn frame(&mut self, frame: &eventstream::Frame<'_>) {
        let failed = self.failed;
        self.failed |= frame.is_exception;
        match eventstream::unwrapped(frame.payload) {
            Some(payload) => self.event(&payload),
            None => self.document(frame.payload),
        }
        self.failed = failed;
    }

    fn take(&mut self, document: Document, depth: u32) {
        let facts = &mut *self.facts;
        // A model or an id inside a message or a choice belongs to that; only these are the answer's own.
        let is_answer =
            depth == 0 || document.kind.as_deref().is_some_and(|kind| kind == "message" || kind == "response");
        if is_answer {
            facts.model = document.model.or(facts.model.take());
            facts.response_id = facts.response_id.take().or(document.id);
        }
        if facts.response_id.is_none() {
            facts.response_id = document.other_id;
        }
        facts.finish_reason = document.finish.or(facts.finish_reason.take());
        for counts in &document.counts {
            usage::merge(&mut facts.usage, usage::read(counts.get("usage").unwrap_or(counts)));
        }
        if let Some(out) = document.titan_out {
            facts.usage.tokens_out = Some(facts.usage.tokens_out.unwrap_or(0).saturating_add(out));
        }
        let named = document.error.as_ref().and_then(explained);
        let told = document.text.filter(|_| self.failed && depth == 0);
        if let Some(error) = named.or(told) {
            facts.error = Some(error.trim().chars().take(MAX_ERROR).collect());
        }
        for inner in document.inner {
            self.take(inner, depth + 1);
        }
    }
}

/// The text of an error, which is an object with a message, a list of those, or a text.
fn explained(error: &Value) -> Option<String> {
    match error {
        Value::String(text) => Some(text.clone()),
        Value::Array(errors) => errors.first().and_then(explained),
        Value::Object(fields) => {
            ["message", "detail", "error", "code", "type"].iter().find_map(|name| explained(fields.get(*name)?))
        }
        _ => None,
    }
}

/// Whether an event can hold something besides text: token counts, an end, an error. In one pass, because a stream has
/// thousands of events.
fn is_telling(data: &[u8]) -> bool {
    memchr::memchr_iter(b'"', data).filter_map(|at| member(data.get(at + 1..)?)).any(|(name, value)| {
        let begins = |with: &[&[u8]]| with.iter().any(|with| name.starts_with(with));
        let ends = |with: &[&[u8]]| with.iter().any(|with| name.ends_with(with));
        match value {
            b'{' => begins(&[b"usage", b"x_groq", b"meta", b"metrics", b"error"]) || ends(&[b"Metrics"]),
            b'"' => ends(&[b"finish_reason", b"finishReason", b"stop_reason", b"stopReason"]) || begins(&[b"error"]),
            b'n' => false,
            _ => begins(&[b"error"]),
        }
    })
}

/// The name of the member that begins with a name, and the first byte of its value. Inside a text the quotes are escaped, so
/// what merely looks like a member there is not taken for one.
fn member(text: &[u8]) -> Option<(&[u8], u8)> {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_' && *byte != b'-')?;
    let (name, rest) = text.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start().strip_prefix(b":")?;
    Some((name, *rest.trim_ascii_start().first()?))
}

// === impl Framing ===

impl Framing {
    /// The framing of a content type, or `None` for what holds no facts.
    pub fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => Some(Self::Sse),
            "application/vnd.amazon.eventstream" => Some(Self::AwsEventStream),
            "application/x-ndjson" | "application/ndjson" | "application/stream+json" | "application/jsonl" => {
                Some(Self::Lines)
            }
            "application/json" => Some(Self::Json),
            kind if kind.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

#[cfg(test)]
mod fixtures;
