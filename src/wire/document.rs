//! The few members that matter of any JSON a provider sends, read in one pass that allocates nothing for the rest.
//! Members of unexpected types count as missing: an odd field must not hide the others.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// An object as far as it is of interest. The same name means the same in every format, or is told apart by its type.
#[derive(Debug, Default)]
pub struct Document {
    pub model: Option<String>,
    /// The version of a model, which is how Replicate's requests name one.
    pub version: Option<String>,
    /// `id`, `responseId`, …; the most telling one.
    pub id: Option<String>,
    /// An id of second choice: `request_id`, `run_id`.
    pub other_id: Option<String>,
    pub kind: Option<String>,
    pub finish: Option<String>,
    /// Everything that may hold token counts.
    pub counts: Vec<Value>,
    pub error: Option<Value>,
    /// `message` or `detail` as a text, which is an error's if the status says so.
    pub text: Option<String>,
    /// `stream` of a request.
    pub stream: bool,
    /// `max_tokens` of a request.
    pub max_tokens: Option<u64>,
    /// Amazon Titan counts its output per result.
    pub titan_out: Option<u64>,
    /// Objects that are documents of their own: `response`, `message`, `result`, `metadata`, a chunk of an array.
    pub inner: Vec<Document>,
}

/// Wherever a document may be, or something else: a text, a list of documents.
#[derive(Debug)]
pub enum Found {
    Document(Box<Document>),
    List(Vec<Document>),
    Text(String),
    Else,
}

/// An answer may hold many results; the facts are in the first and the last few.
const MAX_LIST: usize = 64;

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Found;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut document = Document::default();
        while let Some(name) = map.next_key::<Name>()? {
            document.take(name, &mut map)?;
        }
        Ok(Found::Document(Box::new(document)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut documents = Vec::new();
        while let Some(found) = list.next_element::<Found>()? {
            if let Found::Document(document) = found {
                if documents.len() == MAX_LIST {
                    documents.pop();
                }
                documents.push(*document);
            }
        }
        Ok(Found::List(documents))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Else)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Else)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Else)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Else)
    }

    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        Ok(Found::Else)
    }
}

/// The members of interest, by what is done with them.
#[derive(Deserialize)]
enum Name {
    #[serde(rename = "model", alias = "modelVersion", alias = "model_id", alias = "modelId")]
    Model,
    #[serde(rename = "version")]
    Version,
    #[serde(
        rename = "id",
        alias = "responseId",
        alias = "response_id",
        alias = "generation_id",
        alias = "transcription_id"
    )]
    Id,
    #[serde(rename = "request_id", alias = "requestId", alias = "run_id", alias = "x_request_id")]
    OtherId,
    #[serde(rename = "type", alias = "object", alias = "event_type")]
    Kind,
    #[serde(
        rename = "finish_reason",
        alias = "finishReason",
        alias = "stop_reason",
        alias = "stopReason",
        alias = "completionReason"
    )]
    Finish,
    #[serde(
        rename = "usage",
        alias = "usageMetadata",
        alias = "meta",
        alias = "metrics",
        alias = "x_groq",
        alias = "amazon-bedrock-invocationMetrics"
    )]
    Counts,
    #[serde(rename = "prompt_token_count")]
    LlamaIn,
    #[serde(rename = "generation_token_count", alias = "generated_tokens")]
    LlamaOut,
    #[serde(rename = "inputTextTokenCount")]
    TitanIn,
    #[serde(rename = "totalOutputTextTokenCount")]
    TitanTotal,
    #[serde(rename = "tokenCount")]
    TitanOut,
    #[serde(rename = "error", alias = "errors", alias = "err_msg")]
    Error,
    #[serde(rename = "detail")]
    Detail,
    #[serde(rename = "stream")]
    Stream,
    #[serde(
        rename = "message",
        alias = "response",
        alias = "result",
        alias = "results",
        alias = "metadata",
        alias = "delta",
        alias = "choices",
        alias = "candidates",
        alias = "details",
        alias = "messageStop",
        alias = "generationConfig",
        alias = "inferenceConfig"
    )]
    Inner,
    #[serde(
        rename = "max_tokens",
        alias = "max_completion_tokens",
        alias = "max_output_tokens",
        alias = "maxOutputTokens",
        alias = "maxTokens"
    )]
    MaxTokens,
    #[serde(other)]
    Other,
}

// === impl Document ===

impl Document {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: Name, map: &mut A) -> Result<(), A::Error> {
        match name {
            Name::Model => replace(&mut self.model, text(map)?),
            Name::Version => replace(&mut self.version, text(map)?),
            Name::Id => replace(&mut self.id, text(map)?),
            Name::OtherId => replace(&mut self.other_id, text(map)?),
            Name::Kind => replace(&mut self.kind, text(map)?),
            Name::Finish => replace(&mut self.finish, text(map)?),
            Name::Counts => self.counts.push(map.next_value()?),
            Name::LlamaIn => self.counted("prompt_tokens", map)?,
            Name::LlamaOut => self.counted("completion_tokens", map)?,
            Name::TitanIn => self.counted("inputTokens", map)?,
            Name::TitanTotal => self.counted("outputTokens", map)?,
            Name::TitanOut => self.titan_out = map.next_value::<Value>()?.as_u64(),
            Name::Error => {
                let error = map.next_value::<Value>()?;
                // Many answers say `"error": null` or `"errors": []`.
                if !error.is_null() && error != Value::Array(Vec::new()) {
                    self.error = Some(error);
                }
            }
            Name::Detail => {
                let detail = map.next_value::<Value>()?;
                self.text = Some(detail.as_str().map_or_else(|| detail.to_string(), str::to_owned));
            }
            Name::MaxTokens => self.max_tokens = map.next_value::<Value>()?.as_u64(),
            Name::Stream => self.stream = map.next_value::<Value>()? == Value::Bool(true),
            Name::Inner => match map.next_value::<Found>()? {
                Found::Document(document) => self.inner.push(*document),
                Found::List(documents) => self.inner.extend(documents),
                Found::Text(text) => self.text = Some(text),
                Found::Else => {}
            },
            Name::Other => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    /// A count that stands alone, under the name it has in the dialect that is nearest.
    fn counted<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let value = map.next_value::<Value>()?;
        self.counts.push(Value::Object(crate::object::of([(name.to_owned(), value)])));
        Ok(())
    }
}

/// Reads a text, and anything else as nothing.
fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<String>, A::Error> {
    Ok(match map.next_value::<Found>()? {
        Found::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    })
}

fn replace(into: &mut Option<String>, found: Option<String>) {
    if found.is_some() {
        *into = found;
    }
}
