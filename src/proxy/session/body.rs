//! What the rows of a connection have for bodies: what was said, and no audio.

use crate::base::json::json;
use memchr::{memchr, memchr2};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// So much is kept of what comes piece by piece, for each response and in bytes.
pub const MAX_PIECES: usize = 256 * 1024;

/// Texts up to this length are no audio that would matter.
const SHORT: usize = 64;

/// What a client said before a response: the items of a conversation as JSON, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    items: Vec<String>,
    bytes: usize,
}

/// Adds a piece to a text, unless that is long enough.
pub fn add(text: &mut String, piece: &str) {
    if text.len() + piece.len() <= MAX_PIECES {
        text.push_str(piece);
    }
}

/// Adds an event as it stands in a stream of server-sent events.
pub fn gather(text: &mut String, event: &[u8]) {
    if text.len() + event.len() <= MAX_PIECES
        && let Ok(event) = std::str::from_utf8(event)
    {
        text.push_str("data: ");
        text.extend(event.split(['\n', '\r']));
        text.push_str("\n\n");
    }
}

/// The JSON of a member of a message.
pub fn member<'a>(bytes: &'a [u8], names: &[&str]) -> Option<&'a str> {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow, default)]
        item: Option<&'a RawValue>,
        #[serde(borrow, default)]
        response: Option<&'a RawValue>,
        #[serde(borrow, default, alias = "client_content", rename = "clientContent")]
        client_content: Option<&'a RawValue>,
        #[serde(borrow, default, alias = "tool_response", rename = "toolResponse")]
        tool_response: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "usageMetadata")]
        usage: Option<&'a RawValue>,
    }
    let Members { item, response, client_content, tool_response, usage } = serde_json::from_slice(bytes).ok()?;
    let all = [
        ("item", item),
        ("response", response),
        ("clientContent", client_content),
        ("toolResponse", tool_response),
        ("usageMetadata", usage),
    ];
    all.into_iter().find_map(|(name, value)| value.filter(|_| names.contains(&name))).map(RawValue::get)
}

/// JSON without the audio in it, which stands in base64 under `audio` or `data`.
pub fn without_audio(json: &str) -> String {
    let mut out = String::with_capacity(json.len().min(MAX_PIECES));
    let (mut rest, mut key) = (json, "");
    while let Some((before, text, after)) = next_text(rest) {
        out.push_str(before);
        if after.trim_start().starts_with(':') {
            key = text;
        }
        let is_media = matches!(key, "audio" | "data") && text.len() > SHORT && text.bytes().all(is_base64);
        match is_media {
            true => out.push_str(&format!("\"({} characters of audio are left out)\"", text.len())),
            false => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\')
}

/// What is before the next text of a document, the text as it is written, and what follows it.
fn next_text(json: &str) -> Option<(&str, &str, &str)> {
    let from = memchr(b'"', json.as_bytes())?;
    let inside = json.get(from + 1..)?;
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', inside.as_bytes().get(at..)?)?;
        if inside.as_bytes().get(found) == Some(&b'"') {
            return Some((json.get(..from)?, inside.get(..found)?, inside.get(found + 1..)?));
        }
        at = found + 2;
    }
}

// === impl Said ===

impl Said {
    pub fn add(&mut self, item: String) {
        if self.bytes + item.len() <= MAX_PIECES {
            self.bytes += item.len();
            self.items.push(item);
        }
    }

    /// What a user said aloud.
    pub fn heard(&mut self, transcript: &str) {
        let part = json!({ "type": "input_audio", "transcript": transcript });
        self.add(json!({ "type": "message", "role": "user", "content": [part] }).to_string());
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// As a list of JSON.
    pub fn list(&self) -> String {
        format!("[{}]", self.items.join(","))
    }

    /// As the contents of a request to Gemini: turns, results of tools, and single ones.
    pub fn contents(&self) -> Value {
        let all = self.items.iter().filter_map(|item| serde_json::from_str::<Value>(item).ok());
        let contents = all.flat_map(|mut item| {
            if let Some(turns) = item.get_mut("turns") {
                return match turns.take() {
                    Value::Array(turns) => turns,
                    turn => vec![turn],
                };
            }
            let results =
                ["functionResponses", "function_responses"].iter().find_map(|name| item.get(*name)?.as_array());
            if let Some(results) = results {
                let parts: Value = results.iter().map(|result| json!({ "functionResponse": result })).collect();
                return vec![json!({ "role": "user", "parts": parts })];
            }
            if item.get("parts").is_some() { vec![item] } else { Vec::new() }
        });
        contents.collect()
    }
}
