//! From one API's language to another's: requests on their way to a provider, answers on their way back. Each format is read into
//! one form and written out of it (`model`), and a stream is read and written by the machines that read and write whole answers.

#[cfg(test)]
mod agent_tests;
pub mod answer;
pub mod capability;
pub mod chat;
pub mod choices;
pub mod citations;
pub mod converse;
pub mod count;
pub mod failure;
pub mod gemini;
#[cfg(test)]
mod hint_tests;
pub mod json;
pub mod media;
pub mod messages;
pub mod model;
pub mod names;
mod notes;
#[cfg(test)]
pub mod property_tests;
pub mod responses;
pub mod schema;
pub mod signatures;
pub mod tasks;
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
    let mut request = match from {
        Format::Chat => chat::decode::decode(body, &mut notes)?,
        Format::Responses => responses::decode::decode(body, &mut notes)?,
        Format::Messages => messages::decode::decode(body, &mut notes)?,
        Format::Gemini => gemini::decode::decode(body, path_model, stream, &mut notes)?,
        Format::Converse => converse::decode::decode(body, path_model, stream, &mut notes)?,
    };
    if request.choices.is_some() && choices::list(to).is_none() {
        return Err(Untranslatable::new(choices::field(from), "the model's provider gives one answer to a request"));
    }
    // Anthropic and Amazon refuse more.
    if matches!(to, Format::Messages | Format::Converse) {
        notes.dropped.note_if(request.leave_marks(4), "cache_control beyond four");
    }
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
    /// Those of the second answer on, where the caller wants several.
    others: Vec<Return>,
    /// The provider's member that has the answers.
    list: &'static str,
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
        let one = |index| Self::one((from, to), translated, asked, (id, model), created, index);
        let mut first = one(0);
        if let (Some(wanted), Some(list)) = (translated.request.choices, choices::list(to)) {
            first.list = list;
            first.others = (1..wanted.min(choices::MOST)).map(one).collect();
        }
        first
    }

    /// What reads the answer of that number.
    fn one(
        (from, to): (Format, Format),
        translated: &Translated,
        asked: &Json,
        (id, model): (&str, &str),
        created: u64,
        index: u64,
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
            Format::Gemini => Box::new(gemini::write::GeminiWriter::new(request.thoughts_shown, index)),
            Format::Chat | Format::Converse => {
                Box::new(chat::write::ChatWriter::new(created, request.usage_in_stream, index))
            }
        };
        let custom = request.tools.iter().filter(|tool| tool.is_custom).map(|tool| tool.name.clone()).collect();
        let notes = &translated.notes;
        // No two calls of an answer have one id.
        let seed = if index == 0 { id.to_owned() } else { format!("{id}_{index}") };
        let corrections = Corrections::new(notes.names.clone(), notes.json_tool, custom, &seed);
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
            others: Vec::new(),
            list: "",
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
        if !self.others.is_empty() {
            return self.events(name, data, out);
        }
        self.reader.event(name, data, &mut self.read);
        self.write(out);
    }

    /// Translates an event that may have pieces of several answers.
    fn events(&mut self, name: &str, data: &Json, out: &mut String) {
        let (first, parts) = choices::split(data, self.list);
        self.reader.event(name, &first, &mut self.read);
        self.write(out);
        for (index, part) in parts {
            let Some(other) = self.others.get_mut(index - 1).filter(|_| !self.is_over) else { continue };
            other.reader.event(name, &part, &mut other.read);
            other.write(out);
            // An error ends the stream.
            (self.is_over, self.has_failed) = (other.has_failed, other.has_failed);
        }
    }

    /// The stream has ended.
    pub fn end(&mut self, out: &mut String) {
        for other in self.others.iter_mut().filter(|other| other.is_started && !other.is_over) {
            if self.is_over {
                break;
            }
            other.reader.end(&mut other.read);
            self.dropped.join(&std::mem::take(&mut other.dropped));
            other.write(out);
            (self.is_over, self.has_failed) = (other.has_failed, other.has_failed);
        }
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
            match &mut event {
                Event::Dropped(part) => {
                    self.dropped.note(std::mem::take(part));
                    continue;
                }
                // Only Anthropic's clients know places in the documents of a request.
                Event::Citation(own) if own.url.is_empty() && self.caller != Format::Messages => {
                    self.dropped.note("citations");
                    continue;
                }
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
        let others = std::mem::take(&mut self.others);
        if others.is_empty() {
            return self.alone(answer);
        }
        let (first, parts) = choices::split(answer, self.list);
        let list = choices::list(self.caller).unwrap_or_default();
        let (mut all, mut status, mut dropped) = self.alone(&first);
        let mut others: Vec<_> = others.into_iter().map(Some).collect();
        for (index, part) in parts {
            let other = others.get_mut(index - 1).and_then(Option::take);
            let Some(other) = other.filter(|_| status.is_none()) else { continue };
            let (more, failed, left_out) = other.alone(&part);
            if dropped.is_empty() {
                dropped = left_out;
            }
            match failed {
                None => choices::join(&mut all, &more, list, index),
                Some(_) => (all, status) = (more, failed),
            }
        }
        (all, status, dropped)
    }

    /// Translates the only answer.
    fn alone(mut self, answer: &Json) -> (Json, Option<u16>, String) {
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
        let mut others = std::mem::take(&mut self.others);
        if others.is_empty() {
            self.reader.whole(answer, &mut self.read);
            return self.write(out);
        }
        let (first, parts) = choices::split(answer, self.list);
        for (index, part) in parts {
            let Some(other) = others.get_mut(index.saturating_sub(1)) else { continue };
            other.reader.whole(&part, &mut other.read);
            other.write(out);
        }
        self.reader.whole(&first, &mut self.read);
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
