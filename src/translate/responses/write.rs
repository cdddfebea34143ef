//! Answers of OpenAI's Responses API, whole and streamed, as they are written for a client.

use crate::members;
use crate::translate::answer::{Answer, Writer, named};
use crate::translate::citations::{Citation, length};
use crate::translate::json::Json;
use crate::translate::model::{Block, Content, Event, Finish, Usage};
use crate::translate::names::with_signature;
use crate::translate::signatures::{OPENAI, REDACTED, SIGNED};
use std::cell::RefCell;
use std::rc::Rc;

fn write_usage(usage: &Usage) -> Json {
    let details = members! { "cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write() };
    members! {
        "input_tokens": usage.prompt(),
        "input_tokens_details": details,
        "output_tokens": usage.output,
        "output_tokens_details": members! { "reasoning_tokens": usage.reasoning },
        "total_tokens": usage.prompt().saturating_add(usage.output),
    }
}

/// What a response repeats of its request: clients read it there.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    members: Vec<(String, Json)>,
    /// Where the response goes that is to be kept; nothing for one that is not.
    pub kept: Option<Written>,
}

/// A response as its client gets it, once it is whole: its id and its text.
pub type Written = Rc<RefCell<Option<(String, String)>>>;

/// The members of a request that its response repeats, with what they are where the request has none.
pub fn echo(request: &Json) -> Echo {
    let given = |name: &str, usual: Json| (name.to_owned(), request.get(name).cloned().unwrap_or(usual));
    let members = vec![
        given("instructions", Json::Null),
        given("max_output_tokens", Json::Null),
        given("metadata", Json::object()),
        given("parallel_tool_calls", Json::Bool(true)),
        given("previous_response_id", Json::Null),
        given("reasoning", members! { "effort": Json::Null, "summary": Json::Null }),
        given("temperature", Json::from(1.0)),
        given("text", members! { "format": members! { "type": "text" } }),
        given("tool_choice", Json::from("auto")),
        given("tools", Json::Array(Vec::new())),
        given("top_p", Json::from(1.0)),
        given("truncation", Json::from("disabled")),
    ];
    Echo { members, kept: None }
}

/// Ids of responses begin like this; what a provider calls an answer follows.
pub fn response_id(id: &str) -> String {
    if id.starts_with("resp_") { id.to_owned() } else { format!("resp_{id}") }
}

fn item_id(prefix: &str, id: &str, n: usize) -> String {
    format!("{prefix}_{}_{n}", id.trim_start_matches("resp_"))
}

/// The item that a block is.
fn item(block: &Block, id: &str, n: usize, status: &str) -> Option<Json> {
    let text = |part: Json| {
        members! {
            "id": item_id("msg", id, n), "type": "message", "status": status, "role": "assistant", "content": vec![part],
        }
    };
    Some(match &block.content {
        Content::Text(own) => text(part(own, &block.citations)),
        Content::Refusal(own) => text(members! { "type": "refusal", "refusal": own }),
        Content::Thinking(thought) => {
            let summary = if thought.text.is_empty() { Vec::new() } else { vec![summary(&thought.text)] };
            let mut item = members! { "id": item_id("rs", id, n), "type": "reasoning", "summary": summary };
            item.set_some("status", Some(status).filter(|own| *own == "incomplete"));
            item.set_some("encrypted_content", thought.signature.as_deref().map(sealed));
            item
        }
        Content::Redacted(data) => members! {
            "id": item_id("rs", id, n),
            "type": "reasoning",
            "summary": Vec::<Json>::new(),
            "encrypted_content": format!("{REDACTED}{data}"),
        },
        Content::ToolUse(call) => {
            let signature = call.signature.as_ref();
            let call_id = signature.map_or_else(|| call.id.clone(), |own| with_signature(&call.id, own));
            if call.is_custom {
                members! {
                    "id": item_id("ctc", id, n), "type": "custom_tool_call", "status": status, "call_id": call_id,
                    "name": &call.name, "input": &call.arguments,
                }
            } else {
                let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                members! {
                    "id": item_id("fc", id, n), "type": "function_call", "status": status, "call_id": call_id,
                    "name": &call.name, "arguments": arguments,
                }
            }
        }
        _ => return None,
    })
}

fn part(text: &str, cited: &[Citation]) -> Json {
    let all = (0, if cited.is_empty() { 0 } else { length(text) });
    let annotations: Vec<Json> = cited.iter().map(|own| own.to_responses(all)).collect();
    members! { "type": "output_text", "text": text, "annotations": annotations, "logprobs": Vec::<Json>::new() }
}

fn summary(text: &str) -> Json {
    members! { "type": "summary_text", "text": text }
}

/// A signature as the client keeps it: OpenAI's own is given back bare.
fn sealed(signature: &str) -> String {
    signature.strip_prefix(OPENAI).map_or_else(|| format!("{SIGNED}{signature}"), str::to_owned)
}

fn ended(finish: Option<Finish>) -> (&'static str, Json) {
    match finish {
        Some(Finish::Length) => ("incomplete", members! { "reason": "max_output_tokens" }),
        Some(Finish::Refused) => ("incomplete", members! { "reason": "content_filter" }),
        _ => ("completed", Json::Null),
    }
}

fn response(answer: &Answer, echo: &Echo, created: u64, status: &str, details: Json, items: Vec<Json>) -> Json {
    let mut response = members! {
        "id": response_id(&answer.id),
        "object": "response",
        "created_at": created,
        "status": status,
        "background": false,
        "error": Json::Null,
        "incomplete_details": details,
        "model": &answer.model,
        "output": items,
        "store": echo.kept.is_some(),
    };
    for (name, value) in &echo.members {
        response.set(name, value.clone());
    }
    response.set("usage", if status == "in_progress" { Json::Null } else { write_usage(&answer.usage) });
    response
}

/// A whole answer.
pub fn write(answer: &Answer, echo: &Echo, created: u64) -> Json {
    let (status, details) = ended(answer.finish);
    let last = answer.blocks.len();
    let items = answer.blocks.iter().enumerate();
    // What was cut off is the last item.
    let status_of = |n: usize| if n + 1 == last { status } else { "completed" };
    let items = items.filter_map(|(n, block)| item(block, &answer.id, n, status_of(n))).collect();
    let whole = response(answer, echo, created, status, details, items);
    if let Some(kept) = &echo.kept {
        kept.replace(Some((response_id(&answer.id), whole.to_string())));
    }
    whole
}

/// A streamed answer.
#[derive(Debug, Default)]
pub struct ResponsesWriter {
    created: u64,
    echo: Echo,
    answer: Answer,
    sequence: u64,
    /// The place and the id of the open item.
    open: Option<(u64, String)>,
    has_arguments: bool,
    /// The open item has ended. Whether it is whole is known when the next thing happens.
    is_ending: bool,
}

// === impl ResponsesWriter ===

impl ResponsesWriter {
    pub fn new(created: u64, echo: Echo) -> Self {
        Self { created, echo, ..Self::default() }
    }

    fn send(&mut self, kind: &str, members: Json, out: &mut String) {
        let mut data = members! { "type": kind, "sequence_number": self.sequence };
        self.sequence += 1;
        if let (Json::Object(all), Json::Object(more)) = (&mut data, members) {
            all.extend(more);
        }
        named(kind, &data, out);
    }

    fn last(&self) -> Option<&Content> {
        self.answer.blocks.last().map(|block| &block.content)
    }

    fn opened(&mut self, out: &mut String) {
        self.has_arguments = false;
        self.open = None;
        let last = self.answer.blocks.last().cloned();
        let (Some(block), Some(n)) = (last, self.answer.blocks.len().checked_sub(1)) else { return };
        let Some(mut item) = item(&block, &self.answer.id, n, "in_progress") else { return };
        let content = block.content;
        let (index, id) = (n as u64, item.text("id").unwrap_or_default().to_owned());
        self.open = Some((index, id.clone()));
        match &content {
            Content::Text(_) | Content::Refusal(_) => item.set("content", Vec::<Json>::new()),
            Content::ToolUse(call) => item.set(if call.is_custom { "input" } else { "arguments" }, ""),
            _ => {}
        }
        self.send("response.output_item.added", members! { "output_index": index, "item": item }, out);
        let place = members! { "item_id": &id, "output_index": index, "content_index": 0_u64 };
        match content {
            Content::Text(_) => self.send("response.content_part.added", place.with("part", part("", &[])), out),
            Content::Refusal(_) => {
                let part = members! { "type": "refusal", "refusal": "" };
                self.send("response.content_part.added", place.with("part", part), out);
            }
            Content::Thinking(_) => {
                let place = members! { "item_id": &id, "output_index": index, "summary_index": 0_u64 };
                self.send("response.reasoning_summary_part.added", place.with("part", summary("")), out);
            }
            _ => {}
        }
    }

    fn delta(&mut self, text: &str, out: &mut String) {
        let Some((index, id)) = &self.open else { return };
        let place = members! { "item_id": id, "output_index": *index };
        let (kind, data) = match self.last() {
            Some(Content::Text(_)) => (
                "response.output_text.delta",
                place.with("content_index", 0_u64).with("delta", text).with("logprobs", Vec::<Json>::new()),
            ),
            Some(Content::Refusal(_)) => {
                ("response.refusal.delta", place.with("content_index", 0_u64).with("delta", text))
            }
            Some(Content::Thinking(_)) => {
                ("response.reasoning_summary_text.delta", place.with("summary_index", 0_u64).with("delta", text))
            }
            Some(Content::ToolUse(call)) if call.is_custom => {
                ("response.custom_tool_call_input.delta", place.with("delta", text))
            }
            Some(Content::ToolUse(_)) => ("response.function_call_arguments.delta", place.with("delta", text)),
            _ => return,
        };
        self.has_arguments = true;
        self.send(kind, data, out);
    }

    fn closed(&mut self, status: &str, out: &mut String) {
        self.is_ending = false;
        if !self.has_arguments && matches!(self.last(), Some(Content::ToolUse(call)) if !call.is_custom) {
            self.answer.add(&Event::More("{}".to_owned()));
            self.delta("{}", out);
        }
        let (Some((index, id)), Some(block)) = (self.open.take(), self.answer.blocks.last().cloned()) else { return };
        let place = members! { "item_id": &id, "output_index": index };
        match &block.content {
            Content::Text(text) => {
                let place = place.with("content_index", 0_u64);
                let whole = part(text, &block.citations);
                for (n, own) in whole.list("annotations").iter().enumerate() {
                    let added = place.clone().with("annotation_index", n as u64).with("annotation", own.clone());
                    self.send("response.output_text.annotation.added", added, out);
                }
                let done = place.clone().with("text", text).with("logprobs", Vec::<Json>::new());
                self.send("response.output_text.done", done, out);
                self.send("response.content_part.done", place.with("part", whole), out);
            }
            Content::Refusal(text) => {
                let place = place.with("content_index", 0_u64);
                self.send("response.refusal.done", place.clone().with("refusal", text), out);
                let part = members! { "type": "refusal", "refusal": text };
                self.send("response.content_part.done", place.with("part", part), out);
            }
            Content::Thinking(thought) => {
                let place = place.with("summary_index", 0_u64);
                self.send("response.reasoning_summary_text.done", place.clone().with("text", &thought.text), out);
                let part = summary(&thought.text);
                self.send("response.reasoning_summary_part.done", place.with("part", part), out);
            }
            Content::ToolUse(call) if call.is_custom => {
                self.send("response.custom_tool_call_input.done", place.with("input", &call.arguments), out);
            }
            Content::ToolUse(call) => {
                let done = place.with("name", &call.name).with("arguments", &call.arguments);
                self.send("response.function_call_arguments.done", done, out);
            }
            _ => {}
        }
        if let Some(item) = item(&block, &self.answer.id, index as usize, status) {
            self.send("response.output_item.done", members! { "output_index": index, "item": item }, out);
        }
    }
}

impl Writer for ResponsesWriter {
    fn event(&mut self, event: &Event, out: &mut String) {
        match event {
            Event::Finish { reason, .. } if self.is_ending => self.closed(ended(Some(*reason)).0, out),
            Event::Open(_) | Event::Error(_) | Event::End if self.is_ending => self.closed("completed", out),
            _ => {}
        }
        self.answer.add(event);
        match event {
            Event::Start { .. } => {
                let begun = response(&self.answer, &self.echo, self.created, "in_progress", Json::Null, Vec::new());
                self.send("response.created", members! { "response": &begun }, out);
                self.send("response.in_progress", members! { "response": begun }, out);
            }
            Event::Open(_) => self.opened(out),
            Event::More(text) => self.delta(text, out),
            Event::Close => self.is_ending = true,
            Event::Signature(_) | Event::Citation(_) | Event::Usage(_) | Event::Finish { .. } | Event::Dropped(_) => {}
            // Clients want a response before it fails.
            Event::Error(failure) if self.sequence == 0 => {
                let code = failure.kind.as_deref().unwrap_or("server_error");
                let told = members! { "code": code, "message": &failure.message, "param": Json::Null };
                self.send("error", told, out);
            }
            Event::Error(failure) => {
                let error =
                    members! { "code": failure.kind.as_deref().unwrap_or("server_error"), "message": &failure.message };
                let failed = response(&self.answer, &self.echo, self.created, "failed", Json::Null, Vec::new());
                self.send("response.failed", members! { "response": failed.with("error", error) }, out);
            }
            Event::End => {
                let whole = write(&self.answer, &self.echo, self.created);
                let kind = format!("response.{}", whole.text("status").unwrap_or("completed"));
                self.send(&kind, members! { "response": whole }, out);
            }
        }
    }
}
