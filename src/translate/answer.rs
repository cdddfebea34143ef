//! An answer on its way from one format to another: the blocks that are open, and what is put right between reader and writer.

use crate::translate::citations::{self, Citation};
use crate::translate::json::Json;
use crate::translate::model::{Block, Content, Event, Failure, Finish, Opened, Opening, Thought, ToolUse, Usage};
use crate::translate::names::{JSON_TOOL, Names, safe_id};

/// Reads the answer of a provider: whole, or event by event.
pub trait Reader {
    /// An event of a stream. `name` is what stands before its data; formats that repeat it there ignore it.
    fn event(&mut self, name: &str, data: &Json, out: &mut Vec<Event>);

    /// A whole answer.
    fn whole(&mut self, answer: &Json, out: &mut Vec<Event>);

    /// The stream has ended, as its provider said or because it broke off.
    fn end(&mut self, out: &mut Vec<Event>);
}

/// Writes an answer for a client, event by event.
pub trait Writer {
    fn event(&mut self, event: &Event, out: &mut String);
}

/// What all readers know of an answer while it comes: which block is open, how it ended, what it used.
#[derive(Debug, Default)]
pub struct State {
    started: bool,
    open: Option<Kind>,
    /// The open thought has its signature, and so is whole.
    is_signed: bool,
    called: bool,
    /// The sources so far.
    cited: usize,
    pub finish: Option<(Finish, Option<String>)>,
    usage: Option<Usage>,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Refusal,
    Thinking,
    ToolUse,
}

// === impl State ===

impl State {
    pub fn is_started(&self) -> bool {
        self.started
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn is_in_text(&self) -> bool {
        self.open == Some(Kind::Text)
    }

    pub fn start(&mut self, id: &str, model: &str, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            out.push(Event::Start { id: id.to_owned(), model: model.to_owned() });
        }
    }

    /// More of a text, a refusal or a thought, in a block that is opened where none of the kind is.
    pub fn more(&mut self, kind: Kind, text: &str, out: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        if self.open != Some(kind) || self.is_signed {
            self.close(out);
            self.open = Some(kind);
            out.push(Event::Open(match kind {
                Kind::Refusal => Opening::Refusal,
                Kind::Thinking => Opening::Thinking,
                _ => Opening::Text,
            }));
        }
        out.push(Event::More(text.to_owned()));
    }

    pub fn open_thought(&mut self, out: &mut Vec<Event>) {
        if self.open != Some(Kind::Thinking) || self.is_signed {
            self.close(out);
            self.open = Some(Kind::Thinking);
            out.push(Event::Open(Opening::Thinking));
        }
    }

    pub fn signature(&mut self, signature: &str, out: &mut Vec<Event>) {
        if !signature.is_empty() {
            self.open_thought(out);
            self.is_signed = true;
            out.push(Event::Signature(signature.to_owned()));
        }
    }

    pub fn redacted(&mut self, data: &str, out: &mut Vec<Event>) {
        self.close(out);
        out.push(Event::Open(Opening::Redacted(data.to_owned())));
        out.push(Event::Close);
    }

    pub fn open_call(&mut self, call: Opened, out: &mut Vec<Event>) {
        self.close(out);
        self.open = Some(Kind::ToolUse);
        self.called = true;
        out.push(Event::Open(Opening::ToolUse(call)));
    }

    /// More of the open call's arguments.
    pub fn arguments(&mut self, text: &str, out: &mut Vec<Event>) {
        if self.open == Some(Kind::ToolUse) && !text.is_empty() {
            out.push(Event::More(text.to_owned()));
        }
    }

    /// A call that is there whole.
    pub fn call(&mut self, call: Opened, arguments: &str, out: &mut Vec<Event>) {
        self.open_call(call, out);
        self.arguments(arguments, out);
        self.close(out);
    }

    pub fn close(&mut self, out: &mut Vec<Event>) {
        self.is_signed = false;
        if self.open.take().is_some() {
            out.push(Event::Close);
        }
    }

    pub fn use_up(&mut self, usage: Usage, out: &mut Vec<Event>) {
        self.usage = Some(usage);
        out.push(Event::Usage(usage));
    }

    /// A part of the answer that is left out, because no other format has a place for it.
    pub fn drop(&mut self, part: &str, out: &mut Vec<Event>) {
        if !part.is_empty() {
            out.push(Event::Dropped(part.to_owned()));
        }
    }

    pub fn drop_if(&mut self, is_there: bool, part: &str, out: &mut Vec<Event>) {
        if is_there {
            self.drop(part, out);
        }
    }

    /// A source of the open text. One that belongs to no text is left out.
    pub fn cite(&mut self, citation: Citation, out: &mut Vec<Event>) {
        self.cited += 1;
        match self.open {
            Some(Kind::Text) if self.cited <= citations::MOST => out.push(Event::Citation(citation)),
            _ => self.drop("citations", out),
        }
    }

    pub fn fail(&mut self, failure: Failure, out: &mut Vec<Event>) {
        if !self.over {
            self.over = true;
            out.push(Event::Error(failure));
        }
    }

    /// The stream has ended. An answer that never said how it ended has broken off.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        let Some((reason, stop_sequence)) = self.finish.take() else {
            let message = "The provider's answer broke off before it said how it ended.".to_owned();
            return self.fail(Failure { status: 502, kind: None, message }, out);
        };
        self.over = true;
        self.close(out);
        // Some providers say that they stopped where they called a tool.
        let reason = match reason {
            Finish::Stop if self.called => Finish::ToolUse,
            // A call of a tool that the provider runs itself is none for the caller.
            Finish::ToolUse if !self.called => Finish::Stop,
            other => other,
        };
        out.push(Event::Finish { reason, stop_sequence });
        out.push(Event::End);
    }
}

/// What is put right between a reader and a writer: names of tools as the caller knows them, free text out of its wrapping, and the
/// tool that stood for a schema as the text that the caller asked for.
#[derive(Debug, Default)]
pub struct Corrections {
    names: Names,
    json_tool: bool,
    /// Tools whose input is free text.
    custom: Vec<String>,
    /// The open call whose arguments are kept together: they are wrapped text.
    wrapped: Option<String>,
    in_json: bool,
    /// Calls that the caller gets to see.
    calls: usize,
    /// What ids are made of where the provider gives a call none. They must not come again in the next turn.
    seed: String,
}

// === impl Corrections ===

impl Corrections {
    pub fn new(names: Names, json_tool: bool, custom: Vec<String>, seed: &str) -> Self {
        Self { names, json_tool, custom, seed: seed.to_owned(), ..Self::default() }
    }

    pub fn apply(&mut self, event: Event, out: &mut Vec<Event>) {
        match event {
            Event::Open(Opening::ToolUse(call)) if self.json_tool && call.name == JSON_TOOL => {
                self.in_json = true;
                out.push(Event::Open(Opening::Text));
            }
            Event::Open(Opening::ToolUse(call)) => {
                let made = || safe_id(&format!("call_{}_{}", self.seed, self.calls));
                let id = if call.id.is_empty() { made() } else { call.id };
                self.calls += 1;
                let name = self.names.back(&call.name).to_owned();
                self.wrapped = (self.custom.contains(&name) && !call.is_custom).then(String::new);
                let is_custom = call.is_custom || self.wrapped.is_some();
                out.push(Event::Open(Opening::ToolUse(Opened { id, name, is_custom, signature: call.signature })));
            }
            Event::More(text) => match &mut self.wrapped {
                Some(all) => all.push_str(&text),
                None => out.push(Event::More(text)),
            },
            Event::Close => {
                if let Some(all) = self.wrapped.take() {
                    let input = Json::parse(&all).and_then(|own| own.text("input").map(str::to_owned));
                    out.push(Event::More(input.unwrap_or(all)));
                }
                out.push(Event::Close);
            }
            Event::Finish { reason: Finish::ToolUse, stop_sequence } if self.in_json && self.calls == 0 => {
                out.push(Event::Finish { reason: Finish::Stop, stop_sequence });
            }
            other => out.push(other),
        }
    }
}

/// A whole answer, made of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub id: String,
    pub model: String,
    pub blocks: Vec<Block>,
    pub finish: Option<Finish>,
    pub stop_sequence: Option<String>,
    pub usage: Usage,
    pub failure: Option<Failure>,
}

// === impl Answer ===

impl Answer {
    pub fn of(events: &[Event]) -> Self {
        let mut answer = Self::default();
        for event in events {
            answer.add(event);
        }
        answer
    }

    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Start { id, model } => (self.id, self.model) = (id.clone(), model.clone()),
            Event::Open(opening) => self.blocks.push(
                match opening {
                    Opening::Text => Content::Text(String::new()),
                    Opening::Refusal => Content::Refusal(String::new()),
                    Opening::Thinking => Content::Thinking(Thought::default()),
                    Opening::Redacted(data) => Content::Redacted(data.clone()),
                    Opening::ToolUse(call) => Content::ToolUse(ToolUse {
                        id: call.id.clone(),
                        name: call.name.clone(),
                        arguments: String::new(),
                        signature: call.signature.clone(),
                        is_custom: call.is_custom,
                    }),
                }
                .into(),
            ),
            Event::More(text) => match self.blocks.last_mut().map(|block| &mut block.content) {
                Some(Content::Text(all) | Content::Refusal(all)) => all.push_str(text),
                Some(Content::Thinking(thought)) => thought.text.push_str(text),
                Some(Content::ToolUse(call)) => call.arguments.push_str(text),
                _ => {}
            },
            Event::Signature(signature) => {
                if let Some(Content::Thinking(thought)) = self.blocks.last_mut().map(|block| &mut block.content) {
                    thought.signature = Some(signature.clone());
                }
            }
            Event::Citation(own) => {
                if let Some(block) = self.blocks.last_mut() {
                    block.citations.push(own.clone());
                }
            }
            Event::Close | Event::End | Event::Dropped(_) => {}
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { reason, stop_sequence } => {
                self.finish = Some(*reason);
                self.stop_sequence.clone_from(stop_sequence);
            }
            Event::Error(failure) => self.failure = Some(failure.clone()),
        }
    }
}

/// One event of a stream with a name, as Anthropic and Responses write them.
pub fn named(name: &str, data: &Json, out: &mut String) {
    out.push_str("event: ");
    out.push_str(name);
    out.push('\n');
    unnamed(data, out);
}

pub fn unnamed(data: &Json, out: &mut String) {
    out.push_str("data: ");
    out.push_str(&data.to_string());
    out.push_str("\n\n");
}
