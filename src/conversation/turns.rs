//! A conversation as people look at it: turns of parts, with what the other readers of this room leave out, such as a model's
//! thoughts and images. What has no known shape stays as it is, so that nothing is missing.

use super::Conversation;
use super::format::format_of;
use super::part::{Part, joined, parts_of};
use super::thoughts::thoughts;
use crate::base::json::json;
use crate::base::object;
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub role: &'static str,
    pub parts: Vec<Part>,
    /// True for what was answered; the others were sent.
    pub answered: bool,
}

/// A request and its answer, to be looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub format: &'static str,
    pub turns: Vec<Turn>,
    /// `{name, description, parameters}` of each function that was offered.
    pub tools: Vec<Value>,
    /// What else the request says.
    pub params: Map<String, Value>,
    pub warnings: Vec<String>,
}

/// What holds the turns of a request, by format.
const LISTS: &[&str] = &["messages", "input", "contents", "chat_history", "inputs"];
const SYSTEM: &[&str] =
    &["system", "system_prompt", "instructions", "system_instruction", "systemInstruction", "preamble"];
const ALONE: &[&str] = &["input", "prompt", "inputs", "message", "text", "inputText", "transcript"];

/// A request has no more elements that are shown one by one, where they are no turns.
const MAX_ITEMS: usize = 10_000;

pub fn read(request: Option<&str>, response: Option<&str>) -> View {
    let mut view = View::default();
    match request.map(serde_json::from_str::<Value>) {
        None => {}
        Some(Ok(request)) => view.asked(&request),
        Some(Err(_)) => {
            view.warnings.push("The request is no JSON".to_owned());
            let parts = vec![Part::text(request.unwrap_or_default())];
            view.turns.push(Turn { role: "user", parts, answered: false });
        }
    }
    if let Some(response) = response.filter(|text| !text.trim().is_empty()) {
        view.answered(response);
    }
    view.number_calls();
    if view.format.is_empty() {
        view.format = "unknown";
    }
    view
}

fn role_of(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "model" | "assistant" | "chatbot" => "assistant",
        "system" => "system",
        "developer" => "developer",
        "tool" | "function" => "tool",
        _ => "user",
    }
}

fn is_stream(body: &str) -> bool {
    ["data:", "event:", "id:", "retry:", ":"]
        .iter()
        .any(|start| body.trim_start_matches('\u{feff}').trim_start().starts_with(start))
}

// === impl View ===

impl View {
    fn asked(&mut self, request: &Value) {
        // A universal request is a list of others; what the first one asks is what all of them do.
        if let Some(all) = request.as_array() {
            let queries: Vec<&Value> = all.iter().filter_map(|element| element.get("query")).collect();
            if let Some(first) = queries.first() {
                self.asked(first);
                self.format = "universal";
                if queries.len() > 1 {
                    self.warnings.push(format!("The request has {} steps, of which the first is shown", queries.len()));
                }
                return;
            }
        }
        let Some(object) = request.as_object() else {
            return self.turns.push(Turn {
                role: "user",
                parts: vec![Part::Unknown(request.clone())],
                answered: false,
            });
        };
        self.format = format_of(object);
        self.speakers(object);
        // Replicate's models have what is said in an object of their input.
        if let (true, Some(inner)) = (self.turns.is_empty(), object.get("input").and_then(Value::as_object)) {
            self.speakers(inner);
        }
        self.tools = super::asked::read(request).1.iter().map(tool).collect();
        let is_shown = |name: &str| LISTS.contains(&name) || SYSTEM.contains(&name) || ALONE.contains(&name);
        let is_param = |name: &&String| !is_shown(name) && !matches!(name.as_str(), "tools" | "functions");
        let params = object.iter().filter(|(name, _)| is_param(name));
        self.params = object::of(params.map(|(name, value)| (name.clone(), value.clone())));
        if self.turns.is_empty() {
            self.turns.push(Turn { role: "user", parts: vec![Part::Unknown(request.clone())], answered: false });
        }
    }

    /// What is said in an object of a request, wherever its format has it.
    fn speakers(&mut self, object: &Map<String, Value>) {
        for name in SYSTEM {
            if let Some(system) = object.get(*name).filter(|system| !system.is_null()) {
                self.push("system", parts_of(system), false);
            }
        }
        for list in LISTS.iter().filter_map(|name| object.get(*name)) {
            match list {
                Value::Array(entries) => entries.iter().take(MAX_ITEMS).for_each(|entry| self.turn(entry, false)),
                Value::Object(_) => self.turn(list, false),
                _ => {}
            }
        }
        for name in ALONE {
            match object.get(*name) {
                Some(Value::String(text)) => self.push("user", vec![Part::text(text)], false),
                Some(Value::Array(all)) if *name == "prompt" => {
                    self.push("user", all.iter().filter_map(Value::as_str).map(Part::text).collect(), false);
                }
                _ => {}
            }
        }
    }

    /// An entry of a list of turns: a message, or an item such as a call.
    fn turn(&mut self, entry: &Value, answered: bool) {
        let Some(object) = entry.as_object() else {
            let parts = parts_of(entry);
            return self.push("user", parts, answered);
        };
        let kind = object.get("type").and_then(Value::as_str).unwrap_or("");
        if !matches!(kind, "" | "message") && !object.contains_key("role") {
            let role = match kind {
                "function_call_output" | "function_result" | "function.result" => "tool",
                kind if kind.starts_with("input_") => "user",
                _ => "assistant",
            };
            return self.push(role, parts_of(entry), answered);
        }
        let default = if answered { "assistant" } else { "user" };
        let role = object.get("role").and_then(Value::as_str).map_or(default, role_of);
        let content = ["content", "parts", "message", "text"]
            .iter()
            .find_map(|name| object.get(*name))
            .filter(|content| !content.is_null());
        let mut parts = Vec::new();
        for name in ["reasoning_content", "reasoning", "thinking"] {
            if let Some(text) = object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()) {
                parts.push(Part::Thinking { text: text.to_owned(), signed: false });
                break;
            }
        }
        if role == "tool" && object.contains_key("tool_call_id")
            || object.get("role").is_some_and(|role| role == "function")
        {
            let id = ["tool_call_id", "name"].iter().find_map(|name| object.get(*name)?.as_str()).unwrap_or("");
            parts.push(Part::result(id, content.unwrap_or(&Value::Null), false));
        } else if let Some(content) = content {
            let said = parts_of(content);
            parts.extend(if role == "assistant" { joined(said) } else { said });
        }
        if let Some(refusal) = object.get("refusal").and_then(Value::as_str) {
            parts.push(Part::Refusal(refusal.to_owned()));
        }
        if let Some(audio) = object.get("audio").filter(|audio| audio.is_object()) {
            parts.extend(parts_of(&json!({ "type": "audio", "audio": audio })));
        }
        for call in object.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            parts.push(Part::called(call));
        }
        if let Some(call) = object.get("function_call").filter(|call| call.is_object()) {
            parts.push(Part::called(call));
        }
        for citation in object.get("annotations").and_then(Value::as_array).into_iter().flatten() {
            parts.extend(Part::citation(citation));
        }
        self.push(role, parts, answered);
    }

    fn push(&mut self, role: &'static str, parts: Vec<Part>, answered: bool) {
        if parts.is_empty() {
            return;
        }
        // Items of one speaker that follow each other are one turn, as in other formats.
        match self.turns.last_mut() {
            Some(last) if last.role == role && last.answered == answered && role == "assistant" => {
                last.parts.extend(parts)
            }
            _ => self.turns.push(Turn { role, parts, answered }),
        }
    }

    fn answered(&mut self, response: &str) {
        let before = self.turns.len();
        let whole = if is_stream(response) { None } else { serde_json::from_str::<Value>(response).ok() };
        match &whole {
            Some(answer) => self.answer(answer),
            None => self.streamed(response),
        }
        if self.turns.len() > before {
            return;
        }
        let parts = match whole {
            Some(answer) => vec![Part::Unknown(answer)],
            None => vec![Part::text(response)],
        };
        self.turns.push(Turn { role: "assistant", parts, answered: true });
    }

    fn answer(&mut self, answer: &Value) {
        let at = |place: &str| answer.pointer(place).filter(|found| !found.is_null());
        if let Some(result) = at("/result").filter(|_| answer.get("success").is_some()) {
            return self.answer(result);
        }
        if let Some(error) = at("/error").filter(|_| at("/choices").is_none() && at("/output").is_none()) {
            let message = error.get("message").and_then(Value::as_str).or(error.as_str());
            self.warnings.push(format!("The answer is an error: {}", message.unwrap_or("without a message")));
            return self.turns.push(Turn {
                role: "assistant",
                parts: vec![Part::Unknown(answer.clone())],
                answered: true,
            });
        }
        if let Some(choices) = at("/choices").and_then(Value::as_array) {
            return choices.iter().for_each(|choice| self.apart(choice.get("message").unwrap_or(choice)));
        }
        if let Some(candidates) = at("/candidates").and_then(Value::as_array) {
            return candidates
                .iter()
                .filter_map(|candidate| candidate.get("content"))
                .for_each(|said| self.apart(said));
        }
        // A list of Gemini's, which is a stream in one document.
        if let Some(all) = answer.as_array().filter(|all| all.iter().any(|one| one.get("candidates").is_some())) {
            let pieces: Vec<Part> =
                all.iter().filter_map(|one| one.pointer("/candidates/0/content/parts")).flat_map(parts_of).collect();
            return self.push("assistant", joined(pieces), true);
        }
        for place in ["/output", "/outputs", "/steps", "/content", "/message/content", "/output/message/content"] {
            let Some(list) = at(place).and_then(Value::as_array) else { continue };
            if list.iter().all(Value::is_string) && place == "/output" {
                // Replicate's pieces of one text.
                self.push("assistant", joined(list.iter().flat_map(parts_of).collect()), true);
            } else if place == "/output" || place == "/outputs" || place == "/steps" {
                for item in list {
                    if item.is_object() { self.turn(item, true) } else { self.push("assistant", parts_of(item), true) }
                }
            } else {
                self.push("assistant", joined(list.iter().flat_map(parts_of).collect()), true);
            }
            for call in at("/message/tool_calls").and_then(Value::as_array).into_iter().flatten() {
                self.push("assistant", vec![Part::called(call)], true);
            }
            return;
        }
        if let Some(images) = at("/data").or_else(|| at("/images")).and_then(Value::as_array) {
            return self.data(images);
        }
        self.plain(&answer.to_string());
    }

    /// One of several answers, which is a turn of its own.
    fn apart(&mut self, message: &Value) {
        let before = std::mem::take(&mut self.turns);
        self.turn(message, true);
        let made = std::mem::replace(&mut self.turns, before);
        self.turns.extend(made.into_iter().map(|turn| Turn { role: "assistant", ..turn }));
    }

    /// What is neither text nor calls: images, and numbers that no person reads.
    fn data(&mut self, list: &[Value]) {
        let mut parts = Vec::new();
        for one in list {
            if let Some(vector) = one.get("embedding") {
                let length = vector.as_array().map_or(0, Vec::len);
                parts.push(Part::text(&if length > 0 {
                    format!("[a vector of {length} numbers]")
                } else {
                    "[a vector]".to_owned()
                }));
            } else if let Some(data) = ["b64_json", "b64"].iter().find_map(|name| one.get(*name)?.as_str()) {
                parts.push(Part::media("image", "image/png", Some(data), None));
            } else if let Some(url) = one.get("url").or(Some(one)).and_then(Value::as_str) {
                parts.push(Part::media("image", "", None, Some(url)));
            } else {
                parts.push(Part::Unknown(one.clone()));
            }
            if parts.len() >= 100 {
                break;
            }
        }
        self.push("assistant", parts, true);
    }

    fn streamed(&mut self, response: &str) {
        let thoughts = thoughts(response);
        if !thoughts.is_empty() {
            self.push("assistant", vec![Part::Thinking { text: thoughts, signed: false }], true);
        }
        self.plain(response);
        let has_end = [
            "[DONE]",
            "message_stop",
            "response.completed",
            "response.incomplete",
            "response.failed",
            "finish_reason\":\"",
            "finishReason",
            "stop_reason\":\"",
            "messageStop",
            "message-end",
            "stream-end",
        ];
        if is_stream(response) && !has_end.iter().any(|end| response.contains(end)) {
            self.warnings.push("The stream ended without a finish".to_owned());
        }
    }

    /// By the reader that judges and exports use.
    fn plain(&mut self, response: &str) {
        if let Some(answer) = Conversation::read(None, Some(response)).answer {
            self.turn(&answer, true);
        }
    }

    /// Gives calls and results without ids the ones that belong together: Gemini's follow in their order.
    fn number_calls(&mut self) {
        let mut open: Vec<(String, String)> = Vec::new();
        let mut made = 0;
        for part in self.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            match part {
                Part::ToolCall { id, name, .. } => {
                    if id.is_empty() {
                        *id = format!("call_{made}");
                    }
                    made += 1;
                    open.push((id.clone(), name.clone()));
                }
                Part::ToolResult { id, name, .. } => {
                    let place =
                        open.iter().position(|(known, named)| if id.is_empty() { named == name } else { known == id });
                    if let Some(place) = place {
                        *id = open.remove(place).0;
                    }
                }
                _ => {}
            }
        }
    }
}

fn tool(tool: &Value) -> Value {
    let function = tool.get("function").unwrap_or(tool);
    let part = |name: &str| function.get(name).cloned().unwrap_or(Value::Null);
    json!({ "name": part("name"), "description": part("description"), "parameters": part("parameters") })
}

#[cfg(test)]
mod tests;
