//! The few members that matter of a request's JSON, read in one pass that allocates nothing for the rest.
//! Members of unexpected types count as missing: an odd field must not hide the others.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// A request as far as it is of interest.
#[derive(Debug, Default)]
pub struct Document {
    pub model: Option<String>,
    /// The version of a model, which is how Replicate's requests name one.
    pub version: Option<String>,
    pub stream: bool,
    pub max_tokens: Option<u64>,
    /// Objects that have members of interest: `generationConfig`, `inferenceConfig`.
    pub inner: Vec<Document>,
}

/// Wherever a document may be, or something else.
#[derive(Debug)]
pub enum Found {
    Document(Box<Document>),
    Text(String),
    Else,
}

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
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Else)
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
    #[serde(rename = "model", alias = "model_id", alias = "modelId")]
    Model,
    #[serde(rename = "version")]
    Version,
    #[serde(rename = "stream")]
    Stream,
    #[serde(rename = "generationConfig", alias = "inferenceConfig")]
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
            Name::MaxTokens => self.max_tokens = map.next_value::<Value>()?.as_u64(),
            Name::Stream => self.stream = map.next_value::<Value>()? == Value::Bool(true),
            Name::Inner => {
                if let Found::Document(document) = map.next_value::<Found>()? {
                    self.inner.push(*document);
                }
            }
            Name::Other => {
                map.next_value::<IgnoredAny>()?;
            }
        }
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
