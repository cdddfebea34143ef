//! Answers of OpenAI's chat completions, whole and streamed, as they come from a provider. <https://platform.openai.com/docs/api-reference/chat-streaming>

use crate::members;
use crate::translate::answer::{Kind, Reader, State};
use crate::translate::citations;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Event, Finish, Opened, Usage};
use crate::translate::names::id_and_signature;

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
        self.state.drop_if(data.list("choices").iter().any(|own| own.count("index").unwrap_or(0) > 0), "choices", out);
        if let Some(choice) = choice {
            if let Some(delta) = choice.get("delta").or_else(|| choice.get("message")) {
                self.delta(delta, out);
            }
            if let Some(reason) = choice.said("finish_reason") {
                if reason == "error" {
                    let told =
                        failure::read(choice).unwrap_or_else(|| failure::of_body(502, "The model's server failed."));
                    return self.state.fail(told, out);
                }
                // Every event of Perplexity's repeats them.
                for own in citations::of_beside(data) {
                    self.state.cite(own, out);
                }
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
        self.state.drop_if(!delta.list("images").is_empty(), "images", out);
        self.state.drop_if(delta.get("audio").is_some(), "audio", out);
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
        for own in delta.list("annotations") {
            match citations::of_annotation(own) {
                Some(citation) => self.state.cite(citation, out),
                None => self.state.drop("annotations", out),
            }
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
            let is_whole = self.calls.get(self.at).is_some_and(|call| match call.arguments.trim_end() {
                "" => true,
                text => text.ends_with('}') && matches!(Json::parse(text), Some(Json::Object(_))),
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
            self.state.open_call(call.opened.clone(), out);
        }
        let new = call.arguments.get(call.passed..).unwrap_or_default();
        self.state.arguments(new, out);
        call.passed = call.arguments.len();
    }

    /// Passes on all calls that came so far.
    fn flush(&mut self, out: &mut Vec<Event>) {
        while let Some(call) = self.calls.get(self.at) {
            if call.opened.name.is_empty() {
                self.state.open_call(call.opened.clone(), out);
            }
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
    let reasoning = within("completion_tokens_details", "reasoning_tokens");
    // Gemini's own chat completions leave thoughts out of the answer's tokens, and so does xAI.
    let beyond = total.saturating_sub(prompt).saturating_sub(output);
    if output == 0 || beyond == reasoning {
        output = output.saturating_add(beyond);
    }
    Usage {
        input: prompt.saturating_sub(read).saturating_sub(written),
        cache_read: read,
        cache_write_5m: written,
        output,
        reasoning: reasoning.min(output),
        ..Usage::default()
    }
}
