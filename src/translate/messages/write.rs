//! Answers of Anthropic's Messages API, whole and streamed, as they are written for a client.

use crate::members;
use crate::translate::answer::{Answer, Writer, named};
use crate::translate::citations::Citation;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Content, Event, Finish, Opening, Usage};
use crate::translate::names::{safe_id, with_signature};
use crate::translate::turns;

fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence => "stop_sequence",
        Finish::ToolUse => "tool_use",
        Finish::Length => "max_tokens",
        Finish::Refused => "refusal",
        Finish::Pause => "pause_turn",
    }
}

fn write_usage(usage: &Usage) -> Json {
    members! {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write(),
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
}

fn call_id(id: &str, signature: Option<&String>) -> String {
    // Anthropic takes an id back in these characters only, and a conversation may go on there.
    let id = safe_id(id);
    signature.map_or_else(|| id.clone(), |signature| with_signature(&id, signature))
}

/// A whole answer.
pub fn write(answer: &Answer) -> Json {
    let mut content = Vec::new();
    for block in &answer.blocks {
        content.extend(match &block.content {
            Content::Text(text) | Content::Refusal(text) => {
                let mut written = members! { "type": "text", "text": text };
                let cited: Vec<Json> = block.citations.iter().map(Citation::to_messages).collect();
                written.set_some("citations", Some(cited).filter(|all| !all.is_empty()));
                Some(written)
            }
            Content::Thinking(thought) => Some(members! {
                "type": "thinking",
                "thinking": &thought.text,
                "signature": thought.signature.as_deref().unwrap_or(""),
            }),
            Content::Redacted(data) => Some(members! { "type": "redacted_thinking", "data": data }),
            Content::ToolUse(call) => Some(members! {
                "type": "tool_use",
                "id": call_id(&call.id, call.signature.as_ref()),
                "name": &call.name,
                "input": turns::arguments(&call.arguments),
            }),
            _ => None,
        });
    }
    members! {
        "id": &answer.id,
        "type": "message",
        "role": "assistant",
        "model": &answer.model,
        "content": content,
        "stop_reason": word(answer.finish.unwrap_or(Finish::Stop)),
        "stop_sequence": answer.stop_sequence.as_deref(),
        "usage": write_usage(&answer.usage),
    }
}

/// A streamed answer.
#[derive(Debug, Default)]
pub struct MessagesWriter {
    blocks: u64,
    open: &'static str,
    usage: Usage,
}

// === impl MessagesWriter ===

impl MessagesWriter {
    fn delta(&self, delta: Json, out: &mut String) {
        let index = self.blocks.saturating_sub(1);
        named("content_block_delta", &members! { "type": "content_block_delta", "index": index, "delta": delta }, out);
    }
}

impl Writer for MessagesWriter {
    fn event(&mut self, event: &Event, out: &mut String) {
        match event {
            Event::Start { id, model } => {
                let message = members! {
                    "id": id,
                    "type": "message",
                    "role": "assistant",
                    "model": model,
                    "content": Vec::<Json>::new(),
                    "stop_reason": Json::Null,
                    "stop_sequence": Json::Null,
                    "usage": write_usage(&Usage::default()),
                };
                named("message_start", &members! { "type": "message_start", "message": message }, out);
            }
            Event::Open(opening) => {
                let block = match opening {
                    Opening::Text | Opening::Refusal => members! { "type": "text", "text": "" },
                    Opening::Thinking => members! { "type": "thinking", "thinking": "", "signature": "" },
                    Opening::Redacted(data) => members! { "type": "redacted_thinking", "data": data },
                    Opening::ToolUse(call) => members! {
                        "type": "tool_use",
                        "id": call_id(&call.id, call.signature.as_ref()),
                        "name": &call.name,
                        "input": Json::object(),
                    },
                };
                self.open = match opening {
                    Opening::Thinking => "thinking",
                    Opening::ToolUse(_) => "input",
                    _ => "text",
                };
                let data = members! { "type": "content_block_start", "index": self.blocks, "content_block": block };
                self.blocks += 1;
                named("content_block_start", &data, out);
            }
            Event::More(text) => self.delta(
                match self.open {
                    "thinking" => members! { "type": "thinking_delta", "thinking": text },
                    "input" => members! { "type": "input_json_delta", "partial_json": text },
                    _ => members! { "type": "text_delta", "text": text },
                },
                out,
            ),
            Event::Signature(signature) => {
                self.delta(members! { "type": "signature_delta", "signature": signature }, out);
            }
            Event::Citation(own) => {
                self.delta(members! { "type": "citations_delta", "citation": own.to_messages() }, out);
            }
            Event::Close => {
                let index = self.blocks.saturating_sub(1);
                named("content_block_stop", &members! { "type": "content_block_stop", "index": index }, out);
            }
            Event::Dropped(_) => {}
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { reason, stop_sequence } => {
                let delta = members! { "stop_reason": word(*reason), "stop_sequence": stop_sequence.as_deref() };
                let data = members! { "type": "message_delta", "delta": delta, "usage": write_usage(&self.usage) };
                named("message_delta", &data, out);
            }
            Event::Error(failure) => named("error", &failure::messages(failure), out),
            Event::End => named("message_stop", &members! { "type": "message_stop" }, out),
        }
    }
}
