//! From one API's language to another's: requests on their way to a provider, answers on their way back. Each format is read into
//! one form and written out of it (`model`), and a stream is read and written by the machines that read and write whole answers.

#[cfg(test)]
mod agent_tests;
pub mod answer;
pub mod capability;
pub mod chat;
pub mod converse;
pub mod count;
pub mod failure;
pub mod gemini;
pub mod json;
pub mod messages;
pub mod model;
pub mod names;
mod notes;
#[cfg(test)]
pub mod property_tests;
pub mod responses;
pub mod schema;
pub mod signatures;
#[cfg(test)]
mod tests;
pub mod turns;

pub use crate::providers::format::Format;

use answer::{Answer, Corrections, Reader, Writer};
use json::Json;
pub use model::Notes;
use model::{Event, Failure, Opening, Request, Untranslatable};

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
        Format::Chat => chat::decode::decode(body, &mut notes)?,
        Format::Responses => responses::decode::decode(body, &mut notes)?,
        Format::Messages => messages::decode::decode(body, &mut notes)?,
        Format::Gemini => gemini::decode::decode(body, path_model, stream, &mut notes)?,
        Format::Converse => converse::decode::decode(body, path_model, stream, &mut notes)?,
    };
    let can = capability::of(model);
    let body = match to {
        Format::Chat => chat::encode::encode(&request, model, &mut notes)?,
        Format::Responses => responses::encode::encode(&request, model, &mut notes)?,
        Format::Messages => messages::encode::encode(&request, model, &can, &mut notes)?,
        Format::Gemini => gemini::encode::encode(&request, model, &can, &mut notes)?,
        Format::Converse => converse::encode::encode(&request, &can, &mut notes)?,
    };
    Ok(Translated { body, request, notes })
}

/// An answer on its way back.
pub struct Return {
    reader: Box<dyn Reader>,
    corrections: Corrections,
    caller: Format,
    writer: Box<dyn Writer>,
    echo: responses::write::Echo,
    created: u64,
    with_thoughts: bool,
    /// What stands for the names that the provider does not give.
    id: String,
    model: String,
    is_started: bool,
    is_over: bool,
    /// It ended with an error.
    has_failed: bool,
    /// What the caller does not get of it.
    dropped: model::Dropped,
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
            Format::Chat => Box::new(chat::read::ChatReader::default()),
            Format::Responses => Box::new(responses::read::ResponsesReader::default()),
            Format::Messages => Box::new(messages::read::MessagesReader::default()),
            Format::Gemini => Box::new(gemini::read::GeminiReader::default()),
            Format::Converse => Box::new(converse::read::ConverseReader::default()),
        };
        let request = &translated.request;
        let echo =
            if from == Format::Responses { responses::write::echo(asked) } else { responses::write::Echo::default() };
        let writer: Box<dyn Writer> = match from {
            Format::Responses => Box::new(responses::write::ResponsesWriter::new(created, echo.clone())),
            Format::Messages => Box::new(messages::write::MessagesWriter::default()),
            Format::Gemini => Box::new(gemini::write::GeminiWriter::new(request.thoughts_shown)),
            Format::Chat | Format::Converse => Box::new(chat::write::ChatWriter::new(created, request.usage_in_stream)),
        };
        let custom = request.tools.iter().filter(|tool| tool.is_custom).map(|tool| tool.name.clone()).collect();
        let notes = &translated.notes;
        let corrections = Corrections::new(notes.names.clone(), notes.json_tool, custom, id);
        Self {
            reader,
            corrections,
            caller: from,
            writer,
            echo,
            created,
            with_thoughts: request.thoughts_shown,
            id: id.to_owned(),
            model: model.to_owned(),
            is_started: false,
            is_over: false,
            has_failed: false,
            dropped: model::Dropped::default(),
            read: Vec::new(),
            right: Vec::new(),
        }
    }

    /// Has the response kept once it is whole.
    pub fn keeping(mut self, written: responses::write::Written) -> Self {
        self.echo.kept = Some(written);
        if self.caller == Format::Responses {
            self.writer = Box::new(responses::write::ResponsesWriter::new(self.created, self.echo.clone()));
        }
        self
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

    /// The stream makes no sense from here on.
    pub fn fail(&mut self, message: &str, out: &mut String) {
        self.read.push(Event::Error(Failure { status: 502, kind: None, message: message.to_owned() }));
        self.write(out);
    }

    /// A sign of life, for a client that waits for the next event.
    pub fn ping(&self, out: &mut String) {
        if self.is_started && !self.is_over {
            out.push_str(match self.caller {
                Format::Messages => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
                _ => ": ping\n\n",
            });
        }
    }

    /// Whether the answer has come to an error.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether the answer has come to its end, or to an error. What follows is not passed on.
    #[cfg(test)]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn write(&mut self, out: &mut String) {
        self.correct();
        for event in self.right.drain(..) {
            // The headers are gone: what is left out is said in a comment, which clients pass over.
            if event == Event::End && !self.dropped.is_empty() {
                out.push_str(": cf-aig-warning ");
                out.push_str(&self.dropped.of_answer());
                out.push_str("\n\n");
            }
            self.writer.event(&event, out);
        }
    }

    /// Puts right what was read: an answer begins with its names and has one end, whatever the provider sends.
    fn correct(&mut self) {
        for mut event in self.read.drain(..) {
            if self.is_over {
                continue;
            }
            if let Event::Dropped(part) = event {
                self.dropped.note(part);
                continue;
            }
            match &mut event {
                Event::Start { .. } if self.is_started => continue,
                Event::Start { id, model } => {
                    if id.is_empty() {
                        id.clone_from(&self.id);
                    }
                    if model.is_empty() {
                        model.clone_from(&self.model);
                    }
                    self.is_started = true;
                }
                Event::Open(Opening::ToolUse(call)) if call.name.is_empty() => {
                    let message = "The provider's answer calls a tool and does not say which.".to_owned();
                    event = Event::Error(Failure { status: 502, kind: None, message });
                    (self.is_over, self.has_failed) = (true, true);
                }
                Event::Error(_) => (self.is_over, self.has_failed) = (true, true),
                Event::End => self.is_over = true,
                _ => {}
            }
            if !self.is_started && !matches!(event, Event::Error(_)) {
                self.is_started = true;
                self.right.push(Event::Start { id: self.id.clone(), model: self.model.clone() });
            }
            self.corrections.apply(event, &mut self.right);
        }
    }

    /// Translates a whole answer, and says with which status it is to be given where it is none, and what was left out.
    pub fn answered(mut self, answer: &Json) -> (Json, Option<u16>, String) {
        self.read_whole(answer);
        let dropped = self.dropped.of_answer();
        let whole = Answer::of(&self.right);
        if let Some(failure) = &whole.failure {
            return (error(self.caller, failure), Some(failure.status), String::new());
        }
        let written = match self.caller {
            Format::Responses => responses::write::write(&whole, &self.echo, self.created),
            Format::Messages => messages::write::write(&whole),
            Format::Gemini => gemini::write::write(&whole, self.with_thoughts),
            Format::Chat | Format::Converse => chat::write::write(&whole, self.created),
        };
        (written, None, dropped)
    }

    #[cfg(test)]
    pub fn whole(self, answer: &Json) -> Json {
        self.answered(answer).0
    }

    /// Translates a whole answer for a caller who wants a stream.
    pub fn whole_as_stream(mut self, answer: &Json, out: &mut String) {
        self.reader.whole(answer, &mut self.read);
        self.write(out);
    }

    fn read_whole(&mut self, answer: &Json) {
        self.reader.whole(answer, &mut self.read);
        self.correct();
    }
}

/// An error as a caller of a format expects it.
pub fn error(format: Format, failure: &Failure) -> Json {
    match format {
        Format::Messages => failure::messages(failure),
        Format::Gemini => failure::gemini(failure),
        Format::Chat | Format::Responses | Format::Converse => failure::chat(failure),
    }
}
