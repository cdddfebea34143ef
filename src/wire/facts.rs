//! What is known of an answer: its model, its ids, what it used, how it ended.

use crate::wire::details::Details;
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
    /// True where `tokens_out` does not contain the reasoning (Gemini). A caller of [`read`] finds it contained.
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

/// How logs name [`Usage::is_sum`].
const SUM: &str = "sum_of_requests";

const MAX_ERROR: usize = 500;

/// An error as a row keeps it.
pub fn shortened(error: &str) -> String {
    error.trim().chars().take(MAX_ERROR).collect()
}

// === impl Usage ===

impl Usage {
    /// Whether there is any figure.
    pub fn is_reported(&self) -> bool {
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
