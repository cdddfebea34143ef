//! Answers of Bedrock's Converse, whole and streamed. A stream comes in binary frames; their payloads are read here.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>

use crate::translate::answer::{Kind, Reader, State};
use crate::translate::citations;
use crate::translate::failure;
use crate::translate::json::Json;
use crate::translate::model::{Event, Failure, Finish, Opened, Usage};

#[derive(Debug, Default)]
pub struct ConverseReader {
    state: State,
    has_arguments: bool,
    in_call: bool,
}

// === impl ConverseReader ===

impl ConverseReader {
    /// Converse names neither the answer nor its model.
    fn start(&mut self, out: &mut Vec<Event>) {
        self.state.start("", "", out);
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.in_call) && !self.has_arguments {
            self.state.arguments("{}", out);
        }
        self.state.close(out);
    }

    fn open_call(&mut self, call: &Json, out: &mut Vec<Event>) {
        let text = |name: &str| call.text(name).unwrap_or_default().to_owned();
        let opened = Opened { id: text("toolUseId"), name: text("name"), ..Opened::default() };
        self.state.open_call(opened, out);
        (self.in_call, self.has_arguments) = (true, false);
    }

    /// A block of a kind that other formats do not have; its one member says which.
    fn unknown(&mut self, block: Option<&Json>, out: &mut Vec<Event>) {
        let kind = block.and_then(Json::members).and_then(|members| members.first());
        self.state.drop(kind.map_or("", |(name, _)| name), out);
    }

    fn arguments(&mut self, text: &str, out: &mut Vec<Event>) {
        self.has_arguments |= !text.is_empty();
        self.state.arguments(text, out);
    }
}

impl Reader for ConverseReader {
    /// `name` is the frame's `:event-type`, or the name of the exception in it.
    fn event(&mut self, name: &str, data: &Json, out: &mut Vec<Event>) {
        let none = Json::Null;
        match name {
            "messageStart" => self.start(out),
            "contentBlockStart" => {
                self.start(out);
                self.close(out);
                match data.at(&["start", "toolUse"]) {
                    Some(call) => self.open_call(call, out),
                    None => self.unknown(data.get("start"), out),
                }
            }
            "contentBlockDelta" => {
                self.start(out);
                let delta = data.get("delta").unwrap_or(&none);
                if let Some(text) = delta.text("text") {
                    self.state.more(Kind::Text, text, out);
                } else if let Some(text) = delta.at(&["toolUse", "input"]).and_then(Json::as_str) {
                    self.arguments(text, out);
                } else if let Some(reasoning) = delta.get("reasoningContent") {
                    self.state.more(Kind::Thinking, reasoning.text("text").unwrap_or_default(), out);
                    self.state.signature(reasoning.text("signature").unwrap_or_default(), out);
                    if let Some(data) = reasoning.said("redactedContent") {
                        self.state.redacted(data, out);
                    }
                } else if let Some(own) = delta.get("citation") {
                    self.state.cite(citations::of_converse(own), out);
                } else {
                    self.unknown(Some(delta), out);
                }
            }
            "contentBlockStop" => self.close(out),
            "messageStop" => {
                self.close(out);
                self.state.finish = Some((finish(data.text("stopReason").unwrap_or_default()), None));
            }
            "metadata" => {
                if let Some(usage) = data.get("usage") {
                    self.state.use_up(read_usage(usage), out);
                }
            }
            other if other.ends_with("Exception") || other.ends_with("exception") => {
                let status = match other {
                    "throttlingException" => 429,
                    "validationException" => 400,
                    "serviceUnavailableException" => 503,
                    _ => 500,
                };
                let message = data.said("message").unwrap_or(other).to_owned();
                self.state.fail(Failure { status, kind: Some(other.to_owned()), message }, out);
            }
            _ => {}
        }
    }

    fn whole(&mut self, answer: &Json, out: &mut Vec<Event>) {
        if answer.get("output").is_none() {
            let message = match answer.said("message") {
                Some(message) => message.to_owned(),
                None => "Bedrock's answer has no output.".to_owned(),
            };
            let failure = failure::read(answer).unwrap_or(Failure { status: 502, kind: None, message });
            return self.state.fail(failure, out);
        }
        self.start(out);
        for block in answer.at(&["output", "message"]).map(|message| message.list("content")).unwrap_or_default() {
            if let Some(text) = block.text("text") {
                self.state.more(Kind::Text, text, out);
            } else if let Some(call) = block.get("toolUse") {
                self.open_call(call, out);
                let input = call.get("input").map_or_else(|| "{}".to_owned(), Json::to_string);
                self.arguments(&input, out);
            } else if let Some(reasoning) = block.at(&["reasoningContent", "reasoningText"]) {
                self.state.open_thought(out);
                self.state.more(Kind::Thinking, reasoning.text("text").unwrap_or_default(), out);
                self.state.signature(reasoning.text("signature").unwrap_or_default(), out);
            } else if let Some(data) = block.at(&["reasoningContent", "redactedContent"]).and_then(Json::as_str) {
                self.state.redacted(data, out);
            } else if let Some(cited) = block.get("citationsContent") {
                for part in cited.list("content") {
                    self.state.more(Kind::Text, part.text("text").unwrap_or_default(), out);
                }
                for own in cited.list("citations") {
                    self.state.cite(citations::of_converse(own), out);
                }
            } else {
                self.unknown(Some(block), out);
            }
            self.close(out);
        }
        self.state.finish = Some((finish(answer.text("stopReason").unwrap_or("end_turn")), None));
        if let Some(usage) = answer.get("usage") {
            self.state.use_up(read_usage(usage), out);
        }
        self.state.end(out);
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.state.end(out);
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "stop_sequence" => Finish::StopSequence,
        "tool_use" => Finish::ToolUse,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "content_filtered" | "guardrail_intervened" => Finish::Refused,
        _ => Finish::Stop,
    }
}

pub fn read_usage(usage: &Json) -> Usage {
    let count = |name: &str| usage.count(name).unwrap_or(0);
    let of_hour = usage.list("cacheDetails").iter().filter(|detail| detail.text("ttl") == Some("1h"));
    let long = of_hour.filter_map(|detail| detail.count("inputTokens")).fold(0, u64::saturating_add);
    let written = count("cacheWriteInputTokens");
    Usage {
        input: count("inputTokens"),
        cache_read: count("cacheReadInputTokens"),
        cache_write_5m: written.saturating_sub(long),
        cache_write_1h: long.min(written),
        output: count("outputTokens"),
        reasoning: 0,
    }
}
