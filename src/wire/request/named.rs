//! The few members of a JSON request that matter, with every value they have: a key that is there twice is read by some as
//! the first and by others as the last.

use crate::wire::picture::{self, Quality};
use crate::wire::request::asked::{Pieces, Said};
use crate::wire::request::turns::{self, Head, Reading};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

#[derive(Debug, Default)]
pub struct Named {
    /// Names of models, with how telling the place is: 0 is the most.
    pub models: Vec<(u8, String)>,
    /// Models that tools of the request run.
    pub tools: Vec<String>,
    /// True when a model is something else than a text.
    pub is_odd: bool,
    pub stream: bool,
    pub max_tokens: Option<u64>,
    pub asked: Pieces,
    pub said: Said,
    /// Whether histories are passed over: see [`LONG`].
    skims: bool,
}

/// The last turn of a history in a body of so many bytes is looked for in what the log keeps of it, where its turns have to be found
/// anyway. Reading every text on the way there would cost more than all else that is done with it.
pub const LONG: usize = 8_000;

/// More are not kept; it is enough to know that there were more than a request may have.
const MAX_MODELS: usize = 64;

/// Reads the first document of a text; the second value is what follows it. `None` if it is no JSON object.
pub fn read(text: &[u8]) -> Option<(Named, &[u8])> {
    let mut document = serde_json::Deserializer::from_slice(text);
    let skims = text.len() >= LONG;
    let named = Named { skims, ..Named::default() }.deserialize(&mut document).ok()?;
    let rest = text.get(document.into_iter::<IgnoredAny>().byte_offset()..)?;
    Some((named, rest))
}

/// What a member is.
enum Member {
    Model,
    /// Named so by few.
    ModelId,
    /// Replicate's.
    Version,
    /// Models to choose from.
    Models,
    /// Written in other letters, which Go's JSON does not mind.
    Folded,
    Stream,
    MaxTokens,
    /// What may hold a bound for the answer.
    Config,
    /// The size of images, their quality, and how many there are to be.
    Size,
    Quality,
    Number,
    /// A text that is to be spoken.
    Speech,
    Messages,
    /// The turns of other formats, or one text.
    Contents,
    /// What a client tells its provider of the user.
    Metadata,
    PreviousResponse,
    CacheKey,
    /// What holds a request in some APIs.
    Request,
    Tools,
    Other,
}

/// All texts of a value.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    is_text: bool,
    is_null: bool,
}

// === impl Named ===

impl Named {
    fn take<'de, A: MapAccess<'de>>(&mut self, key: Member, map: &mut A) -> Result<(), A::Error> {
        match key {
            Member::Model => self.models_of(0, map.next_value()?),
            Member::ModelId => self.models_of(1, map.next_value()?),
            Member::Folded => self.models_of(2, map.next_value()?),
            Member::Version => {
                let version: Texts = map.next_value()?;
                let version = version.all.into_iter().filter(|_| version.is_text);
                self.models.extend(version.map(|version| (3, version)));
            }
            Member::Models => {
                let models: Texts = map.next_value()?;
                self.models.extend(models.all.into_iter().map(|model| (4, model)));
            }
            Member::Stream => self.stream = map.next_value::<Value>()? == Value::Bool(true),
            Member::MaxTokens => self.max_tokens = map.next_value::<Value>()?.as_u64().or(self.max_tokens),
            Member::Size => {
                let size: Value = map.next_value()?;
                self.asked.picture.size = picture::size(&size).or(self.asked.picture.size);
            }
            Member::Quality => {
                let quality: Value = map.next_value()?;
                self.asked.picture.quality = quality.as_str().and_then(Quality::parse).or(self.asked.picture.quality);
            }
            Member::Number => self.asked.images = map.next_value::<Value>()?.as_u64().or(self.asked.images),
            Member::Speech => {
                let head = map.next_value_seed(self.reading())?;
                self.asked.characters = head.characters.or(self.asked.characters);
                self.says(head);
            }
            Member::Messages => {
                self.says(map.next_value_seed(self.reading())?);
                self.asked.has_messages = true;
            }
            Member::Contents => self.says(map.next_value_seed(self.reading())?),
            Member::Metadata => {
                self.said.user_id = map.next_value::<turns::Named>()?.user_id.or(self.said.user_id.take())
            }
            Member::PreviousResponse => self.said.previous_response_id = map.next_value::<Head>()?.text,
            Member::CacheKey => self.said.prompt_cache_key = map.next_value::<Head>()?.text,
            Member::Config => {
                let Inner(inner) = map.next_value()?;
                self.max_tokens = self.max_tokens.or(inner.and_then(|inner| inner.max_tokens));
            }
            Member::Request => {
                let Inner(inner) = map.next_value()?;
                let Named { models, tools, max_tokens, .. } = inner.unwrap_or_default();
                self.tools.extend(tools);
                self.models.extend(models.into_iter().map(|(rank, model)| (rank + 5, model)));
                self.max_tokens = self.max_tokens.or(max_tokens);
            }
            Member::Tools => {
                let Inner(inner) = map.next_value()?;
                // Only `model` itself: a tool's `version` is none of a model.
                let Named { models, tools, .. } = inner.unwrap_or_default();
                let models = models.into_iter().filter(|(rank, _)| *rank == 0).map(|(_, model)| model);
                self.tools.extend(models.chain(tools));
            }
            Member::Other => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        self.models.truncate(MAX_MODELS);
        self.tools.truncate(MAX_MODELS);
        Ok(())
    }

    fn reading(&self) -> Reading {
        if self.skims { Reading::Texts } else { Reading::Whole }
    }

    fn says(&mut self, head: Head) {
        self.said.last_user = head.last_user.or(head.text).or(self.said.last_user.take());
    }

    fn models_of(&mut self, rank: u8, texts: Texts) {
        self.is_odd |= !texts.is_text && !texts.is_null;
        self.models.extend(texts.all.into_iter().map(|model| (rank, model)));
    }
}

impl<'de> DeserializeSeed<'de> for Named {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key::<Member>()? {
            self.take(key, &mut map)?;
        }
        Ok(self)
    }
}

/// An object, the objects of a list taken together, or nothing.
struct Inner(Option<Named>);

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Inner;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inner, A::Error> {
                // What it says for its user is not asked.
                let mut named = Named { skims: true, ..Named::default() };
                while let Some(key) = map.next_key::<Member>()? {
                    // One step down is enough, and a limit for what is hostile; but requests within requests have tools.
                    match key {
                        Member::Config | Member::Request => {
                            map.next_value::<IgnoredAny>()?;
                        }
                        key => named.take(key, &mut map)?,
                    }
                }
                Ok(Inner(Some(named)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inner, A::Error> {
                let mut all = Named::default();
                while let Some(Inner(inner)) = list.next_element()? {
                    let Named { models, tools, .. } = inner.unwrap_or_default();
                    all.models.extend(models);
                    all.models.truncate(MAX_MODELS);
                    all.tools.extend(tools);
                    all.tools.truncate(MAX_MODELS);
                }
                Ok(Inner(Some(all)))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Inner, E> {
                Ok(Inner(None))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Inner, E> {
                Ok(Inner(None))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Inner, E> {
                Ok(Inner(None))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Inner, E> {
                Ok(Inner(None))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Inner, E> {
                Ok(Inner(None))
            }

            fn visit_unit<E: Error>(self) -> Result<Inner, E> {
                Ok(Inner(None))
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

// === impl Key ===

impl Member {
    fn of(name: &str) -> Self {
        match name {
            "model" => Self::Model,
            "model_id" | "modelId" | "model_name" => Self::ModelId,
            "version" => Self::Version,
            "models" => Self::Models,
            "stream" => Self::Stream,
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" | "maxOutputTokens" | "maxTokens" => {
                Self::MaxTokens
            }
            "size" | "image_size" => Self::Size,
            "quality" => Self::Quality,
            "n" | "num_images" | "numberOfImages" | "sampleCount" => Self::Number,
            "input" | "text" | "transcript" => Self::Speech,
            "messages" => Self::Messages,
            "contents" | "prompt" | "message" | "inputText" | "inputs" => Self::Contents,
            "metadata" => Self::Metadata,
            "previous_response_id" => Self::PreviousResponse,
            "prompt_cache_key" => Self::CacheKey,
            "generationConfig" | "generation_config" | "inferenceConfig" => Self::Config,
            "session" | "request" | "requests" | "image_request" | "generateContentRequest" => Self::Request,
            name if name.len() < 16
                && ["model", "model_id", "modelid"].iter().any(|known| name.trim().eq_ignore_ascii_case(known)) =>
            {
                Self::Folded
            }
            "tools" => Self::Tools,
            _ => Self::Other,
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Member;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Member, E> {
                Ok(Member::of(name))
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

// === impl Texts ===

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Texts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = Texts::default();
                while map.next_key::<IgnoredAny>()?.is_some() {
                    texts.add(map.next_value()?);
                }
                Ok(texts)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Texts::default();
                while let Some(inner) = list.next_element()? {
                    texts.add(inner);
                }
                Ok(texts)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts { all: vec![text.to_owned()], is_text: true, is_null: false })
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Texts, E> {
                Ok(Texts::default())
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Texts, E> {
                Ok(Texts::default())
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Texts, E> {
                Ok(Texts::default())
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Texts, E> {
                Ok(Texts::default())
            }

            fn visit_unit<E: Error>(self) -> Result<Texts, E> {
                Ok(Texts { is_null: true, ..Texts::default() })
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

impl Texts {
    fn add(&mut self, inner: Texts) {
        if self.all.len() < MAX_MODELS {
            self.all.extend(inner.all);
        }
    }
}
