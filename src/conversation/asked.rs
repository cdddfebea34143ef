//! What was sent, out of a request in any of the formats.

use super::{arguments, call, message, plain};
use crate::base::json::json;
use serde_json::{Map, Value};

/// The messages of a request and the functions that it offers.
pub fn read(request: &Value) -> (Vec<Value>, Vec<Value>) {
    let mut asked = RequestReader::default();
    asked.take(request);
    // Replicate's, which has a model's own names.
    if let Some(input) = request.get("input").filter(|input| input.is_object()) {
        asked.take(input);
    }
    (asked.messages, tools(request))
}

#[derive(Default)]
struct RequestReader {
    messages: Vec<Value>,
    /// Ids and names of the calls so far. Gemini gives its calls no ids: the results follow in the same order.
    calls: Vec<(String, String)>,
    /// How many results were taken that name no call.
    results: Vec<String>,
}

// === impl Asked ===

impl RequestReader {
    fn take(&mut self, request: &Value) {
        for system in ["system", "system_prompt", "instructions", "system_instruction", "systemInstruction", "preamble"]
        {
            let text = request.get(system).map(|system| plain(system, "\n")).unwrap_or_default();
            if !text.is_empty() {
                self.messages.push(message("system", text));
            }
        }
        let lists = ["messages", "input", "inputs", "contents", "chat_history"];
        let list = lists.iter().find_map(|name| request.get(name)?.as_array());
        for entry in list.into_iter().flatten() {
            self.turn(entry);
        }
        // Gemini takes a single turn without a list.
        if let Some(content) = request.get("contents").filter(|contents| contents.is_object()) {
            self.turn(content);
        }
        for name in ["input", "prompt", "inputs", "message", "text", "inputText", "transcript"] {
            if let Some(text) = request.get(name).and_then(Value::as_str) {
                self.messages.push(message("user", text));
                break;
            }
        }
        let prompts = request.get("prompt").and_then(Value::as_array);
        self.messages.extend(prompts.into_iter().flatten().filter_map(Value::as_str).map(|text| message("user", text)));
    }

    /// One turn of a request, which may become several messages. OpenAI's own are kept as they are, with their tool calls
    /// and images.
    fn turn(&mut self, entry: &Value) {
        if let Some(text) = entry.as_str() {
            return self.messages.push(message("user", text));
        }
        let Some(object) = entry.as_object() else { return };
        if object.get("type").and_then(Value::as_str).is_some_and(|kind| self.item(kind, entry)) {
            return;
        }
        let role = match object.get("role").and_then(Value::as_str).unwrap_or("user").to_ascii_lowercase().as_str() {
            "model" | "assistant" | "chatbot" => "assistant",
            "system" | "developer" => "system",
            "tool" => "tool",
            "function" if object.contains_key("content") => "tool",
            _ => "user",
        };
        let content = ["content", "parts", "message", "text"].iter().find_map(|name| object.get(*name));
        let mut calls = Vec::new();
        for part in content.and_then(Value::as_array).into_iter().flatten() {
            self.part(part, &mut calls);
        }
        let mut kept = Map::new();
        kept.insert("role".to_owned(), json!(role));
        kept.insert("content".to_owned(), content.map_or(Value::Null, |content| shared(content, role)));
        for name in ["tool_calls", "tool_call_id", "name"] {
            if let Some(value) = object.get(name) {
                kept.insert(name.to_owned(), value.clone());
            }
        }
        let parts = content.and_then(Value::as_array).is_some_and(|parts| !parts.is_empty());
        let silent = kept.get("content").is_none_or(|text| text.is_null() || (parts && text == ""));
        if !calls.is_empty() {
            if silent {
                kept.insert("content".to_owned(), Value::Null);
            }
            kept.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        if !(silent && kept.len() == 2) {
            self.messages.push(Value::Object(kept));
        }
    }

    /// An entry that is a call or its result and no message. Of others the model's thoughts are left out.
    fn item(&mut self, kind: &str, item: &Value) -> bool {
        let text = |names: &[&str]| names.iter().find_map(|name| item.get(*name)?.as_str()).unwrap_or("");
        match kind {
            "function_call" | "function.call" => {
                let made = self.call(text(&["call_id", "tool_call_id", "id"]), text(&["name"]), item.get("arguments"));
                // Calls that were made together are in one message.
                match self.messages.last_mut().and_then(|last| last.get_mut("tool_calls")?.as_array_mut()) {
                    Some(together) => together.push(made),
                    None => {
                        let mut calling = message("assistant", Value::Null);
                        if let Some(calling) = calling.as_object_mut() {
                            calling.insert("tool_calls".to_owned(), Value::Array(vec![made]));
                        }
                        self.messages.push(calling);
                    }
                }
            }
            "function_call_output" | "function.result" | "function_result" => {
                let result = ["output", "result"].iter().find_map(|name| item.get(*name)).unwrap_or(&Value::Null);
                self.result(text(&["call_id", "tool_call_id"]), text(&["name"]), result);
            }
            "reasoning" | "thought" | "item_reference" => {}
            _ => return false,
        }
        true
    }

    /// A part of a turn that is a call or a result.
    fn part(&mut self, part: &Value, calls: &mut Vec<Value>) {
        let text = |object: &Value, name: &str| object.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let kind = text(part, "type");
        if kind == "tool_use" {
            calls.push(self.call(&text(part, "id"), &text(part, "name"), part.get("input")));
        } else if kind == "tool_result" {
            self.result(&text(part, "tool_use_id"), "", part.get("content").unwrap_or(&Value::Null));
        } else if let Some(used) = part.get("toolUse") {
            calls.push(self.call(&text(used, "toolUseId"), &text(used, "name"), used.get("input")));
        } else if let Some(result) = part.get("toolResult") {
            self.result(&text(result, "toolUseId"), "", result.get("content").unwrap_or(&Value::Null));
        } else if let Some(called) = part.get("functionCall") {
            calls.push(self.call(&text(called, "id"), &text(called, "name"), called.get("args")));
        } else if let Some(answered) = part.get("functionResponse") {
            let result = answered.get("response").unwrap_or(&Value::Null);
            self.result(&text(answered, "id"), &text(answered, "name"), result);
        }
    }

    fn call(&mut self, id: &str, name: &str, given: Option<&Value>) -> Value {
        let id = if id.is_empty() { format!("call_{}", self.calls.len()) } else { id.to_owned() };
        self.calls.push((id.clone(), name.to_owned()));
        call(&id, name, &arguments(given.unwrap_or(&Value::Null)))
    }

    fn result(&mut self, id: &str, name: &str, result: &Value) {
        let open = |(id, named): &&(String, String)| named == name && !self.results.contains(id);
        let id = match id {
            "" => self.calls.iter().find(open).map(|(id, _)| id.clone()).unwrap_or_default(),
            id => id.to_owned(),
        };
        self.results.push(id.clone());
        let text = plain(result, "\n");
        let text = if text.is_empty() && !result.is_null() && result != "" { result.to_string() } else { text };
        self.messages.push(json!({ "role": "tool", "tool_call_id": id, "content": text }));
    }
}

/// Content as OpenAI takes it: text, or parts where there is more than text.
fn shared(content: &Value, role: &str) -> Value {
    match content {
        Value::Array(parts) if parts.iter().any(|part| part.get("type").is_some_and(|kind| kind == "image_url")) => {
            content.clone()
        }
        Value::Null => Value::Null,
        // What a model said in several blocks was one text.
        Value::Array(parts) => {
            let text = |part: &&Value| {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or("");
                !matches!(kind, "tool_use" | "tool_result" | "server_tool_use" | "web_search_tool_result")
            };
            let parts: Vec<Value> = parts.iter().filter(text).cloned().collect();
            json!(plain(&Value::Array(parts), if role == "assistant" { "" } else { "\n" }))
        }
        other => json!(plain(other, "\n")),
    }
}

/// The functions a request offers. Tools that a provider runs itself mean nothing elsewhere.
fn tools(request: &Value) -> Vec<Value> {
    let list = |place: &str| request.pointer(place).and_then(Value::as_array).into_iter().flatten();
    let mut found = Vec::new();
    for tool in list("/tools").chain(list("/functions")) {
        let declared = ["functionDeclarations", "function_declarations"].iter().find_map(|name| tool.get(*name));
        match declared.and_then(Value::as_array) {
            Some(functions) => found.extend(functions.iter().filter_map(function)),
            None if tool.get("function").is_some() => found.push(tool.clone()),
            None => found.extend(function(tool)),
        }
    }
    found.extend(list("/toolConfig/tools").filter_map(|tool| function(tool.get("toolSpec")?)));
    found
}

fn function(tool: &Value) -> Option<Value> {
    let name = tool.get("name")?.as_str()?;
    let places = ["/parameters", "/input_schema", "/inputSchema/json", "/parametersJsonSchema"];
    let parameters = places.iter().find_map(|place| tool.pointer(place))?;
    let mut function = json!({ "name": name, "parameters": parameters });
    if let (Some(description), Some(function)) = (tool.get("description"), function.as_object_mut()) {
        function.insert("description".to_owned(), description.clone());
    }
    Some(json!({ "type": "function", "function": function }))
}
