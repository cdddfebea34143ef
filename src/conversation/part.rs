//! A part of a turn, out of content in any of the formats.

use super::{arguments, plain};
use crate::base::json::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    Thinking { text: String, signed: bool },
    ToolCall { id: String, name: String, arguments: String },
    ToolResult { id: String, name: String, parts: Vec<Part>, error: bool },
    Media { kind: &'static str, media_type: String, data: Option<String>, url: Option<String> },
    Refusal(String),
    Citation { text: String, url: String },
    Unknown(Value),
}

/// How a part is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Longer texts are cut, in characters.
    pub text: usize,
    /// Longer data are left out, in characters of base64.
    pub data: usize,
}

/// Results of tools are parts themselves, so deep ones are left as they are.
const MAX_DEPTH: u32 = 8;

/// The parts of content: of a text, a part, or a list of them.
pub fn parts_of(content: &Value) -> Vec<Part> {
    parts_within(content, 0)
}

fn parts_within(content: &Value, depth: u32) -> Vec<Part> {
    match content {
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![Part::text(text)],
        Value::Array(all) if depth < MAX_DEPTH => all.iter().flat_map(|part| parts_within(part, depth + 1)).collect(),
        Value::Object(object) if depth < MAX_DEPTH => Part::of(object, content, depth),
        other => vec![Part::Unknown(other.clone())],
    }
}

fn text_at<'a>(value: &'a Value, places: &[&str]) -> Option<&'a str> {
    places.iter().find_map(|place| value.pointer(place)?.as_str())
}

// === impl Part ===

impl Part {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn of(object: &Map<String, Value>, value: &Value, depth: u32) -> Vec<Self> {
        let text = |places: &[&str]| text_at(value, places);
        let one = |part: Self| vec![part];
        match object.get("type").and_then(Value::as_str).unwrap_or("") {
            "text" | "input_text" | "output_text" | "summary_text" | "transcript" => {
                let mut parts: Vec<Self> = text(&["/text", "/text/value", "/transcript"])
                    .filter(|text| !text.is_empty())
                    .map(Self::text)
                    .into_iter()
                    .collect();
                for name in ["annotations", "citations"] {
                    let all = object.get(name).and_then(Value::as_array).into_iter().flatten();
                    parts.extend(all.filter_map(Self::citation));
                }
                parts
            }
            "thinking" | "redacted_thinking" | "reasoning" | "thought" | "reasoning_text" => {
                let content = ["thinking", "text", "summary", "content"]
                    .iter()
                    .find_map(|name| object.get(*name).filter(|content| !content.is_null()));
                let said = content.map(thought).unwrap_or_default();
                let signed = ["signature", "encrypted_content", "data"]
                    .iter()
                    .any(|name| object.get(*name).is_some_and(Value::is_string));
                one(Self::Thinking { text: said, signed })
            }
            "refusal" => one(Self::Refusal(text(&["/refusal", "/text"]).unwrap_or("").to_owned())),
            "image_url" | "input_image" => {
                one(Self::from_url("image", text(&["/image_url/url", "/image_url", "/url"]).unwrap_or("")))
            }
            "image_generation_call" => one(Self::media("image", "image/png", text(&["/result"]), None)),
            "image" | "document" | "media" => one(Self::sourced(value)),
            "input_audio" | "audio" | "output_audio" => {
                let media_type =
                    format!("audio/{}", text(&["/input_audio/format", "/format", "/audio/format"]).unwrap_or("wav"));
                let data = text(&["/input_audio/data", "/audio/data", "/data"]);
                let mut parts = one(Self::media("audio", &media_type, data, text(&["/audio_url/url"])));
                parts.extend(
                    text(&["/audio/transcript", "/transcript"]).filter(|text| !text.is_empty()).map(Self::text),
                );
                parts
            }
            "file" | "input_file" => match text(&["/file/file_data", "/file_data", "/file_url"]) {
                Some(url) => one(Self::from_url("document", url)),
                None => one(Self::Unknown(value.clone())),
            },
            "tool_use" | "server_tool_use" | "function_call" | "function.call" | "custom_tool_call"
            | "mcp_tool_use" => one(Self::called(value)),
            "tool_result"
            | "function_call_output"
            | "function_result"
            | "function.result"
            | "custom_tool_call_output"
            | "web_search_tool_result"
            | "code_execution_tool_result"
            | "mcp_tool_result" => {
                let id = text(&["/tool_use_id", "/call_id", "/tool_call_id"]).unwrap_or("");
                let result =
                    ["content", "output", "result"].iter().find_map(|name| object.get(*name)).unwrap_or(&Value::Null);
                let error = object.get("is_error").is_some_and(|error| error == true);
                one(Self::result_within(id, text(&["/name"]).unwrap_or(""), result, error, depth))
            }
            "message" | "message.output" | "model_output" => {
                object.get("content").map(|content| parts_within(content, depth + 1)).unwrap_or_default()
            }
            "" => Self::untyped(object, value, depth),
            _ => one(Self::Unknown(value.clone())),
        }
    }

    /// Gemini's and Bedrock's parts, which are told by their members.
    fn untyped(object: &Map<String, Value>, value: &Value, depth: u32) -> Vec<Self> {
        let text = |places: &[&str]| text_at(value, places);
        let result = |found: &Value, id: &str, name: &str, content: &Value| {
            let error = found.get("status").is_some_and(|status| status == "error");
            vec![Self::result_within(id, name, content, error, depth)]
        };
        if let Some(said) = text(&["/text"]) {
            let is_thought = object.get("thought").is_some_and(|thought| thought == true);
            return match (said.is_empty(), is_thought) {
                (true, false) => Vec::new(),
                (_, true) => {
                    vec![Self::Thinking { text: said.to_owned(), signed: object.contains_key("thoughtSignature") }]
                }
                (false, false) => vec![Self::text(said)],
            };
        }
        if let Some(thoughts) = object.get("reasoningContent") {
            let said = text_at(thoughts, &["/reasoningText/text", "/text"]).unwrap_or("");
            let signed =
                thoughts.pointer("/reasoningText/signature").is_some() || thoughts.get("redactedContent").is_some();
            return vec![Self::Thinking { text: said.to_owned(), signed }];
        }
        if let Some(call) =
            object.get("functionCall").or_else(|| object.get("function_call")).or_else(|| object.get("toolUse"))
        {
            return vec![Self::called(call)];
        }
        if let Some(found) = object.get("functionResponse").or_else(|| object.get("function_response")) {
            let content = found.get("response").unwrap_or(&Value::Null);
            return result(
                found,
                text_at(found, &["/id"]).unwrap_or(""),
                text_at(found, &["/name"]).unwrap_or(""),
                content,
            );
        }
        if let Some(found) = object.get("toolResult") {
            let content = found.get("content").unwrap_or(&Value::Null);
            return result(found, text_at(found, &["/toolUseId"]).unwrap_or(""), "", content);
        }
        if object.contains_key("role") || object.contains_key("parts") {
            let content = ["content", "parts"].iter().find_map(|name| object.get(*name)).unwrap_or(&Value::Null);
            return parts_within(content, depth + 1);
        }
        match ["inlineData", "inline_data", "fileData", "file_data", "image", "document", "audio", "video", "json"]
            .iter()
            .find(|name| object.contains_key(**name))
        {
            Some(&"json") | None => vec![Self::Unknown(object.get("json").unwrap_or(value).clone())],
            Some(_) => vec![Self::sourced(value)],
        }
    }

    /// Images and documents of Anthropic, Gemini and Bedrock.
    fn sourced(value: &Value) -> Self {
        let media_type = text_at(
            value,
            &[
                "/source/media_type",
                "/inlineData/mimeType",
                "/inline_data/mime_type",
                "/fileData/mimeType",
                "/file_data/mime_type",
                "/mime_type",
            ],
        );
        let kinds = [("image", "image"), ("document", "application"), ("audio", "audio"), ("video", "video")];
        let formatted = kinds
            .iter()
            .find_map(|(kind, major)| Some(format!("{major}/{}", text_at(value, &[&format!("/{kind}/format")])?)));
        let media_type = media_type.map(str::to_owned).or(formatted).unwrap_or_default();
        let kind = match media_type.split('/').next() {
            Some("image") => "image",
            Some("audio") => "audio",
            Some("") | None if value.get("type").is_some_and(|kind| kind == "image") => "image",
            _ => "document",
        };
        let data = text_at(
            value,
            &[
                "/source/data",
                "/inlineData/data",
                "/inline_data/data",
                "/image/source/bytes",
                "/document/source/bytes",
                "/audio/source/bytes",
                "/data",
            ],
        );
        let url = text_at(value, &["/source/url", "/fileData/fileUri", "/file_data/file_uri", "/url", "/uri"]);
        match (data, url) {
            (None, None) => Self::Unknown(value.clone()),
            (data, url) => Self::media(kind, &media_type, data, url),
        }
    }

    pub fn media(kind: &'static str, media_type: &str, data: Option<&str>, url: Option<&str>) -> Self {
        Self::Media {
            kind,
            media_type: media_type.to_owned(),
            data: data.map(str::to_owned),
            url: url.map(str::to_owned),
        }
    }

    /// A data URL is data, and any other an address, which Tollgate never follows.
    fn from_url(kind: &'static str, url: &str) -> Self {
        match url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) {
            Some((head, data)) => Self::media(kind, head.split(';').next().unwrap_or(""), Some(data), None),
            None => Self::media(kind, "", None, Some(url)),
        }
    }

    /// A call of a tool, in any format.
    pub fn called(call: &Value) -> Self {
        let id = text_at(call, &["/call_id", "/toolUseId", "/tool_call_id", "/id"]).unwrap_or("");
        let name = text_at(call, &["/function/name", "/name"]).unwrap_or("");
        let places = ["/function/arguments", "/arguments", "/input", "/args", "/parameters", "/function/parameters"];
        let given = places.iter().find_map(|place| call.pointer(place)).unwrap_or(&Value::Null);
        Self::ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments(given) }
    }

    pub fn result(id: &str, content: &Value, error: bool) -> Self {
        Self::result_within(id, "", content, error, 0)
    }

    fn result_within(id: &str, name: &str, content: &Value, error: bool, depth: u32) -> Self {
        let is_parts = |part: &Value| {
            part.is_string()
                || part.get("type").is_some()
                || ["text", "image", "document", "json"].iter().any(|name| part.get(*name).is_some())
        };
        let parts = match content {
            Value::Array(all) if all.iter().all(is_parts) => parts_within(content, depth + 1),
            Value::String(_) | Value::Null => parts_within(content, depth + 1),
            other => vec![Self::Unknown(other.clone())],
        };
        Self::ToolResult { id: id.to_owned(), name: name.to_owned(), parts, error }
    }

    /// A place that a text refers to.
    pub fn citation(citation: &Value) -> Option<Self> {
        let url = text_at(citation, &["/url_citation/url", "/url", "/source"])?;
        let text = text_at(citation, &["/url_citation/title", "/title", "/cited_text"]).unwrap_or("");
        Some(Self::Citation { text: text.to_owned(), url: url.to_owned() })
    }

    pub fn show(&self, shown: Shown) -> Value {
        let cut = |kind: &str, text: &str| {
            let mut part = json!({ "type": kind });
            let chars = text.chars().count();
            if let Some(part) = part.as_object_mut() {
                if chars > shown.text {
                    part.insert("text".to_owned(), text.chars().take(shown.text).collect::<String>().into());
                    part.insert("truncated".to_owned(), true.into());
                    part.insert("chars".to_owned(), chars.into());
                } else {
                    part.insert("text".to_owned(), text.into());
                }
            }
            part
        };
        match self {
            Self::Text(text) => cut("text", text),
            Self::Refusal(text) => cut("refusal", text),
            Self::Thinking { text, signed } => {
                let mut part = cut("thinking", text);
                if let Some(part) = part.as_object_mut() {
                    part.insert("signed".to_owned(), (*signed).into());
                }
                part
            }
            Self::ToolCall { id, name, arguments } => {
                let mut part = cut("tool_call", arguments);
                if let Some(part) = part.as_object_mut() {
                    let text = part.remove("text").unwrap_or_default();
                    part.extend([
                        ("id".to_owned(), json!(id)),
                        ("name".to_owned(), json!(name)),
                        ("arguments".to_owned(), text),
                    ]);
                }
                part
            }
            Self::ToolResult { id, parts, error, .. } => {
                let parts: Vec<Value> = parts.iter().map(|part| part.show(shown)).collect();
                json!({ "type": "tool_result", "id": id, "parts": parts, "error": error })
            }
            Self::Media { kind, media_type, data, url } => {
                let bytes = data.as_deref().map(|data| data.trim_end_matches('=').len() * 3 / 4);
                // What is no base64 would be a stranger's text in a data: URL.
                let is_base64 = |data: &&str| data.len() <= shown.data && STANDARD.decode(data).is_ok();
                let is_address = |url: &&str| {
                    url.starts_with("https://")
                        || url.starts_with("http://")
                        || url.starts_with("gs://")
                        || url.starts_with("s3://")
                };
                json!({
                    "type": kind, "media_type": media_type, "bytes": bytes,
                    "data": data.as_deref().filter(is_base64), "url": url.as_deref().filter(is_address),
                })
            }
            Self::Citation { text, url } => json!({ "type": "citation", "text": text, "url": url }),
            Self::Unknown(value) => {
                let text = value.to_string();
                match text.len() > shown.text.saturating_mul(4) {
                    true => {
                        json!({ "type": "unknown", "json": text.chars().take(shown.text).collect::<String>(), "truncated": true, "chars": text.chars().count() })
                    }
                    false => json!({ "type": "unknown", "json": value }),
                }
            }
        }
    }
}

/// Texts that follow each other in what a model said are one: providers cut them for a stream, or to cite a source. The sources
/// stand behind the text.
pub fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::with_capacity(parts.len());
    let mut open: Option<usize> = None;
    for part in parts {
        match (part, open.and_then(|at| all.get_mut(at))) {
            (Part::Text(more), Some(Part::Text(text))) => text.push_str(&more),
            (part, _) => {
                match &part {
                    Part::Text(_) => open = Some(all.len()),
                    Part::Citation { .. } => {}
                    _ => open = None,
                }
                all.push(part);
            }
        }
    }
    all
}

/// A model's thoughts as text: `plain` leaves them out.
fn thought(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(all) => {
            let texts = all.iter().map(|part| part.get("text").map_or_else(|| plain(part, "\n"), thought));
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
        }
        other => plain(other, "\n"),
    }
}
