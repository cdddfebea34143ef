//! Answers of Gemini's generateContent, whole and streamed: each event of a stream has the form of a whole answer.
//! <https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse>

use crate::members;
use crate::translate::answer::{Answer, Kind, Reader, State, Writer, unnamed};
use crate::translate::failure;
use crate::translate::gemini_request::GOOGLE;
use crate::translate::json::Json;
use crate::translate::model::{Content, Event, Finish, Opened, Opening, ToolUse, Usage};
use crate::translate::turns;

#[derive(Debug, Default)]
pub struct GeminiReader {
    state: State,
    calls: usize,
    id: String,
}

// === impl GeminiReader ===

impl Reader for GeminiReader {
    fn event(&mut self, _: &str, data: &Json, out: &mut Vec<Event>) {
        if let Some(failure) = failure::read(data) {
            return self.state.fail(failure, out);
        }
        let text = |name: &str| data.text(name).unwrap_or_default();
        if !self.state.is_started() {
            self.id = text("responseId").to_owned();
            self.state.start(&self.id.clone(), text("modelVersion"), out);
        }
        if let Some(usage) = data.get("usageMetadata") {
            self.state.use_up(read_usage(usage), out);
        }
        if data.at(&["promptFeedback", "blockReason"]).is_some() {
            self.state.finish = Some((Finish::Refused, None));
        }
        let Some(candidate) = data.list("candidates").iter().find(|own| own.count("index").unwrap_or(0) == 0) else {
            return;
        };
        for part in candidate.get("content").map(|content| content.list("parts")).unwrap_or_default() {
            self.part(part, out);
        }
        if let Some(reason) = candidate.said("finishReason") {
            self.state.finish = Some((finish(reason), None));
        }
    }

    fn whole(&mut self, answer: &Json, out: &mut Vec<Event>) {
        // Without server-sent events a stream is an array of the same.
        match answer.as_array() {
            Some(all) if all.iter().all(|one| one.get("error").is_none()) => {
                for one in all {
                    self.event("", one, out);
                }
            }
            _ => self.event("", answer, out),
        }
        if self.state.finish.is_none() && !self.state.is_over() {
            self.state.finish = Some((Finish::Stop, None));
        }
        self.end(out);
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.state.end(out);
    }
}

impl GeminiReader {
    fn part(&mut self, part: &Json, out: &mut Vec<Event>) {
        let signature = part.said("thoughtSignature");
        if let Some(call) = part.get("functionCall") {
            let made = format!("call_{}_{}", self.id, self.calls);
            self.calls += 1;
            let opened = Opened {
                id: call.said("id").map_or(made, str::to_owned),
                name: call.text("name").unwrap_or_default().to_owned(),
                signature: signature.map(str::to_owned),
                is_custom: false,
            };
            let args = call.get("args").map_or_else(|| "{}".to_owned(), Json::to_string);
            return self.state.call(opened, &args, out);
        }
        let text = part.text("text").unwrap_or_default();
        if part.flag("thought") == Some(true) {
            self.state.more(Kind::Thinking, text, out);
        } else {
            self.state.more(Kind::Text, text, out);
        }
        if let (Some(signature), true) = (signature, part.flag("thought") == Some(true)) {
            self.state.signature(&format!("{GOOGLE}{signature}"), out);
        }
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "MAX_TOKENS" => Finish::Length,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => Finish::Refused,
        other if other.starts_with("IMAGE_") => Finish::Refused,
        _ => Finish::Stop,
    }
}

pub fn read_usage(usage: &Json) -> Usage {
    let count = |name: &str| usage.count(name).unwrap_or(0);
    let read = count("cachedContentTokenCount");
    Usage {
        input: count("promptTokenCount").saturating_sub(read) + count("toolUsePromptTokenCount"),
        cache_read: read,
        output: count("candidatesTokenCount") + count("thoughtsTokenCount"),
        reasoning: count("thoughtsTokenCount"),
        ..Usage::default()
    }
}

fn write_usage(usage: &Usage) -> Json {
    let mut written = members! {
        "promptTokenCount": usage.prompt(),
        "candidatesTokenCount": usage.output.saturating_sub(usage.reasoning),
        "totalTokenCount": usage.prompt().saturating_add(usage.output),
    };
    written.set_some("cachedContentTokenCount", Some(usage.cache_read).filter(|own| *own > 0));
    written.set_some("thoughtsTokenCount", Some(usage.reasoning).filter(|own| *own > 0));
    written
}

fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "MAX_TOKENS",
        Finish::Refused => "SAFETY",
        _ => "STOP",
    }
}

fn call(call: &ToolUse) -> Json {
    let own = members! { "id": &call.id, "name": &call.name, "args": turns::arguments(&call.arguments) };
    let mut part = members! { "functionCall": own };
    part.set_some("thoughtSignature", call.signature.as_ref());
    part
}

fn thought(text: &str, signature: Option<&String>) -> Json {
    let mut part = members! { "text": text, "thought": true };
    part.set_some("thoughtSignature", signature.map(|own| own.strip_prefix(GOOGLE).unwrap_or(own)));
    part
}

fn document(answer: &Answer, parts: Vec<Json>, finish: Option<Finish>) -> Json {
    let mut candidate = members! { "content": members! { "role": "model", "parts": parts }, "index": 0_u64 };
    candidate.set_some("finishReason", finish.map(word));
    let mut document = members! { "candidates": vec![candidate] };
    if finish.is_some() {
        document.set("usageMetadata", write_usage(&answer.usage));
    }
    document.with("modelVersion", &answer.model).with("responseId", &answer.id)
}

/// A whole answer. Thoughts are in it where the client asked for them.
pub fn write(answer: &Answer, with_thoughts: bool) -> Json {
    let parts = answer.blocks.iter().filter_map(|block| match &block.content {
        Content::Text(text) | Content::Refusal(text) => Some(members! { "text": text }),
        Content::Thinking(own) if with_thoughts => Some(thought(&own.text, own.signature.as_ref())),
        Content::ToolUse(own) => Some(call(own)),
        _ => None,
    });
    document(answer, parts.collect(), Some(answer.finish.unwrap_or(Finish::Stop)))
}

/// A streamed answer. Calls come whole, as Gemini's do.
#[derive(Debug, Default)]
pub struct GeminiWriter {
    answer: Answer,
    with_thoughts: bool,
    in_thought: bool,
}

// === impl GeminiWriter ===

impl GeminiWriter {
    pub fn new(with_thoughts: bool) -> Self {
        Self { with_thoughts, ..Self::default() }
    }
}

impl Writer for GeminiWriter {
    fn event(&mut self, event: &Event, out: &mut String) {
        self.answer.add(event);
        let part = match event {
            Event::Open(opening) => {
                self.in_thought = *opening == Opening::Thinking;
                None
            }
            Event::More(text) => match self.answer.blocks.last().map(|block| &block.content) {
                Some(Content::ToolUse(_)) => None,
                Some(Content::Thinking(_)) => self.with_thoughts.then(|| thought(text, None)),
                _ => Some(members! { "text": text }),
            },
            Event::Signature(signature) => self.with_thoughts.then(|| thought("", Some(signature))),
            Event::Close => match self.answer.blocks.last().map(|block| &block.content) {
                Some(Content::ToolUse(own)) => Some(call(own)),
                _ => None,
            },
            Event::Error(failure) => return unnamed(&failure::gemini(failure), out),
            Event::End => return unnamed(&document(&self.answer, Vec::new(), self.answer.finish), out),
            _ => None,
        };
        if let Some(part) = part {
            unnamed(&document(&self.answer, vec![part], None), out);
        }
    }
}
