//! What the messages of a connection mean, and what a response begins with.

use crate::http::query::understood;
use crate::wire::request::RequestFacts;

/// What the messages of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Each `response.create` is a response, and lanes (`stream_id`) have several of them at once.
    Responses,
    /// A conversation, in which the provider may begin responses by itself.
    Realtime,
    /// Gemini's conversations, which have turns.
    Live,
}

/// A response that is about to begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begun {
    pub facts: RequestFacts,
    /// The provider's id of it, of a response that the provider began by itself.
    pub id: Option<String>,
    /// The `stream_id` that its messages have.
    pub lane: Option<String>,
    /// The client's id of the message that asks for it.
    pub event_id: Option<String>,
    /// The response that it goes on from.
    pub parent: Option<String>,
    pub origin: Origin,
}

/// How a response comes to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Asked,
    /// The client tells a response that is under way something, and the provider may go on from that in another one.
    Steered,
    /// A microphone: the provider may find that nothing was said.
    Heard,
    /// The provider began it by itself.
    Unasked,
}

/// What a client's message does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It goes on as it is.
    Pass,
    /// It begins a response, if the limits let it.
    Begins(Box<Begun>),
    /// It may begin one, and cannot be read.
    Unreadable,
}

/// So much may be kept of a connection of what comes piece by piece, in bytes.
pub const MAX_HELD: usize = 4 * 1024 * 1024;

/// So many responses of a connection are kept in mind at a time.
pub const MAX_OPEN: usize = 256;

/// Longer ids and names lose their end, in characters.
const MAX_NAME: usize = 256;

/// An id or a name as it is kept.
pub fn kept(text: Option<&str>) -> Option<String> {
    text.map(|text| text.chars().take(MAX_NAME).collect())
}

// === impl Dialect ===

impl Dialect {
    /// By the path of the handshake, on any provider's host: other providers speak like OpenAI, and below other prefixes.
    pub fn of(rest: &str) -> Option<Self> {
        let rest = understood(rest);
        let last = rest.trim_end_matches('/').rsplit('/').next().unwrap_or("");
        match last {
            "responses" => Some(Self::Responses),
            "realtime" => Some(Self::Realtime),
            // Below google.ai.generativelanguage.v1beta.GenerativeService, and Vertex's LlmBidiService.
            last => {
                let method = last.rsplit('.').next().unwrap_or(last);
                matches!(method, "BidiGenerateContent" | "BidiGenerateContentConstrained").then_some(Self::Live)
            }
        }
    }
}
