//! What an answer says about itself: its model, its id, its tokens and how it ended.
//!
//! Modules here are per wire *format*, not per vendor, since a dozen vendors speak OpenAI's.
//! Nothing in here changes a byte: a body that cannot be read yields empty [`Facts`], never an error.

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
    /// `text/event-stream`.
    Sse,
    /// `application/vnd.amazon.eventstream`.
    AwsEventStream,
}
