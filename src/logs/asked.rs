//! What a request asks for by its kind, which tells of what is paid for by its number: before there is an answer, and
//! where the answer does not say it.

use crate::logs::call::{Call, RequestType};
use crate::providers::model::kind::{self, Asking};
use crate::wire::Usage;
use crate::wire::details::{Count, Details};

/// No request asks for more images.
const MAX_IMAGES: u64 = 100;

/// Speech as it is usually packed has so many bytes a second; what has less is estimated too short.
const BYTES_PER_SECOND: u64 = 16_000;

impl Call {
    /// What kind of work it asks for.
    pub fn kind(&self) -> Option<&'static str> {
        kind::of(&Asking {
            provider: &self.provider,
            method: &self.method,
            rest: &self.rest,
            is_socket: self.request_type == RequestType::WebSocket,
            model: self.asked_model(),
            has_messages: self.facts.asked.has_messages,
        })
    }

    /// What it asks for that is paid for by its number, as far as its body tells before there is an answer.
    pub(super) fn asked_units(&self) -> Details {
        let asked = &self.facts.asked;
        match self.kind() {
            Some("image") => {
                let images = asked.images.unwrap_or(1).clamp(1, MAX_IMAGES);
                let mut details = Details::default().with(Count::Images, images);
                details.picture = asked.picture;
                details
            }
            Some("audio") if asked.characters.is_some() => Details::default().with(Count::Characters, asked.characters),
            Some("audio") => {
                let seconds = self.request_size.map(|size| size.div_ceil(BYTES_PER_SECOND) * Count::Seconds.unit());
                Details::default().with(Count::Seconds, seconds)
            }
            Some("rerank") => Details::default().with(Count::SearchUnits, 1),
            Some("ocr") => Details::default().with(Count::Pages, 1),
            _ => Details::default(),
        }
    }

    /// Adds to what an answer used what only its request says.
    pub fn with_asked(&self, mut usage: Usage) -> Usage {
        let asked = &self.facts.asked;
        let details = &mut usage.details;
        if details.number(Count::Images) > 0 {
            details.picture = details.picture.or(asked.picture);
        }
        if self.kind() == Some("audio") && details.get(Count::Seconds).is_none() && usage.tokens_in.is_none() {
            details.set(Count::Characters, details.get(Count::Characters).or(asked.characters));
        }
        usage
    }
}
