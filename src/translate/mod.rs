//! From one API's language to another's: requests on their way to a provider, answers on their way back. Each format is read into
//! one form and written out of it (`model`), and a stream is read and written by the machines that read and write whole answers.

pub mod answer;
pub mod capability;
pub mod chat_answer;
pub mod chat_request;
pub mod converse_answer;
pub mod converse_request;
pub mod failure;
pub mod gemini_answer;
pub mod gemini_request;
pub mod json;
pub mod messages_answer;
pub mod messages_request;
pub mod model;
pub mod names;
pub mod responses_answer;
pub mod responses_request;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod turns;

use answer::{Answer, Corrections, Reader, Writer};
use json::Json;
use model::{Dropped, Event, Request, Untranslatable};
use names::Names;

/// The language of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
    /// Gemini's generateContent.
    Gemini,
    /// Bedrock's Converse.
    Converse,
}

/// What a translation leaves for the answer and for the caller to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub dropped: Dropped,
    pub names: Names,
    /// The answer's schema stands in the request as a tool.
    pub json_tool: bool,
}

/// A request in the provider's language, and what its answer has to be read with.
#[derive(Clone, Debug)]
pub struct Translated {
    pub body: Json,
    pub request: Request,
    pub notes: Notes,
}

/// Translates a request. `model` is the provider's name of the model.
pub fn request(
    from: Format,
    to: Format,
    body: &Json,
    path_model: &str,
    stream: bool,
    model: &str,
) -> Result<Translated, Untranslatable> {
    let mut notes = Notes::default();
    let request = match from {
        Format::Chat => chat_request::decode(body, &mut notes)?,
        Format::Responses => responses_request::decode(body, &mut notes)?,
        Format::Messages => messages_request::decode(body, &mut notes)?,
        Format::Gemini => gemini_request::decode(body, path_model, stream, &mut notes)?,
        Format::Converse => converse_request::decode(body, path_model, stream, &mut notes)?,
    };
    let can = capability::of(model);
    let body = match to {
        Format::Chat => chat_request::encode(&request, model, &mut notes)?,
        Format::Responses => responses_request::encode(&request, model, &mut notes)?,
        Format::Messages => messages_request::encode(&request, model, &can, &mut notes)?,
        Format::Gemini => gemini_request::encode(&request, model, &can, &mut notes)?,
        Format::Converse => converse_request::encode(&request, &can, &mut notes)?,
    };
    Ok(Translated { body, request, notes })
}

/// An answer on its way back.
pub struct Return {
    reader: Box<dyn Reader>,
    corrections: Corrections,
    caller: Format,
    writer: Box<dyn Writer>,
    echo: responses_answer::Echo,
    created: u64,
    with_thoughts: bool,
    read: Vec<Event>,
    right: Vec<Event>,
}

// === impl Return ===

impl Return {
    /// `asked` is the caller's own body; `id` and `model` stand for what the provider does not name.
    pub fn new(
        from: Format,
        to: Format,
        translated: &Translated,
        asked: &Json,
        id: &str,
        model: &str,
        created: u64,
    ) -> Self {
        let reader: Box<dyn Reader> = match to {
            Format::Chat => Box::new(chat_answer::ChatReader::default()),
            Format::Responses => Box::new(responses_answer::ResponsesReader::default()),
            Format::Messages => Box::new(messages_answer::MessagesReader::default()),
            Format::Gemini => Box::new(gemini_answer::GeminiReader::default()),
            Format::Converse => Box::new(converse_answer::ConverseReader::new(id.to_owned(), model.to_owned())),
        };
        let request = &translated.request;
        let echo =
            if from == Format::Responses { responses_answer::echo(asked) } else { responses_answer::Echo::default() };
        let writer: Box<dyn Writer> = match from {
            Format::Responses => Box::new(responses_answer::ResponsesWriter::new(created, echo.clone())),
            Format::Messages => Box::new(messages_answer::MessagesWriter::default()),
            Format::Gemini => Box::new(gemini_answer::GeminiWriter::new(request.thoughts_shown)),
            Format::Chat | Format::Converse => Box::new(chat_answer::ChatWriter::new(created, request.usage_in_stream)),
        };
        let custom = request.tools.iter().filter(|tool| tool.is_custom).map(|tool| tool.name.clone()).collect();
        let notes = &translated.notes;
        let corrections = Corrections::new(notes.names.clone(), notes.json_tool, custom);
        Self {
            reader,
            corrections,
            caller: from,
            writer,
            echo,
            created,
            with_thoughts: request.thoughts_shown,
            read: Vec::new(),
            right: Vec::new(),
        }
    }

    /// Translates an event of a stream.
    pub fn event(&mut self, name: &str, data: &Json, out: &mut String) {
        self.reader.event(name, data, &mut self.read);
        self.write(out);
    }

    /// The stream has ended.
    pub fn end(&mut self, out: &mut String) {
        self.reader.end(&mut self.read);
        self.write(out);
    }

    fn write(&mut self, out: &mut String) {
        for event in self.read.drain(..) {
            self.corrections.apply(event, &mut self.right);
        }
        for event in self.right.drain(..) {
            self.writer.event(&event, out);
        }
    }

    /// Translates a whole answer; an error in it, too.
    pub fn whole(mut self, answer: &Json) -> Json {
        self.reader.whole(answer, &mut self.read);
        for event in self.read.drain(..) {
            self.corrections.apply(event, &mut self.right);
        }
        let whole = Answer::of(&self.right);
        match (&whole.failure, self.caller) {
            (Some(failure), Format::Messages) => failure::messages(failure),
            (Some(failure), Format::Gemini) => failure::gemini(failure),
            (Some(failure), _) => failure::chat(failure),
            (None, Format::Responses) => responses_answer::write(&whole, &self.echo, self.created),
            (None, Format::Messages) => messages_answer::write(&whole),
            (None, Format::Gemini) => gemini_answer::write(&whole, self.with_thoughts),
            (None, Format::Chat | Format::Converse) => chat_answer::write(&whole, self.created),
        }
    }
}
