//! What all formats have in common: a request of turns with ordered blocks, and an answer as a sequence of events. Each format
//! reads into these and writes out of them, so that five formats need five readers and five writers.

use crate::translate::citations::Citation;
use crate::translate::json::Json;
pub use crate::translate::notes::{Dropped, Notes};
use std::ops::Deref;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model as the caller names it.
    pub model: String,
    pub stream: bool,
    /// Whether a streamed answer in the caller's format ends with what it used. Chat completions say so only when asked.
    pub usage_in_stream: bool,
    pub system: Vec<Block>,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub choice: Option<Choice>,
    /// The tools that may be called, where not all may.
    pub allowed: Option<Vec<String>>,
    /// False where at most one tool may be called in a turn.
    pub parallel: Option<bool>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u64>,
    /// How many answers the caller wants, where that is more than one.
    pub choices: Option<u64>,
    pub sampling: Sampling,
    pub stop: Vec<String>,
    pub thinking: Option<Thinking>,
    /// Only an effort was given: one of Anthropic's models does not think for that.
    pub is_effort_alone: bool,
    /// Whether the caller wants to read what the model thought.
    pub thoughts_shown: bool,
    pub output: Option<Output>,
    pub verbosity: Option<String>,
    /// The caller's own name of its user.
    pub user: Option<String>,
    pub cache_key: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub seed: Option<Json>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    /// Instructions in the middle of a conversation.
    System,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub blocks: Vec<Block>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub content: Content,
    /// The provider is to remember the prompt up to here; for how long, if the caller says so (`5m`, `1h`).
    pub cache: Option<Cache>,
    /// Where the words of an answer come from.
    pub citations: Vec<Citation>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    pub ttl: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Text(String),
    Refusal(String),
    Thinking(Thought),
    /// A thought that only its provider can read.
    Redacted(String),
    Media(Media),
    ToolUse(ToolUse),
    ToolResult(ToolResult),
}

/// What a model thought, and what its provider wants back unchanged to believe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thought {
    pub text: String,
    pub signature: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    pub kind: MediaKind,
    pub source: Source,
    /// A file's name.
    pub name: Option<String>,
    /// How closely the model is to look: `low`, `high`, `auto`.
    pub detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Image,
    Document,
    Audio,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Base64, with its media type.
    Inline {
        media_type: String,
        data: String,
    },
    Url(String),
    /// A file that the provider keeps.
    File(String),
    Text(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolUse {
    pub id: String,
    pub name: String,
    /// JSON as the model wrote it: it may be cut off, or wrong.
    pub arguments: String,
    /// What its provider wants back unchanged with the call.
    pub signature: Option<String>,
    /// The arguments of a tool whose input is free text are that text.
    pub is_custom: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolResult {
    pub id: String,
    pub content: Vec<Block>,
    pub is_error: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON schema.
    pub parameters: Option<Json>,
    pub strict: Option<bool>,
    pub cache: Option<Cache>,
    /// True for a tool whose input is free text.
    pub is_custom: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Auto,
    None,
    /// Some tool must be called.
    Any,
    One(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    Off,
    /// So many tokens.
    Budget(u64),
    /// As much as the model finds right.
    Adaptive,
    Effort(Effort),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// The form that an answer must have.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Json,
    Schema { name: Option<String>, description: Option<String>, schema: Json, strict: Option<bool> },
}

/// What happens in an answer. Blocks follow one another: one ends before the next begins, whatever the provider did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Start {
        id: String,
        model: String,
    },
    Open(Opening),
    /// More of the open text, refusal or thought, or of the open call's arguments.
    More(String),
    /// Of the open thought.
    Signature(String),
    /// Of the open text.
    Citation(Citation),
    Close,
    /// What was used up to here, all in all: it replaces what was said before.
    Usage(Usage),
    Finish {
        reason: Finish,
        stop_sequence: Option<String>,
    },
    Error(Failure),
    /// A part of the answer that other formats have no place for, by the provider's name of it. No writer gets it.
    Dropped(String),
    /// The provider said that the answer is whole.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Text,
    Refusal,
    Thinking,
    Redacted(String),
    ToolUse(Opened),
}

/// A call that begins; its arguments follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    pub id: String,
    pub name: String,
    pub signature: Option<String>,
    pub is_custom: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    StopSequence,
    ToolUse,
    Length,
    /// The provider kept the answer back, or the model refused.
    Refused,
    /// The model is to be asked to go on.
    Pause,
}

/// Tokens. Those read from a cache and those written to one are not part of `input`; thoughts are part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub output: u64,
    pub reasoning: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: u16,
    /// The provider's own word for it.
    pub kind: Option<String>,
    pub message: String,
}

/// A request that cannot be said in another format without meaning something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untranslatable(Box<Problem>);

/// What an [`Untranslatable`] says. On the heap, because every function that reads or writes a request hands it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Such as `messages[2].content[0]`.
    pub field: String,
    pub why: String,
}

// === impl Request ===

impl Request {
    /// The tools that the model may call.
    pub fn offered(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(|tool| self.allowed.as_ref().is_none_or(|names| names.contains(&tool.name)))
    }

    /// Leaves the last of the marks for the cache, where a provider takes so many at most. Says whether there were more.
    pub fn leave_marks(&mut self, most: usize) -> bool {
        let tools = self.tools.iter_mut().map(|tool| &mut tool.cache);
        let turns = self.turns.iter_mut().flat_map(|turn| &mut turn.blocks);
        let blocks = self.system.iter_mut().chain(turns).map(|block| &mut block.cache);
        let marks: Vec<_> = tools.chain(blocks).filter(|mark| mark.is_some()).collect();
        let more = marks.len().saturating_sub(most);
        marks.into_iter().take(more).for_each(|mark| *mark = None);
        more > 0
    }
}

// === impl Block ===

impl Block {
    pub fn text(text: impl Into<String>) -> Self {
        Content::Text(text.into()).into()
    }
}

impl From<Content> for Block {
    fn from(content: Content) -> Self {
        Self { content, cache: None, citations: Vec::new() }
    }
}

// === impl Thought ===

impl Thought {
    /// Whether Anthropic signed it. The signatures of others stand behind their names and a colon, which base64 does not have.
    pub fn is_anthropics(&self) -> bool {
        self.signature.as_deref().is_some_and(|own| !own.is_empty() && !own.contains(':'))
    }
}

// === impl Usage ===

impl Usage {
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }

    /// All tokens of the prompt, as OpenAI and Google count them.
    pub fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write())
    }
}

// === impl Effort ===

impl Effort {
    const ALL: [(&'static str, Self); 6] = [
        ("minimal", Self::Minimal),
        ("low", Self::Low),
        ("medium", Self::Medium),
        ("high", Self::High),
        ("xhigh", Self::Xhigh),
        ("max", Self::Max),
    ];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == word).map(|(_, effort)| *effort)
    }

    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, effort)| *effort == self).map_or("high", |(word, _)| word)
    }

    /// The tokens that stand for it where a model wants a number.
    pub fn budget(self) -> u64 {
        match self {
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 2_048,
            Self::High => 4_096,
            Self::Xhigh => 8_192,
            Self::Max => 16_384,
        }
    }

    /// The effort whose tokens are nearest.
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..1_536 => Self::Low,
            1_536..3_072 => Self::Medium,
            3_072..6_144 => Self::High,
            6_144..12_288 => Self::Xhigh,
            _ => Self::Max,
        }
    }
}

// === impl Untranslatable ===

impl Untranslatable {
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self(Box::new(Problem { field: field.into(), why: why.into() }))
    }
}

impl Deref for Untranslatable {
    type Target = Problem;

    fn deref(&self) -> &Problem {
        &self.0
    }
}
