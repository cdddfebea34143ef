//! Answers of OpenAI's chat completions, whole and streamed, as they are written for a client.

use crate::members;
use crate::translate::answer::{Answer, Writer, unnamed};
use crate::translate::citations::{Citation, length};
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Content, Event, Finish, Opened, Opening, Usage};
use crate::translate::names::with_signature;

fn write_usage(usage: &Usage) -> Json {
    let mut details = members! { "cached_tokens": usage.cache_read };
    if usage.cache_write() > 0 {
        details.set("cache_write_tokens", usage.cache_write());
    }
    members! {
        "prompt_tokens": usage.prompt(),
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt().saturating_add(usage.output),
        "prompt_tokens_details": details,
        "completion_tokens_details": members! { "reasoning_tokens": usage.reasoning },
    }
}

fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence | Finish::Pause => "stop",
        Finish::ToolUse => "tool_calls",
        Finish::Length => "length",
        Finish::Refused => "content_filter",
    }
}

/// What a thought looks like in chat completions, by which a client can give it back.
fn signed(text: &str, signature: &str) -> Json {
    members! { "type": "thinking", "thinking": text, "signature": signature }
}

fn call(opened: &Opened, arguments: &str) -> Json {
    let id = match &opened.signature {
        Some(signature) => with_signature(&opened.id, signature),
        None => opened.id.clone(),
    };
    let mut call = if opened.is_custom {
        members! { "id": id, "type": "custom", "custom": members! { "name": &opened.name, "input": arguments } }
    } else {
        members! { "id": id, "type": "function", "function": members! { "name": &opened.name, "arguments": arguments } }
    };
    if let Some(signature) = &opened.signature {
        call.set("extra_content", members! { "google": members! { "thought_signature": signature } });
    }
    call
}

/// A whole answer.
pub fn write(answer: &Answer, created: u64) -> Json {
    let (mut texts, mut refusals, mut thoughts, mut signed_thoughts, mut calls) =
        (String::new(), String::new(), String::new(), Vec::new(), Vec::new());
    let mut annotations = Vec::new();
    for block in &answer.blocks {
        match &block.content {
            Content::Text(text) => {
                let before = length(&texts);
                texts.push_str(text);
                let all = (before, before + length(text));
                annotations.extend(block.citations.iter().map(|own| own.to_chat(all)));
            }
            Content::Refusal(text) => refusals.push_str(text),
            Content::Thinking(thought) => {
                thoughts.push_str(&thought.text);
                signed_thoughts.extend(thought.signature.as_ref().map(|own| signed(&thought.text, own)));
            }
            Content::Redacted(data) => signed_thoughts.push(members! { "type": "redacted_thinking", "data": data }),
            Content::ToolUse(own) => {
                let opened = Opened {
                    id: own.id.clone(),
                    name: own.name.clone(),
                    signature: own.signature.clone(),
                    is_custom: own.is_custom,
                };
                let arguments = if own.arguments.is_empty() && !own.is_custom { "{}" } else { &own.arguments };
                calls.push(call(&opened, arguments));
            }
            _ => {}
        }
    }
    let content = if texts.is_empty() && !calls.is_empty() { Json::Null } else { Json::from(texts) };
    let mut message = members! { "role": "assistant", "content": content };
    message.set("refusal", Some(refusals).filter(|own| !own.is_empty()));
    if !thoughts.is_empty() {
        message.set("reasoning_content", thoughts);
    }
    if !signed_thoughts.is_empty() {
        message.set("thinking_blocks", signed_thoughts);
    }
    if !annotations.is_empty() {
        message.set("annotations", annotations);
    }
    if !calls.is_empty() {
        message.set("tool_calls", calls);
    }
    let choice = members! {
        "index": 0_u64,
        "message": message,
        "logprobs": Json::Null,
        "finish_reason": word(answer.finish.unwrap_or(Finish::Stop)),
    };
    members! {
        "id": &answer.id,
        "object": "chat.completion",
        "created": created,
        "model": &answer.model,
        "choices": vec![choice],
        "usage": write_usage(&answer.usage),
    }
}

/// A streamed answer.
#[derive(Debug, Default)]
pub struct ChatWriter {
    pub created: u64,
    pub with_usage: bool,
    /// Which of several answers it writes. The first ends the stream.
    index: u64,
    id: String,
    model: String,
    open: Open,
    thought: String,
    calls: u64,
    /// In a call: whether it is one of free text, and whether arguments have come.
    in_call: Option<(bool, bool)>,
    usage: Usage,
    /// Where the open text begins and ends in all of the text, in characters, and what it is cited from.
    text: (u64, u64),
    cited: Vec<Citation>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Open {
    #[default]
    Text,
    Refusal,
    Thinking,
}

// === impl ChatWriter ===

impl ChatWriter {
    pub fn new(created: u64, with_usage: bool, index: u64) -> Self {
        Self { created, with_usage, index, ..Self::default() }
    }

    fn chunk(&self, choices: Vec<Json>) -> Json {
        members! {
            "id": &self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": &self.model,
            "choices": choices,
        }
    }

    fn delta(&self, delta: Json, out: &mut String) {
        self.choice(delta, Json::Null, out);
    }

    fn choice(&self, delta: Json, finish: Json, out: &mut String) {
        unnamed(&self.chunk(vec![members! { "index": self.index, "delta": delta, "finish_reason": finish }]), out);
    }

    fn arguments(&self, text: &str, is_custom: bool, out: &mut String) {
        let inner = if is_custom {
            members! { "custom": members! { "input": text } }
        } else {
            members! { "function": members! { "arguments": text } }
        };
        let mut call = members! { "index": self.calls.saturating_sub(1) };
        for (name, value) in inner.members().into_iter().flatten() {
            call.set(name, value);
        }
        self.delta(members! { "tool_calls": vec![call] }, out);
    }
}

impl Writer for ChatWriter {
    fn event(&mut self, event: &Event, out: &mut String) {
        match event {
            Event::Start { id, model } => {
                (self.id, self.model) = (id.clone(), model.clone());
                self.delta(members! { "role": "assistant", "content": "" }, out);
            }
            Event::Open(Opening::ToolUse(opened)) => {
                self.in_call = Some((opened.is_custom, false));
                let mut call = members! { "index": self.calls };
                self.calls += 1;
                for (name, value) in self::call(opened, "").members().into_iter().flatten() {
                    call.set(name, value);
                }
                self.delta(members! { "tool_calls": vec![call] }, out);
            }
            Event::Open(Opening::Redacted(data)) => {
                let block = members! { "type": "redacted_thinking", "data": data };
                self.delta(members! { "thinking_blocks": vec![block] }, out);
                self.in_call = None;
            }
            Event::Open(opening) => {
                self.in_call = None;
                self.thought.clear();
                self.open = match opening {
                    Opening::Thinking => Open::Thinking,
                    Opening::Refusal => Open::Refusal,
                    _ => Open::Text,
                };
            }
            Event::More(text) => match self.in_call {
                Some((is_custom, _)) => {
                    self.in_call = Some((is_custom, true));
                    self.arguments(text, is_custom, out);
                }
                None => match self.open {
                    Open::Thinking => {
                        self.thought.push_str(text);
                        self.delta(members! { "reasoning_content": text }, out);
                    }
                    Open::Refusal => self.delta(members! { "refusal": text }, out),
                    Open::Text => {
                        self.text.1 += length(text);
                        self.delta(members! { "content": text }, out);
                    }
                },
            },
            Event::Signature(signature) => {
                self.delta(members! { "thinking_blocks": vec![signed(&self.thought, signature)] }, out);
            }
            // What a source is for is known when its text has ended.
            Event::Citation(own) => self.cited.push(own.clone()),
            Event::Close => {
                let cited: Vec<Json> = self.cited.drain(..).map(|own| own.to_chat(self.text)).collect();
                if !cited.is_empty() {
                    self.delta(members! { "annotations": cited }, out);
                }
                self.text.0 = self.text.1;
                if let Some((false, false)) = self.in_call.take() {
                    self.arguments("{}", false, out);
                }
            }
            Event::Dropped(_) => {}
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { reason, .. } => {
                self.choice(Json::object(), word(*reason).into(), out);
            }
            Event::Error(failure) => unnamed(&failure::chat(failure), out),
            Event::End if self.index > 0 => {}
            Event::End => {
                if self.with_usage {
                    unnamed(&self.chunk(Vec::new()).with("usage", write_usage(&self.usage)), out);
                }
                out.push_str("data: [DONE]\n\n");
            }
        }
    }
}
