//! Answers of chat completions, whole and streamed. <https://platform.openai.com/docs/api-reference/chat-streaming>

use crate::members;
use crate::translate::answer::{Answer, Kind, Reader, State, Writer, unnamed};
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Content, Event, Finish, Opened, Opening, Usage};
use crate::translate::names::{id_and_signature, with_signature};

#[derive(Debug, Default)]
pub struct ChatReader {
    state: State,
    calls: Vec<Call>,
    /// The call that is open, or would be next.
    at: usize,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    opened: Opened,
    is_open: bool,
    /// All that came of its arguments, and how much of it was passed on.
    arguments: String,
    passed: usize,
}

// === impl ChatReader ===

impl Reader for ChatReader {
    fn event(&mut self, _: &str, data: &Json, out: &mut Vec<Event>) {
        if let Some(failure) = failure::read(data) {
            return self.state.fail(failure, out);
        }
        let choice = data.list("choices").iter().find(|choice| choice.count("index").unwrap_or(0) == 0);
        if !self.state.is_started() && (choice.is_some() || data.get("id").is_some()) {
            let text = |name: &str| data.text(name).unwrap_or_default();
            self.state.start(text("id"), text("model"), out);
        }
        if let Some(choice) = choice {
            if let Some(delta) = choice.get("delta").or_else(|| choice.get("message")) {
                self.delta(delta, out);
            }
            if let Some(reason) = choice.said("finish_reason") {
                self.state.finish = Some((finish(reason), None));
            }
        }
        if let Some(usage) = data.get("usage") {
            self.state.use_up(read_usage(usage), out);
        }
    }

    fn whole(&mut self, answer: &Json, out: &mut Vec<Event>) {
        self.event("", answer, out);
        if !self.state.is_over() && self.state.finish.is_none() {
            self.state.finish = Some((Finish::Stop, None));
        }
        self.end(out);
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        if !self.state.is_over() && self.state.finish.is_some() {
            self.flush(out);
        }
        self.state.end(out);
    }
}

impl ChatReader {
    fn delta(&mut self, delta: &Json, out: &mut Vec<Event>) {
        for name in ["reasoning_content", "reasoning"] {
            if let Some(text) = delta.said(name) {
                self.say(Kind::Thinking, text, out);
                break;
            }
        }
        match delta.get("content") {
            Some(Json::String(text)) => self.say(Kind::Text, text, out),
            // Mistral's models that think answer in parts.
            Some(Json::Array(parts)) => {
                for part in parts {
                    match part.kind() {
                        "thinking" => {
                            for thought in part.list("thinking") {
                                self.say(Kind::Thinking, thought.text("text").unwrap_or_default(), out);
                            }
                        }
                        _ => self.say(Kind::Text, part.text("text").unwrap_or_default(), out),
                    }
                }
            }
            _ => {}
        }
        self.say(Kind::Refusal, delta.text("refusal").unwrap_or_default(), out);
        for call in delta.list("tool_calls") {
            self.call(call, out);
        }
        if let Some(function) = delta.get("function_call") {
            let call = members! { "index": 0_u64, "function": function };
            self.call(&call, out);
        }
    }

    fn say(&mut self, kind: Kind, text: &str, out: &mut Vec<Event>) {
        if !text.is_empty() {
            self.flush(out);
            self.state.more(kind, text, out);
        }
    }

    fn call(&mut self, delta: &Json, out: &mut Vec<Event>) {
        let is_custom = delta.kind() == "custom";
        let function = delta.get(if is_custom { "custom" } else { "function" }).unwrap_or(&Json::Null);
        let (index, id) = (delta.count("index"), delta.said("id"));
        let is_other =
            |call: &Call| id.is_some_and(|id| !call.opened.id.is_empty() && call.opened.id != id_and_signature(id).0);
        let found = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None => self.calls.len().checked_sub(1),
        };
        // A new id under an index that is taken, or under none, is another call.
        let found = found.filter(|at| self.calls.get(*at).is_some_and(|call| !is_other(call)));
        let place = found.unwrap_or(self.calls.len());
        if found.is_none() {
            self.calls.push(Call { index, ..Call::default() });
        }
        let Some(call) = self.calls.get_mut(place) else { return };
        if let (Some(id), true) = (id, call.opened.id.is_empty()) {
            let (id, signature) = id_and_signature(id);
            call.opened.id = id.to_owned();
            call.opened.signature = signature.map(str::to_owned);
        }
        if let Some(signature) = delta.at(&["extra_content", "google", "thought_signature"]).and_then(Json::as_str) {
            call.opened.signature = Some(signature.to_owned());
        }
        if call.opened.name.is_empty() {
            call.opened.name = function.text("name").unwrap_or_default().to_owned();
        }
        call.opened.is_custom |= is_custom;
        match function.get(if is_custom { "input" } else { "arguments" }) {
            Some(Json::String(text)) => call.arguments.push_str(text),
            // Some servers send the object itself.
            Some(object @ Json::Object(_)) => call.arguments.push_str(&object.to_string()),
            _ => {}
        }
        // An earlier call is over when its arguments are whole and another one begins.
        while self.at < place {
            let is_whole = self.calls.get(self.at).is_some_and(|call| {
                call.arguments.trim().is_empty() || matches!(Json::parse(&call.arguments), Some(Json::Object(_)))
            });
            if !is_whole {
                return;
            }
            self.pass(self.at, out);
            self.state.close(out);
            self.at += 1;
        }
        if self.at == place {
            self.pass(place, out);
        }
    }

    /// Passes on what came of a call since the last time. It begins when its name is known.
    fn pass(&mut self, at: usize, out: &mut Vec<Event>) {
        let Some(call) = self.calls.get_mut(at) else { return };
        if call.opened.name.is_empty() {
            return;
        }
        if !call.is_open {
            call.is_open = true;
            if call.opened.id.is_empty() {
                call.opened.id = format!("call_{at}");
            }
            self.state.open_call(call.opened.clone(), out);
        }
        let new = call.arguments.get(call.passed..).unwrap_or_default();
        self.state.arguments(new, out);
        call.passed = call.arguments.len();
    }

    /// Passes on all calls that came so far.
    fn flush(&mut self, out: &mut Vec<Event>) {
        while self.at < self.calls.len() {
            self.pass(self.at, out);
            self.state.close(out);
            self.at += 1;
        }
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolUse,
        "content_filter" => Finish::Refused,
        _ => Finish::Stop,
    }
}

pub fn read_usage(usage: &Json) -> Usage {
    let within = |group: &str, name: &str| usage.at(&[group, name]).and_then(Json::as_u64).unwrap_or(0);
    let (prompt, total) = (usage.count("prompt_tokens").unwrap_or(0), usage.count("total_tokens").unwrap_or(0));
    let read =
        within("prompt_tokens_details", "cached_tokens").max(usage.count("prompt_cache_hit_tokens").unwrap_or(0));
    let written = within("prompt_tokens_details", "cache_write_tokens");
    let mut output = usage.count("completion_tokens").unwrap_or(0);
    // Gemini's own chat completions leave thoughts out of the answer's tokens.
    if output == 0 && total > prompt {
        output = total - prompt;
    }
    Usage {
        input: prompt.saturating_sub(read).saturating_sub(written),
        cache_read: read,
        cache_write_5m: written,
        output,
        reasoning: within("completion_tokens_details", "reasoning_tokens"),
        ..Usage::default()
    }
}

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
    for block in &answer.blocks {
        match &block.content {
            Content::Text(text) => texts.push_str(text),
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
    id: String,
    model: String,
    open: Open,
    thought: String,
    calls: u64,
    /// In a call: whether it is one of free text, and whether arguments have come.
    in_call: Option<(bool, bool)>,
    usage: Usage,
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
    pub fn new(created: u64, with_usage: bool) -> Self {
        Self { created, with_usage, ..Self::default() }
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
        unnamed(&self.chunk(vec![members! { "index": 0_u64, "delta": delta, "finish_reason": Json::Null }]), out);
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
                    Open::Text => self.delta(members! { "content": text }, out),
                },
            },
            Event::Signature(signature) => {
                self.delta(members! { "thinking_blocks": vec![signed(&self.thought, signature)] }, out);
            }
            Event::Close => {
                if let Some((false, false)) = self.in_call.take() {
                    self.arguments("{}", false, out);
                }
            }
            Event::Usage(usage) => self.usage = *usage,
            Event::Finish { reason, .. } => {
                let choice = members! { "index": 0_u64, "delta": Json::object(), "finish_reason": word(*reason) };
                unnamed(&self.chunk(vec![choice]), out);
            }
            Event::Error(failure) => unnamed(&failure::chat(failure), out),
            Event::End => {
                if self.with_usage {
                    unnamed(&self.chunk(Vec::new()).with("usage", write_usage(&self.usage)), out);
                }
                out.push_str("data: [DONE]\n\n");
            }
        }
    }
}
