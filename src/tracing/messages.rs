//! What was asked and answered, as the conventions write messages.
//! <https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-input-messages.json>

use crate::base::json::json;
use crate::conversation::part::Part;
use crate::conversation::turns::{self, Turn};
use crate::logs::record::LogRecord;
use crate::tracing::attributes::MAX_TEXT;
use serde_json::{Map, Value};

/// Longer bodies are not read as messages, in bytes: what they say takes many times their length while it is read.
const MAX_BODY: usize = 1024 * 1024;

/// The same where only the other members are of interest.
const MAX_PARAMS: usize = 64 * 1024;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// JSON arrays of messages; empty for none.
    pub input: String,
    pub output: String,
    /// A JSON array of the functions that were offered.
    pub tools: String,
    /// The messages themselves, for presets.
    pub turns: Vec<Turn>,
    /// What else the request says.
    pub params: Map<String, Value>,
    /// Whether messages were left out.
    pub is_cut: bool,
}

// === impl Content ===

impl Content {
    /// Of a log whose payload is kept: what was said, or only how the request wants to be answered.
    pub fn of(record: &LogRecord, with_messages: bool) -> Option<Self> {
        let fits = |body: &&String| body.len() <= if with_messages { MAX_BODY } else { MAX_PARAMS };
        let request = record.request_body.as_ref().filter(fits);
        let response = record.response_body.as_ref().filter(fits).filter(|_| with_messages);
        if request.is_none() && response.is_none() {
            return None;
        }
        let view = turns::read(request.map(String::as_str), response.map(String::as_str));
        let mut content = Self { params: view.params, ..Self::default() };
        if !with_messages {
            return Some(content);
        }
        if !view.tools.is_empty() {
            content.tools = Value::from(view.tools).to_string();
        }
        let finish = record.finish_reason.as_deref();
        content.input = content.messages(view.turns.iter().filter(|turn| !turn.answered), None);
        content.output = content.messages(view.turns.iter().filter(|turn| turn.answered), finish);
        content.turns = view.turns;
        Some(content)
    }

    /// As many of the last messages as there is room for.
    fn messages<'a>(&mut self, turns: impl DoubleEndedIterator<Item = &'a Turn>, finish: Option<&str>) -> String {
        let (mut all, mut length) = (Vec::new(), 2);
        for turn in turns.rev() {
            let text = message(turn, finish).to_string();
            length += text.len() + 1;
            if length > MAX_TEXT && !all.is_empty() {
                self.is_cut = true;
                break;
            }
            all.push(text);
        }
        all.reverse();
        if all.is_empty() { String::new() } else { format!("[{}]", all.join(",")) }
    }
}

fn message(turn: &Turn, finish: Option<&str>) -> Value {
    let parts: Vec<Value> = turn.parts.iter().map(part).collect();
    let mut message = json!({ "role": turn.role, "parts": parts });
    if let (Some(finish), Some(members)) = (finish, message.as_object_mut()) {
        members.insert("finish_reason".to_owned(), finish.into());
    }
    message
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) | Part::Refusal(text) => json!({ "type": "text", "content": text }),
        Part::Thinking { text, .. } => json!({ "type": "reasoning", "content": text }),
        Part::ToolCall { id, name, arguments } => {
            let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| Value::from(arguments.as_str()));
            json!({ "type": "tool_call", "id": id, "name": name, "arguments": arguments })
        }
        Part::ToolResult { id, parts, .. } => {
            json!({ "type": "tool_call_response", "id": id, "result": plain(parts) })
        }
        Part::Media { kind, media_type, url: Some(url), .. } => {
            json!({ "type": "uri", "modality": kind, "mime_type": media_type, "uri": url })
        }
        // What is in it would be longer than all else.
        Part::Media { kind, media_type, .. } => json!({ "type": "blob", "modality": kind, "mime_type": media_type }),
        Part::Citation { text, url } => json!({ "type": "citation", "content": text, "uri": url }),
        Part::Unknown(value) => json!({ "type": "unknown", "content": value }),
    }
}

/// The text of parts, and of what tools answered.
pub fn plain(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Text(text) | Part::Refusal(text) => Some(text.clone()),
        Part::ToolResult { parts, .. } => Some(plain(parts)),
        Part::Unknown(value) => Some(value.to_string()),
        _ => None,
    };
    parts.iter().filter_map(text).collect::<Vec<String>>().join("\n")
}
