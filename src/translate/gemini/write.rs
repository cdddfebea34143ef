//! Answers of Gemini's generateContent, whole and streamed, as they are written for a client.

use crate::members;
use crate::translate::answer::{Answer, Writer, unnamed};
use crate::translate::citations::length;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Content, Event, Finish, Opening, ToolUse, Usage};
use crate::translate::signatures::GOOGLE;
use crate::translate::turns;

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

/// What Gemini says of the sources of an answer; nothing where it has none.
fn grounding(answer: &Answer) -> Option<Json> {
    let (mut chunks, mut supports, mut whole, mut before) = (Vec::new(), Vec::new(), String::new(), 0);
    for block in &answer.blocks {
        let Content::Text(text) = &block.content else { continue };
        whole.push_str(text);
        let end = before + length(text);
        for own in &block.citations {
            let (from, to) = own.span.unwrap_or((before, end));
            let byte = |at: u64| {
                let found = whole.char_indices().nth(usize::try_from(at).unwrap_or(usize::MAX));
                found.map_or(whole.len(), |(byte, _)| byte)
            };
            let (from, to) = (byte(from), byte(to));
            let said = whole.get(from..to).unwrap_or_default();
            let segment = members! { "startIndex": from as u64, "endIndex": to as u64, "text": said };
            let indexes = vec![Json::from(chunks.len() as u64)];
            supports.push(members! { "segment": segment, "groundingChunkIndices": indexes });
            chunks.push(members! { "web": members! { "uri": &own.url, "title": &own.title } });
        }
        before = end;
    }
    (!chunks.is_empty()).then(|| members! { "groundingChunks": chunks, "groundingSupports": supports })
}

fn document(answer: &Answer, index: u64, parts: Vec<Json>, finish: Option<Finish>) -> Json {
    let mut candidate = members! { "content": members! { "role": "model", "parts": parts }, "index": index };
    candidate.set_some("finishReason", finish.map(word));
    if finish.is_some() {
        candidate.set_some("groundingMetadata", grounding(answer));
    }
    let mut document = members! { "candidates": vec![candidate] };
    // Those of all answers are with the first.
    if finish.is_some() && index == 0 {
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
    document(answer, 0, parts.collect(), Some(answer.finish.unwrap_or(Finish::Stop)))
}

/// A streamed answer. Calls come whole, as Gemini's do.
#[derive(Debug, Default)]
pub struct GeminiWriter {
    answer: Answer,
    with_thoughts: bool,
    /// Which of several answers it writes.
    index: u64,
    in_thought: bool,
}

// === impl GeminiWriter ===

impl GeminiWriter {
    pub fn new(with_thoughts: bool, index: u64) -> Self {
        Self { with_thoughts, index, ..Self::default() }
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
            Event::End => return unnamed(&document(&self.answer, self.index, Vec::new(), self.answer.finish), out),
            _ => None,
        };
        if let Some(part) = part {
            unnamed(&document(&self.answer, self.index, vec![part], None), out);
        }
    }
}
