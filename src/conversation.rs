//! What was asked and what was answered, as text, out of the stored bodies of a log: for judges, for tests of answers and
//! for fine-tuning files.
//!
//! Formats: OpenAI chat completions, completions and responses, Anthropic messages, Gemini generateContent, Cohere chat,
//! Bedrock converse, Workers AI and Hugging Face; each whole or as a stream of server-sent events.

use serde_json::{Map, Value, json};

/// A conversation in the shape of OpenAI's chat messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// What was sent, system text included.
    pub messages: Vec<Value>,
    /// The answer; it has tool calls where the model made some.
    pub answer: Option<Value>,
}

// === impl Conversation ===

impl Conversation {
    pub fn read(request: Option<&str>, response: Option<&str>) -> Self {
        let request: Option<Value> = request.and_then(|text| serde_json::from_str(text).ok());
        let messages = request.as_ref().map(messages).unwrap_or_default();
        let answer = response.and_then(|text| match serde_json::from_str::<Value>(text) {
            Ok(whole) => answer(&whole),
            Err(_) => streamed(text),
        });
        Self { messages, answer }
    }

    /// The answer's text, if it has any.
    pub fn output(&self) -> Option<&str> {
        self.answer.as_ref()?.get("content")?.as_str().filter(|text| !text.is_empty())
    }

    /// What was sent, as a person would read it: the bare text of a single message, else each with its role.
    pub fn input(&self) -> String {
        let text = |message: &Value| plain(message.get("content").unwrap_or(&Value::Null));
        if let [one] = self.messages.as_slice() {
            return text(one);
        }
        let lines: Vec<String> = self
            .messages
            .iter()
            .map(|message| {
                format!("{}: {}", message.get("role").and_then(Value::as_str).unwrap_or("user"), text(message))
            })
            .collect();
        lines.join("\n")
    }

    /// One line of a file for OpenAI's fine-tuning
    /// (<https://platform.openai.com/docs/guides/supervised-fine-tuning>), where there is a question and an answer.
    pub fn example(&self) -> Option<Value> {
        let answer = self.answer.clone().filter(|answer| {
            answer.get("tool_calls").is_some_and(|calls| !calls.is_null()) || self.output().is_some()
        })?;
        let asked = self.messages.iter().any(|message| message.get("role").is_some_and(|role| role != "system"));
        asked.then(|| {
            let messages: Vec<Value> = self.messages.iter().cloned().chain([answer]).collect();
            json!({ "messages": messages })
        })
    }
}

fn message(role: &str, content: impl Into<Value>) -> Value {
    json!({ "role": role, "content": content.into() })
}

fn messages(request: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for system in ["system", "instructions", "system_instruction", "systemInstruction", "preamble"] {
        let text = request.get(system).map(plain).unwrap_or_default();
        if !text.is_empty() {
            found.push(message("system", text));
        }
    }
    // Of OpenAI's responses API, where it may be a bare text too.
    let list = ["messages", "input", "contents", "chat_history"].iter().find_map(|name| request.get(name)?.as_array());
    for entry in list.into_iter().flatten() {
        found.extend(turn(entry));
    }
    for name in ["input", "prompt", "inputs", "message", "text"] {
        if let Some(text) = request.get(name).and_then(Value::as_str) {
            found.push(message("user", text));
            break;
        }
    }
    found
}

/// One message of a request. OpenAI's own are kept as they are, with their tool calls and images.
fn turn(entry: &Value) -> Option<Value> {
    if let Some(text) = entry.as_str() {
        return Some(message("user", text));
    }
    let object = entry.as_object()?;
    let role = match object.get("role").and_then(Value::as_str).unwrap_or("user").to_ascii_lowercase().as_str() {
        "model" | "assistant" | "chatbot" => "assistant",
        "system" | "developer" => "system",
        "tool" | "function" => "tool",
        _ => "user",
    };
    let content = ["content", "parts", "message", "text"].iter().find_map(|name| object.get(*name));
    let mut kept = Map::new();
    kept.insert("role".to_owned(), json!(role));
    kept.insert("content".to_owned(), content.map_or(Value::Null, shared));
    for name in ["tool_calls", "tool_call_id", "name"] {
        if let Some(value) = object.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    let empty = kept.get("content").is_none_or(Value::is_null) && kept.len() == 2;
    (!empty).then_some(Value::Object(kept))
}

/// Content as OpenAI takes it: text, or parts where there is more than text.
fn shared(content: &Value) -> Value {
    match content {
        Value::Array(parts) if parts.iter().any(|part| part.get("type").is_some_and(|kind| kind == "image_url")) => {
            content.clone()
        }
        Value::Null => Value::Null,
        other => json!(plain(other)),
    }
}

/// The text of content in any of the formats; what is no text is left out.
fn plain(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n"),
        Value::Object(part) => {
            // Gemini marks the parts that are its thoughts.
            if part.get("thought").is_some_and(|thought| thought == true) {
                return String::new();
            }
            let inner = ["text", "parts", "content"].iter().find_map(|name| part.get(*name));
            inner.map(plain).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn answer(response: &Value) -> Option<Value> {
    let assistant = |text: String| message("assistant", text);
    if let Some(message) = response.pointer("/choices/0/message") {
        let content = message.get("content").map_or(Value::Null, |content| match content {
            Value::Null => Value::Null,
            other => json!(plain(other)),
        });
        let mut kept = json!({ "role": "assistant", "content": content });
        if let (Some(calls), Some(kept)) =
            (message.get("tool_calls").filter(|calls| calls.is_array()), kept.as_object_mut())
        {
            kept.insert("tool_calls".to_owned(), calls.clone());
        }
        return Some(kept);
    }
    if let Some(items) = response.get("output").and_then(Value::as_array) {
        let texts = items.iter().filter(|item| item.get("type").is_none_or(|kind| kind == "message"));
        return Some(assistant(texts.map(plain).collect::<Vec<_>>().join("\n")));
    }
    for place in [
        "/choices/0/text",
        "/content",
        "/candidates/0/content",
        "/message/content",
        "/output/message/content",
        "/result/response",
        "/result/choices/0/message/content",
        "/response",
        "/generated_text",
        "/0/generated_text",
        "/text",
        "/output",
    ] {
        if let Some(found) = response.pointer(place).filter(|found| !found.is_null()) {
            // Workers AI answers in JSON mode with an object.
            let text = if place.ends_with("/response") && found.is_object() { found.to_string() } else { plain(found) };
            return Some(assistant(text));
        }
    }
    None
}

/// The answer out of server-sent events: the pieces of text in their order.
fn streamed(text: &str) -> Option<Value> {
    let mut found = String::new();
    let mut any = false;
    for data in text.lines().filter_map(|line| line.strip_prefix("data:")) {
        let Ok(event) = serde_json::from_str::<Value>(data.trim()) else { continue };
        any = true;
        let kind = event.get("type").and_then(Value::as_str).unwrap_or("");
        let piece = match kind {
            "response.output_text.delta" => event.get("delta"),
            // The whole answer again, which its pieces have told already.
            _ if kind.starts_with("response.") => None,
            "content-delta" => event.pointer("/delta/message/content/text"),
            _ => [
                "/choices/0/delta/content",
                "/choices/0/text",
                "/delta/text",
                "/candidates/0/content",
                "/response",
                "/text",
            ]
            .iter()
            .find_map(|place| event.pointer(place)),
        };
        found.push_str(&piece.map(plain).unwrap_or_default());
    }
    any.then(|| message("assistant", found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_its_text() {
        for (response, wanted) in [
            (json!({ "choices": [{ "message": { "role": "assistant", "content": "hi" } }] }), "hi"),
            (json!({ "choices": [{ "text": "hi" }] }), "hi"),
            (
                json!({ "output": [{ "type": "reasoning", "content": [] }, { "type": "message", "content": [{ "type": "output_text", "text": "hi" }] }] }),
                "hi",
            ),
            (json!({ "content": [{ "type": "thinking", "thinking": "…" }, { "type": "text", "text": "hi" }] }), "hi"),
            (
                json!({ "candidates": [{ "content": { "parts": [{ "text": "…", "thought": true }, { "text": "hi" }] } }] }),
                "hi",
            ),
            (json!({ "message": { "content": [{ "type": "text", "text": "hi" }] } }), "hi"),
            (json!({ "output": { "message": { "content": [{ "text": "hi" }] } } }), "hi"),
            (json!({ "result": { "response": "hi" }, "success": true }), "hi"),
            (json!([{ "generated_text": "hi" }]), "hi"),
        ] {
            let text = response.to_string();
            assert_eq!(Conversation::read(None, Some(&text)).output(), Some(wanted), "{text}");
        }
        for stream in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"h\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"i\"}}]}\n\ndata: [DONE]\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}]}\r\n\r\n",
            "data: {\"response\":\"hi\"}\n\n",
            "data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"hi\"}}}}\n\n",
        ] {
            assert_eq!(Conversation::read(None, Some(stream)).output(), Some("hi"), "{stream}");
        }
    }

    #[test]
    fn requests_become_chat_messages() {
        let chat = json!([message("system", "be brief"), message("user", "hello")]);
        for request in [
            json!({ "messages": chat }),
            json!({ "system": "be brief", "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hello" }] }] }),
            json!({ "instructions": "be brief", "input": "hello" }),
            json!({ "systemInstruction": { "parts": [{ "text": "be brief" }] }, "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] }),
            json!({ "preamble": "be brief", "message": "hello" }),
        ] {
            let read = Conversation::read(Some(&request.to_string()), None);
            assert_eq!(json!(read.messages), chat, "{request}");
            assert_eq!(read.input(), "system: be brief\nuser: hello");
            assert_eq!(read.example(), None);
        }
        let read = Conversation::read(Some(r#"{"prompt":"hello"}"#), Some(r#"{"choices":[{"text":"hi"}]}"#));
        assert_eq!(read.example().unwrap()["messages"], json!([message("user", "hello"), message("assistant", "hi")]));
        assert_eq!(read.input(), "hello");
    }

    #[test]
    fn tool_calls_are_part_of_an_example() {
        let calls = json!([{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } }]);
        let response = json!({ "choices": [{ "message": { "content": null, "tool_calls": calls } }] });
        let read =
            Conversation::read(Some(r#"{"messages":[{"role":"user","content":"x"}]}"#), Some(&response.to_string()));
        assert_eq!(read.example().unwrap()["messages"][1]["tool_calls"], calls);
    }

    #[test]
    fn nothing_comes_from_nonsense() {
        for text in ["", "{}", "[]", "null", "data: x", "<html>", "\"text\""] {
            let read = Conversation::read(Some(text), Some(text));
            assert_eq!((read.output(), read.example()), (None, None), "{text}");
        }
    }
}
