//! Answers of Gemini's generateContent, whole and streamed, as they come from a provider. <https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse>

use crate::translate::answer::{Kind, Reader, State};
use crate::translate::citations::{self, Citation};
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Event, Failure, Finish, Opened, Usage};
use crate::translate::signatures::{GOOGLE, GOOGLE_TEXT};

#[derive(Debug, Default)]
pub struct GeminiReader {
    state: State,
    /// The text has characters of several bytes.
    is_wide: bool,
    /// Sources that wait for their text.
    cited: Vec<Citation>,
}

// === impl GeminiReader ===

impl Reader for GeminiReader {
    fn event(&mut self, _: &str, data: &Json, out: &mut Vec<Event>) {
        if let Some(failure) = failure::read(data) {
            return self.state.fail(failure, out);
        }
        let text = |name: &str| data.text(name).unwrap_or_default();
        self.state.start(text("responseId"), text("modelVersion"), out);
        if let Some(usage) = data.get("usageMetadata") {
            self.state.use_up(read_usage(usage), out);
        }
        if data.at(&["promptFeedback", "blockReason"]).is_some() {
            self.state.finish = Some((Finish::Refused, None));
        }
        self.state.drop_if(
            data.list("candidates").iter().any(|own| own.count("index").unwrap_or(0) > 0),
            "candidates",
            out,
        );
        let Some(candidate) = data.list("candidates").iter().find(|own| own.count("index").unwrap_or(0) == 0) else {
            return;
        };
        let parts = candidate.get("content").map(|content| content.list("parts")).unwrap_or_default();
        self.is_wide |= parts.iter().any(|part| !part.text("text").unwrap_or_default().is_ascii());
        self.cited = citations::of_gemini(candidate, !self.is_wide);
        for part in parts {
            self.part(part, out);
        }
        self.cite(out);
        // What belongs to no text.
        for own in std::mem::take(&mut self.cited) {
            self.state.cite(own, out);
        }
        let is_there = candidate.get("urlContextMetadata").and_then(Json::members).is_some_and(|all| !all.is_empty());
        self.state.drop_if(is_there, "urlContextMetadata", out);
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
    fn cite(&mut self, out: &mut Vec<Event>) {
        if self.state.is_in_text() {
            for own in std::mem::take(&mut self.cited) {
                self.state.cite(own, out);
            }
        }
    }

    fn part(&mut self, part: &Json, out: &mut Vec<Event>) {
        let signature = part.said("thoughtSignature");
        if let Some(call) = part.get("functionCall") {
            if call.get("partialArgs").is_some() || call.flag("willContinue") == Some(true) {
                let message = "Gemini streams arguments in pieces, which nothing had asked it for.".to_owned();
                return self.state.fail(Failure { status: 502, kind: None, message }, out);
            }
            let opened = Opened {
                id: call.text("id").unwrap_or_default().to_owned(),
                name: call.text("name").unwrap_or_default().to_owned(),
                signature: signature.map(str::to_owned),
                is_custom: false,
            };
            let args = call.get("args").map_or_else(|| "{}".to_owned(), Json::to_string);
            return self.state.call(opened, &args, out);
        }
        for name in ["inlineData", "fileData", "executableCode", "codeExecutionResult"] {
            self.state.drop_if(part.get(name).is_some(), name, out);
        }
        let text = part.text("text").unwrap_or_default();
        if part.flag("thought") == Some(true) {
            self.state.more(Kind::Thinking, text, out);
        } else {
            self.state.more(Kind::Text, text, out);
        }
        match signature {
            Some(signature) if part.flag("thought") == Some(true) => {
                self.state.signature(&format!("{GOOGLE}{signature}"), out);
            }
            // No other format signs a text: a thought without words behind it carries what signs it.
            Some(signature) => {
                self.cite(out);
                self.state.close(out);
                self.state.signature(&format!("{GOOGLE_TEXT}{signature}"), out);
                self.state.close(out);
            }
            None => {}
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
        input: count("promptTokenCount").saturating_sub(read).saturating_add(count("toolUsePromptTokenCount")),
        cache_read: read,
        output: count("candidatesTokenCount").saturating_add(count("thoughtsTokenCount")),
        reasoning: count("thoughtsTokenCount"),
        ..Usage::default()
    }
}
