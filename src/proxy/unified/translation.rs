//! What a translated request leaves for its answer: which formats are meant, and what the answer is read with.

use crate::proxy::responses::Keeping;
use crate::proxy::unified::array::Elements;
use crate::proxy::unified::blocks::Blocks;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Failure, Notes, Request};
use crate::translate::responses::write::response_id;
use crate::translate::tasks::Mapped;
use crate::translate::{self, Format, Return, Translated};
use crate::wire::Framing;
use std::rc::Rc;

#[derive(Clone, Debug)]
pub struct Translation {
    from: Format,
    to: Format,
    translated: Translated,
    /// What the caller's body says beside its conversation, which an answer in the format of Responses repeats.
    asked: Json,
    /// The provider's name of the model.
    model: String,
    /// Where the answer is to be asked for later.
    keeping: Option<Keeping>,
    /// What the answer is read with that is no conversation.
    mapped: Option<Mapped>,
    /// Whether it is asked how many tokens the request has.
    pub counts: bool,
    /// Whether the caller wants a stream.
    pub stream: bool,
    /// Whether the stream is an array.
    pub is_array: bool,
}

pub const JSON: &str = "application/json";

/// An answer as the caller gets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    pub text: String,
    pub content_type: &'static str,
    pub status: Option<u16>,
    /// What was left out of it; empty where nothing was.
    pub dropped: String,
}

// === impl Translation ===

impl Translation {
    /// The conversation itself is let go: it is on its way to the provider.
    pub fn new(
        from: Format,
        to: Format,
        mut translated: Translated,
        mut asked: Json,
        model: String,
        keeping: Option<Keeping>,
    ) -> Self {
        translated.body = Json::Null;
        translated.request.system.clear();
        translated.request.turns.clear();
        match (&mut asked, from) {
            (Json::Object(members), Format::Responses) => members.retain(|(name, _)| name != "input"),
            (asked, _) => *asked = Json::Null,
        }
        let stream = translated.request.stream;
        Self { from, to, translated, asked, model, keeping, mapped: None, counts: false, stream, is_array: false }
    }

    /// What is left of a request that is no conversation.
    pub fn of_task(mapped: Mapped) -> Self {
        let nothing = Translated { body: Json::Null, request: Request::default(), notes: Notes::default() };
        let none = Self::new(Format::Chat, Format::Chat, nothing, Json::Null, String::new(), None);
        Self { mapped: Some(mapped), ..none }
    }

    pub fn mapped(&self) -> Option<&Mapped> {
        self.mapped.as_ref()
    }

    /// The format of the provider.
    pub fn to(&self) -> Format {
        self.to
    }

    /// The id that the client sees of an answer, by which it gives feedback. `own` is the provider's, and `id` stands for one.
    pub fn seen_id(&self, own: Option<String>, id: &str) -> Option<String> {
        match self.from {
            Format::Responses => Some(response_id(own.as_deref().unwrap_or(id))),
            _ => own,
        }
    }

    /// What reads one answer. `id` stands for the answer's where the provider gives it none.
    pub fn answer(&self, id: &str, created: u64) -> Return {
        let answer = Return::new(self.from, self.to, &self.translated, &self.asked, id, &self.model, created);
        match self.keeping().filter(|keeping| keeping.is_on.get()) {
            Some(keeping) => answer.keeping(Rc::clone(&keeping.written)),
            None => answer,
        }
    }

    /// What the answer is to be kept with, if it may be.
    pub fn keeping(&self) -> Option<&Keeping> {
        self.keeping.as_ref()
    }

    /// What reads a stream of that form. An error is no stream, whatever it says.
    pub fn blocks(&self, id: &str, created: u64, (framing, status): (Framing, u16)) -> Option<Blocks> {
        let is_stream = matches!(framing, Framing::Sse | Framing::AwsEventStream) && status < 300;
        is_stream.then(|| Blocks::new(self.answer(id, created), framing))
    }

    /// A whole answer in the caller's format; a status goes with it where it is none after all.
    /// `tokens` are those of the input, where the provider tells them beside its answer.
    pub fn whole(&self, id: &str, created: u64, framing: Framing, (body, tokens): (&[u8], Option<u64>)) -> Given {
        if matches!(framing, Framing::Sse | Framing::AwsEventStream) {
            let (mut blocks, mut text) = (Blocks::new(self.answer(id, created), framing), String::new());
            blocks.push(body, &mut text);
            blocks.end(&mut text);
            return self.streamed(text);
        }
        let answer = self.answer(id, created);
        let Some(json) = std::str::from_utf8(body).ok().and_then(Json::parse) else {
            let message = "The provider's answer is no JSON, and cannot be translated.".to_owned();
            let failure = Failure { status: 502, kind: None, message };
            return Given {
                text: translate::error(self.from, &failure).to_string(),
                content_type: JSON,
                status: Some(502),
                dropped: String::new(),
            };
        };
        if let Some(mapped) = &self.mapped {
            let (written, status) = match mapped.answer(&json, tokens, id, created) {
                Ok(written) => (written, None),
                Err(failure) => (translate::error(self.from, &failure), Some(failure.status)),
            };
            return Given { text: written.to_string(), content_type: JSON, status, dropped: String::new() };
        }
        if self.counts {
            let counted = translate::count::answer(self.from, &json);
            let status = counted.is_none().then_some(502);
            let text = counted.unwrap_or_else(|| {
                let message = "The provider's count of tokens has no number.".to_owned();
                translate::error(self.from, &Failure { status: 502, kind: None, message })
            });
            return Given { text: text.to_string(), content_type: JSON, status, dropped: String::new() };
        }
        if self.stream {
            let mut text = String::new();
            answer.whole_as_stream(&json, &mut text);
            return self.streamed(text);
        }
        let (written, status, dropped) = answer.answered(&json);
        Given { text: written.to_string(), content_type: JSON, status, dropped }
    }

    /// What turns the events of a stream into the array that the caller wants.
    pub fn elements(&self) -> Option<Elements> {
        self.is_array.then(Elements::default)
    }

    /// What a stream is said to be.
    pub fn stream_type(&self) -> &'static str {
        if self.is_array { JSON } else { "text/event-stream; charset=utf-8" }
    }

    /// A stream that is there as a whole.
    fn streamed(&self, events: String) -> Given {
        let text = if self.is_array { Elements::of(&events) } else { events };
        Given { text, content_type: self.stream_type(), status: None, dropped: String::new() }
    }

    /// An error of the provider in the caller's format.
    pub fn error(&self, status: u16, body: &[u8]) -> String {
        let told = failure::of_body(status, &String::from_utf8_lossy(body));
        translate::error(self.from, &told).to_string()
    }
}
