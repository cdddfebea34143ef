//! Answers of OpenAI's Responses API, whole and streamed. <https://platform.openai.com/docs/api-reference/responses-streaming>

use crate::members;
use crate::translate::answer::{Answer, Kind, Reader, State, Writer, named};
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Content, Event, Failure, Finish, Opened, Usage};
use crate::translate::names::{id_and_signature, with_signature};
use crate::translate::responses_request::{REDACTED, SIGNED};

/// What a thought of OpenAI's is signed with where another format holds it.
pub const OPENAI: &str = "openai:";

#[derive(Debug, Default)]
pub struct ResponsesReader {
    state: State,
    /// The item that is open, and whether pieces of it have come.
    item: Option<(u64, bool)>,
    refused: bool,
}

// === impl ResponsesReader ===

impl Reader for ResponsesReader {
    fn event(&mut self, name: &str, data: &Json, out: &mut Vec<Event>) {
        let kind = if data.kind().is_empty() { name } else { data.kind() };
        let text = |name: &str| data.text(name).unwrap_or_default();
        let index = data.count("output_index").unwrap_or(0);
        match kind {
            "response.created" | "response.in_progress" => self.start(data, out),
            "response.output_item.added" => {
                let item = data.get("item").unwrap_or(&Json::Null);
                self.item = Some((index, false));
                if let Some(call) = opened(item) {
                    self.state.open_call(call, out);
                    self.piece(index);
                    self.item = Some((index, false));
                }
            }
            "response.output_text.delta" => {
                self.piece(index);
                self.state.more(Kind::Text, text("delta"), out);
            }
            "response.refusal.delta" => {
                self.piece(index);
                self.refused = true;
                self.state.more(Kind::Refusal, text("delta"), out);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.piece(index);
                self.state.more(Kind::Thinking, text("delta"), out);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.piece(index);
                self.state.arguments(text("delta"), out);
            }
            // Some servers send arguments only here.
            "response.function_call_arguments.done" if !self.has_pieces(index) => {
                self.piece(index);
                self.state.arguments(text("arguments"), out);
            }
            "response.output_item.done" => self.done(index, data.get("item").unwrap_or(&Json::Null), out),
            "response.completed" | "response.incomplete" | "response.done" => {
                self.start(data, out);
                self.finish(data.get("response").unwrap_or(&Json::Null), out);
            }
            "response.failed" => {
                let response = data.get("response").unwrap_or(&Json::Null);
                if let Some(usage) = response.get("usage") {
                    self.state.use_up(read_usage(usage), out);
                }
                let message = "The provider's response failed.".to_owned();
                let failure = failure::read(response).unwrap_or(Failure { status: 500, kind: None, message });
                self.state.fail(failure, out);
            }
            "error" => {
                let told = failure::read(data).unwrap_or_else(|| Failure {
                    status: 500,
                    kind: data.text("code").map(str::to_owned),
                    message: text("message").to_owned(),
                });
                self.state.fail(told, out);
            }
            _ => {}
        }
    }

    fn whole(&mut self, answer: &Json, out: &mut Vec<Event>) {
        if let (Some(failure), None) = (
            failure::read(answer),
            answer.get("output").filter(|own| own.as_array().is_some_and(|all| !all.is_empty())),
        ) {
            return self.state.fail(failure, out);
        }
        let around = members! { "response": answer };
        self.start(&around, out);
        for (n, item) in answer.list("output").iter().enumerate() {
            self.item = None;
            self.done(n as u64, item, out);
        }
        self.finish(answer, out);
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.state.end(out);
    }
}

impl ResponsesReader {
    fn start(&mut self, data: &Json, out: &mut Vec<Event>) {
        let response = data.get("response").unwrap_or(&Json::Null);
        let text = |name: &str| response.text(name).unwrap_or_default();
        self.state.start(text("id"), text("model"), out);
    }

    fn piece(&mut self, index: u64) {
        self.item = Some((index, true));
    }

    fn has_pieces(&self, index: u64) -> bool {
        self.item == Some((index, true))
    }

    /// An item is whole. What did not come in pieces comes now.
    fn done(&mut self, index: u64, item: &Json, out: &mut Vec<Event>) {
        let had_pieces = self.has_pieces(index);
        let was_opened = self.item == Some((index, false));
        match item.kind() {
            "message" if !had_pieces => {
                for part in item.list("content") {
                    match part.kind() {
                        "refusal" => {
                            self.refused = true;
                            self.state.more(Kind::Refusal, part.text("refusal").unwrap_or_default(), out);
                        }
                        _ => self.state.more(Kind::Text, part.text("text").unwrap_or_default(), out),
                    }
                    self.state.close(out);
                }
            }
            "function_call" | "custom_tool_call" if !had_pieces => {
                if let (Some(call), false) = (opened(item), was_opened) {
                    self.state.open_call(call, out);
                }
                let arguments = item.text("arguments").or_else(|| item.text("input"));
                self.state.arguments(arguments.unwrap_or_default(), out);
            }
            "reasoning" => {
                if !had_pieces {
                    for part in item.list("summary").iter().chain(item.list("content")) {
                        self.state.more(Kind::Thinking, part.text("text").unwrap_or_default(), out);
                    }
                }
                if let Some(sealed) = item.said("encrypted_content") {
                    self.state.signature(&format!("{OPENAI}{sealed}"), out);
                }
            }
            _ => {}
        }
        self.state.close(out);
        self.item = None;
    }

    fn finish(&mut self, response: &Json, out: &mut Vec<Event>) {
        if let Some(usage) = response.get("usage") {
            self.state.use_up(read_usage(usage), out);
        }
        let reason = response.at(&["incomplete_details", "reason"]).and_then(Json::as_str);
        let finish = match (response.text("status"), reason) {
            (_, Some("content_filter")) => Finish::Refused,
            (Some("incomplete"), _) => Finish::Length,
            _ if self.refused => Finish::Refused,
            _ => Finish::Stop,
        };
        self.state.finish = Some((finish, None));
        self.state.end(out);
    }
}

fn opened(item: &Json) -> Option<Opened> {
    let is_custom = item.kind() == "custom_tool_call";
    (is_custom || item.kind() == "function_call").then(|| {
        let id = item.said("call_id").or_else(|| item.said("id")).unwrap_or("call_0");
        let (id, signature) = id_and_signature(id);
        Opened {
            id: id.to_owned(),
            name: item.text("name").unwrap_or_default().to_owned(),
            signature: signature.map(str::to_owned),
            is_custom,
        }
    })
}

pub fn read_usage(usage: &Json) -> Usage {
    let within = |group: &str, name: &str| usage.at(&[group, name]).and_then(Json::as_u64).unwrap_or(0);
    let read = within("input_tokens_details", "cached_tokens");
    let written = within("input_tokens_details", "cache_write_tokens");
    Usage {
        input: usage.count("input_tokens").unwrap_or(0).saturating_sub(read).saturating_sub(written),
        cache_read: read,
        cache_write_5m: written,
        output: usage.count("output_tokens").unwrap_or(0),
        reasoning: within("output_tokens_details", "reasoning_tokens"),
        ..Usage::default()
    }
}

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
pub struct Echo(pub Vec<(String, Json)>);

/// The members of a request that its response repeats, with what they are where the request has none.
pub fn echo(request: &Json) -> Echo {
    let given = |name: &str, usual: Json| (name.to_owned(), request.get(name).cloned().unwrap_or(usual));
    Echo(vec![
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
    ])
}

/// Ids of responses begin like this; what a provider calls an answer follows.
fn response_id(id: &str) -> String {
    if id.starts_with("resp_") { id.to_owned() } else { format!("resp_{id}") }
}

fn item_id(prefix: &str, id: &str, n: usize) -> String {
    format!("{prefix}_{}_{n}", id.trim_start_matches("resp_"))
}

/// The item that a block is.
fn item(content: &Content, id: &str, n: usize, status: &str) -> Option<Json> {
    let text = |part: Json| {
        members! {
            "id": item_id("msg", id, n), "type": "message", "status": status, "role": "assistant", "content": vec![part],
        }
    };
    Some(match content {
        Content::Text(own) => text(part(own)),
        Content::Refusal(own) => text(members! { "type": "refusal", "refusal": own }),
        Content::Thinking(thought) => {
            let summary = if thought.text.is_empty() { Vec::new() } else { vec![summary(&thought.text)] };
            let mut item = members! { "id": item_id("rs", id, n), "type": "reasoning", "summary": summary };
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

fn part(text: &str) -> Json {
    members! { "type": "output_text", "text": text, "annotations": Vec::<Json>::new(), "logprobs": Vec::<Json>::new() }
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
        "store": false,
    };
    for (name, value) in &echo.0 {
        response.set(name, value.clone());
    }
    response.set("usage", if status == "in_progress" { Json::Null } else { write_usage(&answer.usage) });
    response
}

/// A whole answer.
pub fn write(answer: &Answer, echo: &Echo, created: u64) -> Json {
    let (status, details) = ended(answer.finish);
    let items = answer.blocks.iter().enumerate();
    let items = items.filter_map(|(n, block)| item(&block.content, &answer.id, n, "completed")).collect();
    response(answer, echo, created, status, details, items)
}

/// A streamed answer.
#[derive(Debug, Default)]
pub struct ResponsesWriter {
    created: u64,
    echo: Echo,
    answer: Answer,
    sequence: u64,
    has_arguments: bool,
}

// === impl ResponsesWriter ===

impl ResponsesWriter {
    pub fn new(created: u64, echo: Echo) -> Self {
        Self { created, echo, ..Self::default() }
    }

    fn send(&mut self, kind: &str, members: Json, out: &mut String) {
        let mut data = members! { "type": kind, "sequence_number": self.sequence };
        self.sequence += 1;
        for (name, value) in members.members().into_iter().flatten() {
            data.set(name, value.clone());
        }
        named(kind, &data, out);
    }

    /// The open item: its place, its id, and what is in it so far.
    fn open(&self) -> Option<(u64, String, Content)> {
        let n = self.answer.blocks.len().checked_sub(1)?;
        let content = self.answer.blocks.last()?.content.clone();
        let item = item(&content, &self.answer.id, n, "in_progress")?;
        Some((n as u64, item.text("id")?.to_owned(), content))
    }

    fn opened(&mut self, out: &mut String) {
        let Some((index, id, content)) = self.open() else { return };
        self.has_arguments = false;
        let Some(mut item) = item(&content, &self.answer.id, index as usize, "in_progress") else { return };
        match &content {
            Content::Text(_) | Content::Refusal(_) => item.set("content", Vec::<Json>::new()),
            Content::ToolUse(call) => item.set(if call.is_custom { "input" } else { "arguments" }, ""),
            _ => {}
        }
        self.send("response.output_item.added", members! { "output_index": index, "item": item }, out);
        let place = members! { "item_id": &id, "output_index": index, "content_index": 0_u64 };
        match content {
            Content::Text(_) => self.send("response.content_part.added", place.with("part", part("")), out),
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
        let Some((index, id, content)) = self.open() else { return };
        let place = members! { "item_id": &id, "output_index": index };
        match content {
            Content::Text(_) => {
                let data = place.with("content_index", 0_u64).with("delta", text).with("logprobs", Vec::<Json>::new());
                self.send("response.output_text.delta", data, out);
            }
            Content::Refusal(_) => {
                self.send("response.refusal.delta", place.with("content_index", 0_u64).with("delta", text), out);
            }
            Content::Thinking(_) => {
                let data = place.with("summary_index", 0_u64).with("delta", text);
                self.send("response.reasoning_summary_text.delta", data, out);
            }
            Content::ToolUse(call) => {
                self.has_arguments = true;
                let kind = if call.is_custom {
                    "response.custom_tool_call_input.delta"
                } else {
                    "response.function_call_arguments.delta"
                };
                self.send(kind, place.with("delta", text), out);
            }
            _ => {}
        }
    }

    fn closed(&mut self, out: &mut String) {
        let Some((index, id, content)) = self.open() else { return };
        if !self.has_arguments && matches!(&content, Content::ToolUse(call) if !call.is_custom) {
            self.answer.add(&Event::More("{}".to_owned()));
            self.delta("{}", out);
        }
        let Some((_, _, content)) = self.open() else { return };
        let place = members! { "item_id": &id, "output_index": index };
        match &content {
            Content::Text(text) => {
                let place = place.with("content_index", 0_u64);
                let done = place.clone().with("text", text).with("logprobs", Vec::<Json>::new());
                self.send("response.output_text.done", done, out);
                self.send("response.content_part.done", place.with("part", part(text)), out);
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
        if let Some(item) = item(&content, &self.answer.id, index as usize, "completed") {
            self.send("response.output_item.done", members! { "output_index": index, "item": item }, out);
        }
    }
}

impl Writer for ResponsesWriter {
    fn event(&mut self, event: &Event, out: &mut String) {
        self.answer.add(event);
        match event {
            Event::Start { .. } => {
                let begun = response(&self.answer, &self.echo, self.created, "in_progress", Json::Null, Vec::new());
                self.send("response.created", members! { "response": &begun }, out);
                self.send("response.in_progress", members! { "response": begun }, out);
            }
            Event::Open(_) => self.opened(out),
            Event::More(text) => self.delta(text, out),
            Event::Close => self.closed(out),
            Event::Signature(_) | Event::Usage(_) | Event::Finish { .. } => {}
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
