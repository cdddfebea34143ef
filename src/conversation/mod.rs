//! What was asked and what was answered, as text, out of the stored bodies of a log: for judges, for tests of answers and
//! for fine-tuning files. One reader for all of them, so that none reads a format differently.
//!
//! Formats: OpenAI chat completions, completions, responses and threads, Anthropic messages, Gemini generateContent and
//! interactions, Cohere chat, Bedrock converse and its models' own, Mistral conversations, Workers AI, Hugging Face,
//! Replicate, and transcriptions; each whole or streamed.

mod answered;
mod asked;
mod format;
pub mod part;
#[cfg(test)]
mod tests;
mod thoughts;
pub mod turns;

use crate::base::json::json;
use serde_json::Value;

/// A conversation in the shape of OpenAI's chat messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// What was sent, system text included.
    pub messages: Vec<Value>,
    /// The functions that the model was offered, as OpenAI's chat takes them.
    pub tools: Vec<Value>,
    /// The answer; it has tool calls where the model made some.
    pub answer: Option<Value>,
}

// === impl Conversation ===

impl Conversation {
    pub fn read(request: Option<&str>, response: Option<&str>) -> Self {
        let request: Option<Value> = request.and_then(|text| serde_json::from_str(text).ok());
        let (messages, tools) = request.as_ref().map(asked::read).unwrap_or_default();
        let calls = messages.iter().filter_map(|message| message.get("tool_calls")?.as_array()).map(Vec::len).sum();
        let answer = response.and_then(|text| answered::read(text, calls));
        Self { messages, tools, answer }
    }

    /// The answer's text, if it has any. Where the model refused to answer, that is what it said instead.
    pub fn output(&self) -> Option<&str> {
        self.answer.as_ref()?.get("content")?.as_str().filter(|text| !text.is_empty())
    }

    /// What was sent, as a person would read it: the bare text of a single message, else each with its role.
    pub fn input(&self) -> String {
        if let [one] = self.messages.as_slice() {
            return shown(one);
        }
        let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or("user").to_owned();
        let lines: Vec<String> =
            self.messages.iter().map(|message| format!("{}: {}", role(message), shown(message))).collect();
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
            if self.tools.is_empty() {
                json!({ "messages": messages })
            } else {
                json!({ "messages": messages, "tools": self.tools })
            }
        })
    }
}

fn message(role: &str, content: impl Into<Value>) -> Value {
    json!({ "role": role, "content": content.into() })
}

/// A tool call as OpenAI's chat has it.
fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

/// Arguments as OpenAI's chat has them, which is a text of JSON. Others have the object itself.
fn arguments(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Null | Value::String(_) => "{}".to_owned(),
        object => object.to_string(),
    }
}

fn shown(message: &Value) -> String {
    let text = plain(message.get("content").unwrap_or(&Value::Null), "\n");
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let called = calls.filter_map(|call| {
        let function = call.get("function")?;
        let part = |name: &str| function.get(name).and_then(Value::as_str).unwrap_or("");
        Some(format!("[calls {}({})]", part("name"), part("arguments")))
    });
    [text].into_iter().filter(|text| !text.is_empty()).chain(called).collect::<Vec<_>>().join("\n")
}

/// The text of content in any of the formats; what is no text is left out, and so are a model's thoughts.
fn plain(content: &Value, between: &str) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| plain(part, between)).filter(|text| !text.is_empty());
            texts.collect::<Vec<_>>().join(between)
        }
        Value::Object(part) => {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or("");
            if part.get("thought").is_some_and(|thought| thought == true) || matches!(kind, "thinking" | "reasoning") {
                return String::new();
            }
            // The text of OpenAI's threads is in an object with its annotations.
            let inner =
                ["text", "parts", "content", "refusal", "value", "transcript"].iter().find_map(|name| part.get(*name));
            inner.map(|inner| plain(inner, between)).unwrap_or_default()
        }
        _ => String::new(),
    }
}
